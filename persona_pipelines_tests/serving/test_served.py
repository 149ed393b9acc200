"""The log of served lists as a table: what is new is read, once, and what is damaged is counted."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from persona_pipelines.serving import served as serving
from persona_pipelines.serving.served import ListFileError, list_of, refresh_served_lists
from persona_pipelines.serving.shown import ListLog
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.checks import keeps_contract
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import rows
from persona_pipelines_tests.serving.test_shown import DAY, shown


def logged(folder: Path, *numbers: int, day: dt.date = DAY) -> None:
    log = ListLog(folder, lambda: day)
    for number in numbers:
        log.add(shown(number, slot=None if number % 2 else "home"))
    log.close()


def lists(store: Warehouse) -> list[str]:
    return [row[0] for row in rows(store, "SELECT DISTINCT list_id FROM serving.served_lists ORDER BY ALL")]


def test_nothing_served_gives_empty_tables(warehouse: Warehouse, tmp_path: Path) -> None:
    assert refresh_served_lists(warehouse, tmp_path / "lists") == []
    assert rows(warehouse, "SELECT count(*) FROM serving.served_lists") == [(0,)]


def test_a_row_for_each_place_of_a_list(warehouse: Warehouse, tmp_path: Path) -> None:
    logged(tmp_path, 1)
    refresh_served_lists(warehouse, tmp_path)
    found = rows(
        warehouse,
        "SELECT day, source_file, source_line, list_id, position, item_id, served_at, person, is_device, slot, propensity, item_source "
        "FROM serving.served_lists ORDER BY position",
    )
    of_list = (DAY, "2025-10-01/000000001.jsonl", 1, "l1")
    moment = dt.datetime(2025, 10, 1, 12, 0, 0, 1)
    assert found == [
        (*of_list, 1, "i1", moment, "p1", False, None, 1.0, "live"),
        (*of_list, 2, "i2", moment, "p1", False, None, 0.5, "popular"),
    ]
    assert keeps_contract(warehouse, contracts.SERVED_LISTS).passed


def test_only_new_and_grown_files_are_read(warehouse: Warehouse, tmp_path: Path) -> None:
    logged(tmp_path, 1, 2)
    assert refresh_served_lists(warehouse, tmp_path) == ["2025-10-01/000000001.jsonl"]
    assert refresh_served_lists(warehouse, tmp_path) == []
    logged(tmp_path, 3, day=DAY + dt.timedelta(days=1))
    assert refresh_served_lists(warehouse, tmp_path) == ["2025-10-02/000000002.jsonl"]
    first = tmp_path / "2025-10-01" / "000000001.jsonl"
    more = (tmp_path / "2025-10-02" / "000000002.jsonl").read_bytes().replace(b"l3", b"l3")
    first.write_bytes(first.read_bytes() + more)
    (tmp_path / "2025-10-02" / "000000002.jsonl").unlink()
    assert refresh_served_lists(warehouse, tmp_path) == ["2025-10-01/000000001.jsonl"]
    assert lists(warehouse) == ["l1", "l2", "l3"]
    assert rows(warehouse, "SELECT day, lists FROM serving.list_files") == [(DAY, 3)]
    assert keeps_contract(warehouse, contracts.SERVED_LISTS).passed


def test_rows_of_a_file_that_has_gone_go_with_it(warehouse: Warehouse, tmp_path: Path) -> None:
    logged(tmp_path, 1)
    logged(tmp_path, 2)
    refresh_served_lists(warehouse, tmp_path)
    (tmp_path / "2025-10-01" / "000000001.jsonl").unlink()
    refresh_served_lists(warehouse, tmp_path)
    assert lists(warehouse) == ["l2"]


def test_a_table_that_an_upgrade_has_dropped_is_made_again_from_all_files(warehouse: Warehouse, tmp_path: Path) -> None:
    logged(tmp_path, 1)
    refresh_served_lists(warehouse, tmp_path)
    warehouse.drop(contracts.SERVED_LISTS)
    assert refresh_served_lists(warehouse, tmp_path) == ["2025-10-01/000000001.jsonl"]
    assert lists(warehouse) == ["l1"]


def test_a_damaged_line_costs_itself_and_is_counted_until_the_file_grows(warehouse: Warehouse, tmp_path: Path) -> None:
    logged(tmp_path, 1, 2, 3)
    file = tmp_path / "2025-10-01" / "000000001.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b'"p2"', b'"p9"')[:-5])
    refresh_served_lists(warehouse, tmp_path)
    assert lists(warehouse) == ["l1"]
    assert rows(warehouse, "SELECT lists, damaged FROM serving.list_files") == [(1, 2)]
    file.write_bytes(whole)
    refresh_served_lists(warehouse, tmp_path)
    assert rows(warehouse, "SELECT lists, damaged FROM serving.list_files") == [(3, 0)]


def test_a_folder_that_is_no_day_is_said(warehouse: Warehouse, tmp_path: Path) -> None:
    (tmp_path / "2025-13-40").mkdir()
    (tmp_path / "2025-13-40" / "000000001.jsonl").write_text("")
    with pytest.raises(ListFileError, match="found in the folder '2025-13-40'; expected a day"):
        refresh_served_lists(warehouse, tmp_path)


@pytest.mark.parametrize(
    "change", [{"items": ["i1"]}, {"items": ["i1", 2]}, {"items": "ab"}, {"served_at": "noon"}, {"propensities": None}, {"shadow": "no"}]
)
def test_a_record_that_is_no_served_list_is_none(change: dict) -> None:
    with pytest.raises(ValueError, match="no served list"):
        list_of({**shown(1).record(), **change})
    with pytest.raises(ValueError, match="no served list"):
        list_of({"list_id": "l1"})


def test_lists_are_read_in_parts_and_an_empty_one_has_no_rows(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LISTS_AT_ONCE", 2)
    log = ListLog(tmp_path, lambda: DAY)
    for number in range(5):
        items = tuple(f"i{place}" for place in range(number))
        log.add(shown(number, items=items, propensities=(1.0,) * number, sources=("live",) * number))
    log.close()
    refresh_served_lists(warehouse, tmp_path)
    found = rows(warehouse, "SELECT list_id, position, item_id, source_line FROM serving.served_lists ORDER BY ALL")
    assert found == [(f"l{number}", place + 1, f"i{place}", number + 1) for number in range(5) for place in range(number)]
    assert rows(warehouse, "SELECT lists FROM serving.list_files") == [(5,)]
