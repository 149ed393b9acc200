"""The leakage audit: a planted leak of each kind is caught in each window, and what is clean passes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from persona_pipelines.recommendations import windows as windows_module
from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.evaluation.audit import TEST, VALIDATION, LeakageError, require_clean
from persona_pipelines.recommendations.evaluation.comparison import Task, blend_all, fit_all
from persona_pipelines.recommendations.evaluation.splits import Segments, Sources
from persona_pipelines.recommendations.models import LearnedModel
from persona_pipelines.recommendations.models.hybrid import BlendModel
from persona_pipelines.recommendations.windows import Windows, segments_as_of, sources_of, windows
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.settings.recommendations import (
    EASESettings,
    HybridSettings,
    MethodSettings,
    MostPopularSettings,
    SegmentPopularSettings,
)
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import CLICKS, KEY, ingested, write

pytestmark = pytest.mark.slow

DAYS, USERS = 20, 120
END = dt.datetime(2025, 9, 1) + dt.timedelta(days=DAYS)
METHODS: tuple[MethodSettings, ...] = (MostPopularSettings(), SegmentPopularSettings(), EASESettings(regularisation=5), HybridSettings())
CATALOGUE = {
    "name": "things",
    "kind": "items",
    "path": "items.csv",
    "format": "csv",
    "fields": {"item_id": "item", "title": "title", "category": "category", "price": "price", "available_from": "from"},
    "attributes": {"weight": "number"},
}
CUSTOMERS = {
    "name": "customers",
    "kind": "users",
    "path": "customers.csv",
    "format": "csv",
    "fields": {"user_id": "user", "country": "country", "signup_date": "since"},
    "attributes": {"age": "number"},
}


@dataclass
class Comparison:
    """A shop's two windows with the models of each."""

    store: Warehouse
    settings: Settings
    found: Windows
    models: dict[str, LearnedModel]
    validated: dict[str, LearnedModel]

    def audited(self) -> None:
        require_clean(
            self.found.audited(
                self.store, self.settings, END, self.models, self.validated, {"ease_items": self.first - dt.timedelta(hours=1)}
            )
        )

    @property
    def first(self) -> dt.datetime:
        return self.found.outer.split.test["first_time"].min().to_pydatetime()

    def task(self, window: str) -> Task:
        found = self.found.inner if window == VALIDATION else self.found.outer
        assert found is not None
        return found

    def with_task(self, window: str, task: Task) -> Comparison:
        found = replace(self.found, inner=task) if window == VALIDATION else replace(self.found, outer=task)
        return Comparison(self.store, self.settings, found, self.models, self.validated)

    def with_split(self, window: str, **changes: Any) -> Comparison:
        task = self.task(window)
        return self.with_task(window, replace(task, split=replace(task.split, **changes), training=changes.get("training", task.training)))

    def with_model(self, window: str, name: str, model: LearnedModel) -> Comparison:
        validated, models = dict(self.validated), dict(self.models)
        (validated if window == VALIDATION else models)[name] = model
        return Comparison(self.store, self.settings, self.found, models, validated)

    def learned_until(self, window: str, until: dt.datetime) -> Interactions:
        """A training of the window's cut that knows events until later."""
        sources, split = sources_of(self.store, self.settings), self.task(window).split
        rows = sources.events.filter(sources.events.timestamp < until)
        return sources.learned(rows, until, split.segments.of)[1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Warehouse, Settings]]:
    """Two kinds of people; the dear things and the countries of most are known late: some only by what was bought after the cuts."""
    folder = tmp_path_factory.mktemp("shop")
    generator = np.random.default_rng(5)
    lines: dict[int, list[str]] = {day: ["id,at,type,user,item,value,country"] for day in range(DAYS)}
    for user in range(USERS):
        for number, item in enumerate(generator.choice(np.arange(user % 2, 40, 2), 10, replace=False)):
            day = number * DAYS // 10
            if item >= 36 and day < 17:  # nobody has met the last things before the cuts
                item = item - 36
            kind, value = ("purchase", 5 + item + 50 * (day > 12)) if number % 3 else ("item_view", "")
            at = f"2025-09-{day + 1:02}T{10 + number}:{number:02}:{user % 60:02}Z"
            lines[day].append(f"e{user}-{number},{at},{kind},u{user},i{item:02},{value},{'DE' if day < 16 else 'FR'}")
    for day, content in lines.items():
        write(folder, f"clicks/2025-09-{day + 1:02}.csv", *content)
    prices = [("" if item % 5 == 0 else 10 * item + (5000 if item >= 36 else 0)) for item in range(40)]
    starts = ["2025-09-19" if item >= 36 else "2025-08-01" for item in range(40)]
    write(
        folder,
        "items.csv",
        "item,title,category,price,from,weight",
        *(
            f"i{item:02},thing {item},{'even' if item % 2 == 0 else 'odd'},{prices[item]},{starts[item]},{item if item < 36 else 900 + item}"
            for item in range(40)
        ),
    )
    write(
        folder,
        "customers.csv",
        "user,country,since,age",
        *(f"u{user},{'ES' if user % 3 == 0 else ''},2025-08-01,{20 + user % 40}" for user in range(USERS)),
        *(f"late{user},ES,2025-09-19,{90 + user}" for user in range(USERS)),
    )
    clicks = {
        **CLICKS,
        "fields": {
            "event_id": "id",
            "timestamp": "at",
            "event_type": "type",
            "user_id": "user",
            "item_id": "item",
            "value": "value",
            "country": "country",
        },
    }
    described: dict[str, Any] = {
        "name": "test",
        "start_date": dt.date(2025, 9, 1),
        "sources": [clicks, CATALOGUE, CUSTOMERS],
        "logs": {"settle_seconds": 0},
        "segments": {"minimum_k": 2, "maximum_k": 3},
    }
    (folder / "persona.yaml").write_text(yaml.safe_dump(described))
    settings = load_settings(folder / "persona.yaml")
    with Warehouse(None, KEY) as store:
        ingested(store, settings)
        yield store, settings


