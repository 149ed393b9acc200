"""The one way from a field of a record to a value of a type: for mapped columns, attributes, conditions and look-ups alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import ibis
import ibis.expr.types as ir

from persona_pipelines.logs.formats.sql import BLANKS_AT_ENDS
from persona_pipelines.logs.numbers import LARGEST_EXACT, as_everywhere, currencies_beside, is_one_of, read_number
from persona_pipelines.logs.times import read_duration, read_time, time_of_number
from persona_pipelines.settings import Source
from persona_pipelines.settings.sources import AMOUNTS, Condition, FieldMapping, Reading, as_list
from persona_pipelines.warehouse import functions


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


def fields_of(records: ir.Table, source: Source) -> Fields:
    texts = {path: records[f"field_{number}"] for number, path in enumerate(source.paths())}
    told = source.tells_numbers
    return Fields(texts, {path: records[f"is_number_{number}"] for number, path in enumerate(source.paths())} if told else {})


IDENTIFIERS = ("event_id", "user_id", "anonymous_id", "item_id", "target_user_id")
"""Columns whose spelling is brought to one form (``Source.identifiers``)."""
WORDS_MEAN_MISSING = ("event_id", "user_id", "anonymous_id", "target_user_id")
"""Columns in which the source's ``missing_words`` are no ids. An item may be called anything."""
WHOLE_IDS = ("event_id", "user_id", "target_user_id")
"""Columns for which a text joined of several fields needs all of them: without one, it would stand for many."""
TRUE_WORDS = ("true", "t", "yes", "y", "1", "1.0", "on", "granted")
FALSE_WORDS = ("false", "f", "no", "n", "0", "0.0", "off", "denied")
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
    if reading.pattern is not None or reading.decode or reading.replace:
        text = text.re_replace(BLANKS_AT_ENDS, "").nullif("")
    if reading.lower_case:
        text = text.lower()
    words = reading.missing_words
    if words is None and column in WORDS_MEAN_MISSING:
        words = source.missing_words
    if words:
        # A pattern and not a list: the engine makes a join of a long list, and holds all records for it.
        known = "|".join(re.escape(word) for word in sorted(set(words)))
        nothing = rf"|{INVISIBLE}+" if column in WORDS_MEAN_MISSING else ""
        text = ibis.ifelse(text.re_search(rf"^(?i:{known}{nothing})$"), None, text)
    return text.nullif("") if words else text


def spelled(text: ir.StringValue, source: Source) -> ir.StringValue:
    spelling = source.identifiers
    if spelling.form == "NFC":
        text = _nfc(text)
    if spelling.invisible == "remove":
        text = text.re_replace(INVISIBLE, "")
    if spelling.blanks == "collapse":
        text = text.re_replace(BLANKS, " ").strip().nullif("")
    return text.lower() if spelling.lower_case else text


