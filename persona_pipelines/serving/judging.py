"""What an experiment says so far, and how far that can be believed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.intervals import Interval
from persona_pipelines.serving import inference
from persona_pipelines.serving.experiments import METRICS, Experiment, Metric
from persona_pipelines.serving.exposures import Exposed
from persona_pipelines.serving.inference import ALPHA, Estimate

WITHHELD, TOO_EARLY, PRELIMINARY, STOPPED_EARLY, FINAL = "withheld", "too early", "preliminary", "stopped early", "final"
"""The statuses, see docs/experiments.md."""
BETTER, WORSE, OPEN = "better", "worse", "no difference found"
KEPT, BROKEN, UNDECIDED = "kept", "broken", "open"
UNLIKELY = 0.001
"""Chance below which numbers of people are not those of the planned shares (Fabijan et al. 2019 and Kohavi et al. 2020 take 0.0005 to 0.01)."""
FEWEST_PEOPLE, FEWEST_WITH = 100, 20
"""People of each variant, and of them with anything of the metric: with fewer the intervals, which are those of many people, say too much."""
MOST_IN_SEVERAL = 0.005
"""Share of people seen in two variants from which on that is told."""
CAUSES = (
    "lists of one variant that were lost or came too late to be logged, errors or time-outs of one variant, a slot that asks for one variant only, robots that keep to one, "
    "shares that were changed while it ran, or a log of lists that was cut"
)


@dataclass(frozen=True)
class Compared:
    """One variant against the control by one metric.

    Attributes:
        value, control: of the metric in both.
        difference, relative: with the interval of one look at the planned end; ``always_valid``: of the relative difference, for any number of looks.
        with_any: people of the variant who have anything of the metric.
        cap: to which amounts of single people were set down; infinite where none were. ``capped``: people whose were.
    """

    variant: str
    metric: str
    people: int
    with_any: int
    value: float
    control: float
    difference: Interval
    relative: Interval
    always_valid: Interval
    cap: float
    capped: int
    verdict: str


@dataclass(frozen=True)
class Guarded:
    """Whether a metric has become worse beyond its margin; ``low`` and ``high`` are one-sided bounds of the relative difference, ``cap`` and ``capped`` as of ``Compared``."""

    variant: str
    metric: str
    margin: float
    relative: float
    low: float
    high: float
    cap: float
    capped: int
    verdict: str


@dataclass(frozen=True)
class Judgement:
    """What an experiment says.

    Attributes:
        people: of each variant, the control first.
        sample_ratio: chance of numbers of people as far from the planned shares as these.
        found: none where the result is withheld or it is too early.
        told: sentences for people, the first with the status.
    """

    status: str
    people: Mapping[str, int]
    in_several: int
    sample_ratio: float
    found: tuple[Compared, ...]
    guards: tuple[Guarded, ...]
    told: tuple[str, ...]


def end_of_counting(experiment: Experiment) -> dt.datetime:
    """What comes later does not change the result: the planned end, or the moment at which it was stopped before."""
    return min(experiment.planned_end, experiment.stopped or experiment.planned_end)


def judged(experiment: Experiment, exposed: Exposed) -> Judgement:
    """An experiment judged by what people did so far.

    Args:
        exposed: people of the experiment until ``end_of_counting``.
    """
    totals = exposed.totals
    people = {variant.name: int((totals["variant"] == variant.name).sum()) for variant in experiment.variants}
    chance = inference.sample_ratio(list(people.values()), [variant.share for variant in experiment.variants])
    told = [_counted(people, exposed)]
    if chance < UNLIKELY:
        planned = " / ".join(f"{variant.share:.1%}" for variant in experiment.variants)
        told.insert(
            0,
            f"{WITHHELD}: the numbers of people are not those of the planned shares ({planned}; chance {chance:.2g}): the variants differ by whom they have, and no "
            f"difference can be believed. Likely causes: {CAUSES}",
        )
        return Judgement(WITHHELD, people, exposed.in_several, chance, (), (), tuple(told))
    if lacking := _lacking(experiment, totals):
        told.insert(0, f"{TOO_EARLY}: {lacking}")
        return Judgement(TOO_EARLY, people, exposed.in_several, chance, (), (), tuple(told))
    status = _status(experiment, exposed.until)
    found = tuple(_compared(experiment, name, totals, status == FINAL) for name in _treated(experiment))
    guards = tuple(
        _guarded(experiment, name, guard.metric, guard.margin, totals, status == FINAL)
        for guard in experiment.guards
        for name in _treated(experiment)
    )
    told.insert(0, f"{status}: {_meaning(experiment, status, sum(people.values()))}")
    told += [_in_words(compared, status) for compared in found]
    told += [
        f"guard {guard.metric} of {guard.variant}: {guard.verdict} (relative difference {guard.relative:+.2%}, margin -{guard.margin:.2%})"
        f"{_set_down(guard)}"
        for guard in guards
    ]
    return Judgement(status, people, exposed.in_several, chance, found, guards, tuple(told))


def _counted(people: Mapping[str, int], exposed: Exposed) -> str:
    several = exposed.in_several
    share = several / max(several + sum(people.values()), 1)
    text = f"people: {', '.join(f'{name} {count:,}' for name, count in people.items())}"
    if several:
        text += f"; {several:,} were shown lists of more than one variant and are left out"
    if share > MOST_IN_SEVERAL:
        text += f" ({share:.1%}: their variant depends on what they did; were shares or salt changed?)"
    return text


def _lacking(experiment: Experiment, totals: pd.DataFrame) -> str:
    for variant in experiment.variants:
        own = totals[totals["variant"] == variant.name]
        if len(own) < FEWEST_PEOPLE:
            return f"{variant.name} has {len(own):,} people; {FEWEST_PEOPLE} are needed"
        for name in experiment.metrics:
            if (count := int((own[METRICS[name].numerator] > 0).sum())) < FEWEST_WITH:
                return f"{count:,} people of {variant.name} have anything of {name}; {FEWEST_WITH} are needed"
    return ""


def _status(experiment: Experiment, until: dt.datetime | None) -> str:
    if experiment.stopped is not None and experiment.stopped < experiment.planned_end:
        return STOPPED_EARLY
    return FINAL if until is not None and until >= experiment.planned_end else PRELIMINARY


def _meaning(experiment: Experiment, status: str, people: int) -> str:
    if status == FINAL:
        few = (
            ""
            if people >= experiment.people
            else f"; fewer people than the {experiment.people:,} of the plan: a smaller chance to find what is there"
        )
        return f"the {experiment.days} planned days are over, and what comes later does not change the result{few}"
    when = "it was stopped before its planned end" if status == STOPPED_EARLY else f"it ends on {experiment.planned_end:%Y-%m-%d %H:%M} UTC"
    return f"{when}; until then the fixed interval is that of a look which was not planned, and the verdict is that of the always-valid one"


def _in_words(compared: Compared, status: str) -> str:
    shown, kind = (compared.relative, "fixed interval") if status == FINAL else (compared.always_valid, "always-valid interval")
    return (
        f"{compared.variant}: {compared.verdict} in {compared.metric}, {compared.value:.5g} against {compared.control:.5g}, "
        f"{shown.mean:+.2%} ({kind} {shown.low:+.2%} to {shown.high:+.2%}){_set_down(compared)}"
    )


def _set_down(told: Compared | Guarded) -> str:
    return f"; amounts above {told.cap:,.2f} are set down to it ({told.capped:,} people)" if np.isfinite(told.cap) else ""


def _treated(experiment: Experiment) -> list[str]:
    return [variant.name for variant in experiment.variants[1:]]


def alpha_of(experiment: Experiment) -> float:
    """Of one comparison: with several variants beside the control each has its part of 5 % (Bonferroni)."""
    return ALPHA / (len(experiment.variants) - 1)


def _estimates(experiment: Experiment, name: str, metric: Metric, totals: pd.DataFrame) -> tuple[Estimate, Estimate, float, int]:
    """The metric of a variant and of the control, the cap of amounts, and whose were set down."""
    numerator = totals[metric.numerator].to_numpy(dtype=float)
    below = totals[metric.denominator].to_numpy(dtype=float) if metric.denominator else np.ones(len(totals))
    used, cap = inference.capped(numerator, experiment.winsorise if metric.is_money else None)
    variants = totals["variant"].to_numpy()
    treated, control = (inference.ratio(used[variants == each], below[variants == each]) for each in (name, experiment.variants[0].name))
    return treated, control, cap, int((numerator > cap).sum())


def _compared(experiment: Experiment, name: str, totals: pd.DataFrame, final: bool) -> Compared:
    metric, alpha = METRICS[experiment.metric], alpha_of(experiment)
    treated, control, cap, above = _estimates(experiment, name, metric, totals)
    relative = inference.relative_interval(treated, control, alpha)
    always = inference.always_valid_relative(treated, control, experiment.effect, alpha)
    decides = relative if final else always
    own = totals[totals["variant"] == name]
    return Compared(
        name,
        experiment.metric,
        len(own),
        int((own[metric.numerator] > 0).sum()),
        treated.value,
        control.value,
        inference.difference(treated, control).interval(alpha),
        relative,
        always,
        cap,
        above,
        BETTER if decides.low > 0 else WORSE if decides.high < 0 else OPEN,
    )


def _guarded(experiment: Experiment, name: str, of: str, margin: float, totals: pd.DataFrame, final: bool) -> Guarded:
    treated, control, cap, above = _estimates(experiment, name, METRICS[of], totals)
    one_sided = 2 * alpha_of(experiment)  # each bound of the interval errs with half of it
    if final:
        bounds = inference.relative_interval(treated, control, one_sided)
    else:
        bounds = inference.always_valid_relative(treated, control, experiment.effect, one_sided)
    verdict = BROKEN if bounds.high < -margin else KEPT if bounds.low > -margin else UNDECIDED
    return Guarded(name, of, margin, bounds.mean, bounds.low, bounds.high, cap, above, verdict)
