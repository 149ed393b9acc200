"""What came of lists: each event counts once, for the last list that had shown its item; and results are of enough people."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.serving import outcomes as counting
from persona_pipelines.serving.exposures import exposed
from persona_pipelines.serving.outcomes import GROUP, OUTCOME_TYPES, of_moments, outcomes, refresh_outcomes, results, seen, with_intervals
from persona_pipelines.vocabulary import DAY as BY_DAY
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.checks import keeps_contract
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import CLICKS, at, law
from persona_pipelines_tests.serving.shop import experiment
from persona_pipelines_tests.test_every_check import row, written

HOURS = 24.0


def served(list_id: str, hour: float, *items: str, **more: Any) -> list[dict[str, Any]]:
    """The rows of a list of the person ``ann``."""
    usual = {"person": "ann", "is_device": False, "shadow": False, "slot": None, "experiment": None, "variant": None, "propensity": 1.0}
    return [
        row(contracts.SERVED_LISTS, list_id=list_id, position=place, item_id=item, served_at=at(hour), **{**usual, **more})
        for place, item in enumerate(items, 1)
    ]


def event(number: int, hour: float, item: str | None, kind: str = "click", **more: Any) -> dict[str, Any]:
    usual = {"user_id": "ann", "anonymous_id": None, "value": None, "source": "clicks"}
    return row(contracts.EVENTS, event_id=f"e{number}", timestamp=at(hour), item_id=item, event_type=kind, **{**usual, **more})


END = event(999, 1000, None, "page_view", user_id=None)
"""An event long after all lists: whatever might still come has come."""


def tables(store: Warehouse, lists: list[dict[str, Any]], events: list[dict[str, Any]], *refusing: str, clock: str = "moment") -> None:
    written(store, contracts.SERVED_LISTS, *lists)
    written(store, contracts.EVENTS, *events, END)
    written(
        store, contracts.CLOCKS, row(contracts.CLOCKS, source="orders", clock=clock), row(contracts.CLOCKS, source="clicks", clock="moment")
    )
    written(
        store,
        contracts.USERS,
        *(row(contracts.USERS, user_id=user, consent_personalisation=user not in refusing) for user in ("ann", "bob")),
    )
    written(store, contracts.USER_SEGMENTS, row(contracts.USER_SEGMENTS, user_id="ann", segment_name="Regulars"))


def found(store: Warehouse) -> dict[tuple[str, int], tuple[bool, bool, bool, float]]:
    table = outcomes(seen(store), of_moments(store), HOURS)
    return {
        (name, place): tuple(rest)
        for name, place, *rest in store.tuples(table.select("list_id", "position", "clicked", "added_to_cart", "converted", "revenue"))
    }


NOTHING = (False, False, False, 0.0)


def test_what_a_person_does_with_an_item_counts_for_the_last_list_that_showed_it(warehouse: Warehouse) -> None:
    tables(
        warehouse,
        [*served("one", 1, "a", "b"), *served("two", 2, "b", "c"), *served("three", 3, "a")],
        [event(1, 2.5, "a"), event(2, 2.6, "b", "item_view"), event(3, 2.7, "b", "add_to_cart"), event(4, 4, "b", "purchase", value=12.5)],
    )
    assert found(warehouse) == {
        ("one", 1): (True, False, False, 0.0),
        ("one", 2): NOTHING,
        ("two", 1): (True, True, True, 12.5),
        ("two", 2): NOTHING,
        ("three", 1): NOTHING,
    }


def test_first_times_and_sums_are_of_all_events_of_the_row(warehouse: Warehouse) -> None:
    bought = [event(n, 2 + n, "a", "purchase", value=0.1) for n in range(3)]
    tables(warehouse, served("one", 1, "a"), [event(8, 1.7, "a"), event(9, 1.5, "a"), *bought])
    table = outcomes(seen(warehouse), of_moments(warehouse), HOURS)
    assert warehouse.row(table.select("first_click_at", "first_cart_at", "first_conversion_at", "revenue")) == (at(1.5), None, at(2), 0.3)


@pytest.mark.parametrize(("hour", "counts"), [(0.99, False), (1, True), (25, True), (25.01, False)])
def test_only_what_follows_within_the_hours_counts(warehouse: Warehouse, hour: float, counts: bool) -> None:
    tables(warehouse, served("one", 1, "a"), [event(1, hour, "a")])
    assert found(warehouse)["one", 1][0] == counts


def test_other_people_other_items_and_other_acts_count_for_nothing(warehouse: Warehouse) -> None:
    others = [
        event(1, 2, "a", user_id="bob"),
        event(2, 2, "z"),
        event(3, 2, "a", "impression"),
        event(4, 2, None),
        event(5, 2, "a", "refund", value=5.0),
    ]
    tables(warehouse, served("one", 1, "a"), others)
    assert found(warehouse) == {("one", 1): NOTHING}


def test_lists_that_nobody_saw_or_that_are_for_all_have_no_outcomes(warehouse: Warehouse) -> None:
    """A shadow list takes nothing from the one that was shown, though it came later."""
    lists = [*served("one", 1, "a"), *served("shadow", 1.5, "a", shadow=True), *served("all", 1.6, "a", person=None)]
    tables(warehouse, lists, [event(1, 2, "a")])
    assert found(warehouse) == {("one", 1): (True, False, False, 0.0)}


def test_an_event_of_user_and_device_counts_once_for_the_later_of_their_lists(warehouse: Warehouse) -> None:
    lists = [*served("of_user", 1, "a"), *served("of_device", 2, "a", person="phone", is_device=True)]
    tables(
        warehouse,
        lists,
        [event(1, 3, "a", anonymous_id="phone"), event(2, 1.5, "a", anonymous_id="phone"), event(3, 3, "a", user_id="phone")],
    )
    assert found(warehouse) == {("of_user", 1): (True, False, False, 0.0), ("of_device", 1): (True, False, False, 0.0)}
    table = outcomes(seen(warehouse), of_moments(warehouse), HOURS)
    assert dict(warehouse.tuples(table.select("list_id", "first_click_at"))) == {"of_user": at(1.5), "of_device": at(3)}


def test_who_has_said_no_since_has_no_outcomes(warehouse: Warehouse) -> None:
    tables(warehouse, [*served("one", 1, "a"), *served("two", 1, "a", person="bob")], [event(1, 2, "a")], "ann")
    assert set(found(warehouse)) == {("two", 1)}


def test_what_is_known_of_its_day_alone_counts_for_no_list(warehouse: Warehouse) -> None:
    tables(warehouse, served("one", 1, "a"), [event(1, 2, "a", "purchase", value=9.0, source="orders")], clock=BY_DAY)
    assert found(warehouse) == {("one", 1): NOTHING}


def test_a_row_is_complete_when_its_hours_are_over(warehouse: Warehouse) -> None:
    tables(warehouse, [*served("old", 975, "a"), *served("new", 977, "a")], [])
    table = outcomes(seen(warehouse), of_moments(warehouse), HOURS)
    assert dict(warehouse.tuples(table.select("list_id", "complete"))) == {"old": True, "new": False}


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Lists and events of two people and a device, with many at the same moments."""
    lists, events = [], []
    for number in range(draw(st.integers(0, 8))):
        person = draw(st.sampled_from(["ann", "bob", "phone", None]))
        items = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True))
        more = {"person": person, "is_device": person == "phone", "shadow": draw(st.booleans()) and draw(st.booleans())}
        lists += served(f"l{number}", draw(st.integers(0, 6)), *items, **more)
    for number in range(draw(st.integers(0, 12))):
        who = {"user_id": draw(st.sampled_from(["ann", "bob", None])), "anonymous_id": draw(st.sampled_from(["phone", None]))}
        kind, item = draw(st.sampled_from([*OUTCOME_TYPES, "search"])), draw(st.sampled_from(["a", "b", None]))
        events.append(
            event(number, draw(st.sampled_from([0, 1, 2.5, 6, 29])), item, kind, value=draw(st.sampled_from([None, 1.25])), **who)
        )
    return lists, events


