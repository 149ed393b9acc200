"""A state folder is opened only as it was left: with its own key, whole, and without what a killed run has left."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from persona_pipelines.home.keys import KeyChangedError, pseudonym_of
from persona_pipelines.home.manifest import FILE, HomeError, read_manifest
from persona_pipelines.home.opening import DamagedError, HomeOfAnotherConfigurationError, close_warehouse, journal_of, open_warehouse
from persona_pipelines.privacy.pseudonyms import KeyFileError, create_key, pseudonym
from persona_pipelines.settings import Settings
from persona_pipelines.tracking import moving
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.home.conftest import filled, rows_published, run

pytestmark = pytest.mark.slow


def kept(settings: Settings) -> tuple[bytes, bytes]:
    return settings.warehouse_file.read_bytes(), settings.published_file.read_bytes()


def flipped(file: Path, at: int) -> None:
    content = bytearray(file.read_bytes())
    content[at % len(content)] ^= 1 << (at % 8)
    file.write_bytes(content)


def test_a_home_that_was_closed_well_opens_without_a_word(home: Settings) -> None:
    assert run(home, 600) == []
    assert rows_published(home) == 600
    manifest = read_manifest(home.home)
    assert not manifest.being_written
    assert manifest.rows["events.filtered"] == 600


@pytest.mark.parametrize("manifest", [True, False])
def test_another_key_is_refused_and_nothing_changes(home: Settings, manifest: bool) -> None:
    before = kept(home)
    key = home.key_file.read_text()
    home.key_file.unlink()
    create_key(home.key_file)
    if not manifest:
        (home.home / FILE).unlink()
    with pytest.raises(
        KeyChangedError, match=r"not the key that the stored pseudonyms were made with; restore that one .* move .* aside and run again"
    ):
        open_warehouse(home)
    assert kept(home)[1] == before[1]
    home.key_file.write_text(key)
    run(home, 500)
    assert rows_published(home) == 500


def test_a_lost_key_is_not_made_anew(home: Settings) -> None:
    home.key_file.unlink()
    with pytest.raises(KeyChangedError, match="the key of the pseudonyms is not there; restore it from your backup"):
        open_warehouse(home)
    with Warehouse(home.published_file, read_only=True) as store:
        assert pseudonym_of(store, home, "0" * 32) == "0" * 32
        with pytest.raises(KeyFileError, match="is not there"):
            pseudonym_of(store, home, "u1")
    assert not home.key_file.exists()


def test_a_raw_id_is_looked_up_with_the_key_of_the_tables_alone(home: Settings) -> None:
    key = bytes.fromhex(home.key_file.read_text().strip())
    with Warehouse(home.published_file, read_only=True) as store:
        assert pseudonym_of(store, home, "u1") == pseudonym("u1", key)
        home.key_file.write_text("ab" * 32)
        with pytest.raises(KeyChangedError):
            pseudonym_of(store, home, "u1")


def test_a_byte_that_changed_anywhere_in_the_warehouse_is_noticed_before_anything_is_written(home: Settings) -> None:
    whole = kept(home)
    for at in random.Random(1).sample(range(len(whole[0])), 40):
        flipped(home.warehouse_file, at)
        with pytest.raises(DamagedError, match="its bytes are not those that the last run left; next: persona repair"):
            open_warehouse(home)
        home.warehouse_file.write_bytes(whole[0])
    run(home, 500)


def test_a_lost_warehouse_is_no_new_one(home: Settings) -> None:
    home.warehouse_file.unlink()
    with pytest.raises(DamagedError, match="the warehouse is gone; next: persona repair"):
        open_warehouse(home)
    assert rows_published(home) == 500


def test_a_journal_that_no_run_has_left_is_not_replayed(home: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other.duckdb"
    with Warehouse(other) as store:
        filled(store, 3)
        store.connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        store.connection.execute("INSERT INTO events.filtered SELECT * FROM events.filtered")
    shutil.copy(journal_of(other), journal_of(home.warehouse_file))
    with pytest.raises(DamagedError, match="a journal beside a warehouse that was closed without one"):
        open_warehouse(home)


KILLED = """
    import os, sys
    from persona_pipelines.home.opening import open_warehouse
    from persona_pipelines.settings import load_settings
    from persona_pipelines_tests.home.conftest import filled
    settings = load_settings(sys.argv[1])
    store = open_warehouse(settings)
    filled(store, 900)
    store.connection.execute("BEGIN TRANSACTION")
    store.connection.execute("DELETE FROM events.filtered")
    (settings.home / f".something.{os.getpid()}.partial").write_text("half")
    os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["kept", "lost", "cut"])
