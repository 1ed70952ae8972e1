"""The stack of this repository, as `cargo run -p chatlane-local` starts it."""

import re
from contextlib import contextmanager
from pathlib import Path

from processes import Program, environment
from stack import Stack
from tokens import Issuer

READY = re.compile(r"^gateway  (ws://\S+)  .*^embedded endpoints, .*: DynamoDB (\S+)  SQS \S+  @connections (\S+)$", re.MULTILINE | re.DOTALL)
KEY_FILE = "issuer-key.pkcs8"  # where it keeps its issuer's key


@contextmanager
def local(program: Path, folder: Path, issuer: Issuer):
    """A fresh stack with the judge's key as its issuer's, ended with the block."""
    data = folder / "data"
    data.mkdir(parents=True)
    issuer.write_key(data / KEY_FILE)
    with Program([program, "--port", "0", "--data", data, "-v"], folder / "stack.log", environment(), folder) as running:
        ready = running.until("the runner says where it listens", READY.search)
        url, dynamodb, connections = ready.groups()
        yield Stack("local", url, connections, dynamodb, {name: name for name in ("log", "conversations", "inboxes", "users")}, issuer)
