"""The audience in tables: life-cycle stages, recency and frequency, cohorts, the funnel, and segments over time. Expressions in, frames out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.features.attention import is_act
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.described import Log

STAGES = ("new", "active", "loyal", "at risk", "lapsed")
FUNNEL = (
    ("item_list_view", ("item_list_view",)),
    ("item_view", ("item_view",)),
    ("add_to_cart", ("add_to_cart",)),
    ("begin_checkout", ("begin_checkout",)),
    ("purchase", SPENDING_TYPES),
)
"""Steps towards a purchase, in their order, with the event types of each."""
RECENCY_DAYS = (7, 30, 90, 180)
FREQUENCIES = (1, 2, 3, 5)
COHORTS = 12
SCORINGS = 12


def stages_of_segments(users: pd.DataFrame) -> pd.DataFrame:
    """Users by segment (rows, by id) and life-cycle stage (columns); empty where no act has a date."""
    told = users[users["lifecycle_stage"].notna()]
    if told.empty:
        return pd.DataFrame()
    counts = pd.crosstab(told["segment_id"], told["lifecycle_stage"])
    return counts.reindex(columns=[stage for stage in STAGES if stage in counts.columns])


def recency_and_frequency(features: pd.DataFrame) -> pd.DataFrame:
    """Users by days since the last purchase (columns) and purchase days (rows), the lowest bounds of each bin; of those who have bought."""
    bought = features[features["purchase_recency_days"].notna() & (features["frequency"] > 0)]
    if bought.empty:
        return pd.DataFrame()
    rows = np.array(FREQUENCIES)[np.searchsorted(FREQUENCIES, bought["frequency"].to_numpy(dtype=float), side="right") - 1]
    columns = np.array((0, *RECENCY_DAYS))[
        np.searchsorted(RECENCY_DAYS, bought["purchase_recency_days"].to_numpy(dtype=float), side="right")
    ]
    counts = pd.crosstab(pd.Series(rows, name="frequency"), pd.Series(columns, name="recency"))
    return counts.reindex(index=list(FREQUENCIES), columns=[0, *RECENCY_DAYS], fill_value=0)


def cohorts(events: ir.Table, buying: bool) -> ir.Table:
    """``cohort``, ``month``, ``users``: how many of those who first did it in a calendar month did it so many months later.

    Args:
        events: of users, with a date.
        buying: whether purchases count, else any own event.
    """
    acts = events.filter(events.event_type.isin(SPENDING_TYPES) if buying else is_act(events))
    months = acts.select("user_id", at=acts.timestamp.year() * 12 + acts.timestamp.month() - 1).distinct()
    placed = months.mutate(cohort=months["at"].min().over(group_by="user_id"))
    return placed.group_by("cohort", month=placed["at"] - placed.cohort).aggregate(users=placed.count())


def cohort_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Users by cohort, the last ``COHORTS`` months (``2011-05``), and months since (columns); nan for months still to come."""
    if rows.empty:
        return pd.DataFrame()
    last = int((rows["cohort"] + rows["month"]).max())
    wide = rows.pivot_table(index="cohort", columns="month", values="users", aggfunc="sum")
    wide = wide.reindex(index=range(max(int(rows["cohort"].min()), last - COHORTS + 1), last + 1), columns=range(COHORTS))
    ahead = wide.index.to_numpy()[:, None] + wide.columns.to_numpy()[None, :] > last
    found = wide.fillna(0.0).mask(ahead)
    found.index = [f"{cohort // 12}-{cohort % 12 + 1:02d}" for cohort in found.index]
    return found.loc[:, found.notna().any()]


def funnel(store: Warehouse, events: ir.Table) -> list[tuple[str, int]]:
    """Steps that the log has, in their order, with the users who took each at least once; empty of fewer than two."""
    people = events.filter(events.user_id.notnull())
    counts = store.row(people.aggregate(**{name: people.user_id.nunique(where=people.event_type.isin(kinds)) for name, kinds in FUNNEL}))
    steps = [(name, int(count)) for (name, _), count in zip(FUNNEL, counts, strict=True) if count]
    return steps if len(steps) > 1 else []


def over_time(store: Warehouse, log: Log) -> pd.DataFrame:
    """``as_of_date``, ``segment_id``, ``segment_name``, ``users``, ``share``, ``mean_monetary_value``, ``buyers_share`` of the last
    ``SCORINGS`` days that were scored; ``buyers_share`` is that of the people who were in the segment then and had bought by then."""
    history = store.table(contracts.SEGMENT_HISTORY)
    days = [day for (day,) in store.tuples(history.select("as_of_date").distinct().order_by(ibis.desc("as_of_date")).limit(SCORINGS))]
    found = store.frame(history.filter(history.as_of_date.isin(days)).order_by("as_of_date", "segment_id"))
    if found.empty or not log.dated:
        return found.assign(buyers_share=np.nan)
    return found.merge(_buyers(store, days), on=["as_of_date", "segment_id"], how="left")


def _buyers(store: Warehouse, days: Sequence[dt.date]) -> pd.DataFrame:
    """``as_of_date``, ``segment_id``, ``buyers_share``."""
    events, known = store.table(contracts.EVENTS), store.table(contracts.PROFILE_HISTORY)
    bought = events.filter(events.user_id.notnull() & events.event_type.isin(SPENDING_TYPES))
    firsts = bought.group_by("user_id").aggregate(first=bought.timestamp.date().min())
    moments = ibis.memtable({"as_of_date": list(days)}, schema={"as_of_date": "date"})
    then = known.join(
        moments, (known.valid_from <= moments.as_of_date) & (known.valid_to.isnull() | (known.valid_to >= moments.as_of_date))
    )
    joined = then.left_join(firsts, "user_id")
    sums = joined.group_by("as_of_date", "segment_id").aggregate(
        buyers_share=joined.count(where=joined["first"] <= joined.as_of_date) / joined.count()
    )
    return store.frame(sums)
