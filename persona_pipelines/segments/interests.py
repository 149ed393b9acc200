"""What the people of a segment turn to, by categories of items, against all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.segments.differences import ENOUGH, SURE
from persona_pipelines.warehouse.described import CHINESE, ENGLISH, INTEREST_VERBS, Log, Words

MOST = 0.5
"""What categories have together before "most" is said of them."""
AT_MOST = 3
"""Categories that are named."""
MORE = 0.05
"""Share by which a category has to be ahead of the others' before "more than others" is said of it."""


def segment_interests(segment_of: pd.DataFrame, category_shares: pd.DataFrame) -> pd.DataFrame:
    """Rows of ``contracts.SEGMENT_INTERESTS`` but the version: mean shares over the people who have shown an interest in anything.

    Args:
        segment_of: ``user_id``, ``segment_id``.
        category_shares: ``user_id``, ``category``, ``interest_share``.
    """
    merged = category_shares.merge(segment_of[["user_id", "segment_id"]], on="user_id")
    columns = ["segment_id", "category", "users", "share", "share_of_others", "low", "high", "clear"]
    if merged.empty:
        return pd.DataFrame(columns=columns)
    merged = merged.assign(square=merged["interest_share"] ** 2)
    people = merged.groupby("segment_id")["user_id"].nunique()
    sums = merged.groupby(["segment_id", "category"])[["interest_share", "square"]].sum()
    sums = sums.reindex(
        pd.MultiIndex.from_product([people.index, sorted(merged["category"].unique())], names=sums.index.names), fill_value=0.0
    )
    totals = sums.groupby("category").sum().reindex(sums.index.get_level_values("category")).to_numpy()
    mine = people.reindex(sums.index.get_level_values("segment_id")).to_numpy(dtype=float)
    others = people.sum() - mine
    own, own_error = _mean(sums.to_numpy(), mine)
    theirs, their_error = _mean(totals - sums.to_numpy(), others)
    difference, error = own - theirs, SURE * np.sqrt(own_error + their_error)
    found = sums.index.to_frame(index=False).assign(
        users=mine.astype(int),
        share=np.clip(own, 0, 1),
        share_of_others=np.where(others > 0, np.clip(theirs, 0, 1), np.nan),
        low=difference - error,
        high=difference + error,
        clear=(mine >= ENOUGH) & (others >= ENOUGH) & (difference >= MORE) & (difference - error > 0),
    )
    return found[found["share"] > 0].sort_values(["segment_id", "share", "category"], ascending=[True, False, True], ignore_index=True)[
        columns
    ]


def _mean(sums: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means, and their variances, of sums and sums of squares of shape (rows, 2) over numbers of people."""
    mean = sums[:, 0] / np.maximum(people, 1)
    variance = np.maximum(sums[:, 1] - people * mean**2, 0.0) / np.maximum(people - 1, 1)
    return mean, variance / np.maximum(people, 1)


def leading(interests: pd.DataFrame) -> list[tuple[str, float]]:
    """The fewest categories, at most ``AT_MOST``, that have ``MOST`` of it together; none where so few have not.

    Args:
        interests: rows of one segment, largest share first.
    """
    shares = interests["share"].to_numpy()[:AT_MOST].cumsum()
    enough = np.flatnonzero(shares >= MOST)
    if not len(enough) or interests["users"].iloc[0] < ENOUGH:
        return []
    return _named(interests.head(int(enough[0]) + 1))


def ahead(interests: pd.DataFrame) -> list[tuple[str, float]]:
    """The categories of one segment that are clearly ahead of the others' share, furthest first."""
    clear = interests[interests["clear"].astype(bool)]
    order = (clear["share_of_others"] - clear["share"]).to_numpy().argsort(kind="stable")
    return _named(clear.iloc[order].head(AT_MOST))


def _named(rows: pd.DataFrame) -> list[tuple[str, float]]:
    return list(zip(rows["category"].astype(str), rows["share"].astype(float), strict=True))


INTEREST = "interest."
"""Before a category, where it stands among features."""


@dataclass(frozen=True)
class Leaning:
    """A category whose share is larger in one segment than in another: by how much, with its interval, and whether that may be said."""

    category: str
    deviation: float
    low: float
    high: float
    clear: bool

    @property
    def feature(self) -> str:
        return INTEREST + self.category

    def words(self, log: Log, language: str = ENGLISH) -> Words:
        """What it may be called; empty where it is not clear. What shares are made of in the log (``log.interest``) makes no other words."""
        if not self.clear:
            return Words()
        return Words(phrase=f"更偏向{self.category}" if language == CHINESE else f"lean more to {self.category}")


def leanings(segment_of: pd.DataFrame, category_shares: pd.DataFrame, segment: int) -> list[Leaning]:
    """The categories whose share is larger in the segment than in the others that there are, as ``segment_interests`` measures them."""
    found = segment_interests(segment_of, category_shares)
    own = found[(found["segment_id"] == segment) & (found["share"] > found["share_of_others"])]
    return [
        Leaning(str(row.category), float(row.share - row.share_of_others), float(row.low), float(row.high), bool(row.clear))
        for row in own.itertuples()
    ]


NOTHING, LEADING, MORE_THAN_OTHERS, SPREAD = "nothing", "leading", "ahead", "spread"


@dataclass(frozen=True)
class Statement:
    """What is true of the interests of a segment, by its kind; categories with their shares, and with those of the others where these are compared."""

    kind: str
    categories: tuple[tuple[str, float, float], ...] = ()


def statement(interests: pd.DataFrame) -> Statement:
    """What may be said of the interests of a segment.

    Args:
        interests: rows of one segment, largest share first.
    """
    if interests.empty or interests["users"].iloc[0] < ENOUGH:
        return Statement(NOTHING)
    others = dict(zip(interests["category"].astype(str), interests["share_of_others"].astype(float), strict=True))
    top = interests.iloc[0]
    for kind, found in (
        (LEADING, leading(interests)),
        (MORE_THAN_OTHERS, ahead(interests)),
        (SPREAD, [(str(top["category"]), float(top["share"]))]),
    ):
        if found:
            return Statement(kind, tuple((name, share, others[name]) for name, share in found))
    raise AssertionError("a segment with interests has a largest one")


def sentence(said: Statement, log: Log) -> str:
    """The statement in English; empty where nothing is known."""
    verb = INTEREST_VERBS[log.interest].of_people()
    if said.kind == LEADING:
        return f"Most of what they {verb} is {listed([f'{name} ({share:.0%})' for name, share, _ in said.categories])}."
    if said.kind == MORE_THAN_OTHERS:
        told = [f"{name} ({share:.0%} against {others:.0%})" for name, share, others in said.categories]
        return f"More than others they {verb} {listed(told)}."
    if said.kind == SPREAD:
        return f"What they {verb} is spread: no category has more than {said.categories[0][1]:.0%}."
    return ""


def listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
