#!/usr/bin/env python3
"""A client in the profile *free*, by docs/PROTOCOL.md and README.md beside this file: own ids, own sockets, own pauses. It shares no code with
the session. judge.py python3 example_client.py [SEED]. Its store and its screen are the judge's: it keeps all in memory and says what it does."""
import json, random, sys, uuid
from types import SimpleNamespace as Object

ZERO = (0, 0)  # a position is (epoch, seq), so that positions order as they should


def position(json): return json["epoch"], json["seq"]


def as_json(position): return {"epoch": position[0], "seq": position[1]}


def conversation(id, row=None):
    row = row or {"with": None} | dict.fromkeys(["have_count", "head_count", "read_count", "read_pending"], 0)
    at = {name: position(row[name]) if name in row else ZERO for name in ["from", "have", "head", "acked", "read"]}
    others = {other["user"]: [position(other["delivered"]), position(other["read"])] for other in row.get("others", [])}
    return Object(
        id=id, partner=row["with"], told=bool(row["with"] or row.get("told")), start=at["from"][1], have=at["have"], head=at["head"],
        have_count=row["have_count"], head_count=row["head_count"], counted=at["have"], acked=at["acked"], read=at["read"],
        read_count=row["read_count"], read_pending=row["read_pending"], others=others, ahead={}, counts={}, own=set(), looked_from=at["have"],
        stored=at["have"] if at["have"][1] > at["from"][1] else ZERO, refused=ZERO, apart=ZERO, carried=None, due=None, doubts=0, settled=0,
        log=0, headless=False, jump=False, outbox=[], busy=False, retry=Object(failures=0, at=0), alone=False, probe=None)


