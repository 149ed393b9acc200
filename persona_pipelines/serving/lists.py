"""A list for a person, now: from what they did last, by the rules of the shop, each item with its reason."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from persona_pipelines.recommendations.last_click import beside
from persona_pipelines.recommendations.reasons import (
    CIRCLE,
    OF_CIRCLE,
    OF_LIKE_TASTE,
    POPULAR_EVER,
    POPULAR_LATELY,
    POPULAR_NOW,
    SEGMENT,
    because_of,
    new_in,
    popular_for,
    popular_with,
)
from persona_pipelines.recommendations.reasons import POPULAR as POPULAR_MODEL
from persona_pipelines.recommendations.rules import ItemFacts, rerank
from persona_pipelines.serving.snapshot import Scores, Snapshot
from persona_pipelines.serving.state import LiveState, Person
from persona_pipelines.settings.recommendations import RulesSettings

LIVE, NIGHTLY, ARRIVAL, POPULAR = "live", "nightly", "arrival", "popular"
"""Where a candidate comes from: the person's last items, the champion's list of the last run, people who came the same way, what people turn to lately."""
LESS = 0.5
"""How strongly an item of whose kind less is wanted speaks against those like it."""
POPULAR_AT_ONCE = 200
MOST_PLAIN = 100
"""Histories of so many items are looked up without reckoning anew which cells they need; longer ones, of a request, are cut."""
SMALLEST = 0.01
"""Items of a history that count less than this against the newest are not asked."""
SMALLEST_SHARE = 1e-6
"""Of the last items where they are to count nothing: they still order what is not in the champion's list, behind it."""
LEAST_NEIGHBOURS = 20
"""Of an item of the history, however little it counts: the less it does, the fewer of its neighbours are looked at, the strongest first."""


@dataclass(slots=True)
class Wishes:
    """What a request asks for.

    Attributes:
        k: items in the list.
        exclude: positions of items that are not wanted.
        categories, not_categories: names; empty for any and none.
        price_below: nothing that costs as much, and nothing of unknown price; None for any price.
        in_stock: only what is known to be in stock.
        context: positions of items that the person looks at now, the newest first: they count as the last of the history, and are not stored.
        came_by: the group of people who came as the request says (``Snapshot.groups``); -1 where it says nothing of it.
    """

    k: int = 10
    exclude: Sequence[int] = ()
    categories: frozenset[str] = frozenset()
    not_categories: frozenset[str] = frozenset()
    price_below: float | None = None
    in_stock: bool = False
    context: Sequence[int] = ()
    came_by: int = -1

    @property
    def narrow(self) -> bool:
        """Whether not every item fits."""
        return bool(self.categories or self.not_categories or self.in_stock) or self.price_below is not None


@dataclass(slots=True)
class Listed:
    """A list: positions of items, best first, with a score, a reason and a source each; ``personal``: whether it is made for the person."""

    items: list[int]
    scores: list[float]
    reasons: list[str]
    sources: list[str]
    personal: bool


@dataclass(slots=True)
class Pool:
    """What a list is chosen from: items with scores and sources, and the cells that they are the sums of.

    Attributes:
        above: what scores no more than this is not to be chosen.
        history: the items that were asked.
        columns, amounts, rows: of each cell the item to which one leads, how strongly, and the place of that one in the history.
    """

    items: np.ndarray
    scores: np.ndarray
    sources: np.ndarray
    above: float
    history: np.ndarray
    columns: np.ndarray
    amounts: np.ndarray
    rows: np.ndarray


