"""The whole configuration: what its parts have to say together, and what follows from it."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field, model_validator

from persona_pipelines.settings.presets import with_preset
from persona_pipelines.settings.recommendations import RecommendationsSettings
from persona_pipelines.settings.sources import AttributeType, Source
from persona_pipelines.settings.stages import (
    CurrenciesSettings,
    EventsSettings,
    FeaturesSettings,
    InteractionLevel,
    LogsSettings,
    OwnEventType,
    PredictionsSettings,
    PrivacySettings,
    SchedulesSettings,
    SegmentsSettings,
    ServingSettings,
    WarehouseSettings,
)
from persona_pipelines.settings.strict import (
    CONFIGURATION_PATTERN,
    NAME_PATTERN,
    OWNER_PATTERN,
    Strict,
)
from persona_pipelines.vocabulary import EVENT_TYPES

RECEIVED = "live_events"
"""The source of what the live service has accepted."""


def received_folder(home: Path) -> Path:
    """Where the live service keeps what it has accepted, a folder a day."""
    return home / "live" / "events"


def received_items_file(home: Path) -> Path:
    """Where it keeps the rows of the catalogue that came to it."""
    return home / "live" / "items.jsonl"


def received_items(home: Path) -> dict[str, Any]:
    """The source that reads them, as it would stand in a configuration: of an item that the catalogue has too, the catalogue's row counts."""
    return {
        "name": "live_items",
        "kind": "items",
        "description": "Rows of the catalogue that came to the live service.",
        "path": str(received_items_file(home)),
        "format": {"type": "json_lines"},
        "fields": {name: name for name in ("item_id", "title", "category", "categories", "brand", "price", "in_stock")},
        "received": True,
    }


def received_source(home: Path, same_ids_as: str | None) -> dict[str, Any]:
    """The source that reads it, as it would stand in a configuration."""
    fields = ("event_id", "user_id", "anonymous_id", "timestamp", "event_type", "item_id", "value", "quantity", "currency", "dwell_ms")
    return {
        "name": RECEIVED,
        "kind": "events",
        "description": "Events that the live service has accepted.",
        "path": str(received_folder(home) / "{date}" / "*.jsonl"),
        "format": {"type": "json_lines"},
        "fields": {name: name for name in (*fields, "campaign", "country", "referrer", "list_id")},
        "received": True,
        "same_ids_as": same_ids_as,
    }


OWN_TABLES = ("files",)
"""Tables beside those of the sources in the schema ``logs``."""

MLFLOW_PORT = 5000
"""Of MLflow's web UI, where no other has been asked for."""


