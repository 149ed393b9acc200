"""Readable names for segments, and a segment in a few sentences, from what clearly sets it apart and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from persona_pipelines.segments.differences import Difference, told
from persona_pipelines.segments.interests import listed
from persona_pipelines.warehouse.described import Log

PHRASES = 5


class Clear(Protocol):
    """What a name rests on: a feature, how far it lies from that of the others, and whether that is clear."""

    @property
    def feature(self) -> str: ...
    @property
    def deviation(self) -> float: ...
    @property
    def clear(self) -> bool: ...


@dataclass(frozen=True)
class Name:
    """A name, and what it says: features, each with 1 where it is above the others' and -1 where it is below."""

    text: str
    traits: tuple[tuple[str, int], ...] = ()

    def holds(self, differences: Iterable[Clear]) -> bool:
        """Whether it is true of people with these differences, or these rows of ``contracts.SEGMENT_DIFFERENCES``."""
        clear = {(entry.feature, 1 if entry.deviation >= 0 else -1) for entry in differences if entry.clear}
        return set(self.traits) <= clear


def segment_names(differences: Sequence[Sequence[Difference]], log: Log) -> list[Name]:
    """A name for each segment, no two alike: a noun and an adjective of its two clearest differences that are free.

    A segment that differs in one thing is called by it alone, and one that differs in nothing is average.
    """
    names: list[Name] = []
    for found in differences:
        taken = {name.text for name in names}
        candidates = _candidates(found, log)
        free = next((name for name in candidates if name.text not in taken), None)
        names.append(free or Name(_numbered(candidates[0].text, taken), candidates[0].traits))
    return names


def _candidates(found: Sequence[Difference], log: Log) -> list[Name]:
    spoken = told(found, log)
    nouns = [(words.noun, _trait(entry)) for entry, words in spoken if words.noun]
    adjectives = [(words.adjective, _trait(entry)) for entry, words in spoken if words.adjective]
    pairs = [
        Name(f"{adjective} {noun}", (trait, other))
        for place, (adjective, other) in enumerate(adjectives)
        for noun, trait in nouns[:place]
        if other != trait and adjective.lower() not in noun.lower().split()
    ]
    alone = [Name(noun[:1].upper() + noun[1:], (trait,)) for noun, trait in nouns]
    return pairs or alone or [Name(f"Average {log.people}")]


def _trait(difference: Difference) -> tuple[str, int]:
    return difference.feature, 1 if difference.deviation >= 0 else -1


def _numbered(text: str, taken: set[str]) -> str:
    number = 2
    while f"{text} {number}" in taken:
        number += 1
    return f"{text} {number}"


def described(differences: Sequence[Difference], count: int = 4) -> str:
    """The clear differences as text: ``monetary_value +1.8, recency_days -0.9``; ``none`` without any."""
    return ", ".join([f"{entry.feature} {entry.deviation:+.1f}" for entry in differences if entry.clear][:count]) or "none"


def paragraph(name: Name, share: float, differences: Sequence[Difference], interests: str, log: Log) -> str:
    """A segment in a few sentences, from what sets it apart.

    Args:
        interests: what is true of its interests, as a sentence.
    """
    phrases = [words.phrase for _, words in told(differences, log)][:PHRASES]
    sentences = [f"{name.text}: {share:.0%} of all users."]
    if not name.holds(differences):
        sentences.append("The name is that of the training; its people of today do not differ from the others in that way.")
    if phrases:
        sentences.append(f"Compared with the others, they {listed(phrases)}.")
    else:
        sentences.append("They differ little from the others in what the log holds.")
    return " ".join([*sentences, interests] if interests else sentences)
