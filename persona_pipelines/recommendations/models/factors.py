"""What every recommender is once it has learned: factors and biases. Scores are one matrix product.

Popularity is the case without factors: an item's bias is its popularity. So all models are scored, stored and served
by the same few lines.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Interactions, positions

FORMAT = 1
USERS_AT_ONCE = 1024


@dataclass(frozen=True)
class FactorModel:
    """Learned state.

    Attributes:
        name: of the model.
        users, items: ids in the order of the factors.
        user_factors: shape (users, d); item_factors: shape (items, d); user_biases do not change a user's order.
        item_biases: shape (items,).
        user_feature_names: features that a new user may have; user_feature_factors: shape (features, d).
    """

    name: str
    users: np.ndarray
    items: np.ndarray
    user_factors: np.ndarray
    item_factors: np.ndarray
    item_biases: np.ndarray
    user_feature_names: tuple[str, ...] = ()
    user_feature_factors: np.ndarray | None = None

    def new_user_factors(self, tokens: list[list[str]]) -> np.ndarray:
        """Factors of users unknown in training, the mean of their known features'; zeros, so popularity, without any."""
        factors = np.zeros((len(tokens), self.item_factors.shape[1]), dtype=np.float32)
        if self.user_feature_factors is None:
            return factors
        place = {name: number for number, name in enumerate(self.user_feature_names)}
        for number, row in enumerate(tokens):
            known = [place[token] for token in row if token in place]
            if known:
                factors[number] = self.user_feature_factors[known].mean(axis=0)
        return factors

    def top(self, user_factors: np.ndarray, k: int, exclude: sp.csr_matrix | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The best ``k`` items of users given by factors of shape (n, d).

        Args:
            exclude: shape (n, items), entries above 0 are left out.
        Returns:
            Item positions and scores, both of shape (n, min(k, items)), best first; position -1 where nothing is left.
            Ties go to the item that comes first.
        """
        n, k = len(user_factors), min(k, len(self.items))
        best, scores = np.full((n, k), -1, dtype=np.int64), np.full((n, k), -np.inf, dtype=np.float32)
        for start in range(0, n, USERS_AT_ONCE):
            part = slice(start, min(start + USERS_AT_ONCE, n))
            block = user_factors[part] @ self.item_factors.T + self.item_biases[None, :]
            if exclude is not None:
                seen = exclude[part].tocoo()
                block[seen.row, seen.col] = -np.inf
            found = np.argpartition(-block, k - 1, axis=1)[:, :k] if k < block.shape[1] else np.tile(np.arange(k), (len(block), 1))
            # The k-th place may be shared: sort by score, then by position, so that the answer does not depend on the partition.
            threshold = np.take_along_axis(block, found, axis=1).min(axis=1, keepdims=True)
            tied = (block == threshold).sum(axis=1) > (np.take_along_axis(block, found, axis=1) == threshold).sum(axis=1)
            for row in np.flatnonzero(tied):
                found[row] = np.lexsort((np.arange(block.shape[1]), -block[row]))[:k]
            value = np.take_along_axis(block, found, axis=1)
            order = np.lexsort((found, -value), axis=1)
            found, value = np.take_along_axis(found, order, axis=1), np.take_along_axis(value, order, axis=1)
            best[part], scores[part] = np.where(np.isfinite(value), found, -1), value
        return best, scores

    def save(self, folder: Path) -> None:
        """Arrays and JSON; no pickle, no code."""
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            folder / "arrays.npz",
            user_factors=self.user_factors,
            item_factors=self.item_factors,
            item_biases=self.item_biases,
            user_feature_factors=np.zeros((0, self.item_factors.shape[1]))
            if self.user_feature_factors is None
            else self.user_feature_factors,
        )
        description = {
            "format": FORMAT,
            "name": self.name,
            "users": self.users.tolist(),
            "items": self.items.tolist(),
            "user_feature_names": self.user_feature_names,
        }
        (folder / "model.json").write_text(json.dumps(description))

    @classmethod
    def load(cls, folder: Path) -> FactorModel:
        """Raises ValueError where the folder holds another format."""
        description = json.loads((folder / "model.json").read_text())
        if description.get("format") != FORMAT:
            raise ValueError(f"{folder}: recommender of format {description.get('format')}; expected {FORMAT}: train it again")
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            return cls(
                description["name"],
                np.array(description["users"], dtype=object),
                np.array(description["items"], dtype=object),
                arrays["user_factors"],
                arrays["item_factors"],
                arrays["item_biases"],
                tuple(description["user_feature_names"]),
                arrays["user_feature_factors"] if description["user_feature_names"] else None,
            )

    def factors_of(self, user_ids: np.ndarray, tokens: list[list[str]]) -> tuple[np.ndarray, np.ndarray]:
        """Factors of any users, and which of them were known in training."""
        place = positions(self.users, user_ids)
        warm = place >= 0
        factors = self.new_user_factors(tokens)
        factors[warm] = self.user_factors[place[warm]]
        return factors, warm


class Recommender(Protocol):
    """An algorithm: parameters in its constructor, everything learned in what ``fit`` returns."""

    name: str

    def fit(self, interactions: Interactions) -> FactorModel:
        """Learn from interactions."""
        ...

    def parameters(self) -> dict[str, Any]:
        """What to log of it."""
        ...


class PyfuncRecommender:
    """Answers of a stored model through MLflow: users in, ranked items out."""

    def __init__(self, model: FactorModel) -> None:
        self.model = model

    def predict(self, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """``user_id`` (pseudonyms) and ``k`` in, ``user_id``, ``rank``, ``item_id``, ``score`` out."""
        users = model_input["user_id"].to_numpy(dtype=object)
        k = int(model_input["k"].max()) if "k" in model_input else 10
        factors, _ = self.model.factors_of(users, [[] for _ in users])
        best, scores = self.model.top(factors, k)
        return listed(self.model, users, best, scores)


def listed(model: FactorModel, users: np.ndarray, best: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """Lists as rows: ``user_id``, ``rank`` from 1, ``item_id``, ``score``; places with nothing left are dropped."""
    n, k = best.shape
    frame = pd.DataFrame(
        {
            "user_id": np.repeat(users, k),
            "rank": np.tile(np.arange(1, k + 1), n),
            "item_id": model.items[best.ravel()] if len(model.items) else np.array([], dtype=object),
            "score": scores.ravel().astype(float).round(6),
        }
    )
    return frame[best.ravel() >= 0].reset_index(drop=True)


def _load_pyfunc(path: str) -> PyfuncRecommender:
    """What MLflow calls to load a stored model: reads arrays and JSON, runs nothing from the artifact."""
    return PyfuncRecommender(FactorModel.load(Path(path)))
