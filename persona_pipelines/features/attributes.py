"""Attributes of people and items that the configuration names, out of the JSON object in which the lists keep them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pandas as pd

from persona_pipelines.settings import Settings
from persona_pipelines.settings.sources import AttributeType
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

PREFIX = "attributes."
MOST_CATEGORIES = 20
"""Categories of an attribute that models tell apart; rarer ones are none of these."""


def expanded(frame: pd.DataFrame, types: Mapping[str, AttributeType]) -> pd.DataFrame:
    """The frame with a column ``attributes.NAME`` for each attribute in place of ``attributes``.

    Numbers are floats, nan where unknown; dates are floats too, in days since 1970; categories, yes and no are texts, None where unknown.
    """
    objects = [orjson.loads(text) if isinstance(text, str) else {} for text in frame["attributes"]]
    found = frame.drop(columns="attributes")
    for name, kind in types.items():
        values = [_value(entry.get(name), kind) for entry in objects]
        found[PREFIX + name] = np.array(values, dtype=float if kind in ("number", "date") else object)
    return found


def _value(value: Any, kind: AttributeType) -> Any:
    if kind in ("number", "date"):
        if value is None:
            return np.nan
        return float(value) if kind == "number" else float((dt.date.fromisoformat(value) - dt.date(1970, 1, 1)).days)
    if value is None:
        return None
    return ("yes" if value else "no") if kind == "boolean" else str(value)


def numeric(frame: pd.DataFrame) -> pd.DataFrame:
    """Expanded attributes as numbers that models read: ``attributes.NAME``, and of categories ``attributes.NAME=CATEGORY`` with 1, 0
    or nan where the attribute is unknown, for the ``MOST_CATEGORIES`` most frequent."""
    found: dict[str, np.ndarray] = {}
    for column in sorted(name for name in frame.columns if name.startswith(PREFIX)):
        values = frame[column]
        if values.dtype == float:
            found[column] = values.to_numpy()
            continue
        counts = values.dropna().value_counts()
        shown = sorted(counts.index, key=lambda value: (-counts[value], value))[:MOST_CATEGORIES]
        unknown = values.isna().to_numpy()
        for value in shown[1:] if len(shown) == 2 else shown:  # of two, one says it all
            found[f"{column}={value}"] = np.where(unknown, np.nan, (values == value).to_numpy(dtype=float))
    return pd.DataFrame(found, index=frame.index)


def stored_attributes(warehouse: Warehouse) -> pd.DataFrame:
    """``user_id`` and ``attributes`` of the users who have any, in the order of the ids."""
    users = warehouse.table(contracts.USERS)
    return warehouse.frame(users.filter(users.attributes.notnull()).select("user_id", "attributes").order_by("user_id"))


def attributes_of_users(warehouse: Warehouse, settings: Settings, also: Sequence[str] = ()) -> pd.DataFrame:
    """``user_id`` and the attributes that models may learn from as numbers, of the users of the customer list.

    Args:
        also: those beside them that tell what came later.
    """
    types = {name: kind for name, kind in settings.attributes_of("users").items() if name in (*settings.learned_attributes(), *also)}
    found = expanded(stored_attributes(warehouse), types)
    return pd.concat([found[["user_id"]], numeric(found)], axis=1)


def joined(features: pd.DataFrame, attributes: pd.DataFrame) -> pd.DataFrame:
    """Features with the attributes beside them, in the same order; nan of users without."""
    return features if len(attributes.columns) == 1 else features.merge(attributes, on="user_id", how="left", validate="one_to_one")
