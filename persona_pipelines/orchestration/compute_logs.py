"""What the steps of a run print, in files that the web UI shows."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._serdes import ConfigurableClassData


class FiledComputeLogs(LocalComputeLogManager):
    """Dagster's own files, without the four processes by which Dagster shows them on the terminal, too.

    A run that is killed while it starts these leaves one of them behind, which keeps open whatever the run's output was sent to: who
    waits for its end waits for ever. It has no settings: its folder is where Dagster keeps it below DAGSTER_HOME.
    """

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> FiledComputeLogs:
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / "storage"), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        printed, warned = (self.get_captured_local_path(log_key, ending) for ending in ("out", "err"))
        Path(printed).parent.mkdir(parents=True, exist_ok=True)
        with redirect_to_file(sys.stdout, printed), redirect_to_file(sys.stderr, warned):
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()
