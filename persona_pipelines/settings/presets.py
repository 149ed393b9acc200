"""Sources that are described already: ``preset: NAME`` stands for what its file in ``persona_pipelines/presets`` says.

A preset's file has the settings of a source (``format``, ``fields``, ``each`` ...), ``description``, and ``document``: where the
shape of the log is described by those who made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

ENDING = ".yaml"


@cache
def preset_of(name: str) -> dict[str, Any]:
    """The preset of a name that ``presets`` knows."""
    content: dict[str, Any] = yaml.safe_load((files("persona_pipelines") / "presets" / f"{name}{ENDING}").read_text(encoding="utf-8"))
    return content


@cache
def presets() -> dict[str, dict[str, Any]]:
    """All presets by name."""
    folder = files("persona_pipelines") / "presets"
    return {
        name: preset_of(name)
        for name in sorted(entry.name.removesuffix(ENDING) for entry in folder.iterdir() if entry.name.endswith(ENDING))
    }


class EventName(NamedTuple):
    """What a program calls an event: the ``field`` of its records that says it, the ``name`` there, and the type of the vocabulary."""

    field: str
    name: str
    type: str


def event_names(preset: dict[str, Any]) -> Iterator[EventName]:
    """How the program of a preset calls the types of events that the preset keeps."""
    described = preset.get("fields", {}).get("event_type")
    if not isinstance(described, dict):
        return
    renamed = described.get("map", {})
    for name, kind in renamed.items():
        yield EventName(described["from"], str(name), str(kind))
    for dropped in preset.get("drop_when", []):
        kept = dropped.get("not", {})
        if "from" in described and kept.get("field") == described["from"]:
            for name in kept.get("one_of", []):
                if name not in renamed:
                    yield EventName(described["from"], name, name)
    for case in described.get("cases", []):
        test = case["when"]
        for name in [*([test["equals"]] if "equals" in test else []), *test.get("one_of", [])]:
            yield EventName(test["field"], str(name), str(case["value"]))


def with_preset(source: Any) -> Any:
    """The settings of a source with those of its preset below them; a field that is set to null is not mapped.

    ``format`` with settings of the same type, or without a type, changes these alone.

    Raises:
        ValueError: there is no such preset.
    """
    if not isinstance(source, dict) or source.get("preset") is None:
        return source
    name = source["preset"]
    if not isinstance(name, str) or name not in presets():
        raise ValueError(f"preset: found {name!r}; expected one of {', '.join(presets())}")
    given = {key: value for key, value in presets()[name].items() if key != "document"}
    merged = {**given, **source}
    if isinstance(given.get("fields"), dict) and isinstance(source.get("fields"), dict):
        both = {**given["fields"], **source["fields"]}
        merged["fields"] = {key: value for key, value in both.items() if value is not None}
    written, own = given.get("format"), source.get("format")
    settings = {"type": written} if isinstance(written, str) else written
    if settings and isinstance(own, dict) and own.get("type", settings["type"]) == settings["type"]:
        merged["format"] = {**settings, **own}
    return merged
