"""Experiments with the lists of the live service: planned, started, looked at, stopped."""

from __future__ import annotations

import datetime as dt
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import CommandError, config_option, main, no_recommender, published, settings_of
from persona_pipelines.cli.printing import say, warn
from persona_pipelines.serving.experiments import EXPERIMENTS, METRICS
from persona_pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from persona_pipelines.serving.experiments import Experiment
    from persona_pipelines.serving.judging import Compared, Judgement
    from persona_pipelines.serving.waiting import Waiting

EFFECT = click.FloatRange(0, 10, min_open=True)
POWER = click.option(
    "--power", default=0.8, show_default=True, type=click.FloatRange(0, 1, min_open=True, max_open=True), help="Chance to find it."
)
WINSORISE = click.option(
    "--winsorise",
    type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    help="Set amounts of single people above this quantile down to it; said with every result. Default: as they are.",
)
METRIC = click.option(
    "--metric", required=True, type=click.Choice(list(METRICS)), metavar="METRIC", help=f"What decides: {', '.join(METRICS)}."
)


@main.group()
def experiment() -> None:
    """Experiments with the lists of the live service: plan, start, status, stop."""


def _file(settings: Settings) -> Path:
    from persona_pipelines.serving.building import folder_of

    return folder_of(settings) / EXPERIMENTS


@experiment.command("plan")
@METRIC
@click.option("--effect", required=True, type=EFFECT, help="Relative effect that is to be found: 0.05 for five per cent more.")
@click.option(
    "--days", default=14, show_default=True, type=click.IntRange(1, 3650), help="Length; people of as many last days are counted."
)
@click.option(
    "--share",
    "shares",
    multiple=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of each variant, the control first; default 0.5 and 0.5.",
)
@POWER
@WINSORISE
@click.option(
    "--baseline", type=click.FloatRange(0, min_open=True), help="The metric as it is now; default: measured on lists that were served."
)
@click.option("--spread", type=click.FloatRange(0, min_open=True), help="With --baseline: standard deviation of one person's part in it.")
@format_option
@config_option
def plan_experiment(
    metric: str,
    effect: float,
    days: int,
    shares: tuple[float, ...],
    power: float,
    winsorise: float | None,
    baseline: float | None,
    spread: float | None,
    form: Form,
    config: str | None,
) -> None:
    """How many people are needed to find an effect, and what can be found with those who come."""
    settings = settings_of(config)
    from persona_pipelines.serving import planning

    shares = shares or (0.5, 0.5)
    if len(shares) < 2 or abs(sum(shares) - 1) > 1e-9:
        raise CommandError(f"share: found {', '.join(f'{share:g}' for share in shares)}; expected two or more that sum to 1")
    totals, left = _of_last_days(settings, days)
    found = planning.measured(metric, totals, winsorise) if baseline is None else planning.given(metric, baseline, spread)
    needed = planning.people_needed(metric, found, effect, shares, power)
    with_them = planning.effect_found(metric, found, len(totals), shares, power)
    facts = {
        "metric": metric,
        "is": METRICS[metric].words,
        "baseline": found.value,
        "spread": found.spread,
        "effect": effect,
        "power": power,
        "people_needed": needed,
        "days": days,
        "people_of_last_days": len(totals),
        "effect_found_with_them": with_them,
        **_facts(left),
    }
    many = f"In the last {days} days that have lists {len(totals):,} people were shown any"
    lines = (
        f"{metric} ({METRICS[metric].words}) is {found.value:.5g} now; the part of one person in it has a standard deviation of {found.spread:.5g}.",
        f"To find an effect of {effect:+.1%} with a chance of {power:.0%}: {needed:,} people, of all variants together.",
        f"{many}: with as many, an effect of {with_them:+.1%} is found."
        if with_them == with_them
        else f"{many}: too few to find anything.",
        *left.lines,
    )
    give(Answer((), facts, lines), form)


