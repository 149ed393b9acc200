"""The command ``persona``: thin, it calls what the assets call."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persona_pipelines import __version__
from persona_pipelines.gallery.texts import LANGUAGES
from persona_pipelines.settings import ConfigurationError, Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd

    from persona_pipelines.logs.profile import Profile
    from persona_pipelines.warehouse.connection import Warehouse

DAY = click.DateTime(formats=["%Y-%m-%d"])


def _settings(file: str | None) -> Settings:
    try:
        return load_settings(file)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from None


def guard_option(command: Any) -> Any:
    return click.option(
        "--guard/--no-guard", default=True, show_default=True,
        help="In CSV, disarm text that a spreadsheet would take for a formula; keys and ids are never touched.",
    )(command)  # fmt: skip


def config_option(command: Any) -> Any:
    return click.option(
        "--config", "config", metavar="FILE", default=None, help="Configuration; default PERSONA_CONFIG, else data/persona.yaml."
    )(command)


@contextlib.contextmanager
def _state_errors(settings: Settings) -> Iterator[None]:
    """Say in one sentence that the state folder cannot be used: a full disk, missing rights."""
    import shutil

    import sqlalchemy.exc

    try:
        yield
    except (OSError, sqlalchemy.exc.SQLAlchemyError) as error:
        free = shutil.disk_usage(settings.home if settings.home.exists() else settings.home.anchor).free // (1 << 20)
        reason = str(error).splitlines()[0]
        raise click.ClickException(
            f"{settings.home}: the state cannot be read or written ({reason}; {free} MB free on its disk). "
            "Tables keep their last completed state; make room or set PERSONA_HOME, then run again."
        ) from None


def _published(settings: Settings) -> Warehouse:
    from persona_pipelines.privacy.pseudonyms import load_or_create_key
    from persona_pipelines.warehouse.connection import Warehouse

    if not settings.published_file.exists():
        raise click.ClickException(
            f"nothing has been published below {settings.home} yet; first: persona run --config {settings.file.name}"
        )
    return Warehouse(settings.published_file, load_or_create_key(settings.key_file), read_only=True)


def _print_table(frame: pd.DataFrame, title: str | None = None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in frame.columns:
        numeric = frame[column].dtype.kind in "if"
        table.add_column(str(column), justify="right" if numeric else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(_shown(value)) for value in row))
    console = Console()
    # A pipe or a log file has no width: tables are not squeezed into a guess of it.
    (console if console.is_terminal else Console(width=160)).print(table)


def _shown(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    # Text from logs may hold control characters that would move the cursor or colour the terminal.
    return "".join(character if character.isprintable() else " " for character in str(value))


class Commands(click.Group):
    """Ctrl-C at any moment ends with the exit code that shells expect of it."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """From raw behaviour logs to cleaned events, features, segments, profiles and recommendations.

    \b
    First steps:
      persona run                       the whole flow on the committed sample
      persona ui                        Dagster and MLflow in the browser
      persona sources check my.yaml     try the description of your own logs
      persona run --config my.yaml      the whole flow on them

    All state lives below PERSONA_HOME, by default .persona/<name of the configuration>.
    """


@main.command()
@config_option
@click.option("--from", "first", type=DAY, help="First day, YYYY-MM-DD; default: the first that the logs have.")
@click.option("--to", "last", type=DAY, help="Last day; default: the last that the logs have.")
def run(config: str | None, first: dt.datetime | None, last: dt.datetime | None) -> None:
    """Run all six stages and print a summary.

    Goes through Dagster in this process: the run, its checks and plots stand in the web UI (persona ui). Running the same
    days again gives the same tables. Exit code 0 only when every stage was done.
    """
    settings = _settings(config)
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from persona_pipelines.logs.files import LogFileError
    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.partitions import range_tags
    from persona_pipelines.orchestration.resources import HomeOfAnotherConfigurationError
    from persona_pipelines.orchestration.runs import run_job

    if first and last and first > last:
        raise click.BadParameter(f"--from {first:%Y-%m-%d} is after --to {last:%Y-%m-%d}")
    try:
        days = _days(settings, first, last)
        with _state_errors(settings):
            instance = open_instance(settings)
    except (LogFileError, HomeOfAnotherConfigurationError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{settings.name}: days {days[0]} to {days[1]}")
    with _state_errors(settings), instance:
        from persona_pipelines.definitions import defs

        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} steps"), TimeElapsedColumn(),
            disable=not sys.stderr.isatty(), transient=True,
        ) as progress:  # fmt: skip
            task = progress.add_task("starting", total=None)

            def step_ended(name: str, steps: int) -> None:
                progress.update(task, description=name.replace("_", " "), total=steps, advance=1)

            try:
                tags = range_tags(settings, *days)
                result = run_job(defs, instance, tags, on_step=step_ended, on_wait=lambda text: click.echo(text, err=True))
            except KeyboardInterrupt:
                progress.stop()
                click.echo("Interrupted. Every table holds its last completed state; run again to finish the work.", err=True)
                os._exit(130)  # at once: the thread of the run has no other end, and an open transaction is rolled back
    for warning in dict.fromkeys(result.warnings):
        click.echo(f"warning: {warning}", err=True)
    if not result.success:
        for failure in dict.fromkeys(result.failures):
            click.echo(f"error: {failure}", err=True)
        click.echo(f"Run {result.run_id[:8]} failed. Tables that were not reached keep their last completed state.", err=True)
        sys.exit(1)
    print_summary(settings)
    click.echo(f"Run {result.run_id[:8]} is in the web UI: persona ui --config {_relative(settings.file)}")


def _relative(path: Path) -> str:
    return os.path.relpath(path)


def _days(settings: Settings, first: dt.datetime | None, last: dt.datetime | None) -> tuple[dt.date, dt.date]:
    if first and last:
        start, end = first.date(), last.date()
    else:
        from persona_pipelines.logs.loading import available_days

        found = available_days(settings)
        if found is None:
            raise click.ClickException(
                f"{_relative(settings.file)}: no source has records from start_date {settings.start_date} on; try: persona sources check"
            )
        start, end = first.date() if first else found[0], last.date() if last else found[1]
        end = max(min(end, dt.datetime.now(dt.UTC).date()), start)
    if start < settings.start_date:
        raise click.ClickException(f"--from {start}: before start_date {settings.start_date} of {_relative(settings.file)}")
    if end > dt.datetime.now(dt.UTC).date():
        raise click.ClickException(f"--to {end}: in the future")
    return start, end


def print_summary(settings: Settings) -> None:
    """What a person wants to know after a run."""
    from persona_pipelines.warehouse import contracts

    with _published(settings) as store:
        accounting = store.table(contracts.ACCOUNTING)
        by_source = accounting.group_by("source").aggregate(
            **{name: accounting[name].sum() for name in ("records_read", "events", "rejects", "duplicates", "filtered")}
        )
        _print_table(store.frame(by_source.order_by("source")), "Where the records went")
        rejects = store.table(contracts.REJECTS)
        reasons = store.frame(rejects.group_by("source", "reason").aggregate(records=rejects.count()).order_by("source", "reason"))
        if len(reasons):
            _print_table(reasons, "Rejects by reason")
        users, items, sessions = (store.rows(contract) for contract in (contracts.USERS, contracts.ITEMS, contracts.SESSIONS))
        click.echo(f"users {users:,}   items {items:,}   sessions {sessions:,}\n")
        segments = store.table(contracts.SEGMENT_PROFILES).order_by("segment_id")
        _print_table(
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
        _print_table(store.frame(shown.order_by(["case", whole.ndcg_at_k.desc()])), "Recommenders, judged on what they have not seen")


@main.command()
@config_option
def status(config: str | None) -> None:
    """Tables with their rows, champions, and the last runs."""
    settings = _settings(config)
    import pandas as pd

    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.resources import HomeOfAnotherConfigurationError, end_orphaned_runs
    from persona_pipelines.warehouse import contracts

    click.echo(f"configuration  {_relative(settings.file)}\nstate          {settings.home}")
    if settings.published_file.exists():
        with _published(settings) as store:
            rows = [(contract.full_name, store.rows(contract)) for contract in contracts.TABLES]
            days = store.table(contracts.ACCOUNTING)
            first, last = store.row(days.aggregate(first=days.day.min(), last=days.day.max()))
        click.echo(f"days           {first} to {last}")
        _print_table(pd.DataFrame(rows, columns=["table", "rows"]))
    else:
        click.echo("nothing published yet: persona run")
    try:
        instance = open_instance(settings)
    except HomeOfAnotherConfigurationError as error:
        raise click.ClickException(str(error)) from None
    with instance:
        end_orphaned_runs(instance)
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
        _print_table(pd.DataFrame(runs), "Last runs")


@main.group()
def sources() -> None:
    """The logs that a configuration describes."""


@main.command("init")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--output", default="persona.yaml", show_default=True, type=click.Path(dir_okay=False), help="The configuration to write.")
def init(file: str, output: str) -> None:
    """Write a first configuration for the log FILE: by the preset that reads it, else by what its fields are called.

    Exit code 1 where nothing reads it, or OUTPUT exists.
    """
    import yaml

    from persona_pipelines.logs.files import LogFileError
    from persona_pipelines.logs.guessing import guess

    if Path(output).exists():
        raise click.ClickException(f"{output} exists; name another with --output")
    try:
        found = guess(Path(file).resolve())
    except LogFileError as error:
        raise click.ClickException(str(error)) from None
    source = {**found.source, "path": os.path.relpath(file, Path(output).parent)}
    content: dict[str, Any] = {"start_date": found.start, "privacy": {"consent_when_unknown": False}, "sources": [source]}
    remarks = "".join(f"# Look at this: {remark}.\n" for remark in (*found.remarks, CONSENT_UNKNOWN))
    Path(output).write_text(f"# A first configuration for {Path(file).name}; see docs/bring-your-own-logs.md.\n{remarks}"
                            + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))  # fmt: skip
    click.echo(f"{output}: {f'preset {found.preset}' if found.preset else 'no preset reads this file; fields by their names'}")
    for remark in found.remarks:
        click.secho(f"look at this: {remark}", fg="yellow")
    click.echo(f"next: persona sources check {output}")


CONSENT_UNKNOWN = (
    "nobody of whom no customer list says consent_personalisation gets recommendations, nor is exported without consent_marketing: "
    "consent_when_unknown says what holds of them"
)


@sources.command("check")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--records", default=3, show_default=True, help="Records to show of each source.")
def check_sources(file: str, records: int) -> None:
    """Validate the configuration FILE and show the first mapped records of each source, its fields in numbers, and hints.

    Nothing is written. Looks at the first 100,000 events of the first file of each source, and at the headers of all. Exit code 1 where a setting is wrong, a source has no files, or a file cannot be read as described.
    """
    settings = _settings(file)
    from persona_pipelines.logs.files import LogFileError
    from persona_pipelines.logs.profile import ids_that_do_not_meet, profile_source
    from persona_pipelines.warehouse.connection import Warehouse

    failed = False
    with Warehouse(None, b"\0" * 32) as engine:
        for source in settings.sources:
            click.secho(f"\n{source.name}  ({source.kind}, {source.format.type}, {source.path})", bold=True)
            try:
                _print_profile(profile_source(source, settings, records, engine))
            except LogFileError as error:
                click.echo(f"  error: {error}")
                failed = True
        met = ids_that_do_not_meet(engine, settings)
    for hint in met:
        click.secho(f"\nhint: {hint}", fg="yellow")
    if failed:
        raise click.ClickException("not every source can be read")


def _print_profile(seen: Profile) -> None:
    click.echo(f"  {seen.files} files; first records of {seen.file}:")
    for number, row in enumerate(seen.rows.to_dict("records"), start=1):
        problem = row.pop("problem", None)
        known = {name: value for name, value in row.items() if value is not None and value == value}
        # Amounts to the last cent; tables round.
        shown = "  ".join(
            f"{name}={value:.15g}" if isinstance(value, float) else f"{name}={_shown(value)}" for name, value in known.items()
        )
        click.echo(f"  {number}. {shown}" + (f"  -> {problem}" if isinstance(problem, str) else ""))
    _print_table(seen.fields)
    for fact in seen.facts:
        click.echo(f"  {fact}")
    for what, reasons in (("rejected", seen.problems), ("filtered", seen.dropped)):
        if reasons:
            beside = "" if what == "rejected" else ", beside bots and requests for static assets"
            click.echo(f"  of the first {seen.looked_at} events {sum(reasons.values())} would be {what}{beside}:")
            for reason, count in reasons.items():
                place = f" ({_shown(seen.places[reason])})" if what == "rejected" and reason in seen.places else ""
                click.echo(f"    {count:>6}  {reason}{place}")
    for hint in seen.hints:
        click.secho(f"  hint: {hint}", fg="yellow")


@main.command()
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--truth", "truth_folder", type=click.Path(file_okay=False), help="Where the ground truth goes; default: <FOLDER>-truth.")
@click.option("--users", default=1000, show_default=True, type=click.IntRange(10), help="Customers.")
@click.option("--days", default=42, show_default=True, type=click.IntRange(2), help="Days of logs.")
@click.option("--start", type=DAY, default="2025-09-01", show_default=True, help="First day.")
@click.option("--seed", default=20, show_default=True, help="The same seed gives the same files.")
@click.option("--dirt", default=0.01, show_default=True, type=click.FloatRange(0, 0.5), help="Share of broken records.")
@click.option("--stealth-bots", default=0, show_default=True, type=click.IntRange(0), help="Robots a day that call themselves browsers.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
def simulate(
    folder: str, truth_folder: str | None, users: int, days: int, start: dt.datetime, seed: int, dirt: float, stealth_bots: int, force: bool
) -> None:
    """Write raw logs of a simulated shop to FOLDER, and what is true of them to another folder.

    The logs are described by data/persona.yaml: copy it beside the folder and adjust the paths to run on them.
    """
    from persona_pipelines.simulation.shop import ShopPlan, write_shop

    target, truth = Path(folder), Path(truth_folder or f"{folder}-truth")
    if target.exists() and any(target.iterdir()) and not force:
        raise click.ClickException(f"{target} is not empty; give another folder, or --force to write into it")
    plan = ShopPlan(users=users, days=days, start=start.date(), seed=seed, dirt=dirt, stealth_bots=stealth_bots)
    with click.progressbar(length=days, label="simulating", file=sys.stderr) as bar:
        written = write_shop(plan, target, truth, on_day=lambda: bar.update(1))
    click.echo(f"{written.records:,} records in {written.files} files below {target}; ground truth in {truth}")


def _user_id(settings: Settings, user: str) -> str:
    from persona_pipelines.privacy.pseudonyms import load_or_create_key, looks_like_pseudonym, pseudonym

    return user if looks_like_pseudonym(user) else pseudonym(user, load_or_create_key(settings.key_file))


@main.command()
@click.argument("user")
@config_option
def profile(user: str, config: str | None) -> None:
    """What is known of USER, a raw id as in the logs or a pseudonym."""
    settings = _settings(config)
    from persona_pipelines.warehouse import contracts

    with _published(settings) as store:
        table = store.table(contracts.USER_PROFILES)
        found = store.frame(table.filter(table.user_id == _user_id(settings, user)))
    if found.empty:
        raise click.ClickException(f"no profile of {user!r}: not in the logs of {settings.name}, or no events up to the as-of date")
    for name, value in found.iloc[0].items():
        click.echo(f"{name:<26} {_shown(value) or '-'}")


@main.command()
@click.argument("user")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="Length of the list.")
@config_option
def recommend(user: str, k: int, config: str | None) -> None:
    """The top items for USER, a raw id as in the logs or a pseudonym. A user never seen gets an answer too."""
    settings = _settings(config)
    from persona_pipelines.recommendations.serving import ConsentError, list_for_user
    from persona_pipelines.tracking.experiments import ModelNotFoundError

    with _published(settings) as store:
        try:
            found = list_for_user(store, settings, _user_id(settings, user), k)
        except (ConsentError, ModelNotFoundError, ValueError) as error:
            raise click.ClickException(str(error).replace("{user}", repr(user))) from None
    if found.empty:
        click.echo("nothing left to recommend: the user has had every item, or the rules allow none of the others")
        return
    click.echo(f"{found['model'].iloc[0]} version {found['model_version'].iloc[0]}, {found['case'].iloc[0]}")
    _print_table(found[["rank", "item_id", "title", "category", "reason", "score"]])


@main.group()
def audience() -> None:
    """Users by condition or by likeness, exported only where they have consented to marketing."""


@audience.command("save")
@click.argument("name")
@click.option("--where", "condition", required=True, help="For example: segment = 'Night owls' and churn_probability > 0.4")
@config_option
def save_audience(name: str, condition: str, config: str | None) -> None:
    """Keep a condition over profiles as the audience NAME, and say how many users meet it."""
    settings = _settings(config)
    from persona_pipelines.audiences.conditions import ConditionError, inner_columns, matching
    from persona_pipelines.audiences.saved import AudienceError, save
    from persona_pipelines.warehouse import contracts

    with _published(settings) as store:
        try:
            found = matching(store.table(contracts.USER_PROFILES), condition, inner_columns(settings))
            users, consenting = store.row(found.aggregate(users=found.count(), consenting=found.count(where=found.consent_marketing)))
            save(settings, name, condition)
        except (ConditionError, AudienceError) as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"audience {name}: {users:,} users, {consenting:,} of them with consent to marketing")


@audience.command("list")
@config_option
def list_audiences(config: str | None) -> None:
    """The saved audiences with their conditions and present sizes."""
    settings = _settings(config)
    import pandas as pd

    from persona_pipelines.audiences.conditions import inner_columns, matching
    from persona_pipelines.audiences.saved import audiences
    from persona_pipelines.warehouse import contracts

    found = audiences(settings)
    if not found:
        raise click.ClickException("no audience is saved yet: persona audience save NAME --where CONDITION")
    with _published(settings) as store:
        profiles, inner = store.table(contracts.USER_PROFILES), inner_columns(settings)
        rows = [
            {"audience": name, "users": int(store.value(matching(profiles, where, inner).count())), "condition": where}
            for name, where in found.items()
        ]
    _print_table(pd.DataFrame(rows))


@audience.command("export")
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False))
@guard_option
@config_option
def export_audience(name: str, file: str, guard: bool, config: str | None) -> None:
    """Write the users of the audience NAME who have consented to marketing to FILE (.csv or .parquet)."""
    settings = _settings(config)
    from persona_pipelines.audiences.conditions import inner_columns, matching
    from persona_pipelines.audiences.saved import AudienceError, condition_of
    from persona_pipelines.warehouse import contracts
    from persona_pipelines.warehouse.exporting import ExportError, export_rows

    with _published(settings) as store:
        try:
            found = matching(store.table(contracts.USER_PROFILES), condition_of(settings, name), inner_columns(settings))
            users = int(store.value(found.count()))
            rows = export_rows(store, found.filter(found.consent_marketing), ["user_id"], Path(file), guard=guard)
        except (AudienceError, ExportError) as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"{rows:,} users in {file}; {users - rows:,} left out without consent to marketing")


@audience.command("lookalike")
@click.argument("seeds", type=click.Path(exists=True, dir_okay=False))
@click.option("--size", default=500, show_default=True, type=click.IntRange(1), help="How many to list.")
@click.option(
    "--output", type=click.Path(dir_okay=False), default="lookalike.csv", show_default=True, help="The file to write, .csv or .parquet."
)
@config_option
def lookalike(seeds: str, size: int, output: str, config: str | None) -> None:
    """Rank users by how much they resemble those in SEEDS, a file with one user a line (raw ids or pseudonyms; a header is allowed)."""
    settings = _settings(config)
    import ibis
    import numpy as np

    from persona_pipelines.audiences.lookalike import SeedsError, resemblance
    from persona_pipelines.segments.model import SegmentModel
    from persona_pipelines.tracking.experiments import ModelNotFoundError
    from persona_pipelines.tracking.registry import champion
    from persona_pipelines.warehouse import contracts
    from persona_pipelines.warehouse.connection import from_frame
    from persona_pipelines.warehouse.exporting import ExportError, export_rows

    try:
        lines = [line.split(",")[0].strip().strip('"') for line in Path(seeds).read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{seeds}: cannot be read as text ({error}); expected one user a line") from None
    wanted = {_user_id(settings, line) for line in lines if line}
    with _published(settings) as store, _state_errors(settings):
        features = store.frame(store.table(contracts.USER_FEATURES).order_by("user_id"))
        shares = store.frame(store.table(contracts.CATEGORY_SHARES).select("user_id", "category", "attention_share"))
        try:
            model = SegmentModel.load(champion(settings, "segments").folder)
            known = features["user_id"].isin(wanted).to_numpy()
            alike = resemblance(model.scaler.transform(features, shares), known, settings.segments.seed)
        except (SeedsError, ModelNotFoundError, ValueError) as error:
            raise click.ClickException(f"{seeds}: {error}") from None
        ranked = features[["user_id"]].assign(resemblance=np.round(alike, 6))[~known]
        profiles = store.table(contracts.USER_PROFILES)
        joined = from_frame(ranked).inner_join(profiles.filter(profiles.consent_marketing), "user_id")
        ranks = ibis.row_number().over(order_by=[joined.resemblance.desc(), joined.user_id]) + 1
        best = joined.mutate(rank=ranks).filter(lambda table: table["rank"] <= size).relocate("rank")
        try:
            rows = export_rows(store, store.keep("lookalike", best), ["rank"], Path(output))
        except ExportError as error:
            raise click.ClickException(str(error)) from None
    missing = len(wanted) - int(known.sum())
    click.echo(
        f"{rows:,} users with consent to marketing in {output}, by likeness to {int(known.sum()):,} seeds"
        + (f"; {missing:,} lines are no known user" if missing else "")
    )


@main.command()
@config_option
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the page's own words.")
@click.option("--output", type=click.Path(dir_okay=False), default="persona-gallery.html", show_default=True, help="The file to write.")
def report(config: str | None, language: Any, output: str) -> None:
    """Write the persona gallery: one page about the audience that needs no network."""
    settings = _settings(config)
    from persona_pipelines.gallery.content import NothingToShowError
    from persona_pipelines.gallery.page import page
    from persona_pipelines.gallery.writing import gallery_of, write
    from persona_pipelines.tracking.experiments import ModelNotFoundError

    with _published(settings) as store, _state_errors(settings):
        try:
            gallery = gallery_of(store, settings)
        except (NothingToShowError, ModelNotFoundError, ValueError) as error:
            raise click.ClickException(str(error)) from None
    try:
        file = write(page(gallery, language), Path(output))
    except OSError as error:
        raise click.ClickException(f"{output}: cannot be written ({error.strerror})") from None
    click.echo(f"{len(gallery.cards)} segments of {gallery.glance['users']:,} users in {file}")


@main.group(invoke_without_command=True)
@config_option
@click.pass_context
def models(context: click.Context, config: str | None) -> None:
    """Versions of the recommender, the gate's decisions, and how to overrule them."""
    if context.invoked_subcommand is not None:
        context.obj = config
        return
    settings = _settings(config)
    import pandas as pd

    from persona_pipelines.tracking.registry import history, versions

    with _state_errors(settings):
        found, reigns = versions(settings, "recommendations"), history(settings, "recommendations")
    if not found:
        raise click.ClickException(f"no recommender has been trained yet; first: persona run --config {_relative(settings.file)}")
    rows = [
        {"version": entry.version, "model": entry.tags.get("model", ""), "made": f"{entry.created:%Y-%m-%d %H:%M}", "champion": entry.champion,
         "decision": entry.tags.get("decision", ""), "nDCG": entry.tags.get("ndcg_at_k", "")[:6], "reason": entry.tags.get("decision.reason", "")}
        for entry in found
    ]  # fmt: skip
    _print_table(pd.DataFrame(rows), "Versions")
    _print_table(pd.DataFrame([vars(reign) for reign in reversed(reigns)]), "Champions, newest first (times in UTC)")


