"""The features of a user in one table, ``user_features.yaml``: what each is, where it is used, and its words in every language."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from persona_pipelines.errors import ProjectError

TABLE = Path(__file__).with_name("user_features.yaml")
ENGLISH, CHINESE = "en", "zh"
SEGMENTS, PREDICTIONS = ("skewed", "plain"), ("number", "share")
NAMED = ("noun", "adjective", "phrase")
"""Words without which a feature cannot name a segment."""
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
MEASURES = ("mean", "positive")
VISITS = "visits"
PEOPLE = "{people}"


class DescriptionError(ProjectError):
    """The table of features is wrong; the message names the feature, what was found and what is expected."""


@dataclass(frozen=True)
class Words:
    """What a value above, or below, the others' makes of people; empty where nothing is said.

    Attributes:
        noun, adjective: of the name of a segment.
        phrase: of several people, after "compared with the others, they"; ``statement``: of one person.
        advice: how to speak to them.
        same_as: features that say the same of such people: no name has the words of both.
    """

    noun: str = ""
    adjective: str = ""
    phrase: str = ""
    statement: str = ""
    advice: str = ""
    same_as: tuple[str, ...] = ()


@dataclass(frozen=True)
class InterestVerb:
    """What people do with what is of interest to them: of several people, of one, and in Chinese."""

    plural: str
    singular: str
    chinese: str

    def of_people(self, language: str = ENGLISH) -> str:
        """Of several people."""
        return self.chinese if language == CHINESE else self.plural


INTEREST_VERBS = {
    "attention": InterestVerb("give attention to", "gives attention to", "注意力"),
    "purchases": InterestVerb("buy", "buys", "购买"),
    "ratings": InterestVerb("rate", "rates", "评分"),
    "activity": InterestVerb("turn to", "turns to", "活动"),
}
"""By what shares of categories are made of (``Log.interest``)."""


@dataclass(frozen=True)
class Log:
    """What a log is a log of, as far as words depend on it.

    Attributes:
        visits: whether people are seen to visit, look and read, and do not only order or rate.
        dated: whether events have a date that is more than their order.
        people: what to call them: visitors, customers, raters or users.
        interest: what shares of categories are shares of: attention, purchases, ratings or activity.
    """

    visits: bool = True
    dated: bool = True
    people: str = "visitors"
    interest: str = "attention"


A_SHOP = Log()
"""A log of visits that tells of attention."""


@dataclass(frozen=True)
class Facts:
    """What is known of the people described.

    Attributes:
        mean: of the feature, over those of whom it is known.
        positive: the share of these in whom it is above 0.
    """

    mean: float
    positive: float
    log: Log


@dataclass(frozen=True)
class Variant:
    """Words by language, and the conditions without which they would not be true."""

    when: tuple[str, ...]
    words: Mapping[str, Words]

    def holds(self, facts: Facts) -> bool:
        return all(_meets(condition, facts) for condition in self.when)


@dataclass(frozen=True)
class Feature:
    """One feature of a user.

    Attributes:
        kind: of its column (``contracts.KINDS``).
        needs: the evidence in a log without which it is null (``features.support``).
        segments, predictions: how it is used there; empty where it is not.
        instead_of: the feature in whose place it stands in segments where that has no support.
        volume: whether it mostly says how much somebody does.
        profile: the part of a profile that has its statement.
        labels: its name by language.
        high, low: its words, the more special ones first.
    """

    name: str
    kind: str
    description: str
    unit: str
    needs: tuple[str, ...]
    segments: str
    predictions: str
    instead_of: str
    volume: bool
    profile: str
    labels: Mapping[str, str]
    high: tuple[Variant, ...]
    low: tuple[Variant, ...]

    def words(self, deviation: float, facts: Facts, language: str = ENGLISH) -> Words:
        """The words for people whose value is that far above the others', or below them; empty where none would be true of them."""
        variants = self.high if deviation >= 0 else self.low
        found = next((variant.words.get(language, Words()) for variant in variants if variant.holds(facts)), Words())
        return replace(found, noun=found.noun.replace(PEOPLE, facts.log.people))


