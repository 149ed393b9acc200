import json

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from persona_pipelines.recommendations.data import build
from persona_pipelines.recommendations.evaluation.comparison import chosen_model, compare
from persona_pipelines.recommendations.models import FactorModel, LightFMWarp, MostPopular
from persona_pipelines.recommendations.models.factors import _load_pyfunc
from persona_pipelines.recommendations.serving import recommended
from persona_pipelines.settings import LightFMSettings

END = pd.Timestamp("2025-09-30")
ITEMS = pd.DataFrame({"item_id": [f"i{n:02d}" for n in range(20)], "category": ["even" if n % 2 == 0 else "odd" for n in range(20)]})
USERS = pd.DataFrame({"user_id": [f"u{n:02d}" for n in range(40)], "gender": ["f" if n % 2 == 0 else "m" for n in range(40)]})


def tastes(seed: int = 3) -> pd.DataFrame:
    """Women like even items, men odd ones; item 19 and user 39 have no interactions."""
    generator = np.random.default_rng(seed)
    rows = []
    for user in range(39):
        liked = generator.choice([n for n in range(19) if n % 2 == user % 2], 6, replace=False)
        rows += [(f"u{user:02d}", f"i{item:02d}", 1.0, END - pd.Timedelta(days=int(generator.integers(1, 60)))) for item in liked]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "weight", "last_time"])


@pytest.fixture(scope="module")
def fitted() -> FactorModel:
    return LightFMWarp(LightFMSettings(components=8, epochs=30), 7).fit(build(tastes(), USERS, ITEMS, END))


def test_most_popular_counts_users_over_all_time_or_a_window() -> None:
    table = pd.DataFrame(
        [("a", "old", 9.0, 50), ("b", "old", 9.0, 50), ("a", "new", 1.0, 5)], columns=["user_id", "item_id", "weight", "age"]
    )
    table["last_time"] = END - pd.to_timedelta(table["age"], unit="D")
    data = build(table, USERS.head(0), pd.DataFrame({"item_id": []}), END)
    assert MostPopular().fit(data).item_biases.tolist() == [1, 2]
    assert MostPopular(30).fit(data).item_biases.tolist() == [1, 0]


def test_lightfm_learns_tastes_and_leaves_out_what_was_seen(fitted: FactorModel) -> None:
    lists = recommended(fitted, USERS.head(39), tastes(), 4, exclude_seen=True)
    odd = lists["item_id"].str[1:].astype(int) % 2
    assert (odd == lists["user_id"].str[1:].astype(int) % 2).mean() > 0.9
    seen = set(map(tuple, tastes()[["user_id", "item_id"]].to_numpy()))
    assert not seen & set(map(tuple, lists[["user_id", "item_id"]].to_numpy()))
    assert (lists.groupby("user_id")["rank"].max() <= 4).all()


def test_a_new_user_is_answered_by_their_features_and_a_stranger_by_popularity(fitted: FactorModel) -> None:
    new = pd.DataFrame({"user_id": ["woman", "man", "stranger"], "gender": ["f", "m", None]})
    lists = recommended(fitted, new, tastes().head(0), 3, exclude_seen=True)
    assert lists["case"].unique().tolist() == ["new user"]
    parity = lists["item_id"].str[1:].astype(int) % 2
    assert (parity[lists["user_id"] == "woman"] == 0).all()
    assert (parity[lists["user_id"] == "man"] == 1).all()
    assert (lists["user_id"] == "stranger").sum() == 3


def test_a_new_item_can_be_recommended(fitted: FactorModel) -> None:
    assert "i19" in fitted.items
    place = list(fitted.items).index("i19")
    assert np.isfinite(fitted.item_factors[place]).all()


def test_the_same_seed_gives_the_same_model(fitted: FactorModel) -> None:
    again = LightFMWarp(LightFMSettings(components=8, epochs=30), 7).fit(build(tastes(), USERS, ITEMS, END))
    assert (again.item_factors == fitted.item_factors).all()


def test_a_stored_model_gives_the_same_lists_and_holds_no_pickle(fitted: FactorModel, tmp_path) -> None:
    fitted.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["arrays.npz", "model.json"]
    loaded = FactorModel.load(tmp_path)
    assert recommended(loaded, USERS, tastes(), 5, True).equals(recommended(fitted, USERS, tastes(), 5, True))
    answer = _load_pyfunc(str(tmp_path)).predict(pd.DataFrame({"user_id": ["u01"], "k": [3]}))
    assert answer["rank"].tolist() == [1, 2, 3]


def test_a_model_of_another_format_is_refused(tmp_path) -> None:
    (tmp_path / "model.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99; expected 1: train it again"):
        FactorModel.load(tmp_path)


def test_top_breaks_ties_by_position_and_leaves_places_empty() -> None:
    model = FactorModel(
        "m", np.array([]), np.array(list("abcd"), dtype=object), np.zeros((0, 0)), np.zeros((4, 0)), np.array([1.0, 2.0, 2.0, 2.0])
    )
    best, _ = model.top(np.zeros((2, 0)), 2, sp.csr_matrix(np.array([[0, 0, 0, 0], [1, 1, 1, 0]])))
    assert best.tolist() == [[1, 2], [3, -1]]


def test_the_comparison_judges_known_and_new_users_apart() -> None:
    data = build(tastes(), USERS, ITEMS, END)
    test = pd.DataFrame(
        [*((f"u{n:02d}", f"i{m:02d}") for n in range(39) for m in range(n % 2, 19, 2)), ("u39", "i01"), ("u39", "never seen")],
        columns=["user_id", "item_id"],
    )
    judged = compare([LightFMWarp(LightFMSettings(components=8, epochs=30), 7), MostPopular()], data, test, USERS, 3, True)
    found = {(entry.model, entry.case): entry for entry in judged}
    assert found["lightfm_warp", "warm"].users == 39
    assert found["lightfm_warp", "new user"].users == 1
    assert (
        found["lightfm_warp", "warm"].scores.means()["precision_at_k"]
        > 0.85
        > found["most_popular", "warm"].scores.means()["precision_at_k"]
    )
    assert found["most_popular", "new user"].scores.means()["recall_at_k"] <= 0.5
    assert chosen_model(judged, "lightfm_warp", "most_popular") == "lightfm_warp"
    assert chosen_model(judged, "most_popular", "lightfm_warp") == "lightfm_warp"
