"""What recommenders are judged on: the newest window where it can decide, else what can, and the reason is said."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.recommendations.evaluation.audit import TEST, LeakageError, require_clean
from persona_pipelines.recommendations.evaluation.comparison import fit_all
from persona_pipelines.recommendations.evaluation.splits import Sources, TooFewInteractionsError
from persona_pipelines.recommendations.models.hybrid import NEW_ITEMS
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.recommendations.promotion import PROMOTED, REFUSED
from persona_pipelines.recommendations.recipes import Recipe
from persona_pipelines.recommendations.registering import end_of_interactions, why_untrained
from persona_pipelines.recommendations.training import CURRENT, NO_VALIDATION, compare_models, everything, fit_on_everything
from persona_pipelines.recommendations.windows import CONFIGURED, EARLIER, NEWEST, WITHIN, Windows, windows
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import EASESettings, HybridSettings, MostPopularSettings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import CLICKS, EFFORT, HEADER, at, events_table, ingested, write

pytestmark = pytest.mark.slow

DAYS = 20
END = dt.datetime(2025, 9, 1) + dt.timedelta(days=DAYS)
METHODS = [
    {"method": "most_popular"},
    {"method": "ease", "regularisation": 5},
    {"method": "hybrid", "members": ["ease_items", "most_popular"]},
]


def shop(
    warehouse: Warehouse,
    configure: Callable[..., Settings],
    tmp_path,
    days_of_user: Callable[[int], list[int]],
    users: int = 120,
    **recommendations,
) -> Settings:
    """Two kinds of people with items of their own kind: each views 10 of 20, spread over the days."""
    generator = np.random.default_rng(5)
    lines: dict[int, list[str]] = {day: [HEADER] for day in range(DAYS)}
    for user in range(users):
        items = generator.choice(np.arange(user % 2, 40, 2), 10, replace=False)
        days = days_of_user(user)
        for number, item in enumerate(items):
            day = days[number * len(days) // len(items)]
            at = f"2025-09-{day + 1:02}T10:{number:02}:{user % 60:02}Z"
            lines[day].append(f"e{user}-{number},{at},item_view,u{user},,i{item:02},,")
    for day, content in lines.items():
        write(tmp_path, f"clicks/2025-09-{day + 1:02}.csv", *content)
    settings = configure(CLICKS, recommendations={"methods": METHODS, "k": 5, **recommendations})
    ingested(warehouse, settings)
    return settings


def checked(found: Windows, store: Warehouse, settings: Settings) -> Windows:
    require_clean(found.audited(store, settings, END, {}, {}, {}))
    return found


def test_the_newest_window_decides_where_people_come_back(warehouse, configure, tmp_path) -> None:
    settings = shop(warehouse, configure, tmp_path, lambda user: list(range(DAYS)))
    found = checked(windows(warehouse, settings, END), warehouse, settings)
    assert (found.protocol, found.outer.split.name, found.inner.split.name) == (NEWEST, "global time", "global time")
    assert found.reason == "120 of the 120 people after 2025-09-15 19:43 were known then"
    assert found.inner.split.test["first_time"].max() < found.outer.split.test["first_time"].min()


def test_an_earlier_cut_decides_where_few_of_the_newest_window_were_known(warehouse, configure, tmp_path) -> None:
    """Two of three people come on the first and the thirteenth day, the others once, at the end."""
    settings = shop(warehouse, configure, tmp_path, lambda user: [0, 12] if user % 3 else [17 + user % 2], gate={"minimum_users": 40})
    found = checked(windows(warehouse, settings, END), warehouse, settings)
    assert found.protocol == EARLIER
    assert found.reason.startswith("20 of the 40 people after")
    assert found.outer.audience.known().sum() >= 40
    assert f"{found.outer.audience.known().sum()} of the" in found.reason


def test_where_people_come_once_they_are_judged_by_their_last_items_and_the_decision_says_so(warehouse, configure, tmp_path) -> None:
    settings = shop(warehouse, configure, tmp_path, lambda user: [user % DAYS])
    found = checked(windows(warehouse, settings, END), warehouse, settings)
    assert (found.protocol, found.outer.split.name) == (WITHIN, "last items out")
    assert found.outer.split.test.groupby("user_id").size().unique().tolist() == [2]
    said: list[str] = []
    comparison = compare_models(warehouse, settings, END, None, said.append)
    decision = comparison.decision
    assert decision.champion != "most_popular"  # which the newest window could never have told
    assert (decision.protocol, decision.tags()["decision.protocol"]) == (WITHIN, WITHIN)
    assert "0 of the" in decision.reason
    assert "30 are needed (recommendations.gate.minimum_users)" in decision.reason
    assert said == [f"judged on the {WITHIN}: {decision.judged_on}"]


@pytest.mark.parametrize("items", [1, 2])
def test_where_nothing_is_left_to_choose_by_the_most_popular_is_taken_and_the_decision_says_so(
    warehouse, configure, tmp_path, items
) -> None:
    """Everyone turned to one item or two on one day: the lists are those of the most popular items, not none."""
    lines = [
        f"e{user}-{item},2025-09-{user % DAYS + 1:02}T10:0{item}:00Z,purchase,u{user},,i{(user + item) % 3},,1"
        for user in range(120)
        for item in range(items)
    ]
    for day in range(DAYS):
        write(tmp_path, f"clicks/2025-09-{day + 1:02}.csv", HEADER, *(line for line in lines if f"2025-09-{day + 1:02}T" in line))
    settings = configure(CLICKS, recommendations={"methods": METHODS, "k": 2})
    ingested(warehouse, settings)
    found = windows(warehouse, settings, END)
    assert found.inner is None
    assert (found.protocol, found.outer.split.name) == ((NEWEST, "global time") if items == 1 else (WITHIN, "last items out"))
    said: list[str] = []
    comparison = compare_models(warehouse, settings, END, None, said.append)
    assert comparison.decision.champion == "most_popular"
    assert comparison.decision.reason.startswith("most_popular is taken: nothing is left for a validation window")
    assert comparison.failed["hybrid"] == NO_VALIDATION
    assert NO_VALIDATION in said[0]
    # A champion of before, of whatever kind, stays.
    settings_of = {method.name: method for method in settings.recommendations.methods}
    ease = Recipe(settings_of["ease_items"])
    assert compare_models(warehouse, settings, END, ease).decision.champion == "ease_items"


def test_a_blend_whose_weights_were_learned_after_the_cut_is_compared_with_weights_of_before_it(warehouse, configure, tmp_path) -> None:
    """The cut may be an earlier one than last week's: the champion must neither leak nor lose its place for it."""
    settings = shop(warehouse, configure, tmp_path, lambda user: list(range(DAYS)))
    methods = settings.recommendations.methods
    champion = Recipe(
        HybridSettings(name="last_weeks_blend"), tuple(methods[:2]), {"most_popular": 0.5, "ease_items": 0.5}, END - dt.timedelta(days=1)
    )
    comparison = compare_models(warehouse, settings, END, champion)
    assert comparison.decision.outcome in (PROMOTED, REFUSED)  # so it was compared
    assert CURRENT not in comparison.failed
    assert all(finding.passed for finding in comparison.findings)


