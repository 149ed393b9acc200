"""Rules that describe a segment: the best path of a shallow decision tree, with how far it can be trusted."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import PREFIX
from persona_pipelines.settings.sources import AttributeType

DEPTH = 3
SMALLEST_LEAF = 10


def segment_rules(
    assigned: pd.DataFrame, features: pd.DataFrame, columns: Sequence[str], types: Mapping[str, AttributeType] = MappingProxyType({})
) -> pd.DataFrame:
    """``segment_id``, ``rule``, ``precision``, ``coverage``, ``users`` for each segment that a rule tells from the others.

    For each segment a tree (Breiman et al. 1984) of depth three separates its users from all others; the leaf with the highest
    harmonic mean of precision and coverage is the rule, where that is better than saying of everybody that they are in the segment. Values are those
    of the features, not scaled. Counted is who meets the rule as it is written, a condition of audiences: its bounds have four digits, categories
    stand in quotes, and a value that is not known meets none.

    Args:
        assigned: ``user_id``, ``segment_id`` in the order of ``features``.
        columns: features that the segments were made of.
        types: of attributes, by their names.
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
        terms, met = [], np.ones(len(features), dtype=bool)
        for (number, sign), threshold in sorted(_path(tree.tree_, int(best)).items(), key=lambda pair: (names[pair[0][0]], pair[0][1])):
            term, bound = _written(names[number], sign, threshold, types)
            terms.append(term)
            below = points[:, number] <= bound
            met &= known[:, number] & (below if sign == "<=" else ~below)
        rule = " and ".join(terms)
        if rule and inside[met].any() and _quality(inside, met) > _quality(inside, np.ones(len(inside), dtype=bool)):
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


def _written(column: str, sign: str, threshold: float, types: Mapping[str, AttributeType]) -> tuple[str, float]:
    """One condition as ``audiences.conditions`` reads it, and its bound."""
    name, _, value = column.partition("=")
    kind = types.get(name.removeprefix(PREFIX)) if name.startswith(PREFIX) else None
    if value and kind == "boolean":
        return f"{name} = {'true' if (value == 'yes') == (sign == '>') else 'false'}", 0.5
    if value:
        quote = '"' if "'" in value else "'"
        return f"{name} {'=' if sign == '>' else '!='} {quote}{value}{quote}", 0.5
    if kind == "date":
        day = math.floor(threshold)
        return f"{name} {sign} '{dt.date(1970, 1, 1) + dt.timedelta(days=day)}'", float(day)
    text = f"{threshold:.4g}"
    return f"{name} {sign} {text}", float(text)


def _path(tree: object, leaf: int) -> dict[tuple[int, str], float]:
    """The conditions from the root to a leaf: of each feature, by its number, and side the tightest bound."""
    left, right, feature, threshold = (getattr(tree, name) for name in ("children_left", "children_right", "feature", "threshold"))
    parents = {
        int(child): (node, below) for node in range(len(left)) for child, below in ((left[node], True), (right[node], False)) if child >= 0
    }
    bounds: dict[tuple[int, str], float] = {}
    node = leaf
    while node in parents:
        node, below = parents[node]
        # From the leaf upwards the first bound met is the tightest.
        bounds.setdefault((int(feature[node]), "<=" if below else ">"), float(threshold[node]))
    return bounds
