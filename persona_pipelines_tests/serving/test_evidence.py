"""That results can be believed: in a simulated shop whose truth is known, errors are as rare, and effects found as often, as is promised.

Each repetition has people, a division of them and days of its own. Bounds are those of the binomial distribution for what is promised.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from persona_pipelines.serving.inference import Estimate, sample_ratio
from persona_pipelines.serving.judging import BETTER, FINAL, UNLIKELY, WITHHELD, judged
from persona_pipelines.serving.outcomes import GROUP, with_intervals
from persona_pipelines.serving.planning import measured, people_needed
from persona_pipelines_tests.serving.shop import DAYS, Shop, experiment, opened

REPETITIONS = 400
PEOPLE = 2_000


MEASURED = ("click_rate", "purchase_rate", "revenue_per_person")


@cache
def nothing_to_find() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.ndarray]:
    """Of repetitions in which the variants are the same: whether the interval at the end and the always-valid one at all ends of days cover 0, by metric, and whether one
    of the click rate does that takes each list for a person."""
    fixed: dict[str, list[bool]] = {metric: [] for metric in MEASURED}
    always: dict[str, list[bool]] = {metric: [] for metric in MEASURED}
    by_list = []
    for number in range(REPETITIONS):
        chosen = experiment(salt=f"repetition {number:07d}")
        shop = opened(np.random.default_rng(number), chosen, PEOPLE)
        days = [shop.exposed(day) for day in range(1, DAYS + 1)]
        for metric in MEASURED:
            asked = chosen.model_copy(update={"metric": metric})
            looks = [judged(asked, exposed) for exposed in days]
            always[metric].append(all(found.always_valid.low <= 0 <= found.always_valid.high for look in looks for found in look.found))
            if looks[-1].status == FINAL:
                relative = looks[-1].found[0].relative
                fixed[metric].append(relative.low <= 0 <= relative.high)
        by_list.append(_unclustered_covers(shop))
    return (
        {name: np.array(covers) for name, covers in fixed.items()},
        {name: np.array(covers) for name, covers in always.items()},
        np.array(by_list),
    )


def _found(number: int, people: int, clicks: float) -> str | None:
    chosen = experiment(salt=f"repetition {number:07d}")
    shop = opened(np.random.default_rng(number), chosen, people, clicks=clicks)
    return next((compared.verdict for compared in judged(chosen, shop.exposed()).found), None)


def _unclustered_covers(shop: Shop) -> bool:
    rates = []
    for _, own in shop.exposed().totals.groupby("variant"):
        rate = own["clicks"].sum() / own["lists"].sum()
        rates.append(Estimate(rate, rate * (1 - rate) / own["lists"].sum()))
    apart = Estimate(rates[0].value - rates[1].value, rates[0].variance + rates[1].variance).interval()
    return apart.low <= 0 <= apart.high


@pytest.mark.slow
@pytest.mark.parametrize("metric", MEASURED)
def test_intervals_of_the_same_lists_for_all_cover_nothing_as_often_as_they_say(metric: str) -> None:
    fixed = nothing_to_find()[0][metric]
    assert len(fixed) >= 0.99 * REPETITIONS
    assert 0.93 <= fixed.mean() <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("metric", MEASURED)
def test_who_looks_every_day_is_misled_in_five_of_a_hundred_experiments_at_most(metric: str) -> None:
    assert nothing_to_find()[1][metric].mean() >= 0.95


@pytest.mark.slow
def test_an_interval_that_takes_each_list_for_a_person_is_wrong_far_too_often() -> None:
    """Why none such is given: the lists of one person are alike."""
    assert nothing_to_find()[2].mean() < 0.85


@pytest.mark.slow
def test_intervals_of_results_cover_the_truth_as_often_as_they_say() -> None:
    """Those of the table ``list_results``: of 300 people each, against the rate of half a million."""
    whole = opened(np.random.default_rng(8_888), experiment(), 500_000).exposed().totals
    truth = whole["clicks"].sum() / whole["lists"].sum()
    groups = [opened(np.random.default_rng(2_000_000 + number), experiment(), 300).exposed().totals for number in range(REPETITIONS)]
    told = with_intervals(pd.DataFrame([_sums(number, group) for number, group in enumerate(groups)]), 20)
    covers = (told["click_rate_low"] <= truth) & (truth <= told["click_rate_high"])
    assert 0.93 <= covers.mean() <= 0.97


def _sums(number: int, totals: pd.DataFrame) -> dict[str, Any]:
    """The row that ``outcomes.results`` makes of a group of people."""
    known: dict[str, Any] = dict.fromkeys(GROUP, "x") | {"value": f"{number:04d}", "people": len(totals)}
    for name in ("lists", "clicks", "conversions", "revenue"):
        values = totals[name].to_numpy(dtype=float)
        known |= {name: values.sum(), f"{name}_squares": (values**2).sum(), f"{name}_products": (values * totals["lists"]).sum()}
    return known


@pytest.mark.slow
def test_an_effect_is_found_as_often_as_was_reckoned_beforehand() -> None:
    before = opened(np.random.default_rng(9_999), experiment(), 200_000).exposed().totals
    people = people_needed("click_rate", measured("click_rate", before), 0.1, (0.5, 0.5), 0.8)
    verdicts = [_found(1_000_000 + number, people, clicks=0.1) for number in range(REPETITIONS)]  # others than those above
    found = verdicts.count(BETTER)
    low, high = stats.binom.interval(0.99, REPETITIONS, 0.8)
    assert low <= found <= high


@pytest.mark.slow
def test_an_arm_that_lost_people_is_flagged_and_a_whole_one_hardly_ever() -> None:
    """Half and half of 20,000 people; of one arm five of a hundred gone, which is 3.6 standard errors of its share."""
    chance = np.random.default_rng(1)
    whole = chance.binomial(20_000, 0.5, 20_000)
    numbers, place = np.unique(whole, return_inverse=True)
    flagged = np.array([sample_ratio([int(one), 20_000 - int(one)], [0.5, 0.5]) < UNLIKELY for one in numbers])[place]
    assert flagged.sum() <= stats.binom.ppf(0.999, len(whole), UNLIKELY)
    assert flagged.mean() <= 0.005
    some = whole[:5_000]
    kept = chance.binomial(some, 0.95)
    broken = np.array([sample_ratio([int(one), 20_000 - int(all_)], [0.5, 0.5]) < UNLIKELY for one, all_ in zip(kept, some, strict=True)])
    apart = (0.5 - 0.95 / 1.95) / math.sqrt(0.25 / 19_500)
    expected = stats.norm.cdf(apart - stats.norm.ppf(1 - UNLIKELY / 2))
    assert broken.mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.slow
def test_a_shop_that_loses_lists_of_one_variant_gets_no_result() -> None:
    """By the way of the tables: 40,000 people, of whom five of a hundred of one variant are not logged."""
    chosen = experiment()
    found = opened(np.random.default_rng(5), chosen, 40_000, days=2).exposed(2)
    bold = found.totals.index[found.totals["variant"] == "bold"]
    lost = np.random.default_rng(6).random(len(bold)) < 0.05
    assert judged(chosen, found).status != WITHHELD
    assert judged(chosen, replace(found, totals=found.totals.drop(bold[lost]))).status == WITHHELD
