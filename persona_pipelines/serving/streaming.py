"""Events out of streams: read, taken in, and only then acknowledged. What the brokers' clients do differently is in ``brokers``."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import datetime as dt
import itertools
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge

from persona_pipelines.errors import plain
from persona_pipelines.serving.intake import Intake
from persona_pipelines.serving.received import InvalidEventError, Reader
from persona_pipelines.serving.sealing import is_sealed, unsealed
from persona_pipelines.settings.streams import StreamSettings

_LOG = logging.getLogger(__name__)
STREAM = "stream"
"""Of a record in the journal: the name of the stream that it came out of."""
CHECK_SECONDS = 1.0
"""So often a connection is looked at, and how far behind it is."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds until something is tried again."""
DEAD_LETTERS_KEPT = 100_000
"""Of a Redis stream, about."""


@dataclass(frozen=True)
class Message:
    """A message of a stream.

    Attributes:
        id: the same whenever the message is delivered, and no other message of the stream has it.
        content: JSON, if its sender keeps to what is expected.
        sent: when the broker got it, UTC without zone.
    """

    id: str
    content: bytes
    sent: dt.datetime


Take = Callable[[Sequence[Message]], Awaitable[None]]
"""What is done with messages that wait; they may be acknowledged when it returns, and not where it raises."""


class Connection(Protocol):
    """A connection to a broker, from its opening until it is lost; then another one is made."""

    async def open(self, take: Take | None) -> None:
        """Connect, and where ``take`` is given begin to follow the stream. Raises whatever the client raises."""

    async def publish(self, stream: str, contents: Sequence[bytes], keep: int) -> None:
        """Add messages to a stream of the broker; it has them when this returns. Of Redis the stream keeps the last ``keep``, about."""

    async def check(self) -> None:
        """Raises where the connection is lost, or messages could not be handed on."""

    async def behind(self) -> int:
        """Messages of the stream that the group has not acknowledged."""

    async def close(self) -> None:
        """End it. Never raises."""


