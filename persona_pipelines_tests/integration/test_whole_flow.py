"""The command line on a small simulated shop: the whole graph, the truth, re-runs, and what goes wrong."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml
from click.testing import Result

from persona_pipelines.features.interactions import rules_of
from persona_pipelines.gallery.texts import LANGUAGES
from persona_pipelines.gallery.writing import gallery_of
from persona_pipelines.home.manifest import read_manifest
from persona_pipelines.privacy.pseudonyms import load_key, pseudonym
from persona_pipelines.serving import intake
from persona_pipelines.serving import journal as journals
from persona_pipelines.serving.building import build, since
from persona_pipelines.serving.catalogue import Kept, Row
from persona_pipelines.serving.engine import Asked, Engine
from persona_pipelines.serving.intake import ItemIntake
from persona_pipelines.serving.journal import Journal, files_of, line_of
from persona_pipelines.serving.keeping import Keeper, prepared_elsewhere
from persona_pipelines.serving.running import started
from persona_pipelines.serving.service import app_of
from persona_pipelines.settings import load_settings
from persona_pipelines.simulation.shop import ShopPlan, write_shop
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import needs_lightfm
from persona_pipelines_tests.gallery.warrants import false_claims, lies_about
from persona_pipelines_tests.integration.running import PERSONA, asked, with_home
from persona_pipelines_tests.serving.conftest import ask, live_state
from persona_pipelines_tests.serving.nightly import differences

pytestmark = [pytest.mark.slow, needs_lightfm]

ROOT = Path(__file__).parents[2]
PLAN = ShopPlan(users=150, days=12, seed=11, dirt=0.02, items=120)


# All methods are compared in test_public_data: here a few keep a run short, one of each way of answering.
METHODS = [
    {"method": "most_popular"},
    {"method": "most_popular", "recent_days": 7},
    {"method": "segment_popular"},
    {"method": "lightfm", "epochs": 10},
    {"method": "als"},
    {"method": "ease"},
    {"method": "hybrid"},
]


class Shop:
    """A folder with logs, their configuration and its own state."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_shop(PLAN, folder / "raw", folder / "truth")
        self.environment = with_home(folder)
        content = yaml.safe_load((ROOT / "data" / "persona.yaml").read_text())
        content["logs"] = {"max_reject_share": 0.6, "settle_seconds": 0}
        content["recommendations"] = {"minimum_interactions": 20, "methods": METHODS}
        content["segments"] = {"algorithms": ["k_means"], "stability_refits": 2, "maximum_k": 4}
        content["predictions"] = {"horizon_days": 3, "lifetime_days": 6, "minimum_users": 20, "windows": 1}
        (folder / "persona.yaml").write_text(yaml.safe_dump(content))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command in a process of its own, to be interrupted or to meet another one."""
        return subprocess.Popen(
            [PERSONA, *arguments, "--config", "persona.yaml"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Where the tests run in the background of a shell, Ctrl-C is ignored, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def asked(self, *arguments: str) -> Result:
        return asked(self.folder, self.environment, *arguments, "--config", "persona.yaml")

    def light(self) -> None:
        """Settings with which a run makes every table, compares with nothing but a worse method, and fits and forecasts as little as it may.

        As many segments are sought as there are: where the champion counts what a segment likes, other segments are other lists.
        """
        ((segments,),) = self.query("SELECT count(DISTINCT segment_id) FROM segments.user_segments")
        content = yaml.safe_load((self.folder / "persona.yaml").read_text())
        content["recommendations"] |= {"methods": [{"method": "most_popular"}], "gate": {"minimum_users": 10}}
        content["segments"] |= {"minimum_k": segments, "maximum_k": segments}
        content["predictions"]["minimum_users"] = 10_000
        (self.folder / "persona.yaml").write_text(yaml.safe_dump(content))

    def query(self, sql: str) -> list[tuple]:
        with duckdb.connect(str(self.folder / "home" / "published.duckdb"), read_only=True) as connection:
            return connection.execute(sql.replace("$TRUTH", str(self.folder / "truth" / "records.csv.gz"))).fetchall()

    def run_states(self) -> list[str]:
        import sqlite3

        with sqlite3.connect(self.folder / "home" / "dagster" / "history" / "runs.db") as runs:
            return [row[0] for row in runs.execute("SELECT status FROM runs ORDER BY id")]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    made = Shop(tmp_path_factory.mktemp("shop"))
    done = made.asked("run")
    assert done.exit_code == 0, done.stderr
    made.summary = done.stdout  # type: ignore[attr-defined]
    made.prepared = sorted((made.folder / "home" / "recommender").glob("*"))  # type: ignore[attr-defined]
    return made


@pytest.fixture
def copy(shop: Shop, tmp_path: Path) -> Shop:
    """The shop after its first run, to be broken."""
    return copied(shop, tmp_path)


def copied(shop: Shop, folder: Path) -> Shop:
    other = object.__new__(Shop)
    other.folder = folder / "copy"
    shutil.copytree(shop.folder, other.folder)
    other.environment = {**shop.environment, "PERSONA_HOME": str(other.folder / "home")}
    return other


TRUTH = """
    WITH truth AS (SELECT source, 'raw/' || source_file AS source_file, source_line, label, person, visit FROM read_csv('$TRUTH')),
    fate AS (
      SELECT source, source_file, source_line, 'event' AS fate, session_id FROM events.events
      UNION ALL SELECT source, source_file, source_line, 'reject', NULL FROM events.rejects
      UNION ALL SELECT source, source_file, source_line, 'duplicate', NULL FROM events.duplicates
      UNION ALL SELECT source, source_file, source_line, reason, NULL FROM events.filtered),
    judged AS (SELECT * FROM truth LEFT JOIN fate USING (source, source_file, source_line))
