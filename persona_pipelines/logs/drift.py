"""Columns and keys that no earlier file of a source had: what nobody maps is lost without a word, unless somebody says so."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from persona_pipelines.logs.files import LogFile
from persona_pipelines.logs.formats.lines import TextFile
from persona_pipelines.logs.paths import Key, parse
from persona_pipelines.settings import Source
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

SAMPLED = 200
OFTEN = 0.1
"""A key of fewer records of the sample is one that comes and goes."""


@dataclass(frozen=True)
class Names:
    """Of a file: the columns of its header, else the keys of its first records, down to the second level, that many of them have;
    and those that stand twice in a header or in one object."""

    known: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()


def names_in(columns: Sequence[str], text: TextFile | None) -> Names:
    """The names of a file with these ``columns`` in its header, or, without any, of the records in ``text``."""
    if columns or text is None:
        return Names(tuple(columns), tuple(sorted(name for name, count in Counter(columns).items() if count > 1)))
    batch = next(text.batches(), None)
    records = [] if batch is None else batch.column("record")[:SAMPLED].to_pylist()
    counts: Counter[str] = Counter()
    twice: set[str] = set()
    for record in records:
        known, repeated = _keys(record)
        counts.update(known)
        twice |= repeated
    return Names(tuple(sorted(name for name, count in counts.items() if count >= OFTEN * len(records))), tuple(sorted(twice)))


def _keys(record: str) -> tuple[set[str], set[str]]:
    """The keys of a document, those of objects in it behind a dot, and the keys that one object has twice."""
    twice: set[str] = set()

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            twice.update(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        return made

    try:
        document = json.loads(record, object_pairs_hook=object_of)
    except (ValueError, RecursionError):
        return set(), set()
    if not isinstance(document, dict):
        return set(), twice
    inner = {f"{key}.{name}" for key, value in document.items() if isinstance(value, dict) for name in value}
    return {*document, *inner}, twice


def told_twice(shown: str, names: Names) -> list[str]:
    """That a file has names twice, as a sentence."""
    return [
        f"{shown}: {name!r} stands twice in {'the header' if names.known.count(name) > 1 else 'one object'}: the first is read"
        for name in names.twice
    ]


def _mapped(source: Source) -> set[str]:
    """The names that a source reads, as ``Names.known`` has them."""
    found = set(source.paths())
    for path in source.paths():
        with contextlib.suppress(ValueError):
            steps = parse(path)
            keys = [step.name for step in itertools.takewhile(lambda step: isinstance(step, Key), steps[:2]) if isinstance(step, Key)]
            found |= {".".join(keys[:1]), ".".join(keys)}
    return found


def new_names(warehouse: Warehouse, source: Source, found: Sequence[tuple[LogFile, Names]]) -> list[str]:
    """What is new in each file against the files of the source that were read before it and is not mapped, and what stands twice in it, as
    sentences.

    Args:
        found: names by file, in the order in which the files are read.
    """
    shown = {file.shown for file, _ in found}
    files = warehouse.table(contracts.FILES)
    rows = warehouse.tuples(files.filter(files.source == source.name).select("source_file", "columns"))
    known = {name for file, names in rows if file not in shown and names for name in json.loads(names)}
    told, mapped = [], _mapped(source)
    for file, names in found:
        new = [name for name in names.known if name not in known and name not in mapped]
        if known and new:
            listed = ", ".join(repr(name) for name in new[:8]) + (" ..." if len(new) > 8 else "")
            told.append(
                f"{file.shown}: new {'column' if len(new) == 1 else 'columns'} {listed}: no file of {source.name} had it before; map it or leave it"
            )
        told += told_twice(file.shown, names)
        known.update(names.known)
    return told
