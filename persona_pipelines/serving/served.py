"""The log of served lists as a table: files that are new or have grown are read, all others are as they were."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
import pandas as pd

from persona_pipelines.errors import ProjectError
from persona_pipelines.serving.journal import event_of, files_of
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame

ROWS_AT_ONCE = 200_000
ITEM_COLUMNS = ("items", "propensities", "sources")


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
        found.append(ListFile(path, f"{path.parent.name}/{path.name}", day, path.stat().st_size))
    return found


def rows_of(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each item of a served list: columns of ``contracts.SERVED_LISTS`` but for day, file and line.

    Args:
        record: as ``Shown.record`` makes it.
    Raises:
        ValueError: it has not what a served list has.
    """
    try:
        places = list(zip(*(record[name] for name in ITEM_COLUMNS), strict=True))
        of_list = {
            "list_id": record["list_id"],
            "served_at": dt.datetime.fromisoformat(record["served_at"]).replace(tzinfo=None),
            "person": record["person"],
            "is_device": record["device"],
            **{name: record[name] for name in ("slot", "model", "model_version", "experiment", "variant", "shadow")},
        }
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no served list ({error!r})") from None
    return [
        {**of_list, "position": position, "item_id": item, "propensity": float(propensity), "item_source": source}
        for position, (item, propensity, source) in enumerate(places, 1)
    ]


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
    rows: list[dict[str, Any]] = []
    for line, content in _lines(file):
        size += len(content)
        record = event_of(content)
        try:
            found = rows_of(record) if record is not None else None
        except ValueError:
            found = None
        if found is None:
            damaged += 1
            continue
        lists += 1
        rows += [{**row, "day": file.day, "source_file": file.name, "source_line": line} for row in found]
        if len(rows) >= ROWS_AT_ONCE:
            _append(warehouse, rows)
            rows = []
    _append(warehouse, rows)
    told = {"day": file.day, "source_file": file.name, "size_bytes": size, "lists": lists, "damaged": damaged}
    warehouse.append(contracts.LIST_FILES, ibis.memtable([told]))


def _append(warehouse: Warehouse, rows: list[dict[str, Any]]) -> None:
    if rows:
        warehouse.append(contracts.SERVED_LISTS, from_frame(pd.DataFrame(rows, columns=contracts.SERVED_LISTS.column_names)))


def _lines(file: ListFile) -> Iterator[tuple[int, bytes]]:
    """The lines of a file up to the size that it had when it was found, each with its number from 1: the service may be writing to it."""
    read = 0
    with file.path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if read + len(line) > file.size_bytes:
                return
            read += len(line)
            yield number, line
