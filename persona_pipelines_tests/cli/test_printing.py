"""Where the words of a command go while its run's own output goes into a file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from persona_pipelines.cli import main
from persona_pipelines.cli.printing import keep_terminal, terminal, warn


def test_a_warning_reaches_the_terminal_while_the_output_of_a_run_goes_into_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    keep_terminal()
    before = os.dup(sys.stderr.fileno())
    with (tmp_path / "run.err").open("w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
        try:
            os.write(sys.stderr.fileno(), b"of a library\n")
            warn("of the command")
        finally:
            os.dup2(before, sys.stderr.fileno())
            os.close(before)
    assert (tmp_path / "run.err").read_text() == "of a library\n"
    assert capfd.readouterr().err == "of the command\n"


def test_where_nothing_can_be_kept_warnings_go_where_the_stream_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stream in memory has no descriptor, and a process without a terminal may have no stream."""
    done = CliRunner().invoke(main, ["run", "--config", "nowhere.yaml"])
    assert "nowhere.yaml" in done.stderr
    monkeypatch.setattr(sys, "stderr", None)
    keep_terminal()
    assert terminal() is None
    warn("nobody hears it")
    assert capsys.readouterr().out == ""
