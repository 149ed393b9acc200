"""One byte that changed, in whichever file of the state: it is found, named, and mended where it can be."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from persona_pipelines.home import histories, verifying
from persona_pipelines.home.manifest import FILE, read_manifest
from persona_pipelines.home.opening import journal_of
from persona_pipelines.home.repairing import repair
from persona_pipelines.home.verifying import Finding, database, verify
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines_tests.conftest import CLICKS
from persona_pipelines_tests.home.conftest import rows_published, run
from persona_pipelines_tests.home.test_opening import flipped

pytestmark = pytest.mark.slow


def broken(settings: Settings) -> dict[str, Finding]:
    return {entry.file: entry for entry in verify(settings) if not entry.passed}


def mended(settings: Settings) -> str:
    said = "; ".join(repair(settings))
    assert broken(settings) == {}, said
    return said


def test_what_is_whole_is_found_whole_and_not_touched(home: Settings) -> None:
    before = {file: file.read_bytes() for file in home.home.rglob("*") if file.is_file()}
    assert [entry.file for entry in verify(home)][:4] == [FILE, "pseudonym.key", "warehouse.duckdb", "published.duckdb"]
    assert broken(home) == {}
    assert list(repair(home)) == []
    assert {file: file.read_bytes() for file in home.home.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("at", [9, 5_000, 300_000])
def test_a_damaged_warehouse_is_taken_from_the_published_copy(home: Settings, at: int) -> None:
    flipped(home.warehouse_file, at)
    assert broken(home).keys() == {"warehouse.duckdb"}
    said = mended(home)
    assert "warehouse.duckdb is moved aside to warehouse.duckdb.aside-" in said
    assert "warehouse.duckdb is the published copy again" in said
    assert run(home, 800) == []
    assert rows_published(home) == 800


def test_a_lost_warehouse_is_taken_from_the_published_copy(home: Settings) -> None:
    home.warehouse_file.unlink()
    assert "the warehouse is gone" in broken(home)["warehouse.duckdb"].found
    assert "is the published copy again" in mended(home)


def test_a_foreign_journal_is_moved_aside_with_the_warehouse(home: Settings) -> None:
    journal_of(home.warehouse_file).write_bytes(b"foreign")
    assert broken(home).keys() == {"warehouse.duckdb"}
    assert "warehouse.duckdb.wal is moved aside" in mended(home)


def test_where_both_copies_are_damaged_the_logs_are_what_is_left(home: Settings) -> None:
    for file in (home.warehouse_file, home.published_file):
        flipped(file, 5_000)
    said = "; ".join(repair(home))
    assert "warehouse.duckdb has to be made from the logs again: persona run" in said
    assert not home.warehouse_file.exists()
    run(home, 500)
    assert broken(home) == {}


def test_a_damaged_published_copy_is_made_again_by_the_next_run(home: Settings) -> None:
    flipped(home.published_file, 70_000)
    assert broken(home).keys() == {"published.duckdb"}
    said = "; ".join(repair(home))
    assert "the published copy is made again by the next run" in said
    assert broken(home) == {"published.duckdb": Finding("published.duckdb", False, "is gone", "persona run")}
    run(home, 500)
    assert broken(home) == {}


def test_a_model_store_that_is_lost_is_found_where_tables_were_made_with_models(home: Settings) -> None:
    assert not home.mlflow_file.exists()
    assert broken(home) == {}  # nothing was ever trained

    listed = {
        "user_id": "u",
        "rank": 1,
        "item_id": "i",
        "score": 0.5,
        "reason": "popular",
        "model": "ease",
        "case": "warm",
        "model_version": "1",
    }
    row = {**dict.fromkeys(contracts.RECOMMENDATIONS.column_names), **listed, "as_of_date": dt.date(2025, 9, 1)}
    with Warehouse(home.published_file) as store, store.transaction():
        store.replace(contracts.RECOMMENDATIONS, from_frame(pd.DataFrame([row])))
    for said in ("gone", "empty"):
        assert broken(home)["mlflow.db"] == Finding(
            "mlflow.db",
            False,
            f"is {said}, and with it the models that the tables were made with: restore it from your backup, or train again",
            "persona run",
        )
        home.mlflow_file.touch()


def test_a_changed_or_lost_key_is_found(home: Settings) -> None:
    key = home.key_file.read_text()
    home.key_file.write_text("ab" * 32)
    assert broken(home)["pseudonym.key"].found == "another key than the tables were made with"
    assert "left to do: pseudonym.key: another key than the tables were made with; restore it from your backup" in "; ".join(repair(home))
    home.key_file.unlink()
    assert "is not there" in broken(home)["pseudonym.key"].found
    home.key_file.write_text(key)
    home.key_file.chmod(0o600)
    assert broken(home) == {}


def test_damaged_databases_and_lists_are_moved_aside(home: Settings) -> None:
    databases = [home.home / "mlflow.db", home.dagster_home / "history" / "runs" / "some-run.db"]
    for file in databases:
        file.parent.mkdir(parents=True, exist_ok=True)
        store = sqlite3.connect(file)
        store.execute("CREATE TABLE t (a TEXT)")
        store.executemany("INSERT INTO t VALUES (?)", [("x" * 500,)] * 200)
        store.commit()
        store.close()
    (home.home / "audiences.json").write_text('{"a": "sessions > 1"}')
    assert broken(home) == {}
    for file in databases:
        content = bytearray(file.read_bytes())
        content[4096:4104] = b"\xff" * 8
        file.write_bytes(content)
    for wrong in ("", "[]", '{"a": 7}'):
        (home.home / "audiences.json").write_text(wrong)
        assert broken(home).keys() == {"mlflow.db", "some-run.db", "audiences.json"}
    (home.home / "segments.json").write_text('{"1": {"name": "Regulars"}}')
    assert "segments.json" not in broken(home)
    for wrong in ("", "[]", '{"one": {}}', '{"1": "Regulars"}'):
        (home.home / "segments.json").write_text(wrong)
        assert broken(home).keys() == {"mlflow.db", "some-run.db", "audiences.json", "segments.json"}
    said = mended(home)
    assert "train again" in said
    assert "its run history is lost" in said
    assert not any(file.exists() for file in (*databases, home.home / "audiences.json", home.home / "segments.json"))


def test_a_page_that_is_gone_or_changed_is_found_and_made_anew_by_the_next_run(home: Settings) -> None:
    page = home.home / "reports" / "page.html"
    page.write_text("other words")
    assert {file: (entry.found, entry.next) for file, entry in broken(home).items()} == {
        "reports/page.html": ("its bytes are not those that were published", "persona run --only gallery")
    }
    page.unlink()
    assert broken(home)["reports/page.html"].found == "is gone"
    assert list(repair(home)) == ["left to do: reports/page.html: is gone; persona run --only gallery"]
    assert run(home, 500, "anew") == []
    assert broken(home) == {}


def test_each_database_of_dagster_that_is_gone_or_empty_is_said_with_what_was_in_it(home: Settings) -> None:
    kept = [home.dagster_home / path for path in histories.HELD]
    for file, (_, held, instead) in zip(kept, histories.HELD.values(), strict=True):
        content = file.read_bytes()
        file.write_bytes(b"")
        assert broken(home) == {file.name: Finding(file.name, False, f"is empty, and with it {held}", instead)}
        file.unlink()
        assert broken(home) == {file.name: Finding(file.name, False, f"is gone, and with it {held}", instead)}
        assert f"left to do: {file.name}: is gone, and with it {held}" in "; ".join(repair(home))
        file.write_bytes(content)
        assert broken(home) == {}
    shutil.rmtree(home.dagster_home)
    assert list(broken(home)) == [file.name for file in kept]


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        ("storage: {postgres: {postgres_url: x}}", []),
        ("schedule_storage: {module: dagster_postgres, class: X}", ["runs.db", "index.db"]),
        ("event_log_storage: {module: dagster_postgres, class: X}", ["schedules.db", "runs.db"]),
        ("run_storage: {module: dagster_postgres, class: X}", ["schedules.db", "index.db"]),
        ("event_log_storage: {module: persona_pipelines.orchestration.event_log}", ["schedules.db", "runs.db", "index.db"]),
        ("run_storage: 7", ["schedules.db", "index.db", "runs.db"]),
        ("{", ["schedules.db", "runs.db", "index.db"]),
    ],
)
def test_what_dagster_keeps_elsewhere_is_not_missed(home: Settings, configuration: str, expected: list[str]) -> None:
    shutil.rmtree(home.dagster_home)
    home.dagster_home.mkdir()
    (home.dagster_home / histories.CONFIGURATION).write_text(configuration)
    assert sorted(broken(home)) == sorted(expected)


def test_where_nothing_has_run_no_database_is_missed(configure) -> None:
    assert list(histories.lost(configure(CLICKS))) == []


@pytest.mark.parametrize("content", ["", "{", "7"])
def test_a_damaged_manifest_is_made_again_from_the_key_and_the_tables(home: Settings, content: str) -> None:
    (home.home / FILE).write_text(content)
    assert FILE in broken(home)
    repair_said = "; ".join(repair(home))
    assert "manifest.json is moved aside" in repair_said
    assert read_manifest(home.home).key
    run(home, 500)
    assert broken(home) == {}


def test_a_manifest_that_is_gone_is_said_and_comes_again(home: Settings) -> None:
    (home.home / FILE).unlink()
    said = {entry.file: entry.found for entry in verify(home)}
    assert said[FILE] == "is not there: nothing can be compared until the next run writes it again"
    assert said["published.duckdb"] == "no manifest.json says how it was published; all blocks can be read"
    run(home, 500)
    assert {entry.file: entry.found for entry in verify(home)}[FILE] == "can be read"


def test_a_table_that_was_changed_by_others_is_named(home: Settings) -> None:
    import duckdb

    with duckdb.connect(str(home.published_file)) as other:
        other.execute("UPDATE events.filtered SET reason = 'forged' WHERE source_line = 3")
    assert broken(home)["published.duckdb"].found == "other rows than were published in events.filtered"


def test_the_manifest_is_json_that_a_person_can_read(home: Settings) -> None:
    assert json.loads((home.home / FILE).read_text())["rows"] == {"events.filtered": 500, "home.instance": 1}


def test_models_whose_files_changed_are_not_used(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from persona_pipelines.home import verifying
    from persona_pipelines.tracking.experiments import ModelNotFoundError

    def changed(settings: Settings, stage: str, version: str) -> None:
        raise ModelNotFoundError("its files are not those that were registered")

    sqlite3.connect(home.home / "mlflow.db").close()
    (home.home / "mlflow.db").write_bytes(b"")
    monkeypatch.setattr(verifying.registry, "champion_version", lambda settings, stage: "3")
    monkeypatch.setattr(verifying.registry, "model", changed)
    assert set(broken(home)) == {"model of segments, version 3", "model of recommendations, version 3"}
    assert Path(home.home / "mlflow.db").exists()


HALF_WAY = """
    import os, sqlite3, sys
    store = sqlite3.connect(sys.argv[1])
    store.execute("PRAGMA cache_size = 1")
    store.execute("UPDATE runs SET name = name || 'changed'")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_had_begun_in_a_database_is_taken_back_and_no_damage(home: Settings) -> None:
    """It has left a journal that has to be played back, which nobody can who may only read."""
    with sqlite3.connect(home.mlflow_file) as store:
        store.execute("CREATE TABLE runs (name TEXT)")
        store.executemany("INSERT INTO runs VALUES (?)", [(f"run {number} " * 20,) for number in range(2_000)])
    store.close()
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(HALF_WAY), str(home.mlflow_file)], check=False)
    assert done.returncode == -9
    journal = home.mlflow_file.with_name("mlflow.db-journal")
    assert journal.stat().st_size > 0
    assert database(home.mlflow_file).passed
    with sqlite3.connect(home.mlflow_file) as store:
        assert store.execute("SELECT count(*) FROM runs WHERE name LIKE '%changed'").fetchall() == [(0,)]
    store.close()


def test_a_database_that_somebody_holds_is_not_moved_aside(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "LOCKED_SECONDS", 0.1)
    file = home.dagster_home / "history" / "runs.db"
    with contextlib.closing(sqlite3.connect(file)) as store:
        store.execute("BEGIN EXCLUSIVE")
        assert broken(home)["runs.db"].found == "database is locked"
        assert "runs.db: database is locked; persona verify, once nothing else uses it" in "; ".join(repair(home))
    assert file.exists()
    assert broken(home) == {}
