"""The jobs: the whole flow, the daily refresh, the weekly retraining; and their schedules, off until turned on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence

import dagster as dg

from persona_pipelines.orchestration.partitions import range_tags
from persona_pipelines.orchestration.specs import PUBLISHED
from persona_pipelines.settings import Settings

LOCATION = "persona_pipelines.definitions"
"""The module that Dagster loads, and its code location's name: with another one schedules would forget that they are switched on."""
MAIN_JOB = "flow"
TUNING_JOB, SCORING_JOB = "tune", "score"
TUNING = dg.AssetKey(["recommendations", "tuned_parameters"])
TRAINING = (
    dg.AssetKey(["segments", "segment_quality"]),
    dg.AssetKey(["segments", "segment_changes"]),
    TUNING,
    *(
        dg.AssetKey(["recommendations", name])
        for name in ("model_comparison", "model_advantages", "segment_advantages", "last_click", "leakage_audit")
    ),
)
"""Assets that train a model: left out of the daily job, which scores with the champions."""


OF_DAYS = ("logs", "events", "features")
"""Stages that the daily job brings up to date; what comes behind them is trained and judged once a week."""


def build(
    settings: Settings, pieces: dg.TimeWindowPartitionsDefinition | None, last: Callable[[], dt.date | None], groups: Sequence[str]
) -> tuple[list[dg.UnresolvedAssetJobDefinition], list[dg.ScheduleDefinition]]:
    """Jobs (main, daily, weekly, tuning, scoring) and schedules (daily, weekly).

    Args:
        last: finds the last day of logs that have ended; None of those that go on.
        groups: of the assets, in the order of the flow.
    """
    everything = dg.AssetSelection.all()
    main = dg.define_asset_job(
        MAIN_JOB,
        everything,
        partitions_def=pieces,
        description=_contents(groups),
    )
    daily = dg.define_asset_job(
        "daily",
        everything - dg.AssetSelection.assets(*TRAINING),
        partitions_def=pieces,
        description="Ingest days, refresh features, score with the current champions.",
    )
    weekly = dg.define_asset_job(
        "weekly",
        everything - dg.AssetSelection.groups(*OF_DAYS),
        description="Retrain, compare, promote what has won, score.",
    )

    tune = dg.define_asset_job(
        TUNING_JOB,
        dg.AssetSelection.assets(TUNING, PUBLISHED),
        description="Search for better parameters on the validation window; give the minutes.",
    )
    score = dg.define_asset_job(
        SCORING_JOB,
        dg.AssetSelection.assets(dg.AssetKey(["recommendations", "recommendations"]), PUBLISHED),
        description="The present champion's lists: after a promotion or rollback by hand.",
    )

    @dg.schedule(
        job=daily,
        cron_schedule=settings.schedules.daily,
        execution_timezone=settings.schedules.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Yesterday's logs, then fresh features and scores.",
    )
    def every_day(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        yesterday = context.scheduled_execution_time.date() - dt.timedelta(days=1)
        end = last()
        if end is not None and end < yesterday:
            return dg.SkipReason(f"The logs end with {end}: there is nothing of {yesterday} to load.")
        return dg.RunRequest(run_key=yesterday.isoformat(), tags=range_tags(settings, yesterday, yesterday))

    @dg.schedule(
        job=weekly,
        cron_schedule=settings.schedules.weekly,
        execution_timezone=settings.schedules.timezone,
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Retraining and comparison of all models.",
    )
    def every_week(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        return dg.RunRequest(run_key=context.scheduled_execution_time.date().isoformat())

    return [main, daily, weekly, tune, score], [every_day, every_week]


def _contents(groups: Sequence[str]) -> str:
    """What the page of the main job says beside its graph, in which the names of nine groups in a row are too small to be read."""
    pages = " → ".join(f"[{group}](/locations/{LOCATION}/asset-groups/{group}/lineage)" for group in groups)
    return (
        f"The whole flow, from the logs to what people read. The tables of each stage, with their names and state:\n\n{pages}\n\n"
        "In the graph, Alt+E opens the groups, and the gear at its lower right turns it upright."
    )
