"""Who is like these: the rest of the users ranked by how much they resemble a few customers."""

from __future__ import annotations

import numpy as np

from persona_pipelines.errors import ProjectError

DRAWS = 25
RELIABLE_SHARE = 0.3
"""Share of the unlabelled users who look least like the seeds: they stand for those who are not."""
MINIMUM_SEEDS = 5
FOLDS = 3
SEEDS_TO_JUDGE = 15
"""Seeds that are hidden in turn have to leave enough of them."""


class SeedsError(ProjectError):
    """The seeds cannot be learned from; the message says why."""


def resemblance(points: np.ndarray, seeds: np.ndarray, seed: int = 0) -> np.ndarray:
    """How much each user resembles the seeds, 0 to 1, shape (users,).

    Learning from positives and unlabelled users in two steps: bagging (Mordelet and Vert 2014) of logistic regressions against
    random unlabelled users finds those who are surely unlike; self-training (Yarowsky 1995) then labels the rest step by step.

    Args:
        points: shape (users, dimensions), as the segment model scales them.
        seeds: shape (users,), True for the customers given.
    Raises:
        SeedsError: fewer than five seeds, or nobody else.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.semi_supervised import SelfTrainingClassifier

    if seeds.sum() < MINIMUM_SEEDS:
        raise SeedsError(f"{int(seeds.sum())} of the seeds are users with features; at least {MINIMUM_SEEDS} are needed")
    others = np.flatnonzero(~seeds)
    if not len(others):
        raise SeedsError("all users are seeds: nobody is left to rank")
    generator = np.random.default_rng(seed)
    total, times = np.zeros(len(points)), np.zeros(len(points))
    own = points[seeds]
    for _ in range(DRAWS):
        drawn = generator.choice(others, min(len(own), max(1, len(others) // 2)), replace=False)
        model = LogisticRegression(C=0.3, max_iter=1000, class_weight="balanced")
        model.fit(np.vstack([own, points[drawn]]), np.repeat([1, 0], [len(own), len(drawn)]))
        left = np.setdiff1d(others, drawn)
        total[left] += model.predict_proba(points[left])[:, 1]
        times[left] += 1
    first = total / np.maximum(times, 1)
    unlike = others[np.argsort(first[others], kind="stable")[: max(1, int(RELIABLE_SHARE * len(others)))]]
    labels = np.full(len(points), -1)
    labels[seeds], labels[unlike] = 1, 0
    learner = SelfTrainingClassifier(LogisticRegression(C=0.3, max_iter=1000, class_weight="balanced"), threshold=0.95, max_iter=5)
    second = learner.fit(points, labels).predict_proba(points)[:, 1]
    # The second step knows more of those unlike, the first was never told who they are: together they rank better than each.
    return (first + second) / 2


def quality(points: np.ndarray, seeds: np.ndarray, seed: int = 0) -> float | None:
    """How well likeness finds seeds that it was not told of: the area under the ROC curve of hidden seeds against everyone who is none.

    A third of the seeds is hidden at a time; 0.5 is a guess, 1 finds all of them first. None with fewer than ``SEEDS_TO_JUDGE`` seeds.

    Args:
        points, seeds: as of ``resemblance``.
    """
    from sklearn.metrics import roc_auc_score

    places = np.flatnonzero(seeds)
    if len(places) < SEEDS_TO_JUDGE or seeds.all():
        return None
    found = []
    for hidden in np.array_split(np.random.default_rng(seed).permutation(places), FOLDS):
        told = seeds.copy()
        told[hidden] = False
        judged = ~seeds
        judged[hidden] = True
        found.append(roc_auc_score(seeds[judged], resemblance(points, told, seed)[judged]))
    return float(np.mean(found))
