"""Items like those of the user's history."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, binary
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError, RatingModel
from persona_pipelines.recommendations.models.ratings import Base, base, deviations, neighbours_mean
from persona_pipelines.recommendations.models.similarity import Measure, nearest
from persona_pipelines.settings.recommendations import ItemNeighbourhoodSettings

MEASURES: dict[str, Measure] = {"cosine": "cosine", "jaccard": "jaccard", "tfidf": "cosine", "bm25": "product"}


class RatingHistoryModel(HistoryModel, RatingModel):
    """A ``HistoryModel`` over items with the ``deviations`` of ratings from their base, shape (users, items)."""

    kind = "rating_history"

    def predicted_ratings(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        found = Base.of_state(self.state)
        result = found.predicted(users, items)
        known = (users >= 0) & (items >= 0)
        turned = sp.csr_matrix(self.state["deviations"].T)
        result[known] += neighbours_mean(sp.csr_matrix(self.state["weights"].T), turned, items[known], users[known])
        return np.clip(result, found.lowest, found.highest)


class ItemNeighbourhood:
    """Sarwar et al. 2001 ("Item-based collaborative filtering"); Deshpande and Karypis 2004 for ranking.

    Items are compared by who turned to them: cosine, Jaccard, cosine after weighting users by TF-IDF, or the product of BM25
    weights (Robertson and Zaragoza 2009); under the last two a user who turned to everything says little.

    Cost: time of items squared in sparse products, memory of items * neighbours; no dense matrix but blocks.
    """

    def __init__(self, settings: ItemNeighbourhoodSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> LearnedModel:
        from implicit.nearest_neighbours import bm25_weight, tfidf_weight

        chosen = self.settings
        if len(interactions.items) < 2:
            raise ModelError(f"{len(interactions.items)} items; at least 2 are needed for one to be like another")
        rows = sp.csr_matrix(binary(interactions.weights).T)
        if chosen.similarity in ("tfidf", "bm25"):
            rows = sp.csr_matrix({"tfidf": tfidf_weight, "bm25": bm25_weight}[chosen.similarity](rows), dtype=np.float64)
        similarity = nearest(rows, MEASURES[chosen.similarity], chosen.neighbours, chosen.shrinkage)
        # Row i holds the neighbours of i: the score of i sums over those that stand in the history.
        state = {"weights": sp.csr_matrix(similarity.T)}
        names = (self.name, interactions.users, interactions.items, interactions.digest)
        if not interactions.ratings.nnz:
            return HistoryModel(*names, state)
        found = base(interactions)
        return RatingHistoryModel(*names, {**state, "deviations": deviations(interactions, found), **found.state()})
