"""What the boundary of the command line makes of errors that are nobody's fault here."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import persona_pipelines
from persona_pipelines.cli import main
from persona_pipelines.cli.base import FAULT
from persona_pipelines.errors import ProjectError
from persona_pipelines.orchestration.runs import _innermost_text
from persona_pipelines.tracking.experiments import ModelNotFoundError
from persona_pipelines_tests.cli.conftest import Told


def test_too_little_memory_is_no_fault(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much() -> str:
        raise MemoryError

    monkeypatch.setattr("persona_pipelines.warehouse.dictionary.data_dictionary", too_much)
    done = CliRunner().invoke(main, ["dictionary", str(tmp_path / "file.md")])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: out of memory. The tables keep")
    assert not (tmp_path / "file.md").exists()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("_duckdb.OutOfMemoryException: Out of Memory Error: failed to allocate 32.0 KiB\n", "32.0 KiB; raise warehouse.memory_limit"),
        ("OSError: [Errno 28] No space left on device\n", "No space left on device"),
    ],
)
def test_an_engine_out_of_memory_says_which_setting_to_raise(message: str, told: str) -> None:
    error = SimpleNamespace(message=message, cause=None)
    event = SimpleNamespace(event_specific_data=SimpleNamespace(error=error), message="")
    assert _innermost_text(event).endswith(told)  # type: ignore[arg-type]


WITHIN = {"PackingError", "HeaderError", "TooLittleHistoryError", "Problem", "ClientError"}
"""Errors that the room which raises them turns into others, into an answer over HTTP, or into a stage that is left out: nobody reads them as they are; and that of
the client, which knows nothing of the package."""


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 80])
def test_an_error_is_as_wide_as_the_terminal_and_keeps_its_words_whole(tmp_path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    text = "start_date: soon\nsources: []\nfeatures: {timezone: Europe/Nowhere-at-all, half_life: 3}\n"
    (tmp_path / "persona.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    whole = CliRunner().invoke(main, ["status", "--config", "persona.yaml"]).stderr
    monkeypatch.setenv("COLUMNS", str(columns))
    told = CliRunner().invoke(main, ["status", "--config", "persona.yaml"]).stderr
    assert max(map(len, whole.splitlines())) > columns
    assert max(map(len, told.splitlines())) <= columns
    assert told.split() == whole.split()


def test_every_error_that_people_read_has_one_base() -> None:
    for module in pkgutil.walk_packages(persona_pipelines.__path__, "persona_pipelines."):
        installed = importlib.util.find_spec("faststream") is not None or not module.name.endswith(".serving.brokers")
        if installed and not module.name.endswith(".definitions"):
            importlib.import_module(module.name)
    left, found = [Exception], set()
    while left:
        kind = left.pop()
        left += kind.__subclasses__()
        if kind.__module__.startswith("persona_pipelines.") and kind.__name__ not in WITHIN:
            found.add(kind)
    assert len(found) > 20
    assert {kind.__name__ for kind in found if not issubclass(kind, ProjectError)} == set()
    # Whoever catches a ValueError of Python, or of a library, catches no error that is meant for people, and the other way round.
    assert {kind.__name__ for kind in found if issubclass(kind, ValueError | KeyError | TypeError)} == set()


@pytest.mark.parametrize("kind", [ValueError, KeyError, TypeError, AssertionError])
def test_an_error_of_python_in_a_command_is_a_fault_with_a_report(kind: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> str:
        raise kind("a slip of ours")

    monkeypatch.setattr("persona_pipelines.warehouse.dictionary.data_dictionary", wrong)
    done = CliRunner().invoke(main, ["dictionary", "file.md"])
    assert done.exit_code == FAULT
    assert re.search(rf"a fault of persona_pipelines \({kind.__name__}: '?a slip of ours'?\); .* Please report it with ", done.stderr)
    report = Path(done.stderr.split()[-1])
    assert "in wrong" in report.read_text()
    report.unlink()


@pytest.mark.slow
def test_an_error_of_python_in_a_step_is_a_fault_and_one_of_the_project_is_what_it_says(
    changed: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[Exception] = [ValueError("a slip of ours"), ModelNotFoundError("nothing has been trained")]

    def wrong(*arguments: object) -> None:
        raise raised.pop(0)

    monkeypatch.setattr("persona_pipelines.events.checks.every_event_in_a_session", wrong)
    done = changed.asked("run", "--select", "events/sessions")
    assert done.exit_code == 1
    assert "error: sessions: a fault of persona_pipelines (ValueError: a slip of ours); nothing was half-written." in done.stderr
    report = Path(re.search(r"report it with (\S+)", done.stderr)[1])
    assert "in wrong" in report.read_text()
    report.unlink()
    done = changed.asked("run", "--select", "events/sessions")
    assert done.exit_code == 1
    assert "error: sessions: nothing has been trained\n" in done.stderr
