"""Source fields -> canonical columns, as the configuration says, with every problem named.

The input is a table of text columns, one per field that the mapping reads. The output has the canonical columns with
their types, and ``problem``: the first rule of the contract that the record breaks. Nothing is dropped here.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir

from persona_pipelines.logs.currencies import Rates, converted
from persona_pipelines.logs.fields import PARTS_OF_A_LINE
from persona_pipelines.logs.numbers import currency_beside, may_be_one, meant, read_number
from persona_pipelines.settings import Settings, Source
from persona_pipelines.settings.sources import COLUMN_TYPES, UNITS, Condition, FieldMapping, Reading, as_list
from persona_pipelines.warehouse import contracts, functions


@dataclass(frozen=True)
class Fields:
    """The texts of a record's fields by path, and where the record has a number itself."""

    texts: Mapping[str, ir.StringValue]
    numbers: Mapping[str, ir.BooleanValue]

    def __getitem__(self, path: str) -> ir.StringValue:
        return self.texts[path]

    def is_number(self, *paths: str) -> ir.BooleanValue | None:
        """Whether the first of some fields that is there is a number; None where none has to be told from a text."""
        if not self.numbers or not paths:
            return None
        return ibis.cases(*((self.texts[path].notnull(), self.numbers[path]) for path in paths), else_=False)


LONGEST_TEXT = 2000
IDENTIFIERS = ("event_id", "user_id", "anonymous_id", "item_id", "target_user_id")
"""Columns whose spelling is brought to one form (``Source.identifiers``)."""
WORDS_MEAN_MISSING = ("event_id", "user_id", "anonymous_id", "target_user_id")
"""Columns in which the source's ``missing_words`` are no ids. An item may be called anything."""
WHOLE_IDS = ("event_id", "user_id", "target_user_id")
"""Columns for which a text joined of several fields needs all of them: without one, it would stand for many."""
TRUE_WORDS = ("true", "t", "yes", "y", "1", "granted")
FALSE_WORDS = ("false", "f", "no", "n", "0", "denied")
INVISIBLE = r"[\x{00AD}\x{200B}-\x{200F}\x{202A}-\x{202E}\x{2060}-\x{2064}\x{FEFF}]"
BLANKS = r"[\s\x{00A0}\x{2000}-\x{200A}\x{202F}\x{3000}]+"


@ibis.udf.scalar.builtin(name="decode_url")
def _decode_url(text: str) -> str:
    """A macro of the connection: percent-encoded text as it was meant; what is no UTF-8 stays as it stands."""
    ...


@ibis.udf.scalar.builtin(name="decode_form")
def _decode_form(text: str) -> str:
    """A macro of the connection: as ``decode_url``, and ``+`` for a blank."""
    ...


@ibis.udf.scalar.builtin(name="nfc_normalize")
def _nfc(text: str) -> str: ...


def read_text(reading: Reading, text: ir.StringValue, source: Source, column: str = "") -> ir.StringValue:
    """The text of a field as a mapping or condition takes it: the one way from a record to a value.

    Args:
        column: the canonical column that it is for; ids are brought to one spelling, and some words mean that there is none.
    """
    if reading.pattern is not None:
        text = text.re_extract(reading.pattern, 1).nullif("")
    for name in reading.decode:
        text = _decode_url(text) if name == "url" else _decode_form(text)
    if column in IDENTIFIERS:
        text = spelled(text, source)
    for old, new in (reading.replace or {}).items():
        text = text.replace(old, new)
    if reading.lower_case:
        text = text.lower()
    words = reading.missing_words
    if words is None and column in WORDS_MEAN_MISSING:
        words = source.missing_words
    if words:
        # A pattern and not a list: the engine makes a join of a long list, and holds all records for it.
        known = "|".join(re.escape(word) for word in sorted(set(words)))
        text = ibis.ifelse(text.re_search(rf"^(?i:{known})$"), None, text)
    if reading.replace or words:
        text = text.nullif("")
    return text


def spelled(text: ir.StringValue, source: Source) -> ir.StringValue:
    spelling = source.identifiers
    if spelling.form == "NFC":
        text = _nfc(text)
    if spelling.invisible == "remove":
        text = text.re_replace(INVISIBLE, "")
    if spelling.blanks == "collapse":
        text = text.re_replace(BLANKS, " ").strip().nullif("")
    return text.lower() if spelling.lower_case else text


