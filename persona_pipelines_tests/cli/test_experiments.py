"""Experiments from plan to result by their commands, and what is refused in words."""

from __future__ import annotations

import datetime as dt
import json

import duckdb
import numpy as np
import pytest

from persona_pipelines.cli.answers import as_json, give
from persona_pipelines.cli.experiments import _answer
from persona_pipelines.serving.experiments import load, save, variant_of
from persona_pipelines.serving.judging import judged
from persona_pipelines.serving.shown import ListLog
from persona_pipelines.serving.waiting import Waiting
from persona_pipelines_tests.cli.conftest import Told
from persona_pipelines_tests.serving.shop import experiment, opened
from persona_pipelines_tests.serving.test_shown import shown

HALVES = ("--variant", "control=0.5", "--variant", "bold=0.5,live_share=0.9")
PLANNED = ("--metric", "click_rate", "--effect", "0.1", "--people", "2000", "--days", "14")


def kept(told: Told) -> list:
    return load(told.home / "live" / "experiments.json")


def test_an_experiment_is_started_with_what_differs_and_ended(changed: Told) -> None:
    done = changed.asked("experiment", "start", "bolder", *PLANNED, *HALVES, "--guard", "revenue_per_person=0.05", "--winsorise", "0.99")
    assert done.exit_code == 0, done.output
    assert "experiment bolder is running until" in done.stdout
    (found,) = kept(changed)
    assert (found.variants[1].name, found.variants[1].share, found.variants[1].live_share) == ("bold", 0.5, 0.9)
    assert (found.guards[0].metric, found.guards[0].margin, found.winsorise, found.days) == ("revenue_per_person", 0.05, 0.99, 14)
    again = changed.asked("experiment", "start", "other", *PLANNED, *HALVES)
    assert again.exit_code == 1
    assert "experiment bolder is running; one runs at a time: persona experiment stop bolder" in again.stderr
    assert changed.asked("experiment", "stop", "bolder").exit_code == 0
    assert kept(changed)[0].stopped is not None
    twice = changed.asked("experiment", "stop", "bolder")
    assert (twice.exit_code, "experiment bolder has ended" in twice.stderr) == (1, True)
    assert changed.asked("experiment", "start", "other", *PLANNED, *HALVES).exit_code == 0


def test_variants_that_give_the_same_start_as_an_aa_test_alone(changed: Told) -> None:
    same = ("--variant", "control=0.5", "--variant", "other=0.5")
    refused = changed.asked("experiment", "start", "even", *PLANNED, *same)
    assert (refused.exit_code, "or --aa for an A/A test" in refused.stderr) == (1, True)
    assert changed.asked("experiment", "start", "even", *PLANNED, *same, "--aa").exit_code == 0
    assert [variant.name for variant in kept(changed)[0].variants] == ["control", "other"]
    changed.asked("experiment", "stop", "even")
    missing = changed.asked(
        "experiment", "start", "odd", *PLANNED, "--variant", "control=0.5", "--variant", "other=0.5,model_version=77", "--aa"
    )
    assert (missing.exit_code, "no version 77 of " in missing.stderr) == (1, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--variant", "control=0.5", "--variant", "bold=0.4"), "variants: found shares that sum to 0.9; expected 1"),
        (("--variant", "control=0.5", "--variant", "bold=0.5,model_version=77"), "no version 77 of "),
        (("--variant", "control=0.5", "--variant", "bold=half"), "variants[1].share: found 'half'; expected a number"),
        (("--variant", "control=0.5", "--variant", "bold=0.5,speed=3"), "variants[1].speed: found '3'; not a setting known here"),
        (
            ("--variant", "control=0.5", "--variant", "bold=0.5"),
            "variants: found 'control' and 'bold', which give people the same: version ",
        ),
        (("--variant", "control", "--variant", "bold=0.5"), "found 'control'; expected NAME=SHARE"),
        ((*HALVES, "--guard", "speed=0.1"), "guards[0].metric: found 'speed'; expected 'click_rate', "),
        ((*HALVES, "--winsorise", "0.99"), "winsorise: is for metrics of money"),
    ],
)
def test_what_cannot_be_started_is_said_and_nothing_is_kept(changed: Told, options: tuple[str, ...], says: str) -> None:
    done = changed.asked("experiment", "start", "bolder", *PLANNED, *options)
    assert done.exit_code in (1, 2)
    assert says in done.stderr
    assert kept(changed) == []


def test_a_metric_that_the_home_has_no_events_for_is_told_and_the_experiment_starts(changed: Told) -> None:
    with duckdb.connect(str(changed.home / "published.duckdb")) as connection:
        connection.execute("DELETE FROM events.events WHERE event_type IN ('purchase', 'booking')")
    done = changed.asked("experiment", "start", "bolder", *PLANNED, *HALVES, "--guard", "purchase_rate=0.05")
    assert done.exit_code == 0, done.output
    assert "Warning: purchase_rate (people who bought anything, of all people): no event so far is of purchase or booking" in done.stderr
    assert "Warning: click_rate" not in done.stderr
    assert len(kept(changed)) == 1


