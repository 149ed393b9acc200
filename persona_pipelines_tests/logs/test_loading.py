"""From files to raw tables: formats, mapping, bad records, days."""

import bz2
import copy
import datetime as dt
import gzip
import hashlib
import hmac
import json
import random
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from persona_pipelines.events.refresh import refresh_events
from persona_pipelines.logs.arrivals import changed_days, days_to_run
from persona_pipelines.logs.checks import thin_days
from persona_pipelines.logs.files import LogFileBusyError, LogFileError, log_files
from persona_pipelines.logs.loading import available_days, load_events, load_listing, read_source
from persona_pipelines.logs.profile import Profile, ids_that_do_not_meet, profile_source
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import CLICKS, DAY, HEADER, KEY, ingested, rows, write

GOOD = "1,2025-09-01T10:00:00Z,item_view,u1,d1,i1,,1000"


def problems(warehouse, source: str = "clicks") -> list[tuple]:
    return rows(warehouse, f"SELECT source_line, problem FROM logs.{source} ORDER BY source_file, source_line")


def load(warehouse, settings, first=DAY, last=DAY, number=0):
    return load_events(warehouse, settings.sources[number], settings, first, last)


def test_a_good_record_keeps_its_place_and_its_ids_become_pseudonyms(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD)
    load(warehouse, configure(CLICKS))
    found = rows(
        warehouse, "SELECT day, source_file, source_line, event_id, user_id, timestamp, event_type, dwell_ms, record FROM logs.clicks"
    )
    expected = hmac.new(KEY, b"u1", hashlib.sha256).hexdigest()[:32]
    assert found == [(DAY, "clicks/2025-09-01.csv", 2, "clicks:1", expected, dt.datetime(2025, 9, 1, 10), "item_view", 1000, None)]


def test_a_user_and_a_device_of_the_same_id_stay_two(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, "1,2025-09-01T10:00:00Z,item_view,17,17,i1,,")
    load(warehouse, configure(CLICKS))
    ((user, device),) = rows(warehouse, "SELECT user_id, anonymous_id FROM logs.clicks")
    assert user == hmac.new(KEY, b"17", hashlib.sha256).hexdigest()[:32]
    assert device not in (None, user)


@pytest.mark.parametrize(
    ("moment", "problem"),
    [
        ("2025-09-02T23:59:59Z", None),
        ("2025-09-03T00:00:00Z", "timestamp: after the day of its file"),
        ("2025-08-31T00:00:00Z", None),
    ],
)
def test_a_file_may_have_records_of_the_day_after_it_and_no_later_ones(
    warehouse, configure, tmp_path, moment: str, problem: str | None
) -> None:
    """Logs are cut in local time, and days are of UTC."""
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, f"1,{moment},item_view,u,d,i1,,")
    load(warehouse, configure(CLICKS))
    assert rows(warehouse, "SELECT problem FROM logs.clicks") == [(problem,)]


@pytest.mark.parametrize(("ahead", "problem"), [(dt.timedelta(seconds=-1), None), (dt.timedelta(seconds=1), "timestamp: in the future")])
def test_what_is_later_than_tomorrow_is_in_the_future(warehouse, configure, tmp_path, ahead: dt.timedelta, problem: str | None) -> None:
    end = dt.datetime.combine(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=2), dt.time()) + ahead
    write(tmp_path, "log.csv", HEADER, f"1,{end:%Y-%m-%dT%H:%M:%SZ},item_view,u,d,i1,,")
    load(warehouse, configure({**CLICKS, "path": "log.csv"}), last=end.date())
    assert rows(warehouse, "SELECT problem FROM logs.clicks") == [(problem,)]


def test_bytes_of_parquet_that_are_no_text_are_a_reject(warehouse, configure, tmp_path) -> None:
    columns = {"t": [dt.datetime(2025, 9, 1, 10)] * 3, "u": ["a", "b", "c"], "item": [b"caf\xc3\xa9", b"caf\xe9", None]}
    pq.write_table(pa.table({**columns, "item": pa.array(columns["item"], pa.binary())}), tmp_path / "log.parquet")
    fields = {"timestamp": "t", "user_id": "u", "item_id": "item", "event_type": {"value": "item_view"}}
    settings = configure({"name": "log", "path": "log.parquet", "format": "parquet", "fields": fields})
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    assert rows(warehouse, "SELECT item_id, problem FROM logs.log ORDER BY source_line") == [
        ("café", None),
        (None, "invalid UTF-8 in item: bytes are read as text"),
        (None, None),
    ]


@pytest.mark.slow
def test_files_with_dates_that_there_are_not_are_said(warehouse, configure, tmp_path) -> None:
    for name in ("2025-09-01", "20251301", "2025-02-30", "notes"):
        write(tmp_path, f"clicks/{name}.csv", HEADER, GOOD)
    settings = configure(CLICKS)
    told = [warning for warning in load_events(warehouse, settings.sources[0], settings, DAY, DAY).warnings if "left out" in warning]
    assert told == [
        "clicks: 2 files are left out, because they have no date or two (YYYY-MM-DD, YYYYMMDD): clicks/2025-02-30.csv, clicks/20251301.csv"
    ]
    assert told[0] in profile_source(settings.sources[0], settings, 1).hints
    (tmp_path / "clicks/2025-09-01.csv").unlink()
    with pytest.raises(LogFileError, match="2 files are left out"):
        profile_source(settings.sources[0], settings, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id;at;type\n1;2;3\n", r"b.csv, line 1: column '\w+' not found; found id;at;type"),
        (gzip.compress(gzip.compress(b"id\n")), r"b.csv: .*packed twice"),
    ],
    ids=["header", "packing"],
)
def test_a_preview_sees_that_the_other_files_can_be_read_too(configure, tmp_path, content: bytes, message: str) -> None:
    write(tmp_path, "clicks/a.csv", HEADER, GOOD)
    (tmp_path / "clicks/b.csv").write_bytes(content)
    settings = configure({**CLICKS, "path": "clicks/*.csv"})
    with pytest.raises(LogFileError, match=message):
        profile_source(settings.sources[0], settings, 1)