def currencies_written(mapping: FieldMapping, fields: Fields, source: Source) -> list[ir.StringValue]:
    """The currency beside each of the amounts that a value is made of; none where nothing is said of how numbers are written."""
    if mapping.number is None and source.number is None:
        return []
    paths = [path for entry in [*(mapping.from_ or []), *(mapping.first_of or []), *(mapping.product or [])] for path in as_list(entry)]
    return [currency_beside(read_text(mapping, fields[path], source)) for path in paths]


def condition_holds(condition: Condition, fields: Fields, source: Source) -> ir.BooleanValue:
    """Whether a record meets a condition. Never null: a missing field meets only ``missing: true``."""
    if condition.not_ is not None:
        return ~condition_holds(condition.not_, fields, source)
    if condition.all_:
        return ibis.and_(*(condition_holds(inner, fields, source) for inner in condition.all_))
    if condition.any_:
        return ibis.or_(*(condition_holds(inner, fields, source) for inner in condition.any_))
    text = read_text(condition, fields[condition.field], source)
    number = read_number(condition, text, source, fields.is_number(condition.field))
    tests = {
        "equals": lambda wanted: text == wanted,
        "one_of": lambda wanted: text.isin(wanted),
        "matches": lambda wanted: text.re_search(wanted),
        "below": lambda bound: number < bound,
        "above": lambda bound: number > bound,
        "at_least": lambda bound: number >= bound,
        "at_most": lambda bound: number <= bound,
        "missing": lambda wanted: text.isnull() if wanted else text.notnull(),
    }
    held: ir.BooleanValue = ibis.literal(True)
    for name, test in tests.items():
        wanted = getattr(condition, name)
        if wanted is not None:
            held = held & test(wanted).fill_null(False)
    return held


def text_of(mapping: FieldMapping, fields: Fields, source: Source, column: str = "") -> ir.StringValue:
    """The text of a canonical column, before it is given its type."""
    text: ir.StringValue
    if mapping.value is not None:
        text = ibis.literal(mapping.value)
    elif mapping.cases is not None:
        branches = [(condition_holds(case.when, fields, source), ibis.literal(case.value)) for case in mapping.cases]
        return ibis.cases(*branches, else_=ibis.literal(mapping.default, type="string"))
    elif mapping.first_of is not None:
        text = ibis.coalesce(*(_joined(mapping, as_list(entry), fields, source, column) for entry in mapping.first_of))
    else:
        assert mapping.from_ is not None
        text = _joined(mapping, mapping.from_, fields, source, column)
    if mapping.map is not None:
        branches = [(text == key, ibis.literal(entry)) for key, entry in mapping.map.items()]
        text = ibis.cases(*branches, else_=text if mapping.default is None else ibis.literal(mapping.default)).nullif("")
    if mapping.default is not None:
        text = text.fill_null(mapping.default)
    return text


def _joined(mapping: FieldMapping, paths: list[str], fields: Fields, source: Source, column: str) -> ir.StringValue:
    """The texts of fields with ``join`` between them; missing where the first is, and an id where any is.

    A device may lack later ones, and so may people in logs of web servers, which know devices alone: an address without the name of a browser
    is one. In an id of people, devices and events, ``join`` inside of a part is told from the one between parts.
    """
    parts = [read_text(mapping, fields[path], source, column) for path in paths]
    several = any(isinstance(entry, list) for entry in mapping.first_of or []) or len(parts) > 1
    if several and mapping.join and column in (*WHOLE_IDS, "anonymous_id"):
        mark = "%" if "\\" in mapping.join else "\\"
        for character in dict.fromkeys([mark, *mapping.join]):
            parts = [part.replace(character, mark + character) for part in parts]
    whole = column in WHOLE_IDS and source.format.type not in ("access_log", "w3c") and len(parts) > 1
    text, *further = parts
    for part in further:
        text = text + mapping.join + (part if whole else part.fill_null(""))
    return text


def _is_said(mapping: FieldMapping, text: ir.StringValue, fields: Fields, source: Source) -> ir.BooleanValue:
    """Whether the text of a column is one of the configuration, and none of the record."""
    if mapping.value is not None or mapping.cases is not None:
        return ibis.literal(True)
    own = text_of(mapping.model_copy(update={"map": None, "default": None}), fields, source)
    return own.isnull() | (text != own) | own.isin(list(mapping.map or {}))


