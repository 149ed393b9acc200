"""What people turn to who came the same way: by campaign, country or referring site, where that is better for new people than what is popular with all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.features.interactions import InteractionRules, positive_events
from persona_pipelines.intervals import Interval, ahead_of_the_first
from persona_pipelines.recommendations.evaluation.metrics import ndcg
from persona_pipelines.serving.arriving import FACTS, group_of
from persona_pipelines.serving.state import HALF_LIFE_DAYS
from persona_pipelines.warehouse.connection import Warehouse

STRENGTHS = (10.0, 30.0, 100.0, 300.0, 1000.0)
"""Of the prior: what is popular with all counts like so much of the group's own."""
LISTED = 100
"""Items that are kept of each group."""


@dataclass(frozen=True)
class Came:
    """How people came, and what they turned to; a visitor is a user, or a device that nobody has logged in on.

    Attributes:
        facts: ``visitor``, ``group`` (as ``country=NL``), ``since``: the first moment at which an event said so.
        pairs: ``visitor``, ``item`` (position), ``first``, ``last``: of good events alone; ``user``: whether the visitor is a user.
        begins: when each visitor was first met, by visitor.
        items: how many there are.
    """

    facts: pd.DataFrame
    pairs: pd.DataFrame
    begins: pd.Series
    items: int

    @classmethod
    def of(cls, warehouse: Warehouse, events: ir.Table, rules: InteractionRules, items: np.ndarray) -> Came:
        """What cleaned events say of it.

        Args:
            items: ids, sorted.
        """
        named_events = events.mutate(visitor=ibis.coalesce(events.user_id, events.anonymous_id), user=events.user_id.notnull())
        visits = named_events.filter(named_events.visitor.notnull())
        frames = []
        for fact in FACTS:
            told = visits.filter(visits[fact].notnull()).group_by("visitor", value=visits[fact]).aggregate(since=visits.timestamp.min())
            frame = warehouse.frame(told.order_by("visitor", "value"))
            frames.append(frame.assign(group=[group_of(fact, value) for value in frame["value"]])[["visitor", "group", "since"]])
        facts = pd.concat(frames, ignore_index=True).dropna(subset=["group"])
        facts = facts.groupby(["visitor", "group"], as_index=False)["since"].min()
        good = positive_events(visits.mutate(user_id=visits.visitor), rules)
        pairs = warehouse.frame(
            good.group_by("visitor", "item_id")
            .aggregate(first=good.timestamp.min(), last=good.timestamp.max(), user=good.user.any())
            .order_by("visitor", "item_id")
        )
        pairs = pairs.assign(item=pd.Index(items).get_indexer(pd.Index(pairs["item_id"]))).drop(columns="item_id")
        begins = warehouse.frame(visits.group_by("visitor").aggregate(begin=visits.timestamp.min()).order_by("visitor"))
        return cls(facts, pairs[pairs["item"] >= 0].reset_index(drop=True), begins.set_index("visitor")["begin"], len(items))

    def before(self, moment: dt.datetime) -> Came:
        """What was known at a moment; of what is done again since, the first time counts."""
        pairs = self.pairs[self.pairs["first"] < moment]
        return Came(
            self.facts[self.facts["since"] < moment],
            pairs.assign(last=pairs["last"].where(pairs["last"] < moment, pairs["first"])),
            self.begins[self.begins < moment],
            self.items,
        )


@dataclass(frozen=True)
class Chosen:
    """Of one fact: the strength of the prior that was best on the validation window, and how far it was ahead there of what is popular.

    Attributes:
        strength: 0 where it was not ahead beyond doubt, or too few people were there: the fact is not used.
        people: new in the window, of whom the fact was known when they turned to their first item.
    """

    fact: str
    strength: float
    gain: Interval
    people: int


@dataclass(frozen=True)
class Arrivals:
    """Groups of people who came the same way, the best fact first.

    Attributes:
        names: of the groups, as ``country=NL``.
        items: shape (groups, at most ``LISTED``): positions of what they turn to, the best first; -1 where a row ends.
    """

    names: list[str]
    items: np.ndarray


def chosen(came: Came, cut: dt.datetime, end: dt.datetime, k: int, fewest: int, minimum: int, seed: int) -> list[Chosen]:
    """Of each fact whether it is used, judged by the people who are new from ``cut`` to ``end``.

    Their first list is made of what others had turned to before ``cut``, and what they turn to in the window is looked up in it.

    Args:
        k: length of the lists.
        fewest: people of a group that may have a list.
        minimum: people to judge by.
    """
    found = []
    for fact in FACTS:
        quality = first_lists(came, fact, STRENGTHS, cut, end, k, fewest)
        best, gain = ahead_of_the_first(quality, seed)
        used = len(quality) >= minimum and gain.low > 0 and best > 0
        found.append(Chosen(fact, STRENGTHS[best - 1] if used else 0.0, gain, len(quality)))
    return found