"""


def test_the_summary_shows_what_a_person_asks_for_first(shop: Shop) -> None:
    for text in ("Where the records went", "Rejects by reason", "users ", "Segments", "lightfm_warp", "most_popular", "nDCG"):
        assert text in shop.summary  # type: ignore[attr-defined]
    ((champion,),) = shop.query("SELECT DISTINCT model FROM recommendations.model_comparison WHERE champion")
    assert shop.summary.splitlines()[1].startswith(f"Champion: {champion}, nDCG@")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("label", "fate", "share"),
    [("duplicate", "duplicate", 0.99), ("bot", "bot", 0.99), ("broken", "reject", 0.99), ("good", "event", 0.999)],
)
def test_records_end_where_the_truth_says(shop: Shop, label: str, fate: str, share: float) -> None:
    ((found, count),) = shop.query(f"{TRUTH} SELECT avg((fate = '{fate}')::INT), count(*) FROM judged WHERE label = '{label}'")
    assert count > 10
    assert found >= share


def test_sessions_agree_with_the_true_visits(shop: Shop) -> None:
    ((agreed,),) = shop.query(f"""{TRUTH},
      pairs AS (SELECT visit, session_id, count(*) AS n FROM judged WHERE fate = 'event' GROUP BY ALL),
      visits AS (SELECT visit, arg_max(session_id, n) AS best FROM pairs GROUP BY visit),
      sessions AS (SELECT session_id, arg_max(visit, n) AS best FROM pairs GROUP BY session_id)
      SELECT sum(CASE WHEN visits.best = session_id AND sessions.best = visit THEN n ELSE 0 END) / sum(n)
      FROM pairs JOIN visits USING (visit) JOIN sessions USING (session_id)""")
    assert agreed >= 0.98


def test_no_raw_id_and_no_address_is_stored_beyond_the_key(shop: Shop) -> None:
    """Every text of every table is looked through: in the file's bytes a compressed text would not be seen."""
    logged = "".join(file.read_text() for file in (shop.folder / "raw").rglob("*.*") if file.suffix in (".csv", ".log", ".json", ".jsonl"))
    assert "@example.com" in logged
    assert re.search(r"\bu00000[0-9]\b", logged)
    columns = shop.query(
        "SELECT table_schema, table_name, list(column_name) FROM information_schema.columns WHERE data_type = 'VARCHAR' GROUP BY ALL"
    )
    assert sum(len(names) for *_, names in columns) > 100
    pattern = r"@example[.]com|\bu0[0-9]{5}\b"
    held = set()
    for schema, table, names in columns:
        found = ", ".join(f"""coalesce(bool_or(regexp_matches("{name}", '{pattern}')), false)""" for name in names)
        (row,) = shop.query(f'SELECT {found} FROM "{schema}"."{table}"')
        held |= {f"{schema}.{table}.{name}" for name, there in zip(names, row, strict=True) if there}
    # A rejected record keeps the id inside of it, and no address.
    assert {name for name in held if name.split(".")[-1] != "record"} == set()
    assert "events.rejects.record" in held
    assert shop.query("SELECT count(*) FROM events.rejects WHERE contains(record, '@example.com')") == [(0,)]
    ((agents, users, devices),) = shop.query("SELECT count(user_agent), count(user_id), count(anonymous_id) FROM logs.clickstream")
    assert min(agents, users, devices) > 0
    texts = [row[0] or "" for row in shop.query("SELECT record FROM events.rejects")]
    assert not [text for text in texts if '"ip": "10.' in text or (" - u0" in text and text[:1].isdigit())]


def test_pictures_stand_with_the_last_day_of_a_run_and_not_with_each(shop: Shop) -> None:
    import sqlite3

    with sqlite3.connect(shop.folder / "home" / "dagster" / "history" / "runs" / "index.db") as history:
        days = history.execute(
            "SELECT partition, event LIKE '%data:image/png%', event LIKE '%preview%', event LIKE '%dagster/row_count%' FROM event_logs "
            "WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key = '[\"events\", \"events\"]' ORDER BY partition"
        ).fetchall()
    assert len(days) == PLAN.days
    assert [day[1:] for day in days] == [(0, 0, 1)] * (PLAN.days - 1) + [(1, 1, 1)]


def test_the_web_ui_finds_the_run_with_its_job_and_the_gallery_with_its_pictures(shop: Shop) -> None:
    import sqlite3

    folder = shop.folder / "home" / "dagster" / "history"
    with sqlite3.connect(folder / "runs.db") as runs:
        found = runs.execute("SELECT DISTINCT value FROM run_tags WHERE key = '.dagster/repository'").fetchall()
    assert found == [("__repository__@persona_pipelines.definitions",)]
    with sqlite3.connect(folder / "runs" / "index.db") as history:
        ((materialised,),) = history.execute(
            "SELECT event FROM event_logs WHERE asset_key = '[\"gallery\", \"persona_gallery\"]' AND dagster_event_type = 'ASSET_MATERIALIZATION'"
        ).fetchall()
        judged = history.execute("SELECT execution_status FROM asset_check_executions WHERE check_name = 'pages_are_whole'").fetchall()
    assert materialised.count("data:image/png;base64,") == 2
    assert len(materialised) < 200_000
    assert judged == [("SUCCEEDED",)]


def test_only_consenting_users_have_lists_without_what_they_have_seen(shop: Shop) -> None:
    assert shop.query("""SELECT count(*) FROM recommendations.recommendations r JOIN events.users u USING (user_id)
                         WHERE NOT consent_personalisation""") == [(0,)]
    assert shop.query("SELECT count(*) FROM recommendations.recommendations JOIN features.interactions USING (user_id, item_id)") == [(0,)]
    assert shop.query("SELECT count(DISTINCT user_id) > 50, max(rank) FROM recommendations.recommendations") == [(True, 10)]


def test_models_are_registered_without_pickle_and_lead_back_to_dagster(shop: Shop) -> None:
    import sqlite3

    artifacts = [file for file in (shop.folder / "home" / "mlflow-artifacts").rglob("*") if file.is_file()]
    assert {"model.json", "server.json"} <= {file.name for file in artifacts}
    assert not [file for file in artifacts if file.suffix in (".pkl", ".pickle", ".joblib", ".cloudpickle", ".py")]
    with sqlite3.connect(shop.folder / "home" / "mlflow.db") as store:
        assert {
            row[0]
            for row in store.execute(
                "SELECT name FROM registered_model_aliases JOIN registered_models USING (name) WHERE alias = 'champion'"
            )
        } == {
            "simulated-shop-segments",
            "simulated-shop-recommendations",
            *(f"simulated-shop-profiles-{target.replace(' ', '_')}" for (target,) in shop.query(PREDICTED)),
        }
        tags = dict(store.execute("SELECT key, value FROM tags"))
    assert {"dagster.run_id", "dagster.asset", "code.version", "data.fingerprint"} <= set(tags)


