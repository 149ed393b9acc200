"""Conditions over profiles and features, as people write them: ``segment = "Night owls" and churn_probability > 0.4``."""

from __future__ import annotations

import datetime as dt
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import ibis
import ibis.expr.types as ir

from persona_pipelines.errors import ProjectError
from persona_pipelines.settings import Settings
from persona_pipelines.settings.sources import COLUMN_TYPES
from persona_pipelines.suggestions import suggestion
from persona_pipelines.warehouse import contracts, functions

TYPES = {column.name: column.type for table in (contracts.USER_FEATURES, contracts.USER_PROFILES) for column in table.columns}
"""Of the columns that conditions may ask for."""
SHORT = {"segment": "segment_name"}
"""Names that may stand for a column."""
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"[^"]*"|'[^']*')|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<operator><=|>=|<>|!=|=|<|>)|(?P<mark>[(),])|(?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)?))"""
)
OPERATORS = ("=", "!=", "<", "<=", ">", ">=")


LONGEST, DEEPEST = 20_000, 40
"""Of a condition: characters, and parentheses within each other."""


class ConditionError(ProjectError):
    """The condition cannot be read; the message says where and what is expected."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    place: int


def inner_columns(settings: Settings) -> dict[str, str]:
    """Types by name of what conditions may ask for inside of profiles: ``attributes.NAME`` and ``targets.NAME``."""
    attributes = {f"attributes.{name}": COLUMN_TYPES[kind] for name, kind in settings.attributes_of("users").items()}
    return attributes | {f"targets.{target.name}": "float64" for target in settings.predictions.targets}


def matching(
    profiles: ir.Table,
    condition: str,
    inner: Mapping[str, str] | None = None,
    features: ir.Table | None = None,
    segments: Collection[str] = (),
) -> ir.Table:
    """The rows of ``contracts.USER_PROFILES`` that meet a condition.

    ``and`` binds more tightly than ``or``; parentheses group; ``not`` negates; ``column in (a, b)`` is one of; ``column is missing``
    is null. Texts stand in quotes. A comparison with a missing value is not met. Nothing of the condition ever becomes SQL text.

    Args:
        inner: ``inner_columns`` of the configuration.
        features: ``contracts.USER_FEATURES``, whose columns conditions may ask for, too.
        segments: the names that ``segment_name`` may be compared with; none for any.
    Raises:
        ConditionError: it cannot be read, or names a column or a segment that there is not.
    """
    columns = profiles.columns
    if features is not None:
        more = features.select("user_id", *(name for name in features.columns if name not in columns))
        profiles = profiles.left_join(more, "user_id")
    reader = _Reader(_tokens(condition), profiles, inner or {}, segments, "profiles" if features is None else "profiles or features")
    found = reader.either()
    if reader.peek() is not None:
        raise reader.error("and, or, or the end")
    return profiles.filter(found.fill_null(False)).select(columns)


def _tokens(condition: str) -> list[_Token]:
    found, place = [], 0
    text = condition.rstrip()
    if len(text) > LONGEST:
        raise ConditionError(f"found {len(text):,} characters; expected a condition of at most {LONGEST:,}")
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise ConditionError(
                f"at character {place + 1}: found {text[place:].strip()[:20]!r}; expected a column, a number, a text in quotes or an operator"
            )
        found.append(_Token(match.lastgroup or "", match[match.lastgroup or 0], match.start(match.lastgroup or 0)))
        place = match.end()
    return found


def _joined(parts: list[ir.BooleanValue], how: Callable[[Any, Any], Any]) -> ir.BooleanValue:
    """All parts joined as a tree of little depth: a chain of hundreds would be too deep for the engine."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return how(_joined(parts[:middle], how), _joined(parts[middle:], how))


