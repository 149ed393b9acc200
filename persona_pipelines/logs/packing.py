"""What a file is by its first bytes, whatever its name says, and its content unpacked.

Of a file that is cut off, what it has is given out, ``break_found`` says where it ends, and ``truncated`` that the sum by which its packing would prove
it is missing: who loads it decides. One that is damaged is refused: what its packing notices at one byte may have gone wrong long before,
and any record may be false.
"""

from __future__ import annotations

import bz2
import fnmatch
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import zstandard
from isal import isal_zlib
from isal.igzip_lib import IsalError

FIRST_BYTES = 1 << 17
READ_BYTES = 1 << 20
HEAD_BYTES = 4096
MEMBER_BYTES = 1 << 16
"""So much of a zip archive's file is lost at the most before damage."""
DAMAGE: Any = (IsalError, zlib.error, OSError, lzma.LZMAError, zstandard.ZstdError)
DAMAGED = "damaged {}, and no record of it is sure; expected a whole file: fetch it again, or make it again"
PACKINGS = {"gzip": b"\x1f\x8b", "bzip2": b"BZh", "xz": b"\xfd7zXZ\0", "zstandard": b"\x28\xb5\x2f\xfd", "zip": b"PK\x03\x04"}
OTHERS = (
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook or other Office document"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\x1f\x9d", "a file packed by compress (.Z)"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"\x04\x22\x4d\x18", "a file packed by lz4"),
    (b"\x02\x21\x4c\x18", "a file packed by lz4"),
    (b"\xff\x06\0\0sNaPpY", "a file packed by snappy"),
    (b"LZIP", "a file packed by lzip"),
    (b"\x89LZO", "a file packed by lzop"),
    (b"]\0\0", "a file packed by lzma"),
    (b"MSCF", "a Windows cabinet"),
    (b"!<arch>\n", "a Unix archive"),
    (b"{\\rtf", "a document of rich text"),
)


class PackingError(ValueError):
    """A file holds something else than the text of records; the message says what it is and what to do."""


