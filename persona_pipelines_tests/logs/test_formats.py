"""Files written by Python's own csv, json, zip and codecs are read back equal, whatever their layout, packing and encoding."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from persona_pipelines.logs.fields import PARTS_OF_A_LINE
from persona_pipelines.logs.files import LogFileError, log_files
from persona_pipelines.logs.loading import load_events, read_source
from persona_pipelines.logs.profile import profile_source
from persona_pipelines.settings import ConfigurationError, Settings, Source
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import DAY, KEY, ingested, law, rows, write
from persona_pipelines_tests.logs.test_round_trips import blocks_of

pytestmark = pytest.mark.slow


CELLS = st.none() | st.text(st.sampled_from('ab\\tnrN\t\n\r", é'), min_size=0, max_size=8).filter(lambda text: text.strip("\r") == text)
FIELDS = {"timestamp": {"value": "2025-09-01T10:00:00Z"}, "event_type": {"value": "item_view"}, "user_id": {"value": "u"}}


def source(fmt, path: str = "log.txt", **more) -> dict:
    fields = {**FIELDS, "item_id": "a", "campaign": "b", **more.pop("fields", {})}
    return {"name": "log", "path": path, "format": fmt, "same": "never", "identifiers": {"form": "none"}, "fields": fields, **more}


def configured(folder: Path, *sources: dict) -> Settings:
    return Settings(
        name="test", start_date=DAY, sources=list(sources), logs={"settle_seconds": 0}, file=folder / "persona.yaml", home=folder / "home"
    )


def read(warehouse, folder: Path, described: dict, *lookups: dict) -> tuple[list[tuple], list[tuple]]:
    """Item and campaign of the good records, line and problem of the others, both in the order of the file."""
    found = [(row, row["problem"] or row["document_problem"]) for row in records(warehouse, folder, described, *lookups)]
    good = [(row["item_id"], row["campaign"]) for row, problem in found if problem is None]
    return good, [(row["source_line"], problem) for row, problem in found if problem is not None]


def records(warehouse, folder: Path, described: dict, *lookups: dict) -> list[dict]:
    """The records of a source with its text fields by the column that they are for, as the readers give them.

    As many of them are the first of their record as the reader has counted.
    """
    chosen = configured(folder, described, *lookups)
    (read_from, *_) = chosen.sources
    found: list[dict] = []
    with read_source(warehouse, read_from, chosen, log_files(read_from, chosen)) as batches:
        for batch in batches:
            asked = warehouse.connection.execute('SELECT * FROM temp."records" ORDER BY "order", source_part')
            names = [column[0] for column in asked.description or []]
            rows_ = [dict(zip(names, row, strict=True)) for row in asked.fetchall()]
            assert sum(reading.records for reading in batch.readings) == sum(
                (row["source_part"] - 1) % PARTS_OF_A_LINE == 0 for row in rows_
            )
            found += rows_
    paths = read_from.paths()
    for row in found:
        for name, mapping in read_from.fields.items():
            if mapping.from_:
                row[name] = row[f"field_{paths.index(mapping.from_[0])}"]
    return found


@pytest.mark.parametrize("head", [('{"a": 8}', '{"a": 9}'), ("{", '"a": 9}'), ('say "hi', "[{("), ("[", ""), ("]", "}"), ("x", '"a": 1')])
@pytest.mark.parametrize(
    ("fmt", "lines", "at"),
    [
        ({"type": "json"}, ('{"a": 1, "b": "x"}', '{"a": 2}'), (3, 4)),
        ({"type": "json"}, ('[{"a": 1, "b": "x"}, {"a": 2}]',), (3, 3)),
        ({"type": "json"}, ("{", '"a": 1, "b": "x"}', "{", '"a": 2}'), (3, 5)),
        ({"type": "json"}, ("[", '{"a": 1, "b": "x"},', '{"a": 2}', "]"), (4, 5)),
        ({"type": "json_lines"}, ('{"a": 1, "b": "x"}', '{"a": 2}'), (3, 4)),
        ({"type": "csv", "header": False, "columns": ["a", "b"]}, ("1,x", "2,"), (3, 4)),
    ],
)
def test_lines_at_the_head_that_are_no_records_are_left_out_and_counted_as_lines(
    warehouse, tmp_path, fmt: dict, lines: tuple[str, ...], at: tuple[int, int], head: tuple[str, str]
) -> None:
    write(tmp_path, "log.txt", *head, *lines)
    found = records(warehouse, tmp_path, source({**fmt, "skip_lines": 2}))
    assert [(row["item_id"], row["campaign"] or None, row["source_line"]) for row in found] == [("1", "x", at[0]), ("2", None, at[1])]


@pytest.mark.parametrize("comment", ["//", '// say "{[', "// ]}", '//"'])
@pytest.mark.parametrize(
    "lines",
    [
        ('{"a": 1, "b": "x"}', '{"a": 2}'),
        ('[{"a": 1, "b": "x"}, {"a": 2}]',),
        ("{", '"a": 1,', '"b": "x"}', "{", '"a": 2}'),
        ("[", '{"a": 1, "b": "x"},', '{"a": 2}', "]"),
    ],
)
def test_comments_open_and_close_no_values_wherever_they_stand(warehouse, tmp_path, lines: tuple[str, ...], comment: str) -> None:
    for place in range(len(lines) + 1):
        write(tmp_path, "log.txt", *lines[:place], comment, *lines[place:])
        assert read(warehouse, tmp_path, source({"type": "json", "comment": "//"})) == ([("1", "x"), ("2", None)], [])


def test_a_quote_that_is_not_closed_costs_its_own_line(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b", "1,x", '2,"open', "3,x", '4,"two\nlines"', "5,x")
    found, problems = read(warehouse, tmp_path, source({"type": "csv", "line_breaks_in_quotes": True}))
    assert [row[0] for row in found] + [str(line) for line, _ in problems] != []
    assert ("1", "x") in found
    assert sum(1 for _ in found) + len(problems) >= 3  # nothing vanishes
    assert all("quote" in reason or "columns" in reason for _, reason in problems)


@pytest.mark.parametrize("broken", ['2,"open', '2,5" disk', '2,"a" b'])
@pytest.mark.parametrize("last", ['9,"q\nr"', '9,"q r"', '9,5" x', '9,"",'])
@pytest.mark.parametrize("count", [3, 400])
def test_a_quote_that_another_one_closes_by_chance_costs_its_own_line(warehouse, tmp_path, broken: str, last: str, count: int) -> None:
    good = [f"g{number},x" for number in range(count)]
    write(tmp_path, "log.txt", "a,b", broken, *good, last, "10,z")
    found, problems = read(warehouse, tmp_path, source({"type": "csv", "line_breaks_in_quotes": True}))
    expected = [*(tuple(line.split(",")) for line in good), *([("9", last[3:-1])] if last.endswith('r"') else []), ("10", "z")]
    assert found == expected
    assert problems[0][0] == 2
    assert len(found) + len(problems) == count + 3


def test_what_stands_before_a_header_and_between_files_that_were_joined_is_no_record(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "Report of the shop", "", "# made today", "a;b", "1;x", "# a comment", "a;b", "2;y")
    found, problems = read(warehouse, tmp_path, source({"type": "csv", "delimiter": ";", "header": "a;", "comment": "#"}))
    assert (found, problems) == ([("1", "x"), ("2", "y")], [])
    with pytest.raises(LogFileError, match=r"log.txt: no line begins with 'z;'"):
        read(warehouse, tmp_path, source({"type": "csv", "header": "z;"}))


def test_columns_may_be_added_or_left_out_by_setting(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b", "1,x,more", "2", "3,z")
    assert read(warehouse, tmp_path, source("csv"))[0] == [("3", "z")]
    relaxed = {"type": "csv", "further_columns": "ignore", "missing_columns": "empty"}
    assert read(warehouse, tmp_path, source(relaxed)) == ([("1", "x"), ("2", None), ("3", "z")], [])
    write(tmp_path, "log.txt", "a", "1")
    assert read(warehouse, tmp_path, source(relaxed)) == ([("1", None)], [])


def test_a_column_that_stands_twice_is_refused_where_it_is_read(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b,a", "1,x,2")
    with pytest.raises(LogFileError, match=r"line 1: column 'a' stands there twice"):
        read(warehouse, tmp_path, source("csv"))


def test_blank_fields_take_the_value_above_them_in_the_same_order(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "order,a,b", "1,A,x", "1,B,", "2,C,", "2,D,y", "2,E,")
    fmt = {"type": "csv", "fill_down": {"within": "order", "fields": ["b"]}}
    found, _ = read(warehouse, tmp_path, source(fmt, fields={"channel": "order"}))
    assert found == [("A", "x"), ("B", "x"), ("C", None), ("D", "y"), ("E", "y")]


ROWS = st.lists(st.tuples(st.sampled_from("123"), st.sampled_from(["ann", "bob", ""]), st.sampled_from("xyz")), min_size=1, max_size=8)


@law(60)
@given(rows_=ROWS, blank=st.sets(st.integers(0, 8)), repeated=st.sets(st.integers(0, 8)))
def test_merged_cells_are_filled_from_the_outermost_to_the_innermost(
    rows_: list[tuple[str, str, str]], blank: set[int], repeated: set[int]
) -> None:
    """A value that is the same as above, with all before it, may be left out, and a row of blank cells be between any two."""
    lines, above = ["order,who,item"], ("", "")
    for number, (order, who, item) in enumerate(rows_):
        # Somebody who is not named is told from the one above by an order before them alone.
        same_order = order == above[0] and number not in repeated and bool(who or not above[1])
        lines += [" ,,"] * (number in blank)
        lines.append(",".join(["" if same_order else order, "" if same_order and who == above[1] else who, item]))
        above = (order, who)
    with TemporaryDirectory() as folder, Warehouse(None, KEY) as engine:
        write(Path(folder), "log.txt", *lines, "Total,,9")
        fields = {"list_id": "order", "item_id": "item", "campaign": "who"}
        described = source({"type": "csv", "fill_down": {"fields": ["order", "who"]}}, fields=fields)
        found = [(row["list_id"], row["campaign"], row["item_id"]) for row in records(engine, Path(folder), described)]
    assert len(found) == len(lines)
    assert [row for row in found if any(row)] == [(order, who or None, item) for order, who, item in rows_] + [("Total", None, "9")]


def test_what_begins_anew_behind_a_line_that_cannot_be_read_is_known_to_be_missing(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "order,a,b", "1,ann,x", "2,bob,y,z", "3,,v", ",,w", ",cid,u")
    fmt = {"type": "csv", "fill_down": {"fields": ["order", "a"]}}
    found = records(warehouse, tmp_path, source(fmt, fields={"list_id": "order"}))
    assert [(row["list_id"], row["item_id"], row["campaign"], row["problem"] is None) for row in found if row["source_line"] != 3] == [
        ("1", "ann", "x", True),
        ("3", None, "v", True),
        ("3", None, "w", True),
        ("3", "cid", "u", True),
    ]


def test_the_same_text_that_means_another_thing_is_no_duplicate(configure, tmp_path) -> None:
    """What lines above give, the header and the name of the file say are parts of what a record says; delivered again, it is the same."""
    plain = {"timestamp": "t", "user_id": "u", "item_id": "i", "event_type": {"value": "purchase"}}
    files = {
        "down": ["t,u,i", "2025-09-01,ann,p1", ",,p2", "2025-09-01,bob,p1", ",,p2"],
        "h_1": ["t,u,i", "2025-09-01,5,7"],
        "h_2": ["t,i,u", "2025-09-01,5,7"],
        "d-2025-09-01": ["u,i", "ann,p1"],
        "d-2025-09-02": ["u,i", "ann,p1"],
    }
    for folder in ("first", "again"):
        (tmp_path / folder).mkdir()
        for name, lines in files.items():
            write(tmp_path / folder, f"{name}.csv", *lines)
    of_file = {**plain, "timestamp": {"from": "@file", "pattern": r"(\d{4}-\d{2}-\d{2})"}}
    down = {"type": "csv", "fill_down": {"fields": ["t", "u"]}}
    for path, fmt, fields, count in (("down", down, plain, 4), ("h_*", "csv", plain, 2), ("d-*", "csv", of_file, 2)):
        for folder, duplicates in (("first", 0), ("*", count)):
            with Warehouse(None, KEY) as engine:
                ingested(engine, configure({"name": "log", "path": f"{folder}/{path}.csv", "format": fmt, "fields": fields}))
                found = rows(engine, "SELECT (SELECT count(*) FROM events.events), (SELECT count(*) FROM events.duplicates)")
                assert found == [(count, duplicates)], path


@pytest.mark.parametrize("fmt", ["json", "parquet"])
def test_a_list_is_no_text_to_be_split(warehouse, tmp_path, fmt: str) -> None:
    if fmt == "parquet":
        pq.write_table(pa.table({"a": [["q", "r"]], "b": ["x"]}), tmp_path / "log.txt")
    else:
        write(tmp_path, "log.txt", *(json.dumps({"a": one, "b": "x"}) for one in (["q", "r"], "q,r", {"q": "r"})))
    good, problems = read(warehouse, tmp_path, source(fmt, each={"path": "a", "split": ","}))
    assert good == ([("q", "x"), ("r", "x")] if fmt == "json" else [])
    assert problems == [(line, "each: a is no text to be split") for line in ([1, 3] if fmt == "json" else [1])]


@pytest.mark.parametrize("line", ['[7, {"a": "1"}, {"a": "2"}]', '[{"a": "1"}, 7, {"a": "2"}]', '[{"a": "1"}, {"a": "2"}, 7]'])
@pytest.mark.parametrize(("before", "size"), [(0, None), (1, None), (1, 1)])
def test_what_is_no_object_in_an_array_costs_itself(warehouse, tmp_path, line: str, before: int, size: int | None) -> None:
    write(tmp_path, "log.txt", *['{"a": "0"}'] * before, line, '{"a": "3"}')
    with blocks_of(size):
        found, problems = read(warehouse, tmp_path, source("json"))
    assert found == [("0", None)] * before + [("1", None), ("2", None), ("3", None)]
    assert problems == [(before + 1, "malformed line: not a JSON object")]


def test_columns_may_be_missing_in_a_file_of_parquet(warehouse, tmp_path) -> None:
    pq.write_table(pa.table({"a": ["1"], "b": ["x"]}), tmp_path / "log1.parquet")
    pq.write_table(pa.table({"a": ["2"], "c": ["y"]}), tmp_path / "log2.parquet")
    fmt = {"type": "parquet", "missing_columns": "empty"}
    assert read(warehouse, tmp_path, source(fmt, path="log*.parquet")) == ([("1", "x"), ("2", None)], [])
    with pytest.raises(LogFileError, match=r"log2.parquet: column 'b' not found; found a, c"):
        read(warehouse, tmp_path, source("parquet", path="log*.parquet"))


@pytest.mark.parametrize("how", ["decode", "parse"])
def test_a_nul_that_is_percent_encoded_stays_as_it_stands(warehouse, tmp_path, how: str) -> None:
    texts = ["%00x", "%2500x", "%E2%82%AC"]
    write(tmp_path, "log.txt", "a,b", *(f"{'?i=' * (how == 'parse')}{text},{number}" for number, text in enumerate(texts)))
    described = source("csv", fields={"item_id": "a.i" if how == "parse" else {"from": "a", "decode": "url"}, "list_id": "b"})
    settings = configured(tmp_path, described | ({"parse": {"a": "parameters"}} if how == "parse" else {}))
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    assert rows(warehouse, "SELECT item_id FROM logs.log ORDER BY source_line") == [("%00x",), ("%00x",), ("€",)]


def summed_by(name: str) -> tuple[dict, dict]:
    """A source whose campaign is the running sum of a look-up in ``NAME.csv``, and the look-up."""
    running = {"of": "d", "by": "who", "along": "n"}
    look_up = {
        "name": name,
        "kind": "lookup",
        "path": f"{name}.csv",
        "format": "csv",
        "fields": {"id": "id", "sum": {"running_sum": running}},
    }
    return source("csv", join={"source": name, "on": {"a": "id"}}, fields={"campaign": f"{name}.sum"}), look_up


def test_records_that_come_again_add_nothing_to_a_sum(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b", *(f"o{number},x" for number in range(1, 4)))
    orders = ["o1,A,1,", "o2,A,2,7", "o2,A,2,7", "o3,A,3,30", "o1,A,1,100", "o2,A,2,no number", "o3,A,first,1"]
    write(tmp_path, "orders.csv", "id,who,n,d", *orders)
    described, look_up = summed_by("orders")
    assert [sum_ for _, sum_ in read(warehouse, tmp_path, described, look_up)[0]] == ["0.0", "7.0", "37.0"]
    shown = profile_source((settings := configured(tmp_path, described, look_up)).sources[1], settings, 9).rows
    assert list(shown["sum"].drop_duplicates()) == ["0.0", "7.0", "37.0"]
    unasked = configured(tmp_path, source("csv"), look_up)
    assert set(profile_source(unasked.sources[1], unasked, 3).rows["sum"]) == {
        "no order: a record without a number or a time to be ordered by"
    }


@pytest.mark.parametrize("left_out", ["o1,A,1,3,open", "o2,A,2,x,open", "o9,A,bad,2,open", "o9,A,1,40,open", ",,,,", "o9,A"])
def test_records_that_are_left_out_are_no_part_of_a_sum(warehouse, tmp_path, left_out: str) -> None:
    """But a line that cannot be read may have been any."""
    write(tmp_path, "log.txt", "a,b", *(f"o{number},x" for number in range(1, 4)))
    write(tmp_path, "orders.csv", "id,who,n,d,state", left_out, "o1,A,1,5,paid", "o2,A,2,4,paid", "o3,A,3,1,paid")
    described, look_up = summed_by("orders")
    look_up["drop_when"] = [{"field": "state", "missing": True} if left_out == "o9,A" else {"field": "state", "equals": "open"}]
    expected = ["no order: a record without a number or a time to be ordered by"] * 3 if left_out == "o9,A" else ["5.0", "9.0", "10.0"]
    assert [sum_ for _, sum_ in read(warehouse, tmp_path, described, look_up)[0]] == expected
    assert len(profile_source((settings := configured(tmp_path, described, look_up)).sources[1], settings, 9).rows) == 3


OF_ORDERS = {"name": "people", "kind": "lookup", "path": "people.csv", "format": "csv", "fields": {"key": "key", "who": "who"}}


@pytest.mark.parametrize(
    ("case", "count"),
    [
        ("by a field above", 4),
        ("by a file", 4),
        ("by a path in a field above", 4),
        ("dropped by a field above", 2),
        ("dropped by a file", 2),
    ],
)
def test_the_same_text_is_told_apart_by_what_is_looked_up_and_dropped_too(configure, tmp_path, case: str, count: int) -> None:
    lines = ["order,user,item", "o1,u1,a", ",u1,b", "o2,u1,a", ",u1,b"]
    files = {"log1.csv": lines}
    if "file" in case:
        files = {f"log{number}.csv": ["user,item", "u1,a", "u1,b"] for number in (1, 2)}
    elif "path" in case:
        files = {"log1.csv": [line.replace("o1", '"{""t"": ""x""}"').replace("o2", '"{""t"": ""y""}"') for line in lines]}
    for name, content in files.items():
        write(tmp_path, name, *content)
    write(tmp_path, "people.csv", "key,who", "o1,ann", "o2,bob", "log1.csv,ann", "log2.csv,bob")
    fields = {"timestamp": {"value": "2025-09-01T10:00:00Z"}, "user_id": "user", "item_id": "item", "event_type": {"value": "purchase"}}
    described = {"name": "log", "path": "log*.csv", "format": {"type": "csv", "fill_down": {"fields": ["order"]}}, "fields": fields}
    if "file" in case:
        described["format"] = "csv"
    key = "@file" if "file" in case else "order"
    if case.startswith("dropped"):
        described["drop_when"] = [{"field": key, "one_of": ["o1", "log1.csv"]}]
    elif "path" in case:
        fields["campaign"] = "order.t"
    else:
        described["join"] = {"source": "people", "on": {key: "key"}}
        fields["user_id"] = "people.who"
    with Warehouse(None, KEY) as engine:
        ingested(engine, configure(described, *([OF_ORDERS] if "join" in described else [])))
        found = rows(engine, "SELECT (SELECT count(*) FROM events.events), (SELECT count(*) FROM events.duplicates)")
        filtered = rows(engine, "SELECT count(*) FROM events.filtered")
    assert (found, filtered) == ([(count, 0)], [(4 - count,)])


@pytest.mark.parametrize(
    "numbers",
    [["1767344400.1234567891", "1767344400.1234567892"], ["1.10", "1.1"], ["1839284712.1699999999", "1839284712.1699999998"], ["1.0", "1"]],
)
def test_numbers_of_other_digits_are_other_content(configure, tmp_path, numbers: list[str]) -> None:
    lines = [f'{{"t": "2025-09-01T10:00:00Z", "u": {number}, "i": "a"}}' for number in numbers]
    turned = [f'{{"i": "a", "u": {number}, "t": "2025-09-01T10:00:00Z"}}' for number in numbers]
    write(tmp_path, "log.json", *lines, *turned)
    fields = {"timestamp": "t", "user_id": "u", "item_id": "i", "event_type": {"value": "item_view"}}
    with Warehouse(None, KEY) as engine:
        ingested(engine, configure({"name": "log", "path": "log.json", "format": "json", "fields": fields}))
        found = rows(engine, "SELECT (SELECT count(*) FROM events.events), (SELECT count(*) FROM events.duplicates)")
    assert found == [(2, 2)]


def test_a_record_that_is_left_out_takes_nobodys_place(configure, tmp_path) -> None:
    """An order that is first open and then paid, and delivered once more when it is."""
    lines = ["id,state,user,item", "1,open,u,a", "1,open,u,a", "1,paid,u,a", "1,paid,u,a", "2,open,v,b"]
    write(tmp_path, "log.csv", *lines)
    fields = {
        "event_id": "id",
        "timestamp": {"value": "2025-09-01"},
        "user_id": "user",
        "item_id": "item",
        "event_type": {"value": "purchase"},
    }
    described = {"name": "log", "path": "log.csv", "format": "csv", "fields": fields, "drop_when": [{"field": "state", "equals": "open"}]}
    with Warehouse(None, KEY) as engine:
        ingested(engine, configure(described))
        assert rows(engine, "SELECT source_line FROM events.events") == [(4,)]
        assert rows(engine, "SELECT records_read, events, rejects, duplicates, filtered FROM events.accounting") == [(5, 1, 0, 2, 2)]


TABS = {"type": "csv", "delimiter": "\t", "quote": ""}
IN_TEXTS: list[tuple[Any, dict, Any, str, list]] = [
    ("json", {"m": "json"}, "m.k", "m.k.id", ["x", "y", None]),
    ("json", {"o.m": "json"}, "o.m.k", "o.m.k.id", ["x", "y", None]),
    ("json", {"m": "json", "m.d": "json"}, "m.d.k", "m.d.k.id", ["x", "y", None]),
    ("json", {"m": "json"}, {"path": "m.t", "split": " "}, "m.t", ["p", "q"]),
    (TABS, {}, "m.k", "m.k.id", ["x", "y", None]),
    (TABS, {}, "m.k", "@index", ["1", "2", "1"]),
    (TABS, {"m": "json"}, {"path": "m.t", "split": " "}, "m.t", ["p", "q"]),
    (TABS, {}, {"path": "m.t", "split": " "}, "m.t", ["p", "q"]),
]


@pytest.mark.parametrize("case", range(len(IN_TEXTS)))
def test_a_list_inside_of_a_text_is_reached_and_a_damaged_text_is_a_reject(warehouse, tmp_path, case: int) -> None:
    fmt, parse, each, item, expected = IN_TEXTS[case]
    listed = '{"k": [{"id": "x"}, {"id": "y"}]}'
    whole = json.dumps({**json.loads(listed), "t": "p q", "d": listed})
    texts = [whole, whole[:-9], "-", "[1]"]
    written = [json.dumps({"m": text, "o": {"m": text}, "u": "u"}) for text in texts]
    write(tmp_path, "log.txt", *(written if fmt == "json" else ["u\tm", *(f"u\t{text}" for text in texts)]))
    described = source(fmt, parse=parse, each=each, fields={"item_id": item, "campaign": "u"})
    found = [(row["item_id"], row["problem"] or row["document_problem"], row["skipped"]) for row in records(warehouse, tmp_path, described)]
    assert [entry for entry, problem, skipped in found if problem is None and skipped is None] == expected
    damaged, no_object = [problem for _, problem, _ in found if problem is not None]
    assert ("no JSON document" in damaged, "is no object" in no_object) == (True, True)


@law(60)
@given(
    values=st.lists(
        st.one_of(st.none(), st.just(float("nan")), st.integers(-(2**59), 2**59).map(float), st.floats(width=32, allow_infinity=False)),
        min_size=1,
        max_size=5,
    ),
    single=st.booleans(),
    statistics=st.booleans(),
)
@example(values=[17850.0, 17851.0, float("nan")], single=False, statistics=True)
@example(values=[0.1, float("nan"), 1e-9], single=False, statistics=True)
@example(values=[float("nan"), 0.5], single=False, statistics=True)
@example(values=[1234567890123456.0, 1e16], single=False, statistics=True)
def test_floats_of_parquet_are_whole_where_they_are_and_nan_is_none(values: list[float | None], single: bool, statistics: bool) -> None:
    column = pa.array(
        np.array([np.nan if value is None else value for value in values], dtype="float32" if single else "float64"),
        mask=np.array([value is None for value in values]),
    )
    with TemporaryDirectory() as name, Warehouse(None, KEY) as engine:
        pq.write_table(pa.table({"a": column, "b": ["x"] * len(values)}), Path(name) / "log.parquet", write_statistics=statistics)
        found, problems = read(engine, Path(name), source("parquet", path="log.parquet"))
    assert problems == []
    for (text, _), value in zip(found, column.to_pylist(), strict=True):
        if value is None or value != value:
            assert text is None
        elif value == int(value) and abs(value) < 1e18:
            assert text == str(int(value))
        else:
            assert (np.float32(text) if single else float(text)) == value


def test_a_line_without_values_is_no_record(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a;b", "1;x", ";", " ; ", '"";""', ";;;", "   ", "2;")
    found = records(warehouse, tmp_path, source({"type": "csv", "delimiter": ";"}))
    assert [(row["item_id"], row["problem"], row["skipped"]) for row in found] == [
        ("1", None, None),
        *[(None, None, "a line without values")] * 5,
        ("2", None, None),
    ]


@law(40)
@given(cells=st.lists(st.text(" \t\x0b\x85\u00a0\u1680\u2009\u202f\u3000", max_size=2), min_size=3, max_size=3), above=st.booleans())
@example(cells=["\u00a0", "", ""], above=True)
@example(cells=["", "\u00a0", ""], above=True)
def test_a_line_of_blanks_of_any_kind_is_no_record(cells: list[str], above: bool) -> None:
    with TemporaryDirectory() as name, Warehouse(None, KEY) as engine:
        write(folder := Path(name), "log.txt", "a;b;c", "1;x;p", ";".join(cells), "2;y;q")
        fill = {"fill_down": {"fields": ["a", "b"]}} if above else {}
        found = records(engine, folder, source({"type": "csv", "delimiter": ";", **fill}))
    assert [(row["item_id"], row["campaign"], row["problem"], row["skipped"]) for row in found] == [
        ("1", "x", None, None),
        (None, None, None, "a line without values"),
        ("2", "y", None, None),
    ]


@pytest.mark.parametrize("sameness", [{}, {"same": "id"}, {"same": "content"}, {"same": "never"}])
def test_lines_without_values_are_filtered_each_and_repeat_nothing(configure, tmp_path, sameness: dict) -> None:
    for name in ("1.csv", "2.csv"):
        write(tmp_path, name, "id,t,user,item", f"{name},2025-09-01T10:00:00Z,u,a", *[",,,"] * 4, " , ,,")
    fields = {"timestamp": "t", "user_id": "user", "item_id": "item", "event_type": {"value": "purchase"}}
    fields |= {} if sameness.get("same") in ("content", "never") else {"event_id": "id"}
    with Warehouse(None, KEY) as engine:
        ingested(engine, configure({"name": "log", "path": "*.csv", "format": "csv", "fields": fields, **sameness}))
        assert rows(engine, "SELECT records_read, events, rejects, duplicates, filtered FROM events.accounting") == [(12, 2, 0, 0, 10)]


def test_a_number_within_what_is_not_told_is_refused(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "order,a,b", "1,A,x", "1,B,", "2,C,y")
    fmt = {"type": "csv", "fill_down": {"within": "order", "fields": ["b"]}}
    assert read(warehouse, tmp_path, source(fmt, fields={"channel": "@within"}))[0] == [("A", "x"), ("B", "x"), ("C", "y")]
    with pytest.raises(LogFileError, match=r"log.txt, line 1: @within: .*; expected format.fill_down"):
        read(warehouse, tmp_path, source("csv", fields={"channel": "@within"}))


def test_a_value_that_is_not_closed_costs_itself(warehouse, tmp_path) -> None:
    values = [json.dumps({"a": str(number), "b": "x"}, indent=2) for number in range(5)]
    values[2] = values[2].removesuffix("}")
    write(tmp_path, "log.txt", *values)
    found, problems = read(warehouse, tmp_path, source("json"))
    assert [row[0] for row in found] == ["0", "1", "3", "4"]
    assert problems == [(9, "malformed line: not a JSON object")]


@pytest.mark.parametrize("begin", ["server starts {", "{", '{"a": "cut",', '{"a": "cut', '{\n "a": "cut",\n "b": 2,'])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_value_that_is_not_closed_costs_no_other_one_whatever_closes_it_later(
    warehouse, tmp_path, begin: str, indent: int | None
) -> None:
    values = [json.dumps({"a": str(number), "b": "x"}, indent=indent) for number in range(50)]
    write(tmp_path, "log.txt", begin, *values, "}", '{"a": "last", "b": "x"}')
    found, problems = read(warehouse, tmp_path, source("json"))
    assert [row[0] for row in found] == [*(str(number) for number in range(50)), "last"]
    assert problems
    assert {reason for _, reason in problems} == {"malformed line: not a JSON object"}


def test_objects_in_a_list_that_begin_their_lines_are_parts_of_their_value(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "{", '"a": "1", "list": [', "{", '"x": NaN', "}", "]", "}", '{"a": "2"}')
    assert [row["item_id"] for row in records(warehouse, tmp_path, source("json"))] == ["1", "2"]


def test_elements_are_found_by_key_from_the_end_and_all_together(warehouse, tmp_path) -> None:
    record: dict[str, Any] = {
        "p": [{"key": "x", "v": {"s": "1"}}, {"key": "page.of=me", "v": {"s": "2"}}],
        "t": [{"n": "red"}, {"n": None}, {"n": "blue"}],
    }
    write(tmp_path, "log.txt", json.dumps(record), json.dumps({**record, "p": list(reversed(record["p"]))}))
    assert (
        read(warehouse, tmp_path, source("json", fields={"item_id": 'p[key="page.of=me"].v.s', "campaign": "t[*].n"}))[0]
        == [("2", "red|blue")] * 2
    )
    assert read(warehouse, tmp_path, source("json", fields={"item_id": "p[-1].v.s", "campaign": "t[0].n"}))[0] == [
        ("2", "red"),
        ("1", "red"),
    ]


def test_a_text_is_split_and_a_list_that_is_none_is_a_reject(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b", "x y  z,1", ",2")
    found = records(warehouse, tmp_path, source("csv", each={"path": "a", "split": " "}, fields={"channel": "@index"}))
    assert [(row["item_id"], row["channel"], row["skipped"]) for row in found] == [
        ("x", "1", None),
        ("y", "2", None),
        ("z", "3", None),
        (None, "1", "each: a is empty"),
    ]
    write(tmp_path, "log.txt", json.dumps({"a": {"id": "no list"}, "b": "1"}))
    assert read(warehouse, tmp_path, source("json", each="a", fields={"item_id": "a.id"}))[1] == [(1, "each: a is no list")]


def test_json_inside_of_a_text_is_reached(warehouse, tmp_path) -> None:
    inner = json.dumps({"user": {"id": "i7"}, "list": [{"n": "x"}]})
    write(tmp_path, "log.txt", json.dumps({"message": inner}), json.dumps({"message": "NULL"}), json.dumps({"message": inner[:-3]}))
    described = source("json", parse={"message": "json"}, fields={"item_id": "message.user.id", "campaign": "message.list[0].n"})
    found, problems = read(warehouse, tmp_path, described)
    assert found == [("i7", "x"), (None, None)]
    assert problems == [(3, "parse: message is no JSON document")]


@pytest.mark.parametrize("of_elements", [False, True])
def test_a_text_that_is_no_document_is_a_reject_at_whatever_depth(warehouse, tmp_path, of_elements) -> None:
    broken = {
        "id": None,
        "outer": "[1,",
        "middle": json.dumps({"middle": "{'id': 1}"}),
        "inner": json.dumps({"middle": json.dumps({"inner": "id=1"})}),
        "whole": json.dumps({"middle": json.dumps({"inner": json.dumps({"id": "i7"})})}),
        "list": json.dumps({"middle": json.dumps({"inner": "[1]"})}),
    }
    prefix = "items.outer" if of_elements else "outer"
    lines: list[Any] = [{"items": [{"outer": text}]} if of_elements else {"outer": text} for text in broken.values()]
    if of_elements:
        lines.append({"items": ["a text"]})
    write(tmp_path, "log.txt", *map(json.dumps, lines))
    described = source(
        "json",
        **({"each": "items"} if of_elements else {}),
        parse={prefix: "json", f"{prefix}.middle": "json", f"{prefix}.middle.inner": "json"},
        fields={"item_id": f"{prefix}.middle.inner.id"},
    )
    found, problems = read(warehouse, tmp_path, described)
    assert found == [(None, None), ("i7", None), (None, None)]
    assert problems == [
        (2, f"parse: {prefix} is no JSON document"),
        (3, f"parse: {prefix}.middle is no JSON document"),
        (4, f"parse: {prefix}.middle.inner is no JSON document"),
        *([(7, "each: an element of items is no object")] if of_elements else []),
    ]


def test_a_column_that_is_a_document_with_a_document_in_it_is_judged_at_both(warehouse, tmp_path) -> None:
    cells = ["{", '{"in": "{"}', '{"in": "{\\"id\\": \\"i7\\"}"}']
    with (tmp_path / "log.txt").open("w", newline="") as file:
        csv.writer(file).writerows([["j", "b"], *([cell, "x"] for cell in cells)])
    described = source("csv", parse={"j.in": "json"}, fields={"item_id": "j.in.id"})
    found, problems = read(warehouse, tmp_path, described)
    assert found == [("i7", "x")]
    assert problems == [(2, "j is no JSON document"), (3, "parse: j.in is no JSON document")]


def test_a_condition_filters_what_is_no_document_and_nothing_is_missing_in_it(warehouse, tmp_path) -> None:
    texts = ["starting", '{"id": "i1", "n": "x"}', '{"id": "i2"', "err", '{"id": "i3"}']
    write(tmp_path, "log.txt", *(json.dumps({"log": text, "stream": "stderr" if text == "err" else "stdout"}) for text in texts))
    drops = [{"field": "stream", "equals": "stderr"}, {"field": "log", "matches": "^[^{]"}, {"field": "log.n", "missing": True}]
    described = source("json", parse={"log": "json"}, fields={"item_id": "log.id", "campaign": "log.n"}, drop_when=drops)
    settings = configured(tmp_path, described)
    loaded = load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    assert [reading.records for reading in loaded.readings] == [5]
    assert rows(warehouse, "SELECT source_line, item_id, problem, dropped FROM logs.log ORDER BY source_line") == [
        (1, None, None, "dropped: log matches ^[^{]"),
        (2, "i1", None, None),
        (3, None, "parse: log is no JSON document", None),
        (4, None, None, "dropped: stream equals stderr"),
        (5, "i3", None, "dropped: log.n missing True"),
    ]


@pytest.mark.parametrize("text", [r"C:\x64ata\x41.doc", r"\\srv\share", r"a\"b", r"\u0042", "\\", "a\\\\"])
def test_a_line_by_a_pattern_of_its_own_is_taken_as_it_stands(warehouse, tmp_path, text: str) -> None:
    written = json.dumps({"id": text})
    write(tmp_path, "log.txt", f"Mar  3 host app: {text} tail {written}")
    pattern = r"^\w+ +\d+ host app: (?P<a>\S+) tail (?P<b>\{.*\})$"
    described = source({"type": "access_log", "pattern": pattern}, parse={"b": "json"}, fields={"campaign": "b.id"})
    assert read(warehouse, tmp_path, described) == ([(text, text)], [])


@pytest.mark.parametrize("quote", ["", '"'])
@given(cells=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
@example(cells=[("ab", "")])
@example(cells=[("\\t", "a\\\\n"), ("\t\\", None), ("\\", "\\N")])
@law(40)
def test_exports_of_databases_that_escape_by_a_backslash_are_read_back(warehouse, tmp_path_factory, quote: str, cells) -> None:
    """As ``COPY ... TO`` of PostgreSQL and ``mysql -B`` write: tabs, breaks of lines and backslashes by letters."""
    folder = tmp_path_factory.mktemp("export")
    letters = {"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", '"': '\\"' if quote else '"'}

    def written(cell: str | None) -> str:
        return "\\N" if cell is None else quote + "".join(letters.get(character, character) for character in cell) + quote

    text = "".join("\t".join(map(written, row)) + "\n" for row in [("a", "b"), *cells])
    (folder / "log.txt").write_text(text, newline="")
    described = source({"type": "csv", "delimiter": "\t", "quote": quote, "escape": "\\"})
    found, problems = read(warehouse, folder, described)
    assert problems == []
    assert found == [tuple(None if cell is None else cell.strip() or None for cell in row) for row in cells]


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("feed", ["\n", "\r\n"])
def test_a_break_of_lines_behind_an_escape_ends_no_record(warehouse, tmp_path, quote: str, feed: str) -> None:
    lines = ["a,b", f"one\\{feed}two,x", "three\\\\,y", f"four\\\\\\{feed}five,z", "six,w\\"]
    (tmp_path / "log.txt").write_text(feed.join(lines) + feed, newline="")
    described = source({"type": "csv", "quote": quote, "escape": "\\", "line_breaks_in_quotes": True})
    found = [(row["source_line"], row["item_id"], row["campaign"], row["problem"]) for row in records(warehouse, tmp_path, described)]
    unclosed = "a quote is not closed" if quote else "nothing stands behind the escape character at its end"
    assert found == [
        (2, f"one{feed}two", "x", None),
        (4, "three\\", "y", None),
        (5, f"four\\{feed}five", "z", None),
        (7, None, None, f"malformed line: {unclosed}"),
    ]
    alone = source({"type": "csv", "quote": "", "escape": "\\"})
    write(tmp_path, "log.txt", "a,b", "six,w\\")
    assert read(warehouse, tmp_path, alone)[1] == [(2, "malformed line: nothing stands behind the escape character at its end")]


@pytest.mark.parametrize("within", ["order", None])
def test_a_line_that_cannot_be_read_fills_nothing_down(warehouse, tmp_path, within: str | None) -> None:
    lines = ["order,a,b", "1,x,ann", "1,y,", "2,z, ann, bob", "2,v,", "3,w,cy", "3,u,"]
    write(tmp_path, "log.txt", *lines)
    fill = {"fields": ["b"]} | ({"within": within} if within else {})
    found, problems = read(warehouse, tmp_path, source({"type": "csv", "fill_down": fill}, fields={"list_id": "order"}))
    unknown = "fill_down: the line above it that cannot be read may have given its fields"
    assert problems == [(4, "malformed line: 4 columns instead of 3"), *([] if within else [(5, unknown)])]
    assert found == [("x", "ann"), ("y", "ann"), *([("v", None)] if within else []), ("w", "cy"), ("u", "cy")]


def test_a_running_sum_is_in_the_order_of_numbers_or_times_and_of_nothing_else(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b", *(f"{number},x" for number in range(1, 13)))
    sums = [
        "1,ann,2025-01-03,3",
        "2,ann,2025-01-01,1",
        "3,ann,2025-01-02,2",  # by days
        "4,bob,10,1",
        "5,bob,9,2",  # by numbers, and not as texts
        "6,cy,first,1",
        "7,cy,second,2",  # by nothing that has an order
        "8,,1,5",
        "9,,2,5",  # of nobody
        "10,dee,1,1",
        "13,dee,2,7,7",
        "11,dee,3,1",
        "12,ed,1,4",
    ]
    write(tmp_path, "sums.csv", "id,who,n,d", *sums)
    described, look_up = summed_by("sums")
    found, _ = read(warehouse, tmp_path, described, look_up)
    none = "no order: a record without a number or a time to be ordered by"
    assert [sum_ for _, sum_ in found] == ["6.0", "1.0", "3.0", "3.0", "2.0", none, none, None, None, "1.0", "no number before", "4.0"]


@pytest.mark.parametrize("size", [None, 1, 3, 7])
def test_marks_at_the_begin_of_lines_are_no_part_of_them(warehouse, tmp_path, size: int | None) -> None:
    mark = b"\xef\xbb\xbf"
    text = b"".join([mark, b"a,b\n", b"1,x\n", mark, b"a,b\n", mark, b"2,y\n3,z", mark, b"\n", mark])
    (tmp_path / "log.txt").write_bytes(text)
    with blocks_of(size):
        assert read(warehouse, tmp_path, source("csv")) == ([("1", "x"), ("2", "y"), ("3", "z\ufeff")], [])


@pytest.mark.parametrize("again", ["b,a", "a,b", "a,b ", "ab,"])
@pytest.mark.parametrize("feed", ["\n", "\r\n"])
@pytest.mark.parametrize("lines", [1, 3000])
def test_a_header_again_with_its_columns_in_another_order_is_an_error(warehouse, tmp_path, again: str, feed: str, lines: int) -> None:
    (tmp_path / "log.txt").write_text(feed.join(["a,b", *["1,2", "`,c"] * lines, again, "x,y", ""]), newline="")
    described = source("csv")
    if again in ("a,b", "a,b ", "ab,"):  # itself, and the same characters in other words
        found, problems = read(warehouse, tmp_path, described)
        assert (len(found), problems) == (2 * lines + 1 + (again == "ab,"), [])
        return
    with pytest.raises(
        LogFileError, match=r"log.txt: 'b,a' stands in the middle, and the header is 'a,b': files whose columns are in another order"
    ):
        read(warehouse, tmp_path, described)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"o": {"lines": [{"id": 1}]}}, None),
        ({"o": {}}, None),
        ({}, None),
        ({"o": None}, None),
        ({"o": {"lines": None}}, None),
        ({"o": [{"lines": [{"id": 1}]}]}, "each: o is no object, and has no lines"),
        ({"o": '{"lines": []}'}, "each: o is no object, and has no lines"),
        ({"o": "text"}, "each: o is no object, and has no lines"),
        ({"o": {"lines": "text"}}, "each: o.lines is no list"),
    ],
)
def test_a_list_that_cannot_be_reached_is_no_empty_one(warehouse, tmp_path, record: dict, problem: str | None) -> None:
    write(tmp_path, "log.txt", json.dumps(record))
    _, problems = read(warehouse, tmp_path, source("json", each="o.lines", fields={"item_id": "o.lines.id"}))
    assert problems == ([(1, problem)] if problem else [])
    with pytest.raises(ValueError, match=r"goes through a list itself; expected the path of one list"):
        Source.model_validate(source("json", each="o[*].lines"))


def test_names_of_columns_may_stand_in_quotes_and_say_what_is_in_the_way(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a.b,@file,x[0]", "1,2,3")
    described = source("csv", fields={"item_id": '"a.b"', "campaign": '"@file"', "list_id": '"x[0]"'})
    assert read(warehouse, tmp_path, described) == ([("1", "2")], [])
    for first, told in (
        ("sep=;", "the first line is Excel's word on the delimiter: expected skip_lines: 1"),
        (" ", "the first line is blank: expected skip_lines"),
    ):
        write(tmp_path, "log.txt", first, "a;b", "1;2")
        with pytest.raises(LogFileError, match=f"column 'a' not found; .*; {told}"):
            read(warehouse, tmp_path, source({"type": "csv", "delimiter": ";"}))
    (tmp_path / "log.txt").write_bytes(b"a,b\r1,2\r\n3,4\r\n")
    with pytest.raises(LogFileError, match=r"the header has a carriage return in it: lines end in two ways"):
        read(warehouse, tmp_path, source("csv"))


@pytest.mark.parametrize(("unit", "value"), [("s", 90), ("ms", 90_000), ("us", 90_000_000), ("ns", 90_000_000_000)])
def test_durations_of_parquet_are_durations_in_whatever_unit(warehouse, tmp_path, unit: str, value: int) -> None:
    columns = {"a": pa.array([value, value + 1, None, -value], pa.duration(unit)), "b": ["x"] * 4, "n": [1, 2, 3, 4]}
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    described = source("parquet", path="log.parquet", fields={"dwell_ms": {"from": "a", "duration": True}, "list_id": "n"})
    settings = configured(tmp_path, described)
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    one = {"s": 1000, "ms": 1, "us": 0, "ns": 0}[unit]
    assert rows(warehouse, "SELECT dwell_ms, problem FROM logs.log ORDER BY source_line") == [
        (90_000, None),
        (90_000 + one, None),
        (None, None),
        (None, "dwell_ms: not a duration"),
    ]


def test_columns_of_parquet_that_differ_in_case_alone_are_two(warehouse, tmp_path) -> None:
    pq.write_table(pa.table({"A": ["1"], "a": ["2"], "b": ["3"], "B": ["4"]}), tmp_path / "log.parquet")
    described = source("parquet", path="log.parquet", fields={"item_id": "a", "campaign": "b", "list_id": "A", "channel": "B"})
    (record,) = records(warehouse, tmp_path, described)
    assert [record[name] for name in ("item_id", "campaign", "list_id", "channel")] == ["2", "3", "1", "4"]
    assert json.loads(record["record"]) == {"A": "1", "a": "2", "b": "3", "B": "4"}


BLANK = st.text(" \t\n\r\f\x0b\x85\u00a0\u1680\u2003\u2028\u202f\u3000", max_size=2)
INNER = st.sampled_from(["", "ann", "a b", "\u00e9t\u00e9", "[x]", "~", "a\u00a0b"])


@law(60)
@given(
    where=st.sampled_from(["csv", "json", "element", "parquet", "parse", "parameters"]),
    texts=st.lists(st.tuples(BLANK, INNER, BLANK), min_size=1, max_size=4),
)
@example(where="json", texts=[("", "~", "\u00a0")])
@example(where="csv", texts=[("", "ann", "\t"), ("\x0b", "ann", ""), ("", "", "\t")])
def test_blanks_of_all_kinds_at_the_ends_of_fields_go(where: str, texts: list[tuple[str, str, str]]) -> None:
    whole = ["".join(parts) for parts in texts]
    more: dict[str, Any] = {}
    with TemporaryDirectory() as folder, Warehouse(None, KEY) as engine:
        if where == "parquet":
            pq.write_table(pa.table({"a": whole, "b": ["x"] * len(whole)}), Path(folder) / "log.txt")
        elif where == "parameters":
            write(Path(folder), "log.txt", *(json.dumps({"b": "x", "q": "?" + urlencode({"a": one})}) for one in whole))
            more = {"fields": {"item_id": "q.a"}, "parse": {"q": "parameters"}}
        elif where == "parse":
            write(Path(folder), "log.txt", *(json.dumps({"b": "x", "q": json.dumps({"a": one})}) for one in whole))
            more = {"fields": {"item_id": "q.a"}, "parse": {"q": "json"}}
        elif where == "element":
            write(Path(folder), "log.txt", *(json.dumps({"b": "x", "q": [{"a": one}]}) for one in whole))
            more = {"fields": {"item_id": "q.a"}, "each": "q"}
        elif where == "csv":
            with (Path(folder) / "log.txt").open("w", newline="") as stream:
                csv.writer(stream).writerows([["b", "a"], *(["x", one] for one in whole)])
        else:
            write(Path(folder), "log.txt", *(json.dumps({"b": "x", "a": one}) for one in whole))
        numbers = {one: str(number) for number, one in enumerate(sorted({one for _, one, _ in texts if one}))}
        write(Path(folder), "people.csv", "name,id", *(f"{one},{number}" for one, number in numbers.items()))
        people = {"name": "people", "kind": "lookup", "path": "people.csv", "format": "csv", "fields": {"name": "name", "id": "id"}}
        path = more.pop("fields", {"item_id": "a"})["item_id"]
        fmt = {"csv": {"type": "csv", "line_breaks_in_quotes": True}, "parquet": "parquet"}.get(where, "json")
        joined = {"source": "people", "on": {path: "name"}}
        described = source(fmt, fields={"item_id": path, "list_id": "people.id"}, join=joined, **more)
        found = records(engine, Path(folder), described, people)
    assert [(record["item_id"], record["list_id"]) for record in found] == [(one or None, numbers.get(one)) for _, one, _ in texts]


def test_an_empty_file_of_parquet_among_others_is_told(warehouse, tmp_path) -> None:
    pq.write_table(pa.table({"a": ["1"], "b": ["x"]}), tmp_path / "log1.parquet")
    (tmp_path / "log0.parquet").write_bytes(b"")
    settings = configured(tmp_path, source("parquet", path="log*.parquet"))
    loaded = load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    assert "log: 1 files without records: log0.parquet" in loaded.warnings
    assert rows(warehouse, "SELECT count(*) FROM logs.log WHERE problem IS NULL") == [(1,)]


def test_fields_of_another_source_are_found_by_key(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b", "1,x", "2,x", "9,x")
    write(tmp_path, "orders.csv", "id,day,who,n", "1,0,ann,1", "2,5,ann,2", "3,1,bob,1", "4,2,ann,3")
    orders = {
        "name": "orders",
        "kind": "lookup",
        "path": "orders.csv",
        "format": "csv",
        "fields": {"id": "id", "who": "who", "days": {"running_sum": {"of": "day", "by": "who", "along": "n"}}},
    }
    described = source("csv", join={"source": "orders", "on": {"a": "id"}}, fields={"item_id": "orders.who", "campaign": "orders.days"})
    assert read(warehouse, tmp_path, described, orders)[0] == [("ann", "0.0"), ("ann", "5.0"), (None, None)]


def test_a_key_that_stands_twice_gives_its_first_record_and_no_record_twice(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b", "1,x", "2,x")
    write(tmp_path, "orders.csv", "id,who", "1,ann", "1,bob", "2,cid")
    orders = {"name": "orders", "kind": "lookup", "path": "orders.csv", "format": "csv", "fields": {"id": "id", "who": "who"}}
    described = source("csv", join={"source": "orders", "on": {"a": "id"}}, fields={"item_id": "orders.who"})
    assert read(warehouse, tmp_path, described, orders)[0] == [("ann", "x"), ("cid", "x")]
    settings = configured(tmp_path, described, orders)
    with read_source(warehouse, settings.sources[0], settings, log_files(settings.sources[0], settings)) as batches:
        (batch,) = batches
    assert batch.warnings == ["orders: 1 keys stand in records that differ, such as '1': the first of each is used"]
    write(tmp_path, "orders.csv")
    assert read(warehouse, tmp_path, described, orders)[0] == [(None, "x"), (None, "x")]


def test_a_character_that_no_text_may_hold_is_a_reject_however_it_is_written(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", r'{"a": "1", "b": "x\u0000y"}', r'{"a": "2", "b": "x\\u0000y"}', r'{"a": "3", "b": "x\\\u0000y"}')
    assert read(warehouse, tmp_path, source("json")) == ([("2", r"x\u0000y")], [(1, "NUL character"), (3, "NUL character")])


def test_values_may_have_a_carriage_return_between_them(warehouse, tmp_path) -> None:
    (tmp_path / "log.txt").write_bytes(b'{"a": "1"}\r{"a": "2"}\n{"a": "3"}\r{"a": "4"}\r\n{"a": "x}\\r{"}\n')
    assert [row["item_id"] for row in records(warehouse, tmp_path, source("json"))] == ["1", "2", "3", "4", "x}\r{"]


def test_elements_of_a_split_text_are_without_the_blanks_around_them(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a;b", "x | y\t|  |z;1")
    fmt = {"type": "csv", "delimiter": ";"}
    assert [row["item_id"] for row in records(warehouse, tmp_path, source(fmt, each={"path": "a", "split": "|"}))] == ["x", "y", "z"]


PACKINGS = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": zstandard.ZstdCompressor().compress,
    "plain": lambda data: data,
}


@pytest.mark.slow
@pytest.mark.parametrize("packing_", PACKINGS)
@pytest.mark.parametrize("name", ["log.csv", "log.gz", "log.zip", "log"])
def test_a_packing_is_known_by_its_first_bytes_whatever_the_name(warehouse, tmp_path, packing_: str, name: str) -> None:
    (tmp_path / name).write_bytes(PACKINGS[packing_](b"a,b\n1,x\n2,y\n"))
    assert read(warehouse, tmp_path, source("csv", name)) == ([("1", "x"), ("2", "y")], [])


def test_the_files_of_a_zip_archive_are_files_of_their_own(warehouse, tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "log.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("b.csv", "b,a\ny,2\n"), ("a.csv", "a,b\n1,x\n"), ("__MACOSX/._a.csv", "?"), ("folder/c.csv", "a,b\n3,z\n")):
            archive.writestr(name, content)
    found, problems = read(warehouse, tmp_path, source("csv", "log.zip"))
    assert (sorted(found), problems) == ([("1", "x"), ("2", "y"), ("3", "z")], [])
    assert {row["source_file"] for row in records(warehouse, tmp_path, source("csv", "log.zip"))} == {
        "log.zip/a.csv",
        "log.zip/b.csv",
        "log.zip/folder/c.csv",
    }
    with zipfile.ZipFile(tmp_path / "log.zip", "a") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(LogFileError, match=r"log.zip: this zip archive holds .*readme.txt; expected one kind of file, or format.member"):
        read(warehouse, tmp_path, source("csv", "log.zip"))
    assert len(read(warehouse, tmp_path, source({"type": "csv", "member": "?.csv"}, "log.zip"))[0]) == 3


def _workbook() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("[Content_Types].xml", "")
        archive.writestr("xl/workbook.xml", "")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "a PNG picture"),
        (b"%PDF-1.7\n\x00", "a PDF document"),
        (_workbook(), "an Excel workbook"),
        (b"SQLite format 3\0" + b"\0" * 90, "an SQLite database"),
        (b"PAR1\x15\x00\x00", "a Parquet file"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        ("a,b\n1,x\n".encode("utf-16-le"), "a UTF-16 text without a mark; set encoding: utf-16-le"),
        ("a,b\n1,x\n".encode("utf-16-be"), "set encoding: utf-16-be"),
        (gzip.compress(gzip.compress(b"a,b\n", mtime=0), mtime=0), "packed twice"),
    ],
)
def test_what_is_no_log_is_named(warehouse, tmp_path, content: bytes, name: str) -> None:
    (tmp_path / "log.txt").write_bytes(content)
    with pytest.raises(LogFileError, match=rf"log.txt: .*{name}"):
        read(warehouse, tmp_path, source("csv"))


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("windows-1252", "“curly” – €"),
        ("latin-1", "café"),
        ("utf-16", "子供 🎈"),
        ("utf-8-sig", "é"),
        ("shift_jis", "日本語テスト"),
        ("big5", "中文"),
        ("koi8-r", "привет"),
        ("utf-16-le", "é子"),
    ],
)
def test_encodings_come_back_equal(warehouse, tmp_path, encoding: str, text: str) -> None:
    (tmp_path / "log.txt").write_bytes(f"a,b\r\n1,{text}\r\n2,plain\r\n".encode(encoding))
    described = source({"type": "csv", "encoding": "utf-8" if encoding in ("utf-16", "utf-8-sig") else encoding})
    assert read(warehouse, tmp_path, described) == ([("1", text), ("2", "plain")], [])


def test_what_an_encoding_does_not_know_marks_its_line_alone(warehouse, tmp_path) -> None:
    (tmp_path / "log.txt").write_bytes(b"a,b\n1,x\n2,\x81\xff\n3,z\n")
    found, problems = read(warehouse, tmp_path, source({"type": "csv", "encoding": "shift_jis"}))
    assert (found, problems) == ([("1", "x"), ("3", "z")], [(3, "not readable as shift_jis")])


def test_windows_text_that_is_called_latin_1_is_told(warehouse, tmp_path) -> None:
    (tmp_path / "log.txt").write_bytes("a,b\n1,“x”\n2,é\n".encode("windows-1252"))
    found, problems = read(warehouse, tmp_path, source({"type": "csv", "encoding": "latin-1"}))
    assert found == [("2", "é")]
    assert problems == [(2, "control character U+0093: the file is rather windows-1252 than latin-1")]


def test_lines_may_end_in_carriage_returns(warehouse, tmp_path) -> None:
    (tmp_path / "log.txt").write_bytes(b"a,b\r1,x\r2,y\r")
    assert read(warehouse, tmp_path, source("csv")) == ([("1", "x"), ("2", "y")], [])


@pytest.mark.parametrize(
    ("fmt", "message"),
    [
        ({"type": "json_lines", "delimiter": ";"}, r"format.delimiter: found ';'; not a setting known here"),
        ({"type": "csv", "encoding": "klingon"}, r"format.encoding: found 'klingon'; expected an encoding of Python"),
        ({"type": "access_log", "log_format": "%h %Z"}, r"%Z is no directive"),
        ({"type": "access_log", "pattern": r"(\S+)"}, r"expected named groups only"),
        ({"type": "access_log", "pattern": r"(?P<a>(?!x))"}, r"expected a regular expression of RE2"),
        ("xml", r"format.type: found 'xml'; expected one of csv"),
    ],
)
def test_a_setting_of_another_format_is_refused(configure, fmt, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configure(source(fmt))


OWN = '$time_iso8601|$remote_addr|"$request"|$status'


def test_a_format_string_of_ones_own_and_a_request_that_cannot_be_read(warehouse, tmp_path) -> None:
    write(
        tmp_path,
        "log.txt",
        '2025-09-01T10:00:00Z|192.0.2.1|"GET /red shoes HTTP/1.1"|200',
        r'2025-09-01T10:00:00Z|192.0.2.1|"\x16\x03\x01"|400',
        '2025-09-01T10:00:00Z|192.0.2.1|"-"|408',
        "something else",
        r'2025-09-01T10:00:00Z|::1|"GET /caf\xC3\xA9 HTTP/1.1"|200',
    )
    described = source({"type": "access_log", "log_format": OWN}, fields={"item_id": "url", "campaign": "address"})
    found, problems = read(warehouse, tmp_path, described)
    assert found == [("/red shoes", "192.0.2.1"), (None, None), ("/café", "::1")]
    assert problems == [(2, "malformed line: its request cannot be read"), (4, "malformed line: not in the log's format")]
    skipped = [row["skipped"] for row in records(warehouse, tmp_path, described) if row["source_line"] == 3]
    assert skipped == ["no request: the connection was closed before one was made"]


def test_w3c_fields_may_change_in_mid_file(warehouse, tmp_path) -> None:
    write(
        tmp_path,
        "log.txt",
        "#Version: 1.0",
        "#Fields: date a b",
        "2025-09-01 1 x",
        "#Fields: b a",
        '"two words" 2',
        "- 3",
        "#Remark: end",
        "4",
    )
    found, problems = read(warehouse, tmp_path, source("w3c"))
    assert found == [("1", "x"), ("2", "two words"), ("3", None)]
    assert problems == [(8, "malformed line: 1 columns instead of 2")]


def test_lines_before_the_first_names_of_w3c_are_rejects(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "9 z", "#Fields: a b", "1 x")
    assert read(warehouse, tmp_path, source("w3c")) == ([("1", "x")], [(1, "malformed line: no #Fields: line before it")])
    write(tmp_path, "log.txt", "9 z", "8 y")
    with pytest.raises(LogFileError, match="no #Fields: line before the first record"):
        read(warehouse, tmp_path, source("w3c"))


def test_a_cell_that_is_to_hold_a_document_and_holds_none_is_a_reject(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "j,b", '"{""id"": ""1""}",x', "{'id': '2'},x", "nan,x", ",x", '"{""id"": ""5""",x')
    found, problems = read(warehouse, tmp_path, source("csv", fields={"item_id": "j.id"}))
    assert found == [("1", "x"), (None, "x"), (None, "x")]
    assert problems == [(3, "j is no JSON document"), (6, "j is no JSON document")]


