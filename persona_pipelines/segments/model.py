"""The segment model: preprocessing, regions, ids and names; its training, assignment, and storage as arrays and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from persona_pipelines.errors import StoredModelError
from persona_pipelines.segments.algorithms import NOISE, Regions
from persona_pipelines.segments.alignment import Alignment, align
from persona_pipelines.segments.contrasts import Contrast, contrasts
from persona_pipelines.segments.differences import Difference, all_differences
from persona_pipelines.segments.labels import Label
from persona_pipelines.segments.naming import Name, segment_names, told_apart
from persona_pipelines.segments.preprocessing import Scaler, fit_scaler
from persona_pipelines.segments.selection import choose
from persona_pipelines.settings.stages import SegmentsSettings
from persona_pipelines.warehouse.described import A_SHOP, Log

FORMAT = 2
UNPLACED = (0, "In no segment")
"""Id and name of users who belong to no segment."""
ROUNDS = 20


@dataclass(frozen=True)
class SegmentModel:
    """``ids`` and names (``named``) of the regions in their order; ``highest_id`` ever given by this model or one before it."""

    scaler: Scaler
    regions: Regions
    ids: tuple[int, ...]
    named: tuple[Name, ...]
    highest_id: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name.text for name in self.named)

    def assign(self, features: pd.DataFrame, category_shares: pd.DataFrame) -> pd.DataFrame:
        """``user_id``, ``segment_id``, ``segment_name``, ``distance`` of users with ``contracts.USER_FEATURES``; needs no refit."""
        numbers, distance = self.regions.assign(self.scaler.transform(features, category_shares))
        ids, names = np.array([*self.ids, UNPLACED[0]]), np.array([*self.names, UNPLACED[1]], dtype=object)
        return pd.DataFrame(
            {
                "user_id": features["user_id"].to_numpy(),
                "segment_id": ids[numbers],  # the last entry is that of noise, -1
                "segment_name": names[numbers],
                "distance": distance.round(9),
            }
        )

    def called(self, labels: Mapping[int, Label]) -> SegmentModel:
        """The same model with the names that people have given; one of its own that somebody has given to another segment gets its number."""
        given = {number: label.name for number, label in labels.items() if label.name}
        taken = {name for number, name in given.items() if number in self.ids}
        named = [
            # What tells others from it is still told of it.
            Name(given[number], shared=name.stem)
            if number in given
            else replace(name, text=f"{name.text} {number}", shared=name.stem)
            if name.text in taken
            else name
            for number, name in zip(self.ids, self.named, strict=True)
        ]
        return replace(self, named=tuple(named))

    def namesakes(self, features: pd.DataFrame, category_shares: pd.DataFrame, segment_of: np.ndarray) -> dict[int, list[list[Contrast]]]:
        """By id of each segment whose name tells it from others of the same name: the differences of its people to those of each of them.

        Args:
            features: ``contracts.USER_FEATURES`` with attributes.
            segment_of: shape (users,), the id of the segment of each user.
        """
        stems = {number: name.stem for number, name in zip(self.ids, self.named, strict=True)}
        return {
            number: [
                contrasts(self.scaler, features, category_shares, segment_of, number, other)
                for other, stem in stems.items()
                if stem == stems[number] and other != number
            ]
            for number, name in zip(self.ids, self.named, strict=True)
            if name.apart
        }

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        scaler = self.scaler
        np.savez(
            folder / "arrays.npz",
            fill=scaler.fill,
            mean=scaler.mean,
            deviation=scaler.deviation,
            weight=scaler.weight,
            interest_mean=scaler.interest_mean,
            interests=scaler.interests,
            centres=self.regions.centres,
            limits=self.regions.limits,
        )
        description = {
            "format": FORMAT,
            "columns": scaler.columns,
            "categories": scaler.categories,
            "ids": self.ids,
            "names": self.names,
            "traits": [name.traits for name in self.named],
            "shared": [name.shared for name in self.named],
            "apart": [name.apart for name in self.named],
            "highest_id": self.highest_id,
        }
        (folder / "model.json").write_text(json.dumps(description, indent=1))

    @classmethod
    def load(cls, folder: Path) -> SegmentModel:
        """Raises StoredModelError where the folder holds another format."""
        description = json.loads((folder / "model.json").read_text())
        if description.get("format") != FORMAT:
            raise StoredModelError(f"{folder}: segment model of format {description.get('format')}; expected {FORMAT}: train it again")
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            learned = {name: arrays[name] for name in ("fill", "mean", "deviation", "weight", "interest_mean", "interests")}
            scaler = Scaler(columns=tuple(description["columns"]), categories=tuple(description["categories"]), **learned)
            regions = Regions(arrays["centres"], arrays["limits"])
        return cls(scaler, regions, tuple(description["ids"]), _named(description), description["highest_id"])


def _named(description: Mapping[str, Any]) -> tuple[Name, ...]:
    """The names of a stored model. Those of earlier versions say neither what a name rests on nor of what a number is the number."""
    texts = description["names"]
    nothing = [()] * len(texts)
    shared = description.get("shared", [stem if (stem := re.sub(r" \d+$", "", text)) in texts and stem != text else "" for text in texts])
    told = zip(texts, description.get("traits", nothing), shared, description.get("apart", nothing), strict=True)
    return tuple(
        Name(text, tuple((feature, sign) for feature, sign in traits), stem, (apart[0], apart[1]) if apart else None)
        for text, traits, stem, apart in told
    )


@dataclass(frozen=True)
class Fit:
    """A fitted model with how it was chosen.

    Attributes:
        quality: columns of ``contracts.SEGMENT_QUALITY`` but the version.
        reason: of the choice, in one sentence.
        alignment: of its ids with those of the model before; None for the first.
    """

    model: SegmentModel
    quality: pd.DataFrame
    reason: str
    alignment: Alignment | None


def fit_segments(
    features: pd.DataFrame,
    category_shares: pd.DataFrame,
    settings: SegmentsSettings,
    before: SegmentModel | None = None,
    log: Log = A_SHOP,
) -> Fit:
    """Segments of all users, chosen on a sample.

    Args:
        features: ``contracts.USER_FEATURES`` with ``user_number`` (``contracts.USER_ORDER``). The order of the rows does not matter.
        category_shares: ``contracts.CATEGORY_SHARES`` of the same users.
        before: the model in use, whose ids and names segments keep that hold the same users; a name is kept while it is true of them.
        log: what the log is a log of.
    Raises:
        ValueError: there are no users.
    """
    if features.empty:
        raise ValueError("no users: segments need events of known users")
    features = features.sort_values("user_number", kind="stable", ignore_index=True)
    try:
        scaler = fit_scaler(features, category_shares, settings.attributes)
        points = scaler.transform(features, category_shares)
        sample = points
        if len(points) > settings.sample_users:
            generator = np.random.default_rng(settings.seed)
            sample = points[np.sort(generator.choice(len(points), settings.sample_users, replace=False))]
        # A segment that is too small in the whole is looked for in the sample at the same share.
        smallest = max(2, round(settings.minimum_segment_size * len(sample) / len(points)))
        choice = choose(sample, settings, min(smallest, max(2, len(sample) // 4)))
    except ValueError as error:
        # One user, or all alike, or too few for two groups: one segment is the truth, not an error.
        return Fit(_everyone(), _quality_of_one(len(features)), str(error), None)
    found = _settled(points, choice.chosen.regions)
    numbers = found.assign(points)[0]
    sizes = np.array([(numbers == number).sum() for number in range(len(found.centres))])
    order = np.argsort(-sizes, kind="stable")
    found = Regions(found.centres[order], found.limits[order])
    numbers = found.assign(points)[0]
    differences = list(all_differences(scaler, features, numbers, range(len(order))).values())
    ids, names, kept, highest, alignment = _identity(
        features, category_shares, numbers, differences, before, segment_names(differences, log)
    )
    between = partial(contrasts, scaler, features, category_shares, numbers)
    named = tuple(told_apart(names, log, between, kept))
    return Fit(SegmentModel(scaler, found, ids, named, highest), choice.quality(len(sample)), choice.reason, alignment)


def _settled(points: np.ndarray, start: Regions) -> Regions:
    """The sample's centres moved to the means of all users they are nearest to (Lloyd), until they rest or no one is left near one."""
    centres = start.centres
    for _ in range(ROUNDS):
        numbers = Regions(centres, start.limits).assign(points)[0]
        inside = numbers != NOISE
        counts = np.bincount(numbers[inside], minlength=len(centres))
        sums = np.stack([np.bincount(numbers[inside], points[inside, column], len(centres)) for column in range(points.shape[1])], axis=1)
        moved = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
        if np.abs(moved - centres).max() < 1e-6:
            break
        centres = moved
    kept = np.bincount(Regions(centres, start.limits).assign(points)[0] + 1, minlength=len(centres) + 1)[1:] > 0
    return Regions(centres[kept], start.limits[kept])


