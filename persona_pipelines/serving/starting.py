"""What is looked at before an experiment starts: whether its variants give people different things, and whether the home has what its metrics are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import ibis.expr.types as ir

from persona_pipelines.recommendations import STAGE
from persona_pipelines.recommendations.last_click import LastClick
from persona_pipelines.recommendations.models import load as load_model
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.serving.experiments import METRICS, Experiment, ExperimentError, Variant
from persona_pipelines.serving.outcomes import CLICK_TYPES, of_moments
from persona_pipelines.settings import Settings
from persona_pipelines.settings.stages import ServingSettings
from persona_pipelines.tracking import registry
from persona_pipelines.vocabulary import SPENDING_TYPES
from persona_pipelines.warehouse.connection import Warehouse


@dataclass(frozen=True)
class Version:
    """What tells how a version of the recommender takes up the last items.

    Attributes:
        model: its name.
        follows: whether it follows them itself, so that a share of them has no effect.
        live_share: how much they count beside its list, as its training found.
    """

    model: str
    follows: bool
    live_share: float


class Given(NamedTuple):
    """What people of a variant are given; ``live_share`` is None where it has no effect."""

    version: str
    live_share: float | None
    exploration: float


def stored(settings: Settings, version: str) -> Version:
    """A version as the registry has it.

    Raises:
        ModelNotFoundError: there is none.
        StoredModelError: it cannot be read.
    """
    registry.require_version(settings, STAGE, version)
    folder = registry.model(settings, STAGE, version).folder
    model = load_model(folder)
    return Version(model.name, isinstance(model, HistoryModel), LastClick.load(folder).share)


def given(variant: Variant, champion: str, version_of: Callable[[str], Version], serving: ServingSettings) -> Given:
    """What a variant comes to, with what it leaves open as it is without an experiment."""
    number = variant.model_version or champion
    version = version_of(number)
    configured = version.live_share if serving.live_share is None else serving.live_share
    return Given(
        number,
        None if version.follows else configured if variant.live_share is None else variant.live_share,
        serving.exploration if variant.exploration is None else variant.exploration,
    )


def require_differing(experiment: Experiment, champion: str, version_of: Callable[[str], Version], serving: ServingSettings) -> None:
    """Hold each variant against each other.

    Args:
        champion: the version that people are given without an experiment.
        version_of: what is known of a version.
    Raises:
        ExperimentError: two give the same, so that nothing can be found between them; the message says what, and why a share has no effect.
    """
    for one, other in combinations(experiment.variants, 2):
        both = given(one, champion, version_of, serving)
        if both != given(other, champion, version_of, serving):
            continue
        version = version_of(both.version)
        same = [f"version {both.version} ({version.model}{', the champion' if both.version == champion else ''})"]
        if both.live_share is not None:
            same.append(f"live_share {both.live_share:g}")
        same.append(f"exploration {both.exploration:g}")
        shares = one.live_share is not None or other.live_share is not None
        why = f"; live_share has no effect there: {version.model} follows the last items itself" if version.follows and shares else ""
        raise ExperimentError(
            f"variants: found {one.name!r} and {other.name!r}, which give people the same: {', '.join(same)}{why}; expected variants that differ in "
            "model_version, live_share or exploration, or --aa for an A/A test"
        )


def metrics_without_events(warehouse: Warehouse, metrics: Sequence[str]) -> list[str]:
    """A sentence for each metric that no event of the home could count for.

    Args:
        warehouse: with ``contracts.EVENTS`` and ``CLOCKS``.
    """
    events = of_moments(warehouse)
    return [
        f"{name} ({METRICS[name].words}): no event so far is of {words}; it stays without a result until some are, in the logs or sent to persona serve"
        for name in metrics
        for rows, words in [_counting(name, events)]
        if not warehouse.value(rows.count())
    ]


def _counting(metric: str, events: ir.Table) -> tuple[ir.Table, str]:
    """The events that count for a metric, and what they are in words."""
    chosen = METRICS[metric]
    types = CLICK_TYPES if chosen.numerator == "clicks" else SPENDING_TYPES
    found, having = events.filter(events.event_type.isin(types)), []
    if chosen.denominator == "lists":  # what came of a list came of an item in it
        found = found.filter(found.item_id.notnull())
        having.append("an item")
    if chosen.is_money:
        found = found.filter(found.value > 0)
        having.append("a value")
    return found, " or ".join(types) + (f" with {' and '.join(having)}" if having else "")
