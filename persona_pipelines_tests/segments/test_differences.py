"""What may be said of a segment: by how much it differs, how surely, of how many, and the same way in the numbers that people see."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from persona_pipelines.segments.differences import SURE, WORTH, Difference, rows, segment_differences, told
from persona_pipelines.segments.interests import Leaning, ahead, leading, leanings, segment_interests, sentence, statement
from persona_pipelines.segments.naming import Name, described, paragraph, segment_names, told_apart
from persona_pipelines.segments.preprocessing import PLAIN, SKEWED, fit_scaler
from persona_pipelines.warehouse.described import FEATURES, Log
from persona_pipelines_tests.conftest import law

SHOP, ORDERS = Log(), Log(visits=False, people="customers", interest="purchases")
NO_SHARES = pd.DataFrame({"user_id": [], "category": [], "interest_share": []})
CLEAR = Difference("night_share", 1.2, 1.0, 1.4, 0.4, 0.1, 0.9, 50, True)


def crowd(generator: np.random.Generator, users: int, **columns: np.ndarray) -> pd.DataFrame:
    frame = pd.DataFrame({name: generator.gamma(2.0, 2.0, users) for name in (*SKEWED, *PLAIN)})
    return frame.assign(user_id=[f"u{number:04d}" for number in range(users)], **columns)


def of(features: pd.DataFrame, members: np.ndarray) -> dict[str, Difference]:
    scaler = fit_scaler(features, NO_SHARES)
    return {entry.feature: entry for entry in segment_differences(scaler, features, members)}


def test_a_difference_is_that_of_a_welch_test() -> None:
    generator = np.random.default_rng(3)
    features, members = crowd(generator, 200), np.arange(200) < 60
    found = of(features, members)
    scaler = fit_scaler(features, NO_SHARES)
    for place, name in enumerate(scaler.columns):
        scaled = scaler.standardised(features)[:, place]
        witness = ttest_ind(scaled[members], scaled[~members], equal_var=False)
        entry = found[name]
        assert entry.deviation == pytest.approx(scaled[members].mean() - scaled[~members].mean())
        assert entry.deviation / (entry.high - entry.low) * 2 * SURE == pytest.approx(witness.statistic)
        assert (entry.mean, entry.mean_of_others) == pytest.approx((features[name][members].mean(), features[name][~members].mean()))


@pytest.mark.parametrize("high", [True, False])
def test_a_large_sure_difference_of_enough_people_is_clear(high: bool) -> None:
    generator = np.random.default_rng(4)
    members = np.arange(120) < 40
    found = of(crowd(generator, 120, night_share=np.where(members == high, 0.6, 0.1) + generator.normal(0, 0.05, 120)), members)
    assert found["night_share"].clear
    assert np.sign(found["night_share"].deviation) == (1 if high else -1)


@pytest.mark.parametrize(
    ("name", "members", "values"),
    [
        ("small", np.arange(4000) < 2000, lambda mine, noise: 0.3 + 0.02 * mine + noise),
        ("not sure", np.arange(40) < 20, lambda mine, noise: 0.3 + 0.05 * mine + noise),
        ("few", np.arange(120) < 9, lambda mine, noise: 0.1 + 0.5 * mine + noise / 10),
        ("few others", np.arange(120) >= 9, lambda mine, noise: 0.1 + 0.5 * mine + noise / 10),
        (
            "unknown of most",
            np.arange(120) < 60,
            lambda mine, noise: np.where(mine & (np.arange(120) > 25), np.nan, 0.1 + 0.5 * mine + noise / 10),
        ),
    ],
)
def test_what_is_small_or_unsure_or_of_few_or_unknown_is_not_said(name: str, members: np.ndarray, values) -> None:
    generator = np.random.default_rng(8)
    noise = generator.normal(0, 0.15, len(members))
    found = of(crowd(generator, len(members), night_share=values(members, noise)), members)["night_share"]
    assert not found.clear, name
    assert not found.words(SHOP).phrase


def test_where_the_mean_that_people_see_goes_the_other_way_nothing_is_said() -> None:
    """Nine of ten spend more than the others, and the others' one big customer outweighs them all."""
    members = np.arange(100) < 50
    spent = np.where(members, 50.0, 10.0)
    spent[-1] = 100_000.0
    found = of(crowd(np.random.default_rng(1), 100, monetary_value=spent), members)["monetary_value"]
    assert found.deviation > WORTH
    assert found.mean < found.mean_of_others
    assert not found.clear


