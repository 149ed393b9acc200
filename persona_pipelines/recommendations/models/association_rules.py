"""Association rules: who has these in the basket often has that one too."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Audience, Interactions, binary
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.settings.recommendations import AssociationRulesSettings


class RulesModel(LearnedModel):
    """State: ``antecedents`` of shape (items, rules), 1 for each item of the left side; ``consequents`` of shape (rules, items),
    the rule's confidence at the item on its right side.

    An item's score is the sum of the confidences of the rules that lead to it and whose left side stands in the history.
    """

    kind = "rules"

    def answers(self, audience: Audience) -> np.ndarray:
        return np.diff(self._fired(audience).indptr) > 0

    def _fired(self, audience: Audience) -> sp.csr_matrix:
        met = sp.csr_matrix(binary(audience.history) @ self.state["antecedents"])
        needed = np.bincount(self.state["antecedents"].tocoo().col, minlength=self.state["antecedents"].shape[1])
        met.data = (met.data >= needed[met.indices]).astype(np.float32)
        met.eliminate_zeros()
        return met

    def scores(self, audience: Audience) -> np.ndarray:
        return np.asarray((self._fired(audience) @ self.state["consequents"]).toarray(), dtype=np.float32)


class AssociationRules:
    """Rules of frequent pairs, or of longer sets by FP-growth (Han, Pei, Yin 2000), with support, confidence and lift (Agrawal et al. 1993; Brin et al. 1997).

    Cost: grows steeply with the frequent items and falling support; ``maximum_items`` bounds the first.
    """

    def __init__(self, settings: AssociationRulesSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name

    def fit(self, interactions: Interactions) -> RulesModel:
        found = rules(interactions.baskets, self.settings)
        if found.empty:
            raise ModelError(
                f"no rule of {interactions.baskets.shape[0]:,} baskets has support {self.settings.minimum_support} and confidence "
                f"{self.settings.minimum_confidence}; lower them"
            )
        size, count = len(interactions.items), len(found)
        lengths = found["antecedent"].map(len).to_numpy()
        left = np.concatenate([np.asarray(items, dtype=np.int64) for items in found["antecedent"]])
        antecedents = sp.csr_matrix((np.ones(len(left), dtype=np.float32), (left, np.repeat(np.arange(count), lengths))), (size, count))
        right = (np.arange(count), found["consequent"].to_numpy())
        consequents = sp.csr_matrix((found["confidence"].to_numpy(dtype=np.float32), right), (count, size))
        return RulesModel(self.name, interactions.users, interactions.items, interactions.digest,
                          {"antecedents": antecedents, "consequents": consequents})  # fmt: skip


def rules(baskets: sp.csr_matrix, settings: AssociationRulesSettings) -> pd.DataFrame:
    """Rules with one item on the right: ``antecedent`` (tuple of item positions), ``consequent``, ``baskets`` with both sides,
    ``support``, ``confidence``, ``lift``; ordered by confidence, then lift.

    support = baskets with both sides / all baskets; confidence = support / support of the left side; lift = confidence /
    support of the right side. An item that no basket holds is in no rule.
    """
    columns = ["antecedent", "consequent", "baskets", "support", "confidence", "lift"]
    count = baskets.shape[0]
    if not count:
        return pd.DataFrame(columns=columns)
    sets = itemsets(baskets, settings)
    rows = []
    for items, support in sets.items():
        if len(items) < 2:
            continue
        for consequent in items:
            antecedent = items - {consequent}
            confidence = support / sets[antecedent]
            lift = confidence / sets[frozenset([consequent])]
            if confidence >= settings.minimum_confidence and lift >= settings.minimum_lift:
                rows.append((tuple(sorted(antecedent)), consequent, round(support * count), support, confidence, lift))
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values(["confidence", "lift", "antecedent", "consequent"], ascending=[False, False, True, True], ignore_index=True)


def itemsets(baskets: sp.csr_matrix, settings: AssociationRulesSettings) -> dict[frozenset[int], float]:
    """Frequent sets of item positions with their support.

    Where more than ``maximum_pairs`` pairs of the ``maximum_items`` most frequent items are frequent, the support is raised
    until they are not: otherwise large baskets, such as all films that a user has rated, take hours.
    """
    count = baskets.shape[0]
    frequency = np.bincount(baskets.indices, minlength=baskets.shape[1]) / count
    frequent = np.flatnonzero(frequency >= settings.minimum_support)
    frequent = np.sort(frequent[np.argsort(-frequency[frequent], kind="stable")[: settings.maximum_items]])
    if not len(frequent):
        return {}
    chosen = sp.csr_matrix(baskets[:, frequent], dtype=np.float64)
    together = sp.coo_matrix(sp.triu(chosen.T @ chosen, k=1))
    support = settings.minimum_support
    if (together.data >= support * count).sum() > settings.maximum_pairs:
        support = (np.sort(together.data)[-settings.maximum_pairs] + 0.5) / count
    if settings.maximum_length > 2:
        return _longer(chosen, frequent, support, settings.maximum_length)
    kept = together.data >= support * count
    alone = {frozenset([int(item)]): float(frequency[item]) for item in frequent[frequency[frequent] >= support]}
    places = zip(frequent[together.row[kept]], frequent[together.col[kept]], together.data[kept] / count, strict=True)
    return alone | {frozenset([int(one), int(other)]): float(share) for one, other, share in places}


def _longer(chosen: sp.csr_matrix, frequent: np.ndarray, support: float, longest: int) -> dict[frozenset[int], float]:
    """Sets of any length, by FP-growth; counting pairs alone takes it a hundred times as long as their product."""
    with warnings.catch_warnings():
        # Its import turns every deprecation warning of every library on.
        from mlxtend.frequent_patterns import fpgrowth

    table = pd.DataFrame.sparse.from_spmatrix(sp.csr_matrix(chosen, dtype=bool), columns=[str(number) for number in frequent])
    found = fpgrowth(table, min_support=support, use_colnames=False, max_len=longest)
    return {
        frozenset(int(frequent[number]) for number in items): float(share)
        for items, share in zip(found["itemsets"], found["support"], strict=True)
    }
