"""Text in any encoding -> UTF-8, block by block, with line breaks as line feeds.

What cannot be decoded becomes bytes that are no UTF-8, so that the reader of lines finds it and marks its line alone.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator

from persona_pipelines.logs.packing import PackingError

MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
ESCAPE = "persona-escape"
LONGEST_MARK, HEAD_BYTES, SHORTEST = 4, 4096, 8


def _escaped(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error(ESCAPE, _escaped)


def as_utf8(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The text as UTF-8 without a mark at its begin; a mark in the file wins over ``encoding``.

    A file without any line feed in its first block but with carriage returns ends its lines with these.

    Raises:
        PackingError: the bytes are no text in this encoding at all.
    """
    decoder: codecs.IncrementalDecoder | None = None
    head, started, carriage_returns = b"", False, False
    for incoming in blocks:
        block = incoming
        first = not started
        if first:
            head += block
            if len(head) < LONGEST_MARK:
                continue
            block, started = head, True
            block, decoder = _begun(block, encoding)
            carriage_returns = decoder is None and _by_carriage_returns(block)
        text = _decoded(block, decoder, encoding)
        if first and decoder is not None and _by_carriage_returns(text):
            carriage_returns = True
        yield text.replace(b"\r", b"\n") if carriage_returns else text
    if not started and head:
        block, decoder = _begun(head, encoding)
        text = _decoded(block, decoder, encoding)
        yield text.replace(b"\r", b"\n") if _by_carriage_returns(text) else text
    if decoder is not None and (rest := _decoded(b"", decoder, encoding, final=True)):
        yield rest


def _by_carriage_returns(block: bytes) -> bool:
    """Whether lines end in carriage returns alone; the last one may end otherwise, as an editor left it."""
    inside = block.rstrip(b"\r\n")
    return b"\n" not in inside and (b"\r" in inside or (b"\r" in block and b"\n" not in block))


def _begun(block: bytes, encoding: str) -> tuple[bytes, codecs.IncrementalDecoder | None]:
    """The first block without its mark, and what decodes it and what follows; None where it is UTF-8 already."""
    found = next(((mark, name) for mark, name in MARKS if block.startswith(mark)), None)
    if found:
        block, encoding = block[len(found[0]) :], found[1]
    elif b"\0" not in "a".encode(encoding):
        _refuse_wide_characters(block)
    if encoding == "utf-8":
        return block, None
    return block, codecs.getincrementaldecoder(encoding)(ESCAPE)


def _refuse_wide_characters(block: bytes) -> None:
    if order := wide_characters(block):
        raise PackingError(f"this is a UTF-16 text without a mark; set encoding: {order}")
    head = block[:HEAD_BYTES]
    if len(head) >= SHORTEST and head.count(0) > len(head) // 3:
        raise PackingError("this is no text: a third of its first bytes are zero; expected a log file")


def wide_characters(block: bytes) -> str | None:
    """UTF-16 in one order or the other, where the first bytes of a text without a mark look like it."""
    head = block[:HEAD_BYTES]
    zeros = head.count(0)
    if len(head) < SHORTEST or not len(head) // 3 < zeros < 0.8 * len(head):
        return None
    even = head[::2].count(0)
    return None if 0.1 * zeros <= even <= 0.9 * zeros else "utf-16-be" if even > zeros // 2 else "utf-16-le"


def guessed(block: bytes) -> str:
    """The encoding of a text by its first block: UTF-8 where it is none of another."""
    if any(block.startswith(mark) for mark, _ in MARKS):
        return "utf-8"
    if order := wide_characters(block):
        return order
    for encoding in ("utf-8", "windows-1252"):
        try:
            codecs.getincrementaldecoder(encoding)().decode(block)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def _decoded(block: bytes, decoder: codecs.IncrementalDecoder | None, encoding: str, *, final: bool = False) -> bytes:
    """A block as UTF-8.

    Raises:
        PackingError: this encoding cannot even begin here.
    """
    if decoder is None:
        return block
    try:
        return decoder.decode(block, final).encode("utf-8", "surrogatepass")
    except UnicodeError as error:
        order = wide_characters(block)
        wide = encoding.replace("_", "-").lower() in ("utf-16", "utf-32")
        expected = f"encoding: {order}" if order else "a mark at its begin, or the encoding that it has"
        reason = "there is no mark at its begin" if wide else str(error)
        raise PackingError(f"this is no text in {encoding}: {reason}; expected {expected}") from None
