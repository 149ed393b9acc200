"""Features of users and items, and interactions, as of the last day with events."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import dagster as dg

from persona_pipelines.orchestration.failures import Refusal
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
    """The configured date, else the last day with events of known users whose times are dates, else with events of known users, else with any.

    Raises:
        Refusal: there are no events.
    """
    from persona_pipelines.features.support import clock_support

    if settings.features.as_of is not None:
        return settings.features.as_of
    events = warehouse.table(contracts.EVENTS)
    dated, person = clock_support(warehouse).dated(events), events.user_id.notnull()
    dates = warehouse.row(
        events.aggregate(
            dated=events.timestamp.max(where=person & dated), known=events.timestamp.max(where=person), any=events.timestamp.max()
        )
    )
    found = next((date for date in dates if date is not None), None)
    if found is None:
        raise Refusal("no events yet: run days that have records")
    return found.date()


def _users(settings: Settings) -> dg.AssetsDefinition:
    tables = (contracts.FEATURE_SUPPORT, contracts.CATEGORY_SHARES, contracts.USER_FEATURES)

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
        from persona_pipelines.features.support import feature_support, stored_support
        from persona_pipelines.features.users import known_until
        from persona_pipelines.orchestration.metadata import checked, contract_check, markdown_table, table_metadata
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        as_of = as_of_date(store, chosen)
        known = known_until(store.table(contracts.EVENTS), as_of)
        with store.transaction(), store.scratch():
            support = feature_support(store, chosen, known, store.table(contracts.ITEMS))
            store.replace(contracts.FEATURE_SUPPORT, from_frame(support))
            shares, features = tables_as_of(store, known, chosen.features.timezone, stored_support(store))
            store.replace(contracts.CATEGORY_SHARES, shares.mutate(as_of_date=ibis.literal(as_of)))
            store.replace(contracts.USER_FEATURES, features)
        table = store.table(contracts.USER_FEATURES)
        frame = store.frame(table.limit(20_000))
        numbers = [column.name for column in contracts.USER_FEATURES.columns if column.type in ("int64", "float64")]
        figure = charts.distributions(frame, numbers, f"Features of users as of {as_of}")
        shown = support.assign(users=[f"{share:.0%}" for share in support["users_share"]])[
            ["feature", "support", "evidence", "sources", "users"]
        ]
        extra: dict[Any, dict[str, Any]] = {
            contracts.FEATURE_SUPPORT: {
                "support": dg.MetadataValue.md(markdown_table(shown.fillna(""))),
                **{f"features_{name}": int(count) for name, count in support["support"].value_counts().items()},
            }
        }
        for contract in tables:
            plots = {"distributions": figure} if contract is contracts.USER_FEATURES else None
            metadata = table_metadata(store, contract, plots, as_of_date=as_of.isoformat(), **extra.get(contract, {}))
            yield dg.MaterializeResult(asset_key=key(contract), metadata=metadata)
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
        from persona_pipelines.features.support import clock_support
        from persona_pipelines.orchestration.metadata import contract_check, table_metadata

        store = warehouse.get()
        as_of = as_of_date(store, warehouse.settings)
        with store.transaction():
            events, catalogue = store.table(contracts.EVENTS), store.table(contracts.ITEMS)
            store.replace(contract, items.item_features(events, catalogue, as_of, clock_support(store)))
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
