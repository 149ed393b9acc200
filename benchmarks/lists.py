"""One person's list: everything made anew for each call, beside a server that was made once.

    python benchmarks/lists.py                         (10,000 items, 10,000 users)
    python benchmarks/lists.py --items 2000 --calls 50

A synthetic catalogue stands in for a home. Anew means what a call has to make without a server: the model from its files, facts of the items (with
diversity a decomposition of the catalogue), evidence for reasons. That it would also have to ask MLflow and read the tables is left out, to its favour.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from persona_pipelines.recommendations.data import build
from persona_pipelines.recommendations.models import load, recommender
from persona_pipelines.recommendations.related import similar_items
from persona_pipelines.recommendations.serving import Server, server_of
from persona_pipelines.recommendations.tables import Tables
from persona_pipelines.settings.recommendations import ItemNeighbourhoodSettings, RecommendationsSettings, RulesSettings

END = pd.Timestamp("2025-09-30")
ITEMS_OF_A_USER = 20
CATEGORIES, BRANDS = 200, 1000


def shop(users: int, items: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Interactions, users and items; popular items have low numbers."""
    generator = np.random.default_rng(20)
    count = users * ITEMS_OF_A_USER
    pairs = pd.DataFrame(
        {
            "user_id": np.repeat([f"{number:032x}" for number in range(users)], ITEMS_OF_A_USER),
            "item_id": [f"i{number:06d}" for number in (items * generator.beta(0.6, 3.0, count)).astype(int)],
            "weight": 1.0,
            "liked": True,
            "last_time": END - pd.to_timedelta(generator.integers(1, 90 * 86_400, count), unit="s"),
        }
    )
    listed = pd.DataFrame(
        {
            "item_id": [f"i{number:06d}" for number in range(items)],
            "title": [f"Thing {number}" for number in range(items)],
            "category": [f"category {number}" for number in generator.integers(0, CATEGORIES, items)],
            "brand": [f"brand {number}" for number in generator.integers(0, BRANDS, items)],
            "in_stock": generator.random(items) < 0.9,
        }
    )
    return pairs.drop_duplicates(["user_id", "item_id"]), pd.DataFrame({"user_id": pairs["user_id"].unique()}), listed


def median_ms(call: Callable[[str], object], users: list[str]) -> float:
    """Of one call for each of the users."""
    took = []
    for user in users:
        start = time.perf_counter()
        call(user)
        took.append((time.perf_counter() - start) * 1000)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=5)
    asked = parser.parse_args()
    pairs, people, items = shop(asked.users, asked.items)
    interactions = build(pairs, people, items, END)
    model = recommender(ItemNeighbourhoodSettings(), 7).fit(interactions)
    segments = pd.DataFrame({"user_id": people["user_id"], "segment_id": 1, "segment_name": "Everybody"})
    nobody = pd.DataFrame(columns=["user_id", "target_user_id"])
    tables = Tables(people, pairs, items, segments, similar_items(interactions, 10), frozenset(), True, nobody)
    some = np.random.default_rng(7).choice(people["user_id"].to_numpy(dtype=object), asked.calls, replace=False).tolist()
    for diversity in (0.0, 0.2):
        options = RecommendationsSettings(rules=RulesSettings(diversity=diversity))
        with tempfile.TemporaryDirectory() as folder:
            stored = Path(folder)
            start = time.perf_counter()
            server_of(model, tables, options).save(stored)
            once = time.perf_counter() - start
            server = Server.load(stored)

            def anew(user: str, stored: Path = stored, options: RecommendationsSettings = options) -> pd.DataFrame:
                mine = [frame[frame["user_id"] == user] for frame in (people, pairs, segments)]
                of_one = replace(tables, users=mine[0], interactions=mine[1], segments=mine[2])
                return server_of(load(stored), of_one, options).lists([user], 10)

            def loaded(user: str, stored: Path = stored) -> pd.DataFrame:
                return Server.load(stored).lists([user], 10)

            def held(user: str, server: Server = server) -> pd.DataFrame:
                return server.lists([user], 10)

            pd.testing.assert_frame_equal(anew(some[0]).drop(columns="reason"), held(some[0]).drop(columns="reason"))
            before, with_loading, alone = (median_ms(call, some) for call in (anew, loaded, held))
        print(
            f"{asked.items:,} items, {asked.users:,} users, diversity {diversity}: anew {before:.1f} ms a list; the server is made in {once:.1f} s"
        )
        print(
            f"  loaded for each call {with_loading:.1f} ms, ratio {before / with_loading:.0f}; held {alone:.1f} ms, ratio {before / alone:.0f}"
        )


if __name__ == "__main__":
    main()
