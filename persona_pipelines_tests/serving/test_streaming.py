"""What streams do, with a broker that is made for it: no server and no client is needed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import errno
import itertools
import os
import sys
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from persona_pipelines.serving import publishing, streaming
from persona_pipelines.serving.intake import Intake
from persona_pipelines.serving.journal import Journal, events_of, files_of, line_of
from persona_pipelines.serving.metrics import Metrics
from persona_pipelines.serving.publishing import unpublished
from persona_pipelines.serving.received import InvalidEventError
from persona_pipelines.serving.sealing import sealed, unsealed
from persona_pipelines.serving.streaming import Message, Take, dead_letter, pauses, records_of
from persona_pipelines.serving.streams import StreamingError, Streams, instance_of, password_of, require_installed
from persona_pipelines_tests.serving.conftest import KEY, NOW, user_name

VIEW = {"event_type": "item_view", "user_id": "u77", "item_id": "i12"}
CLICKS = {"type": "redis", "url": "redis://ann:secret@127.0.0.1/0", "stream": "clicks"}
NUMBERS = itertools.count(1)


def message(document: object, **changes: Any) -> Message:
    content = document if isinstance(document, bytes) else orjson.dumps(document)
    return dataclasses.replace(Message(f"clicks-{next(NUMBERS)}", content, NOW - dt.timedelta(seconds=5)), **changes)


class Broker:
    """A broker in memory. ``away``: it does not answer; ``full``: it takes no messages."""

    def __init__(self) -> None:
        self.published: list[tuple[str, bytes]] = []
        self.away = self.full = False
        self.takes: list[Take] = []
        self.waiting = 0

    def connect(self, options, group: str, consumer: str) -> Connection:
        return Connection(self)


class Connection(streaming.Connection):
    def __init__(self, broker: Broker) -> None:
        self.broker = broker

    async def open(self, take: Take | None) -> None:
        await self.check()
        if take is not None:
            self.broker.takes.append(take)

    async def publish(self, stream: str, contents: Sequence[bytes], keep: int) -> None:
        if self.broker.full:
            raise OSError("the broker is full, and ann:secret may not know")
        self.broker.published += [(stream, content) for content in contents]

    async def check(self) -> None:
        if self.broker.away:
            raise OSError("no route")

    async def behind(self) -> int:
        return self.broker.waiting

    async def close(self) -> None:
        pass


@pytest.fixture
def running(engine_of, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Streams and their intake while a block runs; ``sync`` stands for the disk."""
    monkeypatch.setattr(streaming, "CHECK_SECONDS", 0.005)
    monkeypatch.setattr(publishing, "CHECK_SECONDS", 0.005)
    monkeypatch.setattr(streaming, "FIRST_PAUSE", 0.005)
    monkeypatch.setattr(streaming, "LONGEST_PAUSE", 0.01)

    @contextlib.asynccontextmanager
    async def run(broker: Broker, sync=os.fsync, **serving):
        engine = engine_of(serving=serving)
        journal = Journal(engine.settings.home / "live" / "events", lambda: NOW.date(), sync)
        intake = Intake(journal, engine, Metrics())
        streams = Streams(engine.settings, intake, broker.connect)
        task = asyncio.create_task(intake.run())
        try:
            async with streams.running():
                yield streams, intake
        finally:
            task.cancel()
            journal.close()

    return run


async def until(holds) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.002)


def test_a_message_delivered_again_gives_the_same_ids(engine_of) -> None:
    reader = engine_of().reader
    first = message([VIEW, {"client_id": "d", "events": [{"name": "view_item"}, {"name": "purchase", "params": {"items": [{"item_id": "a"}, {"item_id": "b"}]}}]}])  # fmt: skip
    records = records_of(first, reader, 10_000, "clicks")
    assert [record["event_id"] for record in records] == [f"{first.id}/0", f"{first.id}/1", f"{first.id}/2", f"{first.id}/2-1"]
    assert records == records_of(first, reader, 10_000, "clicks")
    assert {record["stream"] for record in records} == {"clicks"}
    assert records_of(message({**VIEW, "event_id": "own"}), reader, 10_000, "clicks")[0]["event_id"] == "own"


