"""One person, all segments, and the page about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import (
    CommandError,
    config_option,
    main,
    no_recommender,
    own_list_options,
    published,
    settings_of,
    tell,
    without_people,
)
from persona_pipelines.cli.printing import print_facts, say, shown, warn
from persona_pipelines.gallery.texts import LANGUAGES
from persona_pipelines.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

    from persona_pipelines.warehouse.connection import Warehouse


ONE = {
    "days": "day",
    "sessions": "session",
    "purchases": "purchase",
    "items": "item",
    "actions": "action",
    "searches": "search",
    "ratings": "rating",
    "events": "event",
    "users": "user",
    "bits": "bit",
}
"""Units of one."""


@main.command()
@click.argument("user")
@click.option("--why", is_flag=True, help="The evidence: each statement with the feature behind it, and where its value stands.")
@format_option
@config_option
def profile(user: str, why: bool, form: Form, config: str | None) -> None:
    """What is known of USER, a raw id as in the logs or a pseudonym."""
    settings = settings_of(config)
    from persona_pipelines.home.keys import pseudonym_of
    from persona_pipelines.recommendations.serving import is_known
    from persona_pipelines.warehouse import contracts

    contract = contracts.PROFILE_DOCUMENTS if why else contracts.USER_PROFILES
    with published(settings) as store:
        units = units_of(store, settings)
        pseudonym = pseudonym_of(store, settings, user)
        table = store.table(contract)
        found = store.frame(table.filter(table.user_id == pseudonym))
        known = is_known(store, pseudonym)
        nobody = without_people(store)
    if found.empty and nobody:
        raise CommandError(nobody)
    if found.empty and not known:
        raise CommandError(
            f"{user!r} is unknown: nobody in the logs of {settings.name} has this id (ids are told apart by their letters' case)"
        )
    if found.empty:
        raise CommandError(f"no profile of {user!r}: no events up to the as-of date, but a customer list has the id")
    if why:
        document = json.loads(found["document"].iloc[0])
        give(Answer(facts=document), form, show=lambda: _print_document(document, units))
        return
    facts = {name: _value(name, records) for name, records in Rows("profile", found).records()[0].items()}
    told = {name: unit for name, unit in units.items() if name in facts}
    give(Answer(facts={**facts, "units": told}), form, show=lambda: _print_values(facts, units))


def _print_values(values: Mapping[str, Any], units: Mapping[str, str]) -> None:
    print_facts(
        {name: _attributes(value) if isinstance(value, dict) else _with_unit(value, units.get(name, "")) for name, value in values.items()}
    )


def _attributes(values: Mapping[str, Any]) -> str:
    """What a list says of somebody: a number may be a year or a house's, and stands as it is."""
    numbers = {
        name: f"{value:.10g}" if isinstance(value, int | float) and not isinstance(value, bool) else shown(value)
        for name, value in values.items()
    }
    return ", ".join(f"{name} {value}" for name, value in numbers.items())


def _with_unit(value: Any, unit: str) -> str:
    """A value as a person reads it; a share as a percentage."""
    if unit == "share" and isinstance(value, int | float) and value == value:
        return f"{100 * value:.3g}%"
    if len(unit) == 3 and unit.isupper() and isinstance(value, float):
        return f"{value:,.2f} {unit}" if value == value else ""
    counted = ONE.get(unit, unit) if shown(value) == "1" else unit
    return f"{shown(value)} {counted}".strip() if shown(value) else ""


def units_of(store: Warehouse, settings: Settings) -> dict[str, str]:
    """The unit of each number of a profile and of a feature; of amounts the currency that they are converted into, or that all of them are in."""
    from persona_pipelines.events.checks import currencies_of_money
    from persona_pipelines.warehouse import contracts

    currencies = [name for (name,) in store.tuples(currencies_of_money(store.table(contracts.EVENTS)).select("currency"))]
    only = currencies[0] if len(currencies) == 1 else "(the logs' currency)"
    money = settings.currencies.base if settings.currencies else only
    columns = (*contracts.USER_FEATURES.columns, *contracts.USER_PROFILES.columns)
    return {column.name: money if column.unit == "currency" else column.unit for column in columns if column.unit}


def _value(name: str, value: Any) -> Any:
    """A value of a profile: what is kept as JSON with its parts."""
    return json.loads(value) if name in ("attributes", "targets") and isinstance(value, str) else value


