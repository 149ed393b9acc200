"""How much a user cares for an item: by what was done, how much of it, how well it was liked, and how long ago."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.features.interactions import FEW_RATINGS, SMALLEST_WEIGHT, InteractionRules, interactions, positive_events
from persona_pipelines.recommendations.data import build
from persona_pipelines.recommendations.models.most_popular import users_by_item
from persona_pipelines.settings import ConfigurationError
from persona_pipelines.settings.stages import InteractionLevel
from persona_pipelines_tests.conftest import CLICKS, DAY, at, events_table, law

END = at(24)
RATED = {"rating": InteractionLevel(scale="own_middle")}


def event(kind: str, hours: float, day: dt.date = DAY, user: str = "v", **columns: Any) -> dict[str, Any]:
    return {"user_id": user, "event_type": kind, "timestamp": at(hours, day), "day": day, **columns}


def rating(user: str, item: str, value: float | None) -> dict[str, Any]:
    return event("rating", 1, user=user, item_id=item, value=value)


def found(warehouse, rules: InteractionRules, *events: dict[str, Any], end: dt.datetime = END):
    frame = warehouse.frame(interactions(events_table(warehouse, *events), rules, end))
    return frame.set_index(["user_id", "item_id"]).sort_index()


def test_interactions_halve_every_half_life_and_refunds_count_against(warehouse) -> None:
    pairs = found(
        warehouse,
        InteractionRules({"purchase": 5.0, "item_view": 1.0, "refund": -2.0}, 10),
        event("purchase", 0, DAY - dt.timedelta(days=9), item_id="a"),
        event("item_view", 0, DAY - dt.timedelta(days=19), item_id="a"),
        event("item_view", 1, item_id="b"),
        event("refund", 2, item_id="b"),
        event("refund", 2, item_id="c"),
        event("page_view", 3, item_id="d"),
    ).loc["v"]
    assert pairs.index.tolist() == ["a", "b", "c"]
    assert pairs["weight"].tolist() == pytest.approx([5 * 0.5 + 1 * 0.25, SMALLEST_WEIGHT, 0], abs=1e-12)
    assert pairs["events"].tolist() == [2, 2, 1]


@pytest.mark.slow
@law(150)
@given(
    pairs=st.lists(
        st.tuples(
            st.sampled_from("uvw"), st.sampled_from("abc"), st.sampled_from(["purchase", "item_view", "refund"]), st.integers(0, 20_000)
        ),
        min_size=1,
        max_size=12,
    ),
    half_life_days=st.sampled_from([0.01, 1.0, 90.0, 10_000.0]),
)
def test_every_pair_of_a_positive_event_weighs_something_whatever_its_age_and_the_half_life(
    warehouse, pairs, half_life_days: float
) -> None:
    events = [event(kind, 0, DAY - dt.timedelta(days=age), user=user, item_id=item) for user, item, kind, age in pairs]
    frame = found(warehouse, InteractionRules({"purchase": 5.0, "item_view": 0.001, "refund": -2.0}, half_life_days), *events)
    assert set(frame.index) == {(user, item) for user, item, _, _ in pairs}
    assert set(frame[frame["weight"] > 0].index) == {(user, item) for user, item, kind, _ in pairs if kind != "refund"}


@pytest.mark.slow
@law(150)
@given(
    values=st.dictionaries(
        st.tuples(st.sampled_from("uvwx"), st.sampled_from("abcdefg")), st.sampled_from([0.5, 1, 2, 3.3, 4, 5]), min_size=1
    )
)
def test_what_a_person_rated_below_the_own_middle_says_nothing_good(warehouse, values: dict[tuple[str, str], float]) -> None:
    frame = found(warehouse, InteractionRules({"rating": 4.0}, 90, RATED), *(rating(*pair, value) for pair, value in values.items()))
    everyone = sum(values.values()) / len(values)
    for user in {user for user, _ in values}:
        own = [value for (other, _), value in values.items() if other == user]
        middle = sum(own) / len(own)
        middle = max(middle, everyone) if len(own) < FEW_RATINGS else middle
        for (other, item), value in values.items():
            if other == user and abs(value - middle) > 1e-5:
                assert (frame.loc[(user, item), "weight"] > 0) == frame.loc[(user, item), "liked"] == (value > middle)


@pytest.mark.slow
def test_a_rating_is_about_the_item_whatever_else_was_done_with_it(warehouse) -> None:
    rules = InteractionRules({"rating": 4.0, "purchase": 5.0}, 90, RATED)
    events = [rating("v", item, value) for item, value in zip("abcdef", (5, 5, 5, 4, 1, 1), strict=True)]
    events += [event("purchase", 2, item_id="e", value=9.0), event("purchase", 2, item_id="g", value=9.0), rating("v", "h", None)]
    pairs = found(warehouse, rules, *events).loc["v"]
    assert pairs.index[pairs["weight"] > 0].tolist() == ["a", "b", "c", "d", "g", "h"]
    assert pairs.index[pairs["liked"]].tolist() == ["a", "b", "c", "d", "g", "h"]
    assert len(pairs) == 8  # what was not liked was met all the same
    good = warehouse.frame(positive_events(events_table(warehouse, *events), rules))
    assert sorted(good["item_id"]) == ["a", "b", "c", "d", "g", "h"]


def test_every_rating_may_count_the_same_and_what_was_liked_is_still_known(warehouse) -> None:
    rules = InteractionRules({"rating": 4.0}, 90, {"rating": InteractionLevel(scale="constant")})
    pairs = found(warehouse, rules, rating("v", "a", 5), rating("v", "b", 1)).loc["v"]
    assert pairs["weight"].nunique() == 1
    assert pairs["liked"].tolist() == [True, False]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "factor"),
    [
        ({"scale": "linear", "unit": 2}, 4.0),
        ({"scale": "square_root", "unit": 2}, 2.0),
        ({"scale": "log"}, math.log2(9)),
        ({"scale": "threshold", "unit": 8}, 1.0),
        ({"scale": "threshold", "unit": 9}, 0.0),
        ({"scale": "constant"}, 1.0),
        ({"scale": "linear", "unit": 0.001}, 1000.0),
    ],
)
def test_an_event_counts_by_its_amount(warehouse, level: dict[str, Any], factor: float) -> None:
    rules = InteractionRules({"purchase": 5.0}, 90, {"purchase": InteractionLevel(by="quantity", **level)})
    pairs = found(
        warehouse, rules, event("purchase", 24, item_id="a", quantity=8.0), event("purchase", 24, item_id="b"), end=at(24.0001)
    ).loc["v"]
    assert pairs["weight"].tolist() == pytest.approx([5 * factor, 5.0], rel=1e-5)


def test_levels_are_of_event_types_and_the_own_middle_is_for_ratings(configure) -> None:
    with pytest.raises(ConfigurationError, match=r"features.interaction_levels.teleport: not an event type"):
        configure(CLICKS, features={"interaction_levels": {"teleport": {"scale": "log"}}})
    with pytest.raises(ConfigurationError, match=r"features.interaction_levels.purchase.scale: own_middle is for ratings"):
        configure(CLICKS, features={"interaction_levels": {"purchase": {"scale": "own_middle"}}})
    chosen = configure(CLICKS, features={"interaction_levels": {"purchase": {"by": "quantity", "scale": "log"}}})
    assert {name: level.scale for name, level in chosen.interaction_levels().items()} == {"rating": "own_middle", "purchase": "log"}


@pytest.mark.slow
def test_what_is_seldom_shown_is_not_taken_for_disliked(warehouse) -> None:
    """A policy shows ten items unequally, and clicks follow true rates: popularity follows the policy without propensities, the rates with."""
    generator = np.random.default_rng(3)
    shown = np.array([0.3, 0.25, 0.15, 0.1, 0.06, 0.05, 0.04, 0.02, 0.02, 0.01])
    rate = np.array([0.05, 0.1, 0.06, 0.12, 0.2, 0.25, 0.3, 0.5, 0.6, 0.8])
    items = generator.choice(10, 6000, p=shown)
    clicked = np.flatnonzero(generator.random(6000) < rate[items])

    def popularity(**logged: bool) -> np.ndarray:
        events = [
            event(
                "click",
                1,
                user=f"u{number}",
                item_id=f"i{items[number]}",
                propensity=float(shown[items[number]]) if logged["propensity"] else None,
            )
            for number in clicked
        ]
        frame = found(warehouse, InteractionRules({"click": 1.0}, 90), *events).reset_index()
        assert frame["importance"].mean() == pytest.approx(1.0, rel=0.01)
        data = build(frame, pd.DataFrame({"user_id": []}), pd.DataFrame({"item_id": []}), pd.Timestamp(END))
        return users_by_item(data, None)

    plain, weighed = popularity(propensity=False), popularity(propensity=True)
    assert np.corrcoef(plain, rate)[0, 1] < 0
    assert np.corrcoef(weighed, rate)[0, 1] > 0.95


def test_impressions_are_no_positives(configure) -> None:
    with pytest.raises(ConfigurationError, match=r"features.interaction_weights.impression: found a weight above 0"):
        configure(CLICKS, features={"interaction_weights": {"impression": 0.1}})
