"""Texts as moments: ISO 8601, formats of ``strptime``, counts of a unit since a moment, and numbers of records where nothing has a clock."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from functools import lru_cache
from zoneinfo import ZoneInfo

import ibis
import ibis.expr.types as ir

from persona_pipelines.settings.patterns import ISO
from persona_pipelines.settings.sources import UNITS, FieldMapping, RecordOrder
from persona_pipelines.warehouse import functions
from persona_pipelines.warehouse.zones import AMBIGUOUS

EARLIEST, LATEST = dt.datetime(1, 1, 2), dt.datetime(9000, 1, 1)  # noqa: DTZ001 - UTC; what lies beyond, infinity too, is no time
LATEST_MICROSECONDS = 2.2e17
ABBREVIATED_YEARS = (1995, 2010, 2024)
"""In which a zone's abbreviations are looked up."""


def read_time(mapping: FieldMapping, text: ir.StringValue, later: ir.StringValue | None = None) -> ir.TimestampValue:
    """A text as a moment in UTC without a zone, null where it is none, as the field's settings say: by its formats, else as a count.

    Args:
        later: the text of ``plus.from``, which says how much later than that it was.
    """
    zone = mapping.timezone
    named = text if zone is None else _with_offset_of(zone, text)
    # One pass a format: a list of formats makes DuckDB 2.0 carry the zone of one row over to the next.
    moments = [_iso(named, zone) if wanted == ISO else _by_format(named, wanted, zone) for wanted in mapping.format or []]
    if mapping.unit is not None:
        counted = functions.make_timestamp(_sane(_in_microseconds(text, mapping.unit) + float(_microseconds(mapping.since))))
        moments.append(from_local(counted, zone) if zone is not None and mapping.since_is_local else counted)
    moment = ibis.coalesce(*moments) if moments else _iso(named, zone)
    if later is not None and mapping.plus is not None:
        moment = _later(moment, _in_microseconds(later, mapping.plus.unit), zone)
    return ibis.ifelse((moment < LATEST) & (moment > EARLIEST), moment, None)


def _later(moment: ir.TimestampValue, microseconds: ir.FloatingValue, zone: str | None) -> ir.TimestampValue:
    """A moment so much later. A time of day beside a local date is what the clocks showed, on days on which they are put forward too."""

    def after(begin: ir.TimestampValue) -> ir.TimestampValue:
        return functions.make_timestamp(_sane(functions.epoch_us(begin).cast("float64") + microseconds))

    if zone is None:
        return after(moment)
    local = functions.local_time(moment, zone)
    of_a_day = (local == local.truncate("D")) & (microseconds >= 0) & (microseconds < UNITS["days"])
    return ibis.ifelse(of_a_day, from_local(after(local), zone), after(moment))


@lru_cache(maxsize=256)
def abbreviations_of(zone: str) -> Mapping[str, str]:
    """The abbreviations that mean one offset in a zone, and elsewhere another, with that offset (``CST`` in Asia/Shanghai: +0800)."""
    clock, found = ZoneInfo(zone), dict[str, set[str]]()
    for year in ABBREVIATED_YEARS:
        for month in range(1, 13):
            moment = dt.datetime(year, month, 1, tzinfo=dt.UTC).astimezone(clock)
            found.setdefault(moment.strftime("%Z"), set()).add(moment.strftime("%z"))
    return {name: next(iter(offsets)) for name, offsets in found.items() if name in AMBIGUOUS and len(offsets) == 1}


def _with_offset_of(zone: str, text: ir.StringValue) -> ir.StringValue:
    """A text in which the zone's own abbreviations are offsets."""
    for name, offset in abbreviations_of(zone).items():
        # Nearly no text has one: to look for it costs less than to replace nothing.
        text = ibis.ifelse(text.contains(name), text.re_replace(rf"([^A-Za-z/_]){name}([^A-Za-z/_]|$)", rf"\1{offset}\2"), text)
    return text


CLOCK = r"^(?:([0-9]+):([0-5][0-9])|([0-9]+)):([0-5][0-9](?:\.[0-9]+)?)$"
"""Hours, minutes and seconds, or minutes and seconds."""
DURATION = r"^P(?:([0-9]+)D)?(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+(?:\.[0-9]+)?)S)?)?$"
"""Of ISO 8601, without years and months, which have no one length."""


def read_duration(text: ir.StringValue) -> ir.FloatingValue:
    """``01:02:03``, ``62:03`` and ``PT1H2M3S`` as milliseconds; null where the text is no duration."""

    def parts(pattern: str, milliseconds: Mapping[int, float]) -> ir.FloatingValue:
        found = [text.re_extract(pattern, group).nullif("").try_cast("float64") for group in milliseconds]
        total = sum(
            (ibis.coalesce(number, 0.0) * factor for number, factor in zip(found, milliseconds.values(), strict=True)), ibis.literal(0.0)
        )
        return ibis.ifelse(ibis.coalesce(*found).notnull(), total.round(3), None)

    hour, minute = 3_600_000.0, 60_000.0
    return ibis.coalesce(
        parts(CLOCK, {1: hour, 2: minute, 3: minute, 4: 1000.0}), parts(DURATION, {1: 24 * hour, 2: hour, 3: minute, 4: 1000.0})
    )


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
    return (
        ibis.ifelse(_has_the_day(text, wanted), functions.of_four_digits(moment), None)
        if BY_NUMBER.search(wanted)
        else functions.of_four_digits(moment)
    )


BY_NUMBER = re.compile(r"%-?[jUWV]")
DIGITS = {"Y": "[0-9]{4}", "G": "[0-9]{4}", "y": "[0-9]{2}", "j": "[0-9]{1,3}"} | dict.fromkeys("mdHIMSUWVe", "[0-9]{1,2}")
"""What codes of ``strptime`` read."""


def _has_the_day(text: ir.StringValue, wanted: str) -> ir.BooleanValue:
    """Whether the year of a text has the day or week of its number: the engine counts on into the next one."""
    pattern, groups = "", dict[str, int]()
    for code, other in re.findall(r"%-?([A-Za-z%])|([^%]+)", wanted):
        if code in ("Y", "G", "y", "j", "U", "W", "V") and code not in groups:
            groups[code] = len(groups) + 1
            pattern += f"({DIGITS[code]})"
        else:
            pattern += re.escape(other) if other else DIGITS.get(code, "%" if code == "%" else ".*?")
    year_code = next((code for code in ("G", "Y", "y") if code in groups), None)
    if year_code is None:
        return ibis.literal(True)
    numbers = {code: text.re_extract(f"^{pattern}", group).nullif("").try_cast("int64") for code, group in groups.items()}
    year = numbers[year_code] if year_code != "y" else numbers["y"] + ibis.ifelse(numbers["y"] < FIRST_OF_1900, 2000, 1900)
    most = {
        "j": functions.days_of_year(year),
        "V": functions.iso_weeks_of_year(year),
        "U": functions.weeks_of_year(year, "%U"),
        "W": functions.weeks_of_year(year, "%W"),
    }
    return ibis.and_(*(numbers[code] <= bound for code, bound in most.items() if code in numbers)).fill_null(True)


FIRST_OF_1900 = 69
"""Years of two digits from this one on are of the last century (POSIX)."""


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
