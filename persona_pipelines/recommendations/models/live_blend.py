"""A list that knows the last click: which items go together, blended with what comes after what."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, binary, places_from_newest, recency_weights
from persona_pipelines.recommendations.models.ease import item_weights
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.recommendations.models.similarity import largest, largest_of_dense, nearest
from persona_pipelines.recommendations.models.transitions import transition_weights
from persona_pipelines.settings.recommendations import LiveBlendSettings

DECAYS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SHARES = (0.0, 0.2, 1 / 3, 0.5, 2 / 3, 0.8, 1.0)
"""Of transitions in the blend."""
LAST_ITEMS = 3
K = 10
USERS_AT_ONCE = 256


@dataclass(frozen=True)
class Choice:
    """What was chosen on the last items of the training: of transitions in the blend, and how fast a click is forgotten."""

    share: float
    decay: float
    ndcg: float


class LiveBlend:
    """One table of weights between items, so small that a list can be made from it at every click.

    The weights are those of EASE (of more items than ``maximum_size``: cosine similarities) and of ``Transitions``, each divided by the
    standard deviation of its entries, added with the ``share`` of transitions; of each item the ``neighbours`` largest are kept. The history
    is weighed by ``decay`` to the power of the place from the newest. Both are chosen on the last ``LAST_ITEMS`` items of each person
    of the training, each in turn to be found from what came before, by weights that were learned without them.

    Cost: twice that of EASE and of transitions; memory of the result items * neighbours.
    """

    def __init__(self, settings: LiveBlendSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name
        self.seed = seed

    def fit(self, interactions: Interactions) -> HistoryModel:
        weights, chosen = self.weights(interactions.age_days)
        state = {"weights": weights, "decay": np.array(chosen.decay), "share": np.array(chosen.share)}
        return HistoryModel(self.name, interactions.users, interactions.items, interactions.digest, state)

    def weights(self, age_days: sp.csr_matrix) -> tuple[sp.csr_matrix, Choice]:
        """The table of weights between items, shape (items, items), and what was chosen for it.

        Args:
            age_days: shape (users, items), days since each did something with the item last.
        Raises:
            ModelError: nobody turned to two items.
        """
        chosen = self.choice(age_days) if age_days.nnz else None
        if chosen is None:
            raise ModelError("nobody turned to two items, so nothing came after anything")
        return self._blended(age_days, chosen.share), chosen

    def choice(self, age_days: sp.csr_matrix) -> Choice | None:
        """The best share and decay; None where nobody has an item to be found from another."""
        earlier, windows = _parted(age_days, self.settings.validation_users, self.seed)
        if not windows:
            return None
        together, after = self._parts(earlier)
        reached = dict.fromkeys(product(SHARES, DECAYS), 0.0)
        for history, target in windows:
            for start in range(0, len(target), USERS_AT_ONCE):
                part = slice(start, start + USERS_AT_ONCE)
                for decay in DECAYS:
                    recent = recency_weights(history[part], decay)
                    first, second = (_dense(recent @ weights) for weights in (together, after))
                    for share in SHARES:
                        scores = (1 - np.float32(share)) * first + np.float32(share) * second
                        reached[share, decay] += _ndcg(scores, target[part], history[part]).sum()
        share, decay = max(reached, key=lambda pair: reached[pair])
        return Choice(share, decay, reached[share, decay] / sum(len(target) for _, target in windows))

    def _parts(self, age_days: sp.csr_matrix) -> tuple[np.ndarray | sp.csr_matrix, sp.csr_matrix]:
        """Weights of what goes together and of what comes after, each of deviation 1 over its entries."""
        options, history = self.settings, binary(age_days)
        if history.shape[1] <= options.maximum_size:
            together: np.ndarray | sp.csr_matrix = item_weights(history, options.regularisation)
        else:
            together = sp.csr_matrix(nearest(sp.csr_matrix(history.T), "cosine", options.neighbours).T)
        after = transition_weights(age_days, options.window, options.distance_decay, options.shrinkage, options.neighbours)
        return _scaled(together), _scaled(after)

    def _blended(self, age_days: sp.csr_matrix, share: float) -> sp.csr_matrix:
        together, after = self._parts(age_days)
        if sp.issparse(together):
            return largest(sp.csr_matrix((1 - share) * together + share * after), self.settings.neighbours)
        together *= np.float32(1 - share)
        for row in range(after.shape[0]):
            part = slice(after.indptr[row], after.indptr[row + 1])
            together[row, after.indices[part]] += np.float32(share) * after.data[part]
        return largest_of_dense(together, self.settings.neighbours)


def _scaled(weights: np.ndarray | sp.csr_matrix) -> np.ndarray | sp.csr_matrix:
    """Divided by the deviation of its entries, zeros among them; as it is where they are all alike."""
    if isinstance(weights, np.ndarray):
        deviation = float(weights.std(dtype=float))
    else:
        count, entries = weights.shape[0] * weights.shape[1], np.asarray(weights.data, dtype=float)
        deviation = float(np.sqrt(max((entries**2).sum() / count - (entries.sum() / count) ** 2, 0.0)))
    if deviation > 0:
        weights /= np.float32(deviation)
    return weights


def _parted(age_days: sp.csr_matrix, users: int, seed: int) -> tuple[sp.csr_matrix, list[tuple[sp.csr_matrix, np.ndarray]]]:
    """What was done before the last items, and for each of these the ages of the history before it with the item that came next.

    A person keeps one item at least. Items of one moment are ordered by the catalogue.
    """
    places = places_from_newest(age_days)
    rows = np.repeat(np.arange(places.shape[0]), np.diff(places.indptr))
    order = np.lexsort((places.indices, places.data, rows))
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order)) - places.indptr[rows[order]]
    length = np.diff(places.indptr)[rows]
    left_out = (rank < LAST_ITEMS) & (rank < length - 1)

    def kept(mask: np.ndarray) -> sp.csr_matrix:
        return sp.csr_matrix((age_days.data[mask], (rows[mask], age_days.indices[mask])), shape=age_days.shape)

    several = np.flatnonzero(np.diff(places.indptr) > 1)
    if len(several) > users:
        several = np.sort(np.random.default_rng(seed).choice(several, users, replace=False))
    windows = []
    for number in range(LAST_ITEMS):
        tested = np.flatnonzero(left_out & (rank == number) & np.isin(rows, several))
        if len(tested):
            windows.append((kept(rank > number)[rows[tested]], age_days.indices[tested]))
    return kept(~left_out), windows


def _dense(scores: np.ndarray | sp.csr_matrix) -> np.ndarray:
    return np.asarray(scores if isinstance(scores, np.ndarray) else scores.toarray(), dtype=np.float32)


def _ndcg(scores: np.ndarray, target: np.ndarray, history: sp.csr_matrix) -> np.ndarray:
    """nDCG at ``K`` of lists in which one item is to be found, shape (n,); what is in the history is in no list. Of equal scores the first item
    comes first."""
    wanted = scores[np.arange(len(target)), target][:, None]
    ahead = (scores > wanted) | ((scores == wanted) & (np.arange(scores.shape[1]) < target[:, None]))
    seen = history.tocoo()
    ahead[seen.row, seen.col] = False
    rank = ahead.sum(axis=1)
    return np.where(rank < K, 1 / np.log2(rank + 2), 0.0)
