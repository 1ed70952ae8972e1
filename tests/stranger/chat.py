"""One line from alice to bob: a client written from docs/PROTOCOL.md alone. chat.py URL ALICE_TOKEN BOB_TOKEN, or the three in CHATLANE_STRANGER."""
import asyncio, json, os, sys, uuid
from websockets.asyncio.client import connect

URL, ALICE, BOB = sys.argv[1:] or os.environ["CHATLANE_STRANGER"].split()

class Device:
    async def open(self, token):
        self.pushes, self.have, self.ahead = [], {}, {}
        self.socket = await connect(f"{URL}?device={uuid.uuid4()}", subprotocols=["chatlane.v1", f"token.{token}"])
        hello = await self.ask(action="hello", v=1)
        self.user, self.have = hello["user"], {row["conversation"]: row["head"]["seq"] for row in hello["conversations"]}
        return self
    async def ask(self, **request):
        await self.socket.send(json.dumps(request | {"id": (id := uuid.uuid4().hex)}))
        while (frame := json.loads(await self.socket.recv())).get("id") != id:
            self.pushes.append(frame)  # a push may overtake an answer
        return frame if frame["type"] == request["action"] else sys.exit(f"refused: {frame}")
    async def entries(self):
        while True:
            frame = self.pushes.pop(0) if self.pushes else json.loads(await self.socket.recv())
            for entry in frame["entries"] if frame.get("type") == "entries" else []:
                self.ahead[frame["conversation"], entry["position"]["seq"]] = entry
            while entry := self.ahead.pop((frame.get("conversation"), have := self.have.get(frame.get("conversation"), 0) + 1), None):
                self.have[frame["conversation"]] = have
                yield entry

async def main():
    alice, bob = await Device().open(ALICE), await Device().open(BOB)
    lane = await alice.ask(action="open", **{"with": bob.user}, client_message_id=str(uuid.uuid4()))
    message = {"client_message_id": str(uuid.uuid4()), "anchor": lane["head"], "body": {"content_type": "text/plain", "text": "hello, bob"}}
    [result] = (await alice.ask(action="send", conversation=lane["conversation"], messages=[message]))["results"]
    print(f"{alice.user} sent: {result['status']} #{result['position']['seq']}")
    received = await anext(entry async for entry in bob.entries() if entry["client_message_id"] == message["client_message_id"])
    print(f"{bob.user} received from {received['sender']}: {received['body']['text']} #{received['position']['seq']}")
    await asyncio.gather(alice.socket.close(), bob.socket.close())

asyncio.run(asyncio.wait_for(main(), 30))
