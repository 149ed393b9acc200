"""What recommenders are judged on: the newest window where it can decide, else the strictest protocol that can."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import ibis.expr.types as ir
import pandas as pd

from persona_pipelines.features.asof import features_as_of
from persona_pipelines.features.interactions import interactions, rules_of
from persona_pipelines.recommendations.evaluation.audit import TEST, VALIDATION, Finding, Known, audit, audit_validation
from persona_pipelines.recommendations.evaluation.comparison import Task, task
from persona_pipelines.recommendations.evaluation.splits import (
    Segments,
    Sources,
    Split,
    TooFewInteractionsError,
    by_time,
    cut_of,
    last_items_out,
    random_by_user,
    random_pairs,
)
from persona_pipelines.recommendations.listed import features_then, listed_items, listed_users
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.segments.model import fit_segments
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame

NEWEST, EARLIER, WITHIN, CONFIGURED = (
    "newest window",
    "window after an earlier cut",
    "last items within people",
    "split of the configuration",
)
EARLIER_SHARES = (0.35, 0.5)
"""Shares of the events behind an earlier cut: the longer the window, the more people of before come back in it."""


@dataclass(frozen=True)
class Windows:
    """What is learned from and judged on.

    Attributes:
        inner: the validation window, on which weights are learned and the challenger is chosen; None where nothing is left for one.
        outer: what decides.
        protocol: of ``outer``: ``NEWEST``; where too few people were known at its cut ``EARLIER``; where people hardly ever come back
            ``WITHIN``: each one's last items, though others' later events may then be in the training; ``CONFIGURED`` where
            the configuration asks for another split than by time.
        reason: how many people could be judged, in words.
    """

    inner: Task | None
    outer: Task
    protocol: str
    reason: str

    def audited(
        self,
        warehouse: Warehouse,
        settings: Settings,
        end: dt.datetime,
        models: Mapping[str, LearnedModel],
        validated: Mapping[str, LearnedModel],
        tuned: Mapping[str, dt.datetime],
    ) -> list[Finding]:
        """The leakage audit of both windows.

        Args:
            end: events from this moment on are ignored.
            models, validated: fitted on the training of ``outer`` and of ``inner``.
            tuned: the newest event that the parameters of a method were tuned on, by its name.
        """
        sources = sources_of(warehouse, settings)
        outer = known_before_test(sources, settings, self.outer.split, end)
        found = audit(TEST, self.outer, outer, models, tuned)
        if self.inner is None:
            return found
        if self.inner.split.in_order:
            inner = known_before_test(sources, settings, self.inner.split, self.outer.split.cut)
        else:
            inner = known_before_test(sources, settings, self.inner.split, end, outer.pairs)
        return [*found, audit_validation(self.inner, self.outer), *audit(VALIDATION, self.inner, inner, validated)]


def known_before_test(sources: Sources, settings: Settings, split: Split, end: dt.datetime, within: pd.DataFrame | None = None) -> Known:
    """What could be known before a test, read from the events and lists once more.

    Args:
        end: of the window.
        within: the pairs of which the split is a part, as ``Known.pairs``; None for all before ``end``.
    """
    store, moment = sources.warehouse, split.cut if split.by_time else end
    before = sources.events.filter(sources.events.timestamp < moment)
    if split.name == "last items out":
        before = _before_own_test(before, split.test)
    pairs = store.frame(interactions(before, sources.rules, moment)) if within is None else within
    if not split.by_time:
        tested = pd.MultiIndex.from_frame(split.test[["user_id", "item_id"]])
        pairs = pairs[~pd.MultiIndex.from_frame(pairs[["user_id", "item_id"]]).isin(tested)]
    people = store.frame(before.filter(before.user_id.notnull()).select("user_id").distinct())["user_id"] if split.by_time else None
    met = split.pairs["item_id"].unique()
    items, item_numbers = features_then(store, settings, contracts.ITEMS, split.cut, met)
    users, _ = features_then(store, settings, contracts.USERS, split.cut, met)
    return Known(pairs, end, None if people is None else frozenset(people), items, users, item_numbers)


def _before_own_test(events: ir.Table, test: pd.DataFrame) -> ir.Table:
    """Of each person who is tested the events until the first of the test without those of the test, of all others all."""
    begins = from_frame(
        test.groupby("user_id", as_index=False).agg(begins=("first_time", "min")).rename(columns={"user_id": "tested_user"})
    )
    joined = events.left_join(begins, events.user_id == begins.tested_user)
    before = joined.filter(joined.begins.isnull() | (joined.timestamp <= joined.begins)).select(events.columns)
    tested = from_frame(test[["user_id", "item_id"]].rename(columns={"user_id": "tested_user", "item_id": "tested_item"}))
    return before.anti_join(tested, [before.user_id == tested.tested_user, before.item_id == tested.tested_item])


def sources_of(warehouse: Warehouse, settings: Settings) -> Sources:
    """The interactions of a warehouse."""
    return Sources(
        warehouse,
        warehouse.table(contracts.EVENTS),
        rules_of(settings),
        partial(listed_users, warehouse, settings),
        partial(listed_items, warehouse, settings),
    )


def segments_as_of(warehouse: Warehouse, settings: Settings, day: dt.date) -> Segments | None:
    """The segments that would have been known at the end of a day: trained on the features as of that day alone; None where nobody was."""
    features = features_as_of(warehouse, day, settings.features.timezone)
    if features.newest is None or features.users.empty:
        return None
    # One algorithm and few refits: what is judged here are recommenders, not segments.
    quick = settings.segments.model_copy(update={"algorithms": ["k_means"], "stability_refits": 2})
    assigned = fit_segments(features.users, features.shares, quick).model.assign(features.users, features.shares)
    return Segments(dict(zip(assigned["user_id"], assigned["segment_id"].astype(int), strict=True)), features.newest)


def windows(warehouse: Warehouse, settings: Settings, end: dt.datetime) -> Windows:
    """The validation window and what decides, each with a training that knows nothing of it.

    Raises:
        TooFewInteractionsError: too few interactions, or all of them at one moment.
    """
    chosen, known = settings.recommendations, sources_of(warehouse, settings)
    if chosen.split != "global time":
        outer = (
            last_items_out(known, end) if chosen.split == "last item out" else random_by_user(known, end, chosen.test_share, chosen.seed)
        )
        return _not_by_time(warehouse, settings, known, outer, CONFIGURED, f"recommendations.split is {chosen.split}")
    minimum = chosen.gate.minimum_users
    reasons = ["the log has no clock, the order of its records stands for time"] if _without_clock(settings) else []
    for share in (chosen.test_share, *(share for share in EARLIER_SHARES if share > chosen.test_share)):
        cut = cut_of(known, end, share, chosen.minimum_interactions)
        people, before = _people(known, cut, end, repeats=not chosen.exclude_seen)
        reasons.append(f"{before:,} of the {people:,} people after {cut:%Y-%m-%d %H:%M} were known then")
        if before >= minimum:
            protocol = NEWEST if share == chosen.test_share else EARLIER
            inner = _validation(warehouse, settings, known, cut)
            return Windows(inner, _by_time(warehouse, settings, known, cut, end), protocol, _reason(reasons, minimum, protocol == NEWEST))
    try:
        outer = last_items_out(known, end, chosen.test_share)
    except TooFewInteractionsError:
        reasons.append("nobody turned to two items")
        newest = _by_time(warehouse, settings, known, cut_of(known, end, chosen.test_share, chosen.minimum_interactions), end)
        return Windows(None, newest, NEWEST, _reason(reasons, minimum, False))
    drawn = f" (of {outer.drawn:,} people drawn among those of one moment)" if outer.drawn else ""
    reasons.append(f"each one's last items are left out instead{drawn}")
    return _not_by_time(warehouse, settings, known, outer, WITHIN, _reason(reasons, minimum, False))


def _reason(reasons: list[str], minimum: int, enough: bool) -> str:
    return "; ".join(reasons) + ("" if enough else f"; {minimum} are needed (recommendations.gate.minimum_users)")


def _without_clock(settings: Settings) -> bool:
    """Whether a source of events has the order of its records for a clock."""
    return any(source.fields["timestamp"].order is not None for source in settings.sources_of("events"))


def _people(known: Sources, cut: dt.datetime, end: dt.datetime, repeats: bool) -> tuple[int, int]:
    """How many people turned to an item in a window, and how many of them had done anything before and can be judged."""
    usable = known.usable(end)
    pairs = usable.group_by("user_id", "item_id").aggregate(first=usable.timestamp.min(), last=usable.timestamp.max())
    tested = pairs.last >= cut if repeats else pairs.first >= cut
    people = pairs.group_by("user_id").aggregate(tested=tested.any(), before=(pairs.first < cut).any())
    inside = people.filter(people.tested)
    count, before = known.warehouse.row(inside.aggregate(count=inside.count(), before=inside.before.sum().fill_null(0)))
    return int(count), int(before)


def _by_time(warehouse: Warehouse, settings: Settings, known: Sources, cut: dt.datetime, end: dt.datetime) -> Task:
    chosen = settings.recommendations
    segments = segments_as_of(warehouse, settings, cut.date() - dt.timedelta(days=1))
    split = by_time(known, cut, end, segments, not chosen.exclude_seen)
    if _without_clock(settings):
        split = replace(split, name="record order")
    return task(split, known.users(cut), chosen.exclude_seen, segments.of if segments else None, _groups(warehouse), chosen.seed)


def _validation(warehouse: Warehouse, settings: Settings, known: Sources, end: dt.datetime) -> Task | None:
    """The validation window before ``end``: by time where enough people were known before it, else within people, if anyone has two items."""
    chosen = settings.recommendations
    for share in (chosen.test_share, *EARLIER_SHARES):
        cut = cut_of(known, end, share, 2)
        if _people(known, cut, end, repeats=not chosen.exclude_seen)[1] >= chosen.gate.minimum_users:
            return _by_time(warehouse, settings, known, cut, end)
    try:
        split = last_items_out(known, end, chosen.test_share)
    except TooFewInteractionsError:
        return None
    return task(split, known.users(end), chosen.exclude_seen, None, _groups(warehouse), chosen.seed)


def _not_by_time(warehouse: Warehouse, settings: Settings, known: Sources, outer: Split, protocol: str, reason: str) -> Windows:
    """The validation window inside a training that is not cut by time is a random share of its pairs."""
    chosen = settings.recommendations
    groups = _groups(warehouse)
    users = known.users(outer.cut)
    judged = task(outer, users, chosen.exclude_seen, None, groups, chosen.seed)
    try:
        inner = random_pairs(
            outer.pairs, users, known.items(outer.cut), outer.cut, chosen.test_share, chosen.seed + 1, outer.training.follow_pairs
        )
    except TooFewInteractionsError:
        return Windows(None, judged, protocol, reason)
    return Windows(task(inner, users, chosen.exclude_seen, None, groups, chosen.seed), judged, protocol, reason)


def _groups(warehouse: Warehouse) -> Mapping[str, str]:
    """The name of each user's segment today: figures are told apart by it, no model learns from it."""
    found = warehouse.frame(warehouse.table(contracts.USER_SEGMENTS).select("user_id", "segment_name"))
    return dict(zip(found["user_id"], found["segment_name"], strict=True))
