"""The database of MLflow that follows its folder: what stands in the way is told apart from damage."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys

import pytest

from persona_pipelines.errors import StateError
from persona_pipelines.home import verifying
from persona_pipelines.tracking import moving
from persona_pipelines_tests.conftest import CLICKS


def test_a_disk_that_is_full_is_no_damage(configure, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configure(CLICKS)
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.mlflow_file.write_bytes(b"no database" * 100)
    with pytest.raises(moving.StoreError, match=r"mlflow.db: file is not a database; next: persona repair"):
        moving.follow(settings)

    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(moving.sqlite3, "connect", full)
    with pytest.raises(StateError, match=r"the state cannot be read or written .database or disk is full; .*make room"):
        moving.follow(settings)


def test_the_database_writes_ahead_from_its_first_use_by_nobody_else(configure) -> None:
    settings = configure(CLICKS)
    settings.home.mkdir(parents=True, exist_ok=True)
    store = sqlite3.connect(settings.mlflow_file)
    store.execute("CREATE TABLE other (name TEXT)")
    store.commit()

    def mode() -> str:
        with contextlib.closing(sqlite3.connect(settings.mlflow_file)) as other:
            return str(other.execute("PRAGMA journal_mode").fetchall()[0][0])

    assert mode() == "delete"
    store.execute("BEGIN IMMEDIATE")  # somebody writes
    assert moving.follow(settings) is None
    assert mode() == "delete"
    store.rollback()
    moving.follow(settings)
    assert mode() == "wal"
    store.close()


WRITES = """
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], timeout=0.2)
try:
    store.execute("BEGIN IMMEDIATE")
    print("written")
except sqlite3.OperationalError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_looking_at_the_database_takes_no_locks_from_those_who_write_in_this_process(configure, mode: str) -> None:
    """A plain open and close of the file would: the operating system then lets another process write at the same time."""
    settings = configure(CLICKS)
    settings.home.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(sqlite3.connect(settings.mlflow_file)) as store:
        store.execute(f"PRAGMA journal_mode = {mode}")
        store.execute("CREATE TABLE experiments (artifact_location TEXT)")
        store.commit()
        store.execute("BEGIN IMMEDIATE")
        moving.follow(settings)
        assert verifying.database(settings.mlflow_file).passed
        other = subprocess.run([sys.executable, "-c", WRITES, str(settings.mlflow_file)], capture_output=True, text=True, check=True)
        assert other.stdout.strip() == "database is locked"
