"""What a scenario is told of the stack that it speaks to, and the dump of its tables."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tokens import Issuer

REGION = "us-east-1"
# Of the judge alone: both stacks run on this machine and know no other caller.
CREDENTIALS = Credentials("judge", "judge-s-own-secret")


@dataclass
class Stack:
    """Addresses and names, nothing else."""

    name: str
    url: str  # of the sockets: ws://HOST:PORT/…/STAGE
    connections: str  # of @connections, with the stage
    dynamodb: str
    tables: "dict[str, str]"  # `log`, `conversations`, `inboxes`, `users` → the name that this deployment gave
    issuer: Issuer


def signed(service: str, method: str, url: str, body: bytes = b"", headers: "dict | None" = None) -> "tuple[int, bytes]":
    """One signed request. Returns the status and the body, also of a refusal."""
    request = AWSRequest(method, url, data=body, headers=headers or {})
    SigV4Auth(CREDENTIALS, service, REGION).add_auth(request)
    prepared = urllib.request.Request(url, data=body or None, headers=dict(request.headers), method=method)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(prepared, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read()


def scan(stack: Stack, table: str) -> "list[dict]":
    """Every item of one of the four tables, by DynamoDB's Scan, strongly consistent."""
    items, start = [], None
    while True:
        ask = {"TableName": stack.tables[table], "ConsistentRead": True} | ({"ExclusiveStartKey": start} if start else {})
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810.Scan"}
        status, answer = signed("dynamodb", "POST", f"{stack.dynamodb}/", json.dumps(ask).encode(), headers)
        if status != 200:
            raise OSError(f"Scan of {stack.tables[table]} on {stack.name}: {status} {answer.decode(errors='replace')}")
        page = json.loads(answer)
        items += page["Items"]
        start = page.get("LastEvaluatedKey")
        if not start:
            return items


def dump(stack: Stack, path: Path) -> int:
    """Writes the dump of tests/checker/README.md. Returns the number of items."""
    lines = [json.dumps({"table": table, "item": item}) for table in stack.tables for item in scan(stack, table)]
    path.write_text("".join(f"{line}\n" for line in lines))
    return len(lines)
