"""Text files as numbered lines, whatever state they are in.

Every line keeps its exact number and every byte is accounted for: invalid UTF-8, NUL bytes and huge lines mark that line
alone; a damaged archive yields each whole line before the break. Blank lines are no records. Lines come as Arrow batches
made from offsets into the decompressed block, so that reading costs less than the parsing that follows.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
from isal import isal_zlib
from isal.igzip_lib import IsalError

READ_BYTES = 1 << 20
BLOCK_BYTES = 8 << 20
SHOWN_CHARACTERS = 1000
SCHEMA = pa.schema([("source_line", pa.int64()), ("record", pa.string()), ("line_problem", pa.string())])
DAMAGE: Any = (IsalError, zlib.error)
NEWLINE, CARRIAGE_RETURN = 10, 13
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass
class TextFile:
    """One file to read. After ``batches`` is exhausted, ``records`` and ``break_found`` tell what was in it."""

    path: Path
    encoding: str = "utf-8"
    max_line_bytes: int = 1 << 20
    skip_lines: int = 0
    records: int = field(default=0, init=False)
    break_found: str | None = field(default=None, init=False)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Record batches with the columns of ``SCHEMA``; ``record`` still ends in its line break."""
        line, rest, first = 1, b"", True
        skipping = False  # inside a line longer than allowed, whose beginning has already been given out
        with self.path.open("rb") as stream:
            for block in _joined(self._decompressed(stream)):
                if first:
                    block, first = block.removeprefix(BYTE_ORDER_MARK), False
                if self.encoding == "latin-1":
                    block = block.decode("latin-1").encode()
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
                    yield self._single(rest, line, f"line longer than {self.max_line_bytes} bytes")
                    rest, skipping = b"", True
        if rest.strip(b"\r\n"):
            if self.break_found:
                yield self._single(rest, line, "cut off: the file is damaged here")
            else:
                batch, line = self._batch(rest + b"\n", line)
                yield batch

    def _decompressed(self, stream: BinaryIO) -> Iterator[bytes]:
        suffix = self.path.suffix.lower()
        if suffix == ".gz":
            yield from self._gunzipped(stream)
        elif suffix in (".bz2", ".xz"):
            yield from self._unpacked(stream, bz2.BZ2Decompressor if suffix == ".bz2" else lzma.LZMADecompressor)
        else:
            while block := stream.read(READ_BYTES):
                yield block

    def _gunzipped(self, stream: BinaryIO) -> Iterator[bytes]:
        """Members one after the other. ISA-L decodes; where it stops at damage, zlib walks the last stretch byte by byte."""
        decoder: Any = isal_zlib.decompressobj(wbits=31)
        produced = consumed = 0
        while data := stream.read(READ_BYTES):
            while data:
                try:
                    out = decoder.decompress(data)
                except DAMAGE as error:
                    self.break_found = f"damaged near byte {consumed} of the compressed file ({error})"
                    yield from _salvaged(self.path, produced)
                    return
                if out:
                    produced += len(out)
                    yield out
                if not decoder.eof:
                    consumed += len(data)
                    break
                consumed += len(data) - len(decoder.unused_data)
                data = decoder.unused_data.lstrip(b"\0")  # padding between or after members is allowed
                if data:
                    decoder = isal_zlib.decompressobj(wbits=31)
        if not decoder.eof and consumed:
            self.break_found = f"truncated: the compressed file ends at byte {consumed}, in the middle of its data"

    def _unpacked(self, stream: BinaryIO, new_decoder: Any) -> Iterator[bytes]:
        decoder, consumed = new_decoder(), 0
        while data := stream.read(READ_BYTES):
            while data:
                try:
                    if out := decoder.decompress(data):
                        yield out
                except (OSError, lzma.LZMAError) as error:
                    self.break_found = f"damaged near byte {consumed} of the compressed file ({error})"
                    return
                consumed += len(data)
                data = decoder.unused_data if decoder.eof else b""
                if data:
                    decoder = new_decoder()
        if not decoder.eof and consumed:
            self.break_found = f"truncated: the compressed file ends at byte {consumed}, in the middle of its data"

    def _batch(self, block: bytes, line: int) -> tuple[pa.RecordBatch, int]:
        """The whole lines of a block, and the number of the line after them."""
        characters = np.frombuffer(block, dtype=np.uint8)
        ends = np.flatnonzero(characters == NEWLINE).astype(np.int32) + 1
        offsets = np.concatenate([np.zeros(1, dtype=np.int32), ends])
        numbers = np.arange(line, line + len(ends), dtype=np.int64)
        records = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))
        problems: pa.Array = pa.nulls(len(ends), pa.string())
        lengths = np.diff(offsets)
        try:
            records.validate(full=True)
            sound = b"\0" not in block and int(lengths.max()) <= self.max_line_bytes
        except pa.ArrowInvalid:
            sound = False
        if not sound:
            texts, found = zip(*(self._judged(block[offsets[i] : offsets[i + 1]]) for i in range(len(ends))), strict=True)
            records, problems = pa.array(texts, pa.string()), pa.array(found, pa.string())
        blank = (lengths == 1) | ((lengths == 2) & (characters[offsets[:-1]] == CARRIAGE_RETURN))
        keep = ~blank & (numbers > self.skip_lines)
        batch = pa.record_batch([pa.array(numbers), records, problems], schema=SCHEMA)
        if not keep.all():
            batch = batch.filter(pa.array(keep))
        self.records += batch.num_rows
        return batch, line + len(ends)

    def _judged(self, raw: bytes) -> tuple[str, str | None]:
        if len(raw) > self.max_line_bytes:
            return _shown(raw), f"line longer than {self.max_line_bytes} bytes"
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return raw.decode(errors="backslashreplace"), "invalid UTF-8"
        return (text.replace("\0", "\\x00"), "NUL byte") if "\0" in text else (text, None)

    def _single(self, raw: bytes, line: int, problem: str) -> pa.RecordBatch:
        self.records += 1
        return pa.record_batch([pa.array([line], pa.int64()), pa.array([_shown(raw)]), pa.array([problem])], schema=SCHEMA)


