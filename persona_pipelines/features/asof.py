"""Features as they were known at the end of any day."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import ibis.expr.types as ir
import pandas as pd

from persona_pipelines.events.ordering import in_order
from persona_pipelines.features.attention import category_shares
from persona_pipelines.features.support import Support, stored_support
from persona_pipelines.features.users import known_until, user_features
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


@dataclass(frozen=True)
class Features:
    """What could be known of users at the end of a day.

    Attributes:
        users: ``contracts.USER_FEATURES`` in the order of users (``events.ordering.in_order``).
        shares: ``user_id``, ``category``, ``interest_share``, in the same order.
        newest: the newest event of all that both were made from, as found in them; None without any.
    """

    users: pd.DataFrame
    shares: pd.DataFrame
    newest: dt.datetime | None


def tables_as_of(warehouse: Warehouse, known: ir.Table, timezone: str, support: Support) -> tuple[ir.Table, ir.Table]:
    """Category shares and features of users as of the end of a day, as expressions. Call inside ``Warehouse.scratch``.

    Args:
        known: the events until then (``users.known_until``).
        support: what the log holds for features.
    """
    items = warehouse.table(contracts.ITEMS)
    shares = warehouse.keep("known_shares", warehouse.once(category_shares, known, items, interest=support.log.interest))
    return shares, warehouse.once(user_features, known, items, shares, timezone=timezone, support=support)


def features_as_of(warehouse: Warehouse, day: dt.date, timezone: str) -> Features:
    """Features as of the end of a day; no later event reaches them."""
    with warehouse.scratch():
        known = warehouse.keep("known_events", known_until(warehouse.table(contracts.EVENTS), day))
        shares, features = tables_as_of(warehouse, known, timezone, stored_support(warehouse))
        users = in_order(warehouse, features)
        shown = in_order(warehouse, shares.select("user_id", "category", "interest_share"), "category")
        newest = warehouse.value(known.timestamp.max())
    return Features(users, shown, newest)
