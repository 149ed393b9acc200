"""Train segments, assign every user, describe each segment and what became of it."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from persona_pipelines.orchestration.failures import Refusal
from persona_pipelines.orchestration.metadata import made_check_spec
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import CAN_BE_MADE, ONCE_MORE, contract_check_spec, key, spec_options
from persona_pipelines.segments import STAGE
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

if TYPE_CHECKING:
    import pandas as pd

    from persona_pipelines.segments.model import Fit
    from persona_pipelines.tracking.experiments import TrackedRun
    from persona_pipelines.warehouse.connection import Warehouse

NOBODY = "no segments: no event names a person (user_id); visitors are not cut into segments"


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    return [_training(settings), _assignment(settings)]


def _read(store: "Warehouse", settings: Settings) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Features of users in their order, attributes beside them, and the shares of their attention."""
    from persona_pipelines.events.ordering import in_order
    from persona_pipelines.features.attributes import attributes_of_users, joined

    features = joined(in_order(store, store.table(contracts.USER_FEATURES)), attributes_of_users(store, settings))
    shares = in_order(store, store.table(contracts.CATEGORY_SHARES).select("user_id", "category", "interest_share"), "category")
    return features, shares


def _training(settings: Settings) -> dg.AssetsDefinition:
    contract, changes = contracts.SEGMENT_QUALITY, contracts.SEGMENT_CHANGES
    deps = [key(contracts.USER_FEATURES), key(contracts.CATEGORY_SHARES), key(contracts.USER_ORDER)]

    @dg.multi_asset(
        name="segment_quality",
        specs=[
            dg.AssetSpec(**spec_options(settings, table, {"duckdb", "scikitlearn", "mlflow"}, weekly=True), deps=deps)
            for table in (contract, changes)
        ],
        check_specs=[
            dg.AssetCheckSpec(
                "segments_hold_together", asset=key(contract), description="The silhouette of the chosen segments is above 0.1."
            ),
            dg.AssetCheckSpec(
                "segments_come_out_again",
                asset=key(contract),
                description="The mean adjusted Rand index with refits on bootstrap samples is above 0.75.",
            ),
            made_check_spec(contract),
        ],
        retry_policy=ONCE_MORE,
    )
    def segment_quality(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.features.support import stored_support
        from persona_pipelines.orchestration.metadata import checked, left_out, markdown_table, table_metadata
        from persona_pipelines.segments import checks, maps
        from persona_pipelines.segments.model import SegmentModel, fit_segments
        from persona_pipelines.segments.told import note_of_a_candidate, note_of_the_training
        from persona_pipelines.tracking.experiments import Origin, fingerprint, tracked_run
        from persona_pipelines.tracking.registry import Chosen, choose, of_champion
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        features, shares = _read(store, chosen)
        if features.empty:
            named = {"segments_hold_together": contract, "segments_come_out_again": contract}
            yield from left_out(store, [contract, changes], NOBODY, checks=named)
            return
        in_use = of_champion(store, chosen, STAGE, SegmentModel.load, lambda reason: context.log.warning(f"segments begin anew: {reason}"))
        try:
            fit = fit_segments(features, shares, chosen.segments, in_use, stored_support(store).log)
        except ValueError as error:
            raise Refusal(str(error)) from None
        assigned = fit.model.assign(features, shares)
        shown = maps.drawn(len(features), chosen.segments.seed)
        points, labels = fit.model.scaler.transform(features, shares)[shown], assigned["segment_name"].to_numpy()[shown]
        figures = {
            "segment_map": charts.segment_map(maps.principal_components(points), labels, "Segments on the first two principal components"),
            "neighbourhood_map": charts.segment_map(
                maps.neighbourhoods(points, chosen.segments.seed), labels, "Segments by t-SNE: near is alike"
            ),
            "quality": charts.segment_quality(fit.quality),
        }
        best = fit.quality[fit.quality["chosen"]].iloc[0]
        as_of = f"{features['as_of_date'].iloc[0]:%Y-%m-%d}"
        origin = Origin(context.run_id, key(contract).to_user_string())
        with tracked_run(chosen, STAGE, f"segments {as_of}", origin) as run:
            run.parameters(
                {
                    **chosen.segments.model_dump(),
                    "algorithm": best["algorithm"],
                    "k": int(best["k"]),
                    "features": ", ".join(fit.model.scaler.columns),
                }
            )
            run.metrics({**_measures(best), "k": best["k"], "users": len(features)})
            run.tags({"decision": fit.reason})
            run.data("user_features", features, fingerprint(features.drop(columns="user_id")), as_of, as_of)
            for name, figure in figures.items():
                run.picture(charts.drawn(figure), f"{name}.png")
            run.table(fit.quality, "quality.csv")
            run.note(note_of_the_training(fit, len(features), as_of))
            for row in fit.quality.to_dict("records"):
                with run.part(f"{row['algorithm']} {row['k_wanted'] or 'own'} {as_of}") as child:
                    child.parameters({"algorithm": row["algorithm"], "k_wanted": row["k_wanted"], "k": row["k"]})
                    child.metrics(_measures(row))
                    child.tags({"chosen": str(row["chosen"]).lower()})
                    child.note(note_of_a_candidate(row, len(features), as_of))
            version = _registered(run, fit, features, as_of)
        found = _changes(fit)
        with store.transaction():
            store.replace(contract, from_frame(fit.quality.assign(segment_model_version=version)))
            store.replace(changes, from_frame(found.assign(segment_model_version=version)))
            choose(store, STAGE, Chosen(version, "training", fit.reason))
        yield dg.MaterializeResult(
            asset_key=key(contract),
            metadata=table_metadata(
                store,
                contract,
                figures,
                decision=fit.reason,
                k=int(best["k"]),
                silhouette=_finite(best["silhouette"]),
                segments=", ".join(fit.model.names),
                model_version=version,
                mlflow_run=dg.MetadataValue.url(run.url),
            ),
        )
        yield dg.MaterializeResult(
            asset_key=key(changes), metadata=table_metadata(store, changes, None, changes=dg.MetadataValue.md(markdown_table(found)))
        )
        yield checked("segments_hold_together", contract, checks.hold_together(fit.quality), warn=True)
        yield checked("segments_come_out_again", contract, checks.come_out_again(fit.quality, fit.reason), warn=True)
        yield checked(CAN_BE_MADE, contract, checks.several(fit.quality, fit.reason), warn=True)

    return segment_quality


def _registered(run: "TrackedRun", fit: "Fit", features: "pd.DataFrame", as_of: str) -> str:
    import pandas as pd

    from persona_pipelines.segments.told import note_of_the_training

    with tempfile.TemporaryDirectory() as folder:
        fit.model.save(Path(folder) / "model")
        example = features.head(5).drop(columns="user_number").assign(user_id="0" * 32)
        nothing = pd.DataFrame({"user_id": [], "category": [], "interest_share": []})
        registered = run.register(
            Path(folder) / "model",
            "persona_pipelines.segments.model",
            example,
            fit.model.assign(example, nothing),
            note_of_the_training(fit, len(features), as_of),
            {"decision": fit.reason},
        )
    return registered.version


def _measures(row: Any) -> dict[str, float]:
    return {name: row[name] for name in ("silhouette", "davies_bouldin", "calinski_harabasz", "stability", "noise_share")}


def _changes(fit: "Fit") -> "pd.DataFrame":
    """The alignment's changes; of a first training every segment is born."""
    import pandas as pd

    if fit.alignment is not None:
        return fit.alignment.changes
    return pd.DataFrame({"segment_id": list(fit.model.ids), "change": "born", "other_segment_id": None, "users": 0})


def _finite(number: float) -> float | str:
    return float(number) if number == number else "not defined"


def _assignment(settings: Settings) -> dg.AssetsDefinition:
    tables = (
        contracts.USER_SEGMENTS,
        contracts.SEGMENT_PROFILES,
        contracts.SEGMENT_DIFFERENCES,
        contracts.SEGMENT_INTERESTS,
        contracts.SEGMENT_RULES,
        contracts.SEGMENT_HISTORY,
    )
    deps = [key(table) for table in (contracts.USER_FEATURES, contracts.CATEGORY_SHARES, contracts.USER_ORDER, contracts.SEGMENT_QUALITY)]

    @dg.multi_asset(
        name="user_segments",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "scikitlearn"}), deps=deps) for contract in tables],
        check_specs=[
            *(contract_check_spec(contract) for contract in tables),
            dg.AssetCheckSpec("no_segment_is_empty", asset=key(contracts.SEGMENT_PROFILES), description="Every segment has users."),
            made_check_spec(contracts.USER_SEGMENTS),
        ],
        retry_policy=ONCE_MORE,
    )
    def user_segments(warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.errors import StoredModelError
        from persona_pipelines.features.support import stored_support
        from persona_pipelines.orchestration.metadata import (
            checked,
            contract_check,
            left_out,
            made_check,
            markdown_table,
            plot,
            table_metadata,
        )
        from persona_pipelines.segments import checks
        from persona_pipelines.segments.labels import LabelError, labels
        from persona_pipelines.segments.model import SegmentModel
        from persona_pipelines.segments.rules import segment_rules
        from persona_pipelines.segments.summary import summary
        from persona_pipelines.tracking import registry
        from persona_pipelines.tracking.experiments import ModelNotFoundError
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        features, shares = _read(store, chosen)
        if features.empty:
            yield from left_out(store, tables, NOBODY, contract_checks=True, checks={"no_segment_is_empty": contracts.SEGMENT_PROFILES})
            return
        try:
            in_use = registry.chosen(store, chosen, STAGE)
            found = registry.model(chosen, STAGE, in_use.version if in_use else None)
            given = labels(chosen)
            model = SegmentModel.load(found.folder).called(given)
        except (LabelError, ModelNotFoundError, StoredModelError) as error:
            raise Refusal(str(error)) from None
        as_of = features["as_of_date"].iloc[0]
        assigned = model.assign(features, shares)
        told = summary(model, assigned, features, shares, stored_support(store).log, given)
        profiles = told.profiles.assign(as_of_date=as_of)
        rules = segment_rules(assigned, features, model.scaler.columns, chosen.attributes_of("users"))
        history = store.table(contracts.SEGMENT_HISTORY)
        with store.transaction(), store.scratch():
            earlier = store.keep("earlier_history", history.filter(history.as_of_date.cast("date") != as_of))
            made = {
                contracts.USER_SEGMENTS: assigned.assign(as_of_date=as_of),
                contracts.SEGMENT_PROFILES: profiles,
                contracts.SEGMENT_DIFFERENCES: told.differences,
                contracts.SEGMENT_INTERESTS: told.interests,
                contracts.SEGMENT_RULES: rules,
            }
            for contract, frame in made.items():
                rows = from_frame(frame.assign(segment_model_version=found.version)) if len(frame) else store.table(contract).limit(0)
                store.replace(contract, rows)
            # A day that is scored again replaces its own rows; the others stay.
            store.replace(contracts.SEGMENT_HISTORY, earlier)
            store.append(
                contracts.SEGMENT_HISTORY,
                from_frame(profiles.assign(segment_model_version=found.version)[contracts.SEGMENT_HISTORY.column_names]),
            )
            if in_use:
                registry.choose(store, STAGE, in_use)
        sizes = charts.bars(profiles.set_index("segment_name")["users"], "Users by segment")
        shown = profiles[["segment_name", "users", "share", "distinguishing_features", "top_categories"]].round(3)
        extra = {contracts.SEGMENT_PROFILES: {"sizes": plot(sizes), "segments": dg.MetadataValue.md(markdown_table(shown))}}
        for contract in tables:
            yield dg.MaterializeResult(
                asset_key=key(contract),
                metadata=table_metadata(store, contract, None, model_version=found.version, **extra.get(contract, {})),
            )
            yield contract_check(store, contract)
        yield checked("no_segment_is_empty", contracts.SEGMENT_PROFILES, checks.none_is_empty(profiles), warn=True)
        yield made_check(contracts.USER_SEGMENTS)

    return user_segments