def first_lists(came: Came, fact: str, strengths: Sequence[float], cut: dt.datetime, end: dt.datetime, k: int, fewest: int) -> np.ndarray:
    """nDCG at ``k`` of the first list of people who are new from ``cut`` to ``end`` and of whose group there is a list, shape (people, 1 + strengths).

    The first column is that of what is popular with all.
    """
    before, now = came.before(cut), came.before(end)
    new = now.begins.index[now.begins >= cut]
    turned = now.pairs[now.pairs["visitor"].isin(new)]
    if turned.empty:  # nobody is new
        return np.empty((0, 1 + len(strengths)))
    first = turned.groupby("visitor")["first"].min()
    told = _of_fact(now, fact)
    told = told[told["since"] <= told["visitor"].map(first)]
    # Of several values the first that was told.
    told = told.sort_values(["visitor", "since", "group"]).drop_duplicates("visitor")
    popular = np.argsort(-_popularity(before, cut), kind="stable")[:k]
    lists = [_groups(before, fact, strength, cut, fewest) for strength in strengths]
    rows = []
    for visitor, group in zip(told["visitor"], told["group"], strict=True):
        if not lists or group not in lists[0]:
            continue
        items = turned.loc[turned["visitor"] == visitor, "item"].to_numpy()
        shown = np.stack([popular, *(found[group][:k] for found in lists)])
        rows.append(ndcg(np.isin(shown, items), np.full(len(shown), len(items)), k))
    return np.array(rows) if rows else np.empty((0, 1 + len(strengths)))


def arrivals(came: Came, used: Sequence[Chosen], end: dt.datetime, fewest: int) -> Arrivals:
    """The groups of the facts that are used, as of ``end``, those of the fact that helps most first.

    Args:
        fewest: people of a group that may have a list.
    """
    before = came.before(end)
    names: list[str] = []
    rows: list[np.ndarray] = []
    for entry in sorted(used, key=lambda entry: -entry.gain.mean):
        if entry.strength:
            for name, items in _groups(before, entry.fact, entry.strength, end, fewest).items():
                names.append(name)
                rows.append(items[:LISTED])
    return Arrivals(names, np.array(rows, dtype=np.int32).reshape(len(rows), len(rows[0]) if rows else 0))


def _of_fact(came: Came, fact: str) -> pd.DataFrame:
    """What is known of one fact; a log need not say how anybody came."""
    return came.facts[came.facts["group"].astype(str).str.startswith(f"{fact}=")]


def _popularity(came: Came, end: dt.datetime) -> np.ndarray:
    """Users who cared for each item lately, as ``Snapshot.popularity``."""
    users = came.pairs[came.pairs["user"]]
    return np.bincount(users["item"], weights=_lately(users, end), minlength=came.items)


def _lately(pairs: pd.DataFrame, end: dt.datetime) -> np.ndarray:
    age = (pd.Timestamp(end) - pairs["last"]).dt.total_seconds().to_numpy() / 86_400
    return 0.5 ** (age / HALF_LIFE_DAYS)


def _groups(came: Came, fact: str, strength: float, end: dt.datetime, fewest: int) -> dict[str, np.ndarray]:
    """All items of each group by how popular they are there, the best first; the largest group first.

    Shares of the group are shrunk to those of all by a Dirichlet prior of some ``strength`` (empirical Bayes; Zhai, Lafferty, A Study of Smoothing Methods
    for Language Models, ACM TOIS 2004, section 3.2).
    """
    overall = _popularity(came, end)
    overall = overall / max(overall.sum(), 1e-12)
    told = _of_fact(came, fact)
    pairs = came.pairs.assign(lately=_lately(came.pairs, end)).merge(told[["visitor", "group"]], on="visitor")
    people = pairs.groupby("group")["visitor"].nunique()
    found = {}
    for name in sorted(people.index[people >= fewest], key=lambda name: (-people[name], name)):
        own = pairs[pairs["group"] == name]
        counts = np.bincount(own["item"], weights=own["lately"], minlength=came.items)
        found[name] = np.argsort(-(counts + strength * overall), kind="stable")
    return found


def came_by(came: Came, groups: Sequence[str], names: np.ndarray) -> np.ndarray:
    """The first of some groups that each visitor of ``names`` belongs to, shape (names,); -1 for none."""
    places = pd.Series(np.arange(len(groups)), index=list(groups), dtype=np.int64)
    told = came.facts[came.facts["group"].isin(places.index)]
    first = told["group"].map(places).groupby(told["visitor"]).min()
    return first.reindex(names).fillna(-1).to_numpy(dtype=np.int32)
