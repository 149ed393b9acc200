"""The one moment at which new results take the place of the old: tables, pages and champions together.

The copy and the pages are made ready first. Then a journal is written that says what takes whose place; from there on it happens,
now or, where the process dies, when the warehouse is opened next. Before the journal nothing has changed for a reader.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import duckdb

from persona_pipelines.files import digest_of, write_blocks, write_whole
from persona_pipelines.home.manifest import HomeError, Manifest, read_manifest
from persona_pipelines.settings import Settings
from persona_pipelines.tracking import registry
from persona_pipelines.tracking.registry import Chosen
from persona_pipelines.warehouse.connection import Warehouse

JOURNAL = "publishing.json"
REPORTS = "reports"
WAITING = "waiting"
"""The folder of what takes its place next, below the home."""


@dataclass
class Publication:
    """What takes whose place.

    Attributes:
        published: SHA-256 of the copy.
        rows, digests: of its tables.
        pages: names of the pages below ``waiting`` that go to ``reports``.
        champions: by stage, the version whose results the tables hold.
        challengers: by stage, the version that its last comparison has refused.
    """

    published: str
    rows: dict[str, int]
    digests: dict[str, str]
    pages: list[str]
    champions: dict[str, dict[str, object]] = field(default_factory=dict)
    challengers: dict[str, str] = field(default_factory=dict)


def publish(store: Warehouse, settings: Settings, say: Callable[[str], None] = lambda text: None) -> Publication:
    """Publish the warehouse as it is, while it is open and nobody writes in it.

    Raises:
        OSError: no room for the copy, for example; what was published before stays.
        HomeError: the copy does not hold what the warehouse does.
    """
    waiting = settings.home / WAITING
    waiting.mkdir(exist_ok=True)
    store.checkpoint()
    copy = waiting / settings.published_file.name
    digest, rows = write_blocks(store.blocks(), copy), store.counts()
    with Warehouse(copy, read_only=True) as copied:
        held = copied.counts()
    if held != rows:
        copy.unlink()
        raise HomeError(f"{copy}: the copy of the warehouse does not hold what the warehouse does; run again")
    publication = Publication(
        digest,
        rows,
        _digests(store, list(rows), read_manifest(settings.home)),
        sorted(file.name for file in waiting.glob("*.html")),
        {stage: asdict(chosen) for stage, chosen in registry.in_use(store, settings).items()},
        {stage: version for stage in registry.COMPARED if (version := registry.refused(store, stage))},
    )
    write_whole(settings.home / JOURNAL, json.dumps(asdict(publication), indent=1))
    finish(settings, say)
    return publication


def _digests(store: Warehouse, tables: list[str], before: Manifest) -> dict[str, str]:
    """Digests of all tables; of those that were not written since the last publication, as they were then."""
    known = before.digests if before.engine == duckdb.__version__ else {}
    return {name: known[name] if name in known and name not in store.written else store.digest(name)[1] for name in tables}


def read_journal(settings: Settings) -> Publication:
    """What the journal says.

    Raises:
        HomeError: it cannot be read. It is written whole or not at all, so somebody else has changed it.
    """
    journal = settings.home / JOURNAL
    try:
        found = Publication(**json.loads(journal.read_text(encoding="utf-8")))
        return replace(found, champions={stage: asdict(Chosen(**chosen)) for stage, chosen in found.champions.items()})  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise HomeError(f"{journal}: cannot be read ({error}); next: persona repair") from None


def finish(settings: Settings, say: Callable[[str], None] = lambda text: None) -> None:
    """Do what the journal says, however much of it was done already; nothing where there is none."""
    journal = settings.home / JOURNAL
    if not journal.exists():
        return
    publication = read_journal(settings)
    waiting = settings.home / WAITING
    copy = waiting / settings.published_file.name
    if copy.exists():
        os.replace(copy, settings.published_file)
    for page in publication.pages:
        if (waiting / page).exists():
            (settings.home / REPORTS).mkdir(exist_ok=True)
            os.replace(waiting / page, published_page(settings, page))
    manifest = read_manifest(settings.home)
    there = {page: published_page(settings, page) for page in publication.pages}
    manifest.pages |= {page: digest_of(file) for page, file in there.items() if file.exists()}
    manifest.published, manifest.rows, manifest.digests, manifest.engine = (
        publication.published,
        publication.rows,
        publication.digests,
        duckdb.__version__,
    )
    manifest.save(settings.home)
    for stage, chosen in publication.champions.items():
        if registry.crown(settings, stage, Chosen(**chosen), publication.challengers.get(stage)):  # type: ignore[arg-type]
            say(f"champion of {stage}: version {chosen['version']}")
    journal.unlink()
    for stage, chosen in publication.champions.items():
        if stage.startswith(registry.PREDICTIONS):
            try:
                registry.forget(settings, stage, str(chosen["version"]))
            except registry.TrackingError as error:
                say(str(error))


def waiting_page(settings: Settings, name: str) -> Path:
    """Where a page waits for the moment of publishing."""
    return settings.home / WAITING / name


def published_page(settings: Settings, name: str) -> Path:
    """Where a page is from the moment of publishing on."""
    return settings.home / REPORTS / name
