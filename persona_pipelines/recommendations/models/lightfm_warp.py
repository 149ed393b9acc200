"""LightFM: factors for users, items and their features, learned with the WARP ranking loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.models.factors import FactorModel
from persona_pipelines.settings import LightFMSettings


class LightFMWarp:
    """Kula 2015, "Metadata Embeddings for User and Item Cold-start Recommendations" (arXiv 1507.08439), with the loss of
    Weston, Bengio, Usunier 2011 ("WSABIE").

    A user or item is the mean of its features' factors, one of them its own identity; so a new user with known
    attributes and a new item with a known category get an answer.

    Cost: epochs * interactions * max_sampled * components at worst; memory of (users + items + features) * components.
    One thread and a seed: the only way in which LightFM repeats exactly.
    """

    name = "lightfm_warp"

    def __init__(self, settings: LightFMSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed

    def parameters(self) -> dict[str, Any]:
        return {**self.settings.model_dump(), "seed": self.seed, "loss": "warp"}

    def fit(self, interactions: Interactions) -> FactorModel:
        from lightfm import LightFM

        chosen = self.settings
        model = LightFM(
            no_components=chosen.components,
            loss="warp",
            learning_rate=chosen.learning_rate,
            max_sampled=chosen.max_sampled,
            item_alpha=chosen.item_alpha,
            user_alpha=chosen.user_alpha,
            random_state=self.seed,
        )
        weights = interactions.weights.tocoo()
        positives = sp.coo_matrix((np.ones_like(weights.data), (weights.row, weights.col)), shape=weights.shape)
        # Weights are brought to mean 1 and damped: a user's tenth purchase says less about their taste than the first.
        damped = np.sqrt(weights.data / weights.data.mean()).astype(np.float32)
        model.fit(
            positives,
            user_features=interactions.user_features.matrix,
            item_features=interactions.item_features.matrix,
            sample_weight=sp.coo_matrix((damped / damped.mean(), (weights.row, weights.col)), shape=weights.shape),
            epochs=chosen.epochs,
            num_threads=1,
        )
        if not np.isfinite(model.item_embeddings).all() or not np.isfinite(model.user_embeddings).all():
            raise FloatingPointError("LightFM diverged to infinite factors; lower recommendations.lightfm.learning_rate")
        users = len(interactions.users)
        return FactorModel(
            self.name,
            interactions.users,
            interactions.items,
            interactions.user_features.matrix @ model.user_embeddings,
            interactions.item_features.matrix @ model.item_embeddings,
            interactions.item_features.matrix @ model.item_biases,
            interactions.user_features.names,
            model.user_embeddings[users:] if interactions.user_features.names else None,
        )
