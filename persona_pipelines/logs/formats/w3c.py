"""W3C Extended Log File Format (w3.org/TR/WD-logfile.html), as IIS, CloudFront, NetScaler and others write it.

The names of the fields stand in ``#Fields:`` lines, which may change in the middle of a file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from persona_pipelines.logs.files import LogFile
from persona_pipelines.logs.formats.lines import SCHEMA, TextFile, beginning_with
from persona_pipelines.logs.formats.reader import Group, Resolved, TextReader, selected
from persona_pipelines.logs.formats.sql import HeaderError, clean
from persona_pipelines.settings.formats import W3CFormat
from persona_pipelines.warehouse.quoting import literal

FIELDS = b"#fields:"
INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff]")


def field_names(line: str) -> list[str]:
    """The names of a ``#Fields:`` line."""
    return INVISIBLE.sub("", line.partition(":")[2]).split()


@dataclass
class W3CFile(TextFile):
    """Lines with the names in force at each: ``layout``, separated by tabs; null before the first."""

    layouts: list[str | None] = field(default_factory=lambda: [None], init=False)

    @property
    def schema(self) -> pa.Schema:
        return SCHEMA.append(pa.field("layout", pa.string()))

    def _left_out(self, block: bytes, offsets: np.ndarray) -> np.ndarray:
        out = super()._left_out(block, offsets)
        # The layout of a block's lines: the last one before it, and its own, by number.
        self.layouts = self.layouts[-1:]
        self.numbers = np.zeros(len(out), dtype=np.int32)
        for number in beginning_with(b"#", block, offsets):
            line = block[offsets[number] : offsets[number + 1]]
            out[number] = True
            if line[: len(FIELDS)].lower() == FIELDS:
                self.layouts.append("\t".join(field_names(line.decode(errors="replace"))))
                self.numbers[number:] = len(self.layouts) - 1
        for number in [*beginning_with(b" ", block, offsets), *beginning_with(b"\t", block, offsets)]:
            out[number] |= not block[offsets[number] : offsets[number + 1]].strip()
        return out

    def _record_batch(
        self, numbers: np.ndarray, parts: np.ndarray, records: pa.Array, problems: pa.Array, block: bytes, offsets: np.ndarray
    ) -> pa.RecordBatch:
        layout = pa.array(self.layouts[-1:] * len(numbers), pa.string())
        if block:
            layout = pa.array(self.layouts, pa.string()).take(pa.array(self.numbers))
        return pa.record_batch([pa.array(numbers), pa.array(parts), records, problems, layout], schema=self.schema)


class W3CReader(TextReader):
    """Values between blanks or tabs, quoted or not; ``-`` is a missing value."""

    def text_file(self, file: LogFile, settings: W3CFormat, max_line_bytes: int) -> TextFile:
        return W3CFile(file.path, settings.encoding, max_line_bytes, settings.skip_lines, settings.comment, member=file.member)

    def header(self, file: LogFile, settings: W3CFormat, max_line_bytes: int) -> tuple[str, int] | None:
        """The names that the first record has which has any: which others a file has is seen line by line."""
        for batch in self.text_file(file, settings, max_line_bytes).batches():
            layouts = batch.column("layout").drop_null()
            return layouts[0].as_py() if len(layouts) else "", settings.skip_lines
        return None

    def groups(self, files: Sequence[LogFile], settings: W3CFormat, max_line_bytes: int):  # type: ignore[no-untyped-def]
        for group in super().groups(files, settings, max_line_bytes):
            for text in group.texts or []:
                text.header = None
            yield group

    def resolve(self, path: str, group: Group, settings: W3CFormat) -> Resolved:
        """Any name: which fields a file has may change from line to line, and one that is not logged is missing."""
        if not group.header:
            raise HeaderError("no #Fields: line before the first record; is this a log in another format?")
        return path, ()

    def columns(self, group: Group, settings: W3CFormat) -> list[str]:
        return [name for name in group.header.split("\t") if name]

    def query(self, fields: Sequence[str], group: Group, settings: W3CFormat) -> str:
        quoted = r'"(?:[^"]|"")*"|\S+'
        words = (
            f"list_transform(regexp_extract_all(record, {literal(quoted)}), lambda word: CASE WHEN starts_with(word, '\"') AND length(word) > 1 "
            "THEN replace(substr(word, 2, length(word) - 2), '\"\"', '\"') ELSE word END)"
        )
        split = f"CASE WHEN contains(record, chr(9)) THEN string_split(rtrim(record, chr(9)), chr(9)) ELSE {words} END"
        inner = (
            f"SELECT *, CASE WHEN line_problem IS NULL THEN {split} END AS parts, "
            f"CASE WHEN line_problem IS NULL THEN string_split(layout, chr(9)) END AS names FROM lines"
        )
        other = "<" if settings.further_columns == "ignore" else "<>"
        problem = (
            "CASE WHEN names IS NULL THEN 'malformed line: no #Fields: line before it' "
            f"WHEN len(parts) {other} len(names) THEN 'malformed line: ' || len(parts) || ' columns instead of ' || len(names) END"
        )
        values = [f"nullif({clean(f'parts[list_position(names, {literal(name)})]')}, '-')" for name in fields]
        return selected(inner, problem, values)