@law(60)
@given(seed=st.integers(0, 10_000), users=st.integers(20, 80), known=st.floats(0.2, 1.0), shift=st.floats(-3, 3))
def test_whatever_is_said_is_so_in_the_plain_numbers(seed: int, users: int, known: float, shift: float) -> None:
    generator = np.random.default_rng(seed)
    members = generator.random(users) < generator.uniform(0.2, 0.8)
    features = crowd(
        generator, users, price_level=np.where(generator.random(users) < known, generator.random(users) + shift * members, np.nan)
    )
    features["sessions"] = generator.poisson(2 + 5 * members * (shift > 0), users).astype(float)
    for name, entry in of(features, members).items():
        if not entry.words(SHOP).phrase:
            continue
        mine, others = features[name][members], features[name][~members]
        assert (mine.mean() > others.mean()) == (entry.deviation > 0)
        assert mine.notna().sum() >= max(10, 0.5 * members.sum())
        assert abs(mine.mean() - entry.mean) < 1e-9


def test_hardly_bought_is_said_only_where_hardly_anybody_has() -> None:
    few = Difference("frequency", -1.0, -1.2, -0.8, 0.05, 4.0, 0.05, 100, True)
    assert (few.words(SHOP).phrase, few.words(SHOP).advice) == ("have hardly bought", "Make the first purchase easy.")
    most = dataclasses.replace(few, positive=0.97, mean=1.2)
    assert (most.words(SHOP).phrase, most.words(SHOP).advice) == ("buy on fewer days", "")


def test_buyers_of_an_order_log_do_not_come_or_visit() -> None:
    for feature in FEATURES.values():
        for sign in (1, -1):
            for mean in (0.0, 0.05, 0.3, 0.6, 3.0, 100_000.0):
                words = Difference(feature.name, float(sign), 0, 0, mean, 0.1, min(mean, 1.0), 50, True).words(ORDERS)
                spoken = f"{words.noun} {words.adjective} {words.phrase} {words.advice}".lower()
                if "visits" in feature.needs or "attention" in feature.needs or "searches" in feature.needs:
                    continue  # null in such a log
                assert not {"visitors", "come", "comes", "came", "browse", "read", "look", "stay", "visit"} & set(spoken.split()), (
                    feature.name
                )


def test_attributes_are_compared_and_not_asserted() -> None:
    members = np.arange(100) < 50
    features = crowd(np.random.default_rng(2), 100)
    features["attributes.city=Rome"] = np.where(members, np.arange(100) % 10 < 9, np.arange(100) % 10 < 2).astype(float)
    features["attributes.income"] = np.where(members, 100.0, 300.0) + np.arange(100) % 7
    scaler = fit_scaler(features, NO_SHARES, ["city", "income"])
    found = {entry.feature: entry.words(SHOP) for entry in segment_differences(scaler, features, members)}
    assert found["attributes.city=Rome"].phrase == "are more often of city Rome"
    assert found["attributes.city=Rome"].noun == "people of city Rome"
    assert found["attributes.income"].phrase == "have a lower income"
    others = {entry.feature: entry.words(SHOP) for entry in segment_differences(scaler, features, ~members)}
    assert (others["attributes.city=Rome"].phrase, others["attributes.city=Rome"].noun) == ("are less often of city Rome", "")
    assert others["attributes.city=Rome"].noun == ""


@pytest.mark.parametrize(("bought", "name"), [(0.0, "Non-spenders"), (0.05, "Non-spenders"), (0.5, "Rarely buying small spenders")])
def test_no_name_says_twice_that_people_do_not_buy(bought: float, name: str) -> None:
    """Who has not bought has not spent."""
    spent = Difference("monetary_value", -1.2, -1.4, -1.0, 10 * bought, 40.0, bought, 50, True)
    days = Difference("frequency", -1.1, -1.3, -0.9, bought, 3.0, bought, 50, True)
    assert segment_names([[spent, days]], SHOP)[0].text == name
    assert segment_names([[days, spent]], SHOP)[0].text == name.replace("Non-spenders", "Non-buyers").replace(
        "Rarely buying small spenders", "Low-spending rare buyers"
    )


