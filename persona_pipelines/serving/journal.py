"""Accepted events on disk, before anybody is told that they were accepted.

Files of lines of JSON below a folder a day, numbered through: ``2025-09-30/000000017.jsonl``. A line ends with a checksum of what stands before it,
so that it can be told whole from damaged, and is JSON all the same: a run reads these files like any other log. A process begins a file of its
own and never writes into one that was there. While a file is written it has ``.part`` behind its name: what ends in ``.jsonl`` alone changes no more.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from persona_pipelines.errors import ProjectError

CHECK = b',"check":"'
END = b'"}\n'
CHECK_LENGTH = len(CHECK) + 8 + len(END)
LARGEST_FILE = 8 * 2**20
OLDEST_FILE_SECONDS = 300.0
"""So long a file is written at most, so that a run finds what came before it."""
FINISH_SECONDS = 15.0
"""So often it is looked whether a file has become as old."""
OPEN = ".part"
LOCK = "lock"
NAME = re.compile(r"\d{9,}\.jsonl(\.part)?")
"""Of a file of a journal: what else somebody puts beside them is none."""


class JournalError(ProjectError):
    """Events cannot be kept: none of those at hand was."""


class JournalHeldError(ProjectError):
    """Another process writes this journal."""


@dataclass(frozen=True)
class Break:
    """A line that is not as it was written; ``line`` from 1. Nobody was told that it was accepted, or the disk has lost it since.

    Attributes:
        cut_off: whether it is a last one without an end, as a process leaves it that is killed while it writes.
    """

    file: Path
    line: int
    cut_off: bool = False

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: not as it was written"


def line_of(event: dict[str, Any]) -> bytes:
    """An event as a line with its checksum."""
    content = orjson.dumps(event)[:-1]
    return b"%s%s%08x%s" % (content, CHECK, zlib.crc32(content), END)


def event_of(line: bytes) -> dict[str, Any] | None:
    """The event of a line; None where the line is not as it was written."""
    content, rest = line[:-CHECK_LENGTH], line[-CHECK_LENGTH:]
    if not rest.startswith(CHECK) or not rest.endswith(END) or rest[len(CHECK) : -len(END)] != b"%08x" % zlib.crc32(content):
        return None
    event: dict[str, Any] = orjson.loads(content + b"}")
    return event


def files_of(folder: Path, first: dt.date | None = None) -> list[Path]:
    """The files of a journal in the order in which they were written, the one that is written now among them; those from a day on."""
    days = [day for day in folder.glob("*-*-*/") if first is None or day.name >= first.isoformat()]
    found = [file for day in days for file in day.iterdir() if NAME.fullmatch(file.name)]
    return sorted(found, key=lambda file: file.name)


def ended_files(folder: Path, first: dt.date | None = None) -> list[Path]:
    """Those of ``files_of`` that change no more."""
    return [file for file in files_of(folder, first) if not file.name.endswith(OPEN)]


def name_of(file: Path) -> str:
    """What a file is called within its journal, whether it is still written or not."""
    return f"{file.parent.name}/{file.name.removesuffix(OPEN)}"


def opened(file: Path) -> BinaryIO:
    """A file of a journal, to be read; also one that was written when it was found, and has been ended since.

    Raises:
        FileNotFoundError: it is gone, or nothing was kept in it.
    """
    try:
        return file.open("rb")
    except FileNotFoundError:
        return file.with_name(file.name.removesuffix(OPEN)).open("rb")


def events_of(files: Sequence[Path], on_break: Callable[[Break], None]) -> Iterator[dict[str, Any]]:
    """The events of some files, in their order; what is damaged is told and left out."""
    for file in files:
        try:
            lines = opened(file)
        except FileNotFoundError:
            if file.name.endswith(OPEN):
                continue
            raise
        with lines:
            for number, line in enumerate(lines, 1):
                event = event_of(line)
                if event is None:
                    on_break(Break(file, number, cut_off=not line.endswith(b"\n")))
                else:
                    yield event


def _held(folder: Path) -> int:
    """The lock of a journal, held by this process.

    Raises:
        JournalHeldError: another process has it.
        JournalError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise JournalError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise JournalHeldError(f"{folder}: another persona serve writes there; end it first, or give each a home of its own") from None
    return lock


