"""What the instance is set to, seen to act: one run at a time, and none that is stuck for ever, in the daemon's own iterations."""

from __future__ import annotations

import datetime as dt
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster import DagsterEvent, DagsterEventType, EventLogEntry
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._daemon.monitoring import concurrency
from dagster._daemon.monitoring.concurrency import execute_concurrency_slots_iteration
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from persona_pipelines.home import histories
from persona_pipelines.orchestration.instance import INSTANCE, open_instance
from persona_pipelines_tests.conftest import CLICKS

pytestmark = pytest.mark.slow

MONITORING = INSTANCE["run_monitoring"]
ORIGIN = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("persona_pipelines"), "__repository__"), "flow")
LOGGER = logging.getLogger("test")
QUEUED, STARTING, STARTED, FAILURE = (getattr(dg.DagsterRunStatus, name) for name in ("QUEUED", "STARTING", "STARTED", "FAILURE"))


@pytest.fixture
def instance(configure: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name in ("DAGSTER_HOME", "PERSONA_CONFIG", "DAGSTER_DISABLE_TELEMETRY", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")  # put back afterwards
        monkeypatch.delenv(name)
    with open_instance(configure(CLICKS), print) as opened:
        yield opened


def test_a_database_that_is_gone_is_said_once_and_made_anew(configure: Any, instance: dg.DagsterInstance) -> None:
    settings = configure(CLICKS)
    files = [settings.dagster_home / path for path in histories.HELD]
    assert [file for file in files if not (file.is_file() and file.stat().st_size)] == []
    said: list[str] = []
    open_instance(settings, said.append).dispose()
    assert said == []
    files[0].unlink()
    for _ in range(2):
        open_instance(settings, said.append).dispose()
    assert said == [
        "schedules.db is gone, and with it which schedules and sensors were switched on; restore it from your backup, or switch them on again: persona ui"
    ]


def test_what_is_printed_goes_into_files_without_a_process_that_outlives_a_run(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(subprocess, "Popen", None)  # Dagster's own starts four to show it on the terminal, too
    logs, key = instance.compute_log_manager, ["a_run", "compute_logs", "a_step"]
    with logs.capture_logs(key):
        print("printed")
        os.write(sys.stderr.fileno(), b"warned\n")
        assert not logs.is_capture_complete(key)
    assert logs.is_capture_complete(key)
    print("afterwards")
    found = logs.get_log_data(key)
    assert (found.stdout, found.stderr) == (b"printed\n", b"warned\n")
    assert capfd.readouterr().out.endswith("afterwards\n")
    assert (Path(os.environ["DAGSTER_HOME"]) / "storage" / "a_run" / "compute_logs" / "a_step.out").exists()


def reached(instance: dg.DagsterInstance, kind: DagsterEventType, seconds_ago: float, run_id: str) -> None:
    """A run reaches a state, so many seconds ago."""
    event = DagsterEvent(kind.value, "flow", message="")
    instance.handle_new_event(EventLogEntry(None, "debug", "", run_id, time.time() - seconds_ago, None, "flow", event))


def iterated(instance: dg.DagsterInstance, iteration: Any) -> None:
    assert [error for error in iteration(SimpleNamespace(instance=instance, create_request_context=lambda: None), LOGGER) if error] == []


def test_the_daemon_has_what_it_needs_for_all_of_it(instance: dg.DagsterInstance) -> None:
    assert {"QUEUED_RUN_COORDINATOR", "MONITORING", "SCHEDULER", "SENSOR"} <= set(instance.get_required_daemon_types())


def test_one_run_at_a_time_and_the_next_when_it_has_ended(instance: dg.DagsterInstance) -> None:
    first, *waiting = [create_run_for_test(instance, job_name="flow", status=QUEUED, remote_job_origin=ORIGIN) for _ in range(3)]
    daemon = QueuedRunCoordinatorDaemon(interval_seconds=1)

    def next_ones() -> list[str]:
        return [run.run_id for run in daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)]

    assert next_ones() == [first.run_id]
    for kind in (DagsterEventType.RUN_STARTING, DagsterEventType.RUN_START):
        reached(instance, kind, 0, first.run_id)
        assert next_ones() == []
    reached(instance, DagsterEventType.RUN_SUCCESS, 0, first.run_id)
    assert next_ones() == [waiting[0].run_id]


def test_a_queued_run_waits_for_the_code_server_to_come_back(instance: dg.DagsterInstance) -> None:
    queue = instance.get_concurrency_config().run_queue_config
    assert (queue.max_concurrent_runs, queue.max_user_code_failure_retries, queue.user_code_failure_retry_delay) == (1, 3, 60)


@pytest.mark.parametrize(("more", "status"), [(-10, STARTING), (10, FAILURE)])
def test_a_run_that_does_not_start_is_ended(instance: dg.DagsterInstance, more: float, status: dg.DagsterRunStatus) -> None:
    run = create_run_for_test(instance, job_name="flow")
    reached(instance, DagsterEventType.RUN_STARTING, MONITORING["start_timeout_seconds"] + more, run.run_id)
    iterated(instance, execute_run_monitoring_iteration)
    assert instance.get_run_by_id(run.run_id).status == status


@pytest.mark.parametrize(("more", "status"), [(-60, STARTED), (60, FAILURE)])
def test_a_run_without_end_is_ended(instance: dg.DagsterInstance, more: float, status: dg.DagsterRunStatus) -> None:
    run = create_run_for_test(instance, job_name="flow")
    reached(instance, DagsterEventType.RUN_START, MONITORING["max_runtime_seconds"] + more, run.run_id)
    iterated(instance, execute_run_monitoring_iteration)
    assert instance.get_run_by_id(run.run_id).status == status


@pytest.mark.parametrize(("ago", "held"), [(0, 1), (120, 0)])
def test_what_an_ended_run_still_holds_is_freed(
    instance: dg.DagsterInstance, ago: float, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = create_run_for_test(instance, job_name="flow")
    slots = instance.event_log_storage
    slots.set_concurrency_slots("warehouse", 1)
    assert slots.claim_concurrency_slot("warehouse", run.run_id, "a step").is_claimed
    for kind in (DagsterEventType.RUN_START, DagsterEventType.RUN_FAILURE):
        reached(instance, kind, 1, run.run_id)
    now = concurrency.get_current_datetime
    monkeypatch.setattr(concurrency, "get_current_datetime", lambda: now() + dt.timedelta(seconds=ago))
    iterated(instance, execute_concurrency_slots_iteration)
    assert slots.get_concurrency_info("warehouse").active_slot_count == held
