"""Train segments, assign every user, describe each segment."""

import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from persona_pipelines.orchestration.assets import ONCE_MORE, contract_check_spec, key, spec_options
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

STAGE = "segments"


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    return [_training(settings), _assignment(settings)]


def _training(settings: Settings) -> dg.AssetsDefinition:
    contract = contracts.SEGMENT_QUALITY

    @dg.multi_asset(
        name="segment_quality",
        specs=[
            dg.AssetSpec(
                **spec_options(settings, contract, {"duckdb", "scikitlearn", "mlflow"}, weekly=True), deps=[key(contracts.USER_FEATURES)]
            )
        ],
        check_specs=[
            dg.AssetCheckSpec("segments_hold_together", asset=key(contract), description="The silhouette of the chosen k is above 0.1."),
        ],
        retry_policy=ONCE_MORE,
    )
    def segment_quality(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.orchestration.metadata import table_metadata
        from persona_pipelines.segments.model import fit_segments
        from persona_pipelines.tracking.experiments import Origin, fingerprint, tracked_run
        from persona_pipelines.tracking.registry import promote
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        features = store.frame(store.table(contracts.USER_FEATURES).order_by("user_id"))
        try:
            fit = fit_segments(features, chosen.segments)
        except ValueError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        assigned = fit.model.assign(features)
        figures = {
            "segment_map": charts.segment_map(
                fit.model.scaler.transform(features), assigned["segment_id"].to_numpy(), list(fit.model.names)
            ),
            "silhouette_by_k": charts.quality_by_k(fit.quality),
        }
        best = fit.quality[fit.quality["chosen"]].iloc[0]
        as_of = f"{features['as_of_date'].iloc[0]:%Y-%m-%d}"
        with tracked_run(chosen, STAGE, f"k-means {as_of}", Origin(context.run_id, str(key(contract).to_user_string()))) as run:
            run.parameters(
                {
                    **chosen.segments.model_dump(),
                    "algorithm": "k-means",
                    "k": int(best["k"]),
                    "features": ", ".join(fit.model.scaler.columns),
                }
            )
            for row in fit.quality.itertuples():
                run.metrics({"silhouette_by_k": row.silhouette, "davies_bouldin_by_k": row.davies_bouldin}, step=int(row.k))
            run.metrics(
                {"silhouette": best["silhouette"], "davies_bouldin": best["davies_bouldin"], "k": best["k"], "users": len(features)}
            )
            run.data("user_features", features, fingerprint(features), as_of, as_of)
            for name, figure in figures.items():
                run.figure(figure, f"{name}.png")
            run.table(fit.quality, "quality.csv")
            with tempfile.TemporaryDirectory() as folder:
                fit.model.save(Path(folder) / "model")
                example = features.head(5).assign(user_id="0" * 32)
                registered = run.register(
                    Path(folder) / "model", "persona_pipelines.segments.model", example, fit.model.assign(example),
                    description=f"{int(best['k'])} segments of {len(features)} users as of {as_of}: {', '.join(fit.model.names)}",
                )  # fmt: skip
        promote(chosen, STAGE, registered.version, "training", "the newest training")
        with store.transaction():
            store.replace(contract, from_frame(fit.quality.assign(segment_model_version=registered.version)))
        yield dg.MaterializeResult(
            asset_key=key(contract),
            metadata=table_metadata(store, contract, figures, k=int(best["k"]), silhouette=_finite(best["silhouette"]),
                                    segments=", ".join(fit.model.names), model_version=registered.version,
                                    mlflow_run=dg.MetadataValue.url(run.url)),
        )  # fmt: skip
        yield dg.AssetCheckResult(
            check_name="segments_hold_together", asset_key=key(contract), passed=bool(best["silhouette"] > 0.1),
            severity=dg.AssetCheckSeverity.WARN, metadata={"silhouette": _finite(best["silhouette"])},
        )  # fmt: skip

    return segment_quality


def _finite(number: float) -> float | str:
    return float(number) if number == number else "not defined"


def _assignment(settings: Settings) -> dg.AssetsDefinition:
    tables = (contracts.USER_SEGMENTS, contracts.SEGMENT_PROFILES)
    deps = [key(contracts.USER_FEATURES), key(contracts.CATEGORY_SHARES), key(contracts.SEGMENT_QUALITY)]

    @dg.multi_asset(
        name="user_segments",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "scikitlearn"}), deps=deps) for contract in tables],
        check_specs=[
            *(contract_check_spec(contract) for contract in tables),
            dg.AssetCheckSpec("no_segment_is_empty", asset=key(contracts.SEGMENT_PROFILES), description="Every segment has users."),
        ],
        retry_policy=ONCE_MORE,
    )
    def user_segments(warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.orchestration.metadata import contract_check, markdown_table, table_metadata
        from persona_pipelines.segments.model import SegmentModel
        from persona_pipelines.segments.summary import segment_profiles
        from persona_pipelines.tracking.experiments import ModelNotFoundError
        from persona_pipelines.tracking.registry import champion
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        try:
            found = champion(chosen, STAGE)
            model = SegmentModel.load(found.folder)
        except (ModelNotFoundError, ValueError) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        features = store.frame(store.table(contracts.USER_FEATURES).order_by("user_id"))
        shares = store.frame(store.table(contracts.CATEGORY_SHARES))
        as_of = features["as_of_date"].iloc[0]
        assigned = model.assign(features)
        profiles = segment_profiles(model, assigned, features, shares)
        with store.transaction():
            for contract, frame in ((contracts.USER_SEGMENTS, assigned), (contracts.SEGMENT_PROFILES, profiles)):
                store.replace(contract, from_frame(frame.assign(as_of_date=as_of, segment_model_version=found.version)))
        sizes = charts.bars(profiles.set_index("segment_name")["users"], "Users by segment")
        shown = profiles[["segment_name", "users", "share", "distinguishing_features", "top_categories"]].round(3)
        extra = {contracts.SEGMENT_PROFILES: {"segments": dg.MetadataValue.md(markdown_table(shown))}}
        for contract in tables:
            yield dg.MaterializeResult(
                asset_key=key(contract),
                metadata=table_metadata(store, contract, {"sizes": sizes}, model_version=found.version, **extra.get(contract, {})),
            )
            yield contract_check(store, contract)
        empty = profiles[profiles["users"] == 0]["segment_name"].tolist()
        yield dg.AssetCheckResult(
            check_name="no_segment_is_empty", asset_key=key(contracts.SEGMENT_PROFILES), passed=not empty,
            severity=dg.AssetCheckSeverity.WARN, description=", ".join(empty) or None, metadata={"empty": len(empty)},
        )  # fmt: skip

    return user_segments
