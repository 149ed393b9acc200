"""Source fields -> canonical columns, as the configuration says, with every problem named.

The input is a table of text columns, one per field that the mapping reads. The output has the canonical columns with
their types, and ``problem``: the first rule of the contract that the record breaks. Nothing is dropped here.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import ibis
import ibis.expr.types as ir

from persona_pipelines.settings import Condition, FieldMapping, Settings, Source
from persona_pipelines.warehouse import contracts, functions

Fields = Mapping[str, ir.StringValue]

LONGEST_TEXT = 2000
IDENTIFIERS = ("event_id", "user_id", "anonymous_id")
TRUE_WORDS = ("true", "t", "yes", "y", "1", "granted")
FALSE_WORDS = ("false", "f", "no", "n", "0", "denied")
TABLETS = r"(?i)ipad|tablet|kindle|silk|playbook"
MOBILES = r"(?i)mobi|iphone|ipod|android|windows phone"


def condition_holds(condition: Condition, fields: Fields) -> ir.BooleanValue:
    """Whether a record meets a condition. Never null: a missing field meets only ``missing: true``."""
    text = fields[condition.field]
    number = text.try_cast("float64")
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


def text_of(mapping: FieldMapping, fields: Fields) -> ir.StringValue:
    """The text of a canonical column, before it is given its type."""
    text: ir.StringValue
    if mapping.value is not None:
        text = ibis.literal(str(mapping.value))
    elif mapping.cases is not None:
        branches = [(condition_holds(case.when, fields), ibis.literal(case.value)) for case in mapping.cases]
        text = ibis.cases(*branches, else_=ibis.literal(mapping.default, type="string"))
        return text
    elif mapping.first_of is not None:
        text = ibis.coalesce(*(fields[path] for path in mapping.first_of))
    else:
        assert mapping.from_ is not None
        text = fields[mapping.from_[0]]
        for path in mapping.from_[1:]:
            text = text + mapping.join + fields[path].fill_null("")
    if mapping.pattern is not None:
        text = text.re_extract(mapping.pattern, 1).nullif("")
    for old, new in (mapping.replace or {}).items():
        text = text.replace(old, new)
    if mapping.lower_case:
        text = text.lower()
    if mapping.map is not None:
        branches = [(text == key, ibis.literal(entry)) for key, entry in mapping.map.items()]
        text = ibis.cases(*branches, else_=text if mapping.default is None else ibis.literal(mapping.default))
    if mapping.default is not None:
        text = text.fill_null(mapping.default)
    return text


def number_of(mapping: FieldMapping, fields: Fields) -> tuple[ir.FloatingValue, ir.BooleanValue]:
    """The number of a canonical column, and whether there was text that is no finite number."""
    if mapping.product is not None:
        factors = [fields[path] for path in mapping.product]
    else:
        factors = [text_of(mapping, fields)]
    number: ir.FloatingValue | None = None
    unreadable: ir.BooleanValue = ibis.literal(False)
    for factor in factors:
        cast = factor.try_cast("float64")
        unreadable = unreadable | (factor.notnull() & ~functions.isfinite(cast).fill_null(False))
        number = cast if number is None else number * cast
    assert number is not None
    if mapping.absolute:
        number = number.abs()
    if mapping.scale is not None:
        number = number * mapping.scale
    return number, unreadable


def timestamp_of(mapping: FieldMapping, fields: Fields, order: ir.IntegerValue) -> tuple[ir.TimestampValue, ir.BooleanValue]:
    """The time in UTC without a zone, and whether there was text that is no time.

    ``order`` is the number of the record in its source, for logs without a clock.
    """
    if mapping.order is not None:
        start = int(mapping.order.start.replace(tzinfo=dt.UTC).timestamp() * 1e6)
        step = int(mapping.order.step_seconds * 1e6)
        return functions.make_timestamp((order - 1) * step + start), ibis.literal(False)
    text = text_of(mapping, fields)
    if mapping.unit is not None:
        per_unit = {"seconds": 1e6, "milliseconds": 1e3, "microseconds": 1.0}[mapping.unit]
        microseconds = text.try_cast("float64") * per_unit
        sane = functions.isfinite(microseconds) & (microseconds.abs() < 1e16)
        moment = functions.make_timestamp(ibis.ifelse(sane, microseconds, None).round().cast("int64"))
    else:
        zoned = functions.try_strptime(text, mapping.format) if mapping.format else text.try_cast("timestamp('UTC')")
        moment = zoned.cast("timestamp")
        if mapping.timezone is not None:
            # A zone in the text itself wins; the engine reads text without one as UTC, so shift it from there.
            names_zone = ibis.literal(any("%z" in wanted or "%Z" in wanted for wanted in mapping.format or []))
            if not mapping.format:
                names_zone = text.re_search(r"(?:[Zz]|[+-]\d\d:?(?:\d\d)?)$")
            moment = ibis.ifelse(names_zone, moment, from_local(moment, mapping.timezone))
    return moment, text.notnull() & moment.isnull()


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

    A table of its own, so that the engine computes each value once, however many rules look at it afterwards.
    """
    fields = fields_of(records, source)
    columns: dict[str, ir.Value] = {}
    for name, mapping in source.fields.items():
        kind = contract.column(name).type
        if name == "event_id":
            columns[name] = text_of(mapping, fields)
        elif kind in ("timestamp", "date"):
            moment, columns[f"unreadable_{name}"] = timestamp_of(mapping, fields, records.order)
            columns[name] = moment if kind == "timestamp" else moment.date()
        elif kind in ("float64", "int64"):
            columns[name], columns[f"unreadable_{name}"] = number_of(mapping, fields)
        elif kind == "boolean":
            text = text_of(mapping, fields).lower()
            columns[name] = ibis.cases((text.isin(TRUE_WORDS), True), (text.isin(FALSE_WORDS), False), else_=ibis.null("boolean"))
            columns[f"unreadable_{name}"] = text.notnull() & columns[name].isnull()
        else:
            columns[name] = text_of(mapping, fields)
            if name in ("url", "referrer"):
                columns[name] = columns[name].re_extract(r"^([^?#]*)", 1).nullif("")
    if source.drop_when:
        conditions = [(condition_holds(condition, fields), ibis.literal(_described(condition))) for condition in source.drop_when]
        columns["dropped"] = ibis.cases((records.problem.notnull(), ibis.null("string")), *conditions)
    else:
        columns["dropped"] = ibis.null("string")
    return records.select("source_file", "file_day", "source_line", "record", "problem", **columns)