@pytest.mark.slow
def test_a_preview_says_what_it_looked_at_and_that_a_file_is_cut_off(configure, tmp_path) -> None:
    (tmp_path / "clicks").mkdir()
    lines = "".join(f"{number},2025-09-01T10:00:00Z,item_view,u{number * 7919 % 1000},,i,,\n" for number in range(5000))
    packed = gzip.compress(f"{HEADER}\n{lines}".encode())
    (tmp_path / "clicks/a.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "clicks/b.gz").write_bytes(packed)
    seen = profile_source((settings := configure({**CLICKS, "path": "clicks/*.gz"})).sources[0], settings, 1)
    assert "of 2 files the records of clicks/a.gz were looked at, and the headers of all" in seen.facts
    assert any("clicks/a.gz: truncated" in hint for hint in seen.hints)


@pytest.mark.slow
@pytest.mark.parametrize(("path", "early"), [("log.csv", ["2025-08-30", "2025-08-31"]), ("log-{date}.csv", ["2025-08-30"])])
def test_a_preview_rejects_what_a_run_rejects(configure, warehouse, tmp_path, path: str, early: list[str]) -> None:
    """Before the first day, but for a file of that day, which may begin just before midnight."""
    days = ["2025-08-30", "2025-08-31", "2025-09-01"]
    write(tmp_path, path.format(date=DAY), "t,u,kind", *(f"{day}T23:00:00Z,u,{kind}" for day in days for kind in ("item_view", "odd")))
    fields = {"timestamp": "t", "user_id": "u", "event_type": "kind"}
    settings = configure({"name": "log", "path": path, "format": "csv", "fields": fields})
    seen = profile_source(settings.sources[0], settings, 10)
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    assert [problem or "" for problem in seen.rows.problem.fillna("")] == [
        "timestamp: before start_date 2025-09-01" if day in early else "event_type: not in the vocabulary" if odd else ""
        for day in days
        for odd in (False, True)
    ]
    assert rows(warehouse, "SELECT coalesce(problem, '') FROM logs.log ORDER BY source_line") == [
        (one,) for one in seen.rows.problem.fillna("")
    ]


def test_a_preview_names_the_field_that_is_empty_and_all_digits_of_ids(configure, tmp_path) -> None:
    write(tmp_path, "log.csv", "day,ms,i", "2025-09-01,,9007199254740993", "2025-09-01,5,9007199254740992")
    time = {"from": "day", "plus": {"from": "ms", "unit": "milliseconds"}}
    fields = {"timestamp": time, "user_id": {"value": "u"}, "item_id": "i", "event_type": {"value": "item_view"}}
    settings = configure({"name": "log", "path": "log.csv", "format": "csv", "fields": fields})
    seen = profile_source(settings.sources[0], settings, 1)
    assert seen.places["timestamp: missing"] == "line 2: ms is empty"
    found = seen.fields.set_index("field").loc["i"]
    assert [found["minimum"], found["maximum"]] == ["9007199254740992", "9007199254740993"]


def test_a_preview_shows_the_text_of_an_attribute_that_is_rejected(configure, tmp_path) -> None:
    write(tmp_path, "people.csv", "id,how_old", "ann,41", "bob,forty")
    source = {"name": "people", "kind": "users", "path": "people.csv", "format": "csv", "fields": {"user_id": "id"}}
    settings = configure({**source, "attributes": {"age": {"from": "how_old", "type": "number"}}})
    places = profile_source(settings.sources[0], settings, 1).places
    assert list(places.values()) == ["line 3: how_old 'forty'"]


def test_texts_that_a_condition_takes_for_numbers_are_said(configure, tmp_path) -> None:
    write(tmp_path, "log.csv", "t,u,q", "2025-09-01,a,1", "2025-09-01,b,x", "2025-09-01,c,", "2025-09-01,d,-2")
    inner = {"all": [{"field": "q", "below": 0}, {"field": "u", "equals": "d"}]}
    fields = {"timestamp": "t", "user_id": "u", "event_type": {"cases": [{"when": inner, "value": "refund"}], "default": "purchase"}}
    settings = configure({"name": "log", "path": "log.csv", "format": "csv", "fields": fields})
    assert profile_source(settings.sources[0], settings, 1).hints == [
        "1 of q are no numbers, such as 'x': 'q below 0.0' does not hold for them"
    ]


def test_amounts_without_a_currency_beside_others_are_said(configure, tmp_path) -> None:
    write(tmp_path, "log.csv", "t,u,v,c", "2025-09-01,a,1,EUR", "2025-09-01,b,2,", "2025-09-01,c,3,EUR")
    fields = {"timestamp": "t", "user_id": "u", "value": "v", "currency": "c", "event_type": {"value": "purchase"}}
    settings = configure({"name": "log", "path": "log.csv", "format": "csv", "fields": fields})
    assert "1 amounts name no currency: they are added to those in EUR" in profile_source(settings.sources[0], settings, 1).hints


@pytest.mark.slow
def test_files_of_days_that_are_never_loaded_are_said(warehouse, configure, tmp_path) -> None:
    for name in ("2025-08-31", "2025-09-01", "2199-01-01"):
        write(tmp_path, f"clicks/{name}.csv", HEADER, GOOD.replace("2025-09-01", name))
    settings = configure(CLICKS)
    told = "clicks: 2 files are of days before start_date 2025-09-01 or in the future, and are not read: clicks/2025-08-31.csv, clicks/2199-01-01.csv"
    assert told in load(warehouse, settings).warnings
    seen = profile_source(settings.sources[0], settings, 1)
    assert told in seen.hints
    assert (seen.files, seen.file) == (1, "clicks/2025-09-01.csv")


@pytest.mark.slow
@pytest.mark.parametrize("comparison", [{"above": 0}, {"below": 0}, {"at_least": -5}, {"at_most": 5}, {"equals": "0"}])
def test_what_is_no_number_meets_no_comparison(warehouse, configure, tmp_path, comparison: dict) -> None:
    texts = ["nan", "NaN", "-nan", "inf", "-Infinity"]
    write(tmp_path, "log.csv", "t,u,p", *(f"2025-09-01,a,{text}" for text in texts), "2025-09-01,b,0")
    kinds = {"cases": [{"when": {"field": "p", **comparison}, "value": "purchase"}], "default": "item_view"}
    source = {"name": "log", "path": "log.csv", "format": "csv", "fields": {**PLAIN, "event_type": kinds}}
    settings = configure(source)
    load(warehouse, settings)
    found = rows(warehouse, "SELECT event_type FROM logs.log WHERE source_line <= 6 ORDER BY source_line")
    assert found == [("item_view",)] * 5
    hints = profile_source(settings.sources[0], settings, 1).hints
    assert any("5 of p are no numbers" in hint for hint in hints) == ("equals" not in comparison)


@pytest.mark.parametrize("column", ["category", "categories", "brand"])
@pytest.mark.parametrize("fmt", ["json", "csv"])
def test_a_list_is_no_category(warehouse, configure, tmp_path, column: str, fmt: str) -> None:
    cells = [["A", "B"], "A", "[A]", {"n": 1}]
    if fmt == "json":
        write(tmp_path, "items.txt", *(json.dumps({"i": number, "c": cell}) for number, cell in enumerate(cells)))
    else:
        texts = [cell if isinstance(cell, str) else json.dumps(cell) for cell in cells]
        write(tmp_path, "items.txt", "i;c", *(f"{number};{text}" for number, text in enumerate(texts)))
    written = "json" if fmt == "json" else {"type": "csv", "delimiter": ";", "quote": ""}
    items = {"name": "items", "kind": "items", "path": "items.txt", "format": written, "fields": {"item_id": "i", column: "c"}}
    settings = configure(CLICKS, items)
    load_listing(warehouse, settings.sources[1], settings)
    listed = f"{column}: an object or a list; expected a text, as PATH[*] makes of a list"
    assert [problem for (problem,) in rows(warehouse, "SELECT problem FROM logs.items ORDER BY item_id")] == [listed, None, None, listed]


@pytest.mark.parametrize("text", ["\u200b", "\u200b\ufeff", "\u2060"])
def test_an_id_of_nothing_that_can_be_seen_is_none(warehouse, configure, tmp_path, text: str) -> None:
    write(tmp_path, "log.csv", "t,u,d", f"2025-09-01,{text},phone")
    fields = {**PLAIN, "user_id": {"first_of": ["u", "d"]}}
    settings = configure({"name": "log", "path": "log.csv", "format": "csv", "fields": fields})
    load(warehouse, settings)
    expected = hmac.new(KEY, b"phone", hashlib.sha256).hexdigest()[:32]
    assert rows(warehouse, "SELECT user_id FROM logs.log") == [(expected,)]


PLAIN: dict[str, Any] = {"timestamp": "t", "user_id": "u", "event_type": {"value": "purchase"}}


def seen_of(configure, folder: Path, *lines: str, **mapped) -> Profile:
    write(folder, "log.csv", *lines)
    more: dict[str, Any] = {name: mapped.pop(name) for name in ("drop_when", "parse") if name in mapped}
    fmt = {"type": "csv", "delimiter": ";"}
    settings = configure({"name": "log", "path": "log.csv", "format": fmt, "same": "never", "fields": PLAIN | mapped, **more})
    return profile_source(settings.sources[0], settings, 5)


def test_a_preview_says_where_the_first_reject_of_a_reason_is_what_stands_there_and_what_may_mend_it(configure, tmp_path) -> None:
    seen = seen_of(
        configure,
        tmp_path,
        "t;u;v",
        "2025-09-01;anna;1",
        "2025-09-01;anna;$1,234.50",
        "2025-09-01;anna;$5",
        "1756980000;anna;2",
        ";anna;3",
        "2025-09-01;;4",
        value="v",
    )
    assert seen.problems == {
        "value: not a number": 2,
        "timestamp: not readable as a time": 1,
        "timestamp: missing": 1,
        "user_id: missing, and anonymous_id too": 1,
    }
    assert seen.places == {
        "value: not a number": "line 3: v '$1,234.50'",
        "timestamp: not readable as a time": "line 5: t '1756980000'",
        "timestamp: missing": "line 6: t is empty",
        "user_id: missing, and anonymous_id too": "line 7: u is empty",
    }
    assert any(hint.startswith('value: numbers written in another way need number: {decimal: "."') for hint in seen.hints)
    assert any(hint.startswith("timestamp: a number counts something since a moment: unit: seconds") for hint in seen.hints)


@pytest.mark.parametrize("text", ["01:02:03", "2:30", "PT5M", "P1DT2H"])
def test_a_preview_knows_durations(configure, tmp_path, text: str) -> None:
    told = [
        hint for hint in seen_of(configure, tmp_path, "t;u;d", f"2025-09-01;a;{text}", dwell_ms="d").hints if hint.startswith("dwell_ms: ")
    ]
    assert told == ["dwell_ms: durations such as 01:02:03 and PT1H2M3S need duration: true, which makes milliseconds of them"]


def test_a_preview_of_documents_names_nobody_in_them(configure, tmp_path) -> None:
    seen = seen_of(
        configure,
        tmp_path,
        "t;m",
        '2025-09-01;"{""who"": ""anna77"", ""n"": ""x""}"',
        '2025-09-01;"{""who"": [""anna77""], ""n"": ""1""}"',
        user_id="m.who",
        value="m.n",
        drop_when=[{"field": "m", "equals": "nothing"}],
    )
    shown = seen.rows.to_csv() + seen.fields.to_csv() + str(seen.places)
    assert "anna" not in shown
    assert seen.places["value: not a number"] == "line 2: m.n 'x'"


def test_least_and_greatest_are_those_of_the_times_and_amounts_that_are_read(configure, tmp_path) -> None:
    seen = seen_of(
        configure,
        tmp_path,
        "t;u;v;k",
        "02.01.2021;a;-99,50;9",
        "01.12.2023;b;1.234,00;10",
        "15.06.2022;c;5 EUR;x",
        timestamp={"from": "t", "format": "%d.%m.%Y"},
        value={"from": "v", "number": {"decimal": ",", "thousands": "."}},
        item_id="k",
    )
    found = seen.fields.set_index("field")[["minimum", "maximum"]]
    assert found.loc["t"].tolist() == ["2021-01-02 00:00:00", "2023-12-01 00:00:00"]
    assert found.loc["v"].tolist() == ["-99.5", "1234"]
    assert found.loc["k"].tolist() == ["10", "x"]


@pytest.mark.parametrize(
    ("zone", "moved"), [("Europe/Berlin", True), ("Asia/Tokyo", True), ("UTC", False), ("America/New_York", False), (None, False)]
)
def test_dates_alone_that_are_another_day_in_utc_are_told(configure, tmp_path, zone: str | None, moved: bool) -> None:
    mapping = {"from": "t"} | ({"timezone": zone} if zone else {})
    seen = seen_of(configure, tmp_path, "t;u", "2025-09-02;a", "2025-09-04;b", timestamp=mapping)
    assert seen.facts[0] == "days only, from 2025-09-02 to 2025-09-04: nothing within a day can be told"
    assert bool([hint for hint in seen.hints if "without timezone a date stays that date" in hint]) == moved


@pytest.mark.parametrize("wrong", [0, 1, 30])
@pytest.mark.parametrize("year", ["2001", "2024"])
def test_clocks_that_are_years_off_are_told_however_many(configure, tmp_path, wrong: int, year: str) -> None:
    """A shop that has grown for years, or rests in winter, has no such pause."""
    lines = [f"{year}-0{month}-01;u{number}" for number in range(wrong) for month in range(1, 4)]
    lines += [f"2025-0{month}-{day:02};u" for month in range(1, 9) for day in range(1, 20)]
    write(tmp_path, "log.csv", "t;u", *lines)
    settings = configure(
        {"name": "log", "path": "log.csv", "format": {"type": "csv", "delimiter": ";"}, "same": "never", "fields": PLAIN},
        start_date=dt.date(2000, 1, 1),
    )
    told = [hint for hint in profile_source(settings.sources[0], settings, 1).hints if "wrong clocks?" in hint]
    expected = f"nothing between 2001-03-01 and 2025-01-01, {3 * wrong} of {len(lines)} events before that: wrong clocks?"
    assert [hint[: len(expected)] for hint in told] == ([expected] if wrong and year == "2001" else [])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "problem", "kept"),
    [
        ("GBP", None, "GBP"),
        ("gbp", None, "GBP"),
        ("€", None, "EUR"),
        ("GBp", "currency: GBp is a hundredth of GBP, and amounts are in whole ones", None),
        ("GBX", "currency: GBX is a hundredth of GBP, and amounts are in whole ones", None),
        ("ZAc", "currency: ZAc is a hundredth of ZAR, and amounts are in whole ones", None),
        ("ILA", "currency: ILA is a hundredth of ILS, and amounts are in whole ones", None),
    ],
)
@pytest.mark.parametrize("rates", [False, True])
def test_a_hundredth_of_a_currency_is_not_the_currency(warehouse, configure, tmp_path, written, problem, kept, rates: bool) -> None:
    write(tmp_path, "log.csv", "t,u,v,c", f"2025-09-01,a,100,{written}", f"2025-09-01,a,,{written}")
    write(tmp_path, "items.csv", "i,p,c", f"x,100,{written}")
    write(tmp_path, "rates.csv", "date,currency,rate", *(f"2025-01-01,{code},1" for code in ("GBP", "GBX", "ZAR", "ILS", "EUR", "ILA")))
    fields = {"timestamp": "t", "user_id": "u", "event_type": {"value": "purchase"}, "value": "v", "currency": "c"}
    log = {"name": "log", "path": "log.csv", "format": "csv", "fields": fields}
    items = {
        "name": "items",
        "kind": "items",
        "path": "items.csv",
        "format": "csv",
        "fields": {"item_id": "i", "price": "p", "currency": "c"},
    }
    more = {"currencies": {"base": "GBP", "rates": "rates.csv"}} if rates else {}
    settings = configure(log, items, **more)
    load(warehouse, settings)
    load_listing(warehouse, settings.sources[1], settings)
    (problem_found, currency), (other, _) = rows(warehouse, "SELECT problem, currency FROM logs.log ORDER BY source_line")
    assert (problem_found, other) == (problem, None)
    assert kept is None or currency == ("GBP" if rates else kept)
    assert rows(warehouse, "SELECT problem FROM logs.items") == [(problem,)]


