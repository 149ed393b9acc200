"""Every method keeps the protocol and finds planted tastes; each is held against something that nobody here wrote."""

import itertools
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_pipelines.errors import StoredModelError
from persona_pipelines.recommendations.data import Audience, Interactions, binary, build
from persona_pipelines.recommendations.models import METHODS, Hybrid, load, recommender
from persona_pipelines.recommendations.models.association_rules import rules
from persona_pipelines.recommendations.models.ease import item_weights
from persona_pipelines.recommendations.models.factors import FactorModel
from persona_pipelines.recommendations.models.implicit_factors import _loss
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError, RatingModel, best_of
from persona_pipelines.recommendations.models.similarity import Measure, nearest, similarities
from persona_pipelines.settings.recommendations import (
    ALSSettings,
    AssociationRulesSettings,
    BiasedFactorsSettings,
    BPRSettings,
    ContentBasedSettings,
    ContentToTasteSettings,
    EASESettings,
    FollowedSettings,
    HybridSettings,
    ItemNeighbourhoodSettings,
    LightFMSettings,
    LiveBlendSettings,
    MethodSettings,
    MostPopularSettings,
    RecentEASESettings,
    SegmentPopularSettings,
    TransitionsSettings,
    TruncatedSVDSettings,
    UserNeighbourhoodSettings,
)
from persona_pipelines_tests.conftest import law, needs_lightfm
from persona_pipelines_tests.recommendations.conftest import END, FOLLOWS, ITEMS, SEGMENTS, USERS, tastes

pytestmark = needs_lightfm

PERSONAL: list[MethodSettings] = [
    SegmentPopularSettings(),
    UserNeighbourhoodSettings(neighbours=10),
    UserNeighbourhoodSettings(neighbours=10, similarity="pearson", shrinkage=0),
    *(ItemNeighbourhoodSettings(similarity=name) for name in ("cosine", "jaccard", "tfidf", "bm25")),
    FollowedSettings(),
    ContentBasedSettings(),
    ContentToTasteSettings(),
    LightFMSettings(components=8),
    LightFMSettings(components=8, loss="bpr", features=False),
    LightFMSettings(components=8, loss="logistic"),
    ALSSettings(factors=4),
    BPRSettings(factors=8, learning_rate=0.05),
    TruncatedSVDSettings(components=2),
    BiasedFactorsSettings(factors=2),
    EASESettings(regularisation=5),
    EASESettings(regularisation=5, over="users"),
    RecentEASESettings(regularisation=5, decay=0.95),  # the planted tastes have no order
    TransitionsSettings(shrinkage=1),
    LiveBlendSettings(regularisation=5),
    AssociationRulesSettings(minimum_support=0.1),
]
EVERY: list[MethodSettings] = [MostPopularSettings(), MostPopularSettings(recent_days=30), *PERSONAL]


def named(method: MethodSettings) -> str:
    return method.name


def fitted_or_refused(method: MethodSettings, data: Interactions) -> tuple[LearnedModel | None, str]:
    try:
        return recommender(method, 1).fit(data), ""
    except ModelError as error:
        return None, str(error)


def everyone(data: Interactions) -> Audience:
    return data.audience(data.users, USERS)


@pytest.fixture(scope="module")
def fitted(planted: Interactions) -> dict[str, LearnedModel]:
    return {method.name: recommender(method, 7).fit(planted) for method in EVERY}


def test_every_method_of_the_registry_is_tested() -> None:
    assert {method.method for method in EVERY} == set(METHODS)  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("method", PERSONAL, ids=named)
def test_a_personal_method_finds_the_planted_tastes(method: MethodSettings, fitted: dict[str, LearnedModel], planted: Interactions) -> None:
    best, _ = fitted[method.name].top(everyone(planted), 3, planted.weights)
    right = (best % 2) == (np.arange(39) % 2)[:, None]
    # Three or four right ones are left among thirteen: by chance a quarter would be right.
    assert right[best >= 0].mean() > 0.7


