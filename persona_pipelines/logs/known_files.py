"""The record of what was read of each file, and what differs from it now."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from persona_pipelines.logs.files import LogFile
from persona_pipelines.settings import Source
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


@dataclass(frozen=True)
class FileRead:
    """A file as it was when it was read: ``days`` are the first and last of its records, empty without any."""

    file: str
    size_bytes: int
    modified_ns: int
    days: tuple[dt.date, ...]

    def is_as_read(self, file: LogFile) -> bool:
        return (self.size_bytes, self.modified_ns) == (file.size_bytes, file.modified_ns)


def files_read(warehouse: Warehouse, source: Source) -> list[FileRead]:
    """Every file of a source that the tables have records of, or had looked for some in."""
    table = warehouse.table(contracts.FILES)
    rows = warehouse.frame(
        table.filter(table.source == source.name).select("source_file", "size_bytes", "modified_ns", "first_day", "last_day")
    )
    return [
        FileRead(
            row.source_file,
            int(row.size_bytes),
            int(row.modified_ns),
            tuple(day.date() if hasattr(day, "date") else day for day in (row.first_day, row.last_day) if day == day and day is not None),
        )
        for row in rows.itertuples()
    ]


def what_became_of(warehouse: Warehouse, source: Source, files: list[LogFile], first: dt.date, last: dt.date) -> list[str]:
    """Files that went or changed since they were read, where that leaves records of before or takes some away, in words.

    Args:
        files: all of the source as they are now.
        first, last: the days that are being loaded: their records are replaced, those of other days stay.
    """
    now = {file.shown: file for file in files}
    gone, stale = [], []
    for read in files_read(warehouse, source):
        if not read.days:
            continue
        if read.file not in now:
            gone.append(read)
        elif not read.is_as_read(now[read.file]) and (read.days[0] < first or read.days[1] > last):
            stale.append(read)
    told = []
    if dropped := [read for read in gone if read.days[0] <= last and read.days[1] >= first]:
        told.append(
            f"{source.name}: {_named(dropped)} went since being read: the records of {max(first, min(read.days[0] for read in dropped))} to "
            f"{min(last, max(read.days[1] for read in dropped))} that came from there are dropped, because these days are loaded anew"
        )
    if stale:
        told.append(
            f"{source.name}: {_named(stale)} changed since being read: records of the version before stay outside of {first} to {last}; "
            f"--from {min(read.days[0] for read in stale)} --to {max(read.days[1] for read in stale)} replaces them"
        )
    return told


def _named(read: list[FileRead]) -> str:
    names = sorted(entry.file for entry in read)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} other files" if len(names) > 3 else "")