@law(150)
@given(histories())
def test_attribution_is_that_of_a_loop_over_events(history: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    lists, events = history
    shown = [each for each in lists if each["person"] and not each["shadow"]]
    expected: dict[tuple[str, int], list[Any]] = {(each["list_id"], each["position"]): [False, False, False, 0.0] for each in shown}
    for act in events:
        if act["event_type"] not in OUTCOME_TYPES:
            continue
        fitting = [
            each
            for each in shown
            if each["item_id"] == act["item_id"]
            and each["person"] == (act["anonymous_id"] if each["is_device"] else act["user_id"])
            and each["served_at"] <= act["timestamp"] <= each["served_at"] + dt.timedelta(hours=HOURS)
        ]
        if not fitting:
            continue
        newest = max(each["served_at"] for each in fitting)
        last = min((each["list_id"], each["position"]) for each in fitting if each["served_at"] == newest)
        kinds = (counting.CLICK_TYPES, counting.CART_TYPES, SPENDING_TYPES)
        expected[last][:3] = [before or act["event_type"] in types for before, types in zip(expected[last], kinds, strict=False)]
        if act["event_type"] in SPENDING_TYPES:
            expected[last][3] += act["value"] or 0.0
    with Warehouse(None) as store:
        tables(store, lists, events)
        assert found(store) == {place: tuple(values) for place, values in expected.items()}


def shop(store: Warehouse, people: int = 40) -> None:
    """``people`` with two lists each; every third clicks the first item of the first, every sixth buys it for 5."""
    names = [f"p{number:02d}" for number in range(people)]
    lists = [
        each
        for number, name in enumerate(names)
        for which in (0, 1)
        for each in served(f"{name}-{which}", 1 + 2 * which, "a", "b", person=name, slot="home" if number % 2 else None)
    ]
    acts = [event(number, 2, "a", user_id=name) for number, name in enumerate(names) if number % 3 == 0]
    acts += [event(100 + number, 2.5, "a", "purchase", user_id=name, value=5.0) for number, name in enumerate(names) if number % 6 == 0]
    tables(store, lists, acts)
    segments = (row(contracts.USER_SEGMENTS, user_id=name, segment_name="Regulars") for name in names[:20])
    written(store, contracts.USER_SEGMENTS, *segments)


def test_results_are_of_all_lists_and_by_slot_segment_and_position(warehouse: Warehouse, configure) -> None:
    shop(warehouse)
    settings = configure(CLICKS, segments={"minimum_segment_size": 20})
    refresh_outcomes(warehouse, settings)
    table = warehouse.table(contracts.LIST_RESULTS)
    told = {
        (dimension, value): tuple(rest)
        for dimension, value, *rest in warehouse.tuples(
            table.select("dimension", "value", "people", "lists", "clicks", "conversions", "revenue", "click_rate", "revenue_per_list")
        )
    }
    assert told["all", "all"] == (40, 80, 14, 7, 35.0, 14 / 80, 35 / 80)
    assert told["slot", "home"] == (20, 40, 7, 0, 0.0, 7 / 40, 0.0)
    assert told["slot", "none"][:4] == (20, 40, 7, 7)
    assert told["segment", "Regulars"][:3] == (20, 40, 7)
    assert told["position", "1"] == told["all", "all"]
    assert told["position", "2"][:5] == (40, 80, 0, 0, 0.0)
    for contract in (contracts.LIST_OUTCOMES, contracts.LIST_RESULTS):
        assert keeps_contract(warehouse, contract).passed, contract.name


def test_results_of_too_few_people_are_not_told(warehouse: Warehouse, configure) -> None:
    shop(warehouse)
    refresh_outcomes(warehouse, configure(CLICKS, segments={"minimum_segment_size": 21}))
    table = warehouse.table(contracts.LIST_RESULTS)
    assert {row[0] for row in warehouse.tuples(table.select("dimension"))} == {"all", "position"}


def test_lists_whose_hours_are_not_over_are_in_no_rate(warehouse: Warehouse, configure) -> None:
    shop(warehouse)
    warehouse.connection.execute("UPDATE serving.served_lists SET served_at = ? WHERE list_id LIKE '%-1'", [at(990)])
    refresh_outcomes(warehouse, configure(CLICKS, segments={"minimum_segment_size": 20}))
    assert warehouse.value(warehouse.table(contracts.LIST_RESULTS).lists.max()) == 40


def test_intervals_are_those_of_a_bootstrap_over_people(warehouse: Warehouse) -> None:
    """Bounds by sums in the engine, against 4,000 draws of people in NumPy; a bootstrap over lists would be far narrower."""
    chance = np.random.default_rng(3)
    lists = 1 + chance.poisson(4, 500)
    clicks = chance.binomial(lists, chance.beta(0.4, 1.6, 500))
    sums = {"lists": lists, "clicks": clicks, "conversions": clicks, "revenue": clicks * 2.5}
    known: dict[str, Any] = dict.fromkeys(GROUP, "x") | {"people": 500} | {name: float(values.sum()) for name, values in sums.items()}
    known |= {f"{name}_squares": float((values.astype(float) ** 2).sum()) for name, values in sums.items()}
    known |= {f"{name}_products": float((values * lists).sum()) for name, values in sums.items() if name != "lists"}
    (told,) = with_intervals(pd.DataFrame([known]), 20).to_dict("records")
    drawn = chance.integers(0, 500, (4_000, 500))
    rates = clicks[drawn].sum(axis=1) / lists[drawn].sum(axis=1)
    low, high = np.quantile(rates, [0.025, 0.975])
    assert told["click_rate_low"] == pytest.approx(low, abs=0.002)
    assert told["click_rate_high"] == pytest.approx(high, abs=0.002)
    assert (told["revenue_per_list_low"], told["revenue_per_list_high"]) == pytest.approx((2.5 * low, 2.5 * high), abs=0.005)
    unclustered = 2 * 1.96 * (rates.mean() * (1 - rates.mean()) / lists.sum()) ** 0.5
    assert high - low > 1.5 * unclustered


def test_sums_of_the_engine_are_those_of_people(warehouse: Warehouse) -> None:
    shop(warehouse)
    warehouse.connection.execute("UPDATE serving.served_lists SET person = 'p00' WHERE person = 'p01'")
    shown = warehouse.keep("seen", seen(warehouse))
    kept = warehouse.keep("outcomes", outcomes(shown, of_moments(warehouse), HOURS))
    frame = warehouse.frame(results(shown, kept, warehouse.table(contracts.USER_SEGMENTS)))
    (whole,) = frame[frame["dimension"] == "all"].to_dict("records")
    assert (whole["people"], whole["lists"], whole["lists_squares"]) == (39, 80, 38 * 4 + 16)
    assert (whole["clicks_squares"], whole["clicks_products"]) == (13 + 1, 2 * 13 + 4)
    assert (whole["revenue_squares"], whole["revenue_products"]) == (7 * 25, 5 * (2 * 6 + 4))


def test_exposed_people_have_what_they_did_from_their_first_list_on(warehouse: Warehouse) -> None:
    bolder = {"experiment": "bolder", "variant": "bold"}
    plain = {"experiment": "bolder", "variant": "control"}
    lists = [
        *served("one", 2, "a", "b", **bolder),
        *served("two", 5, "a", **bolder),
        *served("other", 1, "a"),
        *served("of_bob", 3, "a", person="bob", **plain),
        *served("of_carl", 3, "a", person="carl", **plain),
        *served("of_carl_too", 4, "a", person="carl", **bolder),
        *served("late", 400, "a", person="dora", **plain),
    ]
    acts = [
        event(1, 1.5, "z", "purchase", value=100.0),
        event(2, 3, "a"),
        event(3, 4, "b", "purchase", value=7.0),
        event(4, 6, "z", "purchase", value=20.0),
        event(5, 300, "z", "purchase", value=50.0),
    ]
    tables(warehouse, lists, acts)
    found = exposed(warehouse, HOURS, at(0), at(200), experiment(started=at(0)))
    assert found.totals.to_dict("records") == [
        {"variant": "bold", "lists": 2, "clicks": 1, "conversions": 1, "list_revenue": 7.0, "bought": 1, "revenue": 27.0},
        {"variant": "control", "lists": 1, "clicks": 0, "conversions": 0, "list_revenue": 0.0, "bought": 0, "revenue": 0.0},
    ]
    assert (found.in_several, found.until) == (1, at(1000))
    everyone = exposed(warehouse, HOURS, at(0), at(200))
    assert (len(everyone.totals), everyone.in_several, everyone.totals["lists"].sum()) == (3, 0, 6)