def packing_of(head: bytes) -> str | None:
    """How a file is packed: a key of ``PACKINGS``, None for a plain one."""
    found = next((name for name, magic in PACKINGS.items() if head.startswith(magic)), None)
    if head[1:4] == b"\x2a\x4d\x18" and 0x50 <= head[0] <= 0x5F:
        return "zstandard"  # begins with a frame to be skipped
    # Any text may begin with BZh: the level and the magic of a block follow.
    return None if found == "bzip2" and not (head[3:4].isdigit() and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")) else found


def refuse_other_things(head: bytes) -> None:
    """Raises PackingError where the first bytes are no text."""
    for magic, name in OTHERS:
        # ORC and Obj might begin a line of text, but then no control characters follow.
        if head.startswith(magic) and (not magic.isalnum() or any(byte < 9 for byte in head[:64])):
            raise PackingError(f"this is {name}; expected text, packed or not (or format: parquet for Parquet files)")
    if head[257:262] == b"ustar":
        raise PackingError("this is a tar archive; expected the files in it, unpacked or each packed by itself")
    start = head.lstrip(b"\xef\xbb\xbf \r\n\t")[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        raise PackingError("this is an HTML page, perhaps that of a log-in or an error; expected a log file")


def members(path: Path, wanted: str | None) -> list[str]:
    """The files in a zip archive that are to be read, in order of name.

    Raises:
        PackingError: it is an Excel workbook, damaged, or holds files of several kinds of which none was asked for.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise PackingError(f"this zip archive cannot be read ({error}); expected a whole one") from None
    names = [entry.filename for entry in entries]
    if "[Content_Types].xml" in names:
        kind = "an Excel workbook" if any(name.startswith("xl/") for name in names) else "an Office document"
        raise PackingError(f"this is {kind}; expected text: save it as CSV")
    files = sorted(entry.filename for entry in entries if not entry.is_dir() and not _is_bookkeeping(entry.filename))
    if twice := next((name for name in files if files.count(name) > 1), None):
        raise PackingError(f"this zip archive holds two files called {twice}; expected names that tell its files apart")
    if any(entry.flag_bits & 1 for entry in entries):
        raise PackingError("this zip archive asks for a password; expected one without")
    if wanted is not None:
        found = [name for name in files if fnmatch.fnmatch(name, wanted) or fnmatch.fnmatch(Path(name).name, wanted)]
        if not found:
            raise PackingError(f"no file in this zip archive matches member {wanted!r}; found {', '.join(files[:8]) or 'none'}")
        return found
    if len({Path(name).suffix.lower() for name in files}) > 1:
        raise PackingError(
            f"this zip archive holds {', '.join(files[:8])}; expected one kind of file, or format.member: a pattern that names it"
        )
    return files


def _is_bookkeeping(name: str) -> bool:
    return name.startswith("__MACOSX/") or Path(name).name.startswith(".")


@dataclass
class Unpacked:
    """The bytes of a file, or of one file of a zip archive; ``break_found`` is set once the reading has met its early end.

    ``blocks`` raises PackingError where the file is damaged or holds something else than text.
    """

    path: Path
    member: str | None = None
    break_found: str | None = field(default=None, init=False)
    truncated: bool = field(default=False, init=False)

    def blocks(self) -> Iterator[bytes]:
        if self.member is not None:
            yield from self._member()
            return
        with self.path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
            packing = packing_of(head)
            if packing is None:
                refuse_other_things(head)
                yield from _pieces(stream)
            elif packing == "zip":
                raise PackingError("this is a zip archive inside of another; expected text")
            else:
                yield from _checked(self._decompressed(stream, packing))

    def _member(self) -> Iterator[bytes]:
        assert self.member is not None
        consumed = 0

        def parts() -> Iterator[bytes]:
            nonlocal consumed
            try:
                with zipfile.ZipFile(self.path) as archive, archive.open(self.member or "") as stream:
                    while block := stream.read(MEMBER_BYTES):
                        consumed += len(block)
                        yield block
            except (NotImplementedError, RuntimeError) as error:
                raise PackingError(f"{self.member} in this zip archive cannot be unpacked ({error}); expected the usual deflate") from None
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, lzma.LZMAError):
                raise PackingError(DAMAGED.format(f"behind byte {consumed} of {self.member}")) from None

        yield from _checked(parts())

    def _decompressed(self, stream: BinaryIO, packing: str) -> Iterator[bytes]:
        """Members one after the other."""
        new_decoder = DECODERS[packing]
        decoder, consumed = new_decoder(), 0
        for piece in _pieces(stream):
            data = piece
            while data:
                try:
                    if out := decoder.decompress(data):
                        yield out
                except DAMAGE:
                    raise PackingError(
                        DAMAGED.format(f"between bytes {consumed} and {consumed + len(data)} of the compressed file")
                    ) from None
                if not decoder.eof:
                    consumed += len(data)
                    break
                consumed += len(data) - len(decoder.unused_data)
                data = decoder.unused_data.lstrip(b"\0")  # padding between or after members is allowed
                if len(data) >= 10 and packing_of(data) != packing:
                    self.break_found = f"what follows byte {consumed} of the compressed file is something else"
                    return
                if data:
                    decoder = new_decoder()
        if not decoder.eof and consumed:
            self.truncated = True
            self.break_found = f"truncated: the compressed file ends at byte {consumed}, in the middle of its data"


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    """A file in large pieces, the first one small: whoever asks for a header alone waits for little."""
    size = min(FIRST_BYTES, READ_BYTES)
    while data := stream.read(size):
        yield data
        size = READ_BYTES


DECODERS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: isal_zlib.decompressobj(wbits=31),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zstandard": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


def _checked(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks; the first one says whether text was packed at all."""
    first = True
    for block in blocks:
        if first:
            if packing_of(block):
                raise PackingError("this file is packed twice; expected text packed once")
            refuse_other_things(block[:HEAD_BYTES])
            first = False
        yield block
