"""One person, all segments, and the page about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from persona_pipelines.cli.base import CommandError, config_option, main, published, settings_of
from persona_pipelines.cli.printing import print_table, say, shown
from persona_pipelines.gallery.texts import LANGUAGES


@main.command()
@click.argument("user")
@config_option
def profile(user: str, config: str | None) -> None:
    """What is known of USER, a raw id as in the logs or a pseudonym."""
    settings = settings_of(config)
    from persona_pipelines.home.keys import pseudonym_of
    from persona_pipelines.warehouse import contracts

    with published(settings) as store:
        table = store.table(contracts.USER_PROFILES)
        found = store.frame(table.filter(table.user_id == pseudonym_of(store, settings, user)))
    if found.empty:
        raise CommandError(f"no profile of {user!r}: not in the logs of {settings.name}, or no events up to the as-of date")
    for name, value in found.iloc[0].items():
        say(f"{name:<26} {shown(value) or '-'}")


@main.command()
@click.argument("user")
@click.option("-k", default=10, show_default=True, type=click.IntRange(1, 1000), help="Length of the list.")
@config_option
def recommend(user: str, k: int, config: str | None) -> None:
    """The top items for USER, a raw id as in the logs or a pseudonym. A user never seen gets an answer too."""
    settings = settings_of(config)
    from persona_pipelines.home.keys import pseudonym_of
    from persona_pipelines.recommendations.serving import ConsentError, list_for_user

    with published(settings) as store:
        try:
            found = list_for_user(store, settings, pseudonym_of(store, settings, user), k)
        except ConsentError:
            raise CommandError(
                f"{user!r} has not consented to recommendations (consent_personalisation of the customer list; privacy.consent_when_unknown "
                "where none says it)"
            ) from None
    if found.empty:
        say("nothing left to recommend: the user has had every item, or the rules allow none of the others")
        return
    say(f"{found['model'].iloc[0]} version {found['model_version'].iloc[0]}, {found['case'].iloc[0]}")
    print_table(found[["rank", "item_id", "title", "category", "reason", "score"]])


@main.command()
@config_option
def segments(config: str | None) -> None:
    """The segments: size, name, and what sets each apart."""
    settings = settings_of(config)
    from persona_pipelines.warehouse import contracts

    with published(settings) as store:
        table = store.table(contracts.SEGMENT_PROFILES).order_by("segment_id")
        print_table(store.frame(table.drop("as_of_date", "segment_model_version")))


@main.command()
@config_option
@click.option("--language", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Of the page's own words.")
@click.option("--output", type=click.Path(dir_okay=False), default="persona-gallery.html", show_default=True, help="The file to write.")
def report(config: str | None, language: Any, output: str) -> None:
    """Write the persona gallery: one page about the audience that needs no network."""
    settings = settings_of(config)
    from persona_pipelines.files import write_whole
    from persona_pipelines.gallery.page import page
    from persona_pipelines.gallery.writing import gallery_of

    with published(settings) as store:
        gallery = gallery_of(store, settings)
    try:
        write_whole(Path(output), page(gallery, language))
    except OSError as error:
        raise CommandError(f"{output}: cannot be written ({error.strerror})") from None
    say(f"{len(gallery.cards)} segments of {gallery.glance.users:,} users in {output}")
