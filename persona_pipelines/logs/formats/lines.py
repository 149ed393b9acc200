"""Text files as numbered records, whatever state they are in.

Every line keeps its exact number and every byte is accounted for: invalid text, NUL bytes and huge lines mark that line
alone; a damaged archive yields each whole line before the break. Blank lines are no records, nor are those that the
format's settings leave out. Lines come as Arrow batches made from offsets into the decompressed block, so that reading
costs less than the parsing that follows.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from persona_pipelines.logs.encoding import as_utf8
from persona_pipelines.logs.packing import PackingError, Unpacked

BLOCK_BYTES = 8 << 20
SHOWN_CHARACTERS = 1000
SCHEMA = pa.schema([("source_line", pa.int64()), ("part", pa.int32()), ("record", pa.string()), ("line_problem", pa.string())])
NEWLINE, CARRIAGE_RETURN = 10, 13
MARK = codecs.BOM_UTF8
SURROGATES = re.compile("[\ud800-\udfff]")
WORD = re.compile(r"\w+")
C1_CONTROLS = re.compile("[\x80-\x84\x86-\x9f]")  # not the next line, which some hosts write


@dataclass
class TextFile:
    """One file to read. After ``batches`` is exhausted, ``records`` and ``break_found`` tell what was in it.

    Args:
        comment: lines that begin with it are left out.
        skip_lines: so many lines at the head are left out.
        header: a line equal to it is left out, wherever it stands: files with headers are often joined.
    """

    path: Path
    encoding: str = "utf-8"
    max_line_bytes: int = 1 << 20
    skip_lines: int = 0
    comment: str | None = None
    header: str | None = None
    member: str | None = None
    records: int = field(default=0, init=False)
    break_found: str | None = field(default=None, init=False)
    truncated: bool = field(default=False, init=False)

    @property
    def schema(self) -> pa.Schema:
        return SCHEMA

    def blocks(self) -> Iterator[bytes]:
        """The text as UTF-8 in large blocks."""
        unpacked = Unpacked(self.path, self.member)
        yield from _joined(without_marks(as_utf8(unpacked.blocks(), self.encoding)))
        self.break_found, self.truncated = unpacked.break_found, unpacked.truncated

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches with the columns of ``schema``; ``record`` is the text without the line break at its end."""
        line, rest = 1, b""
        skipping = False  # inside a line longer than allowed, whose beginning has already been given out
        for incoming in self.blocks():
            block = incoming
            if skipping:
                end = block.find(b"\n")
                if end < 0:
                    continue
                block, line, skipping = block[end + 1 :], line + 1, False
            block = rest + block if rest else block
            last = block.rfind(b"\n")
            rest, whole = block[last + 1 :], block[: last + 1]
            if whole:
                batch, line = self._batch(whole, line)
                if batch.num_rows:
                    yield batch
            if len(rest) > self.max_line_bytes:
                yield self.single(rest, line, f"line longer than {self.max_line_bytes} bytes")
                rest, skipping = b"", True
        if rest.strip(b"\r\n"):
            if self.break_found:
                yield self.single(rest, line, "cut off: the file is damaged here")
            else:
                batch, line = self._batch(rest + b"\n", line)
                if batch.num_rows:
                    yield batch

    def _batch(self, block: bytes, line: int) -> tuple[pa.RecordBatch, int]:
        """The whole lines of a block, and the number of the line after them."""
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == NEWLINE).astype(np.int32) + 1
        return self.batch_of(block, ends, np.arange(line, line + len(ends), dtype=np.int64)), line + len(ends)

    def batch_of(self, block: bytes, ends: np.ndarray, numbers: np.ndarray) -> pa.RecordBatch:
        """The records that end at ``ends`` in a block, each with the number of the line it begins on."""
        characters = np.frombuffer(block, dtype=np.uint8)
        offsets = np.concatenate([np.zeros(1, dtype=np.int32), ends])
        records = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))
        problems: pa.Array = pa.nulls(len(ends), pa.string())
        lengths = np.diff(offsets)
        try:
            records.validate(full=True)
            sound = b"\0" not in block and int(lengths.max()) <= self.max_line_bytes
        except pa.ArrowInvalid:
            sound = False
        if sound and self.encoding == "iso8859-1":
            sound = C1_CONTROLS.search(block.decode()) is None
        if not sound:
            texts, found = zip(*(self.judged(block[offsets[i] : offsets[i + 1]]) for i in range(len(ends))), strict=True)
            records, problems = pa.array(texts, pa.string()), pa.array(found, pa.string())
        records = pc.ascii_rtrim(records, characters="\r\n")  # the engine's own would go through the whole text for its end
        blank = (lengths == 1) | ((lengths == 2) & (characters[offsets[:-1]] == CARRIAGE_RETURN))
        keep = ~blank & (numbers > self.skip_lines) & ~self._left_out(block, offsets)
        batch = self._record_batch(numbers, np.ones(len(ends), dtype=np.int32), records, problems, block, offsets)
        if not keep.all():
            batch = batch.filter(pa.array(keep))
        self.records += batch.num_rows
        return batch

    def _record_batch(
        self, numbers: np.ndarray, parts: np.ndarray, records: pa.Array, problems: pa.Array, block: bytes, offsets: np.ndarray
    ) -> pa.RecordBatch:
        return pa.record_batch([pa.array(numbers), pa.array(parts), records, problems], schema=SCHEMA)

    def _left_out(self, block: bytes, offsets: np.ndarray) -> np.ndarray:
        """Which records are comments or repeat the header."""
        out = np.zeros(len(offsets) - 1, dtype=bool)
        if self.comment:
            out[beginning_with(self.comment.encode(), block, offsets)] = True
        if self.header:
            for number in beginning_with(self.header.encode(), block, offsets):
                out[number] |= block[offsets[number] : offsets[number + 1]].strip() == self.header.encode().strip()
            for number in permuted(self.header.encode(), block, offsets):
                if not out[number]:
                    raise PackingError(
                        f"{block[offsets[number] : offsets[number + 1]].rstrip().decode()!r} stands in the middle, and the header is {self.header!r}: files whose "
                        "columns are in another order were joined; expected each by itself"
                    )
        return out

    def judged(self, raw: bytes) -> tuple[str, str | None]:
        """A line as text, and what is wrong with it."""
        if len(raw) > self.max_line_bytes:
            return _shown(raw), f"line longer than {self.max_line_bytes} bytes"
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return _readable(raw), "invalid UTF-8" if self.encoding == "utf-8" else f"not readable as {self.encoding}"
        if "\0" in text:
            return text.replace("\0", "\\x00"), "NUL byte"
        if self.encoding == "iso8859-1" and (control := C1_CONTROLS.search(text)):
            return text, f"control character U+{ord(control[0]):04X}: the file is rather windows-1252 than latin-1"
        return text, None

    def single(self, raw: bytes, line: int, problem: str) -> pa.RecordBatch:
        """A record that cannot be used, alone."""
        self.records += 1
        numbers, parts = np.array([line], dtype=np.int64), np.ones(1, dtype=np.int32)
        return self._record_batch(numbers, parts, pa.array([_shown(raw)]), pa.array([problem]), b"", np.zeros(2, dtype=np.int32))

    def gathered(self, records: list[tuple[int, int, bytes]]) -> pa.RecordBatch:
        """A batch of records given as line, number within the line, and bytes."""
        texts, problems = zip(*(self.judged(raw.rstrip(b"\r\n")) for _, _, raw in records), strict=True)
        self.records += len(records)
        numbers = np.array([line for line, _, _ in records], dtype=np.int64)
        parts = np.array([part for _, part, _ in records], dtype=np.int32)
        return self._record_batch(
            numbers, parts, pa.array(texts, pa.string()), pa.array(problems, pa.string()), b"", np.zeros(2, dtype=np.int32)
        )


