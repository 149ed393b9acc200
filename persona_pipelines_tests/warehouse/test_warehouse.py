import contextlib
import datetime as dt
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import ibis
import pytest

from persona_pipelines.files import copy_whole, digest_of, replacing, sweep_partial, write_new, write_whole
from persona_pipelines.settings.sources import EVENT_FIELDS
from persona_pipelines.warehouse import connection, contracts
from persona_pipelines.warehouse.connection import Warehouse, WarehouseError
from persona_pipelines.warehouse.contracts.parts import EVENT_COLUMNS
from persona_pipelines.warehouse.dictionary import data_dictionary
from persona_pipelines.warehouse.exporting import ExportError, export_table
from persona_pipelines.warehouse.locks import WarehouseBusyError, WarehouseLock
from persona_pipelines.warehouse.picture import tables_picture

FILTERED_ROW = {
    "day": dt.date(2025, 9, 1),
    "source": "s",
    "source_file": "f",
    "source_line": 1,
    "source_part": 1,
    "event_id": "e",
    "reason": "=1+1",
}


def filtered(*rows: dict) -> ibis.Table:
    schema = {column.name: column.type for column in contracts.FILTERED.columns}
    return ibis.memtable([{**FILTERED_ROW, **row} for row in rows], schema=ibis.schema(schema))


def test_a_failed_transaction_leaves_what_was_there(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "w.duckdb") as store:
        with store.transaction():
            store.replace(contracts.FILTERED, filtered({}, {"source_line": 2}))

        def half_way() -> None:
            with store.transaction():
                store.replace(contracts.FILTERED, filtered({}))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            half_way()
        assert store.rows(contracts.FILTERED) == 2


def test_two_readers_of_one_process_do_not_meet(tmp_path: Path) -> None:
    """As in a notebook: what is defined for the engine of a file is there for both, and stays when one has gone."""
    file = tmp_path / "warehouse.duckdb"
    with Warehouse(file) as store:
        store.ensure(contracts.EVENTS)
    first, second = (Warehouse(file, read_only=True) for _ in range(2))
    first.close()
    ((text,),) = second.connection.execute("""SELECT canonical_json('{"b": 1, "a": 2}')""").fetchall()
    assert text == '{"a":2,"b":1}'
    second.close()


def test_a_table_of_another_version_is_not_touched(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "w.duckdb") as store:
        store.connection.execute("CREATE SCHEMA events; CREATE TABLE events.filtered (other INT)")
        with pytest.raises(
            WarehouseError, match=r"w.duckdb: written by another version: events.filtered has other columns \(other too much, day missing, "
        ):
            store.ensure(contracts.FILTERED)


def test_exports_repeat_to_the_byte_and_disarm_formulas(tmp_path: Path) -> None:
    with Warehouse(None) as store:
        with store.transaction():
            store.replace(contracts.FILTERED, filtered({"source_line": 2, "reason": "plain"}, {}))
        assert export_table(store, contracts.FILTERED, tmp_path / "a.csv") == 2
        export_table(store, contracts.FILTERED, tmp_path / "b.csv")
        export_table(store, contracts.FILTERED, tmp_path / "a.parquet")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[1:] == ["2025-09-01,s,f,1,1,e,'=1+1", "2025-09-01,s,f,2,1,e,plain"]
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_the_guard_against_formulas_never_touches_ids_and_may_be_turned_off(tmp_path: Path) -> None:
    with Warehouse(None) as store:
        with store.transaction():
            store.replace(contracts.FILTERED, filtered({"event_id": "-abc", "source_file": "@home"}))
        export_table(store, contracts.FILTERED, tmp_path / "guarded.csv")
        export_table(store, contracts.FILTERED, tmp_path / "plain.csv", guard=False)
    assert (tmp_path / "guarded.csv").read_text().splitlines()[1] == "2025-09-01,s,@home,1,1,-abc,'=1+1"
    assert (tmp_path / "plain.csv").read_text().splitlines()[1] == "2025-09-01,s,@home,1,1,-abc,=1+1"


