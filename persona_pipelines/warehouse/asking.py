"""Questions to the published tables in SQL, which can read them and nothing else."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import duckdb

from persona_pipelines.errors import ProjectError
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.quoting import literal

READS = "SELECT, WITH, FROM, VALUES, DESCRIBE, SHOW or SUMMARIZE"
NAMES = {"MULTI": "PIVOT or several statements in one", "LOAD": "INSTALL or LOAD", "SET": "SET or USE", "CALL": "CALL or CHECKPOINT"}
"""What people write where the engine calls it otherwise."""


class QueryError(ProjectError):
    """The query cannot be answered; the message says what stands in the way, and the engine's words point at the place."""

    several_lines = True


def ask(store: Warehouse, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The columns and rows of one query that reads; tables may stand without their schema.

    Files, other databases and the connection's own settings are out of its reach, from here on for whoever uses the connection.

    Raises:
        QueryError: it is none or several, does anything but read, reaches for a file, or the engine refuses it.
    """
    try:
        statements = store.connection.extract_statements(query)
    except duckdb.Error as error:
        hints = [f'\n{word} is a word of SQL: as the name of a column write "{word}", in double quotes' for word in _unquoted(store, query)]
        raise QueryError(_words(error) + "".join(hints)) from None
    if len(statements) != 1:
        raise QueryError(f"found {len(statements) or 'no'} statements; expected one query that reads ({READS})")
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        raise QueryError(
            f"found {NAMES.get(kind.name, kind.name.replace('_', ' '))}; expected one query that reads ({READS}): the published tables are "
            "changed by persona run alone, and persona export writes them to files"
        )
    there = {table.partition(".")[0] for table in store.counts()}
    store.connection.execute(f"SET search_path = {literal(','.join(schema for schema in contracts.ROOMS if schema in there))}")
    store.connection.execute("SET enable_external_access = false")
    store.connection.execute("SET lock_configuration = true")
    try:
        found = store.connection.execute(query)
        columns = [name for name, *_ in found.description or ()]
        rows = found.fetchall()
    except duckdb.PermissionException as error:
        raise QueryError(f"{_words(error)}\na query reads the published tables alone, no files and no other database") from None
    except duckdb.Error as error:
        raise QueryError(_words(error)) from None
    double = [name for name, times in Counter(columns).items() if times > 1]
    if double:
        raise QueryError(
            f"found {double[0]} as the name of {Counter(columns)[double[0]]} columns; expected a name for each: ... AS other_name"
        )
    return columns, rows


def _unquoted(store: Warehouse, query: str) -> list[str]:
    """Columns of the tables that have the name of a reserved word, and stand in a query that cannot be parsed without the quotes that they need.

    A word is one of them where the parser gets further with quotes around it, which CASE WHEN does not.
    """
    reserved = store.connection.execute(
        "SELECT DISTINCT column_name FROM duckdb_columns() WHERE NOT internal AND lower(column_name) IN "
        "(SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category IN ('reserved', 'type_function'))"
    ).fetchall()
    names = {name.lower(): name for (name,) in reserved}
    text = query.encode()  # the engine counts in bytes
    found: list[str] = []
    with duckdb.connect() as parser:
        parser.execute("SET errors_as_json = true")
        stopped = _stopped(parser, text)
        while stopped is not None:
            keywords = [start for start, kind in duckdb.tokenize(text.decode()) if kind == duckdb.token_type.keyword and start <= stopped]
            words = [(start, word) for start in keywords if (word := names.get(_word(text, start)))]
            if not words:
                break
            start, word = words[-1]
            quoted = text[:start] + f'"{word}"'.encode() + text[start + len(word) :]
            further = _stopped(parser, quoted)
            if further is not None and further <= stopped + len('""'):
                break
            text, stopped = quoted, further
            found.append(word)
    return list(dict.fromkeys(found))


def _word(text: bytes, start: int) -> str:
    return re.split(rb"\W", text[start:], maxsplit=1)[0].decode().lower()


def _stopped(parser: duckdb.DuckDBPyConnection, text: bytes) -> int | None:
    """The byte at which the parser does not go on; None where it comes to the end."""
    try:
        parser.extract_statements(text.decode())
    except duckdb.Error as error:
        position = re.search(r'"position":"([0-9]+)"', str(error))
        return int(position[1]) if position else 0
    return None


def _words(error: duckdb.Error) -> str:
    return str(error).strip().replace("\n\n", "\n")
