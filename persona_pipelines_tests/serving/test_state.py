"""Live state: the same events in the same order give the same state and the same lists, whichever way they came."""

import datetime as dt

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_pipelines.events.identity import device_users, stitched, users_on_shared_devices
from persona_pipelines.features.interactions import InteractionRules
from persona_pipelines.recommendations.last_click import RECENT
from persona_pipelines.serving.engine import Asked
from persona_pipelines.serving.journal import Journal, events_of, files_of, line_of
from persona_pipelines.serving.state import LiveState, Met, shared_places
from persona_pipelines.settings.stages import InteractionLevel
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines_tests.serving.conftest import HISTORIES, ITEMS, NOW, device_name, live_state, snapshot, user_name

WEIGHTS = {"item_view": 1.0, "purchase": 5.0, "rating": 4.0, "remove_from_cart": -1.0}
RULES = InteractionRules(WEIGHTS, 90, {"rating": InteractionLevel(scale="own_middle")})


def event(
    number: int,
    kind: str = "item_view",
    user: str | None = None,
    device: str | None = None,
    item: int | None = None,
    minutes: int | None = None,
    **more,
) -> dict:
    moment = dt.datetime(2025, 10, 1, 1) + dt.timedelta(minutes=number if minutes is None else minutes)
    found = {"event_id": f"e{number}", "timestamp": moment.isoformat(timespec="microseconds") + "Z", "event_type": kind, **more}
    if user is not None:
        found["user_id"] = user_name(int(user))
    if device is not None:
        found["anonymous_id"] = device_name(device)
    if item is not None:
        found["item_id"] = f"i{item}"
    return found


@st.composite
def streams(draw: st.DrawFn) -> list[dict]:
    """Events of known and new people and devices; out of order, repeated, of unknown items and types."""
    made = []
    for number in range(draw(st.integers(0, 40))):
        kind = draw(st.sampled_from([*WEIGHTS, "page_view", "login", "logout", "not_interested", "less_like_this", "personalisation"]))
        user, device = draw(st.sampled_from([None, "1", "2", "3", "77"])), draw(st.sampled_from([None, "tablet", "phone", "desk"]))
        if user is None and device is None:
            user = "1"
        value = draw(st.sampled_from([0, 1])) if kind == "personalisation" else draw(st.sampled_from([1.0, 5.0]))
        repeated = draw(st.integers(0, number))
        made.append(
            event(
                repeated if draw(st.booleans()) else number,
                kind,
                user,
                device,
                draw(st.integers(0, ITEMS)),
                draw(st.integers(0, 300)),
                value=value,
                **draw(st.sampled_from([{}, {}, {"country": "NL"}, {"campaign": "spring", "country": "XX"}])),
            )
        )
    return made


def state_of(tmp_path_factory, events: list[dict]) -> LiveState:
    found = live_state(snapshot(tmp_path_factory.mktemp("state") / "s"), RULES, 5)
    for entry in events:
        found.apply(entry)
    return found


