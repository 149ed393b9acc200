"""Compare and train recommenders; the champion's lists for every consenting user."""

import datetime as dt
import tempfile
from pathlib import Path
from typing import Any

import dagster as dg

from persona_pipelines.orchestration.assets import ONCE_MORE, contract_check_spec, key, spec_options
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts

STAGE = "recommendations"


def build(settings: Settings) -> list[dg.AssetsDefinition]:
    return [_comparison(settings), _recommendations(settings)]


def _comparison(settings: Settings) -> dg.AssetsDefinition:
    contract = contracts.MODEL_COMPARISON
    deps = [key(table) for table in (contracts.EVENTS, contracts.ITEMS, contracts.USERS, contracts.INTERACTIONS)]

    @dg.multi_asset(
        name="model_comparison",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "lightfm", "mlflow"}, weekly=True), deps=deps)],
        check_specs=[
            dg.AssetCheckSpec("beats_most_popular", asset=key(contract), description="LightFM's nDCG is above that of the most popular items."),
            dg.AssetCheckSpec("beats_recently_popular", asset=key(contract),
                              description="The champion's nDCG is above that of the recently popular items."),
        ],
        retry_policy=ONCE_MORE,
    )  # fmt: skip
    def model_comparison(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.orchestration.metadata import markdown_table, table_metadata
        from persona_pipelines.recommendations import training
        from persona_pipelines.recommendations.models.factors import PyfuncRecommender
        from persona_pipelines.tracking.experiments import Origin, fingerprint, tracked_run
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        as_of = store.value(store.table(contracts.INTERACTIONS).as_of_date.max())
        if as_of is None:
            raise dg.Failure("no interactions of known users with items: map item_id in a source of events", allow_retries=False)
        end = dt.datetime.combine(as_of + dt.timedelta(days=1), dt.time())
        try:
            comparison = training.compare_models(store, chosen, end)
        except training.TooFewInteractionsError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        table = comparison.table(chosen)
        figure = charts.metric_bars(table)
        origin = Origin(context.run_id, key(contract).to_user_string())
        versions: dict[str, tuple[str | None, str]] = {}
        champion_url = ""
        digest, first = fingerprint(comparison.training), f"{comparison.training['last_time'].min():%Y-%m-%d}"
        for model in training.models(chosen):
            rows = table[table["model"] == model.name]
            wins = model.name == comparison.winner
            with tracked_run(chosen, STAGE, f"{model.name} {as_of}", origin) as run:
                run.parameters({**model.parameters(), "model": model.name, "split": training.SPLIT, "k": chosen.recommendations.k,
                                "test_share": chosen.recommendations.test_share, "exclude_seen": chosen.recommendations.exclude_seen,
                                "half_life_days": chosen.features.interaction_half_life_days})  # fmt: skip
                for row in rows.itertuples():
                    suffix = "" if row.case == "warm" else "_new_user"
                    names = ("ndcg_at_k", "recall_at_k", "precision_at_k", "map_at_k", "coverage", "users")
                    run.metrics({f"{name}{suffix}": getattr(row, name) for name in names})
                run.data("interactions", comparison.training, digest, first, f"{comparison.cut:%Y-%m-%d}")
                run.tags({"cut": f"{comparison.cut:%Y-%m-%d %H:%M:%S}", "champion": str(wins).lower()})
                run.table(table.drop(columns="champion"), "comparison.csv")
                run.figure(figure, "comparison.png")
                version = None
                if wins:
                    fitted, everything = training.fit_on_everything(store, chosen, model.name, end)
                    import pandas as pd

                    with tempfile.TemporaryDirectory() as folder:
                        fitted.save(Path(folder) / "model")
                        example = pd.DataFrame({"user_id": ["0" * 32], "k": [chosen.recommendations.k]})
                        registered = run.register(
                            Path(folder) / "model", "persona_pipelines.recommendations.models.factors", example,
                            PyfuncRecommender(fitted).predict(example), promote=True,
                            description=f"{model.name}, fitted on {len(everything)} interactions until {as_of}",
                        )  # fmt: skip
                    version, champion_url = registered.version, run.url
                versions[model.name] = (version, run.run_id)
        table = table.assign(
            model_version=[versions[name][0] for name in table["model"]], mlflow_run_id=[versions[name][1] for name in table["model"]]
        )
        with store.transaction():
            store.replace(contract, from_frame(table))
        shown = table[["model", "case", "users", "ndcg_at_k", "recall_at_k", "precision_at_k", "map_at_k", "coverage", "champion"]].round(4)
        yield dg.MaterializeResult(
            asset_key=key(contract),
            metadata=table_metadata(store, contract, {"metrics": figure}, comparison=dg.MetadataValue.md(markdown_table(shown)),
                                    champion=comparison.winner, cut=f"{comparison.cut:%Y-%m-%d %H:%M}", test_pairs=comparison.test_pairs,
                                    model_version=versions[comparison.winner][0], mlflow_run=dg.MetadataValue.url(champion_url)),
        )  # fmt: skip
        warm = table[table["case"] == "warm"].set_index("model")["ndcg_at_k"]
        challenger, popular, recent = (model.name for model in training.models(chosen))
        for check, mine, other in (("beats_most_popular", challenger, popular), ("beats_recently_popular", comparison.winner, recent)):
            known = mine in warm and other in warm
            yield dg.AssetCheckResult(
                check_name=check, asset_key=key(contract), passed=bool(known and warm[mine] > warm[other]), severity=dg.AssetCheckSeverity.WARN,
                metadata={name: float(warm[name]) for name in (mine, other) if name in warm},
                description=None if known else "no user known in training came back after the cut",
            )  # fmt: skip

    return model_comparison


def _recommendations(settings: Settings) -> dg.AssetsDefinition:
    contract = contracts.RECOMMENDATIONS
    deps = [key(table) for table in (contracts.MODEL_COMPARISON, contracts.INTERACTIONS, contracts.USERS, contracts.USER_PROFILES)]

    @dg.multi_asset(
        name="recommendations",
        specs=[dg.AssetSpec(**spec_options(settings, contract, {"duckdb", "lightfm"}), deps=deps)],
        check_specs=[
            contract_check_spec(contract),
            dg.AssetCheckSpec("only_with_consent", asset=key(contract), blocking=True, description="Nobody without consent has a list."),
        ],
        retry_policy=ONCE_MORE,
    )
    def recommendations(warehouse: WarehouseResource) -> Any:
        from persona_pipelines import charts
        from persona_pipelines.orchestration.metadata import contract_check, table_metadata
        from persona_pipelines.recommendations.models.factors import FactorModel
        from persona_pipelines.recommendations.serving import recommended
        from persona_pipelines.tracking.experiments import ModelNotFoundError, champion
        from persona_pipelines.warehouse.connection import from_frame

        store, chosen = warehouse.get(), warehouse.settings
        try:
            found = champion(chosen, STAGE)
            model = FactorModel.load(found.folder)
        except (ModelNotFoundError, ValueError) as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        users, table = store.table(contracts.USERS), store.table(contracts.INTERACTIONS)
        consenting = store.frame(users.filter(users.consent_personalisation).order_by("user_id"))
        seen = store.frame(table.select("user_id", "item_id"))
        as_of = store.value(table.as_of_date.max())
        lists = recommended(model, consenting, seen, chosen.recommendations.k, chosen.recommendations.exclude_seen)
        lists = lists.assign(model=model.name, model_version=found.version, as_of_date=as_of)
        with store.transaction():
            store.replace(contract, from_frame(lists))
        top = lists[lists["rank"] == 1]["item_id"].value_counts().head(15)
        extra: dict[str, Any] = {"users": int(lists["user_id"].nunique()), "items": int(lists["item_id"].nunique()), "model": model.name}
        yield dg.MaterializeResult(
            asset_key=key(contract),
            metadata=table_metadata(store, contract, {"first_places": charts.bars(top, "Items most often in first place")},
                                    model_version=found.version, **extra),
        )  # fmt: skip
        yield contract_check(store, contract)
        allowed = set(consenting["user_id"])
        outside = len(set(lists["user_id"]) - allowed)
        yield dg.AssetCheckResult(
            check_name="only_with_consent", asset_key=key(contract), passed=outside == 0,
            metadata={"consenting_users": len(allowed), "users_with_a_list_without_consent": outside},
        )  # fmt: skip

    return recommendations
