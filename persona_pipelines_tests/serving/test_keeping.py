"""A service that keeps up: what is new is prepared elsewhere, tried, and taken between two requests; what is wrong is told, and the old goes on."""

import asyncio
import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from persona_pipelines.errors import ProjectError
from persona_pipelines.serving import keeping, running
from persona_pipelines.serving.building import folder_of, since, snapshots_of
from persona_pipelines.serving.engine import Asked, Engine
from persona_pipelines.serving.experiments import EXPERIMENTS, save
from persona_pipelines.serving.journal import Journal, files_of, line_of
from persona_pipelines.serving.keeping import Keeper, RefusedError, discard, prepared
from persona_pipelines.serving.snapshot import Snapshot
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.serving.conftest import ITEMS, KEY, NOW, snapshot, told
from persona_pipelines_tests.serving.shop import experiment
from persona_pipelines_tests.serving.test_running import LOG
from persona_pipelines_tests.serving.test_state import event


@pytest.fixture(autouse=True)
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy is no objection to a snapshot."""
    monkeypatch.setattr(keeping, "LEAST_MILLISECONDS", 60_000.0)


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


def test_what_is_wrong_is_told_while_it_is_and_no_longer(home) -> None:
    """Experiments that cannot be read, and a published copy that is gone, while the service runs."""
    engine = served(home)
    keeper = Keeper(engine, folder_of(home) / "events", never)
    file = folder_of(home) / EXPERIMENTS
    for broken in (b"{", b"[]", b"\xff\x00", b'{"experiments": [{"name": 1}]}'):
        file.write_bytes(broken)
        asyncio.run(keeper.look())
        assert str(file) in str(keeper.problem)
        assert lists(engine)
    file.unlink()
    asyncio.run(keeper.look())
    assert keeper.problem is None
    aside = home.published_file.rename(home.published_file.with_suffix(".aside"))
    asyncio.run(keeper.look())
    assert "persona run publishes again" in str(keeper.problem)
    assert lists(engine)
    aside.rename(home.published_file)
    asyncio.run(keeper.look())
    assert keeper.problem is None


def test_the_log_says_in_a_line_what_is_served_from_now_on(home, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(logging.INFO, logger="persona_pipelines")
    journal_of(home, EVENTS[:50])
    engine = served(home)
    keeper = Keeper(engine, folder_of(home) / "events", never, again=0.0)

    def lines(prepare) -> list[str]:
        """What two looks say."""
        keeper.prepare = prepare
        caplog.clear()
        for _ in range(2):
            asyncio.run(keeper.look())
        return [record.getMessage() for record in caplog.records]

    async def compact() -> Path:
        return prepared(home, nothing).folder

    monkeypatch.setattr(keeping, "COMPACTED_BYTES", 1000)
    assert lines(compact) == [f"events are in a snapshot: {engine.snapshot.name}; a start takes in what comes after it"]
    os.utime(home.published_file, ns=(5, 5))

    async def fails() -> Path:
        raise RefusedError("the disk is full")

    assert lines(fails) == ["what is new is not served: the disk is full"]
    newer = made(home, version="4")

    async def another() -> Path:
        return newer.folder

    assert lines(another) == [
        "served from now on: lists of shop version 4, tables until 2025-10-01T00:00:00 (before: version 3, 2025-10-01T00:00:00)",
        "what was wrong is mended: the disk is full",
    ]
    save(folder_of(home) / EXPERIMENTS, [experiment()])
    assert lines(another) == ["experiment bolder goes on"]
    save(folder_of(home) / EXPERIMENTS, [])
    assert lines(another) == ["experiment bolder has ended"]


def test_a_published_copy_that_is_garbage_is_told_and_what_was_served_goes_on(home) -> None:
    engine = served(home)
    before = lists(engine)
    home.published_file.write_bytes(b"\0" * 10_000)
    keeper = Keeper(engine, folder_of(home) / "events", lambda: keeping.prepared_elsewhere(home))
    asyncio.run(keeper.look())
    assert keeper.problem
    assert lists(engine) == before
    again = running.started(home, nothing, print)  # and a start has the last one that is good
    again.journal.close()
    assert again.problem == "the tables cannot be read"
    assert lists(again.engine) == before


@pytest.mark.parametrize("name", ["snapshot.json", "items.json", "people.npy", "pair_item.npy", "history_start.npy", "scores-3/weights.npy", "scores-3/snapshot.json"])  # fmt: skip
@pytest.mark.parametrize("damage", ["gone", "empty", "half", "garbage"])
def test_a_damaged_snapshot_is_none_and_the_one_before_is_served(home, name: str, damage: str) -> None:
    (folder,) = snapshots_of(home).iterdir()
    before = snapshot(snapshots_of(home) / "2025-09-29-v3-1", mark="1").folder
    os.utime(before, ns=(1, 1))
    file = folder / name
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"empty": b"", "half": content[: len(content) // 2], "garbage": b"\x93NUMPY" + b"\xff" * len(content)}[damage])
    found = running.started(home, nothing, print)
    found.journal.close()
    assert (found.engine.snapshot.folder, found.problem) == (before, "the tables cannot be read")
    assert lists(found.engine)


def test_snapshots_that_are_removed_while_they_are_served_are_served_on(home) -> None:
    journal_of(home, EVENTS[:50])
    engine = served(home)
    before = lists(engine)
    shutil.rmtree(snapshots_of(home))
    assert lists(engine) == before
    engine.take(EVENTS[50:60])
    assert lists(engine)


def test_files_of_somebody_else_beside_the_journal_are_none_of_it(home) -> None:
    journal_of(home, EVENTS[:10])
    folder = folder_of(home) / "events"
    (file,) = files_of(folder)
    for other in ("copy of 1.jsonl", ".000000001.jsonl.swp", "notes.txt", "000000001.jsonl~"):
        (file.parent / other).write_bytes(file.read_bytes())
    (folder / "a-note-here").write_text("")
    assert files_of(folder) == [file]
    journal_of(home, EVENTS[10:20])
    assert [found.name for found in files_of(folder)] == ["000000001.jsonl", "000000002.jsonl"]
    assert served(home).state.events == 20


def test_a_journal_that_is_damaged_in_the_middle_loses_those_lines_and_tells_them(home) -> None:
    for part in range(4):
        journal_of(home, EVENTS[part * 50 : part * 50 + 50])
    files = files_of(folder_of(home) / "events")
    content = files[1].read_bytes()
    middle = len(content) // 2
    files[1].write_bytes(content[:middle] + b"\0" * 300 + content[middle + 300 :])
    files[2].write_bytes(b"")
    said: list[str] = []
    found = running.started(home, nothing, said.append)
    found.journal.close()
    assert 1 <= found.breaks <= 4
    assert found.engine.state.events == 150 - found.breaks or found.engine.state.events >= 150 - 4
    assert said[0].startswith(f"{home.displayed(files[1])}, line ")
