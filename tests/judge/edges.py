"""What is asked by those who may not, by tokens that are not good or not good any more, and by one connection too many."""

import asyncio
import base64
import json

from websockets.exceptions import InvalidStatus

from connection import Unanswered, handshake
from device import Device
from history import Run, check, position
from tokens import LEEWAY_S, Issuer, encoded

CONNECTIONS_PER_USER_MAX = 16
SHORT_S = 15  # what is left of a token that is nearly over: enough for two handshakes on a busy machine


async def strangers(run: Run, erin: Device, opened: asyncio.Future) -> None:
    """Erin asks about a conversation of others, and about one that does not exist. The checker compares the answers."""
    await erin.connect()
    of_others = await opened
    none = "d" + encoded(run.random.randbytes(24))[:len(of_others) - 1]
    at, message_id = position((1, 1)), run.uuid()
    message = {"client_message_id": message_id, "anchor": at, "body": {"content_type": "text/plain", "text": "let me in"}}
    for conversation in (of_others, none):
        about = {"conversation": conversation}
        requests = [
            {"action": "send", "messages": [message]} | about,
            {"action": "probe", "anchor": at, "ids": [message_id]} | about,
            {"action": "history"} | about,
            {"action": "history", "before": 2, "limit": 1} | about,
            {"action": "sync", "conversations": [about | {"after": position((0, 0))}]},
            {"action": "sync", "conversations": [about | {"after": at}], "ack": [about | {"position": at}]},
            {"action": "ack", "positions": [about | {"position": at}]},
            {"action": "read", "positions": [about | {"position": at}]},
            {"action": "ping", "open": [conversation]},
        ]
        for number, request in enumerate(requests):
            answer = await ask_until_known(erin, request)
            # What is compared is asked in the same words.
            erin.note("asked_as_stranger", conversation=conversation, action=f"{request['action']} {number}", request=answer["id"],
                      answer=erin.connection.texts[answer["id"]])
            run.count("asked as a stranger")
    await erin.ping()


async def ask_until_known(device: Device, request: dict) -> dict:
    """As `Device.ask`, and also repeats a refusal inside the answer that says that the outcome is unknown."""
    go_on = device.run.patience()
    while True:
        answer = await device.ask(request)
        if '"unavailable"' not in json.dumps(answer):
            return answer
        go_on(f"{request['action']} is answered, but with {answer}")


