"""The tables of the audience below the cards: movement, stages, recency and frequency, cohorts, the funnel. What too few people are in is not told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from persona_pipelines.gallery.audience import FREQUENCIES, RECENCY_DAYS
from persona_pipelines.gallery.content import Gallery
from persona_pipelines.gallery.cube import too_few
from persona_pipelines.gallery.texts import Texts, numeral, of_100, percent


def movement(gallery: Gallery, texts: Texts, names: dict[int, str]) -> dict[str, Any]:
    """Users who stayed, and the moves of at least as many users as a card may show."""
    table = gallery.movement
    if table.empty:
        return {"told": texts("movement_none"), "rows": []}
    shown = {card.name.text: names[card.segment_id] for card in gallery.cards} | {
        "(new)": texts("movement_new"),
        "(gone)": texts("movement_gone"),
    }
    same = table["from_segment"] == table["to_segment"]
    moved = table[~same]
    hidden = pd.Series(too_few(moved["users"].to_numpy(), gallery.minimum), moved.index)
    moves = moved[moved["users"] >= gallery.minimum].sort_values("users", ascending=False)
    told = [texts.count(f"movement_{key}", int(rows["users"].sum())) for key, rows in (("stayed", table[same]), ("moved", moved))]
    return {
        "told": texts("comma").join(told),
        "rows": [
            [
                shown.get(row.from_segment, row.from_segment),
                shown.get(row.to_segment, row.to_segment),
                _hidden(gallery, row.users, texts) if hidden[row.Index] else numeral(row.users),
            ]
            for row in moves.itertuples()
        ],
    }


def panels(gallery: Gallery, texts: Texts, names: dict[int, str]) -> list[dict[str, Any]]:
    """Tables of the audience, those that the log holds something for. Cells of too few people are not told, nor do they follow from others."""
    few = texts("few", minimum=gallery.minimum)

    def told(counts: np.ndarray) -> list[str]:
        """Parts of a whole that is told."""
        hidden = too_few(counts, gallery.minimum)
        return [
            _hidden(gallery, count, texts) if hide else numeral(count) for count, hide in zip(counts.ravel(), hidden.ravel(), strict=True)
        ]

    panels = []
    if len(gallery.stages):
        panels.append(
            {
                "anchor": "stages",
                "title": texts("stages"),
                "note": texts("stages_note" if "loyal" in gallery.stages.columns else "stages_note_without_loyal"),
                "header": [(texts("segment"), ""), *((texts(f"stage_{name.replace(' ', '_')}"), "") for name in gallery.stages.columns)],
                "rows": [
                    [names.get(int(segment), texts("unplaced")), *told(row.to_numpy())]
                    for segment, row in sorted(gallery.stages.iterrows(), key=lambda entry: (int(entry[0]) not in names, entry[0]))
                ],
            }
        )
    if len(gallery.grid):
        columns = [0, *RECENCY_DAYS]
        panels.append(
            {
                "anchor": "grid",
                "title": texts("grid"),
                "note": texts("grid_note"),
                "header": [(texts("grid_rows"), ""), *((_column(place, columns, texts), "") for place in range(len(columns)))],
                "rows": [[_row(place, texts), *row] for place, row in enumerate(_lines(told(gallery.grid.to_numpy()), len(columns)))],
            }
        )
    if len(gallery.cohorts):
        buying = gallery.log.people == "customers" and not gallery.log.visits
        rows = []
        for (month, row), size in zip(gallery.cohorts.iterrows(), told(gallery.cohorts.iloc[:, 0].to_numpy()), strict=True):
            people = float(row.iloc[0])
            cells = ["" if pd.isna(count) else of_100(count / people) if people >= gallery.minimum else few for count in row]
            if people:
                rows.append([month, size, *cells])
        if rows:
            panels.append(
                {
                    "anchor": "cohorts",
                    "title": texts("cohorts"),
                    "note": texts("cohorts_purchases" if buying else "cohorts_acts"),
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
        panels.append(
            {
                "anchor": "funnel",
                "title": texts("funnel"),
                "note": texts("funnel_note"),
                "header": [(texts("funnel_steps"), ""), (texts("user"), ""), (texts("share"), "")],
                "rows": [
                    [texts(f"step_{name}"), few if 0 < count < gallery.minimum else numeral(count), percent(count / most)]
                    for name, count in gallery.funnel
                ],
            }
        )
    return panels


def _hidden(gallery: Gallery, count: float, texts: Texts) -> str:
    """A number of people that is not told: its size, so that from the whole and it no more follows than a range of as many as may not be told."""
    if count < gallery.minimum:
        return texts("few", minimum=gallery.minimum)
    return texts("about", n=numeral(gallery.minimum * round(count / gallery.minimum)))


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
