"""Champions: promotion, rollback, and what is kept of both."""

from pathlib import Path

import pandas as pd
import pytest

from persona_pipelines.settings import Settings
from persona_pipelines.tracking.experiments import ModelNotFoundError, Origin, tracked_run
from persona_pipelines.tracking.registry import champion, champion_version, history, promote, rollback, versions
from persona_pipelines_tests.conftest import CLICKS

STAGE = "recommendations"


@pytest.fixture
def settings(configure, tmp_path: Path) -> Settings:
    """Three versions, none of them champion."""
    made = configure(CLICKS)
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    frame = pd.DataFrame({"user_id": ["u"]})
    with tracked_run(made, STAGE, "training", Origin("run", "asset")) as run:
        for number in range(3):
            run.register(
                folder, "persona_pipelines.recommendations.serving", frame, frame, f"number {number + 1}", {"model": f"m{number + 1}"}
            )
    return made


@pytest.mark.slow
def test_a_promotion_moves_the_champion_and_is_written_down(settings: Settings) -> None:
    assert champion_version(settings, STAGE) is None
    with pytest.raises(ModelNotFoundError, match="no champion of test-recommendations"):
        champion(settings, STAGE)
    promote(settings, STAGE, "2", "gate", "ahead")
    assert champion_version(settings, STAGE) == "2"
    assert (champion(settings, STAGE).folder / "model.json").read_text() == "{}"
    (reign,) = history(settings, STAGE)
    assert (reign.version, reign.by, reign.reason) == ("2", "gate", "ahead")
    assert [(entry.version, entry.tags["model"], entry.champion) for entry in versions(settings, STAGE)] == [
        ("3", "m3", False), ("2", "m2", True), ("1", "m1", False),
    ]  # fmt: skip
    with pytest.raises(ModelNotFoundError, match="no version 9 of test-recommendations; there are 3, 2, 1"):
        promote(settings, STAGE, "9", "person", "why not")
    assert champion_version(settings, STAGE) == "2"


@pytest.mark.slow
def test_rollbacks_go_back_one_champion_after_the_other_and_not_forth_again(settings: Settings) -> None:
    for version in ("1", "2", "3"):
        promote(settings, STAGE, version, "gate", "ahead")
    assert rollback(settings, STAGE, "complaints") == ("3", "2")
    assert rollback(settings, STAGE, "more complaints") == ("2", "1")
    with pytest.raises(ModelNotFoundError, match="version 1 of test-recommendations has no champion before it"):
        rollback(settings, STAGE, "even more")
    assert [(reign.version, reign.by, reign.reason) for reign in history(settings, STAGE)][-2:] == [
        ("2", "person", "complaints"), ("1", "person", "more complaints"),
    ]  # fmt: skip
    promote(settings, STAGE, "3", "person", "mended")
    assert rollback(settings, STAGE, "not mended") == ("3", "1")
