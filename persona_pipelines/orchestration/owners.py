"""Whose process a run is: so that one whose process has died is ended, and shown as running no longer."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from persona_pipelines.warehouse.locks import is_held

PROCESS_TAG = "persona/process"
ENDED = "The process of this run ended without a word: killed, or the machine went down."
UNOWNED_MINUTES = 2.0
"""A run of the daemon or the web UI says whose process it is when it opens the warehouse; one that has not by then has died before."""


_waiting: dict[str, Callable[[str], None]] = {}


@contextmanager
def told_of_waiting(run_id: str, told: Callable[[str], None]) -> Iterator[None]:
    """Within, ``told`` hears of whom a run of this process waits for."""
    _waiting[run_id] = told
    try:
        yield
    finally:
        del _waiting[run_id]


def tell_of_waiting(run_id: str, text: str) -> None:
    """Tell whoever has started a run in this process that it waits."""
    if run_id in _waiting:
        _waiting[run_id](text)


def process_tag(pid: int) -> str:
    """A process in a way that survives the reuse of process numbers: number and start time (the latter on Linux)."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        started = ""
    return f"{pid}:{started}"


def own(instance: dg.DagsterInstance, run_id: str) -> None:
    """Say that a run is this process."""
    instance.add_run_tags(run_id, {PROCESS_TAG: process_tag(os.getpid())})


def _alive(tag: str) -> bool:
    pid = int(tag.split(":")[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process_tag(pid) == tag


def end_orphaned_runs(instance: dg.DagsterInstance, home: Path) -> list[str]:
    """Mark runs as failed whose process has died, so that none is shown as running for ever. Returns their ids.

    A run without an owner died before it could say whose it is, unless it is just starting.
    """
    running = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    latest = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=UNOWNED_MINUTES)
    ended = []
    for record in instance.get_run_records(filters=dg.RunsFilter(statuses=running)):
        run, tag = record.dagster_run, record.dagster_run.tags.get(PROCESS_TAG)
        since = dt.datetime.fromtimestamp(record.start_time, dt.UTC) if record.start_time else record.create_timestamp
        if not _alive(tag) if tag else since < latest and not is_held(home):
            instance.report_run_failed(run, ENDED)
            ended.append(run.run_id)
    return ended
