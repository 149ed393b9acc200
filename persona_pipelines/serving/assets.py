"""The lists that the live service has served, and what came of them."""

from typing import Any

import dagster as dg

from persona_pipelines.orchestration.failures import Refusal
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import contract_check_spec, key, spec_options
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

LOG = (contracts.LIST_FILES, contracts.SERVED_LISTS)
FOUND = (contracts.LIST_OUTCOMES, contracts.LIST_RESULTS)


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    return [_served_lists(settings), _list_results(settings)]


def _served_lists(settings: Settings) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="served_lists",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb"})) for contract in LOG],
        check_specs=[
            *(contract_check_spec(contract) for contract in LOG),
            dg.AssetCheckSpec(
                "lists_are_whole",
                asset=key(contracts.LIST_FILES),
                description="Every line of the log of served lists is as it was written.",
            ),
        ],
    )
    def served_lists(warehouse: WarehouseResource) -> Any:
        from persona_pipelines.orchestration.metadata import checked, contract_check, table_metadata
        from persona_pipelines.serving import checks
        from persona_pipelines.serving.building import folder_of
        from persona_pipelines.serving.served import ListFileError, refresh_served_lists
        from persona_pipelines.serving.shown import LISTS

        store, chosen = warehouse.get(), warehouse.settings
        try:
            read = refresh_served_lists(store, folder_of(chosen) / LISTS)
        except ListFileError as error:
            raise Refusal(str(error)) from None
        for contract in LOG:
            yield dg.MaterializeResult(asset_key=key(contract), metadata=table_metadata(store, contract, None, files_read=len(read)))
            yield contract_check(store, contract)
        yield checked("lists_are_whole", contracts.LIST_FILES, checks.lists_are_whole(store), warn=True)

    return served_lists


def _list_results(settings: Settings) -> dg.AssetsDefinition:
    deps = [key(table) for table in (contracts.SERVED_LISTS, contracts.EVENTS, contracts.CLOCKS, contracts.USERS, contracts.USER_SEGMENTS)]

    @dg.multi_asset(
        name="list_results",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "ibis"}), deps=deps) for contract in FOUND],
        check_specs=[
            *(contract_check_spec(contract) for contract in FOUND),
            dg.AssetCheckSpec(
                "only_lists_that_were_seen",
                asset=key(contracts.LIST_OUTCOMES),
                blocking=True,
                description="Nothing came of a list that nobody saw, and nothing came before its list.",
            ),
            dg.AssetCheckSpec(
                "no_outcomes_without_consent",
                asset=key(contracts.LIST_OUTCOMES),
                blocking=True,
                description="Nobody who has said no stands behind an outcome.",
            ),
            dg.AssetCheckSpec(
                "outcomes_have_times",
                asset=key(contracts.LIST_OUTCOMES),
                description="Clicks and purchases have times of day; of others nobody can say which list they followed.",
            ),
            dg.AssetCheckSpec(
                "results_are_of_enough_people",
                asset=key(contracts.LIST_RESULTS),
                blocking=True,
                description="No result is told of fewer people than a segment has at least.",
            ),
        ],
    )
    def list_results(warehouse: WarehouseResource) -> Any:
        from persona_pipelines.orchestration.metadata import checked, contract_check, table_metadata
        from persona_pipelines.serving import checks
        from persona_pipelines.serving.outcomes import refresh_outcomes

        store, chosen = warehouse.get(), warehouse.settings
        refresh_outcomes(store, chosen)
        for contract in FOUND:
            yield dg.MaterializeResult(asset_key=key(contract), metadata=table_metadata(store, contract))
            yield contract_check(store, contract)
        yield checked("only_lists_that_were_seen", contracts.LIST_OUTCOMES, checks.only_lists_that_were_seen(store))
        yield checked("no_outcomes_without_consent", contracts.LIST_OUTCOMES, checks.no_outcomes_without_consent(store))
        yield checked("outcomes_have_times", contracts.LIST_OUTCOMES, checks.outcomes_have_times(store), warn=True)
        yield checked("results_are_of_enough_people", contracts.LIST_RESULTS, checks.results_are_of_enough_people(store, chosen))

    return list_results
