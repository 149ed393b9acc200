"""Fitted estimators of scikit-learn as plain arrays, and what they say, without scikit-learn and without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LINEAR, FOREST, BOOSTING = "linear", "forest", "boosting"
LOGISTIC, IDENTITY = "logistic", "identity"


@dataclass(frozen=True)
class PlainEstimator:
    """A pipeline of an imputer and a linear model (with the scaler before it), a forest or boosted trees.

    Attributes:
        kind: ``LINEAR``, ``FOREST`` (the mean of trees) or ``BOOSTING`` (their sum).
        link: ``LOGISTIC`` where a probability is the logistic function of what comes out, else ``IDENTITY``.
        arrays: ``fill``, shape (features,), is put where a point is unknown. Of a linear model ``mean``, ``scale``, ``coefficients``, shape
            (features,), and ``intercept``. Of trees ``roots``, shape (trees,), and of all their nodes ``feature``, ``threshold``, ``left``, ``right``,
            ``value``: a point goes left where its feature is at most the threshold; a leaf leads to itself. ``depth`` is the longest way down,
            ``base`` what boosting starts from.
    """

    kind: str
    link: str
    arrays: Mapping[str, np.ndarray]

    def predict(self, points: np.ndarray) -> np.ndarray:
        """A probability or a number for each of the points, shape (n, features), nan where unknown; shape (n,)."""
        from scipy.special import expit

        known = self.arrays
        filled = np.where(np.isnan(points), known["fill"], points)
        if self.kind == LINEAR:
            said = ((filled - known["mean"]) / known["scale"]) @ known["coefficients"] + float(known["intercept"])
        elif self.kind == FOREST:
            said = self._leaves(filled.astype(np.float32)).mean(axis=1)  # scikit-learn's forests look at single precision
        else:
            said = self._leaves(filled).sum(axis=1) + float(known["base"])
        return expit(said) if self.link == LOGISTIC else said

    def _leaves(self, points: np.ndarray) -> np.ndarray:
        """The values of the leaves that points end at, shape (n, trees)."""
        known, rows = self.arrays, np.arange(len(points))[:, None]
        feature, threshold, left, right = (known[name] for name in ("feature", "threshold", "left", "right"))
        node = np.tile(known["roots"], (len(points), 1))
        for _ in range(int(known["depth"])):
            node = np.where(points[rows, feature[node]] <= threshold[node], left[node], right[node])
        return known["value"][node]


def plain(pipeline: Any) -> PlainEstimator:
    """The arrays of a fitted pipeline of ``predictions.classifiers`` or ``predictions.regressors``; of two classes the second is told of.

    Raises:
        ValueError: it ends with another estimator.
    """
    fill = {"fill": np.asarray(pipeline[0].statistics_, dtype=float)}
    last, name = pipeline[-1], type(pipeline[-1]).__name__
    if name in ("LogisticRegression", "RidgeCV"):
        scaler = pipeline[1]
        arrays = {
            "mean": scaler.mean_,
            "scale": scaler.scale_,
            "coefficients": np.ravel(last.coef_),
            "intercept": np.ravel(last.intercept_)[0],
        }
        return PlainEstimator(
            LINEAR, LOGISTIC if name == "LogisticRegression" else IDENTITY, fill | {key: np.asarray(value) for key, value in arrays.items()}
        )
    if name in ("RandomForestClassifier", "RandomForestRegressor"):
        trees = [_of_a_forest(tree.tree_) for tree in last.estimators_]
        return PlainEstimator(FOREST, IDENTITY, fill | _joined(trees))
    if name in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"):
        trees = [_boosted(stage[0].nodes) for stage in last._predictors]
        base = {"base": np.asarray(np.ravel(last._baseline_prediction)[0], dtype=float)}
        return PlainEstimator(BOOSTING, LOGISTIC if name.endswith("Classifier") else IDENTITY, fill | base | _joined(trees))
    raise ValueError(f"{name}: expected an estimator of predictions.classifiers or predictions.regressors")


Tree = dict[str, np.ndarray]


def _of_a_forest(tree: Any) -> Tree:
    """``value``: of classes the share of the second, of numbers the mean."""
    values = np.asarray(tree.value)[:, 0, :]
    value = values[:, 1] / values.sum(axis=1) if values.shape[1] > 1 else values[:, 0]
    return _tree(tree.children_left < 0, tree.feature, tree.threshold, tree.children_left, tree.children_right, value)


def _boosted(nodes: np.ndarray) -> Tree:
    names = ("feature_idx", "num_threshold", "left", "right", "value")
    return _tree(nodes["is_leaf"].astype(bool), *(nodes[name] for name in names))


def _tree(leaf: np.ndarray, feature: np.ndarray, threshold: np.ndarray, left: np.ndarray, right: np.ndarray, value: np.ndarray) -> Tree:
    own = np.arange(len(leaf))
    return {
        "feature": np.where(leaf, 0, feature).astype(np.int32),
        "threshold": np.where(leaf, np.inf, threshold).astype(float),
        "left": np.where(leaf, own, left).astype(np.int32),
        "right": np.where(leaf, own, right).astype(np.int32),
        "value": np.asarray(value, dtype=float),
    }


def _joined(trees: list[Tree]) -> Tree:
    """All nodes one after the other."""
    roots = np.cumsum([0, *(len(tree["value"]) for tree in trees[:-1])]).astype(np.int32)
    moved = [{**tree, "left": tree["left"] + root, "right": tree["right"] + root} for tree, root in zip(trees, roots, strict=True)]
    joined = {name: np.concatenate([tree[name] for tree in moved]) for name in moved[0]}
    return {**joined, "roots": roots, "depth": np.asarray(max(_depth(tree) for tree in trees), dtype=np.int32)}


def _depth(tree: Tree) -> int:
    """Steps from the root to the furthest leaf."""
    level, steps = np.array([0]), 0
    while True:
        inner = level[tree["left"][level] != level]
        if not len(inner):
            return steps
        level, steps = np.concatenate([tree["left"][inner], tree["right"][inner]]), steps + 1
