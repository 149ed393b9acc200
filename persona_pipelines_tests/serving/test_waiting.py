"""What was kept and no run has read yet is counted, and told with the moment until which results count."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_pipelines.serving.building import folder_of
from persona_pipelines.serving.journal import OPEN, Journal, files_of, line_of
from persona_pipelines.serving.shown import LISTS
from persona_pipelines.serving.waiting import Waiting, waiting
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.settings.whole import RECEIVED, received_folder
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import at
from persona_pipelines_tests.serving.conftest import CLICKS
from persona_pipelines_tests.serving.test_outcomes import event, tables
from persona_pipelines_tests.test_every_check import row, written

DAY = dt.date(2025, 9, 29)
LATER = dt.date(2025, 10, 3)


@pytest.fixture
def settings(configure: Callable[..., Settings], tmp_path: Path) -> Settings:
    """Of a home whose service has kept three events and two lists of a day, and two events of a later one."""
    configure(CLICKS)
    home = load_settings(tmp_path / "persona.yaml").home
    for folder, day, count in ((received_folder(home), DAY, 3), (home / "live" / LISTS, DAY, 2), (received_folder(home), LATER, 2)):
        journal = Journal(folder, iter([day] * 9).__next__)
        journal.append([line_of({"n": number}) for number in range(count)])
        journal.close()
    return load_settings(tmp_path / "persona.yaml")


def read(store: Warehouse, settings: Settings, events: list[Path], lists: list[Path], logs_end: dt.date = DAY) -> Waiting:
    """What waits where a run has read some files, and the logs up to a day."""
    tables(store, [], [event(1, 5, "a")])
    files = [row(contracts.FILES, source=RECEIVED, source_file=settings.displayed(file), size_bytes=file.stat().st_size) for file in events]
    written(store, contracts.FILES, row(contracts.FILES, source="clicks", first_day=DAY, last_day=logs_end), *files)
    named = [(f"{file.parent.name}/{file.name}", file.stat().st_size) for file in lists]
    written(store, contracts.LIST_FILES, *(row(contracts.LIST_FILES, source_file=name, size_bytes=size) for name, size in named))
    return waiting(store, settings)


def test_what_no_run_has_read_waits_and_events_behind_the_logs_are_told_apart(warehouse: Warehouse, settings: Settings) -> None:
    first, second = files_of(received_folder(settings.home))
    (lists,) = files_of(folder_of(settings) / LISTS)
    assert read(warehouse, settings, [], []) == Waiting(at(1000), 2, 5, 2, DAY, hours=24)
    assert read(warehouse, settings, [first], []) == Waiting(at(1000), 2, 2, 2, DAY, hours=24)
    assert read(warehouse, settings, [first], [lists], LATER) == Waiting(at(1000), 0, 2, 0, LATER, hours=24)
    assert read(warehouse, settings, [first, second], [lists]) == Waiting(at(1000), 0, 0, 0, DAY, hours=24)


def test_of_a_file_that_has_grown_the_new_lines_wait(warehouse: Warehouse, settings: Settings) -> None:
    (lists,) = files_of(folder_of(settings) / LISTS)
    tables(warehouse, [], [event(1, 5, "a")])
    written(warehouse, contracts.FILES)
    name, size = f"{lists.parent.name}/{lists.name}", lists.stat().st_size
    written(warehouse, contracts.LIST_FILES, row(contracts.LIST_FILES, source_file=name, size_bytes=size))
    with lists.open("ab") as stream:
        stream.write(line_of({"n": 3}))
    assert waiting(warehouse, settings).lists == 1


def test_a_file_that_is_written_now_waits_too(warehouse: Warehouse, settings: Settings) -> None:
    journal = Journal(received_folder(settings.home), lambda: LATER)
    journal.append([line_of({"n": 9})])
    (file,) = [file for file in files_of(journal.folder) if file.name.endswith(OPEN)]
    os.utime(file, (1_000, 1_000))
    found = read(warehouse, settings, [], [])
    assert (found.events, found.writing, found.writing_until) == (6, 1, None)  # as a service that was killed would leave it
    written_until = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=1_000 + 300 + 15)
    soon = waiting(warehouse, settings, lambda: written_until - dt.timedelta(seconds=1))
    assert (soon.events, soon.writing, soon.writing_until) == (6, 1, written_until)
    journal.close()
    assert (waiting(warehouse, settings).events, waiting(warehouse, settings).writing) == (6, 0)


def test_lists_of_which_more_may_come_are_counted_once_each(warehouse: Warehouse, settings: Settings) -> None:
    read(warehouse, settings, [], [])
    places = [("new", 1, False), ("new", 2, False), ("newer", 1, False), ("old", 1, True)]
    rows = (row(contracts.LIST_OUTCOMES, list_id=name, position=place, complete=complete) for name, place, complete in places)
    written(warehouse, contracts.LIST_OUTCOMES, *rows)
    found = waiting(warehouse, settings)
    assert (found.open_lists, found.hours) == (2, 24)


@pytest.mark.parametrize(
    ("left", "lines"),
    [
        (Waiting(at(1), 0, 0, 0, DAY), [f"Counted is what happened until {at(1):%Y-%m-%d %H:%M} UTC; no list and no event waits for a run."]),
        (
            Waiting(at(1), 1_200, 7, 0, DAY),
            [f"Counted is what happened until {at(1):%Y-%m-%d %H:%M} UTC; 1,200 lists and 7 events wait in the journal, and count once persona run has read them."],
        ),
        (
            Waiting(at(1), 0, 7, 0, DAY, 5, dt.datetime(2025, 9, 30, 12, 5, 15)),
            [
                f"Counted is what happened until {at(1):%Y-%m-%d %H:%M} UTC; 0 lists and 7 events wait in the journal, and count once persona run has read them.",
                "5 of the events are in files that are still written, which end by 2025-09-30 12:05:15 UTC at the latest: a persona run after that finds them.",
            ],
        ),
        (
            Waiting(at(1), 0, 0, 0, DAY, open_lists=1_500, hours=24),
            [
                f"Counted is what happened until {at(1):%Y-%m-%d %H:%M} UTC; no list and no event waits for a run.",
                "Of 1,500 lists the 24 hours (serving.outcome_hours) were not over then: list_results has them after that; an experiment counts them with what came so far.",
            ],
        ),
        (
            Waiting(at(1), 0, 7, 0, DAY, 7),
            [
                f"Counted is what happened until {at(1):%Y-%m-%d %H:%M} UTC; 0 lists and 7 events wait in the journal, and count once persona run has read them.",
                "7 of the events are in files that are still written, which a service left that was killed: they end when persona serve starts again.",
            ],
        ),
        (
            Waiting(None, 1, 7, 3, DAY),
            [
                "Nothing is counted yet; 1 lists and 7 events wait in the journal, and count once persona run has read them.",
                "The logs end on 2025-09-29, and 3 of the events are of later days: live events are read with the logs of their days, once these are there.",
            ],
        ),
    ],
)  # fmt: skip
def test_what_waits_is_said_in_sentences(left: Waiting, lines: list[str]) -> None:
    assert list(left.lines) == lines
