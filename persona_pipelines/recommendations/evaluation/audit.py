"""The leakage audit: nothing that a model has learned from may come from the time or the pairs it is judged by.

It measures. What could be known is read from the events and lists once more (``known_before_test``), and what the training, the test and
the models really hold is held against it: no check asks how something was made.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.errors import ProjectError
from persona_pipelines.recommendations.data import Features, positions
from persona_pipelines.recommendations.evaluation.comparison import Task
from persona_pipelines.recommendations.models.hybrid import BlendModel
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.recommendations.models.most_popular import PopularityModel
from persona_pipelines.recommendations.models.segment_popular import SegmentPopularityModel

VALIDATION, TEST = "validation", "test"
TOLERANCE = 1e-4
"""Relative difference of weights: they are stored as 32-bit numbers."""


@dataclass(frozen=True)
class Finding:
    """One check on one window (``VALIDATION`` or ``TEST``): what was found and what is expected, in words for people."""

    window: str
    check: str
    passed: bool
    found: str
    expected: str


class LeakageError(ProjectError):
    """Something of the test was known in training; the message says what."""


@dataclass(frozen=True)
class Known:
    """What could be known before a test, read from the events and lists themselves.

    Attributes:
        pairs: ``user_id``, ``item_id``, ``weight``, ``importance``, ``last_time``, without those of the test where a pair is tested once;
            of a person whose last items are the test, as they were when it began.
        end: the moment before which the test ends.
        people: users with an event before the cut; None where the test is not cut by time.
        items, users: names of the features of each that the lists give when all that became known later is struck out first; empty
            where there are no lists.
        item_numbers: prices and other numbers of the items then, by id; a column each.
    """

    pairs: pd.DataFrame
    end: dt.datetime
    people: frozenset[str] | None
    items: Mapping[str, frozenset[str]]
    users: Mapping[str, frozenset[str]]
    item_numbers: pd.DataFrame = field(default_factory=pd.DataFrame)


def audit(
    window: str, task: Task, known: Known, models: Mapping[str, LearnedModel], tuned: Mapping[str, dt.datetime] | None = None
) -> list[Finding]:
    """All checks on a window and the models that were fitted for it.

    Args:
        tuned: the newest event that the parameters of a method were tuned on, by its name.
    """
    found = _Checks(window, task, known)
    found.moments()
    found.pairs()
    found.weights()
    found.segments()
    found.listed("items", task.training.items, task.training.item_features, known.items)
    found.numbers(known.item_numbers)
    found.listed("users", task.training.users, task.training.user_features, known.users)
    for name, model in models.items():
        found.learned(name, model)
        if isinstance(model, (PopularityModel, SegmentPopularityModel)):
            found.popularity(name, model)
        if isinstance(model, BlendModel):
            found.window_of(f"{name} has learned its weights before the test", model.weights_learned_until.to_pydatetime())
    for name, newest in (tuned or {}).items():
        found.window_of(f"{name} was tuned before the test", newest)
    return found.findings


def audit_validation(inner: Task, outer: Task) -> Finding:
    """Of the two windows together: what weights are learned from is no part of what decides."""
    check = "no pair of the test is in the validation"
    if outer.split.repeats:
        last, first = inner.newest, outer.split.test["first_time"].min()
        return Finding(
            TEST, "the validation ends before the test begins", bool(last < first), f"last {last}, first of the test {first}", "before it"
        )
    shared = int(_index(inner.split.test).isin(_index(outer.split.test)).sum())
    return Finding(TEST, check, shared == 0, f"{shared} of {len(inner.split.test):,} pairs", "0")


def require_clean(findings: list[Finding]) -> None:
    """Raise LeakageError that names every check that failed."""
    failed = [finding for finding in findings if not finding.passed]
    if failed:
        raise LeakageError(
            "; ".join(f"{finding.window} window, {finding.check}: found {finding.found}; expected {finding.expected}" for finding in failed)
        )


def table(findings: list[Finding]) -> pd.DataFrame:
    """``window``, ``check``, ``passed``, ``found``, ``expected``."""
    return pd.DataFrame([vars(finding) for finding in findings], columns=["window", "check", "passed", "found", "expected"])


class _Checks:
    """The findings on one window, in the order of the checks."""

    def __init__(self, window: str, task: Task, known: Known) -> None:
        self.window, self.task, self.split, self.training, self.known = window, task, task.split, task.training, known
        self.findings: list[Finding] = []

    def add(self, check: str, passed: bool, found: str, expected: str) -> None:
        self.findings.append(Finding(self.window, check, bool(passed), found, expected))

    def moments(self) -> None:
        """First and last moments, as the tables and the matrices have them."""
        check, test = "training ends before the test begins", self.split.test
        first, last = test["first_time"].min(), test["last_time"].max()
        if self.split.by_time:
            cut = pd.Timestamp(self.split.cut)
            ages = self.training.age_days.data
            newest = max(self.split.pairs["last_time"].max(), cut - pd.Timedelta(days=ages.min()) if len(ages) else pd.Timestamp.min)
            self.add(check, newest < cut <= first, f"last of training {newest}, first of test {first}", f"before and from {cut}")
        elif self.split.name == "last items out":
            trained = self.split.pairs.groupby("user_id")["last_time"].max()
            tested = test.groupby("user_id")["first_time"].min()
            both = pd.concat([trained, tested], axis=1, join="inner")
            late = int((both["last_time"] > both["first_time"]).sum())
            self.add(check, late == 0, f"{late} users with training after their test", "0")
        self.add("the test ends with its window", last < pd.Timestamp(self.known.end), f"last of test {last}", f"before {self.known.end}")

    def pairs(self) -> None:
        """Pairs of the matrices that models are fitted on."""
        trained = self._trained()
        if not self.split.repeats:
            shared = int(_index(self.split.test).isin(trained.index).sum())
            self.add("no pair of the test is in the training", shared == 0, f"{shared} of {len(self.split.test):,} pairs", "0")
        unknown = int((~trained.index.isin(_index(self.known.pairs))).sum())
        self.add(
            "every pair of the training could be known", unknown == 0, f"{unknown} of {len(trained):,} pairs are in no event before", "0"
        )
        history = sp.csr_matrix(self.task.audience.history)
        rows = np.repeat(np.arange(history.shape[0]), np.diff(history.indptr))
        answered = pd.MultiIndex.from_arrays([self.task.audience.ids[rows], self.training.items[history.indices]])
        more = int((~answered.isin(trained.index)).sum())
        self.add("users are answered by what the training has of them", more == 0, f"{more} of {len(answered):,} pairs", "0")

    def weights(self) -> None:
        """A pair that came again after the cut would weigh more."""
        if self.split.name == "random by user":
            return
        trained = self._trained()
        expected = self.known.pairs.set_index(["user_id", "item_id"])["weight"].reindex(trained.index).fillna(0.0).to_numpy(dtype=float)
        differs = int((~np.isclose(trained.to_numpy(), expected, rtol=TOLERANCE, atol=1e-12)).sum())
        self.add("pairs weigh what they did at the cut", differs == 0, f"{differs} of {len(trained):,} pairs weigh something else", "0")

    def segments(self) -> None:
        """Segments are made of features: of events before the cut, of the training's people alone."""
        given = self.split.segments
        known_users, new_users = self.training.segments, self.task.audience.segments[~self.task.audience.known()]
        if given is None:
            held = int((known_users > 0).sum() + (new_users > 0).sum())
            self.add("segments are as of the cut", held == 0, f"{held} users with a segment, and no moment that they are of", "0")
            return
        self.add(
            "features are as of the cut",
            given.newest < self.split.cut,
            f"newest event behind them {given.newest}",
            f"before {self.split.cut}",
        )
        ids = [*self.training.users, *self.task.audience.ids[~self.task.audience.known()]]
        expected = np.array([given.of.get(user, 0) for user in ids])
        other = int((np.concatenate([known_users, new_users]) != expected).sum())
        early = 0 if self.known.people is None else len(given.of.keys() - self.known.people)
        self.add(
            "segments are as of the cut",
            not other and not early,
            f"{other} users in another segment than then, {early} in one who had done nothing yet",
            "0 and 0",
        )

    def listed(self, kind: str, ids: np.ndarray, features: Features, known: Mapping[str, frozenset[str]]) -> None:
        """Features from lists, of all of whom something could be known."""
        if not known:
            return
        place = positions(ids, np.array(list(known), dtype=object))
        matrix, names = features.matrix, np.array(features.names, dtype=object)
        other = 0
        for number, expected in zip(place, known.values(), strict=True):
            if number >= 0:
                other += frozenset(names[matrix.indices[matrix.indptr[number] : matrix.indptr[number + 1]]]) != expected
        held = int((place >= 0).sum())
        self.add(f"features of {kind} say what their list said then", other == 0, f"{other} of {held:,} say something else", "0")

    def numbers(self, known: pd.DataFrame) -> None:
        """Prices and other numbers of items, each as it was known."""
        held = self.training.item_numbers
        place = positions(self.training.items, known.index.to_numpy(dtype=object))
        if not len(held.names) or not (place >= 0).any():
            return
        expected = known.reindex(columns=list(held.names)).to_numpy(dtype=float)[place >= 0]
        other = ~np.isclose(held.matrix[place[place >= 0]], expected, equal_nan=True).all(axis=1)
        check = "numbers of items are those of their list then"
        self.add(check, not other.any(), f"{int(other.sum())} of {len(other):,} items have another", "0")

    def learned(self, name: str, model: LearnedModel) -> None:
        digests = {model.digest, *(member.digest for member in model.members().values())}
        self.add(
            f"{name} has learned from the training alone",
            digests == {self.training.digest},
            "interactions " + ", ".join(sorted(digest[:12] for digest in digests)),
            f"interactions {self.training.digest[:12]}",
        )

    def popularity(self, name: str, model: LearnedModel) -> None:
        """The counts themselves, against what the events allow."""
        pairs = self.known.pairs[self.known.pairs["weight"] > 0]
        place = positions(model.items, pairs["item_id"].to_numpy(dtype=object))
        importance = pairs["importance"].to_numpy(dtype=float) if "importance" in pairs else np.ones(len(pairs))
        most = np.bincount(place[place >= 0], weights=importance[place >= 0], minlength=len(model.items))
        counts = np.asarray(model.state["popularity"] if isinstance(model, PopularityModel) else model.state["overall"] * len(model.users))
        more = int((counts > most * (1 + TOLERANCE) + 1e-9).sum())
        self.add(f"{name} counts users of the training alone", more == 0, f"{more} items with more users than could be known", "0")

    def window_of(self, check: str, newest: dt.datetime) -> None:
        """What was learned on a validation window; where time does not part the two, ``audit_validation`` holds the pairs apart."""
        if self.split.by_time:
            first = self.split.test["first_time"].min()
            self.add(check, pd.Timestamp(newest) < first, f"from events until {newest}", f"before {first}")

    def _trained(self) -> pd.Series:
        """The weight of every pair that the matrices have, good or bad."""
        seen = self.training.seen.tocoo()
        index = pd.MultiIndex.from_arrays([self.training.users[seen.row], self.training.items[seen.col]], names=["user_id", "item_id"])
        return pd.Series(np.asarray(self.training.weights[seen.row, seen.col], dtype=float).ravel(), index=index)


def _index(frame: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(frame[["user_id", "item_id"]])
