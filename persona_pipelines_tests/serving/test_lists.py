"""Lists from live state: scores by their definition, the rules of the shop, reasons that are true."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_pipelines.recommendations.reasons import CIRCLE, POPULAR, POPULAR_LATELY, SEGMENT
from persona_pipelines.serving import lists
from persona_pipelines.serving.catalogue import Row, as_kept
from persona_pipelines.serving.engine import Asked
from persona_pipelines.serving.snapshot import as_rows
from persona_pipelines_tests.serving.conftest import HISTORIES, ITEMS, NOW, USERS, weights
from persona_pipelines_tests.serving.test_state import event

BLOCKED, BOUGHT_AGAIN = 7, 5
DENSE = weights().toarray()


def listed(engine, user: str = "u3", **asked) -> list[dict]:
    return engine.recommendations(Asked(user=user, **asked))[0]["items"]


def numbers(found: list[dict]) -> list[int]:
    return [int(entry["item_id"][1:]) for entry in found]


@pytest.mark.parametrize("user", [1, 2, 3, 6, 9])
def test_scores_are_the_sum_of_weights_by_the_place_in_the_history(engine_of, user: int) -> None:
    """Reckoned with whole matrices."""
    expected = sum((0.8**place * DENSE[item] for place, item in enumerate(HISTORIES[user])), np.zeros(ITEMS))
    expected[[item for item in HISTORIES[user] if item != BOUGHT_AGAIN]] = 0
    expected[BLOCKED] = 0
    order = sorted(np.flatnonzero(expected > 0), key=lambda item: (-expected[item], item))
    found = [entry for entry in listed(engine_of(), f"u{user}", k=ITEMS) if entry["source"] == "live"]
    assert numbers(found) == order
    assert [entry["score"] for entry in found] == pytest.approx(expected[order], abs=1e-5)


@pytest.mark.parametrize("minutes", [[3, 3, 1], [5, 3, 3], [4, 4, 4], [5, 4, 4, 1], [9, 7, 7, 7, 1]])
def test_items_of_one_moment_count_alike(engine_of, minutes: list[int]) -> None:
    engine = engine_of()
    items = list(range(10, 10 + len(minutes)))
    engine.take(
        [event(number, user="77", item=item, minutes=minute) for number, (item, minute) in enumerate(zip(items, minutes, strict=True))]
    )
    place = [np.mean([other for other, moment in enumerate(minutes) if moment == minute]) for minute in minutes]
    expected = sum(0.8**where * DENSE[item] for where, item in zip(place, items, strict=True))
    found = {int(entry["item_id"][1:]): entry["score"] for entry in listed(engine, "u77", k=ITEMS) if entry["source"] == "live"}
    assert found == pytest.approx({item: expected[item] for item in found}, abs=1e-5)
    assert set(found) == set(np.flatnonzero(expected)) - {BLOCKED, *items}


def test_a_click_changes_the_next_list_and_is_its_reason(engine_of) -> None:
    engine = engine_of()
    before = listed(engine, "u77", k=5)
    assert {entry["source"] for entry in before} == {"popular"}
    engine.take([event(1, user="77", item=12)])
    after = [entry for entry in listed(engine, "u77", k=5) if entry["source"] == "live"]
    led = [item for item in np.flatnonzero(DENSE[12]) if item != BLOCKED]
    assert numbers(after) == sorted(led, key=lambda item: -DENSE[12, item])[:5]
    assert {entry["reason"] for entry in after} == {"because of Thing 12"}
    assert 12 not in numbers(listed(engine, "u77", k=ITEMS))


def test_the_strongest_item_of_the_history_is_the_reason(engine_of) -> None:
    engine = engine_of()
    for entry in listed(engine, "u3", k=ITEMS):
        if entry["source"] == "live":
            item = int(entry["item_id"][1:])
            amounts = [0.8**place * DENSE[known, item] for place, known in enumerate(HISTORIES[3])]
            assert entry["reason"] == f"because of Thing {HISTORIES[3][int(np.argmax(amounts))]}"


def test_who_may_have_no_list_gets_what_all_get_and_nothing_of_theirs_is_used(engine_of) -> None:
    engine = engine_of()
    everyone = listed(engine, "u77", k=ITEMS)
    answer, _ = engine.recommendations(Asked(user="u11", k=ITEMS))  # has not consented
    assert not answer["personal"]
    assert numbers(answer["items"]) == numbers(everyone)
    engine.take([event(1, "personalisation", "3", value=0)])
    assert numbers(listed(engine, "u3", k=ITEMS)) == numbers(everyone)
    engine.take([event(2, "personalisation", "3", value=1)])
    assert numbers(listed(engine, "u3", k=ITEMS)) != numbers(everyone)
    unknown = engine_of(consent_when_unknown=False)
    unknown.take([event(1, user="77", item=12)])
    assert {entry["source"] for entry in listed(unknown, "u77")} == {"popular"}


def test_what_is_bought_again_stays_in_the_lists_of_those_who_have_it(engine_of) -> None:
    engine = engine_of()
    assert HISTORIES[1] == [BOUGHT_AGAIN]
    assert BOUGHT_AGAIN in numbers(listed(engine, "u1", k=ITEMS))
    engine.take([event(1, "not_interested", "1", item=BOUGHT_AGAIN)])
    assert BOUGHT_AGAIN not in numbers(listed(engine, "u1", k=ITEMS))


def test_the_strongest_neighbours_stand_first_in_the_table() -> None:
    columns, values = as_rows(weights())
    assert (np.diff(values, axis=1) <= 0).all()
    assert np.array_equal(np.sort(columns, axis=1), np.sort(np.stack([np.flatnonzero(row) for row in DENSE]), axis=1))
    assert np.array_equal(DENSE[np.arange(ITEMS)[:, None], columns], values)


def test_what_is_not_wanted_is_gone_and_its_kind_comes_less(engine_of) -> None:
    engine = engine_of()
    best = numbers(listed(engine, "u3", k=3))
    engine.take([event(1, "not_interested", "3", item=best[0])])
    assert best[0] not in numbers(listed(engine, "u3", k=ITEMS))
    liked = [entry for entry in listed(engine, "u3", k=ITEMS) if entry["source"] == "live"]
    engine.take([event(2, "less_like_this", "3", item=best[1])])
    now = {entry["item_id"]: entry["score"] for entry in listed(engine, "u3", k=ITEMS) if entry["source"] == "live"}
    alike = [entry for entry in liked if DENSE[best[1], int(entry["item_id"][1:])] > 0 and int(entry["item_id"][1:]) != best[1]]
    assert all(now.get(entry["item_id"], 0) < entry["score"] for entry in alike)
    assert f"i{best[1]}" not in now


ITEM_LISTS = st.lists(st.integers(0, ITEMS - 1), max_size=8)


@settings(max_examples=150, deadline=None)
@given(
    user=st.integers(0, USERS + 1),
    k=st.integers(1, ITEMS + 5),
    exclude=ITEM_LISTS,
    session=ITEM_LISTS,
    categories=st.sets(st.sampled_from(["red", "green", "unheard"])),
    refused=st.sets(st.sampled_from(["red", "green"])),
    price=st.none() | st.floats(0.5, 40),
    in_stock=st.booleans(),
    nightly=st.sampled_from([0, 12]),
    rules=st.sampled_from([{}, {"maximum_per_category": 2}, {"diversity": 0.5}, {"category_caps": {"red": 0}}]),
)
def test_every_wish_and_rule_holds_for_everybody(
    shared, user, k, exclude, session, categories, refused, price, in_stock, nightly, rules
) -> None:
    engine = shared(nightly, rules)
    asked = Asked(
        user=f"u{user}", k=k, exclude=[f"i{item}" for item in exclude], session=[f"i{item}" for item in session],
        categories=list(categories), not_categories=list(refused), price_below=price, in_stock=in_stock,
    )  # fmt: skip
    answer, _ = engine.recommendations(asked)
    person = engine.state.seen_before(engine.owner(f"u{user}", None))
    found = numbers(answer["items"])
    snapshot = engine.snapshot
    assert len(found) == len(set(found)) <= k
    assert not set(found) & {BLOCKED, *exclude, *session}
    if person.personalised and user < USERS:
        assert not set(found) & (set(HISTORIES[user]) - {BOUGHT_AGAIN})
    for item in found:
        assert not categories or snapshot.categories[item] in categories
        assert snapshot.categories[item] not in refused
        assert price is None or snapshot.price[item] < price
        assert not in_stock or snapshot.in_stock[item] == 1
    counts = {name: [snapshot.categories[item] for item in found].count(name) for name in ("red", "green")}
    if "maximum_per_category" in rules:
        assert max(counts.values()) <= 2
    if "category_caps" in rules:
        assert counts["red"] == 0
    # Nothing that fits is kept back: a list is short only where there is no more.
    own = set(HISTORIES[user]) - {BOUGHT_AGAIN} if person.personalised and user < USERS else set()
    fits = [
        item
        for item in range(ITEMS)
        if item not in {BLOCKED, *exclude, *session, *own}
        and (not categories or snapshot.categories[item] in categories)
        and snapshot.categories[item] not in refused
        and (price is None or snapshot.price[item] < price)
        and (not in_stock or snapshot.in_stock[item] == 1)
    ]
    if not rules:
        assert len(found) == min(k, len(fits))
    assert all(entry["reason"] for entry in answer["items"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Engines by what they are made of, made once: a property asks them many times."""
    from persona_pipelines.serving.engine import Engine
    from persona_pipelines.settings import load_settings
    from persona_pipelines_tests.serving.conftest import KEY, NOW, snapshot

    made: dict[str, Engine] = {}

    def engine(nightly: int, rules: dict) -> Engine:
        name = f"{nightly} {rules}"
        if name not in made:
            import yaml

            folder = tmp_path_factory.mktemp("shared")
            log = {
                "name": "clicks",
                "kind": "events",
                "path": "c.csv",
                "format": "csv",
                "fields": {"timestamp": "at", "user_id": "u", "event_type": "t"},
            }
            content = {
                "name": "shop",
                "start_date": NOW.date(),
                "sources": [log],
                "recommendations": {"rules": rules},
                "serving": {"exploration": 0},
            }
            (folder / "persona.yaml").write_text(yaml.safe_dump(content))
            made[name] = Engine(load_settings(folder / "persona.yaml"), snapshot(folder / "s", nightly=nightly), KEY, lambda: NOW)
        return made[name]

    return engine


