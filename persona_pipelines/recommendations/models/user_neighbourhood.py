"""Users like the user: what they turned to, and how they rated it."""

from __future__ import annotations

import numpy as np

from persona_pipelines.recommendations.data import Audience, Interactions, binary
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError, RatingModel
from persona_pipelines.recommendations.models.ratings import Base, base, deviations, neighbours_mean
from persona_pipelines.recommendations.models.similarity import nearest
from persona_pipelines.settings.recommendations import UserNeighbourhoodSettings


class NeighbourModel(LearnedModel):
    """State: ``similarity`` of shape (users, users); ``history`` of shape (users, items), 0 or 1.

    Scores are similarity @ history: of users known in training only.
    """

    kind = "neighbours"

    def answers(self, audience: Audience) -> np.ndarray:
        return audience.known()

    def scores(self, audience: Audience) -> np.ndarray:
        found = np.zeros((len(audience), len(self.items)), dtype=np.float32)
        known = audience.known()
        product = self.state["similarity"][audience.positions[known]] @ self.state["history"]
        found[known] = product.toarray() if hasattr(product, "toarray") else product
        return found


class RatingNeighbourModel(NeighbourModel, RatingModel):
    """A ``NeighbourModel`` with the ``deviations`` of its users' ratings from their base."""

    kind = "rating_neighbours"

    def predicted_ratings(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        found = Base.of_state(self.state)
        result = found.predicted(users, items)
        known = (users >= 0) & (items >= 0)
        result[known] += neighbours_mean(self.state["similarity"], self.state["deviations"], users[known], items[known])
        return np.clip(result, found.lowest, found.highest)


class UserNeighbourhood:
    """Resnick et al. 1994 ("GroupLens"); cosine over what users turned to, or Pearson correlation of their ratings.

    Ranking: sum of the similarities of the neighbours who turned to the item. Ratings: the user's base plus the neighbours'
    mean deviation from theirs.

    Cost: time of users squared in sparse products, memory of users * neighbours.
    """

    def __init__(self, settings: UserNeighbourhoodSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> LearnedModel:
        chosen = self.settings
        if len(interactions.users) < 2:
            raise ModelError(f"{len(interactions.users)} users; at least 2 are needed for one to be a neighbour")
        if chosen.similarity == "pearson" and not interactions.ratings.nnz:
            raise ModelError("no ratings to correlate: events of type rating with a value are needed")
        compared = interactions.ratings if chosen.similarity == "pearson" else binary(interactions.weights)
        similarity = nearest(compared, chosen.similarity, chosen.neighbours, chosen.shrinkage)
        state = {"similarity": similarity, "history": binary(interactions.weights)}
        names = (self.name, interactions.users, interactions.items, interactions.digest)
        if not interactions.ratings.nnz:
            return NeighbourModel(*names, state)
        found = base(interactions)
        return RatingNeighbourModel(*names, {**state, "deviations": deviations(interactions, found), **found.state()})
