"""Queries that take fields out of text lines: delimited, JSON lines, Combined Log Format.

Each function gives a DuckDB query over a relation ``lines`` (columns of ``lines.SCHEMA``, ``source_file``, ``file_day``, ``order``) with the columns
``source_file``, ``file_day``, ``source_line``, ``order``, ``record``, ``problem`` and ``field_0``, ``field_1`` ... in the order of the fields asked for.
Missing and empty fields are null. Names and patterns reach the query as quoted literals only.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence

from persona_pipelines.settings import FormatSettings

COMBINED_FIELDS = (
    "address", "identity", "user", "time", "method", "url", "protocol", "status", "bytes", "referrer", "user_agent",
)  # fmt: skip
_REQUEST = r'"(?:([A-Z]+) (\S+)(?: (HTTP/[0-9.]+))?|(?:[^"\\]|\\.)*)"'
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
COMBINED_PATTERN = rf"^(\S+) (\S+) (.+?) \[([^\]]+)\] {_REQUEST} ([0-9]{{3}}) ([0-9]+|-)(?: {_QUOTED} {_QUOTED})?\s*$"


class HeaderError(ValueError):
    """The header of a file lacks a column that the mapping reads."""


def literal(text: str) -> str:
    """A string literal of standard SQL."""
    return "'" + text.replace("'", "''") + "'"


def _clean(expression: str) -> str:
    return f"nullif(trim({expression}), '')"


def _query(inner: str, problem: str, fields: Sequence[str]) -> str:
    selected = "".join(f", {expression} AS field_{number}" for number, expression in enumerate(fields))
    return (
        'SELECT source_file, file_day, source_line, "order", record, '
        + f"coalesce(line_problem, {problem}) AS problem{selected} FROM ({inner})"
    )


def json_lines(fields: Sequence[str], _settings: FormatSettings, _header: str | None) -> str:
    """One JSON object a line; a field is a path such as ``product.price`` or ``items[0].id``."""
    paths = []
    for path in fields:
        steps = re.sub(r"\[(\d+)\]", r".[\1]", path).split(".")
        paths.append("$" + "".join(step if step.startswith("[") else '."' + step.replace('"', "") + '"' for step in steps))
    wanted = ", ".join(literal(path) for path in paths) or "'$'"
    # CASE and not AND: json_type fails on what is no JSON, and only CASE promises not to look at it.
    valid = "CASE WHEN line_problem IS NOT NULL OR NOT json_valid(record) THEN false ELSE coalesce(json_type(record) = 'OBJECT', false) END"
    lines = "SELECT * REPLACE (rtrim(record, chr(13) || chr(10)) AS record) FROM lines"
    inner = f"SELECT *, CASE WHEN valid THEN json_extract_string(record, [{wanted}]) END AS parts FROM (SELECT *, {valid} AS valid FROM ({lines}))"
    return _query(inner, "CASE WHEN NOT valid THEN 'malformed line: not a JSON object' END",
                  [_clean(f"parts[{number + 1}]") for number in range(len(fields))])  # fmt: skip


def combined(fields: Sequence[str], _settings: FormatSettings, _header: str | None) -> str:
    """Combined Log Format of Apache and nginx; the Common Log Format is read too, without referrer and user agent."""
    for name in fields:
        if name not in COMBINED_FIELDS:
            raise HeaderError(f"{name!r} is not a field of the Combined Log Format; expected one of {', '.join(COMBINED_FIELDS)}")
    names = ", ".join(literal(name) for name in COMBINED_FIELDS)
    inner = (
        "SELECT * REPLACE (rtrim(record, chr(13) || chr(10)) AS record), "
        f"CASE WHEN line_problem IS NULL THEN regexp_extract(record, {literal(COMBINED_PATTERN)}, [{names}]) END AS parts FROM lines"
    )
    return _query(inner, "CASE WHEN parts.address = '' THEN 'malformed line: not in Combined Log Format' END",
                  [f"nullif({_clean(f'parts.{name}')}, '-')" for name in fields])  # fmt: skip


def header_columns(header: str | None, settings: FormatSettings) -> list[str]:
    """Names of the columns in order; a column without a name is ``column_1`` and so on, counted from 1."""
    if not settings.header or header is None:
        return settings.columns or []
    if settings.delimiter == "whitespace":
        names = header.split()
    else:
        names = next(csv.reader([header], delimiter=settings.delimiter, quotechar=settings.quote or None,
                                quoting=csv.QUOTE_MINIMAL if settings.quote else csv.QUOTE_NONE))  # fmt: skip
    return [name.strip() or f"column_{number}" for number, name in enumerate(names, start=1)]


def delimited(fields: Sequence[str], settings: FormatSettings, header: str | None) -> str:
    """Lines of fields between delimiters, quoted or not (RFC 4180, one record a line).

    Lines without a quote character, nearly all of most logs, are split at the delimiter; the others by pattern.
    """
    columns = header_columns(header, settings)
    for name in fields:
        if name not in columns:
            raise HeaderError(f"column {name!r} not found; found {', '.join(columns) or 'an empty line'}")
    if settings.delimiter == "whitespace":
        split, quoted = "regexp_split_to_array(trim(record), '\\s+')", None
        pattern_delimiter, blank = r"\s+", r"\s"
    else:
        split = f"string_split(record, {literal(settings.delimiter)})"
        pattern_delimiter = blank = re.escape(settings.delimiter)
    count = len(columns)
    inner = "SELECT * REPLACE (rtrim(record, chr(13) || chr(10)) AS record) FROM lines"
    problem = f"CASE WHEN len(parts) <> {count} THEN 'malformed line: ' || len(parts) || ' columns instead of {count}' END"
    if settings.quote:
        quote = re.escape(settings.quote)
        cell = rf"\s*{quote}(?:[^{quote}]|{quote}{quote})*{quote}\s*|[^{quote}{blank}]*"
        whole = rf"^(?:{cell})(?:{pattern_delimiter}(?:{cell}))*$"
        cells = rf"(?:^|{pattern_delimiter})({cell})"
        quoted = (
            f"CASE WHEN regexp_full_match(record, {literal(whole)}) THEN list_transform("
            f"regexp_extract_all(record, {literal(cells)}, 1), lambda cell: CASE WHEN starts_with(trim(cell), {literal(settings.quote)}) "
            f"THEN replace(substr(trim(cell), 2, length(trim(cell)) - 2), {literal(settings.quote * 2)}, {literal(settings.quote)}) "
            "ELSE cell END) END"
        )
        split = f"CASE WHEN contains(record, {literal(settings.quote)}) THEN {quoted} ELSE {split} END"
        problem = f"CASE WHEN parts IS NULL THEN 'malformed line: a quote is not closed or stands inside a field' ELSE {problem} END"
    inner = f"SELECT *, CASE WHEN line_problem IS NULL THEN {split} END AS parts FROM ({inner})"
    return _query(inner, problem, [_clean(f"parts[{columns.index(name) + 1}]") for name in fields])


TEXT_FORMATS: dict[str, Callable[[Sequence[str], FormatSettings, str | None], str]] = {
    "json_lines": json_lines,
    "combined": combined,
    "csv": delimited,
}
