"""Permutation importance: the figures of scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance as of_scikit_learn
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score, roc_auc_score

from persona_pipelines.profiles import importance
from persona_pipelines.profiles.importance import REPEATS, permutation_importance


@pytest.mark.parametrize("at_once", [1, importance.POINTS_AT_ONCE])
@pytest.mark.parametrize("seed", [0, 7])
def test_the_figures_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch, at_once: int, seed: int) -> None:
    monkeypatch.setattr(importance, "POINTS_AT_ONCE", at_once)
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(90, 5))
    happened = points[:, 1] + generator.normal(0, 0.5, 90) > 0
    forest = RandomForestClassifier(10, random_state=seed).fit(points, happened)
    expected = of_scikit_learn(forest, points, happened, scoring="roc_auc", n_repeats=REPEATS, random_state=seed).importances_mean
    found = permutation_importance(lambda asked: forest.predict_proba(asked)[:, 1], points, happened, roc_auc_score, seed)
    assert found == pytest.approx(expected, abs=1e-12)
    assert found.argmax() == 1
    amount = points @ [0.0, 2.0, 1.0, 0.0, 0.0]
    line = LinearRegression().fit(points, amount)
    expected = of_scikit_learn(line, points, amount, scoring="r2", n_repeats=REPEATS, random_state=seed).importances_mean
    assert permutation_importance(line.predict, points, amount, r2_score, seed) == pytest.approx(expected, abs=1e-12)