@pytest.mark.parametrize("fmt", ["json", "csv"])
def test_elements_that_are_no_objects_are_rejects_where_their_fields_are_read(warehouse, tmp_path, fmt: str) -> None:
    elements = '[{"id": "1"}, null, "3", [4], {"x": 5}]'
    others = ["null", "[]"]
    if fmt == "json":
        write(tmp_path, "log.txt", f'{{"l": {elements}, "b": "x"}}', *(f'{{"l": {one}, "b": "y"}}' for one in others))
    else:
        write(tmp_path, "log.txt", "l,b", '"' + elements.replace('"', '""') + '",x', *(f"{one},y" for one in others))
    found, problems = read(warehouse, tmp_path, source(fmt, each="l", fields={"item_id": "l.id"}))
    assert found == [("1", "x"), (None, "x"), (None, "y"), (None, "y")]
    assert [reason for _, reason in problems] == ["each: an element of l is no object"] * 3
    assert read(warehouse, tmp_path, source(fmt, each="l", fields={"item_id": "l"}))[1] == []


AGENT = "Mozilla/5.0 (X11; Linux) Firefox/1"


@pytest.mark.parametrize(
    ("log_format", "line", "expected"),
    [
        (
            "$remote_addr|$remote_user|$request|$status|$upstream_response_time|$request_time",
            "1.1.1.2|ann smith|GET /item/2 HTTP/1.1|200|0.001, 0.002 : 0.5|1.2",
            ("/item/2", "0.001, 0.002 : 0.5"),
        ),
        (
            '$remote_addr\t"$request"\t$upstream_response_time\t$request_time',
            '1.1.1.2\t"GET /a HTTP/1.1"\t0.001, 0.002\t1.2',
            ("/a", "0.001, 0.002"),
        ),
        (
            '$remote_addr "$request" $upstream_response_time $request_time',
            '1.1.1.2 "GET /a HTTP/1.1" 0.001, 0.002 : 0.1 1.2',
            ("/a", "0.001, 0.002 : 0.1"),
        ),
        ('%{X-Forwarded-For}i %u "%r" %>s', '10.0.0.9, 203.0.113.9 ann "GET /a HTTP/1.1" 200', ("/a", "10.0.0.9, 203.0.113.9")),
        (
            "$remote_addr to: $upstream_response_time: $request $status",
            "1.1.1.1 to: 10.1.1.1:80, [::1]:81: GET /a HTTP/1.1 200",
            ("/a", "10.1.1.1:80, [::1]:81"),
        ),
        ("$upstream_response_time: $request $status", "10.1.1.1:80: GET /a HTTP/1.1 200", ("/a", "10.1.1.1:80")),
        ('$remote_addr "$request" $upstream_response_time/$request_time', '1.1.1.2 "GET /a HTTP/1.1" 0.1, 0.2/0.3', ("/a", "0.1, 0.2")),
        ('$remote_addr "$request" $status $http_user_agent', f'1.1.1.2 "GET /a HTTP/1.1" 200 {AGENT}', ("/a", AGENT)),
        ("$remote_addr;$request;$status;$http_user_agent", f"1.1.1.2;GET /a HTTP/1.1;200;{AGENT}", ("/a", AGENT)),
        (
            '%a [%t] "%r" %>s %{SSL_PROTOCOL}x %{User-Agent}i',
            f'1.1.1.2 [[01/Mar/2026:10:00:00 +0000]] "GET /a HTTP/1.1" 200 - {AGENT}',
            ("/a", AGENT),
        ),
        ('%h %{SSL_PROTOCOL}x %{SSL_CIPHER}x "%r" %b', '1.1.1.1 TLSv1.3 TLS_AES_256 "GET /a HTTP/1.1" 5', ("/a", "TLSv1.3")),
    ],
)
def test_values_of_a_format_string_that_hold_blanks_are_read(warehouse, tmp_path, log_format: str, line: str, expected: tuple) -> None:
    write(tmp_path, "log.txt", line, line.replace("/", "|", 1).replace('"', ""))
    name = next(
        one
        for one in ("user_agent", "upstream_response_time", "forwarded_for", "ssl_protocol")
        if one in log_format.lower().replace("x-forwarded-for", "forwarded_for").replace("user-agent", "user_agent")
    )
    described = source({"type": "access_log", "log_format": log_format}, fields={"item_id": "url", "campaign": name})
    found, problems = read(warehouse, tmp_path, described)
    assert (found, len(problems)) == ([expected], 1)


