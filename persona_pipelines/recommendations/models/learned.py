"""What every method keeps: a recommender learns from interactions, what it has learned answers an audience.

A learned model gives a score for each item; ranking, storing and serving are written once, here.
"""

from __future__ import annotations

import json
import traceback
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import scipy.sparse as sp

from persona_pipelines.errors import ProjectError, StoredModelError
from persona_pipelines.recommendations.arrays import load_arrays, save_arrays
from persona_pipelines.recommendations.data import Audience, Interactions
from persona_pipelines.settings.own_methods import load_all
from persona_pipelines.settings.recommendations import MethodSettings

FORMAT = 4
ONE_FILE = 3
"""The format before, with all arrays in one file, which cannot be mapped into memory."""
ARRAYS = "arrays"
USERS_AT_ONCE = 1024
KINDS: dict[str, type[LearnedModel]] = {}

State = Mapping[str, Any]
"""Arrays and CSR matrices by name."""


class ModelError(ProjectError):
    """The method cannot learn from these data; the message says why."""


@contextmanager
def leaving_out(failed: dict[str, str], name: str) -> Iterator[None]:
    """The boundary around one method or blend: whatever it raises leaves it out with its reason in ``failed``, and nothing else.

    Methods run on data that nobody here has seen, in libraries that are not ours: a fault of one of them must not take the comparison
    with it. A ``ModelError`` says its reason itself; anything else is told with its type and the place that raised it.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - this is the one boundary
        failed[name] = reason_of(error)


def reason_of(error: Exception) -> str:
    """Why a method was left out, in one line."""
    if isinstance(error, ModelError):
        return str(error)
    text = " ".join(str(error).split())
    places = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}{place}"


@dataclass(frozen=True)
class LearnedModel(ABC):
    """Learned state of one method.

    Attributes:
        name: of the method in the configuration.
        users, items: ids of the training, in the order of the state.
        digest: of the interactions that it has learned from.
        state: arrays and sparse matrices; what they are stands with each kind.
        texts: lists of names that belong to the state, such as the segments.
        curves: of a learner that goes on from step to step, a figure after each step by its name; it is told and not stored.
    """

    name: str
    users: np.ndarray
    items: np.ndarray
    digest: str
    state: State
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict, kw_only=True, compare=False, repr=False)
    kind: ClassVar[str]
    scores_new_items: ClassVar[bool] = False
    """Whether items that nobody has turned to are scored by what they say of themselves, as well as any other."""

    def __init_subclass__(cls) -> None:
        KINDS[cls.kind] = cls

    @abstractmethod
    def scores(self, audience: Audience) -> np.ndarray:
        """Scores of shape (n, items), float32; higher is better, comparable within a row only."""

    @abstractmethod
    def answers(self, audience: Audience) -> np.ndarray:
        """Shape (n,): whether the scores of each user mean anything."""

    def members(self) -> dict[str, LearnedModel]:
        """The models that this one is made of; none for a single method."""
        return {}

    def top(
        self, audience: Audience, k: int, exclude: sp.csr_matrix | None = None, blocked: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best ``k`` items of each user.

        Args:
            exclude: shape (n, items), entries above 0 are left out.
            blocked: shape (items,), True for items that nobody is to get.
        Returns:
            Item positions and scores, both of shape (n, min(k, items)), best first; position -1 where nothing is left.
            Ties go to the item that comes first.
        """
        n, k = len(audience), min(k, len(self.items))
        best, scores = np.full((n, k), -1, dtype=np.int64), np.full((n, k), -np.inf, dtype=np.float32)
        for start in range(0, n, USERS_AT_ONCE):
            part = slice(start, min(start + USERS_AT_ONCE, n))
            block = self.scores(audience.part(part))
            if blocked is not None:
                block[:, blocked] = -np.inf
            best[part], scores[part] = best_of(block, k, None if exclude is None else exclude[part])
        return best, scores

    def save(self, folder: Path) -> None:
        """Arrays and JSON; no pickle, no code."""
        folder.mkdir(parents=True, exist_ok=True)
        save_arrays(folder / ARRAYS, {name: value if sp.issparse(value) else np.asarray(value) for name, value in self.state.items()})
        description = {
            "format": FORMAT,
            "kind": self.kind,
            "name": self.name,
            "digest": self.digest,
            "users": self.users.tolist(),
            "items": self.items.tolist(),
            "texts": dict(self.texts),
            "members": list(self.members()),
        }
        (folder / "model.json").write_text(json.dumps(description))
        for number, member in enumerate(self.members().values()):
            member.save(folder / f"member_{number}")

    @classmethod
    def restored(
        cls,
        name: str,
        users: np.ndarray,
        items: np.ndarray,
        digest: str,
        state: State,
        texts: Mapping[str, tuple[str, ...]],
        members: Mapping[str, LearnedModel],
    ) -> LearnedModel:
        """The model of stored parts."""
        return cls(name, users, items, digest, state, texts)


