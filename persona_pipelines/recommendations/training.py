"""Compare the methods without leakage, decide, and fit what was chosen on everything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from persona_pipelines.intervals import interval
from persona_pipelines.parallel import side_by_side
from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.evaluation.audit import TEST, VALIDATION, Finding, require_clean
from persona_pipelines.recommendations.evaluation.comparison import (
    ALL,
    WARM,
    Judged,
    Task,
    blend_all,
    compare,
    cross_fitted,
    fit_all,
    require_serviceable,
)
from persona_pipelines.recommendations.evaluation.replay import LastItems, Measured, chosen_share, replayed
from persona_pipelines.recommendations.evaluation.replay import table as last_click_table
from persona_pipelines.recommendations.evaluation.splits import Split
from persona_pipelines.recommendations.last_click import unmeasured
from persona_pipelines.recommendations.models import Hybrid
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError, leaving_out
from persona_pipelines.recommendations.promotion import PROMOTED, REFUSED, Decision, decide, paired
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
        split: what is judged on (``windows.Windows.outer``).
        findings: of the leakage audit.
        failed: the reason of each method that could not be fitted or judged.
        validation: nDCG of known users on the validation window, by model.
        decision: who is champion now.
        holder: who held the place before, or would without a challenger.
        recipes: of the models that may have to be fitted on everything: champion, challenger and holder.
        baselines: names of the most popular models.
        curves: how learners went on from step to step, by model and figure (``LearnedModel.curves``).
        last_click: what a person's last items are worth beside the list of each of these models that reads no history of items.
    """

    judged: list[Judged]
    split: Split
    findings: list[Finding]
    failed: dict[str, str]
    validation: dict[str, float]
    weights: dict[str, dict[str, float]]
    decision: Decision
    holder: str
    recipes: dict[str, Recipe]
    baselines: list[str]
    curves: Mapping[str, Mapping[str, Sequence[float]]] = field(default_factory=dict)
    last_click: Mapping[str, Measured] = field(default_factory=dict)

    def table(self, k: int, seed: int) -> pd.DataFrame:
        """Rows of ``contracts.MODEL_COMPARISON`` but version and run."""
        rows = []
        for entry in self.judged:
            bounds = interval(entry.scores.by_user["ndcg_at_k"], seed)
            rows.append(
                {
                    "model": entry.model,
                    "split": self.split.name,
                    "case": entry.case,
                    "segment": entry.segment,
                    "cut": self.split.cut,
                    "k": k,
                    "users": len(entry.users),
                    "answered": entry.answered,
                    **entry.scores.means(),
                    "ndcg_low": bounds.low,
                    "ndcg_high": bounds.high,
                    "rmse": entry.errors.get("rmse"),
                    "mae": entry.errors.get("mae"),
                    "validation_ndcg": self.validation.get(entry.model),
                    "champion": entry.model == self.decision.champion,
                }
            )
        return pd.DataFrame(rows)

    def advantages(self, seed: int) -> pd.DataFrame:
        """Rows of ``contracts.MODEL_ADVANTAGES``: every model against the champion and the most popular ones."""
        models = list(dict.fromkeys(entry.model for entry in self.judged))
        rows = [
            row
            for against in dict.fromkeys([self.decision.champion, *self.baselines])
            for model in models
            if (row := self._ahead(model, against, ALL, seed))
        ]
        return pd.DataFrame(rows, columns=["model", "against", "users", "advantage", "low", "high"])

    def segment_advantages(self, seed: int) -> pd.DataFrame:
        """Rows of ``contracts.SEGMENT_ADVANTAGES``: the champion against the most popular items, by segment."""
        segments = sorted({entry.segment for entry in self.judged if entry.case == WARM} - {ALL})
        rows = [
            {"segment": segment, **row}
            for segment in segments
            if (row := self._ahead(self.decision.champion, self.baselines[0], segment, seed))
        ]
        return pd.DataFrame(rows, columns=["segment", "model", "against", "users", "advantage", "low", "high"])

    def last_clicks(self, seed: int) -> pd.DataFrame:
        """Rows of ``contracts.LAST_CLICK``."""
        return last_click_table(self.last_click, seed)

    def _ahead(self, model: str, against: str, segment: str, seed: int) -> dict[str, Any]:
        """How far one model is ahead of another for the known users of a segment; empty where nobody can be compared, or both are the same."""
        differences = paired(self.judged, model, against, segment)
        if model == against or not len(differences):
            return {}
        found = interval(differences, seed)
        return {
            "model": model,
            "against": against,
            "users": len(differences),
            "advantage": found.mean,
            "low": found.low,
            "high": found.high,
        }