PREDICTED = "SELECT target FROM profiles.prediction_quality WHERE chosen"


def test_the_first_screen_of_mlflow_tells_something_of_every_run(shop: Shop) -> None:
    """Figures, data and a note on each; of whole comparisons those that are looked at over weeks."""
    import sqlite3

    with sqlite3.connect(shop.folder / "home" / "mlflow.db") as store:
        runs = {
            run: (name, stage.removeprefix("simulated-shop-"))
            for run, name, stage in store.execute(
                "SELECT run_uuid, runs.name, experiments.name FROM runs JOIN experiments USING (experiment_id)"
            )
        }
        figures: dict[str, set[str]] = {run: set() for run in runs}
        for run, name in store.execute("SELECT run_uuid, key FROM latest_metrics"):
            figures[run].add(name)
        noted = {run for (run,) in store.execute("SELECT run_uuid FROM tags WHERE key = 'mlflow.note.content' AND length(value) > 60")}
        fed = {run for (run,) in store.execute("SELECT destination_id FROM inputs WHERE destination_type = 'RUN'")}
        children = {run for (run,) in store.execute("SELECT run_uuid FROM tags WHERE key = 'mlflow.parentRunId'")}
        steps = dict(store.execute("SELECT name, max(step) FROM metrics JOIN runs USING (run_uuid) WHERE step > 0 GROUP BY 1"))
    trained = {run for run, (_, stage) in runs.items() if stage != "gallery"}
    assert {runs[run][0] for run in trained - noted} == set()
    assert {runs[run][0] for run in trained - fed} == set()
    whole = {stage: figures[run] for run, (_, stage) in runs.items() if run not in children}
    assert {"ndcg_at_10", "champion_ndcg_at_10", "challenger_ndcg_at_10", "advantage_ndcg_at_10"} <= whole["recommendations"]
    assert {"silhouette", "stability", "k", "users"} <= whole["segments"]
    for (target,) in shop.query(PREDICTED):
        expected = {"spearman"} if target in ("spend", "lifetime value") else {"auc", "calibration_error", "lift"}
        assert {f"{target.replace(' ', '_')}_{name}" for name in expected} <= whole["profiles"]
    assert {name.split()[0] for name in steps} >= {"als", "lightfm_warp"}


def test_every_score_can_be_made_again_from_the_version_that_it_names(shop: Shop) -> None:
    from persona_pipelines.profiles.scoring import PredictionModel
    from persona_pipelines.tracking.registry import model, stage_of_target

    settings = load_settings(shop.folder / "persona.yaml").model_copy(update={"home": shop.folder / "home"})
    versions = dict(shop.query("SELECT target, model_version FROM profiles.prediction_quality WHERE chosen"))
    assert shop.query("SELECT count(model_version) FROM profiles.prediction_quality WHERE NOT chosen") == [(0,)]
    assert {"purchase", "churn", "spend"} <= set(versions)
    with duckdb.connect(str(shop.folder / "home" / "published.duckdb"), read_only=True) as connection:
        features = connection.execute("SELECT * FROM features.user_features ORDER BY user_id").df()
        scores = connection.execute("SELECT * FROM profiles.user_predictions ORDER BY user_id").df()
    said = {
        target: PredictionModel.load(model(settings, stage_of_target(target), version).folder).score(features)
        for target, version in versions.items()
    }
    assert np.abs(said["spend"] - scores["expected_spend"]).max() < 1e-6
    # Who buys does something: where both chances say more than 1 together, both give way.
    together = np.maximum(said["purchase"] + said["churn"], 1)
    assert np.abs(said["purchase"] / together - scores["purchase_probability"]).max() < 1e-6
    assert np.abs(said["churn"] / together - scores["churn_probability"]).max() < 1e-6


def test_the_table_the_command_line_and_mlflow_give_the_same_lists(shop: Shop) -> None:
    import mlflow

    from persona_pipelines.tracking.experiments import configure

    ((version,),) = shop.query("SELECT DISTINCT model_version FROM recommendations.recommendations")
    listed = shop.query('SELECT "case", min(user_id) FROM recommendations.recommendations GROUP BY ALL ORDER BY ALL')
    assert [case for case, _ in listed] == ["new user", "warm"]
    ((refused,),) = shop.query("SELECT min(user_id) FROM events.users WHERE NOT consent_personalisation")
    people = [user for _, user in listed]
    configure(load_settings(shop.folder / "persona.yaml").model_copy(update={"home": shop.folder / "home"}))
    recommender = mlflow.pyfunc.load_model(f"models:/simulated-shop-recommendations/{version}")
    said = recommender.predict(pd.DataFrame({"user_id": [*people, refused, "0" * 32]}))
    for user in people:
        table = shop.query(
            f"SELECT rank, item_id, reason, score FROM recommendations.recommendations WHERE user_id = '{user}' ORDER BY rank"
        )
        command = json.loads(shop.asked("recommend", user, "--json").stdout)
        assert (command["model_version"], command["known"]) == (version, True)
        in_mlflow = said[said["user_id"] == user]
        for found in (command["items"], in_mlflow.to_dict("records")):
            assert [(row["rank"], row["item_id"], row["reason"]) for row in found] == [row[:3] for row in table]
            assert [row["score"] for row in found] == pytest.approx([row[3] for row in table], abs=1e-5)
        assert in_mlflow["personal"].all()
    of_nobody = [said[said["user_id"] == user][["rank", "item_id", "reason"]].to_numpy().tolist() for user in (refused, "0" * 32)]
    assert of_nobody[0] == of_nobody[1]
    assert not said[said["user_id"].isin([refused, "0" * 32])]["personal"].any()
    without_consent = shop.asked("recommend", refused)
    assert without_consent.exit_code == 1
    assert "has not consented to recommendations" in without_consent.stderr


