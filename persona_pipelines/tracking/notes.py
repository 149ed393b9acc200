"""What MLflow's pages say of experiments and registered models, in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from persona_pipelines.settings import Settings
from persona_pipelines.tracking.pages import ALL, NEWEST, of_figures

EXPERIMENTS = {
    "segments": (
        "Trainings of the segments. Each run without a parent is one training: the figures of the segmentation that is in use, the maps of its users, "
        "and the model that was registered. Below it stands one run for each algorithm and number of segments that was tried.\n\n"
        "**Judged by** the silhouette, Davies-Bouldin and Calinski-Harabasz indices on the users it was learned from, and by `stability`: the mean adjusted "
        "Rand index with refits on bootstrap samples. `chosen` tells which one is in use, `decision` why."
    ),
    "profiles": (
        "Predictions of what users will do. Each run without a parent is one day: the figures of the model in use of each target (`purchase_auc`, "
        "`churn_calibration_error`, `spend_spearman` ...) with its pictures. Below it stands one run for each target and model.\n\n"
        "**Judged on** the newest window, learned from windows before it; the window between them chooses. A model takes the place of the one in "
        "use only when it is ahead beyond doubt."
    ),
    "recommendations": (
        "Comparisons of recommenders. Each run without a parent is one comparison: `ndcg_at_10` and the other figures of what is in use after it, "
        "`champion_...` of who held the place before, `challenger_...` of the best on the validation window, `advantage_...` of the challenger over "
        "the champion. So their charts over the weeks tell how the recommender is doing. Below each stands one run for each method; searches for "
        "parameters are runs called `tuning ...`.\n\n"
        "**Judged on** what known users did after a cut in time that no model has seen; the leakage audit, an artifact of each comparison, measures that. "
        "What is in use changes only when the challenger is ahead beyond doubt and breaks no guardrail."
    ),
    "gallery": "The persona gallery, one run a page: what was published of the audience on that day.",
}
"""By stage."""

COLUMNS = {
    "segments": ("params.algorithm", "metrics.k", "metrics.silhouette", "metrics.stability", "metrics.users"),
    "profiles": (
        "metrics.purchase_auc",
        "metrics.purchase_calibration_error",
        "metrics.purchase_lift",
        "metrics.churn_auc",
        "metrics.spend_spearman",
        "metrics.lifetime_value_spearman",
        "metrics.auc",
        "metrics.spearman",
        "tags.chosen",
    ),
    "recommendations": (
        "metrics.ndcg_at_10",
        "metrics.champion_ndcg_at_10",
        "metrics.challenger_ndcg_at_10",
        "metrics.advantage_ndcg_at_10",
        "metrics.coverage",
        "tags.decision",
    ),
}
"""Of the views, by stage."""
BEST_FIRST = {"segments": "metrics.`silhouette`", "profiles": "metrics.`auc`", "recommendations": "metrics.`ndcg_at_10`"}
"""What the runs below the newest one are ordered by, by stage."""

MODELS = {
    "segments": "Places users in segments: features of a user in, segment out. Preprocessing and centres, whatever algorithm found them.",
    "recommendations": "Ranks items for users: `user_id` and `k` in, ranked items out, by what users had done when it was trained.",
}
"""By stage."""
ALIASES = (
    "**Aliases**: `champion` is in use; `previous` was before it; `challenger`, where there is one, was the best on the validation window of the last "
    "comparison, and the gate has refused it."
)


def of_experiment(settings: Settings, stage: str, experiment_id: str) -> str:
    """The description of a stage's experiment."""
    about = _with_k(EXPERIMENTS.get(stage, stage), settings)
    pages = (f"[{words}]({page}). " for words, page in figures_of(stage, experiment_id).items())
    return f"{''.join(pages)}{about}\n\nBy the Dagster assets of the group `{stage}`, of {_configuration(settings)}"


def _configuration(settings: Settings) -> str:
    about = " ".join(settings.description.split())
    return f"the configuration **{settings.name}**{f': {about}' if about else '.'}"


def figures_of(stage: str, experiment_id: str) -> dict[str, str]:
    """The pages of a stage's runs with their figures, by what they are called; none where they have no figures.

    MLflow 3 takes the columns of its table from the address and what the browser has kept alone: nothing in an experiment makes others the first ones.
    """
    if stage not in COLUMNS:
        return {}
    return {
        "Newest, side by side": of_figures(experiment_id, NEWEST, as_charts=True),
        "All in a table": of_figures(experiment_id, ALL),
        "All as charts": of_figures(experiment_id, ALL, as_charts=True),
    }


def views_of(settings: Settings, stage: str, run_id: str) -> dict[str, str]:
    """The views of an experiment's runs as MLflow's pages keep shared ones (JSON), by name; none where runs have no figures.

    Args:
        run_id: of the newest run without a parent: the runs below it are those of ``NEWEST``. MLflow unfolds no run by what a view says.
    """
    if stage not in COLUMNS:
        return {}
    parted = [_with_k(column, settings).partition(".") for column in COLUMNS[stage]]
    keys = [f"{kind}.`{name}`" for kind, _, name in parted]
    section = {"display": True, "deleted": False}
    chart = {"type": "BAR", "metricSectionId": ALL, "deleted": False, "isGenerated": False}
    shown = {
        "selectedColumns": keys,
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "runsHiddenMode": "FIRST_20_RUNS",
        # MLflow adds a chart of each other figure, by the alphabet, to its own section, which is known by its name.
        "compareRunSections": [
            section | {"uuid": ALL, "name": "Figures", "isReordered": True, "isGenerated": False},
            section | {"uuid": "others", "name": "Model metrics", "isReordered": False, "isGenerated": True},
        ],
        "compareRunCharts": [{**chart, "uuid": name, "metricKey": name} for kind, _, name in parted if kind == "metrics"],
    }
    below = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{run_id}'",
        "orderByKey": _with_k(BEST_FIRST[stage], settings),
        "runsHiddenMode": "SHOW_ALL",
    }
    return {ALL: json.dumps(shown), NEWEST: json.dumps(shown | below)}


def _with_k(text: str, settings: Settings) -> str:
    return text.replace("at_10", f"at_{settings.recommendations.k}")


def of_model(settings: Settings, stage: str, reigns: pd.DataFrame) -> str:
    """The description of a stage's registered model, with the champions so far.

    Args:
        reigns: newest first, columns as they are to be shown.
    """
    about = MODELS.get(stage) or f"Predicts {stage.partition('-')[2].replace('_', ' ')}: features of users in, `prediction` out."
    return "\n\n".join(
        part
        for part in (
            f"{about} Arrays and JSON, no pickle: loading it runs no code from the artifact. Of {_configuration(settings)}",
            ALIASES,
            f"**Champions**, newest first (times in UTC):\n\n{table(reigns)}" if len(reigns) else "No champion yet.",
        )
        if part
    )


def table(rows: pd.DataFrame) -> str:
    """A table in Markdown; floats with four places."""
    return "\n".join(
        [
            _line(rows.columns),
            _line(["---"] * len(rows.columns)),
            *(_line([_cell(value) for value in row]) for row in rows.astype(object).itertuples(index=False)),
        ]
    )


def _line(cells: Sequence[Any]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else " ".join(str(value).split()).replace("|", "\\|")


def listed(entries: Mapping[str, Any]) -> str:
    """A list in Markdown, each entry with its name; empty ones are left out."""
    return "\n".join(f"- **{name}**: {_cell(value)}" for name, value in entries.items() if value not in (None, ""))
