"""Audiences by condition and by likeness."""

import ibis
import ibis.expr.types
import numpy as np
import pandas as pd
import pytest

from persona_pipelines.audiences.conditions import ConditionError, matching
from persona_pipelines.audiences.lookalike import SeedsError, resemblance
from persona_pipelines.audiences.saved import AudienceError, audiences, condition_of, delete, save
from persona_pipelines.segments.rules import segment_rules
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import CLICKS

PROFILES = ibis.memtable(
    {
        "user_id": list("abcd"),
        "segment_name": ["Night owls", "Night owls", "O'Brien", None],
        "churn_probability": [0.5, 0.1, 0.9, None],
        "frequency": [1, 2, 3, 4],
        "consent_marketing": [True, False, True, True],
        "signup_date": ["2025-01-01", "2025-02-01", "2025-03-01", None],
    }
)
TABLE = PROFILES.mutate(signup_date=PROFILES.signup_date.cast("date"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "users"),
    [
        ("segment = 'Night owls' and churn_probability > 0.4", "a"),
        ('segment = "O\'Brien" or frequency <= 1', "ac"),
        ("frequency in (2, 4)", "bd"),
        ("churn_probability is missing", "d"),
        ("not churn_probability > 0.4", "bd"),
        ("frequency > 1 and (segment = 'Night owls' or churn_probability is missing)", "bd"),
        ("frequency = 1 or frequency = 2 and consent_marketing = true", "a"),
        ("signup_date >= '2025-02-01' AND segment != 'x'", "bc"),
        ("segment = 'x'' or 1=1 --'", None),
        ("churn_probability < 0.9", "ab"),
    ],
)
def test_a_condition_finds_the_users_that_meet_it(warehouse, condition: str, users: str | None) -> None:
    if users is None:
        with pytest.raises(ConditionError):
            matching(TABLE, condition)
        return
    found = warehouse.frame(matching(TABLE, condition))
    assert "".join(sorted(found["user_id"])) == users


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("churn > 3", "at character 1: found 'churn' (did you mean 'churn_probability'?); expected a column of profiles"),
        ("zzzz > 3", "at character 1: found 'zzzz'; expected a column of profiles: user_id, segment_name"),
        ("frequency > 1e999", "at character 13: found 1e999; expected a number up to 1e308, for frequency"),
        ("frequency > 'x'", "at character 13: found \"'x'\"; expected a number, for frequency"),
        ("frequency", "at the end: found nothing more; expected one of ="),
        ("frequency > 1 segment = 'x'", "at character 15: found 'segment'; expected and, or, or the end"),
        ("(frequency > 1", "at the end: found nothing more; expected a closing parenthesis"),
        ("", "at the end: found nothing more; expected a column of profiles"),
        ("frequency > 1; DROP TABLE users", "at character 14: found '; DROP TABLE users'"),
        ("signup_date > 'soon'", "found 'soon'; expected a date"),
    ],
)
def test_a_condition_that_cannot_be_read_is_an_error_that_says_where(condition: str, message: str) -> None:
    with pytest.raises(ConditionError) as error:
        matching(TABLE, condition)
    assert message in str(error.value)


def features(**columns: list) -> ibis.expr.types.Table:
    return ibis.memtable({"user_id": list("abcd"), **columns})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("condition", "users"),
    [
        ("searches > 4.5", "bd"),
        ("searches <= 4.5 and frequency > 0.5", "a"),
        ("attention_ms_per_item <= 3.147e+05", "ab"),
        ("attention_ms_per_item > 1E3 and attention_ms_per_item < 3.2e5", "b"),
        ("churn_probability < 5e-1", "b"),
        ("searches is missing", "c"),
    ],
)
def test_a_condition_may_ask_for_features_and_write_numbers_as_programs_do(warehouse, condition: str, users: str) -> None:
    more = features(searches=[1.0, 5.0, None, 9.0], attention_ms_per_item=[5.0, 314_700.0, None, 400_000.0], frequency=[9, 9, 9, 9])
    found = warehouse.frame(matching(TABLE, condition, features=more))
    assert "".join(sorted(found["user_id"])) == users
    assert list(found.columns) == list(TABLE.columns)


