"""The page that explains: docs/FIDELITY.md, section "The second judge". Its tables are read, so the words are in one place."""

import re
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "FIDELITY.md"
SECTION = "## The second judge"
PROBES = ["probe", "`local`", "ministack", "why"]
CHANGES = ["what is changed", "why"]


class Difference(NamedTuple):
    """What each stack does, in the words of its observation, and the reason."""

    local: str
    ministack: str
    why: str


def table(columns: "list[str]") -> "list[list[str]]":
    """The rows of the section's table with these columns."""
    section = PAGE.read_text().partition(f"\n{SECTION}\n")[2]
    section = re.split(r"\n## ", section)[0]
    rows = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in section.splitlines() if line.startswith("|")]
    if columns not in rows:
        raise LookupError(f"{PAGE}: `{SECTION}` has no table with the columns {', '.join(columns)}")
    found = []
    for row in rows[rows.index(columns) + 2:]:
        if len(row) != len(columns):
            break
        found.append(row)
    return found


def explained() -> "dict[str, Difference]":
    """The explained differences, by probe."""
    return {probe: Difference(*rest) for probe, *rest in table(PROBES)}


def changes() -> "dict[str, str]":
    """Why each change to the template is made, by what is changed."""
    return dict(table(CHANGES))


def unlike_the_page(local: "dict[str, str]") -> "list[str]":
    """What `local` does otherwise than the page says that it does."""
    return [f"{probe}: the page says that `local` does this: {page.local}; it does: {local.get(probe, 'nothing, there is no such probe')}"
            for probe, page in explained().items() if local.get(probe) != page.local]


def compared(local: "dict[str, str]", ministack: "dict[str, str]") -> "tuple[list[str], list[str]]":
    """The differences, each with its explanation, for people; and what is wrong: a difference without one, one that does not occur."""
    page, told, wrong = explained(), [], []
    for probe in sorted(local.keys() | ministack.keys() | page.keys()):
        here, there = local.get(probe, "no such probe"), ministack.get(probe, "no such probe")
        if probe in page and (here, there) == page[probe][:2] and here != there:
            told.append(f"{probe}\n    local: {here} · ministack: {there}\n    {page[probe].why}")
        elif probe in page:
            wrong.append(f"{probe}: docs/FIDELITY.md tells another difference (local: {page[probe].local} · ministack: {page[probe].ministack}) "
                         f"than there is (local: {here} · ministack: {there})")
        elif here != there:
            wrong.append(f"{probe}: local: {here} · ministack: {there}, and docs/FIDELITY.md does not explain it")
    return told, wrong
