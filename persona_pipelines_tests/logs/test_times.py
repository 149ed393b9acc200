"""Times written by Python's datetime come back equal, whatever stands beside them; what is no time is a reject and never an error."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from persona_pipelines.logs.profile import profile_source
from persona_pipelines_tests.conftest import law, write
from persona_pipelines_tests.logs.test_round_trips import Read, csv_line, read

__all__ = ["read"]

LAST = dt.date(2025, 12, 31)
GENERAL = {"start_date": dt.date(1990, 1, 1)}
FIRST_MOMENT, LAST_MOMENT = dt.datetime(1990, 1, 3), dt.datetime(2025, 12, 29)
MOMENTS = st.datetimes(FIRST_MOMENT, LAST_MOMENT)
ZONES = ["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"]
OFFSETS = st.sampled_from([0, 60, -60, 330, -570, 840, -720, 45])


def times(read: Read, texts: list[str], mapping: dict) -> dict[str, dt.datetime | None]:
    """The time of each text; the texts in this order, in one file. What is no time is None."""
    content = "at\n" + "".join(csv_line((text,)) + "\n" for text in texts)
    fields = {"timestamp": {"from": "at", **mapping}, "item_id": "at"}
    (file,) = read("csv", [content.encode()], fields, columns=("timestamp",), day=LAST, general=GENERAL)
    assert file.records == len(texts)
    assert {reason for _, reason in file.problems} <= {
        f"timestamp: {reason}" for reason in ("not readable as a time", "before 1990-01-01", "in the future")
    }
    found = dict(file.good)
    return {text: found.get(line) for line, text in enumerate(texts, start=2)}


def in_utc(moment: dt.datetime, zone: dt.tzinfo) -> dt.datetime:
    return moment.replace(tzinfo=zone).astimezone(dt.UTC).replace(tzinfo=None)


def possible(moment: dt.datetime, zone: dt.tzinfo) -> set[dt.datetime]:
    """What a local time may mean: two times where clocks are turned."""
    return {in_utc(moment.replace(fold=fold), zone) for fold in (0, 1)}


def offset_text(minutes: int, shape: str) -> str:
    sign, minutes = "-" if minutes < 0 else "+", abs(minutes)
    return f"{sign}{minutes // 60:02}{':' if ':' in shape else ''}{minutes % 60:02}"


@st.composite
def iso_texts(draw: st.DrawFn) -> tuple[str, dt.datetime, dt.tzinfo | None]:
    """A text, the moment that it names, and its zone."""
    moment = draw(MOMENTS)
    shape = draw(st.sampled_from(["T", " ", "no fraction", "milliseconds", "minutes", "date"]))
    if shape == "date":
        moment = dt.datetime.combine(moment.date(), dt.time())
        return moment.date().isoformat(), moment, None
    moment = {
        "no fraction": moment.replace(microsecond=0),
        "minutes": moment.replace(second=0, microsecond=0),
        "milliseconds": moment.replace(microsecond=moment.microsecond // 1000 * 1000),
    }.get(shape, moment)
    text = moment.isoformat(draw(st.sampled_from(["T", " "])), {"milliseconds": "milliseconds", "minutes": "minutes"}.get(shape, "auto"))
    if shape in ("no fraction", "milliseconds") and draw(st.booleans()):
        text = text.replace(" ", "T").replace("-", "").replace(":", "")  # the basic form
    text = text.replace(".", draw(st.sampled_from([".", ","])))
    kind = draw(st.sampled_from(["none", "Z", "+hh:mm", "+hhmm", " +hh:mm", " +hhmm", " UTC", "name"]))
    if kind == "none":
        return text, moment, None
    if kind in ("Z", " UTC"):
        return text + kind, moment, dt.UTC
    if kind == "name":
        name = draw(st.sampled_from(ZONES))
        return f"{text} {name}", moment, ZoneInfo(name)
    minutes = draw(OFFSETS)
    return text + " " * kind.startswith(" ") + offset_text(minutes, kind), moment, dt.timezone(dt.timedelta(minutes=minutes))


@pytest.mark.slow
@law(30)
@given(
    entries=st.lists(iso_texts(), min_size=1, max_size=12, unique_by=lambda entry: entry[0]),
    zone=st.sampled_from([None, *ZONES]),
    data=st.data(),
)
def test_times_of_iso_8601_are_what_python_says_and_do_not_depend_on_their_neighbours(read: Read, entries, zone: str | None, data) -> None:
    mapping = {} if zone is None else {"timezone": zone}
    found = times(read, [text for text, _, _ in entries], mapping)
    for text, moment, own in entries:
        assert found[text] in possible(moment, own or ZoneInfo(zone or "UTC")), text
    again = times(read, data.draw(st.permutations([text for text, _, _ in entries])), mapping)
    assert again == found


FORMATS = {
    "%d/%b/%Y:%H:%M:%S %z": True,
    "%Y-%m-%dT%H:%M:%S.%f%z": True,
    "%a, %d %b %Y %H:%M:%S %z": True,
    "%d.%m.%Y %H:%M": False,
    "%m/%d/%Y %I:%M:%S %p": False,
    "%Y%m%d%H%M%S": False,
    "%B %d, %Y %H:%M": False,
    "%d/%m/%y %H.%M.%S": False,
    "%Y-%m-%d %H:%M:%S,%f": False,
}


@pytest.mark.slow
@law(30)
@given(
    chosen=st.lists(st.sampled_from(sorted(FORMATS)), min_size=1, max_size=4, unique=True),
    zone=st.sampled_from([None, *ZONES]),
    entries=st.lists(st.tuples(MOMENTS, OFFSETS, st.integers(0, 3)), min_size=1, max_size=12),
    data=st.data(),
)
def test_times_in_several_formats_are_what_python_says_and_do_not_depend_on_their_neighbours(
    read: Read, chosen, zone, entries, data
) -> None:
    expected = {}
    for moment, minutes, number in entries:
        wanted = chosen[number % len(chosen)]
        own = dt.timezone(dt.timedelta(minutes=minutes)) if FORMATS[wanted] else ZoneInfo(zone or "UTC")
        text = moment.replace(tzinfo=own).strftime(wanted)
        meant = next(one for one in chosen if _parsed(text, one) is not None)
        parsed = _parsed(text, meant)
        assert parsed is not None
        expected[text] = {in_utc(parsed, parsed.tzinfo)} if parsed.tzinfo else possible(parsed, ZoneInfo(zone or "UTC"))
    noise = ["31/Sep/2025:10:00:00 +0000", "no time", "30.02.2024 10:00"]
    mapping = {"format": chosen, **({} if zone is None else {"timezone": zone})}
    found = times(read, [*expected, *noise], mapping)
    for text, meant_times in expected.items():
        assert found[text] in meant_times, (text, chosen)
    assert [found[text] for text in noise] == [None] * 3
    assert times(read, data.draw(st.permutations([*expected, *noise])), mapping) == found


def _parsed(text: str, wanted: str) -> dt.datetime | None:
    try:
        return dt.datetime.strptime(text, wanted)
    except ValueError:
        return None


MICROSECONDS = {
    "microseconds": 1,
    "milliseconds": 10**3,
    "seconds": 10**6,
    "minutes": 60 * 10**6,
    "hours": 3600 * 10**6,
    "days": 86_400 * 10**6,
}
SINCE = [None, "2024-01-01", "1980-01-06T00:00:00", "2001-01-01T00:00:00+02:00", "1899-12-30"]
BEGIN = dt.datetime(1970, 1, 1)


@pytest.mark.slow
@law(30)
@given(
    unit=st.sampled_from(["nanoseconds", *MICROSECONDS]),
    since=st.sampled_from(SINCE),
    moments=st.lists(MOMENTS, min_size=1, max_size=10),
    below=st.integers(0, 999),
    data=st.data(),
)
def test_times_as_numbers_are_exact_in_every_unit(read: Read, unit: str, since: str | None, moments, below: int, data) -> None:
    start = dt.datetime.fromisoformat(since) if since else BEGIN
    start = start.astimezone(dt.UTC).replace(tzinfo=None) if start.tzinfo else start
    expected = {}
    for moment in moments:
        microseconds = (moment - start) // dt.timedelta(microseconds=1)
        if unit == "nanoseconds":
            text = str(microseconds * 1000 + (below if microseconds >= 0 else 0))
        else:
            whole = microseconds // MICROSECONDS[unit]
            text, microseconds = str(whole), whole * MICROSECONDS[unit]
        expected[text] = start + dt.timedelta(microseconds=microseconds)
    mapping = {"unit": unit, **({"since": since} if since else {})}
    expected = {text: moment for text, moment in expected.items() if moment >= FIRST_MOMENT}
    found = times(read, list(expected), mapping) if expected else {}
    assert found == expected
    if expected:
        assert times(read, data.draw(st.permutations(list(expected))), mapping) == expected


def test_nanoseconds_before_the_given_moment_are_of_their_microsecond(read: Read) -> None:
    text = "-522695080970915411"
    assert times(read, [text], {"unit": "nanoseconds", "since": "2024-01-01"}) == {text: dt.datetime(2007, 6, 9, 6, 55, 19, 29084)}


@pytest.mark.slow
@pytest.mark.parametrize("code", ["%z", "%Z"])
@pytest.mark.parametrize("blank", ["", " "])
def test_the_codes_for_zones_read_the_z_of_iso_8601(read: Read, code: str, blank: str) -> None:
    texts = [f"20191001T100000{blank}{zone}" for zone in ("Z", "z", "+0000", "+0200")]
    found = times(read, texts, {"format": f"%Y%m%dT%H%M%S{blank}{code}", "timezone": "America/New_York"})
    ten = dt.datetime(2019, 10, 1, 10)
    assert found == dict(zip(texts, [ten, ten, ten, ten - dt.timedelta(hours=2)], strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("offset", ["+15:00", "-24:00", "+99:99", "+05:60", "-1900", "+20"])
@pytest.mark.parametrize("basic", [False, True])
@pytest.mark.parametrize("mapping", [{}, {"timezone": "Europe/London"}, {"format": "%Y-%m-%dT%H:%M:%S%z"}])
def test_an_offset_that_no_clock_has_is_a_reject(read: Read, offset: str, mapping, basic: bool) -> None:
    text, other = f"2025-09-01T10:00:00{offset}", "2025-09-01T10:00:00+1400"
    if basic:
        text, other = f"20250901T100000{offset}", "20250901T100000+1400"
        mapping = {"format": "%Y%m%dT%H%M%S%z"} if "format" in mapping else mapping
    assert times(read, [text, other], mapping) == {text: None, other: dt.datetime(2025, 8, 31, 20)}


@law(15)
@given(moments=st.lists(MOMENTS, min_size=1, max_size=8), unit=st.sampled_from(["seconds", "milliseconds"]))
def test_fractions_of_seconds_are_exact_to_the_microsecond(read: Read, moments, unit: str) -> None:
    expected = {}
    for moment in moments:
        microseconds = (moment - BEGIN) // dt.timedelta(microseconds=1)
        size = MICROSECONDS[unit]
        expected[f"{microseconds // size}.{microseconds % size:0{len(str(size)) - 1}}"] = moment
    assert times(read, list(expected), {"unit": unit}) == expected


@pytest.mark.slow
@law(20)
@given(
    entries=st.lists(
        st.tuples(st.dates(dt.date(1990, 1, 3), dt.date(2025, 12, 28)), st.one_of(st.integers(0, 86_399_999), st.just(None))),
        min_size=1,
        max_size=8,
    ),
    zone=st.sampled_from([None, "Europe/London"]),
)
def test_a_number_in_another_field_is_added(read: Read, entries, zone: str | None) -> None:
    content = "at,ms\n" + "".join(f"{day},{'' if ms is None else ms}\n" for day, ms in entries)
    mapping = {"from": "at", "plus": {"from": "ms", "unit": "milliseconds"}, **({"timezone": zone} if zone else {})}
    (file,) = read("csv", [content.encode()], {"timestamp": mapping}, columns=("timestamp",), day=LAST, general=GENERAL)
    expected = [
        (line, in_utc(dt.datetime.combine(day, dt.time()), ZoneInfo(zone or "UTC")) + dt.timedelta(milliseconds=ms))
        for line, (day, ms) in enumerate(entries, start=2)
        if ms is not None
    ]
    assert file.good == expected
    assert len(file.good) + len(file.problems) == len(entries)


# A text, and what it may be read as; None is a reject.
ODD = {
    "2025-09-31": [],
    "2025-02-30T10:00:00Z": [],
    "2025-13-01": [],
    "2025-00-10": [],
    "2025-09-00": [],
    "2024-02-29": [dt.datetime(2024, 2, 29)],
    "2023-02-29": [],
    "9999-12-31T23:59:59Z": [],
    "99999-01-01": [],
    "infinity": [],
    "-infinity": [],
    "Infinity": [],
    "inf": [],
    "epoch": [],
    "now": [],
    "today": [],
    "nan": [],
    "null": [],
    "2025-09-01T24:00:00": [dt.datetime(2025, 9, 2)],
    "2025-09-01 24:00:00Z": [dt.datetime(2025, 9, 2)],
    "2025-09-01T25:00:00": [],
    "2025-09-01T10:60:00": [],
    "2025-09-01T23:59:60Z": [dt.datetime(2025, 9, 2)],
    "2025-09-01T10:00:00,123": [dt.datetime(2025, 9, 1, 10, 0, 0, 123000)],
    "2025-09-01T10:00:00.1234567Z": [dt.datetime(2025, 9, 1, 10, 0, 0, 123456), dt.datetime(2025, 9, 1, 10, 0, 0, 123457)],
    "20250901T100000Z": [dt.datetime(2025, 9, 1, 10)],
    "2025-09-01T10Z": [dt.datetime(2025, 9, 1, 10)],
    "2025-09-01T10:00:00+02": [dt.datetime(2025, 9, 1, 8)],
    "2025-09-01T10:00:00 Nowhere/City": [],
    "2025-09-01T10:00:00 z": [dt.datetime(2025, 9, 1, 10)],
    "2025-09-01T10:00:00ZZ": [],
    "2025-09-01T10:00:00Z Z": [],
    "2025-09-01 10:00:00 AM": [dt.datetime(2025, 9, 1, 10)],
    "2025-09-01 10:00:00 PM": [dt.datetime(2025, 9, 1, 22)],
    "2025-09-01 (BC)": [],
    "0001-01-01": [],
    "-2025-09-01": [],
    "0": [],
    "1756720800": [],
    "10:00": [],
    "2025": [],
    "2025-09": [],
    "T": [],
    "Z": [],
    "UTC": [],
    " UTC": [],
    "2025-09-01T10:00:00 UTC UTC": [],
    "２０２５-09-01": [],
    "2025-09-01T-1:00:00": [],
    "2025-09-01T10:00:00-00:00": [dt.datetime(2025, 9, 1, 10)],
    "290000-01-01": [],
    "2025-245": [dt.datetime(2025, 9, 2)],
    "2025-W36-1": [dt.datetime(2025, 9, 1)],
    "2025-09-01T10:00:00 +00:00 00:00": [],
    "2025-09-01\u00a010:00:00": [dt.datetime(2025, 9, 1, 10)],
}


@pytest.mark.slow
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/London"])
def test_what_is_no_time_is_a_reject_and_no_error(read: Read, zone: str | None) -> None:
    hours = 1 if zone == "Europe/London" else 0
    found = times(read, list(ODD), {} if zone is None else {"timezone": zone})
    wrong = {}
    for text, meant in ODD.items():
        allowed = {None, *meant, *(moment - dt.timedelta(hours=hours if moment.month == 9 else 0) for moment in meant)}
        if found[text] not in allowed:
            wrong[text] = found[text]
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "mapping",
    [
        {"unit": "seconds"},
        {"unit": "nanoseconds"},
        {"unit": "days", "since": "1899-12-30"},
        {"format": "%Y-%m-%d"},
        {"format": ["%d/%b/%Y:%H:%M:%S %z", "%d.%m.%Y"]},
    ],
)
def test_what_is_no_time_of_another_kind_is_a_reject_and_no_error(read: Read, mapping: dict) -> None:
    texts = [
        "1e400",
        "-1e400",
        "nan",
        "inf",
        "-inf",
        "9" * 30,
        "-1e18",
        "0x10",
        "",
        "12:00",
        "2025-02-30",
        "9223372036854775807",
        "-9223372036854775808",
    ]
    found = times(read, [text for text in texts if text], mapping)
    assert {text: moment for text, moment in found.items() if moment} == {}


@pytest.mark.slow
def test_odd_times_are_no_error_where_a_source_is_checked(configure, tmp_path) -> None:
    write(tmp_path, "log.csv", "at,n", *(csv_line((text, "1")) for text in [*ODD, "", "2025-09-01"]))
    for mapping in (
        {},
        {"timezone": "Europe/London"},
        {"unit": "seconds"},
        {"format": "%Y-%m-%d"},
        {"plus": {"from": "n", "unit": "days"}},
    ):
        fields = {"timestamp": {"from": "at", **mapping}, "event_type": {"value": "item_view"}, "user_id": "n"}
        settings = configure({"name": "log", "path": "log.csv", "format": "csv", "fields": fields})
        profile = profile_source(settings.sources[0], settings, 3)
        assert profile.looked_at == len(ODD) + 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("zone", "local"),
    [
        ("Europe/London", "2025-03-30 01:30:00"),
        ("Europe/London", "2025-10-26 01:30:00"),
        ("America/New_York", "2025-03-09 02:30:00"),
        ("America/New_York", "2025-11-02 01:30:00"),
        ("Australia/Lord_Howe", "2025-04-06 01:45:00"),
        ("Australia/Lord_Howe", "2024-10-06 02:15:00"),
    ],
)
def test_local_times_that_do_not_exist_or_come_twice_follow_one_rule(read: Read, zone: str, local: str) -> None:
    moment = dt.datetime.fromisoformat(local)
    others = [f"{moment + dt.timedelta(days=days):%Y-%m-%d %H:%M:%S}" for days in (-1, 1, -90)]
    results = set()
    for mapping in ({}, {"format": "%Y-%m-%d %H:%M:%S"}, {"format": ["%d.%m.%Y", "%Y-%m-%d %H:%M:%S"]}):
        for texts in ([local], [*others, local], [local, *others]):
            results.add(times(read, texts, {**mapping, "timezone": zone})[local])
    assert len(results) == 1
    assert results <= possible(moment, ZoneInfo(zone))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2024-07-16 10:15:00 UTC", "10:15"),
        ("2024-07-16T10:15:00GMT", "10:15"),
        ("2024-07-16 10:15:00 PST", "18:15"),
        ("2024-07-16 10:15:00 PDT", "17:15"),
        ("2024-07-16 10:15:00 cest", "08:15"),
        ("2024-01-16 10:15:00 CET", "09:15"),
        ("2024-07-16 10:15:00 Europe/Berlin", "08:15"),
        ("2024-07-16 10:15:00 CST", None),
        ("2024-07-16 10:15:00 IST", None),
        ("2024-07-16 10:15:00 AST", None),
        ("2024-07-16 10:15:00 NST", None),
        ("2024-07-16 10:15:00 XYZ", None),
    ],
)
@pytest.mark.parametrize("zone", [{}, {"timezone": "Europe/London"}])
def test_an_abbreviation_of_a_zone_means_one_thing_or_is_refused(read: Read, text: str, meant: str | None, zone: dict) -> None:
    """RFC 5322: PST is eight hours behind in summer too; BST is not Bangladesh's because the engine says so."""
    expected = None if meant is None else dt.datetime.fromisoformat(f"{text[:10]}T{meant}")
    assert times(read, [text], zone)[text] == expected
    if "T" not in text[:12] and "cest" not in text:
        assert times(read, [text], {"format": "%Y-%m-%d %H:%M:%S %Z", **zone})[text] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "zone", "meant"),
    [
        ("2024-07-16 10:15:00 BST", "Europe/London", "09:15"),
        ("2024-07-16 10:15:00 CST", "Asia/Shanghai", "02:15"),
        ("2024-01-16 10:15:00 CST", "America/Chicago", "16:15"),
        ("2024-01-16 10:15:00 IST", "Asia/Kolkata", "04:45"),
        ("2024-01-16 10:15:00 IST", "Asia/Jerusalem", "08:15"),
        ("2024-01-16 10:15:00 HKT", "Asia/Hong_Kong", "02:15"),
        ("2024-01-16 10:15:00 CST", "Europe/Berlin", None),
        ("2024-01-16 10:15:00 XCST", "Asia/Shanghai", None),
        ("2024-01-16 10:15:00 EST", "Asia/Shanghai", "15:15"),
    ],
)
def test_an_abbreviation_of_several_zones_is_that_of_the_log(read: Read, text: str, zone: str, meant: str | None) -> None:
    expected = None if meant is None else dt.datetime.fromisoformat(f"{text[:10]}T{meant}")
    beside = "2024-01-16 10:15:00+00:00"
    for mapping in ({}, {"format": "%Y-%m-%d %H:%M:%S %Z"}):
        found = times(read, [beside, text, f"{text} "], {**mapping, "timezone": zone})
        assert found[text] == expected
        assert mapping or found[beside] == dt.datetime(2024, 1, 16, 10, 15)