class Settings(Strict):
    """Everything that a run depends on, apart from the logs themselves."""

    name: str = Field(pattern=CONFIGURATION_PATTERN, description="Names the configuration and its state folder `.persona/NAME`.")
    description: str = Field("", max_length=500, description="What these logs are; the pages of experiments and models in MLflow say it.")
    owner: str = Field(
        "data-team@example.com", pattern=OWNER_PATTERN, description="Whom to ask, on every asset in Dagster that has no owner of its own."
    )
    start_date: dt.date = Field(description="First day that may be loaded.")
    sources: list[Source] = Field(min_length=1, description="The logs, catalogues, customer lists and look-ups.")
    event_types: dict[Annotated[str, Field(pattern=NAME_PATTERN)], OwnEventType] = Field(
        {}, description="Types of events beside those of the vocabulary, by their names."
    )
    logs: LogsSettings = Field(LogsSettings(), description="Reading of files, and when what was read is refused.")
    currencies: CurrenciesSettings | None = Field(
        None, description="Conversion of amounts; without it all amounts have to be in one currency."
    )
    events: EventsSettings = Field(EventsSettings(), description="Sessions, identity, bots and static files.")
    features: FeaturesSettings = Field(FeaturesSettings(), description="The day that is looked at, and how much an event counts.")
    segments: SegmentsSettings = Field(SegmentsSettings(), description="Algorithms, numbers and sizes of segments.")
    predictions: PredictionsSettings = Field(PredictionsSettings(), description="What is predicted of users, and for how long.")
    recommendations: RecommendationsSettings = Field(
        RecommendationsSettings(), description="Methods, their comparison, the gate and the rules for lists."
    )
    serving: ServingSettings = Field(ServingSettings(), description="The live service, `persona serve`.")
    privacy: PrivacySettings = Field(PrivacySettings(), description="What holds of people of whom no list says it.")
    schedules: SchedulesSettings = Field(SchedulesSettings(), description="When scheduled runs start, once they are switched on.")
    warehouse: WarehouseSettings = Field(WarehouseSettings(), description="Memory, threads and waiting of the database.")
    file: Path = Field(description="The configuration file; not written, found.")
    home: Path = Field(description="The state folder; not written, found.")

    @model_validator(mode="before")
    @classmethod
    def _customers_alone(cls, value: Any) -> Any:
        """A list of customers without any log of events: each of its records is a sign-up too, so that everyone is known to have come."""
        sources = value.get("sources") if isinstance(value, dict) else None
        if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
            return value
        if any(source.get("kind", "events") == "events" for source in sources):
            return value
        made = []
        for source in sources:
            described = with_preset(source)
            fields = described.get("fields")
            if described.get("kind") == "users" and isinstance(fields, dict) and "user_id" in fields:
                clock = {"order": {"start": str(value.get("start_date")), "step_seconds": 1e-6}}
                kept = {name: entry for name, entry in described.items() if name not in ("attributes", "preset", "kind", "fields")}
                made.append(
                    {
                        **kept,
                        "name": f"{source.get('name')}_sign_ups",
                        "kind": "events",
                        "same": "never",
                        "description": "Nothing but the list is known: one sign_up a customer.",
                        "fields": {"user_id": fields["user_id"], "timestamp": clock, "event_type": {"value": "sign_up"}},
                    }
                )
        return {**value, "sources": [*sources, *made]}

    @model_validator(mode="before")
    @classmethod
    def _with_received(cls, value: Any) -> Any:
        """What the live service has accepted is a source like any other, once there is something."""
        sources, home = (value.get("sources"), value.get("home")) if isinstance(value, dict) else (None, None)
        if not isinstance(sources, list) or not home:
            return value
        serving = value.get("serving")
        same = serving.get("same_ids_as") if isinstance(serving, dict) else None
        found = [received_source(Path(home), same)] if received_folder(Path(home)).is_dir() else []
        found += [received_items(Path(home))] if received_items_file(Path(home)).is_file() else []
        return {**value, "sources": [*sources, *found]}

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        names = [source.name for source in self.sources]
        for index, name in enumerate(names):
            if name in OWN_TABLES:
                raise ValueError(f"sources[{index}].name: {name!r} is the name of a table of this package; expected another")
            if name in names[:index]:
                raise ValueError(f"sources[{index}].name: {name!r} is taken; expected a name of its own for each source")
        if not self.sources_of("events"):
            raise ValueError("sources: expected at least one source of kind events, or one of kind users")
        for index, source in enumerate(self.sources):
            made = source.fields.get("event_type") if source.kind == "events" else None
            if made and made.model_fields_set == {"value"} and made.value not in self.known_event_types():
                raise ValueError(
                    f"sources[{index}].fields.event_type.value: found {made.value!r}, which is no event type; declare it under event_types, "
                    f"or take one of {', '.join(self.known_event_types())}"
                )
        of_events = {source.name for source in self.sources_of("events")}
        for index, source in enumerate(self.sources):
            if source.same_ids_as is not None and source.same_ids_as not in of_events - {source.name}:
                place = "serving" if source.name == RECEIVED else f"sources[{index}]"
                raise ValueError(
                    f"{place}.same_ids_as: found {source.same_ids_as!r}; expected another source of events: {sorted(of_events - {source.name})}"
                )
        lookups = {source.name for source in self.sources_of("lookup")}
        for index, source in enumerate(self.sources):
            for lookup in source.join:
                if lookup.source not in lookups:
                    raise ValueError(
                        f"sources[{index}].join: no source of kind lookup is called {lookup.source!r}; found {sorted(lookups)}"
                    )
        for setting in ("interaction_weights", "interaction_levels"):
            for name in getattr(self.features, setting):
                if name not in self.known_event_types():
                    raise ValueError(f"features.{setting}.{name}: not an event type; declare it under event_types")
        if self.features.interaction_weights.get("impression", 0) > 0:
            raise ValueError(
                "features.interaction_weights.impression: found a weight above 0; what was shown to a person says what somebody chose to show, and "
                "nothing of the person. Give weights to the clicks, and map their propensity where it is logged"
            )
        for name, level in self.features.interaction_levels.items():
            if level.scale == "own_middle" and name != "rating":
                raise ValueError(f"features.interaction_levels.{name}.scale: own_middle is for ratings")
        for kind in ("items", "users"):
            self.attributes_of(kind)
        known = self.attributes_of("users")
        for name in self.segments.attributes:
            if name not in known:
                raise ValueError(
                    f"segments.attributes: {name!r} is no attribute of a source of kind users; expected one of {sorted(known)}"
                )
        for index, target in enumerate(self.predictions.targets):
            origin, place = target.from_, f"predictions.targets[{index}]"
            for name in (*target.also, *target.without, *([origin.attribute] if origin.attribute else [])):
                if name not in known:
                    raise ValueError(f"{place}: {name!r} is no attribute of a source of kind users; expected one of {sorted(known)}")
            if origin.event is not None and origin.event not in self.known_event_types():
                raise ValueError(f"{place}.from.event: {origin.event!r} is not an event type; declare it under event_types")
            if origin.attribute and known[origin.attribute] != "boolean" and origin.equals is None and origin.at_least is None:
                raise ValueError(f"{place}.from: {origin.attribute} is a {known[origin.attribute]}; expected equals or at_least")
            if origin.attribute and origin.at_least is not None and known[origin.attribute] != "number":
                raise ValueError(f"{place}.from.at_least: {origin.attribute} is a {known[origin.attribute]}, not a number")
        if self.segments.minimum_k > self.segments.maximum_k:
            raise ValueError("segments.minimum_k: expected at most segments.maximum_k")
        return self

    def sources_of(self, kind: str) -> list[Source]:
        return [source for source in self.sources if source.kind == kind]

    def lists_of(self, kind: str) -> list[str]:
        """The names of the lists of items or users that the configuration has: rows that the live service has received only complete them."""
        return [source.name for source in self.sources_of(kind) if not source.received]

    def sources_that_say_when(self) -> list[Source]:
        """The sources of events whose files say which days there are to be run: what the live service has received goes with the logs of its days,
        and is alone only where there are no others."""
        found = self.sources_of("events")
        return [source for source in found if not source.received] or found

    def attributes_of(self, kind: str) -> dict[str, AttributeType]:
        """Types of the attributes of items or users by name, over all their sources.

        Raises:
            ValueError: two sources give an attribute of the same name another type.
        """
        found: dict[str, AttributeType] = {}
        for source in self.sources_of(kind):
            for name, attribute in source.attributes.items():
                if found.setdefault(name, attribute.type) != attribute.type:
                    raise ValueError(f"attributes.{name} of source {source.name}: found {attribute.type}; another source has {found[name]}")
        return found

    def learned_attributes(self) -> dict[str, AttributeType]:
        """Those of users that models may learn from."""
        later = {name for source in self.sources_of("users") for name, entry in source.attributes.items() if entry.known_later}
        return {name: kind for name, kind in self.attributes_of("users").items() if name not in later}

    def known_event_types(self) -> list[str]:
        return [*EVENT_TYPES, *(name for name in self.event_types if name not in EVENT_TYPES)]

    def interaction_weights(self) -> dict[str, float]:
        """Weight per event type: the vocabulary's, overridden by the configuration's; types of weight zero are left out."""
        weights = {name: kind.weight for name, kind in EVENT_TYPES.items()}
        weights |= {name: kind.weight for name, kind in self.event_types.items()}
        weights |= self.features.interaction_weights
        return {name: weight for name, weight in weights.items() if weight != 0}

    def interaction_levels(self) -> dict[str, InteractionLevel]:
        """How the amounts of events count, by event type."""
        return {"rating": InteractionLevel(scale="own_middle")} | self.features.interaction_levels

    def resolved(self, path: str) -> Path:
        """A source's path, taken from the configuration file's folder."""
        return Path(os.path.normpath(self.file.parent / path))

    def displayed(self, path: Path) -> str:
        """A file as tables and messages name it: relative to the configuration's folder, so that results do not depend
        on where a checkout lies."""
        return os.path.relpath(path, self.file.parent)

    @property
    def warehouse_file(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def published_file(self) -> Path:
        return self.home / "published.duckdb"

    @property
    def published_mark(self) -> str:
        """What tells one published copy from another.

        Raises:
            OSError: there is none.
        """
        return f"{self.published_file.stat().st_mtime_ns:x}"

    @property
    def recommender_folder(self) -> Path:
        """Where what lists are made from is kept, by the mark of the published copy that it is of."""
        return self.home / "recommender"

    @property
    def key_file(self) -> Path:
        return self.home / "pseudonym.key"

    @property
    def dagster_home(self) -> Path:
        return Path(os.environ.get("DAGSTER_HOME") or self.home / "dagster").absolute()

    @property
    def mlflow_tracking_uri(self) -> str:
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{quote(str(self.mlflow_file))}"

    @property
    def mlflow_is_local(self) -> bool:
        """Whether runs and models are kept below the home, and not on a server."""
        return not os.environ.get("MLFLOW_TRACKING_URI")

    @property
    def mlflow_file(self) -> Path:
        """MLflow's store, where it is kept below the home."""
        return self.home / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        return self.home / "mlflow-artifacts"

    @property
    def mlflow_ui(self) -> str:
        """Where the MLflow web UI answers, or did when it last ran, for links in Dagster's metadata."""
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        return uri if uri.startswith("http") else f"http://127.0.0.1:{self.mlflow_port}"

    @property
    def mlflow_port(self) -> int:
        """The port that MLflow's web UI of this home has, or had when it last ran."""
        try:
            return int(self.mlflow_port_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return MLFLOW_PORT

    @property
    def mlflow_port_file(self) -> Path:
        return self.home / "ui-logs" / "mlflow-port"
