"""The published copy as an asset, the last of each job: where it cannot be made, the run has failed."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from persona_pipelines.orchestration.failures import Refusal
from persona_pipelines.orchestration.resources import WarehouseResource
from persona_pipelines.orchestration.specs import ACCEPT_SHRINK_TAG, PUBLISHED, fresh
from persona_pipelines.publication import STAGE
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts


class PublicationConfig(dg.Config):
    """What a person may allow in the launchpad, as ``persona run --accept-shrink`` does."""

    accept_shrink: bool = False


def build(settings: Settings, made: Sequence[dg.AssetsDefinition]) -> list[dg.AssetsDefinition]:
    """The published copy of all that the stages have ``made``."""

    @dg.asset(
        key=PUBLISHED,
        group_name=STAGE,
        deps=[key for asset in made for key in asset.keys],
        owners=[settings.owner],
        kinds={"duckdb"},
        tags={"stage": STAGE},
        freshness_policy=fresh(),
        description="What people, pages and services read: tables, pages and champions of one run, exchanged at one moment.",
        check_specs=[
            dg.AssetCheckSpec(
                "nothing_was_lost", asset=PUBLISHED, description="Events, people and items are not much fewer than in the published copy."
            )
        ],
    )
    def published_copy(context: dg.AssetExecutionContext, warehouse: WarehouseResource, config: PublicationConfig) -> Any:
        from persona_pipelines.errors import ProjectError
        from persona_pipelines.home.manifest import HomeError, read_manifest
        from persona_pipelines.home.publishing import publish
        from persona_pipelines.publication.checks import shrunk
        from persona_pipelines.recommendations.serving import published_server

        store, chosen = warehouse.get(), warehouse.settings
        accepted = config.accept_shrink or ACCEPT_SHRINK_TAG in context.run.tags
        logs = [contracts.raw_events(source.name).full_name for source in chosen.sources_of("events")]
        lists = [contracts.raw_listing(source.name, kind).full_name for kind in ("users", "items") for source in chosen.sources_of(kind)]
        found = shrunk(read_manifest(chosen.home).rows, store.counts(), chosen.logs.smallest_share_of_rows, logs, lists)
        if not found.passed and not accepted:
            raise Refusal(str(found.words))
        try:
            publication = publish(store, chosen, context.log.info)
        except OSError as error:
            raise Refusal(f"the tables are written, but could not be published for reading: {error}") from None
        except HomeError as error:
            raise Refusal(str(error)) from None
        try:
            published_server(chosen)
        except ProjectError as error:
            context.log.warning(f"the recommender cannot be asked: {error}")
        rows = publication.rows.get(contracts.EVENTS.full_name, 0)
        yield dg.MaterializeResult(
            metadata={
                "tables": len(publication.rows),
                "events": rows,
                "bytes": chosen.published_file.stat().st_size,
                "sha256": publication.published,
                "pages": ", ".join(publication.pages),
                **{f"champion of {stage}": str(entry["version"]) for stage, entry in publication.champions.items()},
            }
        )
        yield dg.AssetCheckResult(
            check_name="nothing_was_lost",
            passed=found.passed,
            severity=dg.AssetCheckSeverity.WARN,
            description=found.words,
            metadata=dict(found.numbers),
        )

    return [published_copy]