def beginning_with(begin: bytes, block: bytes, offsets: np.ndarray) -> list[int]:
    """The numbers of the records in a block that begin with some bytes."""
    found = [0] if block.startswith(begin) else []
    position = block.find(b"\n" + begin)
    while position >= 0:
        number = int(np.searchsorted(offsets, position + 1))
        if number < len(offsets) - 1 and offsets[number] == position + 1:  # not a line inside of a record
            found.append(number)
        position = block.find(b"\n" + begin, position + 1)
    return found


def permuted(header: bytes, block: bytes, offsets: np.ndarray) -> list[int]:
    """The numbers of the records that are made of the same words as a header, and of the same characters."""
    lengths, characters = np.diff(offsets), np.frombuffer(block, dtype=np.uint8)
    total = int(np.frombuffer(header, dtype=np.uint8).sum())
    candidates = [np.flatnonzero(lengths == len(header) + size) for size in (1, 2)]
    found = []
    for numbers in candidates:
        if len(numbers):
            cells = characters[offsets[numbers][:, None] + np.arange(len(header))]
            found += numbers[cells.sum(axis=1, dtype=np.int64) == total].tolist()
    wanted = _words(header)
    return [number for number in found if _words(block[offsets[number] : offsets[number] + len(header)]) == wanted]


def _words(line: bytes) -> list[str]:
    return sorted(WORD.findall(line.decode(errors="replace")))


def _joined(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks of about ``BLOCK_BYTES`` behind the first, which goes as it comes: small ones cost more in handling than in reading."""
    gathered: list[bytes] = []
    size = 0
    if first := next(blocks, None):
        yield first
    for block in blocks:
        gathered.append(block)
        size += len(block)
        if size >= BLOCK_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


def without_marks(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Text without byte order marks at the begin of lines: files that were joined have them in their middle."""
    held, begins = b"", True
    for incoming in blocks:
        block = held + incoming
        cut = next((number for number in (1, 2) if block[-number:] == MARK[:number] and (block[:-number] or b"\n").endswith(b"\n")), 0)
        block, held = (block[: len(block) - cut], block[len(block) - cut :]) if cut else (block, b"")
        if MARK in block:
            block = block[len(MARK) :] if begins and block.startswith(MARK) else block
            block = block.replace(b"\n" + MARK, b"\n")
        if block:
            begins = block.endswith(b"\n")
            yield block
    if held:
        yield held


def _readable(raw: bytes) -> str:
    """Bytes as text, with what is no character as ``\\xNN``; bytes that an encoding did not know stand as low surrogates."""
    try:
        text = raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw.decode(errors="backslashreplace").replace("\0", "\\x00")
    return SURROGATES.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", text).replace("\0", "\\x00")


def _shown(raw: bytes) -> str:
    return raw[:SHOWN_CHARACTERS].decode(errors="backslashreplace").replace("\0", "\\x00") + " ..."


def first_line(file: TextFile) -> tuple[int, str] | None:
    """The first line that is no blank one, comment or to be skipped, and its number; None where there is none."""
    batch = next(file.batches(), None)
    return None if batch is None else (batch.column("source_line")[0].as_py(), batch.column("record")[0].as_py())
