"""Access logs of web servers: lines in a format that the server was given (``settings.log_formats``)."""

from __future__ import annotations

from collections.abc import Sequence

from persona_pipelines.logs.formats.reader import Group, TextReader, selected
from persona_pipelines.logs.formats.sql import HeaderError, clean
from persona_pipelines.settings.formats import AccessLogFormat
from persona_pipelines.settings.log_formats import NO_PAGE, NO_REQUEST, LinePattern, line_pattern
from persona_pipelines.vocabulary import LOG_FORMATS
from persona_pipelines.warehouse.quoting import literal, quoted_name


class AccessLogReader(TextReader):
    """A line in another layout is a problem, and so is one whose request cannot be read; ``-`` is a missing value.

    A connection on which no request was made is skipped.
    """

    def columns(self, group: Group, settings: AccessLogFormat) -> list[str]:
        return list(self._pattern(settings).fields)

    def query(self, fields: Sequence[str], group: Group, settings: AccessLogFormat) -> str:
        pattern = self._pattern(settings)
        names = ", ".join(literal(name) for name in pattern.fields)
        # One field of the pattern can match the empty text; the line's first word cannot.
        inner = f"SELECT *, CASE WHEN line_problem IS NULL THEN regexp_extract(record, {literal(pattern.pattern)}, [{names}]) END AS parts FROM lines"
        whole = " || ".join(f"parts.{quoted_name(name)}" for name in pattern.fields)
        unread = f"line_problem IS NULL AND {whole} = '' AND NOT regexp_matches(record, {literal(pattern.pattern)})"
        inner = f"SELECT *, {unread} AS unread FROM ({inner})"
        shown = settings.log_format if settings.log_format in LOG_FORMATS else "the log's"
        wrong = literal(f"malformed line: not in {shown} format")
        problem, skipped = f"CASE WHEN unread THEN {wrong} END", "CAST(NULL AS VARCHAR)"
        if "request" in pattern.loose_fields:
            request = (
                f"regexp_extract(record, {literal(pattern.loose)}, [{', '.join(literal(name) for name in pattern.loose_fields)}]).request"
            )
            loosely = f"unread AND regexp_matches(record, {literal(pattern.loose)})"
            none = f"{loosely} AND {request} IN ({', '.join(literal(text) for text in NO_REQUEST)})"
            server = f"{loosely} AND regexp_full_match({request}, {literal(NO_PAGE)})"
            skipped = (
                f"CASE WHEN {none} THEN 'no request: the connection was closed before one was made' "
                f"WHEN {server} THEN 'no page: a request to the server itself' END"
            )
            further = f"contains(parts.url, {literal(' HTTP/')})" if "url" in pattern.fields else "false"
            problem = (
                f"CASE WHEN {further} THEN 'malformed line: its request cannot be read' WHEN NOT unread OR ({none}) OR ({server}) THEN NULL WHEN regexp_matches(record, {literal(pattern.loose)}) "
                f"THEN 'malformed line: its request cannot be read' ELSE {wrong} END"
            )
        return selected(inner, problem, [self._value(name, settings) for name in fields], skipped)

    @staticmethod
    def _pattern(settings: AccessLogFormat) -> LinePattern:
        try:
            return line_pattern(settings.log_format, settings.pattern, settings.further_columns == "ignore")
        except ValueError as error:
            raise HeaderError(str(error)) from None

    @staticmethod
    def _value(name: str, settings: AccessLogFormat) -> str:
        """A field's text; servers write quotes and what is no ASCII as ``\\"`` and ``\\xNN``, others as they please."""
        text = f"parts.{quoted_name(name)}"
        if settings.pattern is not None:
            return f"nullif({clean(text)}, '-')"
        # All escapes become percent codes, so that one decoding undoes them all; bytes that are no UTF-8 stay as they stand.
        escaped = f"replace(replace(replace({text}, '%', '%25'), '\\\\', '%5C'), '\\\"', '%22')"
        bytes_ = f"regexp_replace({escaped}, '\\\\x([0-9A-Fa-f]{{2}})', '%\\1', 'g')"
        plain = f"coalesce(TRY(url_decode({bytes_})), url_decode({escaped}))"
        value = clean(f"CASE WHEN contains({text}, chr(92)) THEN {plain} ELSE {text} END")
        # An empty text that the server puts into quotes itself is as missing as the dash.
        return f"nullif(nullif({value}, '-'), '\"\"')"