def test_what_lists_are_made_from_is_made_once_for_each_published_copy(shop: Shop) -> None:
    folder = shop.folder / "home" / "recommender"
    (made,) = shop.prepared  # type: ignore[attr-defined]  # the run has made it
    before = (made / "server.json").stat().st_mtime_ns
    first = shop.asked("recommend", "nobody-yet", "--json").stdout
    assert (made / "server.json").stat().st_mtime_ns == before
    (made / "server.json").write_text("{")  # damaged, it is made again
    assert shop.asked("recommend", "nobody-yet", "--json").stdout == first
    published = shop.folder / "home" / "published.duckdb"
    os.utime(published)  # another copy
    assert shop.asked("recommend", "nobody-yet", "--json").stdout == first
    (other,) = folder.iterdir()
    assert other.name != made.name
    assert json.loads((other / "server.json").read_text())["format"] == 1


def test_somebody_who_is_not_there_yet_gets_a_list_too(shop: Shop) -> None:
    done = shop.asked("recommend", "nobody-yet", "-k", "12")
    assert done.exit_code == 0, done.output
    assert len(done.stdout.splitlines()) > 12


def test_too_many_rejects_fail_the_day_and_leave_the_tables_that_follow(copy: Shop) -> None:
    before = copy.query("SELECT count(*), sum(hash(event_id)) FROM events.events")
    ratings = copy.folder / "raw" / "ratings" / "2025-09-04.csv"
    ratings.write_text("user_id,item_id,rating,timestamp\n" + "u000001,i00001,bad,1756980000\n" * 5)
    done = copy.asked("run", "--from", "2025-09-04", "--to", "2025-09-04")
    assert done.exit_code == 1
    assert (
        "logs.ratings: 2025-09-04: 5 of 5 records rejected, max_reject_share is 0.6; the usual reason is "
        "'value: not a number', first in raw/ratings/2025-09-04.csv, line 2 (check share_of_rejects)" in done.stderr
    )
    assert copy.query("SELECT count(*), sum(hash(event_id)) FROM events.events") == before


def test_a_changed_header_is_an_error_in_words(copy: Shop) -> None:
    orders = copy.folder / "raw" / "orders" / "2025-09-04.csv"
    orders.write_text(orders.read_text().replace("customer", "client", 1))
    done = copy.asked("run", "--from", "2025-09-04", "--to", "2025-09-04")
    assert done.exit_code == 1
    assert "raw/orders/2025-09-04.csv, line 1: column 'customer' not found; found order_line_id, client" in done.stderr
    assert "Traceback" not in done.stderr


def exports(shop: Shop) -> dict[str, bytes]:
    found = {}
    for table in ("events", "sessions", "user_features"):
        done = shop.asked("export", table, f"{table}.csv")
        assert done.exit_code == 0, done.output
        found[table] = (shop.folder / f"{table}.csv").read_bytes()
    return found


