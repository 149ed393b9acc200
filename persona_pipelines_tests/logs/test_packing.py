"""Files packed by Python's own modules and encoded by its codecs: read equal, told apart by their bytes, used as far as they go, and refused where damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import random
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from persona_pipelines.logs.files import LogFileError
from persona_pipelines.settings import ConfigurationError
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.logs.test_round_trips import Read, blocks_of, read

__all__ = ["read"]


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


Pack = Callable[[bytes], bytes]
PACKINGS: dict[str, Pack] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstandard": zstandard.ZstdCompressor().compress,
    "zip": lambda content: zipped(("log.csv", content)),
    "zip, stored": lambda content: zipped(("log.csv", content), method=zipfile.ZIP_STORED),
    "zip by bzip2": lambda content: zipped(("log.csv", content), method=zipfile.ZIP_BZIP2),
    "zip by LZMA": lambda content: zipped(("log.csv", content), method=zipfile.ZIP_LZMA),
}
STREAMS = ["gzip", "bzip2", "xz", "zstandard"]
FIELDS = {"item_id": "a", "campaign": "b"}
TABLE = st.lists(st.tuples(st.text("abé子", max_size=4), st.text("xyz 1", max_size=4).map(str.strip)), max_size=8)


def csv_text(table) -> bytes:
    return ("a,b\n" + "".join(f"{one},{other}\n" for one, other in table)).encode()


def expected_rows(table) -> list[tuple]:
    return [(line, one or None, other or None) for line, (one, other) in enumerate(table, start=2) if one or other]


@law(25)
@given(
    tables=st.lists(TABLE, min_size=1, max_size=3),
    packed=st.sampled_from(["plain", *PACKINGS]),
    ending=st.sampled_from(["csv", "gz", "zip", "json.bz2", "parquet", "dat"]),
    block=st.sampled_from([None, 3, 50]),
)
def test_a_packing_is_known_by_its_bytes_whatever_the_name_says(read: Read, monkeypatch, tables, packed: str, ending: str, block) -> None:
    contents = [PACKINGS.get(packed, bytes)(csv_text(table)) for table in tables]
    if packed.startswith("zip"):
        contents, tables = contents[:1], tables[:1]
    with blocks_of(block if not packed.startswith("zip") else None):
        found = read_named(read, contents, ending, packed.startswith("zip"))
    for file, table in zip(found, tables, strict=True):
        assert (file[0], file[1]) == (expected_rows(table), [])


def read_named(read: Read, contents: list[bytes], ending: str, zip_archive: bool) -> list[tuple]:
    if not zip_archive:
        return [(file.good, file.problems) for file in read("csv", contents, FIELDS, ending=ending)]
    return [(file.good, file.problems) for file in read_members(read, contents[0], ["log.csv"], ending)]


def read_members(read: Read, content: bytes, names: list[str], ending: str = "zip", **fmt) -> list:
    """What came of each file of a zip archive."""
    return read({"type": "csv", **fmt}, [content], FIELDS, ending=ending, members=names)


@law(15)
@given(tables=st.lists(TABLE, min_size=2, max_size=4), packed=st.sampled_from(STREAMS), zeros=st.sampled_from([0, 4, 512]))
def test_packed_files_put_together_read_as_one(read: Read, tables, packed: str, zeros: int) -> None:
    whole = csv_text([row for table in tables for row in table])
    cuts = sorted({len(whole) * number // len(tables) for number in range(len(tables) + 1)})
    content = b"".join(PACKINGS[packed](whole[begin:end]) for begin, end in itertools.pairwise(cuts))
    if packed == "gzip":
        content += b"\0" * zeros  # padding that the format allows
    (file,) = read("csv", [content], FIELDS)
    assert (file.good, file.problems, file.break_found) == (expected_rows([row for table in tables for row in table]), [], None)


@pytest.mark.slow
@law(10)
@given(
    tables=st.lists(TABLE.filter(bool), min_size=1, max_size=4),
    method=st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
)
def test_every_file_of_a_zip_archive_is_read(read: Read, tables, method: int) -> None:
    names = [f"part {number}/log é{number}.csv" for number in range(len(tables))]
    content = zipped(
        *((name, csv_text(table)) for name, table in zip(names, tables, strict=True)),
        ("__MACOSX/._log.csv", b"\0\5\x16\7"),
        ("part 0/.DS_Store", b"x"),
        method=method,
    )
    for file, table in zip(read_members(read, content, names), tables, strict=True):
        assert (file.good, file.problems, file.break_found) == (expected_rows(table), [], None)


def long_table(lines: int) -> list[tuple[str, str]]:
    chance = random.Random(7)
    return [(f"{number}", f"{chance.getrandbits(64):x}") for number in range(lines)]


@pytest.mark.slow
@law(16)
@example(packed="bzip2", share=0.4)
@given(packed=st.sampled_from(STREAMS), share=st.floats(0.02, 0.999))
def test_a_truncated_file_gives_whole_lines_and_says_so(read: Read, packed: str, share: float) -> None:
    table = long_table(20_000 if packed in ("bzip2", "zstandard") else 3000)
    content = PACKINGS[packed](csv_text(table))
    cut = [content[: max(12, int(len(content) * share))]]
    with pytest.raises(LogFileError, match=r"log-2025-09-01-000\.txt: truncated: .*; expected a whole file: fetch it again"):
        read("csv", cut, FIELDS)
    (file,) = read("csv", cut, FIELDS, general={"logs": {"settle_seconds": 0, "use_truncated": True}})
    assert file.break_found is not None
    assert file.good == expected_rows(table)[: len(file.good)]
    assert len(file.problems) <= 1
    if packed in ("gzip", "xz"):
        assert len(file.good) >= (share - 0.1) * len(table) - 10


@pytest.mark.slow
@pytest.mark.parametrize("packed", ["gzip", "bzip2", "xz", "zstandard"])
@pytest.mark.parametrize("bits", [1, 2400])
def test_a_damaged_file_is_refused_because_any_record_may_be_false(read: Read, packed: str, bits: int) -> None:
    """One bit is often noticed at the end alone, by the sum of all."""
    compressor: Pack = PACKINGS[packed] if packed != "zstandard" else zstandard.ZstdCompressor(write_checksum=True).compress
    content = bytearray(compressor(csv_text(long_table(30_000))))
    chance, middle = random.Random(3), len(content) * 9 // 10
    for bit in range(bits):
        content[middle + bit // 8] ^= 1 << chance.randrange(8)
    with pytest.raises(
        LogFileError, match=r"log-2025-09-01-000.txt: damaged between bytes \d+ and \d+ of the compressed file, and no record of it is sure"
    ):
        read("csv", [bytes(content)], FIELDS)


@pytest.mark.slow
@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2])
def test_a_damaged_zip_archive_is_refused(read: Read, method: int) -> None:
    content = bytearray(zipped(("log.csv", csv_text(long_table(60_000))), method=method))
    content[len(content) * 9 // 10] ^= 8
    with pytest.raises(LogFileError, match=r"log.csv: damaged behind byte \d+ of log.csv, and no record"):
        read_members(read, bytes(content), ["log.csv"])


def test_two_files_of_one_name_in_a_zip_archive_are_refused(read: Read) -> None:
    with pytest.warns(UserWarning, match="Duplicate"):
        content = zipped(("a.csv", b"a,b\n1,2\n"), ("a.csv", b"a,b\n3,4\n"))
    with pytest.raises(LogFileError, match=r"two files called a\.csv"):
        read_members(read, content, ["a.csv"])


@pytest.mark.parametrize("packed", STREAMS)
def test_what_follows_a_packed_file_is_no_part_of_it_and_is_said(read: Read, packed: str) -> None:
    (file,) = read("csv", [PACKINGS[packed](b"a,b\n1,2\n") + b"<html>some page"], FIELDS)
    assert file.good == [(2, "1", "2")]
    assert "something else" in (file.break_found or "")


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_truncated_zip_archive_is_refused_because_its_list_of_files_stands_at_its_end(read: Read, share: float) -> None:
    content = zipped(("log.csv", csv_text(long_table(500))))
    with pytest.raises(LogFileError, match=r"this zip archive cannot be read .*; expected a whole one"):
        read_members(read, content[: int(len(content) * share)], ["log.csv"])


@pytest.mark.slow
@pytest.mark.parametrize("outer", [*STREAMS, "zip"])
@pytest.mark.parametrize("inner", ["gzip", "bzip2", "xz", "zstandard", "zip"])
def test_packing_twice_is_refused(read: Read, outer: str, inner: str) -> None:
    with pytest.raises(LogFileError, match=r"packed twice|zip archive inside of another"):
        read("csv", [PACKINGS[outer](PACKINGS[inner](b"a,b\n1,2\n"))], FIELDS)


def sqlite_file(folder: Path) -> bytes:
    connection = sqlite3.connect(folder / "some.db")
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    connection.close()
    return (folder / "some.db").read_bytes()


def tar_file(mode: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        member = tarfile.TarInfo("log.csv")
        member.size = 8
        archive.addfile(member, io.BytesIO(b"a,b\n1,2\n"))
    return buffer.getvalue()


def png_file() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(b"\0\0"))
        + chunk(b"IEND", b"")
    )


OTHERS: dict[str, tuple[bytes, str]] = {
    "png": (png_file(), "PNG picture"),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "PDF document"),
    "xlsx": (zipped(("[Content_Types].xml", b"<Types/>"), ("xl/workbook.xml", b"<workbook/>")), "Excel workbook"),
    "docx": (zipped(("[Content_Types].xml", b"<Types/>"), ("word/document.xml", b"<w/>")), "Office document"),
    "empty zip": (zipped(), "empty zip archive"),
    "tar": (tar_file("w"), "tar archive"),
    "tar in gzip": (tar_file("w:gz"), "tar archive"),
    "tar in xz": (tar_file("w:xz"), "tar archive"),
    "html": (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html><body>Log in</body></html>", "HTML page"),
    "html in gzip": (gzip.compress(b"<html lang='en'>"), "HTML page"),
    "utf-16-le": ("a,b\r\n1,2\r\n".encode("utf-16-le"), "encoding: utf-16-le"),
    "utf-16-be": ("a,b\r\n1,2\r\n".encode("utf-16-be"), "encoding: utf-16-be"),
    "utf-16-le in gzip": (gzip.compress("a,b\r\n1,2\r\n".encode("utf-16-le")), "encoding: utf-16-le"),
    "png in gzip": (gzip.compress(png_file()), "PNG picture"),
    "png in zip": (zipped(("a.png", png_file())), "PNG picture"),
    "compress": (b"\x1f\x9d\x90a\0\0", "compress"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40\xa7" + b"\x08\0\0\x80a,b\n1,2\n\0\0\0\0", "packed by lz4"),
    "old LZMA": (lzma.compress(b"a,b\n1,2\n", lzma.FORMAT_ALONE), "packed by lzma"),
    "snappy": (b"\xff\x06\0\0sNaPpY\1\x0c\0\0", "packed by snappy"),
    "wav": (b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0" + b"\0" * 40, "."),
    "zeros": (b"\0" * 200, "no text"),
    "utf-32-le": ("a,b\n1,2\n".encode("utf-32-le"), "."),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*OTHERS, "sqlite"])
def test_another_kind_of_file_is_refused_by_its_name(read: Read, tmp_path: Path, kind: str) -> None:
    content, name = OTHERS[kind] if kind in OTHERS else (sqlite_file(tmp_path), "SQLite database")
    with pytest.raises(LogFileError, match=rf"log-2025-09-01-000.txt.*{name}"):
        read("csv", [content], FIELDS)


def test_a_zip_archive_in_a_packing_that_python_lacks_is_refused(read: Read) -> None:
    content = zipped(("log.csv", b"a,b\n1,2\n" * 20)).replace(b"\x14\0\0\0\x08\0", b"\x14\0\0\0\x09\0")
    assert b"\x09\0" in content
    with pytest.raises(LogFileError, match="zip"):
        read("csv", [content], FIELDS)


def test_xz_files_may_be_padded(read: Read) -> None:
    (file,) = read("csv", [lzma.compress(b"a,b\n1,2\n") + bytes(4)], FIELDS)
    assert (file.good, file.break_found) == ([(2, "1", "2")], None)


def test_a_zstandard_file_may_begin_with_a_frame_to_skip(read: Read) -> None:
    content = b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + zstandard.ZstdCompressor().compress(b"a,b\n1,2\n")
    (file,) = read("csv", [content], FIELDS)
    assert file.good == [(2, "1", "2")]


@law(25)
@given(
    content=st.binary(max_size=60),
    begin=st.sampled_from(
        [
            b"",
            b"a,b\n1,2\n",
            b"PK\x03\x04",
            b"\x1f\x8b\x08\0",
            b"BZh91AY&SY",
            b"\xfd7zXZ\0",
            b"\x28\xb5\x2f\xfd",
            b"\xff\xfe",
            b"\xef\xbb\xbf",
        ]
    ),
)
def test_any_bytes_give_records_or_an_error_of_the_file(read: Read, content: bytes, begin: bytes) -> None:
    try:
        (file,) = read({"type": "csv", "missing_columns": "empty"}, [begin + content], FIELDS)
    except LogFileError:
        return
    assert file.records == len(file.good) + len(file.problems)


# Encodings

ALPHABETS = {
    "cp1252": "aé€“–Ž",
    "latin-1": "aéßÿ½",
    "utf-16": "aé子🎈",
    "utf-16-le": "aé子🎈",
    "utf-16-be": "aé子🎈",
    "shift_jis": "aテスト本能表",
    "cp932": "a①テ能",
    "big5": "a中文功許",
    "koi8-r": "aпривет",
    "utf-8-sig": "aé子🎈",
    "gb18030": "a汉字🎈",
    "euc_jp": "a日本",
    "euc_kr": "a한글",
    "cp1251": "aпр",
    "utf-32": "aé🎈",
    "iso2022_jp": "a日本",
    "cp437": "aé█",
    "mac_roman": "aé†",
}
MARKED = ("utf-16", "utf-8-sig", "utf-32")


@law(40)
@given(
    encoding=st.sampled_from(sorted(ALPHABETS)),
    data=st.data(),
    line_break=st.sampled_from(["\n", "\r\n", "\r"]),
    block=st.sampled_from([None, None, 64, 7]),
    said=st.booleans(),
    packed=st.booleans(),
)
def test_text_in_any_encoding_comes_back_equal(read: Read, encoding: str, data, line_break: str, block, said: bool, packed: bool) -> None:
    table = data.draw(
        st.lists(st.tuples(st.text(ALPHABETS[encoding], min_size=1, max_size=5), st.text("xyz", max_size=3)), min_size=1, max_size=8)
    )
    content = csv_text(table).decode().replace("\n", line_break).encode(encoding)
    if line_break == "\r" and encoding in ("utf-16", "utf-32"):
        return  # test_a_utf_16_file_with_a_mark_may_end_its_lines_in_carriage_returns
    described = {"type": "csv", "encoding": encoding if said or encoding not in MARKED else "utf-8"}
    with blocks_of(block if line_break == "\n" else None):
        (file,) = read(described, [gzip.compress(content) if packed else content], FIELDS)
    assert (file.good, file.problems, file.records) == (expected_rows(table), [], len(table))


def test_a_utf_16_file_with_a_mark_may_end_its_lines_in_carriage_returns(read: Read) -> None:
    (file,) = read("csv", ["a,b\r1,x\r2,y\r".encode("utf-16")], FIELDS)
    assert file.good == [(2, "1", "x"), (3, "2", "y")]


@pytest.mark.parametrize("encoding", ["idna", "undefined", "punycode"])
def test_a_codec_that_is_no_encoding_of_files_is_refused(read: Read, encoding: str) -> None:
    with pytest.raises((LogFileError, ConfigurationError)):
        read({"type": "csv", "encoding": encoding}, [b"a,b\n1,x\n"], FIELDS)


WRONG = {
    "cp1252": b"\x81",
    "shift_jis": b"\x81",
    "big5": b"\x81",
    "euc_jp": b"\x8f",
    "euc_kr": b"\xff",
    "gb18030": b"\xff",
    "utf-8": b"\xc3",
    "ascii": b"\x80",
    "cp932": b"\x85",
    "gbk": b"\x81",
    "utf-16-le": b"\x00\xd8",
    "utf-16-be": b"\xdc\x00",
    "big5hkscs": b"\x87",
    "cp949": b"\xc9",
    "johab": b"\xd9",
    "utf-32-le": b"\x00\xd8\x00\x00",
}


@law(30)
@given(
    encoding=st.sampled_from(sorted(WRONG)),
    wrong=st.sets(st.integers(0, 5), min_size=1),
    line_break=st.sampled_from(["\n", "\r\n"]),
    inside=st.booleans(),
)
def test_what_cannot_be_decoded_marks_its_line_alone(read: Read, encoding: str, wrong, line_break: str, inside: bool) -> None:
    end, content = line_break.encode(encoding), "a,b".encode(encoding) + line_break.encode(encoding)
    for number in range(6):
        bad = WRONG[encoding] if number in wrong else b""
        content += f"{number},x".encode(encoding) + bad + (" y".encode(encoding) if inside else b"") + end
    (file,) = read({"type": "csv", "encoding": encoding}, [content], FIELDS)
    text = "x y" if inside else "x"
    assert file.good == [(number + 2, str(number), text) for number in range(6) if number not in wrong]
    assert [line for line, _ in file.problems] == [number + 2 for number in sorted(wrong)]
