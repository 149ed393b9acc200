"""One writer at a time: a lock on the home folder that the system releases when its holder dies, however it dies."""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from persona_pipelines.errors import ProjectError

FILE = "warehouse.lock"
POLL_SECONDS = 0.5


class WarehouseBusyError(ProjectError):
    """Another run holds the warehouse; the message names it."""


class WarehouseLock:
    """Exclusive right to write below a home folder.

    The lock file tells who holds it. It is emptied on release: what is found in it on acquiring is a holder that died.
    """

    def __init__(self, home: Path) -> None:
        self.file = home / FILE
        self._descriptor: int | None = None

    def acquire(self, holder: str, wait_seconds: float, on_wait: Callable[[str], None]) -> dict[str, Any] | None:
        """Wait for the lock and hold it.

        Args:
            holder: what to tell others who wait, such as the run's id.
            on_wait: called once with a sentence that says who holds the lock, before waiting.
        Returns:
            The entry of the last holder if it died without releasing.
        Raises:
            WarehouseBusyError: the lock is still held after ``wait_seconds``.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline, told = time.monotonic() + wait_seconds, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                sentence = f"The warehouse is held by {_described(self.read())}"
                if time.monotonic() >= deadline:
                    os.close(descriptor)
                    raise WarehouseBusyError(
                        f"{sentence}; gave up after {wait_seconds / 60:g} minutes. Run again when it has ended, "
                        "or raise warehouse.wait_minutes."
                    ) from None
                if not told:
                    on_wait(f"{sentence}; waiting for it to end, at most {wait_seconds / 60:g} minutes.")
                    told = True
                time.sleep(POLL_SECONDS)
        died = self.read()
        self._descriptor = descriptor
        entry = {"holder": holder, "pid": os.getpid(), "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds")}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(entry).encode(), 0)
        return died

    def release(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # a full disk must not keep the lock held
                os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def read(self) -> dict[str, Any] | None:
        """Who holds the lock, or died holding it; None where nobody does."""
        try:
            entry = json.loads(self.file.read_text())
        except (OSError, ValueError):
            return None
        return entry if isinstance(entry, dict) else None


def is_held(home: Path) -> bool:
    """Whether any process holds the lock of a home now."""
    try:
        descriptor = os.open(home / FILE, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _described(entry: dict[str, Any] | None) -> str:
    return f"{entry['holder']} (process {entry['pid']}, since {entry['since']})" if entry else "another process"
