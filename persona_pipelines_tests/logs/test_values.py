"""Values of fields: odd times and numbers, conditions, words for missing, spellings of ids, percent codes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
import pytest

from persona_pipelines.logs import values
from persona_pipelines.settings.sources import Condition, FieldMapping, Source

UTC = dt.UTC


def described(**more) -> Source:
    fields = {"timestamp": "t", "event_type": {"value": "purchase"}, "user_id": "u"}
    return Source.model_validate({"name": "log", "path": "x", "format": "csv", "fields": fields, **more})


def evaluated(warehouse, texts: Sequence[str | None], make) -> list:
    table = warehouse.keep("texts", ibis.memtable({"n": list(range(len(texts))), "t": texts}, schema={"n": "int64", "t": "string"}))
    fields = values.Fields({"t": table.t, "u": table.t}, {})
    result = make(fields, table)
    query = warehouse.sql(table.select(n=table.n, **{f"r{i}": value for i, value in enumerate(result)}).order_by("n"))
    return [row[1:] for row in warehouse.connection.execute(query).fetchall()]


def times(warehouse, texts: list[str | None], **how) -> list[tuple]:
    """(moment in UTC, whether the text is no time) of each text."""
    wanted = FieldMapping.model_validate({"from": "t", **how})
    return evaluated(warehouse, texts, lambda fields, table: values.timestamp_of(wanted, fields, described(), table.n + 1))


def test_a_day_alone_is_local_midnight(warehouse) -> None:
    assert times(warehouse, ["2019-10-01", "2019-10-01 00:00:00 UTC"], timezone="Europe/Berlin") == [
        (dt.datetime(2019, 9, 30, 22), False),
        (dt.datetime(2019, 10, 1), False),
    ]


@pytest.mark.parametrize(
    "text", ["31/Sep/2015:10:00:00 +0000", "30/Feb/2016:10:00:00 +0000", "00/Jan/2016:10:00:00 +0000", "01/Jan/2016:25:00:00 +0000", "x"]
)
def test_days_that_do_not_exist_are_no_times_in_any_format(warehouse, text: str) -> None:
    good = "01/Oct/2015:10:00:00 +0000"
    for wanted in ("%d/%b/%Y:%H:%M:%S %z", ["%d/%b/%Y:%H:%M:%S %z", "%Y-%m-%d"]):
        assert times(warehouse, [good, text, good], format=wanted) == [
            (dt.datetime(2015, 10, 1, 10), False),
            (None, True),
            (dt.datetime(2015, 10, 1, 10), False),
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["infinity", "-infinity", "9999-12-31", "10000-01-01", "2019-09-31", "0000-00-00 00:00:00", "epoch ", "now"]
)
def test_what_is_no_moment_is_no_time(warehouse, text: str) -> None:
    assert times(warehouse, [text]) == [(None, True)]
    assert times(warehouse, [None, "2019-10-01T10:00Z"]) == [(None, False), (dt.datetime(2019, 10, 1, 10), False)]


def test_a_time_may_be_made_of_two_fields_and_count_from_any_day(warehouse) -> None:
    wanted = FieldMapping.model_validate({"from": "t", "unit": "days", "since": "2020-01-01", "plus": {"from": "u", "unit": "hours"}})
    assert evaluated(warehouse, ["2", "x"], lambda fields, table: values.timestamp_of(wanted, fields, described(), table.n)) == [
        (dt.datetime(2020, 1, 3, 2), False),
        (None, True),
    ]


def numbers(warehouse, texts: list[str | None], how: dict, **mapped) -> list[tuple]:
    wanted = FieldMapping.model_validate({"from": "t", **mapped})
    return evaluated(warehouse, texts, lambda fields, _: values.number_of(wanted, fields, described(number=how)))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["1.23", "12.34,5", "1.2345,00", "1,2,3", "(1,00", "1,00)", "1 000,00", "12 Stück", "", "1,0e", "12 kg"])
def test_a_number_that_is_grouped_otherwise_is_none(warehouse, text: str) -> None:
    ((number, unreadable),) = numbers(warehouse, [text], {"decimal": ",", "thousands": "."})
    assert (number, unreadable) == (None, True)


def test_the_source_says_for_factors_cases_and_conditions_how_numbers_are_written(warehouse) -> None:
    how = {"decimal": ",", "thousands": "."}
    product = FieldMapping.model_validate({"product": ["t", "u"]})
    negative = Condition.model_validate({"field": "t", "below": 0})
    kind = FieldMapping.model_validate({"cases": [{"when": {"field": "t", "below": 0}, "value": "refund"}], "default": "purchase"})
    source = described(number=how)
    made = evaluated(
        warehouse,
        ["-1.000,5", "2,5"],
        lambda fields, _: (
            values.number_of(product, fields, source)[0],
            values.condition_holds(negative, fields, source),
            values.text_of(kind, fields, source),
        ),
    )
    assert made == [(1001000.25, True, "refund"), (6.25, False, "purchase")]


@pytest.mark.parametrize(
    ("condition", "held"),
    [
        ({"not": {"field": "t", "equals": "a"}}, [False, True, True]),
        ({"all": [{"field": "t", "equals": "a"}, {"field": "u", "matches": "^a$"}]}, [True, False, False]),
        ({"any": [{"field": "t", "equals": "a"}, {"field": "t", "missing": True}]}, [True, False, True]),
        ({"field": "t", "one_of": ["b"]}, [False, True, False]),
    ],
)
def test_conditions_may_be_denied_and_joined(warehouse, condition: dict, held: list[bool]) -> None:
    wanted = Condition.model_validate(condition)
    found = evaluated(warehouse, ["a", "b", None], lambda fields, _: (values.condition_holds(wanted, fields, described()),))
    assert [row[0] for row in found] == held


def ids(warehouse, texts: Sequence[str | None], column: str = "user_id", **source) -> list[str | None]:
    wanted = FieldMapping.model_validate({"from": "t"})
    return [row[0] for row in evaluated(warehouse, texts, lambda fields, _: (values.text_of(wanted, fields, described(**source), column),))]


WORDS = [
    "null",
    "undefined",
    "NaN",
    "\\N",
    "None",
    "-",
    "(not set)",
    "anonymous",
    "00000000-0000-0000-0000-000000000000",
    "[object Object]",
    "NULL",
]


def test_words_for_missing_are_no_people_and_items_may_be_called_anything(warehouse) -> None:
    assert ids(warehouse, [*WORDS, "ann", "nullable", "0"]) == [None] * len(WORDS) + ["ann", "nullable", "0"]
    assert ids(warehouse, WORDS, "item_id") == WORDS
    assert ids(warehouse, ["null", "?"], missing_words=["?"]) == ["null", None]
    assert ids(warehouse, ["null"], missing_words=[]) == ["null"]


@pytest.mark.parametrize("column", ["user_id", "target_user_id", "event_id", "anonymous_id", "item_id"])
def test_an_id_of_several_fields_needs_all_of_them_but_for_a_device_or_an_item(warehouse, column: str) -> None:
    wanted = FieldMapping.model_validate({"from": ["t", "u"]})
    table = ibis.memtable({"n": [0, 1, 2, 3, 4, 5], "t": ["s", "s", "s", None, "a|b", "a"], "u": ["1", None, "null", "1", "c", "b|c"]})
    fields = values.Fields({"t": table.t, "u": table.u}, {})
    query = table.select(n=table.n, found=values.text_of(wanted, fields, described(), column)).order_by("n")
    found = [row[1] for row in warehouse.connection.execute(warehouse.sql(warehouse.keep("parts", query))).fetchall()]
    if column in ("anonymous_id", "item_id"):
        assert found[:4] == ["s|1", "s|", "s|" if column == "anonymous_id" else "s|null", None]
    else:
        assert found[:4] == ["s|1", None, None, None]
        assert len(set(found[4:])) == 2
    of_a_server = described(format="combined")
    query = table.select(n=table.n, found=values.text_of(wanted, fields, of_a_server, column)).order_by("n")
    assert next(row[1] for row in warehouse.connection.execute(warehouse.sql(query)).fetchall()[1:]) == "s|"


@pytest.mark.parametrize("column", ["user_id", "event_id", "anonymous_id"])
@pytest.mark.parametrize("join", ["|", "||", "\\", "a", " - "])
def test_parts_that_hold_what_stands_between_them_stay_apart(warehouse, column: str, join: str) -> None:
    parts = [join[0], join, f"{join}b", f"b{join}", f"b{join[0]}", f"{join[0]}b", "\\", "\\b", "b\\", "b", "%", f"b{join}b", "%b"]
    pairs = [(one, other) for one in dict.fromkeys(parts) for other in dict.fromkeys(parts)]
    table = ibis.memtable({"t": [one for one, _ in pairs], "u": [other for _, other in pairs]})
    fields = values.Fields({"t": table.t, "u": table.u}, {})
    wanted = FieldMapping.model_validate({"first_of": [["t", "u"], "u"], "join": join})
    both = warehouse.connection.execute(
        warehouse.sql(table.select(x=values.text_of(wanted, fields, described(identifiers={"form": "none"}, missing_words=[]), column)))
    ).fetchall()
    alone = values.Fields({"t": table.t.nullif(table.t), "u": table.u}, {})
    single = warehouse.connection.execute(
        warehouse.sql(table.select(x=values.text_of(wanted, alone, described(missing_words=[]), column)))
    ).fetchall()
    assert len({row[0] for row in both}) == len(pairs)
    assert not {row[0] for row in both} & {row[0] for row in single}


def test_spellings_of_an_id_become_one_as_set(warehouse) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert ids(warehouse, [composed, decomposed], "item_id") == [composed] * 2
    assert ids(warehouse, [decomposed], "item_id", identifiers={"form": "none"}) == [decomposed]
    assert ids(
        warehouse, ["a\u200bb", "a  b\u00a0c", "Ann"], identifiers={"invisible": "remove", "blanks": "collapse", "lower_case": True}
    ) == [
        "ab",
        "a b c",
        "ann",
    ]


def test_percent_codes_are_decoded_and_what_is_no_text_behind_them_stays(warehouse) -> None:
    wanted = FieldMapping.model_validate({"from": "t", "decode": "url"})
    twice = FieldMapping.model_validate({"from": "t", "decode": ["url", "form"]})
    texts = ["caf%C3%A9", "caf%c3%a9", "café", "%C3", "a+b", "100%"]
    found = evaluated(warehouse, texts, lambda fields, _: (values.text_of(wanted, fields, described(), "item_id"),))
    assert [row[0] for row in found] == ["café", "café", "café", "%C3", "a+b", "100%"]
    found = evaluated(warehouse, ["a%252Bb+c"], lambda fields, _: (values.text_of(twice, fields, described(), "item_id"),))
    assert [row[0] for row in found] == ["a+b c"]
