"""A sensor that ends runs whose process has died: one that is shown as running for ever would keep all others waiting."""

from __future__ import annotations

import dagster as dg

from persona_pipelines.orchestration.owners import end_orphaned_runs
from persona_pipelines.settings import Settings


def build(settings: Settings) -> dg.SensorDefinition:
    @dg.sensor(
        name="orphaned_runs",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Marks runs as failed whose process was killed, so that the next ones may start. Starts nothing itself.",
    )
    def orphaned_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = end_orphaned_runs(context.instance, settings.home)
        return dg.SkipReason(f"Ended {', '.join(run[:8] for run in ended)}." if ended else "No run has lost its process.")

    return orphaned_runs
