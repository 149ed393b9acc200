"""Customer lifetime value: BG/NBD with Gamma-Gamma, beside boosted regression and the naive forecast; whichever has proved itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Purchases:
    """What BG/NBD has to know of each customer, arrays of shape (customers,).

    Attributes:
        repeats: purchase days after the first.
        recency: days from the first purchase to the last.
        age: days from the first purchase to the as-of date.
        mean_value: mean value of a purchase day.
        repeat_value: mean value of a purchase day after the first; 0 without any.
    """

    repeats: np.ndarray
    recency: np.ndarray
    age: np.ndarray
    mean_value: np.ndarray
    repeat_value: np.ndarray


def purchases_of(features: pd.DataFrame) -> tuple[np.ndarray, Purchases]:
    """Who has bought, as a mask of shape (users,), and the purchases of those."""
    frequency = features["frequency"].to_numpy(dtype=float)
    buyers = frequency > 0
    gap = np.nan_to_num(features["purchase_gap_days"].to_numpy(dtype=float, na_value=np.nan)[buyers])
    recency = gap * (frequency[buyers] - 1)
    since = np.nan_to_num(features["purchase_recency_days"].to_numpy(dtype=float, na_value=np.nan)[buyers])
    value, again = (
        np.nan_to_num(features[name].to_numpy(dtype=float, na_value=np.nan)[buyers])
        for name in ("average_order_value", "repeat_order_value")
    )
    return buyers, Purchases(frequency[buyers] - 1, recency, recency + since, value, again)


@dataclass(frozen=True)
class BetaGeometric:
    """Parameters of BG/NBD: purchases at a rate drawn from a gamma (r, alpha), dropout after each with a chance drawn from a beta (a, b)."""

    r: float
    alpha: float
    a: float
    b: float

    def expected_purchases(self, customers: Purchases, days: float) -> np.ndarray:
        """Expected purchase days in the next ``days``, equation 10 of Fader, Hardie, Lee 2005 ("Counting Your Customers" the Easy Way).

        Its hypergeometric function after the transformation of Euler (Abramowitz and Stegun 15.3.3), in which no term grows with
        the number of purchases.
        """
        from scipy.special import hyp2f1

        r, alpha, b = self.r, self.alpha, self.b
        x, age = customers.repeats, customers.age
        if self.a < 1e-3:
            # Nobody drops out: what is left is the gamma-Poisson mean.
            return (r + x) / (alpha + age) * days
        # At a = 1 the formula is 0 / 0, and its limit what it is a hair beside.
        a = 1 + 1e-5 if abs(self.a - 1) < 1e-5 else self.a
        still = (alpha + age) / (alpha + age + days)
        with np.errstate(invalid="ignore", over="ignore"):
            ratio = still ** (a - 1) * hyp2f1(a + b - 1 - r, a - 1, a + b + x - 1, 1 - still)
            expected = (a + b + x - 1) / (a - 1) * (1 - ratio)
        beyond = ~np.isfinite(expected) | (expected < 0) | (expected > (r + x) / (alpha + age) * days)
        if beyond.any():
            expected[beyond] = self._expected_by_chances(customers, days, beyond)
        return expected * self.probability_alive(customers)

    def _expected_by_chances(self, customers: Purchases, days: float, chosen: np.ndarray) -> np.ndarray:
        """Expected purchase days of customers who are still there, as a mean over what the chance of dropping out may be.

        For parameters whose powers and hypergeometric functions are beyond doubles. Of a customer who is there after ``x`` repeats the chance p is
        distributed as beta (a, b + x) and the rate as gamma (r + x, alpha + age); equation 5 of the same paper for given p and rate,
        (1 - exp(-p rate days)) / p, has the mean (1 - (1 + p days / (alpha + age)) ** -(r + x)) / p over the rate.
        """
        from scipy.special import betaincinv

        places, weights = np.polynomial.legendre.leggauss(128)
        x, rate_days = customers.repeats[chosen, None], (days / (self.alpha + customers.age[chosen]))[:, None]
        chance = np.maximum(betaincinv(self.a, self.b + x, (places + 1) / 2), 1e-12)
        return np.asarray(-np.expm1(-(self.r + x) * np.log1p(chance * rate_days)) / chance @ weights / 2)

    def probability_alive(self, customers: Purchases) -> np.ndarray:
        """The chance of not having dropped out yet (Fader, Hardie, Lee 2008, note on BG/NBD); 1 for those who bought once."""
        from scipy.special import expit

        x = customers.repeats
        odds = np.log(self.a / (self.b + np.maximum(x, 1) - 1))
        odds = odds + (self.r + x) * np.log((self.alpha + customers.age) / (self.alpha + customers.recency))
        return np.where(x > 0, expit(-odds), 1.0)


def log_likelihood(parameters: np.ndarray, customers: Purchases) -> float:
    """Of BG/NBD, equation 6 of Fader, Hardie, Lee 2005, summed over customers. ``parameters``: r, alpha, a, b."""
    from scipy.special import betaln, gammaln

    r, alpha, a, b = parameters
    x, recency, age = customers.repeats, customers.recency, customers.age
    rate = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + x) - betaln(a, b) - (r + x) * np.log(alpha + age)
    gone = betaln(a + 1, b + np.maximum(x, 1) - 1) - betaln(a, b) - (r + x) * np.log(alpha + recency)
    return float((rate + np.where(x > 0, np.logaddexp(alive, gone), alive)).sum())


def fit_beta_geometric(customers: Purchases) -> BetaGeometric:
    """Maximum likelihood, by L-BFGS-B on the logarithms of the parameters from several starts.

    Raises:
        ValueError: nobody has bought twice.
    """
    return BetaGeometric(*maximum_likelihood(log_likelihood, customers))


def maximum_likelihood(likelihood: Callable[[np.ndarray, Purchases], float], customers: Purchases) -> tuple[float, float, float, float]:
    """The parameters r, alpha, a, b of a model of repeat purchases and dropout.

    Args:
        likelihood: the logarithm of the likelihood of parameters, shape (4,), summed over customers.
    Raises:
        ValueError: nobody has bought twice.
    """
    from scipy.optimize import minimize

    if not (customers.repeats > 0).any():
        raise ValueError("nobody has bought on two days: there is no rate of repeating to learn")
    scale = max(float(customers.age.mean()), 1.0)
    starts = [(1.0, scale / 2, 1.0, 2.0), (0.3, scale / 10, 0.5, 3.0), (2.0, scale, 0.1, 1.0)]

    def loss(logs: np.ndarray) -> float:
        return -likelihood(np.exp(logs), customers) / len(customers.age)

    fits = [minimize(loss, np.log(start), method="L-BFGS-B", bounds=[(-12, 12)] * 4) for start in starts]
    best = min(fits, key=lambda fit: fit.fun)
    r, alpha, a, b = (float(value) for value in np.exp(best.x))
    return r, alpha, a, b


@dataclass(frozen=True)
class ModifiedBetaGeometric:
    """Parameters of MBG/NBD (Batislam, Denizel, Filiztekin 2007): as BG/NBD, but a customer may drop out after the first purchase too.

    Under BG/NBD who has bought once is there for ever.
    """

    r: float
    alpha: float
    a: float
    b: float

    def probability_alive(self, customers: Purchases) -> np.ndarray:
        """The chance of not having dropped out yet (equation 7)."""
        from scipy.special import expit

        x = customers.repeats
        odds = np.log(self.a / (self.b + x)) + (self.r + x) * np.log((self.alpha + customers.age) / (self.alpha + customers.recency))
        return expit(-odds)

    def probability_of_purchase(self, customers: Purchases, days: float) -> np.ndarray:
        """The chance of a purchase in the next ``days``: who is there buys at a rate of gamma (r + x, alpha + age), and drops out only then."""
        none = ((self.alpha + customers.age) / (self.alpha + customers.age + days)) ** (self.r + customers.repeats)
        return self.probability_alive(customers) * (1 - none)


@dataclass(frozen=True)
class GammaGamma:
    """Parameters of the gamma-gamma model of spend per purchase."""

    p: float
    q: float
    gamma: float

    def expected_value(self, counts: np.ndarray, means: np.ndarray) -> np.ndarray:
        """Expected value of a purchase (Fader and Hardie 2013, equation 5): the own mean, drawn to that of all where purchases are few."""
        return self.p * (self.gamma + counts * means) / np.maximum(self.p * counts + self.q - 1, 1e-9)


def fit_gamma_gamma(counts: np.ndarray, means: np.ndarray) -> GammaGamma:
    """Maximum likelihood (Fader and Hardie 2013, "The Gamma-Gamma Model of Monetary Value"), over customers with a value above 0.

    Args:
        counts, means: number and mean value of each customer's repeat purchases: first ones, made to try a shop or with a voucher, are
            left out there.
    Raises:
        ValueError: fewer than ten customers have a value above 0.
    """
    from scipy.optimize import minimize
    from scipy.special import gammaln

    known = (means > 0) & (counts > 0)
    if known.sum() < 10:
        raise ValueError(f"{known.sum()} customers with a value above 0; at least 10 are needed")
    x, m = counts[known].astype(float), means[known].astype(float)

    def loss(logs: np.ndarray) -> float:
        p, q, gamma = np.exp(logs)
        likelihood = (
            gammaln(p * x + q)
            - gammaln(p * x)
            - gammaln(q)
            + q * np.log(gamma)
            + (p * x - 1) * np.log(m)
            + p * x * np.log(x)
            - (p * x + q) * np.log(gamma + x * m)
        )
        return -float(likelihood.mean())

    fits = [minimize(loss, np.log([1.0, q, float(m.mean())]), method="L-BFGS-B", bounds=[(-8, 12)] * 3) for q in (1.5, 4.0, 10.0)]
    best = min(fits, key=lambda fit: fit.fun)
    return GammaGamma(*(float(value) for value in np.exp(best.x)))


def fit_value(customers: Purchases) -> tuple[BetaGeometric, GammaGamma]:
    """Both models of lifetime value.

    Raises:
        ValueError: there is too little to learn from.
    """
    return fit_beta_geometric(customers), fit_gamma_gamma(customers.repeats, customers.repeat_value)


def expected_spend(model: BetaGeometric, spend: GammaGamma, customers: Purchases, days: float) -> np.ndarray:
    """Expected spend of each customer in the next ``days``, by fitted models: expected purchase days times expected value of one."""
    value = spend.expected_value(customers.repeats, customers.repeat_value)
    return np.maximum(model.expected_purchases(customers, days) * value, 0.0)


def naive_value(customers: Purchases, days: float) -> np.ndarray:
    """Past spend goes on: all value so far over the customer's age, at least 30 days, times ``days``."""
    return (customers.repeats + 1) * customers.mean_value / np.maximum(customers.age, 30.0) * days
