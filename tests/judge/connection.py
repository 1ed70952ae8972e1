"""One socket: requests and their answers, pushes. Knows docs/PROTOCOL.md §2, §3 and §10."""

import asyncio
import json
from typing import Callable, Optional

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

# §8.3: a request that has had no answer after this long has an unknown outcome.
ANSWER_S = 35.0


class Unanswered(Exception):
    """The outcome of a request is not known: no answer came."""


async def handshake(url: str, device: Optional[str], token: Optional[str], **more: object) -> ClientConnection:
    """Opens a socket; the token goes in the header `Authorization`. Raises websockets' InvalidStatus when it is refused."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    address = url if device is None else f"{url}?device={device}"
    # A stack is on this machine: no proxy. What it says is taken whatever its size.
    return await connect(address, additional_headers=headers, proxy=None, max_size=None, ping_interval=None, compression=None,
                         open_timeout=ANSWER_S, close_timeout=5, **more)


def object_in(text: "str | bytes") -> "dict | None":
    """The frame in a text; none if it is no JSON object (§1: ignored)."""
    try:
        frame = json.loads(text)
    except ValueError:
        return None
    return frame if isinstance(frame, dict) else None


class Connection:
    """An open socket with its reader. `frames` keeps every frame that was no answer to a request, as it came."""

    def __init__(self, socket: ClientConnection, pushed: Callable[[dict], None], name: str = "r"):
        self.socket, self.pushed, self.name = socket, pushed, name
        self.waiting: "dict[str, asyncio.Future]" = {}
        self.texts: "dict[str, str]" = {}  # of the answers, by request
        self.frames: "list[dict]" = []
        self.requests = 0
        self.reader = asyncio.ensure_future(self.read())

    async def read(self) -> None:
        try:
            async for text in self.socket:
                frame = object_in(text)
                if frame is None:
                    continue
                waiting = self.waiting.pop(frame.get("id"), None)
                if waiting is not None:
                    self.texts[frame["id"]] = text
                    if not waiting.done():
                        waiting.set_result(frame)
                    continue
                self.frames.append(frame)
                if "type" not in frame:  # §10: the gateway's own
                    self.give_up(Unanswered(f"the gateway's frame: {text}"))
                else:
                    self.pushed(frame)
        except ConnectionClosed:
            pass
        finally:
            self.give_up(Unanswered(f"the socket is closed: {self.socket.close_code} {self.socket.close_reason}"))

    def give_up(self, why: Unanswered) -> None:
        for waiting in self.waiting.values():
            if not waiting.done():
                waiting.set_exception(why)
                waiting.exception()  # nobody may be waiting any more
        self.waiting.clear()

    @property
    def is_closed(self) -> bool:
        return self.reader.done()

    def next_id(self) -> str:
        """§3: not used twice on a connection; nor, here, in the life of a device."""
        self.requests += 1
        return f"{self.name}-{self.requests}"

    async def send(self, request: dict) -> "tuple[str, asyncio.Future]":
        """Sends a request. The future is its answer."""
        request_id = request.setdefault("id", self.next_id())
        return await self.send_text(request_id, json.dumps(request, ensure_ascii=False))

    async def send_text(self, request_id: str, text: str) -> "tuple[str, asyncio.Future]":
        """Sends a text as it is. The future is the answer that has this id."""
        answer = self.waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self.socket.send(text)
        except ConnectionClosed as closed:
            self.waiting.pop(request_id, None)
            raise Unanswered(str(closed)) from closed
        return request_id, answer

    async def ask(self, request: dict) -> dict:
        """Sends a request and awaits its answer, an `error` included. Raises Unanswered."""
        _, answer = await self.send(request)
        return await self.answer(answer)

    @staticmethod
    async def answer(answer: asyncio.Future) -> dict:
        try:
            return await asyncio.wait_for(answer, ANSWER_S)
        except asyncio.TimeoutError:
            raise Unanswered(f"no answer after {ANSWER_S:.0f} s") from None

    async def close(self) -> None:
        """Says goodbye."""
        await self.socket.close()
        await self.reader

    async def abort(self) -> None:
        """As when the network goes away: without a goodbye."""
        self.socket.transport.abort()
        await self.reader
