"""Training and test: a cut in time for all, each user's last item, or a random share of each user's items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.features.exact import exact_mean
from persona_pipelines.features.items import interactions
from persona_pipelines.recommendations.data import Interactions, build
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse.connection import Warehouse

SplitName = Literal["global time", "last item out", "random by user"]


class TooFewInteractionsError(ValueError):
    """There is not enough to learn from or to judge by; the message says how much there is and what is needed."""


@dataclass(frozen=True)
class Split:
    """What is learned from and what is judged by.

    Attributes:
        name: of the kind of split.
        cut: training ends before; for splits that are not by global time, the moment at which weights are taken.
        pairs: ``user_id``, ``item_id``, ``weight``, ``last_time``, ``events``, ``rating`` of the training.
        training: the same as matrices.
        test: ``user_id``, ``item_id``, ``first_time``, ``rating``: distinct pairs.
        features_as_of: the day at whose end the features of users (their segments) were computed; None where none are used.
        repeats: whether a pair of the training may come again in the test, as a repurchase.
    """

    name: SplitName
    cut: dt.datetime
    pairs: pd.DataFrame
    training: Interactions
    test: pd.DataFrame
    features_as_of: dt.date | None = None
    repeats: bool = False


@dataclass(frozen=True)
class Sources:
    """Where interactions come from: cleaned events, and the listed attributes of users and items.

    Attributes:
        events: cleaned events; those without user or item, or of types without weight, are left out here.
        weights: of event types.
        half_life_days: of weights.
        users, items: as listed by their sources, so that nothing in them comes from events.
    """

    warehouse: Warehouse
    events: ir.Table
    weights: Mapping[str, float]
    half_life_days: float
    users: pd.DataFrame
    items: pd.DataFrame

    def usable(self, end: dt.datetime) -> ir.Table:
        """Events that say something good of an item, before a moment."""
        events = self.events
        positive = [name for name, weight in self.weights.items() if weight > 0]
        return events.filter(
            events.user_id.notnull() & events.item_id.notnull() & (events.timestamp < end) & events.event_type.isin(positive)
        )

    def learned(self, events: ir.Table, end: dt.datetime, segments: Mapping[str, int] | None = None) -> tuple[pd.DataFrame, Interactions]:
        """The interactions of some events as of a moment, as a table in a stable order and as matrices."""
        found = interactions(events, self.weights, self.half_life_days, end)
        pairs = self.warehouse.frame(found.order_by("user_id", "item_id"))
        return pairs, build(pairs, self.users, self.items, pd.Timestamp(end), self.baskets(events, end), segments)

    def baskets(self, events: ir.Table, end: dt.datetime) -> pd.DataFrame:
        """``basket``, ``item_id``: the items bought in one session; where nothing is ever bought, those turned to in one."""
        found = events.filter(events.timestamp < end).join(self.usable(end).select("event_id").distinct(), "event_id", how="semi")
        bought = found.filter(found.event_type.isin(SPENDING_TYPES))
        chosen = bought if self.warehouse.value(bought.count()) else found
        pairs = chosen.select(basket=ibis.coalesce(chosen.session_id, chosen.user_id.cast("string")), item_id=chosen.item_id).distinct()
        return self.warehouse.frame(pairs.order_by("basket", "item_id"))

    def tested(self, events: ir.Table) -> pd.DataFrame:
        """The pairs of some events as a test: ``user_id``, ``item_id``, ``first_time``, ``rating``."""
        rating = exact_mean(events.value, events.event_type == "rating")
        found = events.group_by("user_id", "item_id").aggregate(first_time=events.timestamp.min(), rating=rating)
        return self.warehouse.frame(found.order_by("user_id", "item_id"))


def cut_of(sources: Sources, end: dt.datetime, test_share: float, minimum: int) -> dt.datetime:
    """The moment after which about ``test_share`` of the usable events before ``end`` lie, in whole seconds.

    Raises:
        TooFewInteractionsError: there are fewer than ``minimum``.
    """
    usable = sources.usable(end)
    count, at = sources.warehouse.row(usable.aggregate(count=usable.count(), at=usable.timestamp.epoch_seconds().quantile(1 - test_share)))
    if count < minimum:
        raise TooFewInteractionsError(f"{count} interactions of known users with items; recommendations.minimum_interactions is {minimum}")
    return dt.datetime.fromtimestamp(int(at), dt.UTC).replace(tzinfo=None)


def by_time(sources: Sources, cut: dt.datetime, end: dt.datetime, segments: Mapping[str, int] | None = None,
            features_as_of: dt.date | None = None, repeats: bool = False) -> Split:  # fmt: skip
    """Training before the cut, the test from the cut on: what a model would have known.

    Args:
        repeats: keep pairs in the test that the training has; else only what is new to the user is judged.
    Raises:
        TooFewInteractionsError: one of the two is empty.
    """
    pairs, training = sources.learned(sources.events.filter(sources.events.timestamp < cut), cut, segments)
    later = sources.usable(end)
    test = sources.tested(later.filter(later.timestamp >= cut))
    if not repeats:
        known = pd.MultiIndex.from_frame(test[["user_id", "item_id"]]).isin(pd.MultiIndex.from_frame(pairs[["user_id", "item_id"]]))
        test = test[~known].reset_index(drop=True)
    return _checked(Split("global time", cut, pairs, training, test, features_as_of, repeats))


def last_item_out(sources: Sources, end: dt.datetime) -> Split:
    """The item that each user turned to last is the test, all that the user did before is the training.

    Users with one item have no test. Others' later events may be in the training: figures are above those of a cut in time.
    """
    usable = sources.usable(end)
    firsts = usable.group_by("user_id", "item_id").aggregate(first_time=usable.timestamp.min())
    order = ibis.row_number().over(group_by="user_id", order_by=[firsts.first_time.desc(), firsts.item_id.desc()])
    items = firsts.item_id.count().over(group_by="user_id")
    ranked = firsts.mutate(place=order, items=items)
    last = ranked.filter((ranked.place == 0) & (ranked["items"] > 1)).select("user_id", last_item="item_id", last_time="first_time")
    last = sources.warehouse.keep("last_items", last)
    joined = sources.events.filter(sources.events.timestamp < end).left_join(last, "user_id")
    before = joined.filter(
        joined.last_time.isnull()
        | (joined.timestamp < joined.last_time)
        | (joined.timestamp == joined.last_time) & (joined.item_id != joined.last_item)
    )
    before = before.select(sources.events.columns)
    pairs, training = sources.learned(before, end)
    tested = usable.join(last, (usable.user_id == last.user_id) & (usable.item_id == last.last_item), how="semi")
    return _checked(Split("last item out", end, pairs, training, sources.tested(tested)))


def random_by_user(sources: Sources, end: dt.datetime, test_share: float, seed: int) -> Split:
    """A random share of each user's items is the test: as much of the literature does, though no model has such knowledge."""
    found = interactions(sources.events, sources.weights, sources.half_life_days, end)
    pairs = sources.warehouse.frame(found.order_by("user_id", "item_id"))
    return random_pairs(pairs, sources.users, sources.items, end, test_share, seed)


