"""One reader a format: a file of this folder, and a line of ``READERS``."""

from __future__ import annotations

from persona_pipelines.logs.formats.access_log import AccessLogReader
from persona_pipelines.logs.formats.delimited import DelimitedReader
from persona_pipelines.logs.formats.json_values import JsonReader
from persona_pipelines.logs.formats.parquet import ParquetReader
from persona_pipelines.logs.formats.reader import Reader
from persona_pipelines.logs.formats.w3c import W3CReader

READERS: dict[str, Reader] = {
    "access_log": AccessLogReader(),
    "csv": DelimitedReader(),
    "json": JsonReader(),
    "json_lines": JsonReader(),
    "parquet": ParquetReader(),
    "w3c": W3CReader(),
}