def read(text: str) -> dict[str, Feature]:
    """The features of a table, in its order.

    Raises:
        DescriptionError: something is missing that the use of a feature asks for, or has another name.
    """
    return {name: _feature(name, entry) for name, entry in yaml.safe_load(text).items()}


def _meets(condition: str, facts: Facts) -> bool:
    if condition == VISITS:
        return facts.log.visits
    measure, comparison, number = condition.split()
    return COMPARISONS[comparison](getattr(facts, measure), float(number))


def _condition(text: Any) -> str:
    """A condition as it is written, once it is known to be one."""
    parts = str(text).split()
    if parts == [VISITS]:
        return VISITS
    if len(parts) != 3 or parts[0] not in MEASURES or parts[1] not in COMPARISONS:
        raise ValueError(
            f"when: found {text!r}; expected {VISITS}, or {' or '.join(MEASURES)}, one of {', '.join(COMPARISONS)}, and a number"
        )
    float(parts[2])
    return " ".join(parts)


def _variant(entry: Mapping[str, Any]) -> Variant:
    rest = dict(entry)
    when, chinese, same_as = rest.pop("when", []), rest.pop("zh", {}), tuple(rest.pop("same_as", ()))
    return Variant(tuple(_condition(text) for text in when), {ENGLISH: Words(**rest, same_as=same_as), CHINESE: Words(**chinese)})


def _feature(name: str, entry: Mapping[str, Any]) -> Feature:
    rest = dict(entry)
    try:
        sides: dict[str, Sequence[Any] | None] = {side: rest.pop(side, None) for side in ("high", "low")}
        high, low = (tuple(_variant(variant) for variant in variants or ()) for variants in sides.values())
        found = Feature(
            name,
            rest.pop("kind"),
            rest.pop("description"),
            rest.pop("unit", ""),
            tuple(rest.pop("needs")),
            rest.pop("segments", ""),
            rest.pop("predictions", ""),
            rest.pop("instead_of", ""),
            rest.pop("volume", False),
            rest.pop("profile", ""),
            {ENGLISH: name.replace("_", " "), **rest.pop("labels")},
            high,
            low,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DescriptionError(f"{TABLE.name}: {name}: {error}") from None
    for setting, value, known in (("segments", found.segments, SEGMENTS), ("predictions", found.predictions, PREDICTIONS)):
        if value not in ("", *known):
            raise DescriptionError(f"{TABLE.name}: {name}.{setting}: found {value!r}; expected one of {', '.join(known)}")
    if rest:
        raise DescriptionError(f"{TABLE.name}: {name}: found {sorted(rest)[0]!r}, which means nothing")
    if not found.labels.get(CHINESE):
        raise DescriptionError(f"{TABLE.name}: {name}: labels.{CHINESE} missing")
    for side, variants in (("high", high), ("low", low)):
        if found.segments and sides[side] is None:
            raise DescriptionError(f"{TABLE.name}: {name} tells segments apart and has no words for it: {side} missing")
        for number, variant in enumerate(variants):
            english, chinese = variant.words[ENGLISH], variant.words[CHINESE]
            missing = [word for word in NAMED if found.segments and not getattr(english, word)]
            missing += [f"{CHINESE}.phrase"] if found.segments and not chinese.phrase else []
            if missing:
                raise DescriptionError(
                    f"{TABLE.name}: {name} tells segments apart and has no words for it: {side}[{number}].{missing[0]} missing"
                )
            if bool(english.advice) != bool(chinese.advice):
                raise DescriptionError(f"{TABLE.name}: {name}.{side}[{number}].advice stands in one language alone")
    return found


FEATURES = read(TABLE.read_text(encoding="utf-8"))
