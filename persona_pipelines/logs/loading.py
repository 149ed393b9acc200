"""Log files -> raw tables: read, map, and write the asked days of a source in one transaction."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa

from persona_pipelines.days import begin_of, end_of
from persona_pipelines.logs import mapping
from persona_pipelines.logs.currencies import rates_of
from persona_pipelines.logs.drift import Names, names_in, new_names
from persona_pipelines.logs.fields import LookupTable, fields_query
from persona_pipelines.logs.files import (
    LogFile,
    LogFileError,
    left_out,
    log_files,
    refuse_if_changed,
    wait_until_settled,
)
from persona_pipelines.logs.formats import READERS
from persona_pipelines.logs.formats.lines import TextFile
from persona_pipelines.logs.formats.sql import HeaderError
from persona_pipelines.logs.known_files import what_became_of
from persona_pipelines.logs.packing import PackingError, Unpacked
from persona_pipelines.settings import Settings, Source
from persona_pipelines.settings.sources import Lookup
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines.warehouse.quoting import literal

if TYPE_CHECKING:
    import ibis.expr.types as ir


Spans = dict[LogFile, tuple[dt.date, dt.date] | None]
"""First and last day of files; None of a file without a good record."""


@dataclass
class Reading:
    """What was read from one file; ``columns`` are those of its header, ``text`` what is behind it, of formats of text."""

    file: LogFile
    records: int = 0
    break_found: str | None = None
    truncated: bool = False
    columns: list[str] = field(default_factory=list)
    text: TextFile | None = None

    def names(self) -> Names:
        # A file of its own to look into: the other has counted what it gave out.
        return names_in(self.columns, replace(self.text) if self.text is not None else None)


@dataclass
class Loaded:
    """What a load did: files with their counts, and warnings a person should see.

    ``whole_files`` is false where the asked days are only a part of what a file without a date in its path holds.
    """

    readings: list[Reading] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    whole_files: bool = True


@dataclass
class Batch:
    """Files that one query can read, because they share their header: the query's table of text fields, readings, and warnings."""

    fields: ir.Table
    readings: list[Reading]
    warnings: list[str] = field(default_factory=list)


PLACE = [pa.field("order", pa.int64()), pa.field("source_file", pa.dictionary(pa.int32(), pa.string())), pa.field("file_day", pa.date32())]


def _placed(
    texts: list[tuple[TextFile, Reading]], offset: int, spans: Spans, schema: pa.Schema, refused: list[LogFileError]
) -> Iterator[pa.RecordBatch]:
    """Batches of all files with their place: ``order``, the number of the record in its source, file and file's day.

    The place comes with the records, because a join would make the engine hold them all: it cannot know how many a stream
    will give.

    Args:
        refused: told why a file cannot be unpacked: the engine, which asks for the batches, passes on a text alone.
    """
    order = offset
    for text, reading in texts:
        name, day = pa.array([reading.file.shown]), pa.scalar(_fallback_day(reading.file, spans), pa.date32())
        for batch in _refusing(text.batches(), reading.file, refused):
            count = batch.num_rows
            source_file = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), name)
            numbers = pa.array(np.arange(order + 1, order + 1 + count, dtype=np.int64))
            order += count
            yield pa.RecordBatch.from_arrays([*batch.columns, numbers, source_file, pa.repeat(day, count)], schema=schema)
        reading.records, reading.break_found, reading.truncated = text.records, text.break_found, text.truncated
        refuse_if_changed(reading.file)


def _refusing(batches: Iterator[pa.RecordBatch], file: LogFile, refused: list[LogFileError]) -> Iterator[pa.RecordBatch]:
    try:
        yield from batches
    except PackingError as error:
        refused.append(LogFileError(f"{file.shown}: {error}"))
        raise


