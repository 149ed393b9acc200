"""Events of partitions in batches: the same log as Dagster's own, in fewer transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.storage.event_log import SqliteEventLogStorage

from persona_pipelines.home.manifest import HomeError
from persona_pipelines.orchestration.event_log import BatchedEventLog, held_open
from persona_pipelines.orchestration.instance import BEFORE, INSTANCE, open_instance
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.settings import Settings
from persona_pipelines_tests.conftest import CLICKS

DAYS = dg.DailyPartitionsDefinition("2025-09-01", end_date="2025-09-21")


@dg.asset(partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run(), tags={"kind": "days"})
def by_day() -> dg.MaterializeResult[None]:
    return dg.MaterializeResult(metadata={"rows": 3}, tags={"delivery": "whole"})


@dg.asset(deps=[by_day], check_specs=[dg.AssetCheckSpec("is_there", asset="whole")])
def whole() -> Any:
    yield dg.MaterializeResult(check_results=[dg.AssetCheckResult(check_name="is_there", passed=True)])


JOB = dg.Definitions([by_day, whole], jobs=[dg.define_asset_job("all", "*")])


@pytest.fixture
def instance(configure: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("DAGSTER_HOME", "PERSONA_CONFIG", "DAGSTER_DISABLE_TELEMETRY", "DAGSTER_EVENT_BATCH_SIZE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    settings: Settings = configure(CLICKS)
    with open_instance(settings, print) as opened:
        yield opened


def run(instance: dg.DagsterInstance) -> str:
    tags = {"dagster/asset_partition_range_start": "2025-09-01", "dagster/asset_partition_range_end": "2025-09-20"}
    return JOB.resolve_job_def("all").execute_in_process(instance=instance, tags=tags).run_id


def seen(instance: dg.DagsterInstance, run_id: str) -> dict[str, Any]:
    """What people and Dagster ask of the log."""
    kinds = [entry.dagster_event_type for entry in instance.all_logs(run_id)]
    days = instance.get_materialized_partitions(dg.AssetKey("by_day"))
    records = instance.fetch_materializations(dg.AssetKey("by_day"), limit=50).records
    newest = instance.get_latest_materialization_event(dg.AssetKey("by_day"))
    assert newest
    entry = instance.get_asset_records([dg.AssetKey("by_day")])[0].asset_entry
    return {
        "events": sorted(str(kind) for kind in kinds),
        "days": days,
        "order": [record.partition_key for record in records],
        "rows": [record.asset_materialization.metadata["rows"].value for record in records if record.asset_materialization],
        "newest": newest.asset_materialization.partition if newest.asset_materialization else None,
        "tags": len(instance.get_event_tags_for_asset(dg.AssetKey("by_day"))),
        "entry": entry.last_materialization.dagster_event.partition,
        "run": entry.last_run_id == run_id,
        "known": sorted(key.to_user_string() for key in instance.all_asset_keys()),
    }


@pytest.mark.slow
def test_the_log_is_that_of_dagsters_own_storage(instance: Any, tmp_path: Path) -> None:
    assert isinstance(instance.event_log_storage, BatchedEventLog)
    found = seen(instance, run(instance))
    (tmp_path / "plain").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "plain")) as plain:
        assert type(plain.event_log_storage) is SqliteEventLogStorage
        expected = seen(plain, run(plain))
    assert len(found["days"]) == 20
    assert found == expected


def test_the_events_of_many_days_are_a_few_transactions(instance: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    connect = BatchedEventLog._connect

    def counted(self: Any, shard: str) -> Any:
        opened.append(shard)
        return connect(self, shard)

    monkeypatch.setattr(BatchedEventLog, "_connect", counted)
    run(instance)
    assert 20 < len(opened) < 60, len(opened)  # one by one the 20 days, planned and materialised, would be 78 more


def test_dagsters_own_storage_reads_what_was_written(instance: Any) -> None:
    run_id = run(instance)
    folder = Path(instance.event_log_storage._base_dir)
    plain = SqliteEventLogStorage(str(folder))
    assert len(plain.get_materialized_partitions(dg.AssetKey("by_day"))) == 20
    assert len(list(plain.get_logs_for_run(run_id))) == len(instance.all_logs(run_id))


@pytest.mark.slow
@pytest.mark.parametrize(
    "content", ["", "[]", "a: [", "telemetry: 7", "no_setting: {}", "event_log_storage: {module: nothing, class: Nothing}", "\x00"]
)
def test_a_configuration_of_dagster_that_is_none_is_named(configure: Any, instance: Any, content: str) -> None:
    settings = configure(CLICKS)
    (settings.dagster_home / "dagster.yaml").write_text(content)
    with pytest.raises(HomeError, match=r"dagster.yaml: cannot be used as Dagster's configuration .*remove it: it is made again"):
        open_instance(settings, print)


def test_settings_of_an_earlier_version_are_brought_up_and_those_of_an_owner_stay(configure: Any, instance: Any) -> None:
    settings = configure(CLICKS)
    file = settings.dagster_home / "dagster.yaml"
    assert yaml.safe_load(file.read_text()) == INSTANCE
    for before in BEFORE:
        file.write_text(yaml.safe_dump(before))
        open_instance(settings, print).dispose()
        assert yaml.safe_load(file.read_text()) == INSTANCE
    own = {**BEFORE[0], "telemetry": {"enabled": True}}
    file.write_text(yaml.safe_dump(own))
    open_instance(settings, print).dispose()
    assert yaml.safe_load(file.read_text()) == own


def test_the_files_of_a_run_are_open_while_it_goes_on_and_nobody_waits_for_it(instance: Any) -> None:
    """Each event would wait for the disk where it closes the last connection to its file."""
    run_id = run(instance)
    logs = [Path(instance.event_log_storage._base_dir) / f"{shard}.db-wal" for shard in ("index", run_id)]
    assert not any(log.exists() for log in logs)
    with held_open(instance, run_id):
        run(instance)  # another one writes meanwhile
        assert len(instance.all_logs(run_id)) > 10
        assert all(log.exists() for log in logs)
    assert not any(log.exists() for log in logs)


def test_every_run_holds_its_files_open(configure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[str] = []

    @contextmanager
    def told(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
        held.append(run_id)
        yield
        held.append("ended")

    monkeypatch.setattr("persona_pipelines.orchestration.resources.held_open", told)
    monkeypatch.setenv("PERSONA_CONFIG", str(configure(CLICKS).file))
    with dg.DagsterInstance.ephemeral() as instance:

        @dg.asset
        def asking(warehouse: WarehouseResource) -> None:
            assert held[-1:] != ["ended"]

        found = dg.materialize([asking], instance=instance, resources={"warehouse": WarehouseResource()})
    assert held == [found.run_id, "ended"]