def test_what_is_no_code_of_a_currency_is_told(configure, tmp_path) -> None:
    told = [
        hint
        for hint in seen_of(
            configure, tmp_path, "t;u;v;c", *(f"2025-09-01;a;1;{written}" for written in ("Euro", "EUR", "Kroner")), value="v", currency="c"
        ).hints
        if "ISO 4217" in hint
    ]
    assert told == ["currency: EURO, KRONER: no codes of ISO 4217, as EUR is: map them to those that are meant"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("2,yesterday,item_view,u,d,i,,", "timestamp: not readable as a time"),
        ("2,2025-02-30T10:00:00Z,item_view,u,d,i,,", "timestamp: not readable as a time"),
        ("2,,item_view,u,d,i,,", "timestamp: missing"),
        ("2,2199-01-01T00:00:00Z,item_view,u,d,i,,", "timestamp: in the future"),
        ("2,1950-01-01T00:00:00Z,item_view,u,d,i,,", "timestamp: before 1990-01-01"),
        ("2,2025-09-04T00:00:00Z,item_view,u,d,i,,", "timestamp: after the day of its file"),
        ("2,2025-09-01T10:00:00Z,teleport,u,d,i,,", "event_type: not in the vocabulary"),
        ("2,2025-09-01T10:00:00Z,,u,d,i,,", "event_type: missing"),
        ("2,2025-09-01T10:00:00Z,item_view,,,i,,", "user_id: missing, and anonymous_id too"),
        ("2,2025-09-01T10:00:00Z,item_view,u,d,i,,-5", "dwell_ms: below 0"),
        ("2,2025-09-01T10:00:00Z,item_view,u,d,i,,1e300", "dwell_ms: above 6.048e+08"),
        ("2,2025-09-01T10:00:00Z,item_view,u,d,i,,long", "dwell_ms: not a number"),
        ("2,2025-09-01T10:00:00Z,purchase,u,d,i,nan,", "value: not a number"),
        ("2,2025-09-01T10:00:00Z,purchase,u,d,i,inf,", "value: not a number"),
        ("2,2025-09-01T10:00:00Z,purchase,u,d,i,1e999,", "value: not a number"),
        ("2,2025-09-01T10:00:00Z,purchase,u,d,i", "malformed line: 6 columns instead of 8"),
        ('2,2025-09-01T10:00:00Z,purchase,u,d,"i,,', "malformed line: a quote is not closed or stands inside a field"),
        (f"2,2025-09-01T10:00:00Z,item_view,u,d,{'i' * 2001},,", "item_id: longer than 2000 characters"),
    ],
)
def test_a_bad_record_alone_is_set_aside_with_its_reason(warehouse, configure, tmp_path, record: str, reason: str) -> None:
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD, record, GOOD.replace("1,2025", "3,2025", 1))
    load(warehouse, configure(CLICKS))
    assert problems(warehouse) == [(2, None), (3, reason), (4, None)]


def test_markup_formulas_and_sql_in_text_are_kept_as_text(warehouse, configure, tmp_path) -> None:
    texts = ["<script>alert(1)</script>", "=cmd|'/c calc'!A1", "'); DROP TABLE logs.clicks;--", "{{7*7}}", "子供 🎈"]
    write(
        tmp_path, "clicks/2025-09-01.csv", HEADER, *(f'{n},2025-09-01T10:00:00Z,item_view,u,d,"{text}",,' for n, text in enumerate(texts))
    )
    load(warehouse, configure(CLICKS))
    assert [row[0] for row in rows(warehouse, "SELECT item_id FROM logs.clicks ORDER BY source_line")] == texts


def test_quoted_fields_keep_delimiters_and_doubled_quotes(warehouse, configure, tmp_path) -> None:
    write(
        tmp_path,
        "clicks/2025-09-01.csv",
        HEADER,
        '1,2025-09-01T10:00:00Z,item_view,u,d,"a, ""b"" c",,',
        '"2",2025-09-01T10:00:00Z,item_view,u,d,"",,',
    )
    load(warehouse, configure(CLICKS))
    assert rows(warehouse, "SELECT event_id, item_id FROM logs.clicks ORDER BY source_line") == [
        ("clicks:1", 'a, "b" c'),
        ("clicks:2", None),
    ]


