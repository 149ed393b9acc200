"""Targets of the configuration: judged and gated like the others, for events within a horizon and for attributes not known of all."""

from __future__ import annotations

import copy
import datetime as dt
import json
from collections.abc import Callable

import ibis
import numpy as np
import pandas as pd
import pytest

from persona_pipelines.audiences.conditions import ConditionError, inner_columns, matching
from persona_pipelines.profiles.predictions import BASE_RATE, Judged
from persona_pipelines.profiles.targets import as_objects, own_targets
from persona_pipelines.profiles.windows import Past, window
from persona_pipelines.settings import ConfigurationError, Settings
from persona_pipelines.settings.stages import TargetOrigin
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import CLICKS, DAY, at, events_table, ingested, write
from persona_pipelines_tests.profiles import test_predictions

CUSTOMERS = {
    "name": "customers",
    "kind": "users",
    "path": "customers.csv",
    "format": "csv",
    "fields": {"user_id": "id"},
    "attributes": {"balance": "number", "contact": "category", "joined": {"type": "boolean", "known_later": True}},
}


def listed(warehouse, objects: dict[str, dict]) -> None:
    frame = ibis.memtable(pd.DataFrame({"user_id": list(objects), "attributes": [json.dumps(entry) for entry in objects.values()]}))
    missing = {name: ibis.null(contracts.USERS.column(name).type) for name in contracts.USERS.column_names if name not in frame.columns}
    flags = {name: ibis.literal(True) for name in missing if contracts.USERS.column(name).required}
    with warehouse.transaction():
        warehouse.replace(contracts.USERS, frame.mutate(**(missing | flags)))


def judged(
    warehouse, configure: Callable[..., Settings], today: pd.DataFrame, *targets: dict
) -> tuple[list[str | None], dict[str, Judged], dict[str, str]]:
    settings = configure(CLICKS, CUSTOMERS, predictions={"minimum_users": 50, "targets": list(targets)})
    questions, missing = own_targets(Past(warehouse, "UTC"), settings, today, DAY, {})
    found = {name: question.answer() for name, question in questions.items()}
    return as_objects(found, len(today)), found, missing


@pytest.mark.slow
@pytest.mark.parametrize("signal", [3.0, 0.0])
def test_an_attribute_is_predicted_from_others_where_there_is_a_signal_and_else_its_share_is_told(
    warehouse, configure, signal: float
) -> None:
    today = test_predictions.window(1, users=1200).features
    generator = np.random.default_rng(4)
    balance = generator.normal(size=1200)
    joined = generator.random(1200) < 1 / (1 + np.exp(-signal * balance + 1))
    known = generator.random(1200) < 0.7
    listed(
        warehouse,
        {
            user: {"balance": balance[row], "contact": "cellular", "joined": bool(joined[row]) if known[row] else None}
            for row, user in enumerate(today["user_id"])
        },
    )
    chances, found, missing = judged(warehouse, configure, today, {"name": "joins", "from": {"attribute": "joined"}})
    assert not missing
    table = found["joins"].table.set_index("model")
    said = np.array([json.loads(text or "{}")["joins"] for text in chances])
    if signal:
        assert found["joins"].chosen != BASE_RATE
        assert found["joins"].drivers.iloc[0]["feature"] == "attributes.balance"
        assert table.loc[found["joins"].chosen, "calibration_error"] < 0.1
        assert said[~known][joined[~known]].mean() > said[~known][~joined[~known]].mean() + 0.3
    else:
        assert found["joins"].chosen == BASE_RATE
        assert np.ptp(said) == 0
        assert said[0] == pytest.approx(joined[known].mean(), abs=0.02)


