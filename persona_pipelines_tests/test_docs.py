"""The worked examples in the documentation come out as they say, and the settings that it shows are settings."""

import copy
import doctest
import itertools
import re
import shlex
import textwrap
from pathlib import Path

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from persona_pipelines.cli import main
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.settings.loading import PlainLoader
from persona_pipelines_tests.conftest import CLICKS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", ["worked-examples.md"])
def test_the_worked_examples_come_out_as_they_say(name: str) -> None:
    with np.printoptions(legacy=False):
        found = doctest.testfile(str(DOCS / name), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 20
    assert found.failed == 0


def blocks() -> list[tuple[str, int, str]]:
    """Every block of YAML in the README and the docs that is whole: file, number, text."""
    found = []
    for file in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))):
        for number, text in enumerate(re.findall(r"^ *```yaml\n(.*?)^ *```", file.read_text(), re.DOTALL | re.MULTILINE), start=1):
            if "..." not in text:
                found.append((file.name, number, textwrap.dedent(text)))
    return found


@pytest.mark.parametrize(("file", "number", "text"), blocks(), ids=lambda value: str(value)[:40])
def test_the_settings_that_the_documentation_shows_are_settings(file: str, number: int, text: str, tmp_path: Path) -> None:
    content = yaml.load(text, Loader=PlainLoader)
    if isinstance(content, list):
        content = {"sources": content}
    if not set(content) & set(Settings.model_fields):  # a part of one source
        content = {"sources": [{**CLICKS, **content}]}
    sources = content.get("sources", [])
    names = {source["name"] for source in sources}
    if not any(source.get("kind", "events") == "events" for source in sources):
        sources = [*sources, CLICKS]
    # What a block names and another one describes.
    asked = [target["from"].get("attribute") for target in content.get("predictions", {}).get("targets", [])]
    asked += [name for target in content.get("predictions", {}).get("targets", []) for name in target.get("without", [])]
    known = {"subscribed": "boolean"}
    if any(asked):
        attributes = {name: known.get(name, "number") for name in asked if name}
        sources = [
            *sources,
            {"name": "asked", "kind": "users", "path": "x", "format": "csv", "fields": {"user_id": "u"}, "attributes": attributes},
        ]
    for source in sources:
        for lookup in source["join"] if isinstance(source.get("join"), list) else [source["join"]] if "join" in source else []:
            if lookup["source"] not in names:
                sources = [*sources, {"name": lookup["source"], "kind": "lookup", "path": "x", "format": "csv", "fields": {"a": "a"}}]
    whole = {"start_date": "2024-01-01", **content, "sources": copy.deepcopy(sources)}
    (tmp_path / "persona.yaml").write_text(yaml.safe_dump(whole))
    load_settings(tmp_path / "persona.yaml")


def shown_commands() -> list[tuple[str, str]]:
    """Every command of persona that a block of shell lines or a cell of a table in the README and the docs shows: file, command."""
    found = []
    for file in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))):
        text = file.read_text()
        lines = [line for block in re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE) for line in block.splitlines()]
        lines += re.findall(r"^\| `(persona [^`]+)`", text, re.MULTILINE)
        found += [
            (file.name, match[1])
            for line in lines
            if (match := re.match(r"(?:\.venv/bin/)?persona (.*)", line.partition("   #")[0].strip()))
        ]
    return found


@pytest.mark.parametrize(("file", "command"), shown_commands())
def test_the_commands_that_the_documentation_shows_are_commands(file: str, command: str) -> None:
    group: click.Command = main
    words = list(itertools.takewhile(lambda word: word not in ("|", ">"), shlex.split(re.sub(r"[\[\]]", "", command))))
    while isinstance(group, click.Group) and words and words[0] in group.commands:
        group = group.commands[words.pop(0)]
    assert group is not main, command
    options = {name for option in group.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    assert [word for word in words if word.startswith("-") and word not in options] == [], command


def test_the_lines_for_completion_give_a_shell_what_it_asks_for() -> None:
    lines = re.findall(r"(_PERSONA_COMPLETE=)(\w+)_source persona", (DOCS / "command-line.md").read_text())
    assert {shell for _, shell in lines} == {"bash", "zsh", "fish"}
    for _, shell in lines:
        asked = CliRunner().invoke(main, env={"_PERSONA_COMPLETE": f"{shell}_source"}, prog_name="persona")
        assert "persona" in asked.output
        assert "_PERSONA_COMPLETE" in asked.output
    completed = CliRunner().invoke(
        main, env={"_PERSONA_COMPLETE": "bash_complete", "COMP_WORDS": "persona audience o", "COMP_CWORD": "2"}, prog_name="persona"
    )
    assert completed.output == "plain,overlap\n"
