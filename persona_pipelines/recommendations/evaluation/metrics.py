"""Ranking metrics at k, over all users at once; rating errors; what lists are like as a whole.

Each user has a list of k recommended items and the set of the items of the test; relevance is 0 or 1. A mean over users
weighs every user the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, decomposed

VECTOR_COMPONENTS = 32


@dataclass(frozen=True)
class Catalogue:
    """What the metrics have to know of the items, all from the training alone.

    Attributes:
        information: shape (items,), -log2 of the share of users who turned to the item; of a new item as if one user had.
        vectors: shape (items, d), unit rows (or zeros), whose products are the similarity of items.
    """

    information: np.ndarray
    vectors: sp.csr_matrix | np.ndarray

    @classmethod
    def of(cls, interactions: Interactions, seed: int = 0) -> Catalogue:
        share = np.maximum(interactions.item_users(), 1) / max(len(interactions.users), 1)
        return cls(-np.log2(share), item_vectors(interactions, seed))


def item_vectors(interactions: Interactions, seed: int = 0) -> sp.csr_matrix | np.ndarray:
    """Unit vectors of items: their categories, brand and price band; without these, a decomposition of who turned to them."""
    from sklearn.preprocessing import normalize

    if interactions.item_features.names:
        return normalize(interactions.item_features.matrix)
    components = min(VECTOR_COMPONENTS, *(size - 1 for size in interactions.weights.shape))
    if components < 1:
        return np.zeros((len(interactions.items), 1))
    return normalize(decomposed(sp.csr_matrix(interactions.weights.T), components, seed)[0])


@dataclass(frozen=True)
class Scores:
    """``by_user``: arrays of shape (users,) by the name of their metric; ``lists``: the lists themselves."""

    by_user: dict[str, np.ndarray]
    lists: np.ndarray
    items: int

    def __len__(self) -> int:
        return len(self.lists)

    def of(self, wanted: np.ndarray) -> Scores:
        """The scores of some users."""
        return Scores({name: values[wanted] for name, values in self.by_user.items()}, self.lists[wanted], self.items)

    def means(self) -> dict[str, float]:
        """Every metric by its column's name in ``contracts.MODEL_COMPARISON``; nan without users.

        coverage: the share of the catalogue that stands in any list. gini: of how often the items are recommended, 0 where
        all are equally often, near 1 where a few have all places.
        """
        # Of an empty list there is no novelty, of a single item no diversity: such users say nothing of these two.
        told = {name: values[np.isfinite(values)] for name, values in self.by_user.items()}
        found = {name: float(values.mean()) if len(values) else float("nan") for name, values in told.items()}
        places = self.lists[self.lists >= 0]
        return found | {"coverage": len(np.unique(places)) / self.items if self.items else 0.0, "gini": gini(places, self.items)}


def gini(places: np.ndarray, items: int) -> float:
    """Gini coefficient of the number of recommendations over all items; 0 where there are none."""
    if not len(places):
        return 0.0
    counts = np.sort(np.bincount(places, minlength=items)).astype(float)
    return float(((2 * np.arange(1, items + 1) - items - 1) * counts).sum() / (items * counts.sum()))


def ndcg(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """nDCG at ``k`` of each list (Jarvelin, Kekalainen 2002), shape (users,); nan of a user with nothing to find.

    Args:
        hits: shape (users, places up to k): whether the item in each place is relevant.
        relevant: shape (users,), how many items there are to be found.
    """
    gains = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(gains)])[np.minimum(relevant, k).astype(int)]
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = (hits * gains[: hits.shape[1]]).sum(axis=1) / ideal
    return found


def score(recommended: np.ndarray, test: sp.csr_matrix, k: int, catalogue: Catalogue) -> Scores:
    """Judge lists.

    Args:
        recommended: item positions of shape (users, places), best first, -1 for an empty place. Places beyond k do not count, and an
            item that a list has twice is an empty place the second time.
        test: shape (users, items), an entry for each item of the test; every row has at least one. It may have more columns
            than the catalogue, for items that could not be recommended.
        k: the list's nominal length: an empty place counts as a miss.

    With hits h_1 .. h_k of 0 or 1 and n items in the user's test:
        nDCG: sum of h_r / log2(r + 1), over that of an ideal list with min(k, n) hits at the top (Jarvelin, Kekalainen 2002).
        recall: hits / n. precision: hits / k. hit rate: 1 where there is any hit. MRR: 1 / rank of the first hit, else 0.
        MAP: sum over hits of the precision at their rank, over n (as trec_eval has it; some divide by min(k, n)).
        novelty: mean -log2 of the share of users who had turned to the item (Zhou et al. 2010).
        diversity: mean of 1 - cosine over pairs of the list, by ``Catalogue.vectors`` (Ziegler et al. 2005); nan for lists
            of fewer than two.
    """
    recommended = _without_repeats(recommended[:, :k])
    users, length = recommended.shape
    test = sp.csr_matrix(test)
    test.sum_duplicates()
    test.sort_indices()
    filled = recommended >= 0
    # Row and column as one number, sorted by construction: a search finds the hits of all users at once.
    keys = np.repeat(np.arange(users, dtype=np.int64), np.diff(test.indptr)) * test.shape[1] + test.indices
    wanted = np.arange(users, dtype=np.int64)[:, None] * test.shape[1] + np.maximum(recommended, 0)
    place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    hits = (filled & (keys[place] == wanted)).astype(float) if len(keys) else np.zeros((users, length))
    relevant = np.diff(test.indptr).astype(float)
    ranks = np.arange(1, length + 1)
    precision_at_rank = np.cumsum(hits, axis=1) / ranks
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.inf) if length else np.full(users, np.inf)
    size = filled.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        by_user = {
            "ndcg_at_k": np.nan_to_num(ndcg(hits, relevant, k)),
            "recall_at_k": np.nan_to_num(hits.sum(axis=1) / relevant),
            "precision_at_k": hits.sum(axis=1) / k,
            "map_at_k": np.nan_to_num((hits * precision_at_rank).sum(axis=1) / relevant),
            "mrr_at_k": 1.0 / first,
            "hit_rate_at_k": hits.any(axis=1).astype(float),
            "novelty": np.where(filled, catalogue.information[np.maximum(recommended, 0)], 0.0).sum(axis=1) / size,
            "diversity": _diversity(recommended, filled, catalogue.vectors),
        }
    return Scores(by_user, recommended, len(catalogue.information))


def _without_repeats(recommended: np.ndarray) -> np.ndarray:
    """The lists with -1 where an item stands once more."""
    order = np.argsort(recommended, axis=1, kind="stable")
    ordered = np.take_along_axis(recommended, order, axis=1)
    again = np.zeros(recommended.shape, dtype=bool)
    np.put_along_axis(again, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return np.where(again, -1, recommended)


def _diversity(recommended: np.ndarray, filled: np.ndarray, vectors: Any) -> np.ndarray:
    """The sum of all pairs' products is the squared length of the list's sum, less those of each with itself."""
    size = filled.sum(axis=1)
    row = np.repeat(np.arange(len(recommended)), size)
    lists = sp.csr_matrix((np.ones(size.sum()), (row, recommended[filled])), shape=(len(recommended), vectors.shape[0]))
    total = lists @ vectors
    squares = total.multiply(total) if sp.issparse(total) else total**2
    lengths = vectors.multiply(vectors) if sp.issparse(vectors) else vectors**2
    own = lists @ np.asarray(lengths.sum(axis=1)).ravel()
    pairs = size * (size - 1.0)
    return np.where(pairs > 0, 1.0 - (np.asarray(squares.sum(axis=1)).ravel() - own) / np.maximum(pairs, 1), np.nan)


def rating_errors(predicted: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Root mean squared error and mean absolute error, in the unit of the ratings; nan without ratings."""
    if not len(actual):
        return {"rmse": float("nan"), "mae": float("nan")}
    wrong = predicted - actual
    return {"rmse": float(np.sqrt((wrong**2).mean())), "mae": float(np.abs(wrong).mean())}
