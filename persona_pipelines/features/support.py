"""What a log holds for each feature: one without evidence is null and takes no part in anything that is made of features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import pandas as pd

from persona_pipelines.features.attention import RANKED, is_act, price_ranks
from persona_pipelines.settings import Settings
from persona_pipelines.vocabulary import (
    MESSAGE_TYPES,
    MOMENT,
    ORDER,
    REPAYMENT_TYPES,
    RESPONSE_TYPES,
    SOCIAL_TYPES,
    SPENDING_TYPES,
    VIEWING_TYPES,
)
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.described import A_SHOP, FEATURES, Log

MEASURED, INFERRED, ABSENT = "measured", "inferred", "absent"
NEARLY_ALL = 0.9
"""Share of the users of whom something has to be known before all of them are called by it."""
MOST = 0.5
ANY, DATE, TIME_OF_DAY = "", "date", "time_of_day"
CLOCKS = (DATE, TIME_OF_DAY)
WEEKS = "weeks"
"""What a feature of weekdays needs beside a date."""
LEAST_DAYS = 14
"""Days of a log from which on weekdays come again."""


@dataclass(frozen=True)
class Evidence:
    """Something that a log may hold.

    Attributes:
        words: what it is.
        fields: canonical fields that show it.
        shown: whether an event shows it; of events joined with what the catalogue says of their items.
        logged: whether it is as logged, of events that show it; None where it always is.
        inferred: how it is found where it is not as logged.
        clock: the clock without which it is not shown.
    """

    words: str
    fields: tuple[str, ...]
    shown: Callable[[ir.Table], ir.BooleanValue]
    logged: Callable[[ir.Table], ir.BooleanValue] | None = None
    inferred: str = ""
    clock: str = ANY


def _types(*names: str) -> Callable[[ir.Table], ir.BooleanValue]:
    return lambda events: events.event_type.isin(names)


EVIDENCE: dict[str, Evidence] = {
    "acts": Evidence("own events of people", ("event_type",), is_act),
    "visits": Evidence(
        "events that put something before the eyes, with a time of day",
        ("event_type", "timestamp"),
        _types(*VIEWING_TYPES),
        lambda events: ibis.literal(False),
        "a session ends with a pause (events.session_gap_minutes)",
        TIME_OF_DAY,
    ),
    "attention": Evidence(
        "dwell times, or times of day of what is looked at",
        ("dwell_ms", "timestamp"),
        lambda events: events.attention_ms.notnull(),
        lambda events: events.dwell_ms.notnull(),
        "the time to the visitor's next event in the session",
    ),
    "purchases": Evidence("purchases or bookings", ("event_type",), _types(*SPENDING_TYPES)),
    "money": Evidence(
        "purchases or bookings with an amount",
        ("event_type", "value"),
        lambda events: events.event_type.isin((*SPENDING_TYPES, *REPAYMENT_TYPES)) & events.value.notnull(),
    ),
    "items": Evidence("own events with items", ("item_id",), lambda events: events.item_id.notnull() & is_act(events)),
    "categories": Evidence(
        "own events with items of a category", ("item_id", "category"), lambda events: events.has_category & is_act(events)
    ),
    "prices": Evidence(
        f"own events with items that can be ranked by price (of {RANKED} in a category)",
        ("item_id", "price"),
        lambda events: events.has_price & is_act(events),
        lambda events: events.has_list_price,
        "the median paid per piece",
    ),
    "list_prices": Evidence("list prices of items", ("item_id", "price"), lambda events: events.has_list_price),
    "devices": Evidence("own events with a device", ("device",), lambda events: events.device.notnull() & is_act(events)),
    "channels": Evidence("channels", ("channel",), lambda events: events.channel.notnull()),
    "scroll": Evidence("how far pages were scrolled", ("scroll_pct",), lambda events: events.scroll_pct.notnull()),
    "messages": Evidence("messages shown (impressions)", ("event_type",), _types(*MESSAGE_TYPES)),
    "clicks": Evidence("clicks on messages", ("event_type",), _types(*RESPONSE_TYPES)),
    "searches": Evidence("searches", ("event_type",), _types("search")),
    "social": Evidence("likes, shares, comments or follows", ("event_type",), _types(*SOCIAL_TYPES)),
    "follows": Evidence(
        "who follows whom",
        ("event_type", "target_user_id"),
        lambda events: (events.event_type == "follow") & events.target_user_id.notnull(),
    ),
    "ratings": Evidence("ratings", ("event_type",), _types("rating")),
    "rating_values": Evidence(
        "ratings with a value", ("event_type", "value"), lambda events: (events.event_type == "rating") & events.value.notnull()
    ),
}


@dataclass(frozen=True)
class Support:
    """What features are made of.

    Attributes:
        absent: features without support.
        undated, untimed: sources whose times are no dates, and no times of day.
        log: what the log is a log of.
    """

    absent: frozenset[str] = frozenset()
    undated: tuple[str, ...] = ()
    untimed: tuple[str, ...] = ()
    log: Log = A_SHOP

    def dated(self, events: ir.Table) -> ir.BooleanValue:
        """Whether the time of an event is a date, and not only its place among the records."""
        return ~events.source.isin(list(self.undated)) if self.undated else ibis.literal(True)

    def timed(self, events: ir.Table) -> ir.BooleanValue:
        """Whether it is a moment."""
        return ~events.source.isin(list(self.untimed)) if self.untimed else ibis.literal(True)


EVERYTHING = Support()
"""Of a log that holds evidence for every feature."""


def unclocked(warehouse: Warehouse) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sources whose times are no dates, and those whose times are no times of day (``contracts.CLOCKS``)."""
    clocks = warehouse.tuples(warehouse.table(contracts.CLOCKS).select("source", "clock").order_by("source"))
    return tuple(source for source, clock in clocks if clock == ORDER), tuple(source for source, clock in clocks if clock != MOMENT)


