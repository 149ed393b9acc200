"""Several processes over one journal: each writes files of its own, and follows those of the others, so that any of them may be asked for anybody."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.journal import OPEN, Journal, event_of, name_of

_LOG = logging.getLogger(__name__)
FOLLOW_SECONDS = 0.01
BLOCK_BYTES = 1 << 20
SAME_MOMENT_NANOSECONDS = 100_000_000
"""By more than this no file system's clock is coarse."""


@dataclass
class Followed:
    """A file that another process writes: how far it was read, and what is not a whole line yet."""

    path: Path
    file: int
    rest: bytes = b""


@dataclass
class Follower:
    """Takes in what other processes have accepted: before each list (``catch_up``), and every ``FOLLOW_SECONDS``.

    Attributes:
        journal: of this process; files that were ended when it began are known already.
        today: the day whose files are looked for, and those of the day before.
    """

    engine: Engine
    journal: Journal
    today: Callable[[], dt.date]
    _files: dict[str, Followed] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)
    _seen: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._known = {name_of(file) for file in self.journal.before}

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(FOLLOW_SECONDS)
            self.catch_up()
            try:
                await self._items()
            except Exception:  # noqa: BLE001 - the others are followed again at the next look
                _LOG.exception("a fault while following other processes")

    def catch_up(self) -> None:
        """Take in what has come; where that fails it is told, and tried again at the next look."""
        try:
            self.look()
        except Exception:  # noqa: BLE001 - what is known is answered meanwhile
            _LOG.exception("a fault while following other processes")

    def look(self) -> None:
        """Take in what has come."""
        for back in (1, 0):
            self._find(self.journal.folder / f"{self.today() - dt.timedelta(days=back):%Y-%m-%d}")
        for name, followed in list(self._files.items()):
            ended = not followed.path.exists()  # before reading: what was written until then is read
            if not self._read(followed) and ended:
                os.close(followed.file)
                del self._files[name]

    def close(self) -> None:
        for followed in self._files.values():
            os.close(followed.file)

    def _find(self, day: Path) -> None:
        """Files of a day that are new; a folder without a change has none."""
        try:
            changed = day.stat().st_mtime_ns
        except FileNotFoundError:
            return
        if self._seen.get(day.name) == changed:
            return
        for path in sorted(day.iterdir()):
            name = name_of(path)
            if name in self._known or name in self.journal.own or not name.endswith(".jsonl"):
                continue
            with contextlib.suppress(FileNotFoundError):  # ended in this moment: it is found by its other name
                self._files[name] = Followed(
                    path if path.name.endswith(OPEN) else path.with_name(path.name + OPEN), os.open(path, os.O_RDONLY)
                )
                self._known.add(name)
        if time.time_ns() - changed > SAME_MOMENT_NANOSECONDS:  # else the folder may change once more and its moment stay
            self._seen[day.name] = changed

    def _read(self, followed: Followed) -> bool:
        """Take in the whole lines that are new; whether there were any bytes."""
        found = False
        while block := os.read(followed.file, BLOCK_BYTES):
            found = True
            *lines, followed.rest = (followed.rest + block).split(b"\n")
            self.engine.take(event for line in lines if (event := event_of(line + b"\n")) is not None)
        return found

    async def _items(self) -> None:
        """Take in rows of the catalogue that came to another process."""
        kept = self.engine.kept
        if kept is None or not kept.changed():
            return
        kept.read()
        waiting = self.engine.waiting_rows()
        catalogue = self.engine.catalogue
        likenesses = await asyncio.get_running_loop().run_in_executor(None, catalogue.likenesses, waiting)
        if self.engine.catalogue is catalogue:
            self.engine.put(waiting, likenesses)
