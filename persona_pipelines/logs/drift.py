"""Columns and keys that no earlier file of a source had: what nobody maps is lost without a word, unless somebody says so."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import orjson

from persona_pipelines.logs.files import LogFile
from persona_pipelines.logs.formats.lines import TextFile
from persona_pipelines.warehouse.connection import Warehouse

SAMPLED = 200
OFTEN = 0.1
"""A key of fewer records of the sample is one that comes and goes."""


def names_in(columns: Sequence[str], text: TextFile | None) -> list[str]:
    """The columns of a file's header; else the keys of its first records, down to the second level, that many of them have."""
    if columns or text is None:
        return list(columns)
    batch = next(text.batches(), None)
    records = [] if batch is None else batch.column("record")[:SAMPLED].to_pylist()
    counts = Counter(name for record in records for name in _keys(record))
    return sorted(name for name, count in counts.items() if count >= OFTEN * len(records))


def _keys(record: str) -> set[str]:
    try:
        document: Any = orjson.loads(record)
    except orjson.JSONDecodeError:
        return set()
    if not isinstance(document, dict):
        return set()
    inner = {f"{key}.{name}" for key, value in document.items() if isinstance(value, dict) for name in value}
    return {*document, *inner}


def new_names(warehouse: Warehouse, source: str, found: Sequence[tuple[LogFile, Sequence[str]]]) -> list[str]:
    """What is new in each file against the files of the source that were read before it, as sentences.

    Args:
        found: names by file, in the order in which the files are read.
    """
    shown = {file.shown for file, _ in found}
    rows = warehouse.connection.execute("SELECT source_file, columns FROM logs.files WHERE source = ?", [source]).fetchall()
    known = {name for file, names in rows if file not in shown and names for name in json.loads(names)}
    told = []
    for file, names in found:
        new = [name for name in names if name not in known]
        if known and new:
            listed = ", ".join(repr(name) for name in new[:8]) + (" ..." if len(new) > 8 else "")
            told.append(
                f"{file.shown}: new {'column' if len(new) == 1 else 'columns'} {listed}: no file of {source} had it before; map it or leave it"
            )
        known.update(names)
    return told
