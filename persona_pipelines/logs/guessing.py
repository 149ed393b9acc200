"""A first configuration for a file: the preset that reads it, else what its fields are called."""

from __future__ import annotations

import contextlib
import datetime as dt
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from persona_pipelines.logs.files import LogFileError, log_files
from persona_pipelines.logs.loading import latest_timestamp, read_source, reading_errors
from persona_pipelines.logs.mapping import mapped_events, mapped_listing
from persona_pipelines.logs.packing import PackingError, Unpacked, members, packing_of
from persona_pipelines.settings import Settings, Source
from persona_pipelines.settings.presets import presets
from persona_pipelines.vocabulary import EVENT_TYPES
from persona_pipelines.warehouse.connection import Warehouse

GOOD_ENOUGH = 0.9
"""Share of the records that a preset has to read without a problem."""
HEAD_BYTES = 1 << 18
ALSO_CALLED: dict[str, tuple[str, ...]] = {
    "timestamp": ("timestamp", "eventtime", "eventtimestamp", "time", "ts", "datetime", "createdat", "date", "invoicedate", "orderdate", "occurredat"),
    "user_id": ("userid", "user", "customerid", "customer", "clientid", "memberid", "accountid", "uid", "visitorid", "personid"),
    "anonymous_id": ("anonymousid", "deviceid", "cookieid", "sessionid", "userpseudoid", "visitor"),
    "event_id": ("eventid", "messageid", "transactionid"),
    "event_type": ("eventtype", "event", "eventname", "action", "type", "behavior", "behaviour"),
    "item_id": ("itemid", "item", "productid", "sku", "stockcode", "movieid", "articleid", "contentid", "asin"),
    "value": ("value", "rating", "price", "amount", "revenue", "total", "score"),
    "quantity": ("quantity", "qty", "count"),
    "currency": ("currency", "currencycode"),
    "country": ("country", "countrycode", "geocountry"),
    "channel": ("channel", "source", "medium"),
    "url": ("url", "pageurl", "page"),
    "user_agent": ("useragent",),
}  # fmt: skip
DIGITS = (
    (r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", "%Y%m%d"), (r"\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", "%y%m%d"),
    (r"(?:19|20)\d{12}", "%Y%m%d%H%M%S"),
)  # fmt: skip
UNITS = ((1e17, "nanoseconds"), (1e14, "microseconds"), (1e11, "milliseconds"), (1e8, "seconds"))


@dataclass(frozen=True)
class Guess:
    """``preset`` where one reads the file; ``source`` as settings; ``start`` the first day seen; ``remarks`` on what is to be looked at."""

    preset: str | None
    source: dict[str, Any]
    start: dt.date
    remarks: tuple[str, ...] = ()


def guess(file: Path) -> Guess:
    """What a source that reads the file may be.

    Raises:
        LogFileError: no preset reads it, and it is neither CSV, JSON nor Parquet.
    """
    with Warehouse(None, b"\0" * 32) as engine, tempfile.TemporaryDirectory() as folder:
        head = _head(file, Path(folder))
        if head is not None:
            text = head.read_text(errors="replace").lstrip("\ufeff \r\n")
            found = [(name, seen) for name in presets() if _may_be(name, text) and (seen := _read_by(name, head, engine)) is not None]
            if found:
                name, seen = max(found, key=lambda entry: _merit(entry[1]))
                return Guess(name, {"name": _name(file), "path": str(file), "preset": name}, _first_day(seen))
        return _by_names(file, engine)


def _head(file: Path, folder: Path) -> Path | None:
    """The first lines of a text, unpacked; None of a file that is Parquet.

    Raises:
        LogFileError: it is no text.
    """
    with file.open("rb") as stream:
        begin = stream.read(4096)
    if begin.startswith(b"PAR1"):
        return None
    try:
        member = members(file, None)[0] if packing_of(begin) == "zip" else None
        block = next(iter(Unpacked(file, member).blocks()), b"")[:HEAD_BYTES]
    except PackingError as error:
        raise LogFileError(f"{file}: {error}") from None
    whole = block[: block.rfind(b"\n") + 1] or block
    head = folder / "head.txt"
    head.write_bytes(whole)
    return head


def _may_be(name: str, text: str) -> bool:
    """Whether a look at the beginning rules a preset out."""
    written = presets()[name]["format"]
    kind = written if isinstance(written, str) else written["type"]
    if text.startswith(("{", "[")) or kind in ("json", "json_lines"):
        return text.startswith(("{", "[")) and kind in ("json", "json_lines")
    if kind == "w3c":
        return "#Fields:" in text
    if kind == "csv":
        options = {} if isinstance(written, str) else written
        return options.get("header", True) is False or "columns" in options or _has_columns(name, text, options.get("delimiter", ","))
    return True


def _has_columns(name: str, text: str, delimiter: str) -> bool:
    """Whether the first line names what the ids and the time are read from."""
    header = {column.strip(' "') for column in text.split("\n", 1)[0].strip("\r").split(delimiter)}
    source = Source.model_validate({"name": "log", "path": "x", "preset": name})
    asked = [
        path
        for field in ("user_id", "anonymous_id", "item_id", "timestamp")
        if field in source.fields
        for path in source.fields[field].paths()
    ]
    return any(path in header for path in asked)


@dataclass(frozen=True)
class _Seen:
    """What came of a file: events, those with a problem, those filtered, columns with anything in them, the first time."""

    events: int
    problems: int
    dropped: int
    known: int
    first: dt.datetime | None


def _read_by(name: str, file: Path, engine: Warehouse) -> _Seen | None:
    """The file as a preset reads it; None where that is not what it is for."""
    try:
        seen = _tried({"name": "log", "path": str(file), "preset": name}, file, engine)
    except (LogFileError, ValueError, duckdb.Error):
        return None
    return seen if seen.events and seen.problems <= (1 - GOOD_ENOUGH) * seen.events and seen.dropped < seen.events else None


def _tried(source: dict[str, Any], file: Path, engine: Warehouse) -> _Seen:
    # A list of items needs a source of events beside it, which is never read.
    events = {
        "name": "other",
        "path": "none",
        "format": "csv",
        "fields": {"timestamp": "t", "user_id": "u", "event_type": {"value": "login"}},
    }
    settings = Settings(name="guess", start_date=dt.date(2000, 1, 1), sources=[source, events], logs={"settle_seconds": 0},
                        file=file.absolute(), home=file.parent / "none")  # fmt: skip
    described = settings.sources[0]
    with reading_errors(files := log_files(described, settings)):
        for batch in read_source(engine, described, settings, files):
            if described.kind == "events":
                rows = mapped_events(batch.fields, described, settings, False, latest_timestamp())
            else:
                rows = mapped_listing(batch.fields, described)
            measures = {"events": rows.count(), "problems": rows.problem.count(), "dropped": rows.dropped.count()}
            measures |= {f"known_{column}": rows[column].count() for column in described.fields}
            if "timestamp" in described.fields:
                measures["first"] = rows.timestamp.min()
            found = dict(zip(measures, engine.row(rows.aggregate(**measures)), strict=True))
            known = sum(1 for name, count in found.items() if name.startswith("known_") and count)
            return _Seen(found["events"], found["problems"], found["dropped"], known, found.get("first"))
    return _Seen(0, 0, 0, 0, None)


def _merit(seen: _Seen) -> tuple[float, int, int]:
    """Fewest problems, then most columns that have anything, then fewest filtered records."""
    return (-seen.problems / max(seen.events, 1), seen.known, -seen.dropped)


def _first_day(seen: _Seen) -> dt.date:
    return seen.first.date() if seen.first is not None else dt.date(2000, 1, 1)


def _name(file: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", file.name.split(".")[0].lower()).strip("_")
    return name if name and name[0].isalpha() else f"log_{name}".rstrip("_")


def _by_names(file: Path, engine: Warehouse) -> Guess:
    written, sample = _sampled(file, engine)
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in sample.columns}
    fields: dict[str, Any] = {}
    for canonical, names in ALSO_CALLED.items():
        column = next((plain[name] for name in names if name in plain), None)
        if column is not None and column not in fields.values():
            fields[canonical] = column
    remarks = []
    start = dt.date(2000, 1, 1)
    if "timestamp" in fields:
        fields["timestamp"] = _clock(fields["timestamp"], sample[fields["timestamp"]].dropna())
    else:
        fields["timestamp"] = {"order": {"start": "2000-01-01"}}
        remarks.append("no field looks like a time: the order of the records stands for it")
    found = set(sample[fields["event_type"]].dropna().astype(str)) if "event_type" in fields else set()
    if not found:
        fields["event_type"] = {"value": "rating" if "rating" in plain else "item_view"}
        remarks.append(f"no field says what was done: every record is taken for {fields['event_type']['value']}")
    elif unknown := sorted(found - set(EVENT_TYPES)):
        fields["event_type"] = {"from": fields["event_type"], "map": dict.fromkeys(unknown, "page_view")}
        remarks.append(f"event_type: say which of the vocabulary's types {', '.join(unknown[:5])} are")
    if not {"user_id", "anonymous_id"} & set(fields):
        fields["user_id"] = "@line"
        remarks.append("no field looks like a person: the number of the line stands for one")
    source = {"name": _name(file), "path": str(file), "format": written, "fields": fields}
    try:
        start = _first_day(_tried(source, file, engine))
    except (LogFileError, ValueError) as error:
        remarks.append(f"not readable like this yet: {str(error).splitlines()[0]}")
    return Guess(None, source, start, tuple(remarks))


def _sampled(file: Path, engine: Warehouse) -> tuple[Any, pd.DataFrame]:
    """The format as settings, and the first records, all as text."""
    tries: Iterable[tuple[Any, str]] = (
        ("parquet", "SELECT * FROM read_parquet(?) LIMIT 200"),
        ("json", "SELECT * FROM read_json(?, format = 'auto', maximum_object_size = 33554432) LIMIT 200"),
    )
    for written, query in tries:
        with contextlib.suppress(duckdb.Error):
            sample = engine.connection.execute(query, [str(file)]).df()
            if len(sample.columns) > 1:
                return written, sample.astype(object)
    try:
        found = engine.connection.execute("SELECT delimiter FROM sniff_csv(?)", [str(file)]).fetchall()
        sample = engine.connection.execute("SELECT * FROM read_csv(?, all_varchar = true, header = true) LIMIT 200", [str(file)]).df()
    except duckdb.Error as error:
        raise LogFileError(f"{file}: no preset reads it, and it is neither CSV, JSON nor Parquet: {str(error).splitlines()[0]}") from None
    delimiter = str(found[0][0]) if found else ","
    return ("csv" if delimiter == "," else {"type": "csv", "delimiter": delimiter}), sample


def _clock(column: str, values: pd.Series) -> Any:
    """The field; where it holds numbers with the format of their digits or the unit of their size, as of moments of this century."""
    numbers = pd.to_numeric(values, errors="coerce")
    if not len(values) or numbers.isna().any():
        return column
    texts = values.astype(str)
    for pattern, written in DIGITS:
        if texts.str.fullmatch(pattern).all():
            return {"from": column, "format": written}
    return {"from": column, "unit": next((unit for least, unit in UNITS if numbers.median() >= least), "seconds")}
