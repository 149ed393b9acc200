"""The warehouse as a Dagster resource: held by one run at a time, opened only as it was left."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import PrivateAttr

from persona_pipelines.errors import ProjectError
from persona_pipelines.orchestration.event_log import held_open
from persona_pipelines.orchestration.failures import Refusal
from persona_pipelines.orchestration.owners import end_orphaned_runs, own, tell_of_waiting
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.warehouse.locks import WarehouseLock

if TYPE_CHECKING:
    from persona_pipelines.warehouse.connection import Warehouse


class WarehouseResource(dg.ConfigurableResource[Any]):
    """Opens the warehouse of the configuration for the length of a run; a second run waits its turn."""

    _settings: Settings = PrivateAttr()
    _lock: WarehouseLock = PrivateAttr()
    _warehouse: object = PrivateAttr(default=None)
    _held: ExitStack = PrivateAttr(default_factory=ExitStack)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        from persona_pipelines.home.opening import open_warehouse

        self._settings = load_settings()
        self._lock = WarehouseLock(self._settings.home)
        run, instance = context.run, context.instance
        if run is not None and instance is not None:
            own(instance, run.run_id)

        def wait(text: str) -> None:
            if context.log:
                context.log.warning(text)
            if run is not None:
                tell_of_waiting(run.run_id, text)

        def say(text: str) -> None:
            if context.log:
                context.log.info(text)

        who = f"run {run.run_id[:8]}" if run is not None else "a process"
        try:
            died = self._lock.acquire(who, self._settings.warehouse.wait_minutes * 60, wait)
        except ProjectError as error:
            raise Refusal(str(error)) from error
        if died:
            say(f"The last holder of the warehouse, {died['holder']}, died; what it had not completed is rolled back.")
        try:
            if instance is not None:
                end_orphaned_runs(instance, self._settings.home)
            self._warehouse = open_warehouse(self._settings, say)
            if run is not None and instance is not None:
                self._held.enter_context(held_open(instance, run.run_id))
        except ProjectError as error:
            self._lock.release()
            raise Refusal(str(error)) from error
        except BaseException:
            self._lock.release()
            raise

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        from persona_pipelines.home.opening import close_warehouse

        try:
            close_warehouse(self.get(), self._settings)
        finally:
            self._lock.release()
            self._held.close()

    def get(self) -> Warehouse:
        return self._warehouse  # type: ignore[return-value]

    @property
    def settings(self) -> Settings:
        return self._settings
