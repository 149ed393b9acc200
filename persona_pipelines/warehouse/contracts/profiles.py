"""Tables of profiles and predictions."""

from __future__ import annotations

from dataclasses import replace

from persona_pipelines.warehouse.contracts.events import USERS
from persona_pipelines.warehouse.contracts.features import USER_FEATURES
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

USER_PREDICTIONS = Table(
    "profiles",
    "user_predictions",
    "What each user will probably do, by models that were judged on a window they had not seen.",
    (
        replace(USER, required=True),
        AS_OF,
        Column("horizon_days", "int64", "Days that the probabilities and the expected spend look ahead.", "days", required=True, minimum=1),
        share("purchase_probability", "Chance of buying within the horizon; null where there is too little history to judge it."),
        share(
            "churn_probability",
            "Chance of leaving, as prediction_quality.definition says: no own event within the horizon, or, of customers who are seen only when "
            "they buy, that they have stopped buying; null where there is too little history to judge it.",
        ),
        number("expected_spend", "Expected spend within the horizon.", "currency"),
        number("lifetime_value", "Expected spend within predictions.lifetime_days.", "currency"),
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
        Column("definition", "string", "What is foreseen, and for how long.", required=True),
        Column("model", "string", "Name of the model.", required=True),
        Column("window_start", "date", "First day of the window that judges; null where users judge whose attribute was kept back."),
        Column("window_days", "int64", "Its length.", "days", minimum=1),
        count("users", "Users judged.", "users"),
        share("base_rate", "Share of the users who did it; null for amounts."),
        share("auc", "Area under the ROC curve; null for amounts."),
        share("average_precision", "Average precision; null for amounts."),
        share("calibration_error", "Expected calibration error over ten bins of equal size; null for amounts."),
        number("log_loss", "Mean negative log-likelihood; null for amounts.", "nats"),
        number("lift", "Share of doers among the tenth with the highest probability, over the base rate; null for amounts."),
        number("spearman", "Rank correlation with what was spent; null for probabilities.", "", -1),
        number("mean_absolute_error", "Mean absolute error; null for probabilities.", "currency"),
        number("level", "Total that was foreseen over the total that was spent: 1 is right; null for probabilities."),
        number("validation", "What the model was chosen by, on the window before: log-likelihood per user, or rank correlation.", "", None),
        Column("chosen", "boolean", "Whether this model makes the predictions.", required=True),
        Column("reason", "string", "Why it does or does not.", required=True),
        Column(
            "model_version",
            "string",
            "Version in the MLflow registry (CONFIGURATION-profiles-TARGET) of the chosen model, which every prediction of the target was made with; "
            "null of the others.",
        ),
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
        number(
            "importance",
            "Mean loss in AUC, of amounts in R2 of their logarithm, over shuffles of the feature in the window that judges.",
            "",
            None,
        ),
        number("correlation", "Rank correlation of the feature with what is predicted: its sign is the direction.", "", -1),
    ),
    ("target", "feature"),
)

PROFILE_DOCUMENTS = Table(
    "profiles",
    "profile_documents",
    "One document a user: every statement with the evidence behind it.",
    (
        replace(USER, required=True),
        AS_OF,
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
        replace(USER, required=True),
        Column("valid_from", "date", "First day on which it was so.", required=True),
        Column("valid_to", "date", "Last day on which it was so; null while it still is."),
        SEGMENT,
        SEGMENT_NAME,
        Column("lifecycle_stage", "string", "new, active, loyal, at risk or lapsed; null where no act has a date."),
        Column("top_interests", "string", "Up to three categories with their interest shares."),
        share("purchase_probability", "As predicted on the first of the days."),
        share("churn_probability", "As predicted on the first of the days."),
        number("lifetime_value", "As predicted on the first of the days.", "currency"),
    ),
    ("user_id", "valid_from"),
    personal_rows=True,
    history=True,
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
        count("users", "Users.", "users"),
    ),
    ("from_segment", "to_segment"),
)

USER_PROFILES = Table(
    "profiles",
    "user_profiles",
    "One row a user: who they are to the business, as of a date.",
    (
        replace(USER, required=True),
        AS_OF,
        SEGMENT,
        SEGMENT_NAME,
        Column("lifecycle_stage", "string", "new, active, loyal, at risk or lapsed; null where no act has a date."),
        Column("top_interests", "string", "Up to three categories with their interest shares."),
        *(
            column
            for column in USER_FEATURES.columns
            if column.name
            in {
                "recency_days",
                "tenure_days",
                "purchases",
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
        SEGMENT_VERSION,
    ),
    ("user_id",),
    personal_rows=True,
    references={"user_id": ("features", "user_features", "user_id")},
)
