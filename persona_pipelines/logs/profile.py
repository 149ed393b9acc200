"""What a source's records look like before anything is written: mapped records, its fields in numbers, and hints in words."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import ibis
import ibis.expr.types as ir
import pandas as pd
from ibis import _

from persona_pipelines.logs import mapping
from persona_pipelines.logs.checks import rejects
from persona_pipelines.logs.currencies import rates_of
from persona_pipelines.logs.drift import told_twice
from persona_pipelines.logs.files import LogFile, LogFileError, left_out, log_files
from persona_pipelines.logs.loading import Batch, last_day, latest_timestamp, read_source, refuse_truncated, unread
from persona_pipelines.logs.numbers import CODES, read_number
from persona_pipelines.logs.times import read_duration, read_time
from persona_pipelines.logs.values import fields_of, read_text, spelled, text_of
from persona_pipelines.settings import Settings, Source
from persona_pipelines.settings.sources import TYPED_FIELDS, FieldMapping, Reading
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.functions import local_time, regexp_extract_all

LOOKED_AT = 100_000
ALL_DIGITS = 1e15
"""Below it numbers are shown as read; longer ones are ids, of which the last digits count."""
MANY_WORDS, MANY_FLOATS, MANY_DUPLICATES, MANY_DISORDERED, FEW_MET = 0.01, 0.5, 0.2, 0.01, 0.5
PEOPLE = ("user_id", "anonymous_id", "target_user_id")
MANY_DAYS = 400
MANY_REASONS = 20
LONG_PAUSE = 1 / 3
"""A pause of so much of all days, and longer than ``MANY_DAYS``, is more than a shop that rests: some clocks are wrong."""


@dataclass(frozen=True)
class Profile:
    """What was found among the first ``looked_at`` events of a source.

    Attributes:
        rows: first events as mapped.
        fields: one row a field that the mapping reads: ``field``, ``missing`` (share), ``distinct``, ``minimum``, ``maximum``, ``examples``; addresses
            masked, and of people's ids the shape only.
        problems: events that would be rejected, by reason; ``dropped`` those that would be filtered; ``places`` where the first of each reason
            is, and what stands there.
        facts: what is to be known of its times and records, in words.
        hints: what may be wrong, in words.
        refused: of which day or file too many of them would be rejected for a run to go on, and why, in words; None where none.
    """

    files: int
    file: str
    rows: pd.DataFrame
    looked_at: int
    fields: pd.DataFrame
    problems: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)
    refused: str | None = None

    @property
    def has_no_event(self) -> bool:
        """Whether everything was looked at, and all of it would be rejected or filtered."""
        good = self.looked_at - sum(self.problems.values()) - sum(self.dropped.values())
        return not good and _is_all(self.files, self.looked_at)


def profile_source(source: Source, settings: Settings, records: int, engine: Warehouse | None = None) -> Profile:
    """Map the first records of a source's first file that has any, and see that the others can be read as described.

    Args:
        records: how many mapped events to show.
        engine: where ids are kept for ``ids_that_do_not_meet``.
    Raises:
        LogFileError: no file, or it cannot be read as described.
    """
    last = last_day()
    files = log_files(source, settings, settings.start_date if source.dated else None, last if source.dated else None)
    never_read = left_out(source, settings, last)
    if not files:
        raise LogFileError(
            "; ".join(never_read) or f"sources.{source.name}.path: no file matches {settings.displayed(settings.resolved(source.path))}"
        )
    store = engine or Warehouse(None, b"\0" * 32)
    for number, file in enumerate(files):
        with read_source(store, source, settings, [file]) as batches:
            for batch in batches:
                looked = store.keep("looked", batch.fields.order_by("order").limit(LOOKED_AT))
                count = int(store.value(looked.count()))
                if count:
                    found = _profile(store, looked, count, source, settings, records, len(files), file.shown)
                    told = [told for reading in batch.readings for told in told_twice(file.shown, reading.names())]
                    told += [f"{file.shown}: {reading.break_found}" for reading in batch.readings if reading.break_found]
                    if len(files) > 1:
                        found.facts.insert(0, f"of {len(files)} files the records of {file.shown} were looked at, and the headers of all")
                    hints = [*never_read, *batch.warnings, *told, *found.hints]
                    _headers_read(store, source, settings, files[number + 1 :])
                    return replace(found, hints=hints, refused=found.refused or _cut_off(batch, settings))
    if broken := next((f"{file.shown}: {reason}" for file in files if (reason := unread(file).break_found)), None):
        raise LogFileError(f"{broken}, and no record is before it; expected a whole file")
    raise LogFileError(f"{files[0].shown}: no records; expected some in one of {len(files)} files")


def _cut_off(batch: Batch, settings: Settings) -> str | None:
    """Which file a run would refuse because it ends too early."""
    try:
        refuse_truncated(batch.readings, settings)
    except LogFileError as error:
        return str(error)
    return None


def _headers_read(store: Warehouse, source: Source, settings: Settings, files: list[LogFile]) -> None:
    """Raises LogFileError where a file cannot be read as described, as far as its header tells."""
    with read_source(store, source, settings, files) as batches:
        for _ in batches:
            pass


def _profile(
    store: Warehouse, looked: ir.Table, count: int, source: Source, settings: Settings, records: int, files: int, shown: str
) -> Profile:
    people = _of_people(source, settings)
    ids = {path for name in people for path in source.fields[name].paths()}
    # What a line holds that is cut into other columns than it has is nothing of its fields.
    parted = looked.filter(looked.problem.isnull())
    fields = _fields(store, parted, source, ids)
    if source.kind == "lookup":
        joins = [lookup for other in settings.sources for lookup in other.join if lookup.source == source.name]
        keys = list(joins[0].on.values()) if joins else []
        found = (
            mapping.mapped_lookup(looked, source, keys)
            .order_by("record_order")
            .limit(records)
            .drop("record_order", *(f"is_number_{name}" for name in source.fields))
        )
        return Profile(files, shown, store.frame(_without_names(found, people)), count, fields)
    latest, rates = latest_timestamp(), rates_of(settings)
    if source.kind == "events":
        made = mapping.mapped_events(looked, source, settings, latest, rates)
    else:
        made = mapping.mapped_listing(looked, source, rates, latest.date())
    mapped = store.keep(f"mapped_{source.name}", made)
    place = {"source_file", "file_day", "day", "record"}
    first = mapped.order_by("source_line", "source_part").limit(records).drop(*place.intersection(mapped.columns))
    rows = store.frame(_without_names(first, ()))
    facts: list[str] = []
    hints = _about_ids(store, looked, source) + _about_conditions(store, parted, source)
    hints += _about_lookups(store, looked, source) + _about_joined_ids(store, looked, source)
    if source.kind == "events":
        facts, more_hints = _about_events(store, mapped, source, settings, count)
        hints = more_hints + hints
    problems = _counts(store, mapped, "problem")
    places = {reason: _place(store, looked, mapped, source, reason, ids) for reason in list(problems)[:MANY_REASONS]}
    hints += _about_rejects(source, places)
    judged = rejects(store, mapped, source, settings.logs.max_reject_share, all_there_is=_is_all(files, count))
    return Profile(files, shown, rows, count, fields, problems, _counts(store, mapped, "dropped"), places, facts, hints, judged.described)


def _is_all(files: int, looked_at: int) -> bool:
    return files == 1 and looked_at < LOOKED_AT


def _counts(store: Warehouse, mapped: ir.Table, column: str) -> dict[str, int]:
    good = mapped.filter(mapped[column].notnull() & (mapped.problem.isnull() if column == "dropped" else True))
    found = store.frame(good.group_by(reason=column).aggregate(records=good.count()).order_by(ibis.desc("records"), "reason"))
    return {str(row.reason): int(row.records) for row in found.itertuples()}


def _place(store: Warehouse, looked: ir.Table, mapped: ir.Table, source: Source, reason: str, ids: Collection[str]) -> str:
    """The line of the first record that is rejected for a reason, and the text that it is about; of people's ids the shape only."""
    first = mapped.filter(mapped.problem == reason).order_by("source_line", "source_part").limit(1)
    line, part = store.row(first.select("source_line", "source_part"))
    described = source.fields.get(reason.partition(":")[0])
    described = described or source.attributes.get(reason.partition(":")[0].removeprefix("attributes."))
    paths = list(dict.fromkeys(described.paths())) if described else []
    if not paths:
        return f"line {line}"
    record = looked.filter((looked.source_line == line) & (looked.source_part == part)).limit(1)
    texts = fields_of(record, source)
    shown = {
        f"text_{number}": mapping.masked(_shape(texts[path]) if _shows_people(path, ids) else texts[path]).substr(0, 60)
        for number, path in enumerate(paths)
    }
    found = store.row(record.select(**shown))
    told = [f"{path} {text!r}" for path, text in zip(paths, found, strict=True) if text is not None]
    if reason.endswith(": missing"):
        told = [f"{path} is empty" for path, text in zip(paths, found, strict=True) if text is None] or told
    return f"line {line}: {', '.join(told[:4]) or f'{paths[0]} is empty'}"