def clock_support(warehouse: Warehouse) -> Support:
    """What the clocks of the log tell, and nothing else."""
    return Support(frozenset(), *unclocked(warehouse))


def stored_support(warehouse: Warehouse) -> Support:
    """The support that was found when features were made last; of everything where they never were."""
    rows = warehouse.frame(warehouse.table(contracts.FEATURE_SUPPORT).order_by("feature"))
    if rows.empty:
        return EVERYTHING
    return Support(frozenset(rows[rows["support"] == ABSENT]["feature"]), *unclocked(warehouse), log_of(rows))


def feature_support(warehouse: Warehouse, settings: Settings, known: ir.Table, items: ir.Table) -> pd.DataFrame:
    """Rows of ``contracts.FEATURE_SUPPORT``, in the order of ``FEATURES``.

    Args:
        known: events of users up to the as-of date (``users.known_until``).
        items: ``contracts.ITEMS``.
    """
    undated, untimed = unclocked(warehouse)
    allowed = {ANY: (), DATE: undated, TIME_OF_DAY: untimed}
    counted = warehouse.keep("counted_evidence", _counted(known, items))
    shown = {clock: _shown(warehouse, counted, sources) for clock, sources in allowed.items()}
    by_source = {row["source"]: row for row in warehouse.frame(_sums(counted, "source").order_by("source")).to_dict("records")}
    everyone, everything = int(warehouse.value(counted.user_id.nunique())), int(warehouse.value(counted.events.sum().fill_null(0)))
    dated = known.filter(~known.source.isin(list(undated))) if undated else known
    first, last = warehouse.row(dated.aggregate(first=dated.timestamp.min(), last=dated.timestamp.max()))
    days = (last.date() - first.date()).days + 1 if first is not None else 0
    logged = {source.name: source.columns for source in settings.sources_of("events")}
    mapped = {source.name: set(source.fields) for source in settings.sources_of("events")}
    rows = []
    for name, feature in FEATURES.items():
        clock = next((clock for clock in reversed(CLOCKS) if clock in feature.needs), ANY)
        terms = [term for term in feature.needs if term not in (*CLOCKS, WEEKS)]
        found = [(term, *shown[EVIDENCE[term].clock or clock][term]) for term in terms]
        missing = next(((term, events) for term, events, _ in found if not events), None)
        support, why = _absent(missing[0], clock, shown) if missing else _present(terms, shown[ANY], mapped, by_source)
        if support != ABSENT and WEEKS in feature.needs and days < LEAST_DAYS:
            support, why = ABSENT, f"the log has {days} days; weekdays are told apart from {LEAST_DAYS} on"
        events, users = min(((events, users) for _, events, users in found), key=lambda pair: pair[1], default=(everything, everyone))
        sources = sorted(
            source
            for source, row in by_source.items()
            if support != ABSENT and any(row[term] for term in terms or ("events",)) and source not in allowed[clock]
        )
        fields = sorted({field for term in terms for field in EVIDENCE[term].fields} | ({"timestamp"} if clock else set()))
        rows.append(
            {
                "feature": name,
                "support": support,
                "evidence": why,
                "fields": ", ".join(field for field in fields if any(field in columns for columns in logged.values())) or None,
                "sources": ", ".join(sources) or None,
                "events": events,
                "events_share": events / everything if everything else 0.0,
                "users": users,
                "users_share": users / everyone if everyone else 0.0,
            }
        )
    return pd.DataFrame(rows)


