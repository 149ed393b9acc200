"""Whether a written page is whole: a card for each segment of the tables, in its own language, and nothing that a browser would fetch."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from html.parser import HTMLParser

from persona_pipelines.findings import Finding

FETCHES = ("src", "srcset", "data", "poster", "background", "action", "xlink:href")
"""Attributes whose address a browser fetches by itself."""
FETCHES_BY_STYLE = re.compile(r"url\(|@import", re.IGNORECASE)


class _Page(HTMLParser):
    """What a page says of itself: its language, the ids of its elements, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.language: str | None = None
        self.ids: set[str] = set()
        self.loads: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        values = dict(attrs)
        if tag == "html":
            self.language = values.get("lang")
        self.ids |= {value for name, value in attrs if name == "id" and value}
        self.loads += [f"{tag} {name}" for name, value in attrs if name in FETCHES and value]
        self.loads += [f"{tag} {name}" for name, value in attrs if name == "href" and tag not in ("a", "area") and value]
        self.loads += [tag] if tag in ("script", "iframe", "object", "embed") else []
        self.loads += ["style"] if FETCHES_BY_STYLE.search(values.get("style") or "") else []

    def handle_data(self, data: str) -> None:
        self.loads += ["style"] if self._inside == "style" and FETCHES_BY_STYLE.search(data) else []


def pages_are_whole(pages: Mapping[str, str], segments: Collection[int]) -> Finding:
    """Whether every page has a card for every segment, says its language, and loads nothing.

    Args:
        pages: the text of each by its language.
        segments: the ids of those in the tables.
    """
    told: list[str] = []
    cards = 0
    for language, text in pages.items():
        page = _Page(text)
        missing = [segment for segment in segments if f"segment-{segment}" not in page.ids]
        cards += len(segments) - len(missing)
        if missing:
            told.append(f"{language}: no card of segment {', '.join(map(str, missing))}")
        if page.language != language:
            told.append(f"{language}: the page says that its language is {page.language}")
        if page.loads:
            told.append(f"{language}: a browser would load {', '.join(dict.fromkeys(page.loads))}")
    return Finding(not told, "; ".join(told) or None, {"pages": len(pages), "cards": cards})
