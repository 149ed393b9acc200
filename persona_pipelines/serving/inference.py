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
from scipy import stats

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


def relative_difference(treated: Estimate, control: Estimate) -> Estimate:
    """The difference over the control's value, by the delta method for the ratio of the two; nan where the control has nothing."""
    if not control.value > 0:
        return Estimate(float("nan"), float("nan"))
    times = treated.value / control.value
    return Estimate(times - 1, (treated.variance + times**2 * control.variance) / control.value**2)


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
    """People of both groups together that are needed to find a relative effect on a mean or ratio.

    Args:
        baseline: the mean; ``spread``: the standard deviation of one person's part in it (``deviation``), taken to be the same in both groups.
        effect: relative to the baseline: 0.05 is five per cent more.
        shares: of control and treated among the people.
    """
    return _people((spread, spread), baseline * effect, shares, alpha, power)


def people_for_rate(
    baseline: float, effect: float, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> int:
    """People of both groups together that are needed to find a relative effect on the share of people who do something."""
    treated = baseline * (1 + effect)
    return _people((_spread_of_rate(baseline), _spread_of_rate(treated)), treated - baseline, shares, alpha, power)


def _spread_of_rate(rate: float) -> float:
    """Raises ValueError where it is no rate."""
    if not 0 < rate < 1:
        raise ValueError(f"found a rate of {rate:g}; expected one between 0 and 1")
    return math.sqrt(rate * (1 - rate))


def _people(spreads: tuple[float, float], found: float, shares: tuple[float, float], alpha: float, power: float) -> int:
    each = sum(spread**2 / (share / sum(shares)) for spread, share in zip(spreads, shares, strict=True))
    return math.ceil(_quantiles(alpha, power) ** 2 * each / found**2)


def effect_of_mean(
    baseline: float, spread: float, people: int, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest relative effect on a mean or ratio that is found with so many people of both groups together."""
    each = sum(spread**2 / (share / sum(shares)) for share in shares)
    return _quantiles(alpha, power) * math.sqrt(each / people) / baseline


def effect_of_rate(
    baseline: float, people: int, shares: tuple[float, float] = (0.5, 0.5), alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest relative rise of a rate that is found with so many people of both groups together; nan where even everybody is too little."""
    from scipy.optimize import brentq

    def missing(effect: float) -> float:
        treated = baseline * (1 + effect)
        each = sum(rate * (1 - rate) / (share / sum(shares)) for rate, share in zip((baseline, treated), shares, strict=True))
        return (treated - baseline) ** 2 * people - _quantiles(alpha, power) ** 2 * each

    most = (1 - baseline) / baseline
    return float(brentq(missing, 1e-12, most)) if missing(most) > 0 else float("nan")
