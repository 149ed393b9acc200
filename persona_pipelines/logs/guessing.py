"""A first configuration for a file: the preset that reads it, else what its fields are called."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import ibis
import ibis.expr.types as ir
import orjson
import pandas as pd
import pyarrow as pa
import yaml

from persona_pipelines.files import require_regular
from persona_pipelines.logs.encoding import as_utf8, guessed
from persona_pipelines.logs.files import LogFile, LogFileError, log_files
from persona_pipelines.logs.formats.delimited import DelimitedReader
from persona_pipelines.logs.formats.json_values import JsonReader
from persona_pipelines.logs.formats.reader import steps_of
from persona_pipelines.logs.formats.sql import HeaderError
from persona_pipelines.logs.layouts import layout_of
from persona_pipelines.logs.loading import latest_timestamp, read_source
from persona_pipelines.logs.mapping import mapped_events, mapped_listing, mapped_lookup
from persona_pipelines.logs.packing import PackingError, Unpacked, members, packing_of
from persona_pipelines.logs.paths import Key
from persona_pipelines.settings import Settings, Source
from persona_pipelines.settings.formats import AccessLogFormat, DelimitedFormat, JsonFormat, W3CFormat
from persona_pipelines.settings.log_formats import line_pattern
from persona_pipelines.settings.presets import event_names, presets
from persona_pipelines.vocabulary import EVENT_TYPES, OF_DEVICES_ALONE
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.functions import try_strptime

GOOD_ENOUGH = 0.9
"""Share of the records that a preset has to read without a problem."""
WRONG_CLOCKS = 0.01
A_YEAR = 365
"""So small a share of the records, and more than so many days before all others: their clocks are wrong."""
NO_TEXT = (*range(1, 9), *range(14, 27), 28, 29, 30, 31)
MOST_NO_TEXT = 0.05
"""Characters that text has none of, and the share of them from which on a file is something else: of random bytes a tenth are such."""
HEAD_BYTES = 1 << 18
SAMPLED = 200
FIRST_LINES = 50
LONGEST_SHOWN = 200
PAID = "paid"
NO_MONEY = ("value", "rating", "score", "评分", PAID)
"""Names of amounts that are none of money, or may be none."""
NUMBERS: tuple[dict[str, str], ...] = (
    {"decimal": ".", "thousands": ","},
    {"decimal": ","},
    {"decimal": ",", "thousands": "."},
    {"decimal": ",", "thousands": " "},
    {"decimal": ".", "thousands": "'"},
)
"""How amounts are written where not as numbers are everywhere; of those that read as many the first."""
ZONES = ("timezone", "tz", "utcoffset", "timezoneoffset", "tzoffset", "zone")
DIGITS = (
    (r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", "%Y%m%d"),
    (r"\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", "%y%m%d"),
    (r"(?:19|20)\d{12}", "%Y%m%d%H%M%S"),
)
DATES = (
    "%d/%m/%Y",
    "%y/%m/%d",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %B %Y",
    "%b %d, %Y",
    "%B %d, %Y",
)
CLOCKS = ("", " %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", " %H:%M:%S.%f", ", %H:%M:%S", ", %I:%M:%S %p", " %H.%M")
TEXTS = (
    *(date + clock for date in DATES for clock in CLOCKS),
    "%d/%b/%Y:%H:%M:%S %z",
    "%a %b %d %H:%M:%S %Y",
    "%a, %d %b %Y %H:%M:%S %Z",
    "%Y.%m.%d %H:%M:%S",
    "%Y%m%d %H%M%S",
    "%Y%m%dT%H%M%S",
)
"""Times as people and programs write them where it is not as of ISO 8601; the day before the month where both would do."""
ENVELOPES = ("data", "payload", "properties", "props", "event", "body", "record", "message", "detail", "attributes")
"""Objects that others put what they have to say into: their fields are called by their own names too."""
TELLING = ("timestamp", "user_id", "item_id", "value")
"""Columns that a field inside of any object may tell, where no other does: customer.email, order.created_at."""
VAGUE = ("date", "time", "event", "item", "user", "score", "product", "article", "creative", "sum", PAID)
"""Names that say too little inside of another object."""
UNITS = ((1e17, "nanoseconds"), (1e14, "microseconds"), (1e11, "milliseconds"), (1e8, "seconds"))


@dataclass(frozen=True)
class Guess:
    """``preset`` where one reads the file; ``source`` as settings; ``start`` and ``last`` days; ``remarks`` on what is to be looked at."""

    preset: str | None
    source: dict[str, Any]
    start: dt.date
    remarks: tuple[str, ...] = ()
    last: dt.date | None = None


def guess(file: Path) -> Guess:
    """What a source that reads the file may be.

    Raises:
        LogFileError: it is empty, or no preset reads it and it is neither CSV, JSON nor Parquet, or has no field that is called like a time, a
            person or a thing.
    """
    with Warehouse(None, b"\0" * 32) as engine, tempfile.TemporaryDirectory() as folder:
        head, encoding, whole = _head(file, Path(folder))
        text = head.read_text(errors="replace").lstrip("\ufeff \r\n") if head != file else ""
        if head != file and not text.strip():
            raise LogFileError(f"{file}: this file is empty; expected a log with a few records")
        try:
            documents = _documents(head) if text else []
        except PackingError as error:
            raise LogFileError(f"{file}: {error}") from None
        lines = _like_access_logs(text, engine) if text else frozenset()
        likely = [name for name in presets() if text and (name in lines or _may_be(name, text, documents))]
        found = [(name, seen) for name in likely if (seen := _read_by(name, head, engine)) is not None]
        if found:
            name, seen = max(found, key=lambda entry: _merit(entry[1]))
            source = {"name": _name(file), "path": str(file), "preset": name}
            made = Guess(name, source, _first_day(seen), _not_read(Source.model_validate({**source, "path": "x"}), text), _last_day(seen))
        else:
            made = _by_names(file, head, documents, engine)
        if encoding != "utf-8":
            written = made.source.get("format") or presets()[str(made.preset)]["format"]
            settings = {"type": written} if isinstance(written, str) else written
            remark = f"the text is no UTF-8; taken for {encoding}: say another encoding where letters with accents look wrong"
            made = replace(made, source={**made.source, "format": {**settings, "encoding": encoding}}, remarks=(*made.remarks, remark))
        if not whole or (made.last is not None and (made.last - made.start).days > A_YEAR):
            made = _with_start(made, file, engine)
        return _cut_off(_anonymous(made), file) if head != file else _anonymous(made)


def _cut_off(made: Guess, file: Path) -> Guess:
    """With a remark where the file is packed and not whole: no run takes it like that."""
    with file.open("rb") as stream:
        packed = packing_of(stream.read(4096))
    if packed is None:
        return made
    for member in members(file, None) if packed == "zip" else [None]:
        unpacked = Unpacked(file, member)
        for _ in unpacked.blocks():
            pass
        if unpacked.break_found:
            remark = f"{unpacked.break_found}: fetch it again, as a run refuses it (or logs.use_truncated: true uses what is whole)"
            return replace(made, remarks=(*made.remarks, remark))
    return made


def _anonymous(made: Guess) -> Guess:
    """With a remark where events name devices alone: of these there are no people to speak to."""
    source = Source.model_validate({**made.source, "path": "x"})
    if source.kind != "events" or "user_id" in source.fields or "anonymous_id" not in source.fields:
        return made
    return replace(made, remarks=(*made.remarks, f"no field names a person (user_id): {OF_DEVICES_ALONE}"))


def _with_start(made: Guess, file: Path, engine: Warehouse) -> Guess:
    """With the first day of the whole file, of which the first lines need not tell: days of wrong clocks long before all others are none."""
    source = Source.model_validate({**made.source, "path": "x"})
    clock = source.fields.get("timestamp")
    if source.kind != "events" or clock is None or clock.order:
        return made
    try:
        counts = _days(made.source, file, engine)
    except (LogFileError, ValueError, duckdb.Error):
        return made  # sources check says what is wrong
    days = sorted(counts)
    if not days:
        return made
    every, early, start = sum(counts.values()), 0, 0
    for place in range(1, len(days)):
        early += counts[days[place - 1]]
        if early > WRONG_CLOCKS * every:
            break
        if (days[place] - days[place - 1]).days > A_YEAR:
            start = place
    wrong = sum(counts[day] for day in days[:start])
    told = f"{wrong} of {every} records are of {days[0]} to {days[start - 1]}, long before all others: taken for wrong clocks, which start_date rejects"
    return replace(made, start=days[start], remarks=(*made.remarks, told) if wrong else made.remarks)


def _days(source: dict[str, Any], file: Path, engine: Warehouse) -> dict[dt.date, int]:
    """The records of a file by the day of their time, of those that have one."""
    counts: dict[dt.date, int] = {}
    settings = _settings(source, file)
    described = settings.sources[0]
    with read_source(engine, described, settings, log_files(described, settings)) as batches:
        for batch in batches:
            rows = mapped_events(batch.fields, described, settings, latest_timestamp())
            good = rows.filter(rows.problem.isnull() & rows.dropped.isnull())
            for day, count in engine.tuples(good.group_by(day=good.timestamp.date()).aggregate(count=good.count())):
                counts[day] = counts.get(day, 0) + count
    return counts


def _head(file: Path, folder: Path) -> tuple[Path, str, bool]:
    """The first lines of a text, unpacked, in UTF-8, its encoding, and whether they are all; of Parquet the file itself.

    Raises:
        LogFileError: it is no text.
    """
    try:
        require_regular(file)
        with file.open("rb") as stream:
            begin = stream.read(4096)
    except OSError as error:
        raise LogFileError(f"{file}: cannot be read ({error.strerror})") from None
    if begin.startswith(b"PAR1"):
        return file, "utf-8", True
    try:
        inside = members(file, None) if packing_of(begin) == "zip" else [None]
        if not inside:
            raise PackingError("this is an empty zip archive")
        member = inside[0]
        encoding = guessed(next(iter(Unpacked(file, member).blocks()), b""))
        blocks = as_utf8(Unpacked(file, member).blocks(), encoding)
        block = next(blocks, b"")
        goes_on = len(block) > HEAD_BYTES or any(blocks)
        block = block[:HEAD_BYTES]
    except PackingError as error:
        raise LogFileError(f"{file}: {error}") from None
    odd = sorted(block.count(bytes([code])) for code in NO_TEXT)
    if sum(odd[:-1]) > MOST_NO_TEXT * len(block):  # one of them may be a delimiter
        raise LogFileError(f"{file}: this is no text; expected a log: lines, CSV, JSON or Parquet, packed or not")
    whole = (block[: block.rfind(b"\n") + 1] if goes_on else b"") or block
    head = folder / "head.txt"
    head.write_bytes(whole)
    return head, encoding, not goes_on


@cache
def _source_of(preset: str) -> Source:
    return Source.model_validate({"name": "log", "path": "x", "preset": preset})


def _like_access_logs(text: str, engine: Warehouse) -> frozenset[str]:
    """The presets of access logs that may read the first lines."""
    if text.startswith(("{", "[")):
        return frozenset()
    formats = {name: written for name in presets() if isinstance(written := _source_of(name).format, AccessLogFormat)}
    lines = _texts(text.splitlines()[:FIRST_LINES])
    found = {
        name: lines.text.re_search(line_pattern(written.log_format, written.pattern, written.further_columns == "ignore").loose).any()
        for name, written in formats.items()
    }
    return frozenset(name for name, any_line in zip(found, engine.row(lines.aggregate(**found)), strict=True) if any_line)


def _may_be(name: str, text: str, documents: list[dict[str, Any]]) -> bool:
    """Whether a look at the beginning rules a preset out; most are, and reading the file by each would take long."""
    source = _source_of(name)
    written = source.format
    if isinstance(written, JsonFormat) or text.startswith(("{", "[")):
        return (
            isinstance(written, JsonFormat)
            and text.startswith(("{", "["))
            and _asks_for(source, {key for document in documents for key in document})
        )
    if isinstance(written, W3CFormat):
        return "#Fields:" in text
    if isinstance(written, AccessLogFormat):
        return False  # told by their lines
    if isinstance(written, DelimitedFormat):
        cells = _first_cells(text, written)
        return len(cells) == len(written.columns) if written.columns else _asks_for(source, set(cells))
    return True


def _first_cells(text: str, written: DelimitedFormat) -> list[str]:
    return [cell.strip(' "') for cell in text.splitlines()[0].split(written.delimiter)]


def _not_read(source: Source, text: str) -> tuple[str, ...]:
    """What is to be said of the columns of a file that its preset does not read."""
    written = source.format
    if not isinstance(written, DelimitedFormat) or written.columns:
        return ()
    further = [cell for cell in _first_cells(text, written) if cell and cell not in source.paths()]
    return (f"the preset does not read {', '.join(further)[:LONGEST_SHOWN]}: map what counts under fields",) if further else ()


def _asks_for(source: Source, names: set[str]) -> bool:
    """Whether any of the names is what an id or the time is read from."""
    fields = [source.fields[column] for column in ("user_id", "anonymous_id", "item_id", "timestamp") if column in source.fields]
    paths = {path for mapping in fields for path in mapping.paths()}
    return any(path in names or steps_of(path)[0] in [Key(name) for name in names] for path in paths if not path.startswith("@"))


@dataclass(frozen=True)
class _Seen:
    """What came of a file: events, those with a problem, those filtered, columns with anything in them, the first and last time, the usual problem."""

    events: int = 0
    problems: int = 0
    dropped: int = 0
    known: int = 0
    first: dt.datetime | None = None
    last: dt.datetime | None = None
    problem: str | None = None


def _read_by(name: str, file: Path, engine: Warehouse) -> _Seen | None:
    """The file as a preset reads it; None where that is not what it is for."""
    try:
        seen = _tried({"name": "log", "path": str(file), "preset": name}, file, engine)
    except (LogFileError, ValueError, duckdb.Error):
        return None
    good = seen.problems <= (1 - GOOD_ENOUGH) * seen.events and seen.problems + seen.dropped < seen.events
    return seen if good else None


def _tried(source: dict[str, Any], file: Path, engine: Warehouse) -> _Seen:
    settings = _settings(source, file)
    described = settings.sources[0]
    with read_source(engine, described, settings, log_files(described, settings)) as batches:
        for batch in batches:
            if described.kind == "events":
                rows = mapped_events(batch.fields, described, settings, latest_timestamp())
            else:
                rows = mapped_listing(batch.fields, described)
            measures = {
                "events": rows.count(),
                "problems": rows.problem.count(),
                "dropped": rows.dropped.count(),
                "problem": rows.problem.mode(),
            }
            measures |= {f"known_{column}": rows[column].count() for column in described.fields}
            if "timestamp" in described.fields:
                measures |= {"first": rows.timestamp.min(), "last": rows.timestamp.max()}
            found = dict(zip(measures, engine.row(rows.aggregate(**measures)), strict=True))
            known = sum(1 for name, count in found.items() if name.startswith("known_") and count)
            return _Seen(
                found["events"], found["problems"], found["dropped"], known, found.get("first"), found.get("last"), found["problem"]
            )
    return _Seen()


def _settings(source: dict[str, Any], file: Path) -> Settings:
    """A configuration with the source; one of events is beside it, which lists need, and is never read."""
    events = {
        "name": "other",
        "path": "none",
        "format": "csv",
        "fields": {"timestamp": "t", "user_id": "u", "event_type": {"value": "login"}},
    }
    return Settings(
        name="guess",
        start_date=dt.date(1990, 1, 1),
        sources=[source, events],
        logs={"settle_seconds": 0},
        file=file.absolute(),
        home=file.parent / "none",
    )


def _merit(seen: _Seen) -> tuple[float, int, int]:
    """Fewest problems, then most columns that have anything, then fewest filtered records."""
    return (-seen.problems / max(seen.events, 1), seen.known, -seen.dropped)


def _first_day(seen: _Seen) -> dt.date:
    return seen.first.date() if seen.first is not None else dt.date(2000, 1, 1)


def _last_day(seen: _Seen) -> dt.date | None:
    return seen.last.date() if seen.last is not None else None


def _name(file: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", file.name.split(".")[0].lower()).strip("_")
    return name if name and name[0].isalpha() else f"log_{name}".rstrip("_")


def _by_names(file: Path, head: Path, documents: list[dict[str, Any]], engine: Warehouse) -> Guess:
    """Args: head: its first lines, as ``_head`` gives them; documents: the objects that they begin with."""
    written, sample = _sampled(file, head, documents, engine)
    plain = _plain_names([column for column in sample.columns if sample[column].replace("", None).notna().any()] or list(sample.columns))
    fields: dict[str, Any] = {}
    if PAID in plain and not _are_amounts(sample[plain[PAID]]):
        del plain[PAID]
    inside = _plain_names([path.partition(".")[2] for path in plain.values()])
    for canonical, names in _names().fields.items():
        column = next((plain[name] for name in names if name in plain), None)
        if column is None and canonical in TELLING:
            behind = next((inside[name] for name in names if name in inside and name not in VAGUE), None)
            column = next((path for path in plain.values() if behind and path.endswith(f".{behind}")), None)
        if column is not None and column not in fields.values():
            fields[canonical] = column
    if "timestamp" not in fields and (column := _called_like_a_time(plain, sample, engine)):
        fields["timestamp"] = column
    if not {"timestamp", "user_id", "anonymous_id", "item_id"} & set(fields) or sample.empty:
        raise LogFileError(
            f"{file}: no preset reads it, and {'it has no records' if sample.empty else 'none of its fields is called like a time, a person or a thing'}; "
            f"found {', '.join(sample.columns[:12])[:LONGEST_SHOWN] or 'none'}; expected a log, or describe it by hand (docs/bring-your-own-logs.md)"
        )
    remarks = []
    start, last = dt.date(2000, 1, 1), None
    doubt, fitting = list[str](), list[str]()
    if "timestamp" in fields:
        fields["timestamp"], doubt, fitting = _clock(fields["timestamp"], sample[fields["timestamp"]].dropna(), engine)
        remarks += doubt
    else:
        fields["timestamp"] = {"order": {"start": "2000-01-01"}}
        remarks.append("no field looks like a time: the order of the records stands for it")
        for name, other, kind, what in (("user_id", "item_id", "users", "customers"), ("item_id", "user_id", "items", "things")):
            if name in fields and other not in fields and len(sample) > 1 and sample[fields[name]].dropna().is_unique:
                remarks.append(
                    f"{fields[name]} is another one in each record: a list of {what} is no log; say kind: {kind} (docs/bring-your-own-logs.md)"
                )
                break
    found = set(sample[fields["event_type"]].dropna().astype(str)) if "event_type" in fields else set()
    if not found:
        order = next((plain[name] for name in _names().orders if name in plain and plain[name] not in fields.values()), None)
        if order is not None and {"value", "quantity"} & fields.keys():
            remarks += _as_orders(fields, sample, order)
        else:
            fields["event_type"] = {"value": "rating" if {"rating", "评分"} & plain.keys() else "interaction"}
            remarks.append(f"no field says what was done: every record is taken for {fields['event_type']['value']}")
    elif unknown := sorted(found - set(EVENT_TYPES)):
        known = _types_of_presets()
        meant = {word: known.get(letters(word), "interaction") for word in unknown}
        fields["event_type"] = {"from": fields["event_type"], "map": meant}
        remarks.append(
            f"event_type: {', '.join(f'{word} is taken for {meant[word]}' for word in unknown[:8])}{' ...' if len(unknown) > 8 else ''}: "
            "say which of the vocabulary's types they are"
        )
    if not {"user_id", "anonymous_id"} & set(fields):
        fields["user_id"] = "@line"
        remarks.append("no field looks like a person: the number of the line stands for one")
    if "item_id" not in fields:
        remarks.append("no field looks like a thing that people turn to: without item_id there are no recommendations")
    remarks += _doubts(fields, plain, sample)
    source = {"name": _name(file), "path": str(file), "format": written, "fields": fields}
    try:
        seen = _tried({**source, "path": str(head)}, head, engine)
        if len(fitting) > 1:
            # What read the first records all the same need not read those behind them: 03/13 is no day of a 13th month.
            clocks = [{**fields["timestamp"], "format": wanted} for wanted in fitting]
            read = [_tried({**source, "path": str(head), "fields": {**fields, "timestamp": clock}}, head, engine) for clock in clocks]
            least = min(one.problems for one in read)
            first = next(place for place, one in enumerate(read) if one.problems == least)
            seen, fields["timestamp"] = read[first], clocks[first]
            if sum(one.problems == least for one in read) == 1:
                remarks = [remark for remark in remarks if remark not in doubt]
        if (seen.problem or "").startswith("value: not a number"):
            tries = [(_tried({**source, "path": str(head), "number": number}, head, engine), number) for number in NUMBERS]
            best, number = min(tries, key=lambda one: one[0].problems)
            if best.problems < seen.problems:
                seen, source["number"] = best, number
        start, last = _first_day(seen), _last_day(seen)
        if seen.problems:
            remarks.append(f"{seen.problems} of the first {seen.events} records would be rejected, most of them for: {seen.problem}")
    except (LogFileError, ValueError) as error:
        remarks.append(f"not readable like this yet: {str(error).splitlines()[0].replace(head.name, file.name)}")
    return Guess(None, source, start, tuple(remarks), last)


def _as_orders(fields: dict[str, Any], sample: pd.DataFrame, order: str) -> list[str]:
    """Make of the fields those of purchases, of what is below zero refunds; what is to be said of that."""
    below = next(
        (fields[name] for name in ("quantity", "value") if name in fields and sample[fields[name]].astype(str).str.match(r"\s*-\d").any()),
        None,
    )
    if below is None:
        fields["event_type"] = {"value": "purchase"}
        return [
            f"no field says what was done: every record is taken for a purchase, as it has {order}; drop_when leaves out what was cancelled"
        ]
    fields["event_type"] = {"cases": [{"when": {"field": below, "below": 0}, "value": "refund"}], "default": "purchase"}
    fields |= {name: {"from": fields[name], "absolute": True} for name in ("quantity", "value") if name in fields}
    return [
        f"no field says what was done: every record is taken for a purchase, as it has {order}, and for a refund where {below} is below 0; "
        "drop_when leaves out what was cancelled"
    ]


def _are_amounts(values: pd.Series) -> bool:
    """Whether a field that may be a yes or no, or a date, holds amounts of money."""
    texts = values.dropna().astype(str).str.strip()
    return bool(texts.str.fullmatch(r"[^\d-]{0,4}-?\d[\d.,' ]*\D{0,4}").all()) and not texts.isin(["0", "1"]).all()


def _doubts(fields: dict[str, Any], plain: dict[str, str], sample: pd.DataFrame) -> list[str]:
    """What other fields may say of those that were chosen."""
    doubts = []
    value = fields["value"]["from"] if isinstance(fields.get("value"), dict) else fields.get("value")
    others = [plain[name] for name in _names().prices if name in plain and plain[name] != value]
    if value and (others or "quantity" in fields):
        beside = f"{', '.join(others)} may be meant, and " if others else ""
        doubts.append(
            f"value: {value} is taken for the amount of a whole record; {beside}for a price of one piece say product: [QUANTITY, PRICE]"
        )
    texts = sample[value].dropna().astype(str) if value else pd.Series(dtype=str)
    if len(texts) and texts.str.fullmatch(r"\d{1,3}\.\d{3}").all():
        doubts.append(f'value: is {texts.iloc[0]} above a thousand? Then say number: {{decimal: ",", thousands: "."}}')
    if texts.str.fullmatch(r"\d{1,3},\d{3}").any() and texts.str.fullmatch(r"\d{1,3}(?:,\d{3})*").all():
        doubts.append(
            f'value: {texts[texts.str.contains(",")].iloc[0]} is taken for more than a thousand; else say number: {{decimal: ","}}'
        )
    if zone := next((plain[name] for name in ZONES if name in plain), None):
        doubts.append(
            f"timestamp: {zone} may say the zone of its times; where they name none they are taken for UTC, timezone says another"
        )
    lists = [column for column in sample.columns if sample[column].map(_has_objects).any()]
    return doubts + [f"{column} is a list: each: {column} makes an event of every element" for column in lists]


def _has_objects(cell: Any) -> bool:
    return isinstance(cell, list) and any(isinstance(entry, dict) for entry in cell)


def _sampled(file: Path, head: Path, documents: list[dict[str, Any]], engine: Warehouse) -> tuple[Any, pd.DataFrame]:
    """The format as settings, and the first records."""
    if head == file:
        try:
            return "parquet", engine.frame(engine.backend.read_parquet(str(head)).limit(SAMPLED)).astype(object)
        except duckdb.Error:
            raise LogFileError(f"{file}: this Parquet file is damaged or cut off; expected a whole one") from None
    if documents:
        return "json", pd.DataFrame(documents, dtype=object)
    written = {"type": "csv", **layout_of(head.read_text(errors="replace"))}
    return ("csv" if len(written) == 1 else written), _records(file, head, written, engine)


def _records(file: Path, head: Path, written: dict[str, Any], engine: Warehouse) -> pd.DataFrame:
    """The first records between delimiters as the reader gives them, by the names of their columns; but those that stand twice.

    Raises:
        LogFileError: it is no such text.
    """
    reader, layout = DelimitedReader(), DelimitedFormat.model_validate(written)
    try:
        groups = list(reader.groups([LogFile(head, head.name, None, 0, 0)], layout, HEAD_BYTES))
        columns = reader.columns(groups[0], layout) if groups else []
        names = [name for name in columns if columns.count(name) == 1 and not name.startswith("@")]
        source = {
            "name": "log",
            "kind": "lookup",
            "path": str(head),
            "format": written,
            "fields": {f"field_{number}": name for number, name in enumerate(names)},
        }
        settings = _settings(source, head)
        described = settings.sources[0]
        with read_source(engine, described, settings, log_files(described, settings)) as batches:
            for batch in batches:
                found = engine.frame(mapped_lookup(batch.fields, described).order_by("record_order").limit(SAMPLED))
                return found[list(described.fields)].set_axis(names, axis=1)
    except (LogFileError, HeaderError, ValueError, duckdb.Error) as error:
        raise LogFileError(f"{file}: no preset reads it, and it is neither CSV, JSON nor Parquet: {str(error).splitlines()[0]}") from None
    return pd.DataFrame(columns=names)


def _documents(head: Path) -> list[dict[str, Any]]:
    """The objects that a text of JSON begins with, by the paths of their keys."""
    text = JsonReader().text_file(LogFile(head, head.name, None, 0, 0), JsonFormat(), HEAD_BYTES)
    batch = next(text.batches(), None)
    found = []
    for record in [] if batch is None else batch.column("record")[:SAMPLED].to_pylist():
        with contextlib.suppress(orjson.JSONDecodeError):
            document = orjson.loads(record)
            if isinstance(document, dict):
                found.append(dict(_flat(document)))
    return found


def _flat(document: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a document by their paths, those of objects in it too."""
    for key, value in document.items():
        path = before + (f'"{key}"' if "." in key or "[" in key else key)
        if isinstance(value, dict):
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _plain_names(paths: list[str]) -> dict[str, str]:
    """Paths by their letters and digits; those in an envelope by those behind it too, where nothing else is called so."""
    names: dict[str, str] = {}
    for path in paths:
        # {"$oid": ...}, {"$date": ...}: how MongoDB tells the types of its values.
        names.setdefault(letters(re.sub(r'\."?\$\w+"?$', "", path)), path)
    for path in paths:
        first, _, rest = path.partition(".")
        if first.lower() in ENVELOPES and rest:
            names.setdefault(letters(rest), path)
    for name, path in list(names.items()):
        names.setdefault(re.sub(r"(?<=.{3})(?:number|nummer|num|nr|no)$", "id", name), path)
    return names


