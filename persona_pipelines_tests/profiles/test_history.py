"""What was known on a day, and documents with their evidence."""

import datetime as dt
import json

import ibis
import numpy as np
import pandas as pd
import pytest

from persona_pipelines.profiles.documents import documents
from persona_pipelines.profiles.history import profile_history, segment_movement
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.described import Log

FIRST = dt.date(2025, 9, 1)


def profiles(named: str = "s", **segments: int) -> ibis.Table:
    """Profiles of users by the number of their segment."""
    rows = {
        "user_id": list(segments),
        "segment_id": list(segments.values()),
        "segment_name": [f"{named}{number}" for number in segments.values()],
        "lifecycle_stage": ["active"] * len(segments),
        "top_interests": [None] * len(segments),
        "purchase_probability": [0.5] * len(segments),
        "churn_probability": [0.1] * len(segments),
        "lifetime_value": [1.0] * len(segments),
    }
    return ibis.memtable(
        rows,
        schema={
            **dict.fromkeys(("user_id", "segment_name", "lifecycle_stage", "top_interests"), "string"),
            "segment_id": "int64",
            "purchase_probability": "float64",
            "churn_probability": "float64",
            "lifetime_value": "float64",
        },
    )


def told(warehouse, *days: tuple[int, dict[str, int]]) -> list[tuple]:
    """The history after some days, as (user, from, to, segment)."""
    for day, segments in days:
        with warehouse.transaction():
            table = profile_history(warehouse.table(contracts.PROFILE_HISTORY), profiles("s", **segments), FIRST + dt.timedelta(days=day))
            warehouse.replace(contracts.PROFILE_HISTORY, table)
    rows = warehouse.connection.execute(
        "SELECT user_id, valid_from, valid_to, segment_id FROM profiles.profile_history ORDER BY 1, 2"
    ).fetchall()
    return [(user, (begin - FIRST).days, None if end is None else (end - FIRST).days, segment) for user, begin, end, segment in rows]


@pytest.mark.slow
def test_a_row_ends_when_something_changes_and_stays_open_while_nothing_does(warehouse) -> None:
    found = told(warehouse, (0, {"a": 1, "b": 1}), (1, {"a": 1, "b": 2, "c": 1}), (5, {"a": 1, "c": 1}))
    assert found == [("a", 0, None, 1), ("b", 0, 0, 1), ("b", 1, 4, 2), ("c", 1, None, 1)]


@pytest.mark.slow
def test_scoring_the_same_day_again_changes_nothing_and_a_correction_replaces_it(warehouse) -> None:
    first = told(warehouse, (0, {"a": 1}), (1, {"a": 2}))
    assert told(warehouse, (1, {"a": 2})) == first
    assert told(warehouse, (1, {"a": 1})) == [("a", 0, None, 1)]
    assert told(warehouse, (1, {"a": 3})) == [("a", 0, 0, 1), ("a", 1, None, 3)]


def test_movement_counts_who_went_where_who_is_new_and_who_is_gone(warehouse) -> None:
    told(warehouse, (0, {"a": 1, "b": 1, "x": 2}), (7, {"a": 1, "b": 2, "n": 2}))
    table = segment_movement(warehouse.table(contracts.PROFILE_HISTORY), FIRST + dt.timedelta(days=7), FIRST)
    rows = {(row.from_segment, row.to_segment): row.users for row in warehouse.frame(table).itertuples()}
    assert rows == {("s1", "s1"): 1, ("s1", "s2"): 1, ("s2", "(gone)"): 1, ("(new)", "s2"): 1}
    assert warehouse.frame(segment_movement(warehouse.table(contracts.PROFILE_HISTORY), FIRST, None)).empty


@pytest.mark.slow
def test_people_of_a_segment_that_was_given_another_name_have_not_moved(warehouse) -> None:
    told(warehouse, (0, {"a": 1, "b": 1, "c": 3}))
    later = profiles(named="renamed ", a=1, b=2)
    with warehouse.transaction():
        day = FIRST + dt.timedelta(days=7)
        warehouse.replace(contracts.PROFILE_HISTORY, profile_history(warehouse.table(contracts.PROFILE_HISTORY), later, day))
    table = segment_movement(warehouse.table(contracts.PROFILE_HISTORY), day, FIRST)
    rows = {(row.from_segment, row.to_segment): row.users for row in warehouse.frame(table).itertuples()}
    assert rows == {("renamed 1", "renamed 1"): 1, ("renamed 1", "renamed 2"): 1, ("s3", "(gone)"): 1}


def test_a_document_gives_the_evidence_for_each_statement_and_holds_no_nan() -> None:
    count = 20
    features = pd.DataFrame({column.name: np.nan for column in contracts.USER_FEATURES.columns}, index=range(count))
    features["user_id"] = [f"u{number:02d}" for number in range(count)]
    features["monetary_value"] = np.arange(count) * 10.0
    shown = pd.DataFrame({column.name: None for column in contracts.USER_PROFILES.columns}, index=range(count))
    shown = shown.assign(
        user_id=features["user_id"],
        as_of_date=pd.Timestamp("2025-09-30"),
        segment_id=1,
        segment_name="All",
        lifecycle_stage="loyal",
        monetary_value=features["monetary_value"],
        top_interests="Garden 61%, Fine Wine 20%",
        country="DE",
    )
    found = [json.loads(text, parse_constant=lambda name: 1 / 0) for text in documents(shown, features, Log())]
    assert found[19]["spending_power"] == [
        {
            "statement": "spends much",
            "evidence": {
                "feature": "monetary_value",
                "value": 190.0,
                "unit": "currency",
                "median_of_all_users": 95.0,
                "higher_than_share_of_users": 1.0,
            },
        }
    ]
    assert found[10]["spending_power"] == []
    assert found[19]["predictions"] == []
    assert [entry["statement"] for entry in found[0]["interests"]] == ["gives attention to Garden", "gives attention to Fine Wine"]
    assert found[0]["basics"]["country"] == "DE"


def test_of_who_is_likely_to_leave_it_is_not_said_that_much_is_expected() -> None:
    """What people spent before may be all that a forecast of value knows."""
    count = 20
    features = pd.DataFrame({column.name: np.nan for column in contracts.USER_FEATURES.columns}, index=range(count))
    features["user_id"] = [f"u{number:02d}" for number in range(count)]
    shown = pd.DataFrame({column.name: None for column in contracts.USER_PROFILES.columns}, index=range(count)).assign(
        user_id=features["user_id"], as_of_date=pd.Timestamp("2025-09-30"), segment_id=1, segment_name="All", lifecycle_stage="loyal"
    )
    shown["lifetime_value"] = np.arange(count) * 10.0
    for leaving, said in (
        (np.arange(count) / count, ["is likely to leave"]),
        (1 - np.arange(count) / count, ["is likely to stay", "is expected to spend much"]),
    ):
        told = json.loads(documents(shown.assign(churn_probability=leaving), features, Log())[19])["predictions"]
        assert [entry["statement"] for entry in told] == said
