"""The command ``persona``: thin, it calls what the assets call."""

from persona_pipelines.cli import audiences, people, recommenders, running, sources, state, tables
from persona_pipelines.cli.base import main

__all__ = ["audiences", "main", "people", "recommenders", "running", "sources", "state", "tables"]
