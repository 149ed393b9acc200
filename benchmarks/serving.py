"""How many lists a second the live service makes while events arrive, and how soon a list knows an event.

    python benchmarks/serving.py                       (20,000 items, 100,000 users; the service on one core, the load on another)
    python benchmarks/serving.py --seconds 30 --connections 16
    python benchmarks/serving.py --restart 1000000     (how long a start takes with so many events in the journal)

A synthetic shop stands in for a home: what is measured is the service, not the models. The load is this file's own: plain sockets that are kept
open, each asking again as soon as it has its answer; how fast it can ask is measured too, against two constants for an answer: one of the same
service, which answers lists without the layers of its framework, and one of a handler of FastAPI that does nothing else.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import json
import multiprocessing
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

KEY = bytes(range(32))
UNTIL = dt.datetime(2025, 9, 30)
SENDERS = 10
"""Connections that send events."""
PEERS = {
    "Serenade, bol.com (Kersbergen et al., SIGMOD 2022)": "1,000 lists a second on two virtual cores, p90 below 7 ms",
    "Metarank (its own benchmark)": "898 to 1,246 requests a second",
}


def shop(folder: Path, users: int, items: int, place: Path, mark: str = "m") -> None:
    """A snapshot of random tastes in the folder ``place``, and a configuration."""
    from persona_pipelines.privacy.pseudonyms import pseudonym
    from persona_pipelines.serving.snapshot import NEIGHBOURS, NO_WORD, Facts, Scores, Snapshot

    generator = np.random.default_rng(20)
    log = {
        "name": "clicks",
        "kind": "events",
        "path": "clicks.csv",
        "format": "csv",
        "fields": {"timestamp": "at", "user_id": "user", "item_id": "item", "event_type": "type"},
    }
    (folder / "persona.yaml").write_text(
        yaml.safe_dump({"name": "benchmark", "start_date": UNTIL.date(), "sources": [log], "privacy": {"consent_when_unknown": True}})
    )
    names = sorted(pseudonym(f"u{number}", KEY) for number in range(users))
    lengths = generator.integers(5, 51, users)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    history = (items * generator.beta(0.6, 3.0, starts[-1])).astype(np.int32)
    moments = np.full(starts[-1], int(UNTIL.timestamp() * 1e6), dtype=np.int64) - np.arange(starts[-1], dtype=np.int64) % 50 * 60_000_000
    neighbours = np.minimum((items * generator.beta(0.6, 3.0, (items, NEIGHBOURS))).astype(np.int32), items - 1)
    weights = -np.sort(-generator.random((items, NEIGHBOURS), dtype=np.float32), axis=1)
    history, popularity = np.minimum(history, items - 1), generator.random(items) * 100
    owner = np.repeat(np.arange(users), lengths)
    order = np.lexsort((history, owner))
    kept = order[np.concatenate([[True], np.diff(owner[order] * np.int64(items) + history[order]) > 0])]
    Snapshot(
        folder=place,
        facts=Facts("1", mark, UNTIL.isoformat(), UNTIL.isoformat(), True, 0.0, 0, True, [], [], [], [], 0, 0.0, []),
        scores={
            "1": Scores(
                "synthetic",
                "1",
                "synthetic",
                0.8,
                neighbours,
                weights,
                np.empty((users, 0), dtype=np.int32),
                np.empty((users, 0), dtype=np.float32),
                np.empty((users, 0), dtype=np.int8),
                1.0,
                "the model follows the last items itself",
            )
        },
        items=[f"i{number}" for number in range(items)],
        titles=[f"Item number {number}" for number in range(items)],
        categories=[f"Category {number % 40}" for number in range(items)],
        content=None,
        content_start=np.zeros(items + 1, dtype=np.int64),
        content_column=np.empty(0, dtype=np.int32),
        content_value=np.empty(0, dtype=np.float32),
        content_inverse=np.empty((0, 0), dtype=np.float32),
        groups=[],
        group_item=np.empty((0, 0), dtype=np.int32),
        came_by=np.full(users, -1, dtype=np.int32),
        popularity=popularity,
        shown=popularity,
        price=generator.random(items) * 50,
        blocked=np.zeros(items, dtype=bool),
        in_stock=np.ones(items, dtype=np.int8),
        repurchasable=np.zeros(items, dtype=bool),
        is_new=np.zeros(items, dtype=bool),
        vectors=np.zeros((items, 0), dtype=np.float32),
        people=np.array(names, dtype="S32"),
        of_devices=np.zeros(users, dtype=bool),
        consent=np.ones(users, dtype=bool),
        acted=np.zeros(users, dtype=bool),
        word_time=np.full(users, NO_WORD, dtype=np.int64),
        word=np.zeros(users, dtype=bool),
        segment=np.full(users, -1, dtype=np.int32),
        unmet_item=np.empty(0, dtype=np.int32),
        unmet_likeness=np.empty((items, 0), dtype=np.float32),
        history_start=starts.astype(np.int64),
        history_item=history,
        history_time=moments,
        pair_start=np.concatenate([[0], np.cumsum(np.bincount(owner[kept], minlength=users))]).astype(np.int64),
        pair_item=history[kept],
        pair_time=moments[kept],
        pair_good=np.ones(len(kept), dtype=bool),
        pair_rating_sum=np.array([]),
        pair_ratings=np.array([], dtype=np.int32),
        said_start=np.zeros(users + 1, dtype=np.int64),
        said_item=np.array([], dtype=np.int32),
        **{f"{name}_item": np.full((items, 1), -1, dtype=np.int32) for name in ("similar", "together")},
        **{f"{name}_value": np.zeros((items, 1), dtype=np.float32) for name in ("similar", "together")},
        profile_start=np.zeros(users + 1, dtype=np.int64),
        profile=np.empty(0, dtype=np.uint8),
        device=np.empty(0, dtype="S32"),
        device_user=np.empty(0, dtype=np.int64),
        device_left=np.empty(0, dtype=bool),
        device_start=np.zeros(1, dtype=np.int64),
        device_member=np.empty(0, dtype=np.int32),
        ids=np.empty(0, dtype=np.uint64),
    ).save()


LIST, CONSTANT, FRAMEWORK = "list", "constant", "framework"
"""What is answered: a list, the same list whoever asks, and that one by a handler of FastAPI alone."""


def service(folder: Path, port: int, core: int, answered: str) -> None:
    """The service in a process of its own, on one core."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    os.sched_setaffinity(0, {core})
    import uvicorn

    from persona_pipelines.serving.connections import Connection as Connected
    from persona_pipelines.serving.engine import Asked, Engine
    from persona_pipelines.serving.journal import Journal
    from persona_pipelines.serving.running import settle
    from persona_pipelines.serving.service import app_of
    from persona_pipelines.serving.shown import ListLog
    from persona_pipelines.serving.snapshot import load
    from persona_pipelines.settings import load_settings

    engine = Engine(load_settings(folder / "persona.yaml"), load(folder / "snapshot"), KEY)
    found = engine.recommendations(Asked(user="u1"))
    if answered == FRAMEWORK:
        import orjson
        from fastapi import FastAPI, Response

        alone = FastAPI()

        @alone.get("/v1/recommendations/{user}")
        async def constant(user: str, k: int = 10) -> Response:
            return Response(orjson.dumps(found[0]), media_type="application/json")

        settle()
        uvicorn.run(alone, host="127.0.0.1", port=port, log_level="warning", access_log=False)
        return
    if answered == CONSTANT:
        engine.recommendations = lambda asked, seen=True: found  # type: ignore[method-assign]
    else:
        engine.shown = ListLog(folder / f"lists-{port}", lambda: dt.datetime.now(dt.UTC).date()).add
    settle()
    journal = Journal(folder / f"events-{port}", lambda: dt.datetime.now(dt.UTC).date())
    app = app_of(engine, journal)

    @app.app.get("/benchmark/memory")
    async def memory() -> dict[str, float]:
        return {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "people": float(len(engine.state.people))}

    uvicorn.run(app, http=Connected, host="127.0.0.1", port=port, log_level="warning", access_log=False)


