"""Pieces of time in which logs and events are loaded, re-run and shown: days, weeks, months, or the whole.

Dagster writes two events for each asset and piece of a run, about 16 ms each: twenty years of days would take hours before
any record is read. So the pieces grow with the span of the logs, and the work grows with the records.

The pieces end where the logs end: one that no log will ever fill is not shown as missing. Logs that had a day in the last week are
taken to go on, and their pieces with them, so that what Dagster has loaded once is right for weeks.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import dagster as dg

from persona_pipelines.settings import Settings

FIRST_DAY_TAG, LAST_DAY_TAG = "persona/first_day", "persona/last_day"
LONGEST_SPAN = {"day": 400, "week": 4 * 366, "month": 12 * 366}
"""Days from the start date up to which a size of pieces is the default, where not every source has a file a day."""

STILL_WRITTEN_DAYS = 7
"""Logs whose last day is no longer ago are taken to go on; their pieces end with the current one."""

MOST_PIECES_SINCE = 1_100
"""Three years of days. Up to so many pieces ago, the end is counted back from now: what Dagster has loaded long ago then takes a run of a day
that has arrived since, which it refuses where the end is a date. Counting takes 12 microseconds a piece, at each question of Dagster."""


def size_of_pieces(settings: Settings, today: dt.date) -> str:
    """``day``, ``week``, ``month`` or ``none``: as set, else days where every source has dated files, else by the span."""
    if settings.logs.partitions != "auto":
        return settings.logs.partitions
    if all(source.dated for source in settings.sources_of("events")):
        return "day"
    span = (today - settings.start_date).days
    return next((size for size, longest in LONGEST_SPAN.items() if span <= longest), "none")


def partitions(settings: Settings, last: dt.date | None = None) -> dg.TimeWindowPartitionsDefinition | None:
    """The pieces of logs and events, from that of the start date on; None for the whole.

    Args:
        last: the last day of the logs, where they have ended: the last piece is the one that holds it. Without, it is the current one.
    """
    start = settings.start_date
    size = size_of_pieces(settings, _today())
    if size == "none":
        return None
    current = _pieces(size, start, end_offset=1)
    if last is None:
        return current
    end = current.time_window_for_partition_key(_key(current, max(last, start))).end.date()
    since = _whole_pieces(size, end, _today())
    return _pieces(size, start, end_offset=-since) if since <= MOST_PIECES_SINCE else _pieces(size, start, end_date=end.isoformat())


def _pieces(size: str, start: dt.date, **bounds: Any) -> dg.TimeWindowPartitionsDefinition:
    if size == "month":
        return dg.MonthlyPartitionsDefinition(start_date=start.replace(day=1).isoformat(), **bounds)
    if size == "week":
        monday = start - dt.timedelta(days=start.weekday())
        return dg.WeeklyPartitionsDefinition(start_date=monday.isoformat(), day_offset=1, **bounds)
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), **bounds)


def _whole_pieces(size: str, since: dt.date, until: dt.date) -> int:
    """How many pieces are over between the beginning of one and a day; -1 where the piece before is not over itself."""
    if size == "month":
        return 12 * (until.year - since.year) + until.month - since.month
    return (until - since).days // (7 if size == "week" else 1)


def _key(pieces: dg.TimeWindowPartitionsDefinition, day: dt.date) -> str:
    """The key of the piece that holds a day, whether or not the pieces go so far."""
    return pieces.get_partition_key_for_timestamp(dt.datetime.combine(day, dt.time(12), dt.UTC).timestamp())


def ended(last: dt.date | None, until: dt.date | None = None) -> dt.date | None:
    """The last day of logs that have ended; None of logs that go on, or of which it is not known.

    Args:
        last: the last day that they have; None where that is not known.
        until: a day that is asked for, whether or not they have it.
    """
    if last is None:
        return None
    last = max(last, until or last)
    return None if last >= _today() - dt.timedelta(days=STILL_WRITTEN_DAYS) else last


def range_tags(settings: Settings, first: dt.date, last: dt.date) -> dict[str, str]:
    """Tags that make one run of the pieces which hold a range of days."""
    pieces = partitions(settings)
    if pieces is None:
        return {FIRST_DAY_TAG: first.isoformat(), LAST_DAY_TAG: last.isoformat()}
    keys = [_key(pieces, day) for day in (first, last)]
    return {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[1]}


def first_and_last_day(context: dg.AssetExecutionContext, settings: Settings) -> tuple[dt.date, dt.date]:
    """The days that a run was asked for; without pieces and without days, all there can be."""
    if not context.has_partition_key and not context.has_partition_key_range:
        tags = context.run.tags
        first, last = tags.get(FIRST_DAY_TAG), tags.get(LAST_DAY_TAG)
        return (
            dt.date.fromisoformat(first) if first else settings.start_date,
            dt.date.fromisoformat(last) if last else _today() + dt.timedelta(days=1),
        )
    keys = context.partition_key_range
    pieces = partitions(settings)
    assert pieces is not None
    begin = pieces.time_window_for_partition_key(keys.start).start.date()
    end = pieces.time_window_for_partition_key(keys.end).end.date() - dt.timedelta(days=1)
    return max(begin, settings.start_date), end


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()
