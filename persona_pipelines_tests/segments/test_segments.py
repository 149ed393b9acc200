import numpy as np
import pandas as pd
import pytest

from persona_pipelines.segments.model import SegmentModel, fit_segments
from persona_pipelines.segments.naming import segment_names
from persona_pipelines.segments.preprocessing import PLAIN, SKEWED
from persona_pipelines.segments.summary import segment_profiles
from persona_pipelines.settings import SegmentsSettings

SETTINGS = SegmentsSettings(minimum_k=2, maximum_k=6)


def people(*groups: dict[str, float], each: int = 60, seed: int = 1) -> pd.DataFrame:
    """Users around some centres; features that a group does not name are about 1."""
    generator = np.random.default_rng(seed)
    frames = []
    for number, group in enumerate(groups):
        frame = pd.DataFrame({name: generator.normal(group.get(name, 1.0), 0.05, each) for name in (*SKEWED, *PLAIN)})
        frames.append(frame.assign(user_id=[f"g{number}-{row:03d}" for row in range(each)]))
    return pd.concat(frames, ignore_index=True).sort_values("user_id", ignore_index=True)


RICH, NIGHT, IDLE = (
    {"monetary_value": 500.0, "frequency": 9.0},
    {"night_share": 3.0, "category_entropy": 0.0},
    {"recency_days": 80.0, "sessions": 0.0},
)


def test_planted_groups_are_found_and_named_by_what_sets_them_apart() -> None:
    features = people(RICH, NIGHT, IDLE)
    fit = fit_segments(features, SETTINGS)
    assigned = fit.model.assign(features)
    groups = assigned.groupby(assigned["user_id"].str[:2])["segment_name"].unique()
    assert [len(names) for names in groups] == [1, 1, 1]
    assert "spenders" in groups["g0"][0] or "buyers" in groups["g0"][0]
    assert "ight" in groups["g1"][0] or "specialists" in groups["g1"][0]
    assert fit.quality[fit.quality["chosen"]]["k"].tolist() == [3]


def test_the_order_of_users_does_not_matter() -> None:
    features = people(RICH, NIGHT)
    shuffled = features.sample(frac=1, random_state=4)
    first, second = fit_segments(features, SETTINGS).model, fit_segments(shuffled, SETTINGS).model
    assert (first.centres == second.centres).all()
    assert first.names == second.names


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_or_identical_users_have_a_defined_answer(count: int) -> None:
    same = people({}, each=1)
    features = pd.concat([same] * count, ignore_index=True).assign(user_id=[f"u{n}" for n in range(count)])
    assigned = fit_segments(features, SETTINGS).model.assign(features)
    assert assigned["segment_name"].tolist() == ["Everyone"] * count
    assert np.isfinite(assigned["distance"]).all()


def test_two_different_users_and_missing_features_are_no_obstacle() -> None:
    features = people(RICH, IDLE, each=1).assign(price_level=np.nan)
    assigned = fit_segments(features, SETTINGS).model.assign(features)
    assert assigned["segment_id"].nunique() == 2


def test_nobody_is_an_error_in_words() -> None:
    with pytest.raises(ValueError, match="no users"):
        fit_segments(people(RICH).head(0), SETTINGS)


def test_a_stored_model_assigns_the_same(tmp_path) -> None:
    features = people(RICH, NIGHT, IDLE)
    model = fit_segments(features, SETTINGS).model
    model.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["arrays.npz", "model.json"]
    assert SegmentModel.load(tmp_path).assign(features).equals(model.assign(features))


def test_no_two_segments_share_a_name() -> None:
    names = segment_names(["recency_days", "sessions"], np.array([[1.0, 0.5]] * 5))
    assert len(set(names)) == 5


def test_a_profile_of_a_segment_counts_its_users_and_their_categories() -> None:
    features = people(RICH, NIGHT)
    model = fit_segments(features, SETTINGS).model
    shares = pd.DataFrame({"user_id": features["user_id"], "category": "Books", "attention_share": 1.0})
    found = segment_profiles(model, model.assign(features), features, shares)
    assert found["users"].sum() == 120
    assert found["top_categories"].tolist()[0] == "Books 100%"