def number_of(mapping: FieldMapping, fields: Fields, source: Source, column: str = "") -> tuple[ir.FloatingValue, ir.BooleanValue]:
    """The number of a canonical column, and whether there was text that is no finite number."""
    if mapping.product is not None:
        factors = [(read_text(mapping, fields[path], source), fields.is_number(path)) for path in mapping.product]
    else:
        alone = [entry for entry in [*(mapping.from_ or []), *(mapping.first_of or [])] if isinstance(entry, str)]
        factors = [(text_of(mapping, fields, source), fields.is_number(*alone))]
    number: ir.FloatingValue | None = None
    unreadable: ir.BooleanValue = ibis.literal(False)
    money = column not in ("quantity", "dwell_ms", "scroll_pct", "position", "propensity")
    for factor, is_number in factors:
        cast = read_number(mapping, factor, source, is_number, money)
        # What the configuration says is written as in every configuration.
        said = [*([mapping.value] if mapping.value else []), *(case.value for case in mapping.cases or []), *(mapping.map or {}).values(),
                *([mapping.default] if mapping.default else [])]  # fmt: skip
        if said:
            cast = ibis.ifelse(_is_said(mapping, factor, fields, source), ibis.coalesce(factor.try_cast("float64"), cast), cast)
        finite = functions.isfinite(cast).fill_null(False)
        unreadable = unreadable | (factor.notnull() & ~finite)
        cast = ibis.ifelse(finite, cast, None)
        number = cast if number is None else number * cast
    assert number is not None
    if mapping.absolute:
        number = number.abs()
    if mapping.scale is not None:
        number = number * mapping.scale
    return number, unreadable


EARLIEST, LATEST = dt.datetime(1, 1, 2), dt.datetime(9000, 1, 1)  # noqa: DTZ001 - UTC; what lies beyond, infinity too, is no time
LATEST_MICROSECONDS = 2.2e17


def timestamp_of(
    mapping: FieldMapping, fields: Fields, source: Source, order: ir.IntegerValue
) -> tuple[ir.TimestampValue, ir.BooleanValue]:
    """The time in UTC without a zone, and whether there was text that is no time.

    ``order`` is the number of the record in its source, for logs without a clock.
    """
    if mapping.order is not None:
        start = _microseconds(mapping.order.start)
        step = int(mapping.order.step_seconds * 1e6)
        return functions.make_timestamp((order - 1) * step + start), ibis.literal(False)
    text = text_of(mapping, fields, source)
    if mapping.unit is not None:
        moment = functions.make_timestamp(_sane(_in_microseconds(text, mapping.unit) + float(_microseconds(mapping.since))))
    elif mapping.format is not None:
        # One pass a format: a list of formats makes DuckDB 2.0 carry the zone of one row over to the next.
        moment = ibis.coalesce(*(_by_format(text, wanted, mapping.timezone) for wanted in mapping.format))
    else:
        moment = _iso(text, mapping.timezone)
    missing_part: ir.BooleanValue = ibis.literal(False)
    if mapping.plus is not None:
        offset_text = read_text(Reading(), fields[mapping.plus.from_], source)
        offset = _in_microseconds(offset_text, mapping.plus.unit)
        moment = functions.make_timestamp(_sane(functions.epoch_us(moment).cast("float64") + offset))
        missing_part = offset_text.notnull()
    moment = ibis.ifelse((moment < LATEST) & (moment > EARLIEST), moment, None)
    return moment, (text.notnull() | missing_part) & moment.isnull()


def _microseconds(moment: dt.datetime) -> int:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return round(aware.timestamp() * 1e6)


def _in_microseconds(text: ir.StringValue, unit: str) -> ir.FloatingValue:
    if unit == "nanoseconds":
        # A double holds microseconds since 1970 exactly, and nanoseconds not.
        whole = text.try_cast("int64")
        floored = functions.divide(whole, 1000) - ibis.ifelse(whole % 1000 < 0, 1, 0)
        return ibis.coalesce(floored.cast("float64"), text.try_cast("float64") * UNITS[unit])
    return text.try_cast("float64") * UNITS[unit]


