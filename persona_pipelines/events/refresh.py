"""Raw tables -> cleaned events: which rows have to be computed anew when days arrive, and their writing as one.

The result is a function of all loaded records, whatever the order in which days were loaded: a re-run of one day touches
only the records that share an id with that day's, and the visitors who were active in it. Loading everything at once
and loading day by day give the same tables.
"""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir

from persona_pipelines.events.agents import described
from persona_pipelines.events.automation import KEY, automated, with_key
from persona_pipelines.events.bots import filter_reason
from persona_pipelines.events.clocks import clocks
from persona_pipelines.events.duplicates import COMPARED, ORDER, repeated
from persona_pipelines.events.identity import device_users, stitched, users_on_shared_devices, with_visitors
from persona_pipelines.events.sessions import in_sessions, sessions
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines.warehouse.contracts.parts import EVENT_COLUMNS

OF_EVENTS = [column.name for column in EVENT_COLUMNS]
CARRIED = [*ORDER, "event_id", "logged_user_id", *OF_EVENTS]
OPTIONAL = set(OF_EVENTS) - {"anonymous_id", "timestamp", "event_type", "dwell_ms"}
"""Columns that nothing on the way to events and sessions looks at: where no source fills them, they can stay out."""


def raw_records(warehouse: Warehouse, settings: Settings) -> ir.Table:
    """The records of all sources of events, each with its source."""
    tables = [
        warehouse.table(contracts.raw_events(source.name)).mutate(source=ibis.literal(source.name))
        for source in settings.sources_of("events")
    ]
    return ibis.union(*tables) if len(tables) > 1 else tables[0]


def refresh_events(warehouse: Warehouse, settings: Settings, first: dt.date, last: dt.date) -> None:
    """Write events, sessions, rejects, duplicates, filtered and accounting for the days ``first`` to ``last``.

    All of it happens in one transaction.
    """
    for contract in (
        contracts.EVENTS,
        contracts.SESSIONS,
        contracts.REJECTS,
        contracts.DUPLICATES,
        contracts.FILTERED,
        contracts.ACCOUNTING,
        contracts.CLOCKS,
    ):
        warehouse.ensure(contract)
    raw = raw_records(warehouse, settings)
    outside = raw.filter(~raw.day.between(first, last))
    everything = warehouse.value(outside.count()) == 0
    with warehouse.transaction(), warehouse.scratch():
        _refresh_rejects(warehouse, raw, first, last)
        good = raw.filter(raw.problem.isnull()).rename(logged_user_id="user_id")
        records = good if everything else _touched_records(warehouse, good, first, last)
        copies = warehouse.keep("copies", repeated(records.select(*ORDER, *COMPARED, "event_id", "dropped")))
        records = _with_reasons(warehouse, records, good, settings)
        once = records.anti_join(copies, ORDER)
        accepted = once.filter(once.reason.isnull()).select(CARRIED)
        left_out = once.filter(once.reason.notnull())
        if everything:
            for contract in (contracts.DUPLICATES, contracts.FILTERED):
                warehouse.delete_days(contract, dt.date.min, dt.date.max)  # records of lists have no day, and stay
            warehouse.append(contracts.DUPLICATES, copies)
            warehouse.append(contracts.FILTERED, left_out)
            _write_all(warehouse, settings, accepted)
            days = (dt.date.min, dt.date.max)
        else:
            days = _write_touched(warehouse, settings, accepted, copies, left_out, first, last)
        _refresh_accounting(warehouse, raw, *days)
        warehouse.replace(contracts.CLOCKS, clocks(warehouse, settings))


