"""A warehouse most of which is gone does not take the place of the published one."""

import pytest

from persona_pipelines.publication.checks import FEWEST, shrunk


@pytest.mark.parametrize(
    ("before", "now", "passed"),
    [
        ({}, {"events.events": 10}, True),
        ({"events.events": 1000}, {"events.events": 1000}, True),
        ({"events.events": 1000}, {"events.events": 800}, True),
        ({"events.events": 1000}, {"events.events": 799}, False),
        ({"events.events": 1000, "events.users": 500}, {"events.events": 1000, "events.users": 20}, False),
        ({"events.events": 1000, "events.items": 500}, {"events.events": 1000}, False),
        ({"events.events": FEWEST - 1}, {"events.events": 1}, True),
        ({"features.interactions": 9_000}, {"features.interactions": 1}, True),  # follows from the others
    ],
)
def test_much_fewer_events_people_or_items_are_not_published(before: dict[str, int], now: dict[str, int], passed: bool) -> None:
    found = shrunk(before, now, 0.8)
    assert found.passed == passed
    if not passed:
        assert "run with --accept-shrink" in found.words
        assert "rows, the published copy " in found.words


def test_a_list_that_was_cut_off_is_not_published_and_the_sources_that_have_fewer_are_named() -> None:
    before = {"events.events": 1000, "events.users": 700, "logs.web": 900, "logs.orders": 400, "logs.customers": 680}
    tables = {"logs": ["logs.web", "logs.orders"], "lists": ["logs.customers"]}
    found = shrunk(before, before | {"logs.customers": 51}, 0.8, **tables)
    assert not found.passed
    assert found.words.startswith("logs.customers has 51 rows, the published copy 680: not published. Are the files whole?")
    found = shrunk(before, before | {"events.events": 600, "logs.orders": 10}, 0.8, **tables)
    assert "events.events has 600 rows, the published copy 1,000 (of the sources logs.orders 10 of 400): not published" in found.words
    assert shrunk(before, before | {"logs.orders": 10}, 0.8, **tables).passed, "one log of many may end"
