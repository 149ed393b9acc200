"""The journal: what was accepted is on the disk whole, what is damaged is told, and one process writes."""

import datetime as dt
import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.serving import journal as journals
from persona_pipelines.serving.journal import Journal, JournalError, JournalHeldError, event_of, events_of, files_of, line_of, name_of
from persona_pipelines_tests.conftest import law

DAY = dt.date(2025, 10, 1)
VALUES = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
EVENTS = st.dictionaries(st.text(max_size=8), VALUES, min_size=1, max_size=6)


def opened(folder: Path, **options) -> Journal:
    return Journal(folder, lambda: DAY, **options)


def kept(folder: Path) -> tuple[list[dict], list[str]]:
    breaks: list[str] = []
    return list(events_of(files_of(folder), lambda found: breaks.append(f"{found.file.name} {found.line}"))), breaks


@law(100)
@given(EVENTS)
def test_an_event_comes_back_as_it_was_and_its_line_is_json_for_anybody(event: dict) -> None:
    line = line_of(event)
    assert event_of(line) == event
    assert line.count(b"\n") == 1


@law(200)
@given(EVENTS, st.data())
def test_a_line_that_is_not_as_it_was_written_is_no_event(event: dict, data: st.DataObject) -> None:
    line = line_of(event)
    place = data.draw(st.integers(0, len(line) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[place]))
    damaged = line[:place] + bytes([other]) + line[place + 1 :]
    cut = line[: data.draw(st.integers(0, len(line) - 1))]
    assert event_of(damaged) is None
    assert event_of(cut) is None


def test_each_process_has_a_file_of_its_own_and_all_are_read_in_order(tmp_path: Path) -> None:
    for number in range(3):
        journal = opened(tmp_path)
        journal.append([line_of({"n": number}), line_of({"n": number + 10})])
        journal.append([line_of({"n": number + 20})])
        journal.close()
    assert kept(tmp_path) == ([{"n": n + add} for n in range(3) for add in (0, 10, 20)], [])
    assert [file.name for file in files_of(tmp_path)] == ["000000001.jsonl", "000000002.jsonl", "000000003.jsonl"]
    assert all(file.stat().st_mode & 0o077 == 0 for file in files_of(tmp_path))


def test_a_new_day_and_a_full_file_begin_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "LARGEST_FILE", 50)
    days = [DAY]
    journal = Journal(tmp_path, lambda: days[-1])
    for number, day in enumerate([DAY, DAY, DAY + dt.timedelta(days=1)]):
        days.append(day)
        journal.append([line_of({"number": number, "text": "x" * 40})])
    journal.close()
    assert [f"{file.parent.name}/{file.stem}" for file in files_of(tmp_path)] == [
        "2025-10-01/000000001",
        "2025-10-01/000000002",
        "2025-10-02/000000003",
    ]


def test_a_file_that_is_written_is_told_from_those_that_change_no_more(tmp_path: Path) -> None:
    now, today = 0.0, DAY
    journal = Journal(tmp_path, lambda: today, clock=lambda: now)
    journal.append([line_of({"n": 1})])
    assert [file.name for file in files_of(tmp_path)] == ["000000001.jsonl.part"]
    now = journals.OLDEST_FILE_SECONDS - 1
    journal.finish_old()
    assert [file.name for file in files_of(tmp_path)] == ["000000001.jsonl.part"]
    now = journals.OLDEST_FILE_SECONDS
    journal.finish_old()
    assert [file.name for file in files_of(tmp_path)] == ["000000001.jsonl"]
    journal.append([line_of({"n": 2})])
    today += dt.timedelta(days=1)
    journal.finish_old()
    assert [file.name for file in files_of(tmp_path)] == ["000000001.jsonl", "000000002.jsonl"]
    journal.close()
    # What a process that was killed has left is whole, and written no more.
    (tmp_path / "2025-10-01" / "000000002.jsonl").rename(tmp_path / "2025-10-01" / "000000002.jsonl.part")
    opened(tmp_path).close()
    assert [name_of(file) for file in files_of(tmp_path)] == ["2025-10-01/000000001.jsonl", "2025-10-01/000000002.jsonl"]
    assert kept(tmp_path) == ([{"n": 1}, {"n": 2}], [])


