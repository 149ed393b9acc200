"""Places of users in the plane, so that segments can be looked at."""

from __future__ import annotations

import numpy as np

MAP_USERS = 1_500


def drawn(users: int, seed: int) -> np.ndarray:
    """Numbers of the users that a map shows, at most ``MAP_USERS``, in rising order."""
    if users <= MAP_USERS:
        return np.arange(users)
    return np.sort(np.random.default_rng(seed).choice(users, MAP_USERS, replace=False))


def principal_components(points: np.ndarray) -> np.ndarray:
    """The first two principal components (Pearson 1901), shape (users, 2)."""
    from sklearn.decomposition import PCA

    if len(points) < 2 or not np.ptp(points, axis=0).any():
        return np.zeros((len(points), 2))
    components = min(2, *points.shape)
    places = PCA(components, svd_solver="full").fit_transform(points)
    return np.hstack([places, np.zeros((len(points), 2 - components))])


def neighbourhoods(points: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE (van der Maaten and Hinton 2008), shape (users, 2): who is near is alike, distances far apart say nothing."""
    from sklearn.manifold import TSNE

    if len(points) < 10 or points.shape[1] < 2 or not np.ptp(points, axis=0).any():
        return principal_components(points)
    perplexity = min(30.0, (len(points) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed, max_iter=500).fit_transform(points)