@contextmanager
def read_source(
    warehouse: Warehouse, source: Source, settings: Settings, files: list[LogFile], spans: Spans | None = None
) -> Iterator[Iterator[Batch]]:
    """The records of files as tables of text fields (``fields.fields_query``), to be used before the next one is asked for.

    Args:
        spans: first and last day of files, for ``file_day``: where records belong that have no readable time themselves.
    Raises:
        LogFileError: a file is missing a column, unreadable, or changes while it is read; instead of any error of the engine while files are read.
    """
    refused: list[LogFileError] = []
    try:
        yield _batches(warehouse, source, settings, files, spans or {}, refused)
    except duckdb.Error as error:
        for file in files:
            refuse_if_changed(file)
        if refused:
            raise refused[0] from None
        if isinstance(error, (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.FatalException, duckdb.TransactionException)):
            raise
        raise LogFileError(f"{', '.join(file.shown for file in files[:3])}: cannot be read: {str(error).splitlines()[0]}") from error


def _batches(
    warehouse: Warehouse, source: Source, settings: Settings, files: list[LogFile], spans: Spans, refused: list[LogFileError]
) -> Iterator[Batch]:
    offset = 0
    lookups = {lookup.source: _lookup_table(warehouse, lookup, settings) for lookup in source.join}
    reader = READERS[source.format.type]
    for group in reader.groups(files, source.format, settings.logs.max_line_bytes):
        readings = [Reading(file) for file in group.files]
        if group.texts is None:
            readings[0].records = group.records
            group.place = (
                f'{offset} + source_line AS "order", {literal(readings[0].file.shown)} AS source_file, '
                f"DATE '{_fallback_day(readings[0].file, spans)}' AS file_day"
            )
        try:
            query = fields_query(source, group, lookups)
        except HeaderError as error:
            line = f", line {group.texts[0].skip_lines}" if group.texts and group.texts[0].header else ""
            raise LogFileError(f"{group.files[0].shown}{line}: {error}") from None
        columns = reader.columns(group, source.format)
        for number, reading in enumerate(readings):
            reading.columns, reading.text = columns, group.texts[number] if group.texts is not None else None
        lines = None
        if group.texts is not None:
            schema = pa.schema([*group.texts[0].schema, *PLACE])
            placed = _placed(list(zip(group.texts, readings, strict=True)), offset, spans, schema, refused)
            lines = pa.RecordBatchReader.from_batches(schema, placed)
        told = [sentence for lookup in lookups.values() for sentence in lookup.told] if not offset else []
        with warehouse.records(query, lines) as records:
            yield Batch(records, readings, told)
        offset += sum(reading.records for reading in readings)


def _lookup_table(warehouse: Warehouse, lookup: Lookup, settings: Settings) -> LookupTable:
    """A source of kind ``lookup`` as a temporary table of texts, the first record of each key: no record finds two."""
    source = next(source for source in settings.sources_of("lookup") if source.name == lookup.source)
    files = log_files(source, settings)
    table, keys = f"lookup_{source.name}", list(lookup.on.values())
    kinds = {name: kind for field in source.fields for name, kind in ((field, "string"), (f"is_number_{field}", "boolean"))}
    told, readings = [], []
    warehouse.keep(f"all_{table}", ibis.memtable([], schema=ibis.schema({"record_order": "int64", **kinds})))
    with read_source(warehouse, source, settings, files) as batches:
        for batch in batches:
            read = warehouse.keep("read_lookup", batch.fields)
            warehouse.keep_more(f"all_{table}", mapping.mapped_lookup(read, source, keys))
            bad = read.mutate(problem=ibis.coalesce(read.problem, read.document_problem)).filter(lambda rows: rows.problem.notnull())
            first = {name: bad[name].argmin(bad.order) for name in ("source_file", "source_line", "problem")}
            count, file, line, problem = warehouse.row(bad.aggregate(count=bad.count(), **first))
            if count:
                told.append(f"{file}, line {line}: {problem}; {count} such records are left out of the look-up {source.name}")
            warehouse.drop_kept("read_lookup")
            readings += batch.readings
    refuse_truncated(readings, settings)
    every = warehouse.kept(f"all_{table}")
    place = ibis.row_number().over(group_by=keys, order_by=every.record_order)
    warehouse.keep(table, every.mutate(place=place).filter(lambda rows: rows.place == 0).drop("place", "record_order"))
    named = every.drop("record_order").distinct().drop_null(keys)
    differing = named.group_by(keys).aggregate(records=named.count()).filter(lambda rows: rows.records > 1)
    shown = ibis.literal(", ").join([differing[column] for column in keys])
    ambiguous, example = warehouse.row(differing.aggregate(count=differing.count(), example=shown.min()))
    if ambiguous:
        told.append(f"{source.name}: {ambiguous} keys stand in records that differ, such as {example!r}: the first of each is used")
    warehouse.drop_kept(f"all_{table}")
    return LookupTable(table, tuple(source.fields), tuple(told))


