"""Tables as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import duckdb
import ibis.expr.types as ir

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import as_asked_for, replacing
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.contracts.parts import Table
from persona_pipelines.warehouse.quoting import literal

FORMULA_STARTS = r"^[\s\x00\xa0\u3000\ufeff]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n\x00]"
"""What spreadsheet programs take for the start of a formula: also behind blanks, and in full width."""
_FORMULA_OF_THE_ENGINE = re.sub(r"\\[ux]([0-9a-f]{2,4})", r"\\x{\1}", FORMULA_STARTS)


class ExportError(ProjectError):
    """The file cannot be written; the message says why."""


def export_table(warehouse: Warehouse, contract: Table, file: Path, *, guard: bool = True) -> int:
    """Write a table ordered by its key; returns the number of rows. The file appears whole or not at all.

    In CSV, text that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP advises, unless ``guard`` is
    false. Keys and ids are never touched: tables are joined by them again.

    Raises:
        ExportError: neither .csv nor .parquet, the table is missing, or the file cannot be written.
    """
    if not warehouse.exists(contract):
        raise ExportError(f"{contract.full_name} has not been written yet; first: persona run")
    return export_rows(warehouse, warehouse.table(contract), list(contract.key), file, guard=guard)


def disarmed(text: str) -> str:
    """A text for a cell of a CSV file: one that a spreadsheet would take for a formula gets an apostrophe before it, as OWASP advises."""
    return f"'{text}" if re.search(FORMULA_STARTS, text) else text


def export_rows(
    warehouse: Warehouse,
    table: ir.Table,
    order: list[str],
    file: Path,
    *,
    guard: bool = True,
    leave_out: Sequence[str] = (),
    private: bool = False,
) -> int:
    """Write the rows of an expression, ordered by columns, as ``export_table`` does.

    Args:
        leave_out: columns that are there for the order alone.
        private: whether only the owner may read the file.
    Raises:
        ExportError: neither .csv nor .parquet, or the file cannot be written.
    """
    if file.suffix.lower() not in (".csv", ".parquet"):
        raise ExportError(f"{file}: found the ending {file.suffix!r}; expected .csv or .parquet")
    csv = file.suffix.lower() == ".csv"
    if csv and guard:
        texts = [name for name, kind in table.schema().items() if kind.is_string() and name not in order and not name.endswith("_id")]
        table = table.mutate(
            **{name: (table[name].re_search(_FORMULA_OF_THE_ENGINE)).ifelse("'" + table[name], table[name]) for name in texts}
        )
    options = "FORMAT csv, HEADER true" if csv else "FORMAT parquet"
    if not file.parent.is_dir():
        raise ExportError(f"{file}: cannot be written: there is no folder {file.parent}")
    try:
        with replacing(file) as waiting:
            ordered = table.order_by(order).drop(*leave_out)
            warehouse.connection.execute(f"COPY ({warehouse.sql(ordered)}) TO {literal(str(waiting))} ({options})")
            if private:
                waiting.chmod(0o600)
    except (duckdb.Error, OSError) as error:
        raise ExportError(f"{file}: cannot be written: {as_asked_for(str(error).splitlines()[0])}") from None
    return int(warehouse.value(table.count()))
