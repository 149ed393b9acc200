"""A client of ``persona serve``: lists to show, and events that are sent in the background, survive a restart and count once.

The standard library is all that it needs, so that the file can be taken along alone.

    from persona_pipelines.client import Client

    with Client("http://127.0.0.1:8000", consent=True) as client:
        client.track("item_view", user_id="u000003", item_id="i00012")
        items = client.recommendations("u000003", k=5)["items"]
"""

from __future__ import annotations

import atexit
import datetime as dt
import http.client
import json
import logging
import random
import sqlite3
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

_LOG = logging.getLogger(__name__)
PERSONALISATION = "personalisation"
LARGEST_BATCH = 200
"""Events of one request."""
LONGEST_WAIT = 60.0
"""Seconds between two attempts, at most."""
SPOILT = frozenset({400, 413, 422})
"""Statuses for which one event, or their number, is the cause: the other ones of the request can still be accepted."""


class ClientError(Exception):
    """The service said no, or did not answer.

    Attributes:
        status: of the answer; 0 where none came.
        body: the answer: title, detail, and ``errors`` with ``field``, ``found`` and ``expected``; None where there is none.
        retry_after: seconds after which the service wants to be asked again; 0 where it does not say.
    """

    def __init__(self, message: str, status: int = 0, body: dict[str, Any] | None = None, retry_after: float = 0) -> None:
        super().__init__(message)
        self.status, self.body, self.retry_after = status, body, retry_after

    @property
    def passes(self) -> bool:
        """Whether the same request may be answered later."""
        return self.status in (0, 408, 429) or self.status >= 500


def refused_to_log(event: dict[str, Any], error: ClientError) -> None:
    """What happens with an event that the service refuses, where nothing else is said: a line in the log, without what was found, which may be an id."""
    wrong = "; ".join(f"{entry['field']}: expected {entry['expected']}" for entry in (error.body or {}).get("errors", ()))
    _LOG.warning("an event %s was refused, status %s: %s", event["event_type"], error.status, wrong)


