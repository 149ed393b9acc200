"""Items that come while the service runs: in lists from the first moment, by what they say of themselves, and kept for the next run."""

import datetime as dt
from dataclasses import replace

import numpy as np
import orjson
import pytest

from persona_pipelines.serving import building
from persona_pipelines.serving import catalogue as catalogues
from persona_pipelines.serving.building import unmet_items
from persona_pipelines.serving.catalogue import CatalogueError, Kept, Row, as_kept
from persona_pipelines.serving.compacting import compacted
from persona_pipelines.serving.engine import Asked, Engine
from persona_pipelines.serving.journal import Journal
from persona_pipelines.serving.service import app_of
from persona_pipelines_tests.serving.conftest import HISTORIES, ITEMS, KEY, NOW, told
from persona_pipelines_tests.serving.test_service import post
from persona_pipelines_tests.serving.test_state import event


@pytest.fixture
def shop(engine_of, tmp_path):
    """The service over the shop, and its file of items."""
    journals = []

    def made(**options):
        engine = engine_of(**options)
        engine.kept = Kept(tmp_path / "items.jsonl")
        journals.append(Journal(tmp_path / f"events-{len(journals)}", lambda: NOW.date()))
        return app_of(engine, journals[-1]), engine

    yield made
    for journal in journals:
        journal.close()


def listed(engine: Engine, user: str = "u3", **asked) -> dict[str, dict]:
    return {entry["item_id"]: entry for entry in engine.answer(Asked(user=user, k=ITEMS + 20, **asked))["items"]}


def items(*rows: dict) -> tuple:
    return post(list(rows), "/v1/items")


def test_a_new_item_is_in_lists_of_those_whose_items_are_like_it_and_is_kept_for_the_next_run(shop, tmp_path) -> None:
    app, engine = shop()
    engine.take([event(1, user="3", item=0)])  # red, as are i3, i6 ...
    answers = told(
        app,
        items({"item_id": "n-red", "title": "Red thing", "category": "red", "price": 12.5}, {"item_id": "n-green", "category": "green"}),
        ("GET", "/v1/recommendations/u3?k=40"),
        ("GET", "/v1/items/n-red/similar"),
        post({"event_type": "item_view", "user_id": "u3", "item_id": "n-red"}),
    )
    assert answers[0].json == {"accepted": 2, "new": 2, "new_items": ["n-red", "n-green"]}
    entries = {entry["item_id"]: entry for entry in answers[1].json["items"]}
    assert (entries["n-red"]["title"], entries["n-red"]["category"], entries["n-red"]["reason"]) == ("Red thing", "red", "new in red")
    assert entries["n-red"]["source"] == "live"
    assert entries["n-red"]["score"] > (entries["n-green"]["score"] if entries["n-green"]["source"] == "live" else 0)
    assert answers[2].json["items"] == []
    assert "n-red" not in listed(engine)  # it was met
    kept = [orjson.loads(line) for line in (tmp_path / "items.jsonl").read_bytes().splitlines()]
    assert [(row["item_id"], row.get("price")) for row in kept] == [("n-red", 12.5), ("n-green", None)]


def test_the_first_new_ids_are_named_and_none_twice(shop) -> None:
    app, _ = shop()
    first, again = told(
        app,
        items({"item_id": "i1", "in_stock": False}, {"item_id": "i1", "price": 1}, {"item_id": "i01"}, {"item_id": "i01"}),
        items({"item_id": "i01"}, *({"item_id": f"n{number}"} for number in range(25))),
    )
    assert first.json == {"accepted": 4, "new": 1, "new_items": ["i01"]}
    assert (again.json["accepted"], again.json["new"], again.json["new_items"]) == (26, 25, [f"n{number}" for number in range(20)])


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("in_stock", "yes", "true or false"),
        ("in_stock", 1, "true or false"),
        ("price", "12", "a number"),
        ("price", True, "a number"),
        ("title", 5, "a text"),
        ("categories", "red", "a list"),
    ],
)
def test_values_of_a_row_are_of_the_types_of_json(shop, field: str, value: object, expected: str) -> None:
    app, engine = shop()
    (answer,) = told(app, items({"item_id": "n", field: value}))
    (error,) = answer.json["errors"]
    assert (answer.status, error["found"], error["expected"]) == (422, repr(value), expected)
    assert error["field"].endswith(field)
    assert engine.catalogue.new == 0


@pytest.mark.parametrize(("field", "value"), [("in_stock", "yes"), ("in_stock", 1), ("k", "5"), ("k", True), ("price_below", "9")])
def test_values_of_a_body_are_of_the_types_of_json_and_those_of_an_address_are_texts(shop, field: str, value: object) -> None:
    app, _ = shop()
    in_body, in_address = told(
        app,
        post({field: value}, "/v1/recommendations"),
        ("GET", f"/v1/recommendations/u3?{field}={str(value).lower() if field == 'in_stock' else 5}"),
    )
    assert (in_body.status, in_body.json["errors"][0]["field"], in_address.status) == (422, field, 200)


