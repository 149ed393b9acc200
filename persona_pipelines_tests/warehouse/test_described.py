"""The table of features: complete, the same as what is computed, and wrong only with a word."""

from __future__ import annotations

import pytest

from persona_pipelines.features.attention import category_shares
from persona_pipelines.features.support import CLOCKS, EVIDENCE, WEEKS
from persona_pipelines.features.users import known_until, user_features
from persona_pipelines.profiles.documents import PARTS
from persona_pipelines.profiles.joining import ACTIVE_DAYS, AT_RISK_DAYS
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.described import FEATURES, NAMED, DescriptionError, Facts, Log, read
from persona_pipelines_tests.conftest import DAY, at, events_table

WORDS = "noun: owls, adjective: Late, phrase: come late"
NIGHT = f"""
night_share:
  kind: share
  description: Events at night.
  needs: [acts, time_of_day]
  segments: plain
  labels: {{zh: a}}
  high:
    - {{when: [visits, mean >= 0.25], {WORDS}, zh: {{phrase: b}}}}
    - {{{WORDS.replace("owls", "'late {people}'")}, zh: {{phrase: c}}}}
  low:
    - {{when: [positive <= 0.1], {WORDS}, zh: {{phrase: d}}}}
"""
SHOP, ORDERS = Log(), Log(visits=False, people="customers", interest="purchases")


def test_every_feature_of_the_table_is_computed_and_has_its_column(warehouse) -> None:
    events = events_table(warehouse, {"timestamp": at(1), "event_type": "page_view", "user_id": "u"})
    items = warehouse.table(contracts.ITEMS)
    computed = user_features(known_until(events, DAY), items, category_shares(events, items)).columns
    assert set(computed) >= set(FEATURES)
    assert contracts.USER_FEATURES.column_names == ["user_id", "as_of_date", *FEATURES]


def test_every_part_of_a_profile_that_is_named_exists() -> None:
    assert {feature.profile for feature in FEATURES.values()} <= {"", *PARTS}
    for feature in FEATURES.values():
        column = contracts.KINDS[feature.kind](feature)
        assert column.description.startswith(feature.description)
        assert all(need.replace("_", " ") in column.description for need in feature.needs)


def test_a_feature_needs_evidence_that_is_known_of() -> None:
    assert {term for feature in FEATURES.values() for term in feature.needs} <= {*EVIDENCE, *CLOCKS, WEEKS}
    assert {feature.instead_of for feature in FEATURES.values()} <= {"", *FEATURES}


@pytest.mark.parametrize("log", [SHOP, ORDERS])
@pytest.mark.parametrize("days", [0, 3, 29, 30, 31, 89, 90, 91, 400])
def test_words_of_recency_are_those_of_the_stages(days: int, log: Log) -> None:
    """Of a log of one week nobody has lapsed, and where half have lapsed nobody is called recently active."""
    recency = FEATURES["recency_days"]
    longer, sooner = (recency.words(deviation, Facts(days, 1.0, log)) for deviation in (1.0, -1.0))
    assert (longer.adjective == "Lapsed") == (days >= AT_RISK_DAYS)
    assert bool(longer.statement) == bool(longer.advice) == (days >= ACTIVE_DAYS)
    assert sooner.adjective.startswith("Recent") == bool(sooner.statement) == (days < ACTIVE_DAYS)


def test_nobody_is_called_regular_or_frequent_for_two_or_three_times() -> None:
    for name in ("active_days", "frequency", "purchases", "sessions"):
        often, twice = (FEATURES[name].words(1.0, Facts(mean, 1.0, SHOP)).noun for mean in (4.0, 2.0))
        assert "regular" in often or "frequent" in often
        assert not any(word in twice for word in ("regular", "frequent")), (name, twice)
        rarely, seldom = (FEATURES[name].words(-1.0, Facts(mean, 1.0, SHOP)).noun for mean in (20.0, 1.0))
        assert rarely.startswith("less ")
        assert seldom.startswith(("rare", "occasional"))


def test_features_that_say_the_same_are_features() -> None:
    said = {name for feature in FEATURES.values() for variant in (*feature.high, *feature.low) for name in variant.words["en"].same_as}
    assert said
    assert said <= set(FEATURES)


@pytest.mark.parametrize(
    ("deviation", "facts", "noun", "chinese"),
    [
        (1.0, Facts(0.3, 1.0, SHOP), "owls", "b"),
        (1.0, Facts(0.2, 1.0, SHOP), "late visitors", "c"),
        (1.0, Facts(0.3, 1.0, ORDERS), "late customers", "c"),
        (-1.0, Facts(0.0, 0.1, SHOP), "owls", "d"),
        (-1.0, Facts(0.0, 0.11, SHOP), "", ""),
        (1.0, Facts(float("nan"), float("nan"), SHOP), "late visitors", "c"),
    ],
)
def test_the_first_words_whose_conditions_hold_are_said(deviation: float, facts: Facts, noun: str, chinese: str) -> None:
    (feature,) = read(NIGHT).values()
    assert (feature.words(deviation, facts).noun, feature.words(deviation, facts, "zh").phrase) == (noun, chinese)
    assert feature.labels == {"en": "night share", "zh": "a"}
    assert feature.words(deviation, facts, "fr").phrase == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        *((WORDS, WORDS.replace(f"{word}: ", "statement: ", 1), rf"high\[0\].{word} missing") for word in NAMED),
        (", zh: {phrase: d}", "", r"low\[0\].zh.phrase missing"),
        ("labels: {zh: a}", "labels: {}", "labels.zh missing"),
        ("segments: plain", "segments: curved", "night_share.segments: found 'curved'; expected one of skewed, plain"),
        ("  description: Events at night.\n", "", "night_share: 'description'"),
        ("  needs: [acts, time_of_day]\n", "", "night_share: 'needs'"),
        ("noun: owls", "noon: owls", "noon"),
        ("  segments: plain", "  segments: plain\n  colour: red", "found 'colour', which means nothing"),
        (
            "phrase: come late, zh",
            "phrase: come late, advice: Write late., zh",
            r"night_share.high\[0\].advice stands in one language alone",
        ),
        (
            "positive <= 0.1",
            "some <= 0.1",
            "when: found 'some <= 0.1'; expected visits, or mean or positive, one of >=, <=, >, <, and a number",
        ),
        ("positive <= 0.1", "positive = 0.1", "when: found 'positive = 0.1'"),
        ("positive <= 0.1", "positive <= little", "could not convert"),
        ("  low:\n", "  lower:\n", "found 'lower', which means nothing|low missing"),
    ],
)
def test_a_wrong_table_is_refused_with_the_feature_and_what_is_missing(old: str, new: str, message: str) -> None:
    assert old in NIGHT
    with pytest.raises(DescriptionError, match=message):
        read(NIGHT.replace(old, new, 1))