def latest_timestamp() -> dt.datetime:
    """The end of tomorrow, so that a day's result does not depend on the minute of the run nor on a clock a little ahead."""
    return end_of(dt.datetime.now(dt.UTC).date() + dt.timedelta(days=1))


def last_day() -> dt.date:
    """The last one of which there may be records."""
    return (latest_timestamp() - dt.timedelta(days=1)).date()


def file_days(source: Source, settings: Settings) -> dict[LogFile, tuple[dt.date, dt.date] | None]:
    """First and last day of each file: from its path where dated, else from its records with a plausible time; None where it has none."""
    return {file: (file.date, file.date) if file.date else _scanned_days(source, settings, file) for file in log_files(source, settings)}


_SCANNED: dict[tuple[str, str, LogFile], tuple[dt.date, dt.date] | None] = {}
"""What has been found out of files: a run asks several times, and reading a file for its days costs as much as loading it."""


def _scanned_days(source: Source, settings: Settings, file: LogFile) -> tuple[dt.date, dt.date] | None:
    asked = (source.model_dump_json(), settings.model_dump_json(), file)
    if asked not in _SCANNED:
        _SCANNED[asked] = _scan(source, settings, file)
    return _SCANNED[asked]


def _scan(source: Source, settings: Settings, file: LogFile) -> tuple[dt.date, dt.date] | None:
    with (
        Warehouse(None, b"0" * 32, memory_limit=settings.warehouse.memory_limit, threads=settings.warehouse.threads) as engine,
        read_source(engine, source, settings, [file]) as batches,
    ):
        for batch in batches:
            mapped = mapping.mapped_events(batch.fields, source, settings, latest_timestamp())
            # Rejects for another reason than their time have a day too: a day of nothing else has to be seen.
            timed = mapped.filter(
                ~mapped.problem.fill_null("").startswith("timestamp")
                & (mapped.timestamp >= begin_of(settings.start_date))
                & (mapped.timestamp < latest_timestamp())
            )
            first, last = engine.row(timed.aggregate(first=timed.timestamp.date().min(), last=timed.timestamp.date().max()))
            if first is not None:
                return first, last
    return None


def available_days(settings: Settings) -> tuple[dt.date, dt.date] | None:
    """First and last day that the logs of all sources of events cover, from the start date on; None where there are none."""
    days = [
        day
        for source in settings.sources_that_say_when()
        for span in file_days(source, settings).values()
        if span
        for day in span
        if day >= settings.start_date
    ]
    if days:
        return min(days), max(days)
    # No record has a time that can be read: they are rejects of the first day, where a check says so.
    undated = [source for source in settings.sources_that_say_when() if not source.dated]
    some = any(_has_records(source, settings, file) for source in undated for file in log_files(source, settings))
    return (settings.start_date, settings.start_date) if some else None


def _has_records(source: Source, settings: Settings, file: LogFile) -> bool:
    """Whether a file has any record."""
    groups = READERS[source.format.type].groups([file], source.format, settings.logs.max_line_bytes)
    group = next(groups, None)
    if group is None:
        return False
    return group.records > 0 if group.texts is None else next(replace(group.texts[0]).batches(), None) is not None