def test_an_event_without_a_moment_is_of_when_its_message_was_sent(engine_of) -> None:
    reader = engine_of().reader
    (without,) = records_of(message(VIEW), reader, 10_000, "clicks")
    (with_own,) = records_of(message({**VIEW, "timestamp": "2025-09-30T00:00:00Z"}), reader, 10_000, "clicks")
    assert (without["timestamp"], with_own["timestamp"]) == ("2025-10-01T11:59:55.000000Z", "2025-09-30T00:00:00.000000Z")
    assert without["received"] == "2025-10-01T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("content", "field"),
    [(b"{", "message"), (b"", "message"), (b"[]", "message"), (b"7", "event"), (b'{"event_type": "x"}', "event_type"), (b"\xff", "message"),
     (b'{"event_type": "item_view"}', "user_id"), (orjson.dumps(VIEW) + b" " * 10_000, "message"), (b'{"shape": "persona_pipelines.records"}', "seal")],
)  # fmt: skip
def test_what_cannot_be_used_is_told_with_the_field(engine_of, content: bytes, field: str) -> None:
    with pytest.raises(InvalidEventError) as refused:
        records_of(message(content), engine_of().reader, 10_000, "clicks")
    assert refused.value.field == field


def test_sealed_records_are_taken_as_they_are(engine_of) -> None:
    record = {
        "event_id": "e1",
        "timestamp": "2025-01-01T00:00:00.000000Z",
        "event_type": "item_view",
        "user_id": user_name(3),
        "item_id": "i1",
    }
    found = records_of(message(sealed([record], KEY)), engine_of().reader, 10_000, "shared")
    assert found == [{**record, "stream": "shared"}]


def test_a_dead_letter_says_what_was_wrong_where_and_when() -> None:
    error = InvalidEventError("item_id", 1.5, "a text")
    told = orjson.loads(dead_letter(message(b"x" * 20, id="clicks-1-0"), error, "clicks", NOW, 10))
    assert told == {
        "reason": "item_id: found 1.5; expected a text",
        "field": "item_id",
        "found": "1.5",
        "expected": "a text",
        "stream": "clicks",
        "message_id": "clicks-1-0",
        "sent": "2025-10-01T11:59:55.000Z",
        "refused": "2025-10-01T12:00:00.000Z",
        "message": "x" * 10,
        "encoding": "utf-8",
    }
    assert orjson.loads(dead_letter(message(b"\xff"), error, "clicks", NOW, 10))["message"] == "/w=="


def test_pauses_grow_up_to_a_bound() -> None:
    first = list(itertools.islice(pauses(), 12))
    assert 0.1 <= first[0] <= 0.2
    assert 5 <= first[-1] <= 10


def test_one_wrong_message_does_not_stop_the_others(running) -> None:
    async def body() -> None:
        broker = Broker()
        async with running(broker, streams=[CLICKS]) as (_streams, intake):
            await until(lambda: broker.takes)
            await broker.takes[0]([message(VIEW), message(b"{"), message(VIEW)])
            assert intake.engine.state.events == 2
            assert [stream for stream, _ in broker.published] == ["clicks-dead-letters"]
            text = intake.metrics.text().decode()
            assert 'persona_stream_messages_total{outcome="taken",stream="clicks"} 2.0' in text
            assert 'persona_stream_messages_total{outcome="dead letter",stream="clicks"} 1.0' in text
            assert 'persona_stream_behind_seconds{stream="clicks"}' in text

    asyncio.run(body())


def test_a_fault_of_ours_while_reading_sets_the_message_aside(running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_) -> None:
        raise KeyError("inside")

    async def body() -> None:
        broker = Broker()
        async with running(broker, streams=[CLICKS]) as (_, intake):
            await until(lambda: broker.takes)
            monkeypatch.setattr(streaming, "records_of", broken)
            await broker.takes[0]([message(VIEW)])
            assert orjson.loads(broker.published[0][1])["found"] == "'KeyError'"
            assert intake.engine.state.events == 0

    asyncio.run(body())


