"""Behavioural features made fit for distances: skew taken out by logarithms, gaps filled, one scale, no outliers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

SKEWED = (
    "recency_days", "active_days", "frequency", "monetary_value", "sessions", "attention_ms_per_session", "items", "searches", "social_actions",
    "ratings", "impressions",
)  # fmt: skip
PLAIN = (
    "category_entropy", "night_share", "evening_share", "weekend_share", "mobile_share", "price_level", "click_rate", "average_rating", "trend",
)  # fmt: skip
LIMIT = 3.0
"""Scaled features are cut at this many standard deviations: one extreme user must not make a segment."""


@dataclass(frozen=True)
class Scaler:
    """Learned state of the preprocessing; arrays have one entry a column."""

    columns: tuple[str, ...]
    fill: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray

    def transform(self, features: pd.DataFrame) -> np.ndarray:
        """Features of shape (users, columns), about 0 with deviation 1; always finite."""
        values = _raw(features, self.columns)
        values = np.where(np.isfinite(values), values, self.fill)
        return np.clip((values - self.mean) / self.deviation, -LIMIT, LIMIT)


def _raw(features: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    values = np.column_stack([features[name].to_numpy(dtype=float, na_value=np.nan) for name in columns])
    for number, name in enumerate(columns):
        if name in SKEWED:
            values[:, number] = np.sign(values[:, number]) * np.log1p(np.abs(values[:, number]))
    return values


def fit_scaler(features: pd.DataFrame) -> Scaler:
    """Learn from ``contracts.USER_FEATURES``. Columns that are constant or unknown for nearly all users are left out.

    Raises:
        ValueError: no column tells users apart.
    """
    candidates = (*SKEWED, *PLAIN)
    values = _raw(features, candidates)
    known = np.isfinite(values)
    kept = []
    for number in range(len(candidates)):
        column = values[known[:, number], number]
        if len(column) >= max(2, 0.02 * len(features)) and np.ptp(column) > 1e-9:
            kept.append(number)
    if not kept:
        raise ValueError(f"none of {len(candidates)} features tells the {len(features)} users apart; segments need users who differ")
    values = np.where(known[:, kept], values[:, kept], np.nan)
    fill = np.nanmedian(values, axis=0)
    values = np.where(np.isfinite(values), values, fill)
    deviation = values.std(axis=0)
    return Scaler(tuple(candidates[number] for number in kept), fill, values.mean(axis=0), np.where(deviation > 1e-9, deviation, 1.0))
