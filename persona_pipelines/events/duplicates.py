"""Records that were delivered more than once: the first in order of day, source, file and line is kept."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

ORDER = ("day", "source", "source_file", "source_line", "source_part")


def repeated(records: ir.Table) -> ir.Table:
    """The records that repeat an earlier one with the same ``event_id``.

    Args:
        records: columns ``event_id`` and those of ``ORDER``. The result does not depend on the order of its rows.
    Returns:
        ``ORDER`` and ``event_id`` of every record but the first of each id.
    """
    counts = records.group_by("event_id").aggregate(copies=records.count())
    several = counts.filter(counts.copies > 1)
    # Ranking only what stands more than once keeps the window off the bulk of the records.
    copies = records.semi_join(several, "event_id").select(*ORDER, "event_id")
    ranked = copies.mutate(copy=ibis.row_number().over(group_by="event_id", order_by=[copies[name] for name in ORDER]))
    return ranked.filter(ranked.copy > 0).drop("copy")
