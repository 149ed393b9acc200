"""Fields between delimiters: CSV (RFC 4180) and its relatives."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from persona_pipelines.logs.files import LogFile
from persona_pipelines.logs.formats.lines import NEWLINE, TextFile, first_line
from persona_pipelines.logs.formats.reader import NO_VALUES, Group, Resolved, TextReader, selected
from persona_pipelines.logs.formats.sql import BLANK, HeaderError, without_blanks
from persona_pipelines.settings.formats import DelimitedFormat
from persona_pipelines.warehouse.quoting import literal

SEPARATOR = "\x1f"
"""Stands in for delimiters of several characters, which no character class can leave out."""

WINDOW_BYTES = 1 << 12

BY_LETTER = {"t": "\t", "n": "\n", "r": "\r"}
"""What letters stand for behind a backslash that escapes, in the exports of PostgreSQL and MySQL."""

TRIMMED = "trim({}, ' ' || chr(9))"


UNFIT = "a quote is not closed or stands inside a field"
NOTHING_ESCAPED = "nothing stands behind the escape character at its end"


@dataclass
class QuotedFile(TextFile):
    """Records that may go on over line breaks inside of quotes or behind an escape character. A record's line is the one that it begins on.

    A quote that is not closed within ``max_line_bytes``, or that another one closes by chance, costs its own line only: what goes on over
    lines and does not fit ``layout``, the pattern of a whole record, is taken apart at the end of its first line.
    """

    quote: str = '"'
    escape: str = ""
    layout: re.Pattern[str] | None = None

    @property
    def unclosed(self) -> str:
        return "a quote is not closed" if self.quote else NOTHING_ESCAPED

    def batches(self) -> Iterator[pa.RecordBatch]:
        line, rest = 1, b""
        for block in self.blocks():
            rest += block
            while line <= self.skip_lines and b"\n" in rest:
                line, rest = line + 1, rest.partition(b"\n")[2]
            if line <= self.skip_lines:
                continue
            line, rest, batches = self._closed(rest, line)
            yield from batches
        if rest.strip(b"\r\n"):
            line, rest, batches = self._closed(rest + (b"" if rest.endswith(b"\n") else b"\n"), line)
            yield from batches
        while rest.strip(b"\r\n"):  # the last quote is not closed
            first, _, rest = rest.partition(b"\n")
            yield self.single(
                first,
                line,
                "cut off: the file is damaged here" if self.break_found and not rest else f"malformed line: {self.unclosed}",
            )
            line, rest, batches = self._closed(rest, line + 1)
            yield from batches

    def _closed(self, text: bytes, line: int) -> tuple[int, bytes, list[pa.RecordBatch]]:
        """The whole records at the begin of a text: the line after them, what is left, and the records."""
        batches = []
        begin, window = 0, len(text)
        while True:
            ends = self._ends(text[begin : begin + window])
            broken = self._broken(text[begin : begin + int(ends[-1])], ends) if len(ends) else None
            whole = ends[:broken]
            if len(whole):
                batch, line = self._records(text[begin : begin + int(whole[-1])], whole.astype(np.int32), line)
                if batch.num_rows:
                    batches.append(batch)
                begin += int(whole[-1])
            left = len(text) - begin
            if broken is None and window < left and (len(whole) or window <= self.max_line_bytes):
                window *= 2
                continue
            end = text.find(b"\n", begin) + 1
            if broken is None and (left <= self.max_line_bytes or not end):
                return line, text[begin:], batches
            batches.append(self.single(text[begin : end - 1], line, f"malformed line: {self.unclosed}"))
            # From here on little is looked at at once: the next quote may stand alone, too.
            begin, line, window = end, line + 1, WINDOW_BYTES

    def _broken(self, text: bytes, ends: np.ndarray) -> int | None:
        """The number of the first record that goes on over lines and is none."""
        feeds = np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == NEWLINE) + 1
        last = np.searchsorted(feeds, ends)
        for number in np.flatnonzero(np.diff(last, prepend=-1) > 1):
            start = int(ends[number - 1]) if number else 0
            record = text[start : int(ends[number])].decode(errors="replace").rstrip("\r\n")
            if self.layout is not None and not self.layout.fullmatch(record):
                return int(number)
        return None

    def _ends(self, text: bytes) -> np.ndarray:
        """Where records end: after line feeds with an even number of quotes and no escape before them."""
        characters = np.frombuffer(text, dtype=np.uint8)
        quotes = characters == ord(self.quote) if self.quote else np.zeros(len(characters), dtype=bool)
        feeds = characters == NEWLINE
        if self.escape and self.escape != self.quote and self.escape.encode() in text:
            pairs = re.escape(self.escape).encode() + b"\r?."
            quotes = quotes.copy()
            for match in re.finditer(pairs, text, re.DOTALL):
                quotes[match.end() - 1] = feeds[match.end() - 1] = False
        if self.comment:  # what stands in a comment opens nothing; a line inside of quotes is none
            quotes, before, left_out = quotes.copy(), np.cumsum(quotes), 0
            for match in re.finditer(rb"(?m)^" + re.escape(self.comment.encode()) + rb".*$", text):
                begin, end = match.span()
                if begin and (before[begin - 1] - left_out) % 2:
                    continue
                left_out += int(quotes[begin:end].sum())
                quotes[begin:end] = False
        return np.flatnonzero(feeds & (np.cumsum(quotes) % 2 == 0)) + 1

    def _records(self, block: bytes, ends: np.ndarray, line: int) -> tuple[pa.RecordBatch, int]:
        breaks = np.cumsum(np.frombuffer(block, dtype=np.uint8) == NEWLINE)
        starts = np.concatenate([np.zeros(1, dtype=np.int32), ends[:-1]])
        numbers = line + np.where(starts > 0, breaks[np.maximum(starts - 1, 0)], 0)
        return self.batch_of(block, ends, numbers.astype(np.int64)), line + int(breaks[-1])


class DelimitedReader(TextReader):
    """Lines without a quote or escape character, nearly all of most logs, are split at the delimiter; the others by pattern."""

    def text_file(self, file: LogFile, settings: DelimitedFormat, max_line_bytes: int) -> TextFile:
        options = (file.path, settings.encoding, max_line_bytes, settings.skip_lines, settings.comment, None, file.member)
        if not settings.line_breaks_in_quotes:
            return TextFile(*options)
        # Several characters are a delimiter that no class can leave out: such records are judged line by line by the engine alone.
        layout = re.compile(f"(?s){_record_pattern(settings)[1]}") if len(settings.delimiter) == 1 else None
        return QuotedFile(*options, settings.quote, settings.escape, layout)

    def header(self, file: LogFile, settings: DelimitedFormat, max_line_bytes: int) -> tuple[str, int] | None:
        text = self.text_file(file, settings, max_line_bytes)
        if settings.header is False:
            return super().header(file, settings, max_line_bytes)
        if settings.header is True:
            found = first_line(text)
            return (found[1], found[0]) if found else None
        number = 0
        # Line by line: a quote in what stands before the header opens nothing.
        text = TextFile(file.path, settings.encoding, max_line_bytes, settings.skip_lines, settings.comment, None, file.member)
        for batch in text.batches():
            for row in batch.to_pylist():
                number = row["source_line"]
                if row["record"].startswith(settings.header):
                    return row["record"], number
        if number:
            raise HeaderError(f"no line begins with {settings.header!r}, as header says; {number} lines were looked at")
        return None

    def columns(self, group: Group, settings: DelimitedFormat) -> list[str]:
        """Names of the columns in order; a column without a name is ``column_1`` and so on, counted from 1."""
        if settings.header is False:
            return settings.columns or []
        return [name.strip() or f"column_{number}" for number, name in enumerate(self._cells(group.header, settings), start=1)]

    @staticmethod
    def _cells(header: str, settings: DelimitedFormat) -> list[str]:
        if settings.delimiter == "whitespace":
            delimiter, text = " ", " ".join(header.split())
        else:
            delimiter, text = settings.delimiter, header
            if len(delimiter) > 1:
                delimiter, text = SEPARATOR, header.replace(delimiter, SEPARATOR)
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if settings.quote else csv.QUOTE_NONE
        try:
            return next(
                csv.reader(
                    [text], delimiter=delimiter, quotechar=settings.quote or None, escapechar=settings.escape or None, quoting=quoting
                ),
                [],
            )
        except csv.Error as error:
            if any(character < " " and character not in "\t\r" for character in header):
                raise HeaderError("the first line has control characters in it: this is no text") from None
            if "\r" in header:
                raise HeaderError("the header has a carriage return in it: lines end in two ways; expected one in a file") from None
            raise HeaderError(f"the header cannot be read ({error}); found {header[:80]!r}") from None

    def instead(self, group: Group) -> str:
        if re.match(r"(?i)sep=", group.header):
            return "; the first line is Excel's word on the delimiter: expected skip_lines: 1 and the delimiter of the format"
        return "" if group.header.strip() else "; the first line is blank: expected skip_lines, or header: with the begin of the right one"

    def resolve(self, path: str, group: Group, settings: DelimitedFormat) -> Resolved:
        try:
            return super().resolve(path, group, settings)
        except HeaderError:
            if settings.missing_columns == "empty" and path not in self.columns(group, settings):
                return "", ()
            raise

    def query(self, fields: Sequence[str], group: Group, settings: DelimitedFormat) -> str:
        columns = self.columns(group, settings)
        text = TRIMMED.format("record") if settings.delimiter == "whitespace" else "record"
        cells, wrong_text = self._cells_of_a_line(settings)
        problem = f"CASE WHEN NOT no_values THEN coalesce({wrong_text}, {self._wrong_number(len(columns), settings)}) END"
        inner = f"SELECT *, CASE WHEN line_problem IS NULL THEN {cells} END AS parts, {self._no_values(settings)} AS no_values FROM (SELECT *, {text} AS text FROM lines)"
        skipped = f"CASE WHEN no_values THEN {literal(NO_VALUES)} END"
        value = "nullif({}, '')".format if _is_trimmed(settings) else without_blanks
        values = [value(f"parts[{columns.index(name) + 1}]") if name else "CAST(NULL AS VARCHAR)" for name in fields]
        if settings.fill_down:
            return self._filled(fields, values, selected(inner, problem, values, skipped), settings)
        return selected(inner, problem, values, skipped)

    @staticmethod
    def _no_values(settings: DelimitedFormat) -> str:
        """Whether a line has nothing but blank cells, in quotes or without, as spreadsheets write rows below and between tables."""
        marks = [settings.quote, *([] if settings.delimiter == "whitespace" else [settings.delimiter])]
        begins = " OR ".join(["text < '0'", "text > '~'", *(f"starts_with(text, {literal(mark)})" for mark in marks if mark >= "0")])
        quote = re.escape(settings.quote)
        cell = f"{BLANK}*(?:{quote}{BLANK}*{quote}{BLANK}*)?" if quote else f"{BLANK}*"
        delimiter = BLANK if settings.delimiter == "whitespace" else re.escape(settings.delimiter)
        return f"CASE WHEN {begins} THEN regexp_full_match(text, {literal(f'{cell}(?:{delimiter}{cell})*')}) ELSE false END"

    def _cells_of_a_line(self, settings: DelimitedFormat) -> tuple[str, str]:
        """The cells of ``text``, and what is wrong with it: lines without quotes and escapes, nearly all of most logs, are split."""
        delimiter, carriage_return = settings.delimiter, "'malformed line: a carriage return in the middle'"
        split = "regexp_split_to_array(text, '\\s+')" if delimiter == "whitespace" else f"string_split(text, {literal(delimiter)})"
        if _is_trimmed(settings):
            # In most lines no cell has a blank around it: trimming every cell costs more than splitting the line.
            edges = (
                f"starts_with(text, ' ') OR ends_with(text, ' ') OR contains(text, {literal(delimiter + ' ')}) "
                f"OR contains(text, {literal(' ' + delimiter)}) OR length(text) <> strlen(text)"
            )
            edges += "".join(f" OR contains(text, chr({code}))" for code in (9, 11, 12) if chr(code) not in delimiter)
            split = f"CASE WHEN {edges} THEN {_each_trimmed(split)} ELSE {split} END"
        special = [f"contains(text, {literal(character)})" for character in (settings.quote, settings.escape) if character]
        if not special:
            return split, f"CASE WHEN contains(text, chr(13)) THEN {carriage_return} END"
        quoted, by_pattern = " OR ".join(special), self._by_pattern(settings)
        unfit = f"malformed line: {UNFIT if settings.quote else NOTHING_ESCAPED}"
        if len(delimiter) > 1 and delimiter != "whitespace":
            by_pattern = f"list_transform({by_pattern}, lambda cell: replace(cell, chr(31), {literal(delimiter)}))"
        if _is_trimmed(settings):
            by_pattern = _each_trimmed(by_pattern)
        return f"CASE WHEN {quoted} THEN {by_pattern} ELSE {split} END", (
            f"CASE WHEN parts IS NULL THEN {literal(unfit)} WHEN contains(text, chr(13)) AND NOT ({quoted}) THEN {carriage_return} END"
        )

    @staticmethod
    def _wrong_number(columns: int, settings: DelimitedFormat) -> str:
        """The problem of a line with fewer or more cells than columns, where they are not to be left out or to be empty."""
        wrong = [f"len(parts) < {columns}"] if settings.missing_columns == "reject" else []
        wrong += [f"len(parts) > {columns}"] if settings.further_columns == "reject" else []
        return f"CASE WHEN {' OR '.join(wrong) or 'false'} THEN 'malformed line: ' || len(parts) || ' columns instead of {columns}' END"

    @staticmethod
    def _by_pattern(settings: DelimitedFormat) -> str:
        """Cells of a line with quotes or escapes; null where these do not fit."""
        cell, whole = _record_pattern(settings)
        escape = re.escape(settings.escape)
        escaped = bool(settings.escape and settings.escape != settings.quote)
        # Each cell with the delimiter before it, the first one too: an empty match at the begin would swallow what follows.
        cells = rf"{_separation(settings.delimiter)[0]}({cell})"
        standing = {"whitespace": " "}.get(settings.delimiter, settings.delimiter)
        before = literal(SEPARATOR if len(standing) > 1 else standing)
        value = "cell"
        # A pattern cannot leave out several characters: one stands in for them, in the lines that need a pattern.
        text = f"replace(text, {literal(standing)}, {literal(SEPARATOR)})" if len(standing) > 1 else "text"
        if settings.quote:
            double, single = literal(settings.quote * 2), literal(settings.quote)
            trimmed = TRIMMED.format("cell")
            inside = f"substr({trimmed}, 2, length({trimmed}) - 2)"
            value = f"CASE WHEN starts_with({trimmed}, {single}) THEN replace({inside}, {double}, {single}) ELSE cell END"
        if escaped:
            pattern, null = literal(rf"(?s){escape}(.)"), literal(settings.escape + "N")
            plain = f"regexp_replace({{}}, {pattern}, '\\1', 'g')"
            if settings.escape == "\\":
                # Databases write tabs and breaks of lines by letters. What an escaped backslash parts is looked at by itself.
                letters = "part"
                for letter, character in BY_LETTER.items():
                    letters = f"replace({letters}, {literal(settings.escape + letter)}, chr({ord(character)}))"
                parts = f"list_transform(string_split({value}, {literal(settings.escape * 2)}), lambda part: {plain.format(letters)})"
                value = f"array_to_string({parts}, {literal(settings.escape)})"
            else:
                value = plain.format(value)
            value = f"CASE WHEN cell = {null} THEN NULL ELSE {value} END"
        return (
            f"CASE WHEN regexp_full_match({text}, {literal('(?s)' + whole)}) THEN list_transform("
            f"regexp_extract_all({before} || {text}, {literal('(?s)' + cells)}, 1), lambda cell: {value}) END"
        )

    @staticmethod
    def _filled(fields: Sequence[str], values: list[str], query: str, settings: DelimitedFormat) -> str:
        """Blank fields with the value above them, in the same file and the same record of ``within``.

        Without ``within``, fields go from the outermost to the innermost, as in tables with merged cells: a field is filled unless one named before
        it stands in the record, with which everything behind it begins anew. A line that
        cannot be read gives nothing; without ``within`` nobody knows then whose the lines below it are.
        """
        fill = settings.fill_down
        assert fill is not None
        for name in [*fill.fields, *fill.within]:
            if name not in fields:
                raise HeaderError(f"fill_down: {name!r} is no field that the mapping reads; expected some of {', '.join(fields)}")
        within = "".join(f", base_{fields.index(name)}" for name in fill.within)
        over = f"OVER (PARTITION BY source_file{within} ORDER BY source_line, part ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
        replaced, blank = [], []
        for place, name in enumerate(fill.fields):
            base = f"base_{fields.index(name)}"
            outer = [] if fill.within else [f"base_{fields.index(before)} IS NOT NULL" for before in fill.fields[:place]]
            begins = f"({' OR '.join([f'{base} IS NOT NULL', *outer])})"  # a value of its own, or none of those above
            filled = f"nullif(last_value(CASE WHEN problem IS NULL AND {begins} THEN coalesce({base}, '') END IGNORE NULLS) {over}, '')"
            if not fill.within:
                filled = f"CASE WHEN skipped IS NULL THEN {filled} END"
            replaced.append(f"{filled} AS {base}")
            unknown = f"last_value(CASE WHEN problem IS NOT NULL THEN true WHEN {begins} THEN false END IGNORE NULLS) {over}"
            blank.append(f"({base} IS NULL AND coalesce({unknown}, false))")
        if not fill.within:
            lost = literal("fill_down: the line above it that cannot be read may have given its fields")
            replaced.append(f"CASE WHEN problem IS NOT NULL THEN problem WHEN {' OR '.join(blank)} THEN {lost} END AS problem")
        number = f"row_number() OVER (PARTITION BY source_file{within} ORDER BY source_line, part) AS number_within"
        return f"SELECT * REPLACE ({', '.join(replaced)}), {number} FROM ({query})"


def _separation(delimiter: str) -> tuple[str, str, str]:
    """Patterns of what stands between two cells, of a character that ends one, and of the blanks around quotes."""
    if delimiter == "whitespace":
        return r"\s+", r"\s", ""
    between = re.escape(delimiter if len(delimiter) == 1 else SEPARATOR)
    return between, between, f"[ {chr(9) if delimiter != chr(9) else ''}]*" if delimiter != " " else ""


def _record_pattern(settings: DelimitedFormat) -> tuple[str, str]:
    """Patterns of a cell and of a whole record."""
    between, blank, padding = _separation(settings.delimiter)
    quote, escape = re.escape(settings.quote), re.escape(settings.escape)
    escaped = rf"|{escape}." if settings.escape and settings.escape != settings.quote else ""
    plain = rf"(?:[^{quote}{escape}{blank}]{escaped})*" if escaped else rf"[^{quote}{blank}]*"
    if settings.delimiter == "whitespace":
        plain = plain[:-1] + "+"
    cell = plain
    if settings.quote:
        cell = rf"{padding}{quote}(?:[^{quote}{escape if escaped else ''}]|{quote}{quote}{escaped})*{quote}{padding}|{plain}"
    whole = rf"^(?:{cell})(?:{between}(?:{cell}))*$"
    return cell, whole


def _is_trimmed(settings: DelimitedFormat) -> bool:
    return settings.delimiter not in ("whitespace", " ")


def _each_trimmed(cells: str) -> str:
    return f"list_transform({cells}, lambda cell: {without_blanks('cell')})"
