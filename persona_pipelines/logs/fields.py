"""From the records of a reader to the fields that a mapping names: paths into documents, lists with an event an element, look-ups.

All of it is text still; ``logs.values`` makes values of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from persona_pipelines.logs.formats import READERS
from persona_pipelines.logs.formats.reader import Group, steps_of
from persona_pipelines.logs.formats.sql import HeaderError, clean, json_text, parameter_text, plain_steps, pointer, without_blanks
from persona_pipelines.logs.paths import Key, Step
from persona_pipelines.settings import Source
from persona_pipelines.settings.sources import PLACE_FIELDS
from persona_pipelines.warehouse.quoting import literal, quoted_name

PARTS_OF_A_LINE = 1_000_000
"""``source_part`` is the number of the record in its line, less one, times this, plus the number of the event in the record.

A line is shorter than twice as many bytes (``logs.max_line_bytes``), so no two events of a line have the same.
"""


@dataclass(frozen=True)
class LookupTable:
    """A source of kind ``lookup`` as read: its temporary table, its columns, and what is to be said of its records."""

    table: str
    columns: tuple[str, ...]
    told: tuple[str, ...] = ()


def fields_query(source: Source, group: Group, lookups: Mapping[str, LookupTable]) -> str:
    """A query over a group of files: ``source_file``, ``file_day``, ``source_line``, ``source_part``, ``order``, ``record``, ``layout`` (the columns
    that the mapping reads, in their order, of formats with a header), ``problem``, ``document_problem`` (a text or element that is to be a document is none), ``skipped`` and ``field_0``, ``field_1`` ... in the order of ``source.paths()``; where ``source.tells_numbers``, ``is_number_0`` ...
    too: whether the record has a number there, and no text that says one.

    Raises:
        HeaderError: a field is not to be found.
    """
    return _Query(source, group, lookups).text()


class _Query:
    def __init__(self, source: Source, group: Group, lookups: Mapping[str, LookupTable]) -> None:
        self.source, self.group, self.lookups = source, group, lookups
        self.reader = READERS[source.format.type]
        self.bases: list[str] = []
        self.each = steps_of(source.each.path) if source.each else ()
        self.parsed = sorted(((steps_of(name), name) for name in source.parse), key=lambda one: -len(one[0]))

    def text(self) -> str:
        paths = [path for path in self.source.paths() if self._looked_up(path) is None]
        keys = [name for lookup in self.source.join for name in lookup.on]
        wanted = list(dict.fromkeys([*paths, *keys]))
        expressions = {path: self._expression(path) for path in wanted}
        number = "1"
        records = None
        if self.source.each:
            elements = self._of_the_record(self.source.each.path, self.each)
            records = self._elements(elements)
            number = "element_number"
        if records is None:
            records = f"({self.reader.query(self.bases, self.group, self.source.format)})"
        document_problem = self._no_document(wanted)
        named = {path: f"wanted_{position}" for position, path in enumerate(wanted)}
        selected = "".join(f", {expression} AS {named[path]}" for path, expression in expressions.items())
        if self.source.tells_numbers:
            selected += "".join(
                f", {self._is_number(path, expression)} AS number_{named[path]}" for path, expression in expressions.items()
            )
        plain = (
            f"SELECT source_file, file_day, source_line, ((part - 1) * {PARTS_OF_A_LINE} + {number})::BIGINT AS source_part, "
            f'"order", record, problem, {document_problem} AS document_problem, skipped{selected} FROM {records}'
        )
        joins, columns = "", []
        for position, lookup in enumerate(self.source.join):
            table = self.lookups[lookup.source]
            for column in [*lookup.on.values(), *(lookup.fields or [])]:
                if column not in table.columns:
                    raise HeaderError(f"join: {column!r} is no field of the source {lookup.source}; found {', '.join(table.columns)}")
            own = {name: self._trimmed(name, f"records.{named[name]}") for name in lookup.on}
            met = " AND ".join(f"{own[name]} = lookup_{position}.{quoted_name(column)}" for name, column in lookup.on.items())
            joins += f" LEFT JOIN {quoted_name(table.table)} AS lookup_{position} ON {met}"
        for position, path in enumerate(self.source.paths()):
            found = self._looked_up(path)
            columns.append(f"{found or self._trimmed(path, f'records.{named[path]}')} AS field_{position}")
            if self.source.tells_numbers:
                told = self._looked_up(path, "is_number_") if found else f"records.number_{named[path]}"
                columns.append(f"coalesce({told}, false) AS is_number_{position}")
        layout = literal("\t".join(name for name in self.reader.columns(self.group, self.source.format) if name in self.bases))
        kept = f'records.source_file, file_day, source_line, source_part, "order", record, {layout} AS layout, problem, document_problem, skipped'
        return f"SELECT {', '.join([kept, *columns])} FROM ({plain}) AS records{joins}"

    def _trimmed(self, path: str, column: str) -> str:
        """A text as found, without the blanks around it; cells of CSV have none any more."""
        cell = self.source.format.type == "csv" and not self.source.parse and not self._document(path)[0]
        return column if cell else without_blanks(column)

    def _looked_up(self, path: str, before: str = "") -> str | None:
        """The column of a look-up that a path names as ``SOURCE.COLUMN``; or the one of that name with something before it."""
        for position, lookup in enumerate(self.source.join):
            if lookup.gives(path):
                column = path.removeprefix(f"{lookup.source}.")
                allowed: Sequence[str] = lookup.fields or self.lookups[lookup.source].columns
                if column not in allowed:
                    raise HeaderError(f"{path!r}: no such field of the look-up; found {', '.join(allowed)}")
                return f"lookup_{position}.{quoted_name(before + column)}"
        return None

    def _base(self, path: str) -> str:
        """What the reader gives for a path, as an expression; the reader is asked for it."""
        name, rest = self.reader.resolve(path, self.group, self.source.format)
        if name not in self.bases:
            self.bases.append(name)
        return self._inside(f"base_{self.bases.index(name)}", rest)

    @staticmethod
    def _inside(document: str, steps: Sequence[Step]) -> str:
        return clean(json_text(document, steps)) if steps else document

    def _expression(self, path: str) -> str:
        if path in PLACE_FIELDS:
            return self._place(path)
        try:
            steps = steps_of(path)
        except HeaderError:
            return self._base(path)  # names of columns may hold anything
        if self.each and steps[: len(self.each)] == self.each:
            rest = steps[len(self.each) :]
            for prefix, name in self._parsed_around(steps):
                if len(prefix) >= len(self.each):
                    return self._parsed(path, name, self._expression(name), steps[len(prefix) :])
            if rest or (self.source.each and self.source.each.split is not None):
                return self._inside("element", rest)
            return clean("json_extract_string(element, '$')")
        return self._of_the_record(path, steps)

    def _place(self, path: str) -> str:
        """Where a record was read, as ``PLACE_FIELDS`` say."""
        if path == "@index":
            return "element_number::VARCHAR" if self.source.each else "'1'"
        if path == "@within" and not getattr(self.source.format, "fill_down", None):
            raise HeaderError("@within: the number of a record among those of fill_down.within; expected format.fill_down")
        columns = {"@within": "number_within", "@file": "source_file", "@line": "source_line", "@part": "part"}
        return f"{columns[path]}::VARCHAR"

    def _of_the_record(self, path: str, steps: Sequence[Step]) -> str:
        for prefix, name in self._parsed_around(steps):
            return self._parsed(path, name, self._of_the_record(name, prefix), steps[len(prefix) :])
        return self._base(path)

    def _parsed_around(self, steps: Sequence[Step]) -> list[tuple[Sequence[Step], str]]:
        """The texts of ``parse`` inside of which a field stands, the innermost first."""
        return [(prefix, name) for prefix, name in self.parsed if len(steps) > len(prefix) and steps[: len(prefix)] == prefix]

    def _is_number(self, path: str, text: str) -> str:
        """Whether a document has a number where the text comes from."""
        document, steps = self._document(path)
        if not document or plain_steps(steps) < len(steps):
            return "false"
        kinds = "('BIGINT', 'UBIGINT', 'HUGEINT', 'DOUBLE')"
        return f"CASE WHEN {text} IS NULL THEN false ELSE coalesce(json_type({document}, {literal(pointer(steps))}) IN {kinds}, false) END"

    def _document(self, path: str) -> tuple[str, Sequence[Step]]:
        """The JSON in which a field stands, as an expression, and where; empty where it stands in none."""
        if path in PLACE_FIELDS:
            return "", ()
        try:
            steps = steps_of(path)
        except HeaderError:
            steps = (Key(path),)
        for prefix, name in self._parsed_around(steps):
            return (self._expression(name) if self.source.parse[name] == "json" else ""), steps[len(prefix) :]
        if self.each and steps[: len(self.each)] == self.each:
            return ("element" if self.source.each and self.source.each.split is None else ""), steps[len(self.each) :]
        return self._document_of_the_record(path, steps)

    def _document_of_the_record(self, path: str, steps: Sequence[Step]) -> tuple[str, Sequence[Step]]:
        for prefix, name in self._parsed_around(steps):
            return (self._of_the_record(name, prefix) if self.source.parse[name] == "json" else ""), steps[len(prefix) :]
        if self.source.format.type == "parquet":
            columns = self.reader.columns(self.group, self.source.format)
            return "record", (Key(path),) if path in columns else steps
        if self.source.format.type in ("json", "json_lines"):
            return "record", steps
        name, rest = self.reader.resolve(path, self.group, self.source.format)
        return (self._base(name) if rest else ""), rest

    def _no_document(self, wanted: Sequence[str]) -> str:
        """What is wrong with a record, as an expression: that a text or element which is to be a document is none."""
        texts: dict[str, str] = {}
        inside_of_elements = False
        for path in wanted:
            try:
                steps = steps_of(path)
            except HeaderError:
                continue  # names of columns may hold anything
            if path in PLACE_FIELDS:
                continue
            if self.each and steps[: len(self.each)] == self.each:
                inside_of_elements |= isinstance((*steps[len(self.each) :], None)[0], Key)
            texts |= self._texts_around(path, steps)
        cases = self._damaged(texts)
        if inside_of_elements:
            path = self.source.each.path if self.source.each else ""
            cases.append(
                f"WHEN element IS NOT NULL AND json_type(element) <> 'OBJECT' THEN {literal(f'each: an element of {path} is no object')}"
            )
        return f"CASE WHEN problem IS NOT NULL THEN NULL {' '.join(cases)} END" if cases else "CAST(NULL AS VARCHAR)"

    def _texts_around(self, path: str, steps: Sequence[Step]) -> dict[str, str]:
        """The texts that have to be JSON for a field to be reached, by their names, as expressions."""
        around = [name for _, name in reversed(self._parsed_around(steps))]
        texts = {f"parse: {name}": self._expression(name) for name in around if self.source.parse[name] == "json"}
        inside = self.each and steps[: len(self.each)] == self.each and steps != self.each
        if self.source.format.type not in ("json", "json_lines", "parquet") and not inside:
            name, rest = self.reader.resolve((*around, path)[0], self.group, self.source.format)
            if rest:
                texts = {name: self._base(name), **texts}
        return texts

    def _damaged(self, texts: Mapping[str, str]) -> list[str]:
        """Cases of texts that are no JSON, as one cut off is."""
        words = ", ".join(literal(word.lower()) for word in self.source.missing_words)
        cases = []
        for name, text in texts.items():
            missing = f" AND lower({text}) NOT IN ({words})" if words else ""
            cases.append(f"WHEN {text} IS NOT NULL AND NOT json_valid({text}){missing} THEN {literal(f'{name} is no JSON document')}")
        return cases

    def _parsed(self, path: str, name: str, document: str, rest: Sequence[Step]) -> str:
        """What stands at ``rest`` inside of a text that is a document or a list of parameters itself."""
        if self.source.parse[name] == "json":
            return self._inside(document, rest)
        if len(rest) != 1 or not isinstance(rest[0], Key):
            raise HeaderError(f"{path!r}: expected the name of one parameter")
        return clean(parameter_text(document, rest[0].name))

    def _around_the_list(self) -> list[str]:
        """Cases of a list that cannot be reached, because something that it is to stand in is there and is no object."""
        assert self.source.each is not None
        cases: list[str] = []
        outer, steps = self.source.each.path, self.each
        while len(steps) > 1:
            outer, _, last = outer.rpartition(".")
            if not isinstance(steps[-1], Key) or steps[-1].name != last or steps_of(outer) != steps[:-1]:
                break
            steps = steps[:-1]
            document, rest = self._document_at(outer, steps)
            if document and plain_steps(rest) == len(rest):
                kind = f"CASE WHEN json_valid({document}) THEN json_type({document}, {literal(pointer(rest))}) END"
                cases.append(f"WHEN {kind} NOT IN ('OBJECT', 'NULL') THEN {literal(f'each: {outer} is no object, and has no {last}')}")
        return cases

    def _document_at(self, path: str, steps: Sequence[Step]) -> tuple[str, Sequence[Step]]:
        """The JSON that a field is or stands in, as an expression, and where; empty where there is none."""
        name = next((name for prefix, name in self.parsed if prefix == steps), None)
        if name is not None:
            return (self._of_the_record(name, steps) if self.source.parse[name] == "json" else ""), ()
        document, rest = self._document_of_the_record(path, steps)
        if document or self.source.format.type in ("json", "json_lines", "parquet") or self._parsed_around(steps):
            return document, rest
        return self._base(path), ()

    def _elements(self, elements: str) -> str:
        """One row an element; a record without any, or one that cannot be read, gives one row too."""
        assert self.source.each is not None
        path = self.source.each.path
        wrong = f"each: {path} is no list"
        around = " ".join([*self._damaged(self._texts_around(path, self.each)), *self._around_the_list()])
        if self.source.each.split is not None:
            document, steps = self._document_of_the_record(path, self.each)
            is_list, wrong = "true", f"each: {path} is no text to be split"
            if document and plain_steps(steps) == len(steps):  # what a document has there may be a list already
                kind = f"CASE WHEN json_valid({document}) THEN json_type({document}, {literal(pointer(steps))}) END"
                is_list = f"coalesce({kind}, '') NOT IN ('ARRAY', 'OBJECT')"
            blanks = r"'^\s+|\s+$', '', 'g'"
            parts = f"list_transform(string_split({elements}, {literal(self.source.each.split)}), lambda x: regexp_replace(x, {blanks}))"
            made = f"list_filter({parts}, lambda x: x <> '')"
        else:
            elements = f"nullif({elements}, 'null')"
            is_list = f"CASE WHEN json_valid({elements}) THEN json_type({elements}) = 'ARRAY' ELSE false END"
            made = f"json_extract({elements}, '$[*]')"
        skips = "false" if self.source.each.keeps_empty else "true"
        records = self.reader.query(self.bases, self.group, self.source.format)
        listed = f"SELECT *, CASE WHEN problem IS NULL AND {elements} IS NOT NULL AND {is_list} THEN {made} END AS list, {is_list} AS is_list FROM ({records})"
        judged = (
            "SELECT * EXCLUDE (list, is_list) REPLACE ("
            f"CASE WHEN problem IS NOT NULL THEN problem WHEN {elements} IS NOT NULL THEN CASE WHEN NOT is_list THEN {literal(wrong)} END {around} END AS problem, "
            f"CASE WHEN skipped IS NULL AND {skips} AND coalesce(len(list), 0) = 0 THEN {literal(f'each: {path} is empty')} ELSE skipped END AS skipped), "
            f"CASE WHEN coalesce(len(list), 0) = 0 THEN [NULL] ELSE list END AS list FROM ({listed})"
        )
        return f"(SELECT * EXCLUDE (list), unnest(list) AS element, generate_subscripts(list, 1) AS element_number FROM ({judged}))"
