"""One object that answers: what the last run knows, the events since, and the rules; it knows neither HTTP nor DuckDB."""

from __future__ import annotations

import datetime as dt
import itertools
import secrets
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from persona_pipelines.errors import ProjectError
from persona_pipelines.features.interactions import rules_of
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.serving.lists import Maker, Wishes
from persona_pipelines.serving.received import Limits, Reader, Spelling
from persona_pipelines.serving.snapshot import Snapshot
from persona_pipelines.serving.state import LiveState, Person
from persona_pipelines.settings import Settings

RECORDED = 200
"""Requests that are kept in memory, for another snapshot to be tried on."""
MOST_NAMED = 20
"""Of unknown items in an answer: the others are counted."""


class UnknownItemError(ProjectError):
    """An item that is not in the catalogue."""


@dataclass(slots=True)
class Asked:
    """A request for a list, as it was sent: ids of items and names of categories.

    Attributes:
        user, device: raw ids; without both the list is for somebody of whom nothing is known.
        session: items of the request itself, the newest first: they count as the last of the history, and are not stored.
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


@dataclass
class Engine:
    """Attributes:
    snapshot: what the last run knows.
    key: of the pseudonyms.
    """

    settings: Settings
    snapshot: Snapshot
    key: bytes
    now: Callable[[], dt.datetime] = field(default=lambda: dt.datetime.now(dt.UTC).replace(tzinfo=None))
    state: LiveState = field(init=False)
    maker: Maker = field(init=False)
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        options = self.settings.recommendations
        self.state = LiveState(self.snapshot, rules_of(self.settings), self.settings.events.most_users_of_a_device)
        self.maker = Maker(self.state, self.snapshot.champion, options.rules, options.exclude_seen, self.settings.serving.live_share)
        self.asked: deque[Asked] = deque(maxlen=RECORDED)
        self._following: list[Mapping[str, Any]] | None = None
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

    def follow(self) -> list[Mapping[str, Any]]:
        """A list to which every event is added that is taken from now on, for another engine."""
        self._following = []
        return self._following

    def follow_no_more(self) -> None:
        self._following = None

    def become(self, other: Engine) -> None:
        """Answer from now on as another engine does."""
        self.snapshot, self.state, self.maker = other.snapshot, other.state, other.maker

    def owner(self, user: str | None, device: str | None) -> str | None:
        """The pseudonym of whom a list is asked for; None for nobody."""
        spelled = self.reader.spelling.of
        return self.state.owner_of(
            None if user is None else pseudonym(spelled(user.strip()), self.key),
            None if device is None else pseudonym("device:" + spelled(device.strip()), self.key),
        )

    def recommendations(self, asked: Asked) -> tuple[dict[str, Any], str]:
        """A list with what it was made from, and a tag that stays the same for the same request until something changes the list."""
        self.asked.append(asked)
        return self.answer(asked)

    def answer(self, asked: Asked) -> tuple[dict[str, Any], str]:
        """The same as ``recommendations``, without a trace of it."""
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

        session = known(asked.session)
        owner = self.owner(asked.user, asked.device)
        if owner is None:
            person = Person(-1, True, bool(session) or self.snapshot.facts.consent_when_unknown)
        else:
            person = self.state.seen_before(owner, user=asked.user is not None)
        wishes = Wishes(
            asked.k,
            known(asked.exclude),
            frozenset(asked.categories),
            frozenset(asked.not_categories),
            asked.price_below,
            asked.in_stock,
            session,
        )
        made, snapshot = self.maker.made(person, wishes), self.snapshot
        answer: dict[str, Any] = {
            "list_id": f"{self._prefix}-{next(self._ids):x}",
            "known": person.number >= 0,
            "personal": made.personal,
            "model": self.maker.scores.model,
            "model_version": self.maker.scores.version,
            "as_of": f"{self.now().isoformat(timespec='milliseconds')}Z",
            "slot": asked.slot,
            "items": [
                {
                    "rank": rank,
                    "item_id": snapshot.items[item],
                    "title": snapshot.titles[item],
                    "category": snapshot.categories[item] or None,
                    "score": score,
                    "reason": reason,
                    "source": source,
                }
                for rank, (item, score, reason, source) in enumerate(
                    zip(made.items, made.scores, made.reasons, made.sources, strict=True), 1
                )
            ],
        }
        if unknown:
            answer["unknown_items"] = {"count": len(unknown), "first": unknown[:MOST_NAMED]}
        return answer, f"{snapshot.name}-{zlib.crc32((owner or '').encode()):08x}-{person.revision}-{self.state.shown_at}"

    def related(self, item: str, k: int, together: bool) -> list[dict[str, Any]]:
        """What goes with an item: what the same people turn to, or what is in the same baskets.

        Raises:
            UnknownItemError: the item is not in the catalogue.
        """
        place = self.state.places.get(self.reader.spelling.of(item))
        if place is None:
            raise UnknownItemError(item)
        snapshot = self.snapshot
        items, values = (snapshot.together_item, snapshot.together_value) if together else (snapshot.similar_item, snapshot.similar_value)
        name = "lift" if together else "similarity"
        return [
            {"item_id": snapshot.items[other], "title": snapshot.titles[other], name: round(float(value), 6)}
            for other, value in zip(items[place].tolist(), values[place].tolist(), strict=True)
            if other >= 0 and not snapshot.blocked[other]
        ][:k]

    def profile(self, user: str) -> bytes | None:
        """The profile of a user as JSON; None where there is none."""
        number = self.snapshot.person(str(self.owner(user, None)))
        return (self.snapshot.profile_of(number) or None) if number >= 0 else None
