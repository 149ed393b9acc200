"""What goes with an item: items that the same users turn to, items that are in the same basket."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, binary
from persona_pipelines.recommendations.models.learned import best_of
from persona_pipelines.recommendations.models.similarity import BLOCK_NUMBERS, nearest

SHRINKAGE = 5.0
MINIMUM_BASKETS = 3


def similar_items(interactions: Interactions, count: int) -> pd.DataFrame:
    """``item_id``, ``rank``, ``similar_item_id``, ``similarity``, ``common_users``: up to ``count`` rows an item."""
    turned = sp.csr_matrix(binary(interactions.weights).T)
    found = nearest(turned, "cosine", count, SHRINKAGE).tocoo()
    # Common users of the listed pairs only.
    common = np.asarray(turned[found.row].multiply(turned[found.col]).sum(axis=1)).ravel().astype(int)
    frame = pd.DataFrame({"item": found.row, "other": found.col, "similarity": found.data.astype(float).round(6), "common_users": common})
    frame = frame.sort_values(["item", "similarity", "other"], ascending=[True, False, True], ignore_index=True)
    return _named(frame, interactions.items, "similar_item_id")


def bought_together(interactions: Interactions, count: int) -> pd.DataFrame:
    """``item_id``, ``rank``, ``other_item_id``, ``baskets``, ``support``, ``confidence``, ``lift``: up to ``count`` rows an item.

    Pairs that at least ``MINIMUM_BASKETS`` baskets hold, more often than by chance; counted in blocks of items.
    """
    held = binary(interactions.baskets)
    sizes, total = np.bincount(held.indices, minlength=held.shape[1]).astype(float), held.shape[0]
    by_item = sp.csr_matrix(held.T)
    step = max(1, BLOCK_NUMBERS // max(held.shape[1], 1))
    parts = []
    for start in range(0, held.shape[1], step):
        together = (by_item[start : start + step] @ held).toarray().astype(float)
        rows = np.arange(len(together))
        together[rows, start + rows] = 0
        mine = np.maximum(sizes[start : start + step], 1)[:, None]
        usual = (together >= MINIMUM_BASKETS) & (together * total > mine * sizes[None, :])
        confidence = np.where(usual, together / mine, -np.inf).astype(np.float32)
        best, value = best_of(confidence, min(count, held.shape[1]))
        row, place = np.nonzero((best >= 0) & np.isfinite(value))
        other = best[row, place]
        parts.append(pd.DataFrame({"item": start + row, "other": other, "baskets": together[row, other].astype(int)}))
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["item", "other", "baskets"], dtype=int)
    mine, theirs = sizes[frame["item"].to_numpy(dtype=int)], sizes[frame["other"].to_numpy(dtype=int)]
    frame = frame.assign(support=frame["baskets"] / max(total, 1), confidence=frame["baskets"] / mine)
    frame = frame.assign(lift=frame["confidence"] * total / theirs)
    frame = frame.sort_values(["item", "confidence", "lift", "other"], ascending=[True, False, False, True], ignore_index=True)
    return _named(frame, interactions.items, "other_item_id")


def _named(frame: pd.DataFrame, items: np.ndarray, other: str) -> pd.DataFrame:
    named = frame.assign(item_id=items[frame["item"].to_numpy(dtype=int)], rank=frame.groupby("item").cumcount() + 1)
    named[other] = items[frame["other"].to_numpy(dtype=int)]
    return named.drop(columns=["item", "other"])
