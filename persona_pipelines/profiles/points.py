"""Users as points: what models of predictions look at, of ``contracts.USER_FEATURES`` and of the attributes of the customer list."""

from __future__ import annotations

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import PREFIX
from persona_pipelines.warehouse import described

NUMBERS, SHARES = (
    tuple(name for name, feature in described.FEATURES.items() if feature.predictions == kind) for kind in described.PREDICTIONS
)
DERIVED = ("recency_over_gap", "purchase_rate", "bought_once")
FEATURES = (*NUMBERS, *SHARES, *DERIVED)


def attributes_in(features: pd.DataFrame) -> tuple[str, ...]:
    """Names of the columns that hold attributes of the customer list."""
    return tuple(sorted(name for name in features.columns if name.startswith(PREFIX)))


def names_of(features: pd.DataFrame) -> tuple[str, ...]:
    """Names of the columns of ``matrix``: ``FEATURES``, and the attributes of the customer list (``features.attributes.numeric``)."""
    return (*FEATURES, *attributes_in(features))


def matrix(features: pd.DataFrame) -> np.ndarray:
    """``names_of`` as columns, shape (users, features): amounts and counts as logarithms, nan where unknown."""
    columns = {name: features[name].to_numpy(dtype=float, na_value=np.nan) for name in (*NUMBERS, *SHARES)}
    gap = np.where(np.isfinite(columns["purchase_gap_days"]), columns["purchase_gap_days"], columns["tenure_days"] + 30)
    columns["recency_over_gap"] = columns["purchase_recency_days"] / (gap + 1)
    columns["purchase_rate"] = columns["frequency"] / (columns["tenure_days"] + 30)
    columns["bought_once"] = np.isnan(columns["purchase_gap_days"]).astype(float)
    own = names_of(features)[len(FEATURES) :]
    columns |= {name: features[name].to_numpy(dtype=float, na_value=np.nan) for name in own}
    for name in (*NUMBERS, "recency_over_gap", "purchase_rate", *own):
        columns[name] = np.sign(columns[name]) * np.log1p(np.abs(columns[name]))
    found = np.column_stack([columns[name] for name in names_of(features)])
    return np.where(np.isfinite(found), found, np.nan)
