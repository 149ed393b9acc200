"""Whatever files, configurations, arguments and states of the home hold: an answer or one sentence, never a fault of this package.

A search for faults: ``PERSONA_TEST_EFFORT=11 pytest persona_pipelines_tests/cli/test_no_input_is_a_fault.py`` tries some 20,000 inputs.
"""

from __future__ import annotations

import contextlib
import copy
import gzip
import itertools
import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from persona_pipelines.cli import main
from persona_pipelines.cli.base import FAULT
from persona_pipelines.errors import ProjectError
from persona_pipelines.home.opening import close_warehouse, open_warehouse
from persona_pipelines.home.publishing import publish
from persona_pipelines.settings import Settings, Source, load_settings
from persona_pipelines.settings.formats import DelimitedFormat
from persona_pipelines.settings.recommendations import ALSSettings
from persona_pipelines.settings.sources import Condition, FieldMapping
from persona_pipelines.settings.stages import OwnTarget
from persona_pipelines_tests.conftest import CLICKS, HEADER, ingested, law, write

pytestmark = pytest.mark.slow

ODD: list[Any] = [
    None,
    "",
    0,
    -1,
    1e308,
    True,
    [],
    {},
    [[]],
    {"a": {"b": 1}},
    "x" * 3000,
    "\x1b[31mred",
    "9" * 30,
    "10000-01-01",
    "9999-12-31",
    "0000-00-00",
    "2025-13-01",
    "[",
    "(((",
    "(" * 3000,
    "(?P<x>a)(?P<x>b)",
    "{date}{date}",
    "*" * 60,
    "../../x",
    "s3://bucket/x",
    "file:///etc/passwd",
    "~",
    "${NOT_SET_ANYWHERE}",
    "é\u202e",
    "\U0001f600",
    ["a", "b"],
    {"and": []},
    2**63,
    1.5,
    "1.5",
    "nan",
    "yes",
    "null",
    "a\tb\nc",
    "\ud7ff",
    "=1+1",
    "%",
    "%s",
    "{}",
    "{0}",
    "'; DROP TABLE x",
]
LINES = [
    f"{n},2025-09-0{1 + n % 3}T1{n % 9}:00:00Z,{'purchase' if n % 4 == 0 else 'item_view'},u{n % 7},d{n % 5},i{n % 6},{n},{n * 900}"
    for n in range(60)
]
CATALOGUE = {
    "name": "things",
    "kind": "items",
    "path": "things.json",
    "format": "json",
    "fields": {"item_id": "id", "title": "name", "price": "cost"},
}
BASE: dict[str, Any] = {
    "name": "fuzz",
    "start_date": "2025-09-01",
    "owner": "team:data",
    "sources": [CLICKS, CATALOGUE],
    "logs": {"settle_seconds": 0},
    "schedules": {"daily": "0 5 * * *", "timezone": "UTC"},
    "warehouse": {"memory_limit": "1GB", "threads": 1},
    "features": {"timezone": "UTC", "interaction_weights": {"purchase": 3}},
    "segments": {"algorithms": ["k_means"]},
    "recommendations": {"k": 5, "methods": [{"method": "most_popular"}, {"method": "ease"}]},
    "predictions": {"horizon_days": 7},
}


def made(folder: Path) -> Path:
    for day in (1, 2, 3):
        write(folder, f"clicks/2025-09-0{day}.csv", HEADER, *(line for line in LINES if f"2025-09-0{day}T" in line))
    write(folder, "things.json", *(json.dumps({"id": f"i{n}", "name": f"thing {n}", "cost": n}) for n in range(6)))
    (folder / "persona.yaml").write_text(yaml.safe_dump(BASE))
    return folder / "persona.yaml"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with logs, a configuration, and a home whose tables are published."""
    folder = tmp_path_factory.mktemp("shop")
    with at_home(folder):
        settings = load_settings(made(folder))
        store = open_warehouse(settings)
        ingested(store, settings)
        publish(store, settings)
        close_warehouse(store, settings)
    return folder


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[None]:
    """The home of the folder, as the environment says, and the folder as the place where commands are called."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_HOME", str(folder / "home"))
        patch.delenv("DAGSTER_HOME", raising=False)
        patch.chdir(folder)
        yield


