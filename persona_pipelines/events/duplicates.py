"""Records that were delivered more than once: the first in order of day, source, file and line is kept."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

ORDER = ("day", "source", "source_file", "source_line", "source_part")
COMPARED = ("timestamp", "logged_user_id", "anonymous_id", "event_type", "item_id", "value", "quantity")
"""What two deliveries of one action have in common; records with the same id that differ here are two actions."""


def repeated(records: ir.Table) -> ir.Table:
    """The records that repeat an earlier one with the same ``event_id``.

    What the configuration leaves out takes nobody's place: an order that is first open and then paid is a purchase.

    Args:
        records: columns ``event_id``, ``dropped`` (why a record is left out, or null) and those of ``ORDER`` and ``COMPARED``. The result does not
            depend on the order of its rows.
    Returns:
        ``ORDER`` and ``event_id`` of every record but the first of each id, of those that are left out and of the others; ``kept_file`` and ``kept_line``, where the first stands; and
        ``differs``, whether the first one says something else.
    """
    counts = records.group_by("event_id").aggregate(copies=records.count())
    several = counts.filter(counts.copies > 1)
    # Ranking only what stands more than once keeps the window off the bulk of the records.
    copies = records.semi_join(several, "event_id").select(*ORDER, *COMPARED, "event_id", left_out=ibis._.dropped.notnull())
    by_id = ibis.window(group_by=["event_id", "left_out"], order_by=[copies[name] for name in ORDER])
    firsts = {f"first_{name}": copies[name].first(include_null=True).over(by_id) for name in (*COMPARED, "source_file", "source_line")}
    ranked = copies.mutate(copy=ibis.row_number().over(by_id), **firsts)
    differs = ibis.or_(*(~ranked[name].identical_to(ranked[f"first_{name}"]) for name in COMPARED))
    return ranked.filter(ranked.copy > 0).select(
        *ORDER, "event_id", kept_file=ranked.first_source_file, kept_line=ranked.first_source_line, differs=differs
    )
