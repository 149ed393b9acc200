"""The contract of a table held against the table as written."""

from __future__ import annotations

import ibis.expr.types as ir

from persona_pipelines.findings import Finding
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

TOLERANCE = 1e-9
"""Shares are quotients of floating point numbers: a hair beyond the bound is no breach."""


def keeps_contract(warehouse: Warehouse, contract: contracts.Table) -> Finding:
    """Types, keys, nulls, bounds and references of a table."""
    table = warehouse.table(contract)
    other = [column.name for column in contract.columns if column.name not in table.columns or not _is_of(table[column.name], column.type)]
    if other or len(table.columns) != len(contract.columns):
        columns = ", ".join(f"{name} {kind}" for name, kind in table.schema().items())
        return Finding(False, f"found the columns {columns}; expected {', '.join(f'{c.name} {c.type}' for c in contract.columns)}")
    measures: dict[str, ir.IntegerScalar] = {"rows": table.count()}
    for column in contract.columns:
        values = table[column.name]
        if column.required:
            measures[f"{column.name} missing"] = values.isnull().sum()
        for bound, outside in ((column.minimum, values < column.minimum), (column.maximum, values > column.maximum)):
            if bound is not None:
                beyond = outside & ((values - bound).abs() > TOLERANCE)
                measures[f"{column.name} out of bounds"] = measures.get(f"{column.name} out of bounds", 0) + beyond.fill_null(False).sum()
        if column.type == "float64":
            measures[f"{column.name} not a finite number"] = (values.isnan() | values.isinf()).fill_null(False).sum()
    found = dict(zip(measures, warehouse.row(table.aggregate(**measures)), strict=True))
    rows = int(found.pop("rows"))
    broken = {name: int(count) for name, count in found.items() if count}
    distinct = int(warehouse.value(table.select(*contract.key).distinct().count()))
    if distinct != rows:
        broken[f"rows that share {', '.join(contract.key)} with another"] = rows - distinct
    for name, (schema, target, key) in contract.references.items():
        known = warehouse.table(contracts.table(f"{schema}.{target}"))
        lost = table.filter(table[name].notnull()).anti_join(known, table[name] == known[key])
        if count := int(warehouse.value(lost.count())):
            broken[f"{name} that {schema}.{target} does not have"] = count
    words = ", ".join(f"{count} {name}" for name, count in broken.items())
    return Finding(not broken, words or None, {"rows": rows, **broken})


def _is_of(column: ir.Value, kind: str) -> bool:
    found = column.type()
    return {
        "string": found.is_string,
        "int64": found.is_integer,
        "float64": found.is_floating,
        "timestamp": found.is_timestamp,
        "date": found.is_date,
        "boolean": found.is_boolean,
    }[kind]()
