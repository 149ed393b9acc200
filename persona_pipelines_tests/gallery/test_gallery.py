"""The gallery: whole without a network, safe with any text, and about groups, never about a person."""

import html.parser
import re

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.gallery.content import Card, Gallery, unusual_days
from persona_pipelines.gallery.page import page
from persona_pipelines.gallery.texts import TEXTS

GLANCE = {"users": 900, "buyers": 0.4, "segments": 2, "value": 12.5, "lifetime": None, "likely": None, "leaving": 0.2, "sessions": 3.0}
DETAILS = {
    "description": "Owls: come at night.",
    "glance": GLANCE,
    "interests": [("<b>Books</b>", 0.6), ("Wine & more", 0.2)],
    "apart": [("night_share", 1.4), ("price_level", -0.8), ("sessions", 0.1)],
    "rhythm": np.arange(168.0).reshape(7, 24),
    "rule": None,
    "sizes": [3, 5, 8],
    "examples": [
        {
            "stage": "loyal",
            "interests": "Books 60%",
            "spent": 120.0,
            "recency_days": 3,
            "sessions": 9,
            "purchase_probability": 0.3,
            "churn_probability": 0.1,
        }
    ],
    "recommender": {"top": ["<script>alert(1)</script>"], "hit_rate": 0.5},
}
MOVES = pd.DataFrame(
    {
        "from_segment": ["Owls", "Owls", "Owls"],
        "to_segment": ["Owls", "Larks", "Few"],
        "users": [500, 40, 3],
        "from_date": "2025-09-01",
        "to_date": "2025-09-08",
    }
)


def gallery(**changes) -> Gallery:
    values = {
        "name": "shop",
        "as_of": "2025-09-30",
        "glance": GLANCE,
        "cards": [Card(1, "Owls <i>", 880, 0.98, DETAILS), Card(2, "Few", 7, 0.02, None)],
        "places": np.array([[0.0, 1.0], [2.0, 3.0]]),
        "groups": np.array([0, 0]),
        "movement": MOVES,
        "accounting": pd.DataFrame([{"source": "web", "records_read": 10, "events": 8, "rejects": 1, "duplicates": 1, "filtered": 0}]),
        "predictions": pd.DataFrame(),
        "drivers": pd.DataFrame(columns=["target", "feature"]),
        "segment_quality": {},
        "unusual_days": pd.DataFrame(),
        "minimum": 20,
    }
    return Gallery(**{**values, **changes})


class Reader(html.parser.HTMLParser):
    """Tags that are open, addresses that would be loaded, and pictures without a name."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.nameless = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.loaded += [str(given[name]) for name in ("src", "srcset", "data", "poster") if name in given]
        if tag == "link" or (tag == "a" and not str(given.get("href", "#")).startswith("#")):
            self.loaded.append(str(given.get("href")))
        self.nameless += tag == "svg" and "aria-label" not in given and given.get("aria-hidden") != "true"
        if tag not in ("meta", "br", "rect", "circle", "polygon", "line", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            assert self.open.pop() == tag


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_is_whole_loads_nothing_and_names_every_drawing(language: str) -> None:
    text = page(gallery(), language)  # type: ignore[arg-type]
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.loaded == []
    assert reader.nameless == 0
    assert not re.search(r"https?://|url\(|@import|<script", text)
    assert f'<html lang="{language}">' in text
    assert TEXTS[language]["title"] in text
    assert text == page(gallery(), language)  # type: ignore[arg-type]


def test_texts_of_the_data_are_never_markup() -> None:
    text = page(gallery(), "en")
    assert "&lt;script&gt;alert(1)" in text
    assert "<b>Books</b>" not in text
    assert "Owls &lt;i&gt;" in text


def test_a_small_segment_has_no_details_and_small_moves_are_left_out() -> None:
    text = page(gallery(), "en")
    assert "Fewer than 20 users: not shown" in text
    assert "Larks" in text
    assert "<td>Few</td>" not in text
    assert "43 users moved" in text


def test_empty_tables_have_words_instead_of_gaps() -> None:
    text = page(gallery(movement=MOVES.head(0), cards=[], places=np.zeros((0, 2)), groups=np.zeros(0, dtype=int)), "en")
    assert "nobody has moved yet" in text
    assert "too little history" in text
    assert "nan" not in text.lower().replace("finance", "")


def test_every_language_has_every_text() -> None:
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()


def test_unusual_days_stand_out_of_their_weekday() -> None:
    days = pd.DataFrame(
        {"day": pd.date_range("2025-09-01", periods=42), "events": [100 + 3 * (n % 5) + (80 if n % 7 > 4 else 0) for n in range(42)]}
    )
    assert unusual_days(days).empty
    days.loc[20, "events"] = 900
    assert unusual_days(days)["events"].tolist() == [900]
    assert unusual_days(days.head(5)).empty
