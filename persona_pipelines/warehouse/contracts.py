"""The contract of every table: columns, types, units, bounds and what they mean.

Rooms meet only here. The data dictionary, the column metadata in Dagster, the checks on written tables and the bounds
that a log record has to keep are all made from these declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from persona_pipelines.warehouse.described import FEATURES, Feature

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
    in which schema, table and column their values stand."""

    schema: str
    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    personal_rows: bool = False
    references: Mapping[str, tuple[str, str, str]] = field(default_factory=dict, hash=False)

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def column_names(self) -> list[str]:
        return [column.name for column in self.columns]


_DAY = Column("day", "date", "Partition: the date in the file's path, else the record's own day (UTC).", required=True)
_LISTED_DAY = replace(_DAY, required=False, description=_DAY.description[:-1] + "; null for lists of items and users.")
_SOURCE = Column("source", "string", "Name of the source in the configuration.", required=True)
_FILE = Column("source_file", "string", "File that the record was read from, relative to the configuration file.", required=True)
_LINE = Column("source_line", "int64", "Line of the record in its file, counted from 1.", required=True, minimum=1)
_PART = Column(
    "source_part",
    "int64",
    "Number of the event in its line, from 1; with values side by side in a line, a million more for each value before it.",
    required=True,
    minimum=1,
)
_USER = Column("user_id", "string", "Pseudonym of the user: HMAC-SHA-256 of the logged id, first 32 hexadecimal digits.", personal=True)
_ITEM = Column("item_id", "string", "Item as the logs name it.")
_AS_OF = Column("as_of_date", "date", "Last day that the row knows of.", required=True)

