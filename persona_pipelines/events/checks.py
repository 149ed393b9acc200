"""What has to be true of cleaned events before anything is made of them. Each function gives what is wrong, in words."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir
import pandas as pd

from persona_pipelines.findings import Finding
from persona_pipelines.settings import Settings
from persona_pipelines.vocabulary import REPAYMENT_TYPES, SPENDING_TYPES
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

COUNTED = ("events", "rejects", "duplicates", "filtered")
FEWEST_DUPLICATES = 3
LEAST_MEETING_SHARE = 0.5
"""A list in which fewer of the events' ids stand is told of: it may be that of another system, or ids may be written otherwise."""


def nothing_lost(accounting: pd.DataFrame) -> Finding:
    """Records read are events, rejects, duplicates or filtered, by source and day.

    Args:
        accounting: ``contracts.ACCOUNTING``.
    """
    missing = accounting[accounting["records_read"] != accounting[list(COUNTED)].sum(axis=1)]
    words = "; ".join(
        f"{row.source} {row.day:%Y-%m-%d}: {row.records_read} read, {row.events} events + {row.rejects} rejects + {row.duplicates} duplicates + "
        f"{row.filtered} filtered"
        for row in missing.head(5).itertuples()
    )
    return Finding(missing.empty, words or None, {name: int(accounting[name].sum()) for name in ("records_read", *COUNTED)})


def events_found(accounting: pd.DataFrame) -> Finding:
    """The days that were asked for have events."""
    events = int(accounting["events"].sum())
    return Finding(events > 0, None if events else "the days that were asked for have no events", {"events": events})


def share_of_duplicates(warehouse: Warehouse, settings: Settings, first: dt.date, last: dt.date) -> Finding:
    """Records that share an id and say different things, or stand twice in a file, stay below ``logs.max_duplicate_share``."""
    found = too_many_duplicates(warehouse, settings, first, last)
    return Finding(not found, "; ".join(found[:3]) or None, {"limit": settings.logs.max_duplicate_share, "days_above": len(found)})


def one_id_one_event(warehouse: Warehouse, first: dt.date, last: dt.date) -> Finding:
    """No id stands in records that say different things: one of them is left out then, though it may be another action."""
    duplicates = warehouse.table(contracts.DUPLICATES)
    differing = duplicates.filter(duplicates.day.between(first, last) & duplicates.differs.fill_null(False))
    place = {name: differing[name].argmin(differing.source_line) for name in ("source_file", "event_id", "kept_file", "kept_line")}
    count, line, file, event, kept_file, kept_line = warehouse.row(
        differing.aggregate(count=differing.count(), line=differing.source_line.min(), **place)
    )
    if not count:
        return Finding(True, None, {"records": 0})
    words = (
        f"{count:,} records have the id of another and say something else: they are left out. {file}, line {line}, has the id {event!r} of {kept_file}, line "
        f"{kept_line}: where ids begin anew, add what tells them apart to event_id (@file, the day)"
    )
    return Finding(False, words, {"records": int(count)})


def every_event_in_a_session(warehouse: Warehouse) -> Finding:
    """The sessions' events add up to the events."""
    sessions, events = warehouse.table(contracts.SESSIONS), warehouse.rows(contracts.EVENTS)
    inside = int(warehouse.value(sessions.events.sum().fill_null(0)))
    words = None if inside == events else f"{inside:,} events are in sessions, of {events:,}"
    return Finding(inside == events, words, {"events": events, "events_in_sessions": inside})


def too_many_duplicates(warehouse: Warehouse, settings: Settings, first: dt.date, last: dt.date) -> list[str]:
    """Sources and days of which too many records repeat others in a way that deliveries do not, with an example each.

    A file that is delivered once more repeats records of another file, and says the same: those are not counted. What is
    counted has the id of another record and says something else, or is equal to a record of the same file.
    """
    duplicates = warehouse.table(contracts.DUPLICATES)
    odd = duplicates.filter(
        duplicates.day.between(first, last) & (duplicates.differs.fill_null(False) | (duplicates.kept_file == duplicates.source_file))
    )
    counted = odd.group_by("day", "source").aggregate(
        odd=odd.count(),
        differing=odd.differs.sum(),
        file=odd.source_file.min(),
        line=odd.source_line.argmin(odd.source_line),
        kept_file=odd.kept_file.argmin(odd.source_line),
        kept_line=odd.kept_line.argmin(odd.source_line),
    )
    accounting = warehouse.table(contracts.ACCOUNTING).select("day", "source", "records_read")
    joined = counted.inner_join(accounting, ["day", "source"])
    over = joined.filter((joined.odd > settings.logs.max_duplicate_share * joined.records_read) & (joined.odd >= FEWEST_DUPLICATES))
    return [
        f"{row.source} {row.day:%Y-%m-%d}: {row.odd} of {row.records_read} records are duplicates, above logs.max_duplicate_share "
        f"{settings.logs.max_duplicate_share:g}; {row.differing} have the id of another record and say something else. "
        f"{row.file}, line {row.line}, is taken for {row.kept_file}, line {row.kept_line}: do ids begin anew in every file (add @file "
        "to event_id), or are equal lines several actions (same: never)?"
        for row in warehouse.frame(over.order_by("source", "day")).itertuples()
    ]


