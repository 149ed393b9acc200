"""The worked examples in the documentation come out as they say, and the settings that it shows are settings."""

import base64
import copy
import doctest
import itertools
import re
import runpy
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


PAGES = [DOCS.parent / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "data/README.md")] + sorted(
    DOCS.glob("*.md")
)


def anchors(file: Path) -> set[str]:
    """The names by which GitHub links to the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_every_link_and_picture_leads_somewhere(file: Path) -> None:
    for target in re.findall(
        r"\]\(([^)\s]+)\)", re.sub(r"^ *```.*?^ *```|`[^`\n]*`", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)
    ):
        name, _, anchor = target.partition("#")
        if "://" not in target:
            there = file.parent / name if name else file
            assert there.exists(), f"{file.name}: {target}"
            assert not anchor or anchor in anchors(there), f"{file.name}: {target}"


def test_pictures_are_light_and_are_shown() -> None:
    texts = "".join(page.read_text() for page in PAGES)
    for picture in (DOCS / "images").iterdir():
        assert picture.stat().st_size < 200_000, picture.name
        assert f"images/{picture.name})" in texts, picture.name


def test_every_page_is_in_the_site() -> None:
    listed = re.findall(r"^ +- (?:\w+: )?([\w-]+\.md)$", (DOCS.parent / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted([*(page.name for page in DOCS.glob("*.md")), "index.md", "contributing.md", "changes.md"])


def test_the_site_reads_lists_as_they_are_written_for_github() -> None:
    site = runpy.run_path(str(DOCS / "site.py"))
    assert site["as_python_markdown"]("Text\n- a\n\n  ```sh\n  go\n    on\n  ```\n- b\n\nMore\n  so\n") == (
        "Text\n\n- a\n\n    ```sh\n    go\n      on\n    ```\n- b\n\nMore\n  so\n"
    )


def named_commands() -> list[tuple[str, str]]:
    """Every command of persona that a sentence of the README and the docs names: file, command. Those of blocks are executed, see test_sample."""
    return [
        (file.name, command)
        for file in (DOCS.parent / "README.md", *sorted(DOCS.glob("*.md")))
        for command in dict.fromkeys(
            re.findall(
                r"`(?:\.venv/bin/)?persona ([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", file.read_text(), flags=re.DOTALL | re.MULTILINE)
            )
        )
    ]


@pytest.mark.parametrize(("file", "command"), named_commands())
def test_the_commands_that_the_documentation_names_are_commands(file: str, command: str) -> None:
    group: click.Command = main
    words = list(itertools.takewhile(lambda word: word not in ("|", ">"), shlex.split(re.sub(r"[\[\]]", "", command))))
    while isinstance(group, click.Group) and words and words[0] in group.commands:
        group = group.commands[words.pop(0)]
    assert group is not main or words == ["--help"], command
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


ENCODED = {"base64": base64.b64decode, "windows-1252": lambda text: text.encode("windows-1252")}
"""Languages of blocks that stand for bytes, beside text of UTF-8."""


def tried_sections(name: str) -> list[tuple[str, str]]:
    """The parts of a page that can be tried: heading and text of each with a command in it."""
    parts = re.split(r"^## (.*)$", (DOCS / name).read_text(), flags=re.MULTILINE)
    return [(heading, text) for heading, text in zip(parts[1::2], parts[2::2], strict=True) if "```sh" in text]


@pytest.mark.slow
@pytest.mark.parametrize(("heading", "text"), tried_sections("own-logs-by-example.md"), ids=lambda value: value.strip().split("\n")[0][:30])
def test_the_mishaps_come_out_as_the_page_says(heading: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PERSONA_HOME", str(tmp_path / "home"))
    output, compared = "", 0
    for language, title, content in re.findall(r'^```(\S+)(?: title="([^"]+)")?\n(.*?)^```', text, re.DOTALL | re.MULTILINE):
        if title:
            (tmp_path / title).write_bytes(ENCODED.get(language, str.encode)(content))
        elif language == "sh":
            words = shlex.split(content)
            assert words.pop(0) == "persona"
            done = CliRunner().invoke(main, words, prog_name="persona")
            assert done.exit_code in (0, 1), done.output
            output = " ".join(done.output.split())
        else:
            assert language == "text"
            for line in content.splitlines():
                assert " ".join(line.split()) in output, heading
                compared += 1
    assert compared
