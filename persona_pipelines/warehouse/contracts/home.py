"""Tables of the state itself."""

from __future__ import annotations

from persona_pipelines.warehouse.contracts.parts import Column, Table

CHAMPIONS = Table(
    "home",
    "champions",
    "The version of each stage's model that is taken from now on; MLflow's alias follows when tables made with it are published.",
    (
        Column("stage", "string", "segments, recommendations, or profiles- and the target of a prediction.", required=True),
        Column("version", "string", "Version in the registry.", required=True),
        Column("chosen_by", "string", "gate, training or person.", required=True),
        Column("reason", "string", "Why, in one sentence.", required=True),
        Column("way_back", "boolean", "Whether the version before the present one was brought back.", required=True),
        Column("since", "timestamp", "When it was chosen, UTC.", required=True),
    ),
    ("stage",),
    history=True,
)

INSTANCE = Table(
    "home",
    "instance",
    "What the tables belong to.",
    (
        Column("name", "string", "key: the fingerprint of the key of the pseudonyms.", required=True),
        Column("value", "string", "Its value.", required=True),
    ),
    ("name",),
    history=True,
)
