"""A profile as a document: statements in words, each with the feature, its value and where that stands among all users."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.described import FEATURES, INTEREST_VERBS, Facts, Log

CLEARLY = 0.2
"""A value among the lowest or highest fifth of all users is worth a statement."""

PREDICTIONS = {
    "purchase_probability": ("is likely to buy", "is unlikely to buy"),
    "churn_probability": ("is likely to leave", "is likely to stay"),
    "lifetime_value": ("is expected to spend much", ""),
}
PARTS = ("behaviour", "interests", "spending_power", "attention")
TOLD = {part: [name for name, feature in FEATURES.items() if feature.profile == part] for part in PARTS} | {
    "predictions": list(PREDICTIONS)
}
"""Features of which each part of a profile has statements."""
BASICS = ("signup_date", "country", "gender", "age_group", "occupation", "consent_personalisation", "consent_marketing")
UNITS = {column.name: column.unit for table in (contracts.USER_FEATURES, contracts.USER_PREDICTIONS) for column in table.columns}


def ranks(values: pd.Series) -> np.ndarray:
    """The share of all known values that each is at least as high as: mid-ranks between 0 and 1, nan where unknown."""
    return values.rank(method="average", pct=True).to_numpy(dtype=float, na_value=np.nan)


def documents(profiles: pd.DataFrame, features: pd.DataFrame, log: Log) -> list[str]:
    """A JSON document for each row of ``contracts.USER_PROFILES``; no NaN is ever in it.

    Args:
        features: ``contracts.USER_FEATURES`` of the same users.
        log: what the log is a log of.
    """
    wide = profiles.merge(
        features[["user_id", *(name for name in features.columns if name not in profiles.columns)]], on="user_id", how="left"
    )
    told = {name for names in TOLD.values() for name in names}
    values = {name: wide[name].to_numpy(dtype=float, na_value=np.nan) for name in told}
    places = {name: ranks(pd.Series(values[name])) for name in told}
    medians = {name: float(np.nanmedian(found)) if np.isfinite(found).any() else float("nan") for name, found in values.items()}
    varied = {name: bool(np.isfinite(found).any() and np.nanmax(found) > np.nanmin(found)) for name, found in values.items()}
    rows = wide.to_dict("records")
    result = []
    for number, row in enumerate(rows):
        document: dict[str, Any] = {
            "user_id": row["user_id"],
            "as_of_date": f"{row['as_of_date']:%Y-%m-%d}" if log.dated else None,
            "basics": {name: _plain(row.get(name)) for name in BASICS},
            "attributes": _object(row.get("attributes")),
        }
        for section, names in TOLD.items():
            document[section] = [
                _statement(name, text, values[name][number], places[name][number], medians[name])
                for name in names
                if varied[name] and (text := _chosen(name, values[name][number], places[name][number], log))
            ]
        if any(entry["statement"] == PREDICTIONS["churn_probability"][0] for entry in document["predictions"]):
            # Of who leaves nothing is expected: what was spent before may be all that a forecast knows.
            document["predictions"] = [entry for entry in document["predictions"] if entry["evidence"]["feature"] != "lifetime_value"]
        document["targets"] = {name: round(chance, 4) for name, chance in _object(row.get("targets")).items()}
        document["interests"] += _categories(row.get("top_interests"), INTEREST_VERBS[log.interest].singular)
        document["life_cycle"] = {
            "stage": _plain(row["lifecycle_stage"]),
            "evidence": {name: _plain(row[name]) for name in ("tenure_days", "recency_days", "frequency")},
        }
        document["segment"] = {"id": int(row["segment_id"]), "name": row["segment_name"]}
        result.append(json.dumps(document, ensure_ascii=False))
    return result


def _object(text: Any) -> dict[str, Any]:
    return {name: value for name, value in json.loads(text).items() if value is not None} if isinstance(text, str) else {}


def _chosen(name: str, value: float, place: float, log: Log) -> str:
    """What may be said of a value among the lowest or highest of all; empty where nothing."""
    if place != place or CLEARLY < place < 1 - CLEARLY:
        return ""
    high = place >= 1 - CLEARLY
    if name in PREDICTIONS:
        return PREDICTIONS[name][0 if high else 1]
    return FEATURES[name].words(1 if high else -1, Facts(value, float(value > 0), log)).statement


def _statement(name: str, text: str, value: float, place: float, median: float) -> dict[str, Any]:
    return {
        "statement": text,
        "evidence": {
            "feature": name,
            "value": round(float(value), 4),
            "unit": UNITS.get(name) or None,
            "median_of_all_users": round(median, 4),
            "higher_than_share_of_users": round(float(place), 4),
        },
    }


def _categories(interests: Any, words: str) -> list[dict[str, Any]]:
    if not isinstance(interests, str) or not interests:
        return []
    return [
        {
            "statement": f"{words} {part.rsplit(' ', 1)[0]}",
            "evidence": {"feature": "interest_share", "value": part.rsplit(" ", 1)[1]},
        }
        for part in interests.split(", ")
        if " " in part
    ]


def _plain(value: Any) -> Any:
    if value is None or value != value or value is pd.NaT:
        return None
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return round(float(value), 4)
    return f"{value:%Y-%m-%d}" if hasattr(value, "strftime") else str(value)
