"""A sensor that starts the daily job for days whose files are new or have changed."""

from __future__ import annotations

import dagster as dg

from persona_pipelines.orchestration.partitions import range_tags
from persona_pipelines.settings import Settings


def build(settings: Settings, job: dg.UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_files",
        job=job,
        minimum_interval_seconds=settings.schedules.sensor_seconds,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Starts the daily job for the days of log files that have arrived or changed since they were last read.",
    )
    def new_files(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        from persona_pipelines.logs.arrivals import changed_days

        found = changed_days(settings)
        if found is None:
            return dg.SkipReason("No file is new or has changed since it was last read.")
        # The run key holds the files' state: the same arrivals start one run, a further change starts another.
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=found.state, tags=range_tags(settings, found.first, found.last))])

    return new_files
