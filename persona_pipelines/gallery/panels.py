"""The tables of the audience below the cards: movement, stages, recency and frequency, cohorts, the funnel. What too few people are in is not told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from persona_pipelines.gallery.audience import FREQUENCIES, RECENCY_DAYS
from persona_pipelines.gallery.content import Gallery
from persona_pipelines.gallery.texts import Texts, numeral, of_100, percent
from persona_pipelines.segments.model import UNPLACED


def movement(gallery: Gallery, texts: Texts, names: dict[int, str]) -> dict[str, Any]:
    """Users who stayed, moved, came and went, and the moves of at least as many users as a card may show."""
    table = gallery.movement
    if table.empty:
        return {"told": texts("movement_none"), "rows": [], "note": ""}
    came, gone = table["from_segment"] == "(new)", table["to_segment"] == "(gone)"
    same = table["from_segment"] == table["to_segment"]
    shown = {card.name.text: names[card.segment_id] for card in gallery.cards} | {
        UNPLACED[1]: texts("unplaced"),
        "(new)": texts("movement_new"),
        "(gone)": texts("movement_gone"),
    }
    told, few = [], texts("few", minimum=gallery.minimum)
    for key, rows in (("stayed", same), ("moved", ~same & ~came & ~gone), ("came", came), ("went", gone)):
        if users := int(table["users"][rows].sum()):
            told.append(texts.count(f"movement_{key}", users, few if users < gallery.minimum else None))
    moved = table[~same]
    cells, note = _told(gallery, moved["users"].to_numpy(), texts)
    rows = [
        [shown.get(row.from_segment, row.from_segment), shown.get(row.to_segment, row.to_segment), cell]
        for row, cell in sorted(zip(moved.itertuples(), cells, strict=True), key=lambda pair: -pair[0].users)
        if row.users >= gallery.minimum
    ]
    return {"told": texts("comma").join(told), "rows": rows, "note": note}


def _told(gallery: Gallery, counts: np.ndarray, texts: Texts) -> tuple[list[str], str]:
    """Numbers of people of one table, in one line, and what is to be said of them.

    Those of too few people are not told. Where there are any the others are rounded: neither from their sum, nor from another table, does it
    follow then how many too few are.
    """
    flat = counts.ravel()
    hidden = (flat > 0) & (flat < gallery.minimum)
    if not hidden.any():
        return [numeral(count) for count in flat], ""
    step = max(1, gallery.minimum // 2)
    few = texts("few", minimum=gallery.minimum)
    return [few if hide else numeral(step * round(count / step)) for count, hide in zip(flat, hidden, strict=True)], texts(
        "rounded", step=step
    )


def panels(gallery: Gallery, texts: Texts, names: dict[int, str]) -> list[dict[str, Any]]:
    """Tables of the audience, those that the log holds something for, and that tell people apart."""
    few = texts("few", minimum=gallery.minimum)
    panels = []
    if len(gallery.stages.columns) > 1:
        cells, note = _told(gallery, gallery.stages.to_numpy(), texts)
        by_segment = dict(zip(gallery.stages.index, _lines(cells, len(gallery.stages.columns)), strict=True))
        panels.append(
            {
                "anchor": "stages",
                "title": texts("stages"),
                "note": texts("stages_note" if "loyal" in gallery.stages.columns else "stages_note_without_loyal") + note,
                "header": [(texts("segment"), ""), *((texts(f"stage_{name.replace(' ', '_')}"), "") for name in gallery.stages.columns)],
                "rows": [
                    [names.get(int(segment), texts("unplaced")), *row]
                    for segment, row in sorted(by_segment.items(), key=lambda entry: (int(entry[0]) not in names, entry[0]))
                ],
            }
        )
    if len(gallery.grid):
        columns = [0, *RECENCY_DAYS]
        cells, note = _told(gallery, gallery.grid.to_numpy(), texts)
        panels.append(
            {
                "anchor": "grid",
                "title": texts("grid"),
                "note": texts("grid_note") + note,
                "header": [(texts("grid_rows"), ""), *((_column(place, columns, texts), "") for place in range(len(columns)))],
                "rows": [[_row(place, texts), *row] for place, row in enumerate(_lines(cells, len(columns)))],
            }
        )
    if len(gallery.cohorts.columns) > 1:
        buying = gallery.log.people == "customers" and not gallery.log.visits
        sizes, note = _told(gallery, gallery.cohorts.iloc[:, 0].to_numpy(), texts)
        rows = []
        for (month, row), size in zip(gallery.cohorts.iterrows(), sizes, strict=True):
            people = float(row.iloc[0])
            # Neither of few who did it nor of few who did not.
            cells = [
                ""
                if pd.isna(count)
                else few
                if people < gallery.minimum or 0 < count < gallery.minimum or 0 < people - count < gallery.minimum
                else of_100(count / people)
                for count in row
            ]
            if people:
                rows.append([month, size, *cells])
        if rows:
            panels.append(
                {
                    "anchor": "cohorts",
                    "title": texts("cohorts"),
                    "note": texts("cohorts_purchases" if buying else "cohorts_acts") + note,
                    "header": [
                        (texts("cohorts_first"), ""),
                        (texts("cohorts_size"), ""),
                        *((texts("cohorts_month", n=number), "") for number in range(len(gallery.cohorts.columns))),
                    ],
                    "rows": rows,
                }
            )
    if gallery.funnel:
        most = gallery.funnel[0][1]
        cells, note = _told(gallery, np.array([count for _, count in gallery.funnel]), texts)
        panels.append(
            {
                "anchor": "funnel",
                "title": texts("funnel"),
                "note": texts("funnel_note") + note,
                "header": [(texts("funnel_steps"), ""), (texts("user"), ""), (texts("share"), "")],
                "rows": [
                    [texts(f"step_{name}"), cell, few if cell == few else percent(count / most)]
                    for (name, count), cell in zip(gallery.funnel, cells, strict=True)
                ],
            }
        )
    return panels


def _lines(cells: Sequence[str], columns: int) -> list[Sequence[str]]:
    return [cells[place : place + columns] for place in range(0, len(cells), columns)]


def _column(place: int, columns: Sequence[int], texts: Texts) -> str:
    if place == len(columns) - 1:
        return texts("grid_column_open", n=columns[place])
    return texts("grid_column", n=columns[place], m=columns[place + 1] - 1)


def _row(place: int, texts: Texts) -> str:
    low = FREQUENCIES[place]
    if place == len(FREQUENCIES) - 1:
        return texts("grid_row_open", n=low)
    high = FREQUENCIES[place + 1] - 1
    return texts.count("grid_row", low) if high == low else texts("grid_row_range", n=low, m=high)
