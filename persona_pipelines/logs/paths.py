"""Paths to a field of a record: ``user.id``, ``items[0].price``, ``items[-1].id``, ``params[key=page].value``, ``tags[*]``, ``"a.b".c``.

>>> parse('items[key=page].value."string.value"')
(Key(name='items'), Match(key='key', value='page'), Key(name='value'), Key(name='string.value'))
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Key:
    name: str


@dataclass(frozen=True)
class Index:
    """A position in a list, from 0; from the end where negative."""

    number: int


@dataclass(frozen=True)
class Match:
    """The first element of a list whose ``key`` has the value."""

    key: str
    value: str


@dataclass(frozen=True)
class Every:
    """All elements of a list; their texts are joined by ``|``."""


Step = Key | Index | Match | Every
_STEP = re.compile(r'"((?:[^"]|"")*)"|([^.\[\]"]+)|\[(-?\d+)\]|\[(\*)\]|\[([^=\]]+)=("(?:[^"]|"")*"|[^\]]*)\]')


@lru_cache(maxsize=4096)
def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path.

    Raises:
        ValueError: it is no path; the message says where.
    """
    if not path:
        raise ValueError("'': no path; expected the name of a field")
    steps: list[Step] = []
    position = 0
    while position < len(path):
        if path[position] == "." and steps and position + 1 < len(path) and path[position + 1] != "[":
            position += 1
        elif steps and path[position] != "[":
            raise ValueError(f"{path!r}: not a path at character {position + 1}; expected a dot or a bracket")
        match = _STEP.match(path, position)
        if match is None:
            raise ValueError(
                f'{path!r}: not a path at character {position + 1}; expected such as user.id, items[0].id, items[key=name].value, "a.b"'
            )
        quoted, plain, number, every, key, value = match.groups()
        if quoted is not None:
            steps.append(Key(quoted.replace('""', '"')))
        elif plain is not None:
            steps.append(Key(plain))
        elif number is not None:
            steps.append(Index(int(number)))
        elif every is not None:
            steps.append(Every())
        else:
            text = value[1:-1].replace('""', '"') if value.startswith('"') else value
            steps.append(Match(key.strip().strip('"'), text))
        position = match.end()
    return tuple(steps)
