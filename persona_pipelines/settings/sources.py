"""How a source's records become canonical columns: where its files are, what they look like, and what each field means."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from persona_pipelines.settings.formats import AccessLogFormat, DelimitedFormat, FormatSettings
from persona_pipelines.settings.log_formats import line_pattern
from persona_pipelines.settings.patterns import checked_pattern, checked_time_format, checked_timezone, groups
from persona_pipelines.settings.presets import with_preset
from persona_pipelines.settings.strict import NAME_PATTERN, OWNER_PATTERN, Strict, Text

MISSING_WORDS = (
    "null",
    "(null)",
    "undefined",
    "nan",
    "none",
    "nil",
    "\\n",
    "n/a",
    "#n/a",
    "<na>",
    "-",
    "--",
    "(not set)",
    "(none)",
    "(not provided)",
    "not set",
    "unknown",
    "anonymous",
    "guest",
    "[object object]",
    "00000000-0000-0000-0000-000000000000",
    "false",
    "true",
    "[]",
    "{}",
)
"""Words that stand for a missing id in logs of libraries and databases, compared without case."""

UNITS = {
    "nanoseconds": 1e-3,
    "microseconds": 1.0,
    "milliseconds": 1e3,
    "seconds": 1e6,
    "minutes": 60e6,
    "hours": 3600e6,
    "days": 86_400e6,
}
"""Microseconds of each unit of time."""

Unit = Literal["nanoseconds", "microseconds", "milliseconds", "seconds", "minutes", "hours", "days"]


def as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def yaml_text(value: Any) -> Any:
    """YAML reads true, false and whole numbers as such: what is compared with a log's text is meant as text."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if value is None or isinstance(value, (str, dict, list)) else str(value)


def _texts(value: Any) -> Any:
    return [yaml_text(entry) for entry in value] if isinstance(value, list) else value


def _text_keys(value: Any) -> Any:
    return {str(yaml_text(key)): yaml_text(entry) for key, entry in value.items()} if isinstance(value, dict) else value


class NumberFormat(Strict):
    """How numbers are written: ``1.234,50`` with decimal ``,`` and thousands ``.``.

    A currency's sign or code, a sign before or after, and parentheses for negative amounts are understood then.
    """

    decimal: str = Field(".", min_length=1, max_length=1, description="Mark before the fraction.")
    thousands: str = Field("", max_length=1, description="Mark between thousands, or nothing.")

    @model_validator(mode="after")
    def _differ(self) -> NumberFormat:
        if self.decimal == self.thousands:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; expected two different characters")
        if any(mark.isalnum() or mark in tuple("+-()") for mark in (self.decimal, self.thousands)):
            raise ValueError("expected marks such as . , ' or a blank")
        return self


class Reading(Strict):
    """How the text of a field is taken before anything is made of it; the same for mappings and conditions, in this order."""

    pattern: str | None = Field(None, description="Regular expression (RE2) with one group, the part to keep.")
    decode: Annotated[list[Literal["url", "form"]], BeforeValidator(as_list)] = Field(
        [], description="Encodings to undo, in order: `url` is percent-encoding, `form` also turns + into a blank."
    )
    replace: dict[str, str] | None = Field(None, description="Texts to replace, and what by.")
    lower_case: bool = Field(False, description="Whether letters are made small.")
    missing_words: Annotated[list[str], BeforeValidator(_texts)] | None = Field(None, description="Texts that mean that there is none.")
    number: NumberFormat | None = Field(None, description="How the number is written, over the source's.")

    def numbers(self) -> list[NumberFormat]:
        """How numbers are written, where it or a condition in it says so."""
        return [self.number] if self.number else []

    @field_validator("replace", mode="before")
    @classmethod
    def _replace_as_text(cls, value: Any) -> Any:
        return _text_keys(value)

    @field_validator("pattern")
    @classmethod
    def _one_group(cls, value: str | None) -> str | None:
        if value is not None and len(groups(checked_pattern(value))) != 1:
            raise ValueError("expected a regular expression with exactly one group, the part to keep")
        return value


