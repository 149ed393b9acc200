"""Recommenders of other packages: a company adds its own without touching this one.

A package names its class in the group ``persona_pipelines.recommenders`` of its entry points, under the word that stands as ``method`` in
a configuration. The class is a ``recommendations.models.Recommender`` whose attribute ``settings_class`` is its settings, a ``MethodSettings``.
"""

from __future__ import annotations

import contextlib
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

GROUP = "persona_pipelines.recommenders"


@lru_cache
def own_recommender(method: str) -> Any | None:
    """The class of a method of another package; None where no package has one of that name.

    Raises:
        ValueError: it is named and cannot be loaded, or has no settings.
    """
    entry = next((entry for entry in entry_points(group=GROUP) if entry.name == method), None)
    if entry is None:
        return None
    try:
        found = entry.load()
    except Exception as error:  # noqa: BLE001 - whatever the other package raises
        raise ValueError(f"the method {method!r} ({entry.value}) cannot be loaded: {type(error).__name__}: {error}") from None
    if not hasattr(found, "settings_class"):
        raise ValueError(f"the method {method!r} ({entry.value}) has no settings_class, the class of its settings")
    return found


def load_all() -> None:
    """Load every recommender of another package that can be, so that their stored models are known."""
    for entry in entry_points(group=GROUP):
        with contextlib.suppress(ValueError):
            own_recommender(entry.name)
