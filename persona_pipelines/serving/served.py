"""The log of served lists as a table: files that are new or have grown are read, all others are as they were."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from persona_pipelines.errors import ProjectError
from persona_pipelines.serving.journal import event_of, files_of, name_of, opened
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

LISTS_AT_ONCE = 50_000
AS_WRITTEN = ("list_id", "person", "slot", "model", "model_version", "experiment", "variant", "shadow")
KINDS: dict[str, Any] = {
    **dict.fromkeys(("list_id", "model", "model_version", "served_at"), str),
    **dict.fromkeys(("person", "slot", "experiment", "variant"), str | None),
    **dict.fromkeys(("device", "shadow"), bool),
    **dict.fromkeys(("items", "propensities", "sources"), list),
}
"""What each part of a record is."""
PLACES = ("item_id", "propensity", "item_source")
"""What a list has one of for each of its places."""
LISTED = pa.schema(
    [
        *(pa.field(name, pa.bool_() if name == "shadow" else pa.string()) for name in AS_WRITTEN),
        pa.field("served_at", pa.timestamp("us")),
        pa.field("is_device", pa.bool_()),
        *(pa.field(name, pa.list_(pa.float64() if name == "propensity" else pa.string())) for name in PLACES),
    ]
)


class ListFileError(ProjectError):
    """Something lies among the files of served lists that does not belong there."""


@dataclass(frozen=True)
class ListFile:
    """A file of the log: ``name`` below the folder, ``day`` as its folder says it."""

    path: Path
    name: str
    day: dt.date
    size_bytes: int


def list_files(folder: Path) -> list[ListFile]:
    """The files of the log, in the order in which they were written; none where nothing was ever served.

    Raises:
        ListFileError: a file lies in a folder that is no day.
    """
    found = []
    for path in files_of(folder):
        try:
            day = dt.date.fromisoformat(path.parent.name)
        except ValueError:
            raise ListFileError(f"{path}: found in the folder {path.parent.name!r}; expected a day such as 2025-09-30") from None
        with contextlib.suppress(FileNotFoundError), opened(path) as content:  # one in which nothing was kept goes
            found.append(ListFile(path, name_of(path), day, os.fstat(content.fileno()).st_size))
    return found


def list_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """A served list as a row of ``LISTED``.

    Args:
        record: as ``Shown.record`` makes it.
    Raises:
        ValueError: it has not what a served list has.
    """
    try:
        places = [record[name] for name in ("items", "propensities", "sources")]
        if odd := [name for name, kinds in KINDS.items() if not isinstance(record[name], kinds)]:
            raise ValueError(f"{odd[0]} is {record[odd[0]]!r}")
        if not (len({len(each) for each in places}) == 1 and all(isinstance(text, str) for text in (*places[0], *places[2]))):
            raise ValueError("items, propensities and sources do not belong together")
        moment = dt.datetime.fromisoformat(record["served_at"]).replace(tzinfo=None)
        propensities = [float(propensity) for propensity in places[1]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no served list ({error!r})") from None
    return {
        **{name: record[name] for name in AS_WRITTEN},
        "served_at": moment,
        "is_device": record["device"],
        "item_id": places[0],
        "propensity": propensities,
        "item_source": places[2],
    }


def rows_of(lists: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A row for each item of some lists: columns of ``contracts.SERVED_LISTS`` but for the day and the file.

    Args:
        lists: as ``list_of`` makes them, each with its ``source_line``.
    """
    schema = LISTED.append(pa.field("source_line", pa.int64()))
    table = pa.table({name: [one[name] for one in lists] for name in schema.names}, schema)
    items = table["item_id"].combine_chunks()
    of_list = pc.list_parent_indices(items)
    begins = items.offsets.take(of_list)
    flat = table.drop_columns(list(PLACES)).take(of_list)
    for name in PLACES:
        flat = flat.append_column(name, pc.list_flatten(table[name]))
    return flat.append_column("position", pc.subtract(pa.array(range(1, len(flat) + 1)), begins))


def refresh_served_lists(warehouse: Warehouse, folder: Path) -> list[str]:
    """Bring ``contracts.SERVED_LISTS`` and ``contracts.LIST_FILES`` up to the files of a folder; the names of those that were read.

    The rows of a file that has gone go with it. All of it happens in one transaction.

    Raises:
        ListFileError: a file lies in a folder that is no day.
    """
    files = {file.name: file for file in list_files(folder)}
    known = _known(warehouse)
    changed = [file for file in files.values() if known.get(file.name) != file.size_bytes]
    for contract in (contracts.LIST_FILES, contracts.SERVED_LISTS):
        warehouse.ensure(contract)
    with warehouse.transaction(), warehouse.scratch():
        for name in [*(file.name for file in changed), *(set(known) - set(files))]:
            for contract in (contracts.LIST_FILES, contracts.SERVED_LISTS):
                warehouse.delete_where(contract, source_file=name)
        for file in changed:
            _read(warehouse, file)
    return [file.name for file in changed]


def _known(warehouse: Warehouse) -> dict[str, int]:
    """Sizes of the files whose rows stand in the table; none where the table is not there, as after an upgrade that gives it other columns."""
    if not warehouse.exists(contracts.SERVED_LISTS):
        warehouse.ensure(contracts.LIST_FILES)
        warehouse.clear(contracts.LIST_FILES)
    return dict(warehouse.tuples(warehouse.table(contracts.LIST_FILES).select("source_file", "size_bytes")))


def _read(warehouse: Warehouse, file: ListFile) -> None:
    lists = damaged = size = 0
    waiting: list[dict[str, Any]] = []
    for line, content in _lines(file):
        size += len(content)
        record = event_of(content)
        try:
            found = list_of(record) if record is not None else None
        except ValueError:
            found = None
        if found is None:
            damaged += 1
            continue
        lists += 1
        waiting.append({**found, "source_line": line})
        if len(waiting) == LISTS_AT_ONCE:
            _append(warehouse, file, waiting)
            waiting = []
    _append(warehouse, file, waiting)
    told = {"day": file.day, "source_file": file.name, "size_bytes": size, "lists": lists, "damaged": damaged}
    warehouse.append(contracts.LIST_FILES, ibis.memtable([told]))


def _append(warehouse: Warehouse, file: ListFile, lists: Sequence[Mapping[str, Any]]) -> None:
    if lists:
        rows = ibis.memtable(rows_of(lists))
        warehouse.append(contracts.SERVED_LISTS, rows.mutate(day=ibis.literal(file.day), source_file=ibis.literal(file.name)))


def _lines(file: ListFile) -> Iterator[tuple[int, bytes]]:
    """The lines of a file up to the size that it had when it was found, each with its number from 1: the service may be writing to it."""
    read = 0
    with opened(file.path) as lines:
        for number, line in enumerate(lines, 1):
            if read + len(line) > file.size_bytes:
                return
            read += len(line)
            yield number, line