def test_the_list_of_the_last_run_stands_until_something_is_done_and_then_both_count(engine_of) -> None:
    engine = engine_of(nightly=12)
    number = engine.state.seen_before(engine.owner("u3", None)).number
    nightly = [item for item in engine.scores.nightly_item[number].tolist() if item != BLOCKED and item not in HISTORIES[3]]
    before = listed(engine, "u3", k=len(nightly))
    assert numbers(before) == nightly
    assert {entry["source"] for entry in before} == {"nightly"}
    engine.take([event(1, user="3", item=20)])
    after = listed(engine, "u3", k=10)
    assert numbers(after) != nightly[:10]
    assert {entry["source"] for entry in after} == {"live", "nightly"}


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (POPULAR, "popular"),
        (POPULAR_LATELY, "popular now"),
        (SEGMENT, "popular with Everybody"),
        (CIRCLE, "popular with people you follow"),
    ],
)
def test_a_list_of_the_last_run_says_why_its_model_has_an_item_and_not_what_the_history_might_say(
    engine_of, kind: int, reason: str
) -> None:
    engine = engine_of(nightly=12, nightly_kind=kind, arrays={"is_new": np.zeros(ITEMS, dtype=bool)})
    assert {entry["reason"] for entry in listed(engine, "u3", k=5)} == {reason}
    own = engine_of(nightly=12, arrays={"is_new": np.zeros(ITEMS, dtype=bool)})
    assert any(entry["reason"].startswith("because of ") for entry in listed(own, "u3", k=5))
    engine.take([event(1, user="3", item=20)])
    said = {entry["source"]: entry["reason"] for entry in listed(engine, "u3", k=12)}
    assert said["live"].startswith("because of ")
    assert said["nightly"] == reason