@pytest.fixture(scope="module")
def again(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop after runs that were interrupted and one that was not; no other method is left there than a worse one."""
    copy = copied(shop, tmp_path_factory.mktemp("again"))
    copy.light()
    before = copy.query("SELECT count(*) FROM events.events")
    for end, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        process = copy.start("run")
        lock = copy.folder / "home" / "warehouse.lock"
        holds = f'"pid": {process.pid},'  # one that was killed leaves its name
        _wait_for(lambda lock=lock, holds=holds: lock.exists() and holds in lock.read_text(), process)  # type: ignore[misc]
        time.sleep(0.5)
        process.send_signal(end)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code, err
        assert ("Every table holds its last completed state" in err) == (end != signal.SIGKILL)
        assert copy.query("SELECT count(*) FROM events.events") == before
        assert copy.asked("status").exit_code == 0
        assert copy.run_states()[-1] in ("CANCELED", "FAILURE")
    done = copy.asked("run")
    assert done.exit_code == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert copy.asked("verify").exit_code == 0
    assert copy.run_states()[-1] == "SUCCESS"
    return copy


def test_interrupted_runs_leave_completed_tables_and_the_next_completes_the_work_with_the_same_bytes(shop: Shop, again: Shop) -> None:
    before, after = exports(shop), exports(again)
    assert {name: after[name] == before[name] for name in before} == dict.fromkeys(before, True)


def test_another_key_is_refused_before_anybody_is_counted_twice(copy: Shop) -> None:
    key = copy.folder / "home" / "pseudonym.key"
    before = copy.query("SELECT count(*) FROM events.users")
    kept = key.read_text()
    for found in (None, "ab" * 32):
        key.unlink() if found is None else key.write_text(found)
        if found is not None:
            key.chmod(0o600)
        done = copy.asked("models", "promote", "1", "--reason", "x")
        assert done.exit_code == 1
        assert "restore" in done.stderr
        done = copy.asked("profile", "u000003")
        assert done.exit_code == 1
        assert "restore" in done.stderr
        assert key.exists() == (found is not None)
    assert copy.query("SELECT count(*) FROM events.users") == before
    key.write_text(kept)
    key.chmod(0o600)
    assert copy.asked("profile", "u000003").exit_code == 0


def test_much_less_than_before_is_not_published_unless_told_to(copy: Shop) -> None:
    manifest = read_manifest(copy.folder / "home")
    manifest.rows = {name: rows * 10 for name, rows in manifest.rows.items()}
    manifest.save(copy.folder / "home")
    lists = lists_of(copy)
    version = copy.query("SELECT max(model_version) FROM recommendations.model_comparison WHERE model = 'most_popular'")[0][0] or "1"
    done = copy.asked("models", "promote", version, "--reason", "x")
    assert done.exit_code == 1
    assert re.search(r"events.events has [\d,]+ rows, the published copy [\d,]+; .*run with --accept-shrink", done.stderr)
    assert lists_of(copy) == lists


def test_a_home_of_another_configuration_is_refused(copy: Shop) -> None:
    text = (copy.folder / "persona.yaml").read_text()
    (copy.folder / "persona.yaml").write_text(text.replace("simulated-shop", "other-shop"))
    done = copy.asked("run")
    assert done.exit_code == 1
    assert "holds the tables of configuration 'simulated-shop', not of 'other-shop'" in done.stderr


def _wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lists_of(shop: Shop) -> list[tuple]:
    return shop.query("SELECT user_id, rank, item_id, score, reason FROM recommendations.recommendations ORDER BY 1, 2")


@pytest.mark.parametrize(("fewer", "shown"), [(0, True), (1, False)])
def test_a_segment_of_fewer_people_than_may_be_shown_has_no_details_on_the_page(shop: Shop, fewer: int, shown: bool) -> None:
    ((segment, size),) = shop.query("SELECT segment_id, users FROM segments.segment_profiles ORDER BY users LIMIT 1")
    settings = load_settings(shop.folder / "persona.yaml").model_copy(update={"home": shop.folder / "home"})
    floor = settings.segments.model_copy(update={"minimum_segment_size": size + fewer})
    with Warehouse(settings.published_file, read_only=True) as store:
        cards = {card.segment_id: card for card in gallery_of(store, settings.model_copy(update={"segments": floor})).cards}
    assert (cards[segment].details is not None) == shown


def test_every_list_gives_a_reason_and_nothing_leaks(shop: Shop) -> None:
    assert shop.query("SELECT count(*) FROM recommendations.recommendations WHERE reason = ''") == [(0,)]
    assert shop.query("SELECT bool_and(passed), count(*) > 10 FROM recommendations.leakage_audit") == [(True, True)]
    assert shop.query('SELECT count(DISTINCT model) = 7, count(DISTINCT "case") >= 2 FROM recommendations.model_comparison') == [
        (True, True)
    ]
    assert shop.query("SELECT count(*) > 100 FROM recommendations.similar_items") == [(True,)]


def test_the_gate_refuses_a_worse_model_and_a_person_may_overrule_it_and_roll_back(shop: Shop, again: Shop) -> None:
    first = lists_of(shop)
    assert "first champion" in shop.asked("models").stdout
    copy = again
    assert lists_of(copy) == first
    assert "refused" in copy.asked("models").stdout
    refused = copy.query("SELECT max(model_version) FROM recommendations.model_comparison WHERE model = 'most_popular'")[0][0]
    done = copy.asked("models", "promote", refused, "--reason", "a trial")
    assert done.exit_code == 0, done.stderr
    assert {row[0] for row in copy.query("SELECT DISTINCT model_version FROM recommendations.recommendations")} == {refused}
    assert lists_of(copy) != first
    done = copy.asked("models", "rollback", "--reason", "the trial is over")
    assert done.exit_code == 0, done.stderr
    assert lists_of(copy) == first
    shown = copy.asked("models").stdout
    assert "a trial" in shown
    assert "the trial is over" in shown
    assert copy.asked("models", "promote", "77", "--reason", "x").exit_code == 1
    assert lists_of(copy) == first


def test_tuning_writes_parameters_that_the_next_comparison_uses(copy: Shop) -> None:
    done = copy.asked("models", "tune", "--minutes", "1", "--trials", "3", "--method", "ease_items", "--method", "als")
    assert done.exit_code == 0, done.stderr
    found = copy.query("SELECT model, trials, ndcg_tuned >= ndcg_configured FROM recommendations.tuned_parameters ORDER BY 1")
    assert found == [("als", 3, True), ("ease_items", 3, True)]
    wrong = copy.asked("models", "tune", "--minutes", "1", "--method", "magic")
    assert wrong.exit_code == 1
    assert "'magic' is no method of the configuration" in wrong.stderr


def test_profiles_have_evidence_history_and_predictions_without_a_gap(shop: Shop) -> None:
    import json

    documents = [json.loads(row[0]) for row in shop.query("SELECT document FROM profiles.profile_documents")]
    assert len(documents) > 50
    assert all(
        {"basics", "behaviour", "interests", "spending_power", "attention", "life_cycle", "predictions", "segment"} <= set(entry)
        for entry in documents
    )
    assert shop.query("SELECT count(*) FROM profiles.user_profiles WHERE isnan(purchase_probability) OR isnan(lifetime_value)") == [(0,)]
    assert shop.query("SELECT count(*) = count(DISTINCT user_id), count(valid_to) FROM profiles.profile_history") == [(True, 0)]
    assert shop.query("SELECT count(*) > 0 FROM profiles.prediction_quality WHERE target = 'purchase' AND chosen") == [(True,)]


def test_the_gallery_and_audiences_come_from_the_command_line(shop: Shop) -> None:
    published, answers = shop.folder / "home" / "published.duckdb", dict[Any, list[tuple[Any, ...]]]()
    for language in LANGUAGES:
        done = shop.asked("report", "--language", language, "--output", f"gallery-{language}.html")
        assert done.exit_code == 0, done.output
        written = (shop.folder / f"gallery-{language}.html").read_text()
        assert written == (shop.folder / "home" / "reports" / f"persona-gallery-{language}.html").read_text()
        cards = shop.query("SELECT segment_name, users FROM segments.segment_profiles")
        assert len(cards) > 1
        page = shop.folder / f"gallery-{language}.html"
        assert false_claims(page, published, language, answers=answers) == []
    for lie in lies_about((shop.folder / "gallery-en.html").read_text()):
        (shop.folder / "lie.html").write_text(lie.page)
        assert false_claims(shop.folder / "lie.html", published, "en", answers=answers), lie.told
    done = shop.asked("report", "--output", "linked.html", "--with-audiences")
    assert done.exit_code == 0, done.output
    assert "only you can open the folder" in done.stdout
    assert false_claims(shop.folder / "linked.html", published, "en", answers=answers) == []
    linked = re.findall(r'href="(persona-audiences/segment-(\d+)\.csv)" download>', (shop.folder / "linked.html").read_text())
    assert linked
    for address, segment in linked:
        of_segment = f"SELECT user_id FROM profiles.user_profiles WHERE segment_id = {segment} AND consent_marketing ORDER BY 1"
        members = (shop.folder / address).read_text().split()[1:]
        assert members == [row[0] for row in shop.query(of_segment)]
        assert not [member for member in members if member in (shop.folder / "linked.html").read_text()]
    done = shop.asked("audience", "save", "regulars", "--where", "sessions > 1")
    assert done.exit_code == 0, done.output
    assert shop.asked("audience", "export", "regulars", "regulars.csv").exit_code == 0
    exported = {line.split(",")[0] for line in (shop.folder / "regulars.csv").read_text().splitlines()[1:]}
    allowed = {row[0] for row in shop.query("SELECT user_id FROM profiles.user_profiles WHERE sessions > 1 AND consent_marketing")}
    assert exported == allowed
    (shop.folder / "seeds.csv").write_text("user\n" + "".join(f"u{number:06d}\n" for number in range(1, 40)))
    done = shop.asked("audience", "lookalike", "seeds.csv", "--size", "10", "--output", "alike.csv")
    assert done.exit_code == 0, done.output
    assert len((shop.folder / "alike.csv").read_text().splitlines()) == 11
    (shop.folder / "seeds.csv").write_text("nobody\n")
    said = shop.asked("audience", "lookalike", "seeds.csv").stderr
    assert "0 of the seeds are users with features; at least 5 are needed; an id stands in each line: the first is read as 'nobody'" in said


def test_what_the_service_knows_is_what_the_tables_say(copy: Shop) -> None:
    """Histories, what people have had, consent, devices and profiles of every user, against plain SQL."""
    settings = load_settings(copy.folder / "persona.yaml").model_copy(update={"home": copy.folder / "home"})
    with Warehouse(settings.published_file, read_only=True) as store:
        snapshot = build(store, settings)
        assert build(store, settings).folder == snapshot.folder
        said: list[str] = []
        (snapshot.folder / "consent.npy").unlink()
        snapshot = build(store, settings, said.append)  # one that cannot be read is made again
    assert "is not as it was written" in said[0]
    items = np.array(snapshot.items)
    users = {name.decode(): number for number, name in enumerate(snapshot.people.tolist()) if not snapshot.of_devices[number]}
    for user, number in users.items():
        found = copy.query(
            f"SELECT item_id, weight > 0, epoch_us(last_time) FROM features.interactions WHERE user_id = '{user}' ORDER BY last_time DESC, item_id"
        )
        part = slice(snapshot.history_start[number], snapshot.history_start[number + 1])
        good = [(item, moment) for item, positive, moment in found if positive][:50]
        assert list(zip(items[snapshot.history_item[part]], snapshot.history_time[part], strict=True)) == good
        seen = snapshot.pair_item[snapshot.pair_start[number] : snapshot.pair_start[number + 1]]
        assert set(items[seen]) == {item for item, _, _ in found}
    told = dict(copy.query("SELECT user_id, consent_personalisation FROM events.users"))
    assert {user: bool(snapshot.consent[number]) for user, number in users.items()} == told
    alone = copy.query("SELECT DISTINCT anonymous_id FROM events.events WHERE user_id IS NULL AND item_id IS NOT NULL")
    assert {name.decode() for name in snapshot.people[snapshot.of_devices].tolist()} <= {device for (device,) in alone}
    documents = dict(copy.query("SELECT user_id, document FROM profiles.profile_documents"))
    assert {user: snapshot.profile_of(number).decode() for user, number in users.items() if snapshot.profile_of(number)} == documents
    last = copy.query(
        "SELECT anonymous_id, arg_max(user_id, timestamp), arg_max(event_type, timestamp), count(DISTINCT user_id) FROM events.events "
        "WHERE anonymous_id IS NOT NULL AND user_id IS NOT NULL GROUP BY ALL"
    )
    assert len(last) > 50
    for device, user, kind, users in last:
        place = snapshot.device_user[snapshot.device_of(device)]
        assert (snapshot.people[place].decode() if place >= 0 else None) == (None if kind == "logout" or users > 5 else user)
    price = dict(copy.query("SELECT item_id, price FROM events.items"))
    assert [None if np.isnan(value) else value for value in snapshot.price] == [price[item] for item in snapshot.items]


def test_the_nightly_run_reads_what_the_service_received_and_counts_nothing_twice(copy: Shop) -> None:
    """Ids are not hashed again, what also stands in the logs is one event, and what people said of their lists holds in the tables."""
    copy.light()
    content = yaml.safe_load((copy.folder / "persona.yaml").read_text())
    content["serving"] = {"same_ids_as": "orders"}
    (copy.folder / "persona.yaml").write_text(yaml.safe_dump(content))
    home, key = copy.folder / "home", load_key(copy.folder / "home" / "pseudonym.key")
    ((last,),) = copy.query("SELECT max(last_day) FROM logs.files WHERE source = 'orders'")
    evening = dt.datetime.combine(last, dt.time(23, 50))
    raw = {pseudonym(f"u{number:06d}", key): f"u{number:06d}" for number in range(PLAN.users)}
    of_lists = [raw[row[0]] for row in copy.query("SELECT DISTINCT user_id FROM recommendations.recommendations ORDER BY user_id LIMIT 3")]
    ((first_item,),) = copy.query(
        f"SELECT item_id FROM recommendations.recommendations WHERE user_id = '{pseudonym(of_lists[0], key)}' AND rank = 1"
    )
    order = copy.query(
        "SELECT event_id, user_id, item_id, value, timestamp FROM events.events WHERE source_file LIKE '%orders%' ORDER BY timestamp LIMIT 10"
    )[0]
    ((events, purchases),) = copy.query("SELECT count(*), count(*) FILTER (event_type = 'purchase') FROM events.events")
    settings = load_settings(copy.folder / "persona.yaml").model_copy(update={"home": home})
    with Warehouse(settings.published_file, read_only=True) as store:
        engine = Engine(settings, build(store, settings), key, lambda: evening)
    sent: list[dict[str, Any]] = [
        {"event_id": "a", "event_type": "item_view", "user_id": of_lists[0], "item_id": first_item},
        {"event_id": "a", "event_type": "item_view", "user_id": of_lists[0], "item_id": first_item},
        {"event_type": "not_interested", "user_id": of_lists[0], "item_id": first_item},
        {"event_type": "personalisation", "user_id": of_lists[1], "value": 0},
        {"event_type": "item_view", "anonymous_id": "new-phone", "item_id": first_item},
        {"event_type": "login", "anonymous_id": "new-phone", "user_id": "somebody-new"},
        {"event_type": "purchase", "user_id": "somebody-new", "item_id": first_item, "value": 12.5, "quantity": 1},
        {"event_id": order[0].removeprefix("orders:"), "event_type": "purchase", "user_id": raw[order[1]], "item_id": order[2], "value": order[3],
         "timestamp": order[4].isoformat()},
    ]  # fmt: skip
    records = [record for document in sent for record in engine.reader.records(document)]
    engine.take(records)
    journal = Journal(home / "live" / "events", lambda: last)
    journal.append([line_of(record) for record in records])
    journal.close()
    row = Row(item_id="brand-new", title="Brand new book", category="Books", price=9.5, in_stock=True)
    engine.kept = Kept(home / "live" / "items.jsonl")
    assert asyncio.run(ItemIntake(engine).take([row, Row(item_id=first_item, title="Renamed")])) == ["brand-new"]

    def of_new(told: Engine) -> dict[str, Any]:
        listed = told.answer(Asked(user=of_lists[0], k=1_000))["items"]
        return next(entry for entry in listed if entry["item_id"] == "brand-new")

    at_once = of_new(engine)
    assert (at_once["source"], at_once["reason"]) == ("live", "new in Books")
    done = copy.asked("run")
    assert done.exit_code == 0, done.output
    assert copy.query("SELECT title, category, price, in_stock FROM events.items WHERE item_id = 'brand-new'") == [
        ("Brand new book", "Books", 9.5, True)
    ]
    assert copy.query(f"SELECT title FROM events.items WHERE item_id = '{first_item}'") != [("Renamed",)]  # the catalogue's row counts
    found = copy.query(
        "SELECT event_type, user_id, anonymous_id, value FROM events.events WHERE event_id LIKE 'orders:%' AND source_file LIKE '%live%' ORDER BY event_type, user_id"
    )
    somebody, phone = pseudonym("somebody-new", key), pseudonym("device:new-phone", key)
    assert sorted(found, key=str) == sorted(
        [
            ("item_view", pseudonym(of_lists[0], key), None, None),
            ("item_view", somebody, phone, None),
            ("login", somebody, phone, None),
            ("not_interested", pseudonym(of_lists[0], key), None, None),
            ("personalisation", pseudonym(of_lists[1], key), None, 0.0),
            ("purchase", somebody, None, 12.5),
        ],
        key=str,
    )
    assert copy.query("SELECT count(*), count(*) FILTER (event_type = 'purchase') FROM events.events") == [(events + 6, purchases + 1)]
    assert copy.query("SELECT reason FROM events.rejects WHERE source = 'live_events'") == []
    assert copy.query(f"SELECT consent_personalisation FROM events.users WHERE user_id = '{pseudonym(of_lists[1], key)}'") == [(False,)]
    assert copy.query(f"SELECT * FROM recommendations.recommendations WHERE user_id = '{pseudonym(of_lists[1], key)}'") == []
    assert (
        copy.query(
            f"SELECT * FROM recommendations.recommendations WHERE user_id = '{pseudonym(of_lists[0], key)}' AND item_id = '{first_item}'"
        )
        == []
    )
    settings = load_settings(copy.folder / "persona.yaml").model_copy(update={"home": home})
    with Warehouse(settings.published_file, read_only=True) as store:
        snapshot = build(store, settings)
    in_the_morning = of_new(Engine(settings, snapshot, key, lambda: evening))
    assert (in_the_morning["source"] != "popular", in_the_morning["reason"]) == (True, "new in Books")
    assert list(since(snapshot, files_of(home / "live" / "events"), lambda found: None)) == []
    later = live_state(snapshot, rules_of(settings), settings.events.most_users_of_a_device)
    assert all(later.repeats(record) for record in records)
    assert differences(engine.state, later) == []


def test_a_service_takes_the_tables_of_a_run_beside_which_events_came_and_counts_each_once(
    copy: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some events are in the tables of that run, some are not: the service, one that starts, and a run that reads all of them agree."""
    copy.light()
    monkeypatch.setattr(journals, "OLDEST_FILE_SECONDS", 0.5)
    monkeypatch.setattr(intake, "FINISH_SECONDS", 0.2)
    monkeypatch.setenv("PERSONA_HOME", copy.environment["PERSONA_HOME"])
    settings = load_settings(copy.folder / "persona.yaml")
    ((last,),) = copy.query("SELECT max(last_day) FROM logs.files WHERE source = 'orders'")
    moments = itertools.count(int(dt.datetime.combine(last, dt.time(20), dt.UTC).timestamp() * 1000))

    def published() -> Warehouse:
        return Warehouse(settings.published_file, read_only=True)

    def now() -> dt.datetime:
        return dt.datetime.fromtimestamp(next(moments) / 1000, dt.UTC).replace(tzinfo=None)

    def begun() -> tuple[Engine, Journal]:
        found = started(settings, published, print)
        found.journal.close()
        engine = Engine(settings, found.engine.snapshot, found.engine.key, now)
        engine.take(since(engine.snapshot, found.journal.before, lambda found: pytest.fail(str(found))))
        return engine, Journal(found.journal.folder, lambda: last)

    engine, journal = begun()
    keeper = Keeper(engine, journal.folder, lambda: prepared_elsewhere(settings))
    app = app_of(engine, journal, keeper=None)
    items, before = engine.snapshot.items, engine.snapshot.name
    sent = 0

    async def send() -> None:
        nonlocal sent
        for _ in range(5):
            user, kind = f"u{sent * 7 % PLAN.users:06d}", ("item_view", "purchase", "add_to_cart", "not_interested")[sent % 4]
            event = {"event_id": f"live-{sent}", "event_type": kind, "user_id": user, "item_id": items[sent * 13 % len(items)]}
            assert (await ask(app, "POST", "/v1/events", json.dumps(event).encode())).status == 202
            assert (await ask(app, "GET", f"/v1/recommendations/{user}?k=5")).status == 200
            sent += 1
        await asyncio.sleep(0.3)  # the run has the processor

    async def night() -> None:
        async with app.app.router.lifespan_context(app):
            run = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", "from persona_pipelines.cli import main; main()", "run", "--config", "persona.yaml"),
                cwd=copy.folder,
                env={**copy.environment, "PYTHONPATH": str(ROOT)},
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            ended = asyncio.create_task(run.communicate())
            while not ended.done():
                await send()
            assert run.returncode == 0, ended.result()[1].decode()
            look = asyncio.create_task(keeper.look())
            while not look.done():
                await send()
            await look
            await send()

    asyncio.run(night())
    journal.close()
    assert (keeper.problem, keeper.swaps) == (None, 1)
    assert engine.snapshot.name != before
    of_live = "FROM events.events WHERE source_file LIKE '%live%'"
    ((read, different),) = copy.query(f"SELECT count(*), count(DISTINCT event_id) {of_live}")
    assert 0 < read == different < sent
    again, other = begun()
    other.close()
    assert engine.state.described() == again.state.described()

    assert copy.asked("run").exit_code == 0
    assert copy.query(f"SELECT count(*), count(DISTINCT event_id) {of_live}") == [(sent, sent)]
    later, other = begun()
    other.close()
    assert later.state.events == 0
    assert differences(engine.state, later.state) == []

    (later.snapshot.folder / "people.npy").write_bytes(b"")
    again, other = begun()
    other.close()
    assert again.snapshot.folder == later.snapshot.folder
    assert again.state.described() == later.state.described()


class Served:
    """``persona serve`` over a shop."""

    def __init__(self, shop: Shop) -> None:
        self.process = shop.start("serve", "--port", "0")
        assert self.process.stdout is not None
        self.said: list[str] = []
        for line in self.process.stdout:
            self.said.append(line.strip())
            if found := re.match(r"http://127\.0\.0\.1:(\d+)/", line):
                self.port = int(found[1])
                break
        else:
            raise AssertionError(f"it did not start: {self.said} {self.process.stderr.read()}")

    def ask(self, path: str, document: object = None) -> dict:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=30)


