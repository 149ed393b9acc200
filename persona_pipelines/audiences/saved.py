"""Audiences by name: their conditions, in a file of the state folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import texts_by_name, write_whole
from persona_pipelines.settings import Settings
from persona_pipelines.suggestions import suggestion

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
OF_SEGMENT = "segment-"
"""Begin of the names of the audiences that segments have by themselves; a number follows."""


class AudienceError(ProjectError):
    """There is no such audience, or it cannot have this name; the message says which there are."""


def _file(settings: Settings) -> Path:
    return settings.home / "audiences.json"


def audiences(settings: Settings) -> dict[str, str]:
    """Conditions by name, in the order of the names.

    Raises:
        AudienceError: the file cannot be read.
    """
    file = _file(settings)
    if not file.exists():
        return {}
    try:
        return dict(sorted(texts_by_name(file).items()))
    except ValueError as error:
        raise AudienceError(f"{error}; persona repair moves it aside") from None


def save(settings: Settings, name: str, condition: str) -> None:
    """Keep a condition by name; one of the same name is replaced. The file is written whole or not at all.

    Raises:
        AudienceError: the name has other characters than small letters, digits, - and _, or is that of a segment's own audience.
    """
    if name.startswith(OF_SEGMENT) and name.removeprefix(OF_SEGMENT).isdigit():
        raise AudienceError(f"found {name!r}, which is the audience that the segment has by itself; expected another name")
    if not NAME.fullmatch(name):
        raise AudienceError(f"found {name!r}; expected a name of small letters, digits, - and _")
    write_whole(_file(settings), json.dumps({**audiences(settings), name: condition}, indent=1, ensure_ascii=False))


def delete(settings: Settings, name: str) -> str:
    """Forget an audience; its condition.

    Raises:
        AudienceError: there is none of this name.
    """
    condition = condition_of(settings, name)
    kept = {other: text for other, text in audiences(settings).items() if other != name}
    write_whole(_file(settings), json.dumps(kept, indent=1, ensure_ascii=False))
    return condition


def condition_of(settings: Settings, name: str, also: Sequence[str] = ()) -> str:
    """The condition of a saved audience.

    Args:
        also: names of other audiences that there are.
    Raises:
        AudienceError: there is none of this name.
    """
    known = audiences(settings)
    if name not in known:
        there = [*known, *also]
        raise AudienceError(
            f"no audience {name!r}{suggestion(name, there)}; there are {', '.join(there)}"
            if there
            else f"no audience {name!r}; there are none yet: persona audience save NAME --where CONDITION"
        )
    return known[name]
