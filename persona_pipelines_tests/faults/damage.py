"""One flipped byte, or a file gone, anywhere in the state: found, named, and mended by what is said."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from persona_pipelines.tracking import registry
from persona_pipelines_tests.faults.kills import remove
from persona_pipelines_tests.faults.outcomes import Outcome
from persona_pipelines_tests.faults.stand import DAYS, Reference, Stand, ended, healed, kill

FILES = [
    "warehouse.duckdb",
    "published.duckdb",
    "mlflow.db",
    "model",
    "manifest.json",
    "dagster/history/runs.db",
    "dagster/schedules/schedules.db",
    "pseudonym.key",
    "warehouse.lock",
]
ALWAYS = {"warehouse.duckdb", "published.duckdb", "model", "pseudonym.key"}
"""Files of which any byte that changed is found, by their hashes; of the others a change that does not harm is none."""
MISSED = {*ALWAYS, "mlflow.db", "dagster/history/runs.db", "dagster/schedules/schedules.db"}
"""Files that are missed where they are gone."""
OF_MODELS = {"mlflow.db", "model"}


def flipped(known: Reference, folder: Path, times: int, generator: random.Random) -> Iterator[Outcome]:
    for name in FILES:
        for _ in range(times):
            stand = known.stand.copied(folder / "damage")
            file = path_of(stand, name)
            size = file.stat().st_size
            place = generator.randrange(size) if size else 0
            with file.open("r+b") as stream:
                stream.seek(place)
                before = stream.read(1) or b"\0"
                stream.seek(place)
                stream.write(bytes([before[0] ^ (1 << generator.randrange(8))]))
            yield _found(stand, known, folder, f"byte {place} of {size} of {name} flipped", name, file, must_be_found=name in ALWAYS)


def gone(known: Reference, folder: Path) -> Iterator[Outcome]:
    for name in FILES:
        stand = known.stand.copied(folder / "damage")
        file = path_of(stand, name)
        remove(file)
        yield _found(stand, known, folder, f"{name} gone", name, file, must_be_found=name in MISSED)


def journals(known: Reference, folder: Path, times: int, generator: random.Random) -> Iterator[Outcome]:
    """The engine's journal cut, flipped or from elsewhere."""

    def cut(content: bytes) -> bytes:
        return content[: generator.randrange(len(content))]

    def flip(content: bytes) -> bytes:
        place = generator.randrange(len(content))
        return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]

    changes: dict[str, Callable[[bytes], bytes]] = {
        "cut": cut,
        "flipped": flip,
        "emptied": lambda content: b"",
        "of random bytes": lambda content: generator.randbytes(len(content)),
    }
    for name, change in changes.items():
        for _ in range(times):
            stand, journal = _with_journal(known, folder, generator)
            if journal is None:
                yield Outcome("damage", f"journal {name}", "", ["no kill left a journal"])
                continue
            journal.write_bytes(change(journal.read_bytes()))
            wrong = healed_or_told(stand, known, folder)
            yield Outcome("damage", f"journal of a killed run {name}", "refused with the way out, or of no effect", wrong)


def _with_journal(known: Reference, folder: Path, generator: random.Random) -> tuple[Stand, Path | None]:
    """A state whose last run was killed with something in the journal."""
    for _ in range(12):
        stand = known.stand.copied(folder / "damage")
        journal = stand.home / "warehouse.duckdb.wal"
        process = stand.start("run", *DAYS)
        while process.poll() is None:
            if journal.exists() and journal.stat().st_size > 100:
                kill(process)
        ended(process)
        if journal.exists() and journal.stat().st_size:
            return stand, journal
    return stand, None


def _found(stand: Stand, known: Reference, folder: Path, fault: str, name: str, file: Path, *, must_be_found: bool) -> Outcome:
    checked = stand.asked("verify")
    wrong = [f"a fault: {checked.last}"] if checked.code not in (0, 1) or "Traceback" in checked.errors else []
    if must_be_found and checked.code == 0:
        wrong.append("persona verify finds nothing")
    if name == "pseudonym.key":
        done = stand.asked("run", *DAYS)
        wrong += [] if done.code == 1 and "backup" in done.errors else [f"the run ends with {done.code}: {done.last}"]
        return Outcome("damage", fault, f"refused: {done.last}", wrong)
    said = "found" if checked.code else "of no effect"
    wrong += healed_or_told(stand, known, folder)
    if name in OF_MODELS:
        # Where models are lost, segments begin anew, and what is made with them is other; that is said.
        wrong = [text for text in wrong if not text.endswith("is not as an undisturbed run makes it")]
    return Outcome("damage", fault, f"{said}; healed", wrong)


def healed_or_told(stand: Stand, known: Reference, folder: Path) -> list[str]:
    """A run that ends well, or one sentence that says what to do, which then mends it."""
    done = stand.asked("run", *DAYS)
    wrong = [f"a fault: {done.last}"] if "Traceback" in done.errors or done.code not in (0, 1) else []
    if done.code == 0:
        return wrong + healed(stand, known, folder / "aside")
    if "persona repair" not in done.errors:
        wrong.append(f"the message names no way out: {done.last}")
    mended = stand.asked("repair")
    wrong += [] if mended.code == 0 else [f"persona repair ends with {mended.code}: {mended.last}"]
    return wrong + healed(stand, known, folder / "aside")


def path_of(stand: Stand, name: str) -> Path:
    if name != "model":
        return stand.home / name
    settings = stand.settings
    folder = registry.model(settings, "recommendations", registry.champion_version(settings, "recommendations")).folder
    return max((folder / "arrays").rglob("*.npy"), key=lambda file: (file.stat().st_size, file))
