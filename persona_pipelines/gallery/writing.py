"""From the tables and the model that they were made with to what the page shows."""

from __future__ import annotations

from persona_pipelines.gallery.content import Gallery, NothingToShowError, gathered
from persona_pipelines.segments import STAGE as SEGMENTS
from persona_pipelines.segments.model import SegmentModel
from persona_pipelines.settings import Settings
from persona_pipelines.tracking.registry import made_with, model
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

READ = (
    contracts.FEATURE_SUPPORT,
    contracts.CATEGORY_SHARES,
    contracts.USER_FEATURES,
    contracts.USER_PROFILES,
    contracts.SEGMENT_PROFILES,
    contracts.SEGMENT_DIFFERENCES,
    contracts.SEGMENT_INTERESTS,
    contracts.PREDICTION_QUALITY,
)
"""Tables of which the page reads columns that earlier versions did not make."""


def gallery_of(store: Warehouse, settings: Settings) -> Gallery:
    """What the page shows.

    Raises:
        gallery.content.NothingToShowError: no user has a segment yet.
        tracking.experiments.ModelNotFoundError: no segments have been trained.
        ValueError: the segment model was stored by another version.
    """
    for contract in READ:
        if store.is_outdated(contract) or (store.exists(contracts.USER_SEGMENTS) and not store.exists(contract)):
            raise NothingToShowError(f"{contract.full_name} was made by another version; first: persona run")
    if not store.rows(contracts.USER_SEGMENTS):
        raise NothingToShowError(
            "no page: nobody is in a segment, because no event names a person (user_id)"
            if store.rows(contracts.EVENTS)
            else f"{settings.name} has no segments yet; first: persona run"
        )
    return gathered(store, settings, SegmentModel.load(model(settings, SEGMENTS, made_with(store, SEGMENTS)).folder))