@pytest.mark.parametrize(("name", "message"), [("a.xlsx", "found the ending '.xlsx'"), ("no/such/folder/a.csv", "cannot be written")])
def test_an_export_that_cannot_be_written_says_why(tmp_path: Path, name: str, message: str) -> None:
    with Warehouse(None) as store:
        store.ensure(contracts.FILTERED)
        with pytest.raises(ExportError, match=message):
            export_table(store, contracts.FILTERED, tmp_path / name)


def _half_written(file: Path) -> None:
    file.write_text("half")
    raise OSError("half-way")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    source, target = tmp_path / "w.duckdb", tmp_path / "p.duckdb"
    with Warehouse(source) as store, store.transaction():
        store.replace(contracts.FILTERED, filtered({}))
    assert copy_whole(source, target) == digest_of(source) == digest_of(target)
    with pytest.raises(FileNotFoundError):
        copy_whole(tmp_path / "missing", target)
    with pytest.raises(OSError, match="half-way"), replacing(target) as waiting:
        _half_written(waiting)
    with Warehouse(target, read_only=True) as store:
        assert store.rows(contracts.FILTERED) == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["p.duckdb", "w.duckdb"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no folder that not even root can write to")
def test_errors_name_the_file_that_was_asked_for(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "w.duckdb") as store, store.transaction():
        store.replace(contracts.FILTERED, filtered({}))
        with pytest.raises(ExportError, match=r'^/proc/a.csv: cannot be written: IO Error: Cannot open file "/proc/a.csv": '):
            export_table(store, contracts.FILTERED, Path("/proc/a.csv"))
    for write in (write_whole, write_new):
        with pytest.raises(OSError, match=r"'/proc/a.md'$"):
            write(Path("/proc/a.md"), "x")


def test_what_a_killed_process_has_half_written_is_swept_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    dead, living = tmp_path / f".a.{process.pid}.partial", tmp_path / f".a.{os.getpid()}.partial"
    for file in (dead, living):
        file.write_text("half")
    assert sweep_partial(tmp_path) == [dead]
    assert [file.name for file in tmp_path.iterdir()] == [living.name]


def test_what_is_committed_stands_in_the_file_and_not_in_a_journal(tmp_path: Path) -> None:
    with Warehouse(tmp_path / "w.duckdb") as store:
        with store.transaction():
            store.replace(contracts.FILTERED, filtered({}))
        assert not (tmp_path / "w.duckdb.wal").exists()
        assert store.counts() == {"events.filtered": 1}
        first = store.digest("events.filtered")
        with store.transaction():
            store.replace(contracts.FILTERED, filtered({"reason": "other"}))
        assert store.digest("events.filtered") != first
        assert store.written == {"events.filtered"}


@pytest.mark.slow
def test_a_second_holder_waits_and_then_says_who_holds_the_warehouse(tmp_path: Path) -> None:
    first, second, heard = WarehouseLock(tmp_path), WarehouseLock(tmp_path), []
    assert first.acquire("run one", 0, heard.append) is None
    with pytest.raises(WarehouseBusyError, match=rf"held by run one \(process {os.getpid()}, since .*gave up after"):
        second.acquire("run two", 0.1, heard.append)
    assert "run one" in heard[0]
    first.release()
    assert second.acquire("run two", 0, heard.append) is None
    second.release()


def _hold(home: Path) -> None:
    WarehouseLock(home).acquire("run that dies", 0, print)
    time.sleep(60)


@pytest.mark.slow
def test_a_killed_holder_releases_the_lock_and_leaves_its_name(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_hold, args=(tmp_path,))
    process.start()
    lock = WarehouseLock(tmp_path)
    while lock.read() is None:
        time.sleep(0.05)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    died = lock.acquire("run after", 5, print)
    assert died is not None
    assert died["holder"] == "run that dies"
    lock.release()


def test_the_data_dictionary_is_current() -> None:
    file = Path(__file__).parents[2] / "docs" / "data-dictionary.md"
    assert file.read_text() == data_dictionary(), "run: make dictionary"


def test_the_picture_of_the_tables_is_current_and_has_every_table_and_reference() -> None:
    file = Path(__file__).parents[2] / "docs" / "images" / "tables.svg"
    picture = tables_picture()
    assert file.read_text() == picture, "run: make dictionary"
    drawn = {text for element in ElementTree.fromstring(picture).iter() if (text := element.text)}
    assert {contract.name for contract in contracts.TABLES} <= drawn
    for contract in contracts.TABLES:
        for column, (schema, name, key) in contract.references.items():
            assert f"{contract.full_name}.{column} stands in {schema}.{name}.{key}" in drawn


@pytest.mark.parametrize("table", contracts.TABLES, ids=lambda table: table.full_name)
def test_contracts_hang_together(table: contracts.Table) -> None:
    assert set(table.key) <= set(table.column_names)
    assert len(set(table.column_names)) == len(table.columns)
    assert all(column.description.endswith(".") for column in table.columns)
    assert getattr(contracts.ROOMS[table.schema], next(name for name, value in vars(contracts).items() if value is table)) is table


def test_a_configuration_may_map_every_column_of_events_and_no_other() -> None:
    """Settings stand below the contracts and cannot ask them."""
    assert {"event_id", "user_id", "user_agent", *(column.name for column in EVENT_COLUMNS)} == EVENT_FIELDS


def test_what_is_kept_for_a_while_is_gone_after_it(warehouse) -> None:
    numbers = warehouse.keep("numbers", ibis.memtable({"n": [1, 2]}))
    with warehouse.scratch():
        doubled = warehouse.keep("doubled", numbers.mutate(n=numbers.n * 2))
        with warehouse.scratch():
            warehouse.keep("inner", doubled)
        assert not warehouse.is_kept("inner")
        assert warehouse.value(doubled.n.sum()) == 6
    assert not warehouse.is_kept("doubled")
    assert warehouse.is_kept("numbers")
    with contextlib.suppress(ZeroDivisionError), warehouse.transaction(), warehouse.scratch():
        warehouse.keep("doubled", numbers)
        _ = 1 / 0
    assert not warehouse.is_kept("doubled")
    assert warehouse.value(numbers.n.sum()) == 3


def test_a_table_that_a_failed_transaction_has_made_is_not_there(warehouse) -> None:
    with contextlib.suppress(ZeroDivisionError), warehouse.transaction():
        warehouse.ensure(contracts.CLOCKS)
        assert warehouse.rows(contracts.CLOCKS) == 0
        _ = 1 / 0
    assert not warehouse.exists(contracts.CLOCKS)
    assert warehouse.rows(contracts.CLOCKS) == 0


def test_an_expression_is_made_once_for_the_same_tables_and_anew_for_others(warehouse) -> None:
    made = []

    def scaled(table, by: str):
        made.append(by)
        return table.mutate(n=table.n * int(by))

    for value in (1, 5):
        numbers = warehouse.keep("numbers", ibis.memtable({"n": [value]}))
        assert warehouse.value(warehouse.once(scaled, numbers, by="3").n.sum()) == value * 3
    assert warehouse.value(warehouse.once(scaled, numbers, by="4").n.sum()) == 20
    other = warehouse.keep("numbers", ibis.memtable({"n": [0.5]}))
    assert warehouse.value(warehouse.once(scaled, other, by="3").n.sum()) == 1.5
    assert made == ["3", "4", "3"]


def test_a_query_is_written_once_for_all_warehouses_and_keeps_no_rows_of_this_process(warehouse) -> None:
    def doubled(store: Warehouse, value: int):
        return store.keep("doubled", ibis.memtable({"n": [value]})).mutate(n=ibis._.n * 2)

    assert warehouse.value(doubled(warehouse, 4).n.sum()) == 8
    before = connection._query.cache_info()
    with Warehouse(None) as other:
        assert other.value(doubled(other, 5).n.sum()) == 10
    after = connection._query.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 1)
    rows = ibis.memtable({"n": [1, 2]})
    assert warehouse.frame(rows)["n"].sum() == 3
    assert connection._query.cache_info().currsize == after.currsize
