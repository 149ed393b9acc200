"""The persona gallery as an asset: one page, linked in Dagster, logged to MLflow."""

from typing import TYPE_CHECKING, Any

import dagster as dg

from persona_pipelines.gallery import STAGE
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import fresh, key
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from persona_pipelines.gallery.content import Gallery

NAME = dg.AssetKey([STAGE, "persona_gallery"])
WHOLE = "pages_are_whole"
# Segment advantages are made in one step with the comparison; a home of before has none, and its pages can be made anew all the same.
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
        freshness_policy=fresh(),
        check_specs=[
            dg.AssetCheckSpec(
                WHOLE,
                asset=NAME,
                description="Every segment of the tables has a card on the page of each language, which loads nothing from a network.",
            )
        ],
    )
    def persona_gallery(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines.files import write_whole
        from persona_pipelines.gallery.checks import pages_are_whole
        from persona_pipelines.gallery.content import NothingToShowError
        from persona_pipelines.gallery.page import page
        from persona_pipelines.gallery.texts import LANGUAGES, page_name
        from persona_pipelines.gallery.writing import gallery_of
        from persona_pipelines.home.publishing import published_page, waiting_page
        from persona_pipelines.orchestration.metadata import plot
        from persona_pipelines.segments.model import UNPLACED
        from persona_pipelines.tracking.experiments import Origin, tracked_run

        chosen = warehouse.settings
        try:
            gallery = gallery_of(warehouse.get(), chosen)
        except NothingToShowError as error:
            context.log.warning(str(error))
            yield dg.MaterializeResult(metadata={"left_out": str(error)})
            yield dg.AssetCheckResult(check_name=WHOLE, passed=True, description=f"left out: {error}")
            return
        names = {language: page_name(language) for language in LANGUAGES}
        for language, name in names.items():
            write_whole(waiting_page(chosen, name), page(gallery, language))
        with tracked_run(chosen, STAGE, f"gallery {gallery.as_of}", Origin(context.run_id, NAME.to_user_string())) as run:
            for name in names.values():
                run.file(waiting_page(chosen, name))
        yield dg.MaterializeResult(
            metadata={
                **{name: plot(figure) for name, figure in _pictures(gallery).items()},
                **{f"page_{language}": dg.MetadataValue.path(str(published_page(chosen, name))) for language, name in names.items()},
                "mlflow_run": dg.MetadataValue.url(run.url),
                "segments": len(gallery.cards),
                "users": gallery.glance.users,
            },
        )
        profiles = warehouse.get().table(contracts.SEGMENT_PROFILES)
        segments = {int(segment) for (segment,) in warehouse.get().tuples(profiles.select("segment_id"))} - {UNPLACED[0]}
        written: dict[str, str] = {language: waiting_page(chosen, name).read_text(encoding="utf-8") for language, name in names.items()}
        found = pages_are_whole(written, sorted(segments))
        yield dg.AssetCheckResult(check_name=WHOLE, passed=found.passed, description=found.words, metadata=dict(found.numbers))

    return [persona_gallery]


def _pictures(gallery: "Gallery") -> dict[str, "Figure"]:
    """What the page draws of the segments that may be shown, small enough for the asset's page: how many users, and where they lie."""
    import numpy as np
    import pandas as pd

    from persona_pipelines import charts

    shown = [card for card in gallery.cards if card.details is not None]
    names = [card.name.text for card in shown]
    pictures = {"sizes": charts.bars(pd.Series([card.glance.users for card in shown], index=names), "Users by segment")} if shown else {}
    if len(gallery.places):
        pictures["map"] = charts.segment_map(
            gallery.places, np.array(names)[gallery.groups], f"{len(gallery.places):,} users on the plane of the page's map"
        )
    return pictures