class Client:
    """Asks a service and tells it what happens; safe to use from several threads. One that is made before a fork is of no use after it.

    Args:
        address: where the service is, such as ``http://127.0.0.1:8000``.
        consent: whether people agreed: for all that this client serves, or a function that is asked by the id of a person or device. Without consent
            nothing is sent and nothing is stored, and lists are asked without an id.
        announce: whether the service is told of each person and device that they agreed, once, before anything else (``personalisation`` with ``value``
            1); False where it knows from your customer list.
        token: that of ``persona serve token``, where the service listens beyond its machine.
        queue: a file in which events wait until they are acknowledged, those of an earlier process among them, and which knows of whom it was told that
            they agree; several clients may share it. Without one both are in memory.
        refused: called in the background with each event that the service does not take, and why; it is not sent again.
        seconds: so long is waited for an answer.
        interval: seconds in which events are gathered for one request.
        first_wait: seconds before the second attempt, at most; each further one may wait twice as long, up to a minute.
        most: events that wait; beyond them the oldest is dropped, and counted in ``dropped``. Of so many people and devices it is known that they were
            announced; those of before are announced anew.

    Raises:
        ValueError: the address is none.
        ClientError: the file of ``queue`` cannot be used.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        *,
        consent: bool | Callable[[str], bool],
        announce: bool = True,
        token: str | None = None,
        queue: Path | str | None = None,
        refused: Callable[[dict[str, Any], ClientError], None] = refused_to_log,
        seconds: float = 2.0,
        interval: float = 0.5,
        first_wait: float = 0.5,
        most: int = 100_000,
    ) -> None:
        if not address.startswith(("http://", "https://")):
            raise ValueError(f"address: found {address!r}; expected one such as http://127.0.0.1:8000")
        self.dropped = 0
        self._address, self._consent, self._announce, self._token = address.rstrip("/"), consent, announce, token
        self._refused, self._seconds, self._interval, self._first_wait = refused, seconds, interval, first_wait
        self._withdrawn: set[str] = set()
        self._queue = _Queue(queue, most)
        self._batch, self._failures = LARGEST_BATCH, 0
        self._awake, self._closed = threading.Event(), threading.Event()
        self._sending = threading.RLock()
        self._thread = threading.Thread(target=self._run, name="persona-client", daemon=True)
        atexit.register(self.close)
        if self.waiting:
            self._awake.set()
        self._thread.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """How many events wait to be sent."""
        return len(self._queue)

    def recommendations(
        self,
        user: str | None = None,
        *,
        device: str | None = None,
        k: int = 10,
        session: Sequence[str] = (),
        exclude: Sequence[str] = (),
        categories: Sequence[str] = (),
        not_categories: Sequence[str] = (),
        price_below: float | None = None,
        in_stock: bool = False,
        slot: str | None = None,
        campaign: str | None = None,
        country: str | None = None,
        referrer: str | None = None,
    ) -> dict[str, Any]:
        """The list for a person, a device, or a session, as the service answers it: ``items`` with ``item_id``, ``title``, ``reason`` and so on.

        The first one of a person waits until the service knows that they agreed, ``seconds`` at most; where it cannot be told, the list comes all the same.

        Args:
            user, device: ids as in the logs; left out where there is no consent.
            k: items in the list.
            session: ids of items that are looked at now, the newest first; they are not stored.
            exclude: ids of items that are not wanted.
            categories, not_categories: only these, none of these.
            price_below: in the currency of the catalogue.
            in_stock: only what is known to be in stock.
            slot: where the list is shown; it comes back in the answer.
            campaign, country, referrer: how the person came, of somebody of whom nothing else is known.

        Raises:
            ClientError: no list came within ``seconds``, or the request is wrong. It is not asked again: show what is shown to everybody.
        """
        user = user if user is not None and self.agreed(user) else None
        device = device if device is not None and self.agreed(device) else None
        if not self._closed.is_set():
            self._make_known(user, device)
        wishes = {
            "user": user,
            "device": device,
            "k": k,
            "session": list(session),
            "exclude": list(exclude),
            "categories": list(categories),
            "not_categories": list(not_categories),
            "price_below": price_below,
            "in_stock": in_stock,
            "slot": slot,
            "campaign": campaign,
            "country": country,
            "referrer": referrer,
        }
        return self._post("/v1/recommendations", wishes)

    def track(
        self, event_type: str, *, user_id: str | None = None, anonymous_id: str | None = None, item_id: str | None = None, **fields: Any
    ) -> str | None:
        """Tell what happened now; it is sent in the background.

        Args:
            user_id, anonymous_id: ids of the person and the device, as in the logs, one at least.
            fields: others of ``POST /v1/events``: value, quantity, currency, dwell_ms, list_id and so on.

        Returns:
            The id of the event; None where there is no consent.

        Raises:
            ValueError: nobody is named, or the client is closed.
            TypeError: a field cannot be written as JSON.
        """
        if not all(self.agreed(name) for name in _ids(user_id, anonymous_id)):
            return None
        if event_type != PERSONALISATION:
            self._say(user_id, anonymous_id)
        return self._keep({"event_type": event_type, "user_id": user_id, "anonymous_id": anonymous_id, "item_id": item_id, **fields})

    def withdraw(self, user_id: str | None = None, anonymous_id: str | None = None) -> None:
        """A person says no: what waits of theirs is forgotten, the service is told that their lists are the same for all, and nothing more is sent.

        The function ``consent`` has to say no from then on: a client that is made anew does not know who withdrew, and would announce them again.

        Raises:
            ValueError: nobody is named, or the client is closed.
        """
        names = _ids(user_id, anonymous_id)
        agreed = any(self.agreed(name) for name in names)
        self._withdrawn.update(names)
        self._queue.forget(names)
        if agreed:
            self._keep({"event_type": PERSONALISATION, "user_id": user_id, "anonymous_id": anonymous_id, "value": 0}, lasts=False)

    def agree(self, user_id: str | None = None, anonymous_id: str | None = None) -> None:
        """A person says yes, after ``withdraw`` too: where ``consent`` says so by now, the service is told before anything else of theirs.

        Raises:
            ValueError: nobody is named, or the client is closed.
        """
        self._withdrawn.difference_update(_ids(user_id, anonymous_id))
        self.track(PERSONALISATION, user_id=user_id, anonymous_id=anonymous_id, value=1)

    def agreed(self, name: str) -> bool:
        """Whether the person or device of an id agreed."""
        if name in self._withdrawn:
            return False
        return self._consent(name) if callable(self._consent) else self._consent

    def flush(self, seconds: float = 5.0) -> bool:
        """Send what waits, now, and give up at the first attempt that fails, or after so many seconds. Whether nothing waits any more."""
        until = time.monotonic() + seconds
        while len(self._queue) and time.monotonic() < until:
            if self._attempt() is not None:
                break
        return not len(self._queue)

    def close(self, seconds: float = 5.0) -> bool:
        """Flush, and stop; an exit of the process does the same. Whether nothing waits any more; what does is lost without a file for it."""
        if self._closed.is_set():
            return True
        self._closed.set()
        self._awake.set()
        atexit.unregister(self.close)
        sent = self.flush(seconds)
        self._thread.join(self._seconds)
        self._queue.close()
        return sent

    def _say(self, user_id: str | None, anonymous_id: str | None) -> None:
        """That somebody agrees, where it has not been said yet. What a person says counts for their devices."""
        name = user_id if user_id is not None else anonymous_id
        if self._announce and name is not None and not self._queue.has_said(name):
            self._keep({"event_type": PERSONALISATION, "user_id": user_id, "anonymous_id": anonymous_id, "value": 1})

    def _make_known(self, user: str | None, device: str | None) -> None:
        """See to it that the service knows of the consent of who asks for a list, unless it does not answer."""
        name = user if user is not None else device
        if name is None:
            return
        until = time.monotonic() + self._seconds
        try:
            self._say(user, device)
            if not self._queue.waits(name) or not self._sending.acquire(timeout=self._seconds):
                return
            try:
                while self._queue.waits(name) and not self._failures and time.monotonic() < until:
                    self._attempt()
            finally:
                self._sending.release()
        except Exception:  # noqa: BLE001 - such as a full disk: no reason for a shop to be without a list
            _LOG.exception("a fault while a consent was told")

    def _keep(self, event: dict[str, Any], lasts: bool = True) -> str:
        """Let an event wait; what it says of consent ``lasts`` where nothing is announced after it."""
        if self._closed.is_set():
            raise ValueError("the client is closed; make another one")
        moment = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        # Both are of the moment in which it happens: an event that is sent twice counts once, and one that waits is not made younger.
        made = {"event_id": uuid.uuid4().hex, "timestamp": moment, **{name: value for name, value in event.items() if value is not None}}
        try:
            self.dropped += self._queue.add(made, lasts and made["event_type"] == PERSONALISATION)
        except sqlite3.Error as error:  # a disk that is full is no reason for a shop to fail
            self._tell(made, ClientError(f"it cannot be kept: {error}"))
        self._awake.set()
        return str(made["event_id"])

    def _run(self) -> None:
        while self._awake.wait() and not self._closed.is_set():
            self._awake.clear()
            self._closed.wait(self._interval)
            while not self._closed.is_set() and len(self._queue):
                try:
                    wait = self._attempt()
                except Exception:  # noqa: BLE001 - such as a full disk, or a fault of ``consent``: what waits is not left for ever
                    _LOG.exception("a fault while events were sent")
                    wait = LONGEST_WAIT
                if wait is not None:
                    self._closed.wait(wait)

    def _attempt(self) -> float | None:
        """Send the first batch. None where that is done with, otherwise the seconds after which it can be tried again."""
        with self._sending:
            batch = self._queue.first(self._batch)
            agreed = {number: event for number, event in batch.items() if self._may_be_sent(event)}
            self._queue.remove(batch.keys() - agreed.keys())
            if not agreed:
                return None
            try:
                self._post("/v1/events", list(agreed.values()))
            except ClientError as error:
                if error.passes:
                    self._failures += 1
                    return wait_before(self._failures, self._first_wait, error.retry_after)
                if error.status in SPOILT and len(agreed) > 1:
                    self._batch = (len(agreed) + 1) // 2  # one event spoils the whole batch: the search for it goes on in halves
                    return None
                self._queue.remove(agreed.keys())
                for event in agreed.values():
                    self._tell(event, error)
                return None
            self._queue.remove(agreed.keys())
            self._failures, self._batch = 0, LARGEST_BATCH
            return None

    def _may_be_sent(self, event: dict[str, Any]) -> bool:
        """Whether who did it still agrees; that somebody does not is always told."""
        names = (event[name] for name in ("user_id", "anonymous_id") if name in event)
        return (event["event_type"] == PERSONALISATION and not event.get("value")) or all(self.agreed(name) for name in names)

    def _tell(self, event: dict[str, Any], error: ClientError) -> None:
        try:
            self._refused(event, error)
        except Exception:  # noqa: BLE001 - a fault of the callback does not stop the events of others
            _LOG.exception("a fault while a refused event was told")

    def _post(self, path: str, document: Any) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        request = urllib.request.Request(self._address + path, json.dumps(document).encode(), headers, method="POST")  # noqa: S310 - http or https
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as answer:  # noqa: S310
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            raise _said_no(error) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ClientError(f"no answer of {self._address}: {error}") from None


def wait_before(attempt: int, first: float, asked: float = 0) -> float:
    """Seconds before one more attempt: any from 0 to ``first``, twice that after each further failure, up to a minute (full jitter, so that many clients
    do not come back at once), and not fewer than the service ``asked`` for.

    Source: M. Brooker, Exponential backoff and jitter, AWS Architecture Blog 2015.
    """
    longest = min(LONGEST_WAIT, first * 2.0 ** min(attempt - 1, 30))
    return max(asked, random.uniform(0, longest))  # noqa: S311 - nothing is secret here


def _ids(user_id: str | None, anonymous_id: str | None) -> list[str]:
    names = [name for name in (user_id, anonymous_id) if name is not None]
    if not names:
        raise ValueError("user_id: found None; expected user_id or anonymous_id: whose event it is")
    return names


def _said_no(error: urllib.error.HTTPError) -> ClientError:
    try:
        body = json.loads(error.read())
    except (OSError, http.client.HTTPException, ValueError):
        body = None
    told = body if isinstance(body, dict) else None
    asked = error.headers.get("retry-after", "")
    return ClientError((told or {}).get("detail") or f"status {error.code}", error.code, told, float(asked) if asked.isdigit() else 0)


class _Queue:
    """Events that wait, in the order in which they came, and of whom it was said whether they agree, in a file of SQLite or in memory."""

    def __init__(self, file: Path | str | None, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        try:
            if file is not None:
                Path(file).touch(mode=0o600)  # it holds ids as they are in the logs
            self._events = sqlite3.connect(":memory:" if file is None else file, isolation_level=None, check_same_thread=False)
            self._events.execute("PRAGMA journal_mode = WAL")
            self._events.execute("PRAGMA synchronous = NORMAL")
            self._events.execute(
                "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY AUTOINCREMENT, user_id TEXT, anonymous_id TEXT, event TEXT NOT NULL)"
            )
            self._events.execute("CREATE TABLE IF NOT EXISTS said (name TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE)")
        except (OSError, sqlite3.Error) as error:
            raise ClientError(
                f"queue: found {file}, which cannot be used ({error}); expected a file of this client, or of none yet"
            ) from None

    def __len__(self) -> int:
        return int(self._all("SELECT count(*) FROM events")[0][0])

    def add(self, event: dict[str, Any], said: bool) -> int:
        """Keep an event; how many were dropped for it. What people say of consent is dropped last.

        Args:
            said: whether with it is said for good if somebody agrees.
        """
        text, user, device = json.dumps(event, allow_nan=False), event.get("user_id"), event.get("anonymous_id")
        with self._lock:
            kept = self._events.execute("INSERT INTO events (user_id, anonymous_id, event) VALUES (?, ?, ?)", (user, device, text))
            if said:
                self._events.execute("INSERT OR REPLACE INTO said VALUES (?, ?)", (user or device, kept.lastrowid))
                fewest = "DELETE FROM said WHERE number <= (SELECT number FROM said ORDER BY number DESC LIMIT 1 OFFSET ?)"
                self._events.execute(fewest, (self._most,))
            newest = int(kept.lastrowid or 0)
            oldest = "DELETE FROM events WHERE number <= ? AND (number <= ? OR json_extract(event, '$.event_type') <> ?)"
            return self._events.execute(oldest, (newest - self._most, newest - 2 * self._most, PERSONALISATION)).rowcount

    def has_said(self, name: str) -> bool:
        """Whether it was said of a person or device if they agree, be it that it still waits."""
        return bool(self._all("SELECT 1 FROM said WHERE name = ?", name))

    def waits(self, name: str) -> bool:
        """Whether that still waits."""
        return bool(self._all("SELECT 1 FROM said JOIN events USING (number) WHERE name = ?", name))

    def first(self, count: int) -> dict[int, dict[str, Any]]:
        """The oldest events by their numbers."""
        return {number: json.loads(text) for number, text in self._all("SELECT number, event FROM events ORDER BY number LIMIT ?", count)}

    def remove(self, numbers: Iterable[int]) -> None:
        with self._lock:
            self._events.executemany("DELETE FROM events WHERE number = ?", [(number,) for number in numbers])

    def forget(self, names: Iterable[str]) -> None:
        """Remove the events of some people and devices, and that they agreed."""
        with self._lock:
            for name in names:
                self._events.execute("DELETE FROM events WHERE user_id = ?1 OR anonymous_id = ?1", (name,))
                self._events.execute("DELETE FROM said WHERE name = ?", (name,))

    def close(self) -> None:
        with self._lock:
            self._events.close()

    def _all(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            return self._events.execute(query, values).fetchall()
