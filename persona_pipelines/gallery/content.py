"""What the gallery shows, gathered from the tables: numbers and words, no markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from persona_pipelines.errors import ProjectError
from persona_pipelines.events.ordering import in_order
from persona_pipelines.features.support import stored_support
from persona_pipelines.segments.maps import drawn, principal_components
from persona_pipelines.segments.model import UNPLACED, SegmentModel
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.described import Log
from persona_pipelines.warehouse.functions import local_time

MAP_POINTS = 700
EXAMPLES = 2
UNUSUAL = 4.0
"""Robust standard deviations from the usual number of events of a weekday from which on a day is unusual."""


@dataclass(frozen=True)
class Card:
    """One segment. Details are None where it has fewer users than may be shown."""

    segment_id: int
    name: str
    users: int
    share: float
    details: dict[str, Any] | None


@dataclass(frozen=True)
class Gallery:
    """Everything on the page.

    Attributes:
        glance: numbers of the whole audience.
        places, groups: of the map: shape (points, 2) and the number of the card of each.
    """

    name: str
    as_of: str
    log: Log
    glance: dict[str, float | int | None]
    cards: list[Card]
    places: np.ndarray
    groups: np.ndarray
    movement: pd.DataFrame
    accounting: pd.DataFrame
    predictions: pd.DataFrame
    drivers: pd.DataFrame
    segment_quality: dict[str, Any]
    unusual_days: pd.DataFrame
    minimum: int


class NothingToShowError(ProjectError):
    """There are no people in segments; the message says what makes some."""


def gathered(store: Warehouse, settings: Settings, model: SegmentModel) -> Gallery:
    """Read the tables.

    Args:
        model: the segments in use, for the map and for what sets them apart.
    """
    profiles = store.frame(store.table(contracts.SEGMENT_PROFILES).order_by("segment_id"))
    users = in_order(store, store.table(contracts.USER_PROFILES))
    features = in_order(store, store.table(contracts.USER_FEATURES))
    shares = in_order(store, store.table(contracts.CATEGORY_SHARES).select("user_id", "category", "interest_share"), "category")
    shown = profiles[profiles["segment_id"] != UNPLACED[0]].sort_values(["users", "segment_id"], ascending=[False, True])
    support = stored_support(store)
    cards = [_card(store, settings, model, row, users, features, shares, support.absent) for row in shown.to_dict("records")]
    number_of = {card.segment_id: number for number, card in enumerate(cards) if card.details is not None}
    numbers = drawn(len(features), settings.segments.seed)[:MAP_POINTS]
    segment_of = users.set_index("user_id")["segment_id"].reindex(features["user_id"]).to_numpy()
    visible = np.array([number for number in numbers if segment_of[number] in number_of], dtype=int)
    places = principal_components(model.scaler.transform(features, shares))[visible] if len(visible) else np.zeros((0, 2))
    quality = store.table(contracts.SEGMENT_QUALITY)
    chosen = store.frame(quality.filter(quality.chosen).limit(1)).to_dict("records")
    accounting = store.table(contracts.ACCOUNTING)
    sums = accounting.group_by("source").aggregate(
        **{name: accounting[name].sum() for name in ("records_read", "events", "rejects", "duplicates", "filtered")}
    )
    prediction_quality, drivers = store.table(contracts.PREDICTION_QUALITY), store.table(contracts.PREDICTION_DRIVERS)
    return Gallery(
        settings.name,
        f"{features['as_of_date'].iloc[0]:%Y-%m-%d}",
        support.log,
        _glance(users, len(cards)),
        cards,
        places,
        np.array([number_of[segment_of[number]] for number in visible], dtype=int),
        store.frame(store.table(contracts.SEGMENT_MOVEMENT).order_by("from_segment", "to_segment")),
        store.frame(sums.order_by("source")),
        store.frame(prediction_quality.filter(prediction_quality.chosen).order_by("target")),
        store.frame(drivers.filter(drivers["rank"] <= 5).order_by("target", "rank")),
        chosen[0] if chosen else {},
        unusual_days(store.frame(accounting.group_by("day").aggregate(events=accounting.events.sum()).order_by("day"))),
        settings.segments.minimum_segment_size,
    )


def _glance(users: pd.DataFrame, segments: int) -> dict[str, float | int | None]:
    def mean(name: str) -> float | None:
        values = users[name].to_numpy(dtype=float, na_value=np.nan)
        return float(np.nanmean(values)) if np.isfinite(values).any() else None

    return {
        "users": len(users),
        "buyers": float((users["purchases"] > 0).mean()) if users["purchases"].notna().any() else None,
        "segments": segments,
        "value": mean("monetary_value"),
        "lifetime": mean("lifetime_value"),
        "likely": mean("purchase_probability"),
        "leaving": mean("churn_probability"),
        "sessions": mean("sessions"),
    }


def _card(
    store: Warehouse,
    settings: Settings,
    model: SegmentModel,
    row: dict[str, Any],
    users: pd.DataFrame,
    features: pd.DataFrame,
    shares: pd.DataFrame,
    absent: frozenset[str],
) -> Card:
    segment, size = int(row["segment_id"]), int(row["users"])
    if size < settings.segments.minimum_segment_size:
        return Card(segment, row["segment_name"], size, float(row["share"]), None)
    mine = users[users["segment_id"] == segment]
    inside = features["user_id"].isin(mine["user_id"]).to_numpy()
    differences, interests = store.table(contracts.SEGMENT_DIFFERENCES), store.table(contracts.SEGMENT_INTERESTS)
    spoken = differences.filter((differences.segment_id == segment) & differences.phrase.notnull()).order_by("rank").limit(6)
    turned_to = interests.filter(interests.segment_id == segment).order_by([interests.share.desc(), interests.category]).limit(5)
    rules = store.table(contracts.SEGMENT_RULES)
    history = store.table(contracts.SEGMENT_HISTORY)
    details = {
        "description": row["description"],
        "glance": _glance(mine, 1),
        "interests": list(store.tuples(turned_to.select("category", "share"))),
        "apart": store.frame(spoken).to_dict("records"),
        "rhythm": _rhythm(store, segment, settings.features.timezone) if "night_share" not in absent else None,
        "examples": _examples(model, mine, features[inside], shares),
        "recommender": _recommender(store, segment, row["segment_name"]),
        "rule": next(iter(store.frame(rules.filter(rules.segment_id == segment)).to_dict("records")), None),
        "sizes": store.frame(history.filter(history.segment_id == segment).order_by("as_of_date"))["users"].astype(int).tolist(),
    }
    return Card(segment, row["segment_name"], size, float(row["share"]), details)


def _rhythm(store: Warehouse, segment: int, timezone: str) -> np.ndarray:
    """Events of the segment by weekday (Monday first) and hour, shape (7, 24)."""
    events, placed = store.table(contracts.EVENTS), store.table(contracts.USER_SEGMENTS)
    members = placed.filter(placed.segment_id == segment).select("user_id")
    own = events.filter(events.event_type != "impression").semi_join(members, "user_id")
    moments = local_time(own.timestamp, timezone)
    marked = own.select(weekday=moments.day_of_week.index(), hour=moments.hour())
    found = store.frame(marked.group_by("weekday", "hour").aggregate(events=marked.count()))
    counts = np.zeros((7, 24))
    counts[found["weekday"].to_numpy(dtype=int), found["hour"].to_numpy(dtype=int)] = found["events"]
    return counts


def _examples(model: SegmentModel, mine: pd.DataFrame, features: pd.DataFrame, shares: pd.DataFrame) -> list[dict[str, Any]]:
    """Those nearest to the segment's centre, rounded and without anything that names them."""
    assigned = model.assign(features, shares).sort_values("distance", kind="stable")
    found = []
    for user in assigned["user_id"].head(EXAMPLES):
        row = mine[mine["user_id"] == user].iloc[0]
        found.append(
            {
                "stage": row["lifecycle_stage"] if isinstance(row["lifecycle_stage"], str) else None,
                "interests": row["top_interests"] if isinstance(row["top_interests"], str) else "",
                "spent": _rounded(row["monetary_value"], -1),
                "recency_days": _rounded(row["recency_days"], 0),
                "purchase_probability": _rounded(row["purchase_probability"], 1),
                "churn_probability": _rounded(row["churn_probability"], 1),
            }
        )
    return found


