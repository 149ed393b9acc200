"""Tables and texts on a terminal: whatever logs hold, it moves no cursor and forges no line."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import click
from rich.cells import cell_len, chop_cells

from persona_pipelines.errors import plain

if TYPE_CHECKING:
    import pandas as pd

_kept: dict[TextIO, TextIO] = {}
"""By the stream that this process began with: the tests of commands put another in its place."""
DEFAULT_WIDTH = 80
"""Columns of a terminal that does not say how many it has."""
WIDE = 160
"""Columns of a table in a pipe or a file, which have no width: it is not squeezed into a guess of it."""
GAP = 2
"""Blanks between two columns of a table."""


def say(text: str, *, colour: str | None = None, bold: bool | None = None) -> None:
    """Print a text, which may have lines of its own and otherwise moves no cursor; on a terminal it is wrapped between words."""
    text = _laid_out(text, width())
    click.echo(click.style(text, fg=colour, bold=bold) if coloured() and (colour or bold) else text)


def warn(text: str) -> None:
    """Print what is no result, likewise: it does not get into a file that the results are sent to."""
    click.echo(_laid_out(text, width(terminal())), file=terminal(), err=True)


def _laid_out(text: str, room: int | None) -> str:
    lines = plain(text, lines=True).split("\n")
    return "\n".join(lines if room is None else [part for line in lines for part in _indented(line, room)])


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


def coloured() -> bool:
    """Whether colours and bold letters are wanted: not where NO_COLOR is set, whatever to (no-color.org)."""
    return not os.environ.get("NO_COLOR")


def width(stream: TextIO | None = None) -> int | None:
    """Columns of the terminal that a stream goes to, that of the results without one, or what COLUMNS says; None for a pipe or a file."""
    told = os.environ.get("COLUMNS", "")
    if told.isdigit() and int(told):
        return int(told)
    stream = stream or sys.stdout
    try:
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH if stream.isatty() else None
    except (OSError, ValueError):  # closed, or no file
        return None


def print_table(frame: pd.DataFrame, title: str | None = None) -> None:
    """Print a table within the width of the terminal, wrapped between words; where not even the words fit, row by row instead."""
    if frame.empty:
        say(f"{title}: none\n" if title else "no rows\n")
        return
    names = list(frame.columns)
    heads = [plain(str(name)) for name in names]
    rows = [list(row) for row in zip(*([shown(value) for value in values_of(frame[name])] for name in names), strict=True)]
    room = width() or WIDE
    widths = _fitting(heads, rows, room - GAP * (len(heads) - 1))
    if title:
        say(title, bold=True)
    if widths is None:
        for row in rows:
            print_facts(dict(zip(heads, row, strict=True)))
            click.echo("")
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    cells = [[wrapped(cell, columns) for cell, columns in zip(row, widths, strict=True)] for row in rows]
    # Where many rows have several lines, an empty one tells them apart.
    several = 3 * sum(any(len(cell) > 1 for cell in row) for row in cells) > len(cells)
    style = "bold" if coloured() else ""
    drawn = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), show_lines=several, header_style=style)
    for head, columns, name in zip(heads, widths, names, strict=True):
        drawn.add_column(
            escape("\n".join(wrapped(head, columns))), justify="right" if _numeric(frame[name]) else "left", width=columns, no_wrap=True
        )
    for lines in cells:
        drawn.add_row(*(escape("\n".join(cell)) for cell in lines))
    console = Console(width=room, color_system="auto" if coloured() else None, highlight=False)
    with console.capture() as capture:
        console.print(drawn)
    # Blanks at the ends of lines are of no use in a file or a comparison of two.
    click.echo("\n".join(line.rstrip() for line in capture.get().rstrip("\n").split("\n")) + "\n")


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print values by name, one a line, wrapped between words beside the names."""
    names = {name: plain(str(name)) for name in facts}
    column = max((cell_len(name) for name in names.values()), default=0) + GAP
    room = max(2, (width() or WIDE) - column)
    for name, value in facts.items():
        for number, line in enumerate(wrapped(shown(value) or "-", room)):
            label = "" if number else names[name]
            click.echo((label + " " * (column - cell_len(label)) + line).rstrip())


def wrapped(text: str, columns: int) -> list[str]:
    """The lines of a text that is at most so wide. A word stays whole, whatever its length, so that a path can be copied; only a script that
    writes without blanks is broken anywhere."""
    lines: list[str] = []
    for word in plain(text).split(" "):
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= columns:
            lines[-1] += f" {word}"
        elif word or not lines:
            lines += [word] if _whole(word) else chop_cells(word, columns)
    return [line.rstrip() for line in lines]


def shown(value: Any) -> str:
    """A value of a table as a person reads it."""
    if isinstance(value, list | tuple):
        return ", ".join(shown(entry) for entry in value)
    if value is None or value != value:
        return ""
    if isinstance(value, bool) or getattr(getattr(value, "dtype", None), "kind", "") == "b":  # of Python or of NumPy
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        return ", ".join(f"{name} {shown(entry)}" for name, entry in value.items())
    return plain(str(value))


def values_of(column: pd.Series) -> list[Any]:
    """The values of a column; of days days, which pandas makes moments of."""
    if column.dtype.kind == "M" and column.dropna().eq(column.dropna().dt.normalize()).all():
        return [None if value != value else value.date() for value in column]
    return column.tolist()


def _indented(line: str, room: int) -> list[str]:
    """A line in lines of a width, those that follow as far from the margin as the first."""
    text = line.lstrip(" ")
    margin = line[: len(line) - len(text)]
    return [margin + part for part in wrapped(text, max(2, room - len(margin)))]


def _whole(word: str) -> bool:
    return cell_len(word) == len(word)


def _numeric(column: pd.Series) -> bool:
    return column.dtype.kind in "if" or (
        column.dtype.kind == "O" and all(isinstance(value, int | float) and not isinstance(value, bool) for value in column.dropna())
    )


def _fitting(heads: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> list[int] | None:
    """Widths of columns in which no word is broken; None where there is too little room for that.

    What is left over when every column has its longest word goes to the columns that want more, as much to each as to the others, and what
    is left then to the headings: they are told apart in several lines, too.
    """
    columns = [[head, *(row[number] for row in rows)] for number, head in enumerate(heads)]
    widths = [max(cell_len(word) if _whole(word) else 2 for cell in column for word in cell.split(" ")) for column in columns]
    if sum(widths) > room:
        return None
    for cells in ([column[1:] for column in columns], columns):
        wanted = [max((cell_len(cell) for cell in column), default=0) for column in cells]
        while (left := room - sum(widths)) > 0 and (narrow := [n for n, most in enumerate(wanted) if widths[n] < most]):
            for number in narrow[:left]:
                widths[number] = min(wanted[number], widths[number] + max(1, left // len(narrow)))
    return widths