@dataclass
class Maker:
    """Makes lists from a state, by the rules of the shop.

    Attributes:
        exclude_seen: what a person has had to do with is left out, but for what is bought again.
        live_share: how much the last items count against the champion's list of the last run, where there is one.
    """

    state: LiveState
    scores: Scores
    rules: RulesSettings
    exclude_seen: bool
    live_share: float
    _codes: dict[str, int] = field(init=False)
    _category: np.ndarray = field(init=False)
    _categories: np.ndarray = field(init=False)
    _coded: int = field(init=False)
    _mark: np.ndarray = field(init=False)
    _last: np.ndarray = field(init=False)
    _facts: ItemFacts = field(init=False)
    _unblocked: np.ndarray = field(init=False)
    _free: np.ndarray = field(init=False)
    _numbers: np.ndarray = field(init=False)
    _some_repurchasable: bool = field(init=False)
    _neighbours: np.ndarray = field(init=False)
    _weights: np.ndarray = field(init=False)
    _plain: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = field(init=False)
    _popular: tuple[int, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        catalogue = self.state.catalogue
        self._codes = {}
        self._category = np.full(len(catalogue.price), -1, dtype=np.int32)
        self._categories = np.full(len(catalogue.price), "", dtype=object)
        self._coded = 0
        self._mark, self._last = np.zeros(len(catalogue.price), dtype=bool), np.zeros(len(catalogue.price), dtype=np.intp)
        self._numbers = np.array([], dtype=np.intp)
        vectors = self.snapshot.vectors
        room = np.zeros((len(catalogue.price) - len(vectors), vectors.shape[1]), dtype=vectors.dtype)
        self._facts = ItemFacts(catalogue.blocked, catalogue.repurchasable, self._categories, np.concatenate([vectors, room]))
        self._neighbours, self._weights = self.scores.neighbours.ravel(), self.scores.weights.ravel()
        width, decay = self.scores.neighbours.shape[1], self.scores.decay
        self._plain = [_looked_up(np.arange(length, dtype=float), decay, width) for length in range(MOST_PLAIN + 1)]
        self._popular = (-1, np.array([], dtype=np.int64))
        self.look_again()

    def look_again(self) -> None:
        """The catalogue has changed."""
        catalogue = self.state.catalogue
        for place, name in enumerate(catalogue.categories):
            if place >= self._coded or self._categories[place] != name:
                self._category[place], self._categories[place] = self._codes.setdefault(name, len(self._codes)), name
        self._coded = catalogue.count
        count = catalogue.count
        self._unblocked = (~catalogue.blocked).astype(float)
        self._free = self._unblocked.copy()
        self._some_repurchasable = bool(catalogue.repurchasable[:count].any())
        self._popular = (-1, self._popular[1])

    @property
    def snapshot(self) -> Snapshot:
        return self.state.snapshot

    def made(self, person: Person, wishes: Wishes) -> Listed:
        """The list of a person; one that is not made for the person leaves out nothing of theirs."""
        ruled = bool(self.rules.diversity or self.rules.category_caps) or self.rules.maximum_per_category is not None
        wanted = max(wishes.k, self.rules.candidates) if ruled else wishes.k
        left_out = self._left_out(person, wishes)
        asked = _NOBODYS
        items, merit, sources = asked.items, asked.scores, asked.sources
        if person.personalised:
            asked = self._pool(person, left_out, wishes)
            best = _best(asked.items, asked.scores, wanted, asked.above)
            items, merit, sources = asked.items[best].astype(np.int64), asked.scores[best], asked.sources[best]
        group = wishes.came_by if wishes.came_by >= 0 else person.came_by
        if person.personalised and group >= 0 and not len(items) and not len(asked.history):
            items = self._of_group(group, wishes, left_out, wanted)
            merit = 1 - np.arange(len(items)) / max(len(items), 1)
            sources = np.full(len(items), _SOURCES.index(ARRIVAL), dtype=np.int8)
        scores = merit
        if len(items) < wanted:
            more = self._of_popular(wishes, np.concatenate([left_out, items]), wanted - len(items))
            # Behind all others, whatever their scores: what is popular fills up.
            behind = (merit.min() if len(merit) else 0.0) - 1 - np.arange(len(more)) / max(len(more), 1)
            items, merit = np.concatenate([items, more]), np.concatenate([merit, behind])
            scores = np.concatenate([scores, np.log1p(self.state.shown[more])])
            sources = np.concatenate([sources, np.full(len(more), _SOURCES.index(POPULAR), dtype=np.int8)])
        if ruled and len(items):
            chosen, _ = rerank(items[None, :], merit[None, :], wishes.k, self._facts, self.rules)
            order = {item: number for number, item in enumerate(items.tolist())}
            best = np.array([order[item] for item in chosen[0].tolist() if item >= 0], dtype=np.int64)
            items, scores, sources = items[best], scores[best], sources[best]
        reasons = self._reasons(person, items, asked, sources, group)
        return Listed(
            items.tolist(),
            (np.rint(scores * 1e6) / 1e6).tolist(),
            reasons,
            [_SOURCES[code] for code in sources.tolist()],
            person.personalised,
        )

    def _left_out(self, person: Person, wishes: Wishes) -> np.ndarray:
        asked = [*wishes.exclude, *wishes.context]
        if not person.personalised:
            return np.array(asked, dtype=np.int64)
        told = [*asked, *person.unwanted, *person.less]
        own = np.array(told, dtype=np.int64)
        if self.exclude_seen:
            seen = self.state.seen(person)
            own = np.concatenate([own, seen]) if told else seen
        if not self.exclude_seen or not self._some_repurchasable:
            return own
        return own[~self._facts.repurchasable[own] | np.isin(own, told)]

    def _among(self, items: np.ndarray, left_out: np.ndarray) -> np.ndarray:
        """Whether each of some items is one of those left out."""
        self._mark[left_out] = True
        among = self._mark.take(items)
        self._mark[left_out] = False
        return among

    def _pool(self, person: Person, left_out: np.ndarray, wishes: Wishes) -> Pool:
        """What a list is chosen from: each item has its score at one place, and 0 at others; what is left out and what does not fit scores 0."""
        scores = self.scores
        history, place = self._looked_at(person, wishes)
        row, within, factor = self._looked_up(len(history), place)
        cells = (history * scores.neighbours.shape[1]).take(row) + within
        columns, amounts = (
            self._neighbours.take(cells).astype(np.intp),
            self._weights.take(cells) * factor,
        )  # the places are used many times
        flat, signed = columns, amounts
        if person.less:
            against = np.array(sorted(person.less), dtype=np.int64)
            flat = np.concatenate([flat, scores.neighbours[against].ravel()])
            signed = np.concatenate([signed, -LESS * scores.weights[against].ravel()])
        # Each item has the number of the last cell that leads to it, and its sum stands there: sums over cells alone, however large the catalogue is.
        if len(flat) > len(self._numbers):
            self._numbers = np.arange(len(flat))
        self._last[flat] = self._numbers[: len(flat)]
        self._free[left_out] = 0
        items, value = flat, np.bincount(self._last.take(flat), signed, minlength=len(flat)) * self._free.take(flat)
        self._free[left_out] = self._unblocked[left_out]
        if wishes.narrow:
            value[~self._fits(items, wishes)] = 0
        if len(self.state.catalogue.unmet):
            items, value = self._with_unmet(items, value, history, place, left_out, wishes)
        sources, above = np.zeros(len(items), dtype=np.int8), 0.0
        if person.number >= 0 and scores.nightly_item.shape[1] > 0:
            good = value > 0
            items, value, sources = self._with_nightly(person, items[good], value[good], left_out, wishes)
            above = -np.inf
        return Pool(items, value, sources, above, history, columns, amounts, row)

    def _looked_at(self, person: Person, wishes: Wishes) -> tuple[np.ndarray, np.ndarray | None]:
        """The items that a list is made from, the newest first, with their places (``shared_places``): those of the request before those of the history."""
        history, place = self.state.history(person)
        history = history.astype(np.int64)
        known = self.state.catalogue.known
        if self.state.catalogue.new and (history >= known).any():  # a new item leads nowhere yet
            place = None if place is None else place[history < known]
            history = history[history < known]
        if wishes.context:
            now = np.array([item for item in dict.fromkeys(wishes.context) if item < known], dtype=np.int64)
            kept = ~np.isin(history, now)
            if place is not None or not kept.all():
                before = np.arange(len(history), dtype=float) if place is None else place
                place = np.concatenate([np.arange(len(now), dtype=float), before[kept] + len(now)])
            history = np.concatenate([now, history[kept]])
        return history[:MOST_PLAIN], None if place is None else place[:MOST_PLAIN]

    def _with_unmet(
        self, items: np.ndarray, value: np.ndarray, history: np.ndarray, place: np.ndarray | None, left_out: np.ndarray, wishes: Wishes
    ) -> tuple[np.ndarray, np.ndarray]:
        """With the items that nobody had turned to before, to which the history leads by what they say of themselves."""
        catalogue = self.state.catalogue
        factor = np.power(self.scores.decay, np.arange(len(history), dtype=float) if place is None else place)
        unmet = catalogue.unmet
        likeness = factor @ catalogue.likeness[history, : len(unmet)]
        likeness[self._among(unmet, left_out)] = 0
        likeness[~self._fits(unmet, wishes)] = 0
        return np.concatenate([items.astype(np.int64), unmet]), np.concatenate([value, likeness])

    def _looked_up(self, length: int, place: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if place is None:  # no two of one moment, as nearly always
            return self._plain[length]
        return _looked_up(place, self.scores.decay, self.scores.neighbours.shape[1])

    def _with_nightly(
        self, person: Person, items: np.ndarray, scores: np.ndarray, left_out: np.ndarray, wishes: Wishes
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The champion's list of the last run, and beside it, once the person has done something since, what the last items say."""
        nightly, value = self.scores.nightly_item[person.number], self.scores.nightly_score[person.number].astype(float)
        kept = nightly >= 0
        kept &= ~self._among(np.maximum(nightly, 0), left_out) & self._fits(np.maximum(nightly, 0), wishes)
        nightly, value = nightly[kept].astype(np.int64), value[kept]
        if not len(nightly):  # a device, or one whose list has no item left
            return items.astype(np.int64), scores, np.zeros(len(items), dtype=np.int8)
        catalogue, acted = self.state.catalogue, bool(wishes.context) or self.state.acted(person)
        if not len(items) or not (acted or len(catalogue.unmet)):
            return nightly, value, np.full(len(nightly), _SOURCES.index(NIGHTLY), dtype=np.int8)
        both, of_list, of_items = beside(nightly, value, items, scores.astype(float))
        listed = np.isin(both, nightly)
        unmet = catalogue.is_unmet[both] & ~listed
        share = max(self.live_share, SMALLEST_SHARE) if acted else 0.0
        # What nobody had turned to is in the list of few models: it counts by what it is beside the others.
        total = np.where(unmet, of_items, (1 - share) * of_list + share * of_items)
        live = unmet | (np.isin(both, items) if acted and self.live_share else ~listed)
        kept = listed | unmet if not acted else np.ones(len(both), dtype=bool)
        return both[kept], total[kept], np.where(live, _SOURCES.index(LIVE), _SOURCES.index(NIGHTLY)).astype(np.int8)[kept]

    def _fits(self, candidates: np.ndarray, wishes: Wishes) -> np.ndarray:
        fits = ~self._facts.blocked[candidates]
        if wishes.categories:
            codes = [self._codes[name] for name in wishes.categories if name in self._codes]
            fits &= np.isin(self._category[candidates], codes)
        if wishes.not_categories:
            codes = [self._codes[name] for name in wishes.not_categories if name in self._codes]
            fits &= ~np.isin(self._category[candidates], codes)
        if wishes.price_below is not None:
            fits &= self.state.catalogue.price[candidates] < wishes.price_below
        if wishes.in_stock:
            fits &= self.state.catalogue.in_stock[candidates] == 1
        return fits

    def _reasons(self, person: Person, items: np.ndarray, asked: Pool, sources: np.ndarray, group: int) -> list[str]:
        """The item of the history that speaks most for each item; else that it is new, else where it comes from. Of an item that the list of the last
        run has for another reason than the person's own items, that reason."""
        catalogue, cells = self.state.catalogue, np.flatnonzero(self._among(asked.columns, items))
        strongest, speaks = dict.fromkeys(items.tolist(), 0.0), dict.fromkeys(items.tolist(), -1)
        for item, amount, row in zip(
            asked.columns.take(cells).tolist(), asked.amounts.take(cells).tolist(), asked.rows.take(cells).tolist(), strict=True
        ):
            if amount > strongest[item]:  # of equal ones the first, which is the newest of the history
                strongest[item], speaks[item] = amount, row
        titles, history = catalogue.titles, asked.history.tolist()
        words = {POPULAR: POPULAR_NOW if self.snapshot.facts.dated else POPULAR_EVER}
        if group >= 0:
            words[ARRIVAL] = popular_for(self.snapshot.groups[group])
        of_list = self._reasons_of_list(person) if _NIGHTLY in sources else {}
        found = []
        for item, source in zip(items.tolist(), sources.tolist(), strict=True):
            if source == _NIGHTLY and item in of_list:
                of_circle = of_list[item] == OF_CIRCLE
                found.append(new_in(catalogue.categories[item]) if catalogue.is_new[item] and not of_circle else of_list[item])
            elif speaks[item] >= 0 and source != _POPULAR:
                found.append(because_of(titles[history[speaks[item]]]))
            else:
                found.append(new_in(catalogue.categories[item]) if catalogue.is_new[item] else words.get(_SOURCES[source], OF_LIKE_TASTE))
        return found

    def _reasons_of_list(self, person: Person) -> dict[int, str]:
        """Of the items that the list of the last run has for another reason than the person's own items, why."""
        kinds = self.scores.nightly_kind
        if not kinds.shape[1]:  # the model looks at people's own items alone
            return {}
        dated, segment = self.snapshot.facts.dated, int(self.snapshot.segment[person.number])
        popular = POPULAR_NOW if dated else POPULAR_EVER
        name = next((entry["segment_name"] for entry in self.snapshot.facts.segments if entry["segment_id"] == segment), "")
        words = {
            SEGMENT: popular_with(name) if name else POPULAR_EVER,
            CIRCLE: OF_CIRCLE,
            POPULAR_MODEL: POPULAR_EVER,
            POPULAR_LATELY: popular,
        }
        own = zip(self.scores.nightly_item[person.number].tolist(), kinds[person.number].tolist(), strict=True)
        return {item: words[kind] for item, kind in own if kind in words}

    def _of_group(self, group: int, wishes: Wishes, left_out: np.ndarray, count: int) -> np.ndarray:
        """What people turn to who came the same way."""
        items = self.snapshot.group_item[group]
        items = items[items >= 0].astype(np.int64)
        return items[self._fits(items, wishes) & ~self._among(items, left_out)][:count]

    def _of_popular(self, wishes: Wishes, left_out: np.ndarray, count: int) -> np.ndarray:
        """What people turn to lately."""
        if self._popular[0] != self.state.shown_at:
            self._popular = self.state.shown_at, np.argsort(-self.state.shown[: self.state.catalogue.count], kind="stable")
        order, found = self._popular[1], [np.array([], dtype=np.int64)]
        for start in range(0, len(order), POPULAR_AT_ONCE):
            part = order[start : start + POPULAR_AT_ONCE]
            fits = part[self._fits(part, wishes) & ~self._among(part, left_out)][:count]
            found.append(fits)
            count -= len(fits)
            if not count:
                break
        return np.concatenate(found)


def _looked_up(place: np.ndarray, decay: float, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which cells are looked at of a history whose items have these places: the row of each, its place in the row, and how much it counts."""
    factor = np.power(decay, place)
    factor = factor[factor >= SMALLEST]
    length = np.minimum(np.maximum(np.ceil(factor * width), LEAST_NEIGHBOURS), width).astype(np.int64)
    row = np.repeat(np.arange(len(factor)), length)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length), factor.astype(np.float32)[row]


_NONE = np.array([], dtype=np.int64)
_NOBODYS = Pool(_NONE, np.array([]), np.array([], dtype=np.int8), 0.0, _NONE, _NONE, np.array([]), _NONE)
"""What a list is chosen from that is not made for the person."""
_SOURCES = (LIVE, NIGHTLY, ARRIVAL, POPULAR)
_POPULAR, _NIGHTLY = _SOURCES.index(POPULAR), _SOURCES.index(NIGHTLY)


def _best(candidates: np.ndarray, scores: np.ndarray, k: int, above: float) -> np.ndarray:
    """Places of the ``k`` best that score more than ``above``, of equal ones those whose item comes first."""
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k] if k < len(scores) else above
    kept = np.flatnonzero(scores >= threshold if threshold > above else scores > above)
    return kept[np.lexsort((candidates[kept], -scores[kept]))][:k]
