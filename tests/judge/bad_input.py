"""The corpus of docs/PROTOCOL.md §12: each input gets one typed error, and nothing of it is stored."""

import json

from connection import Connection, Unanswered
from device import Device
from history import Run, ScenarioFailed, check, position

AT = position((1, 1))


def corpus(run: Run, conversation: str) -> "list[tuple[str, str, str, bool]]":
    """What it is, the text that is sent, the code that must come, whether the answer has the request's `id`. `$id` and `$message` in a text
    stand for a fresh request id and a fresh client message id."""
    bad, unknown = "bad_request", "unknown_action"
    message = {"client_message_id": "$message", "anchor": AT, "body": {"content_type": "text/plain", "text": "stored by mistake"}}

    def send(**other: object) -> str:
        return json.dumps({"action": "send", "id": "$id", "conversation": conversation, "messages": [message | other]})

    def body(**fields: object) -> str:
        return send(body={"content_type": "text/plain"} | fields)

    def request(action: str, **fields: object) -> str:
        return json.dumps({"action": action, "id": "$id"} | fields)

    here = {"conversation": conversation}
    texts = [
        ("not JSON", "hello?", bad, False),
        ("half of it", '{"action": "ping", "id": "$id"', bad, False),
        ("an array", '["ping"]', bad, False),
        ("a number", "7", bad, False),
        ("nested 200 deep", '{"action": "ping", "id": "$id", "x": ' + "[" * 200 + "]" * 200 + "}", bad, False),
        ("a NUL byte", '{"action": "ping\x00", "id": "$id"}', bad, False),
        ("half a surrogate pair", '{"action": "open", "id": "$id", "with": "\\ud800", "client_message_id": "$message"}', bad, False),
        ("no action", '{"id": "$id"}', bad, True),
        ("an action that is no text", '{"action": 7, "id": "$id"}', bad, True),
        ("an unknown action", request("teleport"), unknown, True),
        ("an unknown action without id", '{"action": "teleport"}', bad, False),
        ("no id", '{"action": "ping"}', bad, False),
        ("an empty id", '{"action": "ping", "id": ""}', bad, False),
        ("an id of 65 bytes", json.dumps({"action": "ping", "id": "i" * 65}), bad, False),
        ("an id with a line feed", '{"action": "ping", "id": "a\\nb"}', bad, False),
        ("no messages", request("send", **here, messages=[]), bad, True),
        ("26 messages", request("send", **here, messages=[message] * 26), bad, True),
        ("a message without an anchor", send(anchor=None), bad, True),
        ("an anchor as an array", send(anchor=[1, 1]), bad, True),
        ("a negative seq", send(anchor={"epoch": 1, "seq": -1}), bad, True),
        ("seq 2^53", send(anchor={"epoch": 1, "seq": 2**53}), bad, True),
        ("a seq with a fraction", send(anchor={"epoch": 1, "seq": 1.5}), bad, True),
        ("a seq as text", send(anchor={"epoch": 1, "seq": "1"}), bad, True),
        ("an empty body", body(text=""), bad, True),
        ("neither text nor data", body(), bad, True),
        ("both text and data", body(text="a", data="YQ=="), bad, True),
        ("data that is not base64", body(data="*"), bad, True),
        ("a content type with a NUL", send(body={"content_type": "text/\x00", "text": "x"}), bad, True),
        ("an empty message id", send(client_message_id=""), bad, True),
        ("a message id of 1 KB", send(client_message_id="m" * 1024), bad, True),
        ("a message id with a NUL", send(client_message_id="a\x00b"), bad, True),
        ("a repeated field", f'{{"action": "send", "id": "$id", "conversation": "{conversation}", "conversation": "x", "messages": []}}', bad, True),
        ("a conversation id with a slash", request("history", conversation="a/b"), bad, True),
        ("a limit of 0", request("history", **here, limit=0), bad, True),
        ("a limit of 101", request("history", **here, limit=101), bad, True),
        ("open without with", request("open", client_message_id="$message"), bad, True),
        ("open with oneself", request("open", client_message_id="$message", **{"with": "mallory"}), bad, True),
        ("open with 129 bytes", request("open", client_message_id="$message", **{"with": "u" * 129}), bad, True),
        ("a sync of nothing", request("sync", conversations=[]), bad, True),
        ("a sync of 101", request("sync", conversations=[{"conversation": f"d{n}", "after": AT} for n in range(101)]), bad, True),
        ("a sync of one twice", request("sync", conversations=[here | {"after": AT}] * 2), bad, True),
        ("an ack of nothing", request("ack", positions=[]), bad, True),
        ("a read of one twice", request("read", positions=[here | {"position": AT}] * 2), bad, True),
        ("a ping of 21", request("ping", open=[f"d{n}" for n in range(21)]), bad, True),
        ("a probe of no ids", request("probe", **here, anchor=AT, ids=[]), bad, True),
        ("a probe of 26 ids", request("probe", **here, anchor=AT, ids=[f"m{n}" for n in range(26)]), bad, True),
        ("known not ascending", request("hello", v=1, known=[["b", 1, 1, 1, 1], ["a", 1, 1, 1, 1]]), bad, True),
        ("a row of known as an object", request("hello", v=1, known=[{"conversation": "a"}]), bad, True),
        ("hello without v", request("hello"), bad, True),
        ("hello with v 0", request("hello", v=0), "upgrade_required", True),
        ("a refresh without a token", request("refresh"), bad, True),
        ("a refresh with 9 KB", request("refresh", token="t" * 9 * 1024), bad, True),
        ("a probe beyond the tail", request("probe", **here, anchor=position((1, 999)), ids=["$message"]), "anchor_unknown", True),
        ("a probe of another epoch", request("probe", **here, anchor=position((0, 1)), ids=["$message"]), "epoch_changed", True),
    ]
    run.random.shuffle(texts)
    return texts