def _facts(left: Waiting) -> dict[str, Any]:
    """What is not counted yet, for programs."""
    return {
        "counted_until": left.until,
        "lists_waiting": left.lists,
        "events_waiting": left.events,
        "events_behind_the_logs": left.behind,
        "logs_end": left.logs_end,
        "events_in_files_still_written": left.writing,
        "files_written_until": left.writing_until,
        "lists_within_outcome_hours": left.open_lists,
    }


def _of_last_days(settings: Settings, days: int) -> tuple[pd.DataFrame, Waiting]:
    """Totals of the people of the last days that have lists, of nobody where none was served yet; and what is not counted yet."""
    from persona_pipelines.serving.exposures import exposed
    from persona_pipelines.serving.waiting import waiting
    from persona_pipelines.warehouse import contracts

    with published(settings) as store:
        served = store.table(contracts.SERVED_LISTS)
        last = store.value(served.served_at.max()) or dt.datetime.now(dt.UTC).replace(tzinfo=None)
        end = last + dt.timedelta(microseconds=1)
        totals = exposed(store, settings.serving.outcome_hours, end - dt.timedelta(days=days), end).totals
        return totals, waiting(store, settings)


def _variant(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> list[dict[str, Any]]:
    """``NAME=SHARE,model_version=3,live_share=0.7,exploration=0.1`` as the fields of a variant."""
    return [_fields(value, "name", "share") for value in values]


def _guard(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> list[dict[str, Any]]:
    return [_fields(value, "metric", "margin") for value in values]


def _fields(text: str, first: str, second: str) -> dict[str, Any]:
    parts = [part.partition("=") for part in text.split(",")]
    if not all(name.strip() and sign and value.strip() for name, sign, value in parts):
        raise click.BadParameter(
            f"found {text!r}; expected {first.upper()}={second.upper()}, and more settings as NAME=VALUE behind commas"
        )
    (name, _, value), *more = parts
    return {first: name.strip(), second: value.strip(), **{name.strip(): value.strip() for name, _, value in more}}


@experiment.command("start")
@click.argument("name")
@METRIC
@click.option("--effect", required=True, type=EFFECT, help="Relative effect that is looked for, as planned.")
@click.option("--people", required=True, type=click.IntRange(2), help="People of all variants together, as planned.")
@click.option("--days", required=True, type=click.IntRange(1, 3650), help="Days, as planned; the result is that of their end.")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    required=True,
    callback=_variant,
    metavar="NAME=SHARE[,SETTING=VALUE]",
    help="The control first; settings that differ: model_version, live_share, exploration.",
)
@click.option(
    "--guard",
    "guards",
    multiple=True,
    callback=_guard,
    metavar="METRIC=MARGIN",
    help="Must not become worse by more than this, relative to the control.",
)
@click.option(
    "--aa", is_flag=True, help="An A/A test: the variants may give people the same, to see whether split and figures can be trusted."
)
@POWER
@WINSORISE
@config_option
def start_experiment(
    name: str,
    metric: str,
    effect: float,
    people: int,
    days: int,
    variants: list[dict[str, Any]],
    guards: list[dict[str, Any]],
    aa: bool,
    power: float,
    winsorise: float | None,
    config: str | None,
) -> None:
    """Start an experiment NAME with the lists that persona serve makes; one runs at a time."""
    settings = settings_of(config)
    from persona_pipelines.recommendations.serving import in_use
    from persona_pipelines.serving.experiments import load, made, save, with_started
    from persona_pipelines.serving.starting import metrics_without_events, require_differing, stored

    file, now = _file(settings), dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)
    before = load(file)
    new = made(
        name=name,
        started=now,
        metric=metric,
        effect=effect,
        people=people,
        days=days,
        variants=variants,
        guards=guards,
        power=power,
        winsorise=winsorise,
    )
    everything = with_started(before, new)
    with published(settings) as store:
        champion = in_use(store, settings)
        if champion is None:
            raise no_recommender(settings)
        version_of = cache(partial(stored, settings))
        if aa:
            for variant in new.variants:
                version_of(variant.model_version or champion)
        else:
            require_differing(new, champion, version_of, settings.serving)
        without = metrics_without_events(store, new.metrics)
    save(file, everything)
    for sentence in without:
        warn(f"Warning: {sentence}")
    say(
        f"experiment {name} is running until {new.planned_end:%Y-%m-%d %H:%M} UTC; how it stands, after each persona run: persona experiment status"
    )


