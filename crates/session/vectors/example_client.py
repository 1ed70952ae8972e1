#!/usr/bin/env python3
"""A client engine for Chatlane, by somebody who had only docs/PROTOCOL.md (cited as §…) and README.md beside this file: inputs and the time in,
outputs out. It never sleeps and opens nothing itself; its store and its screen are the judge's. judge.py python3 example_client.py [SEED]

Every input changes the state; then `pump` asks for whatever the state permits now, and notes when the next wait ends. Requests that fail leave the
state as it was, with a pause, so that `pump` asks again. What must not happen before a write is durable hangs on the step that asked for the write."""
import copy, json, random, sys, uuid
from types import SimpleNamespace

ZERO = (0, 0)
LIMITS = {"request_bytes_max": 32768, "messages_per_send_max": 25, "anchor_entries_max": 200, "gap_wait_ms": 500,
          "ping_after_idle_ms": 240000, "cursors_every_ms": 1000}  # until `hello` tells them (§11)
KNOWN_BYTES_MAX, REFRESH_BEFORE_MS, STEADY_MS, HOUR_MS = 30 * 1024, 120_000, 30_000, 3_600_000
LOOKED_AT_MAX, PER_REQUEST_MAX, PROBED_IDS_MAX, INFO_MAX = 20, 100, 25, 20
CHANGES = {"edit": ("target", "body"), "delete": ("target",), "react": ("target", "key", "change"), "add": ("users",), "remove": ("users",),
           "leave": ("successor",), "role": ("user", "role"), "settings": ("settings",), "close": ()}  # what is no message, and its fields
MESSAGE = ("body", "reply_to", "mentions")
ENDED = {"code": "not_found", "retryable": False}  # of what is asked of a group that has ended


def pos(value):
    """A position as a pair, which orders by epoch, then seq (§1)."""
    return (value["epoch"], value["seq"]) if value else ZERO


def wire(pair):
    return {"epoch": pair[0], "seq": pair[1]}


def target(entry):
    """The entry that this one is about (§7.1)."""
    fields = {"edit": ("target",), "deletion": ("target",), "reaction": ("target", "key", "change")}.get(entry["kind"])
    return entry["target"] if fields and all(name in entry for name in fields) else None


def fold(message, by, me):
    """What becomes of a message by an entry about it: only what it does not tell yet."""
    if message["kind"] != "message":
        return
    seq = by["position"]["seq"]
    if by["kind"] == "edit" and "body" in by and message.get("edited", 0) < seq:
        message["body"], message["edited"] = by["body"], seq
    elif by["kind"] == "reaction" and message.get("reactions_to", 0) < seq:
        counts = {one["key"]: one for one in message.get("reactions", [])}
        one = counts.setdefault(by["key"], {"key": by["key"], "count": 0})
        one["count"] += 1 if by["change"] == "add" else -1
        if by["sender"] == me:
            one["mine"] = by["change"] == "add"
        message["reactions"] = [one for one in sorted(counts.values(), key=lambda one: one["key"].encode()) if one["count"] > 0]
        message["reactions_to"] = seq
        if not message["reactions"]:
            del message["reactions"]
    elif by["kind"] == "deletion":
        for name in message.keys() - {"position", "sender", "client_message_id", "time_ms", "count"}:
            del message[name]
        message["kind"] = "deleted"


class Conversation:
    """What the device knows of one conversation. `have`, `read` and so on are what the store holds as soon as it has written."""

    def __init__(self, name, row=None):
        row = row or {}
        self.name, self.partner = name, row.get("with")
        self.start, self.have, self.have_count = pos(row.get("from")), pos(row.get("have")), row.get("have_count", 0)
        self.head, self.head_count = pos(row.get("head")), row.get("head_count", 0)  # the highest position with a known count
        self.known = max(self.head, self.have)  # the highest position known to exist: what a new anchor is (§6.1)
        self.acked, self.read, self.read_count = pos(row.get("acked")), pos(row.get("read")), row.get("read_count", 0)
        self.read_pending = row.get("read_pending", False)  # the server has yet to be told `read`
        self.others = {one["user"]: (pos(one["delivered"]), pos(one["read"])) for one in row.get("others", [])}
        self.stored = self.have if self.have > self.start else self.acked  # the highest entry in the store: what may be acknowledged
        self.read_stored = self.read
        self.read_private = row.get("read_private", False)  # others are not told of `read` (§7.4)
        self.mentioned = row.get("mentioned", 0)  # the last message of another that mentions the user
        self.prefs = row.get("prefs", {"version": 0})  # as the server told them (§5.5)
        self.wished = row.get("wished", {})  # what is to be set, until the server has it
        self.wish_stored, self.prefs_doubted = self.wished, False
        self.taken = []     # entries that are taken, but not yet durable
        self.counts = {}    # seq -> (epoch, count, own) of entries taken in this life of the app
        self.buffer = {}    # seq -> entry: came too early (§7.1)
        self.due = None     # when `sync` is asked; None: nothing is missing
        self.doubt = False  # `have` may not be in the log any more
        self.log = 0        # how often it turned out to be another one: what was asked of it before says nothing any more
        self.time = 0       # of the latest entry
        self.single = False  # a `send` of several was refused whole: one by one
        self.shown_unread = None
        self.told = row.get("told", False)  # whom it is with, the server has told: without a partner it is a group
        self.member_at, self.ended = pos(row.get("member_at")), row.get("ended", False)  # what says whether the user is a member (§5.3)
        self.kept, self.kept_from = {}, self.start[1]  # entries in the store, by seq
        self.about = []  # edits, deletions and reactions of this life
        self.amended = row.get("amended", 0)  # the highest seq that a change of an entry here has come from
        self.apart = False  # an `ack` with both positions was refused: each alone, the mark first (§7.4)

    def is_group(self):
        return self.told and not self.partner

    def prefer(self):
        """What the user sees: what the server told, with what they have wished since. What is not set is left out."""
        return {key: value for key, value in {**self.prefs, **self.wished}.items() if value or key == "version"}

    def missing(self):
        return self.doubt or bool(self.buffer) or self.known > self.have

    def forget_beyond(self):
        """That more is there was told by what does not count any more, but for the buffer."""
        self.known = max([self.have, *(pos(entry["position"]) for entry in self.buffer.values())])

    def give_up(self):
        """Nothing more is to be had of it for now."""
        self.doubt, self.due, self.known, self.buffer = False, None, self.have, {}

    def count_at(self, position):
        """Messages up to a position. Entries of before this life are not at hand: nearly all entries are messages."""
        known = self.counts.get(position[1])
        if known and known[0] == position[0]:
            return known[1]
        if position == self.head:
            return self.head_count
        return max(0, self.have_count - max(0, self.have[1] - position[1]))

    def note(self, position, count=None):
        """An entry is known to exist."""
        self.known = max(self.known, position)
        if count is not None and position >= self.head:
            self.head, self.head_count = position, count


class Row:
    """A message or a change in the outbox (§6.2)."""

    def __init__(self, conversation, name, anchor, draft, state="waiting", refusal=None):
        self.conversation, self.name, self.anchor, self.state = conversation, name, anchor, state
        self.kind = draft.get("kind", "message")
        self.fields = {name: draft[name] for name in CHANGES.get(self.kind, MESSAGE) if name in draft}
        self.version = self.stored = 0  # durable if they are equal
        self.refusal = refusal or {"code": "unknown", "retryable": False}
        self.settled = self.refusal["code"] == "conflict"  # what has its name in the log is another message
        self.look = state == "refused"  # a `probe` must pass before it is sent, or shown as failed


