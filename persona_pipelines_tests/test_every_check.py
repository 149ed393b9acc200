"""Every check that Dagster shows has been seen green and red: what it guards is broken here, and it says so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.events import checks as of_events
from persona_pipelines.features import checks as of_features
from persona_pipelines.findings import Finding, unless
from persona_pipelines.gallery import checks as of_gallery
from persona_pipelines.graph import build
from persona_pipelines.intervals import Interval
from persona_pipelines.logs import checks as of_logs
from persona_pipelines.logs.files import LogFile
from persona_pipelines.logs.loading import Loaded, Reading
from persona_pipelines.profiles import checks as of_profiles
from persona_pipelines.publication import checks as of_publication
from persona_pipelines.recommendations import checks as of_recommendations
from persona_pipelines.recommendations.promotion import PROMOTED, Decision
from persona_pipelines.segments import checks as of_segments
from persona_pipelines.serving import checks as of_serving
from persona_pipelines.settings import load_settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.checks import keeps_contract
from persona_pipelines.warehouse.connection import DUCKDB_TYPES, Warehouse
from persona_pipelines_tests.conftest import CLICKS, DAY

EXAMPLES: dict[str, Any] = {
    "string": "x",
    "int64": 1,
    "float64": 0.5,
    "timestamp": dt.datetime(2025, 9, 1, 10),
    "date": DAY,
    "boolean": True,
}


def row(contract: contracts.Table, **values: Any) -> dict[str, Any]:
    """A row that keeps a contract."""
    found = {}
    for column in contract.columns:
        value = EXAMPLES[column.type]
        if column.minimum is not None or column.maximum is not None:
            value = type(value)(column.minimum if column.minimum is not None else column.maximum)
        found[column.name] = value
    return {**found, **values}


def written(store: Warehouse, contract: contracts.Table, *rows: dict[str, Any]) -> None:
    """Rows in a table without the constraints of the contract, as a fault might leave them."""
    columns = ", ".join(f'"{column.name}" {DUCKDB_TYPES[column.type]}' for column in contract.columns)
    store.connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{contract.schema}"')
    store.connection.execute(f'DROP TABLE IF EXISTS "{contract.schema}"."{contract.name}"')
    store.connection.execute(f'CREATE TABLE "{contract.schema}"."{contract.name}" ({columns})')
    for values in rows:
        marks = ", ".join("?" for _ in contract.columns)
        store.connection.execute(
            f'INSERT INTO "{contract.schema}"."{contract.name}" VALUES ({marks})', [values[name] for name in contract.column_names]
        )


def with_references(store: Warehouse, contract: contracts.Table) -> None:
    """What a row of ``row`` refers to."""
    for schema, name, _ in contract.references.values():
        target = contracts.table(f"{schema}.{name}")
        written(store, target, row(target))


ALL = [
    *contracts.TABLES,
    contracts.raw_events("clicks"),
    contracts.raw_listing("things", "items"),
    contracts.raw_listing("people", "users"),
]
BROKEN = [
    *((contract, "key") for contract in ALL),
    *((contract, f"null {column.name}") for contract in ALL for column in contract.columns if column.required),
    *(
        (contract, f"bound {column.name}")
        for contract in ALL
        for column in contract.columns
        if column.minimum is not None or column.maximum is not None
    ),
    *((contract, f"finite {column.name}") for contract in ALL for column in contract.columns if column.type == "float64"),
    *((contract, f"reference {name}") for contract in ALL for name in contract.references),
]


@pytest.fixture(scope="module")
def shared() -> Warehouse:
    return Warehouse(None)


@pytest.mark.parametrize("contract", ALL, ids=lambda contract: contract.full_name)
def test_a_table_that_keeps_its_contract_passes(shared: Warehouse, contract: contracts.Table) -> None:
    with_references(shared, contract)
    written(shared, contract, row(contract))
    assert keeps_contract(shared, contract) == Finding(True, None, {"rows": 1})
    written(shared, contract)
    assert keeps_contract(shared, contract).passed


@pytest.mark.slow
@pytest.mark.parametrize(("contract", "rule"), BROKEN, ids=lambda value: getattr(value, "full_name", value))
def test_a_table_that_breaks_a_rule_of_its_contract_fails(shared: Warehouse, contract: contracts.Table, rule: str) -> None:
    with_references(shared, contract)
    kind, _, name = rule.partition(" ")
    good = row(contract)
    if kind == "key":
        written(shared, contract, good, good)
        expected = f"1 rows that share {', '.join(contract.key)} with another"
    elif kind == "null":
        written(shared, contract, {**good, name: None})
        expected = f"1 {name} missing"
    elif kind == "finite":
        written(shared, contract, {**good, name: float("nan")})
        expected = f"1 {name} not a finite number"
    elif kind == "bound":
        column = contract.column(name)
        beyond = column.minimum - 1 if column.minimum is not None else column.maximum + 1
        written(shared, contract, {**good, name: beyond})
        expected = f"1 {name} out of bounds"
    else:
        written(shared, contract, {**good, name: "nobody"})
        schema, target, _ = contract.references[name]
        expected = f"1 {name} that {schema}.{target} does not have"
    found = keeps_contract(shared, contract)
    assert not found.passed
    assert expected in found.words


def test_a_table_with_columns_of_another_type_fails() -> None:
    """A connection looks a table up once: what another version has written is there before it opens."""
    with Warehouse(None) as store:
        for contract in ALL:
            written(store, contract)
            first = contract.columns[0]
            store.connection.execute(f'ALTER TABLE "{contract.schema}"."{contract.name}" ALTER "{first.name}" TYPE VARCHAR[] USING NULL')
            found = keeps_contract(store, contract)
            assert not found.passed
            assert "found the columns " in found.words


@dataclass(frozen=True)
class Pair:
    """A check with what it passes and what it does not."""

    green: Callable[[Warehouse], Finding]
    red: Callable[[Warehouse], Finding]
    says: str


def quality(**values: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [{"k": 4, "silhouette": 0.3, "stability": 0.9, "chosen": True, **values}, {"silhouette": 0.9, "stability": 0.1, "chosen": False}]
    )


def predicted(error: float) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"target": "churn", "model": "boosted", "chosen": True, "calibration_error": error},
            {"target": "churn", "model": "rule", "chosen": False, "calibration_error": 0.9},
        ]
    )


def accounting(**values: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [{"source": "clicks", "day": DAY, "records_read": 10, "events": 7, "rejects": 1, "duplicates": 1, "filtered": 1, **values}]
    )


def duplicates(store: Warehouse, *differs: bool, lines: int = 10) -> Warehouse:
    written(
        store,
        contracts.DUPLICATES,
        *(
            row(contracts.DUPLICATES, day=DAY, source="clicks", source_line=number + 1, differs=other, source_file="b", kept_file="a")
            for number, other in enumerate(differs)
        ),
    )
    written(store, contracts.ACCOUNTING, row(contracts.ACCOUNTING, day=DAY, source="clicks", records_read=lines))
    return store


def money(store: Warehouse, *currencies: str) -> Warehouse:
    written(
        store,
        contracts.EVENTS,
        *(row(contracts.EVENTS, event_id=str(n), event_type="purchase", currency=name) for n, name in enumerate(currencies)),
    )
    written(store, contracts.ITEMS)
    return store


def sessions(store: Warehouse, events: int) -> Warehouse:
    written(store, contracts.EVENTS, *(row(contracts.EVENTS, event_id=str(n)) for n in range(4)))
    written(store, contracts.SESSIONS, row(contracts.SESSIONS, events=events))
    return store


def listed(store: Warehouse, *ids: str) -> Warehouse:
    written(store, contracts.EVENTS, *(row(contracts.EVENTS, event_id=str(n), user_id=f"u{n}") for n in range(4)))
    written(store, contracts.USERS, *(row(contracts.USERS, user_id=user, in_customer_list=True) for user in ids))
    return store


def of_lists(store: Warehouse, *differs: bool) -> Warehouse:
    written(
        store,
        contracts.DUPLICATES,
        *(row(contracts.DUPLICATES, source="people", source_line=n + 1, differs=other) for n, other in enumerate(differs)),
    )
    return store


def users_with(store: Warehouse, contract: contracts.Table, count: int) -> Warehouse:
    written(store, contracts.EVENTS, *(row(contracts.EVENTS, event_id=str(n), user_id=f"u{n}") for n in range(3)))
    written(store, contracts.USER_FEATURES, *(row(contracts.USER_FEATURES, user_id=f"u{n}") for n in range(3)))
    written(store, contract, *(row(contract, user_id=f"u{n}") for n in range(count)))
    return store


RAW = contracts.raw_events("clicks")


def raw(store: Warehouse, rows: int) -> Any:
    written(store, RAW, *(row(RAW, source_file="a.csv", source_line=n + 1, source_part=1) for n in range(rows)))
    return store.table(RAW)


def loaded(records: int) -> Loaded:
    return Loaded([Reading(LogFile(Path("a.csv"), "a.csv", DAY, 1, 1), records)])


def rejected(good: int, bad: int) -> of_logs.Rejects:
    frame = pd.DataFrame([{"window": "2025-09-01", "records": good + bad, "rejects": bad}])
    over = frame[frame["rejects"] > 0.05 * frame["records"]]
    return of_logs.Rejects(frame, over, "2025-09-01: 5 of 10 records rejected" if len(over) else None)


def weeks(store: Warehouse, last: int) -> Finding:
    days = [DAY + dt.timedelta(weeks=week) for week in range(5)]
    counts = [120] * 4 + [last]
    written(store, RAW)
    accounted = (row(contracts.ACCOUNTING, day=day, source="clicks", records_read=120) for day in days[:-1])
    written(store, contracts.ACCOUNTING, *accounted)
    for day, count in zip(days, counts, strict=True):
        store.connection.execute(
            f"INSERT INTO logs.clicks (day, source_file, source_line, source_part) SELECT DATE '{day}', 'f', range, 1 FROM range({count})"
        )
    return unless(of_logs.thin_days(store, "clicks", days[-1], days[-1], 0.2))


DECISION = Decision(PROMOTED, "new", "new", Interval(0.05, 0.02, 0.08), 0.0, [], "new is ahead")


def ahead(low: float) -> pd.DataFrame:
    return pd.DataFrame([{"model": "most_popular", "against": "new", "low": low}, {"model": "other", "against": "new", "low": 1.0}])


def audit(passed: bool) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"window": "test", "check": "a check", "passed": True, "found": "0", "expected": "0"},
            {"window": "validation", "check": "another", "passed": passed, "found": "3", "expected": "0"},
        ]
    )


def list_files(store: Warehouse, damaged: int) -> Warehouse:
    written(store, contracts.LIST_FILES, row(contracts.LIST_FILES, source_file="2025-09-01/000000001.jsonl", lists=7, damaged=damaged))
    return store


def shown_to(store: Warehouse, *, shadow: bool = False, click: int = 11, refusing: tuple[str, ...] = ()) -> Warehouse:
    """A list of ten o'clock with a click."""
    moment = dt.datetime(2025, 9, 1, 10)
    written(store, contracts.SERVED_LISTS, row(contracts.SERVED_LISTS, person="a", is_device=False, shadow=shadow, served_at=moment))
    first = dict.fromkeys(("first_click_at", "first_cart_at", "first_conversion_at"))
    written(store, contracts.LIST_OUTCOMES, row(contracts.LIST_OUTCOMES, **{**first, "first_click_at": moment.replace(hour=click)}))
    written(store, contracts.USERS, *(row(contracts.USERS, user_id=user, consent_personalisation=user not in refusing) for user in "ab"))
    return store


