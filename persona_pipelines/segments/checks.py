"""What is to be known of segments before anybody acts on them."""

from __future__ import annotations

import math

import pandas as pd

from persona_pipelines.findings import Finding, unless
from persona_pipelines.segments.selection import STABLE

HELD_TOGETHER = 0.1
"""Silhouette above which segments hold together."""


def several(quality: pd.DataFrame, reason: str) -> Finding:
    """Users are cut into more than one segment.

    Args:
        quality: ``contracts.SEGMENT_QUALITY``.
        reason: of the choice, in one sentence.
    """
    return unless(f"everybody is in one segment: {reason}" if _is_one(quality) else None)


def hold_together(quality: pd.DataFrame) -> Finding:
    """The silhouette of the chosen segments; of a single one there is none.

    Args:
        quality: ``contracts.SEGMENT_QUALITY``.
    """
    silhouette = float(_chosen(quality)["silhouette"])
    words = (
        None
        if silhouette > HELD_TOGETHER or _is_one(quality)
        else f"the segments overlap: their silhouette is {_shown(silhouette)}, expected above {HELD_TOGETHER:g}; many people could be in another as well"
    )
    return Finding(words is None, words, {"silhouette": _shown(silhouette)})


def come_out_again(quality: pd.DataFrame, reason: str) -> Finding:
    """The mean adjusted Rand index with refits on bootstrap samples; a single segment always comes out again.

    Args:
        quality: ``contracts.SEGMENT_QUALITY``.
        reason: of the choice, in one sentence.
    """
    stability = float(_chosen(quality)["stability"])
    return Finding(stability >= STABLE or _is_one(quality), reason, {"stability": _shown(stability)})


def none_is_empty(profiles: pd.DataFrame) -> Finding:
    """Every segment has users.

    Args:
        profiles: ``contracts.SEGMENT_PROFILES``.
    """
    empty = profiles[profiles["users"] == 0]["segment_name"].tolist()
    return Finding(not empty, f"nobody is in {', '.join(empty)}" if empty else None, {"empty": len(empty)})


def _chosen(quality: pd.DataFrame) -> pd.Series:
    return quality[quality["chosen"]].iloc[0]


def _is_one(quality: pd.DataFrame) -> bool:
    return int(_chosen(quality)["k"]) == 1


def _shown(number: float) -> float | str:
    return number if math.isfinite(number) else "not defined"
