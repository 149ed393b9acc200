"""The warehouse: one DuckDB file, its connection, and writes that happen whole or not at all."""

from __future__ import annotations

import contextlib
import datetime as dt
import decimal
import json
import os
import re
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import ibis
import ibis.expr.operations as ops
import ibis.expr.types as ir
import orjson
import pyarrow as pa
from ibis.backends.duckdb import Backend

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import BLOCK_BYTES
from persona_pipelines.privacy.pseudonyms import PSEUDONYM_LENGTH, padded_keys
from persona_pipelines.warehouse.contracts.parts import Table
from persona_pipelines.warehouse.quoting import literal, quoted_name, quoted_table
from persona_pipelines.warehouse.zones import MACROS

if TYPE_CHECKING:
    import pandas as pd

DUCKDB_TYPES = {
    "string": "VARCHAR",
    "int64": "BIGINT",
    "float64": "DOUBLE",
    "timestamp": "TIMESTAMP",
    "date": "DATE",
    "boolean": "BOOLEAN",
}

EngineError = duckdb.Error
"""What the engine raises: a block that is damaged, a disk that is full, a query that is wrong."""

QUERIES = 512
"""Queries of this process, and expressions of a warehouse, that are kept for when they come again."""

LONG_NUMBER = re.compile(r"[0-9][0-9.]{15}|\.[0-9]+0(?![0-9])|NaN|Infinity")
"""Numbers that lose digits as doubles, or zeros at their end, and words that Python writes."""


def from_frame(frame: pd.DataFrame) -> ir.Table:
    """A pandas table as an expression; its NaN and None become null."""
    return ibis.memtable(pa.Table.from_pandas(frame, preserve_index=False))


class _Compiled(Backend):
    """Ibis' backend, which writes the query of an expression once: for features as of a day that takes longer than to answer it."""

    def compile(
        self, expr: ir.Expr, /, *, limit: int | None = None, params: Mapping[ir.Expr, Any] | None = None, pretty: bool = False
    ) -> str:
        asked = expr.op()
        # A query is the same for every connection. What reads rows of this process would keep them in memory, and never comes again.
        if limit is None and not params and not pretty and not asked.find(ops.InMemoryTable):
            return _query(asked)
        return super().compile(expr, limit=limit, params=params, pretty=pretty)


@lru_cache(maxsize=QUERIES)
def _query(asked: ops.Node) -> str:
    return Backend().compile(asked.to_expr())


class WarehouseError(ProjectError):
    """The warehouse cannot be used as asked; the message says what to do."""