def test_how_strongly_an_item_leads_to_a_new_one_is_the_regression_of_its_content(engine_of) -> None:
    engine = engine_of()
    rows = [as_kept(Row(item_id="n", title="green", category="red"), NOW)]
    found = engine.catalogue.likenesses(rows)["n"]
    snapshot = engine.snapshot
    vector = np.zeros(8)
    vector[:2] = 1 / np.sqrt(2)  # of its words, of length 1
    vector[4] = 1  # its category
    expected = 2.0 * snapshot.content_vectors.toarray() @ snapshot.content_inverse @ vector
    assert found == pytest.approx(expected, abs=1e-6)
    engine.put(rows, {"n": found})
    engine.take([event(1, user="77", item=4), event(2, user="77", item=3)])
    assert listed(engine, "u77")["n"]["score"] == pytest.approx(expected[3] + 0.8 * expected[4], abs=1e-5)


def test_what_a_row_says_of_a_known_item_holds_at_once(shop) -> None:
    app, engine = shop()
    best = next(iter(listed(engine)))
    assert told(app, items({"item_id": best, "in_stock": False}))[0].json == {"accepted": 1, "new": 0}
    assert best not in listed(engine)
    told(app, items({"item_id": best, "in_stock": True, "price": 1.5, "category": "blue", "title": "Another"}))
    entry = listed(engine)[best]
    assert (entry["title"], entry["category"]) == ("Another", "blue")
    assert list(listed(engine, categories=["blue"])) == [best]
    assert best in listed(engine, price_below=1.6)


def test_wishes_and_stock_hold_for_new_items(shop) -> None:
    app, engine = shop()
    engine.take([event(1, user="3", item=0)])
    told(
        app, items({"item_id": "n", "title": "red", "category": "red", "price": 20}, {"item_id": "gone", "title": "red", "in_stock": False})
    )
    assert "n" in listed(engine)
    assert "gone" not in listed(engine)
    assert "n" not in listed(engine, price_below=20)
    assert "n" not in listed(engine, not_categories=["red"])
    assert "n" not in listed(engine, exclude=["n"])
    assert "n" not in listed(engine, in_stock=True)


def test_a_new_item_stands_in_the_list_of_the_last_run_too(shop) -> None:
    app, engine = shop(nightly=8)
    told(app, items({"item_id": "n", "title": "red thing", "category": "red"}))
    assert listed(engine)["n"]["source"] == "live"
    assert {entry["source"] for item, entry in listed(engine).items() if item != "n"} <= {"nightly", "popular"}


def test_items_that_nobody_has_turned_to_are_the_newest_that_no_model_leads_to(engine_of, monkeypatch: pytest.MonkeyPatch) -> None:
    items = np.array([f"n{number}" for number in range(8)], dtype=object)
    lately = {f"n{number}" for number in range(1, 8)}
    arrived = {"n5": "2025-10-03", "n6": "2025-10-01", "n7": "2025-10-02"}
    led_to = replace(
        engine_of().scores, neighbours=np.array([[2], [3]], dtype=np.int32), weights=np.array([[1.0], [0.0]], dtype=np.float32)
    )
    assert unmet_items(items, lately, arrived, np.array([1, 1]), [led_to]).tolist() == [3, 4, 5, 6, 7]
    monkeypatch.setattr(building, "MOST_NEW", 2)
    assert unmet_items(items, lately, arrived, np.array([1, 1]), [led_to]).tolist() == [5, 7]


@pytest.mark.parametrize("nightly", [0, 8])
def test_what_nobody_has_turned_to_yet_is_still_placed_by_what_it_is_after_the_run(engine_of, nightly: int) -> None:
    likeness = np.linspace(0, 1, ITEMS, dtype=np.float32)[:, None]
    new = {"unmet_item": np.array([29], dtype=np.int32), "unmet_likeness": likeness}
    without, engine = engine_of(nightly=nightly, live_share=0.0), engine_of(nightly=nightly, live_share=0.0, arrays=new)
    history = HISTORIES[3]
    entry = listed(engine)["i29"]
    assert (entry["source"], entry["reason"]) == ("live", "new")
    if not nightly:
        assert entry["score"] == pytest.approx(sum(0.8**place * likeness[item, 0] for place, item in enumerate(history)), abs=1e-5)
    others = [item for item in listed(engine) if item != "i29"]
    assert others == [item for item in listed(without) if item != "i29"]
    row = as_kept(Row(item_id="n", title="red thing", category="red"), NOW)
    engine.put([row], engine.catalogue.likenesses([row]))
    both = listed(engine)
    assert both["i29"]["score"] == entry["score"] or nightly  # beside a list scores are of the best of all
    assert {both["n"]["source"], both["i29"]["source"]} == {"live"}


