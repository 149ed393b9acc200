"""What the files of a source look like before any field is read: one class a format, told apart by ``type``.

A format's name alone stands for its defaults (``format: csv``). The names of access logs (``combined``, ``nginx_main`` ...)
stand for ``{type: access_log, log_format: NAME}``.
"""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from persona_pipelines.settings.strict import Strict, Text
from persona_pipelines.vocabulary import LOG_FORMATS

Presence = Literal["reject", "ignore"]


class _Text(Strict):
    """What all text files may say of themselves."""

    encoding: str = Field("utf-8", description="Any encoding of Python; a mark at a file's begin wins.")
    skip_lines: int = Field(0, ge=0, description="Lines at the head of each file that are no records.")
    comment: str | None = Field(None, min_length=1, description="Lines that begin with it are no records.")
    member: str | None = Field(None, description="Which files of a zip archive to read, as a pattern (*.csv).")

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            name = codecs.lookup(value)
        except LookupError:
            raise ValueError("expected an encoding of Python, such as utf-8, windows-1252, latin-1, utf-16, shift_jis, big5") from None
        try:
            usable = name._is_text_encoding and isinstance(codecs.getincrementaldecoder(name.name)().decode(b"a"), str)
        except (UnicodeError, LookupError):
            usable = False
        if not usable or name.name in ("idna", "punycode"):
            raise ValueError("not an encoding of text; expected one such as utf-8, windows-1252, latin-1, utf-16, shift_jis, big5")
        return name.name


class FillDown(Strict):
    """Fields that stand in the first of several records only, as in exports of orders: blank ones take the value above.

    Args (settings):
        fields: what is carried down.
        within: fields that have to be the same in the records, such as the number of the order.
    """

    fields: list[Text] = Field(min_length=1, description="Fields of which blank ones take the value above.")
    within: Annotated[list[Text], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = Field(
        [], description="Fields that have to be the same for that, such as the number of the order."
    )

    @model_validator(mode="after")
    def _apart(self) -> FillDown:
        if both := next((name for name in self.fields if name in self.within), None):
            raise ValueError(f"fields: {both!r} stands in within too, which has to be in every line; expected fields alone where it is not")
        return self


def _switch(value: Any) -> Any:
    """Words for yes and no as such; any other is the begin of a header."""
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    return words.get(value.lower(), value) if isinstance(value, str) else value


class DelimitedFormat(_Text):
    type: Literal["csv"] = Field("csv", description="The format.")
    delimiter: str = Field(",", description="One or more characters, or `whitespace` for runs of white space.")
    quote: str = Field('"', description="Character around fields, or nothing.")
    escape: str = Field("", description="Character that takes the next one as it is, or nothing.")
    header: Annotated[bool | str, BeforeValidator(_switch)] = Field(
        True, description="Whether the first line names the columns; or the begin of the line that does."
    )
    columns: list[str] | None = Field(None, description="Names of the columns in order, where there is no header.")
    further_columns: Presence = Field("reject", description="What becomes of lines with more columns than the header.")
    missing_columns: Literal["reject", "empty"] = Field("reject", description="What becomes of lines with fewer columns than the header.")
    line_breaks_in_quotes: bool = Field(False, description="Whether a quoted field may go on over lines.")
    fill_down: FillDown | None = Field(None, description="Fields that stand in the first of several records only.")

    @field_validator("delimiter")
    @classmethod
    def _delimiter(cls, value: str) -> str:
        if not value:
            raise ValueError("expected one or more characters, or the word whitespace for runs of white space")
        return value

    @field_validator("quote", "escape")
    @classmethod
    def _character(cls, value: str) -> str:
        if len(value) > 1:
            raise ValueError("expected one character, or nothing")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> DelimitedFormat:
        if self.header is False and not self.columns:
            raise ValueError("expected columns: [names in order], because header is false")
        if self.header is not False and self.columns:
            raise ValueError("columns: the file's own header names them; expected header: false with columns")
        if self.line_breaks_in_quotes and not (self.quote or self.escape):
            raise ValueError("line_breaks_in_quotes: expected a quote or an escape character")
        if self.columns and (double := next((name for name in self.columns if self.columns.count(name) > 1), None)):
            raise ValueError(f"columns: {double!r} stands there twice")
        return self


class JsonFormat(_Text):
    type: Literal["json", "json_lines"] = Field("json", description="The format; both words mean the same.")


class AccessLogFormat(_Text):
    """Lines of a web server, by its own format string, by the name of a usual one, or by a pattern with named groups."""

    type: Literal["access_log"] = Field(
        "access_log", description="The format; the name of a usual one in its place stands for it with that `log_format`."
    )
    log_format: str | None = Field(None, description="The server's own format string, or the name of a usual one.")
    pattern: str | None = Field(None, description="Instead of it, a regular expression with named groups.")
    further_columns: Presence = Field("reject", description="Whether lines may have more at their end.")

    @model_validator(mode="after")
    def _one_description(self) -> AccessLogFormat:
        if (self.log_format is None) == (self.pattern is None):
            raise ValueError("expected log_format (a name or the server's format string) or pattern (with named groups), one of them")
        return self


class W3CFormat(_Text):
    """W3C Extended Log File Format: the names of the fields stand in ``#Fields:`` lines, wherever these are."""

    type: Literal["w3c"] = Field("w3c", description="The format.")
    further_columns: Presence = Field("reject", description="What becomes of lines with more fields than their `#Fields:` line names.")


class ParquetFormat(Strict):
    type: Literal["parquet"] = Field("parquet", description="The format.")
    missing_columns: Literal["reject", "empty"] = Field("reject", description="What becomes of files without a mapped column.")


def _shorthand(value: Any) -> Any:
    """A name for its settings; the name of an access log's format as ``type`` for ``access_log`` with this format."""
    settings = {"type": value} if isinstance(value, str) else value
    if isinstance(settings, dict) and isinstance(settings.get("type"), str) and settings["type"] in LOG_FORMATS:
        return {**settings, "type": "access_log", "log_format": settings["type"]}
    return settings


FormatSettings = Annotated[
    Annotated[DelimitedFormat | JsonFormat | AccessLogFormat | W3CFormat | ParquetFormat, Field(discriminator="type")],
    BeforeValidator(_shorthand),
]
