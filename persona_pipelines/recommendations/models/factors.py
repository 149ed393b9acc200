"""A learned model of factors and biases: scores are one matrix product, so ranking runs in compiled code."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Audience
from persona_pipelines.recommendations.models.learned import LearnedModel

NOTHING_LEFT = np.float32(-1e37)


class FactorModel(LearnedModel):
    """State:
        user_factors: shape (users, d); item_factors: shape (items, d); item_biases: shape (items,).
        user_feature_factors: shape (features, d), where users have features; their names are ``texts["user_features"]``.

    A new user is the mean of their known features' factors.
    """

    kind = "factors"

    def factors_of(self, audience: Audience) -> np.ndarray:
        """Factors of shape (n, d); zeros of users of whom nothing is known."""
        factors = np.zeros((len(audience), self.state["item_factors"].shape[1]), dtype=np.float32)
        known = audience.known()
        factors[known] = self.state["user_factors"][audience.positions[known]]
        if "user_feature_factors" in self.state:
            place = {name: number for number, name in enumerate(self.texts["user_features"])}
            for number in np.flatnonzero(~known):
                found = [place[token] for token in audience.tokens[number] if token in place]
                if found:
                    factors[number] = self.state["user_feature_factors"][found].mean(axis=0)
        return factors

    def answers(self, audience: Audience) -> np.ndarray:
        return audience.known() | self.factors_of(audience).any(axis=1)

    def scores(self, audience: Audience) -> np.ndarray:
        return self.factors_of(audience) @ self.state["item_factors"].T + self.state["item_biases"][None, :]

    def top(
        self, audience: Audience, k: int, exclude: sp.csr_matrix | None = None, blocked: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        from implicit.cpu.topk import topk

        k = min(k, len(self.items))
        if not len(audience) or not k:
            return super().top(audience, k, exclude, blocked)
        factors = self.factors_of(audience)
        # The bias is one more factor, of users who all have 1 of it.
        users = np.hstack([factors, np.ones((len(factors), 1), dtype=np.float32)]).astype(np.float32)
        items = np.hstack([self.state["item_factors"], np.asarray(self.state["item_biases"])[:, None]]).astype(np.float32)
        seen = None if exclude is None else sp.csr_matrix(exclude)
        never = None if blocked is None or not blocked.any() else np.flatnonzero(blocked).astype(np.int32)
        # One more than asked for: where it equals the last, the library's choice among equals is not ours.
        best, scores = topk(items, users, min(k + 1, len(items)), filter_query_items=seen, filter_items=never)
        order = np.lexsort((best, -scores), axis=1)
        best, scores = np.take_along_axis(best, order, axis=1).astype(np.int64), np.take_along_axis(scores, order, axis=1)
        more = scores.shape[1] > k
        tied = np.flatnonzero((scores[:, k - 1] == scores[:, -1]) & (scores[:, -1] > NOTHING_LEFT) & more)
        best, scores = best[:, :k], scores[:, :k]
        if len(tied):
            best[tied], scores[tied] = super().top(audience.part(tied), k, None if seen is None else seen[tied], blocked)
        left = scores > NOTHING_LEFT
        return np.where(left, best, -1), np.where(left, scores, -np.inf).astype(np.float32)
