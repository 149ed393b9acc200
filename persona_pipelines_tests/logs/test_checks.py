"""A bad record never stops a run, many do, and what is said of them leads to the first."""

from __future__ import annotations

import datetime as dt
import gzip

import pandas as pd
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.cli import main
from persona_pipelines.logs.checks import FEW_REJECTS, TOGETHER, Rejects, rejects
from persona_pipelines.logs.files import LogFileError
from persona_pipelines.logs.loading import load_events, load_listing
from persona_pipelines.logs.profile import profile_source
from persona_pipelines.warehouse import contracts
from persona_pipelines_tests.conftest import CLICKS, DAY, law, write

LOG = {
    "name": "log",
    "path": "log-*.csv",
    "format": "csv",
    "same": "never",
    "fields": {"timestamp": "at", "user_id": "u", "event_type": {"value": "purchase"}, "value": "n"},
}
LAST = DAY + dt.timedelta(days=5)


def judged(warehouse, configure, folder, *files: list[str], limit: float = 0.05, **more) -> Rejects:
    for number, lines in enumerate(files):
        write(folder, f"log-{number}.csv", "at,u,n", *lines)
    settings = configure({**LOG, **more})
    loaded = load_events(warehouse, settings.sources[0], settings, DAY, LAST)
    records = {reading.file.shown: reading.records for reading in loaded.readings}
    return rejects(warehouse, warehouse.table(contracts.raw_events("log")), settings.sources[0], limit, records)


def lines(day: int, good: int, bad: int) -> list[str]:
    at = DAY + dt.timedelta(days=day)
    return [f"{at},u{number},1" for number in range(good)] + [f"{at},u{number},x" for number in range(bad)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("good", "bad", "passed"),
    [
        (5, 1, True),
        (1, 1, True),
        (0, 1, True),
        (1, 2, True),
        (0, 2, True),
        (0, 3, False),
        (2, 3, False),
        (100, 5, True),
        (50, 3, False),
        (0, 9, False),
    ],
)
def test_two_bad_records_among_good_ones_fail_nothing_and_a_share_does(warehouse, configure, tmp_path, good, bad, passed) -> None:
    found = judged(warehouse, configure, tmp_path, lines(0, good, bad), lines(1, 900, 0))
    assert found.over.empty == passed
    assert (found.described is None) == passed
    if not passed:
        assert found.described is not None
        assert found.described.startswith(f"{DAY}: {bad} of {good + bad} records rejected, max_reject_share is 0.05; ")
        assert f"'value: not a number', first in log-0.csv, line {good + 2}" in found.described


@pytest.mark.slow
def test_a_record_without_a_usable_time_is_judged_with_its_file_and_not_with_its_first_day(warehouse, configure, tmp_path) -> None:
    """The first day is one event by a clock that was wrong itself, and the wrong time beside it belongs to no day."""
    late = ["2099-01-01,u,1"] * 4 + ["not a time,u,1"]
    found = judged(warehouse, configure, tmp_path, [*lines(0, 1, 0), *late, *lines(3, 200, 0)])
    assert found.over.empty
    assert found.windows.set_index("window").loc["log-0.csv", ["records", "rejects"]].tolist() == [206, 5]
    worse = judged(warehouse, configure, tmp_path, [*lines(0, 1, 0), *late * 3, *lines(3, 200, 0)])
    assert worse.described is not None
    assert worse.described.startswith("log-0.csv: 15 of 216 records rejected, max_reject_share is 0.05; ")
    assert "'timestamp: in the future', first in log-0.csv, line 3" in worse.described


def test_a_file_of_which_a_day_is_loaded_is_judged_as_a_whole(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "log-0.csv", "at,u,n", *lines(0, 10, 0), *["no time,u,1"] * 3, *lines(3, 200, 0))
    settings = configure(LOG)
    loaded = load_events(warehouse, settings.sources[0], settings, DAY, DAY)
    records = {reading.file.shown: reading.records for reading in loaded.readings}
    found = rejects(warehouse, warehouse.table(contracts.raw_events("log")), settings.sources[0], 0.05, records)
    assert found.windows.set_index("window").loc["log-0.csv", ["records", "rejects"]].tolist() == [213, 3]


def test_a_little_on_every_thin_day_is_much_of_all(warehouse, configure, tmp_path) -> None:
    found = judged(warehouse, configure, tmp_path, [line for day in range(5) for line in lines(day, 2, 1)])
    assert found.over["window"].tolist() == [TOGETHER]
    assert found.described is not None
    assert found.described.startswith(f"{TOGETHER}: 5 of 15 records rejected")


