"""The live service over HTTP: FastAPI on uvicorn. Handlers are thin: they read what is asked, call the engine, and say what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, get_type_hints
from urllib.parse import parse_qsl

import orjson
from fastapi import FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from persona_pipelines import __version__
from persona_pipelines.errors import plain
from persona_pipelines.serving import pages
from persona_pipelines.serving.catalogue import MOST_NAMED, CatalogueError, Row
from persona_pipelines.serving.engine import Asked, Engine, UnknownItemError
from persona_pipelines.serving.following import Follower
from persona_pipelines.serving.intake import Intake, ItemIntake
from persona_pipelines.serving.journal import Journal, JournalError
from persona_pipelines.serving.keeping import Keeper
from persona_pipelines.serving.metrics import Metrics
from persona_pipelines.serving.received import DWELL, LONGEST_FIELD, QUANTITY, TEXTS, InvalidEventError, one_of, shown_of
from persona_pipelines.serving.streams import Streams
from persona_pipelines.settings.problems import expected_of, models_in, place_of

_LOG = logging.getLogger(__name__)
MOST = 1_000
"""Items of a list, and ids in the address of a request."""
MOST_EXCLUDED = 10_000
LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})
JSON, PROBLEM = "application/json", "application/problem+json"
OPEN = pages.ADDRESSES | {"/healthz"}
"""What is answered without a token."""
LONGEST_NAME = 512
MOST_ERRORS = 20
"""That are named: a list of 10,000 ids may be wrong 10,000 times."""
LONGEST_FOUND = 120
"""Characters of what was found in an error."""
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Id = Annotated[str, Path(min_length=1, max_length=LONGEST_NAME)]
ONE, SEVERAL = "[one]", "[several]"
"""By which one row is told from a list of them, so that of one that is wrong nothing is said of a list."""
Rows = Annotated[
    Annotated[Row, Tag(ONE)] | Annotated[list[Row], Field(min_length=1, max_length=MOST), Tag(SEVERAL)],
    Discriminator(lambda sent: SEVERAL if isinstance(sent, list) else ONE),
]
LISTS, EVENTS = "/v1/recommendations/", "/v1/events"
"""Where lists of people and devices are: what follows is the id, slashes and all."""


REFUSALS = {
    400: "The body is no JSON.",
    401: "The token is missing or another one.",
    404: "Not known.",
    408: "The body did not come in time.",
    413: "The body is too large, or has too many events.",
    415: "The body is of another type than JSON.",
    421: "The request names another host.",
    422: "Something in the request cannot be used; `errors` names the field.",
    429: "Too many requests of one address.",
    503: "What was sent cannot be kept now.",
}
OF_BODIES = (400, 408, 413, 415, 422)
"""What a request with a body may be answered beside what every request may."""


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """How refusals are described."""
    return {status: {"description": REFUSALS[status], "content": {PROBLEM: {"schema": _PROBLEM}}} for status in statuses}


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "errors"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "found", "expected"],
                "properties": {"field": {"type": "string"}, "found": {"type": "string"}, "expected": {"type": "string"}},
            },
        },
    },
}


_COUNT = {"type": "integer", "minimum": 0}
_ACCEPTED = {
    "type": "object",
    "required": ["accepted", "repeated"],
    "properties": {
        "accepted": {**_COUNT, "description": "Records that are new; an event of several items has one for each."},
        "repeated": {**_COUNT, "description": "Records whose `event_id` was known."},
        "ignored": {
            "type": "object",
            "description": "Events that change no list of the person, where there are any: without an item, with one that is not in the catalogue (kept, and counted "
            "once the catalogue has it), of somebody whose lists are the same for all (kept, and counted once they consent), "
            f"or of a name that says nothing here (not kept). The first {MOST_NAMED} are named.",
            "required": ["count", "first"],
            "properties": {
                "count": _COUNT,
                "first": {
                    "type": "array",
                    "maxItems": MOST_NAMED,
                    "items": {
                        "type": "object",
                        "required": ["index", "why"],
                        "properties": {
                            "index": {**_COUNT, "description": "Place among the events of the request, from 0."},
                            "why": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
}


class Problem(HTTPException):
    """An answer that says what is wrong (RFC 9457)."""

    def __init__(
        self, status: int, title: str, detail: str, errors: Sequence[dict[str, str]] = (), headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.title, self.errors = title, errors

    def body(self) -> bytes:
        return orjson.dumps(
            {"type": "about:blank", "title": self.title, "status": self.status_code, "detail": self.detail, "errors": list(self.errors)}
        )


class Wanted(BaseModel):
    """What a list may hold, in the address of a request."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=MOST, description="Items in the list.")
    device: bool = Field(False, description="The id is that of a device.")
    exclude: Annotated[list[Name], Field(max_length=MOST)] = Field([], description="Items that are not wanted.")
    categories: Annotated[list[Name], Field(max_length=MOST)] = Field([], description="Only these.")
    not_categories: Annotated[list[Name], Field(max_length=MOST)] = Field([], description="None of these.")
    price_below: float | None = Field(None, gt=0, allow_inf_nan=False)
    in_stock: bool = Field(False, description="Only what is known to be in stock.")
    item: Annotated[list[Name], Field(max_length=MOST)] = Field([], description="Items that are looked at now, the newest first.")
    slot: Name | None = Field(None, description="Where the list is shown; it comes back in the answer.")
    campaign: Name | None = Field(None, description="How the person came, of somebody of whom nothing else is known; so are the next two.")
    country: Name | None = None
    referrer: Name | None = Field(None, description="The address that the person came from; its site counts.")


