"""The state folder: whether it is whole, and what can be mended."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from persona_pipelines.cli.answers import Answer, Form, Rows, format_option, give
from persona_pipelines.cli.base import as_called, config_option, main, published, settings_of, tell
from persona_pipelines.cli.printing import say
from persona_pipelines.errors import StateError
from persona_pipelines.settings import Settings

if TYPE_CHECKING:
    from persona_pipelines.home.verifying import Finding


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
        found = [*looked_at(settings), *_unreadable_audiences(settings)]
    rows = [{"file": entry.file, "whole": entry.passed, "found": entry.found, "next": as_called(entry.next)} for entry in found]
    give(Answer((Rows("files", pd.DataFrame(rows)),)), form)
    if not all(entry.passed for entry in found):
        sys.exit(1)


def _unreadable_audiences(settings: Settings) -> list[Finding]:
    """Saved audiences whose conditions the published tables cannot answer; nothing where either cannot be read, as the file's own finding says."""
    from persona_pipelines.audiences.exports import unreadable
    from persona_pipelines.audiences.saved import AudienceError
    from persona_pipelines.home.verifying import Finding

    try:
        with published(settings) as store:
            found = unreadable(store, settings)
    except (StateError, AudienceError):
        return []
    return [
        Finding(f"audience {name}", False, f"its condition {why}", f"persona audience delete {name}, or save it anew")
        for name, why in found.items()
    ]


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
