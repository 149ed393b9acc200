"""What the gallery shows, gathered from the tables: numbers and what follows from them, no markup and no words of a language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from persona_pipelines.errors import ProjectError
from persona_pipelines.events.checks import currencies_of_money
from persona_pipelines.events.ordering import in_order
from persona_pipelines.features.attention import is_act
from persona_pipelines.features.support import ABSENT, clock_support, stored_support
from persona_pipelines.gallery import audience
from persona_pipelines.gallery.first import Pointer, pointers, spent_most
from persona_pipelines.profiles.forecasting import CHURN, LIFETIME, PURCHASE, SPEND
from persona_pipelines.profiles.predictions import BASE_RATE, MEAN
from persona_pipelines.segments.interests import Statement, statement
from persona_pipelines.segments.maps import drawn, principal_components
from persona_pipelines.segments.model import UNPLACED, SegmentModel
from persona_pipelines.segments.naming import Name
from persona_pipelines.settings import Settings
from persona_pipelines.settings.loading import as_named
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.described import CHINESE, Log
from persona_pipelines.warehouse.functions import local_time

MAP_POINTS = 700
HOURS = (3, 6)
"""Parts of a day in which it is counted who is active: the first in which enough can be told."""
TOLD_SHARE = 0.5
"""Share of what is done that has to be in parts of a week with enough people to be told: of less, nothing is seen."""
APART = 6
INTERESTS = 5
SHOWN = 0.005
"""A smaller share would be shown as 0%."""
DRIVERS = 5
MUCH_OF_THE_CATALOGUE = 5
"""Of a catalogue with no more than so many times the items of a list, most lists have a hit whatever they hold."""
AMOUNTS = (SPEND, LIFETIME)
FORESEEN = {PURCHASE: "purchase_probability", CHURN: "churn_probability", LIFETIME: "lifetime_value"}
"""Columns of ``contracts.USER_PROFILES`` with what is foreseen, by target."""
UNUSUAL = 4.0
"""Robust standard deviations from the usual number of events of a weekday from which on a day is unusual."""


@dataclass(frozen=True)
class Glance:
    """Figures of a group of people; None where the log or the predictions hold none.

    Attributes:
        buyers: share who have bought.
        value: mean of what was spent, less what was paid back; ``middle`` the median, rounded to tens; ``total`` the sum.
        lifetime: mean of what is expected to be spent within ``predictions.lifetime_days``.
        likely, leaving: mean chance of buying and of leaving.
        sessions: mean, of the ``seen`` of whom it is known.
        reachable: how many may be written to.
    """

    users: int
    reachable: int
    buyers: float | None
    value: float | None
    total: float | None
    lifetime: float | None
    likely: float | None
    leaving: float | None
    sessions: float | None
    seen: int = 0
    middle: float | None = None


@dataclass(frozen=True)
class Card:
    """One segment.

    Attributes:
        name: with what it says; ``holds`` whether that is true of the people of today.
        share: of all users; ``value_share`` of all that was spent; ``change`` of the share since the scoring before, None at the first.
        details: None where it has fewer users than may be shown.
        apart_zh: what tells it from segments of the same name, in Chinese; empty where nothing does any more.
    """

    segment_id: int
    name: Name
    holds: bool
    share: float
    value_share: float | None
    change: float | None
    glance: Glance
    details: Details | None
    apart_zh: str = ""


@dataclass(frozen=True)
class Details:
    """Attributes:
    description: in English, as the table has it; ``note``: what people have written about the segment, empty without.
    apart: rows of ``contracts.SEGMENT_DIFFERENCES`` that have a phrase, clearest first.
    interests: rows of ``contracts.SEGMENT_INTERESTS``, largest first, and what may be said of them.
    rhythm: people with own events by weekday (Monday first) and part of the day, shape (7, parts), 0 where they are too few to be told; None
        without a clock that tells both, or where no cell has enough.
    typical: medians of the segment by name, of amounts rounded; None where nothing is known.
    recommended: titles of the items recommended most; ``hits``: share and number of people judged, ``k``.
    popular: of ``contracts.SEGMENT_ADVANTAGES``: how its lists compare with the most popular items; None where that is not known.
    rule: of ``contracts.SEGMENT_RULES``; None without one.
    """

    description: str
    note: str
    apart: list[dict[str, Any]]
    interests: list[tuple[str, float]]
    statement: Statement
    rhythm: np.ndarray | None
    typical: dict[str, float | None]
    recommended: list[str]
    hits: dict[str, Any] | None
    popular: dict[str, Any] | None
    rule: dict[str, Any] | None


@dataclass(frozen=True)
class Gallery:
    """Everything on the page.

    Attributes:
        configuration: how commands are told of it (``settings.loading.as_named``).
        consent: who consents to marketing: who a list says does (``listed``), everybody because none does and the configuration takes them for
            consenting (``assumed``), both (``partly``), or nobody, because no list says it (``nobody``).
        has_events: whether anybody has done anything, and not only stands on a list.
        as_of: the last day known of; None where the log has no dates.
        currency: of all amounts; empty where none is named.
        places, groups: of the map: shape (points, 2) and the number of the card of each.
        alike: targets of which nothing foretells more than the mean of all: no group is told from another by them.
        leaving: how leaving is understood: silence, or rhythm; None without a prediction of it.
        split: how recommenders were judged; None where they were not.
        unplaced: those who are in no segment; None where nobody is. ``without``: how many people of groups too small to be shown ``glance`` leaves
            out but for the number of users, as they would follow from the difference.
        people: ``contracts.USER_PROFILES``, of which nothing but sums is ever written.
    """

    name: str
    configuration: str
    consent: Literal["listed", "assumed", "partly", "nobody"]
    has_events: bool
    as_of: str | None
    timezone: str
    currency: str
    log: Log
    horizon_days: int
    lifetime_days: int
    alike: frozenset[str]
    leaving: str | None
    lifetime_model: str | None
    first: list[Pointer]
    glance: Glance
    unplaced: Glance | None
    without: int
    cards: list[Card]
    places: np.ndarray
    groups: np.ndarray
    times: pd.DataFrame
    stages: pd.DataFrame
    grid: pd.DataFrame
    cohorts: pd.DataFrame
    funnel: list[tuple[str, int]]
    movement: pd.DataFrame
    accounting: pd.DataFrame
    predictions: list[dict[str, Any]]
    amounts: list[dict[str, Any]]
    drivers: dict[str, list[tuple[str, float]]]
    segment_quality: dict[str, Any]
    split: str | None
    unusual_days: pd.DataFrame
    support: pd.DataFrame
    people: pd.DataFrame
    minimum: int


class NothingToShowError(ProjectError):
    """There are no people in segments; the message says what makes some."""


def gathered(store: Warehouse, settings: Settings, model: SegmentModel) -> Gallery:
    """Read the tables.

    Args:
        model: the segments in use, for the map and the names.
    """
    everybody = in_order(store, store.table(contracts.USER_PROFILES))
    predicted = _frame(store, contracts.PREDICTION_QUALITY, "target", chosen=True)
    told = {row["target"]: row for row in predicted}
    alike = frozenset(target for target, row in told.items() if row["model"] in (BASE_RATE, MEAN))
    users = everybody.assign(**{column: np.nan for target, column in FORESEEN.items() if target in alike})
    features = in_order(store, store.table(contracts.USER_FEATURES))
    shares = in_order(store, store.table(contracts.CATEGORY_SHARES).select("user_id", "category", "interest_share"), "category")
    support, log = store.frame(store.table(contracts.FEATURE_SUPPORT).order_by("feature")), stored_support(store).log
    times = audience.over_time(store, log)
    cards = _cards(store, settings, model, users, features, shares, times, log, set(support[support["support"] == ABSENT]["feature"]))
    number_of = {card.segment_id: number for number, card in enumerate(cards) if card.details is not None}
    numbers = drawn(len(features), settings.segments.seed)[:MAP_POINTS]
    segment_of = users.set_index("user_id")["segment_id"].reindex(features["user_id"]).to_numpy()
    # Where all are in one segment there is nothing to be seen of how segments lie to each other.
    visible = np.array([number for number in numbers if segment_of[number] in number_of and len(number_of) > 1], dtype=int)
    places = principal_components(model.scaler.transform(features, shares))[visible] if len(visible) else np.zeros((0, 2))
    events = store.table(contracts.EVENTS)
    dated = events.filter(events.user_id.notnull() & clock_support(store).dated(events))
    buying = log.people == "customers" and not log.visits
    quality = _frame(store, contracts.SEGMENT_QUALITY, "algorithm", chosen=True)
    judged = _frame(store, contracts.MODEL_COMPARISON, "model", champion=True, segment="all")
    accounting = store.table(contracts.ACCOUNTING)
    sums = accounting.group_by("source").aggregate(
        **{name: accounting[name].sum() for name in ("records_read", "events", "rejects", "duplicates", "filtered")}
    )
    days = store.frame(accounting.group_by("day").aggregate(events=accounting.events.sum()).order_by("day"))
    currencies = [name for (name,) in store.tuples(currencies_of_money(events).select("currency"))]
    minimum, consent = settings.segments.minimum_segment_size, _consent(settings)
    sizes, stages = users["segment_id"].value_counts(), audience.stages_of_segments(users)
    small = sizes.index[sizes < minimum]
    without = int(sizes[small].sum()) if sizes[small].sum() < minimum else 0
    shown = everybody[~everybody["segment_id"].isin(small)] if without else everybody
    told_of = _glance(shown)
    return Gallery(
        name=settings.name,
        configuration=as_named(settings.file),
        consent=consent,
        has_events=store.rows(contracts.EVENTS) > 0,
        as_of=f"{features['as_of_date'].iloc[0]:%Y-%m-%d}" if log.dated else None,
        timezone=settings.features.timezone,
        currency=currencies[0] if len(currencies) == 1 else "",
        log=log,
        horizon_days=settings.predictions.horizon_days,
        lifetime_days=settings.predictions.lifetime_days,
        alike=alike,
        leaving=None if CHURN not in told else "rhythm" if told[CHURN]["model"] == "modified_beta_geometric" else "silence",
        lifetime_model=told[LIFETIME]["model"] if LIFETIME in told else None,
        first=pointers(cards, told_of, spent_most(users["monetary_value"], minimum), stages, times, support, consent),
        glance=replace(told_of, users=len(users)),
        unplaced=_glance(users[users["segment_id"] == UNPLACED[0]]) if UNPLACED[0] in sizes else None,
        without=without,
        cards=cards,
        places=places,
        groups=np.array([number_of[segment_of[number]] for number in visible], dtype=int),
        times=times,
        stages=stages,
        grid=audience.recency_and_frequency(features),
        cohorts=audience.cohort_table(store.frame(audience.cohorts(dated, buying))) if log.dated else pd.DataFrame(),
        funnel=audience.funnel(store, events),
        movement=store.frame(store.table(contracts.SEGMENT_MOVEMENT).order_by("from_segment", "to_segment")),
        accounting=store.frame(sums.order_by("source")),
        predictions=[row for row in predicted if row["target"] not in AMOUNTS],
        amounts=[row for row in predicted if row["target"] in AMOUNTS],
        drivers=_drivers(store),
        segment_quality=quality[0] if quality else {},
        split=judged[0]["split"] if judged else None,
        unusual_days=unusual_days(days) if log.dated else days.head(0).assign(usual=pd.Series(dtype=float)),
        support=support,
        people=users,
        minimum=minimum,
    )


def _consent(settings: Settings) -> Literal["listed", "assumed", "partly", "nobody"]:
    some = any("consent_marketing" in source.fields for source in settings.sources_of("users"))
    if settings.privacy.consent_when_unknown:
        return "partly" if some else "assumed"
    return "listed" if some else "nobody"


def _frame(store: Warehouse, contract: contracts.Table, order: str, **equal: Any) -> list[dict[str, Any]]:
    """Rows of a table of which some columns have a value, with None in place of missing numbers."""
    table = store.table(contract)
    for column, value in equal.items():
        table = table.filter(table[column] == value)
    frame = store.frame(table.order_by(order)).astype(object)
    return frame.where(frame.notna(), None).to_dict("records")


def _mean(values: pd.Series) -> float | None:
    known = values.to_numpy(dtype=float, na_value=np.nan)
    return float(np.nanmean(known)) if np.isfinite(known).any() else None


def _glance(users: pd.DataFrame) -> Glance:
    value = _mean(users["monetary_value"])
    return Glance(
        users=len(users),
        reachable=int(users["consent_marketing"].sum()),
        buyers=float((users["purchases"] > 0).mean()) if users["purchases"].notna().any() else None,
        value=value,
        total=float(users["monetary_value"].sum()) if value is not None else None,
        lifetime=_mean(users["lifetime_value"]),
        likely=_mean(users["purchase_probability"]),
        leaving=_mean(users["churn_probability"]),
        sessions=_mean(users["sessions"]),
        seen=int(users["sessions"].notna().sum()),
        middle=_middle(users["monetary_value"], -1),
    )


def _cards(
    store: Warehouse,
    settings: Settings,
    model: SegmentModel,
    users: pd.DataFrame,
    features: pd.DataFrame,
    shares: pd.DataFrame,
    times: pd.DataFrame,
    log: Log,
    absent: set[str],
) -> list[Card]:
    """The segments, those with the largest share of what was spent first, else the largest."""
    whole = _glance(users)
    profiles = store.frame(store.table(contracts.SEGMENT_PROFILES).order_by("segment_id"))
    differences = store.frame(store.table(contracts.SEGMENT_DIFFERENCES).order_by("segment_id", "rank"))
    interests = store.frame(store.table(contracts.SEGMENT_INTERESTS).order_by("segment_id"))
    interests = interests.sort_values(["share", "category"], ascending=[False, True])
    names = dict(zip(model.ids, model.named, strict=True))
    segment_of = users.set_index("user_id")["segment_id"].reindex(features["user_id"]).to_numpy()
    namesakes = model.namesakes(features, shares, segment_of)
    found = []
    for row in profiles[profiles["segment_id"] != UNPLACED[0]].to_dict("records"):
        segment = int(row["segment_id"])
        mine = users[users["segment_id"] == segment]
        glance, name = _glance(mine), names.get(segment, Name(""))
        # The name that the tables have counts: people may have given it.
        name = name if name.text == row["segment_name"] else Name(row["segment_name"], shared=name.stem)
        apart = namesakes.get(segment, []) if name.apart else []
        own = differences[differences["segment_id"] == segment]
        details = None
        if len(mine) >= settings.segments.minimum_segment_size:
            turned_to = interests[interests["segment_id"] == segment]
            details = Details(
                description=row["description"],
                note=row["note"] if isinstance(row["note"], str) else "",
                apart=own[own["phrase"].notna()].head(APART).to_dict("records"),
                interests=[
                    (str(category), float(share))
                    for category, share in zip(turned_to["category"].head(INTERESTS), turned_to["share"].head(INTERESTS), strict=True)
                    if share >= SHOWN
                ],
                statement=statement(turned_to),
                rhythm=None if {"night_share", "weekend_share"} & absent else _rhythm(store, segment, settings),
                typical=_typical(mine, log),
                recommended=_recommended(store, segment),
                hits=_hits(store, row["segment_name"], settings.segments.minimum_segment_size),
                popular=_popular(store, row["segment_name"], settings.segments.minimum_segment_size),
                rule=next(iter(_frame(store, contracts.SEGMENT_RULES, "segment_id", segment_id=segment)), None),
            )
        share = glance.users / max(whole.users, 1)
        before = times[(times["segment_id"] == segment) & (times["as_of_date"] < times["as_of_date"].max())]
        found.append(
            Card(
                segment_id=segment,
                name=name,
                holds=name.holds(own.itertuples(), apart),
                apart_zh=next((entry.words(log, CHINESE).phrase for entry in apart[0] if entry.feature == name.apart[0]), "")
                if name.apart and name.is_apart(apart)
                else "",
                share=share,
                value_share=glance.total / whole.total if whole.total and whole.total > 0 and glance.total is not None else None,
                change=share - float(before["share"].iloc[-1]) if len(before) else None,
                glance=glance,
                details=details,
            )
        )
    return sorted(found, key=lambda card: (-(card.value_share or 0.0), -card.glance.users, card.segment_id))


def _rhythm(store: Warehouse, segment: int, settings: Settings) -> np.ndarray | None:
    """How many people of the segment did something by weekday (Monday first) and part of the day (``HOURS``), 0 where they are too few to be told;
    None where that is so of most."""
    events, placed = store.table(contracts.EVENTS), store.table(contracts.USER_SEGMENTS)
    members = placed.filter(placed.segment_id == segment).select("user_id")
    acts = events.filter(is_act(events) & clock_support(store).timed(events))
    own = acts.semi_join(members, "user_id")
    moments = local_time(own.timestamp, settings.features.timezone)
    for hours in HOURS:
        marked = own.select("user_id", weekday=moments.day_of_week.index(), part=(moments.hour() // hours).cast("int64"))
        found = store.frame(marked.group_by("weekday", "part").aggregate(people=marked.user_id.nunique()))
        counts = np.zeros((7, 24 // hours))
        counts[found["weekday"].to_numpy(dtype=int), found["part"].to_numpy(dtype=int)] = found["people"]
        told = counts >= settings.segments.minimum_segment_size
        if told.any() and counts[told].sum() >= TOLD_SHARE * counts.sum():
            return np.where(told, counts, 0)
    return None


def _typical(mine: pd.DataFrame, log: Log) -> dict[str, float | None]:
    """The medians of the people of a segment."""
    return {
        "spent": _middle(mine["monetary_value"], -1),
        "recency_days": _middle(mine["recency_days"], 0) if log.dated else None,
        "frequency": _middle(mine["frequency"], 0),
        # Of a log with dates, days are what people count: a purchase is a line of an order in many.
        "purchases": None if log.dated else _middle(mine["purchases"], 0),
        "likely": _middle(mine["purchase_probability"], 1),
        "leaving": _middle(mine["churn_probability"], 1),
    }


def _middle(values: pd.Series, digits: int) -> float | None:
    """The median of what is known, of two in the middle the lower one; None where it is known of fewer than half."""
    known = values.to_numpy(dtype=float, na_value=np.nan)
    known = known[np.isfinite(known)]
    return round(float(np.quantile(known, 0.5, method="lower")), digits) if len(known) and 2 * len(known) >= len(values) else None


def _hits(store: Warehouse, name: str, minimum: int) -> dict[str, Any] | None:
    """How often the champion's lists hit; None where too few were judged, or where a list has so much of the catalogue that it can hardly miss."""
    found = next(iter(_frame(store, contracts.MODEL_COMPARISON, "model", champion=True, case="warm", segment=name)), None)
    return found if found and found["users"] >= minimum and store.rows(contracts.ITEMS) > MUCH_OF_THE_CATALOGUE * found["k"] else None