def _day_of_week_number(year: int, week: int, weekday: int, code: str) -> dt.date | None:
    """The day of a week as ``strptime`` of C counts; None where the year has no such week."""
    has = any(
        (dt.date(year, 1, 1) + dt.timedelta(days=number)).strftime(code) == f"{week:02}"
        for number in range(365 + 1)
        if (dt.date(year, 1, 1) + dt.timedelta(days=number)).year == year
    )
    return dt.datetime.strptime(f"{year}-{week}-{weekday}", f"%Y-{code}-%w").date() if has else None


def _day_of_the_year(year: int, number: int) -> dt.date | None:
    found = dt.date(year, 1, 1) + dt.timedelta(days=number - 1)
    return found if number > 0 and found.year == year else None


def _day_of_iso_week(year: int, week: int, weekday: int) -> dt.date | None:
    try:
        return dt.date.fromisocalendar(year, week, weekday or 7)
    except ValueError:
        return None


@pytest.mark.slow
@law(60)
@given(
    year=st.integers(1991, 2024),
    numbers=st.lists(
        st.tuples(st.integers(0, 370) | st.sampled_from([365, 366]), st.integers(1, 54) | st.just(53), st.integers(0, 6)),
        min_size=1,
        max_size=8,
    ),
    how=st.sampled_from(["%Y-%j", "%y%j", "%Y-%jT%H:%M:%S%z", "%G-W%V-%u", "%Y-%U-%w", "%Y-%W-%w"]),
)
@example(year=2024, numbers=[(366, 52, 1)], how="%G-W%V-%u")
@example(year=2023, numbers=[(366, 53, 0), (365, 52, 0)], how="%Y-%W-%w")
@example(year=2023, numbers=[(366, 53, 0)], how="%Y-%U-%w")
def test_days_and_weeks_that_a_year_has_not_are_rejects(read: Read, year: int, numbers, how: str) -> None:
    expected: dict[str, dt.date | None] = {}
    for day, week, weekday in numbers:
        if "%j" in how:
            text = how.replace("%Y", str(year)).replace("%y", f"{year % 100:02}").replace("%j", f"{day:03}")
            expected[text.replace("T%H:%M:%S%z", "T00:00:00+0000")] = _day_of_the_year(year, day)
        elif "%V" in how:
            expected[f"{year}-W{week:02}-{weekday or 7}"] = _day_of_iso_week(year, week, weekday)
        else:
            expected[f"{year}-{week:02}-{weekday}"] = _day_of_week_number(year, week, weekday, how[3:5])
    found = times(read, list(expected), {"format": how})
    assert found == {text: day and dt.datetime.combine(day, dt.time()) for text, day in expected.items()}


