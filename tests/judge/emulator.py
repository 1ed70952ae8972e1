"""The deployed stack: `sam build`, ministack with IAM enforced, `sam deploy` of infra/template.yaml.

ministack (PyPI, MIT) emulates AWS on one machine and runs the built `provided.al2023` binaries as processes. It is a black box: nothing here
reaches into it, but for what makes it listen on the loopback interface only and check who may do what (AUTH).
"""

import json
import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

import yaml

from processes import ROOT, TARGET, CouldNotStart, Program, environment, free_port, run
from stack import CREDENTIALS, REGION, Stack, signed
from tokens import AUDIENCE, ISSUER, Issuer

TOOLS = TARGET / "tools"
HOME = TARGET / "judge"
STAGE = "dev"
TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "arm64": "aarch64-unknown-linux-gnu"}
Change = Callable[[dict], None]  # to a template
TABLES = {"log": "LogTable", "conversations": "ConversationsTable", "inboxes": "InboxesTable", "users": "UsersTable"}


def sam_environment(**more: str) -> dict:
    """For the SAM CLI: its own tools first on the PATH, nothing written to anybody's home folder, nobody told."""
    path = f"{TOOLS / 'sam-build' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return environment(PATH=path, SAM_CLI_TELEMETRY="0", __SAM_CLI_APP_DIR=str(TOOLS / "sam-home"), CARGO_TERM_COLOR="never", NO_COLOR="1",
                       XDG_CACHE_HOME=str(HOME / "cache"), AWS_DEFAULT_REGION=REGION, **more)


def cannot_build(architecture: str) -> str:
    """Why the binary cannot be built for this processor, or an empty text."""
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    installed = Path(sysroot, "lib", "rustlib", TARGETS[architecture], "lib").is_dir()
    return "" if installed else f"the standard library of {TARGETS[architecture]} is not installed (rustup target add {TARGETS[architecture]})"


def build(architecture: str, folder: Path) -> Path:
    """`sam build` into `folder`. Returns the built template."""
    # Apart from target/debug and target/release: no other build waits for this one, and none of them is touched.
    env = sam_environment(CARGO_TARGET_DIR=str(HOME / "cargo"))
    built = folder / f"build-{architecture}"
    command = ["sam", "build", "--build-dir", built, "--parameter-overrides", f"Architecture={architecture}"]
    run(command, folder / f"sam-build-{architecture}.log", env, ROOT)
    return built / "template.yaml"


@contextmanager
def emulator(folder: Path):
    """A running ministack that knows nothing yet, ended with the block, with every `bootstrap` that it has started."""
    port = free_port()
    here = folder / "home"
    here.mkdir()
    address = f"http://127.0.0.1:{port}"
    env = environment(
        GATEWAY_PORT=str(port), BIND_HOST="127.0.0.1", MINISTACK_HOST="127.0.0.1", AWS_ENDPOINT_URL=address, LAMBDA_EXECUTOR="local",
        IOT_MTLS_ENABLED="0", SFTP_ENABLED="0", AUTH="true", AWS_ACCESS_KEY_ID=CREDENTIALS.access_key, AWS_SECRET_ACCESS_KEY=CREDENTIALS.secret_key,
        AWS_DEFAULT_REGION=REGION, HOME=str(here), TMPDIR=str(here), S3_DATA_DIR=str(here / "s3"), SERVICES="", DOCKER_HOST="unix:///nowhere")
    with Program([TOOLS / "judge" / "bin" / "ministack"], folder / "ministack.log", env, here) as running:
        running.until("ministack listens", lambda printed: "Running on http" in printed)
        yield address


