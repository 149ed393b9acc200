"""What a run tells MLflow: figures, series, data and notes, of itself and of its parts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import mlflow
import pandas as pd
import pytest

from persona_pipelines.settings import Settings
from persona_pipelines.tracking.experiments import LONGEST_NOTE, NOTE_TAG, Origin, TrackedRun, fingerprint, tracked_run
from persona_pipelines_tests.conftest import CLICKS
from persona_pipelines_tests.schema import made_once

STAGE = "segments"
ORIGIN = Origin("dagster run", "asset")


@pytest.fixture
def settings(configure) -> Settings:
    made_once()
    return configure(CLICKS)


def found(run_id: str) -> mlflow.entities.Run:
    return mlflow.MlflowClient().get_run(run_id)


def test_the_description_of_a_run_ends_with_links_to_the_runs_with_their_figures(settings: Settings) -> None:
    newest, every = (f"#/experiments/7/runs?viewStateShareKey={view}&workflowType=machine_learning" for view in ("newest", "figures"))
    links = (
        f"Runs of the experiment: [Newest, side by side]({newest}&compareRunsMode=CHART), "
        f"[All in a table]({every}), [All as charts]({every}&compareRunsMode=CHART)"
    )
    for stage, text, expected in (("segments", "done", f"done\n\n{links}"), ("gallery", "done", "done")):
        run = TrackedRun(settings, stage, "some run", "7")
        run.note(text)
        assert [(tag.key, tag.value) for tag in run.waiting.tags] == [(NOTE_TAG, expected)]
    run.note("x" * 9000)
    assert len(run.waiting.tags[-1].value) == LONGEST_NOTE


@pytest.mark.slow
def test_parts_carry_the_data_of_their_run_and_what_they_are_told(settings: Settings) -> None:
    frame = pd.DataFrame({"user_id": ["a", "b"], "sessions": [1.0, 2.0]})
    with tracked_run(settings, STAGE, "whole", ORIGIN) as run:
        run.metrics({"silhouette": 0.5, "not a number": float("nan"), "nothing": None})
        run.data("user_features", frame, fingerprint(frame), "2025-09-01", "2025-10-12")
        other = run.data("more", frame, "other" * 8, "2025-09-01", "2025-10-12")
        with run.part("one") as first:
            first.parameters({"k": 3, "nothing": None})
            first.series({"loss": [3.0, float("nan"), 1.0]})
            first.note("of **one**" + "x" * 9000)
        with run.part("two", other) as second:
            second.metrics({"silhouette": 0.25})
        run.tags({"decision": "found"})
    whole, one, two = (found(entry.run_id) for entry in (run, first, second))
    assert whole.data.metrics == {"silhouette": 0.5}
    assert (whole.data.tags["decision"], whole.data.tags["data.last_day"], whole.data.tags["data.fingerprint"]) == (
        "found",
        "2025-10-12",
        fingerprint(frame),
    )
    assert [entry.dataset.name for entry in whole.inputs.dataset_inputs] == ["user_features", "more"]
    assert [entry.dataset.name for entry in one.inputs.dataset_inputs] == ["user_features", "more"]
    assert [entry.dataset.name for entry in two.inputs.dataset_inputs] == ["more"]
    assert "user_id" not in whole.inputs.dataset_inputs[0].dataset.schema
    assert one.data.params == {"k": "3"}
    assert len(one.data.tags[NOTE_TAG]) == LONGEST_NOTE
    assert [(point.step, point.value) for point in mlflow.MlflowClient().get_metric_history(first.run_id, "loss")] == [(1, 3.0), (3, 1.0)]
    for entry in (one, two):
        assert entry.info.status == "FINISHED"
        assert entry.data.tags["mlflow.parentRunId"] == run.run_id
        assert entry.data.tags["dagster.run_id"] == "dagster run"
    assert [entry.info.run_name for entry in (whole, one, two)] == ["whole", "one", "two"]


@pytest.mark.slow
def test_more_than_one_request_takes_is_sent_in_several(settings: Settings) -> None:
    with tracked_run(settings, STAGE, "much", ORIGIN) as run:
        run.series({"loss": [float(number) for number in range(1700)]})
        run.parameters({f"p{number}": number for number in range(150)})
        run.tags({f"t{number}": "x" for number in range(120)})
    assert len(mlflow.MlflowClient().get_metric_history(run.run_id, "loss")) == 1700
    assert len(found(run.run_id).data.params) == 150
    assert sum(name.startswith("t") for name in found(run.run_id).data.tags) == 120


@pytest.mark.slow
def test_a_part_that_breaks_has_failed_and_tells_what_it_knew(settings: Settings) -> None:
    opened = []

    def broken() -> None:
        with tracked_run(settings, STAGE, "whole", ORIGIN) as run, run.part("one") as part:
            opened.extend([run.run_id, part.run_id])
            part.metrics({"silhouette": 0.5})
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    assert {found(run_id).info.status for run_id in opened} == {"FAILED"}
    assert found(opened[1]).data.metrics == {"silhouette": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["segments", "recommendations", "profiles", "gallery"])
def test_every_experiment_says_what_it_holds_and_of_which_configuration(settings: Settings, stage: str) -> None:
    with tracked_run(settings, stage, "a run", ORIGIN) as run, run.part("a method"):
        pass
    experiment = mlflow.get_experiment_by_name(f"test-{stage}")
    assert "of the configuration **test**." in experiment.tags[NOTE_TAG]
    if stage == "gallery":
        return
    assert (
        f"(#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=figures&workflowType=machine_learning)"
        in experiment.tags[NOTE_TAG]
    )
    for view in ("figures", "newest"):
        shown = json.loads(experiment.tags[f"mlflow.sharedViewState.{view}"])
        assert shown["selectedColumns"]
        assert all(re.fullmatch(r"(metrics|params|tags)\.`\w+`", column) for column in shown["selectedColumns"])
        assert [f"metrics.`{chart['metricKey']}`" for chart in shown["compareRunCharts"]] == [
            column for column in shown["selectedColumns"] if column.startswith("metrics.")
        ]
        assert {chart["metricSectionId"] for chart in shown["compareRunCharts"]} == {shown["compareRunSections"][0]["uuid"]}


@pytest.mark.slow
def test_the_newest_of_an_experiment_is_the_last_run_with_parts_that_ended_well_and_the_best_stands_first(settings: Settings) -> None:
    def compared(figures: Mapping[str, float], *, ends_well: bool = True) -> None:
        with tracked_run(settings, "recommendations", "a comparison", ORIGIN) as run:
            for name, figure in figures.items():
                with run.part(name) as part:
                    part.metrics({"ndcg_at_10": figure})
            assert ends_well, "no more"

    compared({"of the week before": 0.9})
    compared({"worst": 0.1, "best": 0.3, "middle": 0.2})
    with pytest.raises(AssertionError, match="no more"):
        compared({"broken": 0.5}, ends_well=False)
    with tracked_run(settings, "recommendations", "without parts", ORIGIN):
        pass
    experiment = mlflow.get_experiment_by_name("test-recommendations")
    view = json.loads(experiment.tags["mlflow.sharedViewState.newest"])
    ordered = f"{view['orderByKey']} {'ASC' if view['orderByAsc'] else 'DESC'}"
    shown = mlflow.MlflowClient().search_runs([experiment.experiment_id], view["searchFilter"], order_by=[ordered])
    assert [run.info.run_name for run in shown] == ["best", "middle", "worst"]


@pytest.mark.slow
def test_the_view_and_the_words_have_the_length_of_the_lists_of_the_configuration(settings: Settings) -> None:
    other = settings.model_copy(update={"recommendations": settings.recommendations.model_copy(update={"k": 5})})
    for chosen in (settings, other):
        with tracked_run(chosen, "recommendations", "a run", ORIGIN) as run, run.part("a method"):
            pass
    tags = mlflow.get_experiment_by_name("test-recommendations").tags
    assert "metrics.`champion_ndcg_at_5`" in tags["mlflow.sharedViewState.figures"]
    assert "`ndcg_at_5`" in tags[NOTE_TAG]
    assert "at_10" not in tags[NOTE_TAG]