def load_events(warehouse: Warehouse, source: Source, settings: Settings, first: dt.date, last: dt.date) -> Loaded:
    """Write the days ``first`` to ``last`` of a source to its raw table, in place of what it held for them.

    Raises:
        LogFileError: nothing is changed then.
    """
    contract = contracts.raw_events(source.name)
    loaded, rates = Loaded(), rates_of(settings)
    files = log_files(source, settings, first, last)
    wait_until_settled(files, settings.logs.settle_seconds)
    loaded.warnings += left_out(source, settings, last_day())
    if source.dated and not source.received:
        covered = {file.date for file in files}
        until = min(last, dt.datetime.now(dt.UTC).date())
        missing = [day for offset in range((until - first).days + 1) if (day := first + dt.timedelta(days=offset)) not in covered]
        if missing:
            loaded.warnings.append(f"{source.name}: no file for {len(missing)} days: {_listed([day.isoformat() for day in missing])}")
    spans: Spans = {file: (file.date, file.date) if file.date else _scanned_days(source, settings, file) for file in files}
    if None in spans.values():
        # A file without any time that can be read belongs to the first day of all sources: only then are the others looked at.
        begins, _ = available_days(settings) or (settings.start_date, settings.start_date)
        spans = {file: span or (begins, begins) for file, span in spans.items()}
    loaded.whole_files = all(span is None or (first <= span[0] and span[1] <= last) for span in spans.values())
    warehouse.ensure(contract)
    warehouse.ensure(contracts.FILES)
    loaded.warnings += what_became_of(warehouse, source, log_files(source, settings), first, last)
    with read_source(warehouse, source, settings, files, spans) as batches, warehouse.transaction():
        warehouse.delete_days(contract, first, last)
        for batch in batches:
            rows = mapping.mapped_events(batch.fields, source, settings, latest_timestamp(), rates)
            rows = rows.filter(rows.day.between(first, last))
            warehouse.append(contract, rows.mutate(record=mapping.stored_record(rows)))
            loaded.readings += batch.readings
            loaded.warnings += batch.warnings
        _record_files(warehouse, source, files, loaded, _with_held_days(warehouse, contract, files, spans))
        refuse_truncated(loaded.readings, settings)
    rows = warehouse.table(contract)
    loaded.warnings += _unmet(warehouse, source, rows.filter(rows.day.between(first, last) & rows.problem.isnull()))
    for reading in loaded.readings:
        if reading.break_found:
            loaded.warnings.append(f"{reading.file.shown}: {reading.break_found}; the {reading.records} records before it are used")
    empty = [reading.file.shown for reading in loaded.readings if not reading.records and not reading.break_found]
    if empty:
        loaded.warnings.append(f"{source.name}: {len(empty)} files without records: {_listed(empty)}")
    return loaded


def _unmet(warehouse: Warehouse, source: Source, rows: ir.Table) -> list[str]:
    """Look-ups of which no record was found, as sentences: what is read from them alone is missing in all rows."""
    told = []
    for lookup in source.join:
        own = [
            name
            for name, mapped in source.fields.items()
            if mapped.from_ and all(map(lookup.gives, mapped.paths())) and mapped.default is None and name in rows.columns
        ]
        if not own:
            continue
        count, *known = warehouse.row(rows.aggregate(rows.count(), **{name: rows[name].count() for name in own}))
        if count and not any(known):
            told.append(
                f"{source.name}: {', '.join(own)} missing in all of {count} records, because none finds its "
                f"{' and '.join(lookup.on)} in {lookup.source}: written in two ways, or another list?"
            )
    return told


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")


def _fallback_day(file: LogFile, spans: Spans) -> dt.date:
    """The day of records that have no readable time of their own: that of the file's first good record."""
    span = spans.get(file)
    return file.date or (span[0] if span else dt.date.min)


def _with_held_days(warehouse: Warehouse, contract: contracts.Table, files: list[LogFile], spans: Spans) -> Spans:
    """The spans of files with the days of a version before, whose records stay in the table until these days are loaded anew."""
    rows = warehouse.table(contract)
    named = rows.filter(rows.source_file.isin([file.shown for file in files])) if files else rows.limit(0)
    held = warehouse.frame(named.group_by("source_file").aggregate(first=named.day.min(), last=named.day.max()))
    days = {row.source_file: (row.first.date(), row.last.date()) for row in held.itertuples()}
    found = dict(spans)
    for file in files:
        both = [*(spans.get(file) or ()), *days.get(file.shown, ())]
        found[file] = (min(both), max(both)) if both else None
    return found


