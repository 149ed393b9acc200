"""Source fields -> canonical columns, as the configuration says, with every problem named.

The input is a table of text columns, one per field that the mapping reads. The output has the canonical columns with
their types, and ``problem``: the first rule of the contract that the record breaks. Nothing is dropped here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import ibis
import ibis.expr.types as ir

from persona_pipelines.logs.currencies import Rates, converted
from persona_pipelines.logs.fields import PARTS_OF_A_LINE
from persona_pipelines.logs.formats.reader import NO_VALUES
from persona_pipelines.logs.numbers import PARTS_OF_CURRENCIES, as_everywhere, may_be_one, meant, most_exact, read_number
from persona_pipelines.logs.times import read_time
from persona_pipelines.logs.values import (
    IDENTIFIERS,
    WORDS_MEAN_MISSING,
    Fields,
    condition_holds,
    currencies_written,
    fields_of,
    text_of,
    value_of,
)
from persona_pipelines.privacy.pseudonyms import PSEUDONYM_LENGTH
from persona_pipelines.settings import Settings, Source
from persona_pipelines.settings.formats import DelimitedFormat
from persona_pipelines.settings.sources import AMOUNTS, COLUMN_TYPES, PLACE_FIELDS, Condition, FieldMapping
from persona_pipelines.warehouse import contracts, functions

LONGEST_TEXT = 2000
NO_DOCUMENTS = dict.fromkeys(IDENTIFIERS, ", and no id") | dict.fromkeys(
    ("category", "categories", "brand"), "; expected a text, as PATH[*] makes of a list"
)
"""Ids, and texts that catalogues have lists of, with what is wrong where a document stands in their place."""
PEOPLE = ("user_id", "target_user_id", "anonymous_id")
PSEUDONYM = rf"^[0-9a-f]{{{PSEUDONYM_LENGTH}}}$"
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
        columns[name], unreadable = value_of(contract.column(name).type, mapping, fields, source, records.order, name)
        if unreadable is not None:
            columns[f"unreadable_{name}"] = unreadable
        if name == "currency":
            columns["part_of_currency"] = ibis.ifelse(columns[name].isin(list(PARTS_OF_CURRENCIES)), columns[name], None)
            columns[name] = meant(columns[name]).upper()
        if name == "categories":
            columns[name] = columns[name].re_replace(r"\s*(?:\|\s*)+", "|").re_replace(r"^\||\|$", "").nullif("")
        if name in ("url", "referrer"):
            columns[name] = columns[name].re_extract(r"^([^?#]*)", 1).nullif("")
    amount = next((name for name in AMOUNTS if name in source.fields), None)
    beside = {
        f"beside_{number}": text for number, text in enumerate(currencies_written(source.fields[amount], fields, source) if amount else [])
    }
    columns |= beside
    if source.attributes:
        own: dict[str, ir.Value] = {}
        for name, attribute in source.attributes.items():
            own[name], unreadable = value_of(COLUMN_TYPES[attribute.type], attribute, fields, source, records.order, "")
            if unreadable is not None:
                columns[f"unreadable_attributes.{name}"] = unreadable
        columns["attributes"] = _json_object(own)
    if isinstance(source.format, DelimitedFormat) and source.format.fill_down:
        filled = [fields[path].fill_null("") for path in source.format.fill_down.fields]
        columns["from_above"] = ibis.literal("\n").join(filled)
    conditions = [
        (dropped_by(condition, records, fields, source), ibis.literal(f"dropped: {condition.described()}"))
        for condition in source.drop_when
    ]
    columns["dropped"] = ibis.cases(
        (records.problem.notnull(), ibis.null("string")), (records.skipped.notnull(), records.skipped), *conditions
    )
    values = records.select(
        "source_file", "file_day", "source_line", "source_part", "record", "layout", "problem", "document_problem", **columns
    )
    return _with_currency(values, str(amount), list(beside)) if beside else values


def dropped_by(condition: Condition, records: ir.Table, fields: Fields, source: Source) -> ir.BooleanValue:
    """Whether a condition leaves a record out. Of a document that is none nothing is known, not even that a field is missing in it."""
    held = condition_holds(condition, fields, source)
    return held & records.document_problem.isnull() if any(map(source.in_a_document, condition.paths())) else held


def _with_currency(values: ir.Table, amount: str, names: list[str]) -> ir.Table:
    """The records with the currency that stands beside their amounts, and ``other_currency``, why there cannot be one.

    Args:
        names: columns with what stands there, before and behind each amount.
    """
    known = values.mutate(**{name: meant(values[name]) for name in names})
    beside = [known[name] for name in names]
    first = ibis.coalesce(*beside)
    others = [(~may_be_one(first, one), f"{amount}: written in " + first + " and in " + one) for one in beside[1:]]
    if "currency" in known.columns:
        others.append((~may_be_one(first, known.currency), f"{amount}: written in " + first + ", and its currency is " + known.currency))
        beside = [known.currency, *beside]
    other = ibis.cases(*others, else_=ibis.null("string"))
    return known.mutate(currency=most_exact(beside), other_currency=other).drop(*names)


def _json_object(values: Mapping[str, ir.Value]) -> ir.StringValue:
    """The known ones among some values as a JSON object; null where all are missing."""
    shown = {name: value.cast("string") if value.type().is_date() else value for name, value in values.items()}
    text = ibis.struct(shown).cast("json").cast("string")
    some = ibis.or_(*(value.notnull() for value in values.values()))
    return ibis.ifelse(some, text, None)


UNREADABLE = {
    "timestamp": "not readable as a time",
    "date": "not readable as a date",
    "float64": "not a number",
    "int64": "not a number",
    "boolean": "neither true nor false",
}


def _type_problems(values: ir.Table, source: Source, contract: contracts.Table) -> Problems:
    """What breaks the type or the bounds of a single column, in the order of the mapping."""
    problems: Problems = []
    for name in source.fields:
        column = contract.column(name)
        if column.type in UNREADABLE:
            wrong = "not a duration" if source.fields[name].duration else UNREADABLE[column.type]
            problems.append((values[f"unreadable_{name}"], ibis.literal(f"{name}: {wrong}")))
        if column.type in ("float64", "int64"):
            problems += _bounds_problems(column, values[name])
        if name in NO_DOCUMENTS:
            text = values[name]
            begins = ((text >= "[") & (text < "\\")) | ((text >= "{") & (text < "|"))  # with [ or {: no pattern is as fast
            document = ibis.ifelse(begins, functions.json_valid(text), False)
            problems.append((document, ibis.literal(f"{name}: an object or a list{NO_DOCUMENTS[name]}")))
        if column.type == "string" and name not in WORDS_MEAN_MISSING:
            problems.append(
                ((values[name].length() > LONGEST_TEXT).fill_null(False), ibis.literal(f"{name}: longer than {LONGEST_TEXT} characters"))
            )
    for name, attribute in source.attributes.items():
        kind = COLUMN_TYPES[attribute.type]
        if kind in UNREADABLE:
            wrong = "not a duration" if attribute.duration else UNREADABLE[kind]
            problems.append((values[f"unreadable_attributes.{name}"], ibis.literal(f"attributes.{name}: {wrong}")))
    if source.attributes:
        too_long = (values.attributes.length() > LONGEST_TEXT * len(source.attributes)).fill_null(False)
        problems.append((too_long, ibis.literal(f"attributes: longer than {LONGEST_TEXT} characters each")))
    return problems


def mapped_events(records: ir.Table, source: Source, settings: Settings, latest: dt.datetime, rates: Rates | None = None) -> ir.Table:
    """Records of a source of events as rows of its raw table (``contracts.raw_events``), and ``file_day``.

    ``day`` is the date in the path of the file, else the record's own; of a record without a time that can be used, the first day of its file.

    Args:
        records: what ``loading.read_source`` gives; the fields in the order of ``source.paths()``, all as text.
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
        (timestamp.date() < _begin(source, settings), ibis.literal(f"timestamp: before start_date {settings.start_date}")),
    ]
    if source.dated:
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
    if source.received:
        people = [name for name in PEOPLE if name in source.fields]
        for name in people:
            pseudonym = values[name].re_search(PSEUDONYM)
            problems.append(((~pseudonym).fill_null(False), ibis.literal(f"{name}: not a pseudonym")))
            made[name] = ibis.ifelse(pseudonym, values[name], functions.pseudonym(values[name]))
    else:
        made |= {name: functions.pseudonym(values[name]) for name in PEOPLE[:2] if name in source.fields}
        if "anonymous_id" in source.fields:
            made["anonymous_id"] = functions.pseudonym("device:" + values.anonymous_id)  # a device and a user of the same id stay two
    rows = _rows(values, contract, made, problems)
    if source.dated:
        return rows.mutate(day=rows.file_day)
    own = rows.timestamp.date()
    untimed = own.isnull() | rows.problem.startswith("timestamp").fill_null(False)
    return rows.mutate(day=ibis.ifelse(untimed, rows.file_day, own))