@dataclass
class Load:
    """What the load has seen, in seconds."""

    lists: list[float] = field(default_factory=list)
    events: list[float] = field(default_factory=list)
    changed: list[float] = field(default_factory=list)
    errors: int = 0


class Connection:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> None:
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(head[9:12]), await self.reader.readexactly(length)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode()


def post(path: str, document: Any) -> bytes:
    body = json.dumps(document)
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    )


async def lists(port: int, users: int, until: float, seen: Load, number: int) -> None:
    connection, generator = Connection(port), np.random.default_rng(number)
    await connection.open()
    while (began := time.perf_counter()) < until:
        status, body = await connection.ask(get(f"/v1/recommendations/u{generator.integers(users)}"))
        seen.lists.append(time.perf_counter() - began)
        seen.errors += status != 200 or len(body) < 500


async def events(port: int, users: int, items: int, rate: float, until: float, seen: Load, number: int) -> None:
    """``rate`` events a second; after every twentieth the list of that person is asked, and has to be another one."""
    connection, generator, sent = Connection(port), np.random.default_rng(99 + number), 0
    await connection.open()
    started = time.perf_counter()
    while (began := time.perf_counter()) < until:
        if (early := started + sent / rate - began) > 0:
            await asyncio.sleep(early)
            began = time.perf_counter()
        user, sent = f"u{generator.integers(users)}", sent + 1
        watched = sent % 20 == 0
        before = json.loads((await connection.ask(get(f"/v1/recommendations/{user}")))[1])["items"] if watched else []
        item = before[0]["item_id"] if watched else f"i{generator.integers(items)}"
        began = time.perf_counter()
        status, _ = await connection.ask(post("/v1/events", {"event_type": "item_view", "user_id": user, "item_id": item}))
        seen.events.append(time.perf_counter() - began)
        seen.errors += status != 202
        if watched:
            acknowledged = time.perf_counter()
            after = json.loads((await connection.ask(get(f"/v1/recommendations/{user}")))[1])["items"]
            seen.changed.append(time.perf_counter() - acknowledged)
            seen.errors += item in {entry["item_id"] for entry in after}


