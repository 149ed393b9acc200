"""Tables of the logs as they were read."""

from __future__ import annotations

from dataclasses import replace

from persona_pipelines.warehouse.contracts.events import ITEMS, USERS
from persona_pipelines.warehouse.contracts.parts import DAY, EVENT_COLUMNS, FILE, LINE, PART, SOURCE, USER, Column, Table


def raw_events(source: str) -> Table:
    """The raw table of one source of events, in schema ``logs``."""
    return Table(
        "logs",
        source,
        "Every record of the source as read and mapped, good or bad. Ids are already pseudonyms.",
        (
            DAY,
            FILE,
            LINE,
            PART,
            Column(
                "event_id",
                "string",
                "Source and the record's own id, else the MD5 of the whole record or, where no two are the same, of its place.",
                required=True,
            ),
            USER,
            *(replace(column, required=False) for column in EVENT_COLUMNS),
            Column("user_agent", "string", "User agent as logged; used to find bots, then dropped."),
            Column("dropped", "string", "The drop_when condition of the configuration that the record meets."),
            Column("problem", "string", "Why the record is rejected; null for a good one."),
            Column("record", "string", "The rejected record, whole, with addresses masked; null for a good one.", personal=True),
        ),
        ("source_file", "source_line", "source_part"),
    )


NOT_LISTED = ("in_catalogue", "listed_price", "in_customer_list", "listed_country")
"""Columns that say what a source lists of the item or user: no record has them."""


def raw_listing(source: str, kind: str) -> Table:
    """The raw table of one source of items or users, in schema ``logs``."""
    listed = ITEMS if kind == "items" else USERS
    return Table(
        "logs",
        source,
        f"Every record of the list of {kind} as read and mapped, good or bad. User ids are already pseudonyms.",
        (
            FILE,
            LINE,
            PART,
            *(replace(column, required=False) for column in listed.columns if column.name not in NOT_LISTED),
            Column("dropped", "string", "The drop_when condition of the configuration that the record meets."),
            Column("problem", "string", "Why the record is rejected; null for a good one."),
            Column("record", "string", "The rejected record, whole, with addresses masked; null for a good one.", personal=True),
        ),
        ("source_file", "source_line", "source_part"),
        personal_rows=kind == "users",
    )


FILES = Table(
    "logs",
    "files",
    "Files that have been read, written in the same transaction as their records.",
    (
        SOURCE,
        FILE,
        Column("size_bytes", "int64", "Size when read.", "bytes", required=True, minimum=0),
        Column("modified_ns", "int64", "Modification time when read.", "ns since 1970", required=True),
        Column("records", "int64", "Records found in the file by the reader.", "records", required=True, minimum=0),
        Column("first_day", "date", "First day of the records in the file, or of a version before of which the tables still hold some."),
        Column("last_day", "date", "Last day, likewise."),
        Column("break_found", "string", "Where and how the file is damaged; null for a whole file."),
        Column("columns", "string", "The columns of its header, or the keys of its first records, as a JSON list."),
    ),
    ("source", "source_file"),
)
