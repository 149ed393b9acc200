"""Planted tastes: women like even items, men odd ones; item 19 and user 39 have no interactions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.recommendations.data import Interactions, build

END = pd.Timestamp("2025-09-30")
ITEMS = pd.DataFrame(
    {
        "item_id": [f"i{n:02d}" for n in range(20)],
        "title": [f"{'even' if n % 2 == 0 else 'odd'} thing {n}" for n in range(20)],
        "category": ["even" if n % 2 == 0 else "odd" for n in range(20)],
    }
)
USERS = pd.DataFrame({"user_id": [f"u{n:02d}" for n in range(40)], "gender": ["f" if n % 2 == 0 else "m" for n in range(40)]})
FOLLOWS = pd.DataFrame(
    [(f"u{n:02d}", f"u{(n + 2 * step) % 38:02d}") for n in range(38) for step in (1, 2, 3)], columns=["user_id", "target_user_id"]
)
"""Each follows three of their kind, but the last, who follows nobody."""
SEGMENTS = {f"u{n:02d}": 1 + n % 2 for n in range(39)}


def tastes(seed: int = 3) -> pd.DataFrame:
    """Each user has 6 of the 9 or 10 items of their kind, rated 4 or 5, and one of the other, rated 1."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(39):
        liked = generator.choice([n for n in range(19) if n % 2 == user % 2], 6, replace=False)
        other = generator.choice([n for n in range(19) if n % 2 != user % 2], 1)
        for item, rating in [*((item, int(generator.integers(4, 6))) for item in liked), (other[0], 1)]:
            rows.append((f"u{user:02d}", f"i{item:02d}", 1.0, END - pd.Timedelta(days=int(generator.integers(1, 60))), float(rating)))
    return pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "last_time", "rating"])


@pytest.fixture(scope="session")
def planted() -> Interactions:
    return build(tastes(), USERS, ITEMS, END, segments=SEGMENTS, follows=FOLLOWS)
