"""Audiences by condition or likeness."""

from __future__ import annotations

from pathlib import Path

import click

from persona_pipelines.cli.base import CommandError, config_option, guard_option, main, published, settings_of
from persona_pipelines.cli.printing import print_table, say


@main.group()
def audience() -> None:
    """Users by condition or by likeness, exported only where they have consented to marketing."""


@audience.command("save")
@click.argument("name")
@click.option("--where", "condition", required=True, help="For example: segment = 'Night owls' and churn_probability > 0.4")
@config_option
def save_audience(name: str, condition: str, config: str | None) -> None:
    """Keep a condition over profiles as the audience NAME, and say how many users meet it."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import size
    from persona_pipelines.audiences.saved import save

    with published(settings) as store:
        found = size(store, settings, condition)
    save(settings, name, condition)
    say(f"audience {name}: {found.users:,} users, {found.consenting:,} of them with consent to marketing")


@audience.command("list")
@config_option
def list_audiences(config: str | None) -> None:
    """The saved audiences with their conditions and present sizes."""
    settings = settings_of(config)
    import pandas as pd

    from persona_pipelines.audiences.conditions import ConditionError
    from persona_pipelines.audiences.exports import size
    from persona_pipelines.audiences.saved import audiences

    found = audiences(settings)
    if not found:
        raise CommandError("no audience is saved yet: persona audience save NAME --where CONDITION")
    rows = []
    with published(settings) as store:
        for name, condition in found.items():
            try:
                users = f"{size(store, settings, condition).users:,}"
            except ConditionError as error:
                # Saved with attributes or an earlier version that is gone: the others are listed all the same.
                users = f"can be read no longer: {error}"
            rows.append({"audience": name, "users": users, "condition": condition})
    print_table(pd.DataFrame(rows))


@audience.command("export")
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False))
@guard_option
@config_option
def export(name: str, file: str, guard: bool, config: str | None) -> None:
    """Write the users of the audience NAME who have consented to marketing to FILE (.csv or .parquet)."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import export_audience

    with published(settings) as store:
        found = export_audience(store, settings, name, Path(file), guard=guard)
    say(f"{found.consenting:,} users in {file}; {found.users - found.consenting:,} left out without consent to marketing")


@audience.command("lookalike")
@click.argument("seeds", type=click.Path(exists=True, dir_okay=False))
@click.option("--size", default=500, show_default=True, type=click.IntRange(1), help="How many to list.")
@click.option(
    "--output", type=click.Path(dir_okay=False), default="lookalike.csv", show_default=True, help="The file to write, .csv or .parquet."
)
@config_option
def lookalike(seeds: str, size: int, output: str, config: str | None) -> None:
    """Rank users by how much they resemble those in SEEDS, a file with one user a line (raw ids or pseudonyms; a header is allowed)."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import export_alike

    with published(settings) as store:
        found = export_alike(store, settings, Path(seeds), size, Path(output))
    say(
        f"{found.users:,} users with consent to marketing in {output}, by likeness to {found.seeds:,} seeds"
        + (f"; {found.unknown:,} lines are no known user" if found.unknown else "")
    )