def results_of(store: Warehouse, people: int) -> Warehouse:
    written(store, contracts.LIST_RESULTS, row(contracts.LIST_RESULTS, people=people))
    return store


def purchases_by(store: Warehouse, clock: str) -> Warehouse:
    shown_to(store)
    written(store, contracts.EVENTS, row(contracts.EVENTS, source="orders", event_type="purchase"))
    written(store, contracts.CLOCKS, row(contracts.CLOCKS, source="orders", clock=clock))
    return store


CHECKS: dict[str, Pair] = {
    "share_of_rejects": Pair(
        lambda _: of_logs.share_of_rejects(rejected(99, 1), 0.05),
        lambda _: of_logs.share_of_rejects(rejected(5, 5), 0.05),
        "records rejected",
    ),
    "every_record_loaded": Pair(
        lambda store: of_logs.every_record_loaded(store, raw(store, 3), loaded(3), True),
        lambda store: of_logs.every_record_loaded(store, raw(store, 2), loaded(3), True),
        "a.csv: 3 read, 2 in the table",
    ),
    "whole_files": Pair(
        lambda _: of_logs.whole_files([]), lambda _: of_logs.whole_files(["clicks: no file for 1 days"]), "no file for 1 days"
    ),
    "usual_volume": Pair(lambda store: weeks(store, 100), lambda store: weeks(store, 6), "has 6 records, a usual Monday 120"),
    "nothing_lost": Pair(
        lambda _: of_events.nothing_lost(accounting()),
        lambda _: of_events.nothing_lost(accounting(events=6)),
        "clicks 2025-09-01: 10 read, 6 events",
    ),
    "share_of_duplicates": Pair(
        lambda store: of_events.share_of_duplicates(duplicates(store, True, lines=100), SETTINGS, DAY, DAY),
        lambda store: of_events.share_of_duplicates(duplicates(store, *[True] * 6, lines=10), SETTINGS, DAY, DAY),
        "6 of 10 records are duplicates",
    ),
    "one_id_one_event": Pair(
        lambda store: of_events.one_id_one_event(duplicates(store, False, False), DAY, DAY),
        lambda store: of_events.one_id_one_event(duplicates(store, False, True), DAY, DAY),
        "1 records have the id of another and say something else: they are left out. b, line 2, has the id 'x' of a, line 1",
    ),
    "one_currency": Pair(
        lambda store: unless(of_events.several_currencies(money(store, "EUR", "EUR"))),
        lambda store: unless(of_events.several_currencies(money(store, "EUR", "USD"))),
        "amounts are in 2 currencies",
    ),
    "events_found": Pair(
        lambda _: of_events.events_found(accounting()), lambda _: of_events.events_found(accounting(events=0)), "have no events"
    ),
    "every_event_in_a_session": Pair(
        lambda store: of_events.every_event_in_a_session(sessions(store, 4)),
        lambda store: of_events.every_event_in_a_session(sessions(store, 3)),
        "3 events are in sessions, of 4",
    ),
    "list_meets_events": Pair(
        lambda store: unless(of_events.list_that_misses_the_events(listed(store, "u0", "u1"), contracts.USERS, ["people"])),
        lambda store: unless(of_events.list_that_misses_the_events(listed(store, "u0", "U1", "U2"), contracts.USERS, ["people"])),
        "1 of the 4 users that the events name",
    ),
    "list_says_one_thing": Pair(
        lambda store: unless(of_events.records_that_differ(of_lists(store, False), ["people"], "users")),
        lambda store: unless(of_events.records_that_differ(of_lists(store, True), ["people"], "users")),
        "say different things",
    ),
    "every_user_has_features": Pair(
        lambda store: of_features.every_user_has_features(users_with(store, contracts.USER_FEATURES, 3), store.table(contracts.EVENTS)),
        lambda store: of_features.every_user_has_features(users_with(store, contracts.USER_FEATURES, 2), store.table(contracts.EVENTS)),
        "3 users have events, 2 have features",
    ),
    "segments_hold_together": Pair(
        lambda _: of_segments.hold_together(quality()),
        lambda _: of_segments.hold_together(quality(silhouette=0.1)),
        "their silhouette is 0.1, expected above 0.1",
    ),
    "segments_come_out_again": Pair(
        lambda _: of_segments.come_out_again(quality(), "why"),
        lambda _: of_segments.come_out_again(quality(stability=np.nan), "why"),
        "why",
    ),
    "no_segment_is_empty": Pair(
        lambda _: of_segments.none_is_empty(pd.DataFrame({"segment_name": ["a", "b"], "users": [3, 1]})),
        lambda _: of_segments.none_is_empty(pd.DataFrame({"segment_name": ["a", "b"], "users": [3, 0]})),
        "nobody is in b",
    ),
    "predictions_are_calibrated": Pair(
        lambda _: of_profiles.are_calibrated(predicted(0.1)),
        lambda _: of_profiles.are_calibrated(predicted(0.11)),
        "the calibration error of churn (boosted) is 0.110",
    ),
    "every_user_has_a_profile": Pair(
        lambda store: of_profiles.every_user_has_a_profile(users_with(store, contracts.USER_PROFILES, 3)),
        lambda store: of_profiles.every_user_has_a_profile(users_with(store, contracts.USER_PROFILES, 2)),
        "3 users have features, 2 a profile",
    ),
    "nothing_leaks": Pair(
        lambda _: of_recommendations.nothing_leaks(audit(True)),
        lambda _: of_recommendations.nothing_leaks(audit(False)),
        "validation window, another: found 3; expected 0",
    ),
    "gate": Pair(
        lambda _: of_recommendations.gate(DECISION, ahead(-0.1), ["most_popular"]),
        lambda _: of_recommendations.gate(DECISION, ahead(0.01), ["most_popular"]),
        "new is ahead; beaten by most_popular",
    ),
    "every_method_was_fitted": Pair(
        lambda _: of_recommendations.every_method_was_fitted({"als": "no"}, False),
        lambda _: of_recommendations.every_method_was_fitted({"als": "no"}, True),
        "als: no",
    ),
    "only_with_consent": Pair(
        lambda _: of_recommendations.only_with_consent({"a"}, {"a", "b"}),
        lambda _: of_recommendations.only_with_consent({"a", "c"}, {"a", "b"}),
        "1 users have a list and have not consented",
    ),
    "everyone_has_a_list": Pair(
        lambda _: of_recommendations.everyone_has_a_list({"a", "b"}, {"a"}),
        lambda _: of_recommendations.everyone_has_a_list({"a"}, {"a", "b"}),
        "none of the items that are left",
    ),
    "can_be_made": Pair(
        lambda _: of_recommendations.somebody_may_have_lists({"a"}, 3),
        lambda _: of_recommendations.somebody_may_have_lists(set(), 3),
        "none of 3 people has consented",
    ),
    "pages_are_whole": Pair(
        lambda _: of_gallery.pages_are_whole({"en": page_of("en", 1, 2), "zh": page_of("zh", 1, 2)}, [1, 2]),
        lambda _: of_gallery.pages_are_whole({"en": page_of("en", 1, 2), "zh": page_of("zh", 1)}, [1, 2]),
        "zh: no card of segment 2",
    ),
    "lists_are_whole": Pair(
        lambda store: of_serving.lists_are_whole(list_files(store, 0)),
        lambda store: of_serving.lists_are_whole(list_files(store, 2)),
        "2025-09-01/000000001.jsonl 2",
    ),
    "only_lists_that_were_seen": Pair(
        lambda store: of_serving.only_lists_that_were_seen(shown_to(store)),
        lambda store: of_serving.only_lists_that_were_seen(shown_to(store, shadow=True, click=9)),
        "1 rows are of lists that no person saw; 1 have an outcome before their list",
    ),
    "no_outcomes_without_consent": Pair(
        lambda store: of_serving.no_outcomes_without_consent(shown_to(store, refusing=("b",))),
        lambda store: of_serving.no_outcomes_without_consent(shown_to(store, refusing=("a",))),
        "1 users have outcomes and have not consented",
    ),
    "outcomes_have_times": Pair(
        lambda store: of_serving.outcomes_have_times(purchases_by(store, "moment")),
        lambda store: of_serving.outcomes_have_times(purchases_by(store, "day")),
        "count for no list: 1 of orders",
    ),
    "results_are_of_enough_people": Pair(
        lambda store: of_serving.results_are_of_enough_people(results_of(store, 20), SETTINGS),
        lambda store: of_serving.results_are_of_enough_people(results_of(store, 19), SETTINGS),
        "1 rows are of fewer than 20 people",
    ),
    "nothing_was_lost": Pair(
        lambda _: of_publication.shrunk({"events.events": 1000}, {"events.events": 900}, 0.8),
        lambda _: of_publication.shrunk({"events.events": 1000}, {"events.events": 9}, 0.8),
        "events.events has 9 rows, the published copy 1,000",
    ),
}
SETTINGS: Any = None


