"""What somebody may have meant who has mistyped a name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_PARTS = re.compile(r"(.*[./])?(.*)", re.DOTALL)


def suggestion(found: str, known: Iterable[str]) -> str:
    """The words that ask whether the most similar of the known names was meant; nothing where none is similar.

    Of names in parts (``events/sessions``, ``attributes.age``) those with the same first parts are looked at, and the last ones compared.

    >>> suggestion("Night owl", ["Night owls", "Early birds"])
    " (did you mean 'Night owls'?)"
    >>> suggestion("attributes.size", ["attributes.age"])
    ''
    """
    meant = nearest(found, known)
    return f" (did you mean {meant!r}?)" if meant is not None else ""


def nearest(found: str, known: Iterable[str]) -> str | None:
    """The most similar of the known names, as ``suggestion`` looks for it; None where none is similar.

    >>> nearest("Boks", ["Books", "Music"])
    'Books'
    """
    before, asked = _parts(found)
    by_letters = {last: name for name in known for first, last in [_parts(name)] if first == before}
    alike = difflib.get_close_matches(asked, by_letters, n=1) or [name for name in by_letters if asked and asked in name]
    return by_letters[alike[0]] if alike else None


def _parts(name: str) -> tuple[str, str]:
    match = _PARTS.fullmatch(name.casefold())
    assert match is not None
    return match[1] or "", match[2]
