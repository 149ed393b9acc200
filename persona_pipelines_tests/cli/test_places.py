"""Commands work from every folder of a project, and say what to type there; pages are opened where they are."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import webbrowser
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from persona_pipelines.cli import main
from persona_pipelines.settings import load_settings
from persona_pipelines.settings.loading import ConfigurationError, as_named
from persona_pipelines_tests.cli.conftest import Told
from persona_pipelines_tests.integration.running import at_home

CONTENT = """
start_date: 2025-09-01
sources:
  - {name: clicks, path: "clicks/{date}.csv", format: csv, fields: {timestamp: at, event_type: type, user_id: user}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PERSONA_HOME")
    folder = tmp_path / "project"
    (folder / "data" / "raw" / "deep").mkdir(parents=True)
    (folder / "data" / "persona.yaml").write_text(CONTENT)
    return folder


def test_the_configuration_is_found_upwards_and_the_state_stays_beside_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for inside in ("", "data", "data/raw/deep"):
        monkeypatch.chdir(project / inside)
        found = load_settings()
        assert found.file == project / "data" / "persona.yaml"
        assert found.home == project / ".persona" / "persona"
    other = project / "data" / "raw" / "my.yaml"
    other.write_text(CONTENT)
    # One that is named has its state in the same project, wherever it is named from.
    assert load_settings(other).home == project / ".persona" / "my"
    monkeypatch.setenv("PERSONA_CONFIG", str(other))
    assert load_settings().file == other


def test_a_configuration_is_named_as_it_is_from_its_project_folder(project: Path, tmp_path: Path) -> None:
    assert as_named(project / "data" / "persona.yaml") == ""
    assert as_named(project / "data" / "raw" / "my.yaml") == "data/raw/my.yaml"
    assert as_named(tmp_path / "elsewhere" / "my.yaml") == "my.yaml"


def test_the_nearest_configuration_is_taken(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = project / "data" / "raw"
    (inner / "data").mkdir()
    shutil.copy(project / "data" / "persona.yaml", inner / "data" / "persona.yaml")
    monkeypatch.chdir(inner / "deep")
    assert load_settings().file == inner / "data" / "persona.yaml"


def test_where_there_is_none_it_is_said_that_the_folders_above_were_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigurationError, match=r"data/persona.yaml: cannot be read \(No such file or directory, here or in any folder above\)"
    ):
        load_settings()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("inside", "arguments", "hint"),
    [
        ("", ["segments"], "first: persona run\n"),
        ("data/raw", ["segments"], "first: persona run\n"),
        ("data/raw", ["segments", "--config", "../persona.yaml"], "first: persona run --config ../persona.yaml\n"),
        ("data/raw", ["segments", "--config", "my own.yaml"], "first: persona run --config 'my own.yaml'\n"),
        ("", ["run"], "try: persona sources check\n"),
        ("data", ["run", "--config", "persona.yaml"], "try: persona sources check persona.yaml\n"),
        ("data", ["open", "gallery", "--config", "persona.yaml"], "first: persona run --config persona.yaml\n"),
        ("data", ["open", "dagster", "--config", "persona.yaml"], "first, in another terminal: persona ui --config persona.yaml\n"),
        ("data", ["status", "--config", "persona.yaml"], "nothing published yet: persona run --config persona.yaml\n"),
    ],
)
def test_a_hint_is_what_works_from_where_the_person_stands(
    project: Path, monkeypatch: pytest.MonkeyPatch, inside: str, arguments: list[str], hint: str
) -> None:
    (project / "data" / "raw" / "my own.yaml").write_text(CONTENT + "name: persona\n")
    monkeypatch.chdir(project / inside)
    monkeypatch.setenv("DAGSTER_HOME", str(project / "dagster"))
    assert hint in CliRunner().invoke(main, arguments).output


@pytest.mark.slow
def test_the_gallery_is_opened_where_it_is(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    page = told.home / "reports" / "persona-gallery-en.html"
    assert told.asked("open", "gallery", "--print").stdout == f"{page}\n"
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)) or True)
    assert told.asked("open", "gallery").exit_code == 0
    assert opened == [page.as_uri()]
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    done = told.asked("open", "gallery")
    assert (done.exit_code, done.stderr) == (1, f"Error: no browser could be opened; open {page}\n")


@pytest.mark.slow
def test_a_web_ui_is_opened_where_it_answers(changed: Told) -> None:
    """A listener stands for a server: what counts is where the home says that one is, and that it answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        (changed.home / "ui-logs").mkdir()
        (changed.home / "ui-logs" / "addresses.json").write_text(json.dumps({"mlflow": address}))
        silent = changed.asked("open", "mlflow", "--print")
        assert silent.exit_code == 1
        assert "the web UI of MLflow is not running" in silent.stderr
        listener.listen()
        assert changed.asked("open", "mlflow", "--print").stdout == f"{address}/#/experiments?workflowType=machine_learning\n"
        assert "the web UI of Dagster is not running" in changed.asked("open", "dagster", "--print").stderr
    elsewhere = changed.asked("open", "mlflow", "--print", MLFLOW_TRACKING_URI="http://mlflow.example:5000")
    assert elsewhere.stdout == "http://mlflow.example:5000/#/experiments?workflowType=machine_learning\n"


@pytest.mark.slow
def test_the_web_uis_say_where_they_answer_for_as_long_as_they_do(changed: Told) -> None:
    with (
        closing(sqlite3.connect(changed.home / "mlflow.db")) as store,
        store,
    ):  # what the next comparison does with the home of an early release
        store.execute("UPDATE experiments SET name = 'shop-recommendations' WHERE name = 'recommendations'")
        store.execute(
            "INSERT INTO experiment_tags SELECT 'mlflow.sharedViewState.newest', '{}', experiment_id FROM experiments WHERE name = 'shop-recommendations'"
        )
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(str(free.getsockname()[1]))
    command = "from persona_pipelines.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", command, "ui", "--config", "persona.yaml", "--dagster-port", ports[0], "--mlflow-port", ports[1]],
        cwd=changed.folder,
        env=at_home(changed.home),
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where tests run in the background of a shell
    )
    try:
        assert process.stdout is not None
        said = list(itertools.takewhile(lambda line: "Ctrl-C" not in line, process.stdout))
        assert f"Dagster  http://127.0.0.1:{ports[0]}\n" in said
        for name, port in zip(("dagster", "mlflow"), ports, strict=True):
            first = f"http://127.0.0.1:{port}"
            first += (
                r"/#/experiments/\d+/runs\?viewStateShareKey=newest&workflowType=machine_learning&compareRunsMode=CHART"
                if name == "mlflow"
                else ""
            )
            assert re.fullmatch(first + "\n", changed.asked("open", name, "--print").stdout)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)
    assert changed.asked("open", "dagster", "--print").exit_code == 1
    assert not (changed.home / "ui-logs" / "addresses.json").exists()
