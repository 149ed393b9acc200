"""From a comparison to registered models: what goes to MLflow of each, and which version is taken from now on."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from persona_pipelines import charts
from persona_pipelines.days import end_of
from persona_pipelines.recommendations import STAGE, told
from persona_pipelines.recommendations.evaluation.audit import table as audit_table
from persona_pipelines.recommendations.evaluation.comparison import ALL, WARM
from persona_pipelines.recommendations.evaluation.splits import TooFewInteractionsError
from persona_pipelines.recommendations.listed import listed_users
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.recommendations.promotion import REFUSED
from persona_pipelines.recommendations.serving import PyfuncRecommender, server_of, tables_of_consenting
from persona_pipelines.recommendations.tables import Tables
from persona_pipelines.recommendations.told import with_k
from persona_pipelines.recommendations.training import NO_VALIDATION, Comparison, everything, fit_on_everything
from persona_pipelines.recommendations.tuning import Trial, tune
from persona_pipelines.recommendations.windows import windows
from persona_pipelines.settings import Settings
from persona_pipelines.tracking.experiments import Origin, TrackedRun, fingerprint, tracked_run
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

MOMENT = "%Y-%m-%d %H:%M:%S"
TYPES_SHOWN = 6
"""So many types of events are named where none of them counts."""


def end_of_interactions(store: Warehouse) -> dt.datetime:
    """The end of the day up to which interactions are known.

    Raises:
        TooFewInteractionsError: there are none.
    """
    as_of = store.value(store.table(contracts.INTERACTIONS).as_of_date.max())
    if as_of is None:
        events = store.table(contracts.EVENTS)
        known = events.filter(events.user_id.notnull() & events.item_id.notnull()).select("event_type").distinct().order_by("event_type")
        types = [kind for (kind,) in store.tuples(known.limit(TYPES_SHOWN))]
        raise TooFewInteractionsError(
            f"no interactions of known users with items: found {', '.join(types)}, which say nothing good of an item; expected a weight for one in "
            "features.interaction_weights"
            if types
            else "no interactions of known users with items: user_id and item_id of the events are needed for it"
        )
    return end_of(as_of)


def why_untrained(store: Warehouse, settings: Settings) -> str | None:
    """Why no recommender comes of some tables, as the run said that made them; None where one does."""
    try:
        windows(store, settings, end_of_interactions(store))
    except TooFewInteractionsError as error:
        return str(error)
    return None


def searched(
    store: Warehouse,
    settings: Settings,
    wanted: Sequence[str],
    minutes: float,
    trials: int | None,
    origin: Origin,
    say: Callable[[str], None],
) -> pd.DataFrame:
    """Rows of ``contracts.TUNED_PARAMETERS`` of the methods searched, every trial a run of its own.

    Args:
        wanted: names of methods; empty for all that have something to tune.
        minutes: for all of them together.
        trials: most of each method.
        say: told of each method that could not be tuned.
    Raises:
        TooFewInteractionsError: there is no window to search on.
    """
    window, chosen = windows(store, settings, end_of_interactions(store)).inner, settings.recommendations
    if window is None:
        say(f"not tuned: {NO_VALIDATION}")
        return pd.DataFrame(columns=contracts.TUNED_PARAMETERS.column_names)
    methods = [method for method in chosen.methods if method.space() and (not wanted or method.name in wanted)]
    rows = []
    for method in methods:
        with tracked_run(settings, STAGE, f"tuning {method.name}", origin) as run:

            def log(trial: Trial, name: str = method.name, parent: TrackedRun = run) -> None:
                with parent.part(f"{name} trial {trial.number}") as child:
                    child.parameters(trial.settings.parameters())
                    child.tags({"split": "validation window", **({"problem": trial.problem} if trial.problem else {})})
                    if trial.ndcg is not None:
                        child.metrics({with_k("ndcg_at_k", chosen.k): trial.ndcg})

            try:
                found = tune(method, window, chosen.k, chosen.seed, minutes * 60 / len(methods), trials, log)
            except ModelError as error:
                say(f"not tuned: {error}")
                continue
            run.parameters({**found.best.settings.parameters(), "split": "validation window", "trials": found.trials})
            best, configured = found.best.ndcg or 0.0, found.configured.ndcg or 0.0
            run.metrics({with_k("ndcg_at_k", chosen.k): best, with_k("configured_ndcg_at_k", chosen.k): configured})
            run.note(
                f"A search for parameters of **{method.name}** on the validation window, which ends with {window.newest:{MOMENT}}: the best of "
                f"{found.trials} trials reached nDCG@{chosen.k} {best:.4f}, the parameters of the configuration {configured:.4f}. Each trial is a "
                "run below this one. The next comparison uses what was found."
            )
            rows.append(
                {
                    "model": method.name,
                    "parameters": found.best.settings.model_dump_json(),
                    "configured": method.model_dump_json(),
                    "ndcg_configured": found.configured.ndcg,
                    "ndcg_tuned": found.best.ndcg,
                    "trials": found.trials,
                    "tuned_until": window.newest,
                    "mlflow_run_id": run.run_id,
                }
            )
    return pd.DataFrame(rows, columns=contracts.TUNED_PARAMETERS.column_names)


@dataclass(frozen=True)
class Registered:
    """What became of a comparison.

    Attributes:
        comparison: with its last decision (``training.fit_on_everything``).
        table: rows of ``contracts.MODEL_COMPARISON``.
        advantages: rows of ``contracts.MODEL_ADVANTAGES``; ``by_segment`` of ``contracts.SEGMENT_ADVANTAGES``.
        last_clicks: rows of ``contracts.LAST_CLICK``.
        audit: rows of ``contracts.LEAKAGE_AUDIT``.
        intervals: the picture of the table.
        url: the address of the run in MLflow.
    """

    comparison: Comparison
    table: pd.DataFrame
    advantages: pd.DataFrame
    by_segment: pd.DataFrame
    last_clicks: pd.DataFrame
    audit: pd.DataFrame
    intervals: Figure
    url: str


def registered(store: Warehouse, settings: Settings, comparison: Comparison, end: dt.datetime, origin: Origin) -> Registered:
    """Log every model; fit the champion and a refused challenger on everything, and register them.

    Both are fitted before anything is registered: a model that breaks here leaves the champion where it is.

    Raises:
        ModelError: not even the champion of before can be fitted.
    """
    options = settings.recommendations
    pairs, interactions = everything(store, settings, end)
    comparison, fitted = fit_on_everything(comparison, interactions, listed_users(store, settings, end), options.seed)
    decision, cut = comparison.decision, f"{comparison.split.cut:{MOMENT}}"
    table, advantages = comparison.table(options.k, options.seed), comparison.advantages(options.seed)
    by_segment, last_clicks = comparison.segment_advantages(options.seed), comparison.last_clicks(options.seed)
    audit, intervals = audit_table(comparison.findings), charts.model_intervals(table)
    as_of = f"{end - dt.timedelta(days=1):%Y-%m-%d}"
    tables = tables_of_consenting(store, settings)
    versions: dict[str, str] = {}
    runs: dict[str, str] = {}
    settings_of = {method.name: method for method in options.methods} | {
        name: recipe.settings for name, recipe in comparison.recipes.items()
    }
    with tracked_run(settings, STAGE, f"comparison {as_of}", origin) as parent:
        parent.parameters(
            {
                "split": comparison.split.name,
                "k": options.k,
                "test_share": options.test_share,
                "exclude_seen": options.exclude_seen,
                "half_life_days": settings.features.interaction_half_life_days,
                "seed": options.seed,
            }
        )
        parent.tags({**decision.tags(), "cut": cut})
        parent.metrics(told.figures_of_the_comparison(comparison, table, options.k))
        trained = comparison.split.pairs
        parent.data(
            "interactions", trained, fingerprint(trained.drop(columns="user_id")), f"{trained['last_time'].min():%Y-%m-%d}", cut[:10]
        )
        seen = f"{len(trained):,} interactions of {trained['user_id'].nunique():,} users before {cut}"
        parent.note(told.note_of_the_comparison(comparison, table, advantages, by_segment, last_clicks, seen))
        parent.table(table, "comparison.csv")
        parent.table(advantages, "advantages.csv")
        parent.table(by_segment, "advantages_by_segment.csv")
        parent.table(last_clicks, "last_click.csv")
        parent.table(audit, "leakage_audit.csv")
        parent.picture(charts.drawn(intervals), "comparison.png")
        for name in dict.fromkeys(table["model"]):
            mine = table[table["model"] == name]
            with parent.part(f"{name} {as_of}") as run:
                runs[name] = run.run_id
                parameters = settings_of[name].parameters() if name in settings_of else {}
                run.parameters({**parameters, "model": name})
                weights = comparison.weights.get(name, {})
                run.parameters({f"weight.{member}": round(weight, 4) for member, weight in weights.items() if weight})
                run.metrics(told.figures(mine))
                if name in comparison.last_click:
                    run.parameters({"live_share": comparison.last_click[name].choice.share})
                    run.metrics(told.figures_of_the_last_click(comparison.last_click[name], last_clicks[last_clicks["model"] == name]))
                run.series(comparison.curves.get(name, {}))
                run.tags({"champion": str(name == decision.champion).lower(), "leakage_audit": "passed", "cut": cut})
                run.note(told.note_of_a_method(comparison, name, parameters, seen))
                if name in fitted:
                    versions[name] = _version(
                        run, settings, comparison, name, fitted[name], tables, f"{len(pairs):,} interactions until {as_of}", mine
                    )
        url = parent.url
    table = table.assign(model_version=table["model"].map(versions), mlflow_run_id=table["model"].map(runs))
    return Registered(comparison, table, advantages, by_segment, last_clicks, audit, intervals, url)


def _version(
    run: TrackedRun,
    settings: Settings,
    comparison: Comparison,
    name: str,
    model: LearnedModel,
    tables: Tables,
    learned_from: str,
    rows: pd.DataFrame,
) -> str:
    decision, recipe = comparison.decision, comparison.recipes[name]
    refused = name != decision.champion
    example = pd.DataFrame({"user_id": ["0" * 32], "k": [settings.recommendations.k]})
    server = server_of(model, tables, settings.recommendations)
    answer = PyfuncRecommender(server).predict(example)
    tags = {**decision.tags(), "decision": REFUSED if refused else decision.outcome, "model": recipe.name}
    whole = rows[(rows["case"] == WARM) & (rows["segment"] == ALL)]
    if len(whole):
        tags["ndcg_at_k"] = f"{whole['ndcg_at_k'].iloc[0]:.6f}"
    measured = comparison.last_click.get(name)
    if measured is not None:
        tags |= {"live_share": f"{measured.choice.share:g}", "live_share.reason": measured.choice.reason}
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        server.save(folder)
        recipe.save(folder)
        if measured is not None:
            measured.choice.save(folder)
        description = told.note_of_a_version(comparison, name, recipe.name, rows, learned_from)
        return run.register(folder, "persona_pipelines.recommendations.serving", example, answer, description, tags, optional=["k"]).version
