"""Metrics against scikit-learn's and against numbers worked out by hand."""

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from persona_pipelines.recommendations.evaluation.metrics import score


def test_a_list_judged_by_hand() -> None:
    test = sp.csr_matrix(np.array([[1, 0, 1, 0, 1]]))
    found = score(np.array([[2, 1, 0]]), test, 3, 5).means()
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert found["ndcg_at_k"] == pytest.approx((1 + 1 / math.log2(4)) / ideal)
    assert found["recall_at_k"] == pytest.approx(2 / 3)
    assert found["precision_at_k"] == pytest.approx(2 / 3)
    assert found["map_at_k"] == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert found["coverage"] == pytest.approx(3 / 5)


def test_an_empty_place_is_a_miss_and_unknown_items_stay_in_the_test() -> None:
    test = sp.csr_matrix(np.array([[1, 0, 0, 1]]))
    found = score(np.array([[0, -1]]), test, 2, 3).means()
    assert (found["recall_at_k"], found["precision_at_k"]) == (0.5, 0.5)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_ndcg_and_average_precision_agree_with_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    relevant = (generator.random((6, 12)) < 0.3).astype(int)
    relevant[:, 0] |= relevant.sum(axis=1) == 0
    scores = np.argsort(np.argsort(generator.random((6, 12)), axis=1), axis=1).astype(float)
    order = np.argsort(-scores, axis=1)
    found = score(order[:, :5], sp.csr_matrix(relevant), 5, 12)
    assert found.ndcg.mean() == pytest.approx(ndcg_score(relevant, scores, k=5))
    whole = score(order, sp.csr_matrix(relevant), 12, 12)
    expected = np.mean([average_precision_score(row, own) for row, own in zip(relevant, scores, strict=True)])
    assert whole.average_precision.mean() == pytest.approx(expected)
