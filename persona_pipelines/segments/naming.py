"""Readable names for segments, and a segment in a few sentences, from what clearly sets it apart and nothing else."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from persona_pipelines.segments.contrasts import Clear, Contrast, sureness
from persona_pipelines.segments.differences import Difference, told
from persona_pipelines.segments.interests import listed
from persona_pipelines.warehouse.described import CHINESE, ENGLISH, Log, Words

PHRASES = 5
TOLD_APART = {ENGLISH: "{name} who {phrase}", CHINESE: "{name}（其中{phrase}）"}
"""A name that several segments share, with what tells one of them from all the others, by language."""


@dataclass(frozen=True)
class Name:
    """A name, and what it says.

    Attributes:
        traits: features, each with 1 where it is above the others' and -1 where it is below.
        shared: the name without what tells it from other segments of the same name; empty where it is the same.
        apart: the feature, or category of interest (``interests.INTEREST``), that tells it from each of them, and the direction; None without.
    """

    text: str
    traits: tuple[tuple[str, int], ...] = ()
    shared: str = ""
    apart: tuple[str, int] | None = None

    @property
    def stem(self) -> str:
        """What segments of the same name are all called."""
        return self.shared or self.text

    def holds(self, differences: Iterable[Clear], namesakes: Sequence[Iterable[Clear]] = ()) -> bool:
        """Whether it is true of people with these differences, or these rows of ``contracts.SEGMENT_DIFFERENCES``.

        Args:
            namesakes: their differences to the people of each other segment with the same stem.
        """
        return set(self.traits) <= _clear(differences) and self.is_apart(namesakes)

    def is_apart(self, namesakes: Sequence[Iterable[Clear]]) -> bool:
        """Whether what tells it from its namesakes is true of each of them; of nobody it is not."""
        return self.apart is None or (bool(namesakes) and all(self.apart in _clear(contrasts) for contrasts in namesakes))


def _clear(differences: Iterable[Clear]) -> set[tuple[str, int]]:
    return {_trait(entry) for entry in differences if entry.clear}


def segment_names(differences: Sequence[Sequence[Difference]], log: Log) -> list[Name]:
    """A name for each segment: a noun and an adjective of its two clearest differences that are free, alike only where none are left.

    A segment that differs in one thing is called by it alone, and one that differs in nothing is average.
    """
    names: list[Name] = []
    for found in differences:
        taken = {name.text for name in names}
        candidates = _candidates(found, log)
        names.append(next((name for name in candidates if name.text not in taken), candidates[0]))
    return names


def told_apart(
    names: Sequence[Name], log: Log, between: Callable[[int, int], Sequence[Contrast]], kept: Collection[int] = ()
) -> list[Name]:
    """The names, no two alike: namesakes get the clearest thing in which their people differ from those of each other one.

    A number tells them apart only where nothing else does.

    Args:
        between: the differences of the people at one place to those at another.
        kept: places of names that the segments have had before: these stay as they are where they are still true.
    """
    by_stem: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        by_stem.setdefault(name.stem, []).append(place)
    found: dict[int, Name] = {}
    taken = set(by_stem)
    for stem, places in by_stem.items():
        contrasts = {place: [between(place, other) for other in places if other != place] for place in places}
        for place in places:
            if place in kept and names[place].apart and names[place].is_apart(contrasts[place]):
                found[place] = names[place]
                taken.add(names[place].text)
        phrased: dict[int, Name | None] = {}
        for place in (place for place in places if place not in found):
            phrased[place] = phrase = _apart(stem, names[place].traits, contrasts[place], taken, log)
            taken |= {phrase.text} if phrase else set()
        # Alone it is the name of one that nothing tells apart, else of one that has had it.
        had = {place for place in phrased if place in kept and names[place].text == stem}
        alone = min(
            (place for place, phrase in phrased.items() if phrase is None or place in had),
            key=lambda place: (phrased[place] is not None, place not in had),
            default=None,
        )
        for place, phrase in phrased.items():
            if place == alone:
                found[place] = Name(stem, names[place].traits)
            else:
                found[place] = phrase or Name(_numbered(stem, taken, names[place].text if place in kept else ""), names[place].traits, stem)
                taken.add(found[place].text)
    return [found[place] for place in range(len(names))]


def _apart(
    stem: str, traits: tuple[tuple[str, int], ...], contrasts: Sequence[Sequence[Contrast]], taken: set[str], log: Log
) -> Name | None:
    """The name with the clearest of the differences to all namesakes that has words; None without any."""
    if not contrasts:
        return None
    of_each = [{_trait(entry): entry for entry in entries if entry.clear} for entries in contrasts]
    # Rounded: of two features that are the same by their nature, last digits do not choose.
    surest = {trait: round(min(sureness(entries[trait]) for entries in of_each), 6) for trait in set.intersection(*map(set, of_each))}
    for trait in sorted(surest, key=lambda trait: (-surest[trait], trait)):
        phrase = of_each[0][trait].words(log).phrase
        text = TOLD_APART[ENGLISH].format(name=stem, phrase=phrase)
        if phrase and text not in taken:
            return Name(text, traits, stem, trait)
    return None


def _candidates(found: Sequence[Difference], log: Log) -> list[Name]:
    spoken = told(found, log)
    nouns = [(words, _trait(entry)) for entry, words in spoken if words.noun]
    adjectives = [(words, _trait(entry)) for entry, words in spoken if words.adjective]
    pairs = [
        Name(f"{one.adjective} {other.noun}", (trait, own))
        for place, (one, own) in enumerate(adjectives)
        for other, trait in nouns[:place]
        if own != trait and not _same(one, own[0], other, trait[0])
    ]
    alone = [Name(words.noun[:1].upper() + words.noun[1:], (trait,)) for words, trait in nouns]
    return pairs or alone or [Name(f"Average {log.people}")]


def _same(adjective: Words, feature: str, noun: Words, other: str) -> bool:
    """Whether an adjective says of people what a noun says already."""
    return adjective.adjective.lower() in noun.noun.lower().split() or other in adjective.same_as or feature in noun.same_as


def _trait(difference: Clear) -> tuple[str, int]:
    return difference.feature, 1 if difference.deviation >= 0 else -1


def _numbered(stem: str, taken: set[str], before: str) -> str:
    """The name with the first number that is free, or with the one that it had before."""
    if re.fullmatch(re.escape(stem) + r" \d+", before) and before not in taken:
        return before
    return next(text for number in itertools.count(2) if (text := f"{stem} {number}") not in taken)


def described(differences: Sequence[Difference], count: int = 4) -> str:
    """The clear differences as text: ``monetary_value +1.8, recency_days -0.9``; ``none`` without any."""
    return ", ".join([f"{entry.feature} {entry.deviation:+.1f}" for entry in differences if entry.clear][:count]) or "none"


def paragraph(
    name: Name,
    share: float,
    differences: Sequence[Difference],
    interests: str,
    log: Log,
    namesakes: Sequence[Sequence[Contrast]] = (),
) -> str:
    """A segment in a few sentences, from what sets it apart.

    Args:
        interests: what is true of its interests, as a sentence.
        namesakes: the differences to each other segment of the same name.
    """
    phrases = [words.phrase for _, words in told(differences, log)][:PHRASES]
    sentences = [f"{name.text}: {share:.0%} of all users."]
    if not name.holds(differences, namesakes):
        sentences.append("The name is that of the training; its people of today do not differ from the others in that way.")
    if phrases:
        sentences.append(f"Compared with the others, they {listed(phrases)}.")
    elif share < 1:  # of everybody there are no others
        sentences.append("They differ little from the others in what the log holds.")
    return " ".join([*sentences, interests] if interests else sentences)
