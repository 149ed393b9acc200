"""Connections that say nothing, little, too much or do not listen: everybody else is answered, and nothing of them stays."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from persona_pipelines.serving import connections
from persona_pipelines.serving.building import folder_of
from persona_pipelines.serving.journal import OPEN, events_of, files_of
from persona_pipelines.settings import Settings
from persona_pipelines_tests.faults.live import PLAIN, Live, Load, asked
from persona_pipelines_tests.serving.conftest import Served

LIST = b"GET /v1/recommendations/u3 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"


def connected(served: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", served.port), timeout=5)


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    found = b""
    while part := connection.recv(65_536):
        found += part
    return found


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)


def test_a_head_that_does_not_end_is_closed(served: Callable[..., Served], short: None) -> None:
    with closing(connected(served())) as connection:
        connection.sendall(LIST[:-2])
        began = time.monotonic()
        for _ in range(20):  # a line now and then gives no more time
            try:
                connection.sendall(b"x: y\r\n")
            except OSError:
                break
            time.sleep(0.05)
        assert time.monotonic() - began < 0.9


def test_headers_without_end_are_refused(served: Callable[..., Served]) -> None:
    for flood in (b"x: " + b"y" * 1_000 + b"\r\n", b"y" * 1_000):
        with closing(connected(served())) as connection:
            connection.sendall(LIST[:-2])
            try:
                for _ in range(2_000):
                    connection.sendall(flood)
                answer = rest(connection)
            except OSError:  # it was closed while we sent, and what it said is lost
                continue
            assert b" 431 " in answer


def test_a_body_that_goes_on_after_its_answer_is_closed(served: Callable[..., Served], short: None) -> None:
    with closing(connected(served(serving={"largest_body_bytes": 1_000}))) as connection:
        connection.sendall(
            b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        began = time.monotonic()
        while time.monotonic() - began < 5:
            try:
                connection.sendall(b"100\r\n" + b"x" * 256 + b"\r\n")
            except OSError:
                break
            time.sleep(0.02)
        assert time.monotonic() - began < 2


def test_one_that_only_closes_its_own_side_is_answered(served: Callable[..., Served]) -> None:
    with closing(connected(served())) as connection:
        connection.sendall(LIST.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        connection.shutdown(socket.SHUT_WR)
        assert b" 200 " in rest(connection)


def test_several_requests_at_once_are_answered_one_after_the_other(served: Callable[..., Served], short: None) -> None:
    with closing(connected(served())) as connection:
        connection.sendall(LIST * 50)
        found = b""
        while found.count(b"HTTP/1.1 200") < 50:
            found += connection.recv(65_536)
        time.sleep(0.4)  # a connection that waits is none whose head does not end
        connection.sendall(LIST)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
def test_many_that_say_nothing_and_slow_ones_hold_nobody_up(live_home: Settings) -> None:
    """2,000 connections that say nothing, 200 that send a byte a second, and 8 that ask for lists one after the other."""
    service = Live(live_home.file, live_home.home, module=PLAIN)
    try:
        files = Path(f"/proc/{service.process.pid}/fd")
        before, memory = len(list(files.iterdir())), resident(service)
        silent = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(2_000)]
        slow = [socket.create_connection(("127.0.0.1", service.port)) for _ in range(200)]
        head = b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n"
        for number, connection in enumerate(slow):
            connection.sendall(LIST[:-20] if number % 2 else head)
        took: list[float] = []

        def ask() -> None:
            with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)) as connection:
                for _ in range(200):
                    began = time.perf_counter()
                    assert asked(connection, "GET", "/v1/recommendations/u3")[0] == 200
                    took.append(time.perf_counter() - began)

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for connection in slow:
                connection.sendall(b"x")
            time.sleep(1)
        assert len(took) == 1_600
        slowest = sorted(took)[int(len(took) * 0.99)]
        print(f"p99 {slowest * 1000:.1f} ms, median {sorted(took)[800] * 1000:.1f} ms, memory {memory} -> {resident(service)} KB")
        assert slowest < 0.5
        for connection in (*silent, *slow):
            connection.close()
        deadline = time.monotonic() + 10
        while len(list(files.iterdir())) > before + 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(list(files.iterdir())) <= before + 2
        print(f"after {resident(service)} KB")
    finally:
        assert service.end(signal.SIGTERM) == 143


def resident(service: Live) -> int:
    """Memory of the process, in KB."""
    lines = Path(f"/proc/{service.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_when_requests_at_hand_are_answered_and_nobody_holds_it_up(live_home: Settings, number: int, code: int) -> None:
    service = Live(live_home.file, live_home.home, module=PLAIN)
    deaf = socket.create_connection(("127.0.0.1", service.port))  # asks for much and reads nothing
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    deaf.sendall(LIST.replace(b"u3", b"u3?k=1000") * 5_000)
    late = socket.create_connection(("127.0.0.1", service.port))  # a body that does not come
    late.sendall(b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{")
    load = Load(service.port, "load", 12, [f"i{number}" for number in range(30)])
    wait = load.start()
    time.sleep(1)
    began = time.monotonic()
    assert service.end(number) == code
    assert time.monotonic() - began < 5 + 3
    wait()
    assert rest(late).startswith(b"HTTP/1.1 503")
    deaf.close()
    late.close()
    files = files_of(folder_of(live_home) / "events")
    kept = {event["event_id"] for event in events_of(files, lambda found: pytest.fail(str(found)))}
    assert load.acknowledged
    assert load.acknowledged <= kept
    assert not [file for file in files if file.name.endswith(OPEN)]
    said = "".join(service.said)
    assert "Traceback" not in said, said
    assert "leaked" not in said, said
