"""What tells an error that a person can act on from a fault of this package; and texts that no terminal acts on."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from persona_pipelines import __version__


class ProjectError(Exception):
    """Something outside of this package stands in the way; the message says what was found, and what is expected or to be done.

    Names of files, cells and settings come from outside: whatever they hold, the message is text in one line, or in those of ``several_lines``.
    """

    several_lines: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(plain(message, lines=self.several_lines))


class StateError(ProjectError):
    """The state folder cannot be read or written."""


class StoredModelError(ProjectError):
    """The files of a stored model are of another version of this project, or of none; the message says to train it again."""


def is_of_the_state(error: BaseException) -> bool:
    """Whether an error comes of the disk or of a database on it, and not of this package."""
    import sqlite3

    import duckdb
    import sqlalchemy.exc

    return isinstance(error, OSError | duckdb.Error | sqlite3.Error | sqlalchemy.exc.SQLAlchemyError)


def of_the_state(error: BaseException, home: Path | None) -> StateError:
    """Say in one sentence that the state folder cannot be used, and what helps: a full disk, missing rights, a damaged database.

    Args:
        home: the state folder, where it is known.
    """
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if home is None:
        return StateError(reason)
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free // (1 << 20)
    return StateError(
        f"{home}: the state cannot be read or written ({reason}; {free} MB free on its disk). Tables keep their last completed state; "
        f"{_remedy(reason, there)} or set PERSONA_HOME, then run again; then persona verify says whether something is damaged"
    )


_FORBIDDEN = ("permission denied", "operation not permitted", "read-only", "readonly")
_FULL = ("no space left", "disk is full", "disk full", "quota exceeded")
"""As the system, DuckDB and SQLite say it: the errors of the last two have no number."""


def _remedy(reason: str, folder: Path) -> str:
    """What helps against an error of the disk: another thing where nobody may write than where it is full.

    Args:
        folder: the home, or the nearest one above it that is there.
    """
    words = reason.casefold()
    if any(word in words for word in _FULL):
        return "make room"
    if any(word in words for word in _FORBIDDEN) or not os.access(folder, os.W_OK):
        return f"let this user write there (ls -ld {folder} says who may)"
    return f"look at the disk, and at who may write there (ls -ld {folder}),"


def fault(kind: str, text: str, course: str, during: str) -> str:
    """An error of this package in one sentence, which asks for a report; how it came about goes into the file that it names.

    Args:
        kind: of the exception, with its ``text`` and its ``course``, the traceback.
        during: what was being done.
    """
    with tempfile.NamedTemporaryFile("w", prefix="persona-fault-", suffix=".txt", delete=False, encoding="utf-8") as report:
        report.write(f"persona-pipelines {__version__}, {during}\n{course}")
    return f"a fault of persona_pipelines ({kind}: {plain(' '.join(text.split()))}); nothing was half-written. Please report it with {report.name}"


def plain(text: str, lines: bool = False) -> str:
    """A text without characters that a terminal acts on: controls and marks that turn the direction of writing are written out.

    Args:
        lines: whether line breaks stay, as in messages that have several lines of their own.

    >>> plain("red \\x1b[31m text")
    'red \\\\x1b[31m text'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or (lines and sign == "\n") else sign.encode("unicode_escape").decode() for sign in text)