def compared(store: Warehouse, settings: Settings) -> Comparison:
    found = windows(store, settings, END)
    models, failed = fit_all(METHODS, found.outer.training, 7)
    validated, _ = fit_all(METHODS, found.inner.training, 7)
    assert not failed
    blend_all(METHODS, validated, found.inner.window(), models, found.outer.training, 3, 7)
    blend_all(METHODS, dict(validated), found.inner.window(), validated, found.inner.training, 3, 7)
    hybrid = validated["hybrid"]
    # Of a validation window too weights might be learned before it.
    early = (found.inner.split.pairs["last_time"].max().isoformat(),)
    validated["hybrid"] = replace(hybrid, texts={**hybrid.texts, "weights_until": early})
    return Comparison(store, settings, found, models, validated)


@pytest.fixture(scope="module")
def clean(shop: tuple[Warehouse, Settings]) -> Comparison:
    return compared(*shop)


def test_what_is_clean_passes_and_every_check_was_made_on_both_windows(clean: Comparison) -> None:
    assert clean.found.outer.split.name == clean.found.inner.split.name == "global time"
    until = {"ease_items": clean.first - dt.timedelta(hours=1)}
    found = clean.found.audited(clean.store, clean.settings, END, clean.models, clean.validated, until)
    require_clean(found)
    checks = {window: {finding.check for finding in found if finding.window == window} for window in (VALIDATION, TEST)}
    assert checks[TEST] - checks[VALIDATION] == {"no pair of the test is in the validation", "ease_items was tuned before the test"}
    assert checks[VALIDATION] <= checks[TEST]
    # What the lists say then is asked of most, and not of nobody.
    said = {finding.check: finding.found for finding in found if finding.window == TEST}
    assert said["features of items say what their list said then"].startswith("0 of 36 ")
    assert said["features of users say what their list said then"].startswith(f"0 of {USERS} ")


