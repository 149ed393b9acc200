"""What each segment is like, in the numbers and the words that a marketer asks for first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pandas as pd

from persona_pipelines.segments.differences import all_differences, rows
from persona_pipelines.segments.interests import segment_interests, sentence, statement
from persona_pipelines.segments.labels import Label
from persona_pipelines.segments.model import UNPLACED, SegmentModel
from persona_pipelines.segments.naming import Name, described, paragraph
from persona_pipelines.warehouse.described import Log

TOP = 3


@dataclass(frozen=True)
class Summary:
    """Rows of ``contracts.SEGMENT_PROFILES``, ``SEGMENT_DIFFERENCES`` and ``SEGMENT_INTERESTS``, but the version and the date."""

    profiles: pd.DataFrame
    differences: pd.DataFrame
    interests: pd.DataFrame


def summary(
    model: SegmentModel,
    assigned: pd.DataFrame,
    features: pd.DataFrame,
    category_shares: pd.DataFrame,
    log: Log,
    labels: Mapping[int, Label] = MappingProxyType({}),
) -> Summary:
    """What the segments are like; a segment without users has a row of its own too, users without a segment have one where there are any.

    What sets a segment apart is measured on its present users, so that it stays true when they change.

    Args:
        assigned: ``user_id``, ``segment_id`` in the order of ``features``.
        log: what the log is a log of.
        labels: what people have written about segments.
    """
    assert (assigned["user_id"].to_numpy() == features["user_id"].to_numpy()).all()
    segment_of = assigned["segment_id"].to_numpy()
    named = list(zip(model.ids, model.named, strict=True))
    if (segment_of == UNPLACED[0]).any():
        named.append((UNPLACED[0], Name(UNPLACED[1])))
    differences = all_differences(model.scaler, features, segment_of, [number for number, _ in named])
    interests = segment_interests(assigned, category_shares)
    namesakes = model.namesakes(features, category_shares, segment_of)
    profiles = []
    for number, name in named:
        members = segment_of == number
        mine, own = features[members], interests[interests["segment_id"] == number]
        share = float(members.mean()) if len(members) else 0.0
        profiles.append(
            {
                "segment_id": number,
                "segment_name": name.text,
                "users": int(members.sum()),
                "share": share,
                "distinguishing_features": described(differences[number]),
                "description": paragraph(name, share, differences[number], sentence(statement(own), log), log, namesakes.get(number, ())),
                "top_categories": ", ".join(f"{row.category} {row.share:.0%}" for row in own.head(TOP).itertuples()) or None,
                "note": labels.get(number, Label()).note or None,
                "mean_monetary_value": mine["monetary_value"].mean(),
                "mean_sessions": mine["sessions"].mean(),
                "mean_recency_days": mine["recency_days"].mean(),
            }
        )
    return Summary(pd.DataFrame(profiles), rows(differences, log), interests)
