"""The memory of what was shown: each served list as a line, kept beside the work of the service and never in its way.

Lines are those of ``journal``, in ``2025-09-30/000000017.jsonl`` and so on below a folder of their own. Unlike an accepted event, a served list is not waited for:
it is on the disk within a second, and a service that is killed loses at most the lists of that second. Where the disk is full, lists are dropped and counted.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from persona_pipelines.serving.journal import Journal, JournalError, line_of

_LOG = logging.getLogger(__name__)
LISTS = "lists"
"""The folder of served lists, below that of the live service."""
SECONDS = 1.0
"""So often is written what waits."""
MOST_WAITING = 200_000
"""Lists that wait while a disk does not answer; more are dropped."""


class Shown(NamedTuple):
    """A served list.

    Attributes:
        served_at: UTC, without a zone.
        person: pseudonym; None for a list that is the same for all. ``device``: whether it is that of a device.
        experiment, variant: those that the person takes part in; None without any.
        shadow: the list was made to be compared, and nobody saw it.
        items: ids, the first place first; each with ``propensities``, the probability that this item stood at this place, and ``sources``.
    """

    list_id: str
    served_at: dt.datetime
    person: str | None
    device: bool
    slot: str | None
    model: str
    model_version: str
    experiment: str | None
    variant: str | None
    shadow: bool
    items: Sequence[str]
    propensities: Sequence[float]
    sources: Sequence[str]

    def record(self) -> dict[str, Any]:
        """The list as its line says it: each attribute by its name, the moment as text (ISO 8601, UTC)."""
        return {
            "list_id": self.list_id,
            "served_at": f"{self.served_at.isoformat(timespec='microseconds')}Z",
            "person": self.person,
            "device": self.device,
            "slot": self.slot,
            "model": self.model,
            "model_version": self.model_version,
            "experiment": self.experiment,
            "variant": self.variant,
            "shadow": self.shadow,
            "items": list(self.items),
            "propensities": list(self.propensities),
            "sources": list(self.sources),
        }


class ListLog:
    """The log of served lists below a folder, held by one process until it is closed.

    Args:
        folder: of the log; it is made where it is missing.
        today: the day whose folder is written into.
        seconds: between two times of writing.
        shared: with other processes of the same service.
    Raises:
        JournalHeldError: another process has it.
        JournalError: the folder cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        today: Callable[[], dt.date],
        *,
        seconds: float = SECONDS,
        sync: Callable[[int], None] = os.fsync,
        shared: bool = False,
    ) -> None:
        self._refused = self._lost = 0  # one of each thread: neither waits for the other to count
        self._journal = Journal(folder, today, sync, shared=shared)
        self._waiting: deque[Shown] = deque()
        self._seconds = seconds
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="served lists", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lists that could not be kept."""
        return self._refused + self._lost

    def add(self, shown: Shown) -> None:
        """Keep a list: it is put down here and written by a thread of its own. Callers are in one thread."""
        if len(self._waiting) >= MOST_WAITING:
            self._refused += 1
        else:
            self._waiting.append(shown)

    def close(self) -> None:
        """Write what waits, and let go of the folder."""
        self._end.set()
        self._thread.join()
        self._journal.close()

    def _run(self) -> None:
        told = False
        while True:
            ended = self._end.wait(self._seconds)
            problem = self._write()
            self._journal.finish_old()
            if problem and not told:
                _LOG.warning("served lists are dropped: %s", problem)
            if problem is not None:
                told = bool(problem)  # once: a disk stays full for longer than a second
            if ended:
                return

    def _write(self) -> str | None:
        """Write what waits: why it could not be, an empty text where it could, None where nothing waits."""
        group = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if not group:
            return None
        try:
            self._journal.append([line_of(shown.record()) for shown in group])
        except JournalError as error:
            self._lost += len(group)
            return str(error)
        except Exception:  # noqa: BLE001 - a fault of ours costs the lists at hand; without this thread, all others would be lost too
            self._lost += len(group)
            _LOG.exception("a fault while keeping served lists")
        return ""
