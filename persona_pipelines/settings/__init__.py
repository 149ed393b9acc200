"""Validated configuration: one YAML file plus the environment. Nothing else in the package reads either.

Environment:
    PERSONA_CONFIG   the configuration file (default ``data/persona.yaml``)
    PERSONA_HOME     where all state lives (default ``.persona/<name of the configuration>``)
    DAGSTER_HOME, MLFLOW_TRACKING_URI   honoured where set, else below PERSONA_HOME
    any variable named in the YAML as ``${NAME}`` or ``${NAME:-default}``
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from persona_pipelines.errors import ProjectError, plain
from persona_pipelines.settings.patterns import Timezone, checked_pattern
from persona_pipelines.settings.presets import with_preset
from persona_pipelines.settings.problems import problems_of, shortened
from persona_pipelines.settings.recommendations import RecommendationsSettings
from persona_pipelines.settings.schedules import Cron
from persona_pipelines.settings.sources import AttributeType, Source, yaml_text
from persona_pipelines.settings.strict import (
    CONFIGURATION_PATTERN,
    CURRENCY_PATTERN,
    MEMORY_PATTERN,
    NAME_PATTERN,
    NOT_WRITTEN,
    OWNER_PATTERN,
    Strict,
)
from persona_pipelines.vocabulary import EVENT_TYPES

MAX_CONFIGURATION_BYTES = 1 << 20


class ConfigurationError(ProjectError):
    """The configuration cannot be used. The message names the file, the setting, what was found and what is expected."""

    several_lines = True


Weight = Annotated[float, Field(ge=-1000, le=1000)]


class OwnEventType(Strict):
    weight: Weight = 0.0
    description: str = "Declared in the configuration."


Summable = Annotated[float, Field(ge=-1e12, le=1e12)]
"""Sums are exact to a millionth in 64 bits."""


class Bounds(Strict):
    """Inclusive bounds of a number; a record outside of them is rejected."""

    minimum: Summable
    maximum: Summable

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


class MoneyBounds(Bounds):
    minimum: Summable = 0
    maximum: Summable = 1e9


class RatingBounds(Bounds):
    minimum: Summable = -1000
    maximum: Summable = 1000


class LogsSettings(Strict):
    max_reject_share: float = Field(0.05, ge=0, le=1)
    partitions: Literal["auto", "day", "week", "month", "none"] = "auto"
    max_duplicate_share: float = Field(0.5, ge=0, le=1)
    money: MoneyBounds = MoneyBounds()
    ratings: RatingBounds = RatingBounds()
    smallest_share_of_rows: float = Field(
        0.8, ge=0, le=1, description="Events, people or items fewer than this share of the published ones are not published unless told to."
    )
    smallest_share_of_day: float = Field(
        0.2,
        ge=0,
        le=1,
        description="A day that is loaded with fewer records than this share of what is usual for its weekday fails; 0 asks for none.",
    )
    use_truncated: bool = Field(False, description="Use packed files that are cut off up to where they end, instead of refusing them.")
    max_line_bytes: int = Field(1 << 20, ge=1024)
    settle_seconds: float = Field(2.0, ge=0, description="A file changed more recently than this is looked at twice.")
    earliest_timestamp: dt.datetime = dt.datetime(1990, 1, 1)  # noqa: DTZ001 - UTC, like all times of the tables


class CurrenciesSettings(Strict):
    """Into which currency amounts are converted, and by which rates."""

    base: str = Field(pattern=CURRENCY_PATTERN)
    rates: str = Field(description="A CSV file with date, currency and rate: what one unit is worth in the base from that day on.")


class AutomationSettings(Strict):
    """What no person does with one device on one day, in sources that log user agents; 0 or false turns a rule off.

    Args (settings):
        robots_txt: a browser that asks for robots.txt is none.
        pages_per_hour: more moments at which a page, an item, a search or a log-in was opened within an hour.
        logins_per_hour: more log-ins, or openings of a log-in page.
        hours_per_day: pages opened in more different hours of one date.
        pages_without_assets: more pages without one static asset, where the devices of that source and day load them.
    """

    robots_txt: bool = True
    pages_per_hour: int = Field(400, ge=0)
    logins_per_hour: int = Field(30, ge=0)
    hours_per_day: int = Field(20, ge=0, le=24)
    pages_without_assets: int = Field(30, ge=0)


class EventsSettings(Strict):
    session_gap_minutes: float = Field(30, gt=0)
    max_dwell_minutes: float = Field(30, gt=0)
    most_users_of_a_device: int = Field(5, ge=1, description="A device with more users tells nothing about who is anonymous on it.")
    static_extensions: list[str] = [
        "css",
        "js",
        "map",
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "ico",
        "woff",
        "woff2",
        "ttf",
        "eot",
        "mp4",
        "webm",
    ]
    bot_patterns: list[str] = []
    not_bots: list[str] = Field([], description="Regular expressions of user agents that are people's, whatever the lists say.")
    automation: AutomationSettings = AutomationSettings()

    @field_validator("bot_patterns", "not_bots")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        return [checked_pattern(pattern) for pattern in value]


class InteractionLevel(Strict):
    """How the amount of an event changes how much it says: each of its kind the same, or by the amount in units.

    ``threshold`` lets only events of one unit at least say anything; ``own_middle`` is for ratings: what a person rated below the
    mean of the own ratings says nothing good. An event without the amount counts as one unit.
    """

    by: Literal["value", "quantity", "dwell_ms", "attention_ms"] = "value"
    scale: Literal["constant", "linear", "square_root", "log", "threshold", "own_middle"]
    unit: float = Field(1.0, gt=0)


class FeaturesSettings(Strict):
    as_of: dt.date | None = None
    interaction_weights: dict[str, Weight] = {}
    interaction_levels: dict[str, InteractionLevel] = Field({}, description="By event type, over the default: ratings by own_middle.")
    interaction_half_life_days: float = Field(90, gt=0)
    timezone: Timezone = "UTC"


class SegmentsSettings(Strict):
    algorithms: list[Literal["k_means", "mini_batch_k_means", "hierarchical", "gaussian_mixture", "dbscan", "hdbscan"]] = Field(
        ["k_means", "mini_batch_k_means", "hierarchical", "gaussian_mixture", "dbscan", "hdbscan"], min_length=1
    )
    minimum_k: int = Field(3, ge=2)
    maximum_k: int = Field(8, ge=2)
    minimum_segment_size: int = Field(20, ge=1, description="Smaller groups are merged into the nearest segment.")
    maximum_noise_share: float = Field(0.1, ge=0, le=1, description="With more users in no segment, an algorithm is not chosen.")
    attributes: list[str] = Field([], description="Attributes of users beside behaviour; all of them where behaviour tells nobody apart.")
    stability_refits: int = Field(10, ge=2)
    sample_users: int = Field(5_000, ge=100)
    seed: int = 20


class TargetOrigin(Strict):
    """What makes a target true: an attribute of the customer list, or an event within the horizon.

    Args (settings):
        attribute, equals, at_least: the attribute and its value; a boolean one is true by itself. It is predicted for those of whom it
            is not known.
        event, category, item_id: the type of event, and of which items; any by default.
    """

    attribute: str | None = None
    equals: Annotated[str, BeforeValidator(yaml_text)] | None = None
    at_least: float | None = None
    event: str | None = None
    category: str | None = None
    item_id: str | None = None

    @model_validator(mode="after")
    def _one(self) -> TargetOrigin:
        if (self.attribute is None) == (self.event is None):
            raise ValueError("expected attribute or event")
        if self.event is None and (self.category is not None or self.item_id is not None):
            raise ValueError("category and item_id are for event")
        if self.attribute is None and (self.equals is not None or self.at_least is not None):
            raise ValueError("equals and at_least are for attribute")
        return self


class OwnTarget(Strict):
    """Something that people do or are, to be predicted as a probability."""

    name: str = Field(pattern=NAME_PATTERN)
    from_: TargetOrigin = Field(alias="from")
    horizon_days: int | None = Field(None, ge=1, description="For events; predictions.horizon_days by default.")
    also: list[str] = Field([], description="Attributes that are known_later, and known when this target is asked for.")
    without: list[str] = Field([], description="Attributes that its models do not learn from.")


RESERVED_TARGETS = ("purchase", "churn", "spend", "lifetime_value")


class PredictionsSettings(Strict):
    horizon_days: int = Field(30, ge=1, description="Buying and leaving are predicted for this many days.")
    windows: int = Field(3, ge=1, le=12, description="Past windows to learn from, besides those that choose and judge.")
    lifetime_days: int = Field(180, ge=1, description="Lifetime value is the spend expected in this many days.")
    minimum_users: int = Field(100, ge=20)
    seed: int = 20
    targets: list[OwnTarget] = []

    @model_validator(mode="before")
    @classmethod
    def _targets_alone(cls, value: Any) -> Any:
        return {"targets": value} if isinstance(value, list) else value

    @model_validator(mode="after")
    def _names(self) -> PredictionsSettings:
        names = [target.name for target in self.targets]
        for name in names:
            if names.count(name) > 1 or name in RESERVED_TARGETS:
                raise ValueError(f"targets: {name!r} is taken; expected a name of its own for each target")
        return self


class PrivacySettings(Strict):
    consent_when_unknown: bool = False


class SchedulesSettings(Strict):
    daily: Cron = "15 4 * * *"
    weekly: Cron = "45 5 * * 1"
    timezone: Timezone = "UTC"
    sensor_seconds: int = Field(60, ge=30, le=604_800)


class WarehouseSettings(Strict):
    memory_limit: str = Field("4GB", pattern=MEMORY_PATTERN)
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024)
    wait_minutes: float = Field(60, ge=0, le=1_000_000)


class Settings(Strict):
    """Everything that a run depends on, apart from the logs themselves."""

    name: str = Field(pattern=CONFIGURATION_PATTERN)
    description: str = ""
    owner: str = Field("data-team@example.com", pattern=OWNER_PATTERN)
    start_date: dt.date
    sources: list[Source] = Field(min_length=1)
    event_types: dict[Annotated[str, Field(pattern=NAME_PATTERN)], OwnEventType] = {}
    logs: LogsSettings = LogsSettings()
    currencies: CurrenciesSettings | None = None
    events: EventsSettings = EventsSettings()
    features: FeaturesSettings = FeaturesSettings()
    segments: SegmentsSettings = SegmentsSettings()
    predictions: PredictionsSettings = PredictionsSettings()
    recommendations: RecommendationsSettings = RecommendationsSettings()
    privacy: PrivacySettings = PrivacySettings()
    schedules: SchedulesSettings = SchedulesSettings()
    warehouse: WarehouseSettings = WarehouseSettings()
    file: Path
    home: Path

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

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        names = [source.name for source in self.sources]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"sources[{index}].name: {name!r} is taken; expected a name of its own for each source")
        if not self.sources_of("events"):
            raise ValueError("sources: expected at least one source of kind events, or one of kind users")
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
        """Where the MLflow web UI answers, for links in Dagster's metadata."""
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        return uri if uri.startswith("http") else f"http://127.0.0.1:{os.environ.get('PERSONA_MLFLOW_PORT', '5000')}"


