"""Figures of the live service for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """The figures of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("persona_requests", "Requests by route and status.", ("route", "status"), registry=self.registry)
        self.seconds = Histogram(
            "persona_request_seconds", "Time to an answer by route.", ("route",), buckets=BUCKETS, registry=self.registry
        )
        self.events = Counter("persona_events", "Events by what became of them.", ("outcome",), registry=self.registry)
        self.durable = Histogram("persona_durable_seconds", "Time until events are on the disk.", buckets=BUCKETS, registry=self.registry)
        self.people = Gauge("persona_people", "People and devices with events since the snapshot.", registry=self.registry)
        self.dropped = Gauge("persona_lists_dropped", "Served lists that could not be kept.", registry=self.registry)
        self.swaps = Gauge("persona_snapshots_taken", "Snapshots taken since the start.", registry=self.registry)
        self.breaks = Gauge("persona_journal_breaks", "Damaged lines found in the journal at the start.", registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)
