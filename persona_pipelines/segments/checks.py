"""What is to be known of segments before anybody acts on them."""

from __future__ import annotations

import math

import pandas as pd

from persona_pipelines.findings import Finding
from persona_pipelines.segments.selection import STABLE

HELD_TOGETHER = 0.1
"""Silhouette above which segments hold together."""


def hold_together(quality: pd.DataFrame) -> Finding:
    """The silhouette of the chosen segments.

    Args:
        quality: ``contracts.SEGMENT_QUALITY``.
    """
    silhouette = float(_chosen(quality)["silhouette"])
    words = None if silhouette > HELD_TOGETHER else f"the silhouette is {_shown(silhouette)}; expected above {HELD_TOGETHER:g}"
    return Finding(words is None, words, {"silhouette": _shown(silhouette)})


def come_out_again(quality: pd.DataFrame, reason: str) -> Finding:
    """The mean adjusted Rand index with refits on bootstrap samples.

    Args:
        quality: ``contracts.SEGMENT_QUALITY``.
        reason: of the choice, in one sentence.
    """
    stability = float(_chosen(quality)["stability"])
    return Finding(stability >= STABLE, reason, {"stability": _shown(stability)})


def none_is_empty(profiles: pd.DataFrame) -> Finding:
    """Every segment has users.

    Args:
        profiles: ``contracts.SEGMENT_PROFILES``.
    """
    empty = profiles[profiles["users"] == 0]["segment_name"].tolist()
    return Finding(not empty, f"nobody is in {', '.join(empty)}" if empty else None, {"empty": len(empty)})


def _chosen(quality: pd.DataFrame) -> pd.Series:
    return quality[quality["chosen"]].iloc[0]


def _shown(number: float) -> float | str:
    return number if math.isfinite(number) else "not defined"
