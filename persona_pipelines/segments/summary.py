"""What each segment is like, in the numbers and the words that a marketer asks for first."""

from __future__ import annotations

import pandas as pd

from persona_pipelines.segments.model import UNPLACED, SegmentModel
from persona_pipelines.segments.naming import described, paragraph


def segment_profiles(model: SegmentModel, assigned: pd.DataFrame, features: pd.DataFrame, category_shares: pd.DataFrame) -> pd.DataFrame:
    """``contracts.SEGMENT_PROFILES`` but the version and date; a segment without users has a row of its own too, users without a
    segment have one where there are any.

    What sets a segment apart is measured on its present users, so that it stays true when they change.
    """
    standardised = pd.DataFrame(model.scaler.standardised(features), columns=list(model.scaler.columns))
    merged = assigned.reset_index(drop=True)
    assert (merged["user_id"].to_numpy() == features["user_id"].to_numpy()).all()
    named = list(zip(model.ids, model.names, strict=True))
    if (merged["segment_id"] == UNPLACED[0]).any():
        named.append(UNPLACED)
    rows = []
    for number, name in named:
        members = (merged["segment_id"] == number).to_numpy()
        mine = features[members]
        shares = category_shares[category_shares["user_id"].isin(mine["user_id"])].groupby("category")["attention_share"].sum()
        shares = (shares / max(len(mine), 1)).sort_values(ascending=False, kind="stable").head(3)
        # Everyone differs from nobody, whatever the scale's middle is.
        centre = standardised[members].mean().fillna(0.0).to_numpy() * (not members.all())
        share = float(members.mean()) if len(members) else 0.0
        rows.append(
            {
                "segment_id": number,
                "segment_name": name,
                "users": int(members.sum()),
                "share": share,
                "distinguishing_features": described(model.scaler.columns, centre),
                "description": paragraph(name, share, model.scaler.columns, centre, [str(category) for category in shares.index]),
                "top_categories": ", ".join(f"{category} {part:.0%}" for category, part in shares.items()) or None,
                "mean_monetary_value": mine["monetary_value"].mean(),
                "mean_sessions": mine["sessions"].mean(),
                "mean_recency_days": mine["recency_days"].mean(),
            }
        )
    return pd.DataFrame(rows)
