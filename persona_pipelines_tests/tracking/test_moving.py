"""The database of MLflow that follows its folder: what stands in the way is told apart from damage."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from persona_pipelines.errors import StateError
from persona_pipelines.tracking import moving
from persona_pipelines_tests.conftest import CLICKS


def test_a_disk_that_is_full_is_no_damage(configure, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = configure(CLICKS)
    settings.home.mkdir(parents=True, exist_ok=True)
    settings.mlflow_file.write_bytes(b"no database" * 100)
    with pytest.raises(moving.StoreError, match=r"mlflow.db: file is not a database"):
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
