"""Audiences by condition or likeness."""

from __future__ import annotations

import re
from pathlib import Path

import click

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import (
    CommandError,
    config_option,
    guard_option,
    main,
    own_list_options,
    published,
    settings_of,
    tell,
    without_people,
)
from persona_pipelines.cli.printing import say
from persona_pipelines.settings import Settings


@main.group()
def audience() -> None:
    """Users by condition or by likeness, exported only where they have consented to marketing."""


@audience.command("save")
@click.argument("name")
@click.option(
    "--where",
    "condition",
    required=True,
    help="Over columns of user_profiles and user_features, for example: segment = 'Night owls' and churn_probability > 0.4",
)
@config_option
def save_audience(name: str, condition: str, config: str | None) -> None:
    """Keep a condition over profiles as the audience NAME, and say how many users meet it."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import size
    from persona_pipelines.audiences.saved import audiences, save

    before = audiences(settings).get(name)
    with published(settings) as store:
        found = size(store, settings, condition)
        nobody = without_people(store)
    save(settings, name, condition)
    say(f"audience {name}: {found.users:,} users, {found.consenting:,} of them with consent to marketing")
    if not found.users:
        tell(f"nobody meets it: {nobody or _values_asked_for(condition)}")
    if before not in (None, condition):
        tell(f"it is saved in the place of the one of before: {before}")
    _tell_assumed(settings)


def _values_asked_for(condition: str) -> str:
    """The query that shows what values the first column of a condition has."""
    from persona_pipelines.audiences.conditions import SHORT
    from persona_pipelines.warehouse import contracts

    kinds = {column.name: (table, column.type) for table in (contracts.USER_FEATURES, contracts.USER_PROFILES) for column in table.columns}
    words = [SHORT.get(word, word) for word in re.findall(r"\w+", condition)]
    name = next((word for word in words if word in kinds), "segment_name")
    table, kind = kinds[name]
    numbers = kind in ("int64", "float64")
    query = (
        f"select min({name}), median({name}), max({name}) from {table.name}"
        if numbers
        else f"select {name}, count(*) from {table.name} group by 1"
    )
    return f'persona sql "{query}" shows the values that there are{" (a share is from 0 to 1)" if numbers and name.endswith(("_share", "_probability", "_rate")) else ""}'


@audience.command("list")
@format_option
@config_option
def list_audiences(form: Form, config: str | None) -> None:
    """The saved audiences, and those that segments have by themselves, with their conditions and present sizes."""
    settings = settings_of(config)
    import pandas as pd

    from persona_pipelines.audiences.exports import of_segments, size, unreadable
    from persona_pipelines.audiences.saved import audiences

    rows = []
    with published(settings) as store:
        problems = unreadable(store, settings)
        for name, condition in (*audiences(settings).items(), *of_segments(store).items()):
            counted = {"users": None, "consenting": None} if name in problems else vars(size(store, settings, condition))
            rows.append({"audience": name, **counted, "condition": condition, "problem": problems.get(name)})
    found = pd.DataFrame(rows, columns=["audience", "users", "consenting", "condition", "problem"], dtype=object)
    told = [f"{row['condition']} ({row['problem']})" if row["problem"] else row["condition"] for row in rows]
    view = found[["audience", "users", "consenting"]].assign(condition=told)
    if not rows and form == "table":
        raise CommandError("no audience is saved yet: persona audience save NAME --where CONDITION")
    give(Answer((Rows("audiences", found, view=view),)), form)
    _tell_assumed(settings)


@audience.command("show")
@click.argument("name")
@format_option
@config_option
def show_audience(name: str, form: Form, config: str | None) -> None:
    """The condition of the audience NAME, how many users are in it, and from which segments."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import by_segment, condition_of, members

    with published(settings) as store:
        condition = condition_of(store, settings, name)
        found = by_segment(store, members(store, settings, name))
    facts = {
        "audience": name,
        "condition": condition,
        "users": int(found["users"].sum()),
        "consenting": int(found["consenting"].sum()),
    }
    give(Answer((Rows("segments", found, "By segment"),), facts), form)
    _tell_numbers(settings, name)
    _tell_assumed(settings)


@audience.command("delete")
@click.argument("name")
@config_option
def delete_audience(name: str, config: str | None) -> None:
    """Forget the audience NAME; its condition is printed, so that it can be saved again."""
    settings = settings_of(config)
    from persona_pipelines.audiences.saved import delete

    say(f"audience {name} is deleted; its condition was: {delete(settings, name)}")


