"""Behavioural features made fit for distances: skew taken out by logarithms, gaps filled, one scale, no outliers; and interests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import PREFIX
from persona_pipelines.warehouse.described import FEATURES, SEGMENTS

SKEWED, PLAIN = (tuple(name for name, feature in FEATURES.items() if feature.segments == kind) for kind in SEGMENTS)
VOLUME = tuple(name for name, feature in FEATURES.items() if feature.volume)
"""Features that mostly say one thing: how much a user does. Their common direction counts as ``VOLUME_FEATURES`` features, or volume
would make every segment; where they do not go together, they keep their weight."""
VOLUME_FEATURES = 1.5
LIMIT = 3.0
"""Scaled features are cut at this many standard deviations: one extreme user must not make a segment."""
INTERESTS = 4
INTEREST_SPREAD = 1.4
"""Standard deviation of the strongest interest beside features that have 1."""


@dataclass(frozen=True)
class Scaler:
    """Learned state of the preprocessing.

    Attributes:
        columns: features used; ``fill``, ``mean``, ``deviation`` and ``weight`` have one entry a column.
        categories: in the order of ``interest_mean``, shape (categories,), and ``interests``, shape (categories, components).
    """

    columns: tuple[str, ...]
    fill: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    weight: np.ndarray
    categories: tuple[str, ...]
    interest_mean: np.ndarray
    interests: np.ndarray

    def standardised(self, features: pd.DataFrame) -> np.ndarray:
        """Features of shape (users, columns), about 0 with deviation 1; always finite."""
        values = _raw(features, self.columns)
        values = np.where(np.isfinite(values), values, self.fill)
        return np.clip((values - self.mean) / self.deviation, -LIMIT, LIMIT)

    def known(self, features: pd.DataFrame) -> np.ndarray:
        """Whether each feature is known of each user, shape (users, columns)."""
        return np.isfinite(_raw(features, self.columns))

    def transform(self, features: pd.DataFrame, category_shares: pd.DataFrame) -> np.ndarray:
        """What distances are measured in, shape (users, columns + components): weighted features, then interests."""
        roots = _roots(features["user_id"].to_numpy(dtype=object), category_shares, self.categories)
        found = (roots - self.interest_mean) @ self.interests
        # Who has shown no interest in anything stands in the middle.
        found[roots.sum(axis=1) == 0] = 0
        return np.hstack([self.standardised(features) * self.weight, found])


def _raw(features: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """The columns, those that tend to be skewed as logarithms; nan where the features lack one, as those of past days lack attributes."""
    unknown = np.full(len(features), np.nan)
    values = np.column_stack([features[name].to_numpy(dtype=float, na_value=np.nan) if name in features else unknown for name in columns])
    for number, name in enumerate(columns):
        if name in SKEWED or (name.startswith(PREFIX) and "=" not in name):
            values[:, number] = np.sign(values[:, number]) * np.log1p(np.abs(values[:, number]))
    return values


def _roots(users: np.ndarray, category_shares: pd.DataFrame, categories: Sequence[str]) -> np.ndarray:
    """Square roots of attention shares, shape (users, categories): their distance is that of Hellinger 1909 between distributions."""
    places, names = pd.factorize(users)
    found = np.zeros((len(names), len(categories)))
    row = pd.Index(names).get_indexer(pd.Index(category_shares["user_id"], dtype=object))
    column = pd.Index(list(categories), dtype=object).get_indexer(pd.Index(category_shares["category"]))
    known = (row >= 0) & (column >= 0)
    found[row[known], column[known]] = np.sqrt(category_shares["interest_share"].to_numpy(dtype=float)[known])
    return found[places]


def _telling(features: pd.DataFrame, candidates: Sequence[str]) -> list[str]:
    """The columns that tell users apart: neither constant nor unknown for nearly all, as what the log does not support is."""
    values = _raw(features, candidates) if candidates else np.zeros((len(features), 0))
    found = []
    for number, name in enumerate(candidates):
        column = values[np.isfinite(values[:, number]), number]
        if len(column) >= max(2, 0.02 * len(features)) and np.ptp(column) > 1e-9:
            found.append(name)
    return found


def fit_scaler(features: pd.DataFrame, category_shares: pd.DataFrame, attributes: Sequence[str] = ()) -> Scaler:
    """Learn from ``contracts.USER_FEATURES`` and ``contracts.CATEGORY_SHARES``. Columns that are constant or unknown for nearly
    all users are left out.

    Args:
        features: with columns ``attributes.NAME`` (``features.attributes``) where there are any.
        attributes: names of those that count beside behaviour. Without any, and where behaviour tells nobody apart, as in a list of customers
            alone, all do.
    Raises:
        ValueError: no column tells users apart.
    """
    own = sorted(name for name in features.columns if name.startswith(PREFIX))
    asked = [name for name in own if name.removeprefix(PREFIX).split("=")[0] in attributes]
    behaviour = [name for name in (*SKEWED, *PLAIN) if not (other := FEATURES[name].instead_of) or features[other].isna().all()]
    columns = tuple(_telling(features, (*behaviour, *asked)))
    if not set(columns) & set(behaviour) and not asked:
        columns = tuple(_telling(features, (*behaviour, *own)))
    if not columns:
        raise ValueError(
            f"none of {len(behaviour) + len(own)} features tells the {len(features)} users apart; segments need users who differ"
        )
    values = _raw(features, columns)
    known = np.isfinite(values)
    values = np.where(known, values, np.nan)
    fill = np.nanmedian(values, axis=0)
    values = np.where(np.isfinite(values), values, fill)
    deviation = values.std(axis=0)
    volume = [name in VOLUME for name in columns]
    standardised = np.clip((values - values.mean(axis=0)) / np.where(deviation > 1e-9, deviation, 1.0), -LIMIT, LIMIT)
    common = float(np.linalg.eigvalsh(np.cov(standardised[:, volume].T))[-1]) if sum(volume) > 1 and len(values) > 1 else 1.0
    weight = np.where(volume, np.sqrt(VOLUME_FEATURES / max(common, VOLUME_FEATURES)), 1.0)
    return Scaler(
        columns, fill, values.mean(axis=0), np.where(deviation > 1e-9, deviation, 1.0), weight, *_interests(features, category_shares)
    )


def _interests(features: pd.DataFrame, category_shares: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """The main directions in which interests differ, by principal components."""
    from sklearn.decomposition import PCA

    categories = tuple(sorted(category_shares["category"].unique()))
    roots = _roots(features["user_id"].to_numpy(dtype=object), category_shares, categories)
    interested = roots[roots.sum(axis=1) > 0]
    components = min(INTERESTS, len(categories) - 1, len(interested) - 1)
    if components < 1:
        return (), np.zeros(0), np.zeros((0, 0))
    found = PCA(components, svd_solver="full").fit(interested)
    spread = np.sqrt(found.explained_variance_[0])
    if spread < 1e-9:
        return (), np.zeros(0), np.zeros((0, 0))
    return categories, found.mean_, found.components_.T * (INTEREST_SPREAD / spread)
