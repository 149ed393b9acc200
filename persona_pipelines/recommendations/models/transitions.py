"""What comes after what: items that people turned to soon after those of the history."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, places_from_newest
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.recommendations.models.similarity import largest
from persona_pipelines.settings.recommendations import TransitionsSettings

PAIRS_AT_ONCE = 4_000_000


class Transitions:
    """A Markov chain over items with a memory of ``window`` steps ("sequential rules", Kamehkhosh, Jannach and Ludewig 2017).

    From an item to one that the same person turned to d places later counts ``distance_decay`` ** (d - 1); of two items of one moment each
    leads to the other with half. Each item's row is divided by its sum plus ``shrinkage``, so that few steps say little. Asked by a history
    in which the newest items count most.

    Cost: one pass over the interactions for each step of the window; memory of interactions * window at most, of the result items * neighbours.
    """

    def __init__(self, settings: TransitionsSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> HistoryModel:
        chosen = self.settings
        found = transition_weights(interactions.age_days, chosen.window, chosen.distance_decay, chosen.shrinkage, chosen.neighbours)
        if not found.nnz:
            raise ModelError("nobody turned to two items, so nothing came after anything")
        state = {"weights": found, "decay": np.array(chosen.decay)}
        return HistoryModel(self.name, interactions.users, interactions.items, interactions.digest, state)


def transition_weights(age_days: sp.csr_matrix, window: int, distance_decay: float, shrinkage: float, neighbours: int) -> sp.csr_matrix:
    """Shape (items, items): from the item of the row to that of the column, the ``neighbours`` largest of each row.

    Args:
        age_days: shape (users, items), days since each did something with the item last.
    """
    places = places_from_newest(age_days)
    rows = np.repeat(np.arange(places.shape[0]), np.diff(places.indptr))
    # The oldest first; of one moment in the order of the catalogue, which no weight depends on but which pairs are within the window does.
    order = np.lexsort((-places.data, rows))
    row, place, item = rows[order], places.data[order], places.indices[order]
    size = places.shape[1]
    total = sp.csr_matrix((size, size))
    for step in range(1, window + 1):
        for start in range(0, max(len(row) - step, 0), PAIRS_AT_ONCE):
            early = np.arange(start, min(start + PAIRS_AT_ONCE, len(row) - step))
            early = early[row[early] == row[early + step]]
            late = early + step
            distance = place[early] - place[late]
            apart = distance > 0
            weight = np.where(apart, np.power(distance_decay, np.maximum(distance - 1, 0)), 0.5)
            tied = ~apart
            source, target = np.concatenate([item[early], item[late[tied]]]), np.concatenate([item[late], item[early[tied]]])
            total = total + sp.csr_matrix((np.concatenate([weight, weight[tied]]), (source, target)), shape=(size, size))
    sums = np.asarray(total.sum(axis=1)).ravel() + shrinkage
    return largest(sp.csr_matrix(sp.diags_array(1 / np.maximum(sums, 1e-12)) @ total), neighbours)