def tuned(
    methods: Sequence[MethodSettings], found: pd.DataFrame, before: pd.Timestamp | None = None
) -> tuple[list[MethodSettings], dict[str, dt.datetime]]:
    """The methods with the parameters of ``contracts.TUNED_PARAMETERS``, where these were found for the present configuration.

    Args:
        before: the first moment of the test; what was tuned on events from then on is left aside. None where time does not part them.
    Returns:
        The methods, and of those that were tuned the newest event that they were tuned on.
    """
    rows = {row.model: row for row in found.itertuples() if before is None or row.tuned_until < before}
    chosen, until = [], {}
    for method in methods:
        row = rows.get(method.name)
        if row is not None and row.configured == method.model_dump_json():
            chosen.append(type(method).model_validate_json(row.parameters))
            until[method.name] = row.tuned_until.to_pydatetime()
        else:
            chosen.append(method)
    return chosen, until


def compare_models(
    warehouse: Warehouse, settings: Settings, end: dt.datetime, champion: Recipe | None, say: Callable[[str], None] = lambda text: None
) -> Comparison:
    """Fit all methods before the validation window and before the newest, learn blends on the first, judge and decide on the second.

    A method or blend that cannot be fitted or judged is left out, with its reason.

    Args:
        end: events from this moment on are ignored.
        champion: the recipe of the champion, which is fitted anew: as stored it may have learned from the newest window.
        say: told what is judged on, before anything is fitted.
    Raises:
        TooFewInteractionsError: too few interactions, or nobody to judge by.
        ModelError: the most popular items could not be fitted.
        LeakageError: the audit found something; nothing is decided.
    """
    chosen = settings.recommendations
    found = windows(warehouse, settings, end)
    inner, outer = found.inner, found.outer
    say(f"judged on the {found.protocol}: {found.reason}" + ("" if inner else f"; {NO_VALIDATION}"))
    seed, k = chosen.seed, chosen.k
    first = outer.split.test["first_time"].min() if outer.split.by_time else None
    methods, tuned_until = tuned(chosen.methods, warehouse.frame(warehouse.table(contracts.TUNED_PARAMETERS)), first)
    hybrids = [method for method in methods if isinstance(method, HybridSettings)]
    trainings = [outer.training, *([inner.training] if inner else [])]
    (models, failed), *of_inner = side_by_side([partial(fit_all, methods, training, seed) for training in trainings])
    weights: dict[str, dict[str, float]] = {}
    validation: dict[str, float] = {}
    validated: dict[str, LearnedModel] = {}
    if inner:
        validated = of_inner[0][0]
        validation = {entry.model: entry.scores.means()["ndcg_at_k"] for entry in compare(validated, inner, k)[0] if entry.whole}
        weights, not_blended = blend_all(methods, validated, inner.window(), models, outer.training, k, seed)
        failed |= not_blended
        for method in hybrids:
            if method.name in models:
                with leaving_out(failed, method.name):
                    validation[method.name] = cross_fitted(method, validated, inner, k, seed)
    else:
        failed |= {method.name: NO_VALIDATION for method in hybrids}
    current = None
    if champion:
        with leaving_out(failed, CURRENT):
            champion = _usable(champion, chosen.methods, outer.split, inner, k, seed)
            current = _entered(champion, models, methods, weights, tuned_until, outer, seed)
    audited_until = {name: until for name, until in tuned_until.items() if name in models}
    if champion and current == CURRENT and champion.tuned:
        audited_until[CURRENT] = max(champion.tuned.values())
    findings = found.audited(warehouse, settings, end, models, validated, audited_until)
    require_clean(findings)
    judged, not_judged = compare(models, outer, k)
    failed |= not_judged
    judged = [entry for entry in judged if entry.model not in failed]
    usable = {name for name in models if name not in failed}
    baselines = [method.name for method in methods if isinstance(method, MostPopularSettings) and method.name in usable]
    if not baselines:
        raise ModelError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    if current not in usable:
        current = None
    candidates = {name: quality for name, quality in validation.items() if name in usable and np.isfinite(quality)}
    challenger = max(candidates, key=lambda name: candidates[name]) if candidates else None
    holder = current or baselines[0]
    decision = (
        decide(judged, challenger, current, baselines[0], chosen.gate, seed).by_validation(candidates, k).on(found.protocol, found.reason)
    )
    if champion and not current:
        why = failed.get(CURRENT) or failed[champion.name]
        decision = replace(decision, reason=f"{decision.reason}; the champion before is not compared: {why}")
    recipes = {
        name: champion if name == CURRENT and champion else recipe_of(methods, name, models[name], weights.get(name, {}), tuned_until)
        for name in {decision.champion, decision.challenger, holder}
    }
    curves = {name: models[name].curves for name in models if models[name].curves}
    clicks = _last_clicks(recipes, models, methods, validated, inner, outer, chosen.gate.minimum_users, k, seed)
    return Comparison(judged, outer.split, findings, failed, validation, weights, decision, holder, recipes, baselines, curves, clicks)


