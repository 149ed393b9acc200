"""Robots that call themselves browsers: what each rule finds, and what it must leave alone."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
from collections import Counter
from pathlib import Path

import pytest
import yaml

from persona_pipelines.events.automation import FEWEST_DEVICES, FEWEST_PAGES, LOADING_SHARE
from persona_pipelines.settings import load_settings
from persona_pipelines.simulation.shop import STEALTHY, ShopPlan, write_shop
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import DAY, KEY, ingested, rows, write

ROOT = Path(__file__).parents[2]
WEB = {
    "name": "web",
    "path": "web/{date}.csv",
    "format": "csv",
    "fields": {"timestamp": "at", "event_type": "type", "anonymous_id": "device", "user_id": "user", "url": "url", "user_agent": "agent"},
}
BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"


def moments(count: int, seconds: float, start: float = 0) -> list[str]:
    begin = dt.datetime.combine(DAY, dt.time())
    return [(begin + dt.timedelta(seconds=start + number * seconds)).isoformat() for number in range(count)]


def visits(device: str, times: list[str], url: str = "/page", kind: str = "page_view", user: str = "") -> list[str]:
    return [f"{time},{kind},{device},{user},{url},{BROWSER}" for time in times]


def readers(count: int = 25, pages: int = 4) -> list[str]:
    """People whose browsers load an asset with each page, so that the log is one that holds assets."""
    return [
        line
        for number in range(count)
        for line in (*visits(f"p{number}", moments(pages, 60, number)), *visits(f"p{number}", moments(pages, 60, number + 1), "/site.css"))
    ]


def reasons(configure, tmp_path, *lines: str, **events) -> dict[str, Counter[str]]:
    """By device, how many records each reason filtered; kept ones under ``kept``."""
    write(tmp_path, f"web/{DAY}.csv", "at,type,device,user,url,agent", *lines)
    settings = configure(WEB, events=events)
    with Warehouse(None, KEY) as store:
        ingested(store, settings)
        fates = rows(
            store,
            "SELECT source_line, 'kept' FROM events.events UNION ALL SELECT source_line, reason FROM events.filtered "
            "UNION ALL SELECT source_line, 'copy' FROM events.duplicates",
        )
    devices = {number: line.split(",")[2] or line.split(",")[3] for number, line in enumerate(lines, start=2)}
    found: dict[str, Counter[str]] = {}
    for number, reason in fates:
        found.setdefault(devices[number], Counter())[reason] += 1
    return found


@pytest.mark.slow
def test_what_no_person_does_is_filtered_with_its_reason_and_the_people_stay(configure, tmp_path) -> None:
    robots = {
        "quick": (visits("quick", moments(700, 5)), "automated: pages per hour"),
        "searching": (visits("searching", moments(700, 5), kind="search"), "automated: pages per hour"),
        "sleepless": (visits("sleepless", moments(22, 3600)), "automated: hours of the day"),
        "guessing": (visits("guessing", moments(40, 20), "/wp-login.php"), "automated: log-ins per hour"),
        "knocking": (visits("knocking", moments(40, 20), "/", "login"), "automated: log-ins per hour"),
        "polite": ([*visits("polite", moments(1, 1), "/robots.txt"), *visits("polite", moments(3, 60, 5))], "automated: robots.txt"),
        "bare": (visits("bare", moments(31, 60)), "automated: no assets"),
        "known": (visits("", moments(700, 5), user="known"), "automated: pages per hour"),
    }
    found = reasons(configure, tmp_path, *readers(), *(line for lines, _ in robots.values() for line in lines))
    assert {name: found.pop(name) for name in robots} == {name: Counter({reason: len(lines)}) for name, (lines, reason) in robots.items()}
    assert all(device == Counter({"kept": 4, "static asset": 4}) for device in found.values())


@pytest.mark.slow
def test_what_a_person_may_do_is_left_alone(configure, tmp_path) -> None:
    people = {
        "quick": visits("quick", moments(700, 10)),  # a long evening
        "repeated": [line for line in visits("repeated", moments(1, 1)) for _ in range(900)],  # one record many times over
        "shown": visits("shown", moments(2000, 1), kind="impression"),  # what a page sends by itself
        "fond": visits("fond", moments(2000, 1), kind="like"),
        "awake": visits("awake", moments(19, 3600)),
        "bare": visits("bare", moments(30, 60)),
        "forgetful": visits("forgetful", moments(25, 60), "/wp-login.php"),
        "reading": visits("reading", moments(60, 60), "/blog/login-pages-explained"),
    }
    found = reasons(configure, tmp_path, *(line for lines in people.values() for line in lines))
    assert found.keys() == people.keys()
    assert not [(name, reason) for name in people for reason in found[name] if reason.startswith("automated")]


@pytest.mark.slow
def test_an_office_behind_one_address_loads_assets_and_is_no_robot(configure, tmp_path) -> None:
    pages = moments(1500, 55)
    office = [line for time in pages for line in (*visits("x", [time]), *visits("x", [time], "/logo.png"))]
    assert reasons(configure, tmp_path, *readers(), *office)["x"] == {"kept": 1500, "static asset": 1500}
    bare = visits("x", pages)
    assert reasons(configure, tmp_path, *readers(), *bare)["x"] == {"automated: hours of the day": 1500}


@pytest.mark.slow
def test_where_a_log_holds_no_assets_their_absence_says_nothing(configure, tmp_path) -> None:
    bare = [line for number in range(25) for line in visits(f"p{number}", moments(40, 60, number))]
    assert {reason for found in reasons(configure, tmp_path, *bare).values() for reason in found} == {"kept"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("devices", "loading", "pages", "holds"),
    [
        (FEWEST_DEVICES, FEWEST_DEVICES * LOADING_SHARE, FEWEST_PAGES, True),
        (FEWEST_DEVICES - 1, FEWEST_DEVICES - 1, FEWEST_PAGES, False),
        (FEWEST_DEVICES, FEWEST_DEVICES * LOADING_SHARE - 1, FEWEST_PAGES, False),
        (FEWEST_DEVICES, FEWEST_DEVICES, FEWEST_PAGES - 1, False),
    ],
)
def test_a_log_holds_assets_where_enough_devices_that_read_load_one(configure, tmp_path, devices, loading, pages, holds) -> None:
    """The robot that loads none is one of the devices; another day, on which nobody loads any, is a log of its own."""
    people = [
        line
        for number in range(devices - 1)
        for line in (
            *visits(f"p{number}", moments(pages, 60, number)),
            *(visits(f"p{number}", moments(1, 1, number), "/site.css") if number < loading else []),
            *visits(f"p{number}", moments(pages, 60, 86_400 + number)),
        )
    ]
    robot = [line for day in (0, 86_400) for line in visits("bare", moments(40, 60, day))]
    found = reasons(configure, tmp_path, *people, *robot)["bare"]
    assert found == ({"automated: no assets": 40, "kept": 40} if holds else {"kept": 80})


@pytest.mark.slow
def test_a_rule_set_to_nothing_is_off_and_another_limit_is_another_limit(configure, tmp_path) -> None:
    lines = visits("x", moments(700, 5))
    assert reasons(configure, tmp_path, *lines, automation={"pages_per_hour": 0})["x"] == {"kept": 700}
    assert reasons(configure, tmp_path, *lines, automation={"pages_per_hour": 1000})["x"] == {"kept": 700}
    asked = [*visits("y", moments(1, 1), "/robots.txt"), *visits("y", moments(3, 60, 5))]
    assert reasons(configure, tmp_path, *asked, automation={"robots_txt": False})["y"] == {"kept": 4}


@pytest.mark.slow
def test_planted_robots_are_found_and_hardly_a_person_with_them(tmp_path) -> None:
    """Precision at least 0.98 of what the rules filter; of each kind but the one that does no more than a person would, all are found."""
    plan = ShopPlan(users=250, days=8, seed=3, dirt=0.0, items=60, stealth_bots=10)
    write_shop(plan, tmp_path / "raw", tmp_path / "truth")
    content = yaml.safe_load((ROOT / "data" / "persona.yaml").read_text())
    content["sources"] = [source for source in content["sources"] if source["name"] == "web"]
    (tmp_path / "persona.yaml").write_text(yaml.safe_dump(content))
    with Warehouse(None, KEY) as store:
        ingested(store, load_settings(tmp_path / "persona.yaml"))
        filtered = {
            ("/".join(file.split("/")[1:]), line): reason
            for file, line, reason in rows(store, "SELECT source_file, source_line, reason FROM events.filtered")
        }
    with gzip.open(tmp_path / "truth" / "records.csv.gz", "rt") as stream:
        truth = {(row["source_file"], int(row["source_line"])): row for row in csv.DictReader(stream) if row["source"] == "web"}
    automated = [truth[place] for place, reason in filtered.items() if reason.startswith("automated")]
    assert len(automated) > 1000
    assert sum(row["label"] == "stealth bot" for row in automated) / len(automated) >= 0.98
    planted = Counter(row["kind"] for row in truth.values() if row["label"] == "stealth bot")
    caught = Counter(row["kind"] for row in automated if row["label"] == "stealth bot")
    assert set(planted) == set(STEALTHY)
    for kind in STEALTHY:
        assert caught[kind] >= 0.95 * planted[kind] if kind != "patient" else True, kind
