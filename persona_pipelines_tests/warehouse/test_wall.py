"""The warehouse's wall: queries are given to the engine in its room alone; everybody else has expressions."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "persona_pipelines"
ENGINES_OF_THEIR_OWN = {
    "settings/patterns.py",  # asks the engine whether it knows a pattern, a format, a zone
    "logs/formats/parquet.py",  # asks the engine what columns a file has
    "home/verifying.py",  # SQLite's check of MLflow's and Dagster's databases
    "tracking/moving.py",  # MLflow's database
    "orchestration/event_log.py",  # Dagster's database
    "client.py",  # the queue of a client, which knows nothing of the package
    "serving/brokers.py",  # of a broker, and no warehouse's
}


def executed(file: Path) -> list[str]:
    """Calls of ``execute`` and uses of a warehouse's ``connection`` in a file."""
    return [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("execute", "connection")
    ]


def test_queries_are_given_to_the_engine_by_the_warehouse_alone() -> None:
    files = [file for file in PACKAGE.rglob("*.py") if file.relative_to(PACKAGE).parts[0] != "warehouse"]
    found = {str(file.relative_to(PACKAGE)): holes for file in files if (holes := executed(file))}
    assert [hole for name, holes in found.items() if name not in ENGINES_OF_THEIR_OWN for hole in holes] == []
    assert found.keys() == ENGINES_OF_THEIR_OWN  # no exception that is none any more