def _with_reasons(warehouse: Warehouse, records: ir.Table, good: ir.Table, settings: Settings) -> ir.Table:
    """The records with ``reason``, why each is no act of a person, or null; and with the device that the user agent names.

    Args:
        good: all good records: the whole days of ``records`` tell which devices act by themselves.
    """
    chosen = settings.events
    whole_days = good.semi_join(records.select("source", "day").distinct(), ["source", "day"]) if records is not good else good
    agents = _agents(warehouse, whole_days, settings)

    def named(table: ir.Table) -> ir.Table:
        described = _with_agents(table, agents)
        return described.mutate(reason=filter_reason(described, chosen.static_extensions))

    web = [source.name for source in settings.sources_of("events") if "user_agent" in source.fields]
    if not web:
        return named(records)
    found = automated(warehouse, named(whole_days.filter(whole_days.source.isin(web))), chosen.automation, chosen.static_extensions)
    if not warehouse.value(found.count()):
        return named(records)
    joined = with_key(named(records)).left_join(found, KEY)
    return joined.mutate(reason=ibis.coalesce(joined.reason, joined.automated)).drop(
        "automated", "agent_id", "date", *(f"{name}_right" for name in KEY)
    )


def _agents(warehouse: Warehouse, records: ir.Table, settings: Settings) -> ir.Table | None:
    """What the user agents of the records say; None without any."""
    found = warehouse.tuples(records.filter(records.user_agent.notnull()).select("user_agent").distinct())
    agents = described((row[0] for row in found), settings.events.bot_patterns, settings.events.not_bots)
    return None if agents.empty else warehouse.keep("agents", from_frame(agents))


def _with_agents(records: ir.Table, agents: ir.Table | None) -> ir.Table:
    """The records with ``bot``, and with the device that the user agent names where none is logged."""
    if agents is None:
        return records.mutate(bot=ibis.literal(False))
    joined = records.left_join(agents, "user_agent").drop("user_agent_right")
    return joined.mutate(device=ibis.coalesce(joined.device, joined.agent_device)).drop("agent_device")


def _refresh_rejects(warehouse: Warehouse, raw: ir.Table, first: dt.date, last: dt.date) -> None:
    warehouse.delete_days(contracts.REJECTS, first, last)
    bad = raw.filter(raw.problem.notnull() & raw.day.between(first, last))
    warehouse.append(contracts.REJECTS, bad.mutate(reason=bad.problem))


def _touched_records(warehouse: Warehouse, records: ir.Table, first: dt.date, last: dt.date) -> ir.Table:
    """The good records of any day that share an event id with what the asked days hold now or held before."""
    held = [
        table.filter(table.day.between(first, last)).select("event_id")
        for table in (
            records,
            *(warehouse.table(contract) for contract in (contracts.EVENTS, contracts.DUPLICATES, contracts.FILTERED)),
        )
    ]
    keys = warehouse.keep("keys", ibis.union(*held, distinct=True))
    return warehouse.keep("candidates", records.semi_join(keys, "event_id"))


def _placed(warehouse: Warehouse, settings: Settings, events: ir.Table) -> ir.Table:
    devices = warehouse.keep("devices", device_users(events))
    decided = warehouse.keep("decided", users_on_shared_devices(events, devices, settings.events.most_users_of_a_device))
    return stitched(events, devices, decided)


def _sessionised(settings: Settings, events: ir.Table) -> ir.Table:
    # A visitor is the user where known: neither id of the user need be carried through the sorting by visitor.
    stitched_ones = events.mutate(stitched=events.logged_user_id.isnull() & events.user_id.notnull()).drop("user_id", "logged_user_id")
    invented = [source.name for source in settings.sources_of("events") if source.fields["timestamp"].order]
    placed = in_sessions(stitched_ones, settings.events.session_gap_minutes, settings.events.max_dwell_minutes, invented)
    return placed.mutate(user_id=placed.visitor_id.nullif(placed.anonymous_id))


def _write_all(warehouse: Warehouse, settings: Settings, accepted: ir.Table) -> None:
    # Columns that no source fills stay out of the sorting: a column of nulls costs as much there as any other.
    filled = {name for source in settings.sources_of("events") for name in source.columns}
    empty = [name for name in CARRIED if name in OPTIONAL and name not in filled]
    placed = _placed(warehouse, settings, accepted.drop(*empty))
    nulls = {name: ibis.null(contracts.EVENTS.column(name).type) for name in empty}
    warehouse.clear(contracts.EVENTS)
    warehouse.append(contracts.EVENTS, _sessionised(settings, placed).mutate(**nulls))
    warehouse.clear(contracts.SESSIONS)
    warehouse.append(contracts.SESSIONS, sessions(with_visitors(warehouse.table(contracts.EVENTS))))


