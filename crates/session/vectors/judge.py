#!/usr/bin/env python3
"""Plays the conformance vectors against a client, over its standard input and output, and says which rule broke. README.md has the lines.

judge.py [--profile exact|free] [--only NAME] [--patience S] COMMAND…    answers 0 if the client does what every vector says, else 1"""
import argparse, copy, json, math, pathlib, subprocess, sys, threading

IGNORED = {"quiet", "limit"}  # fields of requests that a client may set as it likes
NAMED = {"compose", "compose_to", "open_with", "create", "edit", "delete", "react", "add", "remove", "leave", "role", "settings", "close"}
FINAL = {"displaced", "upgrade_required"}  # states of the connection that the user must be told


class Broken(Exception):
    """The client does something else than the vector says."""


class Client:
    """The process of a client: one line in, one line out. `line` is the number of the last one behind `start`."""

    def __init__(self, command, patience_s):
        self.patience_s = patience_s
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")

    def ask(self, line):
        self.line = -1 if line.get("type") == "start" else self.line + 1
        (patience := threading.Timer(self.patience_s, self.process.kill)).start()
        try:
            self.process.stdin.write(json.dumps(line, ensure_ascii=False) + "\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
            if answer["wake_at_ms"] is not None and answer["wake_at_ms"] <= line.get("at_ms", -1): raise ValueError("its wait is over before now")
            return [*answer["outputs"]], answer["wake_at_ms"], answer.get("draws")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Broken(f"the client answered no line with `outputs` and `wake_at_ms` within {self.patience_s} s: {error!r}") from None
        finally:
            patience.cancel()

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
        if ours not in names and theirs not in names.values():
            names[ours] = theirs
        return names.get(ours) == theirs

    def same(self, ours, theirs, key=None):
        """Whether the client's value is the vector's; its names are bound by their first use."""
        if isinstance(ours, dict) and isinstance(theirs, dict):
            keys = (ours.keys() | theirs.keys()) - IGNORED
            return all(key in ours and key in theirs and self.same(ours[key], theirs[key], key) for key in sorted(keys))
        if isinstance(ours, list) and isinstance(theirs, list):
            return len(ours) == len(theirs) and all(self.same(one, other, key) for one, other in zip(ours, theirs))
        if key in self.KINDS and isinstance(theirs, (str, int)):
            return self.bind(self.KINDS[key], ours.partition(" on ")[0] if key == "id" else ours, theirs)
        return isinstance(ours, bool) == isinstance(theirs, bool) and ours == theirs  # 1.0 is 1

    def tell(self, value, key=None):
        """What the vector says, in the client's names."""
        if isinstance(value, dict):
            return {key: self.tell(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.tell(inner, key) for inner in value]
        name = self.of[self.KINDS[key]].get(value, value) if key in self.KINDS and isinstance(value, (str, int)) else value
        return name.partition(" on ")[0] if key == "id" and isinstance(name, str) else name


def portable(outputs):
    """What every client must do, of what one did: no writes, and of what is shown only what may not differ."""
    kept, unread = [], {}
    for output in copy.deepcopy(outputs):
        kind, what = output["type"], output.get("what", {})
        if kind == "send" and isinstance(output["frame"], dict):
            output["frame"]["id"] = f"{output['frame'].get('id')} on {output['socket']}"  # ids need not differ between sockets
        if what.get("type") == "outgoing" and what["state"]["is"] != "stored":
            what["state"] = {"is": what["state"]["is"]}
        output.pop("why", None), what.pop("refusal", None)  # for people
        if what.get("type") == "conversation":
            row = what.get("row", what)
            unread[row["conversation"]] = (what["unread"], is_mentioned(row) if "row" in what else what.get("mentioned", False))
        elif kind != "commit" and (what.get("type") != "connection" or what["state"]["is"] in FINAL):
            kept.append(output)
    return kept, unread


def is_mentioned(row):
    return row.get("mentioned", 0) > row["read"]["seq"]


def compare(names, ours, theirs):
    """Each of the vector's outputs must be there once, and no other. Entries in their order, all else in any."""
    left, shown = list(theirs), lambda output: [output.get("what", {}).get(key) for key in ("type", "conversation")]
    for one in ours:
        for index, other in enumerate(left):
            tried = copy.deepcopy(names)
            if one["type"] == other["type"] and tried.same(one, other):
                names.of = tried.of
                del left[index]
                break
            if shown(one) == shown(other) and shown(one)[0] == "entry":
                raise Broken(f"not the next entry: {show(other)}\n  but {show(one)}")
        else:
            raise Broken(f"missing, in the vector's names: {show(one)}\n  there was, in the client's names: {show(left)}")
    if left:
        raise Broken(f"too much, in the client's names: {show(left)}")


def show(value):
    return json.dumps(value, ensure_ascii=False)


def exact(vector, client, at):
    for step in vector["steps"]:
        at.append(step)
        outputs, wake_at, draws = client.ask({"at_ms": step["at_ms"], "random": step["random"], "input": step["input"]})
        ours = [step["draws"] if draws is not None else None, *step["expect"], f"wake_at_ms {step['wake_at_ms']}"]
        for one, other in zip(ours, [draws, *outputs, f"wake_at_ms {wake_at}"]):
            if one != other:
                raise Broken(f"there is {show(other)}\n  but {show(one)}")


def wait(client, soonest, latest, now, wake_at):
    """When the client's wait ends, which may not be before `soonest`, nor later than `latest`."""
    if soonest - 1 > now:
        outputs, wake_at, _ = client.ask({"at_ms": soonest - 1, "input": {"type": "tick", "wait": "not yet"}})
        if portable(outputs)[0]:
            raise Broken(f"too early, at {soonest - 1} ms of the client's clock: {show(portable(outputs)[0])}")
    if wake_at is None or wake_at > latest:
        raise Broken(f"the client waits until {wake_at} ms of its clock, and the wait is over from {soonest} to {latest}")
    return wake_at


def free(vector, client, at):
    names, unread, wake_at, ahead, times, lines, waited = Names(), {}, None, 0, [], [], []
    seen = {row["conversation"]: (row["head_count"] - row["read_count"], is_mentioned(row)) for row in vector["restored"]["conversations"]}
    rows = vector["restored"]["outbox"] + vector["restored"].get("held", []) + vector["restored"].get("groups", [])
    names.of["message"] = {row[key]: row[key] for row in rows for key in ("client_message_id", "opening") if key in row}
    for step in vector["steps"]:
        at.append(step)
        told, ends = names.tell({key: value for key, value in step["input"].items() if key != "batch"}), step.get("ends")
        if told["type"] in NAMED:
            told = {key: value for key, value in told.items() if key not in ("client_message_id", "opening")}  # the client makes them
        told |= {"step": lines[told["step"]]} if "step" in told else {}
        if ends:
            began, latest = times[ends["since"]], times[ends["since"]] + ends["late_ms"] * 11 // 10
            wake_at = wait(client, began + ends["early_ms"], latest, times[-1], wake_at)
            waited.append((wake_at - began - ends["early_ms"], ends["late_ms"] - ends["early_ms"]))
            ahead = max(ahead, wake_at - step["at_ms"])  # its wait may be longer than the vector's: the clock is its own from here
        elif told["type"] != "tick" and wake_at is not None:
            ahead = min(ahead, wake_at - 1 - step["at_ms"])  # or shorter: no wait ends but by a tick
        outputs, wake_at, _ = client.ask({"at_ms": step["at_ms"] + ahead, "input": told})
        ours, our_unread = portable(step["expect"])
        while ends and ours and not portable(outputs)[0] and (wake_at or math.inf) <= latest:  # it woke for something of its own
            ahead, (more, wake_at, _) = wake_at - step["at_ms"], client.ask({"at_ms": wake_at, "input": told})
            outputs += more
        theirs, their_unread = portable(outputs)
        compare(names, ours, theirs)
        unread.update(our_unread)
        seen.update(their_unread)
        times.append(step["at_ms"] + ahead)
        lines.append(client.line)
    if any(seen.get(key, (0, False)) != status for key, status in unread.items()):
        raise Broken(f"unread, and whether it mentions the user, in the end is {show(seen)}\n  but {show(unread)}")
    least = vector["settings"]["back_off_min_ms"]
    waited = [(ms, range_ms) for ms, range_ms in waited if range_ms > least]
    if math.prod(least / range_ms for _, range_ms in waited) < 1e-6 and all(ms <= least for ms, _ in waited):
        raise Broken(f"the pauses do not grow: all are {least} ms or less, which hardly happens by chance")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=["exact", "free"], default="free")
    parser.add_argument("--only", metavar="NAME", action="append")
    parser.add_argument("--patience", metavar="S", type=float, default=10, help="so long the client may take for an answer")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    files = [file for file in sorted(pathlib.Path(__file__).parent.glob("*.json")) if file.stem in (options.only or [file.stem])]
    vectors = [json.loads(file.read_text(encoding="utf-8")) for file in files if file.stem != "schema"]
    broken, client = 0, None
    for vector in vectors:
        client, at = client or Client(options.command, options.patience), []
        try:
            client.ask({"type": "start", "profile": options.profile, "settings": vector["settings"], "restored": vector["restored"]})
            {"exact": exact, "free": free}[options.profile](vector, client, at)
        except (Broken, KeyError, TypeError, AttributeError) as error:  # an output without what README.md has for it
            broken += 1
            where = f"{len(at) - 1}, at {at[-1]['at_ms']} ms: {show(at[-1]['input'])}" if at else "start"
            said = error if isinstance(error, Broken) else f"an output is not as README.md has it: {error!r}"
            print(f"{vector['name']}, step {where}\n  {', '.join(vector['rules'])}\n  {vector['story']}\n  {said}")
            client = client.end()
    print(f"{len(vectors) - broken} of {len(vectors)} vectors hold ({options.profile})")
    sys.exit(1 if broken or not vectors else 0)


if __name__ == "__main__":
    main()
