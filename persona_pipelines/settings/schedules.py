"""When schedules start: five fields of cron, held to what a calendar has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator

MONTHS = {
    name: number
    for number, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], start=1)
}
WEEKDAYS = {name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])}
FIELDS: tuple[tuple[str, int, int, Mapping[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 7, WEEKDAYS),
)
ITEM = re.compile(r"(?:(?P<every>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>[1-9][0-9]*))?")
LONGEST = {month: 31 if month in (1, 3, 5, 7, 8, 10, 12) else 29 if month == 2 else 30 for month in range(1, 13)}


def cron(text: str) -> str:
    """The text, where it is a time of cron: minute, hour, day of the month, month, day of the week.

    Raises:
        ValueError: it is none, or its day never comes.
    """
    parts = text.split()
    if len(parts) != len(FIELDS):
        raise ValueError("expected five fields: minute, hour, day of the month, month, day of the week, such as 15 4 * * *")
    _, _, days, months, _ = (_numbers(part, *field) for part, field in zip(parts, FIELDS, strict=True))
    if parts[2] != "*" and parts[4] == "*" and not any(min(days) <= LONGEST[month] for month in months):
        raise ValueError(f"expected a day that comes: no such month has a day {min(days)}")
    return text


def _numbers(part: str, name: str, lowest: int, highest: int, names: Mapping[str, int]) -> set[int]:
    found: set[int] = set()
    for item in part.lower().split(","):
        match = ITEM.fullmatch(item)
        first, last = (lowest, highest) if match and match["every"] else _ends(match, names)
        if match is None or not lowest <= first <= last <= highest:
            raise ValueError(f"{name}: expected *, or numbers from {lowest} to {highest} such as 5, 1-5, */15 or 1,15")
        found |= set(range(first, last + 1, int(match["step"] or 1)))
    return found


def _ends(match: re.Match[str] | None, names: Mapping[str, int]) -> tuple[int, int]:
    """First and last number of an item; -1 of what is none."""
    if match is None:
        return -1, -1
    ends = [match["first"], match["last"] or match["first"]]
    first, last = (int(end) if end.isdigit() and end.isascii() else names.get(end, -1) for end in ends)
    return first, last


Cron = Annotated[str, AfterValidator(cron)]
