"""Predictions: judged on what was not seen, calibrated, chosen by a gate; lifetime value by the published likelihood."""

import math
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from persona_pipelines.intervals import Interval
from persona_pipelines.profiles import predictions
from persona_pipelines.profiles.forecasting import possible_together
from persona_pipelines.profiles.lifetime import (
    BetaGeometric,
    Purchases,
    expected_spend,
    fit_beta_geometric,
    fit_gamma_gamma,
    fit_value,
    log_likelihood,
    naive_value,
)
from persona_pipelines.profiles.points import NUMBERS, SHARES, matrix
from persona_pipelines.profiles.predictions import (
    BASE_RATE,
    EVIDENT,
    Baseline,
    Window,
    calibration_error,
    coming_rate,
    judge_amount,
    judge_probability,
    lift,
    with_base_rate,
)
from persona_pipelines.profiles.windows import Past, TooLittleHistoryError, past_windows
from persona_pipelines_tests.conftest import DAY, at, events_table


def window(seed: int, users: int = 400, signal: float = 1.5, rate: float = 0.0) -> Window:
    generator = np.random.default_rng(seed)
    features = pd.DataFrame(
        {name: generator.gamma(2.0, 3.0, users) for name in NUMBERS} | {name: generator.random(users) for name in SHARES}
    )
    features["user_id"] = [f"u{number:04d}" for number in range(users)]
    taste = np.log1p(features["frequency"]) - np.log1p(features["frequency"]).mean()
    chance = 1 / (1 + np.exp(-(rate + signal * 2 * taste)))
    bought = generator.random(users) < chance
    spent = np.where(bought, np.exp(1 + taste + generator.normal(0, 0.3, users)), 0.0)
    return Window(features, bought, ~bought, spent)


@pytest.mark.slow
def test_a_signal_is_found_and_takes_the_place_of_the_base_rate() -> None:
    windows = [window(seed) for seed in range(4)]
    found = judge_probability(windows, "bought", window(9).features, None, 1)
    chosen = found.table[found.table["chosen"]].iloc[0]
    assert chosen["model"] != BASE_RATE
    assert chosen["auc"] > 0.7
    assert chosen["calibration_error"] < 0.1
    assert chosen["lift"] > 1.3
    assert found.drivers.iloc[0]["feature"] in ("frequency", "purchase_rate")
    assert found.drivers.iloc[0]["correlation"] > 0.3
    assert ((found.prediction >= 0) & (found.prediction <= 1)).all()


@pytest.mark.slow
@pytest.mark.parametrize("low", [-0.01, 0.01])
def test_a_model_that_is_ahead_is_taken_where_no_doubt_is_left(monkeypatch: pytest.MonkeyPatch, low: float) -> None:
    monkeypatch.setattr(predictions, "interval", lambda differences, seed: Interval(0.2, low, 0.3))
    found = judge_probability([window(seed, users=80) for seed in range(3)], "bought", window(9, users=80).features, None, 1)
    assert (found.chosen == BASE_RATE) == (low <= EVIDENT)


@pytest.mark.slow
def test_without_a_signal_the_base_rate_stays() -> None:
    found = judge_probability([window(seed, signal=0.0) for seed in range(4)], "bought", window(9).features, None, 1)
    assert found.chosen == BASE_RATE
    assert np.ptp(found.prediction) == 0


@pytest.mark.slow
def test_a_model_in_use_gives_way_only_beyond_doubt() -> None:
    windows = [window(seed) for seed in range(4)]
    best = judge_probability(windows, "bought", window(9).features, None, 1).chosen
    others = {"logistic_regression", "random_forest", "gradient_boosting"} - {best}
    seen = set()
    for other in (*sorted(others), BASE_RATE):
        found = judge_probability(windows, "bought", window(9).features, other, 1)
        told = " ".join(found.table["reason"])
        low = float(re.search(rf"{best} is (?:ahead of|behind) {other} by \S+ nats a user \((\S+) to", told)[1])
        assert found.chosen == (best if low > EVIDENT else other)
        seen.add(found.chosen == best)
    assert seen == {True, False}  # the base rate gives way, one of the others stays


