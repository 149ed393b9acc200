"""A first configuration for a file: the preset that reads it, else its fields by their names."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
import random
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

from persona_pipelines.cli import main
from persona_pipelines.logs.files import LogFileError
from persona_pipelines.logs.guessing import HEAD_BYTES, guess
from persona_pipelines.logs.layouts import DELIMITERS, layout_of
from persona_pipelines.settings import load_settings
from persona_pipelines_tests.conftest import law

pytestmark = pytest.mark.slow


WORDS = st.sampled_from(["Orders of all shops", "8 rows", "Total: 12", "exported 2026-01-02"])
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0"
REQUEST = f'"GET /a HTTP/1.1" 200 512 "https://shop.example/" "{AGENT}"'
FILES = {
    "combined": [f"192.0.2.{n} - - [03/Mar/2024:10:00:0{n} +0000] {REQUEST}" for n in range(9)],
    "nginx_main": [f'192.0.2.{n} - - [03/Mar/2024:10:00:0{n} +0000] {REQUEST} "198.51.100.1"' for n in range(9)],
    "retailrocket": ["timestamp,visitorid,event,itemid,transactionid", *(f"143322133211{n},{n},view,355," for n in range(9))],
    "movielens_ratings": [f"{n}::1193::5::97830076{n}" for n in range(9)],
    "caddy": [
        json.dumps(
            {
                "logger": "http.log.access.log0",
                "ts": 1709460000.5 + n,
                "status": 200,
                "user_id": "",
                "request": {"client_ip": "192.0.2.7", "uri": "/a", "headers": {"User-Agent": [AGENT]}},
            }
        )
        for n in range(9)
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("preset", FILES)
def test_the_preset_that_reads_a_file_is_found(preset: str, packed: bool, tmp_path: Path) -> None:
    content = "".join(f"{line}\n" for line in FILES[preset]).encode()
    (tmp_path / "some.file").write_bytes(gzip.compress(content) if packed else content)
    found = guess(tmp_path / "some.file")
    assert found.preset == preset
    assert dt.date(2000, 1, 1) <= found.start <= dt.date(2024, 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "windows-1252"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_text_in_another_encoding_or_in_an_archive_is_guessed_alike(encoding: str, zipped: bool, tmp_path: Path) -> None:
    rows = [f"2024-03-03T10:00:0{n}Z;c{n};s{n};purchase;K\u00f6ln" for n in range(9)]
    content = "".join(f"{row}\n" for row in ["Event_Time;Customer ID;SKU;Action;Town", *rows]).encode(encoding)
    if zipped:
        with zipfile.ZipFile(tmp_path / "own.zip", "w") as archive:
            archive.writestr("own.csv", content)
    else:
        (tmp_path / "own.zip").write_bytes(content)
    found = guess(tmp_path / "own.zip")
    assert (found.preset, found.start) == (None, dt.date(2024, 3, 3))
    assert found.source["fields"] == {"timestamp": "Event_Time", "user_id": "Customer ID", "event_type": "Action", "item_id": "SKU"}
    assert found.source["format"].get("encoding", "utf-8") == ("utf-8" if encoding in ("utf-8-sig", "utf-16") else encoding)
    assert len(found.remarks) == ("encoding" in found.source["format"])


@pytest.mark.slow
def test_half_a_character_of_utf_16_is_no_obstacle(tmp_path: Path) -> None:
    lines = "".join(f"2024-03-03T10:00:00Z,u{n},{'x' if n else chr(0xD83D)}\n" for n in range(9))
    (tmp_path / "log.csv").write_bytes(f"\ufefftime,user_id,title\n{lines}".encode("utf-16-le", "surrogatepass"))
    assert guess(tmp_path / "log.csv").source["fields"]["user_id"] == "user_id"


def test_the_columns_of_a_parquet_file_are_found_by_their_names(tmp_path: Path) -> None:
    frame = pd.DataFrame({"time": pd.date_range("2024-03-03", periods=9, tz="UTC"), "user_id": list("abcdefghi"), "sku": "s"})
    frame.to_parquet(tmp_path / "orders.parquet")
    found = guess(tmp_path / "orders.parquet")
    assert (found.source["format"], found.start) == ("parquet", dt.date(2024, 3, 3))
    assert {name: found.source["fields"][name] for name in ("timestamp", "user_id", "item_id")} == {
        "timestamp": "time",
        "user_id": "user_id",
        "item_id": "sku",
    }


@pytest.mark.parametrize(
    ("file", "name"), [("Orders, all-2025.csv", "orders_all_2025"), ("2025-09.csv", "log_2025_09"), ("äöü.csv", "log"), ("_x_.v2.csv", "x")]
)
def test_a_source_is_called_like_its_file_in_letters_that_every_table_may_have(file: str, name: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text("time,user_id\n2024-03-03T10:00:00Z,u\n")
    assert guess(tmp_path / file).source["name"] == name


def test_documents_of_any_layout_are_guessed_from_their_begin(tmp_path: Path) -> None:
    documents = [{"event.time": "2024-03-03T10:00:00Z", "customer": f"c{n}", "action": "purchase", "sku": f"s{n}"} for n in range(9000)]
    for number, text in enumerate([json.dumps(documents, indent=1), "".join(json.dumps(one) for one in documents)]):
        (tmp_path / f"{number}.json").write_text(text)
        found = guess(tmp_path / f"{number}.json")
        assert (found.preset, found.source["format"], found.start) == (None, "json", dt.date(2024, 3, 3))
        assert found.source["fields"]["timestamp"] == '"event.time"'


def test_fields_inside_of_objects_are_found_by_their_paths(tmp_path: Path) -> None:
    records = [
        {
            "ts": "2024-03-03T10:00:00Z",
            "user": {"name": "x", "id": f"u{n}"},
            "payload": {"action": "purchase", "sku": f"s{n}"},
            "device": {"type": "tv"},
        }
        for n in range(5)
    ]
    (tmp_path / "own.json").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    found = guess(tmp_path / "own.json")
    assert (found.remarks, found.start) == ((), dt.date(2024, 3, 3))
    assert found.source["fields"] == {"timestamp": "ts", "user_id": "user.id", "event_type": "payload.action", "item_id": "payload.sku"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "written", ["%d/%m/%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d.%m.%Y", "%d %b %Y", "%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d %H:%M:%S,%f"]
)
@pytest.mark.parametrize("clear", [True, False])
def test_times_that_are_not_as_of_iso_8601_get_their_format_or_a_remark(written: str, clear: bool, tmp_path: Path) -> None:
    days = [dt.datetime(2024, 3, 20 + n if clear else 2 + n, 9, 5, tzinfo=dt.UTC) for n in range(5)]
    (tmp_path / "own.tsv").write_text("date\tuser\taction\tsku\n" + "".join(f"{day.strftime(written)}\tu\tlogin\ts\n" for day in days))
    found = guess(tmp_path / "own.tsv")
    doubtful = not clear and written[:5] in ("%d/%m", "%m/%d")
    assert [remark for remark in found.remarks if " read it" not in remark] == []
    assert len(found.remarks) == doubtful
    first = dt.date(2024, 2, 3) if doubtful and written.startswith("%m") else days[0].date()
    assert found.start == first


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "this file is empty"),
        ("\n \n", "this file is empty"),
        ("date,user_id,action\n", "no records; found date, user_id, action"),
        ("{}\n{}\n", "found none"),
        ("word " * 5000 + "\nno\n", "none of its fields is called like a time, a person or a thing; found word word"),
        (
            "Once upon a time, there was a log.\nIt had no fields at all, none.\n",
            "none of its fields is called like a time, a person or a thing; found Once upon",
        ),
    ],
)
def test_what_is_no_log_is_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(content)
    with pytest.raises(LogFileError, match=message) as refused:
        guess(tmp_path / "x.txt")
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("content", "fields", "doubt"),
    [
        (
            "user_id,timestamp,unit_price,quantity,total\nu,2026-03-01,2.5,2,5\n",
            {"value": "total"},
            "value: total is taken for the amount of a whole record; unit_price may be meant",
        ),
        ("user_id;timestamp;price\nu;2026-03-01;1.000\n", {"value": "price"}, "is 1.000 above a thousand"),
        ("user_id,timestamp,tz\nu,2026-03-01 10:00,CET\n", {}, "tz may say the zone"),
        ('{"user_id":"u","timestamp":"2026-03-01","items":[{"sku":"a"}]}\n', {}, "each: items makes an event of every element"),
        ("user_id,visitor_id,customer_id,timestamp\n,v,c,2026-03-01\n", {"user_id": "customer_id", "anonymous_id": "visitor_id"}, ""),
        (
            "Email,Sale Date,SKU,Paid\na@b.c,1/25/2026 1:05 PM,x,5\n",
            {"user_id": "Email", "timestamp": {"from": "Sale Date", "format": "%m/%d/%Y %I:%M %p"}, "item_id": "SKU"},
            "",
        ),
        (
            "Customer No|Name|Birth Date|Signup Date\n17|Ann|1990-01-02|2026-01-05\n",
            {"user_id": "Customer No", "timestamp": "Signup Date"},
            "no field looks like a thing",
        ),
        (
            '{"order":{"created_at":"2026-01-05T10:00:00Z","id":"o1"},"customer":{"email":"a@b.c"},"device":{"type":"tv"},"line":{"sku":"x"}}\n',
            {"user_id": "customer.email", "timestamp": "order.created_at", "item_id": "line.sku", "event_type": {"value": "interaction"}},
            "",
        ),
        (
            "User_ID\tGame_ID\tPurchase\n1\t17\t1.0\n",
            {"user_id": "User_ID", "item_id": "Game_ID", "event_type": {"value": "interaction"}},
            "no field says what was done: every record is taken for interaction",
        ),
        (
            "when,user,product,date,amount\nx,u,p,26/01/05 10:00,5\n",
            {"timestamp": {"from": "date", "format": "%y/%m/%d %H:%M"}, "item_id": "product", "value": "amount"},
            "",
        ),
        (
            "ts,user,event,sku\n2026-01-05,u,Order Completed,x\n2026-01-05,u,product_viewed,x\n2026-01-05,u,odd,x\n",
            {"event_type": {"from": "event", "map": {"Order Completed": "purchase", "product_viewed": "item_view", "odd": "interaction"}}},
            "odd is taken for interaction",
        ),
        (
            '{"userId":{"$numberLong":"9"},"createdAt":{"$date":"2026-03-01T10:00:00Z"}}\n',
            {"user_id": "userId.$numberLong", "timestamp": "createdAt.$date"},
            "",
        ),
    ],
)
def test_what_other_fields_may_say_is_said(content: str, fields: dict, doubt: str, tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(content)
    found = guess(tmp_path / "x.txt")
    assert fields.items() <= found.source["fields"].items()
    assert any(doubt in remark for remark in found.remarks)


def test_how_many_records_would_be_rejected_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("date,user,action,sku\nweek 3,a,login,s\nweek 4,b,login,s\n")
    assert guess(tmp_path / "x.csv").remarks == (
        "2 of the first 2 records would be rejected, most of them for: timestamp: not readable as a time",
    )


def test_a_cut_off_parquet_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1" + b"\x15\x04" * 200)
    with pytest.raises(LogFileError, match=r"x.parquet: this Parquet file is damaged or cut off"):
        guess(tmp_path / "x.parquet")


def test_a_preset_that_makes_no_event_of_a_file_is_not_its_own(tmp_path: Path) -> None:
    """Visits as Matomo names their visitors, but with nothing that they did, and the last one cut off at the end of what is looked at."""
    visits = [{"visitorId": f"v{n}", "time": "2024-03-03T10:00:00Z", "item": f"s{n}"} for n in range(9000)]
    (tmp_path / "visits.json").write_text(json.dumps(visits, indent=1))
    found = guess(tmp_path / "visits.json")
    assert (found.preset, found.source["fields"]["user_id"]) == (None, "visitorId")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "setting"),
    [
        ("2024-03-03T10:00:00Z", "When"),
        ("1709460000", {"from": "When", "unit": "seconds"}),
        ("1709460000123", {"from": "When", "unit": "milliseconds"}),
        ("20240303", {"from": "When", "format": "%Y%m%d"}),
        ("240303", {"from": "When", "format": "%y%m%d"}),
    ],
)
def test_fields_of_other_files_are_found_by_their_names(written: str, setting, tmp_path: Path) -> None:
    with (tmp_path / "own.csv").open("w", newline="") as stream:
        rows = csv.writer(stream, delimiter=";")
        rows.writerow(["Event_Time", "Customer ID", "SKU", "Action", "Qty", "Other"])
        rows.writerows([[written, f"c{n}", f"s{n}", "purchase", 2, "x"] for n in range(5)])
    found = guess(tmp_path / "own.csv")
    assert (found.preset, found.start, found.remarks) == (None, dt.date(2024, 3, 3), ())
    assert found.source["format"] == {"type": "csv", "delimiter": ";"}
    clock = "Event_Time" if setting == "When" else {**setting, "from": "Event_Time"}
    assert found.source["fields"] == {
        "timestamp": clock,
        "user_id": "Customer ID",
        "event_type": "Action",
        "item_id": "SKU",
        "quantity": "Qty",
    }


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text("user_id,movie_id,rating\n1,2,3\n4,5,6\n")
    found = guess(tmp_path / "bare.csv")
    assert found.source["fields"]["event_type"] == {"value": "rating"}
    assert found.remarks == (
        "no field looks like a time: the order of the records stands for it",
        "no field says what was done: every record is taken for rating",
    )
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with pytest.raises(LogFileError, match="this is a PNG picture"):
        guess(tmp_path / "picture.png")


OF_NO_TEXT = [
    b"\0",
    b"\0" * 3,
    b"\x1f\x8b\x08",
    b"PK\3\4",
    b"<html>",
    b"PAR1",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\x8b\x81",
    b"{",
    b"\n",
    b"a,b\n1,2\n",
]


@law(300)
@given(parts=st.lists(st.sampled_from(OF_NO_TEXT), max_size=9), written=st.sampled_from([None, "utf-16", "utf-32", "utf-16-be"]))
@example(parts=[b"\x1f\0\0\x8b\0\x08\0O"], written=None)
@example(parts=[b"PK\3\4"], written="utf-16")
@example(parts=[b"\0" * 9], written="utf-32")
@example(parts=[b"a\0b" * (HEAD_BYTES // 12), b"\n", b"a" * HEAD_BYTES], written=None)
def test_bytes_of_any_kind_are_a_log_or_are_said_to_be_none(parts: list[bytes], written: str | None) -> None:
    """Of the beginning of a file a text is made, and what that looks like is not what the file is."""
    content = b"".join(parts)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "some.file"
        file.write_bytes(content.decode("latin-1").encode(written) if written else content)
        said = None
        try:
            guess(file)
        except LogFileError as error:
            said = str(error)
        assert said is None or said.startswith(f"{file}: ")


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
def test_the_last_line_counts_whether_or_not_it_is_ended(end: str, tmp_path: Path) -> None:
    lines = ["when,customer,action,sku", "2024-03-03T10:00:00Z,c1,purchase,s1", "2024-03-04T10:00:00Z,c2,returned,s2"]
    (tmp_path / "own.csv").write_text((end or "\n").join(lines) + end, newline="")
    found = guess(tmp_path / "own.csv")
    assert set(found.source["fields"]["event_type"]["map"]) == {"returned"}
    assert any("returned is taken for" in remark for remark in found.remarks)


def test_the_last_line_of_a_part_of_a_file_is_no_record(tmp_path: Path) -> None:
    line = f'2024-03-03T10:00:00Z,c1,purchase,"{"s" * 1000}"'
    lines = ["when,customer,action,sku", *[line] * (HEAD_BYTES // len(line) + 5)]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    assert not [remark for remark in guess(tmp_path / "own.csv").remarks if "rejected" in remark]


@pytest.mark.parametrize("said", ["sep=;", '"sep=;"'])
def test_what_excel_says_of_the_delimiter_is_heard(tmp_path: Path, said: str) -> None:
    lines = [said, "Time;User;Item", "2026-01-02 10:00:00;u1;i,1", "2026-01-02 10:00:00;u2;i2"]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    found = guess(tmp_path / "own.csv")
    assert found.source["format"] == {"type": "csv", "delimiter": ";", "skip_lines": 1}
    assert (found.start, [remark for remark in found.remarks if "not readable" in remark]) == (dt.date(2026, 1, 2), [])


HEADER = "time;user;action;product;note"
ROWS = [f"2026-01-0{number} 10:00:00;u{number};purchase;p{number};" for number in range(1, 9)]
LAYOUTS = {
    "a sum below": ([HEADER, *ROWS, "8 rows exported"], {}, 1),
    "a sum with a blank cell below": ([HEADER, *ROWS, "Rows: 8;"], {}, 1),
    "rows of blank cells": ([HEADER, *ROWS, ";;;;", "   ", ";;"], {}, 0),
    "blank cells before": ([";;;;", HEADER, *ROWS], {"skip_lines": 1}, 0),
    "a title": (["Orders, of all shops", "", HEADER, *ROWS], {"skip_lines": 2}, 0),
    "comments": (["# made by us", "# 2026", HEADER, *ROWS, "# end; of; the; file; x"], {"comment": "#"}, 0),
    "orders called so": (["# made by us", HEADER, *(row.replace("2026", "#2026", 1) for row in ROWS)], {"skip_lines": 1}, 8),
    "a header with a mark below comments": (["# made by us", f"#{HEADER}", *ROWS], {"skip_lines": 1}, 0),
    "a cell too many": ([HEADER, *ROWS[:-1], f"{ROWS[-1]};more"], {}, 1),
    "names that stand twice": ([f"{HEADER};note;@x", *(f"{row};;" for row in ROWS)], {}, 0),
    "other delimiters everywhere": ([f"{HEADER}, more", *(f"{row}a, b" for row in ROWS)], {}, 0),
    "a header with a mark": ([f"#{HEADER}", *ROWS], {}, 0),
    "delimiters at some ends": ([HEADER, *(row + ";" * (place % 3) for place, row in enumerate(ROWS))], {"further_columns": "ignore"}, 0),
    "delimiters at no end": ([HEADER, *(row.rstrip(";") for row in ROWS[:4]), *ROWS[4:]], {"missing_columns": "empty"}, 0),
    "the header once more": ([HEADER, *ROWS[:2], HEADER, *ROWS[2:], HEADER], {}, 0),
    "blanks around": (["\t" + HEADER.replace(";", " ;\t"), *(f" {row} ".replace(";", "; ") for row in ROWS)], {}, 0),
    "quotes": ([";".join(f'"{cell}"' for cell in one.split(";")) for one in [HEADER, *ROWS]], {}, 0),
    "commas inside": ([HEADER, *(f"{row}one, two, three, four, five, six" for row in ROWS)], {}, 0),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", LAYOUTS)
@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_what_stands_around_records_is_seen(tmp_path: Path, case: str, delimiter: str) -> None:
    lines, settings, rejects = LAYOUTS[case]
    if case == "blanks around" and delimiter == "\t":
        pytest.skip("tabs are both")
    if delimiter == ",":
        lines = [line.replace(",", ".") for line in lines]
    (tmp_path / "own.csv").write_text("\n".join(lines).replace(";", delimiter))
    found = guess(tmp_path / "own.csv")
    expected = {"type": "csv", **({} if delimiter == "," else {"delimiter": delimiter}), **settings}
    assert found.source["format"] == (expected if len(expected) > 1 else "csv")
    assert list(found.source["fields"]) == ["timestamp", "user_id", "event_type", "item_id"]
    assert (found.source["fields"]["event_type"], found.source["fields"]["item_id"]) == ("action", "product")
    assert [remark.partition(" of the first")[0] for remark in found.remarks] == ([str(rejects)] if rejects else [])


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_byte_order_mark_is_no_part_of_the_first_cell(mark: str) -> None:
    assert layout_of(f'{mark}"a;b";c\n1;2\n3;4\n5;6\n') == {"delimiter": ";"}
    assert layout_of(f"{mark}sep=;\na,x;b,x\n1,x;2,x\n") == {"delimiter": ";", "skip_lines": 1}
    assert layout_of(f"{mark}sep=;\nuser\n1\n") == {"delimiter": ";", "skip_lines": 1}
    assert layout_of(f"{mark}user\n1\n") == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("amounts", "number", "value"),
    [
        (["19,90", "1.234,50", "7"], {"decimal": ",", "thousands": "."}, None),
        (["19,90", "1234,5"], {"decimal": ","}, None),
        (["19.90", "1,234.50"], {"decimal": ".", "thousands": ","}, None),
        (["$5.00", "7.50 EUR"], {"decimal": ".", "thousands": ","}, None),
        (["1\u00a0234,50", "9,90"], {"decimal": ",", "thousands": " "}, None),
        (["1'234.50"], {"decimal": ".", "thousands": "'"}, None),
        (["free", "none"], None, "2 of the first 2 records would be rejected"),
        (["19.90", "7"], None, None),
        (["1,234", "12,000"], {"decimal": ".", "thousands": ","}, "1,234 is taken for more than a thousand"),
        (["1.234", "12.000"], None, "is 1.234 above a thousand?"),
        (["19,90", "free", "8,50"], {"decimal": ","}, "1 of the first 3 records would be rejected"),
    ],
)
def test_how_amounts_are_written_is_found(tmp_path: Path, amounts: list[str], number: dict | None, value: str | None) -> None:
    (tmp_path / "own.csv").write_text(
        "\n".join(["time;user;action;product;price", *(f"2026-01-02;u;purchase;p;{amount}" for amount in amounts)])
    )
    found = guess(tmp_path / "own.csv")
    assert found.source.get("number") == number
    told = [remark for remark in found.remarks if "thousand" in remark or "rejected" in remark]
    assert len(told) == (value is not None)
    assert not told or value in told[0]


def value_of(tmp_path: Path, name: str, *said: str) -> str | None:
    (tmp_path / "log.csv").write_text("\n".join([f"time;user;action;product;{name}", *(f"2026-01-02;u;purchase;p;{one}" for one in said)]))
    return guess(tmp_path / "log.csv").source["fields"].get("value")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["paid", "amount_paid", "paid_amount", "Total Paid", "order_total", "sum", "total", "price"])
def test_an_amount_is_found_by_its_name(tmp_path: Path, name: str) -> None:
    assert value_of(tmp_path, name, "19.90", "1", "0") == name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cost", "payer", "is_paid", "paid_at", "summary", "total_items"])
def test_what_is_only_called_alike_is_no_amount(tmp_path: Path, name: str) -> None:
    assert value_of(tmp_path, name, "5") is None


@pytest.mark.slow
@pytest.mark.parametrize("said", ["€ 19,90", "-3.10 EUR", "1'249.00"])
def test_what_was_paid_may_be_written_as_people_write(tmp_path: Path, said: str) -> None:
    assert value_of(tmp_path, "paid", "0", said) == "paid"


@pytest.mark.parametrize("said", [("0", "1"), ("true", "false"), ("2026-01-02", "5-1")])
def test_whether_or_when_somebody_has_paid_is_no_amount(tmp_path: Path, said: tuple[str, ...]) -> None:
    assert value_of(tmp_path, "paid", *said) is None


@pytest.mark.slow
@pytest.mark.parametrize("said", ["true", "0", '"Yes"', "null"])
def test_whether_somebody_has_paid_is_no_amount_in_a_document_either(tmp_path: Path, said: str) -> None:
    (tmp_path / "log.jsonl").write_text(f'{{"time": "2026-01-02", "user": "u", "item": "i", "paid": {said}}}\n')
    assert "value" not in guess(tmp_path / "log.jsonl").source["fields"]


def test_columns_that_a_preset_leaves_out_are_said(tmp_path: Path) -> None:
    header, row = "event_time,event_type,product_id,user_id,price", "2026-03-01 10:00:00 UTC,view,1,2,3.5"
    for further, told in (("", ()), (",currency,shop", ("the preset does not read currency, shop: map what counts under fields",))):
        (tmp_path / "own.csv").write_text(f"{header}{further}\n" + f"{row}{',EUR' * further.count(',')}\n" * 3)
        found = guess(tmp_path / "own.csv")
        assert (found.preset, found.remarks) == ("kaggle_ecommerce", told)


@pytest.mark.parametrize(
    ("header", "words", "types"),
    [
        ("Bestelldatum;Kunden-Nr.;Artikelnummer;Aktion;Betrag;Menge;Währung", ["Kauf", "Rückgabe"], ["purchase", "refund"]),
        ("Date de commande;Numéro client;Code produit;Événement;Montant;Quantité;Devise", ["Achat", "Vue"], ["purchase", "item_view"]),
        ("Fecha;ID Cliente;Código producto;Evento;Importe;Cantidad;Moneda", ["Compra", "Búsqueda"], ["purchase", "search"]),
        ("Data ordine;Codice cliente;Prodotto;Azione;Importo;Quantità;Valuta", ["Acquisto", "Reso"], ["purchase", "refund"]),
        ("Data do pedido;Cod. cliente;Produto;Ação;Valor;Quantidade;Moeda", ["Compra", "Clique"], ["purchase", "click"]),
        ("Besteldatum;Klantnummer;Artikel;Actie;Bedrag;Aantal;Valuta", ["Bestelling", "Klik"], ["purchase", "click"]),
        ("下单时间;用户ID;商品编号;行为;金额;数量;币种", ["购买", "加购"], ["purchase", "add_to_cart"]),
    ],
)
def test_fields_and_acts_are_found_in_other_languages(header: str, words: list[str], types: list[str], tmp_path: Path) -> None:
    lines = [f"2026-03-0{number} 10:00:00;u{number};p{number};{words[number % 2]};{number}.5;1;EUR" for number in range(1, 9)]
    (tmp_path / "own.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    fields, names = guess(tmp_path / "own.csv").source["fields"], header.split(";")
    assert {**fields, "event_type": fields["event_type"]["from"]} == dict(
        zip(("timestamp", "user_id", "item_id", "event_type", "value", "quantity", "currency"), names, strict=True)
    )
    assert fields["event_type"]["map"] == dict(zip(words, types, strict=True))


def test_a_day_of_birth_or_of_expiry_is_no_time_in_any_language(tmp_path: Path) -> None:
    for name in ("birth_date", "Geburtsdatum", "fecha de nacimiento", "Data di nascita", "gültig bis Datum", "出生日期"):
        (tmp_path / "own.csv").write_text(f"{name};Kunde\n2001-03-05;k1\n1999-01-02;k2\n", encoding="utf-8")
        assert guess(tmp_path / "own.csv").source["fields"]["timestamp"] == {"order": {"start": "2000-01-01"}}


@pytest.mark.parametrize("broken", ["SUMME;;;;", "31.02.2026 10:00;4711;k9;7;1,50"])
@pytest.mark.parametrize("at", [0, 100, 199])
def test_a_broken_line_keeps_neither_the_times_nor_the_amounts_from_being_read(broken: str, at: int, tmp_path: Path) -> None:
    lines = [f"{1 + number % 28:02d}.03.2026 14:05;{number // 2};k{number % 50};{number % 9};{number % 7},50" for number in range(200)]
    text = "\n".join(["Bestelldatum;Bestellnummer;Kundennummer;Artikelnummer;Betrag", *lines[:at], broken, *lines[at:]])
    (tmp_path / "own.csv").write_text(text + "\n")
    found = guess(tmp_path / "own.csv")
    assert found.source["fields"]["timestamp"] == {"from": "Bestelldatum", "format": "%d.%m.%Y %H:%M"}
    assert found.source["number"] == {"decimal": ","}
    assert found.source["fields"]["event_type"] == {"value": "purchase"}
    assert any("as it has Bestellnummer" in remark for remark in found.remarks)


def test_of_orders_what_is_below_zero_is_a_refund(tmp_path: Path) -> None:
    lines = [f"2026-03-0{1 + number % 9}T10:00:00Z,o{number},u{number},p{number},{-1 if number == 5 else 2},3.5" for number in range(20)]
    (tmp_path / "own.csv").write_text("\n".join(["date,order_number,user,item,quantity,amount", *lines]) + "\n")
    found = guess(tmp_path / "own.csv")
    assert found.source["fields"]["event_type"] == {
        "cases": [{"when": {"field": "quantity", "below": 0}, "value": "refund"}],
        "default": "purchase",
    }
    assert found.source["fields"]["value"] == {"from": "amount", "absolute": True}
    assert not any("would be rejected" in remark for remark in found.remarks)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("customer_id,country\nc1,DE\nc2,FR\n", "users"),
        ("sku,title,price\ns1,A,1\ns2,B,2\n", "items"),
        ("user_id,movie_id\n1,2\n1,3\n", None),
    ],
)
def test_a_list_of_customers_or_things_is_said_to_be_no_log(content: str, kind: str | None, tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text(content)
    said = [remark for remark in guess(tmp_path / "own.csv").remarks if "is no log" in remark]
    assert [f"kind: {kind}" in remark for remark in said] == ([True] if kind else [])


@pytest.mark.parametrize("lines", [20, 20_000])
def test_a_packed_file_that_is_cut_off_is_said_to_be(lines: int, tmp_path: Path) -> None:
    content = gzip.compress("\n".join(["time,user,item", *(f"2026-03-01T10:00:00Z,u{line},p{line * 7}" for line in range(lines))]).encode())
    (tmp_path / "own.csv.gz").write_bytes(content)
    assert not any("truncated" in remark for remark in guess(tmp_path / "own.csv.gz").remarks)
    (tmp_path / "own.csv.gz").write_bytes(content[:-20])
    assert any(
        remark.startswith("truncated: the compressed file ends at byte") and "fetch it again" in remark
        for remark in guess(tmp_path / "own.csv.gz").remarks
    )


def test_no_name_stands_for_two_columns_or_two_types() -> None:
    """But where an English name does on purpose: the first column that is free takes it."""
    from persona_pipelines.logs.guessing import _names, letters

    names = _names()
    for kind in (names.fields, names.events):
        said = [(word, name) for name, words in kind.items() for word in words]
        assert all(word == letters(word) for word, _ in said)
        assert {word for word, name in said if any(word == other and name != what for other, what in said)} <= {"visitorid"}


def test_words_for_what_is_done_are_understood(tmp_path: Path) -> None:
    words = {
        "Buy": "purchase",
        "buys": "purchase",
        "fav": "add_to_wishlist",
        "Added to basket": "interaction",
        "add to basket": "add_to_cart",
        "pv": "page_view",
    }
    (tmp_path / "own.csv").write_text("\n".join(["time,user,action,product", *(f"2026-01-02,u,{word},p" for word in words)]))
    assert guess(tmp_path / "own.csv").source["fields"]["event_type"]["map"] == words


@law(100)
@given(
    delimiter=st.sampled_from(DELIMITERS),
    columns=st.integers(2, 7),
    above=st.lists(WORDS, max_size=3),
    below=st.lists(WORDS, max_size=2),
    rows_=st.lists(
        st.lists(st.text("ab1.,;|\t\"' ", min_size=1, max_size=6).filter(str.strip), min_size=7, max_size=7), min_size=8, max_size=20
    ),
)
def test_a_layout_is_found_whatever_is_in_the_cells(
    delimiter: str, columns: int, above: list[str], below: list[str], rows_: list[list[str]]
) -> None:
    """Written by another writer, which quotes what has to be, and everything that says something about delimiters."""
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    writer.writerow([f"name {number}" for number in range(columns)])
    writer.writerows(row[:columns] for row in rows_)
    text = "".join(f"{line}\n" for line in [*above, *stream.getvalue().splitlines(), *below])
    expected = {"delimiter": delimiter, "skip_lines": len(above)}
    assert layout_of(text) == {name: value for name, value in expected.items() if value not in (",", 0)}


def test_days_that_spreadsheets_count_are_found(tmp_path: Path) -> None:
    (tmp_path / "own.csv").write_text("date,customer,action,sku\n45657.99,c1,purchase,s1\n45900,c2,purchase,s2\n")
    found = guess(tmp_path / "own.csv")
    assert found.source["fields"]["timestamp"] == {"from": "date", "unit": "days", "since": "1899-12-30"}
    assert found.start == dt.date(2024, 12, 31)
    assert "date is taken for the days that spreadsheets count" in found.remarks


def test_the_command_writes_a_configuration_that_can_be_read_and_never_over_another(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text("".join(f"{line}\n" for line in FILES["combined"]))
    output = str(tmp_path / "mine.yaml")
    done = CliRunner().invoke(main, ["init", str(tmp_path / "access.log"), "--output", output])
    assert (done.exit_code, "preset combined" in done.output) == (0, True), done.output
    assert load_settings(output).sources[0].path == "access.log"
    assert not load_settings(output).privacy.consent_when_unknown
    assert "consent_when_unknown says what holds of them" in Path(output).read_text()
    assert yaml.safe_load(Path(output).read_text())["start_date"] == dt.date(2024, 3, 3)
    again = CliRunner().invoke(main, ["init", str(tmp_path / "access.log"), "--output", output])
    assert again.exit_code == 1
    assert "exists; name another with --output" in again.output


def log_of_days(path: Path, days: list[dt.date], person: str = "user_id") -> Path:
    path.write_text(f"timestamp,{person},event_type,item_id\n" + "".join(f"{day}T10:00:00Z,u{n},login,s\n" for n, day in enumerate(days)))
    return path


@pytest.mark.parametrize("order", ["oldest first", "newest first", "mixed"])
def test_the_first_day_is_that_of_the_whole_file_in_any_order(order: str, tmp_path: Path) -> None:
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=number // 40) for number in range(12_000)]
    if order == "newest first":
        days.reverse()
    elif order == "mixed":
        random.Random(3).shuffle(days)
    file = log_of_days(tmp_path / "own.csv", days)
    assert file.stat().st_size > HEAD_BYTES, "the first lines alone would do"
    found = guess(file)
    assert (found.start, found.remarks) == (dt.date(2024, 1, 1), ())


@pytest.mark.parametrize(
    ("early", "begin", "start"),
    [
        ([dt.date(1995, 1, 1)] * 2, dt.date(2024, 1, 1), dt.date(2024, 1, 1)),
        ([dt.date(1995, 1, 1), dt.date(2001, 9, 9)], dt.date(2024, 1, 1), dt.date(2024, 1, 1)),
        ([dt.date(2023, 11, 1)] * 2, dt.date(2024, 1, 1), dt.date(2023, 11, 1)),  # a shop that rested
        ([dt.date(1990, 1, 1)] * 30, dt.date(2024, 1, 1), dt.date(1990, 1, 1)),  # too many for clocks that are wrong
    ],
)
def test_a_few_wrong_clocks_are_not_the_first_day(early: list[dt.date], begin: dt.date, start: dt.date, tmp_path: Path) -> None:
    days = [*early, *(begin + dt.timedelta(days=number // 10) for number in range(600))]
    found = guess(log_of_days(tmp_path / "own.csv", days))
    assert found.start == start
    wrong = [remark for remark in found.remarks if "wrong clocks" in remark]
    assert len(wrong) == (start == begin)
    assert all(remark.startswith(f"2 of 602 records are of {early[0]} to {early[-1]}") for remark in wrong)


@pytest.mark.parametrize("person", ["user_id", "session_id"])
def test_a_log_of_devices_alone_is_told_to_make_no_audience(person: str, tmp_path: Path) -> None:
    found = guess(log_of_days(tmp_path / "own.csv", [dt.date(2024, 1, 1)] * 5, person))
    assert [remark for remark in found.remarks if "no segments, profiles, audiences" in remark] != [] or person == "user_id"
    assert found.remarks == () or person == "session_id"


@law(30)
@given(content=st.binary(min_size=4000, max_size=4000))
@example(content=random.Random(5).randbytes(4000))
def test_bytes_that_are_no_text_are_called_so_or_refused_otherwise(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "own.log").write_bytes(content)
        with pytest.raises(LogFileError) as refused:
            guess(Path(folder) / "own.log")
    if len(set(content)) > 200:
        assert "this is no text" in str(refused.value)


@pytest.mark.parametrize("delimiter", ["\x01", "\x1f"])
def test_a_delimiter_that_nobody_sees_is_text(delimiter: str, tmp_path: Path) -> None:
    rows = [["timestamp", "user_id", "item_id"], *([f"2024-03-03T10:00:{n:02d}Z", f"u{n}", "s"] for n in range(20))]
    (tmp_path / "own.log").write_text("".join(delimiter.join(row) + "\n" for row in rows))
    with pytest.raises(LogFileError, match="none of its fields is called like a time"):
        guess(tmp_path / "own.log")


@pytest.mark.parametrize("written", ["%m/%d/%Y %I:%M %p", "%d/%m/%Y %H:%M", "%m/%d/%y"])
def test_a_day_that_only_one_order_of_day_and_month_has_settles_it_wherever_it_stands(written: str, tmp_path: Path) -> None:
    """The first two hundred lines are of the first twelve days of a month."""
    days = [dt.datetime(2025, 3, 1, 10) + dt.timedelta(hours=number) for number in range(1000)]
    (tmp_path / "own.csv").write_text(
        "date,user,action,sku\n" + "".join(f"{day.strftime(written)},u{n},login,s\n" for n, day in enumerate(days))
    )
    found = guess(tmp_path / "own.csv")
    assert found.source["fields"]["timestamp"] == {"from": "date", "format": written}
    assert (found.start, found.remarks) == (dt.date(2025, 3, 1), ())