def test_a_new_item_counts_by_what_it_is_however_little_the_last_items_do(shop) -> None:
    """The list of the last run cannot hold it: the share that is the list's would be taken from it alone."""
    scores = []
    for share in (0.1, 0.9):
        app, engine = shop(nightly=8, live_share=share)
        engine.take([event(1, user="3", item=0)])
        told(app, items({"item_id": f"n{share}", "title": "red thing", "category": "red"}))
        scores.append(listed(engine)[f"n{share}"]["score"])
    assert scores[0] == scores[1] > 0


def test_items_are_there_after_a_restart_and_a_compaction_until_the_tables_have_them(shop, tmp_path) -> None:
    app, engine = shop()
    told(app, items({"item_id": "n", "title": "red", "category": "red"}, {"item_id": "m", "category": "green"}))
    engine.take([event(1, user="3", item=0), {**event(2, user="77"), "item_id": "n"}])
    again = Engine(engine.settings, engine.snapshot, KEY, engine.now, kept=Kept(tmp_path / "items.jsonl"))
    again.take([event(1, user="3", item=0), {**event(2, user="77"), "item_id": "n"}])
    assert listed(again) == {item: {**entry} for item, entry in listed(engine).items()}
    compact = compacted(again.state, tmp_path / "compact", [])
    third = Engine(engine.settings, compact, KEY, engine.now, kept=Kept(tmp_path / "items.jsonl"))
    assert third.state.popularity[third.catalogue.places["n"]] == engine.state.popularity[engine.catalogue.places["n"]] > 0
    for user in ("u3", "u77", "u1"):
        assert listed(third, user) == listed(engine, user)


def test_a_row_older_than_the_tables_does_not_undo_what_they_say(shop, tmp_path) -> None:
    file = tmp_path / "items.jsonl"
    Kept(file).put([as_kept(Row(item_id="i1", in_stock=False), dt.datetime(2025, 9, 1)), as_kept(Row(item_id="i2", in_stock=False), NOW)])
    _, engine = shop()
    again = Engine(engine.settings, engine.snapshot, KEY, engine.now, kept=Kept(file))
    assert again.catalogue.blocked[[1, 2]].tolist() == [False, True]


def test_what_the_tables_do_not_say_stays_as_a_row_has_said_it(engine_of, tmp_path) -> None:
    """A catalogue without stock: what is gone stays gone after every run."""
    kept = Kept(tmp_path / "items.jsonl")
    kept.put([as_kept(Row(item_id=f"i{item}", in_stock=False, price=2.5), dt.datetime(2025, 9, 1)) for item in (3, 4)])
    engine = engine_of(arrays={"in_stock": np.full(ITEMS, -1, dtype=np.int8)})
    again = Engine(engine.settings, engine.snapshot, KEY, engine.now, kept=kept)
    assert again.catalogue.blocked[[3, 4, 5]].tolist() == [True, True, False]
    assert again.catalogue.price[[3, 4]].tolist() == [2.5, 4.0]  # of i3 the tables know no price


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"title": "no id"}, "item_id"),
        ({"item_id": "n", "price": -1}, "price"),
        ({"item_id": "n", "price": "cheap"}, "price"),
        ({"item_id": "n", "colour": "red"}, "colour"),
        ({"item_id": "n", "categories": "red|green"}, "categories"),
    ],
)
def test_a_row_that_cannot_be_used_is_told_with_its_field(shop, row: dict, field: str) -> None:
    app, engine = shop()
    (answer,) = told(app, items({"item_id": "fine"}, row))
    assert answer.status == 422
    assert any(error["field"].endswith(field) for error in answer.json["errors"])
    assert engine.catalogue.new == 0


def test_there_is_an_end_to_the_room_and_a_disk_that_is_full(shop, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, engine = shop()
    rows = [{"item_id": f"n{number}"} for number in range(catalogues.MOST_NEW)]
    assert told(app, items(*rows))[0].json["new"] == catalogues.MOST_NEW
    (answer,) = told(app, items({"item_id": "one-more"}))
    assert (answer.status, "expected at most 1,000" in answer.json["detail"]) == (503, True)
    _, other = shop()
    other.kept = Kept(tmp_path / "no folder" / "items.jsonl")
    (tmp_path / "no folder").write_text("a file")
    with pytest.raises(CatalogueError, match="items cannot be kept"):
        other.kept.put([{"item_id": "n"}])
    assert engine.catalogue.new == catalogues.MOST_NEW


def test_a_damaged_file_of_items_is_told_with_its_line(tmp_path) -> None:
    (tmp_path / "items.jsonl").write_text('{"item_id": "a"}\n{"item')
    with pytest.raises(CatalogueError, match=r"items\.jsonl, line 2: cannot be read"):
        Kept(tmp_path / "items.jsonl")
