"""Several processes over one journal: what one accepts, the others know."""

import asyncio
import datetime as dt
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from persona_pipelines.serving import following
from persona_pipelines.serving.building import folder_of
from persona_pipelines.serving.catalogue import Kept, Row, as_kept
from persona_pipelines.serving.following import Follower
from persona_pipelines.serving.journal import Journal, files_of, line_of, name_of
from persona_pipelines.serving.service import app_of
from persona_pipelines_tests.serving.conftest import NOW, ask, told
from persona_pipelines_tests.serving.test_keeping import EVENTS, home, journal_of, lists, served  # noqa: F401 - a fixture
from persona_pipelines_tests.serving.test_state import event

DAY = dt.date(2025, 10, 1)


def shared(folder: Path) -> Journal:
    return Journal(folder, lambda: DAY, shared=True)


def test_writers_of_one_journal_have_files_of_their_own_and_leave_those_of_others_alone(tmp_path) -> None:
    one, other = shared(tmp_path), shared(tmp_path)
    for number in range(3):
        one.append([line_of({"n": number})])
        other.append([line_of({"n": number + 10})])
    third = shared(tmp_path)
    assert sorted(name_of(file) for file in files_of(tmp_path)) == ["2025-10-01/000000001.jsonl", "2025-10-01/000000002.jsonl"]
    assert (one.own, other.own) == ({"2025-10-01/000000001.jsonl"}, {"2025-10-01/000000002.jsonl"})
    assert [file.name for file in files_of(tmp_path)] == ["000000001.jsonl.part", "000000002.jsonl.part"]
    assert third.before == []
    one.close()
    third.append([line_of({"n": 20})])
    assert third.own == {"2025-10-01/000000003.jsonl"}
    other.close()
    third.close()
    assert [file.name for file in files_of(tmp_path)] == ["000000001.jsonl", "000000002.jsonl", "000000003.jsonl"]


def test_a_follower_takes_in_whole_lines_once_through_renames_and_days(engine_of, tmp_path) -> None:
    today = DAY
    engine, alone = engine_of(), engine_of()
    mine, theirs = shared(tmp_path), Journal(tmp_path, lambda: today, shared=True)
    follower = Follower(engine, mine, lambda: today)
    follower.look()
    for number, entry in enumerate(EVENTS):
        writer = (theirs, mine)[number % 5 == 0]
        writer.append([line_of(entry)])
        alone.take([entry])
        if writer is mine:
            engine.take([entry])
        if number == 90:
            theirs._leave()  # ended while it is followed
        if number == 120:
            today += dt.timedelta(days=1)
        if number % 7 == 0:
            follower.look()
    path = next(file for file in files_of(tmp_path) if name_of(file) not in mine.own and file.name.endswith(".part"))
    with path.open("ab") as stream:
        stream.write(line_of(event(900, user="3", item=1))[:20])
    follower.look()
    assert engine.state.events == alone.state.events == len(EVENTS)
    with path.open("ab") as stream:
        stream.write(line_of(event(900, user="3", item=1))[20:])
    follower.look()
    assert engine.state.events == len(EVENTS) + 1
    alone.take([event(900, user="3", item=1)])
    assert lists(engine) == lists(alone)
    theirs.close()
    mine.close()
    follower.look()
    follower.look()
    assert len(follower._files) == 0
    follower.close()


def test_what_another_process_has_acknowledged_holds_for_the_very_next_list(engine_of, tmp_path) -> None:
    """A no to personalisation above all: whichever process is asked, and however seldom it looks."""
    engine, mine, theirs = engine_of(), shared(tmp_path), shared(tmp_path)
    follower = Follower(engine, mine, lambda: DAY)
    follower.look()
    app = app_of(engine, mine, follower=follower)

    async def asked() -> list[bool]:
        found = []
        for number in range(60):  # each in a file of its own: those of one moment are found too
            theirs.append([line_of(event(number, "personalisation", "3", value=number % 2, minutes=number))])
            theirs._leave()
            found.append((await ask(app, "GET", "/v1/recommendations/u3")).json["personal"])
        return found

    assert asyncio.run(asked()) == [False, True] * 30
    theirs.close()
    mine.close()
    follower.close()


def test_a_file_that_came_in_the_moment_of_the_last_look_is_found(engine_of, tmp_path, monkeypatch) -> None:
    """A clock that is coarse: the folder has changed and has the moment that it had."""
    monkeypatch.setattr(following, "SAME_MOMENT_NANOSECONDS", 60_000_000_000)
    engine, mine, theirs = engine_of(), shared(tmp_path), shared(tmp_path)
    follower, day, moment = Follower(engine, mine, lambda: DAY), tmp_path / DAY.isoformat(), time.time_ns()
    for number in range(2):
        theirs.append([line_of(event(number, user="3", item=number))])
        os.utime(day, ns=(moment, moment))
        follower.look()
        theirs._leave()
    assert engine.state.events == 2
    theirs.close()
    mine.close()
    follower.close()