def load(folder: Path) -> LearnedModel:
    """A stored model, its arrays mapped into memory, for reading.

    Raises:
        StoredModelError: the folder holds another format, or a kind that no installed package knows, or arrays are gone or damaged.
    """
    description = json.loads((folder / "model.json").read_text())
    if description.get("format") not in (FORMAT, ONE_FILE):
        raise StoredModelError(f"{folder}: recommender of format {description.get('format')}; expected {FORMAT}: train it again")
    state = load_arrays(folder / ARRAYS) if description["format"] == FORMAT else _state_of_one_file(folder / "arrays.npz")
    members = {name: load(folder / f"member_{number}") for number, name in enumerate(description["members"])}
    users, items = (np.array(description[key], dtype=object) for key in ("users", "items"))
    texts = {name: tuple(values) for name, values in description["texts"].items()}
    if description["kind"] not in KINDS:
        load_all()
    if description["kind"] not in KINDS:
        raise StoredModelError(f"{folder}: a model of kind {description['kind']!r}, which no installed package knows; train again")
    return KINDS[description["kind"]].restored(description["name"], users, items, description["digest"], state, texts, members)


def _state_of_one_file(file: Path) -> dict[str, Any]:
    state: dict[str, Any] = {}
    with np.load(file, allow_pickle=False) as arrays:
        for entry in arrays.files:
            name, _, part = entry.partition("/")
            if not part:
                state[name] = arrays[entry]
            elif part == "shape":
                parts = (arrays[f"{name}/data"], arrays[f"{name}/indices"], arrays[f"{name}/indptr"])
                state[name] = sp.csr_matrix(parts, shape=tuple(arrays[entry]))
    return state


def best_of(scores: np.ndarray, k: int, exclude: sp.csr_matrix | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The ``k`` best columns of each row, as ``LearnedModel.top`` gives them. ``scores`` is overwritten."""
    if exclude is not None:
        seen = exclude.tocoo()
        scores[seen.row, seen.col] = -np.inf
    found = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k < scores.shape[1] else np.tile(np.arange(k), (len(scores), 1))
    # The k-th place may be shared: of those who share it the first by position, so that the answer does not depend on the partition.
    value = np.take_along_axis(scores, found, axis=1)
    threshold = value.min(axis=1, keepdims=True)
    for row in np.flatnonzero((scores == threshold).sum(axis=1) > (value == threshold).sum(axis=1)):
        above = np.flatnonzero(scores[row] > threshold[row])
        found[row] = np.concatenate([above, np.flatnonzero(scores[row] == threshold[row])[: k - len(above)]])
    value = np.take_along_axis(scores, found, axis=1)
    order = np.lexsort((found, -value), axis=1)
    found, value = np.take_along_axis(found, order, axis=1), np.take_along_axis(value, order, axis=1)
    return np.where(np.isfinite(value), found, -1), value


class Recommender(Protocol):
    """A method: settings in its constructor, everything learned in what ``fit`` returns."""

    settings: MethodSettings

    @property
    def name(self) -> str: ...

    def fit(self, interactions: Interactions) -> LearnedModel:
        """Learn from interactions.

        Raises:
            ModelError: there is nothing that this method can learn from.
        """
        ...


class RatingModel(ABC):
    """A learned model that also predicts ratings."""

    @abstractmethod
    def predicted_ratings(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Ratings of pairs of positions, shape (pairs,), within the range of the ratings learned from; -1 for unknown ones."""
