"""The web UIs as child processes: Dagster's web server and daemon, and MLflow's server, on the loopback address only."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import texts_by_name, write_whole
from persona_pipelines.logs.reach import last_known_day
from persona_pipelines.orchestration.instance import open_instance
from persona_pipelines.orchestration.jobs import LOCATION
from persona_pipelines.orchestration.owners import end_orphaned_runs
from persona_pipelines.orchestration.partitions import ended, partitions
from persona_pipelines.settings import Settings

HOST = "127.0.0.1"
READY_SECONDS = 90
STOP_SECONDS = 10
LOOK_SECONDS = 60
"""How often is looked whether the days that the logs have are still those that Dagster shows."""
LOGS, ADDRESSES = "ui-logs", "addresses.json"
"""Below the home: where the servers' output goes, and where they answer, for as long as they do."""
TITLES = {"dagster": "Dagster", "mlflow": "MLflow"}


class ServerError(ProjectError):
    """A server cannot be started; the message says why."""


def serve(settings: Settings, dagster_port: int, mlflow_port: int, say: Callable[[str], None]) -> int:
    """Run the servers until one ends or an interrupt comes; then end the others. Returns the exit code.

    Raises:
        ServerError: a port is taken, or a server does not come up.
    """
    binaries = Path(sys.executable).parent
    if not (binaries / "dagster-webserver").exists():
        raise ServerError("the web UI of Dagster is not installed; next: pip install 'persona-pipelines[ui]', or make setup")
    for port, name in ((dagster_port, "--dagster-port"), (mlflow_port, "--mlflow-port")):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                raise ServerError(f"port {port} of {HOST} is taken; choose another with {name}") from None
    with open_instance(settings, say) as instance:
        end_orphaned_runs(instance, settings.home)
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    }
    module = ["-m", LOCATION]
    commands = {
        "Dagster": [str(binaries / "dagster-webserver"), *module, "--host", HOST, "--port", str(dagster_port)],
        "Dagster daemon": [str(binaries / "dagster-daemon"), "run", *module],
        "MLflow": [
            str(binaries / "mlflow"),
            "server",
            "--host",
            HOST,
            "--port",
            str(mlflow_port),
            "--workers",
            "1",
            "--backend-store-uri",
            settings.mlflow_tracking_uri,
            "--default-artifact-root",
            settings.mlflow_artifacts.as_uri(),
        ],
    }
    if not settings.mlflow_is_local:
        del commands["MLflow"]
        say(f"MLflow   {os.environ['MLFLOW_TRACKING_URI']} (from MLFLOW_TRACKING_URI)")
    logs = settings.home / LOGS
    logs.mkdir(parents=True, exist_ok=True)
    if settings.mlflow_is_local:
        if mlflow_port != (before := settings.mlflow_port):
            say(
                f"Links to MLflow lead to port {mlflow_port} from now on; those of earlier runs to {before}: --mlflow-port {before} keeps them."
            )
        write_whole(settings.mlflow_port_file, str(mlflow_port))
    processes: dict[str, subprocess.Popen[bytes]] = {}
    previous = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        for name, command in commands.items():
            with (logs / f"{name.lower().replace(' ', '-')}.log").open("wb") as log:
                processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        say("Starting; this takes some seconds ...")
        for name, port in (("Dagster", dagster_port), ("MLflow", mlflow_port)):
            if name in processes:
                _wait_until_ready(name, port, processes, logs)
                say(f"{name:<8} http://{HOST}:{port}")
        addresses = {
            name.lower(): f"http://{HOST}:{port}"
            for name, port in (("Dagster", dagster_port), ("MLflow", mlflow_port))
            if name in processes
        }
        write_whole(settings.home / LOGS / ADDRESSES, json.dumps(addresses))
        say("Ctrl-C stops both.")
        shown, looked = _pieces(settings), time.monotonic()
        while True:
            if time.monotonic() - looked > LOOK_SECONDS:
                looked = time.monotonic()
                if (pieces := _pieces(settings)) != shown and _reloaded(dagster_port):
                    shown = pieces
            for name, process in processes.items():
                if process.poll() is not None:
                    raise ServerError(f"{name} ended with exit code {process.returncode}; its last words are in {logs}")
            time.sleep(1)
    except KeyboardInterrupt:
        say("Stopping.")
        return 0
    finally:
        (settings.home / LOGS / ADDRESSES).unlink(missing_ok=True)
        _stop(processes)
        signal.signal(signal.SIGTERM, previous)


def _pieces(settings: Settings) -> str:
    """The pieces of days that Dagster would show if it loaded the definitions now."""
    return repr(partitions(settings, ended(last_known_day(settings))))


def _reloaded(port: int) -> bool:
    """Let Dagster's web server load the definitions again, as its button does, so that it shows a day that has arrived."""
    query = f'mutation {{ reloadRepositoryLocation(repositoryLocationName: "{LOCATION}") {{ __typename }} }}'
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=READY_SECONDS)) as connection:
        try:
            connection.request("POST", "/graphql", json.dumps({"query": query}), {"Content-Type": "application/json"})
            return b"WorkspaceLocationEntry" in connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False  # busy, or just ending: at the next look


def address_of(settings: Settings, name: str) -> str:
    """Where the web UI ``dagster`` or ``mlflow`` of this home answers now.

    Raises:
        ServerError: it does not answer; the message says what to start.
    """
    if name == "mlflow" and not settings.mlflow_is_local:
        return settings.mlflow_tracking_uri  # whoever set it there keeps it running
    with contextlib.suppress(OSError, ValueError):  # never started, or ended without a word
        found = texts_by_name(settings.home / LOGS / ADDRESSES).get(name, "")
        if found and _answers(int(found.rpartition(":")[2])):
            return found
    raise ServerError(f"the web UI of {TITLES[name]} is not running for {settings.home}; first, in another terminal: persona ui")


def _answers(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def _wait_until_ready(name: str, port: int, processes: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        for other, process in processes.items():
            if process.poll() is not None:
                raise ServerError(f"{other} ended with exit code {process.returncode}; its last words are in {logs}")
        if _answers(port):
            return
        time.sleep(0.3)
    raise ServerError(f"{name} did not answer on port {port} within {READY_SECONDS} seconds; see {logs}")


def _stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    """End the servers with all that they have started: each leads a process group of its own."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for process in processes.values():
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes.values():
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
