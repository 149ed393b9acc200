"""kill -9 at random instants, over all stages of a run and over the commands that change what is in use."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from persona_pipelines_tests.faults.outcomes import Outcome
from persona_pipelines_tests.faults.stand import DAYS, Reader, Reference, Stand, ended, healed, kill, looked_at

IN_A_ROW = 4
"""Kills of one state before a run is left in peace: each meets what the one before it has left."""


def runs(known: Reference, folder: Path, number: int, generator: random.Random) -> Iterator[Outcome]:
    """The run of two days, training, promotion and publishing."""
    for first in range(0, number, IN_A_ROW):
        stand = known.stand.copied(folder / "killed")
        instants: list[float] = []
        wrong: list[str] = []
        reader = Reader(stand, known)
        with reader.reading():
            for _ in range(min(IN_A_ROW, number - first)):
                instants.append(generator.uniform(0, known.seconds))
                wrong += [
                    f"killed after {instants[-1]:.1f} s: {text}"
                    for text in killed_after(stand, known, instants[-1], folder / "aside", "run", *DAYS)
                ]
            wrong += healed(stand, known, folder / "aside")
        wrong += sorted(reader.wrong)
        when = ", ".join(f"{instant:.1f}" for instant in instants)
        yield Outcome(
            "kill -9",
            f"run, {len(instants)} times, after {when} s",
            f"as before or as after each time, healed; {reader.reads} reads meanwhile",
            wrong,
        )


def killed_after(stand: Stand, known: Reference, seconds: float, aside: Path, *command: str) -> list[str]:
    """Kill a command, and look at what it has left."""
    process = stand.start(*command)
    time.sleep(seconds)
    kill(process)
    ended(process)
    return looked_at(stand, known, aside)


def first_runs(known: Reference, folder: Path, number: int, generator: random.Random) -> Iterator[Outcome]:
    """The very first run, of which nothing is there before."""
    for _ in range(number):
        stand = known.stand.copied(folder / "killed")
        for file in stand.home.iterdir():
            if file.name != "pseudonym.key":
                remove(file)
        instant = generator.uniform(0, 1.5 * known.seconds)
        process = stand.start("run", "--to", "2025-09-12")
        time.sleep(instant)
        kill(process)
        ended(process)
        done = stand.asked("run", "--to", "2025-09-12")
        wrong = [] if done.code == 0 else [f"the next run ends with {done.code}: {done.last}"]
        wrong += [f"{name} is shown as running" for name in stand.still()]
        yield Outcome("kill -9", f"first run of all, after {instant:.1f} s", "the next run makes everything", wrong)


def commands(known: Reference, folder: Path, number: int, generator: random.Random) -> Iterator[Outcome]:
    """Promotion, the way back and repair: the champion and its lists move together or not at all."""
    stand = known.stand.copied(folder / "two-versions")
    wrong = stand.run_again()
    if wrong:
        yield Outcome("kill -9", "preparing two versions", "", wrong)
        return
    for index in range(number):
        trial = stand.copied(folder / "killed")
        command = (("models", "promote", "1", "--reason", "a trial"), ("models", "rollback", "--reason", "a trial"), ("repair",))[index % 3]
        if command[0] == "repair":
            with (trial.home / "warehouse.duckdb").open("r+b") as file:
                file.seek(200_000)
                file.write(bytes(64))
        instant = generator.uniform(0, 12 if command[0] == "models" else 4)
        process = trial.start(*command)
        time.sleep(instant)
        kill(process)
        before = ended(process)
        again = trial.asked(*command)
        # Where the first try had got through, there is nothing left to go back to or to mend.
        wrong = [] if again.code in (0, 1) and before.code <= 0 else [f"the second try ends with {again.code}: {again.last}"]
        wrong += healed(trial, known, folder / "aside")
        yield Outcome("kill -9", f"{' '.join(command[:2])}, after {instant:.1f} s", "champion and tables agree, the next run heals", wrong)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
