"""Logs to user features: the project against a hand-written DuckDB script that does the same work, in one run.

    python benchmarks/ingest.py [--events 10000000] [--runs 1] [--folder FOLDER]

Generates the events once (CSV, gz, a file a day), then runs both in processes of their own, one after the other, and prints
wall times, peak memory and the ratio. Both read every line, keep rejects with their file, replace ids by HMAC-SHA-256
pseudonyms, drop duplicates, find sessions and attention, write raw, events, sessions, rejects and duplicates tables to a
DuckDB file, count where every record went, and compute the same user features (but who follows whom). Sums of them are compared, too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

START = dt.date(2025, 9, 1)
DAYS = 28
KEY = b"k" * 32
COMPARED = ", ".join(
    f"round(sum({name}), 2)"
    for name in (
        "active_days",
        "frequency",
        "repeat_order_value",
        "bounce_share",
        "rhythm_strength",
        "week_rhythm_strength",
        "interest_concentration",
        "discount_share",
        "items_per_session",
        "focus_share",
        "active_gap_days",
    )
)
MEMORY_LIMIT = "3GB"

CONFIGURATION = """
name: ingest-benchmark
start_date: 2025-09-01
sources:
  - name: events
    path: logs/{date}.csv.gz
    format: csv
    fields:
      event_id: event_id
      timestamp: timestamp
      event_type: event_type
      user_id: user_id
      item_id: item_id
      value: value
      dwell_ms: dwell_ms
      device: device
      channel: channel
  - name: items
    kind: items
    path: items.csv
    format: csv
    fields: {item_id: item_id, category: category, price: price}
