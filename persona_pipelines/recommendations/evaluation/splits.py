"""Training before, test after: a cut in time that nothing crosses."""

from __future__ import annotations

import datetime as dt

import ibis.expr.types as ir


def time_cut(times: ir.TimestampColumn, test_share: float) -> ir.Scalar:
    """The moment after which about ``test_share`` of the events lie. Events at the moment itself belong to the test."""
    return times.epoch_seconds().quantile(1 - test_share)


def pairs_from(events: ir.Table, weights: dict[str, float], cut: dt.datetime, end: dt.datetime) -> ir.Table:
    """What users turned to from the cut on: distinct ``user_id``, ``item_id`` of events with a weight above 0."""
    positive = [name for name, weight in weights.items() if weight > 0]
    later = events.filter(
        events.user_id.notnull()
        & events.item_id.notnull()
        & (events.timestamp >= cut)
        & (events.timestamp < end)
        & events.event_type.isin(positive)
    )
    return later.select("user_id", "item_id").distinct()