def late_pair(clean: Comparison, window: str) -> Comparison:
    split = clean.task(window).split
    pairs = split.pairs.copy()
    pairs.loc[0, "last_time"] = pd.Timestamp(split.cut) + pd.Timedelta(hours=1)
    return clean.with_split(window, pairs=pairs)


def later_events(clean: Comparison, window: str) -> Comparison:
    """The matrices know three days more than the table of pairs beside them."""
    return clean.with_split(window, training=clean.learned_until(window, clean.task(window).split.cut + dt.timedelta(days=3)))


def weights_of_later(clean: Comparison, window: str) -> Comparison:
    """The right pairs, with the weights of what came later."""
    training = clean.task(window).training
    late = training.weights.copy()
    late.data[:5] *= 2
    return clean.with_split(window, training=replace(training, weights=late))


def shared_pair(clean: Comparison, window: str) -> Comparison:
    split = clean.task(window).split
    first = split.pairs.head(1)[["user_id", "item_id"]].assign(
        first_time=split.test["first_time"].max(), last_time=split.test["last_time"].max()
    )
    return clean.with_split(window, test=pd.concat([split.test, first], ignore_index=True))


def later_than_the_window(clean: Comparison, window: str) -> Comparison:
    split = clean.task(window).split
    return clean.with_split(window, test=split.test.assign(last_time=split.test["last_time"] + pd.Timedelta(days=9)))


def answered_by_the_test(clean: Comparison, window: str) -> Comparison:
    task = clean.task(window)
    history = task.audience.history + task.relevant[:, : task.audience.history.shape[1]]
    return clean.with_task(window, replace(task, audience=replace(task.audience, history=history)))


def features_of_later(clean: Comparison, window: str) -> Comparison:
    split = clean.task(window).split
    assert split.segments is not None
    return clean.with_split(window, segments=replace(split.segments, newest=split.cut))


def segments_of_today(clean: Comparison, window: str) -> Comparison:
    training = clean.task(window).training
    today = segments_as_of(clean.store, clean.settings, END.date())
    turned = np.array([3 - today.of[user] if user in today.of else 0 for user in training.users])
    return clean.with_split(window, training=replace(training, segments=turned))


def segments_of_people_to_come(clean: Comparison, window: str) -> Comparison:
    split = clean.task(window).split
    return clean.with_split(window, segments=Segments({**split.segments.of, "of tomorrow": 1}, split.segments.newest))


def segments_of_no_moment(clean: Comparison, window: str) -> Comparison:
    return clean.with_split(window, segments=None)


def lists_of_today(clean: Comparison, window: str) -> Comparison:
    """Bands of prices and of attributes by what the catalogue lists, and others bought, until today."""
    sources, split = sources_of(clean.store, clean.settings), clean.task(window).split
    today = replace(sources, items=lambda moment: sources.items(END))
    return clean.with_split(
        window, training=today.learned(sources.events.filter(sources.events.timestamp < split.cut), split.cut, split.segments.of)[1]
    )


def customers_of_today(clean: Comparison, window: str) -> Comparison:
    sources, split = sources_of(clean.store, clean.settings), clean.task(window).split
    today = replace(sources, users=lambda moment: sources.users(END))
    return clean.with_split(
        window, training=today.learned(sources.events.filter(sources.events.timestamp < split.cut), split.cut, split.segments.of)[1]
    )


def prices_of_later(clean: Comparison, window: str) -> Comparison:
    """One price that somebody paid after the cut, in the band of before."""
    training = clean.task(window).training
    matrix = training.item_numbers.matrix.copy()
    matrix[np.flatnonzero(np.isfinite(matrix[:, 0]))[0], 0] += 0.01
    return clean.with_split(window, training=replace(training, item_numbers=replace(training.item_numbers, matrix=matrix)))


def model_of_everything(clean: Comparison, window: str) -> Comparison:
    return clean.with_model(window, "ease_items", fit_all(METHODS[2:3], clean.learned_until(window, END), 7)[0]["ease_items"])


