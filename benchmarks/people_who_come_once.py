"""The lists that a run serves to people who come once, beside every single method, on films that were held out.

    python benchmarks/people_who_come_once.py [--ratings 20]

MovieLens 100K, of each person that many ratings drawn at random and moved into one day; up to 20 of the others are the truth. Nobody is known at any cut
in time, so that the newest window can decide nothing. The data are looked for below PERSONA_SHARED_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from persona_pipelines.privacy.pseudonyms import load_key, pseudonym
from persona_pipelines.recommendations.evaluation.comparison import fit_all
from persona_pipelines.recommendations.listed import listed_users
from persona_pipelines.recommendations.training import everything
from persona_pipelines.settings import load_settings
from persona_pipelines.settings.recommendations import HybridSettings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

DATA = Path(os.environ.get("PERSONA_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
K, TRUTH = 10, 20


def write(folder: Path, ratings: int) -> tuple[Path, pd.DataFrame]:
    """The configuration, and the films held out: ``user``, ``item``."""
    found = pd.read_csv(DATA / "movielens-100k" / "ml-100k.inter.gz", sep="\t", names=["user", "item", "rating", "seconds"], header=0)
    generator = np.random.default_rng(7)
    kept, held = [], []
    for _, own in found.groupby("user"):
        drawn = own.iloc[generator.permutation(len(own))]
        count = min(ratings, len(own) - 5)
        day = int(own["seconds"].min()) // 86_400 * 86_400 + 36_000
        kept.append(drawn.iloc[:count].assign(seconds=day + np.arange(count) * 20))
        held.append(drawn.iloc[count : count + TRUTH])
    pd.concat(kept).sort_values("seconds").to_csv(folder / "ratings.csv", index=False)
    content = {
        "name": "once",
        "start_date": "1997-09-01",
        "privacy": {"consent_when_unknown": True},
        "sources": [
            {
                "name": "ratings",
                "path": "ratings.csv",
                "format": "csv",
                "fields": {
                    "timestamp": {"from": "seconds", "unit": "seconds"},
                    "event_type": {"value": "rating"},
                    "user_id": "user",
                    "item_id": "item",
                    "value": "rating",
                },
            },
            {
                "name": "films",
                "kind": "items",
                "path": str(DATA.absolute() / "movielens-100k" / "ml-100k.item"),
                "format": {"type": "csv", "delimiter": "\t", "quote": ""},
                "fields": {
                    "item_id": "item_id:token",
                    "title": "movie_title:token_seq",
                    "category": {"from": "class:token_seq", "pattern": r"^(\S+)"},
                },
            },
        ],
    }
    (folder / "persona.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "persona.yaml", pd.concat(held)


def ndcg(lists: dict[str, list[str]], relevant: dict[str, set[str]]) -> float:
    """The mean over all people; no list counts as 0."""
    discounts = 1 / np.log2(np.arange(2, K + 2))
    gains = [
        sum(discounts[place] for place, item in enumerate(lists.get(user, [])[:K]) if item in wanted)
        / discounts[: min(K, len(wanted))].sum()
        for user, wanted in relevant.items()
    ]
    return float(np.mean(gains))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, held = write(folder, chosen.ratings)
        os.environ["PERSONA_HOME"] = str(folder / "home")
        command = "import sys; sys.argv[0] = 'persona'; from persona_pipelines.cli import main; main()"
        subprocess.run([sys.executable, "-c", command, "run", "--config", str(file)], check=True, stdout=subprocess.DEVNULL)
        settings = load_settings(file)
        key = load_key(settings.key_file)
        relevant = held.astype(str).groupby(held["user"].astype(str).map(lambda user: pseudonym(user, key)))["item"].apply(set).to_dict()
        with Warehouse(settings.warehouse_file, key) as store:
            served = store.frame(store.table(contracts.RECOMMENDATIONS).order_by("user_id", "rank"))
            decision = store.connection.execute(
                "SELECT split, model FROM recommendations.model_comparison WHERE champion LIMIT 1"
            ).fetchall()[0]
            end = store.value(store.table(contracts.EVENTS).timestamp.max()) + pd.Timedelta(days=1)
            _, interactions = everything(store, settings, end)
            singles = [method for method in settings.recommendations.methods if not isinstance(method, HybridSettings)]
            models, failed = fit_all(singles, interactions, settings.recommendations.seed)
            audience = interactions.audience(interactions.users, listed_users(store, settings, end))
        found = {}
        for model in models.values():
            best, _ = model.top(audience, K, audience.seen)
            found[model.name] = ndcg(
                {user: list(interactions.items[row]) for user, row in zip(interactions.users, best, strict=True)}, relevant
            )
    ours = ndcg(served.groupby("user_id")["item_id"].apply(list).to_dict(), relevant)
    print(f"served: {ours:.4f} by {decision[1]}, chosen on {decision[0]}")
    print(pd.Series(found).sort_values(ascending=False).round(4).to_string())
    print(f"ahead of the best single method by {ours - max(found.values()):.4f}")
    for method, reason in failed.items():
        print(f"left out: {method}: {reason}")


if __name__ == "__main__":
    main()