class Deployment:
    """A CloudFormation stack on a running ministack, and the parameters that it keeps."""

    def __init__(self, address: str, name: str, folder: Path, issuer: Issuer):
        self.address, self.name, self.folder, self.issuer = address, name, folder, issuer
        self.deployed = 0

    def deploy(self, template: Path) -> Stack:
        """`sam deploy`, twice: the address of its @connections API, which on AWS the template knows, has an id that is made by the first."""
        url = self.sam_deploy(template, "")
        api = re.search(r"wss://(\w+)\.execute-api\.", url)[1]
        path = f"{self.address}/_aws/execute-api/{api}/{STAGE}"
        self.sam_deploy(template, path)
        return Stack("ministack", path.replace("http", "ws", 1), path, self.address, self.tables(), self.issuer)

    def update(self, template: Path, stack: Stack) -> None:
        """The same deployment by another template."""
        self.sam_deploy(template, stack.connections)

    def sam_deploy(self, template: Path, connections: str) -> str:
        """Returns the URL for clients, as `sam deploy` tells it."""
        parameters = {"Architecture": "x86_64", "ConnectionsEndpoint": connections,
                      "Jwks": self.issuer.key_set(), "JwtIssuer": ISSUER, "JwtAudience": AUDIENCE}
        overrides = [f'{name}="{quoted(value)}"' for name, value in parameters.items()]
        env = sam_environment(AWS_ENDPOINT_URL=self.address, AWS_ACCESS_KEY_ID=CREDENTIALS.access_key, AWS_SECRET_ACCESS_KEY=CREDENTIALS.secret_key)
        command = ["sam", "deploy", "--config-file", ROOT / "samconfig.toml", "--template-file", template, "--stack-name", self.name,
                   "--no-confirm-changeset", "--no-progressbar", "--parameter-overrides", *overrides]
        self.deployed += 1
        printed = run(command, self.folder / f"sam-deploy-{self.deployed}.log", env, ROOT, 300)
        found = re.search(r"^Key\s+WebSocketUrl\s.*?^Value\s+(\S+)", printed, re.MULTILINE | re.DOTALL)
        if not found:
            raise CouldNotStart(f"sam deploy told no WebSocketUrl:\n{printed[-2000:]}")
        return found[1]

    def tables(self) -> "dict[str, str]":
        """The names that the deployment gave to the four tables."""
        body = f"Action=ListStackResources&Version=2010-05-15&StackName={self.name}".encode()
        status, answer = signed("cloudformation", "POST", f"{self.address}/", body, {"Content-Type": "application/x-www-form-urlencoded"})
        text = answer.decode(errors="replace")
        if status != 200:
            raise CouldNotStart(f"ListStackResources of {self.name}: {status} {text}")
        members = re.findall(r"<member>.*?</member>", text, re.DOTALL)
        named = {re.search(r"<LogicalResourceId>(.*?)<", member)[1]: re.search(r"<PhysicalResourceId>(.*?)<", member)[1] for member in members}
        return {table: named[logical] for table, logical in TABLES.items()}


def quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def without_route_responses(made: dict) -> None:
    names = [name for name, each in made["Resources"].items() if each["Type"] == "AWS::ApiGatewayV2::RouteResponse"]
    for name in names:
        del made["Resources"][name]
    if not names:
        raise KeyError("no resource is a route response")


def with_a_number_for_concurrency(made: dict) -> None:
    scaling = made["Resources"]["FanOutMapping"]["Properties"]["ScalingConfig"]
    scaling["MaximumConcurrency"] = made["Parameters"][scaling["MaximumConcurrency"]["Ref"]]["Default"]


# What ministack cannot take, each a line of docs/FIDELITY.md. Nothing else of what was built is changed, and infra/template.yaml is not.
ADAPTATIONS: "dict[str, Change]" = {
    "the template's route responses": without_route_responses,
    "the template's FanOutConcurrency": with_a_number_for_concurrency,
}


def adapted(template: Path, more: "dict[str, Change] | None" = None, name: str = "deployed") -> Path:
    """A copy of the built template, beside it, with the changes that ministack needs, and more. CouldNotStart: one of them does not fit."""
    made = yaml.safe_load(template.read_text())
    for what, change in (ADAPTATIONS | (more or {})).items():
        try:
            change(made)
        except (KeyError, StopIteration) as gone:
            raise CouldNotStart(f"the template has changed, and the change to {what} does not fit any more: {gone}") from gone
    copy = template.with_name(f"{name}.yaml")
    copy.write_text(json.dumps(made, indent=1))
    return copy


def as_a_newer_version(made: dict) -> None:
    """Changes something of every function, so that each starts anew. (Nothing at all to change is an error to `sam deploy`.)"""
    for each in made["Resources"].values():
        if each["Type"] == "AWS::Serverless::Function":
            each["Properties"]["Description"] += " Deployed again."


def without_permission(function: str, action: str) -> Change:
    """The change that takes an action from a function's role."""
    def change(made: dict) -> None:
        statements = made["Resources"][function]["Properties"]["Policies"][0]["Statement"]
        next(each["Action"] for each in statements if isinstance(each["Action"], list) and action in each["Action"]).remove(action)
    return change
