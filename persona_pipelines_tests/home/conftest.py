"""A home with two published tables, a page and no models: all that the state folder's rules need."""

from __future__ import annotations

import datetime as dt
import sqlite3
from collections.abc import Callable

import pandas as pd
import pytest

from persona_pipelines.files import write_whole
from persona_pipelines.home import histories
from persona_pipelines.home.opening import close_warehouse, open_warehouse
from persona_pipelines.home.publishing import publish, waiting_page
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines_tests.conftest import CLICKS


def filled(store: Warehouse, rows: int) -> None:
    """So many rows of ``events.filtered``."""
    frame = pd.DataFrame(
        {
            "day": dt.date(2025, 9, 1),
            "source": "s",
            "source_file": "f",
            "source_line": range(1, rows + 1),
            "source_part": 1,
            "event_id": [f"e{number}" for number in range(rows)],
            "reason": "bot",
        }
    )
    with store.transaction():
        store.replace(contracts.FILTERED, from_frame(frame))


def run(settings: Settings, rows: int, page: str = "page", then: Callable[[Warehouse], None] = lambda store: None) -> list[str]:
    """What a run does with the state folder; what was said on opening."""
    said: list[str] = []
    store = open_warehouse(settings, said.append)
    try:
        filled(store, rows)
        write_whole(waiting_page(settings, "page.html"), page)
        then(store)
        publish(store, settings, said.append)
    finally:
        close_warehouse(store, settings)
    return said


def rows_published(settings: Settings) -> int:
    with Warehouse(settings.published_file, read_only=True) as store:
        return store.rows(contracts.FILTERED)


def page_published(settings: Settings) -> str:
    return (settings.home / "reports" / "page.html").read_text()


@pytest.fixture
def home(configure) -> Settings:
    """A home whose last run has ended well with 500 rows."""
    settings = configure(CLICKS)
    for path in histories.HELD:
        file = settings.dagster_home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with sqlite3.connect(file) as store:
            store.execute("CREATE TABLE t (a TEXT)")
    run(settings, 500)
    return settings