REASON = click.option("--reason", required=True, help="Why; it is kept with the model.")


@models.command("promote")
@click.argument("version")
@REASON
@config_option
@click.pass_context
def promote_model(context: click.Context, version: str, reason: str, config: str | None) -> None:
    """Make VERSION the champion, whatever the gate said, and write its lists."""
    from persona_pipelines.tracking.registry import promote

    _overruled(_settings(config or context.obj), lambda settings: promote(settings, "recommendations", version, "person", reason))


@models.command("rollback")
@REASON
@config_option
@click.pass_context
def roll_back_model(context: click.Context, reason: str, config: str | None) -> None:
    """Bring back the champion before the present one, and write its lists."""
    from persona_pipelines.tracking.registry import rollback

    _overruled(_settings(config or context.obj), lambda settings: rollback(settings, "recommendations", reason))


def _overruled(settings: Settings, change: Callable[[Settings], Any]) -> None:
    """Change the champion, then write its lists through Dagster; where that fails, the champion is as it was."""
    from persona_pipelines.orchestration.jobs import SCORING_JOB
    from persona_pipelines.tracking.experiments import ModelNotFoundError
    from persona_pipelines.tracking.registry import champion_version, promote

    with _state_errors(settings):
        before = champion_version(settings, "recommendations")
        try:
            change(settings)
        except ModelNotFoundError as error:
            raise click.ClickException(str(error)) from None
        after = champion_version(settings, "recommendations")
        problem = _job(settings, SCORING_JOB)
        if problem and before:
            promote(settings, "recommendations", before, "person", "the lists of the other version could not be written")
    if problem:
        raise click.ClickException(f"{problem}; version {before} stays champion")
    click.echo(f"champion: version {after} (before: {before or 'none'}); its lists are in the table recommendations")