@pytest.mark.parametrize("members", [["most_popular"], ["most_popular", "ease_items"]])
def test_a_few_people_and_few_methods_are_compared_whatever_they_do(members: list[str], configure, tmp_path) -> None:
    """30 people with 12 of 20 items at random: nothing can be learned, and a blend may find that no member helps."""
    methods = {"most_popular": {"method": "most_popular"}, "ease_items": {"method": "ease"}}
    for seed in range(max(1, round(10 * EFFORT))):
        generator = np.random.default_rng(seed)
        at = sorted(generator.integers(0, DAYS * 86_400, 30 * 12).tolist())
        who = generator.permutation(np.repeat(np.arange(30), 12))
        what = iter(np.concatenate([generator.permutation(20)[:12] for _ in range(30)]))
        events = [
            f"e{n},{dt.datetime(2025, 9, 1) + dt.timedelta(seconds=second)}Z,item_view,u{user},,i{next(what)},,"
            for n, (second, user) in enumerate(zip(at, who, strict=True))
        ]
        write(tmp_path, "clicks.csv", HEADER, *events)
        settings = configure(
            {**CLICKS, "path": "clicks.csv"},
            recommendations={
                "methods": [*(methods[name] for name in members), {"method": "hybrid", "members": members}],
                "k": 5,
                "gate": {"minimum_users": 5},
            },
        )
        with Warehouse(None, b"k" * 32) as store:
            ingested(store, settings)
            comparison = compare_models(store, settings, END, None)
        assert "hybrid" in comparison.validation
        assert not comparison.failed
        weights = {name: weight for name, weight in comparison.weights["hybrid"].items() if name != NEW_ITEMS}
        assert sum(weights.values()) == pytest.approx(1)


