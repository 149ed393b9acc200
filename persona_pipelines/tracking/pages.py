"""Addresses of MLflow's pages: of models that are trained, with their figures."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request

VIEW = "figures"
"""The name of the view of an experiment's runs that has their figures as columns: MLflow shows none of them by itself."""
OF_TRAINING = "workflowType=machine_learning"
"""MLflow 3 opens the pages of language models, which show nothing of a training, until its address or a click says otherwise."""
SECONDS = 3


def of_run(experiment_id: str, run_id: str) -> str:
    """The page of a run, from the root of the web UI on."""
    return f"#/experiments/{experiment_id}/runs/{run_id}?{OF_TRAINING}"


def of_figures(experiment_id: str, *, as_charts: bool = False) -> str:
    """The runs of an experiment with their figures: in the table, or as charts over the runs."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={VIEW}&{OF_TRAINING}{'&compareRunsMode=CHART' if as_charts else ''}"


def first_page(address: str, experiment: str) -> str:
    """What to open of a web UI first: the charts of an experiment; the list of all where it has none of that name, or does not say."""
    asked = f"{address}/api/2.0/mlflow/experiments/get-by-name?{urllib.parse.urlencode({'experiment_name': experiment})}"
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:  # noqa: S310 - the address is the user's own
            return f"{address}/{of_figures(json.load(answer)['experiment']['experiment_id'], as_charts=True)}"
    except (OSError, ValueError, KeyError):
        return f"{address}/#/experiments?{OF_TRAINING}"
