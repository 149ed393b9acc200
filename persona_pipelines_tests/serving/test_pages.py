"""The pages of the service: they load nothing from elsewhere, hold no data, and are all that is answered without a token."""

from __future__ import annotations

import re
from importlib import resources

import pytest

from persona_pipelines.serving.journal import Journal
from persona_pipelines.serving.pages import ADDRESSES, FILES, POLICY
from persona_pipelines.serving.service import app_of
from persona_pipelines_tests.serving.browser import BROWSER, Page, browser
from persona_pipelines_tests.serving.conftest import NOW, told

KINDS = {"/": "html", "/docs": "html", "/try.css": "css", "/swagger-ui.css": "css"}
LISTS = "document.querySelectorAll('li').length === 30"
"""Three lists of ten are there."""


@pytest.fixture
def app_with(engine_of, tmp_path):
    journal = Journal(tmp_path / "events", lambda: NOW.date())
    yield lambda token=None: app_of(engine_of(), journal, 0, token, only_local=token is None)
    journal.close()


def test_every_page_forbids_what_comes_from_elsewhere(app_with) -> None:
    addresses = sorted(ADDRESSES)
    for address, answer in zip(addresses, told(app_with(), *(("GET", address) for address in addresses)), strict=True):
        assert answer.status == 200, address
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == f"text/{KINDS.get(address, 'javascript')}; charset=utf-8"
    assert POLICY.startswith("default-src 'none';")
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_no_page_names_another_address_or_holds_a_script() -> None:
    ours = [file for package, file in FILES.values() if package == "persona_pipelines.serving"]
    assert {f"page/{file.name}" for file in (resources.files("persona_pipelines.serving") / "page").iterdir()} == set(ours)
    for file in ours:
        text = resources.files("persona_pipelines.serving").joinpath(file).read_text(encoding="utf-8")
        assert not re.search(r"(\bhttps?:|\bwss?:|url\(|@import|[\"'(=]//)", text), file
        assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", text), file


def test_beyond_this_machine_the_pages_alone_are_answered_without_the_token(app_with) -> None:
    app = app_with("secret")
    assert {answer.status for answer in told(app, *(("GET", address) for address in ADDRESSES))} == {200}
    closed = ["/openapi.json", "/readyz", "/metrics", "/v1/segments", "/v1/recommendations/u3", "/try.html", "/persona.js/", "/docs/", "//"]
    assert {
        address: answer.status for address, answer in zip(closed, told(app, *(("GET", address) for address in closed)), strict=True)
    } == dict.fromkeys(closed, 401)
    (sent,) = told(app, ("POST", "/", b"{}"))
    assert sent.status == 405


def test_pages_are_for_this_machine_as_all_else_is(app_with) -> None:
    (other,) = told(app_with(), ("GET", "/", b"", {"host": "evil.example.com"}))
    assert other.status == 421


def test_pages_are_no_part_of_what_the_service_describes(app_with) -> None:
    (answer,) = told(app_with(), ("GET", "/openapi.json"))
    assert not ADDRESSES & answer.json["paths"].keys()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory):
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture
def tab(page: Page) -> Page:
    """The tab as a new one."""
    page.open("about:blank", "true")
    page.look(1440)
    page.faults.clear()
    page.asked.clear()
    return page


def titles(tab: Page, card: int) -> list[str]:
    return tab.asks(f"[...document.querySelectorAll('section')[{card}].querySelectorAll('.title')].map(title => title.textContent)")


def said(tab: Page) -> str:
    return tab.asks("document.getElementById('said').textContent")


def choose(tab: Page, card: int, person: str) -> None:
    """Type an id, and ask with Enter."""
    tab.asks(f"document.querySelectorAll('input[name=person]')[{card}].focus()")
    tab.call("Input.insertText", text=person)
    tab.press("Enter", "\r")
    tab.wait(f"document.querySelectorAll('.whom p')[{card}].textContent.startsWith('{person},')")


def press(tab: Page, button: str) -> None:
    """Press a button, and wait until it is said what came of it."""
    before = said(tab)
    tab.asks(f"{button}.click()")
    tab.wait(f"document.getElementById('said').textContent !== {before!r}")


def click(tab: Page, card: int, place: int) -> None:
    press(tab, f"document.querySelectorAll('section')[{card}].querySelectorAll('li button')[{place}]")


