"""How far a run is, while it is at work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal, TextIO

import click

from persona_pipelines.cli.printing import coloured, terminal, warn
from persona_pipelines.errors import plain

if TYPE_CHECKING:
    from persona_pipelines.orchestration.runs import Happening

Mode = Literal["plain", "bar", "none"]
MODES: tuple[Mode, ...] = ("plain", "bar", "none")
BEAT_SECONDS = 30.0
"""How often plain lines say of a long step that it is still at work."""
REDRAWN_A_SECOND = 4
STARTING = "starting"
"""What is at work before the first step."""
LONGEST_NAME = 28
"""Of what is at work, in the line of the bar: with bar, count and clocks it fits 80 columns."""


class Progress:
    """What is known of a run from what has come about, and nothing shown of it.

    Attributes:
        at_work: the steps that have started and not ended, each with the moment it did.
        written: the tables of each step at work, with their rows.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.steps, self.done = 0, 0
        self.at_work: dict[str, float] = {STARTING: self.began}
        self.written: dict[str, int | None] = {}

    def heard(self, happening: Happening) -> None:
        """Take in what has come about; to be called from the thread of the run."""
        self.steps = happening.steps
        match happening.kind:
            case "started":
                self.at_work.pop(STARTING, None)
                self.at_work[happening.name] = time.monotonic()
            case "written":
                self.written[happening.name] = happening.rows
            case "ended" | "failed":
                self.done += 1
                seconds = time.monotonic() - self.at_work.pop(happening.name, time.monotonic())
                written, self.written = self.written, {}
                with suppress(OSError):  # nobody looks any more, which ends no run
                    self.ended(happening.name, seconds, written, happening.kind == "failed")
        with suppress(OSError):
            self.changed()

    def tell(self, text: str) -> None:
        """Say what is not of a step."""
        warn(text)

    def changed(self) -> None:
        """Something has come about."""

    def ended(self, step: str, seconds: float, written: dict[str, int | None], failed: bool) -> None:
        """A step has ended, with the tables that it has written."""


class Lines(Progress):
    """A line for each step that has ended, and every half minute one for what is still at work."""

    def ended(self, step: str, seconds: float, written: dict[str, int | None], failed: bool) -> None:
        self.tell(f"{_now()} {_told(self, step, seconds, written, failed)}")

    def beat(self) -> None:
        now = time.monotonic()
        for step, since in list(self.at_work.items()):
            if now - since >= BEAT_SECONDS:
                self.tell(" ".join(filter(None, (_now(), _count(self), f"{_spoken(step)}: at work for {_clock(now - since)}"))))


class Bar(Progress):
    """A line that is drawn again four times a second, with the clocks of run and step; above it stays a line for each step that has ended."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        from rich.console import Console
        from rich.progress import BarColumn, SpinnerColumn, TextColumn
        from rich.progress import Progress as Drawn

        class Kept(Console):
            """rich would end the process where nobody looks any more."""

            def on_broken_pipe(self) -> None:
                raise BrokenPipeError

        self.console = Kept(file=stream, color_system="auto" if coloured() else None, highlight=False, markup=False)
        self.drawn = Drawn(
            SpinnerColumn(),
            TextColumn("{task.fields[told]}", markup=False),
            BarColumn(None),
            TextColumn("{task.fields[clock]}", markup=False),
            console=self.console,
            transient=True,
            expand=True,
            auto_refresh=False,
            # Dagster sends what a step prints into files: rich is not to stand in between.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.task = self.drawn.add_task("", total=None, told=STARTING, clock="0:00")

    def tell(self, text: str) -> None:
        self.console.print(plain(text, lines=True))

    def changed(self) -> None:
        self.redraw()

    def beat(self) -> None:
        self.redraw()

    def redraw(self) -> None:
        now = time.monotonic()
        step, since = next(iter(list(self.at_work.items())), ("", now))
        told = f"{_count(self)} {_spoken(step)[:LONGEST_NAME]} {_clock(now - since)}".strip()
        self.drawn.update(self.task, completed=self.done, total=self.steps or None, told=told, clock=_clock(now - self.began), refresh=True)

    def ended(self, step: str, seconds: float, written: dict[str, int | None], failed: bool) -> None:
        self.tell(_told(self, step, seconds, written, failed))


def progress_option(command: click.Command) -> click.Command:
    """``--progress plain|bar|none``; the command gets ``mode``, None for what fits where the words go."""
    return click.option(
        "--progress",
        "mode",
        type=click.Choice(MODES),
        default=None,
        help="How far the run is: a bar that moves, a line a step for logs, or nothing. Default: the bar on a terminal, else lines.",
    )(command)


@contextmanager
def progress(mode: Mode | None) -> Iterator[Progress]:
    """What to tell a run's progress to, for as long as the block lasts."""
    stream = terminal()
    chosen = mode or ("bar" if stream is not None and stream.isatty() else "plain")
    if chosen == "none" or stream is None:
        yield Progress()
    elif chosen == "plain":
        lines = Lines()
        with _beating(lines.beat, BEAT_SECONDS):
            yield lines
    else:
        bar = Bar(stream)
        with suppress(OSError):
            bar.drawn.start()
        try:
            with _beating(bar.beat, 1 / REDRAWN_A_SECOND):
                yield bar
        finally:
            with suppress(OSError):
                bar.drawn.stop()


@contextmanager
def _beating(beat: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call something again and again, in a thread of its own, so that a long step does not stand still."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            with suppress(OSError):
                beat()

    thread = threading.Thread(target=run, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _told(seen: Progress, step: str, seconds: float, written: dict[str, int | None], failed: bool) -> str:
    tables = ", ".join(name if rows is None else f"{name} {rows:,} rows" for name, rows in written.items())
    return f"{_count(seen)} {_spoken(step)}{' failed' if failed else ''}, {seconds:.1f} s" + (f": {tables}" if tables else "")


def _count(seen: Progress) -> str:
    width = len(str(seen.steps))
    return f"{seen.done:>{width}}/{seen.steps}" if seen.steps else ""


def _spoken(step: str) -> str:
    """A step as people call it."""
    return step.rpartition("__")[2].replace("_", " ")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _now() -> str:
    return f"{dt.datetime.now().astimezone():%H:%M:%S}"
