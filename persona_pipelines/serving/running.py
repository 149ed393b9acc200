"""The service as a process: what it knows is loaded, what was accepted before is taken in, then it answers."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import gc
import ipaddress
import logging
import multiprocessing
import os
import resource
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_any

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import write_new
from persona_pipelines.home.opening import claim_home
from persona_pipelines.privacy.pseudonyms import load_key
from persona_pipelines.serving.building import build, folder_of, kept_snapshots, since
from persona_pipelines.serving.catalogue import Kept
from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.experiments import EXPERIMENTS, load, running
from persona_pipelines.serving.following import Follower
from persona_pipelines.serving.journal import Break, Journal
from persona_pipelines.serving.keeping import AGAIN_SECONDS, Keeper, last_good, newest, prepared_by_another, prepared_elsewhere
from persona_pipelines.serving.shown import LISTS, ListLog
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.settings.whole import received_folder, received_items_file
from persona_pipelines.warehouse.connection import Warehouse

TOKEN = "token"  # noqa: S105 - the name of the file
OPEN_CONNECTIONS = 16_384
SWITCH_SECONDS = 0.0005
"""So soon the thread that keeps events goes on when the disk is done; by Python's own 5 ms everybody who waits for an event would wait longer."""
AGAIN_AFTER_SECONDS = 1.0
"""Between the end of a worker and the begin of another."""
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


def started(settings: Settings, tables: Callable[[], Warehouse], say: Callable[[str], None], shared: bool = False) -> Started:
    """What a service begins with: a snapshot of what is published, else the last one that could be made.

    Args:
        tables: opens the published copy, where there is no snapshot of it; it is closed before anybody is answered.
        shared: whether the journal is shared with other processes of the service.
    Raises:
        JournalHeldError: another process serves this home.
        NothingToServeError: there is no recommender yet.
        HomeOfAnotherConfigurationError: the home is that of another configuration.
    """
    if not kept_snapshots(settings):
        tables().close()  # says what is missing before anything else is asked for
    claim_home(settings)
    key = load_key(settings.key_file)
    journal = Journal(received_folder(settings.home), _today, shared=shared)
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
        kept = Kept(received_items_file(settings.home))
        engine = Engine(settings, snapshot, key, kept=kept, experiment=running(load(folder_of(settings) / EXPERIMENTS)))
        breaks: list[Break] = []
        engine.take(since(snapshot, journal.before, breaks.append))
    except BaseException:
        journal.close()
        raise
    told = [found for found in breaks if not found.cut_off or found.file in journal.left]
    for found in told[:10]:
        wrong = "cut off as the service was ended, before anybody was told that it was accepted" if found.cut_off else "damaged"
        say(f"{settings.displayed(found.file)}, line {found.line}: {wrong}; it is left out, all others are used")
    if len(told) > 10:
        say(f"and {len(told) - 10:,} more damaged lines")
    return Started(engine, journal, len(breaks), problem)


def serve(settings: Settings, tables: Callable[[], Warehouse], host: str, port: int, say: Callable[[str], None], workers: int = 1) -> None:
    """Answer until an interrupt comes.

    Args:
        workers: processes that share the address, the journal and the snapshot.
    Raises:
        ServiceError: the port is taken, or the configuration does not go with several workers.
        StreamingError: the configuration names a stream, and what follows streams is not installed.
    """
    from persona_pipelines.serving.streams import require_installed

    require_installed(settings)
    if workers > 1 and settings.serving.publish is not None:
        raise ServiceError(
            "serving.publish: found a stream; expected none with several workers, which would publish everything several times"
        )
    _allow_connections()
    local = is_local(host)
    with _listening(host, port) as listening:
        found = started(settings, tables, say)
        journal, token = found.journal, None if local else token_of(settings)
        try:
            scores, facts = found.engine.scores, found.engine.snapshot.facts
            say(
                f"Lists of {scores.model} version {scores.version}, tables until {facts.until}, {found.engine.state.events:,} events since."
            )
            say(f"http://{host}:{listening.getsockname()[1]}/ is a page to try it, /docs describes it; Ctrl-C stops it.")
            if not local:
                say("Requests need the token that persona serve token shows.")
            if workers == 1:
                _answer(settings, found, listening, token, None)
            else:
                del found  # the memory is for the workers
                _supervise(settings, listening, token, workers, say)
        finally:
            journal.close()