@pytest.mark.parametrize(
    ("value", "mean", "deviation", "phrase", "chinese"),
    [
        ("Rome", 1.0, 1.5, "are all of city Rome", "city均为Rome"),
        ("Rome", 0.6, 1.5, "are more often of city Rome", "city为Rome的较多"),
        ("Rome", 0.1, -1.5, "are less often of city Rome", "city为Rome的较少"),
        ("Rome", 0.0, -1.5, "", ""),  # that they are of another one is said already
        ("yes", 1.0, 1.5, "are all with city", "city均为yes"),
        ("no", 0.2, -1.5, "are less often without city", "city为no的较少"),
    ],
)
def test_what_all_are_is_not_told_as_more_often(value: str, mean: float, deviation: float, phrase: str, chinese: str) -> None:
    found = Difference(f"attributes.city={value}", deviation, deviation - 0.1, deviation + 0.1, mean, 0.5, mean, 50, True)
    assert (found.words(SHOP).phrase, found.words(SHOP, "zh").phrase) == (phrase, chinese)


def test_a_few_who_draw_the_mean_to_the_other_side_make_no_phrase() -> None:
    """Nearly all spend less than the others, and three spend so much that the mean is the same."""
    generator = np.random.default_rng(8)
    members = np.arange(400) < 100
    spent = np.where(members, 60.0, 120.0) * generator.uniform(0.9, 1.1, 400)
    plain = of(crowd(generator, 400, monetary_value=spent), members)["monetary_value"]
    assert plain.clear
    spent[:3] += 1900.0
    drawn = of(crowd(generator, 400, monetary_value=spent), members)["monetary_value"]
    assert drawn.mean == pytest.approx(drawn.mean_of_others, rel=0.1)
    assert not drawn.clear


def test_names_are_made_of_what_is_clear() -> None:
    rare = Difference("sessions", -0.8, -0.9, -0.7, 1.0, 4.0, 1.0, 50, True)
    names = segment_names([[CLEAR, rare], [CLEAR], [dataclasses.replace(CLEAR, clear=False)], [CLEAR, rare]], SHOP)
    assert [name.text for name in names] == ["Rare night owls", "Night owls", "Average visitors", "Rare night owls"]
    assert set(names[0].traits) == {("sessions", -1), ("night_share", 1)}
    assert segment_names([[]], ORDERS)[0].text == "Average customers"


NO_NAMESAKES = Name("Average visitors"), Name("Night owls", (("night_share", 1),))
SPENDING = Difference("monetary_value", 0.9, 0.7, 1.1, 80.0, 20.0, 1.0, 50, True)


def opposite(entry: Difference) -> Difference:
    """The same difference seen from the other segment."""
    return dataclasses.replace(entry, deviation=-entry.deviation, low=-entry.high, high=-entry.low)


def apart(names: list[Name], contrasts: dict[tuple[int, int], list], kept: tuple[int, ...] = ()) -> list[Name]:
    """Names told apart by differences between two places, each given for one direction."""
    other_way = {
        (two, one): [opposite(entry) for entry in found if isinstance(entry, Difference)] for (one, two), found in contrasts.items()
    }
    return told_apart(names, SHOP, lambda one, two: {**other_way, **contrasts}.get((one, two), []), kept)


def test_names_that_nobody_shares_say_nothing_more() -> None:
    assert apart([*NO_NAMESAKES], {(0, 1): [SPENDING]}) == [*NO_NAMESAKES]


def test_namesakes_are_told_apart_by_the_surest_difference_between_them() -> None:
    unsure = dataclasses.replace(SPENDING, feature="evening_share", deviation=2.0, clear=False)
    wider = dataclasses.replace(SPENDING, feature="searches", deviation=1.0, low=0.1, high=1.9, mean=3.0)
    found = apart([Name("Average visitors")] * 2, {(0, 1): [unsure, wider, SPENDING]})
    assert [name.text for name in found] == ["Average visitors who spend more", "Average visitors who spend less"]
    assert [(name.stem, name.apart) for name in found] == [
        ("Average visitors", ("monetary_value", 1)),
        ("Average visitors", ("monetary_value", -1)),
    ]


def test_of_three_namesakes_only_what_is_true_of_each_other_one_is_said() -> None:
    steps = {(0, 1): [SPENDING], (1, 2): [SPENDING], (0, 2): [SPENDING]}
    names = [name.text for name in apart([Name("Average visitors")] * 3, steps)]
    assert names == ["Average visitors who spend more", "Average visitors", "Average visitors who spend less"]
    names = [name.text for name in apart([Name("Average visitors")] * 3, {(0, 1): [SPENDING]})]
    assert names == ["Average visitors", "Average visitors 2", "Average visitors 3"]


