"""Runs from the command line: through Dagster, in this process, so that they stand in the web UI like all others."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import traceback
import uuid
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg
import sqlalchemy.exc

from persona_pipelines.errors import ProjectError, fault, is_of_the_state, of_the_state
from persona_pipelines.orchestration.jobs import LOCATION, MAIN_JOB
from persona_pipelines.orchestration.owners import PROCESS_TAG, end_orphaned_runs, process_tag, told_of_waiting
from persona_pipelines.orchestration.specs import CAN_BE_MADE
from persona_pipelines.settings import Settings

OUT_OF_MEMORY = "Out of Memory Error"
"""How the engine begins to say that its limit is too small."""
OF_LOCATION, LOCATION_LABEL = ".dagster/repository", f"__repository__@{LOCATION}"
"""By which the web UI finds the runs of a job."""
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Happening:
    """Something that has come about in a run.

    Attributes:
        kind: ``begun`` (the run, before its first step), ``started``, ``ended`` or ``failed`` (a step), ``written`` (an asset).
        name: of the step or the asset; empty of the run.
        steps: how many the whole run has.
        rows: of the table that was written; None where it is none.
    """

    kind: Literal["begun", "started", "ended", "failed", "written"]
    name: str
    steps: int
    rows: int | None = None


STEPS: dict[str, Literal["started", "ended", "failed"]] = {
    "STEP_START": "started",
    "STEP_SUCCESS": "ended",
    "STEP_FAILURE": "failed",
    "STEP_SKIPPED": "failed",
}
"""What Dagster calls the beginning and the end of a step."""


@dataclass
class RunResult:
    """How a run ended: ``failures`` in the words of the steps, ``warnings`` of failed non-blocking checks, and what was ``left_out`` because the
    logs do not hold what it is made from."""

    run_id: str
    success: bool
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def heard(self, check: dg.AssetCheckEvaluation) -> None:
        """Keep what a failed check found: of which table, what, and by which check where it is one of what was made."""
        if check.passed:
            return
        found = f"{'.'.join(check.asset_key.path)}: {check.description or f'not as expected ({_numbers(check)})'}"
        if check.check_name == CAN_BE_MADE:
            self.left_out.append(found)
        else:
            (self.failures if check.blocking else self.warnings).append(f"{found} (check {check.check_name})")


def run_job(
    settings: Settings,
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    tags: Mapping[str, str] | None = None,
    *,
    job: str = MAIN_JOB,
    config: Mapping[str, Any] | None = None,
    selection: Collection[dg.AssetKey] | None = None,
    on_progress: Callable[[Happening], None] = lambda happening: None,
    on_wait: Callable[[str], None] | None = None,
) -> RunResult:
    """Run a job and wait for it.

    Args:
        tags: of the run, such as ``partitions.range_tags`` for jobs of days.
        config: of its assets.
        selection: which of the job's assets to make; None for all.
        on_progress: told what comes about, while it does.
        on_wait: called with a sentence that says which run holds the warehouse, where this one has to wait for it.
    Raises:
        KeyboardInterrupt: the run is marked as cancelled, but its thread may still be at work: end the process at once, so
            that the open transaction is rolled back.
    """
    logging.getLogger("dagster").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="dagster")
    end_orphaned_runs(instance, settings.home)
    resolved = definitions.resolve_job_def(job)
    if selection is not None:
        resolved = resolved.get_subset(asset_selection=set(selection))
    run_id = str(uuid.uuid4())
    result = RunResult(run_id, False)
    steps = len(resolved.graph.node_dict)
    blocked: set[str] = set()
    on_progress(Happening("begun", "", steps))

    def listen(entry: dg.EventLogEntry) -> None:
        event = entry.dagster_event
        if event is None:
            if entry.level == logging.WARNING and entry.step_key:
                result.warnings.append(entry.user_message)
            return
        if event.event_type_value in STEPS and event.step_key:
            on_progress(Happening(STEPS[event.event_type_value], event.step_key, steps))
        if event.event_type_value == "ASSET_MATERIALIZATION" and event.asset_key:
            count = event.step_materialization_data.materialization.metadata.get("dagster/row_count")
            rows = count.value if count is not None and isinstance(count.value, int) else None
            on_progress(Happening("written", ".".join(event.asset_key.path), steps, rows))
        # A step that fails for a blocking check has been reported in the check's own words.
        if event.event_type_value == "STEP_FAILURE" and event.step_key not in blocked:
            result.failures.append(_failure(event))
        if event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            result.heard(check)
            if not check.passed and check.blocking and event.step_key:
                blocked.add(event.step_key)

    def execute() -> None:
        try:
            with told_of_waiting(run_id, on_wait or (lambda text: None)):
                outcome = resolved.execute_in_process(
                    run_config={**QUIET, **(config or {})},
                    instance=instance,
                    tags={
                        **(tags or {}),
                        OF_LOCATION: LOCATION_LABEL,
                        PROCESS_TAG: process_tag(os.getpid()),
                    },  # owned from the first moment
                    run_id=run_id,
                    raise_on_error=False,
                )
            result.success = outcome.success
        except Exception as error:  # noqa: BLE001 - the end of a thread: whatever ended it is told in its own words
            # Before the first step: the warehouse is held by another run, or its folder by another configuration. At any
            # time: Dagster's own database cannot be written.
            result.failures.append(_end(_innermost(error), settings))
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError, OSError):
                run = instance.get_run_by_id(run_id)
                if run is not None and not run.is_finished:
                    instance.report_run_failed(run, result.failures[-1])

    instance.add_event_listener(run_id, listen)
    # In the main thread Dagster would swallow Ctrl-C until the run has ended.
    worker = threading.Thread(target=execute, name="run", daemon=True)
    worker.start()
    try:
        while worker.is_alive():
            worker.join(0.2)
    except KeyboardInterrupt:
        run = instance.get_run_by_id(run_id)
        if run is not None and not run.is_finished:
            instance.report_run_canceled(run, "Interrupted from the keyboard.")
        raise
    if not result.success and not result.failures:
        result.failures += [
            _innermost_text(entry.dagster_event)
            for entry in instance.all_logs(run_id)
            if entry.dagster_event
            and entry.dagster_event.event_type_value in ("PIPELINE_FAILURE", "ENGINE_EVENT", "RESOURCE_INIT_FAILURE")
            and getattr(entry.dagster_event.event_specific_data, "error", None)
        ]
    return result


def _numbers(check: dg.AssetCheckEvaluation) -> str:
    return ", ".join(
        f"{name} {value.value:.4g}" if isinstance(value.value, float) else f"{name} {value.value}" for name, value in check.metadata.items()
    )


def _failure(event: dg.DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return f"{event.step_key}: {data.user_failure_data.description}"
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    if error is None or error.cls_name in _expected():
        return f"{event.step_key}: {_innermost_text(event)}"
    return f"{event.step_key}: {fault(error.cls_name or 'error', _innermost_text(event), error.to_string(), f'step {event.step_key}')}"


def _expected() -> set[str]:
    """The names of the errors that a person can act on: of this project, of the disk and the databases on it, of the servers of others, and
    Dagster's own, which say that a run was asked for in a wrong way. Of what ends a step Dagster keeps the name alone."""
    import sqlite3

    import duckdb

    found: set[type[BaseException]] = {
        ProjectError,
        OSError,
        MemoryError,
        duckdb.Error,
        sqlite3.Error,
        sqlalchemy.exc.SQLAlchemyError,
        dg.DagsterError,
    }
    left = list(found)
    while left:
        below = set(left.pop().__subclasses__()) - found
        found |= below
        left += below
    return {kind.__name__ for kind in found} | {"Failure", "MlflowException", "RestException"}


def _innermost_text(event: dg.DagsterEvent) -> str:
    error = event.event_specific_data.error  # type: ignore[union-attr]
    while error is not None and error.cause is not None:
        error = error.cause
    text = re.sub(r"^[\w.]+: ", "", error.message.strip(), count=1) if error else event.message or "failed"
    return f"{text}; raise warehouse.memory_limit" if text.startswith(OUT_OF_MEMORY) else text


def _end(cause: BaseException, settings: Settings) -> str:
    """What has ended a run outside of its steps, in its own words where a person can act on them."""
    if is_of_the_state(cause):
        return str(of_the_state(cause, settings.home))
    if type(cause).__name__ in _expected():
        return str(cause)
    return fault(type(cause).__name__, str(cause), "".join(traceback.format_exception(cause)), "a run")


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error
