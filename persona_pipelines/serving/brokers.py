"""Connections to Redis, NATS and Kafka, over FastStream. Nothing else imports it: without the extra ``streaming`` everything but streams works.

FastStream reads batches and keeps the connection's tasks; the messages are left as their brokers hand them over, because what FastStream makes of a batch
no longer says which of its messages cannot be read.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import unquote

import orjson
from confluent_kafka import TIMESTAMP_NOT_AVAILABLE
from faststream.confluent import KafkaBroker
from faststream.confluent import Topic as KafkaTopic
from faststream.message import StreamMessage
from faststream.middlewares import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.parser import BinaryMessageFormatV1
from faststream.security import BaseSecurity, SASLPlaintext
from nats.errors import TimeoutError as NothingMoreError
from nats.js.api import ConsumerConfig, DeliverPolicy, StreamConfig
from nats.js.errors import NotFoundError
from redis.exceptions import ResponseError

from persona_pipelines.errors import ProjectError
from persona_pipelines.serving.streaming import CHECK_SECONDS, Connection, Message, Take
from persona_pipelines.settings.streams import BrokerSettings, StreamSettings

ANSWER_SECONDS = 5.0
"""So long a broker may take for an answer."""
MOST_COUNTED = 1_000
"""Messages behind, of a Redis before 7, which does not know how many."""
PREFETCHED_KILOBYTES = 16_384
"""Of Kafka's client."""
PULL_SECONDS = 2.0
"""So long NATS is asked for messages before it is asked again."""
QUIET: dict[str, Any] = {"logger": None, "apply_types": False, "graceful_timeout": 1.0}
"""What happens to a connection is told once, by who holds it; messages are not validated a second time."""
FIELD = "event"
"""Of an entry of a Redis stream that we add."""


class BrokerError(ProjectError):
    """A broker is not reached, or does not do what was asked."""


def connection_of(options: BrokerSettings, group: str, consumer: str) -> Connection:
    """A connection, not open yet.

    Args:
        group: of consumers, where the stream is followed; ``consumer``: the name of this one.
    """
    kinds: dict[str, type[_FastStreamConnection]] = {"redis": RedisConnection, "nats": NatsConnection, "kafka": KafkaConnection}
    return kinds[options.type](options, group, consumer)


async def _bare(raw: Any) -> StreamMessage[Any]:
    """A message as it came."""
    return StreamMessage(raw_message=raw, body=b"")


async def _whole(message: StreamMessage[Any]) -> StreamMessage[Any]:
    return message


def _utc(milliseconds: int) -> dt.datetime:
    """A moment since 1970, UTC without zone. Senders may give what they like, as a number of their own: beyond the calendar it is its last moment, which no event is of."""
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).replace(tzinfo=None)
    except (OverflowError, ValueError, OSError):
        return dt.datetime.max  # noqa: DTZ901 - moments have no zone here


