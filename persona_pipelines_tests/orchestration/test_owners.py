"""Runs are owned from the first moment, and those whose process has died are shown as running no longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType

from persona_pipelines.orchestration import owners
from persona_pipelines.orchestration.owners import ENDED, PROCESS_TAG, end_orphaned_runs, process_tag
from persona_pipelines.warehouse.locks import WarehouseLock, is_held


@dg.op
def nothing() -> None: ...


@dg.job
def a_job() -> None:
    nothing()


def started(instance: dg.DagsterInstance, **tags: str) -> str:
    run = instance.create_run_for_job(a_job, tags=tags)
    instance.report_dagster_event(DagsterEvent(DagsterEventType.RUN_START.value, a_job.name), run_id=run.run_id)
    return run.run_id


@pytest.fixture
def dead() -> str:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    tag = process_tag(process.pid)
    process.kill()
    process.wait()
    return tag


def test_a_run_whose_process_has_died_is_ended_and_others_are_not(tmp_path: Path, dead: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        orphan = started(instance, **{PROCESS_TAG: dead})
        alive = started(instance, **{PROCESS_TAG: process_tag(1)})
        reused = started(instance, **{PROCESS_TAG: "1:0"})  # the number of a process that has it now
        assert sorted(end_orphaned_runs(instance, tmp_path)) == sorted([orphan, reused])
        assert instance.get_run_by_id(orphan).status == dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(alive).status == dg.DagsterRunStatus.STARTED
        assert any(entry.user_message == ENDED or ENDED in entry.message for entry in instance.all_logs(orphan))


def test_a_run_that_never_said_whose_it_is_is_ended_when_it_cannot_be_starting_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = started(instance)
        assert end_orphaned_runs(instance, tmp_path) == []
        monkeypatch.setattr(owners, "UNOWNED_MINUTES", -1.0)
        lock = WarehouseLock(tmp_path)
        lock.acquire("somebody", 0, print)
        assert is_held(tmp_path)
        assert end_orphaned_runs(instance, tmp_path) == []
        lock.release()
        assert not is_held(tmp_path)
        assert end_orphaned_runs(instance, tmp_path) == [run]
