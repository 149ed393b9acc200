"""Association rules: who has these in the basket often has that one too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Audience, Interactions, binary
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.settings.recommendations import AssociationRulesSettings

SETS_AT_ONCE = 1000


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
    """Rules of frequent sets, found level by level (Agrawal and Srikant 1994), with support, confidence and lift (Agrawal et al. 1993; Brin et al. 1997).

    Cost: ``maximum_items`` bounds the items, and ``maximum_pairs`` the pairs, and the sets of each further length, that are looked at.
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
        return RulesModel(
            self.name, interactions.users, interactions.items, interactions.digest, {"antecedents": antecedents, "consequents": consequents}
        )


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
            if antecedent not in sets:
                continue  # left out where too many sets are frequent
            confidence = support / sets[antecedent]
            lift = confidence / sets[frozenset([consequent])]
            if confidence >= settings.minimum_confidence and lift >= settings.minimum_lift:
                rows.append((tuple(sorted(antecedent)), consequent, round(support * count), support, confidence, lift))
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values(["confidence", "lift", "antecedent", "consequent"], ascending=[False, False, True, True], ignore_index=True)


def itemsets(baskets: sp.csr_matrix, settings: AssociationRulesSettings) -> dict[frozenset[int], float]:
    """Frequent sets of item positions with their support, of the ``maximum_items`` most frequent items.

    Of each length the ``maximum_pairs`` most frequent: otherwise large baskets, such as all films that a user has rated, take hours and all memory.
    """
    count = baskets.shape[0]
    frequency = np.bincount(baskets.indices, minlength=baskets.shape[1])
    frequent = np.flatnonzero(frequency >= settings.minimum_support * count)
    frequent = np.sort(frequent[np.argsort(-frequency[frequent], kind="stable")[: settings.maximum_items]])
    chosen = sp.csc_matrix(baskets[:, frequent], dtype=np.float64)
    sets, together = np.arange(len(frequent))[:, None], frequency[frequent].astype(float)
    found: dict[frozenset[int], float] = {}
    for length in range(1, settings.maximum_length + 1):
        found |= {frozenset(items): share for items, share in zip(frequent[sets].tolist(), (together / count).tolist(), strict=True)}
        if length == settings.maximum_length or not len(sets):
            break
        sets, together = _longer(chosen, sets, settings.minimum_support * count, settings.maximum_pairs)
    return found


def _longer(chosen: sp.csc_matrix, sets: np.ndarray, least: float, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The sets with one item more, and how many baskets hold each: at least ``least``, the ``most`` most frequent of them.

    Args:
        sets: positions of items in rising order, of shape (sets, items). An item is added behind them, so that each set comes up once.
    """
    made, counts = np.empty((0, sets.shape[1] + 1), dtype=sets.dtype), np.empty(0)
    for begin in range(0, len(sets), SETS_AT_ONCE):
        part = sets[begin : begin + SETS_AT_ONCE]
        members = chosen[:, part[:, 0]]
        for position in range(1, part.shape[1]):
            members = members.multiply(chosen[:, part[:, position]])
        together = sp.coo_matrix(sp.csc_matrix(members).T @ chosen)
        kept = (together.col > part[together.row, -1]) & (together.data >= least)
        made = np.vstack([made, np.column_stack([part[together.row[kept]], together.col[kept]])])
        counts = np.concatenate([counts, together.data[kept]])
        first = np.lexsort((*made.T[::-1], -counts))[:most]
        made, counts = made[first], counts[first]
    return made, counts
