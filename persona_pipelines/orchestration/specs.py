"""What every asset has: its place in the flowchart, its contract as column metadata, owners, kinds and freshness."""

from __future__ import annotations

import datetime as dt
from typing import Any

import dagster as dg

from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.contracts.parts import Column, Table

ACCEPT_SHRINK_TAG = "persona/accept_shrink"
"""Set on a run that may load and publish much less than before."""
CAN_BE_MADE = "can_be_made"
"""The check of what not every log can feed: where it fails, something is left out, and nothing is wrong."""
PUBLISHED = dg.AssetKey(["publication", "published_copy"])
"""The last asset of each job that changes what people read."""
ONCE_MORE = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL)
"""For steps that depend on something outside of the process: files that are being delivered, the MLflow server."""


def key(contract: Table) -> dg.AssetKey:
    return dg.AssetKey([contract.schema, contract.name])


def column_schema(contract: Table) -> dg.TableSchema:
    return dg.TableSchema(columns=[_table_column(column, contract) for column in contract.columns])


def _table_column(column: Column, contract: Table) -> dg.TableColumn:
    bounds = [f"{sign} {bound:g}" for sign, bound in ((">=", column.minimum), ("<=", column.maximum)) if bound is not None]
    return dg.TableColumn(
        column.name,
        column.type,
        f"{column.description}{f' [{column.unit}]' if column.unit else ''}",
        constraints=dg.TableColumnConstraints(nullable=not column.required, unique=contract.key == (column.name,), other=bounds),
        tags={"personal": ""} if column.personal else None,
    )


def spec_options(settings: Settings, contract: Table, kinds: set[str], *, weekly: bool = False) -> dict[str, Any]:
    """Options of an ``AssetSpec`` that follow from the contract and the configuration."""
    return {
        "key": key(contract),
        "group_name": contract.schema,
        "description": contract.description,
        "owners": [settings.owner],
        "kinds": kinds,
        "tags": {"stage": contract.schema},
        "metadata": {"dagster/column_schema": column_schema(contract), "dagster/table_name": contract.full_name},
        "freshness_policy": fresh(weekly=weekly),
    }


def saying_what_comes_with_it(made: dg.AssetsDefinition) -> dg.AssetsDefinition:
    """Tables of one step in one transaction cannot be made alone: each says so in its description, before Dagster's dialog does."""

    def said(spec: dg.AssetSpec) -> dg.AssetSpec:
        others = sorted(key.path[-1] for key in made.keys - {spec.key})
        return spec.replace_attributes(description=f"{spec.description} Made in one step with {', '.join(others)}.")

    return made.map_asset_specs(said) if len(made.keys) > 1 else made


def fresh(*, weekly: bool = False) -> dg.FreshnessPolicy:
    """How old an asset may become: of the daily job a day and a half, of the weekly one a week and a day."""
    return dg.FreshnessPolicy.time_window(fail_window=dt.timedelta(days=8) if weekly else dt.timedelta(hours=36))


def contract_check_spec(contract: Table) -> dg.AssetCheckSpec:
    """The check that ``metadata.contract_check`` answers."""
    return dg.AssetCheckSpec(
        "keeps_contract",
        asset=key(contract),
        blocking=True,
        description=f"No two rows share {', '.join(contract.key)}, and every column keeps its bounds.",
    )
