"""What a log does not hold is null: for every feature, whatever is missing; and words follow what the log is a log of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import ibis
import pandas as pd
import pytest

from persona_pipelines.features import support, users
from persona_pipelines.features.asof import features_as_of, tables_as_of
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.checks import keeps_contract
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines.warehouse.described import FEATURES, Log
from persona_pipelines_tests.conftest import DAY, at, events_table, ingested, write

SHOWING: dict[str, dict] = {
    "acts": {"event_type": "login"},
    "visits": {"event_type": "item_list_view"},
    "attention": {"event_type": "play", "dwell_ms": 5000, "attention_ms": 5000},
    "purchases": {"event_type": "booking"},
    "money": {"event_type": "refund", "value": 4.0},
    "items": {"event_type": "interaction", "item_id": "bare"},
    "categories": {"event_type": "interaction", "item_id": "sorted"},
    "prices": {"event_type": "interaction", "item_id": "paid"},
    "list_prices": {"event_type": "interaction", "item_id": "listed"},
    "devices": {"event_type": "interaction", "device": "mobile"},
    "channels": {"event_type": "impression", "channel": "email"},
    "scroll": {"event_type": "interaction", "scroll_pct": 4.0},
    "messages": {"event_type": "impression"},
    "clicks": {"event_type": "click"},
    "searches": {"event_type": "search"},
    "social": {"event_type": "like"},
    "follows": {"event_type": "follow", "target_user_id": "v"},
    "ratings": {"event_type": "rating"},
    "rating_values": {"event_type": "rating", "value": 4.0},
}
"""An event that shows each evidence."""
CATALOGUE = [("bare", None, None, None), ("sorted", "Garden", None, None), ("paid", None, 3.0, None), ("listed", None, 3.0, 3.0)]
CATALOGUE += [(f"more{number}", None, 4.0 + number, None) for number in range(support.RANKED)]
SOURCE = {
    "name": "test",
    "path": "log.csv",
    "format": "csv",
    "fields": {"timestamp": "t", "user_id": "u", "event_type": {"value": "login"}},
}


def put(store: Warehouse, contract: contracts.Table, rows: list[dict]) -> None:
    """Write rows of a table of which the other columns are null."""
    table = from_frame(pd.DataFrame(rows, columns=contract.column_names).astype(object))
    store.replace(contract, table.select(**{column.name: table[column.name].cast(column.type) for column in contract.columns}))


def supported(store: Warehouse, settings: Settings, *events: dict, clock: str = "moment") -> pd.DataFrame:
    """The support that a log of such events has, by feature, and the features made with it, whose absent columns are checked to be null."""
    filled = [{"user_id": "u", "timestamp": at(1 + number), "source": "test", **event} for number, event in enumerate(events)]
    known = users.known_until(events_table(store, *filled), DAY)
    columns = ["item_id", "category", "price", "listed_price"]
    put(store, contracts.ITEMS, [dict(zip(columns, row, strict=True), in_catalogue=True) for row in CATALOGUE])
    put(store, contracts.CLOCKS, [clocked(source, clock) for source in sorted({event["source"] for event in filled})])
    with store.scratch():
        found = support.feature_support(store, settings, known, store.table(contracts.ITEMS))
        store.replace(contracts.FEATURE_SUPPORT, from_frame(found))
        assert keeps_contract(store, contracts.FEATURE_SUPPORT).passed
        _, features = tables_as_of(store, store.keep("known", known), "UTC", support.stored_support(store))
        made = store.frame(features)
    absent = found[found["support"] == "absent"]["feature"].tolist()
    assert made[absent].isna().all().all()
    return found.set_index("feature")


def clocked(source: str, clock: str) -> dict:
    return {"source": source, "clock": clock, "events": 1, "with_time_of_day": 0}


def needing(*evidence: str) -> set[str]:
    """Features that need nothing else."""
    return {name for name, feature in FEATURES.items() if set(feature.needs) <= set(evidence)}


@pytest.fixture
def settings(configure: Callable[..., Settings]) -> Settings:
    return configure(SOURCE)


@pytest.mark.slow
@pytest.mark.parametrize("evidence", list(SHOWING))
def test_every_evidence_supports_what_needs_it_alone(warehouse, settings, evidence: str) -> None:
    shown = SHOWING[evidence]
    table = supported(warehouse, settings, {"event_type": "impression"}, shown)
    present = set(table[table["support"] != "absent"].index)
    assert needing(evidence, "date", "time_of_day") <= present | needing("date", "time_of_day")


@pytest.mark.slow
def test_nothing_is_supported_without_its_evidence(warehouse, settings) -> None:
    """A message that was shown is evidence of messages alone."""
    table = supported(warehouse, settings, {"event_type": "impression"})
    present = set(table[table["support"] != "absent"].index)
    for evidence in set(SHOWING) - {"messages"}:
        assert not {name for name, feature in FEATURES.items() if evidence in feature.needs} & present, evidence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("clock", "without", "log"),
    [
        ("moment", set(), Log()),
        ("day", {"time_of_day"}, Log(visits=False, people="customers", interest="attention")),
        ("order", {"time_of_day", "date"}, Log(visits=False, dated=False, people="customers", interest="attention")),
    ],
)
def test_a_clock_supports_no_more_than_it_tells(warehouse, settings, clock: str, without: set[str], log: Log) -> None:
    table = supported(
        warehouse, settings, *(event | {"timestamp": at(2 + number)} for number, event in enumerate(SHOWING.values())), clock=clock
    )
    absent = set(table[table["support"] == "absent"].index)
    needs_visits = {name for name, feature in FEATURES.items() if "visits" in feature.needs}
    expected = {name for name, feature in FEATURES.items() if set(feature.needs) & {*without, support.WEEKS}}
    expected |= needs_visits if without else set()
    assert absent == expected
    assert support.stored_support(warehouse).log == log
    if clock == "order":
        assert table.loc["recency_days", "evidence"] == "the log has no clock: the order of the records stands for time"
    if clock == "day":
        assert table.loc["night_share", "evidence"] == "the times of the log are days alone"


@pytest.mark.slow
def test_support_says_from_which_sources_for_how_many_and_how(warehouse, settings) -> None:
    table = supported(
        warehouse,
        settings,
        {"event_type": "page_view", "attention_ms": 4000, "source": "web"},
        {"event_type": "page_view", "attention_ms": 4000, "dwell_ms": 4000, "source": "web", "device": "mobile"},
        {"event_type": "purchase", "value": 3.0, "user_id": "v", "source": "orders"},
        {"event_type": "purchase", "value": None, "user_id": "v", "source": "orders", "item_id": "paid"},
    )
    assert table.loc["purchases", ["support", "sources", "events", "events_share", "users", "users_share"]].tolist() == [
        "measured",
        "orders",
        2,
        0.5,
        1,
        0.5,
    ]
    assert table.loc["monetary_value", ["events", "evidence"]].tolist() == [1, "as logged: purchases or bookings with an amount"]
    assert table.loc["attention_ms_per_session", "support"] == "inferred"
    assert (
        table.loc["attention_minutes_per_week", "evidence"]
        == "the time to the visitor's next event in the session; 50% of events as logged"
    )
    assert table.loc["mobile_share", ["support", "evidence"]].tolist() == ["inferred", "the user agent of web"]
    assert table.loc["price_level", ["support", "evidence"]].tolist() == ["inferred", "the median paid per piece"]
    assert table.loc["searches", ["support", "sources", "users"]].fillna("").tolist() == ["absent", "", 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kinds", "people", "interest"),
    [
        (["purchase"] * 10, "customers", "purchases"),
        (["purchase"] * 9 + ["rating"], "customers", "purchases"),
        (["purchase"] * 8 + ["rating"] * 2, "users", "activity"),
        (["rating"] * 10, "raters", "ratings"),
        (["item_view"] * 10, "visitors", "activity"),
        (["interaction"] * 10, "users", "activity"),
    ],
)
def test_people_are_called_by_what_nearly_all_of_them_do(warehouse, settings, kinds: list[str], people: str, interest: str) -> None:
    supported(
        warehouse, settings, *({"event_type": kind, "user_id": f"u{number}", "item_id": "sorted"} for number, kind in enumerate(kinds))
    )
    log = support.stored_support(warehouse).log
    assert (log.people, log.interest, log.visits) == (people, interest, people == "visitors")


@pytest.mark.slow
def test_events_of_a_source_without_a_clock_are_counted_and_say_nothing_of_when(warehouse, settings) -> None:
    orders = [("purchase", "2000-01-01", "orders"), ("purchase", "2000-01-01", "orders")]
    log = [
        {"event_type": kind, "timestamp": dt.datetime.fromisoformat(day), "source": source, "user_id": "u"} for kind, day, source in orders
    ]
    log.append({"event_type": "item_view", "timestamp": at(3), "source": "web", "user_id": "u"})
    log.append({"event_type": "purchase", "timestamp": dt.datetime(2000, 1, 1), "source": "orders", "user_id": "v"})
    table = events_table(warehouse, *log)
    warehouse.replace(contracts.EVENTS, table)
    put(warehouse, contracts.CLOCKS, [clocked("orders", "order"), clocked("web", "moment")])
    known = users.known_until(table, DAY)
    items = warehouse.table(contracts.ITEMS)
    with warehouse.scratch():
        warehouse.replace(contracts.FEATURE_SUPPORT, from_frame(support.feature_support(warehouse, settings, known, items)))
    rows = features_as_of(warehouse, DAY, "UTC").users.set_index("user_id")
    assert rows.loc["u", ["purchases", "recency_days", "tenure_days", "active_days", "sessions"]].tolist() == [2, 0, 0, 1, 1]
    assert rows["frequency"].isna().all()
    assert rows.loc["v", ["active_days", "sessions", "recency_days"]].isna().all()


@pytest.mark.slow
def test_a_log_of_orders_supports_no_attention_through_the_whole_of_cleaning(warehouse, configure, tmp_path) -> None:
    """Two lines of orders a minute apart are no minute of attention; two pages a minute apart are."""
    lines = ["t,u,what", *(f"2026-03-02T10:0{minute}:00,u{user},purchase" for user in range(3) for minute in range(3))]
    write(tmp_path, "orders.csv", *lines)
    write(tmp_path, "web.csv", *(line.replace("purchase", "page_view").replace("00,u", "00,w") for line in lines))
    sources = [
        {"name": name, "path": f"{name}.csv", "format": "csv", "fields": {"timestamp": "t", "user_id": "u", "event_type": "what"}}
        for name in ("orders", "web")
    ]
    settings = configure(*sources)
    ingested(warehouse, settings)
    events = warehouse.table(contracts.EVENTS)
    known = events.group_by("source").aggregate(known=events.attention_ms.count(), sum=events.attention_ms.sum())
    assert warehouse.tuples(known.order_by("source")) == [("orders", 0, None), ("web", 6, 6 * 60_000)]
    assert warehouse.tuples(warehouse.table(contracts.CLOCKS).select("source", "clock").order_by("source")) == [
        ("orders", "moment"),
        ("web", "moment"),
    ]


@pytest.mark.slow
def test_the_order_of_records_is_no_time_between_them(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "web.csv", "u,what", *("u1,page_view" for _ in range(5)))
    fields = {"timestamp": {"order": {"step_seconds": 60}}, "user_id": "u", "event_type": "what"}
    ingested(
        warehouse,
        configure({"name": "web", "path": "web.csv", "format": "csv", "fields": fields, "same": "never"}, start_date=dt.date(2000, 1, 1)),
    )
    events = warehouse.table(contracts.EVENTS)
    assert warehouse.row(events.aggregate(events=events.count(), known=events.attention_ms.count())) == (5, 0)


def test_without_support_is_null_of_the_column_s_own_type(warehouse) -> None:
    table = ibis.memtable({"user_id": ["u"], "sessions": [3], "night_share": [0.5]})
    found = support.without_support(table, frozenset({"night_share"}))
    assert warehouse.row(found) == ("u", 3, None)
    assert str(found.schema()["night_share"]) == "float64"


@pytest.mark.slow
def test_of_people_who_are_not_seen_to_look_at_anything_visits_are_unknown(warehouse, settings) -> None:
    """Who signs up without a page that is logged has not visited less often than others; who was only sent a message has not come."""
    kinds = {"a": "sign_up", "b": "item_view", "c": "impression"}
    log = [{"event_type": kind, "user_id": user, "item_id": "sorted", "timestamp": at(1), "source": "test"} for user, kind in kinds.items()]
    warehouse.replace(contracts.EVENTS, events_table(warehouse, *log))
    supported(warehouse, settings, *log)
    rows = features_as_of(warehouse, DAY, "UTC").users.set_index("user_id")
    assert [None if pd.isna(value) else value for value in rows.loc[["a", "b", "c"], "sessions"]] == [None, 1.0, 0.0]


@pytest.mark.slow
@pytest.mark.parametrize("days", [1, support.LEAST_DAYS - 1, support.LEAST_DAYS])
def test_weekdays_are_told_apart_where_they_come_again(warehouse, settings, days: int) -> None:
    """Of a log of a week who came on Saturday came once, and not at weekends."""
    log = [{"event_type": "page_view", "timestamp": at(10) - dt.timedelta(days=back)} for back in (0, days - 1)]
    table = supported(warehouse, settings, *log)
    weekly = {name for name, feature in FEATURES.items() if support.WEEKS in feature.needs}
    absent = set(table[table["support"] == "absent"].index)
    assert weekly
    assert (weekly & absent == weekly) == (days < support.LEAST_DAYS)
    if days < support.LEAST_DAYS:
        assert table.loc["weekend_share", "evidence"] == f"the log has {days} days; weekdays are told apart from 14 on"
