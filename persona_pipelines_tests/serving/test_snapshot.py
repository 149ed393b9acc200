"""What the last run knows, as arrays: what is stored comes back, what is damaged is told, and weights are those of the model."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from persona_pipelines.errors import StoredModelError
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.most_popular import PopularityModel
from persona_pipelines.serving.snapshot import FORMAT, NEIGHBOURS, load, weights_between
from persona_pipelines.serving.state import shared_places
from persona_pipelines_tests.serving.conftest import USERS, device_name, snapshot, user_name

ITEMS = np.array([f"i{number}" for number in range(6)], dtype=object)
DENSE = np.random.default_rng(4).normal(size=(6, 6)).astype(np.float32)


def model(state) -> HistoryModel:
    return HistoryModel("m", np.array([], dtype=object), ITEMS, "", state)


def test_a_snapshot_comes_back_and_finds_people_and_devices(tmp_path) -> None:
    found = snapshot(tmp_path / "s")
    assert sorted(found.person(user_name(number)) for number in range(USERS)) == list(range(USERS))
    assert found.people[found.person(user_name(4))].decode() == user_name(4)
    assert found.person(user_name(99)) == -1
    assert found.device_user[found.device_of(device_name("tablet"))] == found.person(user_name(3))
    assert found.device_of(device_name("unheard")) == -1
    # The same first half: only the whole name tells.
    assert found.person(user_name(4)[:16] + "0" * 16) == -1


def test_whose_items_are_of_one_moment_is_known_for_everybody_at_once(tmp_path) -> None:
    found, generator = snapshot(tmp_path / "s"), np.random.default_rng(1)
    starts = np.concatenate([[0], np.cumsum(generator.integers(0, 4, USERS))])
    for _ in range(20):
        moments = generator.integers(0, 3, starts[-1])
        shop = replace(found, history_start=starts, history_time=moments)
        shared = [shared_places(moments[starts[person] : starts[person + 1]]) is not None for person in range(USERS)]
        assert [shop.shares_moments(person) for person in range(USERS)] == shared
    assert not found.shares_moments(-1)


def test_what_is_not_whole_is_told_with_what_to_do(tmp_path) -> None:
    found = snapshot(tmp_path / "s")
    weights = found.folder / "scores-3" / "weights.npy"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(StoredModelError, match=r"scores-3/weights\.npy: is not as it was written; persona serve makes the snapshot again"):
        load(found.folder)
    found = snapshot(tmp_path / "t")
    (found.folder / "popularity.npy").unlink()
    with pytest.raises(StoredModelError, match=r"popularity\.npy: is not as it was written"):
        load(found.folder)
    found = snapshot(tmp_path / "u")
    facts = found.folder / "snapshot.json"
    facts.write_text(facts.read_text().replace(f'"format": {FORMAT}', '"format": 0'))
    with pytest.raises(StoredModelError, match="made by another version"):
        load(found.folder)
    with pytest.raises(StoredModelError, match="no snapshot that can be read"):
        load(tmp_path / "nowhere")


def test_one_bit_that_is_another_one_is_told_whichever_it_is(tmp_path) -> None:
    """An index that is wrong by one is another item, and no error that a list would tell."""
    folder, generator = snapshot(tmp_path / "s").folder, np.random.default_rng(4)
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = bytearray(file.read_bytes())
        place = int(generator.integers(len(content)))
        content[place] ^= 1 << int(generator.integers(8))
        whole = file.read_bytes()
        file.write_bytes(content)
        with pytest.raises(StoredModelError, match="persona serve makes"):
            load(folder)
        file.write_bytes(whole)
    assert load(folder).items


@pytest.mark.parametrize("kind", ["dense", "sparse", "back"])
def test_weights_between_items_are_the_models_own_those_above_0(kind: str) -> None:
    state = {
        "dense": {"weights": DENSE},
        "sparse": {"weights": sp.csr_matrix(DENSE)},
        "back": {"weights": np.eye(6, dtype=np.float32), "back": DENSE},
    }[kind]
    found = weights_between(model(state))
    assert found is not None
    assert np.allclose(found.toarray(), np.maximum(DENSE, 0), atol=1e-6)
    assert np.diff(found.indptr).max() <= NEIGHBOURS


def test_a_model_without_a_history_has_none() -> None:
    assert weights_between(PopularityModel("p", ITEMS, ITEMS, "", {"popularity": np.zeros(6)})) is None