def test_the_last_items_count_as_the_training_found_or_as_the_configuration_says(engine_of) -> None:
    def after_a_click(**options) -> list[dict]:
        engine = engine_of(nightly=12, **options)
        engine.take([event(1, user="3", item=20)])
        return listed(engine, "u3", k=ITEMS)

    learned, told = after_a_click(live_share=0.9), after_a_click(live_share=0.1, serving={"live_share": 0.9})
    assert learned == told
    assert learned != after_a_click(live_share=0.1)


def test_last_items_that_count_nothing_leave_the_list_as_it_is_and_stand_behind_it_in_their_order(engine_of) -> None:
    engine = engine_of(nightly=12, live_share=0.0)
    before = [entry["item_id"] for entry in listed(engine, "u3", k=ITEMS) if entry["source"] == "nightly"]
    engine.take([event(1, user="3", item=20)])
    after = listed(engine, "u3", k=ITEMS)
    nightly, live = ([entry["item_id"] for entry in after if entry["source"] == source] for source in ("nightly", "live"))
    assert nightly == [item for item in before if item != "i20"]
    assert [entry["item_id"] for entry in after][: len(nightly) - 1] == nightly[:-1]
    alone = engine_of(nightly=12, live_share=1.0)
    alone.take([event(1, user="3", item=20)])
    order = [entry["item_id"] for entry in listed(alone, "u3", k=ITEMS) if entry["item_id"] in live]
    assert live == order
    assert len(live) > 2


