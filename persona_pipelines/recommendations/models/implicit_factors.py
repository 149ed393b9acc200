"""Matrix factorisation of implicit feedback by the library implicit: alternating least squares, and BPR."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Audience, Interactions
from persona_pipelines.recommendations.models.factors import FactorModel
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.settings.recommendations import ALSSettings, BPRSettings


class ALSModel(FactorModel):
    """A ``FactorModel`` whose new users are solved from their history; ``folding``: regularisation, alpha and the mean weight."""

    kind = "als"

    def factors_of(self, audience: Audience) -> np.ndarray:
        factors = super().factors_of(audience)
        new = np.flatnonzero(~audience.known() & audience.active())
        if len(new):
            regularisation, alpha, scale = self.state["folding"]
            items = np.asarray(self.state["item_factors"], dtype=np.float64)
            size = items.shape[1]
            confidence = sp.csr_matrix(audience.history[new], dtype=np.float64)
            confidence.data = alpha * np.sqrt(confidence.data / scale)
            squares = (items[:, :, None] * items[:, None, :]).reshape(len(items), -1)
            left = (confidence @ squares).reshape(-1, size, size) + items.T @ items + regularisation * np.eye(size)
            confidence.data = confidence.data + 1
            factors[new] = np.linalg.solve(left, (confidence @ items)[:, :, None])[:, :, 0]
        return factors


class ALS:
    """Hu, Koren, Volinsky 2008, "Collaborative Filtering for Implicit Feedback Datasets".

    Cost: iterations * (interactions * factors + (users + items) * factors cubed); memory of (users + items) * factors.
    """

    def __init__(self, settings: ALSSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.name = settings.name

    def fit(self, interactions: Interactions) -> ALSModel:
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        chosen = self.settings
        _checked(interactions)
        confidence = interactions.weights.copy()
        scale = float(confidence.data.mean())
        confidence.data = 1 + chosen.alpha * np.sqrt(confidence.data / scale)
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=chosen.factors,
                regularization=chosen.regularisation,
                alpha=1.0,
                iterations=chosen.iterations,
                random_state=self.seed,
            )
            losses: list[float] = []
            model.fit(confidence, show_progress=False, callback=lambda *_: losses.append(_loss(model, confidence, chosen.regularisation)))
        state = {
            "user_factors": model.user_factors,
            "item_factors": model.item_factors,
            "item_biases": np.zeros(len(interactions.items), dtype=np.float32),
            "folding": np.array([chosen.regularisation, chosen.alpha, scale]),
        }
        return ALSModel(self.name, interactions.users, interactions.items, interactions.digest, state, curves={"training_loss": losses})


def _loss(model: Any, confidence: sp.csr_matrix, regularisation: float) -> float:
    """What ALS makes smaller (equation 3 of the paper), over the sum of all confidences: all pairs count, those without an interaction with 1.

    The library can tell it too, summed by as many threads as there are, so that its last digits are others every time.
    """
    users, items = (np.asarray(side, dtype=np.float64) for side in (model.user_factors, model.item_factors))
    row = np.repeat(np.arange(confidence.shape[0]), np.diff(confidence.indptr))
    said = np.einsum("nd,nd->n", users[row], items[confidence.indices])
    known = float((confidence.data * (1 - said) ** 2 - said**2).sum())
    everything = float(((users.T @ users) * (items.T @ items)).sum())
    penalty = regularisation * float((users**2).sum() + (items**2).sum())
    return (known + everything + penalty) / (float(confidence.data.sum()) + len(users) * len(items) - confidence.nnz)


class BPR:
    """Rendle et al. 2009, "BPR: Bayesian Personalized Ranking from Implicit Feedback". One thread: so that it repeats exactly.

    Cost: iterations * interactions * factors; memory of (users + items) * factors.
    """

    def __init__(self, settings: BPRSettings, seed: int) -> None:
        self.settings = settings
        self.seed = seed
        self.name = settings.name

    def fit(self, interactions: Interactions) -> FactorModel:
        from implicit.cpu.bpr import BayesianPersonalizedRanking

        chosen = self.settings
        _checked(interactions)
        model = BayesianPersonalizedRanking(
            factors=chosen.factors,
            learning_rate=chosen.learning_rate,
            regularization=chosen.regularisation,
            iterations=chosen.iterations,
            num_threads=1,
            random_state=self.seed,
        )
        ranked_right: list[float] = []
        pairs = interactions.weights.nnz

        def after(epoch: int, seconds: float, correct: int, skipped: int) -> None:
            if pairs > skipped:
                ranked_right.append(correct / (pairs - skipped))

        model.fit(interactions.weights, show_progress=False, callback=after)
        if not np.isfinite(model.item_factors).all():
            raise ModelError(f"diverged to infinite factors; lower learning_rate (now {chosen.learning_rate})")
        state = {
            "user_factors": model.user_factors,
            "item_factors": model.item_factors,
            "item_biases": np.zeros(len(interactions.items), dtype=np.float32),
        }
        curves = {"training_ranked_right": ranked_right}
        return FactorModel(self.name, interactions.users, interactions.items, interactions.digest, state, curves=curves)


def _checked(interactions: Interactions) -> None:
    if not interactions.weights.nnz:
        raise ModelError("no interactions")