class Condition(Reading):
    """A test on one field of a record; all given comparisons must hold. A missing field only meets ``missing: true``.

    ``{not: CONDITION}`` holds where the condition does not, ``{all: [...]}`` where all do, ``{any: [...]}`` where one does.
    """

    not_: Condition | None = Field(None, alias="not", description="Holds where this condition does not.")
    all_: list[Condition] | None = Field(None, alias="all", min_length=1, description="Holds where all of these do.")
    any_: list[Condition] | None = Field(None, alias="any", min_length=1, description="Holds where one of these does.")
    field: str = Field("", description="The field to look at.")
    equals: Annotated[str, BeforeValidator(yaml_text)] | None = Field(
        None, description="The same text or, where it is a number, the same number."
    )
    one_of: Annotated[list[str], Field(min_length=1), BeforeValidator(_texts)] | None = Field(None, description="Equal to one of these.")
    matches: str | None = Field(None, description="A regular expression (RE2) that is found in the text.")
    below: float | None = Field(None, description="Less than this number.")
    above: float | None = Field(None, description="More than this number.")
    at_least: float | None = Field(None, description="This number or more.")
    at_most: float | None = Field(None, description="This number or less.")
    missing: bool | None = Field(None, description="Whether the field is missing.")

    COMPARISONS: ClassVar[tuple[str, ...]] = ("equals", "one_of", "matches", "below", "above", "at_least", "at_most", "missing")

    @field_validator("matches")
    @classmethod
    def _is_a_pattern(cls, value: str | None) -> str | None:
        return value if value is None else checked_pattern(value)

    @model_validator(mode="after")
    def _compares_something(self) -> Condition:
        compared = [name for name in self.COMPARISONS if getattr(self, name) is not None]
        combined = [name for name in ("not", "all", "any") if getattr(self, f"{name}_") is not None]
        if combined:
            if len(combined) > 1 or self.field or compared:
                raise ValueError(f"{combined[0]}: expected nothing beside it; put fields and their comparisons inside")
        elif not self.field:
            raise ValueError("field: missing; expected the field to look at, or not, all or any with conditions inside")
        elif not compared:
            raise ValueError(f"expected at least one comparison: {', '.join(self.COMPARISONS)}")
        return self

    def tests(self) -> list[Condition]:
        """The conditions in it that look at a field."""
        inner = [*([self.not_] if self.not_ else []), *(self.all_ or []), *(self.any_ or [])]
        return [test for condition in inner for test in condition.tests()] if inner else [self]

    def numbers(self) -> list[NumberFormat]:
        return [test.number for test in self.tests() if test.number]

    def paths(self) -> list[str]:
        return [test.field for test in self.tests()]

    def described(self) -> str:
        """The condition in words, for the reason of records that are left out by it."""
        if self.not_ is not None:
            return f"not ({self.not_.described()})"
        if self.all_ or self.any_:
            word = " and " if self.all_ else " or "
            return word.join(f"({condition.described()})" for condition in self.all_ or self.any_ or [])
        tests = [f"{name} {getattr(self, name)}" for name in self.COMPARISONS if getattr(self, name) is not None]
        return f"{self.field} {' and '.join(tests)}"


class Case(Strict):
    when: Condition = Field(description="The condition.")
    value: Annotated[str, BeforeValidator(yaml_text)] = Field(description="What the column becomes where it holds.")


class RecordOrder(Strict):
    """A clock for logs that have none: the first record at ``start``, each following one ``step_seconds`` later."""

    start: dt.datetime = Field(dt.datetime(2000, 1, 1), description="Time of the first record (UTC).")  # noqa: DTZ001 - UTC, like all times of the tables
    step_seconds: float = Field(1.0, gt=0, le=86_400, description="Time from one record to the next.")


class Offset(Strict):
    """A number in another field that is added to a time: milliseconds of the day, seconds since the session's start."""

    from_: Text = Field(alias="from", description="The field with the number.")
    unit: Unit = Field(description="Its unit.")


