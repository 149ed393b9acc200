"""What came of the cases, kept line by line so that a campaign that is stopped goes on, and shown as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass
class Outcome:
    """One case: of which kind, what was done, what came of it in words, and what was wrong of it."""

    kind: str
    fault: str
    outcome: str
    wrong: list[str] = field(default_factory=list)

    def save(self, file: Path) -> None:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(asdict(self)) + "\n")


def saved(file: Path) -> list[Outcome]:
    return [Outcome(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def table(outcomes: list[Outcome]) -> str:
    """A table in Markdown: a row a case."""
    rows = ["| kind | fault | outcome | |", "| --- | --- | --- | --- |"]
    for entry in outcomes:
        said = "; ".join(entry.wrong) if entry.wrong else entry.outcome
        rows.append(f"| {entry.kind} | {cell(entry.fault)} | {cell(said)} | {'**wrong**' if entry.wrong else 'held'} |")
    return "\n".join(rows)


def cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
