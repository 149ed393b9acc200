"""Splits, intervals, the comparison, and the boundary around each method."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_pipelines.events.ordering import user_order
from persona_pipelines.features.interactions import InteractionRules
from persona_pipelines.intervals import LARGE, interval
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.recommendations.data import Interactions, build
from persona_pipelines.recommendations.evaluation.comparison import ALL, NEW_ITEM, NEW_USER, WARM, blend_all, compare, fit_all, judge, task
from persona_pipelines.recommendations.evaluation.splits import (
    Sources,
    Split,
    TooFewInteractionsError,
    by_time,
    cut_of,
    last_items_out,
    random_by_user,
    random_share,
)
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.settings.recommendations import (
    BiasedFactorsSettings,
    EASESettings,
    HybridSettings,
    LightFMSettings,
    MostPopularSettings,
    SegmentPopularSettings,
)
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import KEY, at, events_table, needs_lightfm
from persona_pipelines_tests.recommendations.conftest import END, ITEMS, SEGMENTS, USERS, tastes

pytestmark = needs_lightfm

METHODS = (
    MostPopularSettings(),
    MostPopularSettings(recent_days=20),
    SegmentPopularSettings(),
    LightFMSettings(components=8),
    EASESettings(regularisation=5),
    BiasedFactorsSettings(factors=2),
    HybridSettings(),
)


def split_of(planted: Interactions) -> Split:
    """Everyone turns to what is left of their kind after the cut; one new user, one item that nobody could know."""
    known = set(map(tuple, tastes()[["user_id", "item_id"]].to_numpy()))
    pairs = [(f"u{u:02d}", f"i{i:02d}") for u in range(39) for i in range(u % 2, 20, 2) if (f"u{u:02d}", f"i{i:02d}") not in known]
    test = pd.DataFrame([*pairs, ("u39", "i01"), ("u39", "never seen")], columns=["user_id", "item_id"])
    after = END + pd.Timedelta(hours=3)
    return Split("global time", END.to_pydatetime(), tastes(), planted, test.assign(first_time=after, last_time=after, rating=4.0))


@pytest.fixture(scope="module")
def split(planted: Interactions) -> Split:
    return split_of(planted)


@pytest.fixture(scope="module")
def models(split: Split):
    fitted, failed = fit_all(METHODS, split.training, 7)
    assert not failed
    window = task(split, USERS, True).window()
    blend_all(METHODS, dict(fitted), window, fitted, split.training, 3, 7)
    return fitted


def test_the_comparison_tells_known_users_segments_new_users_and_new_items_apart(split: Split, models) -> None:
    groups = {user: "women" if number % 2 == 0 else "men" for number, user in enumerate(USERS["user_id"])}
    judged, failed = compare(models, task(split, USERS, True, SEGMENTS, groups), 3)
    assert not failed
    found = {(entry.model, entry.case, entry.segment): entry for entry in judged}
    assert len(found["ease_items", WARM, ALL].users) == 39
    assert len(found["ease_items", WARM, "women"].users) == 20
    assert found["most_popular", NEW_USER, ALL].users.tolist() == ["u39"]
    assert ("ease_items", NEW_USER, ALL) not in found  # it reads a history, and there is none
    assert found["hybrid", NEW_USER, ALL].answered == 1
    assert not any(case == NEW_ITEM for _, case, _ in found)  # of a single new item there is no order
    assert (
        found["ease_items", WARM, ALL].scores.means()["precision_at_k"]
        > 1.5 * found["most_popular", WARM, ALL].scores.means()["precision_at_k"]
    )
    assert found["biased_factors", WARM, ALL].errors["rmse"] > 0
    assert not found["ease_items", WARM, ALL].errors
    whole, parts = found["hybrid", WARM, ALL], [found["hybrid", WARM, name] for name in ("women", "men")]
    assert whole.scores.means()["ndcg_at_k"] == pytest.approx(np.concatenate([part.scores.by_user["ndcg_at_k"] for part in parts]).mean())


@pytest.mark.parametrize("exclude_seen", [True, False])
def test_a_part_of_the_users_is_judged_as_they_are_among_all(split: Split, models, exclude_seen: bool) -> None:
    whole, numbers = task(split, USERS, exclude_seen), np.array([1, 4, 5, 17, 30])
    for name in ("most_popular", "ease_items", "hybrid"):
        all_of_them, some = (judge(name, models[name], asked, 3)[0].scores for asked in (whole, whole.part(numbers)))
        assert some.lists.tolist() == all_of_them.lists[numbers].tolist()
        for metric, values in all_of_them.by_user.items():
            np.testing.assert_array_equal(some.by_user[metric], values[numbers])


def test_of_new_items_those_who_know_features_are_judged_and_others_have_no_order() -> None:
    """Nobody had i16 to i19 before: the models of features know whom the odd things and the even things are for."""
    table = tastes()
    later = table["item_id"].isin(["i16", "i17", "i18"]) & (table["rating"] >= 4)
    pairs = table[~table["item_id"].isin(["i16", "i17", "i18"])]
    training = build(pairs, USERS, ITEMS, END, segments=SEGMENTS)
    test = table[later].assign(first_time=table["last_time"]).reset_index(drop=True)
    split = Split("random by user", END.to_pydatetime(), pairs, training, test)
    fitted, _ = fit_all(METHODS, training, 7)
    found = {entry.model: entry for entry in compare(fitted, task(split, USERS, True), 1)[0] if entry.case == NEW_ITEM}
    assert "most_popular" not in found
    assert found["lightfm_warp"].answered == 1
    # Two even and two odd things are new: a draw finds the right one of four in a quarter to a half of the cases.
    assert found["lightfm_warp"].scores.means()["hit_rate_at_k"] > 0.6


def test_a_method_that_fails_is_left_out_and_the_comparison_goes_on(planted: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self, interactions: Interactions) -> None:
        raise np.linalg.LinAlgError("singular")

    monkeypatch.setattr("persona_pipelines.recommendations.models.ease.EASE.fit", broken)
    fitted, failed = fit_all(METHODS, planted, 7)
    assert re.fullmatch(r"LinAlgError: singular \(test_evaluation.py, line \d+\)", failed.pop("ease_items"))
    assert not failed
    assert {"most_popular", "lightfm_warp"} <= fitted.keys()


class Fault(TypeError):
    """A fault of a library that nobody here has foreseen."""


def test_a_blend_or_a_judgement_that_fails_leaves_that_one_out(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise Fault("unexpected\nkeyword")

    fitted, _ = fit_all(METHODS, split.training, 7)
    judged_by = task(split, USERS, True)
    with monkeypatch.context() as patch:
        patch.setattr("persona_pipelines.recommendations.models.hybrid._candidates", broken)
        weights, failed = blend_all(METHODS, dict(fitted), judged_by.window(), dict(fitted), split.training, 3, 7)
    assert not weights
    assert failed["hybrid"].startswith("Fault: unexpected keyword (test_evaluation.py, line ")
    monkeypatch.setattr("persona_pipelines.recommendations.models.segment_popular.SegmentPopularityModel.answers", broken)
    judged, failed = compare(fitted, judged_by, 3)
    assert failed.keys() == {"segment_popular"}
    assert {entry.model for entry in judged} == fitted.keys() - {"segment_popular"}


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        (lambda found: np.where(np.arange(found.shape[1]) == 3, np.nan, found), "ease_items gives scores that are no finite numbers"),
        (lambda found: found[:, 1:], r"ease_items gives scores of shape \(40, 19\); expected \(40, 20\)"),
    ],
)
def test_a_method_that_answers_with_nonsense_is_left_out_as_if_it_could_not_be_fitted(
    scores, reason: str, planted: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = HistoryModel.scores
    monkeypatch.setattr(HistoryModel, "scores", lambda self, audience: scores(right(self, audience)))
    fitted, failed = fit_all([MostPopularSettings(), EASESettings(regularisation=5)], planted, 7)
    assert fitted.keys() == {"most_popular"}
    assert re.fullmatch(reason, failed["ease_items"])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), users=st.integers(20, 200))
def test_intervals_are_those_of_scipys_bootstrap(seed: int, users: int) -> None:
    """Of a handful of users the resamples take a few values only, and two draws of them are no closer than those."""
    from scipy.stats import bootstrap

    values = np.random.default_rng(seed).exponential(size=users)
    found = interval(values, seed)
    expected = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=seed).confidence_interval
    spread = values.std() / users**0.5
    assert found.mean == values.mean()
    assert abs(found.low - expected.low) < 0.25 * spread
    assert abs(found.high - expected.high) < 0.25 * spread
    assert found == interval(values, seed)


def test_many_users_have_the_interval_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).random(LARGE)
    near = interval(values[:-1], 1)
    found = interval(values, 1)
    assert (found.low, found.high) == pytest.approx((near.low, near.high), abs=0.2 * values.std() / LARGE**0.5)
    assert np.isnan(interval(np.array([]), 1).low)


def sources(warehouse: Warehouse, *events: tuple[str, str, float]) -> Sources:
    table = events_table(
        warehouse,
        *({"user_id": user, "item_id": item, "timestamp": at(hours), "event_type": "rating", "value": 4.0} for user, item, hours in events),
    )
    return Sources(warehouse, table, InteractionRules({"rating": 4.0}, 90.0), lambda _: USERS.head(0), lambda _: ITEMS.head(0))


EVENTS = [("a", "x", 0), ("a", "y", 2), ("b", "x", 3), ("b", "z", 5), ("a", "z", 6), ("c", "x", 7), ("a", "x", 8)]


@pytest.mark.slow
def test_a_cut_in_time_puts_what_is_new_to_the_user_into_the_test(warehouse: Warehouse) -> None:
    known = sources(warehouse, *EVENTS)
    split = by_time(known, at(5), at(24))
    assert set(map(tuple, split.pairs[["user_id", "item_id"]].to_numpy())) == {("a", "x"), ("a", "y"), ("b", "x")}
    assert set(map(tuple, split.test[["user_id", "item_id"]].to_numpy())) == {("b", "z"), ("a", "z"), ("c", "x")}
    again = by_time(known, at(5), at(24), repeats=True)
    assert ("a", "x") in set(map(tuple, again.test[["user_id", "item_id"]].to_numpy()))


@pytest.mark.slow
def test_the_last_item_of_each_user_is_left_out(warehouse: Warehouse) -> None:
    split = last_items_out(sources(warehouse, *EVENTS), at(24))
    assert set(map(tuple, split.test[["user_id", "item_id"]].to_numpy())) == {("a", "z"), ("b", "z")}
    assert set(map(tuple, split.pairs[["user_id", "item_id"]].to_numpy())) == {("a", "x"), ("a", "y"), ("b", "x"), ("c", "x")}
    # a's later visit to x lies after the test began: it is no part of the training.
    assert split.pairs.set_index(["user_id", "item_id"]).loc[("a", "x"), "last_time"] == at(0)


@pytest.mark.slow
def test_the_last_items_of_one_moment_are_drawn_and_not_the_last_of_the_alphabet(warehouse: Warehouse) -> None:
    items = [f"i{number}" for number in range(8)]
    baskets = [(user, item) for user in range(200) for item in items]
    tested = {}
    for key in ("u", "another key"):
        split = last_items_out(
            sources(warehouse, *((f"{key}{(user * 37) % 200:03}", item, user / 10) for user, item in baskets)), at(24), 0.25
        )
        assert split.drawn == 200
        assert split.test.groupby("user_id").size().unique().tolist() == [2]
        # 50 of each are expected; one in ten thousand draws would be outside.
        assert split.test["item_id"].value_counts().reindex(items, fill_value=0).between(26, 74).all()
        tested[key] = set(zip(split.test["user_id"].str[-3:], split.test["item_id"], strict=True))
    assert tested["u"] == tested["another key"]


@pytest.mark.slow
def test_items_at_times_of_their_own_are_not_drawn(warehouse: Warehouse) -> None:
    events = [(f"u{user}", f"i{(user * 3 + place) % 7}", user / 10 + place) for user in range(20) for place in range(6)]
    split = last_items_out(sources(warehouse, *events), at(24), 0.34)
    assert split.drawn == 0
    last = {(user, item) for user, item, hours in events if hours - int(user[1:]) / 10 > 3.5}
    assert set(zip(split.test["user_id"], split.test["item_id"], strict=True)) == last
    # Two of one moment, and the later one alone is asked for: it is drawn among the two.
    assert last_items_out(sources(warehouse, ("a", "x", 0), ("a", "y", 1), ("a", "z", 1)), at(24)).drawn == 1


def test_a_random_share_of_each_users_items_is_left_out(warehouse: Warehouse) -> None:
    known = sources(warehouse, *((f"u{user}", f"i{item}", user + item / 10) for user in range(5) for item in range(8)))
    split = random_by_user(known, at(24), 0.25, 1)
    assert split.test.groupby("user_id").size().tolist() == [2] * 5
    assert len(split.pairs) == 30
    # As of the end: an event of that moment has no age.
    times = split.pairs.set_index(["user_id", "item_id"])["last_time"]
    ages = split.training.age_days.tocoo()
    pairs = pd.MultiIndex.from_arrays([split.training.users[ages.row], split.training.items[ages.col]])
    assert split.cut == at(24)
    assert ages.data == pytest.approx((pd.Timestamp(at(24)) - times[pairs]).dt.total_seconds().to_numpy() / 86400, rel=1e-4)
    assert split.test.equals(random_by_user(known, at(24), 0.25, 1).test)


@pytest.mark.slow
def test_what_is_drawn_is_the_same_under_another_key() -> None:
    """The same logs under two keys, and read in another order: who is tested by what does not follow the pseudonyms."""
    tested, matrices = [], []
    for key, step in (("u", 1), ("another key", -1)):
        names = {user: pseudonym(f"u{user}", key.encode()) for user in range(30)}
        events = [(names[user], f"i{item}", user + item / 10) for user in range(30) for item in range(user % 5 + 3)]
        with Warehouse(None, KEY) as store:
            known = sources(store, *events[::step])
            store.ensure(contracts.USER_ORDER)
            store.append(contracts.USER_ORDER, user_order(known.events.head(0), known.events))
            split = random_by_user(known, at(48), 0.25, 1)
        people = {name: user for user, name in names.items()}
        tested.append([(people[user], item) for user, item in zip(split.test["user_id"], split.test["item_id"], strict=True)])
        matrices.append((split.training.digest, [people[user] for user in split.training.users]))
        ids = task(split, USERS.head(0), True).audience.ids
        assert [people[user] for user in ids] == sorted({user for user, _ in tested[-1]})
    assert tested[0] == tested[1]
    assert matrices[0] == matrices[1] == (matrices[0][0], list(range(30)))


@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8), share=st.floats(0.1, 0.9))
def test_a_random_share_is_a_share_of_every_user(sizes: list[int], share: float) -> None:
    users = pd.Series(np.repeat(np.arange(len(sizes)), sizes))
    kept = pd.Series(random_share(users, share, 3)).groupby(users).sum()
    assert kept.tolist() == [round(size * share) for size in sizes]


@pytest.mark.slow
def test_an_empty_window_is_an_error_with_the_numbers(warehouse: Warehouse) -> None:
    known = sources(warehouse, *EVENTS)
    with pytest.raises(TooFewInteractionsError, match="0 pairs of users and items to learn from and 6 to judge by"):
        by_time(known, at(0), at(24))
    with pytest.raises(TooFewInteractionsError, match=r"7 events of known users with items; recommendations.minimum_interactions is 100"):
        cut_of(known, at(24), 0.2, 100)


@pytest.mark.slow
def test_baskets_are_what_one_session_bought(warehouse: Warehouse) -> None:
    base = {"user_id": "a", "value": 1.0}
    table = events_table(
        warehouse,
        *(
            {**base, "item_id": item, "timestamp": at(hour), "event_type": kind, "session_id": session}
            for item, hour, kind, session in [
                ("x", 1, "purchase", "s1"),
                ("y", 1, "purchase", "s1"),
                ("z", 1, "item_view", "s1"),
                ("x", 9, "purchase", "s2"),
            ]
        ),
    )
    known = Sources(
        warehouse, table, InteractionRules({"purchase": 5.0, "item_view": 1.0}, 90.0), lambda _: USERS.head(0), lambda _: ITEMS.head(0)
    )
    _, data = known.learned(table, at(24))
    assert sp.csr_matrix(data.baskets).toarray().tolist() == [[1, 1, 0], [1, 0, 0]]
