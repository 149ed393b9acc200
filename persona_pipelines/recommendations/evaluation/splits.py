"""Training and test: a cut in time for all, each user's last item, or a random share of each user's items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.errors import ProjectError
from persona_pipelines.events.ordering import in_order
from persona_pipelines.features.exact import exact_mean
from persona_pipelines.features.following import follows
from persona_pipelines.features.interactions import InteractionRules, interactions, positive_events
from persona_pipelines.recommendations.data import Interactions, build
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse.connection import Warehouse

SplitName = Literal["global time", "record order", "last items out", "random by user"]
"""``record order`` is a cut like that of ``global time`` in logs without a clock, where the order of the records stands for time."""


class TooFewInteractionsError(ProjectError):
    """There is not enough to learn from or to judge by; the message says how much there is and what is needed."""


@dataclass(frozen=True)
class Segments:
    """Segments of users as a model may know them.

    Attributes:
        of: segment ids by user.
        newest: the newest event behind the features that they were made from.
    """

    of: Mapping[str, int]
    newest: dt.datetime


@dataclass(frozen=True)
class Split:
    """What is learned from and what is judged by.

    Attributes:
        name: of the kind of split.
        cut: training ends before; for splits that are not by global time, the moment at which weights are taken.
        pairs: ``user_id``, ``item_id``, ``weight``, ``last_time``, ``events``, ``rating`` of the training, in the order of users
            (``events.ordering.in_order``).
        training: the same as matrices.
        test: ``user_id``, ``item_id``, ``first_time``, ``last_time``, ``rating``: distinct pairs, in the order of users.
        segments: of users as of the cut; None where none are used.
        repeats: whether a pair of the training may come again in the test, as a repurchase.
        drawn: users whose last items were drawn among others of the same moment.
    """

    name: SplitName
    cut: dt.datetime
    pairs: pd.DataFrame
    training: Interactions
    test: pd.DataFrame
    segments: Segments | None = None
    repeats: bool = False
    drawn: int = 0

    @property
    def by_time(self) -> bool:
        """Whether all of the training was before all of the test."""
        return self.name in ("global time", "record order")

    @property
    def in_order(self) -> bool:
        """Whether of each person all of the training was before all of the test."""
        return self.by_time or self.name == "last items out"


@dataclass(frozen=True)
class Sources:
    """Where interactions come from: cleaned events, and the listed attributes of users and items.

    Attributes:
        events: cleaned events; those without user or item, or of types without weight, are left out here.
        rules: what an event says of an item.
        users, items: as their lists tell of them at a moment.
    """

    warehouse: Warehouse
    events: ir.Table
    rules: InteractionRules
    users: Callable[[dt.datetime], pd.DataFrame]
    items: Callable[[dt.datetime], pd.DataFrame]

    def usable(self, end: dt.datetime) -> ir.Table:
        """Events that say something good of an item, before a moment."""
        return positive_events(self.events.filter(self.events.timestamp < end), self.rules)

    def learned(self, events: ir.Table, end: dt.datetime, segments: Mapping[str, int] | None = None) -> tuple[pd.DataFrame, Interactions]:
        """The interactions of some events as of a moment, as a table in the order of users and as matrices."""
        pairs = in_order(self.warehouse, interactions(events, self.rules, end), "item_id")
        return pairs, build(
            pairs, self.users(end), self.items(end), pd.Timestamp(end), self.baskets(events, end), segments, self.follows(events, end)
        )

    def follows(self, events: ir.Table, end: dt.datetime) -> pd.DataFrame:
        """Who follows whom as of a moment: ``user_id``, ``target_user_id``."""
        return self.warehouse.frame(follows(events.filter(events.timestamp < end)))

    def baskets(self, events: ir.Table, end: dt.datetime) -> pd.DataFrame:
        """``basket``, ``item_id``: the items bought in one session; where nothing is ever bought, those turned to in one."""
        found = positive_events(events.filter(events.timestamp < end), self.rules)
        bought = found.filter(found.event_type.isin(SPENDING_TYPES))
        chosen = bought if self.warehouse.value(bought.count()) else found
        pairs = chosen.select("user_id", "item_id", basket=chosen.session_id).distinct()
        # The sessions of one user differ in the second they start alone: their order is that of time.
        return in_order(self.warehouse, pairs, "basket", "item_id")

    def tested(self, events: ir.Table) -> pd.DataFrame:
        """The pairs of some events as a test, as in ``Split.test``."""
        rating = exact_mean(events.value, events.event_type == "rating")
        found = events.group_by("user_id", "item_id").aggregate(
            first_time=events.timestamp.min(), last_time=events.timestamp.max(), rating=rating
        )
        return in_order(self.warehouse, found, "item_id")


def cut_of(sources: Sources, end: dt.datetime, test_share: float, minimum: int) -> dt.datetime:
    """The moment after which about ``test_share`` of the usable events before ``end`` lie, in whole seconds.

    Raises:
        TooFewInteractionsError: there are fewer than ``minimum``.
    """
    usable = sources.usable(end)
    count, at = sources.warehouse.row(usable.aggregate(count=usable.count(), at=usable.timestamp.epoch_seconds().quantile(1 - test_share)))
    if count < minimum:
        raise TooFewInteractionsError(f"{count} events of known users with items; recommendations.minimum_interactions is {minimum}")
    return dt.datetime.fromtimestamp(int(at), dt.UTC).replace(tzinfo=None)


def by_time(sources: Sources, cut: dt.datetime, end: dt.datetime, segments: Segments | None = None, repeats: bool = False) -> Split:
    """Training before the cut, the test from the cut on: what a model would have known.

    Args:
        repeats: keep pairs in the test that the training has; else only what is new to the user is judged.
    Raises:
        TooFewInteractionsError: one of the two is empty.
    """
    pairs, training = sources.learned(sources.events.filter(sources.events.timestamp < cut), cut, segments.of if segments else None)
    later = sources.usable(end)
    test = sources.tested(later.filter(later.timestamp >= cut))
    if not repeats:
        known = pd.MultiIndex.from_frame(test[["user_id", "item_id"]]).isin(pd.MultiIndex.from_frame(pairs[["user_id", "item_id"]]))
        test = test[~known].reset_index(drop=True)
    return _checked(Split("global time", cut, pairs, training, test, segments, repeats))


def last_items_out(sources: Sources, end: dt.datetime, share: float | None = None) -> Split:
    """The items that each user turned to last are the test, what the user did before them is the training.

    Users with one item have no test. Others' later events may be in the training: figures are above those of a cut in time. Among items
    of one moment, as those of a basket, the last are drawn: a list that is sorted by name says nothing of an order in time.

    Args:
        share: of each user's items, one at least and not all; None for the last one alone.
    Raises:
        TooFewInteractionsError: one of the two is empty.
    """
    usable = sources.usable(end)
    place = [usable.source_line, usable.source_part]
    firsts = usable.group_by("user_id", "item_id").aggregate(first_time=usable.timestamp.min(), line=place[0].min(), part=place[1].min())
    own = ibis.window(group_by="user_id")
    # Of the item and its line, and not of the user: the same whatever key the pseudonyms are made with.
    drawn = (firsts.item_id + ibis.literal(" ") + firsts.line.cast("string") + ibis.literal(" ") + firsts.part.cast("string")).hexdigest(
        "md5"
    )
    order = ibis.row_number().over(group_by="user_id", order_by=[firsts.first_time.desc(), drawn, firsts.item_id])
    ranked = firsts.mutate(place=order, items=firsts.item_id.count().over(own))
    wanted = ibis.literal(1) if share is None else ibis.greatest((ranked["items"] * share).round().cast("int64"), 1)
    wanted = ibis.least(wanted, ranked["items"] - 1)
    with sources.warehouse.scratch():
        parted = sources.warehouse.keep("last_items", ranked.mutate(is_tested=ranked.place < wanted))
        tested = parted.filter(parted.is_tested).select(tested_user="user_id", tested_item="item_id", first_time="first_time")
        ends = parted.group_by("user_id").aggregate(
            kept=parted.first_time.max(where=~parted.is_tested), begins=parted.first_time.min(where=parted.is_tested)
        )
        begins = ends.filter(ends.begins.notnull()).select(tested_user="user_id", begins="begins")
        events = sources.events.filter(sources.events.timestamp < end)
        joined = events.left_join(begins, events.user_id == begins.tested_user)
        before = joined.filter(joined.begins.isnull() | (joined.timestamp <= joined.begins)).select(sources.events.columns)
        pair = [before.user_id == tested.tested_user, before.item_id == tested.tested_item]
        pairs, training = sources.learned(before.anti_join(tested, pair), end)
        inside = usable.semi_join(tested, [usable.user_id == tested.tested_user, usable.item_id == tested.tested_item])
        drawn_users = int(sources.warehouse.value((ends.kept == ends.begins).sum().fill_null(0)))
        return _checked(Split("last items out", end, pairs, training, sources.tested(inside), drawn=drawn_users))


def random_by_user(sources: Sources, end: dt.datetime, test_share: float, seed: int) -> Split:
    """A random share of each user's items is the test: as much of the literature does, though no model has such knowledge."""
    pairs = in_order(sources.warehouse, interactions(sources.events, sources.rules, end), "item_id")
    return random_pairs(pairs, sources.users(end), sources.items(end), end, test_share, seed, sources.follows(sources.events, end))


