"""A service that keeps up: what is new is prepared elsewhere, tried, and taken between two requests; what is wrong is told, and the old goes on."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from persona_pipelines.errors import ProjectError
from persona_pipelines.serving import keeping, running
from persona_pipelines.serving.building import folder_of, since, snapshots_of
from persona_pipelines.serving.engine import Asked, Engine
from persona_pipelines.serving.journal import Journal, files_of, line_of
from persona_pipelines.serving.keeping import Keeper, RefusedError, discard, prepared
from persona_pipelines.serving.snapshot import Snapshot
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.serving.conftest import ITEMS, KEY, NOW, snapshot, told
from persona_pipelines_tests.serving.test_running import LOG
from persona_pipelines_tests.serving.test_state import event


@pytest.fixture
def home(configure, tmp_path):
    """Settings of a home with something published, and its snapshot on disk."""
    settings = configure(LOG).model_copy(update={"home": tmp_path / "home"})
    settings.home.mkdir(exist_ok=True)
    settings.key_file.write_text(KEY.hex())
    settings.key_file.chmod(0o600)
    settings.published_file.parent.mkdir(exist_ok=True)
    settings.published_file.write_text("tables")
    made(settings)
    return settings


def made(settings, **changes) -> Snapshot:
    mark = settings.published_mark
    return snapshot(snapshots_of(settings) / f"2025-09-30-v3-{mark}", mark=mark, **changes)


def journal_of(settings, events: list[dict]) -> None:
    journal = Journal(folder_of(settings) / "events", lambda: NOW.date())
    if events:
        journal.append([line_of(entry) for entry in events])
    journal.close()


def nothing() -> Warehouse:
    raise ProjectError("the tables cannot be read")


def served(settings) -> Engine:
    found = running.started(settings, nothing, print)
    found.journal.close()
    return found.engine


def lists(engine: Engine) -> list:
    return [engine.answer(Asked(user=f"u{number}", k=ITEMS))["items"] for number in (1, 2, 3, 77)]


EVENTS = [event(number, user=str(number % 3), item=number % ITEMS) for number in range(200)]


def test_a_start_takes_in_what_is_not_in_its_snapshot_alone(home, monkeypatch: pytest.MonkeyPatch) -> None:
    journal_of(home, EVENTS[:120])
    whole = served(home)
    assert whole.state.events == 120
    monkeypatch.setattr(keeping, "COMPACTED_BYTES", 1000)
    compact = prepared(home, nothing)
    assert compact.facts.whole_files == ["2025-10-01/000000001.jsonl"]
    assert prepared(home, nothing).folder == compact.folder
    assert list(since(compact, files_of(folder_of(home) / "events"), print)) == []
    journal_of(home, EVENTS[120:])
    again = served(home)
    assert again.snapshot.folder == compact.folder
    assert len(again.state.people) < len(whole.state.people) + 3
    assert again.state.events == 200
    whole.take(EVENTS[120:])
    assert lists(again) == lists(whole)


def test_what_was_served_goes_on_when_nothing_new_can_be_made(home) -> None:
    """Another champion was published, and cannot be read."""
    os.utime(home.published_file, ns=(1, 1))
    said: list[str] = []
    found = running.started(home, nothing, said.append)
    found.journal.close()
    assert found.problem == "the tables cannot be read"
    assert said == ["the tables cannot be read; what was served before is served: tables until 2025-10-01T00:00:00"]
    assert lists(found.engine)
    keeper = Keeper(found.engine, found.journal.folder, never, found.problem)
    (ready,) = told(running_app(found.engine, found.journal.folder, keeper), ("GET", "/readyz"))
    assert (ready.status, ready.json["status"], ready.json["problem"]) == (200, "degraded", "the tables cannot be read")


async def never() -> Path:
    raise AssertionError


def running_app(engine: Engine, folder: Path, keeper: Keeper):
    from persona_pipelines.serving.service import app_of

    return app_of(engine, Journal(folder, lambda: NOW.date()), keeper=keeper)


def test_new_tables_are_taken_while_events_come_and_none_is_lost(home) -> None:
    journal_of(home, EVENTS[:50])
    engine = served(home)
    engine.recommendations(Asked(user="u3"))
    os.utime(home.published_file, ns=(5, 5))
    newer = made(home, version="4")

    async def prepare() -> Path:
        return newer.folder

    async def run() -> None:
        keeper = Keeper(engine, folder_of(home) / "events", prepare)
        look = asyncio.create_task(keeper.look())
        for entry in EVENTS[50:]:
            journal_of(home, [entry])
            engine.take([entry])
            await asyncio.sleep(0)
        await look
        assert (keeper.problem, keeper.swaps) == (None, 1)
        await keeper.look()
        assert keeper.swaps == 1

    asyncio.run(run())
    assert engine.scores.version == "4"
    again = served(home)
    assert again.state.described() == engine.state.described()
    assert lists(again) == lists(engine)


def test_what_gives_empty_lists_is_refused_and_told(home) -> None:
    engine = served(home)
    engine.recommendations(Asked(user="u3"))
    before = engine.snapshot.folder
    os.utime(home.published_file, ns=(5, 5))
    empty = made(home, arrays={"blocked": np.ones(ITEMS, dtype=bool)})
    calls = 0

    async def prepare() -> Path:
        nonlocal calls
        calls += 1
        return empty.folder

    keeper = Keeper(engine, folder_of(home) / "events", prepare)
    asyncio.run(keeper.look())
    asyncio.run(keeper.look())  # not again at once
    assert calls == 1
    assert engine.snapshot.folder == before
    assert keeper.problem is not None
    assert "an empty list where there was one" in keeper.problem


def test_a_slow_snapshot_and_one_that_answers_otherwise_are_refused(home, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = served(home)
    engine.recommendations(Asked(user="u3"))
    keeper = Keeper(engine, folder_of(home) / "events", never)
    other = Engine(home, engine.snapshot, KEY, engine.now)
    assert asyncio.run(keeper._objection(other, [])) is None
    unlike = home.model_copy(update={"recommendations": home.recommendations.model_copy(update={"exclude_seen": False})})
    other = Engine(unlike, engine.snapshot, KEY, engine.now)
    assert asyncio.run(keeper._objection(other, [])) == "another list of the same tables, model and events"
    other = Engine(home, engine.snapshot, KEY, engine.now)
    monkeypatch.setattr(keeping, "LEAST_MILLISECONDS", 0.0)
    monkeypatch.setattr(keeping, "SLOWER", 0.0)
    assert "a list takes" in str(asyncio.run(keeper._objection(other, [])))


def test_old_snapshots_are_removed_and_not_the_one_that_is_served(home) -> None:
    folders = [snapshot(snapshots_of(home) / f"2025-09-{day}-v3-{day:x}", mark=f"{day:x}").folder for day in range(10, 15)]
    for number, folder in enumerate(folders):
        os.utime(folder, ns=(number, number))
    discard(home, folders[0])
    left = {folder.name for folder in snapshots_of(home).iterdir()}
    assert folders[0].name in left
    assert len(left) == keeping.KEPT


def test_the_process_that_prepares_says_what_is_wrong(home) -> None:
    os.utime(home.published_file, ns=(7, 7))
    with pytest.raises(RefusedError, match="database"):
        asyncio.run(keeping.prepared_elsewhere(home))


def test_files_of_a_day_on_are_listed(home) -> None:
    journal_of(home, EVENTS[:1])
    folder = folder_of(home) / "events"
    assert files_of(folder, NOW.date()) == files_of(folder)
    assert files_of(folder, NOW.date().replace(day=2)) == []
