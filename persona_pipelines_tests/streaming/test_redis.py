"""Streams of a real Redis: events count once and are acknowledged when they are durable; what is wrong is set aside; brokers and services come and go."""

from __future__ import annotations

import asyncio
import errno
import multiprocessing
import os
import re
import signal
import stat
import time

import orjson
import pytest

from persona_pipelines_tests.streaming.conftest import VIEW, killed_before_it_acknowledges, now, run, until

pytest.importorskip("persona_pipelines.serving.brokers", reason="the extra streaming is not installed")
redis = pytest.importorskip("redis")


@pytest.fixture
def sent(redis_server):
    """A client of the broker."""
    with redis.Redis(port=redis_server.port) as client:
        yield client


@pytest.fixture
def clicks(redis_server):
    return {"type": "redis", "url": redis_server.url, "stream": "clicks"}


def add(client, document, stream: str = "clicks") -> str:
    return client.xadd(stream, {"event": orjson.dumps(document)}).decode()


def pending(client, stream: str = "clicks") -> int:
    return sum(group["pending"] for group in client.xinfo_groups(stream))


def test_an_event_of_a_stream_is_durable_and_in_the_next_list_and_then_acknowledged(service, sent, clicks) -> None:
    entry = add(sent, VIEW)
    sent.xadd("clicks", {**VIEW, "item_id": "i13", "value": "2.5"})  # field by field

    async def body() -> None:
        async with service(clicks) as shop:
            await until(lambda: shop.engine.state.events == 2)
            first, second = shop.kept()
            assert (first["event_id"], first["item_id"], first["stream"]) == (f"clicks-{entry}/0", "i12", "clicks")
            assert (second["item_id"], second["value"]) == ("i13", 2.5)
            assert "u77" not in orjson.dumps([first, second]).decode()
            assert not {"i12", "i13"} & set(await shop.listed("u77"))
            await until(lambda: pending(sent) == 0)

    run(body)


def test_an_event_without_a_moment_is_of_when_it_was_sent(service, sent, clicks) -> None:
    sent.xadd("clicks", {"event": orjson.dumps(VIEW)}, id=f"{int(time.time() * 1000) - 3_600_000}-7")

    async def body() -> None:
        async with service(clicks) as shop:
            await until(lambda: shop.engine.state.events)
            (record,) = shop.kept()
            assert 3590 < (now() - type(now()).fromisoformat(record["timestamp"][:-1])).total_seconds() < 3660

    run(body)


