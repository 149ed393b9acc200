"""Audiences where people have names: the company's own list, joined here; no pseudonym leaves with it."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.audiences.exports import condition_of, export_audience, export_pseudonyms, export_with_own_ids, of_segments
from persona_pipelines.audiences.lookalike import quality
from persona_pipelines.audiences.own_lists import OwnListError, read_seeds
from persona_pipelines.audiences.saved import AudienceError, save
from persona_pipelines.privacy.pseudonyms import KeyFileError, pseudonym
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines_tests.conftest import CLICKS, DAY, KEY, at

pytestmark = pytest.mark.slow

COUNT = 8


def put(store: Warehouse, contract: contracts.Table, rows: list[dict]) -> None:
    filler = {"string": "x", "int64": 1, "float64": 0.0, "boolean": False, "date": DAY, "timestamp": at(0)}
    full = [{column.name: row.get(column.name, filler[column.type]) for column in contract.columns} for row in rows]
    table = from_frame(pd.DataFrame(full, columns=contract.column_names).astype(object))
    store.replace(contract, table.select(**{column.name: table[column.name].cast(column.type) for column in contract.columns}))


@pytest.fixture
def settings(configure, tmp_path) -> Settings:
    made = configure(CLICKS)
    made.home.mkdir(parents=True, exist_ok=True)
    made.key_file.write_text(KEY.hex())
    made.key_file.chmod(0o600)
    return made


@pytest.fixture
def store(warehouse: Warehouse) -> Warehouse:
    """Customers c1 to c8; those with an even number have consented, and the first four are in segment 1."""
    people = [
        {
            "user_id": pseudonym(f"c{number}", KEY),
            "segment_id": 1 if number <= 4 else 2,
            "segment_name": "Early" if number <= 4 else "Late",
            "frequency": number,
            "consent_marketing": number % 2 == 0,
        }
        for number in range(1, COUNT + 1)
    ]
    for contract in (contracts.USER_PROFILES, contracts.USERS, contracts.USER_FEATURES):
        put(warehouse, contract, [{key: value for key, value in row.items() if key in contract.column_names} for row in people])
    put(
        warehouse,
        contracts.SEGMENT_PROFILES,
        [{"segment_id": number, "segment_name": name} for number, name in ((0, "In no segment"), (1, "Early"), (2, "Late"))],
    )
    return warehouse


def own_list(folder: Path, text: str = "") -> Path:
    rows = [f"{number * 11},c{number},person{number}@example.org,=1+{number}" for number in (3, 2, 4, 6, 99)]
    (folder / "customers.csv").write_text(text or "\n".join(["row,customer no,email,note", *rows]) + "\n", encoding="utf-8")
    return folder / "customers.csv"


@pytest.mark.parametrize("written", ["utf-8", "utf-8-sig", "windows-1252", "utf-16", "utf-16-le"])
def test_a_list_is_read_as_spreadsheets_save_it(store, settings, tmp_path, written: str) -> None:
    """Excel's CSV is windows-1252 in western Europe, its Unicode text UTF-16 between tabs; what is written is UTF-8."""
    delimiter = "\t" if written.startswith("utf-16") else ";"
    rows = [["row", "customer no", "name"], ["1", "c2", "Zoë Größe"], ["2", "c4", "Ana"]]
    (tmp_path / "own.csv").write_bytes("\r\n".join(delimiter.join(row) for row in rows).encode(written))
    export_with_own_ids(store, settings, "segment-1", tmp_path / "out.csv", tmp_path / "own.csv", None, ["name"])
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines() == ["name", "Zoë Größe", "Ana"]
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600


