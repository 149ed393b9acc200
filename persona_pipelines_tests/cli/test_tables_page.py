"""The pages about the tables and the comparison: their questions are answered and their cells run, on a small shop with its state."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from persona_pipelines_tests.cli.conftest import Told

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


COMMANDS = [line for page in ("tables.md", "reading-the-comparison.md") for block in blocks(page, "sh") for line in block.splitlines()]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_questions_of_the_page_are_answered(told: Told, command: str) -> None:
    words = shlex.split(command)
    assert words.pop(0) == "persona"
    answer = told.asked(*words)
    assert answer.exit_code == 0, answer.output
    assert len(answer.output.split()) > 3


@pytest.mark.slow
def test_the_cells_of_the_notebook_run(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert told.asked("export", "user_features", str(tmp_path / "features.parquet")).exit_code == 0
    (tmp_path / ".persona").mkdir()
    (tmp_path / ".persona" / "simulated-shop").symlink_to(told.home)
    monkeypatch.chdir(tmp_path)
    cells: dict[str, object] = {}
    for block in blocks("tables.md", "python"):
        exec(block, cells)
    frames = {name: found for name, found in cells.items() if isinstance(found, pd.DataFrame)}
    assert set(frames) == {"profiles", "by_segment", "attention", "hours", "plans", "planned", "features"}
    assert {name for name, frame in frames.items() if frame.empty} == set()
