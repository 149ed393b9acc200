"""The blend: weights from the validation window, and rules for those of whom little is known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.recommendations.data import Interactions, build
from persona_pipelines.recommendations.evaluation.comparison import fit_all
from persona_pipelines.recommendations.models import Hybrid, LearnedModel, load
from persona_pipelines.recommendations.models.hybrid import NEW_ITEMS, BlendModel, Window, _ascent, alike, standardised
from persona_pipelines.recommendations.models.learned import ModelError
from persona_pipelines.settings.recommendations import (
    ContentBasedSettings,
    EASESettings,
    HybridSettings,
    LightFMSettings,
    MostPopularSettings,
    RecentEASESettings,
    SegmentPopularSettings,
)
from persona_pipelines_tests.conftest import law, needs_lightfm
from persona_pipelines_tests.recommendations.conftest import END, USERS, tastes

pytestmark = needs_lightfm

METHODS = (MostPopularSettings(), SegmentPopularSettings(), LightFMSettings(components=8), EASESettings(regularisation=5))


@pytest.fixture(scope="module")
def members(planted: Interactions) -> dict[str, LearnedModel]:
    return fit_all(METHODS, planted, 7)[0]


def window(planted: Interactions, relevant: np.ndarray) -> Window:
    return Window(planted.audience(planted.users, USERS), sp.csr_matrix(relevant), planted.weights, planted, END.to_pydatetime())


def blend(planted: Interactions, members: dict[str, LearnedModel], weights: dict[str, float]) -> BlendModel:
    return Hybrid(HybridSettings(), 7).blend(members, weights, END.to_pydatetime(), planted)


def test_weights_go_to_the_member_that_ranks_the_window(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    # What happens in the window is what EASE says.
    best, _ = members["ease_items"].top(planted.audience(planted.users, USERS), 3, planted.weights)
    relevant = np.zeros((39, 20))
    np.put_along_axis(relevant, best, 1, axis=1)
    weights = Hybrid(HybridSettings(), 7).learned_weights(members, window(planted, relevant), 3)
    assert max(weights, key=lambda name: weights[name] if name != NEW_ITEMS else 0) == "ease_items"
    assert sum(value for name, value in weights.items() if name != NEW_ITEMS) == pytest.approx(1)


def test_an_empty_window_gives_all_members_the_same_weight(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    weights = Hybrid(HybridSettings(), 7).learned_weights(members, window(planted, np.zeros((39, 20))), 3)
    assert weights == pytest.approx(dict.fromkeys(members, 0.25))


def test_scores_of_known_users_are_the_weighted_sum_of_standardised_scores(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    model = blend(planted, members, {"ease_items": 0.6, "most_popular": 0.4})
    audience = planted.audience(planted.users, USERS)
    expected = 0.6 * standardised(members["ease_items"].scores(audience)) + 0.4 * standardised(members["most_popular"].scores(audience))
    known = planted.item_users() > 0
    assert np.allclose(model.scores(audience)[:, known], expected[:, known], atol=1e-5)
    places = np.tile(np.arange(5), (39, 1))
    assert np.allclose(sum(model.contributions(audience, places).values()), model.scores(audience)[:, :5], atol=1e-6)


def test_a_new_user_is_answered_by_features_then_segment_then_popularity(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    model = blend(planted, members, {"ease_items": 1.0})
    new = pd.DataFrame({"user_id": ["known segment", "stranger", "woman"], "gender": [None, None, "f"]})
    audience = planted.audience(new["user_id"].to_numpy(dtype=object), new, {"known segment": 1})
    factors = model.factors(audience)
    assert factors["lightfm_warp"].tolist() == [0, 0, 1]
    assert factors["segment_popular"].tolist() == [1, 0, 0]
    assert factors["most_popular"].tolist() == [0, 1, 0]
    assert np.isfinite(model.scores(audience)).all()


def test_a_new_users_history_counts_the_more_the_longer_it_is(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    model = blend(planted, members, {"ease_items": 1.0})
    audience = planted.audience(np.array(["a", "b"], dtype=object), USERS)
    history = np.zeros((2, 20), dtype=np.float32)
    history[0, :1], history[1, :10] = 1, 1
    factors = model.factors(replace(audience, history=sp.csr_matrix(history)))
    assert factors["ease_items"] == pytest.approx([1 / 11, 10 / 20])
    assert factors["most_popular"] == pytest.approx([10 / 11, 10 / 20])


def test_a_new_item_is_ranked_as_the_items_like_it(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    model = blend(planted, members, {"ease_items": 1.0})
    scores = model.scores(planted.audience(planted.users, USERS))[:, 19]
    men = np.arange(39) % 2 == 1
    assert scores[men].min() > scores[~men].max()


@pytest.mark.parametrize("title", ["{}", "{} {}", "\u2014", "", "the {}"])
def test_a_catalogue_of_words_of_one_character_has_new_items_too(title: str) -> None:
    letters = "SML1234567890abcdefg"
    items = pd.DataFrame(
        {"item_id": [f"i{n:02d}" for n in range(20)], "title": [title.format(letters[n], letters[n % 2]) for n in range(20)]}
    )
    known = build(tastes(), USERS, items, END)
    models, left_out = fit_all((MostPopularSettings(), EASESettings(regularisation=5), ContentBasedSettings()), known, 7)
    assert set(left_out) == ({"content_based"} if title in ("\u2014", "") else set())
    scores = (
        Hybrid(HybridSettings(), 7)
        .blend(models, {"ease_items": 1.0}, END.to_pydatetime(), known)
        .scores(known.audience(known.users, USERS))
    )
    assert np.isfinite(scores).all()
    assert (alike(known)[19].nnz > 0) == (title in ("{} {}", "the {}"))


def test_a_stored_blend_gives_the_same_scores(planted: Interactions, members: dict[str, LearnedModel], tmp_path) -> None:
    model = blend(planted, members, {"ease_items": 0.6, "lightfm_warp": 0.4})
    model.save(tmp_path)
    audience = planted.audience(np.array([*planted.users[:5], "nobody"], dtype=object), USERS)
    loaded = load(tmp_path)
    assert isinstance(loaded, BlendModel)
    assert np.array_equal(loaded.scores(audience), model.scores(audience))
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix not in (".npy", ".json")]


def test_methods_for_the_next_click_are_members_where_they_are_named(planted: Interactions) -> None:
    models = fit_all((MostPopularSettings(), EASESettings(regularisation=5), RecentEASESettings(regularisation=5)), planted, 7)[0]
    assert set(Hybrid(HybridSettings(), 7).chosen(models)) == {"most_popular", "ease_items"}
    assert set(Hybrid(HybridSettings(members=["ease_items", "recent_ease"]), 7).chosen(models)) == {"ease_items", "recent_ease"}


def test_a_blend_of_nothing_is_an_error(planted: Interactions) -> None:
    with pytest.raises(ModelError, match="none of its members could be fitted"):
        Hybrid(HybridSettings(members=["als"]), 7).chosen({})


@law(100)
@given(st.data())
def test_weights_are_above_0_and_sum_to_1_on_any_table(data: st.DataObject) -> None:
    """Also where nothing is relevant, all scores are alike, one member is alone or nothing may be ranked."""
    users, candidates, k = (data.draw(st.integers(1, most)) for most in (6, 8, 10))
    names = [f"member_{number}" for number in range(data.draw(st.integers(1, 4)))]
    scores = st.sampled_from([0.0, 1.0, -1.0, 0.25, 3.5])
    table = {name: np.array(data.draw(_rows(scores, users, candidates)), dtype=np.float32) for name in names}
    flags = {name: np.array(data.draw(_rows(st.booleans(), users, candidates))) for name in ("relevant", "allowed", NEW_ITEMS)}
    ideal = np.array(data.draw(st.lists(st.integers(1, 5), min_size=users, max_size=users)))
    weights = _ascent({**table, **flags, "ideal": ideal}, k)
    assert weights.pop(NEW_ITEMS) > 0
    assert weights.keys() == set(names)
    assert all(weight >= 0 for weight in weights.values())
    assert sum(weights.values()) == pytest.approx(1)


def _rows(values: st.SearchStrategy, users: int, candidates: int) -> st.SearchStrategy:
    return st.lists(st.lists(values, min_size=candidates, max_size=candidates), min_size=users, max_size=users)
