"""The most popular items: what every personal recommendation has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.models.factors import FactorModel


class MostPopular:
    """Items by the number of users who interacted with them, over all time or in the last days before the moment.

    Cost: one pass over the interactions; memory of one number an item.

    Args:
        recent_days: count only users whose last event with the item is at most this old; None for all time.
    """

    def __init__(self, recent_days: int | None = None) -> None:
        self.recent_days = recent_days
        self.name = "most_popular" if recent_days is None else f"most_popular_{recent_days}_days"

    def parameters(self) -> dict[str, Any]:
        return {"recent_days": self.recent_days}

    def fit(self, interactions: Interactions) -> FactorModel:
        found = interactions.age_days.tocoo()
        counted = np.ones(len(found.data), dtype=bool) if self.recent_days is None else found.data <= self.recent_days
        users = np.bincount(found.col[counted], minlength=len(interactions.items)).astype(np.float32)
        no_users = np.zeros((0, 0), dtype=np.float32)
        no_factors = np.zeros((len(interactions.items), 0), dtype=np.float32)
        return FactorModel(self.name, np.array([], dtype=object), interactions.items, no_users, no_factors, users)
