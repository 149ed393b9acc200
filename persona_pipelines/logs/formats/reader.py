"""What a reader of a format has to give, and what readers of text share.

A reader turns files into tables of records: ``source_file``, ``file_day``, ``source_line``, ``part`` (the record's number in
its line), ``order`` (its number in the source), ``record`` (its text), ``problem`` (why it cannot be read), ``skipped`` (why
it is no record of an action though it can be read) and the fields that are asked for, as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from persona_pipelines.logs.files import LogFile, LogFileError
from persona_pipelines.logs.formats.lines import TextFile
from persona_pipelines.logs.formats.sql import HeaderError
from persona_pipelines.logs.packing import PackingError
from persona_pipelines.logs.paths import Key, Step, parse

NO_VALUES = "a line without values"
"""Why a line of nothing but blank cells is skipped."""

Resolved = tuple[str, tuple[Step, ...]]
"""A field as the reader gives it, and the path to follow inside of its text."""


@dataclass
class Group:
    """Files that one query can read, because they share their header.

    Args:
        texts: the file behind each log file; None for one that the engine reads itself.
        header: what they share; empty where a format has no such thing.
        records: how many the file has that the engine reads itself.
        place: expressions for ``order``, ``source_file`` and ``file_day`` of such a file.
    """

    files: list[LogFile]
    texts: list[TextFile] | None
    header: str = ""
    records: int = 0
    place: str = ""


class Reader(Protocol):
    def groups(self, files: Sequence[LogFile], settings: Any, max_line_bytes: int) -> Iterator[Group]:
        """The files that are no empty ones, in order, together where one query can read them."""
        ...

    def resolve(self, path: str, group: Group, settings: Any) -> Resolved:
        """What to ask the reader for, to get to a field.

        Raises:
            HeaderError: the files have no such field.
        """
        ...

    def query(self, fields: Sequence[str], group: Group, settings: Any) -> str:
        """A query over the relation ``lines`` (``TextFile.schema`` and the place of each line), or over the file itself, that
        gives the columns above and ``base_0``, ``base_1`` ... for the fields."""
        ...

    def columns(self, group: Group, settings: Any) -> list[str]:
        """The names that a header gives; empty where records carry their names themselves."""
        ...


class TextReader:
    """What is common to formats of text: files in groups by header."""

    def text_file(self, file: LogFile, settings: Any, max_line_bytes: int) -> TextFile:
        return TextFile(file.path, settings.encoding, max_line_bytes, settings.skip_lines, settings.comment, member=file.member)

    def header(self, file: LogFile, settings: Any, max_line_bytes: int) -> tuple[str, int] | None:
        """The header and the number of its line; ``("", 0)`` for formats without, None for a file without any record."""
        text = self.text_file(file, settings, max_line_bytes)
        return ("", settings.skip_lines) if next(text.batches(), None) is not None else None

    def groups(self, files: Sequence[LogFile], settings: Any, max_line_bytes: int) -> Iterator[Group]:
        found: dict[str, Group] = {}
        for file in files:
            try:
                header = self.header(file, settings, max_line_bytes)
                if header is None:
                    continue  # an empty file: the caller warns of it
                text = self.text_file(file, settings, max_line_bytes)
            except (HeaderError, PackingError) as error:
                raise LogFileError(f"{file.shown}: {error}") from None
            except OSError as error:
                raise LogFileError(f"{file.shown}: cannot be read ({error.strerror})") from None
            text.header, text.skip_lines = header[0] or None, header[1]
            group = found.setdefault(header[0], Group([], [], header[0]))
            group.files.append(file)
            assert group.texts is not None
            group.texts.append(text)
        yield from found.values()

    def columns(self, group: Group, settings: Any) -> list[str]:
        raise NotImplementedError

    def resolve(self, path: str, group: Group, settings: Any) -> Resolved:
        """A column by its name as it stands; else the column that the path begins with, whose text is a document."""
        columns = self.columns(group, settings)
        if path in columns:
            if columns.count(path) > 1:
                raise HeaderError(f"column {path!r} stands there twice; expected once")
            return path, ()
        steps = steps_of(path)
        if isinstance(steps[0], Key) and columns.count(steps[0].name) == 1:
            return steps[0].name, steps[1:]
        raise HeaderError(f"column {path!r} not found; found {', '.join(columns) or 'an empty line'}{self.instead(group)}")

    def instead(self, group: Group) -> str:
        """What to say of a header in which a column is not found, beside what is in it."""
        return ""


def steps_of(path: str) -> tuple[Step, ...]:
    """Raises HeaderError where it is no path."""
    try:
        return parse(path)
    except ValueError as error:
        raise HeaderError(str(error)) from None


def selected(inner: str, problem: str, fields: Sequence[str], skipped: str = "CAST(NULL AS VARCHAR)") -> str:
    """The columns of every reader from an inner query that keeps those of ``lines``."""
    bases = "".join(f", {expression} AS base_{number}" for number, expression in enumerate(fields))
    return (
        'SELECT source_file, file_day, source_line, part, "order", record, '
        f"coalesce(line_problem, {problem}) AS problem, {skipped} AS skipped{bases} FROM ({inner})"
    )