@pytest.mark.parametrize("method", EVERY, ids=named)
def test_a_list_leaves_out_what_is_excluded_and_what_is_blocked(
    method: MethodSettings, fitted: dict[str, LearnedModel], planted: Interactions
) -> None:
    blocked = np.zeros(20, dtype=bool)
    blocked[[4, 5]] = True
    best, scores = fitted[method.name].top(everyone(planted), 20, planted.weights, blocked)
    has = planted.weights.toarray() > 0
    for user, places in enumerate(best):
        places = places[places >= 0]
        assert len(set(places)) == len(places) == 20 - has[user].sum() - blocked[~has[user]].sum()
        assert not has[user][places].any()
        assert not blocked[places].any()
    assert (np.diff(np.where(best >= 0, scores, -1e30), axis=1)[best[:, 1:] >= 0] <= 0).all()


@pytest.mark.parametrize("method", EVERY, ids=named)
def test_the_same_seed_gives_the_same_scores_to_the_last_bit(
    method: MethodSettings, fitted: dict[str, LearnedModel], planted: Interactions
) -> None:
    again = recommender(method, 7).fit(planted)
    assert np.array_equal(again.scores(everyone(planted)), fitted[method.name].scores(everyone(planted)))


@pytest.mark.parametrize("method", EVERY, ids=named)
def test_a_stored_model_gives_the_same_scores_and_holds_no_pickle(
    method: MethodSettings, fitted: dict[str, LearnedModel], planted: Interactions, tmp_path
) -> None:
    fitted[method.name].save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["arrays", "model.json"]
    assert {file.suffix for file in (tmp_path / "arrays").rglob("*") if file.is_file()} <= {".npy"}
    loaded = load(tmp_path)
    assert np.array_equal(loaded.scores(everyone(planted)), fitted[method.name].scores(everyone(planted)))
    assert (loaded.name, loaded.digest) == (method.name, planted.digest)


def test_a_model_stored_before_arrays_had_files_of_their_own_is_read(
    fitted: dict[str, LearnedModel], planted: Interactions, tmp_path
) -> None:
    model = next(model for model in fitted.values() if any(sp.issparse(value) for value in model.state.values()))
    model.save(tmp_path)
    shutil.rmtree(tmp_path / "arrays")
    (tmp_path / "model.json").write_text((tmp_path / "model.json").read_text().replace('"format": 4', '"format": 3'))
    arrays: dict[str, np.ndarray] = {}
    for name, value in model.state.items():
        parts = (
            {"": value} if not sp.issparse(value) else {f"/{part}": getattr(value, part) for part in ("data", "indices", "indptr", "shape")}
        )
        arrays |= {f"{name}{part}": np.asarray(array) for part, array in parts.items()}
    np.savez(tmp_path / "arrays.npz", **arrays)  # type: ignore[arg-type]
    assert np.array_equal(load(tmp_path).scores(everyone(planted)), model.scores(everyone(planted)))


def test_a_model_of_another_format_is_refused(tmp_path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(StoredModelError, match="format 99; expected 4: train it again"):
        load(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("method", EVERY, ids=named)
@pytest.mark.parametrize(
    "ids",
    [("one", ["i00"]), ("two", ["i00", "i01"]), ("same", ["i00"] * 1)],
    ids=["one user with one item", "one user with two", "again"],
)
def test_next_to_nothing_to_learn_from_is_answered_or_refused_in_words(method: MethodSettings, ids: tuple[str, list[str]]) -> None:
    table = pd.DataFrame({"user_id": ids[0], "item_id": ids[1], "weight": 1.0, "last_time": END - pd.Timedelta(days=1), "rating": 3.0})
    data = build(table, USERS.head(0), ITEMS.head(0), END, segments={ids[0]: 1})
    model, refusal = fitted_or_refused(method, data)
    if model is None:
        assert refusal
        return
    stranger = data.audience(np.array(["nobody", ids[0]], dtype=object), USERS.head(0))
    assert np.isfinite(model.scores(stranger)).all()


@pytest.mark.slow
@pytest.mark.parametrize("method", EVERY, ids=named)
def test_ids_may_be_any_text_and_ratings_all_equal(method: MethodSettings) -> None:
    names = ["😀", "9" * 40, "o'Brien; DROP", "naïve", " ", "-1"]
    table = pd.DataFrame(
        [
            (user, item, 1.0, END - pd.Timedelta(days=2), 3.0)
            for user in names
            for item in names
            if (len(user) + 3 * len(item)) % 4 or user == item
        ],
        columns=["user_id", "item_id", "weight", "last_time", "rating"],
    )
    data = build(table, USERS.head(0), ITEMS.head(0), END, segments={name: 1 + number % 2 for number, name in enumerate(names)})
    model, refusal = fitted_or_refused(method, data)
    if model is None:
        assert "category" in refusal or "rule" in refusal or "follows" in refusal
        return
    best, _ = model.top(data.audience(data.users, USERS.head(0)), 3)
    assert best.shape == (6, 3)
    if isinstance(model, RatingModel):
        assert np.allclose(model.predicted_ratings(np.arange(6), np.arange(6)), 3.0, atol=0.05)


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -1.0])
def test_a_weight_that_is_no_number_or_below_zero_is_an_error_that_names_the_pair(weight: float) -> None:
    table = tastes().head(3).assign(weight=[1.0, weight, 1.0])
    with pytest.raises(ValueError, match=r"weight of user 'u00' for item .* expected a finite number of 0 or more"):
        build(table, USERS, ITEMS, END)


