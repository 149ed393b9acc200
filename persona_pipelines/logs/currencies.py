"""Amounts in several currencies -> one, by the rates of their days."""

from __future__ import annotations

import csv
import datetime as dt
import math
from dataclasses import dataclass
from pathlib import Path

import ibis
import ibis.expr.types as ir
import pandas as pd

from persona_pipelines.logs.files import LogFileError
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.connection import from_frame

COLUMNS = ("date", "currency", "rate")


@dataclass(frozen=True)
class Rates:
    """What one unit of a currency is worth in the base, each from its day until that of the next: ``currency``, ``first_day``,
    ``until_day``, ``rate``."""

    base: str
    table: ir.Table


def rates_of(settings: Settings) -> Rates | None:
    """The rates that the configuration names; None without any.

    Raises:
        LogFileError: the file cannot be read, or a line of it is no rate.
    """
    if settings.currencies is None:
        return None
    path = settings.resolved(settings.currencies.rates)
    shown = settings.displayed(path)
    rows = _read(path, shown)
    if any(rate != 1 for rate in rows.get(settings.currencies.base, {}).values()):
        raise LogFileError(f"{shown}: a rate of {settings.currencies.base} itself; expected 1, because it is the base")
    rows[settings.currencies.base] = {dt.date.min: 1.0}
    periods = []
    for currency, by_day in rows.items():
        days = sorted(by_day)
        periods += [(currency, day, until, by_day[day]) for day, until in zip(days, [*days[1:], dt.date.max], strict=True)]
    frame = pd.DataFrame(periods, columns=["rate_currency", "first_day", "until_day", "rate"])
    return Rates(settings.currencies.base, from_frame(frame))


def _read(path: Path, shown: str) -> dict[str, dict[dt.date, float]]:
    rows: dict[str, dict[dt.date, float]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or [])]:
                raise LogFileError(f"{shown}, line 1: column {missing[0]!r} not found; expected {', '.join(COLUMNS)}")
            for row in reader:
                place = f"{shown}, line {reader.line_num}"
                try:
                    day, rate = dt.date.fromisoformat(row["date"].strip()), float(row["rate"])
                except (ValueError, AttributeError, TypeError):
                    raise LogFileError(
                        f"{place}: found {row['date']!r} and {row['rate']!r}; expected a date (2026-01-31) and a number"
                    ) from None
                if not (rate > 0 and math.isfinite(rate)):
                    raise LogFileError(f"{place}: rate: found {rate:g}; expected what one unit is worth in the base currency, above 0")
                of_currency = rows.setdefault((row["currency"] or "").strip().upper(), {})
                if of_currency.setdefault(day, rate) != rate:
                    raise LogFileError(
                        f"{place}: {row['currency']} of {day} stands there twice, as {of_currency[day]:g} and {rate:g}; expected once"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LogFileError(f"{shown}: cannot be read as a table of rates ({error})") from None
    return rows


def converted(values: ir.Table, rates: Rates, money: ir.BooleanValue, day: ir.DateValue, column: str) -> ir.Table:
    """The records with ``column`` and ``currency`` in the base currency, and ``without_rate``, whether none is known for its day.

    An amount without a currency is taken to be in the base.

    Args:
        values: ``currency`` and ``column``.
        money: whether a record's number is an amount.
        day: whose rate counts.
    """
    asked = values.mutate(asked_currency=values.currency.upper(), asked_day=day, is_money=money)
    joined = asked.left_join(
        rates.table,
        [
            asked.asked_currency == rates.table.rate_currency,
            asked.asked_day >= rates.table.first_day,
            asked.asked_day < rates.table.until_day,
        ],
    )
    amount = joined.is_money & joined[column].notnull()
    named = joined.asked_currency.notnull()
    found = joined.rate.notnull()
    return joined.mutate(
        **{column: ibis.ifelse(amount & found, joined[column] * joined.rate, joined[column])},
        currency=ibis.ifelse(amount & (found | ~named), rates.base, joined.currency),
        without_rate=amount & named & ~found,
    ).drop("asked_currency", "asked_day", "is_money", "rate_currency", "first_day", "until_day", "rate")
