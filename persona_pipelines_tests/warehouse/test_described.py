"""The table of features: complete, the same as what is computed, and wrong only with a word."""

from __future__ import annotations

import pytest

from persona_pipelines.features.attention import category_shares
from persona_pipelines.features.users import known_until, user_features
from persona_pipelines.profiles.documents import PARTS
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.described import FEATURES, NAMED, DescriptionError, read
from persona_pipelines_tests.conftest import DAY, at, events_table

WORDS = "{noun: owls, adjective: Late, phrase: come late}"
NIGHT = f"""
night_share:
  kind: share
  description: Events at night.
  segments: plain
  high: {WORDS}
  low: {WORDS}
  zh: {{label: a, high: {{phrase: b}}, low: {{phrase: c}}}}
"""


def test_every_feature_of_the_table_is_computed_and_has_its_column(warehouse) -> None:
    events = events_table(warehouse, {"timestamp": at(1), "event_type": "page_view", "user_id": "u"})
    items = warehouse.table(contracts.ITEMS)
    computed = user_features(known_until(events, DAY), items, category_shares(events, items)).columns
    assert set(computed) >= set(FEATURES)
    assert contracts.USER_FEATURES.column_names == ["user_id", "as_of_date", *FEATURES]


def test_every_part_of_a_profile_that_is_named_exists() -> None:
    assert {feature.profile for feature in FEATURES.values()} <= {"", *PARTS}
    assert all(contracts.KINDS[feature.kind](feature).description == feature.description for feature in FEATURES.values())


def test_a_feature_says_what_a_high_and_a_low_value_means_in_its_language() -> None:
    (feature,) = read(NIGHT).values()
    assert (feature.words(0.1).noun, feature.words(0.1, "zh").phrase, feature.words(-0.1, "zh").phrase) == ("owls", "b", "c")
    assert feature.labels == {"en": "night share", "zh": "a"}
    assert feature.words(1, "fr").phrase == ""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        *((f"  low: {WORDS}", f"  low: {WORDS.replace(f'{word}: ', 'statement: ', 1)}", f"low.{word} missing") for word in NAMED),
        (", low: {phrase: c}", "", "zh.low.phrase missing"),
        ("label: a, ", "", "zh.label missing"),
        ("segments: plain", "segments: curved", "night_share.segments: found 'curved'; expected one of skewed, plain"),
        ("  description: Events at night.\n", "", "night_share: 'description'"),
        ("noun: owls", "noon: owls", "noon"),
        ("  segments: plain", "  segments: plain\n  colour: red", "found 'colour', which means nothing"),
        (
            "phrase: come late}\n  low",
            "phrase: come late, advice: Write late.}\n  low",
            "night_share.high.advice stands in one language alone",
        ),
    ],
)
def test_a_wrong_table_is_refused_with_the_feature_and_what_is_missing(old: str, new: str, message: str) -> None:
    assert old in NIGHT
    with pytest.raises(DescriptionError, match=message):
        read(NIGHT.replace(old, new, 1))
