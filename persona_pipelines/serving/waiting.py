"""What the live service has kept and no run has read yet: lists and events count in results only once a run has."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from persona_pipelines.logs.known_files import files_read
from persona_pipelines.serving.building import folder_of
from persona_pipelines.serving.journal import FINISH_SECONDS, OLDEST_FILE_SECONDS, OPEN, files_of, name_of, opened
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
        writing: of the events those in files that are still written, which no run reads; lists are read out of such files too.
        open_lists: lists that were read, and of which what came within ``hours`` (``serving.outcome_hours``) is not known yet: ``list_results`` is without them.
        writing_until: when these files have ended at the latest, UTC; None where they are those of a service that was killed.
    """

    until: dt.datetime | None
    lists: int
    events: int
    behind: int
    logs_end: dt.date | None
    writing: int = 0
    writing_until: dt.datetime | None = None
    open_lists: int = 0
    hours: float = 0.0

    @property
    def lines(self) -> tuple[str, ...]:
        """The same in sentences."""
        counted = "Nothing is counted yet" if self.until is None else f"Counted is what happened until {self.until:%Y-%m-%d %H:%M} UTC"
        if self.lists or self.events:
            waits = f"{self.lists:,} lists and {self.events:,} events wait in the journal, and count once persona run has read them"
        else:
            waits = "no list and no event waits for a run"
        told = [f"{counted}; {waits}."]
        if self.open_lists:
            told.append(
                f"Of {self.open_lists:,} lists the {self.hours:g} hours (serving.outcome_hours) were not over then: list_results has them after that; an "
                "experiment counts them with what came so far."
            )
        if self.writing:
            ended = (
                "which a service left that was killed: they end when persona serve starts again"
                if self.writing_until is None
                else f"which end by {self.writing_until:%Y-%m-%d %H:%M:%S} UTC at the latest: a persona run after that finds them"
            )
            told.append(f"{self.writing:,} of the events are in files that are still written, {ended}.")
        if self.behind:
            told.append(
                f"The logs end on {self.logs_end}, and {self.behind:,} of the events are of later days: live events are read with the logs of "
                "their days, once these are there."
            )
        return tuple(told)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def waiting(warehouse: Warehouse, settings: Settings, now: Callable[[], dt.datetime] = _now) -> Waiting:
    """What the published copy does not know of what was kept.

    Args:
        warehouse: the published copy.
        now: the moment, UTC without zone.
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
    written = {file: end for file, lines in unread.items() if lines and (end := _end(file)) is not None}
    return Waiting(
        warehouse.value(events.timestamp.max()),
        sum(_lines(file, lists_read.get(name_of(file), 0)) for file in files_of(folder_of(settings) / LISTS)),
        sum(unread.values()),
        sum(behind),
        logs_end,
        sum(unread[file] for file in written),
        max((end for end in written.values() if end > now()), default=None),
        _open_lists(warehouse),
        settings.serving.outcome_hours,
    )


def _open_lists(warehouse: Warehouse) -> int:
    outcomes = warehouse.table(contracts.LIST_OUTCOMES)
    return int(warehouse.value(outcomes.filter(~outcomes.complete).list_id.nunique()))


def _end(file: Path) -> dt.datetime | None:
    """When a file of a journal that is still written is ended at the latest, UTC; None for one that is not. It was begun no later than it was written last."""
    with contextlib.suppress(FileNotFoundError):  # it has been ended since
        if file.name.endswith(OPEN):
            last = dt.datetime.fromtimestamp(file.stat().st_mtime, dt.UTC).replace(tzinfo=None)
            return last + dt.timedelta(seconds=OLDEST_FILE_SECONDS + FINISH_SECONDS)
    return None


def _lines(file: Path, read: int) -> int:
    """Lines of a file of a journal behind its first ``read`` bytes."""
    with contextlib.suppress(FileNotFoundError), opened(file) as content:  # one in which nothing was kept goes
        content.seek(read)
        return sum(block.count(b"\n") for block in iter(lambda: content.read(1 << 20), b""))
    return 0
