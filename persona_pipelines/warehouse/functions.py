"""Functions of the engine that Ibis has no name for. Each is one line here, and one macro or name on the engine."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import ibis
import ibis.expr.datatypes as dt_types
import ibis.expr.types as ir


def once(text: ir.StringValue, function: Callable[[ir.StringValue], ir.StringValue]) -> ir.StringValue:
    """A function of a text that looks at it several times; the text itself stands in the query once, however long it is."""
    return ibis.array([text]).map(function)[0]


@ibis.udf.scalar.builtin
def pseudonym(identifier: str) -> str:
    """HMAC-SHA-256 with the instance's key (privacy.pseudonyms); a macro that the connection defines."""
    ...


@ibis.udf.scalar.builtin
def md5(text: str) -> str: ...


@ibis.udf.scalar.builtin
def regexp_extract_all(text: str, pattern: str) -> list[str]: ...


@ibis.udf.scalar.builtin
def json_valid(text: str) -> bool: ...


@ibis.udf.scalar.builtin(name="try_strptime")
def try_strptime(text: str, format: str) -> dt.datetime:
    """For formats without a zone."""
    ...


@ibis.udf.scalar.builtin(name="try_strptime", signature=((dt_types.string, dt_types.string), dt_types.Timestamp(timezone="UTC")))
def try_strptime_zoned(text, format): ...  # type: ignore[no-untyped-def]


@ibis.udf.scalar.builtin
def with_offset(moment: str) -> str:
    """A macro of the connection (``zones``), as are the next five."""
    ...


@ibis.udf.scalar.builtin
def with_offset_extended(moment: str) -> str: ...


@ibis.udf.scalar.builtin
def with_possible_offset(moment: str) -> str: ...


@ibis.udf.scalar.builtin
def offset_within(moment: str) -> str: ...


@ibis.udf.scalar.builtin
def without_abbreviation(moment: str) -> str: ...


@ibis.udf.scalar.builtin
def of_four_digits(moment: dt.datetime) -> dt.datetime: ...


@ibis.udf.scalar.builtin
def days_of_year(year: int) -> int:
    """A macro of the connection (``zones``), as are the next two."""
    ...


@ibis.udf.scalar.builtin
def iso_weeks_of_year(year: int) -> int: ...


@ibis.udf.scalar.builtin
def weeks_of_year(year: int, code: str) -> int:
    """The number of the last week as ``strftime`` counts by a code, ``%U`` or ``%W``."""
    ...


@ibis.udf.scalar.builtin
def canonical_json(text: str) -> str:
    """A function of the connection: JSON with sorted keys and without blanks (``warehouse.connection``)."""
    ...


@ibis.udf.scalar.builtin
def isfinite(number: float) -> bool: ...


@ibis.udf.scalar.builtin
def divide(number: int, by: int) -> int:
    """Of whole numbers, without the doubles in between that Ibis makes of it."""
    ...


@ibis.udf.scalar.builtin
def epoch_us(moment: dt.datetime) -> int: ...


@ibis.udf.scalar.builtin
def make_timestamp(microseconds: int) -> dt.datetime: ...


@ibis.udf.scalar.builtin(name="json_extract_string")
def json_text(text: str, path: str) -> str:
    """The value at a path of a JSON document as a text."""
    ...


@ibis.udf.scalar.builtin(name="to_local_time")
def _to_local_time(zone: str, moment: dt.datetime) -> dt.datetime:
    """A macro of the connection."""
    ...


def local_time(moment: ir.TimestampValue, timezone: str) -> ir.TimestampValue:
    """A moment in UTC as the clocks of a zone show it."""
    return moment if timezone == "UTC" else _to_local_time(timezone, moment)
