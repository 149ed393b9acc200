"""One row a user: features, segment, interests, life-cycle stage and consent side by side."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

NEW_DAYS, ACTIVE_DAYS, AT_RISK_DAYS = 14, 30, 90
LOYAL_PURCHASE_DAYS = 3
INTERESTS = 3


def lifecycle_stage(features: ir.Table) -> ir.StringValue:
    """The project's own definition, from recency, tenure and frequency:

    new: first seen within 14 days; loyal: seen within 30 days with purchases on 3 days or more; active: seen within 30
    days; at risk: seen within 90 days; lapsed: longer ago. Null of a user of whom no act has a date.
    """
    active = features.recency_days <= ACTIVE_DAYS
    return ibis.cases(
        (features.recency_days.isnull(), ibis.null("string")),
        (features.tenure_days < NEW_DAYS, "new"),
        (active & (features.frequency.fill_null(0) >= LOYAL_PURCHASE_DAYS), "loyal"),
        (active, "active"),
        (features.recency_days <= AT_RISK_DAYS, "at risk"),
        else_="lapsed",
    )


def top_interests(category_shares: ir.Table) -> ir.Table:
    """``user_id`` and ``top_interests``: up to three categories with their attention shares, ``Garden 61%, Books 20%``."""
    top = category_shares.filter(category_shares["rank"] <= INTERESTS)
    percent = (top.interest_share * 100).round().cast("int64").cast("string")
    named = top.mutate(interest=top.category + " " + percent + "%")
    return named.group_by("user_id").aggregate(top_interests=named.interest.group_concat(", ", order_by=named["rank"]))


def user_profiles(features: ir.Table, segments: ir.Table, category_shares: ir.Table, users: ir.Table, predictions: ir.Table) -> ir.Table:
    """``contracts.USER_PROFILES`` of all users with features and a segment."""
    placed = segments.select("user_id", "segment_id", "segment_name", "segment_model_version")
    joined = features.inner_join(placed, "user_id")
    joined = joined.left_join(top_interests(category_shares), "user_id").drop("user_id_right")
    joined = joined.inner_join(users, "user_id")
    said = predictions.select("user_id", "purchase_probability", "churn_probability", "expected_spend", "lifetime_value", "targets")
    joined = joined.left_join(said, "user_id").drop("user_id_right")
    return joined.mutate(lifecycle_stage=lifecycle_stage(joined))
