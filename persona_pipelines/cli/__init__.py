"""The command ``persona``: thin, it calls what the assets call."""

import gc

# Before anything else is imported: by Python's own thresholds a tenth of a run goes into looking for garbage among modules and queries.
gc.set_threshold(50_000, 20, 50)

from persona_pipelines.cli import audiences, experiments, people, recommenders, running, serving, sources, state, tables  # noqa: E402
from persona_pipelines.cli.base import main  # noqa: E402

__all__ = ["audiences", "experiments", "main", "people", "recommenders", "running", "serving", "sources", "state", "tables"]
