"""What goes with an item: items that the same users turn to, items that are in the same basket."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, binary
from persona_pipelines.recommendations.models.association_rules import rules
from persona_pipelines.recommendations.models.similarity import nearest
from persona_pipelines.settings.recommendations import AssociationRulesSettings

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

    Pairs that at least ``MINIMUM_BASKETS`` baskets hold, more often than by chance, among the most frequent items.
    """
    baskets = interactions.baskets.shape[0]
    support = min(max(MINIMUM_BASKETS / max(baskets, 1), 1e-5), 0.99)
    found = rules(interactions.baskets, AssociationRulesSettings(minimum_support=support, minimum_confidence=0, maximum_pairs=50_000))
    frame = pd.DataFrame(
        {"item": [antecedent[0] for antecedent in found["antecedent"]], "other": found["consequent"].astype(int),
         **{name: found[name] for name in ("baskets", "support", "confidence", "lift")}}
    )  # fmt: skip
    frame = frame.sort_values(["item", "confidence", "lift", "other"], ascending=[True, False, False, True], ignore_index=True)
    frame = frame[frame.groupby("item").cumcount() < count].reset_index(drop=True)
    return _named(frame, interactions.items, "other_item_id")


def _named(frame: pd.DataFrame, items: np.ndarray, other: str) -> pd.DataFrame:
    named = frame.assign(item_id=items[frame["item"].to_numpy(dtype=int)], rank=frame.groupby("item").cumcount() + 1)
    named[other] = items[frame["other"].to_numpy(dtype=int)]
    return named.drop(columns=["item", "other"])
