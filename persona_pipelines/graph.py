"""The whole graph of a configuration: the rooms' assets in the order of the flowchart, jobs, schedules, sensors, warehouse."""

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
from persona_pipelines.orchestration import jobs as orchestration  # noqa: E402
from persona_pipelines.orchestration import sweeping  # noqa: E402
from persona_pipelines.orchestration.resources import WarehouseResource  # noqa: E402
from persona_pipelines.profiles import assets as profiles  # noqa: E402
from persona_pipelines.publication import assets as publication  # noqa: E402
from persona_pipelines.recommendations import assets as recommendations  # noqa: E402
from persona_pipelines.segments import assets as segments  # noqa: E402
from persona_pipelines.settings import Settings  # noqa: E402

ROOMS = dict(zip(vocabulary.STAGES, (logs, events, features, segments, profiles, recommendations, gallery), strict=True))
"""The stages in the order of the flowchart, each with the module that builds its assets."""
STAGES = (*ROOMS, publication.STAGE)


def build(settings: Settings) -> dg.Definitions:
    jobs, schedules = orchestration.build(settings)
    made = [asset for room in ROOMS.values() for asset in room.build(settings)]
    return dg.Definitions(
        assets=[*made, *publication.build(settings, made)],
        jobs=jobs,
        schedules=schedules,
        sensors=[sensors.build(settings, jobs[1]), sweeping.build(settings)],
        resources={"warehouse": WarehouseResource()},
        executor=dg.in_process_executor,
    )
