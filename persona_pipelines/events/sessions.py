"""Sessions by inactivity, and the attention that each event got."""

from __future__ import annotations

from collections.abc import Collection

import ibis
import ibis.expr.types as ir

from persona_pipelines.events.ordering import EVENT_ORDER
from persona_pipelines.vocabulary import VIEWING_TYPES


def in_sessions(events: ir.Table, session_gap_minutes: float, max_dwell_minutes: float, invented: Collection[str] = ()) -> ir.Table:
    """Add ``session_id`` and ``attention_ms``.

    A session ends where a visitor's next event comes more than ``session_gap_minutes`` later (30 minutes is the custom of
    web analytics). Attention is the dwell time as logged, else, of an event that puts something before the visitor's eyes
    (``VIEWING_TYPES``), the gap to the next event in the session, both capped at ``max_dwell_minutes``. It is unknown without
    either: of the last event of a session, of events of the same moment all but the last (``EVENT_ORDER``), of a line of an order or a rating.

    Args:
        events: ``visitor_id``, ``event_type``, ``dwell_ms`` and the columns of ``EVENT_ORDER``; complete for each visitor in it.
        invented: sources whose times stand for the order of their records: between these no time has gone by. Where there are any,
            ``events`` have ``source``.
    """
    order = [events[name] for name in EVENT_ORDER]
    by_visitor = ibis.window(group_by="visitor_id", order_by=order)
    gap_us = round(session_gap_minutes * 60e6)
    microseconds = events.timestamp.delta(ibis.timestamp("1970-01-01 00:00:00"), unit="microsecond").cast("int64")
    timed = events.mutate(at_us=microseconds)
    before, after = timed.at_us.lag().over(by_visitor), timed.at_us.lead().over(by_visitor)
    gaps = timed.mutate(since_us=timed.at_us - before, until_us=after - timed.at_us)
    starts = ibis.ifelse(gaps.since_us.isnull() | (gaps.since_us > gap_us), gaps.at_us, None)
    started = gaps.mutate(started_us=starts)
    # The largest start up to an event is that of its own session, since starts grow with time.
    so_far = ibis.window(group_by="visitor_id", order_by=[started[name] for name in EVENT_ORDER], preceding=None, following=0)
    placed = started.mutate(started_us=started.started_us.max().over(so_far))
    cap_ms = round(max_dwell_minutes * 60_000)
    viewing = placed.event_type.isin(VIEWING_TYPES)
    if invented:
        viewing = viewing & ~placed.source.isin(list(invented))
    until_ms = ibis.ifelse(viewing & (placed.until_us > 0) & (placed.until_us <= gap_us), placed.until_us // 1000, None)
    attention_ms = ibis.coalesce(placed.dwell_ms, until_ms.cast("int64"))
    return placed.mutate(
        session_id=placed.visitor_id + "-" + (placed.started_us // 1_000_000).cast("string"),
        attention_ms=ibis.ifelse(attention_ms > cap_ms, cap_ms, attention_ms),
    ).drop("at_us", "since_us", "until_us", "started_us")


def sessions(events: ir.Table) -> ir.Table:
    """One row a session of events that carry ``session_id`` (``contracts.SESSIONS``)."""
    return events.group_by("session_id").aggregate(
        visitor_id=events.visitor_id.arbitrary(),  # the same in all events of a session, like the user
        user_id=events.user_id.arbitrary(),
        started_at=events.timestamp.min(),
        ended_at=events.timestamp.max(),
        events=events.count(),
        items=events.item_id.nunique(),
        attention_ms=events.attention_ms.sum(),
        device=events.device.min(),
        channel=events.channel.min(),
    )
