"""How a text of fields between delimiters is laid out: by which delimiter, where its header stands, what is around its records."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

DELIMITERS = (",", ";", "\t", "|")
COMMENT = "#"
FEW = 0.1
"""Share of the lines, and one in any case, that no setting is made for: they are rejects."""


@dataclass(frozen=True)
class _Line:
    """``cells``: how many there are; ``filled``: how many up to the last one that is not blank."""

    number: int
    text: str
    cells: int
    filled: int


@dataclass(frozen=True)
class _Fit:
    """Lines taken apart by a delimiter, those from the header on first; ``share``: of all lines, how many have the header's cells."""

    delimiter: str
    header: _Line
    records: list[_Line]
    share: float


def layout_of(text: str) -> dict[str, Any]:
    """Settings of ``format: {type: csv}`` that differ from their defaults: those by which most lines have as many cells as the header.

    Args:
        text: the first lines of a file, each ended by a line feed.
    """
    text = text.lstrip("\ufeff")
    said = re.match(r'"?sep=(.)"?\n', text)  # Excel's word on the delimiter, before the header
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line and not (said and number == 1)]
    fits = [fit for delimiter in ([said[1]] if said else DELIMITERS) if (fit := _fit(lines, delimiter)) is not None]
    if not fits:
        return ({"delimiter": said[1]} if said and said[1] != "," else {}) | ({"skip_lines": 1} if said else {})
    best = max(fits, key=lambda fit: (fit.share, fit.header.cells))
    found: dict[str, Any] = {} if best.delimiter == "," else {"delimiter": best.delimiter}
    before = [line for number, line in lines if number < best.header.number]
    few = max(1, FEW * len(best.records))
    marked = sum(line.text.startswith(COMMENT) for line in best.records)
    if before and all(line.startswith(COMMENT) for line in before) and not best.header.text.startswith(COMMENT) and marked <= few:
        found["comment"] = COMMENT
    elif before or said:
        found["skip_lines"] = best.header.number - 1
    if any(line.cells > best.header.cells >= line.filled for line in best.records):
        found["further_columns"] = "ignore"
    if sum(1 < line.cells < best.header.cells for line in best.records) > few:
        found["missing_columns"] = "empty"
    return found


def _fit(lines: list[tuple[int, str]], delimiter: str) -> _Fit | None:
    """None where the delimiter parts no line."""
    apart = [_Line(number, line, *_counted(line, delimiter)) for number, line in lines]
    usual = Counter(line.filled for line in apart if line.filled > 1).most_common(1)
    if not usual:
        return None
    place = next(place for place, line in enumerate(apart) if line.filled >= usual[0][0])
    header, records = apart[place], apart[place + 1 :]
    fitting = 1 + sum(line.filled <= header.cells <= line.cells for line in records)
    return _Fit(delimiter, header, records, fitting / len(apart))


def _counted(line: str, delimiter: str) -> tuple[int, int]:
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return 0, 0
    return len(cells), max((place for place, cell in enumerate(cells, start=1) if cell.strip()), default=0)
