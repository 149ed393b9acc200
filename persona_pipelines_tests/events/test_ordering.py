"""The order of users comes from the logs: not from pseudonyms, not from the order of rows, and later events leave it as it was."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis
import ibis.expr.types as ir
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.events.listings import refresh_users
from persona_pipelines.events.ordering import PLACE, in_order, user_order
from persona_pipelines.events.refresh import refresh_events
from persona_pipelines.logs.loading import load_events, load_listing
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.checks import keeps_contract
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines_tests.conftest import CLICKS, DAY, HEADER, KEY, at, events_table, law, rows, write

OTHER_KEY = b"o" * 32

happened = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.integers(0, 3), st.sampled_from(["app", "web"]), st.sampled_from(["f1", "f2"])),
    min_size=1,
    max_size=12,
)
listing = st.lists(st.sampled_from("efghi"), unique=True)


def event(number: int, user: str | None, hour: float, source: str = "app", file: str = "f") -> dict[str, Any]:
    return {
        "user_id": user,
        "timestamp": at(hour),
        "source": source,
        "source_file": file,
        "source_line": number + 1,
        "event_type": "page_view",
    }


def listed(*users: str) -> ir.Table:
    """Users of a list, a line each."""
    frame = pd.DataFrame(
        {"user_id": users, "source": "customers", "source_file": "list", "source_line": range(1, len(users) + 1), "source_part": 1}
    )
    kinds = {"user_id": "string", **{name: contracts.EVENTS.column(name).type for name in PLACE}}
    return from_frame(frame).cast(kinds) if users else ibis.memtable([], schema=ibis.schema(kinds))


def ordered(warehouse: Warehouse, events: list[dict[str, Any]], in_list: ir.Table) -> list[str]:
    found = user_order(in_list, events_table(warehouse, *events))
    return [user for user, _ in warehouse.tuples(found.order_by("user_number"))]


def test_users_stand_in_the_order_of_their_first_event_and_then_of_the_lists(warehouse: Warehouse) -> None:
    events = [
        event(0, "late", 9),
        event(1, "late", 8),
        event(2, "early", 3),
        event(3, "same moment, second source", 5, "web"),
        event(9, "same moment, later line", 5, "app"),
        event(5, "same moment, second file", 5, "app", "g"),
        event(6, "same moment, earlier line", 5, "app"),
        event(7, None, 0),
    ]
    assert ordered(warehouse, events, listed("of the list", "late", "a later line")) == [
        "early",
        "same moment, earlier line",
        "same moment, later line",
        "same moment, second file",
        "same moment, second source",
        "late",
        "of the list",
        "a later line",
    ]


@pytest.mark.slow
@law(40)
@given(told=happened, people=listing, data=st.data())
def test_the_order_is_the_same_under_another_key_and_for_shuffled_rows(told, people, data) -> None:
    def people_in_order(key: bytes, shuffled: bool) -> list[str]:
        names = {user: pseudonym(user, key) for user in "abcdefghi"}
        events = [event(number, names[user], hour, source, file) for number, (user, hour, source, file) in enumerate(told)]
        with Warehouse(None, KEY) as store:
            mixed = data.draw(st.permutations(events)) if shuffled else events
            found = user_order(listed(*(names[user] for user in people)), events_table(store, *mixed))
            order = store.tuples(found.order_by("user_number"))
        users = {name: user for user, name in names.items()}
        assert [number for _, number in order] == list(range(len(order)))
        return [users[name] for name, _ in order]

    assert people_in_order(KEY, False) == people_in_order(OTHER_KEY, True)


@pytest.mark.slow
@law(30)
@given(told=happened, until=st.integers(1, 4))
def test_users_of_a_past_day_stand_as_they_stood_then(told, until) -> None:
    events = [event(number, user, hour, source, file) for number, (user, hour, source, file) in enumerate(told)]
    then = [entry for entry in events if entry["timestamp"] < at(until)]
    with Warehouse(None, KEY) as store:
        now = ordered(store, events, listed())
        assert now[: len({entry["user_id"] for entry in then})] == (ordered(store, then, listed()) if then else [])


def test_rows_are_read_by_user_and_then_by_other_columns(warehouse: Warehouse) -> None:
    warehouse.ensure(contracts.USER_ORDER)
    warehouse.append(contracts.USER_ORDER, from_frame(pd.DataFrame({"user_id": ["z", "a"], "user_number": [0, 1]})))
    table = from_frame(pd.DataFrame({"user_id": ["a", "new", "z", "z", "also new"], "category": ["x", "x", "y", "x", "x"]}))
    found = in_order(warehouse, table, "category")
    assert found[["user_id", "category"]].apply(tuple, axis=1).tolist() == [
        ("z", "x"),
        ("z", "y"),
        ("a", "x"),
        ("also new", "x"),
        ("new", "x"),
    ]
    assert found["user_number"].tolist()[:3] == [0, 0, 1]


@pytest.mark.slow
def test_days_one_by_one_give_the_order_of_all_at_once(configure, tmp_path) -> None:
    customers = {"name": "customers", "kind": "users", "path": "customers.csv", "format": "csv", "fields": {"user_id": "id"}}
    write(tmp_path, "customers.csv", "id", "listed", "b", "a")
    for day, users in enumerate(["ba", "ac", "dbc"]):
        date = DAY + dt.timedelta(days=day)
        lines = [f"{day}{user},{date}T10:0{place}:00Z,page_view,{user},,,,1000" for place, user in enumerate(users)]
        write(tmp_path, f"clicks/{date}.csv", HEADER, *lines)
    settings = configure(CLICKS, customers)
    days = [DAY + dt.timedelta(days=day) for day in range(3)]
    orders = []
    for pieces in ([(days[0], days[2])], [(days[2], days[2]), (days[0], days[0]), (days[1], days[1])]):
        with Warehouse(None, KEY) as store:
            for first, last in pieces:
                load_events(store, settings.sources[0], settings, first, last)
                load_listing(store, settings.sources[1], settings)
                refresh_events(store, settings, first, last)
                refresh_users(store, settings)
            orders.append(rows(store, "SELECT user_id FROM events.user_order ORDER BY user_number"))
            assert keeps_contract(store, contracts.USER_ORDER).passed
            assert store.rows(contracts.USER_ORDER) == store.rows(contracts.USERS)
    assert orders == [[(pseudonym(user, KEY),) for user in ("b", "a", "c", "d", "listed")]] * 2
