"""A small shop whose snapshot is made by hand: 30 items in three categories, 12 users, two devices."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import scipy.sparse as sp
import uvicorn
from fastapi import FastAPI

from persona_pipelines.features.interactions import InteractionRules
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.recommendations.models.content_to_taste import ItemVectors
from persona_pipelines.serving.building import snapshots_of
from persona_pipelines.serving.catalogue import Catalogue
from persona_pipelines.serving.connections import Connection
from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.journal import Journal
from persona_pipelines.serving.service import Service, app_of
from persona_pipelines.serving.snapshot import NO_WORD, Facts, Scores, Snapshot, as_rows, load
from persona_pipelines.serving.state import LiveState
from persona_pipelines.settings import Settings, load_settings
from persona_pipelines.settings.recommendations import RulesSettings

KEY = bytes(range(32))
NOW = dt.datetime(2025, 10, 1, 12)
UNTIL = dt.datetime(2025, 10, 1)
ITEMS, USERS = 30, 12
CLICKS = {
    "name": "clicks",
    "kind": "events",
    "path": "clicks.csv",
    "format": "csv",
    "fields": {"timestamp": "at", "user_id": "u", "event_type": "t"},
}
HISTORIES = {user: [(user * 5 + step) % ITEMS for step in range(user % 4)] for user in range(USERS)}
"""Newest first; every fourth user has none."""
GROUPS = {"campaign=spring": [21, 7, 22, 23, -1], "country=NL": [24, 25, 5, 26, 27]}
"""What people turn to who came the same way."""


def user_name(number: int) -> str:
    return pseudonym(f"u{number}", KEY)


def device_name(name: str) -> str:
    return pseudonym("device:" + name, KEY)


def weights() -> sp.csr_matrix:
    """Each item leads to six others, by weights that all differ."""
    generator = np.random.default_rng(1)
    dense = np.zeros((ITEMS, ITEMS), dtype=np.float32)
    for item in range(ITEMS):
        dense[item, generator.choice(np.delete(np.arange(ITEMS), item), 6, replace=False)] = generator.random(6)
    return sp.csr_matrix(dense)


def snapshot(folder: Path, **changes: Any) -> Snapshot:
    """The shop's snapshot, stored and loaded; ``nightly`` gives every user a list of the last run."""
    order = np.argsort([user_name(number) for number in range(USERS)])
    lengths = [len(HISTORIES[user]) for user in order]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    history = np.array([item for user in order for item in HISTORIES[user]], dtype=np.int32)
    moment = int(UNTIL.replace(tzinfo=dt.UTC).timestamp() * 1e6)
    moments = np.array([moment - (step + 1) * 60_000_000 for user in order for step in range(len(HISTORIES[user]))], dtype=np.int64)
    neighbours, values = as_rows(weights())
    nightly = changes.pop("nightly", 0)
    kinds = np.full((USERS, nightly), changes.pop("nightly_kind", 0), dtype=np.int8)
    generator = np.random.default_rng(2)
    lists = np.stack([generator.permutation(ITEMS)[:nightly] for _ in range(USERS)]).astype(np.int32)
    list_scores = np.tile(np.linspace(1, 0.5, nightly, dtype=np.float32), (USERS, 1))
    documents = [orjson.dumps({"user": int(user)}) if user % 2 else b"" for user in order]
    pairs = [sorted(zip(HISTORIES[user], range(len(HISTORIES[user])), strict=True)) for user in order]
    arrays: dict[str, Any] = {
        "blocked": np.arange(ITEMS) == 7,
        "in_stock": np.where(np.arange(ITEMS) % 5 == 0, 0, 1).astype(np.int8),
        "repurchasable": np.arange(ITEMS) == 5,
        "is_new": np.arange(ITEMS) >= 28,
        "vectors": np.eye(3, dtype=np.float32)[np.arange(ITEMS) % 3],
        "people": np.array([user_name(number) for number in order], dtype="S32"),
        "of_devices": np.zeros(USERS, dtype=bool),
        "came_by": np.full(USERS, -1, dtype=np.int32),
        "word_time": np.full(USERS, NO_WORD, dtype=np.int64),
        "word": np.zeros(USERS, dtype=bool),
        "segment": np.full(USERS, 1, dtype=np.int32),
        "unmet_item": np.array([], dtype=np.int32),
        "unmet_likeness": np.zeros((ITEMS, 0), dtype=np.float32),
        "group_item": np.array(list(GROUPS.values()), dtype=np.int32),
        "consent": order != 11,
        "acted": np.zeros(USERS, dtype=bool),
        "device": np.array([device_name("tablet")], dtype="S32"),
        "device_user": np.array([int(np.flatnonzero(order == 3)[0])]),
        "device_left": np.array([False]),
        "device_start": np.array([0, 1]),
        "device_member": np.array([int(np.flatnonzero(order == 3)[0])], dtype=np.int32),
        **changes.pop("arrays", {}),
    }
    scores: dict[str, Any] = {"model": "shop", "version": "3", "weights_of": "live_blend" if nightly else "shop", "decay": 0.8}
    scores |= {"live_share": 0.5, "live_share_reason": "ahead of both alike"}
    scores |= {name: changes.pop(name) for name in [*scores] if name in changes}
    facts = {
        "version": scores["version"],
        "mark": "m1",
        "made": UNTIL.isoformat(),
        "until": UNTIL.isoformat(),
        "dated": True,
        "rating_sum": 300.0,
        "ratings": 100,
        "consent_when_unknown": True,
        "segments": [{"segment_id": 1, "segment_name": "Everybody", "users": USERS}],
        "missing": [],
        "files": [],
        "whole_files": [],
        "events": 0,
        "content_scale": 2.0,
        "arrivals": [],
        **changes,
    }
    Snapshot(
        folder=folder,
        facts=Facts(**facts),
        scores={
            scores["version"]: Scores(
                **scores, neighbours=neighbours, weights=values, nightly_item=lists, nightly_score=list_scores, nightly_kind=kinds
            ),
        },
        items=[f"i{number}" for number in range(ITEMS)],
        titles=[f"Thing {number}" for number in range(ITEMS)],
        categories=[("red", "green", "")[number % 3] for number in range(ITEMS)],
        content=ItemVectors(
            ("green", "red", "thing"), np.ones(3), ("category=green", "category=red"), {"price": np.array([0.0, 15.0, 30.0])}
        ),
        content_start=np.arange(ITEMS + 1, dtype=np.int64),
        content_column=np.array([(1, 0, 2)[number % 3] for number in range(ITEMS)], dtype=np.int32),
        content_value=np.ones(ITEMS, dtype=np.float32),
        content_inverse=np.eye(8, dtype=np.float32) / 4,
        groups=list(GROUPS),
        popularity=np.arange(ITEMS, dtype=float)[::-1].copy(),
        shown=np.arange(ITEMS, dtype=float)[::-1].copy(),
        price=np.where(np.arange(ITEMS) % 4 == 3, np.nan, np.arange(ITEMS)),
        history_start=starts,
        history_item=history,
        history_time=moments,
        pair_start=starts,
        pair_item=np.array([item for some in pairs for item, _ in some], dtype=np.int32),
        pair_time=np.array([moment - (step + 1) * 60_000_000 for some in pairs for _, step in some], dtype=np.int64),
        pair_good=np.ones(len(history), dtype=bool),
        pair_rating_sum=np.array([]),
        pair_ratings=np.array([], dtype=np.int32),
        said_start=np.zeros(USERS + 1, dtype=np.int64),
        said_item=np.array([], dtype=np.int32),
        similar_item=np.stack([(np.arange(ITEMS) + 1) % ITEMS, np.full(ITEMS, -1)], axis=1).astype(np.int32),
        similar_value=np.tile(np.array([0.5, 0], dtype=np.float32), (ITEMS, 1)),
        together_item=np.full((ITEMS, 1), -1, dtype=np.int32),
        together_value=np.zeros((ITEMS, 1), dtype=np.float32),
        profile_start=np.concatenate([[0], np.cumsum([len(text) for text in documents])]).astype(np.int64),
        profile=np.frombuffer(b"".join(documents), dtype=np.uint8),
        ids=np.array([], dtype=np.uint64),
        **arrays,
    ).save()
    return load(folder)