@pytest.mark.slow
def test_the_rule_of_a_segment_is_a_condition_that_finds_who_meets_it(warehouse) -> None:
    """Rules are written with four digits, and with exponents where numbers are large: those that are read again find the same users."""
    generator = np.random.default_rng(7)
    inside = np.arange(200) % 2 == 0
    values = pd.DataFrame(
        {
            "user_id": [f"u{number:03}" for number in range(200)],
            "attention_ms_per_session": np.where(inside, 400_000, 250_000) + generator.integers(-50_000, 50_000, 200),
        }
    )
    # Digits beyond those that are written tell nobody apart here.
    values["attention_ms_per_session"] = values["attention_ms_per_session"].round(-3).astype(float)
    assigned = pd.DataFrame({"user_id": values["user_id"], "segment_id": np.where(inside, 1, 2)})
    rules = segment_rules(assigned, values, ["attention_ms_per_session"])
    assert "e+05" in rules["rule"].str.cat()
    profiles = ibis.memtable(values[["user_id"]])
    for row in rules.itertuples():
        met = matching(profiles, row.rule, features=ibis.memtable(values))
        assert warehouse.value(met.count()) == row.users


def test_a_segment_is_compared_with_those_that_there_are() -> None:
    with pytest.raises(
        ConditionError, match=r"at character 11: no such segment: found 'Night owl' \(did you mean 'Night owls'\?\); expected"
    ):
        matching(TABLE, "segment = 'Night owl'", segments=["Night owls", "O'Brien"])
    with pytest.raises(ConditionError, match=r"no such segment: found 'x'; expected one of Night owls"):
        matching(TABLE, "segment in ('Night owls', 'x')", segments=["Night owls"])


def test_columns_of_features_are_named_where_they_may_be_asked_for() -> None:
    more = features(searches=[1.0, 5.0, None, 9.0])
    with pytest.raises(ConditionError, match=r"found 'search' \(did you mean 'searches'\?\); expected a column of profiles or features$"):
        matching(TABLE, "search > 1", features=more)
    with pytest.raises(ConditionError, match=r"found 'born' \(did you mean 'attributes.born'\?\)"):
        matching(TABLE, "born < 1960", {"attributes.born": "float64"}, more)
    with pytest.raises(ConditionError, match=r"found 'xyz'; expected a column of profiles or features: user_id, .*, searches$"):
        matching(TABLE, "xyz > 1", features=more)


def test_an_audience_is_deleted_alone(configure) -> None:
    settings = configure(CLICKS)
    save(settings, "owls", "frequency > 1")
    save(settings, "early", "frequency = 1")
    assert delete(settings, "owls") == "frequency > 1"
    assert audiences(settings) == {"early": "frequency = 1"}
    with pytest.raises(AudienceError, match=r"no audience 'earl' \(did you mean 'early'\?\); there are early"):
        delete(settings, "earl")


def test_audiences_are_kept_by_name(configure) -> None:
    settings = configure(CLICKS)
    assert audiences(settings) == {}
    save(settings, "owls", "frequency > 1")
    save(settings, "early", "frequency = 1")
    save(settings, "owls", "frequency > 2")
    assert audiences(settings) == {"early": "frequency = 1", "owls": "frequency > 2"}
    assert condition_of(settings, "owls") == "frequency > 2"
    with pytest.raises(AudienceError, match="no audience 'x'; there are early, owls"):
        condition_of(settings, "x")
    with pytest.raises(AudienceError, match="expected a name of small letters"):
        save(settings, "../Owls", "frequency > 1")
    assert contracts.USER_PROFILES.name == "user_profiles"


def test_lookalikes_of_one_planted_group_come_first() -> None:
    from sklearn.metrics import average_precision_score

    generator = np.random.default_rng(4)
    group = generator.integers(0, 5, 2000)
    points = generator.normal(0, 1, (5, 12))[group] * 1.2 + generator.normal(0, 1, (2000, 12))
    seeds = np.zeros(2000, dtype=bool)
    seeds[generator.choice(np.flatnonzero(group == 2), 60, replace=False)] = True
    alike = resemblance(points, seeds, 1)
    left = ~seeds
    assert average_precision_score(group[left] == 2, alike[left]) > 4 * (group[left] == 2).mean()
    assert np.array_equal(alike, resemblance(points, seeds, 1))
    assert ((alike >= 0) & (alike <= 1)).all()


def test_too_few_seeds_or_nobody_else_is_an_error_in_words() -> None:
    points = np.random.default_rng(1).normal(size=(8, 2))
    with pytest.raises(SeedsError, match="2 of the seeds are users with features; at least 5 are needed"):
        resemblance(points, np.arange(8) < 2)
    with pytest.raises(SeedsError, match="nobody is left to rank"):
        resemblance(points, np.ones(8, dtype=bool))
