"""What two groups of people tell about a difference between what they were given: pure arithmetic on one number or pair of numbers a person.

Sources: A. Deng, U. Knoblich, J. Lu, Applying the Delta Method in Metric Analytics, KDD 2018 (ratios and relative differences); R. Kohavi, D. Tang, Y. Xu, Trustworthy
Online Controlled Experiments, 2020, chapters 15, 17 and 18 (power, variance); A. Fabijan et al., Diagnosing Sample Ratio Mismatch in Online Controlled
Experiments, KDD 2019; R. Johari, P. Koomen, L. Pekelis, D. Walsh, Always Valid Inference, Operations Research 2022, S. Howard, A. Ramdas, J. McAuliffe, J. Sekhon,
Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 2021, equation 14, and I. Waudby-Smith et al., Time-uniform central limit
theory and asymptotic confidence sequences, 2021 (the interval that may be looked at every day).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from persona_pipelines.intervals import Interval, ratio_variance

ALPHA = 0.05
POWER = 0.8


@dataclass(frozen=True)
class Estimate:
    """A number that was estimated, with its variance; nan where it cannot be told."""

    value: float
    variance: float

    def interval(self, alpha: float = ALPHA) -> Interval:
        """The two-sided interval of one look at a time that was fixed beforehand."""
        reach = float(stats.norm.ppf(1 - alpha / 2)) * math.sqrt(self.variance)
        return Interval(self.value, self.value - reach, self.value + reach)

    def always_valid(self, mixture: float, alpha: float = ALPHA) -> Interval:
        """The two-sided interval that covers at all looks together, however many and whenever: that of the mixture sequential probability ratio test.

        With the variance V of the estimate and a mixture of normal distribution with deviation t over the true values, the reach is
        sqrt(V (V + t²) / t² · log((V + t²) / (V α²))): equation 14 of Howard et al., the asymptotic confidence sequence of Waudby-Smith et al. with ρ = t / σ.

        Args:
            mixture: t, fixed beforehand; the interval is narrowest, for what it promises, where the truth is of this size.
        """
        both, square = self.variance + mixture**2, mixture**2
        if not self.variance > 0:
            return Interval(self.value, float("nan"), float("nan"))
        reach = math.sqrt(self.variance * both / square * math.log(both / (self.variance * alpha**2)))
        return Interval(self.value, self.value - reach, self.value + reach)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> Estimate:
    """The sum of a number over that of another, each of shape (people,); with ones below it is a mean."""
    people, below = np.array(len(numerator)), denominator.sum()
    variance = ratio_variance(people, numerator.sum(), below, (numerator**2).sum(), (numerator * denominator).sum(), (denominator**2).sum())
    return Estimate(float(numerator.sum() / below) if below else float("nan"), float(variance))


def deviation(numerator: np.ndarray, denominator: np.ndarray) -> float:
    """Standard deviation of one person's part in a ratio: the variance of the ratio is its square over the number of people."""
    return math.sqrt(ratio(numerator, denominator).variance * len(numerator))


def difference(treated: Estimate, control: Estimate) -> Estimate:
    """How much more the one group has than the other, which is independent of it."""
    return Estimate(treated.value - control.value, treated.variance + control.variance)


def relative_interval(treated: Estimate, control: Estimate, alpha: float = ALPHA) -> Interval:
    """The relative difference (0.05 for five per cent more) with the two-sided interval of one look, by Fieller's theorem (E. Fieller, JRSS B 1954).

    It holds 0 where the interval of the ``difference`` does, which the delta method for a ratio does not promise: of sums of money, where a control that is low by
    chance varies little too, that one is too narrow. nan where the control may be nothing.
    """
    quantile = float(stats.norm.ppf(1 - alpha / 2))
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    if not control.value > 0:
        return nothing
    times, unsure = treated.value / control.value, quantile**2 * control.variance / control.value**2
    if not unsure < 1:
        return nothing
    reach = quantile / control.value * math.sqrt(treated.variance * (1 - unsure) + times**2 * control.variance)
    return Interval(times - 1, (times - reach) / (1 - unsure) - 1, (times + reach) / (1 - unsure) - 1)


