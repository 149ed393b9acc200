"""One row an item."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir

from persona_pipelines.days import end_of
from persona_pipelines.features.attention import price_ranks
from persona_pipelines.features.exact import exact_mean, exact_sum
from persona_pipelines.features.support import EVERYTHING, Support
from persona_pipelines.vocabulary import REPAYMENT_TYPES, SPENDING_TYPES


def item_features(events: ir.Table, items: ir.Table, as_of: dt.date, support: Support = EVERYTHING) -> ir.Table:
    """``contracts.ITEM_FEATURES`` as of the end of a day, for all items of the catalogue.

    Args:
        events: cleaned events, anonymous ones too; later ones than the as-of date are ignored.
        support: what the log holds; without dates nothing is said of when.
    """
    known = events.filter(events.item_id.notnull() & (events.timestamp < end_of(as_of)))
    spending, repaying = known.event_type.isin(SPENDING_TYPES), known.event_type.isin(REPAYMENT_TYPES)
    who = ibis.coalesce(known.user_id, known.anonymous_id)
    sums = known.group_by("item_id").aggregate(
        events=known.count(),
        users=who.nunique(),
        buyers=who.nunique(where=spending),
        views=known.count(where=known.event_type == "item_view"),
        purchases=known.count(where=spending),
        revenue=exact_sum(known.value, spending).fill_null(0) - exact_sum(known.value, repaying).fill_null(0),
        ratings=known.count(where=known.event_type == "rating"),
        average_rating=exact_mean(known.value, known.event_type == "rating"),
        attention_ms_per_event=known.attention_ms.sum() / known.count(),
        first_date=known.timestamp.date().min(where=support.dated(known)),
        last_date=known.timestamp.date().max(where=support.dated(known)),
    )
    joined = items.select("item_id", "category", "price")
    for other in (price_ranks(items), sums):
        joined = joined.left_join(other, "item_id").drop("item_id_right")
    counts = {name: joined[name].fill_null(0) for name in ("events", "users", "views", "purchases", "ratings")}
    return joined.mutate(
        **counts,
        as_of_date=ibis.literal(as_of),
        purchase_share=joined.buyers / joined.users.nullif(0),
        recency_days=ibis.literal(as_of).delta(joined.last_date, unit="day").cast("int64"),
        age_days=ibis.literal(as_of).delta(joined.first_date, unit="day").cast("int64"),
    )
