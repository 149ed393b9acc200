"""Cleaned events, their sessions, what was left out and why, the catalogue and the users."""

from typing import Any

import dagster as dg

from persona_pipelines.orchestration.partitions import first_and_last_day
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import contract_check_spec, key, spec_options
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.contracts.parts import Table

BY_DAY = (contracts.EVENTS, contracts.REJECTS, contracts.DUPLICATES, contracts.FILTERED, contracts.ACCOUNTING, contracts.CLOCKS)


def build(settings: Settings, pieces: dg.TimeWindowPartitionsDefinition | None) -> list[dg.AssetsDefinition]:
    return [
        _events(settings, pieces),
        _sessions(settings),
        _listing(settings, "items", contracts.ITEMS),
        _listing(settings, "users", contracts.USERS, contracts.USER_ORDER),
    ]


def _events(settings: Settings, pieces: dg.TimeWindowPartitionsDefinition | None) -> dg.AssetsDefinition:
    raw = [dg.AssetDep(key(contracts.raw_events(source.name))) for source in settings.sources_of("events")]
    specs = [
        contract_check_spec(contracts.EVENTS),
        dg.AssetCheckSpec(
            "nothing_lost",
            asset=key(contracts.EVENTS),
            blocking=True,
            description="Records read = events + rejects + duplicates + filtered, per source and day.",
        ),
        dg.AssetCheckSpec(
            "share_of_duplicates",
            asset=key(contracts.EVENTS),
            blocking=True,
            description="Records that share an id and say different things, or stand twice in a file, stay below max_duplicate_share.",
        ),
        dg.AssetCheckSpec(
            "one_id_one_event", asset=key(contracts.EVENTS), description="No id stands in records that say different things."
        ),
        _one_currency_spec(contracts.EVENTS),
        dg.AssetCheckSpec("events_found", asset=key(contracts.EVENTS), description="The days that were asked for have events."),
    ]

    @dg.multi_asset(
        name="events_by_day",
        specs=[
            dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "ibis"}), deps=raw, partitions_def=pieces) for contract in BY_DAY
        ],
        check_specs=specs,
        partitions_def=pieces,
        backfill_policy=dg.BackfillPolicy.single_run() if pieces else None,
    )
    def events_by_day(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.events import checks
        from persona_pipelines.events.refresh import refresh_events
        from persona_pipelines.findings import unless
        from persona_pipelines.orchestration.metadata import checked, contract_check, plot, table_metadata, written_by_day

        first, last = first_and_last_day(context, warehouse.settings)
        store = warehouse.get()
        refresh_events(store, warehouse.settings, first, last)
        table = store.table(contracts.ACCOUNTING)
        accounting = store.frame(table.filter(table.day.between(first, last)))
        totals = {name: int(accounting[name].sum()) for name in ("records_read", "events", "rejects", "duplicates", "filtered")}
        for contract in BY_DAY:
            extra: dict[str, Any] = {}
            if contract is contracts.EVENTS:
                extra |= totals
                if len(accounting):
                    extra["records_per_period"] = plot(charts.records_per_period(accounting))
                event_types = store.table(contracts.EVENTS).event_type.value_counts(name="n")
                counts = store.frame(event_types).set_index("event_type")["n"]
                extra["events_by_type"] = plot(charts.bars(counts, "Events by type"))
            yield written_by_day(context, contract, table_metadata(store, contract, **extra))
        yield contract_check(store, contracts.EVENTS)
        yield checked("nothing_lost", contracts.EVENTS, checks.nothing_lost(accounting))
        yield checked("share_of_duplicates", contracts.EVENTS, checks.share_of_duplicates(store, warehouse.settings, first, last))
        yield checked("one_id_one_event", contracts.EVENTS, checks.one_id_one_event(store, first, last), warn=True)
        yield checked("one_currency", contracts.EVENTS, unless(checks.several_currencies(store)))
        yield checked("events_found", contracts.EVENTS, checks.events_found(accounting), warn=True)

    return events_by_day


def _sessions(settings: Settings) -> dg.AssetsDefinition:
    """Sessions are written together with their events; this asset holds them against their contract and shows them."""

    @dg.multi_asset(
        name="sessions",
        specs=[dg.AssetSpec(**spec_options(settings, contracts.SESSIONS, {"duckdb", "ibis"}), deps=[key(contracts.EVENTS)])],
        check_specs=[
            contract_check_spec(contracts.SESSIONS),
            dg.AssetCheckSpec(
                "every_event_in_a_session",
                asset=key(contracts.SESSIONS),
                blocking=True,
                description="The sessions' events add up to the events.",
            ),
        ],
    )
    def sessions(warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.events.checks import every_event_in_a_session
        from persona_pipelines.orchestration.metadata import checked, contract_check, table_metadata

        store = warehouse.get()
        table = store.table(contracts.SESSIONS)
        sample = store.frame(table.select("events", "items", "attention_ms").limit(50_000)).astype(float)
        figure = charts.distributions(sample, ["events", "items", "attention_ms"], "Sessions: events, items, attention (ms)")
        yield dg.MaterializeResult(
            asset_key=key(contracts.SESSIONS), metadata=table_metadata(store, contracts.SESSIONS, {"distributions": figure})
        )
        yield contract_check(store, contracts.SESSIONS)
        yield checked("every_event_in_a_session", contracts.SESSIONS, every_event_in_a_session(store))

    return sessions


def _one_currency_spec(contract: Table) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        "one_currency", asset=key(contract), blocking=True, description="Amounts are in one currency, or are converted to one."
    )


def _listing(settings: Settings, kind: str, contract: Table, *beside: Table) -> dg.AssetsDefinition:
    """A list and what is made with it."""
    raw = [key(contracts.raw_listing(source.name, kind)) for source in settings.sources_of(kind)]

    @dg.multi_asset(
        name=kind,
        specs=[
            dg.AssetSpec(**spec_options(settings, table, {"duckdb", "ibis"}), deps=[*raw, key(contracts.EVENTS)])
            for table in (contract, *beside)
        ],
        check_specs=[
            *(contract_check_spec(table) for table in (contract, *beside)),
            dg.AssetCheckSpec(
                "list_meets_events",
                asset=key(contract),
                description=f"Most {kind} that the events name stand in the list, where there is one.",
            ),
            *([_one_currency_spec(contract)] if contract is contracts.ITEMS else []),
            dg.AssetCheckSpec(
                "list_says_one_thing", asset=key(contract), description=f"Lists do not say different things of one of the {kind}."
            ),
        ],
    )
    def listing(warehouse: WarehouseResource) -> Any:
        from persona_pipelines.events.checks import list_that_misses_the_events, records_that_differ, several_currencies
        from persona_pipelines.events.listings import refresh_items, refresh_users
        from persona_pipelines.findings import unless
        from persona_pipelines.orchestration.metadata import checked, contract_check, table_metadata

        store = warehouse.get()
        (refresh_items if kind == "items" else refresh_users)(store, warehouse.settings)
        flag = "in_catalogue" if kind == "items" else "in_customer_list"
        table = store.table(contract)
        extra: dict[str, Any] = {flag: int(store.value(table[flag].sum().fill_null(0)))}
        if kind == "users":
            extra["consent_personalisation"] = int(store.value(table.consent_personalisation.sum().fill_null(0)))
        yield dg.MaterializeResult(asset_key=key(contract), metadata=table_metadata(store, contract, **extra))
        yield contract_check(store, contract)
        lists = settings.lists_of(kind)
        yield checked("list_meets_events", contract, unless(list_that_misses_the_events(store, contract, lists)), warn=True)
        if contract is contracts.ITEMS:
            yield checked("one_currency", contract, unless(several_currencies(store, prices=True)))
        yield checked("list_says_one_thing", contract, unless(records_that_differ(store, lists, kind)), warn=True)
        for other in beside:
            yield dg.MaterializeResult(asset_key=key(other), metadata=table_metadata(store, other))
            yield contract_check(store, other)

    return listing
