"""All predictions of a day: buying, leaving, spend and lifetime value, with how well each model did."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import attributes_of_users, joined
from persona_pipelines.profiles.lifetime import Purchases, naive_value, value_by_beta_geometric
from persona_pipelines.profiles.predictions import Baseline, Judged, Window, judge_amount, judge_probability
from persona_pipelines.profiles.targets import own_targets, with_attributes
from persona_pipelines.profiles.windows import Past, TooLittleHistoryError, past_windows
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.connection import Warehouse

PROBABILITIES = {"purchase": ("bought", "purchase_probability"), "churn": ("left", "churn_probability")}
SPEND, LIFETIME = "spend", "lifetime value"
MOST_LIFETIME_WINDOWS = 4


@dataclass(frozen=True)
class Forecast:
    """``users``: rows of ``contracts.USER_PREDICTIONS``; ``judged`` by target; ``windows``: begin and days of what judged, where it was a
    window; ``missing``: the reason of each target without one."""

    users: pd.DataFrame
    judged: dict[str, Judged]
    windows: dict[str, tuple[dt.date | None, int | None]]
    missing: dict[str, str]

    def quality(self) -> pd.DataFrame:
        """Rows of ``contracts.PREDICTION_QUALITY``."""
        frames = [
            found.table.assign(target=target, window_start=self.windows[target][0], window_days=self.windows[target][1])
            for target, found in self.judged.items()
        ]
        return pd.concat([frame.astype(object) for frame in frames], ignore_index=True) if frames else pd.DataFrame()

    def drivers(self) -> pd.DataFrame:
        """Rows of ``contracts.PREDICTION_DRIVERS``."""
        frames = [found.drivers.assign(target=target) for target, found in self.judged.items() if len(found.drivers)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


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


def possible_together(chances: pd.DataFrame) -> pd.DataFrame:
    """Chances of things of which one alone can come, shape (users, things): where models of each say more than 1 together, all give way.

    Who buys does something, so buying and doing nothing at all are such.
    """
    return chances.div(chances.sum(axis=1).clip(lower=1), axis=0)


def _of_buyers(features: pd.DataFrame, forecast: Callable[[Purchases], np.ndarray]) -> np.ndarray:
    """A forecast for buyers; 0 for those who have not bought yet."""
    buyers, purchases = purchases_of(features)
    found = np.zeros(len(features))
    if buyers.any():
        found[buyers] = forecast(purchases)
    return found


def _beta_geometric(features: pd.DataFrame, days: float) -> np.ndarray:
    try:
        return _of_buyers(features, lambda purchases: value_by_beta_geometric(purchases, days))
    except ValueError:
        # Nobody has bought twice, or too few have bought at all: no rate to learn.
        return np.zeros(len(features))


BASELINES = {
    "past_spend": Baseline(lambda features, days: _of_buyers(features, lambda purchases: (purchases.repeats + 1) * purchases.mean_value)),
    "past_rate": Baseline(lambda features, days: _of_buyers(features, lambda purchases: naive_value(purchases, days))),
    "beta_geometric": Baseline(_beta_geometric, levelled=True),
}
"""Forecasts of spend that need no past windows, by name."""


def forecast(warehouse: Warehouse, settings: Settings, today: pd.DataFrame, as_of: dt.date, before: Mapping[str, str]) -> Forecast:
    """Predict for every user of ``today``.

    Args:
        today: ``contracts.USER_FEATURES`` as of ``as_of``.
        before: the models in use, by target.
    """
    chosen = settings.predictions
    seed, past = chosen.seed, Past(warehouse, settings.features.timezone)
    users = pd.DataFrame({"user_id": today["user_id"], "as_of_date": as_of, "horizon_days": chosen.horizon_days})
    for column in ("purchase_probability", "churn_probability", "expected_spend", "lifetime_value"):
        users[column] = np.nan
    judged: dict[str, Judged] = {}
    spans: dict[str, tuple[dt.date | None, int | None]] = {}
    missing: dict[str, str] = {}

    def newest(days: int) -> tuple[dt.date, int]:
        return as_of - dt.timedelta(days=days - 1), days

    attributes = attributes_of_users(warehouse, settings)
    features, today = today, joined(today, attributes)
    try:
        windows = past_windows(past, as_of, chosen.horizon_days, chosen.windows + 2, chosen.minimum_users)
    except TooLittleHistoryError as error:
        missing |= dict.fromkeys((*PROBABILITIES, SPEND), str(error))
    else:
        windows = with_attributes(windows, attributes)
        for target, (outcome, column) in PROBABILITIES.items():
            judged[target] = judge_probability(windows, outcome, today, before.get(target), seed)
            users[column] = np.clip(judged[target].prediction, 0, 1)
            spans[target] = newest(chosen.horizon_days)
        columns = [column for _, column in PROBABILITIES.values()]
        users[columns] = possible_together(users[columns]).round(6)
        if any(window.bought.any() for window in windows[:-1]):
            judged[SPEND] = judge_amount(windows, today, BASELINES, chosen.horizon_days, chosen.horizon_days, seed)
            users["expected_spend"] = judged[SPEND].prediction.round(6)
            spans[SPEND] = newest(chosen.horizon_days)
        else:
            missing[SPEND] = "nobody has bought anything"
    _lifetime(past, settings, today, attributes, as_of, users, judged, spans, missing, newest)
    users["targets"] = own_targets(past, settings, features, as_of, before, judged, spans, missing)
    return Forecast(users, judged, spans, missing)


def _lifetime(past: Past, settings: Settings, today: pd.DataFrame, attributes: pd.DataFrame, as_of: dt.date, users: pd.DataFrame, judged: dict[str, Judged],
              spans: dict[str, tuple[dt.date | None, int | None]], missing: dict[str, str], newest: Callable[[int], tuple[dt.date, int]]) -> None:  # fmt: skip
    """Add the lifetime value: forecasts of the longest windows that the logs reach back for, brought to ``lifetime_days``."""
    chosen = settings.predictions
    reach = int(today["tenure_days"].max()) + 1
    days = max(1, min(chosen.lifetime_days, reach // 4))
    try:
        windows = past_windows(past, as_of, days, MOST_LIFETIME_WINDOWS, chosen.minimum_users)
    except TooLittleHistoryError as error:
        missing[LIFETIME] = str(error)
        return
    windows = [buyers_of(window) for window in with_attributes(windows, attributes)]
    buyers, _ = purchases_of(today)
    if not buyers.any() or any(len(window.spent) < chosen.minimum_users or window.spent.sum() <= 0 for window in windows):
        missing[LIFETIME] = f"fewer than {chosen.minimum_users} customers had bought before one of the windows of {days} days"
        return
    judged[LIFETIME] = judge_amount(windows, today[buyers], BASELINES, days, chosen.lifetime_days, chosen.seed)
    users["lifetime_value"] = 0.0
    users.loc[buyers, "lifetime_value"] = judged[LIFETIME].prediction.round(6)
    spans[LIFETIME] = newest(days)


def buyers_of(window: Window) -> Window:
    """The same window with those alone who had bought before it."""
    kept, _ = purchases_of(window.features)
    return window.of(kept)
