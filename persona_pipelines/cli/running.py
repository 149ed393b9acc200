"""The whole flow, how it stands, and the web UIs."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import (
    CommandError,
    advice_without,
    as_called,
    config_option,
    exit_code,
    main,
    published,
    relative,
    settings_of,
    tell,
    tell_findings,
)
from persona_pipelines.cli.people import segment_rows
from persona_pipelines.cli.printing import say, warn
from persona_pipelines.cli.progress import Mode, progress, progress_option
from persona_pipelines.cli.recommenders import comparison
from persona_pipelines.gallery.texts import LANGUAGES, Language, page_name
from persona_pipelines.settings import Settings
from persona_pipelines.vocabulary import STAGES

if TYPE_CHECKING:
    from persona_pipelines.orchestration.selection import Graph, Selection, Step
    from persona_pipelines.warehouse.connection import Warehouse

OF_DAYS = STAGES[:2]
"""Stages whose work is of days; the others take all that these have loaded."""
DAY = click.DateTime(formats=["%Y-%m-%d"])


@main.command()
@config_option
@click.option("--from", "first", type=DAY, help="First day, YYYY-MM-DD; default: the first that the logs have.")
@click.option("--to", "last", type=DAY, help="Last day; default: the last that the logs have.")
@click.option("--only", metavar="STAGES", help=f"Only these stages, separated by commas: {', '.join(STAGES)}.")
@click.option("--until", metavar="STAGE", help="The stages of the flow up to this one.")
@click.option(
    "--select", "query", metavar="ASSETS", help="Only what a selection of Dagster finds, such as events/sessions+ or group:features."
)
@click.option("--dry-run", is_flag=True, help="Say what would be loaded, trained and written, and do nothing of it.")
@click.option(
    "--accept-shrink", is_flag=True, help="Load and publish also where a day, or all of events, people or items, has become much smaller."
)
@progress_option
@format_option
def run(
    config: str | None,
    first: dt.datetime | None,
    last: dt.datetime | None,
    only: str | None,
    until: str | None,
    query: str | None,
    dry_run: bool,
    accept_shrink: bool,
    mode: Mode | None,
    form: Form,
) -> None:
    """Run all stages and print a summary.

    Goes through Dagster in this process: the run, its checks and plots stand in the web UI (persona ui). Running the same
    days again gives the same tables. Of a part of the stages the others are left as they are, and what is new is published with them.
    Exit code 0 only when every stage was done.
    """
    if sum(option is not None for option in (only, until, query)) > 1:
        raise click.UsageError("found several of --only, --until and --select; expected one")
    if first and last and first > last:
        raise click.BadParameter(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}")
    settings = settings_of(config)
    with progress(mode) as shown:
        from persona_pipelines.graph import build
        from persona_pipelines.orchestration.selection import steps_of

        definitions = build(settings, last.date() if last else None)
        selection = _selection(settings, definitions, only, until, query)
        steps = steps_of(definitions, selection)
        of_days = any(step.stage in OF_DAYS for step in steps)
        if not of_days and (first or last):
            raise click.UsageError(
                f"found --from or --to; expected them with {' or '.join(OF_DAYS)} alone: all else is made of what these have loaded"
            )
        days = _days(settings, first, last) if of_days else None
    if dry_run:
        give(_plan(settings, steps, days), form)
        return
    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.partitions import range_tags
    from persona_pipelines.orchestration.runs import run_job
    from persona_pipelines.orchestration.specs import ACCEPT_SHRINK_TAG

    instance = open_instance(settings, tell)
    if form == "table":
        say(f"{settings.name}: {_spoken(days)}")
    with instance:
        try:
            with progress(mode) as shown:
                tags = (range_tags(settings, *days) if days else {}) | ({ACCEPT_SHRINK_TAG: "yes"} if accept_shrink else {})
                result = run_job(settings, definitions, instance, tags, selection=selection, on_progress=shown.heard, on_wait=shown.tell)
        except KeyboardInterrupt as interrupt:
            warn(f"{str(interrupt) or 'Interrupted'}. Every table holds its last completed state; run again to finish the work.")
            os._exit(exit_code(interrupt))  # at once: the thread of the run has no other end, and an open transaction is rolled back
    tell_findings(result)
    if not result.success:
        for failure in dict.fromkeys(result.failures):
            tell(f"error: {failure}")
        warn(f"Run {result.run_id[:8]} failed. Tables that were not reached keep their last completed state.")
        sys.exit(1)
    with published(settings) as store:
        give(_summary(store, settings, result.run_id), form)
    if form == "table":
        say(as_called(f"Run {result.run_id[:8]} is in the web UI: persona ui"))


def _selection(settings: Settings, definitions: Graph, only: str | None, until: str | None, query: str | None) -> Selection | None:
    """The assets that were asked for, whose inputs are there; None for all."""
    from persona_pipelines.orchestration.selection import selected

    names = None if only is None else [name for part in only.split(",") if (name := part.strip())]
    return selected(definitions, STAGES, _published_rows(settings), only=names, until=until, query=query)


def _published_rows(settings: Settings) -> dict[str, int]:
    """Rows of the published tables by their full names; none before the first run."""
    if not settings.published_file.exists():
        return {}
    with published(settings) as store:
        return store.counts()


def _spoken(days: tuple[dt.date, dt.date] | None) -> str:
    return f"days {days[0]} to {days[1]}" if days else "of no days: from what is loaded"


def _plan(settings: Settings, steps: Sequence[Step], days: tuple[dt.date, dt.date] | None) -> Answer:
    """What a run would do: the days, the files of each source, the tables that it would write, with their present rows."""
    import pandas as pd

    from persona_pipelines.logs.arrivals import files_to_read

    there = _published_rows(settings)
    loaded = {name.partition(".")[2] for step in steps if step.stage == OF_DAYS[0] for name in step.assets}
    files = [vars(entry) for entry in files_to_read(settings, *days) if entry.source in loaded] if days else []
    rows = [
        {"stage": step.stage, "written": name, "rows_now": there.get(name), "trains": step.trains} for step in steps for name in step.assets
    ]
    tables = (
        Rows("files", pd.DataFrame(files, columns=["source", "kind", "files", "new_or_changed", "bytes"]), "Files that would be read"),
        Rows(
            "assets",
            pd.DataFrame(rows, columns=["stage", "written", "rows_now", "trains"], dtype=object),
            "What would be written, in this order",
        ),
    )
    trained = sum(step.trains for step in steps)
    said = (
        f"{settings.name}: {_spoken(days)}; {len(steps)} steps, {trained} of them train models",
        f"state          {settings.home}",
        "Nothing has been done: this is what the same command without --dry-run would do.",
    )
    return Answer(
        tables, {"first_day": days and days[0], "last_day": days and days[1], "steps": len(steps), "state": str(settings.home)}, said
    )


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


def _summary(store: Warehouse, settings: Settings, run_id: str) -> Answer:
    """What a person wants to know after a run, the decision between the recommenders first."""
    from persona_pipelines.features.support import stored_support
    from persona_pipelines.serving.waiting import waiting
    from persona_pipelines.warehouse import contracts

    accounting = store.table(contracts.ACCOUNTING)
    by_source = accounting.group_by("source").aggregate(
        **{name: accounting[name].sum() for name in ("records_read", "events", "rejects", "duplicates", "filtered")}
    )
    rejects = store.table(contracts.REJECTS)
    reasons = store.frame(rejects.group_by("source", "reason").aggregate(records=rejects.count()).order_by("source", "reason"))
    visited = () if "sessions" in stored_support(store).absent else (contracts.SESSIONS,)
    counted = {contract.name: store.rows(contract) for contract in (contracts.USERS, contracts.ITEMS, *visited)}
    segments = store.frame(store.table(contracts.SEGMENT_PROFILES).order_by("segment_id"))
    compared = comparison(store)
    tables = (
        Rows("accounting", store.frame(by_source.order_by("source")), "Where the records went"),
        *([Rows("rejects", reasons, "Rejects by reason")] if len(reasons) else []),
        segment_rows(segments),
        *compared.tables,
    )
    left = waiting(store, settings)
    live = ("", *left.lines) if left.lists or left.events else ()
    said = (*(compared.lines or ()), "", "   ".join(f"{name} {rows:,}" for name, rows in counted.items()), *live)
    facts = {
        "run": run_id,
        **counted,
        "lists_waiting": left.lists,
        "events_waiting": left.events,
        "events_in_files_still_written": left.writing,
        **compared.facts,
    }
    return Answer(tables, facts, said)


@main.command()
@format_option
@config_option
def status(form: Form, config: str | None) -> None:
    """Tables with their rows, and the last runs."""
    settings = settings_of(config)
    import pandas as pd

    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.owners import end_orphaned_runs
    from persona_pipelines.warehouse import contracts

    facts = {"configuration": relative(settings.file), "state": str(settings.home), "first_day": None, "last_day": None}
    rows = []
    if settings.published_file.exists():
        with published(settings) as store:
            rows = [(contract.full_name, store.rows(contract)) for contract in contracts.TABLES]
            days = store.table(contracts.ACCOUNTING)
            facts["first_day"], facts["last_day"] = store.row(days.aggregate(first=days.day.min(), last=days.day.max()))
    with open_instance(settings, tell) as instance:
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
    days_told = f"days           {facts['first_day']} to {facts['last_day']}" if rows else as_called("nothing published yet: persona run")
    said = (f"configuration  {facts['configuration']}", f"state          {facts['state']}", days_told)
    tables = (
        Rows("tables", pd.DataFrame(rows, columns=["table", "rows"])),
        Rows("runs", pd.DataFrame(runs, columns=["run", "job", "status", "started"]), "Last runs"),
    )
    give(Answer(tables, facts, said), form)


@main.command()
@config_option
@click.option("--dagster-port", default=3000, show_default=True, type=click.IntRange(1, 65_535))
@click.option("--mlflow-port", default=5000, show_default=True, type=click.IntRange(1, 65_535))
def ui(config: str | None, dagster_port: int, mlflow_port: int) -> None:
    """The web UIs of Dagster and MLflow, on 127.0.0.1 until Ctrl-C. Neither has a login: keep them on this machine."""
    settings = settings_of(config)
    from persona_pipelines.servers import serve

    sys.exit(serve(settings, dagster_port, mlflow_port, say))


@main.command("open")
@click.argument("what", type=click.Choice(["gallery", "dagster", "mlflow"]))
@click.option("--print", "printed", is_flag=True, help="Print the path or address instead of opening it.")
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the gallery.")
@config_option
def open_page(what: str, printed: bool, language: Language, config: str | None) -> None:
    """Open the persona gallery of the last run, or the web UI of Dagster or MLflow, in the browser.

    The web UIs have to be running: persona ui.
    """
    settings = settings_of(config)
    import webbrowser

    from persona_pipelines.servers import address_of

    if what == "gallery":
        from persona_pipelines.home.publishing import published_page

        place = published_page(settings, page_name(language))
        if not place.exists():
            raise CommandError(f"{place}: there is no gallery; {advice_without(settings)}")
        address, shown = place.as_uri(), str(place)
    else:
        address = address_of(settings, what)
        if what == "mlflow":
            from persona_pipelines.tracking.experiments import model_name
            from persona_pipelines.tracking.pages import first_page

            address = first_page(address, model_name(settings, "recommendations"))
        shown = address
    if printed:
        click.echo(shown)
    elif not webbrowser.open(address):
        raise CommandError(f"no browser could be opened; open {shown}")
