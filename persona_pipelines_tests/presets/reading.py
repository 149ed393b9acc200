"""What the tests of presets share: records in, canonical values out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pandas as pd

from persona_pipelines.logs.profile import profile_source
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.settings import Settings
from persona_pipelines_tests.conftest import CLICKS

PREVIEW_KEY = b"\0" * 32


def person(identifier: str) -> str:
    """A user's id as previews show it."""
    return pseudonym(identifier, PREVIEW_KEY)


def device(identifier: str) -> str:
    """The id of a device or browser as previews show it."""
    return pseudonym(f"device:{identifier}", PREVIEW_KEY)


def mapped(configure: Callable[..., Settings], path: str, preset: str | None, **settings: Any) -> list[dict[str, Any]]:
    """All records of a file as the preset maps them; missing values are None, times ISO 8601."""
    source = {"name": "source", "path": path, **({"preset": preset} if preset else {}), **settings}
    configured = configure(source, CLICKS, start_date=dt.date(1990, 1, 1))  # a list of items needs a source of events beside it
    rows = profile_source(configured.sources[0], configured, 1000).rows.astype(object)
    rows = rows.where(rows.notna(), None).to_dict("records")
    return [{name: value.isoformat() if isinstance(value, pd.Timestamp) else value for name, value in row.items()} for row in rows]


def kept(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows that are neither filtered nor rejected."""
    return [row for row in rows if row["dropped"] is None and row["problem"] is None]


def problems(rows: list[dict[str, Any]]) -> list[str]:
    return [row["problem"] for row in rows if row["problem"] is not None]


def shown(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)
