"""What the people that a user follows turned to."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Audience, Interactions, binary, followed
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.settings.recommendations import FollowedSettings


class FollowedModel(LearnedModel):
    """State: ``follows`` of shape (users, users) and ``history`` of shape (users, items), both 0 or 1; ``overall`` of shape (items,), the
    share of all users who turned to each; ``shrinkage``.

    The score of an item is the share of those followed who turned to it, the shares of small circles drawn to that of all users:
    (those who did + shrinkage * share of all) / (those followed + shrinkage). It answers whoever follows somebody who has done
    something, known in training or not.
    """

    kind = "followed"

    def answers(self, audience: Audience) -> np.ndarray:
        return np.diff(self._follows(audience).indptr) > 0

    def scores(self, audience: Audience) -> np.ndarray:
        circle, shrinkage = self._follows(audience), float(self.state["shrinkage"])
        size = np.diff(circle.indptr).astype(np.float32)[:, None]
        found = (circle @ self.state["history"]).toarray() + shrinkage * self.state["overall"]
        return np.ascontiguousarray(np.where(size > 0, found / np.maximum(size + shrinkage, 1e-9), 0), dtype=np.float32)

    def _follows(self, audience: Audience) -> sp.csr_matrix:
        """Those followed who have done something; of users of the training as it knew them, where the audience does not say."""
        if audience.follows is not None:
            return audience.follows
        known = np.flatnonzero(audience.known())
        rows = sp.csr_matrix(
            (np.ones(len(known), dtype=np.float32), (known, audience.positions[known])), shape=(len(audience), len(self.users))
        )
        return sp.csr_matrix(rows @ self.state["follows"])


class Followed:
    """Massa and Avesani 2007: whom somebody trusts takes the place of who is like them, which helps those of whom little is known.

    Cost: one sparse product of those followed by what they turned to; memory of the edges and the interactions.
    """

    def __init__(self, settings: FollowedSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> FollowedModel:
        if interactions.follow_pairs is None or interactions.follow_pairs.empty:
            raise ModelError("nobody follows anybody who has turned to an item: events of type follow with a target_user_id are needed")
        state = {
            "follows": followed(interactions.follow_pairs, interactions.users, interactions.users),
            "history": binary(interactions.weights),
            "overall": (interactions.item_users() / len(interactions.users)).astype(np.float32),
            "shrinkage": np.array(self.settings.shrinkage),
        }
        return FollowedModel(self.name, interactions.users, interactions.items, interactions.digest, state)
