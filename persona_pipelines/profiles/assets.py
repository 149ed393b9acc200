"""Predictions, and profiles: everything known of a user in one row and one document, today and on any day before."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import dagster as dg

from persona_pipelines.orchestration.metadata import made_check_spec
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import CAN_BE_MADE, ONCE_MORE, contract_check_spec, key, spec_options
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

if TYPE_CHECKING:
    from persona_pipelines.warehouse.connection import Warehouse

NOBODY = "no profiles and predictions: no event names a person (user_id)"


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    return [_predictions(settings), _profiles(settings)]


def _predictions(settings: Settings) -> dg.AssetsDefinition:
    tables = (contracts.USER_PREDICTIONS, contracts.PREDICTION_QUALITY, contracts.PREDICTION_DRIVERS)
    deps = [key(table) for table in (contracts.EVENTS, contracts.ITEMS, contracts.USER_ORDER, contracts.USER_FEATURES)]

    @dg.multi_asset(
        name="user_predictions",
        specs=[dg.AssetSpec(**spec_options(settings, table, {"duckdb", "scikitlearn", "mlflow"}), deps=deps) for table in tables],
        check_specs=[
            *(contract_check_spec(table) for table in tables),
            dg.AssetCheckSpec(
                "predictions_are_calibrated",
                asset=key(contracts.PREDICTION_QUALITY),
                description="Of a hundred users with a chance of 30 % about thirty do it: the calibration error is at most 0.1.",
            ),
            made_check_spec(tables[0]),
        ],
        retry_policy=ONCE_MORE,
    )
    def user_predictions(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines.events.ordering import in_order
        from persona_pipelines.orchestration.metadata import checked, contract_check, left_out, markdown_table, table_metadata
        from persona_pipelines.profiles.checks import are_calibrated, every_target_is_predicted
        from persona_pipelines.profiles.forecasting import forecast
        from persona_pipelines.profiles.registering import figures_of, registered
        from persona_pipelines.tracking.experiments import Origin
        from persona_pipelines.tracking.registry import Chosen, choose, stage_of_target
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        today = in_order(store, store.table(contracts.USER_FEATURES))
        if today.empty:
            checks = {"predictions_are_calibrated": contracts.PREDICTION_QUALITY}
            yield from left_out(store, tables, NOBODY, contract_checks=True, checks=checks)
            return
        as_of = dt.date.fromisoformat(f"{today['as_of_date'].iloc[0]:%Y-%m-%d}")
        earlier = store.frame(store.table(contracts.PREDICTION_QUALITY))
        in_use = dict(zip(earlier[earlier["chosen"]]["target"], earlier[earlier["chosen"]]["model"], strict=True)) if len(earlier) else {}
        judged = forecast(store, chosen, today, as_of, in_use)
        figures = figures_of(judged)
        found, url = registered(chosen, judged, Origin(context.run_id, key(contracts.USER_PREDICTIONS).to_user_string()), figures)
        frames = (found.users(), found.quality(), found.drivers())
        with store.transaction():
            for contract, frame in zip(tables, frames, strict=True):
                store.replace(contract, from_frame(frame) if len(frame) else store.table(contract).limit(0))
            for target, version in found.versions.items():
                choose(store, stage_of_target(target), Chosen(version, "gate", found.reason(target)))
        quality = store.frame(store.table(contracts.PREDICTION_QUALITY).order_by("target", "model"))
        shown = quality[["target", "model", "users", "base_rate", "auc", "calibration_error", "lift", "spearman", "chosen"]].round(4)
        extra: dict[Any, dict[str, Any]] = {
            contracts.PREDICTION_QUALITY: {
                "quality": dg.MetadataValue.md(markdown_table(shown)),
                "missing": str(found.missing or "nothing"),
            },
            contracts.USER_PREDICTIONS: {"mlflow_run": dg.MetadataValue.url(url)} if url else {},
        }
        for contract in tables:
            plots = figures if contract is contracts.PREDICTION_QUALITY else None
            yield dg.MaterializeResult(asset_key=key(contract), metadata=table_metadata(store, contract, plots, **extra.get(contract, {})))
            yield contract_check(store, contract)
        yield checked("predictions_are_calibrated", contracts.PREDICTION_QUALITY, are_calibrated(quality), warn=True)
        yield checked(CAN_BE_MADE, tables[0], every_target_is_predicted(found.missing), warn=True)

    return user_predictions


def _profiles(settings: Settings) -> dg.AssetsDefinition:
    contract = contracts.USER_PROFILES
    tables = (contract, contracts.PROFILE_DOCUMENTS, contracts.PROFILE_HISTORY, contracts.SEGMENT_MOVEMENT)
    inputs = (contracts.USER_FEATURES, contracts.USER_SEGMENTS, contracts.CATEGORY_SHARES, contracts.USERS, contracts.USER_PREDICTIONS)

    @dg.multi_asset(
        name="user_profiles",
        specs=[
            dg.AssetSpec(**spec_options(settings, table, {"duckdb", "ibis"}), deps=[key(source) for source in inputs]) for table in tables
        ],
        check_specs=[
            *(contract_check_spec(table) for table in tables),
            dg.AssetCheckSpec(
                "every_user_has_a_profile", asset=key(contract), blocking=True, description="As many profiles as users with features."
            ),
            made_check_spec(contract),
        ],
    )
    def user_profiles(warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.features.support import stored_support
        from persona_pipelines.orchestration.metadata import checked, contract_check, left_out, made_check, table_metadata
        from persona_pipelines.profiles import joining
        from persona_pipelines.profiles.checks import every_user_has_a_profile
        from persona_pipelines.profiles.documents import documents
        from persona_pipelines.warehouse.connection import from_frame

        store = warehouse.get()
        if not store.rows(contracts.USER_FEATURES):
            yield from left_out(store, tables, NOBODY, contract_checks=True, checks={"every_user_has_a_profile": contract})
            return
        with store.transaction():
            store.replace(contract, joining.user_profiles(*(store.table(table) for table in inputs)))
            profiles = store.frame(store.table(contract).order_by("user_id"))
            features = store.frame(store.table(contracts.USER_FEATURES).order_by("user_id"))
            as_of = dt.date.fromisoformat(f"{features['as_of_date'].iloc[0]:%Y-%m-%d}")
            written = profiles[["user_id", "as_of_date"]].assign(document=documents(profiles, features, stored_support(store).log))
            store.replace(contracts.PROFILE_DOCUMENTS, from_frame(written))
            _remember(store, as_of)
        stages = store.frame(store.table(contract).lifecycle_stage.value_counts(name="n").dropna()).set_index("lifecycle_stage")["n"]
        figures = {contract: {"lifecycle": charts.bars(stages, "Users by life-cycle stage")}} if len(stages) else {}
        for table in tables:
            yield dg.MaterializeResult(asset_key=key(table), metadata=table_metadata(store, table, figures.get(table)))
            yield contract_check(store, table)
        yield checked("every_user_has_a_profile", contract, every_user_has_a_profile(store))
        yield made_check(contract)

    return user_profiles


def _remember(store: "Warehouse", as_of: dt.date) -> None:
    """Bring the history up to a day, and say how users moved since the day before it that was scored."""
    from persona_pipelines.profiles.history import profile_history, segment_movement

    history = store.table(contracts.PROFILE_HISTORY)
    newest = store.value(history.valid_from.max())
    scored = store.table(contracts.SEGMENT_HISTORY)
    before = store.value(scored.as_of_date.max(where=scored.as_of_date < as_of))
    if newest is None or as_of >= newest:
        store.replace(contracts.PROFILE_HISTORY, profile_history(history, store.table(contracts.USER_PROFILES), as_of))
    store.replace(contracts.SEGMENT_MOVEMENT, segment_movement(store.table(contracts.PROFILE_HISTORY), as_of, before))
