"""A truncated singular value decomposition of who turned to what."""

from __future__ import annotations

import numpy as np

from persona_pipelines.recommendations.data import Interactions, binary, decomposed
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.settings.recommendations import TruncatedSVDSettings


class TruncatedSVD:
    """PureSVD (Cremonesi, Koren, Turrin 2010): a missing interaction is 0; a history is projected on the item vectors.

    Cost: a few sparse products with ``components`` vectors; memory of (users + items) * components.
    """

    def __init__(self, settings: TruncatedSVDSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.name = settings.name

    def fit(self, interactions: Interactions) -> HistoryModel:
        components = min(self.settings.components, *(size - 1 for size in interactions.weights.shape))
        if components < 1:
            raise ModelError(f"{len(interactions.users)} users and {len(interactions.items)} items; at least 2 of both are needed")
        found = decomposed(binary(interactions.weights), components, self.seed)[1].astype(np.float32)
        return HistoryModel(self.name, interactions.users, interactions.items, interactions.digest, {"weights": found.T, "back": found})