def _counted(known: ir.Table, items: ir.Table) -> ir.Table:
    """``user_id``, ``source``, ``events``, and of each evidence how many events show it, and how many as logged (``NAME logged``)."""
    ranks = price_ranks(items).select(ranked_id="item_id", price_rank="price_rank")
    priced = items.left_join(ranks, items.item_id == ranks.ranked_id)
    told = priced.select(
        "item_id",
        has_category=priced.category.notnull(),
        has_price=priced.price_rank.notnull(),
        has_list_price=priced.listed_price.notnull(),
    )
    joined = known.left_join(told, "item_id").drop("item_id_right")
    flags = {name: joined[name].fill_null(False) for name in ("has_category", "has_price", "has_list_price")}
    facts = joined.mutate(**flags)
    sums = {name: facts.count(where=evidence.shown(facts)) for name, evidence in EVIDENCE.items()}
    sums |= {
        f"{name} logged": facts.count(where=evidence.shown(facts) & evidence.logged(facts))
        for name, evidence in EVIDENCE.items()
        if evidence.logged is not None
    }
    return facts.group_by("user_id", "source").aggregate(events=facts.count(), **sums)


def _sums(counted: ir.Table, *by: str) -> ir.Table:
    names = [name for name in counted.columns if name not in ("user_id", "source")]
    return counted.group_by(*by).aggregate(**{name: counted[name].sum() for name in names})


def _shown(warehouse: Warehouse, counted: ir.Table, without: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Of each evidence the events that show it and the users who have one, without those of some sources."""
    kept = counted.filter(~counted.source.isin(list(without))) if without else counted
    people = _sums(kept, "user_id")
    names = [name for name in people.columns if name != "user_id"]
    row = warehouse.row(
        people.aggregate(
            **{name: people[name].sum().fill_null(0) for name in names},
            **{f"users {name}": people.count(where=people[name] > 0) for name in names},
        )
    )
    return {name: (int(row[place]), int(row[place + len(names)])) for place, name in enumerate(names)}


def _absent(term: str, clock: str, shown: Mapping[str, Mapping[str, tuple[int, int]]]) -> tuple[str, str]:
    """That a feature has no support, and why."""
    needed = EVIDENCE[term].clock or clock
    if not needed or not shown[ANY][term][0]:
        return ABSENT, f"the log has no {EVIDENCE[term].words}"
    if not shown[DATE][term][0]:
        return ABSENT, "the log has no clock: the order of the records stands for time"
    return ABSENT, "the times of the log are days alone"


def _present(
    terms: Sequence[str],
    shown: Mapping[str, tuple[int, int]],
    mapped: Mapping[str, set[str]],
    by_source: Mapping[str, Mapping[str, int]],
) -> tuple[str, str]:
    """Whether a feature is measured or inferred, and how."""
    how = []
    for term in terms:
        evidence, events = EVIDENCE[term], shown[term][0]
        if evidence.logged is not None and (share := shown[f"{term} logged"][0] / events) < 1:
            how.append(f"{evidence.inferred}" + (f"; {share:.0%} of events as logged" if share else ""))
        if term == "devices":
            guessed = [source for source, row in by_source.items() if row[term] and "device" not in mapped.get(source, ())]
            how += [f"the user agent of {', '.join(guessed)}"] if guessed else []
    if how:
        return INFERRED, "; ".join(how)
    return MEASURED, "as logged: " + (", ".join(EVIDENCE[term].words for term in terms) or "events")


def log_of(support: pd.DataFrame) -> Log:
    """What a log is a log of.

    Args:
        support: ``contracts.FEATURE_SUPPORT``.
    """
    rows = support.set_index("feature")

    def known_of(feature: str) -> float:
        return float(rows.loc[feature, "users_share"]) if rows.loc[feature, "support"] != ABSENT else 0.0

    def of_items(feature: str) -> float:
        return float(rows.loc[feature, "events"]) / max(float(rows.loc["items", "events"]), 1.0)

    visits = known_of("sessions") >= NEARLY_ALL
    people = (
        "visitors"
        if visits
        else "customers"
        if known_of("purchases") >= NEARLY_ALL
        else "raters"
        if known_of("ratings") >= NEARLY_ALL
        else "users"
    )
    if known_of("attention_ms_per_item") >= MOST:
        interest = "attention"
    else:
        interest = next((name for name in ("purchases", "ratings") if of_items(name) >= NEARLY_ALL), "activity")
    return Log(visits, rows.loc["recency_days", "support"] != ABSENT, people, interest)


def without_support(features: ir.Table, absent: frozenset[str]) -> ir.Table:
    """The table with null in place of every feature that has no support."""
    nulls = {name: ibis.null(contracts.USER_FEATURES.column(name).type) for name in sorted(absent)}
    return features.mutate(**nulls) if nulls else features