def test_files_that_cannot_be_followed_leave_the_lists_as_they_are(engine_of, tmp_path, monkeypatch, caplog) -> None:
    engine, mine = engine_of(), shared(tmp_path)
    follower = Follower(engine, mine, lambda: DAY)
    monkeypatch.setattr(follower, "_find", lambda day: (tmp_path / "gone").read_bytes())
    (answer,) = told(app_of(engine, mine, follower=follower), ("GET", "/v1/recommendations/u3"))
    assert answer.status == 200
    assert "a fault while following other processes" in caplog.text
    mine.close()


def test_rows_of_the_catalogue_that_came_to_another_process_are_taken_in(engine_of, tmp_path) -> None:
    engine = engine_of()
    engine.kept, others = Kept(tmp_path / "items.jsonl"), Kept(tmp_path / "items.jsonl")
    journal = shared(tmp_path / "events")
    follower = Follower(engine, journal, lambda: DAY)
    others.put([as_kept(Row(item_id="n", title="red", category="red"), NOW)])
    engine.kept.put([as_kept(Row(item_id="m", title="green"), NOW)])
    asyncio.run(follower._items())
    others.put([as_kept(Row(item_id="o", title="red"), NOW)])
    asyncio.run(follower._items())
    assert {"n", "m", "o"} <= engine.catalogue.places.keys()
    assert list(Kept(tmp_path / "items.jsonl").rows) == ["n", "m", "o"]
    journal.close()


class Connected:
    """A connection that stays with one process."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, path: str, document: object = None) -> dict:
        body = None if document is None else json.dumps(document)
        self.connection.request("GET" if body is None else "POST", path, body, {"content-type": "application/json"})
        return json.loads(self.connection.getresponse().read())


def two_workers(home, **options: Any) -> subprocess.Popen[str]:  # noqa: F811
    """``persona serve --workers 2`` over a home, at a free port."""
    program = "from persona_pipelines.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "serve", "--port", "0", "--workers", "2", "--config", str(home.file)],
        env={**os.environ, "PERSONA_HOME": str(home.home)},
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def port_of(process: subprocess.Popen[str]) -> int:
    """The port that a service says it answers at."""
    assert process.stdout is not None
    return next(int(found[1]) for line in process.stdout if (found := re.match(r"http://127\.0\.0\.1:(\d+)/", line)))


def of_each(port: int, workers: int) -> dict[int, Connected]:
    """A connection to each worker."""
    found: dict[int, Connected] = {}
    until = time.monotonic() + 60
    while len(found) < workers and time.monotonic() < until:
        try:
            connected = Connected(port)
            found.setdefault(connected.ask("/readyz")["worker"], connected)
        except OSError:
            time.sleep(0.1)
    assert len(found) == workers
    return found


@pytest.mark.slow
def test_any_worker_knows_what_another_accepted_and_one_that_is_killed_is_replaced(home) -> None:  # noqa: F811
    process = two_workers(home)
    try:
        port = port_of(process)
        workers = of_each(port, 2)
        sent = [
            {"event_id": f"w{number}", "event_type": "item_view", "user_id": "u77", "item_id": f"i{number % 30}"} for number in range(40)
        ]
        for number, document in enumerate(sent):
            assert workers[number % 2].ask("/v1/events", document)["accepted"] == 1
        assert workers[0].ask("/v1/items", {"item_id": "n", "title": "red", "category": "red"})["new"] == 1
        until = time.monotonic() + 20
        while [workers[number].ask("/readyz")["events"] for number in (0, 1)] != [40, 40] and time.monotonic() < until:
            time.sleep(0.02)
        assert [workers[number].ask("/readyz")["events"] for number in (0, 1)] == [40, 40]
        assert [workers[number].ask("/v1/events", sent)["repeated"] for number in (0, 1)] == [40, 40]
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        killed = next(child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes())
        os.kill(int(killed), signal.SIGKILL)
        time.sleep(0.5)
        workers = of_each(port, 2)
        assert [workers[number].ask("/v1/events", sent)["repeated"] for number in (0, 1)] == [40, 40]
        assert {workers[number].ask("/readyz")["new_items"] for number in (0, 1)} == {1}
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 143
    assert [file for file in files_of(folder_of(home) / "events") if file.name.endswith(".part")] == []


@pytest.mark.slow
def test_an_interrupt_of_the_first_process_alone_ends_all_without_noise(home) -> None:  # noqa: F811
    """Started in the background by a shell, which has interrupts ignored."""
    process = two_workers(home, stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    try:
        port = port_of(process)
        of_each(port, 2)[0].ask("/v1/events", {"event_type": "item_view", "user_id": "u77", "item_id": "i1"})
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [child for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.terminate()
        process.wait(timeout=30)
    assert (process.returncode, errors.strip()) == (130, "Interrupted.")
    assert len(workers) == 2
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
    assert [file.name for file in files_of(folder_of(home) / "events")] == ["000000001.jsonl"]
