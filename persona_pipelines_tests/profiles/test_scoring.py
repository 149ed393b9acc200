"""Stored models of predictions: no pickle, the same numbers as scikit-learn's, and a version behind every score."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.errors import StoredModelError
from persona_pipelines.profiles import predictions
from persona_pipelines.profiles.forecasting import BASELINES
from persona_pipelines.profiles.points import matrix
from persona_pipelines.profiles.predictions import Baseline, classifiers, judge_amount, judge_probability, regressors
from persona_pipelines.profiles.scoring import FILE, PredictionModel, _load_pyfunc, shift_to, shifted
from persona_pipelines_tests.profiles.test_predictions import window

PICKLES = (b"\x80\x04", b"\x80\x05", b"cnumpy", b"csklearn", b"joblib")


def again(model: PredictionModel, folder: Path) -> PredictionModel:
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
    model = PredictionModel("classifier", {"shift": 0.0}, {"classifier": estimator}, ("attributes.age",))
    stored = again(model, tmp_path)
    assert np.abs(stored.score(asked) - np.clip(said, 1e-6, 1 - 1e-6)).max() < 1e-9
    moved = PredictionModel("classifier", {"shift": shift_to(said, 0.2)}, {"classifier": estimator}, ("attributes.age",))
    assert moved.score(asked).mean() == pytest.approx(0.2)
    assert np.abs(moved.score(asked) - shifted(said, shift_to(said, 0.2))).max() < 1e-12
    assert stored.score(asked.iloc[[5]])[0] == pytest.approx(stored.score(asked)[5])  # nobody's score hangs on who else is asked about


@pytest.mark.slow
@pytest.mark.parametrize("name", ["linear_regression", "random_forest", "gradient_boosting"])
def test_a_stored_amount_is_that_of_scikit_learn(name: str, tmp_path: Path) -> None:
    learned, asked = features(1), features(2)
    estimator = regressors(3)[name].fit(matrix(learned), np.log1p(window(1).spent))
    model = PredictionModel("regression", {}, {name: estimator}, ("attributes.age",)).times(2.0).times(1.5)
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


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["linear_regression", "random_forest", "gradient_boosting", "combined", *BASELINES])
def test_every_forecast_of_an_amount_can_be_stored_with_its_level_and_its_time(
    chosen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = [predictions.Window(features(seed), w.bought, w.left, w.spent) for seed, w in ((seed, window(seed)) for seed in range(4))]
    spearmanr = __import__("scipy.stats").stats.spearmanr
    today, asked = features(9), iter(["linear_regression", "random_forest", "gradient_boosting", "combined", *BASELINES])

    def favoured(said: np.ndarray, true: np.ndarray) -> Any:
        """The chosen one looks best on the window that chooses; whatever is asked for later is as it is."""
        name = next(asked, None)
        return (2.0 if name == chosen else -1.0, 0.0) if name else spearmanr(said, true)

    order = list(_names(windows, today))
    asked = iter(order)
    monkeypatch.setattr("scipy.stats.spearmanr", favoured)
    judged = judge_amount(windows, today, BASELINES, 30, 45, 1)
    assert judged.chosen == chosen
    stored = again(judged.model, tmp_path)
    assert stored.score(today) == pytest.approx(judged.prediction, rel=1e-9, abs=1e-9)
    assert judged.prediction.sum() > 0
    assert stored.score(today.iloc[::-1])[::-1] == pytest.approx(judged.prediction, rel=1e-9, abs=1e-9)


def _names(windows, today: pd.DataFrame) -> list[str]:
    """The order in which forecasts are judged."""
    return judge_amount(windows, today, BASELINES, 30, 45, 1).table["model"].tolist()


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
    model = PredictionModel("classifier", {"shift": 0.0}, {"classifier": estimator}, ("attributes.age",))
    model.save(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {FILE, "classifier.skops"}
    with zipfile.ZipFile(tmp_path / "classifier.skops") as stored:
        assert {Path(name).suffix for name in stored.namelist()} == {".npy", ".json"}
        for name in stored.namelist():
            if name.endswith(".npy"):
                assert np.load(io.BytesIO(stored.read(name)), allow_pickle=False) is not None
            assert not any(sign in stored.read(name)[:80] for sign in PICKLES)
    assert _load_pyfunc(str(tmp_path)).predict(features(2)).columns.tolist() == ["prediction"]


class Stranger:
    """No part of scikit-learn: what reads it would run its code."""

    def __init__(self) -> None:
        self.said = "hello"


@pytest.mark.parametrize("damage", ["stranger", "no archive", "missing", "format", "scikit-learn"])
def test_what_is_no_stored_model_is_refused_in_words(damage: str, tmp_path: Path) -> None:
    import skops.io

    model = PredictionModel("classifier", {"shift": 0.0}, {"classifier": regressors(1)["linear_regression"]})
    model.save(tmp_path)
    file, told = tmp_path / "classifier.skops", tmp_path / FILE
    if damage == "stranger":
        skops.io.dump(Stranger(), file)
    elif damage == "no archive":
        file.write_bytes(b"nothing")
    elif damage == "missing":
        file.unlink()
    else:
        changed = {"format": 9} if damage == "format" else {"scikit_learn": "0.1"}
        told.write_text(json.dumps(json.loads(told.read_text()) | changed))
    expected = {"format": "of format 9; expected 1", "scikit-learn": "trained with scikit-learn 0.1, found"}.get(
        damage, "no stored estimator"
    )
    with pytest.raises(StoredModelError, match=expected):
        PredictionModel.load(tmp_path)