def asked(folder: Path, *arguments: str) -> Result:
    with at_home(folder):
        return CliRunner().invoke(main, list(arguments))


def expect_an_answer(result: Result, *context: Any) -> None:
    assert result.exit_code in (0, 1, 2), (context, result.output, result.exception)
    assert result.exit_code != FAULT
    assert "Traceback" not in result.output
    assert all(sign.isprintable() or sign == "\n" for sign in result.output), (context, result.output)
    if result.exit_code:
        assert len(result.output.strip()) > 10, context


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield from places(entry, (*path, key))


PLACES = list(places(BASE))


def named(model: type[BaseModel], *place: Any) -> Iterator[tuple]:
    """The places of all settings of a part of the configuration, those of its own parts too."""
    for name, entry in model.model_fields.items():
        yield (*place, entry.alias or name)
        if isinstance(entry.annotation, type) and issubclass(entry.annotation, BaseModel):
            yield from named(entry.annotation, *place, entry.alias or name)


COLUMNS = ("timestamp", "event_type", "user_id", "value")
SETTINGS = [
    *named(Settings),
    *named(Source, "sources", 0),
    *named(DelimitedFormat, "sources", 0, "format"),
    *(place for column in COLUMNS for place in named(FieldMapping, "sources", 0, "fields", column)),
    *named(Condition, "sources", 0, "drop_when", 0),
    *named(ALSSettings, "recommendations", "methods", 0),
    *named(OwnTarget, "predictions", "targets", 0),
]
"""Every setting, whether or not the configuration that is changed has it."""


def put(content: Any, place: tuple, value: Any) -> None:
    """Set a setting, and whatever has to stand around it; what stands there in short is written out."""
    for number, (key, below) in enumerate(itertools.pairwise(place)):
        if isinstance(content, list) and len(content) <= key:
            content.append({})
        inside = content[key] if isinstance(content, list) else content.get(key)
        if not isinstance(inside, dict | list):
            short = {"type": inside} if key == "format" else {"from": inside} if number == 3 and inside else {}
            inside = content[key] = [] if isinstance(below, int) else short
        content = inside
    content[place[-1]] = value


@law(400)
@given(seed=st.integers(0, 2**32))
def test_any_configuration(shop: Path, seed: int) -> None:
    chance, content = random.Random(seed), copy.deepcopy(BASE)
    for _ in range(chance.choice([1, 1, 2, 3])):
        path = chance.choice(PLACES)
        with contextlib.suppress(KeyError, IndexError, TypeError, AttributeError):
            if chance.random() < 0.4:
                put(content, chance.choice(SETTINGS), copy.deepcopy(chance.choice(ODD)))
                continue
            inside = content
            for key in path[:-1]:
                inside = inside[key]
            match chance.randrange(5):
                case 0 | 1:
                    inside[path[-1]] = copy.deepcopy(chance.choice(ODD))
                case 2:
                    del inside[path[-1]]
                case 3:
                    inside[str(chance.choice(ODD))[:40]] = inside.pop(path[-1])
                case 4:
                    inside[path[-1]] = [inside[path[-1]], copy.deepcopy(chance.choice(ODD))]
    text = yaml.safe_dump(content, allow_unicode=True)
    if chance.random() < 0.3:
        at = chance.randrange(len(text))
        text = (
            text[:at]
            + chance.choice(
                ["\t", ": ", "- ", "*x", "&x ", "!!python/object:os.system ", "|\n", '"', "{", "\x00", "%YAML 3", "? [a, b]\n: 1\n"]
            )
            + text[at:]
        )
    (shop / "odd.yaml").write_text(text, encoding="utf-8")
    expect_an_answer(asked(shop, "sources", "check", "odd.yaml"), text)


