"""EASE: a linear model of each item by all others, in closed form; over items, or over users by the same formula."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, binary
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.recommendations.models.user_neighbourhood import NeighbourModel
from persona_pipelines.settings.recommendations import EASESettings, RecentEASESettings


class EASE:
    """Steck 2019, "Embarrassingly Shallow Autoencoders for Sparse Data" (arXiv 1905.03375).

    With X of 0 and 1 and P = (X'X + regularisation * I)^-1, the weights are B = I - P / diag(P): the diagonal is 0 and
    no item predicts itself. Over users the same with X', so that a user is predicted by the others.

    Cost: one inversion, time of n cubed, n the lesser of items and users, and memory of 12 bytes for each pair of items (or users);
    refused above ``maximum_size`` of these.
    """

    def __init__(self, settings: EASESettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> LearnedModel:
        chosen = self.settings
        history = binary(interactions.weights)
        rows = history if chosen.over == "items" else sp.csr_matrix(history.T)
        require_size(rows.shape[1], chosen.over, chosen.maximum_size)
        names = (self.name, interactions.users, interactions.items, interactions.digest)
        weights = item_weights(rows, chosen.regularisation)
        if chosen.over == "items":
            return HistoryModel(*names, {"weights": weights})
        return NeighbourModel(*names, {"similarity": np.ascontiguousarray(weights.T), "history": history})


class RecentEASE:
    """The weights of EASE over items, asked by a history in which what was done last counts most.

    The weights are the same: they say which items go together. That the newest items say most about the next one is how lists for sessions
    are made (Ludewig and Jannach 2018, "Evaluation of session-based recommendation algorithms", whose neighbourhoods weigh by place).

    Cost: as EASE.
    """

    def __init__(self, settings: RecentEASESettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> HistoryModel:
        require_size(len(interactions.items), "items", self.settings.maximum_size)
        weights = item_weights(binary(interactions.weights), self.settings.regularisation)
        state = {"weights": weights, "decay": np.array(self.settings.decay)}
        return HistoryModel(self.name, interactions.users, interactions.items, interactions.digest, state)


def require_size(count: int, of: str, maximum: int) -> None:
    """Raise ModelError where a dense square matrix of so many would be too large."""
    if count > maximum:
        raise ModelError(f"{count:,} {of}, of which a dense square matrix would be made; maximum_size is {maximum:,}")


def item_weights(history: sp.csr_matrix, regularisation: float) -> np.ndarray:
    """B of shape (items, items), float32, its diagonal 0.

    Nothing is copied that can be written over: 8 bytes for each pair of items, and 4 for the result.
    """
    inverse = _inverse(history, regularisation)
    inverse /= -np.diag(inverse)[None, :]
    weights = np.asarray(inverse, dtype=np.float32)
    np.fill_diagonal(weights, 0)
    return weights


def _inverse(history: sp.csr_matrix, regularisation: float) -> np.ndarray:
    """(X'X + regularisation * I)^-1; of fewer rows than columns by the smaller inverse of XX' (Woodbury's identity)."""
    from scipy.linalg import inv

    rows, columns = history.shape
    exact = sp.csr_matrix(history, dtype=np.float64)
    if rows < columns:
        smaller = _inverse(sp.csr_matrix(exact.T), regularisation)
        inverse = exact.T @ (smaller @ exact)
        inverse /= -regularisation
        inverse[np.diag_indices_from(inverse)] += 1 / regularisation
        return np.asarray(inverse)
    gram = (exact.T @ exact).toarray(order="F")
    gram[np.diag_indices_from(gram)] += regularisation
    return np.asarray(inv(gram, assume_a="pos", overwrite_a=True, check_finite=False))