async def loaded(port: int, users: int, items: int, connections: int, rate: float, seconds: float) -> Load:
    seen = Load()
    until = time.perf_counter() + seconds
    tasks = [lists(port, users, until, seen, number) for number in range(connections)]
    if rate:
        tasks += [events(port, users, items, rate / SENDERS, until, seen, number) for number in range(SENDERS)]
    await asyncio.gather(*tasks)
    return seen


def measured(folder: Path, core: int, answered: str, chosen: argparse.Namespace, rate: float) -> tuple[Load, dict[str, float]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=service, args=(folder, port, core, answered), daemon=True)
    process.start()
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        asyncio.run(loaded(port, chosen.users, chosen.items, chosen.connections, rate, 2))
        seen = asyncio.run(loaded(port, chosen.users, chosen.items, chosen.connections, rate, chosen.seconds))

        async def memory() -> dict[str, float]:
            connection = Connection(port)
            await connection.open()
            found: dict[str, float] = json.loads((await connection.ask(get("/benchmark/memory")))[1])
            return found

        return seen, asyncio.run(memory()) if answered == LIST else {}
    finally:
        process.terminate()
        process.join()


def restart(folder: Path, users: int, items: int, count: int) -> None:
    """How long ``persona serve`` takes to be ready with so many events in its journal: as they are, and once it has had the time to compact them."""
    from persona_pipelines.privacy.pseudonyms import pseudonym
    from persona_pipelines.serving.journal import OLDEST_FILE_SECONDS, Journal, line_of
    from persona_pipelines.serving.keeping import COMPACTED_BYTES, prepared_elsewhere
    from persona_pipelines.settings import load_settings

    home = folder / "home"
    os.environ["PERSONA_HOME"] = str(home)
    (home / "live").mkdir(parents=True)
    shop(folder, 1, 1, folder / "none")
    settings = load_settings(folder / "persona.yaml")
    settings.published_file.parent.mkdir(exist_ok=True)
    settings.published_file.write_text("stands for the tables")
    settings.key_file.write_text(KEY.hex())
    settings.key_file.chmod(0o600)
    mark = f"{settings.published_file.stat().st_mtime_ns:x}"
    shop(folder, users, items, home / "live" / "snapshots" / f"{UNTIL:%Y-%m-%d}-v1-{mark}", mark)
    generator, names = np.random.default_rng(5), [pseudonym(f"u{number}", KEY) for number in range(users)]
    journal, today = Journal(home / "live" / "events", lambda: UNTIL.date()), UNTIL
    for start in range(0, count, 1000):
        lines = []
        for number in range(start, min(start + 1000, count)):
            moment = (today + dt.timedelta(seconds=number / 100)).isoformat(timespec="microseconds") + "Z"
            event = {"event_id": f"e{number}", "timestamp": moment, "received": moment, "event_type": "item_view", "shape": "own"}
            event |= {"user_id": names[int(generator.integers(users))], "item_id": f"i{generator.integers(items)}"}
            lines.append(line_of(event))
        journal.append(lines)
    journal.close()
    size = sum(file.stat().st_size for file in (home / "live" / "events").rglob("*.jsonl")) / 2**20
    print(f"{count:,} events, {size:.0f} MB of journal; {users:,} people, {items:,} items")
    print(f"a start that takes all of them in: ready after {ready(folder):.1f} s")
    began = time.perf_counter()
    asyncio.run(prepared_elsewhere(settings))
    print(
        f"compacted beside the service, where more than {COMPACTED_BYTES / 2**20:.0f} MB wait (files end after {OLDEST_FILE_SECONDS:g} s): {time.perf_counter() - began:.1f} s"
    )
    print(f"a start after that: ready after {ready(folder):.1f} s, and {ready(folder):.1f} s once more")


