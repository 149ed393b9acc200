"""JSON: a value a line, values side by side, over several lines, in one array or in an array a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import orjson
import pyarrow as pa

from persona_pipelines.logs.files import LogFile
from persona_pipelines.logs.formats.lines import TextFile, first_line
from persona_pipelines.logs.formats.reader import Group, Resolved, TextReader, selected, steps_of
from persona_pipelines.logs.formats.sql import as_written, clean, plain_steps, pointer
from persona_pipelines.settings.formats import JsonFormat
from persona_pipelines.warehouse.quoting import literal

BATCH_RECORDS = 20_000
SIDE_BY_SIDE = re.compile(rb"\}[ \t\r,]*\{")
TOKENS = re.compile(rb'"(?:[^"\\\n]|\\.)*"|["{}\[\]\n]')
OPENED = (b"{\n", b"{\r\n", b"[\n", b"[\r\n")
"""Lines with which a value over several lines begins."""
PAIRS = {b"}": b"{", b"]": b"["}
BETWEEN = b" \t\r\n,\x1e"
"""What may stand between values; the last is the record separator of RFC 7464."""


def _is_one_object(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        # NaN and numbers of any size are no JSON for some and are for others: the engine decides on each line.
        return text.startswith("{") and text.endswith("}") and not SIDE_BY_SIDE.search(text.encode(errors="replace"))


@dataclass
class JsonFile(TextFile):
    """Values as records. Where the first line is one object, each line is a record, and values side by side in it are parts.

    Otherwise, and from a line on that is but an opening bracket, objects are found by their brackets, and those of arrays are
    records too. A value that is not closed costs itself: the search goes on at the next line that begins as the first value did.
    """

    lines: bool = True
    behind: tuple[int, Iterable[bytes]] | None = field(default=None, init=False)
    """The line from which on values may have several lines, and the text from there."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        if self.lines:
            yield from super().batches()
        else:
            self.behind = 1, self._whole_lines()
        if self.behind:
            yield from self._values(*self.behind)

    def blocks(self) -> Iterator[bytes]:
        """The text whose lines are records, in whole lines."""
        text, line = self._whole_lines(), 1
        for lines in text:
            if (begin := _opened_alone(lines)) is not None:
                self.behind = line + lines.count(b"\n", 0, begin), chain([lines[begin:]], text)
                yield lines[:begin]
                return
            line += lines.count(b"\n")
            yield lines

    def _whole_lines(self) -> Iterator[bytes]:
        """The text in whole lines, those at the head of the file and comments empty: what stands in them opens no value.

        A line longer than allowed comes in pieces.
        """
        held, line, begins = b"", 1, True
        for block in super().blocks():
            text = held + block
            end = text.rfind(b"\n") + 1
            if not end and len(text) <= self.max_line_bytes:
                held = text
                continue
            whole, held = (text[:end], text[end:]) if end else (text, b"")
            yield self._without_head_and_comments(whole, line, begins)
            line, begins = line + whole.count(b"\n"), bool(end)
        yield self._without_head_and_comments(held, line, begins)

    def _without_head_and_comments(self, text: bytes, line: int, begins: bool) -> bytes:
        """Args: line: the number of its first line; begins: whether that line begins here."""
        place = 0
        for _ in range(line, self.skip_lines + 1):
            place = text.find(b"\n", place) + 1 or len(text)
        text = b"\n" * text.count(b"\n", 0, place) + text[place:]
        if not self.comment:
            return text
        first = 0 if begins else text.find(b"\n") + 1 or len(text)
        return text[:first] + re.sub(rb"(?m)^" + re.escape(self.comment.encode()) + rb".*$", b"", text[first:])

    def batch_of(self, block: bytes, ends: np.ndarray, numbers: np.ndarray) -> pa.RecordBatch:
        batch = super().batch_of(block, ends, numbers)
        if not (SIDE_BY_SIDE.search(block) or block.startswith(b"[") or b"\n[" in block):
            return batch
        made: list[tuple[int, int, str, str | None]] = []
        for row in batch.to_pylist():
            parts = [row["record"]]
            if row["line_problem"] is None and (row["record"].startswith("[") or SIDE_BY_SIDE.search(row["record"].encode())):
                parts = _side_by_side(row["record"]) or parts
            made += [(row["source_line"], number, part, row["line_problem"]) for number, part in enumerate(parts, start=1)]
        self.records += len(made) - batch.num_rows
        columns = zip(*made, strict=True) if made else [(), (), (), ()]
        return pa.record_batch(
            [pa.array(list(column), kind.type) for column, kind in zip(columns, self.schema, strict=True)], schema=self.schema
        )

    def _values(self, begin: int, blocks: Iterable[bytes]) -> Iterator[pa.RecordBatch]:
        found: list[tuple[int, int, bytes]] = []
        previous, part = 0, 0
        for line, raw in self._split(begin, blocks):
            part = part + 1 if line == previous else 1
            previous = line
            found.append((line, part, raw))
            if len(found) >= BATCH_RECORDS:
                yield self.gathered(found)
                found = []
        if found:
            yield self.gathered(found)

    def _split(self, begin: int, blocks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """Each value, and each text between values that is none, with its line."""
        scan = _Scan(self.max_line_bytes, begin)
        for block in blocks:
            yield from scan.fed(block)
        yield from scan.ended()


class _Scan:
    """Finds values in a text that comes in blocks."""

    def __init__(self, longest: int, line: int = 1) -> None:
        self.text, self.position, self.line = b"", 0, line
        self.open, self.base = b"", 0  # open brackets; one is the base inside of an array at the top
        self.start, self.start_line = 0, line  # of the value that is open, or of what stands between values
        self.longest, self.indent = longest, b""
        self.known_indent = False

    def fed(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        self.text += block
        yield from self._scanned(final=False)
        if len(self.open) == self.base:
            yield from self._between(max(self.start, self.text.rfind(b"\n", 0, self.position) + 1))
        self.text, self.position, self.start = self.text[self.start :], self.position - self.start, 0

    def ended(self) -> Iterator[tuple[int, bytes]]:
        yield from self._scanned(final=True)
        while len(self.open) > self.base:  # the last value is not closed
            yield self._given_up()
            yield from self._scanned(final=True)
        yield from self._between(len(self.text))

    def _scanned(self, final: bool) -> Iterator[tuple[int, bytes]]:
        while (match := TOKENS.search(self.text, self.position)) is not None:
            token = match[0]
            open_ended = token == b'"' and len(self.text) - match.start() <= self.longest and self.text.find(b"\n", match.end()) < 0
            if open_ended and not final:
                return  # a text that goes on in the next block
            inside = len(self.open) > self.base
            if token == b"\n":
                self.line += 1
            elif token == b"{" or (token == b"[" and inside):
                if not inside:
                    yield from self._between(match.start())
                    self._opened(match.start())
                self.open += token
            elif token == b"[":
                if not self.open:
                    yield from self._between(match.start())
                    self.start, self.start_line = match.end(), self.line
                    self.open, self.base = token, 1
                else:  # a list among the values: a value of its own
                    yield from self._between(match.start())
                    self._opened(match.start())
                    self.open += token
            elif token in (b"}", b"]"):
                if inside and PAIRS[token] != self.open[-1:]:  # a bracket of the other kind: the value is not closed
                    yield self._given_up()
                    continue
                if inside:
                    self.open = self.open[:-1]
                    if len(self.open) == self.base:
                        value = self.text[self.start : match.end()]
                        if b"\n" + self.indent + b"{" in value and not _is_json(value):
                            yield self._given_up()  # a bracket that was not closed, and other values up to a stray one that closes it
                            continue
                        yield self.start_line, value
                        self.start, self.start_line = match.end(), self.line
                elif token == b"]" and self.base:
                    yield from self._between(match.start())
                    self.start, self.start_line = match.end(), self.line
                    self.open, self.base = b"", 0
            self.position = match.end()
            if len(self.open) > self.base and self.position - self.start > self.longest and token == b"\n":
                yield self._given_up()
        if not final:
            return
        self.position = len(self.text)

    def _opened(self, start: int) -> None:
        self.start, self.start_line = start, self.line
        if not self.known_indent:
            before = self.text[self.text.rfind(b"\n", 0, start) + 1 : start]
            self.known_indent, self.indent = True, before if not before.strip() else b""

    def _between(self, end: int) -> Iterator[tuple[int, bytes]]:
        """What stands between values and is no separator: each line of it a record that will be rejected."""
        for number, raw in enumerate(self.text[self.start : end].split(b"\n")):
            if text := raw.strip(BETWEEN):
                yield self.start_line + number, text
        self.start, self.start_line = end, self.line

    def _given_up(self) -> tuple[int, bytes]:
        """The open value up to the next line that begins as a value does, where the search goes on."""
        again = self.text.find(b"\n" + self.indent + b"{", self.start + 1)
        end = again + 1 if again >= 0 else len(self.text)
        found = self.start_line, self.text[self.start : end]
        self.line = self.start_line + found[1].count(b"\n")
        self.position = self.start = end
        self.start_line, self.open = self.line, self.open[: self.base]
        return found


def _is_json(value: bytes) -> bool:
    try:
        json.loads(value)  # NaN and Infinity, too, which orjson refuses
    except (ValueError, RecursionError):
        return False
    return True


def _opened_alone(lines: bytes) -> int | None:
    """Where the first line begins that is nothing but an opening bracket."""
    if lines.startswith(OPENED):
        return 0
    found = [place + 1 for line in OPENED if (place := lines.find(b"\n" + line)) >= 0]
    return min(found, default=None)


def _side_by_side(record: str) -> list[str]:
    """The values of a line, where it is an array, or nothing but values; none otherwise."""
    scan = _Scan(len(record) + 1)
    parts = [text for _, text in [*scan.fed(record.encode()), *scan.ended()]]
    values = record.startswith("[") or all(part.startswith((b"{", b"[")) for part in parts)
    return [part.decode() for part in parts] if values else []


class JsonReader(TextReader):
    """Objects are records; fields are reached by paths."""

    def text_file(self, file: LogFile, settings: JsonFormat, max_line_bytes: int) -> TextFile:
        options = (file.path, settings.encoding, max_line_bytes, settings.skip_lines, settings.comment, None, file.member)
        first = first_line(TextFile(*options))
        return JsonFile(*options, lines=first is None or _is_one_object(first[1].strip(" \t\r\n")))

    def columns(self, group: Group, settings: JsonFormat) -> list[str]:
        return []

    def resolve(self, path: str, group: Group, settings: JsonFormat) -> Resolved:
        """The part of a path that leads through keys and positions."""
        steps = steps_of(path)
        cut = plain_steps(steps)
        return pointer(steps[:cut]), steps[cut:]

    def query(self, fields: Sequence[str], group: Group, settings: JsonFormat) -> str:
        wanted = ", ".join(literal(name) for name in fields) or "'$'"
        # CASE and not AND: json_type fails on what is no JSON, and only CASE promises not to look at it.
        valid = (
            "CASE WHEN line_problem IS NOT NULL OR NOT json_valid(record) THEN false ELSE coalesce(json_type(record) = 'OBJECT', false) END"
        )
        inner = f"SELECT *, CASE WHEN valid THEN json_extract_string(record, [{wanted}]) END AS parts FROM (SELECT *, {valid} AS valid FROM lines)"
        # An escape that stands behind another backslash is a text that only looks like one.
        zero = r"contains(record, '\u0000') AND regexp_matches(record, '(?:^|[^\\])(?:\\\\)*\\u0000')"
        problem = f"CASE WHEN NOT valid THEN 'malformed line: not a JSON object' WHEN {zero} THEN 'NUL character' END"
        return selected(
            inner, problem, [clean(as_written(f"parts[{number}]", "record", name)) for number, name in enumerate(fields, start=1)]
        )
