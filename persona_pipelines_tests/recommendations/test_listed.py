"""Attributes of the configuration as features of recommenders: the same bands for one user as for all."""

from __future__ import annotations

import json

import ibis
import numpy as np
import pandas as pd
import pytest

from persona_pipelines.profiles.documents import _object
from persona_pipelines.recommendations.data import USER_ATTRIBUTES, tokens
from persona_pipelines.recommendations.listed import described
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import CLICKS

CUSTOMERS = {
    "name": "customers",
    "kind": "users",
    "path": "customers.csv",
    "format": "csv",
    "fields": {"user_id": "id"},
    "attributes": {
        "balance": "number",
        "contact": "category",
        "since": "date",
        "loan": "boolean",
        "left": {"type": "boolean", "known_later": True},
    },
}


@pytest.mark.slow
def test_numbers_and_dates_are_bands_of_the_whole_list_and_what_is_known_later_is_no_feature(configure, warehouse) -> None:
    objects = [
        {
            "balance": float(number),
            "contact": "cell" if number % 2 else None,
            "since": f"2020-01-{number + 1:02}",
            "loan": number < 5,
            "left": True,
        }
        for number in range(20)
    ] + [{"balance": None, "contact": None, "since": None, "loan": None, "left": None}]
    users = [f"u{number:02}" for number in range(len(objects))]
    table = ibis.memtable(pd.DataFrame({"user_id": users, "attributes": [json.dumps(entry) for entry in objects]}))
    missing = {name: ibis.null(contracts.USERS.column(name).type) for name in contracts.USERS.column_names if name not in table.columns}
    flags = {name: ibis.literal(True) for name in missing if contracts.USERS.column(name).required}
    with warehouse.transaction():
        warehouse.replace(contracts.USERS, table.mutate(**(missing | flags)))
    settings = configure(CLICKS, CUSTOMERS)
    everyone = warehouse.frame(warehouse.table(contracts.USERS).order_by("user_id"))
    found = tokens(described(warehouse, settings, contracts.USERS, everyone), "user_id", np.array(users, dtype=object), USER_ATTRIBUTES)
    assert found[0] == ["attributes.balance=band 0", "attributes.loan=yes", "attributes.since=band 0"]
    assert found[19] == ["attributes.balance=band 4", "attributes.contact=cell", "attributes.loan=no", "attributes.since=band 4"]
    assert found[20] == []
    assert sorted({row[0] for row in found if row}) == [f"attributes.balance=band {band}" for band in range(5)]
    for user, row in zip(users, found, strict=True):
        alone = described(warehouse, settings, contracts.USERS, everyone[everyone["user_id"] == user])
        assert tokens(alone, "user_id", np.array([user], dtype=object), USER_ATTRIBUTES) == [row]


def test_documents_show_what_is_known_and_nothing_else() -> None:
    assert _object('{"balance": 10.5, "contact": null}') == {"balance": 10.5}
    assert _object(None) == {}