def random_pairs(pairs: pd.DataFrame, users: pd.DataFrame, items: pd.DataFrame, end: dt.datetime, test_share: float, seed: int) -> Split:
    """A random share of each user's pairs is the test, the others are the training, as of ``end``.

    Args:
        pairs: ``user_id``, ``item_id``, ``weight``, ``last_time``, ``rating``.
    Raises:
        TooFewInteractionsError: one of the two is empty.
    """
    kept = random_share(pairs["user_id"], 1 - test_share, seed)
    training = pairs[kept].reset_index(drop=True)
    test = pairs[~kept].rename(columns={"last_time": "first_time"})[["user_id", "item_id", "first_time", "rating"]].reset_index(drop=True)
    return _checked(Split("random by user", end, training, build(training, users, items, pd.Timestamp(end)), test))


def random_share(users: pd.Series, share: float, seed: int) -> np.ndarray:
    """A mask of a random ``share`` of each user's rows, rounded to whole rows."""
    drawn = pd.Series(np.random.default_rng(seed).random(len(users)), index=users.index)
    rank = drawn.groupby(users).rank(method="first")
    return (rank <= (users.groupby(users).transform("size") * share).round()).to_numpy()


def _checked(split: Split) -> Split:
    if split.pairs.empty or split.test.empty:
        raise TooFewInteractionsError(
            f"{len(split.pairs)} pairs of users and items to learn from and {len(split.test)} to judge by ({split.name}, cut at "
            f"{split.cut:%Y-%m-%d %H:%M}): both are needed, so events have to spread over time"
        )
    return split
