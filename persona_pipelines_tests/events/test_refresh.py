"""The laws of cleaning: nothing is lost, a re-run changes nothing, the order of loading does not matter."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from persona_pipelines.events.refresh import refresh_events
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines_tests.conftest import CLICKS, DAY, KEY, law, rows

TABLES = (contracts.EVENTS, contracts.SESSIONS, contracts.REJECTS, contracts.DUPLICATES, contracts.FILTERED, contracts.ACCOUNTING)
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

CLICKS = {**CLICKS, "fields": {**CLICKS["fields"], "user_agent": "agent", "url": "url"}}
STRICT = {"automation": {"pages_per_hour": 2, "logins_per_hour": 1, "hours_per_day": 3}}
"""So low that a few records are already what no person does: a record of one day must change nothing on another."""

records = st.lists(
    st.fixed_dictionaries(
        {
            "day": st.integers(0, 3),
            "event_id": st.integers(0, 12),
            "user": st.sampled_from([None, None, "a", "b", "c"]),
            "device": st.sampled_from([None, "x", "y", "z"]),
            "minute": st.integers(0, 400),
            "problem": st.sampled_from([None, None, None, None, "timestamp: missing"]),
            "agent": st.sampled_from([None, None, None, BOT]),
            "url": st.sampled_from([None, "/a", "/a", "/site.css", "/login", "/robots.txt"]),
        }
    ).filter(lambda record: record["user"] or record["device"] or record["problem"]),
    max_size=25,
)


def load(warehouse: Warehouse, loaded: list[dict[str, Any]], days: set[int]) -> None:
    """Put the records of some days into the raw table, in place of what it held for them."""
    import pandas as pd

    contract = contracts.raw_events("clicks")
    warehouse.ensure(contract)
    for day in days:
        warehouse.delete_days(contract, DAY + dt.timedelta(days=day), DAY + dt.timedelta(days=day))
    content = [
        dict.fromkeys(contract.column_names)
        | {
            "day": DAY + dt.timedelta(days=record["day"]),
            "source_file": f"f{record['day']}",
            "source_line": number + 1,
            "source_part": 1,
            "event_id": f"clicks:{record['event_id']}",
            "user_id": record["user"],
            "anonymous_id": record["device"],
            "timestamp": dt.datetime.combine(DAY, dt.time()) + dt.timedelta(days=record["day"], minutes=record["minute"]),
            "event_type": "item_view",
            "problem": record["problem"],
            "record": "raw" if record["problem"] else None,
            "user_agent": record["agent"],
            "url": record["url"],
        }
        for number, record in enumerate(loaded)
        if record["day"] in days
    ]
    if content:
        warehouse.append(contract, from_frame(pd.DataFrame(content, columns=contract.column_names)))


def contents(warehouse: Warehouse) -> dict[str, list[str]]:
    return {table.name: sorted(row[0] for row in rows(warehouse, f"SELECT t::VARCHAR FROM {table.full_name} t")) for table in TABLES}


def refresh(warehouse: Warehouse, chosen: Settings, first: int, last: int) -> None:
    refresh_events(warehouse, chosen, DAY + dt.timedelta(days=first), DAY + dt.timedelta(days=last))


ONE: dict[str, Any] = {"day": 0, "event_id": 1, "user": None, "device": None, "minute": 0, "problem": None, "agent": None, "url": None}


def story(*told: tuple[int, str | None, str | None, int], **of_all: Any) -> list[dict[str, Any]]:
    """Records of a day, a user, a device and a minute each."""
    return [{**ONE, **of_all, "day": day, "user": user, "device": device, "minute": minute} for day, user, device, minute in told]


TOLD = [
    {**record, "event_id": number}
    for number, record in enumerate(
        [
            *story((0, None, "logged in later", 5), (1, None, "logged in later", 5), (2, "a", "logged in later", 5), (1, "a", None, 9)),
            *story((0, "b", "of two", 1), (0, None, "of two", 9), (1, "c", "of two", 1), (1, None, "of two", 2)),
            *story((2, "b", "of b alone", 1), (2, None, "of b alone", 2), (3, "b", None, 3)),
            *story((0, "d", "seen again", 1), (3, None, "seen again", 1), (1, "e", "of another", 1), (2, None, "of another", 3)),
            *story(*((0, None, "quick", minute) for minute in (1, 2, 3)), (1, None, "quick", 1), (1, "f", "quick", 9), url="/a"),
            *story((1, None, "robot", 1), agent=BOT),
            *story((2, None, "robot", 1), url="/site.css"),
            *story((2, "g", "delivered twice", 1), (1, None, "delivered once more", 4)),
        ]
    )
]
COPIES = [
    {**TOLD[-2], "day": 0, "device": "in another form", "minute": 3},
    {**TOLD[-1], "day": 3, "minute": 3},
    {**TOLD[-2], "day": 3, "problem": "timestamp: missing"},
]
"""What devices and people do over some days, each by themselves, and what is delivered once more."""


@pytest.mark.slow
@law(30)
@given(loaded=records, order=st.permutations([0, 1, 2, 3]))
@example(loaded=TOLD + COPIES, order=[2, 0, 3, 1])
def test_days_loaded_in_any_order_give_what_loading_all_at_once_gives(configure, loaded, order) -> None:
    chosen = configure(CLICKS, events=STRICT)
    with Warehouse(None, KEY) as at_once, Warehouse(None, KEY) as by_day:
        load(at_once, loaded, {0, 1, 2, 3})
        refresh(at_once, chosen, 0, 3)
        for day in order:
            load(by_day, loaded, {day})
            refresh(by_day, chosen, day, day)
        assert contents(by_day) == contents(at_once)
        for first, last in ((1, 2), (0, 3)):
            refresh(at_once, chosen, first, last)
            assert contents(by_day) == contents(at_once)


@pytest.mark.slow
@law(20)
@given(before=records, after=records, day=st.integers(0, 3))
def test_a_redelivered_day_leaves_no_trace_of_what_it_held_before(configure, before, after, day) -> None:
    chosen = configure(CLICKS, events=STRICT)
    new = [record for record in before if record["day"] != day] + [record for record in after if record["day"] == day]
    with Warehouse(None, KEY) as fresh, Warehouse(None, KEY) as redone:
        load(redone, before, {0, 1, 2, 3})
        refresh(redone, chosen, 0, 3)
        load(redone, [record if record["day"] == day else {**record, "day": -1} for record in new], {day})
        refresh(redone, chosen, day, day)
        everything = rows(redone, "SELECT * FROM logs.clicks")
        fresh.ensure(contracts.raw_events("clicks"))
        for row in everything:
            fresh.connection.execute(f"INSERT INTO logs.clicks VALUES ({', '.join('?' * len(row))})", row)
        refresh(fresh, chosen, 0, 3)
        assert contents(redone) == contents(fresh)


@pytest.mark.slow
@law(30)
@given(loaded=records)
def test_every_record_is_an_event_a_reject_a_duplicate_or_filtered(configure, loaded) -> None:
    with Warehouse(None, KEY) as warehouse:
        load(warehouse, loaded, {0, 1, 2, 3})
        refresh(warehouse, configure(CLICKS, events=STRICT), 0, 3)
        places = [
            place
            for table in TABLES[:1] + TABLES[2:5]
            for place in rows(warehouse, f"SELECT source_file, source_line FROM {table.full_name}")
        ]
        assert sorted(places) == sorted(rows(warehouse, "SELECT source_file, source_line FROM logs.clicks"))
        assert all(row[2] == sum(row[3:]) for row in rows(warehouse, "SELECT * FROM events.accounting"))
        assert sum(row[0] for row in rows(warehouse, "SELECT events FROM events.sessions")) == warehouse.rows(contracts.EVENTS)


def record(**changes: Any) -> dict[str, Any]:
    return ONE | {"user": "a"} | changes


@pytest.mark.slow
def test_the_first_delivery_of_an_event_is_kept_across_days(warehouse, configure) -> None:
    load(warehouse, [record(day=1), record(day=0), record(day=2)], {0, 1, 2})
    refresh(warehouse, configure(CLICKS), 0, 2)
    assert rows(warehouse, "SELECT day FROM events.events") == [(DAY,)]
    assert warehouse.rows(contracts.DUPLICATES) == 2


@pytest.mark.slow
def test_rejects_keep_the_record_and_its_place(warehouse, configure) -> None:
    load(warehouse, [record(problem="timestamp: missing")], {0})
    refresh(warehouse, configure(CLICKS), 0, 0)
    assert rows(warehouse, "SELECT source, source_file, source_line, reason, record FROM events.rejects") == [
        ("clicks", "f0", 1, "timestamp: missing", "raw")
    ]


@pytest.mark.slow
def test_a_failed_refresh_leaves_all_tables_as_they_were(warehouse, configure, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = configure(CLICKS)
    load(warehouse, [record(), record(event_id=2)], {0})
    refresh(warehouse, chosen, 0, 0)
    before = contents(warehouse)
    load(warehouse, [record(event_id=9)], {0})
    monkeypatch.setattr("persona_pipelines.events.refresh._refresh_accounting", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        refresh(warehouse, chosen, 0, 0)
    assert contents(warehouse) == before
