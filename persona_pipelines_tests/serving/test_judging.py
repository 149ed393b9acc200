"""What an experiment says, and when it says nothing."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from persona_pipelines.serving import judging
from persona_pipelines.serving.experiments import METRICS, ExperimentError
from persona_pipelines.serving.judging import (
    BETTER,
    BROKEN,
    FINAL,
    KEPT,
    OPEN,
    PRELIMINARY,
    STOPPED_EARLY,
    TOO_EARLY,
    UNDECIDED,
    WITHHELD,
    WORSE,
    end_of_counting,
    judged,
)
from persona_pipelines.serving.planning import effect_found, given, measured, people_needed
from persona_pipelines_tests.serving.shop import DAYS, STARTED, Shop, experiment, opened

HALVES = [{"name": "control", "share": 0.5}, {"name": "bold", "share": 0.5}]


@pytest.fixture(scope="module")
def shop() -> Shop:
    """6,000 people, of whom the treated click half as much again."""
    return opened(np.random.default_rng(1), experiment(), 6_000, clicks=0.5)


def test_a_difference_is_found_at_the_planned_end_and_the_figures_are_those_of_people(shop: Shop) -> None:
    found = judged(experiment(), shop.exposed())
    (compared,) = found.found
    totals = shop.exposed().totals
    rates = {name: own["clicks"].sum() / own["lists"].sum() for name, own in totals.groupby("variant")}
    assert (found.status, compared.verdict) == (FINAL, BETTER)
    assert (compared.value, compared.control) == pytest.approx((rates["bold"], rates["control"]))
    assert compared.difference.mean == pytest.approx(rates["bold"] - rates["control"])
    assert compared.relative.mean == pytest.approx(rates["bold"] / rates["control"] - 1)
    assert compared.always_valid.low < compared.relative.low < compared.relative.mean < compared.relative.high < compared.always_valid.high
    assert sum(found.people.values()) == 6_000
    assert found.told[0] == "final: the 14 planned days are over, and what comes later does not change the result"
    assert "bold: better in click_rate" in found.told[2]


def test_the_other_way_round_it_is_worse(shop: Shop) -> None:
    turned = experiment(variants=HALVES[::-1])
    assert judged(turned, shop.exposed()).found[0].verdict == WORSE


def test_before_the_planned_end_the_always_valid_interval_decides(shop: Shop) -> None:
    """One exposure at which both intervals part: the fixed one has excluded 0, the other has not."""
    for day in range(1, DAYS):
        found = judged(experiment(effect=0.001), shop.exposed(day))
        if found.found and found.found[0].relative.low > 0 and found.found[0].always_valid.low <= 0:
            break
    else:
        pytest.fail("the two never part")
    assert (found.status, found.found[0].verdict) == (PRELIMINARY, OPEN)
    assert "always-valid interval" in found.told[2]
    assert "the fixed interval is that of a look which was not planned" in found.told[0]


def test_one_that_was_stopped_before_its_end_is_no_final_result(shop: Shop) -> None:
    stopped = experiment(stopped=STARTED + dt.timedelta(days=5))
    found = judged(stopped, replace(shop.exposed(5), until=STARTED + dt.timedelta(days=90)))
    assert found.status == STOPPED_EARLY
    assert found.told[0].startswith("stopped early: it was stopped before its planned end; ")


def test_what_comes_after_the_planned_end_is_not_counted() -> None:
    assert end_of_counting(experiment()) == STARTED + dt.timedelta(days=DAYS)
    assert end_of_counting(experiment(stopped=STARTED + dt.timedelta(days=2))) == STARTED + dt.timedelta(days=2)
    assert end_of_counting(experiment(stopped=STARTED + dt.timedelta(days=200))) == STARTED + dt.timedelta(days=DAYS)


def test_fewer_people_than_planned_are_said(shop: Shop) -> None:
    assert "fewer people than the 60,000 of the plan" in judged(experiment(people=60_000), shop.exposed()).told[0]


def test_a_broken_split_withholds_the_result_and_names_causes(shop: Shop) -> None:
    found = shop.exposed()
    bold = found.totals.index[found.totals["variant"] == "bold"]
    judgement = judged(experiment(), replace(found, totals=found.totals.drop(bold[::10])))
    assert (judgement.status, judgement.found, judgement.guards) == (WITHHELD, (), ())
    assert judgement.sample_ratio < 0.001
    assert "robots that keep to one" in judgement.told[0]


def test_with_too_few_people_or_too_little_of_the_metric_it_is_too_early(shop: Shop) -> None:
    everyone = shop.exposed()
    few = replace(everyone, totals=everyone.totals.groupby("variant").head(99))
    assert judged(experiment(), few).told[0] == "too early: control has 99 people; 100 are needed"
    idle = replace(everyone, totals=everyone.totals.assign(bought=0.0))
    judgement = judged(experiment(guards=[{"metric": "purchase_rate", "margin": 0.1}]), idle)
    assert (judgement.status, judgement.found) == (TOO_EARLY, ())
    assert judgement.told[0] == "too early: 0 people of control have anything of purchase_rate; 20 are needed"
    nobody = replace(everyone, totals=everyone.totals.head(0), until=None)
    assert judged(experiment(), nobody).status == TOO_EARLY


def test_people_of_two_variants_are_told_and_many_are_asked_about(shop: Shop) -> None:
    assert "more than one variant" not in judged(experiment(), shop.exposed()).told[1]
    assert (
        "; 3 were shown lists of more than one variant and are left out"
        in judged(experiment(), replace(shop.exposed(), in_several=3)).told[1]
    )
    assert "were shares or salt changed?" in judged(experiment(), replace(shop.exposed(), in_several=300)).told[1]


def test_a_guard_is_kept_broken_or_open(shop: Shop) -> None:
    """Clicks rise by half here: with the control and the treated changed over, they fall by a third."""
    kept = judged(experiment(metric="purchase_rate", guards=[{"metric": "click_rate", "margin": 0.01}]), shop.exposed())
    assert [guard.verdict for guard in kept.guards] == [KEPT]
    turned = experiment(metric="purchase_rate", guards=[{"metric": "click_rate", "margin": 0.05}], variants=HALVES[::-1])
    broken = judged(turned, shop.exposed())
    assert [guard.verdict for guard in broken.guards] == [BROKEN]
    assert "guard click_rate of control: broken (relative difference -3" in broken.told[-1]
    narrow = experiment(
        metric="purchase_rate", guards=[{"metric": "click_rate", "margin": -broken.guards[0].relative}], variants=HALVES[::-1]
    )
    assert [guard.verdict for guard in judged(narrow, shop.exposed()).guards] == [UNDECIDED]


def test_a_guard_is_one_sided() -> None:
    """Each of its bounds errs with 5 %, where that of the metric errs with 2.5 %."""
    shop = opened(np.random.default_rng(2), experiment(), 3_000)
    found = judged(experiment(guards=[{"metric": "click_rate", "margin": 0.05}]), shop.exposed())
    assert found.found[0].relative.low < found.guards[0].low < found.guards[0].high < found.found[0].relative.high


def test_large_amounts_are_set_down_only_as_declared_and_it_is_said(shop: Shop) -> None:
    plain = judged(experiment(metric="revenue_per_person"), shop.exposed()).found[0]
    assert (plain.cap, plain.capped) == (float("inf"), 0)
    judgement = judged(experiment(metric="revenue_per_person", winsorise=0.95), shop.exposed())
    declared = judgement.found[0]
    paying = (shop.exposed().totals["revenue"] > 0).sum()
    assert declared.capped == pytest.approx(0.05 * paying, abs=1)
    assert declared.value < plain.value
    assert f"amounts above {declared.cap:,.2f} are set down to it ({declared.capped:,} people)" in judgement.told[2]
    rate = judged(experiment(metric="click_rate", winsorise=0.95, guards=[{"metric": "revenue_per_person", "margin": 0.1}]), shop.exposed())
    assert rate.found[0].capped == 0
    assert rate.guards[0].capped == declared.capped
    assert rate.told[-1].endswith(f"({declared.capped:,} people)")


def test_several_variants_share_the_chance_of_an_error() -> None:
    chosen = experiment(variants=[{"name": "control", "share": 0.4}, {"name": "bold", "share": 0.3}, {"name": "shy", "share": 0.3}])
    found = judged(chosen, opened(np.random.default_rng(3), chosen, 4_000).exposed())
    assert [compared.variant for compared in found.found] == ["bold", "shy"]
    assert judging.alpha_of(chosen) == 0.025
    two = chosen.model_copy(update={"variants": chosen.variants[:2]})
    wide, narrow = (
        found.found[0].relative,
        judging._compared(two, "bold", opened(np.random.default_rng(3), chosen, 4_000).exposed().totals, True).relative,
    )
    assert wide.low < narrow.low < narrow.high < wide.high


def test_each_metric_is_judged(shop: Shop) -> None:
    for name in METRICS:
        found = judged(experiment(metric=name), shop.exposed()).found[0]
        assert found.control > 0, name
        assert found.relative.mean > 0, name


def test_a_plan_asks_for_as_many_people_as_its_effect_needs(shop: Shop) -> None:
    baseline = measured("click_rate", shop.exposed().totals)
    assert baseline.people == 6_000
    halves = people_needed("click_rate", baseline, 0.05, (0.5, 0.5))
    assert effect_found("click_rate", baseline, halves, (0.5, 0.5)) == pytest.approx(0.05, rel=0.001)
    assert people_needed("click_rate", baseline, 0.05, (0.9, 0.1)) > 2 * halves
    assert people_needed("click_rate", baseline, 0.05, (0.25, 0.25, 0.25, 0.25)) > 2 * halves  # fewer of each, and a stricter level
    assert np.isnan(effect_found("click_rate", baseline, 0, (0.5, 0.5)))
    rate = given("purchase_rate", 0.05, None)
    assert effect_found("purchase_rate", rate, people_needed("purchase_rate", rate, 0.1, (0.5, 0.5)), (0.5, 0.5)) == pytest.approx(
        0.1, rel=0.001
    )


def test_a_plan_without_what_it_needs_says_so(shop: Shop) -> None:
    with pytest.raises(ExperimentError, match="0 of 0 people who were shown lists have anything of click_rate"):
        measured("click_rate", shop.exposed().totals.head(0))
    with pytest.raises(ExperimentError, match="spread: not given; expected the standard deviation of one person's part in click_rate"):
        given("click_rate", 0.1, None)
    with pytest.raises(ExperimentError, match=r"spread: found 0\.3; expected none"):
        given("purchase_rate", 0.1, 0.3)
    with pytest.raises(ExperimentError, match="baseline: found 5; expected a rate between 0 and 1"):
        given("purchase_rate", 5, None)
    with pytest.raises(ExperimentError, match=r"effect: found 1, which takes a rate of 0\.6 beyond 1"):
        people_needed("purchase_rate", given("purchase_rate", 0.6, None), 1.0, (0.5, 0.5))