def member_of_everything(clean: Comparison, window: str) -> Comparison:
    leaked = fit_all(METHODS[2:3], clean.learned_until(window, END), 7)[0]["ease_items"]
    hybrid = (clean.validated if window == VALIDATION else clean.models)["hybrid"]
    assert isinstance(hybrid, BlendModel)
    return clean.with_model(window, "hybrid", replace(hybrid, parts={**hybrid.parts, "ease_items": leaked}))


def popularity_of_everything(clean: Comparison, window: str) -> Comparison:
    """Even where the model says that it has learned from the training."""
    model = (clean.validated if window == VALIDATION else clean.models)["most_popular"]
    counts = dict(zip(*(lambda found: (found.items, found.item_users()))(clean.learned_until(window, END)), strict=True))
    return clean.with_model(
        window, "most_popular", replace(model, state={**model.state, "popularity": np.array([counts[item] for item in model.items])})
    )


def segment_popularity_of_everything(clean: Comparison, window: str) -> Comparison:
    model = (clean.validated if window == VALIDATION else clean.models)["segment_popular"]
    return clean.with_model(window, "segment_popular", replace(model, state={**model.state, "overall": model.state["overall"] * 2}))


def late_weights(clean: Comparison, window: str) -> Comparison:
    """Learned on the first hour of the test."""
    hybrid = (clean.validated if window == VALIDATION else clean.models)["hybrid"]
    first = clean.task(window).split.test["first_time"].min()
    return clean.with_model(window, "hybrid", replace(hybrid, texts={**hybrid.texts, "weights_until": (first.isoformat(),)}))


