"""Logs: a first configuration, a look at what it reads, and logs of a simulated shop."""

from __future__ import annotations

import datetime as dt
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import CommandError, main, settings_of
from persona_pipelines.cli.printing import print_table, say, shown
from persona_pipelines.cli.running import DAY
from persona_pipelines.settings import Settings

if TYPE_CHECKING:
    from persona_pipelines.logs.files import LogFileError
    from persona_pipelines.logs.profile import Profile


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

    from persona_pipelines.files import write_whole
    from persona_pipelines.logs.guessing import guess

    if Path(output).exists():
        raise CommandError(f"{output} exists; name another with --output")
    found = guess(Path(file).resolve())
    source = {**found.source, "path": os.path.relpath(file, Path(output).parent)}
    content: dict[str, Any] = {"start_date": found.start, "privacy": {"consent_when_unknown": False}, "sources": [source]}
    remarks = "".join(f"# Look at this: {remark}.\n" for remark in (*found.remarks, CONSENT_UNKNOWN, OWN_ZONE))
    heading = f"# A first configuration for {Path(file).name}; see docs/bring-your-own-logs.md.\n"
    write_whole(Path(output), heading + remarks + yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    say(f"{output}: {f'preset {found.preset}' if found.preset else 'no preset reads this file; fields by their names'}")
    for remark in (*found.remarks, CONSENT_UNKNOWN):
        say(f"look at this: {remark}", colour="yellow")
    say(f"next: persona sources check {output}")


OWN_ZONE = "hours and weekdays of people are told in UTC: features: {timezone: Europe/Rome}, say, tells them as they live"
CONSENT_UNKNOWN = (
    "nobody of whom no customer list says consent_personalisation gets recommendations, nor is exported without consent_marketing: "
    "consent_when_unknown says what holds of them"
)


@sources.command("check")
@click.argument("file", required=False, type=click.Path(dir_okay=False))
@click.option("--records", default=3, show_default=True, type=click.IntRange(1, 1000), help="Records to show of each source.")
@format_option
def check_sources(file: str | None, records: int, form: Form) -> None:
    """Validate the configuration FILE and show the first mapped records of each source, its fields in numbers, and hints.

    Without FILE that of PERSONA_CONFIG, else data/persona.yaml here or in the nearest folder above. Nothing is written. Looks at the first
    100,000 events of the first file of each source, and at the headers of all. Exit code 1 where a setting is wrong, a source has no files,
    a file cannot be read as described, or a run would refuse what was looked at, as it has more rejects than logs.max_reject_share or no event at all.
    """
    settings = settings_of(file)
    from persona_pipelines.logs.files import LogFileError
    from persona_pipelines.logs.profile import ids_that_do_not_meet, profile_source
    from persona_pipelines.warehouse.connection import Warehouse

    seen: dict[str, Profile | LogFileError] = {}
    with Warehouse(None, b"\0" * 32) as engine:
        for source in settings.sources:
            try:
                seen[source.name] = profile_source(source, settings, records, engine)
            except LogFileError as error:
                seen[source.name] = error
            if form == "table":
                say(f"\n{source.name}  ({source.kind}, {source.format.type}, {source.path})", bold=True)
                _print_seen(seen[source.name])
        hints = list(ids_that_do_not_meet(engine, settings))
    if form == "table":
        for hint in hints:
            say(f"\nhint: {hint}", colour="yellow")
    else:
        give(_checked(settings, seen, hints), form)
    if any(isinstance(found, LogFileError) for found in seen.values()):
        raise CommandError("not every source can be read")
    found = {name: profile for name, profile in seen.items() if not isinstance(profile, Exception)}
    refused = [f"{name}: {profile.refused}" for name, profile in found.items() if profile.refused]
    if refused:
        raise CommandError(f"a run would refuse these logs: {'; '.join(refused)}")
    events = settings.sources_of("events")
    if events and all(found[source.name].has_no_event for source in events):
        raise CommandError("a run would find no events: every record would be rejected or filtered")


def _checked(settings: Settings, seen: Mapping[str, Profile | LogFileError], hints: list[str]) -> Answer:
    """What was found of each source for programs; as CSV the fields of all."""
    import pandas as pd

    fields = [found.fields.assign(source=name) for name, found in seen.items() if not isinstance(found, Exception)]
    told = []
    for source in settings.sources:
        found = seen[source.name]
        entry: dict[str, Any] = {"source": source.name, "kind": source.kind, "format": source.format.type, "path": source.path}
        if isinstance(found, Exception):
            told.append({**entry, "error": str(found)})
            continue
        parts = {name: value for name, value in vars(found).items() if name not in ("rows", "fields")}
        told.append({**entry, "error": None, **parts, "records": Rows("records", found.rows).records()})
    frame = pd.concat(fields, ignore_index=True) if fields else pd.DataFrame(columns=["field"])
    columns = ["source", *(name for name in frame.columns if name != "source")]
    return Answer((Rows("fields", frame.reindex(columns=columns)),), {"sources": told, "hints": hints})


def _print_seen(found: Profile | LogFileError) -> None:
    if isinstance(found, Exception):
        say(f"  error: {found}")
    else:
        _print_profile(found)


def _print_profile(seen: Profile) -> None:
    say(f"  {seen.files} files; first records of {seen.file}:")
    for number, row in enumerate(seen.rows.to_dict("records"), start=1):
        problem = row.pop("problem", None)
        known = {name: value for name, value in row.items() if value is not None and value == value}
        # Amounts to the last cent; tables round.
        fields = "  ".join(
            f"{name}={value:.15g}" if isinstance(value, float) else f"{name}={shown(value)}" for name, value in known.items()
        )
        say(f"  {number}. {fields}" + (f"  -> {problem}" if isinstance(problem, str) else ""))
    print_table(seen.fields)
    for fact in seen.facts:
        say(f"  {fact}")
    for what, reasons in (("rejected", seen.problems), ("filtered", seen.dropped)):
        if reasons:
            beside = "" if what == "rejected" else ", beside bots and requests for static assets"
            say(f"  of the first {seen.looked_at} events {sum(reasons.values())} would be {what}{beside}:")
            for reason, count in reasons.items():
                place = f" ({shown(seen.places[reason])})" if what == "rejected" and reason in seen.places else ""
                say(f"    {count:>6}  {reason}{place}")
    for hint in seen.hints:
        say(f"  hint: {hint}", colour="yellow")


@main.command()
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--truth", "truth_folder", type=click.Path(file_okay=False), help="Where the ground truth goes; default: <FOLDER>-truth.")
@click.option("--users", default=1000, show_default=True, type=click.IntRange(10), help="Customers.")
@click.option("--days", default=42, show_default=True, type=click.IntRange(2), help="Days of logs.")
@click.option("--start", type=DAY, default="2025-09-01", show_default=True, help="First day.")
@click.option("--seed", default=20, show_default=True, type=click.IntRange(0), help="The same seed gives the same files.")
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
        raise CommandError(f"{target} is not empty; give another folder, or --force to write into it")
    plan = ShopPlan(users=users, days=days, start=start.date(), seed=seed, dirt=dirt, stealth_bots=stealth_bots)
    with click.progressbar(length=days, label="simulating", file=sys.stderr) as bar:
        written = write_shop(plan, target, truth, on_day=lambda: bar.update(1))
    say(f"{written.records:,} records in {written.files} files below {target}; ground truth in {truth}")
