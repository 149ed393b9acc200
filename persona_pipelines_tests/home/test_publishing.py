"""Tables, pages and champions change at one moment, wherever the process dies or the disk is full."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from persona_pipelines.files import write_whole
from persona_pipelines.home import publishing
from persona_pipelines.home.manifest import HomeError, read_manifest
from persona_pipelines.home.opening import close_warehouse, open_warehouse
from persona_pipelines.home.publishing import JOURNAL
from persona_pipelines.home.repairing import repair
from persona_pipelines.home.verifying import verify
from persona_pipelines.settings import Settings
from persona_pipelines.tracking import registry
from persona_pipelines.tracking.registry import Chosen, choose
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.home.conftest import filled, page_published, rows_published, run

LAST = 15
"""More changes than publishing makes."""


class Killed(BaseException):
    """The process dies here."""


def dies_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> list[str]:
    """The process dies before the so-manieth of all changes to files and champions that publishing makes."""
    made: list[str] = []

    def counted(name: str, right):
        def change(*arguments, **options):
            if len(made) >= moment:  # a dead process does nothing more, not even what it would tidy up
                raise Killed
            made.append(name)
            return right(*arguments, **options)

        return change

    monkeypatch.setattr(publishing.os, "replace", counted("replace", os.replace))
    monkeypatch.setattr(Path, "replace", counted("replaced", Path.replace))
    monkeypatch.setattr(Path, "unlink", counted("unlink", Path.unlink))
    monkeypatch.setattr(registry, "crown", counted("crown", lambda *_: True))
    return made


def chosen_in(store: Warehouse) -> None:
    with store.transaction():
        choose(store, "segments", Chosen("7", "training", "found"))


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(LAST + 1))
def test_a_process_that_dies_while_publishing_leaves_the_old_or_is_finished_by_the_next(
    home: Settings, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        registry, "chosen", lambda store, settings, stage: Chosen("7", "training", "found") if stage == "segments" else None
    )
    run_before = rows_published(home), page_published(home)
    store = open_warehouse(home)
    with monkeypatch.context() as patch:
        filled(store, 700)
        write_whole(publishing.waiting_page(home, "page.html"), "new page")
        made = dies_at(patch, moment)
        died = True
        try:
            publishing.publish(store, home)
            died = False
        except Killed:
            pass
    store.close()
    assert {entry.file: entry.found for entry in verify(home) if not entry.passed} == {}
    assert list(repair(home)) == []
    manifest = read_manifest(home.home)
    if died and not (home.home / JOURNAL).exists() and "crown" not in made:
        assert (rows_published(home), page_published(home)) == run_before
    crowned: list[str] = []
    monkeypatch.setattr(registry, "crown", lambda settings, stage, chosen, challenger: bool(crowned.append(chosen.version)) or True)
    finished = (home.home / JOURNAL).exists()
    store = open_warehouse(home)
    close_warehouse(store, home)
    assert not (home.home / JOURNAL).exists()
    if finished:
        assert crowned == ["7"]
    new = finished or not died or "crown" in made
    assert (rows_published(home), page_published(home)) == ((700, "new page") if new else run_before)
    assert read_manifest(home.home).rows["events.filtered"] == rows_published(home)
    assert manifest.being_written
    if moment == LAST:
        assert not died  # every moment before was tried


def test_a_full_disk_leaves_what_was_published(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        run(home, 900, then=lambda store: patch.setattr("persona_pipelines.files.os.fsync", full))
    assert rows_published(home) == 500
    assert not list(home.home.glob("**/*.partial"))
    assert run(home, 900)[0].startswith("warehouse.duckdb was not closed by its last run")
    assert rows_published(home) == 900


def test_a_copy_that_does_not_hold_what_the_warehouse_does_is_not_published(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    older = home.warehouse_file.read_bytes()
    monkeypatch.setattr(Warehouse, "blocks", lambda self: [older])
    with pytest.raises(HomeError, match="does not hold what the warehouse does"):
        run(home, 900)
    assert rows_published(home) == 500


OPENS = """
import duckdb, sys
try:
    duckdb.connect(sys.argv[1]).close()
    print("opened")
except duckdb.Error as error:
    print(error)
"""


@pytest.mark.slow
def test_another_program_cannot_write_into_a_warehouse_that_has_published_and_is_still_open(home: Settings) -> None:
    """To have read the file in this process must not take the engine's lock from it."""
    store = open_warehouse(home)
    publishing.publish(store, home)
    other = subprocess.run([sys.executable, "-c", OPENS, str(home.warehouse_file)], capture_output=True, text=True, check=True)
    assert "lock" in other.stdout
    close_warehouse(store, home)
    other = subprocess.run([sys.executable, "-c", OPENS, str(home.warehouse_file)], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == "opened"


def test_the_champion_is_crowned_only_with_tables_that_were_made_with_it(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    crowned: list[str] = []
    monkeypatch.setattr(registry, "crown", lambda settings, stage, chosen, challenger: bool(crowned.append(chosen.version)))
    monkeypatch.setattr(registry, "champion_version", lambda settings, stage: None)
    monkeypatch.setattr(registry, "history", lambda settings, stage: [])
    made_with: dict[str, str | None] = {"segments": "6", "recommendations": None}
    monkeypatch.setattr(registry, "made_with", lambda store, stage: made_with[stage])
    run(home, 500, then=chosen_in)
    assert crowned == []  # trained, and no table is of it yet
    made_with["segments"] = "7"
    run(home, 500)
    assert crowned == ["7"]


def test_versions_that_scored_before_are_forgotten_once_the_new_scores_are_published(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that deletes nothing is said, and hinders no publication."""
    asked: list[tuple[str, str, int]] = []

    def forgotten(settings: Settings, stage: str, in_use: str) -> list[str]:
        asked.append((stage, in_use, rows_published(settings)))
        raise registry.TrackingError("old versions of shop-profiles-churn stay: forbidden")

    in_use = {"segments": Chosen("7", "training", "found"), "profiles-churn": Chosen("3", "gate", "ahead")}
    monkeypatch.setattr(registry, "in_use", lambda store, settings: in_use)
    monkeypatch.setattr(registry, "crown", lambda settings, stage, chosen, challenger: False)
    monkeypatch.setattr(registry, "forget", forgotten)
    told: list[str] = []
    store = open_warehouse(home)
    publishing.publish(store, home, told.append)
    close_warehouse(store, home)
    assert asked == [("profiles-churn", "3", rows_published(home))]
    assert told == ["old versions of shop-profiles-churn stay: forbidden"]
    assert not (home.home / JOURNAL).exists()


@pytest.mark.slow
def test_a_page_that_is_lost_while_it_is_published_keeps_nothing_else_from_being_so(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def died(*_: object) -> None:
        raise Killed

    store = open_warehouse(home)
    filled(store, 700)
    write_whole(publishing.waiting_page(home, "page.html"), "new page")
    with monkeypatch.context() as patch:
        patch.setattr(publishing.Manifest, "save", died)
        with pytest.raises(Killed):
            publishing.publish(store, home)
    store.close()
    assert page_published(home) == "new page"
    publishing.published_page(home, "page.html").unlink()
    close_warehouse(open_warehouse(home), home)
    assert rows_published(home) == 700
    assert {entry.file: entry.found for entry in verify(home) if not entry.passed} == {"reports/page.html": "is gone"}
