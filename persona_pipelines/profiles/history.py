"""What was known on a day: rows with a first and a last day of validity, and the movement between segments that follows from them."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.types as ir

from persona_pipelines.warehouse import contracts

TOLD = ("segment_id", "segment_name", "lifecycle_stage", "top_interests")
"""What makes a new row when it changes; predictions move every day and are kept as of the row's first day."""
PREDICTED = ("purchase_probability", "churn_probability", "lifetime_value")


def profile_history(history: ir.Table, profiles: ir.Table, as_of: dt.date) -> ir.Table:
    """``contracts.PROFILE_HISTORY`` after a day's profiles.

    A day that is scored again replaces what it said before: rows that began on it are taken back. Days before the newest known
    one change nothing that was said later: they are left out, because history is what was known, not what is found out now.

    Args:
        history: the table so far.
        profiles: ``contracts.USER_PROFILES`` as of ``as_of``.
    """
    day = ibis.literal(as_of)
    before = history.filter(history.valid_from < day)
    # A row that this very day had ended is open again until compared anew.
    reopened = before.mutate(
        valid_to=ibis.ifelse(before.valid_to == ibis.literal(as_of - dt.timedelta(days=1)), ibis.null("date"), before.valid_to)
    )
    closed, open_ = reopened.filter(reopened.valid_to.notnull()), reopened.filter(reopened.valid_to.isnull())
    now = profiles.select("user_id", *TOLD, *PREDICTED).mutate(valid_from=day, valid_to=ibis.null("date"))
    paired = open_.left_join(now.select("user_id", **{f"new_{name}": now[name] for name in TOLD}, known=ibis.literal(True)), "user_id")
    same = paired.known.fill_null(False)
    for name in TOLD:
        same &= paired[name].identical_to(paired[f"new_{name}"])
    # A user of whom nothing is known any more has no profile from this day on.
    ended = paired.mutate(valid_to=ibis.ifelse(same, ibis.null("date"), ibis.literal(as_of - dt.timedelta(days=1))))
    kept = paired.filter(same).select("user_id")
    begun = now.anti_join(kept, "user_id")
    columns = contracts.PROFILE_HISTORY.column_names
    return ibis.union(closed.select(columns), ended.select(columns), begun.select(columns))


def segment_movement(history: ir.Table, as_of: dt.date, before: dt.date | None) -> ir.Table:
    """``contracts.SEGMENT_MOVEMENT`` between two days; empty without a day before.

    Users who were not there on one of the days are ``(new)`` or ``(gone)``. A segment that has another name by now is called by that: its people
    have not moved.
    """
    if before is None:
        return ibis.memtable([], schema=ibis.schema({column.name: column.type for column in contracts.SEGMENT_MOVEMENT.columns}))

    def on(day: dt.date) -> ir.Table:
        moment = ibis.literal(day)
        return history.filter((history.valid_from <= moment) & (history.valid_to.isnull() | (history.valid_to >= moment)))

    then, now = on(before), on(as_of)
    called = now.group_by(called_id="segment_id").aggregate(called=now.segment_name.max())
    both = then.select("user_id", from_id="segment_id", before="segment_name").outer_join(
        now.select("user_id", to_segment="segment_name"), "user_id"
    )
    both = both.left_join(called, both.from_id == called.called_id)
    named = both.mutate(
        from_segment=ibis.coalesce(both.called, both.before, ibis.literal("(new)")), to_segment=both.to_segment.fill_null("(gone)")
    )
    counts = named.group_by("from_segment", "to_segment").aggregate(users=named.count())
    return counts.mutate(from_date=ibis.literal(before), to_date=ibis.literal(as_of))
