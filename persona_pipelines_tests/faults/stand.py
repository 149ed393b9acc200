"""A small shop with its state, to be copied and broken, and what must hold of it whatever happened."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from persona_pipelines.errors import ProjectError
from persona_pipelines.home.verifying import verify
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.simulation.shop import ShopPlan, write_shop
from persona_pipelines.tracking import registry
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.integration.running import PERSONA, with_home

ROOT = Path(__file__).parents[2]
PLAN = ShopPlan(users=150, days=12, seed=11, dirt=0.02, items=120)
BEFORE, DAYS = ("--to", "2025-09-10"), ("--from", "2025-09-11", "--to", "2025-09-12")
"""What the state holds before a case, and the run that a case disturbs: two days more, training, promotion, publishing."""
LONGEST_SECONDS = 300
OF_THE_RUN = {
    "logs.files": ("modified_ns",),
    "home.champions": ("version", "since", "reason", "chosen_by"),
    "recommendations.model_comparison": ("mlflow_run_id", "model_version"),
}
"""Columns that say when and by which run, and so differ between two runs that make the same. Versions of models are left out everywhere."""
VERSIONS = ("segment_model_version", "model_version")


@dataclass
class Ended:
    """How a command ended: exit code (below 0 the signal), what it wrote, and how long it took."""

    code: int
    output: str
    errors: str
    seconds: float

    @property
    def last(self) -> str:
        """What a person reads last."""
        lines = [line for line in (self.errors + self.output).splitlines() if line.strip()]
        return next((line for line in reversed(lines) if line.startswith(("Error:", "error:"))), lines[-1] if lines else "")


@dataclass
class Stand:
    """A folder with logs, their configuration, and its own state."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def settings(self) -> Settings:
        with _environment({"PERSONA_HOME": str(self.home)}):
            return load_settings(self.folder / "persona.yaml")

    def copied(self, name: Path) -> Stand:
        """A copy in a folder that begins with a name, in place of the one before; never the same, for MLflow keeps databases open by their path."""
        for before in name.parent.glob(f"{name.name}-*"):
            shutil.rmtree(before, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{name.name}-", dir=name.parent))
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Stand(folder, {**self.environment, "PERSONA_HOME": str(folder / "home")})

    def start(self, *arguments: str, more: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """A command in a process of its own, which leads a group of its own."""
        return subprocess.Popen(
            [PERSONA, *arguments, "--config", "persona.yaml"],
            cwd=self.folder,
            env={**self.environment, **(more or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def asked(self, *arguments: str, more: Mapping[str, str] | None = None) -> Ended:
        return ended(self.start(*arguments, more=more))

    def run_again(self) -> list[str]:
        """The next run of the same days; what is wrong where it does not end well."""
        done = self.asked("run", *DAYS)
        return [] if done.code == 0 else [f"the next run ends with {done.code}: {done.last}"]

    def still(self) -> list[str]:
        """Runs that are shown as running, in Dagster and in MLflow."""
        return [
            *_rows(
                self.home / "dagster" / "history" / "runs.db",
                "SELECT 'Dagster run ' || run_id FROM runs WHERE status IN ('STARTED', 'STARTING', 'CANCELING')",
            ),
            *_rows(self.home / "mlflow.db", "SELECT 'MLflow run ' || run_uuid FROM runs WHERE status = 'RUNNING'"),
        ]


def configured(folder: Path, plan: ShopPlan) -> Stand:
    """A shop's logs with their configuration, and nothing run."""
    folder.mkdir(parents=True)
    write_shop(plan, folder / "raw", folder / "truth")
    content = yaml.safe_load((ROOT / "data" / "persona.yaml").read_text())
    content["logs"] = {"max_reject_share": 0.6, "settle_seconds": 0}
    content["recommendations"] = {"minimum_interactions": 20, "methods": [{"method": "most_popular"}, {"method": "ease"}]}
    content["segments"] = {"algorithms": ["k_means"], "stability_refits": 2, "maximum_k": 4}
    content["predictions"] = {"horizon_days": 3, "lifetime_days": 6, "minimum_users": 10_000, "windows": 1}
    (folder / "persona.yaml").write_text(yaml.safe_dump(content))
    return Stand(folder, with_home(folder))


def made(folder: Path) -> Stand:
    """The shop with its first ten days run."""
    stand = configured(folder, PLAN)
    done = stand.asked("run", *BEFORE)
    if done.code:
        raise SystemExit(f"the first run of the shop ends with {done.code}: {done.errors}")
    return stand


def ended(process: subprocess.Popen[str], seconds: float = LONGEST_SECONDS) -> Ended:
    """Wait for a command; one that takes too long is killed, and its exit code says so."""
    began = time.monotonic()
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        output, errors = process.communicate()
        errors += f"\nError: did not end within {seconds:g} seconds"
    return Ended(process.returncode, output, errors, time.monotonic() - began)


def kill(process: subprocess.Popen[str]) -> None:
    """SIGKILL to a command and all that it has started, and to nobody else."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


Digests = dict[str, tuple[int, str]]


def digests(file: Path, aside: Path) -> Digests:
    """Rows and a digest of each table of a warehouse without what names the run; read from a copy, with its journal, so that nothing is changed."""
    aside.mkdir(exist_ok=True)
    for old in aside.iterdir():
        old.unlink()
    for part in (file, file.with_name(f"{file.name}.wal")):
        if part.exists():
            shutil.copy(part, aside / part.name)
    with Warehouse(aside / file.name) as store:
        found = {}
        for name in store.counts():
            schema, table = name.split(".")
            columns = store.backend.table(table, database=schema).columns
            kept = [column for column in columns if column not in (*OF_THE_RUN.get(name, ()), *VERSIONS)]
            text = " || '\x1f' || ".join(f"coalesce(\"{column}\"::VARCHAR, '')" for column in kept)
            # Each source writes its own rows of the table of files, together with its records.
            of = "source" if name == "logs.files" else "''"
            query = f'SELECT {of}, count(*), bit_xor(hash({text})), sum(hash({text})) FROM "{schema}"."{table}" GROUP BY 1'
            found[name] = (0, "0-0")
            for source, rows, exclusive, total in store.connection.execute(query).fetchall():
                found[f"{name} of {source}" if source else name] = (int(rows), f"{exclusive or 0:x}-{total or 0:x}")
    return found


@dataclass
class Reference:
    """A shop before the run that is disturbed, what that run makes when it is not, and what a second one makes of the same days.

    The second differs in what became of the segments since the training before.
    """

    stand: Stand
    before: Digests
    after: Digests
    again: Digests
    seconds: float

    def between(self, found: Digests) -> list[str]:
        """Tables that are neither as before nor as after."""
        return [name for name, digest in found.items() if digest not in (*(state.get(name) for state in self.states), (0, "0-0"))]

    def whole(self, found: Digests) -> bool:
        """Whether all tables are as before, or all as after."""
        return found in self.states

    @property
    def states(self) -> tuple[Digests, Digests, Digests]:
        return self.before, self.after, self.again


def reference(folder: Path) -> Reference:
    stand = made(folder / "shop")
    other = stand.copied(folder / "undisturbed")
    done = other.asked("run", *DAYS)
    if done.code:
        raise SystemExit(f"the undisturbed run ends with {done.code}: {done.errors}")
    aside, published = folder / "aside", other.home / "published.duckdb"
    before, after = digests(stand.home / "published.duckdb", aside), digests(published, aside)
    if wrong := other.run_again():
        raise SystemExit(f"undisturbed, {wrong[0]}")
    return Reference(stand, before, after, digests(published, aside), done.seconds)


def looked_at(stand: Stand, known: Reference, aside: Path) -> list[str]:
    """What is wrong with the state that a fault has left, before anything else has touched it."""
    wrong = [f"{name} is neither as before nor as after" for name in known.between(digests(stand.home / "warehouse.duckdb", aside))]
    published = digests(stand.home / "published.duckdb", aside)
    if not known.whole(published):
        mixed = known.between(published) or [name for name, digest in published.items() if digest != known.before.get(name)]
        wrong.append(f"the published copy is neither that of before nor that of after: {', '.join(mixed[:3])}")
    try:
        wrong += [f"persona verify: {entry.file}: {entry.found}" for entry in verify(stand.settings) if not entry.passed]
        wrong += unloadable(stand)
    except ProjectError as error:
        wrong.append(f"persona verify: {error}")
    return wrong


def unloadable(stand: Stand) -> list[str]:
    """Champions whose files cannot be had."""
    wrong = []
    with _environment(stand.environment):
        for stage in registry.MADE_WITH:
            try:
                registry.model(stand.settings, stage, registry.champion_version(stand.settings, stage))
            except ProjectError as error:
                wrong.append(f"the champion of {stage} cannot be loaded: {error}")
    return wrong


def healed(stand: Stand, known: Reference, aside: Path) -> list[str]:
    """What is wrong after the next run: it makes what an undisturbed one makes, with the champions of its tables, and nothing runs for ever."""
    wrong = stand.run_again()
    found = digests(stand.home / "published.duckdb", aside)
    undisturbed = known.after.keys()
    wrong += [
        f"{name} is not as an undisturbed run makes it"
        for name in undisturbed
        if found.get(name) not in (known.after[name], known.again[name])
    ]
    with Warehouse(stand.home / "published.duckdb", read_only=True) as store, _environment(stand.environment):
        for stage in registry.MADE_WITH:
            of_tables, alias = registry.made_with(store, stage), registry.champion_version(stand.settings, stage)
            if of_tables != alias:
                wrong.append(f"the tables of {stage} are made with version {of_tables}, the champion is version {alias}")
    wrong += [f"{name} is shown as running" for name in stand.still()]
    wrong += [f"{file.name} is left over" for file in leftovers(stand.home)]
    return wrong


def leftovers(home: Path) -> list[Path]:
    """Files that a finished state has none of."""
    found = [*home.glob("**/.*.partial"), *home.glob("*.wal"), home / "publishing.json", home / "warehouse.duckdb.tmp"]
    return [file for file in found if file.exists()]


class Reader(threading.Thread):
    """Reads the published copy again and again, as a page or a notebook would: all of it as before or all of it as after."""

    def __init__(self, stand: Stand, known: Reference) -> None:
        super().__init__(daemon=True)
        self.file, self.known, self.done, self.reads, self.wrong = stand.home / "published.duckdb", known, threading.Event(), 0, set[str]()
        self.expected = [{name: rows for name, (rows, _) in state.items() if "logs.files" not in name} for state in known.states]

    def run(self) -> None:
        while not self.done.wait(0.3):
            try:
                with Warehouse(self.file, read_only=True) as store:
                    if {name: rows for name, rows in store.counts().items() if name != "logs.files"} not in self.expected:
                        self.wrong.add("a reader sees tables neither of before nor of after")
            except ProjectError as error:
                self.wrong.add(f"a reader cannot read: {error}")
            self.reads += 1

    @contextlib.contextmanager
    def reading(self) -> Iterator[Reader]:
        self.start()
        try:
            yield self
        finally:
            self.done.set()
            self.join()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    saved = dict(os.environ)
    os.environ.update({name: value for name, value in values.items() if name.startswith(("PERSONA_", "MLFLOW_"))})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)


def _rows(file: Path, query: str) -> list[str]:
    if not file.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as store:
        return [row[0] for row in store.execute(query)]


def waited_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether something comes to hold in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.2)
    return False
