"""Past windows: the features of users as they were known at a day's end, and what the users did in the days after."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.days import end_of
from persona_pipelines.features.asof import features_as_of
from persona_pipelines.features.exact import exact_sum
from persona_pipelines.features.support import clock_support, stored_support
from persona_pipelines.profiles.predictions import Window
from persona_pipelines.settings.stages import TargetOrigin
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.described import Log

AT_LEAST = 3
"""One window to learn from, one to choose by, one to judge by."""


class TooLittleHistoryError(ValueError):
    """The logs do not reach back far enough, or there are too few users; the message says how far and how far is needed."""


@dataclass
class Past:
    """What was known of users at the end of past days: windows of several targets often begin on the same one."""

    warehouse: Warehouse
    timezone: str
    known: dict[dt.date, pd.DataFrame] = field(default_factory=dict)

    @property
    def log(self) -> Log:
        """What the log is a log of."""
        return stored_support(self.warehouse).log

    def events(self) -> ir.Table:
        """Events of users that have a date."""
        events = self.warehouse.table(contracts.EVENTS)
        return events.filter(events.user_id.notnull() & clock_support(self.warehouse).dated(events))

    def features(self, day: dt.date) -> pd.DataFrame:
        """``contracts.USER_FEATURES`` as of a day."""
        if day not in self.known:
            self.known[day] = features_as_of(self.warehouse, day, self.timezone).users
        return self.known[day]


def past_windows(
    past: Past, as_of: dt.date, days: int, most: int, minimum_users: int, targets: Mapping[str, TargetOrigin] | None = None
) -> list[Window]:
    """Windows of ``days`` one before the other, the last ending with ``as_of``; oldest first.

    Args:
        most: at most this many; as many as the logs reach back for.
        targets: events by the name of the target that they make true.
    Raises:
        TooLittleHistoryError: there are not ``AT_LEAST``, or one has fewer than ``minimum_users`` users before it.
    """
    first = past.warehouse.value(past.events().timestamp.min())
    if first is None and clock_support(past.warehouse).undated:
        raise TooLittleHistoryError("the log has no clock: the order of the records stands for time")
    reach = (as_of - first.date()).days + 1 if first is not None else 0
    # Before the oldest window there have to be as many days of which its features are made.
    count = min(most, reach // days - 1)
    if count < AT_LEAST:
        raise TooLittleHistoryError(
            f"the logs reach back {reach} {'day' if reach == 1 else 'days'}; {(AT_LEAST + 1) * days} are needed for windows of {days} days"
        )
    found = [window(past, as_of - dt.timedelta(days=days * (number + 1)), days, targets or {}) for number in reversed(range(count))]
    while found and len(found[0].features) < minimum_users:
        found = found[1:]
    if len(found) < AT_LEAST:
        raise TooLittleHistoryError(
            f"{len(found)} windows of {days} days have {minimum_users} users or more before them; {AT_LEAST} are needed (predictions.minimum_users)"
        )
    return found


def window(past: Past, day: dt.date, days: int, targets: Mapping[str, TargetOrigin] = MappingProxyType({})) -> Window:
    """What was known at the end of a day, and what the users did in the ``days`` after it."""
    warehouse, features = past.warehouse, past.features(day)
    begin = end_of(day)
    events = past.events()
    later = events.filter((events.timestamp >= begin) & (events.timestamp < begin + dt.timedelta(days=days)))
    if any(origin.category is not None for origin in targets.values()):
        items = warehouse.table(contracts.ITEMS).select("item_id", "category")
        later = later.left_join(items, "item_id").drop("item_id_right")
    spending = later.event_type.isin(SPENDING_TYPES)
    # What others did to a user, a message sent, is no sign of life.
    own = later.event_type != ibis.literal("impression")
    sums = later.group_by("user_id").aggregate(
        bought=later.count(where=spending),
        active=later.count(where=own),
        spent=exact_sum(later.value, spending).fill_null(0),
        **{f"target {name}": later.count(where=_happened(later, origin)) for name, origin in targets.items()},
    )
    outcome = warehouse.frame(sums).set_index("user_id").reindex(features["user_id"])
    done = {name: outcome[f"target {name}"].fillna(0).to_numpy(dtype=float) > 0 for name in targets}
    bought, active = (outcome[name].fillna(0).to_numpy(dtype=float) > 0 for name in ("bought", "active"))
    return Window(features, bought, ~active, np.nan_to_num(outcome["spent"].to_numpy(dtype=float, na_value=np.nan)), done)


def _happened(events: ir.Table, origin: TargetOrigin) -> ir.BooleanValue:
    found = events.event_type == ibis.literal(origin.event)
    if origin.item_id is not None:
        found = found & (events.item_id == origin.item_id)
    if origin.category is not None:
        found = found & (events.category == origin.category)
    return found.fill_null(False)
