import json
import re
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from persona_pipelines.audiences.conditions import matching
from persona_pipelines.features.attributes import expanded, numeric
from persona_pipelines.segments.algorithms import ALGORITHMS, FINDS_ITS_OWN_NUMBER, NOISE, Regions, regions, without_small
from persona_pipelines.segments.alignment import align
from persona_pipelines.segments.labels import Label
from persona_pipelines.segments.maps import neighbourhoods, principal_components
from persona_pipelines.segments.model import SegmentModel, fit_segments
from persona_pipelines.segments.naming import Name
from persona_pipelines.segments.preprocessing import PLAIN, SKEWED, fit_scaler
from persona_pipelines.segments.rules import segment_rules
from persona_pipelines.segments.selection import choose
from persona_pipelines.segments.summary import summary
from persona_pipelines.settings.sources import COLUMN_TYPES
from persona_pipelines.settings.stages import SegmentsSettings
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines.warehouse.described import Log
from persona_pipelines_tests.conftest import KEY

SETTINGS = SegmentsSettings(minimum_k=2, maximum_k=6, stability_refits=3, algorithms=["k_means", "hierarchical", "gaussian_mixture"])
NO_SHARES = pd.DataFrame({"user_id": [], "category": [], "interest_share": []})


def people(*groups: dict[str, float], each: int = 60, seed: int = 1) -> pd.DataFrame:
    """Users around some centres; features that a group does not name are about 1."""
    generator = np.random.default_rng(seed)
    frames = []
    for number, group in enumerate(groups):
        frame = pd.DataFrame({name: generator.normal(group.get(name, 1.0), 0.05, each) for name in (*SKEWED, *PLAIN)})
        frames.append(frame.assign(user_id=[f"g{number}-{row:03d}" for row in range(each)]))
    found = pd.concat(frames, ignore_index=True).sort_values("user_id", ignore_index=True)
    return found.assign(user_number=np.arange(len(found)))


RICH, NIGHT, IDLE = (
    {"monetary_value": 500.0, "frequency": 9.0},
    {"night_share": 3.0, "category_entropy": 0.0},
    {"recency_days": 80.0, "sessions": 0.0},
)


def test_planted_groups_are_found_and_named_by_what_sets_them_apart() -> None:
    features = people(RICH, NIGHT, IDLE)
    fit = fit_segments(features, NO_SHARES, SETTINGS)
    assigned = fit.model.assign(features, NO_SHARES)
    groups = assigned.groupby(assigned["user_id"].str[:2])["segment_name"].unique()
    assert [len(names) for names in groups] == [1, 1, 1]
    assert "spenders" in groups["g0"][0] or "buyers" in groups["g0"][0]
    assert "ight" in groups["g1"][0] or "specialists" in groups["g1"][0]
    assert fit.quality[fit.quality["chosen"]]["k"].tolist() == [3]


@pytest.mark.slow
def test_neither_the_order_of_rows_nor_the_ids_matter() -> None:
    features = people(RICH, NIGHT)
    shuffled = features.assign(user_id=features["user_id"].to_numpy()[::-1]).sample(frac=1, random_state=4)
    first, second = fit_segments(features, NO_SHARES, SETTINGS).model, fit_segments(shuffled, NO_SHARES, SETTINGS).model
    assert (first.regions.centres == second.regions.centres).all()
    assert first.names == second.names


@pytest.mark.parametrize("count", [1, 2, 5])
def test_few_or_identical_users_have_a_defined_answer(count: int) -> None:
    same = people({}, each=1)
    features = pd.concat([same] * count, ignore_index=True).assign(user_id=[f"u{n}" for n in range(count)])
    assigned = fit_segments(features, NO_SHARES, SETTINGS).model.assign(features, NO_SHARES)
    assert assigned["segment_name"].tolist() == ["Everyone"] * count
    assert np.isfinite(assigned["distance"]).all()


def test_everyone_differs_from_nobody() -> None:
    features = people(RICH, each=3)
    model = fit_segments(features, NO_SHARES, SETTINGS).model
    found = summary(model, model.assign(features, NO_SHARES), features, NO_SHARES, Log())
    assert found.profiles["segment_name"].tolist() == ["Everyone"]
    assert found.profiles["distinguishing_features"].tolist() == ["none"]
    assert found.profiles["description"].tolist() == ["Everyone: 100% of all users."]
    assert not found.differences["clear"].any()


