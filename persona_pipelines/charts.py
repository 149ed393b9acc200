"""Figures for asset pages and MLflow. Tables in, matplotlib figures out; no global state, so that threads can draw."""

from __future__ import annotations

import io
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

COLOURS = ["#2f6690", "#d1495b", "#edae49", "#66a182", "#8d6a9f", "#3a7d44", "#bc6c25", "#5f6c7b"]

COLOURS_OF_A_PICTURE = 64
_DRAWN: WeakKeyDictionary[Figure, bytes] = WeakKeyDictionary()


def drawn(figure: Figure) -> bytes:
    """A figure as PNG. It is drawn once: the same one is shown on an asset's page and in MLflow, and drawing takes longer than the rest.

    A palette does for what is drawn here and takes a third of the room; Dagster keeps each picture for ever, and twice.
    """
    if figure not in _DRAWN:
        buffer, small = io.BytesIO(), io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
        picture = Image.open(buffer).convert("RGB")
        picture.quantize(COLOURS_OF_A_PICTURE, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(small, format="PNG")
        _DRAWN[figure] = small.getvalue()
    return _DRAWN[figure]


def _axes(title: str, width: float = 8, height: float = 3) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


PERIODS = ((120, "day", "D"), (840, "week", "W-SUN"), (3700, "month", "M"), (11_000, "quarter", "Q"))
"""The longest span in days that is drawn by each period; what is longer, by year."""


def records_per_period(accounting: pd.DataFrame) -> Figure:
    """Stacked bars from ``contracts.ACCOUNTING`` summed over sources: where the records of each day went, or of longer periods in a long history."""
    days = pd.DatetimeIndex(pd.to_datetime(accounting["day"]))
    span = (days.max() - days.min()).days if len(days) else 0
    name, frequency = next(((name, frequency) for longest, name, frequency in PERIODS if span <= longest), ("year", "Y"))
    figure, axes = _axes(f"Records per {name}")
    periods = accounting.groupby(days.to_period(frequency))[["events", "filtered", "duplicates", "rejects"]].sum().sort_index()
    bottom = np.zeros(len(periods))
    index = pd.PeriodIndex(periods.index)
    width = (index.end_time - index.start_time) / pd.Timedelta(days=1)
    for column, colour in zip(periods.columns, COLOURS, strict=False):
        axes.bar(index.start_time, periods[column], bottom=bottom, label=column, color=colour, width=width, align="edge")
        bottom = bottom + periods[column].to_numpy()
    # A place of its own: looking for the best one among many bars takes seconds.
    axes.legend(fontsize=8, frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    axes.tick_params(labelsize=8)
    figure.autofmt_xdate(rotation=30)
    return figure


def distributions(frame: pd.DataFrame, columns: list[str], title: str) -> Figure:
    """A small histogram for each column; values beyond the 1st and 99th percentile are drawn at these."""
    shown = [name for name in columns if pd.to_numeric(frame[name], errors="coerce").nunique() > 1]
    rows = max(1, -(-len(shown) // 4))
    height = 1.7 * rows
    # Margins by hand: the layout engine takes seconds for fifty small axes.
    figure = Figure(figsize=(9, height))
    figure.subplots_adjust(left=0.05, right=0.98, bottom=0.3 / height, top=1 - 0.6 / height, hspace=0.55, wspace=0.25)
    figure.suptitle(title, fontsize=10, y=1 - 0.15 / height)
    for number, name in enumerate(shown):
        axes = figure.add_subplot(rows, 4, number + 1)
        values = pd.to_numeric(frame[name], errors="coerce").dropna()
        counts, edges = np.histogram(values.clip(*values.quantile([0.01, 0.99])), bins=30)
        axes.stairs(counts, edges, fill=True, color=COLOURS[0])
        axes.locator_params(nbins=4)
        axes.set_title(name, fontsize=8)
        axes.tick_params(labelsize=6)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def segment_map(places: np.ndarray, labels: np.ndarray, title: str) -> Figure:
    """Users at places in the plane, shape (users, 2), coloured by the name of their segment."""
    figure, axes = _axes(title, 7, 4.5)
    for number, name in enumerate(dict.fromkeys(sorted(labels))):
        members = labels == name
        axes.scatter(
            places[members][:3000, 0],
            places[members][:3000, 1],
            s=6,
            alpha=0.5,
            color=COLOURS[number % len(COLOURS)],
            label=f"{name} ({members.sum():,})",
        )
    axes.legend(fontsize=7, frameon=False, markerscale=2, loc="upper left", bbox_to_anchor=(1, 1))
    axes.tick_params(labelsize=7)
    return figure


def segment_quality(quality: pd.DataFrame) -> Figure:
    """Silhouette by number of segments for each algorithm, the chosen one marked."""
    figure, axes = _axes("Silhouette by number of segments", 7, 3.2)
    for number, (name, rows) in enumerate(quality.groupby("algorithm", sort=True)):
        rows = rows.sort_values("k")
        axes.plot(
            rows["k"], rows["silhouette"], marker="o", markersize=4, label=str(name).replace("_", " "), color=COLOURS[number % len(COLOURS)]
        )
    chosen = quality[quality["chosen"]]
    axes.scatter(chosen["k"], chosen["silhouette"], s=130, facecolors="none", edgecolors="black", linewidths=1.5, label="chosen", zorder=4)
    axes.set_xlabel("segments", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.tick_params(labelsize=8)
    return figure


def probabilities(predicted: np.ndarray, happened: np.ndarray, title: str) -> Figure:
    """How good probabilities are, in four pictures of one figure.

    Calibration: the true share against the mean predicted one, in ten groups of the same size; on the line is right. Lift: the share of all who
    did it that is found among the users with the highest probability. ROC: at every threshold the share of the doers that is found against the
    share of the others that is taken for doers. Precision and recall: at every threshold the share of doers among those above it against the
    share of all doers that is found; the line is everybody's share.
    """
    figure = Figure(figsize=(8, 7.2))
    # Margins by hand: the layout engine takes as long as the drawing.
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.07, top=0.9, hspace=0.32, wspace=0.22)
    figure.suptitle(title, fontsize=10, x=0.08, ha="left")
    true, false = _found(predicted, happened)
    found, taken = true / max(true[-1], 1), false / max(false[-1], 1)
    groups = [rows for rows in np.array_split(np.argsort(predicted, kind="stable"), 10) if len(rows)]
    panels = (
        ("calibration", "predicted", "true", [predicted[rows].mean() for rows in groups], [happened[rows].mean() for rows in groups]),
        ("lift", "share of users", "share found", (true + false) / max(true[-1] + false[-1], 1), found),
        ("ROC", "share of the others", "share found", taken, found),
        ("precision and recall", "share found", "precision", found[1:], true[1:] / (true[1:] + false[1:])),
    )
    for number, (name, across, up, x, y) in enumerate(panels, start=1):
        axes = figure.add_subplot(2, 2, number)
        share = float(happened.mean())
        axes.plot([0, 1], [share, share] if up == "precision" else [0, 1], color="#999999", linewidth=1)
        axes.plot(
            x, y, color=COLOURS[0], marker="o" if name == "calibration" else "", drawstyle="steps-pre" if up == "precision" else "default"
        )
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_title(name, loc="left", fontsize=9)
        axes.set_xlabel(across, fontsize=8)
        axes.set_ylabel(up, fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _found(predicted: np.ndarray, happened: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Doers and others at or above each threshold, highest first, from none on; users of whom the same is said are never told apart."""
    order = np.argsort(-predicted, kind="stable")
    last = np.append(np.flatnonzero(np.diff(predicted[order])), len(order) - 1)
    true = np.cumsum(happened[order].astype(float))[last]
    return np.append(0.0, true), np.append(0.0, last + 1 - true)


def model_intervals(comparison: pd.DataFrame) -> Figure:
    """nDCG of each model for known users with its confidence interval, best on top, the champion marked."""
    warm = comparison[(comparison["case"] == "warm") & (comparison["segment"] == "all")].sort_values("ndcg_at_k", kind="stable")
    figure, axes = _axes("nDCG on what known users did after the cut, with 95 % intervals", 8, 0.9 + 0.26 * max(len(warm), 1))
    places = np.arange(len(warm))
    mean = warm["ndcg_at_k"].to_numpy(dtype=float)
    reach = np.abs(warm[["ndcg_low", "ndcg_high"]].to_numpy(dtype=float).T - mean)
    colours = [COLOURS[1] if champion else COLOURS[0] for champion in warm["champion"]]
    axes.errorbar(mean, places, xerr=reach, fmt="none", ecolor="#999999", elinewidth=1, capsize=2)
    axes.scatter(mean, places, c=colours, zorder=3)
    names = [f"{name} (champion)" if champion else name for name, champion in zip(warm["model"], warm["champion"], strict=True)]
    axes.set_yticks(places, names, fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlim(left=0)
    return figure


def bars(counts: pd.Series, title: str) -> Figure:
    """Horizontal bars of named counts, largest on top."""
    ordered = counts.sort_values()
    figure, axes = _axes(title, 7, 0.8 + 0.28 * max(len(ordered), 1))
    drawn = axes.barh([str(name)[:50] for name in ordered.index], ordered.to_numpy(), color=COLOURS[0])
    axes.bar_label(drawn, fmt="{:,.0f}", fontsize=7, padding=2)
    axes.tick_params(labelsize=8)
    return figure
