"""The people for whom lists may be made, as arrays: anybody of them is looked up, and nobody else is known."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Audience, features
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.recommendations.tables import Tables, audience_of, liked_items

NOBODY = ""
"""Stands for everybody of whom nothing may be known: no id is empty."""


@dataclass(frozen=True)
class People:
    """Those who have consented, at a moment; of others nothing is kept.

    ``ids`` has shape (n,): pseudonyms as bytes, rising. All else has one row more, the last of which is of somebody of whom nothing is known.

    Attributes:
        positions, history, seen, segments, follows, age_days: as in ``Audience``.
        liked: shape (n + 1, items), an entry for what each has turned to and not rated below the own middle.
        acted: shape (n + 1,), whether each has had to do with any item.
        attributes: shape (n + 1, names), an entry for each attribute that a person has.
        attribute_names: as ``attribute=value``.
    """

    ids: np.ndarray
    positions: np.ndarray
    history: sp.csr_matrix
    seen: sp.csr_matrix
    segments: np.ndarray
    follows: sp.csr_matrix
    age_days: sp.csr_matrix
    liked: sp.csr_matrix
    acted: np.ndarray
    attributes: sp.csr_matrix
    attribute_names: np.ndarray

    def places(self, users: np.ndarray) -> np.ndarray:
        """The row of each user, shape of ``users``; -1, which is the last row, of those who are not here."""
        if not len(self.ids):
            return np.full(len(users), -1)
        wanted = np.char.encode(users.astype(str), "utf-8")
        found = np.minimum(self.ids.searchsorted(wanted), len(self.ids) - 1)
        return np.where(self.ids[found] == wanted, found, -1)

    def audience(self, users: np.ndarray, places: np.ndarray) -> Audience:
        """The users of some rows as a model sees them."""
        owned = self.attributes[places]
        parts = np.split(self.attribute_names[owned.indices], owned.indptr[1:-1])
        return Audience(
            users,
            self.positions[places],
            self.history[places],
            self.seen[places],
            [part.tolist() for part in parts],
            self.segments[places],
            self.follows[places],
            self.age_days[places],
        )


def people_of(model: LearnedModel, tables: Tables) -> People:
    """The users of the tables, all of whom have consented, as the model sees them."""
    ids = np.char.encode(tables.users["user_id"].to_numpy(dtype=object).astype(str), "utf-8")
    order = np.argsort(ids)
    users = pd.concat([tables.users.iloc[order], pd.DataFrame({"user_id": [NOBODY]})], ignore_index=True)
    tables = replace(tables, users=users)
    audience = audience_of(model, tables)
    found = features(audience.tokens)
    return People(
        ids[order],
        audience.positions,
        audience.history,
        audience.seen,
        audience.segments,
        sp.csr_matrix(audience.follows),
        sp.csr_matrix(audience.age_days),
        liked_items(model, tables),
        users["user_id"].isin(tables.interactions["user_id"]).to_numpy(dtype=bool),
        found.matrix,
        np.array(found.names, dtype=str),
    )
