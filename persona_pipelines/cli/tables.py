"""Tables as files, and what they mean."""

from __future__ import annotations

from pathlib import Path

import click

from persona_pipelines.cli.base import CommandError, config_option, guard_option, main, published, settings_of
from persona_pipelines.cli.printing import say


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
        names = ", ".join(contract.name for contract in contracts.TABLES)
        raise CommandError(f"no table {table!r}; expected one of {names}") from None
    with published(settings) as store:
        rows = export_table(store, contract, Path(file), guard=guard)
    say(f"{rows:,} rows of {contract.full_name} in {file}")


@main.command()
@click.argument("file", type=click.Path(dir_okay=False))
def dictionary(file: str) -> None:
    """Write the data dictionary, made from the contracts, to FILE."""
    from persona_pipelines.files import write_whole
    from persona_pipelines.warehouse.dictionary import data_dictionary

    write_whole(Path(file), data_dictionary())
    say(f"data dictionary in {file}")
