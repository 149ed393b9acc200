"""What people see on an asset's page: rows, a preview without personal data, plots, and the contract's checks."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from persona_pipelines.errors import plain
from persona_pipelines.findings import Finding, unless
from persona_pipelines.orchestration.specs import CAN_BE_MADE, key
from persona_pipelines.warehouse.checks import keeps_contract
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.contracts.parts import Table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PREVIEW_ROWS = 5
MARKUP = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~&$])")
"""What Markdown may take for a mark."""


def plot(figure: Figure) -> dg.MetadataValue:
    """A figure as an image inside the page."""
    from persona_pipelines.charts import drawn

    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(drawn(figure)).decode()})")


def table_metadata(warehouse: Warehouse, contract: Table, plots: Mapping[str, Figure] | None = None, **extra: Any) -> dict[str, Any]:
    """Rows, preview and plots of a written table."""
    metadata: dict[str, Any] = {"dagster/row_count": warehouse.rows(contract), "preview": _preview(warehouse, contract)}
    metadata |= {name: plot(figure) for name, figure in (plots or {}).items()}
    return metadata | extra


def written_by_day(context: dg.AssetExecutionContext, contract: Table, metadata: Mapping[str, Any]) -> dg.MaterializeResult[Any]:
    """A table written for the days of a run. Pictures and previews stand with the last day alone, where the asset's page shows them: Dagster
    keeps the metadata once for each day."""
    if context.assets_def.partitions_def is None or not context.has_partition_key_range:
        return dg.MaterializeResult(asset_key=key(contract), metadata=metadata)
    shown = {name: value for name, value in metadata.items() if isinstance(value, dg.MarkdownMetadataValue)}
    context.add_asset_metadata(shown, asset_key=key(contract), partition_key=context.partition_keys[-1])
    return dg.MaterializeResult(asset_key=key(contract), metadata={name: value for name, value in metadata.items() if name not in shown})


def _preview(warehouse: Warehouse, contract: Table) -> dg.MetadataValue:
    """First rows without personal columns; of tables with a row a person only the distribution of each column."""
    shown = [column.name for column in contract.columns if not column.personal]
    table = warehouse.table(contract).select(shown)
    if not contract.personal_rows:
        return dg.MetadataValue.md(markdown_table(warehouse.frame(table.limit(PREVIEW_ROWS))))
    numbers = [column.name for column in contract.columns if not column.personal and column.type in ("int64", "float64")]
    if not numbers:
        return dg.MetadataValue.md("One row a person: not shown.")
    frame = warehouse.frame(table.select(numbers))
    summary = frame.astype(float).describe().T[["count", "mean", "min", "50%", "max"]].round(3).reset_index(names="column")
    return dg.MetadataValue.md("One row a person, so the distribution of each column instead:\n\n" + markdown_table(summary))


def markdown_table(frame: pd.DataFrame) -> str:
    """A table as Markdown; text that would end a cell or be read as markup is escaped."""

    def cell(value: Any) -> str:
        text = "" if value is None or value != value else str(value)
        return markdown_text(text if len(text) <= 60 else text[:57] + "...")

    lines = ["| " + " | ".join(map(cell, frame.columns)) + " |", "|" + " --- |" * len(frame.columns)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in frame.itertuples(index=False)]
    return "\n".join(lines)


def markdown_text(text: str) -> str:
    """A text as Markdown shows it and nothing else: no link, picture, heading or tag of its own."""
    return MARKUP.sub(r"\\\1", plain(text))


def markdown_list(texts: Sequence[str]) -> str:
    """Texts as the lines of a Markdown list."""
    return "\n".join(f"- {markdown_text(text)}" for text in texts)


def checked(name: str, contract: Table, finding: Finding, *, warn: bool = False) -> dg.AssetCheckResult:
    """What a check of a room found, as Dagster shows it.

    Args:
        warn: whether a failed one is a warning, and stops nothing.
    """
    severity = dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=key(contract),
        passed=finding.passed,
        severity=severity,
        description=finding.words,
        metadata=dict(finding.numbers),
    )


def contract_check(warehouse: Warehouse, contract: Table) -> dg.AssetCheckResult:
    """The contract held against the table as written."""
    return checked("keeps_contract", contract, keeps_contract(warehouse, contract))


def made_check_spec(contract: Table) -> dg.AssetCheckSpec:
    """The check of a stage that not every log can feed; ``left_out`` fails it."""
    return dg.AssetCheckSpec(
        CAN_BE_MADE, asset=key(contract), description="The logs hold what this stage is made from; else it says what is missing."
    )


def made_check(contract: Table, missing: str | None = None) -> dg.AssetCheckResult:
    """A stage that was made; ``missing`` says what of it could not be."""
    return checked(CAN_BE_MADE, contract, unless(missing), warn=True)


def left_out(
    warehouse: Warehouse, tables: Sequence[Table], reason: str, *, contract_checks: bool = False, checks: Mapping[str, Table] | None = None
) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
    """What a stage gives that cannot be made from these logs: empty tables, and a warning that says why.

    What does not depend on it is made and published all the same.

    Args:
        contract_checks: whether the stage has the check ``keeps_contract`` for each table.
        checks: its other checks; there is nothing for them to find.
    """
    with warehouse.transaction():
        for contract in tables:
            warehouse.replace(contract, warehouse.table(contract).limit(0))
    for contract in tables:
        yield dg.MaterializeResult(asset_key=key(contract), metadata={"dagster/row_count": 0, "left_out": reason})
        if contract_checks:
            yield contract_check(warehouse, contract)
    for name, contract in (checks or {}).items():
        yield dg.AssetCheckResult(check_name=name, asset_key=key(contract), passed=True, description=f"left out: {reason}")
    yield made_check(tables[0], reason)
