"""Tables and texts on a terminal: whatever logs hold, it moves no cursor and forges no line."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import click

from persona_pipelines.errors import plain

if TYPE_CHECKING:
    import pandas as pd

_kept: dict[TextIO, TextIO] = {}
"""By the stream that this process began with: the tests of commands put another in its place."""


def say(text: str, *, colour: str | None = None, bold: bool | None = None) -> None:
    """Print a text, which may have lines of its own and otherwise moves no cursor."""
    click.secho(plain(text, lines=True), fg=colour, bold=bold)


def warn(text: str) -> None:
    """Print what is no result: it does not get into a file that the results are sent to."""
    click.secho(plain(text, lines=True), file=terminal(), err=True)


def keep_terminal() -> None:
    """Keep a way to where warnings go: while a run is at work, what this process prints there goes into a file of that run."""
    stream = sys.stderr
    if stream in _kept:
        return
    with contextlib.suppress(AttributeError, OSError):  # closed, or no file
        _kept[stream] = os.fdopen(os.dup(stream.fileno()), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)


def terminal() -> TextIO | None:
    """Where warnings and progress go; None for nowhere."""
    return _kept.get(sys.stderr, sys.stderr)


def print_table(frame: pd.DataFrame, title: str | None = None) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for column in frame.columns:
        numeric = frame[column].dtype.kind in "if"
        table.add_column(plain(str(column)), justify="right" if numeric else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(escape(shown(value)) for value in row))
    console = Console()
    # A pipe or a log file has no width: tables are not squeezed into a guess of it.
    (console if console.is_terminal else Console(width=160)).print(table)


def shown(value: Any) -> str:
    """A value of a table as a person reads it."""
    if value is None or value != value:
        return ""
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    return plain(str(value))
