"""Functions of the engine that Ibis has no name for. Each is one line here, and one macro or name on the engine."""

from __future__ import annotations

import datetime as dt

import ibis
import ibis.expr.datatypes as dt_types


@ibis.udf.scalar.builtin
def pseudonym(identifier: str) -> str:
    """HMAC-SHA-256 with the instance's key (privacy.pseudonyms); a macro that the connection defines."""
    ...


@ibis.udf.scalar.builtin
def md5(text: str) -> str: ...


@ibis.udf.scalar.builtin(signature=((dt_types.string, dt_types.Array(dt_types.string)), dt_types.Timestamp(timezone="UTC")))
def try_strptime(text, formats): ...  # type: ignore[no-untyped-def]


@ibis.udf.scalar.builtin
def isfinite(number: float) -> bool: ...


@ibis.udf.scalar.builtin
def make_timestamp(microseconds: int) -> dt.datetime: ...
