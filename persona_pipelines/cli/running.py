"""The whole flow, how it stands, and the web UIs."""

from __future__ import annotations

import datetime as dt
import os
import sys

import click

from persona_pipelines.cli.base import CommandError, config_option, exit_code, main, published, relative, settings_of
from persona_pipelines.cli.printing import print_table, say, terminal, warn
from persona_pipelines.settings import Settings

DAY = click.DateTime(formats=["%Y-%m-%d"])


@main.command()
@config_option
@click.option("--from", "first", type=DAY, help="First day, YYYY-MM-DD; default: the first that the logs have.")
@click.option("--to", "last", type=DAY, help="Last day; default: the last that the logs have.")
@click.option(
    "--accept-shrink", is_flag=True, help="Load and publish also where a day, or all of events, people or items, has become much smaller."
)
def run(config: str | None, first: dt.datetime | None, last: dt.datetime | None, accept_shrink: bool) -> None:
    """Run all six stages and print a summary.

    Goes through Dagster in this process: the run, its checks and plots stand in the web UI (persona ui). Running the same
    days again gives the same tables. Exit code 0 only when every stage was done.
    """
    settings = settings_of(config)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.partitions import range_tags
    from persona_pipelines.orchestration.runs import run_job
    from persona_pipelines.orchestration.specs import ACCEPT_SHRINK_TAG

    if first and last and first > last:
        raise click.BadParameter(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}")
    days = _days(settings, first, last)
    instance, shown_on = open_instance(settings, warn), terminal()
    say(f"{settings.name}: days {days[0]} to {days[1]}")
    with instance:
        from persona_pipelines.graph import build

        with Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total} steps"),
            TimeElapsedColumn(),
            console=Console(file=shown_on),
            disable=shown_on is None or not shown_on.isatty(),
            transient=True,
        ) as progress:
            task = progress.add_task("starting", total=None)

            def step_ended(name: str, steps: int) -> None:
                progress.update(task, description=name.replace("_", " "), total=steps, advance=1)

            try:
                tags = range_tags(settings, *days) | ({ACCEPT_SHRINK_TAG: "yes"} if accept_shrink else {})
                result = run_job(settings, build(settings), instance, tags, on_step=step_ended, on_wait=warn)
            except KeyboardInterrupt as interrupt:
                progress.stop()
                warn(f"{str(interrupt) or 'Interrupted'}. Every table holds its last completed state; run again to finish the work.")
                os._exit(exit_code(interrupt))  # at once: the thread of the run has no other end, and an open transaction is rolled back
    for warning in dict.fromkeys(result.warnings):
        warn(f"warning: {warning}")
    if not result.success:
        for failure in dict.fromkeys(result.failures):
            warn(f"error: {failure}")
        warn(f"Run {result.run_id[:8]} failed. Tables that were not reached keep their last completed state.")
        sys.exit(1)
    print_summary(settings)
    say(f"Run {result.run_id[:8]} is in the web UI: persona ui --config {relative(settings.file)}")


def _days(settings: Settings, first: dt.datetime | None, last: dt.datetime | None) -> tuple[dt.date, dt.date]:
    if first and last:
        start, end = first.date(), last.date()
    else:
        from persona_pipelines.logs.arrivals import days_to_run

        found = days_to_run(settings)
        if found is None:
            raise CommandError(
                f"{relative(settings.file)}: no source has records from start_date {settings.start_date} on; try: persona sources check"
            )
        start, end = first.date() if first else found[0], last.date() if last else found[1]
        end = max(min(end, dt.datetime.now(dt.UTC).date()), start)
    if start < settings.start_date:
        raise CommandError(f"--from {start}: before start_date {settings.start_date} of {relative(settings.file)}")
    if end > dt.datetime.now(dt.UTC).date():
        raise CommandError(f"--to {end}: in the future")
    return start, end


def print_summary(settings: Settings) -> None:
    """What a person wants to know after a run."""
    from persona_pipelines.warehouse import contracts

    with published(settings) as store:
        accounting = store.table(contracts.ACCOUNTING)
        by_source = accounting.group_by("source").aggregate(
            **{name: accounting[name].sum() for name in ("records_read", "events", "rejects", "duplicates", "filtered")}
        )
        print_table(store.frame(by_source.order_by("source")), "Where the records went")
        rejects = store.table(contracts.REJECTS)
        reasons = store.frame(rejects.group_by("source", "reason").aggregate(records=rejects.count()).order_by("source", "reason"))
        if len(reasons):
            print_table(reasons, "Rejects by reason")
        users, items, sessions = (store.rows(contract) for contract in (contracts.USERS, contracts.ITEMS, contracts.SESSIONS))
        say(f"users {users:,}   items {items:,}   sessions {sessions:,}\n")
        segments = store.table(contracts.SEGMENT_PROFILES).order_by("segment_id")
        print_table(
            store.frame(segments.select("segment_id", "segment_name", "users", "distinguishing_features", "top_categories")), "Segments"
        )
        comparison = store.table(contracts.MODEL_COMPARISON)
        whole = comparison.filter(comparison.segment == "all")
        shown = whole.select(
            "case",
            "model",
            "users",
            "ndcg_at_k",
            "ndcg_low",
            "ndcg_high",
            "recall_at_k",
            "precision_at_k",
            "map_at_k",
            "coverage",
            "champion",
        )
        print_table(store.frame(shown.order_by(["case", whole.ndcg_at_k.desc()])), "Recommenders, judged on what they have not seen")


@main.command()
@config_option
def status(config: str | None) -> None:
    """Tables with their rows, champions, and the last runs."""
    settings = settings_of(config)
    import pandas as pd

    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.owners import end_orphaned_runs
    from persona_pipelines.warehouse import contracts

    say(f"configuration  {relative(settings.file)}\nstate          {settings.home}")
    if settings.published_file.exists():
        with published(settings) as store:
            rows = [(contract.full_name, store.rows(contract)) for contract in contracts.TABLES]
            days = store.table(contracts.ACCOUNTING)
            first, last = store.row(days.aggregate(first=days.day.min(), last=days.day.max()))
        say(f"days           {first} to {last}")
        print_table(pd.DataFrame(rows, columns=["table", "rows"]))
    else:
        say("nothing published yet: persona run")
    with open_instance(settings, warn) as instance:
        end_orphaned_runs(instance, settings.home)
        runs = [
            {
                "run": record.dagster_run.run_id[:8],
                "job": record.dagster_run.job_name,
                "status": record.dagster_run.status.value.lower(),
                "started": f"{record.create_timestamp:%Y-%m-%d %H:%M} UTC",
            }
            for record in instance.get_run_records(limit=5)
        ]
    if runs:
        print_table(pd.DataFrame(runs), "Last runs")


@main.command()
@config_option
@click.option("--dagster-port", default=3000, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--mlflow-port", default=5000, show_default=True, type=click.IntRange(1, 65_535))
def ui(config: str | None, dagster_port: int, mlflow_port: int) -> None:
    """The web UIs of Dagster and MLflow, on 127.0.0.1 until Ctrl-C. Neither has a login: keep them on this machine."""
    settings = settings_of(config)
    from persona_pipelines.servers import serve

    sys.exit(serve(settings, dagster_port, mlflow_port, say))
