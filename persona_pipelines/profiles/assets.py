"""Profiles: everything known of a user in one row."""

from typing import Any

import dagster as dg

from persona_pipelines.orchestration.assets import contract_check_spec, key, spec_options
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    contract = contracts.USER_PROFILES
    inputs = (contracts.USER_FEATURES, contracts.USER_SEGMENTS, contracts.CATEGORY_SHARES, contracts.USERS)

    @dg.multi_asset(
        name="user_profiles",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "ibis"}), deps=[key(table) for table in inputs])],
        check_specs=[
            contract_check_spec(contract),
            dg.AssetCheckSpec(
                "every_user_has_a_profile", asset=key(contract), blocking=True, description="As many profiles as users with features."
            ),
        ],
    )
    def user_profiles(warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.orchestration.metadata import contract_check, table_metadata
        from persona_pipelines.profiles import joining

        store = warehouse.get()
        with store.transaction():
            store.replace(contract, joining.user_profiles(*(store.table(table) for table in inputs)))
        stages = store.frame(store.table(contract).lifecycle_stage.value_counts(name="n")).set_index("lifecycle_stage")["n"]
        figure = charts.bars(stages, "Users by life-cycle stage")
        yield dg.MaterializeResult(asset_key=key(contract), metadata=table_metadata(store, contract, {"lifecycle": figure}))
        yield contract_check(store, contract)
        expected, found = store.rows(contracts.USER_FEATURES), store.rows(contract)
        yield dg.AssetCheckResult(
            check_name="every_user_has_a_profile", asset_key=key(contract), passed=expected == found,
            metadata={"users_with_features": expected, "profiles": found},
        )  # fmt: skip

    return [user_profiles]
