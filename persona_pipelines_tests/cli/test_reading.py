"""Every command that reads: JSON and CSV for programs, and for people tables within 80 columns without a broken word."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import click
import pandas as pd
import pytest
from rich.cells import cell_len

from persona_pipelines.cli import main
from persona_pipelines.cli.answers import Answer, Rows, as_csv, as_json
from persona_pipelines.cli.printing import print_facts, print_table, say, shown, wrapped
from persona_pipelines_tests.cli.conftest import Told

READING: dict[str, list[str]] = {
    "audience list": [],
    "audience overlap": ["regulars", "buyers"],
    "audience show": ["regulars"],
    "experiment plan": ["--metric", "purchase_rate", "--effect", "0.1", "--baseline", "0.05"],
    "experiment status": [],
    "models": [],
    "models comparison": [],
    "profile": ["WHO"],
    "recommend": ["WHO"],
    "run": ["--dry-run"],
    "segments": [],
    "sources check": [],
    "sql": ["SELECT * FROM user_features LIMIT 3"],
    "status": [],
    "verify": [],
}
"""Every command that has a form, with arguments for which it has something to say."""


def commands(group: click.Group = main, *before: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield " ".join((*before, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)


def test_no_reading_command_is_left_out() -> None:
    assert {name for name, command in commands() if any(option.name == "form" for option in command.params)} == set(READING)


@pytest.fixture(scope="module")
def shop(told: Told) -> Told:
    for name, condition in (("regulars", "sessions > 1"), ("buyers", "frequency > 0 and items > 1")):
        assert told.asked("audience", "save", name, "--where", condition).exit_code == 0
    variants = ("--variant", "control=0.5", "--variant", "bold=0.5,live_share=0.9")
    planned = ("--metric", "click_rate", "--effect", "0.1", "--people", "5000", "--days", "14")
    assert told.asked("experiment", "start", "bolder", *planned, *variants).exit_code == 0
    return told


def answer(shop: Told, command: str, *options: str, columns: int = 80) -> str:
    arguments = [shop.person() if word == "WHO" else word for word in READING[command]]
    if command == "models":
        words = ["models", *options, "--config", "persona.yaml"]
    elif command == "sources check":
        words = ["sources", "check", "persona.yaml", *options]
    else:
        words = [*command.split(), *arguments, *options, "--config", "persona.yaml"]
    done = shop.asked(*words, named=False, COLUMNS=str(columns))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("command", READING)
def test_json_is_all_that_stands_on_the_output(shop: Told, command: str) -> None:
    text = answer(shop, command, "--json")
    found = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert found
    assert all(sign.isprintable() or sign == "\n" for sign in text)
    assert answer(shop, command, "--format", "json") == text


@pytest.mark.slow
@pytest.mark.parametrize("command", READING)
def test_csv_is_a_table_with_a_header(shop: Told, command: str) -> None:
    header, *rows = csv.reader(io.StringIO(answer(shop, command, "--format", "csv")))
    assert len(set(header)) == len(header)
    assert all(name.isidentifier() for name in header)
    assert rows
    assert {len(row) for row in rows} == {len(header)}


@pytest.mark.slow
@pytest.mark.parametrize("command", [*READING, "profile --why"])
def test_on_80_columns_nothing_is_wider_and_no_word_is_broken(shop: Told, command: str) -> None:
    name, *options = command.split(" --")
    narrow, wide = (answer(shop, name, *(f"--{option}" for option in options), columns=columns) for columns in (80, 5000))
    too_wide = [line for line in narrow.splitlines() if cell_len(line) > 80]
    # A path or an address that is longer than the line stays whole, so that it can be copied.
    assert [line for line in too_wide if len(line.split()[-1]) < 40] == []
    assert {word for word in narrow.split() if "─" not in word} <= {*wide.split(), "-"}  # - stands for nothing where rows are written out
    assert "..." not in narrow.replace("{date}", "")


@pytest.mark.slow
def test_a_terminal_gets_colours_unless_they_are_not_wanted(shop: Told) -> None:
    """In a pseudo-terminal, as a person sees it."""

    def seen(*arguments: str, **more: str) -> bytes:
        ours, theirs = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
        done = subprocess.Popen(
            [sys.executable, "-P", "-c", "from persona_pipelines.cli import main; main()", *arguments],
            cwd=shop.folder,
            env={**environment, "TERM": "xterm-256color", "PERSONA_HOME": str(shop.home), **more},
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        found = b""
        try:
            while block := os.read(ours, 1 << 16):
                found += block
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        assert done.wait() == 0
        return found

    assert b"\x1b[" in seen("segments", "--config", "persona.yaml")
    assert b"\x1b" not in seen("segments", "--config", "persona.yaml", NO_COLOR="1")
    assert b"\x1b" not in seen("recommend", "nobody", "--config", "persona.yaml", NO_COLOR="1")


def test_an_answer_for_programs_has_nulls_days_and_nothing_that_moves_a_cursor() -> None:
    frame = pd.DataFrame(
        {
            "day": pd.to_datetime(["2025-09-01", None]),
            "at": pd.to_datetime(["2025-09-01 10:00", None]),
            "amount": [1.5, float("nan")],
            "whole": [1, 2],
            "title": ["\x1b[31mred \u202e\x9b", None],
        }
    )
    rows = json.loads(as_json(Answer((Rows("rows", frame),))))
    assert rows == [
        {"day": "2025-09-01", "at": "2025-09-01T10:00:00", "amount": 1.5, "whole": 1, "title": "\x1b[31mred \u202e\x9b"},
        {"day": None, "at": None, "amount": None, "whole": 2, "title": None},
    ]
    assert all(sign.isprintable() or sign == "\n" for sign in as_json(Answer((Rows("rows", frame),))))
    assert json.loads(as_json(Answer((Rows("rows", frame[["whole"]]),), {"of": "x"}))) == {"of": "x", "rows": [{"whole": 1}, {"whole": 2}]}


def test_csv_on_the_output_disarms_formulas_as_exports_do_and_leaves_ids() -> None:
    frame = pd.DataFrame({"item_id": ["=1"], "title": ["=HYPERLINK(1)"], "amount": [-1.5], "parts": [{"a": 1}], "fit": [True]})
    header, row = csv.reader(io.StringIO(as_csv(Answer((Rows("rows", frame),)))))
    assert (header, row) == (["item_id", "title", "amount", "parts", "fit"], ["=1", "'=HYPERLINK(1)", "-1.5", '{"a": 1}', "true"])


def test_a_table_that_does_not_fit_stands_row_by_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pd.DataFrame({"short": ["a", "b"], "long": ["word " * 20, "x" * 30], "number": [1, 1200]})
    monkeypatch.setenv("COLUMNS", "50")
    print_table(frame)
    beside = capsys.readouterr().out
    assert beside.splitlines()[0].split() == ["short", "long", "number"]
    assert max(map(len, beside.splitlines())) <= 50
    monkeypatch.setenv("COLUMNS", "40")
    print_table(frame)
    below = capsys.readouterr().out
    assert "number  1,200" in below
    assert max(map(len, below.splitlines())) <= 40
    print_table(frame.head(0), "Nothing")
    assert capsys.readouterr().out.strip() == "Nothing: none"


def test_lines_are_broken_between_words_only() -> None:
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("a /path/that/is/longer/than/the/line b", 10) == ["a", "/path/that/is/longer/than/the/line", "b"]
    assert wrapped("", 10) == [""]
    # A script without blanks may be broken between any two signs, each two columns wide.
    assert wrapped("画像画像画像", 4) == ["画像", "画像", "画像"]


def test_yes_and_no_are_the_same_words_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"python": True, "numpy": pd.Series([False])[0], "missing": None, "inside": {"student": True, "age": 30}})
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()] == ["yes", "no", "-", "student yes, age 30"]
    assert shown(pd.Series([True], dtype=object)[0]) == "yes"


def test_texts_are_as_long_as_they_are_where_the_output_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    say("word " * 100)
    assert len(capsys.readouterr().out.splitlines()) == 1
