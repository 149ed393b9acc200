"""Pieces of DuckDB's SQL that the readers share. Names, patterns and paths reach a query as quoted literals only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote, quote_plus

from persona_pipelines.logs.paths import Every, Index, Key, Match, Step
from persona_pipelines.warehouse.quoting import literal

BLANK = r"[\s\x0b\x{85}\p{Z}]"
"""Of all kinds that Unicode has."""
BLANKS_AT_ENDS = f"^{BLANK}+|{BLANK}+$"


class HeaderError(ValueError):
    """The header of a file lacks a column that the mapping reads, or names it twice."""


def clean(expression: str) -> str:
    """Text without blanks around it; empty text is missing."""
    return f"nullif(trim({expression}), '')"


def without_blanks(column: str) -> str:
    """A column of texts without blanks of any kind around them; empty text is missing. Most have none, and are looked at alone."""
    ends = f"{column} >= '!' AND {column} < chr(127) AND {column}[-1] BETWEEN '!' AND '~'"
    return f"CASE WHEN {ends} THEN {column} ELSE nullif(regexp_replace({column}, {literal(BLANKS_AT_ENDS)}, '', 'g'), '') END"


def plain_steps(steps: Sequence[Step]) -> int:
    """How many steps from the first one are keys and positions counted from the begin, which a JSON Pointer can say."""
    return next((number for number, step in enumerate(steps) if not isinstance(step, Key) and not _from_begin(step)), len(steps))


def _from_begin(step: Step) -> bool:
    return isinstance(step, Index) and step.number >= 0


def pointer(steps: Sequence[Step]) -> str:
    """A path of ``plain_steps`` as JSON Pointer (RFC 6901)."""
    texts = (str(step.number) if isinstance(step, Index) else step.name for step in steps if isinstance(step, (Index, Key)))
    return "".join("/" + text.replace("~", "~0").replace("/", "~1") for text in texts) or "$"


def json_text(document: str, steps: Sequence[Step]) -> str:
    """The text at a path of a JSON document, itself an expression that gives JSON or null; null where it is no JSON."""
    if not steps:
        return document
    return f"CASE WHEN json_valid({document}) THEN {_json_text(document, list(steps))} END"


def _json_text(document: str, steps: list[Step], depth: int = 0) -> str:
    special = plain_steps(steps)
    if special == len(steps):
        place = pointer(steps)
        return as_written(f"json_extract_string({document}, {literal(place)})", document, place)
    inside = f"json_extract({document}, {literal(pointer(steps[:special]))})" if special else document
    step, rest, element = steps[special], steps[special + 1 :], f"element_{depth}"
    if isinstance(step, Index):
        counted = f"json_extract({inside}, '$[#{step.number}]')"
        return _json_text(counted, rest, depth + 1) if rest else f"json_extract_string({counted}, '$')"
    elements = f"json_extract({inside}, '$[*]')"
    if isinstance(step, Match):
        wanted = f"lambda {element}: json_extract_string({element}, {literal(pointer([Key(step.key)]))}) = {literal(step.value)}"
        first = f"list_filter({elements}, {wanted})[1]"
        return _json_text(first, rest, depth + 1) if rest else f"json_extract_string({first}, '$')"
    assert isinstance(step, Every)
    inner = _json_text(element, rest, depth + 1) if rest else f"json_extract_string({element}, '$')"
    texts = f"list_filter(list_transform({elements}, lambda {element}: {inner}), lambda text: trim(text) <> '')"
    return f"nullif(array_to_string({texts}, '|'), '')"


def as_written(text: str, document: str, place: str) -> str:
    """A number with a point digit by digit as a document has it: the engine reads it as a double, which has 17, and some ids have more.

    Args:
        text: what the engine found at ``place``, a JSON Pointer.
    """
    key = re.escape(place.rpartition("/")[2].replace("~1", "/").replace("~0", "~"))
    pattern = rf'"{key}"\s*:\s*(-?[0-9][0-9.eE+-]*)'
    written = f"regexp_extract_all({document}, {literal(pattern)}, 1)"
    same = f"list_filter({written}, lambda number: TRY_CAST(number AS DOUBLE) = CAST({text} AS DOUBLE))[1]"
    return f"CASE WHEN regexp_full_match({text}, '-?[0-9]+\\.[0-9]+(e[+-]?[0-9]+)?') THEN coalesce({same}, {text}) ELSE {text} END"


def parameter_text(query: str, name: str) -> str:
    """A parameter of a query string or address (``a=1&b=2``), decoded; the first where it stands several times."""
    pairs = f"string_split(regexp_replace(regexp_extract({query}, '^(?:[^?#]*\\?)?([^#]*)', 1), '&amp;', '&', 'g'), '&')"
    names = dict.fromkeys((name, quote_plus(name), quote(name, safe="")))
    begins = " OR ".join(f"starts_with(pair, {literal(spelling + '=')})" for spelling in names)
    found = f"list_filter({pairs}, lambda pair: {begins})[1]"
    return f"decode_form(substr({found}, strpos({found}, '=') + 1))"
