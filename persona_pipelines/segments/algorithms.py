"""Ways to cut users into groups, behind one protocol: each labels a sample, and what it found is kept as regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

NOISE = -1
MAIN_COMPONENTS = 6


class Algorithm(Protocol):
    """Labels of a sample of shape (users, dimensions): 0 .. segments - 1, or ``NOISE``."""

    def __call__(self, sample: np.ndarray, k: int, seed: int) -> np.ndarray: ...


def k_means(sample: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Lloyd 1982, with ten k-means++ starts (Arthur and Vassilvitskii 2007)."""
    from sklearn.cluster import KMeans

    return KMeans(k, n_init=10, random_state=seed).fit_predict(sample)


def mini_batch_k_means(sample: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Sculley 2010."""
    from sklearn.cluster import MiniBatchKMeans

    return MiniBatchKMeans(k, n_init=10, batch_size=1024, random_state=seed).fit_predict(sample)


def hierarchical(sample: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Ward 1963. Time and memory of the sample squared."""
    from scipy.cluster.hierarchy import fcluster, linkage

    return fcluster(linkage(sample, "ward"), k, "maxclust") - 1


def gaussian_mixture(sample: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Full covariances (Dempster, Laird, Rubin 1977), on the main principal components."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    reduced = PCA(min(MAIN_COMPONENTS, *sample.shape), svd_solver="full").fit_transform(sample)
    return GaussianMixture(k, n_init=3, reg_covar=1e-3, random_state=seed).fit_predict(reduced)


def dbscan(sample: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Ester et al. 1996. The neighbourhood is the distance to the 10th neighbour that 90 % of the users keep; finds its own number."""
    from sklearn.cluster import DBSCAN
    from sklearn.neighbors import NearestNeighbors

    count = min(10, len(sample))
    distance = NearestNeighbors(n_neighbors=count).fit(sample).kneighbors(sample)[0][:, -1]
    return DBSCAN(eps=max(float(np.quantile(distance, 0.9)), 1e-9), min_samples=count).fit_predict(sample)


def hdbscan(sample: np.ndarray, k: int, seed: int) -> np.ndarray:
    """Campello, Moulavi, Sander 2013. Finds its own number of segments."""
    from sklearn.cluster import HDBSCAN

    return HDBSCAN(min_cluster_size=max(5, len(sample) // 50), copy=True).fit_predict(sample)


ALGORITHMS: dict[str, Algorithm] = {
    "k_means": k_means,
    "mini_batch_k_means": mini_batch_k_means,
    "hierarchical": hierarchical,
    "gaussian_mixture": gaussian_mixture,
    "dbscan": dbscan,
    "hdbscan": hdbscan,
}
FINDS_ITS_OWN_NUMBER = ("dbscan", "hdbscan")


@dataclass(frozen=True)
class Regions:
    """What segments look like, whatever algorithm found them: enough to place users who come later.

    Attributes:
        centres: shape (segments, dimensions).
        limits: shape (segments,), the distance beyond which a user belongs to no segment; infinite where everyone belongs to one.
    """

    centres: np.ndarray
    limits: np.ndarray

    def assign(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of the segment (``NOISE`` for none) and distance to its centre, both of shape (users,)."""
        numbers, distances = np.empty(len(points), dtype=np.int64), np.empty(len(points))
        for start in range(0, len(points), 100_000):
            part = points[start : start + 100_000]
            squares = (part**2).sum(axis=1)[:, None] - 2 * part @ self.centres.T + (self.centres**2).sum(axis=1)[None, :]
            nearest = squares.argmin(axis=1)
            numbers[start : start + 100_000] = nearest
            distances[start : start + 100_000] = np.sqrt(np.maximum(squares[np.arange(len(part)), nearest], 0))
        return np.where(distances <= self.limits[numbers], numbers, NOISE), distances


def regions(points: np.ndarray, labels: np.ndarray) -> Regions:
    """Centres of labelled points; where some are noise, also how far each segment reaches (its 99th percentile).

    Raises:
        ValueError: everything is noise.
    """
    count = int(labels.max()) + 1
    if count < 1:
        raise ValueError("no group is dense enough: everything is noise")
    centres = np.stack([points[labels == number].mean(axis=0) for number in range(count)])
    if (labels != NOISE).all():
        return Regions(centres, np.full(count, np.inf))
    reach = [np.quantile(np.linalg.norm(points[labels == number] - centres[number], axis=1), 0.99) for number in range(count)]
    return Regions(centres, np.array(reach))


def without_small(labels: np.ndarray, points: np.ndarray, minimum_size: int) -> np.ndarray:
    """Labels where each group of fewer than ``minimum_size`` has gone to the nearest larger one; numbered by falling size."""
    kept = [number for number in range(int(labels.max()) + 1) if (labels == number).sum() >= minimum_size]
    if not kept:
        kept = [int(np.bincount(labels[labels >= 0]).argmax())] if (labels >= 0).any() else []
    if not kept:
        return labels
    found = labels.copy()
    small = (labels >= 0) & ~np.isin(labels, kept)
    if small.any():
        centres = np.stack([points[labels == number].mean(axis=0) for number in kept])
        distance = ((points[small][:, None, :] - centres[None]) ** 2).sum(axis=2)
        found[small] = np.array(kept)[distance.argmin(axis=1)]
    sizes = {number: int((found == number).sum()) for number in kept}
    order = sorted(kept, key=lambda number: (-sizes[number], number))
    renumber: Callable[[int], int] = {number: place for place, number in enumerate(order)}.__getitem__
    return np.array([renumber(label) if label >= 0 else NOISE for label in found], dtype=np.int64)
