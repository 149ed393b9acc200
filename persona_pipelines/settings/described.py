"""The page of all settings, made from their classes: what stands in the code stands on the page."""

from __future__ import annotations

import datetime as dt
import enum
import inspect
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from persona_pipelines.settings.strict import MOST_OF_A_TIME, NOT_WRITTEN, PATTERNS_IN_WORDS
from persona_pipelines.settings.whole import Settings

LONGEST_DEFAULT = 80
"""Characters of a default beyond which the page says how long it is."""
PLAIN = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    dt.date: "day",
    dt.datetime: "day and time",
    type(None): "none",
    SecretStr: "text that is not shown",
}
BY_THE_FILE: dict[tuple[type[BaseModel], str], str] = {(Settings, "name"): "the file's name"}
"""Settings that have to be there, and that loading adds where they are not written."""
HEAD = """# Settings

Made from the classes in `persona_pipelines/settings/` by `make dictionary`; a test checks that it is current. One YAML file has them all
([bring your own logs](bring-your-own-logs.md) explains them by use, `data/persona.yaml` is one). An unknown name, a wrong type or a value out of bounds is an error that
names the place; `persona sources check FILE` tells without loading anything.

A heading is a place in the file: `sources[]` is an element of the list `sources`, `fields.*` whatever name stands there. Where nothing is said of bounds, whole numbers reach
up to 2,147,483,647 and times up to a century. `${NAME}` and `${NAME:-default}` in any value are taken from the environment."""


def classes() -> list[tuple[str, type[BaseModel]]]:
    """Every class of settings with the nearest place where it may stand, in the order of the whole file."""
    found: dict[type[BaseModel], str] = {Settings: ""}
    waiting: list[type[BaseModel]] = [Settings]
    for model in waiting:
        for name, field in written(model):
            for step, inner in _models(field.annotation):
                if inner not in found:
                    found[inner] = f"{found[model]}.{name}{step}".lstrip(".")
                    waiting.append(inner)
    order = ["", *(name for name, _ in written(Settings))]
    return sorted(((place, model) for model, place in found.items()), key=lambda entry: order.index(re.split(r"[.\[]", entry[0])[0]))


def written(model: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    """The settings of a class by the names that a configuration has for them, its own before those that it shares with others."""
    fields = [(name, field) for name, field in model.model_fields.items() if model is not Settings or name not in NOT_WRITTEN]
    fields.sort(key=lambda entry: entry[0] not in model.__annotations__)
    return [(field.alias or name, field) for name, field in fields]


def settings_page() -> str:
    """Markdown: every class of settings as a table of its settings, with type, default, bounds and meaning."""
    found = classes()
    headings = {model: _heading(place, model) for place, model in found}
    lines = [HEAD]
    for place, model in found:
        words = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")
        lines += ["", f"{'###' if '.' in place.removesuffix('.*') else '##'} {f'`{headings[model]}`' if place else headings[model]}", ""]
        lines += [words, ""] if words else []
        lines += ["| setting | type | default | bounds | meaning |", "| --- | --- | --- | --- | --- |"]
        for name, field in written(model):
            cells = [
                _type(field.annotation, headings),
                BY_THE_FILE.get((model, name)) or _default(field),
                _bounds(name, field),
                field.description or "",
            ]
            lines.append(f"| `{name}` | {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _heading(place: str, model: type[BaseModel]) -> str:
    told_apart = next((model.model_fields[name] for name in ("method", "type") if name in model.model_fields), None)
    kind = f": {told_apart.default}" if told_apart is not None and isinstance(told_apart.default, str) else ""
    return f"{place or 'The whole file'}{kind}"


def _anchor(heading: str) -> str:
    """The name by which GitHub links to a heading."""
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def _models(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """The classes of settings in a type, each with the step that leads to it from the setting."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    elif origin is Annotated:
        yield from _models(parts[0])
    elif origin in (list, tuple):
        yield from ((f"[]{step}", model) for part in parts for step, model in _models(part))
    elif origin is dict:
        yield from ((f".*{step}", model) for step, model in _models(parts[1]))
    elif origin in (Union, types.UnionType):
        yield from (found for part in parts for found in _models(part))


def _type(annotation: Any, headings: dict[type[BaseModel], str]) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[`{headings[annotation]}`](#{_anchor(headings[annotation])})"
    if origin is Annotated:
        return _type(parts[0], headings)
    if origin is Literal:
        return ", ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(part, headings) for part in parts if part is not type(None))
    if origin in (list, tuple):
        inner = " or ".join(dict.fromkeys(_type(part, headings) for part in parts))
        return f"list of {inner}"
    if origin is dict:
        return f"by name: {_type(parts[1], headings)}"
    return PLAIN.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    if field.default is PydanticUndefined:
        return "by the machine"
    plain = _plain(field.default)
    if isinstance(field.default, BaseModel):
        return "see there"
    if isinstance(field.default, list) and any(isinstance(entry, BaseModel) for entry in field.default):
        return f"{len(field.default)} entries"
    if plain is None:
        return "none"
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True).removesuffix("...\n").strip()
    return f"{len(plain)} entries" if len(text) > LONGEST_DEFAULT else f"`` {text} ``" if "`" in text else f"`{text}`"


def _plain(value: Any) -> Any:
    """A default as YAML has it."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, dt.datetime) and value.time() == dt.time():
        return value.date()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _bounds(name: str, field: FieldInfo) -> str:
    words: dict[str, str] = {}
    for metadata in (*field.metadata, *_inner_metadata(field.annotation)):
        for attribute, word in (
            ("ge", "from"),
            ("gt", "above"),
            ("le", "to"),
            ("lt", "below"),
            ("min_length", "at least"),
            ("max_length", "at most"),
        ):
            value = getattr(metadata, attribute, None)
            if value is not None:
                counted = f" {_counted(field.annotation, value)}" if attribute.endswith("length") else ""
                words.setdefault(attribute, f"{word} {value:,.12g}{counted}")
        pattern = getattr(metadata, "pattern", None)
        if isinstance(pattern, str):
            words.setdefault("pattern", PATTERNS_IN_WORDS.get(pattern, f"`{pattern}`"))
    most = next((most for end, most in MOST_OF_A_TIME.items() if name.endswith(end)), None)
    if most is not None and not {"le", "lt"} & set(words):
        words["le"] = f"to {most:,}"
    if "min_length" in words and words["min_length"].partition("least ")[2] == words.get("max_length", "").partition("most ")[2]:
        words = {**words, "min_length": f"exactly {words.pop('max_length').partition('most ')[2]}"}
    return " ".join(words[attribute] for attribute in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern") if attribute in words)


def _inner_metadata(annotation: Any) -> Iterator[Any]:
    """What is said of the values of a type that may be none, beside the setting itself."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        for part in parts:
            yield from _inner_metadata(part)
    elif origin is Annotated:
        yield from parts[1:]


def _counted(annotation: Any, number: int) -> str:
    """What the length of a value of the type counts."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _counted(next(part for part in parts if part is not type(None)), number)
    if origin is Annotated:
        return _counted(parts[0], number)
    one, more = ("character", "characters") if annotation is str else ("entry", "entries")
    return one if number == 1 else more