def ready(folder: Path) -> float:
    """Seconds from the command until the service is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    began = time.perf_counter()
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from persona_pipelines.cli import main; main()",
            "serve",
            "--port",
            str(port),
            "--config",
            str(folder / "persona.yaml"),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as answer:
                    if json.loads(answer.read())["status"] == "ready":
                        return time.perf_counter() - began
            except OSError:
                time.sleep(0.02)
            if process.poll() is not None:
                raise SystemExit("persona serve has ended")
    finally:
        process.terminate()
        process.wait()


def told(name: str, values: list[float]) -> str:
    found = np.array(values) * 1000
    return f"{name}: median {np.median(found):.2f} ms, p90 {np.quantile(found, 0.9):.2f}, p99 {np.quantile(found, 0.99):.2f}, most {found.max():.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--events", type=float, default=500, help="a second")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--restart", type=int, metavar="EVENTS", help="measure starts alone")
    chosen = parser.parse_args()
    if chosen.restart is not None:
        with tempfile.TemporaryDirectory() as parent:
            restart(Path(parent), chosen.users, chosen.items, chosen.restart)
        return
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        shop(folder, chosen.users, chosen.items, folder / "snapshot")
        size = sum(file.stat().st_size for file in (folder / "snapshot").rglob("*.npy")) / 2**20
        seen, memory = measured(folder, cores[0], LIST, chosen, chosen.events)
        print(
            f"{chosen.items:,} items, {chosen.users:,} users, {chosen.connections} connections, {chosen.events:g} events a second, {chosen.seconds:g} s"
        )
        print(
            f"lists a second: {len(seen.lists) / chosen.seconds:,.0f}; events a second: {len(seen.events) / chosen.seconds:,.0f}; errors: {seen.errors}"
        )
        print(told("a list", seen.lists))
        print(told("an event, until it is acknowledged", seen.events))
        print(told("acknowledged event to changed list", seen.changed))
        print(
            f"memory of the service {memory['megabytes']:.0f} MB, of which the snapshot maps {size:.0f} MB; {memory['people']:,.0f} people with events"
        )
        rates = [len(measured(folder, cores[0], answered, chosen, 0)[0].lists) / chosen.seconds for answered in (LIST, FRAMEWORK, CONSTANT)]
        print(f"without events {rates[0]:,.0f} lists a second")
        print(f"a handler of FastAPI that answers a constant {rates[1]:,.0f}: ratio {rates[0] / rates[1]:.2f}")
        print(f"the same service with a constant for a list {rates[2]:,.0f}: ratio {rates[0] / rates[2]:.2f}")
        for name, figure in PEERS.items():
            print(f"published: {name}: {figure}")


if __name__ == "__main__":
    main()
