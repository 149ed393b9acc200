"""Which assets a run is of: whole stages, or what Dagster's own selection language finds; and what of it has to be there before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import dagster as dg

from persona_pipelines.errors import ProjectError
from persona_pipelines.orchestration.specs import PUBLISHED
from persona_pipelines.suggestions import suggestion

Graph = dg.Definitions
Selection = frozenset[dg.AssetKey]


class SelectionError(ProjectError):
    """There is no such stage or asset, or what it is made from is not there."""


@dataclass(frozen=True)
class Step:
    """What is made at once: ``assets`` by their names, ``stage`` of the flowchart, ``trains`` whether a model is trained."""

    stage: str
    assets: tuple[str, ...]
    trains: bool


def selected(
    definitions: Graph,
    stages: Sequence[str],
    tables: Collection[str],
    *,
    only: Collection[str] | None = None,
    until: str | None = None,
    query: str | None = None,
) -> Selection | None:
    """What was asked for, with one of the three at most; None for everything.

    Args:
        stages: of the flow, in their order.
        tables: the full names of those that are there, from which what was not asked for can be read.
        only: some of the stages; ``until``: those up to this one; ``query``: what Dagster's own selection language finds.
    Raises:
        SelectionError: there is no such stage or asset, or what it is made from is neither asked for nor there.
    """
    if query is not None:
        chosen = of_query(definitions, query)
    elif until is not None:
        _require(stages, [until])
        chosen = of_stages(definitions, stages, stages[: stages.index(until) + 1])
    elif only is not None:
        chosen = of_stages(definitions, stages, only)
    else:
        return None
    require_inputs(definitions, chosen, tables)
    return chosen


def of_stages(definitions: Graph, stages: Sequence[str], wanted: Collection[str]) -> Selection:
    """The assets of some stages of the flow, and the published copy, without which nobody would see what has been made.

    Raises:
        SelectionError: there is no such stage.
    """
    _require(stages, wanted)
    return frozenset(dg.AssetSelection.groups(*wanted).resolve(definitions.resolve_asset_graph()) | {PUBLISHED})


def of_query(definitions: Graph, query: str) -> Selection:
    """The assets that a selection of Dagster finds (``events/sessions+``, ``group:features``), with those that are made in one step with
    them, and the published copy.

    Raises:
        SelectionError: the query cannot be read, or finds nothing.
    """
    graph = definitions.resolve_asset_graph()
    try:
        found = dg.AssetSelection.from_string(query).resolve(graph)
    except dg.DagsterError:
        found = set()
    if not found:
        names = sorted(key.to_user_string() for key in graph.get_all_asset_keys())
        meant = suggestion(query.strip("+*"), names)
        raise SelectionError(
            f"--select: {query!r} finds no asset{meant}; expected a selection such as events/sessions, events/sessions+ or group:features, "
            f"of {', '.join(names)}"
        )
    return frozenset({each for key in found for each in graph.get(key).execution_set_asset_keys} | {PUBLISHED})


def steps_of(definitions: Graph, keys: Selection | None) -> list[Step]:
    """What a run of these assets makes, in an order in which it can be made; None for all."""
    graph = definitions.resolve_asset_graph()
    found: dict[frozenset[dg.AssetKey], Step] = {}
    for key in graph.toposorted_asset_keys:
        if keys is None or key in keys:
            node = graph.get(key)
            together = frozenset(node.execution_set_asset_keys)
            names = tuple(sorted(".".join(each.path) for each in together))
            found[together] = Step(node.group_name, names, "mlflow" in node.kinds)
    return list(found.values())


def require_inputs(definitions: Graph, keys: Selection, tables: Collection[str]) -> None:
    """Raises SelectionError where what the assets are made from is neither among them nor in a table that is there.

    Args:
        tables: the full names of those.
    """
    graph, there = definitions.resolve_asset_graph(), set(tables)
    for key in graph.toposorted_asset_keys:
        if key in keys and key != PUBLISHED:
            for parent in sorted(graph.get(key).parent_keys - set(keys)):
                if ".".join(parent.path) not in there:
                    stage = graph.get(parent).group_name
                    raise SelectionError(
                        f"{'.'.join(key.path)} is made from {'.'.join(parent.path)}, which no run has published yet; first: "
                        f"persona run --until {stage}"
                    )


def _require(stages: Sequence[str], wanted: Collection[str]) -> None:
    if not wanted:
        raise SelectionError(f"found no stage; expected some of {', '.join(stages)}")
    for stage in wanted:
        if stage not in stages:
            raise SelectionError(f"no stage {stage!r}{suggestion(stage, stages)}; expected some of {', '.join(stages)}")
