"""Champions: which version is taken, how the alias follows, the way back, and files that are gone or changed."""

import re
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from persona_pipelines.files import digest_of_folder
from persona_pipelines.settings import Settings
from persona_pipelines.tracking.experiments import ModelNotFoundError, Origin, end_open_runs, tracked_run
from persona_pipelines.tracking.registry import (
    HISTORY_TAG,
    KEPT_ENTRIES,
    KEPT_OF_A_REASON,
    Chosen,
    Reign,
    TrackingError,
    champion_version,
    choose,
    chosen,
    crown,
    forget,
    history,
    model,
    of_champion,
    reigns_of,
    require_version,
    version_before,
    versions,
)
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import CLICKS
from persona_pipelines_tests.schema import made_once

STAGE = "recommendations"


@pytest.fixture
def settings(configure, tmp_path: Path) -> Settings:
    """Three versions, none of them champion."""
    made_once()
    made = configure(CLICKS)
    assert versions(made, STAGE) == []
    assert history(made, STAGE) == []
    assert not made.mlflow_file.exists()  # to ask makes nothing
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


def crowned(
    settings: Settings, version: str, by: str = "gate", reason: str = "ahead", way_back: bool = False, challenger: str | None = None
) -> bool:
    return crown(settings, STAGE, Chosen(version, by, reason, way_back), challenger)


def aliases() -> dict[str, str]:
    found = mlflow.MlflowClient().get_registered_model("test-recommendations").aliases
    return {alias: str(version) for alias, version in found.items()}


@pytest.mark.slow
def test_the_alias_follows_and_is_written_down_once(settings: Settings) -> None:
    assert champion_version(settings, STAGE) is None
    with pytest.raises(ModelNotFoundError, match="no champion of test-recommendations"):
        model(settings, STAGE, champion_version(settings, STAGE))
    assert crowned(settings, "2")
    assert not crowned(settings, "2")  # a publication that is finished by another process
    assert champion_version(settings, STAGE) == "2"
    assert (model(settings, STAGE, "2").folder / "model.json").read_text() == "{}"
    (reign,) = history(settings, STAGE)
    assert (reign.version, reign.by, reign.reason) == ("2", "gate", "ahead")
    assert [(entry.version, entry.tags["model"], entry.champion) for entry in versions(settings, STAGE)] == [
        ("3", "m3", False),
        ("2", "m2", True),
        ("1", "m1", False),
    ]
    require_version(settings, STAGE, "3")
    with pytest.raises(ModelNotFoundError, match="no version 9 of test-recommendations; there are 3, 2, 1"):
        require_version(settings, STAGE, "9")


@pytest.mark.slow
def test_rollbacks_go_back_one_champion_after_the_other_and_not_forth_again(settings: Settings) -> None:
    for version in ("1", "2", "3"):
        crowned(settings, version)
    for before, reason in (("2", "complaints"), ("1", "more complaints")):
        assert version_before(settings, STAGE) == before
        crowned(settings, before, "person", reason, way_back=True)
    with pytest.raises(ModelNotFoundError, match="version 1 of test-recommendations has no champion before it"):
        version_before(settings, STAGE)
    assert [(reign.version, reign.by, reign.reason) for reign in history(settings, STAGE)][-2:] == [
        ("2", "person", "complaints"),
        ("1", "person", "more complaints"),
    ]
    crowned(settings, "3", "person", "mended")
    assert version_before(settings, STAGE) == "1"


@pytest.mark.slow
def test_the_aliases_follow_promotion_retraining_and_rollback(settings: Settings) -> None:
    crowned(settings, "1", reason="first", challenger="2")
    assert aliases() == {"champion": "1", "challenger": "2"}
    crowned(settings, "2", "person", "a trial", challenger="2")  # the lists are made with who was refused
    assert aliases() == {"champion": "2", "previous": "1"}
    crowned(settings, "1", "person", "the trial is over", way_back=True, challenger="2")
    assert aliases() == {"champion": "1", "challenger": "2"}  # nothing before it that a rollback could bring back
    crowned(settings, "3", reason="refreshed")
    for _ in range(2):  # a publication that is finished by another process
        crowned(settings, "3", reason="refreshed")
        assert aliases() == {"champion": "3", "previous": "1"}
    assert version_before(settings, STAGE) == aliases()["previous"]