logs: {settle_seconds: 0}
warehouse: {memory_limit: MEMORY_LIMIT}
"""


def generate(folder: Path, events: int) -> None:
    """Visits of about seven events each: in every stretch of 5,000 events some 700 users are active.

    About one line in a hundred is a duplicate of another of its day, one in a thousand has an unreadable time.
    """
    import duckdb

    (folder / "logs").mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect()
    connection.execute("SELECT setseed(0.42)").fetchall()
    connection.execute(
        f"COPY (SELECT 'i' || i AS item_id, 'category ' || (i % 40) AS category, round(5 + random() * 100, 2) AS price "
        f"FROM range(20000) t(i)) TO '{folder}/items.csv' (HEADER)"
    )
    a_day = events // DAYS
    for day in range(DAYS):
        date = START + dt.timedelta(days=day)
        connection.execute(f"""
            COPY (
              SELECT 'e' || ({day} * {a_day} + CASE WHEN random() < 0.01 THEN greatest(i - 1, 0) ELSE i END) AS event_id,
                CASE WHEN random() < 0.001 THEN 'never' ELSE strftime(TIMESTAMP '{date}' + to_microseconds((i * {86_400_000_000 // a_day})::BIGINT), '%Y-%m-%dT%H:%M:%SZ') END AS timestamp,
                CASE WHEN r < 0.6 THEN 'item_view' WHEN r < 0.8 THEN 'page_view' WHEN r < 0.9 THEN 'add_to_cart' WHEN r < 0.97 THEN 'purchase' ELSE 'click' END AS event_type,
                'u' || floor(pow(hash({day} * 100000000::BIGINT + floor(i / 5000) * 1000 + floor(r2 * 700)) / 18446744073709551616.0, 2) * 200000)::INT AS user_id,
                'i' || floor(pow(random(), 3) * 20000)::INT AS item_id,
                CASE WHEN r BETWEEN 0.9 AND 0.97 THEN round(random() * 100, 2) END AS value,
                CASE WHEN random() < 0.8 THEN floor(random() * 60000)::INT END AS dwell_ms,
                CASE WHEN random() < 0.5 THEN 'mobile' ELSE 'desktop' END AS device,
                CASE WHEN random() < 0.5 THEN 'direct' WHEN random() < 0.5 THEN 'search' ELSE 'email' END AS channel
              FROM (SELECT i, random() AS r, random() AS r2 FROM range({a_day}) t(i))
            ) TO '{folder}/logs/{date}.csv.gz' (HEADER, COMPRESSION gzip)""")


def run_project(folder: Path) -> dict[str, Any]:
    """What the assets call, from the raw tables to user_features."""
    import ibis

    from persona_pipelines.events.listings import refresh_items
    from persona_pipelines.events.refresh import refresh_events
    from persona_pipelines.features import attention, users
    from persona_pipelines.logs.loading import load_events, load_listing
    from persona_pipelines.settings import load_settings
    from persona_pipelines.warehouse import contracts
    from persona_pipelines.warehouse.connection import Warehouse

    times: dict[str, float] = {}
    os.environ["PERSONA_HOME"] = str(folder / "home")
    settings = load_settings(folder / "persona.yaml")
    last = START + dt.timedelta(days=DAYS - 1)
    file = folder / "project.duckdb"
    file.unlink(missing_ok=True)
    with Warehouse(file, KEY, memory_limit=settings.warehouse.memory_limit, threads=settings.warehouse.threads) as store:
        started = time.perf_counter()

        def lap(name: str) -> None:
            times[name] = time.perf_counter() - started - sum(times.values())

        load_events(store, settings.sources[0], settings, START, last)
        load_listing(store, settings.sources[1], settings)
        lap("logs")
        refresh_events(store, settings, START, last)
        refresh_items(store, settings)
        lap("events")
        events, items = store.table(contracts.EVENTS), store.table(contracts.ITEMS)
        with store.transaction():
            known = users.known_until(events, last)
            shares = attention.category_shares(known, items).mutate(as_of_date=ibis.literal(last))
            store.replace(contracts.CATEGORY_SHARES, shares)
            features = users.user_features(known, items, store.table(contracts.CATEGORY_SHARES))
            store.replace(contracts.USER_FEATURES, features)
        lap("features")
        found = store.connection.execute(
            f"SELECT count(*), sum(sessions), sum(events), round(sum(monetary_value), 2), round(sum(category_entropy), 3), {COMPARED} FROM features.user_features"
        ).fetchall()[0]
    return {**times, "total": sum(times.values()), "result": [float(value) for value in found]}


def run_script(folder: Path) -> dict[str, Any]:
    """The same work by hand."""
    import duckdb

    from persona_pipelines.privacy.pseudonyms import padded_keys

    inner, outer = (f"unhex('{padded.hex()}')" for padded in padded_keys(KEY))
    file = folder / "script.duckdb"
    file.unlink(missing_ok=True)
    sql = (Path(__file__).parent / "ingest.sql").read_text()
    connection = duckdb.connect(str(file), config={"memory_limit": MEMORY_LIMIT, "preserve_insertion_order": False})
    started = time.perf_counter()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute(f"CREATE TEMP MACRO pseudonym(id) AS left(sha256({outer} || unhex(sha256({inner} || encode(id)))), 32)")
    times: dict[str, float] = {}
    for part in sql.replace("$FOLDER", str(folder)).split("-- part: ")[1:]:
        name, statements = part.split("\n", 1)
        for statement in statements.split(";\n"):
            if statement.strip():
                connection.execute(statement).fetchall()
        times[name] = time.perf_counter() - started - sum(times.values())
    total = time.perf_counter() - started
    found = connection.execute(
        f"SELECT count(*), sum(sessions), sum(events), round(sum(monetary_value), 2), round(sum(category_entropy), 3), {COMPARED} FROM user_features"
    ).fetchall()[0]
    connection.close()
    return {**times, "total": total, "result": [float(value) for value in found]}


def measured(which: str, folder: Path) -> dict[str, Any]:
    found = subprocess.run(
        [sys.executable, __file__, "--only", which, "--folder", str(folder)], capture_output=True, text=True, check=False
    )
    if found.returncode:
        sys.exit(found.stderr)
    return json.loads(found.stdout.strip().splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=["project", "script"])
    arguments = parser.parse_args()
    if arguments.only:
        found = (run_project if arguments.only == "project" else run_script)(arguments.folder)
        found["memory_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(json.dumps(found), flush=True)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "logs").exists():
            print(f"generating {arguments.events:,} events ...", flush=True)
            generate(folder, arguments.events)
        (folder / "persona.yaml").write_text(CONFIGURATION.replace("MEMORY_LIMIT", MEMORY_LIMIT))
        ratios = []
        for _ in range(arguments.runs):
            script, project = measured("script", folder), measured("project", folder)
            ratios.append(project["total"] / script["total"])
            print(f"{'':10}{'script':>12}{'project':>12}")
            for name in ("logs", "events", "features", "total", "memory_gb"):
                print(f"{name:10}{script[name]:12.1f}{project[name]:12.1f}")
            print(f"results    script {script['result']}\n           project {project['result']}")
        print(f"ratio project / script: {statistics.median(ratios):.2f} (median of {len(ratios)})")


if __name__ == "__main__":
    main()
