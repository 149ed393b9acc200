"""The campaign: ``python -m persona_pipelines_tests.faults [KIND ...] --folder FOLDER``, all kinds where none is named."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from persona_pipelines_tests.faults import damage, disk, kills, live, processes, soak
from persona_pipelines_tests.faults.outcomes import Outcome, saved, table
from persona_pipelines_tests.faults.stand import Reference, reference


def kinds(number: int, seed: int) -> dict[str, Callable[[Reference, Path], Iterator[Outcome]]]:
    """Each kind of case by its name; ``number`` kills in all."""

    def drawn(kind: str) -> random.Random:
        return random.Random(f"{kind}, {seed}")

    few = max(1, number // 10)
    return {
        "kills": lambda known, folder: kills.runs(known, folder, number - 2 * few, drawn("kills")),
        "first-runs": lambda known, folder: kills.first_runs(known, folder, few, drawn("first runs")),
        "commands": lambda known, folder: kills.commands(known, folder, few, drawn("commands")),
        "full": disk.full,
        "errors": disk.errors,
        "read-only": disk.read_only,
        "clock": disk.clock,
        "memory": disk.memory,
        "signals": lambda known, folder: processes.signals(known, folder, drawn("signals")),
        "together": processes.together,
        "servers": processes.servers,
        "flipped": lambda known, folder: damage.flipped(known, folder, 2, drawn("flipped")),
        "gone": damage.gone,
        "live": lambda known, folder: live.served(known, folder, max(1, number // 2), drawn("live")),
        "journals": lambda known, folder: damage.journals(known, folder, 2, drawn("journals")),
    }


def main() -> int:
    every = kinds(100, 0)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(every)}, soak")
    parser.add_argument("--kills", type=int, default=100, help="kills in all")
    parser.add_argument("--seed", type=int, default=1, help="of the instants and places that are drawn")
    parser.add_argument("--days", type=int, default=soak.DAYS, help="of the soak")
    parser.add_argument("--minutes", type=float, default=240, help="no case is begun after so many")
    parser.add_argument("--folder", type=Path, help="where the outcomes are kept; by default a new temporary one")
    asked = parser.parse_args()
    chosen = asked.kinds or [*every, "soak"]
    if unknown := [kind for kind in chosen if kind not in every and kind != "soak"]:
        parser.error(f"{unknown[0]}: no kind; known are {', '.join(every)}, soak")
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="persona-faults-"))).resolve()
    work = folder / "-".join(["work", *chosen[:3]])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    outcomes, until = folder / "outcomes.jsonl", time.monotonic() + asked.minutes * 60
    wrong = 0
    known = reference(work) if set(chosen) - {"soak"} else None
    for kind in chosen:
        found = soak.soak(work, folder / "soak.csv", asked.days) if kind == "soak" else kinds(asked.kills, asked.seed)[kind](known, work)  # type: ignore[arg-type]
        for outcome in found:
            outcome.save(outcomes)
            wrong += bool(outcome.wrong)
            print(
                f"{'WRONG' if outcome.wrong else 'held '} {outcome.kind}: {outcome.fault}: {'; '.join(outcome.wrong) or outcome.outcome}",
                flush=True,
            )
            if time.monotonic() > until:
                print("the time is over", file=sys.stderr)
                return 1
    if (folder / "soak.csv").exists():
        soak.plot(folder / "soak.csv", folder / "soak.png")
    (folder / "faults.md").write_text(table(saved(outcomes)) + "\n", encoding="utf-8")
    print(f"{wrong} cases went wrong; the table is {folder / 'faults.md'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
