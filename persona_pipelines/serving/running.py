"""The service as a process: what it knows is loaded, what was accepted before is taken in, then it answers."""

from __future__ import annotations

import datetime as dt
import ipaddress
import resource
import secrets
import socket
from collections.abc import Callable

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import write_new
from persona_pipelines.privacy.pseudonyms import load_key
from persona_pipelines.serving.building import build, folder_of
from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.journal import Break, Journal, events_of
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse.connection import Warehouse

TOKEN = "token"  # noqa: S105 - the name of the file
OPEN_CONNECTIONS = 16_384
BACKLOG = 4_096
"""Connections that wait until they are taken; from the moment on at which the address is told."""


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


def started(settings: Settings, store: Warehouse, say: Callable[[str], None]) -> tuple[Engine, Journal, int]:
    """The engine with every accepted event taken in, the journal, held by this process, and how many damaged lines it has.

    Args:
        store: the published copy; it is closed before anybody is answered.
    Raises:
        JournalHeldError: another process serves this home.
        NothingToServeError: there is no recommender yet.
    """
    key = load_key(settings.key_file)
    journal = Journal(folder_of(settings) / "events", lambda: dt.datetime.now(dt.UTC).date())
    try:
        with store:
            snapshot = build(store, settings, say)
        engine = Engine(settings, snapshot, key)
        breaks: list[Break] = []
        engine.take(events_of(journal.before, breaks.append))
    except BaseException:
        journal.close()
        raise
    for found in breaks[:10]:
        say(f"{settings.displayed(found.file)}, line {found.line}: damaged; it is left out, all others are used")
    if len(breaks) > 10:
        say(f"and {len(breaks) - 10:,} more damaged lines")
    return engine, journal, len(breaks)


def serve(settings: Settings, store: Warehouse, host: str, port: int, say: Callable[[str], None]) -> None:
    """Answer until an interrupt comes.

    Raises:
        ServiceError: the port is taken.
        StreamingError: the configuration names a stream, and what follows streams is not installed.
    """
    import uvicorn
    from threadpoolctl import threadpool_limits

    from persona_pipelines.serving.service import app_of
    from persona_pipelines.serving.streams import require_installed

    require_installed(settings)
    threadpool_limits(1)  # a thread a core for every small product would cost more than the product
    _allow_connections()
    local = is_local(host)
    with _listening(host, port) as listening:
        engine, journal, breaks = started(settings, store, say)
        token = None if local else token_of(settings)
        app = app_of(engine, journal, breaks, token, local)
        facts = engine.snapshot.facts
        say(f"Lists of {facts.model} version {facts.version}, tables until {facts.until}, {engine.state.events:,} events since.")
        say(f"http://{host}:{listening.getsockname()[1]}/openapi.json describes the service; Ctrl-C stops it.")
        if not local:
            say("Requests need the token that persona serve token shows.")
        options = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=60, backlog=BACKLOG, server_header=False)
        try:
            uvicorn.Server(options).run(sockets=[listening])
        finally:
            journal.close()


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
