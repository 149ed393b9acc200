"""What the steps of a run print, in files that the web UI shows."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from persona_pipelines.orchestration.storages import BelowDagsterHome


class FiledComputeLogs(BelowDagsterHome, LocalComputeLogManager):
    """Dagster's own files, without the four processes by which Dagster shows them on the terminal, too.

    A run that is killed while it starts these leaves one of them behind, which keeps open whatever the run's output was sent to: who
    waits for its end waits for ever.
    """

    FOLDER = "storage"

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Generator[CapturedLogContext, None, None]:
        printed, warned = (self.get_captured_local_path(log_key, ending) for ending in ("out", "err"))
        Path(printed).parent.mkdir(parents=True, exist_ok=True)
        with redirect_to_file(sys.stdout, printed), redirect_to_file(sys.stderr, warned):
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()
