"""Live state: what the last run knows, and everything that was accepted since. The same events in the same order give the same state."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from persona_pipelines.serving.received import LESS_LIKE_THIS, NOT_INTERESTED, PERSONALISATION
from persona_pipelines.serving.snapshot import RECENT, Snapshot

HALF_LIFE_DAYS = 7.0
SHOWN_EVERY = 64
"""The order of what is popular is that after so many events: sorting all items at every one of them would cost more than lists do."""
EPOCH = dt.datetime.fromtimestamp(0, dt.UTC).replace(tzinfo=None)
DAY = 86_400_000_000
"""In microseconds."""


class Person:
    """A user, or a device that nobody has logged in on.

    Attributes:
        number: position in the snapshot; -1 of one who is not in it.
        seen: items had to do with since the snapshot.
        unwanted: items not wanted; ``less``: items of whose kind less is wanted.
        personalised: whether lists may be made for this person; ``said``: what the person said of it since the snapshot, None for nothing.
        revision: of the state: it rises with every event that changes it.
    """

    __slots__ = ("_before", "_order", "_recent", "less", "number", "personalised", "revision", "said", "seen", "unwanted")

    def __init__(self, number: int, before: tuple[np.ndarray, np.ndarray], personalised: bool) -> None:
        self.number, self.personalised = number, personalised
        self._before = before
        self._recent: dict[int, int] | None = None
        self.seen: set[int] = set()
        self.unwanted: set[int] = set()
        self.less: set[int] = set()
        self.said: bool | None = None
        self.revision = 0
        self._order: tuple[np.ndarray, np.ndarray | None] | None = None

    @property
    def recent(self) -> dict[int, int]:
        """Items by position with the moment of the last act on each, in microseconds since 1970; at most ``RECENT``."""
        if self._recent is None:
            self._recent = dict(zip(self._before[0].tolist(), self._before[1].tolist(), strict=True))
        return self._recent

    def met(self, item: int, moment: int, good: bool) -> None:
        """The person did something with an item."""
        self.seen.add(item)
        if good or item in self.recent:
            self.recent[item] = max(moment, self.recent.get(item, moment))
            if len(self.recent) > RECENT:
                del self.recent[min(self.recent, key=lambda known: (self.recent[known], -known))]
        self.changed()

    def changed(self) -> None:
        self.revision += 1
        self._order = None

    def history(self) -> tuple[np.ndarray, np.ndarray | None]:
        """The recent items, the newest first, and the place of each (``shared_places``)."""
        if self._order is None:
            if self._recent is None:
                items, moments = self._before
            else:
                newest = sorted(self._recent, key=lambda item: (-self.recent[item], item))
                items, moments = np.array(newest, dtype=np.int64), np.array([self._recent[item] for item in newest], dtype=np.int64)
            self._order = items, shared_places(moments)
        return self._order

    def described(self) -> tuple[Any, ...]:
        """All that it holds, to be compared."""
        return (
            self.number,
            self.personalised,
            self.revision,
            tuple(sorted(self.recent.items())),
            tuple(sorted(self.seen)),
            tuple(sorted(self.unwanted)),
            tuple(sorted(self.less)),
        )


def shared_places(moments: np.ndarray) -> np.ndarray | None:
    """The place of each of some moments, newest first; equal ones share the mean. None where no two are equal: the places are 0, 1, 2 and so on."""
    same = moments[1:] == moments[:-1]
    if not same.any():
        return None
    starts = np.flatnonzero(np.concatenate([[True], ~same]))
    lengths = np.diff(np.append(starts, len(moments)))
    return np.repeat(starts + (lengths - 1) / 2, lengths)


NOTHING = np.array([], dtype=np.int64), np.array([], dtype=np.int64)
"""The history of one who has none."""


@dataclass
class Device:
    """Who is on a device, by the rule of ``events.identity``: the last user seen on it and not logged out since; nobody where more users than
    ``most_users`` have logged in. ``left``: whether anybody has logged out on it: what was done before that is not of who logs in after."""

    users: set[str] = field(default_factory=set)
    current: str | None = None
    left: bool = False


class LiveState:
    """The snapshot and the events since.

    Args:
        weights: of event types: above 0 says something good of an item, below 0 something bad; other types say nothing of one.
        most_users: a device with more users is nobody's.
    """

    def __init__(self, snapshot: Snapshot, weights: Mapping[str, float], most_users: int) -> None:
        self.snapshot, self.weights, self.most_users = snapshot, weights, most_users
        self.places = {item: number for number, item in enumerate(snapshot.items)}
        self.popularity = np.array(snapshot.popularity, dtype=float)
        self.begin = microseconds(snapshot.until)
        self.people: dict[str, Person] = {}
        self.devices: dict[str, Device] = {}
        self.known_ids: set[int] = set()
        self.events = self.repeated = self.unknown_items = 0
        self.shown, self.shown_at = self.popularity.copy(), 0

    def repeats(self, event: Mapping[str, Any]) -> bool:
        """Whether an event of this id was accepted already."""
        return hash(event["event_id"]) in self.known_ids

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take an accepted event in. One whose id is known changes nothing."""
        identity = hash(event["event_id"])
        if identity in self.known_ids:
            self.repeated += 1
            return
        self.known_ids.add(identity)
        self.events += 1
        if self.events % SHOWN_EVERY == 0:
            self.shown, self.shown_at = self.popularity.copy(), self.events
        moment, kind = _microseconds_of(event["timestamp"]), event["event_type"]
        name = self._owner(event.get("user_id"), event.get("anonymous_id"), kind)
        if name is None:
            return
        if kind == PERSONALISATION:
            person = self.person(name)
            person.personalised = person.said = bool(event["value"])
            person.changed()
            return
        item = event.get("item_id")
        if item is None:
            return
        place = self.places.get(item)
        if place is None:
            self.unknown_items += 1
            return
        if kind in (NOT_INTERESTED, LESS_LIKE_THIS):
            person = self.person(name)
            (person.unwanted if kind == NOT_INTERESTED else person.less).add(place)
            person.changed()
            return
        weight = self.weights.get(kind, 0.0)
        if not weight:
            return
        person = self.person(name)
        good = weight > 0 and not (kind == "rating" and self._below_the_middle(person, event.get("value")))
        person.met(place, moment, good)
        if good:
            self.popularity[place] += 2.0 ** ((moment - self.begin) / (HALF_LIFE_DAYS * DAY))

    def person(self, name: str) -> Person:
        """The person of a pseudonym, kept from now on."""
        found = self.people.get(name)
        if found is None:
            found = self.people[name] = self.seen_before(name)
        return found

    def seen_before(self, name: str) -> Person:
        """The person as they are now, without keeping them."""
        if name in self.people:
            return self.people[name]
        number, snapshot = self.snapshot.user(name), self.snapshot
        if number < 0:
            return Person(-1, NOTHING, snapshot.facts.consent_when_unknown)
        part = slice(int(snapshot.history_start[number]), int(snapshot.history_start[number + 1]))
        return Person(number, (snapshot.history_item[part], snapshot.history_time[part]), bool(snapshot.consent[number]))

    def owner_of(self, user: str | None, device: str | None) -> str | None:
        """Whose list is asked for: the user, else who is on the device, else the device."""
        if user is not None or device is None:
            return user
        known = self._device(device)
        return known.current or device

    def _owner(self, user: str | None, device: str | None, kind: str) -> str | None:
        if device is None:
            return user
        known = self._device(device)
        if user is None:
            owner = known.current or device
        else:
            owner = user
            if not known.users and not known.left and device in self.people:
                self._join(user, device)
            known.users.add(user)
            known.current = user if len(known.users) <= self.most_users else None
        if kind == "logout":
            known.current, known.left = None, True
        return owner

    def _device(self, device: str) -> Device:
        found = self.devices.get(device)
        if found is None:
            number = self.snapshot.user_of_device(device)
            before = self.snapshot.users[number].decode() if number >= 0 else None
            found = self.devices[device] = Device({before} if before else set(), before)
        return found

    def _join(self, user: str, device: str) -> None:
        """What was done on a device before anybody logged in was done by who logs in first."""
        before, person = self.people.pop(device), self.person(user)
        for item, moment in sorted(before.recent.items()):
            person.met(item, moment, True)
        person.seen |= before.seen
        person.unwanted |= before.unwanted
        person.less |= before.less
        if before.said is not None and person.said is not False:  # a no stays a no
            person.personalised = person.said = before.said
        person.changed()

    def _below_the_middle(self, person: Person, value: float | None) -> bool:
        if value is None:
            return False
        own = float(self.snapshot.rating[person.number]) if person.number >= 0 else np.nan
        middle = self.snapshot.facts.everyones_rating if np.isnan(own) else own
        return middle is not None and value < middle

    def described(self) -> dict[str, Any]:
        """All that it holds, to be compared: equal for equal events in equal order."""
        return {
            "people": {name: person.described() for name, person in sorted(self.people.items())},
            "devices": {name: (tuple(sorted(entry.users)), entry.current, entry.left) for name, entry in sorted(self.devices.items())},
            "popularity": self.popularity.tobytes(),
            "events": self.events,
        }


def microseconds(moment: dt.datetime) -> int:
    """A moment, UTC without zone, in microseconds since 1970."""
    return int((moment - EPOCH) // dt.timedelta(microseconds=1))


def _microseconds_of(text: str) -> int:
    return microseconds(dt.datetime.fromisoformat(text[:-1]))