def _begin(source: Source, settings: Settings) -> dt.date:
    """A file of the first day may hold what came in just before midnight, or by another clock."""
    return settings.start_date - dt.timedelta(days=1) if source.dated else settings.start_date


def _value_problems(values: ir.Table, source: Source, settings: Settings) -> Problems:
    """Money and ratings share a column and not their bounds."""
    problems: Problems = []
    if "value" in source.fields:
        rated = (values.event_type == "rating").fill_null(False)
        for wanted, bounds, name in ((rated, settings.logs.ratings, "ratings"), (~rated, settings.logs.money, "money")):
            for outside, words, bound in (
                (values.value < bounds.minimum, "below", bounds.minimum),
                (values.value > bounds.maximum, "above", bounds.maximum),
            ):
                said = f"value: {words} {bound:g} (logs.{name})"
                problems.append((wanted & outside.fill_null(False), ibis.literal(said)))
        problems += [(~rated & found, said) for found, said in _currency_problems(values, "value")]
    if "without_rate" in values.columns:
        problems.append((values.without_rate, "currency: no rate of " + values.currency + " for its day"))
    return problems


def _currency_problems(values: ir.Table, amount: str) -> Problems:
    """What is wrong with the currency of an amount."""
    problems: Problems = []
    if "other_currency" in values.columns:
        problems.append((values.other_currency.notnull(), values.other_currency))
    if "part_of_currency" in values.columns:
        whole = values.part_of_currency.cases(*PARTS_OF_CURRENCIES.items(), else_=ibis.null("string"))
        said = "currency: " + values.part_of_currency + " is a hundredth of " + whole + ", and amounts are in whole ones"
        problems.append((values.part_of_currency.notnull() & values[amount].notnull(), said))
    return problems


