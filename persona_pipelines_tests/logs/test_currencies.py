"""Amounts are in one currency, or are converted to one, or the run stops; they are never added up."""

import pytest

from persona_pipelines.events.checks import several_currencies
from persona_pipelines.logs.files import LogFileError
from persona_pipelines_tests.conftest import ingested, rows, write

ORDERS = {
    "name": "orders",
    "path": "orders.csv",
    "format": "csv",
    "fields": {
        "event_id": "id",
        "timestamp": "at",
        "event_type": {"from": "kind", "default": "purchase"},
        "user_id": "who",
        "item_id": "what",
        "value": "paid",
        "currency": "currency",
    },
}
ITEMS = {"name": "items", "kind": "items", "path": "items.csv", "format": "csv"}
HEADER = "id,at,kind,who,what,paid,currency"
LINES = (
    "1,2025-09-01T10:00:00Z,,ann,lamp,100,EUR",
    "2,2025-09-02T10:00:00Z,,ann,lamp,1100,SEK",
    "3,2025-09-03T10:00:00Z,,bob,lamp,1000,sek",
    "4,2025-09-03T10:00:00Z,,bob,lamp,5,",
    "5,2025-09-03T10:00:00Z,rating,bob,lamp,4,SEK",
)


@pytest.mark.slow
def test_amounts_in_several_currencies_are_named_and_not_added_up(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "orders.csv", HEADER, *LINES)
    ingested(warehouse, configure(ORDERS))
    assert "2 currencies: SEK (2 records), EUR (1 records)" in (several_currencies(warehouse) or "")


@pytest.mark.slow
def test_one_currency_and_amounts_without_any_are_well(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "orders.csv", HEADER, LINES[0], LINES[3])
    ingested(warehouse, configure(ORDERS))
    assert several_currencies(warehouse) is None


@pytest.mark.slow
def test_amounts_are_converted_by_the_rate_of_their_day(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "orders.csv", HEADER, *LINES)
    write(tmp_path, "rates.csv", "date,currency,rate", "2025-08-01,SEK,0.5", "2025-09-03,SEK,0.1")
    ingested(warehouse, configure(ORDERS, currencies={"base": "EUR", "rates": "rates.csv"}))
    found = rows(warehouse, "SELECT event_id, value, currency FROM events.events ORDER BY 1")
    assert found == [
        ("orders:1", 100, "EUR"),
        ("orders:2", 550, "EUR"),
        ("orders:3", 100, "EUR"),
        ("orders:4", 5, "EUR"),
        ("orders:5", 4, "SEK"),
    ]
    assert several_currencies(warehouse) is None


@pytest.mark.slow
def test_an_amount_without_a_rate_is_a_reject(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "orders.csv", HEADER, *LINES[:2], "6,2025-09-03T10:00:00Z,,bob,lamp,5,JPY")
    write(tmp_path, "rates.csv", "date,currency,rate", "2025-09-03,SEK,0.1")
    ingested(warehouse, configure(ORDERS, currencies={"base": "EUR", "rates": "rates.csv"}))
    assert rows(warehouse, "SELECT reason FROM events.rejects ORDER BY source_line") == [
        ("currency: no rate of SEK for its day",),
        ("currency: no rate of JPY for its day",),
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("day,currency,rate\n", "line 1: column 'date' not found"),
        ("date,currency,rate\n2025-09-01,SEK,much\n", "line 2: found '2025-09-01' and 'much'"),
        ("date,currency,rate\n2025-09-01,SEK,-1\n", "line 2: rate: found -1"),
        ("date,currency,rate\n2025-09-01,SEK,0.1\n2025-09-01,sek,0.2\n", "line 3: sek of 2025-09-01 stands there twice, as 0.1 and 0.2"),
        ("date,currency,rate\n2025-09-01,EUR,2\n", "a rate of EUR itself; expected 1"),
    ],
)
def test_a_wrong_rate_is_named_by_its_line(warehouse, configure, tmp_path, content: str, message: str) -> None:
    write(tmp_path, "orders.csv", HEADER, *LINES)
    (tmp_path / "rates.csv").write_text(content)
    with pytest.raises(LogFileError, match=message):
        ingested(warehouse, configure(ORDERS, currencies={"base": "EUR", "rates": "rates.csv"}))


def beside(*lines: str) -> tuple[dict, tuple[str, ...]]:
    """A log whose amounts have their currencies beside them, and no column of its own."""
    fields = {"timestamp": "at", "event_type": {"value": "purchase"}, "user_id": "who", "item_id": "what", "value": "paid"}
    source = {"name": "orders", "path": "orders.csv", "format": "csv", "number": {"decimal": "."}, "fields": fields}
    return source, ("at,who,what,paid", *lines)


@pytest.mark.slow
def test_currencies_beside_amounts_alone_count_like_a_column_of_them(warehouse, configure, tmp_path) -> None:
    source, lines = beside("2025-09-01,ann,lamp,5 EUR", "2025-09-01,ann,lamp,7 SEK", "2025-09-01,bob,lamp,9 SEK")
    write(tmp_path, "orders.csv", *lines)
    ingested(warehouse, configure(source))
    assert "2 currencies: SEK (2 records), EUR (1 records)" in (several_currencies(warehouse) or "")
    write(tmp_path, "rates.csv", "date,currency,rate", "2025-08-01,SEK,0.5")
    ingested(warehouse, configure(source, currencies={"base": "EUR", "rates": "rates.csv"}))
    assert rows(warehouse, "SELECT value, currency FROM events.events ORDER BY source_line") == [(5, "EUR"), (3.5, "EUR"), (4.5, "EUR")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prices", "several"), [(("5 EUR", "7 EUR"), False), (("5 EUR", "7 USD"), True), (("5 SEK", "7 SEK"), True), (("5", "7"), False)]
)
def test_prices_are_in_the_currency_of_the_amounts(warehouse, configure, tmp_path, prices: tuple[str, str], several: bool) -> None:
    source, lines = beside("2025-09-01,ann,lamp,5 EUR")
    write(tmp_path, "orders.csv", *lines)
    write(tmp_path, "items.csv", "id,price", f"lamp,{prices[0]}", f"tin,{prices[1]}")
    items = {**ITEMS, "number": {"decimal": "."}, "fields": {"item_id": "id", "price": "price"}}
    ingested(warehouse, configure(source, items))
    assert (several_currencies(warehouse), several_currencies(warehouse, prices=True) is not None) == (None, several)


@pytest.mark.slow
def test_prices_of_a_list_are_converted_by_the_rate_of_today(warehouse, configure, tmp_path) -> None:
    source, lines = beside("2025-09-01,ann,lamp,5 EUR")
    write(tmp_path, "orders.csv", *lines)
    write(tmp_path, "items.csv", "id,price,currency", "lamp,7,EUR", "tin,70,SEK")
    write(tmp_path, "rates.csv", "date,currency,rate", "2025-08-01,SEK,0.5", "2025-09-03,SEK,0.1")
    items = {**ITEMS, "fields": {"item_id": "id", "price": "price", "currency": "currency"}}
    ingested(warehouse, configure(source, items, currencies={"base": "EUR", "rates": "rates.csv"}))
    assert rows(warehouse, "SELECT item_id, price, currency FROM events.items ORDER BY 1") == [("lamp", 7, "EUR"), ("tin", 7, "EUR")]
    assert several_currencies(warehouse, prices=True) is None
