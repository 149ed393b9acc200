"""Names and texts as the engine's SQL has them. They reach a query in no other way."""

from __future__ import annotations


def literal(text: str) -> str:
    """A string literal of standard SQL.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def quoted_name(name: str) -> str:
    """A name of a column or table, whatever is in it.

    >>> quoted_name('5" nails')
    '"5"" nails"'
    """
    return '"' + name.replace('"', '""') + '"'


def quoted_table(full_name: str) -> str:
    """A table by its schema and name.

    >>> quoted_table("events.events")
    '"events"."events"'
    """
    return ".".join(map(quoted_name, full_name.split(".", 1)))
