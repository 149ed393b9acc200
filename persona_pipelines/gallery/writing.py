"""From the tables and the segments in use to a file."""

from __future__ import annotations

import os
from pathlib import Path

from persona_pipelines.gallery.content import Gallery, NothingToShowError, gathered
from persona_pipelines.segments.model import SegmentModel
from persona_pipelines.settings import Settings
from persona_pipelines.tracking.registry import champion
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse


def gallery_of(store: Warehouse, settings: Settings) -> Gallery:
    """What the page shows.

    Raises:
        gallery.content.NothingToShowError: no user has a segment yet.
        tracking.experiments.ModelNotFoundError: no segments have been trained.
        ValueError: the segment model was stored by another version.
    """
    if not store.rows(contracts.USER_SEGMENTS):
        raise NothingToShowError(
            "no page: nobody is in a segment, because no event names a person (user_id)" if store.rows(contracts.EVENTS)
            else f"{settings.name} has no segments yet; first: persona run --config {settings.file.name}"
        )  # fmt: skip
    return gathered(store, settings, SegmentModel.load(champion(settings, "segments").folder))


def write(page: str, file: Path) -> Path:
    """Write a page whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    waiting = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        waiting.write_text(page, encoding="utf-8")
        waiting.replace(file)
    finally:
        waiting.unlink(missing_ok=True)
    return file
