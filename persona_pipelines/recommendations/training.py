"""Compare the methods without leakage, decide, and fit what was chosen on everything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from persona_pipelines.intervals import interval
from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.evaluation.audit import Finding, audit, require_clean
from persona_pipelines.recommendations.evaluation.comparison import (
    ALL,
    WARM,
    Judged,
    Task,
    blend_all,
    compare,
    cross_fitted,
    fit_all,
)  # fmt: skip
from persona_pipelines.recommendations.evaluation.splits import Split
from persona_pipelines.recommendations.models import Hybrid
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.recommendations.promotion import Decision, decide, paired
from persona_pipelines.recommendations.recipes import Recipe, recipe_of
from persona_pipelines.recommendations.windows import sources_of, windows
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import HybridSettings, MethodSettings, MostPopularSettings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

CURRENT = "current_champion"
"""Name in a comparison of the champion's recipe, where no method of the configuration is the same."""

NO_VALIDATION = "nothing is left for a validation window: no weights can be learned, and nobody is chosen but the most popular items"


@dataclass(frozen=True)
class Comparison:
    """What was compared on what.

    Attributes:
        judged: every model, case and segment.
        split: what is judged on (``windows.Windows.outer``); ``until`` the end of the validation window before it.
        findings: of the leakage audit.
        failed: the reason of each method that could not be fitted.
        validation: nDCG of known users on the validation window, by model.
        decision: who is champion now.
        recipes: of the models that may have to be fitted on everything: champion and challenger.
        baselines: names of the most popular models.
    """

    judged: list[Judged]
    split: Split
    until: dt.datetime
    findings: list[Finding]
    failed: dict[str, str]
    validation: dict[str, float]
    weights: dict[str, dict[str, float]]
    decision: Decision
    recipes: dict[str, Recipe]
    baselines: list[str]

    def table(self, k: int, seed: int) -> pd.DataFrame:
        """Rows of ``contracts.MODEL_COMPARISON`` but version and run."""
        rows = []
        for entry in self.judged:
            bounds = interval(entry.scores.by_user["ndcg_at_k"], seed)
            rows.append(
                {
                    "model": entry.model, "split": self.split.name, "case": entry.case, "segment": entry.segment, "cut": self.split.cut, "k": k,
                    "users": len(entry.users), "answered": entry.answered, **entry.scores.means(), "ndcg_low": bounds.low, "ndcg_high": bounds.high,
                    "rmse": entry.errors.get("rmse"), "mae": entry.errors.get("mae"),
                    "validation_ndcg": self.validation.get(entry.model), "champion": entry.model == self.decision.champion,
                }
            )  # fmt: skip
        return pd.DataFrame(rows)

    def advantages(self, seed: int) -> pd.DataFrame:
        """Rows of ``contracts.MODEL_ADVANTAGES``: every model against the champion and the most popular ones."""
        models = list(dict.fromkeys(entry.model for entry in self.judged))
        rows = []
        for against in dict.fromkeys([self.decision.champion, *self.baselines]):
            for model in models:
                differences = paired(self.judged, model, against)
                if model != against and len(differences):
                    found = interval(differences, seed)
                    rows.append(
                        {
                            "model": model,
                            "against": against,
                            "users": len(differences),
                            "advantage": found.mean,
                            "low": found.low,
                            "high": found.high,
                        }
                    )
        return pd.DataFrame(rows, columns=["model", "against", "users", "advantage", "low", "high"])


def tuned(methods: Sequence[MethodSettings], found: pd.DataFrame) -> list[MethodSettings]:
    """The methods with the parameters of ``contracts.TUNED_PARAMETERS``, where these were found for the present configuration."""
    better = {row.model: row for row in found.itertuples()}
    return [
        type(method).model_validate_json(better[method.name].parameters)
        if method.name in better and better[method.name].configured == method.model_dump_json()
        else method
        for method in methods
    ]


