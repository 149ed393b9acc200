"""K-means segments: choice of k, fitting, assignment, and storage as arrays and JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_pipelines.segments.naming import segment_names
from persona_pipelines.segments.preprocessing import Scaler, fit_scaler
from persona_pipelines.settings import SegmentsSettings

FORMAT = 1


@dataclass(frozen=True)
class SegmentModel:
    """Centres of shape (segments, columns) in scaled features; segment 1 is the largest of the training."""

    scaler: Scaler
    centres: np.ndarray
    names: tuple[str, ...]

    def assign(self, features: pd.DataFrame) -> pd.DataFrame:
        """``user_id``, ``segment_id``, ``segment_name``, ``distance`` of users with ``contracts.USER_FEATURES``."""
        scaled = self.scaler.transform(features)
        squares = (scaled**2).sum(axis=1)[:, None] - 2 * scaled @ self.centres.T + (self.centres**2).sum(axis=1)[None, :]
        nearest = squares.argmin(axis=1)
        distance = np.sqrt(np.maximum(squares[np.arange(len(scaled)), nearest], 0))
        return pd.DataFrame(
            {
                "user_id": features["user_id"].to_numpy(),
                "segment_id": nearest + 1,
                "segment_name": np.array(self.names, dtype=object)[nearest],
                "distance": distance.round(9),
            }
        )

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "arrays.npz", fill=self.scaler.fill, mean=self.scaler.mean, deviation=self.scaler.deviation, centres=self.centres)
        (folder / "model.json").write_text(json.dumps({"format": FORMAT, "columns": self.scaler.columns, "names": self.names}, indent=1))

    @classmethod
    def load(cls, folder: Path) -> SegmentModel:
        """Raises ValueError where the folder holds another format."""
        description = json.loads((folder / "model.json").read_text())
        if description.get("format") != FORMAT:
            raise ValueError(f"{folder}: segment model of format {description.get('format')}; expected {FORMAT}: train it again")
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            scaler = Scaler(tuple(description["columns"]), arrays["fill"], arrays["mean"], arrays["deviation"])
            return cls(scaler, arrays["centres"], tuple(description["names"]))


@dataclass(frozen=True)
class Fit:
    """A fitted model with how it was chosen: ``quality`` has the columns of ``contracts.SEGMENT_QUALITY`` but the version."""

    model: SegmentModel
    quality: pd.DataFrame


def fit_segments(features: pd.DataFrame, settings: SegmentsSettings) -> Fit:
    """K-means (Lloyd 1982, k-means++ starts) with the k of the highest mean silhouette (Rousseeuw 1987) on a sample.

    Args:
        features: ``contracts.USER_FEATURES``. Their order does not matter.
    Raises:
        ValueError: there are no users, or none of the features tells them apart.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import davies_bouldin_score, silhouette_score

    if features.empty:
        raise ValueError("no users: segments need events of known users")
    features = features.sort_values("user_id", ignore_index=True)
    try:
        scaler = fit_scaler(features)
    except ValueError:
        # One user, or all alike: one segment is the truth, not an error.
        scaler = Scaler(("recency_days",), np.zeros(1), np.zeros(1), np.ones(1))
        return Fit(SegmentModel(scaler, np.zeros((1, 1)), ("Everyone",)), _quality([(1, np.nan, np.nan, 0.0)], 1, len(features)))
    scaled = scaler.transform(features)
    generator = np.random.default_rng(settings.seed)
    sample = (
        scaled
        if len(scaled) <= settings.sample_users
        else scaled[np.sort(generator.choice(len(scaled), settings.sample_users, replace=False))]
    )
    distinct = len(np.unique(sample, axis=0))
    tried = []
    for k in range(min(settings.minimum_k, distinct), min(settings.maximum_k, distinct - 1) + 1):
        labels = KMeans(k, n_init=5, random_state=settings.seed).fit(sample)
        tried.append((k, silhouette_score(sample, labels.labels_), davies_bouldin_score(sample, labels.labels_), labels.inertia_))
    chosen = max(tried, key=lambda entry: (entry[1], -entry[0]))[0] if tried else min(distinct, settings.minimum_k)
    fitted = KMeans(chosen, n_init=10, random_state=settings.seed).fit(scaled)
    sizes = np.bincount(fitted.labels_, minlength=chosen)
    order = np.argsort(-sizes, kind="stable")
    centres = fitted.cluster_centers_[order]
    if not tried:
        tried = [(chosen, np.nan, np.nan, fitted.inertia_)]
    return Fit(SegmentModel(scaler, centres, tuple(segment_names(scaler.columns, centres))), _quality(tried, chosen, len(sample)))


def _quality(tried: list[tuple[int, float, float, float]], chosen: int, sample_users: int) -> pd.DataFrame:
    frame = pd.DataFrame(tried, columns=["k", "silhouette", "davies_bouldin", "inertia"])
    return frame.assign(chosen=frame["k"] == chosen, sample_users=sample_users)


class _PyfuncSegments:
    def __init__(self, model: SegmentModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        return self.model.assign(model_input)


def _load_pyfunc(path: str) -> _PyfuncSegments:
    """What MLflow calls to load a stored model: reads arrays and JSON, runs nothing from the artifact."""
    return _PyfuncSegments(SegmentModel.load(Path(path)))
