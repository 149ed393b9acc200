"""The shipped mappings on the public data sets: the accounting holds to the record, and published figures are met."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from persona_pipelines.events.refresh import refresh_events
from persona_pipelines.logs.loading import load_events
from persona_pipelines.recommendations import training
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import KEY, ingested, needs_lightfm, public_data, rows

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]
CONFIGS = Path(__file__).parents[2] / "data" / "configs"

# read, rejects, duplicates per source: lines, and for Online Retail duplicate lines, as the publishers' files have them
EXPECTED = {
    "movielens-100k": {"ratings": (100_000, 0, 0)},
    "online-retail-raw": {"invoices": (240_007, 0, 1_970)},
    "online-retail": {"invoices": (531_282, 0, 5_231)},
    "apache-access-log": {"web": (10_000, 1, 19)},
    "open-bandit": {
        "random_impressions": (10_000, 0, 0),
        "random_clicks": (10_000, 0, 0),
        "bts_impressions": (10_000, 0, 0),
        "bts_clicks": (10_000, 0, 0),
    },
}


# Other shapes of the same folder, by the least mapping: records read, rejects, duplicates, filtered as the publishers' files have them.
IN_ORDER = {"order": {"start": "2000-01-01"}}
OTHERS: dict[str, tuple[dict[str, Any], tuple[int, int, int, int]]] = {
    "clicks without users": (
        {
            "path": "rsc15-100k/*_train_full.txt.gz",
            "format": {"type": "csv", "delimiter": "\t"},
            "same": "never",
            "fields": {
                "timestamp": {"from": "Time", "unit": "seconds"},
                "anonymous_id": "SessionId",
                "item_id": "ItemId",
                "event_type": {"value": "item_view"},
            },
        },
        (70_278, 0, 0, 0),
    ),
    "purchases without a clock": (
        {
            "path": "steam-200k/game_purchase.dat.gz",
            "format": {"type": "csv", "delimiter": "\t"},
            "fields": {"timestamp": IN_ORDER, "user_id": "User_ID", "item_id": "Game_ID", "event_type": {"value": "purchase"}},
        },
        (129_511, 0, 707, 0),
    ),
    "hours played": (
        {
            "path": "steam-200k/game_play.dat.gz",
            "format": {"type": "csv", "delimiter": "\t"},
            "same": "never",
            "fields": {
                "timestamp": IN_ORDER,
                "user_id": "User_ID",
                "item_id": "Game_ID",
                "quantity": "Hours",
                "event_type": {"value": "play"},
            },
        },
        (70_489, 0, 0, 0),
    ),
    "players of an experiment": (
        {
            "path": "cookie-cats/cookie_cats.csv.gz",
            "format": {"type": "csv", "delimiter": ";"},
            "fields": {"timestamp": IN_ORDER, "user_id": "userid", "campaign": "version", "event_type": {"value": "sign_up"}},
        },
        (90_189, 0, 0, 0),
    ),
    "people without an id": (
        {
            "path": "hillstrom-dev/*.csv.gz",
            "format": "csv",
            "same": "never",
            "fields": {
                "timestamp": IN_ORDER,
                "user_id": "@line",
                "campaign": "segment",
                "value": "spend",
                "event_type": {"value": "impression"},
            },
        },
        (32_040, 0, 0, 0),
    ),
    "views of Google Analytics": (
        {
            "path": "ga4-flattened-sample/*.csv.gz",
            "format": "csv",
            "drop_when": [{"field": "country", "equals": "(not set)"}],
            "fields": {
                "timestamp": {"from": "event_timestamp", "unit": "microseconds"},
                "anonymous_id": "user_pseudo_id",
                "item_id": {"from": "item_id", "missing_words": ["(not set)"]},
                "event_type": {"value": "item_view"},
            },
        },
        (16_003, 0, 46, 81),
    ),
}

Loaded = Callable[[str], tuple[Warehouse, Settings]]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Loaded]:
    """A shipped configuration with its data loaded and cleaned, once for all tests that read it."""
    folder = public_data()
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stores:
        patch.setenv("PERSONA_SHARED_DATA", str(folder.absolute()))

        @cache
        def load(name: str) -> tuple[Warehouse, Settings]:
            settings = load_settings(CONFIGS / f"{name}.yaml")
            store = stores.enter_context(Warehouse(None, KEY))
            ingested(store, settings)
            return store, settings

        yield load


@pytest.mark.parametrize("name", EXPECTED)
def test_every_record_is_accounted_for(name: str, loaded: Loaded) -> None:
    warehouse, _ = loaded(name)
    found = rows(
        warehouse,
        "SELECT source, sum(records_read)::INT, sum(events)::INT, sum(rejects)::INT, sum(duplicates)::INT, sum(filtered)::INT "
        "FROM events.accounting GROUP BY source",
    )
    assert {source: (read, rejects, duplicates) for source, read, _, rejects, duplicates, _ in found} == EXPECTED[name]
    assert all(read == events + rejects + duplicates + filtered for _, read, events, rejects, duplicates, filtered in found)


@pytest.mark.parametrize("name", OTHERS)
def test_every_record_of_other_shapes_is_accounted_for(name: str, shared_data: Path, configure, warehouse: Warehouse) -> None:
    source, expected = OTHERS[name]
    path = str(shared_data.absolute() / source["path"])
    ingested(warehouse, configure({"name": "log", **source, "path": path}, start_date="2000-01-01"))
    sums = rows(
        warehouse,
        "SELECT sum(records_read)::INT, sum(rejects)::INT, sum(duplicates)::INT, sum(filtered)::INT, sum(events)::INT FROM events.accounting",
    )
    read, rejects, duplicates, filtered, events = sums[0]
    assert (read, rejects, duplicates, filtered) == expected
    assert read == events + rejects + duplicates + filtered


def test_cancellations_are_refunds(loaded: Loaded) -> None:
    warehouse, _ = loaded("online-retail-raw")
    # 5,087 lines have a quantity below zero, customers known or not, duplicates included.
    assert rows(warehouse, "SELECT count(*) FROM logs.invoices WHERE event_type = 'refund'") == [(5087,)]
    assert rows(warehouse, "SELECT min(value), min(quantity) FROM events.events WHERE event_type = 'refund'")[0] >= (0, 0)


def test_clicks_of_the_open_bandit_log_are_counted(loaded: Loaded) -> None:
    warehouse, _ = loaded("open-bandit")
    assert sorted(rows(warehouse, "SELECT campaign, count(*) FROM events.events WHERE event_type = 'click' GROUP BY 1")) == [
        ("bts", 42),
        ("random", 38),
    ]


@needs_lightfm
def test_the_champion_beats_popularity_and_every_member_on_movielens_split_by_time(loaded: Loaded) -> None:
    warehouse, settings = loaded("movielens-100k")
    comparison = training.compare_models(warehouse, settings, dt.datetime(1998, 4, 23), None)
    found = comparison.table(10, 20)
    warm = found[(found["case"] == "warm") & (found["segment"] == "all")].set_index("model")
    assert warm["users"].unique().tolist() == [109]
    assert warm.loc["most_popular", "ndcg_at_k"] == pytest.approx(0.146, abs=0.001)
    assert warm.loc["most_popular_30_days", "ndcg_at_k"] == pytest.approx(0.211, abs=0.001)
    assert warm.loc["lightfm_warp", "ndcg_at_k"] > warm.loc["most_popular", "ndcg_at_k"]
    assert comparison.decision.champion == "hybrid"
    assert warm.loc["hybrid", "ndcg_at_k"] > warm.drop("hybrid")["ndcg_at_k"].max()
    ahead = comparison.advantages(20).query("model == 'hybrid'").set_index("against")
    assert ahead.loc[["most_popular", "most_popular_30_days", "most_popular_7_days"], "low"].min() > 0
    assert warm.loc["biased_factors", "rmse"] < 1.05


def test_the_plainest_file_loads_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse) -> None:
    (tmp_path / "rating.csv").write_text("user_id,item_id,rating\n1,10,5\n1,11,3.5\n2,10,1\n")
    monkeypatch.setenv("RATING_CSV", str(tmp_path / "rating.csv"))
    settings = load_settings(CONFIGS / "ratings.yaml")
    day = settings.start_date
    load_events(warehouse, settings.sources[0], settings, day, day)
    refresh_events(warehouse, settings, day, day)
    assert rows(warehouse, "SELECT item_id, value, event_type FROM events.events ORDER BY source_line") == [
        ("10", 5, "rating"),
        ("11", 3.5, "rating"),
        ("10", 1, "rating"),
    ]
