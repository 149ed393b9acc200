"""Amounts written by Python's decimal with any marks and signs come back exactly; malformed ones are rejects, never other numbers."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from persona_pipelines.logs.loading import load_events
from persona_pipelines.settings import ConfigurationError
from persona_pipelines_tests.conftest import DAY, ingested, law, rows
from persona_pipelines_tests.logs.test_round_trips import Read, csv_line, read

__all__ = ["read"]

GENERAL = {"logs": {"settle_seconds": 0, "money": {"minimum": -1e12, "maximum": 1e12}}}
AMOUNTS = st.decimals(Decimal(-(10**10)), Decimal(10**10), places=2).filter(lambda amount: not (amount == 0 and amount.is_signed()))
FORMATS = [(".", ","), (",", "."), (",", " "), (".", "'"), (",", ""), (".", "’"), (".", "_"), ("·", ",")]
CODES = ["€", "$", "£", "EUR", "USD", "US$", "R$", "kr", "zł", "Kč", "CHF", "Fr.", "₹", "¥", "HK$", "Ft", "₽", "kr.", "A$"]
MINUS = ["-", "\u2212"]


def grouped(whole: int, thousands: str, indian: bool) -> str:
    text = str(whole)
    if not thousands:
        return text
    head, tail = text[:-3], text[-3:]
    size, pieces = 2 if indian else 3, [tail]
    while head:
        pieces.insert(0, head[-size:])
        head = head[:-size]
    return thousands.join(pieces)


@st.composite
def written_amounts(draw: st.DrawFn, decimal: str, thousands: str) -> tuple[str, Decimal]:
    amount = draw(AMOUNTS)
    places = draw(st.sampled_from([0, 1, 2]))
    amount = round(amount, places)
    if amount == 0:
        amount = abs(amount)
    whole, _, fraction = format(abs(amount), "f").partition(".")
    digits = grouped(int(whole), thousands if draw(st.booleans()) else "", draw(st.booleans())) + (decimal + fraction if fraction else "")
    code, blank, minus = draw(st.sampled_from(["", *CODES])), draw(st.sampled_from(["", " ", "\u00a0"])), draw(st.sampled_from(MINUS))
    before = draw(st.booleans())
    if amount >= 0:
        sign = draw(st.sampled_from(["", "+"]))
        return sign + (code + blank * bool(code) + digits if before else digits + blank * bool(code) + code), amount
    kind = draw(st.sampled_from(["before", "between", "after", "parentheses"]))
    plain = code + blank * bool(code) + digits if before else digits + blank * bool(code) + code
    if kind == "between" and before:
        return code + blank * bool(code) + minus + digits, amount
    if kind == "after":
        return plain + minus, amount
    return (f"({plain})", amount) if kind == "parentheses" else (minus + plain, amount)


def amounts(read: Read, texts: list[str], number: dict | None, own: dict | None = None) -> list[float | None]:
    """The value of each text; None of a reject."""
    content = "a\n" + "".join(csv_line((text,), quoting=1) + "\n" for text in texts)
    (file,) = read(
        "csv",
        [content.encode()],
        {"value": {"from": "a", **({"number": own} if own else {})}},
        general=GENERAL,
        **({"number": number} if number else {}),
    )
    assert file.records == len(texts)
    assert {reason for _, reason in file.problems} <= {"value: not a number"}
    found = dict(file.good)
    return [found.get(line) for line in range(2, len(texts) + 2)]


@pytest.mark.slow
@law(30)
@given(cents=st.lists(st.integers(-(10**12), 10**12) | st.integers(0, 3000), min_size=1, max_size=20), places=st.integers(1, 6))
def test_hundredths_are_the_nearest_number_there_is(read: Read, cents, places: int) -> None:
    """929 cents are 9.29, as Python divides, and not 9.290000000000001."""
    content = "a\n" + "".join(f"{number}\n" for number in cents)
    mapping = {"value": {"from": "a", "scale": float(f"1e-{places}")}}
    (file,) = read("csv", [content.encode()], mapping, general=GENERAL)
    assert [value for _, value in file.good] == [number / 10**places for number in cents]


@pytest.mark.parametrize(("scale", "expected"), [(0.25, 0.75), (2, 6.0), (-1, -3.0), (1e-20, 3e-20), (1.1, 3.3), (1 / 3, 1.0)])
def test_any_factor_may_be_said(read: Read, scale: float, expected: float) -> None:
    (file,) = read("csv", [b"a\n3\n"], {"value": {"from": "a", "scale": scale}}, general=GENERAL)
    assert file.good[0][1] == pytest.approx(expected, rel=1e-15)


@pytest.mark.slow
@law(40)
@given(marks=st.sampled_from(FORMATS), data=st.data(), own=st.booleans())
def test_amounts_come_back_exactly(read: Read, marks, data, own: bool) -> None:
    entries = data.draw(st.lists(written_amounts(*marks), min_size=1, max_size=12))
    number = {"decimal": marks[0], "thousands": marks[1]}
    texts = [text for text, _ in entries]
    found = amounts(read, texts, None, number) if own else amounts(read, texts, number)
    assert dict(zip(texts, found, strict=True)) == {text: float(amount) for text, amount in entries}


MALFORMED = {
    (",", "."): [
        "1.23",
        "1.2345",
        "1.234.56",
        "12345.678",
        ".123",
        "1..234",
        "1.234,5,6",
        "1,234.5",
        "1.234.",
        "1 234",
        "",
        "€",
        "(5",
        "5)",
        "-(5)x",
        "5 5",
        "5€5",
        "1e",
        "e5",
        "0x10",
        "1_000",
        "five",
        "nan",
        "inf",
        "1e999",
        "5,-10",
        "5,--1",
        "5,-,5",
        "5,-1 €",
        "5 INF",
        "5 MIN",
        "TOPS 5",
    ],
    (".", ","): ["1,23", "1,2345", "1,234,56", "12345,678", ",123", "1,,234", "1,234.5.6", "1.234,5", "1,234,", "1'234"],
    (".", "'"): ["1'23", "1,5", "1'234'5"],
    (",", " "): ["1 23", "1 2345", "1.5", "1  234"],
    (",", ""): ["1.234", "1.5", "1 234", "1'234"],
}


@pytest.mark.slow
@pytest.mark.parametrize("marks", list(MALFORMED))
def test_malformed_amounts_are_rejects_and_no_other_numbers(read: Read, marks) -> None:
    texts = [text for text in MALFORMED[marks] if text]
    found = amounts(read, texts, {"decimal": marks[0], "thousands": marks[1]})
    assert {text: value for text, value in zip(texts, found, strict=True) if value is not None} == {}


def test_amounts_with_two_signs_or_mixed_groups_are_rejects(read: Read) -> None:
    texts = ["--5", "-5-", "+-5", "(-5-)", "123.45.678", "1.234.56.789"]
    assert amounts(read, texts, {"decimal": ",", "thousands": "."}) == [None] * len(texts)


@pytest.mark.slow
@pytest.mark.parametrize("marks", [(",", "."), (".", ","), (".", "'")])
@pytest.mark.parametrize("dash", ["-", "--", "\u2013", "\u2014"])
def test_a_dash_in_place_of_cents_is_no_minus(read: Read, marks, dash: str) -> None:
    decimal, thousands = marks
    texts = [f"19{decimal}{dash}", f"CHF 5{decimal}{dash}", f"1{thousands}000{decimal}{dash} €", f"-7{decimal}{dash}", f"8{decimal}50-"]
    assert amounts(read, texts, {"decimal": decimal, "thousands": thousands}) == [19, 5, 1000, -7, -8.5]


@pytest.mark.slow
@law(20)
@given(
    numbers=st.lists(st.one_of(st.integers(0, 10**6), st.floats(0, 10**6).filter(lambda x: "e" not in repr(x))), min_size=1, max_size=8),
    layout=st.sampled_from(["json", "element", "document", "parquet"]),
)
@example(numbers=[1.125, 1000, 1.5], layout="json")
@example(numbers=[1.125, 1000, 1.5], layout="element")
@example(numbers=[1.125, 1000, 1.5], layout="document")
@example(numbers=[1.125, 1000.5], layout="parquet")
def test_a_number_of_a_document_is_what_it_is_however_texts_are_written(read: Read, numbers, layout: str) -> None:
    number, each, parse, path = {"decimal": ",", "thousands": "."}, {}, {}, "a"
    records: list = [{"a": one, "text": "1.000,5"} for one in numbers]
    if layout == "element":
        each, path, records = {"each": "l"}, "l.a", [{"l": [record], "text": "1.000,5"} for record in records]
    elif layout == "document":
        parse, path, records = {"parse": {"d": "json"}}, "d.a", [{"d": json.dumps(record), "text": "1.000,5"} for record in records]
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    if layout == "parquet":
        buffer = io.BytesIO()
        pq.write_table(pa.table({"a": [float(one) for one in numbers], "text": ["1.000,5"] * len(numbers)}), buffer)
        content = buffer.getvalue()
    fields = {"quantity": path, "value": {"product": [path, "text"]}}
    (file,) = read(
        "parquet" if layout == "parquet" else "json",
        [content],
        fields,
        columns=("quantity", "value"),
        number=number,
        general=GENERAL,
        drop_when=[{"field": path, "above": 2e6}],
        **each,
        **parse,
    )
    assert [row[1] for row in file.good] == [float(one) for one in numbers]
    assert [row[2] for row in file.good] == [pytest.approx(one * 1000.5) for one in numbers]


def test_numbers_of_the_configuration_are_written_as_in_every_configuration(read: Read) -> None:
    """The source says how the log writes its numbers."""
    fields = {
        "value": {"from": "a", "map": {"x": 8.888}},
        "quantity": {"from": "b", "default": 4.999},
        "position": {"value": 7},
        "scroll_pct": {"cases": [{"when": {"field": "b", "missing": True}, "value": 2.345}], "default": "3,5"},
    }
    content = b'a,b\nx,\n"1.000,5","1.000,5"\n'
    (file,) = read("csv", [content], fields, number={"decimal": ",", "thousands": "."})
    assert file.good == [(2, 8.888, 4.999, 7, 2.345), (3, 1000.5, 1000.5, 7, 3.5)]


@pytest.mark.slow
def test_a_number_of_a_look_up_is_what_it_is(configure, warehouse, tmp_path) -> None:
    (tmp_path / "prices.json").write_text('{"k": "a", "p": 1.234}\n{"k": "b", "p": "1.234"}\n')
    (tmp_path / "log.csv").write_text('k,m\na,"{""q"": 1.5}"\nb,"{""q"": ""1,5""}"\n')
    lookup = {"name": "prices", "kind": "lookup", "path": "prices.json", "format": "json", "fields": {"k": "k", "p": "p"}}
    log = {
        "name": "log",
        "path": "log.csv",
        "format": "csv",
        "join": {"source": "prices", "on": "k"},
        "number": {"decimal": ",", "thousands": "."},
        "fields": {
            "timestamp": {"value": "2025-09-01"},
            "user_id": "k",
            "event_type": {"value": "purchase"},
            "value": "prices.p",
            "quantity": "m.q",
        },
    }
    settings = configure(log, lookup)
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    assert rows(warehouse, "SELECT value, quantity, problem FROM logs.log ORDER BY source_line") == [(1.234, 1.5, None), (1234, 1.5, None)]


@pytest.mark.parametrize("column", ["quantity", "dwell_ms", "position", "scroll_pct"])
def test_what_is_no_money_has_no_currency(read: Read, column: str) -> None:
    (file,) = read("csv", [b"a\n5 EUR\n5\n5 MIN\n"], {column: "a"}, number={"decimal": "."})
    assert file.good == [(3, 5)]


def test_a_product_of_two_currencies_is_a_reject_and_a_sign_in_the_column_of_currencies_is_one(read: Read) -> None:
    content = "a,b,c\n2 EUR,USD 3,\n2,3 €,€\n2,3 USD,$\n2,3 GBP,$\n2,3,£\n"
    (file,) = read("csv", [content.encode()], {"value": {"product": ["a", "b"]}, "currency": "c"}, number={"decimal": "."})
    assert file.good == [(3, 6, "EUR"), (4, 6, "USD"), (6, 6, "GBP")]
    assert file.problems == [(2, "value: written in EUR and in USD"), (5, "value: written in GBP, and its currency is $")]


SIGNS = [("€", "EUR"), ("$", "USD"), ("US$", "USD"), ("£", "GBP"), ("kr", "NOK"), ("CHF", "CHF"), ("¥", "CNY"), ("zł", "PLN")]


@pytest.mark.slow
@law(20)
@given(
    entries=st.lists(st.tuples(st.sampled_from(SIGNS), st.sampled_from(SIGNS), st.integers(1, 999), st.booleans()), min_size=1, max_size=8)
)
@example(entries=[(("$", "USD"), ("$", "USD"), 1, True), (("kr", "NOK"), ("kr", "NOK"), 2, False), (("¥", "CNY"), ("€", "EUR"), 3, True)])
def test_a_sign_of_another_currency_than_the_records_is_a_reject(read: Read, entries) -> None:
    texts = [(f"{sign} {amount}" if before else f"{amount} {sign}", currency) for (sign, _), (_, currency), amount, before in entries]
    content = "a,c\n" + "".join(f"{text},{currency}\n" for text, currency in texts)
    (file,) = read("csv", [content.encode()], {"value": "a", "currency": "c"}, number={"decimal": "."})
    fits = [meant == currency or (sign == "$" and currency == "USD") for (sign, meant), (_, currency), _, _ in entries]
    assert [row[0] for row in file.good] == [line for line, fit in enumerate(fits, start=2) if fit]
    assert {reason[:17] for _, reason in file.problems} <= {"value: written in"}


def test_the_sign_beside_an_amount_is_its_currency_where_none_is_mapped(read: Read) -> None:
    content = 'a\n5 €\n$8\nEUR 7\n9\n"1,000 kr"\n'
    (file,) = read("csv", [content.encode()], {"value": "a"}, columns=("value", "currency"), number={"decimal": ".", "thousands": ","})
    assert [row[1:] for row in file.good] == [(5, "EUR"), (8, "$"), (7, "EUR"), (9, None), (1000, "kr")]


@pytest.mark.slow
@pytest.mark.parametrize("mark", ["\u00a0", "\u202f"])
def test_thousands_may_be_parted_by_a_blank_that_does_not_break(read: Read, mark: str) -> None:
    assert amounts(read, [f"1{mark}234,5"], {"decimal": ",", "thousands": mark}) == [1234.5]


def test_a_plain_number_with_an_underscore_is_a_reject(read: Read) -> None:
    assert amounts(read, ["1_000", "7"], None) == [None, 7]


@pytest.mark.slow
@law(20)
@given(
    texts=st.lists(st.text(st.sampled_from("01234567.,"), min_size=1, max_size=9), min_size=1, max_size=20, unique=True),
    marks=st.sampled_from([(",", "."), (".", ",")]),
)
def test_digits_and_marks_are_a_number_only_where_they_are_grouped_well(read: Read, texts, marks) -> None:
    decimal, thousands = marks
    found = amounts(read, texts, {"decimal": decimal, "thousands": thousands})
    for text, value in zip(texts, found, strict=True):
        whole, _, fraction = text.partition(decimal)
        digits = whole.replace(thousands, "")
        well = thousands not in fraction and decimal not in fraction and bool(digits or fraction)
        if whole and well:
            stripped = whole.lstrip("0") if whole.replace(thousands, "").lstrip("0") else whole
            assume(stripped == whole or thousands not in whole)
            well = digits != "" and whole in (
                digits,
                grouped_as(digits, thousands, indian=False),
                grouped_as(digits, thousands, indian=True),
            )
        expected = float(f"{digits or 0}.{fraction or 0}") if well else None
        assert value == expected, text


def grouped_as(digits: str, thousands: str, *, indian: bool) -> str:
    head, pieces, size = digits[:-3], [digits[-3:]], 2 if indian else 3
    while head:
        pieces.insert(0, head[-size:])
        head = head[:-size]
    return thousands.join(pieces)


@law(15)
@given(values=st.lists(st.floats(-1e11, 1e11, allow_nan=False), min_size=1, max_size=15))
def test_plain_numbers_are_what_python_says(read: Read, values) -> None:
    texts = [repr(value) for value in values]
    assert amounts(read, texts, None) == values


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["1,5", "0x10", "5 5", "1e", "--5", "five", "1.2.3", "1e999", "nan", "inf", "-inf", "infinity", "true", "٣", "5%"]
)
def test_what_is_no_plain_number_is_a_reject(read: Read, text: str) -> None:
    assert amounts(read, [text, "7"], None) == [None, 7]


@pytest.mark.slow
@pytest.mark.parametrize("number", [{"decimal": "."}, {"decimal": ".", "thousands": ""}, {"decimal": ".", "thousands": ","}])
def test_signs_of_currencies_are_understood_with_any_number_setting(read: Read, number) -> None:
    assert amounts(read, ["$5.00", "(5.00)", "5.00-", "EUR 5"], number) == [5, -5, -5, 5]


@pytest.mark.slow
@law(15)
@given(marks=st.sampled_from(FORMATS[:5]), data=st.data(), bound=st.decimals(-1000, 1000, places=2))
def test_products_cases_and_conditions_read_numbers_the_same_way(read: Read, marks, data, bound: Decimal) -> None:
    entries = data.draw(st.lists(written_amounts(*marks), min_size=1, max_size=8))
    content = "a,n\n" + "".join(csv_line((text, number % 7 + 1), quoting=1) + "\n" for number, (text, _) in enumerate(entries))
    fields = {
        "value": {"product": ["a", "n"]},
        "event_type": {"cases": [{"when": {"field": "a", "below": float(bound)}, "value": "refund"}], "default": "purchase"},
    }
    number = {"decimal": marks[0], "thousands": marks[1]}
    (file,) = read(
        "csv",
        [content.encode()],
        fields,
        columns=("event_type", "value"),
        general={"logs": {"settle_seconds": 0, "money": {"minimum": -1e12, "maximum": 1e12}}},
        number=number,
        drop_when=[{"field": "a", "at_least": float(bound) + 100}],
    )
    kept, dropped = [], []
    for line, (_, amount) in enumerate(entries, start=2):
        if float(amount) >= float(bound) + 100:
            dropped.append(line)
        else:
            kept.append((line, "refund" if float(amount) < float(bound) else "purchase", float(amount) * ((line - 2) % 7 + 1)))
    assert (file.good, [line for line, _ in file.dropped], file.problems) == (kept, dropped, [])


@pytest.mark.parametrize(
    ("marks", "texts"),
    [
        ((",", "."), ["0.123", "0.500", "-0.500", "01.234", "00.123,5", "0.123.456"]),
        ((",", " "), ["0 500", "05 500"]),
        ((".", ","), ["0,123.00", "0,12,345"]),
    ],
)
def test_no_group_of_thousands_begins_with_nothing(read: Read, marks, texts: list[str]) -> None:
    decimal, thousands = marks
    others = [f"0{decimal}5", f"10{thousands}500", "0500"]
    found = amounts(read, [*texts, *others], {"decimal": decimal, "thousands": thousands})
    assert found == [*[None] * len(texts), 0.5, 10500, 500]


@pytest.mark.slow
@law(20)
@given(before=st.sampled_from(["", *CODES]), behind=st.sampled_from(["", *CODES]), blank=st.sampled_from(["", " "]))
@example(before="$", behind="CAD", blank=" ")
@example(before="€", behind="USD", blank=" ")
@example(before="US$", behind="CHF", blank="")
def test_currencies_before_and_behind_an_amount_are_one_or_a_reject(read: Read, before: str, behind: str, blank: str) -> None:
    alone = {
        "€": "EUR",
        "£": "GBP",
        "₹": "INR",
        "₽": "RUB",
        "US$": "USD",
        "R$": "BRL",
        "zł": "PLN",
        "Kč": "CZK",
        "HK$": "HKD",
        "Ft": "HUF",
        "A$": "AUD",
    }
    shared = {"$": {"USD", "HKD", "BRL", "AUD", "CAD"}, "¥": {"JPY"}, "kr": {"SEK"}, "kr.": {"SEK"}, "Fr.": {"CHF"}}
    first, last = alone.get(before, before), alone.get(behind, behind)
    text = f"{before}{blank}5{blank}{behind}"
    (file,) = read("csv", [f"a\n{text}\n".encode()], {"value": "a"}, columns=("value", "currency"), number={"decimal": "."})
    if not (first and last) or first == last:
        assert file.good == [(2, 5, first or last or None)]
    elif last in shared.get(first, set()) or first in shared.get(last, set()):
        assert file.good == [(2, 5, first if last in shared else last)]
    else:
        assert file.problems == [(2, f"value: written in {first} and in {last}")]


@pytest.mark.slow
def test_the_currency_is_the_one_beside_the_text_that_is_used(read: Read) -> None:
    number = {"decimal": ",", "thousands": "."}

    def found(mapping, content: str) -> list[tuple]:
        (file,) = read("csv", [content.encode()], {"value": mapping}, columns=("value", "currency"), number=number)
        assert file.problems == []
        return [row[1:] for row in file.good]

    both = 's,p\n"7,00","5,00 $"\n"7,00 €","5,00 $"\n,"5,00 $"\n'
    assert found({"first_of": ["s", "p"]}, both) == [(7, None), (7, "EUR"), (5, "$")]
    texts = 'a\n"5,00 $"\n"3,00 £"\n'
    assert found({"from": "a", "map": {"5,00 $": "9 €"}}, texts) == [(9, "EUR"), (3, "GBP")]
    assert found({"from": "a", "map": {"5,00 $": "9 €"}, "default": "1"}, texts) == [(9, "EUR"), (1, None)]
    assert found({"cases": [{"when": {"field": "a", "equals": "5,00 $"}, "value": "5 USD"}], "default": "1.5"}, texts) == [
        (5, "USD"),
        (1.5, None),
    ]
    assert found({"from": ["a", "b"], "join": " "}, 'a,b\n"5,00",EUR\n6,\n') == [(5, "EUR"), (6, None)]


@pytest.mark.slow
@law(15)
@given(
    numbers=st.lists(st.decimals(-1000, 1000, places=2), min_size=1, max_size=6),
    data=st.data(),
    layout=st.sampled_from(["texts", "json", "parquet"]),
)
@example(numbers=[Decimal("2.00"), Decimal("-3.00"), Decimal("1.50")], data=None, layout="parquet")
def test_a_number_equals_the_same_number_however_it_is_written(read: Read, numbers, data, layout: str) -> None:
    content: str | bytes
    wanted = numbers[0] if data is None else data.draw(st.sampled_from([*numbers, Decimal("0.5")]))
    word = str(wanted.normalize()) if "E" not in str(wanted.normalize()) else str(int(wanted))
    word = "0" if word == "-0" else word
    if layout == "texts":
        content = "a\n" + "".join(f'"{format(number, "f").replace(".", ",")}"\n' for number in numbers)
        fmt, more = "csv", {"number": {"decimal": ","}}
    elif layout == "json":
        content, fmt, more = "".join(f'{{"a": {format(number, "f")}}}\n' for number in numbers), "json", {}
    else:
        sink = io.BytesIO()
        pq.write_table(pa.table({"a": pa.array([float(number) for number in numbers])}), sink)
        content, fmt, more = sink.getvalue(), "parquet", {}
    cases = {"cases": [{"when": {"field": "a", "one_of": ["x", word]}, "value": "refund"}], "default": "purchase"}
    (file,) = read(
        fmt,
        [content.encode() if isinstance(content, str) else content],
        {"event_type": cases},
        columns=("event_type",),
        drop_when=[{"field": "a", "equals": "y"}],
        **more,
    )
    assert [kind for _, kind in file.good] == ["refund" if number == wanted else "purchase" for number in numbers]


@pytest.mark.slow
def test_a_text_is_no_number_where_its_digits_say_more(read: Read) -> None:
    texts = ["02", "2", "2.0", "12345678901234567891", "1e2", "2 "]
    for word, met in (
        ("2", ["2", "2.0", "2 "]),
        ("12345678901234567890", []),
        ("100", ["1e2"]),
        ("1e2", ["1e2"]),
        ("2e0", ["2", "2.0", "2 "]),
        ("02", ["02"]),
    ):
        cases = {"cases": [{"when": {"field": "a", "equals": word}, "value": "refund"}], "default": "purchase"}
        (file,) = read("csv", [b"a\n" + "".join(f"{text}\n" for text in texts).encode()], {"event_type": cases}, columns=("event_type",))
        assert [text for text, (_, kind) in zip(texts, file.good, strict=True) if kind == "refund"] == met


@pytest.mark.slow
def test_an_attribute_is_no_amount_of_a_currency(configure, warehouse, tmp_path) -> None:
    (tmp_path / "people.csv").write_text('id,saldo\nu1,"1.234,50 €"\nu2,"$ 5,00"\nu3,"5,00"\n')
    people = {
        "name": "people",
        "kind": "users",
        "path": "people.csv",
        "format": "csv",
        "number": {"decimal": ",", "thousands": "."},
        "fields": {"user_id": "id"},
        "attributes": {"saldo": "number"},
    }
    ingested(warehouse, configure(people))
    assert rows(warehouse, "SELECT source_line, reason FROM events.rejects WHERE source = 'people' ORDER BY 1") == [
        (2, "attributes.saldo: not a number"),
        (3, "attributes.saldo: not a number"),
    ]


@pytest.mark.slow
def test_numbers_of_a_look_up_are_written_as_it_says(configure, warehouse, tmp_path) -> None:
    (tmp_path / "prices.csv").write_text("k;p;d\na;1.000;1\nb;2,50;x\nc;7 EUR;1\nd;1e3;1\n")
    (tmp_path / "log.csv").write_text("k\na\nb\nc\nd\n")
    lookup = {
        "name": "prices",
        "kind": "lookup",
        "path": "prices.csv",
        "format": {"type": "csv", "delimiter": ";"},
        "fields": {
            "k": "k",
            "p": {"from": "p", "number": {"decimal": ",", "thousands": "."}},
            "days": {"running_sum": {"of": "d", "by": "p", "along": "d"}},
        },
    }
    log = {
        "name": "log",
        "path": "log.csv",
        "format": "csv",
        "join": {"source": "prices", "on": "k"},
        "fields": {
            "timestamp": {"value": "2025-09-01"},
            "user_id": "k",
            "event_type": {"value": "purchase"},
            "value": "prices.p",
            "quantity": "prices.days",
        },
    }
    settings = configure(log, lookup)
    load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    assert rows(warehouse, "SELECT value, quantity, problem FROM logs.log ORDER BY source_line") == [
        (1000, 1, None),
        (2.5, None, "quantity: not a number"),
        (None, 1, "value: not a number"),
        (1000, 1, None),
    ]
    with pytest.raises(ConfigurationError, match="number: not of a whole source of kind lookup"):
        configure(log, {**lookup, "number": {"decimal": ","}})


def test_a_factor_that_is_missing_may_be_another_field_or_a_number(read: Read) -> None:
    content = 'p,q,n\n"2,50",3,9\n"2,50",,4\n"2,50",,\n,2,2\n"2,50",x,4\n'
    mapping = {"value": {"product": ["p", ["q", "n", 2]]}}
    (file,) = read("csv", [content.encode()], mapping, number={"decimal": ",", "thousands": "."})
    assert (file.good, file.problems) == ([(2, 7.5), (3, 10), (4, 5), (5, None)], [(6, "value: not a number")])
