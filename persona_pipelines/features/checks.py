"""What has to be true of features before anything is made of them."""

from __future__ import annotations

import ibis.expr.types as ir

from persona_pipelines.findings import Finding
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


def every_user_has_features(warehouse: Warehouse, known: ir.Table) -> Finding:
    """As many rows as users with events.

    Args:
        known: the events that the features were made from.
    """
    expected, found = int(warehouse.value(known.user_id.nunique())), warehouse.rows(contracts.USER_FEATURES)
    words = None if expected == found else f"{expected:,} users have events, {found:,} have features"
    return Finding(expected == found, words, {"users_with_events": expected, "rows": found})
