"""The whole graph of a configuration: the rooms' assets in the order of the flowchart, jobs, schedules, sensors, warehouse."""

import datetime as dt
import warnings

import dagster as dg

from persona_pipelines import vocabulary

warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

from persona_pipelines.events import assets as events  # noqa: E402
from persona_pipelines.features import assets as features  # noqa: E402
from persona_pipelines.gallery import assets as gallery  # noqa: E402
from persona_pipelines.logs import assets as logs  # noqa: E402
from persona_pipelines.logs import sensors  # noqa: E402
from persona_pipelines.logs.reach import last_known_day  # noqa: E402
from persona_pipelines.orchestration import jobs as orchestration  # noqa: E402
from persona_pipelines.orchestration import sweeping  # noqa: E402
from persona_pipelines.orchestration.partitions import ended, partitions  # noqa: E402
from persona_pipelines.orchestration.resources import WarehouseResource  # noqa: E402
from persona_pipelines.orchestration.specs import saying_what_comes_with_it  # noqa: E402
from persona_pipelines.profiles import assets as profiles  # noqa: E402
from persona_pipelines.publication import assets as publication  # noqa: E402
from persona_pipelines.recommendations import assets as recommendations  # noqa: E402
from persona_pipelines.segments import assets as segments  # noqa: E402
from persona_pipelines.serving import assets as serving  # noqa: E402
from persona_pipelines.settings import Settings  # noqa: E402

OF_DAYS = (logs, events)
"""Modules that build the assets of the first stages, whose work is of days."""
OF_ALL = (features, segments, profiles, recommendations, gallery, serving)
"""Those of the others, in the order of the flowchart."""
STAGES = (*vocabulary.STAGES, publication.STAGE)


def build(settings: Settings, until: dt.date | None = None) -> dg.Definitions:
    """The definitions of a configuration.

    Args:
        until: a day that a run is going to ask for, whether or not the logs reach it.
    """
    pieces = partitions(settings, ended(last_known_day(settings), until))
    jobs, schedules = orchestration.build(settings, pieces, lambda: ended(last_known_day(settings)), STAGES)
    of_days = [asset for room in OF_DAYS for asset in room.build(settings, pieces)]
    made = [saying_what_comes_with_it(asset) for asset in (*of_days, *(asset for room in OF_ALL for asset in room.build(settings)))]
    return dg.Definitions(
        assets=[*made, *publication.build(settings, made)],
        jobs=jobs,
        schedules=schedules,
        sensors=[sensors.build(settings, jobs[1]), sweeping.build(settings)],
        resources={"warehouse": WarehouseResource()},
        executor=dg.in_process_executor,
    )
