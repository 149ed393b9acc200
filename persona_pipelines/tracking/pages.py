"""Addresses of MLflow's pages: of models that are trained, with their figures."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request

ALL, NEWEST = "figures", "newest"
"""Names of the views of an experiment's runs that have their figures as columns and charts, as MLflow shows none of them by itself: of all
runs, and of those below the newest."""
VIEW_TAG = "mlflow.sharedViewState."
"""Of an experiment, before the name of a view: what it shows, as JSON."""
OF_TRAINING = "workflowType=machine_learning"
"""MLflow 3 opens the pages of language models, which show nothing of a training, until its address or a click says otherwise."""
SECONDS = 3


def of_run(experiment_id: str, run_id: str) -> str:
    """The page of a run, from the root of the web UI on."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{OF_TRAINING}"


def of_figures(experiment_id: str, view: str, *, as_charts: bool = False) -> str:
    """Runs of an experiment with their figures: in the table, or as charts over the runs.

    Args:
        view: ``ALL`` or ``NEWEST``.
    """
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view}&{OF_TRAINING}{'&compareRunsMode=CHART' if as_charts else ''}"


def first_page(address: str, experiment: str) -> str:
    """What to open of a web UI first: the charts of what is below the newest run of an experiment; the list of all experiments where it has no
    such view, or does not say."""
    asked = f"{address}/api/2.0/mlflow/experiments/get-by-name?{urllib.parse.urlencode({'experiment_name': experiment})}"
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:  # noqa: S310 - the address is the user's own
            found = json.load(answer)["experiment"]
        if any(tag["key"] == f"{VIEW_TAG}{NEWEST}" for tag in found["tags"]):
            return f"{address}/{of_figures(found['experiment_id'], NEWEST, as_charts=True)}"
    except (OSError, ValueError, KeyError):
        pass
    return f"{address}/#/experiments?{OF_TRAINING}"