@pytest.mark.slow
def test_the_history_is_text_that_people_read_and_stands_on_the_page_of_the_model(settings: Settings) -> None:
    crowned(settings, "1", reason="ahead by +0.2 | nDCG:\n(0.1 to 0.3)")
    crowned(settings, "2", "person", "why? " * 100)
    crowned(settings, "1", "person", "complaints", way_back=True)
    found = mlflow.MlflowClient().get_registered_model("test-recommendations")
    first, second, third = found.tags[HISTORY_TAG].splitlines()
    assert first.endswith(" version 1 by gate: ahead by +0.2 | nDCG: (0.1 to 0.3)")
    assert re.search(r": (why\? )+\.\.\.\Z", second)
    assert third.endswith(" version 1 by person, way back: complaints")
    assert [(reign.version, reign.by, reign.rollback) for reign in history(settings, STAGE)] == [
        ("1", "gate", False),
        ("2", "person", False),
        ("1", "person", True),
    ]
    assert "{" not in found.tags[HISTORY_TAG]
    assert "ahead by +0.2 \\| nDCG: (0.1 to 0.3) |" in found.description
    assert "`previous`" in found.description
    assert not crowned(settings, "1", "person", "complaints", way_back=True)
    assert len(history(settings, STAGE)) == 3


def test_a_history_of_an_earlier_version_is_read_and_a_long_one_fits() -> None:
    entry = Reign("3", "2025-10-13 04:15:00", "gate", "ahead", True)
    assert reigns_of('[{"version": "3", "since": "2025-10-13 04:15:00", "by": "gate", "reason": "ahead", "rollback": true}]') == [entry]
    assert reigns_of("") == []
    assert reigns_of(Reign("1", "2025-10-13 04:15:00", "gate", "").line()) == [Reign("1", "2025-10-13 04:15:00", "gate", "")]
    with pytest.raises(ValueError, match="'by hand': expected a line such as"):
        reigns_of("by hand")
    longest = Reign("1234", "2025-10-13 04:15:00", "training", "r" * KEPT_OF_A_REASON, True)
    assert len("\n".join([longest.line()] * KEPT_ENTRIES)) <= 5000


@pytest.mark.slow
def test_the_warehouse_says_which_version_is_taken_before_the_alias_follows(settings: Settings, warehouse: Warehouse) -> None:
    assert chosen(warehouse, settings, STAGE) is None
    crowned(settings, "1")
    assert chosen(warehouse, settings, STAGE) == Chosen("1", "gate", "ahead")  # a home of an earlier version
    with warehouse.transaction():
        choose(warehouse, STAGE, Chosen("2", "gate", "better"))
        choose(warehouse, "segments", Chosen("5", "training", "found"))
    assert chosen(warehouse, settings, STAGE) == Chosen("2", "gate", "better")
    assert champion_version(settings, STAGE) == "1"
    # A publication that died between alias and history.
    mlflow.MlflowClient().set_registered_model_alias("test-recommendations", "champion", "2")
    assert chosen(warehouse, settings, STAGE) == Chosen("2", "gate", "better")
    crowned(settings, "2", reason="better")
    # Somebody moves the alias in MLflow's own pages.
    mlflow.MlflowClient().set_registered_model_alias("test-recommendations", "champion", "3")
    assert chosen(warehouse, settings, STAGE) == Chosen("3", "person", "the alias champion was moved in MLflow")


