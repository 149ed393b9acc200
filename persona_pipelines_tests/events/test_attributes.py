"""Attributes of people and items beyond the canonical columns: typed where they are read, one JSON object where they are stored."""

from __future__ import annotations

import copy
import json

import pytest

from persona_pipelines.settings import ConfigurationError
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import CLICKS, HEADER, ingested, rows, write

CUSTOMERS = {
    "name": "customers",
    "kind": "users",
    "path": "customers.csv",
    "format": {"type": "csv", "delimiter": ";"},
    "number": {"decimal": ","},
    "fields": {"user_id": "id"},
    "attributes": {
        "balance": "number",
        "contact": "category",
        "loan": "boolean",
        "since": {"type": "date", "format": "%d.%m.%Y"},
        "risk": {"type": "category", "from": "score", "map": {"1": "low", "2": "high"}},
    },
}


@pytest.mark.slow
def test_attributes_are_typed_and_stored_as_one_object(configure, warehouse, tmp_path) -> None:
    write(
        tmp_path,
        "customers.csv",
        "id;balance;contact;loan;since;score",
        "a;1234,5;cellular;yes;31.12.2019;1",
        "b;;;;;",
        'c;12;"null ""x""";no;;2',
        "d;much;cellular;yes;;1",
        "e;1;cellular;perhaps;;1",
        "f;1;cellular;yes;31.02.2019;1",
    )
    write(tmp_path, "clicks/2025-09-01.csv", HEADER, "1,2025-09-01T10:00:00Z,item_view,a,,x,,")
    settings = configure(CLICKS, CUSTOMERS)
    ingested(warehouse, settings)
    found = sorted(
        (json.loads(row[0]) for row in rows(warehouse, "SELECT attributes FROM events.users WHERE attributes IS NOT NULL")), key=str
    )
    assert found == [
        {"balance": 12.0, "contact": 'null "x"', "loan": False, "since": None, "risk": "high"},
        {"balance": 1234.5, "contact": "cellular", "loan": True, "since": "2019-12-31", "risk": "low"},
    ]
    assert rows(warehouse, "SELECT count(*) FROM events.users WHERE in_customer_list AND attributes IS NULL") == [(1,)]
    assert sorted(row[0] for row in rows(warehouse, "SELECT reason FROM events.rejects")) == [
        "attributes.balance: not a number",
        "attributes.loan: neither true nor false",
        "attributes.since: not readable as a date",
    ]
    assert settings.attributes_of("users") == {
        "balance": "number",
        "contact": "category",
        "loan": "boolean",
        "since": "date",
        "risk": "category",
    }
    assert warehouse.rows(contracts.USERS) == 3


def test_attributes_belong_to_lists_and_have_one_type(configure) -> None:
    with pytest.raises(ConfigurationError, match="attributes: only in sources of kind items and users"):
        configure({**CLICKS, "attributes": {"x": "number"}})
    with pytest.raises(ConfigurationError, match=r"attributes.balance of source others: found category; another source has number"):
        configure(CLICKS, CUSTOMERS, {**copy.deepcopy(CUSTOMERS), "name": "others", "attributes": {"balance": "category"}})
    with pytest.raises(
        ConfigurationError, match=r"attributes.balance.type: found 'amount'; expected 'number', 'category', 'boolean' or 'date'"
    ):
        configure(CLICKS, {**CUSTOMERS, "attributes": {"balance": "amount"}})
