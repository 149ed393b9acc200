"""Tables of cleaned events, of sessions, of what was left out, and of the items and users that they meet."""

from __future__ import annotations

from dataclasses import replace

from persona_pipelines.warehouse.contracts.parts import DAY, EVENT_COLUMNS, FILE, ITEM, LINE, LISTED_DAY, PART, SOURCE, USER, Column, Table

EVENTS = Table(
    "events",
    "events",
    "Cleaned events, one row per action: valid, once each, human, stitched to users, in sessions.",
    (
        DAY,
        SOURCE,
        FILE,
        LINE,
        PART,
        Column("event_id", "string", "Identifies the event across days and deliveries.", required=True),
        USER,
        Column(
            "stitched",
            "boolean",
            "Whether the user is known from other events on the device, and not from the record itself.",
            required=True,
        ),
        *EVENT_COLUMNS,
        Column("session_id", "string", "Session of the visitor: visitor and the second it starts.", required=True, personal=True),
        Column(
            "attention_ms",
            "int64",
            "Dwell time as logged, else, of an event that puts something before the eyes, the gap to the visitor's next event in the session; capped.",
            "ms",
            minimum=0,
        ),
    ),
    ("event_id",),
)

SESSIONS = Table(
    "events",
    "sessions",
    "Visits: a visitor's events with no pause longer than the session gap.",
    (
        Column("session_id", "string", "Visitor and the second it starts.", required=True, personal=True),
        Column("visitor_id", "string", "The user where known, else the device.", required=True, personal=True),
        USER,
        Column("started_at", "timestamp", "First event, UTC.", required=True),
        Column("ended_at", "timestamp", "Last event, UTC.", required=True),
        Column("events", "int64", "Number of events.", "events", required=True, minimum=1),
        Column("items", "int64", "Number of different items.", "items", required=True, minimum=0),
        Column("attention_ms", "int64", "Sum of the events' attention.", "ms", minimum=0),
        Column("device", "string", "Device; the first in the alphabet where several are named."),
        Column("channel", "string", "Channel; the first in the alphabet where several are named."),
    ),
    ("session_id",),
)

REJECTS = Table(
    "events",
    "rejects",
    "Quarantine: records that break the contract, whole, with their reason.",
    (
        LISTED_DAY,
        SOURCE,
        FILE,
        LINE,
        PART,
        Column("reason", "string", "Column and what is wrong with it, or what is wrong with the line.", required=True),
        Column("record", "string", "The record itself, with addresses masked.", personal=True),
    ),
    ("source", "source_file", "source_line", "source_part"),
    personal_rows=True,
)

DUPLICATES = Table(
    "events",
    "duplicates",
    "Records that repeat an earlier one: the same id, or without ids the same content.",
    (
        LISTED_DAY,
        SOURCE,
        FILE,
        LINE,
        PART,
        Column("event_id", "string", "The event, or the item or user, that is kept once.", required=True, personal=True),
        Column("kept_file", "string", "File of the record that is kept."),
        Column("kept_line", "int64", "Line of the record that is kept."),
        Column(
            "differs",
            "boolean",
            "Whether the record that is kept says something else of time, person, type, item or amount: two actions with one id; of a list, anything else of it.",
        ),
    ),
    ("source", "source_file", "source_line", "source_part"),
)

FILTERED = Table(
    "events",
    "filtered",
    "Valid records that are no act of a customer: bots, static assets, records dropped by the configuration.",
    (
        LISTED_DAY,
        SOURCE,
        FILE,
        LINE,
        PART,
        Column("event_id", "string", "The event, or the item or user, that is left out.", required=True, personal=True),
        Column("reason", "string", "bot, automated with the rule, static asset, or the condition met.", required=True),
    ),
    ("source", "source_file", "source_line", "source_part"),
)

COUNT = Column("records_read", "int64", "Records in the raw table.", "records", required=True, minimum=0)

ACCOUNTING = Table(
    "events",
    "accounting",
    "Where every record went: records read = events + rejects + duplicates + filtered.",
    (
        DAY,
        SOURCE,
        COUNT,
        *(replace(COUNT, name=name, description=f"Rows in {name}.") for name in ("events", "rejects", "duplicates", "filtered")),
    ),
    ("source", "day"),
)

CLOCKS = Table(
    "events",
    "clocks",
    "What the times of each source are worth, over all of its events.",
    (
        SOURCE,
        Column(
            "clock",
            "string",
            "moment; day, where every event is at midnight; order, where the order of the records stands for time.",
            required=True,
        ),
        Column("events", "int64", "Events of the source.", "events", required=True, minimum=0),
        Column(
            "with_time_of_day", "int64", "Events that are not at midnight in the source's time zone.", "events", required=True, minimum=0
        ),
        Column("first_time", "timestamp", "The first event, UTC."),
        Column("last_time", "timestamp", "The last event, UTC."),
    ),
    ("source",),
)

ITEMS = Table(
    "events",
    "items",
    "The catalogue: items of the sources of kind items, and items that only the events know.",
    (
        replace(ITEM, required=True),
        Column("title", "string", "Name of the item."),
        Column("category", "string", "Main category."),
        Column("categories", "string", "All categories, separated by |."),
        Column("brand", "string", "Maker or label."),
        Column("price", "float64", "List price, else the median paid per piece.", "currency", minimum=0),
        Column(
            "currency", "string", "Currency of price, ISO 4217; the sign beside it where several write it ($, kr) and nothing says which."
        ),
        Column("available_from", "date", "First day on offer, where the catalogue says."),
        Column("in_stock", "boolean", "Whether it can be had now, where the catalogue says; false keeps it out of lists."),
        Column("attributes", "string", "The attributes that the configuration names, as a JSON object; null without any."),
        Column("in_catalogue", "boolean", "Whether a source of kind items lists it.", required=True),
        Column("listed_price", "float64", "The price that the catalogue lists; null where it lists none.", "currency", minimum=0),
    ),
    ("item_id",),
)

USERS = Table(
    "events",
    "users",
    "Known users: those of the sources of kind users, and those that only the events know.",
    (
        replace(USER, required=True),
        Column("signup_date", "date", "Day the account was created."),
        Column("country", "string", "The listed country, else the last in the alphabet of those that the events name."),
        Column("gender", "string", "As given."),
        Column("age_group", "string", "As given, or the decade of the age."),
        Column("occupation", "string", "As given."),
        Column("attributes", "string", "The attributes that the configuration names, as a JSON object; null without any.", personal=True),
        Column("consent_personalisation", "boolean", "Whether recommendations may be made for the person.", required=True),
        Column("consent_marketing", "boolean", "Whether messages may be sent.", required=True),
        Column("in_customer_list", "boolean", "Whether a source of kind users lists the user.", required=True),
        Column("listed_country", "string", "The country that the customer list gives; null where it gives none."),
    ),
    ("user_id",),
    personal_rows=True,
)

USER_ORDER = Table(
    "events",
    "user_order",
    "The order of users in whatever is drawn, split, summed or broken by a tie: the same under every key of the pseudonyms.",
    (
        replace(USER, required=True),
        Column(
            "user_number",
            "int64",
            "Place of the user, from 0: by the first event, of the same moment by source, file, line and part; then users of lists alone.",
            required=True,
            minimum=0,
        ),
    ),
    ("user_id",),
    personal_rows=True,
)
