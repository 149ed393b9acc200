"""Streams of a real NATS server with JetStream."""

from __future__ import annotations

import asyncio
import contextlib

import orjson
import pytest

from persona_pipelines_tests.streaming.conftest import VIEW, run, until

brokers = pytest.importorskip("persona_pipelines.serving.brokers", reason="the extra streaming is not installed")
nats = pytest.importorskip("nats")


@pytest.fixture
def clicks(nats_server):
    return {"type": "nats", "url": nats_server.url, "stream": "clicks"}


@contextlib.asynccontextmanager
async def jetstream(server):
    client = await nats.connect(server.url)
    yield client.jetstream()
    await client.close()


async def unacknowledged(js, stream: str = "clicks") -> int:
    return sum([(known.num_pending or 0) + (known.num_ack_pending or 0) for known in await js.consumers_info(stream)])


def test_events_are_taken_together_and_wrong_ones_set_aside(service, clicks, nats_server) -> None:
    async def body() -> None:
        async with jetstream(nats_server) as js, service(clicks) as shop:
            await until(lambda: _connected(shop))
            for content in (orjson.dumps(VIEW), b"{", orjson.dumps({**VIEW, "event_id": "e2"})):
                await js.publish("clicks", content)
            await until(lambda: shop.engine.state.events == 2)
            first, second = shop.kept()
            assert first["event_id"].startswith("clicks-1-")
            assert second["event_id"] == "e2"
            await until(lambda: _done(js))
            letter = orjson.loads((await js.get_msg("clicks-dead-letters", 1)).data)
            assert (letter["field"], letter["message"], letter["stream"]) == ("message", "{", "clicks")
            await until(lambda: _none_behind(shop))

    run(body)


async def _connected(shop) -> bool:
    return (await shop.stream())["connected"]


async def _none_behind(shop) -> bool:
    return (await shop.figures())['persona_stream_behind{stream="clicks"}'] == 0


async def _done(js) -> bool:
    return not await unacknowledged(js)


def test_messages_that_wait_are_taken_together(service, clicks, nats_server) -> None:
    synced = 0

    def sync(file: int) -> None:
        nonlocal synced
        synced += 1

    async def body() -> None:
        async with jetstream(nats_server) as js:
            await js.add_stream(name="clicks", subjects=["clicks"])
            for number in range(100):
                await js.publish("clicks", orjson.dumps({**VIEW, "event_id": f"e{number}"}))
            async with service({**clicks, "batch": 50}, sync=sync) as shop:
                await until(lambda: shop.engine.state.events == 100)
                assert synced <= 10

    run(body)


def test_what_was_taken_and_not_acknowledged_is_delivered_again_and_counts_once(service, clicks, nats_server, monkeypatch) -> None:
    acknowledge = brokers.NatsConnection._acknowledge
    quick = {**clicks, "take_over_seconds": 0.5}

    async def body() -> None:
        async with jetstream(nats_server) as js:
            monkeypatch.setattr(brokers.NatsConnection, "_acknowledge", lambda *_: asyncio.Event().wait())  # killed before it
            async with service(quick) as shop:
                await until(lambda: _connected(shop))
                await js.publish("clicks", orjson.dumps(VIEW))
                await until(lambda: shop.engine.state.events == 1)
            assert await unacknowledged(js) == 1
            monkeypatch.setattr(brokers.NatsConnection, "_acknowledge", acknowledge)
            async with service(quick) as shop:
                await until(lambda: _done(js))
                assert (shop.engine.state.events, len(shop.kept())) == (1, 1)

    run(body)


def test_a_broker_that_goes_away_is_told_and_found_again(service, clicks, nats_server) -> None:
    async def body() -> None:
        async with service(clicks) as shop:
            await until(lambda: _connected(shop))
            nats_server.stop()
            await until(lambda: _away(shop))
            assert len(await shop.listed("u3")) == 5
            nats_server.start()
            await until(lambda: _connected(shop))
            async with jetstream(nats_server) as js:
                await js.publish("clicks", orjson.dumps(VIEW))
                await until(lambda: shop.engine.state.events == 1)

    async def _away(shop) -> bool:
        return not await _connected(shop)

    run(body)


def test_what_comes_over_http_is_known_to_another_service(service, clicks) -> None:
    async def body() -> None:
        async with service(home="one", publish=clicks) as one, service(clicks, home="two") as two:
            assert (await one.post({**VIEW, "event_id": "e1"}))["accepted"] == 1
            await until(lambda: two.engine.state.events == 1)

    run(body)


def test_a_stream_with_a_subject_of_its_own_is_left_as_it_is(service, clicks, nats_server) -> None:
    async def body() -> None:
        async with jetstream(nats_server) as js:
            await js.add_stream(name="shop", subjects=["shop.>"], max_msgs=50)
            async with service({**clicks, "stream": "shop", "subject": "shop.clicks"}) as shop:
                await until(lambda: _connected(shop))
                await js.publish("shop.clicks", orjson.dumps(VIEW))
                await js.publish("shop.orders", orjson.dumps(VIEW))
                await until(lambda: shop.engine.state.events == 1)
                known = (await js.stream_info("shop")).config
                assert (known.subjects, known.max_msgs) == (["shop.>"], 50)

    run(body)
