"""The persona gallery as an asset: one page, linked in Dagster, logged to MLflow."""

from typing import Any

import dagster as dg

from persona_pipelines.gallery import STAGE
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import key
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

NAME = dg.AssetKey([STAGE, "persona_gallery"])
INPUTS = (
    contracts.USER_PROFILES,
    contracts.FEATURE_SUPPORT,
    contracts.SEGMENT_PROFILES,
    contracts.SEGMENT_DIFFERENCES,
    contracts.SEGMENT_INTERESTS,
    contracts.SEGMENT_HISTORY,
    contracts.SEGMENT_MOVEMENT,
    contracts.PREDICTION_QUALITY,
    contracts.RECOMMENDATIONS,
    contracts.MODEL_COMPARISON,
    contracts.ACCOUNTING,
)


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    @dg.asset(
        key=NAME,
        group_name=STAGE,
        deps=[key(table) for table in INPUTS],
        owners=[settings.owner],
        kinds={"html"},
        tags={"stage": STAGE},
        description="One page about the audience: who they are, when they come, what they are worth, how to speak to them.",
    )
    def persona_gallery(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines.files import write_whole
        from persona_pipelines.gallery.content import NothingToShowError
        from persona_pipelines.gallery.page import page
        from persona_pipelines.gallery.texts import LANGUAGES
        from persona_pipelines.gallery.writing import gallery_of
        from persona_pipelines.home.publishing import waiting_page
        from persona_pipelines.tracking.experiments import Origin, tracked_run

        chosen = warehouse.settings
        try:
            gallery = gallery_of(warehouse.get(), chosen)
        except NothingToShowError as error:
            context.log.warning(str(error))
            return dg.MaterializeResult(metadata={"left_out": str(error)})
        names = {language: f"persona-gallery-{language}.html" for language in LANGUAGES}
        for language, name in names.items():
            write_whole(waiting_page(chosen, name), page(gallery, language))
        with tracked_run(chosen, STAGE, f"gallery {gallery.as_of}", Origin(context.run_id, NAME.to_user_string())) as run:
            for name in names.values():
                run.file(waiting_page(chosen, name))
        return dg.MaterializeResult(
            metadata={
                **{f"page_{language}": dg.MetadataValue.path(str(chosen.home / "reports" / name)) for language, name in names.items()},
                "mlflow_run": dg.MetadataValue.url(run.url),
                "segments": len(gallery.cards),
                "users": gallery.glance.users,
            },
        )

    return [persona_gallery]
