"""Versions of the recommender, the gate's decisions, and how to overrule them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import CommandError, config_option, main, no_recommender, published, run_and_tell, settings_of
from persona_pipelines.cli.printing import print_table, say
from persona_pipelines.recommendations import STAGE
from persona_pipelines.settings import Settings

if TYPE_CHECKING:
    from persona_pipelines.warehouse.connection import Warehouse


@main.group(invoke_without_command=True)
@format_option
@config_option
@click.pass_context
def models(context: click.Context, form: Form, config: str | None) -> None:
    """Versions of the recommender, the gate's decisions, and how to overrule them."""
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    settings = settings_of(config)
    import pandas as pd

    from persona_pipelines.tracking.registry import history, made_with, versions

    found, reigns = versions(settings, STAGE), history(settings, STAGE)
    if not found:
        with published(settings) as store:
            if version := made_with(store, STAGE):
                raise CommandError(f"version {version} made the lists, and no model is found any more: persona verify says what is lost")
        raise no_recommender(settings)
    rows = [
        {
            "version": entry.version,
            "model": entry.tags.get("model", ""),
            "made": f"{entry.created:%Y-%m-%d %H:%M}",
            "champion": entry.champion,
            "decision": entry.tags.get("decision", ""),
            "ndcg_at_k": float(entry.tags.get("ndcg_at_k") or "nan"),
            "live_share": float(entry.tags.get("live_share") or "nan"),
            "reason": entry.tags.get("decision.reason", ""),
        }
        for entry in found
    ]
    champions = pd.DataFrame([vars(reign) for reign in reversed(reigns)])
    give(
        Answer((Rows("versions", pd.DataFrame(rows), "Versions"), Rows("champions", champions, "Champions, newest first (times in UTC)"))),
        form,
    )


@models.command("comparison")
@format_option
@config_option
@click.pass_context
def show_comparison(context: click.Context, form: Form, config: str | None) -> None:
    """The last comparison: the champion, what it beats and by how much, then every method."""
    settings = settings_of(config or context.obj)
    with published(settings) as store:
        give(comparison(store), form)


def comparison(store: Warehouse) -> Answer:
    """The last comparison with its verdict before it; of known users as a whole and of the other cases, not of each segment."""
    import pandas as pd

    from persona_pipelines.recommendations.verdict import verdict
    from persona_pipelines.warehouse import contracts

    table = store.table(contracts.MODEL_COMPARISON)
    whole = store.frame(table.filter(table.segment == "all").order_by([table.case.desc(), table.ndcg_at_k.desc(), "model"]))
    said = verdict(
        whole,
        store.frame(store.table(contracts.MODEL_ADVANTAGES)),
        store.frame(store.table(contracts.SEGMENT_ADVANTAGES).order_by("segment")),
        store.frame(store.table(contracts.LAST_CLICK)),
    )
    champions = store.table(contracts.CHAMPIONS)
    decided = store.tuples(champions.filter(champions.stage == STAGE).select("chosen_by", "reason"))
    said += [f"Decision ({by}): {reason}." for by, reason in decided]
    if whole.empty:
        return Answer((Rows("models", whole, "Recommenders"),), {"verdict": said}, ("nobody could be judged: there is no comparison",))
    view = pd.DataFrame(
        {
            "case": whole["case"],
            "model": whole["model"],
            "users": whole["users"],
            "nDCG": whole["ndcg_at_k"].round(3),
            "95 % interval": [f"{low:.3f}-{high:.3f}" for low, high in zip(whole["ndcg_low"], whole["ndcg_high"], strict=True)],
            "recall": whole["recall_at_k"].round(3),
            "coverage": whole["coverage"].round(3),
        }
    )
    rows = Rows("models", whole, "Recommenders, judged on what they have not seen", view)
    return Answer((rows,), {"verdict": said}, tuple(said))


def _told(context: click.Context, option: click.Parameter, reason: str) -> str:
    if not reason.strip():
        raise click.BadParameter("found nothing; expected why, in words")
    return reason


REASON = click.option("--reason", required=True, callback=_told, help="Why; it is kept with the model.")


@models.command("promote")
@click.argument("version")
@REASON
@config_option
@click.pass_context
def promote_model(context: click.Context, version: str, reason: str, config: str | None) -> None:
    """Make VERSION the champion, whatever the gate said, and write its lists."""
    _overruled(settings_of(config or context.obj), {"promote": version, "reason": reason})


@models.command("rollback")
@REASON
@config_option
@click.pass_context
def roll_back_model(context: click.Context, reason: str, config: str | None) -> None:
    """Bring back the champion before the present one, and write its lists."""
    _overruled(settings_of(config or context.obj), {"rollback": True, "reason": reason})


def _overruled(settings: Settings, config: dict[str, Any]) -> None:
    """Lists and champion change together, in one run under the lock; where it fails, both are as they were."""
    from persona_pipelines.orchestration.jobs import SCORING_JOB
    from persona_pipelines.tracking.registry import champion_version

    before = champion_version(settings, STAGE)
    run_and_tell(settings, SCORING_JOB, {"ops": {STAGE: {"config": config}}})
    after = champion_version(settings, STAGE)
    say(f"champion: version {after} (before: {before or 'none'}); its lists are in the table recommendations")


@models.command("tune")
@click.option("--minutes", required=True, type=click.FloatRange(min=0, min_open=True), help="Time for all methods together.")
@click.option("--trials", type=click.IntRange(1), help="Most trials a method: with it, and time enough, a search repeats exactly.")
@click.option("--method", "methods", multiple=True, help="A method by its name in the comparison; several times for several. Default: all.")
@config_option
@click.pass_context
def tune_models(context: click.Context, minutes: float, trials: int | None, methods: tuple[str, ...], config: str | None) -> None:
    """Search for better parameters on the validation window; the next comparison uses them."""
    settings = settings_of(config or context.obj)
    from persona_pipelines.orchestration.jobs import TUNING_JOB
    from persona_pipelines.warehouse import contracts

    options = {"minutes": minutes, "trials": trials, "methods": list(methods)}
    run_and_tell(settings, TUNING_JOB, {"ops": {"tuned_parameters": {"config": options}}})
    with published(settings) as store:
        table = store.table(contracts.TUNED_PARAMETERS).order_by("model")
        print_table(store.frame(table.select("model", "ndcg_configured", "ndcg_tuned", "trials", "parameters")), "On the validation window")
