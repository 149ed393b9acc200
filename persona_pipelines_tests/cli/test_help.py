"""What --help says fits a terminal, and nothing of it is cut off."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from persona_pipelines.cli import main
from persona_pipelines_tests.cli.test_reading import commands

NAMES = ["", *(name for name, _ in commands())]


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_80_columns_and_is_whole(name: str) -> None:
    done = CliRunner().invoke(main, [*name.split(), "--help"], env={"COLUMNS": "80"}, terminal_width=80)
    assert done.exit_code == 0
    assert [line for line in done.output.splitlines() if len(line) > 80] == []
    listed = done.output.partition("Commands:\n")[2]
    assert "..." not in listed


def test_a_list_of_commands_has_the_first_sentence_of_each() -> None:
    listed = " ".join(CliRunner().invoke(main, ["--help"], terminal_width=80).output.partition("Commands:\n")[2].split())
    assert "What is known of USER, a raw id as in the logs or a pseudonym." in listed
    assert "The web UIs of Dagster and MLflow, on 127.0.0.1 until Ctrl-C." in listed
    assert "Neither has a login" not in listed