def test_addresses_are_masked_in_rejected_records_too(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, "1,10.2.3.4,eve@example.com,2001:db8::ff,2025-09-01T10:05:03Z,i,,")
    load(warehouse, configure(CLICKS))
    ((record,),) = rows(warehouse, "SELECT record FROM logs.clicks")
    assert record == "1,<address>,<e-mail>,<address>,2025-09-01T10:05:03Z,i,,"


def test_nested_json_and_lists_are_reached_by_paths(warehouse, configure, tmp_path) -> None:
    source = {
        "name": "app",
        "path": "app.jsonl",
        "format": "json_lines",
        "fields": {
            "timestamp": {"from": "at", "unit": "milliseconds"},
            "event_type": {"value": "play"},
            "user_id": "who.id",
            "item_id": "items[0].id",
            "dwell_ms": {"from": "watched_seconds", "scale": 1000},
        },
    }
    good = {"at": 1756720800000, "who": {"id": 7}, "items": [{"id": "film"}], "watched_seconds": 12.5}
    write(tmp_path, "app.jsonl", json.dumps(good), '{"at": 1', "[1, 2]", "null", json.dumps({**good, "who": None}))
    load(warehouse, configure(source))
    assert rows(warehouse, "SELECT timestamp, item_id, dwell_ms FROM logs.app WHERE problem IS NULL") == [
        (dt.datetime(2025, 9, 1, 10), "film", 12500)
    ]
    assert [row[1] for row in problems(warehouse, "app")[1:]] == [
        *["malformed line: not a JSON object"] * 3,
        "user_id: missing, and anonymous_id too",
    ]


def test_local_time_becomes_utc_and_a_zone_in_the_text_wins(warehouse, configure, tmp_path) -> None:
    source = {**CLICKS, "fields": {**CLICKS["fields"], "timestamp": {"from": "at", "timezone": "Europe/London"}}}
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, "1,2025-09-01 12:00:00,item_view,u,,,,", "2,2025-09-01T12:00:00+00:00,item_view,u,,,,")
    load(warehouse, configure(source))
    assert [row[0].hour for row in rows(warehouse, "SELECT timestamp FROM logs.clicks ORDER BY source_line")] == [11, 12]


def test_conditions_split_and_drop_records(warehouse, configure, tmp_path) -> None:
    source = {
        "name": "till",
        "path": "till.tsv",
        "format": {"type": "csv", "delimiter": "\t"},
        "fields": {
            "timestamp": {"from": "at", "format": "%d.%m.%Y %H:%M"},
            "user_id": "who",
            "item_id": "what",
            "event_type": {"cases": [{"when": {"field": "n", "below": 0}, "value": "refund"}], "default": "purchase"},
            "quantity": {"from": "n", "absolute": True},
            "value": {"product": ["n", "price"], "absolute": True},
        },
        "drop_when": [{"field": "who", "missing": True}, {"field": "what", "one_of": ["POST", "FEE"]}],
    }
    write(
        tmp_path,
        "till.tsv",
        "who\twhat\tn\tprice\tat",
        "a\tx\t2\t1.5\t01.09.2025 10:00",
        "a\tx\t-1\t1.5\t01.09.2025 11:00",
        "\tx\t1\t1\t01.09.2025 10:00",
        "a\tPOST\t1\t1\t01.09.2025 10:00",
    )
    load(warehouse, configure(source))
    found = rows(warehouse, "SELECT event_type, quantity, value, dropped IS NOT NULL, problem FROM logs.till ORDER BY source_line")
    assert found == [
        ("purchase", 2, 3, False, None),
        ("refund", 1, 1.5, False, None),
        ("purchase", 1, 1, True, None),
        ("purchase", 1, 1, True, None),
    ]


def test_columns_between_runs_of_white_space_without_a_header(warehouse, configure, tmp_path) -> None:
    source = {
        "name": "old",
        "path": "old.dat",
        "format": {"type": "csv", "delimiter": "whitespace", "header": False, "columns": ["user", "item", "at"]},
        "fields": {"timestamp": {"from": "at", "unit": "seconds"}, "event_type": {"value": "play"}, "user_id": "user", "item_id": "item"},
    }
    write(tmp_path, "old.dat", "  7   a \t 1756720800", "8 b 1756720801")
    load(warehouse, configure(source))
    assert rows(warehouse, "SELECT source_line, item_id, problem FROM logs.old ORDER BY 1") == [(1, "a", None), (2, "b", None)]


def test_a_log_without_a_clock_takes_the_order_of_its_records(warehouse, configure, tmp_path) -> None:
    source = {
        "name": "ratings",
        "path": "rating.csv",
        "format": "csv",
        "fields": {
            "timestamp": {"order": {"start": "2025-09-01", "step_seconds": 3600}},
            "event_type": {"value": "rating"},
            "user_id": "user_id",
            "item_id": "item_id",
            "value": "rating",
        },
    }
    write(tmp_path, "rating.csv", "user_id,item_id,rating", *(f"{n},{n},5" for n in range(30)))
    settings = configure(source)
    assert available_days(settings) == (DAY, DAY + dt.timedelta(days=1))
    load(warehouse, settings, DAY, DAY + dt.timedelta(days=1))
    assert rows(warehouse, "SELECT day, count(*) FROM logs.ratings GROUP BY day ORDER BY day") == [
        (DAY, 24),
        (DAY + dt.timedelta(days=1), 6),
    ]


@pytest.mark.slow
def test_a_file_without_a_date_gives_each_record_its_own_day_and_loads_days_one_by_one(warehouse, configure, tmp_path) -> None:
    source = {**CLICKS, "path": "clicks.csv"}
    write(tmp_path, "clicks.csv", HEADER, GOOD, GOOD.replace("09-01", "09-02").replace("1,", "2,", 1), "3,never,item_view,u,d,i,,")
    settings = configure(source)
    load(warehouse, settings)
    assert [row[0] for row in problems(warehouse)] == [2, 4]  # a record without a time belongs to the file's first day
    load(warehouse, settings, DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=1))
    assert [row[0] for row in problems(warehouse)] == [2, 3, 4]


def test_loading_a_day_again_replaces_it_and_leaves_other_days(warehouse, configure, tmp_path) -> None:
    settings, next_day = configure(CLICKS), DAY + dt.timedelta(days=1)
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD)
    write(tmp_path, "clicks/2025-09-02.csv", HEADER, GOOD.replace("1,", "9,", 1))
    load(warehouse, settings, DAY, next_day)
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD, GOOD.replace("1,", "2,", 1))
    load(warehouse, settings)
    assert rows(warehouse, "SELECT event_id FROM logs.clicks ORDER BY 1") == [("clicks:1",), ("clicks:2",), ("clicks:9",)]


def test_a_changed_header_names_file_and_column_and_leaves_the_table(warehouse, configure, tmp_path) -> None:
    settings = configure(CLICKS)
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD)
    load(warehouse, settings)
    write(tmp_path, "clicks/2025-09-01.csv", HEADER.replace("dwell", "dwelling"), GOOD)
    with pytest.raises(LogFileError, match=r"clicks/2025-09-01.csv, line 1: column 'dwell' not found; found id, at"):
        load(warehouse, settings)
    assert len(problems(warehouse)) == 1


def test_columns_may_stand_in_another_order_from_one_file_to_the_next(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD)
    write(tmp_path, "clicks/2025-09-02.csv", "at,id,type,user,device,item,value,dwell", "2025-09-02T10:00:00Z,2,item_view,u1,d1,i1,,5")
    load(warehouse, configure(CLICKS), DAY, DAY + dt.timedelta(days=1))
    assert rows(warehouse, "SELECT event_id, dwell_ms FROM logs.clicks ORDER BY 1") == [("clicks:1", 1000), ("clicks:2", 5)]


def test_a_missing_and_an_empty_day_are_warned_of_and_have_no_rows(warehouse, configure, tmp_path) -> None:
    (tmp_path / "clicks").mkdir()
    (tmp_path / "clicks/2025-09-01.csv").write_bytes(b"")
    loaded = load(warehouse, configure(CLICKS), DAY, DAY + dt.timedelta(days=1))
    assert loaded.warnings == ["clicks: no file for 1 days: 2025-09-02", "clicks: 1 files without records: clicks/2025-09-01.csv"]
    assert problems(warehouse) == []


