"""The Dagster instance below PERSONA_HOME, with the settings that keep it quiet, private and free of stuck runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._check import CheckError

from persona_pipelines.files import write_whole
from persona_pipelines.home import histories
from persona_pipelines.home.manifest import HomeError
from persona_pipelines.home.opening import claim_home
from persona_pipelines.orchestration.event_log import BATCH_SIZE
from persona_pipelines.settings import Settings

EVENT_LOG = {"module": "persona_pipelines.orchestration.event_log", "class": "BatchedEventLog"}
COMPUTE_LOGS = {"module": "persona_pipelines.orchestration.compute_logs", "class": "FiledComputeLogs"}
INSTANCE: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
    # Runs of the web UI, schedules and sensors queue up: the warehouse has one writer.
    "concurrency": {"runs": {"max_concurrent_runs": 1}},
    "run_monitoring": {
        "enabled": True,
        "start_timeout_seconds": 300,
        "max_runtime_seconds": 43_200,
        "free_slots_after_run_end_seconds": 60,
        "poll_interval_seconds": 30,
    },
    "event_log_storage": EVENT_LOG,
    # Where the code server has died, a queued run is tried again once the daemon has started another.
    "run_coordinator": {
        "module": "dagster.core.run_coordinator",
        "class": "QueuedRunCoordinator",
        "config": {"max_user_code_failure_retries": 3, "user_code_failure_retry_delay": 60},
    },
    "compute_logs": COMPUTE_LOGS,
}
ADDED = ("event_log_storage", "run_coordinator", "compute_logs")
BEFORE = [{name: value for name, value in INSTANCE.items() if name not in ADDED[number:]} for number in range(len(ADDED))]
"""What earlier versions wrote; a file that says something else has been changed by its owner, and stays."""


def prepare_instance(settings: Settings) -> None:
    """Make the folder of the instance, its configuration where there is none, and point the environment at both."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    settings.home.mkdir(parents=True, exist_ok=True)
    claim_home(settings)
    file = home / histories.CONFIGURATION
    if not file.exists() or _settings_in(file) in BEFORE:
        write_whole(file, yaml.safe_dump(INSTANCE, sort_keys=False))
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["PERSONA_CONFIG"] = str(settings.file)
    os.environ["PERSONA_HOME"] = str(settings.home)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))


def _settings_in(file: Path) -> dict[str, Any]:
    """What Dagster's configuration says.

    Raises:
        HomeError: it cannot be read.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"found {content!r}"[:80])
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _unusable(file, error) from None
    return content


def _unusable(file: Path, error: Exception) -> HomeError:
    reason = " ".join(str(error).split())[:300]
    return HomeError(f"{file}: cannot be used as Dagster's configuration ({reason}); mend it, or remove it: it is made again")


def open_instance(settings: Settings, say: Callable[[str], None]) -> dg.DagsterInstance:
    """Dagster's instance below the home.

    Args:
        say: told what is lost where one of its databases is gone; Dagster itself makes it anew without a word.
    Raises:
        HomeError: its configuration cannot be used.
    """
    for name, found, instead in histories.lost(settings):
        say(f"{name} {found}; {instead}")
    prepare_instance(settings)
    try:
        return dg.DagsterInstance.get()
    except (dg.DagsterError, CheckError) as error:
        raise _unusable(settings.dagster_home / histories.CONFIGURATION, error) from None
