"""One row an item, and how much each user cares for each item."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from persona_pipelines.features.attention import price_ranks
from persona_pipelines.features.exact import exact_mean, exact_sum
from persona_pipelines.features.users import known_until
from persona_pipelines.vocabulary import REPAYMENT_TYPES, SPENDING_TYPES

MOST_HALVINGS = 20.0
SMALLEST_WEIGHT = 1e-9
WEIGHT_UNITS = 10**12
"""Sums of weights are exact to this part: what has been halved twenty times is not rounded away."""


def item_features(events: ir.Table, items: ir.Table, as_of: dt.date) -> ir.Table:
    """``contracts.ITEM_FEATURES`` as of the end of a day, for all items of the catalogue.

    Args:
        events: cleaned events, anonymous ones too; later ones than the as-of date are ignored.
    """
    end = dt.datetime.combine(as_of + dt.timedelta(days=1), dt.time())
    known = events.filter(events.item_id.notnull() & (events.timestamp < end))
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
        first_date=known.timestamp.date().min(),
        last_date=known.timestamp.date().max(),
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


def interactions(events: ir.Table, weights: Mapping[str, float], half_life_days: float, end: dt.datetime) -> ir.Table:
    """How much each user cares for each item: ``user_id``, ``item_id``, ``weight``, ``last_time``, ``events``, ``rating``.

    The weight of a pair is the sum over its events before ``end`` of weight(event type) * 2 ** (-age / half-life), the
    age in days before ``end``. Time makes an event count for less, down to a millionth, and never for nothing: a pair with an event
    of positive weight is in the result, whatever its age, with ``SMALLEST_WEIGHT`` at least.
    ``rating`` is the mean value of the pair's ratings, null without any.

    Args:
        events: cleaned events.
        weights: per event type; other types say nothing.
    """
    known = events.filter(
        events.user_id.notnull() & events.item_id.notnull() & (events.timestamp < end) & events.event_type.isin(list(weights))
    )
    weight = ibis.cases(*((known.event_type == name, ibis.literal(float(number))) for name, number in weights.items()), else_=0.0)
    end_seconds = end.replace(tzinfo=dt.UTC).timestamp()
    age_days = (ibis.literal(end_seconds) - known.timestamp.epoch_seconds()) / 86_400.0
    halvings = age_days / half_life_days
    halvings = ibis.ifelse(halvings > MOST_HALVINGS, MOST_HALVINGS, halvings)
    decayed = known.mutate(type_weight=weight, decayed=weight * (ibis.literal(0.5) ** halvings))
    sums = decayed.group_by("user_id", "item_id").aggregate(
        best=decayed.type_weight.max(),
        weight=exact_sum(decayed.decayed, units=WEIGHT_UNITS),
        last_time=decayed.timestamp.max(),
        events=decayed.count(),
        rating=exact_mean(decayed.value, decayed.event_type == "rating"),
    )
    weight = ibis.ifelse(sums.weight > SMALLEST_WEIGHT, sums.weight, SMALLEST_WEIGHT)
    return sums.mutate(weight=weight).filter(sums.best > 0).drop("best")


def as_of_interactions(events: ir.Table, weights: Mapping[str, float], half_life_days: float, as_of: dt.date) -> ir.Table:
    """``contracts.INTERACTIONS`` as of the end of a day."""
    end = dt.datetime.combine(as_of + dt.timedelta(days=1), dt.time())
    found = interactions(known_until(events, as_of), weights, half_life_days, end)
    return found.mutate(as_of_date=ibis.literal(as_of))