def _sane(microseconds: ir.FloatingValue) -> ir.IntegerValue:
    sane = functions.isfinite(microseconds) & (microseconds.abs() < LATEST_MICROSECONDS)
    return ibis.ifelse(sane, microseconds, None).round().cast("int64")


def _by_format(text: ir.StringValue, wanted: str, zone: str | None) -> ir.TimestampValue:
    if "%z" in wanted.lower():
        # The engine reads offsets and names by these codes, but not the Z of ISO 8601.
        text = functions.with_possible_offset(text.re_replace(r"([0-9]\s*)[Zz]$", r"\1+0000") if wanted.lower().endswith("%z") else text)
    if "%Z" in wanted:
        moment = ibis.coalesce(
            functions.try_strptime_zoned(text, wanted.replace("%Z", "%z")),
            functions.try_strptime_zoned(functions.offset_within(text), wanted.replace("%Z", "%z")),
            functions.try_strptime_zoned(functions.without_abbreviation(text), wanted),
        ).cast("timestamp")
    elif "%z" in wanted:
        moment = functions.try_strptime_zoned(text, wanted).cast("timestamp")
    else:
        moment = functions.try_strptime(text, wanted)
        moment = moment if zone is None else from_local(moment, zone)
    return functions.of_four_digits(moment)


def _read(*texts: ir.StringValue) -> ir.TimestampValue:
    """The first that the engine reads."""
    return ibis.coalesce(*(text.try_cast("timestamp('UTC')") for text in texts)).cast("timestamp")


def _iso(text: ir.StringValue, zone: str | None) -> ir.TimestampValue:
    """A text of ISO 8601, in its basic form, with a comma before fractions, a blank for the T or before the zone too, and with names of zones.

    Whether it names a zone is seen by reading it with one more behind it: that succeeds where there is none.
    """
    text = ibis.ifelse(text < ":", text, None)  # begins with a digit: the engine knows words such as epoch
    plain = functions.with_offset(text)
    own, own_extended = _read(plain), _read(functions.with_offset_extended(text))
    if zone is None:
        return ibis.coalesce(own, own_extended)
    local, local_extended = _read(plain + " UTC", plain + " 00:00 UTC"), _read(functions.with_offset_extended(text + " UTC"))
    return ibis.coalesce(from_local(local, zone), own, from_local(local_extended, zone), own_extended)


@ibis.udf.scalar.builtin(name="from_local_time")
def _from_local_time(zone: str, moment: dt.datetime) -> dt.datetime:
    """A macro of the connection: local time in a zone to UTC."""
    ...


def from_local(moment: ir.TimestampValue, zone: str) -> ir.TimestampValue:
    return _from_local_time(zone, moment)


Problems = list[tuple[ir.BooleanValue, ir.StringValue]]


def _bounds_problems(column: contracts.Column, value: ir.NumericValue) -> Problems:
    problems = []
    if column.minimum is not None:
        problems.append(((value < column.minimum).fill_null(False), ibis.literal(f"{column.name}: below {column.minimum:g}")))
    if column.maximum is not None:
        problems.append(((value > column.maximum).fill_null(False), ibis.literal(f"{column.name}: above {column.maximum:g}")))
    return problems


def _values(records: ir.Table, source: Source, contract: contracts.Table) -> ir.Table:
    """The records with each mapped column as a value, and ``unreadable_...`` where there was text of another type.

    Attributes are one column, ``attributes``: a JSON object of those that the record has.

    A table of its own, so that the engine computes each value once, however many rules look at it afterwards.
    """
    fields = fields_of(records, source)
    columns: dict[str, ir.Value] = {}
    for name, mapping in source.fields.items():
        columns[name], unreadable = _typed(contract.column(name).type, mapping, fields, source, records.order, name)
        if unreadable is not None:
            columns[f"unreadable_{name}"] = unreadable
        if name == "currency":
            columns[name] = meant(columns[name]).upper()
        if name in ("url", "referrer"):
            columns[name] = columns[name].re_extract(r"^([^?#]*)", 1).nullif("")
    amount = next((name for name in ("value", "price") if name in source.fields), None)
    if amount and (several := currencies_written(source.fields[amount], fields, source)):
        written = ibis.coalesce(*several)
        others = [(~may_be_one(written, one), f"{amount}: written in " + written + " and in " + one) for one in several[1:]]
        if "currency" in columns:
            currency = columns["currency"]
            others.append((~may_be_one(written, currency), f"{amount}: written in " + written + ", and its currency is " + currency))
        columns["currency"] = columns["currency"].fill_null(written) if "currency" in columns else written
        if others:
            columns["other_currency"] = ibis.cases(*others, else_=ibis.null("string"))
    if source.attributes:
        own: dict[str, ir.Value] = {}
        for name, attribute in source.attributes.items():
            own[name], unreadable = _typed(COLUMN_TYPES[attribute.type], attribute, fields, source, records.order, "")
            if unreadable is not None:
                columns[f"unreadable_attributes.{name}"] = unreadable
        columns["attributes"] = _json_object(own)
    conditions = [
        (condition_holds(condition, fields, source), ibis.literal(f"dropped: {condition.described()}")) for condition in source.drop_when
    ]
    columns["dropped"] = ibis.cases(
        (records.problem.notnull(), ibis.null("string")), (records.skipped.notnull(), records.skipped), *conditions
    )
    return records.select("source_file", "file_day", "source_line", "source_part", "record", "problem", **columns)


