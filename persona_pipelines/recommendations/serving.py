"""The champion's lists for users."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import USER_ATTRIBUTES, positions, tokens
from persona_pipelines.recommendations.evaluation.comparison import NEW_USER, WARM
from persona_pipelines.recommendations.models.factors import FactorModel, listed
from persona_pipelines.settings import Settings
from persona_pipelines.tracking.experiments import champion
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


def recommended(model: FactorModel, users: pd.DataFrame, seen: pd.DataFrame, k: int, exclude_seen: bool) -> pd.DataFrame:
    """``user_id``, ``rank``, ``item_id``, ``score``, ``case`` ; the case tells whether the user has any interaction.

    Args:
        users: ``user_id`` and attributes (``contracts.USERS``).
        seen: ``user_id``, ``item_id`` of all interactions, left out of the lists where ``exclude_seen``.
    """
    ids = users["user_id"].to_numpy(dtype=object)
    factors, _ = model.factors_of(ids, tokens(users, "user_id", ids, USER_ATTRIBUTES))
    exclude = None
    if exclude_seen:
        order = np.sort(ids)
        row, column = positions(order, seen["user_id"].to_numpy()), positions(model.items, seen["item_id"].to_numpy())
        known = (row >= 0) & (column >= 0)
        matrix = sp.csr_matrix((np.ones(known.sum()), (row[known], column[known])), shape=(len(ids), len(model.items)))
        exclude = matrix[positions(order, ids)]
    best, scores = model.top(factors, k, exclude)
    lists = listed(model, ids, best, scores)
    known = lists["user_id"].isin(seen["user_id"])
    return lists.assign(case=np.where(known, WARM, NEW_USER))


class ConsentError(Exception):
    """The user has not consented to recommendations."""


def list_for_user(warehouse: Warehouse, settings: Settings, user_id: str, k: int) -> pd.DataFrame:
    """One user's list with titles: the stored one where it is long enough, else made by the champion.

    Args:
        user_id: pseudonym; one never seen is a new user.
    Raises:
        ConsentError: the user is known and has not consented.
        tracking.experiments.ModelNotFoundError: nothing has been trained yet.
    """
    users = warehouse.table(contracts.USERS)
    found = warehouse.frame(users.filter(users.user_id == user_id))
    if len(found) and not found["consent_personalisation"].iloc[0]:
        raise ConsentError("{user} has not consented to recommendations (consent_personalisation of the customer list)")
    stored = warehouse.table(contracts.RECOMMENDATIONS)
    lists = warehouse.frame(stored.filter(stored.user_id == user_id).order_by("rank").limit(k))
    if len(lists) < k:
        registered = champion(settings, "recommendations")
        model = FactorModel.load(registered.folder)
        interactions = warehouse.table(contracts.INTERACTIONS)
        seen = warehouse.frame(interactions.filter(interactions.user_id == user_id).select("user_id", "item_id"))
        if found.empty:
            found = pd.DataFrame({"user_id": [user_id]})
        lists = recommended(model, found, seen, k, settings.recommendations.exclude_seen)
        lists = lists.assign(model=model.name, model_version=registered.version)
    items = warehouse.table(contracts.ITEMS)
    titles = warehouse.frame(items.filter(items.item_id.isin(lists["item_id"].tolist() or [""])).select("item_id", "title", "category"))
    return lists.merge(titles, on="item_id", how="left")
