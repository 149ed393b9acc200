"""What each segment is like, in the numbers that a marketer asks for first."""

from __future__ import annotations

import pandas as pd

from persona_pipelines.segments.model import SegmentModel
from persona_pipelines.segments.naming import described


def segment_profiles(model: SegmentModel, assigned: pd.DataFrame, features: pd.DataFrame, category_shares: pd.DataFrame) -> pd.DataFrame:
    """``contracts.SEGMENT_PROFILES`` but the version and date; a segment without users has a row of its own too.

    What sets a segment apart is measured on its present users, so that it stays true when they change.
    """
    scaled = pd.DataFrame(model.scaler.transform(features), columns=list(model.scaler.columns))
    merged = assigned.reset_index(drop=True)
    assert (merged["user_id"].to_numpy() == features["user_id"].to_numpy()).all()
    rows = []
    for number, name in enumerate(model.names, start=1):
        members = (merged["segment_id"] == number).to_numpy()
        mine = features[members]
        shares = category_shares[category_shares["user_id"].isin(mine["user_id"])].groupby("category")["attention_share"].sum()
        shares = (shares / max(len(mine), 1)).sort_values(ascending=False, kind="stable").head(3)
        centre = scaled[members].mean().to_numpy() if members.any() else model.centres[number - 1]
        rows.append(
            {
                "segment_id": number,
                "segment_name": name,
                "users": int(members.sum()),
                "share": members.mean() if len(members) else 0.0,
                "distinguishing_features": described(model.scaler.columns, centre),
                "top_categories": ", ".join(f"{category} {share:.0%}" for category, share in shares.items()) or None,
                "mean_monetary_value": mine["monetary_value"].mean(),
                "mean_sessions": mine["sessions"].mean(),
                "mean_recency_days": mine["recency_days"].mean(),
            }
        )
    return pd.DataFrame(rows)
