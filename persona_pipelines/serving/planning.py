"""How many people an experiment needs, and what can be found with those who come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.serving import inference
from persona_pipelines.serving.experiments import METRICS, ExperimentError
from persona_pipelines.serving.inference import ALPHA, POWER


@dataclass(frozen=True)
class Baseline:
    """A metric as it is: ``spread`` is the standard deviation of one person's part in it, ``people`` how many it was measured on; 0 where it was given."""

    value: float
    spread: float
    people: int


def measured(metric: str, totals: pd.DataFrame, winsorise: float | None = None) -> Baseline:
    """A metric of the people who were shown lists.

    Args:
        totals: of ``exposures.Exposed``.
    Raises:
        ExperimentError: fewer than two people have anything of it.
    """
    chosen = METRICS[metric]
    numerator = totals[chosen.numerator].to_numpy(dtype=float)
    below = totals[chosen.denominator].to_numpy(dtype=float) if chosen.denominator else np.ones(len(totals))
    if (having := int((numerator > 0).sum())) < 2:
        raise ExperimentError(
            f"{having} of {len(totals):,} people who were shown lists have anything of {metric}: nothing can be planned from that; give --baseline, and "
            "--spread where it is no rate"
        )
    used, _ = inference.capped(numerator, winsorise if chosen.is_money else None)
    return Baseline(inference.ratio(used, below).value, inference.deviation(used, below), len(totals))


def given(metric: str, baseline: float, spread: float | None) -> Baseline:
    """A metric of which somebody says how it is.

    Raises:
        ExperimentError: a rate that is none, or a spread that is missing or does not belong.
    """
    if not METRICS[metric].is_rate:
        if spread is None:
            raise ExperimentError(f"spread: not given; expected the standard deviation of one person's part in {metric}")
        return Baseline(baseline, spread, 0)
    if spread is not None:
        raise ExperimentError(f"spread: found {spread:g}; expected none, that of {metric} follows from the baseline")
    if not 0 < baseline < 1:
        raise ExperimentError(f"baseline: found {baseline:g}; expected a rate between 0 and 1")
    return Baseline(baseline, (baseline * (1 - baseline)) ** 0.5, 0)


def people_needed(metric: str, baseline: Baseline, effect: float, shares: tuple[float, ...], power: float = POWER) -> int:
    """People of all variants together that are needed to find an effect of any of them.

    Args:
        shares: of the variants, the control first.
    Raises:
        ExperimentError: the effect would take a rate beyond 1.
    """
    alpha, most = ALPHA / (len(shares) - 1), 0.0
    for share in shares[1:]:
        pair = (shares[0], share)
        if METRICS[metric].is_rate:
            if baseline.value * (1 + effect) >= 1:
                raise ExperimentError(
                    f"effect: found {effect:g}, which takes a rate of {baseline.value:g} beyond 1; expected a smaller one"
                )
            people = inference.people_for_rate(baseline.value, effect, pair, alpha, power)
        else:
            people = inference.people_for_mean(baseline.value, baseline.spread, effect, pair, alpha, power)
        most = max(most, people / (sum(pair) / sum(shares)))
    return int(np.ceil(most))


def effect_found(metric: str, baseline: Baseline, people: int, shares: tuple[float, ...], power: float = POWER) -> float:
    """The smallest effect that is found of every variant with so many people of all variants together; nan where there is none."""
    alpha, effects = ALPHA / (len(shares) - 1), []
    for share in shares[1:]:
        pair = (shares[0], share)
        count = int(people * sum(pair) / sum(shares))
        if count < 2:
            return float("nan")
        if METRICS[metric].is_rate:
            effects.append(inference.effect_of_rate(baseline.value, count, pair, alpha, power))
        else:
            effects.append(inference.effect_of_mean(baseline.value, baseline.spread, count, pair, alpha, power))
    return float(np.max(effects))
