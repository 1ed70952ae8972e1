"""A device: what it stores, and what docs/PROTOCOL.md makes of each frame. Every step of it goes to the history."""

import asyncio
from dataclasses import dataclass, field
from typing import Optional

from connection import Connection, Unanswered, handshake
from fold import fold
from history import Run, check, pair, position

ZERO = (0, 0)
SYNC_CONVERSATIONS_MAX = 100
MESSAGES_PER_SEND_MAX = 25
SEND_BODIES_BYTES_MAX = 24_000  # of a request of 32 KB; the rest is envelopes
# The entry that an action becomes (§5.3, §6.4).
KINDS = {"edit": "edit", "delete": "deletion", "react": "reaction", "add": "added", "remove": "removed", "leave": "left"}
TELLS_OF_OTHERS = ("target", "reply_to", "edited")


@dataclass
class Message:
    """A row of the outbox: a message, or a change of one, or of a group."""

    id: str
    anchor: "tuple[int, int]"
    body: Optional[dict] = None
    asked: Optional[dict] = None  # of a change: its action, and what that wants

    def wire(self) -> dict:
        return {"client_message_id": self.id, "anchor": position(self.anchor)} | (self.asked or {"body": self.body})


@dataclass
class Lane:
    """What a device has of one conversation: the entries in (`begin`, `have`]."""

    conversation: str
    begin: "tuple[int, int]" = ZERO
    have: "tuple[int, int]" = ZERO
    entries: "dict[int, dict]" = field(default_factory=dict)  # by seq
    ahead: "dict[int, dict]" = field(default_factory=dict)  # buffered, by seq
    known: "tuple[int, int]" = ZERO  # the highest that is known to exist
    outbox: "list[Message]" = field(default_factory=list)
    acked: "tuple[int, int]" = ZERO
    read: "tuple[int, int]" = ZERO
    read_count: int = 0
    count_told: int = 0  # at `known`, as a row told it
    begin_count: int = 0  # at `begin`
    others: "dict[str, tuple]" = field(default_factory=dict)  # user: (delivered, read)
    is_doubted: bool = False  # `hello` says that it is gone: `sync` tells (§4)
    has_ended: bool = False  # the user is no member any more
    sending: asyncio.Lock = field(default_factory=asyncio.Lock)

    def count(self) -> int:
        """Messages up to `have`."""
        return self.entries[self.have[1]]["count"] if self.have[1] in self.entries else self.begin_count

    def is_missing_something(self) -> bool:
        return bool(self.ahead) or self.known > self.have or self.is_doubted

    def seq_of(self, message: Message) -> int:
        return next(seq for seq, entry in self.entries.items() if entry["client_message_id"] == message.id)


