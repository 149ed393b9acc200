"""Features of users and items, and interactions, as of the last day with events."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import dagster as dg

from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import contract_check_spec, key, spec_options
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

if TYPE_CHECKING:
    from persona_pipelines.warehouse.connection import Warehouse

KINDS = {"duckdb", "ibis"}


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    return [_users(settings), _items(settings), _interactions(settings)]


def as_of_date(warehouse: "Warehouse", settings: Settings) -> dt.date:
    """The configured date, else the last day with events of known users, else with any.

    Raises:
        dagster.Failure: there are no events.
    """
    if settings.features.as_of is not None:
        return settings.features.as_of
    events = warehouse.table(contracts.EVENTS)
    known, any_ = warehouse.row(events.aggregate(known=events.timestamp.max(where=events.user_id.notnull()), any=events.timestamp.max()))
    found = known or any_
    if found is None:
        raise dg.Failure("no events yet: run days that have records", allow_retries=False)
    return found.date()


def _users(settings: Settings) -> dg.AssetsDefinition:
    tables = (contracts.CATEGORY_SHARES, contracts.USER_FEATURES)

    @dg.multi_asset(
        name="user_features",
        specs=[
            dg.AssetSpec(
                **spec_options(settings, contract, KINDS),
                deps=[key(table) for table in (contracts.EVENTS, contracts.ITEMS, contracts.SESSIONS, contracts.USERS)],
            )
            for contract in tables
        ],
        check_specs=[
            *(contract_check_spec(contract) for contract in tables),
            dg.AssetCheckSpec(
                "every_user_has_features", asset=key(contracts.USER_FEATURES), description="As many rows as users with events."
            ),
        ],
    )
    def user_features(warehouse: WarehouseResource) -> Any:
        import ibis

        from persona_pipelines import charts
        from persona_pipelines.features.asof import tables_as_of
        from persona_pipelines.features.checks import every_user_has_features
        from persona_pipelines.features.users import known_until
        from persona_pipelines.orchestration.metadata import checked, contract_check, table_metadata

        store, chosen = warehouse.get(), warehouse.settings
        as_of = as_of_date(store, chosen)
        known = known_until(store.table(contracts.EVENTS), as_of)
        with store.transaction(), store.scratch():
            shares, features = tables_as_of(store, known, chosen.features.timezone)
            store.replace(contracts.CATEGORY_SHARES, shares.mutate(as_of_date=ibis.literal(as_of)))
            store.replace(contracts.USER_FEATURES, features)
        table = store.table(contracts.USER_FEATURES)
        frame = store.frame(table.limit(20_000))
        numbers = [column.name for column in contracts.USER_FEATURES.columns if column.type in ("int64", "float64")]
        figure = charts.distributions(frame, numbers, f"Features of users as of {as_of}")
        for contract, plots in ((contracts.CATEGORY_SHARES, None), (contracts.USER_FEATURES, {"distributions": figure})):
            yield dg.MaterializeResult(
                asset_key=key(contract), metadata=table_metadata(store, contract, plots, as_of_date=as_of.isoformat())
            )
            yield contract_check(store, contract)
        yield checked("every_user_has_features", contracts.USER_FEATURES, every_user_has_features(store, known))

    return user_features


def _items(settings: Settings) -> dg.AssetsDefinition:
    contract = contracts.ITEM_FEATURES

    @dg.multi_asset(
        name="item_features",
        specs=[dg.AssetSpec(**spec_options(settings, contract, KINDS), deps=[key(contracts.EVENTS), key(contracts.ITEMS)])],
        check_specs=[contract_check_spec(contract)],
    )
    def item_features(warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.features import items
        from persona_pipelines.orchestration.metadata import contract_check, table_metadata

        store = warehouse.get()
        as_of = as_of_date(store, warehouse.settings)
        with store.transaction():
            store.replace(contract, items.item_features(store.table(contracts.EVENTS), store.table(contracts.ITEMS), as_of))
        numbers = ["events", "users", "purchases", "price", "average_rating", "recency_days"]
        figure = charts.distributions(store.frame(store.table(contract).limit(20_000)), numbers, f"Features of items as of {as_of}")
        yield dg.MaterializeResult(
            asset_key=key(contract), metadata=table_metadata(store, contract, {"distributions": figure}, as_of_date=as_of.isoformat())
        )
        yield contract_check(store, contract)

    return item_features


def _interactions(settings: Settings) -> dg.AssetsDefinition:
    contract = contracts.INTERACTIONS

    @dg.multi_asset(
        name="interactions",
        specs=[
            dg.AssetSpec(
                **spec_options(settings, contract, KINDS),
                deps=[key(table) for table in (contracts.EVENTS, contracts.ITEMS, contracts.USERS)],
            )
        ],
        check_specs=[contract_check_spec(contract)],
    )
    def interactions(warehouse: WarehouseResource) -> Any:
        from persona_pipelines.features.interactions import as_of_interactions, rules_of
        from persona_pipelines.orchestration.metadata import contract_check, table_metadata

        store, chosen = warehouse.get(), warehouse.settings
        as_of = as_of_date(store, chosen)
        with store.transaction():
            store.replace(contract, as_of_interactions(store.table(contracts.EVENTS), rules_of(chosen), as_of))
        table = store.table(contract)
        users, seen = store.row(table.aggregate(users=table.user_id.nunique(), seen=table.item_id.nunique()))
        density = store.rows(contract) / (users * seen) if users else 0.0
        yield dg.MaterializeResult(
            asset_key=key(contract),
            metadata=table_metadata(store, contract, users=users, items=seen, density=density, as_of_date=as_of.isoformat()),
        )
        yield contract_check(store, contract)

    return interactions