def always_valid_relative(treated: Estimate, control: Estimate, effect: float, alpha: float = ALPHA) -> Interval:
    """The relative difference with the interval that covers at all looks together: that of the logarithm of the ratio, whose variance is found by the delta method.

    Args:
        effect: the relative one that is looked for; the interval is narrowest there.
    """
    times = log_ratio(treated, control)
    found = times.always_valid(math.log1p(effect), alpha)
    return Interval(math.expm1(found.mean), math.expm1(found.low), math.expm1(found.high))


def log_ratio(treated: Estimate, control: Estimate) -> Estimate:
    """The logarithm of how many times the control's value the other has (of response ratios: L. Hedges, J. Gurevitch, P. Curtis, Ecology 1999); nan where one of them
    has nothing."""
    if not (treated.value > 0 and control.value > 0):
        return Estimate(float("nan"), float("nan"))
    variance = treated.variance / treated.value**2 + control.variance / control.value**2
    return Estimate(math.log(treated.value / control.value), variance)


def capped(values: np.ndarray, quantile: float | None) -> tuple[np.ndarray, float]:
    """Numbers of all groups together, those above a quantile set down to it (winsorised), and the cap; as they are where none is asked for.

    Args:
        quantile: of the numbers above 0; None for none.
    """
    if quantile is None or not (values > 0).any():
        return values, float("inf")
    cap = float(np.quantile(values[values > 0], quantile))
    return np.minimum(values, cap), cap


def sample_ratio(people: Sequence[int], shares: Sequence[float]) -> float:
    """The chance that shares which were kept give numbers of people as far from them as these (Pearson's chi-square); 1 without anybody."""
    total = sum(people)
    if not total:
        return 1.0
    return float(stats.chisquare(people, [total * share / sum(shares) for share in shares]).pvalue)


def people_for_mean(
    baseline: float, spread: float, effect: float, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> int:
    """People of both groups together that are needed to find a relative effect on a mean or ratio, by the interval of its ``difference``.

    Args:
        baseline: the mean; ``spread``: the standard deviation of one person's part in it (``deviation``); that of the treated is taken to grow as their mean.
        effect: relative to the baseline: 0.05 is five per cent more.
        shares: of control and treated among the people.
    """
    return _people((spread, spread * (1 + effect)), baseline * effect, shares, alpha, power)


def people_for_rate(
    baseline: float, effect: float, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> int:
    """People of both groups together that are needed to find a relative effect on the share of people who do something.

    Raises:
        ValueError: the baseline, or what the effect makes of it, is no rate.
    """
    return _people((_spread(baseline), _spread(baseline * (1 + effect))), baseline * effect, shares, alpha, power)


def effect_of_mean(
    baseline: float, spread: float, people: int, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest relative effect on a mean or ratio that is found with so many people of both groups together; nan where none is."""
    control, treated = (sum(shares) / share for share in shares)
    enough = people * (baseline / spread / _quantiles(alpha, power)) ** 2 - treated
    return (treated + math.sqrt(treated**2 + enough * (control + treated))) / enough if enough > 0 else float("nan")


def effect_of_rate(
    baseline: float, people: int, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest relative rise of a rate that is found with so many people of both groups together; nan where that would be beyond 1."""

    def missing(effect: float) -> float:
        each = _each((_spread(baseline), _spread(baseline * (1 + effect))), shares)
        return (baseline * effect) ** 2 * people - _quantiles(alpha, power) ** 2 * each

    least, most = 1e-9, (1 - baseline) / baseline * (1 - 1e-9)
    return float(optimize.brentq(missing, least, most)) if missing(most) > 0 else float("nan")


def _spread(rate: float) -> float:
    """Standard deviation of a thing that happens or not. Raises ValueError where it is no rate."""
    if not 0 < rate < 1:
        raise ValueError(f"found a rate of {rate:g}; expected one between 0 and 1")
    return math.sqrt(rate * (1 - rate))


def _each(spreads: tuple[float, float], shares: tuple[float, float]) -> float:
    """Variance of the difference with one person of both groups together."""
    return sum(spread**2 / (share / sum(shares)) for spread, share in zip(spreads, shares, strict=True))


def _people(spreads: tuple[float, float], found: float, shares: tuple[float, float], alpha: float, power: float) -> int:
    return math.ceil(_quantiles(alpha, power) ** 2 * _each(spreads, shares) / found**2)


def _quantiles(alpha: float, power: float) -> float:
    return float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
