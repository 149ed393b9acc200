"""What people did who were shown lists: one row a person, from the first list on, whether or not anything came of it (intention to treat)."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import pandas as pd

from persona_pipelines.features.exact import exact_sum
from persona_pipelines.serving.experiments import Experiment
from persona_pipelines.serving.outcomes import of_moments, outcomes, seen
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse.connection import Warehouse

TOTALS = ("lists", "clicks", "conversions", "list_revenue", "bought", "revenue")
"""Numbers of one person: lists; of them those with a click and with a purchase; what was paid for their items; whether the person bought anything from the first list on
(0 or 1), and what was paid for it."""


@dataclass(frozen=True)
class Exposed:
    """People who were shown lists.

    Attributes:
        totals: one row a person: ``variant`` (null outside of experiments) and ``TOTALS``; of people who saw one variant only.
        in_several: people who were shown lists of more than one variant, who are left out.
        until: the newest event of all, UTC; None without any.
    """

    totals: pd.DataFrame
    in_several: int
    until: dt.datetime | None


def exposed(warehouse: Warehouse, hours: float, first: dt.datetime, end: dt.datetime, experiment: Experiment | None = None) -> Exposed:
    """People with their totals from their first list of ``first`` to ``end`` on; what they did later than that does not count.

    Args:
        warehouse: with ``contracts.SERVED_LISTS``, ``EVENTS``, ``CLOCKS`` and ``USERS``.
        hours: ``serving.outcome_hours``.
        experiment: lists of this one alone; None for all.
    """
    shown, events = seen(warehouse), of_moments(warehouse)
    shown = shown.filter((shown.served_at >= first) & (shown.served_at < end))
    until = events.filter(events.timestamp < end)
    rows = shown.inner_join(outcomes(shown, until, hours).drop("day"), ["list_id", "position"])
    if experiment is None:
        rows = rows.mutate(variant=ibis.null("string"))
    else:
        rows = rows.filter((rows.experiment == experiment.name) & rows.variant.notnull())
    lists = rows.group_by("list_id", "person", "is_device", "variant", "served_at").aggregate(
        clicks=rows.clicked.any().cast("int64"), conversions=rows.converted.any().cast("int64"), revenue=exact_sum(rows.revenue)
    )
    people = lists.group_by("person", "is_device").aggregate(
        variants=lists.variant.nunique(),
        variant=lists.variant.min(),
        first_list=lists.served_at.min(),
        lists=lists.count(),
        clicks=lists.clicks.sum(),
        conversions=lists.conversions.sum(),
        list_revenue=exact_sum(lists.revenue),
    )
    joined = people.left_join(_bought(people, until), ["person", "is_device"]).drop("person_right", "is_device_right")
    joined = joined.mutate(bought=joined.bought.fill_null(0), revenue=joined.revenue.fill_null(0.0))
    # People of one moment whose numbers are alike are alike: sums over them do not depend on their pseudonyms.
    frame = warehouse.frame(joined.order_by("first_list", *TOTALS))
    several = frame["variants"] > 1
    totals = frame.loc[~several, ["variant", *TOTALS]].reset_index(drop=True)
    return Exposed(totals, int(several.sum()), warehouse.value(events.timestamp.max()))


def _bought(people: ir.Table, events: ir.Table) -> ir.Table:
    """What people paid from their first list on."""
    paid = events.filter(events.event_type.isin(SPENDING_TYPES))
    parts = []
    for who, is_device in ((paid.user_id, False), (paid.anonymous_id, True)):
        known = people.filter(people.is_device == is_device).select("person", "is_device", "first_list")
        joined = paid.mutate(person=who).filter(who.notnull()).select("person", "timestamp", "value").inner_join(known, "person")
        parts.append(joined.filter(joined.timestamp >= joined.first_list).select("person", "is_device", "value"))
    both = ibis.union(*parts)
    return both.group_by("person", "is_device").aggregate(bought=both.count().clip(upper=1), revenue=exact_sum(both.value).fill_null(0.0))
