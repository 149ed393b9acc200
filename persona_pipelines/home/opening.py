"""Opening the warehouse to write, and closing it: only as it was left, and only with its own key."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from persona_pipelines.files import digest_of, sweep_partial, write_whole
from persona_pipelines.home.keys import claim_key, key_to_write_with, require_key
from persona_pipelines.home.manifest import HomeError, Manifest, read_manifest
from persona_pipelines.home.publishing import REPORTS, WAITING, finish
from persona_pipelines.privacy.pseudonyms import fingerprint
from persona_pipelines.settings import Settings
from persona_pipelines.settings.strict import CONFIGURATION_PATTERN
from persona_pipelines.tracking import moving
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import EngineError, Warehouse, WarehouseError
from persona_pipelines.warehouse.contracts.parts import Table


class HomeOfAnotherConfigurationError(HomeError):
    """The home folder holds the tables of another configuration."""


class DamagedError(HomeError):
    """A file of the state folder is not as it was left."""


def claim_home(settings: Settings) -> None:
    """Bind a home folder to one configuration: two in one would mix their events.

    Raises:
        HomeOfAnotherConfigurationError: the folder belongs to another configuration.
    """
    owner = settings.home / "configuration"
    if not owner.exists():
        write_whole(owner, settings.name + "\n")
    try:
        found = owner.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise HomeError(f"{owner}: cannot be read ({error}); expected the name {settings.name!r}: write it there") from None
    if not re.match(CONFIGURATION_PATTERN, found):
        raise HomeError(f"{owner}: found {found[:60]!r}; expected the name {settings.name!r}: write it there")
    if found != settings.name:
        raise HomeOfAnotherConfigurationError(
            f"{settings.home} holds the tables of configuration {found!r}, not of {settings.name!r}; set PERSONA_HOME to a folder of its own "
            f"(or, if you know that they are those of {settings.name!r}, write that name into {owner})"
        )


MADE_AGAIN = ("features", "segments", "profiles", "recommendations", "serving")
"""Schemas whose tables are made from cleaned events and from the lists that were served."""


def open_warehouse(settings: Settings, say: Callable[[str], None] = lambda text: None) -> Warehouse:
    """The warehouse to write in, by whoever holds its lock.

    What a killed run has left is swept or finished first; a file that has changed since it was closed is refused.

    Args:
        say: told what was swept, finished, or read through.
    Raises:
        HomeError: the folder belongs to another configuration, a file is missing or has changed, or the key is another one.
    """
    claim_home(settings)
    folders = (
        settings.home,
        settings.home / REPORTS,
        settings.home / WAITING,
        settings.recommender_folder,
        *(settings.home / "models").glob("*"),
    )
    if swept := [file for folder in folders for file in sweep_partial(folder)]:
        say(f"removed what a killed run has left: {', '.join(file.name for file in swept)}")
    manifest = read_manifest(settings.home)
    try:
        if before := moving.follow(settings):
            say(f"the state folder was moved from {before}: the addresses in mlflow.db follow it")
    except moving.StoreError as error:
        raise DamagedError(str(error)) from None
    require_as_left(settings, manifest)
    key, as_left = key_to_write_with(settings, manifest), bool(manifest.warehouse) and not manifest.being_written
    store = _opened(settings, key)
    try:
        require_key(store, settings, key)
        require_version(store, settings)
        if outdated := [contract for contract in contracts.TABLES if _is_made_again(contract) and store.is_outdated(contract)]:
            for contract in outdated:
                store.drop(contract)
            say(
                f"tables with other columns than this version makes are made again: {', '.join(contract.full_name for contract in outdated)}"
            )
        if not as_left and (tables := store.counts()):
            say(f"{settings.warehouse_file.name} was not closed by its last run: its {len(tables)} tables are read through")
            for name in tables:
                store.digest(name)
        manifest.key, manifest.being_written = fingerprint(key), True
        manifest.save(settings.home)
        claim_key(store, key)
        finish(settings, say)
    except (WarehouseError, EngineError) as error:
        store.close()
        raise DamagedError(f"{error}; next: persona repair") from None
    except BaseException:
        store.close()
        raise
    return store


def require_version(store: Warehouse, settings: Settings) -> None:
    """Raises WarehouseError where a table has other columns than this version of the package writes, and no run makes it from others anew."""
    for contract in contracts_of(settings):
        if not _is_made_again(contract):
            store.require_columns(contract)


def _is_made_again(contract: Table) -> bool:
    """Whether every run makes the table anew from what it is made of."""
    return contract.schema in MADE_AGAIN and not contract.history


def contracts_of(settings: Settings) -> list[Table]:
    """The contracts of all tables of a configuration, those of its sources too."""
    raw = [contracts.raw_events(source.name) for source in settings.sources_of("events")]
    lists = [contracts.raw_listing(source.name, kind) for kind in ("items", "users") for source in settings.sources_of(kind)]
    return [*raw, *lists, *contracts.TABLES]


def close_warehouse(store: Warehouse, settings: Settings) -> None:
    """Close the warehouse and write down how it is left.

    Where the disk fails, the engine leaves what is committed in its journal: then the warehouse is not as one that was closed, and the next
    run reads it through.
    """
    store.close()
    if journal_of(settings.warehouse_file).exists():
        return
    manifest = read_manifest(settings.home)
    manifest.being_written, manifest.warehouse = False, digest_of(settings.warehouse_file)
    manifest.save(settings.home)


def require_as_left(settings: Settings, manifest: Manifest) -> None:
    """Hold the warehouse file against the manifest.

    Raises:
        DamagedError: it is gone, has changed since it was closed, or has a journal that no run of ours can have left.
    """
    file = settings.warehouse_file
    if not manifest.warehouse:
        return
    if not file.exists():
        raise DamagedError(f"{file}: the warehouse is gone; next: persona repair")
    if manifest.being_written:
        return
    if journal_of(file).exists():
        raise DamagedError(f"{journal_of(file)}: a journal beside a warehouse that was closed without one; next: persona repair")
    if digest_of(file) != manifest.warehouse:
        raise DamagedError(f"{file}: its bytes are not those that the last run left; next: persona repair")


def journal_of(file: Path) -> Path:
    """Where the engine keeps what is committed and not yet in the file."""
    return file.with_name(f"{file.name}.wal")


def _opened(settings: Settings, key: bytes) -> Warehouse:
    chosen = settings.warehouse
    shutil.rmtree(f"{settings.warehouse_file}.tmp", ignore_errors=True)  # what a killed run has spilled holds data
    try:
        return Warehouse(settings.warehouse_file, key, memory_limit=chosen.memory_limit, threads=chosen.threads)
    except WarehouseError as error:
        raise DamagedError(f"{error}; next: persona repair") from None