PLAIN = Wanted()
"""What is asked for most."""


class WantedItems(BaseModel):
    """What is asked for of an item, in the address of a request."""

    model_config = ConfigDict(extra="forbid")

    k: int = Field(10, ge=1, le=100, description="Items at most.")


def _whole(sent: object) -> object:
    """In JSON 5.0 is the same number as 5."""
    return int(sent) if isinstance(sent, float) and sent.is_integer() else sent


class Session(BaseModel):
    """A list for a session that the request itself tells; nothing of it is stored."""

    model_config = ConfigDict(extra="forbid", strict=True)  # JSON has types, unlike the address of a request

    session: Annotated[list[Name], Field(max_length=MOST)] = Field([], description="Items that are looked at, the newest first.")
    user: Name | None = Field(None, description="Id of the person, where known.")
    device: Name | None = Field(None, description="Id of the device, where known.")
    k: Annotated[int, BeforeValidator(_whole)] = Field(10, ge=1, le=MOST)
    exclude: Annotated[list[Name], Field(max_length=MOST_EXCLUDED)] = Field([], description="Items that are not wanted.")
    categories: Annotated[list[Name], Field(max_length=MOST)] = Field([], description="Only these.")
    not_categories: Annotated[list[Name], Field(max_length=MOST)] = Field([], description="None of these.")
    price_below: float | None = Field(None, gt=0, allow_inf_nan=False)
    in_stock: bool = False
    slot: Name | None = Field(None, description="Where the list is shown; it comes back in the answer.")
    campaign: Name | None = Field(None, description="How the person came, of somebody of whom nothing else is known; so are the next two.")
    country: Name | None = None
    referrer: Name | None = Field(None, description="The address that the person came from; its site counts.")


