"""What users will probably do: models learn on past windows, one window chooses among them, the newest judges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from persona_pipelines.intervals import compared, interval
from persona_pipelines.profiles.importance import permutation_importance
from persona_pipelines.profiles.plain import plain
from persona_pipelines.profiles.points import attributes_in, matrix, names_of
from persona_pipelines.profiles.scoring import PredictionModel, shift_to, shifted, spent_so_far

BINS = 10
USERS_OF_A_BIN = 20
SEASON_DAMPING = 0.5
"""How much of the last change of the base rate is taken to go on into the coming window."""
EVIDENT = 0.0
UNKNOWN = -99.0
TREES, BOOSTED_TREES = 120, 150
SHUFFLED_USERS = 1_500


@dataclass(frozen=True)
class Window:
    """What was known at a moment, and what came after.

    Attributes:
        features: ``contracts.USER_FEATURES`` as of the day before the window.
        bought, left: shape (users,), whether the user bought, or did nothing at all, in the window.
        spent: shape (users,), the value of purchases in it.
        own: outcomes of the configuration's own targets by name, shape (users,).
    """

    features: pd.DataFrame
    bought: np.ndarray
    left: np.ndarray
    spent: np.ndarray
    own: Mapping[str, np.ndarray] = field(default_factory=dict)

    def outcome(self, target: str) -> np.ndarray:
        return self.own[target] if target in self.own else getattr(self, target)

    def of(self, wanted: np.ndarray) -> Window:
        """The same for some of the users."""
        own = {name: values[wanted] for name, values in self.own.items()}
        return Window(self.features[wanted].reset_index(drop=True), self.bought[wanted], self.left[wanted], self.spent[wanted], own)


def classifiers(seed: int) -> dict[str, Any]:
    """Models of a probability by name; each takes nan as unknown."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def filled(*steps: Any) -> Any:
        return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), *steps)

    return {
        "logistic_regression": filled(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000)),
        "random_forest": filled(RandomForestClassifier(TREES, min_samples_leaf=15, max_features=0.3, random_state=seed)),
        # Unknown is a value of its own to trees; a column of nothing else is one that cannot be cut.
        "gradient_boosting": make_pipeline(
            SimpleImputer(strategy="constant", fill_value=UNKNOWN, keep_empty_features=True),
            HistGradientBoostingClassifier(
                max_iter=BOOSTED_TREES,
                learning_rate=0.04,
                max_leaf_nodes=8,
                min_samples_leaf=40,
                l2_regularization=5.0,
                early_stopping=False,
                random_state=seed,
            ),
        ),
    }


def regressors(seed: int) -> dict[str, Any]:
    """Models of the logarithm of an amount by name; linear regression is the baseline."""
    from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def filled(*steps: Any) -> Any:
        return make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), *steps)

    return {
        "linear_regression": filled(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13))),
        "random_forest": filled(RandomForestRegressor(TREES, min_samples_leaf=15, max_features=0.4, random_state=seed)),
        # Unknown is a value of its own to trees; a column of nothing else is one that cannot be cut.
        "gradient_boosting": make_pipeline(
            SimpleImputer(strategy="constant", fill_value=UNKNOWN, keep_empty_features=True),
            HistGradientBoostingRegressor(
                max_iter=BOOSTED_TREES,
                learning_rate=0.04,
                max_leaf_nodes=8,
                min_samples_leaf=30,
                l2_regularization=5.0,
                early_stopping=False,
                random_state=seed,
            ),
        ),
    }


