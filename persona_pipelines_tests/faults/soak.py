"""Sixty days of one shop, a daily run each and a weekly one each seventh, in one process: memory, files and disk by day."""

from __future__ import annotations

import csv
import datetime as dt
import gc
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from persona_pipelines.simulation.shop import ShopPlan
from persona_pipelines_tests.faults.outcomes import Outcome
from persona_pipelines_tests.faults.stand import PLAN, Stand, configured

DAYS, KNOWN = 60, 14
"""Days of the soak, and those of which the first run knows."""
WARM = 20
"""Days after which nothing is loaded for the first time any more."""
PARTS = {
    "warehouse": "warehouse.duckdb",
    "published": "published.duckdb",
    "dagster": "dagster",
    "mlflow": "mlflow.db",
    "models": "mlflow-artifacts",
    "raw": "../raw",
}


@dataclass
class Day:
    """Of one day: megabytes of memory and by part of the disk, open files, threads, events in the warehouse, seconds of its runs."""

    day: int
    memory: float
    files: int
    threads: int
    events: int
    seconds: float
    warehouse: float
    published: float
    dagster: float
    mlflow: float
    models: float
    raw: float


def soak(folder: Path, table: Path, days: int = DAYS) -> Iterator[Outcome]:
    from persona_pipelines.graph import build
    from persona_pipelines.orchestration.instance import open_instance
    from persona_pipelines.orchestration.jobs import MAIN_JOB
    from persona_pipelines.orchestration.partitions import range_tags
    from persona_pipelines.orchestration.runs import run_job

    stand = configured(folder / "soak", ShopPlan(users=PLAN.users, days=KNOWN + days, seed=PLAN.seed, dirt=PLAN.dirt, items=PLAN.items))
    settings = stand.settings
    os.environ["PERSONA_HOME"] = str(stand.home)
    start = settings.start_date
    measured: list[Day] = []
    wrong: list[str] = []
    with open_instance(settings, print) as instance:
        definitions = build(settings)
        for number in range(days + 1):
            began = time.monotonic()
            day = start + dt.timedelta(days=KNOWN - 1 + number)
            jobs = [(MAIN_JOB, range_tags(settings, start, day))] if not number else [("daily", range_tags(settings, day, day))]
            jobs += [("weekly", {})] if number and number % 7 == 0 else []
            for job, tags in jobs:
                result = run_job(settings, definitions, instance, tags, job=job)
                wrong += [f"day {number}, {job}: {text}" for text in result.failures]
            measured.append(_measured(stand, number, time.monotonic() - began))
            write(measured, table)
    yield Outcome("soak", f"{days} days of {PLAN.users} users, in one process", told(measured), [*wrong, *not_flat(measured)])


def not_flat(measured: list[Day]) -> list[str]:
    """What grows by more than the data do: memory, files, threads and the databases by more than a little a day, tables by more than events."""
    late = [day for day in measured if day.day >= WARM]
    if len(late) < 10:
        return ["too few days to judge by"]
    days = np.array([day.day for day in late], dtype=float)

    def slope(name: str) -> float:
        return float(np.polyfit(days, [getattr(day, name) for day in late], 1)[0])

    wrong = []
    for name, most in (("memory", 1.0), ("files", 0.2), ("threads", 0.1)):
        if slope(name) > most:
            wrong.append(f"{name} grow by {slope(name):.2f} a day")
    by_event = [day.warehouse / day.events for day in late]
    if by_event[-1] > 1.5 * by_event[0]:
        wrong.append(f"the warehouse grows from {by_event[0] * 1e6:.0f} to {by_event[-1] * 1e6:.0f} bytes an event")
    return wrong


def told(measured: list[Day]) -> str:
    warm, last = next((day for day in measured if day.day >= WARM), measured[0]), measured[-1]
    return (
        f"memory {warm.memory:.0f} MB on day {warm.day}, {last.memory:.0f} MB on day {last.day}; warehouse {warm.warehouse:.1f} to {last.warehouse:.1f} MB "
        f"for {warm.events:,} to {last.events:,} events; Dagster {warm.dagster:.1f} to {last.dagster:.1f} MB; MLflow and models "
        f"{warm.mlflow + warm.models:.1f} to {last.mlflow + last.models:.1f} MB; files open {warm.files} to {last.files}"
    )


def write(measured: list[Day], table: Path) -> None:
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [entry.name for entry in fields(Day)])
        writer.writeheader()
        writer.writerows(
            {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(day).items()} for day in measured
        )


def plot(table: Path, picture: Path) -> None:
    """Memory, and disk by part, by day."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import pandas as pd

    found = pd.read_csv(table).set_index("day")
    figure, (memory, disk, events) = plt.subplots(1, 3, figsize=(13, 3.6), constrained_layout=True)
    memory.plot(found.index, found["memory"], color="#1f5f8b")
    memory.set(title="memory of the process (MB)", xlabel="day", ylim=(0, None))
    for name in PARTS:
        disk.plot(found.index, found[name], label=name)
    disk.set(title="disk (MB)", xlabel="day", ylim=(0, None))
    disk.legend(fontsize=7)
    events.plot(found.index, found["events"] / 1000, color="#666666")
    events.set(title="events in the warehouse (thousands)", xlabel="day", ylim=(0, None))
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def _measured(stand: Stand, number: int, seconds: float) -> Day:
    from persona_pipelines.warehouse import contracts
    from persona_pipelines.warehouse.connection import Warehouse

    gc.collect()
    with Warehouse(stand.home / "published.duckdb", read_only=True) as store:
        events = store.rows(contracts.EVENTS)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    files, threads = len(list(Path("/proc/self/fd").iterdir())), len(list(Path("/proc/self/task").iterdir()))
    return Day(number, resident, files, threads, events, seconds, **{name: _size(stand.home / path) for name, path in PARTS.items()})


def _size(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6