def app_of(
    engine: Engine,
    journal: Journal,
    breaks: int = 0,
    token: str | None = None,
    only_local: bool = True,
    keeper: Keeper | None = None,
    dropped: Callable[[], int] = lambda: 0,
    follower: Follower | None = None,
    worker: int | None = None,
) -> Service:
    """The service.

    Args:
        engine: with the events of the journal taken in.
        breaks: damaged lines that were found in the journal.
        token: without it nobody is answered; None where the service listens on this machine alone.
        only_local: whether requests that name another host are refused, as a page of another site would send them.
        keeper: takes up what is new while the service runs.
        dropped: how many served lists could not be kept.
        follower: takes in what other processes of the service accept; ``worker``: the number of this one.
    """
    metrics, options = Metrics(), engine.settings.serving
    metrics.breaks.set(breaks)
    item_intake = ItemIntake(engine)
    intake = Intake(journal, engine, metrics)
    streams = Streams(engine.settings, intake)

    @contextlib.asynccontextmanager
    async def running(_: FastAPI) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(intake.run()), asyncio.create_task(intake.finish_files())]
        if keeper is not None:
            tasks.append(asyncio.create_task(keeper.run()))
        if follower is not None:
            tasks.append(asyncio.create_task(follower.run()))
        async with streams.running():
            yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await intake.settled()  # the journal is closed after this: no thread may write to it then

    app = FastAPI(
        title="persona_pipelines, live",
        version=__version__,
        description="What for this person, now: lists that know the last click, profiles, and events that are durable before they are acknowledged.",
        lifespan=running,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        responses=_refusals(401, 421, 429),
    )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return _answer_of(_of_fastapi(error, request.scope["endpoint"]))

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> Response:
        return _answer_of(error)

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        told = {
            name: f"{value}, HEAD" if (name.lower(), value) == ("allow", "GET") else value for name, value in (error.headers or {}).items()
        }
        detail, method, path = str(error.detail), request.method, request.url.path
        if error.status_code == 405:
            below = [f"{method} {place}" for place in _places(app, method) if place.startswith(f"{path}/")]
            detail = f"found {method}; expected {', or '.join([told['Allow'], *below])}"
        return _answer_of(Problem(error.status_code, str(error.detail), detail, headers=told))

    @app.exception_handler(Exception)
    async def fault(request: Request, error: Exception) -> Response:
        return _answer_of(_of_fault(request.url.path, error))

    def listed(asked: Asked, known_tag: str | None = None, seen: bool = True) -> Answer:
        if follower is not None:  # who has just been answered 202 by another process asks this one now
            follower.catch_up()
        answer, told = engine.recommendations(asked, seen)
        tag = f'W/"{told}"'
        headers = [(b"etag", tag.encode()), (b"cache-control", b"private, no-cache")]
        return Answer(304, b"", headers) if known_tag == tag else Answer(200, orjson.dumps(answer), headers)

    def for_person(user: str, wanted: Wanted, known_tag: str | None, seen: bool) -> Answer:
        if wanted is PLAIN:
            return listed(Asked(user), known_tag, seen)
        told = vars(wanted) | {"user": None, "device": user} if wanted.device else vars(wanted) | {"user": user, "device": None}
        told["session"] = told.pop("item")
        return listed(Asked(**told), known_tag, seen)

    async def accepted(body: bytes) -> Answer:
        documents = _documents(body, options.largest_batch)
        try:
            taken = await intake.take(documents)
        except InvalidEventError as error:
            raise Problem(422, "Invalid event", str(error), [_error(error.field, error.found, error.expected)]) from None
        except JournalError as error:
            raise Problem(503, "Events cannot be kept", str(error), headers={"retry-after": "5"}) from None
        told: dict[str, Any] = {"accepted": taken.accepted, "repeated": taken.repeated}
        if taken.ignored:
            told["ignored"] = {"count": len(taken.ignored), "first": [vars(entry) for entry in taken.ignored[:MOST_NAMED]]}
        return Answer(202, orjson.dumps(told))

    @app.get(
        "/v1/recommendations/{user:path}",
        tags=["lists"],
        responses={**_refusals(422), 304: {"description": "Nothing has changed since the list whose `ETag` was sent."}},
        response_class=Response,
    )
    async def recommendations(
        request: Request,
        user: Annotated[
            str,
            Path(
                min_length=1,
                max_length=LONGEST_NAME,
                description="Id of the person as in the logs, or with `device` of a device. One never seen is a new one.",
            ),
        ],
        wanted: Annotated[Wanted, Query()],
    ) -> Response:
        """The list for a person or a device, as of now."""
        return for_person(user, wanted, request.headers.get("if-none-match"), seen=True).response()

    @app.post("/v1/recommendations", tags=["lists"], responses=_refusals(*OF_BODIES), response_class=Response)
    async def for_session(session: Session) -> Response:
        """The list for a session that the request tells."""
        return listed(Asked(**session.model_dump())).response()

    def related(item: str, k: int, together: bool) -> Response:
        try:
            found = engine.related(item, k, together)
        except UnknownItemError:
            raise Problem(
                404, "Unknown item", f"no item {item!r} in the catalogue", [_error("item", item, "the id of an item of the catalogue")]
            ) from None
        return Response(orjson.dumps({"item_id": item, "items": found, "until": engine.snapshot.facts.until}), media_type=JSON)

    missing = _refusals(404, 422)

    @app.get("/v1/items/{item:path}/similar", tags=["items"], responses=missing, response_class=Response)
    async def similar(item: Id, wanted: Annotated[WantedItems, Query()]) -> Response:
        """Items that the same people turn to."""
        return related(item, wanted.k, together=False)

    @app.get("/v1/items/{item:path}/bought-together", tags=["items"], responses=missing, response_class=Response)
    async def bought_together(item: Id, wanted: Annotated[WantedItems, Query()]) -> Response:
        """Items of the same baskets."""
        return related(item, wanted.k, together=True)

    @app.get("/v1/profiles/{user:path}", tags=["people"], responses=missing, response_class=Response)
    async def profile(user: Id) -> Response:
        """What is known of a person, with its evidence, as of the last run."""
        found = engine.profile(user)
        if found is None:
            raise Problem(404, "No profile", "nobody with a profile has this id", [_error("user", user, "the id of a person of the logs")])
        return Response(found, media_type=JSON)

    @app.get("/v1/segments", tags=["people"])
    async def segments() -> Response:
        """The segments of the last run."""
        return Response(orjson.dumps({"segments": engine.snapshot.facts.segments, "until": engine.snapshot.facts.until}), media_type=JSON)

    @app.post(
        "/v1/events",
        tags=["events"],
        status_code=202,
        responses={
            202: {"description": "Durable, and known to the next list.", "content": {JSON: {"schema": _ACCEPTED}}},
            **_refusals(*OF_BODIES, 503),
        },
        openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": _events(engine.reader.types)}}}},
        response_class=Response,
    )
    async def events(request: Request) -> Response:
        """One event, a list of them, or a batch; in our shape, in that of Segment's calls or of GA4's Measurement Protocol.

        All of a request are kept, or none. They are on the disk, and known to the next list, when the answer comes.
        """
        return (await accepted(await request.body())).response()

    @app.post(
        "/v1/items",
        tags=["items"],
        status_code=202,
        responses=_refusals(*OF_BODIES, 503),
        response_class=Response,
    )
    async def items(rows: Rows) -> Response:
        """Rows of the catalogue: one, or a list. New items are in lists, and what a row says of known ones holds, when the answer comes; the next run reads them too.

        The answer has how many were `accepted`, how many of them are `new`, and where there are any `new_items`, the first ids of those.
        """
        some = rows if isinstance(rows, list) else [rows]
        try:
            new = await item_intake.take(some)
        except CatalogueError as error:
            raise Problem(503, "Items cannot be kept", str(error), headers={"retry-after": "60"}) from None
        told: dict[str, Any] = {"accepted": len(some), "new": len(new)}
        if new:
            told["new_items"] = new[:MOST_NAMED]
        return Answer(202, orjson.dumps(told)).response()

    @app.get("/healthz", tags=["service"])
    async def healthz() -> Response:
        """Whether the process answers."""
        return Response(b'{"status":"ok"}', media_type=JSON)

    @app.get("/readyz", tags=["service"])
    async def readyz() -> Response:
        """What is served, and whether all is as it should be."""
        scores = engine.scores
        told = {
            "status": "ready" if keeper is None or keeper.problem is None else "degraded",
            "problem": None if keeper is None else keeper.problem,
            "worker": worker,
            "model": scores.model,
            "model_version": scores.version,
            "weights_of": scores.weights_of,
            "live_share": engine.live_share(scores.version),
            "live_share_reason": scores.live_share_reason if engine.settings.serving.live_share is None else "serving.live_share",
            "arrivals": engine.snapshot.facts.arrivals,
            "until": engine.snapshot.facts.until,
            "versions": sorted(engine.snapshot.scores),
            "experiment": None if engine.experiment is None else engine.experiment.name,
            "new_items": engine.catalogue.new,
            "events": engine.state.events,
            "items_not_in_the_catalogue": engine.state.unknown_items,
            "damaged_lines": breaks,
            **streams.state(),
        }
        return Response(orjson.dumps(told), media_type=JSON)

    @app.get("/metrics", tags=["service"], response_class=PlainTextResponse)
    async def figures() -> Response:
        """Figures for Prometheus."""
        metrics.people.set(len(engine.state.people))
        metrics.dropped.set(dropped())
        metrics.swaps.set(0 if keeper is None else keeper.swaps)
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    app.routes.extend(pages.routes())  # behind those of programs, which are looked up so much more often
    return Service(
        app,
        metrics,
        token,
        only_local,
        None if only_local else Limiter(options.requests_per_second),
        options.largest_body_bytes,
        options.body_seconds,
        Straight(for_person, accepted),
    )