def letters(name: str) -> str:
    """A name in small letters and digits alone, of any script, without accents.

    >>> letters("Kunden-Nr."), letters("Quantité"), letters("用户 ID")
    ('kundennr', 'quantite', '用户id')
    """
    return "".join(sign for sign in unicodedata.normalize("NFKD", name.casefold()) if sign.isalnum())


class Names(NamedTuple):
    """What others call things (``names.yaml``): columns and types of events by the vocabulary's, in the order in which they count.

    Attributes:
        prices: of one piece, or amounts of a record: others that may be meant.
        orders: what an order or an invoice is called: who has one has bought.
        time, no_time: patterns of the names of dates, and of those that are of something else.
    """

    fields: dict[str, list[str]]
    events: dict[str, list[str]]
    prices: list[str]
    orders: list[str]
    time: re.Pattern[str]
    no_time: re.Pattern[str]


@cache
def _names() -> Names:
    read = yaml.safe_load(resources.files("persona_pipelines.logs").joinpath("names.yaml").read_text(encoding="utf-8"))
    fields, events = ({name: _of_languages(words) for name, words in read[kind].items()} for kind in ("fields", "events"))
    amounts = [name for name in fields["value"] if name not in NO_MONEY]
    times = read["times"]
    return Names(
        fields,
        events,
        [*_of_languages(read["prices"]), *amounts],
        _of_languages(read["orders"]),
        *(re.compile("|".join(times[which])) for which in ("is", "is_not")),
    )