def _print_document(document: dict[str, Any], units: Mapping[str, str]) -> None:
    """A profile as statements, each with its evidence below it."""
    parts = {name: part for name, part in document.items() if isinstance(part, list) and part}
    say(f"{document['user_id']}, as of {document['as_of_date']}: {document['segment']['name']}, {document['life_cycle']['stage']}")
    print_facts({name: value for name, value in {**document["basics"], **document["attributes"]}.items() if value is not None})
    for name, part in parts.items():
        say(f"\n{name.replace('_', ' ')}", bold=True)
        for entry in part:
            evidence = entry["evidence"]
            unit = units.get(evidence["feature"], "") if evidence.get("unit") else ""
            told = f"{evidence['feature']} {_with_unit(evidence['value'], unit)}"
            if "median_of_all_users" in evidence:
                told += f"; median of all users {_with_unit(evidence['median_of_all_users'], unit)}, at least as high as {evidence['higher_than_share_of_users']:.0%} of them"
            say(f"  {entry['statement']}")
            say(f"      {told}")
    say("\nlife cycle", bold=True)
    _print_values(document["life_cycle"]["evidence"], units)
    if document["targets"]:
        say("\nchances of the configuration's own targets", bold=True)
        print_facts(document["targets"])


@main.command()
@click.argument("user")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="Length of the list.")
@format_option
@config_option
def recommend(user: str, k: int, form: Form, config: str | None) -> None:
    """The top items for USER, a raw id as in the logs or a pseudonym. A user never seen gets an answer too, which says so."""
    settings = settings_of(config)
    from persona_pipelines.home.keys import pseudonym_of
    from persona_pipelines.recommendations.serving import ConsentError, is_known, list_for_user, published_server

    with published(settings) as store:
        pseudonym = pseudonym_of(store, settings, user)
        known = is_known(store, pseudonym)
    server = published_server(settings)
    if server is None:
        raise no_recommender(settings)
    if not known:
        warn(f"{user!r} is unknown: nobody in the logs of {settings.name} has this id; the answer is that for a new user")
    try:
        found = list_for_user(server, pseudonym, known, k)
    except ConsentError:
        raise CommandError(
            f"{user!r} has not consented to recommendations (consent_personalisation of the customer list; privacy.consent_when_unknown "
            "where none says it)"
        ) from None
    made = {name: None if found.empty else found[name].iloc[0] for name in ("model", "model_version", "case")}
    said = (
        "nothing left to recommend: the user has had every item, or the rules allow none of the others"
        if found.empty
        else f"{made['model']} version {made['model_version']}, {made['case']}"
    )
    items = found[["rank", "item_id", "title", "category", "reason", "score"]]
    tables = (Rows("items", items, view=items.drop(columns="score")),)
    give(
        Answer(tables, {"user": user, "known": known, **made}, (said,)),
        form,
        **({"show": lambda: say(said)} if found.empty else {}),
    )


def segment_rows(found: pd.DataFrame) -> Rows:
    """The segments of ``contracts.SEGMENT_PROFILES`` with what a line has room for."""
    columns = ["segment_id", "segment_name", "users", "distinguishing_features", "top_categories"]
    view = found[columns].set_axis(["id", "segment", "users", "what sets it apart", "interested in"], axis=1)
    return Rows("segments", found, "Segments", view)


@main.command()
@format_option
@config_option
def segments(form: Form, config: str | None) -> None:
    """The segments: size, name, what sets each apart, and the rule that tells it from the others.

    A rule can be pasted into persona audience save NAME --where "RULE".
    """
    settings = settings_of(config)
    from persona_pipelines.warehouse import contracts

    with published(settings) as store:
        found = store.frame(store.table(contracts.SEGMENT_PROFILES).order_by("segment_id"))
        rules = store.frame(store.table(contracts.SEGMENT_RULES).order_by("segment_id"))
        nobody = without_people(store)
    if nobody:
        tell(nobody)
    shapes = rules[["segment_id", "rule", "users", "precision", "coverage"]]
    give(
        Answer(
            (
                segment_rows(found),
                Rows("rules", rules, "Rules", shapes.set_axis(["id", "rule", "users", "precision", "coverage"], axis=1)),
            )
        ),
        form,
    )


