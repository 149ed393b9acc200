"""A live state as a snapshot of its own: what a start would otherwise take in event by event, and what a process would hold in memory for as long as it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from persona_pipelines.serving.snapshot import NO_WORD, Scores, Snapshot, load
from persona_pipelines.serving.state import LiveState


def compacted(state: LiveState, folder: Path, files: Sequence[str]) -> Snapshot:
    """The state as a snapshot in ``folder``: lists made from it are those of the state.

    Args:
        files: of the journal, all of whose events the state has taken in.
    """
    before = state.snapshot
    people = People.of(state)
    touched = {people.place(name): state.people[name] for name in people.touched}
    met = {number: sorted(state.all_met(person).items()) for number, person in touched.items()}
    recent = {number: state.recent(person) for number, person in touched.items()}
    pairs = people.ragged(
        before.pair_start,
        {"pair_item": before.pair_item, "pair_time": before.pair_time, "pair_good": before.pair_good},
        {number: [(item, entry.moment, entry.good) for item, entry in found] for number, found in met.items()},
    )
    ratings: dict[str, np.ndarray] = {"pair_rating_sum": np.array([]), "pair_ratings": np.array([], dtype=np.int32)}
    if state.ratings:
        rated = len(before.pair_ratings) == len(before.pair_item)
        ratings = people.ragged(
            before.pair_start,
            {
                "pair_rating_sum": before.pair_rating_sum if rated else np.zeros(len(before.pair_item)),
                "pair_ratings": before.pair_ratings if rated else np.zeros(len(before.pair_item), dtype=np.int32),
            },
            {number: [(entry.rating_sum, entry.ratings) for _, entry in found] for number, found in met.items()},
        )
        del ratings["start"]
    histories = people.ragged(before.history_start, {"history_item": before.history_item, "history_time": before.history_time}, recent)
    said = people.ragged(
        before.said_start,
        {"said_item": before.said_item},
        {
            number: [(code,) for code in sorted([item + 1 for item in person.unwanted] + [-(item + 1) for item in person.less])]
            for number, person in touched.items()
        },
    )
    profiles = people.ragged(before.profile_start, {"profile": before.profile}, {})
    of_devices = people.column(before.of_devices, False)
    came_by = people.column(before.came_by, -1)
    consent, acted = people.column(before.consent, before.facts.consent_when_unknown), people.column(before.acted, False)
    word_time, word = people.column(before.word_time, NO_WORD), people.column(before.word, False)
    for number, person in touched.items():
        if person.said is not None:
            word_time[number], word[number] = person.said
        came_by[number] = person.came_by
        of_devices[number], consent[number], acted[number] = not person.user, person.personalised, acted[number] or person.revision > 0
    starts = {"pair_start": pairs, "history_start": histories, "said_start": said, "profile_start": profiles}
    columns: dict[str, Any] = {name: found.pop("start") for name, found in starts.items()}
    columns |= pairs | ratings | histories | said | profiles | _devices(state, people)
    replace(
        before,
        folder=folder,
        facts=replace(before.facts, rating_sum=state.rating_sum, ratings=state.ratings, whole_files=list(files), events=state.events),
        scores={version: _of_people(found, people) for version, found in before.scores.items()},
        popularity=state.popularity[: state.catalogue.count],
        shown=state.shown[: state.catalogue.count],
        people=people.names,
        of_devices=of_devices,
        came_by=came_by,
        segment=people.column(before.segment, -1),
        consent=consent,
        word_time=word_time,
        word=word,
        acted=acted,
        ids=np.union1d(before.ids, np.array(sorted(state.ids), dtype=np.uint64)),
        **columns,
    ).save()
    return load(folder)


@dataclass(frozen=True)
class People:
    """Who is in the new snapshot.

    Attributes:
        names: pseudonyms, sorted.
        old: where each of those before is now; ``kept``: whether they are still there at all.
        touched: those of whom something has become known since.
    """

    names: np.ndarray
    old: np.ndarray
    kept: np.ndarray
    touched: Sequence[str]

    @classmethod
    def of(cls, state: LiveState) -> People:
        before = [name.decode() for name in state.snapshot.people.tolist()]
        # A device that somebody logged in on has nothing of its own any more.
        gone = {name for name, person in state.people.items() if person.number < 0 and not person.revision and person.came_by < 0}
        on_devices = {user for device in state.devices.values() for user in device.users}
        names = np.array(sorted((set(before) | state.people.keys()) - gone | on_devices), dtype="S32")
        kept = np.array([name not in gone for name in before], dtype=bool)
        return cls(names, names.searchsorted(state.snapshot.people), kept, [name for name in state.people if name not in gone])

    def place(self, name: str) -> int:
        return int(self.names.searchsorted(name.encode()))

    def column(self, before: np.ndarray, value: Any) -> np.ndarray:
        """A column of people; ``value`` for those who are new."""
        found = np.full((len(self.names), *before.shape[1:]), value, dtype=before.dtype)
        found[self.old[self.kept]] = before[self.kept]
        return found

    def ragged(
        self, start: np.ndarray, columns: Mapping[str, np.ndarray], rows: Mapping[int, Sequence[tuple[Any, ...]]]
    ) -> dict[str, np.ndarray]:
        """Columns of several rows a person, and their ``start``: those of before, and ``rows`` in the place of those of some people."""
        lengths, stays = np.zeros(len(self.names), dtype=np.int64), self.kept.copy()
        lengths[self.old[self.kept]] = np.diff(start)[self.kept]
        for number, own in rows.items():
            lengths[number] = len(own)
        stays &= ~np.isin(self.old, np.array(list(rows), dtype=np.int64))
        new_start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        owner = np.repeat(np.arange(len(self.old)), np.diff(start))
        source = np.flatnonzero(stays[owner])
        target = new_start[self.old[owner[source]]] + source - start[owner[source]]
        order = sorted(rows)
        own_target = np.concatenate(
            [np.arange(new_start[number], new_start[number + 1]) for number in order] or [np.array([], dtype=np.int64)]
        )
        found: dict[str, np.ndarray] = {"start": new_start}
        for place, (name, before) in enumerate(columns.items()):
            found[name] = np.empty(new_start[-1], dtype=before.dtype)
            found[name][target] = before[source]
            found[name][own_target] = np.array([row[place] for number in order for row in rows[number]], dtype=before.dtype)
        return found


def _of_people(scores: Scores, people: People) -> Scores:
    columns: dict[str, Any] = {
        name: people.column(getattr(scores, name), value)
        for name, value in (("nightly_item", -1), ("nightly_score", 0), ("nightly_kind", 0))
    }
    return replace(scores, **columns)


def _devices(state: LiveState, people: People) -> dict[str, np.ndarray]:
    """The arrays of devices; somebody who is on one has become known by that."""
    known = {name.decode(): state.device(name.decode()) for name in state.snapshot.device.tolist()} | {
        name: device for name, device in state.devices.items() if device.users or device.left
    }
    names = sorted(known)
    members = [sorted(people.place(user) for user in known[name].users) for name in names]
    return {
        "device": np.array(names, dtype="S32"),
        "device_user": np.array([-1 if (user := known[name].current) is None else people.place(user) for name in names], dtype=np.int64),
        "device_left": np.array([known[name].left for name in names], dtype=bool),
        "device_start": np.concatenate([[0], np.cumsum([len(some) for some in members])]).astype(np.int64),
        "device_member": np.array([number for some in members for number in some], dtype=np.int32),
    }
