"""The gate: what it takes to become champion, and what stands in the way."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from persona_pipelines.recommendations.evaluation.comparison import ALL, WARM, Judged
from persona_pipelines.recommendations.evaluation.metrics import Scores
from persona_pipelines.recommendations.promotion import FIRST, PROMOTED, REFRESHED, REFUSED, Decision, PromotionError, decide, overruled
from persona_pipelines.recommendations.training import Comparison
from persona_pipelines.recommendations.windows import NEWEST
from persona_pipelines.settings.recommendations import GateSettings
from persona_pipelines.tracking import registry
from persona_pipelines.tracking.registry import Chosen
from persona_pipelines_tests.conftest import CLICKS

GATE = GateSettings(minimum_users=20)
BASE = np.random.default_rng(1).random(200) * 0.5


def judged(model: str, ndcg: np.ndarray, segment: str = ALL, items: int = 10, ms: float = 1.0) -> Judged:
    lists = np.tile(np.arange(items), (len(ndcg), 1))
    return Judged(model, WARM, segment, Scores({"ndcg_at_k": ndcg}, lists, 100), np.arange(len(ndcg)).astype(object), {}, ms)


def test_the_champion_is_held_against_the_most_popular_items_by_segment() -> None:
    found = [judged(name, BASE[:50] + lift, segment) for name, lift in (("new", -0.1), ("popular", 0.0)) for segment in (ALL, "Owls")]
    decision = Decision(FIRST, "new", "new", None, 0.0)
    split = cast(Any, None)
    comparison = Comparison(found, split, [], {}, {}, {}, decision, "popular", {}, ["popular", "popular_7_days"])
    (row,) = comparison.segment_advantages(1).to_dict("records")
    assert (row["segment"], row["model"], row["against"], row["users"]) == ("Owls", "new", "popular", 50)
    assert (row["advantage"], row["low"], row["high"]) == pytest.approx((-0.1, -0.1, -0.1))
    itself = replace(comparison, decision=replace(decision, champion="popular"))
    assert itself.segment_advantages(1).empty
    assert comparison.advantages(1)["against"].tolist() == ["new", "popular"]


def test_a_planted_better_model_is_promoted() -> None:
    found = decide([judged("old", BASE), judged("new", BASE + 0.05)], "new", "old", "popular", GATE, 1)
    assert (found.outcome, found.champion) == (PROMOTED, "new")
    assert found.advantage.low == pytest.approx(0.05)
    assert found.tags()["decision.advantage.low"] == "0.050000"


def test_a_planted_worse_model_is_refused() -> None:
    found = decide([judged("old", BASE), judged("new", BASE - 0.05)], "new", "old", "popular", GATE, 1)
    assert (found.outcome, found.champion) == (REFUSED, "old")
    assert "the lower bound has to be above 0" in found.reason


def test_an_advantage_that_may_be_chance_or_within_the_margin_is_refused() -> None:
    noise = np.random.default_rng(2).normal(0.005, 0.3, 200)
    assert decide([judged("old", BASE), judged("new", BASE + noise)], "new", "old", "popular", GATE, 1).outcome == REFUSED
    strict = GateSettings(minimum_users=20, margin=0.06)
    assert decide([judged("old", BASE), judged("new", BASE + 0.05)], "new", "old", "popular", strict, 1).outcome == REFUSED


def test_too_few_users_decide_nothing() -> None:
    found = decide([judged("old", BASE[:9]), judged("new", BASE[:9] + 0.2)], "new", "old", "popular", GATE, 1)
    assert found.outcome == REFUSED
    assert "9 known users decide nothing; gate.minimum_users is 20" in found.reason


def test_the_best_that_is_champion_already_is_refreshed() -> None:
    assert decide([judged("old", BASE)], "old", "old", "popular", GATE, 1).outcome == REFRESHED


def test_the_first_champion_has_to_beat_the_most_popular() -> None:
    better = decide([judged("popular", BASE), judged("new", BASE + 0.05)], "new", None, "popular", GATE, 1)
    worse = decide([judged("popular", BASE), judged("new", BASE - 0.05)], "new", None, "popular", GATE, 1)
    assert (better.outcome, better.champion) == (FIRST, "new")
    assert (worse.outcome, worse.champion) == (FIRST, "popular")


@pytest.mark.parametrize(
    ("extra", "challenger", "message"),
    [
        ([], {"items": 3}, "its coverage 0.030 is below 0.5 of old's 0.100"),
        ([], {"ms": 80.0}, "a list takes 80.0 ms, more than 50"),
        (
            [judged("old", BASE[:50], "Night owls"), judged("new", BASE[:50] - 0.2, "Night owls")],
            {},
            "segment Night owls loses 0.2000 nDCG",
        ),
    ],
)
def test_a_broken_guardrail_refuses_a_better_model(extra: list[Judged], challenger: dict, message: str) -> None:
    found = decide([judged("old", BASE), judged("new", BASE + 0.05, **challenger), *extra], "new", "old", "popular", GATE, 1)
    assert (found.outcome, found.champion) == (REFUSED, "old")
    assert message in found.reason
    assert message in found.tags()["decision.guardrails"]


@pytest.mark.parametrize(("spread", "broken"), [(0.0, True), (0.9, False)])
def test_a_segment_that_may_have_lost_by_chance_is_no_reason(spread: float, broken: bool) -> None:
    """A guardrail takes the loss beyond doubt, not the mean: a few people differ by as much from one week to the next."""
    loss = np.concatenate([np.full(20, -0.2 - spread), np.full(20, -0.2 + spread)])
    base = np.full(40, 0.5)
    extra = [judged("old", base, "Night owls"), judged("new", base + loss, "Night owls")]
    found = decide([judged("old", BASE), judged("new", BASE + 0.05), *extra], "new", "old", "popular", GATE, 1)
    assert bool(found.broken) == broken
    assert found.outcome == (REFUSED if broken else PROMOTED)


AHEAD = "new is ahead of old by +0.0500 nDCG (+0.0500 to +0.0500, 200 known users)"


def test_a_decision_says_why_this_challenger() -> None:
    refused = decide([judged("old", BASE), judged("new", BASE - 0.05)], "new", "old", "popular", GATE, 1)
    assert refused.by_validation({"old": 0.2, "new": 0.2858, "hybrid": 0.2853}, 10).reason == (
        refused.reason
        + "; new is the challenger as the best on the validation window (nDCG@10 0.2858; the next of 3 is hybrid with 0.2853)"
    )
    alone = refused.by_validation({"new": 0.2858}, 10).tags()["decision.reason"]
    assert alone.endswith("new is the challenger as the best on the validation window (nDCG@10 0.2858)")
    same = decide([judged("old", BASE)], "old", "old", "popular", GATE, 1).by_validation({"old": 0.3, "new": 0.2}, 5).reason
    assert same == "old is the best on the validation window, and champion already (nDCG@5 0.3000; the next of 2 is new with 0.2000)"
    assert refused.by_validation({}, 10) == refused


@pytest.mark.parametrize(
    ("models", "challenger", "holder", "expected"),
    [
        (["old", "new"], "new", "old", (PROMOTED, "new", "new", 0.05, [], AHEAD)),
        (["popular", "new"], "new", None, (FIRST, "new", "new", 0.05, [], AHEAD.replace("old", "popular"))),
        (["old"], "old", "old", (REFRESHED, "old", "old", None, [], "old is the best on the validation window, and champion already")),
        (["popular"], "popular", None, (FIRST, "popular", "popular", None, [], "popular is the best on the validation window")),
        (
            ["old"],
            None,
            "old",
            (REFRESHED, "old", "old", None, [], "old stays: nothing is left for a validation window, on which a challenger is chosen"),
        ),
        (
            ["popular"],
            None,
            None,
            (
                FIRST,
                "popular",
                "popular",
                None,
                [],
                "popular is taken: nothing is left for a validation window, on which a challenger is chosen",
            ),
        ),
    ],
)
def test_a_decision_says_all_of_itself(models: list[str], challenger: str | None, holder: str | None, expected: tuple) -> None:
    scores = {"old": BASE, "popular": BASE, "new": BASE + 0.05}
    found = decide([judged(name, scores[name]) for name in models], challenger, holder, "popular", GATE, 1)
    outcome, champion, named, advantage, broken, reason = expected
    assert (found.outcome, found.champion, found.challenger, found.broken, found.margin) == (outcome, champion, named, broken, GATE.margin)
    assert (found.advantage is None) == (advantage is None)
    if found.advantage:
        assert (found.advantage.mean, found.advantage.low, found.advantage.high) == pytest.approx((advantage,) * 3)
    assert found.reason == reason


def test_the_tags_of_a_decision_are_all_of_it() -> None:
    slow = decide([judged("old", BASE, items=20), judged("new", BASE + 0.05, items=2, ms=80.0)], "new", "old", "popular", GATE, 1)
    broken = "its coverage 0.020 is below 0.5 of old's 0.200; a list takes 80.0 ms, more than 50"
    assert slow.on("newest window", "80 people").tags() == {
        "decision": REFUSED,
        "decision.reason": f"old stays: {AHEAD}, but {broken}",
        "decision.challenger": "new",
        "decision.champion": "old",
        "decision.margin": "0",
        "decision.protocol": "newest window",
        "decision.judged_on": "80 people",
        "decision.advantage": "0.050000",
        "decision.advantage.low": "0.050000",
        "decision.advantage.high": "0.050000",
        "decision.guardrails": broken,
    }


@pytest.mark.parametrize(("ms", "loss", "broken"), [(50.0, 0.0, False), (50.1, 0.0, True), (1.0, GATE.maximum_segment_loss, False)])
def test_a_guardrail_is_broken_beyond_its_bound_and_not_at_it(ms: float, loss: float, broken: bool) -> None:
    segment = [judged("old", np.full(50, 0.5), "Night owls"), judged("new", np.full(50, 0.5) - loss, "Night owls")]
    found = decide([judged("old", BASE), judged("new", BASE + 0.05, ms=ms), *segment], "new", "old", "popular", GATE, 1)
    assert bool(found.broken) == broken


def test_a_person_overrules_by_a_version_that_there_is_or_by_the_one_before(configure, warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, asked = configure(CLICKS), []
    monkeypatch.setattr(registry, "require_version", lambda *wanted: asked.append(wanted))
    monkeypatch.setattr(registry, "version_before", lambda of, stage: f"before of {of.name} {stage}")
    monkeypatch.setattr(registry, "chosen", lambda store, of, stage: (store, of, stage))
    assert overruled(warehouse, settings, "7", False, "a trial") == Chosen("7", "person", "a trial")
    assert asked == [(settings, "recommendations", "7")]
    back = Chosen("before of test recommendations", "person", "over", way_back=True)
    assert overruled(warehouse, settings, None, True, "over") == back
    assert overruled(warehouse, settings, None, False, "") == (warehouse, settings, "recommendations")  # what is in use
    with pytest.raises(PromotionError, match="promote and rollback: expected one of the two"):
        overruled(warehouse, settings, "7", True, "both")
    assert len(asked) == 1


def test_bounds_of_the_gate_are_part_of_what_they_allow_or_not() -> None:
    """As many people as are needed are enough; an advantage has to be above the margin; a segment may lose as much as it may."""
    low, high = np.zeros(20), np.full(20, 0.5)
    just_enough = GateSettings(minimum_users=20, maximum_segment_loss=0.25)
    assert decide([judged("old", low), judged("new", high)], "new", "old", "popular", just_enough, 1).outcome == PROMOTED
    assert decide([judged("old", low[1:]), judged("new", high[1:])], "new", "old", "popular", just_enough, 1).outcome == REFUSED
    as_far = GateSettings(minimum_users=20, margin=0.5)
    assert decide([judged("old", low), judged("new", high)], "new", "old", "popular", as_far, 1).outcome == REFUSED
    for loss, outcome in ((0.25, PROMOTED), (0.375, REFUSED)):
        segment = [judged("old", high, "Night owls"), judged("new", high - loss, "Night owls")]
        found = decide([judged("old", low), judged("new", high), *segment], "new", "old", "popular", just_enough, 1)
        assert found.outcome == outcome
    assert found.broken == ["segment Night owls loses 0.3750 nDCG (0.3750 at least), more than 0.25"]


def test_the_same_comparison_is_decided_in_the_same_way() -> None:
    noise = np.random.default_rng(2).normal(0.05, 0.3, 60)
    segment = [judged("old", BASE[:60], "Night owls"), judged("new", BASE[:60] - 0.3 + noise, "Night owls")]
    entries = [judged("old", BASE[:60]), judged("new", BASE[:60] + noise), *segment]
    first, second = (decide(entries, "new", "old", "popular", GATE, 7) for _ in range(2))
    assert first == second
    assert "segment Night owls loses" in first.broken[0]


def test_a_weaker_protocol_stands_in_the_reason_and_the_newest_window_does_not() -> None:
    found = decide([judged("old", BASE)], "old", "old", "popular", GATE, 1)
    assert found.on(NEWEST, "80 people").reason == found.reason
    assert found.on("last items", "nobody came back").reason == f"{found.reason} (judged on the last items: nobody came back)"