@main.command()
@config_option
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the page's own words.")
@click.option(
    "--interactive", is_flag=True, help="A page of its own with filters, to compare two groups: by sums over enough people alone."
)
@click.option("--output", type=click.Path(dir_okay=False), help="The file to write; persona-gallery.html or persona-groups.html.")
@click.option(
    "--with-audiences",
    is_flag=True,
    help="Write the audience of each card beside the page, into the folder persona-audiences, and link it: only who may be written to.",
)
@own_list_options
def report(
    config: str | None,
    language: Any,
    interactive: bool,
    output: str | None,
    with_audiences: bool,
    customers: Path | None,
    id_column: str | None,
    columns: tuple[str, ...],
) -> None:
    """Write the persona gallery: one page about the audience that needs no network. The page itself lists nobody."""
    if interactive and with_audiences:
        raise click.UsageError("found --with-audiences with --interactive; expected one: the page of groups has no cards")
    if (customers or columns) and not with_audiences:
        raise click.UsageError("found --with-own-ids or --columns; expected them with --with-audiences: the page itself lists nobody")
    settings = settings_of(config)
    output = output or ("persona-groups.html" if interactive else "persona-gallery.html")
    from persona_pipelines.files import write_whole
    from persona_pipelines.gallery.downloads import FOLDER, OwnList, written_beside
    from persona_pipelines.gallery.explorer import explorer
    from persona_pipelines.gallery.page import page
    from persona_pipelines.gallery.writing import gallery_of

    with published(settings) as store:
        gallery = gallery_of(store, settings)
        own = OwnList(customers, id_column) if customers else None
        downloads = written_beside(store, settings, gallery, Path(output), own, columns) if with_audiences else {}
    try:
        write_whole(Path(output), explorer(gallery, language) if interactive else page(gallery, language, downloads))
    except OSError as error:
        raise CommandError(f"{output}: cannot be written ({error.strerror})") from None
    say(f"{len(gallery.cards)} segments of {gallery.glance.users:,} users in {output}")
    if with_audiences:
        rows = sum(download.rows for download in downloads.values())
        what = f"rows of {customers}" if customers else "people by their pseudonyms"
        say(
            f"{rows:,} {what} in {len(downloads)} files of {Path(output).parent / FOLDER}: those who may be written to; "
            "only you can open the folder, and the page links to it"
        )


@main.group()
def segment() -> None:
    """What people call segments, and write about them; kept when segments are trained again."""


@segment.command("rename")
@click.argument("number", type=int)
@click.argument("name")
@config_option
def rename(number: int, name: str, config: str | None) -> None:
    """Call the segment NUMBER by NAME, from the next run on; an empty NAME gives it back its own."""
    settings = settings_of(config)
    from persona_pipelines.audiences.saved import audiences
    from persona_pipelines.segments.labels import give_label

    names = _segment_names(settings, number)
    given = give_label(settings, number, name=name, names=names).name
    say(
        f"segment {number} is called {given!r} from the next run on" if given else f"segment {number} has its own name from the next run on"
    )
    for audience, condition in audiences(settings).items():
        if names[number] != given and names[number] in condition:
            tell(f"the audience {audience} asks for {names[number]!r}: save it again after that run ({condition})")


@segment.command("note")
@click.argument("number", type=int)
@click.argument("text")
@config_option
def note(number: int, text: str, config: str | None) -> None:
    """Write TEXT on the card of the segment NUMBER, from the next run on; an empty TEXT takes it off."""
    settings = settings_of(config)
    from persona_pipelines.segments.labels import give_label

    _segment_names(settings, number)
    say(f"segment {number} has {'a note' if give_label(settings, number, note=text).note else 'no note'} from the next run on")


def _segment_names(settings: Settings, number: int) -> dict[int, str]:
    """What the segments are called by their numbers. Raises CommandError where none has the number that is asked for."""
    from persona_pipelines.warehouse import contracts

    with published(settings) as store:
        table = store.table(contracts.SEGMENT_PROFILES)
        known = dict(store.tuples(table.filter(table.segment_id > 0).select("segment_id", "segment_name").order_by("segment_id")))
    if number not in known:
        there = ", ".join(f"{segment} ({name})" for segment, name in known.items())
        raise CommandError(f"no segment {number}; there are {there or 'none'}")
    return known