def _job(settings: Settings, job: str, config: dict[str, Any] | None = None) -> str | None:
    """Run a job that is not of days; what went wrong in one sentence, or None."""
    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.resources import HomeOfAnotherConfigurationError
    from persona_pipelines.orchestration.runs import run_job

    try:
        instance = open_instance(settings)
    except HomeOfAnotherConfigurationError as error:
        return str(error)
    with instance:
        from persona_pipelines.definitions import defs

        result = run_job(defs, instance, job=job, config=config, on_wait=lambda text: click.echo(text, err=True))
    for warning in dict.fromkeys(result.warnings):
        click.echo(f"warning: {warning}", err=True)
    return None if result.success else "; ".join(dict.fromkeys(result.failures)) or f"run {result.run_id[:8]} failed"


@models.command("tune")
@click.option("--minutes", required=True, type=click.FloatRange(min=0, min_open=True), help="Time for all methods together.")
@click.option("--trials", type=click.IntRange(1), help="Most trials a method: with it, and time enough, a search repeats exactly.")
@click.option("--method", "methods", multiple=True, help="A method by its name in the comparison; several times for several. Default: all.")
@config_option
@click.pass_context
def tune_models(context: click.Context, minutes: float, trials: int | None, methods: tuple[str, ...], config: str | None) -> None:
    """Search for better parameters on the validation window; the next comparison uses them."""
    settings = _settings(config or context.obj)
    from persona_pipelines.orchestration.jobs import TUNING_JOB
    from persona_pipelines.warehouse import contracts

    options = {"minutes": minutes, "trials": trials, "methods": list(methods)}
    with _state_errors(settings):
        problem = _job(settings, TUNING_JOB, {"ops": {"tuned_parameters": {"config": options}}})
    if problem:
        raise click.ClickException(problem)
    with _published(settings) as store:
        table = store.table(contracts.TUNED_PARAMETERS).order_by("model")
        _print_table(
            store.frame(table.select("model", "ndcg_configured", "ndcg_tuned", "trials", "parameters")), "On the validation window"
        )


