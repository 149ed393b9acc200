"""Settings of the stages, and of what they stand on: currencies, privacy, schedules, the warehouse."""

from __future__ import annotations

import datetime as dt
import os
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from persona_pipelines.settings.patterns import Timezone, checked_pattern
from persona_pipelines.settings.schedules import Cron
from persona_pipelines.settings.sources import yaml_text
from persona_pipelines.settings.streams import PublishSettings, StreamSettings
from persona_pipelines.settings.strict import (
    CURRENCY_PATTERN,
    MEMORY_PATTERN,
    MOST_DAYS,
    NAME_PATTERN,
    Seed,
    Strict,
    Text,
)

Weight = Annotated[float, Field(ge=-1000, le=1000)]


class OwnEventType(Strict):
    weight: Weight = Field(0.0, description="How much one event of the type says for an item; below 0 against it.")
    description: str = Field("Declared in the configuration.", description="What has happened; shown with the type.")


Summable = Annotated[float, Field(ge=-1e12, le=1e12)]
"""Sums are exact to a millionth in 64 bits."""


class Bounds(Strict):
    """Inclusive bounds of a number; a record outside of them is rejected."""

    minimum: Summable = Field(description="Least value, itself allowed.")
    maximum: Summable = Field(description="Greatest value, itself allowed.")

    @model_validator(mode="after")
    def _ordered(self) -> Bounds:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


class MoneyBounds(Bounds):
    minimum: Summable = Field(0, description="Least amount, itself allowed.")
    maximum: Summable = Field(1e9, description="Greatest amount, itself allowed.")


class RatingBounds(Bounds):
    minimum: Summable = Field(-1000, description="Least rating, itself allowed.")
    maximum: Summable = Field(1000, description="Greatest rating, itself allowed.")


class LogsSettings(Strict):
    max_reject_share: float = Field(
        0.05,
        ge=0,
        le=1,
        description="With more rejects among the records of a day or file, its check fails; two bad records alone never do, unless they are all there is.",
    )
    partitions: Literal["auto", "day", "week", "month", "none"] = Field(
        "auto",
        description="Pieces in which logs are loaded and shown; `auto`: days where every source has a `{date}`, else by the span since `start_date`.",
    )
    max_duplicate_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="With a larger share of records in a day that have the id of another one and say something else, or stand twice in a file, its check fails.",
    )
    money: MoneyBounds = Field(MoneyBounds(), description="Bounds of amounts; a record outside of them is rejected.")
    ratings: RatingBounds = Field(RatingBounds(), description="Bounds of ratings; a record outside of them is rejected.")
    smallest_share_of_rows: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Where events, people, items or the records of a list are fewer than this share of the published ones, nothing is published unless told to.",
    )
    smallest_share_of_day: float = Field(
        0.2,
        ge=0,
        le=1,
        description="A day that is loaded with fewer records than this share of what it had, or of what is usual for its weekday, fails; 0 asks for none.",
    )
    use_truncated: bool = Field(False, description="Use packed files that are cut off up to where they end, instead of refusing them.")
    max_line_bytes: int = Field(1 << 20, ge=1024, description="A longer line is rejected.")
    settle_seconds: float = Field(2.0, ge=0, description="A file changed more recently than this is looked at twice.")
    earliest_timestamp: dt.datetime = Field(dt.datetime(1990, 1, 1), description="A record of an earlier time (UTC) is rejected.")  # noqa: DTZ001 - UTC, like all times of the tables


class CurrenciesSettings(Strict):
    """Into which currency amounts are converted, and by which rates."""

    base: str = Field(pattern=CURRENCY_PATTERN, description="Currency of all amounts after conversion.")
    rates: Text = Field(description="A CSV file with date, currency and rate: what one unit is worth in the base from that day on.")


class AutomationSettings(Strict):
    """What no person does with one device on one day, in sources that log user agents; 0 or false turns a rule off.

    Args (settings):
        robots_txt: a browser that asks for robots.txt is none.
        pages_per_hour: more moments at which a page, an item, a search or a log-in was opened within an hour.
        logins_per_hour: more log-ins, or openings of a log-in page.
        hours_per_day: pages opened in more different hours of one date.
        pages_without_assets: more pages without one static asset, where the devices of that source and day load them.
    """

    robots_txt: bool = Field(True, description="A device that asks for robots.txt is a robot on that date.")
    pages_per_hour: int = Field(
        400,
        ge=0,
        description="More moments within 60 minutes at which a page, an item, a search or a log-in was opened are a robot's; 0 turns the rule off.",
    )
    logins_per_hour: int = Field(
        30, ge=0, description="More log-ins, or openings of a log-in page, within 60 minutes are a robot's; 0 turns the rule off."
    )
    hours_per_day: int = Field(
        20, ge=0, le=24, description="Pages opened in more different hours of one date are a robot's; 0 turns the rule off."
    )
    pages_without_assets: int = Field(
        30,
        ge=0,
        description="More pages without one static asset are a robot's, where most devices of that log and date load them; 0 turns the rule off.",
    )


