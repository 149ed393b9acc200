"""Aggregates that a page may be filtered by: no cell, and nothing that follows from cells, is about fewer people than may be shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

DIMENSIONS = ("segment", "stage", "country", "bought", "reachable")
MOST_VALUES = 12
"""Values of a dimension that are told apart; rarer ones are others."""
MOST_LEFT_OUT = 0.25
"""Share of the people in combinations too rare to be shown from which on a dimension is given up."""
OTHERS = "(others)"
SUMS = ("users", "spent", "likely", "leaving")


@dataclass(frozen=True)
class Cube:
    """Attributes:
    dimensions: those that tell people apart.
    cells: a row a combination of values, with the number of people and the sums of what they spent and of their chances.
    left_out: people in combinations too rare to be shown; None where there are none, and never fewer than may be shown.
    """

    dimensions: tuple[str, ...]
    cells: pd.DataFrame
    left_out: int | None


def cube(users: pd.DataFrame, names: dict[int, str], minimum: int) -> Cube:
    """The cube of some users.

    Combinations of ``too_few`` people are left out; where these are many, there are fewer dimensions.

    Args:
        users: ``contracts.USER_PROFILES``.
        names: of the segments by their ids.
    """
    told = pd.DataFrame(
        {
            "segment": users["segment_id"].map(names).fillna(OTHERS),
            "stage": users["lifecycle_stage"].fillna(""),
            "country": _frequent(users["country"].fillna("")),
            "bought": (users["purchases"].fillna(0) > 0).map({True: "yes", False: "no"}) if users["purchases"].notna().any() else "",
            "reachable": users["consent_marketing"].astype(bool).map({True: "yes", False: "no"}),
            "users": 1,
            "spent": users["monetary_value"].astype(float),
            "likely": users["purchase_probability"].astype(float),
            "leaving": users["churn_probability"].astype(float),
        }
    )
    dimensions = tuple(name for name in DIMENSIONS if told[name].nunique() > 1)
    found = _cells(told, dimensions, minimum)
    while dimensions and (found.left_out or 0) > MOST_LEFT_OUT * len(users):
        # Of few people so many combinations are rare that little would be left: what tells them apart least is no choice then.
        fewer = [_cells(told, tuple(other for other in dimensions if other != name), minimum) for name in reversed(dimensions)]
        found = min(fewer, key=lambda one: one.left_out or 0)
        dimensions = found.dimensions
    return found


def _cells(told: pd.DataFrame, dimensions: tuple[str, ...], minimum: int) -> Cube:
    if not dimensions:
        cells = told[list(SUMS)].sum(min_count=1).to_frame().T
    else:
        cells = told.groupby(list(dimensions), as_index=False)[list(SUMS)].sum(min_count=1)
    cells = cells.sort_values(["users", *dimensions], ascending=[False, *(True for _ in dimensions)], ignore_index=True)
    cells = cells[cells["users"] > 0]  # the sum over nobody is a cell where nothing tells people apart
    left_out = too_few(cells["users"].to_numpy(), minimum)
    return Cube(dimensions, cells[~left_out].reset_index(drop=True), int(cells["users"][left_out].sum()) or None)


def too_few(counts: np.ndarray, minimum: int) -> np.ndarray:
    """Which counts of people are not to be told, of parts that add up to something that is; both of shape (parts,).

    Those of fewer than ``minimum`` people, and where these are together fewer than that the next smallest with them, so that no difference
    tells of fewer either (complementary suppression: Cox 1980). That there is nobody is told.
    """
    hidden = (counts > 0) & (counts < minimum)
    for place in np.argsort(counts, kind="stable"):
        if not 0 < counts[hidden].sum() < minimum:
            break
        hidden[place] |= counts[place] > 0
    return hidden


def _frequent(values: pd.Series) -> pd.Series:
    counts = values.value_counts()
    frequent = sorted(counts.index, key=lambda value: (-counts[value], value))[:MOST_VALUES]
    return values.where(values.isin(frequent), OTHERS)