class _FastStreamConnection(Connection):
    """What connections have in common."""

    broker: Any

    def __init__(self, options: BrokerSettings, group: str, consumer: str) -> None:
        self.options, self.group, self.consumer = options, group, consumer
        self.url = options.url.get_secret_value()
        self.name = options.known_as if isinstance(options, StreamSettings) else options.stream
        self.subscribers: list[Any] = []
        self._failure: Exception | None = None

    def _follow(
        self, take: Take, read: Callable[[Any], list[Message]], acknowledge: Callable[[Any], Awaitable[Any]], *topics: Any, **where: Any
    ) -> None:
        """Hand messages on as FastStream delivers them, and acknowledge them then. Once that fails nothing is acknowledged any more, as Kafka would count all
        that came before as done; the connection has to be made again."""

        async def handle(message: StreamMessage[Any]) -> None:
            if self._failure is not None:
                return
            try:
                messages = read(message.raw_message)
                if messages:
                    await take(messages)
                await acknowledge(message.raw_message)
            except Exception as error:  # noqa: BLE001 - clients of brokers raise whatever they like
                self._failure = error

        subscriber = self.broker.subscriber(*topics, **where, ack_policy=AckPolicy.MANUAL, parser=_bare, decoder=_whole)
        subscriber(handle)
        self.subscribers.append(subscriber)

    async def check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if not all(subscriber.running for subscriber in self.subscribers):
            raise BrokerError(f"stream {self.options.stream} cannot be followed any more: it or its group is gone")
        if not await self._answers():
            raise BrokerError("the broker does not answer")

    async def _answers(self) -> bool:
        return bool(await self.broker.ping(ANSWER_SECONDS))

    async def close(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.broker.stop()


class RedisConnection(_FastStreamConnection):
    """Redis Streams. An entry with one field holds JSON in it, one with several is an event, field by field."""

    async def open(self, take: Take | None) -> None:
        self.broker = RedisBroker(
            self.url,
            **QUIET,
            socket_connect_timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
        )
        self.client = await self.broker.connect()
        await self.client.ping()
        if take is None or not isinstance(self.options, StreamSettings):
            return
        stream, idle = self.options.stream, int(self.options.take_over_seconds * 1000)
        try:
            await self.client.xgroup_create(stream, self.group, id="0" if self.options.begin == "first" else "$", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
        common: dict[str, Any] = {"group": self.group, "consumer": self.consumer, "batch": True, "last_id": ">"}
        new = StreamSub(stream, **common, max_records=self.options.batch, polling_interval=1000)
        left = StreamSub(stream, **common, min_idle_time=idle, polling_interval=min(idle, 1000))
        for sub in (new, left):
            self._follow(take, self._messages, self._acknowledge, stream=sub)
        await self.broker.start()

    def _messages(self, raw: Any) -> list[Message]:
        # An entry that the stream has dropped while it was pending has no fields any more.
        entries = [(entry.decode(), fields) for entry, fields in zip(raw["message_ids"], raw["data"], strict=True) if fields]
        return [Message(f"{self.name}-{entry}", _content(fields), _utc(int(entry.partition("-")[0]))) for entry, fields in entries]

    async def _acknowledge(self, raw: Any) -> None:
        await self.client.xack(self.options.stream, self.group, *raw["message_ids"])

    async def publish(self, stream: str, contents: Sequence[bytes], keep: int) -> None:
        async with self.client.pipeline(transaction=False) as pipeline:
            for content in contents:
                pipeline.xadd(stream, {FIELD: content}, maxlen=keep, approximate=True)
            answers = await pipeline.execute(raise_on_error=False)  # which would tell the message with the error
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer

    async def behind(self) -> int:
        for group in await self.client.xinfo_groups(self.options.stream):
            if group["name"].decode() == self.group:
                lag = group.get("lag")
                if lag is None:
                    lag = len(await self.client.xrange(self.options.stream, min=b"(" + group["last-delivered-id"], count=MOST_COUNTED))
                return int(lag) + int(group["pending"])
        return 0


def _content(fields: dict[bytes, bytes]) -> bytes:
    if len(fields) == 1:
        (content,) = fields.values()
        return BinaryMessageFormatV1.parse(content)[0] if content.startswith(BinaryMessageFormatV1.IDENTITY_HEADER) else content
    return orjson.dumps({name.decode(errors="replace"): value.decode(errors="replace") for name, value in fields.items()})


class NatsConnection(_FastStreamConnection):
    """NATS JetStream. A stream that is not there is made, with its name for a subject."""

    async def open(self, take: Take | None) -> None:
        self.broker = NatsBroker(self.url, **QUIET, allow_reconnect=False, connect_timeout=int(ANSWER_SECONDS))
        self.client = await self.broker.connect()
        self.stream = self.client.jetstream(timeout=ANSWER_SECONDS)
        self.subject = self.options.subject or self.options.stream
        self._declared: set[str] = set()
        await self._declare(self.options.stream, self.subject)
        if take is None or not isinstance(self.options, StreamSettings):
            return
        consumer = ConsumerConfig(
            ack_wait=self.options.take_over_seconds,
            max_ack_pending=self.options.batch,
            deliver_policy=DeliverPolicy.ALL if self.options.begin == "first" else DeliverPolicy.NEW,
        )
        self._follow(
            take,
            self._messages,
            self._acknowledge,
            subject=self.subject,
            stream=JStream(self.options.stream, declare=False),
            durable=self.group,
            config=consumer,
            pull_sub=PullSub(batch_size=self.options.batch, timeout=PULL_SECONDS, batch=True),
        )
        await self.broker.start()
        subscription = self.subscribers[0].subscription
        subscription.fetch = _prompt(subscription.fetch, self.options.batch)

    async def _declare(self, stream: str, subject: str) -> None:
        if stream not in self._declared:
            try:
                await self.stream.stream_info(stream)
            except NotFoundError:
                await self.stream.add_stream(StreamConfig(name=stream, subjects=[subject]))
            self._declared.add(stream)

    def _messages(self, raw: Any) -> list[Message]:
        found = []
        for message in raw:
            known = message.metadata
            sent = known.timestamp.astimezone(dt.UTC).replace(tzinfo=None)
            found.append(Message(f"{self.name}-{known.sequence.stream}-{known.timestamp.timestamp():.6f}", message.data, sent))
        return found

    async def _acknowledge(self, raw: Any) -> None:
        for message in raw:
            await message.ack()
        await self.client.flush(int(ANSWER_SECONDS))

    async def publish(self, stream: str, contents: Sequence[bytes], keep: int) -> None:
        subject = self.subject if stream == self.options.stream else stream
        await self._declare(stream, subject)
        await asyncio.gather(*(self.stream.publish(subject, content, timeout=ANSWER_SECONDS) for content in contents))

    async def behind(self) -> int:
        known = await self.stream.consumer_info(self.options.stream, self.group)
        return (known.num_pending or 0) + (known.num_ack_pending or 0)

    async def _answers(self) -> bool:
        return bool(self.client.is_connected)


def _prompt(fetch: Callable[..., Awaitable[Any]], most: int) -> Callable[..., Awaitable[Any]]:
    """FastStream asks for the rest of a batch until its time is over: what is there is handed on at once instead. And it asks again at once when asking fails, which
    on a connection that is closed would keep the event loop from everything else."""

    async def prompt(batch: int, timeout: float) -> Any:
        if batch < most:
            raise NothingMoreError
        try:
            return await fetch(batch=batch, timeout=timeout)
        except TimeoutError:  # none waits
            raise
        except Exception:
            await asyncio.sleep(CHECK_SECONDS)
            raise

    return prompt


class KafkaConnection(_FastStreamConnection):
    """Kafka, and what speaks its protocol."""

    async def open(self, take: Take | None) -> None:
        hosts, security = kafka_address(self.url)
        self.broker = KafkaBroker(
            hosts,
            security=security,
            **QUIET,
            acks="all",
            config={"queued.max.messages.kbytes": PREFETCHED_KILOBYTES},
        )
        await self.broker.connect()
        if not await self._answers():
            raise BrokerError("the broker does not answer")
        if take is None or not isinstance(self.options, StreamSettings):
            return
        self._follow(
            take,
            self._messages,
            self._acknowledge,
            KafkaTopic(self.options.stream, declare=False),
            group_id=self.group,
            batch=True,
            max_records=self.options.batch,
            polling_interval=0.05,
            auto_offset_reset="earliest" if self.options.begin == "first" else "latest",
        )
        await self.broker.start()

    def _messages(self, raw: Any) -> list[Message]:
        found = []
        for message in raw:
            kind, moment = message.timestamp()
            sent = dt.datetime.now(dt.UTC).replace(tzinfo=None) if kind == TIMESTAMP_NOT_AVAILABLE else _utc(moment)
            found.append(Message(f"{self.name}-{message.partition()}-{message.offset()}-{moment}", message.value() or b"", sent))
        return found

    async def _acknowledge(self, raw: Any) -> None:
        await self.subscribers[0].consumer.commit(asynchronous=False)

    async def publish(self, stream: str, contents: Sequence[bytes], keep: int) -> None:
        async with asyncio.timeout(2 * ANSWER_SECONDS):
            await asyncio.gather(*(self.broker.publish(content, stream) for content in contents))

    async def behind(self) -> int:
        return await asyncio.to_thread(self._behind)

    def _behind(self) -> int:
        consumer = self.subscribers[0].consumer.consumer
        behind = 0
        for partition in consumer.committed(consumer.assignment(), timeout=ANSWER_SECONDS):
            first, end = consumer.get_watermark_offsets(partition, timeout=ANSWER_SECONDS)
            behind += end - max(partition.offset, first)
        return behind


def kafka_address(url: str) -> tuple[list[str], BaseSecurity | None]:
    """The hosts of an address such as ``kafka://user:password@one:9092,two:9092``, and how to be let in; ``kafkas`` is encrypted."""
    scheme, _, rest = url.partition("://")
    access, _, hosts = rest.rstrip("/").rpartition("@")
    encrypted = scheme == "kafkas"
    if not access:
        return hosts.split(","), BaseSecurity(use_ssl=True) if encrypted else None
    user, _, password = access.partition(":")
    return hosts.split(","), SASLPlaintext(unquote(user), unquote(password), use_ssl=encrypted)
