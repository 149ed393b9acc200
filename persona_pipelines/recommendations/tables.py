"""What lists are made from, as the warehouse has it today."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.features.following import follows
from persona_pipelines.recommendations.data import UNKNOWN_SEGMENT, USER_ATTRIBUTES, Audience, followed, positions, tokens
from persona_pipelines.recommendations.listed import described
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


@dataclass(frozen=True)
class Tables:
    """What lists are made from, as pandas tables.

    Attributes:
        users: ``contracts.USERS`` of those to be answered, one row each.
        interactions: ``user_id``, ``item_id``, ``weight``, ``liked``, ``last_time``.
        items: ``contracts.ITEMS``.
        segments: ``user_id``, ``segment_id``, ``segment_name``.
        similar: ``contracts.SIMILAR_ITEMS``.
        new_items: ids of items that appeared only lately.
        dated: whether the log has dates.
        follows: ``user_id``, ``target_user_id``.
    """

    users: pd.DataFrame
    interactions: pd.DataFrame
    items: pd.DataFrame
    segments: pd.DataFrame
    similar: pd.DataFrame
    new_items: frozenset[str]
    dated: bool
    follows: pd.DataFrame


def read(warehouse: Warehouse, settings: Settings, users: pd.DataFrame) -> Tables:
    """The tables for some users, whose rows of ``contracts.USERS`` are given."""
    rules_days = settings.recommendations.rules.new_days
    features = warehouse.table(contracts.ITEM_FEATURES)
    young = warehouse.frame(features.filter(features.age_days <= rules_days).select("item_id"))
    # Where all items are young the logs have just begun: nothing is new then.
    known = warehouse.value(features.age_days.max())
    return Tables(
        described(warehouse, settings, contracts.USERS, users),
        warehouse.frame(warehouse.table(contracts.INTERACTIONS).select("user_id", "item_id", "weight", "liked", "last_time")),
        described(warehouse, settings, contracts.ITEMS, warehouse.frame(warehouse.table(contracts.ITEMS).order_by("item_id"))),
        warehouse.frame(warehouse.table(contracts.USER_SEGMENTS).select("user_id", "segment_id", "segment_name")),
        warehouse.frame(warehouse.table(contracts.SIMILAR_ITEMS).select("item_id", "similar_item_id", "similarity")),
        frozenset(young["item_id"]) if known is not None and known > rules_days else frozenset(),
        known is not None,
        warehouse.frame(follows(warehouse.table(contracts.EVENTS))),
    )


def without_people(items: np.ndarray) -> Tables:
    """Tables that say of ``items`` that they are there, and nothing else."""
    return Tables(
        pd.DataFrame(columns=["user_id"], dtype=object),
        pd.DataFrame(columns=["user_id", "item_id", "weight", "liked", "last_time"]),
        pd.DataFrame({"item_id": items, "title": None, "category": None, "in_stock": None}),
        pd.DataFrame(columns=["user_id", "segment_id", "segment_name"]),
        pd.DataFrame(columns=["item_id", "similar_item_id", "similarity"]),
        frozenset(),
        False,
        pd.DataFrame(columns=["user_id", "target_user_id"]),
    )


def audience_of(model: LearnedModel, tables: Tables) -> Audience:
    """The users of the tables as the model sees them today."""
    ids = tables.users["user_id"].to_numpy(dtype=object)
    weight = tables.interactions["weight"].to_numpy(dtype=np.float32)
    history = _by_user(model, tables, weight, weight > 0)
    seen = _by_user(model, tables, np.ones(len(weight), dtype=np.float32), np.ones(len(weight), dtype=bool))
    segment = dict(zip(tables.segments["user_id"], tables.segments["segment_id"].astype(int), strict=True))
    return Audience(
        ids,
        positions(model.users, ids),
        history,
        seen,
        tokens(tables.users, "user_id", ids, USER_ATTRIBUTES),
        np.array([segment.get(user, UNKNOWN_SEGMENT) for user in ids], dtype=np.int64),
        followed(tables.follows, ids, model.users),
        _by_user(model, tables, _age_days(tables.interactions), weight > 0),
    )


def liked_items(model: LearnedModel, tables: Tables) -> sp.csr_matrix:
    """Shape (users of the tables, items of the model): what each has turned to and not rated below the own middle."""
    liked = tables.interactions["liked"].to_numpy(dtype=bool) & (tables.interactions["weight"] > 0).to_numpy(dtype=bool)
    return _by_user(model, tables, np.ones(len(liked), dtype=np.float32), liked)


def _age_days(interactions: pd.DataFrame) -> np.ndarray:
    """Days from the last event of each pair to the newest of all, and one more: no pair has an age of 0."""
    moments = pd.to_datetime(interactions["last_time"])
    return ((moments.max() - moments).dt.total_seconds() / 86_400 + 1).to_numpy(dtype=float)


def _by_user(model: LearnedModel, tables: Tables, value: np.ndarray, wanted: np.ndarray) -> sp.csr_matrix:
    """The wanted interactions of the tables as a matrix of shape (users of the tables, items of the model)."""
    ids = tables.users["user_id"].to_numpy(dtype=object)
    place = pd.Index(ids).get_indexer(pd.Index(tables.interactions["user_id"].to_numpy(dtype=object)))
    column = positions(model.items, tables.interactions["item_id"].to_numpy(dtype=object))
    kept = wanted & (place >= 0) & (column >= 0)
    return sp.csr_matrix((value[kept], (place[kept], column[kept])), shape=(len(ids), len(model.items)))
