"""Audiences by condition and by likeness."""

import ibis
import numpy as np
import pytest

from persona_pipelines.audiences.conditions import ConditionError, matching
from persona_pipelines.audiences.lookalike import SeedsError, resemblance
from persona_pipelines.audiences.saved import AudienceError, audiences, condition_of, save
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
        ("churn > 3", "at character 1: found 'churn' (did you mean 'churn_probability'?); expected a column of profiles or features"),
        ("zzzz > 3", "at character 1: found 'zzzz'; expected a column of profiles or features: user_id, segment_name"),
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
