"""A page that is written is held against the tables, and may load nothing."""

import dataclasses

import pytest

from persona_pipelines.gallery.assets import _pictures
from persona_pipelines.gallery.checks import pages_are_whole
from persona_pipelines.gallery.page import page
from persona_pipelines.gallery.texts import LANGUAGES
from persona_pipelines_tests.gallery.test_gallery import gallery

PAGES: dict[str, str] = {language: page(gallery(), language) for language in LANGUAGES}
SEGMENTS = [card.segment_id for card in gallery().cards]


def test_the_pages_of_every_language_are_whole() -> None:
    found = pages_are_whole(PAGES, SEGMENTS)
    assert found.words is None
    assert found.passed
    assert found.numbers == {"pages": len(LANGUAGES), "cards": len(LANGUAGES) * len(SEGMENTS)}


def test_a_segment_that_has_come_since_is_missed() -> None:
    found = pages_are_whole(PAGES, [*SEGMENTS, 77])
    assert not found.passed
    assert found.words == "; ".join(f"{language}: no card of segment 77" for language in LANGUAGES)


def test_a_page_in_another_language_is_not_the_one_that_was_asked_for() -> None:
    assert pages_are_whole({"zh": PAGES["en"]}, SEGMENTS).words == "zh: the page says that its language is en"


@pytest.mark.parametrize(
    ("markup", "told"),
    [
        ('<img src="https://example.com/a.png">', "img src"),
        ('<link rel="stylesheet" href="//example.com/a.css">', "link href"),
        ("<style>@import 'a.css'</style>", "style"),
        ('<p style="background: URL(https://example.com)">', "style"),
        ('<svg><image href="a.png"/></svg>', "image href"),
        ("<script>fetch('a')</script>", "script"),
        ('<a href="https://example.com">where a reader may go</a> url(in words)', None),
    ],
)
def test_what_a_browser_would_load_is_named(markup: str, told: str | None) -> None:
    found = pages_are_whole({"en": PAGES["en"].replace("</main>", f"{markup}</main>")}, SEGMENTS)
    assert found.words == (told and f"en: a browser would load {told}")


def test_the_pictures_of_the_asset_show_the_segments_that_may_be_shown() -> None:
    pictures = _pictures(gallery())
    assert set(pictures) == {"sizes", "map"}
    shown = [card.name.text for card in gallery().cards if card.details is not None]
    assert [label.get_text() for label in pictures["sizes"].axes[0].get_yticklabels()] == shown
    nobody = [dataclasses.replace(card, details=None) for card in gallery().cards]
    assert _pictures(gallery(cards=nobody, places=gallery().places[:0], groups=gallery().groups[:0])) == {}