def _popular(store: Warehouse, name: str, minimum: int) -> dict[str, Any] | None:
    found = next(iter(_frame(store, contracts.SEGMENT_ADVANTAGES, "segment", segment=name)), None)
    return found if found and found["users"] >= minimum else None


def _recommended(store: Warehouse, segment: int) -> list[str]:
    """The items recommended most to the segment, by their titles."""
    lists, placed, items = (store.table(table) for table in (contracts.RECOMMENDATIONS, contracts.USER_SEGMENTS, contracts.ITEMS))
    own = lists.semi_join(placed.filter(placed.segment_id == segment), "user_id")
    counts = own.group_by("item_id").aggregate(users=own.user_id.nunique())
    top = counts.left_join(items.select("item_id", "title"), "item_id").order_by([counts.users.desc(), counts.item_id]).limit(4)
    frame = store.frame(top)
    return [title if isinstance(title, str) else item for title, item in zip(frame["title"], frame["item_id"], strict=True)]


def _drivers(store: Warehouse) -> dict[str, list[tuple[str, float]]]:
    """By target the features without which its model is worse, with the correlation that tells their direction."""
    drivers = store.table(contracts.PREDICTION_DRIVERS)
    rows = store.frame(drivers.filter((drivers["rank"] <= DRIVERS) & (drivers.importance > 0)).order_by("target", "rank"))
    found: dict[str, list[tuple[str, float]]] = {}
    for row in rows.itertuples():
        found.setdefault(str(row.target), []).append((str(row.feature), float(row.correlation)))
    return found


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


def by_support(support: pd.DataFrame) -> Mapping[str, list[str]]:
    """Features by their support."""
    return {str(kind): rows["feature"].tolist() for kind, rows in support.groupby("support")}
