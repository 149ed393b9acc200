"""In what the people of one segment differ from those of one other: by their features and by what they turn to."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import pandas as pd

from persona_pipelines.segments.differences import Difference, segment_differences
from persona_pipelines.segments.interests import Leaning, leanings
from persona_pipelines.segments.preprocessing import Scaler
from persona_pipelines.warehouse.described import ENGLISH, Log, Words


class Clear(Protocol):
    """What a name rests on: a feature, how far it lies from that of the others, and whether that is clear."""

    @property
    def feature(self) -> str: ...
    @property
    def deviation(self) -> float: ...
    @property
    def clear(self) -> bool: ...


class Contrast(Clear, Protocol):
    """A difference between two segments with its 95 % interval."""

    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...

    def words(self, log: Log, language: str = ENGLISH) -> Words: ...


def sureness(contrast: Contrast) -> float:
    """How far a difference is from none, by half of its interval; infinite where the interval has no width."""
    return abs(contrast.deviation) / ((contrast.high - contrast.low) / 2) if contrast.high > contrast.low else math.inf


def contrasts(
    scaler: Scaler, features: pd.DataFrame, category_shares: pd.DataFrame, segment_of: np.ndarray, one: int, other: int
) -> list[Contrast]:
    """The differences of the people of ``one`` to those of ``other``, features before categories.

    What makes a difference to everybody else clear makes one between the two clear (``differences``, ``interests``).

    Args:
        features: ``contracts.USER_FEATURES`` with attributes, all users.
        category_shares: ``user_id``, ``category``, ``interest_share``.
        segment_of: shape (users,), the segment of each.
    """
    both = np.isin(segment_of, (one, other))
    placed = pd.DataFrame({"user_id": features["user_id"].to_numpy()[both], "segment_id": segment_of[both]})
    of_features: list[Difference] = segment_differences(scaler, features[both], segment_of[both] == one)
    of_interests: list[Leaning] = leanings(placed, category_shares, one)
    return [*of_features, *of_interests]
