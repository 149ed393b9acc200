"""Whether every file of a home is as it was left: which is not, and what to do."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb

from persona_pipelines.files import digest_of, objects_by_number, texts_by_name
from persona_pipelines.home import histories
from persona_pipelines.home.keys import KEY
from persona_pipelines.home.manifest import FILE, HomeError, Manifest, read_manifest
from persona_pipelines.home.opening import require_as_left, require_version
from persona_pipelines.home.publishing import JOURNAL, REPORTS, published_page, read_journal
from persona_pipelines.privacy.pseudonyms import RESTORE, KeyFileError, fingerprint, load_key
from persona_pipelines.settings import Settings
from persona_pipelines.tracking import registry
from persona_pipelines.tracking.experiments import ModelNotFoundError
from persona_pipelines.warehouse.connection import Warehouse, WarehouseError

REPAIR, RUN_AGAIN, WRITE_AGAIN = "persona repair", "persona run", "persona run --only gallery"
LOOK_AGAIN = "persona verify, once nothing else uses it and its disk can be written"
LOCKED_SECONDS = 30.0
SAVED: dict[str, Callable[[Path], object]] = {"audiences.json": texts_by_name, "segments.json": objects_by_number}
"""Files with what people have said and no log has, each with what reads it: ValueError where it cannot be read."""


@dataclass(frozen=True)
class Finding:
    """One file of the home: whether it is as it was left, what was found, and what to do where it is not."""

    file: str
    passed: bool
    found: str
    next: str = ""


def verify(settings: Settings) -> Iterator[Finding]:
    """Look at every file, the tables block by block; by who holds the lock. Nothing is changed."""
    try:
        manifest = read_manifest(settings.home)
        there = (settings.home / FILE).exists() or not settings.warehouse_file.exists()
        yield Finding(FILE, True, "can be read" if there else "is not there: nothing can be compared until the next run writes it again")
    except HomeError as error:
        manifest = Manifest()
        yield Finding(FILE, False, str(error), REPAIR)
    yield _key(settings, manifest)
    yield _warehouse(settings, manifest)
    if settings.published_file.exists() or manifest.rows:
        yield published_as_left(settings, manifest)
    yield from _pages(settings, manifest)
    if settings.mlflow_is_local:
        yield _model_store(settings)
        yield from _models(settings)
    lost = {name: Finding(name, False, found, instead) for name, found, instead in histories.lost(settings)}
    yield from lost.values()
    for file in sorted(settings.dagster_home.rglob("*.db")):
        if file.name not in lost:
            yield database(file)
    for name, read in SAVED.items():
        yield _saved(settings.home / name, read)


def _key(settings: Settings, manifest: Manifest) -> Finding:
    name = settings.key_file.name
    if not settings.key_file.exists() and not manifest.key:
        return Finding(name, True, "not made yet")
    try:
        key = load_key(settings.key_file)
    except KeyFileError as error:
        return Finding(name, False, str(error).removesuffix(f"; {RESTORE}"), RESTORE)
    if manifest.key and fingerprint(key) != manifest.key:
        return Finding(name, False, f"another {KEY} than the tables were made with", RESTORE)
    return Finding(name, True, f"the {KEY} that the tables were made with")


def _warehouse(settings: Settings, manifest: Manifest) -> Finding:
    name = settings.warehouse_file.name
    if not settings.warehouse_file.exists() and not manifest.warehouse:
        return Finding(name, True, "not made yet")
    try:
        require_as_left(settings, manifest)
        tables = read_through(settings.warehouse_file, settings)
    except (HomeError, WarehouseError) as error:
        return Finding(name, False, str(error).removesuffix(f"; next: {REPAIR}"), REPAIR)
    how = (
        "was not closed by its last run"
        if manifest.being_written
        else "is as its last run left it"
        if manifest.warehouse
        else f"no {FILE} says how it was left"
    )
    return Finding(name, True, f"{how}; all blocks of {tables} tables can be read")


def read_through(file: Path, settings: Settings) -> int:
    """Read every block of every table; the number of tables.

    Raises:
        WarehouseError: one is damaged or of another version, or the file is no warehouse.
    """
    with Warehouse(file, read_only=True) as store:
        require_version(store, settings)
        names = list(store.counts())
        for name in names:
            store.digest(name)
    return len(names)


def published_as_left(settings: Settings, manifest: Manifest) -> Finding:
    """The published copy against its digest, and its tables against theirs.

    One that has taken its place and is not written down yet, because the process died in between, stands in the journal of publishing.
    """
    file = settings.published_file
    if not file.exists():
        return Finding(file.name, False, "is gone", RUN_AGAIN)
    digest = digest_of(file)
    if manifest.published and digest == manifest.published:
        return Finding(file.name, True, "is as it was published")
    if digest == _being_published(settings):
        return Finding(file.name, True, "is as it is being published; the next run finishes that")
    try:
        with Warehouse(file, read_only=True) as store:
            counts = store.counts()
            other = [
                name
                for name in counts
                if manifest.digests and (counts[name], store.digest(name)[1]) != (manifest.rows.get(name), manifest.digests.get(name))
            ]
    except WarehouseError as error:
        return Finding(file.name, False, str(error), REPAIR)
    if not manifest.published:
        return Finding(file.name, True, f"no {FILE} says how it was published; all blocks can be read")
    if manifest.engine != duckdb.__version__ or not other:
        return Finding(file.name, False, "its bytes are not those that were published", REPAIR)
    return Finding(file.name, False, f"other rows than were published in {', '.join(other[:3])}", REPAIR)


def _pages(settings: Settings, manifest: Manifest) -> Iterator[Finding]:
    """The pages of the gallery against their digests; ones that are being published are the next run's to finish."""
    if (settings.home / JOURNAL).exists():
        return
    for name, digest in manifest.pages.items():
        file = published_page(settings, name)
        if not file.exists():
            yield Finding(f"{REPORTS}/{name}", False, "is gone", WRITE_AGAIN)
        elif digest_of(file) != digest:
            yield Finding(f"{REPORTS}/{name}", False, "its bytes are not those that were published", WRITE_AGAIN)
        else:
            yield Finding(f"{REPORTS}/{name}", True, "is as it was published")


