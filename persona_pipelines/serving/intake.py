"""How events come in: read, made durable, taken into the state."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from persona_pipelines.serving.catalogue import Row, as_kept
from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.journal import FINISH_SECONDS, Journal, JournalError, line_of
from persona_pipelines.serving.metrics import Metrics
from persona_pipelines.serving.received import LONGEST_FIELD, PERSONALISATION, Ignored, InvalidEventError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Taken:
    """How many events were accepted, how many were known already, and those that change no list."""

    accepted: int
    repeated: int
    ignored: Sequence[Ignored]


@dataclass(frozen=True)
class _Waiting:
    """Records that are to be kept, and ``done``, which is given those of them that were new."""

    records: Sequence[dict[str, Any]]
    done: asyncio.Future[list[dict[str, Any]]]


@dataclass
class Intake:
    """Where events come in, whoever sends them: they are read, made durable in groups (what comes while the disk is busy is written together), and taken
    into the state in the order of the journal."""

    journal: Journal
    engine: Engine
    metrics: Metrics
    hear: Callable[[list[dict[str, Any]]], None] = field(default=lambda events: None)
    """Told of what was accepted by ``take``: what comes out of a stream goes by ``take_in``, and is not told."""
    _waiting: list[_Waiting] = field(default_factory=list)
    _awake: asyncio.Event = field(default_factory=asyncio.Event)
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="journal"))

    async def take(self, documents: Sequence[Any]) -> Taken:
        """The events of some documents, all or none, are durable and taken in when this returns; those whose id is known are left out.

        Raises:
            InvalidEventError: one cannot be used; its place is named where there are several.
            JournalError: they cannot be kept.
        """
        try:
            understood = self.engine.reader.understood(documents)
        except InvalidEventError:
            self.metrics.events.labels("refused").inc()
            raise
        records = understood.records
        fresh = await self.take_in(records)
        self.hear(fresh)
        new = {record["event_id"] for record in fresh}
        told = [
            Ignored(index, why)
            for record, index in zip(records, understood.indexes, strict=True)
            if record["event_id"] in new and (why := self._without_effect(record)) is not None
        ]
        return Taken(len(fresh), len(records) - len(fresh), sorted([*understood.ignored, *told]))

    def _without_effect(self, record: Mapping[str, Any]) -> str | None:
        """Why a record changes no list though its type says something of an item; None where it changes lists, or its type does not."""
        kind, item, state = record["event_type"], record.get("item_id"), self.engine.state
        if kind not in state.rules.weights:
            return None
        if item is None:
            return f"item_id: not given; {kind} is kept, and changes lists with an item alone"
        if item not in state.places:
            return (
                f"item_id: {item[:LONGEST_FIELD]!r} is not in the catalogue; the event is kept, and counts once the catalogue has the item"
            )
        person = state.seen_before(str(state.owner_of(record.get("user_id"), record.get("anonymous_id"))), user="user_id" in record)
        if not person.personalised:
            if person.said is not None:
                words = f"{PERSONALISATION}, as they said last"
            elif person.number >= 0:
                words = "users.consent_personalisation of the last run"
            else:
                words = "privacy.consent_when_unknown"
            return f"kept; lists of this person are the same for all, by {words}, and it counts in them once they consent"
        return None

    async def take_in(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Those records whose id is not known when their turn comes: they are durable and taken in when this returns.

        Raises:
            JournalError: they cannot be kept, and none of them is.
        """
        fresh: list[dict[str, Any]] = []
        if not all(map(self.engine.state.repeats, records)):
            waiting = _Waiting(records, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            self._awake.set()
            fresh = await waiting.done
        self.metrics.events.labels("repeated").inc(len(records) - len(fresh))
        return fresh

    async def run(self) -> None:
        """Write what waits, until it is cancelled. A fault of ours refuses the events at hand, and never leaves anybody waiting."""
        self._awake = asyncio.Event()
        if self._waiting:  # what came before this began
            self._awake.set()
        while True:
            await self._awake.wait()
            self._awake.clear()
            group, self._waiting = self._waiting, []
            fresh = self._fresh(group)
            try:
                await self._write([event for events in fresh for event in events])
                error: BaseException | None = None
            except JournalError as refused:
                error = refused
            except asyncio.CancelledError:
                self._refuse([*group, *self._waiting], JournalError("the service is being stopped"))
                raise
            except Exception as fault:  # noqa: BLE001 - whoever waits has to be told
                _LOG.exception("a fault while keeping events")
                error = fault
            if error is not None:
                self._refuse(group, error)
                continue
            for waiting, events in zip(group, fresh, strict=True):
                if not waiting.done.done():
                    waiting.done.set_result(events)

    def _fresh(self, group: Sequence[_Waiting]) -> list[list[dict[str, Any]]]:
        """The events of each who waits whose id is new; where several wait with one event, it is that of the first."""
        taken: set[str] = set()
        found = []
        for waiting in group:
            events: dict[str, dict[str, Any]] = {}
            for record in waiting.records:
                if record["event_id"] not in taken and not self.engine.state.repeats(record):
                    events.setdefault(record["event_id"], record)
            taken |= events.keys()
            found.append(list(events.values()))
        return found

    async def settled(self) -> None:
        """Nothing is being written any more when this returns."""
        await asyncio.get_running_loop().run_in_executor(self._pool, lambda: None)

    async def finish_files(self) -> None:
        """End old files of the journal, until it is cancelled: a run reads those that are ended alone."""
        while True:
            await asyncio.sleep(FINISH_SECONDS)
            await asyncio.get_running_loop().run_in_executor(self._pool, self.journal.finish_old)

    async def _write(self, events: list[dict[str, Any]]) -> None:
        if not events:
            return
        lines, began = [line_of(event) for event in events], time.perf_counter()
        try:
            await asyncio.get_running_loop().run_in_executor(self._pool, self.journal.append, lines)
        except JournalError:
            self.metrics.events.labels("not kept").inc(len(lines))
            raise
        self.metrics.durable.observe(time.perf_counter() - began)
        self.engine.take(events)
        self.metrics.events.labels("accepted").inc(len(lines))

    @staticmethod
    def _refuse(group: Sequence[_Waiting], error: BaseException) -> None:
        for waiting in group:
            if not waiting.done.done():
                waiting.done.set_exception(error)


@dataclass
class ItemIntake:
    """Where rows of the catalogue come in: they are on the disk, and in the next list, when ``take`` returns."""

    engine: Engine
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, rows: Sequence[Row]) -> list[str]:
        """The ids of those items of the rows that are new.

        Raises:
            CatalogueError: there is no room for them, or they cannot be kept; none is taken then.
        """
        engine, loop = self.engine, asyncio.get_running_loop()
        spelled = engine.reader.spelling.of
        kept = [as_kept(row.model_copy(update={"item_id": spelled(row.item_id)}), engine.now()) for row in rows]
        async with self._one:
            catalogue = engine.catalogue
            catalogue.room_for(kept)
            kept = [row if row["item_id"] in catalogue.places else {**row, "arrived": row["received"]} for row in kept]
            if engine.kept is not None:
                await loop.run_in_executor(None, engine.kept.put, kept)
            likenesses = await loop.run_in_executor(None, catalogue.likenesses, kept)
            new = [item for item in dict.fromkeys(row["item_id"] for row in kept) if item not in engine.catalogue.places]
            if engine.catalogue is catalogue:
                engine.put(kept, likenesses)
            else:  # another snapshot was taken meanwhile
                engine.catch_up()
            return new
