"""All predictions of a day: buying, leaving, spend and lifetime value, with how well each model did."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import attributes_of_users, joined
from persona_pipelines.parallel import side_by_side
from persona_pipelines.profiles.leaving import judge_leaving, silence_is_usual
from persona_pipelines.profiles.lifetime import Purchases, naive_value, purchases_of, value_by_beta_geometric
from persona_pipelines.profiles.predictions import Baseline, Judged, Question, Window, judge_amount, judge_probability
from persona_pipelines.profiles.targets import as_objects, own_targets, with_attributes
from persona_pipelines.profiles.windows import Past, TooLittleHistoryError, past_windows
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.connection import Warehouse

PURCHASE, CHURN = "purchase", "churn"
NO_PURCHASES = "the log has no purchases or bookings with a date"
PROBABILITIES = {PURCHASE: ("bought", "purchase_probability"), CHURN: ("left", "churn_probability")}
SPEND, LIFETIME = "spend", "lifetime value"
MOST_LIFETIME_WINDOWS = 4


@dataclass(frozen=True)
class Forecast:
    """``users``: rows of ``contracts.USER_PREDICTIONS``; ``judged`` and ``questions`` by target; ``missing``: the reason of each target without one."""

    users: pd.DataFrame
    judged: dict[str, Judged]
    questions: dict[str, Question]
    missing: dict[str, str]

    def quality(self) -> pd.DataFrame:
        """Rows of ``contracts.PREDICTION_QUALITY``."""
        frames = [
            found.table.assign(
                target=target,
                definition=self.questions[target].definition,
                window_start=self.questions[target].begin,
                window_days=self.questions[target].days,
            )
            for target, found in self.judged.items()
        ]
        return pd.concat([frame.astype(object) for frame in frames], ignore_index=True) if frames else pd.DataFrame()

    def drivers(self) -> pd.DataFrame:
        """Rows of ``contracts.PREDICTION_DRIVERS``."""
        frames = [found.drivers.assign(target=target) for target, found in self.judged.items() if len(found.drivers)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


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
    chosen, past = settings.predictions, Past(warehouse, settings.features.timezone)
    attributes = attributes_of_users(warehouse, settings)
    known = joined(today, attributes)
    questions, missing = _of_the_horizon(past, settings, known, attributes, as_of, before)
    try:
        questions[LIFETIME] = _lifetime(past, settings, known, attributes, as_of)
    except TooLittleHistoryError as error:
        missing[LIFETIME] = str(error)
    own, not_known = own_targets(past, settings, today, as_of, before)
    questions, missing = questions | own, missing | not_known
    answers = side_by_side([question.answer for question in questions.values()])
    judged = dict(zip(questions, answers, strict=True))

    users = pd.DataFrame({"user_id": today["user_id"], "as_of_date": as_of, "horizon_days": chosen.horizon_days})
    columns = [column for _, column in PROBABILITIES.values()]
    for target, (_, column) in PROBABILITIES.items():
        users[column] = np.clip(judged[target].prediction, 0, 1) if target in judged else np.nan
    users[columns] = possible_together(users[columns]).round(6)
    users["expected_spend"] = judged[SPEND].prediction.round(6) if SPEND in judged else np.nan
    users["lifetime_value"] = 0.0 if LIFETIME in judged else np.nan
    if LIFETIME in judged:
        users.loc[purchases_of(today)[0], "lifetime_value"] = judged[LIFETIME].prediction.round(6)
    users["targets"] = as_objects({name: judged[name] for name in own}, len(users))
    return Forecast(users, judged, questions, missing)


def _of_the_horizon(
    past: Past, settings: Settings, today: pd.DataFrame, attributes: pd.DataFrame, as_of: dt.date, before: Mapping[str, str]
) -> tuple[dict[str, Question], dict[str, str]]:
    """Buying, leaving and spend in the days to come, and the reason of each that nothing can be said of."""
    chosen = settings.predictions
    begin, days = as_of - dt.timedelta(days=chosen.horizon_days - 1), chosen.horizon_days
    try:
        windows = past_windows(past, as_of, days, chosen.windows + 2, chosen.minimum_users)
    except TooLittleHistoryError as error:
        return {}, dict.fromkeys((*PROBABILITIES, SPEND), str(error))
    windows = with_attributes(windows, attributes)
    sold = today["frequency"].notna().any()
    meaning = {PURCHASE: f"a purchase or booking within {days} days", CHURN: f"no own event within {days} days"}
    questions = {
        target: Question(meaning[target], partial(judge_probability, windows, outcome, today, before.get(target), chosen.seed), begin, days)
        for target, (outcome, _) in PROBABILITIES.items()
        if sold or target != PURCHASE
    }
    missing: dict[str, str] = {}
    if not past.log.visits and past.log.people == "customers":
        if (left := judge_leaving(windows, today, days, chosen.seed)) is not None:
            told = f"has stopped buying, by the own rhythm (1 less the probability alive); judged by the purchases within {days} days that it implies"
            questions[CHURN] = Question(told, lambda: left, begin, days)
        elif why := silence_is_usual(today, days):
            del questions[CHURN]
            missing[CHURN] = why
    if not sold:
        return questions, missing | dict.fromkeys((PURCHASE, SPEND), NO_PURCHASES)
    if not any(window.bought.any() for window in windows[:-1]):
        return questions, missing | {SPEND: "nobody has bought anything"}
    told = f"value of purchases and bookings within {days} days, before refunds"
    questions[SPEND] = Question(told, partial(judge_amount, windows, today, BASELINES, days, days, chosen.seed), begin, days)
    return questions, missing


def _lifetime(past: Past, settings: Settings, today: pd.DataFrame, attributes: pd.DataFrame, as_of: dt.date) -> Question:
    """The lifetime value of those who have bought: forecasts of the longest windows that the logs reach back for, brought to ``lifetime_days``.

    Raises:
        TooLittleHistoryError: the logs do not reach back far enough, or too few had bought before one of the windows.
    """
    if today["frequency"].isna().all():
        raise TooLittleHistoryError(NO_PURCHASES)
    chosen, longest = settings.predictions, today["tenure_days"].max()
    reach = int(longest) + 1 if longest == longest else 0
    days = max(1, min(chosen.lifetime_days, reach // 4))
    found = past_windows(past, as_of, days, MOST_LIFETIME_WINDOWS, chosen.minimum_users)
    windows = [buyers_of(window) for window in with_attributes(found, attributes)]
    buyers, _ = purchases_of(today)
    if not buyers.any() or any(len(window.spent) < chosen.minimum_users or window.spent.sum() <= 0 for window in windows):
        raise TooLittleHistoryError(f"fewer than {chosen.minimum_users} customers had bought before one of the windows of {days} days")
    answer = partial(judge_amount, windows, today[buyers], BASELINES, days, chosen.lifetime_days, chosen.seed)
    told = f"value of purchases and bookings within {chosen.lifetime_days} days, before refunds"
    return Question(told, answer, as_of - dt.timedelta(days=days - 1), days)


def buyers_of(window: Window) -> Window:
    """The same window with those alone who had bought before it."""
    kept, _ = purchases_of(window.features)
    return window.of(kept)
