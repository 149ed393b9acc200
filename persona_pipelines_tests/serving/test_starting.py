"""Before an experiment starts: variants that give people the same are refused, and metrics that nothing can count for are told."""

from __future__ import annotations

from typing import Any

import pytest

from persona_pipelines.serving.experiments import ExperimentError, Variant
from persona_pipelines.serving.starting import Given, Version, given, metrics_without_events, require_differing
from persona_pipelines.settings.stages import ServingSettings
from persona_pipelines.vocabulary import DAY as BY_DAY
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.serving.shop import experiment
from persona_pipelines_tests.serving.test_outcomes import event, tables

VERSIONS = {"1": Version("hybrid", False, 0.3), "2": Version("ease_items", True, 1.0), "3": Version("als", False, 0.5)}


def differing(champion: str, *changes: dict[str, Any], **serving: Any) -> None:
    share = 1 / len(changes)
    variants = [{"name": f"v{number}", "share": share, **change} for number, change in enumerate(changes)]
    require_differing(experiment(variants=variants), champion, VERSIONS.__getitem__, ServingSettings(**serving))


@pytest.mark.parametrize(
    ("champion", "changes", "serving", "said"),
    [
        ("1", [{}, {}], {}, r"'v0' and 'v1', which give people the same: version 1 \(hybrid, the champion\), live_share 0.3, exploration 0.05; expected variants that differ"),
        ("1", [{}, {"live_share": 0.3}], {}, r"version 1 \(hybrid, the champion\), live_share 0.3"),
        ("1", [{"live_share": 0.7}, {}], {"live_share": 0.7}, "live_share 0.7"),
        ("1", [{}, {"model_version": "1"}], {}, r"version 1 \(hybrid, the champion\)"),
        ("1", [{}, {"exploration": 0.05}], {}, "exploration 0.05"),
        ("2", [{}, {"live_share": 0.9}], {}, r"version 2 \(ease_items, the champion\), exploration 0.05; live_share has no effect there: ease_items follows the last items itself"),
        ("1", [{}, {"model_version": "2", "live_share": 0.1}, {"model_version": "2", "live_share": 0.9}], {}, r"'v1' and 'v2', which give people the same: version 2 \(ease_items\), exploration"),
    ],
)  # fmt: skip
def test_variants_that_give_people_the_same_are_refused(champion: str, changes: list, serving: dict, said: str) -> None:
    with pytest.raises(ExperimentError, match=f"^variants: found .*{said}"):
        differing(champion, *changes, **serving)


@pytest.mark.parametrize(
    ("champion", "changes"),
    [
        ("1", [{}, {"live_share": 0.9}]),
        ("1", [{}, {"model_version": "3"}]),
        ("1", [{"model_version": "2"}, {"model_version": "3"}, {"model_version": "2", "exploration": 0.2}]),
        ("2", [{}, {"exploration": 0}]),
    ],
)
def test_variants_that_differ_in_anything_that_has_an_effect_may_start(champion: str, changes: list) -> None:
    differing(champion, *changes)


def test_what_a_variant_leaves_open_is_as_it_is_without_an_experiment() -> None:
    serving = ServingSettings(exploration=0.1)
    assert given(Variant(name="v", share=0.5), "3", VERSIONS.__getitem__, serving) == Given("3", 0.5, 0.1)
    chosen = Variant(name="v", share=0.5, model_version="2", live_share=0.2, exploration=0)
    assert given(chosen, "3", VERSIONS.__getitem__, serving) == Given("2", None, 0)


ALL = ("click_rate", "list_conversion_rate", "revenue_per_list", "purchase_rate", "revenue_per_person")


@pytest.mark.parametrize(
    ("events", "clock", "without"),
    [
        ([], "moment", ALL),
        ([event(1, 1, "a", "item_view")], "moment", ALL[1:]),
        ([event(1, 1, None, "item_view")], "moment", ALL),
        ([event(1, 1, "a"), event(2, 1, "a", "purchase")], "moment", ("revenue_per_list", "revenue_per_person")),
        ([event(1, 1, "a"), event(2, 1, None, "purchase", value=3.0)], "moment", ("list_conversion_rate", "revenue_per_list")),
        ([event(1, 1, "a"), event(2, 1, "a", "booking", value=3.0)], "moment", ()),
        ([event(1, 1, "a"), event(2, 1, "a", "purchase", value=3.0, source="orders")], BY_DAY, ALL[1:]),
    ],
)
def test_a_metric_that_no_event_counts_for_is_told(warehouse: Warehouse, events: list, clock: str, without: tuple[str, ...]) -> None:
    tables(warehouse, [], events, clock=clock)
    said = metrics_without_events(warehouse, ALL)
    assert [sentence.split(" ")[0] for sentence in said] == list(without)
    assert all("no event so far is of " in sentence for sentence in said)


def test_what_would_count_for_a_metric_is_named(warehouse: Warehouse) -> None:
    tables(warehouse, [], [])
    words = [sentence.split("no event so far is of ")[1].split(";")[0] for sentence in metrics_without_events(warehouse, ALL)]
    assert words == [
        "click or item_view or play with an item",
        "purchase or booking with an item",
        "purchase or booking with an item and a value",
        "purchase or booking",
        "purchase or booking with a value",
    ]
