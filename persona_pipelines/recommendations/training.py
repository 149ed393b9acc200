"""Compare the methods without leakage, decide, and fit what was chosen on everything."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.features.asof import features_as_of
from persona_pipelines.intervals import interval
from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.evaluation.audit import Finding, audit, require_clean
from persona_pipelines.recommendations.evaluation.comparison import ALL, WARM, Judged, Task, blend_all, compare, fit_all, task
from persona_pipelines.recommendations.evaluation.splits import (
    Sources,
    Split,
    by_time,
    cut_of,
    last_item_out,
    random_by_user,
    random_pairs,
)  # fmt: skip
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.recommendations.promotion import Decision, decide, paired
from persona_pipelines.recommendations.recipes import Recipe, recipe_of
from persona_pipelines.segments.model import fit_segments
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import MethodSettings, MostPopularSettings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

CURRENT = "current_champion"
"""Name in a comparison of the champion's recipe, where no method of the configuration is the same."""


@dataclass(frozen=True)
class Comparison:
    """What was compared on what.

    Attributes:
        judged: every model, case and segment.
        split: the newest window; ``until`` the end of the validation window before it.
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
                    "users": len(entry.users), **entry.scores.means(), "ndcg_low": bounds.low, "ndcg_high": bounds.high,
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


def listed_users(warehouse: Warehouse) -> pd.DataFrame:
    """Attributes of users as the customer list gives them; what only events tell is left out, so that no test leaks in."""
    users = warehouse.table(contracts.USERS)
    return warehouse.frame(users.filter(users.in_customer_list).order_by("user_id"))


def listed_items(warehouse: Warehouse) -> pd.DataFrame:
    """The catalogue; an item that only events know becomes known with its first event."""
    items = warehouse.table(contracts.ITEMS)
    return warehouse.frame(items.filter(items.in_catalogue).order_by("item_id"))


def sources_of(warehouse: Warehouse, settings: Settings) -> Sources:
    """The interactions of a warehouse."""
    return Sources(
        warehouse, warehouse.table(contracts.EVENTS), settings.interaction_weights(), settings.features.interaction_half_life_days,
        listed_users(warehouse), listed_items(warehouse),
    )  # fmt: skip


def segments_as_of(warehouse: Warehouse, settings: Settings, day: dt.date) -> dict[str, int]:
    """The segments that would have been known at the end of a day: trained on the features as of that day alone."""
    features, category_shares_frame = features_as_of(warehouse, day, settings.features.timezone)
    if features.empty:
        return {}
    # One algorithm and few refits: what is judged here are recommenders, not segments.
    quick = settings.segments.model_copy(update={"algorithms": ["k_means"], "stability_refits": 2})
    assigned = fit_segments(features, category_shares_frame, quick).model.assign(features, category_shares_frame)
    return dict(zip(assigned["user_id"], assigned["segment_id"].astype(int), strict=True))


def windows(warehouse: Warehouse, settings: Settings, end: dt.datetime) -> tuple[Task, Task]:
    """The validation window and, after it, the newest window: both with a training that ends before them.

    Raises:
        TooFewInteractionsError: too few interactions, or nobody to judge by.
    """
    chosen, known = settings.recommendations, sources_of(warehouse, settings)
    users, repeats = known.users, not chosen.exclude_seen
    segments: dict[str, int] = {}
    tasks = []
    if chosen.split == "global time":
        outer_cut = cut_of(known, end, chosen.test_share, chosen.minimum_interactions)
        inner_cut = cut_of(known, outer_cut, chosen.test_share, 2)
        for cut, until in ((inner_cut, outer_cut), (outer_cut, end)):
            day = cut.date() - dt.timedelta(days=1)
            segments = segments_as_of(warehouse, settings, day)
            split = by_time(known, cut, until, segments, day if segments else None, repeats)
            tasks.append(task(split, users, chosen.exclude_seen, segments, _groups(warehouse), chosen.seed))
    else:
        outer = last_item_out(known, end) if chosen.split == "last item out" else random_by_user(known, end, chosen.test_share, chosen.seed)
        # A validation window inside a training that is not cut by time: a random share of its pairs.
        inner = random_pairs(outer.pairs, known.users, known.items, outer.cut, chosen.test_share, chosen.seed + 1)
        tasks = [task(split, users, chosen.exclude_seen, None, _groups(warehouse), chosen.seed) for split in (inner, outer)]
    return tasks[0], tasks[1]


def _groups(warehouse: Warehouse) -> dict[str, str]:
    """The name of each user's segment today: figures are told apart by it, no model learns from it."""
    found = warehouse.frame(warehouse.table(contracts.USER_SEGMENTS).select("user_id", "segment_name"))
    return dict(zip(found["user_id"], found["segment_name"], strict=True))


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
    warehouse: Warehouse, settings: Settings, end: dt.datetime, methods: Sequence[MethodSettings], champion: Recipe | None
) -> Comparison:
    """Fit all methods before the validation window and before the newest, learn blends on the first, judge and decide on the second.

    Args:
        end: events from this moment on are ignored.
        champion: the recipe of the champion, which is fitted anew: as stored it may have learned from the newest window.
    Raises:
        TooFewInteractionsError: too few interactions, or nobody to judge by.
        ModelError: not one method could be fitted.
        LeakageError: the audit found something; nothing is decided.
    """
    chosen = settings.recommendations
    inner, outer = windows(warehouse, settings, end)
    until, seed, k = outer.split.cut, chosen.seed, chosen.k
    validated, _ = fit_all(methods, inner.training, seed)
    models, failed = fit_all(methods, outer.training, seed)
    if not models:
        raise ModelError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    weights, not_blended = blend_all(methods, validated, inner.window(pd.Timestamp(until)), models, outer.training, k, seed)
    failed |= not_blended
    for name, blend_weights in weights.items():
        # The blend itself on the window that its weights were learned on: no better judge of it is left before the newest.
        hybrid = recipe_of(methods, name, models[name], blend_weights, until)
        validated[name] = _blended(hybrid, validated, inner, seed)
    validation = _validation(validated, inner, k)
    current = _entered(champion, models, methods, weights, outer, until, seed, failed) if champion else None
    findings = audit(outer.split, models)
    require_clean(findings)
    judged = compare(models, outer, k)
    baselines = [method.name for method in methods if isinstance(method, MostPopularSettings) and method.name in models]
    if not baselines:
        raise ModelError("; ".join(f"{name}: {reason}" for name, reason in failed.items()))
    candidates = {name: quality for name, quality in validation.items() if name in models and np.isfinite(quality)}
    challenger = max(candidates, key=lambda name: candidates[name]) if candidates else baselines[0]
    decision = decide(judged, challenger, current, baselines[0], chosen.gate, seed)
    recipes = {
        name: champion if name == CURRENT and champion else recipe_of(methods, name, models[name], weights.get(name, {}), until)
        for name in {decision.champion, challenger}
    }
    return Comparison(judged, outer.split, until, findings, failed, validation, weights, decision, recipes, baselines)


