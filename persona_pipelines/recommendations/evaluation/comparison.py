"""Every model on the same training and the same test, users known in training and new ones apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import USER_ATTRIBUTES, Interactions, positions, tokens
from persona_pipelines.recommendations.evaluation.metrics import Scores, score
from persona_pipelines.recommendations.models import Recommender

WARM, NEW_USER = "warm", "new user"


@dataclass(frozen=True)
class Judged:
    """One model on one case of users."""

    model: str
    case: str
    users: int
    scores: Scores


def compare(
    models: Sequence[Recommender], training: Interactions, test: pd.DataFrame, users: pd.DataFrame, k: int, exclude_seen: bool
) -> list[Judged]:
    """Fit each model on the training and judge its lists against the test.

    Args:
        test: distinct ``user_id``, ``item_id`` after the cut. Items that no one knew before cannot be recommended and stay
            in the test as misses; items that the user has seen before are taken out of it where the lists leave them out.
        users: attributes of users, for those who are new.
    """
    place = positions(training.items, test["item_id"].to_numpy())
    user_place = training.user_positions(test["user_id"].to_numpy())
    if exclude_seen:
        both = (place >= 0) & (user_place >= 0)
        seen = np.zeros(len(test), dtype=bool)
        if both.any():
            seen[both] = np.asarray(training.weights[user_place[both], place[both]]).ravel() > 0
        test, place, user_place = test[~seen], place[~seen], user_place[~seen]
    # Unknown items get columns behind the catalogue: relevant, never recommended.
    unknown = place < 0
    extra = pd.factorize(test["item_id"].to_numpy()[unknown])[0]
    column = place.copy()
    column[unknown] = len(training.items) + extra
    width = len(training.items) + (int(extra.max()) + 1 if len(extra) else 0)
    judged = []
    for model in models:
        fitted = model.fit(training)
        for case, members in ((WARM, user_place >= 0), (NEW_USER, user_place < 0)):
            ids, row = np.unique(test["user_id"].to_numpy()[members].astype(str), return_inverse=True)
            if not len(ids):
                continue
            ids = ids.astype(object)
            relevant = sp.csr_matrix((np.ones(len(row)), (row, column[members])), shape=(len(ids), width))
            factors, _ = fitted.factors_of(ids, tokens(users, "user_id", ids, USER_ATTRIBUTES))
            exclude = training.weights[training.user_positions(ids)] if exclude_seen and case == WARM else None
            best, _ = fitted.top(factors, k, exclude)
            judged.append(Judged(model.name, case, len(ids), score(best, relevant, k, len(training.items))))
    return judged


def chosen_model(judged: Sequence[Judged], challenger: str, baseline: str) -> str:
    """The challenger where it ranks better than the baseline for known users (nDCG), else the baseline."""
    ndcg = {entry.model: entry.scores.means()["ndcg_at_k"] for entry in judged if entry.case == WARM}
    return challenger if ndcg.get(challenger, 0.0) > ndcg.get(baseline, 0.0) else baseline
