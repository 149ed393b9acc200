"""Features as they were known at the end of any day."""

from __future__ import annotations

import datetime as dt

import pandas as pd

from persona_pipelines.features.attention import category_shares
from persona_pipelines.features.users import known_until, user_features
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


def features_as_of(warehouse: Warehouse, day: dt.date, timezone: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``contracts.USER_FEATURES`` in the order of the users' ids, and ``user_id``, ``category``, ``attention_share``; no later event
    reaches either."""
    items = warehouse.table(contracts.ITEMS)
    known = warehouse.keep("known_events", known_until(warehouse.table(contracts.EVENTS), day))
    shares = warehouse.keep("known_shares", category_shares(known, items))
    features = warehouse.frame(user_features(known, items, shares, day, timezone).order_by("user_id"))
    shown = warehouse.frame(shares.select("user_id", "category", "attention_share").order_by("user_id", "category"))
    warehouse.drop_kept("known_events", "known_shares")
    return features, shown
