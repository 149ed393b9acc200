"""Connections that say nothing, little, too much or do not listen: everybody else is answered, and nothing of them stays."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import orjson
import pytest

from persona_pipelines.serving import connections, running
from persona_pipelines.settings import Settings
from persona_pipelines_tests.faults.live import Live
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
            except OSError:  # it was closed while we sent
                continue
            assert b" 431 " in rest(connection)


def test_a_body_that_goes_on_after_its_answer_is_closed(served: Callable[..., Served], short: None) -> None:
    with closing(connected(served(serving={"largest_body_bytes": 1_000}))) as connection:
        connection.sendall(b"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(100):
                connection.sendall(b"100\r\n" + b"x" * 256 + b"\r\n")
                time.sleep(0.02)


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
