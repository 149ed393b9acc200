"""Features as they were known at the end of a day: those of what had happened by then, for any day and in any order of days."""

from __future__ import annotations

import datetime as dt
from typing import Any

import ibis
import pandas as pd
import pytest

from persona_pipelines.events.ordering import PLACE, user_order
from persona_pipelines.features.asof import features_as_of
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines_tests.conftest import DAY, KEY, at, events_table

SEEN: list[dict[str, Any]] = [
    {"user_id": "v", "event_type": "item_view", "item_id": "a", "timestamp": at(23.5)},
    {"user_id": "v", "event_type": "item_view", "item_id": "b", "timestamp": at(30)},
    {"user_id": "u", "event_type": "item_view", "item_id": "b", "timestamp": at(40)},
    {"user_id": None, "anonymous_id": "x", "event_type": "item_view", "item_id": "b", "timestamp": at(41)},
    {"user_id": "u", "event_type": "item_view", "item_id": "a", "timestamp": at(72)},
]


def filled(store: Warehouse, events: list[dict]) -> None:
    store.ensure(contracts.EVENTS)
    store.append(contracts.EVENTS, events_table(store, *events))
    place = {name: contracts.EVENTS.column(name).type for name in ("user_id", *PLACE)}
    store.ensure(contracts.USER_ORDER)
    store.append(contracts.USER_ORDER, user_order(ibis.memtable([], schema=ibis.schema(place)), store.table(contracts.EVENTS)))
    goods = [
        {**dict.fromkeys(contracts.ITEMS.column_names), "item_id": item, "category": item.upper(), "in_catalogue": True} for item in "ab"
    ]
    store.ensure(contracts.ITEMS)
    store.append(contracts.ITEMS, from_frame(pd.DataFrame(goods)))


@pytest.mark.slow
def test_features_of_a_day_are_those_of_a_log_that_ends_with_it(warehouse) -> None:
    filled(warehouse, SEEN)
    for days in (3, 0, 1, 2, 1):
        day = DAY + dt.timedelta(days=days)
        until = [event for event in SEEN if event["timestamp"] < at(24 * (days + 1))]
        with Warehouse(None, KEY) as alone:
            filled(alone, until)
            found, expected = features_as_of(warehouse, day, "Asia/Tokyo"), features_as_of(alone, day, "Asia/Tokyo")
        pd.testing.assert_frame_equal(found.users, expected.users)
        pd.testing.assert_frame_equal(found.shares, expected.shares)
        assert found.newest == expected.newest == max(event["timestamp"] for event in until if event["user_id"])
        assert found.users["user_id"].tolist() == (["v"] if days == 0 else ["v", "u"])
        assert found.shares[["user_number", "category"]].apply(tuple, axis=1).is_monotonic_increasing
        assert not warehouse.is_kept("known_events")
        assert not warehouse.is_kept("known_shares")
    later = DAY + dt.timedelta(days=3)
    tokyo, here = (features_as_of(warehouse, later, zone).users.set_index("user_id") for zone in ("Asia/Tokyo", "UTC"))
    assert tokyo.loc["v", "evening_share"] < here.loc["v", "evening_share"]
    assert features_as_of(warehouse, DAY - dt.timedelta(days=1), "UTC").newest is None
