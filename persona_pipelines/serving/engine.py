"""One object that answers: what the last run knows, the events since, and the rules; it knows neither HTTP nor DuckDB."""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import secrets
import struct
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from persona_pipelines.errors import ProjectError
from persona_pipelines.features.interactions import rules_of
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.serving.arriving import FACTS, place_of
from persona_pipelines.serving.catalogue import MOST_NAMED, Catalogue, Kept, unknown_categories
from persona_pipelines.serving.experiments import Experiment, Variant, variant_of
from persona_pipelines.serving.lists import Maker, Wishes
from persona_pipelines.serving.received import Limits, Reader, Spelling
from persona_pipelines.serving.shown import Shown
from persona_pipelines.serving.snapshot import Scores, Snapshot
from persona_pipelines.serving.state import LiveState, Person
from persona_pipelines.settings import Settings

RECORDED = 200
"""Requests that are kept in memory, for another snapshot to be tried on."""
MOST_RECORDED = 200
"""Items that such a request may name: one that names 10,000 has a megabyte."""
TAIL = 10
"""Items from behind the end of a list that may be explored."""
EVERYBODY = Variant(name="everybody", share=0.5)
"""What people are given who take part in no experiment."""
_NUMBERS = struct.Struct(">III")


class UnknownItemError(ProjectError):
    """An item that is not in the catalogue."""


@dataclass(slots=True)
class Asked:
    """A request for a list, as it was sent: ids of items and names of categories.

    Attributes:
        user, device: raw ids; without both the list is for somebody of whom nothing is known.
        session: items of the request itself, the newest first: they count as the last of the history, and are not stored.
        campaign, country, referrer: how the person came, where the request says it; else what events said of it counts.
    """

    user: str | None = None
    device: str | None = None
    k: int = 10
    exclude: Sequence[str] = ()
    categories: Sequence[str] = ()
    not_categories: Sequence[str] = ()
    price_below: float | None = None
    in_stock: bool = False
    session: Sequence[str] = ()
    slot: str | None = None
    campaign: str | None = None
    country: str | None = None
    referrer: str | None = None


class Explored(NamedTuple):
    """One place of a list may be given to an item from behind its end.

    The draw is one of 64 bits for a person, an hour and a slot: the list does not flicker when it is asked again, and the chance of each item at each place is known.

    Attributes:
        chance: that a place is given; ``first``: the first that may be, from 0; ``k``: of the list.
        swaps: whether it is, by this draw; then ``place`` is the place, and ``tail`` which item from behind, as a number from 0 to 1.
    """

    chance: float
    first: int
    k: int
    swaps: bool
    place: int
    tail: float

    @classmethod
    def drawn(cls, seed: str, chance: float, explored_from: int, k: int) -> Explored | None:
        """None where no place may be given."""
        first = explored_from - 1
        if not chance or first >= k:
            return None
        draw = hashlib.blake2b(seed.encode(), digest_size=_NUMBERS.size).digest()
        one, two, three = _NUMBERS.unpack(draw)
        return cls(chance, first, k, one / 2**32 < chance, first + int(two / 2**32 * (k - first)), three / 2**32)

    def of(self, length: int) -> tuple[list[int], list[float]]:
        """The places of a list of ``length`` items, best first, that are shown, and how probable each was there."""
        given = self.k - self.first
        if length < self.k or (self.swaps and length == self.k):  # nothing is behind its end
            return list(range(length)), [1.0] * length
        order = list(range(self.k))
        propensities = [1.0] * self.first + [round(1 - self.chance / given, 9)] * given
        if self.swaps:
            behind = length - self.k
            order[self.place] = self.k + int(self.tail * behind)
            propensities[self.place] = round(self.chance / given / behind, 9)
        return order, propensities


