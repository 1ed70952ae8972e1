"""Prints what is in the package chatterbot-corpus as JSON lines, for tests/e2e/tests/scenarios/corpus.rs: first {"files": N}, the number of its YAML
files by the package's own list (RECORD); then, for each of them, {"file", "conversations": [[line, …], …]} or {"file", "error"}. Nothing is
left out, and no text is changed: lines are what PyYAML reads."""
import json
from importlib.metadata import files

import yaml


def conversations(path):
    found = []
    for conversation in yaml.safe_load(path.locate().read_text(encoding="utf-8"))["conversations"]:
        # A few of them are one text instead of a list of texts: one line.
        lines = [conversation] if isinstance(conversation, str) else conversation
        if not all(isinstance(line, str) and line for line in lines):
            raise ValueError(f"a line is no text: {lines}")
        found.append(lines)
    return found


paths = sorted((path for path in files("chatterbot-corpus") if path.suffix in (".yml", ".yaml")), key=str)
print(json.dumps({"files": len(paths)}))
for path in paths:
    try:
        read = {"conversations": conversations(path)}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        read = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps({"file": "/".join(path.parts[2:])} | read))