def _is_nobodys(file: Path) -> bool:
    """Whether no process holds a file."""
    held = os.open(file, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(held)
    return True


class Journal:
    """The journal below a folder, held by one process until it is closed; ``shared`` by several of one service, of which each has files of its own.

    Raises:
        JournalHeldError: another process has it.
        JournalError: it cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        today: Callable[[], dt.date],
        sync: Callable[[int], None] = os.fsync,
        clock: Callable[[], float] = time.monotonic,
        shared: bool = False,
    ) -> None:
        self.folder, self._today, self._sync, self._clock = folder, today, sync, clock
        self._file: int | None = None
        self._path: Path | None = None
        self._size, self._begun = 0, 0.0
        self._day: dt.date | None = None
        self.own: set[str] = set()
        """Names of the files that this process has begun."""
        self._lock = None if shared else _held(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.left = {left.rename(left.with_suffix("")) for left in folder.glob(f"*/*.jsonl{OPEN}") if _is_nobodys(left)}
            """The files that a process which was killed had left, and which were ended just now."""
        except OSError as error:
            self.close()
            raise JournalError(f"{folder}: cannot be written ({error.strerror})") from None
        self.before = ended_files(folder)
        """The files that were ended before, in their order."""

    def append(self, lines: Sequence[bytes]) -> None:
        """Keep lines; they are on the disk when this returns.

        Raises:
            JournalError: they could not be kept, and none of them is.
        """
        block = b"".join(lines)
        try:
            file = self._opened()
            written = 0
            while written < len(block):
                written += os.write(file, block[written:])
            self._sync(file)
        except OSError as error:
            self._undo()
            raise JournalError(f"events cannot be kept: {self.folder}: {error.strerror or error}") from None
        self._size += len(block)

    def finish_old(self) -> None:
        """End the file that is written where it is of another day, large, or has been written for ``OLDEST_FILE_SECONDS``."""
        old = self._day != self._today() or self._size >= LARGEST_FILE or self._clock() - self._begun >= OLDEST_FILE_SECONDS
        if self._file is not None and old:
            self._leave()

    def _opened(self) -> int:
        self.finish_old()
        if self._file is None:
            today = self._today()
            folder = self.folder / f"{today:%Y-%m-%d}"
            folder.mkdir(exist_ok=True, mode=0o700)
            self._file, self._path = self._begin(folder)
            self._size, self._day, self._begun = 0, today, self._clock()
            self.own.add(name_of(self._path))
            try:  # the name too has to be on the disk
                for place in (folder, self.folder, self.folder.parent):
                    above = os.open(place, os.O_RDONLY)
                    try:
                        self._sync(above)
                    finally:
                        os.close(above)
            except OSError:  # nothing is kept in a file whose name may be lost: the next one tries again
                self._leave()
                raise
        return self._file

    def _begin(self, folder: Path) -> tuple[int, Path]:
        """A new file with the next number, held until it is ended."""
        number = max((int(file.name.split(".")[0]) for file in files_of(self.folder)), default=0) + 1
        while True:
            path = folder / f"{number:09d}.jsonl{OPEN}"
            try:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            except FileExistsError:  # another process was quicker
                number += 1
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file, path

    def _undo(self) -> None:
        """Take back what a failed append has left; a file of which that cannot be done is not written any more."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._size)
            os.fsync(self._file)
        except OSError:
            self._leave()

    def _leave(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            if self._path is not None:
                with contextlib.suppress(OSError):
                    if self._size:
                        self._path.rename(self._path.with_suffix(""))
                    else:
                        self._path.unlink()
        self._file = None

    def close(self) -> None:
        self._leave()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