def _documents(body: bytes, most: int) -> list[Any]:
    """The events of a body: one, a list, or the ``batch`` of Segment."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "Malformed JSON", f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    if isinstance(document, dict) and isinstance(document.get("batch"), list):
        document = document["batch"]
    documents = document if isinstance(document, list) else [document]
    if len(documents) > most:
        raise Problem(413, "Too many events", f"found {len(documents):,} events; expected at most {most:,} (serving.largest_batch)")
    if not documents:
        raise Problem(422, "No events", "found an empty list; expected events", [_error("events", "[]", "one event at least")])
    return documents


def _events(types: Iterable[str]) -> dict[str, Any]:
    """How a body of events is described; in our own shape they are of some ``types``."""
    identifier = {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME}
    event = {
        "type": "object",
        "title": "An event",
        "required": ["event_type"],
        "anyOf": [{"required": ["user_id"]}, {"required": ["anonymous_id"]}],
        "additionalProperties": False,
        "properties": {
            "event_id": {**identifier, "description": "Of an event that is sent again with the same id the second is left out."},
            "timestamp": {"type": "string", "format": "date-time", "description": "Without it: now."},
            "event_type": {"type": "string", "enum": sorted(types)},
            "user_id": identifier,
            "anonymous_id": {**identifier, "description": "Of the device."},
            "item_id": identifier,
            "value": {"type": "number", "description": "Amount, rating, or 0 or 1 of `personalisation`."},
            "quantity": {"type": "number", "minimum": QUANTITY.minimum, "maximum": QUANTITY.maximum},
            "dwell_ms": {"type": "number", "minimum": DWELL.minimum, "maximum": DWELL.maximum},
            **dict.fromkeys(TEXTS, identifier),
        },
        "example": {"event_type": "item_view", "user_id": "u1", "item_id": "i1"},
    }
    call = {"type": "object", "title": "A call of Segment", "required": ["type"], "properties": {"type": {"type": "string"}}}
    measured = {
        "type": "object",
        "title": "A request of GA4's Measurement Protocol",
        "required": ["client_id", "events"],
        "properties": {"client_id": {"type": "string"}, "events": {"type": "array"}},
    }
    several = {"type": "array", "title": "Several events", "minItems": 1, "items": {"anyOf": [event, call, measured]}}
    return {"anyOf": [event, several, call, measured]}


def _error(field_: str, found: object, expected: str) -> dict[str, str]:
    """One thing that is wrong. Names of fields and values are the sender's: they may be long, deep, and no text that can be sent."""
    shown = shown_of(found) if isinstance(found, list | dict) else str(found)
    return {"field": plain(field_[:LONGEST_FIELD]), "found": plain(shown[:LONGEST_FOUND]), "expected": expected}


