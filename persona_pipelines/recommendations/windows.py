"""What recommenders are judged on: the newest window where it can decide, else the strictest protocol that can."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from persona_pipelines.features.asof import features_as_of
from persona_pipelines.features.interactions import rules_of
from persona_pipelines.recommendations.attributes import described
from persona_pipelines.recommendations.evaluation.comparison import Task, task
from persona_pipelines.recommendations.evaluation.splits import (
    Sources,
    Split,
    TooFewInteractionsError,
    by_time,
    cut_of,
    last_items_out,
    random_by_user,
    random_pairs,
)  # fmt: skip
from persona_pipelines.segments.model import fit_segments
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

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


def listed_users(warehouse: Warehouse, settings: Settings) -> pd.DataFrame:
    """Attributes of users as the customer list gives them; what only events tell is left out, so that no test leaks in."""
    users = warehouse.table(contracts.USERS)
    frame = warehouse.frame(users.filter(users.in_customer_list).order_by("user_id"))
    return described(warehouse, settings, contracts.USERS, frame)


def listed_items(warehouse: Warehouse, settings: Settings) -> pd.DataFrame:
    """The catalogue; an item that only events know becomes known with its first event."""
    items = warehouse.table(contracts.ITEMS)
    frame = warehouse.frame(items.filter(items.in_catalogue).order_by("item_id"))
    return described(warehouse, settings, contracts.ITEMS, frame)


def sources_of(warehouse: Warehouse, settings: Settings) -> Sources:
    """The interactions of a warehouse."""
    return Sources(
        warehouse,
        warehouse.table(contracts.EVENTS),
        rules_of(settings),
        listed_users(warehouse, settings),
        listed_items(warehouse, settings),
    )


def segments_as_of(warehouse: Warehouse, settings: Settings, day: dt.date) -> dict[str, int]:
    """The segments that would have been known at the end of a day: trained on the features as of that day alone."""
    features, category_shares_frame = features_as_of(warehouse, day, settings.features.timezone)
    if features.empty:
        return {}
    # One algorithm and few refits: what is judged here are recommenders, not segments.
    quick = settings.segments.model_copy(update={"algorithms": ["k_means"], "stability_refits": 2})
    assigned = fit_segments(features, category_shares_frame, quick).model.assign(features, category_shares_frame)
    return dict(zip(assigned["user_id"], assigned["segment_id"].astype(int), strict=True))


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
    day = cut.date() - dt.timedelta(days=1)
    segments = segments_as_of(warehouse, settings, day)
    split = by_time(known, cut, end, segments, day if segments else None, not chosen.exclude_seen)
    if _without_clock(settings):
        split = replace(split, name="record order")
    return task(split, known.users, chosen.exclude_seen, segments, _groups(warehouse), chosen.seed)


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
    return task(split, known.users, chosen.exclude_seen, None, _groups(warehouse), chosen.seed)


def _not_by_time(warehouse: Warehouse, settings: Settings, known: Sources, outer: Split, protocol: str, reason: str) -> Windows:
    """The validation window inside a training that is not cut by time is a random share of its pairs."""
    chosen = settings.recommendations
    groups = _groups(warehouse)
    judged = task(outer, known.users, chosen.exclude_seen, None, groups, chosen.seed)
    try:
        inner = random_pairs(
            outer.pairs, known.users, known.items, outer.cut, chosen.test_share, chosen.seed + 1, outer.training.follow_pairs
        )
    except TooFewInteractionsError:
        return Windows(None, judged, protocol, reason)
    return Windows(task(inner, known.users, chosen.exclude_seen, None, groups, chosen.seed), judged, protocol, reason)


def _groups(warehouse: Warehouse) -> Mapping[str, str]:
    """The name of each user's segment today: figures are told apart by it, no model learns from it."""
    found = warehouse.frame(warehouse.table(contracts.USER_SEGMENTS).select("user_id", "segment_name"))
    return dict(zip(found["user_id"], found["segment_name"], strict=True))