def random_pairs(
    pairs: pd.DataFrame,
    users: pd.DataFrame,
    items: pd.DataFrame,
    end: dt.datetime,
    test_share: float,
    seed: int,
    follows: pd.DataFrame | None = None,
) -> Split:
    """A random share of each user's pairs is the test, the others are the training, as of ``end``.

    Args:
        pairs: ``user_id``, ``item_id``, ``weight``, ``last_time``, ``rating``, in the order of users; those of weight 0 stay in the
            training.
    Raises:
        TooFewInteractionsError: one of the two is empty.
    """
    kept = random_share(pairs["user_id"], 1 - test_share, seed) | (pairs["weight"] == 0).to_numpy()
    training = pairs[kept].reset_index(drop=True)
    test = pairs[~kept].assign(first_time=lambda tested: tested["last_time"])[["user_id", "item_id", "first_time", "last_time", "rating"]]
    test = test.reset_index(drop=True)
    return _checked(Split("random by user", end, training, build(training, users, items, pd.Timestamp(end), follows=follows), test))


def random_share(users: pd.Series, share: float, seed: int) -> np.ndarray:
    """A mask of a random ``share`` of each user's rows, rounded to whole rows."""
    drawn = pd.Series(np.random.default_rng(seed).random(len(users)), index=users.index)
    rank = drawn.groupby(users).rank(method="first")
    return (rank <= (users.groupby(users).transform("size") * share).round()).to_numpy()


def _checked(split: Split) -> Split:
    if split.pairs.empty or split.test.empty:
        raise TooFewInteractionsError(
            f"{len(split.pairs)} pairs of users and items to learn from and {len(split.test)} to judge by ({split.name}, cut at "
            f"{split.cut:%Y-%m-%d %H:%M}): both are needed, so events have to spread over time, and people to turn to items that they have not had"
        )
    return split