@pytest.mark.parametrize(("bad", "passed"), [(1, True), (2, False)])
def test_where_nothing_is_left_of_several_records_few_are_too_many(warehouse, configure, tmp_path, bad: int, passed: bool) -> None:
    assert judged(warehouse, configure, tmp_path, lines(0, 0, bad)).over.empty == passed


def test_a_list_is_judged_file_by_file(warehouse, configure, tmp_path) -> None:
    write(tmp_path, "a.csv", "u,day", *(f"u{number},2025-01-01" for number in range(50)))
    write(tmp_path, "b.csv", "u,day", *(f"v{number},never" for number in range(3)), "v9,2025-01-01")
    people = {"name": "people", "kind": "users", "path": "*.csv", "format": "csv", "fields": {"user_id": "u", "signup_date": "day"}}
    settings = configure(people)
    load_listing(warehouse, settings.sources[0], settings)
    found = rejects(warehouse, warehouse.table(contracts.raw_listing("people", "users")), settings.sources[0], 0.05)
    assert found.over["window"].tolist() == ["b.csv", TOGETHER][: len(found.over)]
    assert found.described is not None
    assert found.described.startswith("b.csv: 3 of 4 records rejected")
    assert "first in b.csv, line 2" in found.described


DATED = {**LOG, "path": "log-{date}.csv"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "files"),
    [
        (LOG, {"log-0.csv": [*lines(0, 20, 0), *lines(1, 2, 3)]}),
        (LOG, {"log-0.csv": [*lines(0, 20, 0), *["never,u,1"] * 3]}),
        (LOG, {"log-0.csv": lines(0, 1, 2)}),
        (LOG, {"log-0.csv": lines(0, 0, 2)}),
        (DATED, {f"log-{DAY}.csv": lines(3, 9, 0)}),
    ],
    ids=["a day", "without a time", "two bad ones", "nothing left", "after the day of its file"],
)
def test_what_a_run_would_refuse_is_said_beforehand_in_the_same_words(warehouse, configure, tmp_path, source, files) -> None:
    for name, content in files.items():
        write(tmp_path, name, "at,u,n", *content)
    settings = configure(source)
    beforehand = profile_source(settings.sources[0], settings, 1)
    load_events(warehouse, settings.sources[0], settings, DAY, LAST)
    run = rejects(warehouse, warehouse.table(contracts.raw_events("log")), settings.sources[0], 0.05)
    assert beforehand.refused == run.described


def test_two_bad_records_are_not_all_there_is_where_other_files_are(configure, tmp_path) -> None:
    write(tmp_path, "log-0.csv", "at,u,n", *lines(0, 0, 2))
    write(tmp_path, "log-1.csv", "at,u,n", *lines(0, 50, 0))
    settings = configure(LOG)
    assert profile_source(settings.sources[0], settings, 1).refused is None


@pytest.mark.parametrize(("bad", "code"), [(2, 0), (3, 1)])
def test_the_exit_code_of_a_look_at_logs_tells_whether_a_run_would_take_them(configure, tmp_path, bad: int, code: int) -> None:
    write(tmp_path, "log-0.csv", "at,u,n", *lines(0, 4, bad))
    configure(LOG)
    done = CliRunner().invoke(main, ["sources", "check", str(tmp_path / "persona.yaml")])
    assert done.exit_code == code
    told = f"a run would refuse these logs: log: {DAY}: 3 of 7 records rejected, max_reject_share is 0.05; the usual reason is 'value: not a number'"
    assert (told in done.output) == bool(code)


@pytest.mark.slow
@pytest.mark.parametrize(("used", "code"), [(False, 1), (True, 0)])
def test_a_file_that_is_cut_off_is_refused_beforehand_as_by_a_run(warehouse, configure, tmp_path, used: bool, code: int) -> None:
    whole = gzip.compress("\n".join(["at,u,n", *lines(0, 400, 0)]).encode())
    (tmp_path / "log-0.csv").write_bytes(whole[: len(whole) - 12])
    settings = configure(LOG, logs={"use_truncated": used})
    done = CliRunner().invoke(main, ["sources", "check", str(tmp_path / "persona.yaml")])
    assert done.exit_code == code
    assert ("truncated: the compressed file ends at byte" in done.output) or not code
    if code:
        with pytest.raises(LogFileError) as refused:
            load_events(warehouse, settings.sources[0], settings, DAY, LAST)
        assert profile_source(settings.sources[0], settings, 1).refused == str(refused.value)


