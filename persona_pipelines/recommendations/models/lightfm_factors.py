"""LightFM: factors for users, items and their features, learned with a ranking loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Features, Interactions
from persona_pipelines.recommendations.models.factors import FactorModel
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.settings.recommendations import LightFMSettings

WATCHED = 2_000
"""Interactions by which the learning is watched."""


def with_identity(features: Features, identity_weight: float) -> sp.csr_matrix:
    """Shape (entities, entities + features): an identity block first; rows sum to 1 as LightFM's authors have them."""
    own = sp.identity(features.matrix.shape[0], dtype=np.float32, format="csr") * identity_weight
    matrix = sp.csr_matrix(sp.hstack([own, features.matrix]))
    return sp.csr_matrix(sp.diags_array(1.0 / np.asarray(matrix.sum(axis=1)).ravel()) @ matrix, dtype=np.float32)


class LightFMFactors:
    """Kula 2015, "Metadata Embeddings for User and Item Cold-start Recommendations" (arXiv 1507.08439), with the losses WARP
    (Weston, Bengio, Usunier 2011), BPR (Rendle et al. 2009) or logistic.

    A user or item is the mean of its features' factors, one of them its own identity, which counts ``identity_weight`` times;
    so a new user with known attributes and a new item with a known category get an answer.

    Cost: epochs * interactions * max_sampled * components at worst; memory of (users + items + features) * components.
    One thread and a seed: the only way in which LightFM repeats exactly.
    """

    def __init__(self, settings: LightFMSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.name = settings.name

    def fit(self, interactions: Interactions) -> FactorModel:
        try:
            from lightfm import LightFM
        except ImportError as error:
            raise ModelError(
                f"LightFM is not installed ({error}); it is compiled when it is installed: a C compiler and make setup"
            ) from None

        chosen = self.settings
        model = LightFM(
            no_components=chosen.components,
            loss=chosen.loss,
            learning_rate=chosen.learning_rate,
            max_sampled=chosen.max_sampled,
            item_alpha=chosen.item_alpha,
            user_alpha=chosen.user_alpha,
            random_state=self.seed,
        )
        weights = interactions.weights.tocoo()
        if not weights.nnz:
            raise ModelError("no interactions")
        nothing = [Features(sp.csr_matrix((len(ids), 0), dtype=np.float32), ()) for ids in (interactions.users, interactions.items)]
        shared = (interactions.user_features, interactions.item_features) if chosen.features else nothing
        user_features, item_features = (with_identity(side, chosen.identity_weight) for side in shared)
        # Weights are brought to mean 1 and damped: a user's tenth purchase says less about their taste than the first.
        damped = np.sqrt(weights.data / weights.data.mean()).astype(np.float32)
        damped /= damped.mean()
        row, column, value = weights.row, weights.col, np.ones_like(damped)
        if chosen.loss == "logistic":
            # The ranking losses draw negatives themselves; this one has to be given some: one for each interaction.
            row, column, value, damped = _with_negatives(row, column, damped, interactions.weights, self.seed)
        interacted = sp.coo_matrix((value, (row, column)), shape=weights.shape)
        counted = sp.coo_matrix((damped, (row, column)), shape=weights.shape)
        triples, ranked_right = _triples(interactions.weights, self.seed), []
        # Epoch by epoch: the same draws as of all in one go.
        for _ in range(chosen.epochs):
            model.fit_partial(interacted, user_features, item_features, sample_weight=counted, epochs=1, num_threads=1)
            ranked_right.append(_ranked_right(model, user_features, item_features, triples))
        if not np.isfinite(model.item_embeddings).all() or not np.isfinite(model.user_embeddings).all():
            raise ModelError(f"diverged to infinite factors; lower learning_rate (now {chosen.learning_rate})")
        state = {
            "user_factors": user_features @ model.user_embeddings,
            "item_factors": item_features @ model.item_embeddings,
            "item_biases": item_features @ model.item_biases,
        }
        names = shared[0].names
        if names:
            state["user_feature_factors"] = model.user_embeddings[len(interactions.users) :]
        texts, curves = {"user_features": names}, {"training_ranked_right": ranked_right}
        return FactorModel(self.name, interactions.users, interactions.items, interactions.digest, state, texts, curves=curves)


def _triples(known: sp.csr_matrix, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Users, an item of each, and a random one that the user has nothing to do with: of ``WATCHED`` interactions, fewer where there are fewer."""
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, known.nnz, min(WATCHED, known.nnz))
    user = np.searchsorted(known.indptr, drawn, side="right") - 1
    other = generator.integers(0, known.shape[1], len(drawn))
    unknown = np.asarray(known[user, other]).ravel() == 0
    return user[unknown], known.indices[drawn][unknown], other[unknown]


def _ranked_right(model: Any, users: sp.csr_matrix, items: sp.csr_matrix, triples: tuple[np.ndarray, np.ndarray, np.ndarray]) -> float:
    """The share of triples whose item scores higher than the other one; nan without any."""
    user, item, other = triples
    if not len(user):
        return float("nan")
    factors, biases = items @ model.item_embeddings, items @ model.item_biases
    ahead = np.einsum("nd,nd->n", (users @ model.user_embeddings)[user], factors[item] - factors[other])
    return float((ahead + biases[item] - biases[other] > 0).mean())


def _with_negatives(
    row: np.ndarray, column: np.ndarray, weight: np.ndarray, known: sp.csr_matrix, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns, values of 1 and -1, weights: to each interaction a random item that the user has nothing to do with."""
    drawn = np.random.default_rng(seed).integers(0, known.shape[1], len(row)).astype(column.dtype)
    # A pair may be drawn twice, but only once be told.
    pairs = np.unique(np.stack([row, drawn], axis=1), axis=0)
    pairs = pairs[np.asarray(known[pairs[:, 0], pairs[:, 1]]).ravel() == 0]
    ones = np.ones(len(pairs), dtype=np.float32)
    return (
        np.concatenate([row, pairs[:, 0]]),
        np.concatenate([column, pairs[:, 1]]),
        np.concatenate([np.ones_like(weight), -ones]),
        np.concatenate([weight, ones]),
    )
