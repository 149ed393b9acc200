"""Streams of brokers that speak Kafka's protocol: those that librdkafka brings for tests."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from persona_pipelines_tests.streaming.conftest import VIEW, run, until

brokers = pytest.importorskip("persona_pipelines.serving.brokers", reason="the extra streaming is not installed")
confluent_kafka = pytest.importorskip("confluent_kafka")
pytestmark = pytest.mark.slow


@pytest.fixture
def producer():
    """A producer that brings the brokers with it."""
    return confluent_kafka.Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "linger.ms": 0})


@pytest.fixture
def clicks(producer):
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    return {"type": "kafka", "url": f"kafka://{broker.host}:{broker.port}", "stream": "clicks"}


def add(producer, *contents: bytes) -> None:
    for content in contents:
        producer.produce("clicks", content, partition=0)
    assert producer.flush(10) == 0


def committed(clicks, group: str) -> int:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": clicks["url"].partition("://")[2], "group.id": group})
    (partition,) = consumer.committed([confluent_kafka.TopicPartition("clicks", 0)], timeout=10)
    consumer.close()
    return partition.offset


def letters(clicks) -> list[dict]:
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": clicks["url"].partition("://")[2], "group.id": "reader", "auto.offset.reset": "earliest"}
    )
    consumer.assign([confluent_kafka.TopicPartition("clicks-dead-letters", number, 0) for number in range(4)])
    found = []
    while (message := consumer.poll(1.0)) is not None:
        if not message.error():
            found.append(orjson.loads(message.value()))
    consumer.close()
    return found


def test_events_are_taken_together_and_wrong_ones_set_aside(service, clicks, producer) -> None:
    add(producer, orjson.dumps(VIEW), b"{", orjson.dumps({**VIEW, "event_id": "e2"}))

    async def body() -> None:
        async with service({**clicks, "group": "shops"}) as shop:
            await until(lambda: shop.engine.state.events == 2, 30)
            first, second = shop.kept()
            assert first["event_id"].startswith("clicks-0-0-")
            assert second["event_id"] == "e2"
            await until(lambda: asyncio.to_thread(lambda: committed(clicks, "shops") == 3))
            await until(lambda: _none_behind(shop))
            (letter,) = await asyncio.to_thread(letters, clicks)
            assert (letter["field"], letter["message"], letter["stream"]) == ("message", "{", "clicks")

    run(body)


async def _none_behind(shop) -> bool:
    figures = await shop.figures()
    return figures['persona_stream_connected{stream="clicks"}'] == 1 and figures['persona_stream_behind{stream="clicks"}'] == 0


def test_what_was_taken_and_not_acknowledged_is_delivered_again_and_counts_once(service, clicks, producer, monkeypatch) -> None:
    add(producer, *[orjson.dumps(VIEW)] * 4)
    acknowledge = brokers.KafkaConnection._acknowledge
    shared = {**clicks, "group": "shops"}

    async def body() -> None:
        monkeypatch.setattr(brokers.KafkaConnection, "_acknowledge", lambda *_: asyncio.Event().wait())  # killed before it
        async with service(shared) as shop:
            await until(lambda: shop.engine.state.events == 4, 30)
        assert await asyncio.to_thread(committed, clicks, "shops") < 0
        monkeypatch.setattr(brokers.KafkaConnection, "_acknowledge", acknowledge)
        async with service(shared) as shop:
            await until(lambda: _repeated(shop), 30)
            assert (shop.engine.state.events, len(shop.kept())) == (4, 4)
            await until(lambda: asyncio.to_thread(lambda: committed(clicks, "shops") == 4))

    async def _repeated(shop) -> bool:
        return (await shop.figures()).get('persona_stream_messages_total{outcome="repeated",stream="clicks"}') == 4

    run(body)


def test_what_comes_over_http_is_known_to_another_service(service, clicks) -> None:
    async def body() -> None:
        async with service(home="one", publish=clicks) as one, service(clicks, home="two") as two:
            assert (await one.post({**VIEW, "event_id": "e1"}))["accepted"] == 1
            await until(lambda: two.engine.state.events == 1, 30)

    run(body)


def test_a_broker_that_is_away_is_told(service) -> None:
    async def body() -> None:
        async with service({"type": "kafka", "url": "kafka://127.0.0.1:9", "stream": "clicks"}) as shop:
            await until(lambda: _told(shop))
            assert len(await shop.listed("u3")) == 5

    async def _told(shop) -> bool:
        return (await shop.stream())["trouble"] == "the broker does not answer"

    run(body)


def test_an_address_names_hosts_and_how_to_be_let_in() -> None:
    assert brokers.kafka_address("kafka://one:9092,two:9092") == (["one:9092", "two:9092"], None)
    hosts, security = brokers.kafka_address("kafkas://ann:p%40ss@one:9092/")
    assert (hosts, security.username, security.password, security.use_ssl) == (["one:9092"], "ann", "p@ss", True)
    assert brokers.kafka_address("kafkas://one:9092")[1].use_ssl
