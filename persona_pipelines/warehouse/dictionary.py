"""The data dictionary, made from the contracts."""

from __future__ import annotations

from persona_pipelines.vocabulary import EVENT_TYPES
from persona_pipelines.warehouse import contracts


def _references(table: contracts.Table) -> str:
    found = [f"`{name}` stands in `{'.'.join(target)}`" for name, target in table.references.items()]
    return f" {', '.join(found)}." if found else ""


def data_dictionary() -> str:
    """Markdown: every table with its columns, and the event types with their weights."""
    lines = [
        "# Data dictionary",
        "",
        "Made from the contracts in `persona_pipelines/warehouse/contracts/` by `make dictionary`; a test checks that it is current.",
        "Columns marked *personal* never appear in previews.",
    ]
    example = contracts.raw_events("<source>"), contracts.raw_listing("<source>", "items"), contracts.raw_listing("<source>", "users")
    room = ""
    for table in (*example, *contracts.TABLES):
        if table.schema != room:
            room = table.schema
            lines += ["", f"## {room}", "", str(contracts.ROOMS[room].__doc__)]
        lines += [
            "",
            f"### {table.full_name}",
            "",
            table.description,
            f"Key: {', '.join(f'`{name}`' for name in table.key)}.{_references(table)}",
            "",
        ]
        lines += ["| column | type | unit | null | bounds | meaning |", "| --- | --- | --- | --- | --- | --- |"]
        for column in table.columns:
            bounds = " to ".join("" if bound is None else f"{bound:g}" for bound in (column.minimum, column.maximum)).strip()
            bounds = {"to": ""}.get(bounds, bounds)
            meaning = column.description + (" *personal*" if column.personal else "")
            meaning = meaning.replace("|", "\\|").replace("<", "&lt;")
            lines.append(
                f"| `{column.name}` | {column.type} | {column.unit} | {'no' if column.required else 'yes'} | {bounds} | {meaning} |"
            )
    lines += ["", "## Event types", "", "A type of one's own is declared under `event_types` in the configuration.", ""]
    lines += ["| event type | weight | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {kind.weight:g} | {kind.description} |" for name, kind in EVENT_TYPES.items()]
    return "\n".join(lines) + "\n"
