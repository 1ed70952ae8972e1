"""Programs that the judge starts, and their ends: nothing of them is left behind, whatever they have started."""

import os
import signal
import socket
import subprocess
import time
import uuid
from pathlib import Path
from typing import Callable, Optional

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
ASKING_S = 5.0  # then by force; what runs at once ends within the minute that `tests/run` gives the judge
MARK = "CHATLANE_JUDGE"  # in the environment of a program and of all that it starts


class CouldNotStart(Exception):
    """A program did not start, or a command failed. The text says what it printed."""


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def environment(**more: str) -> dict:
    """The caller's, without what could reach a real account or another Python, and with these."""
    dropped = ("AWS_", "PYTHONHOME", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    here = ",".join(["127.0.0.1", "localhost", *filter(None, [os.environ.get("NO_PROXY")])])  # the stacks are on this machine
    return kept | {"NO_PROXY": here, "no_proxy": here} | more


def last_lines(path: Path, lines: int = 40) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


class Program:
    """A running program. As a context manager it is ended with everything that it has started, whatever sessions that made for itself."""

    def __init__(self, command: list, log: Path, env: dict, cwd: Path):
        self.log, self.mark = log, f"{MARK}={uuid.uuid4()}"
        with log.open("wb") as out:
            name, _, value = self.mark.partition("=")
            self.process = subprocess.Popen([str(word) for word in command], cwd=cwd, env=env | {name: value}, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def __enter__(self) -> "Program":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(ASKING_S)
        except subprocess.TimeoutExpired:
            pass
        end_marked(self.mark)
        self.process.wait()

    def printed(self) -> str:
        """What it has printed so far. Raises CouldNotStart if it has ended."""
        if self.process.poll() is not None:
            raise CouldNotStart(f"{self.process.args[0]} has ended with {self.process.returncode}\n{last_lines(self.log)}")
        return self.log.read_text(errors="replace")

    def until(self, what: str, ready: Callable[[str], object], limit_s: float = 90):
        """What `ready` answers to what was printed, once it answers something."""
        ends = time.monotonic() + limit_s
        while not (answer := ready(self.printed())):
            if time.monotonic() > ends:
                raise CouldNotStart(f"after {limit_s:.0f} s not yet: {what}\n{last_lines(self.log)}")
            time.sleep(0.05)
        return answer


def run(command: list, log: Path, env: dict, cwd: Path, limit_s: float = 2400) -> str:
    """Runs a command to its end; what it printed is returned, and is in `log`. Raises CouldNotStart when it fails."""
    with Program(command, log, env, cwd) as program:
        try:
            code: Optional[int] = program.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
    if code != 0:
        ended = f"not done after {limit_s:.0f} s" if code is None else f"exit code {code}"
        raise CouldNotStart(f"{' '.join(str(word) for word in command[:3])} …: {ended}; all of it is in {log}\n{last_lines(log)}")
    return log.read_text(errors="replace")


def end_marked(mark: str) -> None:
    """Ends every process that has the mark in its environment, by its id: first by asking."""
    for signal_sent in (signal.SIGTERM, signal.SIGKILL):
        ends = time.monotonic() + ASKING_S
        while left := marked(mark):
            for process in left:
                try:
                    os.kill(process, signal_sent)
                except ProcessLookupError:
                    pass
            if time.monotonic() > ends:
                break
            time.sleep(0.05)


def marked(mark: str) -> "list[int]":
    """The processes with this mark that have not ended. (Of one that has, nobody can read the environment.)"""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:
            continue  # it has ended meanwhile, or is somebody else's
    return found
