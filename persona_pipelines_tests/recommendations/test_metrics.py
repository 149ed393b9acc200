"""Metrics against scikit-learn's and against numbers worked out by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from persona_pipelines.recommendations.data import Features, Interactions
from persona_pipelines.recommendations.evaluation.metrics import Catalogue, gini, rating_errors, score


def catalogue(items: int) -> Catalogue:
    return Catalogue(np.arange(items, dtype=float), np.eye(items))


def test_a_list_judged_by_hand() -> None:
    test = sp.csr_matrix(np.array([[1, 0, 1, 0, 1]]))
    found = score(np.array([[2, 1, 0]]), test, 3, catalogue(5)).means()
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg_at_k"] == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert found["recall_at_k"] == pytest.approx(2 / 3)
    assert found["precision_at_k"] == pytest.approx(2 / 3)
    assert found["map_at_k"] == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert (found["mrr_at_k"], found["hit_rate_at_k"], found["novelty"]) == (1, 1, 1)
    assert found["diversity"] == pytest.approx(1)
    assert found["coverage"] == pytest.approx(3 / 5)


def test_the_mean_average_precision_is_over_all_that_is_relevant_as_trec_eval_has_it() -> None:
    """Two of three relevant items in a list of two: to divide by what fits into the list would call it perfect."""
    found = score(np.array([[0, 1]]), sp.csr_matrix(np.array([[1, 1, 1, 0]])), 2, catalogue(4)).means()
    assert found["map_at_k"] == pytest.approx((1 + 1) / 3)


def test_an_empty_place_is_a_miss_and_unknown_items_stay_in_the_test() -> None:
    test = sp.csr_matrix(np.array([[1, 0, 0, 1]]))
    found = score(np.array([[0, -1]]), test, 2, catalogue(3)).means()
    assert (found["recall_at_k"], found["precision_at_k"]) == (0.5, 0.5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_ndcg_and_average_precision_agree_with_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    relevant = (generator.random((6, 12)) < 0.3).astype(int)
    relevant[:, 0] |= relevant.sum(axis=1) == 0
    scores = np.argsort(np.argsort(generator.random((6, 12)), axis=1), axis=1).astype(float)
    order = np.argsort(-scores, axis=1)
    found = score(order[:, :5], sp.csr_matrix(relevant), 5, catalogue(12))
    assert found.by_user["ndcg_at_k"].mean() == pytest.approx(ndcg_score(relevant, scores, k=5))
    whole = score(order, sp.csr_matrix(relevant), 12, catalogue(12))
    expected = np.mean([average_precision_score(row, own) for row, own in zip(relevant, scores, strict=True)])
    assert whole.by_user["map_at_k"].mean() == pytest.approx(expected)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 8), places=st.integers(0, 12))
def test_no_list_is_better_than_the_ideal_one_whatever_stands_in_it_twice_or_beyond_its_length(seed: int, k: int, places: int) -> None:
    generator = np.random.default_rng(seed)
    relevant = (generator.random((6, 5)) < 0.5).astype(int)
    relevant[:, 0] |= relevant.sum(axis=1) == 0
    lists = generator.integers(-1, 5, (6, places))
    found = score(lists, sp.csr_matrix(relevant), k, catalogue(5)).by_user
    for name in ("ndcg_at_k", "recall_at_k", "precision_at_k", "map_at_k", "mrr_at_k", "hit_rate_at_k"):
        assert ((found[name] >= 0) & (found[name] <= 1 + 1e-12)).all(), name
    # The same lists with the repeats taken out by hand.
    once = np.array([[item if item not in row[:place] else -1 for place, item in enumerate(row[:k])] for row in lists.tolist()]).reshape(
        6, -1
    )
    again = score(once.astype(int), sp.csr_matrix(relevant), k, catalogue(5)).by_user
    assert all(np.array_equal(found[name], again[name], equal_nan=True) for name in found)


def test_diversity_is_one_minus_the_mean_similarity_of_pairs() -> None:
    from sklearn.metrics.pairwise import cosine_similarity

    vectors = np.random.default_rng(1).random((6, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    lists = np.array([[0, 3, 5], [1, 2, -1], [4, -1, -1]])
    for kind in (np.asarray, sp.csr_matrix):
        found = score(lists, sp.csr_matrix(np.ones((3, 6))), 3, Catalogue(np.zeros(6), kind(vectors))).by_user["diversity"]
        likeness = cosine_similarity(vectors)
        assert found[0] == pytest.approx(1 - (likeness[0, 3] + likeness[0, 5] + likeness[3, 5]) / 3)
        assert found[1] == pytest.approx(1 - likeness[1, 2])
        assert np.isnan(found[2])


def test_lists_of_nothing_reach_nothing() -> None:
    found = score(np.empty((1, 0), dtype=int), sp.csr_matrix((1, 1)), 3, catalogue(0)).means()
    assert (found["coverage"], found["gini"], found["hit_rate_at_k"]) == (0, 0, 0)


def test_how_alike_things_are_without_a_list_of_them_is_the_same_twice(planted: Interactions) -> None:
    bare = replace(planted, item_features=Features(sp.csr_matrix((len(planted.items), 0)), ()))
    first, again = (Catalogue.of(bare, 3).vectors for _ in range(2))
    np.testing.assert_array_equal(first, again)
    likeness = first @ first.T
    odd = np.array([int(item[1:]) % 2 for item in planted.items], dtype=bool)
    assert likeness[np.ix_(odd, odd)].mean() > likeness[np.ix_(odd, ~odd)].mean() + 0.3


def test_gini_is_zero_for_equal_and_near_one_for_a_single_item() -> None:
    assert gini(np.arange(10), 10) == pytest.approx(0)
    assert gini(np.zeros(10, dtype=int), 10) == pytest.approx(0.9)
    # Half of the items share everything: the Lorenz curve is 0 up to one half, then straight.
    assert gini(np.repeat(np.arange(50), 3), 100) == pytest.approx(0.5)
    assert gini(np.array([], dtype=int), 5) == 0


def test_rating_errors_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    generator = np.random.default_rng(3)
    predicted, actual = generator.random(50), generator.random(50)
    assert rating_errors(predicted, actual) == pytest.approx(
        {"rmse": root_mean_squared_error(actual, predicted), "mae": mean_absolute_error(actual, predicted)}
    )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_reciprocal_rank_is_that_of_scikit_learns_ranking(seed: int) -> None:
    from sklearn.metrics import label_ranking_average_precision_score

    generator = np.random.default_rng(seed)
    # With one relevant item the label ranking average precision is the reciprocal rank.
    relevant = np.eye(8, dtype=int)[generator.integers(0, 8, 5)]
    scores = generator.random((5, 8))
    found = score(np.argsort(-scores, axis=1), sp.csr_matrix(relevant), 8, catalogue(8))
    assert found.means()["mrr_at_k"] == pytest.approx(label_ranking_average_precision_score(relevant, scores))