def cut_archive(folder: Path) -> bytes:
    content = "".join(f"{line}\n" for line in [HEADER, *(GOOD.replace("1,", f"{n * 7919},", 1) for n in range(5000))])
    packed = gzip.compress(content.encode())
    (folder / "clicks").mkdir(exist_ok=True)
    (folder / "clicks/2025-09-01.csv.gz").write_bytes(packed[: len(packed) // 2])
    return packed


def test_a_truncated_archive_is_refused_because_nothing_proves_it_and_what_was_there_stays(warehouse, configure, tmp_path) -> None:
    settings = configure({**CLICKS, "path": "clicks/{date}.csv.gz"})
    packed = cut_archive(tmp_path)
    (tmp_path / "clicks/2025-09-01.csv.gz").write_bytes(packed)
    load(warehouse, settings)
    cut_archive(tmp_path)
    with pytest.raises(
        LogFileError,
        match=r"clicks/2025-09-01.csv.gz: truncated: .*; expected a whole file: fetch it again \(logs.use_truncated: true uses the [12],",
    ):
        load(warehouse, settings)
    assert rows(warehouse, "SELECT count(*) FROM logs.clicks") == [(5000,)]


def test_a_truncated_archive_may_be_used_up_to_the_break_and_is_counted_whole(warehouse, configure, tmp_path) -> None:
    cut_archive(tmp_path)
    loaded = load(warehouse, configure({**CLICKS, "path": "clicks/{date}.csv.gz"}, logs={"settle_seconds": 0, "use_truncated": True}))
    ((good, all_rows),) = rows(warehouse, "SELECT count(*) FILTER (problem IS NULL), count(*) FROM logs.clicks")
    assert good > 1000
    assert loaded.readings[0].records == all_rows
    assert "truncated" in loaded.warnings[0]


@pytest.mark.slow
def test_bits_flipped_anywhere_in_a_packed_file_give_no_record_that_was_never_logged(warehouse, configure, tmp_path) -> None:
    """Whether it is noticed as damage, as a cut or as something else: the file is refused, or what is used was proved by its sum."""
    settings = configure({**CLICKS, "path": "clicks/{date}.csv.gz"})
    packed = cut_archive(tmp_path)
    logged = {(str(n * 7919),) for n in range(5000)}
    chance = random.Random(5)
    refused = 0
    for _ in range(60):
        content = bytearray(packed)
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        (tmp_path / "clicks/2025-09-01.csv.gz").write_bytes(content)
        try:
            load(warehouse, settings)
        except LogFileError:
            refused += 1
            continue
        assert {
            (row[0].removeprefix("clicks:"),) for row in rows(warehouse, "SELECT event_id FROM logs.clicks WHERE problem IS NULL")
        } <= logged
    assert refused > 50


def test_a_list_that_is_cut_off_is_refused_too(warehouse, configure, tmp_path) -> None:
    content = gzip.compress("".join(f"u{n * 7919 % 10007},DE\n" for n in range(5000)).encode())
    (tmp_path / "people.csv.gz").write_bytes(content[: len(content) // 2])
    source = {
        "name": "people",
        "kind": "users",
        "path": "people.csv.gz",
        "format": {"type": "csv", "header": False, "columns": ["id", "land"]},
        "fields": {"user_id": "id", "country": "land"},
    }
    with pytest.raises(LogFileError, match=r"people\.csv\.gz: truncated"):
        load_listing(warehouse, configure(CLICKS, source).sources[1], configure(CLICKS, source))


def test_a_file_that_grows_while_it_is_read_is_refused_and_changes_nothing(warehouse, configure, tmp_path, monkeypatch) -> None:
    settings = configure(CLICKS)
    file = write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD)
    load(warehouse, settings)
    from persona_pipelines.logs import loading

    original = loading.wait_until_settled

    def grow(files, seconds) -> None:
        original(files, seconds)
        with file.open("a") as stream:
            stream.write(GOOD.replace("1,", "5,", 1) + "\n")

    monkeypatch.setattr(loading, "wait_until_settled", grow)
    with pytest.raises(LogFileBusyError, match=r"clicks/2025-09-01.csv: still being written"):
        load(warehouse, settings)
    assert len(problems(warehouse)) == 1


def test_what_is_no_parquet_is_named(warehouse, configure, tmp_path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
    source = {**CLICKS, "path": "a.parquet", "format": "parquet"}
    settings = configure(source)
    with pytest.raises(LogFileError, match=r"a.parquet: not readable as Parquet"):
        load(warehouse, settings)


def test_a_listing_keeps_its_bad_records_and_reads_consents(warehouse, configure, tmp_path) -> None:
    people = {
        "name": "people",
        "kind": "users",
        "path": "people.csv",
        "format": "csv",
        "fields": {"user_id": "id", "consent_personalisation": "ok", "signup_date": "since"},
    }
    write(tmp_path, "people.csv", "id,ok,since", "a,yes,2025-01-02", "b,perhaps,2025-01-02", ",no,2025-01-02", "c,0,soon")
    settings = configure(CLICKS, people)
    load_listing(warehouse, settings.sources[1], settings)
    assert rows(warehouse, "SELECT consent_personalisation, problem FROM logs.people ORDER BY source_line") == [
        (True, None),
        (None, "consent_personalisation: neither true nor false"),
        (False, "user_id: missing"),
        (False, "signup_date: not readable as a date"),
    ]


@pytest.mark.slow
def test_a_preview_shows_mapped_records_and_counts_problems(configure, tmp_path) -> None:
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD, "2,never,item_view,u,d,i,,")
    settings = configure(CLICKS)
    seen = profile_source(settings.sources[0], settings, 1)
    assert seen.rows["event_type"].tolist() == ["item_view"]
    assert seen.problems == {"timestamp: not readable as a time": 1}


@pytest.mark.parametrize("content", [HEADER, f"{HEADER}\n"])
def test_a_preview_of_a_header_alone_says_that_there_are_no_records(configure, tmp_path, content: str) -> None:
    (tmp_path / "clicks").mkdir()
    (tmp_path / "clicks" / "2025-09-01.csv").write_text(content)
    settings = configure(CLICKS)
    with pytest.raises(LogFileError, match=r"clicks/2025-09-01.csv: no records"):
        profile_source(settings.sources[0], settings, 1)


@pytest.mark.slow
def test_a_preview_shows_amounts_to_the_last_cent(configure, tmp_path) -> None:
    from click.testing import CliRunner

    from persona_pipelines.cli import main

    write(
        tmp_path,
        "clicks/2025-09-01.csv",
        HEADER,
        *(f"{n},2025-09-01T10:00:00Z,purchase,u,d,i,{amount},5" for n, amount in enumerate((1234.5, 99999.99))),
    )
    configure(CLICKS)
    shown = CliRunner().invoke(main, ["sources", "check", str(tmp_path / "persona.yaml")]).output
    assert "value=1234.5 " in shown
    assert "value=99999.99 " in shown


@pytest.mark.slow
def test_a_preview_names_nobody_whatever_the_kind_of_the_source(configure, tmp_path) -> None:
    """A look-up's fields are people's ids where another source reads them as such, or finds records by them."""
    write(tmp_path, "orders.csv", "id,customer,note", "o1,anna.meier,call anna@example.com", "o2,bob77,-")
    write(tmp_path, "people.csv", "login,country", "anna.meier,FR", "bob77,UK")
    write(
        tmp_path,
        "lines.csv",
        "order,item,seller,at",
        "o1,lamp,anna.meier,2025-09-01T10:00:00Z",
        "o2,mail me@example.com,bob77,2025-09-01T10:00:00Z",
    )
    orders = {
        "name": "orders",
        "kind": "lookup",
        "path": "orders.csv",
        "format": "csv",
        "fields": {"id": "id", "who": "customer", "note": "note"},
    }
    people = {"name": "people", "kind": "lookup", "path": "people.csv", "format": "csv", "fields": {"login": "login", "land": "country"}}
    lines = {
        "name": "lines",
        "path": "lines.csv",
        "format": "csv",
        "join": [{"source": "orders", "on": {"order": "id"}}, {"source": "people", "on": {"seller": "login"}}],
        "fields": {
            "timestamp": "at",
            "event_type": {"value": "purchase"},
            "user_id": "orders.who",
            "target_user_id": "seller",
            "item_id": "item",
            "country": "people.land",
        },
    }
    settings = configure(orders, people, lines)
    shown = ""
    for source in settings.sources:
        seen = profile_source(source, settings, 5)
        shown += seen.rows.to_csv() + seen.fields.to_csv()
    assert not [name for name in ("anna", "meier", "bob77", "example.com") if name in shown]
    assert all(text in shown for text in ("aaaa.aaaaa", "aaa99", "<e-mail>", "lamp", "FR"))


@pytest.mark.slow
def test_numbers_in_an_id_of_parts_are_no_ids_that_are_floats_by_accident(configure, tmp_path) -> None:
    lines = [f"{number},{number}.0,2025-09-01T10:00:00Z,{number}.0" for number in range(5)]
    write(tmp_path, "clicks.csv", "order,price,at,user", *lines)
    source = {
        "name": "clicks",
        "path": "clicks.csv",
        "format": "csv",
        "fields": {"event_id": ["order", "price"], "timestamp": "at", "event_type": {"value": "purchase"}, "user_id": "user"},
    }
    settings = configure(source)
    hints = [hint for hint in profile_source(settings.sources[0], settings, 1).hints if "look like 17850.0" in hint]
    assert [hint.split(" look")[0] for hint in hints] == ["100% of user"]


def test_new_files_are_noticed_and_read_ones_are_not(configure, tmp_path: Path) -> None:
    from persona_pipelines.warehouse.connection import Warehouse

    settings = configure(CLICKS)
    assert changed_days(settings) is None
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, GOOD)
    found = changed_days(settings)
    assert found is not None
    assert (found.first, found.last) == (DAY, DAY)
    with Warehouse(settings.published_file, KEY) as published:
        load(published, settings)
    assert changed_days(settings) is None


THREE_DAYS = [f"{number},2025-09-0{number}T10:00:00Z,item_view,u{number},,i1,," for number in (1, 2, 3)]


@pytest.mark.slow
def test_a_corrected_file_with_fewer_days_is_loaded_for_the_days_it_had_before(configure, tmp_path: Path) -> None:
    settings = configure({**CLICKS, "path": "clicks/*.csv"})
    write(tmp_path, "clicks/all.csv", HEADER, *THREE_DAYS)
    with Warehouse(settings.published_file, KEY) as published:
        load(published, settings, DAY, DAY + dt.timedelta(days=2))
    assert days_to_run(settings) == (DAY, DAY + dt.timedelta(days=2))
    assert changed_days(settings) is None
    write(tmp_path, "clicks/all.csv", HEADER, THREE_DAYS[2])
    assert available_days(settings) == (DAY + dt.timedelta(days=2), DAY + dt.timedelta(days=2))
    assert days_to_run(settings) == (DAY, DAY + dt.timedelta(days=2))
    found = changed_days(settings)
    assert (found.first, found.last) == (DAY, DAY + dt.timedelta(days=2))
    with Warehouse(settings.published_file, KEY) as published:
        # Of the last day alone the others stay as they were, and that is said.
        loaded = load(published, settings, found.last, found.last)
        assert loaded.warnings == [
            "clicks: clicks/all.csv changed since being read: records of the version before stay outside of 2025-09-03 to 2025-09-03; "
            "--from 2025-09-01 --to 2025-09-03 replaces them"
        ]
        assert rows(published, "SELECT count(*) FROM logs.clicks") == [(3,)]
    write(tmp_path, "clicks/all.csv", HEADER, THREE_DAYS[1])
    days = days_to_run(settings)
    assert days is not None
    with Warehouse(settings.published_file, KEY) as published:
        assert load(published, settings, *days).warnings == []
        assert rows(published, "SELECT event_id FROM logs.clicks") == [("clicks:2",)]


@pytest.mark.slow
def test_a_file_that_went_keeps_its_records_until_its_days_are_loaded_anew_and_that_is_said(warehouse, configure, tmp_path: Path) -> None:
    settings = configure({**CLICKS, "path": "clicks/*.csv"})
    write(tmp_path, "clicks/a.csv", HEADER, *THREE_DAYS[:2])
    write(tmp_path, "clicks/b.csv", HEADER, THREE_DAYS[2])
    load(warehouse, settings, DAY, DAY + dt.timedelta(days=2))
    (tmp_path / "clicks/a.csv").unlink()
    assert load(warehouse, settings, DAY + dt.timedelta(days=2), DAY + dt.timedelta(days=2)).warnings == []
    assert rows(warehouse, "SELECT count(*) FROM logs.clicks") == [(3,)]
    assert load(warehouse, settings, DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)).warnings == [
        "clicks: clicks/a.csv went since being read: the records of 2025-09-02 to 2025-09-02 that came from there are dropped, because these "
        "days are loaded anew"
    ]
    assert rows(warehouse, "SELECT count(*) FROM logs.clicks") == [(2,)]


WEEKS_OF_CLICKS = 5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("records", "share", "said"),
    [
        (110, 0.2, None),
        (22, 0.2, None),
        (5, 0.2, "2025-10-06 has 5 records, a usual Monday 110: was the day delivered whole?"),
        (0, 0.2, "2025-10-06 has 0 records, a usual Monday 110: was the day delivered whole?"),
        (5, 0, None),
    ],
)
def test_a_day_with_far_fewer_records_than_its_weekday_usually_has_is_told(
    warehouse, configure, tmp_path, records: int, share: float, said
) -> None:
    settings = configure(CLICKS)
    monday = DAY + dt.timedelta(weeks=WEEKS_OF_CLICKS)
    for offset in range(7 * WEEKS_OF_CLICKS + 1):
        day = DAY + dt.timedelta(days=offset)
        # Sundays are quiet.
        count = records if day == monday else 2 if day.weekday() == 6 else 110
        if count:
            write(tmp_path, f"clicks/{day}.csv", HEADER, *(f"{day}-{n},{day}T10:00:00Z,item_view,u{n},,i1,," for n in range(count)))
    sunday = monday - dt.timedelta(days=1)
    load(warehouse, settings, DAY, sunday)
    assert thin_days(warehouse, "clicks", DAY, sunday, share) is None  # a history that is loaded at once
    refresh_events(warehouse, settings, DAY, sunday)
    for first in (sunday, DAY):  # whether or not the days before are loaded once more
        load(warehouse, settings, first, monday)
        found = thin_days(warehouse, "clicks", first, monday, share)
        assert found is None if said is None else found.startswith(said)
    write(tmp_path, f"clicks/{monday + dt.timedelta(days=1)}.csv", HEADER, "t,2025-10-07T10:00:00Z,item_view,u,,i1,,")
    load(warehouse, settings, DAY, monday + dt.timedelta(days=1))
    refresh_events(warehouse, settings, DAY, monday + dt.timedelta(days=1))
    load(warehouse, settings, DAY, monday)
    assert thin_days(warehouse, "clicks", DAY, monday, share) is None  # it was taken as it is