_VARIABLE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)(?::-([^}]*))?\}")


def _expanded(value: Any, place: str, file: Path) -> Any:
    if isinstance(value, dict):
        return {key: _expanded(entry, f"{place}.{key}" if place else str(key), file) for key, entry in value.items()}
    if isinstance(value, list):
        return [_expanded(entry, f"{place}[{index}]", file) for index, entry in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise ConfigurationError(f"{file}: {place}: the environment variable {match[1]} is not set, and there is no default")
        return found

    return _VARIABLE.sub(substitute, value)


class _PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases: a few hundred bytes of them can expand to gigabytes; and a doubled key is an error.

    Words and numbers stay as they are written, whatever YAML 1.1 takes them for (NO for false, 007 for 7, 12:30:00 for 45000): what a log
    has is compared with them. A setting that is a number, a date or a switch is read from the text.
    """

    # Only null and whole numbers as programs write them are more than text.
    yaml_implicit_resolvers = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not supported", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):  # null, true and 7 are names here, as they stand
                key.tag = "tag:yaml.org,2002:str"
            if key.value in seen and isinstance(key.value, str):
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} stands here twice", key.start_mark)
            seen.add(key.value if isinstance(key.value, str) else repr(key.value))
        return super().construct_mapping(node, deep)


for _tag, _pattern, _begins in (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"(?:0|-?[1-9][0-9]*)$", list("-0123456789")),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _begins)


def _without_odd_characters(home: Path) -> Path:
    """A name of the state folder that can be part of an address.

    Dagster pastes it into one, where ``%`` begins a code. A folder with it in its name is reached by a link in a folder of the
    user's own among the temporary files, made anew whenever it is missing.

    Raises:
        ConfigurationError: there can be no such link; or ``?`` is in the name, before which DuckDB would put its journal.
    """
    if "?" in str(home):
        raise ConfigurationError(
            f"PERSONA_HOME: found {home}; expected a folder without ? in its name: DuckDB cannot keep its journal there"
        )
    if "%" not in str(home):
        return home
    own = Path(tempfile.gettempdir()) / f"persona-pipelines-{os.getuid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        own.mkdir(mode=0o700, exist_ok=True)
        link = own / hashlib.sha256(str(home).encode()).hexdigest()[:16]
        if own.is_symlink() or own.stat().st_uid != os.getuid() or own.stat().st_mode & 0o077:
            raise ConfigurationError(f"{own} can be written by others; set PERSONA_HOME to a folder without % in its name")
        if not link.is_symlink():
            link.symlink_to(home, target_is_directory=True)
    except OSError as error:
        raise ConfigurationError(f"{home}: cannot be used as the state folder ({error.strerror}); set PERSONA_HOME to another") from None
    return link


def load_settings(file: str | Path | None = None) -> Settings:
    """Read and validate the configuration.

    Raises:
        ConfigurationError: the file is missing, unreadable, not YAML, or a setting is wrong; every wrong setting is named.
    """
    path = Path(file or os.environ.get("PERSONA_CONFIG") or "data/persona.yaml").absolute()
    shown = os.path.relpath(path)
    try:
        if path.stat().st_size > MAX_CONFIGURATION_BYTES:
            raise ConfigurationError(f"{shown}: larger than {MAX_CONFIGURATION_BYTES} bytes; expected a configuration file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{shown}: cannot be read ({error.strerror}); expected a configuration file") from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{shown}: not UTF-8 text at byte {error.start}") from None
    try:
        content = yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - derived from SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{shown}{line}: not readable as YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict):
        raise ConfigurationError(f"{shown}: found {shortened(content)}; expected settings, at least start_date and sources")
    content = _expanded(content, "", Path(shown))
    # A file may be called anything: what a name cannot have becomes a hyphen.
    content.setdefault("name", re.sub(r"[^a-z0-9._]+", "-", path.stem.lower()).strip("-._")[:48] or "persona")
    for reserved in NOT_WRITTEN:
        if reserved in content:
            raise ConfigurationError(f"{shown}: {reserved}: not a setting")
    home = os.environ.get("PERSONA_HOME") or Path(".persona") / str(content["name"])
    try:
        return Settings(**content, file=path, home=_without_odd_characters(Path(home).absolute()))
    except ValidationError as error:
        problems = "\n".join(plain(f"{shown}: {problem}") for problem in problems_of(error, Settings))
        raise ConfigurationError(problems) from None