def test_two_processes_do_not_write_one_journal(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(JournalHeldError, match="another persona serve writes there"):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_what_cannot_be_kept_leaves_nothing_and_the_next_events_are_kept(tmp_path: Path) -> None:
    """A full disk at the moment of the sync: the lines of before stay, those at hand are taken back."""
    full = False

    def sync(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)

    journal = opened(tmp_path, sync=sync)
    journal.append([line_of({"n": 1})])
    full = True
    with pytest.raises(JournalError, match="No space left on device"):
        journal.append([line_of({"n": 2})])
    full = False
    journal.append([line_of({"n": 3})])
    journal.close()
    assert kept(tmp_path) == ([{"n": 1}, {"n": 3}], [])


@pytest.mark.parametrize("failing", range(1, 4))
def test_a_file_whose_name_may_be_lost_holds_nothing_that_was_acknowledged(tmp_path: Path, failing: int) -> None:
    """A folder that cannot be synced: what is kept next is in a file whose name is on the disk."""
    synced: list[str] = []

    def sync(file: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        if len(synced) == failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    journal = opened(tmp_path / "events", sync=sync)
    with pytest.raises(JournalError, match="Input/output error"):
        journal.append([line_of({"n": 1})])
    del synced[:-1]
    failing = 0
    journal.append([line_of({"n": 2})])
    assert {str(tmp_path), str(tmp_path / "events"), str(tmp_path / "events" / "2025-10-01")} <= set(synced[1:])
    journal.close()
    assert kept(tmp_path / "events") == ([{"n": 2}], [])


def test_damage_is_told_with_its_place_and_costs_its_line_alone(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.append([line_of({"n": number}) for number in range(5)])
    journal.close()
    (file,) = files_of(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"1", b"7", 1)
    lines[4] = lines[4][:-9]  # a process that was killed while it wrote
    file.write_bytes(b"".join(lines))
    assert kept(tmp_path) == ([{"n": 0}, {"n": 2}, {"n": 3}], ["000000001.jsonl 2", "000000001.jsonl 5"])


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be written"):
        opened(tmp_path / "file" / "events")


def test_a_clock_that_goes_back_changes_nothing_in_the_order_of_what_was_kept(tmp_path) -> None:
    days = [dt.date(2025, 10, 2), dt.date(2025, 10, 1), dt.date(2025, 10, 2), dt.date(2024, 1, 1), dt.date(2025, 10, 3)]
    today = days[0]
    journal = Journal(tmp_path, lambda: today)
    for number, day in enumerate(days):
        today = day
        journal.append([line_of({"event_id": f"e{number}"})])
    journal.close()
    kept = [event["event_id"] for event in events_of(files_of(tmp_path), lambda found: pytest.fail(str(found)))]
    assert kept == [f"e{number}" for number in range(len(days))]


def test_a_file_that_is_ended_between_being_found_and_being_read_is_read(tmp_path) -> None:
    full = False

    def sync(file: int) -> None:
        if full and stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(tmp_path, lambda: dt.date(2025, 10, 1), sync)
    journal.append([line_of({"event_id": "e1"})])
    found = files_of(tmp_path)
    journal.close()
    full = True
    journal = Journal(tmp_path, lambda: dt.date(2025, 10, 1), sync)
    with pytest.raises(JournalError):
        journal.append([line_of({"event_id": "e2"})])
    found += files_of(tmp_path)[1:]
    journal.close()  # nothing was kept in its file, which goes
    assert [file.exists() for file in found] == [False, False]
    assert [event["event_id"] for event in events_of(found, lambda found: pytest.fail(str(found)))] == ["e1"]
