"""Logs that lack what a stage is made of: what can be made is made and published, what cannot says why."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from persona_pipelines_tests.integration.running import QUICK, Run

pytestmark = pytest.mark.slow

DAYS = [dt.date(2025, 1, 1) + dt.timedelta(days=number) for number in range(120)]


def purchases(people: int, per_person: int, each: Callable[[int, int], tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for person in range(people):
        for number in range(per_person):
            yield (DAYS[(person * 7 + number * 23) % len(DAYS)], f"u{person}", *each(person, number))


def log(file: Path, header: tuple[str, ...], lines: Iterator[tuple[Any, ...]]) -> Path:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([header, *lines])
    return file


def thin(folder: Path, *sources: dict[str, Any], consent: bool = True, **more: Any) -> Run:
    content = {
        "name": "thin",
        "start_date": DAYS[0],
        "sources": [{"format": "csv", "same": "never", **source} for source in sources],
        "privacy": {"consent_when_unknown": consent},
        "logs": {"settle_seconds": 0},
        **QUICK,
        **more,
    }
    (folder / "persona.yaml").write_text(yaml.safe_dump(content))
    run = Run(folder, folder / "persona.yaml")
    run.adds_up()
    return run


BOUGHT = {"name": "log", "path": "log.csv", "fields": {"timestamp": "day", "user_id": "who", "event_type": {"value": "purchase"}}}


def bought(**fields: Any) -> dict[str, Any]:
    return {**BOUGHT, "fields": {**BOUGHT["fields"], **fields}}


def test_customer_date_and_amount_are_enough_for_segments_value_and_a_page(tmp_path: Path) -> None:
    log(tmp_path / "log.csv", ("day", "who", "amount"), purchases(80, 6, lambda person, number: (10 + person % 9 + number,)))
    run = thin(tmp_path, bought(value="amount"), predictions={"minimum_users": 20, "windows": 1})
    assert run.rows("segments.user_segments") == run.rows("profiles.user_profiles") == 80
    assert run.rows("profiles.user_profiles", "lifetime_value > 0") > 40
    assert run.value("SELECT sum(monetary_value) FROM features.user_features") == sum(
        10 + person % 9 + number for person in range(80) for number in range(6)
    )
    assert "no recommenders: no interactions of known users with items" in run.warnings
    assert len(run.pages()) == 2
    for command in (("recommend", "u1"), ("models",), ("serve", "--port", "0"), STARTED):
        told = " ".join(run.asked(*command).stderr.split())
        assert "there is no recommender; the last run left it out: no interactions of known users with items" in told, command


STARTED = (
    *("experiment", "start", "bolder", "--metric", "purchase_rate", "--effect", "0.1", "--people", "500", "--days", "14"),
    *("--variant", "control=0.5", "--variant", "bold=0.5,live_share=0.9"),
)


def test_a_log_that_names_nobody_has_events_and_says_that_there_is_no_audience(tmp_path: Path) -> None:
    log(tmp_path / "log.csv", ("day", "who", "item"), purchases(30, 4, lambda person, number: (f"i{number}",)))
    source = bought(item_id="item")
    source["fields"]["anonymous_id"] = source["fields"].pop("user_id")
    run = thin(tmp_path, source)
    assert run.rows("events.events") == 120
    assert run.pages() == []
    assert "warning: no page: nobody is in a segment, because no event names a person (user_id)" in run.warnings
    asked = run.asked("report")
    assert asked.exit_code == 1
    assert "no page: nobody is in a segment, because no event names a person (user_id)" in asked.stderr
    (tmp_path / "seeds.csv").write_text("u1\nu2\n")
    for command in (
        ("profile", "u1"),
        ("recommend", "u1"),
        ("models",),
        ("serve", "--port", "0"),
        STARTED,
        ("open", "gallery", "--print"),
        ("audience", "lookalike", "seeds.csv"),
    ):
        asked = run.asked(*command)
        assert asked.exit_code == 1
        told = " ".join(asked.stderr.split())
        assert "no event names a person (user_id): of devices alone there are sessions and items" in told, command
        assert "persona run" not in told
    for empty in (["segments"], ["audience", "save", "regulars", "--where", "sessions > 1"]):
        asked = run.asked(*empty)
        assert asked.exit_code == 0
        assert "no event names a person (user_id): of devices alone" in " ".join(asked.stderr.split())


def test_people_who_are_all_alike_and_have_consented_to_nothing(tmp_path: Path) -> None:
    """Also: what cannot be foreseen is said, and that there are no lists."""
    lines = ((DAYS[0], f"u{person}", f"i{item}", 5) for person in range(60) for item in range(4))
    log(tmp_path / "log.csv", ("day", "who", "item", "amount"), lines)
    run = thin(tmp_path, bought(item_id="item", value="amount"), consent=False)
    assert run.rows("profiles.user_profiles") == 60
    assert run.rows("segments.user_segments", "segment_id >= 0") == 60
    assert run.rows("recommendations.recommendations") == 0
    assert "no lists: none of 60 people has consented to personalisation" in run.warnings
    assert "privacy.consent_when_unknown" in run.warnings
    assert "left out: profiles.user_predictions: no prediction of purchase, churn, spend" in run.warnings
    asked = run.asked("recommend", "u1")
    assert "privacy.consent_when_unknown where none says it" in asked.stderr


def test_a_catalogue_of_titles_alone_and_one_wrong_clock(tmp_path: Path) -> None:
    lines = purchases(60, 5, lambda person, number: (f"i{(person * 3 + number) % 12}",))
    log(tmp_path / "log.csv", ("day", "who", "item"), iter([*lines, ("2099-01-01", "u1", "i1"), ("1999-01-01", "u1", "i1")]))
    log(tmp_path / "items.csv", ("item", "title"), ((f"i{item}", f"Title {item}") for item in range(12)))
    items = {"name": "items", "kind": "items", "path": "items.csv", "fields": {"item_id": "item", "title": "title"}}
    run = thin(tmp_path, bought(item_id="item"), items, predictions={"minimum_users": 10_000})
    assert (run.rows("events.events"), run.rows("events.rejects")) == (300, 2)
    assert run.rows("recommendations.recommendations", "reason <> ''") > 60
    assert len(run.pages()) == 2


def test_a_list_of_customers_alone_is_cut_into_segments_and_foreseen(tmp_path: Path) -> None:
    lines = ((f"c{number}", number % 7 * 1000, ("web", "shop")[number % 2], ("yes", "no")[number % 7 > 3]) for number in range(200))
    log(tmp_path / "people.csv", ("id", "balance", "contact", "signed"), lines)
    people = {
        "name": "people",
        "kind": "users",
        "path": "people.csv",
        "fields": {"user_id": "id"},
        "attributes": {"balance": "number", "contact": "category", "signed": {"type": "boolean", "known_later": True}},
    }
    run = thin(
        tmp_path, people, predictions={"targets": [{"name": "signed", "from": {"attribute": "signed"}}], "minimum_users": 20, "windows": 1}
    )
    assert run.rows("segments.user_segments") == 200
    assert run.rows("profiles.prediction_quality", "target = 'signed' AND chosen") == 1
    assert len(run.pages()) == 2
