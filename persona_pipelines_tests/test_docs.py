"""The worked examples in the documentation come out as they say, and the settings that it shows are settings."""

import copy
import doctest
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
import yaml

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
