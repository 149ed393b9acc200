"""Validated configuration: one YAML file plus the environment. Nothing else in the package reads either.

Environment:
    PERSONA_CONFIG   the configuration file (default ``data/persona.yaml``)
    PERSONA_HOME     where all state lives (default ``.persona/<name of the configuration>``)
    DAGSTER_HOME, MLFLOW_TRACKING_URI   honoured where set, else below PERSONA_HOME
    any variable named in the YAML as ``${NAME}`` or ``${NAME:-default}``
"""

from __future__ import annotations

import datetime as dt
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from persona_pipelines.settings.recommendations import RecommendationsSettings
from persona_pipelines.settings.strict import NAME_PATTERN, Strict
from persona_pipelines.vocabulary import EVENT_TYPES

MAX_CONFIGURATION_BYTES = 1 << 20


class ConfigurationError(Exception):
    """The configuration cannot be used. The message names the file, the setting, what was found and what is expected."""


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class Condition(Strict):
    """A test on one field of a record; all given comparisons must hold. A missing field only meets ``missing: true``."""

    field: str
    equals: str | None = None
    one_of: list[str] | None = None
    matches: str | None = None
    below: float | None = None
    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    missing: bool | None = None

    @field_validator("equals", mode="before")
    @classmethod
    def _equals_as_text(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, str) else str(value)

    @field_validator("one_of", mode="before")
    @classmethod
    def _one_of_as_text(cls, value: Any) -> Any:
        return [str(entry) for entry in value] if isinstance(value, list) else value

    @field_validator("matches")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        return _checked_pattern(value)

    @model_validator(mode="after")
    def _compares_something(self) -> Condition:
        if not self.model_fields_set - {"field"}:
            raise ValueError("expected at least one comparison: equals, one_of, matches, below, above, at_least, at_most, missing")
        return self


def _checked_pattern(value: str | None) -> str | None:
    if value is not None:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"expected a regular expression ({error})") from None
    return value


class Case(Strict):
    when: Condition
    value: str


class RecordOrder(Strict):
    """A clock for logs that have none: the first record at ``start``, each following one ``step_seconds`` later."""

    start: dt.datetime = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - UTC, like all times of the tables
    step_seconds: float = Field(1.0, gt=0)


class FieldMapping(Strict):
    """How one canonical column is made from a record."""

    from_: Annotated[list[str], BeforeValidator(_as_list)] | None = Field(None, alias="from")
    value: str | float | None = None
    join: str = "|"
    first_of: list[str] | None = None
    pattern: str | None = None
    replace: dict[str, str] | None = None
    map: dict[str, str] | None = None
    default: str | None = None
    lower_case: bool = False
    cases: list[Case] | None = None
    format: Annotated[list[str], BeforeValidator(_as_list)] | None = None
    unit: Literal["seconds", "milliseconds", "microseconds"] | None = None
    timezone: str | None = None
    order: RecordOrder | None = None
    product: list[str] | None = None
    scale: float | None = None
    absolute: bool = False

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, (str, list)):
            return {"from": value}
        if isinstance(value, dict) and value.get("order") is True:
            return {**value, "order": {}}
        return value

    @field_validator("map", mode="before")
    @classmethod
    def _map_keys_as_text(cls, value: Any) -> Any:
        return {_yaml_text(key): _yaml_text(entry) for key, entry in value.items()} if isinstance(value, dict) else value

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        if value is not None and re.compile(_checked_pattern(value) or "").groups != 1:
            raise ValueError("expected a regular expression with exactly one group, the part to keep")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str | None) -> str | None:
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        if value is not None:
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError):
                raise ValueError("expected a time zone of the IANA database, such as Europe/London") from None
        return value

    @model_validator(mode="after")
    def _one_origin(self) -> FieldMapping:
        origins = [
            name
            for name, given in {
                "from": self.from_,
                "first_of": self.first_of,
                "value": self.value,
                "cases": self.cases,
                "product": self.product,
                "order": self.order,
            }.items()
            if given is not None
        ]
        if len(origins) != 1:
            raise ValueError(f"expected exactly one of from, first_of, value, cases, product, order; found {origins or 'none'}")
        return self

    def paths(self) -> list[str]:
        """The fields of the source that this mapping reads."""
        named = [*(self.from_ or []), *(self.first_of or []), *(self.product or [])]
        return named + [case.when.field for case in self.cases or []]


