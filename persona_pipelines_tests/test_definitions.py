"""What Dagster is told: the flowchart, its partitions, schedules that wait to be turned on."""

import datetime as dt
import re
from pathlib import Path

import dagster as dg
import pytest
import yaml

from persona_pipelines.graph import STAGES, build
from persona_pipelines.logs.arrivals import Arrivals
from persona_pipelines.orchestration.instance import INSTANCE
from persona_pipelines.orchestration.jobs import LOCATION
from persona_pipelines.settings import load_settings
from persona_pipelines.warehouse import contracts

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return build(load_settings(ROOT / "data" / "persona.yaml"))


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    return {spec.key.to_user_string(): spec for spec in definitions.resolve_all_asset_specs()}


def test_groups_are_the_stages_and_every_asset_is_described(definitions: dg.Definitions) -> None:
    found = specs(definitions)
    assert {spec.group_name for spec in found.values()} == set(STAGES)
    for name, spec in found.items():
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        # The gallery is a page, the publication a copy of everything, all others are tables.
        assert "dagster/column_schema" in spec.metadata or spec.group_name in ("gallery", "publication"), name


def test_every_asset_says_how_old_it_may_become_and_whose_it_is(definitions: dg.Definitions, tmp_path: Path) -> None:
    for name, spec in specs(definitions).items():
        assert spec.freshness_policy is not None, name
    content = yaml.safe_load((ROOT / "data" / "persona.yaml").read_text())
    content |= {"owner": "team:audience"}
    content["sources"][0]["owner"] = "web@example.org"
    (tmp_path / "persona.yaml").write_text(yaml.safe_dump(content))
    found = specs(build(load_settings(tmp_path / "persona.yaml")))
    of_source = found.pop(f"logs/{content['sources'][0]['name']}")
    assert of_source.owners == ["web@example.org"]
    assert {tuple(spec.owners) for spec in found.values()} == {("team:audience",)}


def test_what_cannot_be_made_alone_says_what_comes_with_it(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for name, spec in specs(definitions).items():
        others = graph.get(spec.key).execution_set_asset_keys - {spec.key}
        told = f" Made in one step with {', '.join(sorted(key.path[-1] for key in others))}."
        assert (spec.description or "").endswith(told) == bool(others), name
        assert ("Made in one step" in (spec.description or "")) == bool(others), name


def test_the_main_job_leads_to_the_page_of_each_stage(definitions: dg.Definitions) -> None:
    description = definitions.resolve_job_def("flow").description or ""
    assert re.findall(rf"\[(\w+)\]\(/locations/{re.escape(LOCATION)}/asset-groups/(\w+)/lineage\)", description) == [
        (stage, stage) for stage in STAGES
    ]


def test_the_code_location_has_one_name() -> None:
    """Dagster keeps the state of schedules by it; without a workspace file it is the name of the module."""
    (loaded,) = yaml.safe_load((ROOT / "workspace.yaml").read_text())["load_from"]
    assert loaded["python_module"] == {"module_name": LOCATION, "location_name": LOCATION}


def test_the_graph_runs_forward_through_the_stages_only(definitions: dg.Definitions) -> None:
    found = specs(definitions)
    for spec in found.values():
        for dependency in spec.deps:
            before = found[dependency.asset_key.to_user_string()]
            assert STAGES.index(before.group_name or "") <= STAGES.index(spec.group_name or ""), spec.key


@pytest.mark.parametrize("job", ["flow", "daily", "weekly", "tune", "score"])
def test_every_job_ends_with_the_publication(definitions: dg.Definitions, job: str) -> None:
    layer = definitions.resolve_job_def(job).asset_layer
    assert "publication/published_copy" in {key.to_user_string() for key in layer.selected_asset_keys}
    published = definitions.resolve_all_asset_specs()
    (spec,) = [spec for spec in published if spec.key.to_user_string() == "publication/published_copy"]
    assert {dependency.asset_key.to_user_string() for dependency in spec.deps} == set(specs(definitions)) - {"publication/published_copy"}


def test_what_a_table_refers_to_is_made_before_it(definitions: dg.Definitions) -> None:
    """Its contract is checked when it is written: what it refers to has to be there by then."""
    graph = definitions.resolve_asset_graph()
    for contract in contracts.TABLES:
        for schema, name, _ in contract.references.values():
            before, key = dg.AssetKey([schema, name]), dg.AssetKey([contract.schema, contract.name])
            assert before in graph.get_ancestor_asset_keys(key), (contract.full_name, f"{schema}.{name}")


def test_logs_and_events_are_partitioned_by_day(definitions: dg.Definitions) -> None:
    found = specs(definitions)
    assert found["logs/clickstream"].partitions_def is not None
    assert found["events/events"].partitions_def is not None
    assert found["features/user_features"].partitions_def is None


def test_schedules_and_sensor_are_off_until_turned_on(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    assert {schedule.name: schedule.default_status for schedule in repository.schedule_defs} == {
        "every_day": dg.DefaultScheduleStatus.STOPPED,
        "every_week": dg.DefaultScheduleStatus.STOPPED,
    }
    assert {sensor.name: sensor.default_status for sensor in repository.sensor_defs} == {
        "new_files": dg.DefaultSensorStatus.STOPPED,
        "orphaned_runs": dg.DefaultSensorStatus.RUNNING,  # it starts nothing
    }


def test_the_daily_job_scores_and_the_weekly_one_trains(definitions: dg.Definitions) -> None:
    def assets(job: str) -> set[str]:
        return {key.to_user_string() for key in definitions.resolve_job_def(job).asset_layer.selected_asset_keys}

    assert {"events/events", "segments/user_segments", "recommendations/recommendations"} <= assets("daily")
    assert not {"segments/segment_quality", "recommendations/model_comparison"} & assets("daily")
    assert {"segments/segment_quality", "recommendations/model_comparison"} <= assets("weekly")
    assert not {"logs/clickstream", "events/events"} & assets("weekly")


def test_nothing_phones_home_and_no_run_stays_for_ever() -> None:
    assert INSTANCE["telemetry"] == {"enabled": False}
    assert INSTANCE["concurrency"] == {"runs": {"max_concurrent_runs": 1}}
    assert {"max_runtime_seconds", "free_slots_after_run_end_seconds"} <= set(INSTANCE["run_monitoring"])


def test_the_daily_schedule_asks_for_yesterday(definitions: dg.Definitions) -> None:
    schedule = definitions.get_repository_def().get_schedule_def("every_day")
    context = dg.build_schedule_context(scheduled_execution_time=dt.datetime(2025, 9, 10, 4, 15, tzinfo=dt.UTC))
    (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.tags["dagster/asset_partition_range_start"] == request.tags["dagster/asset_partition_range_end"] == "2025-09-09"


def test_the_sensor_asks_for_the_days_of_new_files_once(definitions: dg.Definitions, monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = definitions.get_repository_def().get_sensor_def("new_files")
    found = Arrivals(dt.date(2025, 9, 3), dt.date(2025, 9, 5), "state of the files")
    monkeypatch.setattr("persona_pipelines.logs.arrivals.changed_days", lambda _: found)
    (request,) = sensor.evaluate_tick(dg.build_sensor_context()).run_requests or []
    assert request.run_key == "state of the files"
    assert request.tags["dagster/asset_partition_range_start"] == "2025-09-03"
    assert request.tags["dagster/asset_partition_range_end"] == "2025-09-05"
    monkeypatch.setattr("persona_pipelines.logs.arrivals.changed_days", lambda _: None)
    assert not sensor.evaluate_tick(dg.build_sensor_context()).run_requests