@pytest.mark.slow
def test_the_day_that_is_still_running_is_not_judged(warehouse, configure, tmp_path) -> None:
    today = dt.datetime.now(dt.UTC).date()
    settings = configure(CLICKS)
    for offset, count in ((-7, 110), (-14, 110), (-21, 110), (-28, 110), (-1, 110), (0, 1)):
        day = today + dt.timedelta(days=offset)
        write(tmp_path, f"clicks/{day}.csv", HEADER, *(f"{day}-{n},{day}T00:00:00Z,item_view,u{n},,i1,," for n in range(count)))
    first, yesterday = today - dt.timedelta(days=28), today - dt.timedelta(days=1)
    load(warehouse, settings, first, yesterday)
    refresh_events(warehouse, settings, first, yesterday)
    load(warehouse, settings, first, today)
    assert thin_days(warehouse, "clicks", first, today, 0.2) is None


@pytest.mark.slow
@pytest.mark.parametrize("records", [5, 0, None])
def test_a_day_that_is_delivered_again_with_far_fewer_records_is_told_until_it_is_taken(warehouse, configure, tmp_path, records) -> None:
    """However little is usual yet, and however often it is tried; the file may also be empty, or gone."""
    settings, days = configure(CLICKS), [DAY + dt.timedelta(days=offset) for offset in range(3)]

    def deliver(day: dt.date, count: int) -> None:
        write(tmp_path, f"clicks/{day}.csv", HEADER, *(f"{day}-{n},{day}T10:00:00Z,item_view,u{n},,i1,," for n in range(count)))

    for day in days:
        deliver(day, 110)
    load(warehouse, settings, days[0], days[-1])
    refresh_events(warehouse, settings, days[0], days[-1])
    if records is None:
        (tmp_path / f"clicks/{days[1]}.csv").unlink()
    else:
        deliver(days[1], records)
    for first, last in ((days[1], days[1]), (days[0], days[-1]), (days[0], days[-1])):
        load(warehouse, settings, first, last)
        said = thin_days(warehouse, "clicks", first, last, 0.2)
        assert said is not None
        assert said.startswith(f"{days[1]} has {records or 0} records, and had 110 before: was the day delivered whole?")
    refresh_events(warehouse, settings, days[0], days[-1])  # taken as it is
    load(warehouse, settings, days[0], days[-1])
    assert thin_days(warehouse, "clicks", days[0], days[-1], 0.2) is None


def accounted(warehouse, settings) -> dict[str, int]:
    ingested(warehouse, settings)
    sums = rows(warehouse, "SELECT sum(records_read), sum(events), sum(rejects), sum(duplicates), sum(filtered) FROM events.accounting")
    found = dict(zip(("read", "events", "rejects", "duplicates", "filtered"), map(int, sums[0]), strict=True))
    assert found["read"] == sum(
        rows(warehouse, "SELECT records FROM logs.files")[number][0] for number in range(warehouse.rows(contracts.FILES))
    )
    return found


