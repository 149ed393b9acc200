"""The live service is killed under load, some times: the campaign (``make faults KINDS=live``) does it fifty times."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from persona_pipelines.serving.building import mark_of, snapshots_of
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines_tests.faults.live import kills
from persona_pipelines_tests.serving.conftest import KEY, snapshot
from persona_pipelines_tests.serving.test_running import LOG

pytestmark = pytest.mark.slow


@pytest.fixture
def home(configure: Callable[..., Settings], tmp_path: Path) -> Settings:
    """Settings of a home with something published, and its snapshot on disk."""
    configure(LOG, serving={"exploration": 0})
    settings = load_settings(tmp_path / "persona.yaml")
    settings.home.mkdir(exist_ok=True)
    settings.key_file.write_text(KEY.hex())
    settings.key_file.chmod(0o600)
    settings.published_file.parent.mkdir(exist_ok=True)
    settings.published_file.write_text("tables")
    snapshot(snapshots_of(settings) / f"2025-09-30-v3-{mark_of(settings)}", mark=mark_of(settings))
    return settings


def test_a_service_that_is_killed_under_load_loses_nothing_that_it_acknowledged(home: Settings, tmp_path: Path) -> None:
    base = snapshot(tmp_path / "base", mark=mark_of(home))
    found = kills(home, base, 2, random.Random(1), longest=12.0)
    print(found.starts, len(found.acknowledged), found.sent, found.lists, found.damaged, found.swaps, len(found.compacted))
    assert found.wrong == []
    assert len(found.acknowledged) > 100
    assert found.compacted
