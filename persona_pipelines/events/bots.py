"""Records that are no act of a person: bots by their user agent, and static assets by their address."""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir


def filter_reason(records: ir.Table, static_extensions: Sequence[str]) -> ir.StringValue:
    """Why a record is filtered, or null: ``dropped: ...``, ``bot``, ``static asset``.

    Args:
        records: columns ``dropped``, ``bot`` (boolean, may be null) and ``url`` (without query string).
    """
    extension = records.url.lower().re_extract(r"\.([a-z0-9]{1,5})$", 1)
    return ibis.cases(
        (records.dropped.notnull(), records.dropped),
        (records.bot.fill_null(False), "bot"),
        (extension.isin([name.lower() for name in static_extensions]), "static asset"),
        else_=ibis.null("string"),
    )