@pytest.mark.parametrize("odd", [{}, {"a": 1}, [], [["a"]]], ids=str)
def test_a_mapping_or_a_list_in_place_of_any_setting_is_said(tmp_path: Path, odd: Any) -> None:
    """Neither can be looked up among names."""
    file = tmp_path / "odd.yaml"
    for place in SETTINGS:
        content = copy.deepcopy(BASE)
        put(content, place, copy.deepcopy(odd))
        file.write_text(yaml.safe_dump(content))
        with contextlib.suppress(ProjectError):
            load_settings(file)


FILES = ["clicks/2025-09-01.csv", "things.json"]


@law(200)
@given(seed=st.integers(0, 2**32))
def test_any_log_file(shop: Path, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("logs")
    made(folder)
    file = folder / chance.choice(FILES)
    content = bytearray(file.read_bytes())
    for _ in range(chance.choice([1, 1, 3, 20])):
        at = chance.randrange(len(content) or 1)
        match chance.randrange(8):
            case 0:
                content[at:at] = b"\x00"
            case 1:
                content[at:at] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 30)))
            case 2:
                del content[at : at + chance.randrange(1, 200)]
            case 3:
                content[at:at] = chance.choice(
                    [
                        b'"',
                        b"\r",
                        b"\r\n",
                        b"\n\n",
                        b",",
                        b"{",
                        b"[" * 3000,
                        b"\\ud800",
                        b"\xef\xbb\xbf",
                        b"\xff\xfe",
                        b"PAR1",
                        b"\x1f\x8b",
                        b"<html>",
                        b"9" * 400,
                    ]
                )
            case 4:
                content = content.replace(b"\n", b"\r") if chance.random() < 0.3 else content + content
            case 5:
                text = str(chance.choice(ODD)).encode("utf-8", "replace")
                content[at:at] = text
            case 6:
                content = bytearray(gzip.compress(bytes(content))[: chance.choice([None, 5, 30, 200])])
            case 7:
                content = bytearray(content.replace(b"2025", chance.choice([b"10000", b"0000", b"-2025", b"99999999999999", b"1e999"])))
    file.write_bytes(content)
    match chance.randrange(12):
        case 0:
            file.unlink()
        case 1:
            file.unlink()
            file.symlink_to("/nonexistent/file")
        case 2:
            file.unlink()
            file.mkdir()
        case 3:
            file.unlink()
            os.mkfifo(file)
        case 4:
            file.rename(file.with_name("\x1b[31m\n.csv"))
    try:
        expect_an_answer(asked(folder, "sources", "check", "persona.yaml"), bytes(content))
        expect_an_answer(asked(folder, "init", str(file), "--output", "first.yaml"), bytes(content))
    finally:
        shutil.rmtree(folder)


WORDS = st.one_of(
    st.sampled_from(
        [
            "sessions",
            ">",
            "1",
            "and",
            "or",
            "not",
            "(",
            ")",
            "segment",
            "=",
            "'x'",
            "in",
            "null",
            "is",
            "attributes.age",
            "interests.a",
            "like",
            ",",
            "user_id",
        ]
    ),
    st.sampled_from([text for text in ODD if isinstance(text, str)]),
    st.text(max_size=8),
)


@law(400)
@given(words=st.lists(WORDS, max_size=12), many=st.sampled_from([1, 1, 1, 300]))
def test_any_condition_of_an_audience(shop: Path, words: list[str], many: int) -> None:
    condition = " ".join(words * many)
    expect_an_answer(asked(shop, "audience", "save", "a", "--where", condition, "--config", "persona.yaml"), condition)