def _typed(
    kind: str, mapping: FieldMapping, fields: Fields, source: Source, order: ir.IntegerValue, column: str
) -> tuple[ir.Value, ir.BooleanValue | None]:
    """A value of a type, and whether there was text that is none; None for texts, of which each is one."""
    if kind in ("timestamp", "date"):
        moment, unreadable = timestamp_of(mapping, fields, source, order)
        return (moment if kind == "timestamp" else moment.date()), unreadable
    if kind in ("float64", "int64"):
        return number_of(mapping, fields, source, column)
    if kind == "boolean":
        text = text_of(mapping, fields, source).lower()
        value = ibis.cases((text.isin(TRUE_WORDS), True), (text.isin(FALSE_WORDS), False), else_=ibis.null("boolean"))
        return value, text.notnull() & value.isnull()
    return text_of(mapping, fields, source, column), None


def _json_object(values: Mapping[str, ir.Value]) -> ir.StringValue:
    """The known ones among some values as a JSON object; null where all are missing."""
    shown = {name: value.cast("string") if value.type().is_date() else value for name, value in values.items()}
    text = ibis.struct(shown).cast("json").cast("string")
    some = ibis.or_(*(value.notnull() for value in values.values()))
    return ibis.ifelse(some, text, None)


def fields_of(records: ir.Table, source: Source) -> Fields:
    texts = {path: records[f"field_{number}"] for number, path in enumerate(source.paths())}
    told = source.tells_numbers
    return Fields(texts, {path: records[f"is_number_{number}"] for number, path in enumerate(source.paths())} if told else {})


UNREADABLE = {
    "timestamp": "not readable as a time", "date": "not readable as a date", "float64": "not a number", "int64": "not a number",
    "boolean": "neither true nor false",
}  # fmt: skip


def _type_problems(values: ir.Table, source: Source, contract: contracts.Table) -> Problems:
    """What breaks the type or the bounds of a single column, in the order of the mapping."""
    problems: Problems = []
    for name in source.fields:
        column = contract.column(name)
        if column.type in UNREADABLE:
            problems.append((values[f"unreadable_{name}"], ibis.literal(f"{name}: {UNREADABLE[column.type]}")))
        if column.type in ("float64", "int64"):
            problems += _bounds_problems(column, values[name])
        if column.type == "string" and name not in WORDS_MEAN_MISSING:
            problems.append(
                ((values[name].length() > LONGEST_TEXT).fill_null(False), ibis.literal(f"{name}: longer than {LONGEST_TEXT} characters"))
            )
    for name, attribute in source.attributes.items():
        kind = COLUMN_TYPES[attribute.type]
        if kind in UNREADABLE:
            problems.append((values[f"unreadable_attributes.{name}"], ibis.literal(f"attributes.{name}: {UNREADABLE[kind]}")))
    if source.attributes:
        too_long = (values.attributes.length() > LONGEST_TEXT * len(source.attributes)).fill_null(False)
        problems.append((too_long, ibis.literal(f"attributes: longer than {LONGEST_TEXT} characters each")))
    return problems


