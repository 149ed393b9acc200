"""The live state beside what the nightly tables of a later day say: both made of the same cleaned events, by other code."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.events.identity import device_users, stitched, users_on_shared_devices, with_visitors
from persona_pipelines.events.ordering import EVENT_ORDER
from persona_pipelines.features.interactions import rules_of
from persona_pipelines.serving.building import people_of
from persona_pipelines.serving.snapshot import Snapshot
from persona_pipelines.serving.state import DAY, HALF_LIFE_DAYS, LiveState
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.serving.conftest import live_state

SENT = ("event_type", "item_id", "value", "quantity", "dwell_ms")


def known_at(store: Warehouse, settings: Settings, end: dt.datetime) -> ir.Table:
    """The cleaned events before a moment, stitched by what was known then."""
    events = with_visitors(store.table(contracts.EVENTS)).filter(lambda table: table.timestamp < end)
    plain = events.drop("user_id", "visitor_id", "stitched")
    devices = device_users(plain)
    decided = users_on_shared_devices(plain, devices, settings.events.most_users_of_a_device)
    found = stitched(plain, devices, decided)
    return found.mutate(stitched=found.user_id.notnull() & found.logged_user_id.isnull())


def nightly(store: Warehouse, settings: Settings, snapshot: Snapshot, end: dt.datetime) -> LiveState:
    """The state as a service has it that starts with the tables of a moment."""
    store.keep("known_then", known_at(store, settings, end))
    users = store.frame(store.table(contracts.USERS).order_by("user_id"))
    people = people_of(store, store.kept("known_then"), users, np.array(snapshot.items, dtype=object), end, settings)
    store.drop_kept("known_then")
    facts = dataclasses.replace(snapshot.facts, until=end.isoformat(), rating_sum=people.rating_sum, ratings=people.ratings)
    came_by = np.full(len(people.names), -1, dtype=np.int32)  # how people came is no part of what is compared
    then: Any = {**people.arrays, "came_by": came_by}
    return live_state(dataclasses.replace(snapshot, facts=facts, **then), rules_of(settings), settings.events.most_users_of_a_device)


def sent(store: Warehouse, begin: dt.datetime, end: dt.datetime) -> Iterator[dict[str, Any]]:
    """The cleaned events of a time in their order, as senders tell them: with the user that the record itself names."""
    events = with_visitors(store.table(contracts.EVENTS))
    some = events.filter((events.timestamp >= begin) & (events.timestamp < end)).order_by([events[name] for name in EVENT_ORDER])
    frame = store.frame(some.select("event_id", "timestamp", "anonymous_id", *SENT, user_id=some.logged_user_id))
    for row in frame.to_dict("records"):
        found = {name: value for name, value in row.items() if not pd.isna(value)}
        yield {**found, "timestamp": found["timestamp"].isoformat(timespec="microseconds") + "Z"}


def differences(live: LiveState, later: LiveState) -> list[str]:
    """What the live state knows otherwise than one that starts with the tables of its last moment, in words."""
    found = []
    names = sorted({name.decode() for name in later.snapshot.people.tolist()} | live.people.keys())
    for name in names:
        mine, theirs = live.seen_before(name), later.seen_before(name)
        both: list[tuple[str, Any, Any]] = [
            ("history", _history(live, mine), _history(later, theirs)),
            ("seen", _ids(live, live.seen(mine)), _ids(later, later.seen(theirs))),
            ("unwanted", _ids(live, mine.unwanted), _ids(later, theirs.unwanted)),
            ("less", _ids(live, mine.less), _ids(later, theirs.less)),
            ("consent", (mine.personalised, mine.said), (theirs.personalised, theirs.said)),
        ]
        for what, own, other in both:
            if own != other:
                found.append(f"{name}: {what}: live {own}, nightly {other}")
    for name in sorted({name.decode() for name in later.snapshot.device.tolist()} | live.devices.keys()):
        here, there = live.device(name), later.device(name)
        if here != there:
            found.append(f"device {name}: live {here}, nightly {there}")
    aged = 2.0 ** (-(later.begin - live.begin) / (HALF_LIFE_DAYS * DAY))
    for item in sorted(live.places.keys() | later.places.keys()):
        one, other_one = (state.popularity[state.places[item]] if item in state.places else 0.0 for state in (live, later))
        if not np.isclose(one * aged, other_one, rtol=1e-9, atol=1e-9):
            found.append(f"popularity of {item}: live {one * aged}, nightly {other_one}")
    if not np.allclose((live.rating_sum, live.ratings), (later.rating_sum, later.ratings)):
        found.append(f"ratings: live {live.rating_sum} {live.ratings}, nightly {later.rating_sum} {later.ratings}")
    return found


def _history(state: LiveState, person: Any) -> tuple[list[str], list[float] | None]:
    items, place = state.history(person)
    return [state.catalogue.ids[item] for item in items.tolist()], None if place is None else place.tolist()


def _ids(state: LiveState, items: Iterable[int]) -> set[str]:
    return {state.catalogue.ids[item] for item in items}
