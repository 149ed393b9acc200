"""What one event after another makes of a state is what the tables of the evening say: events of all kinds, ratings, amounts and devices, on a shop that was empty."""

import dataclasses
import datetime as dt

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from persona_pipelines.events.identity import device_users, stitched, users_on_shared_devices
from persona_pipelines.events.listings import said_of_lists
from persona_pipelines.features.interactions import rules_of
from persona_pipelines.serving.building import people_of
from persona_pipelines.settings import load_settings
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.serving.conftest import ITEMS, UNTIL, device_name, live_state, snapshot, user_name
from persona_pipelines_tests.serving.nightly import differences
from persona_pipelines_tests.serving.test_running import LOG

KINDS = [
    "personalisation",
    "item_view",
    "purchase",
    "rating",
    "remove_from_cart",
    "not_interested",
    "less_like_this",
    "play",
    "page_view",
    "login",
    "logout",
]
COLUMNS = {
    "event_id": "string", "anonymous_id": "string", "logged_user_id": "string", "event_type": "string", "timestamp": "timestamp(6)", "item_id": "string",
    "value": "float64", "quantity": "float64", "dwell_ms": "int64", "propensity": "float64",
    "source": "string", "source_file": "string", "source_line": "int64", "source_part": "int64",
}  # fmt: skip


@st.composite
def days(draw: st.DrawFn) -> list[dict]:
    """Events in the order of their moments, each of which is one event's alone."""
    made = []
    for number in range(draw(st.integers(1, 30))):
        kind = draw(st.sampled_from(KINDS))
        user, device = draw(st.sampled_from(["1", "2", "3", None])), draw(st.sampled_from([None, None, "phone", "desk"]))
        if kind in ("login", "logout"):
            user, device = user or "1", device or "phone"
        user = "1" if user is None and device is None else user
        if device is not None and user == "3":  # of a device on which too many log in, a live state keeps what it has given before
            user = "2"
        entry: dict = {"event_id": f"e{number}", "event_type": kind}
        entry["timestamp"] = (UNTIL - dt.timedelta(hours=60 - number)).isoformat(timespec="microseconds") + "Z"
        if user is not None:
            entry["user_id"] = user_name(int(user))
        if device is not None:
            entry["anonymous_id"] = device_name(device)
        if kind == "personalisation":
            entry["value"] = float(draw(st.sampled_from([0, 1])))
        elif kind not in ("login", "logout"):
            entry["item_id"] = f"i{draw(st.integers(0, 5))}"
        if kind == "rating":
            entry["value"] = draw(st.sampled_from([1.0, 3.0, 4.0, 5.0]))
        if kind == "play":
            entry["dwell_ms"] = draw(st.sampled_from([10, 999, 1000, 5000]))
        made.append(entry)
    return made


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nightly")
    content = {"name": "shop", "start_date": "2025-09-01", "sources": [LOG], "privacy": {"consent_when_unknown": True}}
    content["features"] = {"interaction_levels": {"play": {"scale": "threshold", "by": "dwell_ms", "unit": 1000}}}
    (folder / "persona.yaml").write_text(yaml.safe_dump(content))
    return load_settings(folder / "persona.yaml")


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The shop before anybody has done anything."""
    found = snapshot(tmp_path_factory.mktemp("empty") / "s")
    nobody = {name: np.zeros(1, dtype=np.int64) for name in ("history_start", "pair_start", "said_start", "device_start")}
    none = (
        "people",
        "of_devices",
        "consent",
        "word_time",
        "word",
        "acted",
        "history_item",
        "history_time",
        "pair_item",
        "pair_time",
        "pair_good",
        "device",
        "device_user",
    )
    arrays = {name: getattr(found, name)[:0] for name in (*none, "device_left", "device_member")}
    facts = dataclasses.replace(found.facts, until=(UNTIL - dt.timedelta(days=4)).isoformat(), rating_sum=0.0, ratings=0)
    return dataclasses.replace(found, facts=facts, popularity=np.zeros(ITEMS), shown=np.zeros(ITEMS), **nobody, **arrays)


def _no_of_a_device(*more: dict) -> list[dict]:
    said = {"event_id": "e1", "event_type": "personalisation", "timestamp": "2025-09-29T10:00:00.000000Z", "value": 0.0}
    return [{**said, "anonymous_id": device_name("phone")}, *more]


@law(60)
@given(events=days())
@example(events=_no_of_a_device())
@example(
    events=_no_of_a_device(
        {
            "event_id": "e2",
            "event_type": "item_view",
            "timestamp": "2025-09-29T11:00:00.000000Z",
            "anonymous_id": device_name("phone"),
            "item_id": "i1",
        }
    )
)
def test_a_state_made_of_events_is_that_of_the_tables(settings, empty, events: list[dict]) -> None:
    live = live_state(empty, rules_of(settings), 2)
    for entry in events:
        live.apply(entry)
    frame = pd.DataFrame(
        {
            **{name: pd.Series([entry.get(name) for entry in events], dtype="object") for name in COLUMNS},
            "logged_user_id": pd.Series([entry.get("user_id") for entry in events], dtype="object"),
            "timestamp": pd.to_datetime([entry["timestamp"][:-1] for entry in events]),
            "source": "live",
            "source_file": "f",
            "source_line": range(len(events)),
            "source_part": 0,
        }
    )
    with Warehouse(None) as store:
        table = store.keep("events", from_frame(frame).cast(COLUMNS))
        devices = device_users(table)
        known = stitched(table, devices, users_on_shared_devices(table, devices, 2))
        known = store.keep("known", known.mutate(stitched=known.user_id.notnull() & known.logged_user_id.isnull()))
        users = store.frame(known.filter(known.user_id.notnull()).select("user_id").distinct())
        users = users.merge(store.frame(said_of_lists(known)), how="left", on="user_id")
        users["consent_personalisation"] = users.pop("said").astype("boolean").fillna(True).astype(bool)
        items = np.array(empty.items, dtype=object)
        order = np.argsort(items)
        people = people_of(
            store,
            known,
            users,
            items[order],
            UNTIL,
            settings.model_copy(update={"events": settings.events.model_copy(update={"most_users_of_a_device": 2})}),
        )
    there = {name: values for name, values in people.arrays.items() if name not in ("popularity", "shown")}
    for name in ("history_item", "pair_item"):
        there[name] = order[there[name]]
    facts = dataclasses.replace(empty.facts, until=UNTIL.isoformat(), rating_sum=people.rating_sum, ratings=people.ratings)
    popularity = np.zeros(ITEMS)
    popularity[order] = people.arrays["popularity"]
    later = live_state(dataclasses.replace(empty, facts=facts, popularity=popularity, shown=popularity, **there), rules_of(settings), 2)
    # What is popular counts people with few ratings by the middle of all ratings as it was at their last event.
    rated = any(entry["event_type"] == "rating" for entry in events)
    beside = ("unwanted", "less", *(["popularity"] if rated else []))
    assert [text for text in differences(live, later) if not any(word in text for word in beside)] == []
