"""Small drawings as SVG: nothing is loaded, every one has a title that says what it shows, colours come from the page's style, light or dark.

Shapes tell groups apart where colours do not; beside every drawing the page has its numbers as a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

COLOURS = 8
"""Classes ``c0`` to ``c7`` of the page's style."""
LONGEST = 46
"""Characters of a name beside a bar."""
SHAPES = ("circle", "square", "triangle", "diamond")


def heat_map(counts: np.ndarray, rows: Sequence[str], title: str, group: int) -> str:
    """Weekdays by parts of the day: ``counts`` of shape (7, parts), darker is more."""
    most, parts = max(float(counts.max()), 1.0), counts.shape[1]
    wide = 264 / parts
    cells = [
        f'<rect class="{colour(group)}" x="{38 + part * wide:.1f}" y="{day * 13}" width="{wide - 1:.1f}" height="12" '
        f'fill-opacity="{0.08 + 0.92 * counts[day, part] / most:.3f}"/>'
        for day in range(7)
        for part in range(parts)
    ]
    names = [f'<text x="34" y="{day * 13 + 10}" text-anchor="end">{escape(name)}</text>' for day, name in enumerate(rows)]
    hours = [f'<text x="{38 + hour * 11}" y="104">{hour}</text>' for hour in (0, 6, 12, 18)]
    return _svg(306, 108, title, "".join((*cells, *names, *hours)))


def bars(values: Sequence[tuple[str, float, str]], title: str, group: int) -> str:
    """Horizontal bars of (name, length 0..1, text)."""
    parts = []
    for number, (name, length, text) in enumerate(values):
        y = number * 22
        parts.append(
            f'<text x="0" y="{y + 9}">{escape(_fitting(name))}</text><text x="300" y="{y + 9}" text-anchor="end">{escape(text)}</text>'
        )
        parts.append(
            f'<rect class="trough" x="0" y="{y + 12}" width="300" height="6"/>'
            f'<rect class="{colour(group)}" x="0" y="{y + 12}" width="{300 * min(max(length, 0), 1):.1f}" height="6"/>'
        )
    return _svg(300, max(len(values) * 22, 10), title, "".join(parts))


def scatter(places: np.ndarray, groups: np.ndarray, names: Sequence[str], title: str) -> str:
    """Users in the plane, by colour and shape."""
    low, high = places.min(axis=0), places.max(axis=0)
    spots = 10 + (places - low) / np.maximum(high - low, 1e-9) * np.array([620, 340])
    parts = []
    for group in range(len(names)):
        for x, y in spots[groups == group]:
            parts.append(_shape(group, x, 360 - y, 3.0))
    return _svg(640, 364, title, "".join(parts))


def legend_mark(group: int) -> str:
    """The colour and shape of a group, for a legend."""
    return f'<svg class="mark" viewBox="0 0 12 12" aria-hidden="true">{_shape(group, 6, 6, 5)}</svg>'


def lines(steps: Sequence[str], series: Sequence[Sequence[float | None]], title: str, shown: Sequence[str]) -> str:
    """Lines of several groups over the same steps, with both axes.

    Args:
        series: one of each group, None where it was not there.
        shown: the lowest and the highest value, as they are written at the axis.
    """
    known = [value for values in series for value in values if value is not None]
    low, high = min([*known, 0.0]), max([*known, 0.0])
    span = max(high - low, 1e-9)
    across = 520 / max(len(steps) - 1, 1)

    def spot(place: int, value: float) -> tuple[float, float]:
        return 96 + place * across, 12 + 150 * (1 - (value - low) / span)

    parts = ['<line class="axis" x1="96" y1="12" x2="96" y2="162"/><line class="axis" x1="96" y1="162" x2="616" y2="162"/>']
    parts += [f'<text x="90" y="{y}" text-anchor="end">{escape(text)}</text>' for y, text in zip((164, 16), shown, strict=True)]
    every = max(1, -(-len(steps) // 6))
    parts += [
        f'<text x="{96 + place * across:.1f}" y="178" text-anchor="middle">{escape(step)}</text>'
        for place, step in enumerate(steps)
        if place % every == 0
    ]
    for group, values in enumerate(series):
        spots = [spot(place, value) for place, value in enumerate(values) if value is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline class="{colour(group)} trace" points="{path}"/>')
        parts += [_shape(group, x, y, 3.0) for x, y in spots]
    return _svg(640, 184, title, "".join(parts))


def colour(group: int) -> str:
    """The class of a group's colour."""
    return f"c{group % COLOURS}"


def _shape(group: int, x: float, y: float, size: float) -> str:
    shape, name = SHAPES[group % len(SHAPES)], colour(group)
    if shape == "circle":
        return f'<circle class="{name}" cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill-opacity="0.75"/>'
    if shape == "square":
        return f'<rect class="{name}" x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}" fill-opacity="0.75"/>'
    points = [(0, -1), (1, 1), (-1, 1)] if shape == "triangle" else [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)]
    corners = " ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in points)
    return f'<polygon class="{name}" points="{corners}" fill-opacity="0.75"/>'


def _fitting(name: str) -> str:
    """A name that fits beside its figure."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


def _svg(width: int, height: int, title: str, content: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>{content}</svg>'
