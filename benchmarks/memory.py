"""Seconds and peak memory of every step of a run, sampled from outside of its process.

    python benchmarks/memory.py [--config FILE] [--people 671] [--ratings 100004] [--years 21]

Without a configuration, a history of ratings is made: each person rates within one week of the years, items by a power law. Memory is
the resident set of the process (Linux), ``at begin`` what earlier steps had left, of which the allocators give little back.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dagster as dg
import numpy as np
import yaml

from persona_pipelines.settings import load_settings

BEGIN = dt.datetime(1996, 1, 1, tzinfo=dt.UTC)
SECONDS_BETWEEN = 0.02


def write_ratings(folder: Path, people: int, ratings: int, years: float) -> Path:
    """``ratings.csv`` and the configuration that reads it."""
    generator = np.random.default_rng(3)
    items = max(200, ratings // 11)
    chance = 1 / np.arange(1, items + 1) ** 0.8
    begins = generator.uniform(0, years * 365 - 7, people) * 86_400
    counts = np.maximum(20, generator.multinomial(ratings, generator.dirichlet(np.full(people, 0.6))))
    with (folder / "ratings.csv").open("w") as stream:
        stream.write("userId,movieId,rating,timestamp\n")
        for person, count in enumerate(counts):
            chosen = generator.choice(items, min(int(count), items // 2), replace=False, p=chance / chance.sum())
            for item in chosen:
                moment = int(BEGIN.timestamp() + begins[person] + generator.uniform(0, 7 * 86_400))
                stream.write(f"{person},{item},{generator.integers(1, 11) / 2},{moment}\n")
    content = {
        "name": "ratings",
        "start_date": BEGIN.date(),
        "privacy": {"consent_when_unknown": True},
        "sources": [{"name": "ratings", "path": "ratings.csv", "preset": "movielens_ratings_csv"}],
    }
    file = folder / "persona.yaml"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def resident(pid: int) -> float:
    """Megabytes; 0 once the process is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--people", type=int, default=671)
    parser.add_argument("--ratings", type=int, default=100_004)
    parser.add_argument("--years", type=float, default=21)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = (chosen.config or write_ratings(folder, chosen.people, chosen.ratings, chosen.years)).absolute()
        os.environ["PERSONA_HOME"] = str(folder / "home")
        command = "import sys; sys.argv[0] = 'persona'; from persona_pipelines.cli import main; main()"
        begin = time.time()
        process = subprocess.Popen([sys.executable, "-c", command, "run", "--config", str(file)], stdout=subprocess.DEVNULL)
        samples = []
        while process.poll() is None:
            samples.append((time.time(), resident(process.pid)))
            time.sleep(SECONDS_BETWEEN)
        took = time.time() - begin
        if process.returncode:
            raise SystemExit(process.returncode)
        moments, sizes = (np.array(column) for column in zip(*samples, strict=True))
        os.environ["DAGSTER_HOME"] = str(load_settings(file).dagster_home)
        with dg.DagsterInstance.get() as instance:
            steps = instance.get_run_step_stats(instance.get_runs(limit=1)[0].run_id)
        print(f"{'step':28} {'seconds':>8} {'MB at begin':>12} {'MB at peak':>11}")
        for step in sorted(steps, key=lambda step: step.start_time or 0):
            inside = sizes[(moments >= (step.start_time or 0)) & (moments <= (step.end_time or 0))]
            if len(inside):
                print(f"{step.step_key:28} {(step.end_time or 0) - (step.start_time or 0):8.1f} {inside[0]:12,.0f} {inside.max():11,.0f}")
        print(f"{'whole run':28} {took:8.1f} {'':12} {sizes.max():11,.0f}")


if __name__ == "__main__":
    main()
