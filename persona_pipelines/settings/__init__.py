"""Validated configuration: one YAML file plus the environment. Nothing else in the package reads either.

Environment:
    PERSONA_CONFIG   the configuration file (default ``data/persona.yaml``)
    PERSONA_HOME     where all state lives (default ``.persona/<name of the configuration>``)
    DAGSTER_HOME, MLFLOW_TRACKING_URI   honoured where set, else below PERSONA_HOME
    any variable named in the YAML as ``${NAME}`` or ``${NAME:-default}``
"""

from persona_pipelines.settings.loading import ConfigurationError, load_settings
from persona_pipelines.settings.sources import Source
from persona_pipelines.settings.whole import Settings

__all__ = ["ConfigurationError", "Settings", "Source", "load_settings"]