def test_a_service_that_is_killed_before_it_acknowledges_counts_nothing_twice(service, sent, clicks, engine_of, tmp_path) -> None:
    for number in range(5):
        add(sent, {**VIEW, "item_id": f"i{number}"})
    quick = {**clicks, "take_over_seconds": 0.1}
    engine_of(now=now(), serving={"streams": [quick]})
    process = multiprocessing.get_context("spawn").Process(target=killed_before_it_acknowledges, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert pending(sent) == 5

    async def body() -> None:
        async with service(quick) as shop:
            assert shop.engine.state.events == 5  # the journal has them
            await until(lambda: pending(sent) == 0)
            assert (shop.engine.state.events, len(shop.kept())) == (5, 5)
            assert (await shop.figures())['persona_stream_messages_total{outcome="repeated",stream="clicks"}'] == 5

    run(body)


def test_pending_messages_of_a_service_that_died_are_taken_over(service, sent, clicks) -> None:
    sent.xgroup_create("clicks", "shops", id="0", mkstream=True)
    for number in range(3):
        add(sent, {**VIEW, "event_id": f"e{number}"})
    sent.xreadgroup("shops", "died", {"clicks": ">"})
    assert pending(sent) == 3

    async def body() -> None:
        async with service({**clicks, "group": "shops", "take_over_seconds": 0.2}) as shop:
            await until(lambda: shop.engine.state.events == 3)
            await until(lambda: pending(sent) == 0)

    run(body)


def test_what_cannot_be_used_is_set_aside_with_the_reason_and_stops_nothing(service, sent, clicks) -> None:
    add(sent, {**VIEW, "event_id": "before"})
    wrong = sent.xadd("clicks", {"event": b"{"}).decode()
    add(sent, {**VIEW, "item_id": 1.5})
    sent.xadd("clicks", {"event": b"\xff\xfe"})
    add(sent, [{**VIEW, "event_id": "half"}, {"event_type": "item_view"}])
    sent.xadd("clicks", {"event": b"[" * 900 + b"]" * 900})
    add(sent, {**VIEW, "event_id": "after"})

    async def body() -> None:
        async with service(clicks) as shop:
            await until(lambda: shop.engine.state.events == 2)
            await until(lambda: pending(sent) == 0)
            assert [record["event_id"] for record in shop.kept()] == ["before", "after"]
            letters = [orjson.loads(fields[b"event"]) for _, fields in sent.xrange("clicks-dead-letters")]
            assert [letter["field"] for letter in letters] == ["message", "item_id", "message", "events[1].user_id", "event"]
            first = letters[0]
            assert (first["message"], first["message_id"], first["stream"]) == ("{", f"clicks-{wrong}", "clicks")
            assert first["expected"].startswith("JSON (line 1")
            assert first["reason"] == f"message: found '{{'; expected {first['expected']}"
            assert first["sent"] <= first["refused"]
            assert (letters[1]["found"], letters[1]["expected"]) == ("1.5", "a text")
            assert letters[2]["encoding"] == "base64"
            assert (await shop.figures())['persona_stream_messages_total{outcome="dead letter",stream="clicks"}'] == 5

    run(body)


def test_dead_letters_that_the_broker_does_not_take_are_not_acknowledged(service, sent, clicks, caplog) -> None:
    sent.set("clicks-dead-letters", "no stream")
    sent.xadd("clicks", {"event": b"{"})
    add(sent, VIEW)

    async def body() -> None:
        async with service({**clicks, "take_over_seconds": 0.1}) as shop:
            await until(lambda: shop.engine.state.events == 1)
            await until(lambda: _troubled(shop))
            assert pending(sent) == 2
            sent.delete("clicks-dead-letters")
            await until(lambda: pending(sent) == 0)
            assert sent.xlen("clicks-dead-letters") == 1
            assert shop.engine.state.events == 1
            assert "WRONGTYPE" in caplog.text
            assert "XADD" not in caplog.text  # no message stands in the log

    async def _troubled(shop) -> bool:
        return "WRONGTYPE" in ((await shop.stream())["trouble"] or "")

    run(body)


def test_while_events_cannot_be_kept_nothing_is_acknowledged_and_no_more_is_fetched(service, sent, clicks) -> None:
    for _ in range(50):
        add(sent, VIEW)
    full = True

    def sync(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def body() -> None:
        nonlocal full
        async with service({**clicks, "batch": 10}, sync=sync) as shop:
            await until(lambda: _waits(shop))
            await asyncio.sleep(1.2)
            assert pending(sent) == 10
            assert shop.engine.state.events == 0
            assert len(await shop.listed("u3")) == 5
            assert (await shop.figures())['persona_stream_behind{stream="clicks"}'] == 50
            full = False
            await until(lambda: shop.engine.state.events == 50)
            await until(lambda: pending(sent) == 0)
            assert (await shop.stream())["trouble"] is None

    async def _waits(shop) -> bool:
        return "No space left on device" in ((await shop.stream())["trouble"] or "")

    run(body)


def test_a_broker_that_is_away_is_told_and_lists_are_answered_until_it_is_back(service, sent, clicks, redis_server) -> None:
    redis_server.stop()

    async def body() -> None:
        async with service(clicks) as shop:
            await until(lambda: _told(shop, False, "Connection refused|Connect call failed|connecting"))
            assert (await shop.figures())['persona_stream_connected{stream="clicks"}'] == 0
            assert len(await shop.listed("u3")) == 5
            redis_server.start()
            await until(lambda: _told(shop, True))
            add(sent, {**VIEW, "event_id": "e1"})
            await until(lambda: shop.engine.state.events == 1)
            assert (await shop.figures())['persona_stream_connected{stream="clicks"}'] == 1
            redis_server.stop()
            await until(lambda: _told(shop, False))
            assert len(await shop.listed("u3")) == 5
            redis_server.start()
            add(sent, {**VIEW, "event_id": "e2"})
            await until(lambda: shop.engine.state.events == 2)
            await until(lambda: _told(shop, True))

    async def _told(shop, connected: bool, words: str = "") -> bool:
        state = await shop.stream()
        return state["connected"] == connected and (not words or re.search(words, state["trouble"] or "") is not None)

    run(body)


def test_a_stream_that_was_deleted_is_followed_again(service, sent, clicks) -> None:
    async def body() -> None:
        async with service(clicks) as shop:
            add(sent, {**VIEW, "event_id": "e1"})
            await until(lambda: shop.engine.state.events == 1)
            sent.delete("clicks")
            add(sent, {**VIEW, "event_id": "e2"})
            await until(lambda: shop.engine.state.events == 2)

    run(body)


def test_services_of_one_group_share_and_those_with_a_group_each_all_get_everything(service, sent, clicks) -> None:
    async def body() -> None:
        shared = {**clicks, "group": "together", "batch": 1}
        async with service(shared, home="one") as one, service(shared, home="two") as two, service(clicks, home="three") as three:
            for number in range(40):
                add(sent, {**VIEW, "event_id": f"e{number}"})
            await until(lambda: one.engine.state.events + two.engine.state.events == 40 and three.engine.state.events == 40)
            assert not {record["event_id"] for record in one.kept()} & {record["event_id"] for record in two.kept()}

    run(body)


def test_a_new_group_begins_with_what_comes_where_it_is_asked_to(service, sent, clicks) -> None:
    add(sent, {**VIEW, "event_id": "old"})

    async def body() -> None:
        async with service({**clicks, "begin": "new"}) as shop:
            await until(lambda: sent.xinfo_groups("clicks"))
            add(sent, {**VIEW, "event_id": "new"})
            await until(lambda: shop.engine.state.events == 1)
            assert [record["event_id"] for record in shop.kept()] == ["new"]

    run(body)


def test_what_comes_over_http_is_known_to_another_service_and_does_not_go_round(service, sent, clicks) -> None:
    shared = {"type": "redis", "url": clicks["url"], "stream": "shared"}

    async def body() -> None:
        async with service(shared, home="one", publish=shared) as one, service(shared, home="two", publish=shared) as two:
            assert (await one.post([{**VIEW, "event_id": "e1"}, {**VIEW, "event_id": "e2", "item_id": "i13"}]))["accepted"] == 2
            await until(lambda: two.engine.state.events == 2)
            assert await one.listed("u77") == await two.listed("u77")
            assert [record["user_id"] for record in two.kept()] == [record["user_id"] for record in one.kept()]
            await until(lambda: pending(sent, "shared") == 0)
            await asyncio.sleep(0.3)
            assert sent.xlen("shared") == 1
            assert (one.engine.state.events, two.engine.state.events) == (2, 2)
            assert (await one.ready())["publish"]["waiting"] == 0
            assert b"u77" not in sent.xrange("shared")[0][1][b"event"]

    run(body)


def test_what_a_broker_was_not_told_is_published_after_a_restart(service, sent, clicks, redis_server) -> None:
    shared = {"type": "redis", "url": clicks["url"], "stream": "shared"}

    async def body() -> None:
        async with service(home="one", publish=shared):
            pass  # from now on
        redis_server.stop()
        async with service(home="one", publish=shared) as one:
            assert (await one.post({**VIEW, "event_id": "e1"}))["accepted"] == 1
            assert (await one.ready())["publish"] | {"trouble": ""} == {
                "stream": "shared", "type": "redis", "connected": False, "waiting": 1, "trouble": ""}  # fmt: skip
        redis_server.start()
        async with service(home="one", publish=shared), service(shared, home="two") as two:
            await until(lambda: two.engine.state.events == 1)

    run(body)


def test_records_that_were_not_sealed_with_the_key_are_set_aside(service, sent, clicks) -> None:
    record = {"event_id": "e1", "timestamp": "2025-09-30T00:00:00Z", "event_type": "personalisation", "user_id": "f" * 32, "value": 0}
    add(sent, {"shape": "persona_pipelines.records", "ids": "pseudonyms", "records": [record], "seal": "0" * 128})
    add(sent, {**VIEW, "event_id": "e2"})

    async def body() -> None:
        async with service(clicks) as shop:
            await until(lambda: shop.engine.state.events == 1)
            await until(lambda: sent.xlen("clicks-dead-letters") == 1)
            assert [kept["event_id"] for kept in shop.kept()] == ["e2"]

    run(body)


def test_messages_that_wait_are_made_durable_together(service, sent, clicks) -> None:
    for number in range(200):
        add(sent, {**VIEW, "event_id": f"e{number}"})
    synced = 0

    def sync(file: int) -> None:
        nonlocal synced
        synced += stat.S_ISREG(os.fstat(file).st_mode)
        os.fsync(file)

    async def body() -> None:
        async with service({**clicks, "batch": 100}, sync=sync) as shop:
            await until(lambda: shop.engine.state.events == 200)
            assert synced == 2

    run(body)


def test_a_password_stands_in_no_answer_and_no_line_of_the_log(service, sent, clicks, redis_server, caplog) -> None:
    sent.config_set("requirepass", "right")
    wrong = {**clicks, "url": f"redis://:hunter2@127.0.0.1:{redis_server.port}"}

    async def body() -> None:
        async with service(wrong) as shop:
            told = await until(lambda: _trouble(shop))
            assert "hunter2" not in told

    async def _trouble(shop) -> str:
        trouble = (await shop.stream())["trouble"]
        return "" if trouble == "not connected yet" else trouble

    run(body)
    assert "stream clicks: " in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("address", ["redis://:@127.0.0.1:{port}/0", "unix://{folder}/socket"])
def test_addresses_without_a_password_and_of_a_socket_are_reached(service, sent, clicks, redis_server, tmp_path, address: str) -> None:
    add(sent, VIEW)

    async def body() -> None:
        async with service({**clicks, "url": address.format(port=redis_server.port, folder=tmp_path)}) as shop:
            await until(lambda: shop.engine.state.events == 1)

    run(body)


def test_an_entry_of_no_moment_of_the_calendar_is_set_aside_and_stops_nothing(service, sent, clicks) -> None:
    sent.xadd("clicks", {"event": orjson.dumps({**VIEW, "event_id": "of now", "timestamp": time.time()})})
    sent.xadd("clicks", {"event": orjson.dumps(VIEW)}, id=f"{2**63}-0")

    async def body() -> None:
        async with service(clicks) as shop:
            await until(lambda: sent.xlen("clicks-dead-letters") == 1 and pending(sent) == 0)
            assert [record["event_id"] for record in shop.kept()] == ["of now"]
            assert (await shop.stream())["behind_seconds"] == 0

    run(body)
