"""What goes wrong with logs: broken records of every kind, as bytes of a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

Spoiler = Callable[[np.random.Generator, str], bytes]


def _cut(generator: np.random.Generator, line: str) -> bytes:
    return line[: max(3, int(len(line) * generator.uniform(0.2, 0.7)))].encode()


def _invalid_utf8(generator: np.random.Generator, line: str) -> bytes:
    raw = line.encode()
    place = int(generator.integers(1, len(raw)))
    return raw[:place] + b"\xff\xfe" + raw[place:]


def _nul(generator: np.random.Generator, line: str) -> bytes:
    raw = line.encode()
    place = int(generator.integers(1, len(raw)))
    return raw[:place] + b"\x00" + raw[place:]


def _changed(**changes: Any) -> Spoiler:
    """A JSON record with some of its paths (``a__b``) set to a value, or removed where the value is None."""

    def spoil(_: np.random.Generator, line: str) -> bytes:
        record = json.loads(line)
        for path, value in changes.items():
            target = record
            *parents, last = path.split("__")
            for parent in parents:
                target = target.setdefault(parent, {})
            if value is None:
                target.pop(last, None)
            else:
                target[last] = value
        return json.dumps(record).encode()

    return spoil


def _column(number: int, value: str) -> Spoiler:
    """A CSV record with one column set to a value."""

    def spoil(_: np.random.Generator, line: str) -> bytes:
        cells = line.split(",")
        cells[number] = value
        return ",".join(cells).encode()

    return spoil


def _extra_column(_: np.random.Generator, line: str) -> bytes:
    return f"{line},surplus".encode()


LINE: dict[str, Spoiler] = {"cut off": _cut, "invalid UTF-8": _invalid_utf8, "NUL byte": _nul}

SPOILERS: dict[str, dict[str, Spoiler]] = {
    "web": LINE,
    "clickstream": {
        **LINE,
        "impossible date": _changed(time="2025-02-30T25:61:00Z"),
        "missing time": _changed(time=None),
        "unknown event type": _changed(event="teleport"),
        "negative dwell": _changed(page__dwell_ms=-500),
        "wrong type": _changed(page__dwell_ms="a while"),
        "nobody": _changed(user__id=None, user__cookie=None),
        "time in the far future": _changed(time="2199-01-01T00:00:00Z"),
        "scrolled too far": _changed(page__scroll_pct=250),
    },
    "orders": {
        "invalid UTF-8": _invalid_utf8,
        "NUL byte": _nul,
        "surplus column": _extra_column,
        "wrong type": _column(6, "free"),
        "impossible date": _column(2, "31.02.2025 10:00"),
        "unclosed quote": _column(1, '"u000001'),
        "infinite price": _column(6, "1e999"),
    },
    "ratings": {
        "wrong type": _column(2, "good"),
        "missing user": _column(0, ""),
        "impossible date": _column(3, "-5"),
        "surplus column": _extra_column,
    },
    "social": {**LINE, "unknown event type": _changed(action="poke"), "missing time": _changed(at=None)},
    "email": {"unknown event type": _column(3, "bounced"), "missing user": _column(2, ""), "impossible date": _column(1, "yesterday")},
}
