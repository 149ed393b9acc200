"""What commands that read give: tables for people, JSON and CSV for programs, all from the same rows."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import click

from persona_pipelines.cli.printing import print_facts, print_table, say, values_of

if TYPE_CHECKING:
    import pandas as pd

Form = Literal["table", "json", "csv"]
FORMS: tuple[Form, ...] = ("table", "json", "csv")


@dataclass(frozen=True)
class Rows:
    """A table of an answer.

    Attributes:
        name: its key in JSON, where the answer has more than this table.
        title: what stands above it.
        view: what people see of it instead of all columns.
    """

    name: str
    frame: pd.DataFrame
    title: str | None = None
    view: pd.DataFrame | None = None

    def records(self) -> list[dict[str, Any]]:
        """The rows, each by the names of its columns."""
        columns = [values_of(self.frame[name]) for name in self.frame.columns]
        return [dict(zip(self.frame.columns, row, strict=True)) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class Answer:
    """What a command has found: single values by name, tables, and the sentences that people read before them.

    As JSON it is an object with the values and the tables by their names, or the rows alone where there is one table and nothing else; as CSV
    the first table, or the values as one row. A value that is text for people and more for programs (``facts``) may be left to ``lines``.
    """

    tables: tuple[Rows, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    lines: tuple[str, ...] | None = None
    """Instead of the values, for people; None shows the values themselves."""


def format_option(command: Any) -> Any:
    """``--format table|json|csv``, and ``--json`` for short; the command gets ``form``."""

    def short(context: click.Context, option: click.Parameter, asked: bool) -> None:
        if asked:
            context.params["form"] = "json"

    def chosen(context: click.Context, option: click.Parameter, value: str) -> str:
        return context.params.get("form", value)  # --json has been read before

    command = click.option(
        "--format",
        "form",
        type=click.Choice(FORMS),
        default="table",
        show_default=True,
        callback=chosen,
        help="For people, or for programs: nothing else stands on the standard output then.",
    )(command)
    return click.option("--json", is_flag=True, is_eager=True, expose_value=False, callback=short, help="The same as --format json.")(
        command
    )


def give(answer: Answer, form: Form, *, show: Callable[[], None] | None = None) -> None:
    """Print an answer.

    Args:
        show: prints it for people, where that is more than lines, values and tables.
    """
    if form == "json":
        click.echo(as_json(answer))
    elif form == "csv":
        click.echo(as_csv(answer), nl=False)
    elif show is not None:
        show()
    else:
        for line in answer.lines or ():
            say(line)
        if answer.lines is None and answer.facts:
            print_facts(answer.facts)
        if answer.tables and (answer.lines or answer.facts):
            say("")
        for table in answer.tables:
            print_table(table.frame if table.view is None else table.view, table.title)


def as_json(answer: Answer) -> str:
    """One JSON value: what is not known is null, days and times are ISO 8601, and no character moves a cursor."""
    tables = {table.name: table.records() for table in answer.tables}
    content: Any = {**answer.facts, **tables} if answer.facts or len(tables) != 1 else next(iter(tables.values()))
    text = json.dumps(_plain(content), ensure_ascii=False, indent=2, allow_nan=False)
    return "".join(sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text)


def as_csv(answer: Answer) -> str:
    """The first table with a header, or the values as one row; text that a spreadsheet would take for a formula is disarmed, as in exports."""
    import pandas as pd

    from persona_pipelines.errors import plain
    from persona_pipelines.warehouse.exporting import disarmed

    records = _plain(answer.tables[0].records() if answer.tables else [dict(answer.facts)])
    columns = list(answer.tables[0].frame.columns) if answer.tables else list(answer.facts)

    def cell(name: str, value: Any) -> Any:
        if isinstance(value, dict | list):
            value = json.dumps(value, ensure_ascii=False)
        if isinstance(value, bool):
            return "true" if value else "false"  # as the engine writes them into exports
        if not isinstance(value, str):
            return value
        return plain(value if name.endswith("_id") else disarmed(value))

    rows = [[cell(name, record[name]) for name in columns] for record in records]
    return pd.DataFrame(rows, columns=columns, dtype=object).to_csv(index=False)


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if value is None or isinstance(value, str | bool | int):
        return value
    if value != value:  # NaN and NaT
        return None
    if isinstance(value, decimal.Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):
        return _plain(value.item())  # a number of NumPy
    return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
