"""A window replayed click by click, and the share of the last items that is chosen by it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from persona_pipelines.errors import StoredModelError
from persona_pipelines.intervals import ahead_of_the_first
from persona_pipelines.recommendations.data import Interactions, build
from persona_pipelines.recommendations.evaluation.comparison import Task, task
from persona_pipelines.recommendations.evaluation.replay import (
    LAST_ITEMS_ALONE,
    LIST_ALONE,
    LastItems,
    Measured,
    Replayed,
    chosen_share,
    replayed,
    table,
)
from persona_pipelines.recommendations.evaluation.splits import Split
from persona_pipelines.recommendations.last_click import BOTH_ALIKE, FILE, SHARES, LastClick, beside
from persona_pipelines.recommendations.models import recommender
from persona_pipelines.settings.recommendations import LiveBlendSettings, MostPopularSettings

CUT = dt.datetime(2025, 10, 1)
USERS, ITEMS, K = 30, 24, 5
NOBODY = pd.DataFrame({"user_id": []})


def window(minutes: dict[str, list[int]] | None = None, repeats: bool = False) -> Task:
    """Everybody turns to eight items before the cut and to five after it, one a minute, or at the given minutes; two of these nobody knew before."""
    generator = np.random.default_rng(4)
    before, after = [], []
    for user in range(USERS):
        items = generator.permutation(ITEMS)[:13]
        name = f"u{user:02}"
        before += [(name, f"i{item:02}", 1.0, CUT - dt.timedelta(days=place + 1)) for place, item in enumerate(items[:8])]
        later = [f"i{item:02}" for item in items[8:]]
        if user == 0:
            later[1] = "unheard of"
        if repeats:
            later[0] = f"i{items[0]:02}"
        at = (minutes or {}).get(name, list(range(5)))
        after += [(name, item, CUT + dt.timedelta(minutes=at[place])) for place, item in enumerate(later) if place < len(at)]
    pairs = pd.DataFrame(before, columns=["user_id", "item_id", "weight", "last_time"])
    test = pd.DataFrame(after, columns=["user_id", "item_id", "first_time"]).assign(
        last_time=lambda found: found["first_time"], rating=np.nan
    )
    catalogue = pd.DataFrame({"item_id": [f"i{item:02}" for item in range(ITEMS)]})
    split = Split("global time", CUT, pairs, build(pairs, NOBODY, catalogue, pd.Timestamp(CUT)), test, repeats=repeats)
    return task(split, NOBODY, not repeats)


def last_items(decay: float = 0.6) -> LastItems:
    generator = np.random.default_rng(9)
    dense = np.where(generator.random((ITEMS, ITEMS)) < 0.4, generator.random((ITEMS, ITEMS)), 0).astype(np.float32)
    return LastItems(sp.csr_matrix(dense), decay)


def popular(training: Interactions):
    return recommender(MostPopularSettings(), 20).fit(training)


def reckoned(judged: Task, last: LastItems, user: int, share: float) -> list[float]:
    """nDCG of each list of a person after the first moment, with whole rows in plain steps."""
    training, name = judged.training, f"u{user:02}"
    popularity = popular(training).scores(judged.audience)[0]
    test = judged.split.test[judged.split.test["user_id"] == name].sort_values("first_time")
    known = judged.split.pairs[judged.split.pairs["user_id"] == name].sort_values("last_time")["item_id"].tolist()
    place = {item: number for number, item in enumerate(training.items)}
    found = []
    for row in test.itertuples():
        earlier = test[test["first_time"] < row.first_time]["item_id"].tolist()
        if not earlier:
            continue
        done = [item for item in [*known, *earlier] if item in place]
        newest = [item for number, item in enumerate(done) if item not in done[number + 1 :]][::-1]
        live = sum((last.decay**number * last.weights[place[item]].toarray()[0] for number, item in enumerate(newest)), np.zeros(ITEMS))
        allowed = np.ones(ITEMS, dtype=bool)
        if judged.exclude is not None:
            allowed[[place[item] for item in done]] = False
        listed, led = np.where(allowed, popularity, np.nan), np.where(allowed & (live > 0), live, np.nan)
        first, second = ((some - np.nanmin(some)) / (np.nanmax(some) - np.nanmin(some)) for some in (listed, led))
        total = (1 - share) * np.nan_to_num(first) + share * np.nan_to_num(second)
        order = sorted(np.flatnonzero(allowed).tolist(), key=lambda item: (-round(total[item], 9), item))[:K]
        wanted = place.get(row.item_id, -1)
        found.append(1 / np.log2(order.index(wanted) + 2) if wanted in order else 0.0)
    return found


@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("minutes", [{}, {"u00": [0, 0, 1, 1, 5], "u01": [3, 4]}], ids=["one a minute", "some of one moment"])
def test_each_list_is_made_from_what_was_done_before_and_the_next_item_looked_up(repeats: bool, minutes: dict[str, list[int]]) -> None:
    judged, last = window(minutes, repeats), last_items()
    found = replayed(popular(judged.training), last, judged, K, 20)
    # Plain steps give items of one moment places of their own: those people are judged here by their number of lists alone.
    asked, places = [user for user in range(0, USERS, 7) if f"u{user:02}" not in minutes], [0, 3, 7, 10]
    expected = [[np.mean(reckoned(judged, last, user, SHARES[place])) for place in places] for user in asked]
    assert found.ndcg[asked][:, places] == pytest.approx(np.array(expected), abs=1e-6)
    assert found.lists == USERS * 4 - (4 - 3 + 4 - 1 if minutes else 0)


def test_who_did_all_at_one_moment_and_who_was_not_known_is_not_judged() -> None:
    judged = window({"u00": [2] * 5, "u01": [1]})
    assert len(replayed(popular(judged.training), last_items(), judged, K, 20).ndcg) == USERS - 2
    strangers = judged.split.test.assign(user_id=lambda test: "new " + test["user_id"])
    unknown = task(Split("global time", CUT, judged.split.pairs, judged.training, strangers), NOBODY, True)
    found = replayed(popular(judged.training), last_items(), unknown, K, 20)
    assert (len(found.ndcg), found.lists) == (0, 0)
    assert chosen_share(found, K, 2, 20).share == BOTH_ALIKE


def planted(people: int, best: int, gain: float) -> Replayed:
    """Everybody gains with one share, more or less; the others are alike."""
    generator = np.random.default_rng(1)
    ndcg = np.tile(generator.random((people, 1)), (1, len(SHARES)))
    ndcg[:, best] += gain + generator.normal(0, 0.02, people)
    return Replayed(ndcg, people * 3)


def test_the_share_that_is_ahead_beyond_doubt_is_taken() -> None:
    found = chosen_share(planted(200, 7, 0.05), 10, 30, 20)
    assert found.share == 0.7
    assert found.gain is not None
    assert found.gain.low > 0
    assert found.reason.startswith("ahead of both alike: +0.0")
    assert (found.people, found.lists, found.k) == (200, 600, 10)


def test_without_proof_both_count_alike_and_with_too_few_people_nothing_is_measured() -> None:
    noise = chosen_share(planted(200, 7, 0.0), 10, 30, 20)
    assert (noise.share, noise.reason.split(":")[0]) == (BOTH_ALIKE, "both alike")
    small = chosen_share(planted(60, 7, 0.004), 10, 30, 20)
    assert small.gain is not None
    assert small.gain.mean > 0 > small.gain.low
    assert small.share == BOTH_ALIKE
    assert chosen_share(planted(200, 0, 0.05), 10, 30, 20).share == 0  # where the last items only harm, the list stands
    few = chosen_share(planted(29, 7, 0.5), 10, 30, 20)
    assert (few.share, few.gain) == (BOTH_ALIKE, None)
    assert few.reason == "not measured: 29 people did something twice in the validation window, 30 are needed"


def test_the_luckiest_of_many_that_are_alike_is_not_ahead() -> None:
    ahead = [ahead_of_the_first(np.random.default_rng(seed).normal(size=(100, 30)), seed)[1] for seed in range(40)]
    assert abs(np.mean([found.mean for found in ahead])) < 0.06  # of the best for all it would be 0.2
    assert np.mean([found.low > 0 for found in ahead]) < 0.1
    assert ahead_of_the_first(np.ones((1, 3)), 20)[0] == 0


def test_of_equal_shares_the_smaller_is_taken() -> None:
    ndcg = np.tile(np.linspace(0.1, 0.2, 40)[:, None], (1, len(SHARES)))
    ndcg[:, 7:10] += 0.1
    assert chosen_share(Replayed(ndcg, 40), 10, 30, 20).share == 0.7


def test_the_table_has_every_share_beside_the_list_and_beside_the_last_items() -> None:
    found = planted(50, 3, 0.1)
    rows = table({"als": Measured(chosen_share(found, 10, 30, 20), {"test": found, "validation": Replayed(found.ndcg[:0], 0)})}, 20)
    assert len(rows) == 2 * len(SHARES)
    assert set(rows["against"]) == {LIST_ALONE, LAST_ITEMS_ALONE}
    assert rows[rows["chosen"]]["share"].tolist() == [0.3, 0.3]
    chosen = rows[rows["chosen"]].set_index("against")
    assert chosen.loc[LIST_ALONE, "advantage"] == pytest.approx((found.ndcg[:, 3] - found.ndcg[:, 0]).mean())
    assert rows[(rows["share"] == 0) & (rows["against"] == LIST_ALONE)]["high"].tolist() == [0]


def test_the_blend_of_the_comparison_is_taken_as_it_is_where_it_is_the_same(planted_weights: sp.csr_matrix) -> None:
    training = window().training
    own = recommender(LiveBlendSettings(), 20).fit(training)
    changed = {"live_blend": type(own)(own.name, own.users, own.items, own.digest, {**own.state, "weights": planted_weights})}
    assert (LastItems.of(training, [LiveBlendSettings()], changed, 20).weights != planted_weights).nnz == 0
    anew = LastItems.of(training, [LiveBlendSettings(window=1)], changed, 20)
    assert np.allclose(anew.weights.toarray(), own.state["weights"].toarray())


@pytest.fixture
def planted_weights() -> sp.csr_matrix:
    return sp.csr_matrix(np.eye(ITEMS, dtype=np.float32))


def test_both_lists_are_scaled_each_for_itself() -> None:
    both, first, second = beside(np.array([5, 2]), np.array([3.0, 1.0]), np.array([9, 5, 7]), np.array([4.0, 2.0, 4.0]))
    assert both.tolist() == [2, 5, 7, 9]
    assert first.tolist() == [0, 1, 0, 0]
    assert second.tolist() == [0, 0, 1, 1]
    assert beside(np.array([1, 3]), np.array([2.0, 2.0]), np.array([], dtype=int), np.array([]))[1].tolist() == [1, 1]


def test_a_choice_comes_back_from_its_file_and_a_model_of_before_has_none(tmp_path: Path) -> None:
    found = chosen_share(planted(200, 7, 0.05), 10, 30, 20)
    found.save(tmp_path)
    assert LastClick.load(tmp_path) == found
    (tmp_path / FILE).write_text('{"share": 1}')
    with pytest.raises(StoredModelError, match="train again"):
        LastClick.load(tmp_path)
    before = LastClick.load(tmp_path / "nothing")
    assert (before.share, before.gain) == (BOTH_ALIKE, None)
