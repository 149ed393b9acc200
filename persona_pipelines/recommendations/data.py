"""Interactions and features as the sparse matrices that models learn from, and the users that they answer."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.features.attributes import PREFIX

USER_ATTRIBUTES = ("country", "gender", "age_group", "occupation")
ITEM_ATTRIBUTES = ("category", "brand", "price")
BANDS = 5
UNKNOWN_SEGMENT = 0
NUMBER = "numbers."
"""Before the name of a column with an attribute as the number that it is, beside its band."""


@dataclass(frozen=True)
class Features:
    """Shared features of users or items: ``matrix`` of shape (entities, features), 1 where the entity has it.

    ``names`` has one entry a column, as ``attribute=value``.
    """

    matrix: sp.csr_matrix
    names: tuple[str, ...]


@dataclass(frozen=True)
class Numbers:
    """Attributes of items that are numbers: ``matrix`` of shape (items, names), nan where unknown."""

    matrix: np.ndarray
    names: tuple[str, ...]


@dataclass(frozen=True)
class Audience:
    """Users to be answered.

    Attributes:
        ids: shape (n,).
        positions: shape (n,), the place among the users of the training; -1 for new users.
        history: shape (n, items), weights of what each cares for so far.
        seen: shape (n, items), an entry for everything that each has had to do with, good or bad.
        tokens: the attributes of each, as in ``Features.names``.
        segments: shape (n,), segment ids; ``UNKNOWN_SEGMENT`` where there is none.
        follows: shape (n, users of the training), an entry where one follows the other; None where it is not known.
        age_days: the same sparsity as ``history``: days since the last event of the pair; None where no order is known.
    """

    ids: np.ndarray
    positions: np.ndarray
    history: sp.csr_matrix
    seen: sp.csr_matrix
    tokens: list[list[str]]
    segments: np.ndarray
    follows: sp.csr_matrix | None = None
    age_days: sp.csr_matrix | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, wanted: slice | np.ndarray) -> Audience:
        """Some of the users, by a slice or by their numbers."""
        numbers = np.arange(len(self))[wanted]
        return Audience(
            self.ids[numbers],
            self.positions[numbers],
            self.history[numbers],
            self.seen[numbers],
            [self.tokens[n] for n in numbers],
            self.segments[numbers],
            None if self.follows is None else self.follows[numbers],
            None if self.age_days is None else self.age_days[numbers],
        )

    def known(self) -> np.ndarray:
        """Whether each was known in training, shape (n,)."""
        return self.positions >= 0

    def active(self) -> np.ndarray:
        """Whether each cares for anything, shape (n,)."""
        return np.diff(self.history.indptr) > 0

    def recent(self, decay: float) -> sp.csr_matrix:
        """The history where each item counts ``decay`` to the power of its place from the newest, which has place 0.

        Items of one moment share the mean of their places. Without an order all count 1.
        """
        return binary(self.history) if self.age_days is None else recency_weights(self.age_days, decay)


@dataclass(frozen=True)
class Interactions:
    """What users did with items before a moment.

    Attributes:
        users, items: ids, users in their order (``events.ordering.in_order``), items sorted; a position in them is the index in the
            matrices.
        weights: shape (users, items), an entry above 0 where the user cares for the item.
        importance: the same sparsity: how much more the pair counts for having been shown seldom; 1 where that is not logged.
        age_days: the same sparsity: days from the last event of the pair to the moment.
        seen: shape (users, items), 1 where the user has had to do with the item, good or bad.
        ratings: shape (users, items), the mean rating of the pair, good or bad; an entry only where there is one.
        baskets: shape (baskets, items), 1 for each item of a basket.
        user_features, item_features: of the users and items.
        item_numbers: prices and attributes of the items that are numbers.
        texts: title, categories and brand of each item, for methods that read.
        segments: shape (users,), ids; ``UNKNOWN_SEGMENT`` where there is none.
        digest: of everything above and of who of the users follows whom, but not of users' ids: it is the same under every key. A model
            says by it what it has learned from.
        follow_pairs: ``user_id``, ``target_user_id``: who follows whom, whether known here or not; None where it is not known.
    """

    users: np.ndarray
    items: np.ndarray
    weights: sp.csr_matrix
    importance: sp.csr_matrix
    age_days: sp.csr_matrix
    seen: sp.csr_matrix
    ratings: sp.csr_matrix
    baskets: sp.csr_matrix
    user_features: Features
    item_features: Features
    item_numbers: Numbers
    texts: tuple[str, ...]
    segments: np.ndarray
    digest: str
    follow_pairs: pd.DataFrame | None = None

    def user_positions(self, ids: Sequence[str] | np.ndarray) -> np.ndarray:
        """Positions of ids in ``users``; -1 of ids that are not in it."""
        return positions(self.users, np.asarray(ids, dtype=object))

    def item_users(self) -> np.ndarray:
        """The number of users who care for each item, shape (items,)."""
        return np.bincount(self.weights.indices, minlength=len(self.items)).astype(float)

    def met_items(self) -> np.ndarray:
        """Whether anybody has had to do with each item, shape (items,)."""
        return np.bincount(self.seen.indices, minlength=len(self.items)) > 0

    def audience(self, ids: np.ndarray, attributes: pd.DataFrame, segments: Mapping[str, int] | None = None) -> Audience:
        """Users as of the moment: those of the training with their history, others without.

        Args:
            attributes: ``user_id`` and ``USER_ATTRIBUTES``, for users of any kind.
            segments: segment of users who are not in the training.
        """
        place = self.user_positions(ids)
        known = place >= 0
        rows = sp.csr_matrix((np.ones(known.sum(), dtype=np.float32), (np.flatnonzero(known), place[known])), (len(ids), len(self.users)))
        others = np.array([(segments or {}).get(user, UNKNOWN_SEGMENT) for user in ids], dtype=np.int64)
        own = np.where(known, self.segments[np.maximum(place, 0)], others) if len(self.users) else others
        return Audience(
            ids,
            place,
            sp.csr_matrix(rows @ self.weights),
            sp.csr_matrix(rows @ self.seen),
            tokens(attributes, "user_id", ids, USER_ATTRIBUTES),
            own,
            None if self.follow_pairs is None else followed(self.follow_pairs, ids, self.users),
            sp.csr_matrix(rows @ self.age_days),
        )


def places_from_newest(age_days: sp.csr_matrix) -> sp.csr_matrix:
    """The place of each entry among those of its row, from 0 for the one of the lowest age; entries of equal age share the mean of their places."""
    rows = np.repeat(np.arange(age_days.shape[0]), np.diff(age_days.indptr))
    order = np.lexsort((age_days.data, rows))
    row, age = rows[order], age_days.data[order]
    place = np.arange(len(order), dtype=float) - age_days.indptr[row]
    starts = (
        np.flatnonzero(np.concatenate([[True], (row[1:] != row[:-1]) | (age[1:] != age[:-1])])) if len(order) else np.array([], dtype=int)
    )
    lengths = np.diff(np.append(starts, len(order)))
    shared = np.empty(len(order))
    shared[order] = np.repeat(place[starts] + (lengths - 1) / 2, lengths)
    return sp.csr_matrix((shared, age_days.indices, age_days.indptr), shape=age_days.shape)


def recency_weights(age_days: sp.csr_matrix, decay: float) -> sp.csr_matrix:
    """``decay`` to the power of the place of each entry from the newest of its row, float32."""
    places = places_from_newest(age_days)
    return sp.csr_matrix((np.power(decay, places.data).astype(np.float32), places.indices, places.indptr), shape=places.shape)


def positions(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where each of ``wanted`` stands in ``ids``; -1 where it does not."""
    return pd.Index(ids).get_indexer(pd.Index(wanted))


