"""Settings of the streams from which the live service takes events, and of the one to which it publishes."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from persona_pipelines.settings.strict import STREAM_PATTERN, Strict, Text

SCHEMES = {"redis": ("redis", "rediss", "unix"), "nats": ("nats", "tls"), "kafka": ("kafka", "kafkas")}
"""What an address may begin with, by the type of the broker; ``rediss``, ``tls`` and ``kafkas`` are encrypted."""
EXAMPLES = {"redis": "redis://127.0.0.1:6379/0", "nats": "nats://127.0.0.1:4222", "kafka": "kafka://127.0.0.1:9092"}


class BrokerSettings(Strict):
    """Where a stream is."""

    type: Literal["redis", "nats", "kafka"] = Field(description="Redis Streams, NATS JetStream, or Kafka and what speaks its protocol.")
    url: SecretStr = Field(
        description="Address of the broker, such as `redis://127.0.0.1:6379/0`, `nats://127.0.0.1:4222`, `kafka://one:9092,two:9092`; encrypted "
        "`rediss`, `tls`, `kafkas`. A user and password stand before the host, as `${VARIABLE}`; they are never shown."
    )
    stream: str = Field(pattern=STREAM_PATTERN, description="Name of the stream; of Kafka, the topic.")
    subject: Text | None = Field(None, description="Of NATS alone, the subject within the stream; without it the name of the stream.")

    @field_validator("url")
    @classmethod
    def _an_address(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        kind = info.data.get("type")
        address = value.get_secret_value()
        if kind is not None:
            scheme = address.partition("://")[0]
            if scheme not in SCHEMES[kind] or not re.search(r"://.", address):
                raise ValueError(f"expected an address of {kind}, such as {EXAMPLES[kind]}")
            if kind != "kafka":  # which names several hosts
                try:
                    _ = urlsplit(address).port
                except ValueError:
                    raise ValueError(f"expected an address of {kind} with the number of a port, such as {EXAMPLES[kind]}") from None
        return value

    @model_validator(mode="after")
    def _fitting(self) -> BrokerSettings:
        if self.subject is not None and self.type != "nats":
            raise ValueError(f"subject: found {self.subject!r}; expected none: subjects are of NATS, and this is {self.type}")
        for name in ("stream", "dead_letters", "group"):
            found, unfit = getattr(self, name, None), {"nats": ".:", "kafka": ":"}.get(self.type, "")
            if found is not None and set(found) & set(unfit):
                raise ValueError(f"{name}: found {found!r}; expected a name without {' and '.join(unfit)}, as {self.type} has them")
        return self


class StreamSettings(BrokerSettings):
    """A stream from which events are taken. A message is acknowledged when its events are on the disk and known to the next list."""

    name: str | None = Field(
        None,
        pattern=STREAM_PATTERN,
        description="Names the stream in figures and in the ids of events that have none, unique among the streams; without it the stream's own name.",
    )
    group: str | None = Field(
        None,
        pattern=STREAM_PATTERN,
        description="Consumer group. Services with one group share the messages; services with a group each all get everything. "
        "Without it each state folder has its own.",
    )
    begin: Literal["first", "new"] = Field(
        "first",
        description="Where a group that is new begins: with the first message that the broker has, or with what comes from then on.",
    )
    dead_letters: str | None = Field(
        None,
        pattern=STREAM_PATTERN,
        description="Stream of the same broker for messages that cannot be used, with the reason; without it `STREAM-dead-letters`.",
    )
    batch: int = Field(
        100, ge=1, le=10_000, description="Most messages that are taken together and made durable at once; no more are in flight."
    )
    take_over_seconds: float = Field(
        60.0,
        ge=0.1,
        description="Messages that another service of the group has taken and not acknowledged for so long are taken over (Redis, NATS; Kafka "
        "gives them to others by itself).",
    )

    @property
    def known_as(self) -> str:
        return self.name or self.stream

    @property
    def dead_letter_stream(self) -> str:
        return self.dead_letters or f"{self.stream}-dead-letters"


class PublishSettings(BrokerSettings):
    """The stream to which events that came over HTTP are added once they are durable, so that other services that follow it know them too."""

    keep: int = Field(
        1_000_000, ge=1_000, description="Messages that a Redis stream keeps, about; other brokers have a retention of their own."
    )
