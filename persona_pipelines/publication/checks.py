"""Whether a warehouse may take the place of the published one: not where most of it is gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from persona_pipelines.findings import Finding
from persona_pipelines.warehouse import contracts

WATCHED = (contracts.EVENTS.full_name, contracts.USERS.full_name, contracts.ITEMS.full_name)
FEWEST = 100
"""Rows below which a table is too small to tell a loss from a change."""


def shrunk(
    published: Mapping[str, int], now: Mapping[str, int], smallest: float, logs: Sequence[str] = (), lists: Sequence[str] = ()
) -> Finding:
    """Whether events, people, items or a list became much fewer than they are in the published copy.

    Args:
        published, now: rows of tables by their full name.
        smallest: share of the published rows that has to be left.
        logs, lists: tables of the sources of events, and of lists of customers and items. Less of one source of events shows among all of them; a
            list that was cut off looks whole.
    """

    def fewer(name: str) -> bool:
        before = published.get(name, 0)
        return before >= FEWEST and now.get(name, 0) < smallest * before

    lost = [name for name in (*WATCHED, *lists) if fewer(name)]
    told = [f"{name} has {now.get(name, 0):,} rows, the published copy {published[name]:,}" for name in lost]
    sources = [f"{name} {now.get(name, 0):,} of {published[name]:,}" for name in logs if lost and fewer(name)]
    of = f" (of the sources {', '.join(sources)})" if sources else ""
    words = (
        f"{'; '.join(told)}{of}: not published. Are the files whole? Bring them back and run again; where fewer are meant, run with --accept-shrink"
        if lost
        else None
    )
    return Finding(not lost, words, {name: now.get(name, 0) for name in WATCHED})
