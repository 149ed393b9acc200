"""What people are shown beside the best: how often, where, and how probable each item was at its place; variants; shadows."""

import datetime as dt
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.serving.engine import TAIL, Asked, Engine, Explored
from persona_pipelines.serving.experiments import Experiment
from persona_pipelines.serving.snapshot import Scores
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.serving.conftest import NOW, user_name


@law(300)
@given(seed=st.text(max_size=5), chance=st.floats(0.01, 0.5), first=st.integers(1, 8), k=st.integers(1, 12), behind=st.integers(0, TAIL))
def test_a_list_keeps_its_length_and_its_first_places(seed: str, chance: float, first: int, k: int, behind: int) -> None:
    explored = Explored.drawn(seed, chance, first, k)
    if explored is None:
        assert first > k
        return
    length = k + behind if explored.swaps else k
    order, propensities = explored.of(length)
    assert len(order) == len(set(order)) == len(propensities) == k
    assert order[: first - 1] == list(range(first - 1))
    assert propensities[: first - 1] == [1.0] * (first - 1)
    assert all(0 < propensity <= 1 for propensity in propensities)
    assert sum(place >= k for place in order) == (1 if explored.swaps and behind else 0)
    assert explored == Explored.drawn(seed, chance, first, k)


def test_items_stand_at_places_as_often_as_their_propensities_say() -> None:
    """60,000 draws; each cell of place and item within five standard errors."""
    seen: Counter[tuple[int, int]] = Counter()
    told: dict[tuple[int, int], float] = {}
    draws = 60_000
    for number in range(draws):
        explored = Explored.drawn(f"u{number}", 0.3, 3, 5)
        assert explored is not None
        order, propensities = explored.of(5 + 4 if explored.swaps else 5)
        for place, item in enumerate(order):
            seen[place, item] += 1
            told[place, item] = propensities[place]
    for cell, propensity in told.items():
        error = np.sqrt(propensity * (1 - propensity) / draws)
        assert abs(seen[cell] / draws - propensity) <= 5 * error + 1e-12, cell
    assert len(told) == 5 + 3 * 4
    assert sum(told[3, item] for item in (3, 5, 6, 7, 8)) == pytest.approx(1, abs=1e-6)


def shown_by(engine: Engine, users: range, **asked) -> list:
    kept: list = []
    engine.shown = kept.append
    for user in users:
        engine.recommendations(Asked(user=f"u{user}", **asked))
    return kept


def test_lists_are_told_as_they_were_shown(engine_of) -> None:
    engine = engine_of(serving={"exploration": 0.5, "explored_from": 2})
    kept = shown_by(engine, range(200), k=5, slot="home")
    for entry, user in zip(kept, range(200), strict=True):
        answer = engine.answer(Asked(user=f"u{user}", k=5, slot="home"))
        assert list(entry.items) == [item["item_id"] for item in answer["items"]]
        assert list(entry.propensities) == [item["propensity"] for item in answer["items"]]
        assert (entry.slot, entry.model, entry.model_version, entry.shadow, entry.experiment) == ("home", "shop", "3", False, None)
        assert entry.person == (user_name(user) if user != 11 else None)  # who has not consented has a list without a name
        assert entry.record()["served_at"] == "2025-10-01T12:00:00.000000Z"
    swapped = [entry for entry in kept if min(entry.propensities) < 0.1]
    assert 70 < len(swapped) < 130
    assert {tuple(entry.propensities) for entry in kept if entry.person is None} == {(1.0,) * 5}


def test_a_list_does_not_flicker_within_the_hour_and_a_slot(engine_of) -> None:
    engine = engine_of(serving={"exploration": 0.5, "explored_from": 1})
    lists = [[item["item_id"] for item in engine.answer(Asked(user="u3", k=5))["items"]] for _ in range(5)]
    assert lists.count(lists[0]) == 5
    later = [engine_of(now=NOW + dt.timedelta(hours=hour), serving={"exploration": 0.5, "explored_from": 1}) for hour in range(12)]
    assert len({tuple(item["item_id"] for item in engine.answer(Asked(user="u3", k=5))["items"]) for engine in later}) > 1


def experiment(**variant) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "bolder", "salt": "s" * 16, "started": NOW, "metric": "click_rate", "effect": 0.1, "people": 100, "days": 7,
            "variants": [{"name": "control", "share": 0.5}, {"name": "bold", "share": 0.5, **variant}],
        }
    )  # fmt: skip


def test_people_of_an_experiment_get_their_variant_and_those_without_consent_none(engine_of) -> None:
    engine = engine_of(nightly=12)
    engine.snapshot.scores["9"] = Scores(**{**vars(engine.scores), "version": "9", "model": "other"})
    engine.experiment = experiment(model_version="9")
    kept = shown_by(engine, range(60))
    told = {entry.person: (entry.experiment, entry.variant, entry.model_version) for entry in kept}
    assert set(told.values()) == {("bolder", "control", "3"), ("bolder", "bold", "9"), (None, None, "3")}
    assert told[None] == (None, None, "3")
    again = {entry.person: (entry.experiment, entry.variant, entry.model_version) for entry in shown_by(engine, range(60))}
    assert again == told
    assert engine.answer(Asked(user="u3"))["variant"] in ("control", "bold")


def test_a_version_that_is_not_at_hand_is_the_champion(engine_of) -> None:
    engine = engine_of()
    engine.experiment = experiment(model_version="77")
    assert {entry.model_version for entry in shown_by(engine, range(30))} == {"3"}


def test_a_shadow_answers_unseen(engine_of) -> None:
    engine = engine_of(serving={"shadow_version": "9", "shadow_share": 0.25})
    engine.snapshot.scores["9"] = Scores(**{**vars(engine.scores), "version": "9"})
    kept = shown_by(engine, range(40))
    assert [entry.model_version for entry in kept if entry.shadow] == ["9"] * 10
    assert len([entry for entry in kept if not entry.shadow]) == 40
    assert engine.answer(Asked(user="u3"))["model_version"] == "3"
