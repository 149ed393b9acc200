"""Signals, several runs at once, and servers that die."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import signal
import socket
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from persona_pipelines.orchestration.owners import PROCESS_TAG
from persona_pipelines.orchestration.partitions import range_tags
from persona_pipelines_tests.faults.outcomes import Outcome
from persona_pipelines_tests.faults.stand import DAYS, Reference, Stand, ended, healed, looked_at, waited_for

LAUNCH = """mutation($execution: ExecutionParams!) { launchRun(executionParams: $execution) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RELOAD = "mutation { reloadWorkspace { __typename } }"
STATUS = "query($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


def signals(known: Reference, folder: Path, generator: random.Random) -> Iterator[Outcome]:
    """One signal ends a run clean, a second one at once."""
    for names in (("SIGINT",), ("SIGTERM",), ("SIGINT", "SIGINT"), ("SIGTERM", "SIGTERM"), ("SIGINT", "SIGTERM"), ("SIGHUP",)):
        for _ in range(2):
            stand = known.stand.copied(folder / "signals")
            instant = generator.uniform(1, known.seconds)
            process = stand.start("run", *DAYS)
            time.sleep(instant)
            for name in names:
                os.kill(process.pid, getattr(signal, name))
                time.sleep(0.2)
            done = ended(process, 60)
            wrong = looked_at(stand, known, folder / "aside")
            if done.code == 0:
                pass
            elif len(names) == 1 and names[0] != "SIGHUP":
                expected = {"SIGINT": 130, "SIGTERM": 143}[names[0]]
                wrong += [] if done.code == expected else [f"exit code {done.code}, not {expected}"]
                wrong += [f"{name} is shown as running" for name in stand.still() if name.startswith("Dagster")]
            wrong += ["a traceback"] if "Traceback" in done.errors else []
            wrong += healed(stand, known, folder / "aside")
            yield Outcome("signals", f"{' and '.join(names)} after {instant:.1f} s", f"exit code {done.code}: {done.last}", wrong)


def together(known: Reference, folder: Path) -> Iterator[Outcome]:
    """Two and three runs of the same days from the command line: one after the other, with one result."""
    for number in (2, 3):
        stand = known.stand.copied(folder / "together")
        started = [stand.start("run", *DAYS) for _ in range(number)]
        done = [ended(process) for process in started]
        wrong = [f"a run ends with {entry.code}: {entry.last}" for entry in done if entry.code]
        waited = sum("is held by" in entry.errors for entry in done)
        wrong += [] if waited >= number - 1 else [f"{waited} of {number} say that they wait"]
        wrong += healed(stand, known, folder / "aside")
        yield Outcome("several at once", f"{number} runs from the command line", f"{waited} waited and said so", wrong)


class Servers:
    """``persona ui`` with its three servers."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.ports = _free_ports(2)
        self.process = stand.start("ui", "--dagster-port", str(self.ports[0]), "--mlflow-port", str(self.ports[1]))
        self.wrong = [] if waited_for(self.answers, 120) else ["the servers do not answer within 120 s"]

    def answers(self) -> bool:
        try:
            return "version" in str(self.ask("query { version }"))
        except OSError:
            return False

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[0]}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            found: dict[str, Any] = json.loads(answer.read())["data"]
        return found

    def launch(self) -> str:
        """A run of the two days, as the button of the web UI starts it."""
        first, last = (dt.date.fromisoformat(day) for day in (DAYS[1], DAYS[3]))
        tags = [{"key": key, "value": value} for key, value in range_tags(self.stand.settings, first, last).items()]
        execution = {
            "selector": {
                "repositoryLocationName": "persona_pipelines.definitions",
                "repositoryName": "__repository__",
                "jobName": "flow",
            },
            "runConfigData": {},
            "executionMetadata": {"tags": tags},
        }
        answer = self.ask(LAUNCH, execution=execution)["launchRun"]
        if "run" not in answer:
            raise OSError(f"the web UI starts no run: {answer}")
        return str(answer["run"]["runId"])

    def status(self, run: str) -> str:
        return str(self.ask(STATUS, run=run)["runOrError"].get("status"))

    def children(self, name: str) -> list[int]:
        """Numbers of the processes below ``persona ui`` whose command line has a text."""
        numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [number for number in numbers if self.process.pid in _ancestors(number) and name in _command(number)]

    def process_of(self, run: str) -> int:
        """The process of a run, as its tag says; one of those below ``persona ui``."""
        with contextlib.closing(sqlite3.connect(self.stand.home / "dagster" / "history" / "runs.db")) as store:
            ((tag,),) = store.execute("SELECT value FROM run_tags WHERE run_id = ? AND key = ?", (run, PROCESS_TAG)).fetchall()
        number = int(tag.split(":")[0])
        if self.process.pid not in _ancestors(number):
            raise OSError(f"process {number} is none of persona ui")
        return number

    def stop(self) -> None:
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGINT)
        ended(self.process, 60)


def servers(known: Reference, folder: Path) -> Iterator[Outcome]:
    """A run of the web UI beside one of the command line; the process of a run, the daemon, the code server killed."""
    stand = known.stand.copied(folder / "servers")
    up = Servers(stand)
    wrong = up.wrong
    try:
        if not wrong:
            run = up.launch()
            beside = ended(stand.start("run", *DAYS))
            waited_for(lambda: up.status(run) in ("SUCCESS", "FAILURE"), 180)
            wrong = [] if beside.code == 0 else [f"the run beside it ends with {beside.code}: {beside.last}"]
            wrong += [] if up.status(run) == "SUCCESS" else [f"the run of the web UI is {up.status(run)}"]
            yield Outcome(
                "several at once",
                "a run of the web UI and one of the command line",
                "both succeed",
                [*wrong, *healed(stand, known, folder / "aside")],
            )

            run = up.launch()
            waited_for(lambda: up.status(run) == "STARTED", 60)
            time.sleep(8)
            os.kill(up.process_of(run), signal.SIGKILL)
            began = time.monotonic()
            over = waited_for(lambda: up.status(run) == "FAILURE", 150)
            seconds = time.monotonic() - began
            wrong = [] if over else [f"a run whose process was killed is {up.status(run)} after 150 s"]
            run = up.launch()
            wrong += [] if waited_for(lambda: up.status(run) == "SUCCESS", 180) else [f"the next run of the web UI is {up.status(run)}"]
            yield Outcome(
                "servers",
                "the process of a run of the web UI killed",
                f"failed after {seconds:.0f} s, the next run succeeds",
                [*wrong, *healed(stand, known, folder / "aside")],
            )

            for number in up.children("dagster._cli api grpc") or up.children("api grpc"):
                os.kill(number, signal.SIGKILL)
            again = waited_for(up.answers, 60)
            up.ask(RELOAD)  # the button beside the message that the code location cannot be reached
            try:
                run = up.launch()
                wrong = [] if waited_for(lambda: up.status(run) == "SUCCESS", 400) else [f"the next run of the web UI is {up.status(run)}"]
            except OSError as error:
                wrong = [str(error)]
            yield Outcome(
                "servers",
                "the code server killed",
                "the page says so, its button Reload starts it again, the next run succeeds",
                [] if again and not wrong else wrong or ["the web UI does not answer"],
            )

            for number in up.children("dagster-daemon"):
                os.kill(number, signal.SIGKILL)
            gone = waited_for(lambda: up.process.poll() is not None, 60)
            done = ended(up.process, 5) if gone else None
            said = done.last if done else ""
            wrong = [] if gone and "Dagster daemon" in said else [f"the daemon was killed, and persona ui says {said!r}"]
            yield Outcome("servers", "the daemon killed", said, [*wrong, *healed(stand, known, folder / "aside")])
        else:
            yield Outcome("servers", "starting", "", wrong)
    finally:
        up.stop()


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for free in sockets:
        free.bind(("127.0.0.1", 0))
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    return ports


def _ancestors(number: int) -> set[int]:
    found = set()
    while number > 1:
        try:
            number = int(Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            break
        found.add(number)
    return found


def _command(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
