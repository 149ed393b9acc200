"""What the times of each source are worth: moments, days alone, or the order of the records."""

from __future__ import annotations

import ibis
import ibis.expr.types as ir

from persona_pipelines.settings import Settings
from persona_pipelines.vocabulary import DAY, MOMENT, ORDER
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.functions import local_time

FEWEST_EVENTS = 2
"""One event at midnight says nothing of the clock."""


def clocks(warehouse: Warehouse, settings: Settings) -> ir.Table:
    """``contracts.CLOCKS``: ``DAY`` where all events of a source are at midnight in its time zone, ``ORDER`` where the configuration
    lets the order of the records stand for time."""
    events = warehouse.table(contracts.EVENTS)
    parts = []
    for source in settings.sources_of("events"):
        told = source.fields["timestamp"]
        own = events.filter(events.source == source.name)
        local = local_time(own.timestamp, told.timezone or "UTC")
        sums = own.aggregate(
            events=own.count(),
            first_time=own.timestamp.min(),
            last_time=own.timestamp.max(),
            with_time_of_day=own.count(where=local != local.truncate("D")),
        )
        by_days = (sums.events >= FEWEST_EVENTS) & (sums.with_time_of_day == 0)
        clock = ibis.literal(ORDER) if told.order else ibis.ifelse(by_days, DAY, MOMENT)
        parts.append(sums.mutate(source=ibis.literal(source.name), clock=clock))
    return ibis.union(*parts) if len(parts) > 1 else parts[0]
