"""The first records of a source as they would be mapped, without writing anything."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from persona_pipelines.logs import mapping
from persona_pipelines.logs.files import LogFileError, log_files
from persona_pipelines.logs.loading import latest_timestamp, read_source, reading_errors
from persona_pipelines.settings import Settings, Source
from persona_pipelines.warehouse.connection import Warehouse

LOOKED_AT = 10_000


@dataclass(frozen=True)
class Preview:
    """First mapped records of a source, and the problems among the first ``looked_at``."""

    files: int
    file: str
    rows: pd.DataFrame
    looked_at: int
    problems: dict[str, int]


def preview_source(source: Source, settings: Settings, records: int) -> Preview:
    """Map the first records of a source's first file.

    Raises:
        LogFileError: no file, or it cannot be read as described.
    """
    files = log_files(source, settings)
    if not files:
        raise LogFileError(f"sources.{source.name}.path: no file matches {settings.displayed(settings.resolved(source.path))}")
    with reading_errors(files[:1]), Warehouse(None, b"\0" * 32) as engine:
        for batch in read_source(engine, source, settings, files[:1]):
            if source.kind == "lookup":
                shown = engine.frame(mapping.mapped_lookup(batch.fields, source).limit(records))
                return Preview(len(files), files[0].shown, shown, len(shown), {})
            if source.kind == "events":
                mapped = mapping.mapped_events(batch.fields, source, settings, False, latest_timestamp())
            else:
                mapped = mapping.mapped_listing(batch.fields, source)
            first = engine.frame(mapped.limit(LOOKED_AT)).sort_values(["source_line", "source_part"], ignore_index=True)
            shown = first.head(records).drop(columns=["source_file", "file_day", "record"])
            problems = first["problem"].value_counts().to_dict()
            return Preview(len(files), files[0].shown, shown, len(first), {str(reason): int(count) for reason, count in problems.items()})
    raise LogFileError(f"{files[0].shown}: empty; expected records")
