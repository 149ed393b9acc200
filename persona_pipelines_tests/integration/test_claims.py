"""Real logs without dwell, without visits or without a clock: the page has no word of what they do not hold, and every sentence has its warrant."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from persona_pipelines_tests.conftest import public_data
from persona_pipelines_tests.integration.running import QUICK, Run

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]

CONFIGS = Path(__file__).parents[2] / "data" / "configs"
STEAM = {
    "name": "steam",
    "start_date": "2000-01-01",
    "privacy": {"consent_when_unknown": True},
    "sources": [
        {
            "name": "purchases",
            "path": "purchases.dat",
            "format": {"type": "csv", "delimiter": "\t"},
            "fields": {"user_id": "User_ID", "item_id": "Game_ID", "timestamp": {"order": True}, "event_type": {"value": "purchase"}},
        },
        {
            "name": "games",
            "kind": "items",
            "path": "games.dat",
            "format": {"type": "csv", "delimiter": "\t"},
            "fields": {"item_id": "Game_ID", "title": "Game Name"},
        },
    ],
}


def run(folder: Path, content: dict, **environment: str) -> Run:
    few = {"recommendations": {"methods": [{"method": "most_popular"}], "minimum_interactions": 20}}
    (folder / "persona.yaml").write_text(yaml.safe_dump({**content, **QUICK, **few}))
    return Run(folder, folder / "persona.yaml", **environment)


def absent(found: Run) -> set[str]:
    return set(found.column("SELECT feature FROM features.feature_support WHERE support = 'absent'"))


def test_a_shop_that_logs_invoices_has_no_word_of_attention(tmp_path: Path) -> None:
    source = public_data() / "online-retail" / "online_retail_raw_240k.parquet"
    (tmp_path / "online-retail").mkdir()
    pq.write_table(pq.read_table(source).slice(0, 6_000), tmp_path / "online-retail" / source.name)
    content = yaml.safe_load((CONFIGS / "online-retail-raw.yaml").read_text())
    found = run(tmp_path, content, PERSONA_SHARED_DATA=str(tmp_path))
    assert {"sessions", "attention_ms_per_session", "attention_minutes_per_week", "searches", "mobile_share"} <= absent(found)
    assert "night_share" not in absent(found)
    assert found.rows("features.user_features", "attention_ms_per_session IS NOT NULL OR sessions IS NOT NULL") == 0
    assert found.rows("events.events", "attention_ms IS NOT NULL") == 0
    assert found.false_claims() == []
    page = (found.home / "reports" / "persona-gallery-en.html").read_text()
    assert "customers" in page


def test_purchases_without_a_clock_have_no_word_of_time(tmp_path: Path) -> None:
    for name, file, lines in (("game_purchase", "purchases", 3_000), ("item_info", "games", 3_000)):
        text = gzip.decompress((public_data() / "steam-200k" / f"{name}.dat.gz").read_bytes()).splitlines(keepends=True)
        (tmp_path / f"{file}.dat").write_bytes(b"".join(text[:lines]))
    found = run(tmp_path, STEAM)
    assert {"recency_days", "frequency", "night_share", "weekend_share", "sessions", "trend", "active_days"} <= absent(found)
    assert not {"purchases", "items"} & absent(found)
    assert (
        found.rows(
            "profiles.user_profiles", "lifecycle_stage IS NOT NULL OR purchase_probability IS NOT NULL OR churn_probability IS NOT NULL"
        )
        == 0
    )
    assert found.rows("features.item_features", "recency_days IS NOT NULL OR age_days IS NOT NULL") == 0
    assert found.rows("recommendations.recommendations", "reason IN ('popular now') OR reason LIKE 'new%'") == 0
    told = " ".join(found.warnings.split())
    assert "no prediction of purchase, churn, spend: the log has no clock" in told
    assert "no prediction of lifetime value: the log has no purchases or bookings with a date" in told
    assert found.false_claims() == []