def _about_rejects(source: Source, places: Mapping[str, str]) -> list[str]:
    """What the configuration may lack where texts are none of their type."""
    hints = []
    for reason, place in places.items():
        column, _, problem = reason.partition(": ")
        described = source.fields.get(column)
        if described is None:
            continue
        text = place.partition(":")[2]
        if problem == "not a number" and re.search(r"'(P[0-9T]|[0-9]+:[0-9:]+)", text):
            hints.append(f"{column}: durations such as 01:02:03 and PT1H2M3S need duration: true, which makes milliseconds of them")
        elif problem == "not a number" and described.number is None and source.number is None and re.search("[0-9]", text):
            ways = [
                'number: {decimal: ","} (as in 0,50 or 1.234,50 with thousands: ".")',
                'number: {decimal: ".", thousands: ","} (as in 1,234.50 or $5)',
            ]
            told = ways if re.search(r"[0-9],[0-9]{1,2}[^0-9]", text) else ways[::-1]
            hints.append(f"{column}: numbers written in another way need {', or '.join(told)}")
        if problem == "not readable as a time" and described.unit is None and re.search(r" '[+-]?[0-9]+(\.[0-9]+)?'$", place):
            hints.append(
                f"{column}: a number counts something since a moment: unit: seconds, milliseconds ..., or days since 1899-12-30 (Excel)"
            )
    return hints