@pytest.mark.parametrize("value", [True, False])
def test_where_all_or_none_did_it_there_is_a_defined_answer(value: bool) -> None:
    windows = [Window(w.features, np.full(400, value), np.full(400, not value), np.zeros(400)) for w in (window(seed) for seed in range(4))]
    found = judge_probability(windows, "bought", window(9).features, None, 1)
    assert found.prediction.mean() == pytest.approx(1 - 0.5 / 401 if value else 0.5 / 401)
    assert found.table["auc"].isna().all()


@pytest.mark.parametrize("before", ["logistic_regression", "random_forest"])
def test_a_model_in_use_has_nothing_to_learn_from_where_all_did_the_same_before(before: str) -> None:
    alike = [replace(window(seed, users=60), bought=np.zeros(60, dtype=bool)) for seed in range(3)]
    found = judge_probability([*alike, window(3, users=60)], "bought", window(9, users=60).features, before, 1)
    assert np.isfinite(found.prediction).all()
    assert found.drivers.empty


@pytest.mark.slow
@pytest.mark.parametrize("rates", [(0.3, 0.2, 0.15, 0.02), (0.5, 0.8, 0.9, 0.99), (0.2, 0.1, 0.05, 0.0), (0.0, 0.0, 0.0, 0.0)])
def test_what_became_rare_is_not_impossible_and_what_became_usual_not_certain(rates) -> None:
    """From 0.15 to 0.02 and half of that again would be less than nothing."""
    windows = []
    for number, rate in enumerate(rates):
        plain = window(number)
        bought = np.arange(400) < round(rate * 400)
        windows.append(Window(plain.features, bought, ~bought, np.zeros(400)))
    for target, certain in (("bought", rates[-1]), ("left", 1 - rates[-1])):
        found = judge_probability(windows, target, window(9).features, None, 1)
        assert ((found.prediction > 0) & (found.prediction < 1)).all()
        assert found.prediction.mean() == pytest.approx(certain, abs=0.1)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=8))
def test_chances_of_what_cannot_come_together_are_at_most_1_together(pairs) -> None:
    chances = pd.DataFrame(pairs, columns=["buys", "leaves"])
    found = possible_together(chances)
    assert (found.sum(axis=1) <= 1 + 1e-12).all()
    kept = chances.sum(axis=1) <= 1
    pd.testing.assert_frame_equal(found[kept], chances[kept])
    assert np.allclose(found["buys"] * chances["leaves"], found["leaves"] * chances["buys"])


@pytest.mark.slow
def test_what_nothing_was_in_use_before_is_not_said_to_be_in_use() -> None:
    windows = [window(seed, signal=0.0) for seed in range(4)]
    for before, told in ((None, False), (BASE_RATE, True)):
        table = judge_probability(windows, "bought", window(9).features, before, 1).table
        reason = table[table["chosen"]]["reason"].iloc[0]
        assert ("in use already" in reason) == (told and " by +" not in reason and " by -" not in reason)


@pytest.mark.slow
def test_features_that_are_unknown_constant_or_infinite_are_no_obstacle() -> None:
    windows = [window(seed) for seed in range(4)]
    for entry in windows:
        entry.features["click_rate"] = np.nan
        entry.features["searches"] = 3
        entry.features.loc[0, "monetary_value"] = np.inf
    found = judge_probability(windows, "bought", windows[0].features, None, 1)
    assert np.isfinite(found.prediction).all()
    assert np.isfinite(judge_amount(windows, windows[0].features, {}, 30, 30, 1).prediction).all()


