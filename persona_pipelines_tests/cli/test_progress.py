"""How far a run is: lines in a log, a bar that moves on a terminal, also during one long step."""

from __future__ import annotations

import itertools
import os
import pty
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_pipelines.cli import progress as shown
from persona_pipelines.cli.progress import Bar, Lines, Progress, progress
from persona_pipelines.orchestration.runs import Happening
from persona_pipelines_tests.cli.conftest import Told

RUN = [
    Happening("begun", "", 2),
    Happening("started", "events_by_day", 2),
    Happening("written", "events.events", 2, 67_466),
    Happening("written", "events.rejects", 2, 728),
    Happening("ended", "events_by_day", 2),
    Happening("started", "gallery__persona_gallery", 2),
    Happening("written", "gallery.persona_gallery", 2),
    Happening("failed", "gallery__persona_gallery", 2),
]


def test_lines_say_step_time_tables_and_rows(capfd: pytest.CaptureFixture[str]) -> None:
    with progress("plain") as lines:
        for happening in RUN:
            lines.heard(happening)
    one, other = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d 1/2 events by day, 0\.0 s: events\.events 67,466 rows, events\.rejects 728 rows", one)
    assert re.fullmatch(r"\d\d:\d\d:\d\d 2/2 persona gallery failed, 0\.0 s: gallery\.persona_gallery", other)


def test_where_the_words_go_into_a_file_lines_are_the_default_and_none_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    with progress(None) as chosen:
        assert isinstance(chosen, Lines)
    with progress("none") as silent:
        assert type(silent) is Progress
        for happening in RUN:
            silent.heard(happening)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_lines_say_of_a_long_step_that_it_is_still_at_work(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "BEAT_SECONDS", 0.3)
    with progress("plain") as lines:
        lines.heard(Happening("begun", "", 2))
        lines.heard(Happening("started", "model_comparison", 2))
        time.sleep(1.2)
    said = capfd.readouterr().err.splitlines()
    assert 2 <= len(said) <= 4
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d 0/2 model comparison: at work for 0:0[01]", line) for line in said)
    with progress("plain"):  # while it is looked at which days the logs have
        time.sleep(0.5)
    assert re.fullmatch(r"\d\d:\d\d:\d\d starting: at work for 0:00\n", capfd.readouterr().err)


class Screen:
    """A pseudo-terminal of 80 columns that keeps what comes and when."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.found: list[tuple[float, bytes]] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        try:
            while block := os.read(self.ours, 1 << 16):
                self.found.append((time.monotonic(), block))
        except OSError:  # the other end is closed
            pass

    def lines(self) -> list[str]:
        text = b"".join(block for _, block in self.found).decode()
        return [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)) if line.strip()]

    def longest_pause(self, until: float) -> float:
        moments = [*(moment for moment, _ in self.found), until]
        return max(after - before for before, after in itertools.pairwise(moments))


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Screen, Any]]:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    found = Screen()
    stream = os.fdopen(found.theirs, "w", buffering=1)
    monkeypatch.setattr(shown, "terminal", lambda: stream)
    yield found, stream
    stream.close()
    found.reader.join(5)
    os.close(found.ours)


@pytest.mark.slow
def test_the_bar_moves_while_one_step_goes_on_and_fits_80_columns(screen: tuple[Screen, Any]) -> None:
    seen, stream = screen
    with progress(None) as bar:
        assert isinstance(bar, Bar)
        for happening in RUN[:5]:
            bar.heard(happening)
        bar.heard(Happening("started", "a_step_with_a_name_that_is_as_long_as_no_step_has_it", 2))
        time.sleep(2.6)
        ended = time.monotonic()
    stream.close()
    seen.reader.join(5)
    lines = seen.lines()
    assert max(map(len, lines)) <= 80
    assert seen.longest_pause(ended) < 1
    clocks = [line for line in lines if "1/2 a step with a name" in line]
    assert {"0:00", "0:01", "0:02"} <= {found for line in clocks for found in re.findall(r"\d:\d\d", line)}
    assert "starting" in lines[0]
    # What a step has written stays above the bar.
    assert "1/2 events by day, 0.0 s: events.events 67,466 rows, events.rejects 728 rows" in " ".join(line.strip() for line in lines)


@pytest.mark.slow
def test_a_terminal_that_has_gone_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        """A stream whose other end is closed."""

        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            raise BrokenPipeError

        def flush(self) -> None: ...

    monkeypatch.setattr(shown, "terminal", Gone)
    with progress("bar") as bar:
        for happening in RUN:
            bar.heard(happening)
    assert bar.done == 2


@pytest.mark.slow
def test_a_run_says_its_steps_while_it_goes_on_and_its_result_on_the_output_alone(changed: Told) -> None:
    done = changed.asked("run", "--until", "events", "--progress", "plain")
    assert done.exit_code == 0, done.output
    steps = [line for line in done.stderr.splitlines() if re.match(r"\d\d:\d\d:\d\d", line)]
    assert re.search(r" 1/\d+ ", steps[0])
    assert re.search(r"published copy, \d+\.\d s", steps[-1])
    rows = changed.rows("SELECT count(*) FROM events.events")[0][0]
    assert any(f"events.events {rows:,} rows" in line for line in steps)
    assert "published copy" not in done.stdout
    quiet = changed.asked("run", "--only", "features", "--progress", "none", "--json")
    assert quiet.exit_code == 0, quiet.output
    assert not re.search(r"\d/\d", quiet.stderr)
    assert quiet.stdout.startswith("{")


@pytest.mark.slow
def test_make_run_hands_progress_on() -> None:
    folder = Path(__file__).parents[2]
    for word, expected in (("", ""), ("PROGRESS=plain", "--progress plain")):
        told = subprocess.run(["make", "-n", "-C", str(folder), "run", *word.split()], capture_output=True, text=True, check=True).stdout
        assert f"persona run --config data/persona.yaml {expected}".strip() in told