def test_a_history_that_hardly_counts_is_asked_for_its_strongest_neighbours_alone() -> None:
    row, within, factor = lists._looked_up(np.arange(50, dtype=float), 0.8, 200)
    asked = np.bincount(row)
    assert asked[0] == 200
    assert (np.diff(asked) <= 0).all()
    assert asked.min() >= lists.LEAST_NEIGHBOURS
    assert factor.min() >= lists.SMALLEST
    assert (within < asked[row]).all()
    assert len(np.bincount(lists._looked_up(np.arange(50, dtype=float), 1.0, 200)[0])) == 50


def test_unknown_categories_are_named_with_what_may_be_meant(engine_of) -> None:
    engine = engine_of()
    answer, _ = engine.recommendations(Asked(categories=["gren", "red"], not_categories=["xyz", "gren"]))
    assert answer["unknown_categories"] == {"count": 2, "first": ["gren", "xyz"], "meant": {"gren": "green"}}
    assert {entry["category"] for entry in answer["items"]} == {"red"}
    many, _ = engine.recommendations(Asked(categories=[f"gree{number}" for number in range(50)]))
    assert (many["items"], many["unknown_categories"]["count"], len(many["unknown_categories"]["first"])) == ([], 50, 20)
    assert len(many["unknown_categories"]["meant"]) == 3
    assert "unknown_categories" not in engine.recommendations(Asked(categories=["red"], not_categories=["green"]))[0]
    engine.put([as_kept(Row(item_id="n", category="blue"), NOW)], {})
    assert "unknown_categories" not in engine.recommendations(Asked(categories=["blue"]))[0]


def test_unknown_items_are_named_and_do_no_harm(engine_of) -> None:
    answer, _ = engine_of().recommendations(Asked(user="u3", exclude=["zzz", "i1"], session=["nothing"] * 30))
    assert answer["unknown_items"]["count"] == 31
    assert "zzz" in [*answer["unknown_items"]["first"]] or len(answer["unknown_items"]["first"]) == 20
    assert len(answer["items"]) == 10
