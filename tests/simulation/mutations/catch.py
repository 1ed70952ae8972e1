#!/usr/bin/env python3
"""Is a mutation of the product caught by the simulation?

    catch.py --unmutated PROGRAM NAME.patch     PROGRAM is the simulation of the code as it is

Applies the patch to a copy of the workspace, builds the simulation of it, and runs that from the seed that PROGRAM would begin with
(CHATLANE_SEED, CHATLANE_COMMIT) until a run is found wrong; then PROGRAM has to find the same run right. The last line tells what was
found. Exit code 0: caught.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")
COPY = TARGET / "mutations" / "copy"
# Cargo tells packages apart by their paths within the workspace. Under other paths, but with the same features and the same lock file, the
# copy shares all that was built of the registry, and nothing else.
INSIDE = "mutated"
COPIED = ("crates", "functions", "tests")
SUFFIXES = {".rs", ".toml", ".json", ".pem"}

RUNS_MAX = 2000
# Of runs that must be found right before anything is believed to be caught.
SOUND_RUNS = 40


class NotCaught(Exception):
    """The text says why."""


def applied(patch: str, read) -> "dict[str, str]":
    """The files that the patch changes, changed. Each hunk is looked for by its text, which must be there once, wherever it stands."""
    files, path = {}, None
    hunks = re.split(r"^(?=--- |@@ )", patch, flags=re.MULTILINE)[1:]
    for hunk in hunks:
        if named := re.match(r"--- a/(.+)\n\+\+\+ b/\1\n", hunk):
            path = named[1]
            files[path] = read(path)
            continue
        lines = hunk.splitlines(keepends=True)[1:]
        old = "".join(line[1:] for line in lines if line[0] in " -")
        new = "".join(line[1:] for line in lines if line[0] in " +")
        if (found := files[path].count(old)) != 1:
            print(old)
            raise NotCaught(f"the patch does not apply: {path} has this {found} times, instead of once")
        files[path] = files[path].replace(old, new)
    if not files:
        raise NotCaught("the patch changes nothing")
    return files


def workspace() -> "dict[str, bytes]":
    """The files of the copy, by their paths in it."""
    files = {name: (ROOT / name).read_bytes() for name in ("Cargo.toml", "Cargo.lock")}
    for top in COPIED:
        for path in (ROOT / top).rglob("*"):
            if path.suffix in SUFFIXES and path.is_file():
                files[f"{INSIDE}/{path.relative_to(ROOT)}"] = path.read_bytes()
    manifest = files["Cargo.toml"].decode()
    files["Cargo.toml"] = re.sub(rf'"({"|".join(COPIED)})(?=[/"])', rf'"{INSIDE}/\1', manifest).encode()
    # Another name, so that nobody takes it for the simulation. The tests are built only because their dependencies choose the features.
    own = f"{INSIDE}/tests/simulation"
    files[f"{own}/Cargo.toml"] = files[f"{own}/Cargo.toml"].replace(b'name = "simulation"', b'name = "mutated"')
    files[f"{own}/tests/simulation.rs"] = b"//! Nothing.\n"
    return files


def make_copy(files: "dict[str, bytes]") -> None:
    """Writes what differs from the copy of the last time, so that only that is built again."""
    for path in [path for path in COPY.rglob("*") if path.is_file() and str(path.relative_to(COPY)) not in files]:
        path.unlink()
    for name, content in files.items():
        path = COPY / name
        if not (path.is_file() and path.read_bytes() == content):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def build(selection: "list[str]") -> Path:
    """The simulation of the copy."""
    command = ["cargo", "build", "--locked", *selection, "--bin", "mutated", "--test", "simulation", "--message-format", "json-render-diagnostics"]
    command += ["--config", "profile.dev.debug=false"]
    for package in ("protocol", "chat", "session", "tests-simulation", "tests-checker"):
        command += ["--config", f"profile.dev.package.chatlane-{package}.opt-level=0"]  # few runs are needed: the build is what takes its time
    env = {name: value for name, value in os.environ.items() if name != "RUSTC_WORKSPACE_WRAPPER"}  # a mutation need not be good style
    done = subprocess.run(command, cwd=COPY, env=env | {"CARGO_TARGET_DIR": str(TARGET)}, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise NotCaught("the mutated code does not compile")
    made = (json.loads(line) for line in done.stdout.splitlines())
    return next(Path(one["executable"]) for one in made if one.get("executable") and one["target"]["name"] == "mutated")


def simulate(program: Path, runs: int, strict: bool, seed: "int | None" = None) -> "tuple[int, str]":
    command = [program, *(["--strict"] if strict else []), "--runs", runs, "--shrink", 0, *(["--seed", seed] if seed is not None else [])]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    print(done.stdout)
    return done.returncode, done.stdout


def caught(unmutated: Path, patch: str, selection: "list[str]") -> str:
    """What was found, in a line."""
    for other in sorted(Path(__file__).parent.glob("*.patch")):  # CI runs a few, and has to notice where any is out of date
        try:
            applied(other.read_text(), lambda path: (ROOT / path).read_text())
        except NotCaught as reason:
            raise NotCaught(f"{other.name}: {reason}")
    changed = applied(patch, lambda path: (ROOT / path).read_text())
    strict = "\nhostile\n" not in patch
    make_copy(workspace() | {f"{INSIDE}/{path}": content.encode() for path, content in changed.items()})
    if simulate(unmutated, SOUND_RUNS, strict)[0] != 0:
        raise NotCaught("the code as it is is found wrong")
    code, printed = simulate(build(selection), RUNS_MAX, strict)
    if code == 0:
        raise NotCaught(f"SURVIVED {RUNS_MAX} runs")
    first = re.search(r"from seed (\d+)", printed)
    found = re.search(r"^seed (\d+): (.+)", printed, re.MULTILINE)
    if not first or not found or found[2].startswith(("panic:", "format:")):
        raise NotCaught("the mutated code only breaks down")
    seed = int(found[1])
    if simulate(unmutated, 1, strict, seed)[0] != 0:
        raise NotCaught(f"the code as it is is found wrong by seed {seed}, too")
    return f"seed {seed:<10} {seed - int(first[1]) + 1:>5} runs  {found[2]}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("patch", type=Path)
    parser.add_argument("--unmutated", type=Path, required=True)
    parser.add_argument("selection", nargs="*", help="cargo's package selection, as that of the build that is to be shared")
    arguments = parser.parse_args()
    patch = arguments.patch.read_text()
    name, guarantee = arguments.patch.stem, patch.split(":", 1)[0]
    try:
        print(f"{name:<32} {guarantee:<4} {caught(arguments.unmutated, patch, arguments.selection)}")
        return 0
    except NotCaught as reason:
        print(f"{name:<32} {guarantee:<4} NOT CAUGHT: {reason}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