def _last_clicks(
    recipes: Mapping[str, Recipe],
    models: Mapping[str, LearnedModel],
    methods: Sequence[MethodSettings],
    validated: Mapping[str, LearnedModel],
    inner: Task | None,
    outer: Task,
    minimum: int,
    k: int,
    seed: int,
) -> dict[str, Measured]:
    """What the last items are worth beside each model of the recipes that reads no history of items: the share is chosen on ``inner``, judged on ``outer``.

    Args:
        models, validated: fitted on the training of ``outer`` and of ``inner``.
        minimum: people to choose a share by.
    """
    wanted = {name: recipe for name, recipe in recipes.items() if not isinstance(models[name], HistoryModel)}
    found: dict[str, Measured] = {}
    failed: dict[str, str] = {}
    lasts: dict[str, LastItems] = {}
    for name, recipe in wanted.items():
        with leaving_out(failed, name):
            if inner is None or not inner.split.in_order:
                raise ModelError("there is no validation window whose events came after what was known of the same people")
            if not lasts:
                lasts |= {
                    window: LastItems.of(part.training, methods, fitted, seed)
                    for window, part, fitted in ((VALIDATION, inner, validated), (TEST, outer, models))
                }
            same = {
                method.name: validated[method.name]
                for method in methods
                if method in (*recipe.members, recipe.settings) and method.name in validated
            }
            before = replayed(recipe.fit(inner.training, seed, same), lasts[VALIDATION], inner, k, seed)
            after = replayed(models[name], lasts[TEST], outer, k, seed)
            found[name] = Measured(chosen_share(before, k, minimum, seed), {VALIDATION: before, TEST: after})
    return found | {name: Measured(unmeasured(reason, 0, 0, k), {}) for name, reason in failed.items()}