def fields_of(records: ir.Table, source: Source) -> Fields:
    return {path: records[f"field_{number}"] for number, path in enumerate(source.paths())}


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
        if column.type == "string" and name not in IDENTIFIERS:
            problems.append(
                ((values[name].length() > LONGEST_TEXT).fill_null(False), ibis.literal(f"{name}: longer than {LONGEST_TEXT} characters"))
            )
    return problems


def mapped_events(records: ir.Table, source: Source, settings: Settings, delivered: bool, latest: dt.datetime) -> ir.Table:
    """Records of a source of events as rows of its raw table (``contracts.raw_events``), all but ``day``, and ``file_day``.

    Args:
        records: what ``loading.read_source`` gives; the fields in the order of ``source.paths()``, all as text.
        delivered: whether ``file_day`` is the date in the path of the file, which no record can be much later than.
        latest: later times are impossible.
    """
    contract = contracts.raw_events(source.name)
    values = _values(records, source, contract)
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
        (
            ibis.and_(*(values[name].isnull() for name in ("user_id", "anonymous_id") if name in source.fields)),
            ibis.literal("user_id: missing, and anonymous_id too"),
        ),
    ]
    own_id = values.event_id if "event_id" in source.fields else ibis.null("string")
    made: dict[str, ir.Value] = {"event_id": f"{source.name}:" + ibis.coalesce(own_id, functions.md5(values.record))}
    if "user_id" in source.fields:
        made["user_id"] = functions.pseudonym(values.user_id)
    if "anonymous_id" in source.fields:
        made["anonymous_id"] = functions.pseudonym("device:" + values.anonymous_id)  # a device and a user of the same id stay two
    if "user_agent" in source.fields and "device" not in source.fields:
        agent = values.user_agent
        made["device"] = ibis.cases(
            (agent.isnull(), ibis.null("string")),
            (agent.re_search(TABLETS), "tablet"),
            (agent.re_search(MOBILES), "mobile"),
            else_="desktop",
        )
    return _rows(values, contract, made, problems)


def mapped_listing(records: ir.Table, source: Source) -> ir.Table:
    """Records of a source of items or users as rows of its raw table (``contracts.raw_listing``)."""
    contract = contracts.raw_listing(source.name, source.kind)
    values = _values(records, source, contract)
    key = "item_id" if source.kind == "items" else "user_id"
    problems = [*_type_problems(values, source, contract), (values[key].isnull(), ibis.literal(f"{key}: missing"))]
    made = {"user_id": functions.pseudonym(values.user_id)} if source.kind == "users" else {}
    return _rows(values, contract, made, problems)


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


def _described(condition: Condition) -> str:
    tests = [f"{name} {value}" for name, value in condition.model_dump(exclude={"field"}, exclude_none=True).items()]
    return f"dropped: {condition.field} {' and '.join(tests)}"


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