@pytest.mark.slow
def test_versions_to_which_nothing_leads_are_deleted_with_their_files(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("persona_pipelines.tracking.registry.KEPT_ENTRIES", 1)
    client, folders = mlflow.MlflowClient(), {version: model(settings, STAGE, version).folder for version in ("1", "2", "3")}
    for version in ("1", "2"):
        crowned(settings, version)
    assert forget(settings, STAGE, "1") == []  # a run may be about to publish what comes after it
    client.set_registered_model_alias("test-recommendations", "mine", "1")
    assert forget(settings, STAGE, "2") == []
    client.delete_registered_model_alias("test-recommendations", "mine")
    assert forget(settings, STAGE, "2") == ["1"]
    assert [folder.parents[1].exists() for folder in folders.values()] == [False, True, True]
    assert [entry.version for entry in versions(settings, STAGE)] == ["3", "2"]
    assert len(client.search_logged_models([entry.experiment_id for entry in client.search_experiments()])) == 2
    assert forget(settings, STAGE, "2") == []
    with pytest.raises(TrackingError, match="old versions of test-none stay"):
        forget(settings, "none", "1")


@pytest.mark.slow
def test_a_training_is_held_against_what_was_published_or_a_person_has_chosen_and_not_against_what_nobody_has_seen(
    settings: Settings, warehouse: Warehouse
) -> None:
    told: list[str] = []

    def held_against() -> str | None:
        return of_champion(warehouse, settings, STAGE, lambda folder: folder.parents[2].name, told.append)

    folders = {model(settings, STAGE, version).folder.parents[2].name: version for version in ("1", "2", "3")}
    with warehouse.transaction():
        choose(warehouse, STAGE, Chosen("1", "training", "the first, of a run that died"))
    assert held_against() is None
    crowned(settings, "1")
    with warehouse.transaction():
        choose(warehouse, STAGE, Chosen("2", "gate", "of a run that died before it could publish"))
    assert folders[held_against()] == "1"
    with warehouse.transaction():
        choose(warehouse, STAGE, Chosen("3", "person", "asked for"))
    assert folders[held_against()] == "3"
    (model(settings, STAGE, "3").folder / "model.json").unlink()
    assert held_against() is None
    assert len(told) == 1
    # MLflow's database is lost: nothing is held against, and that is said.
    with warehouse.transaction():
        choose(warehouse, STAGE, Chosen("9", "gate", "ahead"))
    mlflow.MlflowClient().delete_registered_model_alias("test-recommendations", "champion")
    assert held_against() is None
    assert told[1:] == ["no version 9 of test-recommendations; there are 3, 2, 1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.json").write_text("{ }"), "its files in .* are not those that were registered"),
        (lambda folder: (folder / "more.pkl").write_bytes(b"a pickle"), "are not those that were registered"),
        (lambda folder: (folder / "model.json").unlink(), "are not those that were registered"),
        (lambda folder: folder.rename(folder.with_name("elsewhere")), "its files cannot be read .*found the folder"),
        (lambda folder: folder.parents[1].rename(folder.parents[1].with_name("gone")), "its files cannot be read"),
        (lambda folder: (folder.parents[1] / "MLmodel").unlink(), "its files cannot be read"),
        (
            lambda folder: (folder.parents[1] / "MLmodel").write_text("flavors: {python_function: {data: ../../..}}"),
            "expected one inside of the model",
        ),
        (lambda folder: (folder.parents[1] / "MLmodel").write_text("[}"), "names no folder of data"),
    ],
)
def test_files_that_are_gone_or_changed_are_not_used(settings: Settings, damage, message: str) -> None:
    folder = model(settings, STAGE, "1").folder
    damage(folder)
    with pytest.raises(ModelNotFoundError, match=rf"version 1 of test-recommendations: .*{message}.*; train again: persona run"):
        model(settings, STAGE, "1")
    assert model(settings, STAGE, "2").folder.exists()


@pytest.mark.slow
def test_nothing_is_to_be_installed_by_name_to_serve_a_model(settings: Settings) -> None:
    requirements = (model(settings, STAGE, "1").folder.parents[1] / "requirements.txt").read_text()
    assert "persona" not in requirements


@pytest.mark.slow
def test_a_model_on_a_server_is_fetched_once_a_version_and_looked_at_each_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same store, told of by the environment, is as good as a server's.
    monkeypatch.setenv("MLFLOW_TRACKING_URI", settings.mlflow_tracking_uri)
    first = model(settings, STAGE, "1").folder
    assert first.is_relative_to(settings.home / "models" / "test-recommendations" / "1")
    marker = first.stat().st_mtime_ns
    assert model(settings, STAGE, "1").folder.stat().st_mtime_ns == marker
    (first / "model.json").write_text("{ }")
    with pytest.raises(ModelNotFoundError, match="are not those that were registered"):
        model(settings, STAGE, "1")


@pytest.mark.slow
def test_experiments_carry_the_configuration_and_those_of_before_are_renamed(settings: Settings) -> None:
    client = mlflow.MlflowClient()
    before = client.create_experiment("segments")
    with tracked_run(settings, "segments", "a run", Origin("run", "asset")) as run:
        assert run.experiment_id == before
    assert {entry.name for entry in client.search_experiments()} == {"Default", "test-recommendations", "test-segments"}


@pytest.mark.slow
def test_runs_that_a_killed_process_has_left_are_ended(settings: Settings) -> None:
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("test-recommendations").experiment_id
    left = client.create_run(experiment, tags={"configuration": "test"}).info.run_id
    other = client.create_run(experiment, tags={"configuration": "another"}).info.run_id
    with tracked_run(settings, STAGE, "a run", Origin("run", "asset")) as run:
        assert client.get_run(run.run_id).info.status == "RUNNING"
        assert end_open_runs(settings) == []
        assert client.get_run(left).info.status == "FAILED"
    assert client.get_run(run.run_id).info.status == "FINISHED"
    assert client.get_run(other).info.status == "RUNNING"


def test_a_digest_of_a_folder_is_of_names_and_bytes(tmp_path: Path) -> None:
    for name, content in (("a/x", "1"), ("b/x", "1"), ("c/y", "1"), ("d/x", "2"), ("e/x", "1")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(content)
    found = [digest_of_folder(tmp_path / name) for name in "abcde"]
    assert found[0] == found[1] == found[4]
    assert len(set(found)) == 3