class RunningSum(Strict):
    """The sum of a field over the records up to this one, of the same ``by`` and in the order of ``along``; only in lookups."""

    of: Text = Field(description="The field that is summed.")
    by: Text = Field(description="The field that has to be the same.")
    along: Text = Field(description="The field whose order, as a number or time, is followed.")


ZONE_AT_END = re.compile(r"(?<!%)(?:Z|UTC|GMT)$")


class FieldMapping(Reading):
    """How one canonical column is made from a record."""

    from_: Annotated[list[Text], Field(min_length=1), BeforeValidator(as_list)] | None = Field(
        None, alias="from", description="A field of the record, or several that are joined."
    )
    value: Annotated[str, BeforeValidator(yaml_text)] | None = Field(None, description="A constant.")
    join: str = Field("|", description="What stands between fields that are joined.")
    first_of: Annotated[list[Text | Annotated[list[Text], Field(min_length=1)]], Field(min_length=1)] | None = Field(
        None, description="Fields of which the first that is there is taken; a list among them is joined."
    )
    map: Annotated[dict[str, str], BeforeValidator(_text_keys)] | None = Field(
        None, description="Values and what they become; others stay as they are."
    )
    default: Annotated[str, BeforeValidator(yaml_text)] | None = Field(
        None, description="What a missing value becomes, or with `map` one that does not stand there."
    )
    cases: Annotated[list[Case], Field(min_length=1)] | None = Field(
        None, description="Conditions of which the first that holds gives the value."
    )
    format: Annotated[list[str], Field(min_length=1), BeforeValidator(as_list)] | None = Field(
        None, description="Formats of a time (strptime), or `iso`; the first that fits."
    )
    unit: Unit | None = Field(None, description="Unit of a time that is a number.")
    since: dt.datetime = Field(dt.datetime(1970, 1, 1), description="The moment from which it counts.")  # noqa: DTZ001 - UTC, like all times of the tables
    plus: Offset | None = Field(None, description="A number in another field that is added to the time.")
    timezone: str | None = Field(None, description="Time zone of times that name none; UTC by default.")
    order: RecordOrder | None = Field(None, description="A clock for logs without one: the order of the records.")
    product: Annotated[list[Annotated[list[Text | int], Field(min_length=1), BeforeValidator(as_list)]], Field(min_length=1)] | None = (
        Field(None, description="Numbers that are multiplied; of a list among them, the first that is there.")
    )
    running_sum: RunningSum | None = Field(None, description="The sum of a field over the records so far; only in sources of kind lookup.")
    scale: float | None = Field(None, description="A number by which the value is multiplied.")
    absolute: bool = Field(False, description="Whether the sign is taken away.")
    duration: bool = Field(False, description="Whether the text is a duration (01:02:03, PT1H2M3S), to be read as milliseconds.")

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, (str, list)):
            return {"from": value}
        if isinstance(value, dict) and str(value.get("order")).lower() in ("true", "yes", "on"):
            return {**value, "order": {}}
        return value

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str | None) -> str | None:
        return value if value is None else checked_timezone(value)

    @field_validator("format")
    @classmethod
    def _time_formats(cls, value: list[str] | None) -> list[str] | None:
        return value if value is None else [checked_time_format(entry) for entry in value]

    @model_validator(mode="after")
    def _one_origin(self) -> FieldMapping:
        given = {
            "from": self.from_,
            "first_of": self.first_of,
            "value": self.value,
            "cases": self.cases,
            "product": self.product,
            "order": self.order,
            "running_sum": self.running_sum,
        }
        origins = [name for name, found in given.items() if found is not None]
        if len(origins) != 1:
            raise ValueError(f"expected exactly one of {', '.join(given)}; found {', '.join(origins) or 'none'}")
        if self.duration and self.from_ is None and self.first_of is None:
            raise ValueError("duration: is of a field's text (01:02:03); expected it beside from or first_of")
        literal = next((entry for entry in self.format or [] if ZONE_AT_END.search(entry)), None)
        if literal is not None and self.timezone not in (None, "UTC"):
            raise ValueError(
                f"format {literal!r} ends in a zone as plain text, which timezone {self.timezone} would overrule; expected %z or %Z for it"
            )
        if self.unit is not None and self.format is None and self.timezone is not None and not self.since_is_local:
            since = f"{self.since:%Y-%m-%d %H:%M%z}" if self.since.tzinfo else "1970, which began in UTC"
            raise ValueError(
                f"timezone {self.timezone}: counts of {self.unit} are since {since}; expected it beside a since without a zone, or not at all"
            )
        return self

    @property
    def since_is_local(self) -> bool:
        """Whether counts are since a moment of the clocks of ``timezone``."""
        return "since" in self.model_fields_set and self.since.tzinfo is None

    def numbers(self) -> list[NumberFormat]:
        return [*super().numbers(), *(found for case in self.cases or [] for found in case.when.numbers())]

    def paths(self) -> list[str]:
        """The fields of the source that this mapping reads."""
        named = [*(self.from_ or []), *(path for entry in self.product or [] for path in entry if isinstance(path, str))]
        named += [path for entry in self.first_of or [] for path in as_list(entry)]
        named += [path for case in self.cases or [] for path in case.when.paths()]
        if self.plus:
            named.append(self.plus.from_)
        if self.running_sum:
            named += [self.running_sum.of, self.running_sum.by, self.running_sum.along]
        return named


