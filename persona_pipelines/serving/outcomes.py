"""What came of served lists, and how the lists of each model do.

An event of a person with an item counts for the last list that had shown the person this item before, within ``serving.outcome_hours``, and for no other. What is
known of its day alone counts for no list: nobody can say what it followed.
"""

from __future__ import annotations

from collections.abc import Mapping

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.features.exact import exact_sum
from persona_pipelines.features.support import clock_support
from persona_pipelines.intervals import NORMAL_QUANTILE, rate_bounds, ratio_variance
from persona_pipelines.settings import Settings
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame

CLICK_TYPES = ("click", "item_view", "play")
"""Event types by which a person opens what a list shows."""
CART_TYPES = ("add_to_cart",)
OUTCOME_TYPES = (*CLICK_TYPES, *CART_TYPES, *SPENDING_TYPES)
ALL, NONE = "all", "none"
"""Every list; and where there is no experiment, variant, slot or segment."""
GROUP = ("model", "model_version", "experiment", "variant", "dimension", "value")
SUMS = ("lists", "clicks", "conversions", "revenue")
"""Of one person in one group."""


def of_moments(warehouse: Warehouse) -> ir.Table:
    """The cleaned events whose times are moments."""
    events = warehouse.table(contracts.EVENTS)
    return events.filter(clock_support(warehouse).timed(events))


def seen(warehouse: Warehouse) -> ir.Table:
    """The rows of ``contracts.SERVED_LISTS`` that count: shown to a person who has not said no to being known since."""
    served, users = warehouse.table(contracts.SERVED_LISTS), warehouse.table(contracts.USERS)
    refusing = users.filter(~users.consent_personalisation).select(person="user_id")
    return served.filter(~served.shadow & served.person.notnull()).anti_join(refusing, "person")


def outcomes(shown: ir.Table, events: ir.Table, hours: float) -> ir.Table:
    """``contracts.LIST_OUTCOMES``: a row for each of ``shown``.

    Args:
        shown: as ``seen`` gives it.
        events: as ``of_moments`` gives it.
        hours: ``serving.outcome_hours``.
    """
    counted = _attributed(shown, events, hours)
    clicks, carts, bought = (counted.event_type.isin(types) for types in (CLICK_TYPES, CART_TYPES, SPENDING_TYPES))
    found = counted.group_by("list_id", "position").aggregate(
        first_click_at=counted.timestamp.min(where=clicks),
        first_cart_at=counted.timestamp.min(where=carts),
        first_conversion_at=counted.timestamp.min(where=bought),
        revenue=exact_sum(counted.value, where=bought),
    )
    until = events.aggregate(until=events.timestamp.max())
    joined = shown.select("day", "list_id", "position", "served_at").left_join(found, ["list_id", "position"])
    joined = joined.drop("list_id_right", "position_right").cross_join(until)
    return joined.select(
        "day",
        "list_id",
        "position",
        *(column.name for column in contracts.serving.OUTCOME),
        complete=(_later(joined.served_at, hours) <= joined.until).fill_null(False),
        clicked=joined.first_click_at.notnull(),
        added_to_cart=joined.first_cart_at.notnull(),
        converted=joined.first_conversion_at.notnull(),
        revenue=joined.revenue.fill_null(0.0),
    )


def _later(moment: ir.TimestampValue, hours: float) -> ir.TimestampValue:
    return moment + ibis.interval(seconds=round(hours * 3600))


def _attributed(shown: ir.Table, events: ir.Table, hours: float) -> ir.Table:
    """Events with the row that each counts for: ``list_id``, ``position``, ``event_type``, ``timestamp``, ``value``.

    An event may name a user and a device that have lists of their own: of both the later list has it.
    """
    acts = events.filter(events.event_type.isin(OUTCOME_TYPES) & events.item_id.notnull())
    kinds = ((acts.user_id, ~shown.is_device), (acts.anonymous_id, shown.is_device))
    found = ibis.union(*(_after(acts.mutate(person=who).filter(who.notnull()), shown.filter(mine)) for who, mine in kinds))
    found = found.filter(found.timestamp <= _later(found.served_at, hours))
    last = ibis.window(group_by="event_id", order_by=[found.served_at.desc(), found.list_id, found.position])
    return found.mutate(place=ibis.row_number().over(last)).filter(lambda table: table.place == 0)


def _after(acts: ir.Table, shown: ir.Table) -> ir.Table:
    """Each act with the last row that had shown the person the item, where there is one."""
    same = ibis.window(group_by=["person", "item_id", "served_at"], order_by=["list_id", "position"])
    once = shown.mutate(place=ibis.row_number().over(same)).filter(lambda table: table.place == 0)
    once = once.select("list_id", "position", "served_at", "person", "item_id")
    acts = acts.select("event_id", "event_type", "timestamp", "value", "person", "item_id")
    joined = acts.asof_join(once, on=acts.timestamp >= once.served_at, predicates=["person", "item_id"])
    return joined.filter(joined.list_id.notnull()).select(
        "event_id", "event_type", "timestamp", "value", "list_id", "position", "served_at"
    )


