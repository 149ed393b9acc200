"""Texts as moments: ISO 8601, formats of ``strptime``, counts of a unit since a moment, and numbers of records where nothing has a clock."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir

from persona_pipelines.settings.sources import UNITS, FieldMapping, RecordOrder
from persona_pipelines.warehouse import functions

EARLIEST, LATEST = dt.datetime(1, 1, 2), dt.datetime(9000, 1, 1)  # noqa: DTZ001 - UTC; what lies beyond, infinity too, is no time
LATEST_MICROSECONDS = 2.2e17


def read_time(mapping: FieldMapping, text: ir.StringValue, later: ir.StringValue | None = None) -> ir.TimestampValue:
    """A text as a moment in UTC without a zone, null where it is none, as the field's settings say.

    Args:
        later: the text of ``plus.from``, which says how much later than that it was.
    """
    if mapping.unit is not None:
        moment = functions.make_timestamp(_sane(_in_microseconds(text, mapping.unit) + float(_microseconds(mapping.since))))
        moment = moment if mapping.timezone is None else from_local(moment, mapping.timezone)
    elif mapping.format is not None:
        # One pass a format: a list of formats makes DuckDB 2.0 carry the zone of one row over to the next.
        moment = ibis.coalesce(*(_by_format(text, wanted, mapping.timezone) for wanted in mapping.format))
    else:
        moment = _iso(text, mapping.timezone)
    if later is not None and mapping.plus is not None:
        offset = _in_microseconds(later, mapping.plus.unit)
        moment = functions.make_timestamp(_sane(functions.epoch_us(moment).cast("float64") + offset))
    return ibis.ifelse((moment < LATEST) & (moment > EARLIEST), moment, None)


def time_of_number(clock: RecordOrder, number: ir.IntegerValue) -> ir.TimestampValue:
    """The moment of the record of a number, from 1 on, in a log without a clock."""
    return functions.make_timestamp((number - 1) * int(clock.step_seconds * 1e6) + _microseconds(clock.start))


def _microseconds(moment: dt.datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return round(aware.timestamp() * 1e6)


def _in_microseconds(text: ir.StringValue, unit: str) -> ir.FloatingValue:
    if unit == "nanoseconds":
        # A double holds microseconds since 1970 exactly, and nanoseconds not.
        whole = ibis.ifelse(text.re_search(r"^[+-]?[0-9]+$"), text, None).try_cast("int64")  # the engine knows 0x69 too
        floored = functions.divide(whole, 1000) - ibis.ifelse(whole % 1000 < 0, 1, 0)
        return ibis.coalesce(floored.cast("float64"), text.try_cast("float64") * UNITS[unit])
    return text.try_cast("float64") * UNITS[unit]


def _sane(microseconds: ir.FloatingValue) -> ir.IntegerValue:
    sane = functions.isfinite(microseconds) & (microseconds.abs() < LATEST_MICROSECONDS)
    return ibis.ifelse(sane, microseconds, None).round().cast("int64")


def _by_format(text: ir.StringValue, wanted: str, zone: str | None) -> ir.TimestampValue:
    if "%z" in wanted.lower():
        # The engine reads offsets and names by these codes, but not the Z of ISO 8601.
        text = functions.with_possible_offset(text.re_replace(r"([0-9]\s*)[Zz]$", r"\1+0000") if wanted.lower().endswith("%z") else text)
    if "%Z" in wanted:
        moment = ibis.coalesce(
            functions.try_strptime_zoned(text, wanted.replace("%Z", "%z")),
            functions.try_strptime_zoned(functions.offset_within(text), wanted.replace("%Z", "%z")),
            functions.try_strptime_zoned(functions.without_abbreviation(text), wanted),
        ).cast("timestamp")
    elif "%z" in wanted:
        moment = functions.try_strptime_zoned(text, wanted).cast("timestamp")
    else:
        moment = functions.try_strptime(text, wanted)
        moment = moment if zone is None else from_local(moment, zone)
    return functions.of_four_digits(moment)


def _read(*texts: ir.StringValue) -> ir.TimestampValue:
    """The first that the engine reads."""
    return ibis.coalesce(*(text.try_cast("timestamp('UTC')") for text in texts)).cast("timestamp")


def _iso(text: ir.StringValue, zone: str | None) -> ir.TimestampValue:
    """A text of ISO 8601, in its basic form, with a comma before fractions, a blank for the T or before the zone too, and with names of zones.

    Whether it names a zone is seen by reading it with one more behind it: that succeeds where there is none.
    """
    text = ibis.ifelse(text < ":", text, None)  # begins with a digit: the engine knows words such as epoch
    plain = functions.with_offset(text)
    own, own_extended = _read(plain), _read(functions.with_offset_extended(text))
    if zone is None:
        return ibis.coalesce(own, own_extended)
    local, local_extended = _read(plain + " UTC", plain + " 00:00 UTC"), _read(functions.with_offset_extended(text + " UTC"))
    return ibis.coalesce(from_local(local, zone), own, from_local(local_extended, zone), own_extended)


@ibis.udf.scalar.builtin(name="from_local_time")
def _from_local_time(zone: str, moment: dt.datetime) -> dt.datetime:
    """A macro of the connection: local time in a zone to UTC."""
    ...


def from_local(moment: ir.TimestampValue, zone: str) -> ir.TimestampValue:
    return _from_local_time(zone, moment)