async def tokens(run: Run, stack) -> None:
    """Who is let in, for how long, and how that is prolonged."""
    issuer, device = stack.issuer, run.uuid()
    header = {"alg": "ES256", "kid": issuer.id}
    good = issuer.token("grace")
    claims = json.loads(base64.urlsafe_b64decode(good.split(".")[1] + "=="))
    signature = good.rpartition(".")[2]
    refused = {
        "no token": None,
        "no JWT": "not-a-token",
        "the signature of another key": Issuer().signed(header, claims),
        "another's claims under a good signature": f"{good.split('.')[0]}.{encoded(json.dumps(claims | {'sub': 'root'}).encode())}.{signature}",
        "alg none": f"{encoded(json.dumps(header | {'alg': 'none'}).encode())}.{good.split('.')[1]}.",
        "another audience": issuer.token("grace", aud="somebody-else"),
        "another issuer": issuer.token("grace", iss="https://login.example.com/"),
        "expired": issuer.token("grace", expires_in_s=-LEEWAY_S - 5),
        "not yet valid": issuer.token("grace", nbf=claims["iat"] + 3600),
        "for another device": issuer.token("grace", device=run.uuid()),
        "issued in the future": issuer.token("grace", iat=claims["iat"] + 3600),
        "of another type": issuer.signed(header | {"typ": "logout+jwt"}, claims),
        "an extension that it demands": issuer.signed(header | {"crit": ["b64"]}, claims),
        "an access token for another client": issuer.cognito("grace", "access", client_id="somebody-else"),
        "an id token for another client": issuer.cognito("grace", "id", aud="somebody-else"),
        "no user": issuer.token(""),
    }
    for name, token in refused.items():
        check(not await is_let_in(stack.url, device, token), f"a handshake with a token like this is let in: {name}")
        run.count("handshakes refused")
    for use in ("id", "access"):
        check(await is_let_in(stack.url, device, issuer.cognito("grace", use)), f"a handshake with Cognito's {use} token is refused")
        run.count("tokens of Cognito's form taken")
    for name, other in {"no device": None, "no UUID": "grace's phone"}.items():
        check(not await is_let_in(stack.url, other, good), f"a handshake is let in with {name}")
        run.count("handshakes refused")

    # A token whose time is nearly over: refreshed on one device, not on the other.
    kept, lost = Device(run, stack, "grace", "grace's phone"), Device(run, stack, "grace", "grace's tablet")
    short = issuer.token("grace", expires_in_s=SHORT_S - LEEWAY_S)
    firsts = await asyncio.gather(kept.connect(short), lost.connect(short))
    bad = {"another user's": issuer.token("heidi"), "expired": refused["expired"], "forged": refused["the signature of another key"]}
    for name, token in bad.items():
        answer = await kept.ask({"action": "refresh", "token": token})
        check(answer.get("code") == "token_refused", f"a refresh with a token that is {name}: {answer}")
    answer = await kept.carried_out({"action": "refresh", "token": issuer.token("grace")})
    check(answer["expires_ms"] > firsts[0]["expires_ms"] + 3_000_000, f"a refresh moves the end: {answer}")
    run.count("refreshed")

    # The time is over when the server says so: then a request is told, and the connection is closed.
    go_on = run.patience()
    while not (lost.expired or lost.connection.is_closed):
        go_on("a ping is answered token_expired")
        try:
            pong = await lost.connection.ask({"action": "ping"})
        except Unanswered:
            continue  # the loop's condition tells why
        check(pong["type"] == "ping" or pong["code"] == "token_expired", f"at the end of the token's time: {pong}")
        lost.expired |= pong["type"] == "error"
        await asyncio.sleep(0.1)  # one function takes 50 frames of a user in a second
    check(lost.expired, "the end of the token's time is told before the connection is closed")
    await run.until("the connection is closed after its token's time", lambda: lost.connection.is_closed)
    run.observed["the end of a connection whose token's time is over"] = f"close {lost.connection.socket.close_code}"
    lost.connection = None
    lost.note("away")
    run.count("expired")
    check((await kept.ping())["type"] == "ping", "who refreshed goes on")
    await kept.leave()


async def is_let_in(url: str, device: "str | None", token: "str | None") -> bool:
    try:
        socket = await handshake(url, device, token)
    except InvalidStatus:
        return False
    await socket.close()
    return True


async def crowd(run: Run, stack) -> None:
    """One user has 16 connections; one more displaces the oldest. A device has one: a newer one displaces the older."""
    devices = [Device(run, stack, "frank", f"frank's device {number}") for number in range(CONNECTIONS_PER_USER_MAX + 1)]
    oldest, *others = devices
    for device in devices:
        await device.connect()
    await run.until("the oldest of 17 connections is displaced", lambda: oldest.displaced)
    check(not any(device.displaced for device in others), "the 17th connection displaces one only")
    run.count("displaced")
    await oldest.leave()

    older, seen = others[0].connection, []
    older.pushed = lambda frame: seen.append(frame["type"])
    others[0].connection = await others[0].socket()
    await others[0].hello()
    await run.until("a newer connection displaces the older one of the same device", lambda: "goaway" in seen)
    run.count("displaced")
    await older.close()
    check("resync" not in await others[0].ping(), "the newer connection is known")
    check(not any(device.displaced for device in others), "a device's newer connection displaces no other device's")
    await asyncio.gather(*(device.leave() for device in others))
