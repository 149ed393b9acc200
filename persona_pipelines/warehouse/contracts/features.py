"""Tables of features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from persona_pipelines.warehouse.contracts.parts import AS_OF, ITEM, USER, Column, Table, count, number, share
from persona_pipelines.warehouse.described import FEATURES, Feature

KINDS: dict[str, Callable[[Feature], Column]] = {
    "share": lambda feature: share(feature.name, _meaning(feature)),
    "count": lambda feature: replace(count(feature.name, _meaning(feature), feature.unit or "events"), required=False),
    "number": lambda feature: number(feature.name, _meaning(feature), feature.unit),
    "any_number": lambda feature: number(feature.name, _meaning(feature), feature.unit, None),
    "text": lambda feature: Column(feature.name, "string", _meaning(feature)),
}
"""The column of a feature, by the kind that ``user_features.yaml`` gives it."""


def _meaning(feature: Feature) -> str:
    """What a feature is, and what a log has to hold for it."""
    needs = ", ".join(need.replace("_", " ") for need in feature.needs)
    return f"{feature.description} Needs {needs}." if needs else feature.description


USER_FEATURES = Table(
    "features",
    "user_features",
    "One row a user: what the events up to the as-of date say of their attention and worth.",
    (
        replace(USER, required=True),
        AS_OF,
        *(KINDS[feature.kind](feature) for feature in FEATURES.values()),
    ),
    ("user_id",),
    personal_rows=True,
    references={"user_id": ("events", "users", "user_id")},
)

FEATURE_SUPPORT = Table(
    "features",
    "feature_support",
    "What the log holds for each feature of a user: one that is absent is null, and takes no part in segments, names, profiles, predictions and advice.",
    (
        Column("feature", "string", "Column of features.user_features.", required=True),
        Column("support", "string", "measured, inferred, or absent.", required=True),
        Column("evidence", "string", "What it is measured by, how it is inferred, or what is missing.", required=True),
        Column("fields", "string", "Canonical fields that it is made of, as far as a source maps them."),
        Column("sources", "string", "Sources that show it."),
        count("events", "Events of users that show it."),
        replace(share("events_share", "These among all events of users."), required=True),
        count("users", "Users with such an event.", "users"),
        replace(share("users_share", "These among all users with events."), required=True),
    ),
    ("feature",),
)

CATEGORY_SHARES = Table(
    "features",
    "category_shares",
    "How a user's interest is spread over the categories of items: of attention, where the log tells of it, else of events.",
    (
        replace(USER, required=True),
        Column("category", "string", "Category of items.", required=True),
        AS_OF,
        Column(
            "interest_share",
            "float64",
            "Attention to the category's items over attention to all items; where the log tells of no attention, events instead.",
            "share",
            required=True,
            minimum=0,
            maximum=1,
        ),
        Column("rank", "int64", "1 is the category with the largest share.", required=True, minimum=1),
        number(
            "interest_half_life_days",
            "Half-life of the interest since its first day, by an exponential decay; null with fewer than three days of interest.",
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
        replace(ITEM, required=True),
        AS_OF,
        Column("category", "string", "Main category."),
        number("price", "List price, else the median paid per piece.", "currency"),
        share("price_rank", "Rank of the price within the category: 0 cheapest, 1 dearest."),
        count("events", "Events."),
        count("users", "Different users.", "users"),
        count("views", "Item views."),
        count("purchases", "Purchases and bookings."),
        number("revenue", "Value of purchases and bookings less refunds and cancellations.", "currency", None),
        share("purchase_share", "Users who bought or booked it among its users."),
        count("ratings", "Ratings."),
        number("average_rating", "Mean rating; null without one.", "", None),
        number("attention_ms_per_event", "Attention per event.", "ms"),
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
        replace(USER, required=True),
        replace(ITEM, required=True),
        AS_OF,
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
        count("events", "Events of the pair that carry a weight."),
        number("rating", "Mean rating of the item by the user; null where not rated.", "", None),
    ),
    ("user_id", "item_id"),
    personal_rows=True,
    references={"user_id": ("events", "users", "user_id"), "item_id": ("events", "items", "item_id")},
)
