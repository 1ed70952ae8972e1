"""The second judge: one scenario and one checker for two stacks, and what differs between them. README.md tells what it is for.

    judge.py local      only the stack of this repository
    judge.py            that; then the deployed template, on an emulator that nobody here wrote; then that with a permission taken away
"""

import argparse
import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import differences
import emulator
from connection import Unanswered
from history import Run, ScenarioFailed
from local import local
from observe import observe
from processes import TARGET, CouldNotStart
from scenario import over_a_deployment, play, two_people
from stack import Stack, dump
from tokens import Issuer

STACK_NAME = "chatlane-judge"
BROKEN_PATIENCE_S = 15.0
SUMMARY = re.compile(r"^(\d+) violations; (\d+) of (\d+) checks had nothing to check$", re.MULTILINE)
IDLE_LINE = re.compile(r"^\S+ +0  (.*?)   \(nothing to check\)$", re.MULTILINE)
COUNT_LINE = re.compile(r"^(?!-)\S+ +(\d+)  ", re.MULTILINE)

# Checks that have nothing to check in this scenario, in the checker's words. All others must have something, or the verdict proves less.
IDLE = {
    "entries that a restore took back: the same for everybody": "neither stack is restored from a backup: the simulation and the model do that",
    "roll-backs: after a restore": "the same",
}


class Failed(Exception):
    """The judge says no. The text says why."""


def judged(stack: Stack, run: Run, folder: Path) -> "dict[str, str]":
    """Plays the scenario, has the checker judge it, and prints the verdict. Returns the observations."""
    began = time.monotonic()
    try:
        observations = asyncio.run(played(stack, run, folder))
    finally:
        run.lines.close()
    played_s = time.monotonic() - began
    (folder / "observations.json").write_text(json.dumps(observations, indent=1))
    checked = subprocess.run([TARGET / "debug" / "checker", run.path, folder / "dump.jsonl"], capture_output=True, text=True)
    said = checked.stdout + checked.stderr
    (folder / "verdict.txt").write_text(said)
    summary = SUMMARY.search(checked.stdout)
    if checked.returncode != 0 or not summary:
        raise Failed(f"{stack.name}: the checker ended with {checked.returncode}\n{said}")
    idle = set(IDLE_LINE.findall(checked.stdout))
    if idle != set(IDLE):
        raise Failed(f"{stack.name}: checks that should have had something to check: {sorted(idle - set(IDLE))}; that are said to have nothing "
                     f"and had: {sorted(set(IDLE) - idle)}\n{said}")
    violations, idle_checks, checks = map(int, summary.groups())
    counted = sum(map(int, COUNT_LINE.findall(checked.stdout)))
    lines = [sum(1 for _ in path.open()) for path in (run.path, folder / "dump.jsonl")]
    done = ", ".join(f"{times} {what}" for what, times in sorted(run.done.items()))
    print(f"{stack.name}: {violations} violations in {counted} checks of {checks - idle_checks} kinds; {len(run.devices)} devices, "
          f"{lines[0]} lines of history, {lines[1]} items in the tables; {played_s:.0f} s\n    {done}", flush=True)
    return observations


async def played(stack: Stack, run: Run, folder: Path) -> "dict[str, str]":
    devices = await play(run, stack)
    observations = await observe(run, stack)
    run.note("quiescent")
    dump(stack, folder / "dump.jsonl")
    for device in run.devices:
        device.end()
    await asyncio.gather(*(device.connection.close() for device in devices.values()))
    return observations


def judge_local(seed: int, folder: Path, issuer: Issuer) -> "dict[str, str]":
    """The first half."""
    here = folder / "local"
    here.mkdir()
    with local(TARGET / "debug" / "chatlane-local", here, issuer) as stack:
        observations = judged(stack, Run(seed, here), here)
    if wrong := differences.unlike_the_page(observations):
        raise Failed("\n".join(wrong))
    return observations


