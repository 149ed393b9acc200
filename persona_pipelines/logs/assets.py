"""One asset a source: its raw table."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import dagster as dg

from persona_pipelines.errors import plain
from persona_pipelines.orchestration.failures import Refusal
from persona_pipelines.orchestration.partitions import first_and_last_day
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import ACCEPT_SHRINK_TAG, ONCE_MORE, key, spec_options
from persona_pipelines.settings import Settings, Source
from persona_pipelines.warehouse import contracts

if TYPE_CHECKING:
    from persona_pipelines.logs.loading import Loaded
    from persona_pipelines.warehouse.connection import Warehouse
    from persona_pipelines.warehouse.contracts.parts import Table

KINDS = {"json_lines": "json", "access_log": "apache", "w3c": "apache"}
"""What Dagster calls a format on the page of an asset, where it has another word for it."""


def build(settings: Settings, pieces: dg.TimeWindowPartitionsDefinition | None) -> list[dg.AssetsDefinition]:
    listings = [*settings.sources_of("items"), *settings.sources_of("users")]
    return [
        *(_raw_events(settings, source, pieces) for source in settings.sources_of("events")),
        *(_raw_listing(settings, source) for source in listings),
    ]


def _options(settings: Settings, source: Source, contract: "Table") -> dict[str, Any]:
    options = spec_options(settings, contract, {"duckdb", KINDS.get(source.format.type, source.format.type)})
    options["description"] = f"{source.description or contract.description} From {source.path}."
    options["owners"] = [source.owner or settings.owner]
    return options


def _checks(contract: "Table", events: bool, usual_volume: bool) -> list[dg.AssetCheckSpec]:
    asset = key(contract)
    within = "a day, of a file and of all days loaded" if events else "each file of the list"
    return [
        dg.AssetCheckSpec(
            "share_of_rejects",
            asset=asset,
            blocking=True,
            description=f"Rejected records of {within} stay below max_reject_share; two bad ones alone fail nothing.",
        ),
        dg.AssetCheckSpec(
            "every_record_loaded", asset=asset, blocking=True, description="Rows of each file = records counted by its reader."
        ),
        dg.AssetCheckSpec("whole_files", asset=asset, description="No file is missing, empty, changed or gone."),
        *(
            [
                dg.AssetCheckSpec(
                    "usual_volume",
                    asset=asset,
                    blocking=True,
                    description="A day that is loaded has at least logs.smallest_share_of_day of the records that it had, or of those usual for its weekday.",
                )
            ]
            if usual_volume
            else []
        ),
    ]


def _raw_events(settings: Settings, source: Source, pieces: dg.TimeWindowPartitionsDefinition | None) -> dg.AssetsDefinition:
    contract = contracts.raw_events(source.name)

    @dg.multi_asset(
        name=f"logs_{source.name}",
        specs=[dg.AssetSpec(**_options(settings, source, contract), partitions_def=pieces)],
        check_specs=_checks(contract, events=True, usual_volume=not source.received),
        partitions_def=pieces,
        backfill_policy=dg.BackfillPolicy.single_run() if pieces else None,
        retry_policy=ONCE_MORE,
    )
    def load(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines.findings import Finding
        from persona_pipelines.logs.checks import thin_days
        from persona_pipelines.logs.loading import load_events
        from persona_pipelines.orchestration.metadata import checked

        first, last = first_and_last_day(context, warehouse.settings)
        loaded = _reported(context, lambda: load_events(warehouse.get(), source, warehouse.settings, first, last))
        yield from _results(context, warehouse.get(), contract, source, warehouse.settings, loaded, first, last)
        if source.received:  # the service may be new, or have been away
            return
        thin = thin_days(warehouse.get(), source.name, first, last, warehouse.settings.logs.smallest_share_of_day)
        yield checked("usual_volume", contract, Finding(thin is None or ACCEPT_SHRINK_TAG in context.run.tags, thin))

    return load


def _raw_listing(settings: Settings, source: Source) -> dg.AssetsDefinition:
    contract = contracts.raw_listing(source.name, source.kind)

    @dg.multi_asset(
        name=f"logs_{source.name}",
        specs=[dg.AssetSpec(**_options(settings, source, contract))],
        check_specs=_checks(contract, events=False, usual_volume=False),
        retry_policy=ONCE_MORE,
    )
    def load(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines.logs.loading import load_listing

        loaded = _reported(context, lambda: load_listing(warehouse.get(), source, warehouse.settings))
        yield from _results(context, warehouse.get(), contract, source, warehouse.settings, loaded, None, None)

    return load


def _reported(context: dg.AssetExecutionContext, load: Any) -> "Loaded":
    """Load; say warnings in the run's log; a file that cannot be read ends the step in its own words."""
    from persona_pipelines.logs.files import LogFileBusyError, LogFileError

    try:
        loaded: Loaded = load()
    except LogFileBusyError as error:
        raise dg.Failure(str(error)) from None  # is tried again
    except LogFileError as error:
        raise Refusal(str(error)) from None
    loaded.warnings = [plain(warning) for warning in loaded.warnings]
    for warning in loaded.warnings:
        context.log.warning(warning)
    return loaded


def _results(
    context: dg.AssetExecutionContext,
    warehouse: "Warehouse",
    contract: "Table",
    source: Source,
    settings: Settings,
    loaded: "Loaded",
    first: dt.date | None,
    last: dt.date | None,
) -> Any:
    from persona_pipelines import charts
    from persona_pipelines.logs import checks
    from persona_pipelines.orchestration.metadata import checked, markdown_list, markdown_table, plot, table_metadata, written_by_day

    rows = warehouse.table(contract)
    asked = rows if first is None else rows.filter(rows.day.between(first, last))
    reasons = warehouse.frame(
        asked.filter(asked.problem.notnull()).group_by(reason="problem").aggregate(records=lambda table: table.count()).order_by("reason")
    )
    limit = settings.logs.max_reject_share
    judged = checks.rejects(warehouse, asked, source, limit, {reading.file.shown: reading.records for reading in loaded.readings})
    extra: dict[str, Any] = {
        "files": len(loaded.readings),
        "records_read": sum(reading.records for reading in loaded.readings),
        "rejects": int(reasons["records"].sum()) if len(reasons) else 0,
    }
    if len(reasons):
        extra["reject_reasons"] = dg.MetadataValue.md(markdown_table(reasons))
        extra["rejects_by_reason"] = plot(charts.bars(reasons.set_index("reason")["records"], "Rejected records by reason"))
    if loaded.warnings:
        extra["warnings"] = dg.MetadataValue.md(markdown_list(loaded.warnings[:50]))
    yield written_by_day(context, contract, table_metadata(warehouse, contract, **extra))
    yield checked("share_of_rejects", contract, checks.share_of_rejects(judged, limit))
    yield checked("every_record_loaded", contract, checks.every_record_loaded(warehouse, asked, loaded, first is not None))
    yield checked("whole_files", contract, checks.whole_files(loaded.warnings), warn=True)
