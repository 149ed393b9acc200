"""All predictions of a day: buying, leaving, spend and lifetime value, with how well each model did."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pandas as pd

from persona_pipelines.features.attributes import attributes_of_users, joined
from persona_pipelines.parallel import side_by_side
from persona_pipelines.profiles.leaving import judge_leaving, silence_is_usual
from persona_pipelines.profiles.lifetime import fit_value, purchases_of
from persona_pipelines.profiles.predictions import Baseline, Judged, Question, Window, judge_amount, judge_probability
from persona_pipelines.profiles.scoring import PredictionModel
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
    """``judged`` and ``questions`` by target; ``missing``: the reason of each target without one; ``today``: the users, ``own``: targets of the configuration.

    ``versions``: of the model of each target that was registered.
    """

    judged: dict[str, Judged]
    questions: dict[str, Question]
    missing: dict[str, str]
    today: pd.DataFrame
    as_of: dt.date
    horizon_days: int
    own: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    def users(self) -> pd.DataFrame:
        """Rows of ``contracts.USER_PREDICTIONS``."""
        today, judged = self.today, self.judged
        users = pd.DataFrame({"user_id": today["user_id"], "as_of_date": self.as_of, "horizon_days": self.horizon_days})
        columns = [column for _, column in PROBABILITIES.values()]
        for target, (_, column) in PROBABILITIES.items():
            users[column] = np.clip(judged[target].prediction, 0, 1) if target in judged else np.nan
        users[columns] = possible_together(users[columns]).round(6)
        users["expected_spend"] = judged[SPEND].prediction.round(6) if SPEND in judged else np.nan
        users["lifetime_value"] = 0.0 if LIFETIME in judged else np.nan
        if LIFETIME in judged:
            users.loc[purchases_of(today)[0], "lifetime_value"] = judged[LIFETIME].prediction.round(6)
        users["targets"] = as_objects({name: judged[name] for name in self.own}, len(users))
        return users

    def reason(self, target: str) -> str:
        """Why the model of a target is in use."""
        table = self.judged[target].table
        row = table[table["chosen"]].iloc[0]
        return f"{row['model']}: {row['reason']}"

    def quality(self) -> pd.DataFrame:
        """Rows of ``contracts.PREDICTION_QUALITY``."""
        frames = [
            found.table.assign(
                target=target,
                definition=self.questions[target].definition,
                window_start=self.questions[target].begin,
                window_days=self.questions[target].days,
                model_version=[self.versions.get(target) if chosen else None for chosen in found.table["chosen"]],
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


def _stored_beta_geometric(features: pd.DataFrame, days: float) -> PredictionModel:
    try:
        purchases, spend = fit_value(purchases_of(features)[1])
    except ValueError:
        return PredictionModel("constant", {"amount": 0.0})
    return PredictionModel("beta_geometric", {**vars(purchases), **vars(spend), "days": days})


BASELINES = {
    "past_spend": Baseline(
        lambda features, days: PredictionModel("past_spend", {}).score(features),
        stored=lambda features, days: PredictionModel("past_spend", {}),
    ),
    "past_rate": Baseline(
        lambda features, days: PredictionModel("past_rate", {"days": days}).score(features),
        stored=lambda features, days: PredictionModel("past_rate", {"days": days}),
    ),
    "beta_geometric": Baseline(
        lambda features, days: _stored_beta_geometric(features, days).score(features), levelled=True, stored=_stored_beta_geometric
    ),
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

    return Forecast(judged, questions, missing, today, as_of, chosen.horizon_days, tuple(own))


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
        target: Question(
            meaning[target], partial(judge_probability, windows, outcome, today, before.get(target), chosen.seed), begin, days, windows
        )
        for target, (outcome, _) in PROBABILITIES.items()
        if sold or target != PURCHASE
    }
    missing: dict[str, str] = {}
    if not past.log.visits and past.log.people == "customers":
        if (left := judge_leaving(windows, today, days, chosen.seed)) is not None:
            told = f"has stopped buying, by the own rhythm (1 less the probability alive); judged by the purchases within {days} days that it implies"
            questions[CHURN] = Question(told, lambda: left, begin, days, windows)
        elif why := silence_is_usual(today, days):
            del questions[CHURN]
            missing[CHURN] = why
    if not sold:
        return questions, missing | dict.fromkeys((PURCHASE, SPEND), NO_PURCHASES)
    if not any(window.bought.any() for window in windows[:-1]):
        return questions, missing | {SPEND: "nobody has bought anything"}
    told = f"value of purchases and bookings within {days} days, before refunds"
    questions[SPEND] = Question(told, partial(judge_amount, windows, today, BASELINES, days, days, chosen.seed), begin, days, windows)
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
    return Question(told, answer, as_of - dt.timedelta(days=days - 1), days, windows)


def buyers_of(window: Window) -> Window:
    """The same window with those alone who had bought before it."""
    kept, _ = purchases_of(window.features)
    return window.of(kept)