class Socket:
    def __init__(self, number, now):
        self.number, self.since = number, now
        self.open = self.live = False  # live: the first page of `hello` is answered
        self.page = None          # the `after` of the next `hello`
        self.greet = True         # a `hello` is to be said
        self.flight, self.late = {}, {}  # requests by id; late: the gateway's frame said that their outcome is unknown (§10)
        self.heard = now          # the last push or answer to `ping` (§8.1)
        self.limited = 0          # `retry_after_ms`, if the last frame was a `rate_limited`
        self.renew_at = None


class Client:
    def __init__(self, settings, restored):
        self.set, self.user, self.limits = settings, settings["user"], dict(LIMITS)
        self.conversations = {row["conversation"]: Conversation(row["conversation"], row) for row in restored["conversations"]}
        self.outbox = [Row(self.conversation(row["conversation"]), row["client_message_id"], pos(row["anchor"]), row,
                           row["state"]["is"], row["state"].get("refusal"))
                       for row in sorted(restored["outbox"], key=lambda row: row["order"])]
        self.now = self.step = 0
        self.out, self.wake, self.changed = [], [], False
        self.pending = []       # (step, what to do when the writes of that step are durable)
        self.storing, self.store_again_at, self.store_failures = True, None, 0
        self.current = self.successor = None
        self.drained = []
        self.wanted, self.final = False, None  # whether to be connected; why not again by itself
        self.sockets = self.requests = 0
        self.connect_at, self.old_token_at, self.not_before, self.failures, self.failed_opens, self.lost_hello = None, 0, 0, 0, 0, False
        self.token_asked = self.token_refused = False
        self.token = None         # a new one that the connection has not been told
        self.expires_at = self.server_offset = None
        self.epoch = 0
        self.pauses = {}          # what is put off -> (until, failures)
        self.looked, self.ping_wanted, self.head_wanted = [], False, set()
        self.opens, self.histories, self.reopened = {}, [], set()
        self.held = []            # messages to users with whom there is no conversation yet (§13.4)
        for row in sorted(restored.get("held", []), key=lambda row: row["order"]):
            self.held.append((row["user"], row["client_message_id"], row["body"]))
            self.opens.setdefault(row["user"], row["opening"])
        # Groups that are not made yet: [users, settings, whether they are durable] (§5.2)
        self.groups = {row["client_message_id"]: [row["users"], row["settings"], True] for row in restored.get("groups", [])}
        self.infos, self.members = [], {}  # what the user looks at (§5.4): conversations; conversation -> [members, next]
        self.tell_since, self.told_at = {}, {}  # by lane: `ack`, `read`
        self.page_step = self.committed = -1  # the step of the last page of `sync`; what is durable

    # ---- small things

    def conversation(self, name):
        return self.conversations.setdefault(name, Conversation(name))

    def emit(self, kind, **fields):
        self.out.append({"type": kind, **fields})

    def show(self, kind, **fields):
        self.emit("show", what={"type": kind, **fields})

    def reached(self, when):
        """Whether a time has come; if not, the client wakes then."""
        if when <= self.now:
            return True
        self.wake.append(when)
        return False

    def bound(self, failures):
        return min(self.set["back_off_min_ms"] * 2 ** min(failures, 16), self.set["back_off_max_ms"])

    def back_off(self, failures):
        return random.randint(self.bound(failures) // 2, self.bound(failures))

    def put_off(self, key, error=None):
        """The pause of a request that is to be repeated."""
        failures = self.pauses.get(key, (0, 0))[1]
        after = (error or {}).get("retry_after_ms", 0)
        self.pauses[key] = (self.now + after + self.back_off(failures), failures + 1)

    def free(self, key):
        return self.reached(self.pauses.get(key, (0, 0))[0])

    def write(self, then=None):
        """Something is to be stored with this step's commit."""
        self.changed = True
        if then:
            self.pending.append((self.step, then))

    def show_stored(self, kind, **fields):
        """What rests on a write is shown when that is durable (§7.1)."""
        self.write(lambda: self.show(kind, **fields))

    def flying(self, action, about=None):
        return any(request.action == action and about in (None, request.about) for socket in self.alive() for request in socket.flight.values())

    def alive(self):
        return [socket for socket in (self.current, self.successor, *self.drained) if socket]

    def request(self, socket, action, about=None, **fields):
        self.requests += 1
        name, overdue = f"r{self.requests}", self.now + self.set["ping_wait_ms" if action == "ping" else "answer_wait_ms"]
        fields = {key: value for key, value in fields.items() if value is not None}
        socket.flight[name] = request = SimpleNamespace(action=action, socket=socket, overdue=overdue, about=about, fields=fields)
        self.emit("send", socket=socket.number, frame={"action": action, "id": name, **request.fields})
        return request

    def rows(self, conversation):
        return [row for row in self.outbox if row.conversation is conversation]

    # ---- a line of the judge

    def line(self, at, given):
        self.now, self.out, self.wake, self.changed = at, [], [], False
        getattr(self, "on_" + given["type"])(given)
        self.pump()
        if self.changed and self.storing:
            self.out.insert(0, {"type": "commit"})
        self.step += 1
        later = [when for when in self.wake if when > at]
        return {"outputs": self.out, "wake_at_ms": min(later) if later else None}

    # ---- the user

    def on_connect_now(self, _):
        """The app starts or comes to the front, or the user acts (§8.3)."""
        self.wanted = True
        if self.current and self.current.live:
            self.ping_wanted = True
        elif not self.current:
            self.final = self.final if self.final == "upgrade_required" else None
            self.connect_at = max(self.now, self.not_before)

    def on_compose(self, given):
        if given["conversation"] not in self.conversations:
            return self.show("no_conversation", conversation=given["conversation"])
        kind = given["type"] if given["type"] in CHANGES else "message"
        return self.compose(self.conversation(given["conversation"]), str(uuid.uuid4()), {**given, "kind": kind})

    def on_create(self, given):
        name = str(uuid.uuid4())
        self.groups[name] = group = [given["users"], given["settings"], False]
        self.write(lambda: group.__setitem__(2, True))

    def may_ask(self, name):
        ended = self.conversation(name).ended
        if ended:
            self.show("failed_group", conversation=name, refusal=ENDED)
        return not ended

    def on_ask_info(self, given):
        self.infos += [name for name in given["conversations"] if self.may_ask(name) and name not in self.infos]

    def on_ask_members(self, given):
        if self.may_ask(given["conversation"]):
            self.members.setdefault(given["conversation"], [[], None])

    def on_kept(self, given):
        kept = self.conversation(given["conversation"]).kept
        self.show("kept", conversation=given["conversation"], entries=[kept[seq] for seq in sorted(kept)])

    def on_compose_to(self, given):
        user, name = given["user"], str(uuid.uuid4())
        conversation = self.conversation_with(user)
        if conversation:
            return self.compose(conversation, name, given)
        self.held.append((user, name, given["body"]))
        self.opens.setdefault(user, str(uuid.uuid4()))
        return self.show_stored("held", user=user, client_message_id=name)

    def conversation_with(self, user):
        return next((one for one in self.conversations.values() if one.partner == user), None)

    def compose(self, conversation, name, draft):
        row = Row(conversation, name, conversation.known, draft if "kind" in draft else {"body": draft["body"]})
        self.outbox.append(row)
        self.keep(row)
        if conversation.ended:
            row.state = "failed"
            return self.outgoing(row, "failed", refusal=ENDED)
        return self.outgoing(row, "waiting")

    def keep(self, row):
        """The row is not used before it is durable as it is now (§6.2)."""
        row.version += 1
        version = row.version
        self.write(lambda: setattr(row, "stored", version))

    def outgoing(self, row, state, **more):
        self.show_stored("outgoing", conversation=row.conversation.name, client_message_id=row.name, state={"is": state, **more})

    def on_open_with(self, given):
        conversation = self.conversation_with(given["user"])
        if conversation:
            self.show("opened", user=given["user"], conversation=conversation.name)
        else:
            self.opens.setdefault(given["user"], str(uuid.uuid4()))

    def on_mark_read(self, given):
        conversation, position = self.conversation(given["conversation"]), pos(given["position"])
        private = given.get("private", False)
        if position > conversation.read or position == conversation.read and conversation.read_private and not private:
            conversation.read_private = private
            self.move_read(conversation, position, conversation.count_at(position), pending=True)

    def on_prefer(self, given):
        if given["conversation"] not in self.conversations:
            return self.show("no_conversation", conversation=given["conversation"])
        one = self.conversation(given["conversation"])
        if one.ended:
            return self.show("failed_prefs", conversation=one.name, refusal=ENDED)
        return self.change_prefs(one, one.prefs, {**one.wished, **given["prefs"]})

    def on_look(self, given):
        self.looked = given["conversations"][:LOOKED_AT_MAX]
        self.ping_wanted = bool(self.current and self.current.live)

    def on_load_history(self, given):
        if self.conversation(given["conversation"]).ended:
            return self.show("failed_history", conversation=given["conversation"], refusal=ENDED)
        return self.histories.append((given["conversation"], given.get("before")))

    def on_discard(self, given):
        self.outbox = [row for row in self.outbox if (row.conversation.name, row.name) != (given["conversation"], given["client_message_id"])]
        self.write()

    # ---- the store

    def on_committed(self, given):
        done, self.pending = [one for one in self.pending if one[0] <= given["step"]], [one for one in self.pending if one[0] > given["step"]]
        self.committed = given["step"]
        for _, then in done:
            then()
        if not self.storing:
            self.storing, self.store_again_at, self.store_failures = True, None, 0
            self.show("storing", works=True)
            self.pending, self.changed = [(self.step, then) for _, then in self.pending], bool(self.pending)

    def on_not_stored(self, given):
        """Nothing of that step and behind it is stored: written again after a pause, all at once (§13.9)."""
        if self.storing:
            self.storing = False
            self.show("storing", works=False)
        self.store_again_at = self.now + self.back_off(self.store_failures)
        self.store_failures += 1

    def store_again(self):
        self.pending = [(self.step, then) for _, then in self.pending]
        self.store_again_at = None
        self.out.insert(0, {"type": "commit"})

    # ---- sockets and tokens (§8)

    def connect(self):
        self.sockets += 1
        self.emit("connect", socket=self.sockets)
        return Socket(self.sockets, self.now)

    def close(self, socket):
        self.emit("close", socket=socket.number)
        self.forget(socket)

    def forget(self, socket):
        """A socket is gone: what was in flight on it has an unknown outcome, and is asked again."""
        lost = any(request.action == "hello" and not request.fields.get("after") for request in socket.flight.values())
        if socket in self.drained:
            self.drained.remove(socket)
        elif socket is self.successor:
            self.successor = None
        elif socket is self.current:
            self.lost_hello = self.lost_hello or lost
            self.current, self.successor = self.successor, None

    def reconnect(self, socket, after=0):
        """The connection in use is gone: another one after a random pause (§8.3)."""
        if self.current or self.connect_at is not None:
            return  # a successor is on its way
        if socket.live and self.now - socket.since >= STEADY_MS:
            self.failures = 0
        self.not_before = self.now + (after if after <= HOUR_MS else 0)
        self.connect_at = self.not_before + random.randint(1, self.bound(self.failures))
        self.failures += 1

    def ask_token(self, why):
        if not self.token_asked:
            self.token_asked = True
            self.emit("need_token", why=why)

    def refuse_token(self, why="refused"):
        """Not again with this token; after a while all the same, for the server may have been wrong."""
        half = self.set["back_off_max_ms"] // 2
        self.token_refused, self.old_token_at = True, self.now + half + random.randint(0, half)
        self.ask_token(why)

    def on_new_token(self, given):
        self.token_asked = self.token_refused = False
        self.expires_at = None if not self.current else self.expires_at
        self.token = given["token"] if self.current and self.current.live else None

    def socket(self, given):
        return next((one for one in self.alive() if one.number == given["socket"]), None)

    def on_opened(self, given):
        socket = self.socket(given)
        if socket:
            socket.open, socket.since, socket.heard = True, self.now, self.now
            self.failed_opens = 0
            self.pauses = {} if socket is self.current else self.pauses

    def on_open_failed(self, given):
        socket = self.socket(given)
        if not socket:
            return
        successor = socket is self.successor
        self.forget(socket)
        if given["failure"] == "denied":
            self.refuse_token()
        else:
            self.failed_opens += 1
            if self.failed_opens >= 2:
                self.ask_token("suspect")
        if successor:
            self.current.renew_at = self.now + self.back_off(self.failures)
            self.failures += 1
        else:
            self.reconnect(socket)

    def on_closed(self, given):
        socket = self.socket(given)
        if socket:
            self.forget(socket)
            self.reconnect(socket, socket.limited)  # where it was the one in use

    def on_tick(self, _):
        pass

    def stop(self, state):
        """Not connected again by itself; displaced: until the user acts."""
        self.final = state
        self.show("connection", state={"is": state})
        for socket in self.alive():
            self.emit("close", socket=socket.number)
        self.current, self.successor, self.drained = None, None, []

    # ---- frames

    def on_received(self, given):
        socket, frame = self.socket(given), given["frame"]
        if not socket or not isinstance(frame, dict):
            return
        socket.limited = 0
        kind = frame.get("type")
        if "type" not in frame:
            return self.gateway(socket) if "message" in frame else None
        if "id" not in frame:
            socket.heard = self.now
        if kind == "goaway":
            return self.goaway(socket, frame)
        if kind == "error" and frame.get("code") == "token_expired":
            in_use = socket not in self.drained
            self.close(socket)
            if in_use:
                self.refuse_token()
                self.reconnect(socket)
            return None
        if kind == "entries":
            return self.live_entries(frame)
        if kind == "prefs_changed":
            return self.prefs_came(self.conversation(frame["conversation"]), frame["prefs"])
        if kind == "receipt":
            return self.cursors(self.conversation(frame["conversation"]), frame)
        name, late = frame.get("id"), False
        request = socket.flight.get(name)
        if not request and name in socket.late:
            request, late = socket.late[name], True
        if not request or kind not in (request.action, "error"):
            return
        (socket.late if late else socket.flight).pop(name)
        if kind == "error":
            if frame["code"] == "rate_limited":
                socket.limited = frame.get("retry_after_ms", 0)
            if not late and frame["retryable"]:
                self.repeat(request, frame)
            elif not late:
                getattr(self, "failed_" + request.action)(request, frame)
        else:
            request.was_late = late
            self.pauses.pop(self.key(request), None)
            getattr(self, "answered_" + request.action)(request, frame)

    def key(self, request):
        if request.action in ("open", "history", "create", "members", "prefs"):
            return (request.action, request.about)
        return ("send", request.about) if request.action in ("send", "probe", *CHANGES) else request.action

    def gateway(self, socket):
        """One of the requests in flight failed, nobody knows which: all are repeated (§10)."""
        for name, request in list(socket.flight.items()):
            socket.late[name] = socket.flight.pop(name)
            self.repeat(request)

    def repeat(self, request, error=None):
        """The outcome is unknown, or nothing was done: again after a pause."""
        if request.action == "hello":
            request.socket.greet = True
        if request.action == "ping":
            self.ping_wanted = True
            self.head_wanted |= set(request.about)
        if request.action == "refresh":
            self.token = self.token or request.fields["token"]
        self.put_off(self.key(request), error)

    def goaway(self, socket, frame):
        if socket is self.current and self.successor and self.successor.open:
            return  # the own doing of its `hello`
        if socket is self.current or socket is self.successor:
            if frame.get("reason") == "displaced":
                if not self.lost_hello:
                    return self.stop("displaced")
                self.lost_hello = False  # it may have been the own hello that was lost (§8.3)
            self.close(socket)
            self.reconnect(socket, frame.get("retry_after_ms", 0))

    # ---- hello (§4)

    def say_hello(self, socket):
        rows, size, known_to = [], 0, None
        for name in sorted(self.conversations, key=lambda name: name.encode()):
            if socket.page and name.encode() <= socket.page.encode():
                continue
            one = self.conversations[name]
            if one.ended or one.prefs_doubted:
                continue  # it would be `gone` again each time; its row is wanted in any case
            row = [name, *max(one.have, one.known), *one.read, *([one.prefs["version"]] if one.prefs["version"] else [])]
            size += len(json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()) + 1
            if size > KNOWN_BYTES_MAX:
                known_to = rows[-1][0]
                break
            rows.append(row)
        socket.greet = False
        self.request(socket, "hello", v=1, after=socket.page, known=rows or None, known_to=known_to)

    def answered_hello(self, request, frame):
        socket = request.socket
        if frame["user"] != self.user:
            self.show("failed_other_user", user=frame["user"])
            self.close(socket)
            self.refuse_token()
            return self.reconnect(socket)
        if socket is self.successor:
            self.drained.append(self.current)
            self.current, self.successor, self.pauses = socket, None, {}
        first = not request.fields.get("after")
        self.epoch = max(self.epoch, frame["epoch"])
        self.limits.update(frame["limits"])
        if first:
            self.lost_hello = False
            self.ping_wanted = self.ping_wanted or bool(self.looked)
            socket.live, socket.heard = True, self.now
            socket.renew_at = self.now + frame["reconnect_in_ms"]
            self.server_offset = frame["server_time_ms"] - self.now
            self.expires_at = frame["expires_ms"] - self.server_offset
        for row in frame["conversations"]:
            self.hello_row(row)
        for name in frame.get("gone", []):
            self.conversation(name).doubt, self.conversation(name).due = True, self.now
        for one in self.conversations.values() if first else []:
            if one.known > one.have:
                one.due = self.now  # `known` said that it is fetched
        socket.page = frame.get("next")
        socket.greet = bool(socket.page)

    def hello_row(self, row):
        one, head = self.conversation(row["conversation"]), pos(row["head"])
        one.partner, one.told = row.get("with", one.partner), True
        one.doubt = one.doubt or one.ended  # the user is a member again, perhaps
        one.time = max(one.time, row["time_ms"])
        self.write()
        self.learn_read(one, row)
        one.mentioned = max(one.mentioned, row.get("mentioned", 0))
        restored, one.prefs_doubted = one.prefs_doubted or self.epoch > one.have[0], False
        if "prefs" not in row or restored or row["prefs"]["version"] > one.prefs["version"]:
            self.change_prefs(one, row.get("prefs", {"version": 0}), one.wished)
        one.note(head, row["count"])
        if head < one.have and one.have[0] < self.epoch:
            one.doubt = True
        if self.too_far(one) and not one.ended:
            self.jump(one)
        if row.get("last"):
            self.take(one, row["last"], "last")
        self.drain(one)
        if one.missing():
            one.due = self.now

    def failed_hello(self, request, error):
        if error["code"] == "upgrade_required":
            return self.stop("upgrade_required")
        self.close(request.socket)
        self.reconnect(request.socket)

    # ---- open (§5)

    def answered_open(self, request, frame):
        user = request.about
        self.opens.pop(user, None)
        one = self.conversation(frame["conversation"])
        one.partner = user
        one.note(pos(frame["head"]))
        self.show_stored("opened", user=user, conversation=one.name)
        for _, name, body in self.release(user):
            self.compose(one, name, {"body": body})

    def release(self, user):
        """What was kept for this user, and is no longer."""
        released, self.held = [one for one in self.held if one[0] == user], [one for one in self.held if one[0] != user]
        self.changed = self.changed or bool(released)
        return released

    def failed_open(self, request, error):
        self.opens.pop(request.about, None)
        self.release(request.about)
        self.show("failed_open", user=request.about, refusal=refusal(error))

    # ---- groups (§5.2 to §5.4)

    def answered_create(self, request, frame):
        if frame["status"] in ("ok", "duplicate"):
            self.is_made(request.about, self.conversation(frame["conversation"]), pos(frame["position"]))
        else:
            self.failed_create(request, {"code": "conflict", "retryable": False})

    def failed_create(self, request, error):
        if self.groups.pop(request.about, None):
            self.write()
            self.show("failed_create", client_message_id=request.about, refusal=refusal(error))

    def is_made(self, name, one, first):
        if self.groups.pop(name, None):
            one.told = True
            one.note(first)
            self.show_stored("created", client_message_id=name, conversation=one.name)
            self.wait_for_gap(one)

    def answered_change(self, request, frame):
        row = request.rows[0]
        if row not in self.outbox:
            return
        if frame["status"] in ("ok", "duplicate"):
            self.settle_at(row, frame)
        elif frame["status"] == "conflict" and not request.was_late:
            row.settled = True
            self.fail(row, dict(code="conflict", retryable=False))
        elif frame["status"] == "unchanged" and not request.was_late:
            self.outbox.remove(row)
            self.outgoing(row, "unchanged")
        self.drain(request.about)

    def failed_change(self, request, error):
        if request.rows[0] in self.outbox:
            self.refused(request.rows[0], error)

    def answered_info(self, request, frame):
        for told in frame["conversations"]:
            name = told["conversation"]
            if told["status"] == "refused" and told["retryable"]:
                self.put_off("info", told)
                continue
            self.infos.remove(name)
            if told["status"] == "refused":
                self.group_refused(name, told)
            else:
                self.show_stored("info", conversation=name, info={key: told[key] for key in told.keys() - {"conversation", "status"}})
        if not frame["conversations"]:
            self.put_off("info")

    def failed_info(self, request, error):
        for name in request.about:
            self.infos.remove(name)
            self.group_refused(name, error)

    def answered_members(self, request, frame):
        known = self.members[request.about]
        known[0] += frame["members"]
        known[1] = frame.get("next")
        if not known[1]:
            del self.members[request.about]
            self.show("members", conversation=request.about, members=known[0])

    def failed_members(self, request, error):
        self.members.pop(request.about, None)
        self.group_refused(request.about, error)

    def group_refused(self, name, error):
        self.show("failed_group", conversation=name, refusal=refusal(error))
        if error["code"] == "not_found":
            self.gone(self.conversation(name))

    # ---- preferences (§5.5)

    def change_prefs(self, one, prefs, wished):
        before, (one.prefs, one.wished) = one.prefer(), (prefs, wished)
        self.write(lambda: setattr(one, "wish_stored", wished))
        if {**before, "version": 0} != {**one.prefer(), "version": 0}:
            self.show_stored("prefs", conversation=one.name, prefs=one.prefer())

    def prefs_came(self, one, prefs):
        if not one.ended and (prefs["version"] > one.prefs["version"] or one.prefs_doubted):
            self.change_prefs(one, prefs, one.wished)

    def answered_prefs(self, request, frame):
        self.prefs_came(request.about, frame["prefs"])
        self.change_prefs(request.about, request.about.prefs, self.left(request))

    def failed_prefs(self, request, error):
        one, left = request.about, self.left(request)
        if left != one.wished:
            self.change_prefs(one, one.prefs, left)
            self.show("failed_prefs", conversation=one.name, refusal=refusal(error))
        if error["code"] == "not_found":
            self.gone(one)

    def left(self, request):
        """What is still wished behind this request: what the user has changed meanwhile."""
        return {key: value for key, value in request.about.wished.items() if request.fields["prefs"].get(key) != value}

    def hear(self, one, entry):
        """What an entry says of the user's membership (§5.3)."""
        users = entry.get("users", entry.get("members", []))
        if entry["kind"] in ("added", "group_created") and self.user in users:
            self.believe(one, pos(entry["position"]), True)
        elif entry["kind"] == "removed" and self.user in users or entry["kind"] == "left" and entry["sender"] == self.user:
            self.believe(one, pos(entry["position"]), False)

    def believe(self, one, at, member):
        """The highest position that says whether the user is a member is believed (§5.3)."""
        if one.partner or at <= one.member_at:
            return
        one.member_at, was_ended, one.ended = at, one.ended, not member
        self.write()
        if was_ended == one.ended:
            return
        self.show_stored("membership", conversation=one.name, member=member)
        if member:
            return
        if one.wished:
            self.show("failed_prefs", conversation=one.name, refusal=ENDED)
        self.change_prefs(one, {"version": 0}, {})
        for row in self.rows(one):
            if row.state == "waiting":  # an attempt may be in the log
                row.state, row.look, row.refusal = "refused", True, ENDED
                self.keep(row)
        for asked in [asked for asked in self.histories if asked[0] == one.name]:
            self.histories.remove(asked)
            self.show("failed_history", conversation=one.name, refusal=ENDED)
        if self.members.pop(one.name, None) or one.name in self.infos:
            self.infos = [name for name in self.infos if name != one.name]
            self.show("failed_group", conversation=one.name, refusal=ENDED)

    # ---- send and probe (§6)

    def answered_send(self, request, frame):
        one = request.about
        for row, result in zip(request.rows, frame["results"]):
            if row not in self.outbox:
                continue  # its entry has settled it meanwhile
            if result["status"] in ("ok", "duplicate"):
                self.settle_at(row, result)
            elif request.was_late:
                break
            elif result["status"] == "conflict":
                row.settled = True
                self.fail(row, {"code": "conflict", "retryable": False})
            elif result["status"] == "refused":
                self.refused(row, result)
        one.single = one.single and bool(self.rows(one))
        self.drain(one)

    def settle_at(self, row, result):
        """The message is stored at this position: it is the entry there."""
        self.settle(row, result)
        if row.kind != "message":  # what came of it, its entry says, which is pushed
            return row.conversation.note(pos(result["position"]), result["count"])
        entry = {"position": result["position"], "sender": self.user, "client_message_id": row.name, "time_ms": result["time_ms"],
                 "count": result["count"], "kind": "message", **row.fields}
        return self.take(row.conversation, entry, "own")

    def settle(self, row, entry):
        self.outbox.remove(row)
        self.write()
        self.outgoing(row, "stored", stored={key: entry[key] for key in ("position", "time_ms", "count")})

    def fail(self, row, error):
        if row.state != "failed":
            row.state = "failed"
            self.outgoing(row, "failed", refusal=refusal(error))
        row.look = False
        self.keep(row)

    def refused(self, row, error):
        """One message was refused (§9, m)."""
        one, code = row.conversation, error["code"]
        if error["retryable"]:
            self.put_off(("send", one), error)
        elif code == "anchor_stale":
            one.note(pos(error["tail"]))
            near = pos(error["tail"])[1] - one.have[1] <= self.limits["anchor_entries_max"]
            for other in self.rows(one):
                if other.state == "waiting" and not (near and self.move_anchor(other)):
                    other.look = True
        elif code == "epoch_changed":
            self.roll_back(one, pos(error["common"]))
        elif code == "anchor_too_old":
            row.look = True
        elif code == "anchor_unknown":
            row.look = True
            self.move(row, ZERO)
            self.put_off(("send", one))
            self.unsure(one)
        else:
            row.state, row.look, row.refusal = "refused", True, error
            self.keep(row)

    def move_anchor(self, row):
        """To `have`, where all that lies between was taken and compared (§6.2)."""
        one = row.conversation
        if not one.start <= row.anchor < one.have:
            return False
        self.move(row, one.have)
        return True

    def move(self, row, anchor):
        row.anchor = anchor
        self.keep(row)

    def failed_send(self, request, error):
        if len(request.rows) > 1:
            request.about.single = True
        elif request.rows[0] in self.outbox:
            self.refused(request.rows[0], error)

    def answered_probe(self, request, frame):
        if request.log != request.about.log:
            return
        found, reached = {one["client_message_id"]: one for one in frame["found"]}, pos(frame["reached"])
        for row in request.rows:
            if row not in self.outbox:
                continue
            if row.name in found:
                self.settle_at(row, found[row.name])
                continue
            if request.anchor <= row.anchor < reached:
                self.move(row, reached)
            if frame["done"]:
                row.look = False
                if row.state == "refused":
                    self.fail(row, row.refusal)
        request.about.note(reached)
        self.drain(request.about)

    def failed_probe(self, request, error):
        one, code = request.about, error["code"]
        rows = [row for row in request.rows if row in self.outbox and row.look]
        if code == "epoch_changed":
            return self.roll_back(one, pos(error["common"]))
        for row in rows:
            if code == "anchor_unknown" and request.anchor != ZERO:
                self.move(row, ZERO)
            else:
                self.fail(row, error)
        if code == "not_found":
            self.gone(one)

    # ---- entries (§7.1)

    def live_entries(self, frame):
        one = self.conversation(frame["conversation"])
        for entry in frame["entries"]:
            self.take(one, entry, "push")
        self.drain(one)

    def take(self, one, entry, source):
        """The rule of §7.1 for each entry that comes."""
        position, next_seq, before_restore = pos(entry["position"]), one.have[1] + 1, entry["position"]["epoch"] < one.have[0]
        if not self.storing:
            return one.note(position)
        if position[0] >= one.have[0]:
            one.note(position, entry["count"])
            one.time = max(one.time, entry["time_ms"])
        if position[1] < next_seq:
            if position[0] > one.have[0] and one.have != ZERO and source != "sync":
                self.unsure(one)
        elif position[1] == next_seq and (position[0] == one.have[0] or source == "sync" or one.have[1] == 0):
            one.have, one.have_count = position, entry["count"]
            own = entry["sender"] == self.user
            if not own and self.user in entry.get("mentions", []):
                one.mentioned = max(one.mentioned, position[1])
            for user in entry["users"] if entry["kind"] == "removed" else [entry["sender"]] if entry["kind"] == "left" else []:
                one.others.pop(user, None)
            one.counts[position[1]] = (position[0], entry["count"], own)
            one.taken.append(entry)
            self.write(lambda: self.entry_stored(one, entry))
            for row in self.rows(one) if own else []:
                if row.name == entry["client_message_id"] and not row.settled:
                    self.settle(row, entry)
            if own:
                self.read_own(one)
            if own and entry["kind"] == "group_created":
                self.is_made(entry["client_message_id"], one, position)
            if target(entry):
                one.about.append(entry)
            one.amended = max(one.amended, position[1] if target(entry) else 0, entry.get("edited", 0), entry.get("reactions_to", 0))
            for row in self.rows(one) if entry["kind"] == "deletion" else []:
                if row.kind == "edit" and row.fields["target"] == entry["target"]:  # its words are to go
                    self.outbox.remove(row)
                    self.outgoing(row, "failed", refusal={"code": "no_message", "retryable": False})
        elif position[0] >= one.have[0]:
            one.buffer[position[1]] = max(entry, one.buffer.get(position[1], entry), key=lambda one: one["position"]["epoch"])
            if len(one.buffer) > self.set["ahead_entries_max"]:
                del one.buffer[max(one.buffer)]
        return None if before_restore else self.hear(one, entry)

    def entry_stored(self, one, entry):
        if any(other is entry for other in one.taken):  # else it was dropped meanwhile
            one.taken.remove(entry)
            one.stored = pos(entry["position"])
            self.keep_entries(one, [entry])
            self.show("entry", conversation=one.name, entry=entry)

    def keep_entries(self, one, entries):
        """Into the store, where a message is folded with all that is there about it."""
        one.kept.update({entry["position"]["seq"]: copy.deepcopy(entry) for entry in entries})
        for seq in {seq for entry in entries for seq in (entry["position"]["seq"], target(entry)) if seq}:
            about = [one.kept[number] for number in sorted(one.kept) if target(one.kept[number]) == seq]
            for by in about if seq in one.kept else []:
                fold(one.kept[seq], by, self.user)
            if any(by["kind"] == "deletion" for by in about) or one.kept.get(seq, {}).get("kind") == "deleted":
                for by in about:
                    by.pop("body", None)

    def drain(self, one):
        """The buffer goes on; what is still missing then is fetched after a wait."""
        while True:
            for seq in [seq for seq in one.buffer if seq <= one.have[1]]:
                del one.buffer[seq]
            entry = one.buffer.get(one.have[1] + 1)
            if not entry or (entry["position"]["epoch"] != one.have[0] and one.have[1]) or not self.storing:
                break
            del one.buffer[one.have[1] + 1]
            self.take(one, entry, "buffer")
        self.wait_for_gap(one)

    def wait_for_gap(self, one):
        if not one.missing():
            one.due = None
        elif one.due is None:
            wait = self.limits["gap_wait_ms"]
            one.due = self.now + wait + random.randint(0, wait)

    def unsure(self, one):
        """`have` may not be in the log any more: a `sync` from it tells, after the wait for a gap."""
        one.doubt = True
        self.wait_for_gap(one)

    def too_far(self, one):
        most = self.set["catch_up_entries_max" if one.have[1] else "new_entries_max"]
        return one.head[1] - one.have[1] > most

    def look_for_failed(self, one):
        """What is not fetched may hold a failed message (§6.2). Those that wait are sent from their anchors, and looked for if these are stale."""
        for row in self.rows(one):
            row.look = row.look or row.state == "failed"

    def jump(self, one):
        """Goes on at the head: what lies between is not fetched (§7.1)."""
        one.start, one.have, one.have_count, one.doubt = one.head, one.head, one.head_count, False
        one.taken, one.counts = [], {}
        self.look_for_failed(one)
        self.show_stored("skipped", conversation=one.name, position=wire(one.have))
        self.drain(one)

    def cut(self, one, common):
        """Entries beyond `common` are dropped, and what was known of them."""
        one.log += 1
        epoch, count = max(self.epoch, one.have[0] + 1), one.count_at(common)
        one.buffer = {seq: entry for seq, entry in one.buffer.items() if entry["position"]["epoch"] >= epoch}
        one.have_count = count if common < one.have else one.have_count
        if common < one.have:
            self.show_stored("rolled_back", conversation=one.name, position=wire(common))
        one.have, one.stored, one.acked, one.start = (min(old, common) for old in (one.have, one.stored, one.acked, one.start))
        one.head, one.head_count = one.have, one.have_count
        one.forget_beyond()
        one.taken = [entry for entry in one.taken if pos(entry["position"]) <= common]
        one.counts = {seq: known for seq, known in one.counts.items() if (known[0], seq) <= common}
        self.read_back(one, common, count)
        one.member_at = one.member_at if one.member_at[1] <= common[1] else ZERO
        mentioned = one.mentioned
        one.mentioned = mentioned if mentioned <= common[1] else 0
        self.doubt_row(one, mentioned > common[1])
        one.about = [entry for entry in one.about if pos(entry["position"]) <= common]
        self.write(lambda: [one.kept.pop(seq) for seq in [*one.kept] if seq > common[1]])

    def doubt_row(self, one, also=False):
        """Versions may have begun anew (§5.5): `hello` tells what the server has now."""
        if one.prefs["version"] or also:
            one.prefs_doubted = True
            if self.current:
                self.current.greet, self.current.page = True, None

    def roll_back(self, one, common):
        """The log was restored: what is beyond `common` is not in it any more (§9, epoch_changed)."""
        for row in self.rows(one):
            if row.anchor > common:
                self.move(row, common)
        self.put_off(("send", one))
        if one.amended > common[1]:  # what stays may tell of what was taken back
            one.amended = 0
            return self.begin_anew(one)
        self.cut(one, common)
        one.doubt, one.due = True, self.now
        return None

    def begin_anew(self, one):
        """What the device holds is not from this log (§9, anchor_unknown): `ping` tells the head. A message learns by its next `send` whether its anchor is."""
        self.cut(one, ZERO)
        one.others, one.buffer, one.known, one.doubt, one.due = {}, {}, ZERO, False, None
        self.ping_wanted = True
        self.head_wanted.add(one.name)

    def gone(self, one, by_sync=False):
        """No such conversation: one of two is opened again, once (§9, not_found). Of a group only `sync` says whether the user is a member."""
        if one.is_group() and not one.ended and not by_sync:
            one.doubt, one.due = True, self.now
            return
        one.give_up()
        if one.partner and one.name not in self.reopened:
            self.reopened.add(one.name)
            self.opens.setdefault(one.partner, str(uuid.uuid4()))

    # ---- sync and history (§7.2, §7.3)

    def answered_sync(self, request, frame):
        self.page_step = self.step
        if frame.get("acked"):
            for told in request.told:
                self.has_told(*told)
        for page in frame["pages"]:
            one = self.conversation(page["conversation"])
            if one not in request.about:
                continue
            request.about.remove(one)
            if one.log != request.logs[one.name] or not self.storing:
                continue  # nothing can be taken of this: `due` stays
            if page["status"] == "refused":
                self.refused_page(one, page)
                continue
            self.taken_page(one, page)
            after = next(asked["after"] for asked in request.fields["conversations"] if asked["conversation"] == one.name)
            ends = [after, *([page["skip"]["to"]] if "skip" in page else []), *(entry["position"] for entry in page["entries"])]
            self.believe(one, pos(page.get("ended", ends[-1])), "ended" not in page)

    def taken_page(self, one, page):
        one.doubt, had = False, one.have
        if "skip" in page and pos(page["skip"]["to"]) > one.have:
            one.start = one.have = pos(page["skip"]["to"])
            self.look_for_failed(one)
            self.write()
        for entry in page["entries"]:
            self.take(one, entry, "sync")
        if page["done"]:
            one.forget_beyond()
        one.due = None if page["done"] else self.now
        if one.have[0] > had[0] > 0 or one.start > had:
            self.doubt_row(one)
        self.drain(one)

    def refused_page(self, one, error):
        code = error["code"]
        if error["retryable"]:
            self.put_off("sync", error)
        elif code == "epoch_changed":
            self.roll_back(one, pos(error["common"]))
        elif code == "not_found":
            self.gone(one, by_sync=True)
        elif code in ("anchor_unknown", "anchor_too_old"):
            self.begin_anew(one)
        else:
            one.give_up()

    def failed_sync(self, request, error):
        for one in request.about:
            one.give_up()

    def answered_history(self, request, frame):
        self.histories.remove(request.about)
        one = self.conversation(frame["conversation"])
        if any(pos(entry["position"]) == one.have for entry in frame["entries"]):
            self.write(lambda: setattr(one, "stored", max(one.stored, one.have)))
        entries = copy.deepcopy(frame["entries"])
        for entry in entries:  # the page may have been read before what was taken since
            for by in one.about:
                if target(by) == entry["position"]["seq"]:
                    fold(entry, by, self.user)
        older = [entry for entry in entries if entry["position"]["seq"] <= one.kept_from]
        if older and older[-1]["position"]["seq"] == one.kept_from:
            one.kept_from = older[0]["position"]["seq"] - 1
            self.write(lambda: self.keep_entries(one, older))
        self.show_stored("history", conversation=frame["conversation"], entries=entries, done=frame["done"])

    def failed_history(self, request, error):
        self.histories.remove(request.about)
        self.show("failed_history", conversation=request.about[0], refusal=refusal(error))

    # ---- cursors (§7.4, §7.5)

    def learn_read(self, one, told):
        if pos(told["read"]) > one.read:
            one.read_private = told.get("read_private", False)  # also of what the user then writes right behind it
            self.move_read(one, pos(told["read"]), told["read_count"])

    def move_read(self, one, position, count, pending=False):
        one.read, one.read_count, one.read_pending = position, count, pending
        self.store_read(one)
        self.read_own(one)

    def read_back(self, one, common, count=None):
        """The mark stood beyond what is in the log: it is told again, or forgotten."""
        if one.read > common:
            one.read_count = one.count_at(common) if count is None else count
            one.read, one.read_pending = common, common != ZERO
            self.store_read(one)

    def store_read(self, one):
        read = one.read
        self.write(lambda: setattr(one, "read_stored", read))

    def read_own(self, one):
        """An entry that the user wrote and that directly follows the read mark is read (§7.5)."""
        while True:
            epoch, count, own = one.counts.get(one.read[1] + 1, (0, 0, False))
            if not own:
                return
            one.read, one.read_count, one.read_pending = (epoch, one.read[1] + 1), count, True
            self.store_read(one)

    def cursors(self, one, frame):
        if frame["user"] == self.user:
            self.learn_read(one, frame)
            return
        old = one.others.get(frame["user"], (ZERO, ZERO))
        new = (max(old[0], pos(frame["delivered"])), max(old[1], pos(frame["read"])))
        if new != old:
            one.others[frame["user"]] = new
            self.write()
            self.show("cursors", conversation=one.name, cursors={"user": frame["user"], "delivered": wire(new[0]), "read": wire(new[1])})

    def to_tell(self, private=False):
        """What an `ack`, or a private `read`, says now: (conversation, delivered, read or None). Of an `ack` others are told."""
        told = []
        for one in [one for one in self.conversations.values() if not one.ended]:
            read = one.read if one.read_pending and one.read_stored == one.read and one.read_private == private else None
            if read and (private or one.apart or one.stored <= one.acked):
                told.append((one, read, read))  # the mark alone
            elif one.stored > one.acked and not private:
                told.append((one, one.stored, read))
        return told[:PER_REQUEST_MAX]

    def positions(self, told):
        return [{"conversation": one.name, "position": wire(delivered), **({"read": wire(read)} if read else {})} for one, delivered, read in told]

    def has_told(self, one, delivered, read, private=False):
        one.acked = max(one.acked, delivered)
        one.apart = one.apart and bool(read)
        if read and read == one.read and private <= one.read_private:
            one.read_pending = False
        self.write()

    def answered_ack(self, request, frame):
        for told, result in zip(request.told, frame["results"]):
            if result["status"] == "ok":
                self.has_told(*told)
            else:
                self.refused_cursor(*told, result)

    def refused_cursor(self, one, delivered, read, error, lane="ack"):
        code = error["code"]
        if error["retryable"]:
            return self.put_off(lane, error)
        if read and read != delivered and code != "not_found":
            one.apart = True
            return None
        self.has_told(one, delivered, read)  # not again as it is
        if code == "epoch_changed":
            self.read_back(one, pos(error["common"]))
            self.unsure(one)
        elif code == "anchor_unknown" and read:
            self.read_back(one, ZERO)
        elif code == "anchor_unknown":
            self.unsure(one)

    def answered_read(self, request, frame):
        for told, result in zip(request.told, frame["results"]):
            if result["status"] == "ok":
                self.has_told(*told, private=True)
            else:
                self.refused_cursor(*told, result, "read")

    def failed_ack(self, request, error):
        for told in request.told:
            self.has_told(*told)

    # ---- ping and refresh (§8)

    def answered_ping(self, request, frame):
        request.socket.heard = self.now
        if frame.get("resync"):
            request.socket.greet, request.socket.page = True, None
        for name in set(request.about) - {row["conversation"] for row in frame.get("conversations", [])}:
            if self.conversation(name).is_group() and not self.conversation(name).ended:
                self.conversation(name).doubt, self.conversation(name).due = True, self.now
        for row in frame.get("conversations", []):
            one = self.conversation(row["conversation"])
            if one.ended:  # the user is a member again, perhaps (§5.3)
                one.doubt, one.due = True, self.now
                continue
            one.note(pos(row["head"]), row["count"])
            if "read" in row:
                self.learn_read(one, row)
            told = {cursors["user"] for cursors in row.get("cursors", [])}
            if told and one.is_group():  # all others are told at once, or nobody
                one.others = {user: cursors for user, cursors in one.others.items() if user in told}
            for cursors in row.get("cursors", []):
                self.cursors(one, cursors)
            self.wait_for_gap(one)

    def failed_ping(self, request, error):
        request.socket.heard = self.now

    def answered_refresh(self, request, frame):
        self.expires_at = frame["expires_ms"] - self.server_offset

    def failed_refresh(self, request, error):
        """`token_refused`: another one is asked for, after a pause."""
        if error["code"] == "resync":
            self.token = request.fields["token"]
            request.socket.greet, request.socket.page = True, None
        else:
            self.put_off("refresh", error)

    # ---- what is to be done now

    def pump(self):
        self.watch_sockets()
        if not self.storing and self.store_again_at and self.reached(self.store_again_at):
            self.store_again()
        for socket in (self.current, self.successor):
            if socket and socket.open and socket.greet and not any(one.action == "hello" for one in socket.flight.values()) and self.free("hello"):
                self.say_hello(socket)
        socket = self.current
        if socket and socket.live:
            self.pump_token(socket)
            self.pump_outbox(socket)
            self.pump_sync(socket)
            for lane in ("ack", "read"):
                self.pump_cursors(socket, lane)
            self.pump_prefs(socket)
            self.pump_ping(socket)
            for user, name in self.opens.items():
                if not self.flying("open", user) and self.free(("open", user)):
                    self.request(socket, "open", user, **{"with": user, "client_message_id": name})
            for name, (users, settings, stored) in self.groups.items():
                if stored and not self.flying("create", name) and self.free(("create", name)):
                    self.request(socket, "create", name, client_message_id=name, users=users or None, settings=settings or None)
            if self.infos and not self.flying("info") and self.free("info"):
                self.request(socket, "info", self.infos[:INFO_MAX], conversations=self.infos[:INFO_MAX])
            for name, (_, after) in self.members.items():
                if not self.flying("members", name) and self.free(("members", name)):
                    self.request(socket, "members", name, conversation=name, after=after)
            for asked in self.histories:
                if not self.flying("history", asked) and self.free(("history", asked)):
                    self.request(socket, "history", asked, conversation=asked[0], before=asked[1])
        for one in self.conversations.values():
            shown = (max(0, one.head_count - one.read_count), one.mentioned > one.read[1])
            if shown != one.shown_unread:
                one.shown_unread = shown
                self.show("conversation", conversation=one.name, unread=shown[0], mentioned=shown[1])
        for socket in list(self.drained):
            if not socket.flight:
                self.close(socket)
        self.wake.extend(request.overdue for socket in self.alive() for request in socket.flight.values())

    def watch_sockets(self):
        for socket in self.alive():
            overdue = [request.overdue for request in socket.flight.values()] + ([] if socket.open else [socket.since + self.set["answer_wait_ms"]])
            if any([self.reached(when) for when in overdue]):
                self.close(socket)
                self.reconnect(socket)
        if self.final or not self.wanted:
            return
        if not self.current:
            if self.expires_at is not None and self.now >= self.expires_at - REFRESH_BEFORE_MS:
                self.expires_at = None
                self.refuse_token("ends")
            if self.connect_at is not None and self.reached(self.old_token_at if self.token_refused else self.connect_at):
                self.connect_at = None
                self.current = self.connect()
        elif self.current.live and not self.successor and self.current.renew_at is not None and not self.token_refused and self.reached(self.current.renew_at):
            self.successor = self.connect()
        if self.current and not self.current.open:
            self.reached(self.current.since + self.set["answer_wait_ms"])

    def pump_token(self, socket):
        if self.token and not self.flying("refresh") and not socket.greet and not self.flying("hello") and self.free("refresh"):
            self.request(socket, "refresh", token=self.token)
            self.token = None
        elif not self.token and not self.token_asked and not self.flying("refresh") and self.expires_at is not None:
            if self.reached(self.expires_at - REFRESH_BEFORE_MS) and self.free("refresh"):
                self.ask_token("ends")

    def pump_outbox(self, socket):
        for one in {id(row.conversation): row.conversation for row in self.outbox}.values():
            if any(self.flying(action, one) for action in ("send", "probe", *CHANGES)):
                continue
            rows = self.rows(one)
            if any(row.look for row in rows):
                look = sorted((row for row in rows if row.look or row.state == "waiting"), key=lambda row: not row.look)[:PROBED_IDS_MAX]
                look = [row for row in rows if row in look]
                if self.free(("send", one)):
                    anchor = min(row.anchor for row in look)
                    request = self.request(socket, "probe", one, conversation=one.name, anchor=wire(anchor), ids=[row.name for row in look])
                    request.rows, request.anchor, request.log = look, anchor, one.log
                continue
            batch, size, waiting = [], 200, [row for row in rows if row.state == "waiting"]
            if waiting and waiting[0].kind != "message":  # a change goes alone
                row = waiting[0]
                if row.stored == row.version and self.free(("send", one)):
                    fields = {"conversation": one.name, "client_message_id": row.name, "anchor": wire(row.anchor), **row.fields}
                    self.request(socket, row.kind, one, **fields).rows = [row]
                continue
            for row in waiting[:1 if one.single else self.limits["messages_per_send_max"]]:
                if row.kind != "message":
                    break
                message = {"client_message_id": row.name, "anchor": wire(row.anchor), **row.fields}
                size += len(json.dumps(message, ensure_ascii=False).encode()) + 1
                if row.stored != row.version or (batch and size > self.limits["request_bytes_max"]):
                    break  # in their order, and none that is not durable
                batch.append((row, message))
            if batch and self.free(("send", one)):
                request = self.request(socket, "send", one, conversation=one.name, messages=[message for _, message in batch])
                request.rows = [row for row, _ in batch]

    def pump_sync(self, socket):
        if self.flying("sync") or not self.storing:
            return
        due = [one for one in self.conversations.values() if one.due is not None and self.reached(one.due)]
        for one in due:
            if self.too_far(one) and not one.ended:
                self.jump(one)
        due = [one for one in due if one.due is not None and self.reached(one.due)]
        if not due or not self.free("sync"):
            return
        due = sorted(due, key=lambda one: -one.time)[:PER_REQUEST_MAX]
        told = self.to_tell()
        request = self.request(socket, "sync", due, conversations=[{"conversation": one.name, "after": wire(one.have)} for one in due],
                               ack=self.positions(told) or None)
        request.told, request.logs = told, {one.name: one.log for one in due}
        if told:
            self.tell_since.pop("ack", None)

    def pump_cursors(self, socket, lane):
        told = self.to_tell(private=lane == "read")
        if not told:
            self.tell_since.pop(lane, None)
            return
        since = self.tell_since.setdefault(lane, self.now)
        if self.flying("sync") or self.flying(lane) or not self.storing or self.page_step > self.committed:
            return  # the last page goes with it
        after = self.told_at[lane] + self.limits["cursors_every_ms"] if lane in self.told_at else since
        if self.reached(max(since + self.set["cursors_wait_ms"], after)) and self.free(lane):
            positions = self.positions(told)
            if lane == "read":  # `positions[].read` says nothing there
                positions = [{key: one[key] for key in ("conversation", "position")} for one in positions]
            self.request(socket, lane, positions=positions, private=lane == "read" or None).told = told
            self.told_at[lane] = self.now
            self.tell_since.pop(lane)

    def pump_prefs(self, socket):
        if socket.greet or self.flying("hello"):
            return  # a page that was read before the wish would bring back what was there
        for one in self.conversations.values():
            if one.wished and one.wish_stored == one.wished and not self.flying("prefs", one) and self.free(("prefs", one)):
                self.request(socket, "prefs", one, conversation=one.name, prefs=one.wished)

    def pump_ping(self, socket):
        idle = self.reached(socket.heard + self.limits["ping_after_idle_ms"])
        if (idle or self.ping_wanted) and not self.flying("ping") and self.free("ping"):
            lost = [name for name in self.head_wanted if not self.conversation(name).ended]
            names = [*lost, *(name for name in self.looked if name not in lost)][:LOOKED_AT_MAX]
            self.ping_wanted, self.head_wanted = False, set()
            self.request(socket, "ping", names, open=names or None)


Client.failed_read = Client.failed_ack
for change in CHANGES:
    for what in ("on_" + change, "answered_" + change, "failed_" + change):
        setattr(Client, what, {"on": Client.on_compose, "answered": Client.answered_change, "failed": Client.failed_change}[what.partition("_")[0]])


def refusal(error):
    return {key: value for key, value in error.items() if key in ("code", "retryable", "retry_after_ms", "tail", "common", "message")}


def main():
    client = None
    for line in sys.stdin:
        given = json.loads(line)
        if given.get("type") == "start":
            client = Client(given["settings"], given["restored"])
            answer = {"outputs": [], "wake_at_ms": None}
        else:
            answer = client.line(given["at_ms"], given["input"])
        print(json.dumps(answer, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    random.seed(*sys.argv[1:])
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    main()