def test_what_a_killed_run_had_completed_is_there_whatever_became_of_the_journal(home: Settings, journal: str) -> None:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(home.file)], env={**os.environ}, check=False)
    assert done.returncode == -9
    file = journal_of(home.warehouse_file)
    if journal == "lost":
        file.unlink(missing_ok=True)
    elif file.exists() and journal == "cut":
        file.write_bytes(file.read_bytes()[:-3])
    said: list[str] = []
    store = open_warehouse(home, said.append)
    assert store.rows(contracts.FILTERED) == 900
    close_warehouse(store, home)
    assert "removed what a killed run has left: .something." in said[0]
    assert "was not closed by its last run: its 2 tables are read through" in said[1]
    assert rows_published(home) == 500
    assert run(home, 900) == []


def test_a_disk_that_fails_when_the_warehouse_is_closed_leaves_it_to_the_next_run(home: Settings) -> None:
    """The engine keeps in its journal what it could not write into the file."""
    store = open_warehouse(home)
    store.connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    store.connection.execute("INSERT INTO events.filtered SELECT * FROM events.filtered")
    close_warehouse(store, home)
    assert journal_of(home.warehouse_file).exists()
    said: list[str] = []
    store = open_warehouse(home, said.append)
    assert store.rows(contracts.FILTERED) == 1000
    assert said == ["warehouse.duckdb was not closed by its last run: its 2 tables are read through"]
    close_warehouse(store, home)
    assert run(home, 500) == []


@pytest.mark.slow
def test_a_damaged_block_of_a_warehouse_that_was_not_closed_is_found_by_reading_all_of_it(home: Settings) -> None:
    run(home, 60_000)
    manifest = read_manifest(home.home)
    manifest.being_written = True
    manifest.save(home.home)
    content = bytearray(home.warehouse_file.read_bytes())
    at = content.find(b"e59999")
    content[at if at > 0 else len(content) // 2] ^= 255
    home.warehouse_file.write_bytes(content)
    with pytest.raises(DamagedError, match=r"Corrupt database file: .*; next: persona repair"):
        open_warehouse(home)


def test_a_home_of_an_earlier_version_is_read_through_once_and_taken(home: Settings) -> None:
    (home.home / FILE).unlink()
    with Warehouse(home.warehouse_file) as store:
        store.connection.execute("DROP TABLE home.instance")
    assert run(home, 500) == ["warehouse.duckdb was not closed by its last run: its 1 tables are read through"]
    assert run(home, 500) == []


@pytest.mark.parametrize("content", ["", "[]", "{", '{"rows": 7}', '{"key": null}', "\x00"])
def test_a_manifest_that_is_none_is_named(home: Settings, content: str) -> None:
    (home.home / FILE).write_text(content)
    with pytest.raises(HomeError, match=r"manifest.json: cannot be read as a manifest .*; persona repair makes it again"):
        open_warehouse(home)


def test_a_home_belongs_to_one_configuration(home: Settings) -> None:
    other = home.model_copy(update={"name": "other"})
    with pytest.raises(HomeOfAnotherConfigurationError, match="holds the tables of configuration 'test', not of 'other'"):
        open_warehouse(other)


@pytest.mark.parametrize("content", ["", "\x00est", "Test", "te\nst", "a" * 49])
def test_what_no_configuration_can_be_called_is_damage_and_no_other_configuration(home: Settings, content: str) -> None:
    (home.home / "configuration").write_text(content)
    with pytest.raises(HomeError, match=r"configuration: found .*; expected the name 'test': write it there") as told:
        open_warehouse(home)
    assert not isinstance(told.value, HomeOfAnotherConfigurationError)


def test_the_addresses_of_mlflow_follow_a_home_that_was_moved(home: Settings) -> None:
    before, here = "file:///elsewhere/odd%20name/mlflow-artifacts", home.mlflow_artifacts.as_uri()
    with sqlite3.connect(home.home / "mlflow.db") as store:
        for table, column in moving.ADDRESSES:
            store.execute(f"CREATE TABLE {table} (name TEXT, {column} TEXT)")
            store.execute(f"INSERT INTO {table} VALUES ('a', '{before}/segments/x'), ('b', 's3://bucket/mlflow-artifacts/x'), ('c', NULL)")
    store.close()
    said: list[str] = []
    close_warehouse(open_warehouse(home, said.append), home)
    assert said == ["the state folder was moved from file:///elsewhere/odd%20name: the addresses in mlflow.db follow it"]
    with sqlite3.connect(home.home / "mlflow.db") as store:
        for table, column in moving.ADDRESSES:
            assert [row[0] for row in store.execute(f"SELECT {column} FROM {table} ORDER BY name")] == [
                f"{here}/segments/x",
                "s3://bucket/mlflow-artifacts/x",
                None,
            ]
    store.close()
    (home.home / "mlflow.db").write_bytes(b"no database at all, whatever its name says" * 200)
    with pytest.raises(DamagedError, match=r"mlflow.db: file is not a database; next: persona repair"):
        open_warehouse(home)