def test_what_says_nothing_good_was_met_and_teaches_no_model_but_those_of_ratings() -> None:
    table = tastes()
    disliked = table["rating"] < 4
    built = build(table.assign(weight=np.where(disliked, 0.0, 1.0)), USERS, ITEMS, END)
    assert (built.weights.nnz, built.age_days.nnz) == ((~disliked).sum(),) * 2
    assert (built.seen.nnz, built.ratings.nnz) == (len(table),) * 2
    assert (built.audience(built.users, USERS).seen != built.seen).nnz == 0
    assert built.met_items().sum() == table["item_id"].nunique()
    without = build(table[~disliked], USERS, ITEMS, END)
    assert (built.weights != without.weights).nnz == 0


def test_most_popular_counts_users_over_all_time_or_a_window() -> None:
    table = pd.DataFrame(
        [("a", "old", 9.0, 50), ("b", "old", 9.0, 50), ("a", "new", 1.0, 5)], columns=["user_id", "item_id", "weight", "age"]
    )
    table["last_time"] = END - pd.to_timedelta(table["age"], unit="D")
    data = build(table, USERS.head(0), pd.DataFrame({"item_id": []}), END)
    assert recommender(MostPopularSettings(), 0).fit(data).state["popularity"].tolist() == [1, 2]
    assert recommender(MostPopularSettings(recent_days=30), 0).fit(data).state["popularity"].tolist() == [1, 0]


def test_a_new_user_is_answered_by_attributes_and_a_new_item_has_a_place(fitted: dict[str, LearnedModel], planted: Interactions) -> None:
    new = pd.DataFrame({"user_id": ["man", "stranger", "woman"], "gender": ["m", None, "f"]})
    audience = planted.audience(new["user_id"].to_numpy(dtype=object), new)
    model = fitted["lightfm_warp"]
    best, _ = model.top(audience, 3)
    assert (best[0] % 2 == 1).all()
    assert (best[2] % 2 == 0).all()
    assert model.answers(audience).tolist() == [True, False, True]
    assert 19 in model.top(audience, 20)[0][0]


def test_als_solves_a_new_user_from_their_history_as_if_they_had_been_there(planted: Interactions) -> None:
    model = recommender(ALSSettings(factors=4, iterations=100), 7).fit(planted)
    known = everyone(planted)
    as_new = replace(known, positions=np.full(len(known), -1))
    assert np.allclose(model.scores(as_new), model.scores(known), atol=0.02)


