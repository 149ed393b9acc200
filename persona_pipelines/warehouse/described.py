"""The features of a user in one table, ``user_features.yaml``: what each is, where it is used, and its words in every language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from persona_pipelines.errors import ProjectError

TABLE = Path(__file__).with_name("user_features.yaml")
ENGLISH, CHINESE = "en", "zh"
SEGMENTS, PREDICTIONS = ("skewed", "plain"), ("number", "share")
NAMED = ("noun", "adjective", "phrase")
"""Words without which a feature cannot name a segment."""


class DescriptionError(ProjectError):
    """The table of features is wrong; the message names the feature, what was found and what is expected."""


@dataclass(frozen=True)
class Words:
    """What a value above, or below, the others' makes of a person; empty where nothing is said.

    Attributes:
        noun, adjective: of the name of a segment.
        phrase: of several people, after "they"; ``statement``: of one person.
        advice: how to speak to them.
    """

    noun: str = ""
    adjective: str = ""
    phrase: str = ""
    statement: str = ""
    advice: str = ""


@dataclass(frozen=True)
class Feature:
    """One feature of a user.

    Attributes:
        kind: of its column (``contracts.KINDS``).
        segments, predictions: how it is used there; empty where it is not.
        volume: whether it mostly says how much somebody does.
        profile: the part of a profile that has its statement.
        labels: its name by language.
        high, low: its words by language.
    """

    name: str
    kind: str
    description: str
    unit: str
    segments: str
    predictions: str
    volume: bool
    profile: str
    labels: Mapping[str, str]
    high: Mapping[str, Words]
    low: Mapping[str, Words]

    def words(self, deviation: float, language: str = ENGLISH) -> Words:
        """The words for a value that far above the others', or below them."""
        return (self.high if deviation >= 0 else self.low).get(language, Words())


def read(text: str) -> dict[str, Feature]:
    """The features of a table, in its order.

    Raises:
        DescriptionError: something is missing that the use of a feature asks for, or has another name.
    """
    return {name: _feature(name, entry) for name, entry in yaml.safe_load(text).items()}


def _feature(name: str, entry: Mapping[str, Any]) -> Feature:
    rest = dict(entry)
    chinese = rest.pop("zh", {})
    try:
        high, low = ({ENGLISH: Words(**rest.pop(side, {})), CHINESE: Words(**chinese.get(side, {}))} for side in ("high", "low"))
        labels = {ENGLISH: name.replace("_", " "), CHINESE: chinese.get("label", "")}
        found = Feature(
            name,
            rest.pop("kind"),
            rest.pop("description"),
            rest.pop("unit", ""),
            rest.pop("segments", ""),
            rest.pop("predictions", ""),
            rest.pop("volume", False),
            rest.pop("profile", ""),
            labels,
            high,
            low,
        )
    except (KeyError, TypeError) as error:
        raise DescriptionError(f"{TABLE.name}: {name}: {error}") from None
    for setting, value, known in (("segments", found.segments, SEGMENTS), ("predictions", found.predictions, PREDICTIONS)):
        if value not in ("", *known):
            raise DescriptionError(f"{TABLE.name}: {name}.{setting}: found {value!r}; expected one of {', '.join(known)}")
    if rest:
        raise DescriptionError(f"{TABLE.name}: {name}: found {sorted(rest)[0]!r}, which means nothing")
    if found.segments:
        missing = [
            f"{side}.{word}"
            for side, words in (("high", high[ENGLISH]), ("low", low[ENGLISH]))
            for word in NAMED
            if not getattr(words, word)
        ]
        missing += [f"zh.{side}.phrase" for side, words in (("high", high[CHINESE]), ("low", low[CHINESE])) if not words.phrase]
        missing += [] if labels[CHINESE] else ["zh.label"]
        if missing:
            raise DescriptionError(f"{TABLE.name}: {name} tells segments apart and has no words for it: {', '.join(missing)} missing")
    for side, words in (("high", high), ("low", low)):
        if bool(words[ENGLISH].advice) != bool(words[CHINESE].advice):
            raise DescriptionError(f"{TABLE.name}: {name}.{side}.advice stands in one language alone")
    return found


FEATURES = read(TABLE.read_text(encoding="utf-8"))
