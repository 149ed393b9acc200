"""Lists that people can use: rules, reasons, what goes with an item, tuning, recipes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_pipelines.errors import StoredModelError
from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.evaluation.comparison import fit_all, require_serviceable, task
from persona_pipelines.recommendations.models import Hybrid, recommender
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.recommendations.recipes import Recipe, recipe_of
from persona_pipelines.recommendations.related import bought_together, similar_items
from persona_pipelines.recommendations.rules import ItemFacts, item_facts, rerank
from persona_pipelines.recommendations.serving import server_of
from persona_pipelines.recommendations.tables import Tables, audience_of
from persona_pipelines.recommendations.training import tuned
from persona_pipelines.recommendations.tuning import tune
from persona_pipelines.settings.recommendations import (
    BiasedFactorsSettings,
    EASESettings,
    HybridSettings,
    LightFMSettings,
    MostPopularSettings,
    RecentEASESettings,
    RecommendationsSettings,
    RulesSettings,
    SegmentPopularSettings,
)
from persona_pipelines_tests.conftest import needs_lightfm
from persona_pipelines_tests.recommendations.conftest import END, ITEMS, SEGMENTS, USERS, tastes
from persona_pipelines_tests.recommendations.test_evaluation import split_of

pytestmark = needs_lightfm

CATALOGUE = ITEMS.assign(in_stock=None)
METHODS = (
    MostPopularSettings(recent_days=30),
    MostPopularSettings(),
    SegmentPopularSettings(),
    LightFMSettings(components=8),
    EASESettings(regularisation=5),
)
NAMES = {1: "Even lovers", 2: "Odd lovers"}


def tables(
    planted: Interactions, users: pd.DataFrame = USERS, items: pd.DataFrame = CATALOGUE, new: frozenset[str] = frozenset()
) -> Tables:
    segments = pd.DataFrame(
        [(user, number, NAMES[number]) for user, number in SEGMENTS.items()], columns=["user_id", "segment_id", "segment_name"]
    )
    interactions = tastes().assign(liked=lambda frame: frame["rating"] >= 4)[["user_id", "item_id", "weight", "liked", "last_time"]]
    return Tables(
        users, interactions, items, segments, similar_items(planted, 10), new, True, pd.DataFrame(columns=["user_id", "target_user_id"])
    )


def recommended(model: LearnedModel, found: Tables, options: RecommendationsSettings, k: int) -> pd.DataFrame:
    return server_of(model, found, options).lists(found.users["user_id"].to_numpy(dtype=object), k)


@pytest.fixture(scope="module")
def members(planted: Interactions) -> dict[str, LearnedModel]:
    return fit_all(METHODS, planted, 7)[0]


@pytest.fixture(scope="module")
def hybrid(planted: Interactions, members: dict[str, LearnedModel]) -> LearnedModel:
    return Hybrid(HybridSettings(), 7).blend(members, {"ease_items": 0.8, "most_popular": 0.2}, END.to_pydatetime(), planted)


def with_rules(**rules) -> RecommendationsSettings:
    return RecommendationsSettings(rules=RulesSettings(**rules))


def test_lists_leave_out_what_users_have_and_say_why(planted: Interactions, hybrid: LearnedModel) -> None:
    lists = recommended(hybrid, tables(planted), with_rules(), 4)
    seen = set(map(tuple, tastes()[["user_id", "item_id"]].to_numpy()))
    assert not seen & set(map(tuple, lists[["user_id", "item_id"]].to_numpy()))
    assert (lists.groupby("user_id").size() == 4).all()
    assert lists["reason"].str.len().min() > 0
    mine = lists[lists["user_id"] == "u00"].iloc[0]
    named = mine["reason"].removeprefix("because of ").split(" and ")
    liked = set(ITEMS.set_index("item_id").loc[list(tastes().query("user_id == 'u00' and rating >= 4")["item_id"]), "title"])
    assert set(named) <= liked
    assert lists.set_index("user_id").loc["u39", "case"].unique().tolist() == ["new user"]


def test_what_was_not_liked_is_no_reason_and_stays_out_of_the_lists(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    """One item alike to everything, which nobody liked: nothing is because of it, and nobody is to get it again."""
    disliked = planted.items[0]
    interactions = tastes().assign(liked=lambda frame: frame["item_id"] != disliked)
    interactions.loc[~interactions["liked"], "weight"] = 0.0
    similar = pd.DataFrame({"item_id": planted.items[1:], "similar_item_id": disliked, "similarity": 1.0})
    found = replace(tables(planted), interactions=interactions[["user_id", "item_id", "weight", "liked", "last_time"]], similar=similar)
    lists = recommended(members["ease_items"], found, with_rules(), 10)
    met = set(interactions.loc[~interactions["liked"], "user_id"])
    assert met
    assert not met & set(lists.loc[lists["item_id"] == disliked, "user_id"])
    others = lists[lists["item_id"] != disliked]
    assert not others["reason"].str.contains("because of").any()


def test_reasons_follow_the_part_of_the_model_that_counted_most(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    def texts(name: str, **more) -> set[str]:
        return set(recommended(members[name], tables(planted, **more), with_rules(), 3)["reason"])

    assert texts("most_popular") == {"popular"}
    assert texts("most_popular_30_days") == {"popular now"}
    assert texts("segment_popular") == {"popular with Even lovers", "popular with Odd lovers", "popular"}
    everything_new = frozenset(ITEMS["item_id"])
    assert texts("most_popular", new=everything_new) == {"new in even", "new in odd"}
    assert all(text.startswith("because of ") for text in texts("ease_items", users=USERS.head(39)))


def test_rules_of_stock_repurchase_and_caps_hold(planted: Interactions, hybrid: LearnedModel) -> None:
    out = ITEMS.assign(in_stock=[number >= 10 for number in range(20)])
    assert recommended(hybrid, tables(planted, items=out), with_rules(), 5)["item_id"].min() >= "i10"
    assert recommended(hybrid, tables(planted, items=out), with_rules(only_in_stock=False), 5)["item_id"].min() < "i10"
    again = recommended(hybrid, tables(planted), with_rules(repurchase_categories=["even"]), 20)
    seen = set(map(tuple, tastes()[["user_id", "item_id"]].to_numpy()))
    repeated = seen & set(map(tuple, again[["user_id", "item_id"]].to_numpy()))
    assert {int(item[1:]) % 2 for _, item in repeated} == {0}
    capped = recommended(hybrid, tables(planted), with_rules(maximum_per_category=2), 10)
    assert (capped.groupby("user_id").size() <= 4).all()
    none = recommended(hybrid, tables(planted), with_rules(category_caps={"odd": 0}), 10)
    assert set(none["item_id"].str[1:].astype(int) % 2) == {0}


def test_where_the_rules_leave_nothing_a_user_has_no_rows(planted: Interactions, hybrid: LearnedModel) -> None:
    assert recommended(hybrid, tables(planted, items=ITEMS.assign(in_stock=False)), with_rules(), 5).empty


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), diversity=st.floats(0, 1), cap=st.integers(1, 4))
def test_reranking_is_the_greedy_choice_of_the_textbook(seed: int, diversity: float, cap: int) -> None:
    generator = np.random.default_rng(seed)
    vectors = generator.random((12, 3)) - 0.3
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    category = np.array(list("abc"), dtype=object)[generator.integers(0, 3, 12)]
    facts = ItemFacts(np.zeros(12, bool), np.zeros(12, bool), category, vectors)
    scores = -np.sort(-generator.random((1, 10)))
    best = generator.permutation(12)[None, :10]
    chosen, _ = rerank(best.copy(), scores.copy(), 5, facts, RulesSettings(diversity=diversity, maximum_per_category=cap))
    scaled = (scores[0] - scores.min()) / (scores.max() - scores.min())
    expected: list[int] = []
    for _ in range(5):
        left = [n for n in range(10) if best[0, n] not in expected and sum(category[i] == category[best[0, n]] for i in expected) < cap]
        if not left:
            break
        expected.append(
            best[
                0,
                max(
                    left,
                    key=lambda n: (
                        (1 - diversity) * scaled[n] - diversity * max([0.0, *(vectors[best[0, n]] @ vectors[i] for i in expected)])
                    ),
                ),
            ]
        )
    assert [place for place in chosen[0] if place >= 0] == expected


def test_diversity_makes_lists_more_unlike(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    def kinds(diversity: float) -> float:
        lists = recommended(members["ease_items"], tables(planted), with_rules(diversity=diversity), 4)
        return lists.assign(kind=lists["item_id"].str[1:].astype(int) % 2).groupby("user_id")["kind"].nunique().mean()

    assert kinds(0.9) > kinds(0.0)


def test_similar_items_are_of_the_same_kind_and_counted(planted: Interactions) -> None:
    found = similar_items(planted, 3)
    same = (found["item_id"].str[1:].astype(int) - found["similar_item_id"].str[1:].astype(int)) % 2 == 0
    assert same.mean() > 0.9
    assert (found.groupby("item_id")["similarity"].diff().dropna() <= 0).all()
    users = tastes().groupby("item_id")["user_id"].agg(set)
    assert all(len(users[row.item_id] & users[row.similar_item_id]) == row.common_users for row in found.itertuples())


def test_items_bought_together_have_the_numbers_of_their_baskets(planted: Interactions) -> None:
    found = bought_together(planted, 5)
    held = planted.baskets.toarray() > 0
    place = {item: number for number, item in enumerate(planted.items)}
    for row in found.head(30).itertuples():
        one, other = held[:, place[row.item_id]], held[:, place[row.other_item_id]]
        assert row.baskets == (one & other).sum()
        assert row.confidence == pytest.approx((one & other).sum() / one.sum())
        assert row.lift == pytest.approx(row.confidence / other.mean())


def test_tuning_finds_better_parameters_and_repeats_exactly(planted: Interactions) -> None:
    window = task(split_of(planted), USERS, True)
    poor = EASESettings(regularisation=4000)
    trials = []
    first = tune(poor, window, 3, 5, 60, 8, trials.append)
    second = tune(poor, window, 3, 5, 60, 8)
    assert first.best.ndcg > first.configured.ndcg
    assert (first.best.settings, first.best.ndcg) == (second.best.settings, second.best.ndcg)
    assert len(trials) == first.trials == 8
    assert trials[0].settings == poor
    with pytest.raises(ModelError, match="most_popular has no parameters to tune"):
        tune(MostPopularSettings(), window, 3, 5, 60, 2)
    with pytest.raises(ModelError, match="no trial could be fitted: 20 items, of which"):
        tune(EASESettings(maximum_size=5), window, 3, 5, 60, 2)


def test_tuned_parameters_hold_only_for_the_configuration_they_were_found_for() -> None:
    configured, better = EASESettings(), EASESettings(regularisation=77)
    found = pd.DataFrame(
        [
            {
                "model": "ease_items",
                "parameters": better.model_dump_json(),
                "configured": configured.model_dump_json(),
                "tuned_until": END,
            }
        ]
    )
    assert tuned([configured], found) == ([better], {"ease_items": END.to_pydatetime()})
    assert tuned([EASESettings(regularisation=500)], found) == ([EASESettings(regularisation=500)], {})
    # Judged by events of before, they would know what they are judged by.
    assert tuned([configured], found, END) == ([configured], {})
    assert tuned([configured], found, END + pd.Timedelta(seconds=1))[0] == [better]


def test_a_recipe_makes_the_same_model_again(
    planted: Interactions, members: dict[str, LearnedModel], hybrid: LearnedModel, tmp_path
) -> None:
    methods = [*METHODS, HybridSettings()]
    recipe = recipe_of(
        methods, "hybrid", hybrid, {"ease_items": 0.8, "most_popular": 0.2}, {"ease_items": END.to_pydatetime(), "als": END.to_pydatetime()}
    )
    assert recipe.tuned == {"ease_items": END.to_pydatetime()}
    recipe.save(tmp_path)
    again = Recipe.load(tmp_path)
    assert again == recipe
    audience = planted.audience(planted.users, USERS)
    assert np.array_equal(again.fit(planted, 7).scores(audience), hybrid.scores(audience))
    with pytest.raises(StoredModelError, match=r"no recipe.json"):
        Recipe.load(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="biased_factors: no ratings"):
        Recipe(BiasedFactorsSettings()).fit(_without_ratings(planted), 7)


def _without_ratings(planted: Interactions) -> Interactions:
    from dataclasses import replace

    return replace(planted, ratings=sp.csr_matrix(planted.ratings.shape))


def test_a_model_with_scores_that_are_no_numbers_is_not_serviceable(planted: Interactions, members: dict[str, LearnedModel]) -> None:
    from dataclasses import replace

    require_serviceable(members["ease_items"], planted, USERS)
    broken = members["ease_items"].state["weights"].copy()
    broken[0, 1] = np.nan
    with pytest.raises(ModelError, match="gives scores that are no finite numbers"):
        require_serviceable(replace(members["ease_items"], state={"weights": broken}), planted, USERS)


def test_facts_of_items_know_stock_only_where_the_catalogue_does() -> None:
    facts = item_facts(
        ITEMS["item_id"].to_numpy(dtype=object)[:3], ITEMS.assign(in_stock=[False, None, True, *[None] * 17]), RulesSettings()
    )
    assert facts.blocked.tolist() == [True, False, False]


def test_what_was_done_last_counts_most_in_stored_lists_too(planted: Interactions) -> None:
    """The order of a history reaches the model from the table, and from what is stored beside the model."""
    method = recommender(RecentEASESettings(regularisation=5, decay=0.3), 7).fit(planted)
    before = tables(planted)
    turned = before.interactions.assign(last_time=before.interactions["last_time"].max() - (before.interactions["last_time"] - END))
    first, second = (recommended(method, found, with_rules(), 10) for found in (before, replace(before, interactions=turned)))
    assert not first[["user_id", "item_id"]].equals(second[["user_id", "item_id"]])
    audience = audience_of(method, before)
    expected = planted.audience(audience.ids, USERS)
    assert np.array_equal(audience.recent(0.3).toarray(), expected.recent(0.3).toarray())


def test_an_item_that_is_not_among_the_facts_is_for_nobody() -> None:
    facts = item_facts(
        ITEMS["item_id"].to_numpy(dtype=object), ITEMS.assign(in_stock=ITEMS["item_id"] != "i02"), with_rules(diversity=0.5).rules
    )
    some = facts.part(np.array([3, 2, -1]))
    assert some.blocked.tolist() == [False, True, True]
    assert some.category.tolist()[:2] == ["odd", "even"]
    assert np.array_equal(some.vectors[:2], facts.vectors[[3, 2]])