def _of_people(source: Source, settings: Settings) -> set[str]:
    """The fields of a source that hold ids of people; of a look-up those that other sources read as such, or find its records by."""
    if source.kind != "lookup":
        return {name for name in PEOPLE if name in source.fields}
    found = set()
    for other in settings.sources:
        ids = {path for name in PEOPLE if name in other.fields for path in other.fields[name].paths()}
        for lookup in other.join:
            if lookup.source == source.name:
                found |= {path.removeprefix(f"{source.name}.") for path in ids if lookup.gives(path)}
                found |= {own for asked, own in lookup.on.items() if asked in ids}
    return found & set(source.fields)


LITERALS = ("null", "true", "false")
"""Words of JSON that identify nobody, and tell what is wrong with a record."""
PARTS_OF_A_DOCUMENT = rf'"(?:[^"\\]|\\.)*"?|\b(?:{"|".join(LITERALS)})\b|[^"a-z]+|[a-z]'
"""Strings, literals, and what is neither: within a string, and beside a letter, such a word is none."""


def _shape(text: ir.StringValue) -> ir.StringValue:
    """``a`` for every letter and ``9`` for every digit, but in literals of JSON: of a text that is nothing else, and of documents."""
    parts = regexp_extract_all(text, f"(?s){PARTS_OF_A_DOCUMENT}")
    document = parts.map(lambda part: ibis.ifelse(part.isin(LITERALS), part, _letters_and_digits(part))).join("")
    return ibis.cases((text.isin(LITERALS), text), (text.re_search(r"^\s*[\[{]"), document), else_=_letters_and_digits(text))


def _letters_and_digits(text: ir.StringValue) -> ir.StringValue:
    return text.re_replace(r"[A-Za-z]", "a").re_replace("[0-9]", "9")


def _shows_people(path: str, ids: Collection[str]) -> bool:
    """Whether a field is an id of people, or a document that has one in it."""
    return not path.startswith("@") and any(one == path or one.startswith((f"{path}.", f"{path}[")) for one in ids)


def _without_names(rows: ir.Table, people: Collection[str]) -> ir.Table:
    """Records to be shown: addresses masked, and of raw ids of people the shape only."""
    # Versions of browsers look like addresses.
    texts = [name for name in rows.columns if rows[name].type().is_string() and name != "user_agent"]
    return rows.mutate(**{name: mapping.masked(_shape(rows[name]) if name in people else rows[name]) for name in texts})


