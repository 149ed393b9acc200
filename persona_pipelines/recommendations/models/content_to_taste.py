"""Who wants an item, from what it says of itself: items that nobody has turned to yet are recommended from their first minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from persona_pipelines.features.attributes import PREFIX
from persona_pipelines.recommendations.data import Audience, Features, Interactions, Numbers, binary
from persona_pipelines.recommendations.evaluation.metrics import ndcg
from persona_pipelines.recommendations.models.content_based import has_words, vectorizer
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError, best_of
from persona_pipelines.settings.recommendations import ContentToTasteSettings

PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
KNOTS = 11
"""Deciles with both ends: between two of them a number stands partly in both."""
K = 10
PARTS = 5
"""New items are ranked among themselves: the catalogue in so many parts, each ranked apart."""


@dataclass(frozen=True)
class ItemVectors:
    """How an item becomes numbers: learned from a catalogue, and the same for an item that comes later.

    Three blocks: the TF-IDF of its texts, of length 1; the attributes that it has (``Features.names``), of length 1; and each number by the
    two deciles between which it stands, the nearer one counting more, both summing to 1. What is unknown is 0.

    Attributes:
        words: of the texts.
        frequencies: shape (words,), their inverse document frequencies.
        attributes: as ``attribute=value``.
        knots: rising, at least two, by the name of the number.
    """

    words: tuple[str, ...]
    frequencies: np.ndarray
    attributes: tuple[str, ...]
    knots: Mapping[str, np.ndarray]

    @classmethod
    def learned(cls, interactions: Interactions, maximum_terms: int, with_attributes: bool) -> ItemVectors:
        """Words of all items; attributes and numbers of those that somebody had to do with."""
        words: tuple[str, ...] = ()
        frequencies = np.empty(0)
        if has_words(interactions.texts):
            fitted = vectorizer(maximum_terms).fit(interactions.texts)
            words, frequencies = tuple(fitted.get_feature_names_out()), fitted.idf_
        if not with_attributes:
            return cls(words, frequencies, (), {})
        met = interactions.met_items()
        knots: dict[str, np.ndarray] = {}
        for name, column in zip(interactions.item_numbers.names, interactions.item_numbers.matrix[met].T, strict=True):
            known = column[np.isfinite(column)]
            values = np.unique(np.quantile(known, np.linspace(0, 1, KNOTS))) if len(known) else known
            if len(values) > 1:
                knots[name] = values
        features = interactions.item_features
        held = np.bincount(features.matrix[met].indices, minlength=len(features.names)) > 0
        # A number is told by its deciles; its band would say the same once more, and less exactly.
        attributes = tuple(
            name
            for name, known in zip(features.names, held, strict=True)
            if known and name.partition("=")[0].removeprefix(PREFIX) not in knots
        )
        return cls(words, frequencies, attributes, knots)

    def of(self, texts: Sequence[str], features: Features, numbers: Numbers) -> sp.csr_matrix:
        """Shape (items, columns), float32."""
        from sklearn.preprocessing import normalize

        count = len(texts)
        blocks = [sp.csr_matrix((count, 0))]
        if self.words:
            reader = vectorizer(vocabulary=self.words)
            reader.idf_ = self.frequencies
            blocks.append(reader.transform(texts))
        if self.attributes:
            place = {name: number for number, name in enumerate(features.names)}
            known = [number for number, name in enumerate(self.attributes) if name in place]
            found = sp.coo_matrix(features.matrix[:, [place[self.attributes[number]] for number in known]])
            shape = (count, len(self.attributes))
            blocks.append(normalize(sp.csr_matrix((found.data, (found.row, np.array(known, dtype=int)[found.col])), shape=shape)))
        for name, knots in self.knots.items():
            values = numbers.matrix[:, numbers.names.index(name)] if name in numbers.names else np.full(count, np.nan)
            blocks.append(between(values, knots))
        return sp.csr_matrix(sp.hstack(blocks), dtype=np.float32)

    def state(self) -> dict[str, np.ndarray]:
        return {"frequencies": self.frequencies} | {f"knots {name}": values for name, values in self.knots.items()}


def between(values: np.ndarray, knots: np.ndarray) -> sp.csr_matrix:
    """A linear spline of order 1: shape (values, knots), each value by the two knots around it, in all 1; beyond the ends as at the end.

    A value that is no number has nothing.
    """
    known = np.flatnonzero(np.isfinite(values))
    inside = np.clip(values[known], knots[0], knots[-1])
    left = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
    share = (inside - knots[left]) / (knots[left + 1] - knots[left])
    rows, columns, data = np.concatenate([known, known]), np.concatenate([left, left + 1]), np.concatenate([1 - share, share])
    return sp.csr_matrix((data, (rows, columns)), shape=(len(values), len(knots)))


class ContentToTasteModel(LearnedModel):
    """State:
        vectors: shape (items, columns), as ``ItemVectors.of`` makes them.
        inverse: shape (columns, columns): (V'V + regularisation * I)^-1, V the vectors of the items that somebody had to do with.
        regularisation; frequencies and ``knots NAME``: of ``ItemVectors``.
    Texts: ``words``, ``attributes`` and ``numbers`` of ``ItemVectors``.

    An item's score for a user is that of a ridge regression from the vectors of items to whether the user turned to them. Its solution is
    history @ V @ inverse @ vector, so that it answers anybody with a history, and new items as well as others.
    """

    kind = "content_to_taste"
    scores_new_items = True

    def answers(self, audience: Audience) -> np.ndarray:
        return audience.active()

    def scores(self, audience: Audience) -> np.ndarray:
        tastes = sp.csr_matrix(binary(audience.history) @ self.state["vectors"]) @ self.state["inverse"]
        return np.ascontiguousarray((self.state["vectors"] @ tastes.T).T, dtype=np.float32)

    def item_vectors(self) -> ItemVectors:
        """How items that come later become vectors."""
        knots = {name: np.asarray(self.state[f"knots {name}"]) for name in self.texts["numbers"]}
        return ItemVectors(self.texts["words"], np.asarray(self.state["frequencies"]), self.texts["attributes"], knots)


class ContentToTaste:
    """Ridge regression (Hoerl and Kennard 1970) from what items say of themselves to who turned to them; Gantner et al. 2010 map attributes to
    tastes for the same end.

    Without a ``regularisation`` the best of ``PENALTIES`` is taken: each item is left out of the regression in turn (in closed form: Allen 1974,
    "PRESS"), as if it were new, and ranked by what the others say among a fifth of the catalogue.

    Cost: the eigenvalues of a square matrix of the columns, ``maximum_terms`` and the attributes: time of their cube, memory of their square.
    """

    def __init__(self, settings: ContentToTasteSettings, seed: int = 0) -> None:
        self.settings = settings
        self.name = settings.name
        self.seed = seed

    def fit(self, interactions: Interactions) -> ContentToTasteModel:
        chosen = self.settings
        made = ItemVectors.learned(interactions, chosen.maximum_terms, chosen.attributes)
        vectors = made.of(interactions.texts, interactions.item_features, interactions.item_numbers)
        if not vectors.shape[1]:
            raise ModelError("no item has a title, category, brand or price: map them in a source of kind items")
        met = np.flatnonzero(interactions.met_items())
        values, basis = np.linalg.eigh((vectors[met].T @ vectors[met]).toarray().astype(float))
        values = np.maximum(values, 0)
        if chosen.regularisation is None:
            penalty = self._penalty(np.asarray(vectors[met] @ basis), values, binary(interactions.weights)[:, met])
        else:
            penalty = chosen.regularisation
        inverse = (basis / (values + penalty)) @ basis.T
        state = {"vectors": vectors, "inverse": inverse.astype(np.float32), "regularisation": np.array(penalty), **made.state()}
        texts = {"words": made.words, "attributes": made.attributes, "numbers": tuple(made.knots)}
        return ContentToTasteModel(self.name, interactions.users, interactions.items, interactions.digest, state, texts)

    def _penalty(self, turned: np.ndarray, values: np.ndarray, history: sp.csr_matrix) -> float:
        """The best of ``PENALTIES``.

        Args:
            turned: shape (items, columns): the vectors in the basis of the eigenvalues ``values``.
            history: shape (users, items).
        """
        generator = np.random.default_rng(self.seed)
        part = generator.integers(0, PARTS, len(turned))
        users = np.flatnonzero(np.diff(history.indptr) > 1)
        if len(users) > self.settings.validation_users:
            users = np.sort(generator.choice(users, self.settings.validation_users, replace=False))
        if not len(users):
            return PENALTIES[len(PENALTIES) // 2]
        truth = history[users].T.toarray()
        reached = {}
        for penalty in PENALTIES:
            leverage = (turned**2 / (values + penalty)).sum(axis=1)[:, None]
            predicted = turned @ ((turned.T @ truth) / (values + penalty)[:, None])
            unseen = (predicted - leverage * truth) / np.maximum(1 - leverage, 1e-9)
            parts = [_quality(unseen[part == number].T, truth[part == number].T) for number in range(PARTS) if (part == number).any()]
            reached[penalty] = float(np.concatenate(parts).mean())
        return max(reached, key=lambda penalty: reached[penalty])


def _quality(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """nDCG at ``K`` of each user who has anything to find."""
    wanted = np.flatnonzero(truth.any(axis=1))
    best, _ = best_of(np.ascontiguousarray(scores[wanted], dtype=np.float32), min(K, scores.shape[1]))
    return ndcg(np.take_along_axis(truth[wanted] > 0, best, axis=1), (truth[wanted] > 0).sum(axis=1), K)