def test_bytes_are_no_list(store, settings, tmp_path) -> None:
    (tmp_path / "own.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 4)
    with pytest.raises(OwnListError, match=r"own.csv: cannot be read as a list \(it is no text\); expected CSV with a header"):
        export_with_own_ids(store, settings, "segment-1", tmp_path / "out.csv", tmp_path / "own.csv")


def test_the_rows_of_the_own_list_leave_without_any_pseudonym(store, settings, tmp_path) -> None:
    told = export_with_own_ids(store, settings, "segment-1", tmp_path / "out.csv", own_list(tmp_path), None, ["email", "note"])
    assert (tmp_path / "out.csv").read_text().splitlines() == ["email,note", "person2@example.org,'=1+2", "person4@example.org,'=1+4"]
    assert (told.rows, told.not_listed, told.without_consent) == (2, 0, 2)
    everyone = "frequency > 0"
    save(settings, "everyone", everyone)
    told = export_with_own_ids(store, settings, "everyone", tmp_path / "ids.csv", own_list(tmp_path))
    assert (tmp_path / "ids.csv").read_text().splitlines() == ["customer no", "c2", "c4", "c6"]
    assert (told.rows, told.not_listed, told.without_consent) == (3, 1, 4)


def test_an_audience_with_nobody_of_the_list_is_an_empty_file_with_its_header(store, settings, tmp_path) -> None:
    save(settings, "one", "frequency = 8")
    told = export_with_own_ids(store, settings, "one", tmp_path / "out.csv", own_list(tmp_path), "customer no", ["email"])
    assert (tmp_path / "out.csv").read_text() == "email\n"
    assert (told.rows, told.not_listed) == (0, 1)


@pytest.mark.parametrize(
    ("text", "column", "columns", "message"),
    [
        ("", "customer", [], "no column 'customer'; did you mean 'customer no'|no column 'customer'.*found row, customer no"),
        ("", None, ["mail"], "no column 'mail'.*email"),
        ("id,email\nx1,a\nx2,b\n", None, [], "nobody in any of the columns id, email is known"),
        ("id,email\nx1,a\n", "id", [], "nobody in column 'id' is known"),
        ("id,pseudonym\nc2,a\n", None, [], "has a column 'pseudonym' of its own"),
        ("id,email\n", None, [], "has no rows"),
        ("\xff\xfe\x00", None, [], "cannot be read as a list|has no rows|nobody in"),
    ],
)
def test_a_list_that_cannot_be_used_is_said_with_what_was_found(
    store, settings, tmp_path, text: str, column, columns, message: str
) -> None:
    with pytest.raises(OwnListError, match=message):
        export_with_own_ids(store, settings, "segment-1", tmp_path / "out.csv", own_list(tmp_path, text), column, columns)
    assert not (tmp_path / "out.csv").exists()


def test_without_a_list_or_a_key_there_is_an_error_in_words(store, settings, tmp_path) -> None:
    with pytest.raises(OwnListError, match="cannot be read as a list"):
        export_with_own_ids(store, settings, "segment-1", tmp_path / "out.csv", tmp_path / "missing.csv")
    settings.key_file.unlink()
    with pytest.raises(KeyFileError, match="is not there"):
        export_with_own_ids(store, settings, "segment-1", tmp_path / "out.csv", own_list(tmp_path))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("customer\nc1\nc2\nx9\n", ["c1", "c2", "x9"]),
        ("c1\nc2\n", ["c1", "c2"]),
        (f"user_id\n{pseudonym('c1', KEY)}\nc2\n", [pseudonym("c1", KEY), "c2"]),
        ('\ufeff"c1",1\n\n c2 ,2\n', ["c1", "c2"]),
        ("email;customer no\na@example.org;c3\n;\nb@example.org;c4\n", ["c3", "c4"]),
        ("x1\nx2\n", ["x1", "x2"]),
    ],
    ids=["a header", "none", "pseudonyms", "quotes", "another column", "nobody known"],
)
def test_the_header_of_seeds_is_no_customer(store, settings, tmp_path, text: str, expected: list[str]) -> None:
    found = read_seeds(store, settings, own_list(tmp_path, text))
    assert found["id"].tolist() == expected
    assert found["pseudonym"].tolist() == [one if len(one) == 32 else pseudonym(one, KEY) for one in expected]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", None])
def test_seeds_that_are_no_list_are_refused(store, settings, tmp_path, content: bytes | None) -> None:
    (tmp_path / "seeds").mkdir() if content is None else (tmp_path / "seeds").write_bytes(content)
    with pytest.raises(OwnListError, match=r"cannot be read as a list .*; expected CSV, a customer a line"):
        read_seeds(store, settings, tmp_path / "seeds")


def test_pseudonyms_of_a_list_are_for_its_owner_alone(store, settings, tmp_path) -> None:
    assert export_pseudonyms(store, settings, own_list(tmp_path), tmp_path / "out.csv") == 4
    found = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert found["pseudonym"].tolist() == [pseudonym(f"c{number}", KEY) for number in (3, 2, 4, 6, 99)]
    assert found.columns.tolist() == ["customer no", "pseudonym"]
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600


def test_an_export_has_ids_alone_and_the_columns_asked_for(store, settings, tmp_path) -> None:
    export_audience(store, settings, "segment-2", tmp_path / "ids.csv")
    assert (tmp_path / "ids.csv").read_text().splitlines()[0] == "user_id"
    export_audience(store, settings, "segment-2", tmp_path / "more.csv", ["frequency"])
    assert sorted(pd.read_csv(tmp_path / "more.csv")["frequency"]) == [6, 8]
    with pytest.raises(AudienceError, match=r"no column 'freqency'.*frequency"):
        export_audience(store, settings, "segment-2", tmp_path / "odd.csv", ["freqency"])


def test_every_segment_has_an_audience_by_itself_whose_name_nothing_else_takes(store, settings, tmp_path) -> None:
    assert of_segments(store) == {"segment-0": "segment_id = 0", "segment-1": "segment_id = 1", "segment-2": "segment_id = 2"}
    assert condition_of(store, settings, "segment-2") == "segment_id = 2"
    with pytest.raises(AudienceError, match=r"no audience 'segment-3'.*segment-0, segment-1, segment-2"):
        condition_of(store, settings, "segment-3")
    with pytest.raises(AudienceError, match="the audience that the segment has by itself"):
        save(settings, "segment-9", "frequency > 1")
    save(settings, "segment-like", "frequency > 1")


@pytest.mark.slow
def test_how_good_likeness_is_is_measured_on_seeds_that_were_hidden() -> None:
    generator = np.random.default_rng(2)
    points = np.vstack([generator.normal(2.5, 1, (40, 3)), generator.normal(0, 1, (200, 3))])
    alike, random = np.arange(240) < 30, np.zeros(240, dtype=bool)
    random[generator.choice(240, 30, replace=False)] = True
    told, guessed = quality(points, alike), quality(points, random)
    assert told is not None
    assert guessed is not None
    assert told > 0.9
    assert 0.3 < guessed < 0.7
    assert quality(points, np.arange(240) < 14) is None
