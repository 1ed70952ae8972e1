"""What a stack does where docs/PROTOCOL.md leaves it to the gateway, or where a gateway may be wrong: one line a probe, in words that can be
compared. Nothing here is right or wrong by itself; differences.py asks for the reason of each difference."""

import asyncio
import json
import urllib.error
import urllib.request
from urllib.parse import quote

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from connection import handshake
from device import Device
from history import Run, check
from stack import Stack, scan, signed

# A frame that is neither answered nor ends the connection, though a request behind it was answered this long ago, has no outcome.
SILENCE_S = 3.0
OVERTAKING_ROUNDS = 40


async def observe(run: Run, stack: Stack) -> "dict[str, str]":
    """All observations, by probe. Runs when the workload is at rest and nobody else is connected who could be harmed."""
    seen = dict(run.observed)
    seen |= await handshakes(run, stack)
    seen |= await frames(run, stack)
    seen |= await order(run, stack)
    seen |= await management(run, stack)
    return seen


def token(stack: Stack) -> str:
    return stack.issuer.token("probe")


async def refused(*arguments: object, **more: object) -> str:
    """How a handshake ends."""
    try:
        socket = await handshake(*arguments, **more)
    except InvalidStatus as status:
        return f"{status.response.status_code}"
    except (InvalidHandshake, ConnectionClosed, OSError) as why:
        return f"no handshake: {type(why).__name__}"
    chosen = socket.subprotocol
    await socket.close()
    return f"101, subprotocol {chosen}" if more else "101"


async def handshakes(run: Run, stack: Stack) -> "dict[str, str]":
    good, device = token(stack), run.uuid()
    offered = ["chatlane.v1", f"token.{good}"]
    other_stage = stack.url.rpartition("/")[0] + "/nowhere"
    return {
        "handshake without a token": await refused(stack.url, device, None),
        "handshake with a token that is no JWT": await refused(stack.url, device, "no-jwt"),
        "handshake without a device": await refused(stack.url, None, good),
        "handshake at a stage that does not exist": await refused(other_stage, device, good),
        "handshake with a URL of 4,200 characters": await refused(f"{stack.url}?x={'x' * 4100}&device={device}", None, good),
        "handshake with the token as a subprotocol": await refused(stack.url, device, None, subprotocols=offered),
        "handshake with the token as a subprotocol and in the header": await refused(stack.url, device, good, subprotocols=offered),
        "GET that is no handshake": await asyncio.to_thread(plain, stack.url.replace("ws", "http", 1)),
    }


def plain(url: str) -> str:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=30) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as status:
        return str(status.code)


async def frames(run: Run, stack: Stack) -> "dict[str, str]":
    """What comes of frames that no client should send, each on a socket of its own."""
    async def after(*send: object, raw: bytes = b"") -> str:
        socket = await handshake(stack.url, run.uuid(), token(stack))
        try:
            for each in send:
                await socket.send(each)
            if raw:
                socket.transport.write(raw)
            await socket.send('{"action": "ping", "id": "behind"}')
            came, quiet = [], None
            while True:
                frame = json.loads(await asyncio.wait_for(socket.recv(), quiet or run.patience_s))
                if frame.get("id") == "behind":
                    quiet = SILENCE_S
                else:
                    came.append(frame.get("code") or frame.get("type") or frame.get("message"))
        except asyncio.TimeoutError:
            check(quiet, "a ping behind an odd frame is neither answered nor is the connection closed")
            return f"answered {', '.join(came)}" if came else "no answer, and the connection goes on"
        except ConnectionClosed:
            return f"close {socket.close_code}"
        finally:
            await socket.close()

    large = json.dumps({"action": "ping", "id": "large", "x": "x" * 33_000})
    larger = json.dumps({"action": "ping", "id": "larger", "x": "x" * 129 * 1024})
    pieces = [larger[start:start + 16_000] for start in range(0, len(larger), 16_000)]
    ping = json.dumps({"action": "ping", "id": "fine"})
    return {
        "a text whose action is $default": await after(json.dumps({"action": "$default", "id": "odd"})),
        "a text whose action is $connect": await after(json.dumps({"action": "$connect", "id": "odd"})),
        "a text whose action is $disconnect": await after(json.dumps({"action": "$disconnect", "id": "odd"})),
        "an empty text": await after(""),
        "a binary frame": await after(ping.encode()),
        "a frame of 33 KB": await after(large),
        "a message of 129 KB in frames of 16 KB": await after(pieces),
        "a text that is not UTF-8": await after(raw=masked(0x81, b'{"action": "ping", "id": "\xff"}')),
        "a text in two frames": await after([ping[:10], ping[10:]]),
        "a frame that is not masked": await after(raw=bytes([0x81, len(ping)]) + ping.encode()),
        "a WebSocket ping": await pong(run, stack),
        "a close with the code 4000": await closed(run, stack),
    }


