"""The streams of a service: those that it follows, and the one to which it publishes, as the configuration names them."""

from __future__ import annotations

import contextlib
import re
import secrets
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import write_new
from persona_pipelines.serving.building import folder_of
from persona_pipelines.serving.intake import Intake
from persona_pipelines.serving.publishing import Publisher
from persona_pipelines.serving.streaming import Connection, Follower, Link, StreamFigures, in_background
from persona_pipelines.settings import Settings
from persona_pipelines.settings.streams import BrokerSettings

INSTANCE = "instance"
"""File with what a state folder is called among the consumers of a stream."""
PUBLISHED = "published"
"""File with the moment up to which events are published."""

PACKAGES = {"redis": "redis", "nats": "nats", "kafka": "confluent_kafka"}
"""The client of each kind of stream; all of them, and FastStream, come with the extra."""
EXTRA = "expected the extra streaming, which has the clients of all kinds of streams: pip install 'persona-pipelines[streaming]'"

Connect = Callable[[BrokerSettings, str, str], Connection]
"""Makes a connection for a stream, a group and a consumer of it."""


class StreamingError(ProjectError):
    """The configuration names a stream, and what follows streams is not installed."""


def require_installed(settings: Settings) -> None:
    """Raises StreamingError where the configuration names a stream that this installation cannot reach; the message names what its kind of stream needs."""
    chosen = settings.serving
    named: dict[str, BrokerSettings] = {f"serving.streams[{number}]": stream for number, stream in enumerate(chosen.streams)}
    if chosen.publish is not None:
        named["serving.publish"] = chosen.publish
    for place, stream in named.items():
        for package in (PACKAGES[stream.type], "faststream"):
            if find_spec(package) is None:
                raise StreamingError(f"{place}: found no package {package}, which {stream.type} needs; {EXTRA}")
    if named:
        connect_by_faststream()


def connect_by_faststream() -> Connect:
    """How a connection is made.

    Raises:
        StreamingError: FastStream or the client of a broker is not installed.
    """
    try:
        from persona_pipelines.serving.brokers import connection_of
    except ModuleNotFoundError as error:
        raise StreamingError(f"serving.streams, serving.publish: found no package {error.name}; {EXTRA}") from None
    return connection_of


def instance_of(settings: Settings) -> str:
    """What a state folder is called among the consumers of a stream: one process at a time has it, and a restart keeps it."""
    file = folder_of(settings) / INSTANCE
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_new(file, secrets.token_hex(8) + "\n", mode=0o600)
    return file.read_text(encoding="ascii").strip()


class Streams:
    """The streams of a service.

    Args:
        intake: takes the events in; what it accepts over HTTP is published.
        connect: how a connection is made; by FastStream where none is given.
    Raises:
        StreamingError: FastStream is not installed.
    """

    def __init__(self, settings: Settings, intake: Intake, connect: Connect | None = None) -> None:
        self.followers: list[Follower] = []
        self.publisher: Publisher | None = None
        options = settings.serving
        if not options.streams and options.publish is None:
            return
        connect = connect or connect_by_faststream()
        instance, figures, now = instance_of(settings), StreamFigures(intake.metrics.registry), intake.engine.now
        for stream in options.streams:
            group = stream.group or f"{settings.name.replace('.', '-')}-{instance}"
            told = partial(_set, figures.connected.labels(stream.known_as))
            link = Link(f"stream {stream.known_as}", partial(connect, stream, group, instance), password_of(stream), told)
            self.followers.append(Follower(stream, link, intake, figures, options.largest_body_bytes, now))
        if options.publish is not None:
            told = partial(_set, figures.publish_connected)
            link = Link(
                f"publishing to {options.publish.stream}",
                partial(connect, options.publish, "", instance),
                password_of(options.publish),
                told,
            )
            mark = folder_of(settings) / PUBLISHED
            self.publisher = Publisher(options.publish, link, intake.engine.key, intake.journal.folder, mark, figures, now)
            intake.hear = self.publisher.hear

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Streams are followed and published to while the block goes on."""
        work = [follower.run() for follower in self.followers] + ([self.publisher.run()] if self.publisher else [])
        async with in_background(*work):
            yield

    def state(self) -> dict[str, Any]:
        """How they are, for ``/readyz``; nothing where there are none."""
        told: dict[str, Any] = {}
        if self.followers:
            told["streams"] = [follower.state() for follower in self.followers]
        if self.publisher:
            told["publish"] = self.publisher.state()
        return told


def password_of(options: BrokerSettings) -> str:
    """The password of a broker's address; empty where there is none."""
    found = re.search(r"://[^:@]*:(.*)@", options.url.get_secret_value())
    return found[1] if found else ""


def _set(gauge: Any, connected: bool) -> None:
    gauge.set(int(connected))
