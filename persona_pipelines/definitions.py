"""What Dagster loads: the graph of the configuration that the environment names."""

from persona_pipelines.graph import build
from persona_pipelines.settings import load_settings

defs = build(load_settings())
