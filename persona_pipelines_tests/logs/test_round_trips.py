"""Generated records, written by Python's own csv and json or by plain formatting, come back equal: values, lines and counts."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from persona_pipelines.logs import packing
from persona_pipelines.logs.formats import lines
from persona_pipelines.logs.loading import load_events
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import DAY, law, rows

TEXT_COLUMNS = ("item_id", "campaign", "channel", "search_terms")
CONSTANTS = {"timestamp": {"value": "2025-09-01T10:00:00Z"}, "event_type": {"value": "item_view"}, "user_id": {"value": "someone"}}
CONTROLS = "\0\r\n\t\x0b\x0c\x1c\x1d\x1e\x1f\x85\u2028\u2029"
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_characters=CONTROLS), max_size=8)
AWKWARD_TEXT = st.text(st.sampled_from("a1 ,;|:'\"\\#/~.-é子🎈"), max_size=8)


def may_be_an_id(value: Any) -> bool:
    """Whether it is anything but a text of an object or a list, which is a reject as an id."""
    try:
        return not (isinstance(value, str) and isinstance(json.loads(value), (dict, list)))
    except ValueError:
        return True


CELLS = st.one_of(ANY_TEXT, AWKWARD_TEXT).map(str.strip).filter(may_be_an_id)


@dataclass
class FileRead:
    """What came of one file: good rows as (line, columns...), the others as (line, problem), what was filtered, and counts."""

    good: list[tuple[Any, ...]]
    problems: list[tuple[int, str]]
    dropped: list[tuple[int, str]]
    records: int
    break_found: str | None


Read = Callable[..., list[FileRead]]


@pytest.fixture
def read(warehouse: Warehouse, configure, tmp_path: Path) -> Read:
    """Write contents as files of one day, load them, and give back what came of each."""

    def reading(
        fmt: Any,
        contents: list[bytes],
        fields: dict[str, Any],
        *,
        ending: str = "txt",
        columns: tuple[str, ...] = (),
        day: dt.date = DAY,
        general: dict[str, Any] | None = None,
        members: list[str] | None = None,
        **more: Any,
    ) -> list[FileRead]:
        for old in tmp_path.glob("log-*"):
            old.unlink()
        for number, content in enumerate(contents):
            (tmp_path / f"log-{day}-{number:03}.{ending}").write_bytes(content)
        described = {
            "name": "log",
            "path": "log-{date}-*",
            "format": fmt,
            "identifiers": {"form": "none"},
            "fields": {**CONSTANTS, **fields},
            **more,
        }
        if "event_id" not in described["fields"]:
            described.setdefault("same", "never")
        configured = configure(described, **(general or {}))
        loaded = load_events(warehouse, configured.sources[0], configured, day, day)
        wanted = columns or tuple(name for name in described["fields"] if name not in CONSTANTS)
        chosen = "".join(f", {name}" for name in wanted)
        found = rows(
            warehouse,
            f"SELECT source_file, source_line, source_part, problem, dropped{chosen} FROM logs.log ORDER BY source_file, source_line, source_part",
        )
        names = [f"log-{day}-{number:03}.{ending}" for number in range(len(contents))]
        files = {name: FileRead([], [], [], 0, None) for name in ([f"{names[0]}/{member}" for member in members] if members else names)}
        for name, line, _, problem, dropped, *values in found:
            file = files[name]
            if problem is not None:
                file.problems.append((line, problem))
            elif dropped is not None:
                file.dropped.append((line, dropped))
            else:
                file.good.append((line, *values))
        for reading_ in loaded.readings:
            files[reading_.file.shown].records = reading_.records
            files[reading_.file.shown].break_found = reading_.break_found
        return list(files.values())

    return reading


@contextmanager
def blocks_of(size: int | None) -> Iterator[None]:
    """Files are read in blocks of so many bytes."""
    before = packing.READ_BYTES, lines.BLOCK_BYTES
    if size is not None:
        packing.READ_BYTES = lines.BLOCK_BYTES = size
    try:
        yield
    finally:
        packing.READ_BYTES, lines.BLOCK_BYTES = before


def as_read(cells: Any) -> tuple[str | None, ...]:
    return tuple(cell.strip() or None for cell in cells)


def csv_line(cells: Any, **options: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="", **options).writerow(cells)
    return text.getvalue()


DIALECTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "comma": ({}, {}),
    "semicolon, all quoted": ({"delimiter": ";", "quoting": csv.QUOTE_ALL}, {"delimiter": ";"}),
    "bar": ({"delimiter": "|"}, {"delimiter": "|"}),
    "tab": ({"delimiter": "\t"}, {"delimiter": "\t"}),
    "blank": ({"delimiter": " ", "quoting": csv.QUOTE_ALL}, {"delimiter": " "}),
    "single quotes": ({"quotechar": "'"}, {"quote": "'"}),
    "escape": ({"doublequote": False, "escapechar": "\\"}, {"escape": "\\"}),
    "escape, all quoted": ({"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL}, {"escape": "\\"}),
    "escape and no quotes": ({"quoting": csv.QUOTE_NONE, "escapechar": "\\", "quotechar": None}, {"escape": "\\", "quote": ""}),
    "escape by a caret": ({"doublequote": False, "escapechar": "^", "delimiter": ";"}, {"escape": "^", "delimiter": ";"}),
    "point, hash of quotes": ({"delimiter": ".", "quotechar": "#"}, {"delimiter": ".", "quote": "#"}),
}
TABLE = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=0, max_size=6)
TABLES = st.lists(TABLE, min_size=1, max_size=4)
THREE = {"item_id": "a", "campaign": "b", "channel": "c"}


@pytest.mark.slow
@law(40)
@given(tables=TABLES, dialect=st.sampled_from(sorted(DIALECTS)), line_break=st.sampled_from(["\n", "\r\n", "\r"]), last=st.booleans())
def test_cells_come_back_equal_in_every_dialect(read: Read, tables, dialect: str, line_break: str, last: bool) -> None:
    options, described = DIALECTS[dialect]
    contents = []
    for table in tables:
        text = line_break.join(csv_line(row, **options) for row in [("a", "b", "c"), *table]) + (line_break if last else "")
        contents.append(text.encode())
    found = read({"type": "csv", **described}, contents, THREE)
    for file, table in zip(found, tables, strict=True):
        assert file.problems == []
        assert file.good == [(number, *as_read(row)) for number, row in enumerate(table, start=2) if any(as_read(row))]
        assert file.records == len(table)


@pytest.mark.slow
@law(25)
@given(tables=TABLES, delimiter=st.sampled_from(["::", "~|~", "||", "<>", ", "]), block=st.sampled_from([None, 7]))
def test_cells_come_back_equal_between_delimiters_of_several_characters(read: Read, tables, delimiter: str, block: int | None) -> None:
    contents = []
    for table in tables:
        made = ["a" + delimiter + "b" + delimiter + "c"]
        made += [delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in table]
        contents.append("".join(f"{line}\n" for line in made).encode())
    with blocks_of(block):
        found = read({"type": "csv", "delimiter": delimiter}, contents, THREE)
    for file, table in zip(found, tables, strict=True):
        assert (file.good, file.problems) == (
            [(number, *as_read(row)) for number, row in enumerate(table, start=2) if any(as_read(row))],
            [],
        )


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=6).filter(may_be_an_id)


@pytest.mark.slow
@law(20)
@given(
    table=st.lists(st.tuples(WORDS, WORDS, WORDS), min_size=1, max_size=6),
    between=st.sampled_from([" ", "\t", "   ", " \t ", "\t\t"]),
    before=st.sampled_from(["", " ", "\t"]),
    after=st.sampled_from(["", " ", "\t"]),
)
@example(table=[("1", "2", "3")], between=" ", before="\t", after="")
def test_words_come_back_equal_between_runs_of_white_space(read: Read, table, between: str, before: str, after: str) -> None:
    text = "".join(f"{before}{between.join(row)}{after}\n" for row in table)
    fmt = {"type": "csv", "delimiter": "whitespace", "quote": "", "header": False, "columns": ["a", "b", "c"]}
    (file,) = read(fmt, [text.encode()], THREE)
    assert (file.problems, file.good) == ([], [(number, *row) for number, row in enumerate(table, start=1)])


EXTRAS = st.sampled_from(["", "blank", "comment", "header"])


@pytest.mark.slow
@law(40)
@given(
    table=st.lists(st.tuples(EXTRAS, st.tuples(CELLS, CELLS, CELLS)), min_size=0, max_size=8),
    skipped=st.integers(0, 3),
    begun=st.sampled_from(["first line", "by text", "none"]),
    line_break=st.sampled_from(["\n", "\r\n"]),
    block=st.sampled_from([None, 16]),
)
@example(
    table=[("", ('"', "", "")), ("", ('"', "", ",")), ("", ("", "'", '""'))], skipped=0, begun="first line", line_break="\n", block=None
)
def test_lines_that_are_no_records_are_passed_over_and_the_others_keep_their_numbers(
    read: Read, table, skipped: int, begun: str, line_break: str, block: int | None
) -> None:
    made = [f"preamble {number}, which is no record" for number in range(skipped)]
    fmt: dict[str, Any] = {"type": "csv", "comment": "//"}
    if begun == "by text":
        fmt["header"] = "h a,"
    elif begun == "none":
        fmt |= {"skip_lines": skipped, "header": False, "columns": ["h a", "b", "c"]}
    else:
        fmt["skip_lines"] = skipped
    if begun != "none":
        made.append("h a,b,c")
    expected = []
    for extra, row in table:
        text = csv_line(row)
        if text.startswith("//"):
            continue
        if extra == "header":
            if begun == "none":
                continue
            made.append("h a,b,c")
        elif extra:
            made.append({"blank": "", "comment": '// of no account, "quotes" too'}[extra])
        made.append(text)
        expected.append((len(made), *as_read(row)))
    with blocks_of(block):
        (file,) = read(fmt, ["".join(line + line_break for line in made).encode()], {**THREE, "item_id": "h a"})
    assert (file.good, file.problems, file.records) == ([row for row in expected if any(row[1:])], [], len(expected))


LONG_CELLS = st.text(st.sampled_from('ab ,"\n#é'), max_size=9).map(str.strip)


@pytest.mark.slow
@law(40)
@given(
    tables=st.lists(st.lists(st.tuples(LONG_CELLS, LONG_CELLS, CELLS), max_size=6), min_size=1, max_size=3),
    line_break=st.sampled_from(["\n", "\r\n"]),
    escape=st.booleans(),
    block=st.sampled_from([None, 5, 16]),
    last=st.booleans(),
)
@example(tables=[[("", "", ""), ('"', "", ","), ("", " ", "")]], line_break="\n", escape=False, block=None, last=False)
def test_cells_with_line_breaks_come_back_equal_and_keep_the_line_that_they_begin_on(
    read: Read, tables, line_break: str, escape: bool, block: int | None, last: bool
) -> None:
    contents, expectations = [], []
    for table in tables:
        line, texts, expected = 1, [], []
        for row in [("a", "b", "c"), *table]:
            options: dict[str, Any] = {"doublequote": False, "escapechar": "\\"} if escape else {}
            texts.append(csv_line(row, quoting=csv.QUOTE_ALL, **options))
            expected += [(line, *as_read(row))] if any(as_read(row)) else []
            line += 1 + texts[-1].count("\n")
        contents.append((line_break.join(texts) + (line_break if last else "")).encode())
        expectations.append((expected[1:], len(table)))
    fmt = {"type": "csv", "line_breaks_in_quotes": True, **({"escape": "\\"} if escape else {})}
    with blocks_of(block):
        found = read(fmt, contents, THREE)
    for file, (expected, count) in zip(found, expectations, strict=True):
        assert (file.good, file.problems, file.records) == (expected, [], count)


@pytest.mark.slow
@law(15)
@given(
    noise=st.text(st.sampled_from("ab \"'"), max_size=8),
    where=st.sampled_from(["skipped", "before the header", "comment"]),
    table=st.lists(st.tuples(LONG_CELLS, CELLS, CELLS), min_size=1, max_size=4),
)
@example(noise='"', where="skipped", table=[("x", "y", "z")])
@example(noise='a"', where="comment", table=[("one\n# two", "y", "z"), ('#"b\n#c', "", "d")])
def test_quotes_in_lines_that_are_no_records_open_nothing(read: Read, noise: str, where: str, table) -> None:
    made = [csv_line(row, quoting=csv.QUOTE_ALL) for row in table]
    fmt: dict[str, Any] = {"type": "csv", "line_breaks_in_quotes": True}
    if where == "skipped":
        text, fmt = "\n".join([f"noise {noise}", "a,b,c", *made]), {**fmt, "skip_lines": 1}
    elif where == "before the header":
        text, fmt = "\n".join([f"noise {noise}", "a,b,c", *made]), {**fmt, "header": "a,b"}
    else:
        text, fmt = "\n".join(["a,b,c", f"# {noise}", *made]), {**fmt, "comment": "#"}
    (file,) = read(fmt, [text.encode()], THREE)
    assert (file.problems, [row[1:] for row in file.good]) == ([], [as_read(row) for row in table if any(as_read(row))])


@pytest.mark.slow
@law(25)
@given(
    table=st.lists(st.lists(CELLS.filter(lambda cell: not set(cell) & set('",')), min_size=2, max_size=6), min_size=1, max_size=8),
    further=st.sampled_from(["ignore", "reject"]),
    missing=st.sampled_from(["empty", "reject"]),
)
def test_lines_with_other_numbers_of_cells_are_taken_or_rejected_as_asked(read: Read, table, further: str, missing: str) -> None:
    text = "a,b,c\n" + "".join(",".join(row) + "\n" for row in table)
    fmt = {"type": "csv", "further_columns": further, "missing_columns": missing}
    fields = {**THREE, **({"search_terms": "no such column"} if missing == "empty" else {})}
    (file,) = read(fmt, [text.encode()], fields, columns=("item_id", "campaign", "channel"))
    taken = [(len(row) <= 3 or further == "ignore") and (len(row) >= 3 or missing == "empty") for row in table]
    padded = [as_read([*row, "", ""][:3]) for row in table]
    some = [any(as_read(row)) for row in table]  # a line of blank cells is none
    assert file.good == [
        (line, *row) for line, (row, good, told) in enumerate(zip(padded, taken, some, strict=True), start=2) if good and told
    ]
    assert file.problems == [
        (line, f"malformed line: {len(row)} columns instead of 3")
        for line, (row, good, told) in enumerate(zip(table, taken, some, strict=True), start=2)
        if not good and told
    ]


COLUMN_NAMES = CELLS.filter(lambda name: name and not name.startswith("@"))


@pytest.mark.slow
@law(25)
@given(names=st.lists(COLUMN_NAMES, min_size=3, max_size=3, unique=True), quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]))
def test_columns_are_reached_by_their_names_whatever_these_are(read: Read, names, quoting: int) -> None:
    text = csv_line(names, quoting=quoting) + "\n1,2,3\n"
    (file,) = read("csv", [text.encode()], dict(zip(THREE, names, strict=True)))
    assert file.good == [(2, "1", "2", "3")]


@pytest.mark.slow
@law(15)
@given(document=st.dictionaries(st.sampled_from(["k", "x.y", "ü"]), CELLS, min_size=1), other=CELLS)
def test_documents_in_cells_are_reached_by_paths(read: Read, document, other: str) -> None:
    text = csv_line(("a", "b", "c")) + "\n" + csv_line((json.dumps(document), other, "")) + "\n"
    (file,) = read("csv", [text.encode()], {"item_id": "a.k", "campaign": 'a."x.y"', "channel": "a.ü", "search_terms": "b"})
    assert file.good == [(2, *as_read([document.get(key, "") for key in ("k", "x.y", "ü")]), other or None)]


# JSON


def number_text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value.strip() or None if isinstance(value, str) else json.dumps(value)


JSON_TEXT = st.one_of(CELLS, st.text(st.sampled_from('{}[]",:\\ é子🎈/x'), max_size=8)).map(str.strip)
SCALARS = st.one_of(JSON_TEXT, st.integers(-(10**15), 10**15), st.booleans(), st.none())


RECORDS = st.lists(
    st.fixed_dictionaries(
        {"a": SCALARS.filter(may_be_an_id), "b": st.fixed_dictionaries({"c": SCALARS, "l": st.lists(SCALARS, max_size=3)})},
        optional={"z": JSON_TEXT},
    ),
    min_size=1,
    max_size=6,
)
JSON_FIELDS = {"item_id": "a", "campaign": "b.c", "channel": "b.l[0]", "search_terms": "b.l[-1]"}


def record_as_read(record: dict[str, Any]) -> tuple[str | None, ...]:
    inner = record["b"]
    return tuple(
        number_text(value) for value in (record["a"], inner["c"], *((inner["l"][0], inner["l"][-1]) if inner["l"] else (None, None)))
    )


class Document:
    """A text that grows, and where each record in it begins."""

    def __init__(self) -> None:
        self.text = ""
        self.expected: list[tuple[Any, ...]] = []

    def add(self, text: str, record: dict[str, Any] | None = None) -> None:
        if record is not None:
            self.expected.append((self.text.count("\n") + 1, *record_as_read(record)))
        self.text += text


LAYOUTS = ("lines", "side by side", "pretty", "array", "pretty array", "arrays", "pretty, side by side")


def json_document(records: list[dict[str, Any]], layout: str, indent: int | str, plain: bool, between: str) -> Document:
    made = Document()
    deep = indent if layout.startswith("pretty") else None

    def dump(record: Any) -> str:
        return json.dumps(record, indent=deep, ensure_ascii=plain, separators=None if deep is not None else (between, ":" + between[1:]))

    if layout == "array":
        made.add("[")
    elif layout == "pretty array":
        made.add("[\n")
    for number, record in enumerate(records):
        text = dump(record)
        last = number == len(records) - 1
        if layout == "lines":
            made.add(text, record)
            made.add("\n")
        elif layout == "side by side":
            made.add(text, record)
            made.add(("", " ", "\n", "\n\n")[number % 4])
        elif layout == "pretty, side by side":
            made.add(text, record)
            made.add(("", " ")[number % 2])
        elif layout == "array":
            made.add(text, record)
            made.add("" if last else between)
        elif layout == "pretty array":
            pad = indent if isinstance(indent, str) else " " * indent
            made.add(pad)
            made.add(text.replace("\n", "\n" + pad), record)
            made.add("\n" if last else ",\n")
        elif layout == "arrays":
            made.add("[")
            made.add(text, record)
            made.add("]\n")
        elif layout == "record separators":
            made.add("\x1e")
            made.add(text, record)
            made.add("\n")
        else:
            made.add(text, record)
            made.add("\n" if number % 2 else "\n\n")
    made.add("]" if layout.endswith("array") else "")
    return made


@pytest.mark.slow
@law(50)
@given(
    tables=st.lists(RECORDS, min_size=1, max_size=3),
    layout=st.sampled_from(LAYOUTS),
    indent=st.sampled_from([0, 1, 2, 4, "\t"]),
    plain=st.booleans(),
    between=st.sampled_from([",", ", "]),
    block=st.sampled_from([None, 3, 16]),
)
def test_json_comes_back_equal_in_every_layout(
    read: Read, tables, layout: str, indent, plain: bool, between: str, block: int | None
) -> None:
    documents = [json_document(records, layout, indent, plain, between) for records in tables]
    with blocks_of(block):
        found = read("json", [document.text.encode() for document in documents], JSON_FIELDS)
    for file, document in zip(found, documents, strict=True):
        assert (file.good, file.problems, file.records) == (document.expected, [], len(document.expected))


@pytest.mark.slow
@law(40)
@given(
    records=RECORDS,
    where=st.integers(0, 6),
    cut=st.integers(1, 60),
    layout=st.sampled_from(["lines", "pretty"]),
    indent=st.sampled_from([1, 2, "\t"]),
    block=st.sampled_from([None, 16]),
)
def test_a_value_that_is_cut_off_costs_itself_only(
    warehouse: Warehouse, read: Read, records, where: int, cut: int, layout: str, indent, block: int | None
) -> None:
    where = min(where, len(records))
    made, pad = Document(), ""
    if layout == "pretty array":
        made.add("[\n")
        pad = indent if isinstance(indent, str) else " " * indent
    wrong = [*records[:where], None, *records[where:]]
    for record in wrong:
        text = json.dumps(record or {"a": "cut", "b": {"c": [1, "x"], "l": [{"x": 1}]}}, indent=None if layout == "lines" else indent)
        made.add(pad)
        text = text.replace("\n", "\n" + pad)
        made.add(text[: min(cut, len(text) - 1)] if record is None else text, record)
        made.add(",\n" if layout == "pretty array" else "\n")
    if layout == "pretty array":
        made.text = made.text[:-2] + "\n]\n"
    with blocks_of(block):
        (file,) = read("json", [made.text.encode()], JSON_FIELDS)
    assert file.good == made.expected
    assert len(file.problems) >= 1
    assert rows(warehouse, "SELECT record FROM logs.log WHERE ends_with(record, chr(10))") == []


DECIMALS = st.builds(
    "{}{}.{}{}".format,
    st.sampled_from(["", "-"]),
    st.integers(0, 10**12),
    st.text("0123456789", min_size=1, max_size=14),
    st.sampled_from(["", "e3", "E-7"]),
)


@pytest.mark.slow
@law(25)
@given(
    numbers=st.lists(st.one_of(st.integers().map(str), st.integers(-(10**40), 10**40).map(str), DECIMALS), min_size=1, max_size=6),
    key=st.sampled_from(["a", "x.y", "a/b ~c", "$ü*("]),
)
@example(numbers=["1839284712.1699999999", "1839284712.1699999998", "1.10", "17850.0", "1e5"], key="a")
@example(numbers=["1839284712.1699999999", "1.10"], key="a/b ~c")
def test_numbers_of_any_size_keep_their_digits_as_ids(read: Read, numbers, key: str) -> None:
    content = "".join(
        f'{{"n": "{number}1", {json.dumps(key, ensure_ascii=False)}: {number}, "b": {{"c": {number}}}}}\n' for number in numbers
    )
    (file,) = read("json", [content.encode()], {"item_id": f'"{key}"', "campaign": "b.c"})
    assert file.good == [(line, number, number) for line, number in enumerate(numbers, start=1)]
    documents = "".join(json.dumps({"d": line}) + "\n" for line in content.splitlines())
    (file,) = read("json", [documents.encode()], {"item_id": f'd."{key}"', "campaign": "d.b.c"}, parse={"d": "json"})
    assert file.good == [(line, number, number) for line, number in enumerate(numbers, start=1)]


KEYS = st.one_of(
    st.text(st.sampled_from("a.b\"/~ []=*$@#\\'0-é"), min_size=1, max_size=6),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=6),
)


@law(40)
@example(keys=["a", 'b"'], inside="[-1]")
@given(keys=st.lists(KEYS, min_size=2, max_size=3), inside=st.sampled_from(["", "[0]", "[-1]", "[*]", "[k=v].w"]))
def test_any_keys_are_reached_by_quoted_paths(read: Read, keys, inside: str) -> None:
    value: Any = {"": "found", "[0]": ["found"], "[-1]": ["found"], "[*]": ["found"], "[k=v].w": [{"k": "u"}, {"k": "v", "w": "found"}]}[
        inside
    ]
    path = ".".join('"' + key.replace('"', '""') + '"' for key in keys) + inside
    for key in reversed(keys):
        value = {key: value}
    if keys[0].startswith("@"):
        return
    (file,) = read("json", [json.dumps(value).encode()], {"item_id": path})
    assert file.good == [(1, "found")]


@law(15)
@given(wanted=KEYS.map(str.strip).filter(bool), key=KEYS.map(str.strip).filter(bool))
def test_an_element_is_found_by_any_value(read: Read, wanted: str, key: str) -> None:
    record = {"list": [{"k": wanted + "x", "v": "wrong"}, {"k": wanted, "v": "found"}]}
    path = 'list[k="' + wanted.replace('"', '""') + '"].v'
    (file,) = read("json", [json.dumps(record).encode()], {"item_id": path})
    assert file.good == [(1, "found")]


@pytest.mark.slow
@law(20)
@given(
    entries=st.lists(st.one_of(st.lists(st.fixed_dictionaries({"id": JSON_TEXT}), max_size=4), st.none()), min_size=1, max_size=5),
    empty=st.sampled_from(["keep", "skip"]),
    deep=st.booleans(),
)
def test_every_element_of_a_list_is_an_event(read: Read, entries, empty: str, deep: bool) -> None:
    records = [{"list": entry, "n": number} if not deep else {"o": {"list": entry}, "n": number} for number, entry in enumerate(entries)]
    path = "o.list" if deep else "list"
    content = "".join(json.dumps(record) + "\n" for record in records)
    fields = {"item_id": f"{path}.id", "campaign": "n", "channel": "@index"}
    (file,) = read("json", [content.encode()], fields, each={"path": path, "empty": empty})
    expected = [
        (line, element["id"] or None, str(line - 1), str(index))
        for line, entry in enumerate(entries, start=1)
        for index, element in enumerate(entry or [], start=1)
    ]
    missing = [line for line, entry in enumerate(entries, start=1) if not entry]
    assert file.problems == []
    assert [row for row in file.good if row[0] not in missing] == expected
    kept = [row[0] for row in file.good if row[0] in missing]
    assert (kept, [line for line, _ in file.dropped]) == ((missing, []) if empty == "keep" else ([], missing))


@law(15)
@given(
    entries=st.lists(st.lists(WORDS.filter(lambda word: not set(word) & set(',"')), max_size=4), min_size=1, max_size=5),
    split=st.sampled_from([" ", "|", "->"]),
)
def test_every_piece_of_a_text_is_an_event(read: Read, entries, split: str) -> None:
    entries = [[word for word in entry if not set(word) & set(split)] for entry in entries]
    text = "a,b\n" + "".join(f"{split.join(entry)},x\n" for entry in entries)
    (file,) = read("csv", [text.encode()], {"item_id": "a", "campaign": "@index"}, each={"path": "a", "split": split})
    assert file.good == [
        (line, word, str(index)) for line, entry in enumerate(entries, start=2) for index, word in enumerate(entry, start=1)
    ]
    assert [line for line, _ in file.dropped] == [line for line, entry in enumerate(entries, start=2) if not entry]


@pytest.mark.slow
@law(20)
@given(document=st.fixed_dictionaries({"k": SCALARS, "m": st.fixed_dictionaries({"x.y": SCALARS})}), twice=st.booleans())
def test_documents_in_texts_are_reached(read: Read, document, twice: bool) -> None:
    inner = json.dumps(document)
    record = {"message": json.dumps({"body": inner}) if twice else inner}
    parse, path = ({"message": "json", "message.body": "json"}, "message.body") if twice else ({"message": "json"}, "message")
    (file,) = read("json", [json.dumps(record).encode()], {"item_id": f"{path}.k", "campaign": f'{path}.m."x.y"'}, parse=parse)
    assert file.good == [(1, number_text(document["k"]), number_text(document["m"]["x.y"]))]


PARAMETER_NAMES = ["q", "utm_source", "filter[color]", "größe", "a b"]


@pytest.mark.slow
@law(30)
@example(parameters=[("filter[color]", "9")], begin="?", name="filter[color]", end="")
@given(
    parameters=st.lists(
        st.tuples(st.sampled_from(PARAMETER_NAMES), st.one_of(ANY_TEXT, AWKWARD_TEXT, st.text(st.sampled_from("%+&=;?#a1é"), max_size=6))),
        max_size=6,
    ),
    begin=st.sampled_from(["", "?", "/p?", "https://example.com/a%20b?"]),
    name=st.sampled_from(PARAMETER_NAMES),
    end=st.sampled_from(["", "#top?q=no"]),
)
def test_parameters_are_decoded_as_they_were_encoded(read: Read, parameters, begin: str, name: str, end: str) -> None:
    content = json.dumps({"url": begin + urlencode(parameters) + end})
    (file,) = read("json", [content.encode()], {"item_id": f'url."{name}"'}, parse={"url": "parameters"})
    first = next((value for key, value in parameters if key == name), "")
    assert file.good == [(1, first.strip() or None)]


PLAIN_DOCUMENTS = st.dictionaries(
    st.text("abcé", min_size=1, max_size=3),
    st.recursive(
        st.one_of(
            st.text('ab1é"', max_size=3),
            st.integers(),
            st.integers(10**15, 10**20),
            st.floats(allow_nan=False, allow_infinity=False),
            st.booleans(),
            st.none(),
            st.just("1.5"),
            st.just(1.5),
        ),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text("ab", max_size=2), inner, max_size=3)),
        max_leaves=6,
    ),
    max_size=4,
)


def turned(value: Any) -> Any:
    """The same value with the keys of every object in the other order."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(list(value))}
    return [turned(entry) for entry in value] if isinstance(value, list) else value


