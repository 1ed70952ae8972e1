"""What the devices of one run saw and did, in the format of tests/checker/README.md, and the seed that everything random comes from."""

import asyncio
import json
import random
import time
import uuid
from pathlib import Path
from typing import Awaitable, Callable

# One condition may take so long. A guard, not a measurement: on a machine at rest no condition takes a tenth of it.
PATIENCE_S = 90.0


class ScenarioFailed(Exception):
    """Something that the protocol page promises did not happen, or something happened that it rules out. The text says what."""


def check(holds: object, what: str) -> None:
    """Raises ScenarioFailed, unless `holds`."""
    if not holds:
        raise ScenarioFailed(what)


def position(of: "tuple[int, int]") -> dict:
    """As on the wire: `(epoch, seq)` is how devices keep it, because tuples compare as positions do."""
    return {"epoch": of[0], "seq": of[1]}


def pair(of: dict) -> "tuple[int, int]":
    """From the wire."""
    return of["epoch"], of["seq"]


class Run:
    """One run of the scenario against one stack: its seed, its history, what has failed in the background."""

    def __init__(self, seed: int, folder: Path, patience_s: float = PATIENCE_S):
        self.random = random.Random(seed)
        self.path = folder / "history.jsonl"
        self.lines = self.path.open("w")
        self.patience_s = patience_s
        self.devices: list = []  # every device that has ever connected: each has an `end`
        self.done: "dict[str, int]" = {}  # what the scenario did, by name
        self.failed: "list[BaseException]" = []
        self.observed: "dict[str, str]" = {}  # what the acts have seen of the platform on the way

    def note(self, what: str, **fields: object) -> None:
        """Writes one line. Unfinished things are None and left out."""
        line = {"what": what} | {name: value for name, value in fields.items() if value is not None}
        self.lines.write(json.dumps(line, ensure_ascii=False) + "\n")

    def count(self, what: str, times: int = 1) -> None:
        """Counts something that the scenario did, for the report."""
        self.done[what] = self.done.get(what, 0) + times

    def uuid(self) -> str:
        """A UUID by the seed."""
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def background(self, work) -> asyncio.Task:
        """Runs something beside the acts. Its failure is the run's: `until` raises it."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(lambda task: None if task.cancelled() or not task.exception() else self.failed.append(task.exception()))
        return task

    def patience(self) -> Callable[[str], None]:
        """What a loop calls before it goes on, with what it does not have yet: raises ScenarioFailed when that has taken too long, and what
        has failed in the background."""
        ends = time.monotonic() + self.patience_s

        def go_on(what: str) -> None:
            if self.failed:
                raise self.failed[0]
            check(time.monotonic() < ends, f"after {self.patience_s:.0f} s not yet: {what}")
        return go_on

    async def until(self, what: str, holds: Callable[[], object]) -> None:
        """Waits for a condition. Raises ScenarioFailed with `what` when it does not come."""
        go_on = self.patience()
        while not holds():
            go_on(what)
            await asyncio.sleep(0.01)

    async def until_told(self, what: str, asked: Callable[[], Awaitable[bool]]) -> None:
        """Asks again and again until the answer is yes. Raises ScenarioFailed with `what` when it stays no."""
        go_on = self.patience()
        while not await asked():
            go_on(what)
            await asyncio.sleep(0.05)