def calibration_error(happened: np.ndarray, probability: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015) over up to ten bins with the same number of users, ``USERS_OF_A_BIN`` at least: with
    fewer, chance alone looks like an error. Users of whom the same is said are never told apart."""
    order = np.argsort(probability, kind="stable")
    bins = np.array_split(order, max(1, min(BINS, len(np.unique(probability)), len(order) // USERS_OF_A_BIN)))
    return float(sum(len(rows) * abs(happened[rows].mean() - probability[rows].mean()) for rows in bins if len(rows)) / len(happened))


def with_base_rate(probability: np.ndarray, rate: float) -> np.ndarray:
    """The same odds times one factor, so that the mean is ``rate`` (Saerens et al. 2002): the season moves all, not the order."""
    return shifted(probability, shift_to(probability, rate))


def coming_rate(rates: Sequence[float]) -> float:
    """The base rate to expect after ``rates``, oldest first and none of them 0 or 1: the odds of the last one, and half of their last change
    again. What has become rare is not impossible."""
    from scipy.special import expit, logit

    if len(rates) < 2:
        return float(rates[-1])
    last, before = logit(rates[-1]), logit(rates[-2])
    return float(expit(last + SEASON_DAMPING * (last - before)))


def smoothed_rate(happened: np.ndarray) -> float:
    """The share of users, shape (users,), with half a user more on either side (Jeffreys' prior): of few users none is not never."""
    return float((happened.sum() + 0.5) / (len(happened) + 1))


def _stacked(windows: Sequence[Window], target: str) -> tuple[np.ndarray, np.ndarray]:
    return np.vstack([matrix(window.features) for window in windows]), np.concatenate([window.outcome(target) for window in windows])


def log_likelihoods(happened: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """Of each user, shape (users,): the logarithm of the chance that was given to what happened."""
    clipped = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.where(happened, np.log(clipped), np.log(1 - clipped))


@dataclass(frozen=True)
class Judged:
    """The models of one target.

    Attributes:
        table: rows of ``contracts.PREDICTION_QUALITY`` but target and window.
        chosen: the name of the model, and what it says of the users of today: ``prediction``, shape (users,).
        held: what it said in the window that judges, and what happened, for plots.
        drivers: rows of ``contracts.PREDICTION_DRIVERS`` but the target.
        model: the chosen model as it is stored; None where it is nothing that can be.
        scored: the users of today, as the model is asked about them.
        curves: of models that are learned in stages, a figure on the window that judges after each stage, by model and figure.
    """

    table: pd.DataFrame
    chosen: str
    prediction: np.ndarray
    held: tuple[np.ndarray, np.ndarray]
    drivers: pd.DataFrame
    model: PredictionModel | None = None
    scored: pd.DataFrame = field(default_factory=pd.DataFrame)
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Question:
    """What is to be foreseen of one target, ``definition``: its models, compared and chosen, by ``answer``; first day and days of the window that
    judges, None where it is judged by people instead of by time; ``windows`` from which the models learn."""

    definition: str
    answer: Callable[[], Judged]
    begin: dt.date | None = None
    days: int | None = None
    windows: Sequence[Window] = ()


BASE_RATE = "base_rate"
MEAN = "mean"
"""Of amounts what the base rate is of chances: the same for everybody."""
BY_CHANCE = 0.025
"""A rank correlation that the order of chance alone reaches more often is none."""


def judge_probability(
    windows: Sequence[Window], target: str, today: pd.DataFrame, before: str | None, seed: int, seasonal: bool = True
) -> Judged:
    """Compare models of a probability, choose, and predict.

    Args:
        windows: oldest first, at least three: all but the last two teach, the last but one chooses, the last judges.
        before: the model in use. Another takes its place only where it is ahead on the newest window beyond doubt: the lower bound
            of its paired advantage in log-likelihood is above 0. Where there is none yet, the base rate holds the place.
        seasonal: whether the windows follow each other in time, so that the base rate moves on; else it is the same in all.
    """
    *past, choosing, newest = windows
    rates = [smoothed_rate(window.outcome(target)) for window in windows]
    expect: Callable[[Sequence[float]], float] = coming_rate if seasonal else lambda found: float(np.mean(found))

    def taught(name: str, teachers: Sequence[Window]) -> Any | None:
        """A model; None where nothing can be learned, as all did the same."""
        points, happened = _stacked(teachers, target)
        return None if happened.all() or not happened.any() else classifiers(seed)[name].fit(points, happened)

    def chances(model: Any | None, at: pd.DataFrame, expected: float) -> np.ndarray:
        return np.full(len(at), expected) if model is None else with_base_rate(model.predict_proba(matrix(at))[:, 1], expected)

    validation: dict[str, float] = {}
    models: dict[str, Any | None] = {}
    held: dict[str, np.ndarray] = {}
    for name in classifiers(seed):
        said = chances(taught(name, past), choosing.features, expect(rates[: len(past)]))
        validation[name] = float(log_likelihoods(choosing.outcome(target), said).mean())
        models[name] = taught(name, [*past, choosing])
        held[name] = chances(models[name], newest.features, expect(rates[:-1]))
    happened = newest.outcome(target)
    held[BASE_RATE] = np.full(len(happened), expect(rates[:-1]))
    validation[BASE_RATE] = float(
        log_likelihoods(choosing.outcome(target), np.full(len(choosing.features), expect(rates[: len(past)]))).mean()
    )
    challenger = max(validation, key=lambda name: validation[name])
    holder = before if before in held else BASE_RATE
    ahead = interval(log_likelihoods(happened, held[challenger]) - log_likelihoods(happened, held[holder]), seed)
    chosen = challenger if challenger == holder or ahead.low > EVIDENT else holder
    told = compared(challenger, holder, ahead, "nats a user")
    rows = []
    for name, said in held.items():
        reason = (
            (told if challenger != holder else f"the best on the window before{', and in use already' if before == holder else ''}")
            if name == chosen
            else "another is used"
        )
        if name == challenger and name != chosen:
            reason = f"{told}: not beyond doubt"
        rows.append({"model": name, **measured(happened, said), "validation": validation[name], "chosen": name == chosen, "reason": reason})
    final, rate = None if chosen == BASE_RATE else taught(chosen, windows), expect(rates)
    drivers = no_drivers() if chosen == BASE_RATE else _drivers(models[chosen], newest, target, seed)
    if final is None:
        stored, prediction = PredictionModel("base_rate", {"rate": rate}), np.full(len(today), rate)
    else:
        said = final.predict_proba(matrix(today))[:, 1]
        shift = shift_to(said, rate)
        stored = PredictionModel("classifier", {"rate": rate, "shift": shift}, {"classifier": plain(final)}, attributes_in(today))
        prediction = shifted(said, shift)
    boosted = models["gradient_boosting"]
    curves = {} if boosted is None else {"gradient_boosting": {"staged_log_loss": _staged_log_loss(boosted, newest, happened)}}
    return Judged(pd.DataFrame(rows), chosen, prediction, (held[chosen], happened), drivers, stored, today, curves)


def _staged_log_loss(model: Any, newest: Window, happened: np.ndarray) -> list[float]:
    """Of gradient boosting, the log-loss on the window that judges after each tree, before the base rate is moved: where it rises again, fewer
    trees would do."""
    points = model[:-1].transform(matrix(newest.features))
    return [float(-log_likelihoods(happened, said[:, 1]).mean()) for said in model[-1].staged_predict_proba(points)]


def measured(happened: np.ndarray, chances: np.ndarray) -> dict[str, Any]:
    """The figures of ``contracts.PREDICTION_QUALITY`` of chances, shape (users,), against what happened."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    both = happened.any() and not happened.all()
    return {
        "users": len(happened),
        "base_rate": float(happened.mean()),
        "auc": float(roc_auc_score(happened, chances)) if both else None,
        "average_precision": float(average_precision_score(happened, chances)) if both else None,
        "calibration_error": calibration_error(happened, chances),
        "log_loss": float(-log_likelihoods(happened, chances).mean()),
        "lift": lift(happened, chances) if both else None,
        "spearman": None,
        "mean_absolute_error": None,
        "level": None,
    }


def lift(happened: np.ndarray, chances: np.ndarray) -> float:
    """The share of doers among the tenth with the highest chances, over that of all; both of shape (users,).

    Of people with the same chance at the edge of the tenth as many are taken as have a place, and of these what is usual among them: their order
    means nothing.
    """
    places = max(1, len(chances) // 10)
    edge = np.partition(chances, -places)[-places]
    above, at_edge = chances > edge, chances == edge
    doers = happened[above].sum() + (places - above.sum()) * happened[at_edge].mean()
    return float(doers / places / happened.mean())


def highest_lift(users: int, base_rate: float) -> float:
    """What ``lift`` can be at most: everybody among the tenth has done it, or everybody who has is among the tenth."""
    return min(1 / base_rate, users / max(1, users // 10))


def no_drivers() -> pd.DataFrame:
    """Rows of ``contracts.PREDICTION_DRIVERS`` but the target, of a model that looks at no feature."""
    return pd.DataFrame(columns=["feature", "rank", "importance", "correlation"])


def _drivers(model: Any | None, newest: Window, target: str, seed: int) -> pd.DataFrame:
    """What a model of a probability looks at, by the AUC that it loses."""
    from sklearn.metrics import roc_auc_score

    happened = newest.outcome(target)
    if model is None or happened.all() or not happened.any():
        return no_drivers()
    return _importance(newest.features, happened, lambda points: model.predict_proba(points)[:, 1], roc_auc_score, seed)


def _importance(
    features: pd.DataFrame,
    outcome: np.ndarray,
    predicted: Callable[[np.ndarray], np.ndarray],
    score: Callable[[np.ndarray, np.ndarray], float],
    seed: int,
) -> pd.DataFrame:
    """Importance of each feature on the window that judges, and its direction."""
    from scipy.stats import spearmanr

    points = matrix(features)
    if len(points) > SHUFFLED_USERS:
        kept = np.sort(np.random.default_rng(seed).choice(len(points), SHUFFLED_USERS, replace=False))
        points, outcome = points[kept], outcome[kept]
    found = permutation_importance(predicted, points, outcome, score, seed)
    said = predicted(points)
    rows = []
    for number, name in enumerate(names_of(features)):
        known = np.isfinite(points[:, number])
        varies = known.sum() > 2 and np.ptp(points[known, number]) > 0 and np.ptp(said[known]) > 0
        rows.append(
            {
                "feature": name,
                "importance": float(found[number]),
                "correlation": float(spearmanr(points[known, number], said[known])[0]) if varies else 0.0,
            }
        )
    table = pd.DataFrame(rows).sort_values(["importance", "feature"], ascending=[False, True], ignore_index=True)
    return table.assign(rank=np.arange(1, len(table) + 1))


@dataclass(frozen=True)
class Baseline:
    """A forecast of spend that needs no past windows: amounts of users with the features given, in the ``days`` after.

    ``levelled`` where its total means what it says; the total of others is brought to what was spent before. ``stored`` is the forecast for these
    users and days as it is stored, where it can be.
    """

    amounts: Callable[[pd.DataFrame, float], np.ndarray]
    levelled: bool = False
    stored: Callable[[pd.DataFrame, float], PredictionModel] | None = None


def judge_amount(
    windows: Sequence[Window], today: pd.DataFrame, baselines: Mapping[str, Baseline], days: float, ahead_days: float, seed: int
) -> Judged:
    """Compare forecasts of spend, choose by rank correlation on the last window but one, and forecast.

    Where the rank correlation of the chosen one on the newest window is not above 0 beyond doubt, all are foreseen the mean: a forecast that
    does not order people says nothing of a person or a segment.
    A combination (mean of the standardised logarithms of the regressions and of what was spent so far) stands beside them:
    forecasts that err differently err less together (Bates and Granger 1969). Every forecast without a level of its own is brought
    to the total that was spent in the window before, so that sums can be planned with.

    Args:
        days: length of the windows.
        ahead_days: the time asked for. A forecast with a level of its own is made for it; others are made for a window and brought
            to it as the total of those with a level goes on, and in proportion to the days where there is none.
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import r2_score

    *past, choosing, newest = windows

    def taught(teachers: Sequence[Window]) -> dict[str, Any]:
        points, spent = _stacked(teachers, "spent")
        return {name: model.fit(points, np.log1p(np.maximum(spent, 0))) for name, model in regressors(seed).items()}

    def forecasts(teachers: Sequence[Window], models: Mapping[str, Any], at: pd.DataFrame) -> dict[str, np.ndarray]:
        mean = float(teachers[-1].spent.mean())
        unlevelled = _learned_amounts(models, at) | {
            name: np.maximum(baseline.amounts(at, days), 0) for name, baseline in baselines.items() if not baseline.levelled
        }
        found = {name: value * _level(value, mean) if value.mean() > 0 else np.full(len(at), mean) for name, value in unlevelled.items()}
        found[MEAN] = np.full(len(at), mean)
        return found | {name: np.maximum(baseline.amounts(at, days), 0) for name, baseline in baselines.items() if baseline.levelled}

    validation = {
        name: float(np.nan_to_num(spearmanr(value, choosing.spent)[0])) if np.ptp(value) > 0 else 0.0
        for name, value in forecasts(past, taught(past), choosing.features).items()
    }
    models = taught([*past, choosing])
    held = forecasts([*past, choosing], models, newest.features)
    challenger = max(validation, key=lambda name: validation[name])
    chosen, told = _ordering(challenger, held[challenger], newest.spent)
    rows = [
        {
            "model": name,
            "users": len(newest.spent),
            "base_rate": None,
            "auc": None,
            "average_precision": None,
            "calibration_error": None,
            "log_loss": None,
            "lift": None,
            "spearman": float(np.nan_to_num(spearmanr(value, newest.spent)[0])) if np.ptp(value) > 0 else 0.0,
            "mean_absolute_error": float(np.abs(value - newest.spent).mean()),
            "level": float(value.sum() / newest.spent.sum()) if newest.spent.sum() > 0 else None,
            "validation": validation[name],
            "chosen": name == chosen,
            "reason": told if name in (chosen, challenger) else "another is used",
        }
        for name, value in held.items()
    ]
    # Whichever forecast is used, the forest says what value goes with: it is judged on the same window.
    logs = np.log1p(np.maximum(newest.spent, 0))
    drivers = no_drivers() if chosen == MEAN else _importance(newest.features, logs, models["random_forest"].predict, r2_score, seed)
    final = taught(windows)
    prediction = _ahead(forecasts(windows, final, today), chosen, today, baselines, days, ahead_days)
    stored = _stored(final, chosen, today, baselines, days, ahead_days, prediction)
    boosted = models["gradient_boosting"]
    curves = {"gradient_boosting": {"staged_log_error": _staged_log_error(boosted, newest)}}
    return Judged(pd.DataFrame(rows), chosen, prediction, (held[chosen], newest.spent), drivers, stored, today, curves)


def _ordering(challenger: str, foreseen: np.ndarray, spent: np.ndarray) -> tuple[str, str]:
    """The forecast to use, and why: the challenger where it orders people by what they spent, beyond doubt, else the mean."""
    from scipy.stats import spearmanr

    if challenger == MEAN or np.ptp(foreseen) == 0 or np.ptp(spent) == 0:
        return MEAN, "no forecast told people apart on the window before" if challenger == MEAN else f"{challenger} tells nobody apart"
    found = spearmanr(foreseen, spent, alternative="greater")
    if found.pvalue < BY_CHANCE:
        return challenger, "the highest rank correlation on the window before"
    return MEAN, f"the rank correlation of {challenger} on the newest window, {found.statistic:.2f}, is not above 0 beyond doubt"


def _learned_amounts(models: Mapping[str, Any], at: pd.DataFrame) -> dict[str, np.ndarray]:
    """What regressions and their combination say, before it is brought to a total."""
    logs = {name: model.predict(matrix(at)) for name, model in models.items()}
    combined = PredictionModel("combined", _moments(logs, at)).combined(logs, at)
    return {name: np.expm1(np.maximum(value, 0)) for name, value in logs.items()} | {"combined": combined}


def _moments(logs: Mapping[str, np.ndarray], at: pd.DataFrame) -> dict[str, float]:
    """Means and deviations by which forecasts are made alike before they are combined, of the users who are asked about."""
    parts = {**logs, "so_far": np.log1p(np.maximum(spent_so_far(at), 0))}
    moments = {f"mean.{name}": float(value.mean()) for name, value in parts.items()}
    moments |= {f"deviation.{name}": max(float(value.std()), 1e-9) for name, value in parts.items()}
    return moments | {"middle": float(np.mean(logs["linear_regression"])), "spread": float(np.std(logs["linear_regression"]))}


def _level(values: np.ndarray, mean: float) -> float:
    return mean / float(values.mean())


def _stored(
    models: Mapping[str, Any],
    chosen: str,
    today: pd.DataFrame,
    baselines: Mapping[str, Baseline],
    days: float,
    ahead_days: float,
    prediction: np.ndarray,
) -> PredictionModel | None:
    """The chosen forecast as it is stored, so that it says what ``prediction`` does of today's users; None where it cannot be."""
    if chosen == MEAN:
        return PredictionModel("constant", {"amount": float(prediction.mean())})
    if chosen in baselines:
        baseline = baselines[chosen]
        if baseline.stored is None:
            return None
        model = baseline.stored(today, ahead_days if baseline.levelled else days)
    else:
        names = [chosen] if chosen != "combined" else list(models)
        moments = _moments({name: model.predict(matrix(today)) for name, model in models.items()}, today) if chosen == "combined" else {}
        kind = "combined" if chosen == "combined" else "regression"
        model = PredictionModel(kind, moments, {name: plain(models[name]) for name in names}, attributes_in(today))
    unlevelled = model.score(today)
    if unlevelled.sum() <= 0 and prediction.sum() > 0:
        return PredictionModel("constant", {"amount": float(prediction.mean())})
    return model.times(float(prediction.sum() / unlevelled.sum()) if unlevelled.sum() > 0 else 1.0)


def _staged_log_error(model: Any, newest: Window) -> list[float]:
    """Of gradient boosting, the mean squared error of logarithms on the window that judges after each tree."""
    points, spent = model[:-1].transform(matrix(newest.features)), np.log1p(np.maximum(newest.spent, 0))
    return [float(((said - spent) ** 2).mean()) for said in model[-1].staged_predict(points)]


def _ahead(
    found: Mapping[str, np.ndarray], chosen: str, today: pd.DataFrame, baselines: Mapping[str, Baseline], days: float, ahead_days: float
) -> np.ndarray:
    """The chosen forecast for the time asked for."""
    if chosen in baselines and baselines[chosen].levelled:
        return np.maximum(baselines[chosen].amounts(today, ahead_days), 0)
    if ahead_days == days:
        return found[chosen]
    totals = [(found[name].sum(), baseline.amounts(today, ahead_days).sum()) for name, baseline in baselines.items() if baseline.levelled]
    growth = next((later / now for now, later in totals if now > 0 and np.isfinite(later)), ahead_days / days)
    return found[chosen] * growth
