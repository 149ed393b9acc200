"""The live service is killed under load, some times: the campaign (``make faults KINDS=live``) does it more often."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from persona_pipelines.settings import Settings
from persona_pipelines_tests.faults.live import kills
from persona_pipelines_tests.serving.conftest import snapshot


@pytest.mark.slow
def test_a_service_that_is_killed_under_load_loses_nothing_that_it_acknowledged(live_home: Settings, tmp_path: Path) -> None:
    base = snapshot(tmp_path / "base", mark=live_home.published_mark)
    found = kills(live_home, base, 3, random.Random(1))
    assert found.wrong == []
    assert 100 < len(found.acknowledged) <= found.sent
