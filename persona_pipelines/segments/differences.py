"""In what people of a segment differ from all others: by how much, how surely, and what may be said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import PREFIX
from persona_pipelines.segments.preprocessing import SKEWED, Scaler
from persona_pipelines.warehouse.described import CHINESE, ENGLISH, FEATURES, Facts, Log, Words

WORTH = 0.3
"""Standard deviations from which on a difference is worth a word; Cohen 1988 calls 0.2 small and 0.5 medium."""
ALL = 0.995
"""Share of people from which on they all are something."""
SURE = 1.96
"""Standard errors on either side of a difference: an interval that holds the true one in 95 of 100 cases."""
LEAST = 0.1
"""Of a feature whose logarithm is compared: how far apart the means themselves have to be, by the larger one. A few far above all others draw a mean
to the other side of the logarithms."""
ENOUGH = 10
"""Fewer people are not spoken of."""
KNOWN = 0.5
"""Share of the people of a segment of whom a value has to be known."""


@dataclass(frozen=True)
class Difference:
    """A feature of the people of one segment against that of all others.

    Attributes:
        deviation: mean of the scaled feature less that of the others, in standard deviations of all users.
        low, high: its interval (Welch 1947, with normal quantiles).
        mean, mean_of_others: of the feature itself, over those of whom it is known.
        positive: the share of these people in whom it is above 0.
        users: people of the segment of whom it is known.
        clear: whether it is large enough, sure enough, of enough people, and the same way in the feature itself.
    """

    feature: str
    deviation: float
    low: float
    high: float
    mean: float
    mean_of_others: float
    positive: float
    users: int
    clear: bool

    def words(self, log: Log, language: str = ENGLISH) -> Words:
        """What it may be called; empty where it is not clear or has no name."""
        if not self.clear:
            return Words()
        if self.feature in FEATURES:
            return FEATURES[self.feature].words(self.deviation, Facts(self.mean, self.positive, log), language)
        return _attribute_words(self, language)


def segment_differences(scaler: Scaler, features: pd.DataFrame, members: np.ndarray) -> list[Difference]:
    """The differences of one segment, largest first.

    Args:
        features: ``contracts.USER_FEATURES`` with attributes, all users.
        members: shape (users,), whether each is of the segment.
    """
    return list(_compared(scaler.columns, *_measured(scaler, features), members))


def all_differences(scaler: Scaler, features: pd.DataFrame, segment_of: np.ndarray, segments: Iterable[int]) -> dict[int, list[Difference]]:
    """The differences of each of some segments, by its number."""
    measured = _measured(scaler, features)
    return {segment: list(_compared(scaler.columns, *measured, segment_of == segment)) for segment in segments}


def _measured(scaler: Scaler, features: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Scaled features and the features themselves, both of shape (users, columns); nan where unknown."""
    known = scaler.known(features)
    plain = np.column_stack(
        [
            features[name].to_numpy(dtype=float, na_value=np.nan) if name in features else np.full(len(features), np.nan)
            for name in scaler.columns
        ]
    )
    return np.where(known, scaler.standardised(features), np.nan), plain


