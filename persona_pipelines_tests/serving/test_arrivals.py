"""Lists for people of whom no more is known than how they came."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.features.interactions import rules_of
from persona_pipelines.serving import arrivals
from persona_pipelines.serving.arrivals import STRENGTHS, Came, came_by, chosen, first_lists
from persona_pipelines.serving.arriving import group_of, place_of
from persona_pipelines.serving.compacting import compacted
from persona_pipelines.serving.engine import Asked, Engine
from persona_pipelines.serving.lists import Maker, Wishes
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import RulesSettings
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import CLICKS, at, events_table
from persona_pipelines_tests.serving.conftest import GROUPS, HISTORIES, ITEMS, live_state, snapshot, user_name, weights
from persona_pipelines_tests.serving.test_state import RULES, event

END = dt.datetime(2025, 10, 1)
CUT = END - dt.timedelta(days=5)
SHOP_ITEMS = 40


def came(people: int = 400, taste: float = 0.9, countries: tuple[str, ...] = ("NL", "FR"), new: int = 5) -> Came:
    """People of countries who turn to six items each, by a chance of ``taste`` to those of their country's own; the last ``new`` of twenty come after the cut."""
    generator = np.random.default_rng(3)
    facts, pairs, begins = [], [], {}
    for person in range(people):
        name, number = f"v{person:03}", person % len(countries)
        begin = CUT + dt.timedelta(hours=person % 60) if person // len(countries) % 20 < new else CUT - dt.timedelta(days=1 + person % 9)
        begins[name] = begin
        facts.append((name, f"country={countries[number]}", begin))
        own = np.flatnonzero(np.arange(SHOP_ITEMS) % len(countries) == number)
        chance = np.full(SHOP_ITEMS, (1 - taste) / SHOP_ITEMS)
        chance[own] += taste / len(own)
        for place, item in enumerate(generator.choice(SHOP_ITEMS, 6, replace=False, p=chance)):
            moment = begin + dt.timedelta(minutes=place)
            pairs.append((name, int(item), moment, moment, True))
    return Came(
        pd.DataFrame(facts, columns=["visitor", "group", "since"]),
        pd.DataFrame(pairs, columns=["visitor", "item", "first", "last", "user"]),
        pd.Series(begins),
        SHOP_ITEMS,
    )


def test_a_fact_that_says_what_new_people_want_is_used_and_its_groups_have_lists() -> None:
    found = came()
    used = {entry.fact: entry for entry in chosen(found, CUT, END, 10, 20, 30, 20)}
    assert used["country"].strength in STRENGTHS
    assert used["country"].gain.low > 0
    assert used["country"].people == 100
    assert used["campaign"].strength == used["referrer"].strength == 0
    made = arrivals.arrivals(found, list(used.values()), END, 20)
    assert sorted(made.names) == ["country=FR", "country=NL"]
    for name, row in zip(made.names, made.items, strict=True):
        assert (row[:10] % 2 == ("NL", "FR").index(name[-2:])).all()
        assert len(set(row.tolist())) == SHOP_ITEMS


def test_a_fact_that_says_nothing_or_is_known_of_too_few_is_not_used() -> None:
    nothing = chosen(came(taste=0.0), CUT, END, 10, 20, 30, 20)
    assert nothing[1].strength == 0
    made = arrivals.arrivals(came(), nothing, END, 20)
    assert (made.names, made.items.shape) == ([], (0, 0))
    few = chosen(came(people=120), CUT, END, 10, 20, 31, 20)[1]
    assert (few.people, few.strength) == (30, 0)
    assert chosen(came(people=120), CUT, END, 10, 20, 30, 20)[1].strength > 0


def test_a_small_group_has_no_list() -> None:
    found = came()
    rare = found.facts["visitor"].isin([f"v{person:03}" for person in range(30)])
    facts = found.facts.assign(group=found.facts["group"].where(~rare, "country=LU"))
    found = Came(facts, found.pairs, found.begins, SHOP_ITEMS)
    used = chosen(found, CUT, END, 10, 31, 30, 20)
    assert "country=LU" not in arrivals.arrivals(found, used, END, 31).names
    assert "country=LU" in arrivals.arrivals(found, used, END, 30).names


def test_what_is_known_later_than_the_first_item_and_what_was_done_later_than_the_cut_does_not_count() -> None:
    found = came()
    late = Came(found.facts.assign(since=found.facts["since"] + dt.timedelta(minutes=1)), found.pairs, found.begins, SHOP_ITEMS)
    assert len(first_lists(late, "country", STRENGTHS, CUT, END, 10, 20)) == 0
    scrambled = found.pairs.assign(item=np.where(found.pairs["first"] >= CUT, 0, found.pairs["item"]))
    before = Came(found.facts, scrambled, found.begins, SHOP_ITEMS).before(CUT)
    assert before.pairs.equals(found.before(CUT).pairs)


def test_a_strong_prior_is_what_is_popular_with_all() -> None:
    quality = first_lists(came(taste=0.2), "country", [1e-9, 1e12], CUT, END, 10, 20)
    assert quality[:, 2] == pytest.approx(quality[:, 0])
    assert np.abs(quality[:, 1] - quality[:, 0]).max() > 0


@pytest.mark.parametrize(
    ("fact", "value", "group"),
    [
        ("country", " NL ", "country=NL"),
        ("campaign", "spring=sale", "campaign=spring=sale"),
        ("referrer", "https://www.google.com/search?q=x", "referrer=google.com"),
        ("referrer", "news.example.org/page", "referrer=news.example.org"),
        ("referrer", "http://[broken", None),
        ("referrer", "/", None),
        ("country", "", None),
        ("country", None, None),
        ("country", float("nan"), None),
    ],
)
def test_a_referrer_counts_by_its_site_and_all_else_as_it_is(fact: str, value: Any, group: str | None) -> None:
    assert group_of(fact, value) == group


