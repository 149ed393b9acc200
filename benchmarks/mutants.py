"""How many small faults in the rooms of rules the tests notice: mutants of mutmut, killed and not, by room.

python benchmarks/mutants.py [--sample 60] [--seed 1]    (make mutants SAMPLE=60)

Which code is changed, and by which tests it is held against, stands in pyproject.toml (tool.mutmut). Results stay in mutants/; what
survived is listed, and ``python -m mutmut show NAME`` tells the change.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

from mutmut.stats import status_by_exit_code

MUTANTS = Path("mutants")
NONE = "no mutant has this name"
KILLED = ("killed", "timeout", "segfault", "caught by type check")


def run(*names: str) -> None:
    subprocess.run([sys.executable, "-m", "mutmut", "run", *names], check=False)


def outcomes() -> dict[str, dict[str, int | None]]:
    """Exit codes of the mutants of each room by name; None of those not tried yet."""
    found: dict[str, dict[str, int | None]] = defaultdict(dict)
    for file in sorted(MUTANTS.rglob("*.py.meta")):
        room = ".".join(file.relative_to(MUTANTS / "persona_pipelines").with_suffix("").with_suffix("").parts[:-1]) or "(top)"
        found[room] |= json.loads(file.read_text())["exit_code_by_key"]
    return {room: codes for room, codes in found.items() if codes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, help="mutants of each room, drawn at random; all where it is not given")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if asked.sample is None:
        run()
        tried = {room: list(codes) for room, codes in outcomes().items()}
    else:
        run(NONE)  # makes them, and sees which tests reach which function
        draw = random.Random(asked.seed)
        tried = {room: sorted(draw.sample(sorted(codes), min(asked.sample, len(codes)))) for room, codes in outcomes().items()}
        run(*(name for names in tried.values() for name in names))
    found = outcomes()
    print(f"{'room':32} {'mutants':>8} {'tried':>6} {'killed':>7}")
    for room, names in tried.items():
        states = Counter(status_by_exit_code[found[room][name]] for name in names)
        killed = sum(states[state] for state in KILLED)
        print(f"{room:32} {len(found[room]):8} {len(names):6} {killed / len(names):7.0%}")
    for room, names in tried.items():
        for name in names:
            state = status_by_exit_code[found[room][name]]
            if state not in KILLED:
                print(f"{state}: {name}")


if __name__ == "__main__":
    main()
