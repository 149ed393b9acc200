"""What has become of files since the warehouse read them: new, changed, gone; and which days that concerns."""

from __future__ import annotations

import datetime as dt
import hashlib
import time
from dataclasses import dataclass

from persona_pipelines.logs.files import LogFile, LogFileError, log_files
from persona_pipelines.logs.known_files import FileRead, files_read
from persona_pipelines.logs.loading import available_days, file_days
from persona_pipelines.settings import Settings, Source
from persona_pipelines.warehouse.connection import Warehouse


@dataclass(frozen=True)
class Arrivals:
    """Days of files that are new or have changed, those that changed ones had before among them, and a digest of these files' state."""

    first: dt.date
    last: dt.date
    state: str


@dataclass(frozen=True)
class ToRead:
    """What a run over some days reads of a source: how many ``files`` of so many ``bytes``, and how many of them the published tables have
    not read as they are now. Of sources without dates in their paths that is every file: which days it has stands in its records."""

    source: str
    kind: str
    files: int
    new_or_changed: int
    bytes: int


def days_to_run(settings: Settings) -> tuple[dt.date, dt.date] | None:
    """First and last day that the logs cover, and those that files covered which have changed since they were read; None where there are none.

    A corrected file may have fewer days than the one before: what those days held is not left standing.
    """
    found = available_days(settings)
    if found is None:
        return None
    days = [day for read in _changed(settings).values() if read is not None for day in read.days if day >= settings.start_date]
    return min([found[0], *days]), max([found[1], *days])


def changed_days(settings: Settings) -> Arrivals | None:
    """The days of files that the warehouse has not read as they are now; None without any.

    What has been read is taken from the published copy. Files that changed within ``settle_seconds`` wait for the next look.
    """
    settled = (time.time() - settings.logs.settle_seconds) * 1e9
    changed = {(source, file): read for (source, file), read in _changed(settings).items() if file.modified_ns <= settled}
    days = [day for read in changed.values() if read is not None for day in read.days]
    for source in settings.sources_that_say_when():
        mine = {file for other, file in changed if other == source.name}
        if mine:
            days += [day for file, span in file_days(source, settings).items() if file in mine for day in span or ()]
    days = [day for day in days if day >= settings.start_date]
    if not days:
        return None
    state = "".join(f"{source}{file.shown}{file.size_bytes}{file.modified_ns}" for source, file in changed)
    return Arrivals(min(days), max(days), hashlib.sha256(state.encode()).hexdigest())


def files_to_read(settings: Settings, first: dt.date, last: dt.date) -> list[ToRead]:
    """What a run over the days would read, source by source."""
    changed = set(_changed(settings))
    found = []
    for source in settings.sources:
        files = _files(source, settings, first, last) if source.dated else _files(source, settings)
        new = sum((source.name, file) in changed for file in files) if source.kind == "events" else len(files)
        found.append(ToRead(source.name, source.kind, len(files), new, sum(file.size_bytes for file in files)))
    return found


def days_read_of_undated(settings: Settings) -> list[dt.date] | None:
    """First and last days of what the published tables have read of the files of sources without dates; None where these are not as they
    were read, so that nobody knows how far they reach."""
    undated = {source.name for source in settings.sources_of("events") if not source.dated}
    if not settings.published_file.exists() or any(source in undated for source, _ in _changed(settings)):
        return None
    with Warehouse(settings.published_file, read_only=True) as published:
        return [
            day
            for source in settings.sources_of("events")
            if source.name in undated
            for entry in files_read(published, source)
            for day in entry.days
        ]


def _changed(settings: Settings) -> dict[tuple[str, LogFile], FileRead | None]:
    """Files that are not as the published tables have read them, by source, and how those have read them; None of new ones."""
    read: dict[tuple[str, str], FileRead] = {}
    if settings.published_file.exists():
        with Warehouse(settings.published_file, read_only=True) as published:
            read = {(source.name, entry.file): entry for source in settings.sources_of("events") for entry in files_read(published, source)}
    found: dict[tuple[str, LogFile], FileRead | None] = {}
    for source in settings.sources_that_say_when():
        for file in _files(source, settings):
            entry = read.get((source.name, file.shown))
            if entry is None or not entry.is_as_read(file):
                found[source.name, file] = entry
    return found


def _files(source: Source, settings: Settings, first: dt.date | None = None, last: dt.date | None = None) -> list[LogFile]:
    try:
        return log_files(source, settings, first, last)
    except LogFileError:
        return []  # no file yet
