"""What came over HTTP is told to other services by a stream. The journal is what remembers: what a broker has not been told yet is read from it again."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime as dt
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from persona_pipelines.files import write_whole
from persona_pipelines.serving.journal import events_of, files_of
from persona_pipelines.serving.sealing import sealed
from persona_pipelines.serving.streaming import CHECK_SECONDS, STREAM, Connection, Link, StreamFigures
from persona_pipelines.settings.streams import PublishSettings

TOGETHER = 100
"""Most records of a message."""
MOST_WAITING = 100_000
"""Events that wait in memory; beyond them they are read from the journal again."""
SLACK = dt.timedelta(minutes=1)
"""Events are kept in nearly the order in which they came: so much is published once more, and left out by who knows it."""
MARK_SECONDS = 1.0


@dataclass
class Publisher:
    """Publishes events until it is cancelled: at least once each, in their order.

    Attributes:
        key: of the pseudonyms, by which messages are sealed.
        journal: its folder.
        mark: file with the moment up to which events are published.
        now: the moment, UTC without zone.
    """

    options: PublishSettings
    link: Link
    key: bytes
    journal: Path
    mark: Path
    figures: StreamFigures
    now: Callable[[], dt.datetime]
    _waiting: collections.deque[dict[str, Any]] = field(default_factory=collections.deque)
    _awake: asyncio.Event = field(default_factory=asyncio.Event)
    _missed: bool = True
    """Whether the journal has events that are neither published nor waiting."""
    _until: str = ""
    _marked: float = 0.0

    def hear(self, events: list[dict[str, Any]]) -> None:
        """Events that are durable."""
        if len(self._waiting) + len(events) > MOST_WAITING:
            self._missed = True
        else:
            self._waiting.extend(events)
        self.figures.waiting.set(len(self._waiting))
        self._awake.set()

    async def run(self) -> None:
        """Publish until this is cancelled."""
        self._until = self._begin()
        try:
            await self.link.hold(self._publish)
        finally:
            self._remember()

    def state(self) -> dict[str, Any]:
        """How it is, for ``/readyz``."""
        told = {"stream": self.options.stream, "type": self.options.type, "connected": self.link.connected}
        return {**told, "waiting": len(self._waiting), "trouble": self.link.trouble or None}

    async def _publish(self, connection: Connection) -> None:
        await connection.open(None)
        checked = -CHECK_SECONDS
        while True:
            if time.monotonic() - checked >= CHECK_SECONDS:
                await connection.check()
                self.link.opened()
                checked = time.monotonic()
            if self._missed:
                await self._catch_up(connection)
            while self._waiting:
                group = list(itertools.islice(self._waiting, TOGETHER))
                await self._send(connection, group)
                for _ in group:
                    self._waiting.popleft()
                self.figures.waiting.set(len(self._waiting))
            self._awake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._awake.wait()

    async def _catch_up(self, connection: Connection) -> None:
        """Publish what the journal has and nobody was told. What comes meanwhile waits, and is published once more at worst."""
        self._missed = False
        try:
            events = unpublished(self.journal, self._until)
            while group := await asyncio.to_thread(lambda: list(itertools.islice(events, TOGETHER))):
                await self._send(connection, group)
        except BaseException:
            self._missed = True
            raise

    async def _send(self, connection: Connection, events: Sequence[dict[str, Any]]) -> None:
        await connection.publish(self.options.stream, [sealed(events, self.key)], self.options.keep)
        self.figures.published.inc(len(events))
        self._until = max(self._until, events[-1]["received"])
        if time.monotonic() - self._marked >= MARK_SECONDS:
            self._remember()

    def _begin(self) -> str:
        """From when on events are published: where it was left, else from now on."""
        try:
            return self.mark.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            self._missed = False
            return f"{self.now().isoformat(timespec='microseconds')}Z"

    def _remember(self) -> None:
        # Without waiting for the disk: a mark that is lost costs nothing but messages that are sent once more.
        with contextlib.suppress(OSError):
            write_whole(self.mark, self._until + "\n", mode=0o600)
        self._marked = time.monotonic()


def unpublished(journal: Path, since: str) -> Iterator[dict[str, Any]]:
    """The events of a journal that came over HTTP at ``since`` (ISO 8601) or later, and a minute before; damaged lines are left out."""
    begin = dt.datetime.fromisoformat(since.removesuffix("Z")) - SLACK
    files = [file for file in files_of(journal) if file.parent.name >= f"{begin:%Y-%m-%d}"]
    earliest = f"{begin.isoformat(timespec='microseconds')}Z"
    return (event for event in events_of(files, lambda damaged: None) if event["received"] >= earliest and STREAM not in event)
