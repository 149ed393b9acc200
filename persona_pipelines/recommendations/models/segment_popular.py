"""What the user's segment turns to more than others."""

from __future__ import annotations

import numpy as np

from persona_pipelines.recommendations.data import UNKNOWN_SEGMENT, Audience, Interactions
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.settings.recommendations import SegmentPopularSettings


class SegmentPopularityModel(LearnedModel):
    """State: ``segments``: ids; ``popularity`` of shape (segments, items), the smoothed share of the segment's users."""

    kind = "segment_popularity"

    def answers(self, audience: Audience) -> np.ndarray:
        return np.isin(audience.segments, self.state["segments"])

    def scores(self, audience: Audience) -> np.ndarray:
        row = np.searchsorted(self.state["segments"], audience.segments)
        row = np.minimum(row, len(self.state["segments"]) - 1)
        found = self.state["popularity"][row].astype(np.float32)
        found[~self.answers(audience)] = self.state["overall"]
        return found


class SegmentPopular:
    """Items by the share of the user's segment that interacted with them.

    A small segment is drawn to the whole audience: (users of the segment + prior_users * overall share) / (size + prior_users).
    Cost: one pass over the interactions; memory of segments * items.
    """

    def __init__(self, settings: SegmentPopularSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> SegmentPopularityModel:
        segments = np.unique(interactions.segments[interactions.segments != UNKNOWN_SEGMENT])
        if len(segments) < 2:
            raise ModelError(f"{len(segments)} segments known at the moment of the training; at least 2 are needed")
        ages = interactions.age_days.tocoo()  # in the order of the importance
        counted = ages.data <= (np.inf if self.settings.recent_days is None else self.settings.recent_days)
        segment = interactions.segments[ages.row[counted]]
        users = np.zeros((len(segments), len(interactions.items)))
        known = segment != UNKNOWN_SEGMENT
        importance = interactions.importance.data[counted]
        np.add.at(users, (np.searchsorted(segments, segment[known]), ages.col[counted][known]), importance[known])
        overall = np.bincount(ages.col[counted], weights=importance, minlength=len(interactions.items)) / len(interactions.users)
        sizes = np.array([(interactions.segments == number).sum() for number in segments])
        prior = self.settings.prior_users
        popularity = (users + prior * overall[None, :]) / (sizes[:, None] + prior)
        state = {"segments": segments, "popularity": popularity, "overall": overall}
        return SegmentPopularityModel(self.name, interactions.users, interactions.items, interactions.digest, state)
