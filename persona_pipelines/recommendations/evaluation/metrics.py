"""Ranking metrics at k, over all users at once.

For each user: a list of k recommended items and the set of the items of the test. Relevance is 0 or 1. Definitions as in
Jarvelin and Kekalainen 2002 (nDCG) and as the Microsoft Recommenders' library averages them, so that figures compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp


@dataclass(frozen=True)
class Scores:
    """One number a user for each metric, arrays of shape (users,), and the coverage of the catalogue."""

    ndcg: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    average_precision: np.ndarray
    coverage: float

    def means(self) -> dict[str, float]:
        """The metrics by their column names in ``contracts.MODEL_COMPARISON``; nan without users."""
        if not len(self.ndcg):
            return dict.fromkeys(("ndcg_at_k", "recall_at_k", "precision_at_k", "map_at_k"), float("nan")) | {"coverage": self.coverage}
        return {
            "ndcg_at_k": float(self.ndcg.mean()),
            "recall_at_k": float(self.recall.mean()),
            "precision_at_k": float(self.precision.mean()),
            "map_at_k": float(self.average_precision.mean()),
            "coverage": self.coverage,
        }


def score(recommended: np.ndarray, test: sp.csr_matrix, k: int, catalogue: int) -> Scores:
    """Judge lists.

    Args:
        recommended: item positions of shape (users, up to k), best first, -1 for an empty place.
        test: shape (users, items), an entry for each item of the test; every row has at least one.
        k: the list's nominal length: an empty place counts as a miss.
        catalogue: number of items that could be recommended.

    nDCG is DCG (gain 1 / log2(rank + 1)) over that of an ideal list of min(k, test items); recall is hits over test items;
    precision is hits over k; average precision is the sum over hits of precision at the hit's rank over min(k, test items).
    """
    users, length = recommended.shape
    test = test.tocsr()
    test.sum_duplicates()
    rows = np.repeat(np.arange(users), length)
    places = recommended.ravel()
    hit = np.zeros(users * length, dtype=bool)
    filled = places >= 0
    if filled.any() and test.nnz:
        members = np.asarray(test[rows[filled], places[filled]]).ravel() > 0
        hit[filled] = members
    hits = hit.reshape(users, length).astype(float)
    relevant = np.diff(test.indptr).astype(float)
    gains = 1.0 / np.log2(np.arange(2, max(k, length) + 2))
    ideal = np.concatenate([[0.0], np.cumsum(gains[:k])])[np.minimum(relevant, k).astype(int)]
    cumulative = np.cumsum(hits, axis=1)
    precision_at_rank = cumulative / np.arange(1, length + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Scores(
            ndcg=np.nan_to_num((hits * gains[:length]).sum(axis=1) / ideal),
            recall=np.nan_to_num(hits.sum(axis=1) / relevant),
            precision=hits.sum(axis=1) / k,
            average_precision=np.nan_to_num((hits * precision_at_rank).sum(axis=1) / np.minimum(relevant, k)),
            coverage=len(np.unique(places[filled])) / catalogue if catalogue else 0.0,
        )
