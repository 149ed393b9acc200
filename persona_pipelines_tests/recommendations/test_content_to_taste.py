"""New items by what they say of themselves: ridge regression, held against scikit-learn's, its penalty by leaving items out."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.recommendations.data import Features, Interactions, Numbers, build, features, numbers, texts, tokens
from persona_pipelines.recommendations.models import load, recommender
from persona_pipelines.recommendations.models.content_to_taste import PENALTIES, ContentToTaste, ContentToTasteModel, between
from persona_pipelines.recommendations.models.hybrid import Hybrid, Window, standardised
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.settings.recommendations import ContentToTasteSettings, EASESettings, HybridSettings
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.recommendations.conftest import END, USERS, tastes

CATALOGUE = pd.DataFrame(
    {
        "item_id": [f"i{n:02d}" for n in range(20)],
        "title": [f"{'even' if n % 2 == 0 else 'odd'} thing {n}" for n in range(20)],
        "category": ["even" if n % 2 == 0 else "odd" for n in range(20)],
        "brand": [f"brand {n % 5}" for n in range(20)],
        "price": [float(n) if n != 3 else None for n in range(20)],
    }
)


@pytest.fixture(scope="module")
def shop() -> Interactions:
    """Item 19 has no interactions."""
    return build(tastes(), USERS, CATALOGUE, END)


def test_scores_are_those_of_a_ridge_regression_of_scikit_learn(shop: Interactions) -> None:
    from sklearn.linear_model import Ridge

    model = recommender(ContentToTasteSettings(regularisation=3.0), 7).fit(shop)
    vectors, met = model.state["vectors"].toarray(), shop.met_items()
    truth = (shop.weights.toarray() > 0).astype(float)
    fitted = Ridge(alpha=3.0, fit_intercept=False).fit(vectors[met], truth[:, met].T)
    assert np.allclose(model.scores(shop.audience(shop.users, USERS)), fitted.predict(vectors).T, atol=1e-4)


def test_a_new_item_is_wanted_by_those_who_want_its_kind(shop: Interactions) -> None:
    model = recommender(ContentToTasteSettings(), 7).fit(shop)
    scores = model.scores(shop.audience(shop.users, USERS))[:, 19]
    men = np.arange(39) % 2 == 1
    # Nobody turned to it yet. Of a man and a woman it is mostly the man's, by chance half of the time.
    assert (scores[men][:, None] > scores[~men][None, :]).mean() > 0.85


@pytest.mark.parametrize("with_attributes", [True, False])
def test_an_item_that_comes_later_becomes_the_vector_it_would_have_had(shop: Interactions, with_attributes: bool, tmp_path) -> None:
    model = recommender(ContentToTasteSettings(attributes=with_attributes), 7).fit(shop)
    model.save(tmp_path)
    stored = load(tmp_path)
    assert isinstance(stored, ContentToTasteModel)
    reader = stored.item_vectors()
    later = CATALOGUE.iloc[[7, 3]].reset_index(drop=True)
    ids = later["item_id"].to_numpy(dtype=object)
    found = reader.of(texts(later, ids), features(tokens(later, "item_id", ids, ("category", "brand"))), numbers(later, ids))
    assert np.allclose(found.toarray(), model.state["vectors"][[7, 3]].toarray(), atol=1e-6)
    strange = reader.of(("zzz unheard",), Features(sp.csr_matrix(np.ones((1, 1))), ("category=unheard",)), Numbers(np.empty((1, 0)), ()))
    assert strange.shape == (1, found.shape[1])
    assert not strange.nnz


def test_the_penalty_is_the_best_of_really_leaving_items_out(shop: Interactions) -> None:
    """Each item left out of a regression of scikit-learn in turn."""
    from sklearn.linear_model import Ridge

    method = ContentToTaste(ContentToTasteSettings(), 7)
    model = method.fit(shop)
    met = np.flatnonzero(shop.met_items())
    vectors = model.state["vectors"].toarray().astype(float)[met]
    truth = (shop.weights.toarray()[:, met] > 0).astype(float)
    part = np.random.default_rng(7).integers(0, 5, len(met))
    reached = {}
    for penalty in PENALTIES:
        unseen = np.zeros_like(truth)
        for item in range(len(met)):
            others = np.arange(len(met)) != item
            fitted = Ridge(alpha=penalty, fit_intercept=False).fit(vectors[others], truth[:, others].T)
            unseen[:, item] = fitted.predict(vectors[[item]])[0]
        found = []
        for number in range(5):
            for user in range(len(truth)):
                mine, wanted = np.float32(unseen[user, part == number]), truth[user, part == number]
                if wanted.any():
                    order = np.argsort(-mine, kind="stable")[:10]
                    gains = 1 / np.log2(np.arange(2, len(order) + 2))
                    found.append((wanted[order] * gains).sum() / np.cumsum(gains)[int(min(wanted.sum(), len(order))) - 1])
        reached[penalty] = np.mean(found)
    assert reached[float(model.state["regularisation"])] == pytest.approx(max(reached.values()), abs=1e-3)
    assert len({round(value, 4) for value in reached.values()}) > 1


@law(100)
@given(
    st.lists(st.floats(-100, 100) | st.just(float("nan")), min_size=1, max_size=8),
    st.lists(st.integers(-50, 50), min_size=2, max_size=6, unique=True),
)
def test_a_number_stands_between_two_knots_and_gives_itself_back(values: list[float], places: list[int]) -> None:
    knots, given_values = np.array(sorted(places), dtype=float), np.array(values)
    found = between(given_values, knots).toarray()
    known = np.isfinite(given_values)
    assert np.allclose(found.sum(axis=1), known)
    assert (found >= 0).all()
    assert ((found > 0).sum(axis=1) <= 2).all()
    assert np.allclose(found[known] @ knots, np.clip(given_values[known], knots[0], knots[-1]))


def test_a_catalogue_that_says_nothing_is_refused_in_words() -> None:
    silent = build(tastes(), USERS, CATALOGUE[["item_id"]], END)
    with pytest.raises(ModelError, match="no item has a title, category, brand or price"):
        recommender(ContentToTasteSettings(), 7).fit(silent)


def test_in_a_blend_it_alone_speaks_for_new_items_and_the_weights_are_learned_so(shop: Interactions) -> None:
    """Of whom it does not answer, those without a history, the items alike do."""
    members = {method.name: recommender(method, 7).fit(shop) for method in (EASESettings(regularisation=5), ContentToTasteSettings())}
    hybrid = Hybrid(HybridSettings(), 7)
    blend = hybrid.blend(members, {"ease_items": 1.0}, END.to_pydatetime(), shop)
    assert set(blend.members()) == {"ease_items", "content_to_taste"}  # kept for new items, at weight 0
    audience = shop.audience(np.array([*shop.users, "nobody"], dtype=object), USERS)
    scores = blend.scores(audience)
    expert = standardised(members["content_to_taste"].scores(audience))
    assert np.allclose(scores[:-1, 19], expert[:-1, 19], atol=1e-5)
    ease = standardised(members["ease_items"].scores(audience))
    assert np.allclose(scores[:-1, :19], ease[:-1, :19], atol=1e-5)
    assert np.isfinite(scores).all()
    places = np.tile(np.arange(20), (len(audience), 1))
    added = blend.contributions(audience, places)
    assert np.allclose(sum(added.values()), scores, atol=1e-5)
    assert (added["ease_items"][:-1, 19] == 0).all()
    # A window in which the right people turn to the new item: its weight grows.
    relevant = np.zeros((39, 20))
    relevant[1::2, 19] = 1
    window = Window(shop.audience(shop.users, USERS), sp.csr_matrix(relevant), shop.weights, shop, END.to_pydatetime())
    weights = hybrid.learned_weights(members, window, 3)
    best, _ = hybrid.blend(members, weights, END.to_pydatetime(), shop).top(shop.audience(shop.users, USERS), 3, shop.weights)
    assert (best[1::2] == 19).any(axis=1).mean() > 0.7
