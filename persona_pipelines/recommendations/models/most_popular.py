"""The most popular items, over all time or recently: what every personal recommendation has to beat."""

from __future__ import annotations

import numpy as np

from persona_pipelines.recommendations.data import Audience, Interactions
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.settings.recommendations import MostPopularSettings


class PopularityModel(LearnedModel):
    """State: ``popularity`` of shape (items,), the number of users, each by the importance of the pair; ``recent_days``: of whom those count
    who came this lately, infinite for all. Scores are the logarithm of the popularity."""

    kind = "popularity"

    @property
    def recent(self) -> bool:
        """Whether it looks at the recent past alone."""
        return bool(np.isfinite(self.state["recent_days"]))

    def answers(self, audience: Audience) -> np.ndarray:
        return np.ones(len(audience), dtype=bool)

    def scores(self, audience: Audience) -> np.ndarray:
        # The logarithm keeps the order, and keeps a blend from being led by the two or three most popular alone.
        return np.tile(np.log1p(self.state["popularity"]).astype(np.float32), (len(audience), 1))


class MostPopular:
    """Items by the number of users who interacted with them, over all time or in the last days before the moment.

    Cost: one pass over the interactions; memory of one number an item.
    """

    def __init__(self, settings: MostPopularSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> PopularityModel:
        days = self.settings.recent_days
        state = {"popularity": users_by_item(interactions, days), "recent_days": np.array(np.inf if days is None else days)}
        return PopularityModel(self.name, interactions.users, interactions.items, interactions.digest, state)


def users_by_item(interactions: Interactions, recent_days: float | None) -> np.ndarray:
    """The number of users whose last event with the item is at most ``recent_days`` old, each by the importance of the pair; shape (items,)."""
    counted = interactions.age_days.data <= (np.inf if recent_days is None else recent_days)
    importance = interactions.importance.data[counted]
    return np.bincount(interactions.age_days.indices[counted], weights=importance, minlength=len(interactions.items))
