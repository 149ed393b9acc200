"""Sources that are described already: ``preset: NAME`` stands for what its file in ``persona_pipelines/presets`` says.

A preset's file has the settings of a source (``format``, ``fields``, ``each`` ...), ``description``, and ``document``: where the
shape of the log is described by those who made it.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml


@lru_cache(maxsize=1)
def presets() -> dict[str, dict[str, Any]]:
    """All presets by name."""
    folder = files("persona_pipelines") / "presets"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return {name.removesuffix(".yaml"): yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in names}


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
