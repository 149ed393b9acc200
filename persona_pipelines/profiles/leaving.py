"""Leaving, of customers who are seen only when they buy: not silence for some days, but a silence that their own rhythm does not explain."""

from __future__ import annotations

import numpy as np
import pandas as pd

from persona_pipelines.intervals import compared, interval
from persona_pipelines.profiles.lifetime import ModifiedBetaGeometric, Purchases, maximum_likelihood, purchases_of
from persona_pipelines.profiles.predictions import (
    BASE_RATE,
    EVIDENT,
    Judged,
    Window,
    log_likelihoods,
    measured,
    no_drivers,
    smoothed_rate,
)
from persona_pipelines.profiles.scoring import PredictionModel

MODEL = "modified_beta_geometric"
FITS = 0.1
"""Largest calibration error of the purchases that it implies at which the model fits."""
FEWEST_LEFT = 0.01
"""Mean chance of having left below which nobody is seen to leave: silences are as long as the rates alone make them."""
USUAL = 0.8
"""Share of the customers who came again whose usual gap has to be over within the horizon for silence in it to mean anything."""


def log_likelihood(parameters: np.ndarray, customers: Purchases) -> float:
    """Of MBG/NBD, equation 5 of the paper, summed over customers. ``parameters``: r, alpha, a, b."""
    from scipy.special import betaln, gammaln

    r, alpha, a, b = parameters
    x, recency, age = customers.repeats, customers.recency, customers.age
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + x + 1) - betaln(a, b) - (r + x) * np.log(alpha + age)
    gone = betaln(a + 1, b + x) - betaln(a, b) - (r + x) * np.log(alpha + recency)
    return float((rate + np.logaddexp(alive, gone)).sum())


def fit(customers: Purchases) -> ModifiedBetaGeometric:
    """Maximum likelihood.

    Raises:
        ValueError: nobody has bought on two days.
    """
    return ModifiedBetaGeometric(*maximum_likelihood(log_likelihood, customers))


def silence_is_usual(today: pd.DataFrame, days: int) -> str | None:
    """Why silence of some days says nothing of leaving, because customers usually come again later than that; None where it does say something.

    Args:
        today: ``contracts.USER_FEATURES``.
    """
    gaps = today["purchase_gap_days"].dropna()
    usual = float(gaps.quantile(USUAL)) if len(gaps) else float("inf")
    if usual <= days:
        return None
    when = f"in {usual:.0f} days" if len(gaps) else "at all so far"
    return (
        f"who has left cannot be told from who has not come yet: {USUAL:.0%} of customers come again {when}, more than the horizon of {days} days, "
        "and no silence is longer than the own rhythm explains"
    )


def judge_leaving(windows: list[Window], today: pd.DataFrame, days: int, seed: int) -> Judged | None:
    """The chance that each customer of today has left; None where the model does not fit.

    Nobody is seen to leave. So the model is judged by what it says of purchases in the newest window, from what was known before it: it has to
    be ahead of the base rate of the window before beyond doubt, and calibrated. The figures of its row are those of these purchases.

    Args:
        windows: oldest first.
        today: ``contracts.USER_FEATURES``; of who has not bought nothing is said (nan).
        days: length of the windows.
    """
    choosing, newest = windows[-2:]
    buyers, before = purchases_of(newest.features)
    bought = newest.bought[buyers]
    earlier_buyers, earlier = purchases_of(choosing.features)
    try:
        implied = fit(before).probability_of_purchase(before, days)
        validation = log_likelihoods(choosing.bought[earlier_buyers], fit(earlier).probability_of_purchase(earlier, days)).mean()
        stored = PredictionModel(MODEL, vars(fit(purchases_of(today)[1])))
        left = stored.score(today)
    except ValueError:
        return None
    rate = smoothed_rate(choosing.bought[earlier_buyers])
    constant = np.full(len(bought), rate)
    ahead = interval(log_likelihoods(bought, implied) - log_likelihoods(bought, constant), seed)
    figures = {MODEL: measured(bought, implied), BASE_RATE: measured(bought, constant)}
    if ahead.low <= EVIDENT or figures[MODEL]["calibration_error"] > FITS or not np.nanmean(left) >= FEWEST_LEFT:
        return None
    told = f"{compared(MODEL, BASE_RATE, ahead, 'nats a customer')} in the purchases that it implies"
    validations = {
        MODEL: float(validation),
        BASE_RATE: float(log_likelihoods(choosing.bought[earlier_buyers], np.full(len(earlier.age), rate)).mean()),
    }
    rows = [
        {
            "model": name,
            **found,
            "validation": validations[name],
            "chosen": name == MODEL,
            "reason": told if name == MODEL else "another is used",
        }
        for name, found in figures.items()
    ]
    return Judged(pd.DataFrame(rows), MODEL, left, (implied, bought), no_drivers(), stored, today)
