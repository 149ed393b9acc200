"""Whether a warehouse may take the place of the published one: not where most of it is gone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from persona_pipelines.warehouse import contracts

WATCHED = (contracts.EVENTS.full_name, contracts.USERS.full_name, contracts.ITEMS.full_name)
FEWEST = 100
"""Rows below which a table is too small to tell a loss from a change."""


@dataclass(frozen=True)
class Finding:
    """What a check found: whether it passed, in words, and in numbers for Dagster's page."""

    passed: bool
    words: str
    numbers: dict[str, float]


def shrunk(published: Mapping[str, int], now: Mapping[str, int], smallest: float) -> Finding:
    """Whether events, people or items became much fewer than they are in the published copy.

    Args:
        published, now: rows of tables by their full name.
        smallest: share of the published rows that has to be left.
    """
    lost: list[str] = []
    numbers: dict[str, float] = {}
    for name in WATCHED:
        before, left = published.get(name, 0), now.get(name, 0)
        numbers[name] = left
        if before >= FEWEST and left < smallest * before:
            lost.append(f"{name} has {left:,} rows, the published copy {before:,}")
    words = (
        f"{'; '.join(lost)}: not published. Where that is meant, run with --accept-shrink; else run all days again (persona run)"
        if lost else "no table has lost many of its rows"
    )  # fmt: skip
    return Finding(not lost, words, numbers)