def _of_fastapi(error: RequestValidationError, endpoint: Callable[..., Any]) -> Problem:
    """What is wrong with the parameters or the body of a request to an ``endpoint``."""
    found = error.errors()
    if any(entry["type"] == "json_invalid" for entry in found):
        words = "; ".join(str(entry.get("ctx", {}).get("error", entry["msg"])) for entry in found[:MOST_ERRORS])
        return Problem(400, "Malformed JSON", words, [_error("body", "no JSON", f"JSON: {words}")])
    errors = [_of_place(list(entries), endpoint) for _, entries in itertools.groupby(found, _place)][:MOST_ERRORS]
    return Problem(
        422, "Invalid request", "; ".join("{field}: found {found}; expected {expected}".format(**entry) for entry in errors), errors
    )


def _place(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """Where something is wrong; which of several types was tried there is no part of it."""
    inside = tuple("items" if part == SEVERAL else part for part in entry["loc"][1:] if part != ONE)
    return inside[:-1] if len(inside) > 1 and inside[-1] in _OF_UNIONS else inside


def _of_place(entries: Sequence[Any], endpoint: Callable[..., Any]) -> dict[str, str]:
    """The one thing that is wrong at a place, where several types may be."""
    first = entries[0]
    place, sent = _place(first), first["input"]
    field_ = place_of(place) or str(first["loc"][0])
    if first["type"] == "missing":
        return _error(field_, "nothing", "a value")
    found = shown_of(sent[:LONGEST_FOUND] if isinstance(sent, str) else sent)
    if first["type"] == "extra_forbidden":
        models = [model for hint in get_type_hints(endpoint, include_extras=True).values() for model in models_in(hint)]
        return _error(field_, found, one_of({name for model in models for name in model.model_fields}, str(place[-1])))
    expected = dict.fromkeys(expected_of(entry).removeprefix("expected ") for entry in entries)
    return _error(field_, found, " or ".join(expected))


_OF_UNIONS = ("constrained-str", "str", "float", "bool")
"""As pydantic names the types that a value of several may be of."""


def _of_fault(path: str, error: Exception) -> Problem:
    _LOG.error("a fault while answering %s", path, exc_info=error)
    return Problem(500, "A fault of persona_pipelines", f"{type(error).__name__}; what led to it stands in the log of the service")


def _places(app: FastAPI, method: str) -> list[str]:
    """The addresses of a service that are asked by a method, as they are described."""
    return [place for place, asked in app.openapi()["paths"].items() if method.lower() in asked]


def _answer_of(problem: Problem) -> Response:
    return Response(problem.body(), problem.status_code, headers=problem.headers, media_type=PROBLEM)


class Limiter:
    """A bucket of tokens an address: ``rate`` a second on average, as many at once."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate, self._clock = rate, clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def allows(self, address: str) -> bool:
        now = self._clock()
        if len(self._buckets) > 100_000:  # those that are full again are as good as new
            self._buckets = {name: entry for name, entry in self._buckets.items() if entry[0] + (now - entry[1]) * self.rate < self.rate}
        left, at = self._buckets.get(address, (self.rate, now))
        left = min(self.rate, left + (now - at) * self.rate)
        self._buckets[address] = (left - 1 if left >= 1 else left, now)
        return left >= 1


@dataclass(slots=True)
class Answer:
    """What is answered: JSON, and headers beside its own."""

    status: int
    body: bytes
    headers: Sequence[tuple[bytes, bytes]] = ()

    def response(self) -> Response:
        headers = {name.decode(): value.decode() for name, value in self.headers}
        return Response(self.body, self.status, headers, None if self.status == 304 else JSON)

    async def send(self, send: Send) -> None:
        own = [] if self.status == 304 else [(b"content-type", JSON.encode()), (b"content-length", str(len(self.body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": [*own, *self.headers]})
        await send({"type": "http.response.body", "body": self.body})


@dataclass(frozen=True)
class Straight:
    """The two addresses that are asked all the time, answered without the layers of the framework, which would take longer than the answer: by
    the same functions as through the framework. What is not plain (a value that does not pass, another method) is left to the framework."""

    for_person: Callable[[str, Wanted, str | None, bool], Answer]
    accepted: Callable[[bytes], Awaitable[Answer]]

    async def answered(self, scope: Scope, receive: Receive, send: Send, seen: bool) -> str | None:
        """The route that was answered; None for the framework's. A list that is not ``seen`` is none that was served."""
        method, path = scope["method"], scope["path"]
        if method == "GET" and path.startswith(LISTS):
            user = path[len(LISTS) :]
            wanted = _wanted(scope["query_string"])
            if wanted is None or not 0 < len(user) <= LONGEST_NAME:
                return None
            tag = next((value for name, value in scope["headers"] if name == b"if-none-match"), None)
            await self.for_person(user, wanted, None if tag is None else tag.decode("latin-1"), seen).send(send)
            return LISTS + "{user}"
        if method == "POST" and path == EVENTS:
            answer = await self.accepted(await _body(receive))
            await answer.send(send)
            return EVENTS
        return None


def _wanted(query: bytes) -> Wanted | None:
    """What a query asks for; None where it does not pass."""
    if not query:
        return PLAIN
    told: dict[str, Any] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name in _SEVERAL:
            told.setdefault(name, []).append(value)
        else:
            told[name] = value
    try:
        return Wanted.model_validate(told)
    except ValidationError:
        return None


_SEVERAL = frozenset({"exclude", "categories", "not_categories", "item"})


async def _body(receive: Receive) -> bytes:
    """The whole body of a request.

    Raises:
        ClientDisconnect: whoever sent it has gone.
    """
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _without_body(send: Send) -> Send:
    """Sends what is sent but for the body; its length is told all the same."""

    async def sent(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return sent


class Service:
    """The service, and what holds for every request: who may ask, how much and how fast, and how it is counted."""

    def __init__(
        self,
        app: FastAPI,
        metrics: Metrics,
        token: str | None,
        only_local: bool,
        limiter: Limiter | None,
        largest: int,
        seconds: float,
        straight: Straight,
    ) -> None:
        self.app, self.metrics, self.token, self.only_local = app, metrics, token, only_local
        self.limiter, self.largest, self.seconds, self.straight = limiter, largest, seconds, straight
        self._children: dict[tuple[str, int], tuple[Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, started = time.perf_counter(), 500, False
        route: str | None = None

        async def with_figures(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = message["status"], True
            await send(message)

        counted: Send = with_figures
        seen = scope["method"] != "HEAD"
        if not seen:  # as GET, by whatever answers that
            scope, counted = {**scope, "method": "GET"}, _without_body(with_figures)
        try:
            self._require(scope)
            receive = self._limited(scope, receive)
            route = await self.straight.answered(scope, receive, counted, seen)
            if route is None:
                await self.app(scope, receive, counted)
                route = getattr(scope.get("route"), "path_format", "other")
        except Problem as problem:
            if started:
                raise
            await _answer_of(problem)(scope, receive, counted)
        except ClientDisconnect:
            status = 499
        except asyncio.CancelledError:
            status = 503
            if not started:
                stopped = Problem(503, "The service is being stopped", "send it again", headers={"retry-after": "5", "connection": "close"})
                await _answer_of(stopped)(scope, receive, counted)
        except Exception as error:
            if started:
                raise
            await _answer_of(_of_fault(scope["path"], error))(scope, receive, counted)
        finally:
            requests, seconds = self._figures(route or "other", status)
            requests.inc()
            seconds.observe(time.perf_counter() - began)

    def _figures(self, route: str, status: int) -> tuple[Any, Any]:
        found = self._children.get((route, status))
        if found is None:
            found = self.metrics.requests.labels(route, str(status)), self.metrics.seconds.labels(route)
            self._children[route, status] = found
        return found

    def _require(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if self.only_local:
            host = headers.get(b"host", b"").decode("latin-1").rsplit(":", 1)[0] or "localhost"
            if host not in LOCAL:
                raise Problem(421, "Another host", f"found host {host[:80]!r}; expected 127.0.0.1: this service answers this machine alone")
        if self.limiter is not None and not self.limiter.allows((scope.get("client") or ("",))[0]):
            raise Problem(429, "Too many requests", "more requests than serving.requests_per_second", headers={"retry-after": "1"})
        if self.token is not None and scope["path"] not in OPEN:
            given = headers.get(b"authorization", b"")
            if not hmac.compare_digest(given, b"Bearer " + self.token.encode()):
                raise Problem(
                    401,
                    "A token is needed",
                    "expected the header Authorization: Bearer TOKEN; persona serve token shows it",
                    headers={"www-authenticate": "Bearer"},
                )
        if scope["method"] in ("POST", "PUT", "PATCH"):
            kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
            if kind != JSON.encode():
                # A form of another site can send other types without asking.
                raise Problem(
                    415,
                    "JSON is needed",
                    f"found content-type {kind.decode('latin-1')[:80]!r}; expected {JSON}",
                    [_error("content-type", kind.decode("latin-1"), JSON)],
                )
            length = headers.get(b"content-length", b"0")
            if length.isdigit() and int(length) > self.largest:
                raise self._too_large()

    def _too_large(self) -> Problem:
        return Problem(
            413,
            "Too large",
            f"a body of more than {self.largest:,} bytes (serving.largest_body_bytes)",
            [_error("body", "more", f"at most {self.largest:,} bytes")],
        )

    def _limited(self, scope: Scope, receive: Receive) -> Callable[[], Awaitable[Message]]:
        """The body of a request, which may be neither too large nor too slow."""
        if scope["method"] not in ("POST", "PUT", "PATCH"):
            return receive
        taken, whole, until = 0, False, time.monotonic() + self.seconds

        async def limited() -> Message:
            nonlocal taken, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(max(until - time.monotonic(), 0.001)):
                    message = await receive()
            except TimeoutError:
                raise Problem(408, "Too slow", f"the body did not come within {self.seconds:g} seconds (serving.body_seconds)") from None
            taken += len(message.get("body", b""))
            if taken > self.largest:
                raise self._too_large()
            whole = not message.get("more_body", False)
            return message

        return limited