class Device:
    """One installation of an app. Its store outlives its connections and, by `restart`, its process."""

    def __init__(self, run: Run, stack, user: str, name: str):
        self.run, self.stack, self.user, self.name = run, stack, user, name
        self.id, self.life = run.uuid(), 1
        self.lanes: "dict[str, Lane]" = {}
        self.connection: Optional[Connection] = None
        self.limits: dict = {}
        self.receipts, self.pages = 0, 0
        self.displaced, self.expired = False, False
        self.syncing = asyncio.Lock()
        self.mending: "dict[str, asyncio.Task]" = {}

    def note(self, what: str, **fields: object) -> None:
        self.run.note(what, device=self.id, user=self.user, **fields)

    # --- the connection

    async def socket(self, token: Optional[str] = None) -> Connection:
        """Opens a socket of this device, without a hello."""
        opened = await handshake(self.stack.url, self.id, token or self.stack.issuer.token(self.user))
        self.run.count("connections")
        return Connection(opened, self.pushed, f"{self.name}.{self.life}.{self.run.random.getrandbits(32):08x}")

    async def connect(self, token: Optional[str] = None, catch_up: bool = True) -> dict:
        """§13, steps 1 and 2. Returns the first page of `hello`."""
        if self not in self.run.devices:
            self.run.devices.append(self)
        self.connection = await self.socket(token)
        self.displaced = self.expired = False
        self.note("connect")
        first = await self.hello()
        if catch_up:
            await self.catch_up()
        return first

    async def hello(self) -> dict:
        """Says hello with what the device has, and takes what the pages tell."""
        lanes = sorted((lane for lane in self.lanes.values() if not lane.has_ended), key=lambda lane: lane.conversation)
        known = [[lane.conversation, *lane.have, *lane.read] for lane in lanes]
        first = page = await self.ask({"action": "hello", "v": 1, "known": known})
        check(page["type"] == "hello", f"{self.name}: hello was answered {page}")
        check(page["user"] == self.user and page["device"] == self.id, f"{self.name}: hello is for another: {page}")
        self.note("hello")
        self.limits = page["limits"]
        while True:
            for row in page["conversations"]:
                self.stands(row)
            for conversation in page.get("gone", []):
                self.lane(conversation).is_doubted = True
            if "next" not in page:
                return first
            rest = [row for row in known if row[0] > page["next"]]
            page = await self.ask({"action": "hello", "v": 1, "after": page["next"], "known": rest})

    def stands(self, row: dict) -> None:
        """A row of `hello`, or of `ping`."""
        lane = self.lane(row["conversation"])
        if "last" in row:
            self.came(lane, [row["last"]])
        read, read_count = row.get("read"), row.get("read_count")  # of `hello` only
        self.note("status", conversation=lane.conversation, head=row["head"], count=row["count"], read=read, read_count=read_count)
        if pair(row["head"]) >= lane.known:
            lane.known, lane.count_told = pair(row["head"]), row["count"]
        if "read" in row and pair(row["read"]) > lane.read:
            lane.read, lane.read_count = pair(row["read"]), row["read_count"]

    async def catch_up(self) -> None:
        """`sync` of all that is missing; then the device is live."""
        missing = [lane for lane in self.lanes.values() if lane.is_missing_something()]
        if missing:
            await self.sync(missing)
        self.note("live")

    async def leave(self, abort: bool = False) -> None:
        """The device has no connection any more."""
        for task in self.mending.values():
            task.cancel()
        self.mending.clear()
        connection, self.connection = self.connection, None
        await (connection.abort() if abort else connection.close())
        self.note("away")

    async def restart(self) -> None:
        """The process dies and another begins with what is stored: what was buffered, and what it knew of others, is gone."""
        await self.leave(abort=True)
        lanes = [lane for lane in self.lanes.values() if lane.have > ZERO]
        has = [{"conversation": lane.conversation, "from": position(lane.begin), "position": position(lane.have)} for lane in lanes]
        self.note("restart", has=has, outbox=self.waiting())
        self.life += 1
        for lane in self.lanes.values():
            lane.ahead, lane.others, lane.sending = {}, {}, asyncio.Lock()
        self.syncing = asyncio.Lock()

    def waiting(self) -> "list[dict]":
        """The outbox, as the history has it."""
        return [{"conversation": lane.conversation, "id": message.id} for lane in self.lanes.values() for message in lane.outbox]

    async def ask(self, request: dict) -> dict:
        """Asks until there is an answer that says more than `try again`: §8.3, §9, §10. The request is repeated as it was."""
        go_on, wait_s = self.run.patience(), 0.5
        while True:
            try:
                answer = await self.connection.ask(dict(request))
            except Unanswered as why:
                if self.connection is None or self.connection.is_closed:
                    raise
                answer = {"type": "error", "code": "unavailable", "retryable": True, "message": str(why)}
            if answer["type"] != "error" or not answer["retryable"]:
                return answer
            self.run.count(f"repeated after {answer['code']}")
            go_on(f"{self.name}: {request['action']} is answered, but with {answer}")
            await asyncio.sleep(answer.get("retry_after_ms", 0) / 1000 + wait_s * (0.5 + self.run.random.random() / 2))
            wait_s = min(wait_s * 2, 30)

    async def carried_out(self, request: dict) -> dict:
        """The answer of a request that must not be refused."""
        answer = await self.ask(request)
        check(answer["type"] == request["action"], f"{self.name}: {request['action']} was answered {answer}")
        return answer

    # --- what comes

    def lane(self, conversation: str) -> Lane:
        return self.lanes.setdefault(conversation, Lane(conversation))

    def pushed(self, frame: dict) -> None:
        """A push; types that are not known are ignored (§1)."""
        if frame["type"] == "entries":
            self.came(self.lane(frame["conversation"]), frame["entries"])
            for entry in frame["entries"]:
                self.receive(self.lane(frame["conversation"]), entry)
        elif frame["type"] == "receipt":
            self.receipts += 1
            self.reached(self.lane(frame["conversation"]), frame)
        elif frame["type"] == "goaway":
            self.displaced = True
        elif frame["type"] == "error" and frame["code"] == "token_expired":
            self.expired = True

    def came(self, lane: Lane, entries: "list[dict]") -> None:
        """What the server has told this user, whatever the device makes of it."""
        told = [{name: entry[name] for name in ("position", "kind", *TELLS_OF_OTHERS) if name in entry} for entry in entries
                if entry["kind"] == "hidden" or any(name in entry for name in TELLS_OF_OTHERS)]
        self.note("received", conversation=lane.conversation, positions=[entry["position"] for entry in entries], told=told)

    def receive(self, lane: Lane, entry: dict) -> None:
        """§7.1: drop it, take it, or keep it for later."""
        at = pair(entry["position"])
        lane.known = max(lane.known, at)
        if at[1] > lane.have[1]:
            lane.ahead[at[1]] = entry
        while (following := lane.ahead.pop(lane.have[1] + 1, None)) is not None:
            self.take(lane, following)
        if lane.ahead and lane.conversation not in self.mending and self.connection:
            self.mending[lane.conversation] = self.run.background(self.mend(lane))

    def take(self, lane: Lane, entry: dict) -> None:
        lane.have = pair(entry["position"])
        if entry["sender"] == self.user:
            lane.outbox = [message for message in lane.outbox if message.id != entry["client_message_id"]]
        self.note("shown", **self.sight(lane, entry))
        self.keep(lane, entry)
        if self.user in entry.get("users", []) or (entry["kind"], entry["sender"]) == ("left", self.user):
            lane.has_ended = entry["kind"] != "added"
            if entry["kind"] == "added":  # what was there is read
                lane.read, lane.read_count = lane.have, entry["count"]

    def keep(self, lane: Lane, entry: dict) -> None:
        lane.entries[entry["position"]["seq"]] = entry
        fold(lane.entries, entry, self.user)

    @staticmethod
    def sight(lane: Lane, entry: dict) -> dict:
        said = ("kind", "time_ms", "count", "body", *TELLS_OF_OTHERS, "reactions", "reactions_to")
        return {"conversation": lane.conversation, "position": entry["position"], "sender": entry["sender"],
                "id": entry["client_message_id"]} | {name: entry[name] for name in said if name in entry}

    async def mend(self, lane: Lane) -> None:
        """A gap that is still open after the protocol's wait is fetched, once."""
        wait_ms = self.limits["gap_wait_ms"] * (1 + self.run.random.random())
        await asyncio.sleep(wait_ms / 1000)
        self.mending.pop(lane.conversation, None)
        if lane.ahead and self.connection:
            self.run.count("gaps fetched")
            await self.sync([lane])

    def reached(self, lane: Lane, told: dict) -> None:
        """The cursors of another. They overtake each other: only forward (§7.5)."""
        before = lane.others.get(told["user"], (ZERO, ZERO))
        now = (max(before[0], pair(told["delivered"])), max(before[1], pair(told["read"])))
        if now != before:
            lane.others[told["user"]] = now
            self.note("cursors", conversation=lane.conversation, of=told["user"], delivered=position(now[0]), read=position(now[1]))

    # --- catching up

    async def sync(self, lanes: "list[Lane]") -> None:
        """§7.2, page by page. Each request acknowledges what the pages before have brought."""
        async with self.syncing:
            lanes = lanes[:SYNC_CONVERSATIONS_MAX]
            while lanes:
                acks = [(lane, lane.have) for lane in self.lanes.values() if lane.have > lane.acked and not lane.has_ended]
                for lane, at in acks:
                    self.note("told_ack", conversation=lane.conversation, position=position(at))
                answer = await self.carried_out({
                    "action": "sync",
                    "conversations": [{"conversation": lane.conversation, "after": position(lane.have)} for lane in lanes],
                    "ack": [{"conversation": lane.conversation, "position": position(at)} for lane, at in acks],
                })
                self.pages += 1
                self.run.count("pages of sync")
                for lane, at in acks if answer.get("acked") else []:
                    self.taken(lane, "delivered", at)
                for page in answer["pages"]:
                    check(page["status"] == "ok", f"{self.name}: sync brought {page}")
                    lane = self.lane(page["conversation"])
                    if "skip" in page:
                        self.skip(lane, pair(page["skip"]["to"]))
                    self.came(lane, page["entries"])
                    for entry in page["entries"]:
                        self.receive(lane, entry)
                    if page["done"]:
                        check(lane.has_ended or "ended" not in page, f"{self.name}: sync says that what goes on has ended: {page}")
                        lane.is_doubted = False
                        lanes = [other for other in lanes if other is not lane]
                check(answer["pages"], f"{self.name}: a page of sync has nothing in it")

    def taken(self, lane: Lane, cursor: str, at: "tuple[int, int]") -> None:
        lane.acked = max(lane.acked, at)
        self.note("taken", cursor=cursor, conversation=lane.conversation, position=position(at))

    async def jump(self, lane: Lane) -> None:
        """§7.1: a log that is long for a new device is begun at its head."""
        check(lane.have == ZERO, "a jump of a device that has something")
        self.skip(lane, lane.known)
        lane.begin_count = lane.count_told

    def skip(self, lane: Lane, to: "tuple[int, int]") -> None:
        """What lies up to there is not on this device, or not for this user."""
        self.note("skipped", conversation=lane.conversation, to=position(to))
        lane.begin = lane.have = to
        lane.entries, lane.ahead = {}, {seq: entry for seq, entry in lane.ahead.items() if seq > to[1]}

    async def older(self, lane: Lane, limit: int) -> int:
        """§7.3: all that is before, page by page. Returns how many pages it took."""
        before, pages = lane.begin[1] + 1, 0
        while True:
            page = await self.carried_out({"action": "history", "conversation": lane.conversation, "before": before, "limit": limit})
            seqs = [entry["position"]["seq"] for entry in page["entries"]]
            check(seqs == list(range(before - len(seqs), before)), f"{self.name}: history before {before} brought {seqs}")
            self.came(lane, page["entries"])
            for entry in page["entries"]:
                self.note("older", **self.sight(lane, entry))
                self.keep(lane, entry)
            lane.begin = (lane.begin[0], before - len(seqs) - 1)
            pages += 1
            if page["done"]:
                return pages
            before = seqs[0]

    async def ping(self, *conversations: str) -> dict:
        """§8.1, with what the person looks at."""
        answer = await self.carried_out({"action": "ping", "open": list(conversations)})
        for row in answer.get("conversations", []):
            self.stands(row)
            for cursors in row.get("cursors", []):
                self.reached(self.lane(row["conversation"]), cursors)
        return answer

    async def acknowledge(self, lane: Lane) -> None:
        """§7.4: this device has all up to `have`."""
        await self.move("ack", "delivered", lane, lane.have)

    async def reads(self, lane: Lane) -> None:
        """The person has read all that is shown."""
        at, count = lane.have, lane.count()
        await self.move("read", "read", lane, at)
        if at > lane.read:
            lane.read, lane.read_count = at, count

    async def move(self, action: str, cursor: str, lane: Lane, at: "tuple[int, int]") -> None:
        self.note(f"told_{action}", conversation=lane.conversation, position=position(at))
        answer = await self.carried_out({"action": action, "positions": [{"conversation": lane.conversation, "position": position(at)}]})
        check([result["status"] for result in answer["results"]] == ["ok"], f"{self.name}: {action} was answered {answer}")
        self.taken(lane, cursor, at)
        self.run.count(action)

    # --- what goes

    async def open(self, other: str) -> Lane:
        """§5."""
        client_message_id = self.run.uuid()
        self.note("open", id=client_message_id)
        answer = await self.carried_out({"action": "open", "with": other, "client_message_id": client_message_id})
        self.note("opened", conversation=answer["conversation"], head=answer["head"])
        lane = self.lane(answer["conversation"])
        lane.known = max(lane.known, pair(answer["head"]))
        return lane

    async def create(self, users: "list[str]") -> Lane:
        """§5.2."""
        client_message_id = self.run.uuid()
        self.note("open", id=client_message_id)
        answer = await self.carried_out({"action": "create", "client_message_id": client_message_id, "users": users})
        self.note("opened", conversation=answer["conversation"], head=answer["position"])
        return self.lane(answer["conversation"])

    def compose(self, lane: Lane, body: Optional[dict] = None, asked: Optional[dict] = None) -> Message:
        """§6.1: a message, or a change, is durable, with its id and anchor, before its first attempt."""
        message = Message(self.run.uuid(), lane.known, body, asked)
        lane.outbox.append(message)
        self.note("composed", conversation=lane.conversation, id=message.id, target=(asked or {}).get("target"))
        return message

    def request(self, lane: Lane, messages: "list[Message]") -> dict:
        if messages[0].asked:
            return {"conversation": lane.conversation} | messages[0].wire()
        return {"action": "send", "conversation": lane.conversation, "messages": [message.wire() for message in messages]}

    def attempts(self, lane: Lane, messages: "list[Message]", request: str) -> None:
        if asked := messages[0].asked:
            self.note("change", conversation=lane.conversation, id=messages[0].id, request=request, kind=KINDS[asked["action"]],
                      target=asked.get("target"), body=asked.get("body"))
            return
        told = [{"id": message.id, "body": message.body} for message in messages]
        self.note("attempt", conversation=lane.conversation, request=request, messages=told)

    async def attempt(self, lane: Lane, messages: "list[Message]") -> "list[dict]":
        """One `send`, or one change. Returns its results; a `send` that is answered `unavailable` has none, and Unanswered is raised."""
        request = self.request(lane, messages) | {"id": self.connection.next_id()}
        self.attempts(lane, messages, request["id"])
        answer = await self.connection.ask(request)
        if asked := messages[0].asked:
            result = answer if answer["type"] == asked["action"] else answer | {"status": "refused"}
            self.came_back(lane, messages[0], result, request["id"])
            return [result]
        self.run.count("sends")
        if answer["type"] == "error" and answer["retryable"]:
            raise Unanswered(str(answer))
        check(answer["type"] == "send", f"{self.name}: send was answered {answer}")
        ids = [result["client_message_id"] for result in answer["results"]]
        check(ids == [message.id for message in messages], f"{self.name}: the results are not of the messages: {answer}")
        for message, result in zip(messages, answer["results"]):
            self.came_back(lane, message, result, request["id"])
        return answer["results"]

    def came_back(self, lane: Lane, message: Message, result: dict, request: str) -> None:
        status = result["status"]
        of = message.asked["action"] if message.asked else "results"
        self.run.count(f"{of} {status}" + (f" {result['code']}" if status == "refused" else ""))
        self.note("result", conversation=lane.conversation, id=message.id, request=request, status=status, position=result.get("position"),
                  code=result.get("code"), count=result.get("count"), time_ms=result.get("time_ms"))
        if message.asked and status in ("ok", "duplicate", "unchanged"):
            # §5.3: its entry is pushed to this connection too.
            lane.outbox = [waiting for waiting in lane.outbox if waiting.id != message.id]
            lane.known = max(lane.known, pair(result.get("position", position(ZERO))))
        elif status in ("ok", "duplicate"):
            # §7.1: an own result with a position is an entry.
            entry = {"position": result["position"], "sender": self.user, "client_message_id": message.id, "time_ms": result["time_ms"],
                     "count": result["count"], "kind": "message", "body": message.body}
            lane.outbox = [waiting for waiting in lane.outbox if waiting.id != message.id]
            self.receive(lane, entry)

    async def deliver(self, lane: Lane) -> None:
        """§6.2: repeats what is in the outbox, as it was, until it is settled."""
        go_on, wait_s = self.run.patience(), 0.5
        async with lane.sending:
            while lane.outbox:
                go_on(f"{self.name}: {len(lane.outbox)} messages are sent")
                bytes_left, batch = SEND_BODIES_BYTES_MAX, []
                for message in lane.outbox[:MESSAGES_PER_SEND_MAX]:
                    bytes_left -= len(str(message.body).encode())
                    if batch and (bytes_left < 0 or message.asked or batch[0].asked):
                        break
                    batch.append(message)
                try:
                    results = await self.attempt(lane, batch)
                except Unanswered as why:
                    check(not self.connection.is_closed, f"{self.name}: {why}")
                    self.run.count("sends without an answer")
                    await asyncio.sleep(wait_s * (0.5 + self.run.random.random() / 2))
                    wait_s = min(wait_s * 2, 30)
                    continue
                refused = next(((message, result) for message, result in zip(batch, results) if result["status"] in ("refused", "conflict")), None)
                if refused:
                    await self.refused(lane, *refused)

    async def refused(self, lane: Lane, message: Message, result: dict) -> None:
        """§9, what the client does."""
        code = result.get("code", "conflict")
        if code == "anchor_stale":
            await self.probe(lane, [message])
        elif result.get("retryable"):
            await asyncio.sleep((result.get("retry_after_ms", 100) + self.run.random.randrange(50)) / 1000)
        else:
            # Refused for good: an earlier attempt may have stored it. A look that began after the refusal decides.
            await self.probe(lane, [message])
            if message in lane.outbox:
                lane.outbox.remove(message)
                self.note("given_up", conversation=lane.conversation, id=message.id)

    async def probe(self, lane: Lane, messages: "list[Message]") -> None:
        """§6.3: the messages are found, or their anchors move over what was looked through."""
        answer = {"done": False, "reached": position(min(message.anchor for message in messages))}
        while not answer["done"]:
            answer = await self.carried_out({"action": "probe", "conversation": lane.conversation, "anchor": answer["reached"],
                                             "ids": [message.id for message in messages]})
            self.run.count("probes")
            for found in answer["found"]:
                self.note("result", conversation=lane.conversation, id=found["client_message_id"], status="found", position=found["position"],
                          count=found["count"], time_ms=found["time_ms"])
                lane.outbox = [message for message in lane.outbox if message.id != found["client_message_id"]]
        for message in messages:
            message.anchor = max(message.anchor, pair(answer["reached"]))

    # --- the end

    def end(self) -> None:
        """The device's last line: its store."""
        transcripts = []
        for lane in self.lanes.values():
            entries = [self.sight(lane, entry) for _, entry in sorted(lane.entries.items())]
            transcripts.append({"conversation": lane.conversation, "from": position(lane.begin), "have": position(lane.have), "entries": entries,
                                "unread": max(0, lane.count() - lane.read_count)})
        self.note("end", transcripts=transcripts, outbox=self.waiting())

    async def has(self, lane: Lane, at: "tuple[int, int]") -> None:
        """Waits until this device has every entry up to there."""
        mine = self.lane(lane.conversation)
        await self.run.until(f"{self.name} has {at} of {lane.conversation}: it has {mine.have}", lambda: mine.have >= at)