def test_records_of_a_look_up_that_cannot_be_read_are_said(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", "a,b", "1,x", "2,x", "4,x")
    write(tmp_path, "orders.csv", "id,who", "1,ann", "2,bob,extra", '"3,cid', "4,dan")
    orders = {"name": "orders", "kind": "lookup", "path": "orders.csv", "format": "csv", "fields": {"id": "id", "who": "who"}}
    described = source("csv", join={"source": "orders", "on": {"a": "id"}}, fields={"item_id": "orders.who"})
    assert read(warehouse, tmp_path, described, orders)[0] == [("ann", "x"), (None, "x"), ("dan", "x")]
    settings = configured(tmp_path, described, orders)
    with read_source(warehouse, settings.sources[0], settings, log_files(settings.sources[0], settings)) as batches:
        (batch,) = batches
        (told,) = batch.warnings
    assert told.startswith("orders.csv, line 3: malformed line: ")
    assert told.endswith("; 2 such records are left out of the look-up orders")


def test_empty_texts_are_no_parts_of_a_list(warehouse, tmp_path) -> None:
    write(tmp_path, "log.txt", '{"a": [{"n": "1"}, {"n": null}, {"n": " "}, {"n": "2"}], "b": "x"}')
    assert read(warehouse, tmp_path, source("json", fields={"item_id": "a[*].n"}))[0] == [("1|2", "x")]