_EVENT_COLUMNS = (
    Column("anonymous_id", "string", "Pseudonym of the device or browser.", personal=True),
    Column("timestamp", "timestamp", "When it happened, UTC.", required=True),
    Column("event_type", "string", "What was done, from the vocabulary of event types.", required=True),
    _ITEM,
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


def raw_events(source: str) -> Table:
    """The raw table of one source of events, in schema ``logs``."""
    return Table(
        "logs",
        source,
        "Every record of the source as read and mapped, good or bad. Ids are already pseudonyms.",
        (
            _DAY,
            _FILE,
            _LINE,
            _PART,
            Column(
                "event_id",
                "string",
                "Source and the record's own id, else the MD5 of the whole record or, where no two are the same, of its place.",
                required=True,
            ),
            _USER,
            *(replace(column, required=False) for column in _EVENT_COLUMNS),
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
            _FILE,
            _LINE,
            _PART,
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
        _SOURCE,
        _FILE,
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

EVENTS = Table(
    "events",
    "events",
    "Cleaned events, one row per action: valid, once each, human, stitched to users, in sessions.",
    (
        _DAY,
        _SOURCE,
        _FILE,
        _LINE,
        _PART,
        Column("event_id", "string", "Identifies the event across days and deliveries.", required=True),
        _USER,
        Column(
            "stitched",
            "boolean",
            "Whether the user is known from other events on the device, and not from the record itself.",
            required=True,
        ),
        *_EVENT_COLUMNS,
        Column("session_id", "string", "Session of the visitor: visitor and the second it starts.", required=True, personal=True),
        Column(
            "attention_ms",
            "int64",
            "Dwell time as logged, else the gap to the visitor's next event in the session, capped.",
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
        _USER,
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
        _LISTED_DAY,
        _SOURCE,
        _FILE,
        _LINE,
        _PART,
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
        _LISTED_DAY,
        _SOURCE,
        _FILE,
        _LINE,
        _PART,
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
        _LISTED_DAY,
        _SOURCE,
        _FILE,
        _LINE,
        _PART,
        Column("event_id", "string", "The event, or the item or user, that is left out.", required=True, personal=True),
        Column("reason", "string", "bot, automated with the rule, static asset, or the condition met.", required=True),
    ),
    ("source", "source_file", "source_line", "source_part"),
)

_COUNT = Column("records_read", "int64", "Records in the raw table.", "records", required=True, minimum=0)
ACCOUNTING = Table(
    "events",
    "accounting",
    "Where every record went: records read = events + rejects + duplicates + filtered.",
    (
        _DAY,
        _SOURCE,
        _COUNT,
        *(replace(_COUNT, name=name, description=f"Rows in {name}.") for name in ("events", "rejects", "duplicates", "filtered")),
    ),
    ("source", "day"),
)

CLOCKS = Table(
    "events",
    "clocks",
    "What the times of each source are worth, over all of its events.",
    (
        _SOURCE,
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
        replace(_ITEM, required=True),
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
        replace(_USER, required=True),
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


def _share(name: str, description: str) -> Column:
    return Column(name, "float64", description, "share", minimum=0, maximum=1)


def _number(name: str, description: str, unit: str = "", minimum: float | None = 0) -> Column:
    return Column(name, "float64", description, unit, minimum=minimum)


def _count(name: str, description: str, unit: str = "events") -> Column:
    return Column(name, "int64", description, unit, required=True, minimum=0)


KINDS: dict[str, Callable[[Feature], Column]] = {
    "share": lambda feature: _share(feature.name, feature.description),
    "count": lambda feature: _count(feature.name, feature.description, feature.unit or "events"),
    "optional_count": lambda feature: Column(feature.name, "int64", feature.description, feature.unit, minimum=0),
    "number": lambda feature: _number(feature.name, feature.description, feature.unit),
    "any_number": lambda feature: _number(feature.name, feature.description, feature.unit, None),
    "text": lambda feature: Column(feature.name, "string", feature.description),
}
"""The column of a feature, by the kind that ``user_features.yaml`` gives it."""

USER_FEATURES = Table(
    "features",
    "user_features",
    "One row a user: what the events up to the as-of date say of their attention and worth.",
    (
        replace(_USER, required=True),
        _AS_OF,
        *(KINDS[feature.kind](feature) for feature in FEATURES.values()),
    ),
    ("user_id",),
    personal_rows=True,
    references={"user_id": ("events", "users", "user_id")},
)

CATEGORY_SHARES = Table(
    "features",
    "category_shares",
    "How a user's attention is spread over the categories of items.",
    (
        replace(_USER, required=True),
        Column("category", "string", "Category of items.", required=True),
        _AS_OF,
        Column(
            "attention_share",
            "float64",
            "Attention to the category's items over attention to all items.",
            "share",
            required=True,
            minimum=0,
            maximum=1,
        ),
        Column("rank", "int64", "1 is the category with the largest share.", required=True, minimum=1),
        _number(
            "interest_half_life_days",
            "Half-life of the attention since the first day of interest, by an exponential decay; null with "
            "fewer than three days of interest.",
            "days",
        ),
    ),
    ("user_id", "category"),
    personal_rows=True,
)

ITEM_FEATURES = Table(
    "features",
    "item_features",
    "One row an item: what the events up to the as-of date say of it.",
    (
        replace(_ITEM, required=True),
        _AS_OF,
        Column("category", "string", "Main category."),
        _number("price", "List price, else the median paid per piece.", "currency"),
        _share("price_rank", "Rank of the price within the category: 0 cheapest, 1 dearest."),
        _count("events", "Events."),
        _count("users", "Different users.", "users"),
        _count("views", "Item views."),
        _count("purchases", "Purchases and bookings."),
        _number("revenue", "Value of purchases and bookings less refunds and cancellations.", "currency", None),
        _share("purchase_share", "Users who bought or booked it among its users."),
        _count("ratings", "Ratings."),
        _number("average_rating", "Mean rating; null without one.", "", None),
        _number("attention_ms_per_event", "Attention per event.", "ms"),
        Column("recency_days", "int64", "Days from the last event to the as-of date; null without events.", "days", minimum=0),
        Column("age_days", "int64", "Days from the first event to the as-of date; null without events.", "days", minimum=0),
    ),
    ("item_id",),
    references={"item_id": ("events", "items", "item_id")},
)

INTERACTIONS = Table(
    "features",
    "interactions",
    "How much a user cares for an item: what was done and how much of it, decaying with time. Every pair that has an event of a type with a weight.",
    (
        replace(_USER, required=True),
        replace(_ITEM, required=True),
        _AS_OF,
        Column(
            "weight",
            "float64",
            "Sum over events of the type's weight by the amount (features.interaction_levels), halved every half-life twenty times at most; a billionth at least; 0 where no event says anything good of the item.",
            required=True,
            minimum=0,
        ),
        Column(
            "liked",
            "boolean",
            "Not rated below the mean of the user's own ratings (of users with fewer than five, below everyone's mean if that is higher).",
            required=True,
        ),
        Column(
            "importance",
            "float64",
            "Mean over what was good of one over the propensity with which the item was shown, 1 on average and 100 at most; 1 where none is logged.",
            required=True,
            minimum=0,
            maximum=100,
        ),
        Column("last_time", "timestamp", "Last event of the pair, UTC.", required=True),
        _count("events", "Events of the pair that carry a weight."),
        _number("rating", "Mean rating of the item by the user; null where not rated.", "", None),
    ),
    ("user_id", "item_id"),
    personal_rows=True,
    references={"user_id": ("events", "users", "user_id"), "item_id": ("events", "items", "item_id")},
)

_SEGMENT = Column(
    "segment_id", "int64", "Number of the segment, kept between trainings; 0 for users who belong to none.", required=True, minimum=0
)
_SEGMENT_NAME = Column("segment_name", "string", "Name from what sets the segment apart.", required=True)
_SEGMENT_VERSION = Column("segment_model_version", "string", "Version of the segment model in MLflow.", required=True)

USER_SEGMENTS = Table(
    "segments",
    "user_segments",
    "The segment of every user.",
    (
        replace(_USER, required=True),
        _AS_OF,
        _SEGMENT,
        _SEGMENT_NAME,
        _number("distance", "Distance to the segment's centre in scaled features."),
        _SEGMENT_VERSION,
    ),
    ("user_id",),
    personal_rows=True,
    references={"user_id": ("features", "user_features", "user_id")},
)

SEGMENT_PROFILES = Table(
    "segments",
    "segment_profiles",
    "One row a segment: size, name and what sets it apart.",
    (
        _SEGMENT,
        _SEGMENT_NAME,
        _AS_OF,
        _count("users", "Users.", "users"),
        _share("share", "Users of the segment among all users."),
        Column("distinguishing_features", "string", "Features furthest from the average, in standard deviations.", required=True),
        Column("description", "string", "The segment in one paragraph.", required=True),
        Column("top_categories", "string", "Categories with the largest attention share."),
        _number("mean_monetary_value", "Mean monetary value.", "currency", None),
        _number("mean_sessions", "Mean number of sessions.", "sessions"),
        _number("mean_recency_days", "Mean days since the last event.", "days"),
        _SEGMENT_VERSION,
    ),
    ("segment_id",),
)

SEGMENT_QUALITY = Table(
    "segments",
    "segment_quality",
    "The algorithms and numbers of segments tried, with their quality on the sample.",
    (
        Column("algorithm", "string", "Algorithm; none where all users are alike.", required=True),
        Column("k_wanted", "int64", "Number of segments asked for; 0 for algorithms that find it themselves.", required=True, minimum=0),
        Column("k", "int64", "Number of segments found, small ones merged.", required=True, minimum=0),
        _number("silhouette", "Mean silhouette: -1 to 1, higher is better.", "", -1),
        _number("davies_bouldin", "Davies-Bouldin index: lower is better."),
        _number("calinski_harabasz", "Calinski-Harabasz index: higher is better."),
        _number("stability", "Mean adjusted Rand index with refits on bootstrap samples; null where it was not measured.", "", -1),
        _share("noise_share", "Users in no segment."),
        Column("chosen", "boolean", "Whether this one is used.", required=True),
        _count("sample_users", "Users in the sample.", "users"),
        _SEGMENT_VERSION,
    ),
    ("algorithm", "k_wanted"),
)

SEGMENT_CHANGES = Table(
    "segments",
    "segment_changes",
    "What became of the segments in the last training.",
    (
        _SEGMENT,
        Column("change", "string", "kept, born, died, split (users went to another), merged (users came from another).", required=True),
        Column("other_segment_id", "int64", "The other segment of a split or merger.", minimum=0),
        _count("users", "Users concerned.", "users"),
        _SEGMENT_VERSION,
    ),
    ("segment_id", "change", "other_segment_id"),
)

SEGMENT_RULES = Table(
    "segments",
    "segment_rules",
    "One rule a segment in plain features: who meets it is probably in it.",
    (
        _SEGMENT,
        Column("rule", "string", "Conditions on features that all have to hold.", required=True),
        _share("precision", "Share of the users who meet the rule that are in the segment."),
        _share("coverage", "Share of the segment's users who meet the rule."),
        _count("users", "Users who meet the rule.", "users"),
        _SEGMENT_VERSION,
    ),
    ("segment_id",),
)

SEGMENT_HISTORY = Table(
    "segments",
    "segment_history",
    "Size and worth of each segment on each day that it was scored: its trend.",
    (
        _AS_OF,
        _SEGMENT,
        _SEGMENT_NAME,
        _count("users", "Users.", "users"),
        _share("share", "Users of the segment among all users."),
        _number("mean_monetary_value", "Mean monetary value.", "currency", None),
        _number("mean_recency_days", "Mean days since the last event.", "days"),
        _SEGMENT_VERSION,
    ),
    ("as_of_date", "segment_id"),
)

USER_PREDICTIONS = Table(
    "profiles",
    "user_predictions",
    "What each user will probably do, by models that were judged on a window they had not seen.",
    (
        replace(_USER, required=True),
        _AS_OF,
        Column("horizon_days", "int64", "Days that the probabilities and the expected spend look ahead.", "days", required=True, minimum=1),
        _share("purchase_probability", "Chance of buying within the horizon; null where there is too little history to judge it."),
        _share("churn_probability", "Chance of no event at all within the horizon; null where there is too little history to judge it."),
        _number("expected_spend", "Expected spend within the horizon.", "currency"),
        _number("lifetime_value", "Expected spend within predictions.lifetime_days.", "currency"),
        Column("targets", "string", "Chances of the configuration's own targets, as a JSON object by name; null without any."),
    ),
    ("user_id",),
    personal_rows=True,
    references={"user_id": ("features", "user_features", "user_id")},
)

PREDICTION_QUALITY = Table(
    "profiles",
    "prediction_quality",
    "How each model predicts, judged on the newest window, learned from windows before it.",
    (
        Column("target", "string", "purchase, churn, spend, lifetime value, or a target of the configuration.", required=True),
        Column("model", "string", "Name of the model.", required=True),
        Column("window_start", "date", "First day of the window that judges; null where users judge whose attribute was kept back."),
        Column("window_days", "int64", "Its length.", "days", minimum=1),
        _count("users", "Users judged.", "users"),
        _share("base_rate", "Share of the users who did it; null for amounts."),
        _share("auc", "Area under the ROC curve; null for amounts."),
        _share("average_precision", "Average precision; null for amounts."),
        _share("calibration_error", "Expected calibration error over ten bins of equal size; null for amounts."),
        _number("log_loss", "Mean negative log-likelihood; null for amounts.", "nats"),
        _number("lift", "Share of doers among the tenth with the highest probability, over the base rate; null for amounts."),
        _number("spearman", "Rank correlation with what was spent; null for probabilities.", "", -1),
        _number("mean_absolute_error", "Mean absolute error; null for probabilities.", "currency"),
        _number("level", "Total that was foreseen over the total that was spent: 1 is right; null for probabilities."),
        _number(
            "validation", "What the model was chosen by, on the window before: log-likelihood per user, or rank correlation.", "", None
        ),
        Column("chosen", "boolean", "Whether this model makes the predictions.", required=True),
        Column("reason", "string", "Why it does or does not.", required=True),
    ),
    ("target", "model"),
)

PREDICTION_DRIVERS = Table(
    "profiles",
    "prediction_drivers",
    "What the chosen models look at: how much worse they get when a feature is shuffled.",
    (
        Column("target", "string", "purchase, churn, spend, lifetime value, or a target of the configuration.", required=True),
        Column("feature", "string", "Feature.", required=True),
        Column("rank", "int64", "1 matters most.", required=True, minimum=1),
        _number(
            "importance",
            "Mean loss in AUC, of amounts in R2 of their logarithm, over shuffles of the feature in the window that judges.",
            "",
            None,
        ),
        _number("correlation", "Rank correlation of the feature with what is predicted: its sign is the direction.", "", -1),
    ),
    ("target", "feature"),
)

USER_PROFILES = Table(
    "profiles",
    "user_profiles",
    "One row a user: who they are to the business, as of a date.",
    (
        replace(_USER, required=True),
        _AS_OF,
        _SEGMENT,
        _SEGMENT_NAME,
        Column("lifecycle_stage", "string", "new, active, loyal, at risk or lapsed.", required=True),
        Column("top_interests", "string", "Up to three categories with their attention shares."),
        *(
            column
            for column in USER_FEATURES.columns
            if column.name
            in {
                "recency_days",
                "tenure_days",
                "frequency",
                "monetary_value",
                "average_order_value",
                "sessions",
                "attention_ms_per_session",
                "category_entropy",
                "price_level",
                "weekend_share",
                "evening_share",
                "night_share",
                "mobile_share",
                "top_channel",
                "click_rate",
                "trend",
            }
        ),
        *(
            column
            for column in USER_PREDICTIONS.columns
            if column.name
            in {
                "purchase_probability",
                "churn_probability",
                "expected_spend",
                "lifetime_value",
                "targets",
            }
        ),
        *(
            column
            for column in USERS.columns
            if column.name
            in {
                "signup_date",
                "country",
                "gender",
                "age_group",
                "occupation",
                "attributes",
                "consent_personalisation",
                "consent_marketing",
            }
        ),
        _SEGMENT_VERSION,
    ),
    ("user_id",),
    personal_rows=True,
    references={"user_id": ("features", "user_features", "user_id")},
)

_MODEL = Column("model", "string", "Name of the model.", required=True)

_CASE = Column(
    "case",
    "string",
    "warm: users known in training; new user: users first seen after the cut; new item: only items that nobody "
    "knew in training, ranked among themselves.",
    required=True,
)

PROFILE_DOCUMENTS = Table(
    "profiles",
    "profile_documents",
    "One document a user: every statement with the evidence behind it.",
    (
        replace(_USER, required=True),
        _AS_OF,
        Column(
            "document",
            "string",
            "JSON: basics, behaviour, interests, spending power, attention, life cycle, predictions, segment; each statement "
            "with the feature, its value and where that stands among all users.",
            required=True,
            personal=True,
        ),
    ),
    ("user_id",),
    personal_rows=True,
)

PROFILE_HISTORY = Table(
    "profiles",
    "profile_history",
    "What was known of each user on any day: one row for each time that it stayed the same.",
    (
        replace(_USER, required=True),
        Column("valid_from", "date", "First day on which it was so.", required=True),
        Column("valid_to", "date", "Last day on which it was so; null while it still is."),
        _SEGMENT,
        _SEGMENT_NAME,
        Column("lifecycle_stage", "string", "new, active, loyal, at risk or lapsed.", required=True),
        Column("top_interests", "string", "Up to three categories with their attention shares."),
        _share("purchase_probability", "As predicted on the first of the days."),
        _share("churn_probability", "As predicted on the first of the days."),
        _number("lifetime_value", "As predicted on the first of the days.", "currency"),
    ),
    ("user_id", "valid_from"),
    personal_rows=True,
)

SEGMENT_MOVEMENT = Table(
    "profiles",
    "segment_movement",
    "How many users went from one segment to another between the last two days that were scored.",
    (
        Column("from_date", "date", "The day before.", required=True),
        Column("to_date", "date", "The last day.", required=True),
        Column("from_segment", "string", "Name of the segment before.", required=True),
        Column("to_segment", "string", "Name of the segment now.", required=True),
        _count("users", "Users.", "users"),
    ),
    ("from_segment", "to_segment"),
)

MODEL_COMPARISON = Table(
    "recommendations",
    "model_comparison",
    "How each model ranks what users did after the cut, learned from what they did before.",
    (
        _MODEL,
        Column(
            "split",
            "string",
            "How training and test were separated: global time; record order, of logs without a clock; last items out; random by user.",
            required=True,
        ),
        _CASE,
        Column("segment", "string", "all, or the name of the segment whose users are judged.", required=True),
        Column("cut", "timestamp", "Training ends before, the test begins here, UTC.", required=True),
        Column("k", "int64", "Length of the list that is judged.", required=True, minimum=1),
        _count("users", "Users judged.", "users"),
        _share(
            "answered", "Share of them for whom the model's order means anything; of others the list is the first items of the catalogue."
        ),
        _share("ndcg_at_k", "Normalised discounted cumulative gain: hits count 1 / log2(rank + 1), over the best that was possible."),
        _share("ndcg_low", "Lower bound of its 95 % confidence interval, by the bootstrap over users."),
        _share("ndcg_high", "Upper bound of its 95 % confidence interval."),
        _share("recall_at_k", "Share of the user's test items in the list."),
        _share("precision_at_k", "Share of the list that is in the user's test items."),
        _share("map_at_k", "Mean average precision: precision at the rank of each hit, summed, over the user's test items."),
        _share("mrr_at_k", "Mean reciprocal rank of the first hit."),
        _share("hit_rate_at_k", "Share of users with any hit."),
        _share("coverage", "Share of the catalogue that appears in any list."),
        _number("novelty", "Mean of -log2 of the share of users who had turned to an item of the list.", "bits"),
        _number("diversity", "Mean of 1 - cosine similarity over pairs of a list, by categories, brand and price band."),
        _share("gini", "Inequality of how often items are recommended: 0 all equally, 1 a few alone."),
        _number("rmse", "Root mean squared error of predicted ratings, of models that predict any.", "rating"),
        _number("mae", "Mean absolute error of predicted ratings.", "rating"),
        _share("validation_ndcg", "nDCG on the validation window before the cut, by which the challenger is chosen."),
        Column("champion", "boolean", "Whether this model makes the recommendations after this comparison.", required=True),
        Column("model_version", "string", "Version in the MLflow registry, where registered."),
        Column("mlflow_run_id", "string", "MLflow run with parameters, metrics and plots."),
    ),
    ("model", "split", "case", "segment"),
)

MODEL_ADVANTAGES = Table(
    "recommendations",
    "model_advantages",
    "How far one model is ahead of another for the same known users, and how sure that is.",
    (
        _MODEL,
        Column("against", "string", "The model that it is compared with.", required=True),
        _count("users", "Users judged.", "users"),
        _number("advantage", "Mean difference in nDCG, user by user.", "", -1),
        _number("low", "Lower bound of its 95 % confidence interval, by the paired bootstrap over users.", "", -1),
        _number("high", "Upper bound of its 95 % confidence interval.", "", -1),
    ),
    ("model", "against"),
)

LEAKAGE_AUDIT = Table(
    "recommendations",
    "leakage_audit",
    "What was checked so that no model has seen what it is judged by.",
    (
        Column(
            "window",
            "string",
            "validation, on which weights are learned and the challenger is chosen, or test, which decides.",
            required=True,
        ),
        Column("check", "string", "What has to hold.", required=True),
        Column("passed", "boolean", "Whether it does.", required=True),
        Column("found", "string", "What was found."),
        Column("expected", "string", "What is expected."),
    ),
    ("window", "check"),
)

CHAMPIONS = Table(
    "home",
    "champions",
    "The version of each stage's model that is taken from now on; MLflow's alias follows when tables made with it are published.",
    (
        Column("stage", "string", "segments or recommendations.", required=True),
        Column("version", "string", "Version in the registry.", required=True),
        Column("chosen_by", "string", "gate, training or person.", required=True),
        Column("reason", "string", "Why, in one sentence.", required=True),
        Column("way_back", "boolean", "Whether the version before the present one was brought back.", required=True),
        Column("since", "timestamp", "When it was chosen, UTC.", required=True),
    ),
    ("stage",),
)

INSTANCE = Table(
    "home",
    "instance",
    "What the tables belong to.",
    (
        Column("name", "string", "key: the fingerprint of the key of the pseudonyms.", required=True),
        Column("value", "string", "Its value.", required=True),
    ),
    ("name",),
)

TUNED_PARAMETERS = Table(
    "recommendations",
    "tuned_parameters",
    "Parameters that a search on the validation window found better than the configured ones.",
    (
        _MODEL,
        Column("parameters", "string", "The best found, as JSON.", required=True),
        Column("configured", "string", "Those of the configuration, as JSON: where they change, the search is void.", required=True),
        _share("ndcg_configured", "nDCG on the validation window with the configured ones."),
        _share("ndcg_tuned", "nDCG on the validation window with the best found."),
        _count("trials", "Trials made in the time given."),
        Column(
            "tuned_until",
            "timestamp",
            "The newest event of the validation window searched on, UTC: later tests alone may judge them.",
            required=True,
        ),
        Column("mlflow_run_id", "string", "MLflow run whose children are the trials."),
    ),
    ("model",),
)

RECOMMENDATIONS = Table(
    "recommendations",
    "recommendations",
    "The top items for every consenting user, each with its reason.",
    (
        replace(_USER, required=True),
        Column("rank", "int64", "1 is the best.", required=True, minimum=1),
        replace(_ITEM, required=True),
        _number("score", "Score of the model; comparable within one user's list only.", "", None),
        Column("reason", "string", "Why this item: by the part of the model that counted most for it.", required=True),
        _MODEL,
        Column("case", "string", "warm: has interactions; new user: answered from attributes, segment or popularity.", required=True),
        Column("model_version", "string", "Version of the model in MLflow.", required=True),
        _AS_OF,
    ),
    ("user_id", "rank"),
    personal_rows=True,
    references={"user_id": ("events", "users", "user_id"), "item_id": ("events", "items", "item_id")},
)

SIMILAR_ITEMS = Table(
    "recommendations",
    "similar_items",
    "For each item those that the same users turn to.",
    (
        replace(_ITEM, required=True),
        Column("rank", "int64", "1 is the most similar.", required=True, minimum=1),
        Column("similar_item_id", "string", "The other item.", required=True),
        _share("similarity", "Cosine of who turned to them, shrunk where few users are common."),
        _count("common_users", "Users who turned to both.", "users"),
        _AS_OF,
    ),
    ("item_id", "rank"),
    references={"item_id": ("events", "items", "item_id"), "similar_item_id": ("events", "items", "item_id")},
)

BOUGHT_TOGETHER = Table(
    "recommendations",
    "bought_together",
    "For each item those that are often in the same basket.",
    (
        replace(_ITEM, required=True),
        Column("rank", "int64", "1 has the highest confidence.", required=True, minimum=1),
        Column("other_item_id", "string", "The other item.", required=True),
        _count("baskets", "Baskets with both.", "baskets"),
        _share("support", "Their share of all baskets."),
        _share("confidence", "Share of the baskets with the item that hold the other too."),
        _number("lift", "Confidence over the other's share of all baskets: above 1, more often than by chance."),
        _AS_OF,
    ),
    ("item_id", "rank"),
    references={"item_id": ("events", "items", "item_id"), "other_item_id": ("events", "items", "item_id")},
)

TABLES: tuple[Table, ...] = (
    FILES,
    EVENTS,
    SESSIONS,
    REJECTS,
    DUPLICATES,
    FILTERED,
    ACCOUNTING,
    CLOCKS,
    ITEMS,
    USERS,
    USER_FEATURES,
    CATEGORY_SHARES,
    ITEM_FEATURES,
    INTERACTIONS,
    USER_SEGMENTS,
    SEGMENT_PROFILES,
    SEGMENT_QUALITY,
    SEGMENT_CHANGES,
    SEGMENT_RULES,
    SEGMENT_HISTORY,
    USER_PREDICTIONS,
    PREDICTION_QUALITY,
    PREDICTION_DRIVERS,
    PROFILE_DOCUMENTS,
    PROFILE_HISTORY,
    SEGMENT_MOVEMENT,
    USER_PROFILES,
    TUNED_PARAMETERS,
    MODEL_COMPARISON,
    MODEL_ADVANTAGES,
    LEAKAGE_AUDIT,
    SIMILAR_ITEMS,
    BOUGHT_TOGETHER,
    RECOMMENDATIONS,
    CHAMPIONS,
    INSTANCE,
)


def table(name: str) -> Table:
    """The contract of a table by its name, with or without the schema.

    Raises:
        KeyError: there is no such table.
    """
    for contract in TABLES:
        if name in (contract.name, contract.full_name):
            return contract
    raise KeyError(name)
