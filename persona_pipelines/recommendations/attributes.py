"""Attributes of the configuration as recommenders read them: texts, numbers in bands whose edges are the same for one user and for all."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import PREFIX, expanded
from persona_pipelines.settings import Settings
from persona_pipelines.settings.sources import AttributeType
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.functions import json_text

BANDS = 5


def described(warehouse: Warehouse, settings: Settings, contract: contracts.Table, frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``contracts.USERS`` or ``contracts.ITEMS`` with a text column ``attributes.NAME`` for each attribute in place of
    ``attributes``; None where unknown. Numbers and dates are ``band 0`` to ``band 4``, by fifths of all that the table lists."""
    types = settings.learned_attributes() if contract is contracts.USERS else settings.attributes_of("items")
    if "attributes" not in frame:
        return frame
    found = expanded(frame, types)
    for name, edges in _edges(warehouse, contract, types).items():
        values = found[PREFIX + name].to_numpy()
        bands = np.searchsorted(edges, values, side="right")
        texts = [f"band {band}" if known else None for band, known in zip(bands, np.isfinite(values), strict=True)]
        found[PREFIX + name] = np.array(texts, dtype=object)
    return found


def _edges(warehouse: Warehouse, contract: contracts.Table, types: Mapping[str, AttributeType]) -> dict[str, np.ndarray]:
    numbers = [name for name, kind in types.items() if kind in ("number", "date")]
    if not numbers:
        return {}
    table = warehouse.table(contract)
    measures = {}
    for name in numbers:
        text = json_text(table.attributes, f'$."{name}"')
        value = text.try_cast("float64") if types[name] == "number" else text.try_cast("date").epoch_seconds() / 86_400.0
        for band in range(1, BANDS):
            measures[f"{name} {band}"] = value.quantile(band / BANDS)
    found = dict(zip(measures, warehouse.row(table.aggregate(**measures)), strict=True))
    edges = {name: np.array([found[f"{name} {band}"] for band in range(1, BANDS)], dtype=float) for name in numbers}
    return {name: np.unique(values[np.isfinite(values)]) for name, values in edges.items()}
