"""What is said of one person, and audiences from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from persona_pipelines.cli.people import _with_unit
from persona_pipelines_tests.cli.conftest import Told

pytestmark = pytest.mark.slow


def test_a_profile_has_units_and_the_evidence_is_asked_for_by_why(told: Told) -> None:
    who = told.person()
    lines = dict(line.split(maxsplit=1) for line in told.asked("profile", who).stdout.splitlines())
    assert lines["recency_days"].endswith(" days")
    assert lines["evening_share"].endswith("%")
    assert lines["consent_marketing"] in ("yes", "no")
    ((document,),) = told.rows(f"SELECT document FROM profiles.profile_documents WHERE user_id = '{lines['user_id']}'")
    assert json.loads(told.asked("profile", who, "--why", "--json").stdout) == json.loads(document)
    found = json.loads(told.asked("profile", who, "--json").stdout)
    assert found["units"]["recency_days"] == "days"
    assert isinstance(found["recency_days"], int)
    why = told.asked("profile", who, "--why").stdout
    content = json.loads(document)
    statements = [entry for part in content.values() if isinstance(part, list) for entry in part]
    assert statements
    assert all(entry["statement"] in why and entry["evidence"]["feature"] in why for entry in statements)
    assert "true" not in why.lower()
    assert f"frequency     {content['life_cycle']['evidence']['frequency']} days" in why


def test_amounts_are_in_the_currency_that_they_are_converted_into(changed: Told) -> None:
    who = changed.person()
    assert "(the logs' currency)" in changed.asked("profile", who).stdout
    with (changed.folder / "persona.yaml").open("a") as file:
        file.write("currencies: {base: EUR, rates: rates.csv}\n")
    assert json.loads(changed.asked("profile", who, "--json").stdout)["units"]["monetary_value"] == "EUR"


def test_somebody_unknown_is_said_to_be_before_the_answer(told: Told) -> None:
    done = told.asked("recommend", "u00003x", "-k", "2", "--json")
    assert done.exit_code == 0, done.output
    assert done.stderr == "'u00003x' is unknown: nobody in the logs of shop has this id; the answer is that for a new user\n"
    assert not json.loads(done.stdout)["known"]
    known = told.asked("recommend", told.person(), "-k", "2", "--json")
    assert known.stderr == ""
    assert json.loads(known.stdout)["known"]
    nobody = told.asked("profile", "u00003x")
    assert nobody.exit_code == 1
    assert "'u00003x' is unknown: nobody in the logs of shop has this id" in nobody.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--with-audiences", "--interactive"), "expected one: the page of groups has no cards"),
        (("--columns", "country"), "expected them with --with-audiences"),
        (("--with-audiences", "--id-column", "customer"), "expected the list that has the column"),
    ],
)
def test_options_of_a_report_that_do_not_go_together_are_said(told: Told, options: tuple[str, ...], message: str) -> None:
    done = told.asked("report", *options)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


def test_audiences_are_shown_compared_and_deleted(changed: Told) -> None:
    segments = dict(changed.rows("SELECT 'segment-' || segment_id, users FROM segments.segment_profiles WHERE segment_id > 0"))
    own = json.loads(changed.asked("audience", "list", "--json").stdout)
    assert {row["audience"]: row["users"] for row in own} == segments
    conditions = {"all": "sessions >= 0", "frequent": "sessions > 2", "nobody": "sessions < 0"}
    for name, condition in conditions.items():
        assert changed.asked("audience", "save", name, "--where", condition).exit_code == 0
    users, frequent = changed.rows("SELECT count(*), count(*) FILTER (sessions > 2) FROM profiles.user_profiles")[0]
    assert 0 < frequent < users
    found = json.loads(changed.asked("audience", "show", "frequent", "--json").stdout)
    assert (found["condition"], found["users"]) == ("sessions > 2", frequent)
    by_segment = "SELECT segment_name, count(*) FROM profiles.user_profiles WHERE sessions > 2 GROUP BY ALL ORDER BY 2 DESC, 1"
    assert [(row["segment"], row["users"]) for row in found["segments"]] == changed.rows(by_segment)
    pairs = json.loads(changed.asked("audience", "overlap", "all", "frequent", "nobody", "--json").stdout)
    assert pairs[0] == {
        "audience": "all",
        "other": "frequent",
        "in_both": frequent,
        "share_of_audience": frequent / users,
        "share_of_other": 1.0,
        "jaccard": frequent / users,
    }
    assert (pairs[1]["in_both"], pairs[1]["share_of_other"]) == (0, None)
    assert changed.asked("audience", "overlap", "all", "all").exit_code == 2
    deleted = changed.asked("audience", "delete", "frequent")
    assert "its condition was: sessions > 2" in deleted.stdout
    assert [row["audience"] for row in json.loads(changed.asked("audience", "list", "--json").stdout)] == [
        "all",
        "nobody",
        *sorted(segments),
    ]
    for command in ("show", "delete"):
        done = changed.asked("audience", command, "al")
        assert done.exit_code == 1
        assert done.stderr.startswith("Error: no audience 'al' (did you mean 'all'?); there are all, nobody")


def test_where_consent_is_assumed_no_audience_is_said_to_have_given_it(changed: Told, tmp_path: Path) -> None:
    commands = [
        ("audience", "save", "all", "--where", "sessions >= 0"),
        ("audience", "list"),
        ("audience", "show", "all"),
        ("audience", "export", "all", str(tmp_path / "file.csv")),
    ]
    for command in commands:
        assert "assumed" not in changed.asked(*command).stderr
    with (changed.folder / "persona.yaml").open("a") as file:
        file.write("privacy: {consent_when_unknown: true}\n")
    for command in commands:
        done = changed.asked(*command)
        assert done.exit_code == 0, done.output
        assert "consent is assumed of everybody of whom no customer list says it" in done.stderr


def test_a_saved_condition_that_can_be_read_no_longer_is_said_for_itself(changed: Told, tmp_path: Path) -> None:
    saved = {"broken": "attributes.gone > 3", "fine": "sessions >= 0", "old": "segment = 'Gone'", "odd": "((", "other": "x" * 30_000}
    (changed.home / "audiences.json").write_text(json.dumps(saved))
    done = changed.asked("audience", "list", "--json")
    assert done.exit_code == 0, done.output
    rows = {row["audience"]: row for row in json.loads(done.stdout)}
    assert {name for name in rows if not name.startswith("segment-")} == saved.keys()
    assert rows["fine"]["users"] == changed.rows("SELECT count(*) FROM profiles.user_profiles")[0][0]
    assert rows["fine"]["problem"] is None
    assert rows["broken"]["users"] is None
    assert "found 'attributes.gone'" in rows["broken"]["problem"]
    assert "no such segment: found 'Gone'" in rows["old"]["problem"]
    assert "can be read no longer" in changed.asked("audience", "list").stdout
    verified = json.loads(changed.asked("verify", "--json").stdout)
    unread = {row["file"]: row["next"] for row in verified if row["file"].startswith("audience ")}
    assert unread.keys() == {"audience broken", "audience old", "audience odd", "audience other"}
    assert unread["audience old"] == "persona audience delete old, or save it anew"
    exported = changed.asked("audience", "export", "broken", str(tmp_path / "file.csv"))
    assert exported.exit_code == 1
    assert "the condition of audience 'broken' can be read no longer: at character 1: found 'attributes.gone'" in exported.stderr
    assert not (tmp_path / "file.csv").exists()
    assert changed.asked("audience", "export", "fine", str(tmp_path / "file.csv")).exit_code == 0


def test_a_segment_that_there_is_not_is_said_with_the_one_that_may_be_meant(told: Told) -> None:
    (name,) = told.rows("SELECT segment_name FROM segments.segment_profiles ORDER BY users DESC LIMIT 1")[0]
    done = told.asked("audience", "save", "x", "--where", f"segment = '{name[:-1]}'")
    assert done.exit_code == 1
    assert f"no such segment: found {name[:-1]!r} (did you mean {name!r}?)" in done.stderr
    assert told.asked("audience", "save", "x", "--where", f"segment in ('{name}')").exit_code == 0


@pytest.mark.slow
def test_a_name_that_a_segment_has_is_no_name_for_another_and_who_asks_for_the_old_one_is_told(changed: Told) -> None:
    (one, first), (other, second) = changed.rows(
        "SELECT segment_id, segment_name FROM segments.segment_profiles WHERE segment_id > 0 ORDER BY 1"
    )[:2]
    taken = changed.asked("segment", "rename", str(other), first)
    assert taken.exit_code == 1
    assert f"segment {one} is called {first!r} already" in taken.stderr
    assert changed.asked("segment", "rename", str(one), first).exit_code == 0
    assert changed.asked("audience", "save", "mine", "--where", f"segment = '{second}'").exit_code == 0
    told = changed.asked("segment", "rename", str(other), "Fans")
    assert told.exit_code == 0
    assert f"the audience mine asks for {second!r}" in told.stderr


@pytest.mark.slow
def test_nothing_of_ones_own_is_replaced_without_a_word(changed: Told) -> None:
    assert changed.asked("audience", "save", "mine", "--where", "sessions > 1").stderr == ""
    assert changed.asked("audience", "save", "mine", "--where", "sessions > 1").stderr == ""
    assert "in the place of the one of before: sessions > 1" in changed.asked("audience", "save", "mine", "--where", "sessions > 2").stderr
    own = changed.folder / "raw" / "customers.csv"
    before = own.read_bytes()
    for command in (
        ("audience", "export", "mine", str(own), "--with-own-ids", "raw/customers.csv"),
        ("pseudonyms", "raw/../raw/customers.csv", "--output", str(own)),
        ("audience", "lookalike", "raw/customers.csv", "--output", str(own)),
    ):
        done = changed.asked(*command)
        assert (done.exit_code, "is the list that is read; expected another file to write" in done.stderr) == (1, True), done.output
        assert own.read_bytes() == before


@pytest.mark.slow
def test_a_list_that_names_people_twice_is_said_to(changed: Told) -> None:
    assert changed.asked("audience", "save", "all", "--where", "sessions >= 0").exit_code == 0
    header, *lines = (changed.folder / "raw" / "customers.csv").read_text().splitlines(keepends=True)
    for times, told in ((1, False), (2, True)):
        (changed.folder / "own.csv").write_text("".join([header, *lines * times]))
        done = changed.asked("audience", "export", "all", "mail.csv", "--with-own-ids", "own.csv", "--columns", "email")
        assert done.exit_code == 0, done.output
        assert ("own.csv names people more than once" in done.stderr) == told
    rows = len((changed.folder / "mail.csv").read_text().splitlines()) - 1
    assert f"the {rows:,} rows are of {rows // 2:,} people" in done.stderr


@pytest.mark.parametrize(
    ("value", "unit", "told"),
    [
        (1, "days", "1 day"),
        (1.0, "searches", "1 search"),
        (2, "days", "2 days"),
        (1, "ms", "1 ms"),
        (0, "purchases", "0 purchases"),
        (1.5, "bits", "1.5 bits"),
        (679.2596, "EUR", "679.26 EUR"),
        (6605.0, "EUR", "6,605.00 EUR"),
    ],
)
def test_one_is_no_plural(value: float, unit: str, told: str) -> None:
    assert _with_unit(value, unit) == told


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ("weekend_share > 60", "select min(weekend_share), median(weekend_share), max(weekend_share) from user_profiles"),
        ("weekend_share > 60", "(a share is from 0 to 1)"),
        ("lifecycle_stage = 'lost' and country = 'XX'", "select lifecycle_stage, count(*) from user_profiles group by 1"),
        ("not searches >= 0 and searches < -1", "max(searches) from user_features"),
    ],
)
def test_where_nobody_meets_a_condition_the_values_that_it_asks_for_are_shown(changed: Told, pasted, condition: str, told: str) -> None:
    done = changed.asked("audience", "save", "none", "--where", condition)
    assert done.exit_code == 0, done.output
    assert told in pasted(done.stderr)
    query = re.search(r'persona sql "(.*?)"', pasted(done.stderr))
    assert query is not None
    assert changed.asked("sql", query[1]).exit_code == 0


def test_blanks_around_an_id_are_none_of_it(told: Told) -> None:
    who = told.person()
    assert told.asked("profile", f" {who} ").stdout == told.asked("profile", who).stdout


def test_which_segment_a_number_is_now_is_said(changed: Told, tmp_path: Path, pasted) -> None:
    ((name,),) = changed.rows("SELECT segment_name FROM segments.segment_profiles WHERE segment_id = 1")
    (changed.home / "audiences.json").write_text(json.dumps({"first": "segment_id in (1, 99) and sessions >= 0", "other": "sessions >= 0"}))
    for command in (("show",), ("export",)):
        done = changed.asked("audience", *command, "first", *([str(tmp_path / "first.csv")] if command == ("export",) else []))
        assert done.exit_code == 0, done.output
        assert f"segment 1 is now {name!r}: numbers may go to other people" in pasted(done.stderr)
        assert "there is no segment 99 any more" in pasted(done.stderr)
    assert "is now" not in changed.asked("audience", "show", "other").stderr
    assert "is now" not in changed.asked("audience", "show", "segment-1").stderr
