"""The corpus of docs/PROTOCOL.md §12: each input gets one typed error, and nothing of it is stored."""

import json
from pathlib import Path

from connection import Connection, Unanswered
from device import Device
from history import Run, ScenarioFailed, check, position

# How to read it says crates/protocol/tests/bad_input.rs.
KEPT = json.loads((Path(__file__).parents[1] / "support/bad_input.json").read_text())


def corpus(run: Run, conversation: str) -> "list[tuple[str, str, str, bool]]":
    """What it is, the text that is sent, the code that must come, whether the answer has the request's `id`. `$id` and `$message` in a text
    stand for a fresh request id and a fresh client message id. Without the rows whose routing is the gateway's own business (`judge`)."""
    probe = {"action": "probe", "conversation": conversation, "ids": ["$message"]}
    rows = [row for rows in KEPT["rows"].values() for row in rows if row.get("judge", True)] + [
        {"name": "a probe beyond the tail", "request": probe | {"anchor": position((1, 999))}, "code": "anchor_unknown"},
        {"name": "a probe of another epoch", "request": probe | {"anchor": position((0, 1))}, "code": "epoch_changed"},
    ]
    run.random.shuffle(rows)
    names = {"$send": text_of({"send": {}}), "$conversation": conversation, "$user": "mallory"}

    def named(text: str) -> str:
        for name, value in names.items():
            text = text.replace(name, value)
        return text

    return [(row["name"], named(text_of(row)), row.get("code", "bad_request"), row.get("id", True)) for row in rows]


def text_of(row: dict) -> str:
    """What a row sends."""
    if "text" in row:
        return "".join(expanded(part) for part in (row["text"] if isinstance(row["text"], list) else [row["text"]]))
    request = {"id": "$id"} | expanded(row.get("request", KEPT["send"]))
    for pointer, value in row.get("send", {}).items():
        *parents, last = (int(key) if key.isdigit() else key for key in pointer.split("/")[1:])
        at = request
        for key in parents:
            at = at[key]
        at[last] = expanded(value)
    return json.dumps({key: value for key, value in request.items() if value is not None}, ensure_ascii=False)


def expanded(value: object) -> object:
    """What a value stands for."""
    if isinstance(value, dict) and "repeat" in value:
        return value["repeat"] * value["times"]
    if isinstance(value, dict) and "list" in value:
        item = json.dumps(expanded(value["list"]))
        return [json.loads(item.replace("$n", f"{number:03}")) for number in range(value["times"])]
    if isinstance(value, dict):
        return {key: expanded(field) for key, field in value.items()}
    return [expanded(item) for item in value] if isinstance(value, list) else value


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
        mallory.note("bad", ids=[message] if message in text else [], code=frame["code"], answers=1)
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