@experiment.command("stop")
@click.argument("name")
@config_option
def stop_experiment(name: str, config: str | None) -> None:
    """End the experiment NAME: people get what everybody gets from now on."""
    settings = settings_of(config)
    from persona_pipelines.serving.experiments import load, save, with_stopped

    file = _file(settings)
    save(file, with_stopped(load(file), name, dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)))
    say(f"experiment {name} has ended; what it found: persona experiment status {name}")


@experiment.command("status")
@click.argument("name", required=False)
@format_option
@config_option
def show_experiment(name: str | None, form: Form, config: str | None) -> None:
    """What the experiment NAME says so far; by default the one that runs, else the last one."""
    settings = settings_of(config)
    from persona_pipelines.serving.experiments import load, named, running
    from persona_pipelines.serving.exposures import exposed
    from persona_pipelines.serving.judging import end_of_counting, judged
    from persona_pipelines.serving.waiting import waiting

    known = load(_file(settings))
    if not known:
        raise CommandError("there is no experiment yet; first: persona experiment start")
    chosen = named(known, name) if name else running(known) or known[-1]
    with published(settings) as store:
        found = judged(chosen, exposed(store, settings.serving.outcome_hours, chosen.started, end_of_counting(chosen), chosen))
        left = waiting(store, settings)
    give(_answer(chosen, found, left), form)


def _answer(chosen: Experiment, found: Judgement, left: Waiting) -> Answer:
    import pandas as pd

    variants = pd.DataFrame(
        [
            {
                "variant": variant.name,
                "share": variant.share,
                "people": found.people[variant.name],
                **variant.model_dump(exclude={"name", "share"}),
            }
            for variant in chosen.variants
        ]
    )
    results, guards = (
        pd.DataFrame(rows).replace(float("inf"), float("nan"))  # a cap that sets nothing down
        for rows in ([_row(each) for each in found.found], [vars(each) for each in found.guards])
    )
    tables = [
        Rows("variants", variants, f"Variants of {chosen.name}"),
        Rows("results", results, f"{chosen.metric}, by variant", _view(results)),
    ]
    if chosen.guards:
        tables.append(Rows("guards", guards, "Guards"))
    facts = {
        "experiment": chosen.name,
        "status": found.status,
        "started": chosen.started,
        "planned_end": chosen.planned_end,
        "stopped": chosen.stopped,
        "metric": chosen.metric,
        "sample_ratio": found.sample_ratio,
        "in_several_variants": found.in_several,
        **_facts(left),
        "said": [*found.told, *left.lines],
    }
    return Answer(tuple(tables), facts, (*found.told, *left.lines))


def _row(compared: Compared) -> dict[str, Any]:
    return {
        "variant": compared.variant,
        "metric": compared.metric,
        "people": compared.people,
        "value": compared.value,
        "control": compared.control,
        "difference": compared.difference.mean,
        "difference_low": compared.difference.low,
        "difference_high": compared.difference.high,
        "relative": compared.relative.mean,
        "relative_low": compared.relative.low,
        "relative_high": compared.relative.high,
        "always_valid_low": compared.always_valid.low,
        "always_valid_high": compared.always_valid.high,
        "cap": compared.cap,
        "capped": compared.capped,
        "verdict": compared.verdict,
    }


def _view(results: pd.DataFrame) -> pd.DataFrame:
    """What people see of the results; empty where there are none yet."""
    import pandas as pd

    if results.empty:
        return results
    return pd.DataFrame(
        {
            "variant": results["variant"],
            "relative": [f"{value:+.2%}" for value in results["relative"]],
            "fixed interval": _between(results["relative_low"], results["relative_high"]),
            "always-valid": _between(results["always_valid_low"], results["always_valid_high"]),
            "verdict": results["verdict"],
        }
    )


def _between(low: pd.Series, high: pd.Series) -> list[str]:
    return [f"{first:+.2%} to {last:+.2%}" for first, last in zip(low, high, strict=True)]