@settings(max_examples=60, deadline=None)
@given(events=streams(), cut=st.integers(0, 40))
def test_replaying_the_journal_gives_the_same_state_and_the_same_lists_to_the_byte(tmp_path_factory, events: list[dict], cut: int) -> None:
    """Taken in as they came, with lists asked between; and read from the journal of two processes."""
    folder = tmp_path_factory.mktemp("journal")
    first = live_state(snapshot(folder / "s"), RULES, 5)
    for part in (events[:cut], events[cut:]):
        journal = Journal(folder / "events", lambda: NOW.date())
        if part:
            journal.append([line_of(entry) for entry in part])
        for entry in part:
            first.apply(entry)
            first.history(first.seen_before(user_name(3)))
        journal.close()
    second = live_state(first.snapshot, RULES, 5)
    for entry in events_of(files_of(folder / "events"), lambda found: pytest.fail(str(found))):
        second.apply(entry)
    assert second.described() == first.described()
    for name in first.people:
        (items, place), (others, other) = first.history(first.people[name]), second.history(second.people[name])
        assert items.tolist() == others.tolist()
        assert (None if place is None else place.tolist()) == (None if other is None else other.tolist())


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_who_is_on_a_device_is_known_by_the_rule_of_the_nightly_run(tmp_path_factory, data: st.DataObject) -> None:
    """Each event on an item of its own: whose history it is in, against ``events.identity`` over the same events."""
    made = []
    for number in range(data.draw(st.integers(1, 12))):
        kind = data.draw(st.sampled_from(["item_view", "item_view", "login", "logout"]))
        user = data.draw(st.sampled_from([None, "1", "2"])) if kind != "login" else data.draw(st.sampled_from(["1", "2"]))
        made.append(event(number, kind, user, data.draw(st.sampled_from(["phone", "desk"])), 29 - number if kind == "item_view" else None))
    live = live_state(snapshot(tmp_path_factory.mktemp("identity") / "s"), RULES, 5)
    for entry in made:
        live.apply(entry)
    frame = pd.DataFrame(
        {
            "event_id": [entry["event_id"] for entry in made],
            "anonymous_id": [entry["anonymous_id"] for entry in made],
            "logged_user_id": pd.Series([entry.get("user_id") for entry in made], dtype="object"),
            "event_type": [entry["event_type"] for entry in made],
            "timestamp": pd.to_datetime([entry["timestamp"][:-1] for entry in made]),
            "source": "live",
            "source_file": "f",
            "source_line": range(len(made)),
            "source_part": 0,
            "item_id": pd.Series([entry.get("item_id") for entry in made], dtype="object"),
        }
    )
    with Warehouse(None) as store:
        table = store.keep("events", from_frame(frame).cast({"logged_user_id": "string", "item_id": "string"}))
        devices = device_users(table)
        nightly = store.frame(stitched(table, devices, users_on_shared_devices(table, devices, 5)))
    told = {}
    for row in nightly.itertuples():
        if isinstance(row.item_id, str):
            told.setdefault(row.visitor_id, set()).add(int(row.item_id[1:]))
    before = {user_name(number): set(items) for number, items in HISTORIES.items()}
    found = {name: set(live.history(person)[0].tolist()) - before.get(name, set()) for name, person in live.people.items()}
    assert {name: items for name, items in found.items() if items} == {
        name: items - before.get(name, set()) for name, items in told.items() if items - before.get(name, set())
    }


def test_a_history_keeps_the_newest_items_and_knows_their_order(tmp_path_factory) -> None:
    found = state_of(
        tmp_path_factory,
        [event(1, user="77", item=4, minutes=5), event(2, user="77", item=2, minutes=9), event(3, user="77", item=9, minutes=5)],
    )
    items, place = found.history(found.person(user_name(77)))
    assert items.tolist() == [2, 4, 9]
    assert place.tolist() == [0, 1.5, 1.5]
    # An event that comes late takes its place by its moment; the item's last moment counts.
    found.apply(event(4, user="77", item=4, minutes=20))
    found.apply(event(5, user="77", item=2, minutes=1))
    assert found.history(found.person(user_name(77)))[0].tolist() == [4, 2, 9]
    many = live_state(found.snapshot, RULES, 5)
    person = many.person(user_name(77))
    person.since = {number: Met(number, True) for number in range(RECENT + 20)}
    assert sorted(many.history(person)[0].tolist()) == list(range(20, RECENT + 20))


def test_what_says_nothing_good_was_met_and_is_no_history(tmp_path_factory) -> None:
    found = state_of(
        tmp_path_factory,
        [
            event(1, "remove_from_cart", "77", item=1),
            event(2, "rating", "77", item=2, value=1.0),
            event(3, "rating", "77", item=3, value=4.0),
            event(4, "page_view", "77", item=4),
            event(5, "purchase", "77", item=99),
        ],
    )
    person = found.person(user_name(77))
    assert (set(found.history(person)[0].tolist()), set(found.seen(person).tolist()), found.unknown_items) == ({3}, {1, 2, 3}, 1)


