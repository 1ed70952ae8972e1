"""A group of three: a message, an edit, a reaction, a removal. A client written from docs/PROTOCOL.md alone.
group.py URL ALICE_TOKEN BOB_TOKEN CAROL_TOKEN, or the four in CHATLANE_STRANGER."""
import asyncio, json, os, sys, uuid
from websockets.asyncio.client import connect

URL, *TOKENS = sys.argv[1:] or os.environ["CHATLANE_STRANGER"].split()
START = {"epoch": 0, "seq": 0}


class Device:
    """One socket and, of each conversation, the entries as they came, without a gap."""

    async def open(self, token):
        self.pushes, self.log, self.ahead = [], {}, {}
        self.socket = await connect(f"{URL}?device={uuid.uuid4()}", subprotocols=["chatlane.v1", f"token.{token}"])
        self.user = (await self.ask(action="hello", v=1))["user"]
        return self

    async def ask(self, **request):
        await self.socket.send(json.dumps(request | {"id": (id := uuid.uuid4().hex)}))
        while (frame := json.loads(await self.socket.recv())).get("id") != id:
            self.pushes.append(frame)  # a push may overtake an answer
        return frame if frame["type"] == request["action"] else sys.exit(f"refused: {frame}")

    async def change(self, action, group, **said):
        """Something that becomes an entry. A real client stores id and anchor first, and repeats both."""
        anchor = self.log[group][-1]["position"] if self.log.get(group) else START
        return await self.ask(action=action, conversation=group, client_message_id=str(uuid.uuid4()), anchor=anchor, **said)

    async def until(self, group, kind):
        """Takes entries until one of this kind has come (§7.1)."""
        log = self.log.setdefault(group, [])
        while True:
            while entry := self.ahead.pop((group, len(log) + 1), None):
                log.append(entry)
                if entry["kind"] == kind:
                    return entry
            frame = self.pushes.pop(0) if self.pushes else json.loads(await self.socket.recv())
            for entry in frame["entries"] if frame.get("type") == "entries" else []:
                if entry["position"]["seq"] > len(self.log.setdefault(frame["conversation"], [])):
                    self.ahead[frame["conversation"], entry["position"]["seq"]] = entry

    def message(self, group, seq):
        """A message as the entries about it have left it (§7.1)."""
        said, reactions = self.log[group][seq - 1].get("body"), {}
        for entry in (entry for entry in self.log[group] if entry.get("target") == seq):
            said = entry["body"] if entry["kind"] == "edit" else None if entry["kind"] == "deletion" else said
            if entry["kind"] == "reaction":
                reactions.setdefault(entry["key"], set()).symmetric_difference_update({entry["sender"]})
        return said["text"], {key: len(users) for key, users in reactions.items() if users}


async def main():
    alice, bob, carol = [await Device().open(token) for token in TOKENS]
    made = await alice.ask(action="create", client_message_id=str(uuid.uuid4()), users=[bob.user, carol.user], settings={"title": "Tram"})
    group = made["conversation"]
    await asyncio.gather(*(device.until(group, "group_created") for device in (alice, bob, carol)))
    message = {"client_message_id": str(uuid.uuid4()), "anchor": START, "body": {"content_type": "text/plain", "text": "helo"}}
    [sent] = (await alice.ask(action="send", conversation=group, messages=[message]))["results"]
    seq = sent["position"]["seq"]
    await alice.change("edit", group, target=seq, body={"content_type": "text/plain", "text": "hello"})
    await bob.until(group, "edit")
    await bob.change("react", group, target=seq, key="👍", change="add")
    await asyncio.gather(*(device.until(group, "reaction") for device in (bob, carol)))
    print(f"{carol.user} sees: {carol.message(group, seq)}")
    await alice.change("remove", group, users=[carol.user])
    await carol.until(group, "removed")
    await alice.change("edit", group, target=seq, body={"content_type": "text/plain", "text": "not for carol"})
    [page] = (await carol.ask(action="sync", conversations=[{"conversation": group, "after": START}]))["pages"]
    print(f"{carol.user}: it ended at #{page['ended']['seq']}; {[entry['kind'] for entry in page['entries']]}")
    await asyncio.gather(*(device.socket.close() for device in (alice, bob, carol)))


asyncio.run(asyncio.wait_for(main(), 30))