@audience.command("overlap")
@click.argument("names", nargs=-1, metavar="NAME NAME ...")
@format_option
@config_option
def overlap(names: tuple[str, ...], form: Form, config: str | None) -> None:
    """How many users each two of the audiences share."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import overlaps

    if len(set(names)) < 2:
        raise click.UsageError(f"found {len(set(names))} audiences; expected two or more by their names: persona audience list")
    with published(settings) as store:
        found = overlaps(store, settings, names)
    view = found.round(3).set_axis(["audience", "other", "in both", "share of audience", "share of other", "of either"], axis=1)
    give(Answer((Rows("overlaps", found, view=view),)), form)


@audience.command("export")
@click.argument("name")
@click.argument("file", type=click.Path(dir_okay=False))
@own_list_options
@guard_option
@config_option
def export(
    name: str, file: str, customers: Path | None, id_column: str | None, columns: tuple[str, ...], guard: bool, config: str | None
) -> None:
    """Write the users of the audience NAME who have consented to marketing to FILE (.csv or .parquet): their ids, and the columns asked for."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import export_audience, export_with_own_ids

    with published(settings) as store:
        if customers is None:
            found = export_audience(store, settings, name, Path(file), columns, guard=guard)
            say(f"{found.consenting:,} users in {file}; {found.users - found.consenting:,} left out without consent to marketing")
        else:
            joined = export_with_own_ids(store, settings, name, Path(file), customers, id_column, columns, guard=guard)
            say(
                f"{joined.rows:,} rows of {customers} in {file}; {joined.not_listed:,} users of the audience are not in the list, "
                f"{joined.without_consent:,} left out without consent to marketing"
            )
            if joined.people < joined.rows:
                tell(f"{customers} names people more than once: the {joined.rows:,} rows are of {joined.people:,} people")
            _tell_encoding(customers)
    _tell_numbers(settings, name)
    _tell_assumed(settings)


def _tell_numbers(settings: Settings, name: str) -> None:
    """Say which segments a saved condition asks for by their numbers: after another training a number may be of others than when it was saved."""
    from persona_pipelines.audiences.saved import audiences
    from persona_pipelines.warehouse import contracts

    asked = re.search(r"\bsegment_id\s*(?:=|in)\s*\(?([\d\s,]+)", audiences(settings).get(name, ""))
    if asked is None:
        return
    with published(settings) as store:
        names = dict(store.tuples(store.table(contracts.SEGMENT_PROFILES).select("segment_id", "segment_name")))
    for number in map(int, re.findall(r"\d+", asked[1])):
        tell(
            f"segment {number} is now {names[number]!r}: numbers may go to other people when segments are trained again, names do not"
            if number in names
            else f"there is no segment {number} any more"
        )


def _tell_assumed(settings: Settings) -> None:
    """Say where consent is not what people have said."""
    if settings.privacy.consent_when_unknown:
        tell("consent is assumed of everybody of whom no customer list says it: privacy.consent_when_unknown is true")


def _tell_encoding(customers: Path) -> None:
    """Say how a list was read that is no UTF-8: another guess would give other letters."""
    from persona_pipelines.audiences.own_lists import encoding_of

    if (encoding := encoding_of(customers)) != "utf-8":
        tell(f"{customers} is no UTF-8 and was read as {encoding}: save it as CSV UTF-8 where letters with accents look wrong")


@audience.command("lookalike")
@click.argument("seeds", type=click.Path(exists=True, dir_okay=False))
@click.option("--size", default=500, show_default=True, type=click.IntRange(1), help="How many to list.")
@click.option(
    "--output", type=click.Path(dir_okay=False), default="lookalike.csv", show_default=True, help="The file to write, .csv or .parquet."
)
@click.option("--at-least", default=0.0, show_default=True, type=click.FloatRange(0, 1), help="Resemblance from which on a user is listed.")
@config_option
def lookalike(seeds: str, size: int, output: str, at_least: float, config: str | None) -> None:
    """Rank users by how much they resemble those in SEEDS, a file with one user a line (raw ids or pseudonyms; a header is allowed)."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import export_alike

    with published(settings) as store:
        if nobody := without_people(store):
            raise CommandError(nobody)
        found = export_alike(store, settings, Path(seeds), size, Path(output), at_least)
    _tell_encoding(Path(seeds))
    _tell_assumed(settings)
    say(
        f"{found.users:,} users with consent to marketing in {output}, by likeness to {found.seeds:,} seeds"
        + (f"; {found.unknown:,} lines are no known user" if found.unknown else "")
    )
    say(
        "how good that is cannot be told: fewer than 15 seeds"
        if found.quality is None
        else f"seeds that were hidden are found before others in {found.quality:.0%} of pairs (50% is a guess)"
    )


@main.command("pseudonyms")
@click.argument("customers", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--id-column", metavar="COLUMN", help="With ids as in the logs; found by itself where it can be.")
@click.option("--output", type=click.Path(dir_okay=False), default="pseudonyms.csv", show_default=True, help="The file to write.")
@config_option
def pseudonyms(customers: Path, id_column: str | None, output: str, config: str | None) -> None:
    """Write the ids of CUSTOMERS, a list of yours, each with its pseudonym. Only you may read the file: keep it apart from the tables."""
    settings = settings_of(config)
    from persona_pipelines.audiences.exports import export_pseudonyms

    with published(settings) as store:
        known = export_pseudonyms(store, settings, customers, Path(output), id_column)
    _tell_encoding(customers)
    say(f"{known:,} of the ids in {output} are known users")