def live_state(found: Snapshot, rules: InteractionRules, most_users: int) -> LiveState:
    """A state over a snapshot, without items that came since."""
    return LiveState(Catalogue(found, RulesSettings()), rules, most_users)


@pytest.fixture
def engine_of(configure: Callable[..., Settings], tmp_path: Path) -> Callable[..., Engine]:
    """An engine over the shop; ``recommendations`` and ``serving`` are settings, everything else changes the snapshot."""
    made = iter(range(1000))

    def engine(
        now: dt.datetime = NOW, recommendations: dict[str, Any] | None = None, serving: dict[str, Any] | None = None, **changes: Any
    ) -> Engine:
        settings = configure(CLICKS, recommendations=recommendations or {}, serving={"exploration": 0, **(serving or {})})
        return Engine(settings, snapshot(tmp_path / f"snapshot-{next(made)}", **changes), KEY, lambda: now)

    return engine


class Answer:
    """What the service has answered."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


async def ask(
    app: Service | FastAPI,
    method: str,
    path: str,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    chunks: list[bytes] | None = None,
    delay: float = 0,
) -> Answer:
    """One request, without a network between."""
    address, _, query = path.partition("?")
    given = {"host": "127.0.0.1", **({"content-type": "application/json"} if method == "POST" else {}), **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": address,
        "raw_path": address.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": ("203.0.113.9", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }
    parts, sent = list(chunks if chunks is not None else [body]), []

    async def receive() -> Any:
        await asyncio.sleep(delay)
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, content)


def told(app: Service | FastAPI, *requests: tuple[Any, ...], **options: Any) -> list[Answer]:
    """The answers to some requests, one after the other, as of a running service."""

    async def run() -> list[Answer]:
        async with (app if isinstance(app, FastAPI) else app.app).router.lifespan_context(app):
            return [await ask(app, *request, **options) for request in requests]

    return asyncio.run(run())


class Served:
    """A service that answers at ``address``.

    Attributes:
        engine: what it knows.
    """

    def __init__(self, app: Service, engine: Engine) -> None:
        self.engine = engine
        self._server = uvicorn.Server(uvicorn.Config(app, http=Connection, ws="none", log_level="warning", access_log=False))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listening]}, daemon=True)
        self.port = self._listening.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=20)
        self._listening.close()


@pytest.fixture
def served(engine_of: Callable[..., Engine], tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Services over the shop on ports of their own, as of now; ``token`` as beyond this machine, everything else is as for ``engine_of``."""
    running: list[Served] = []

    def start(token: str | None = None, **options: Any) -> Served:
        engine = engine_of(now=dt.datetime.now(dt.UTC).replace(tzinfo=None), **options)
        journal = Journal(tmp_path / f"served-{len(running)}", lambda: NOW.date())
        journals.append(journal)
        running.append(Served(app_of(engine, journal, 0, token, only_local=token is None), engine))
        return running[-1]

    journals: list[Journal] = []
    yield start
    for service in running:
        service.stop()
    for journal in journals:
        journal.close()


@pytest.fixture
def live_home(configure: Callable[..., Settings], tmp_path: Path) -> Settings:
    """Settings of a home, in a file, with a key, something published, and the shop's snapshot of it: what a process needs to serve."""
    configure(CLICKS, serving={"exploration": 0})
    settings = load_settings(tmp_path / "persona.yaml")
    settings.home.mkdir(exist_ok=True)
    settings.key_file.write_text(KEY.hex())
    settings.key_file.chmod(0o600)
    settings.published_file.parent.mkdir(exist_ok=True)
    settings.published_file.write_text("tables")
    snapshot(snapshots_of(settings) / f"2025-09-30-v3-{settings.published_mark}", mark=settings.published_mark)
    return settings
