"""The log of served lists: it costs nothing where lists are made, loses a second at most, and a full disk stops nobody."""

from __future__ import annotations

import datetime as dt
import errno
import functools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_pipelines.serving import shown as showing
from persona_pipelines.serving.journal import JournalHeldError, events_of, files_of
from persona_pipelines.serving.shown import ListLog, Shown

DAY = dt.date(2025, 10, 1)
LONG = 3600.0


def shown(number: int, **changes) -> Shown:
    usual = {
        "list_id": f"l{number}",
        "served_at": dt.datetime(2025, 10, 1, 12, 0, 0, number),
        "person": f"p{number}",
        "device": False,
        "slot": "home",
        "model": "shop",
        "model_version": "3",
        "experiment": None,
        "variant": None,
        "shadow": False,
        "items": ("i1", "i2"),
        "propensities": (1.0, 0.5),
        "sources": ("live", "popular"),
    }
    return Shown(**{**usual, **changes})


def kept(folder: Path) -> list[str]:
    return [event["list_id"] for event in events_of(files_of(folder), lambda found: pytest.fail(str(found)))]


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.005)
    return holds()


def has_dropped(log: ListLog, count: int) -> bool:
    return log.dropped == count


def test_lists_are_written_in_their_order_and_a_line_says_all_of_one(tmp_path: Path) -> None:
    log = ListLog(tmp_path, lambda: DAY, seconds=LONG)
    for number in range(5):
        log.add(shown(number, experiment="bolder", variant="bold", shadow=True))
    log.close()
    assert kept(tmp_path) == ["l0", "l1", "l2", "l3", "l4"]
    (file,) = files_of(tmp_path)
    assert file.parent.name == "2025-10-01"
    (first, *_) = events_of([file], print)
    assert first == {
        "list_id": "l0",
        "served_at": "2025-10-01T12:00:00.000000Z",
        "person": "p0",
        "device": False,
        "slot": "home",
        "model": "shop",
        "model_version": "3",
        "experiment": "bolder",
        "variant": "bold",
        "shadow": True,
        "items": ["i1", "i2"],
        "propensities": [1.0, 0.5],
        "sources": ["live", "popular"],
    }
    assert log.dropped == 0


def test_what_waits_is_on_the_disk_without_anybody_closing_it(tmp_path: Path) -> None:
    """A process that is killed has written all lists but those of its last interval."""
    code = (
        "import datetime as dt, pathlib, sys, time\n"
        "from persona_pipelines.serving.shown import ListLog\n"
        "from persona_pipelines_tests.serving.test_shown import shown, within, files_of\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "log = ListLog(folder, lambda: dt.date(2025, 10, 1), seconds=0.02)\n"
        "log.add(shown(1))\n"
        "within(10, lambda: any(file.stat().st_size for file in files_of(folder)))\n"
        "print('written', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"written\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert kept(tmp_path) == ["l1"]


def test_a_list_costs_microseconds_while_the_disk_does_not_answer(tmp_path: Path) -> None:
    answered = threading.Event()

    def sync(file: int) -> None:
        answered.wait(30)

    log = ListLog(tmp_path, lambda: DAY, seconds=0.001, sync=sync)
    lists = [shown(number) for number in range(10_000)]
    began = time.perf_counter()
    for one in lists:
        log.add(one)
    each = (time.perf_counter() - began) / len(lists)
    answered.set()
    log.close()
    assert each < 50e-6  # about half a microsecond; a disk that is waited for takes milliseconds
    assert len(kept(tmp_path)) == 10_000


def test_a_full_disk_costs_its_lists_which_are_counted_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    full = True

    def sync(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    log = ListLog(tmp_path, lambda: DAY, seconds=0.005, sync=sync)
    for number in range(3):
        log.add(shown(number))
        assert within(10, functools.partial(has_dropped, log, number + 1))
    assert len([record for record in caplog.records if "No space left on device" in record.getMessage()]) == 1
    full = False
    log.add(shown(7))
    log.close()
    assert (kept(tmp_path), log.dropped) == (["l7"], 3)


def test_no_more_lists_wait_than_there_is_room_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "MOST_WAITING", 2)
    log = ListLog(tmp_path, lambda: DAY, seconds=LONG)
    for number in range(5):
        log.add(shown(number))
    log.close()
    assert (kept(tmp_path), log.dropped) == (["l0", "l1"], 3)


def test_a_list_that_cannot_be_written_costs_its_group_and_not_the_log(tmp_path: Path) -> None:
    log = ListLog(tmp_path, lambda: DAY, seconds=0.005)
    log.add(shown(1, person=object()))
    assert within(10, functools.partial(has_dropped, log, 1))
    log.add(shown(2))
    log.close()
    assert kept(tmp_path) == ["l2"]


def test_two_services_do_not_write_one_log(tmp_path: Path) -> None:
    log = ListLog(tmp_path, lambda: DAY)
    with pytest.raises(JournalHeldError):
        ListLog(tmp_path, lambda: DAY)
    log.close()