def _compared(columns: Sequence[str], scaled: np.ndarray, plain: np.ndarray, members: np.ndarray) -> Iterable[Difference]:
    mine, others = _moments(scaled[members]), _moments(scaled[~members])
    # Everyone differs from nobody.
    deviation = np.where((mine.count > 0) & (others.count > 0), mine.mean - others.mean, 0.0)
    error = SURE * np.sqrt(mine.variance / np.maximum(mine.count, 1) + others.variance / np.maximum(others.count, 1))
    own, theirs = _moments(plain[members]), _moments(plain[~members])
    with np.errstate(invalid="ignore"):
        positive = np.where(np.isfinite(plain[members]), plain[members] > 0, np.nan)
    shares = _moments(positive).mean
    skewed = np.array([name in SKEWED for name in columns], dtype=bool)
    nearest = np.where(deviation >= 0, deviation - error, deviation + error)
    clear = (
        (np.abs(deviation) >= WORTH)
        & (nearest * np.sign(deviation) > 0)
        & (mine.count >= max(ENOUGH, KNOWN * members.sum()))
        & (others.count >= ENOUGH)
        & (np.sign(own.mean - theirs.mean) == np.sign(deviation))
        & (np.abs(own.mean - theirs.mean) >= np.where(skewed, LEAST, 0.0) * np.maximum(np.abs(own.mean), np.abs(theirs.mean)))
    )
    for place in sorted(range(len(columns)), key=lambda number: (-abs(deviation[number]), columns[number])):
        yield Difference(
            columns[place],
            float(deviation[place]),
            float(deviation[place] - error[place]),
            float(deviation[place] + error[place]),
            float(own.mean[place]),
            float(theirs.mean[place]),
            float(shares[place]),
            int(mine.count[place]),
            bool(clear[place]),
        )


@dataclass(frozen=True)
class _Moments:
    """Of each column, over what is known: shape (columns,)."""

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray


def _moments(values: np.ndarray) -> _Moments:
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0)
    mean = total.sum(axis=0) / np.maximum(count, 1)
    spread = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count - 1, 1)
    return _Moments(count, np.where(count > 0, mean, np.nan), spread)


def _attribute_words(difference: Difference, language: str) -> Words:
    """Words of an attribute of the customer list: a column ``attributes.NAME`` or, of categories, ``attributes.NAME=VALUE``."""
    name, _, value = difference.feature.removeprefix(PREFIX).partition("=")
    name, more = name.replace("_", " "), difference.deviation >= 0
    every = bool(value) and more and difference.mean >= ALL
    if value and not more and difference.mean <= 1 - ALL:
        return Words()  # that they are of another one is said already
    if language == CHINESE and every:
        return Words(phrase=f"{name}均为{value}")
    if language == CHINESE:
        return Words(phrase=f"{name}{'较高' if more else '较低'}" if not value else f"{name}为{value}的{'较多' if more else '较少'}")
    if not value:
        level = "higher" if more else "lower"
        return Words(noun=f"people of {level} {name}", adjective=f"{level.capitalize()}-{name}", phrase=f"have a {level} {name}")
    of = {"yes": f"with {name}", "no": f"without {name}"}.get(value, f"of {name} {value}")
    phrase = f"are all {of}" if every else f"are {'more' if more else 'less'} often {of}"
    if more and difference.mean > 0.5:
        return Words(noun=f"people {of}", adjective=value[:1].upper() + value[1:], phrase=phrase)
    return Words(phrase=phrase)


def told(differences: Sequence[Difference], log: Log, language: str = ENGLISH) -> list[tuple[Difference, Words]]:
    """The differences of which something may be said, with their words, largest first."""
    return [(difference, words) for difference in differences if (words := difference.words(log, language)).phrase]


def rows(differences: Mapping[int, Sequence[Difference]], log: Log) -> pd.DataFrame:
    """Rows of ``contracts.SEGMENT_DIFFERENCES`` but the version."""
    return pd.DataFrame(
        {
            "segment_id": segment,
            "feature": entry.feature,
            "rank": rank,
            "deviation": entry.deviation,
            "low": entry.low,
            "high": entry.high,
            "mean": _known(entry.mean),
            "mean_of_others": _known(entry.mean_of_others),
            "positive_share": _known(entry.positive),
            "users": entry.users,
            "clear": entry.clear,
            "phrase": entry.words(log).phrase or None,
            "phrase_zh": entry.words(log, CHINESE).phrase or None,
            "advice": entry.words(log).advice or None,
            "advice_zh": entry.words(log, CHINESE).advice or None,
        }
        for segment, found in differences.items()
        for rank, entry in enumerate(found, start=1)
    )


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None