def _rounded(value: Any, digits: int) -> float | None:
    return round(float(value), digits) if not pd.isna(value) else None


def _recommender(store: Warehouse, segment: int, name: str) -> dict[str, Any]:
    """The items recommended most, and how often the champion's lists hit for this segment after the cut."""
    lists, placed, items = (store.table(table) for table in (contracts.RECOMMENDATIONS, contracts.USER_SEGMENTS, contracts.ITEMS))
    own = lists.semi_join(placed.filter(placed.segment_id == segment), "user_id")
    counts = own.group_by("item_id").aggregate(users=own.user_id.nunique())
    top = counts.left_join(items.select("item_id", "title"), "item_id").order_by([counts.users.desc(), counts.item_id]).limit(4)
    frame = store.frame(top)
    judged = store.table(contracts.MODEL_COMPARISON)
    quality = store.frame(judged.filter(judged.champion & (judged.case == "warm") & (judged.segment == name)))
    return {
        "top": [title if isinstance(title, str) else item for title, item in zip(frame["title"], frame["item_id"], strict=True)],
        "hit_rate": float(quality["hit_rate_at_k"].iloc[0]) if len(quality) else None,
    }


def unusual_days(days: pd.DataFrame) -> pd.DataFrame:
    """``day``, ``events``, ``usual``: days whose number of events is far from the median of their weekday, by the median absolute
    deviation of all days (Iglewicz and Hoaglin 1993); the five furthest."""
    if len(days) < 14:
        return days.head(0).assign(usual=pd.Series(dtype=float))
    weekday = pd.to_datetime(days["day"]).dt.weekday
    usual = days["events"].groupby(weekday).transform("median").astype(float)
    left = days["events"] - usual
    spread = 1.4826 * float(np.median(np.abs(left - np.median(left))))
    far = np.abs(left) / max(spread, 1e-9)
    return days.assign(usual=usual, far=far)[(far > UNUSUAL) & (spread > 0)].sort_values("far", ascending=False).head(5).drop(columns="far")
