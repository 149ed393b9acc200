"""The picture of the tables, drawn from the contracts: which columns join them, and where the values of a column have to stand."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.contracts.parts import Table

COLOURS = {"user_id": "#2f6690", "item_id": "#3a7d44", "segment_id": "#b23a48", "session_id": "#8d6a9f", "event_id": "#8a6414"}
"""The columns by which tables are joined, with the colour of each."""
WIDTH, GAP, MARGIN = 240, 44, 24
"""Of a box, between two schemas, and around all, in pixels."""
BARE, JOINED = 30, 52
"""Height of a table without and with columns to join by."""
TOP = 96


@dataclass(frozen=True)
class _Box:
    table: Table
    left: int
    top: int

    @property
    def joins(self) -> list[str]:
        return [name for name in COLOURS if name in self.table.column_names]

    @property
    def height(self) -> int:
        return JOINED if self.joins else BARE

    @property
    def middle(self) -> int:
        return self.top + self.height // 2


def tables_picture() -> str:
    """An SVG with a column of boxes a schema; a filled pill is a part of the table's key, a line a reference that a check holds."""
    boxes = _placed()
    right = max(box.left for box in boxes) + WIDTH + MARGIN
    bottom = max(box.top + box.height for box in boxes) + MARGIN
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {right} {bottom}" width="{right}" height="{bottom}" '
        'font-family="system-ui, Helvetica, Arial, sans-serif" font-size="13" role="img">',
        "<title>The tables by schema, and the columns that join them</title>",
        f'<rect width="{right}" height="{bottom}" fill="#ffffff"/>',
        f'<text x="{MARGIN}" y="32" font-size="14" fill="#222222">Tables that have a pill of the same colour join by it. '
        "Filled: part of the key. Line: every value stands in the table on its left.</text>",
    ]
    drawn += _references(boxes)
    schema = ""
    for box in boxes:
        if box.table.schema != schema:
            schema = box.table.schema
            drawn.append(f'<text x="{box.left}" y="{box.top - 14}" font-size="16" font-weight="600" fill="#222222">{escape(schema)}</text>')
        drawn += _box(box)
    return "\n".join([*drawn, "</svg>"]) + "\n"


def _placed() -> list[_Box]:
    """Every table at its place: a column a schema, what the package keeps for itself below the logs."""
    by_schema: dict[str, list[Table]] = {"logs": [contracts.raw_events("<source>")]}
    for table in contracts.TABLES:
        by_schema.setdefault(table.schema, []).append(table)
    boxes: list[_Box] = []
    columns = [schema for schema in by_schema if schema != "home"]
    for number, schema in enumerate(columns):
        top = TOP
        for table in by_schema[schema]:
            boxes.append(_Box(table, MARGIN + number * (WIDTH + GAP), top))
            top += boxes[-1].height + 10
        if schema == columns[0]:
            top += 40
            for table in by_schema.get("home", []):
                boxes.append(_Box(table, MARGIN, top))
                top += boxes[-1].height + 10
    return boxes


def _references(boxes: list[_Box]) -> list[str]:
    by_name = {(box.table.schema, box.table.name): box for box in boxes}
    drawn = []
    for box in boxes:
        for column, (schema, name, key) in box.table.references.items():
            target = by_name[schema, name]
            start, end = box.left, target.left + WIDTH
            bend = max(GAP, (start - end) // 2)
            drawn.append(
                f'<path d="M{start} {box.middle} C{start - bend} {box.middle} {end + bend} {target.middle} {end} {target.middle}" '
                f'fill="none" stroke="{COLOURS[key]}" stroke-width="1.4" stroke-opacity="0.65">'
                f"<title>{escape(f'{box.table.full_name}.{column} stands in {schema}.{name}.{key}')}</title></path>"
            )
    return drawn


def _box(box: _Box) -> list[str]:
    drawn = [
        f'<rect x="{box.left}" y="{box.top}" width="{WIDTH}" height="{box.height}" rx="6" fill="#f6f7f9" stroke="#9aa3ad"/>',
        f'<text x="{box.left + 10}" y="{box.top + 20}" fill="#222222">{escape(box.table.name)}</text>',
    ]
    left = box.left + 10
    for name in box.joins:
        width = 7 * len(name) + 4
        colour, key = COLOURS[name], name in box.table.key
        drawn.append(
            f'<rect x="{left}" y="{box.top + 28}" width="{width - 4}" height="17" rx="8" '
            f'fill="{colour if key else "#ffffff"}" stroke="{colour}"/>'
            f'<text x="{left + width / 2 - 2:g}" y="{box.top + 40}" font-size="10" text-anchor="middle" '
            f'fill="{"#ffffff" if key else colour}">{name}</text>'
        )
        left += width
    return drawn