@pytest.mark.slow
def test_a_time_of_day_beside_a_date_is_that_of_the_clocks(read: Read) -> None:
    """Clocks are put forward at 02:00 of the 31st of March: noon is 11 hours after midnight."""
    mapping = {"timestamp": {"from": "at", "timezone": "Europe/Berlin", "plus": {"from": "s", "unit": "seconds"}}}
    lines = ["2024-03-31,43200", "2024-03-30,43200", "2024-03-31 00:30,43200", "2024-03-31,90000"]
    (file,) = read("csv", ["\n".join(["at,s", *lines, ""]).encode()], mapping, columns=("timestamp",), day=LAST, general=GENERAL)
    assert [moment for _, moment in file.good] == [
        dt.datetime(2024, 3, 31, 10),
        dt.datetime(2024, 3, 30, 11),
        dt.datetime(2024, 3, 31, 11, 30),
        dt.datetime(2024, 4, 1),
    ]


@pytest.mark.slow
@law(30)
@given(moments=st.lists(st.tuples(MOMENTS, st.sampled_from(["iso", "day first", "count", "fraction"])), min_size=1, max_size=8))
def test_a_column_may_have_texts_and_counts(read: Read, moments) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    expected: dict[str, set[dt.datetime]] = {}
    for moment, kind in moments:
        whole = moment.replace(microsecond=0)
        seconds = (whole - dt.datetime(1970, 1, 1)) // dt.timedelta(seconds=1)
        text = {"iso": whole.isoformat(), "day first": f"{whole:%d.%m.%Y %H:%M:%S}", "count": str(seconds), "fraction": f"{seconds}.5"}[
            kind
        ]
        counted = {whole + dt.timedelta(seconds=0.5 * (kind == "fraction"))}
        expected[text] = counted if kind in ("count", "fraction") else possible(whole, berlin)
    mapping = {"format": ["iso", "%d.%m.%Y %H:%M:%S"], "unit": "seconds", "timezone": "Europe/Berlin"}
    found = times(read, list(expected), mapping)
    assert all(found[text] in allowed for text, allowed in expected.items())