def test_an_event_of_an_id_that_is_known_changes_nothing(tmp_path_factory) -> None:
    once = state_of(tmp_path_factory, [event(1, user="77", item=4)])
    twice = state_of(tmp_path_factory, [event(1, user="77", item=4), event(1, user="77", item=4)])
    assert twice.described() == once.described()
    assert (twice.events, twice.repeated) == (1, 1)


def test_a_no_stays_a_no_when_somebody_logs_in(tmp_path_factory) -> None:
    """Who stopped personalisation on a device that nobody knew has stopped it."""
    found = state_of(tmp_path_factory, [event(1, "personalisation", device="phone", value=0), event(2, "login", "2", "phone")])
    assert not found.person(user_name(2)).personalised
    found.apply(event(3, "personalisation", "2", value=1))
    assert found.person(user_name(2)).personalised


def test_a_device_that_too_many_log_in_on_is_nobodys(tmp_path_factory) -> None:
    found = live_state(snapshot(tmp_path_factory.mktemp("many") / "s"), RULES, 2)
    for number in range(3):
        found.apply(event(number, "login", str(number), "kiosk"))
    assert found.owner_of(None, device_name("kiosk")) == device_name("kiosk")


def test_places_of_equal_moments_are_shared() -> None:
    assert shared_places(np.array([9, 7, 7, 7, 1])).tolist() == [0, 2, 2, 2, 4]
    assert shared_places(np.array([3, 2, 1])) is None
    assert shared_places(np.array([], dtype=int)) is None


def test_lists_after_a_replay_are_the_same(engine_of) -> None:
    events = [event(number, user=str(number % 4), item=number % ITEMS) for number in range(200)]
    answers = []
    for _ in range(2):
        engine = engine_of()
        engine.take(events)
        answers.append([{**engine.recommendations(Asked(user=f"u{user}", k=20))[0], "list_id": ""} for user in range(6)])
    assert answers[0] == answers[1]


def test_the_newest_word_on_personalisation_counts_whenever_it_comes(tmp_path_factory) -> None:
    found = state_of(
        tmp_path_factory,
        [event(1, "personalisation", "2", value=0, minutes=9), event(2, "personalisation", "2", value=1, minutes=5)],
    )
    assert not found.person(user_name(2)).personalised
    found.apply(event(3, "personalisation", "2", value=1, minutes=9))  # of one moment the no
    assert not found.person(user_name(2)).personalised
    found.apply(event(4, "personalisation", "2", value=1, minutes=10))
    assert found.person(user_name(2)).personalised


def test_what_is_popular_is_what_users_turn_to_and_a_device_counts_once_its_user_is_known(tmp_path_factory) -> None:
    before = state_of(tmp_path_factory, []).popularity
    found = state_of(tmp_path_factory, [event(1, device="phone", item=4)])
    assert (found.popularity == before).all()
    found.apply(event(2, "login", "77", "phone"))
    assert np.flatnonzero(found.popularity != before).tolist() == [4]
    assert found.popularity[4] - before[4] == pytest.approx(1, abs=0.01)


def test_the_middle_of_people_with_few_ratings_moves_with_those_of_others(tmp_path_factory) -> None:
    """A rating of 3 is good where all rate 3, and is not once all rate 5, though its own person has done nothing since."""
    found = state_of(tmp_path_factory, [event(1, "rating", "77", item=4, value=3.0)])
    assert found.history(found.person(user_name(77)))[0].tolist() == [4]
    for number in range(2, 60):
        found.apply(event(number, "rating", str(number % 7), item=number % ITEMS, value=5.0))
    assert found.rating_sum / found.ratings > 3.5
    assert found.history(found.person(user_name(77)))[0].tolist() == []
