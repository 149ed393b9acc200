"""Runs of the command line with a state of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb

from persona_pipelines_tests.conftest import KEY

PERSONA = str(Path(sys.executable).parent / "persona")
QUICK: dict[str, Any] = {
    "recommendations": {"methods": [{"method": "most_popular"}, {"method": "item_neighbourhood"}, {"method": "truncated_svd"}], "minimum_interactions": 20},
    "segments": {"algorithms": ["k_means"], "stability_refits": 2, "maximum_k": 4},
}  # fmt: skip
"""Few methods and refits: the shop of ``test_whole_flow`` has more of them."""


def with_home(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command whose state is in ``home`` below a folder, which is made.

    The key is the same every time: order of people, and with it what is learned from so few of them, follow the pseudonyms.
    """
    home = folder / "home"
    home.mkdir()
    key = home / "pseudonym.key"
    key.write_text(KEY.hex())
    key.chmod(0o600)
    plain = {name: value for name, value in os.environ.items() if name not in ("PERSONA_CONFIG", "DAGSTER_HOME", "MLFLOW_TRACKING_URI")}
    return {**plain, **more, "PERSONA_HOME": str(home), "COLUMNS": "200"}


class Run:
    """A run of a configuration with a state of its own."""

    def __init__(self, folder: Path, configuration: Path, **environment: str) -> None:
        self.home = folder / "home"
        self.environment = with_home(folder, **environment)
        self.configuration = configuration
        done = self.asked("run")
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert "RuntimeWarning" not in done.stderr
        self.warnings = done.stderr

    def asked(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PERSONA, *arguments, "--config", str(self.configuration)],
            cwd=self.home.parent, env=self.environment, capture_output=True, text=True, timeout=900,
        )  # fmt: skip

    def rows(self, table: str, where: str = "true") -> int:
        return int(self.value(f"SELECT count(*) FROM {table} WHERE {where}"))

    def value(self, query: str) -> Any:
        with duckdb.connect(str(self.home / "published.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()[0][0]

    def adds_up(self) -> None:
        assert self.rows("events.accounting", "records_read <> events + rejects + duplicates + filtered") == 0

    def pages(self) -> list[str]:
        return sorted(file.name for file in (self.home / "reports").glob("*.html")) if (self.home / "reports").exists() else []