def test_a_winner_that_cannot_be_fitted_on_everything_is_refused(warehouse, configure, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = shop(warehouse, configure, tmp_path, lambda user: list(range(DAYS)))
    comparison = compare_models(warehouse, settings, END, None)
    assert comparison.decision.champion != "most_popular"
    _, known = everything(warehouse, settings, END)
    again, fitted = fit_on_everything(comparison, known, pd.DataFrame({"user_id": []}), 1)
    assert (again.decision, fitted.keys()) == (comparison.decision, {comparison.decision.champion})

    def broken(self, interactions) -> None:
        raise TypeError("a fault of a library")

    monkeypatch.setattr("persona_pipelines.recommendations.models.ease.EASE.fit", broken)
    again, fitted = fit_on_everything(comparison, known, pd.DataFrame({"user_id": []}), 1)
    assert (again.decision.champion, fitted.keys()) == ("most_popular", {"most_popular"})
    assert again.decision.reason.startswith(f"most_popular stays: {comparison.decision.champion} cannot be fitted on all interactions: ")
    assert "TypeError: a fault of a library" in again.failed[comparison.decision.champion]
    monkeypatch.setattr("persona_pipelines.recommendations.models.most_popular.MostPopular.fit", broken)
    with pytest.raises(
        ModelError, match=r"most_popular: TypeError: .*: nothing can be fitted on all interactions; the champion stays as it is"
    ):
        fit_on_everything(comparison, known, pd.DataFrame({"user_id": []}), 1)


def test_a_log_without_a_clock_is_no_split_in_time_and_one_grouped_by_person_is_told(configure, tmp_path) -> None:
    """A file of ratings person by person: nobody of its end was known before."""
    generator = np.random.default_rng(5)
    lines = [f"u{user},i{item:02},5" for user in range(120) for item in generator.choice(np.arange(user % 2, 40, 2), 10, replace=False)]
    for name, content in (("grouped", lines), ("mixed", list(generator.permutation(lines)))):
        write(tmp_path, f"{name}.csv", "user,item,rating", *content)
        fields = {
            "timestamp": {"order": {"start": "2025-09-01", "step_seconds": 1000}},
            "event_type": {"value": "rating"},
            "user_id": "user",
            "item_id": "item",
            "value": "rating",
        }
        source = {"name": "ratings", "path": f"{name}.csv", "format": "csv", "fields": fields}
        settings = configure(source, recommendations={"methods": METHODS, "k": 5})
        with Warehouse(None, b"k" * 32) as store:
            ingested(store, settings)
            found = checked(windows(store, settings, END), store, settings)
        assert found.reason.startswith("the log has no clock, the order of its records stands for time; ")
        if name == "mixed":
            assert (found.protocol, found.outer.split.name) == (NEWEST, "record order")
        else:
            assert (found.protocol, found.outer.split.name) == (WITHIN, "last items out")
            assert re.search(r"; [01] of the 2[45] people after .* were known then; ", found.reason)


def test_the_configuration_may_ask_for_another_split(warehouse, configure, tmp_path) -> None:
    settings = shop(warehouse, configure, tmp_path, lambda user: list(range(DAYS)), split="last item out")
    found = windows(warehouse, settings, END)
    assert (found.protocol, found.reason) == (CONFIGURED, "recommendations.split is last item out")
    assert found.outer.split.test.groupby("user_id").size().unique().tolist() == [1]


def test_how_people_rated_things_after_their_test_began_is_no_leak_until_it_was_learned_from(
    warehouse, configure, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one's items are judged as they stood when the own test began, not as the end of the log has them."""
    lines = [HEADER]
    for user in range(60):
        items = [(number, f"i{(user + number) % 9}") for number in range(5)]
        lines += [f"v{user}-{day},2025-09-{day + 1:02}T10:00:{user:02}Z,item_view,u{user},,{item},," for day, item in items]
        lines += [f"r{user}-{number},2025-09-10T10:{number:02}:{user:02}Z,rating,u{user},,{item},{number + 1}," for number, item in items]
        lines.append(f"b{user},2025-09-11T10:00:{user:02}Z,purchase,u{user},,i{(user + 1) % 9},9,")
    write(tmp_path, "clicks.csv", *lines)
    settings = configure({**CLICKS, "path": "clicks.csv"}, recommendations={"methods": METHODS, "k": 5, "split": "last item out"})
    ingested(warehouse, settings)
    found = windows(warehouse, settings, END)
    assert (found.outer.split.pairs["weight"] > 0).all()
    models, _ = fit_all([MostPopularSettings()], found.outer.training, 1)
    require_clean(found.audited(warehouse, settings, END, models, {}, {}))
    learned = Sources.learned
    monkeypatch.setattr(Sources, "learned", lambda self, events, end, segments=None: learned(self, self.events, end, segments))
    leaking = windows(warehouse, settings, END)
    with pytest.raises(LeakageError, match=f"{TEST} window, .*pairs weigh what they did at the cut: found [1-9]"):
        require_clean(leaking.audited(warehouse, settings, END, {}, {}, {}))


def test_a_blend_has_no_advantage_from_the_window_that_its_weights_were_learned_on(warehouse, configure, tmp_path) -> None:
    """Of methods that know nothing, a blend that was fitted to the window would look better than each; cross-fitted it does not."""
    from persona_pipelines.recommendations.evaluation.comparison import ALL, WARM, compare, cross_fitted
    from persona_pipelines.recommendations.models import Hybrid

    settings = shop(warehouse, configure, tmp_path, lambda user: list(range(DAYS)))
    inner = windows(warehouse, settings, END).inner
    generator = np.random.default_rng(1)
    test = inner.split.test.assign(item_id=generator.permutation(inner.split.test["item_id"].to_numpy()))
    from dataclasses import replace

    from persona_pipelines.recommendations.evaluation.comparison import task

    noise = task(
        replace(inner.split, test=test.drop_duplicates(["user_id", "item_id"])), inner.split.test[["user_id"]].drop_duplicates(), False
    )
    methods = [MostPopularSettings(), *(EASESettings(regularisation=size, name=f"ease_{size}") for size in (1, 3, 10, 30, 100))]
    models, _ = fit_all(methods, inner.training, 1)
    hybrid = Hybrid(HybridSettings(), 1)
    weights = hybrid.learned_weights(models, noise.window(), 5)
    blended = hybrid.blend(models, weights, END, inner.training)
    ndcg = {
        entry.model: entry.scores.means()["ndcg_at_k"]
        for entry in compare({**models, "fitted": blended}, noise, 5)[0]
        if (entry.case, entry.segment) == (WARM, ALL)
    }
    honest = cross_fitted(HybridSettings(), models, noise, 5, 1)
    assert ndcg["fitted"] > max(value for name, value in ndcg.items() if name != "fitted")
    assert honest == pytest.approx(np.mean([value for name, value in ndcg.items() if name != "fitted"]), abs=0.03)
    assert honest < ndcg["fitted"]


def test_events_that_say_nothing_of_things_are_named_where_there_is_nothing_to_learn_from(warehouse, configure) -> None:
    configure(CLICKS)
    with warehouse.transaction():
        for contract in (contracts.EVENTS, contracts.INTERACTIONS):
            warehouse.ensure(contract)
    with pytest.raises(TooFewInteractionsError, match="user_id and item_id of the events are needed"):
        end_of_interactions(warehouse)
    assert (
        why_untrained(warehouse, configure(CLICKS))
        == "no interactions of known users with items: user_id and item_id of the events are needed for it"
    )
    events = events_table(
        warehouse,
        *({"user_id": "a", "item_id": "i", "event_type": kind, "timestamp": at(1)} for kind in ("withdrawal", "deposit", "deposit")),
        {"user_id": None, "item_id": "i", "event_type": "item_view", "timestamp": at(1)},
        {"user_id": "a", "item_id": None, "event_type": "search", "timestamp": at(1)},
    )
    with warehouse.transaction():
        warehouse.replace(contracts.EVENTS, events)
    with pytest.raises(
        TooFewInteractionsError, match=r"found deposit, withdrawal, which .* expected a weight for one in features.interaction_weights"
    ):
        end_of_interactions(warehouse)