class StreamFigures:
    """Figures of streams for Prometheus."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.messages = Counter(
            "persona_stream_messages", "Messages by stream and what became of them.", ("stream", "outcome"), registry=registry
        )
        self.behind = Gauge("persona_stream_behind", "Messages of a stream that are not acknowledged yet.", ("stream",), registry=registry)
        self.behind_seconds = Gauge(
            "persona_stream_behind_seconds", "Age of the last message when it was taken; 0 when none waits.", ("stream",), registry=registry
        )
        self.connected = Gauge("persona_stream_connected", "Whether the broker of a stream is reached.", ("stream",), registry=registry)
        self.published = Counter("persona_published", "Events that were published.", registry=registry)
        self.waiting = Gauge("persona_publish_waiting", "Events that wait to be published.", registry=registry)
        self.publish_connected = Gauge("persona_publish_connected", "Whether the broker to publish to is reached.", registry=registry)


def records_of(message: Message, reader: Reader, largest: int, name: str) -> list[dict[str, Any]]:
    """The records of a message: an event, a list of events, or sealed records of another service. Events without an id have one made of the message's, so that
    a message which is delivered again is known; events without a moment are of when the message was sent.

    Args:
        largest: bytes of a message.
        name: of the stream; it stands in the records.
    Raises:
        InvalidEventError: the message cannot be used.
    """
    if len(message.content) > largest:
        raise InvalidEventError("message", f"{len(message.content):,} bytes", f"at most {largest:,} bytes (serving.largest_body_bytes)")
    try:
        document = orjson.loads(message.content)
    except orjson.JSONDecodeError as error:
        found = message.content[:60].decode(errors="replace")
        raise InvalidEventError("message", found, f"JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    if is_sealed(document):
        records = unsealed(document, reader.key)
    else:
        documents = document if isinstance(document, list) else [document]
        if not documents:
            raise InvalidEventError("message", "[]", "one event at least")
        numbers = itertools.count()
        records = (
            dataclasses.replace(reader, new_id=lambda: f"{message.id}/{next(numbers)}", sent=message.sent).understood(documents).records
        )
    return [{**record, STREAM: name} for record in records]


def dead_letter(message: Message, error: InvalidEventError, stream: str, now: dt.datetime, largest: int) -> bytes:
    """A message that cannot be used, as JSON: why, where it came from, when, and the message (at most ``largest`` bytes of it; as base64 where it is no text)."""
    content = message.content[:largest]
    try:
        told = {"message": content.decode(), "encoding": "utf-8"}
    except UnicodeDecodeError:
        told = {"message": base64.b64encode(content).decode(), "encoding": "base64"}
    return orjson.dumps(
        {
            "reason": str(error),
            "field": error.field,
            "found": error.found,
            "expected": error.expected,
            "stream": stream,
            "message_id": message.id,
            "sent": f"{message.sent.isoformat(timespec='milliseconds')}Z",
            "refused": f"{now.isoformat(timespec='milliseconds')}Z",
            **told,
        }
    )


def pauses() -> Iterator[float]:
    """Seconds until the next try: twice as long each time, with a part by chance, so that services which lost one broker do not come back all at once."""
    pause = FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.5, 1)  # noqa: S311 - nothing secret
        pause = min(2 * pause, LONGEST_PAUSE)


@dataclass
class Link:
    """A connection that is made again whenever it is lost.

    Attributes:
        name: what the log calls it.
        connect: makes a connection that is not open yet.
        secret: what may not stand in a text of an error.
        connected: whether it is open now; ``trouble``: why not, empty where it is.
    """

    name: str
    connect: Callable[[], Connection]
    secret: str
    told: Callable[[bool], None]
    connected: bool = False
    trouble: str = "not connected yet"

    async def hold(self, use: Callable[[Connection], Awaitable[None]]) -> None:
        """Connect and use the connection until it raises, again and again, until this is cancelled."""
        waits = pauses()
        while True:
            connection = self.connect()
            try:
                await use(connection)
            except Exception as error:  # noqa: BLE001 - clients of brokers raise whatever they like
                self._lost(error)
                if self.connected:
                    waits = pauses()
            finally:
                self.connected = False
                self.told(False)
                await connection.close()
            await asyncio.sleep(next(waits))

    def opened(self) -> None:
        """The connection is open."""
        if not self.connected:
            _LOG.info("%s: connected", self.name)
        self.connected, self.trouble = True, ""
        self.told(True)

    def _lost(self, error: Exception) -> None:
        told = plain(str(error) or type(error).__name__)
        told = told.replace(self.secret, "***") if self.secret else told
        if told != self.trouble:
            _LOG.warning("%s: %s; it is tried again", self.name, told)
        self.trouble = told


@dataclass
class Follower:
    """Takes the events of one stream in.

    Attributes:
        link: to the broker.
        largest: bytes of a message.
        now: the moment, UTC without zone.
    """

    options: StreamSettings
    link: Link
    intake: Intake
    figures: StreamFigures
    largest: int
    now: Callable[[], dt.datetime]
    behind: int = 0
    behind_seconds: float = 0.0
    refused: str = ""
    """Why events cannot be kept; empty where they can."""
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self) -> None:
        """Follow the stream until this is cancelled."""
        await self.link.hold(self._follow)

    async def _follow(self, connection: Connection) -> None:
        async def take(messages: Sequence[Message]) -> None:
            await self.take(messages, connection)

        await connection.open(take)
        while True:
            await connection.check()
            self.link.opened()
            self.behind = await connection.behind()
            if not self.behind:
                self._age(0.0)
            self.figures.behind.labels(self.options.known_as).set(self.behind)
            await asyncio.sleep(CHECK_SECONDS)

    async def take(self, messages: Sequence[Message], connection: Connection) -> None:
        """When this returns, the events of the messages are durable and taken in, and those messages that cannot be used are in the stream of dead letters: all of
        them may be acknowledged. While events cannot be kept it waits and tries again, so that no more are fetched.

        Raises:
            Exception: the broker did not take the dead letters; nothing may be acknowledged then.
        """
        name = self.options.known_as
        usable: list[list[dict[str, Any]]] = []
        dead: list[bytes] = []
        for message in messages:
            try:
                usable.append(records_of(message, self.intake.engine.reader, self.largest, name))
            except InvalidEventError as error:
                dead.append(dead_letter(message, error, name, self.now(), self.largest))
            except Exception as fault:  # noqa: BLE001 - one message may not stop the stream for ever
                _LOG.exception("a fault while reading message %s of stream %s", message.id, name)
                told = InvalidEventError("message", type(fault).__name__, "a message that can be read; what led to this stands in the log")
                dead.append(dead_letter(message, told, name, self.now(), self.largest))
        async with self._one_at_a_time:  # a message that is delivered again while it waits here has to find itself known
            fresh = await self._kept([record for records in usable for record in records])
            if dead:
                await connection.publish(self.options.dead_letter_stream, dead, DEAD_LETTERS_KEPT)
        repeated = sum(bool(records) and not any(record["event_id"] in fresh for record in records) for records in usable)
        for outcome, count in (("taken", len(usable) - repeated), ("repeated", repeated), ("dead letter", len(dead))):
            self.figures.messages.labels(name, outcome).inc(count)
        self._age((self.now() - messages[-1].sent).total_seconds())

    async def _kept(self, records: list[dict[str, Any]]) -> set[str]:
        """The ids of those that were not known."""
        for pause in pauses():
            try:
                fresh = await self.intake.take_in(records)
            except Exception as error:  # noqa: BLE001 - whatever it is, an event that is not kept may not be acknowledged
                if not self.refused:
                    _LOG.warning("stream %s waits: %s", self.options.known_as, error)
                self.refused = str(error)
                await asyncio.sleep(pause)
            else:
                self.refused = ""
                break
        return {record["event_id"] for record in fresh}

    def _age(self, seconds: float) -> None:
        self.behind_seconds = max(seconds, 0.0)
        self.figures.behind_seconds.labels(self.options.known_as).set(self.behind_seconds)

    def state(self) -> dict[str, Any]:
        """How it is, for ``/readyz``."""
        return {
            "stream": self.options.known_as,
            "type": self.options.type,
            "connected": self.link.connected,
            "behind": self.behind,
            "behind_seconds": round(self.behind_seconds, 3),
            "trouble": self.refused or self.link.trouble or None,
        }


@contextlib.asynccontextmanager
async def in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Some endless work goes on while the block does."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield
    finally:
        going_on = set(tasks)
        while going_on:  # clients of brokers swallow a cancellation now and then
            for task in going_on:
                task.cancel()
            _, going_on = await asyncio.wait(going_on, timeout=CHECK_SECONDS)
