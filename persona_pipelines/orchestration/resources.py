"""The warehouse as a Dagster resource: held by one run at a time, published when the run has succeeded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from persona_pipelines.privacy.pseudonyms import load_or_create_key
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.warehouse.locks import WarehouseLock
from persona_pipelines.warehouse.publishing import publish

if TYPE_CHECKING:
    from persona_pipelines.warehouse.connection import Warehouse

PROCESS_TAG = "persona/process"
NOT_PUBLISHED_TAG = "persona/not_published"
"""Set on a run whose tables are written but could not be published, with the reason."""


class WarehouseResource(dg.ConfigurableResource):
    """Opens the warehouse of the configuration for the length of a run; a second run waits its turn."""

    _settings: Settings = PrivateAttr()
    _lock: WarehouseLock = PrivateAttr()
    _warehouse: object = PrivateAttr(default=None)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        from persona_pipelines.warehouse.connection import Warehouse

        self._settings = load_settings()
        self._lock = WarehouseLock(self._settings.home)
        run = context.run
        if run is not None and context.instance is not None:
            context.instance.add_run_tags(run.run_id, {PROCESS_TAG: process_tag(os.getpid())})
        who = f"run {run.run_id[:8]}" if run is not None else "a process"
        died = self._lock.acquire(
            who, self._settings.warehouse.wait_minutes * 60, lambda text: context.log.warning(text) if context.log else None
        )
        if died and context.log:
            context.log.info(f"The last holder of the warehouse, {died['holder']}, died; what it had not completed is rolled back.")
        try:
            if context.instance is not None:
                end_orphaned_runs(context.instance)
            claim_home(self._settings)
            self._warehouse = Warehouse(
                self._settings.warehouse_file,
                load_or_create_key(self._settings.key_file),
                memory_limit=self._settings.warehouse.memory_limit,
                threads=self._settings.warehouse.threads,
            )
        except BaseException:
            self._lock.release()
            raise

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        try:
            self.get().close()
            if context.run is not None and context.instance is not None and _all_steps_succeeded(context.instance, context.run.run_id):
                publish(self._settings.warehouse_file, self._settings.published_file)
        except OSError as error:
            # The steps are done, and Dagster would drop an error of a teardown: leave word on the run.
            if context.run is not None and context.instance is not None:
                context.instance.add_run_tags(context.run.run_id, {NOT_PUBLISHED_TAG: str(error)})
            if context.log:
                context.log.error(f"The tables are written, but the published copy could not be made: {error}")
        finally:
            self._lock.release()

    def get(self) -> Warehouse:
        return self._warehouse  # type: ignore[return-value]

    @property
    def settings(self) -> Settings:
        return self._settings


def _all_steps_succeeded(instance: dg.DagsterInstance, run_id: str) -> bool:
    statuses = {step.status.value if step.status else "" for step in instance.get_run_step_stats(run_id)}
    return bool(statuses) and statuses <= {"SUCCESS", "SKIPPED"}


class HomeOfAnotherConfigurationError(Exception):
    """The home folder holds the tables of another configuration."""


def claim_home(settings: Settings) -> None:
    """Bind a home folder to one configuration: two in one would mix their events.

    Raises:
        HomeOfAnotherConfigurationError: the folder belongs to another configuration.
    """
    owner = settings.home / "configuration"
    if not owner.exists():
        owner.write_text(settings.name + "\n")
    found = owner.read_text().strip()
    if found != settings.name:
        raise HomeOfAnotherConfigurationError(
            f"{settings.home} holds the tables of configuration {found!r}, not of {settings.name!r}; set PERSONA_HOME to a folder of its own"
        )


def process_tag(pid: int) -> str:
    """A process in a way that survives the reuse of process numbers: number and start time (the latter on Linux)."""
    try:
        started = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except OSError:
        started = ""
    return f"{pid}:{started}"


def _alive(tag: str) -> bool:
    pid = int(tag.split(":")[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process_tag(pid) == tag


def end_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process has died, so that none is shown as running for ever. Returns their ids."""
    running = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    ended = []
    for run in instance.get_runs(filters=dg.RunsFilter(statuses=running)):
        tag = run.tags.get(PROCESS_TAG)
        if tag and not _alive(tag):
            instance.report_run_failed(run, "The process of this run ended without a word: killed, or the machine went down.")
            ended.append(run.run_id)
    return ended