class Warehouse:
    """A connection to a warehouse file, or to an empty one in memory.

    Args:
        file: the DuckDB file, or None for memory.
        key: the instance's key for pseudonyms; needed only where records are mapped.
        memory_limit: of the engine, which spills to disk beyond it.
    """

    def __init__(
        self, file: Path | None, key: bytes | None = None, *, read_only: bool = False, memory_limit: str = "4GB", threads: int = 2
    ) -> None:
        self.file = file
        self.written: set[str] = set()
        self._scratch: list[str] = []
        self._made = lru_cache(maxsize=QUERIES)(_made)
        self._known: dict[str, ir.Table] = {}
        """Expressions of the tables that are there: finding one anew takes longer than many a query. None is ever dropped."""
        self._descriptor: int | None = None
        if file is not None and not read_only:
            file.parent.mkdir(parents=True, exist_ok=True)
        configuration: dict[str, Any] = {"memory_limit": memory_limit, "threads": threads, "preserve_insertion_order": False}
        try:
            self.connection = duckdb.connect(str(file) if file else ":memory:", read_only=read_only, config=configuration)
        except duckdb.Error as error:
            raise WarehouseError(f"{file}: cannot be opened: {str(error).splitlines()[0]}") from None
        if file is None:
            # What a mapping compares with and a table in memory has not is folded away by its statistics, and the engine (2.0) then fails to
            # bind what is left: BindBuiltinScalarFunction did not return a BoundFunctionExpression.
            self.connection.execute("SET disabled_optimizers = 'statistics_propagation'")
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET enable_progress_bar = false")
        self.connection.execute("CREATE TEMP MACRO from_local_time(zone, moment) AS (timezone('UTC', timezone(zone, moment)))")
        self.connection.execute("CREATE TEMP MACRO to_local_time(zone, moment) AS (timezone(zone, timezone('UTC', moment)))")
        for signature, definition in MACROS.items():
            self.connection.execute(f"CREATE TEMP MACRO {signature} AS ({definition})")
        for name, meant in (("decode_url", "text"), ("decode_form", "replace(text, '+', ' ')")):
            self.connection.execute(
                f"CREATE TEMP MACRO {name}(text) AS (CASE WHEN contains(text, '%00') THEN text "
                f"WHEN contains(text, '%') THEN coalesce(TRY(url_decode({meant})), text) ELSE {meant} END)"
            )
        with contextlib.suppress(duckdb.CatalogException):  # another connection of this process to the same file has it already
            self.connection.create_function("canonical_json", _canonical_json, ["VARCHAR"], "VARCHAR", type="arrow")  # type: ignore[call-overload]
        if key is not None:
            inner, outer = (f"unhex('{padded.hex()}')" for padded in padded_keys(key))
            self.connection.execute(
                "CREATE TEMP MACRO pseudonym(identifier) AS "
                f"left(sha256({outer} || unhex(sha256({inner} || encode(identifier)))), {PSEUDONYM_LENGTH})"
            )
        self.backend = _Compiled.from_connection(self.connection)

    def close(self) -> None:
        self.connection.close()
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def blocks(self) -> Iterator[bytes]:
        """The bytes of the file as it stands, block by block; after a checkpoint that is all that is committed.

        The descriptor stays open as long as the connection: one that is closed takes from this process all its locks on the file, the
        engine's too (fcntl(2), POSIX), and another program could write into it.
        """
        assert self.file is not None
        if self._descriptor is None:
            self._descriptor = os.open(self.file, os.O_RDONLY)
        place = 0
        while block := os.pread(self._descriptor, BLOCK_BYTES, place):
            yield block
            place += len(block)

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def exists(self, contract: Table) -> bool:
        if contract.full_name in self._known:
            return True
        found = self.connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = ? AND table_name = ? AND database_name = current_database()",
            [contract.schema, contract.name],
        ).fetchall()
        return bool(found)

    def ensure(self, contract: Table) -> None:
        """Make a table ready to be written: create the table where it is missing, empty and with its columns described.

        Raises:
            WarehouseError: the table exists with other columns, as another version of the package wrote it.
        """
        self.written.add(contract.full_name)
        if self.exists(contract):
            self.require_columns(contract)
            return
        columns = ", ".join(
            f"{quoted_name(column.name)} {DUCKDB_TYPES[column.type]}{' NOT NULL' if column.required else ''}" for column in contract.columns
        )
        self.connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted_name(contract.schema)}")
        self.connection.execute(f"CREATE TABLE {quoted_table(contract.full_name)} ({columns})")
        self.connection.execute(f"COMMENT ON TABLE {quoted_table(contract.full_name)} IS {literal(contract.description)}")
        for column in contract.columns:
            self.connection.execute(
                f"COMMENT ON COLUMN {quoted_table(contract.full_name)}.{quoted_name(column.name)} IS {literal(column.description)}"
            )

    def is_outdated(self, contract: Table) -> bool:
        """Whether the table is there with other columns, as another version of the package wrote it."""
        return (found := self.columns(contract)) != [] and found != contract.column_names

    def drop(self, contract: Table) -> None:
        """Remove the table."""
        self.connection.execute(f"DROP TABLE IF EXISTS {quoted_table(contract.full_name)}")
        self._known.pop(contract.full_name, None)

    def require_columns(self, contract: Table) -> None:
        """Raises WarehouseError where the table is there with other columns, as another version of the package wrote it."""
        found = self.columns(contract)
        if self.is_outdated(contract):
            odd = [
                *(f"{name} too much" for name in found if name not in contract.column_names),
                *(f"{name} missing" for name in contract.column_names if name not in found),
            ]
            raise WarehouseError(
                f"{self.file}: written by another version: {contract.full_name} has other columns ({', '.join(odd) or 'in another order'})"
            )

    def columns(self, contract: Table) -> list[str]:
        """The names of the columns that a table has; none where it has not been written yet."""
        if not self.exists(contract):
            return []
        return [row[0] for row in self.connection.execute(f"DESCRIBE {quoted_table(contract.full_name)}").fetchall()]

    def table(self, contract: Table) -> ir.Table:
        """The table as an expression; an empty one where it has not been written yet."""
        if not self.exists(contract):
            return ibis.memtable([], schema=ibis.schema({column.name: column.type for column in contract.columns}))
        if contract.full_name not in self._known:
            found = self.backend.table(contract.name, database=contract.schema).op()
            # A union refuses columns that differ in being nullable only, which says nothing to a query.
            schema = ibis.schema({name: kind.copy(nullable=True) for name, kind in found.schema.items()})
            self._known[contract.full_name] = found.copy(schema=schema).to_expr()
        return self._known[contract.full_name]

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none."""
        self.connection.execute("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            self._known.clear()  # a table that was made inside is gone
            # The engine may have rolled back already, or the database may be gone: the first error is the one to see.
            with contextlib.suppress(duckdb.Error):
                self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        # What is told as done stands in the file itself: a journal beside it may be lost or cut.
        self.checkpoint()

    def checkpoint(self) -> None:
        """Write all that is committed into the file, so that nothing waits in the journal."""
        if self.file is not None:
            self.connection.execute("CHECKPOINT")

    def counts(self) -> dict[str, int]:
        """Rows of every table in the file by its full name, in their order.

        Raises:
            WarehouseError: the file is damaged.
        """
        tables = self._read(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE NOT internal AND NOT temporary AND database_name = current_database() ORDER BY ALL",
            "the list of its tables",
        )
        names = [f"{schema}.{name}" for schema, name in tables]
        return {name: int(self._read(f"SELECT count(*) FROM {quoted_table(name)}", name)[0][0]) for name in names}

    def digest(self, full_name: str) -> tuple[int, str]:
        """Rows of a table, and a digest of them whatever their order; every block of the table is read for it.

        Raises:
            WarehouseError: a block is damaged.
        """
        query = f"SELECT count(*), bit_xor(hash(stored)), sum(hash(stored)) FROM {quoted_table(full_name)} AS stored"
        ((rows, exclusive, total),) = self._read(query, full_name)
        return int(rows), f"{exclusive or 0:x}-{total or 0:x}"

    def _read(self, query: str, what: str) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(query).fetchall()
        except duckdb.Error as error:
            raise WarehouseError(f"{self.file}: {what} cannot be read: {str(error).splitlines()[0]}") from None

    def sql(self, expression: ir.Table) -> str:
        """The query of an expression, for this connection; tables in memory that it reads are made known to the engine."""
        self.backend._register_in_memory_tables(expression)
        return self.backend.compile(expression)

    def append(self, contract: Table, expression: ir.Table) -> None:
        """Add the rows of an expression, cast to the contract's types."""
        self.written.add(contract.full_name)
        rows = expression.select(**{column.name: expression[column.name].cast(column.type) for column in contract.columns})
        self.connection.execute(f"INSERT INTO {quoted_table(contract.full_name)} BY NAME {self.sql(rows)}")

    def replace(self, contract: Table, expression: ir.Table) -> None:
        """Put the rows of an expression in place of all rows. Call inside a transaction."""
        self.ensure(contract)
        if not _reads(expression, contract):
            self.connection.execute(f"DELETE FROM {quoted_table(contract.full_name)}")
            self.append(contract, expression)
            return
        with self.scratch():
            replacement = self.keep("replacement", expression)
            self.connection.execute(f"DELETE FROM {quoted_table(contract.full_name)}")
            self.append(contract, replacement)

    def delete_days(self, contract: Table, first: dt.date, last: dt.date) -> None:
        self.ensure(contract)
        self.connection.execute(f"DELETE FROM {quoted_table(contract.full_name)} WHERE day BETWEEN ? AND ?", [first, last])

    def clear(self, contract: Table) -> None:
        """Delete all rows."""
        self.ensure(contract)
        self.connection.execute(f"DELETE FROM {quoted_table(contract.full_name)}")

    def delete_where(self, contract: Table, **equal: str) -> None:
        """Delete the rows whose columns have these values."""
        self.ensure(contract)
        condition = " AND ".join(f"{quoted_name(column)} = ?" for column in equal)
        self.connection.execute(f"DELETE FROM {quoted_table(contract.full_name)} WHERE {condition}", list(equal.values()))

    def delete_matching(self, contract: Table, rows: ir.Table, on: str) -> None:
        """Delete the rows whose column ``on`` has a value that stands in the same column of ``rows``."""
        self.ensure(contract)
        self.connection.execute(f"DELETE FROM {quoted_table(contract.full_name)} WHERE {quoted_name(on)} IN ({self.sql(rows.select(on))})")

    def once(self, make: Callable[..., ir.Table], *tables: ir.Table, **options: Hashable) -> ir.Table:
        """The expression that a function makes of tables, put together once for as long as they are the same: with tables that are kept
        under the same names, day by day, it is the same for every day."""
        return self._made(make, tuple(table.op() for table in tables), tuple(options.items()))

    @contextmanager
    def scratch(self) -> Iterator[None]:
        """What is kept inside the block is gone after it."""
        outside, self._scratch = self._scratch, []
        try:
            yield
        finally:
            inside, self._scratch = self._scratch, outside
            with contextlib.suppress(duckdb.Error):  # a transaction that failed takes no command, and has undone what was made in it
                self.drop_kept(*inside)

    def keep(self, name: str, expression: ir.Table) -> ir.Table:
        """Compute an expression once, as a temporary table of this connection."""
        self.connection.execute(f"CREATE OR REPLACE TEMP TABLE {quoted_name(name)} AS {self.sql(expression)}")
        self._scratch.append(name)
        return self.kept(name)

    def keep_more(self, name: str, expression: ir.Table) -> None:
        """Add rows to what is kept under a name, or begin with them."""
        if self.is_kept(name):
            self.connection.execute(f"INSERT INTO temp.main.{quoted_name(name)} BY NAME {self.sql(expression)}")
        else:
            self.keep(name, expression)

    def is_kept(self, name: str) -> bool:
        found = self.connection.execute("SELECT count(*) FROM duckdb_tables() WHERE temporary AND table_name = ?", [name]).fetchall()
        return bool(found[0][0])

    @contextmanager
    def records(self, query: str, lines: pa.RecordBatchReader | None = None) -> Iterator[ir.Table]:
        """What the query of a reader of log files gives, for the length of a block; it may read ``lines`` once."""
        if lines is not None:
            self.connection.register("lines", lines)
        self.connection.execute(f'CREATE OR REPLACE TEMP VIEW "records" AS {query}')
        yield self.kept("records")
        self.connection.execute('DROP VIEW "records"')
        if lines is not None:
            self.connection.unregister("lines")

    def kept(self, name: str) -> ir.Table:
        return self.backend.table(name, database=("temp", "main"))

    def drop_kept(self, *names: str) -> None:
        for name in names:
            self.connection.execute(f"DROP TABLE IF EXISTS temp.main.{quoted_name(name)}")

    def frame(self, expression: ir.Expr) -> pd.DataFrame:
        return expression.to_pandas() if isinstance(expression, ir.Table) else expression.as_table().to_pandas()

    def tuples(self, expression: ir.Table) -> list[tuple[Any, ...]]:
        """The rows of an expression, as plain Python values."""
        return self.connection.execute(self.sql(expression)).fetchall()

    def row(self, expression: ir.Table) -> tuple[Any, ...]:
        """The only row of an expression, as plain Python values."""
        return self.tuples(expression)[0]

    def value(self, expression: ir.Scalar) -> Any:
        """One number or text, as a plain Python value; None for null."""
        return self.row(expression.as_table())[0]

    def rows(self, contract: Table) -> int:
        """How many rows a table has; 0 where it has not been written yet."""
        return int(self.value(self.table(contract).count()))


def _made(make: Callable[..., ir.Table], tables: tuple[ops.Relation, ...], options: tuple[tuple[str, Hashable], ...]) -> ir.Table:
    return make(*(table.to_expr() for table in tables), **dict(options))


def _canonical_json(texts: pa.Array) -> pa.Array:
    """JSON texts with sorted keys and without blanks, so that the same fields in another order are the same text.

    Numbers that a double cannot hold keep their digits; what is no JSON stays as it is.
    """
    return pa.array([_canonical(text) for text in texts.to_pylist()], pa.string())


def _canonical(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        if not LONG_NUMBER.search(text):
            return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS).decode()
        return json.dumps(json.loads(text, parse_float=decimal.Decimal), sort_keys=True, default=lambda number: {"number": str(number)})
    except (ValueError, RecursionError, orjson.JSONEncodeError):
        return text


def _reads(expression: ir.Table, contract: Table) -> bool:
    """Whether an expression is made from a table: its rows have to be computed before those of the table are gone."""
    return any(
        (table.name, table.namespace.database) == (contract.name, contract.schema) for table in expression.op().find(ops.DatabaseTable)
    )
