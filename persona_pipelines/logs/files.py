"""Which files a source has, whether they can be read now, and how they are recognised when seen again."""

from __future__ import annotations

import contextlib
import datetime as dt
import glob
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from persona_pipelines.errors import ProjectError
from persona_pipelines.logs.packing import HEAD_BYTES, PackingError, members, packing_of
from persona_pipelines.settings import Settings, Source


class LogFileError(ProjectError):
    """A file cannot be read as its source says. The message names file, line, what was found and what is expected."""


class LogFileBusyError(LogFileError):
    """A file is still being written: trying again later helps."""


@dataclass(frozen=True)
class LogFile:
    """One file, or one of those in a zip archive (``member``)."""

    path: Path
    shown: str
    date: dt.date | None
    size_bytes: int
    modified_ns: int
    member: str | None = None


def log_files(source: Source, settings: Settings, first: dt.date | None = None, last: dt.date | None = None) -> list[LogFile]:
    """The files of a source in order of date and name; with a range of days, only the files of these days where dated.

    ``{date}`` in the path stands for YYYY-MM-DD or YYYYMMDD; ``*`` for anything within one folder.
    """
    found = []
    for name, date in _named(source, settings):
        if date is None and source.dated:
            continue
        if date and ((first and date < first) or (last and date > last)):
            continue
        found += _opened(Path(name), settings.displayed(Path(name)), date, getattr(source.format, "member", None))
    if not found and not source.dated:
        raise LogFileError(f"sources.{source.name}.path: no file {settings.displayed(settings.resolved(source.path))}")
    return sorted(found, key=lambda file: (file.date or dt.date.min, file.shown))


def left_out(source: Source, settings: Settings, latest: dt.date) -> list[str]:
    """Which files of a dated source are never read, in words: with a date that there is not, or one before ``start_date`` or after ``latest``."""
    if not source.dated:
        return []
    named = [(settings.displayed(Path(name)), date) for name, date in _named(source, settings)]
    undated = [name for name, date in named if date is None]
    outside = [name for name, date in named if date is not None and not settings.start_date <= date <= latest]
    reasons = (
        (undated, "are left out, because they have no date or two (YYYY-MM-DD, YYYYMMDD)"),
        (outside, f"are of days before start_date {settings.start_date} or in the future, and are not read"),
    )
    return [f"{source.name}: {len(names)} files {reason}: {', '.join(names[:3])}" for names, reason in reasons if names]


def dates_in_names(source: Source, settings: Settings) -> Iterator[dt.date]:
    """The dates in the names of a dated source's files, without a look into these."""
    return (date for _, date in _named(source, settings) if date is not None)


def _named(source: Source, settings: Settings) -> Iterator[tuple[str, dt.date | None]]:
    """The files of a source's path with the date in it; None where what stands there is none."""
    pattern = str(settings.resolved(source.path))
    wildcard = "*".join(glob.escape(part).replace("[*]", "*") for part in pattern.split("{date}"))
    dated = re.compile(r"(\d{4}-?\d{2}-?\d{2})".join(re.escape(part).replace(r"\*", "[^/]*") for part in pattern.split("{date}")))
    for name in sorted(glob.glob(wildcard)):
        if not source.dated:
            yield name, None
        elif match := dated.fullmatch(name):
            dates = set()
            with contextlib.suppress(ValueError):
                dates = {dt.date.fromisoformat(text) for text in match.groups()}
            yield name, next(iter(dates)) if len(dates) == 1 else None


def _opened(path: Path, shown: str, date: dt.date | None, member: str | None) -> list[LogFile]:
    """A file as one, and a zip archive as those in it that are asked for.

    Raises:
        LogFileError: a link leads nowhere, a folder or pipe has the name of a file, or an archive cannot be read.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            kind = f"folder; expected a file (its files are named by {shown}/*)" if path.is_dir() else "pipe or device; expected a file"
            raise LogFileError(f"{shown}: a {kind}")
        with path.open("rb") as stream:
            packing = packing_of(stream.read(HEAD_BYTES))
    except FileNotFoundError:
        raise LogFileError(f"{shown}: a link that leads nowhere ({os.readlink(path)})") from None
    except OSError as error:
        raise LogFileError(f"{shown}: cannot be read ({error.strerror})") from None
    if packing != "zip":
        return [LogFile(path, shown, date, state.st_size, state.st_mtime_ns)]
    try:
        names = members(path, member)
    except PackingError as error:
        raise LogFileError(f"{shown}: {error}") from None
    return [LogFile(path, f"{shown}/{name}", date, state.st_size, state.st_mtime_ns, name) for name in names]


def wait_until_settled(files: list[LogFile], settle_seconds: float) -> None:
    """Refuse files that are still being written.

    A file that changed within the last ``settle_seconds`` is looked at again after that time.

    Raises:
        LogFileBusyError: a file has changed since it was listed.
    """
    youngest = max((file.modified_ns for file in files), default=0) / 1e9
    age = time.time() - youngest
    if 0 <= age < settle_seconds:
        time.sleep(settle_seconds - age)
    for file in files:
        refuse_if_changed(file)


def refuse_if_changed(file: LogFile) -> None:
    """Raises LogFileBusyError where a file is not as it was when listed."""
    try:
        state = file.path.stat()
    except OSError as error:
        raise LogFileError(f"{file.shown}: cannot be read ({error.strerror})") from None
    if (state.st_size, state.st_mtime_ns) != (file.size_bytes, file.modified_ns):
        raise LogFileBusyError(
            f"{file.shown}: still being written (found {state.st_size} bytes, {file.size_bytes} a moment ago); "
            "expected a finished file: write under another name and rename when done, or run again later"
        )