def test_two_different_users_and_missing_features_are_no_obstacle() -> None:
    features = people(RICH, IDLE, each=1).assign(price_level=np.nan)
    assigned = fit_segments(features, NO_SHARES, SETTINGS).model.assign(features, NO_SHARES)
    assert assigned["segment_name"].notna().all()
    many = people(RICH, IDLE, each=30).assign(price_level=np.nan, click_rate=np.inf)
    assert fit_segments(many, NO_SHARES, SETTINGS).model.assign(many, NO_SHARES)["segment_id"].nunique() == 2


def test_nobody_is_an_error_in_words() -> None:
    with pytest.raises(ValueError, match="no users"):
        fit_segments(people(RICH).head(0), NO_SHARES, SETTINGS)


@pytest.mark.slow
def test_a_stored_model_assigns_the_same(tmp_path) -> None:
    features = people(RICH, NIGHT, IDLE)
    model = fit_segments(features, NO_SHARES, SETTINGS).model
    model.save(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["arrays.npz", "model.json"]
    assert SegmentModel.load(tmp_path).assign(features, NO_SHARES).equals(model.assign(features, NO_SHARES))


TOLD = (
    Name("Average visitors who lean more to Books", (), "Average visitors", ("interest.Books", 1)),
    Name("Average visitors 2", (), "Average visitors"),
)


def two_alike(*names: Name) -> tuple[SegmentModel, pd.DataFrame, pd.DataFrame, np.ndarray]:
    """A model of two segments whose people differ in nothing but their interests, with these people."""
    features = people({}, {}, each=40)
    shares = pd.DataFrame({"user_id": features["user_id"], "category": ["Books"] * 40 + ["Wine"] * 40, "interest_share": 1.0})
    scaler = fit_scaler(features, shares)
    model = SegmentModel(scaler, Regions(np.zeros((2, scaler.transform(features, shares).shape[1])), np.full(2, np.inf)), (1, 2), names, 2)
    return model, features, shares, np.repeat([1, 2], 40)


def test_a_stored_model_knows_what_tells_namesakes_apart(tmp_path) -> None:
    model, *_ = two_alike(*TOLD)
    model.save(tmp_path)
    assert SegmentModel.load(tmp_path).named == TOLD


def test_a_number_of_an_earlier_version_is_that_of_the_name_before_it(tmp_path) -> None:
    model, *_ = two_alike(Name("Owls"), Name("Owls 2"))
    model.save(tmp_path)
    stored = json.loads((tmp_path / "model.json").read_text())
    del stored["shared"], stored["apart"]
    (tmp_path / "model.json").write_text(json.dumps(stored))
    assert SegmentModel.load(tmp_path).named == (Name("Owls"), Name("Owls 2", (), "Owls"))


def test_what_tells_namesakes_apart_is_asked_of_their_people_of_today() -> None:
    model, features, shares, segment_of = two_alike(*TOLD)
    assert list(model.namesakes(features, shares, segment_of)) == [1]
    assert model.named[0].is_apart(model.namesakes(features, shares, segment_of)[1])
    assert not model.named[0].is_apart(model.namesakes(features, shares, segment_of[::-1])[1])
    called = model.called({2: Label("Winers")})
    assert called.names == ("Average visitors who lean more to Books", "Winers")
    assert called.named[0].is_apart(called.namesakes(features, shares, segment_of)[1])


def test_a_description_says_where_people_of_today_are_no_longer_told_apart_by_the_name() -> None:
    model, features, shares, segment_of = two_alike(*TOLD)
    for segments, stale in ((segment_of, False), (segment_of[::-1], True)):
        placed = pd.DataFrame({"user_id": features["user_id"], "segment_id": segments})
        told = summary(model, placed, features, shares, Log()).profiles["description"][0]
        assert ("The name is that of the training" in told) == stale


@pytest.mark.slow
def test_people_who_are_alike_in_all_but_interests_are_named_by_these() -> None:
    half = people({})
    features = pd.concat([half, half.assign(user_id="g1" + half["user_id"].str[2:], user_number=half["user_number"] + 60)])
    shares = pd.DataFrame({"user_id": features["user_id"], "category": ["Books"] * 60 + ["Wine"] * 60, "interest_share": 1.0})
    model = fit_segments(features, shares, SETTINGS).model
    assert sorted(model.names) == ["Average visitors who lean more to Books", "Average visitors who lean more to Wine"]
    mixed = shares.sample(frac=1, random_state=5)
    assert fit_segments(features.sample(frac=1, random_state=4), mixed, SETTINGS).model.names == model.names
    assert fit_segments(features, shares, SETTINGS, before=model).model.named == model.named


def test_a_profile_of_a_segment_counts_its_users_and_their_categories() -> None:
    features = people(RICH, NIGHT)
    model = fit_segments(features, NO_SHARES, SETTINGS).model
    shares = pd.DataFrame({"user_id": features["user_id"], "category": "Books", "interest_share": 1.0})
    found = summary(model, model.assign(features, NO_SHARES), features, shares, Log()).profiles
    assert found["users"].sum() == 120
    assert found["top_categories"].tolist()[0] == "Books 100%"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_finds_three_far_groups(name: str) -> None:
    from sklearn.metrics import adjusted_rand_score

    generator = np.random.default_rng(2)
    truth = np.repeat(np.arange(3), 120)
    sample = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0]])[truth] + generator.normal(0, 0.5, (360, 3))
    labels = ALGORITHMS[name](sample, 3, 1)
    assert adjusted_rand_score(truth[labels != NOISE], labels[labels != NOISE]) > 0.99
    assert np.array_equal(labels, ALGORITHMS[name](sample, 3, 1))
    placed, distance = regions(sample, labels).assign(np.array([[9.0, 0.1, 0], [500, 500, 500]]))
    assert placed[0] == labels[150]
    assert np.isfinite(distance).all()
    if name in FINDS_ITS_OWN_NUMBER and (labels == NOISE).any():
        assert placed[1] == NOISE


