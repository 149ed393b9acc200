"""The files beside the page: only who may be written to, whole or not at all, and nothing of others is lost."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path

import pandas as pd
import pytest

from persona_pipelines.audiences.exports import export_audience
from persona_pipelines.audiences.saved import AudienceError
from persona_pipelines.gallery.downloads import FOLDER, Download, DownloadsError, written_beside
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import from_frame
from persona_pipelines_tests.audiences.test_exports import PEOPLE, exported, filled, settings, store
from persona_pipelines_tests.gallery.test_gallery import CARD, SMALL, gallery

__all__ = ["settings", "store"]

CARDS = gallery(cards=[CARD, SMALL, dataclasses.replace(CARD, segment_id=3)])
"""Segment 1 has people, segment 2 too few to be shown, and in segment 3 nobody may be written to."""


@pytest.fixture
def shop(store):
    """Of forty people the first thirty are in segment 1, the next five in 2, the last five in 3."""
    profiles = store.frame(store.table(contracts.USER_PROFILES).order_by("user_id"))
    of = [1] * 30 + [2] * 5 + [3] * 5
    profiles = profiles.assign(segment_id=of, consent_marketing=profiles["consent_marketing"] & (pd.Series(of) != 3))
    rows = filled(contracts.SEGMENT_PROFILES, 3, segment_id=[1, 2, 3])
    with store.transaction():
        store.replace(contracts.USER_PROFILES, from_frame(profiles))
        store.replace(contracts.SEGMENT_PROFILES, from_frame(rows))
    return store


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_each_card_has_the_file_that_audience_export_writes(shop, settings, tmp_path) -> None:
    found = written_beside(shop, settings, CARDS, tmp_path / "out" / "page.html")
    assert found == {1: Download(f"{FOLDER}/segment-1.csv", 15, of_own_list=False)}
    assert names(tmp_path / "out" / FOLDER) == ["segment-1.csv"]
    assert exported(tmp_path / "out" / FOLDER / "segment-1.csv") == [number for number in PEOPLE.values() if number <= 30 and number % 2]
    export_audience(shop, settings, "segment-1", tmp_path / "one.csv", ["frequency"])
    written_beside(shop, settings, CARDS, tmp_path / "out" / "page.html", columns=["frequency"])
    assert (tmp_path / "out" / FOLDER / "segment-1.csv").read_bytes() == (tmp_path / "one.csv").read_bytes()


def test_only_the_owner_may_open_the_folder_and_the_files_of_before_are_gone(shop, settings, tmp_path) -> None:
    (tmp_path / "out" / FOLDER).mkdir(parents=True)
    (tmp_path / "out" / FOLDER / "segment-9.csv").write_text("user_id\n")
    written_beside(shop, settings, CARDS, tmp_path / "out" / "page.html")
    assert stat.S_IMODE((tmp_path / "out" / FOLDER).stat().st_mode) == 0o700
    assert names(tmp_path / "out" / FOLDER) == ["segment-1.csv"]
    assert names(tmp_path / "out") == [FOLDER]


def test_where_one_file_cannot_be_written_the_folder_is_as_it_was(shop, settings, tmp_path) -> None:
    written_beside(shop, settings, CARDS, tmp_path / "out" / "page.html")
    with pytest.raises(AudienceError, match="no column 'nothing'"):
        written_beside(shop, settings, CARDS, tmp_path / "out" / "page.html", columns=["nothing"])
    assert names(tmp_path / "out" / FOLDER) == ["segment-1.csv"]
    assert names(tmp_path / "out") == [FOLDER]


@pytest.mark.parametrize("kind", ["file", "other", "link"])
def test_what_was_not_written_here_is_not_lost(shop, settings, tmp_path, kind: str) -> None:
    folder = tmp_path / "out" / FOLDER
    folder.parent.mkdir()
    if kind == "file":
        folder.write_text("mine")
    elif kind == "link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir()
        (folder / "notes.txt").write_text("mine")
    with pytest.raises(DownloadsError, match=r"notes\.txt" if kind == "other" else "something else than a folder"):
        written_beside(shop, settings, CARDS, folder.parent / "page.html")
    assert (folder.is_symlink(), folder.is_file()) == (kind == "link", kind == "file")
    assert kind != "other" or names(folder) == ["notes.txt"]