@pytest.mark.parametrize("seed", range(3))
def test_lift_is_the_same_in_any_order_of_people_with_the_same_chance(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(400)
    happened = (np.arange(400) % 4 == 0)[order]
    assert lift(happened, np.full(400, 0.25)) == pytest.approx(1)
    halves = np.where(np.arange(400) < 20, 0.9, 0.1)[order]  # 20 above the edge, and 20 of 380 who are alike
    doers = 5 + 20 * 95 / 380
    assert lift(happened, halves) == pytest.approx(doers / 40 / 0.25)
    assert lift(happened, happened.astype(float)) == pytest.approx(4)


def test_the_calibration_error_is_that_of_the_definition() -> None:
    """Ten groups of a hundred users with one probability each: the mean distance to the share that it came true for, in any order."""
    said = np.arange(1, 11) / 12
    true = np.array([5, 10, 35, 30, 40, 55, 50, 70, 75, 90])
    probability = np.repeat(said, 100)
    happened = np.concatenate([np.arange(100) < count for count in true])
    shuffled = np.random.default_rng(1).permutation(1000)
    assert calibration_error(happened[shuffled], probability[shuffled]) == pytest.approx(np.abs(true / 100 - said).mean())
    assert calibration_error(np.arange(1000) % 4 == 0, np.full(1000, 0.25)) == pytest.approx(0)
    assert calibration_error(np.arange(10) < 5, np.arange(10) / 10) == pytest.approx(0.05)  # too few for more than one group


def test_moving_the_base_rate_keeps_the_order_and_meets_the_mean() -> None:
    chances = np.random.default_rng(1).random(1000)
    moved = with_base_rate(chances, 0.34)
    assert moved.mean() == pytest.approx(0.34)
    assert (np.argsort(moved) == np.argsort(chances)).all()
    assert coming_rate([0.24, 0.28, 0.30]) == pytest.approx(expit(logit(0.30) + (logit(0.30) - logit(0.28)) / 2))
    assert coming_rate([0.3]) == 0.3


@pytest.mark.slow
def test_forecasts_of_spend_meet_the_total_and_the_best_on_the_window_before_is_taken() -> None:
    windows = [window(seed) for seed in range(4)]
    baselines = {"nothing": Baseline(lambda features, days: np.zeros(len(features)))}
    found = judge_amount(windows, window(9).features, baselines, 30, 60, 1)
    assert found.table.set_index("model").loc[found.chosen, "spearman"] > 0.3
    assert found.table[found.table["chosen"]]["validation"].iloc[0] == found.table["validation"].max()
    assert found.prediction.sum() == pytest.approx(2.0 * windows[-1].spent.sum() * len(found.prediction) / 400)


@pytest.mark.slow
def test_where_no_forecast_orders_people_all_are_foreseen_the_mean_and_nothing_drives_it() -> None:
    """Spend that is drawn by lot: a forecast that was ahead on the window before is so by chance."""
    lot = [
        Window(found.features, found.bought, found.left, np.random.default_rng(seed).permutation(found.spent))
        for seed, found in ((seed, window(seed, signal=0.0)) for seed in range(4))
    ]
    found = judge_amount(lot, window(9).features, {}, 30, 60, 1)
    assert found.chosen == "mean"
    assert np.ptp(found.prediction) == 0
    assert found.prediction.mean() == pytest.approx(2 * lot[-1].spent.mean())
    assert found.drivers.empty
    assert found.model.score(window(9).features) == pytest.approx(found.prediction)
    reasons = found.table.set_index("model")["reason"]
    assert "is not above 0 beyond doubt" in reasons["mean"]
    assert judge_amount([window(seed) for seed in range(4)], window(9).features, {}, 30, 60, 1).chosen != "mean"


@pytest.mark.slow
def test_a_forecast_with_a_level_of_its_own_keeps_it_and_says_how_time_goes_on() -> None:
    """One that knows the spend exactly, in half the unit: its total is told, and never brought to that of another window."""
    windows = [window(seed) for seed in range(4)]
    spent = {len(entry.features) * 1000 + entry.features["frequency"].sum(): entry.spent for entry in (*windows, window(9))}

    def oracle(features: pd.DataFrame, days: float) -> np.ndarray:
        return spent[len(features) * 1000 + features["frequency"].sum()] / 2 * (days / 30) ** 0.5

    found = judge_amount(windows, window(9).features, {"oracle": Baseline(oracle, levelled=True)}, 30, 120, 1)
    assert found.chosen == "oracle"
    table = found.table.set_index("model")
    assert table.loc["oracle", "level"] == pytest.approx(0.5)
    assert table.loc["combined", "level"] == pytest.approx(1.0, abs=0.2)
    assert found.prediction.sum() == pytest.approx(window(9).spent.sum() / 2 * 2)
    poor = {"poor": Baseline(lambda features, days: np.full(len(features), (days / 30) ** 0.5), levelled=True)}
    ahead, now = (judge_amount(windows, window(9).features, poor, 30, days, 1).prediction.sum() for days in (120, 30))
    assert ahead == pytest.approx(2 * now)  # as the one with a level goes on, and not four times as much


def simulated(r: float, alpha: float, a: float, b: float, customers: int, days: float, seed: int) -> tuple[Purchases, np.ndarray]:
    """Customers of BG/NBD: purchases until ``days``, and the purchases in as many days after."""
    generator = np.random.default_rng(seed)
    repeats, recency, later = np.zeros(customers), np.zeros(customers), np.zeros(customers)
    for number in range(customers):
        rate, dropout, moment = generator.gamma(r, 1 / alpha), generator.beta(a, b), 0.0
        while True:
            moment += generator.exponential(1 / rate)
            if moment > 2 * days:
                break
            if moment <= days:
                repeats[number], recency[number] = repeats[number] + 1, moment
            else:
                later[number] += 1
            if generator.random() < dropout:
                break
    return Purchases(repeats, recency, np.full(customers, days), np.full(customers, 10.0), np.full(customers, 10.0)), later


def test_the_fit_recovers_the_parameters_of_data_that_were_simulated_from_it() -> None:
    customers, later = simulated(0.8, 30.0, 0.9, 2.5, 4000, 200.0, 3)
    found = fit_beta_geometric(customers)
    assert found.r == pytest.approx(0.8, rel=0.15)
    assert found.alpha == pytest.approx(30.0, rel=0.2)
    assert found.a / (found.a + found.b) == pytest.approx(0.9 / 3.4, rel=0.2)
    assert found.expected_purchases(customers, 200.0).sum() == pytest.approx(later.sum(), rel=0.08)
    assert ((found.probability_alive(customers) >= 0) & (found.probability_alive(customers) <= 1)).all()


legendre = cache(np.polynomial.legendre.leggauss)


@pytest.mark.parametrize(("x", "recency", "age"), [(0, 0.0, 30.0), (1, 12.0, 30.0), (4, 25.0, 30.0)])
def test_the_likelihood_is_the_integral_over_rates_and_dropouts(x: int, recency: float, age: float) -> None:
    """Equation 3 of Fader, Hardie, Lee 2005 for one customer, integrated over the two distributions by quadrature."""
    from scipy.integrate import dblquad
    from scipy.special import betaln, gammaln

    r, alpha, a, b = 0.9, 12.0, 1.3, 2.2
    constant = r * np.log(alpha) - gammaln(r) - betaln(a, b)

    def one(p: float, rate: float) -> float:
        alive = (1 - p) ** x * rate**x * math.exp(-rate * age)
        gone = p * (1 - p) ** (x - 1) * rate**x * math.exp(-rate * recency) if x else 0.0
        return (alive + gone) * math.exp(
            constant + (r - 1) * math.log(rate) - alpha * rate + (a - 1) * math.log(p) + (b - 1) * math.log1p(-p)
        )

    expected, _ = dblquad(one, 0, 4, 0, 1, epsabs=1e-10, epsrel=1e-5)
    customer = Purchases(np.array([float(x)]), np.array([recency]), np.array([age]), np.array([1.0]), np.array([1.0]))
    assert log_likelihood(np.array([r, alpha, a, b]), customer) == pytest.approx(np.log(expected), abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [(0.5, 2.4), (1.0, 2.2), (1 - 1e-9, 2.2), (1.3, 2.2), (3.0, 0.7)])
@pytest.mark.parametrize(("x", "recency", "age"), [(0, 0.0, 30.0), (3, 20.0, 30.0), (400, 350.0, 365.0)])
def test_expected_purchases_are_the_integral_over_rates_and_dropouts(a: float, b: float, x: int, recency: float, age: float) -> None:
    """Of a customer with rate l who drops out after a purchase with chance p: (1 - exp(-l p t)) / p (equation 7 of the paper), over
    the two distributions given the history, times the chance of being there still; at a = 1 too, and for hundreds of purchases."""
    from scipy.special import betaln, gammaln

    r, alpha, days = 0.9, 12.0, 60.0
    customer = Purchases(*(np.array([float(value)]) for value in (x, recency, age, 1, 1)))
    model = BetaGeometric(r, alpha, a, b)
    # Given that the customer is there still, the rate is gamma (r + x, alpha + age), the chance beta (a, b + x).
    chance, wide = legendre(1500)
    chance, wide = (chance + 1) / 2, wide / 2
    # p = u ** 4, so that the density has no pole at 0.
    p, jacobian = chance**4, 4 * chance**3
    density = np.exp((a - 1) * np.log(p) + (b + x - 1) * np.log1p(-p) - betaln(a, b + x)) * jacobian * wide
    rates, weights = np.polynomial.laguerre.laggauss(120)
    rate_density = np.exp((r + x - 1) * np.log(rates) - gammaln(r + x)) * weights if x < 100 else None
    if rate_density is None:  # narrow: by a grid around the mean
        grid = np.linspace(0.5, 1.5, 1501) * (r + x)
        rate_density = np.exp((r + x - 1) * np.log(grid) - grid - gammaln(r + x)) * (grid[1] - grid[0])
        rates = grid
    rates = rates / (alpha + age)
    inside = -np.expm1(-rates[:, None] * p[None, :] * days) / p[None, :]
    expected = float(rate_density @ inside @ density) * model.probability_alive(customer)[0]
    assert model.expected_purchases(customer, days)[0] == pytest.approx(expected, rel=2e-3)


LOGS = st.floats(-12, 12)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(logs=st.tuples(LOGS, LOGS, LOGS, LOGS), x=st.integers(0, 5000), share=st.floats(0, 1), age=st.floats(1, 5000))
def test_expected_purchases_are_numbers_whatever_the_likelihood_ends_at(logs, x: int, share: float, age: float) -> None:
    """Between nothing and what somebody would buy who never drops out; more in more days."""
    model = BetaGeometric(*np.exp(logs))
    customer = Purchases(*(np.array([float(value)]) for value in (x, share * age if x else 0, age, 1, 1)))
    found = [float(model.expected_purchases(customer, days)[0]) for days in (30, 180, 720)]
    assert np.isfinite(found).all()
    assert 0 <= found[0] <= found[1] * (1 + 1e-6) <= found[2] * (1 + 1e-6) ** 2
    assert found[1] <= (model.r + x) / (model.alpha + age) * 180 * (1 + 1e-6)


@pytest.mark.parametrize("dropout", [0.01, 0.08, 0.5])
@pytest.mark.parametrize("size", [1e3, 1e5, 1e8])
def test_a_chance_of_dropping_out_that_all_share_needs_no_distribution(dropout: float, size: float) -> None:
    """Towards one chance p for all, where powers of doubles end: (1 - (1 + p days / (alpha + age)) ** -(r + x)) / p."""
    model, days = BetaGeometric(0.8, 25.0, dropout * size, (1 - dropout) * size), 180.0
    x, age = np.array([0.0, 9.0, 40.0]), np.array([106.0, 106.0, 400.0])
    customers = Purchases(x, np.where(x > 0, age - 13, 0), age, np.ones(3), np.ones(3))
    expected = -np.expm1(-(0.8 + x) * np.log1p(dropout * days / (25.0 + age))) / dropout * model.probability_alive(customers)
    # The mean chance of those who stayed is a little lower, the less so the surer the chance.
    assert model.expected_purchases(customers, days) == pytest.approx(expected, rel=min(0.2, 60 / (size * dropout)) + 1e-6)


@pytest.mark.parametrize("repeats", [(1, 6, 10), (3, 12, 40), (10, 30, 100), (30, 24, 40)])
def test_customers_who_are_all_alike_have_a_value(repeats) -> None:
    x, recency, age = (np.full(12, float(number)) for number in repeats)
    customers = Purchases(x, recency, age, np.full(12, 10.0), np.full(12, 10.0))
    found = expected_spend(*fit_value(customers), customers, 180)
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_spend_is_learned_from_repeat_purchases_alone() -> None:
    """First purchases of a hundredth of the value say nothing of what comes later."""
    customers, _ = simulated(0.8, 30.0, 0.9, 2.5, 1500, 200.0, 3)
    values = np.random.default_rng(2).gamma(6.0, 1 / np.random.default_rng(3).gamma(4.0, 1 / 15.0, 1500))
    again = np.where(customers.repeats > 0, values, 0.0)
    shops = [Purchases(customers.repeats, customers.recency, customers.age, mean, again) for mean in (values, values / 100)]
    dear, cheap = (expected_spend(*fit_value(shop), shop, 100.0) for shop in shops)
    assert np.allclose(dear, cheap)
    assert dear[customers.repeats == 0].min() > 0


def test_gamma_gamma_recovers_its_parameters_and_draws_few_purchases_to_the_mean() -> None:
    generator = np.random.default_rng(5)
    p, q, gamma_ = 6.0, 4.0, 15.0
    scale = generator.gamma(q, 1 / gamma_, 8000)
    counts = generator.integers(1, 12, 8000)
    means = np.array([generator.gamma(p, 1 / rate, count).mean() for rate, count in zip(scale, counts, strict=True)])
    found = fit_gamma_gamma(counts, means)
    assert found.p * found.gamma / (found.q - 1) == pytest.approx(p * gamma_ / (q - 1), rel=0.05)
    once, often = found.expected_value(np.array([1, 50]), np.array([100.0, 100.0]))
    assert found.p * found.gamma / (found.q - 1) < once < often < 100


def test_lifetime_value_has_a_defined_answer_for_next_to_nothing() -> None:
    once = Purchases(np.zeros(20), np.zeros(20), np.full(20, 50.0), np.full(20, 8.0), np.zeros(20))
    with pytest.raises(ValueError, match="nobody has bought on two days"):
        fit_value(once)
    assert np.allclose(naive_value(once, 50), 8.0)
    certain = BetaGeometric(1.0, 10.0, 1e-6, 1.0).expected_purchases(
        Purchases(np.array([2.0]), np.array([5.0]), np.array([10.0]), np.ones(1), np.ones(1)), 20
    )
    assert certain == pytest.approx([(1 + 2) / (10 + 10) * 20])


@pytest.mark.slow
def test_windows_know_nothing_of_what_comes_after_them(warehouse) -> None:
    import datetime as dt

    import ibis

    from persona_pipelines.warehouse import contracts

    events = [
        {"user_id": f"u{user}", "item_id": "i", "timestamp": at(0, DAY + dt.timedelta(days=day)), "event_type": "purchase", "value": 2.0}
        for user in range(30)
        for day in range(user % 5, 40, 5)
    ]
    table = events_table(warehouse, *events)
    with warehouse.transaction():
        warehouse.replace(contracts.EVENTS, table)
        warehouse.replace(
            contracts.ITEMS,
            ibis.memtable({"item_id": ["i"], "in_catalogue": [True]}).mutate(
                **{
                    column.name: ibis.null(column.type)
                    for column in contracts.ITEMS.columns
                    if column.name not in ("item_id", "in_catalogue")
                }
            ),
        )
    found = past_windows(Past(warehouse, "UTC"), DAY + dt.timedelta(days=39), 7, 3, 20)
    assert len(found) == 3
    assert [f"{entry.features['as_of_date'].iloc[0]:%Y-%m-%d}" for entry in found] == ["2025-09-19", "2025-09-26", "2025-10-03"]
    assert (found[-1].spent[found[-1].bought] >= 2).all()
    # Who bought every five days bought in every seven.
    assert found[0].bought.all()
    with pytest.raises(TooLittleHistoryError, match="the logs reach back 40 days; 80 are needed for windows of 20 days"):
        past_windows(Past(warehouse, "UTC"), DAY + dt.timedelta(days=39), 20, 3, 20)


@pytest.mark.slow
def test_what_others_did_to_a_user_is_no_sign_of_life(warehouse) -> None:
    """Messages that were sent to people who did nothing themselves do not keep them from having left."""
    import datetime as dt

    from persona_pipelines.profiles.windows import window as past_window
    from persona_pipelines.warehouse import contracts

    later = {"sent": "impression", "clicked": "click", "bought": "purchase"}
    events = [{"user_id": user, "timestamp": at(1), "event_type": "page_view"} for user in (*later, "silent")]
    events += [{"user_id": user, "timestamp": at(1, DAY + dt.timedelta(days=2)), "event_type": kind} for user, kind in later.items()]
    with warehouse.transaction():
        warehouse.replace(contracts.EVENTS, events_table(warehouse, *events))
    found = past_window(Past(warehouse, "UTC"), DAY, 7)
    assert dict(zip(found.features["user_id"], found.left, strict=True)) == {
        "bought": False,
        "clicked": False,
        "sent": True,
        "silent": True,
    }
    assert dict(zip(found.features["user_id"], found.bought, strict=True)) == {
        "bought": True,
        "clicked": False,
        "sent": False,
        "silent": False,
    }


def test_the_matrix_has_no_infinite_number() -> None:
    entry = window(1)
    entry.features.loc[0, ["monetary_value", "purchase_gap_days"]] = [np.inf, np.nan]
    assert not np.isinf(matrix(entry.features)).any()