class EventsSettings(Strict):
    session_gap_minutes: float = Field(30, gt=0, description="A longer pause begins a new session.")
    max_dwell_minutes: float = Field(
        30, gt=0, description="The attention of one event counts for so long at most, as logged or as the time to the next event."
    )
    most_users_of_a_device: int = Field(5, ge=1, description="A device with more users tells nothing about who is anonymous on it.")
    static_extensions: list[Text] = Field(
        [
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
        ],
        description="Requests for files with these endings are no acts of people and filtered.",
    )
    bot_patterns: list[Text] = Field([], description="Regular expressions of user agents that are robots', beside the maintained lists.")
    not_bots: list[Text] = Field([], description="Regular expressions of user agents that are people's, whatever the lists say.")
    automation: AutomationSettings = Field(AutomationSettings(), description="Robots told by what they do.")

    @field_validator("bot_patterns", "not_bots")
    @classmethod
    def _patterns(cls, value: list[str]) -> list[str]:
        return [checked_pattern(pattern) for pattern in value]


class InteractionLevel(Strict):
    """How the amount of an event changes how much it says: each of its kind the same, or by the amount in units.

    ``threshold`` lets only events of one unit at least say anything; ``own_middle`` is for ratings: what a person rated below the
    mean of the own ratings says nothing good. An event without the amount counts as one unit.
    """

    by: Literal["value", "quantity", "dwell_ms", "attention_ms"] = Field("value", description="Which amount of the event counts.")
    scale: Literal["constant", "linear", "square_root", "log", "threshold", "own_middle"] = Field(
        description="How it counts: each event the same, by the amount, its root or logarithm, from one unit on, or, of ratings, against the person's own mean."
    )
    unit: float = Field(1.0, gt=0, description="The amount of one unit.")


class FeaturesSettings(Strict):
    as_of: dt.date | None = Field(
        None, description="Features know what was until the end of this day; by default the last day with events."
    )
    interaction_weights: dict[str, Weight] = Field({}, description="Weights of event types, over the vocabulary's.")
    interaction_levels: dict[str, InteractionLevel] = Field({}, description="By event type, over the default: ratings by own_middle.")
    interaction_half_life_days: float = Field(90, gt=0, description="After so many days an event counts half.")
    timezone: Timezone = Field("UTC", description="Time zone of hours and weekdays.")


class SegmentsSettings(Strict):
    algorithms: list[Literal["k_means", "mini_batch_k_means", "hierarchical", "gaussian_mixture", "dbscan", "hdbscan"]] = Field(
        ["k_means", "mini_batch_k_means", "hierarchical", "gaussian_mixture", "dbscan", "hdbscan"],
        min_length=1,
        description="Algorithms that are tried.",
    )
    minimum_k: int = Field(3, ge=2, description="Fewest segments. Fewer are taken only where no algorithm finds as many.")
    maximum_k: int = Field(8, ge=2, description="Most segments that are tried.")
    minimum_segment_size: int = Field(20, ge=1, description="Smaller groups are merged into the nearest segment.")
    maximum_noise_share: float = Field(0.1, ge=0, le=1, description="With more users in no segment, an algorithm is not chosen.")
    attributes: list[str] = Field([], description="Attributes of users beside behaviour; all of them where behaviour tells nobody apart.")
    stability_refits: int = Field(
        10, ge=2, description="Refits on bootstrap samples by which it is measured whether the same segments come out again."
    )
    sample_users: int = Field(5_000, ge=100, description="Algorithm and number are chosen on a sample of at most so many users.")
    seed: Seed = Field(20, description="Seed of everything that is drawn here.")