UNDATED = {**CLICKS, "path": "clicks/*.csv"}


@pytest.mark.slow
def test_what_is_filtered_without_a_time_is_counted_too(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/a.csv", HEADER, GOOD, "2,,item_view,u2,d1,healthcheck,,", "3,never,item_view,u3,d1,healthcheck,,")
    settings = configure({**UNDATED, "drop_when": [{"field": "item", "equals": "healthcheck"}]})
    assert accounted(warehouse, settings) == {"read": 3, "events": 1, "rejects": 0, "duplicates": 0, "filtered": 2}


@pytest.mark.slow
def test_rejects_of_days_and_files_without_a_good_record_are_counted_too(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/a.csv", HEADER, GOOD, "2,2025-11-20T10:00:00Z,purchase,u,d,i,?,")
    write(tmp_path, "clicks/b.csv", HEADER, "3,2025-10-20T10:00:00Z,purchase,u,d,i,?,", "4,2025-12-20T10:00:00Z,purchase,u,d,i,?,")
    write(tmp_path, "clicks/c.csv", HEADER, "5,soon,purchase,u,d,i,1,")
    settings = configure(UNDATED, start_date=dt.date(2025, 1, 1))
    assert available_days(settings) == (DAY, dt.date(2025, 12, 20))
    assert accounted(warehouse, settings) == {"read": 5, "events": 1, "rejects": 4, "duplicates": 0, "filtered": 0}
    assert rows(warehouse, "SELECT day, source_file FROM events.rejects WHERE source_file = 'clicks/c.csv'") == [(DAY, "clicks/c.csv")]


@pytest.mark.slow
def test_where_no_time_can_be_read_all_are_rejects_of_the_first_day(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/a.csv", HEADER, "1,soon,item_view,u,d,i,,", "2,later,item_view,u,d,i,,")
    settings = configure(UNDATED)
    assert available_days(settings) == (DAY, DAY)
    assert accounted(warehouse, settings) == {"read": 2, "events": 0, "rejects": 2, "duplicates": 0, "filtered": 0}
    write(tmp_path, "clicks/a.csv", HEADER)
    assert available_days(configure(UNDATED)) is None


@pytest.mark.slow
def test_a_document_in_a_text_of_a_list_is_parsed(warehouse, configure, tmp_path) -> None:
    inner = [{"ts": "2025-09-01T10:00:00Z", "m": json.dumps({"u": f"u{number}", "i": {"id": f"i{number}"}})} for number in (1, 2)]
    write(tmp_path, "clicks/a.json", json.dumps({"l": inner}), json.dumps({"l": [{"ts": "2025-09-01T11:00:00Z", "m": "no document"}]}))
    source = {
        "name": "clicks",
        "path": "clicks/a.json",
        "format": "json_lines",
        "each": "l",
        "parse": {"l.m": "json"},
        "fields": {"timestamp": "l.ts", "event_type": {"value": "item_view"}, "user_id": "l.m.u", "item_id": "l.m.i.id"},
    }
    ingested(warehouse, configure(source))
    assert rows(warehouse, "SELECT count(*) FROM events.rejects") == [(1,)]
    assert sorted(rows(warehouse, "SELECT item_id FROM events.events")) == [("i1",), ("i2",)]


@pytest.mark.slow
def test_currencies_are_codes_in_capital_letters(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/a.csv", "at,user,value,currency", "2025-09-01T10:00:00Z,u,1,usd", "2025-09-01T11:00:00Z,u,2,USD")
    source = {
        "name": "clicks",
        "path": "clicks/a.csv",
        "format": "csv",
        "fields": {"timestamp": "at", "event_type": {"value": "purchase"}, "user_id": "user", "value": "value", "currency": "currency"},
    }
    ingested(warehouse, configure(source))
    assert rows(warehouse, "SELECT DISTINCT currency FROM events.events") == [("USD",)]


@pytest.mark.slow
def test_a_request_line_is_a_page_or_says_why_it_is_none(warehouse, configure, tmp_path) -> None:
    fates = {
        "GET /a HTTP/1.1": "/a",
        "GET /d HTTP/1.1 ": "/d",
        "GET /red shoes HTTP/1.1": "/red shoes",
        "GET http://shop.example/a HTTP/1.1": "http://shop.example/a",
        "BREW /e HTCPCP/1.0": "/e",
        "OPTIONS * HTTP/1.0": "no page: a request to the server itself",
        "PRI * HTTP/2.0": "no page: a request to the server itself",
        "CONNECT h:443 HTTP/1.1": "no page: a request to the server itself",
        "-": "no request: the connection was closed before one was made",
        r"GET /f HTTP/1.1\r\nHost: x": "malformed line: its request cannot be read",
        "GET": "malformed line: its request cannot be read",
        "hello": "malformed line: its request cannot be read",
    }
    tail = '200 5 "-" "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"'
    write(tmp_path, "a.log", *(f'1.1.1.{n} - "" [01/Sep/2025:10:00:00 +0000] "{line}" {tail}' for n, line in enumerate(fates)))
    ingested(warehouse, configure({"name": "web", "path": "a.log", "preset": "combined"}))
    found = rows(
        warehouse,
        "SELECT source_line, url FROM events.events UNION ALL SELECT source_line, reason FROM events.rejects "
        "UNION ALL SELECT source_line, reason FROM events.filtered ORDER BY 1",
    )
    assert [fate for _, fate in found] == list(fates.values())
    assert rows(warehouse, "SELECT count(user_id) FROM events.events") == [(0,)]  # the empty login is nobody


@pytest.mark.slow
def test_nginx_json_reads_the_address_from_the_request_line(warehouse, configure, tmp_path) -> None:
    lines = [
        {"time_iso8601": f"2025-09-01T10:0{number}:00+00:00", "remote_addr": "1.1.1.1", **url}
        for number, url in enumerate(
            [
                {"request": "GET /a?x=1 HTTP/1.1"},
                {"request_uri": "/b c?y"},
                {"request": "GET /site.css HTTP/2.0"},
                {"request": "-"},
            ]
        )
    ]
    write(tmp_path, "a.json", *map(json.dumps, lines))
    ingested(warehouse, configure({"name": "web", "path": "a.json", "preset": "nginx_json"}))
    assert rows(warehouse, "SELECT url FROM events.events ORDER BY source_line")[:2] == [("/a",), ("/b c",)]
    assert rows(warehouse, "SELECT reason FROM events.filtered") == [("static asset",)]


def log_with_look_up() -> tuple[dict, dict]:
    lookup = {"name": "names", "kind": "lookup", "path": "names.csv", "format": "csv", "fields": {"id": "id", "name": "name"}}
    log = {
        "name": "log",
        "path": "log.csv",
        "format": "csv",
        "join": {"source": "names", "on": {"i": "id"}},
        "fields": {"timestamp": "t", "user_id": "u", "event_type": {"value": "item_view"}, "item_id": "names.name"},
    }
    return log, lookup


@pytest.mark.slow
@pytest.mark.parametrize(("keys", "told"), [(("1.0", "2.0", "3.0"), "0 of 3"), (("1", "2.0", "3.0"), "1 of 3"), (("1", "2", "3"), None)])
def test_a_look_up_that_nobody_meets_is_said(configure, warehouse, tmp_path, keys: tuple[str, ...], told: str | None) -> None:
    write(tmp_path, "log.csv", "t,u,i", *(f"2025-09-01,u,{key}" for key in keys))
    write(tmp_path, "names.csv", "id,name", "1,one", "2,two", "3,three")
    settings = configure(*log_with_look_up())
    warnings = load_events(warehouse, settings.sources[0], settings, DAY, DAY).warnings
    assert [warning for warning in warnings if "none finds its i in names" in warning] == [
        "log: item_id missing in all of 3 records, because none finds its i in names: written in two ways, or another list?"
    ] * (told == "0 of 3")
    hints = [hint for hint in profile_source(settings.sources[0], settings, 1).hints if "find one" in hint]
    assert hints == ([f"{told} records find one in names by i: written in two ways, or another list?"] if told else [])


@pytest.mark.slow
@pytest.mark.parametrize(("column", "join", "hints"), [("item_id", "-", 1), ("item_id", "/", 0), ("user_id", "-", 0), ("user_id", "", 1)])
def test_ids_of_parts_that_fall_together_are_said(configure, tmp_path, column: str, join: str, hints: int) -> None:
    write(
        tmp_path, "log.csv", "t,a,b", "2025-09-01,x-y,z", "2025-09-01,x,y-z", *(["2025-09-01,ab,c", "2025-09-01,a,bc"] if not join else [])
    )
    fields = {"timestamp": "t", "event_type": {"value": "item_view"}, "user_id": "t", column: {"from": ["a", "b"], "join": join}}
    settings = configure({"name": "log", "path": "log.csv", "format": "csv", "fields": fields})
    assert (
        len([hint for hint in profile_source(settings.sources[0], settings, 1).hints if f"different {column}: say a join" in hint]) == hints
    )


@pytest.mark.parametrize(
    ("encoding", "written", "expected"),
    [
        ("utf-16", "utf-16-be", "encoding: utf-16-be"),
        ("utf-32", "utf-16-le", "encoding: utf-16-le"),
        ("utf-32", "utf-8", "a mark at its begin"),
    ],
)
def test_a_wide_encoding_that_a_file_has_not_is_said(configure, warehouse, tmp_path, encoding: str, written: str, expected: str) -> None:
    (tmp_path / "log.csv").write_bytes("t,u\n2025-09-01,ann\n".encode(written))
    fields = {"timestamp": "t", "event_type": {"value": "login"}, "user_id": "u"}
    settings = configure({"name": "log", "path": "log.csv", "format": {"type": "csv", "encoding": encoding}, "fields": fields})
    for reading in (
        lambda: load_events(warehouse, settings.sources[0], settings, DAY, DAY),
        lambda: profile_source(settings.sources[0], settings, 1),
    ):
        with pytest.raises(
            LogFileError, match=f"log.csv: this is no text in {encoding}: there is no mark at its begin; expected {expected}"
        ):
            reading()


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252", "latin-1", "cp500", "shift_jis"])
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("t,u\n2025-09-01,ann\n".encode("utf-16-le"), "this is a UTF-16 text without a mark; set encoding: utf-16-le"),
        (b"t,u\n2025-09-01,ann\n" + bytes(20), "this is no text: a third of its first bytes are zero; expected a log file"),
    ],
    ids=["UTF-16", "zeros"],
)
def test_what_is_no_text_of_single_bytes_is_said(configure, warehouse, tmp_path, encoding: str, content: bytes, problem: str) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    fields = {"timestamp": "t", "event_type": {"value": "login"}, "user_id": "u"}
    settings = configure({"name": "log", "path": "log.csv", "format": {"type": "csv", "encoding": encoding}, "fields": fields})
    for reading in (
        lambda: load_events(warehouse, settings.sources[0], settings, DAY, DAY),
        lambda: profile_source(settings.sources[0], settings, 1),
    ):
        with pytest.raises(LogFileError, match=f"log.csv: {problem}"):
            reading()


def test_a_file_that_is_cut_off_before_its_first_record_is_said(configure, tmp_path) -> None:
    (tmp_path / "clicks").mkdir()
    (tmp_path / "clicks/a.bz2").write_bytes(bz2.compress(f"{HEADER}\n{GOOD}\n".encode() * 1000)[:60])
    settings = configure({**CLICKS, "path": "clicks/*.bz2"})
    with pytest.raises(LogFileError, match=r"clicks/a.bz2: truncated.* and no record is before it; expected a whole file"):
        profile_source(settings.sources[0], settings, 1)


@pytest.mark.slow
def test_ids_of_a_list_of_rejects_are_no_other_spelling(configure, tmp_path) -> None:
    write(tmp_path, "log.csv", "t,u", "2025-09-01,ann")
    write(tmp_path, "people.csv", "id,age", "ann,x", "bob,y")
    log = {
        "name": "log",
        "path": "log.csv",
        "format": "csv",
        "fields": {"timestamp": "t", "user_id": "u", "event_type": {"value": "login"}},
    }
    people = {
        "name": "people",
        "kind": "users",
        "path": "people.csv",
        "format": "csv",
        "fields": {"user_id": "id"},
        "attributes": {"age": "number"},
    }
    settings = configure(log, people)
    with Warehouse(None, KEY) as engine:
        for source in settings.sources:
            profile_source(source, settings, 1, engine)
        assert ids_that_do_not_meet(engine, settings) == []


def test_what_a_document_holds_in_place_of_an_id_is_none(configure, warehouse, tmp_path) -> None:
    ids = ['"u1"', "false", "true", "[]", "{}", '["x"]', '{"id": 5}', '"{3F2504E0-4F89}"', "0"]
    write(tmp_path, "log.json", *(f'{{"t": "2025-09-01", "u": {one}, "d": "d", "i": {one}}}' for one in ids))
    fields = {"timestamp": "t", "user_id": "u", "anonymous_id": "d", "item_id": "i", "event_type": {"value": "item_view"}}
    settings = configure({"name": "log", "path": "log.json", "format": "json", "fields": fields})
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    found = rows(warehouse, "SELECT user_id IS NOT NULL, item_id, problem FROM logs.log ORDER BY source_line")
    document = "{}: an object or a list, and no id"
    assert found == [
        (True, "u1", None),
        (False, "false", None),
        (False, "true", None),
        (False, "[]", document.format("item_id")),
        (False, "{}", document.format("item_id")),
        (True, '["x"]', document.format("item_id")),
        (True, '{"id":5}', document.format("item_id")),
        (True, "{3F2504E0-4F89}", None),
        (True, "0", None),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("fmt", ["json", "csv"])
@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        ({"pattern": "^(.{8})"}, "alice   bob"),
        ({"decode": "url"}, "alice%20"),
        ({"decode": "form"}, "+alice"),
        ({"replace": {"-": " "}}, "alice-"),
        ({"replace": {"uid=": ""}}, "uid= alice"),
        ({"decode": "url"}, "%09alice%0A"),
        ({}, "alice\u00a0"),
        ({}, " alice"),
    ],
)
def test_blanks_at_the_ends_of_an_id_always_go(configure, warehouse, tmp_path, fmt: str, mapping: dict, text: str) -> None:
    texts = [text, "alice"] + (["\talice\n"] if fmt == "json" else [])
    content = (
        [json.dumps({"t": "2025-09-01", "u": one, "i": one}) for one in texts]
        if fmt == "json"
        else ["t,u,i", *(f"2025-09-01,{one},{one}" for one in texts)]
    )
    write(tmp_path, "log.txt", *content)
    own = {name: {"from": name[0], **copy.deepcopy(mapping)} for name in ("user_id", "item_id")}
    if "pattern" in mapping:
        own = {name: {**one, "pattern": "^(.{1,8})"} for name, one in own.items()}
    settings = configure(
        {"name": "log", "path": "log.txt", "format": fmt, "fields": {"timestamp": "t", "event_type": {"value": "item_view"}, **own}}
    )
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    assert rows(warehouse, "SELECT count(DISTINCT user_id), min(item_id), max(item_id) FROM logs.log WHERE problem IS NULL") == [
        (1, "alice", "alice")
    ]


@pytest.mark.slow
def test_whole_numbers_of_parquet_are_the_same_in_a_column_with_gaps(configure, warehouse, tmp_path) -> None:
    (tmp_path / "p").mkdir()
    pq.write_table(pa.table({"t": ["2025-09-01"] * 3, "u": pa.array([7, 8, 9])}), tmp_path / "p/1.parquet")
    pq.write_table(pa.table({"t": ["2025-09-01"] * 4, "u": pa.array([7.0, 8.0, None, 8.5])}), tmp_path / "p/2.parquet")
    fields = {"timestamp": "t", "user_id": "u", "item_id": "u", "event_type": {"value": "item_view"}}
    settings = configure({"name": "log", "path": "p/*.parquet", "format": "parquet", "fields": fields})
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    found = rows(warehouse, "SELECT item_id FROM logs.log WHERE problem IS NULL ORDER BY source_file, source_line")
    assert [row[0] for row in found] == ["7", "8", "9", "7", "8", "8.5"]


def test_categories_of_a_catalogue_are_parted_well(configure, warehouse, tmp_path) -> None:
    write(tmp_path, "items.csv", "id,c", "1,a | b", "2,A||B|", "3,| ", "4,a/b")
    items = {"name": "items", "kind": "items", "path": "items.csv", "format": "csv", "fields": {"item_id": "id", "categories": "c"}}
    settings = configure(items, CLICKS)
    load_listing(warehouse, settings.sources[0], settings)
    assert rows(warehouse, "SELECT categories FROM logs.items ORDER BY source_line") == [("a|b",), ("A|B",), (None,), ("a/b",)]


def test_a_commit_that_the_disk_refuses_is_no_fault_of_the_files(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, "1,2025-09-01T10:00:00Z,item_view,u1,,i1,,")
    settings = configure(CLICKS)
    source = settings.sources[0]

    def refused(error: duckdb.Error) -> None:
        with read_source(warehouse, source, settings, log_files(source, settings)):
            raise error

    with pytest.raises(duckdb.TransactionException, match="Failed to commit"):
        refused(duckdb.TransactionException("Failed to commit: Could not write file"))
    with pytest.raises(LogFileError, match=r"clicks/2025-09-01.csv: cannot be read: odd bytes"):
        refused(duckdb.InvalidInputException("odd bytes"))
