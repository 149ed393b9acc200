"""The gallery as one page of HTML: no script, no font, no picture from anywhere else."""

from __future__ import annotations

import datetime as dt
from importlib import resources
from typing import Any, Literal

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from persona_pipelines.gallery import drawings
from persona_pipelines.gallery.content import Card, Gallery
from persona_pipelines.gallery.texts import LIFECYCLE, TEXTS, WEEKDAYS
from persona_pipelines.warehouse.described import ENGLISH, FEATURES

Language = Literal["en", "zh"]


def page(gallery: Gallery, language: Language) -> str:
    """The whole page. What comes from the data is escaped; the same data give the same bytes."""
    words = TEXTS[language]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"number": _number, "percent": _percent, "money": _number}
    template = environment.from_string(resources.files("persona_pipelines.gallery").joinpath("page.html").read_text(encoding="utf-8"))
    names = [_named(card, language) for card in gallery.cards if card.details is not None]
    return template.render(
        words=words,
        language=language,
        gallery=gallery,
        names=names,
        cards=[_drawn(card, number, language) for number, card in enumerate(gallery.cards)],
        map=Markup(drawings.scatter(gallery.places, gallery.groups, names, words["map"])) if len(gallery.places) else "",  # noqa: S704 - made of numbers here
        marks=[Markup(drawings.legend_mark(number)) for number in range(len(names))],  # noqa: S704
        movement=_movement(gallery),
        accounting=gallery.accounting.to_dict("records"),
        predictions=gallery.predictions.to_dict("records"),
        drivers={target: [_label(name, language) for name in rows["feature"]] for target, rows in gallery.drivers.groupby("target")},
        unusual=[
            {**row, "day": f"{row['day']:%Y-%m-%d}" if isinstance(row["day"], (dt.date, dt.datetime)) else str(row["day"])}
            for row in gallery.unusual_days.to_dict("records")
        ],
    )


def _drawn(card: Card, number: int, language: Language) -> dict[str, Any]:
    words, colour = TEXTS[language], drawings.COLOURS[number % len(drawings.COLOURS)]
    found: dict[str, Any] = {"card": card, "name": _named(card, language), "colour": colour}
    if card.details is None:
        return found
    details = card.details
    name = found["name"]
    interests = [(category, share, f"{share:.0%}") for category, share in details["interests"]]
    apart = [(_phrase(entry, language), entry["deviation"]) for entry in details["apart"]]
    advice = [text for entry in details["apart"] if isinstance(text := entry["advice" if language == ENGLISH else "advice_zh"], str)]
    svg = {
        "mark": drawings.legend_mark(number),
        "interests": drawings.bars(interests, f"{name}: {words['interests']}", colour),
        "apart": drawings.deviations(apart, f"{name}: {words['apart']}", colour),
        "rhythm": drawings.heat_map(details["rhythm"], WEEKDAYS[language], f"{name}: {words['rhythm']}", colour) if details["rhythm"] is not None else "",
        "trend": drawings.line(details["sizes"], f"{name}: {words['trend']}", colour) if len(details["sizes"]) > 1 else "",
    }
    described = details["description"] if language == "en" else _described(card, apart)
    examples = [
        {**example, "stage": example["stage"] if language == "en" else LIFECYCLE.get(example["stage"], example["stage"])}
        for example in details["examples"]
    ]
    return (
        found
        | {
            "svg": {key: Markup(value) for key, value in svg.items()},  # noqa: S704 - drawings escape what comes from the data
            "description": described,
            "advice": advice[:4],
            "examples": examples,
        }
    )


def _named(card: Card, language: Language) -> str:
    """The segment's name; in Chinese with the two clearest of its traits, as names are made in English."""
    if language == "en" or card.details is None:
        return card.name
    traits = "·".join(_phrase(entry, language) for entry in card.details["apart"][:2])
    return f"{traits}（{card.name}）" if traits else card.name


def _described(card: Card, apart: list[tuple[str, float]]) -> str:
    assert card.details is not None
    clear = [text for text, _ in apart][:5]
    told = f"占全部用户的 {card.share:.0%}。" + (f"与其他用户相比：{'、'.join(clear)}。" if clear else "各方面接近平均。")
    categories = [category for category, _ in card.details["interests"][:3]]
    return told + (f"注意力主要在：{'、'.join(categories)}。" if categories else "")


def _phrase(entry: dict[str, Any], language: Language) -> str:
    return entry["phrase" if language == ENGLISH else "phrase_zh"]


def _label(feature: str, language: Language) -> str:
    return (FEATURES[feature].labels[language] if feature in FEATURES else "") or feature.replace("_", " ")


def _movement(gallery: Gallery) -> dict[str, Any]:
    """Users who stayed, and the moves of at least as many users as a card may show."""
    table = gallery.movement
    if table.empty:
        return {"stayed": 0, "moved": 0, "rows": []}
    same = table["from_segment"] == table["to_segment"]
    moves = table[~same & (table["users"] >= gallery.minimum)].sort_values("users", ascending=False)
    return {"stayed": int(table[same]["users"].sum()), "moved": int(table[~same]["users"].sum()), "rows": moves.to_dict("records")}


def _number(value: Any) -> str:
    if value is None or value != value:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:,.2f}"


def _percent(value: Any) -> str:
    return "–" if value is None or value != value else f"{value:.0%}"
