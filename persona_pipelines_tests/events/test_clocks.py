"""What the times of a source are worth stands in a table: moments, days alone, or the order of the records."""

from __future__ import annotations

import copy

import pytest

from persona_pipelines_tests.conftest import DAY, ingested, rows, write

FIELDS = {"timestamp": "at", "event_type": {"value": "purchase"}, "user_id": "user"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("times", "timestamp", "clock", "with_time_of_day"),
    [
        (["2025-09-01T10:00:00", "2025-09-02T00:00:00"], "at", "moment", 1),
        (["2025-09-01", "2025-09-02", "2025-09-02"], "at", "day", 0),
        (
            ["2025-09-02", "2025-11-02"],
            {"from": "at", "timezone": "Europe/Berlin"},
            "day",
            0,
        ),  # midnight before and after the change of clocks
        (["2025-09-01", "2025-11-02"], {"from": "at", "timezone": "UTC"}, "day", 0),
        (["2025-09-01T22:00:00Z", "2025-09-02T22:00:00Z"], {"from": "at", "timezone": "Europe/Berlin"}, "day", 0),
        (["2025-09-01T22:00:00Z", "2025-09-02T22:00:00Z"], "at", "moment", 2),
        (["2025-09-01"], "at", "moment", 0),
        (["x", "y"], {"order": {"start": "2025-09-01", "step_seconds": 86400}}, "order", 0),
    ],
)
def test_a_clock_is_told_by_what_it_shows(warehouse, configure, tmp_path, times, timestamp, clock, with_time_of_day) -> None:
    write(tmp_path, "shop.csv", "at,user", *(f"{time},u{number}" for number, time in enumerate(times)))
    source = {"name": "shop", "path": "shop.csv", "format": "csv", "fields": {**FIELDS, "timestamp": timestamp}}
    ingested(warehouse, configure(source, start_date=DAY))
    assert rows(warehouse, "SELECT source, clock, events, with_time_of_day FROM events.clocks") == [
        ("shop", clock, len(times), with_time_of_day)
    ]


@pytest.mark.slow
def test_each_source_has_its_own_clock(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "shop.csv", "at,user", "2025-09-01,a", "2025-09-02,b")
    write(tmp_path, "web.csv", "at,user", "2025-09-01T10:00:00Z,a", "2025-09-02T11:00:00Z,b")
    sources = [{"name": name, "path": f"{name}.csv", "format": "csv", "fields": copy.deepcopy(FIELDS)} for name in ("shop", "web")]
    ingested(warehouse, configure(*sources, start_date=DAY))
    assert rows(warehouse, "SELECT source, clock FROM events.clocks ORDER BY source") == [("shop", "day"), ("web", "moment")]
