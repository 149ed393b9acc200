"""Tune, compare and promote recommenders; what goes with an item; the champion's lists for every consenting user."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import dagster as dg

from persona_pipelines.orchestration.failures import Refusal
from persona_pipelines.orchestration.metadata import made_check_spec
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import CAN_BE_MADE, ONCE_MORE, contract_check_spec, key, spec_options
from persona_pipelines.recommendations import STAGE
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

if TYPE_CHECKING:
    import pandas as pd


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    return [_tuning(settings), _comparison(settings), _related(settings), _recommendations(settings)]


class TuningConfig(dg.Config):
    """What a run may set of the search, instead of the configuration's recommendations.tuning."""

    minutes: float | None = None
    trials: int | None = None
    methods: list[str] = []  # noqa: RUF012 - a pydantic model


def _tuning(settings: Settings) -> dg.AssetsDefinition:
    contract = contracts.TUNED_PARAMETERS
    deps = [key(table) for table in (contracts.EVENTS, contracts.ITEMS, contracts.USERS, contracts.USER_ORDER, contracts.INTERACTIONS)]

    @dg.multi_asset(
        name="tuned_parameters",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "optuna", "mlflow"}, weekly=True), deps=deps)],
        check_specs=[contract_check_spec(contract)],
        retry_policy=ONCE_MORE,
    )
    def tuned_parameters(context: dg.AssetExecutionContext, warehouse: WarehouseResource, config: TuningConfig) -> Any:
        from persona_pipelines.orchestration.metadata import contract_check, markdown_table, table_metadata
        from persona_pipelines.recommendations.evaluation.splits import TooFewInteractionsError
        from persona_pipelines.recommendations.registering import searched
        from persona_pipelines.tracking.experiments import Origin
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        tuning = chosen.recommendations.tuning
        minutes = tuning.minutes if config.minutes is None else config.minutes
        names = {method.name for method in chosen.recommendations.methods}
        if unknown := set(config.methods) - names:
            raise Refusal(f"methods: {sorted(unknown)[0]!r} is no method of the configuration; expected some of {sorted(names)}")
        before = store.frame(store.table(contract))
        found = before
        if minutes > 0:
            wanted = config.methods or tuning.methods
            trials = config.trials or tuning.trials
            origin = Origin(context.run_id, key(contract).to_user_string())
            try:
                found = searched(store, chosen, wanted, minutes, trials, origin, context.log.warning)
            except TooFewInteractionsError as error:
                raise Refusal(str(error)) from None
            # What was found earlier of other methods stays.
            found = _stacked(before[~before["model"].isin(found["model"])], found)
        with store.transaction():
            store.replace(contract, from_frame(found[contract.column_names].astype(object)) if len(found) else store.table(contract))
        shown = found[["model", "ndcg_configured", "ndcg_tuned", "trials", "parameters"]] if len(found) else found
        yield dg.MaterializeResult(
            asset_key=key(contract),
            metadata=table_metadata(store, contract, None, minutes=minutes, found=dg.MetadataValue.md(markdown_table(shown))),
        )
        yield contract_check(store, contract)

    return tuned_parameters


def _stacked(first: "pd.DataFrame", second: "pd.DataFrame") -> "pd.DataFrame":
    import pandas as pd

    return second if first.empty else pd.concat([first, second], ignore_index=True)


