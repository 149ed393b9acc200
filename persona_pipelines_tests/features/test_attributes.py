"""Attributes out of the JSON object of a list: typed, as numbers for models, and beside the features of their users."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.features.attributes import MOST_CATEGORIES, attributes_of_users, expanded, joined, numeric
from persona_pipelines.settings.sources import AttributeType
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import from_frame
from persona_pipelines_tests.conftest import CLICKS

TYPES: dict[str, AttributeType] = {"age": "number", "plan": "category", "new": "boolean", "since": "date"}


def listed(*objects: dict[str, Any] | None) -> pd.DataFrame:
    texts = [json.dumps(entry) if entry is not None else None for entry in objects]
    return pd.DataFrame({"user_id": [f"u{number}" for number in range(len(objects))], "attributes": texts})


ALL = listed(
    {"age": 41, "plan": "gold", "new": True, "since": "1970-01-11"},
    {"age": None, "plan": "basic", "new": False, "since": None, "more": 1},
    None,
    {"plan": "gold"},
    {"plan": "basic", "age": "2.5"},
    {"plan": "free"},
)


def said(values: pd.Series) -> list[Any]:
    return [None if pd.isna(value) else value for value in values]


def test_an_attribute_has_its_type_and_is_unknown_where_the_list_does_not_say_it() -> None:
    found = expanded(ALL, TYPES)
    assert list(found.columns) == ["user_id", "attributes.age", "attributes.plan", "attributes.new", "attributes.since"]
    np.testing.assert_array_equal(found["attributes.age"], [41.0, np.nan, np.nan, np.nan, 2.5, np.nan])
    np.testing.assert_array_equal(found["attributes.since"], [10.0, *[np.nan] * 5])
    assert said(found["attributes.plan"]) == ["gold", "basic", None, "gold", "basic", "free"]
    assert said(found["attributes.new"]) == ["yes", "no", None, None, None, None]


def test_models_read_a_number_for_each_frequent_category_and_one_where_there_are_two() -> None:
    found = numeric(expanded(ALL, TYPES))
    assert list(found.columns) == [
        "attributes.age",
        "attributes.new=yes",
        "attributes.plan=basic",
        "attributes.plan=gold",
        "attributes.plan=free",
        "attributes.since",
    ]
    np.testing.assert_array_equal(found["attributes.new=yes"], [1, 0, *[np.nan] * 4])
    np.testing.assert_array_equal(found["attributes.plan=basic"], [0, 1, np.nan, 0, 1, 0])
    many = expanded(listed(*({"plan": f"p{number:02d}"} for number in [*range(MOST_CATEGORIES + 5), 24])), {"plan": "category"})
    shown = [f"attributes.plan=p{number:02d}" for number in (24, *range(MOST_CATEGORIES - 1))]
    assert list(numeric(many).columns) == shown


@pytest.fixture
def settings(configure):
    customers = {
        "name": "customers",
        "kind": "users",
        "path": "customers.csv",
        "format": "csv",
        "fields": {"user_id": "id"},
        "attributes": {"age": "number", "plan": "category", "left": {"type": "boolean", "known_later": True}},
    }
    return configure(CLICKS, customers, predictions={"targets": [{"name": "leaves", "from": {"attribute": "left"}}]})


def test_what_came_later_is_left_out_unless_it_is_asked_for(settings, warehouse) -> None:
    rows = listed(None, {"age": 30, "plan": "gold", "left": True}, {"age": 20, "plan": "basic", "left": False})
    warehouse.ensure(contracts.USERS)
    base = {"consent_personalisation": True, "consent_marketing": True, "in_customer_list": True}
    frame = pd.DataFrame([{**dict.fromkeys(contracts.USERS.column_names), **base, **row} for row in rows.to_dict("records")])
    warehouse.append(contracts.USERS, from_frame(frame))
    found = attributes_of_users(warehouse, settings)
    assert found.to_dict("list") == {"user_id": ["u1", "u2"], "attributes.age": [30.0, 20.0], "attributes.plan=gold": [1.0, 0.0]}
    assert attributes_of_users(warehouse, settings, ["left"])["attributes.left=yes"].tolist() == [1.0, 0.0]
    features = pd.DataFrame({"user_id": ["u2", "u0", "u1"], "events": [1, 2, 3]})
    beside = joined(features, found)
    assert beside["user_id"].tolist() == ["u2", "u0", "u1"]
    np.testing.assert_array_equal(beside["attributes.age"], [20, np.nan, 30])
    assert joined(features, found[["user_id"]]) is features