def mapped_events(
    records: ir.Table, source: Source, settings: Settings, delivered: bool, latest: dt.datetime, rates: Rates | None = None
) -> ir.Table:
    """Records of a source of events as rows of its raw table (``contracts.raw_events``), all but ``day``, and ``file_day``.

    Args:
        records: what ``loading.read_source`` gives; the fields in the order of ``source.paths()``, all as text.
        delivered: whether ``file_day`` is the date in the path of the file, which no record can be much later than.
        latest: later times are impossible.
        rates: into one currency; without, amounts stay as they are.
    """
    contract = contracts.raw_events(source.name)
    values = _values(records, source, contract)
    if rates is not None and {"value", "currency"} <= set(values.columns):
        values = converted(values, rates, (values.event_type != "rating").fill_null(True), values.timestamp.date(), "value")
    timestamp, earliest = values.timestamp, settings.logs.earliest_timestamp
    problems: Problems = [
        (values.unreadable_timestamp, ibis.literal("timestamp: not readable as a time")),
        (timestamp.isnull(), ibis.literal("timestamp: missing")),
        (timestamp < earliest, ibis.literal(f"timestamp: before {earliest:%Y-%m-%d}")),
        (timestamp > latest, ibis.literal("timestamp: in the future")),
    ]
    if delivered:
        problems.append((timestamp.date() > values.file_day + ibis.interval(days=1), ibis.literal("timestamp: after the day of its file")))
    problems += [
        (values.event_type.isnull(), ibis.literal("event_type: missing")),
        (values.event_type.notin(settings.known_event_types()), ibis.literal("event_type: not in the vocabulary")),
        *_type_problems(values, source, contract),
        *_value_problems(values, source, settings),
        (
            ibis.and_(*(values[name].isnull() for name in ("user_id", "anonymous_id") if name in source.fields)),
            ibis.literal("user_id: missing, and anonymous_id too"),
        ),
    ]
    made: dict[str, ir.Value] = {"event_id": _event_id(values, source)}
    if "user_id" in source.fields:
        made["user_id"] = functions.pseudonym(values.user_id)
    if "target_user_id" in source.fields:
        made["target_user_id"] = functions.pseudonym(values.target_user_id)
    if "anonymous_id" in source.fields:
        made["anonymous_id"] = functions.pseudonym("device:" + values.anonymous_id)  # a device and a user of the same id stay two
    return _rows(values, contract, made, problems)


def _value_problems(values: ir.Table, source: Source, settings: Settings) -> Problems:
    """Money and ratings share a column and not their bounds."""
    problems: Problems = []
    if "value" in source.fields:
        rated = (values.event_type == "rating").fill_null(False)
        for wanted, bounds, name in ((rated, settings.logs.ratings, "ratings"), (~rated, settings.logs.money, "money")):
            for outside, words, bound in (
                (values.value < bounds.minimum, "below", bounds.minimum), (values.value > bounds.maximum, "above", bounds.maximum),
            ):  # fmt: skip
                said = f"value: {words} {bound:g}" + ("" if words == "below" and name == "money" else f" (logs.{name})")
                problems.append((wanted & outside.fill_null(False), ibis.literal(said)))
        if "other_currency" in values.columns:
            problems.append((~rated & values.other_currency.notnull(), values.other_currency))
    if "without_rate" in values.columns:
        problems.append((values.without_rate, "currency: no rate of " + values.currency + " for its day"))
    return problems


def _event_id(values: ir.Table, source: Source) -> ir.StringValue:
    """What makes a record the same as another one (``Source.sameness``), after the source's name."""
    content = functions.md5(functions.canonical_json(values.record) if source.format.type in ("json", "json_lines") else values.record)
    if source.sameness == "never":
        part = values.source_part.cast("string")
        return f"{source.name}:" + functions.md5(values.source_file.cast("string") + ":" + values.source_line.cast("string") + ":" + part)
    made = values.event_id if source.sameness == "id" else content
    if source.each is not None:  # the events of one record have its content in common, and its id unless that is the element's
        number = "#" + ((values.source_part - 1) % PARTS_OF_A_LINE + 1).cast("string")
        content = content + number
        inside = source.fields["event_id"].paths() if "event_id" in source.fields else []
        if not any(path == "@index" or path.startswith(source.each.path) for path in inside):
            made = made + number
    return f"{source.name}:" + ibis.coalesce(made, content)