def _comparison(settings: Settings) -> dg.AssetsDefinition:
    tables = (
        contracts.MODEL_COMPARISON,
        contracts.MODEL_ADVANTAGES,
        contracts.SEGMENT_ADVANTAGES,
        contracts.LAST_CLICK,
        contracts.LEAKAGE_AUDIT,
    )
    contract = contracts.MODEL_COMPARISON
    deps = [
        key(table)
        for table in (
            contracts.EVENTS,
            contracts.ITEMS,
            contracts.USERS,
            contracts.USER_ORDER,
            contracts.INTERACTIONS,
            contracts.USER_SEGMENTS,
            contracts.TUNED_PARAMETERS,
            contracts.ITEM_FEATURES,
            contracts.SIMILAR_ITEMS,
        )
    ]

    @dg.multi_asset(
        name="model_comparison",
        specs=[dg.AssetSpec(**spec_options(settings, table, {"duckdb", "lightfm", "mlflow"}, weekly=True), deps=deps) for table in tables],
        check_specs=[
            dg.AssetCheckSpec(
                "nothing_leaks",
                asset=key(contracts.LEAKAGE_AUDIT),
                blocking=True,
                description="No model has learned from what it is judged by.",
            ),
            dg.AssetCheckSpec(
                "gate",
                asset=key(contract),
                description="Who is champion after this comparison, and why; the champion breaks "
                "no guardrail and is not beaten by the most popular items.",
            ),
            dg.AssetCheckSpec("every_method_was_fitted", asset=key(contract), description="No method of the configuration was left out."),
            made_check_spec(contract),
        ],
        retry_policy=ONCE_MORE,
    )
    def model_comparison(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines.orchestration.metadata import checked, left_out, made_check, markdown_table, table_metadata
        from persona_pipelines.recommendations import checks, training
        from persona_pipelines.recommendations.evaluation.audit import LeakageError
        from persona_pipelines.recommendations.evaluation.splits import TooFewInteractionsError
        from persona_pipelines.recommendations.models.learned import ModelError
        from persona_pipelines.recommendations.recipes import Recipe
        from persona_pipelines.recommendations.registering import end_of_interactions, registered
        from persona_pipelines.tracking.experiments import Origin
        from persona_pipelines.tracking.registry import Chosen, choose, of_champion
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        options = chosen.recommendations
        try:
            end = end_of_interactions(store)
            champion = of_champion(
                store, chosen, STAGE, Recipe.load, lambda reason: context.log.warning(f"the champion is not compared: {reason}")
            )
            comparison = training.compare_models(store, chosen, end, champion, context.log.info)
            origin = Origin(context.run_id, key(contract).to_user_string())
            made = registered(store, chosen, comparison, end, origin)
        except TooFewInteractionsError as error:
            named = {"nothing_leaks": contracts.LEAKAGE_AUDIT, "gate": contract, "every_method_was_fitted": contract}
            yield from left_out(store, tables, f"no recommenders: {error}", checks=named)
            return
        except (LeakageError, ModelError) as error:
            raise Refusal(str(error)) from None
        comparison, table = made.comparison, made.table
        with store.transaction():
            for target, frame in zip(tables, (table, made.advantages, made.by_segment, made.last_clicks, made.audit), strict=True):
                store.replace(target, from_frame(frame))
            version = table.loc[table["champion"], "model_version"].iloc[0]
            choose(store, STAGE, Chosen(version, "gate", f"{comparison.decision.outcome}: {comparison.decision.reason}"))
        decision = comparison.decision
        whole = table[table["segment"] == "all"]
        shown = whole[
            ["model", "case", "users", "ndcg_at_k", "ndcg_low", "ndcg_high", "recall_at_k", "map_at_k", "coverage", "rmse", "champion"]
        ].round(4)
        yield dg.MaterializeResult(
            asset_key=key(contract),
            metadata=table_metadata(
                store,
                contract,
                {"metrics": made.intervals},
                comparison=dg.MetadataValue.md(markdown_table(shown)),
                decision=decision.reason,
                champion=decision.champion,
                protocol=decision.protocol,
                judged_on=decision.judged_on,
                cut=f"{comparison.split.cut:%Y-%m-%d %H:%M}",
                mlflow_run=dg.MetadataValue.url(made.url),
            ),
        )
        ahead = markdown_table(made.advantages.round(4))
        yield dg.MaterializeResult(
            asset_key=key(contracts.MODEL_ADVANTAGES),
            metadata=table_metadata(store, contracts.MODEL_ADVANTAGES, None, advantages=dg.MetadataValue.md(ahead)),
        )
        by_segment = markdown_table(made.by_segment.round(4))
        yield dg.MaterializeResult(
            asset_key=key(contracts.SEGMENT_ADVANTAGES),
            metadata=table_metadata(store, contracts.SEGMENT_ADVANTAGES, None, advantages=dg.MetadataValue.md(by_segment)),
        )
        clicks = markdown_table(made.last_clicks.round(4))
        yield dg.MaterializeResult(
            asset_key=key(contracts.LAST_CLICK),
            metadata=table_metadata(store, contracts.LAST_CLICK, None, shares=dg.MetadataValue.md(clicks)),
        )
        yield dg.MaterializeResult(
            asset_key=key(contracts.LEAKAGE_AUDIT),
            metadata=table_metadata(store, contracts.LEAKAGE_AUDIT, None, audit=dg.MetadataValue.md(markdown_table(made.audit))),
        )
        yield checked("nothing_leaks", contracts.LEAKAGE_AUDIT, checks.nothing_leaks(made.audit))
        yield checked("gate", contract, checks.gate(decision, made.advantages, comparison.baselines), warn=True)
        asked = "methods" in options.model_fields_set
        yield checked("every_method_was_fitted", contract, checks.every_method_was_fitted(comparison.failed, asked), warn=True)
        yield made_check(contract)

    return model_comparison


def _related(settings: Settings) -> dg.AssetsDefinition:
    tables = (contracts.SIMILAR_ITEMS, contracts.BOUGHT_TOGETHER)
    deps = [key(table) for table in (contracts.EVENTS, contracts.ITEMS, contracts.USER_ORDER, contracts.INTERACTIONS)]

    @dg.multi_asset(
        name="related_items",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb"}), deps=deps) for contract in tables],
        check_specs=[*(contract_check_spec(contract) for contract in tables), made_check_spec(tables[0])],
        retry_policy=ONCE_MORE,
    )
    def related_items(warehouse: WarehouseResource) -> Any:
        from persona_pipelines.orchestration.metadata import contract_check, left_out, made_check, table_metadata
        from persona_pipelines.recommendations import related, training
        from persona_pipelines.recommendations.evaluation.splits import TooFewInteractionsError
        from persona_pipelines.recommendations.registering import end_of_interactions
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        try:
            end = end_of_interactions(store)
        except TooFewInteractionsError as error:
            yield from left_out(store, tables, f"no related items: {error}", contract_checks=True)
            return
        _, everything = training.everything(store, chosen, end)
        count, as_of = chosen.recommendations.related_items, end.date() - dt.timedelta(days=1)
        found = (related.similar_items(everything, count), related.bought_together(everything, count))
        with store.transaction():
            for contract, frame in zip(tables, found, strict=True):
                store.replace(contract, from_frame(frame.assign(as_of_date=as_of)))
        for contract, frame in zip(tables, found, strict=True):
            yield dg.MaterializeResult(
                asset_key=key(contract), metadata=table_metadata(store, contract, None, items=int(frame["item_id"].nunique()))
            )
            yield contract_check(store, contract)
        yield made_check(tables[0])

    return related_items


class ScoringConfig(dg.Config):
    """Whom a person makes champion, whatever the gate said; nothing for the one in use. Version and lists change together."""

    promote: str | None = None
    rollback: bool = False
    reason: str = ""


def _recommendations(settings: Settings) -> dg.AssetsDefinition:
    contract = contracts.RECOMMENDATIONS
    deps = [
        key(table)
        for table in (
            contracts.MODEL_COMPARISON,
            contracts.INTERACTIONS,
            contracts.USERS,
            contracts.USER_ORDER,
            contracts.ITEMS,
            contracts.USER_PROFILES,
            contracts.SIMILAR_ITEMS,
        )
    ]

    @dg.multi_asset(
        name="recommendations",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "lightfm"}), deps=deps)],
        check_specs=[
            contract_check_spec(contract),
            dg.AssetCheckSpec("only_with_consent", asset=key(contract), blocking=True, description="Nobody without consent has a list."),
            dg.AssetCheckSpec("everyone_has_a_list", asset=key(contract), description="No consenting user is left without items."),
            made_check_spec(contract),
        ],
        retry_policy=ONCE_MORE,
    )
    def recommendations(warehouse: WarehouseResource, config: ScoringConfig) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.errors import StoredModelError
        from persona_pipelines.orchestration.metadata import checked, contract_check, left_out, table_metadata
        from persona_pipelines.recommendations import checks, serving
        from persona_pipelines.recommendations.models import load
        from persona_pipelines.recommendations.promotion import PromotionError, overruled
        from persona_pipelines.tracking import registry
        from persona_pipelines.tracking.experiments import ModelNotFoundError
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        try:
            in_use = overruled(store, chosen, config.promote, config.rollback, config.reason)
            found = registry.model(chosen, STAGE, in_use.version if in_use else None)
            model = load(found.folder)
        except ModelNotFoundError as error:
            if config.promote or config.rollback or store.rows(contracts.MODEL_COMPARISON):  # judged before, and gone now
                raise Refusal(str(error)) from None
            named = {"only_with_consent": contract, "everyone_has_a_list": contract}
            yield from left_out(store, [contract], "no lists: there is no recommender yet", contract_checks=True, checks=named)
            return
        except (StoredModelError, PromotionError) as error:
            raise Refusal(str(error)) from None
        as_of = store.value(store.table(contracts.INTERACTIONS).as_of_date.max())
        tables = serving.tables_of_consenting(store, chosen)
        lists = serving.server_of(model, tables, chosen.recommendations).lists(tables.users["user_id"].to_numpy(dtype=object))
        lists = lists.drop(columns="personal").assign(model=model.name, model_version=found.version, as_of_date=as_of)
        with store.transaction():
            store.replace(contract, from_frame(lists))
            if in_use:
                registry.choose(store, STAGE, in_use)
        top = lists[lists["rank"] == 1]["item_id"].value_counts().head(15)
        reasons = lists["reason"].str.replace(r"^(because of|liked by|new in).*", r"\\1 ...", regex=True).value_counts().head(10)
        extra: dict[str, Any] = {"users": int(lists["user_id"].nunique()), "items": int(lists["item_id"].nunique()), "model": model.name}
        yield dg.MaterializeResult(
            asset_key=key(contract),
            metadata=table_metadata(
                store,
                contract,
                {"first_places": charts.bars(top, "Items most often in first place"), "reasons": charts.bars(reasons, "Reasons")},
                model_version=found.version,
                **extra,
            ),
        )
        yield contract_check(store, contract)
        listed, allowed = set(lists["user_id"]), set(tables.users["user_id"])
        yield checked("only_with_consent", contract, checks.only_with_consent(listed, allowed))
        yield checked("everyone_has_a_list", contract, checks.everyone_has_a_list(listed, allowed), warn=True)
        yield checked(CAN_BE_MADE, contract, checks.somebody_may_have_lists(allowed, store.rows(contracts.USERS)), warn=True)

    return recommendations
