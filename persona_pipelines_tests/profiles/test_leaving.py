"""Leaving by one's own rhythm: the published likelihood, customers whose truth is known, and where the model does not fit."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.profiles.leaving import MODEL, ModifiedBetaGeometric, fit, judge_leaving, log_likelihood
from persona_pipelines.profiles.lifetime import Purchases
from persona_pipelines.profiles.predictions import BASE_RATE, Window, calibration_error

TRUTH = ModifiedBetaGeometric(1.2, 40.0, 0.8, 2.0)
DAYS = 30


def customers(repeats: list[float], recency: list[float], age: list[float]) -> Purchases:
    known = [np.array(values, dtype=float) for values in (repeats, recency, age)]
    return Purchases(known[0], known[1], known[2], np.ones(len(age)), np.ones(len(age)))


def simulated(count: int, seed: int, until: int = 400) -> tuple[list[np.ndarray], np.ndarray]:
    """Purchase days of customers of the model, and the day from which on each has dropped out (infinite: not yet)."""
    generator = np.random.default_rng(seed)
    days, gone = [], []
    for _ in range(count):
        rate, chance = generator.gamma(TRUTH.r, 1 / TRUTH.alpha), generator.beta(TRUTH.a, TRUTH.b)
        moments, last = [generator.uniform(0, until / 2)], math.inf
        while moments[-1] < until:
            if generator.random() < chance:
                last = moments[-1]
                break
            moments.append(moments[-1] + generator.exponential(1 / max(rate, 1e-9)))
        days.append(np.array([moment for moment in moments if moment < until]))
        gone.append(last)
    return days, np.array(gone)


def known(days: list[np.ndarray], at: float) -> pd.DataFrame:
    """What features say of the purchases before a day."""
    rows = []
    for moments in days:
        before = np.unique(np.floor(moments[moments < at]))
        gap = (before[-1] - before[0]) / (len(before) - 1) if len(before) > 1 else np.nan
        since = at - before[-1] if len(before) else np.nan
        rows.append((len(before), gap, since, 10.0, 10.0))
    return pd.DataFrame(
        rows, columns=["frequency", "purchase_gap_days", "purchase_recency_days", "average_order_value", "repeat_order_value"]
    )


def windows(days: list[np.ndarray], ends: list[int]) -> list[Window]:
    found = []
    for end in ends:
        features = known(days, end - DAYS)
        kept = (features["frequency"] > 0).to_numpy()
        bought = np.array([((moments >= end - DAYS) & (moments < end)).any() for moments in days])
        found.append(Window(features[kept].reset_index(drop=True), bought[kept], ~bought[kept], bought[kept].astype(float)))
    return found


def test_the_likelihood_of_one_purchase_is_as_worked_out_by_hand() -> None:
    """Dropped out at once with a / (a + b), else silent since at a rate of gamma (r, alpha)."""
    r, alpha, a, b, age = 0.5, 10.0, 1.0, 3.0, 20.0
    expected = a / (a + b) + b / (a + b) * (alpha / (alpha + age)) ** r
    assert log_likelihood(np.array([r, alpha, a, b]), customers([0], [0], [age])) == pytest.approx(math.log(expected))
    alive = ModifiedBetaGeometric(r, alpha, a, b).probability_alive(customers([0], [0], [age]))
    assert alive[0] == pytest.approx(b / (a + b) * (alpha / (alpha + age)) ** r / expected)


@pytest.mark.slow
def test_the_chance_of_being_there_is_that_of_customers_whose_truth_is_known() -> None:
    days, gone = simulated(6_000, 3)
    bought = customers(
        [len(moments) - 1 for moments in days], [moments[-1] - moments[0] for moments in days], [400 - moments[0] for moments in days]
    )
    found = fit(bought)
    alive = found.probability_alive(bought)
    assert calibration_error(gone == math.inf, alive) < 0.04
    once = bought.repeats == 0
    assert alive[once].max() < 1
    assert abs(alive[once].mean() - (gone[once] == math.inf).mean()) < 0.04


@pytest.mark.slow
def test_a_silence_counts_by_the_own_rhythm() -> None:
    days, _ = simulated(1_500, 5)
    judged = judge_leaving(windows(days, [310, 340, 370]), known(days, 370), DAYS, 1)
    assert judged is not None
    assert judged.chosen == MODEL
    table = judged.table.set_index("model")
    assert table.loc[MODEL, "auc"] > 0.6
    assert table.loc[MODEL, "calibration_error"] < 0.1
    assert table.loc[MODEL, "log_loss"] < table.loc[BASE_RATE, "log_loss"]
    assert np.isfinite(judged.prediction[(known(days, 370)["frequency"] > 0).to_numpy()]).all()
    often, rarely = customers([20, 20], [300, 200], [310, 310]), customers([2, 2], [300, 200], [310, 310])
    assert TRUTH.probability_alive(often)[0] > 0.9
    assert TRUTH.probability_alive(often)[1] < 0.01  # of who bought every two weeks a hundred silent days say much
    assert TRUTH.probability_alive(rarely)[1] > 0.5  # of who buys twice a year they say little


def test_who_has_not_bought_is_not_said_to_leave() -> None:
    days, _ = simulated(400, 6)
    today = pd.concat([known(days, 370), known([np.array([])], 370)], ignore_index=True)
    judged = judge_leaving(windows(days, [310, 340, 370]), today, DAYS, 1)
    assert judged is not None
    assert np.isnan(judged.prediction[-1])
    assert np.allclose(judged.model.score(today), judged.prediction, equal_nan=True)
    assert judged.model.kind == MODEL


@pytest.mark.parametrize("kind", ["nobody twice", "all on the same days"])
def test_where_the_model_does_not_fit_it_says_nothing(kind: str) -> None:
    """Everybody once; or a fair on every hundredth day that everybody goes to, whose next one lies within the window: no rhythm of anybody's own."""
    days = (
        [np.array([float(number % 300)]) for number in range(300)]
        if kind == "nobody twice"
        else [np.array([50.0, 150.0, 250.0, 350.0])] * 300
    )
    assert judge_leaving(windows(days, [310, 340, 370]), known(days, 370), DAYS, 1) is None
