"""Records that are no act of a person: bots by their user agent, and static assets by their address."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir

from persona_pipelines.events.automation import is_static


def filter_reason(records: ir.Table, static_extensions: Sequence[str]) -> ir.StringValue:
    """Why a record is filtered, or null: ``dropped: ...``, ``bot``, ``static asset``.

    Args:
        records: columns ``dropped``, ``bot`` (boolean, may be null) and ``url`` (without query string).
    """
    return ibis.cases(
        (records.dropped.notnull(), records.dropped),
        (records.bot.fill_null(False), "bot"),
        (is_static(records.url, static_extensions), "static asset"),
        else_=ibis.null("string"),
    )
