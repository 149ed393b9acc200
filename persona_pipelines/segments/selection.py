"""The choice of algorithm and number of segments: how well they hold together, and whether they come out again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from persona_pipelines.parallel import side_by_side
from persona_pipelines.segments.algorithms import ALGORITHMS, FINDS_ITS_OWN_NUMBER, NOISE, Regions, regions, without_small
from persona_pipelines.settings.stages import SegmentsSettings

REFIT_USERS = 2_000
FEWEST_USERS = 10
FINALISTS = 4
MOST_AT_ONCE = 4
"""Some algorithms keep the distances between all users of the sample."""
STABLE = 0.75
"""Adjusted Rand index from which on segments are taken to come out again."""


@dataclass(frozen=True)
class Candidate:
    """One algorithm with one number of segments on the sample.

    Attributes:
        k: segments found, after small ones were merged; ``wanted`` the number asked for.
        noise: share of users in no segment.
        stability: mean adjusted Rand index over bootstrap refits; nan where it was not measured.
    """

    algorithm: str
    wanted: int
    k: int
    silhouette: float
    davies_bouldin: float
    calinski_harabasz: float
    noise: float
    stability: float
    regions: Regions


@dataclass(frozen=True)
class Choice:
    """All candidates, the one chosen, and why in one sentence."""

    candidates: list[Candidate]
    chosen: Candidate
    reason: str

    def quality(self, sample_users: int) -> pd.DataFrame:
        """Rows of ``contracts.SEGMENT_QUALITY`` but the version."""
        return pd.DataFrame(
            {
                "algorithm": entry.algorithm,
                "k_wanted": entry.wanted,
                "k": entry.k,
                "silhouette": entry.silhouette,
                "davies_bouldin": entry.davies_bouldin,
                "calinski_harabasz": entry.calinski_harabasz,
                "stability": entry.stability,
                "noise_share": entry.noise,
                "chosen": entry is self.chosen,
                "sample_users": sample_users,
            }
            for entry in self.candidates
        )


def choose(sample: np.ndarray, settings: SegmentsSettings, minimum_size: int) -> Choice:
    """Try every algorithm and number; of those with the best silhouettes the first that is stable.

    A user in no segment counts as a silhouette of 0: leaving out whoever fits badly is no merit.

    The silhouette (Rousseeuw 1987) says whether users are nearer to their own segment than to the next; Davies-Bouldin (1979) and
    Calinski-Harabasz (1974) stand beside it. Stability is the mean adjusted Rand index (Hubert and Arabie 1985) between the
    segments and those of refits on bootstrap samples (Hennig 2007): what does not come out again is no segment.

    Args:
        minimum_size: segments with fewer users of the sample are merged into the nearest.
    Raises:
        ValueError: there are fewer than ten users, or no algorithm finds two segments.
    """
    if len(sample) < FEWEST_USERS:
        raise ValueError(f"{len(sample)} users are too few to be cut into segments; at least {FEWEST_USERS} are needed")
    asked = [(name, k) for name in settings.algorithms for k in _numbers(sample, name, settings)]
    tried = side_by_side([partial(_judged, sample, name, k, settings, minimum_size) for name, k in asked], MOST_AT_ONCE)
    usable = [entry for entry in tried if entry.k >= 2 and entry.noise <= settings.maximum_noise_share]
    if not usable:
        raise ValueError("no algorithm finds two groups of users that are large enough")
    # Algorithms that find their own number may find fewer than are asked for: two groups tell a marketer next to nothing.
    usable = [entry for entry in usable if entry.k >= settings.minimum_k] or usable
    finalists = sorted(usable, key=lambda entry: (-entry.silhouette, entry.k, entry.algorithm))[:FINALISTS]
    stability = side_by_side([partial(_with_stability, entry, sample, settings, minimum_size) for entry in finalists], MOST_AT_ONCE)
    measured = {id(entry): found for entry, found in zip(finalists, stability, strict=True)}
    candidates = [measured.get(id(entry), entry) for entry in tried]
    finalists = [measured[id(entry)] for entry in finalists]
    stable = [entry for entry in finalists if entry.stability >= STABLE]
    chosen = stable[0] if stable else max(finalists, key=lambda entry: entry.stability)
    why = (
        f"the highest silhouette ({chosen.silhouette:.3f}) of those that come out again (adjusted Rand index {chosen.stability:.2f} over "
        f"{settings.stability_refits} refits)"
        if stable
        else f"the most stable of the {len(finalists)} best silhouettes: adjusted Rand index {chosen.stability:.2f}, below {STABLE}"
    )
    return Choice(candidates, chosen, f"{chosen.algorithm.replace('_', ' ')} with {chosen.k} segments: {why}")


def _numbers(sample: np.ndarray, name: str, settings: SegmentsSettings) -> Sequence[int]:
    """Numbers of segments to ask an algorithm for."""
    distinct = len(np.unique(sample, axis=0))
    return [0] if name in FINDS_ITS_OWN_NUMBER else range(min(settings.minimum_k, distinct), min(settings.maximum_k, distinct - 1) + 1)


def _judged(sample: np.ndarray, name: str, wanted: int, settings: SegmentsSettings, minimum_size: int) -> Candidate:
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

    labels = without_small(ALGORITHMS[name](sample, wanted, settings.seed), sample, minimum_size)
    noise = float((labels == NOISE).mean())
    if labels.max() < 0:
        return Candidate(name, wanted, 0, np.nan, np.nan, np.nan, noise, np.nan, Regions(np.zeros((0, sample.shape[1])), np.zeros(0)))
    found = regions(sample, labels)
    # Judged is what will be used: every user at the nearest centre.
    placed = found.assign(sample)[0]
    inside = placed != NOISE
    k = len(np.unique(placed[inside]))
    if not 2 <= k < inside.sum():
        return Candidate(name, wanted, k, np.nan, np.nan, np.nan, noise, np.nan, found)
    points, groups = sample[inside], placed[inside]
    return Candidate(
        name,
        wanted,
        k,
        float(silhouette_score(points, groups)) * float(inside.mean()),
        float(davies_bouldin_score(points, groups)),
        float(calinski_harabasz_score(points, groups)),
        float((~inside).mean()),
        np.nan,
        found,
    )


def _with_stability(entry: Candidate, sample: np.ndarray, settings: SegmentsSettings, minimum_size: int) -> Candidate:
    from dataclasses import replace

    from sklearn.metrics import adjusted_rand_score

    generator = np.random.default_rng(settings.seed)
    mine = entry.regions.assign(sample)[0]
    size = min(len(sample), REFIT_USERS)
    found = []
    for number in range(settings.stability_refits):
        drawn = sample[generator.integers(0, len(sample), size)]
        # Copies of one user are a dense group of their own to some algorithms.
        drawn = drawn + generator.normal(0, 1e-6, drawn.shape)
        labels = ALGORITHMS[entry.algorithm](drawn, entry.wanted, settings.seed + number + 1)
        labels = without_small(labels, drawn, max(2, minimum_size * size // len(sample)))
        found.append(adjusted_rand_score(mine, regions(drawn, labels).assign(sample)[0]) if labels.max() >= 0 else 0.0)
    return replace(entry, stability=float(np.mean(found)))