def _fields(store: Warehouse, looked: ir.Table, source: Source, people: Collection[str]) -> pd.DataFrame:
    """Each field in numbers, as ``Profile.fields``; of ``people`` the shape only."""
    rows, typed = [], _typed(source)
    for path, text in fields_of(looked, source).texts.items():
        shape = _shows_people(path, people)
        value = mapping.masked(_shape(text) if shape else text)
        # Least and greatest as the field is read: dates and amounts as texts are in the order of their first digit.
        read = _ordered(looked, text, path, source, typed)
        table = looked.select(text=text, shown=value.substr(0, 40), read=read)
        total, missing, distinct, first, last, low, high, ordered = store.row(
            table.aggregate(
                total=_.count(),
                missing=_.text.isnull().sum(),
                distinct=_.text.nunique(),
                first=_.shown.min(),
                last=_.shown.max(),
                low=_.read.min(),
                high=_.read.max(),
                ordered=_.read.count(),
            )
        )
        if ordered and not shape and (ordered == total - missing or not read.type().is_floating() or path in typed):
            if not read.type().is_floating():
                first, last = (f"{bound:%Y-%m-%d %H:%M:%S}" for bound in (low, high))
            elif max(abs(low), abs(high)) < ALL_DIGITS:
                first, last = (f"{bound:.15g}" for bound in (low, high))
        often = table.filter(table.shown.notnull()).group_by("shown").aggregate(n=lambda rows: rows.count())
        examples = [row[0] for row in store.tuples(often.order_by(ibis.desc("n"), "shown").limit(3).select("shown"))]
        share = missing / total if total else 0.0
        rows.append(
            {"field": path, "missing": share, "distinct": distinct, "minimum": first, "maximum": last, "examples": ", ".join(examples)}
        )
    return pd.DataFrame(rows, columns=["field", "missing", "distinct", "minimum", "maximum", "examples"])


def _typed(source: Source) -> dict[str, tuple[str, FieldMapping]]:
    """The fields that are read as times and numbers, with the kind and how."""
    kinds = {name: TYPED_FIELDS.get(name, "text") for name in source.fields}
    kinds |= {name: {"number": "number", "date": "time"}.get(attribute.type, "text") for name, attribute in source.attributes.items()}
    mappings = {**source.attributes, **source.fields}
    return {
        path: (kind, mappings[name])
        for name, kind in kinds.items()
        if kind != "text" and mappings[name].map is None and mappings[name].cases is None
        for path in [*(mappings[name].from_ or []), *(entry for entry in mappings[name].first_of or [] if isinstance(entry, str))]
    }


def _ordered(looked: ir.Table, text: ir.StringValue, path: str, source: Source, typed: Mapping[str, tuple[str, FieldMapping]]) -> ir.Value:
    """A field as what has an order: the time or number that it is read as; else the number that it may be."""
    kind, described = typed.get(path, ("text", None))
    if described is None or (kind == "time" and described.order is not None):
        return text.try_cast("float64")
    plain = read_text(described, text, source)
    if kind == "time":
        return read_time(described, plain)
    if isinstance(described, FieldMapping) and described.duration:
        return read_duration(plain)
    return read_number(described, plain, source, fields_of(looked, source).is_number(path))


def _about_ids(store: Warehouse, looked: ir.Table, source: Source) -> list[str]:
    hints = []
    fields = fields_of(looked, source)
    for column in ("user_id", "anonymous_id", "item_id", "event_id"):
        if column not in source.fields:
            continue
        for path in source.fields[column].paths():
            text = fields[path]
            words = text.notnull() & read_text(Reading(), text, source, "user_id").isnull()
            table = looked.select(text=text, word=words, plain=spelled(text, source), lower=text.lower())
            named, word, floats, distinct, plain, lower = store.row(
                table.aggregate(
                    named=table.text.count(),
                    word=table.word.sum(),
                    floats=table.text.re_search(r"^[0-9]+\.0+$").sum(),
                    distinct=table.text.nunique(),
                    plain=table.plain.nunique(),
                    lower=table.lower.nunique(),
                )
            )
            if not named:
                continue
            if (word or 0) > MANY_WORDS * named:
                most = table.filter(table.word).text.topk(1, name="n")
                example = store.row(most)[0]
                use = "no id" if column != "item_id" else "an item's id all the same; missing_words of the field say otherwise"
                hints.append(f"{word / named:.0%} of {path} are words such as {example!r}: {use}")
            if column != "event_id" and (floats or 0) > MANY_FLOATS * named:
                hints.append(
                    f'{floats / named:.0%} of {path} look like 17850.0: ids that a program took for numbers; pattern: "^([0-9]+)" mends them'
                )
            if plain < distinct:
                hints.append(f"{distinct - plain} of {distinct} spellings of {path} become one with others by identifiers")
            if lower < distinct and not source.identifiers.lower_case:
                hints.append(f"{distinct - lower} of {distinct} values of {path} differ from others by upper and lower case only")
    return hints