def _usable(champion: Recipe, methods: Sequence[MethodSettings], split: Split, inner: Task | None, k: int, seed: int) -> Recipe:
    """The champion without what it has learned from the test, as it may have where the cut is an earlier one than last time.

    Parameters that were tuned on it become those of the configuration. Weights that were learned on it are learned anew; without a
    validation window all members count alike.

    Raises:
        ModelError: a tuned method of the champion stands in the configuration no longer.
    """
    if not split.by_time:
        return champion
    first = split.test["first_time"].min()
    late = {name for name, until in champion.tuned.items() if until >= first}
    configured = {method.name: method for method in methods}
    if gone := sorted(late - configured.keys()):
        raise ModelError(f"{gone[0]} was tuned on what it would be judged by, and stands in recommendations.methods no longer")
    if late:
        champion = replace(
            champion,
            settings=configured[champion.name] if champion.name in late else champion.settings,
            members=tuple(configured[member.name] if member.name in late else member for member in champion.members),
            tuned={name: until for name, until in champion.tuned.items() if name not in late},
        )
    if not isinstance(champion.settings, HybridSettings) or champion.until is None or champion.until < first:
        return champion
    if inner is None:
        weights = dict.fromkeys((method.name for method in champion.members), 1 / len(champion.members))
        return replace(champion, weights=weights, until=split.pairs["last_time"].max().to_pydatetime())
    fitted, _ = fit_all(champion.members, inner.training, seed)
    weights = Hybrid(champion.settings, seed).learned_weights(fitted, inner.window(), k)
    return replace(champion, weights=weights, until=inner.newest)


def _entered(
    champion: Recipe,
    models: dict[str, LearnedModel],
    methods: Sequence[MethodSettings],
    weights: Mapping[str, Mapping[str, float]],
    tuned_until: Mapping[str, dt.datetime],
    outer: Task,
    seed: int,
) -> str:
    """The champion's name in the comparison: that of the same method, else its recipe is fitted and enters as ``CURRENT``."""
    if champion.name in models:
        same = recipe_of(methods, champion.name, models[champion.name], weights.get(champion.name, {}), tuned_until)
        if (same.settings, same.members, same.weights) == (champion.settings, champion.members, dict(champion.weights)):
            return champion.name
    model = champion.fit(outer.training, seed)
    require_serviceable(model, outer.training)
    models[CURRENT] = model
    return CURRENT


def everything(warehouse: Warehouse, settings: Settings, end: dt.datetime) -> tuple[pd.DataFrame, Interactions]:
    """All interactions before a moment, with today's segments, as a table and as matrices."""
    known = sources_of(warehouse, settings)
    found = warehouse.frame(warehouse.table(contracts.USER_SEGMENTS).select("user_id", "segment_id"))
    segments = dict(zip(found["user_id"], found["segment_id"].astype(int), strict=True))
    return known.learned(known.events.filter(known.events.timestamp < end), end, segments)


def fit_on_everything(
    comparison: Comparison, interactions: Interactions, users: pd.DataFrame, seed: int
) -> tuple[Comparison, dict[str, LearnedModel]]:
    """The champion and a refused challenger, fitted on all interactions.

    A new champion that cannot be, or does not answer with finite scores, is refused after all: who held the place keeps it.

    Args:
        users: attributes, for the trial of new users.
    Returns:
        The comparison with its last decision, and the models by name.
    Raises:
        ModelError: not even the champion of before can be fitted.
    """
    fitted: dict[str, LearnedModel] = {}
    failed: dict[str, str] = {}

    def fit(name: str) -> None:
        with leaving_out(failed, name):
            model = comparison.recipes[name].fit(interactions, seed)
            require_serviceable(model, interactions, users)
            fitted[name] = model

    decision = comparison.decision
    side_by_side([partial(fit, name) for name in dict.fromkeys((decision.champion, decision.challenger))])
    if decision.champion in failed and decision.champion != comparison.holder:
        reason = f"{comparison.holder} stays: {decision.champion} cannot be fitted on all interactions: {failed[decision.champion]}"
        decision = replace(
            decision, outcome=REFUSED if decision.outcome == PROMOTED else decision.outcome, champion=comparison.holder, reason=reason
        )
        if decision.champion not in fitted:
            fit(decision.champion)
    if decision.champion not in fitted:
        raise ModelError(f"{failed[decision.champion]}: nothing can be fitted on all interactions; the champion stays as it is")
    return replace(comparison, decision=decision, failed=comparison.failed | failed), fitted