def same_type(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@law(30)
@given(document=PLAIN_DOCUMENTS, other=PLAIN_DOCUMENTS, indented=st.booleans())
def test_the_same_content_has_the_same_id_and_other_content_another(read: Read, warehouse, document, other, indented: bool) -> None:
    texts = [json.dumps(document), json.dumps(turned(document), separators=(",", ":"), ensure_ascii=False), json.dumps(other)]
    read("json", [json.dumps({}).encode() + b"\n" + "\n".join(texts).encode()], {}, columns=("event_id",), same="content")
    first, second, third = (row[0] for row in rows(warehouse, "SELECT event_id FROM logs.log WHERE source_line > 1 ORDER BY source_line"))
    assert first == second
    assert (first == third) == same_type(document, other)


def test_a_number_and_its_text_are_two_contents_beside_long_numbers_too(read: Read, warehouse) -> None:
    read(
        "json",
        [b'{"id": 12345678901234567890, "price": 1.5}\n{"id": 12345678901234567890, "price": "1.5"}\n'],
        {},
        columns=("event_id",),
        same="content",
    )
    first, second = (row[0] for row in rows(warehouse, "SELECT event_id FROM logs.log ORDER BY source_line"))
    assert first != second


# Access logs and W3C


def apache_escaped(text: str) -> str:
    """As mod_log_config writes a header: quotes and backslashes by a backslash, what is no printable ASCII by ``\\xNN``."""
    made = ""
    for byte in text.encode():
        character = chr(byte)
        made += "\\" + character if character in '"\\' else character if 32 <= byte < 127 else f"\\x{byte:02x}"
    return made


def nginx_escaped(text: str) -> str:
    r"""As nginx writes a variable: quotes, backslashes and what is no printable ASCII by ``\xNN``."""
    return "".join(chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\x{byte:02X}" for byte in text.encode())


REQUESTED = (
    st.text(st.sampled_from("ab/?=&%20+é\"\\x'[]-"), max_size=10).map(lambda text: "/" + text).filter(lambda text: "\\x" not in text)
)
AGENTS = (
    st.one_of(st.text(st.sampled_from("Mozilla/5.0 (x86) \\\"';é子|"), max_size=14), ANY_TEXT)
    .map(str.strip)
    .filter(lambda text: text != "-" and "\\x" not in text)
)
USERS = st.text(st.sampled_from("abcXYZ019_.@"), min_size=1, max_size=8)
ENTRIES = st.lists(
    st.fixed_dictionaries(
        {
            "url": REQUESTED,
            "agent": AGENTS,
            "user": USERS,
            "referrer": AGENTS,
            "status": st.integers(100, 599),
            "size": st.integers(0, 10**12),
        }
    ),
    min_size=1,
    max_size=6,
)
START = '{address} - {user} [01/Sep/2025:10:00:00 +0000] "GET {url} HTTP/1.1" {status} {size}'
WRITERS: dict[str, tuple[str, Callable[[str], str]]] = {
    "common": (START, apache_escaped),
    "combined": (START + ' "{referrer}" "{agent}"', apache_escaped),
    "vhost_combined": ("shop.example.com:443 " + START + ' "{referrer}" "{agent}"', apache_escaped),
    "host_combined": ("shop.example.com " + START + ' "{referrer}" "{agent}"', apache_escaped),
    "nginx_main": (START + ' "{referrer}" "{agent}" "-"', nginx_escaped),
}
OWN_FORMATS: dict[str, tuple[str, Callable[[str], str]]] = {
    '%h|%u|%{%Y-%m-%d}t|"%r"|%>s|%O|"%{Referer}i"|"%{User-Agent}i"': (
        '{address}|{user}|2025-09-01|"GET {url} HTTP/1.1"|{status}|{size}|"{referrer}"|"{agent}"',
        apache_escaped,
    ),
    '%v %a %u %t %D "%r" %s %B "%{User-agent}i" "%{Referer}i"': (
        'shop.example.com {address} {user} [01/Sep/2025:10:00:00 +0000] 17 "GET {url} HTTP/1.1" {status} {size} "{agent}" "{referrer}"',
        apache_escaped,
    ),
    '[$time_iso8601] $remote_addr ($remote_user) "$request" $status/$body_bytes_sent rt=$request_time "$http_user_agent" "$http_referer"': (
        '[2025-09-01T10:00:00+00:00] {address} ({user}) "GET {url} HTTP/1.1" {status}/{size} rt=0.004 "{agent}" "{referrer}"',
        nginx_escaped,
    ),
}
LOG_FIELDS = {"item_id": "url", "campaign": "user", "quantity": "status", "value": "bytes"}
MONEY = {"logs": {"settle_seconds": 0, "money": {"minimum": 0, "maximum": 1e12}}}


def log_lines(entries: list[dict[str, Any]], layout: str, escaped: Callable[[str], str]) -> bytes:
    made = [
        layout.format(
            **{
                **entry,
                "address": "2001:db8::7",
                "url": escaped(entry["url"]),
                "agent": escaped(entry["agent"]),
                "referrer": escaped(entry["referrer"]),
            }
        )
        for entry in entries
    ]
    return "".join(f"{line}\n" for line in made).encode()


@pytest.mark.slow
@law(50)
@given(files=st.lists(ENTRIES, min_size=1, max_size=3), written=st.sampled_from([*sorted(WRITERS), *sorted(OWN_FORMATS)]))
def test_access_logs_come_back_equal(read: Read, files, written: str) -> None:
    layout, escaped = (WRITERS | OWN_FORMATS)[written]
    fields = {**LOG_FIELDS, **({} if written == "common" else {"channel": "user_agent", "search_terms": "referrer"})}
    found = read(
        {"type": "access_log", "log_format": written}, [log_lines(entries, layout, escaped) for entries in files], fields, general=MONEY
    )
    for file, entries in zip(found, files, strict=True):
        expected: list[tuple[Any, ...]] = [(entry["url"].strip(), entry["user"], entry["status"], entry["size"]) for entry in entries]
        if written != "common":
            expected = [(*row, entry["agent"] or None, entry["referrer"] or None) for row, entry in zip(expected, entries, strict=True)]
        assert file.problems == []
        assert [row[1:] for row in file.good] == expected


@law(30)
@given(
    entries=ENTRIES,
    written=st.sampled_from([*sorted(WRITERS), *sorted(OWN_FORMATS)]),
    other=st.sampled_from([*sorted(WRITERS), *sorted(OWN_FORMATS)]),
)
def test_lines_of_another_layout_are_rejected_and_never_misread(read: Read, entries, written: str, other: str) -> None:
    if written == other:
        return
    (file,) = read({"type": "access_log", "log_format": other}, [log_lines(entries, *(WRITERS | OWN_FORMATS)[written])], {"item_id": "url"})
    assert (file.good, file.dropped, file.records) == ([], [], len(entries))
    assert [line for line, _ in file.problems] == list(range(1, len(entries) + 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"/a%20b\xC3\xA9", "/a%20bé"),
        (r"100%\x22", '100%"'),
        (r"a\"b", 'a"b'),
        (r"a\\\"b", r"a\"b"),
        (r"\\\xc3\xa9", "\\é"),
        (r"C:\\xampp", r"C:\xampp"),
        (r"\\x41", r"\x41"),
        (r"caf\xe9 50%20", r"caf\xe9 50%20"),
        (r"\xzz%20", r"\xzz%20"),
    ],
)
def test_escapes_of_servers_are_undone_and_nothing_else(read: Read, written: str, meant: str) -> None:
    line = f'192.0.2.1 - u [01/Sep/2025:10:00:00 +0000] "GET / HTTP/1.1" 200 17 "-" "{written}"\n'
    (file,) = read("combined", [line.encode()], {"item_id": "user_agent"})
    assert file.good == [(1, meant)]


def test_a_tab_before_a_quoted_cell_is_no_part_of_it(read: Read) -> None:
    (file,) = read("csv", [b'a,b\n1,\t"x, y"\n2, "x, y" \n'], {"campaign": "b"})
    assert file.good == [(2, "x, y"), (3, "x, y")]


def test_a_control_character_in_a_cell_is_no_delimiter(read: Read) -> None:
    (file,) = read({"type": "csv", "delimiter": "::"}, [b"a::b\n1::x\x1fy\n"], {"campaign": "b"})
    assert file.good == [(2, "x\x1fy")]


def test_record_separators_may_stand_before_values(read: Read) -> None:
    (file,) = read("json", [b'\x1e{"a": 1}\n\x1e{"a": 2}\n'], {"item_id": "a"})
    assert file.good == [(1, "1"), (2, "2")]


def test_a_value_that_is_cut_off_in_an_array_costs_itself_only(read: Read) -> None:
    (file,) = read("json", [b'[\n {\n  "a": 1\n },\n {\n  "a": "cu,\n {\n  "a": 3\n },\n {\n  "a": 4\n }\n]\n'], {"item_id": "a"})
    assert file.good == [(2, "1"), (7, "3"), (10, "4")]


def test_objects_over_several_lines_may_follow_one_in_a_line(read: Read) -> None:
    (file,) = read("json", [b'{"a": 1}\n{\n "a": 2\n}\n{"a": 3}\n'], {"item_id": "a"})
    assert file.good == [(1, "1"), (2, "2"), (5, "3")]


@pytest.mark.slow
@law(15)
@example(values=[(False, "\n"), (True, "\r\n"), (False, "\n")], block=7, junk=[])
@given(
    values=st.lists(st.tuples(st.booleans(), st.sampled_from(["\n", "\r\n"])), min_size=1, max_size=6),
    block=st.integers(1, 40),
    junk=st.lists(st.sampled_from(["no JSON", "5", '"text"']), max_size=3),
)
def test_values_of_one_line_and_of_several_follow_each_other_in_any_order(read: Read, values, block: int, junk) -> None:
    """Whatever stands before them: each line of it is a reject of its own."""
    content, good, line = "".join(f"{text}\n" for text in junk), [], len(junk) + 1
    for number, (pretty, end) in enumerate(values):
        text = json.dumps({"a": number, "b": [1, {"c": 2}]}, indent=1 if pretty else None)
        good.append((line, str(number)))
        content += text.replace("\n", end) + end
        line += text.count("\n") + 1
    with blocks_of(block):
        (file,) = read("json", [content.encode()], {"item_id": "a"})
    assert file.good == good
    assert [line for line, _ in file.problems] == list(range(1, len(junk) + 1))


W3C_VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"], exclude_characters='"#-'), min_size=1, max_size=6).filter(
    may_be_an_id
)
W3C_PARTS = st.lists(
    st.tuples(
        st.permutations(["a", "b", "cs(User-Agent)"]),
        st.integers(1, 3),
        st.lists(st.tuples(W3C_VALUES, W3C_VALUES, W3C_VALUES), max_size=4),
    ),
    min_size=1,
    max_size=4,
)


