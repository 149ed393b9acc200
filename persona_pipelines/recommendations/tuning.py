"""Search for better parameters of a method, on the validation window only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from persona_pipelines.recommendations.evaluation.comparison import Task, judge
from persona_pipelines.recommendations.models import recommender
from persona_pipelines.recommendations.models.learned import ModelError, leaving_out
from persona_pipelines.settings.recommendations import MethodSettings, Searched


@dataclass(frozen=True)
class Trial:
    """One set of parameters with what it reached: nDCG of known users, or the reason why it could not be fitted."""

    number: int
    settings: MethodSettings
    ndcg: float | None
    problem: str | None = None


@dataclass(frozen=True)
class Tuned:
    """The best of a search; ``configured`` is the first trial."""

    configured: Trial
    best: Trial
    trials: int


def validated(settings: MethodSettings, window: Task, k: int, seed: int) -> float:
    """nDCG of known users on the validation window.

    Raises:
        ModelError: the method cannot be fitted, or nobody is known.
    """
    model = recommender(settings, seed).fit(window.training)
    judged = [entry for entry in judge(settings.name, model, window, k) if entry.whole]
    if not judged:
        raise ModelError("no user known in training came back in the validation window")
    return judged[0].scores.means()["ndcg_at_k"]


def tune(
    settings: MethodSettings,
    window: Task,
    k: int,
    seed: int,
    seconds: float,
    trials: int | None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Tuned:
    """Search with the tree-structured Parzen estimator of Optuna (Akiba et al. 2019), the configured parameters first.

    With a number of trials, and time enough for them, the same seed finds the same.

    Args:
        window: the validation window: never the newest one, by which models are judged.
        seconds: no trial begins later than this.
        on_trial: called after each trial.
    Raises:
        ModelError: the method has nothing to tune, or not one trial could be fitted.
    """
    import optuna

    space = settings.space()
    if not space:
        raise ModelError(f"{settings.name} has no parameters to tune")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    made: list[Trial] = []

    def objective(trial: optuna.Trial) -> float:
        values = {name: _suggested(trial, name, bounds) for name, bounds in space.items()}
        chosen = settings if trial.number == 0 else settings.model_copy(update=values)
        ndcg: float | None = None
        problem: dict[str, str] = {}
        with leaving_out(problem, settings.name):
            ndcg = validated(chosen, window, k, seed)
        found = Trial(trial.number, chosen, ndcg, problem.get(settings.name))
        made.append(found)
        on_trial(found)
        if found.ndcg is None:
            raise optuna.TrialPruned
        return found.ndcg

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    study.enqueue_trial(_within(settings.model_dump(), space))
    study.optimize(objective, n_trials=trials, timeout=seconds)
    fitted = [trial for trial in made if trial.ndcg is not None]
    if not fitted:
        raise ModelError(f"{settings.name}: no trial could be fitted: {made[0].problem if made else 'no time for any'}")
    # Among equals the earliest: the configured parameters are kept unless something is better.
    best = max(fitted, key=lambda trial: (trial.ndcg, -trial.number))
    return Tuned(made[0], best, len(made))


def _suggested(trial: Any, name: str, bounds: Searched) -> float | int:
    if isinstance(bounds.low, int) and isinstance(bounds.high, int):
        return int(trial.suggest_int(name, bounds.low, bounds.high, log=True))
    return float(trial.suggest_float(name, bounds.low, bounds.high, log=True))


def _within(values: Mapping[str, Any], space: Mapping[str, Searched]) -> dict[str, Any]:
    """The configured parameters as a first point of the search, drawn into its bounds."""
    return {name: min(max(values[name], bounds.low), bounds.high) for name, bounds in space.items()}
