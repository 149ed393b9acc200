"""Experiments: who is given which variant, and where that stands.

One experiment runs at a time, over all slots: two at once would have to be told apart by their interaction, which takes far more people. A person keeps the variant as long
as the shares are as they are, whatever process asks, because it follows from the salt of the experiment and the pseudonym alone.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import write_whole
from persona_pipelines.settings.problems import problems_in, problems_of, shortened
from persona_pipelines.settings.strict import MOST, NAME_PATTERN, Strict
from persona_pipelines.suggestions import suggestion

EXPERIMENTS = "experiments.json"
"""The file of all experiments, below the folder of the live service."""
RESERVED = ("none", "all")
"""What tables of results write where there is no experiment, and for every one."""
SAME = 1e-9
"""So far the sum of shares may be from 1."""

MetricName = Literal["click_rate", "list_conversion_rate", "revenue_per_list", "purchase_rate", "revenue_per_person"]


class ExperimentError(ProjectError):
    """An experiment cannot be started, stopped or read."""


@dataclass(frozen=True)
class Metric:
    """What an experiment is judged by: sums over people, the one over the other; more is better.

    Attributes:
        numerator, denominator: numbers of one person (``exposures.TOTALS``); None below for one a person.
        is_rate: whether each person has 0 or 1 of it.
        is_money: whether a few people have very much of it.
    """

    numerator: str
    denominator: str | None
    words: str
    is_rate: bool = False
    is_money: bool = False


METRICS: dict[str, Metric] = {
    "click_rate": Metric("clicks", "lists", "lists with a click, of all lists"),
    "list_conversion_rate": Metric("conversions", "lists", "lists of which something was bought, of all lists"),
    "revenue_per_list": Metric("list_revenue", "lists", "what was paid for items of the lists, a list", is_money=True),
    "purchase_rate": Metric("bought", None, "people who bought anything, of all people", is_rate=True),
    "revenue_per_person": Metric("revenue", None, "what people paid for anything, a person", is_money=True),
}

Share = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class Variant(Strict):
    """What a part of the people is given; what is None is as it is without an experiment."""

    name: Name
    share: float = Field(gt=0, lt=1)
    model_version: str | None = Field(None, min_length=1)
    live_share: Share | None = None
    exploration: Share | None = None


class Guard(Strict):
    """A metric that must not become worse by more than a margin, which is relative to the control's value."""

    metric: MetricName
    margin: float = Field(gt=0, lt=1)