@pytest.mark.slow
def test_what_tells_the_future_is_learned_from_only_where_a_target_asks_for_it(warehouse, configure) -> None:
    today = test_predictions.window(1, users=600, signal=0.0).features
    generator = np.random.default_rng(4)
    truth = generator.random(600) < 0.4
    listed(
        warehouse,
        {
            user: {"contact": "a" if truth[row] else "b", "joined": bool(truth[row]), "balance": 1.0}
            for row, user in enumerate(today["user_id"])
        },
    )
    with_it = {"name": "by_later", "from": {"attribute": "contact", "equals": "a"}, "also": ["joined"]}
    without = {"name": "by_known", "from": {"attribute": "contact", "equals": "a"}}
    _, found, _ = judged(warehouse, configure, today, with_it, without)
    assert found["by_later"].chosen != BASE_RATE
    assert found["by_known"].chosen == BASE_RATE  # neither itself nor what is known later is among its features


def test_too_little_to_learn_from_is_said(warehouse, configure) -> None:
    today = test_predictions.window(1, users=200).features
    listed(warehouse, {user: {"joined": row < 195, "balance": 1.0 if row < 20 else None} for row, user in enumerate(today["user_id"])})
    chances, found, missing = judged(
        warehouse,
        configure,
        today,
        {"name": "joins", "from": {"attribute": "joined"}},
        {"name": "rich", "from": {"attribute": "balance", "at_least": 5}},
    )
    assert missing == {
        "joins": "joins is true 195 times and false 5 times; 10 of each are needed",
        "rich": "balance is known of 20 of 200 users; 50 are needed (predictions.minimum_users)",
    }
    assert (chances, found) == ([None] * 200, {})


@pytest.mark.slow
def test_an_event_makes_a_target_true_in_the_window_alone_and_of_the_items_asked_for(warehouse) -> None:
    events = [
        {"user_id": "a", "item_id": "loan", "timestamp": at(1, DAY), "event_type": "application"},
        {"user_id": "a", "item_id": "card", "timestamp": at(1, DAY + dt.timedelta(days=3)), "event_type": "application"},
        {"user_id": "b", "item_id": "loan", "timestamp": at(1, DAY), "event_type": "login"},
        {"user_id": "b", "item_id": "loan", "timestamp": at(1, DAY + dt.timedelta(days=3)), "event_type": "application"},
        {"user_id": "c", "item_id": "loan", "timestamp": at(1, DAY), "event_type": "login"},
        {"user_id": "c", "item_id": "loan", "timestamp": at(1, DAY + dt.timedelta(days=20)), "event_type": "application"},
    ]
    items = ibis.memtable({"item_id": ["loan", "card"], "category": ["credit", "payment"], "in_catalogue": [True, True]})
    missing = {name: ibis.null(contracts.ITEMS.column(name).type) for name in contracts.ITEMS.column_names if name not in items.columns}
    with warehouse.transaction():
        warehouse.replace(contracts.EVENTS, events_table(warehouse, *events))
        warehouse.replace(contracts.ITEMS, items.mutate(**missing))
    origins = {
        "any": TargetOrigin(event="application"),
        "card": TargetOrigin(event="application", item_id="card"),
        "credit": TargetOrigin(event="application", category="credit"),
    }
    found = window(Past(warehouse, "UTC"), DAY, 7, origins)
    assert found.features["user_id"].tolist() == ["a", "b", "c"]
    assert {name: values.tolist() for name, values in found.own.items()} == {
        "any": [True, True, False],
        "card": [True, False, False],
        "credit": [False, True, False],
    }


