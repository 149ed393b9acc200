import bz2
import gzip
import lzma
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_pipelines.logs import packing
from persona_pipelines.logs.formats import lines
from persona_pipelines.logs.formats.lines import TextFile, first_line


def read(file: TextFile) -> list[tuple[int, str, str | None]]:
    return [
        (row["source_line"], row["record"].rstrip("\r\n"), row["line_problem"]) for batch in file.batches() for row in batch.to_pylist()
    ]


def written(tmp_path: Path, content: bytes, name: str = "log.txt") -> TextFile:
    path = tmp_path / name
    path.write_bytes(content)
    return TextFile(path, max_line_bytes=2000)


def test_every_line_has_its_number_and_blank_ones_are_no_records(tmp_path: Path) -> None:
    file = written(tmp_path, b"one\n\n\r\ntwo\r\nthree")
    assert read(file) == [(1, "one", None), (4, "two", None), (5, "three", None)]
    assert file.records == 3


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path) -> None:
    assert first_line(written(tmp_path, b"\xef\xbb\xbfa,b\n1,2\n")) == (1, "a,b")


def test_invalid_utf8_marks_its_line_alone_and_keeps_its_bytes(tmp_path: Path) -> None:
    assert read(written(tmp_path, b"good\nb\xffd\ngood\n")) == [(1, "good", None), (2, "b\\xffd", "invalid UTF-8"), (3, "good", None)]


def test_a_nul_byte_marks_its_line_alone(tmp_path: Path) -> None:
    assert [row[2] for row in read(written(tmp_path, b"a\nb\0c\nd\n"))] == [None, "NUL byte", None]


@pytest.mark.parametrize("block", [64, 8 << 20])
def test_a_huge_line_is_cut_and_the_next_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", block)
    monkeypatch.setattr(packing, "READ_BYTES", block)
    found = read(written(tmp_path, b"a\n" + b"x" * 100_000 + b"\nb\n"))
    assert [(row[0], row[2]) for row in found] == [(1, None), (2, "line longer than 2000 bytes"), (3, None)]
    assert len(found[1][1]) < 1100
    assert found[2][1] == "b"


@pytest.mark.parametrize(("name", "pack"), [("a.gz", gzip.compress), ("a.bz2", bz2.compress), ("a.xz", lzma.compress)])
def test_packed_files_read_like_plain_ones(tmp_path: Path, name: str, pack) -> None:
    content = "".join(f"line {number}\n" for number in range(1000)).encode()
    assert read(written(tmp_path, pack(content), name)) == read(written(tmp_path, content))


def test_members_of_a_gzip_follow_each_other(tmp_path: Path) -> None:
    file = written(tmp_path, gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n") + b"\0" * 20, "log.gz")
    assert [row[1] for row in read(file)] == ["a", "bc", "d"]
    assert file.break_found is None


def test_a_truncated_gzip_gives_all_whole_records_before_the_break_and_says_so(tmp_path: Path) -> None:
    content = b"".join(b"record %d with text %x\n" % (number, number * 7919) for number in range(5000))
    packed = gzip.compress(content)
    file = written(tmp_path, packed[: len(packed) // 2], "log.gz")
    found = read(file)
    whole = [row for row in found if row[2] is None]
    assert len(whole) > 1000
    assert [row[1] for row in whole] == content.decode().splitlines()[: len(whole)]
    assert file.break_found is not None
    assert "truncated" in file.break_found
    # The fragment at the break is a record of its own, so that nothing vanishes.
    assert [row[2] for row in found[len(whole) :]] in ([], ["cut off: the file is damaged here"])
    assert file.records == len(found)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text(st.characters(blacklist_characters="\n\r\0", blacklist_categories=["Cs"]), max_size=40), max_size=30),
    block=st.integers(1, 50),
)
def test_no_line_is_lost_or_changed_wherever_blocks_end(tmp_path_factory: pytest.TempPathFactory, texts: list[str], block: int) -> None:
    path = tmp_path_factory.mktemp("lines") / "log.txt"
    path.write_text("".join(f"{text}\n" for text in texts), encoding="utf-8", newline="")
    before = packing.READ_BYTES, lines.BLOCK_BYTES
    packing.READ_BYTES = lines.BLOCK_BYTES = block
    try:
        found = [(row[0], row[1]) for row in read(TextFile(path))]
    finally:
        packing.READ_BYTES, lines.BLOCK_BYTES = before
    bom = [text.removeprefix("\ufeff") if number == 0 else text for number, text in enumerate(texts)]
    if block >= 3 or not (texts and texts[0].startswith("\ufeff")):
        assert found == [(number, text) for number, text in enumerate(bom, start=1) if text]
