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


def _bounds_problem(column: contracts.Column, value: ir.NumericValue) -> list[tuple[ir.BooleanValue, ir.StringValue]]:
    problems = []
    if column.minimum is not None:
        problems.append(((value < column.minimum).fill_null(False), ibis.literal(f"{column.name}: below {column.minimum:g}")))
    if column.maximum is not None:
        problems.append(((value > column.maximum).fill_null(False), ibis.literal(f"{column.name}: above {column.maximum:g}")))
    return problems


def mapped_events(
    records: ir.Table, source: Source, settings: Settings, delivered: ir.DateValue | None, latest: dt.datetime
) -> ir.Table:
    """Records of a source of events as rows of its raw table (``contracts.raw_events``), all but ``day`` and ``source_file``.

    Args:
        records: ``file_number``, ``source_line``, ``order``, ``record``, ``problem`` and ``field_0`` ... in the order of
            ``source.paths()``, all fields as text.
        delivered: the date in the path of the record's file, if the path has one.
        latest: later times are impossible.
    """
    contract = contracts.raw_events(source.name)
    fields = {path: records[f"field_{number}"] for number, path in enumerate(source.paths())}
    columns: dict[str, ir.Value] = {}
    problems: list[tuple[ir.BooleanValue, ir.StringValue]] = []
    for name, mapping in source.fields.items():
        if name == "event_id":
            continue
        column = contract.column(name)
        if name == "timestamp":
            value, unreadable = timestamp_of(mapping, fields, records.order)
            problems += [
                (unreadable, ibis.literal("timestamp: not readable as a time")),
                (value.isnull(), ibis.literal("timestamp: missing")),
                ((value < settings.logs.earliest_timestamp), ibis.literal(f"timestamp: before {settings.logs.earliest_timestamp:%Y-%m-%d}")),
                ((value > latest), ibis.literal("timestamp: in the future")),
            ]
            if delivered is not None:
                problems.append((value.date() > delivered + ibis.interval(days=1), ibis.literal("timestamp: after the day of its file")))
        elif column.type in ("float64", "int64"):
            value, unreadable = number_of(mapping, fields)
            problems.append((unreadable, ibis.literal(f"{name}: not a number")))
            problems += _bounds_problem(column, value)
            if column.type == "int64":
                bound = column.maximum if column.maximum is not None else 2.0**53
                value = ibis.ifelse(value.abs() <= bound, value, None).round().cast("int64")
        else:
            value = text_of(mapping, fields)
            if name == "event_type":
                known = value.isin(settings.known_event_types())
                problems += [
                    (value.isnull(), ibis.literal("event_type: missing")),
                    (~known.fill_null(False), ibis.literal("event_type: not in the vocabulary")),
                ]
            elif name in ("url", "referrer"):
                value = value.re_extract(r"^([^?#]*)", 1).nullif("")
            if name not in ("user_id", "anonymous_id"):
                problems.append(((value.length() > LONGEST_TEXT).fill_null(False), ibis.literal(f"{name}: longer than {LONGEST_TEXT} characters")))
        columns[name] = value
    who = [columns[name] for name in ("user_id", "anonymous_id") if name in columns]
    problems.append((ibis.and_(*(name.isnull() for name in who)), ibis.literal("user_id: missing, and anonymous_id too")))
    for name in ("user_id", "anonymous_id"):
        if name in columns:
            prefix = "" if name == "user_id" else "device:"  # a device and a user with the same id stay two
            columns[name] = functions.pseudonym(prefix + columns[name] if prefix else columns[name])
    own_id = text_of(source.fields["event_id"], fields) if "event_id" in source.fields else ibis.null("string")
    columns["event_id"] = ibis.literal(f"{source.name}:") + ibis.coalesce(own_id, functions.md5(records.record))
    if "user_agent" in columns and "device" not in columns:
        agent = columns["user_agent"]
        columns["device"] = ibis.cases(
            (agent.isnull(), ibis.null("string")), (agent.re_search(TABLETS), "tablet"), (agent.re_search(MOBILES), "mobile"), else_="desktop"
        )
    columns |= _verdict(records, source, fields, problems)
    absent = {column.name: ibis.null(column.type) for column in contract.columns if column.name not in columns}
    absent = {name: value for name, value in absent.items() if name not in ("source_file", "source_line", "record")}
    return records.select("file_number", "source_line", "record", **{**absent, **columns}).select(
        "file_number", *(column.name for column in contract.columns if column.name != "source_file")
    )


def _verdict(
    records: ir.Table, source: Source, fields: Fields, problems: list[tuple[ir.BooleanValue, ir.StringValue]]
) -> dict[str, ir.Value]:
    """``dropped`` and ``problem``: a line that cannot be read is rejected, a record that the configuration drops need not
    keep the contract, every other has to."""
    unreadable = (records.problem.notnull(), records.problem)
    if not source.drop_when:
        return {"dropped": ibis.null("string"), "problem": ibis.cases(unreadable, *problems)}
    dropped = ibis.cases(
        (records.problem.notnull(), ibis.null("string")),
        *((condition_holds(condition, fields), ibis.literal(_described(condition))) for condition in source.drop_when),
    )
    return {"dropped": dropped, "problem": ibis.cases(unreadable, (dropped.notnull(), ibis.null("string")), *problems)}


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


def mapped_listing(records: ir.Table, source: Source) -> ir.Table:
    """Records of a source of items or users as rows of its raw table (``contracts.raw_listing``), all but ``source_file``."""
    contract = contracts.raw_listing(source.name, source.kind)
    fields = {path: records[f"field_{number}"] for number, path in enumerate(source.paths())}
    key = "item_id" if source.kind == "items" else "user_id"
    columns: dict[str, ir.Value] = {}
    problems: list[tuple[ir.BooleanValue, ir.StringValue]] = []
    for name, mapping in source.fields.items():
        column = contract.column(name)
        value: ir.Value
        if column.type == "float64":
            value, unreadable = number_of(mapping, fields)
            problems.append((unreadable, ibis.literal(f"{name}: not a number")))
            problems += _bounds_problem(column, value)
        elif column.type == "date":
            moment, unreadable = timestamp_of(mapping, fields, records.order)
            value = moment.date()
            problems.append((unreadable, ibis.literal(f"{name}: not readable as a date")))
        elif column.type == "boolean":
            text = text_of(mapping, fields).lower()
            value = ibis.cases(
                (text.isin(["true", "t", "yes", "y", "1", "granted"]), True), (text.isin(["false", "f", "no", "n", "0", "denied"]), False),
                else_=ibis.null("boolean"),
            )  # fmt: skip
            problems.append((text.notnull() & value.isnull(), ibis.literal(f"{name}: neither true nor false")))
        else:
            value = text_of(mapping, fields)
            problems.append(((value.length() > LONGEST_TEXT).fill_null(False), ibis.literal(f"{name}: longer than {LONGEST_TEXT} characters")))
        columns[name] = value
    problems.append((columns[key].isnull(), ibis.literal(f"{key}: missing")))
    if source.kind == "users":
        columns[key] = functions.pseudonym(columns[key])
    columns |= _verdict(records, source, fields, problems)
    absent = {column.name: ibis.null(column.type) for column in contract.columns if column.name not in columns}
    absent = {name: value for name, value in absent.items() if name not in ("source_file", "source_line", "record")}
    return records.select("file_number", "source_line", "record", **{**absent, **columns}).select(
        "file_number", *(column.name for column in contract.columns if column.name != "source_file")
    )