def _about_conditions(store: Warehouse, looked: ir.Table, source: Source) -> list[str]:
    """Texts that a condition compares with a number and that are none."""
    hints = []
    fields = fields_of(looked, source)
    for test in source.conditions():
        if all(bound is None for bound in (test.below, test.above, test.at_least, test.at_most)):
            continue
        text = read_text(test, fields[test.field], source)
        number = read_number(test, text, source, fields.is_number(test.field))
        texts = looked.select(text=text, odd=text.notnull() & number.isnull())
        odd = texts.filter(texts.odd)
        count, example = store.row(odd.aggregate(count=odd.count(), example=mapping.masked(odd.text).min()))
        if count:
            hints.append(f"{count} of {test.field} are no numbers, such as {example!r}: {test.described()!r} does not hold for them")
    return hints


def _about_lookups(store: Warehouse, looked: ir.Table, source: Source) -> list[str]:
    """Look-ups whose records are rarely found."""
    hints = []
    fields = fields_of(looked, source)
    for lookup in source.join:
        read = [text for path, text in fields.texts.items() if lookup.gives(path)]
        if not read:
            continue
        table = looked.select(met=ibis.or_(*(text.notnull() for text in read)))
        count, met = store.row(table.aggregate(count=table.count(), met=table.met.sum()))
        if count and met < FEW_MET * count:
            hints.append(
                f"{met} of {count} records find one in {lookup.source} by {' and '.join(lookup.on)}: written in two ways, or another list?"
            )
    return hints


def _about_joined_ids(store: Warehouse, looked: ir.Table, source: Source) -> list[str]:
    """Ids of several fields of which different ones become the same text."""
    hints = []
    fields = fields_of(looked, source)
    for column, mapped in source.fields.items():
        if column.endswith("_id") and mapped.from_ and len(mapped.from_) > 1:
            parts = {f"part_{number}": read_text(mapped, fields[path], source, column) for number, path in enumerate(mapped.from_)}
            table = looked.select(whole=text_of(mapped, fields, source, column), **parts)
            distinct = table.filter(table.whole.notnull()).distinct()
            count, ids = store.row(distinct.aggregate(count=distinct.count(), ids=distinct.whole.nunique()))
            if ids < count:
                hints.append(
                    f"{count} different {' and '.join(mapped.from_)} make {ids} different {column}: say a join that is in none of them"
                )
    return hints