class TestInABrowser:
    pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium")

    def test_a_click_changes_the_list_of_that_person_and_of_nobody_else(self, tab: Page, served) -> None:
        service = served()
        tab.open(service.address, LISTS)
        choose(tab, 0, "u3")
        choose(tab, 1, "u6")
        before = [titles(tab, card) for card in range(3)]
        click(tab, 0, 0)
        after = [titles(tab, card) for card in range(3)]
        assert before[0] != after[0]
        assert before[0][0] not in after[0]
        assert before[1:] == after[1:]
        assert re.fullmatch(
            rf"item_view of {before[0][0]} for Person A, on the disk after [\d.]+ ms\. "
            r"Person A: \d+ new, \d+ moved\. Person B: unchanged\. All: unchanged\.",
            said(tab),
        )
        (person,) = service.engine.state.people.values()
        assert service.engine.state.events == 1
        assert person.revision
        marks = tab.asks("[...document.querySelectorAll('.changed .mark')].map(mark => mark.textContent)")
        assert marks
        assert all(re.fullmatch(r"new|(up|down) \d+", mark) for mark in marks)
        assert len(tab.asks("[...document.querySelectorAll('.note')].filter(note => /Answered in [\\d.]+ ms/.test(note.textContent))")) == 3
        assert {address.startswith(service.address) or address == "data:," for address in tab.asked} == {True}
        assert tab.faults == []

    def test_what_a_click_says_can_be_chosen(self, tab: Page, served) -> None:
        service = served()
        tab.open(service.address, LISTS)
        choose(tab, 1, "u6")
        tab.asks("document.querySelector('input[value=not_interested]').click()")
        unwanted = titles(tab, 1)[0]
        click(tab, 1, 0)
        assert said(tab).startswith(f"not_interested of {unwanted} for Person B")
        assert [len(person.unwanted) for person in service.engine.state.people.values()] == [1]

    def test_consent_is_given_and_withdrawn(self, tab: Page, served) -> None:
        service = served(consent_when_unknown=False)
        tab.open(service.address, LISTS)
        everybody = titles(tab, 2)
        assert titles(tab, 0) == everybody
        words = "document.querySelector('.whom p').textContent"
        assert tab.asks(words) == "Somebody new, not known to the last run. Without consent the list is the same for all."
        press(tab, "document.querySelector('.whom button')")
        assert tab.asks(words).endswith("The list is made for this person.")
        click(tab, 0, 0)
        assert titles(tab, 0) != everybody
        press(tab, "document.querySelector('.whom button')")
        assert tab.asks(words).endswith("Without consent the list is the same for all.")
        assert titles(tab, 0) == everybody

    def test_the_keyboard_is_enough_and_one_sees_where_one_is(self, tab: Page, served) -> None:
        tab.open(served().address, LISTS)
        focused = "document.activeElement"
        seen = []
        for _ in range(40):
            tab.press("Tab")
            assert tab.asks(f"getComputedStyle({focused}).outlineStyle") == "solid"
            seen.append(tab.asks(f"{focused}.className || {focused}.name || {focused}.textContent"))
            if seen[-1] == "item":
                break
        assert seen == ["skip", "kind", "person", "Show", "new", "Withdraw consent", "item"]
        tab.press("Enter", "\r")
        tab.wait("document.getElementById('said').textContent !== ''")
        assert tab.asks(f"{focused}.className") == "item"  # the list is another one, and one is still in it

    def test_where_the_service_is_gone_it_is_said(self, tab: Page, served) -> None:
        service = served()
        tab.open(service.address, LISTS)
        service.stop()
        click(tab, 0, 0)
        assert said(tab) == "The service does not answer."
        assert tab.asks("JSON.parse(sessionStorage.getItem('persona-try-A-queue')).length") == 1

    def test_beyond_this_machine_the_page_asks_for_the_token(self, tab: Page, served) -> None:
        service = served(token="a-long-token")
        tab.open(service.address, "!document.getElementById('access').hidden")
        assert said(tab) == "This service needs a token."
        assert tab.violations() == []
        tab.asks("document.getElementById('token').focus()")
        tab.call("Input.insertText", text="a-long-token")
        tab.press("Enter", "\r")
        tab.wait(LISTS)
        assert tab.asks("document.getElementById('access').hidden")
        tab.open(f"{service.address}/docs", "document.querySelectorAll('.opblock').length > 5")

    @pytest.mark.parametrize("theme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1440, 390])
    def test_everybody_can_use_it_on_every_screen(self, tab: Page, served, width: int, theme: str) -> None:
        tab.look(width, theme)
        tab.open(served().address, LISTS)
        click(tab, 0, 0)
        assert tab.violations() == []
        assert tab.asks("document.documentElement.scrollWidth") <= width

    def test_the_addresses_are_described_without_anything_from_elsewhere(self, tab: Page, served) -> None:
        service = served()
        tab.look(390, "dark")
        tab.open(f"{service.address}/docs", "document.querySelectorAll('.opblock').length > 5")
        assert "/v1/recommendations/{user}" in tab.asks("document.body.innerText").replace("​", "")
        assert tab.asks("document.documentElement.scrollWidth") <= 390
        assert {address.startswith((service.address, "data:")) for address in tab.asked} == {True}
        assert tab.faults == []
