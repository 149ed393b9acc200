"""What a model looks at: how much worse it gets when a feature is shuffled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

REPEATS = 3
POINTS_AT_ONCE = 1 << 22
"""Numbers in the shuffled copies that are predicted in one go."""


def permutation_importance(
    predicted: Callable[[np.ndarray], np.ndarray],
    points: np.ndarray,
    outcome: np.ndarray,
    score: Callable[[np.ndarray, np.ndarray], float],
    seed: int,
) -> np.ndarray:
    """Permutation importance (Breiman 2001): what the score loses, on the mean of ``REPEATS`` shuffles of a feature; shape (features,).

    The figures are those of ``sklearn.inspection.permutation_importance``, which asks the model anew for every shuffle: of a forest and
    some hundred small tables that is nearly all of its time. Here the shuffled copies of many features are one table.

    Args:
        predicted: predictions, shape (n,), of points, shape (n, features).
        points: shape (users, features).
        outcome: shape (users,).
        score: of outcome and prediction; more is better.
    """
    users, features = points.shape
    orders = _orders(users, seed)
    whole = score(outcome, predicted(points))
    lost = np.empty(features)
    at_once = max(1, POINTS_AT_ONCE // (points.size * REPEATS))
    for start in range(0, features, at_once):
        columns = range(start, min(start + at_once, features))
        copies = np.tile(points, (len(columns) * REPEATS, 1)).reshape(len(columns), REPEATS, users, features)
        for place, column in enumerate(columns):
            copies[place, :, :, column] = points[orders, column]
        said = predicted(copies.reshape(-1, features)).reshape(len(columns), REPEATS, users)
        for place, column in enumerate(columns):
            lost[column] = whole - np.mean([score(outcome, answer) for answer in said[place]])
    return lost


def _orders(users: int, seed: int) -> np.ndarray:
    """Shuffles of the users, the same for every feature, each of the one before; shape (REPEATS, users)."""
    generator = np.random.RandomState(np.random.RandomState(seed).randint(np.iinfo(np.int32).max + 1))
    shuffle, order, orders = np.arange(users), np.arange(users), []
    for _ in range(REPEATS):
        generator.shuffle(shuffle)
        order = order[shuffle]
        orders.append(order)
    return np.array(orders)
