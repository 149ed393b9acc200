"""The contract of every table: columns, types, units, bounds and what they mean; a module for each room.

Rooms meet only here. The data dictionary, the column metadata in Dagster, the checks on written tables and the bounds
that a log record has to keep are all made from these declarations. A table that is declared in a module is known here.
"""

from __future__ import annotations

from persona_pipelines.warehouse.contracts import events, features, home, logs, profiles, recommendations, segments, serving
from persona_pipelines.warehouse.contracts.events import *
from persona_pipelines.warehouse.contracts.features import *
from persona_pipelines.warehouse.contracts.home import *
from persona_pipelines.warehouse.contracts.logs import *
from persona_pipelines.warehouse.contracts.parts import Table
from persona_pipelines.warehouse.contracts.profiles import *
from persona_pipelines.warehouse.contracts.recommendations import *
from persona_pipelines.warehouse.contracts.segments import *
from persona_pipelines.warehouse.contracts.serving import *

ROOMS = {
    "logs": logs,
    "events": events,
    "features": features,
    "segments": segments,
    "profiles": profiles,
    "recommendations": recommendations,
    "serving": serving,
    "home": home,
}
"""The schemas of the warehouse, each with the module that declares its tables."""
TABLES: tuple[Table, ...] = tuple(
    contract for name, room in ROOMS.items() for contract in vars(room).values() if isinstance(contract, Table) and contract.schema == name
)


def table(name: str) -> Table:
    """The contract of a table by its name, with or without the schema.

    Raises:
        KeyError: there is no such table.
    """
    for contract in TABLES:
        if name in (contract.name, contract.full_name):
            return contract
    raise KeyError(name)