def test_dead_letters_that_are_not_taken_raise_so_that_nothing_is_acknowledged(running) -> None:
    async def body() -> None:
        broker = Broker()
        broker.full = True
        async with running(broker, streams=[CLICKS]) as (_, intake):
            await until(lambda: broker.takes)
            with pytest.raises(OSError, match="full"):
                await broker.takes[0]([message(VIEW), message(b"{")])
            assert intake.engine.state.events == 1

    asyncio.run(body())


def test_messages_wait_while_events_cannot_be_kept(running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "pauses", lambda: itertools.repeat(0.005))  # who waits goes on at one moment
    full = True

    def sync(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def body() -> None:
        nonlocal full
        broker = Broker()
        async with running(broker, sync, streams=[CLICKS]) as (streams, intake):
            await until(lambda: broker.takes)
            one = message(VIEW)
            taking = [asyncio.ensure_future(broker.takes[0]([one])) for _ in range(2)]  # delivered again meanwhile
            await until(lambda: streams.followers[0].refused)
            assert not any(task.done() for task in taking)
            assert "No space left on device" in streams.state()["streams"][0]["trouble"]
            full = False
            await asyncio.gather(*taking)
            assert intake.engine.state.events == 1
            assert len(list(events_of(files_of(intake.journal.folder), lambda found: pytest.fail(str(found))))) == 1
            assert 'outcome="repeated",stream="clicks"} 1.0' in intake.metrics.text().decode()

    asyncio.run(body())


def test_a_broker_that_is_away_is_told_and_tried_again(running, caplog) -> None:
    async def body() -> None:
        broker = Broker()
        broker.away = True
        async with running(broker, streams=[CLICKS]) as (streams, intake):
            await until(lambda: streams.state()["streams"][0]["trouble"] == "no route")
            assert 'persona_stream_connected{stream="clicks"} 0.0' in intake.metrics.text().decode()
            broker.away, broker.waiting = False, 7
            await until(lambda: streams.state()["streams"][0]["connected"])
            await until(lambda: 'persona_stream_behind{stream="clicks"} 7.0' in intake.metrics.text().decode())
            broker.away = True
            await until(lambda: not streams.state()["streams"][0]["connected"])
            broker.away = False
            await until(lambda: streams.state()["streams"][0]["connected"])

    asyncio.run(body())
    assert caplog.text.count("no route; it is tried again") == 2


def test_what_comes_over_http_is_published_and_what_comes_out_of_a_stream_is_not(running) -> None:
    async def body() -> None:
        broker = Broker()
        shared = {**CLICKS, "stream": "shared"}
        async with running(broker, streams=[CLICKS], publish=shared) as (_streams, intake):
            await until(lambda: broker.takes)
            await broker.takes[0]([message(VIEW)])
            await intake.take([{**VIEW, "event_id": "e1"}])
            await intake.take([{**VIEW, "event_id": "e1"}])
            await until(lambda: broker.published)
            await asyncio.sleep(0.02)
            ((stream, content),) = broker.published
            (record,) = unsealed(orjson.loads(content), KEY)
            assert (stream, record["event_id"]) == ("shared", "e1")
            out_of_a_stream, over_http = events_of(files_of(intake.journal.folder), lambda found: pytest.fail(str(found)))
            assert out_of_a_stream["stream"] == "clicks"
            assert over_http == record

    asyncio.run(body())


def test_what_a_broker_does_not_take_is_published_later_in_its_order(running, caplog) -> None:
    async def body() -> None:
        broker = Broker()
        broker.full = True
        async with running(broker, publish=CLICKS) as (streams, intake):
            await intake.take([{**VIEW, "event_id": "e1"}])
            await until(lambda: "full" in (streams.state()["publish"]["trouble"] or ""))
            await intake.take([{**VIEW, "event_id": "e2"}])
            assert streams.state()["publish"]["waiting"] == 2
            broker.full = False
            await until(lambda: not streams.state()["publish"]["waiting"])
            assert told(broker) == ["e1", "e2"]

    asyncio.run(body())
    assert "secret" not in caplog.text


def told(broker: Broker) -> list[str]:
    return [record["event_id"] for _, content in broker.published for record in unsealed(orjson.loads(content), KEY)]


def test_what_was_not_published_before_a_restart_is_published_after_it(running) -> None:
    async def body() -> None:
        broker = Broker()
        async with running(broker, publish=CLICKS):
            pass  # events are published from now on
        broker.full = True
        async with running(broker, publish=CLICKS) as (_, intake):
            await intake.take([{**VIEW, "event_id": "e1"}])
        broker.full = False
        async with running(broker, publish=CLICKS) as (_, intake):
            await until(lambda: told(broker) == ["e1"])

    asyncio.run(body())


def test_more_than_fits_into_memory_is_read_from_the_journal_again(running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MOST_WAITING", 3)

    async def body() -> None:
        broker = Broker()
        broker.away = True
        async with running(broker, publish=CLICKS) as (streams, intake):
            for number in range(8):
                await intake.take([{**VIEW, "event_id": f"e{number}"}])
            assert streams.state()["publish"]["waiting"] == 3
            broker.away = False
            await until(lambda: set(told(broker)) == {f"e{number}" for number in range(8)})

    asyncio.run(body())


def test_what_came_out_of_a_stream_or_long_before_is_not_read_again(tmp_path) -> None:
    journal = Journal(tmp_path, lambda: NOW.date())
    lines = [
        {"event_id": "long before", "received": "2025-10-01T11:00:00.000000Z"},
        {"event_id": "a little before", "received": "2025-10-01T11:59:30.000000Z"},
        {"event_id": "out of a stream", "received": "2025-10-01T12:00:01.000000Z", "stream": "clicks"},
        {"event_id": "after", "received": "2025-10-01T12:00:02.000000Z"},
    ]
    journal.append([line_of(line) for line in lines])
    journal.close()
    assert [event["event_id"] for event in unpublished(tmp_path, "2025-10-01T12:00:00.000000Z")] == ["a little before", "after"]
    assert not list(unpublished(tmp_path, "2025-10-03T12:00:00.000000Z"))


def test_an_event_twice_in_one_request_is_kept_once(running) -> None:
    async def body() -> None:
        async with running(Broker()) as (streams, intake):
            taken = await intake.take([{**VIEW, "event_id": "e1"}, {**VIEW, "event_id": "e1"}])
            assert (taken.accepted, taken.repeated, streams.state()) == (1, 1, {})

    asyncio.run(body())


def test_without_the_extra_a_stream_is_an_error_that_says_how_to_install_it(engine_of, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "persona_pipelines.serving.brokers", raising=False)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    require_installed(engine_of().settings)
    for serving in ({"streams": [CLICKS]}, {"publish": CLICKS}):
        # The first of them that is missing is named: here this one, where nothing of the extra is installed another.
        with pytest.raises(
            StreamingError, match=r"found no package \w+.*; expected the extra .*pip install 'persona-pipelines\[streaming\]'"
        ):
            require_installed(engine_of(serving=serving).settings)


def test_each_state_folder_has_a_place_of_its_own_in_the_group(engine_of, tmp_path) -> None:
    one = engine_of(serving={"streams": [CLICKS]}).settings
    other = one.model_copy(update={"home": tmp_path / "other"})
    assert instance_of(one) == instance_of(one) != instance_of(other)
    seen = []

    def connect(options, group: str, consumer: str):
        seen.append((group, consumer))
        return Connection(Broker())

    intake = Intake(None, engine_of(), Metrics())  # type: ignore[arg-type]
    Streams(one, intake, connect).followers[0].link.connect()
    assert seen == [(f"test-{instance_of(one)}", instance_of(one))]
    assert password_of(one.serving.streams[0]) == "secret"
