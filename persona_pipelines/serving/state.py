"""Live state: what the last run knows, and everything that was accepted since, by the rules of the nightly tables (``features.interactions``,
``events.identity``). The same events in the same order give the same state."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from persona_pipelines.features.interactions import FEW_RATINGS, TOLERANCE, InteractionRules
from persona_pipelines.recommendations.last_click import RECENT
from persona_pipelines.serving.arriving import place_of
from persona_pipelines.serving.catalogue import MOST_NEW, Catalogue
from persona_pipelines.serving.received import LESS_LIKE_THIS, NOT_INTERESTED, PERSONALISATION
from persona_pipelines.serving.snapshot import NO_WORD, id_hash

HALF_LIFE_DAYS = 7.0
MOST_DOUBLINGS = 900.0
"""Of what is popular: a log that ended decades ago does not overflow."""
SHOWN_EVERY = 64
"""The order of what is popular is that after so many events: sorting all items at every one of them would cost more than lists do."""
EPOCH = dt.datetime.fromtimestamp(0, dt.UTC).replace(tzinfo=None)
DAY = 86_400_000_000
"""In microseconds."""


class Met(NamedTuple):
    """What a person has had to do with an item: when last (microseconds since 1970), whether anything good was said of it, and its ratings."""

    moment: int
    good: bool
    rating_sum: float = 0.0
    ratings: int = 0

    def and_(self, other: Met) -> Met:
        """Both together."""
        return Met(
            max(self.moment, other.moment), self.good or other.good, self.rating_sum + other.rating_sum, self.ratings + other.ratings
        )


class Person:
    """A user, or a device that nobody has logged in on.

    Attributes:
        number: position in the snapshot; -1 of one who is not in it.
        user: whether it is a user.
        personalised: whether lists may be made for this person; ``said``: what the person said of it last and when, None for nothing.
        since: items had to do with since the snapshot, with all that is known of each.
        unwanted: items not wanted; ``less``: items of whose kind less is wanted.
        revision: of the state: it rises with every event that changes it.
        came_by: the group of people who came the same way (``Snapshot.groups``); -1 for none that is known.
        order: the history, once it was asked for (``LiveState.history``), ``order_at`` so many ratings of all.
    """

    __slots__ = ("came_by", "less", "number", "order", "order_at", "personalised", "revision", "said", "since", "unwanted", "user")

    def __init__(self, number: int, user: bool, personalised: bool) -> None:
        self.number, self.user, self.personalised = number, user, personalised
        self.since: dict[int, Met] = {}
        self.unwanted: set[int] = set()
        self.less: set[int] = set()
        self.said: tuple[int, bool] | None = None
        self.revision = 0
        self.came_by = -1
        self.order: tuple[np.ndarray, np.ndarray | None] | None = None
        self.order_at = -1

    def changed(self) -> None:
        self.revision += 1
        self.order = None

    def came(self, group: int) -> None:
        """The first of the groups counts: it is of the fact that helps most."""
        if group >= 0:
            self.came_by = group if self.came_by < 0 else min(self.came_by, group)

    def told(self, said: tuple[int, bool] | None) -> None:
        """The newest word counts; of two of one moment the no."""
        if said is not None and (self.said is None or (said[0], not said[1]) >= (self.said[0], not self.said[1])):
            self.said, self.personalised = said, said[1]

    def described(self) -> tuple[Any, ...]:
        """All that it holds, to be compared."""
        return (
            self.number,
            self.user,
            self.personalised,
            self.said,
            self.revision,
            self.came_by,
            tuple(sorted(self.since.items())),
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
        catalogue: items of the snapshot, and those that came since.
        rules: what an event says of an item.
        most_users: a device with more users is nobody's.
    """

    def __init__(self, catalogue: Catalogue, rules: InteractionRules, most_users: int) -> None:
        snapshot = catalogue.snapshot
        self.catalogue, self.snapshot, self.rules, self.most_users = catalogue, snapshot, rules, most_users
        self.places = catalogue.places
        self.groups = {name: number for number, name in enumerate(snapshot.groups)}
        self.popularity = np.zeros(catalogue.known + MOST_NEW)
        self.popularity[: len(snapshot.popularity)] = snapshot.popularity
        self.begin = microseconds(snapshot.until)
        self.people: dict[str, Person] = {}
        self.devices: dict[str, Device] = {}
        self.ids: set[int] = set()
        self.rating_sum, self.ratings = snapshot.facts.rating_sum, snapshot.facts.ratings
        self.events, self.repeated, self.unknown_items = snapshot.facts.events, 0, 0
        self.shown = np.zeros(len(self.popularity))
        self.shown[: len(snapshot.shown)] = snapshot.shown
        self.shown_at = self.events - self.events % SHOWN_EVERY

    def repeats(self, event: Mapping[str, Any]) -> bool:
        """Whether an event of this id was accepted already."""
        hashed = id_hash(event["event_id"])
        return hashed in self.ids or self.snapshot.knows_id(hashed)

    def apply(self, event: Mapping[str, Any]) -> None:
        """Take an accepted event in. One whose id is known changes nothing."""
        hashed = id_hash(event["event_id"])
        if hashed in self.ids or self.snapshot.knows_id(hashed):
            self.repeated += 1
            return
        self.ids.add(hashed)
        self.events += 1
        if self.events % SHOWN_EVERY == 0:
            self.shown, self.shown_at = self.popularity.copy(), self.events
        moment, kind = _microseconds_of(event["timestamp"]), event["event_type"]
        name = self._owner(event.get("user_id"), event.get("anonymous_id"), kind)
        if name is None:
            return
        if self.groups and (group := place_of(self.groups, event)) >= 0:
            self.person(name).came(group)
        if kind == PERSONALISATION:
            person = self.person(name)
            person.told((moment, bool(event["value"])))
            person.changed()
            return
        item = event.get("item_id")
        if item is None:
            return
        place = self.places.get(item)
        if place is None:
            self.unknown_items += 1
            return
        weight = self.rules.weights.get(kind, 0.0)
        if not weight and kind not in (NOT_INTERESTED, LESS_LIKE_THIS):
            return
        person = self.person(name)
        if kind == NOT_INTERESTED:
            person.unwanted.add(place)
        elif kind == LESS_LIKE_THIS:
            person.less.add(place)
        if weight:
            value = event.get("value") if kind == "rating" else None
            met = Met(moment, weight > 0 and self._counts(kind, event), value or 0.0, int(value is not None))
            self._meets(person, place, met)
            self.rating_sum += met.rating_sum
            self.ratings += met.ratings
        person.changed()

    def _counts(self, kind: str, event: Mapping[str, Any]) -> bool:
        """Whether the amount of an event lets it count for anything, by the level of its type."""
        level = self.rules.levels.get(kind)
        if level is None or level.scale in ("constant", "own_middle"):
            return True
        amount = event.get(level.by)
        if amount is None:
            return True
        return bool(amount >= level.unit) if level.scale == "threshold" else bool(amount > 0)

    def _meets(self, person: Person, item: int, met: Met) -> None:
        """The person does something with an item; for users what is popular changes with it."""
        rated = bool(met.ratings) or self._rates(person)
        before = self._liked(person) if rated else None
        known = self.met(person, item)
        after = met if known is None else known.and_(met)
        person.since[item] = after
        if not person.user:
            return
        if before is not None:
            now = self._liked(person)
            for other in sorted(before.keys() | now.keys()):
                self._popular(other, before.get(other), now.get(other))
        else:
            self._popular(item, known.moment if known is not None and known.good else None, after.moment if after.good else None)

    def _popular(self, item: int, before: int | None, now: int | None) -> None:
        if before != now:
            self.popularity[item] += (0.0 if now is None else self._lately(now)) - (0.0 if before is None else self._lately(before))

    def _lately(self, moment: int) -> float:
        return float(2.0 ** min((moment - self.begin) / (HALF_LIFE_DAYS * DAY), MOST_DOUBLINGS))

    def met(self, person: Person, item: int) -> Met | None:
        """What a person has had to do with an item; None for nothing."""
        if item in person.since:
            return person.since[item]
        if person.number < 0:
            return None
        snapshot, part = self.snapshot, self._part(person)
        place = part.start + int(snapshot.pair_item[part].searchsorted(item))
        return self._met_at(place) if place < part.stop and snapshot.pair_item[place] == item else None

    def _met_at(self, place: int) -> Met:
        snapshot = self.snapshot
        ratings = (float(snapshot.pair_rating_sum[place]), int(snapshot.pair_ratings[place])) if len(snapshot.pair_ratings) else (0.0, 0)
        return Met(int(snapshot.pair_time[place]), bool(snapshot.pair_good[place]), *ratings)

    def _part(self, person: Person) -> slice:
        """Where the pairs of a person of the snapshot are."""
        if person.number < 0:
            return slice(0, 0)
        return slice(int(self.snapshot.pair_start[person.number]), int(self.snapshot.pair_start[person.number + 1]))

    def seen(self, person: Person) -> np.ndarray:
        """Items that a person has had to do with; some may stand there twice."""
        before = self.snapshot.pair_item[self._part(person)]
        return np.concatenate([before, np.array(list(person.since), dtype=np.int64)]) if person.since else before

    def _rates(self, person: Person) -> bool:
        """Whether what is liked depends on ratings."""
        if not self.rules.own_middle:
            return False
        before = len(self.snapshot.pair_ratings) and self.snapshot.pair_ratings[self._part(person)].any()
        return bool(before) or any(met.ratings for met in person.since.values())

    def all_met(self, person: Person) -> dict[int, Met]:
        """Everything that a person has had to do with."""
        part, snapshot = self._part(person), self.snapshot
        known = [snapshot.pair_time, snapshot.pair_good]
        if len(snapshot.pair_ratings):
            known += [snapshot.pair_rating_sum, snapshot.pair_ratings]
        before = itertools.starmap(Met, zip(*(column[part].tolist() for column in known), strict=True))
        return dict(zip(snapshot.pair_item[part].tolist(), before, strict=True)) | person.since

    def _liked(self, person: Person) -> dict[int, int]:
        """The items of a person of which something good was said, without those rated below the middle (``features.interactions.strengths``), with their moments."""
        pairs = self.all_met(person)
        ratings = sum(met.ratings for met in pairs.values())
        if not ratings or not self.rules.own_middle:
            return {item: met.moment for item, met in pairs.items() if met.good}
        middle = sum(met.rating_sum for met in pairs.values()) / ratings
        if ratings < FEW_RATINGS and self.ratings:
            middle = max(middle, self.rating_sum / self.ratings)
        return {
            item: met.moment
            for item, met in pairs.items()
            if met.good and not (met.ratings and met.rating_sum / met.ratings < middle - TOLERANCE)
        }

    def history(self, person: Person) -> tuple[np.ndarray, np.ndarray | None]:
        """The ``RECENT`` newest items of a person, the newest first, and the place of each (``shared_places``)."""
        if person.order is None or (person.order_at != self.ratings and person.since and self._rates(person)):
            person.order_at = self.ratings  # of people with few ratings the middle moves with those of others
            if person.since:
                recent = self.recent(person)
                moments = np.array([moment for _, moment in recent], dtype=np.int64)
                person.order = np.array([item for item, _ in recent], dtype=np.int64), shared_places(moments)
            else:
                items, moments = self._recent_before(person)
                person.order = items, shared_places(moments) if self.snapshot.shares_moments(person.number) else None
        return person.order

    def recent(self, person: Person) -> list[tuple[int, int]]:
        """The ``RECENT`` newest items of a person with their moments, the newest first."""
        if self._rates(person):
            liked = self._liked(person)
        else:  # what was good before stays so, and its moment only rises
            items, moments = self._recent_before(person)
            liked = dict(zip(items.tolist(), moments.tolist(), strict=True))
            liked |= {item: met.moment for item, met in person.since.items() if met.good}
        return sorted(liked.items(), key=lambda entry: (-entry[1], entry[0]))[:RECENT]

    def _recent_before(self, person: Person) -> tuple[np.ndarray, np.ndarray]:
        snapshot, number = self.snapshot, person.number
        part = slice(int(snapshot.history_start[number]), int(snapshot.history_start[number + 1])) if number >= 0 else slice(0, 0)
        return snapshot.history_item[part], snapshot.history_time[part]

    def acted(self, person: Person) -> bool:
        """Whether a person has done something that the list of the last run does not know."""
        return person.revision > 0 or (person.number >= 0 and bool(self.snapshot.acted[person.number]))

    def person(self, name: str) -> Person:
        """The person of a pseudonym, kept from now on."""
        found = self.people.get(name)
        if found is None:
            found = self.people[name] = self.seen_before(name)
        return found

    def seen_before(self, name: str, user: bool = True) -> Person:
        """The person as they are now, without keeping them.

        Args:
            user: whether somebody who is not known is a user; else a device.
        """
        if name in self.people:
            return self.people[name]
        snapshot, number = self.snapshot, self.snapshot.person(name)
        if number < 0:
            return Person(-1, user, snapshot.facts.consent_when_unknown)
        found = Person(number, not snapshot.of_devices[number], bool(snapshot.consent[number]))
        if (moment := int(snapshot.word_time[number])) != NO_WORD:
            found.said = moment, bool(snapshot.word[number])
        found.came_by = int(snapshot.came_by[number])
        start, end = int(snapshot.said_start[number]), int(snapshot.said_start[number + 1])
        for code in snapshot.said_item[start:end].tolist():
            (found.unwanted if code > 0 else found.less).add(abs(code) - 1)
        return found

    def owner_of(self, user: str | None, device: str | None) -> str | None:
        """Whose list is asked for: the user, else who is on the device, else the device."""
        if user is not None or device is None:
            return user
        known = self.device(device)
        return known.current or device

    def _owner(self, user: str | None, device: str | None, kind: str) -> str | None:
        if device is None:
            return user
        known = self.devices[device] = self.device(device)
        if user is None:
            owner = known.current or device
            if owner == device and device not in self.people:
                self.people[device] = self.seen_before(device, user=False)
        else:
            owner = user
            if not known.users and not known.left:
                self._join(user, device)
            known.users.add(user)
            known.current = user if len(known.users) <= self.most_users else None
        if kind == "logout":
            known.current, known.left = None, True
        return owner

    def device(self, device: str) -> Device:
        """A device as it is now, without keeping it."""
        found = self.devices.get(device)
        if found is not None:
            return found
        snapshot, number = self.snapshot, self.snapshot.device_of(device)
        if number < 0:
            return Device()
        members = snapshot.device_member[int(snapshot.device_start[number]) : int(snapshot.device_start[number + 1])]
        current = int(snapshot.device_user[number])
        return Device(
            {snapshot.people[member].decode() for member in members.tolist()},
            snapshot.people[current].decode() if current >= 0 else None,
            bool(snapshot.device_left[number]),
        )

    def _join(self, user: str, device: str) -> None:
        """What was done on a device before anybody logged in was done by who logs in first."""
        before = self.seen_before(device, user=False)
        part = self._part(before)
        did = self.acted(before) or part.stop > part.start
        if not did and before.came_by < 0:
            return
        person = self.person(user)
        person.came(before.came_by)
        for item, met in sorted(self.all_met(before).items()):
            self._meets(person, item, met)
        person.unwanted |= before.unwanted
        person.less |= before.less
        person.told(before.said)
        if did:
            person.changed()
        self.people[device] = Person(-1, False, self.snapshot.facts.consent_when_unknown)

    def described(self) -> dict[str, Any]:
        """All that it holds, to be compared: equal for equal events in equal order."""
        return {
            "people": {name: person.described() for name, person in sorted(self.people.items())},
            "devices": {name: (tuple(sorted(entry.users)), entry.current, entry.left) for name, entry in sorted(self.devices.items())},
            "popularity": self.popularity.tobytes(),
            "ratings": (self.rating_sum, self.ratings),
            "events": self.events,
        }


def microseconds(moment: dt.datetime) -> int:
    """A moment, UTC without zone, in microseconds since 1970."""
    return int((moment - EPOCH) // dt.timedelta(microseconds=1))


def _microseconds_of(text: str) -> int:
    return microseconds(dt.datetime.fromisoformat(text[:-1]))
