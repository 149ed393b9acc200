"""Tables of segments."""

from __future__ import annotations

from dataclasses import replace

from persona_pipelines.warehouse.contracts.parts import (
    AS_OF,
    SEGMENT,
    SEGMENT_NAME,
    SEGMENT_VERSION,
    USER,
    Column,
    Table,
    count,
    number,
    share,
)

USER_SEGMENTS = Table(
    "segments",
    "user_segments",
    "The segment of every user.",
    (
        replace(USER, required=True),
        AS_OF,
        SEGMENT,
        SEGMENT_NAME,
        number("distance", "Distance to the segment's centre in scaled features."),
        SEGMENT_VERSION,
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
        SEGMENT,
        SEGMENT_NAME,
        AS_OF,
        count("users", "Users.", "users"),
        share("share", "Users of the segment among all users."),
        Column(
            "distinguishing_features",
            "string",
            "Features that clearly differ from the others', in standard deviations; none without any.",
            required=True,
        ),
        Column("description", "string", "The segment in one paragraph.", required=True),
        Column("top_categories", "string", "Categories with the largest interest share."),
        Column("note", "string", "What people have written about the segment (persona segment note); null without."),
        number("mean_monetary_value", "Mean monetary value; null where the log holds none.", "currency", None),
        number("mean_sessions", "Mean number of sessions; null where the log shows none.", "sessions"),
        number("mean_recency_days", "Mean days since the last own event; null where the log has no clock.", "days"),
        SEGMENT_VERSION,
    ),
    ("segment_id",),
)

SEGMENT_DIFFERENCES = Table(
    "segments",
    "segment_differences",
    "In what the people of a segment differ from all others, and what may therefore be said of them.",
    (
        SEGMENT,
        Column("feature", "string", "Feature, or attribute of the customer list.", required=True),
        Column("rank", "int64", "1 is the largest difference.", required=True, minimum=1),
        replace(
            number("deviation", "Mean of the scaled feature less that of the others.", "standard deviations of all users", None),
            required=True,
        ),
        number("low", "Lower end of its 95 % interval.", "standard deviations of all users", None),
        number("high", "Upper end of its 95 % interval.", "standard deviations of all users", None),
        number("mean", "Mean of the feature itself, over those of whom it is known.", "", None),
        number("mean_of_others", "Mean of the feature of all others.", "", None),
        share("positive_share", "Share of the people of the segment in whom it is above 0, of those of whom it is known."),
        count("users", "People of the segment of whom it is known.", "users"),
        Column(
            "clear",
            "boolean",
            "At least 0.3 standard deviations, the interval does not hold 0, known of half of the people and ten of either side, and the same way in the mean of the feature itself.",
            required=True,
        ),
        Column("phrase", "string", "What may be said after 'compared with the others, they'; null where nothing."),
        Column("phrase_zh", "string", "The same in Chinese."),
        Column("advice", "string", "How to speak to them; null where it gives none."),
        Column("advice_zh", "string", "The same in Chinese."),
        SEGMENT_VERSION,
    ),
    ("segment_id", "feature"),
)

SEGMENT_INTERESTS = Table(
    "segments",
    "segment_interests",
    "What the people of a segment turn to: mean interest shares of categories, over those who have shown an interest in anything.",
    (
        SEGMENT,
        Column("category", "string", "Category of items.", required=True),
        count("users", "People of the segment with interests.", "users"),
        replace(share("share", "Mean share of the category among them."), required=True),
        share("share_of_others", "Mean share of the category among all others with interests."),
        number("low", "Lower end of the 95 % interval of the difference.", "share", None),
        number("high", "Upper end of the 95 % interval of the difference.", "share", None),
        Column(
            "clear",
            "boolean",
            "Ahead of the others by 0.05 or more, the interval does not hold 0, ten people on either side.",
            required=True,
        ),
        SEGMENT_VERSION,
    ),
    ("segment_id", "category"),
)

SEGMENT_QUALITY = Table(
    "segments",
    "segment_quality",
    "The algorithms and numbers of segments tried, with their quality on the sample.",
    (
        Column("algorithm", "string", "Algorithm; none where all users are alike.", required=True),
        Column("k_wanted", "int64", "Number of segments asked for; 0 for algorithms that find it themselves.", required=True, minimum=0),
        Column("k", "int64", "Number of segments found, small ones merged.", required=True, minimum=0),
        number("silhouette", "Mean silhouette: -1 to 1, higher is better.", "", -1),
        number("davies_bouldin", "Davies-Bouldin index: lower is better."),
        number("calinski_harabasz", "Calinski-Harabasz index: higher is better."),
        number("stability", "Mean adjusted Rand index with refits on bootstrap samples; null where it was not measured.", "", -1),
        share("noise_share", "Users in no segment."),
        Column("chosen", "boolean", "Whether this one is used.", required=True),
        count("sample_users", "Users in the sample.", "users"),
        SEGMENT_VERSION,
    ),
    ("algorithm", "k_wanted"),
)

SEGMENT_CHANGES = Table(
    "segments",
    "segment_changes",
    "What became of the segments in the last training.",
    (
        SEGMENT,
        Column("change", "string", "kept, born, died, split (users went to another), merged (users came from another).", required=True),
        Column("other_segment_id", "int64", "The other segment of a split or merger.", minimum=0),
        count("users", "Users concerned.", "users"),
        SEGMENT_VERSION,
    ),
    ("segment_id", "change", "other_segment_id"),
)

SEGMENT_RULES = Table(
    "segments",
    "segment_rules",
    "One rule a segment in plain features: who meets it is probably in it.",
    (
        SEGMENT,
        Column("rule", "string", "Conditions on features that all have to hold.", required=True),
        share("precision", "Share of the users who meet the rule that are in the segment."),
        share("coverage", "Share of the segment's users who meet the rule."),
        count("users", "Users who meet the rule.", "users"),
        SEGMENT_VERSION,
    ),
    ("segment_id",),
)

SEGMENT_HISTORY = Table(
    "segments",
    "segment_history",
    "Size and worth of each segment on each day that it was scored: its trend.",
    (
        AS_OF,
        SEGMENT,
        SEGMENT_NAME,
        count("users", "Users.", "users"),
        share("share", "Users of the segment among all users."),
        number("mean_monetary_value", "Mean monetary value.", "currency", None),
        number("mean_recency_days", "Mean days since the last event.", "days"),
        SEGMENT_VERSION,
    ),
    ("as_of_date", "segment_id"),
    history=True,
)
