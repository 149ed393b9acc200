"""What tells an error that a person can act on from a fault of this package; and texts that no terminal acts on."""

from __future__ import annotations

from typing import ClassVar


class ProjectError(Exception):
    """Something outside of this package stands in the way; the message says what was found, and what is expected or to be done.

    Names of files, cells and settings come from outside: whatever they hold, the message is text in one line, or in those of ``several_lines``.
    """

    several_lines: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(plain(message, lines=self.several_lines))


def plain(text: str, lines: bool = False) -> str:
    """A text without characters that a terminal acts on: controls and marks that turn the direction of writing are written out.

    Args:
        lines: whether line breaks stay, as in messages that have several lines of their own.

    >>> plain("red \\x1b[31m text")
    'red \\\\x1b[31m text'
    """
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() or (lines and sign == "\n") else sign.encode("unicode_escape").decode() for sign in text)
