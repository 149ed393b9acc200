"""What a contract is made of: tables, their columns, and the columns that several tables have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Type = Literal["string", "int64", "float64", "timestamp", "date", "boolean"]


@dataclass(frozen=True)
class Column:
    """One column. ``minimum`` and ``maximum`` are inclusive; ``personal`` columns never appear in previews."""

    name: str
    type: Type
    description: str
    unit: str = ""
    required: bool = False
    minimum: float | None = None
    maximum: float | None = None
    personal: bool = False


@dataclass(frozen=True)
class Table:
    """One table: ``schema`` is the room that writes it, ``key`` identifies a row and is the order of exports; ``references`` says of columns
    in which schema, table and column their values stand; ``history`` that rows of earlier runs stay in it, which nothing makes again."""

    schema: str
    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    personal_rows: bool = False
    references: Mapping[str, tuple[str, str, str]] = field(default_factory=dict, hash=False)
    history: bool = False

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


DAY = Column("day", "date", "Partition: the date in the file's path, else the record's own day (UTC).", required=True)

LISTED_DAY = replace(DAY, required=False, description=DAY.description[:-1] + "; null for lists of items and users.")

SOURCE = Column("source", "string", "Name of the source in the configuration.", required=True)

FILE = Column("source_file", "string", "File that the record was read from, relative to the configuration file.", required=True)

LINE = Column("source_line", "int64", "Line of the record in its file, counted from 1.", required=True, minimum=1)

PART = Column(
    "source_part",
    "int64",
    "Number of the event in its line, from 1; with values side by side in a line, a million more for each value before it.",
    required=True,
    minimum=1,
)

USER = Column("user_id", "string", "Pseudonym of the user: HMAC-SHA-256 of the logged id, first 32 hexadecimal digits.", personal=True)

ITEM = Column("item_id", "string", "Item as the logs name it.")

AS_OF = Column("as_of_date", "date", "Last day that the row knows of.", required=True)

EVENT_COLUMNS = (
    Column("anonymous_id", "string", "Pseudonym of the device or browser.", personal=True),
    Column("timestamp", "timestamp", "When it happened, UTC.", required=True),
    Column("event_type", "string", "What was done, from the vocabulary of event types.", required=True),
    ITEM,
    Column(
        "value",
        "float64",
        "Money of the record (price paid or paid back), or the rating; each within its bounds in the configuration.",
        "currency",
    ),
    Column("quantity", "float64", "Number of pieces.", "pieces", minimum=0),
    Column("currency", "string", "Currency of value, ISO 4217; the sign beside it where several write it ($, kr) and nothing says which."),
    Column("dwell_ms", "int64", "Time the user's attention stayed.", "ms", minimum=0, maximum=7 * 24 * 3_600_000),
    Column("scroll_pct", "float64", "How far the page was scrolled.", "%", minimum=0, maximum=100),
    Column("channel", "string", "How the visit came about: direct, search, email, social ..."),
    Column("campaign", "string", "Campaign or message that the event belongs to."),
    Column("target_user_id", "string", "Pseudonym of the person that was followed, written to or otherwise meant.", personal=True),
    Column("list_id", "string", "List, page or request in which the item was shown."),
    Column("position", "int64", "Place of the item in it, as logged.", minimum=0),
    Column("propensity", "float64", "Probability with which whoever chose had chosen to show the item there.", minimum=1e-9, maximum=1),
    Column(
        "device",
        "string",
        "As logged, else read from the user agent: desktop, mobile, tablet, tv, console or app; null where it does not say.",
    ),
    Column("country", "string", "Country as logged."),
    Column("referrer", "string", "Page that led here, without its query string."),
    Column("search_terms", "string", "What was searched for.", personal=True),
    Column("url", "string", "Address of the page, without its query string."),
)


def share(name: str, description: str) -> Column:
    return Column(name, "float64", description, "share", minimum=0, maximum=1)


def number(name: str, description: str, unit: str = "", minimum: float | None = 0) -> Column:
    return Column(name, "float64", description, unit, minimum=minimum)


def count(name: str, description: str, unit: str = "events") -> Column:
    return Column(name, "int64", description, unit, required=True, minimum=0)


SEGMENT = Column(
    "segment_id", "int64", "Number of the segment, kept between trainings; 0 for users who belong to none.", required=True, minimum=0
)

SEGMENT_NAME = Column("segment_name", "string", "Name from what sets the segment apart.", required=True)

SEGMENT_VERSION = Column("segment_model_version", "string", "Version of the segment model in MLflow.", required=True)

MODEL = Column("model", "string", "Name of the model.", required=True)
