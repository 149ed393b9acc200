"""MLflow's tables, made by its migrations once a process: each store of a test would go through all of them, which takes seconds."""

from __future__ import annotations

import contextlib
import sqlite3
from functools import cache
from typing import Any


@cache
def made_once() -> None:
    """From the second empty store on, its tables are a copy of those of the first."""
    from mlflow.store.db import utils

    by_migrations, kept = utils._initialize_tables, sqlite3.connect(":memory:", check_same_thread=False)
    first: list[bool] = []

    def initialize(engine: Any) -> None:
        if not utils._is_empty_database(engine):
            by_migrations(engine)
            return
        with contextlib.closing(engine.raw_connection()) as connection:
            if first:
                kept.backup(connection.driver_connection)
            else:
                by_migrations(engine)
                connection.driver_connection.backup(kept)
                first.append(True)

    utils._initialize_tables = initialize
