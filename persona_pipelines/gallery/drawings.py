"""Small drawings as SVG: nothing is loaded, every one has a title that says what it shows, and they print in grey too."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

COLOURS = ("#1b5e8c", "#b3541e", "#2e7d4f", "#7b3f8c", "#8a6d00", "#a02c4a", "#00707a", "#555555")
"""Each with a contrast of at least 4.5 to white."""
SHAPES = ("circle", "square", "triangle", "diamond")


def heat_map(counts: np.ndarray, rows: Sequence[str], title: str, colour: str) -> str:
    """Weekdays by hours: ``counts`` of shape (7, 24), darker is more."""
    most = max(float(counts.max()), 1.0)
    cells = [
        f'<rect x="{38 + hour * 11}" y="{day * 13}" width="10" height="12" fill="{colour}" fill-opacity="{0.06 + 0.94 * counts[day, hour] / most:.3f}"/>'
        for day in range(7)
        for hour in range(24)
    ]
    names = [f'<text x="34" y="{day * 13 + 10}" text-anchor="end">{escape(name)}</text>' for day, name in enumerate(rows)]
    hours = [f'<text x="{38 + hour * 11}" y="104">{hour}</text>' for hour in (0, 6, 12, 18, 23)]
    return _svg(306, 108, title, "".join((*cells, *names, *hours)))


def bars(values: Sequence[tuple[str, float, str]], title: str, colour: str) -> str:
    """Horizontal bars of (name, length 0..1, text)."""
    parts = []
    for number, (name, length, text) in enumerate(values):
        y = number * 22
        parts.append(f'<text x="0" y="{y + 9}">{escape(name[:34])}</text><text x="300" y="{y + 9}" text-anchor="end">{escape(text)}</text>')
        parts.append(
            f'<rect x="0" y="{y + 12}" width="300" height="6" fill="#e8e8e8"/><rect x="0" y="{y + 12}" width="{300 * min(max(length, 0), 1):.1f}" height="6" fill="{colour}"/>'
        )
    return _svg(300, max(len(values) * 22, 10), title, "".join(parts))


def deviations(values: Sequence[tuple[str, float]], title: str, colour: str) -> str:
    """Bars left and right of the average, in standard deviations up to 3."""
    parts = [f'<line x1="150" y1="0" x2="150" y2="{len(values) * 24}" stroke="#888"/>']
    for number, (name, deviation) in enumerate(values):
        width, y = min(abs(deviation), 3) / 3 * 145, number * 24
        x = 150 if deviation >= 0 else 150 - width
        anchor, at = ("end", 146) if deviation >= 0 else ("start", 154)
        parts.append(
            f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="14" fill="{colour}"/><text x="{at}" y="{y + 14}" text-anchor="{anchor}">{escape(name)}</text>'
        )
    return _svg(300, max(len(values) * 24, 10), title, "".join(parts))


def scatter(places: np.ndarray, groups: np.ndarray, names: Sequence[str], title: str) -> str:
    """Users in the plane, by colour and shape."""
    low, high = places.min(axis=0), places.max(axis=0)
    spots = 10 + (places - low) / np.maximum(high - low, 1e-9) * np.array([620, 340])
    parts = []
    for group in range(len(names)):
        for x, y in spots[groups == group]:
            parts.append(_shape(SHAPES[group % 4], x, 360 - y, COLOURS[group % len(COLOURS)], 3.0))
    return _svg(640, 364, title, "".join(parts))


def legend_mark(number: int) -> str:
    """The colour and shape of a group, for a legend."""
    return f'<svg class="mark" viewBox="0 0 12 12" aria-hidden="true">{_shape(SHAPES[number % 4], 6, 6, COLOURS[number % len(COLOURS)], 5)}</svg>'


def line(values: Sequence[float], title: str, colour: str) -> str:
    """A small line of a number over time."""
    most = max([*values, 1.0])
    step = 120 / max(len(values) - 1, 1)
    path = " ".join(f"{number * step:.1f},{30 - 26 * value / most:.1f}" for number, value in enumerate(values))
    return _svg(124, 34, title, f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')


def _shape(shape: str, x: float, y: float, colour: str, size: float) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="{colour}" fill-opacity="0.7"/>'
    if shape == "square":
        return f'<rect x="{x - size:.1f}" y="{y - size:.1f}" width="{2 * size}" height="{2 * size}" fill="{colour}" fill-opacity="0.7"/>'
    points = [(0, -1), (1, 1), (-1, 1)] if shape == "triangle" else [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)]
    return f'<polygon points="{" ".join(f"{x + dx * size:.1f},{y + dy * size:.1f}" for dx, dy in points)}" fill="{colour}" fill-opacity="0.7"/>'


def _svg(width: int, height: int, title: str, content: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>{content}</svg>'
