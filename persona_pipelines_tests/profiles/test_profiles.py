import ibis
import pytest

from persona_pipelines.profiles.joining import lifecycle_stage, top_interests


@pytest.mark.parametrize(
    ("tenure", "recency", "frequency", "stage"),
    [
        (5, 1, 9, "new"),
        (100, 1, 3, "loyal"),
        (100, 30, 2, "active"),
        (100, 31, 9, "at risk"),
        (100, 90, 0, "at risk"),
        (100, 91, 9, "lapsed"),
    ],
)
def test_the_stage_follows_tenure_recency_and_frequency(warehouse, tenure: int, recency: int, frequency: int, stage: str) -> None:
    table = ibis.memtable({"tenure_days": [tenure], "recency_days": [recency], "frequency": [frequency]})
    assert warehouse.row(table.select(stage=lifecycle_stage(table))) == (stage,)


def test_interests_are_the_first_three_categories_in_order(warehouse) -> None:
    table = ibis.memtable({"user_id": ["u"] * 4, "category": list("abcd"), "interest_share": [0.1, 0.5, 0.3, 0.1], "rank": [3, 1, 2, 4]})
    assert warehouse.row(top_interests(table)) == ("u", "b 50%, c 30%, a 10%")