class Client:
    def __init__(self, start):
        self.settings, self.limits = start["settings"], {"gap_wait_ms": 500, "cursors_every_ms": 1000, "ping_after_idle_ms": 240000,
                                                         "messages_per_send_max": 25, "anchor_entries_max": 200}
        self.me, self.step, self.now = self.settings["user"], -1, 0
        self.all = {row["conversation"]: conversation(row["conversation"], row) for row in start["restored"]["conversations"]}
        for row in start["restored"]["outbox"]:
            message = Object(id=row["client_message_id"], anchor=position(row["anchor"]), body=row["body"], state="waiting", unwritten=0)
            self.at(row["conversation"]).outbox.append(message)
        self.current = self.successor = self.drained = None
        self.rest, self.rest_until, self.token_retry_at, self.blind, self.shut_until, self.lost_hello = "asleep", None, 0, 0, 0, 0
        self.replace_at = self.ask_token_at = self.token_good_until = self.token = None
        self.token_wanted, self.sockets, self.live, self.failing, self.last_request = False, 0, False, False, 0
        self.pending, self.looks, self.wants_ping, self.cursors_at, self.cursors_since = [], [], False, 0, None
        self.openings, self.opened_again, self.histories, self.clock = {}, set(), [], (0, 0)
        names = ["connect_retry", "replace_retry", "sync_retry", "cursor_retry", "token_retry", "ping_retry", "store_retry"]
        self.__dict__.update({name: Object(failures=0, at=0) for name in names})
    def at(self, id): return self.all.setdefault(id, None) or self.all.__setitem__(id, conversation(id)) or self.all[id]

    # One step: what happened, then what is due. README.md of the session has the same order.
    def handle(self, now, input):
        self.now, self.wake, self.out, self.then, self.dirty, self.changed = now, None, [], [], {}, False
        self.step += 1
        getattr(self, "on_" + input.pop("type"))(**input)
        self.tend_sockets()
        self.greet()
        for one in self.all.values(): self.plan(one)
        self.tend_token()
        for one in sorted(self.all.values(), key=lambda one: one.id): self.send(one)
        self.sync()
        self.tell_cursors()
        for id, (user, retry) in self.openings.items():
            if self.ready() and not self.in_flight(("open", id)) and self.reached(retry.at):
                self.ask(self.current, ("open", id), {"action": "open", "with": user, "client_message_id": id})
        for one, before, retry in self.histories:
            if self.ready() and not self.in_flight(("history", one)) and self.reached(retry.at):
                self.ask(self.current, ("history", one, before), {"action": "history", "conversation": one, "before": before})
        if not self.live and self.ready() and not self.current.page and not self.in_flight(("sync",)):
            if not any(one.due == "now" for one in self.all.values()):
                self.live = True
                self.wants_ping |= bool(self.looks) or any(one.headless for one in self.all.values())
        self.ping()
        for link in self.links():
            for at in [link.opening] * bool(link.opening) + [until for _, until in link.in_flight.values()]: self.reached(at)
        self.write()
        return {"outputs": self.out, "wake_at_ms": self.wake}
    def reached(self, at):
        if at > self.now: self.wake = min(at, self.wake or at)
        return at <= self.now
    def fail(self, retry, after_ms=None):
        bound = min(self.settings["back_off_min_ms"] << min(retry.failures, 16), self.settings["back_off_max_ms"])
        retry.failures, retry.at = retry.failures + 1, self.now + (after_ms or 0) + random.randint(1, bound)
    def forget(self, retry): retry.failures = retry.at = 0
    def show(self, **what): self.out.append({"type": "show", "what": what})
    def show_stored(self, **what): self.then.append(lambda: self.show(**what))
    def touch(self, one): self.dirty[one.id] = one

    # The store: what is written becomes true with `committed`.
    def write(self):
        for one in self.dirty.values():
            self.show_stored(type="conversation", conversation=one.id, unread=max(0, one.head_count - one.read_count))
        if self.dirty or self.changed:
            if self.pending and self.pending[-1][0] is None: self.pending[-1][1].extend(self.then)
            else:
                self.pending.append([self.step, self.then])
                self.out.append({"type": "commit"})
        elif self.pending: self.pending[-1][1].extend(self.then)
        else:
            for then in self.then: then()
        if self.pending and self.pending[0][0] is None and self.reached(self.store_retry.at):
            self.pending[0][0] = self.step
            self.out.append({"type": "commit"})
    def on_committed(self, step):
        while self.pending and self.pending[0][0] is not None and self.pending[0][0] <= step:
            if self.failing:
                self.failing = False
                self.forget(self.store_retry)
                self.show(type="storing", works=True)
            for then in self.pending.pop(0)[1]: then()
    def on_not_stored(self, step):
        self.pending = [[None, [then for _, all in self.pending for then in all]]]
        self.fail(self.store_retry)
        if not self.failing:
            self.failing = True
            self.show(type="storing", works=False)
    def write_rows(self, messages):
        for message in messages:
            message.unwritten += 1
            self.changed = True
            self.then.append(lambda message=message: setattr(message, "unwritten", message.unwritten - 1))

    # The sockets.
    def links(self): return [link for link in [self.current, self.successor, self.drained] if link]
    def link(self, socket): return next((link for link in self.links() if link.socket == socket), None)
    def ready(self): return self.current and self.current.ready is not None
    def in_flight(self, purpose):
        return any(asked[:len(purpose)] == purpose for link in self.links() for asked, _ in link.in_flight.values())
    def ask(self, link, purpose, request):
        self.last_request += 1
        id = f"r{self.last_request}"
        wait = self.settings["ping_wait_ms" if purpose[0] == "ping" else "answer_wait_ms"]
        link.in_flight[id] = (purpose, self.now + wait)
        self.out.append({"type": "send", "socket": link.socket, "frame": request | {"id": id}})
    def connect(self):
        self.sockets += 1
        self.out.append({"type": "connect", "socket": self.sockets})
        return Object(socket=self.sockets, opening=self.now + self.settings["answer_wait_ms"], ready=None, page=None, displaced=False,
                      pushes_at=self.now, in_flight={}, late={}, retry=Object(failures=0, at=0))
    def connect_anew(self):
        if self.token_good_until is not None and self.token_good_until <= self.now: self.wait_for_token(self.now)
        else: self.current, self.live = self.connect(), False
    def on_connect_now(self):
        if self.current: self.wants_ping |= self.ready()
        elif self.rest == "back_off": self.connect_anew()
        elif self.rest != "upgrade_required": self.current, self.live = self.connect(), False
    def on_opened(self, socket):
        if link := self.link(socket): link.opening, link.page, self.blind = None, "first", 0
    def on_open_failed(self, socket, failure):
        link = self.link(socket)
        if failure == "unreachable" or not link: self.died(link)
        elif link is self.current:
            self.current = None
            self.lose(link)
            self.without_token(link)
        else:
            self.need_token()
            self.died(link)
    def on_closed(self, socket): self.died(self.link(socket))
    def died(self, link, after_ms=None):
        if not link: return
        current, successor = link is self.current, link is self.successor
        for name in ["current", "successor", "drained"]:
            if getattr(self, name) is link: setattr(self, name, None)
        self.lose(link)
        if current:
            self.current, self.successor = self.successor, None
            if not self.current:
                self.forgive_if_lasted(link)
                self.fail(self.connect_retry, max(after_ms or 0, self.shut_until - self.now))
                self.rest, self.rest_until = "back_off", self.connect_retry.at
                self.blind += bool(link.opening)
                if link.opening and self.blind >= 2: self.need_token()
        elif successor:
            self.fail(self.replace_retry, after_ms)
            self.replace_at = self.replace_retry.at
            if self.current and self.current.displaced: self.abandon(self.current, after_ms)
    def forgive_if_lasted(self, link):
        if link.ready is not None and link.ready + self.settings["back_off_max_ms"] <= self.now: self.forget(self.connect_retry)
    def abandon(self, link, after_ms=None):
        self.out.append({"type": "close", "socket": link.socket})
        self.died(link, after_ms)
    def lose(self, link):
        if link.page == "first" and not link.displaced: self.lost_hello = link.socket
        for purpose, _ in link.in_flight.values(): self.answered(link, purpose, "socket lost", {})
    def close_all(self, rest):
        links, self.current, self.successor, self.drained = self.links(), None, None, None
        self.rest = rest
        for link in links:
            self.out.append({"type": "close", "socket": link.socket})
            self.lose(link)
        if rest != "no_token": self.show(type="connection", state={"is": rest})
    def without_token(self, link):
        self.forgive_if_lasted(link)
        self.fail(self.connect_retry)
        self.wait_for_token(self.connect_retry.at)
    def wait_for_token(self, until):
        half = self.settings["back_off_max_ms"] // 2
        self.rest_until, self.token_retry_at = until, until + half + random.randint(0, half)
        self.close_all("no_token")
        self.need_token()
    def tend_sockets(self):
        for link in self.links():
            waits = [link.opening] * bool(link.opening) + [until for _, until in link.in_flight.values()]
            if waits and self.reached(min(waits)): self.abandon(link)
        if self.drained and (not self.drained.in_flight or self.reached(self.drained.until)): self.abandon(self.drained)
        if not self.current and self.rest == "back_off" and self.reached(self.rest_until): self.connect_anew()
        elif not self.current and self.rest == "no_token" and self.reached(self.token_retry_at):
            self.current, self.live = self.connect(), False
        if self.ready() and not self.successor and self.replace_at is not None and self.reached(self.replace_at):
            self.replace_at, self.successor = None, self.connect()

    # Tokens.
    def need_token(self):
        self.ask_token_at = None
        if not self.token_wanted:
            self.token_wanted = True
            self.out.append({"type": "need_token"})
    def on_new_token(self, token):
        self.token_wanted, self.token_good_until = False, None
        if not self.current and self.rest == "no_token": self.rest, self.rest_until = "back_off", max(self.rest_until, self.now)
        self.token = token if self.current else None
        self.forget(self.token_retry)
    def tend_token(self):
        if not self.ready(): return
        if self.ask_token_at is not None and self.reached(self.ask_token_at): self.need_token()
        if self.token and not self.in_flight(("refresh",)) and not self.current.page and self.reached(self.token_retry.at):
            self.ask(self.current, ("refresh",), {"action": "refresh", "token": self.token})
    def token_ends(self, expires_ms):
        life = expires_ms - self.clock[0] - (self.now - self.clock[1])
        self.ask_token_at = self.token_good_until = self.now + max(life - 120000, life // 2)
    def refresh_answered(self, how, frame):
        if how == "ok":
            self.token = None
            self.forget(self.token_retry)
            self.token_ends(frame["expires_ms"])
        elif how == "refused":
            self.token = None
            self.fail(self.token_retry)
            self.ask_token_at = self.token_retry.at + self.settings["back_off_max_ms"]
        elif how == "again": self.fail(self.token_retry, frame.get("retry_after_ms"))

    # What comes of a socket.
    def on_received(self, socket, frame):
        link = self.link(socket)
        if not link or not isinstance(frame, dict): return
        kind, id = frame.get("type"), frame.get("id")
        if kind is None and "message" in frame:
            link.late |= {id: one for id, one in link.in_flight.items() if one[0][0] == "send"}
            lost, link.in_flight = link.in_flight, {}
            for purpose, _ in lost.values(): self.answered(link, purpose, "again", {})
        elif id is not None and id in link.in_flight:
            purpose = link.in_flight.pop(id)[0]
            link.late.pop(id, None)
            refused = "again" if frame.get("retryable") else "refused"
            self.answered(link, purpose, refused if kind == "error" else "ok" if kind == purpose[0] else "again", frame)
        elif kind == "error": self.about_connection(link, frame)
        elif id in link.late and kind == "send":
            purpose, until = link.late.pop(id)
            for result in frame["results"] * (until > self.now):
                if result["status"] in ("ok", "duplicate"): self.settle(self.at(purpose[1]), result)
        elif id is None and kind == "entries":
            link.pushes_at = self.now
            for entry in frame["entries"]: self.entry_came(self.at(frame["conversation"]), entry)
        elif id is None and kind == "receipt":
            link.pushes_at = self.now
            self.cursors_came(frame["conversation"], [frame])
        elif kind == "goaway": self.goaway(link, frame)
    def about_connection(self, link, frame):
        code = frame.get("code")
        if code == "token_expired":
            if link is self.current: self.without_token(link)
            else:
                if link is self.successor: self.need_token()
                self.abandon(link)
        elif code == "upgrade_required": self.close_all("upgrade_required")
        elif code == "resync": self.greet_again(link)
        else:
            if code == "rate_limited": self.shut_until = self.now + frame.get("retry_after_ms", 0)
            return False
        return True
    def goaway(self, link, frame):
        displaced = frame["reason"] == "displaced"
        link.displaced |= displaced
        greeted = self.successor and self.successor.page == "first"
        if link is self.drained or displaced and link is self.current and greeted: return  # this device has done it itself
        if displaced and not self.lost_hello: self.close_all("displaced")
        else: self.abandon(link, frame.get("retry_after_ms"))
    def answered(self, link, purpose, how, frame):
        if how in ("refused", "again") and self.about_connection(link, frame): how, frame = "again", {}
        if purpose[0] in ("hello", "ping"): purpose = purpose[:1] + (link,) + purpose[1:]
        getattr(self, purpose[0] + "_answered")(*purpose[1:], how, frame)

    # hello
    def greet(self):
        for link in [self.current, self.successor]:
            if link and link.page and not any(one[0][0] == "hello" for one in link.in_flight.values()) and self.reached(link.retry.at):
                after = "" if link.page == "first" else link.page
                known = [[one.id, *one.counted, *one.read] for one in sorted(self.all.values(), key=lambda one: one.id)
                         if one.id > after and (one.partner or one.told) and not one.headless]
                request = {"action": "hello", "v": 1} | ({"after": after} if after else {}) | ({"known": known} if known else {})
                self.ask(link, ("hello", after), request)
    def greet_again(self, link):
        if link is self.current and link.ready is not None and not self.in_flight(("hello", "")):
            link.page, self.live = "first", False
    def hello_answered(self, link, after, how, frame):
        if how == "refused": self.abandon(link, frame.get("retry_after_ms"))
        elif how == "again": self.fail(link.retry, frame.get("retry_after_ms"))
        if how != "ok": return
        if (frame["user"], frame["device"]) != (self.me, self.settings["device"]):
            if frame["user"] != self.me: self.show(type="failed_other_user", user=frame["user"])
            return self.without_token(link)
        self.limits = frame["limits"]
        if not after: self.greeted(link, frame)
        self.forget(link.retry)
        link.page = frame.get("next")
        for row in frame["conversations"]:
            one = self.at(row["conversation"])
            if frame["epoch"] < one.have[0]: continue
            head = position(row["head"])
            one.partner, one.told, one.headless = row.get("with") or one.partner, True, False
            self.learn_head(one, head, row["count"])
            if head < one.have and frame["epoch"] > one.have[0]: one.doubts += 1
            one.read_pending |= position(row["read"]) < one.read
            self.learn_read(one, row)
            self.touch(one)
            if row.get("last"): self.entry_came(one, row["last"])
            if self.behind(one): one.due = "now"
        for id in frame.get("gone", []):
            one = self.all.get(id)
            if one and frame["epoch"] >= one.have[0]:
                one.doubts += 1
                one.due = "now"
    def greeted(self, link, frame):
        if link is self.successor:
            if self.drained: self.abandon(self.drained)
            self.drained, self.current, self.successor = self.current, link, None
            self.drained.until = self.now + self.settings["answer_wait_ms"]
        self.lost_hello = self.lost_hello if self.lost_hello > link.socket else 0
        link.pushes_at = self.now
        link.ready = self.now if link.ready is None else link.ready
        self.forget(self.replace_retry)
        self.replace_at, self.clock = self.now + frame["reconnect_in_ms"], (frame["server_time_ms"], self.now)
        self.token_ends(frame["expires_ms"])
        retries = [self.sync_retry, self.cursor_retry, self.token_retry] + [one.retry for one in self.all.values()]
        for retry in retries + [retry for _, retry in self.openings.values()] + [ask[2] for ask in self.histories]: retry.at = 0
        for one in self.all.values():
            if self.behind(one): one.due = "now"

    # Entries.
    def behind(self, one): return one.doubts > one.settled or one.head > one.have
    def learn_head(self, one, head, count=None):
        before = one.head, one.head_count
        one.head = max(one.head, head)
        if count is not None and head >= one.counted:
            one.counted, one.head_count = head, count
            if head == one.have: one.have_count = count
        return (one.head, one.head_count) != before
    def entry_came(self, one, entry):
        at, head = position(entry["position"]), one.head
        if self.failing: self.learn_head(one, at, entry["count"])
        elif at[1] <= one.have[1]: one.doubts += at[0] > one.have[0]
        elif at[0] >= one.have[0]:
            self.learn_head(one, at, entry["count"])
            if at[1] not in one.ahead or position(one.ahead[at[1]]["position"]) < at: one.ahead[at[1]] = entry
            self.release(one)
            for seq in sorted(one.ahead)[self.settings["ahead_entries_max"]:]: del one.ahead[seq]
        if one.head != head: self.touch(one)
    def release(self, one):
        while entry := one.ahead.get(one.have[1] + 1):
            epoch = entry["position"]["epoch"]
            if epoch > one.have[0] and one.have != ZERO:
                one.doubts += 1
                return
            del one.ahead[one.have[1] + 1]
            if epoch < one.have[0]: return
            self.take(one, entry)
    def take(self, one, entry):
        at = position(entry["position"])
        if one.have[0] <= one.read[0] < at[0] and at[1] <= one.read[1]: self.read_back(one, one.have)
        one.have, one.have_count = at, entry["count"]
        one.read_count = entry["count"] if at == one.read else one.read_count
        if one.have >= one.counted: one.counted, one.head_count = one.have, one.have_count
        one.head = max(one.head, one.have)
        one.ahead.pop(at[1], None)
        one.counts[at] = entry["count"]
        if entry["sender"] == self.me:
            one.own.add(at)
            self.meet(one, entry)
        self.read_on(one)
        if entry["kind"] == "created" and not one.partner and len(entry["members"]) == 2:
            one.partner = next(user for user in entry["members"] if user != self.me)
        self.show_stored(type="entry", conversation=one.id, entry=entry)
        self.has_run(one)
        self.touch(one)
    def has_run(self, one):
        def stored(log=one.log, have=one.have): one.stored = have if one.log == log else one.stored
        if one.have[1] > one.start:
            self.then.append(stored)
            self.being_stored = self.step
    def meet(self, one, entry):
        """An entry of the user's own: the message of the outbox that it is, is stored."""
        for message in one.outbox:
            if message.id == entry["client_message_id"] and message.body == entry.get("body"):
                self.remove(one, message)
                self.show_stored(type="outgoing", conversation=one.id, client_message_id=message.id, state={
                    "is": "stored", "stored": {key: entry[key] for key in ("position", "time_ms", "count")}})
                return
    def plan(self, one):
        if not self.behind(one): one.due = None
        elif one.due != "now" and (not one.due or one.due[0] != one.have[1]):
            wait = self.limits["gap_wait_ms"]
            one.due = one.have[1], self.now + wait + random.randint(0, wait)
    def sync(self):
        if not self.ready() or self.failing or self.in_flight(("sync",)): return
        due = [one for one in self.all.values() if one.due and (one.due == "now" or self.reached(one.due[1]))]
        if not due or not self.reached(self.sync_retry.at): return
        due.sort(key=lambda one: (one.id not in self.looks, one.id))
        for one in due: self.jump_if_far(one)
        due = [one for one in due if self.behind(one)][:100]
        if due:
            asked = {one.id: (one.log, one.head, one.read, one.doubts) for one in due}
            ack = []
            for told in filter(None, map(self.untold, self.all.values())):
                one = self.all[told["conversation"]]
                if one.carried != told:
                    one.carried = told
                    ack.append(told)
            request = {"action": "sync", "conversations": [{"conversation": one.id, "after": as_json(one.have)} for one in due]}
            self.ask(self.current, ("sync", asked, ack), request | ({"ack": ack} if ack else {}))
    def far(self, one, to):
        return to[1] - one.have[1] > self.settings["new_entries_max" if one.have == ZERO else "catch_up_entries_max"]
    def jump_if_far(self, one):
        if one.counted[1] <= one.have[1] or not (one.jump or self.far(one, one.counted)): return
        to = one.counted
        while to != ZERO and position(one.ahead.get(to[1], {"position": as_json(ZERO)})["position"]) == to:
            to = (to[0], to[1] - 1) if to[1] > 1 else ZERO
        self.restart(one, to)
        one.jump = False
        self.show_stored(type="skipped", conversation=one.id, position=as_json(to))
        self.release(one)
        self.touch(one)
        self.look_again(one)
    def restart(self, one, to):
        one.log += 1
        one.settled = one.doubts
        one.read_pending |= one.read != ZERO and one.have[0] <= one.read[0] < to[0]
        one.start, one.have, one.looked_from, one.have_count, one.stored = to[1], to, to, one.head_count, ZERO
        one.counts, one.own = {}, set()
    def look_again(self, one):
        again = [message for message in one.outbox if message.state == "failed" and message.why != "bad_request"]
        for message in again: message.state = "refused"
        self.write_rows(again)
    def sync_answered(self, asked, ack, how, frame):
        if how != "ok":
            if how != "socket lost": self.fail(self.sync_retry, frame.get("retry_after_ms"))
            return
        for told in ack if frame.get("acked") else []: self.cursor_taken(told)
        pages = frame["pages"]
        put_off = [page for page in pages if page.get("retryable")]
        brings = any(not page["retryable"] if page["status"] == "refused" else page["done"] or page.get("skip") or page["entries"] for page in pages)
        if brings: self.forget(self.sync_retry)
        if not brings or put_off:
            self.fail(self.sync_retry, max([page.get("retry_after_ms", 0) for page in put_off], default=None))
        for page in pages:
            one = self.at(page["conversation"])
            log, head, read, doubts = asked.get(one.id, (None,) * 4)
            if log != one.log: continue
            if page["status"] == "refused":
                self.page_refused(one, page, head, doubts)
                continue
            before, skipped = (one.head, one.have, one.read), False
            if page.get("skip") and (to := position(page["skip"]["to"]))[1] > one.have[1] and to[0] >= one.have[0]:
                one.start, one.have, one.looked_from, one.head, skipped = to[1], to, to, max(one.head, to), True
                one.ahead = {seq: entry for seq, entry in one.ahead.items() if seq > to[1]}
            for entry in page["entries"]:
                at = position(entry["position"])
                if at[1] <= one.have[1] and at[0] > one.have[0]:
                    one.doubts += 1
                    break
                if at[1] == one.have[1] + 1 and at[0] >= one.have[0]: self.take(one, entry)
            self.release(one)
            if page["done"]:
                self.at_end(one, head, doubts)
                if one.read[1] > one.have[1] and one.read <= read: self.read_back(one, one.have)
            else: one.doubts, one.due = one.doubts + 1, "now"
            if (one.head, one.have, one.read) != before: self.touch(one)
            if skipped: self.look_again(one)
    def at_end(self, one, head, doubts):
        one.settled, one.due = doubts, None
        one.ahead = {seq: entry for seq, entry in one.ahead.items() if position(entry["position"]) > head}
        if one.head <= head:
            ends = [(position(entry["position"]), entry["count"]) for entry in one.ahead.values()] + [(one.have, one.have_count)]
            one.head, one.head_count = max(ends)
            one.counted = min(one.counted, one.head)
    def page_refused(self, one, page, head, doubts):
        code = page["code"]
        if code == "epoch_changed" and "common" in page: self.roll_back(one, position(page["common"]))
        elif code in ("epoch_changed", "anchor_unknown", "anchor_too_old"): self.begin_anew(one, code == "anchor_too_old")
        elif not page["retryable"]:
            self.at_end(one, head, doubts)
            if code == "not_found": self.not_found(one)
    def not_found(self, one):
        if one.partner and one.id not in self.opened_again:
            self.opened_again.add(one.id)
            self.want(one.partner)
        if one.partner or one.told:
            one.partner, one.told = None, False
            self.touch(one)
    def roll_back(self, one, common):
        if any(at[1] == common[1] and at != common for at in [*one.counts, one.have]) or common[1] <= one.have[1] and common[0] > one.have[0]:
            return self.begin_anew(one, False)
        loses = one.have[1] > common[1]
        if not loses and one.head <= max(common, one.have): self.fail(self.sync_retry)
        self.forget_late(one)
        one.log += 1
        one.ahead = {}
        if one.read[1] > common[1]: self.read_back(one, common)
        if loses:
            one.have_count, one.have = self.count_at(one, common), common
            self.show_stored(type="rolled_back", conversation=one.id, position=as_json(common))
        back = lambda at: common if at[1] > common[1] else at
        one.start, one.looked_from, one.acked = min(one.start, common[1]), back(one.looked_from), back(one.acked)
        one.stored, one.refused, one.carried = ZERO, ZERO, None
        one.head = max(common, one.have)
        one.counted, one.head_count = one.have, one.have_count
        one.counts = {at: count for at, count in one.counts.items() if at[1] <= common[1]}
        one.doubts, one.due = one.doubts + 1, "now"
        moved = [message for message in one.outbox if message.anchor[1] > common[1]]
        for message in moved: message.anchor = common
        self.has_run(one)
        self.write_rows(moved)
        self.touch(one)
    def begin_anew(self, one, jump):
        self.forget_late(one)
        self.restart(one, ZERO)
        one.ahead, one.others, one.due, one.jump, one.headless = {}, {}, None, jump, True
        one.head = one.counted = one.read = one.acked = one.refused = ZERO
        one.head_count = one.have_count = one.read_count = 0
        one.read_pending, one.carried = False, None
        self.show_stored(type="rolled_back", conversation=one.id, position=as_json(ZERO))
        self.touch(one)
        self.wants_ping = True
        self.fail(self.sync_retry)
    def forget_late(self, one):
        for link in self.links(): link.late = {id: late for id, late in link.late.items() if late[0][1] != one.id}

    # What the user writes.
    def on_compose(self, conversation, body):
        if conversation not in self.all: return self.show(type="no_conversation", conversation=conversation)
        one = self.at(conversation)
        message = Object(id=str(uuid.uuid4()), anchor=one.head, body=body, state="waiting", unwritten=0)
        one.outbox.append(message)
        self.write_rows([message])
        self.show_stored(type="outgoing", conversation=conversation, client_message_id=message.id, state={"is": "waiting"})
    def on_discard(self, conversation, client_message_id):
        for message in self.at(conversation).outbox:
            if message.id == client_message_id and message.state == "failed":
                self.remove(self.at(conversation), message)
                return
    def remove(self, one, message):
        one.outbox.remove(message)
        self.changed = True
        if all(message.state == "failed" for message in one.outbox): one.probe, one.alone = None, False
    def send(self, one):
        waiting = [message for message in one.outbox if message.state != "failed"]
        if not self.ready() or one.busy or not waiting or not self.reached(one.retry.at): return
        if one.probe or any(message.state == "refused" for message in waiting):
            waiting = waiting[:25]
            anchor = ZERO if one.probe == "first" else min(message.anchor for message in waiting)
            ids = [message.id for message in waiting]
            self.ask(self.current, ("probe", one.id, one.log, ids),
                     {"action": "probe", "conversation": one.id, "anchor": as_json(anchor), "ids": ids})
            one.busy = True
            return
        messages = []
        for message in waiting[:1 if one.alone else self.limits["messages_per_send_max"]]:
            if message.unwritten: break
            messages.append({"client_message_id": message.id, "anchor": as_json(message.anchor), "body": message.body})
        if messages:
            ids = [message["client_message_id"] for message in messages]
            self.ask(self.current, ("send", one.id, one.log, ids), {"action": "send", "conversation": one.id, "messages": messages})
            one.busy = True
    def send_answered(self, id, log, ids, how, frame):
        one = self.at(id)
        one.busy = False
        if how == "again": self.fail(one.retry, frame.get("retry_after_ms"))
        elif how == "refused" and len(ids) > 1: one.alone = True
        elif how == "refused": self.refuse(one, ids[0], frame)
        elif how == "ok":
            if any(result["status"] in ("ok", "duplicate", "conflict") for result in frame["results"]) or not any(
                    result.get("retryable") for result in frame["results"]):
                self.forget(one.retry)
            for result in frame["results"]: self.result_came(one, log, result)
    def result_came(self, one, log, result):
        message = next((message for message in one.outbox if message.id == result["client_message_id"]), None)
        code = result.get("code")
        if not message or result["status"] == "not_attempted": return
        if result["status"] in ("ok", "duplicate"): self.settle(one, result)
        elif result["status"] == "conflict":
            self.learn_head(one, position(result["position"]), result["count"])
            self.message_failed(one, message, "bad_request")
        elif result["retryable"]: self.fail(one.retry, result.get("retry_after_ms"))
        elif code == "anchor_stale":
            tail = position(result["tail"])
            inside = lambda anchor: one.looked_from[1] <= anchor[1] < one.have[1] and anchor[0] <= one.have[0]
            near = tail[1] - one.have[1] <= self.limits["anchor_entries_max"]
            moved = [message for message in one.outbox if near and message.state != "failed" and inside(message.anchor)]
            if message not in moved: one.probe = "anchors"
            for other in moved: other.anchor = one.have
            self.write_rows(moved)
            self.end_came(one, tail)
            self.touch(one)
        elif code == "anchor_too_old": one.probe = "anchors"
        elif code == "anchor_unknown" and message.anchor != ZERO:
            one.probe = "first"
            self.fail(one.retry)
            one.doubts += 1
        elif code == "epoch_changed": self.restored(one, log, result)
        else: self.refuse(one, message.id, result)
    def restored(self, one, log, refusal):
        self.fail(one.retry, refusal.get("retry_after_ms"))
        if log == one.log and "common" in refusal: self.roll_back(one, position(refusal["common"]))
        elif log == one.log: one.probe, one.doubts = "first", one.doubts + 1
    def refuse(self, one, id, refusal):
        one.alone = False
        for message in one.outbox:
            if message.id == id:
                message.state, message.why = "refused", refusal["code"]
                self.write_rows([message])
    def message_failed(self, one, message, why):
        message.state, message.why = "failed", why
        self.write_rows([message])
        self.show_stored(type="outgoing", conversation=one.id, client_message_id=message.id, state={"is": "failed"})
    def settle(self, one, stored):
        """A message is in the log: it is the entry there."""
        message = next((message for message in one.outbox if message.id == stored["client_message_id"]), None)
        if message:
            entry = {"position": stored["position"], "sender": self.me, "client_message_id": message.id, "time_ms": stored["time_ms"],
                     "count": stored["count"], "kind": "message", "body": message.body}
            self.meet(one, entry)
            self.entry_came(one, entry)
    def probe_answered(self, id, log, ids, how, frame):
        one = self.at(id)
        one.busy = False
        named = [message for message in one.outbox if message.id in ids]
        if how == "again": self.fail(one.retry, frame.get("retry_after_ms"))
        elif how == "refused" and frame["code"] == "epoch_changed": self.restored(one, log, frame)
        elif how == "refused" and frame["code"] == "anchor_unknown" and one.probe != "first":
            one.probe, one.doubts = "first", one.doubts + 1
        elif how == "refused":
            one.probe = None
            for message in named: self.message_failed(one, message, frame["code"] if message.state == "waiting" else message.why)
            if frame["code"] == "not_found": self.not_found(one)
        elif how == "ok" and log == one.log:
            for found in frame["found"]: self.settle(one, found)
            reached = position(frame["reached"])
            self.end_came(one, reached)
            moved = [message for message in one.outbox if message.id in ids and message.anchor != reached]
            for message in moved: message.anchor = reached
            self.forget(one.retry) if frame["done"] or moved else self.fail(one.retry)
            self.write_rows(moved)
            one.probe = None if frame["done"] else "anchors"
            for message in [message for message in one.outbox if message.id in ids and message.state == "refused" and frame["done"]]:
                self.message_failed(one, message, message.why)
            self.touch(one)

    # Cursors.
    def untold(self, one):
        is_written = not self.pending and not self.dirty and not self.changed
        delivered = one.stored if one.stored > max(one.acked, one.refused) else None
        read = one.read if one.read_pending and is_written else None
        at = delivered if delivered and (read is None or read != one.apart) else read
        if at is not None: return {"conversation": one.id, "position": as_json(at)} | ({"read": as_json(read)} if read else {})
    def tell_cursors(self):
        if not self.ready() or self.in_flight(("ack",)) or self.in_flight(("sync",)) or getattr(self, "being_stored", None) == self.step:
            return
        told = [told for one in sorted(self.all.values(), key=lambda one: one.id) if (told := self.untold(one))][:100]
        if not told:
            self.cursors_since = None
            return
        self.cursors_since = self.now if self.cursors_since is None else self.cursors_since
        if self.reached(max(self.cursors_since + self.settings["cursors_wait_ms"], self.cursors_at, self.cursor_retry.at)):
            self.cursors_since, self.cursors_at = None, self.now + self.limits["cursors_every_ms"]
            self.ask(self.current, ("ack", told), {"action": "ack", "positions": told})
    def ack_answered(self, told, how, frame):
        if how == "again": self.fail(self.cursor_retry, frame.get("retry_after_ms"))
        elif how in ("ok", "refused"):
            results = frame["results"] if how == "ok" else [frame | {"status": "refused"}] * len(told)
            again = []
            for one, result in zip(told, results):
                if result["status"] == "ok": self.cursor_taken(one)
                elif result["retryable"]: again.append(result.get("retry_after_ms", 0))
                else: self.cursor_refused(one, result)
            if not again or any(result["status"] == "ok" for result in results): self.forget(self.cursor_retry)
            if again: self.fail(self.cursor_retry, max(again))
    def cursor_taken(self, told):
        one = self.at(told["conversation"])
        read = position(told["read"]) if "read" in told else None
        delivered = max(position(told["position"]), read or ZERO)
        if delivered[1] <= one.have[1]: one.acked = max(one.acked, delivered)
        if read is not None: one.read_pending = one.read_pending and one.read > read
    def cursor_refused(self, told, refusal):
        one, at, code = self.at(told["conversation"]), position(told["position"]), refusal["code"]
        read = position(told["read"]) if "read" in told else None
        if code == "not_found": self.not_found(one)
        if read and read != at and code != "not_found": one.apart = read
        else:
            if at[1] <= one.have[1]: one.refused = max(one.refused, at)
            if read and read == one.read:
                common = position(refusal["common"]) if "common" in refusal else ZERO
                if code in ("epoch_changed", "anchor_unknown"):
                    self.read_back(one, common if code == "epoch_changed" and common[1] < one.read[1] else ZERO)
                else: one.read_pending = False
                self.touch(one)
        one.doubts += code == "epoch_changed"
    def on_mark_read(self, conversation, position):
        one, at = self.at(conversation), (position["epoch"], position["seq"])
        if one.start < at[1] <= one.stored[1] and at > one.read:
            one.read, one.read_count, one.read_pending = at, self.count_at(one, at), True
            self.read_on(one)
            self.touch(one)
    def count_at(self, one, at):
        return one.counts.get(at, max(0, at[1] - 1 if one.have == ZERO else one.have_count + at[1] - one.have[1]))
    def read_on(self, one):
        while own := next((at for at in one.own if at[1] == one.read[1] + 1 and at[0] >= one.read[0]), None):
            one.read, one.read_count, one.read_pending = own, one.counts[own], True
    def read_back(self, one, to): one.read, one.read_count, one.read_pending = to, self.count_at(one, to), to != ZERO
    def learn_read(self, one, told):
        read, before = position(told["read"]), (one.read, one.read_count)
        if read < one.read or read[1] > one.have[1] and read[0] < one.have[0] or any(at[1] == read[1] and at > read for at in one.counts):
            return
        one.read, one.read_count, one.read_pending = read, told["read_count"], False
        self.read_on(one)
        if (one.read, one.read_count) != before: self.touch(one)
    def cursors_came(self, id, cursors):
        one = self.all.get(id)
        for told in cursors if one else []:
            if told["user"] == self.me:
                self.learn_read(one, told) if "read_count" in told else None
                continue
            before = one.others.get(told["user"], [ZERO, ZERO])
            delivered, read = position(told["delivered"]), position(told["read"])
            after = one.others[told["user"]] = [max(before[0], delivered, read), max(before[1], read)]
            if after != before:
                cursors = {"user": told["user"], "delivered": as_json(after[0]), "read": as_json(after[1])}
                self.show(type="cursors", conversation=id, cursors=cursors)

    # What the user looks at.
    def on_look(self, conversations):
        self.looks = list(dict.fromkeys(conversations))[:20]
        self.wants_ping |= bool(self.looks)
    def end_came(self, one, end): self.wants_ping |= self.learn_head(one, end) and self.far(one, end)
    def ping(self):
        if not self.ready() or self.in_flight(("ping",)): return
        due = self.wants_ping or self.reached(self.current.pushes_at + self.limits["ping_after_idle_ms"])
        if due and self.reached(self.ping_retry.at):
            self.wants_ping = False
            lost = [one.id for one in sorted(self.all.values(), key=lambda one: one.id)
                    if one.headless or self.far(one, one.head) and not self.far(one, one.counted)]
            looked = (lost + [id for id in self.looks if id not in lost])[:20]
            self.ask(self.current, ("ping",), {"action": "ping"} | ({"open": looked} if looked else {}))
    def ping_answered(self, link, how, frame):
        if how in ("refused", "again"):
            self.wants_ping = True
            self.fail(self.ping_retry, frame.get("retry_after_ms"))
        elif how == "ok":
            self.forget(self.ping_retry)
            link.pushes_at = self.now
            for status in frame.get("conversations", []):
                if one := self.all.get(status["conversation"]):
                    one.headless = False
                    if self.learn_head(one, position(status["head"]), status["count"]): self.touch(one)
                    self.cursors_came(one.id, status.get("cursors", []))
                    if "read" in status: self.learn_read(one, status)
            if frame.get("resync"): self.greet_again(link)
    def on_open_with(self, user):
        for one in self.all.values():
            if one.partner == user: return self.show(type="opened", user=user, conversation=one.id)
        self.want(user)
    def want(self, user):
        if all(opening[0] != user for opening in self.openings.values()):
            self.openings[str(uuid.uuid4())] = (user, Object(failures=0, at=0))
    def open_answered(self, id, how, frame):
        user, retry = self.openings[id]
        if how == "again": self.fail(retry, frame.get("retry_after_ms"))
        elif how == "refused":
            del self.openings[id]
            self.show(type="failed_open", user=user)
        elif how == "ok":
            del self.openings[id]
            one = self.at(frame["conversation"])
            one.doubts += not one.partner and one.have != ZERO
            one.partner, one.told = frame.get("with") or user, True
            self.end_came(one, position(frame["head"]))
            self.touch(one)
            self.show_stored(type="opened", user=user, conversation=one.id)
    def on_load_history(self, conversation, before=None):
        one = self.all.get(conversation)
        if not one: return self.show(type="no_conversation", conversation=conversation)
        before = one.start + 1 if before is None else before
        if before <= 1: self.show(type="history", conversation=conversation, entries=[], done=True)
        elif all(ask[:2] != (conversation, before) for ask in self.histories):
            self.histories.append((conversation, before, Object(failures=0, at=0)))
    def history_answered(self, id, before, how, frame):
        ask = next(ask for ask in self.histories if ask[:2] == (id, before))
        if how == "again": self.fail(ask[2], frame.get("retry_after_ms"))
        elif how != "socket lost": self.histories.remove(ask)
        one = self.at(id)
        if how == "refused":
            if frame["code"] == "not_found": self.not_found(one)
            self.show(type="failed_history", conversation=id)
        elif how == "ok":
            older = [entry for entry in frame["entries"] if entry["position"]["seq"] <= one.start]
            if older and older[-1]["position"]["seq"] == one.start and one.have != ZERO:
                one.start = older[0]["position"]["seq"] - 1
                self.has_run(one)
                self.touch(one)
            for entry in frame["entries"]:
                if entry["sender"] == self.me and entry["position"]["seq"] <= one.have[1]: self.meet(one, entry)
            self.show_stored(type="history", conversation=id, entries=frame["entries"], done=frame["done"])
    def on_tick(self, wait): pass


random.seed(*sys.argv[1:])
client = None
for line in sys.stdin:
    line = json.loads(line)
    if line.get("type") == "start": client, answer = Client(line), {"outputs": [], "wake_at_ms": None}
    else: answer = client.handle(line["at_ms"], line["input"])
    print(json.dumps(answer), flush=True)