@pytest.mark.parametrize("people", [30, 5])
def test_ease_solves_the_constrained_least_squares_problem(people: int) -> None:
    """Of more people than items, and of fewer, where the smaller matrix is inverted."""
    generator = np.random.default_rng(5)
    history = sp.csr_matrix((generator.random((people, 8)) < 0.4).astype(np.float32))
    weights, dense, regularisation = item_weights(history, 2.0), history.toarray().astype(float), 2.0
    # Item by item: ridge regression on all the others, by scikit-learn.
    from sklearn.linear_model import Ridge

    for item in range(8):
        others = [n for n in range(8) if n != item]
        expected = Ridge(alpha=regularisation, fit_intercept=False).fit(dense[:, others], dense[:, item]).coef_
        assert np.allclose(weights[others, item], expected, atol=1e-5)
        assert weights[item, item] == 0


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_similarities_are_those_of_scikit_learn_scipy_and_pandas(seed: int) -> None:
    from scipy.spatial.distance import cdist
    from sklearn.metrics.pairwise import cosine_similarity

    generator = np.random.default_rng(seed)
    ratings = generator.integers(1, 6, (7, 12)) * (generator.random((7, 12)) < 0.6)
    rows = sp.csr_matrix(ratings.astype(float))
    assert np.allclose(similarities(rows, rows, "cosine"), cosine_similarity(rows))
    assert np.allclose(
        similarities(rows, rows, "jaccard"), np.nan_to_num(1 - cdist(ratings > 0, ratings > 0, "jaccard")) * (ratings > 0).any(1)
    )
    expected = pd.DataFrame(np.where(ratings > 0, ratings, np.nan)).T.corr(min_periods=2).fillna(0).to_numpy()
    assert np.allclose(similarities(rows, rows, "pearson"), expected, atol=1e-6)


def test_neighbours_do_not_depend_on_the_size_of_the_blocks(planted: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nearest(binary(planted.weights), "cosine", 5, 3.0)
    monkeypatch.setattr("persona_pipelines.recommendations.models.similarity.BLOCK_NUMBERS", 50)
    assert (nearest(binary(planted.weights), "cosine", 5, 3.0) != whole).nnz == 0
    assert whole.diagonal().sum() == 0
    assert (np.diff(whole.indptr) <= 5).all()


@law(60)
@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(0, 25),
    columns=st.integers(1, 4),
    neighbours=st.integers(1, 30),
    measure=st.sampled_from(["cosine", "product", "jaccard", "pearson"]),
)
def test_neighbours_are_those_of_the_whole_matrix_in_the_order_of_similarity_and_place(
    seed: int, rows: int, columns: int, neighbours: int, measure: Measure
) -> None:
    """Of few columns many rows are the same, and many similarities too."""
    generator = np.random.default_rng(seed)
    found = sp.csr_matrix(generator.integers(0, 3, (rows, columns)).astype(float))
    expected = np.zeros((rows, rows), dtype=np.float32)
    if rows:
        whole = similarities(found, found, measure)
        np.fill_diagonal(whole, -np.inf)
        for row, values in enumerate(whole):
            best = np.lexsort((np.arange(rows), -values))[:neighbours]
            expected[row, best] = np.maximum(values[best], 0)
    assert np.array_equal(nearest(found, measure, neighbours).toarray(), expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), longest=st.sampled_from([2, 3, 4, 5]))
def test_rules_are_all_that_the_definition_allows(seed: int, longest: int) -> None:
    """Support, confidence and lift of every set of items, counted one by one (Agrawal and Srikant 1994)."""
    generator = np.random.default_rng(seed)
    held = generator.random((25, 6)) < 0.5
    held[0] = True
    chosen = AssociationRulesSettings(
        minimum_support=0.2, minimum_confidence=0.4, minimum_lift=0, maximum_length=longest, maximum_pairs=100
    )
    found = rules(sp.csr_matrix(held.astype(float)), chosen)
    expected = {}
    for size in range(1, longest):
        for antecedent in itertools.combinations(range(6), size):
            for consequent in set(range(6)) - set(antecedent):
                both, given_ = held[:, [*antecedent, consequent]].all(axis=1).mean(), held[:, list(antecedent)].all(axis=1).mean()
                if both >= 0.2 - 1e-12 and both / given_ >= 0.4 - 1e-12:
                    expected[antecedent, consequent] = both, both / given_, both / given_ / held[:, consequent].mean()
    mine = {(row.antecedent, row.consequent): (row.support, row.confidence, row.lift) for row in found.itertuples()}
    assert mine.keys() == expected.keys()
    assert all(mine[rule] == pytest.approx(expected[rule]) for rule in expected)


@pytest.mark.parametrize("longest", [2, 3, 5])
def test_baskets_that_all_hold_everything_give_a_bounded_number_of_rules(longest: int) -> None:
    """No support tells these sets apart: there are 5,461,512 of five of the 60 items."""
    chosen = AssociationRulesSettings(maximum_length=longest, maximum_pairs=500)
    found = rules(sp.csr_matrix(np.ones((30, 60))), chosen)
    assert 0 < len(found) <= 500 * sum(range(2, longest + 1))
    assert (found[["support", "confidence", "lift"]] == 1).all().all()


