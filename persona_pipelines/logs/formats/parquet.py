"""Parquet files: columns are read as text, so that one mapping and one validation serve all formats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from persona_pipelines.logs.files import LogFile, LogFileError, refuse_if_changed
from persona_pipelines.logs.formats.reader import Group, Resolved, steps_of
from persona_pipelines.logs.formats.sql import HeaderError, clean
from persona_pipelines.logs.paths import Key
from persona_pipelines.settings.formats import ParquetFormat
from persona_pipelines.warehouse.quoting import literal, quoted_name


class ParquetReader:
    """Columns by name, structs and lists by path."""

    def groups(self, files: Sequence[LogFile], settings: ParquetFormat, max_line_bytes: int) -> Iterator[Group]:
        for file in files:
            if not file.size_bytes:
                continue  # an empty file: the caller warns of it
            refuse_if_changed(file)
            with duckdb.connect() as engine, _named(file):
                records = int(engine.execute("SELECT count(*) FROM read_parquet(?)", [_exactly(file)]).fetchall()[0][0])
            yield Group([file], None, records=records)

    def columns(self, group: Group, settings: ParquetFormat) -> list[str]:
        return list(_types(group.files[0]))

    def resolve(self, path: str, group: Group, settings: ParquetFormat) -> Resolved:
        columns = self.columns(group, settings)
        if path in columns:
            return path, ()
        steps = steps_of(path)
        if isinstance(steps[0], Key) and steps[0].name in columns:
            return steps[0].name, steps[1:]
        if settings.missing_columns == "empty":
            return "", ()
        raise HeaderError(f"column {path!r} not found; found {', '.join(columns)}")

    def query(self, fields: Sequence[str], group: Group, settings: ParquetFormat) -> str:
        columns = _types(group.files[0])
        bases, wrong = [], ""
        for number, name in enumerate(fields):
            if not name:
                bases.append(f", CAST(NULL AS VARCHAR) AS base_{number}")
                continue
            column, kind = quoted_name(columns[name].name), columns[name].type
            nested = kind.endswith("]") or kind.startswith(("STRUCT", "MAP"))
            binary = f"TRY(decode({column}))" if kind == "BLOB" else f"{column}::VARCHAR"
            if columns[name].per_second is not None:
                # As of ISO 8601: the engine gives the number alone, of whatever unit.
                seconds = f"abs({column}::HUGEINT)::DECIMAL(28, 9) / {columns[name].per_second}"
                sign = f"CASE WHEN {column} < 0 THEN '-PT' ELSE 'PT' END"
                binary = f"{sign} || rtrim(rtrim(({seconds})::DECIMAL(28, 9)::VARCHAR, '0'), '.') || 'S'"
            if kind == "BLOB":
                said = literal(f"invalid UTF-8 in {name}: bytes are read as text")
                wrong += f"WHEN {column} IS NOT NULL AND TRY(decode({column})) IS NULL THEN {said} "
            if kind in ("DOUBLE", "FLOAT"):
                # NaN is how pandas writes that there is none, and 7.0 how it writes the 7 of a column with gaps.
                # The engine judges comparisons, of texts made of numbers too, by the file's statistics, in which there is no NaN: contains() it cannot.
                whole = f"{column} = trunc({column}) AND abs({column}) < 1e18"
                shortest = f"CASE WHEN {whole} THEN TRY_CAST({column} AS BIGINT)::VARCHAR ELSE {binary} END"
                binary = f"CASE WHEN contains({binary}, 'nan') THEN NULL ELSE {shortest} END"
            value = f"to_json({column})::VARCHAR" if nested else binary
            bases.append(f", {clean(value)} AS base_{number}")
        if len({name.lower() for name in columns}) < len(columns):  # a document may have names that differ in case alone, a struct not
            pairs = ", ".join(f"{literal(name)}, {quoted_name(column.name)}" for name, column in columns.items())
            record = f"json_object({pairs})::VARCHAR"
        else:
            pairs = ", ".join(f"{quoted_name(name)} := {quoted_name(column.name)}" for name, column in columns.items())
            record = f"to_json(struct_pack({pairs}))::VARCHAR"
        inner = (
            f"SELECT *, file_row_number + 1 AS source_line FROM read_parquet({literal(_exactly(group.files[0]))}, file_row_number = true)"
        )
        return (
            f"SELECT source_line, {group.place}, 1 AS part, {record} AS record, {f'CASE {wrong}END' if wrong else 'CAST(NULL AS VARCHAR)'} AS problem, "
            f"CAST(NULL AS VARCHAR) AS skipped{''.join(bases)} FROM ({inner})"
        )


@dataclass(frozen=True)
class _Column:
    """What the engine calls a column and its type; ``per_second`` how many of its units a second has, of one that is a duration."""

    name: str
    type: str
    per_second: int | None


UNITS_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


@lru_cache(maxsize=256)
def _types(file: LogFile) -> dict[str, _Column]:
    """The columns of a file by their names in it, of which some may differ in upper and lower case alone; asked for once a field."""
    with duckdb.connect() as engine, _named(file):
        described = engine.execute("DESCRIBE SELECT * FROM read_parquet(?)", [_exactly(file)]).fetchall()
    schema = pq.read_schema(file.path)
    return {
        field.name: _Column(row[0], row[1], UNITS_A_SECOND[field.type.unit] if pa.types.is_duration(field.type) else None)
        for field, row in zip(schema, described, strict=True)
    }


def _exactly(file: LogFile) -> str:
    """The path as the engine's file functions take it: characters of its patterns stand for themselves."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in str(file.path))


@contextmanager
def _named(file: LogFile) -> Iterator[None]:
    """The engine's errors in the words of the file."""
    try:
        yield
    except duckdb.Error as error:
        raise LogFileError(f"{file.shown}: not readable as Parquet: {str(error).splitlines()[0]}") from None
