"""What a check found: the same for every room, and shown by Dagster as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Finding:
    """Whether a check passed, in words where there is something to say, and in numbers."""

    passed: bool
    words: str | None = None
    numbers: Mapping[str, float | int | str] = field(default_factory=dict)


def unless(words: str | None, **numbers: float | int | str) -> Finding:
    """Passed, unless there is something to say."""
    return Finding(words is None, words, numbers)