def masked(first: int, payload: bytes) -> bytes:
    """A short frame as RFC 6455 §5.2 has it, with a mask of zeros."""
    check(len(payload) < 126, "a short frame")
    return bytes([first, 0x80 | len(payload), 0, 0, 0, 0]) + payload


async def pong(run: Run, stack: Stack) -> str:
    socket = await handshake(stack.url, run.uuid(), token(stack))
    try:
        await asyncio.wait_for(await socket.ping("are you there"), run.patience_s)
        return "a pong"
    except asyncio.TimeoutError:
        return "no pong"
    finally:
        await socket.close()


async def closed(run: Run, stack: Stack) -> str:
    socket = await handshake(stack.url, run.uuid(), token(stack))
    await socket.close(4000, "bye")
    answer = socket.protocol.close_rcvd
    return f"answered with {answer.code}" if answer else "not answered"


async def order(run: Run, stack: Stack) -> "dict[str, str]":
    """Whether a request may be answered before one that was sent before it on the same connection."""
    device = Device(run, stack, "probe", "the probe")
    await device.connect()
    lane = await device.open("nobody home")
    overtaken = False
    for _ in range(OVERTAKING_ROUNDS):
        answered = []
        slow = {"action": "history", "conversation": lane.conversation, "limit": 100}
        waiting = [await device.connection.send(dict(slow)) for _ in range(4)] + [await device.connection.send({"action": "ping"})]
        for name, answer in waiting:
            answer.add_done_callback(lambda _, name=name: answered.append(name))
        for _, answer in waiting:
            await device.connection.answer(answer)
        await run.until("all have been told", lambda: len(answered) == len(waiting))
        overtaken |= answered != [name for name, _ in waiting]
        if overtaken:
            break
    await device.has(lane, (1, 1))
    await device.leave()
    return {"answers to requests that were sent at once": "one has overtaken another" if overtaken else "always in the order of the requests"}


async def management(run: Run, stack: Stack) -> "dict[str, str]":
    """The @connections API, as the functions use it and as an operator may."""
    device = Device(run, stack, "probe", "the managed probe")
    await device.connect()
    session = next(item for item in scan(stack, "users") if item["u"]["S"] == "probe" and item["k"]["S"] == "sessions")
    ids = [name[2:] for name, value in session.items() if name.startswith("c:") and value["M"]["d"]["S"] == device.id]
    check(len(ids) == 1, f"the probe has one session: {session}")

    async def call(method: str, connection: str, body: bytes = b"") -> "tuple[int, bytes]":
        return await asyncio.to_thread(signed, "execute-api", method, f"{stack.connections}/@connections/{quote(connection, safe='')}", body)

    status, answer = await call("GET", ids[0])
    keys = " ".join(sorted(json.loads(answer))) if status == 200 else ""
    unsigned = await asyncio.to_thread(plain, f"{stack.connections}/@connections/{quote(ids[0], safe='')}")
    seen = {"GetConnection": f"{status} {keys}".strip(), "GetConnection without a signature": unsigned}
    posted = []
    device.connection.pushed = lambda frame: posted.append(frame["type"])
    status, _ = await call("POST", ids[0], b'{"type": "posted by hand"}')
    await run.until("what was posted comes", lambda: "posted by hand" in posted)
    seen["PostToConnection"] = f"{status}, and it comes as a text"
    seen["PostToConnection of 129 KB"] = str((await call("POST", ids[0], b'{"type": "' + b"x" * 129 * 1024 + b'"}'))[0])
    unknown = "AAAAAAAAAAAAAAA="
    seen["PostToConnection to nobody"] = str((await call("POST", unknown, b"{}"))[0])
    seen["GetConnection of nobody"] = str((await call("GET", unknown))[0])
    seen["DeleteConnection of nobody"] = str((await call("DELETE", unknown))[0])
    status, _ = await call("DELETE", ids[0])
    await run.until("a deleted connection is closed", lambda: device.connection.is_closed)
    seen["DeleteConnection"] = f"{status}, close {device.connection.socket.close_code}"
    seen["PostToConnection to a closed connection"] = str((await call("POST", ids[0], b"{}"))[0])
    await device.leave()
    return seen
