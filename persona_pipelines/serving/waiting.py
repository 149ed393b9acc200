"""What the live service has kept and no run has read yet: lists and events count in results only once a run has."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from persona_pipelines.logs.known_files import files_read
from persona_pipelines.serving.building import folder_of
from persona_pipelines.serving.journal import files_of, name_of, opened
from persona_pipelines.serving.outcomes import of_moments
from persona_pipelines.serving.shown import LISTS
from persona_pipelines.settings import Settings
from persona_pipelines.settings.whole import RECEIVED, received_folder
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


@dataclass(frozen=True)
class Waiting:
    """What waits for a run.

    Attributes:
        until: the newest event that results count, UTC; None without any.
        lists, events: kept, and not read by the run that was published last.
        behind: of the events those of days after ``logs_end``, the last day of the logs that were read: live events are read with the logs of their days.
    """

    until: dt.datetime | None
    lists: int
    events: int
    behind: int
    logs_end: dt.date | None

    @property
    def lines(self) -> tuple[str, ...]:
        """The same in sentences."""
        counted = "Nothing is counted yet" if self.until is None else f"Counted is what happened until {self.until:%Y-%m-%d %H:%M} UTC"
        if not (self.lists or self.events):
            return (f"{counted}; no list and no event waits for a run.",)
        told = [
            f"{counted}; {self.lists:,} lists and {self.events:,} events wait in the journal, and count once persona run has read them."
        ]
        if self.behind:
            told.append(
                f"The logs end on {self.logs_end}, and {self.behind:,} of the events are of later days: live events are read with the logs of "
                "their days, once these are there."
            )
        return tuple(told)


def waiting(warehouse: Warehouse, settings: Settings) -> Waiting:
    """What the published copy does not know of what was kept.

    Args:
        warehouse: the published copy.
    """
    events = of_moments(warehouse)
    table = warehouse.table(contracts.LIST_FILES)
    lists_read = dict(warehouse.tuples(table.select("source_file", "size_bytes")))
    folder = received_folder(settings.home)
    read = {
        entry.file: entry.size_bytes for source in settings.sources if source.name == RECEIVED for entry in files_read(warehouse, source)
    }
    days = [day for source in settings.sources_that_say_when() for entry in files_read(warehouse, source) for day in entry.days]
    logs_end = max(days, default=None)
    unread = {file: _lines(file, read.get(settings.displayed(folder / name_of(file)), 0)) for file in files_of(folder)}
    behind = [lines for file, lines in unread.items() if logs_end is not None and file.parent.name > f"{logs_end}"]
    return Waiting(
        warehouse.value(events.timestamp.max()),
        sum(_lines(file, lists_read.get(name_of(file), 0)) for file in files_of(folder_of(settings) / LISTS)),
        sum(unread.values()),
        sum(behind),
        logs_end,
    )


def _lines(file: Path, read: int) -> int:
    """Lines of a file of a journal behind its first ``read`` bytes."""
    with contextlib.suppress(FileNotFoundError), opened(file) as content:  # one in which nothing was kept goes
        content.seek(read)
        return sum(block.count(b"\n") for block in iter(lambda: content.read(1 << 20), b""))
    return 0