def judge_deployed(seed: int, folder: Path, issuer: Issuer) -> "dict[str, str]":
    """The second half: builds, deploys, judges, then takes a permission away and must not be satisfied any more."""
    if emulator.ADAPTATIONS.keys() != differences.changes().keys():
        raise Failed(f"docs/FIDELITY.md explains the changes {sorted(differences.changes())}, made are {sorted(emulator.ADAPTATIONS)}")
    templates = {}
    for architecture in emulator.TARGETS:
        if why := emulator.cannot_build(architecture):
            print(f"{architecture}: not built: {why}", flush=True)
            continue
        began = time.monotonic()
        templates[architecture] = emulator.build(architecture, folder)
        [binary] = {path.stat().st_size for path in templates[architecture].parent.glob("*/bootstrap")}
        print(f"{architecture}: sam build took {time.monotonic() - began:.0f} s, bootstrap has {binary / 1e6:.1f} MB", flush=True)
    if "x86_64" not in templates:
        raise CouldNotStart("x86_64 is what ministack runs here, and it was not built")
    here = folder / "ministack"
    here.mkdir()
    with emulator.emulator(here) as address:
        began = time.monotonic()
        deployment = emulator.Deployment(address, STACK_NAME, here, issuer)
        stack = deployment.deploy(emulator.adapted(templates["x86_64"]))
        took = time.monotonic() - began
        print(f"deployed to ministack with IAM enforced in {took:.0f} s, with {len(emulator.ADAPTATIONS)} changes to the template:")
        for what, why in differences.changes().items():
            print(f"    {what}: {why}", flush=True)
        observations = judged(stack, Run(seed, here), here)
        newer = emulator.adapted(templates["x86_64"], {"every function": emulator.as_a_newer_version}, "newer")
        deployed_again(deployment, stack, newer, seed, folder / "again")
        broken(deployment, stack, templates["x86_64"], seed, folder / "broken")
    return observations


def deployed_again(deployment: emulator.Deployment, stack: Stack, template: Path, seed: int, here: Path) -> None:
    """The documented commands once more, between a message and its retry."""
    here.mkdir()
    run = Run(seed + 2, here)
    try:
        asyncio.run(over_a_deployment(run, stack, lambda: deployment.update(template, stack)))
    finally:
        run.lines.close()
    print("deployed again: a pair has the conversation that it had, and a retry of a message of before is a duplicate", flush=True)


def broken(deployment: emulator.Deployment, stack: Stack, template: Path, seed: int, here: Path) -> None:
    """The judge judged: the same scenario on the same deployment, whose function `send` may not put any more. That it fails at a `send`
    shows that the rest of the updated deployment works: opening a conversation, its delivery and hello come before."""
    here.mkdir()
    missing = {"a permission": emulator.without_permission("Send", "dynamodb:PutItem")}
    deployment.update(emulator.adapted(template, missing, "broken"), stack)
    run = Run(seed + 1, here, BROKEN_PATIENCE_S)
    try:
        asyncio.run(two_people(run, stack))
    except (ScenarioFailed, Unanswered) as why:
        if "messages are sent" not in str(why):
            raise Failed(f"without dynamodb:PutItem for Send the scenario fails, but not for that: {why}") from why
        print(f"without dynamodb:PutItem for Send the scenario fails, as it must: {why}", flush=True)
    else:
        raise Failed("the scenario does not notice that Send has no permission to put")
    finally:
        run.lines.close()


def judge(which: "str | None", seed: int, folder: Path) -> None:
    """All of it. Raises what went wrong."""
    issuer = Issuer()
    here = judge_local(seed, folder, issuer)
    if which == "local":
        return
    there = judge_deployed(seed, folder, issuer)
    told, wrong = differences.compared(here, there)
    print(f"{len(here)} probes of the two platforms: {len(here) - len(told)} alike, {len(told)} differ, as docs/FIDELITY.md explains")
    for difference in told:
        print(f"  {difference}")
    if wrong:
        raise Failed("\n".join(["differences that are not what docs/FIDELITY.md tells:", *wrong]))


def folder_of(seed: int) -> Path:
    """A folder of this run alone: several may run at once."""
    folder = TARGET / "judge" / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{seed}-{time.monotonic_ns()}"
    folder.mkdir(parents=True)
    return folder


def interrupted(*_: object) -> None:
    # Once: what ends the programs must not be interrupted itself.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("which", nargs="?", choices=["local"])
    arguments.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="repeats a run, as far as the stacks are repeatable")
    chosen = arguments.parse_args()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, interrupted)
    print(f"seed {chosen.seed}", flush=True)
    folder = folder_of(chosen.seed)
    try:
        judge(chosen.which, chosen.seed, folder)
    except (Failed, ScenarioFailed, Unanswered, CouldNotStart, OSError, LookupError) as why:
        print(f"FAILED: {why}\neverything is in {folder}")
        return 1
    except KeyboardInterrupt:
        print(f"interrupted; everything is in {folder}")
        return 130
    except Exception:
        print(f"FAILED, unforeseen; everything is in {folder}", flush=True)
        raise
    shutil.rmtree(folder)
    print("torn down; the judge is satisfied")
    return 0


if __name__ == "__main__":
    sys.exit(main())
