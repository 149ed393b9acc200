"""What somebody may have meant who has mistyped a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggestion(found: str, known: Iterable[str]) -> str:
    """The words that ask whether the most similar of the known names was meant; nothing where none is similar.

    >>> suggestion("Night owl", ["Night owls", "Early birds"])
    " (did you mean 'Night owls'?)"
    """
    by_letters = {name.casefold(): name for name in known}
    asked = found.casefold()
    alike = difflib.get_close_matches(asked, by_letters, n=1) or [name for name in by_letters if asked and asked in name]
    return f" (did you mean {by_letters[alike[0]]!r}?)" if alike else ""