async def bad_input(run: Run, mallory: Device) -> None:
    """Sends the corpus on one connection, one after the other; the connection goes on, and her log is as it was."""
    await mallory.connect()
    lane = await mallory.open("nobody home")
    await mallory.has(lane, (1, 1))
    sent = corpus(run, lane.conversation)
    without_id = 0
    for what, text, code, has_id in sent:
        request, message = mallory.connection.next_id(), run.uuid()
        text = text.replace("$id", request).replace("$message", message)
        frame = await answered(run, mallory.connection, what, text, request if has_id else None)
        without_id += not has_id
        check(frame.get("type") == "error" and frame.get("code") == code, f"bad input ({what}): {frame}")
        check((frame.get("id") == request) == has_id, f"bad input ({what}), whether the error has the id: {frame}")
        mallory.tell("bad", ids=[message] if message in text else [], code=frame["code"], answers=1)
        run.count("bad inputs")
    # All answers that were not asked for by id have been counted: one each.
    await mallory.ping()
    stray = len(errors(mallory.connection, 0))
    check(stray == without_id, f"{stray} errors without an id for {without_id} bad inputs")
    page = await mallory.carried_out({"action": "history", "conversation": lane.conversation})
    check(len(page["entries"]) == 1, f"bad input has changed a log: {page}")


async def answered(run: Run, connection: Connection, what: str, text: str, request: "str | None") -> dict:
    """The one frame that answers a text: by its id, or the next error that has none. Sent again where the outcome is unknown."""
    go_on = run.patience()
    while True:
        if request is not None:
            _, answer = await connection.send_text(request, text)
            try:
                frame = await connection.answer(answer)
            except Unanswered as why:
                raise ScenarioFailed(f"bad input ({what}): {why}") from why
        else:
            seen = len(connection.frames)
            await connection.socket.send(text)
            await run.until(f"an answer to bad input ({what})", lambda: errors(connection, seen))
            [frame] = errors(connection, seen)
        if frame.get("code") != "unavailable":
            return frame
        go_on(f"bad input ({what}) is answered, but with {frame}")


def errors(connection: Connection, begin: int) -> "list[dict]":
    """The frames without a request's id that tell of an error, from the `begin`th on."""
    return [frame for frame in connection.frames[begin:] if frame.get("type") not in ("entries", "receipt")]