def test_of_too_many_frequent_pairs_the_most_frequent_are_looked_at() -> None:
    baskets = sp.csr_matrix(np.random.default_rng(1).random((200, 60)) < 0.5).astype(float)
    found = rules(baskets, AssociationRulesSettings(minimum_support=0.01, minimum_lift=0, maximum_pairs=40))
    assert 0 < len(found) <= 80


@pytest.mark.parametrize(
    "method",
    [
        UserNeighbourhoodSettings(similarity="pearson"),
        BiasedFactorsSettings(factors=2),
        ItemNeighbourhoodSettings(),
        UserNeighbourhoodSettings(),
    ],
    ids=named,
)
def test_ratings_are_predicted_in_their_range_and_a_stranger_gets_a_mean(method: MethodSettings) -> None:
    generator = np.random.default_rng(2)
    taste = np.where(np.arange(40) % 2 == 0, 1.0, -1.0)
    truth = np.clip(3 + 1.5 * taste[:, None] * taste[None, :30] + generator.normal(0, 0.3, (40, 30)), 1, 5)
    seen = generator.random((40, 30)) < 0.5
    user, item = np.nonzero(seen)
    table = pd.DataFrame(
        {
            "user_id": [f"u{n:02d}" for n in user],
            "item_id": [f"i{n:02d}" for n in item],
            "weight": 1.0,
            "last_time": END - pd.Timedelta(days=1),
            "rating": truth[seen],
        }
    )
    data = build(table, USERS.head(0), ITEMS.head(0), END)
    model = recommender(method, 3).fit(data)
    assert isinstance(model, RatingModel)
    user, item = np.nonzero(~seen)
    predicted = model.predicted_ratings(user, item)
    assert predicted.min() >= table["rating"].min()
    assert predicted.max() <= table["rating"].max()
    by_mean = np.abs(table["rating"].mean() - truth[~seen]).mean()
    # Cosine over who rated what knows nothing of how: here everyone rates at random, so it can but keep to the means.
    better = 0.4 if method.name in ("user_neighbourhood_pearson", "biased_factors") else 1.1
    assert np.abs(predicted - truth[~seen]).mean() < better * by_mean
    assert model.predicted_ratings(np.array([-1]), np.array([-1])) == pytest.approx([table["rating"].mean()], abs=0.01)


def test_dense_methods_refuse_more_than_a_stated_size(planted: Interactions) -> None:
    with pytest.raises(ModelError, match=r"20 items, of which a dense square matrix would be made; maximum_size is 10"):
        recommender(EASESettings(maximum_size=10), 0).fit(planted)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(1, 12))
def test_ranking_in_compiled_code_equals_sorting_everything(seed: int, k: int) -> None:
    generator = np.random.default_rng(seed)
    # Whole numbers: sums are exact, and ties are many.
    users, items = (generator.integers(-2, 3, (count, 3)).astype(np.float32) for count in (6, 9))
    biases = generator.integers(0, 2, 9).astype(np.float32)
    seen = sp.csr_matrix((generator.random((6, 9)) < 0.3).astype(np.float32))
    blocked = generator.random(9) < 0.2
    model = FactorModel(
        "f",
        np.arange(6).astype(object),
        np.arange(9).astype(object),
        "",
        {"user_factors": users, "item_factors": items, "item_biases": biases},
    )
    audience = Audience(
        np.arange(6).astype(object),
        np.arange(6),
        sp.csr_matrix((6, 9), dtype=np.float32),
        sp.csr_matrix((6, 9)),
        [[]] * 6,
        np.zeros(6, dtype=int),
    )
    best, scores = model.top(audience, k, seen, blocked)
    whole = users @ items.T + biases
    whole[:, blocked] = -np.inf
    expected, value = best_of(whole, min(k, 9), seen)
    assert np.array_equal(best, expected)
    assert np.array_equal(scores, np.where(expected >= 0, value, -np.inf))


