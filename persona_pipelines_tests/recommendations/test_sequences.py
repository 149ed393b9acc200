"""Methods that look at what was done last: the order of a history, what comes after what, and the blend for live lists."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.recommendations.data import Interactions, build, places_from_newest, recency_weights
from persona_pipelines.recommendations.models import recommender
from persona_pipelines.recommendations.models.ease import item_weights
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.recommendations.models.live_blend import LAST_ITEMS, LiveBlend
from persona_pipelines.recommendations.models.similarity import largest, largest_of_dense
from persona_pipelines.recommendations.models.transitions import transition_weights
from persona_pipelines.settings.recommendations import EASESettings, LiveBlendSettings, RecentEASESettings, TransitionsSettings
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.recommendations.conftest import END

NOBODY = pd.DataFrame({"user_id": []})


@st.composite
def ages(draw: st.DrawFn, most_users: int = 6, most_items: int = 8) -> sp.csr_matrix:
    """Ages of a few users' items, many of them of one moment."""
    users, items = draw(st.integers(1, most_users)), draw(st.integers(2, most_items))
    cells = draw(st.lists(st.tuples(st.integers(0, users - 1), st.integers(0, items - 1)), unique=True, max_size=users * items))
    days = [float(draw(st.integers(1, 4))) for _ in cells]
    rows, columns = (np.array([cell[side] for cell in cells], dtype=int) for side in (0, 1))
    return sp.csr_matrix((days, (rows, columns)), shape=(users, items))


@law(100)
@given(ages())
def test_places_are_the_mean_ranks_of_pandas(days: sp.csr_matrix) -> None:
    coo = days.tocoo()
    frame = pd.DataFrame({"user": coo.row, "item": coo.col, "age": coo.data})
    expected = np.zeros(days.shape)
    expected[frame["user"], frame["item"]] = frame.groupby("user")["age"].rank(method="average") - 1
    found = places_from_newest(days)
    assert np.array_equal(found.toarray(), expected)
    assert np.array_equal(found.indices, days.indices)
    weights = np.where(days.toarray() > 0, 0.5**expected, 0)
    assert np.allclose(recency_weights(days, 0.5).toarray(), weights)


@law(100)
@given(ages(), st.integers(1, 4), st.sampled_from([0.5, 0.9, 1.0]))
def test_transitions_are_what_their_definition_says(days: sp.csr_matrix, window: int, decay: float) -> None:
    """Pair by pair, in plain Python."""
    expected = np.zeros((days.shape[1], days.shape[1]))
    for user in range(days.shape[0]):
        mine = sorted((-age, item) for item, age in zip(days[[user]].indices, days[[user]].data, strict=True))
        moments = [moment for moment, _ in mine]
        place = [np.mean([number for number, other in enumerate(moments) if other == moment]) for moment in moments]
        for first in range(len(mine)):
            for second in range(first + 1, min(first + window, len(mine) - 1) + 1):
                early, late = mine[first][1], mine[second][1]
                if moments[first] == moments[second]:
                    expected[early, late] += 0.5
                    expected[late, early] += 0.5
                else:
                    expected[early, late] += decay ** max(place[second] - place[first] - 1, 0)
    expected /= (expected.sum(axis=1) + 2)[:, None]
    found = transition_weights(days, window, decay, 2.0, days.shape[1])
    assert np.allclose(found.toarray(), expected, atol=1e-6)


@law(50)
@given(st.lists(st.lists(st.sampled_from([0.0, -1.0, 0.5, 1.0, 2.0]), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(1, 6))
def test_the_largest_of_each_row_are_those_above_0_in_the_order_of_value_and_place(rows: list[list[float]], count: int) -> None:
    dense = np.array(rows, dtype=np.float32)
    expected = np.zeros_like(dense)
    for number, row in enumerate(dense):
        best = sorted(np.flatnonzero(row > 0), key=lambda place: (-row[place], place))[:count]
        expected[number, best] = row[best]
    assert np.array_equal(largest(sp.csr_matrix(dense), count).toarray(), expected)
    assert np.array_equal(largest_of_dense(dense, count).toarray(), expected)


def chains(users: int = 60, items: int = 12, seed: int = 5) -> pd.DataFrame:
    """Everybody walks around a circle of items, five steps from where they began: what comes next is the next of the circle."""
    generator = np.random.default_rng(seed)
    rows = [
        (f"u{user:02d}", f"i{(begin + step) % items:02d}", 1.0, END - pd.Timedelta(hours=10 - step))
        for user, begin in enumerate(generator.integers(0, items, users))
        for step in range(5)
    ]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "last_time"])


def learned(pairs: pd.DataFrame) -> Interactions:
    items = pd.DataFrame({"item_id": sorted(pairs["item_id"].unique())})
    return build(pairs, NOBODY, items, END)