def mapped_listing(records: ir.Table, source: Source, rates: Rates | None = None, today: dt.date | None = None) -> ir.Table:
    """Records of a source of items or users as rows of its raw table (``contracts.raw_listing``).

    Args:
        rates: into one currency, by those of ``today``.
    """
    contract = contracts.raw_listing(source.name, source.kind)
    values = _values(records, source, contract)
    if rates is not None and {"price", "currency"} <= set(values.columns):
        values = converted(values, rates, ibis.literal(True), ibis.literal(today, type="date"), "price")
    key = "item_id" if source.kind == "items" else "user_id"
    problems = [*_type_problems(values, source, contract), (values[key].isnull(), ibis.literal(f"{key}: missing"))]
    if "other_currency" in values.columns:
        problems.append((values.other_currency.notnull(), values.other_currency))
    if "without_rate" in values.columns:
        problems.append((values.without_rate, "currency: no rate of " + values.currency + " for today"))
    made = {"user_id": functions.pseudonym(values.user_id)} if source.kind == "users" else {}
    return _rows(values, contract, made, problems)


def mapped_lookup(records: ir.Table, source: Source) -> ir.Table:
    """Records of a source of kind ``lookup`` as texts, one column a field; those that cannot be read or are dropped are left out.

    Beside the fields: ``record_order``, the number of the record in the source, and ``is_number_...``, whether the record has a number there.
    """
    fields = fields_of(records, source)
    columns: dict[str, ir.Value] = {}
    for name, mapping in source.fields.items():
        columns[f"is_number_{name}"] = ibis.literal(False)
        if mapping.running_sum is None:
            columns[name] = text_of(mapping, fields, source)
            told = fields.is_number(*mapping.from_) if mapping.from_ and len(mapping.from_) == 1 else None
            columns[f"is_number_{name}"] = ibis.literal(False) if told is None else told
            continue
        columns[f"is_number_{name}"] = ibis.literal(True)
        summed = mapping.running_sum
        so_far = ibis.window(
            group_by=fields[summed.by],
            order_by=[read_number(mapping, fields[summed.along], source), records.order],
            preceding=None,
            following=0,
        )
        columns[name] = read_number(mapping, fields[summed.of], source).fill_null(0).sum().over(so_far).cast("string")
    dropped = [condition_holds(condition, fields, source) for condition in source.drop_when]
    kept = records.mutate(wanted=records.problem.isnull() & ~ibis.or_(*dropped) if dropped else records.problem.isnull())
    return kept.mutate(record_order=kept.order, **columns).filter(kept.wanted).select("record_order", *columns)


def _rows(values: ir.Table, contract: contracts.Table, made: dict[str, ir.Value], problems: Problems) -> ir.Table:
    """The contract's columns, with ``problem`` and, where there is one, the record.

    A line that cannot be read is rejected, a record that the configuration drops need not keep the contract, every other
    has to.
    """
    problem = ibis.cases((values.problem.notnull(), values.problem), (values.dropped.notnull(), ibis.null("string")), *problems)
    columns: dict[str, ir.Value] = {}
    for column in contract.columns:
        if column.name in made:
            columns[column.name] = made[column.name]
        elif column.name == "problem":
            columns["problem"] = problem
        elif column.name in values.columns:
            value = values[column.name]
            if column.type == "int64" and value.type().is_floating():
                bound = column.maximum if column.maximum is not None else 2.0**53
                value = ibis.ifelse(value.abs() <= bound, value, None).round().cast("int64")
            columns[column.name] = value
        elif column.name != "day":
            columns[column.name] = ibis.null(column.type)
    return values.select("file_day", **columns)


def stored_record(rows: ir.Table) -> ir.StringValue:
    """The record of a rejected row with addresses masked; of a good row nothing is kept beyond its columns."""
    return ibis.ifelse(rows.problem.notnull(), masked(rows.record), None)


MASKS = (
    (r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", "<e-mail>"),
    (r"\b\d{1,3}(?:\.\d{1,3}){3}\b", "<address>"),
    (r"(?i)(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}|(?:[0-9a-f]{1,4}(?::[0-9a-f]{1,4})*)?::[0-9a-f:]*", "<address>"),
)


def masked(record: ir.StringValue) -> ir.StringValue:
    """The record with e-mail and IP addresses replaced, so that none is stored in clear."""
    for pattern, replacement in MASKS:
        record = record.re_replace(pattern, replacement)
    return record
