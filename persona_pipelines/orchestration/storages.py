"""What Dagster's storages of this package have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from dagster._serdes import ConfigurableClassData


class BelowDagsterHome:
    """A storage without settings: its folder is where Dagster keeps it below DAGSTER_HOME, so that a home can be moved."""

    FOLDER: ClassVar[str]

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        return cls(str(Path(os.environ["DAGSTER_HOME"]) / cls.FOLDER), inst_data=inst_data)  # type: ignore[call-arg]
