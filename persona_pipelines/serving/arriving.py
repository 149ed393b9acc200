"""How somebody came, by what an event or a request says: the names of groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

FACTS = ("campaign", "country", "referrer")
"""What events say of how somebody came."""


def group_of(fact: str, value: Any) -> str | None:
    """The group of a value, as ``country=NL``; of a referrer its site counts. None where there is none."""
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()
    if fact == "referrer":
        try:
            site = urlsplit(text if "//" in text else f"//{text}").hostname
        except ValueError:  # an address of no form
            return None
        if not site:
            return None
        text = site.removeprefix("www.")
    return f"{fact}={text}"


def place_of(places: Mapping[str, int], told: Mapping[str, Any]) -> int:
    """The first of some groups that an event or a request names; -1 for none.

    Args:
        places: of the groups, by name.
        told: ``FACTS``, each a text; None or left out where it is not known.
    """
    found = [places.get(group, -1) for fact in FACTS if (group := group_of(fact, told.get(fact))) is not None]
    return min((place for place in found if place >= 0), default=-1)
