"""What tells an error that a person can act on from a fault of this package."""

from __future__ import annotations


class ProjectError(Exception):
    """Something outside of this package stands in the way; the message says what was found, and what is expected or to be done."""