def test_whom_somebody_follows_speaks_for_them_before_they_have_done_anything(planted) -> None:
    """A new user who follows people of one kind gets what that kind turns to; who follows nobody, or people unknown, has no answer."""
    pairs = pd.DataFrame(
        [("new", "u00"), ("new", "u02"), ("lonely", "nobody"), *map(tuple, FOLLOWS.to_numpy())], columns=["user_id", "target_user_id"]
    )
    data = build(tastes(), USERS, ITEMS, END, segments=SEGMENTS, follows=pairs)
    model = recommender(FollowedSettings(shrinkage=0.5), 1).fit(data)
    audience = data.audience(np.array(["new", "lonely", "u38"], dtype=object), USERS)
    assert model.answers(audience).tolist() == [True, False, False]
    both = binary(data.weights)[data.user_positions(["u00", "u02"])].toarray()
    whole = data.item_users() / len(data.users)
    expected = (both.sum(axis=0) + 0.5 * whole) / 2.5
    assert model.scores(audience.part(slice(1)))[0] == pytest.approx(expected, abs=1e-6)
    hybrid = Hybrid(HybridSettings(), 1).blend(
        {"followed": model, "most_popular": recommender(MostPopularSettings(), 1).fit(data)},
        {"followed": 0.0, "most_popular": 1.0},
        END,
        data,
    )
    assert set(hybrid.factors(audience.part(slice(1)))) == {"followed"}
    assert set(hybrid.factors(audience.part(slice(1, 2)))) == {"most_popular"}


def test_who_follows_whom_is_part_of_what_was_learned_from(planted) -> None:
    assert build(tastes(), USERS, ITEMS, END, segments=SEGMENTS).digest != planted.digest
    unknown = pd.concat([FOLLOWS, pd.DataFrame({"user_id": ["u00"], "target_user_id": ["stranger"]})])
    assert build(tastes(), USERS, ITEMS, END, segments=SEGMENTS, follows=unknown.sample(frac=1, random_state=1)).digest == planted.digest
    with pytest.raises(ModelError, match="nobody follows anybody"):
        recommender(FollowedSettings(), 1).fit(build(tastes(), USERS, ITEMS, END, segments=SEGMENTS))


@pytest.mark.parametrize(
    ("method", "figure", "down"),
    [
        (ALSSettings(factors=4, iterations=7), "training_loss", True),
        (BPRSettings(factors=8, learning_rate=0.05, iterations=40), "training_ranked_right", False),
        (BiasedFactorsSettings(factors=2, iterations=30, burn_in=5), "training_rmse", True),
        (LightFMSettings(components=8, epochs=12), "training_ranked_right", False),
    ],
)
def test_learners_that_go_on_in_steps_tell_how(method, figure: str, down: bool, planted: Interactions, tmp_path) -> None:
    model = recommender(method, 1).fit(planted)
    (curve,) = model.curves.values()
    steps = method.epochs if isinstance(method, LightFMSettings) else method.iterations
    assert list(model.curves) == [figure]
    assert len(curve) == steps
    assert (np.mean(curve[-3:]) < curve[0]) == down
    model.save(tmp_path)
    assert "training" not in (tmp_path / "model.json").read_text()  # told, and not stored


def test_the_loss_of_als_is_that_of_the_library(planted: Interactions) -> None:
    from implicit.cpu.als import AlternatingLeastSquares, calculate_loss

    confidence = planted.weights.copy()
    confidence.data = 1 + confidence.data
    model = AlternatingLeastSquares(factors=4, regularization=0.1, alpha=1.0, iterations=3, random_state=1)
    model.fit(confidence, show_progress=False)
    theirs = calculate_loss(confidence, model.user_factors, model.item_factors, 0.1, 1)
    assert _loss(model, confidence, 0.1) == pytest.approx(theirs, rel=1e-4)


def test_lightfm_learns_epoch_by_epoch_what_it_learns_in_one_go(planted: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightfm import LightFM

    method = LightFMSettings(components=8, epochs=6)
    watched = recommender(method, 1).fit(planted)
    partial, done = LightFM.fit_partial, []

    def at_once(self, *arguments, epochs: int, **options):
        done.append(epochs)
        return partial(self, *arguments, epochs=method.epochs, **options) if len(done) == 1 else self

    monkeypatch.setattr(LightFM, "fit_partial", at_once)
    whole = recommender(method, 1).fit(planted)
    assert np.array_equal(watched.state["item_factors"], whole.state["item_factors"])