AttributeType = Literal["number", "category", "boolean", "date"]
COLUMN_TYPES: dict[AttributeType, str] = {"number": "float64", "category": "string", "boolean": "boolean", "date": "date"}
"""Types of attributes as those of columns."""


class Attribute(FieldMapping):
    """A property of people or items beyond the canonical columns, with its type; ``balance: number`` reads the field of that name.

    Args (settings):
        known_later: it tells what came after the events, as the outcome of a campaign does: no model learns from it, a target may be it.
    """

    type: AttributeType = Field(description="What its values are.")
    known_later: bool = Field(False, description="It tells what came after the events: no model learns from it, a target may be it.")

    @model_validator(mode="before")
    @classmethod
    def _typed(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value


class Each(Strict):
    """A list in each record of which every element gives an event: a path, or a text that is split.

    In the mapping, the path of the list stands for the element: ``items.id`` is the id of the element of ``items``.

    Args (settings):
        empty: whether a record without elements is an event all the same (as a page view beside purchases of items), or none.
            By default it is where the list stands in a document, and is not where a text is split.
    """

    path: Text = Field(description="The list, each element of which gives an event.")
    split: str | None = Field(None, min_length=1, description="The list is a text that is split at this mark.")
    empty: Literal["keep", "skip"] | None = Field(
        None,
        description="Whether a record without elements is an event all the same; by default it is where the list stands in a document, and is not where a text is split.",
    )

    @property
    def keeps_empty(self) -> bool:
        return (self.empty or ("keep" if self.split is None else "skip")) == "keep"

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("path")
    @classmethod
    def _one_list(cls, value: str) -> str:
        if "[*]" in value:
            raise ValueError(f"{value!r} goes through a list itself; expected the path of one list, whose elements are events")
        return value


class Lookup(Strict):
    """Fields of a record of another source (of kind ``lookup``), found by a field of this one.

    Args (settings):
        on: the field, of the same name in both; or ``{field of this source: column of the lookup}``.
        fields: columns of the lookup; they are read as ``SOURCE.COLUMN``. All of them by default.
    """

    source: Text = Field(description="The source of kind lookup.")
    on: Annotated[dict[Text, Text], BeforeValidator(lambda value: {value: value} if isinstance(value, str) else value)] = Field(
        min_length=1, description="The field by which its record is found, of the same name in both, or `{field here: column there}`."
    )
    fields: list[Text] | None = Field(None, description="Columns of the look-up that are read as SOURCE.COLUMN; all by default.")

    def gives(self, path: str) -> bool:
        """Whether a field is one of the look-up's."""
        return path.startswith(f"{self.source}.")


class Identifiers(Strict):
    """In which spellings two ids of people, devices and items are the same.

    Args (settings):
        form: of Unicode; ``none`` leaves texts as they are.
        invisible: whether characters without width (zero-width blanks, marks of direction) are taken out.
        blanks: whether blanks at the ends are taken off and others become one.
        lower_case: whether ``Ann`` and ``ann`` are one.
    """

    form: Literal["NFC", "none"] = Field("NFC", description="Form of Unicode in which ids are compared.")
    invisible: Literal["remove", "keep"] = Field("keep", description="Whether characters without width are taken out.")
    blanks: Literal["collapse", "keep"] = Field("keep", description="Whether runs of blanks become one.")
    lower_case: bool = Field(False, description="Whether `Ann` and `ann` are one.")


EVENT_FIELDS = {
    "event_id",
    "user_id",
    "anonymous_id",
    "timestamp",
    "event_type",
    "item_id",
    "value",
    "quantity",
    "currency",
    "dwell_ms",
    "scroll_pct",
    "channel",
    "campaign",
    "target_user_id",
    "list_id",
    "position",
    "propensity",
    "device",
    "country",
    "referrer",
    "search_terms",
    "url",
    "user_agent",
}
ITEM_FIELDS = {"item_id", "title", "category", "categories", "brand", "price", "currency", "available_from", "in_stock"}
USER_FIELDS = {
    "user_id",
    "signup_date",
    "country",
    "gender",
    "age_group",
    "occupation",
    "consent_personalisation",
    "consent_marketing",
}
FIELDS_OF_KIND = {"events": EVENT_FIELDS, "items": ITEM_FIELDS, "users": USER_FIELDS}
REQUIRED_FIELDS = {"events": {"timestamp", "event_type"}, "items": {"item_id"}, "users": {"user_id"}, "lookup": set()}
PLACE_FIELDS = ("@file", "@line", "@part", "@index", "@within")
"""Fields that every record has: its file, its line, its number in the line, the number of the element in ``each``, and, with ``fill_down``, its number
among the records of the same ``within``."""


TYPED_FIELDS = {
    "timestamp": "time",
    "signup_date": "time",
    "available_from": "time",
    "value": "number",
    "quantity": "number",
    "dwell_ms": "number",
    "scroll_pct": "number",
    "position": "number",
    "propensity": "number",
    "price": "number",
}
"""Columns that are no texts."""
AMOUNTS = ("value", "price")
"""Columns with an amount of money, beside which its currency may stand."""
SETTINGS_OF_TYPES = {
    "time": ("format", "unit", "since", "plus", "timezone", "order"),
    "number": ("product", "scale", "absolute", "duration"),
}


def refuse_settings_of_other_types(place: str, mapping: FieldMapping, kind: str) -> None:
    """Raises ValueError where a mapping says of a column what has no meaning for one of its kind."""
    for other, names in SETTINGS_OF_TYPES.items():
        wrong = next((name for name in names if name in mapping.model_fields_set), None)
        if wrong and other != kind:
            instead = "; for a number in another unit say scale" if wrong == "unit" and kind == "number" else ""
            raise ValueError(f"{place}.{wrong}: is for columns that are a {other}, and this is a {kind}{instead}")


class Source(Strict):
    """One kind of log: where its files are, what they look like, and how a record becomes canonical columns."""

    name: str = Field(pattern=NAME_PATTERN, description="Names the raw table `logs.NAME` and the asset.")
    kind: Literal["events", "items", "users", "lookup"] = Field(
        "events", description="Whether records are events, items of a catalogue, users of a customer list, or what others are completed by."
    )
    preset: str | None = Field(
        None, description="Name of a usual log or export that gives format, fields and what else they need; what is written beside it wins."
    )
    description: str = Field("", description="What the source is; shown in Dagster.")
    path: Text = Field(description="Files, relative to the configuration; `{date}` stands for a day, `*` for anything within a folder.")
    format: FormatSettings = Field(description="What the files look like: a format's name, or its settings.")
    fields: dict[str, FieldMapping] = Field(description="How each canonical column is made from a record.")
    attributes: dict[Annotated[str, Field(pattern=NAME_PATTERN)], Attribute] = Field(
        {}, description="Properties of people or items beyond the canonical columns, by name."
    )
    parse: dict[Text, Literal["json", "parameters"]] = Field(
        {}, description="Fields whose text is a document of its own, and of which kind."
    )
    each: Each | None = Field(None, description="A list in each record of which every element is an event.")
    join: Annotated[list[Lookup], BeforeValidator(as_list)] = Field([], description="Look-ups whose fields complete the record.")
    drop_when: list[Condition] = Field([], description="A record that meets one of these conditions is filtered.")
    same: Literal["id", "content", "never"] | None = Field(
        None, description="When two records are one; by default by their id where `event_id` is mapped, else by their content."
    )
    number: NumberFormat | None = Field(None, description="How numbers are written.")
    missing_words: Annotated[list[str], BeforeValidator(_texts)] = Field(
        list(MISSING_WORDS), description="Words that are no id of a person, device or event."
    )
    identifiers: Identifiers = Field(Identifiers(), description="Which spellings of an id are one.")
    received: bool = Field(
        False,
        description="What the live service of this key has accepted. Events: ids are pseudonyms already, and days without a file are nothing unusual. Items: "
        "rows that complete the catalogue, and need neither be all of it nor say what it says.",
    )
    same_ids_as: str | None = Field(
        None, description="Another source in which the same events have the same `event_id`: what stands in both is counted once."
    )
    owner: str | None = Field(None, pattern=OWNER_PATTERN, description="Whom to ask; the configuration's owner by default.")

    @model_validator(mode="before")
    @classmethod
    def _described_by_preset(cls, value: Any) -> Any:
        return with_preset(value)

    @model_validator(mode="before")
    @classmethod
    def _attributes_of_their_names(cls, value: Any) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("attributes"), dict):
            return value
        origins = ("from", "first_of", "value", "cases", "product")
        named: dict[str, Any] = {}
        for name, entry in value["attributes"].items():
            described = {"type": entry} if isinstance(entry, str) else entry
            plain = isinstance(described, dict) and not any(origin in described for origin in origins)
            named[name] = {**described, "from": name} if plain else described
        return {**value, "attributes": named}

    @field_validator("format")
    @classmethod
    def _readable_log_format(cls, value: Any) -> Any:
        if isinstance(value, AccessLogFormat):
            line_pattern(value.log_format, value.pattern, value.further_columns == "ignore")
        return value

    @model_validator(mode="after")
    def _known_fields(self) -> Source:
        known = FIELDS_OF_KIND.get(self.kind)
        unknown = set(self.fields) - known if known else set()
        if unknown:
            wrong = sorted(unknown)[0]
            close = difflib.get_close_matches(wrong, known or [], 1)
            raise ValueError(
                f"fields.{wrong}: not a column of {self.kind}; expected {f'{close[0]}?' if close else f'one of {sorted(known or [])}'}"
            )
        missing = REQUIRED_FIELDS[self.kind] - set(self.fields)
        if missing:
            raise ValueError(f"fields.{sorted(missing)[0]}: missing; every source of {self.kind} has to map it")
        if self.kind == "events" and not {"user_id", "anonymous_id"} & set(self.fields):
            raise ValueError("fields.user_id: missing; expected user_id, anonymous_id or both")
        if self.path.count("{date}") and self.kind != "events":
            raise ValueError("path: {date} is only for sources of events; other lists are read as a whole")
        if self.attributes and self.kind not in ("items", "users"):
            raise ValueError("attributes: only in sources of kind items and users")
        for path in self.paths():
            close = difflib.get_close_matches(path, PLACE_FIELDS, 1) if path.startswith("@") and path not in PLACE_FIELDS else []
            if close:
                raise ValueError(
                    f"{path!r} is none of {', '.join(PLACE_FIELDS)}: expected {close[0]}, or '\"{path}\"' for a field of that name"
                )
        for name, mapping in (*self.fields.items(), *self.attributes.items()):
            if "since" in mapping.model_fields_set and mapping.unit is None:
                raise ValueError(f"fields.{name}.since: is of times that are numbers; expected unit beside it")
        for name, mapping in self.fields.items():
            if mapping.running_sum and self.kind != "lookup":
                raise ValueError(f"fields.{name}.running_sum: only in sources of kind lookup, which are read as a whole")
            refuse_settings_of_other_types(f"fields.{name}", mapping, TYPED_FIELDS.get(name, "text") if known else "text")
        for name, attribute in self.attributes.items():
            refuse_settings_of_other_types(
                f"attributes.{name}", attribute, {"number": "number", "date": "time"}.get(attribute.type, "text")
            )
        if self.kind == "lookup" and (self.each or self.join):
            raise ValueError("each and join: not in sources of kind lookup")
        if self.kind == "lookup" and self.number is not None:
            raise ValueError(
                "number: not of a whole source of kind lookup, whose fields may be texts as well; expected it at those that are numbers"
            )
        if self.same == "id" and "event_id" not in self.fields:
            raise ValueError("same: id needs fields.event_id; expected content or never, or a mapped event_id")
        if self.same in ("content", "never") and "event_id" in self.fields:
            raise ValueError(f"same: {self.same} would leave fields.event_id unused; expected one of the two")
        return self

    @property
    def sameness(self) -> str:
        """What makes two records one: their ``id``, their ``content``, or ``never``."""
        return self.same or ("id" if "event_id" in self.fields else "content")

    def paths(self) -> list[str]:
        """All fields that the mapping reads, each once, in a stable order."""
        named = [path for mapping in (*self.fields.values(), *self.attributes.values()) for path in mapping.paths()]
        named += [path for condition in self.drop_when for path in condition.paths()]
        if isinstance(self.format, DelimitedFormat) and self.format.fill_down:
            named += [*self.format.fill_down.fields, *self.format.fill_down.within]
        return list(dict.fromkeys(named))

    def in_a_document(self, path: str) -> bool:
        """Whether a field stands inside of a text or element that has to be a document, and may be none."""
        inside = [*self.parse, *([self.each.path] if self.each else [])]
        if any(path != name and path.startswith((f"{name}.", f"{name}[")) for name in inside):
            return True
        return self.format.type not in ("json", "json_lines", "parquet") and bool(re.search(r"[^.\[][.\[]", path))

    def conditions(self) -> list[Condition]:
        """All tests on fields, of ``drop_when`` and of cases."""
        cases = [case for mapping in (*self.fields.values(), *self.attributes.values()) for case in mapping.cases or []]
        return [test for condition in (*self.drop_when, *(case.when for case in cases)) for test in condition.tests()]

    @property
    def columns(self) -> set[str]:
        """The canonical columns that may hold something: those of the mapping, the device of a user agent and the currency beside an amount."""
        amounts = [self.fields[name] for name in AMOUNTS if name in self.fields]
        beside = {"currency"} if any(mapping.number or self.number for mapping in amounts) else set()
        return {*self.fields, *beside} | ({"device"} if "user_agent" in self.fields else set())

    @property
    def tells_numbers(self) -> bool:
        """Whether numbers of a document have to be told from texts that say one: these may be written otherwise (``number``)."""
        if self.kind == "lookup":  # how texts are written is said by the source that reads it
            return self.format.type in ("json", "json_lines", "parquet")
        own = (*self.fields.values(), *self.attributes.values(), *self.drop_when)
        return self.number is not None or any(reading.numbers() for reading in own)

    @property
    def dated(self) -> bool:
        return "{date}" in self.path