def test_of_several_groups_the_first_counts() -> None:
    places = {"campaign=a": 1, "country=NL": 0}
    assert place_of(places, {"campaign": "a", "country": "NL"}) == 0
    assert place_of(places, {"campaign": "a", "country": None}) == 1
    assert place_of(places, {"referrer": "a.com"}) == -1


def test_visitors_are_users_and_devices_and_good_events_count_alone(configure: Callable[..., Settings], warehouse: Warehouse) -> None:
    rows: list[dict[str, Any]] = [
        {"user_id": "u1", "timestamp": at(10), "event_type": "page_view", "referrer": "https://a.com/x"},
        {"user_id": "u1", "timestamp": at(11), "event_type": "item_view", "item_id": "i1", "referrer": "https://www.a.com/y"},
        {"anonymous_id": "d1", "timestamp": at(12), "event_type": "item_view", "item_id": "i2"},
        {"timestamp": at(12), "event_type": "item_view", "item_id": "i2", "referrer": "https://a.com"},
    ]
    events = events_table(warehouse, *rows)
    found = Came.of(warehouse, events, rules_of(configure(CLICKS)), np.array(["i1", "i2"], dtype=object))
    assert found.facts.to_dict("records") == [{"visitor": "u1", "group": "referrer=a.com", "since": pd.Timestamp(at(10))}]
    assert found.pairs[["visitor", "item", "user"]].to_numpy().tolist() == [["d1", 1, False], ["u1", 0, True]]
    assert found.begins["u1"] == pd.Timestamp(at(10))
    assert came_by(found, ["country=NL", "referrer=a.com"], np.array(["d1", "u1", "u9"], dtype=object)).tolist() == [-1, 1, -1]


def numbers(answer: dict[str, Any]) -> list[int]:
    return [int(entry["item_id"][1:]) for entry in answer["items"]]


def test_somebody_new_gets_what_those_want_who_came_the_same_way_until_the_first_click(engine_of: Callable[..., Engine]) -> None:
    engine = engine_of()
    engine.take([event(1, "page_view", "77", country="NL")])
    answer, first = engine.recommendations(Asked(user="u77", k=7))
    assert numbers(answer)[:5] == GROUPS["country=NL"]
    assert [entry["source"] for entry in answer["items"]] == ["arrival"] * 5 + ["popular"] * 2
    assert answer["items"][0]["reason"] == "popular for country NL"
    assert numbers(engine.answer(Asked(user="u78", k=3))) == [0, 1, 2]
    engine.take([event(2, "page_view", "77", campaign="spring")])
    again, second = engine.recommendations(Asked(user="u77", k=3))
    assert numbers(again) == [21, 22, 23]  # 7 is blocked
    assert first != second
    engine.take([event(3, user="77", item=12)])
    assert {entry["source"] for entry in engine.answer(Asked(user="u77", k=3))["items"]} == {"live"}


def test_a_request_may_say_how_somebody_came_and_nothing_of_it_is_kept(engine_of: Callable[..., Engine]) -> None:
    engine = engine_of(consent_when_unknown=False)
    told = engine.answer(Asked(k=3, country="NL"))
    assert (numbers(told), told["personal"]) == (GROUPS["country=NL"][:3], True)
    assert numbers(engine.answer(Asked(k=3))) == [0, 1, 2]
    assert numbers(engine.answer(Asked(user="u77", k=3, country="NL"))) == [0, 1, 2]  # no consent
    known = engine_of()
    assert {entry["source"] for entry in known.answer(Asked(user="u3", k=3, country="NL"))["items"]} == {"live"}
    led = [f"i{item}" for item in np.flatnonzero(weights().toarray()[HISTORIES[1][0]])]
    assert {entry["source"] for entry in known.answer(Asked(user="u1", k=3, country="NL", exclude=led))["items"]} == {"popular"}
    narrow = known.answer(Asked(user="u77", k=3, country="NL", exclude=["i24"], in_stock=True))
    assert numbers(narrow) == [26, 27, 1]


def test_how_a_device_came_is_known_to_who_logs_in_and_after_compacting(tmp_path) -> None:
    state = live_state(snapshot(tmp_path / "s", nightly=8), RULES, 2)
    state.apply(event(1, "page_view", device="phone", country="NL"))
    later = live_state(compacted(state, tmp_path / "c", []), RULES, 2)
    for found in (state, later):
        found.apply(event(2, "login", "77", device="phone"))
        person = found.seen_before(user_name(77))
        assert (person.came_by, person.revision) == (1, 0)
        made = Maker(found, found.snapshot.champion, RulesSettings(), True, 0.5).made(person, Wishes(k=ITEMS))
        assert made.items[:5] == GROUPS["country=NL"]
        known = found.seen_before(user_name(3))
        found.apply(event(3, "page_view", "3", country="NL"))
        assert not found.acted(found.seen_before(user_name(3)))
        assert known.number >= 0


def test_a_log_that_does_not_say_how_anybody_came_has_no_groups() -> None:
    """Neither country nor campaign nor referrer: the columns are empty, of whatever type."""
    nobody = dataclasses.replace(came(), facts=came().facts[:0].astype({"group": "float64"}))
    used = chosen(nobody, CUT, END, 10, 20, 30, 20)
    assert {entry.strength for entry in used} == {0}
    assert arrivals.arrivals(nobody, used, END, 20).names == []
    assert {entry.people for entry in chosen(came(new=0), CUT, END, 10, 20, 30, 20)} == {0}  # nor where nobody is new