def _answer(settings: Settings, found: Started, listening: socket.socket, token: str | None, worker: int | None) -> None:
    """Answer with what was started, as the only process or as one of several."""
    import uvicorn

    from persona_pipelines.serving.connections import Connection
    from persona_pipelines.serving.service import app_of

    engine, journal = found.engine, found.journal
    prepare = (lambda: prepared_elsewhere(settings)) if not worker else (lambda: prepared_by_another(engine))
    keeper = Keeper(engine, journal.folder, prepare, found.problem, again=AGAIN_SECONDS if not worker else 0.0)
    log = ListLog(folder_of(settings) / LISTS, _today, shared=worker is not None)
    engine.shown = log.add
    follower = Follower(engine, journal, _today) if worker is not None else None
    if follower is not None:
        follower.look()
    app = app_of(engine, journal, found.breaks, token, token is None, keeper, lambda: log.dropped, follower, worker)
    settle()
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)  # uvicorn gives the signal back when it is done: files are ended then, and lists written
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
        with _told_in_lines(worker):
            uvicorn.Server(options).run(sockets=[listening])
    finally:
        log.close()
        gc.unfreeze()  # else what is left to the end of the process is told there as lost


@contextlib.contextmanager
def _told_in_lines(worker: int | None) -> Iterator[None]:
    """What the service says while it runs goes to standard error, a line each."""
    log, lines = logging.getLogger("persona_pipelines"), logging.StreamHandler()
    lines.setFormatter(logging.Formatter(f"%(asctime)s {'' if worker is None else f'worker {worker}: '}%(message)s"))
    log.addHandler(lines)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(lines)


def work(file: str, number: int, listening: socket.socket, token: str | None) -> None:
    """One of several processes.

    Args:
        file: the configuration.
        number: from 0; the first one follows streams and prepares snapshots.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # uvicorn sets its own; until then the one that began this process ends it
    _allow_connections()
    settings = load_settings(file)
    if number:
        alone = settings.serving.model_copy(update={"streams": []})
        settings = settings.model_copy(update={"serving": alone})
    found = started(settings, lambda: Warehouse(settings.published_file, read_only=True), lambda text: None, shared=True)
    try:
        _answer(settings, found, listening, token, number)
    finally:
        found.journal.close()


def _supervise(settings: Settings, listening: socket.socket, token: str | None, workers: int, say: Callable[[str], None]) -> None:
    """Run workers until an interrupt comes; one that ends by itself is begun again."""
    os.environ["PERSONA_HOME"] = str(settings.home)
    context = multiprocessing.get_context("spawn")

    def begun(number: int) -> multiprocessing.process.BaseProcess:
        process = context.Process(target=work, args=(str(settings.file), number, listening, token), name=f"persona serve {number}")
        process.start()
        return process

    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts us in the background has it ignored
    processes = [begun(number) for number in range(workers)]
    try:
        while True:
            wait_for_any([process.sentinel for process in processes])
            for number, process in enumerate(processes):
                if not process.is_alive():
                    say(f"worker {number} has ended ({process.exitcode}); another one is begun")
                    time.sleep(AGAIN_AFTER_SECONDS)
                    processes[number] = begun(number)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _today() -> dt.date:
    return dt.datetime.now(dt.UTC).date()


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
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise ServiceError(
                f"--host: found {host!r} ({error.strerror}); expected an address of this machine, or 0.0.0.0 for all of them"
            ) from None
        raise ServiceError(f"port {port} of {host}: {error.strerror}; choose another with --port") from None
    return listening


def _allow_connections() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_CONNECTIONS if hard == resource.RLIM_INFINITY else min(OPEN_CONNECTIONS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