def _yaml_text(value: Any) -> str:
    """YAML reads yes, no, true and false as booleans: a map's key or value is meant as the text that stands in the log."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class FormatSettings(Strict):
    """What a file looks like before any field is read from it."""

    type: Literal["combined", "json_lines", "csv", "parquet"]
    delimiter: str = ","
    quote: str = '"'
    header: bool = True
    columns: list[str] | None = None
    encoding: Literal["utf-8", "latin-1"] = "utf-8"

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    @field_validator("delimiter")
    @classmethod
    def _delimiter(cls, value: str) -> str:
        if value != "whitespace" and len(value) != 1:
            raise ValueError("expected one character, or the word whitespace for runs of white space")
        return value

    @field_validator("quote")
    @classmethod
    def _quote(cls, value: str) -> str:
        if len(value) > 1:
            raise ValueError("expected one character, or nothing for files without quoting")
        return value

    @model_validator(mode="after")
    def _columns_without_header(self) -> FormatSettings:
        if self.type == "csv" and not self.header and not self.columns:
            raise ValueError("expected columns: [names in order], because header is false")
        return self


EVENT_FIELDS = {
    "event_id", "user_id", "anonymous_id", "timestamp", "event_type", "item_id", "value", "quantity", "currency",
    "dwell_ms", "scroll_pct", "channel", "campaign", "device", "country", "referrer", "search_terms", "url", "user_agent",
}  # fmt: skip
ITEM_FIELDS = {"item_id", "title", "category", "categories", "brand", "price", "currency", "available_from", "in_stock"}
USER_FIELDS = {
    "user_id", "signup_date", "country", "gender", "age_group", "occupation", "consent_personalisation", "consent_marketing",
}  # fmt: skip
FIELDS_OF_KIND = {"events": EVENT_FIELDS, "items": ITEM_FIELDS, "users": USER_FIELDS}
REQUIRED_FIELDS = {"events": {"timestamp", "event_type"}, "items": {"item_id"}, "users": {"user_id"}}


class Source(Strict):
    """One kind of log: where its files are, what they look like, and how a record becomes canonical columns."""

    name: str = Field(pattern=NAME_PATTERN)
    kind: Literal["events", "items", "users"] = "events"
    description: str = ""
    path: str
    format: FormatSettings
    fields: dict[str, FieldMapping]
    drop_when: list[Condition] = []
    owner: str | None = None

    @model_validator(mode="after")
    def _known_fields(self) -> Source:
        unknown = set(self.fields) - FIELDS_OF_KIND[self.kind]
        if unknown:
            raise ValueError(
                f"fields.{sorted(unknown)[0]}: not a column of {self.kind}; expected one of {sorted(FIELDS_OF_KIND[self.kind])}"
            )
        missing = REQUIRED_FIELDS[self.kind] - set(self.fields)
        if missing:
            raise ValueError(f"fields.{sorted(missing)[0]}: missing; every source of {self.kind} has to map it")
        if self.kind == "events" and not {"user_id", "anonymous_id"} & set(self.fields):
            raise ValueError("fields.user_id: missing; expected user_id, anonymous_id or both")
        if self.path.count("{date}") and self.kind != "events":
            raise ValueError("path: {date} is only for sources of events; a list of items or users is read as a whole")
        return self

    def paths(self) -> list[str]:
        """All fields that the mapping reads, each once, in a stable order."""
        named = [path for mapping in self.fields.values() for path in mapping.paths()]
        named += [condition.field for condition in self.drop_when]
        return list(dict.fromkeys(named))

    @property
    def dated(self) -> bool:
        return "{date}" in self.path


class OwnEventType(Strict):
    weight: float = 0.0
    description: str = "Declared in the configuration."


class LogsSettings(Strict):
    max_reject_share: float = Field(0.05, ge=0, le=1)
    max_line_bytes: int = Field(1 << 20, ge=1024)
    settle_seconds: float = Field(2.0, ge=0, description="A file changed more recently than this is looked at twice.")
    earliest_timestamp: dt.datetime = dt.datetime(1990, 1, 1)  # noqa: DTZ001 - UTC, like all times of the tables


class EventsSettings(Strict):
    session_gap_minutes: float = Field(30, gt=0)
    max_dwell_minutes: float = Field(30, gt=0)
    static_extensions: list[str] = [
        "css", "js", "map", "png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "woff", "woff2", "ttf", "eot", "mp4", "webm",
    ]  # fmt: skip
    bot_patterns: list[str] = []

    @field_validator("bot_patterns")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        return [_checked_pattern(pattern) or "" for pattern in value]


class FeaturesSettings(Strict):
    as_of: dt.date | None = None
    interaction_weights: dict[str, float] = {}
    interaction_half_life_days: float = Field(90, gt=0)
    timezone: str = "UTC"


class SegmentsSettings(Strict):
    algorithms: list[Literal["k_means", "mini_batch_k_means", "hierarchical", "gaussian_mixture", "dbscan", "hdbscan"]] = Field(
        ["k_means", "mini_batch_k_means", "hierarchical", "gaussian_mixture", "dbscan", "hdbscan"], min_length=1
    )
    minimum_k: int = Field(3, ge=2)
    maximum_k: int = Field(8, ge=2)
    minimum_segment_size: int = Field(20, ge=1, description="Smaller groups are merged into the nearest segment.")
    maximum_noise_share: float = Field(0.1, ge=0, le=1, description="With more users in no segment, an algorithm is not chosen.")
    stability_refits: int = Field(10, ge=2)
    sample_users: int = Field(5_000, ge=100)
    seed: int = 20


class PredictionsSettings(Strict):
    horizon_days: int = Field(30, ge=1, description="Buying and leaving are predicted for this many days.")
    windows: int = Field(3, ge=1, le=12, description="Past windows to learn from, besides those that choose and judge.")
    lifetime_days: int = Field(180, ge=1, description="Lifetime value is the spend expected in this many days.")
    minimum_users: int = Field(100, ge=20)
    seed: int = 20


class PrivacySettings(Strict):
    consent_when_unknown: bool = False


class SchedulesSettings(Strict):
    daily: str = "15 4 * * *"
    weekly: str = "45 5 * * 1"
    timezone: str = "UTC"
    sensor_seconds: int = Field(60, ge=30)


class WarehouseSettings(Strict):
    memory_limit: str = "4GB"
    threads: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1)
    wait_minutes: float = Field(60, ge=0)


class Settings(Strict):
    """Everything that a run depends on, apart from the logs themselves."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,47}$")
    description: str = ""
    owner: str = "data-team@example.com"
    start_date: dt.date
    sources: list[Source] = Field(min_length=1)
    event_types: dict[Annotated[str, Field(pattern=NAME_PATTERN)], OwnEventType] = {}
    logs: LogsSettings = LogsSettings()
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

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        names = [source.name for source in self.sources]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"sources[{index}].name: {name!r} is taken; expected a name of its own for each source")
        if not self.sources_of("events"):
            raise ValueError("sources: expected at least one source of kind events")
        for name in self.features.interaction_weights:
            if name not in self.known_event_types():
                raise ValueError(f"features.interaction_weights.{name}: not an event type; declare it under event_types")
        if self.segments.minimum_k > self.segments.maximum_k:
            raise ValueError("segments.minimum_k: expected at most segments.maximum_k")
        return self

    def sources_of(self, kind: str) -> list[Source]:
        return [source for source in self.sources if source.kind == kind]

    def known_event_types(self) -> list[str]:
        return [*EVENT_TYPES, *(name for name in self.event_types if name not in EVENT_TYPES)]

    def interaction_weights(self) -> dict[str, float]:
        """Weight per event type: the vocabulary's, overridden by the configuration's; types of weight zero are left out."""
        weights = {name: kind.weight for name, kind in EVENT_TYPES.items()}
        weights |= {name: kind.weight for name, kind in self.event_types.items()}
        weights |= self.features.interaction_weights
        return {name: weight for name, weight in weights.items() if weight != 0}

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
        return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{self.home / 'mlflow.db'}"

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
    """Safe YAML without aliases: a few hundred bytes of them can expand to gigabytes; and a doubled key is an error."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not supported", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key.value, str):
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} stands here twice", key.start_mark)
            seen.add(key.value if isinstance(key.value, str) else repr(key.value))
        return super().construct_mapping(node, deep)


def _place(location: tuple[Any, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _found(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


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
        raise ConfigurationError(f"{shown}: found {_found(content)}; expected settings, at least start_date and sources")
    content = _expanded(content, "", Path(shown))
    content.setdefault("name", path.stem.lower())
    for reserved in ("file", "home"):
        if reserved in content:
            raise ConfigurationError(f"{shown}: {reserved}: not a setting")
    home = os.environ.get("PERSONA_HOME") or Path(".persona") / str(content["name"])
    try:
        return Settings(**content, file=path, home=Path(home).absolute())
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            place = _place(problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = "not a setting known here"
            found = "" if isinstance(problem["input"], dict) or problem["type"] == "missing" else f"found {_found(problem['input'])}; "
            lines.append(f"{shown}: {place + ': ' if place else ''}{found}{message}")
        raise ConfigurationError("\n".join(lines)) from None
