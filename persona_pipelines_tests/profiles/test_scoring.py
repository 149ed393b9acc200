"""Stored models of predictions: no pickle, the same numbers as scikit-learn's, and a version behind every score."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from persona_pipelines.errors import StoredModelError
from persona_pipelines.profiles import predictions
from persona_pipelines.profiles.forecasting import BASELINES
from persona_pipelines.profiles.plain import plain
from persona_pipelines.profiles.points import matrix
from persona_pipelines.profiles.predictions import Baseline, classifiers, judge_amount, judge_probability, regressors
from persona_pipelines.profiles.scoring import ARRAYS, FILE, PredictionModel, _load_pyfunc, shift_to, shifted
from persona_pipelines_tests.profiles.test_predictions import window


def again(model: PredictionModel | None, folder: Path) -> PredictionModel:
    assert model is not None
    model.save(folder)
    return PredictionModel.load(folder)


def features(seed: int = 9) -> pd.DataFrame:
    """Users with what forecasts of purchases look at, an attribute, and unknown values."""
    found = window(seed).features
    generator = np.random.default_rng(seed)
    found["frequency"] = generator.integers(0, 6, len(found))
    found["average_order_value"] = np.where(found["frequency"] > 0, generator.gamma(3, 10, len(found)), np.nan)
    found["repeat_order_value"] = np.where(found["frequency"] > 1, found["average_order_value"], 0.0)
    found["purchase_gap_days"] = np.where(found["frequency"] > 1, generator.gamma(3, 4, len(found)), np.nan)
    found["purchase_recency_days"] = np.where(found["frequency"] > 0, generator.integers(0, 90, len(found)), np.nan)
    return found.assign(**{"attributes.age": np.where(generator.random(len(found)) < 0.3, np.nan, generator.integers(18, 80, len(found)))})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["logistic_regression", "random_forest", "gradient_boosting"])
def test_a_stored_probability_is_that_of_scikit_learn(name: str, tmp_path: Path) -> None:
    learned, asked = features(1), features(2)
    estimator = classifiers(3)[name].fit(matrix(learned), window(1).bought)
    said = estimator.predict_proba(matrix(asked))[:, 1]
    model = PredictionModel("classifier", {"shift": 0.0}, {"classifier": plain(estimator)}, ("attributes.age",))
    stored = again(model, tmp_path)
    assert np.abs(stored.score(asked) - np.clip(said, 1e-6, 1 - 1e-6)).max() < 1e-9
    moved = PredictionModel("classifier", {"shift": shift_to(said, 0.2)}, {"classifier": plain(estimator)}, ("attributes.age",))
    assert moved.score(asked).mean() == pytest.approx(0.2)
    assert np.abs(moved.score(asked) - shifted(said, shift_to(said, 0.2))).max() < 1e-12
    assert stored.score(asked.iloc[[5]])[0] == pytest.approx(stored.score(asked)[5])  # nobody's score hangs on who else is asked about


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear_regression", "random_forest", "gradient_boosting"])
def test_a_stored_amount_is_that_of_scikit_learn(name: str, tmp_path: Path) -> None:
    learned, asked = features(1), features(2)
    estimator = regressors(3)[name].fit(matrix(learned), np.log1p(window(1).spent))
    model = PredictionModel("regression", {}, {name: plain(estimator)}, ("attributes.age",)).times(2.0).times(1.5)
    expected = 3 * np.expm1(np.maximum(estimator.predict(matrix(asked)), 0))
    assert np.abs(again(model, tmp_path).score(asked) - expected).max() < 1e-9


@pytest.mark.slow
def test_what_was_judged_is_what_is_stored(tmp_path: Path) -> None:
    windows = [window(seed) for seed in range(4)]
    judged = judge_probability(windows, "bought", window(9).features, None, 1)
    assert judged.chosen != predictions.BASE_RATE
    assert again(judged.model, tmp_path / "p").score(judged.scored) == pytest.approx(judged.prediction, abs=1e-9)
    assert len(judged.curves["gradient_boosting"]["staged_log_loss"]) == 150
    nothing = judge_probability([window(seed, signal=0.0) for seed in range(4)], "bought", window(9).features, None, 1)
    assert nothing.chosen == predictions.BASE_RATE
    assert again(nothing.model, tmp_path / "n").score(nothing.scored) == pytest.approx(nothing.prediction)


@pytest.fixture(scope="module")
def buyers() -> tuple[list[predictions.Window], pd.DataFrame, list[str]]:
    """Past windows, the people of today, and the order in which the forecasts of amounts are judged on them."""
    windows = [predictions.Window(features(seed), w.bought, w.left, w.spent) for seed, w in ((seed, window(seed)) for seed in range(4))]
    today = features(9)
    return windows, today, judge_amount(windows, today, BASELINES, 30, 45, 1).table["model"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["linear_regression", "random_forest", "gradient_boosting", "combined", *BASELINES])
def test_every_forecast_of_an_amount_can_be_stored_with_its_level_and_its_time(
    chosen: str, buyers: tuple[list[predictions.Window], pd.DataFrame, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, today, order = buyers
    spearmanr, asked = scipy.stats.spearmanr, iter([name for name in order if name != predictions.MEAN])

    def favoured(said: np.ndarray, true: np.ndarray, alternative: str = "") -> Any:
        """The chosen one looks best on the window that chooses, and beyond doubt on the newest; whatever is asked for later is as it is."""
        if alternative:
            return SimpleNamespace(statistic=0.5, pvalue=0.0)
        name = next(asked, None)
        return (2.0 if name == chosen else -1.0, 0.0) if name else spearmanr(said, true)

    monkeypatch.setattr("scipy.stats.spearmanr", favoured)
    judged = judge_amount(windows, today, BASELINES, 30, 45, 1)
    assert judged.chosen == chosen
    stored = again(judged.model, tmp_path)
    assert stored.score(today) == pytest.approx(judged.prediction, rel=1e-9, abs=1e-9)
    assert judged.prediction.sum() > 0
    assert stored.score(today.iloc[::-1])[::-1] == pytest.approx(judged.prediction, rel=1e-9, abs=1e-9)


@pytest.mark.slow
def test_a_baseline_that_cannot_be_stored_still_forecasts() -> None:
    windows = [window(seed) for seed in range(4)]
    spent = {len(entry.features) * 1000 + entry.features["frequency"].sum(): entry.spent for entry in (*windows, window(9))}
    oracle = Baseline(lambda at, days: spent[len(at) * 1000 + at["frequency"].sum()], levelled=True)
    judged = judge_amount(windows, window(9).features, {"oracle": oracle}, 30, 30, 1)
    assert (judged.chosen, judged.model) == ("oracle", None)


@pytest.mark.slow
def test_a_stored_model_is_arrays_and_json_and_runs_nothing(tmp_path: Path) -> None:
    estimator = classifiers(3)["random_forest"].fit(matrix(features(1)), window(1).bought)
    model = PredictionModel("classifier", {"shift": 0.0}, {"classifier": plain(estimator)}, ("attributes.age",))
    model.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {FILE, ARRAYS}
    with zipfile.ZipFile(tmp_path / ARRAYS) as stored:
        assert {Path(name).suffix for name in stored.namelist()} == {".npy"}
        for name in stored.namelist():
            assert np.load(io.BytesIO(stored.read(name)), allow_pickle=False).dtype.kind in "fi"
    assert _load_pyfunc(str(tmp_path)).predict(features(2)).columns.tolist() == ["prediction"]


@pytest.mark.parametrize("damage", ["pickle", "no archive", "missing", "format", "no description"])
def test_what_is_no_stored_model_is_refused_in_words(damage: str, tmp_path: Path) -> None:
    estimator = regressors(1)["linear_regression"].fit(matrix(features(1)), window(1).spent)
    PredictionModel("regression", {}, {"linear_regression": plain(estimator)}, ("attributes.age",)).save(tmp_path)
    file, told = tmp_path / ARRAYS, tmp_path / FILE
    if damage == "pickle":
        np.savez(file, **{"linear_regression/mean": np.array([{"a": 1}], dtype=object)})  # type: ignore[arg-type]
    elif damage == "no archive":
        file.write_bytes(b"nothing")
    elif damage == "missing":
        file.unlink()
    elif damage == "format":
        told.write_text(json.dumps(json.loads(told.read_text()) | {"format": 9}))
    else:
        told.write_text("{}")
    with pytest.raises(StoredModelError, match="of format 9; expected 1" if damage == "format" else "no stored prediction model"):
        PredictionModel.load(tmp_path)


def test_an_estimator_of_another_kind_is_no_plain_one() -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.tree import DecisionTreeRegressor

    other = make_pipeline(SimpleImputer(), DecisionTreeRegressor()).fit(np.arange(6.0)[:, None], np.arange(6.0))
    with pytest.raises(ValueError, match="DecisionTreeRegressor: expected an estimator"):
        plain(other)


def test_a_tree_that_is_one_leaf_and_a_column_of_nothing_are_no_obstacle() -> None:
    points, nobody = np.column_stack([np.arange(60.0), np.full(60, np.nan)]), np.array([[np.nan, np.nan], [3.0, 5.0]])
    for models, outcome in ((classifiers(1), np.arange(60) < 2), (regressors(1), np.full(60, 2.0))):
        for estimator in models.values():
            estimator.fit(points, outcome)
            said = estimator.predict_proba(nobody)[:, 1] if outcome.dtype == bool else estimator.predict(nobody)
            assert np.abs(plain(estimator).predict(nobody) - said).max() < 1e-9
