"""What tests of several rooms need: settings for a folder of files, a warehouse, rows of events."""

from __future__ import annotations

import datetime as dt
import gc
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings

from persona_pipelines.events.listings import refresh_items, refresh_users
from persona_pipelines.events.refresh import refresh_events
from persona_pipelines.logs.loading import available_days, load_events, load_listing
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame

USUAL_EFFORT = 0.1
EFFORT = float(os.environ.get("PERSONA_TEST_EFFORT", USUAL_EFFORT))
"""How many of the examples of a law are tried; 1 and more for a search for faults, each time by other examples."""
PHASES = (Phase.explicit, Phase.generate, Phase.shrink) if EFFORT > 1 else (Phase.explicit, Phase.generate)
"""Every example loads files or tables, so that making a failing one small takes minutes."""
hypothesis_settings.register_profile("usual", derandomize=EFFORT <= USUAL_EFFORT, database=None)
hypothesis_settings.load_profile("usual")


def law(examples: int) -> Callable[[Any], Any]:
    """A law tried on generated examples that touch files or tables; the usual effort tries the same ones every time."""
    return hypothesis_settings(
        max_examples=max(3, int(examples * EFFORT)),
        deadline=None,
        database=None,
        phases=PHASES,
        derandomize=EFFORT <= USUAL_EFFORT,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


needs_lightfm = pytest.mark.skipif(find_spec("lightfm") is None, reason="LightFM is not installed: this machine could not compile it")

KEY = b"k" * 32
DAY = dt.date(2025, 9, 1)
CLICKS: dict[str, Any] = {
    "name": "clicks",
    "path": "clicks/{date}.csv",
    "format": "csv",
    "fields": {
        "event_id": "id",
        "timestamp": "at",
        "event_type": "type",
        "user_id": "user",
        "anonymous_id": "device",
        "item_id": "item",
        "value": "value",
        "dwell_ms": "dwell",
    },
}
HEADER = "id,at,type,user,device,item,value,dwell"


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test reads or writes the state of the person who runs the tests."""
    for name in ("PERSONA_CONFIG", "DAGSTER_HOME", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PERSONA_HOME", str(tmp_path / "home"))


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., Settings]:
    """Settings of a configuration file in ``tmp_path``: sources and any other setting."""

    def make(*sources: dict[str, Any], **settings: Any) -> Settings:
        content = {"name": "test", "start_date": DAY, "sources": list(sources), "logs": {"settle_seconds": 0}, **settings}
        (tmp_path / "persona.yaml").write_text(yaml.safe_dump(content))
        return load_settings(tmp_path / "persona.yaml")

    return make


@pytest.fixture
def warehouse() -> Iterator[Warehouse]:
    with Warehouse(None, KEY) as opened:
        yield opened


def ingested(store: Warehouse, settings: Settings) -> dt.date:
    """All days of all sources, loaded and cleaned without Dagster; the last day."""
    first, last = available_days(settings) or (settings.start_date, settings.start_date)
    for source in settings.sources:
        if source.kind == "events":
            load_events(store, source, settings, first, last)
        elif source.kind != "lookup":
            load_listing(store, source, settings)
    refresh_events(store, settings, first, last)
    refresh_items(store, settings)
    refresh_users(store, settings)
    return last


def write(folder: Path, name: str, *lines: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def rows(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    return warehouse.connection.execute(query).fetchall()


def events_table(warehouse: Warehouse, *events: dict[str, Any]) -> Any:
    """Cleaned events with defaults for what a test does not care about, as an expression."""
    base = dict.fromkeys(contracts.EVENTS.column_names)
    filled = []
    for number, event in enumerate(events):
        row = {
            **base,
            "day": DAY,
            "source": "test",
            "source_file": "f",
            "source_line": number + 1,
            "source_part": 1,
            "event_id": f"e{number}",
            **event,
        }
        row["stitched"] = bool(row["stitched"])
        row["session_id"] = row["session_id"] or f"{row['user_id'] or row['anonymous_id']}-0"
        filled.append(row)
    frame = pd.DataFrame(filled, columns=contracts.EVENTS.column_names)
    table = from_frame(frame)
    return warehouse.keep("test_events", table.select(**{c.name: table[c.name].cast(c.type) for c in contracts.EVENTS.columns}))


def at(hours: float, day: dt.date = DAY) -> dt.datetime:
    return dt.datetime.combine(day, dt.time()) + dt.timedelta(hours=hours)


def public_data() -> Path:
    """The folder of the public data sets; a test that needs it is skipped where it is not."""
    folder = Path(os.environ.get("PERSONA_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.exists():
        pytest.skip(f"the public data sets are not at {folder}; set PERSONA_SHARED_DATA")
    return folder


@pytest.fixture
def shared_data() -> Path:
    return public_data()


ROOM = 8 << 30
"""Bytes that are free in memory where the files of tests are kept there; a whole run of the tests writes less."""


def pytest_configure(config: pytest.Config) -> None:
    """The files of tests are in memory where there is room for them, and garbage is looked for seldom: a tenth of the time would be waiting
    for the disk, another one looking through the parts of expressions, which live as long as their test."""
    gc.set_threshold(100_000, 20, 50)
    os.environ.pop("COLUMNS", None)  # what commands print would be wrapped, at the width of whoever runs the tests
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


def pytest_collection_finish() -> None:
    """Modules, tests and whatever else lives to the end are not looked through for garbage again and again."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """What was left out of the search for garbage is let go: the engine counts at the end what it still has."""
    gc.unfreeze()


LONGEST = (
    "test_sample.py",
    "test_whole_flow.py",
    "test_thin_logs.py",
    "test_public_data.py",
    "test_configurations.py",
    "test_two_homes.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of whole runs first, by their length: with files spread over processes, a long one that comes last is waited for."""
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))
