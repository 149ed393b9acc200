"""What can be mended of a home: nothing is deleted, what is damaged is moved aside, what can be made again is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import ibis

from persona_pipelines.files import copy_whole, digest_of
from persona_pipelines.home.manifest import FILE, HomeError, Manifest, read_manifest
from persona_pipelines.home.opening import journal_of, require_as_left, require_version
from persona_pipelines.home.publishing import JOURNAL, read_journal
from persona_pipelines.home.verifying import REPAIR, SAVED, database, published_as_left, read_through, verify
from persona_pipelines.privacy.pseudonyms import fingerprint, load_key
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, WarehouseError, from_frame


def repair(settings: Settings) -> Iterator[str]:
    """Mend what ``verify`` finds, by who holds the lock; says what was done, and what is left to do.

    A damaged warehouse is taken from the published copy where that is whole, else it has to be made from the logs again.

    Raises:
        KeyFileError: the key is gone or cannot be used: a lost one can only be restored.
        OSError: something cannot be moved or copied.
    """
    try:
        manifest = read_manifest(settings.home)
    except HomeError:
        yield _aside(settings.home / FILE)
        manifest = Manifest(key=fingerprint(load_key(settings.key_file)) if settings.key_file.exists() else "")
        manifest.save(settings.home)
    if (settings.home / JOURNAL).exists():
        try:
            read_journal(settings)
        except HomeError:
            yield _aside(settings.home / JOURNAL)
            yield "what was about to be published is published by the next run: persona run"
    yield from _warehouse(settings, manifest)
    if settings.published_file.exists() and not published_as_left(settings, manifest).passed:
        yield _aside(settings.published_file)
        manifest.published, manifest.digests = "", {}
        manifest.save(settings.home)
        yield "the published copy is made again by the next run: persona run"
    for file in (settings.mlflow_file, *sorted(settings.dagster_home.rglob("*.db"))):
        if file.exists() and database(file).next == REPAIR:
            yield _aside(file)
            yield (
                "runs and models are found no longer: train again (persona run)" if file.name == "mlflow.db" else "its run history is lost"
            )
    for finding in verify(settings):
        if not finding.passed and finding.file in SAVED:
            yield _aside(settings.home / finding.file)
        elif not finding.passed:
            yield f"left to do: {finding.file}: {finding.found}; {finding.next}"


def _warehouse(settings: Settings, manifest: Manifest) -> Iterator[str]:
    file = settings.warehouse_file
    try:
        require_as_left(settings, manifest)
        if file.exists():
            read_through(file, settings)
        return
    except (HomeError, WarehouseError) as error:
        yield str(error)
    for damaged in (journal_of(file), file):
        if damaged.exists():
            yield _aside(damaged)
    journal = settings.home / JOURNAL
    if journal.exists():
        yield _aside(journal)
    published = settings.published_file.exists() and published_as_left(settings, manifest).passed
    if published and manifest.published and _is_of_this_version(settings):
        copy_whole(settings.published_file, file)
        manifest.warehouse, manifest.being_written = digest_of(file), False
        yield f"{file.name} is the published copy again; days that came later are loaded by the next run: persona run"
    elif published and (kept := _with_history(settings)):
        manifest.warehouse, manifest.being_written = digest_of(file), False
        yield f"{file.name} has what no log has ({', '.join(kept)}); all else is made from the logs by the next run: persona run"
    else:
        manifest.warehouse, manifest.being_written = "", False
        yield f"{file.name} has to be made from the logs again: persona run"
    manifest.save(settings.home)


def _is_of_this_version(settings: Settings) -> bool:
    try:
        with Warehouse(settings.published_file, read_only=True) as store:
            require_version(store, settings)
    except WarehouseError:
        return False
    return True


def _with_history(settings: Settings) -> list[str]:
    """Make a new warehouse with the tables of the published copy that nothing makes again; their names.

    Of a table whose columns have changed those are taken that both versions have; one that lacks a column which has to have values is not.
    """
    kept = []
    with Warehouse(settings.published_file, read_only=True) as published, Warehouse(settings.warehouse_file) as store, store.transaction():
        for contract in (table for table in contracts.TABLES if table.history):
            columns = [name for name in contract.column_names if name in published.columns(contract)]
            if not columns or any(column.required and column.name not in columns for column in contract.columns):
                continue
            rows = published.frame(published.backend.table(contract.name, database=contract.schema).select(columns))
            store.ensure(contract)
            missing = {column.name: ibis.null(column.type) for column in contract.columns if column.name not in columns}
            store.append(contract, from_frame(rows).mutate(**missing))
            kept.append(contract.full_name)
    return kept


def _aside(file: Path) -> str:
    """Move a file aside, under a name that says when."""
    target = file.with_name(f"{file.name}.aside-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%S}")
    file.replace(target)
    return f"{file.name} is moved aside to {target.name}"