class TargetOrigin(Strict):
    """What makes a target true: an attribute of the customer list, or an event within the horizon.

    Args (settings):
        attribute, equals, at_least: the attribute and its value; a boolean one is true by itself. It is predicted for those of whom it
            is not known.
        event, category, item_id: the type of event, and of which items; any by default.
    """

    attribute: str | None = Field(None, description="Attribute of the customer list; it is predicted for those of whom it is not known.")
    equals: Annotated[str, BeforeValidator(yaml_text)] | None = Field(
        None, description="The value of the attribute that makes the target true."
    )
    at_least: float | None = Field(None, description="The target is true from this number of the attribute on.")
    event: str | None = Field(None, description="Type of event that makes the target true, where it happens within the horizon.")
    category: str | None = Field(None, description="Only events with items of this category.")
    item_id: str | None = Field(None, description="Only events with this item.")

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

    name: str = Field(pattern=NAME_PATTERN, description="Name of the target in tables and conditions (`targets.NAME`).")
    from_: TargetOrigin = Field(alias="from", description="What makes the target true.")
    horizon_days: int | None = Field(None, ge=1, le=MOST_DAYS, description="For events; predictions.horizon_days by default.")
    also: list[str] = Field([], description="Attributes that are known_later, and known when this target is asked for.")
    without: list[str] = Field([], description="Attributes that its models do not learn from.")


RESERVED_TARGETS = ("purchase", "churn", "spend", "lifetime_value")


class PredictionsSettings(Strict):
    horizon_days: int = Field(30, ge=1, le=MOST_DAYS, description="Buying and leaving are predicted for this many days.")
    windows: int = Field(3, ge=1, le=12, description="Past windows to learn from, besides those that choose and judge.")
    lifetime_days: int = Field(180, ge=1, le=MOST_DAYS, description="Lifetime value is the spend expected in this many days.")
    minimum_users: int = Field(
        100,
        ge=20,
        description="With fewer users to learn from in a past window, it is not used; without enough windows nothing is predicted.",
    )
    seed: Seed = Field(20, description="Seed of everything that is drawn here.")
    targets: list[OwnTarget] = Field([], description="Questions of your own to people's future.")

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
    consent_when_unknown: bool = Field(False, description="Whether people consent of whom no customer list says whether they do.")


class ServingSettings(Strict):
    live_share: float | None = Field(
        None,
        ge=0,
        le=1,
        description="How much a person's last items count against the list of the last run, where the champion cannot follow them itself; "
        "without it what the training found best.",
    )
    exploration: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="How often one place of a list is given to an item from behind its end, so that it is learned what comes of items that are not the best.",
    )
    explored_from: int = Field(4, ge=1, description="The first place that may be given so: those before it always have the best items.")
    shadow_version: str | None = Field(
        None,
        description="A version of the recommender whose lists are made beside those that are shown, and kept to be compared; nobody sees them.",
    )
    shadow_share: float = Field(0.1, ge=0, le=1, description="Of how many lists so.")
    same_ids_as: str | None = Field(
        None, description="A source of the logs in which the same events have the same `event_id`: what was sent to both is counted once."
    )
    largest_body_bytes: int = Field(1_000_000, ge=1_000, description="Larger requests are refused.")
    largest_batch: int = Field(1_000, ge=1, le=100_000, description="Most events of one request.")
    requests_per_second: float = Field(
        500.0,
        gt=0,
        description="Of one address, on average; so many again at once. It holds where the service listens beyond this machine.",
    )
    body_seconds: float = Field(10.0, gt=0, description="A request whose body takes longer to come is given up.")
    outcome_hours: float = Field(
        24.0,
        gt=0,
        description="So long after a list a click, a cart or a purchase of one of its items counts for it (`persona experiment`).",
    )
    streams: list[StreamSettings] = Field([], description="Streams from which events are taken, beside those that come over HTTP.")
    publish: PublishSettings | None = Field(None, description="Where events that came over HTTP are published; without it nowhere.")

    @model_validator(mode="after")
    def _told_apart(self) -> ServingSettings:
        names = [stream.known_as for stream in self.streams]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise ValueError(f"streams[{number}].name: {name!r} is taken; expected a name of its own for each stream")
        return self


class SchedulesSettings(Strict):
    daily: Cron = Field("15 4 * * *", description="When the daily job starts, as five fields of cron.")
    weekly: Cron = Field("45 5 * * 1", description="When the weekly job (training, comparison, gate) starts, as five fields of cron.")
    timezone: Timezone = Field("UTC", description="Time zone of both.")
    sensor_seconds: int = Field(60, ge=30, le=604_800, description="So often is looked for new files.")


class WarehouseSettings(Strict):
    memory_limit: str = Field("4GB", pattern=MEMORY_PATTERN, description="Memory of the database; beyond it, it works on disk.")
    threads: int = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=1024, description="Threads of the database; by default one a core."
    )
    wait_minutes: float = Field(60, ge=0, le=1_000_000, description="So long a run waits for another one that holds the warehouse.")