class Experiment(Strict):
    """An experiment as it was planned; nothing of it changes after the start but its end.

    Attributes:
        salt: what people are divided by; of its own for each experiment.
        started, stopped: UTC, without a zone; None while it goes on.
        effect: relative effect on the metric that is looked for, with ``people`` and ``days`` enough to find it with ``power``.
        winsorise: quantile to which amounts of single people are set down; None for as they are.
        variants: the first is the control, with which the others are compared.
    """

    name: Name
    salt: str = Field(default_factory=lambda: secrets.token_hex(16), min_length=16)
    started: dt.datetime
    stopped: dt.datetime | None = None
    metric: MetricName
    guards: tuple[Guard, ...] = ()
    effect: float = Field(gt=0, le=10)
    power: float = Field(0.8, gt=0, lt=1)
    people: int = Field(ge=2, le=MOST)
    days: int = Field(ge=1, le=3650)
    winsorise: float | None = Field(None, gt=0.5, lt=1)
    variants: tuple[Variant, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        names = [variant.name for variant in self.variants]
        for name in (self.name, *names):
            if name in RESERVED:
                raise ValueError(f"name: found {name!r}, which tables of results use; expected another")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"variants: found {twice!r} twice; expected a name of its own for each")
        total = sum(variant.share for variant in self.variants)
        if abs(total - 1) > SAME:
            raise ValueError(f"variants: found shares that sum to {total:g}; expected 1")
        for moment in (self.started, self.stopped):
            if moment is not None and moment.tzinfo is not None:
                raise ValueError(f"started, stopped: found {moment.isoformat()}; expected UTC without a zone")
        if self.stopped is not None and self.stopped < self.started:
            raise ValueError(f"stopped: found {self.stopped}; expected a moment after started, {self.started}")
        if self.winsorise is not None and not any(METRICS[name].is_money for name in self.metrics):
            raise ValueError("winsorise: is for metrics of money; expected none")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metric and those of the guards, each once."""
        return tuple(dict.fromkeys([self.metric, *(guard.metric for guard in self.guards)]))

    @property
    def planned_end(self) -> dt.datetime:
        return self.started + dt.timedelta(days=self.days)


class _All(Strict):
    """The file of experiments."""

    experiments: tuple[Experiment, ...]

    @model_validator(mode="after")
    def _one_runs(self) -> Self:
        names = [experiment.name for experiment in self.experiments]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"experiments: found {twice!r} twice; expected a name of its own for each")
        if sum(experiment.stopped is None for experiment in self.experiments) > 1:
            raise ValueError("experiments: found several without an end (stopped); expected one at most")
        return self


def variant_of(experiment: Experiment, person: str) -> Variant:
    """The variant of a person: by the first 64 bits of SHA-256 of salt and pseudonym, as a number from 0 to 1 in the shares one after the other.

    Args:
        person: pseudonym of a user or device.
    """
    digest = hashlib.sha256(f"{experiment.salt}:{person}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    bounds = accumulate(variant.share for variant in experiment.variants)
    return next((variant for variant, end in zip(experiment.variants, bounds, strict=True) if place < end), experiment.variants[-1])


def running(experiments: Sequence[Experiment]) -> Experiment | None:
    """The experiment that goes on; None without any."""
    return next((experiment for experiment in experiments if experiment.stopped is None), None)


def named(experiments: Sequence[Experiment], name: str) -> Experiment:
    """Raises ExperimentError where there is no experiment of this name."""
    found = next((experiment for experiment in experiments if experiment.name == name), None)
    if found is None:
        names = [experiment.name for experiment in experiments]
        raise ExperimentError(f"no experiment {name!r}{suggestion(name, names)}; there are {', '.join(names) or 'none yet'}")
    return found


def with_started(experiments: Sequence[Experiment], new: Experiment) -> list[Experiment]:
    """All experiments with one more.

    Raises:
        ExperimentError: one is running, or has had the name.
    """
    if any(experiment.name == new.name for experiment in experiments):
        raise ExperimentError(f"name: {new.name!r} is taken by an experiment; expected a name that none has had")
    if (other := running(experiments)) is not None:
        raise ExperimentError(f"experiment {other.name} is running; one runs at a time: persona experiment stop {other.name}")
    return [*experiments, new]


def with_stopped(experiments: Sequence[Experiment], name: str, moment: dt.datetime) -> list[Experiment]:
    """All experiments, one of them at its end.

    Raises:
        ExperimentError: there is none of this name, or it has ended.
    """
    ending = named(experiments, name)
    if ending.stopped is not None:
        raise ExperimentError(f"experiment {name} has ended, on {ending.stopped:%Y-%m-%d %H:%M} UTC")
    return [experiment.model_copy(update={"stopped": moment}) if experiment is ending else experiment for experiment in experiments]


def made(**planned: Any) -> Experiment:
    """An experiment of what was asked for.

    Raises:
        ExperimentError: something of it cannot be; the message names the field, what was found, what is expected.
    """
    try:
        return Experiment.model_validate(planned)
    except ValidationError as error:
        raise ExperimentError("; ".join(problems_in(error, Experiment))) from None


def load(file: Path) -> list[Experiment]:
    """All experiments, oldest first; none where there is no file yet.

    Raises:
        ExperimentError: the file cannot be read or holds something else.
    """
    try:
        text = file.read_text(encoding="utf-8")
        content = json.loads(text)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise ExperimentError(
            f"{file}: cannot be read ({error}); restore it from your backup, or remove it to begin without experiments"
        ) from None
    if not isinstance(content, dict):
        raise ExperimentError(f"{file}: found {shortened(content)}; expected an object with experiments")
    try:
        return list(_All.model_validate(content).experiments)
    except ValidationError as error:
        raise ExperimentError("; ".join(problems_of(error, _All, str(file), text))) from None


def save(file: Path, experiments: Sequence[Experiment]) -> None:
    """Write all experiments, whole or not at all.

    Raises:
        OSError: they cannot be written; the file is as it was.
    """
    content = _All(experiments=tuple(experiments)).model_dump(mode="json")
    write_whole(file, json.dumps(content, indent=1) + "\n", mode=0o600)
