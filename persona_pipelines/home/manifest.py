"""What is known of a state folder outside of its tables, so that a lost, changed or foreign file is noticed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import write_whole

FILE = "manifest.json"


class HomeError(ProjectError):
    """The state folder cannot be used as it is; the message says what was found and what to do."""


@dataclass
class Manifest:
    """The state as it was left.

    Attributes:
        key: the fingerprint of the key of the pseudonyms (``privacy.pseudonyms.fingerprint``).
        being_written: whether a run has the warehouse open; found so by the next one, its process has died.
        warehouse: SHA-256 of the warehouse file as it was closed; empty where it never was.
        published: SHA-256 of the published copy.
        engine: version of the engine by which ``digests`` were made.
        rows, digests: of the published tables, by their full name.
        pages: SHA-256 of the published pages, by their name.
    """

    key: str = ""
    being_written: bool = False
    warehouse: str = ""
    published: str = ""
    engine: str = ""
    rows: dict[str, int] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)

    def save(self, home: Path) -> None:
        write_whole(home / FILE, json.dumps(asdict(self), indent=1))


def read_manifest(home: Path) -> Manifest:
    """The manifest of a home; an empty one where there is none yet, as in homes of earlier versions.

    Raises:
        HomeError: it cannot be read.
    """
    file = home / FILE
    if not file.exists():
        return Manifest()
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"found {type(content).__name__}; expected an object")
        blank = vars(Manifest())
        wrong = [name for name, value in blank.items() if not isinstance(content.get(name, value), type(value))]
        if wrong:
            raise ValueError(f"{wrong[0]}: found {content[wrong[0]]!r}")
    except (OSError, ValueError) as error:
        raise HomeError(f"{file}: cannot be read as a manifest ({error}); persona repair makes it again") from None
    return Manifest(**{name: content[name] for name in blank if name in content})