def page_of(language: str, *segments: int) -> str:
    return f'<html lang="{language}">' + "".join(f'<article id="segment-{segment}"></article>' for segment in segments)


@pytest.fixture(autouse=True)
def _with_settings(configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "SETTINGS", configure(CLICKS))


NUMBERS: dict[str, tuple[str, ...]] = {
    "share_of_rejects": ("highest", "limit"),
    "every_record_loaded": ("files",),
    "whole_files": ("warnings",),
    "nothing_lost": ("duplicates", "events", "filtered", "records_read", "rejects"),
    "share_of_duplicates": ("days_above", "limit"),
    "one_id_one_event": ("records",),
    "events_found": ("events",),
    "every_event_in_a_session": ("events", "events_in_sessions"),
    "every_user_has_features": ("rows", "users_with_events"),
    "segments_hold_together": ("silhouette",),
    "segments_come_out_again": ("stability",),
    "no_segment_is_empty": ("empty",),
    "predictions_are_calibrated": ("largest_calibration_error",),
    "every_user_has_a_profile": ("profiles", "users_with_features"),
    "nothing_leaks": ("checks",),
    "pages_are_whole": ("cards", "pages"),
    "gate": ("advantage", "challenger", "champion", "guardrails", "high", "judged_on", "low", "margin", "outcome", "protocol"),
    "every_method_was_fitted": ("left_out",),
    "only_with_consent": ("consenting_users", "users_with_a_list_without_consent"),
    "everyone_has_a_list": ("users_without_a_list",),
    "lists_are_whole": ("damaged", "lists"),
    "only_lists_that_were_seen": ("rows_not_seen", "rows_with_early_outcomes"),
    "no_outcomes_without_consent": ("users_without_consent",),
    "outcomes_have_times": ("events_without_time",),
    "results_are_of_enough_people": ("rows", "rows_of_too_few"),
    "nothing_was_lost": ("events.events", "events.items", "events.users"),
}
"""What Dagster draws over time of a check; another name would break the line."""
TOLD_ALWAYS = ("segments_come_out_again", "gate", "every_method_was_fitted")
"""Checks that say how it stands where all is well, too."""