def compare_models(
    warehouse: Warehouse, settings: Settings, end: dt.datetime, methods: Sequence[MethodSettings], champion: Recipe | None,
    say: Callable[[str], None] = lambda text: None,
) -> Comparison:  # fmt: skip
    """Fit all methods before the validation window and before the newest, learn blends on the first, judge and decide on the second.

    Args:
        end: events from this moment on are ignored.
        champion: the recipe of the champion, which is fitted anew: as stored it may have learned from the newest window.
        say: told what is judged on, before anything is fitted.
    Raises:
        TooFewInteractionsError: too few interactions, or nobody to judge by.
        ModelError: not one method could be fitted.
        LeakageError: the audit found something; nothing is decided.
    """
    chosen = settings.recommendations
    found = windows(warehouse, settings, end)
    inner, outer = found.inner, found.outer
    say(f"judged on the {found.protocol}: {found.reason}" + ("" if inner else f"; {NO_VALIDATION}"))
    until, seed, k = outer.split.cut, chosen.seed, chosen.k
    models, failed = fit_all(methods, outer.training, seed)
    if not models:
        raise ModelError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    weights: dict[str, dict[str, float]] = {}
    validation: dict[str, float] = {}
    if champion and champion.until and champion.until > until:
        champion = _learned_again(champion, inner, until, k, seed)
    if inner:
        validated, _ = fit_all(methods, inner.training, seed)
        weights, not_blended = blend_all(methods, validated, inner.window(pd.Timestamp(until)), models, outer.training, k, seed)
        failed |= not_blended
        validation = _validation(validated, inner, k)
        for method in methods:
            if isinstance(method, HybridSettings) and method.name in weights:
                validation[method.name] = cross_fitted(method, validated, inner, until, k, seed)
    else:
        failed |= {method.name: NO_VALIDATION for method in methods if isinstance(method, HybridSettings)}
    current = _entered(champion, models, methods, weights, outer, until, seed, failed) if champion else None
    findings = audit(outer.split, models)
    require_clean(findings)
    judged = compare(models, outer, k)
    baselines = [method.name for method in methods if isinstance(method, MostPopularSettings) and method.name in models]
    if not baselines:
        raise ModelError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    candidates = {name: quality for name, quality in validation.items() if name in models and np.isfinite(quality)}
    challenger = max(candidates, key=lambda name: candidates[name]) if candidates else None
    decision = decide(judged, challenger, current, baselines[0], chosen.gate, seed).on(found.protocol, found.reason)
    if champion and not current:
        decision = replace(decision, reason=f"{decision.reason}; the champion before is not compared: {failed[CURRENT]}")
    recipes = {
        name: champion if name == CURRENT and champion else recipe_of(methods, name, models[name], weights.get(name, {}), until)
        for name in {decision.champion, decision.challenger}
    }
    return Comparison(judged, outer.split, until, findings, failed, validation, weights, decision, recipes, baselines)


def _validation(models: Mapping[str, LearnedModel], inner: Task, k: int) -> dict[str, float]:
    judged = compare(models, inner, k)
    return {entry.model: entry.scores.means()["ndcg_at_k"] for entry in judged if (entry.case, entry.segment) == (WARM, ALL)}


def _learned_again(champion: Recipe, inner: Task | None, until: dt.datetime, k: int, seed: int) -> Recipe:
    """A blend whose weights were learned after the cut, as it may be where the cut is an earlier one: the weights are learned anew.

    Without a validation window all its members count alike.
    """
    if not isinstance(champion.settings, HybridSettings):
        return champion
    if inner is None:
        return replace(
            champion, weights=dict.fromkeys((method.name for method in champion.members), 1 / len(champion.members)), until=until
        )
    fitted, _ = fit_all(champion.members, inner.training, seed)
    weights = Hybrid(champion.settings, seed).learned_weights(fitted, inner.window(pd.Timestamp(until)), k)
    return replace(champion, weights=weights, until=until)


def _entered(
    champion: Recipe, models: dict[str, LearnedModel], methods: Sequence[MethodSettings], weights: Mapping[str, Mapping[str, float]], outer: Task,
    until: dt.datetime, seed: int, failed: dict[str, str],
) -> str | None:  # fmt: skip
    """The champion's name in the comparison: that of the same method, else its recipe is fitted and enters as ``CURRENT``."""
    if champion.name in models:
        same = recipe_of(methods, champion.name, models[champion.name], weights.get(champion.name, {}), until)
        if (same.settings, same.members, same.weights) == (champion.settings, champion.members, dict(champion.weights)):
            return champion.name
    try:
        models[CURRENT] = champion.fit(outer.training, seed)
    except (ModelError, ArithmeticError) as error:
        failed[CURRENT] = str(error)
        return None
    return CURRENT


def everything(warehouse: Warehouse, settings: Settings, end: dt.datetime) -> tuple[pd.DataFrame, Interactions]:
    """All interactions before a moment, with today's segments, as a table and as matrices."""
    known = sources_of(warehouse, settings)
    found = warehouse.frame(warehouse.table(contracts.USER_SEGMENTS).select("user_id", "segment_id"))
    segments = dict(zip(found["user_id"], found["segment_id"].astype(int), strict=True))
    return known.learned(known.events.filter(known.events.timestamp < end), end, segments)


def fitted_on(interactions: Interactions, recipe: Recipe, users: pd.DataFrame, seed: int) -> LearnedModel:
    """A recipe, fitted on all interactions.

    Args:
        users: attributes, for the trial of new users.
    Raises:
        ModelError: it cannot be fitted, or does not answer with finite scores: such a model must not be promoted.
    """
    model = recipe.fit(interactions, seed)
    require_serviceable(model, interactions, users)
    return model


def require_serviceable(model: LearnedModel, interactions: Interactions, users: pd.DataFrame) -> None:
    """Raise ModelError where scores of some known users, or of a stranger, are not finite numbers."""
    ids = np.array([*interactions.users[:256], "nobody"], dtype=object)
    scores = model.scores(interactions.audience(ids, users))
    if not np.isfinite(scores).all():
        raise ModelError(f"{model.name} gives scores that are no finite numbers; it is not registered")
