"""Dagster's event log in SQLite, with the events of many partitions in one transaction, and its statements compiled once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import Any

import dagster as dg
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from sqlalchemy import NullPool, create_engine, event
from sqlalchemy.engine import Connection, Engine

from persona_pipelines.orchestration.storages import BelowDagsterHome

BATCH_SIZE = 500
"""Events that Dagster hands over at once (its DAGSTER_EVENT_BATCH_SIZE)."""
BUSY_SECONDS = 30.0
"""For how long a transaction waits for those of other processes."""


class BatchedEventLog(BelowDagsterHome, SqliteEventLogStorage):
    """Dagster's own event log in SQLite, which writes a batch of events of assets in two transactions instead of three for each event.

    A run over 42 days of ten sources has nearly a thousand events of partitions. The files are those of ``SqliteEventLogStorage``, which
    can read and go on with them.
    """

    FOLDER = "history/runs"

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A transaction on a file, as Dagster's own; that one makes an engine each time, which compiles each statement anew."""
        with self._db_lock:
            engine = _engine(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def has_table(self, table_name: str) -> bool:
        engine = _engine(self.conn_string_for_shard(INDEX_SHARD_NAME))
        with engine.connect() as connection:
            return bool(engine.dialect.has_table(connection, table_name))

    def store_event_batch(self, events: Sequence[Any]) -> None:
        """Store events in their order: in the file of the run, and those of assets in the index over all runs, too."""
        for (run_id, of_asset), part in itertools.groupby(events, key=lambda event: (event.run_id, _is_of_asset(event))):
            if of_asset:
                self._store_asset_events(run_id, list(part))
            else:
                super().store_event_batch(list(part))

    def _store_asset_events(self, run_id: str, events: Sequence[Any]) -> None:
        statements = [self.prepare_insert_event(event) for event in events]
        with self.run_connection(run_id) as connection:
            for statement in statements:
                connection.execute(statement)
        newest = {event.get_dagster_event().asset_key: number for number, event in enumerate(events)}
        with self.index_transaction() as connection:
            ids = [_stored(connection, statement) for statement in statements]
            self._store_asset_event_tags(connection, events, ids)
            for number in newest.values():  # of an asset the index keeps its last event
                self._store_asset_event(connection, events[number], ids[number])


@lru_cache(maxsize=64)
def _engine(address: str) -> Engine:
    """Without connections of its own: a file is held no longer than a transaction takes.

    The files have a write-ahead log: without waiting for the disk at each event nothing is lost when a process dies, and the last events
    alone when the machine does.
    """
    engine = create_engine(address, poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = NORMAL"))
    return engine


@contextmanager
def held_open(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Hold the files that a run writes its events into open, without a lock on them.

    Where the last connection to a file is closed, its write-ahead log is written into it: to wait for the disk at each event takes longer
    than the events.
    """
    log = instance.event_log_storage
    with ExitStack() as held:
        for shard in (INDEX_SHARD_NAME, run_id):
            if isinstance(log, BatchedEventLog):
                with log._connect(shard):  # makes the file where there is none
                    pass
                connection = held.enter_context(_engine(log.conn_string_for_shard(shard)).connect())
                connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").all()  # SQLite opens a file when it reads of it
        yield


def _is_of_asset(event: Any) -> bool:
    return event.is_dagster_event and event.dagster_event_type in ASSET_EVENTS


def _stored(connection: Connection, statement: Any) -> int:
    """Insert a row; the number that the table gave it."""
    key = connection.execute(statement).inserted_primary_key
    assert key is not None
    return int(key[0])
