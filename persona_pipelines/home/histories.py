"""Dagster's databases: which of them a home has lost, and what went with it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import yaml

from persona_pipelines.home.manifest import HomeError, read_manifest
from persona_pipelines.settings import Settings

CONFIGURATION = "dagster.yaml"
RESTORE_OR = "restore it from your backup, or"
HELD = {
    "schedules/schedules.db": (
        "schedule_storage",
        "which schedules and sensors were switched on",
        f"{RESTORE_OR} switch them on again: persona ui",
    ),
    "history/runs.db": ("run_storage", "the list of runs", f"{RESTORE_OR} go on without: persona run"),
    "history/runs/index.db": ("event_log_storage", "what is known of each asset and its days", f"{RESTORE_OR} go on without: persona run"),
}
"""Files below DAGSTER_HOME: what Dagster's configuration calls such a storage, what is in it, and what to do without."""


def lost(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """The name of each database that there has been and that is gone or empty, what that means, and what to do.

    Dagster makes it anew at its next start and says nothing: schedules that were switched on then stay off.
    """
    folder = settings.dagster_home
    if not (_has_run(settings) or (folder / CONFIGURATION).exists()):
        return
    for path, (storage, held, instead) in HELD.items():
        file = folder / path
        empty = file.is_file() and not file.stat().st_size
        if (empty or not file.exists()) and not _is_elsewhere(settings, storage):
            yield file.name, f"is {'empty' if empty else 'gone'}, and with it {held}", instead


def _has_run(settings: Settings) -> bool:
    try:
        return bool(read_manifest(settings.home).warehouse)
    except HomeError:  # said by those who need it
        return False


def _is_elsewhere(settings: Settings, storage: str) -> bool:
    """Whether Dagster's configuration, changed by its owner, keeps it in a database of another kind."""
    with contextlib.suppress(OSError, ValueError, yaml.YAMLError, AttributeError):
        content = yaml.safe_load((settings.dagster_home / CONFIGURATION).read_text(encoding="utf-8"))
        return "storage" in content or not content.get(storage, {}).get("module", "persona_pipelines").startswith("persona_pipelines")
    return False
