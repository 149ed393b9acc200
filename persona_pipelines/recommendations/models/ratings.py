"""Predicted ratings: the base of every method, and neighbours' deviations from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, binary
from persona_pipelines.recommendations.models.learned import ModelError

DAMPING = 5.0
"""A mean of few ratings is drawn to the mean of all as if this many more ratings had it."""


@dataclass(frozen=True)
class Base:
    """mean of all ratings, deviation of each user and item from it, lowest and highest rating."""

    mean: float
    users: np.ndarray
    items: np.ndarray
    lowest: float
    highest: float

    def predicted(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Shape (pairs,); a position of -1 has no deviation."""
        known_user, known_item = users >= 0, items >= 0
        return (
            self.mean
            + np.where(known_user, self.users[np.maximum(users, 0)], 0.0)
            + np.where(known_item, self.items[np.maximum(items, 0)], 0.0)
        )

    def state(self) -> dict[str, np.ndarray]:
        return {
            "base_mean": np.array(self.mean),
            "base_users": self.users,
            "base_items": self.items,
            "base_range": np.array([self.lowest, self.highest]),
        }

    @classmethod
    def of_state(cls, state: Mapping[str, np.ndarray]) -> Base:
        lowest, highest = state["base_range"]
        return cls(float(state["base_mean"]), state["base_users"], state["base_items"], float(lowest), float(highest))


def base(interactions: Interactions) -> Base:
    """Means with damping: items' deviations from the mean of all, then users' from both.

    Raises:
        ModelError: there are no ratings.
    """
    ratings = interactions.ratings
    if not ratings.nnz:
        raise ModelError("no ratings: events of type rating with a value are needed")
    mean = float(ratings.data.mean())
    coo = ratings.tocoo()
    centred = coo.data - mean
    items = np.bincount(coo.col, centred, len(interactions.items)) / (np.bincount(coo.col, minlength=len(interactions.items)) + DAMPING)
    left = centred - items[coo.col]
    users = np.bincount(coo.row, left, len(interactions.users)) / (np.bincount(coo.row, minlength=len(interactions.users)) + DAMPING)
    return Base(mean, users, items, float(coo.data.min()), float(coo.data.max()))


def deviations(interactions: Interactions, found: Base) -> sp.csr_matrix:
    """What of each rating the base does not explain, shape (users, items)."""
    coo = interactions.ratings.tocoo()
    left = coo.data - found.predicted(coo.row, coo.col)
    return sp.csr_matrix((left, (coo.row, coo.col)), shape=coo.shape)


def neighbours_mean(
    similarity: sp.csr_matrix, deviation: sp.csr_matrix, rows: np.ndarray, columns: np.ndarray, shrinkage: float = 1.0
) -> np.ndarray:
    """Mean deviation in a column over a row's neighbours that have one, weighted by similarity; shape (pairs,).

    The sum of the similarities is raised by ``shrinkage``, so that one distant neighbour does not decide.
    """
    has = binary(deviation)
    result = np.zeros(len(rows))
    wanted, place = np.unique(rows, return_inverse=True)
    step = max(1, 4_000_000 // max(deviation.shape[1], 1))
    for start in range(0, len(wanted), step):
        inside = (place >= start) & (place < start + step)
        block = similarity[wanted[start : start + step]]
        above, below = (block @ deviation).toarray(), (abs(block) @ has).toarray()
        at = (place[inside] - start, columns[inside])
        result[inside] = above[at] / (below[at] + shrinkage)
    return result
