"""Formulas, held against libraries, published examples and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.stats.contingency import relative_risk

from persona_pipelines.intervals import rate_bounds
from persona_pipelines.serving import inference
from persona_pipelines.serving.inference import (
    Estimate,
    always_valid_relative,
    capped,
    deviation,
    difference,
    log_ratio,
    ratio,
    relative_interval,
    sample_ratio,
)


def test_of_one_number_a_person_the_variance_is_that_of_a_mean() -> None:
    values = np.random.default_rng(1).gamma(2, 3, 200)
    found = ratio(values, np.ones(200))
    assert found.value == pytest.approx(values.mean())
    assert found.variance == pytest.approx(stats.sem(values) ** 2)
    assert deviation(values, np.ones(200)) == pytest.approx(values.std(ddof=1))


def test_the_difference_of_two_means_has_the_variance_of_welch() -> None:
    """``scipy.stats.ttest_ind`` without equal variances, of many people, where its t distribution is normal."""
    chance = np.random.default_rng(2)
    one, other = chance.gamma(2, 3, 40_000), chance.gamma(2, 3.1, 30_000)
    found = difference(ratio(one, np.ones_like(one)), ratio(other, np.ones_like(other))).interval()
    expected = stats.ttest_ind(one, other, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-5)


def test_the_variance_of_a_ratio_is_that_of_many_draws_of_people() -> None:
    chance = np.random.default_rng(3)
    lists = 1.0 + chance.poisson(3, 400)
    clicks = chance.binomial(lists.astype(int), chance.beta(1, 4, 400)).astype(float)
    drawn = chance.integers(0, 400, (20_000, 400))
    bootstrap = (clicks[drawn].sum(axis=1) / lists[drawn].sum(axis=1)).var()
    assert ratio(clicks, lists).variance == pytest.approx(bootstrap, rel=0.05)
    assert deviation(clicks, lists) ** 2 / 400 == pytest.approx(ratio(clicks, lists).variance)


def test_the_logarithm_of_a_ratio_of_rates_is_that_of_scipys_relative_risk() -> None:
    """Katz et al. 1978; ours divides by one person less."""
    for bought, people, bought_too, people_too in ((300, 5_000, 240, 4_800), (40, 9_000, 70, 9_100)):
        found = log_ratio(of_people(bought, people), of_people(bought_too, people_too)).interval()
        expected = relative_risk(bought, people, bought_too, people_too)
        bounds = expected.confidence_interval()
        assert math.exp(found.mean) == pytest.approx(expected.relative_risk)
        assert (math.exp(found.low), math.exp(found.high)) == pytest.approx((bounds.low, bounds.high), rel=1e-4)


def of_people(having: int, people: int) -> Estimate:
    return ratio(np.repeat([1.0, 0.0], [having, people - having]), np.ones(people))


@pytest.mark.parametrize("alpha", [0.05, 0.1])
def test_bounds_of_the_relative_difference_are_fiellers_and_hold_0_where_those_of_the_difference_do(alpha: float) -> None:
    """At a bound, the treated less so many times the control is as far from 0 as the level allows; with a control that is known, all is divided by it."""
    quantile = stats.norm.ppf(1 - alpha / 2)
    for treated, control in (
        (Estimate(2.3, 0.02), Estimate(2.0, 0.03)),
        (Estimate(2.7, 0.05), Estimate(2.0, 0.03)),
        (Estimate(1, 4), Estimate(9, 1)),
    ):
        found = relative_interval(treated, control, alpha)
        for times in (1 + found.low, 1 + found.high):
            apart = abs(treated.value - times * control.value)
            assert apart == pytest.approx(quantile * math.sqrt(treated.variance + times**2 * control.variance))
        plain = difference(treated, control).interval(alpha)
        assert (found.low > 0, found.high < 0) == (plain.low > 0, plain.high < 0)
    known = relative_interval(Estimate(2.3, 0.02), Estimate(2, 0), alpha)
    assert known.high - known.low == pytest.approx(2 * quantile * math.sqrt(0.02) / 2)


def test_nothing_has_no_relative_difference() -> None:
    assert math.isnan(log_ratio(Estimate(1, 1), Estimate(0, 0)).value)
    assert math.isnan(log_ratio(Estimate(0, 0), Estimate(1, 1)).variance)
    assert math.isnan(relative_interval(Estimate(1, 1), Estimate(0, 0)).low)
    assert math.isnan(relative_interval(Estimate(1, 1), Estimate(1, 1)).mean)  # a control that may be nothing
    assert math.isnan(always_valid_relative(Estimate(0, 0), Estimate(1, 1), 0.1).low)
    assert math.isnan(ratio(np.array([]), np.array([])).value)
    assert math.isnan(Estimate(1.0, float("nan")).always_valid(0.1).low)


def test_bounds_of_rates_of_one_list_a_person_are_wilsons() -> None:
    for clicks, people in ((3, 40), (150, 900), (0, 50), (20, 20)):
        rate = np.array([clicks / people])
        variance = rate * (1 - rate) / people
        low, high = rate_bounds(rate, variance, np.array([people]))
        expected = stats.binomtest(clicks, people).proportion_ci(method="wilson")
        assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize("people", [50, 1_000, 200_000])
def test_the_always_valid_interval_is_the_published_boundary(people: int) -> None:
    """Equation 14 of Howard et al. 2021 for the sum of unit variance, and the asymptotic confidence sequence of Waudby-Smith et al. 2021 (its two-sided form)."""
    deviation_of_one, mixture, alpha = 3.0, 0.2, 0.05
    found = Estimate(0.0, deviation_of_one**2 / people).always_valid(mixture, alpha)
    rho = mixture / deviation_of_one
    waudby_smith = deviation_of_one * math.sqrt(
        2 * (people * rho**2 + 1) / (people**2 * rho**2) * math.log(math.sqrt(people * rho**2 + 1) / alpha)
    )
    assert found.high == pytest.approx(waudby_smith)
    time, prior = people / deviation_of_one**2, 1 / mixture**2
    howard = math.sqrt((time + prior) * math.log((time + prior) / (alpha**2 * prior))) / time
    assert found.high == pytest.approx(howard)
    assert found.low == -found.high
    assert found.high > Estimate(0.0, deviation_of_one**2 / people).interval(alpha).high


def test_the_always_valid_interval_covers_a_random_walk_at_all_of_its_steps() -> None:
    chance = np.random.default_rng(4)
    walks = np.cumsum(chance.normal(size=(1_000, 2_000)), axis=1) / np.arange(1, 2_001)
    reach = np.array([Estimate(0.0, 1 / people).always_valid(0.1).high for people in range(1, 2_001)])
    fixed = np.array([Estimate(0.0, 1 / people).interval().high for people in range(1, 2_001)])
    assert (np.abs(walks) <= reach).all(axis=1).mean() >= 0.95
    assert (np.abs(walks) <= fixed)[:, 99:].all(axis=1).mean() < 0.8  # looking every day at an interval of one look


def test_a_broken_split_is_the_published_one() -> None:
    """Kohavi, Tang, Xu 2020, chapter 3: 821,588 people of control and 815,482 of treatment, planned half and half: p = 1.8e-6."""
    assert sample_ratio([821_588, 815_482], [0.5, 0.5]) == pytest.approx(1.8e-6, rel=0.05)
    assert sample_ratio([900, 100], [0.9, 0.1]) == 1
    assert sample_ratio([0, 0], [0.5, 0.5]) == 1


def test_the_people_needed_are_those_of_the_published_examples() -> None:
    """Kohavi, Longbotham, Sommerfield, Henne 2009, section 3.2.1, by the rule 16 σ² / Δ² a variant: 409,600 for 5 % of 3.75 dollars with a deviation of 30, and
    121,600 for 5 % of a conversion of 5 %. The 16 is 15.7 rounded, and ours lets the treated spread more, as their mean is higher."""
    assert inference.people_for_mean(3.75, 30, 0.05) / 2 == pytest.approx(409_600, rel=0.04)
    assert inference.people_for_rate(0.05, 0.05) / 2 == pytest.approx(121_600, rel=0.04)
    small = 2 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * (30 / (3.75 * 0.001)) ** 2
    assert inference.people_for_mean(3.75, 30, 0.001) / 2 == pytest.approx(small, rel=0.002)


def test_with_the_people_needed_the_chance_is_the_power() -> None:
    people = inference.people_for_rate(0.1, 0.2, (0.3, 0.7), 0.05, 0.9)
    chance = np.random.default_rng(5)
    control = chance.binomial(round(0.3 * people), 0.1, 20_000) / round(0.3 * people)
    treated = chance.binomial(round(0.7 * people), 0.12, 20_000) / round(0.7 * people)
    variance = treated * (1 - treated) / (0.7 * people) + control * (1 - control) / (0.3 * people)
    found = treated - control > 1.96 * np.sqrt(variance)
    assert found.mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1)])
def test_the_effect_that_is_found_needs_the_people_at_hand(shares: tuple[float, float]) -> None:
    for people in (500, 60_000):
        effect = inference.effect_of_mean(4, 9, people, shares)
        assert inference.people_for_mean(4, 9, effect, shares) == pytest.approx(people, abs=1)
        of_rate = inference.effect_of_rate(0.05, people, shares)
        assert inference.people_for_rate(0.05, of_rate, shares) == pytest.approx(people, abs=1)
    assert math.isnan(inference.effect_of_rate(0.9, 20, shares))
    assert math.isnan(inference.effect_of_mean(4, 900, 20, shares))


def test_what_is_no_rate_is_said() -> None:
    with pytest.raises(ValueError, match=r"found a rate of 1\.1"):
        inference.people_for_rate(0.5, 1.2)


def test_amounts_are_set_down_only_where_it_is_asked_for() -> None:
    values = np.array([0.0, 1, 2, 3, 100])
    used, cap = capped(values, None)
    assert (used is values, cap) == (True, float("inf"))
    used, cap = capped(values, 0.75)
    assert (cap, used.max(), used[:4].tolist()) == (27.25, 27.25, [0, 1, 2, 3])  # of 1, 2, 3 and 100
    assert capped(np.zeros(3), 0.9)[1] == float("inf")


def test_the_always_valid_relative_difference_is_that_of_the_logarithm() -> None:
    treated, control = Estimate(2.2, 0.02), Estimate(2.0, 0.03)
    found = always_valid_relative(treated, control, 0.1)
    of_logarithm = log_ratio(treated, control).always_valid(math.log(1.1))
    assert found.mean == pytest.approx(0.1)
    assert (math.log1p(found.low), math.log1p(found.high)) == pytest.approx((of_logarithm.low, of_logarithm.high))