def test_a_category_tells_namesakes_apart_where_their_people_lean_to_it() -> None:
    garden = Leaning("Garden", 0.3, 0.2, 0.4, clear=True)
    found = apart([Name("Average visitors")] * 2, {(1, 0): [garden]})
    assert [name.text for name in found] == ["Average visitors", "Average visitors who lean more to Garden"]
    assert found[1].apart == ("interest.Garden", 1)
    assert garden.words(SHOP, "zh").phrase == "更偏向Garden"


def test_names_that_were_there_before_stay_while_they_are_true() -> None:
    given = [Name("Average visitors"), Name("Average visitors")]
    assert [name.text for name in apart(given, {(1, 0): [SPENDING]}, (0,))] == ["Average visitors", "Average visitors who spend more"]
    told = Name("Average visitors who spend less", (), "Average visitors", ("monetary_value", -1))
    assert apart([Name("Average visitors"), told], {(0, 1): [SPENDING]}, (0, 1))[1] == told
    assert [name.text for name in apart([Name("Average visitors"), told], {(1, 0): [SPENDING]}, (0, 1))] == [
        "Average visitors",
        "Average visitors who spend more",
    ]
    steps = {(0, 1): [SPENDING], (1, 2): [SPENDING], (0, 2): [SPENDING]}
    assert [name.text for name in apart([Name("Average visitors")] * 3, steps, (0,))] == [
        "Average visitors who spend more",
        "Average visitors",
        "Average visitors who spend less",
    ]
    numbered = Name("Average visitors 3", (), "Average visitors")
    assert apart([Name("Average visitors"), numbered], {}, (0, 1))[1] == numbered
    assert [name.text for name in apart([told, *NO_NAMESAKES[1:]], {}, (0, 1))] == ["Average visitors", "Night owls"]


def test_a_name_that_tells_apart_holds_against_each_namesake() -> None:
    name = Name("Night owls who spend more", (("night_share", 1),), "Night owls", ("monetary_value", 1))
    assert name.holds([CLEAR], [[SPENDING], [SPENDING]])
    assert not name.holds([CLEAR], [[SPENDING], [opposite(SPENDING)]])
    assert not name.holds([CLEAR], [[SPENDING], [dataclasses.replace(SPENDING, clear=False)]])
    assert not name.holds([], [[SPENDING]])
    assert not name.holds([CLEAR], [])


def test_a_name_holds_while_what_it_says_is_clear() -> None:
    name = Name("Night owls", (("night_share", 1),))
    assert name.holds([CLEAR])
    assert not name.holds([dataclasses.replace(CLEAR, clear=False)])
    assert not name.holds([dataclasses.replace(CLEAR, deviation=-1.2)])
    assert not name.holds([])
    assert Name("Average visitors").holds([CLEAR])


def test_a_paragraph_says_only_what_is_clear() -> None:
    small = dataclasses.replace(CLEAR, feature="evening_share", clear=False)
    name = Name("Night owls", (("night_share", 1),))
    text = paragraph(name, 0.21, [CLEAR, small], "What they buy is spread: no category has more than 8%.", SHOP)
    assert text == (
        "Night owls: 21% of all users. Compared with the others, they come more at night. "
        "What they buy is spread: no category has more than 8%."
    )
    stale = paragraph(name, 0.21, [small], "", SHOP)
    assert stale == (
        "Night owls: 21% of all users. The name is that of the training; its people of today do not differ from the others in that way. "
        "They differ little from the others in what the log holds."
    )
    assert described([CLEAR, small]) == "night_share +1.2"
    assert described([small]) == "none"


def test_rows_of_differences_say_what_is_said_on_the_page() -> None:
    table = rows({3: [CLEAR, dataclasses.replace(CLEAR, feature="items", clear=False, mean=float("nan"))]}, SHOP)
    assert table["phrase"].fillna("").tolist() == ["come more at night", ""]
    assert table["phrase_zh"].fillna("").tolist() == ["夜间来访较多", ""]
    assert table["advice"].fillna("").tolist() == ["Send late in the evening: they come at night.", ""]
    assert table[["segment_id", "rank"]].to_numpy().tolist() == [[3, 1], [3, 2]]
    assert table["mean"].isna().tolist() == [False, True]
    assert [entry.feature for entry, _ in told([CLEAR, dataclasses.replace(CLEAR, clear=False)], SHOP)] == ["night_share"]