ARGUMENTS = st.one_of(
    st.sampled_from(
        [
            "run",
            "status",
            "sources",
            "check",
            "init",
            "profile",
            "recommend",
            "audience",
            "list",
            "export",
            "lookalike",
            "show",
            "overlap",
            "delete",
            "comparison",
            "sql",
            "SELECT * FROM events",
            "FROM read_text('/etc/passwd')",
            "--json",
            "--format",
            "csv",
            "--why",
            "report",
            "models",
            "segments",
            "verify",
            "repair",
            "dictionary",
            "--help",
            "--version",
            "-k",
            "3",
            "0",
            "-1",
            "--from",
            "2025-09-01",
            "9999-12-31",
            "--to",
            "--size",
            "--records",
            "u1",
            "0" * 32,
            "events",
            "items",
            "out.csv",
            "out.parquet",
            "persona.yaml",
            "things.json",
            "clicks",
            "/dev/null",
            "/dev/full",
            "no/such/file.csv",
            ".",
            "",
            "--",
            "--no-guard",
            "--language",
            "zh",
            "--output",
            "--where",
            "a",
        ]
    ),
    st.sampled_from([text for text in ODD if isinstance(text, str) and "\x00" not in text]),
)


@law(400)
@given(arguments=st.lists(ARGUMENTS, min_size=1, max_size=5))
def test_any_arguments(shop: Path, arguments: list[str]) -> None:
    if arguments[0] == "run" or "simulate" in arguments:
        arguments = ["profile", *arguments[1:]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERSONA_CONFIG", str(shop / "persona.yaml"))
        expect_an_answer(asked(shop, *arguments), arguments)


def damage(home: Path, file: Path, chance: random.Random) -> None:
    """One file of the home is not as it was left: another byte, cut, gone, another thing, or one that does not belong there."""
    content = bytearray(file.read_bytes()) if file.is_file() else bytearray()
    match chance.randrange(9):
        case 0 | 1 if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            file.write_bytes(content)
        case 2:
            file.write_bytes(content[: chance.randrange(len(content) + 1)])
        case 3:
            file.unlink(missing_ok=True)
        case 4:
            file.write_bytes(chance.choice([b"", b"\x00" * 100, b"null", b"{}", b"[]", b'{"a": 1}', b"\xff\xfe", b"\x1b[31m"]))
        case 5:
            file.unlink(missing_ok=True)
            file.mkdir(exist_ok=True)
        case 6:
            file.unlink(missing_ok=True)
            file.symlink_to("/nonexistent/file")
        case 7:
            (home / "warehouse.duckdb.wal").write_bytes(bytes(content[:200]))
        case 8:
            (home / "publishing.json").write_bytes(chance.choice([b"", b"{}", b"[]", bytes(content[:50])]))


READING = [
    ("status",),
    ("profile", "u1"),
    ("profile", "0" * 32),
    ("recommend", "u1"),
    ("segments",),
    ("export", "events", "e.csv"),
    ("audience", "list"),
    ("audience", "show", "regulars"),
    ("audience", "overlap", "regulars", "others"),
    ("report",),
    ("experiment", "status"),
    ("experiment", "plan", "--metric", "click_rate", "--effect", "0.1"),
    ("models",),
    ("models", "comparison"),
    ("open", "gallery", "--print"),
    ("open", "mlflow", "--print"),
    ("run", "--dry-run"),
    ("sql", "SELECT * FROM events.events"),
    ("verify",),
    ("repair",),
    ("sources", "check", "persona.yaml"),
]


@law(400)
@given(seed=st.integers(0, 2**32))
def test_any_state_of_the_home(shop: Path, tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    chance = random.Random(seed)
    folder = tmp_path_factory.mktemp("state") / "shop"
    shutil.copytree(shop, folder)
    (folder / "home" / "audiences.json").write_text('{"regulars": "sessions > 1", "others": "items > 1"}')
    files = sorted(file for file in (folder / "home").rglob("*") if file.is_file())
    for _ in range(chance.choice([1, 1, 2])):
        with contextlib.suppress(OSError):
            damage(folder / "home", chance.choice(files), chance)
    command = chance.choice(READING)
    form = chance.choice([(), ("--json",)]) if command[0] not in ("export", "report", "repair", "open") else ()
    try:
        named = () if command[0] == "sources" else ("--config", "persona.yaml")
        expect_an_answer(asked(folder, *command, *form, *named), (*command, *form))
    finally:
        shutil.rmtree(folder.parent)
