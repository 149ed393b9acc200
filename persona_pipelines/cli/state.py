"""The state folder: whether it is whole, and what can be mended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import as_called, config_option, main, settings_of, tell
from persona_pipelines.cli.printing import say
from persona_pipelines.settings import Settings


@contextmanager
def _held(settings: Settings, who: str) -> Iterator[None]:
    """The lock of the home: nobody else writes meanwhile."""
    from persona_pipelines.home.opening import claim_home
    from persona_pipelines.warehouse.locks import WarehouseLock

    claim_home(settings)
    lock = WarehouseLock(settings.home)
    lock.acquire(who, settings.warehouse.wait_minutes * 60, tell)
    try:
        yield
    finally:
        lock.release()


@main.command()
@format_option
@config_option
def verify(form: Form, config: str | None) -> None:
    """Look at every file of the state, the tables block by block. Exit code 1 where one is not as it was left."""
    settings = settings_of(config)
    import pandas as pd

    from persona_pipelines.home.verifying import verify as looked_at

    with _held(settings, "persona verify"):
        found = list(looked_at(settings))
    rows = [{"file": entry.file, "whole": entry.passed, "found": entry.found, "next": as_called(entry.next)} for entry in found]
    give(Answer((Rows("files", pd.DataFrame(rows)),)), form)
    if not all(entry.passed for entry in found):
        sys.exit(1)


@main.command()
@config_option
def repair(config: str | None) -> None:
    """Mend what persona verify finds: damaged files are moved aside, never deleted; what can be made again is."""
    settings = settings_of(config)
    from persona_pipelines.home.repairing import repair as mended

    with _held(settings, "persona repair"):
        done = 0
        for text in mended(settings):
            say(as_called(text))
            done += 1
    if not done:
        say("nothing to mend")
