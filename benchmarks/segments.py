"""Segments of a million users: preprocessing, choice of algorithm and number on a sample, fit and assignment.

    python benchmarks/segments.py [--users 1000000]

Prints the time beside that of scikit-learn's mini-batch K-means alone on the same scaled features, and the memory at its highest.
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
import pandas as pd

from persona_pipelines.segments.model import fit_segments
from persona_pipelines.segments.preprocessing import PLAIN, SKEWED
from persona_pipelines.settings.stages import SegmentsSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1_000_000)
    users = parser.parse_args().users
    generator = np.random.default_rng(20)
    columns = (*SKEWED, *PLAIN)
    truth = generator.integers(0, 5, users)
    centres = generator.normal(0, 1.0, (5, len(columns)))
    features = pd.DataFrame(
        {
            name: np.expm1(np.abs(centres[truth, number] + generator.normal(0, 0.5, users)))
            if name in SKEWED
            else centres[truth, number] + generator.normal(0, 0.5, users)
            for number, name in enumerate(columns)
        }
    )
    features["user_id"] = np.char.mod("%032d", np.arange(users)).astype(object)
    features["user_number"] = np.arange(users)
    nothing = pd.DataFrame({"user_id": [], "category": [], "interest_share": []})
    began = time.perf_counter()
    fit = fit_segments(features, nothing, SegmentsSettings())
    fitted = time.perf_counter() - began
    began = time.perf_counter()
    assigned = fit.model.assign(features, nothing)
    placed = time.perf_counter() - began

    from sklearn.cluster import MiniBatchKMeans
    from sklearn.metrics import adjusted_rand_score

    points = fit.model.scaler.transform(features, nothing)
    began = time.perf_counter()
    MiniBatchKMeans(5, n_init=10, random_state=1).fit_predict(points)
    peer = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{users:,} users by {len(columns)} features: {fit.reason}")
    print(
        f"fit {fitted:.0f} s, assignment {placed:.1f} s, {memory:.1f} GB; adjusted Rand index with the truth "
        f"{adjusted_rand_score(truth, assigned['segment_id']):.3f}"
    )
    print(f"mini-batch K-means alone, its k given: {peer:.0f} s; ratio {(fitted + placed) / peer:.1f}")


if __name__ == "__main__":
    main()