def shares(*groups: dict[str, float], each: int = 20) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Users of segments 1, 2, ..., all with the shares of their group, and the shares."""
    people = [(f"g{number}-{row:02d}", number) for number in range(1, len(groups) + 1) for row in range(each)]
    placed = pd.DataFrame(people, columns=["user_id", "segment_id"])
    told_of = [(user, category, share) for user, group in people for category, share in groups[group - 1].items()]
    return placed, pd.DataFrame(told_of, columns=["user_id", "category", "interest_share"])


SPREAD = {f"c{number}": 0.08 if number < 3 else 0.76 / 7 for number in range(10)}


@pytest.mark.parametrize(
    ("mine", "others", "log", "expected"),
    [
        ({"Garden": 0.6, "Books": 0.4}, {"Garden": 0.1, "Books": 0.9}, SHOP, "Most of what they give attention to is Garden (60%)."),
        ({"A": 0.3, "B": 0.3, "C": 0.2, "D": 0.2}, {"E": 1.0}, ORDERS, "Most of what they buy is A (30%) and B (30%)."),
        (
            {"A": 0.2} | {f"x{n}": 0.1 for n in range(8)},
            {f"x{n}": 0.125 for n in range(8)},
            ORDERS,
            "More than others they buy A (20% against 0%).",
        ),
        (SPREAD, SPREAD, Log(interest="ratings"), "What they rate is spread: no category has more than 11%."),
        (
            {"A": 0.2} | {f"x{n}": 0.1 for n in range(8)},
            {"A": 0.16} | {f"x{n}": 0.105 for n in range(8)},
            SHOP,
            "What they give attention to is spread: no category has more than 20%.",
        ),
    ],
)
def test_most_is_said_of_half_and_more_than_others_of_what_is_clearly_ahead(mine, others, log: Log, expected: str) -> None:
    found = segment_interests(*shares(mine, others))
    assert sentence(statement(found[found["segment_id"] == 1]), log) == expected


def test_of_few_people_with_interests_nothing_is_said() -> None:
    found = segment_interests(*shares({"A": 1.0}, {"B": 1.0}, each=9))
    assert sentence(statement(found[found["segment_id"] == 1]), SHOP) == ""
    assert sentence(statement(found.head(0)), SHOP) == ""
    assert leading(found[found["segment_id"] == 1]) == []
    assert ahead(found[found["segment_id"] == 1]) == []


def test_people_lean_to_what_is_clearly_ahead_of_the_other_segment() -> None:
    found = leanings(*shares({"A": 0.6, "B": 0.4}, {"A": 0.58, "B": 0.12, "C": 0.3}), 1)
    assert [(entry.category, round(entry.deviation, 9), entry.clear) for entry in found] == [("A", 0.02, False), ("B", 0.28, True)]
    assert found[0].words(SHOP).phrase == ""


@law(40)
@given(seed=st.integers(0, 10_000))
def test_interests_are_the_means_of_shares(seed: int) -> None:
    generator = np.random.default_rng(seed)
    users = [f"u{number}" for number in range(40)]
    placed = pd.DataFrame({"user_id": users, "segment_id": generator.integers(0, 3, 40)})
    wide = pd.DataFrame(generator.dirichlet(np.full(4, 0.4), 40), index=pd.Index(users, name="user_id"), columns=list("abcd"))
    wide[wide < 0.02] = 0.0
    long = wide[generator.random(40) < 0.8].stack().rename("interest_share").rename_axis(["user_id", "category"]).reset_index()
    long = long[long["interest_share"] > 0]
    found = segment_interests(placed, long).set_index(["segment_id", "category"])
    known = long.pivot_table(index="user_id", columns="category", values="interest_share", fill_value=0.0)
    segment = placed.set_index("user_id")["segment_id"].reindex(known.index)
    for (number, category), row in found.iterrows():
        mine, others = known.loc[segment == number, category], known.loc[segment != number, category]
        assert row["share"] == pytest.approx(mine.mean())
        assert row["users"] == len(mine)
        if len(others) > 1 and len(mine) > 1:
            assert row["share_of_others"] == pytest.approx(others.mean(), abs=1e-12)
            error = SURE * np.sqrt(mine.var() / len(mine) + others.var() / len(others))
            assert (row["high"] - row["low"]) / 2 == pytest.approx(error, abs=1e-9)
            assert row["clear"] == bool(
                min(len(mine), len(others)) >= 10 and row["share"] - row["share_of_others"] >= 0.05 and row["low"] > 0
            )
