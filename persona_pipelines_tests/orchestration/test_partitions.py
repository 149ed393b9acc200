"""Pieces end where logs end, go on where logs go on, and a day that arrives has its piece."""

from __future__ import annotations

import copy
import datetime as dt
import shutil
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from persona_pipelines.graph import build
from persona_pipelines.logs.reach import last_known_day
from persona_pipelines.orchestration.partitions import STILL_WRITTEN_DAYS, ended, partitions, range_tags
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import CLICKS, DAY, HEADER, KEY, ingested, write

DATED = {**CLICKS, "path": "clicks/{date}.csv"}
UNDATED = {**CLICKS, "path": "clicks/*.csv"}
EVENTS = dg.AssetKey(["events", "events"])
TODAY = dt.datetime.now(dt.UTC).date()


def days_of(definitions: dg.Definitions) -> list[str]:
    found = definitions.resolve_asset_graph().get(EVENTS).partitions_def
    assert found is not None
    return list(found.get_partition_keys())


def arrives(tmp_path: Any, day: dt.date) -> None:
    write(tmp_path, f"clicks/{day}.csv", HEADER, f"{day},{day}T10:00:00Z,item_view,u,d,i,,")


def test_pieces_end_with_the_last_file_and_a_day_that_arrives_has_its_own(configure: Callable[..., Settings], tmp_path: Any) -> None:
    settings = configure(DATED)
    arrives(tmp_path, DAY)
    arrives(tmp_path, DAY + dt.timedelta(days=2))
    assert days_of(build(settings)) == ["2025-09-01", "2025-09-02", "2025-09-03"]
    arrives(tmp_path, DAY + dt.timedelta(days=3))
    assert days_of(build(settings))[-1] == "2025-09-04"
    assert days_of(build(settings, dt.date(2025, 9, 6)))[-1] == "2025-09-06"  # a run may ask for a day without a file


def test_logs_of_this_week_go_on(configure: Callable[..., Settings], tmp_path: Any) -> None:
    arrives(tmp_path, DAY)
    arrives(tmp_path, TODAY - dt.timedelta(days=STILL_WRITTEN_DAYS))
    assert days_of(build(configure(DATED)))[-1] == TODAY.isoformat()


@pytest.mark.parametrize(("ago", "goes_on"), [(0, True), (STILL_WRITTEN_DAYS, True), (STILL_WRITTEN_DAYS + 1, False)])
def test_logs_have_ended_when_a_week_has_brought_nothing(ago: int, goes_on: bool) -> None:
    last = TODAY - dt.timedelta(days=ago)
    assert ended(last) == (None if goes_on else last)
    assert ended(last, until=last - dt.timedelta(days=3)) == (None if goes_on else last)
    assert ended(last, until=TODAY) is None
    assert ended(None, until=last) is None


@pytest.mark.parametrize(
    ("size", "keys"),
    [
        ("day", ["2025-09-03", "2025-09-04", "2025-09-05"]),
        ("week", ["2025-09-01"]),
        ("month", ["2025-09-01"]),
    ],
)
def test_the_last_piece_holds_the_last_day(configure: Callable[..., Settings], size: str, keys: list[str]) -> None:
    settings = configure(DATED, start_date=dt.date(2025, 9, 3), logs={"partitions": size})
    pieces = partitions(settings, dt.date(2025, 9, 5))
    assert pieces is not None
    assert list(pieces.get_partition_keys()) == keys
    assert pieces.end is None  # of a run of a later day, Dagster would refuse to write down what it is going to make
    old = partitions(configure(DATED, start_date=dt.date(2005, 9, 3), logs={"partitions": size}), dt.date(2005, 9, 5))
    assert old is not None
    assert list(old.get_partition_keys()) == (
        ["2005-08-29", "2005-09-05"] if size == "week" else [key.replace("2025", "2005") for key in keys]
    )
    beyond = range_tags(settings, dt.date(2025, 9, 5), dt.date(2025, 9, 9))
    assert beyond["dagster/asset_partition_range_end"] == {"day": "2025-09-09", "week": "2025-09-08", "month": "2025-09-01"}[size]


def test_dates_of_files_that_are_not_read_are_no_end(configure: Callable[..., Settings], tmp_path: Any) -> None:
    settings = configure(DATED)
    assert last_known_day(settings) is None
    for day in (DAY - dt.timedelta(days=1), dt.date(2199, 1, 1)):
        arrives(tmp_path, day)
    assert last_known_day(settings) is None
    arrives(tmp_path, DAY)
    assert last_known_day(settings) == DAY


@pytest.mark.slow
def test_of_files_without_dates_the_end_is_known_as_long_as_they_are_as_they_were_read(
    configure: Callable[..., Settings], tmp_path: Any
) -> None:
    settings = configure(UNDATED)
    arrives(tmp_path, DAY + dt.timedelta(days=4))
    assert last_known_day(settings) is None
    settings.home.mkdir(exist_ok=True)
    with Warehouse(settings.published_file, KEY) as store:
        ingested(store, settings)
        assert store.rows(contracts.FILES) == 1
    assert last_known_day(settings) == DAY + dt.timedelta(days=4)
    both = configure(UNDATED, copy.deepcopy({**DATED, "name": "more", "path": "more/{date}.csv"}))
    assert last_known_day(both) == DAY + dt.timedelta(days=4)
    shutil.copytree(tmp_path / "clicks", tmp_path / "more")
    (tmp_path / "more" / f"{DAY + dt.timedelta(days=4)}.csv").rename(tmp_path / "more" / "2025-09-08.csv")
    assert last_known_day(both) == dt.date(2025, 9, 8)
    arrives(tmp_path, DAY + dt.timedelta(days=9))
    assert last_known_day(settings) is None
    assert last_known_day(both) is None  # whatever the dated ones say


def test_the_daily_schedule_leaves_out_a_day_after_the_end_and_finds_one_that_has_arrived(
    configure: Callable[..., Settings], tmp_path: Any
) -> None:
    arrives(tmp_path, DAY)
    schedule = build(configure(DATED)).get_repository_def().get_schedule_def("every_day")

    def tick() -> Any:
        return schedule.evaluate_tick(dg.build_schedule_context(scheduled_execution_time=dt.datetime(2025, 9, 4, 4, 15, tzinfo=dt.UTC)))

    assert tick().skip_message == "The logs end with 2025-09-01: there is nothing of 2025-09-03 to load."
    arrives(tmp_path, DAY + dt.timedelta(days=2))
    (request,) = tick().run_requests
    assert request.tags["dagster/asset_partition_range_end"] == "2025-09-03"