@law(30)
@given(parts=W3C_PARTS, between=st.sampled_from([" ", "\t"]), block=st.sampled_from([None, 10]), line_break=st.sampled_from(["\n", "\r\n"]))
def test_w3c_logs_come_back_equal_though_their_fields_change(read: Read, parts, between: str, block: int | None, line_break: str) -> None:
    made, expected = ["#Version: 1.0"], []
    for order, count, records in parts:
        names = order[:count]
        made.append("#Fields: " + " ".join(names))
        for values in records:
            cells = dict(zip(names, values, strict=False))
            made.append(between.join(cells.values()))
            expected.append((len(made), cells.get("a"), cells.get("b"), cells.get("cs(User-Agent)")))
        made.append("#Remark: nothing")
    if not expected:
        return
    with blocks_of(block):
        (file,) = read(
            "w3c", ["".join(line + line_break for line in made).encode()], {"item_id": "a", "campaign": "b", "channel": "cs(User-Agent)"}
        )
    assert (file.good, file.problems, file.records) == (expected, [], len(expected))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "line", "value"),
    [
        ({}, b'1::"Alien :: 3"', "Alien :: 3"),
        ({"quote": "", "escape": "\\"}, rb"1::Alien \:\: 3", "Alien :: 3"),
        ({}, b"1:: a \x1f b ", "a \x1f b"),
    ],
)
def test_a_delimiter_of_several_characters_may_stand_inside_of_a_cell(read: Read, settings, line, value) -> None:
    (file,) = read({"type": "csv", "delimiter": "::", **settings}, [b"a::b\n" + line + b"\n"], {"campaign": "b"})
    assert file.good == [(2, value)]


def test_a_carriage_return_in_the_middle_of_a_line_is_no_value(read: Read) -> None:
    (file,) = read({"type": "csv", "further_columns": "ignore"}, [b'a,b\n1,x\r2,y\n3,z\r\n4,"p\rq"\n'], {"campaign": "b"})
    assert file.good == [(3, "z"), (4, "p\rq")]


def test_a_file_of_carriage_returns_may_end_in_a_line_feed(read: Read) -> None:
    (file,) = read("csv", [b"a,b\r1,x\r2,y\r\n"], {"campaign": "b"})
    assert file.good == [(2, "x"), (3, "y")]
