"""Tables as files, as answers to questions in SQL, and what they mean."""

from __future__ import annotations

from pathlib import Path

import click

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import CommandError, config_option, guard_option, main, published, settings_of
from persona_pipelines.cli.printing import say
from persona_pipelines.suggestions import suggestion


@main.command()
@click.argument("table")
@click.argument("file", type=click.Path(dir_okay=False))
@guard_option
@config_option
def export(table: str, file: str, guard: bool, config: str | None) -> None:
    """Write TABLE to FILE (.csv or .parquet), in the order of its key: the same table gives the same bytes."""
    settings = settings_of(config)
    from persona_pipelines.warehouse import contracts
    from persona_pipelines.warehouse.exporting import export_table

    try:
        contract = contracts.table(table)
    except KeyError:
        names = [contract.name for contract in contracts.TABLES]
        raise CommandError(f"no table {table!r}{suggestion(table, names)}; expected one of {', '.join(names)}") from None
    with published(settings) as store:
        rows = export_table(store, contract, Path(file), guard=guard)
    say(f"{rows:,} rows of {contract.full_name} in {file}")


@main.command()
@click.argument("query")
@format_option
@config_option
def sql(query: str, form: Form, config: str | None) -> None:
    """Answer QUERY, one SELECT over the published tables.

    Tables may be called with or without their schema: persona status lists them, "describe user_profiles" the columns of one. The query can
    read these tables and nothing else: no writing, no files, no other database.
    """
    settings = settings_of(config)
    import pandas as pd

    from persona_pipelines.warehouse.asking import ask

    with published(settings) as store:
        columns, rows = ask(store, query)
    frame = pd.DataFrame(rows, columns=columns, dtype=object)
    give(Answer((Rows("rows", frame),)), form)


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--settings", "settings_file", type=click.Path(dir_okay=False), help="Write the page of all settings there, too.")
@click.option("--picture", type=click.Path(dir_okay=False), help="Draw the tables and how they are joined there, too, as an SVG.")
def dictionary(file: str, settings_file: str | None, picture: str | None) -> None:
    """Write the data dictionary, made from the contracts, to FILE."""
    from persona_pipelines.files import write_whole
    from persona_pipelines.settings.described import settings_page
    from persona_pipelines.warehouse.dictionary import data_dictionary
    from persona_pipelines.warehouse.picture import tables_picture

    write_whole(Path(file), data_dictionary())
    say(f"data dictionary in {file}")
    if settings_file is not None:
        write_whole(Path(settings_file), settings_page())
        say(f"page of settings in {settings_file}")
    if picture is not None:
        write_whole(Path(picture), tables_picture())
        say(f"picture of the tables in {picture}")
