"""A disk that is full, that fails, that may not be written to; a clock set back; too little memory."""

from __future__ import annotations

import errno
import os
import resource
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import yaml

from persona_pipelines_tests.faults.outcomes import Outcome
from persona_pipelines_tests.faults.stand import DAYS, Ended, Reader, Reference, Stand, ended, healed, looked_at

SOURCE = Path(__file__).with_name("layer.c")
SIZES = 12
DATABASES = {
    "Dagster's databases": "/dagster/",
    "MLflow's database": "mlflow.db",
    "the models": "mlflow-artifacts",
    "what is about to be published": "/waiting/",
}
FAILING = [
    ("write", "warehouse.duckdb", 0),
    ("write", "warehouse.duckdb", 40),
    ("sync", "warehouse.duckdb", 1),
    ("sync", "warehouse.duckdb", 6),
    ("read", "warehouse.duckdb", 30),
    ("write", "mlflow.db", 20),
    ("write", "/dagster/", 100),
    ("write", "mlflow-artifacts", 3),
    ("write", "/waiting/", 2),
    ("sync", "/waiting/", 0),
    ("rename", "published.duckdb", 0),
    ("rename", "manifest.json", 1),
    ("rename", "publishing.json", 0),
    ("read", "published.duckdb", 2),
]
"""The call that fails, the file, and how many calls go well before; all of them fail from then on."""


def layer(folder: Path) -> Path:
    """The layer, compiled."""
    library = folder / "layer.so"
    if not library.exists():
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def failing(stand: Stand, folder: Path, call: str, match: str, error: int, after: int) -> dict[str, str]:
    """The environment of a command whose disk fails."""
    counter = folder / "counter"
    counter.unlink(missing_ok=True)
    return {
        "LD_PRELOAD": str(layer(folder)),
        "FAULT_BELOW": str(stand.home),
        "FAULT_MATCH": match,
        "FAULT_CALL": call,
        "FAULT_ERROR": str(error),
        "FAULT_AFTER": str(after),
        "FAULT_COUNTER": str(counter),
    }


def counted(folder: Path) -> tuple[int, int]:
    """Bytes or calls of the kind, and how many of them failed."""
    used, failed = struct.unpack("qq", (folder / "counter").read_bytes())
    return used, failed


def full(known: Reference, folder: Path) -> Iterator[Outcome]:
    """Room for 12 sizes, from none to all but a little of what the run writes; then the databases and folders one by one."""
    stand = known.stand.copied(folder / "disk")
    stand.asked("run", *DAYS, more=failing(stand, folder, "write", "", errno.ENOSPC, 1 << 40))
    whole = counted(folder)[0]
    for step in range(SIZES):
        room = whole * step // SIZES
        yield _tried(known, folder, "disk full", f"room for {room / 1e6:.1f} of {whole / 1e6:.1f} MB", "write", "", errno.ENOSPC, room)
    for name, match in DATABASES.items():
        for room in (0, 20_000, 300_000):
            yield _tried(known, folder, "disk full", f"for {name}, after {room / 1e3:.0f} kB", "write", match, errno.ENOSPC, room)


def errors(known: Reference, folder: Path) -> Iterator[Outcome]:
    """Errors of input and output, call by call and file by file."""
    for call, match, after in FAILING:
        yield _tried(known, folder, "disk error", f"{call} of {match}, after {after} calls", call, match, errno.EIO, after)


def read_only(known: Reference, folder: Path) -> Iterator[Outcome]:
    for match in ("", "/dagster/", "mlflow.db", "warehouse.duckdb"):
        where = f"{match or 'the whole state'}"
        yield _tried(known, folder, "read-only", where, "open", match, errno.EROFS, 0)


def _tried(known: Reference, folder: Path, kind: str, fault: str, call: str, match: str, error: int, after: int) -> Outcome:
    stand = known.stand.copied(folder / "disk")
    reader = Reader(stand, known)
    with reader.reading():
        done = stand.asked("run", *DAYS, more=failing(stand, folder, call, match, error, after))
    failed = counted(folder)[1] if (folder / "counter").exists() else 0
    wrong = [*_told(done, failed), *looked_at(stand, known, folder / "aside"), *sorted(reader.wrong)]
    wrong += healed(stand, known, folder / "aside")
    return Outcome(kind, fault, f"{failed} calls failed; exit code {done.code}: {done.last}", wrong)


def _told(done: Ended, failed: int) -> list[str]:
    wrong = []
    if failed and done.code == 0 and "warning" not in done.errors:
        wrong.append("it ends well, and says nothing of what it could not write")
    if not failed and done.code != 0:
        wrong.append(f"nothing failed, and it ends with {done.code}: {done.last}")
    if "Traceback" in done.errors or done.code == 70:
        wrong.append(f"a fault: {done.last}")
    if done.code < 0:
        wrong.append(f"ended by signal {-done.code}")
    return wrong


def clock(known: Reference, folder: Path) -> Iterator[Outcome]:
    """The clock an hour and a day back, and a day ahead; what the days hold is told by the logs."""
    for name, seconds in (("an hour back", -3600), ("a day back", -86_400), ("a day ahead", 86_400), ("35 days back", -35 * 86_400)):
        stand = known.stand.copied(folder / "clock")
        done = stand.asked("run", *DAYS, more={"LD_PRELOAD": str(layer(folder)), "FAULT_CLOCK": str(seconds)})
        wrong = [] if done.code == 0 else [f"the run ends with {done.code}: {done.last}"]
        yield Outcome(
            "clock", f"set {name} for a run, then right again", "the same tables", [*wrong, *healed(stand, known, folder / "aside")]
        )


def memory(known: Reference, folder: Path) -> Iterator[Outcome]:
    """The engine's limit too small, the process's own too small."""
    stand = known.stand.copied(folder / "memory")
    file = stand.folder / "persona.yaml"
    usual = file.read_text()
    for limit in ("10MB", "1MB"):
        file.write_text(yaml.safe_dump({**yaml.safe_load(usual), "warehouse": {"memory_limit": limit}}))
        done = stand.asked("run", *DAYS)
        file.write_text(usual)
        wrong = [*_told(done, 0 if done.code == 0 else 1), *looked_at(stand, known, folder / "aside")]
        yield Outcome("memory", f"warehouse.memory_limit {limit}", f"exit code {done.code}: {done.last}", wrong)
    for megabytes in (3000, 1500, 600):
        stand = known.stand.copied(folder / "memory")
        limit_bytes = megabytes << 20
        process = stand.start("run", *DAYS)
        resource.prlimit(process.pid, resource.RLIMIT_AS, (limit_bytes, limit_bytes))
        done = ended(process)
        wrong = [f"a fault: {done.last}"] if "Traceback" in done.errors else []
        wrong += [*looked_at(stand, known, folder / "aside"), *healed(stand, known, folder / "aside")]
        yield Outcome("memory", f"{megabytes} MB of addresses for the process", f"exit code {done.code}: {done.last}", wrong)