def _of_languages(words: dict[str, list[str]]) -> list[str]:
    return [word for language in words.values() for word in language]


def _types_of_presets() -> dict[str, str]:
    """What other programs call the types of the vocabulary: words as ``_letters`` and types, as the presets know them; and the types themselves."""
    found = {letters(name): name for name in EVENT_TYPES}
    found |= {word: name for name, words in _names().events.items() for word in words}
    for preset in presets().values():
        for called in event_names(preset):
            found.setdefault(letters(called.name), called.type)
    return found


def _called_like_a_time(plain: dict[str, str], sample: pd.DataFrame, engine: Warehouse) -> str | None:
    """A field that is called a date or time of anything but a birth or an end, and whose texts are such."""
    for name, path in plain.items():
        if _names().time.search(name) and not _names().no_time.search(name):
            texts = sample[path].dropna().astype(str).str.strip().tolist()
            if (
                texts
                and not pd.to_numeric(sample[path].dropna(), errors="coerce").notna().any()
                and (_is_iso(texts, engine) or _formats(texts, engine))
            ):
                return path
    return None


DAYS_OF_SPREADSHEETS = (36_526, 73_050)
"""Since the 30th of December 1899: the days of 2000 to 2099."""


def _clock(column: str, values: pd.Series, engine: Warehouse) -> tuple[Any, list[str], list[str]]:
    """The field, with the format that its texts have, or the unit of its numbers' size as of moments of this century; what is in doubt, and all formats that read it."""
    numbers = pd.to_numeric(values, errors="coerce")
    texts = values.astype(str).str.strip()
    if not len(values):
        return column, [], []
    if numbers.isna().any():
        fitting = _formats(texts.tolist(), engine)
        found = {"from": column, "format": fitting[0]} if fitting else column
        return found, [f"{column}: {' and '.join(fitting)} read it; taken for the first"] if len(fitting) > 1 else [], fitting
    for pattern, written in DIGITS:
        if texts.str.fullmatch(pattern).all():
            return {"from": column, "format": written}, [], []
    if numbers.between(*DAYS_OF_SPREADSHEETS).all():
        return {"from": column, "unit": "days", "since": "1899-12-30"}, [f"{column} is taken for the days that spreadsheets count"], []
    return {"from": column, "unit": next((unit for least, unit in UNITS if numbers.median() >= least), "seconds")}, [], []


def _texts(texts: Sequence[str]) -> ir.Table:
    return ibis.memtable(pa.table({"text": pa.array(texts, pa.string())}))


def _are_moments(engine: Warehouse, texts: list[str], read: Callable[[ir.StringColumn], ir.TimestampColumn]) -> bool:
    """Whether the texts can be read so, but for a few broken ones, as moments of this century or the last: 26/01/05 would be in the year 26."""
    moments = read(_texts(texts).text).cast("timestamp")
    return bool(engine.value((moments >= ibis.timestamp("1900-01-01 00:00:00")).fill_null(False).mean()) >= GOOD_ENOUGH)


def _is_iso(texts: list[str], engine: Warehouse) -> bool:
    return _are_moments(engine, texts, lambda text: text.try_cast("timestamp('UTC')"))


def _formats(texts: list[str], engine: Warehouse) -> list[str]:
    """Those of ``TEXTS`` that read the texts, where ISO 8601 does not."""
    if _is_iso(texts, engine):
        return []
    return [wanted for wanted in TEXTS if _are_moments(engine, texts, partial(try_strptime, format=wanted))]
