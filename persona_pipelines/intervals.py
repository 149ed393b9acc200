"""Confidence intervals: how far another draw of users could move a mean or a ratio of sums.

Means by the bootstrap over users (Efron 1979). Ratios whose numerator and denominator both are sums over users (clicks over lists, of users with many lists each) by
the delta method: A. Deng, U. Knoblich, J. Lu, Applying the Delta Method in Metric Analytics, KDD 2018, section 3. Users are drawn, lists are not: the lists of one
user are alike, and an interval that took each for a draw of its own would be too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWS = 2_000
CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.959964
"""Of the normal distribution at 97.5 %."""
LARGE = 20_000
"""From this many users on, the mean's normal distribution gives the interval: the bootstrap's differs by a fraction of a standard error."""


@dataclass(frozen=True)
class Interval:
    """A mean with the bounds of its 95 % confidence interval; nan where there are no users."""

    mean: float
    low: float
    high: float


def interval(values: np.ndarray, seed: int) -> Interval:
    """Percentile interval of the mean over users; nan values are left out.

    For the paired advantage of one model over another give the difference of the two, user by user.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(float("nan"), float("nan"), float("nan"))
    mean = float(values.mean())
    if len(values) >= LARGE:
        reach = NORMAL_QUANTILE * float(values.std(ddof=1)) / len(values) ** 0.5
        return Interval(mean, mean - reach, mean + reach)
    generator = np.random.default_rng(seed)
    step = max(1, 2_000_000 // len(values))
    means = np.concatenate(
        [
            values[generator.integers(0, len(values), (min(step, DRAWS - start), len(values)))].mean(axis=1)
            for start in range(0, DRAWS, step)
        ]
    )
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(mean, float(low), float(high))


def ahead_of_the_first(values: np.ndarray, seed: int) -> tuple[int, Interval]:
    """Which of some choices is the best, and how far it is ahead of the first, each user judged by the choice that is best for the other half of them.

    On the very users that it was chosen by, the best of several would look better than it is.

    Args:
        values: shape (users, choices).
    Returns:
        The place of the best for all, of equal ones the first, and the interval; nan for fewer than two users.
    """
    if len(values) < 2:
        return 0, interval(np.array([]), seed)
    order = np.random.default_rng(seed).permutation(len(values))
    gains = np.empty(len(values))
    for judged, others in ((order[::2], order[1::2]), (order[1::2], order[::2])):
        gains[judged] = values[judged, _best(values[others])] - values[judged, 0]
    return _best(values), interval(gains, seed)


def _best(values: np.ndarray) -> int:
    return int(np.argmax(values.mean(axis=0).round(12)))


def ratio_variance(
    users: np.ndarray,
    numerator: np.ndarray,
    denominator: np.ndarray,
    numerator_squares: np.ndarray,
    products: np.ndarray,
    denominator_squares: np.ndarray,
) -> np.ndarray:
    """Variance of ``numerator / denominator``, by the delta method over users; nan for fewer than two of them.

    Args:
        users: how many, of each ratio; the others are sums over its users: of the numerator and denominator of each user, of their squares, and of
            numerator times denominator.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = numerator / denominator
        residuals = numerator_squares - 2 * ratio * products + ratio**2 * denominator_squares
        return np.where(users > 1, np.maximum(residuals, 0) * users / (users - 1) / denominator**2, np.nan)


def rate_bounds(rate: np.ndarray, variance: np.ndarray, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the 95 % intervals of rates between 0 and 1 with a variance over users.

    Wilson's interval of as many independent draws as have that variance: N. Dean, M. Pagano, Evaluating Confidence Interval Methods for Binomial Proportions in
    Clustered Surveys, Journal of Survey Statistics and Methodology 2015. Where all users are alike, as with no click at all, each counts as one draw.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        draws = np.where(variance > 0, rate * (1 - rate) / variance, users)
    square = NORMAL_QUANTILE**2
    centre = (rate + square / (2 * draws)) / (1 + square / draws)
    reach = NORMAL_QUANTILE / (1 + square / draws) * np.sqrt(rate * (1 - rate) / draws + (square / draws**2) / 4)
    return np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)


def compared(one: str, other: str, ahead: Interval, unit: str, of: str = "") -> str:
    """How far one model is ahead of another, or behind it, in words.

    Args:
        ahead: the paired advantage of ``one``; ``unit`` what it is measured in, ``of`` whom.
    """
    side, bounds = "ahead of" if ahead.mean >= 0 else "behind", f"{ahead.low:+.4f} to {ahead.high:+.4f}"
    return f"{one} is {side} {other} by {ahead.mean:+.4f} {unit} ({bounds}{f', {of}' if of else ''})"