def _joined(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks of about ``BLOCK_BYTES``: small ones cost more in handling than in reading."""
    gathered: list[bytes] = []
    size = 0
    for block in blocks:
        gathered.append(block)
        size += len(block)
        if size >= BLOCK_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


def _salvaged(path: Path, skip: int) -> Iterator[bytes]:
    """What zlib gets out of a damaged gzip beyond the first ``skip`` bytes of output, to the last byte before the break."""
    position = 0
    for out in _zlib_outputs(path):
        if position + len(out) > skip:
            yield out[max(0, skip - position) :]
        position += len(out)


def _zlib_outputs(path: Path) -> Iterator[bytes]:
    decoder = zlib.decompressobj(wbits=31)
    with path.open("rb") as stream:
        while data := stream.read(4096):
            step = len(data)
            while data:
                before = decoder.copy()
                try:
                    out = decoder.decompress(data[:step])
                except zlib.error:
                    if step == 1:
                        return
                    decoder, step = before, 1  # once more, byte by byte, up to the break
                    continue
                yield out
                data = decoder.unused_data + data[step:]
                if decoder.eof:
                    decoder = zlib.decompressobj(wbits=31)


def _shown(raw: bytes) -> str:
    return raw[:SHOWN_CHARACTERS].decode(errors="backslashreplace").replace("\0", "\\x00") + " ..."


def first_line(path: Path, encoding: str = "utf-8") -> str | None:
    """The first line of a file without its line break, or None of an empty file."""
    file = TextFile(path, encoding=encoding)
    for batch in file.batches():
        return str(batch.column("record")[0].as_py()).rstrip("\r\n")
    return None