@law(40)
@given(
    entries=st.lists(
        st.tuples(st.integers(0, 86_399_999 * 5), st.sampled_from(["clock", "minutes", "iso", "days"])), min_size=1, max_size=8
    )
)
def test_durations_are_milliseconds_however_written(read: Read, entries) -> None:
    expected = {}
    for milliseconds, how in entries:
        seconds, rest = divmod(milliseconds, 1000)
        fraction = f".{rest:03}" if rest else ""
        hours, minutes = seconds // 3600, seconds // 60
        text = {
            "clock": f"{hours:02}:{minutes % 60:02}:{seconds % 60:02}{fraction}",
            "minutes": f"{minutes}:{seconds % 60:02}{fraction}",
            "iso": f"PT{hours}H{minutes % 60}M{seconds % 60}{fraction}S",
            "days": f"P{hours // 24}DT{seconds - hours // 24 * 86400}{fraction}S",
        }[how]
        expected[text] = milliseconds
    content = "a\n" + "".join(f"{text}\n" for text in expected)
    (file,) = read("csv", [content.encode()], {"dwell_ms": {"from": "a", "duration": True}})
    assert [value for _, value in file.good] == list(expected.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "text", ["1:60", "1:60:00", "00:00:60", "P1Y", "P1M", "PT", "P", "5", "-1:00", "1:2", "1::2", ":30", "PT1M 5S", "1:30 min"]
)
def test_what_is_no_duration_is_a_reject(read: Read, text: str) -> None:
    (file,) = read("csv", [f"a\n{text}\n1:30\n".encode()], {"dwell_ms": {"from": "a", "duration": True}})
    assert (file.problems, file.good) == ([(2, "dwell_ms: not a duration")], [(3, 90_000)])