def test_two_groups_are_taken_only_where_no_algorithm_finds_as_many_as_are_asked_for() -> None:
    """Two far clouds, one of them of two parts: by the silhouette two groups are better than three."""
    generator = np.random.default_rng(3)
    sample = np.array([[0, 0], [1.6, 0], [30, 0]])[np.repeat(np.arange(3), 60)] + generator.normal(0, 0.4, (180, 2))
    settings = SegmentsSettings(algorithms=["dbscan", "k_means"], minimum_k=3, maximum_k=4, stability_refits=2)
    found = choose(sample, settings, 20)
    best = max((entry for entry in found.candidates if entry.k >= 2), key=lambda entry: entry.silhouette)
    assert (best.algorithm, best.k) == ("dbscan", 2)
    assert found.chosen.k >= 3
    assert choose(sample, settings.model_copy(update={"algorithms": ["dbscan"]}), 20).chosen.k == 2


@pytest.mark.slow
def test_interests_tell_users_apart_who_are_alike_in_all_else() -> None:
    features = people({}, {})
    shares = pd.DataFrame({"user_id": features["user_id"], "category": ["Books"] * 60 + ["Wine"] * 60, "interest_share": 1.0})
    assigned = fit_segments(features, shares, SETTINGS).model.assign(features, shares)
    assert assigned.groupby(assigned["user_id"].str[:2])["segment_id"].nunique().tolist() == [1, 1]
    assert assigned["segment_id"].nunique() == 2


def test_an_extreme_user_makes_no_segment() -> None:
    features = people(RICH, NIGHT)
    features.loc[0, "monetary_value"] = 1e12
    model = fit_segments(features, NO_SHARES, SETTINGS).model
    assert min(model.assign(features, NO_SHARES)["segment_id"].value_counts()) >= 20


def test_small_groups_are_merged_into_the_nearest() -> None:
    points = np.array([[0.0]] * 30 + [[1.0]] * 5 + [[9.0]] * 25)
    labels = np.array([2] * 30 + [1] * 5 + [0] * 25)
    assert np.bincount(without_small(labels, points, 20)).tolist() == [35, 25]
    assert without_small(np.full(4, NOISE), points[:4], 2).tolist() == [NOISE] * 4


@pytest.mark.slow
def test_segments_keep_ids_and_names_when_they_are_trained_again_on_other_days() -> None:
    before = fit_segments(people(RICH, NIGHT, IDLE, seed=1), NO_SHARES, SETTINGS)
    later = people(RICH, NIGHT, IDLE, seed=9)
    after = fit_segments(later, NO_SHARES, SETTINGS, before.model)
    assert before.model.assign(later, NO_SHARES)["segment_id"].equals(after.model.assign(later, NO_SHARES)["segment_id"])
    assert dict(zip(after.model.ids, after.model.names, strict=True)) == dict(zip(before.model.ids, before.model.names, strict=True))
    assert after.alignment.changes["change"].tolist() == ["kept"] * 3


def test_alignment_reports_what_was_kept_born_split_merged_and_died() -> None:
    old = np.array([1] * 100 + [2] * 40 + [3] * 10)
    new = np.array([1] * 60 + [0] * 40 + [2] * 40 + [2] * 10)
    found = align(old, new, 3, 3)
    assert found.ids == [4, 1, 2]
    changes = {
        (row.segment_id, row.change, row.other_segment_id if row.other_segment_id == row.other_segment_id else None)
        for row in found.changes.itertuples()
    }
    assert changes >= {
        (1, "kept", None),
        (2, "kept", None),
        (4, "born", None),
        (1, "split", 4),
        (4, "merged", 1),
        (3, "died", None),
        (3, "split", 2),
    }
    # An id that was given once is never given again.
    assert align(np.array([], int), np.array([], int), 2, 7).ids == [8, 9]


