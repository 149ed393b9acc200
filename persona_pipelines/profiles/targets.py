"""Targets of the configuration: an event that people do within a horizon, or an attribute that is not known of all of them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import PREFIX, attributes_of_users, expanded, joined, stored_attributes
from persona_pipelines.profiles.predictions import Judged, Question, Window, judge_probability
from persona_pipelines.profiles.windows import AT_LEAST, Past, TooLittleHistoryError, past_windows
from persona_pipelines.settings import Settings
from persona_pipelines.settings.stages import OwnTarget, TargetOrigin
from persona_pipelines.warehouse.connection import Warehouse

PARTS = 4
"""Users whose attribute is known, in so many random parts of equal size: two teach, one chooses, one judges."""
FEWEST_OF_A_KIND = 10
"""Of those for whom a target is true, and of those for whom it is false, this many are needed."""


def with_attributes(windows: Sequence[Window], attributes: pd.DataFrame) -> list[Window]:
    """Windows whose features have the attributes as well. A list has no history: they are as of today."""
    return [replace(window, features=joined(window.features, attributes)) for window in windows]


def own_targets(
    past: Past, settings: Settings, today: pd.DataFrame, as_of: dt.date, before: Mapping[str, str]
) -> tuple[dict[str, Question], dict[str, str]]:
    """The targets of the configuration by name, and the reason of each of which too little is known.

    Args:
        today: ``contracts.USER_FEATURES``.
        before: the models in use, by target.
    """
    questions: dict[str, Question] = {}
    missing: dict[str, str] = {}
    for target in settings.predictions.targets:
        try:
            if target.from_.event is not None:
                days = target.horizon_days or settings.predictions.horizon_days
                questions[target.name] = _by_event(past, settings, target, days, today, as_of, before.get(target.name))
            else:
                questions[target.name] = _by_attribute(past.warehouse, settings, target, today, before.get(target.name))
        except TooLittleHistoryError as error:
            missing[target.name] = str(error)
    return questions, missing


def as_objects(judged: Mapping[str, Judged], users: int) -> list[str | None]:
    """The chances of each target for every user, as a JSON object a user; None without any target."""
    if not judged:
        return [None] * users
    chances = {name: np.clip(found.prediction, 0, 1).round(6) for name, found in judged.items()}
    return [json.dumps({name: float(values[row]) for name, values in chances.items()}) for row in range(users)]


def _learned(warehouse: Warehouse, settings: Settings, target: OwnTarget) -> pd.DataFrame:
    """The attributes from which the models of a target learn."""
    names = [*target.without, *([target.from_.attribute] if target.from_.attribute else [])]
    found = attributes_of_users(warehouse, settings, [name for name in target.also if name not in names])
    return found.drop(
        columns=[column for column in found.columns for name in names if column == PREFIX + name or column.startswith(f"{PREFIX}{name}=")]
    )


def _by_event(
    past: Past, settings: Settings, target: OwnTarget, days: int, today: pd.DataFrame, as_of: dt.date, before: str | None
) -> Question:
    chosen = settings.predictions
    windows = past_windows(past, as_of, days, chosen.windows + 2, chosen.minimum_users, {target.name: target.from_})
    happened = np.concatenate([window.own[target.name] for window in windows])
    _require_both(target.name, happened)
    attributes = _learned(past.warehouse, settings, target)
    windows = with_attributes(windows, attributes)
    answer = partial(judge_probability, windows, target.name, joined(today, attributes), before, chosen.seed)
    origin = target.from_
    of = "".join(f", {name} {value}" for name, value in (("item", origin.item_id), ("category", origin.category)) if value is not None)
    return Question(f"{origin.event}{of} within {days} days", answer, as_of - dt.timedelta(days=days - 1), days, windows)


def _by_attribute(warehouse: Warehouse, settings: Settings, target: OwnTarget, today: pd.DataFrame, before: str | None) -> Question:
    """Learned from the users of whom the attribute is known, judged on those of them that were kept back, said of everyone."""
    assert target.from_.attribute is not None
    kind = settings.attributes_of("users")[target.from_.attribute]
    values = expanded(stored_attributes(warehouse), {target.from_.attribute: kind}).set_index("user_id")[PREFIX + target.from_.attribute]
    values = values.reindex(today["user_id"])
    known, true = values.notna().to_numpy(), _true(values, target.from_)
    needed = max(settings.predictions.minimum_users, PARTS * 2)
    if known.sum() < needed:
        raise TooLittleHistoryError(
            f"{target.from_.attribute} is known of {int(known.sum())} of {len(today)} users; {needed} are needed (predictions.minimum_users)"
        )
    _require_both(target.name, true[known])
    features = joined(today, _learned(warehouse, settings, target))
    places = np.random.default_rng(settings.predictions.seed).permutation(np.flatnonzero(known))
    parts = []
    for part in np.array_split(places, PARTS):
        rows = np.sort(part)
        nothing = np.zeros(len(rows), dtype=bool)
        parts.append(Window(features.iloc[rows].reset_index(drop=True), nothing, nothing, nothing.astype(float), {target.name: true[rows]}))
    assert len(parts) > AT_LEAST
    origin = target.from_
    limit = f" of {origin.at_least:g} or more" if origin.at_least is not None else f" {origin.equals}" if origin.equals is not None else ""
    told = f"{origin.attribute}{limit}, of those of whom it is not known"
    answer = partial(judge_probability, parts, target.name, features, before, settings.predictions.seed, seasonal=False)
    return Question(told, answer, windows=parts)


def _true(values: pd.Series, origin: TargetOrigin) -> np.ndarray:
    if origin.at_least is not None:
        return values.to_numpy(dtype=float, na_value=np.nan) >= origin.at_least
    if origin.equals is None:
        return (values == "yes").to_numpy()
    if values.dtype == float:
        return values.to_numpy() == float(origin.equals)
    words = {"true": "yes", "yes": "yes", "false": "no", "no": "no"}
    is_boolean = set(values.dropna().unique()) <= {"yes", "no"}
    return (values == (words.get(origin.equals.lower(), origin.equals) if is_boolean else origin.equals)).to_numpy()


def _require_both(name: str, happened: np.ndarray) -> None:
    true = int(happened.sum())
    if min(true, len(happened) - true) < FEWEST_OF_A_KIND:
        raise TooLittleHistoryError(
            f"{name} is true {true} times and false {len(happened) - true} times; {FEWEST_OF_A_KIND} of each are needed"
        )
