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
