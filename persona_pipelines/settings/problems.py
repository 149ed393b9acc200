"""What is wrong with a configuration, in words: where it stands, what was found, what is expected."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from persona_pipelines.settings.strict import NOT_WRITTEN, PATTERNS_IN_WORDS
from persona_pipelines.vocabulary import LOG_FORMATS

TAGS = {"type", "method"}
"""The fields by which a class of a union is chosen."""
NO_OBJECT = ("model_type", "model_attributes_type", "dict_type")
"""Types of problems where an object with names and values is expected."""
_IN_WORDS = {
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_inexact", "date_from_datetime_parsing"), "a date such as 2026-01-31"),
    **dict.fromkeys(NO_OBJECT, "an object with names and values"),
    "string_type": "a text",
    "string_unicode": "a text of Unicode",
    "list_type": "a list",
}
"""What pydantic says of types, in words; its other messages say what is expected by themselves."""
_FORMAT_TAGS = ("csv", "json", "json_lines", "access_log", "w3c", "parquet")


def problems_of(error: ValidationError, model: type[BaseModel], file: str, text: str) -> list[str]:
    """A line a problem: the file and the line in it, the setting, what was found, what is expected.

    Args:
        file: its name; ``text``: what it holds, of which YAML makes something.
    """
    found = zip(_told(error), problems_in(error, model), strict=True)
    return [f"{file}, line {line_of(text, [*problem['loc'], *_named(problem['msg'])])}: {told}" for problem, told in found]


def _told(error: ValidationError) -> list[ErrorDetails]:
    """The problems without what follows from others: a list is too short, as pydantic counts, where something in it is wrong."""
    places = [problem["loc"] for problem in error.errors()]
    return [
        problem
        for problem in error.errors()
        if problem["type"] != "too_short"
        or not any(place != problem["loc"] and place[: len(problem["loc"])] == problem["loc"] for place in places)
    ]


def _named(message: str) -> list[Any]:
    """The setting that a message of our own begins with, as parts of a place."""
    begin = re.match(r"Value error, ([a-z_]\w*(?:\.\w+|\[\d+\])*): ", message)
    return [int(part) if part.isdigit() else part for part in re.findall(r"\w+", begin[1])] if begin else []


def line_of(text: str, location: Sequence[Any]) -> int:
    """The line of a setting in a text of YAML, of what it would stand in where it is not there.

    Args:
        location: keys and places in lists, from the outermost on.
    """
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert node is not None, "nothing in it is wrong where nothing is in it"
    line = node.start_mark.line
    for part in location:
        if isinstance(node, yaml.MappingNode):
            # Which class of a union was tried is a part that is no key.
            line, node = next(((key.start_mark.line, value) for key, value in node.value if key.value == str(part)), (line, node))
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return line + 1


def problems_in(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """The setting, what was found, what is expected, of each problem."""
    lines = []
    for problem in _told(error):
        place, context = place_of(problem["loc"]), problem.get("ctx", {})
        if problem["type"] == "union_tag_invalid":
            place = f"{place}.{context['discriminator'].strip(chr(39))}"
            names = [tag.strip(" '") for tag in context["expected_tags"].split(",")]
            expected = f"expected one of {', '.join([*names, *(LOG_FORMATS if set(_FORMAT_TAGS) & set(names) else ())])}"
            lines.append(f"{place}: found {context['tag']!r}; {expected}")
            continue
        if problem["type"] == "extra_forbidden":
            *inside, name = problem["loc"]
            known = _known(model, inside)
            a_level_above = name in _known(model, _above(inside)) - known
            message = "not a setting known here" + ("; it is one of those a level above" if a_level_above else _instead(str(name), known))
        elif problem["type"] == "missing":
            message = "not given; expected a value"
        elif problem["type"] == "union_tag_not_found":
            message = f"{context['discriminator'].strip(chr(39))} is not given; expected a value"
        elif problem["type"] in NO_OBJECT:
            message = f"expected settings: names and values{_such_as(problem, model)}"
        else:
            message = expected_of(problem)
        unsaid = problem["type"] == "missing" or (isinstance(problem["input"], dict) and problem["type"] != "list_type")
        found = "" if unsaid else f"found {shortened(problem['input'])}; "
        lines.append(f"{place + ': ' if place else ''}{found}{message}")
    return lines


def expected_of(problem: ErrorDetails) -> str:
    """What is expected where a value does not pass: ``expected a whole number``; a message of our own as it is."""
    kind = problem["type"]
    if kind == "string_pattern_mismatch":
        return f"expected {PATTERNS_IN_WORDS[problem['ctx']['pattern']]}"
    if kind in _IN_WORDS:
        return f"expected {_IN_WORDS[kind]}"
    message = re.sub(
        r"^\w+(?: \w+)? should (?:be|have) (?:(?=an? valid)(an? )valid )?", r"expected \1", problem["msg"].removeprefix("Value error, ")
    )
    return re.sub(r" after validation, not \d+$", "", message)


def shortened(value: Any) -> str:
    """What was found, as it is shown: short, and without the user and password of an address."""
    text = re.sub(r"(\w://)\S*@", r"\1***@", repr(value))
    return text if len(text) <= 80 else text[:77] + "..."


def place_of(location: tuple[Any, ...]) -> str:
    """How a setting is called."""
    text, previous = "", None
    for part in location:
        if previous != "format" or part not in _FORMAT_TAGS:  # which class of formats was tried is no part of the file
            shown = "" if part == "[key]" else f"[{part}]" if isinstance(part, int) else f".{part or repr(part)}"
            text += shown if text else str(part)
        previous = part
    return text


def _instead(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; expected {close[0]}?" if close else f"; expected one of {', '.join(sorted(known))}" if known else ""


def _such_as(problem: ErrorDetails, model: type[BaseModel]) -> str:
    """How the settings begin that are meant by a name alone: ``{method: most_popular}``."""
    for one in _models_at(model, problem["loc"]):
        for tag in sorted(TAGS & set(one.model_fields)):
            if problem["input"] in get_args(one.model_fields[tag].annotation):
                return f", such as {{{tag}: {problem['input']}}}"
    return ""


def _above(location: Sequence[Any]) -> Sequence[Any]:
    """The place around a place; which class of formats was tried is none."""
    return location[:-2] if location and location[-1] in _FORMAT_TAGS else location[:-1]


def _known(model: type[BaseModel], location: Sequence[Any]) -> set[str]:
    """The names of the settings that stand at a place."""
    return {field.alias or name for one in _models_at(model, location) for name, field in one.model_fields.items()} - set(NOT_WRITTEN)


def _models_at(model: type[BaseModel], location: Sequence[Any]) -> list[type[BaseModel]]:
    """The models of which one stands at a place; which class of a union was tried is a part of it that is no field."""
    models = [model]
    for part in location:
        inner = [one for outer in models if part in outer.model_fields for one in models_in(outer.model_fields[part].annotation)]
        tagged = [
            one
            for one in models
            if part in [tag for name in TAGS & set(one.model_fields) for tag in get_args(one.model_fields[name].annotation)]
        ]
        models = inner or tagged or models
    return models


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models that stand in an annotation, at whatever depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)