def test_maps_have_a_place_for_everyone() -> None:
    points = np.random.default_rng(1).normal(size=(40, 5))
    assert principal_components(points).shape == neighbourhoods(points, 1).shape == (40, 2)
    assert np.isfinite(principal_components(points[:1, :1])).all()
    assert np.array_equal(neighbourhoods(points, 1), neighbourhoods(points, 1))


def test_a_rule_of_attributes_is_a_condition_that_finds_who_meets_it() -> None:
    """Categories in quotes, yes and no as true and false, dates as dates: what an audience is saved by."""
    generator = np.random.default_rng(5)
    group = np.arange(240) % 4
    stored = pd.DataFrame(
        {
            "user_id": [f"u{number:03d}" for number in range(240)],
            "city": np.where(group == 0, "O'Hara", np.where(generator.random(240) < 0.5, "Rome", "Bern")),
            "loyal": group == 1,
            "since": np.where(group == 2, "2026-01-0", "2020-01-0"),
            "age": np.where(group == 3, 70.0, 30.0) + generator.integers(0, 9, 240),
        }
    )
    stored["since"] += [str(day) for day in generator.integers(1, 9, 240)]
    types: dict[str, Any] = {"city": "category", "loyal": "boolean", "since": "date", "age": "number"}
    objects = [
        json.dumps({"city": row.city, "loyal": bool(row.loyal), "since": row.since, "age": float(row.age)}) for row in stored.itertuples()
    ]
    plain = expanded(pd.DataFrame({"user_id": stored["user_id"], "attributes": objects}), types)
    features = pd.concat([plain[["user_id"]], numeric(plain)], axis=1)
    assigned = pd.DataFrame({"user_id": stored["user_id"], "segment_id": group + 1})
    rules = segment_rules(assigned, features, sorted(set(features.columns) - {"user_id"}), types).set_index("segment_id")
    assert rules.loc[1, "rule"] == 'attributes.city = "O\'Hara"'
    assert rules.loc[2, "rule"] == "attributes.loyal = true"
    assert re.fullmatch(r"attributes.since > '20\d\d-\d\d-\d\d'", rules.loc[3, "rule"])
    assert re.match(r"attributes.age > \d", rules.loc[4, "rule"])
    profiles = ibis.memtable(pd.DataFrame({"user_id": stored["user_id"], "attributes": objects}))
    inner = {f"attributes.{name}": COLUMN_TYPES[kind] for name, kind in types.items()}
    for row in rules.itertuples():
        with Warehouse(None, KEY) as store:
            assert store.value(matching(profiles, row.rule, inner).count()) == row.users


def test_a_rule_that_says_less_than_that_all_are_in_the_segment_is_none() -> None:
    generator = np.random.default_rng(6)
    features = pd.DataFrame({"user_id": [f"u{number:03d}" for number in range(300)], "items": generator.random(300)})
    assigned = pd.DataFrame({"user_id": features["user_id"], "segment_id": generator.integers(1, 3, 300)})
    assert segment_rules(assigned, features, ["items"]).empty or (segment_rules(assigned, features, ["items"])["precision"] > 0.5).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_rule_counts_who_meets_it_as_it_is_written(seed: int) -> None:
    """Bounds as they are printed, and whose value is not known does not meet them: so the rule as a condition gives the same people."""
    generator = np.random.default_rng(seed)
    features = people(RICH, NIGHT, IDLE, each=80, seed=seed)
    features["monetary_value"] *= 1234.5678
    features["price_level"] = np.where(
        generator.random(len(features)) < 0.5, np.nan, features["night_share"] + generator.normal(0, 0.2, len(features))
    )
    assigned = pd.DataFrame({"user_id": features["user_id"], "segment_id": features["user_id"].str[1].astype(int) + 1})
    rules = segment_rules(assigned, features, ["monetary_value", "price_level", "recency_days"])
    assert len(rules) == 3
    for row in rules.itertuples():
        met = features.query(row.rule).index
        inside = assigned["segment_id"] == row.segment_id
        assert len(met) == row.users
        assert row.precision == pytest.approx(inside[met].mean())
        assert row.coverage == pytest.approx(inside[met].sum() / inside.sum())
