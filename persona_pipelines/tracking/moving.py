"""A state folder that was moved or copied: MLflow keeps absolute addresses of artifacts, and they have to follow it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from persona_pipelines.errors import ProjectError, of_the_state
from persona_pipelines.settings import Settings

ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Tables and columns of MLflow's store that hold addresses of artifacts."""


class StoreError(ProjectError):
    """MLflow's own database is damaged; the message says how."""


def follow(settings: Settings) -> str | None:
    """Let the addresses in a local MLflow store lead to where its artifacts lie now.

    Returns:
        Where they led before; None where nothing had to be changed.
    Raises:
        StoreError: the database is damaged.
        StateError: it cannot be written now: a full disk, for example.
    """
    file = settings.mlflow_file
    if not settings.mlflow_is_local or not file.exists():
        return None
    here = settings.mlflow_artifacts.as_uri()
    try:
        _keep_a_write_ahead_log(file)
        with contextlib.closing(sqlite3.connect(file, timeout=30)) as store, store:
            tables = {row[0] for row in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "experiments" not in tables:
                return None
            marker = f"/{settings.mlflow_artifacts.name}/"
            found = [row[0] for row in store.execute("SELECT artifact_location FROM experiments WHERE artifact_location LIKE 'file:%'")]
            before = next(
                (address.partition(marker)[0] for address in found if marker in address and not address.startswith(f"{here}/")), None
            )
            if before is None:
                return None
            moved = f"{before}{marker}"
            for table, column in ADDRESSES:
                if table in tables:
                    store.execute(
                        f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                        (f"{here}/", len(moved) + 1, len(moved), moved),
                    )
            return before
    except sqlite3.OperationalError as error:
        raise of_the_state(error, settings.home) from None
    except sqlite3.Error as error:
        raise StoreError(f"{file}: {error}; next: persona repair") from None


def _keep_a_write_ahead_log(file: Path) -> None:
    """Let MLflow's store write ahead: it waits for the disk at every metric otherwise, and its pages for whoever writes.

    It stays so once it is. While somebody else is at the database it cannot be changed, and is at its next use. SQLite alone may open the
    file: whoever else in this process closes it takes from SQLite its locks on it (SQLite, "How To Corrupt An SQLite Database File", 2.2).
    """
    with contextlib.suppress(sqlite3.OperationalError), contextlib.closing(sqlite3.connect(file, timeout=1)) as store:
        if store.execute("PRAGMA journal_mode").fetchall() != [("wal",)]:
            store.execute("PRAGMA journal_mode = WAL")