def test_without_an_experiment_or_of_none_it_is_said(changed: Told) -> None:
    assert "there is no experiment yet; first: persona experiment start" in changed.asked("experiment", "status").stderr
    assert "no experiment 'x'; there are none yet" in changed.asked("experiment", "stop", "x").stderr
    (changed.home / "live").mkdir(exist_ok=True)
    (changed.home / "live" / "experiments.json").write_text("{")
    done = changed.asked("experiment", "status")
    assert (done.exit_code, "experiments.json: cannot be read" in done.stderr) == (1, True)


def test_a_plan_says_how_many_people_are_needed(told: Told) -> None:
    plan = json.loads(
        told.asked("experiment", "plan", "--metric", "purchase_rate", "--effect", "0.1", "--baseline", "0.05", "--json").stdout
    )
    assert (plan["people_needed"], plan["people_of_last_days"], plan["effect_found_with_them"]) == (62_462, 0, None)
    assert (plan["lists_waiting"], plan["events_waiting"], plan["counted_until"] is None) == (0, 0, False)
    few = told.asked("experiment", "plan", "--metric", "click_rate", "--effect", "0.1")
    assert "0 of 0 people who were shown lists have anything of click_rate: nothing can be planned from that" in few.stderr
    odd = told.asked("experiment", "plan", "--metric", "purchase_rate", "--effect", "0.1", "--baseline", "0.05", "--share", "0.5")
    assert "share: found 0.5; expected two or more that sum to 1" in odd.stderr


def test_a_result_is_told_to_people_and_to_programs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = experiment(guards=[{"metric": "purchase_rate", "margin": 0.1}])
    answer = _answer(
        chosen,
        judged(chosen, opened(np.random.default_rng(1), chosen, 4_000, clicks=0.5).exposed()),
        Waiting(dt.datetime(2025, 10, 14), 3, 9, 0, None),
    )
    monkeypatch.setenv("COLUMNS", "80")
    give(answer, "table")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("final: the 14 planned days are over")
    (row,) = [line.split() for line in lines if line.startswith("bold") and "% to" in line]
    assert row[-1] == "better"
    assert "inf" not in " ".join(lines).split()
    told = json.loads(as_json(answer))
    assert (told["status"], told["results"][0]["verdict"], told["guards"][0]["verdict"]) == ("final", "better", "kept")
    assert (told["counted_until"], told["lists_waiting"], told["events_waiting"]) == ("2025-10-14T00:00:00", 3, 9)
    assert "3 lists and 9 events wait in the journal, and count once persona run has read them." in " ".join(" ".join(lines).split())
    assert told["results"][0]["always_valid_low"] < told["results"][0]["relative_low"] < told["results"][0]["relative"]


@pytest.mark.slow
def test_from_served_lists_to_a_result(changed: Told) -> None:
    """Lists of the people of the second half of the logs, each shown a second before the person turned to its item."""
    assert changed.asked("experiment", "start", "bolder", *PLANNED, *HALVES).exit_code == 0
    (planned,) = kept(changed)
    ((first, last),) = changed.rows("SELECT min(timestamp), max(timestamp) FROM events.events")
    started = (first + (last - first) / 2).replace(microsecond=0)
    planned = planned.model_copy(update={"started": started, "days": 2})
    save(changed.home / "live" / "experiments.json", [planned])
    log = ListLog(changed.home / "live" / "lists", lambda: started.date())
    people = changed.rows(
        f"SELECT user_id, item_id, min(timestamp) FROM events.events WHERE user_id IS NOT NULL AND item_id IS NOT NULL "
        f"AND timestamp > TIMESTAMP '{started}' GROUP BY ALL ORDER BY ALL"
    )
    for number, (person, item, moment) in enumerate(people):
        variant = variant_of(planned, person).name
        of_list = {"person": person, "items": (item, "nothing"), "experiment": "bolder", "variant": variant}
        log.add(shown(0, list_id=f"l{number}", served_at=moment - dt.timedelta(seconds=1), **of_list))
    log.close()
    run = changed.asked("run", "--only", "serving")
    assert run.exit_code == 0, run.output
    told = json.loads(changed.asked("experiment", "status", "--json").stdout)
    assert told["experiment"] == "bolder"
    with duckdb.connect(str(changed.home / "published.duckdb"), read_only=True) as connection:
        until = planned.planned_end
        counted = connection.execute(
            "SELECT variant, count(DISTINCT person) FROM serving.served_lists WHERE served_at < ? AND person NOT IN "
            "(SELECT user_id FROM events.users WHERE NOT consent_personalisation) GROUP BY ALL",
            [until],
        ).fetchall()
    assert {row["variant"]: row["people"] for row in told["variants"]} == {"control": 0, "bold": 0} | dict(counted)
    assert told["status"] == "too early"
    assert told["said"][0].endswith("people; 100 are needed")
    text = changed.asked("experiment", "status", "bolder").stdout
    assert told["said"][0] in " ".join(text.split())
    plan = json.loads(changed.asked("experiment", "plan", "--metric", "click_rate", "--effect", "0.1", "--json").stdout)
    assert plan["people_of_last_days"] > 0
    assert 0 < plan["baseline"] <= 1
    ((clicked,),) = changed.rows("SELECT count(*) FROM serving.list_outcomes WHERE clicked")
    assert clicked > 0
    assert changed.rows("FROM serving.list_results") == []  # a handful of people: of so few nothing is told
