"""From judged predictions to registered models: what goes to MLflow of each target, and with which version its users are scored."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from persona_pipelines import charts
from persona_pipelines.profiles import STAGE
from persona_pipelines.profiles.forecasting import LIFETIME, SPEND, Forecast
from persona_pipelines.profiles.predictions import Judged, Question
from persona_pipelines.profiles.scoring import PredictionModel
from persona_pipelines.settings import Settings
from persona_pipelines.tracking import registry
from persona_pipelines.tracking.experiments import Origin, TrackedRun, fingerprint, tracked_run
from persona_pipelines.tracking.notes import listed, table
from persona_pipelines.tracking.registry import stage_of_target
from persona_pipelines.warehouse import contracts

if TYPE_CHECKING:
    from persona_pipelines.tracking.experiments import Inputs

FIGURES = ("users", *(column.name for column in contracts.PREDICTION_QUALITY.columns if column.type == "float64"))
SHOWN = ("auc", "calibration_error", "lift", "spearman")
QUARTILES = (0.25, 0.5, 0.75)
LEAKAGE = "features end with the day before each window, and the newest window teaches no model that it judges"


def figures_of(found: Forecast) -> dict[str, Figure]:
    """Pictures of the chosen models of probabilities by target, in the window that judged them."""
    return {
        target: charts.probabilities(*judged.held, f"{target}: {judged.chosen} on the window that judges, {len(judged.held[0]):,} users")
        for target, judged in found.judged.items()
        if target not in (SPEND, LIFETIME)
    }


def registered(settings: Settings, found: Forecast, origin: Origin, figures: Mapping[str, Figure]) -> tuple[Forecast, str | None]:
    """Log a run for the day with one run below it a target and model, register the chosen models, and score today's users with what was stored.

    Returns:
        The forecast as the stored models give it, with their versions; and the address of the run, None where nothing could be predicted.
    """
    if not found.judged:
        return found, None
    day = f"{found.as_of:%Y-%m-%d}"
    versions: dict[str, str] = {}
    scored = dict(found.judged)
    with tracked_run(settings, STAGE, f"predictions {day}", origin) as run:
        run.parameters(settings.predictions.model_dump())
        quality, drivers = found.quality(), found.drivers()
        run.metrics(figures_of_the_day(quality))
        run.note(note_of_the_day(found, quality, day))
        inputs = _inputs(run, found)
        for target, figure in figures.items():
            run.picture(charts.drawn(figure), f"{target}.png")
        run.table(quality, "quality.csv")
        run.table(drivers, "drivers.csv")
        for row in quality.to_dict("records"):
            target, judged = row["target"], found.judged[row["target"]]
            with run.part(f"{target} {row['model']} {day}", inputs[target]) as child:
                child.parameters({"target": target, "model": row["model"], "window_days": row["window_days"]})
                child.metrics({name: row[name] for name in FIGURES if row[name] is not None})
                child.series(judged.curves.get(row["model"], {}))
                child.tags({"chosen": str(row["chosen"]).lower(), "decision.reason": row["reason"]})
                child.note(note_of_a_model(row, found.questions[target]))
                if row["chosen"]:
                    if target in figures:
                        child.picture(charts.drawn(figures[target]), f"{target}.png")
                    if judged.model is not None:
                        versions[target], scored[target] = _stored(child, settings, judged, row, found.questions[target], day)
        url = run.url
    return replace(found, judged=scored, versions=versions), url


def _stored(
    run: TrackedRun, settings: Settings, judged: Judged, row: Mapping[str, Any], question: Question, day: str
) -> tuple[str, Judged]:
    """Register the chosen model; its version, and the users of today as scored by what was stored."""
    assert judged.model is not None
    stage = stage_of_target(row["target"])
    example = _nobody(judged.scored, judged.model)
    tags = {"target": row["target"], "model": row["model"], "decision": "in use", "decision.reason": row["reason"], "as_of": day}
    tags |= {name: f"{row[name]:.6f}" for name in SHOWN if row[name] is not None}
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "model"
        judged.model.save(folder)
        answer = pd.DataFrame({"prediction": judged.model.score(example)})
        note = f"{note_of_a_model(row, question)}\n\nAs registered it has learned from the newest window too, and scored the users as of {day}."
        version = run.register(folder, "persona_pipelines.profiles.scoring", example, answer, note, tags, stage, keep_example=False).version
    model = PredictionModel.load(registry.model(settings, stage, version).folder)
    return version, replace(judged, model=model, prediction=model.score(judged.scored))


def _nobody(features: pd.DataFrame, model: PredictionModel) -> pd.DataFrame:
    """What the model looks at, of three who are nobody: the quartiles of each column."""
    numbers = {name: features[name].to_numpy(dtype=float, na_value=np.nan) for name in model.columns}
    known = {name: values[np.isfinite(values)] for name, values in numbers.items()}
    return pd.DataFrame({name: np.quantile(values, QUARTILES) if len(values) else np.full(3, np.nan) for name, values in known.items()})


def _inputs(run: TrackedRun, found: Forecast) -> dict[str, Inputs]:
    """What the models of each target learned from and were judged on, logged once for all targets that share it."""
    inputs: dict[str, Inputs] = {}
    known: dict[tuple[int, ...], Inputs] = {}
    for target in found.judged:
        windows = found.questions[target].windows
        own = tuple(id(window) for window in windows)
        if own not in known:
            frame = pd.concat([window.features for window in windows], ignore_index=True)
            digest = fingerprint(frame.drop(columns=[name for name in ("user_id", "user_number") if name in frame]))
            days = frame["as_of_date"]
            known[own] = run.data(
                f"user_features of {len(windows)} windows", frame, digest, f"{days.min():%Y-%m-%d}", f"{days.max():%Y-%m-%d}"
            )
        inputs[target] = known[own]
    return inputs


def figures_of_the_day(quality: pd.DataFrame) -> dict[str, float]:
    """Metrics of the chosen model of each target, the same names every day. ``quality``: ``contracts.PREDICTION_QUALITY``."""
    return {
        f"{row['target'].replace(' ', '_')}_{name}": float(row[name])
        for row in quality[quality["chosen"].astype(bool)].to_dict("records")
        for name in FIGURES
        if row[name] is not None
    }


def note_of_the_day(found: Forecast, quality: pd.DataFrame, day: str) -> str:
    """The description of the run of a day."""
    chosen = quality[quality["chosen"].astype(bool)]
    shown = chosen.assign(model=[f"**{name}**" for name in chosen["model"]])[["target", "model", "users", *SHOWN, "reason"]]
    missing = listed(found.missing)
    first = [
        f"{row['target']} by **{row['model']}** ({', '.join(f'{name} {row[name]:.3f}' for name in ('auc', 'spearman') if row[name] is not None)})"
        for row in chosen.to_dict("records")
    ]
    return "\n\n".join(
        part
        for part in (
            f"Predictions for {len(found.today):,} users as of {day}: {', '.join(first)}.",
            table(shown),
            listed({"Leakage": LEAKAGE}),
            f"Not predicted:\n\n{missing}" if missing else "",
        )
        if part
    )


def note_of_a_model(row: Mapping[str, Any], question: Question) -> str:
    """The description of the run and of the version of one model. ``row``: of ``contracts.PREDICTION_QUALITY``."""
    days = (
        f"{row['window_days']:.0f} days from {row['window_start']:%Y-%m-%d} on" if question.begin else "users whose attribute was kept back"
    )
    windows = [len(window.features) for window in question.windows]
    figures = {name: row[name] for name in FIGURES if row[name] is not None}
    return "\n\n".join(
        [
            f"**{row['model']}** for {row['target']}: {row['definition']}. {'In use' if row['chosen'] else 'Not in use'}: {row['reason']}.",
            listed(
                {
                    "Learned from": f"{sum(windows[:-1]):,} rows of user_features in {len(windows) - 1} windows before" if windows else "",
                    "Judged": f"on {days}, {row['users']:,} users",
                    "Figures": ", ".join(
                        f"{name} {value:.4f}" if name != "users" else f"{value:,} users" for name, value in figures.items()
                    ),
                    "Leakage": LEAKAGE,
                }
            ),
        ]
    )