def _being_published(settings: Settings) -> str | None:
    """The digest of the copy that a journal says is taking its place; None without one."""
    if not (settings.home / JOURNAL).exists():
        return None
    try:
        return read_journal(settings).published
    except HomeError:
        return None


def database(file: Path) -> Finding:
    """A database of MLflow or Dagster, looked through for damage.

    What a process that was killed has left in its journal is taken back first, as whoever opens it next would do: for that it has to be
    opened for writing.
    """
    if not file.exists():
        return Finding(file.name, True, "not made yet")
    try:
        with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=LOCKED_SECONDS)) as store:
            answer = store.execute("PRAGMA integrity_check(1)").fetchall()[0][0]
    except sqlite3.OperationalError as error:  # locked by another program, or on a disk that cannot be written: no damage
        return Finding(file.name, False, str(error), LOOK_AGAIN)
    except sqlite3.Error as error:
        return Finding(file.name, False, str(error), REPAIR)
    found = " ".join(str(answer).replace("*** in database main ***", "").split())
    return Finding(file.name, answer == "ok", "is whole" if answer == "ok" else found, "" if answer == "ok" else REPAIR)


def _model_store(settings: Settings) -> Finding:
    """MLflow's own database; where it is gone or empty, the published tables tell whether there has been one."""
    file = settings.mlflow_file
    if not (file.exists() and file.stat().st_size) and settings.published_file.exists():
        with contextlib.suppress(WarehouseError), Warehouse(settings.published_file, read_only=True) as store:
            if any(registry.made_with(store, stage) for stage in registry.MADE_WITH):
                found = f"is {'empty' if file.exists() else 'gone'}, and with it the models that the tables were made with: restore it from your backup, or train again"
                return Finding(file.name, False, found, RUN_AGAIN)
    return database(file)


def _models(settings: Settings) -> Iterator[Finding]:
    if not (settings.mlflow_file).exists() or not database(settings.mlflow_file).passed:
        return
    for stage in (*registry.MADE_WITH, *_predicted(settings)):
        version = registry.champion_version(settings, stage)
        if version is None:
            continue
        name = f"model of {stage}, version {version}"
        try:
            registry.model(settings, stage, version)
            yield Finding(name, True, "its files are those that were registered")
        except ModelNotFoundError as error:
            yield Finding(name, False, str(error), RUN_AGAIN)


def _predicted(settings: Settings) -> list[str]:
    """The stages of the models that the published predictions were made with."""
    if settings.published_file.exists():
        with contextlib.suppress(WarehouseError), Warehouse(settings.published_file, read_only=True) as store:
            return list(registry.predicted(store))
    return []


def _saved(file: Path, read: Callable[[Path], object]) -> Finding:
    if not file.exists():
        return Finding(file.name, True, "none saved yet")
    try:
        read(file)
    except ValueError as error:
        return Finding(file.name, False, str(error), REPAIR)
    return Finding(file.name, True, "can be read")
