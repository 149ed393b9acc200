"""The service as a process: what it knows is loaded, what was accepted before is taken in, then it answers."""

from __future__ import annotations

import datetime as dt
import gc
import ipaddress
import resource
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import write_new
from persona_pipelines.privacy.pseudonyms import load_key
from persona_pipelines.serving.building import build, folder_of, since
from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.experiments import EXPERIMENTS, load, running
from persona_pipelines.serving.journal import Break, Journal
from persona_pipelines.serving.keeping import Keeper, last_good, newest, prepared_elsewhere
from persona_pipelines.serving.shown import LISTS, ListLog
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.connection import Warehouse

TOKEN = "token"  # noqa: S105 - the name of the file
OPEN_CONNECTIONS = 16_384
SWITCH_SECONDS = 0.0005
"""So soon the thread that keeps events goes on when the disk is done; by Python's own 5 ms everybody who waits for an event would wait longer."""
BACKLOG = 4_096
"""Connections that wait until they are taken; from the moment on at which the address is told."""


STOP_SECONDS = 5
"""So long requests at hand are waited for at the end: somebody who does not read an answer holds nobody up."""


class ServiceError(ProjectError):
    """The service cannot start; the message says why."""


def token_of(settings: Settings) -> str:
    """The token of the service; made with mode 600 where there is none."""
    file = folder_of(settings) / TOKEN
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_new(file, secrets.token_urlsafe(32) + "\n", mode=0o600)
    return file.read_text(encoding="ascii").strip()


def is_local(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass
class Started:
    """An engine with every accepted event taken in, the journal, held by this process, how many damaged lines it has, and what is wrong with what is served."""

    engine: Engine
    journal: Journal
    breaks: int
    problem: str | None


def started(settings: Settings, tables: Callable[[], Warehouse], say: Callable[[str], None]) -> Started:
    """What a service begins with: a snapshot of what is published, else the last one that could be made.

    Args:
        tables: opens the published copy, where there is no snapshot of it; it is closed before anybody is answered.
    Raises:
        JournalHeldError: another process serves this home.
        NothingToServeError: there is no recommender yet.
    """
    key = load_key(settings.key_file)
    journal = Journal(folder_of(settings) / "events", lambda: dt.datetime.now(dt.UTC).date())
    problem = None
    try:
        snapshot = newest(settings)
        if snapshot is None:
            try:
                with tables() as store:
                    snapshot = build(store, settings, say)
            except ProjectError as error:
                snapshot, problem = last_good(settings), str(error)
                if snapshot is None:
                    raise
                say(f"{error}; what was served before is served: tables until {snapshot.facts.until}")
        engine = Engine(settings, snapshot, key, experiment=running(load(folder_of(settings) / EXPERIMENTS)))
        breaks: list[Break] = []
        engine.take(since(snapshot, journal.before, breaks.append))
    except BaseException:
        journal.close()
        raise
    for found in breaks[:10]:
        say(f"{settings.displayed(found.file)}, line {found.line}: damaged; it is left out, all others are used")
    if len(breaks) > 10:
        say(f"and {len(breaks) - 10:,} more damaged lines")
    return Started(engine, journal, len(breaks), problem)


def serve(settings: Settings, tables: Callable[[], Warehouse], host: str, port: int, say: Callable[[str], None]) -> None:
    """Answer until an interrupt comes.

    Raises:
        ServiceError: the port is taken.
        StreamingError: the configuration names a stream, and what follows streams is not installed.
    """
    import uvicorn

    from persona_pipelines.serving.connections import Connection
    from persona_pipelines.serving.service import app_of
    from persona_pipelines.serving.streams import require_installed

    require_installed(settings)
    _allow_connections()
    local = is_local(host)
    with _listening(host, port) as listening:
        found = started(settings, tables, say)
        engine, journal = found.engine, found.journal
        token = None if local else token_of(settings)
        keeper = Keeper(engine, journal.folder, lambda: prepared_elsewhere(settings), found.problem)
        log = ListLog(folder_of(settings) / LISTS, lambda: dt.datetime.now(dt.UTC).date())
        engine.shown = log.add
        app = app_of(engine, journal, found.breaks, token, local, keeper, lambda: log.dropped)
        scores, facts = engine.scores, engine.snapshot.facts
        say(f"Lists of {scores.model} version {scores.version}, tables until {facts.until}, {engine.state.events:,} events since.")
        say(f"http://{host}:{listening.getsockname()[1]}/ is a page to try it, /docs describes it; Ctrl-C stops it.")
        if not local:
            say("Requests need the token that persona serve token shows.")
        settle()
        options = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_level="warning",
            access_log=False,
            timeout_keep_alive=60,
            timeout_graceful_shutdown=STOP_SECONDS,
            backlog=BACKLOG,
            server_header=False,
        )
        try:
            uvicorn.Server(options).run(sockets=[listening])
        finally:
            log.close()
            journal.close()
            gc.unfreeze()  # else what is left to the end of the process is told there as lost


def settle() -> None:
    """What makes a process answer evenly, called when all that lasts is loaded."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)  # a thread a core for every small product would cost more than the product
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.collect()
    gc.freeze()  # what lasts is not looked through again and again


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise ServiceError(f"port {port} of {host}: {error.strerror}; choose another with --port") from None
    return listening


def _allow_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_CONNECTIONS if hard == resource.RLIM_INFINITY else min(OPEN_CONNECTIONS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