def test_a_log_without_any_event_is_refused_however_few_records_it_has(configure, tmp_path) -> None:
    write(tmp_path, "log-0.csv", "at,u,n", "never,u,1")
    configure(LOG)
    done = CliRunner().invoke(main, ["sources", "check", str(tmp_path / "persona.yaml")])
    assert done.exit_code == 1
    assert "a run would find no events: every record would be rejected or filtered" in done.output
    write(tmp_path, "log-1.csv", "at,u,n", *lines(0, 1, 0))  # which is not looked into
    assert CliRunner().invoke(main, ["sources", "check", str(tmp_path / "persona.yaml")]).exit_code == 0


@pytest.mark.slow
@law(40)
@given(
    days=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), min_size=1, max_size=5),
    without_time=st.integers(0, 6),
    limit=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_what_is_counted_is_what_was_written(warehouse, configure, tmp_path, days, without_time: int, limit: float) -> None:
    written = [line for number, (good, bad) in enumerate(days) for line in lines(number, good, bad)] + ["no time,u,1"] * without_time
    if not any(good + bad for good, bad in days):
        return
    found = judged(warehouse, configure, tmp_path, written, limit=limit)
    expected = [(f"{DAY + dt.timedelta(days=number)}", good + bad, bad) for number, (good, bad) in enumerate(days) if good + bad]
    expected += [("log-0.csv", len(written), without_time)] if without_time else []
    if len(expected) > 1:
        expected.append((TOGETHER, len(written), without_time + sum(bad for _, bad in days)))
    assert sorted(found.windows[["window", "records", "rejects"]].itertuples(index=False, name=None)) == sorted(expected)
    wrong = [
        (name, of, bad)
        for name, of, bad in expected
        if bad > limit * of and (bad > FEW_REJECTS or (name == expected[-1][0] and bad == of >= 2))
    ]
    assert sorted(pd.Series(found.over["window"])) == sorted(name for name, _, _ in wrong)
    assert (found.described is None) == (not wrong)


def test_a_mapping_of_whose_words_no_cell_has_one_is_looked_at_like_any_other(configure, tmp_path) -> None:
    """What its columns can never be is folded away by the engine, which then could not bind what is left."""
    rows = (
        f"c{number},{number % 28 + 1:02d}.03.2020,DE,{'ja' if number % 2 else 'nein'},{'ja' if number % 3 else 'nein'},{1950 + number}\n"
        for number in range(50)
    )
    (tmp_path / "people.csv").write_text("id,since,land,mail,own,born\n" + "".join(rows))
    words = {"Ja": "yes", "Nein": "no"}
    people = {
        "name": "people",
        "kind": "users",
        "path": "people.csv",
        "format": "csv",
        "fields": {
            "user_id": "id",
            "signup_date": {"from": "since", "format": "%d.%m.%Y"},
            "country": "land",
            "consent_marketing": {"from": "mail", "map": words},
            "consent_personalisation": {"from": "own", "map": dict(words)},
        },
        "attributes": {"born": {"from": "born", "type": "number"}},
    }
    settings = configure(CLICKS, people)
    found = profile_source(settings.sources[1], settings, 3)
    assert list(found.rows["problem"]) == ["consent_marketing: neither true nor false"] * 3


def test_a_malformed_line_is_told_once_and_is_nothing_of_its_fields(configure, tmp_path) -> None:
    lines = [f"2025-09-01T10:{number:02d}:00Z,u{number},i{number},{number}" for number in range(30)]
    odd = ["2025-09-01T11:00:00Z,a,u1,i9,many", "2025-09-01T11:01:00Z,b,u2,i9,more"]
    write(tmp_path, "own.csv", "at,user,item,n", *lines, *odd)
    fields = {
        "timestamp": "at",
        "user_id": "user",
        "item_id": "item",
        "event_type": {"cases": [{"when": {"field": "n", "below": 0}, "value": "refund"}], "default": "purchase"},
    }
    settings = configure({"name": "own", "path": "own.csv", "format": "csv", "fields": fields})
    found = profile_source(settings.sources[0], settings, 3)
    assert not any("are no numbers" in hint for hint in found.hints)
    assert found.fields.set_index("field").at["n", "maximum"] == "29"
