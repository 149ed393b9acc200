"""A window replayed click by click: what each share of the last items would have been worth."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.intervals import Interval, ahead_of_the_first, interval
from persona_pipelines.recommendations.data import Interactions, places_from_newest, positions, recency_weights
from persona_pipelines.recommendations.evaluation.comparison import Task
from persona_pipelines.recommendations.last_click import BOTH_ALIKE, LISTED, RECENT, SHARES, LastClick, beside, unmeasured
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.recommendations.models.live_blend import LiveBlend
from persona_pipelines.settings.recommendations import LiveBlendSettings, MethodSettings

LIST_ALONE, LAST_ITEMS_ALONE = "the list alone", "the last items alone"
FIRST_EVENTS = 10
"""Of each person in the window."""
MOST_PEOPLE = 2_000
LISTS_AT_ONCE = 1024


@dataclass(frozen=True)
class LastItems:
    """What a live list makes of a person's last items: weights between items, shape (items, items), and how fast a click is forgotten."""

    weights: sp.csr_matrix
    decay: float

    @classmethod
    def of(cls, training: Interactions, methods: Sequence[MethodSettings], fitted: Mapping[str, LearnedModel], seed: int) -> LastItems:
        """What the live service learns from a training; a method that is the same and has been fitted on it is taken as it is.

        Raises:
            ModelError: nobody turned to two items.
        """
        settings = LiveBlendSettings()
        if settings in methods and settings.name in fitted:
            state = fitted[settings.name].state
            return cls(sp.csr_matrix(state["weights"]), float(state["decay"]))
        weights, found = LiveBlend(settings, seed).weights(training.age_days)
        return cls(sp.csr_matrix(weights), found.decay)


@dataclass(frozen=True)
class Replayed:
    """What lists were worth whose person had done something since the model's list was made.

    Attributes:
        ndcg: shape (people, ``SHARES``), the mean over the lists of each person; the next item is the only one that is right.
        lists: how many there were.
    """

    ndcg: np.ndarray
    lists: int

    def advantage(self, number: int, against: int, seed: int) -> Interval:
        """How far one share of ``SHARES`` is ahead of another, by their places, paired over people."""
        return interval(self.ndcg[:, number] - self.ndcg[:, against], seed)


@dataclass(frozen=True)
class Measured:
    """What the last items are worth beside a model's list: the share that was chosen on the validation window, and what was found there and on the test."""

    choice: LastClick
    windows: Mapping[str, Replayed]


def replayed(model: LearnedModel, last: LastItems, window: Task, k: int, seed: int) -> Replayed:
    """Lists before each of the first events of known people in a window, looked up for the item that came next.

    A person's first moment in the window is left out: until then the model's list stands as it is, whatever the share. Events of one moment know
    nothing of each other. Items come once, when they are met first.

    Args:
        model, last: learned from ``window.training``.
        window: one whose split is ``in_order``.
        k: length of the lists.
    """
    events = _events(window, seed)
    people = events["person"].unique()
    if not len(people):
        return Replayed(np.empty((0, len(SHARES))), 0)
    audience = window.audience.part(people)
    seen = None if window.exclude is None else window.exclude[people]
    listed, merit = model.top(audience, LISTED, seen)
    rows, wanted, histories, done = _before_each(events, audience.age_days, window.split.cut)
    quality = np.empty((len(rows), len(SHARES)))
    for start in range(0, len(rows), LISTS_AT_ONCE):
        part = slice(start, start + LISTS_AT_ONCE)
        led = sp.csr_matrix(_recent(histories[part], len(model.items), last.decay) @ last.weights)
        for number, row in enumerate(rows[part], start):
            begin, end = led.indptr[number - start], led.indptr[number - start + 1]
            items, scores = led.indices[begin:end], led.data[begin:end].astype(float)
            left_out = np.array([], dtype=np.int64)
            if seen is not None:
                left_out = np.union1d(seen.indices[seen.indptr[row] : seen.indptr[row + 1]], done[number])
            good = (scores > 0) & ~np.isin(items, left_out)
            kept = (listed[row] >= 0) & ~np.isin(listed[row], done[number] if seen is not None else left_out)
            quality[number] = _found(wanted[number], listed[row][kept], merit[row][kept].astype(float), items[good], scores[good], k)
    owner = np.array(rows)
    sums = np.zeros((len(people), len(SHARES)))
    np.add.at(sums, owner, quality)
    counts = np.bincount(owner, minlength=len(people))
    return Replayed(sums[counts > 0] / counts[counts > 0, None], len(rows))


def chosen_share(found: Replayed, k: int, minimum: int, seed: int) -> LastClick:
    """The share for live lists.

    Both count alike, unless another share is ahead of that beyond doubt, each person judged by the share that is best for the other half of them, as
    on the very people that it was chosen by it would look better than it is. Of equal ones the smaller is the best.

    Args:
        minimum: people to measure on; with fewer nothing is.
    """
    people = len(found.ndcg)
    if people < max(minimum, 2):
        return unmeasured(
            f"{people} people did something twice in the validation window, {max(minimum, 2)} are needed", people, found.lists, k
        )
    order = [SHARES.index(BOTH_ALIKE), *(place for place, share in enumerate(SHARES) if share != BOTH_ALIKE)]
    best, gain = ahead_of_the_first(found.ndcg[:, order], seed)
    share = SHARES[order[best]] if gain.low > 0 else BOTH_ALIKE
    figures = f"{gain.mean:+.4f} nDCG@{k} ({gain.low:+.4f} to {gain.high:+.4f}) over {people:,} people of the validation window"
    why = "ahead of both alike" if gain.low > 0 else "both alike: no other share is ahead of that beyond doubt"
    return LastClick(share, gain, people, found.lists, k, f"{why}: {figures}")


