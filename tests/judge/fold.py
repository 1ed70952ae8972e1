"""What becomes of a message by the entries that are about it: docs/PROTOCOL.md §7.1."""

GONE_WITH_IT = ("body", "edited", "reactions", "reactions_to", "reply_to", "mentions")


def fold(entries: "dict[int, dict]", came: dict, user: str) -> None:
    """Brings the message that came, or that what came is about, into agreement with all that is here (by seq) about it, as `user` reads it.
    Which comes first does not matter, and to fold twice changes nothing."""
    target = came.get("target", came["position"]["seq"])
    about = sorted((entry for entry in entries.values() if entry.get("target") == target), key=lambda entry: entry["position"]["seq"])
    message = entries.get(target, {"kind": "not here"})
    for by in about:
        apply(message, by, user)
    if message["kind"] == "deleted" or any(by["kind"] == "deletion" for by in about):
        for by in about:
            by.pop("body", None)  # an edit has words of it


def apply(message: dict, by: dict, user: str) -> None:
    """Only to a message, and only what that does not tell already."""
    seq = by["position"]["seq"]
    if message["kind"] != "message":
        return
    if by["kind"] == "edit" and "body" in by and seq > message.get("edited", 0):
        message.update(body=by["body"], edited=seq)
    elif by["kind"] == "reaction" and seq > message.get("reactions_to", 0):
        message.update(reactions=counted(message.get("reactions", []), by, user), reactions_to=seq)
    elif by["kind"] == "deletion":
        message["kind"] = "deleted"
        for name in GONE_WITH_IT:
            message.pop(name, None)


def counted(reactions: "list[dict]", by: dict, user: str) -> "list[dict]":
    adds, by_key = by["change"] == "add", {one["key"]: one for one in reactions}
    one = by_key.setdefault(by["key"], {"key": by["key"], "count": 0})
    one["count"] += 1 if adds else -1
    if by["sender"] == user:
        one["mine"] = adds
    return [one for one in by_key.values() if one["count"] > 0]