def test_a_year_of_two_digits_is_not_the_format_with_four(read: Read) -> None:
    found = times(read, ["01/16/24 10:00", "01/16/2024 10:00"], {"format": ["%m/%d/%Y %H:%M", "%m/%d/%y %H:%M"]})
    assert set(found.values()) == {dt.datetime(2024, 1, 16, 10)}


@law(20)
@given(
    moments=st.lists(st.datetimes(dt.datetime(1990, 1, 3), dt.datetime(2025, 8, 28)), min_size=1, max_size=8),
    zone=st.sampled_from(["Europe/London", "America/New_York", "Asia/Kolkata"]),
)
def test_counts_since_a_local_moment_are_local(read: Read, moments, zone: str) -> None:
    begin = dt.datetime(1899, 12, 30)
    texts = {
        repr((moment.replace(microsecond=0, second=0) - begin) / dt.timedelta(days=1)): moment.replace(microsecond=0, second=0)
        for moment in moments
    }
    found = times(read, list(texts), {"unit": "days", "since": "1899-12-30", "timezone": zone})
    for text, moment in texts.items():
        allowed = [in_utc(moment.replace(fold=fold), ZoneInfo(zone)) for fold in (0, 1)]
        assert found[text] is not None
        assert min(abs(found[text] - one) for one in allowed) < dt.timedelta(milliseconds=1)


