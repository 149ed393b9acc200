"""Segments keep their identity between trainings: new ones take the ids of the old ones that hold the same users."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

SAME = 0.3
"""Share of common users (of those in either) from which on a new segment is an old one."""
PART = 0.3
"""Share of an old segment's users in a second new one from which on it has split; of a new one's from an old, merged."""


@dataclass(frozen=True)
class Alignment:
    """Ids of the new segments in their order, and what has become of each: ``kept``, ``born``, ``died``, ``split``, ``merged``.

    ``changes`` has ``segment_id``, ``change``, ``other_segment_id``, ``users``.
    """

    ids: list[int]
    changes: pd.DataFrame


def align(old: np.ndarray, new: np.ndarray, segments: int, highest_id: int) -> Alignment:
    """Match segments by the users that both trainings place.

    The assignment that keeps the most users (Kuhn 1955) is taken over pairs; a pair that shares too few is no match.

    Args:
        old: ids of the users before, shape (users,); below 1 for none.
        new: numbers of the same users now, 0 .. segments - 1; below 0 for none.
        highest_id: ever given: a new segment never takes the id of a dead one.
    """
    from scipy.optimize import linear_sum_assignment

    known = np.unique(old[old > 0])
    table = np.array([[((old == before) & (new == now)).sum() for now in range(segments)] for before in known]).reshape(
        len(known), segments
    )
    before_sizes = np.array([(old == before).sum() for before in known])
    now_sizes = np.array([(new == now).sum() for now in range(segments)])
    ids = [0] * segments
    rows, columns = linear_sum_assignment(-table) if table.size else (np.array([], int), np.array([], int))
    changes: list[tuple[int, str, int | None, int]] = []
    for row, column in zip(rows, columns, strict=True):
        shared = table[row, column]
        if shared / max(before_sizes[row] + now_sizes[column] - shared, 1) >= SAME:
            ids[column] = int(known[row])
            changes.append((int(known[row]), "kept", None, int(shared)))
    for number in range(segments):
        if not ids[number]:
            highest_id += 1
            ids[number] = highest_id
            changes.append((highest_id, "born", None, int(now_sizes[number])))
    for row, before in enumerate(known):
        if int(before) not in ids:
            changes.append((int(before), "died", None, int(before_sizes[row])))
        for column in range(segments):
            shared = int(table[row, column])
            if ids[column] == int(before) or not shared:
                continue
            if shared >= PART * before_sizes[row]:
                changes.append((int(before), "split", ids[column], shared))
            if shared >= PART * now_sizes[column]:
                changes.append((ids[column], "merged", int(before), shared))
    return Alignment(ids, pd.DataFrame(changes, columns=["segment_id", "change", "other_segment_id", "users"]))
