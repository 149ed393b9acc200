"""Readable names for segments, from the features that set them apart from the average user."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from persona_pipelines.features.attributes import PREFIX

# What a high and a low value of a feature makes of a user: (as the noun of a name, as an adjective before it).
WORDS: dict[str, tuple[tuple[str, str], tuple[str, str]]] = {
    "recency_days": (("lapsed visitors", "Lapsed"), ("recent visitors", "Recent")),
    "active_days": (("regulars", "Regular"), ("occasional visitors", "Occasional")),
    "frequency": (("frequent buyers", "Often-buying"), ("non-buyers", "Rarely buying")),
    "monetary_value": (("big spenders", "High-spending"), ("small spenders", "Low-spending")),
    "sessions": (("frequent visitors", "Frequent"), ("rare visitors", "Rare")),
    "attention_ms_per_session": (("attentive readers", "Attentive"), ("quick glancers", "Hasty")),
    "items": (("wide browsers", "Wide-browsing"), ("narrow browsers", "Narrow-browsing")),
    "searches": (("searchers", "Searching"), ("non-searchers", "Rarely searching")),
    "social_actions": (("social sharers", "Social"), ("quiet visitors", "Quiet")),
    "ratings": (("raters", "Rating"), ("non-raters", "Rarely rating")),
    "impressions": (("message receivers", "Often-reached"), ("unreached visitors", "Unreached")),
    "category_entropy": (("explorers", "Exploring"), ("specialists", "Focused")),
    "night_share": (("night owls", "Night-time"), ("daytime visitors", "Daytime")),
    "evening_share": (("evening visitors", "Evening"), ("early visitors", "Early")),
    "weekend_share": (("weekenders", "Weekend"), ("weekday visitors", "Weekday")),
    "mobile_share": (("mobile visitors", "Mobile"), ("desktop visitors", "Desktop")),
    "price_level": (("premium lovers", "Premium"), ("bargain hunters", "Bargain-seeking")),
    "click_rate": (("message responders", "Responsive"), ("message ignorers", "Unresponsive")),
    "average_rating": (("enthusiasts", "Enthusiastic"), ("critics", "Critical")),
    "trend": (("rising visitors", "Rising"), ("fading visitors", "Fading")),
}


def distinguishing(columns: Sequence[str], centre: np.ndarray, count: int = 4) -> list[tuple[str, float]]:
    """The features furthest from the average, with their distance in standard deviations, largest first."""
    order = sorted(range(len(columns)), key=lambda number: (-abs(centre[number]), columns[number]))
    return [(columns[number], float(centre[number])) for number in order[:count]]


def segment_names(columns: Sequence[str], centres: np.ndarray) -> list[str]:
    """A name for each centre, no two alike: an adjective and a noun of its two strongest features that are free."""
    names: list[str] = []
    for centre in centres:
        ranked = distinguishing(columns, centre, len(columns))
        candidates = [
            f"{_word(*ranked[second], 1)} {_word(*ranked[first], 0)}" for second in range(1, len(ranked)) for first in range(second)
        ] or [_word(*ranked[0], 0).capitalize()]
        free = [name for name in candidates if name not in names]
        names.append(free[0] if free else f"{candidates[0]} {len(names) + 1}")
    return names


def _word(column: str, deviation: float, form: int) -> str:
    if column in WORDS:
        return WORDS[column][0 if deviation >= 0 else 1][form]
    name, value = _attribute(column)
    high = deviation >= 0
    if value is None:
        level = "high" if high else "low"
        return f"people of {level} {name}" if form == 0 else f"{level.capitalize()}-{name}"
    return f"people of {name} {'' if high else 'other than '}{value}" if form == 0 else f"{'' if high else 'Non-'}{value}".capitalize()


def _attribute(column: str) -> tuple[str, str | None]:
    """Name and, of categories, the value of a column ``attributes.NAME=VALUE``, in words."""
    name, _, value = column.removeprefix(PREFIX).partition("=")
    return name.replace("_", " "), value or None


def phrase(column: str, deviation: float) -> str:
    """What stands in a sentence for a feature that is above or below the average."""
    if column in PHRASES:
        return PHRASES[column][0 if deviation >= 0 else 1]
    name, value = _attribute(column)
    if value is None:
        return f"have a {'high' if deviation >= 0 else 'low'} {name}"
    return f"have {name} {value}" if deviation >= 0 else f"have another {name} than {value}"


def described(columns: Sequence[str], centre: np.ndarray) -> str:
    """The distinguishing features as text: ``monetary_value +1.8, recency_days -0.9``."""
    return ", ".join(f"{name} {deviation:+.1f}" for name, deviation in distinguishing(columns, centre) if deviation)


# What stands in a sentence about a segment for a feature that is above or below the average.
PHRASES: dict[str, tuple[str, str]] = {
    "recency_days": ("have not come for long", "came lately"),
    "active_days": ("come on many days", "come on few days"),
    "frequency": ("buy often", "hardly buy"),
    "monetary_value": ("spend much", "spend little"),
    "sessions": ("visit often", "visit rarely"),
    "attention_ms_per_session": ("stay long when they come", "leave quickly"),
    "items": ("look at many items", "look at few items"),
    "searches": ("search a lot", "hardly search"),
    "social_actions": ("like, share and comment", "keep quiet"),
    "ratings": ("rate what they have", "hardly rate"),
    "impressions": ("are sent many messages", "are sent few messages"),
    "category_entropy": ("have many interests", "keep to few interests"),
    "night_share": ("come at night", "do not come at night"),
    "evening_share": ("come in the evening", "come before the evening"),
    "weekend_share": ("come at weekends", "come on weekdays"),
    "mobile_share": ("use a phone", "use a desktop"),
    "price_level": ("choose the dearer items", "choose the cheaper items"),
    "click_rate": ("answer messages", "leave messages unanswered"),
    "average_rating": ("give high ratings", "give low ratings"),
    "trend": ("come more often lately", "come less often lately"),
}
CLEAR = 0.3
"""Standard deviations from which on a difference is worth a phrase."""


def paragraph(name: str, share: float, columns: Sequence[str], centre: np.ndarray, categories: Sequence[str]) -> str:
    """A segment in a few sentences, from what sets it apart."""
    told = [phrase(column, deviation) for column, deviation in distinguishing(columns, centre, 5) if abs(deviation) >= CLEAR]
    text = f"{name}: {share:.0%} of all users."
    text += f" More than others they {_listed(told)}." if told else " They are like the average user in everything that is measured."
    return text + (f" Most of their attention goes to {_listed(categories)}." if categories else "")


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