def _record_files(warehouse: Warehouse, source: Source, files: list[LogFile], loaded: Loaded, spans: Spans) -> None:
    """Write what was read of each file; a file without any record has not come up in the reading, and is added to it."""
    read = {reading.file for reading in loaded.readings}
    loaded.readings += [unread(file) for file in files if file not in read]
    order = {file: number for number, file in enumerate(files)}
    in_order = sorted(loaded.readings, key=lambda reading: order[reading.file])
    names = {reading.file: reading.names() for reading in in_order}
    loaded.warnings += new_names(warehouse, source, list(names.items()))
    rows = []
    for reading in loaded.readings:
        file, span = reading.file, spans.get(reading.file)
        first, last = span or (None, None)
        row = {
            "source": source.name,
            "source_file": file.shown,
            "size_bytes": file.size_bytes,
            "modified_ns": file.modified_ns,
            "records": reading.records,
            "first_day": first,
            "last_day": last,
            "break_found": reading.break_found,
            "columns": json.dumps(names[reading.file].known),
        }
        rows.append(row)
        warehouse.delete_where(contracts.FILES, source=source.name, source_file=file.shown)
    if rows:
        warehouse.append(contracts.FILES, from_frame(pd.DataFrame(rows, columns=contracts.FILES.column_names)))


def refuse_truncated(readings: list[Reading], settings: Settings) -> None:
    """Packed files that are cut off: what they have is not proved by the sum at their end, and a day of it would pass for a whole one.

    Raises:
        LogFileError: there is one, and the configuration does not allow it.
    """
    cut = [reading for reading in readings if reading.truncated]
    if cut and not settings.logs.use_truncated:
        more = f", and {len(cut) - 1} other files likewise" if len(cut) > 1 else ""
        raise LogFileError(
            f"{cut[0].file.shown}: {cut[0].break_found}{more}; expected a whole file: fetch it again (logs.use_truncated: true uses the "
            f"{cut[0].records:,} records before the break as they are)"
        )


def unread(file: LogFile) -> Reading:
    """A file without any record: whole or cut off.

    Raises:
        LogFileError: it is damaged.
    """
    unpacked = Unpacked(file.path, file.member)
    try:
        for _ in unpacked.blocks():
            pass
    except PackingError as error:
        raise LogFileError(f"{file.shown}: {error}") from None
    return Reading(file, break_found=unpacked.break_found, truncated=unpacked.truncated)


def load_listing(warehouse: Warehouse, source: Source, settings: Settings) -> Loaded:
    """Write a source of items or users to its raw table, in place of what it held.

    Raises:
        LogFileError: nothing is changed then.
    """
    contract = contracts.raw_listing(source.name, source.kind)
    files = log_files(source, settings)
    wait_until_settled(files, settings.logs.settle_seconds)
    loaded, rates = Loaded(), rates_of(settings)
    warehouse.ensure(contract)
    warehouse.ensure(contracts.FILES)
    with read_source(warehouse, source, settings, files) as batches, warehouse.transaction():
        warehouse.clear(contract)
        for batch in batches:
            rows = mapping.mapped_listing(batch.fields, source, rates, dt.datetime.now(dt.UTC).date())
            warehouse.append(contract, rows.mutate(record=mapping.stored_record(rows)))
            loaded.readings += batch.readings
            loaded.warnings += batch.warnings
        _record_files(warehouse, source, files, loaded, {})
        refuse_truncated(loaded.readings, settings)
    rows = warehouse.table(contract)
    loaded.warnings += _unmet(warehouse, source, rows.filter(rows.problem.isnull()))
    loaded.warnings += [
        f"{reading.file.shown}: {reading.break_found or 'empty'}"
        for reading in loaded.readings
        if reading.break_found or not reading.records
    ]
    return loaded