class _Reader:
    def __init__(self, tokens: list[_Token], profiles: ir.Table, inner: Mapping[str, str], segments: Collection[str], named: str) -> None:
        self.tokens, self.profiles, self.inner, self.segments, self.place = tokens, profiles, inner, segments, 0
        self.named = named
        """What the tables are called whose columns may be asked for."""

    def peek(self) -> _Token | None:
        return self.tokens[self.place] if self.place < len(self.tokens) else None

    def error(self, expected: str) -> ConditionError:
        token = self.peek()
        where, found = (f"at character {token.place + 1}", repr(token.text)) if token else ("at the end", "nothing more")
        return ConditionError(f"{where}: found {found}; expected {expected}")

    def took(self, kind: str, *texts: str) -> _Token | None:
        token = self.peek()
        if token is None or token.kind != kind or (texts and token.text.lower() not in texts):
            return None
        self.place += 1
        return token

    def either(self, depth: int = 0) -> ir.BooleanValue:
        found = [self.both(depth)]
        while self.took("word", "or"):
            found.append(self.both(depth))
        return _joined(found, operator.or_)

    def both(self, depth: int) -> ir.BooleanValue:
        found = [self.one(depth)]
        while self.took("word", "and"):
            found.append(self.one(depth))
        return _joined(found, operator.and_)

    def one(self, depth: int) -> ir.BooleanValue:
        if depth > DEEPEST:
            raise self.error(f"at most {DEEPEST} parentheses and nots within each other")
        if self.took("word", "not"):
            return ~self.one(depth + 1).fill_null(False)
        if self.took("mark", "("):
            found = self.either(depth + 1)
            if not self.took("mark", ")"):
                raise self.error("a closing parenthesis")
            return found
        name = self.took("word")
        if name is None:
            raise self.error(f"a column of {self.named}")
        column = SHORT.get(name.text, name.text)
        if (column not in self.profiles.columns or column not in TYPES) and column not in self.inner:
            known = [entry for entry in self.profiles.columns if entry in TYPES] + [*self.inner]
            inside = next((entry for entry in self.inner if entry.partition(".")[2] == name.text), None)
            meant = f" (did you mean {inside!r}?)" if inside else suggestion(name.text, known)
            raise ConditionError(
                f"at character {name.place + 1}: found {name.text!r}{meant}; expected a column of {self.named}"
                + ("" if meant else f": {', '.join(known)}")
            )
        value = self.value_of(column)
        if self.took("word", "is"):
            if not self.took("word", "missing"):
                raise self.error("missing")
            return value.isnull()
        if self.took("word", "in"):
            return value.isin(self.several(column))
        sign = self.took("operator")
        if sign is None:
            raise self.error(f"one of {' '.join(OPERATORS)}, in (...), is missing")
        other = self.literal(column)
        return {
            "=": value == other,
            "!=": value != other,
            "<>": value != other,
            "<": value < other,
            "<=": value <= other,
            ">": value > other,
            ">=": value >= other,
        }[sign.text]

    def value_of(self, column: str) -> ir.Value:
        if column not in self.inner:
            return self.profiles[column]
        table, _, name = column.partition(".")
        return functions.json_text(self.profiles[table], f'$."{name}"').try_cast(self.inner[column])

    def several(self, column: str) -> list[Any]:
        if not self.took("mark", "("):
            raise self.error("values in parentheses")
        found = [self.literal(column)]
        while self.took("mark", ","):
            found.append(self.literal(column))
        if not self.took("mark", ")"):
            raise self.error("a comma or a closing parenthesis")
        return found

    def literal(self, column: str) -> Any:
        kind = self.inner.get(column) or TYPES[column]
        if kind in ("int64", "float64"):
            token = self.took("number")
            if token is None:
                raise self.error(f"a number, for {column}")
            if not math.isfinite(number := float(token.text)):
                raise ConditionError(f"at character {token.place + 1}: found {token.text}; expected a number up to 1e308, for {column}")
            return number
        if kind == "boolean":
            token = self.took("word", "true", "false")
            if token is None:
                raise self.error(f"true or false, for {column}")
            return token.text.lower() == "true"
        token = self.took("text")
        if token is None:
            raise self.error(f"a {'date' if kind == 'date' else 'text'} in quotes, for {column}")
        text = token.text[1:-1]
        if column == "segment_name" and self.segments and text not in self.segments:
            names = ", ".join(sorted(self.segments))
            raise ConditionError(
                f"at character {token.place + 1}: no such segment: found {text!r}{suggestion(text, self.segments)}; expected one of {names}"
            )
        if kind == "date":
            try:
                return ibis.literal(dt.date.fromisoformat(text))
            except ValueError:
                raise ConditionError(
                    f'at character {token.place + 1}: found {text!r}; expected a date as "2025-12-31", for {column}'
                ) from None
        return text