@pytest.mark.slow
def test_counts_are_written_as_numbers_of_their_source_or_as_programs_write_them(read: Read) -> None:
    found = {}
    for text in ("45900,5", "45900.5", "45.900", "4590x"):
        mapping = {"timestamp": {"from": "at", "unit": "days", "since": "1899-12-30"}}
        (file,) = read(
            "csv",
            [f'at\n"{text}"\n'.encode()],
            mapping,
            columns=("timestamp",),
            general=GENERAL,
            number={"decimal": ",", "thousands": "."},
            day=LAST,
        )
        found[text] = file.good[0][1] if file.good else None
    noon = dt.datetime(2025, 8, 31, 12)
    assert found == {"45900,5": noon, "45900.5": noon, "45.900": dt.datetime(2025, 8, 31), "4590x": None}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2025-09-01,", "timestamp: missing"),
        (",5", "timestamp: missing"),
        ("x,5", "timestamp: not readable as a time"),
        ("2025-09-01,x", "timestamp: not readable as a time"),
    ],
)
def test_a_time_of_two_fields_needs_both(read: Read, line: str, reason: str) -> None:
    mapping = {"timestamp": {"from": "at", "plus": {"from": "ms", "unit": "milliseconds"}}}
    (file,) = read("csv", [f"at,ms\n{line}\n2025-09-01,5\n".encode()], mapping, columns=("timestamp",))
    assert file.problems == [(2, reason)]


def test_a_count_is_written_in_digits(read: Read) -> None:
    assert times(read, ["0x16", "0b1", "22"], {"unit": "nanoseconds", "since": "2025-09-01"}) == {
        "0x16": None,
        "0b1": None,
        "22": dt.datetime(2025, 9, 1),
    }