def test_the_service_serves_what_the_run_made_knows_the_last_click_and_loses_none_of_them(copy: Shop) -> None:
    content = yaml.safe_load((copy.folder / "persona.yaml").read_text())
    content["serving"] = {"exploration": 0}  # lists are compared with those of the tables
    (copy.folder / "persona.yaml").write_text(yaml.safe_dump(content))
    (served_id,) = copy.query("SELECT user_id FROM recommendations.recommendations ORDER BY user_id LIMIT 1")[0]
    raw = {pseudonym(f"u{number:06d}", load_key(copy.folder / "home" / "pseudonym.key")): f"u{number:06d}" for number in range(PLAN.users)}
    user = raw[served_id]
    stored = [
        row[0] for row in copy.query(f"SELECT item_id FROM recommendations.recommendations WHERE user_id = '{served_id}' ORDER BY rank")
    ]
    service = Served(copy)
    try:
        before = service.ask(f"/v1/recommendations/{user}?k={len(stored)}")
        assert before["known"]
        assert before["personal"]
        # Until something is done, the list is that of the last run.
        assert [entry["item_id"] for entry in before["items"]] == stored
        assert service.ask(f"/v1/profiles/{user}")["user_id"] == served_id
        names = {row[0] for row in copy.query("SELECT segment_name FROM segments.segment_profiles")}
        assert {entry["segment_name"] for entry in service.ask("/v1/segments")["segments"]} == names
        similar = copy.query(f"SELECT similar_item_id FROM recommendations.similar_items WHERE item_id = '{stored[0]}' ORDER BY rank")
        assert [entry["item_id"] for entry in service.ask(f"/v1/items/{stored[0]}/similar")["items"]] == [row[0] for row in similar]
        for number in range(20):
            event = {"event_id": f"e{number}", "event_type": "item_view", "user_id": user, "item_id": stored[number % 3]}
            assert service.ask("/v1/events", event) == {"accepted": 1, "repeated": 0}
        after = service.ask(f"/v1/recommendations/{user}?k=10")
        assert not {entry["item_id"] for entry in after["items"]} & set(stored[:3])
        second = copy.start("serve", "--port", "0")
        assert "another persona serve writes there" in second.communicate(timeout=60)[1]
        assert second.returncode == 1
    finally:
        service.kill()
    again = Served(copy)
    try:
        assert again.ask("/readyz")["events"] == 20
        assert again.ask("/v1/events", {"event_id": "e3", "event_type": "item_view", "user_id": user, "item_id": stored[0]}) == {
            "accepted": 0,
            "repeated": 1,
        }
        replayed = again.ask(f"/v1/recommendations/{user}?k=10")
        assert replayed["items"] == after["items"]
        page = (ROOT / "docs" / "live.md").read_text()
        lines = re.findall(r"^curl .*$", page, re.MULTILINE)
        assert len(lines) == 16
        for line in lines:
            typed = line.replace(":8000", f":{again.port}")
            done = subprocess.run(
                ["bash", "-c", typed.replace("curl", "curl --silent --show-error --fail", 1)], capture_output=True, text=True
            )
            assert done.returncode == 0, f"{typed}: {done.stderr}"
            json.loads(done.stdout)
    finally:
        code = again.end()
    assert code == 130
    tokens = [copy.asked("serve", "token").stdout for _ in range(2)]
    assert tokens[0] == tokens[1]
    assert len(tokens[0].strip()) > 40
    assert (copy.folder / "home" / "live" / "token").stat().st_mode & 0o777 == 0o600
    text = b"".join(file.read_bytes() for file in (copy.folder / "home" / "live").rglob("*.jsonl"))
    assert user.encode() not in text