def _event_id(values: ir.Table, source: Source) -> ir.StringValue:
    """What makes a record the same as another one (``Source.sameness``), after the source's name. A line without values says nothing twice."""
    place = values.source_file.cast("string") + ":" + values.source_line.cast("string") + ":" + values.source_part.cast("string")
    by_place = f"{source.name}:" + functions.md5(place)
    if source.sameness == "never":
        return by_place
    return ibis.ifelse((values.dropped == NO_VALUES).fill_null(False), by_place, _identity(values, source))


def _identity(values: ir.Table, source: Source) -> ir.StringValue:
    record = functions.canonical_json(values.record) if source.format.type in ("json", "json_lines") else values.record
    if source.format.type == "csv":
        record = values.layout + "\n" + record
    if "from_above" in values.columns:
        record = record + "\n" + values.from_above
    for value in _from_elsewhere(values, source):
        record = record + "\n" + value.cast("string").fill_null("")
    content = functions.md5(record)
    made = values.event_id if source.sameness == "id" else content
    if source.each is not None:  # the events of one record have its content in common, and its id unless that is the element's
        number = "#" + ((values.source_part - 1) % PARTS_OF_A_LINE + 1).cast("string")
        content = content + number
        inside = source.fields["event_id"].paths() if "event_id" in source.fields else []
        if not any(path == "@index" or path.startswith(source.each.path) for path in inside):
            made = made + number
    return f"{source.same_ids_as or source.name}:" + ibis.coalesce(made, content)


def _from_elsewhere(values: ir.Table, source: Source) -> list[ir.Value]:
    """The columns that say where the record stands, or what is looked up by that: the same text is not the same then."""
    by_place = [lookup for lookup in source.join if set(PLACE_FIELDS) & set(lookup.on)]

    def told_by_place(mapping: FieldMapping) -> bool:
        return any(path in PLACE_FIELDS or any(lookup.gives(path) for lookup in by_place) for path in mapping.paths())

    return [values[name] for name, mapping in source.fields.items() if told_by_place(mapping)]


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
    if source.kind == "items" and "price" in source.fields:
        problems += _currency_problems(values, "price")
    if "without_rate" in values.columns:
        problems.append((values.without_rate, "currency: no rate of " + values.currency + " for today"))
    made = {"user_id": functions.pseudonym(values.user_id)} if source.kind == "users" else {}
    return _rows(values, contract, made, problems)