def _write_touched(
    warehouse: Warehouse, settings: Settings, accepted: ir.Table, copies: ir.Table, left_out: ir.Table, first: dt.date, last: dt.date
) -> tuple[dt.date, dt.date]:
    """Replace the touched records, then stitch and sessionise the visitors whom they concern. Returns the days touched."""
    keys, events = warehouse.kept("keys"), with_visitors(warehouse.table(contracts.EVENTS))
    fresh = warehouse.keep("fresh", accepted)
    stale = events.filter(events.day.between(first, last) | events.event_id.isin(keys.event_id))
    devices = warehouse.keep(
        "touched_devices",
        ibis.union(stale.select("anonymous_id"), fresh.select("anonymous_id"), distinct=True).filter(
            lambda table: table.anonymous_id.notnull()
        ),
    )
    on_devices = events.semi_join(devices, "anonymous_id")
    concerned = [
        stale.select("visitor_id"),
        on_devices.select("visitor_id"),
        *(table.select(visitor_id=name) for table in (fresh, on_devices) for name in ("logged_user_id", "anonymous_id")),
    ]
    visitors = warehouse.keep("touched_visitors", ibis.union(*concerned, distinct=True).filter(lambda table: table.visitor_id.notnull()))
    for contract, rows in ((contracts.DUPLICATES, copies), (contracts.FILTERED, left_out), (contracts.EVENTS, None)):
        warehouse.delete_matching(contract, keys, "event_id")
        if rows is not None:
            warehouse.append(contract, rows)
    known = events.filter(events.visitor_id.isin(visitors.visitor_id) | events.anonymous_id.isin(devices.anonymous_id))
    pool = warehouse.keep("pool", ibis.union(known.select(*CARRIED, "user_id"), fresh.select(*CARRIED, user_id="logged_user_id")))
    # A device outside the touched ones is in the pool for its user, and perhaps in part only: its events keep the user they were given.
    settled = pool.anti_join(devices, "anonymous_id")
    placed = ibis.union(
        _placed(warehouse, settings, pool.semi_join(devices, "anonymous_id").drop("user_id")).select(*CARRIED, "user_id", "visitor_id"),
        settled.mutate(visitor_id=settled.user_id).select(*CARRIED, "user_id", "visitor_id"),
    )
    warehouse.delete_matching(contracts.EVENTS, pool, "event_id")
    warehouse.append(contracts.EVENTS, _sessionised(settings, placed))
    warehouse.delete_matching(contracts.SESSIONS, visitors, "visitor_id")
    warehouse.append(contracts.SESSIONS, sessions(events.semi_join(visitors, "visitor_id")))
    candidates = warehouse.kept("candidates")
    earliest, latest = warehouse.row(candidates.aggregate(first=candidates.day.min(), last=candidates.day.max()))
    return (min(first, earliest), max(last, latest)) if earliest else (first, last)


def _refresh_accounting(warehouse: Warehouse, raw: ir.Table, first: dt.date, last: dt.date) -> None:
    """Count anew, from the tables themselves, where the records of the days went."""

    def counted(table: ir.Table, name: str) -> ir.Table:
        return table.filter(table.day.between(first, last)).group_by("day", "source").aggregate(**{name: lambda rows: rows.count()})

    accounting = counted(raw, "records_read")
    for contract in (contracts.EVENTS, contracts.REJECTS, contracts.DUPLICATES, contracts.FILTERED):
        accounting = accounting.left_join(counted(warehouse.table(contract), contract.name), ["day", "source"], rname="{name}_counted")
        accounting = accounting.mutate(**{contract.name: accounting[contract.name].fill_null(0)}).drop(
            *(name for name in accounting.columns if name.endswith("_counted"))
        )
    warehouse.delete_days(contracts.ACCOUNTING, first, last)
    warehouse.append(contracts.ACCOUNTING, accounting)