def followed(pairs: pd.DataFrame, ids: np.ndarray, users: np.ndarray) -> sp.csr_matrix:
    """Shape (ids, users), 1 where one of the first follows one of the second.

    Args:
        pairs: ``user_id``, ``target_user_id``.
        users: ids, whose positions are the columns.
    """
    row = pd.Index(ids).get_indexer(pd.Index(pairs["user_id"].to_numpy(dtype=object)))
    column = positions(users, pairs["target_user_id"].to_numpy(dtype=object))
    kept = (row >= 0) & (column >= 0)
    return binary(sp.csr_matrix((np.ones(kept.sum(), dtype=np.float32), (row[kept], column[kept])), shape=(len(ids), len(users))))


def binary(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The same sparsity with every entry 1."""
    return sp.csr_matrix((np.ones(matrix.nnz, dtype=np.float32), matrix.indices, matrix.indptr), shape=matrix.shape)


def decomposed(matrix: sp.csr_matrix, components: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A truncated singular value decomposition: the rows in its components, shape (rows, components), and the components, shape (components, columns)."""
    from sklearn.decomposition import TruncatedSVD

    found = TruncatedSVD(components, random_state=seed)
    with np.errstate(divide="ignore", invalid="ignore"):  # of what is all alike no share of the variance is explained
        return found.fit_transform(matrix), found.components_


def band_edges(values: np.ndarray) -> np.ndarray:
    """Where the fifths of some numbers end; none of fewer than five. Numbers that are not finite do not count."""
    known = values[np.isfinite(values)]
    return np.unique(np.quantile(known, np.arange(1, BANDS) / BANDS)) if len(known) >= BANDS else np.array([])


def banded(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Numbers as ``band 0`` to ``band 4``: equal ones are in the same band; None where there is no number, or no edge to tell by."""
    bands = np.searchsorted(edges, values, side="right")
    return np.array(
        [f"band {band}" if known and len(edges) else None for band, known in zip(bands, np.isfinite(values), strict=True)], dtype=object
    )


def with_price_bands(items: pd.DataFrame, known: np.ndarray) -> pd.DataFrame:
    """``contracts.ITEMS`` with the price as a band among those of the ``known`` items: what others cost is learned later."""
    if "price" not in items:
        return items
    price = pd.to_numeric(items["price"], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    return items.assign(price=banded(price, band_edges(price[items["item_id"].isin(known).to_numpy()])))


def tokens(frame: pd.DataFrame, key: str, ids: np.ndarray, attributes: Sequence[str]) -> list[list[str]]:
    """The features of each id as ``attribute=value``; an id or value that is unknown has none.

    Columns ``attributes.NAME`` (``recommendations.attributes``) are features beside the named ones.
    """
    found = frame.set_index(key).reindex(ids)
    columns = []
    for attribute in (*attributes, *sorted(name for name in found.columns if name.startswith(PREFIX))):
        if attribute not in found:
            continue
        columns.append([f"{attribute}={value}" if isinstance(value, str) else None for value in found[attribute]])
    rows = [[token for token in row if token] for row in zip(*columns, strict=True)] if columns else [[] for _ in ids]
    if "categories" in found:
        for row, text in zip(rows, found["categories"], strict=True):
            row += [f"category={part}" for part in str(text).split("|") if isinstance(text, str) and f"category={part}" not in row]
    return rows


def features(rows: list[list[str]]) -> Features:
    """A matrix of the tokens of each entity."""
    names = sorted({token for row in rows for token in row})
    place = {name: number for number, name in enumerate(names)}
    counts = [len(row) for row in rows]
    owner = np.repeat(np.arange(len(rows)), counts)
    columns = np.fromiter((place[token] for row in rows for token in row), dtype=np.int64, count=sum(counts))
    return Features(sp.csr_matrix((np.ones(len(columns), dtype=np.float32), (owner, columns)), shape=(len(rows), len(names))), tuple(names))


def numbers(items: pd.DataFrame, ids: np.ndarray) -> Numbers:
    """The price and the columns ``numbers.NAME`` of ``contracts.ITEMS`` (``listed.described``)."""
    names = [name for name in items.columns if name == "price" or name.startswith(NUMBER)]
    found = items.set_index("item_id").reindex(ids)
    columns = [pd.to_numeric(found[name], errors="coerce").to_numpy(dtype=float, na_value=np.nan) for name in names]
    matrix = np.column_stack(columns) if columns else np.empty((len(ids), 0))
    return Numbers(np.where(np.isfinite(matrix), matrix, np.nan), tuple(name.removeprefix(NUMBER) for name in names))


def texts(items: pd.DataFrame, ids: np.ndarray) -> tuple[str, ...]:
    """Title, categories and brand of each item in one text; empty where nothing is known."""
    found = items.set_index("item_id").reindex(ids)
    columns = [found[name] for name in ("title", "category", "categories", "brand") if name in found]
    return tuple(
        " ".join(str(value).replace("|", " ") for value in row if isinstance(value, str)) for row in zip(*columns, strict=True)
    ) or (("",) * len(ids))


def baskets_of(frame: pd.DataFrame, items: np.ndarray) -> sp.csr_matrix:
    """Baskets of shape (baskets, items) from rows of ``basket``, ``item_id``; items that are not known are left out."""
    column = positions(items, frame["item_id"].to_numpy())
    row = pd.factorize(frame["basket"])[0]
    matrix = sp.csr_matrix(
        (np.ones((column >= 0).sum(), dtype=np.float32), (row[column >= 0], column[column >= 0])),
        shape=(row.max() + 1 if len(row) else 0, len(items)),
    )
    return binary(matrix)


def build(
    interactions: pd.DataFrame,
    users: pd.DataFrame,
    items: pd.DataFrame,
    end: pd.Timestamp,
    baskets: pd.DataFrame | None = None,
    segments: Mapping[str, int] | None = None,
    follows: pd.DataFrame | None = None,
) -> Interactions:
    """Matrices from tables.

    Args:
        interactions: ``user_id``, ``item_id``, ``weight`` (0 for what was met and says nothing good), ``last_time`` and, where there are
            ratings, ``rating``, where propensities are logged ``importance``; all before ``end``. Users stand in the matrices in the order
            in which they come here.
        users: ``contracts.USERS``; only attributes that do not come from events should be in it.
        items: ``contracts.ITEMS``; items without interactions are kept, so that a new item can be recommended, but bands of prices are
            those of items with some.
        baskets: ``basket``, ``item_id``; without it, all items of a user are one basket.
        segments: of users, as of ``end``.
        follows: ``user_id``, ``target_user_id``, as of ``end``; pairs whose target has done nothing with any item are left out.
    Raises:
        ValueError: a weight is not a finite number, or below 0.
    """
    weight = interactions["weight"].to_numpy(dtype=np.float64)
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        first = interactions[wrong].iloc[0]
        raise ValueError(
            f"weight of user {first['user_id']!r} for item {first['item_id']!r}: found {first['weight']}; expected a finite number of 0 or more"
        )
    user_ids = np.array(interactions["user_id"].unique(), dtype=object)
    item_ids = np.array(sorted({*interactions["item_id"], *items["item_id"]}), dtype=object)
    row, column = positions(user_ids, interactions["user_id"].to_numpy()), positions(item_ids, interactions["item_id"].to_numpy())
    shape = (len(user_ids), len(item_ids))
    age = np.maximum((end - interactions["last_time"]).dt.total_seconds().to_numpy() / 86_400, 1e-6)
    good = weight > 0
    weights = sp.csr_matrix((weight[good].astype(np.float32), (row[good], column[good])), shape=shape)
    told = interactions["importance"].to_numpy(dtype=float) if "importance" in interactions else np.ones(len(row))
    importance = sp.csr_matrix((told[good], (row[good], column[good])), shape=shape)
    age_days = sp.csr_matrix((age[good], (row[good], column[good])), shape=shape)
    seen = sp.csr_matrix((np.ones(len(row), dtype=np.float32), (row, column)), shape=shape)
    rating = interactions["rating"].to_numpy(dtype=float, na_value=np.nan) if "rating" in interactions else np.full(len(row), np.nan)
    rated = np.isfinite(rating)
    ratings = sp.csr_matrix((rating[rated], (row[rated], column[rated])), shape=shape)
    if baskets is None:
        basket_matrix = binary(weights)
    else:
        basket_matrix = baskets_of(baskets, item_ids)
    of_users = features(tokens(users, "user_id", user_ids, USER_ATTRIBUTES))
    met = interactions["item_id"].unique()
    of_items = features(tokens(with_price_bands(items, met), "item_id", item_ids, ITEM_ATTRIBUTES))
    item_numbers, item_texts = numbers(items, item_ids), texts(items, item_ids)
    segment = np.array([(segments or {}).get(user, UNKNOWN_SEGMENT) for user in user_ids], dtype=np.int64)
    digest = hashlib.sha256()
    for names in (item_ids, of_users.names, of_items.names, item_texts):
        digest.update("\0".join(map(str, names)).encode())
    for matrix in (weights, importance, age_days, seen, ratings, basket_matrix, of_users.matrix, of_items.matrix):
        for array in (matrix.data, matrix.indices, matrix.indptr):
            digest.update(np.ascontiguousarray(array).tobytes())
    digest.update("\0".join(item_numbers.names).encode() + item_numbers.matrix.tobytes() + segment.tobytes())
    if follows is not None:
        follows = follows[positions(user_ids, follows["target_user_id"].to_numpy(dtype=object)) >= 0]
        among = followed(follows, user_ids, user_ids)
        digest.update(among.indptr.tobytes() + among.indices.tobytes())
    return Interactions(
        user_ids,
        item_ids,
        weights,
        importance,
        age_days,
        seen,
        ratings,
        basket_matrix,
        of_users,
        of_items,
        item_numbers,
        item_texts,
        segment,
        digest.hexdigest(),
        follows,
    )
