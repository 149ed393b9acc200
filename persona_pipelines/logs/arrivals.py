"""Which days have files that the warehouse has not read as they are now."""

from __future__ import annotations

import datetime as dt
import hashlib
import time

from persona_pipelines.logs.files import LogFile, LogFileError, log_files
from persona_pipelines.logs.loading import file_days
from persona_pipelines.settings import Settings, Source
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


def changed_days(settings: Settings) -> tuple[dt.date, dt.date, str] | None:
    """First and last day of files that are new or have changed, and a digest of these files' state; None without any.

    What has been read is taken from the published copy. Files that changed within ``settle_seconds`` wait for the next look.
    """
    read: set[tuple[str, str, int, int]] = set()
    if settings.published_file.exists():
        with Warehouse(settings.published_file, read_only=True) as published:
            files = published.table(contracts.FILES)
            rows = published.connection.execute(
                published.sql(files.select("source", "source_file", "size_bytes", "modified_ns"))
            ).fetchall()
            read = {(row[0], row[1], row[2], row[3]) for row in rows}
    settled = (time.time() - settings.logs.settle_seconds) * 1e9
    changed: list[tuple[Source, LogFile]] = []
    for source in settings.sources_of("events"):
        try:
            found = log_files(source, settings)
        except LogFileError:
            continue  # no file yet
        changed += [
            (source, file)
            for file in found
            if (source.name, file.shown, file.size_bytes, file.modified_ns) not in read and file.modified_ns <= settled
        ]
    days: list[dt.date] = []
    for source in {source.name: source for source, _ in changed}.values():
        spans = file_days(source, settings)
        days += [day for other, file in changed if other.name == source.name for day in spans.get(file) or ()]
    days = [day for day in days if day >= settings.start_date]
    if not days:
        return None
    state = "".join(f"{source.name}{file.shown}{file.size_bytes}{file.modified_ns}" for source, file in changed)
    return min(days), max(days), hashlib.sha256(state.encode()).hexdigest()
