"""Whether a warehouse may take the place of the published one: not where most of it is gone."""

from __future__ import annotations

from collections.abc import Mapping

from persona_pipelines.findings import Finding
from persona_pipelines.warehouse import contracts

WATCHED = (contracts.EVENTS.full_name, contracts.USERS.full_name, contracts.ITEMS.full_name)
FEWEST = 100
"""Rows below which a table is too small to tell a loss from a change."""


def shrunk(published: Mapping[str, int], now: Mapping[str, int], smallest: float) -> Finding:
    """Whether events, people or items became much fewer than they are in the published copy.

    Args:
        published, now: rows of tables by their full name.
        smallest: share of the published rows that has to be left.
    """
    lost: list[str] = []
    numbers: dict[str, int] = {}
    for name in WATCHED:
        before, left = published.get(name, 0), now.get(name, 0)
        numbers[name] = left
        if before >= FEWEST and left < smallest * before:
            lost.append(f"{name} has {left:,} rows, the published copy {before:,}")
    words = (
        f"{'; '.join(lost)}: not published. Where that is meant, run with --accept-shrink; else run all days again (persona run)"
        if lost
        else None
    )
    return Finding(not lost, words, numbers)
