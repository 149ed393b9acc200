"""kill -9 of the live service at random instants under load: what it acknowledged is there, counts once, and is in the lists."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import yaml

from persona_pipelines.privacy.pseudonyms import load_key
from persona_pipelines.serving.building import build, folder_of, since, snapshots_of
from persona_pipelines.serving.engine import Asked, Engine
from persona_pipelines.serving.journal import events_of, files_of
from persona_pipelines.serving.snapshot import Snapshot, load
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.faults.outcomes import Outcome
from persona_pipelines_tests.faults.stand import Reference

ROOT = Path(__file__).parents[2]
SMALL = ("-m", "persona_pipelines_tests.faults.small_live")
PLAIN = ("-c", "from persona_pipelines.cli import main; main()")
"""Programs of a process: with small files and snapshots that change all the time, and as people start it."""
STARTED_SECONDS = 60
SENDERS, READERS, BATCH = 4, 2, 5
ALL_AT_ONCE = 1_000
"""Events that are sent again in one request."""


class Live:
    """``persona serve`` as a process.

    Attributes:
        seconds: from its start until it answered.
    """

    def __init__(
        self, configuration: Path, home: Path, *options: str, module: tuple[str, ...] = SMALL, more: Mapping[str, str] | None = None
    ) -> None:
        began = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *module, "serve", "--port", "0", "--config", str(configuration), *options],
            cwd=configuration.parent,
            env={**os.environ, "PERSONA_HOME": str(home), "PYTHONPATH": str(ROOT), "COLUMNS": "1000", **(more or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # Where the tests run in the background of a shell, Ctrl-C is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.said: list[str] = []
        self.port = self._told_port()
        if self.ask("GET", "/healthz")[0] != 200:
            raise OSError("the service does not answer")
        self.seconds = time.monotonic() - began
        threading.Thread(target=self._listen, daemon=True).start()

    def _told_port(self) -> int:
        for line in self.process.stdout or ():
            self.said.append(line)
            if line.startswith("http://"):
                return int(line.split("/")[2].rpartition(":")[2])
        raise OSError(f"the service does not start: {''.join(self.said)}")

    def _listen(self) -> None:
        self.said.extend(self.process.stdout or ())

    def ask(self, method: str, path: str, document: Any = None) -> tuple[int, Any]:
        """Status and document of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STARTED_SECONDS)
        with contextlib.closing(connection):
            return asked(connection, method, path, document)

    def end(self, number: int) -> int:
        """Send it a signal; its exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        return self.process.wait(STARTED_SECONDS)


def asked(connection: http.client.HTTPConnection, method: str, path: str, document: Any = None) -> tuple[int, Any]:
    """Status and document of an answer on a connection that stays open."""
    connection.request(method, path, None if document is None else orjson.dumps(document), {"content-type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, orjson.loads(body) if body else None


@dataclass
class Load:
    """Connections that send events and ask for lists until the service is gone.

    Attributes:
        acknowledged: ids of events that were answered with 202; ``sent``: of all.
    """

    port: int
    name: str
    users: int
    items: list[str]
    acknowledged: set[str] = field(default_factory=set)
    sent: int = 0
    lists: int = 0

    def start(self) -> Callable[[], None]:
        """Begin; what is given waits until all have ended."""
        threads = [threading.Thread(target=self._send, args=(number,), daemon=True) for number in range(SENDERS)]
        threads += [threading.Thread(target=self._read, args=(number,), daemon=True) for number in range(READERS)]
        for thread in threads:
            thread.start()

        def wait() -> None:
            for thread in threads:
                thread.join(STARTED_SECONDS)

        return wait

    def _send(self, sender: int) -> None:
        draw = random.Random(f"{self.name}, {sender}")
        with self._connected() as connection:
            for number in range(1_000_000):
                events = [self._event(draw, f"{self.name}-{sender}-{number}-{place}") for place in range(draw.randint(1, BATCH))]
                self.sent += len(events)
                if asked(connection, "POST", "/v1/events", events)[0] == 202:
                    self.acknowledged.update(event["event_id"] for event in events)

    def _event(self, draw: random.Random, identifier: str) -> dict[str, Any]:
        user, device = f"u{draw.randrange(self.users)}", f"d{draw.randrange(self.users)}"
        kind = draw.choices(
            ["item_view", "purchase", "login", "logout", "not_interested", "less_like_this", "personalisation"], [80, 8, 4, 2, 2, 2, 2]
        )[0]
        who = {"user_id": user} if draw.random() < 0.6 else {"anonymous_id": device}
        if kind in ("login", "logout"):
            return {"event_id": identifier, "event_type": kind, "user_id": user, "anonymous_id": device}
        what: dict[str, Any] = {"value": draw.randrange(2)} if kind == "personalisation" else {"item_id": draw.choice(self.items)}
        return {"event_id": identifier, "event_type": kind, **who, **what}

    def _read(self, reader: int) -> None:
        draw = random.Random(f"{self.name}, reader {reader}")
        with self._connected() as connection:
            while True:
                asked(connection, "GET", f"/v1/recommendations/u{draw.randrange(self.users)}?k=20")
                self.lists += 1

    @contextlib.contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        """A connection, until the other end is gone."""
        with (
            contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=STARTED_SECONDS)) as connection,
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            yield connection


def served(known: Reference, folder: Path, number: int, generator: random.Random) -> Iterator[Outcome]:
    """The service over the shop, killed again and again."""
    stand = known.stand.copied(folder / "live")
    content = yaml.safe_load((stand.folder / "persona.yaml").read_text())
    (stand.folder / "persona.yaml").write_text(yaml.safe_dump({**content, "serving": {"exploration": 0}}))
    settings = stand.settings
    with Warehouse(settings.published_file, read_only=True) as store:
        made = build(store, settings)
    base = load(Path(shutil.copytree(made.folder, folder / "base" / made.name)))
    found = kills(settings, base, number, generator)
    starts = sorted(found.starts)
    yield Outcome(
        "live",
        f"kill -9 of the live service under load, {number} times",
        f"{len(found.acknowledged):,} acknowledged events of {found.sent:,} sent, none lost, none counted twice; lists as of a replay; "
        f"{found.swaps} snapshots taken meanwhile; {found.damaged} damaged lines; ready again after {starts[len(starts) // 2]:.1f} s, "
        f"at most {starts[-1]:.1f} s",
        found.wrong,
    )


@dataclass
class Killed:
    """What came of some kills: what was ``wrong``, seconds of each start, events that were acknowledged, and snapshots that were taken."""

    wrong: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    sent: int = 0
    lists: int = 0
    damaged: int = 0
    swaps: int = 0
    compacted: set[str] = field(default_factory=set)


def kills(settings: Settings, base: Snapshot, number: int, generator: random.Random, users: int = 40, longest: float = 4.0) -> Killed:
    """Kill the service of a home again and again.

    Args:
        base: what it begins with, in a folder that it does not remove.
        users: who do something; as many devices do. longest: seconds of load before a kill.
    """
    found = Killed()
    service = Live(settings.file, settings.home)
    try:
        for turn in range(number):
            load = Load(service.port, f"turn{turn}", users, base.items)
            wait = load.start()
            time.sleep(generator.uniform(0.2, longest))
            found.swaps += _figure(service, "persona_snapshots_taken")
            service.end(signal.SIGKILL)
            wait()
            found.acknowledged |= load.acknowledged
            found.sent, found.lists = found.sent + load.sent, found.lists + load.lists
            service = Live(settings.file, settings.home)
            found.starts.append(service.seconds)
            found.wrong += [f"kill {turn + 1}: {text}" for text in _wrong(service, settings, base, found, load.acknowledged, users)]
        again = sorted(found.acknowledged)
        found.wrong += _known(service, again)
    finally:
        service.end(signal.SIGKILL)
    return found


def _wrong(service: Live, settings: Settings, base: Snapshot, found: Killed, acknowledged: set[str], users: int) -> list[str]:
    """What is wrong after a start, before anything new has come."""
    wrong = _known(service, sorted(acknowledged))
    status, ready = service.ask("GET", "/readyz")
    if (status, ready["status"]) != (200, "ready"):
        wrong.append(f"/readyz says {status} {ready}")
    found.damaged = max(found.damaged, ready["damaged_lines"])
    found.compacted |= {folder.name for folder in snapshots_of(settings).iterdir() if "+" in folder.name}
    files = files_of(folder_of(settings) / "events")
    missing = found.acknowledged - {event["event_id"] for event in events_of(files, lambda _: None)}
    if missing:
        wrong.append(f"{len(missing)} acknowledged events are not in the journal, {sorted(missing)[:3]} among them")
    replayed = Engine(settings, base, load_key(settings.key_file))
    replayed.take(since(base, files, lambda _: None))
    for name in [f"u{user}" for user in range(users)] + [f"d{user}" for user in range(users)]:
        device = name.startswith("d")
        expected = replayed.answer(Asked(user=None if device else name, device=name if device else None, k=20))["items"]
        answered = service.ask("GET", f"/v1/recommendations/{name}?k=20{'&device=true' if device else ''}")[1]["items"]
        if answered != expected:
            wrong.append(f"the list of {name} is not that of a replay: {answered[:2]}, expected {expected[:2]}")
    return wrong


def _known(service: Live, identifiers: list[str]) -> list[str]:
    """What is wrong where events of these ids are sent again: each has to be known."""
    wrong = []
    for first in range(0, len(identifiers), ALL_AT_ONCE):
        part = identifiers[first : first + ALL_AT_ONCE]
        events = [{"event_id": name, "event_type": "item_view", "user_id": "nobody"} for name in part]
        status, told = service.ask("POST", "/v1/events", events)
        if (status, told) != (202, {"accepted": 0, "repeated": len(part)}):
            wrong.append(f"acknowledged events that are sent again: {status} {told}, expected {len(part)} repeated")
    return wrong


def _figure(service: Live, name: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=STARTED_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return next(int(float(line.split()[1])) for line in lines if line.startswith(f"{name} "))
