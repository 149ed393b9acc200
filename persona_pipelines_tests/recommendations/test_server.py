"""One server for all: what is stored answers as what was made, with consent, stock and what is bought again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pytest

from persona_pipelines.errors import StoredModelError
from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.models import LearnedModel, recommender
from persona_pipelines.recommendations.serving import (
    FACTS,
    ConsentError,
    PyfuncRecommender,
    Server,
    _load_pyfunc,
    list_for_user,
    server_of,
)
from persona_pipelines.recommendations.tables import Tables
from persona_pipelines.settings.recommendations import (
    MostPopularSettings,
    RecentEASESettings,
    RecommendationsSettings,
    SegmentPopularSettings,
)
from persona_pipelines_tests.recommendations.conftest import FOLLOWS, ITEMS, USERS, tastes
from persona_pipelines_tests.recommendations.test_lists import CATALOGUE, tables, with_rules

ASKED = ["u05", "u38", "u39", "u00", "never seen"]
"""Warm ones, one who is known and has done nothing, one without consent, a stranger."""
WITHOUT_CONSENT = "u00"


@pytest.fixture(scope="module")
def model(planted: Interactions) -> LearnedModel:
    return recommender(RecentEASESettings(regularisation=5, decay=0.3), 7).fit(planted)


@pytest.fixture
def known(planted: Interactions) -> Tables:
    """All but one have consented."""
    return replace(tables(planted, users=USERS[USERS["user_id"] != WITHOUT_CONSENT]), follows=FOLLOWS)


def server(model: LearnedModel, known: Tables, **rules) -> Server:
    return server_of(model, known, with_rules(**rules), "7")


def of(lists: pd.DataFrame, user: str) -> pd.DataFrame:
    return lists[lists["user_id"] == user].reset_index(drop=True)


def is_mapped(array: np.ndarray | None) -> bool:
    return isinstance(array, np.memmap) or (array is not None and is_mapped(array.base))


@pytest.mark.parametrize("method", [RecentEASESettings(regularisation=5), SegmentPopularSettings(), MostPopularSettings(recent_days=30)])
def test_a_stored_server_answers_as_the_one_that_was_made(planted: Interactions, known: Tables, tmp_path: Path, method) -> None:
    made = server(recommender(method, 7).fit(planted), known, diversity=0.3, maximum_per_category=3, category_caps={"odd": 2})
    made.save(tmp_path)
    stored = Server.load(tmp_path)
    pd.testing.assert_frame_equal(stored.lists(ASKED, 6), made.lists(ASKED, 6))
    assert stored.version == "7"
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {".json", ".npy"}


def test_what_is_stored_is_mapped_and_not_read(model: LearnedModel, known: Tables, tmp_path: Path) -> None:
    server(model, known).save(tmp_path)
    stored = Server.load(tmp_path)
    assert is_mapped(stored.people.history.data)
    assert is_mapped(stored.evidence.similarity.data)


def test_the_list_of_one_is_that_among_all(model: LearnedModel, known: Tables) -> None:
    made = server(model, known)
    everybody = made.lists(known.users["user_id"].to_numpy(dtype=object), 8)
    for user in ("u05", "u38", "u39"):
        pd.testing.assert_frame_equal(made.lists([user], 8), of(everybody, user))
    assert everybody["user_id"].drop_duplicates().tolist() == known.users["user_id"].tolist()


def test_people_without_consent_get_what_is_the_same_for_all_and_it_says_so(model: LearnedModel, known: Tables, tmp_path: Path) -> None:
    server(model, known).save(tmp_path)
    lists = Server.load(tmp_path).lists(ASKED, 5)
    assert lists.groupby("user_id")["personal"].all().to_dict() == {
        "u05": True,
        "u38": True,
        "u39": True,
        "u00": False,
        "never seen": False,
    }
    columns = ["rank", "item_id", "score", "reason", "case"]
    pd.testing.assert_frame_equal(of(lists, WITHOUT_CONSENT)[columns], of(lists, "never seen")[columns])
    assert set(of(lists, WITHOUT_CONSENT)["case"]) == {"new user"}
    assert not of(lists, WITHOUT_CONSENT)["reason"].str.contains("because of").any()
    assert of(lists, "u05")["reason"].str.contains("because of").any()
    assert WITHOUT_CONSENT.encode() not in (tmp_path / "people" / "ids.npy").read_bytes()
    with pytest.raises(ConsentError):
        list_for_user(Server.load(tmp_path), WITHOUT_CONSENT, True, 5)
    assert len(list_for_user(Server.load(tmp_path), "never seen", False, 5)) == 5


def test_where_nobody_has_consented_everybody_gets_the_same(model: LearnedModel, known: Tables) -> None:
    lists = server(model, replace(known, users=known.users.head(0))).lists(ASKED, 3)
    assert not lists["personal"].any()
    assert lists.groupby("rank")["item_id"].nunique().tolist() == [1, 1, 1]


def test_each_may_have_a_length_of_their_own(model: LearnedModel, known: Tables) -> None:
    made = server(model, known)
    lists = made.lists(["u05", "u38", "u05"], [2, 4, 3])
    assert lists["rank"].tolist() == [1, 2, 1, 2, 3, 4, 1, 2, 3]
    assert lists["item_id"].tolist()[:2] == made.lists(["u05"], 2)["item_id"].tolist()
    assert len(made.lists(["u05"])) == RecommendationsSettings().k
    assert made.lists([]).empty
    with pytest.raises(ValueError, match="k: found 0; expected 1 or more"):
        made.lists(["u05", "u38"], [3, 0])


def test_the_titles_and_categories_of_a_list_are_those_of_the_catalogue(model: LearnedModel, known: Tables) -> None:
    items = CATALOGUE.assign(
        title=CATALOGUE["title"].where(CATALOGUE["item_id"] != "i04"), category=CATALOGUE["category"].where(CATALOGUE["item_id"] != "i06")
    )
    found = list_for_user(server(model, replace(known, items=items)), "never seen", False, 20).set_index("item_id")
    assert found["title"].isna()[lambda missing: missing].index.tolist() == ["i04"]
    assert found["category"].isna()[lambda missing: missing].index.tolist() == ["i06"]
    assert found.loc["i01", ["title", "category", "model", "model_version"]].tolist() == ["odd thing 1", "odd", "recent_ease", "7"]


def test_mlflow_answers_as_the_server(model: LearnedModel, known: Tables, tmp_path: Path) -> None:
    made = server(model, known, repurchase_categories=["even"])
    made.save(tmp_path)
    stored = _load_pyfunc(str(tmp_path))
    asked = pd.DataFrame({"user_id": ASKED})
    pd.testing.assert_frame_equal(stored.predict(asked), made.lists(ASKED))
    pd.testing.assert_frame_equal(stored.predict(asked.assign(k=4)), made.lists(ASKED, 4))
    pd.testing.assert_frame_equal(stored.predict(asked.assign(k=[4, None, 2, None, 1])), made.lists(ASKED, [4, 10, 2, 10, 1]))


def test_mlflow_leaves_out_what_is_out_of_stock_gone_or_owned_but_for_what_is_bought_again(
    model: LearnedModel, known: Tables, tmp_path: Path
) -> None:
    items = ITEMS[ITEMS["item_id"] != "i03"].assign(in_stock=lambda frame: frame["item_id"] != "i04")
    server(model, replace(known, items=items), repurchase_categories=["even"]).save(tmp_path)
    answer = _load_pyfunc(str(tmp_path)).predict(pd.DataFrame({"user_id": ASKED, "k": 20}))
    assert {"i03", "i04"} & set(answer["item_id"]) == set()
    met = tastes().query("user_id == 'u05'")["item_id"]
    again = set(met) & set(of(answer, "u05")["item_id"])
    assert {int(item[1:]) % 2 for item in again} == {0}


def test_a_model_of_an_earlier_version_is_loaded_and_says_what_it_cannot_do(model: LearnedModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    with pytest.warns(UserWarning, match=r"without consent, stock, rules and reasons: everybody gets the list that is the same for all"):
        stored = _load_pyfunc(str(tmp_path))
    answer = stored.predict(pd.DataFrame({"user_id": ["u05", "never seen"], "k": [3, 3]}))
    assert answer["rank"].tolist() == [1, 2, 3, 1, 2, 3]
    assert not answer["personal"].any()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (FACTS, b"{", "no server that can be read"),
        (FACTS, orjson.dumps({"format": 99}), "a server of format 99; expected 1: train it again"),
        ("people/ids.npy", b"", "no arrays that can be read"),
        ("catalogue/similarity/data.npy", None, "no arrays that can be read"),
        ("people/history", None, "no server that can be read"),
        ("arrays/weights.npy", b"PK", "no arrays that can be read"),
    ],
)
def test_a_damaged_server_is_told(
    model: LearnedModel, known: Tables, tmp_path: Path, file: str, content: bytes | None, message: str
) -> None:
    import shutil

    server(model, known).save(tmp_path)
    if content is not None:
        (tmp_path / file).write_bytes(content)
    elif (tmp_path / file).is_dir():
        shutil.rmtree(tmp_path / file)
    else:
        (tmp_path / file).unlink()
    with pytest.raises(StoredModelError, match=message):
        Server.load(tmp_path)


def test_an_answer_without_rows_has_the_columns_of_one_with(model: LearnedModel, known: Tables) -> None:
    nothing = PyfuncRecommender(server(model, replace(known, items=ITEMS.assign(in_stock=False)))).predict(pd.DataFrame({"user_id": ASKED}))
    assert nothing.empty
    assert nothing.dtypes.to_dict() == server(model, known).lists(ASKED).dtypes.to_dict()
