"""Readable names for segments, from the features that set them apart from the average user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from persona_pipelines.features.attributes import PREFIX
from persona_pipelines.warehouse.described import FEATURES


def distinguishing(columns: Sequence[str], centre: np.ndarray, count: int = 4) -> list[tuple[str, float]]:
    """The features furthest from the average, with their distance in standard deviations, largest first."""
    order = sorted(range(len(columns)), key=lambda number: (-abs(centre[number]), columns[number]))
    return [(columns[number], float(centre[number])) for number in order[:count]]


def segment_names(columns: Sequence[str], centres: np.ndarray) -> list[str]:
    """A name for each centre, no two alike: an adjective and a noun of its two strongest features that are free."""
    names: list[str] = []
    for centre in centres:
        ranked = distinguishing(columns, centre, len(columns))
        candidates = [
            f"{_word(*ranked[second], 1)} {_word(*ranked[first], 0)}" for second in range(1, len(ranked)) for first in range(second)
        ] or [_word(*ranked[0], 0).capitalize()]
        free = [name for name in candidates if name not in names]
        names.append(free[0] if free else f"{candidates[0]} {len(names) + 1}")
    return names


def _word(column: str, deviation: float, form: int) -> str:
    if column in FEATURES:
        words = FEATURES[column].words(deviation)
        return words.noun if form == 0 else words.adjective
    name, value = _attribute(column)
    high = deviation >= 0
    if value is None:
        level = "high" if high else "low"
        return f"people of {level} {name}" if form == 0 else f"{level.capitalize()}-{name}"
    return f"people of {name} {'' if high else 'other than '}{value}" if form == 0 else f"{'' if high else 'Non-'}{value}".capitalize()


def _attribute(column: str) -> tuple[str, str | None]:
    """Name and, of categories, the value of a column ``attributes.NAME=VALUE``, in words."""
    name, _, value = column.removeprefix(PREFIX).partition("=")
    return name.replace("_", " "), value or None


def phrase(column: str, deviation: float) -> str:
    """What stands in a sentence for a feature that is above or below the average."""
    if column in FEATURES:
        return FEATURES[column].words(deviation).phrase
    name, value = _attribute(column)
    if value is None:
        return f"have a {'high' if deviation >= 0 else 'low'} {name}"
    return f"have {name} {value}" if deviation >= 0 else f"have another {name} than {value}"


def described(columns: Sequence[str], centre: np.ndarray) -> str:
    """The distinguishing features as text: ``monetary_value +1.8, recency_days -0.9``."""
    return ", ".join(f"{name} {deviation:+.1f}" for name, deviation in distinguishing(columns, centre) if deviation)


CLEAR = 0.3
"""Standard deviations from which on a difference is worth a phrase."""


def paragraph(name: str, share: float, columns: Sequence[str], centre: np.ndarray, categories: Sequence[str]) -> str:
    """A segment in a few sentences, from what sets it apart."""
    told = [phrase(column, deviation) for column, deviation in distinguishing(columns, centre, 5) if abs(deviation) >= CLEAR]
    text = f"{name}: {share:.0%} of all users."
    text += f" More than others they {_listed(told)}." if told else " They are like the average user in everything that is measured."
    return text + (f" Most of their attention goes to {_listed(categories)}." if categories else "")


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
