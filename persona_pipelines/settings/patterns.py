"""Regular expressions, formats of times and zones of the configuration, tried by the engine that uses them while the configuration is read."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator

ISO = "iso"
"""The word that stands for ISO 8601 among formats of times."""


@lru_cache(maxsize=4096)
def checked_pattern(value: str) -> str:
    """The pattern itself.

    Raises:
        ValueError: the engine does not know it, in words that say what to write instead.
    """
    if reason := _refusal("SELECT regexp_matches('', ?)", value):
        hint = "; look-ahead and look-behind are not known here: what must not match is said by a condition's not" if "(?" in reason else ""
        raise ValueError(f"expected a regular expression of RE2 ({reason}){hint}")
    return value


def _refusal(query: str, value: str) -> str | None:
    """Why the engine refuses a value; a text alone, because an error would keep the engine open until the process ends."""
    import duckdb

    with duckdb.connect() as engine:
        try:
            engine.execute(query, [value]).fetchall()
        except duckdb.Error as error:
            return str(error).splitlines()[0].partition(": ")[2] or str(error)
    return None


@lru_cache(maxsize=1024)
def checked_time_format(value: str) -> str:
    """The format of times itself.

    Raises:
        ValueError: the engine does not know it, or it reads nothing of a time.
    """
    if value == ISO:
        return value
    if not re.search(r"%[^%]", value):
        raise ValueError(
            f"format: expected codes of strptime such as %Y-%m-%d %H:%M:%S; found {value!r} without any, and not the word {ISO} for ISO 8601"
        )
    if "%s" in value:
        raise ValueError(
            "format: %s (seconds since 1970) is not known here; expected unit: seconds, beside format where texts have other times, too"
        )
    if "%n" in value:
        raise ValueError(
            "format: %n (nanoseconds) is not known here; expected %f (up to six digits), no format at all (ISO 8601 with any), or unit: nanoseconds"
        )
    if reason := _refusal("SELECT try_strptime('', ?)", value):
        raise ValueError(f"format: expected codes of strptime; found {value!r} ({reason})")
    codes = set(re.findall(r"%-?([A-Za-z])", value.replace("%%", "")))
    if not codes & set("YyGcx"):
        raise ValueError(f"format: {value!r} has no year; expected %Y (2024), %y (24) or %G (of an ISO week) in it")
    if "I" in codes and "p" not in codes:
        raise ValueError(f"format: {value!r} has hours of twelve without %p (AM or PM); expected %H for hours of twenty-four")
    return value


@lru_cache(maxsize=1024)
def checked_timezone(value: str) -> str:
    """The name of a time zone itself.

    Raises:
        ValueError: there is none of the name.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        ZoneInfo(value)
        refused = _refusal("SELECT timezone(?, TIMESTAMP '2000-01-01')", value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        refused = "unknown"
    if refused:
        raise ValueError("expected a time zone of the IANA database, such as Europe/London")
    return value


Timezone = Annotated[str, AfterValidator(checked_timezone)]


def groups(pattern: str) -> list[str | None]:
    """The capturing groups of a pattern in order: the name of each, None without one."""
    found: list[str | None] = []
    position, in_class = 0, False
    while position < len(pattern):
        character = pattern[position]
        if character == "\\":
            position += 2
            continue
        if in_class:
            in_class = character != "]"
        elif character == "[":
            in_class = True
            if pattern[position + 1 : position + 2] == "^":
                position += 1
            if pattern[position + 1 : position + 2] == "]":  # a bracket that comes first is a character of the class
                position += 1
        elif character == "(":
            rest = pattern[position + 1 :]
            if not rest.startswith("?"):
                found.append(None)
            elif rest.startswith(("?P<", "?<")):
                found.append(rest[rest.index("<") + 1 :].partition(">")[0])
        position += 1
    return found