def _identity(
    features: pd.DataFrame,
    category_shares: pd.DataFrame,
    numbers: np.ndarray,
    differences: list[list[Difference]],
    before: SegmentModel | None,
    fresh: list[Name],
) -> tuple[tuple[int, ...], list[Name], set[int], int, Alignment | None]:
    """Ids and names of the segments, those of the model before where they hold the same users, with the places of these names, which are kept
    where what they say by themselves is still true. Namesakes are left to ``told_apart``."""
    if before is None:
        return tuple(range(1, len(fresh) + 1)), fresh, set(), len(fresh), None
    old = before.assign(features, category_shares)["segment_id"].to_numpy()
    alignment = align(old, numbers, len(fresh), before.highest_id)
    old_names = dict(zip(before.ids, before.named, strict=True))
    kept = {
        place: old_names[segment]
        for place, segment in enumerate(alignment.ids)
        if segment in old_names and replace(old_names[segment], apart=None).holds(differences[place])
    }
    named = [kept.get(place, name) for place, name in enumerate(fresh)]
    return tuple(alignment.ids), named, set(kept), max(before.highest_id, *alignment.ids), alignment


def _everyone() -> SegmentModel:
    scaler = Scaler(("recency_days",), np.zeros(1), np.zeros(1), np.ones(1), np.zeros(1), (), np.zeros(0), np.zeros((0, 0)))
    return SegmentModel(scaler, Regions(np.zeros((1, 1)), np.full(1, np.inf)), (1,), (Name("Everyone"),), 1)


def _quality_of_one(users: int) -> pd.DataFrame:
    missing = dict.fromkeys(("silhouette", "davies_bouldin", "calinski_harabasz", "stability"), np.nan)
    return pd.DataFrame(
        [{"algorithm": "none", "k_wanted": 1, "k": 1, **missing, "noise_share": 0.0, "chosen": True, "sample_users": users}]
    )


class _PyfuncSegments:
    def __init__(self, model: SegmentModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """``contracts.USER_FEATURES`` in; interests are not part of them, so users stand in the middle there."""
        return self.model.assign(model_input, pd.DataFrame({"user_id": [], "category": [], "interest_share": []}))


def _load_pyfunc(path: str) -> _PyfuncSegments:
    """What MLflow calls to load a stored model: reads arrays and JSON, runs nothing from the artifact."""
    return _PyfuncSegments(SegmentModel.load(Path(path)))
