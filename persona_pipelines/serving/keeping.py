"""How a running service keeps up: with new tables and champions, and with its own events. Both become a snapshot in a process of its own, which is tried on
what was asked lately and then takes the place of the one before, between two requests.

``python -m persona_pipelines.serving.keeping CONFIGURATION`` is that process: it ends with one line of JSON, the ``snapshot`` or the ``problem``.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import os
import shutil
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from persona_pipelines.errors import ProjectError
from persona_pipelines.serving.building import build, folder_of, kept_snapshots, since, snapshots_of, wanted_versions
from persona_pipelines.serving.catalogue import Kept
from persona_pipelines.serving.compacting import compacted
from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.experiments import EXPERIMENTS, Experiment, running
from persona_pipelines.serving.experiments import load as load_experiments
from persona_pipelines.serving.journal import ended_files, files_of, name_of
from persona_pipelines.serving.snapshot import Snapshot, load
from persona_pipelines.settings import Settings
from persona_pipelines.settings.whole import received_folder, received_items_file
from persona_pipelines.warehouse.connection import Warehouse

_LOG = logging.getLogger(__name__)
LOOK_SECONDS = 5.0
AGAIN_SECONDS = 300.0
"""After what could not be prepared, so long until it is tried again; at once where there are other tables."""
COMPACTED_BYTES = 4 * 2**20
"""So much of the journal is taken in by a start, event by event, before a snapshot is made of it: some 20,000 events."""
AT_ONCE, LISTS_AT_ONCE = 100, 10
"""Events, and lists on trial, between two looks at who waits for an answer."""
SLOWER = 4.0
LEAST_MILLISECONDS = 20.0
"""A snapshot whose lists take more than ``SLOWER`` times as long as before, and longer than this, is refused."""
KEPT = 2
"""Snapshots on disk: the one that is served and the one before."""
PROCESS = ("-m", "persona_pipelines.serving.keeping")


def newest(settings: Settings) -> Snapshot | None:
    """The newest snapshot on disk of what is published now; None where there is none that can be read."""
    if not settings.published_file.exists():
        return None
    wanted = wanted_versions(settings)
    return next((found for found in _readable(kept_snapshots(settings, settings.published_mark)) if found.has(wanted)), None)


def last_good(settings: Settings) -> Snapshot | None:
    """The newest snapshot on disk of whatever was published."""
    return next(_readable(kept_snapshots(settings)), None)


def _readable(folders: Sequence[Path]) -> Iterator[Snapshot]:
    for folder in reversed(folders):
        with contextlib.suppress(ProjectError):
            yield load(folder)


def prepared(settings: Settings, tables: Callable[[], Warehouse]) -> Snapshot:
    """A snapshot of what is published, with the events of the journal's ended files where these are many.

    Raises:
        NothingToServeError, StoredModelError: there is nothing to make one of.
    """
    found = newest(settings)
    if found is None:
        with tables() as store:
            found = build(store, settings)
    ended = ended_files(received_folder(settings.home))
    waiting = [file for file in ended if name_of(file) not in {*found.facts.whole_files, *found.facts.files}]
    if sum(file.stat().st_size for file in waiting) < COMPACTED_BYTES:
        return found
    kept = Kept(received_items_file(settings.home))
    state = Engine(settings, found, b"", kept=kept).state
    for event in since(found, ended, lambda _: None):
        state.apply(event)
    base = found.name.split("+")[0]
    return compacted(state, snapshots_of(settings) / f"{base}+{ended[-1].name.removesuffix('.jsonl')}", [name_of(file) for file in ended])


@dataclass
class Keeper:
    """Looks for something new while the service runs.

    Attributes:
        prepare: gives the folder of a snapshot; made in another process.
        problem: what is wrong with what would be served now; None where all is as it should be.
        again: seconds until the same is tried again.
    """

    engine: Engine
    journal: Path
    prepare: Callable[[], Awaitable[Path]]
    problem: str | None = None
    again: float = AGAIN_SECONDS
    swaps: int = 0
    _tried: tuple[str, float] = field(default=("", 0.0))

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - what is served goes on whatever happens here
                _LOG.exception("a fault while looking for something new to serve")

    async def look(self) -> None:
        """Prepare, try and take what is new; what is refused is told in ``problem``, and the old goes on."""
        try:
            self._take_experiment(running(load_experiments(folder_of(self.engine.settings) / EXPERIMENTS)))
            reason = self._reason()
        except ProjectError as error:  # people keep their variants
            self._found(str(error))
            self._tried = ("", 0.0)  # once this is mended, what else is wrong is found at once
            return
        if reason is None:
            self._found(None)
        if reason is None or (self._tried[0] == reason and time.monotonic() < self._tried[1]):
            return
        self._tried = reason, time.monotonic() + self.again
        try:
            snapshot = await asyncio.to_thread(load, await self.prepare())  # every byte is read: nobody waits for it
            if snapshot.folder != self.engine.snapshot.folder:
                await self._take(snapshot)
            self._found(None)
        except ProjectError as error:
            self._found(str(error))

    def _found(self, problem: str | None) -> None:
        """Remember what is wrong with what is served, and say it where it is something else than before."""
        if problem is not None and problem != self.problem:
            _LOG.error("what is new is not served: %s", problem)
        elif problem is None and self.problem is not None:
            _LOG.info("what was wrong is mended: %s", self.problem)
        self.problem = problem

    def _take_experiment(self, experiment: Experiment | None) -> None:
        before, self.engine.experiment = self.engine.experiment, experiment
        names = [None if one is None else one.name for one in (before, experiment)]
        if names[0] != names[1]:
            _LOG.info("experiment %s goes on" if experiment is not None else "experiment %s has ended", names[1] or names[0])

    def _reason(self) -> str | None:
        """Why there should be another snapshot, in a text that is another one for another reason; None for none.

        Raises:
            RefusedError: there is nothing published any more.
        """
        settings, facts = self.engine.settings, self.engine.snapshot.facts
        try:
            mark = settings.published_mark
        except OSError as error:
            raise RefusedError(
                f"{settings.published_file}: cannot be read ({error.strerror}); what was served before is served; persona run publishes again"
            ) from None
        wanted = wanted_versions(settings)
        if mark != facts.mark or not self.engine.snapshot.has(wanted):
            return " ".join([mark, *wanted])
        known = {*facts.files, *facts.whole_files}
        lately = ended_files(self.journal, self.engine.snapshot.until.date() - dt.timedelta(days=1))
        waiting = [file for file in lately if name_of(file) not in known]
        large = sum(file.stat().st_size for file in waiting) >= COMPACTED_BYTES
        return f"{mark} {name_of(waiting[-1])}" if large else None

    async def _take(self, snapshot: Snapshot) -> None:
        other = Engine(self.engine.settings, snapshot, self.engine.key, self.engine.now, kept=self.engine.kept)
        waiting = self.engine.follow()
        try:
            for number, event in enumerate(since(snapshot, files_of(self.journal), lambda _: None)):
                other.take([event])
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)
            while waiting:
                part = waiting[:AT_ONCE]
                del waiting[:AT_ONCE]
                other.take(part)
                await asyncio.sleep(0)
            objection = await self._objection(other, waiting)
            if objection is not None:
                raise RefusedError(f"{snapshot.name}: {objection}; {self.engine.snapshot.name} is served as before")
            other.take(waiting)
            other.catch_up()
            _LOG.info("%s", _told(self.engine, other))
            self.engine.become(other)
            self.swaps += 1
        finally:
            self.engine.follow_no_more()
        discard(self.engine.settings, snapshot.folder)

    async def _objection(self, other: Engine, waiting: list[Mapping[str, Any]]) -> str | None:
        """What speaks against another engine, by what was asked lately; None for nothing."""
        engine = self.engine
        times: tuple[list[float], list[float]] = ([], [])
        same = other.snapshot.facts.mark == engine.snapshot.facts.mark
        for number, asked in enumerate(list(engine.asked)):
            if number % LISTS_AT_ONCE == LISTS_AT_ONCE - 1:
                await asyncio.sleep(0)
            other.take(waiting)
            waiting.clear()
            lists = []
            for one, taken in zip((engine, other), times, strict=True):
                began = time.perf_counter()
                lists.append([entry["item_id"] for entry in one.answer(asked)["items"]])
                taken.append(time.perf_counter() - began)
            if lists[0] and not lists[1]:
                return "an empty list where there was one"
            if same and lists[0] != lists[1]:
                return "another list of the same tables, model and events"
        if times[0]:
            before, now = (statistics.median(taken) * 1000 for taken in times)
            if now > max(SLOWER * before, LEAST_MILLISECONDS):
                return f"a list takes {now:.0f} ms, and took {before:.0f} ms"
        return None


def _told(before: Engine, now: Engine) -> str:
    """What is served from now on, and what of it is new."""
    scores, facts = now.scores, now.snapshot.facts
    if facts.mark == before.snapshot.facts.mark and now.snapshot.has(before.snapshot.scores):
        return f"events are in a snapshot: {now.snapshot.name}; a start takes in what comes after it"
    was = before.scores.version, before.snapshot.facts.until
    new = "published anew" if was == (scores.version, facts.until) else f"before: version {was[0]}, {was[1]}"
    return f"served from now on: lists of {scores.model} version {scores.version}, tables until {facts.until} ({new})"


class RefusedError(ProjectError):
    """A snapshot that is not served; the message says why."""


def discard(settings: Settings, served: Path) -> None:
    """Remove snapshots but that which is served and the ``KEPT`` newest."""
    others = [folder for folder in kept_snapshots(settings) if folder != served]
    for folder in others[: max(len(others) - (KEPT - 1), 0)]:
        shutil.rmtree(folder, ignore_errors=True)


async def prepared_by_another(engine: Engine) -> Path:
    """The folder of the newest snapshot on disk: of several processes of a service one prepares, and the others take up what it has made."""
    found = await asyncio.to_thread(newest, engine.settings)
    return engine.snapshot.folder if found is None else found.folder


async def prepared_elsewhere(settings: Settings) -> Path:
    """The folder of ``prepared``, made by a process of its own, so that nobody waits for it.

    Raises:
        RefusedError: it could not be made.
    """
    environment = {**os.environ, "PERSONA_HOME": str(settings.home)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *PROCESS, str(settings.file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    try:
        told = orjson.loads(out.splitlines()[-1])
    except (IndexError, orjson.JSONDecodeError):
        raise RefusedError(f"a snapshot could not be prepared: {err.decode(errors='replace').strip()[-300:] or 'no answer'}") from None
    if "problem" in told:
        raise RefusedError(told["problem"])
    return Path(told["snapshot"])


def main() -> None:
    from persona_pipelines.settings import load_settings

    os.nice(10)  # whoever asks for a list comes first
    try:
        settings = load_settings(sys.argv[1])
        told = {"snapshot": str(prepared(settings, lambda: Warehouse(settings.published_file, read_only=True)).folder)}
    except ProjectError as error:
        told = {"problem": str(error)}
    sys.stdout.buffer.write(orjson.dumps(told) + b"\n")


if __name__ == "__main__":
    main()
