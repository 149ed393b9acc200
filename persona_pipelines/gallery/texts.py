"""The words of the page, one file a language (``languages/``); what comes from the data stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, Language] = ("en", "zh")
WEEKDAYS = {"en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"), "zh": ("周一", "周二", "周三", "周四", "周五", "周六", "周日")}


def page_name(language: Language) -> str:
    """The file of the gallery that a run writes in a language."""
    return f"persona-gallery-{language}.html"


@dataclass(frozen=True)
class Texts:
    """The words of one language: ``texts("of_all", share="3%")``, ``texts.count("users", 1)``."""

    language: Language
    entries: Mapping[str, Any]

    def __call__(self, key: str, **figures: Any) -> str:
        return str(self.entries[key]).format(**figures) if figures else str(self.entries[key])

    def count(self, key: str, number: float, shown: str | None = None, **figures: Any) -> str:
        """An entry with one and other, by a number, which may be shown otherwise; other figures by their names."""
        form = "one" if number == 1 else "other"
        return str(self.entries[key][form]).format(n=f"{number:,.0f}" if shown is None else shown, **figures)

    def listed(self, parts: list[str]) -> str:
        """Several words in a sentence."""
        return parts[0] if len(parts) == 1 else self("comma").join(parts[:-1]) + self("and") + parts[-1] if parts else ""


@cache
def texts_of(language: Language) -> Texts:
    folder = resources.files("persona_pipelines.gallery").joinpath("languages")
    return Texts(language, yaml.safe_load(folder.joinpath(f"{language}.yaml").read_text(encoding="utf-8")))


def numeral(value: float) -> str:
    """A number with separators: whole from 100 on."""
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:,.2f}"


def decimal(value: float) -> str:
    return f"{value:.2f}"


def percent(value: float) -> str:
    return f"{value:.0%}".replace("-0%", "0%")


def of_100(value: float) -> str:
    """A mean chance as so many of a hundred people."""
    return f"{100 * value:.0f}"