def _blended(recipe: Recipe, validated: Mapping[str, LearnedModel], inner: Task, seed: int) -> LearnedModel:
    from persona_pipelines.recommendations.models import Hybrid, HybridSettings

    assert isinstance(recipe.settings, HybridSettings)
    members = {member.name: validated[member.name] for member in recipe.members if member.name in validated}
    return Hybrid(recipe.settings, seed).blend(members, recipe.weights, inner.split.cut, inner.training)


def _validation(models: Mapping[str, LearnedModel], inner: Task, k: int) -> dict[str, float]:
    judged = compare(models, inner, k)
    return {entry.model: entry.scores.means()["ndcg_at_k"] for entry in judged if (entry.case, entry.segment) == (WARM, ALL)}


def _entered(
    champion: Recipe, models: dict[str, LearnedModel], methods: Sequence[MethodSettings], weights: Mapping[str, Mapping[str, float]], outer: Task,
    until: dt.datetime, seed: int, failed: dict[str, str],
) -> str | None:  # fmt: skip
    """The champion's name in the comparison: that of the same method, else its recipe is fitted and enters as ``CURRENT``."""
    if champion.name in models:
        same = recipe_of(methods, champion.name, models[champion.name], weights.get(champion.name, {}), until)
        if (same.settings, same.members, same.weights) == (champion.settings, champion.members, dict(champion.weights)):
            return champion.name
    if champion.until and champion.until > outer.split.cut:
        failed[CURRENT] = f"the champion's weights were learned until {champion.until}, after the cut: it cannot be compared"
        return None
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