@pytest.mark.parametrize("window", [VALIDATION, TEST])
@pytest.mark.parametrize(
    ("leak", "message"),
    [
        (late_pair, "training ends before the test begins"),
        (later_events, "every pair of the training could be known"),
        (later_events, "no pair of the test is in the training"),
        (weights_of_later, "pairs weigh what they did at the cut: found 5 of"),
        (shared_pair, "no pair of the test is in the training: found 1 of"),
        (later_than_the_window, "the test ends with its window"),
        (answered_by_the_test, "users are answered by what the training has of them"),
        (features_of_later, "features are as of the cut: found newest event behind them"),
        (segments_of_today, "segments are as of the cut: found [1-9]"),
        (segments_of_people_to_come, "segments are as of the cut: found 0 users in another segment than then, 1 in one"),
        (segments_of_no_moment, "segments are as of the cut: found [0-9]+ users with a segment, and no moment"),
        (lists_of_today, "features of items say what their list said then"),
        (prices_of_later, "numbers of items are those of their list then: found 1 of"),
        (customers_of_today, "features of users say what their list said then"),
        (model_of_everything, "ease_items has learned from the training alone"),
        (member_of_everything, "hybrid has learned from the training alone"),
        (popularity_of_everything, "most_popular counts users of the training alone"),
        (segment_popularity_of_everything, "segment_popular counts users of the training alone"),
        (late_weights, "hybrid has learned its weights before the test"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_planted_leak_is_caught(leak: Callable[[Comparison, str], Comparison], message: str, window: str, clean: Comparison) -> None:
    with pytest.raises(LeakageError, match=f"{window} window, {message}"):
        leak(clean, window).audited()


def test_parameters_tuned_on_the_test_are_caught(clean: Comparison) -> None:
    clean.audited()
    with pytest.raises(LeakageError, match="test window, ease_items was tuned before the test"):
        require_clean(clean.found.audited(clean.store, clean.settings, END, clean.models, clean.validated, {"ease_items": clean.first}))


def test_a_validation_that_is_part_of_the_test_is_caught(clean: Comparison) -> None:
    inner, outer = clean.found.inner, clean.found.outer
    both = pd.concat([inner.split.test, outer.split.test.head(3)], ignore_index=True)
    with pytest.raises(LeakageError, match="no pair of the test is in the validation: found 3 of"):
        clean.with_split(VALIDATION, test=both).audited()


def learn_from_two_days_more(monkeypatch: pytest.MonkeyPatch) -> None:
    learned, more = Sources.learned, dt.timedelta(days=2)
    monkeypatch.setattr(
        Sources,
        "learned",
        lambda self, events, end, segments=None: learned(
            self, self.events.filter(self.events.timestamp < end + more), end + more, segments
        ),
    )


def a_day_too_much_in_features(monkeypatch: pytest.MonkeyPatch) -> None:
    from persona_pipelines.features import asof

    known = asof.known_until
    monkeypatch.setattr(asof, "known_until", lambda events, day: known(events, day + dt.timedelta(days=2)))


def the_catalogue_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = windows_module.listed_items
    monkeypatch.setattr(windows_module, "listed_items", lambda store, settings, moment: listed(store, settings, END))


def the_customers_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = windows_module.listed_users
    monkeypatch.setattr(windows_module, "listed_users", lambda store, settings, moment: listed(store, settings, END))


@pytest.mark.parametrize(
    "fault",
    [learn_from_two_days_more, a_day_too_much_in_features, the_catalogue_of_today, the_customers_of_today],
    ids=lambda fault: fault.__name__,
)
def test_a_fault_in_how_windows_are_made_is_caught(fault, clean: Comparison, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    found = windows(clean.store, clean.settings, END)
    findings = found.audited(clean.store, clean.settings, END, {}, {}, {})
    assert {finding.window for finding in findings if not finding.passed} == {VALIDATION, TEST}


def test_where_pairs_may_come_again_the_windows_are_parted_by_time(shop: tuple[Warehouse, Settings]) -> None:
    """People may be shown what they have had, so that a pair of the validation is no secret of the test: its events are."""
    store, settings = shop
    settings = settings.model_copy(update={"recommendations": settings.recommendations.model_copy(update={"exclude_seen": False})})
    clean = Comparison(store, settings, windows(store, settings, END), {}, {})
    inner, outer = (clean.task(window).split for window in (VALIDATION, TEST))
    assert (inner.repeats, outer.repeats) == (True, True)
    findings = clean.found.audited(store, settings, END, {}, {}, {})
    require_clean(findings)
    last, first = inner.test["last_time"].max(), outer.test["first_time"].min()
    said = {finding.check: (finding.window, finding.found, finding.expected) for finding in findings}
    assert said["the validation ends before the test begins"] == (TEST, f"last {last}, first of the test {first}", "before it")
    for late in (first, first + pd.Timedelta(seconds=1)):
        test = inner.test.assign(last_time=inner.test["last_time"].where(inner.test.index > 0, late))
        with pytest.raises(LeakageError, match=f"test window, the validation ends before the test begins: found last {late}, first of"):
            clean.with_split(VALIDATION, test=test).audited()
    for window in (VALIDATION, TEST):
        for leak, message in (
            (late_pair, "training ends before the test begins"),
            (later_events, "every pair of the training could be known"),
            (weights_of_later, "pairs weigh what they did at the cut: found 5 of"),
            (later_than_the_window, "the test ends with its window"),
            (answered_by_the_test, "users are answered by what the training has of them"),
        ):
            with pytest.raises(LeakageError, match=f"{window} window, {message}"):
                leak(clean, window).audited()


@pytest.mark.parametrize("split", ["last item out", "random by user"])
def test_splits_that_ignore_time_are_audited_by_their_pairs(split: str, shop: tuple[Warehouse, Settings]) -> None:
    store, settings = shop
    settings = settings.model_copy(update={"recommendations": settings.recommendations.model_copy(update={"split": split})})
    clean = Comparison(store, settings, windows(store, settings, END), {}, {})
    require_clean(clean.found.audited(store, settings, END, {}, {}, {}))
    for window in (VALIDATION, TEST):
        with pytest.raises(LeakageError, match=f"{window} window, no pair of the test is in the training: found 1 of"):
            shared_pair(clean, window).audited()
        with pytest.raises(LeakageError, match=f"{window} window, users are answered by what the training has of them"):
            answered_by_the_test(clean, window).audited()
