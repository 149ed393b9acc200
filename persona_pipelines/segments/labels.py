"""Names and notes that people give to segments, in a file of the state folder: by the segment's number, so that they outlast trainings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import objects_by_number, write_whole
from persona_pipelines.settings import Settings

LONGEST_NAME, LONGEST_NOTE = 60, 600


class LabelError(ProjectError):
    """The name or note cannot be given, or the file cannot be read; the message says why."""


@dataclass(frozen=True)
class Label:
    """What people call a segment, and what they have written about it; empty where they have not."""

    name: str = ""
    note: str = ""


def _file(settings: Settings) -> Path:
    return settings.home / "segments.json"


def labels(settings: Settings) -> dict[int, Label]:
    """Labels by the segments' numbers.

    Raises:
        LabelError: the file cannot be read.
    """
    file = _file(settings)
    if not file.exists():
        return {}
    try:
        found = objects_by_number(file)
    except ValueError as error:
        raise LabelError(f"{error}; persona repair moves it aside") from None
    return {number: Label(str(entry.get("name", "")), str(entry.get("note", ""))) for number, entry in found.items()}


def give_label(
    settings: Settings, segment: int, name: str | None = None, note: str | None = None, names: Mapping[int, str] | None = None
) -> Label:
    """Give a segment a name or a note; an empty one takes it back.

    Args:
        names: what the segments are called now.
    Raises:
        LabelError: it is too long or holds characters that are no text, or another segment has the name or has been given it.
    """
    known = labels(settings)
    for what, text, longest in (("name", name, LONGEST_NAME), ("note", note, LONGEST_NOTE)):
        if text is not None and (len(text) > longest or not (text.isprintable() and text == text.strip())):
            raise LabelError(
                f"found {text[:20]!r}; expected a {what} of at most {longest} characters on one line, without blanks around it"
            )
    called = [*(names or {}).items(), *((number, label.name) for number, label in known.items())]
    if name and (taken := [number for number, other in called if other == name and number != segment]):
        raise LabelError(f"segment {taken[0]} is called {name!r} already; expected another name")
    found = known.get(segment, Label())
    found = replace(found, name=found.name if name is None else name, note=found.note if note is None else note)
    kept = {number: label for number, label in {**known, segment: found}.items() if label != Label()}
    write_whole(
        _file(settings), json.dumps({str(number): asdict(label) for number, label in sorted(kept.items())}, indent=1, ensure_ascii=False)
    )
    return found
