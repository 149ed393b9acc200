"""Runs of the command line with a state of their own, in this process, which has everything imported already."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
from click.testing import CliRunner, Result

from persona_pipelines.cli import main
from persona_pipelines.gallery.texts import LANGUAGES
from persona_pipelines_tests.conftest import KEY
from persona_pipelines_tests.gallery.warrants import false_claims
from persona_pipelines_tests.schema import made_once

SET_BY_A_COMMAND = (
    "PERSONA_CONFIG",
    "PERSONA_HOME",
    "DAGSTER_HOME",
    "MLFLOW_TRACKING_URI",
    "DAGSTER_DISABLE_TELEMETRY",
    "DAGSTER_EVENT_BATCH_SIZE",
)
PERSONA = str(Path(sys.executable).parent / "persona")
QUICK: dict[str, Any] = {
    "recommendations": {
        "methods": [{"method": "most_popular"}, {"method": "item_neighbourhood"}],
        "minimum_interactions": 20,
    },
    "segments": {"algorithms": ["k_means"], "stability_refits": 2, "maximum_k": 4},
}
"""Few methods and refits: the shop of ``test_whole_flow`` has more of them."""


def with_home(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a command whose state is in ``home`` below a folder, which is made, with the key of the tests."""
    return with_key(folder / "home", KEY, **more)


def with_key(home: Path, key: bytes, **more: str) -> dict[str, str]:
    """The environment of a command whose state is in a folder, which is made, with a key of its own."""
    home.mkdir()
    file = home / "pseudonym.key"
    file.write_text(key.hex())
    file.chmod(0o600)
    return at_home(home, **more)


def at_home(home: Path, **more: str) -> dict[str, str]:
    """The environment of a command whose state is in a folder."""
    plain = {name: value for name, value in os.environ.items() if name not in SET_BY_A_COMMAND}
    return {**plain, **more, "PERSONA_HOME": str(home), "COLUMNS": "1000"}


def asked(folder: Path, environment: Mapping[str, str], *arguments: str) -> Result:
    """A command given in a folder; a sum that overflows or divides by zero on its way is a failure."""
    saved = dict(os.environ)
    made_once()
    try:
        with contextlib.chdir(folder), warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            return CliRunner().invoke(main, arguments, env=dict(environment))
    finally:
        for name in SET_BY_A_COMMAND:
            os.environ.pop(name, None)
        os.environ.update(saved)


class Run:
    """A run of a configuration with a state of its own."""

    def __init__(self, folder: Path, configuration: Path, **environment: str) -> None:
        self.home = folder / "home"
        self.environment = with_home(folder, **environment)
        self.configuration = configuration
        done = self.asked("run")
        assert done.exit_code == 0, done.stderr
        assert "Traceback" not in done.stderr
        self.output, self.warnings = done.stdout, done.stderr

    def asked(self, *arguments: str) -> Result:
        return asked(self.home.parent, self.environment, *arguments, "--config", str(self.configuration))

    def rows(self, table: str, where: str = "true") -> int:
        return int(self.value(f"SELECT count(*) FROM {table} WHERE {where}"))

    def value(self, query: str) -> Any:
        with duckdb.connect(str(self.home / "published.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()[0][0]

    def column(self, query: str) -> list[Any]:
        with duckdb.connect(str(self.home / "published.duckdb"), read_only=True) as connection:
            return [row[0] for row in connection.execute(query).fetchall()]

    def adds_up(self) -> None:
        assert self.rows("events.accounting", "records_read <> events + rejects + duplicates + filtered") == 0

    def false_claims(self) -> list[str]:
        """What the pages say that the published tables do not warrant."""
        return [
            finding
            for language in LANGUAGES
            if (page := self.home / "reports" / f"persona-gallery-{language}.html").exists()
            for finding in false_claims(page, self.home / "published.duckdb", language)
        ]

    def pages(self) -> list[str]:
        return sorted(file.name for file in (self.home / "reports").glob("*.html")) if (self.home / "reports").exists() else []