def mapped_lookup(records: ir.Table, source: Source, keys: Sequence[str] = ()) -> ir.Table:
    """Records of a source of kind ``lookup`` as texts, one column a field; those that cannot be read or are dropped are left out.

    Beside the fields: ``record_order``, the number of the record in the source, and ``is_number_...``, whether the record has a number there.

    Args:
        keys: the fields by which records are found: of several with the same ones the first is used, and adds to running sums alone.
    """
    records = _told_apart(_kept(records, source), source, keys)
    readable = records.problem.isnull() & records.document_problem.isnull()
    fields = fields_of(records, source)
    columns: dict[str, ir.Value] = {}
    for name, mapping in source.fields.items():
        if mapping.running_sum is not None:
            columns[name] = _running_sum(mapping, fields, source, records, ~readable)
            columns[f"is_number_{name}"] = ibis.literal(True)
            continue
        columns[name] = text_of(mapping, fields, source)
        told = fields.is_number(*mapping.from_) if mapping.from_ and len(mapping.from_) == 1 else None
        columns[f"is_number_{name}"] = ibis.literal(False) if told is None else told
        if mapping.number is not None:
            read = as_everywhere(mapping.number, columns[name])
            if told is not None:
                read = ibis.ifelse(told, None, read)
            columns[name] = ibis.coalesce(read, columns[name])
            columns[f"is_number_{name}"] = columns[f"is_number_{name}"] | read.notnull()
    found = records.mutate(wanted=readable)
    return found.mutate(record_order=found.order, **columns).filter(found.wanted).select("record_order", *columns)


def _kept(records: ir.Table, source: Source) -> ir.Table:
    """The records without those that are left out: these take nobody's place, and nothing is summed over them."""
    fields = fields_of(records, source)
    dropped = [dropped_by(condition, records, fields, source) for condition in source.drop_when]
    left_out = ibis.or_(records.skipped.notnull(), *dropped)
    return records.filter(records.problem.notnull() | ~left_out)


def _told_apart(records: ir.Table, source: Source, keys: Sequence[str]) -> ir.Table:
    """The records with ``comes_again``: whether one with the same keys was before it."""
    fields = fields_of(records, source)
    asked = [text_of(source.fields[name], fields, source) for name in keys if source.fields[name].running_sum is None]
    if not asked:
        return records.mutate(comes_again=False)
    found = ibis.and_(records.problem.isnull(), records.document_problem.isnull(), *(text.notnull() for text in asked))
    number = ibis.row_number().over(ibis.window(group_by=[found, *asked], order_by=records.order))
    return records.mutate(comes_again=found & (number > 0))


def _running_sum(mapping: FieldMapping, fields: Fields, source: Source, records: ir.Table, bad: ir.BooleanValue) -> ir.StringValue:
    """The sum up to each record as text, in the order of a number or a time of ISO 8601; none without ``by``.

    Behind a text that is no number, and a record that cannot be read, there is no sum any more; nor is there any where a record has no place in the order.
    Records that come again add nothing.
    """
    assert mapping.running_sum is not None
    summed = mapping.running_sum
    text, by = fields[summed.of], fields[summed.by]
    number = read_number(mapping, text, source, fields.is_number(summed.of), money=False)
    along = ibis.coalesce(
        read_number(mapping, fields[summed.along], source, fields.is_number(summed.along), money=False),
        functions.epoch_us(read_time(FieldMapping.model_validate(summed.along), fields[summed.along])).cast("float64"),
    )
    so_far = ibis.window(group_by=by, order_by=[along, records.order], preceding=None, following=0)
    first = ~records.comes_again
    unreadable = (((text.notnull() & number.isnull()) | bad) & first).cast("int64").sum().over(so_far)
    without_place = (along.isnull() & first).cast("int64").sum().over(ibis.window(group_by=by))
    return ibis.cases(
        (by.isnull(), ibis.null("string")),
        (without_place > 0, "no order: a record without a number or a time to be ordered by"),
        (unreadable > 0, "no number before"),
        else_=ibis.ifelse(first, number.fill_null(0), 0).sum().over(so_far).cast("string"),
    )


def _rows(values: ir.Table, contract: contracts.Table, made: dict[str, ir.Value], problems: Problems) -> ir.Table:
    """The contract's columns, with ``problem`` and, where there is one, the record.

    A line that cannot be read is rejected, a record that the configuration drops need not keep the contract, every other
    has to.
    """
    problem = ibis.cases(
        (values.problem.notnull(), values.problem),
        (values.dropped.notnull(), ibis.null("string")),
        (values.document_problem.notnull(), values.document_problem),
        *problems,
    )
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
