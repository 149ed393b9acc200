"""Business rules for lists: what may be in them, how many of a kind, and how unlike each other items are to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import ITEM_ATTRIBUTES, decomposed, features, tokens, with_price_bands
from persona_pipelines.settings.recommendations import RulesSettings

COMPONENTS = 64
USERS_AT_ONCE = 2048


@dataclass(frozen=True)
class ItemFacts:
    """What rules have to know of the items of a model, in its order.

    Attributes:
        blocked: shape (items,), True for items that nobody is to get.
        repurchasable: shape (items,), True for items that stay in the lists of those who own them.
        category: shape (items,), names; empty where unknown.
        vectors: shape (items, d), unit rows or zeros: categories, brand and price band.
    """

    blocked: np.ndarray
    repurchasable: np.ndarray
    category: np.ndarray
    vectors: np.ndarray

    def part(self, places: np.ndarray) -> ItemFacts:
        """The facts of some items; one at place -1 is not among these, and nobody is to get it."""
        return ItemFacts(self.blocked[places] | (places < 0), self.repurchasable[places], self.category[places], self.vectors[places])


def item_facts(ids: np.ndarray, items: pd.DataFrame, rules: RulesSettings) -> ItemFacts:
    """Facts of the items ``ids`` from ``contracts.ITEMS``."""
    found = items.set_index("item_id").reindex(ids)
    category = np.array([value if isinstance(value, str) else "" for value in found["category"]], dtype=object)
    out_of_stock = np.array([value is False or value == False for value in found["in_stock"]], dtype=bool)  # noqa: E712 - null is neither
    gone = ~np.isin(ids, items["item_id"].to_numpy(dtype=object))  # since the model was trained
    blocked = gone | out_of_stock if rules.only_in_stock else gone
    return ItemFacts(blocked, np.isin(category, rules.repurchase_categories), category, _vectors(ids, items, rules))


def _vectors(ids: np.ndarray, items: pd.DataFrame, rules: RulesSettings) -> np.ndarray:
    """Of a catalogue without any of the attributes every item is unlike every other; without diversity nobody looks."""
    from sklearn.preprocessing import normalize

    if not rules.diversity:
        return np.zeros((len(ids), 0))
    matrix = features(tokens(with_price_bands(items, ids), "item_id", ids, ITEM_ATTRIBUTES)).matrix
    if not matrix.shape[1]:
        return np.zeros((len(ids), 1))
    if min(matrix.shape) <= COMPONENTS:
        return normalize(matrix).toarray()
    return normalize(decomposed(matrix, COMPONENTS, 0)[0])


def owned(seen: sp.csr_matrix, facts: ItemFacts, exclude_seen: bool) -> sp.csr_matrix | None:
    """What is left out of each user's list, shape of ``seen``: what they have had to do with, but for what is bought again; None for nothing."""
    if not exclude_seen:
        return None
    coo = seen.tocoo()
    kept = ~facts.repurchasable[coo.col]
    return sp.csr_matrix((np.ones(kept.sum(), dtype=np.float32), (coo.row[kept], coo.col[kept])), shape=seen.shape)


def rerank(best: np.ndarray, scores: np.ndarray, k: int, facts: ItemFacts, rules: RulesSettings) -> tuple[np.ndarray, np.ndarray]:
    """Choose ``k`` of the candidates, one after the other.

    Maximal marginal relevance (Carbonell and Goldstein 1998): each place goes to the candidate with the highest
    (1 - diversity) * score - diversity * largest similarity to those chosen before, the scores scaled to 0..1 in each list;
    candidates whose category is full are passed over.

    Args:
        best, scores: shape (users, candidates), best first, -1 for an empty place.
    Returns:
        Item positions and scores of shape (users, up to k); the list is shorter where the rules leave nothing.
    """
    capped = rules.maximum_per_category is not None or bool(rules.category_caps)
    if not capped and not rules.diversity:
        return best[:, :k], scores[:, :k]
    parts = [
        _reranked(best[start : start + USERS_AT_ONCE], scores[start : start + USERS_AT_ONCE], k, facts, rules)
        for start in range(0, len(best), USERS_AT_ONCE)
    ]
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _reranked(best: np.ndarray, scores: np.ndarray, k: int, facts: ItemFacts, rules: RulesSettings) -> tuple[np.ndarray, np.ndarray]:
    users, candidates = best.shape
    k = min(k, candidates)
    names, code = np.unique(facts.category, return_inverse=True)
    general = np.inf if rules.maximum_per_category is None else rules.maximum_per_category
    # Items without a category are no category: only a cap by name holds for them.
    caps = np.array([rules.category_caps.get(name, general if name else np.inf) for name in names], dtype=float)
    open_, safe = best >= 0, np.maximum(best, 0)
    finite = np.where(open_, scores, np.nan)
    low, high = (
        np.nan_to_num(edge(np.where(open_, scores, fill), axis=1, keepdims=True)) for edge, fill in ((np.min, np.inf), (np.max, -np.inf))
    )
    scaled = np.nan_to_num((finite - low) / np.maximum(high - low, 1e-12))
    closest = np.zeros((users, candidates))
    counts = np.zeros((users, len(names)))
    chosen, value = np.full((users, k), -1, dtype=np.int64), np.full((users, k), -np.inf, dtype=np.float32)
    everyone = np.arange(users)
    vectors = facts.vectors[safe]
    kinds = code[safe]
    for place in range(k):
        allowed = open_ & (np.take_along_axis(counts, kinds, axis=1) < caps[kinds])
        merit = np.where(allowed, (1 - rules.diversity) * scaled - rules.diversity * closest, -np.inf)
        pick = merit.argmax(axis=1)
        some = np.isfinite(merit[everyone, pick])
        chosen[:, place] = np.where(some, best[everyone, pick], -1)
        value[:, place] = np.where(some, scores[everyone, pick], -np.inf)
        open_[everyone, pick] = False
        counts[everyone[some], kinds[everyone, pick][some]] += 1
        if rules.diversity:
            closest = np.maximum(closest, np.einsum("ncd,nd->nc", vectors, vectors[everyone, pick]))
    return chosen, value