def _about_events(store: Warehouse, mapped: ir.Table, source: Source, settings: Settings, count: int) -> tuple[list[str], list[str]]:
    facts: list[str] = []
    hints: list[str] = []
    clock = source.fields["timestamp"]
    good = mapped.filter(mapped.problem.isnull() & mapped.dropped.isnull())
    local = local_time(good.timestamp, clock.timezone or "UTC")
    first, last, ids, events, midnight, local_first, local_last, before = store.row(
        good.aggregate(
            first=good.timestamp.min(),
            last=good.timestamp.max(),
            ids=good.event_id.nunique(),
            events=good.count(),
            midnight=(local == local.truncate("D")).sum(),
            local_first=local.min(),
            local_last=local.max(),
            before=(good.timestamp.date() < local.date()).sum(),
        )
    )
    if not events:
        return facts, [*hints, f"none of the first {count} records is an event: look at the reasons above"]
    zone = clock.timezone or "UTC where the text names no zone"
    if clock.order:
        facts.append("no clock: the order of the records stands in for time")
    elif midnight == events:
        facts.append(f"days only, from {local_first:%Y-%m-%d} to {local_last:%Y-%m-%d}: nothing within a day can be told")
        if before:
            hints.append(
                f"dates alone in {clock.timezone} are the evening before in UTC, by which days are counted: without timezone a date stays that date"
            )
    else:
        facts.append(f"times from {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC; zone: {zone}")
    by_line = ibis.window(order_by=[good.source_file, good.source_line, good.source_part])
    backwards = good.select(back=good.timestamp < good.timestamp.lag().over(by_line))
    disordered = store.value(backwards.back.fill_null(False).sum())
    if clock.order:
        hints.append("the order of the file is taken for time: a file that is grouped by person or sorted otherwise gives a false one")
    elif disordered > MANY_DISORDERED * events:
        facts.append(f"not in the order of time ({disordered / events:.0%} of the records are earlier than the one before)")
    if events - ids > MANY_DUPLICATES * events:
        hints.append(
            f"{(events - ids) / events:.0%} of the events repeat another (same: {source.sameness}): equal lines may be several actions"
        )
    span = (last - first).days
    if span > MANY_DAYS and settings.logs.partitions == "day":
        hints.append(f"{span} days: consider logs.partitions: month")
    if span > MANY_DAYS and (pause := _longest_pause(store, good)) and (pause[1] - pause[0]).days > max(MANY_DAYS, LONG_PAUSE * span):
        early = store.value((good.timestamp.date() <= pause[0]).sum())
        hints.append(
            f"nothing between {pause[0]} and {pause[1]}, {early} of {events} events before that: wrong clocks? start_date rejects what is before it"
        )
    if "value" in source.fields:
        found = good.filter(good.value.notnull() & good.currency.notnull()).group_by("currency").aggregate(n=lambda rows: rows.count())
        currencies = [row[0] for row in store.tuples(found.order_by(ibis.desc("n"), "currency"))]
        if len(currencies) > 1:
            hints.append(
                f"amounts in {len(currencies)} currencies ({', '.join(currencies[:8])}{' ...' if len(currencies) > 8 else ''}): set currencies, they are never added up"
            )
        if unknown := [currency for currency in currencies if currency not in CODES.split()]:
            hints.append(f"currency: {', '.join(unknown[:5])}: no codes of ISO 4217, as EUR is: map them to those that are meant")
        unnamed = store.value((good.value.notnull() & good.currency.isnull() & (good.event_type != "rating")).sum().fill_null(0))
        if currencies and unnamed:
            hints.append(
                f"{unnamed} amounts name no currency: they are added to those in {settings.currencies.base if settings.currencies else currencies[0]}"
            )
    return facts, hints


def _longest_pause(store: Warehouse, events: ir.Table) -> tuple[dt.date, dt.date] | None:
    """The last day before and the first day after the longest time without events."""
    days = events.select(day=events.timestamp.date()).distinct()
    pauses = days.mutate(before=days.day.lag().over(order_by=days.day)).filter(_.before.notnull())
    found = pauses.mutate(days=pauses.day.delta(pauses.before, unit="day")).order_by(ibis.desc("days"), "day").limit(1)
    rows = store.frame(found)
    return (pd.Timestamp(rows["before"][0]).date(), pd.Timestamp(rows["day"][0]).date()) if len(rows) else None


def ids_that_do_not_meet(engine: Warehouse, settings: Settings) -> list[str]:
    """Sources whose ids are rarely those of another, of the sources that ``profile_source`` has looked at with this engine."""
    hints = []
    for column in ("user_id", "item_id"):
        sources = [source for source in settings.sources if column in source.fields and engine.is_kept(f"mapped_{source.name}")]
        ids = {source.name: _ids(engine, source, column) for source in sources}
        for source in (one for one in sources if one.kind == "events"):
            for other in (one for one in sources if one.kind in ("users", "items")):
                named = engine.value(ids[source.name].count())
                met = engine.value(ids[source.name].semi_join(ids[other.name], "id").count())
                listed = engine.value(ids[other.name].count())  # of a list of rejects alone the reasons are shown
                if named and listed and met < FEW_MET * named:
                    hints.append(
                        f"{met} of {named} different {column} in {source.name} stand in {other.name}: written in two ways, or another list?"
                    )
    return hints


def _ids(engine: Warehouse, source: Source, column: str) -> ir.Table:
    mapped = engine.kept(f"mapped_{source.name}")
    return mapped.filter(mapped[column].notnull() & mapped.problem.isnull()).select(id=column).distinct()
