#!/usr/bin/env python3
"""Plays the conformance vectors against a client, over its standard input and output, and says which rule broke. README.md has the lines.

judge.py [--profile exact|free] [--only NAME] COMMAND…    answers 0 if the client does what every vector says, else 1"""
import argparse, copy, json, pathlib, subprocess, sys

IGNORED = {"quiet", "limit"}  # fields of requests that a client may set as it likes
FINAL = {"displaced", "upgrade_required"}  # states of the connection that the user must be told


class Broken(Exception):
    """The client does something else than the vector says."""


class Client:
    """The process of a client: one line in, one line out."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, line):
        try:
            self.process.stdin.write(json.dumps(line, ensure_ascii=False) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            return answer["outputs"], answer["wake_at_ms"], answer.get("draws")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Broken(f"the client answered no line with `outputs` and `wake_at_ms`: {error!r}") from None

    def end(self):
        self.process.kill()
        self.process.communicate()


class Names:
    """Which name of the client's stands for which of the vector's: request ids, sockets, and ids of messages that the client makes."""

    KINDS = {"id": "id", "socket": "socket", "client_message_id": "message", "ids": "message"}

    def __init__(self):
        self.of = {"id": {}, "socket": {}, "message": {}}

    def bind(self, kind, ours, theirs):
        names = self.of[kind]
        if ours in names or theirs in names.values():
            return names.get(ours) == theirs
        names[ours] = theirs
        return True

    def same(self, ours, theirs, key=None):
        """Whether the client's value is the vector's; its names are bound by their first use."""
        if isinstance(ours, dict) and isinstance(theirs, dict):
            keys = (ours.keys() | theirs.keys()) - IGNORED
            return all(key in ours and key in theirs and self.same(ours[key], theirs[key], key) for key in sorted(keys))
        if isinstance(ours, list) and isinstance(theirs, list):
            return len(ours) == len(theirs) and all(self.same(one, other, key) for one, other in zip(ours, theirs))
        if key in self.KINDS and isinstance(theirs, (str, int, tuple)):
            return self.bind(self.KINDS[key], ours[1] if isinstance(ours, tuple) else ours, theirs)
        return type(ours) is type(theirs) and ours == theirs

    def tell(self, value, key=None):
        """What the vector says, in the client's names."""
        if isinstance(value, dict):
            return {key: self.tell(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.tell(inner, key) for inner in value]
        name = self.of[self.KINDS[key]].get(value, value) if key in self.KINDS and isinstance(value, (str, int)) else value
        return name[1] if isinstance(name, tuple) else name


def portable(outputs):
    """What every client must do, of what one did: no writes, and of what is shown only what may not differ."""
    kept, unread = [], {}
    for output in copy.deepcopy(outputs):
        kind, what = output.get("type"), output.get("what", {})
        shown = what.get("type")
        if kind == "send" and isinstance(output["frame"], dict):
            output["frame"]["id"] = (str(output["socket"]), output["frame"].get("id"))  # ids need not differ between sockets
            kept.append(output)
        elif kind == "need_token":
            kept.append({"type": kind})
        elif shown == "conversation":
            unread[what["row"]["conversation"] if "row" in what else what["conversation"]] = what["unread"]
        elif shown == "connection":
            kept += [output] if what["state"]["is"] in FINAL else []
        elif shown == "outgoing" and what["state"]["is"] != "stored":
            kept.append({"type": kind, "what": what | {"state": {"is": what["state"]["is"]}}})
        elif shown and shown.startswith("failed_"):
            kept.append({"type": kind, "what": {key: value for key, value in what.items() if key != "refusal"}})
        elif kind != "commit":
            kept.append(output)
    return kept, unread


def is_entry(output):
    return output.get("what", {}).get("type") == "entry"


def compare(names, ours, theirs):
    """Each of the vector's outputs must be there once, and no other. Entries in their order, all else in any."""
    left = list(theirs)
    for one in ours:
        for index, other in enumerate(left):
            tried = copy.deepcopy(names)
            if one["type"] == other.get("type") and tried.same(one, other):
                names.of = tried.of
                del left[index]
                break
            if is_entry(one) and is_entry(other) and one["what"]["conversation"] == other["what"]["conversation"]:
                raise Broken(f"not the next entry: {show(other)}\n  but {show(one)}")
        else:
            raise Broken(f"missing: {show(one)}\n  there was: {show(left)}")
    if left:
        raise Broken(f"too much: {show(left)}")


def show(value):
    return json.dumps(value, ensure_ascii=False)


def start(vector, profile):
    return {"type": "start", "profile": profile, "settings": vector["settings"], "restored": vector["restored"]}


def exact(vector, client, at):
    client.ask(start(vector, "exact"))
    for number, step in enumerate(vector["steps"]):
        at[0] = number
        outputs, wake_at, draws = client.ask({"at_ms": step["at_ms"], "random": step["random"], "input": step["input"]})
        if draws is not None and draws != step["draws"]:
            raise Broken(f"the draws are {show(draws)}\n  but {show(step['draws'])}")
        for one, other in zip(step["expect"] + [None], outputs + [None]):
            if one != other:
                raise Broken(f"the output is {show(other)}\n  but {show(one)}")
        if len(outputs) != len(step["expect"]) or wake_at != step["wake_at_ms"]:
            raise Broken(f"wake_at_ms is {wake_at}, but {step['wake_at_ms']}; or there are more outputs")


def free(vector, client, at):
    names, unread, ahead = Names(), {}, 0
    seen = {row["conversation"]: row["head_count"] - row["read_count"] for row in vector["restored"]["conversations"]}
    for row in vector["restored"]["outbox"]:
        names.bind("message", row["client_message_id"], row["client_message_id"])
    wake_at = client.ask(start(vector, "free"))[1]
    for number, step in enumerate(vector["steps"]):
        at[0] = number
        told = names.tell({key: value for key, value in step["input"].items() if key != "batch"})
        if told["type"] in ("compose", "open_with"):
            del told["client_message_id"]  # the client makes one
        if told.get("wait") == "over":
            if wake_at is None:
                raise Broken("the client waits for nothing, and so would never go on")
            ahead = max(ahead, wake_at - step["at_ms"])  # its wait may be longer than the vector's: the clock is its own from here
        elif told["type"] != "tick" and wake_at is not None:
            ahead = min(ahead, wake_at - 1 - step["at_ms"])  # or shorter: no wait ends but by a tick
        outputs, wake_at, _ = client.ask({"at_ms": step["at_ms"] + ahead, "input": told})
        (ours, our_unread), (theirs, their_unread) = portable(step["expect"]), portable(outputs)
        compare(names, ours, theirs)
        unread.update(our_unread)
        seen.update(their_unread)
    if any(seen.get(key, 0) != count for key, count in unread.items()):
        raise Broken(f"unread in the end is {show(seen)}\n  but {show(unread)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=["exact", "free"], default="free")
    parser.add_argument("--only", metavar="NAME", action="append")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    files = sorted(pathlib.Path(__file__).parent.glob("*.json"))
    vectors = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.name != "schema.json"]
    vectors = [vector for vector in vectors if not options.only or vector["name"] in options.only]
    broken, client = 0, None
    for vector in vectors:
        client, at = client or Client(options.command), [None]
        try:
            {"exact": exact, "free": free}[options.profile](vector, client, at)
        except Broken as error:
            broken += 1
            print(f"{vector['name']}, step {at[0]}: {', '.join(vector['rules'] or [])}\n  {vector['story']}\n  {error}")
            client = client.end()
    print(f"{len(vectors) - broken} of {len(vectors)} vectors hold ({options.profile})")
    if client:
        client.end()
    sys.exit(1 if broken or not vectors else 0)


if __name__ == "__main__":
    main()
