"""Homes as earlier versions wrote them, one a release: taken over, or refused with the way out."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile
from pathlib import Path

import duckdb
import pytest

from persona_pipelines.home.opening import close_warehouse, open_warehouse
from persona_pipelines.privacy.pseudonyms import load_key, pseudonym
from persona_pipelines.settings import load_settings
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import ingested
from persona_pipelines_tests.integration.running import asked, at_home

RELEASES = sorted((Path(__file__).parent / "releases").glob("*.tar.xz"))
CONFIG = ("--config", "persona.yaml")

pytestmark = pytest.mark.slow


@pytest.fixture(params=RELEASES, ids=lambda file: file.name.removesuffix(".tar.xz"))
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "home" / "pseudonym.key").chmod(0o600)
    return tmp_path / "home"


def persona(home: Path, *arguments: str) -> str:
    done = asked(home.parent, at_home(home), *arguments, *CONFIG)
    assert done.exit_code == 0, done.output
    return done.output


def value(home: Path, query: str) -> object:
    with duckdb.connect(str(home / "published.duckdb"), read_only=True) as connection:
        return connection.execute(query).fetchall()[0][0]


def known_person(home: Path) -> str:
    """The raw id of somebody who has a profile and a list: found by the key that came with the home."""
    key = load_key(home / "pseudonym.key")
    with (home.parent / "raw" / "customers.csv").open() as stream:
        ids = [row["customer"] for row in csv.DictReader(stream)]
    with duckdb.connect(str(home / "published.duckdb"), read_only=True) as connection:
        listed = {
            row[0]
            for row in connection.execute(
                "FROM recommendations.recommendations SEMI JOIN profiles.user_profiles USING (user_id) SELECT user_id"
            ).fetchall()
        }
    return next(name for name in ids if pseudonym(name, key) in listed)


def test_a_home_of_an_earlier_release_is_taken_over(home: Path) -> None:
    """It lies elsewhere than it was written, its people keep their pseudonyms, its champion its model, and nothing is lost.

    Tables that every run makes are made again where their columns are others.
    """
    persona(home, "verify")
    before = {
        table: value(home, f"SELECT count(*) FROM {table}")
        for table in ("events.events", "events.users", "recommendations.recommendations")
    }
    who = known_person(home)
    person = persona(home, "profile", who)
    assert persona(home, "recommend", who, "-k", "3")
    for file in ("warehouse.duckdb", "published.duckdb"):
        with duckdb.connect(str(home / file)) as connection:
            connection.execute("ALTER TABLE profiles.prediction_drivers RENAME COLUMN feature TO trait")
    run = persona(home, "run")
    assert "Traceback" not in run
    after = {table: value(home, f"SELECT count(*) FROM {table}") for table in before}
    assert after["events.events"] == before["events.events"]
    assert after["events.users"] == before["events.users"]
    assert after["recommendations.recommendations"] > 0
    assert person.splitlines()[0] == persona(home, "profile", who).splitlines()[0]
    assert persona(home, "models").count("yes") >= 1
    persona(home, "verify")
    assert value(home, "SELECT count(feature) FROM profiles.prediction_drivers") is not None


def test_models_whose_files_are_gone_are_trained_again(home: Path) -> None:
    for folder in (home / "mlflow-artifacts").glob("*/models"):
        shutil.rmtree(folder)
    verified = asked(home.parent, at_home(home), "verify", "--json", *CONFIG)
    assert verified.exit_code == 1
    (lost,) = [row for row in json.loads(verified.stdout) if row["file"] == "model of recommendations, version 1"]
    assert not lost["whole"]
    assert "its files cannot be read" in lost["found"]
    assert lost["next"] == "persona run --config persona.yaml"
    done = asked(home.parent, at_home(home), "run", *CONFIG)
    assert done.exit_code == 0, done.stderr
    assert "segments begin anew: version 1 of shop-segments: its files cannot be read" in done.stderr
    assert "the champion is not compared: version 1 of shop-recommendations: its files cannot be read" in done.stderr
    persona(home, "verify")
    assert value(home, "SELECT DISTINCT segment_model_version FROM segments.segment_profiles") == "2"


def test_a_model_store_that_is_gone_is_missed(home: Path) -> None:
    (home / "mlflow.db").unlink()
    for command, said in (("verify", "is gone, and with it the models"), ("models", "made the lists, and no model is found any more")):
        done = asked(home.parent, at_home(home), command, *CONFIG)
        assert done.exit_code == 1
        assert said in done.output


def test_tables_of_other_columns_are_refused_with_the_way_out_which_keeps_what_no_log_has(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in ("warehouse.duckdb", "published.duckdb"):
        with duckdb.connect(str(home / file)) as connection:
            connection.execute("ALTER TABLE events.sessions RENAME COLUMN items TO things")
            connection.execute("UPDATE profiles.profile_history SET segment_name = 'of before', valid_from = valid_from - 30")
            connection.execute("ALTER TABLE profiles.profile_history ADD COLUMN mood VARCHAR")
    before = value(home, "SELECT count(*) FROM events.events")
    refused = asked(home.parent, at_home(home), "run", *CONFIG)
    assert refused.exit_code == 1
    assert (
        "written by another version: events.sessions has other columns (things too much, items missing); next: persona repair"
        in refused.output
    )
    assert value(home, "SELECT count(*) FROM events.events") == before
    assert "written by another version" in asked(home.parent, at_home(home), "verify", "--json", *CONFIG).stdout
    repaired = persona(home, "repair")
    assert "warehouse.duckdb is moved aside to warehouse.duckdb.aside-" in repaired
    assert "has what no log has (segments.segment_history, profiles.profile_history, " in repaired
    monkeypatch.setenv("PERSONA_HOME", str(home))
    settings = load_settings(home.parent / "persona.yaml")
    store = open_warehouse(settings)
    history = store.table(contracts.PROFILE_HISTORY)
    assert store.value(history.count(where=history.segment_name == "of before")) > 0
    ingested(store, settings)
    assert store.rows(contracts.EVENTS) == before
    close_warehouse(store, settings)
    persona(home, "verify")