def results(shown: ir.Table, found: ir.Table, segments: ir.Table) -> ir.Table:
    """Sums over people for ``list_results``: of complete rows, by ``GROUP``.

    Args:
        shown: as ``seen`` gives it; ``found``: ``contracts.LIST_OUTCOMES``; ``segments``: ``contracts.USER_SEGMENTS``.
    Returns:
        ``GROUP``, ``people``, the sums ``SUMS``, and of each the sum of squares (``clicks_squares``) and of products with lists (``clicks_products``).
    """
    rows = shown.inner_join(found.filter(found.complete), ["list_id", "position"])
    rows = rows.mutate(experiment=rows.experiment.fill_null(NONE), variant=rows.variant.fill_null(NONE), slot=rows.slot.fill_null(NONE))
    named = segments.select(person="user_id", segment="segment_name")
    placed = rows.left_join(named, "person").drop("person_right")
    placed = placed.mutate(segment=placed.segment.fill_null(NONE))
    of_list = ("list_id", "person", "model", "model_version", "experiment", "variant", "slot", "segment")
    lists = placed.group_by(*of_list).aggregate(
        clicks=placed.clicked.any().cast("int64"), conversions=placed.converted.any().cast("int64"), revenue=exact_sum(placed.revenue)
    )
    at_positions = placed.mutate(
        clicks=placed.clicked.cast("int64"), conversions=placed.converted.cast("int64"), value=placed.position.cast("string")
    )
    parts = [
        _by_person(lists.mutate(value=ibis.literal(ALL)), ALL),
        _by_person(lists.mutate(value=lists.slot), "slot"),
        _by_person(lists.mutate(value=lists.segment), "segment"),
        _by_person(at_positions, "position"),
    ]
    people = ibis.union(*parts)
    exact = {f"{name}_squares": _product(people[name], people[name]) for name in SUMS}
    exact |= {f"{name}_products": _product(people[name], people.lists) for name in SUMS[1:]}
    return people.group_by(*GROUP).aggregate(
        people=people.count(), **{name: exact_sum(people[name].cast("float64")) for name in SUMS}, **exact
    )


def _by_person(rows: ir.Table, dimension: str) -> ir.Table:
    return (
        rows.mutate(dimension=ibis.literal(dimension))
        .group_by(*GROUP, "person")
        .aggregate(
            lists=lambda table: table.count(),
            clicks=lambda table: table.clicks.sum(),
            conversions=lambda table: table.conversions.sum(),
            revenue=lambda table: exact_sum(table.revenue),
        )
    )


def _product(one: ir.NumericValue, other: ir.NumericValue) -> ir.FloatingValue:
    """The sum of products, the same to the last digit whatever the order of rows."""
    return (one.cast("float64") * other.cast("float64")).cast("decimal(38, 4)").sum().cast("float64")


def with_intervals(sums: pd.DataFrame, fewest: int) -> pd.DataFrame:
    """Rows of ``contracts.LIST_RESULTS``, of groups of at least ``fewest`` people.

    Args:
        sums: as ``results`` gives them.
    """
    told = sums[sums["people"] >= fewest].sort_values(list(GROUP), ignore_index=True)
    number = {name: told[name].to_numpy(dtype=float) for name in told.columns if name not in GROUP}
    made: dict[str, np.ndarray] = {}
    for name, ratio in (("clicks", "click_rate"), ("conversions", "conversion_rate"), ("revenue", "revenue_per_list")):
        value = number[name] / number["lists"]
        variance = _variance(number, name)
        if name == "revenue":
            reach = NORMAL_QUANTILE * np.sqrt(np.where(variance > 0, variance, np.nan))
            low, high = value - reach, value + reach
        else:
            low, high = rate_bounds(value, np.nan_to_num(variance), number["people"])
        made |= {ratio: value, f"{ratio}_low": low, f"{ratio}_high": high}
    whole = {name: number[name].astype(np.int64) for name in ("people", "lists", "clicks", "conversions")}
    return told.assign(**whole, **made)[contracts.LIST_RESULTS.column_names]


def _variance(number: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return ratio_variance(
        number["people"],
        number[name],
        number["lists"],
        number[f"{name}_squares"],
        number[f"{name}_products"],
        number["lists_squares"],
    )


def refresh_outcomes(warehouse: Warehouse, settings: Settings) -> None:
    """Write ``contracts.LIST_OUTCOMES`` and ``contracts.LIST_RESULTS`` from the served lists and the events, in one transaction."""
    with warehouse.transaction(), warehouse.scratch():
        shown = warehouse.keep("seen_rows", seen(warehouse))
        warehouse.replace(contracts.LIST_OUTCOMES, outcomes(shown, of_moments(warehouse), settings.serving.outcome_hours))
        sums = results(shown, warehouse.table(contracts.LIST_OUTCOMES), warehouse.table(contracts.USER_SEGMENTS))
        made = with_intervals(warehouse.frame(sums), settings.segments.minimum_segment_size)
        warehouse.replace(contracts.LIST_RESULTS, from_frame(made) if len(made) else warehouse.table(contracts.LIST_RESULTS).limit(0))