@main.command()
@config_option
def segments(config: str | None) -> None:
    """The segments: size, name, and what sets each apart."""
    settings = _settings(config)
    from persona_pipelines.warehouse import contracts

    with _published(settings) as store:
        table = store.table(contracts.SEGMENT_PROFILES).order_by("segment_id")
        _print_table(store.frame(table.drop("as_of_date", "segment_model_version")))


@main.command()
@click.argument("table")
@click.argument("file", type=click.Path(dir_okay=False))
@guard_option
@config_option
def export(table: str, file: str, guard: bool, config: str | None) -> None:
    """Write TABLE to FILE (.csv or .parquet), in the order of its key: the same table gives the same bytes."""
    settings = _settings(config)
    from persona_pipelines.warehouse import contracts
    from persona_pipelines.warehouse.exporting import ExportError, export_table

    try:
        contract = contracts.table(table)
    except KeyError:
        names = ", ".join(contract.name for contract in contracts.TABLES)
        raise click.ClickException(f"no table {table!r}; expected one of {names}") from None
    with _published(settings) as store:
        try:
            rows = export_table(store, contract, Path(file), guard=guard)
        except ExportError as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"{rows:,} rows of {contract.full_name} in {file}")


@main.command()
@config_option
@click.option("--dagster-port", default=3000, show_default=True)
@click.option("--mlflow-port", default=5000, show_default=True)
def ui(config: str | None, dagster_port: int, mlflow_port: int) -> None:
    """The web UIs of Dagster and MLflow, on 127.0.0.1 until Ctrl-C. Neither has a login: keep them on this machine."""
    settings = _settings(config)
    from persona_pipelines.orchestration.resources import HomeOfAnotherConfigurationError
    from persona_pipelines.servers import ServerError, serve

    try:
        sys.exit(serve(settings, dagster_port, mlflow_port, click.echo))
    except (ServerError, HomeOfAnotherConfigurationError) as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
def dictionary(file: str) -> None:
    """Write the data dictionary, made from the contracts, to FILE."""
    from persona_pipelines.warehouse.dictionary import data_dictionary

    Path(file).write_text(data_dictionary())
    click.echo(f"data dictionary in {file}")
