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


def log_ratio(treated: Estimate, control: Estimate) -> Estimate:
    """The logarithm of how many times the control's value the other has, by the delta method; nan where one of them has nothing.

    Intervals are made of the logarithm (as of response ratios: L. Hedges, J. Gurevitch, P. Curtis, Ecology 1999), and ``relative`` makes relative differences of them. Of
    the ratio itself they would be too narrow wherever a control that is low by chance also varies little, as sums of money do after few days.
    """
    if not (treated.value > 0 and control.value > 0):
        return Estimate(float("nan"), float("nan"))
    variance = treated.variance / treated.value**2 + control.variance / control.value**2
    return Estimate(math.log(treated.value / control.value), variance)


def relative(interval: Interval) -> Interval:
    """An interval of a ``log_ratio`` as one of the relative difference: 0.05 for five per cent more."""
    return Interval(math.expm1(interval.mean), math.expm1(interval.low), math.expm1(interval.high))


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


def _quantiles(alpha: float, power: float) -> float:
    return float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))


def people_for_mean(
    baseline: float, spread: float, effect: float, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> int:
    """People of both groups together that are needed to find a relative effect on a mean or ratio, by the interval of its ``log_ratio``.

    Args:
        baseline: the mean; ``spread``: the standard deviation of one person's part in it (``deviation``); that of the treated is taken to grow as their mean.
        effect: relative to the baseline: 0.05 is five per cent more.
        shares: of control and treated among the people.
    """
    variation = (spread / baseline) ** 2
    return _people((variation, variation), effect, shares, alpha, power)


def people_for_rate(
    baseline: float, effect: float, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> int:
    """People of both groups together that are needed to find a relative effect on the share of people who do something.

    Raises:
        ValueError: the baseline, or what the effect makes of it, is no rate.
    """
    return _people((_variation(baseline), _variation(baseline * (1 + effect))), effect, shares, alpha, power)


def effect_of_mean(
    baseline: float, spread: float, people: int, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest relative effect on a mean or ratio that is found with so many people of both groups together."""
    variation = (spread / baseline) ** 2
    return math.expm1(_quantiles(alpha, power) * math.sqrt(_each((variation, variation), shares) / people))


def effect_of_rate(
    baseline: float, people: int, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest relative rise of a rate that is found with so many people of both groups together; nan where that would be beyond 1."""

    def missing(effect: float) -> float:
        each = _each((_variation(baseline), _variation(baseline * (1 + effect))), shares)
        return math.log1p(effect) ** 2 * people - _quantiles(alpha, power) ** 2 * each

    least, most = 1e-9, (1 - baseline) / baseline * (1 - 1e-9)
    return float(optimize.brentq(missing, least, most)) if missing(most) > 0 else float("nan")


def _variation(rate: float) -> float:
    """Variance over squared mean of a thing that happens or not. Raises ValueError where it is no rate."""
    if not 0 < rate < 1:
        raise ValueError(f"found a rate of {rate:g}; expected one between 0 and 1")
    return (1 - rate) / rate


def _each(variations: tuple[float, float], shares: tuple[float, float]) -> float:
    """Variance of the logarithm of the ratio with one person."""
    return sum(variation / (share / sum(shares)) for variation, share in zip(variations, shares, strict=True))


def _people(variations: tuple[float, float], effect: float, shares: tuple[float, float], alpha: float, power: float) -> int:
    return math.ceil(_quantiles(alpha, power) ** 2 * _each(variations, shares) / math.log1p(effect) ** 2)


def _quantiles(alpha: float, power: float) -> float:
    return float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
