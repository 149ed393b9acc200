"""The audiences of the cards as files beside the page: for who asks for them on this machine, and never inside a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from persona_pipelines.audiences.exports import export_audience, export_with_own_ids
from persona_pipelines.audiences.saved import OF_SEGMENT
from persona_pipelines.errors import ProjectError
from persona_pipelines.files import folder_appearing
from persona_pipelines.gallery.content import Gallery
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.connection import Warehouse

FOLDER = "persona-audiences"
ITS_FILES = re.compile(re.escape(OF_SEGMENT) + r"\d+\.csv")


class DownloadsError(ProjectError):
    """The folder cannot be written; the message says why."""


@dataclass(frozen=True)
class OwnList:
    """A company's own list, whose rows are written instead of pseudonyms; ``id_column`` as in ``audiences.exports.export_with_own_ids``."""

    file: Path
    id_column: str | None = None


@dataclass(frozen=True)
class Download:
    """A file beside the page: its address from there, and how many people it has, or rows of a company's own list."""

    address: str
    rows: int
    of_own_list: bool

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]


def written_beside(
    store: Warehouse, settings: Settings, gallery: Gallery, page: Path, own: OwnList | None = None, columns: Sequence[str] = ()
) -> dict[int, Download]:
    """Write the folder ``FOLDER`` beside a page, which only its owner may open: the audience of each card as ``audience export`` writes it.

    Cards without details, and segments in which nobody may be written to, have no file. The folder is there with all files or as it was.

    Args:
        columns: beside the ids: of ``contracts.USER_PROFILES``, or of the own list.
    Returns:
        Files by the ids of their segments.
    Raises:
        DownloadsError: something else is in the folder, or it cannot be written.
        AudienceError, OwnListError, ExportError: as ``audience export`` raises them.
    """
    folder = page.parent / FOLDER
    _require_own(folder)
    found: dict[int, Download] = {}
    try:
        with folder_appearing(folder, 0o700) as waiting:
            for segment in (card.segment_id for card in gallery.cards if card.details is not None):
                name = f"{OF_SEGMENT}{segment}"
                file = waiting / f"{name}.csv"
                if own is None:
                    rows = export_audience(store, settings, name, file, columns).consenting
                else:
                    rows = export_with_own_ids(store, settings, name, file, own.file, own.id_column, columns).rows
                if rows:
                    found[segment] = Download(f"{FOLDER}/{file.name}", rows, own is not None)
                else:
                    file.unlink()
    except OSError as error:
        raise DownloadsError(f"{folder}: cannot be written ({error.strerror})") from None
    return found


def _require_own(folder: Path) -> None:
    """Raises DownloadsError where something is at the folder's place that was not written here: it would be lost."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise DownloadsError(f"{folder}: found something else than a folder; expected none, or one of audiences: move it aside")
    odd = sorted(entry.name for entry in folder.iterdir() if not ITS_FILES.fullmatch(entry.name)) if folder.exists() else []
    if odd:
        raise DownloadsError(
            f"{folder}: found {odd[0]!r}, which is no file of an audience; expected the folder to be replaced whole: move it out"
        )
