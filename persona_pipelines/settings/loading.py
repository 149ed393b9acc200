"""The configuration file: read as plain YAML, variables put in, every wrong setting named."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from persona_pipelines.errors import ProjectError, plain
from persona_pipelines.settings.problems import line_of, place_of, problems_of, shortened
from persona_pipelines.settings.strict import (
    NOT_WRITTEN,
)
from persona_pipelines.settings.whole import Settings

MAX_CONFIGURATION_BYTES = 1 << 20
DEFAULT_CONFIGURATION = Path("data/persona.yaml")


class ConfigurationError(ProjectError):
    """The configuration cannot be used. The message names the file, the setting, what was found and what is expected."""

    several_lines = True


_VARIABLE = re.compile(r"\$\{([A-Z_][A-Z0-9_]*)(?::-([^}]*))?\}")


def _expanded(value: Any, location: tuple[Any, ...], file: str, text: str) -> Any:
    """A value of the file ``file``, which holds ``text``, with what the environment says in the place of ${NAME}."""
    if isinstance(value, dict):
        return {key: _expanded(entry, (*location, key), file, text) for key, entry in value.items()}
    if isinstance(value, list):
        return [_expanded(entry, (*location, index), file, text) for index, entry in enumerate(value)]
    if not isinstance(value, str):
        return value

    def substitute(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise ConfigurationError(
                f"{file}, line {line_of(text, location)}: {place_of(location)}: the environment variable {match[1]} is not set, and there is no default"
            )
        return found

    return _VARIABLE.sub(substitute, value)


class PlainLoader(yaml.SafeLoader):
    """Safe YAML without aliases: a few hundred bytes of them can expand to gigabytes; and a doubled key is an error.

    Words and numbers stay as they are written, whatever YAML 1.1 takes them for (NO for false, 007 for 7, 12:30:00 for 45000): what a log
    has is compared with them. A setting that is a number, a date or a switch is read from the text.
    """

    # Only null and whole numbers as programs write them are more than text.
    yaml_implicit_resolvers = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not supported", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(None, None, "a list or object stands for a key; expected a text", key.start_mark)
            key.tag = "tag:yaml.org,2002:str"  # null, true and 7 are names here, as they stand
            if key.value in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value!r} stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


for _tag, _pattern, _begins in (
    ("null", r"(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"(?:0|-?[1-9][0-9]*)$", list("-0123456789")),
):
    PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _begins)


def _without_odd_characters(home: Path) -> Path:
    """A name of the state folder that can be part of an address.

    Dagster pastes it into one, where ``%`` begins a code. A folder with it in its name is reached by a link in a folder of the
    user's own among the temporary files, made anew whenever it is missing.

    Raises:
        ConfigurationError: there can be no such link; or ``?`` is in the name, before which DuckDB would put its journal.
    """
    if "?" in str(home):
        raise ConfigurationError(
            f"PERSONA_HOME: found {home}; expected a folder without ? in its name: DuckDB cannot keep its journal there"
        )
    if "%" not in str(home):
        return home
    own = Path(tempfile.gettempdir()) / f"persona-pipelines-{os.getuid()}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        own.mkdir(mode=0o700, exist_ok=True)
        link = own / hashlib.sha256(str(home).encode()).hexdigest()[:16]
        if own.is_symlink() or own.stat().st_uid != os.getuid() or own.stat().st_mode & 0o077:
            raise ConfigurationError(f"{own} can be written by others; set PERSONA_HOME to a folder without % in its name")
        if not link.is_symlink():
            link.symlink_to(home, target_is_directory=True)
    except OSError as error:
        raise ConfigurationError(f"{home}: cannot be used as the state folder ({error.strerror}); set PERSONA_HOME to another") from None
    return link


IN_WORDS = {
    "found character '\\t' that cannot start any token": "found a tab; expected blanks before the name",
    "expected <block end>, but found": "found a line that stands further in or out than those around it; expected the same number of blanks",
    "found unexpected end of stream": "found the end of the file within a text in quotes; expected a closing quote",
    "but found another document": "found a second document after ---; expected one",
    "mapping values are not allowed here": "found a second colon in a line; expected a text with a colon in quotes",
}
"""What the parser says, and what it means to who wrote the file."""


def _in_words(problem: str) -> str:
    return next((words for begin, words in IN_WORDS.items() if problem.startswith(begin)), problem)


def project_folder() -> Path | None:
    """The nearest folder with ``data/persona.yaml`` from the current one upwards, as git finds its ``.git``; None where there is none."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / DEFAULT_CONFIGURATION).is_file()), None)


def as_named(file: Path) -> str:
    """How a configuration is named to a command that is typed in its project folder, or its own where it is in none; empty where it is found by itself."""
    project = next((folder for folder in file.parents if (folder / DEFAULT_CONFIGURATION).is_file()), file.parent)
    name = file.relative_to(project)
    return "" if name == DEFAULT_CONFIGURATION else name.as_posix()


def _of_a_log(file: Path) -> str:
    """What to do where somebody gives a log in place of a configuration."""
    return "" if file.suffix.lower() in (".yaml", ".yml") else f" (where {file.name} is a log: persona init makes a configuration for it)"


def load_settings(file: str | Path | None = None) -> Settings:
    """Read and validate the configuration: the one that is named, else PERSONA_CONFIG, else that of the project folder.

    State is kept in PERSONA_HOME, else below ``.persona`` of the project folder, else of the current one: the same from every folder inside.

    Raises:
        ConfigurationError: the file is missing, unreadable, not YAML, or a setting is wrong; every wrong setting is named.
    """
    if file is not None and not str(file):
        raise ConfigurationError("--config: found ''; expected a configuration file")  # a variable that is not set, say
    project = project_folder()
    path = Path(file or os.environ.get("PERSONA_CONFIG") or (project or Path.cwd()) / DEFAULT_CONFIGURATION).absolute()
    shown = os.path.relpath(path)
    try:
        if path.stat().st_size > MAX_CONFIGURATION_BYTES:
            raise ConfigurationError(f"{shown}: larger than {MAX_CONFIGURATION_BYTES} bytes; expected a configuration file")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        where = "" if file or project or "PERSONA_CONFIG" in os.environ else ", here or in any folder above"
        raise ConfigurationError(
            f"{shown}: cannot be read ({error.strerror}{where}); expected a configuration file (--config FILE or PERSONA_CONFIG names another)"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{shown}: not UTF-8 text at byte {error.start}; expected UTF-8: save the file so{_of_a_log(path)}"
        ) from None
    try:
        content = yaml.load(text, Loader=PlainLoader)  # noqa: S506 - derived from SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(
            f"{shown}{line}: not readable as YAML: {_in_words(str(getattr(error, 'problem', None) or error))}"
        ) from None
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{shown}: found {shortened(content)}; expected settings, at least start_date and sources{_of_a_log(path)}"
        )
    content = _expanded(content, (), shown, text)
    # A file may be called anything: what a name cannot have becomes a hyphen.
    content.setdefault("name", re.sub(r"[^a-z0-9._]+", "-", path.stem.lower()).strip("-._")[:48] or "persona")
    for reserved in NOT_WRITTEN:
        if reserved in content:
            raise ConfigurationError(f"{shown}: {reserved}: not a setting")
    home = os.environ.get("PERSONA_HOME") or (project or Path.cwd()) / ".persona" / str(content["name"])
    try:
        return Settings(**content, file=path, home=_without_odd_characters(Path(home).absolute()))
    except ValidationError as error:
        raise ConfigurationError("\n".join(map(plain, problems_of(error, Settings, shown, text)))) from None