def test_one_segment_of_everybody_is_told_once_and_is_neither_apart_from_others_nor_unsure() -> None:
    alone = quality(k=1, silhouette=np.nan, stability=np.nan)
    assert of_segments.several(alone, "9 users are too few").words == "everybody is in one segment: 9 users are too few"
    assert of_segments.several(quality(), "why").passed
    assert of_segments.hold_together(alone).passed
    assert of_segments.come_out_again(alone, "9 users are too few").passed


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_passes_and_fails_and_says_why(name: str, warehouse: Warehouse) -> None:
    pair = CHECKS[name]
    passed = pair.green(warehouse)
    assert passed.passed
    assert not passed.words or name in TOLD_ALWAYS
    found = pair.red(warehouse)
    assert not found.passed
    assert tuple(sorted(passed.numbers)) == tuple(sorted(found.numbers)) == NUMBERS.get(name, ())
    assert pair.says in (found.words or "")


def test_a_gate_with_a_broken_guardrail_and_targets_without_a_prediction_are_told() -> None:
    broken = replace(DECISION, broken=["its coverage is low"])
    assert not of_recommendations.gate(broken, ahead(-0.1), ["most_popular"]).passed
    assert of_profiles.every_target_is_predicted({}).passed
    found = of_profiles.every_target_is_predicted({"churn": "too few", "spend": "too few"})
    assert (found.passed, found.words) == (False, "no prediction of churn, spend: too few")


def test_every_check_that_dagster_shows_is_here() -> None:
    graph = build(load_settings(Path(__file__).parents[1] / "data" / "persona.yaml")).resolve_asset_graph()
    assert {key.name for key in graph.asset_check_keys} == {*CHECKS, "keeps_contract"}
