"""What is to be known of predictions and profiles before anybody acts on them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from persona_pipelines.findings import Finding, unless
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

CALIBRATED = 0.1
"""Largest calibration error at which a chance means what it says."""


def are_calibrated(quality: pd.DataFrame) -> Finding:
    """Of a hundred users with a chance of 30 % about thirty do it.

    Args:
        quality: ``contracts.PREDICTION_QUALITY``.
    """
    chosen = quality[quality["chosen"].astype(bool)] if len(quality) else quality
    worst = float(chosen["calibration_error"].max()) if len(chosen) else math.nan
    if not worst > CALIBRATED:
        return Finding(True, None, {"largest_calibration_error": worst if math.isfinite(worst) else "none"})
    row = chosen.loc[chosen["calibration_error"].idxmax()]
    words = f"the calibration error of {row['target']} ({row['model']}) is {worst:.3f}; expected at most {CALIBRATED:g}"
    return Finding(False, words, {"largest_calibration_error": worst})


def every_target_is_predicted(missing: Mapping[str, str]) -> Finding:
    """Which targets are not predicted, and why.

    Args:
        missing: the reason by target.
    """
    reasons = {reason: [target for target, why in missing.items() if why == reason] for reason in missing.values()}
    return unless("; ".join(f"no prediction of {', '.join(targets)}: {reason}" for reason, targets in reasons.items()) or None)


def every_user_has_a_profile(warehouse: Warehouse) -> Finding:
    """As many profiles as users with features."""
    expected, found = warehouse.rows(contracts.USER_FEATURES), warehouse.rows(contracts.USER_PROFILES)
    words = None if expected == found else f"{expected:,} users have features, {found:,} a profile"
    return Finding(expected == found, words, {"users_with_features": expected, "profiles": found})
