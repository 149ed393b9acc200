"""Confidence intervals by the bootstrap over users (Efron 1979): how far another draw of users could move a mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DRAWS = 2_000
CONFIDENCE = 0.95
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
        reach = 1.959964 * float(values.std(ddof=1)) / len(values) ** 0.5
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


def compared(one: str, other: str, ahead: Interval, unit: str, of: str = "") -> str:
    """How far one model is ahead of another, or behind it, in words.

    Args:
        ahead: the paired advantage of ``one``; ``unit`` what it is measured in, ``of`` whom.
    """
    side, bounds = "ahead of" if ahead.mean >= 0 else "behind", f"{ahead.low:+.4f} to {ahead.high:+.4f}"
    return f"{one} is {side} {other} by {ahead.mean:+.4f} {unit} ({bounds}{f', {of}' if of else ''})"
