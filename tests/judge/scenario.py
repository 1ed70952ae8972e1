"""The workload: what people and their phones do, in acts that run beside each other, and the end that they all come to.

It knows docs/PROTOCOL.md, and of the stack only what it is handed. Nothing here waits for time to pass: every step waits for what must
come, and fails when it does not.
"""

import asyncio
import base64
from typing import Callable

from bad_input import bad_input
from connection import Unanswered
from device import ZERO, Device, Lane, Message
from edges import crowd, strangers, tokens
from history import Run, check, pair

# What the acts write. The long log is longer than an anchor may be behind (200 entries), and than one page of `history` (100).
LONG_LOG_MESSAGES = 225
RACE_MESSAGES = 15
LOST_ANSWERS = 6
AWAY_MESSAGES = 30
AWAY_BYTES = 2_500


def text(words: str) -> dict:
    return {"content_type": "text/plain", "text": words}


async def play(run: Run, stack) -> "dict[str, Device]":
    """The whole scenario up to the moment at which nothing is written any more. Returns the devices that are still live, by name."""
    device = {name: Device(run, stack, user, name) for name, user in (
        ("alice's phone", "alice"), ("alice's laptop", "alice"), ("bob", "bob|work#1/ü"), ("carol", "carol"), ("dave", "dave"),
        ("dave's tablet", "dave"), ("erin", "erin"), ("mallory", "mallory"), ("alice's tablet", "alice"), ("olga", "olga"), ("pete", "pete"),
        ("quinn", "quinn"), ("rosa", "rosa"))}
    opened: asyncio.Future = asyncio.get_running_loop().create_future()
    acts = [
        friends(run, device["alice's phone"], device["alice's laptop"], device["alice's tablet"], device["bob"], opened),
        long_log(run, device["carol"], device["dave"], device["dave's tablet"]),
        group(run, device["olga"], device["pete"], device["quinn"], device["rosa"]),
        strangers(run, device["erin"], opened),
        bad_input(run, device["mallory"]),
        tokens(run, stack),
        crowd(run, stack),
    ]
    tasks = [run.background(act) for act in acts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
    await come_to_rest(run, list(device.values()))
    return device


async def two_people(run: Run, stack) -> None:
    """The first act alone."""
    opened: asyncio.Future = asyncio.get_running_loop().create_future()
    phone, laptop, tablet = (Device(run, stack, "alice", name) for name in ("alice's phone", "alice's laptop", "alice's tablet"))
    await friends(run, phone, laptop, tablet, Device(run, stack, "bob|work#1/ü", "bob"), opened)


async def over_a_deployment(run: Run, stack, deploy: Callable[[], None]) -> None:
    """What was stored keeps its ids and its hashes when the same stack is deployed again."""
    ann = Device(run, stack, "ann", "ann")
    await ann.connect()
    lane = await ann.open("ben")
    message = ann.compose(lane, text("before"))
    [stored] = await until_answered(ann, lane, [message])
    check(stored["status"] == "ok", f"a first message: {stored}")
    await ann.leave()
    await asyncio.to_thread(deploy)
    await ann.connect()
    again = await ann.open("ben")
    check(again.conversation == lane.conversation, f"two users have another conversation after a deployment: {again.conversation}")
    for body, status in ((message.body, "duplicate"), (text("another"), "conflict")):
        message.body = body
        [result] = await until_answered(ann, lane, [message])
        check((result["status"], result["position"]) == (status, stored["position"]), f"a retry after a deployment is no {status}: {result}")
    await ann.leave()


async def friends(run: Run, phone: Device, laptop: Device, tablet: Device, bob: Device, opened: asyncio.Future) -> None:
    """Two people, four devices: everything that a conversation goes through."""
    await asyncio.gather(*(device.connect() for device in (phone, laptop, bob)))

    # Opened by both, several times at once: one conversation.
    lanes = await asyncio.gather(phone.open(bob.user), phone.open(bob.user), bob.open(phone.user), laptop.open(bob.user), bob.open(phone.user))
    check(len({lane.conversation for lane in lanes}) == 1, f"two users have several conversations: {lanes}")
    lane, at_bob, at_laptop = lanes[0], lanes[2], lanes[3]
    everywhere = [(phone, lane), (bob, at_bob), (laptop, at_laptop)]
    opened.set_result(lane.conversation)

    # One message, then a batch of everything that a body may be.
    phone.compose(lane, text("hello, bob"))
    await phone.deliver(lane)
    await all_have(everywhere, lane.known)
    bodies = [text("déjà vu 😀"), text('"quoted" \\ and\nbroken'), text("a NUL: \x00, a control: \x1b"), text(" "),
              {"content_type": "image/x-dot", "data": base64.b64encode(bytes(range(256))).decode()}]
    batch = [phone.compose(lane, bodies[index % len(bodies)]) for index in range(25)]
    await phone.deliver(lane)
    await all_have(everywhere, lane.known)

    await repeated(phone, lane, batch)
    for round in range(LOST_ANSWERS):
        await answer_lost(run, phone, lane, round, [phone.compose(lane, text(f"sent and gone, {round}.{number}")) for number in range(3)])
    await all_have(everywhere, lane.known)
    await one_after_the_other_is_refused(phone, lane)
    await race(everywhere)
    await changing(run, phone, laptop, tablet, bob, lane)
    await reading(run, phone, laptop, bob, lane)
    await away(run, phone, lane, bob, at_bob)
    await all_have(everywhere, lane.known)


async def all_have(everywhere: "list[tuple[Device, Lane]]", at: "tuple[int, int]") -> None:
    await asyncio.gather(*(device.has(lane, at) for device, lane in everywhere))


async def repeated(phone: Device, lane: Lane, batch: list) -> None:
    """The same send again, on the same connection and on another one: the places of the first."""
    places = {entry["client_message_id"]: entry["position"] for entry in lane.entries.values()}
    for moved in (False, True):
        if moved:
            await phone.leave()
            await phone.connect()
        results = await until_answered(phone, lane, batch)
        said = [(result["status"], result["position"]) for result in results]
        check(said == [("duplicate", places[message.id]) for message in batch], f"a send that was stored was answered {said}")


async def until_answered(device: Device, lane: Lane, messages: list) -> "list[dict]":
    """Repeats one send, as it is, until it has results that say more than `try again`."""
    go_on = device.run.patience()
    while True:
        try:
            results = await device.attempt(lane, messages)
            wait_ms = max((result.get("retry_after_ms", 100) for result in results if result.get("retryable")), default=None)
            if wait_ms is None:
                return results
            go_on(f"{device.name}: a send is answered, but with {results}")
            await asyncio.sleep(wait_ms / 1000)
        except Unanswered as why:
            check(not device.connection.is_closed, f"{device.name}: {why}")
            device.run.count("sends without an answer")
            go_on(f"{device.name}: a send of {len(messages)} messages has results")


async def answer_lost(run: Run, phone: Device, lane: Lane, round: int, messages: "list[Message]") -> None:
    """A phone that is gone between the sending and the answer repeats what it sent. Whether the first was stored, nobody knows."""
    request = phone.request(lane, messages) | {"id": phone.connection.next_id()}
    phone.attempts(lane, messages, request["id"])
    await phone.connection.send(request)
    if round % 3 == 0:
        await phone.leave()  # with a goodbye: the gateway has read the frame before it
    elif round % 3 == 1:
        await phone.leave(abort=True)
    else:
        await phone.restart()  # the process dies; its outbox goes on
    run.count("answers lost")
    # The outbox goes on as soon as hello is answered, before the device has caught up.
    await phone.connect(catch_up=False)
    await phone.deliver(lane)
    await phone.catch_up()


async def one_after_the_other_is_refused(phone: Device, lane: Lane) -> None:
    """Another body under an id that is used, between two good messages; a message that is too large; anchors that nobody gave."""
    used = next(entry for entry in lane.entries.values() if entry["sender"] == phone.user and entry["kind"] == "message")
    before, after = (phone.compose(lane, text(f"{where} the conflict")) for where in ("before", "after"))
    epoch, seq = pair(used["position"])
    lie = Message(used["client_message_id"], (epoch, seq - 1), text("not what I said"))
    results = await until_answered(phone, lane, [before, lie, after])
    said = [result["status"] for result in results]
    check(said in (["ok", "conflict", "not_attempted"], ["duplicate", "conflict", "not_attempted"]), f"a conflict in the middle: {results}")
    check(results[1]["position"] == used["position"], f"a conflict names another entry: {results}")
    await phone.deliver(lane)

    have = lane.have
    large = phone.compose(lane, text("x" * 30_500))
    results = await until_answered(phone, lane, [large])
    check(results[0].get("code") == "too_large", f"a message of 30,500 bytes: {results}")
    for anchor, code in (((1, have[1] + 1000), "anchor_unknown"), ((0, have[1]), "epoch_changed")):
        forged = phone.compose(lane, text("by an anchor that nobody gave"))
        true, forged.anchor = forged.anchor, anchor
        results = await until_answered(phone, lane, [forged])
        check(results[0].get("code") == code, f"an anchor of {anchor}: {results}")
        forged.anchor = true
    await phone.deliver(lane)
    check(not lane.outbox, "the outbox is settled")


async def race(everywhere: "list[tuple[Device, Lane]]") -> None:
    """Three devices write into one log at the same time, each its next message after the answer to the one before."""
    async def writes(device: Device, lane: Lane) -> None:
        for number in range(RACE_MESSAGES):
            device.compose(lane, text(f"{device.name} {number}"))
            await device.deliver(lane)

    await asyncio.gather(*(writes(device, lane) for device, lane in everywhere))
    tail = max(lane.known for _, lane in everywhere)
    await all_have(everywhere, tail)


async def outcome(device: Device, lane: Lane, action: str, **wants: object) -> str:
    """What comes of a change: `ok` (also if it took several attempts), `unchanged`, or why it is refused."""
    change = device.compose(lane, asked={"action": action} | wants)
    [result] = await until_answered(device, lane, [change])
    if change in lane.outbox:
        await device.refused(lane, change, result)
    return "ok" if result["status"] == "duplicate" else result.get("code", result["status"])


async def come_out(lane: Lane, *changes: "tuple[Device, str, str, dict]") -> None:
    """One after the other, each as it must: by whom, the outcome, what."""
    for device, expected, action, wants in changes:
        said = await outcome(device, device.lane(lane.conversation), action, **wants)
        check(said == expected, f"{device.name}: {action} of {wants} is {said}, and should be {expected}")


async def changing(run: Run, phone: Device, laptop: Device, tablet: Device, bob: Device, lane: Lane) -> None:
    """§6.4: what is done to messages. That all devices make the same of it, the checker sees."""
    at_laptop, at_bob, at_tablet = (device.lane(lane.conversation) for device in (laptop, bob, tablet))
    everywhere = [(phone, lane), (laptop, at_laptop), (bob, at_bob)]
    messages = [phone.compose(lane, text(f"{fate}, as it was first")) for fate in ("edited", "deleted", "edited and deleted")]
    await phone.deliver(lane)
    await all_have(everywhere, lane.known)
    edited, deleted, both = map(lane.seq_of, messages)

    def says(target: int, words: str) -> dict:
        return {"target": target, "body": text(words)}

    def reacts(target: int, change: str, key: str = "👍") -> dict:
        return {"target": target, "key": key, "change": change}

    await come_out(
        lane, (phone, "ok", "edit", says(edited, "by the phone")), (laptop, "unchanged", "edit", says(edited, "by the phone")),
        (laptop, "ok", "edit", says(both, "soon to be gone")), (bob, "forbidden", "edit", says(edited, "not mine")),
        (bob, "forbidden", "delete", {"target": deleted}), (phone, "no_message", "edit", says(1, "not a message")),
        (bob, "ok", "react", reacts(edited, "add")), (bob, "unchanged", "react", reacts(edited, "add")),
        (bob, "ok", "react", reacts(edited, "remove")), (bob, "unchanged", "react", reacts(edited, "remove")),
        (bob, "ok", "react", reacts(edited, "add")), (bob, "ok", "react", reacts(both, "add")))
    change = phone.compose(lane, asked={"action": "edit"} | says(edited, "said twice"))
    results = [(await until_answered(phone, lane, [change]))[0] for _ in range(2)]
    check(results[1]["status"] == "duplicate" and results[1]["position"] == results[0]["position"], f"an edit, and its retry: {results}")
    for round in range(3):
        await answer_lost(run, phone, lane, round, [phone.compose(lane, asked={"action": "edit"} | says(edited, f"edited and gone, {round}"))])

    # At once, on two devices of one user: two edits are both made; of two alike, one finds it so.
    def at_once(action: str, *wants: dict):
        return asyncio.gather(*(outcome(device, device.lane(lane.conversation), action, **want) for device, want in zip((phone, laptop), wants)))

    # Bob misses it, and takes it by `sync`; a new tablet has begun behind the messages, and gets them by `history`, as they are by then.
    await bob.leave(abort=True)
    await tablet.connect(catch_up=False)
    await tablet.jump(at_tablet)
    await tablet.catch_up()
    said = [await at_once("edit", says(edited, "the phone's"), says(edited, "the laptop's")),
            sorted(await at_once("react", reacts(edited, "add"), reacts(edited, "add"))),
            sorted(await at_once("delete", {"target": both}, {"target": both}))]
    check(said == [["ok", "ok"], ["ok", "unchanged"], ["ok", "unchanged"]], f"two devices at once are told {said}")
    await come_out(lane, (phone, "ok", "delete", {"target": deleted}), (phone, "no_message", "edit", says(deleted, "words for it")))
    await bob.connect()
    await tablet.older(at_tablet, 100)
    await come_out(lane, (bob, "ok", "react", reacts(edited, "add", "ü")), (bob, "ok", "react", reacts(edited, "remove")),
                   (bob, "no_message", "react", reacts(both, "add")), (laptop, "ok", "edit", says(edited, "for the last time")))
    await all_have([*everywhere, (tablet, at_tablet)], at_laptop.known)


async def group(run: Run, olga: Device, pete: Device, quinn: Device, rosa: Device) -> None:
    """A group that one joins, from which one is removed while away, and that one leaves; messages change all the time."""
    await asyncio.gather(*(device.connect() for device in (olga, pete, quinn, rosa)))
    lane = await olga.create([pete.user, quinn.user])
    at_pete, at_quinn, at_rosa = (device.lane(lane.conversation) for device in (pete, quinn, rosa))
    await all_have([(olga, lane), (pete, at_pete), (quinn, at_quinn)], (1, 1))
    before = pete.compose(at_pete, text("before rosa came"))
    await pete.deliver(at_pete)
    await all_have([(olga, lane), (quinn, at_quinn)], at_pete.known)
    # What is about a message of before, rosa is told as `hidden`.
    await come_out(lane, (quinn, "forbidden", "add", {"users": [rosa.user]}), (olga, "ok", "add", {"users": [rosa.user]}),
                   (quinn, "ok", "react", {"target": at_pete.seq_of(before), "key": "👍", "change": "add"}))
    after = pete.compose(at_pete, text("after rosa came"))
    await pete.deliver(at_pete)
    await all_have([(quinn, at_quinn), (rosa, at_rosa)], at_pete.known)

    # Quinn gets what he missed up to his removal, and no word of what came after it.
    await quinn.leave(abort=True)
    await come_out(lane, (pete, "ok", "edit", {"target": at_pete.seq_of(after), "body": text("quinn misses this")}),
                   (olga, "ok", "remove", {"users": [quinn.user]}))
    end = lane.known
    await come_out(lane, (pete, "ok", "edit", {"target": at_pete.seq_of(after), "body": text("not for quinn")}))
    await quinn.connect()
    check(at_quinn.has_ended and at_quinn.have == end, f"quinn has {at_quinn.have} of a group that he belonged to up to {end}")
    quinn.compose(at_quinn, text("am I still there?"))
    await quinn.deliver(at_quinn)
    check(run.done.get("results refused not_found"), "who was removed from a group sends nothing to it")

    leave = pete.compose(at_pete, asked={"action": "leave"})
    said = [(await until_answered(pete, at_pete, [leave]))[0]["status"] for _ in range(2)]
    check(said[1] == "duplicate", f"pete leaves, and repeats that: {said}")
    await pete.run.until("pete takes the entry by which he has left", lambda: at_pete.has_ended)
    await come_out(lane, (olga, "ok", "delete", {"target": at_pete.seq_of(after)}))
    await all_have([(olga, lane), (rosa, at_rosa)], lane.known)


async def reading(run: Run, phone: Device, laptop: Device, bob: Device, lane: Lane) -> None:
    """What one has got and read is shown to the other, and to one's own other device by its next hello."""
    at_bob, at_laptop = bob.lane(lane.conversation), laptop.lane(lane.conversation)
    await bob.acknowledge(at_bob)
    await shown_at(run, phone, lane, bob, 0, at_bob.have)
    await bob.reads(at_bob)
    await shown_at(run, phone, lane, bob, 1, at_bob.have)
    await phone.reads(lane)
    await shown_at(run, bob, at_bob, phone, 1, lane.have)
    # Told again, and told late: nothing goes back.
    await bob.move("read", "read", at_bob, (at_bob.have[0], 2))
    await laptop.leave()
    await laptop.connect()
    check(at_laptop.read >= lane.have, f"the laptop learns at {at_laptop.read} what the phone has read: {lane.have}")


async def shown_at(run: Run, device: Device, lane: Lane, other: Device, which: int, at: "tuple[int, int]") -> None:
    """Receipts may be lost: `ping` tells the cursors again (§7.5)."""
    what = ("delivered", "read")[which]

    async def told() -> bool:
        await device.ping(lane.conversation)
        return lane.others.get(other.user, (ZERO, ZERO))[which] >= at

    await run.until_told(f"{device.name} is told that {other.name} has {what} up to {at}", told)
    run.count(f"{what} seen")


async def away(run: Run, phone: Device, lane: Lane, bob: Device, at_bob: Lane) -> None:
    """Bob's network goes away while alice writes more than a page; he writes without it, too."""
    have = at_bob.have
    await bob.leave(abort=True)
    for number in range(AWAY_MESSAGES):
        phone.compose(lane, text(f"{number} " + "while you were away " * (AWAY_BYTES // 20)))
    bob.compose(at_bob, text("written in a tunnel"))
    await phone.deliver(lane)
    pages = bob.pages
    await bob.connect()
    check(at_bob.have[1] >= have[1] + AWAY_MESSAGES, f"bob has caught up: {at_bob.have}")
    check(bob.pages - pages >= 3, f"what bob missed came in {bob.pages - pages} pages")
    await bob.deliver(at_bob)
    tail = at_bob.have
    await phone.has(lane, tail)


async def long_log(run: Run, carol: Device, dave: Device, tablet: Device) -> None:
    """A log that grows beyond an anchor's reach while somebody is away; a new device begins at its end."""
    await asyncio.gather(carol.connect(), dave.connect())
    at_dave = await dave.open(carol.user)
    lane = await carol.open(dave.user)
    await dave.has(at_dave, (1, 1))
    dave.compose(at_dave, text("anchored before all that"))
    await dave.leave(abort=True)
    for first in range(0, LONG_LOG_MESSAGES, 25):
        for number in range(first, first + 25):
            carol.compose(lane, text(f"line {number}"))
        await carol.deliver(lane)

    # His message goes first, by an anchor that is too old: refused, looked for, sent.
    await dave.connect(catch_up=False)
    await dave.deliver(at_dave)
    check(run.done.get("results refused anchor_stale"), "an anchor 225 entries behind is stale")
    await dave.catch_up()
    await dave.acknowledge(at_dave)

    await tablet.connect(catch_up=False)
    at_tablet = tablet.lane(lane.conversation)
    check(at_tablet.known >= (1, 2), "hello tells a new device of the conversation")
    await tablet.jump(at_tablet)
    await tablet.catch_up()
    begin = at_tablet.begin[1]
    pages = await tablet.older(at_tablet, 100)
    check(pages >= 3, f"{begin} entries of history came in {pages} pages")
    tablet.compose(at_tablet, text("from the tablet"))
    await tablet.deliver(at_tablet)
    await asyncio.gather(carol.has(lane, at_tablet.have), dave.has(at_dave, at_tablet.have))
    await carol.reads(lane)
    await dave.reads(at_dave)


async def come_to_rest(run: Run, devices: "list[Device]") -> None:
    """What is written has come everywhere, and everybody has said so."""
    tails: "dict[str, tuple[int, int]]" = {}
    for device in devices:
        for lane in device.lanes.values():
            tails[lane.conversation] = max(tails.get(lane.conversation, (0, 0)), lane.known, lane.have)
    for device in devices:
        for lane in [lane for lane in device.lanes.values() if not lane.has_ended]:
            tail = tails[lane.conversation]

            async def head_is_there() -> bool:
                pong = await device.ping(lane.conversation)
                check("resync" not in pong, f"{device.name} is not known any more: {pong}")
                return pair(pong["conversations"][0]["head"]) >= tail

            await run.until_told(f"the head of {lane.conversation} is at {tail}", head_is_there)
            await device.has(lane, tail)
            await device.acknowledge(lane)
    for task in [task for device in devices for task in device.mending.values()]:
        await task
    if run.failed:
        raise run.failed[0]