@dataclass
class Engine:
    """Attributes:
    snapshot: what the last run knows.
    key: of the pseudonyms.
    experiment: the one that goes on, whose variants people are given.
    shown: is told each list that is served; None where nobody remembers them.
    kept: rows of the catalogue that came over HTTP.
    """

    settings: Settings
    snapshot: Snapshot
    key: bytes
    now: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC).replace(tzinfo=None))
    catalogue: Catalogue = field(init=False)
    state: LiveState = field(init=False)
    reader: Reader = field(init=False)
    experiment: Experiment | None = None
    shown: Callable[[Shown], None] | None = None
    kept: Kept | None = None

    def __post_init__(self) -> None:
        self._makers: dict[tuple[str, float], Maker] = {}
        self._taken: dict[str, str] = {}
        self.catalogue = Catalogue(self.snapshot, self.settings.recommendations.rules)
        self.catch_up()
        self.state = LiveState(self.catalogue, rules_of(self.settings), self.settings.events.most_users_of_a_device)
        self.asked: deque[Asked] = deque(maxlen=RECORDED)
        self._following: list[Mapping[str, Any]] | None = None
        self._number = 0
        self._ids = itertools.count(1)
        self._prefix = secrets.token_hex(6)
        types = frozenset(self.settings.known_event_types())
        logs = self.settings.sources_that_say_when()[0]
        spelling = Spelling(logs.identifiers, frozenset(word.lower() for word in logs.missing_words))
        limits = Limits(self.settings.logs.money, self.settings.logs.ratings)
        self.reader = Reader(self.key, types, self.now, lambda: secrets.token_hex(16), spelling, limits)

    def take(self, events: Iterable[Mapping[str, Any]]) -> None:
        """Events that are durable, in their order."""
        for event in events:
            self.state.apply(event)
            if self._following is not None:
                self._following.append(event)

    def put(self, rows: Sequence[Mapping[str, Any]], likenesses: Mapping[str, np.ndarray]) -> None:
        """Rows of the catalogue (``catalogue.as_kept``), with what leads to the new ones of them."""
        self.catalogue.put(rows, likenesses)
        self._taken |= {row["item_id"]: row["received"] for row in rows}
        for maker in self._makers.values():
            maker.look_again()

    def waiting_rows(self) -> list[Mapping[str, Any]]:
        """Rows that are kept and not taken in yet. Of an item that the tables have, a row that is older than they are says only what they do not."""
        rows = [] if self.kept is None else [row for row in self.kept.rows.values() if self._taken.get(row["item_id"]) != row["received"]]
        made = self.snapshot.facts.made
        return [row if row["received"][:-1] > made else self.catalogue.unsaid(row) for row in rows]

    def catch_up(self) -> None:
        """Take in the rows that are waiting."""
        if waiting := self.waiting_rows():
            self.put(waiting, self.catalogue.likenesses(waiting))

    def follow(self) -> list[Mapping[str, Any]]:
        """A list to which every event is added that is taken from now on, for another engine."""
        self._following = []
        return self._following

    def follow_no_more(self) -> None:
        self._following = None

    def become(self, other: Engine) -> None:
        """Answer from now on as another engine does."""
        self.snapshot, self.catalogue, self.state = other.snapshot, other.catalogue, other.state
        self._makers, self._taken = other._makers, other._taken

    @property
    def scores(self) -> Scores:
        """The champion's."""
        return self.snapshot.champion

    def live_share(self, version: str) -> float:
        """How much the last items count against the list of a version: by the configuration, else as its training found."""
        configured = self.settings.serving.live_share
        return self.snapshot.scores[version].live_share if configured is None else configured

    def _maker(self, version: str | None, live_share: float | None) -> Maker:
        """What makes lists by a version (None and one that is not at hand: the champion) and a share of its own."""
        chosen = version if version in self.snapshot.scores else self.snapshot.facts.version
        share = self.live_share(chosen) if live_share is None else live_share
        found = self._makers.get((chosen, share))
        if found is None:
            options = self.settings.recommendations
            found = Maker(self.state, self.snapshot.scores[chosen], options.rules, options.exclude_seen, share)
            self._makers[chosen, share] = found
        return found

    def owner(self, user: str | None, device: str | None) -> str | None:
        """The pseudonym of whom a list is asked for; None for nobody."""
        spelled = self.reader.spelling.of
        return self.state.owner_of(
            None if user is None else pseudonym(spelled(user.strip()), self.key),
            None if device is None else pseudonym("device:" + spelled(device.strip()), self.key),
        )

    def recommendations(self, asked: Asked, seen: bool = True) -> tuple[dict[str, Any], str]:
        """A list with what it was made from, and a tag that stays the same for the same request until something changes the list.

        Args:
            seen: whether anybody gets to see it; else it is none that was served.
        """
        if len(asked.session) + len(asked.exclude) <= MOST_RECORDED:
            self.asked.append(asked)
        answer, tag, shown = self._answer(asked)
        if self.shown is not None and seen:
            self.shown(shown)
            self._number += 1
            version, share = self.settings.serving.shadow_version, self.settings.serving.shadow_share
            if version in self.snapshot.scores and int(self._number * share) > int((self._number - 1) * share):
                self.shown(self._answer(asked, version)[2])
        return answer, tag

    def answer(self, asked: Asked) -> dict[str, Any]:
        """The same list as ``recommendations`` gives, without a trace of it."""
        return self._answer(asked)[0]

    def _answer(self, asked: Asked, shadow: str | None = None) -> tuple[dict[str, Any], str, Shown]:
        places, unknown, spelled = self.state.places, [], self.reader.spelling.of

        def known(items: Sequence[str]) -> Sequence[int]:
            found: list[int] = []
            for item in items:
                place = places.get(spelled(item))
                if place is None:
                    unknown.append(item)
                else:
                    found.append(place)
            return found

        session, now = known(asked.session), self.now()
        hour = now.isoformat(timespec="hours")
        group = place_of(self.state.groups, {fact: getattr(asked, fact) for fact in FACTS}) if self.state.groups else -1
        owner = self.owner(asked.user, asked.device)
        if owner is None:
            person = Person(-1, True, bool(session) or group >= 0 or self.snapshot.facts.consent_when_unknown)
        else:
            person = self.state.seen_before(owner, user=asked.user is not None)
        of_person = owner is not None and person.personalised
        variant = variant_of(self.experiment, str(owner)) if self.experiment is not None and of_person else EVERYBODY
        maker = self._maker(shadow or variant.model_version, variant.live_share)
        options = self.settings.serving
        chance = (options.exploration if variant.exploration is None else variant.exploration) if of_person and shadow is None else 0.0
        explored = Explored.drawn(f"{owner}:{hour}:{asked.slot}", chance, options.explored_from, asked.k)
        wishes = Wishes(
            asked.k + (TAIL if explored is not None and explored.swaps else 0),
            known(asked.exclude),
            frozenset(asked.categories),
            frozenset(asked.not_categories),
            asked.price_below,
            asked.in_stock,
            session,
            group,
        )
        made, snapshot, catalogue = maker.made(person, wishes), self.snapshot, self.catalogue
        if explored is None:
            order, propensities = list(range(len(made.items))), [1.0] * len(made.items)
        else:
            order, propensities = explored.of(len(made.items))
        list_id = f"{self._prefix}-{next(self._ids):x}"
        items = [catalogue.ids[made.items[place]] for place in order]
        sources = [made.sources[place] for place in order]
        scores = maker.scores
        answer: dict[str, Any] = {
            "list_id": list_id,
            "known": person.number >= 0,
            "personal": made.personal,
            "model": scores.model,
            "model_version": scores.version,
            "variant": variant.name if variant is not EVERYBODY else None,
            "as_of": f"{now.isoformat(timespec='milliseconds')}Z",
            "slot": asked.slot,
            "items": [
                {
                    "rank": rank,
                    "item_id": items[rank - 1],
                    "title": catalogue.titles[made.items[place]],
                    "category": catalogue.categories[made.items[place]] or None,
                    "score": made.scores[place],
                    "reason": made.reasons[place],
                    "source": made.sources[place],
                    "propensity": propensities[rank - 1],
                }
                for rank, place in enumerate(order, 1)
            ],
        }
        if unknown:
            answer["unknown_items"] = {"count": len(unknown), "first": unknown[:MOST_NAMED]}
        if asked.categories or asked.not_categories:
            odd = unknown_categories([*asked.categories, *asked.not_categories], catalogue.named_categories)
            if odd is not None:
                answer["unknown_categories"] = odd
        tag = f"{snapshot.name}-{zlib.crc32((owner or '').encode()):08x}-{person.revision}-{person.came_by}-{self.state.shown_at}-{answer['variant']}-{hour}"
        shown = Shown(
            list_id,
            now,
            owner if made.personal else None,
            asked.user is None and owner is not None,
            asked.slot,
            scores.model,
            scores.version,
            self.experiment.name if self.experiment is not None and variant is not EVERYBODY else None,
            answer["variant"],
            shadow is not None,
            items,
            propensities,
            sources,
        )
        return answer, tag, shown

    def related(self, item: str, k: int, together: bool) -> list[dict[str, Any]]:
        """What goes with an item: what the same people turn to, or what is in the same baskets.

        Raises:
            UnknownItemError: the item is not in the catalogue.
        """
        place = self.state.places.get(self.reader.spelling.of(item))
        if place is None:
            raise UnknownItemError(item)
        if place >= self.catalogue.known:  # nobody has turned to it yet
            return []
        snapshot = self.snapshot
        items, values = (snapshot.together_item, snapshot.together_value) if together else (snapshot.similar_item, snapshot.similar_value)
        name = "lift" if together else "similarity"
        return [
            {"item_id": self.catalogue.ids[other], "title": self.catalogue.titles[other], name: round(float(value), 6)}
            for other, value in zip(items[place].tolist(), values[place].tolist(), strict=True)
            if other >= 0 and not self.catalogue.blocked[other]
        ][:k]

    def profile(self, user: str) -> bytes | None:
        """The profile of a user as JSON; None where there is none."""
        number = self.snapshot.person(str(self.owner(user, None)))
        return (self.snapshot.profile_of(number) or None) if number >= 0 else None
