"""Rules that describe a segment: the best path of a shallow decision tree, with how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

DEPTH = 3
SMALLEST_LEAF = 10


def segment_rules(assigned: pd.DataFrame, features: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """``segment_id``, ``rule``, ``precision``, ``coverage``, ``users`` for each segment that a rule tells from the others.

    For each segment a tree (Breiman et al. 1984) of depth three separates its users from all others; the leaf with the highest
    harmonic mean of precision and coverage is the rule. Values are those of the features, not scaled. Counted is who meets the rule as it is written:
    its bounds have four digits, and a value that is not known meets none.

    Args:
        assigned: ``user_id``, ``segment_id`` in the order of ``features``.
        columns: features that the segments were made of.
    """
    from sklearn.tree import DecisionTreeClassifier

    names = list(columns)
    points = (
        np.column_stack([features[name].to_numpy(dtype=float, na_value=np.nan) for name in names])
        if names
        else np.zeros((len(features), 0))
    )
    known = np.isfinite(points)
    # Unknown values stand in the middle, so that no rule is made of them.
    middle = [float(np.median(points[known[:, number], number])) if known[:, number].any() else 0.0 for number in range(points.shape[1])]
    points = np.where(known, points, np.array(middle)[None, :])
    rows = []
    for segment in sorted(set(assigned["segment_id"]) - {0}):
        inside = (assigned["segment_id"] == segment).to_numpy()
        if inside.all() or inside.sum() < SMALLEST_LEAF:
            continue
        tree = DecisionTreeClassifier(max_depth=DEPTH, min_samples_leaf=SMALLEST_LEAF, class_weight="balanced", random_state=0).fit(
            points, inside
        )
        leaf_of = tree.apply(points)
        best = max(np.unique(leaf_of), key=lambda leaf: (_quality(inside, leaf_of == leaf), -leaf))
        bounds = _path(tree.tree_, int(best))
        rule = " and ".join(
            f"{names[number]} {sign} {value}"
            for (number, sign), value in sorted(bounds.items(), key=lambda pair: (names[pair[0][0]], pair[0][1]))
        )
        met = np.ones(len(features), dtype=bool)
        for (number, sign), value in bounds.items():
            below = points[:, number] <= float(value)
            met &= known[:, number] & (below if sign == "<=" else ~below)
        if rule and inside[met].any():
            rows.append(
                {
                    "segment_id": int(segment),
                    "rule": rule,
                    "precision": float(inside[met].mean()),
                    "coverage": float(met[inside].mean()),
                    "users": int(met.sum()),
                }
            )
    return pd.DataFrame(rows, columns=["segment_id", "rule", "precision", "coverage", "users"])


def _quality(inside: np.ndarray, met: np.ndarray) -> float:
    both = float((inside & met).sum())
    return 2 * both / (inside.sum() + met.sum())


def _path(tree: object, leaf: int) -> dict[tuple[int, str], str]:
    """The conditions from the root to a leaf: of each feature, by its number, and side the tightest bound, as it is written."""
    left, right, feature, threshold = (getattr(tree, name) for name in ("children_left", "children_right", "feature", "threshold"))
    parents = {
        int(child): (node, below) for node in range(len(left)) for child, below in ((left[node], True), (right[node], False)) if child >= 0
    }
    bounds: dict[tuple[int, str], str] = {}
    node = leaf
    while node in parents:
        node, below = parents[node]
        # From the leaf upwards the first bound met is the tightest.
        bounds.setdefault((int(feature[node]), "<=" if below else ">"), f"{float(threshold[node]):.4g}")
    return bounds
