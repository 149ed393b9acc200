"""How many small faults in the rooms of rules their own tests notice: mutants of mutmut, killed and not, by room.

python benchmarks/mutants.py [--room events] [--sample 60] [--seed 1]    (make mutants ROOMS=events SAMPLE=60)

Each room is changed in a copy of its own, mutants/ROOM, and held against the tests of that room alone; what other tests would have noticed
too is not counted. Results stay there: a command that was ended goes on where it stopped, and
``cd mutants/ROOM && python -m mutmut show NAME`` tells a change.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mutmut.stats import status_by_exit_code

ROOT = Path(__file__).parents[1]
NONE = "no mutant has this name"
KILLED = ("killed", "timeout", "segfault", "caught by type check")


@dataclass(frozen=True)
class Room:
    """What is changed and what has to notice; paths below the package and below its tests."""

    code: tuple[str, ...]
    tests: tuple[str, ...]


CHECKS = "test_every_check.py"
ROOMS = {
    "logs": Room(("logs/*",), ("logs", "presets", CHECKS)),
    "events": Room(("events/*",), ("events", CHECKS)),
    "features": Room(("features/*",), ("features", CHECKS)),
    "evaluation": Room(
        ("recommendations/evaluation/*",),
        (
            "recommendations/test_metrics.py",
            "recommendations/test_windows.py",
            "recommendations/test_audit.py",
            "recommendations/test_evaluation.py",
        ),
    ),
    "promotion": Room(("recommendations/promotion.py", "recommendations/checks.py"), ("recommendations/test_promotion.py", CHECKS)),
    "privacy": Room(("privacy/*",), ("privacy",)),
    "audiences": Room(("audiences/*",), ("audiences",)),
    "shared": Room(("findings.py", "intervals.py"), ("recommendations/test_metrics.py", "segments", CHECKS)),
}
NO_RULES = ("persona_pipelines/*/assets.py", "persona_pipelines/logs/sensors.py")
"""What only hands tables to Dagster."""


def copied(name: str) -> Path:
    """The copy of the project in which the room is changed; an existing one with the same files is taken up again."""
    folder, room = ROOT / "mutants" / name, ROOMS[name]
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for file in listed.stdout.splitlines():
        if (ROOT / file).is_file():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, folder / file)
    settings = {
        "source_paths": ["persona_pipelines"],
        "only_mutate": [f"persona_pipelines/{path}" for path in room.code],
        "do_not_mutate": NO_RULES,
        "also_copy": [
            "persona_pipelines_tests",
            "data",
            "docs",
            "benchmarks",
            "README.md",
            "workspace.yaml",
            "Makefile",
            "constraints.txt",
        ],
        "pytest_add_cli_args": ["-p", "no:cacheprovider"],
        "pytest_add_cli_args_test_selection": [f"persona_pipelines_tests/{path}" for path in room.tests],
    }
    lines = (f"{name} =\n" + "".join(f"    {value}\n" for value in values) for name, values in settings.items())
    (folder / "setup.cfg").write_text("[mutmut]\n" + "".join(lines))
    return folder


def run(folder: Path, *names: str) -> None:
    subprocess.run([sys.executable, "-m", "mutmut", "run", *names], cwd=folder, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})


def outcomes(folder: Path) -> dict[str, int | None]:
    """Exit codes of the mutants by name; None of those not tried yet."""
    found: dict[str, int | None] = {}
    for file in sorted((folder / "mutants").rglob("*.py.meta")):
        found |= json.loads(file.read_text())["exit_code_by_key"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--room", choices=ROOMS, action="append", help="these rooms; all where none is given")
    parser.add_argument("--sample", type=int, help="mutants of each room, drawn at random; all where it is not given")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    tried: dict[str, dict[str, str]] = {}
    made: dict[str, int] = {}
    for name in asked.room or ROOMS:
        folder = copied(name)
        run(folder, NONE)  # makes them, and sees which tests reach which function
        names = sorted(outcomes(folder))
        made[name] = len(names)
        if asked.sample is not None and asked.sample < len(names):
            names = sorted(random.Random(asked.seed).sample(names, asked.sample))
        run(folder, *names)
        codes = outcomes(folder)
        tried[name] = {mutant: status_by_exit_code[codes[mutant]] for mutant in names}
    print(f"{'room':12} {'mutants':>8} {'tried':>6} {'killed':>7} {'by the clock':>12}")
    for name, states in tried.items():
        counted = Counter(states.values())
        killed = sum(counted[state] for state in KILLED)
        print(f"{name:12} {made[name]:8} {len(states):6} {killed / max(len(states), 1):7.0%} {counted['timeout']:12}")
    for states in tried.values():
        for mutant, state in states.items():
            if state not in KILLED:
                print(f"{state}: {mutant}")


if __name__ == "__main__":
    main()