def table(measured: Mapping[str, Measured], seed: int) -> pd.DataFrame:
    """Rows of ``contracts.LAST_CLICK``, of some models by name."""
    rows = [
        {
            "model": model,
            "window": window,
            "share": share,
            "against": against,
            "chosen": share == entry.choice.share,
            "lists": found.lists,
            "ndcg_at_k": float(found.ndcg[:, number].mean()),
            "users": len(found.ndcg),
            "advantage": ahead.mean,
            "low": ahead.low,
            "high": ahead.high,
        }
        for model, entry in measured.items()
        for window, found in entry.windows.items()
        if len(found.ndcg)
        for number, share in enumerate(SHARES)
        for against, other in ((LIST_ALONE, 0), (LAST_ITEMS_ALONE, len(SHARES) - 1))
        if (ahead := found.advantage(number, other, seed))
    ]
    columns = ["model", "window", "share", "against", "chosen", "lists", "ndcg_at_k", "users", "advantage", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _events(window: Task, seed: int) -> pd.DataFrame:
    """``person`` (its place in the audience), ``item`` (its position, -1 where nobody could know of it) and ``moment`` of the first events of
    known people who did something at two moments."""
    test = window.split.test
    found = pd.DataFrame(
        {
            "person": positions(window.audience.ids, test["user_id"].to_numpy(dtype=object)),
            "item": positions(window.training.items, test["item_id"].to_numpy(dtype=object)),
            "moment": pd.to_datetime(test["first_time"]).to_numpy(),
            "item_id": test["item_id"].to_numpy(dtype=object),
        }
    )
    found = found[window.audience.known()[found["person"]]].sort_values(["person", "moment", "item_id"], ignore_index=True)
    found = found[found.groupby("person").cumcount() < FIRST_EVENTS]
    found = found[found.groupby("person")["moment"].transform("nunique") > 1]
    people = found["person"].unique()
    if len(people) > MOST_PEOPLE:
        found = found[found["person"].isin(np.random.default_rng(seed).choice(people, MOST_PEOPLE, replace=False))]
    return found.reset_index(drop=True)


def _before_each(
    events: pd.DataFrame, age_days: sp.csr_matrix | None, cut: dt.datetime
) -> tuple[list[int], list[int], list[tuple[np.ndarray, np.ndarray]], list[np.ndarray]]:
    """What is known before each list: the row of its person, the item that came next, the history (items and their ages in days), and what was done in the window.

    Ages are counted back from ``cut``, those of the window are below 0.
    """
    rows: list[int] = []
    wanted: list[int] = []
    histories: list[tuple[np.ndarray, np.ndarray]] = []
    done: list[np.ndarray] = []
    age = ((pd.Timestamp(cut) - events["moment"]).dt.total_seconds() / 86_400).to_numpy()
    item = events["item"].to_numpy()
    begins = np.flatnonzero(np.diff(events["person"].to_numpy(), prepend=-1))
    for row, (begin, end) in enumerate(zip(begins, [*begins[1:], len(events)], strict=True)):
        before, ages = _history(age_days, row)
        for place in range(begin, end):
            earlier = np.arange(begin, place)[age[begin:place] > age[place]]
            if not len(earlier):
                continue
            now, now_age = item[earlier], age[earlier]
            now, now_age = now[now >= 0], now_age[now >= 0]
            again = np.isin(before, now)
            rows.append(row)
            wanted.append(int(item[place]))
            histories.append((np.concatenate([before[~again], now]), np.concatenate([ages[~again], now_age])))
            done.append(now)
    return rows, wanted, histories, done


def _history(age_days: sp.csr_matrix | None, row: int) -> tuple[np.ndarray, np.ndarray]:
    if age_days is None:
        return np.array([], dtype=np.int64), np.array([])
    part = slice(age_days.indptr[row], age_days.indptr[row + 1])
    return age_days.indices[part].astype(np.int64), age_days.data[part]


def _recent(histories: list[tuple[np.ndarray, np.ndarray]], width: int, decay: float) -> sp.csr_matrix:
    """Histories as a matrix of shape (lists, items), each item counting ``decay`` to the power of its place from the newest."""
    lengths = [len(items) for items, _ in histories]
    starts = np.concatenate([[0], np.cumsum(lengths)])
    items, ages = (np.concatenate([entry[part] for entry in histories]) for part in (0, 1))
    matrix = sp.csr_matrix((ages, items, starts), shape=(len(histories), width))
    weighed, place = recency_weights(matrix, decay), places_from_newest(matrix).data
    weighed.data[place >= RECENT] = 0
    return weighed


def _found(wanted: int, listed: np.ndarray, merit: np.ndarray, items: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """nDCG at ``k`` of the list with each share, one item being right, shape (``SHARES``,). Of equal scores the first item comes first."""
    both, first, second = beside(listed, merit, items, scores)
    place = int(both.searchsorted(wanted))
    if place == len(both) or both[place] != wanted:
        return np.zeros(len(SHARES))
    share = np.array(SHARES)[:, None]
    if not len(items):
        share = np.zeros_like(share)
    elif not len(listed):
        share = np.ones_like(share)
    total = (1 - share) * first + share * second
    own = total[:, place : place + 1]
    rank = ((total > own) | ((total == own) & (np.arange(len(both)) < place))).sum(axis=1)
    return np.where(rank < k, 1 / np.log2(rank + 2), 0.0)