def next_item_found(method, data: Interactions, pairs: pd.DataFrame) -> float:
    """The share of people whose first item is the one that comes next in the circle."""
    model = recommender(method, 7).fit(data)
    best, _ = model.top(data.audience(data.users, NOBODY), 1, data.seen)
    newest = pairs.sort_values("last_time").groupby("user_id")["item_id"].last().reindex(data.users)
    expected = [(int(item[1:]) + 1) % len(data.items) for item in newest]
    return float((best[:, 0] == expected).mean())


def test_what_comes_next_is_found_by_methods_that_know_the_order() -> None:
    pairs = chains()
    data = learned(pairs)
    assert next_item_found(TransitionsSettings(shrinkage=1, decay=0.5), data, pairs) == 1.0
    assert next_item_found(LiveBlendSettings(regularisation=5), data, pairs) == 1.0
    # Which items go together is the same in both directions: it cannot tell the next from the one before the first.
    assert next_item_found(EASESettings(regularisation=5), data, pairs) < 0.8


def test_the_blend_takes_transitions_and_the_newest_items_where_only_order_tells() -> None:
    generator = np.random.default_rng(1)
    # From an item of a circle to the next one, then somewhere else: what goes together cannot tell the next from the one before.
    steps = [
        (f"u{user:03d}", f"i{item % 40:02d}", 1.0, END - pd.Timedelta(hours=10 - hour))
        for user in range(150)
        for hour, item in enumerate(
            np.repeat(generator.choice(np.arange(0, 39, 3) + generator.integers(0, 40), 5, replace=False), 2) + np.tile([0, 1], 5)
        )
    ]
    method = LiveBlend(LiveBlendSettings(regularisation=5, window=1), 7)
    chosen = method.choice(learned(pd.DataFrame(steps, columns=["user_id", "item_id", "weight", "last_time"])).age_days)
    assert chosen.share >= 0.5
    assert chosen.decay < 0.8


def test_the_blend_is_the_sum_of_its_parts_of_which_the_largest_are_kept() -> None:
    data = learned(chains())
    settings = LiveBlendSettings(regularisation=5, neighbours=4)
    model = recommender(settings, 7).fit(data)
    share = float(model.state["share"])
    together = item_weights(data.weights, 5.0)
    after = transition_weights(data.age_days, settings.window, settings.distance_decay, settings.shrinkage, 4).toarray()
    expected = (1 - share) * together / together.std() + share * after / after.std()
    assert np.allclose(model.state["weights"].toarray(), largest_of_dense(expected.astype(np.float32), 4).toarray(), atol=1e-4)
    # With more items than may be made dense, cosine similarities stand in its place.
    sparse = recommender(settings.model_copy(update={"maximum_size": 5}), 7).fit(data)
    assert sparse.state["weights"].nnz
    assert np.diff(sparse.state["weights"].indptr).max() <= 4


def test_the_choice_is_made_on_last_items_that_the_weights_have_not_seen() -> None:
    """Of people whose last items are drawn at random nothing can be learned: what they reach is what chance does, not more."""
    generator = np.random.default_rng(3)
    rows = [
        (f"u{user:02d}", f"i{item:02d}", 1.0, END - pd.Timedelta(hours=hour))
        for user in range(80)
        for hour, item in enumerate(generator.choice(60, LAST_ITEMS + 1, replace=False), 1)
    ]
    chosen = LiveBlend(LiveBlendSettings(regularisation=5), 7).choice(
        learned(pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "last_time"])).age_days
    )
    by_chance = sum(1 / np.log2(place + 2) for place in range(10)) / 59
    # The best of 42 looks better than chance, by far less than weights that know the answer would (near 1).
    assert chosen.ndcg < 3 * by_chance


def test_without_an_order_every_item_counts_alike_and_with_one_the_newest_most() -> None:
    data = learned(chains())
    model = recommender(RecentEASESettings(regularisation=5, decay=0.5), 7).fit(data)
    audience = data.audience(data.users, NOBODY)
    plain = recommender(EASESettings(regularisation=5), 7).fit(data)
    assert np.allclose(model.scores(replace(audience, age_days=None)), plain.scores(audience), atol=1e-6)
    assert not np.allclose(model.scores(audience), plain.scores(audience), atol=1e-3)


@pytest.mark.parametrize("method", [TransitionsSettings(), LiveBlendSettings()], ids=lambda method: method.name)
def test_nobody_with_two_items_is_refused_in_words(method) -> None:
    pairs = chains().drop_duplicates("user_id")
    with pytest.raises(ModelError, match="nobody turned to two items, so nothing came after anything"):
        recommender(method, 7).fit(learned(pairs))
