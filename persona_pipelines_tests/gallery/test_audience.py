"""The audience in tables, on people whose days are known; and what is said first, under its conditions."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.gallery import audience
from persona_pipelines.gallery.content import Card, Glance, _rhythm
from persona_pipelines.gallery.first import pointers, spent_most
from persona_pipelines.segments.naming import Name
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import from_frame
from persona_pipelines.warehouse.described import Log
from persona_pipelines_tests.conftest import CLICKS, events_table


def bought(user: str | None, *days: str, kind: str = "purchase") -> list[dict]:
    return [{"user_id": user, "event_type": kind, "timestamp": dt.datetime.fromisoformat(day)} for day in days]


def test_cohorts_count_who_came_back_in_which_month(warehouse) -> None:
    log = [
        *bought("a", "2025-11-03", "2025-11-20", "2026-01-05"),
        *bought("b", "2025-11-30"),
        *bought("c", "2025-12-01", "2026-01-31"),
        *bought("d", "2025-10-01", kind="item_view"),
        *bought("e", "2025-12-01", kind="impression"),
    ]
    events = events_table(warehouse, *log)
    found = audience.cohort_table(warehouse.frame(audience.cohorts(events, buying=True)))
    assert found.index.tolist() == ["2025-11", "2025-12", "2026-01"]
    assert found.fillna(-1).to_numpy().tolist() == [[2, 0, 1], [1, 1, -1], [0, -1, -1]]
    acting = audience.cohort_table(warehouse.frame(audience.cohorts(events, buying=False)))
    assert acting.index[0] == "2025-10"
    assert acting.iloc[0].tolist() == [1, 0, 0, 0]
    assert audience.cohort_table(pd.DataFrame(columns=["cohort", "month", "users"])).empty


def test_a_long_history_shows_its_last_twelve_months_of_cohorts(warehouse) -> None:
    days = [f"{year}-{month:02d}-01" for year in (2024, 2025) for month in range(1, 13)]
    found = audience.cohort_table(
        warehouse.frame(audience.cohorts(events_table(warehouse, *bought("a", *days), *bought("b", "2025-06-01")), True))
    )
    assert (found.index[0], found.index[-1], len(found)) == ("2025-01", "2025-12", 12)
    assert found.loc["2025-06"].iloc[0] == 1


def test_the_funnel_has_the_steps_of_the_log_and_counts_people(warehouse) -> None:
    log = [
        *bought("a", "2026-01-01", "2026-01-02", kind="item_view"),
        *bought("b", "2026-01-01", kind="item_view"),
        *bought("a", "2026-01-03"),
    ]
    assert audience.funnel(warehouse, events_table(warehouse, *log)) == [("item_view", 2), ("purchase", 1)]
    assert (
        audience.funnel(warehouse, events_table(warehouse, *bought("a", "2026-01-03"), *bought(None, "2026-01-03", kind="item_view"))) == []
    )


def test_recency_and_frequency_put_every_buyer_into_one_cell() -> None:
    features = pd.DataFrame(
        {"frequency": [1, 1, 2, 3, 4, 5, 40, 0, np.nan], "purchase_recency_days": [0, 6, 7, 30, 89, 90, 400, np.nan, np.nan]}
    )
    found = audience.recency_and_frequency(features)
    assert found.to_numpy().sum() == 7
    assert found.loc[1].tolist() == [2, 0, 0, 0, 0]
    assert found.loc[2].tolist() == [0, 1, 0, 0, 0]
    assert found.loc[3].tolist() == [0, 0, 2, 0, 0]
    assert found.loc[5].tolist() == [0, 0, 0, 1, 1]
    assert audience.recency_and_frequency(features.tail(2)).empty


def test_stages_are_counted_in_their_order() -> None:
    users = pd.DataFrame({"segment_id": [1, 1, 2, 2], "lifecycle_stage": ["lapsed", "new", "new", None]})
    found = audience.stages_of_segments(users)
    assert found.columns.tolist() == ["new", "lapsed"]
    assert found.to_numpy().tolist() == [[1, 1], [1, 0]]
    assert audience.stages_of_segments(users.tail(1)).empty


def test_over_time_tells_who_had_bought_by_then(warehouse) -> None:
    days = [dt.date(2026, 1, 1), dt.date(2026, 2, 1)]
    history = [(day, 1, "All", 2, 1.0, 5.0, 1.0, "1") for day in days]
    warehouse.replace(contracts.SEGMENT_HISTORY, from_frame(pd.DataFrame(history, columns=contracts.SEGMENT_HISTORY.column_names)))
    known = pd.DataFrame(
        [(user, days[0], None, 1, "All", "new", None, None, None, None) for user in "ab"], columns=contracts.PROFILE_HISTORY.column_names
    )
    table = from_frame(known.astype(object))
    warehouse.replace(
        contracts.PROFILE_HISTORY, table.select(**{c.name: table[c.name].cast(c.type) for c in contracts.PROFILE_HISTORY.columns})
    )
    warehouse.replace(contracts.EVENTS, events_table(warehouse, *bought("a", "2026-01-15"), *bought("b", "2026-01-15", kind="item_view")))
    found = audience.over_time(warehouse, Log())
    assert found["buyers_share"].tolist() == [0.0, 0.5]
    assert audience.over_time(warehouse, dataclasses.replace(Log(), dated=False))["buyers_share"].isna().all()


WHOLE = Glance(1000, 700, 0.5, 10.0, 10_000.0, None, 0.2, 0.3, None)
SUPPORT = pd.DataFrame({"feature": ["sessions", "ratings"], "support": ["measured", "measured"]})
STAGES = pd.DataFrame({"active": [761], "lapsed": [239]})
TIMES = pd.DataFrame({"as_of_date": pd.to_datetime(["2026-01-01", "2026-01-08"])})


def card(segment: int, share: float, value: float, leaving: float | None = None, change: float | None = None) -> Card:
    glance = dataclasses.replace(WHOLE, users=int(1000 * share), leaving=leaving)
    return Card(segment, Name(f"S{segment}"), True, share, value, change, glance, details=object())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([card(1, 0.16, 0.51), card(2, 0.84, 0.49)], ["value_held"]),
        ([card(1, 0.5, 0.55), card(2, 0.5, 0.45)], []),
        ([card(1, 0.5, 0.55, leaving=0.4), card(2, 0.5, 0.45, leaving=0.3)], ["value_at_risk"]),
        ([card(1, 0.5, 0.05, leaving=0.9), card(2, 0.5, 0.55, leaving=0.3)], []),
        ([card(1, 0.5, 0.5, change=0.02), card(2, 0.5, 0.5, change=-0.02)], ["grown"]),
        ([card(1, 0.5, 0.5, change=0.01), card(2, 0.5, 0.5, change=-0.03)], ["shrunk"]),
        ([card(1, 0.5, 0.5, change=0.019)], []),
    ],
)
def test_what_is_said_first_has_its_conditions(cards: list[Card], expected: list[str]) -> None:
    whole = dataclasses.replace(WHOLE, reachable=1000)
    assert [pointer.key for pointer in pointers(cards, whole, None, STAGES, TIMES, SUPPORT, "listed")] == expected


def test_how_much_those_hold_who_spent_most_is_said_with_the_condition_that_has_them() -> None:
    spent = pd.Series([483.7] * 30 + [10.0] * 270)
    found = spent_most(spent, 20)
    assert found is not None
    assert found.figures == {"share": 0.1, "value": pytest.approx(30 * 483.7 / spent.sum()), "least": "480"}
    assert pointers([], WHOLE, found, STAGES, TIMES, SUPPORT, "listed")[0] == found
    assert spent_most(spent, 31) is None
    assert spent_most(pd.Series([10.0] * 300), 20) is None
    assert spent_most(pd.Series([np.nan] * 300), 20) is None
    assert spent_most(pd.Series([-1.0] * 300), 20) is None


def test_that_many_have_lapsed_is_said() -> None:
    lapsed = pd.DataFrame({"new": [40, 400], "lapsed": [160, 0]})
    whole = dataclasses.replace(WHOLE, reachable=1000)
    (found,) = pointers([], whole, None, lapsed.assign(lapsed=[160, 200]), TIMES, SUPPORT, "listed")
    assert (found.key, found.figures) == ("lapsed", {"share": 0.45, "days": 90})
    for few in (lapsed, lapsed[["new"]], pd.DataFrame()):
        assert [
            pointer.key for pointer in pointers([], whole, None, few.assign(new=1000) if "new" in few else few, TIMES, SUPPORT, "listed")
        ] == []


def test_of_segments_too_small_to_be_shown_nothing_is_said() -> None:
    small = dataclasses.replace(card(1, 0.1, 0.9, leaving=0.9, change=0.1), details=None)
    assert pointers([small], dataclasses.replace(WHOLE, reachable=1000), None, STAGES, TIMES, SUPPORT, "listed") == []


def test_who_may_not_be_written_to_and_what_the_log_does_not_hold_is_said() -> None:
    absent = SUPPORT.assign(support=["absent", "measured"])
    found = pointers([], WHOLE, None, STAGES, TIMES, absent, "listed")
    assert [(pointer.key, pointer.figures) for pointer in found] == [
        ("reachable", {"reachable": 700, "users": 1000}),
        ("not_held", {"absent": 1, "all": 2}),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("alone", "parts"), [(0, 8), (30, 4), (100, None)])
def test_when_people_are_active_is_told_in_parts_of_the_day_that_hold_most_of_what_they_did(
    warehouse, configure, alone: int, parts: int | None
) -> None:
    """25 people on Saturdays from 9 to 12, and others each at an hour of their own: alone in three hours, not in six where they are many."""
    together = [event for number in range(25) for event in bought(f"u{number}", "2026-01-03 10:00:00")]
    spread = [
        event
        for number in range(alone)
        for event in bought(
            f"s{number}",
            f"2026-01-{5 + (number % 7 if parts is None else 0):02d} {number % 24 if parts is None else 12 + number % 2 * 3:02d}:00:00",
        )
    ]
    warehouse.replace(contracts.EVENTS, events_table(warehouse, *together, *spread))
    people = [f"u{number}" for number in range(25)] + [f"s{number}" for number in range(alone)]
    placed = pd.DataFrame(
        [(user, dt.date(2026, 1, 31), 1, "All", 0.0, "1") for user in people], columns=contracts.USER_SEGMENTS.column_names
    )
    warehouse.replace(contracts.USER_SEGMENTS, from_frame(placed))
    found = _rhythm(warehouse, 1, configure(CLICKS))
    assert (None if found is None else found.shape[1]) == parts
    if found is not None:
        assert found[5].max() == 25
        assert all(count == 0 or count >= 20 for count in found.ravel())
