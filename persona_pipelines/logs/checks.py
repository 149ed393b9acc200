"""What has to be true of the records of a source before anything is made of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.findings import Finding
from persona_pipelines.logs.fields import PARTS_OF_A_LINE
from persona_pipelines.logs.loading import Loaded
from persona_pipelines.settings import Source
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

TOGETHER = "all records"
WEEKS, FEWEST_WEEKS = 8, 3
FEWEST_RECORDS = 100
"""Of a day that usually has fewer nothing is said: chance alone makes it thin."""
FEW_REJECTS = 2
"""So many bad records of a day or file fail nothing, however few good ones are beside them: a thin day is not worse than a busy one."""


@dataclass(frozen=True)
class Rejects:
    """``windows``: ``window`` in words, ``records``, ``rejects``; ``over``: those of them that have too many; ``described``: what is wrong in
    words, None where nothing is."""

    windows: pd.DataFrame
    over: pd.DataFrame
    described: str | None = None


def rejects(
    warehouse: Warehouse,
    rows: ir.Table,
    source: Source,
    limit: float,
    records_of_files: Mapping[str, int] | None = None,
    all_there_is: bool = True,
) -> Rejects:
    """Days, files and all that was loaded, with the share of their records that is rejected.

    A record without a time that can be used belongs to no day: it is counted with its file, and so is all of a list.

    Args:
        rows: mapped records: ``source_file``, ``source_line``, ``problem``, of a source of events ``timestamp`` and ``day`` too.
        records_of_files: how many records each file has where not all of them are among the rows.
        all_there_is: false where the source has records beside these, of which nothing is known.
    """
    file = rows.source_file.cast("string")
    if source.kind != "events":
        window: ir.StringValue = file
    elif source.dated:
        window = rows.day.cast("string")
    else:
        own = rows.timestamp.notnull() & (rows.timestamp.date() == rows.day)
        window = ibis.ifelse(own, rows.day.cast("string"), file)
    placed = rows.select("source_line", "problem", file=file, window=window, is_day=window != file)
    counted = _counted(warehouse, placed.group_by("window", "is_day"))
    by_file = warehouse.frame(placed.group_by("file").aggregate(records=placed.count())).set_index("file")["records"]
    in_files = ~counted["is_day"].astype(bool)
    of_files = counted.loc[in_files, "window"].map(lambda name: max(int(by_file[name]), (records_of_files or {}).get(name, 0)))
    counted.loc[in_files, "records"] = of_files.astype("int64")
    if len(counted) > 1:
        together = _counted(warehouse, placed.group_by(window=ibis.literal(TOGETHER), is_day=ibis.literal(False)))
        counted = pd.concat([counted, together], ignore_index=True)
    # The last one is all that was loaded: where nothing of several records is left, few are too many.
    lost = all_there_is & (counted.index == len(counted) - 1) & (counted["rejects"] == counted["records"]) & (counted["rejects"] > 1)
    few = (counted["rejects"] <= FEW_REJECTS) & ~lost
    over = counted[(counted["rejects"] > limit * counted["records"]) & ~few]
    return Rejects(counted, over, _described(warehouse, placed, counted, over, limit) if len(over) else None)


def _counted(warehouse: Warehouse, grouped: ir.GroupedTable) -> pd.DataFrame:
    found = grouped.aggregate(records=lambda rows: rows.count(), rejects=lambda rows: rows.problem.count())
    return warehouse.frame(found.order_by("window"))


def _described(warehouse: Warehouse, placed: ir.Table, counted: pd.DataFrame, over: pd.DataFrame, limit: float) -> str:
    """The worst of the windows that have too many rejects, with the reason that most of these have."""
    worst = over.loc[(over["rejects"] / over["records"]).idxmax()]
    bad = placed.filter(placed.problem.notnull())
    bad = bad if worst["window"] == TOGETHER else bad.filter(bad.window == worst["window"])
    reasons = bad.group_by("problem").aggregate(
        records=bad.count(),
        file=bad.file.argmin((bad.file + ":").concat(bad.source_line.cast("string").lpad(20, "0"))),
        line=bad.source_line.argmin((bad.file + ":").concat(bad.source_line.cast("string").lpad(20, "0"))),
    )
    reason, file, line = warehouse.row(reasons.order_by(ibis.desc("records"), "problem").limit(1).select("problem", "file", "line"))
    others = f"; {len(over)} of {len(counted)} days, files and runs are above it" if len(over) > 1 else ""
    return (
        f"{worst['window']}: {worst['rejects']} of {worst['records']} records rejected, max_reject_share is {limit:g}; the usual reason is "
        f"{reason!r}, first in {file}, line {line}{others}"
    )


def share_of_rejects(judged: Rejects, limit: float) -> Finding:
    """Rejected records stay below ``logs.max_reject_share``, in each day or file and in all that was loaded."""
    shares = judged.windows["rejects"] / judged.windows["records"]
    return Finding(judged.over.empty, judged.described, {"limit": limit, "highest": float(shares.max()) if len(shares) else 0.0})


def every_record_loaded(warehouse: Warehouse, asked: ir.Table, loaded: Loaded, days: bool) -> Finding:
    """Rows of each file are the records counted by its reader.

    Args:
        asked: the rows of the days that were loaded, or of the list.
        days: whether it is a source of events: a file without a date in its path is in the table only for the days that were asked for.
    """
    # One event a record: the others of a record that gives several have higher numbers within a multiple.
    first_events = asked.filter((asked.source_part - 1) % PARTS_OF_A_LINE == 0)
    by_file = warehouse.frame(first_events.group_by("source_file").aggregate(records=first_events.count())).set_index("source_file")[
        "records"
    ]
    short = []
    for reading in loaded.readings:
        found = int(by_file.get(reading.file.shown, 0))
        partly = days and reading.file.date is None and found < reading.records and not loaded.whole_files
        if found != reading.records and not partly:
            short.append(f"{reading.file.shown}: {reading.records} read, {found} in the table")
    return Finding(not short, "; ".join(short[:5]) or None, {"files": len(loaded.readings)})


def whole_files(warnings: Sequence[str]) -> Finding:
    """No file is missing, empty, changed or gone."""
    return Finding(not warnings, "; ".join(warnings[:5]) or None, {"warnings": len(warnings)})


def thin_days(warehouse: Warehouse, source: str, first: dt.date, last: dt.date, smallest: float) -> str | None:
    """Says which of the loaded days have far fewer records than they had before, or than is usual for their weekday; None where none has.

    What a day had, and what is usual, is what cleaning has accounted for: records that were refused here never were. A day that was there
    before is compared with itself. For a new one the median of the same weekday is usual, where at least ``FEWEST_WEEKS`` of the ``WEEKS`` before
    it had records. The day that is still running is not judged, nor is a history that is loaded for the first time: nothing is usual yet.

    Args:
        source: name of a source of events.
        smallest: share of the records expected that a day has to have.
    """
    if not smallest:
        return None
    rows, known = warehouse.table(contracts.raw_events(source)), warehouse.table(contracts.ACCOUNTING)
    loaded = rows.filter(rows.day.between(first, last))
    accounted = known.filter((known.source == source) & (known.day >= first - dt.timedelta(weeks=WEEKS)) & (known.records_read > 0))
    newest = warehouse.value(known.day.max())
    records = _by_day(warehouse, loaded.group_by("day").aggregate(records=loaded.count()))
    held = _by_day(warehouse, accounted.select("day", records="records_read"))
    until = min(last, dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1))
    thin = []
    for offset in range((until - first).days + 1):
        day = first + dt.timedelta(days=offset)
        before = [held[past] for week in range(1, WEEKS + 1) if (past := day - dt.timedelta(weeks=week)) in held]
        usual = float(np.median(before)) if len(before) >= FEWEST_WEEKS else 0.0
        # A day before the newest one that was got through without a record was taken so.
        expected = held.get(day, usual if newest is None or day > newest else 0.0)
        if expected >= FEWEST_RECORDS and records.get(day, 0) < smallest * expected:
            than = f"and had {expected:,} before" if day in held else f"a usual {day:%A} {usual:,.0f}"
            thin.append(f"{day} has {records.get(day, 0):,} records, {than}")
    if not thin:
        return None
    more = f"; {len(thin) - 3} more days likewise" if len(thin) > 3 else ""
    return (
        f"{'; '.join(thin[:3])}{more}: was the day delivered whole? Load it again when it is, or take it as it is: persona run --accept-shrink "
        "(logs.smallest_share_of_day)"
    )


def _by_day(warehouse: Warehouse, counted: ir.Table) -> dict[dt.date, int]:
    frame = warehouse.frame(counted)
    return {day.date(): int(count) for day, count in zip(frame["day"], frame["records"], strict=True)}