def test_attributes_and_targets_may_be_asked_for_in_conditions(configure) -> None:
    settings = configure(CLICKS, CUSTOMERS, predictions=[{"name": "joins", "from": {"attribute": "joined"}}])
    profiles = ibis.memtable(
        pd.DataFrame(
            {
                "user_id": list("abc"),
                "attributes": ['{"balance": 10.5, "contact": "cell", "joined": true}', '{"balance": null, "contact": "x"}', None],
                "targets": ['{"joins": 0.9}', '{"joins": 0.1}', None],
            }
        )
    )
    inner = inner_columns(settings)

    def found(condition: str) -> list[str]:
        return sorted(matching(profiles, condition, inner).to_pandas()["user_id"])

    assert found("attributes.balance > 10 and targets.joins >= 0.5") == ["a"]
    assert found('attributes.contact in ("cell", "x")') == ["a", "b"]
    assert found("attributes.joined = true") == ["a"]
    assert found("attributes.balance is missing") == ["b", "c"]
    with pytest.raises(
        ConditionError, match=r"found 'attributes.size'; expected a column of profiles: .*attributes.balance.*targets.joins"
    ):
        found("attributes.size > 1")
    with pytest.raises(ConditionError, match=r"expected a number, for attributes.balance"):
        found('attributes.balance = "much"')


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"name": "x", "from": {"attribute": "size"}}, r"targets\[0\]: 'size' is no attribute of a source of kind users"),
        ({"name": "x", "from": {"event": "teleport"}}, r"targets\[0\].from.event: 'teleport' is not an event type"),
        ({"name": "x", "from": {"attribute": "balance"}}, r"targets\[0\].from: balance is a number; expected equals or at_least"),
        ({"name": "x", "from": {"attribute": "contact", "at_least": 3}}, r"from.at_least: contact is a category, not a number"),
        ({"name": "x", "from": {}}, "expected attribute or event"),
        ({"name": "churn", "from": {"attribute": "joined"}}, "'churn' is taken"),
    ],
)
def test_a_target_that_cannot_be_is_refused_where_it_stands(configure, target: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        configure(CLICKS, CUSTOMERS, predictions={"targets": [target]})


@pytest.mark.slow
def test_a_list_of_customers_alone_is_enough(configure, warehouse, tmp_path) -> None:
    """Each of its records is a sign-up; segments and targets come from attributes, and a line number may be an id."""
    from persona_pipelines.features.asof import features_as_of
    from persona_pipelines.features.attributes import attributes_of_users, joined
    from persona_pipelines.segments.model import fit_segments

    generator = np.random.default_rng(2)
    rich = generator.random(300) < 0.5
    lines = [
        f"{10_000 if is_rich else 10}{generator.integers(10)},{'mail' if is_rich else 'phone'},{'yes' if is_rich else ''}"
        for is_rich in rich
    ]
    write(tmp_path, "customers.csv", "balance,contact,joined", *lines)
    settings = configure({**copy.deepcopy(CUSTOMERS), "fields": {"user_id": "@line"}})
    assert [(source.name, source.kind) for source in settings.sources] == [("customers", "users"), ("customers_sign_ups", "events")]
    last = ingested(warehouse, settings)
    assert (warehouse.rows(contracts.EVENTS), last) == (300, DAY)
    known = features_as_of(warehouse, last, "UTC")
    features, shares = joined(known.users, attributes_of_users(warehouse, settings)), known.shares
    fit = fit_segments(features, shares, settings.segments.model_copy(update={"algorithms": ["k_means"], "minimum_k": 2, "maximum_k": 3}))
    assigned = fit.model.assign(features, shares)
    truth = (features["attributes.balance"] > 5_000).to_numpy()
    assert len(fit.model.ids) == 2
    assert {tuple(sorted(set(truth[(assigned["segment_id"] == number).to_numpy()]))) for number in fit.model.ids} == {(True,), (False,)}
    assert any("balance" in name for name in fit.model.names)


def test_behaviour_makes_segments_alone_unless_attributes_are_asked_for(warehouse) -> None:
    from persona_pipelines.segments.preprocessing import fit_scaler

    features = test_predictions.window(1, users=200).features.assign(
        **{"attributes.balance": np.arange(200.0), "attributes.contact=mail": 1.0}
    )
    shares = pd.DataFrame({"user_id": [], "category": [], "interest_share": []})
    assert not [name for name in fit_scaler(features, shares).columns if name.startswith("attributes.")]
    assert fit_scaler(features, shares, ["balance", "contact"]).columns[-1] == "attributes.balance"  # the other one is the same of all