def currencies_of_money(events: ir.Table) -> ir.Table:
    """``currency`` and ``events``: how many records of money there are in each."""
    money = events.filter(events.event_type.isin([*SPENDING_TYPES, *REPAYMENT_TYPES]) & events.value.notnull() & events.currency.notnull())
    return _by_currency(money)


def currencies_of_prices(items: ir.Table) -> ir.Table:
    """``currency`` and ``events``: how many items have their price in each."""
    priced = items.filter(items.in_catalogue & items.price.notnull() & items.currency.notnull())
    return _by_currency(priced)


def _by_currency(rows: ir.Table) -> ir.Table:
    return rows.group_by(currency=rows.currency.upper()).aggregate(events=lambda table: table.count())


def several_currencies(warehouse: Warehouse, prices: bool = False) -> str | None:
    """Which currencies the amounts of the events are in, where they are in several; amounts are never added up then.

    Args:
        prices: those of the catalogue count too: what was paid for an item stands in for its price.
    """
    money = currencies_of_money(warehouse.table(contracts.EVENTS))
    if prices:
        both = ibis.union(money, currencies_of_prices(warehouse.table(contracts.ITEMS)))
        money = both.group_by("currency").aggregate(events=both.events.sum())
    found = warehouse.frame(money.order_by(ibis.desc("events"), "currency"))
    if len(found) < 2:
        return None
    named = ", ".join(f"{row.currency} ({row.events} records)" for row in found.head(8).itertuples())
    return (
        f"{'amounts and prices' if prices else 'amounts'} are in {len(found)} currencies: {named}. They are not added up. Set currencies: {{base: {found['currency'].iloc[0]}, rates: FILE}}, or "
        "map one source of each currency by itself and leave the others out by drop_when"
    )


def records_that_differ(warehouse: Warehouse, lists: list[str], kind: str) -> str | None:
    """Says so where lists tell several things of one item or user; the first record of each counts.

    Args:
        lists: names of the sources that are meant to say the same (``Settings.lists_of``).
    """
    duplicates = warehouse.table(contracts.DUPLICATES)
    differing = duplicates.filter(duplicates.source.isin(lists) & duplicates.differs.fill_null(False))
    ids, file, line = warehouse.row(
        differing.aggregate(
            ids=differing.event_id.nunique(), file=differing.source_file.min(), line=differing.source_line.argmin(differing.source_line)
        )
    )
    if not ids:
        return None
    return f"{ids} {kind} stand in records that say different things of them, such as that of {file}, line {line}: the first record of each counts"


def list_that_misses_the_events(warehouse: Warehouse, contract: contracts.Table, lists: list[str]) -> str | None:
    """Says so where few of the ids that the events name stand in the list of users or of items; None where there is no list.

    Args:
        lists: names of the sources that are meant to hold all (``Settings.lists_of``).
    """
    if not lists:
        return None
    listed, flag = (contracts.ITEMS, "in_catalogue") if contract is contracts.ITEMS else (contracts.USERS, "in_customer_list")
    key = listed.key[0]
    table, events = warehouse.table(listed), warehouse.table(contracts.EVENTS)
    named = events.filter(events[key].notnull()).select(key).distinct()
    met = named.inner_join(table.filter(table[flag]), key)
    of_events, of_list = warehouse.value(named.count()), warehouse.value(table[flag].sum().fill_null(0))
    both = warehouse.value(met.count())
    if not of_list or not of_events or both >= LEAST_MEETING_SHARE * of_events:
        return None
    return (
        f"{both} of the {of_events} {contract.name} that the events name stand in the list of {of_list}. Are ids written in two ways "
        "(17850 and 17850.0, other letters, blanks, a prefix)? persona sources check shows examples of both"
    )
