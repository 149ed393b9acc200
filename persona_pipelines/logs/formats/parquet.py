"""Parquet files: columns are read as text, so that one mapping and one validation serve all formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from persona_pipelines.logs.formats.text import HeaderError, literal


def quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def parquet(fields: Sequence[str], path: Path, columns: Sequence[str]) -> str:
    """A DuckDB query over one file, with ``source_line``, ``record``, ``problem`` and the fields as ``formats.text`` gives them. A field may be a path into structs."""
    expressions = []
    for name in fields:
        parts = [name] if name in columns else name.split(".")
        if parts[0] not in columns:
            raise HeaderError(f"column {name!r} not found; found {', '.join(columns)}")
        expressions.append(f"nullif(trim({'.'.join(quoted_name(part) for part in parts)}::VARCHAR), '')")
    selected = "".join(f", {expression} AS field_{number}" for number, expression in enumerate(expressions))
    record = "to_json(struct_pack(" + ", ".join(f"{quoted_name(name)} := {quoted_name(name)}" for name in columns) + "))::VARCHAR"
    return (
        f"SELECT file_row_number + 1 AS source_line, {record} AS record, "
        f"CAST(NULL AS VARCHAR) AS problem{selected} FROM read_parquet({literal(str(path))}, file_row_number = true)"
    )