def condition_holds(condition: Condition, fields: Fields, source: Source) -> ir.BooleanValue:
    """Whether a record meets a condition. Never null: a missing field meets only ``missing: true``."""
    if condition.not_ is not None:
        return ~condition_holds(condition.not_, fields, source)
    if condition.all_:
        return ibis.and_(*(condition_holds(inner, fields, source) for inner in condition.all_))
    if condition.any_:
        return ibis.or_(*(condition_holds(inner, fields, source) for inner in condition.any_))
    text = read_text(condition, fields[condition.field], source)
    is_number = fields.is_number(condition.field)
    number = read_number(condition, text, source, is_number)
    tests = {
        "equals": lambda wanted: is_one_of(condition, text, [wanted], source, is_number),
        "one_of": lambda wanted: is_one_of(condition, text, wanted, source, is_number),
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
    return ibis.coalesce(*(text for text in _texts(mapping, fields, source, column) if text is not None))


def _texts(mapping: FieldMapping, fields: Fields, source: Source, column: str = "") -> tuple[ir.StringValue | None, ir.StringValue | None]:
    """What the record says, and what the configuration says in its stead; never both of one record."""
    if mapping.value is not None:
        return None, ibis.literal(mapping.value)
    if mapping.cases is not None:
        branches = [(condition_holds(case.when, fields, source), ibis.literal(case.value)) for case in mapping.cases]
        return None, ibis.cases(*branches, else_=ibis.literal(mapping.default, type="string"))
    entries = mapping.first_of if mapping.first_of is not None else [mapping.from_ or []]
    text = ibis.coalesce(*(_joined(mapping, as_list(entry), fields, source, column) for entry in entries))
    default = None if mapping.default is None else ibis.literal(mapping.default)
    if mapping.map is None:
        return text, None if default is None else ibis.ifelse(text.isnull(), default, None)
    mapped = ibis.cases(*((text == key, ibis.literal(entry)) for key, entry in mapping.map.items()), else_=ibis.null("string"))
    if default is not None:
        return None, mapped.nullif("").fill_null(default)
    return ibis.ifelse(mapped.isnull(), text, None), mapped.nullif("")


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


def number_of(mapping: FieldMapping, fields: Fields, source: Source, column: str = "") -> tuple[ir.FloatingValue, ir.BooleanValue]:
    """The number of a canonical column, and whether there was text that is no finite number."""
    money = column in AMOUNTS
    if mapping.product is not None:
        number, unreadable = _factor(mapping.product[0], mapping, fields, source, money)
        for entry in mapping.product[1:]:
            factor, wrong = _factor(entry, mapping, fields, source, money)
            number, unreadable = number * factor, unreadable | wrong
    else:
        alone = [entry for entry in [*(mapping.from_ or []), *(mapping.first_of or [])] if isinstance(entry, str)]
        recorded, configured = _texts(mapping, fields, source)
        read = []
        if recorded is not None:
            plain = read_duration(recorded) if mapping.duration else read_number(mapping, recorded, source, fields.is_number(*alone), money)
            read.append((plain, recorded.notnull() & plain.isnull()))
        if configured is not None:  # written as in every configuration
            said = read_number(mapping, configured, source, money=money)
            plain = configured.try_cast("float64")
            number = ibis.ifelse(functions.isfinite(plain), plain, said)
            read.append((number, configured.notnull() & number.isnull()))
        number, unreadable = ibis.coalesce(*(found for found, _ in read)), ibis.or_(*(wrong for _, wrong in read))
    if mapping.absolute:
        number = number.abs()
    if mapping.scale is not None:
        number = _scaled(number, mapping.scale)
    return number, unreadable


def _scaled(number: ir.FloatingValue, scale: float) -> ir.FloatingValue:
    """A number times a factor of the configuration: cents are divided by 100, because 0.01 is no number of the engine's, and 929 * 0.01 no 9.29."""
    above, below = Decimal(repr(scale)).as_integer_ratio()
    if max(abs(above), below) > LARGEST_EXACT:
        return number * scale
    return number * float(above) / float(below) if below != 1 else number * float(above)


def _factor(
    entry: list[str | int], mapping: FieldMapping, fields: Fields, source: Source, money: bool
) -> tuple[ir.FloatingValue, ir.BooleanValue]:
    """The first of some fields that is there, else a number of the configuration, and whether it is text that is no finite number."""
    numbers: list[ir.FloatingValue] = []
    wrong = []
    for path in entry:
        if isinstance(path, str):
            text = read_text(mapping, fields[path], source)
            number = read_number(mapping, text, source, fields.is_number(path), money)
            numbers.append(number)
            wrong.append((text.notnull(), number.isnull()))
        else:
            numbers.append(ibis.literal(float(path)))
    return ibis.coalesce(*numbers), ibis.cases(*wrong, else_=False) if wrong else ibis.literal(False)


def timestamp_of(
    mapping: FieldMapping, fields: Fields, source: Source, order: ir.IntegerValue
) -> tuple[ir.TimestampValue, ir.BooleanValue]:
    """The time in UTC without a zone, and whether there was text that is no time.

    ``order`` is the number of the record in its source, for logs without a clock.
    """
    if mapping.order is not None:
        return time_of_number(mapping.order, order), ibis.literal(False)
    text = text_of(mapping, fields, source)
    written = mapping.number or source.number
    if mapping.unit is not None and written is not None:
        text = ibis.coalesce(as_everywhere(written, text), text)  # programs count time in their own way beside amounts of people
    if mapping.plus is None:
        moment = read_time(mapping, text)
        return moment, text.notnull() & moment.isnull()
    later = read_text(Reading(), fields[mapping.plus.from_], source)
    moment = read_time(mapping, text, later)
    return moment, text.notnull() & later.notnull() & moment.isnull()


def value_of(
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


def currencies_written(mapping: FieldMapping, fields: Fields, source: Source) -> list[ir.StringValue]:
    """The currencies beside the amounts that a value is made of; none where nothing is said of how numbers are written."""
    if mapping.number is None and source.number is None:
        return []
    if mapping.product is not None:
        texts = [[read_text(mapping, fields[path], source) for path in entry if isinstance(path, str)] for entry in mapping.product]
        return [found for alternatives in texts if alternatives for found in currencies_beside(ibis.coalesce(*alternatives))]
    return currencies_beside(text_of(mapping, fields, source))
