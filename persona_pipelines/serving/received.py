"""Events as senders send them: in our own shape, in that of Segment's calls and of GA4's Measurement Protocol. Each becomes records of one shape."""

from __future__ import annotations

import datetime as dt
import math
import re
import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any

from persona_pipelines.errors import ProjectError
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.settings.presets import event_names, preset_of
from persona_pipelines.settings.sources import MISSING_WORDS, Identifiers
from persona_pipelines.settings.stages import Bounds, MoneyBounds, RatingBounds
from persona_pipelines.suggestions import suggestion

OWN, SEGMENT, GA4 = "own", "segment", "ga4"
"""The shapes of what is sent; the last two are also the presets of the logs of the same programs."""
PROGRAMS = {SEGMENT: "Segment", GA4: "GA4"}
LONGEST_ID = 512
LONGEST_FIELD = 120
"""Of the name of a field in an error: it is the sender's."""
MOST_ITEMS = 1_000
"""Of one event: a cart."""
LARGEST = 1e16
"""Of a number: microseconds since 1970 are among them."""
AHEAD = dt.timedelta(minutes=10)
"""A clock may be so far ahead of ours; what is later counts as of now."""
BEHIND = dt.timedelta(days=30)
"""What is older is a case for the logs: it is refused here, so that a wrong clock does not pass for a history."""

PERSONALISATION, NOT_INTERESTED, LESS_LIKE_THIS = "personalisation", "not_interested", "less_like_this"
"""Types of what people say of their lists: they stop or start that lists are made for them (``value`` 0 or 1), do not want an item, want less of its kind."""


@cache
def names_of(shape: str) -> Mapping[str, str]:
    """The event types of the vocabulary by what Segment (in small letters) or GA4 calls them: as the presets of their logs have it."""
    field = {SEGMENT: "event", GA4: "event_name"}[shape]
    return {called.name: called.type for called in event_names(preset_of(shape)) if called.field == field}


class InvalidEventError(ProjectError):
    """An event that cannot be used: the ``field``, what was ``found`` and what is ``expected``."""

    def __init__(self, field: str, found: object, expected: str) -> None:
        field = field if len(field) <= LONGEST_FIELD else field[:LONGEST_FIELD] + "..."
        shown = shown_of(found) if not isinstance(found, str) or len(found) <= 60 else repr(found[:60]) + "..."
        super().__init__(f"{field}: found {shown if len(shown) <= 100 else shown[:100] + '...'}; expected {expected}")
        self.field, self.found, self.expected, self._raw = field, shown[:120], expected, found

    def within(self, place: str) -> InvalidEventError:
        """The same of an event at a ``place`` among others."""
        return InvalidEventError(place + self.field, self._raw, self.expected)


def shown_of(found: object) -> str:
    """What was found, as Python writes it; of lists and objects the beginning, however long and deep they are."""
    return reprlib.repr(found) if isinstance(found, list | dict) else repr(found)


def one_of(known: Iterable[str], found: str) -> str:
    """What is expected where a name is ``found`` that is none of the ``known``: all of them, and the one that is like it."""
    names = sorted(known)
    return f"one of {', '.join(names)}{suggestion(found[:LONGEST_FIELD], names)}"


@dataclass(frozen=True)
class Spelling:
    """Which spellings of an id are one, as a source of the logs has it (``logs.values.spelled``).

    Attributes:
        missing: words in small letters that are no id of a person, device or event.
    """

    identifiers: Identifiers = field(default_factory=Identifiers)
    missing: frozenset[str] = frozenset(MISSING_WORDS)

    def of(self, text: str) -> str:
        chosen = self.identifiers
        if chosen.form == "NFC" and not text.isascii():
            text = unicodedata.normalize("NFC", text)
        if chosen.invisible == "remove":
            text = _INVISIBLE.sub("", text)
        if chosen.blanks == "collapse":
            text = _BLANKS.sub(" ", text).strip()
        return text.lower() if chosen.lower_case else text


@dataclass(frozen=True)
class Limits:
    """Between which bounds the amounts of events are, those of the logs: what is refused there is refused here, and counts in neither."""

    money: Bounds = field(default_factory=MoneyBounds)
    ratings: Bounds = field(default_factory=RatingBounds)


@dataclass(frozen=True, order=True)
class Ignored:
    """An event that is accepted and changes no list: its place among those of the request, from 0, and ``why``."""

    index: int
    why: str


@dataclass
class Understood:
    """What was read.

    Attributes:
        records: of all events, as ``Reader.records`` makes them.
        indexes: of each record, the place of its event among those that were sent.
        ignored: events of which nothing is kept, as their names say nothing here.
    """

    records: list[dict[str, Any]] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    ignored: list[Ignored] = field(default_factory=list)


@dataclass(frozen=True)
class Reader:
    """Reads what is sent.

    Attributes:
        key: of the pseudonyms: no raw id of a person or device is kept.
        types: event types that the configuration knows.
        now: the moment of the receipt, UTC without zone.
        new_id: an id for an event that has none.
        sent: when events were sent that do not say when they happened, UTC without zone; without it they are of the receipt.
    """

    key: bytes
    types: frozenset[str]
    now: Callable[[], dt.datetime]
    new_id: Callable[[], str]
    spelling: Spelling = field(default_factory=Spelling)
    limits: Limits = field(default_factory=Limits)
    sent: dt.datetime | None = None

    def understood(self, documents: Sequence[Any]) -> Understood:
        """What some documents say, all or none.

        Raises:
            InvalidEventError: one cannot be used; its place is named where there are several.
        """
        found = Understood()
        for index, document in enumerate(documents):
            whys: list[str] = []
            try:
                records = list(self.records(document, whys.append))
            except InvalidEventError as error:
                raise error.within(f"events[{index}].") if len(documents) > 1 else error from None
            found.records += records
            found.indexes += [index] * len(records)
            found.ignored += [Ignored(index, why) for why in whys]
        return found

    def records(self, document: Any, ignored: Callable[[str], None] = lambda why: None) -> Iterator[dict[str, Any]]:
        """The records of a document, one an item: ``event_id``, ``timestamp``, ``event_type``, and what is known of ``user_id``, ``anonymous_id``
        (pseudonyms), ``item_id``, ``value``, ``quantity``, ``currency``, ``dwell_ms``, ``campaign``, ``country``, ``referrer``, ``list_id``, ``shape``.

        Segment's calls that say nothing of what was done (identify, group, alias without two ids) and names of a sender's own have no records.

        Args:
            ignored: told why an event has no records.
        Raises:
            InvalidEventError: something in it cannot be used.
        """
        if not isinstance(document, dict):
            raise InvalidEventError("event", document, "an object")
        if "events" in document and ("client_id" in document or "app_instance_id" in document or _names(document["events"])):
            yield from self._ga4(document, ignored)
        elif isinstance(document.get("type"), str) and (
            "event" in document or document["type"] in ("page", "screen", "identify", "alias", "group")
        ):
            yield from self._segment(document, ignored)
        else:
            yield from self._own(document)

    def _own(self, document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        unknown = sorted(set(document) - OWN_FIELDS)
        if unknown:
            raise InvalidEventError(unknown[0] or "event", document[unknown[0]], one_of(OWN_FIELDS, unknown[0]))
        kind = document.get("event_type")
        if not isinstance(kind, str) or kind not in self.types:
            raise InvalidEventError("event_type", kind, one_of(self.types, kind if isinstance(kind, str) else ""))
        record = self._begun(
            OWN, kind, document, document.get("event_id"), document.get("timestamp"), document.get("user_id"), document.get("anonymous_id")
        )
        if kind in (NOT_INTERESTED, LESS_LIKE_THIS) and document.get("item_id") is None:
            raise InvalidEventError("item_id", None, f"the id of an item: {kind} says something of one")
        if kind == PERSONALISATION and document.get("value") not in (0, 1):
            raise InvalidEventError("value", document.get("value"), "0 or 1: whether lists are made for the person")
        yield _with_texts(
            {**record, **self._item(kind, document, "item_id", "value", "quantity", "")}, document, {name: name for name in TEXTS}
        )

    def _segment(self, document: Mapping[str, Any], ignored: Callable[[str], None]) -> Iterator[dict[str, Any]]:
        properties = document.get("properties") or {}
        if not isinstance(properties, dict):
            raise InvalidEventError("properties", properties, "an object")
        call, name = document["type"], document.get("event")
        if call in ("page", "screen"):
            kind = "page_view"
        elif call == "identify":
            kind = "login"
            if document.get("userId") is None or document.get("anonymousId") is None:
                ignored("type: an identify says something here with userId and anonymousId alone: who is on which device")
                return
        elif call in ("alias", "group") and name is None:
            ignored(f"type: {call} says nothing of what was done")
            return
        elif isinstance(name, str) and name.lower() in names_of(SEGMENT):
            kind = names_of(SEGMENT)[name.lower()]
        else:
            ignored(_unknown_name("event", name, SEGMENT))
            return
        moment = document.get("timestamp") or document.get("originalTimestamp")
        record = self._begun(
            SEGMENT,
            kind,
            document,
            document.get("messageId"),
            moment,
            document.get("userId"),
            document.get("anonymousId"),
            "userId",
            "anonymousId",
        )
        record = _with_texts(record, properties, {"currency": "currency"})
        products = properties.get("products")
        if isinstance(products, list) and products:
            yield from self._several(record, products, "properties.products", ("product_id", "sku"))
        else:
            yield {
                **record,
                **self._item(
                    kind, properties, _first(properties, ("product_id", "sku", "content_asset_id")), "price", "quantity", "properties."
                ),
            }

    def _ga4(self, document: Mapping[str, Any], ignored: Callable[[str], None]) -> Iterator[dict[str, Any]]:
        events = document["events"]
        if not isinstance(events, list):
            raise InvalidEventError("events", events, "a list")
        device = document.get("client_id", document.get("app_instance_id"))
        for number, event in enumerate(events):
            place = f"events[{number}]"
            if not isinstance(event, dict) or not isinstance(event.get("name"), str):
                raise InvalidEventError(f"{place}.name", event.get("name") if isinstance(event, dict) else event, "the name of an event")
            parameters = event.get("params") or {}
            if not isinstance(parameters, dict):
                raise InvalidEventError(f"{place}.params", parameters, "an object")
            kind = names_of(GA4).get(event["name"])
            if kind is None:
                ignored(_unknown_name(f"{place}.name", event["name"], GA4))
                continue
            moment = event.get("timestamp_micros", document.get("timestamp_micros"))
            if moment is not None:
                moment = _number(moment, "timestamp_micros") / 1e6
            record = self._begun(GA4, kind, document, None, moment, document.get("user_id"), device, "user_id", "client_id")
            record = _with_texts(record, parameters, {"currency": "currency", "campaign": "campaign"})
            products = parameters.get("items")
            if isinstance(products, list) and products:
                yield from self._several(record, products, f"{place}.params.items", ("item_id", "item_name"))
            else:
                yield record

    def _begun(
        self,
        shape: str,
        kind: str,
        document: Mapping[str, Any],
        event_id: Any,
        moment: Any,
        user: Any,
        device: Any,
        user_field: str = "user_id",
        device_field: str = "anonymous_id",
    ) -> dict[str, Any]:
        now = self.now()
        user, device = self._named(user, user_field), self._named(device, device_field)
        if user is None and device is None:
            raise InvalidEventError(user_field, None, f"{user_field} or {device_field}: whose event it is")
        when = (self.sent or now) if moment is None else _moment(moment)
        if when > now + AHEAD:
            raise InvalidEventError("timestamp", moment, f"a moment up to now ({now:%Y-%m-%dT%H:%M:%SZ}): the sender's clock is ahead")
        if when < now - BEHIND:
            raise InvalidEventError("timestamp", moment, f"a moment of the last {BEHIND.days} days: older events belong into the logs")
        when = min(when, now)
        record: dict[str, Any] = {
            "event_id": self._named(event_id, "event_id") or self.new_id(),
            "timestamp": when.isoformat(timespec="microseconds") + "Z",
            "received": now.isoformat(timespec="microseconds") + "Z",
            "event_type": kind,
            "shape": shape,
        }
        if user is not None:
            record["user_id"] = pseudonym(user, self.key)
        if device is not None:
            record["anonymous_id"] = pseudonym("device:" + device, self.key)
        return record

    def _named(self, value: Any, field: str) -> str | None:
        """The id of a person, a device or an event; None where there is none, or a word that says so."""
        text = _id(value, field)
        if text is None or text.lower() in self.spelling.missing:
            return None
        return self.spelling.of(text) or None

    def _several(self, record: dict[str, Any], products: list[Any], place: str, ids: tuple[str, ...]) -> Iterator[dict[str, Any]]:
        """One record a product, each with an id of its own made of the event's."""
        if len(products) > MOST_ITEMS:
            raise InvalidEventError(place, len(products), f"at most {MOST_ITEMS:,} products")
        for number, product in enumerate(products):
            if not isinstance(product, dict):
                raise InvalidEventError(f"{place}[{number}]", product, "an object")
            yield {
                **record,
                "event_id": f"{record['event_id']}-{number}" if number else record["event_id"],
                **self._item(record["event_type"], product, _first(product, ids), "price", "quantity", f"{place}[{number}]."),
            }

    def _item(self, kind: str, found: Mapping[str, Any], item: str, value: str, quantity: str, place: str) -> dict[str, Any]:
        record: dict[str, Any] = {}
        if (identifier := _id(found.get(item), place + item)) is not None and (identifier := self.spelling.of(identifier)):
            record["item_id"] = identifier
        pieces = None if found.get(quantity) is None else _number(found[quantity], place + quantity)
        amount = None if found.get(value) is None else _number(found[value], place + value)
        if pieces is not None:
            record["quantity"] = _within(pieces, QUANTITY, place + quantity)
        if amount is not None:
            amount *= pieces if value == "price" and pieces is not None else 1
            bounds = self.limits.ratings if kind == "rating" else self.limits.money
            record["value"] = _within(amount, bounds, place + value)
        if found.get("dwell_ms") is not None:
            record["dwell_ms"] = _within(_number(found["dwell_ms"], place + "dwell_ms"), DWELL, place + "dwell_ms")
        return record


QUANTITY = Bounds(minimum=0, maximum=1e12)
DWELL = Bounds(minimum=0, maximum=7 * 24 * 3_600_000)
"""As the contract of events has it."""
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_BLANKS = re.compile("[\\s\u00a0\u2000-\u200a\u202f\u3000]+")
TEXTS = ("currency", "campaign", "country", "referrer", "list_id")
OWN_FIELDS = frozenset(
    {"event_id", "timestamp", "event_type", "user_id", "anonymous_id", "item_id", "value", "quantity", "dwell_ms", *TEXTS}
)


def _names(events: Any) -> bool:
    return isinstance(events, list) and bool(events) and isinstance(events[0], dict) and "name" in events[0]


def _unknown_name(field: str, name: Any, shape: str) -> str:
    """Says that an event has a name of the sender's own, and which known one it may have been meant to be."""
    near = _near(name[:LONGEST_FIELD], shape) if isinstance(name, str) else ""
    return f"{field}: {shown_of(name)[:LONGEST_FIELD]} is none of the names of {PROGRAMS[shape]} that say something here{near}"


@lru_cache(maxsize=1_000)
def _near(name: str, shape: str) -> str:
    """The known name that is like another; a sender's own names come again and again, and to compare them takes longer than to read the event."""
    return suggestion(name, names_of(shape))


def _first(found: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if found.get(name) is not None), names[0])


def _with_texts(record: dict[str, Any], found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return record | {name: _id(found[field], field) for name, field in names.items() if found.get(field) is not None}


def _id(value: Any, field: str) -> str | None:
    """A text of one line; whole numbers are ids too."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise InvalidEventError(field, value, "a text")
    text = str(value).strip()
    if not text or len(text) > LONGEST_ID or not text.isprintable():
        raise InvalidEventError(field, text, f"1 to {LONGEST_ID} characters that can be printed")
    return text


def _within(value: float, bounds: Bounds, field: str) -> float:
    if not bounds.minimum <= value <= bounds.maximum:
        raise InvalidEventError(field, value, f"a number between {bounds.minimum:g} and {bounds.maximum:g}")
    return value


def _number(value: Any, field: str) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise InvalidEventError(field, value, "a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > LARGEST:
        raise InvalidEventError(field, value, f"a finite number, at most {LARGEST:g} either way")
    return float(value)


def _moment(value: Any) -> dt.datetime:
    """ISO 8601, or seconds since 1970; UTC without zone."""
    if isinstance(value, str):
        try:
            found = dt.datetime.fromisoformat(value)
        except ValueError:
            raise InvalidEventError("timestamp", value, "a moment such as 2025-09-30T12:00:00Z") from None
        try:
            return found if found.tzinfo is None else found.astimezone(dt.UTC).replace(tzinfo=None)
        except OverflowError:
            raise InvalidEventError("timestamp", value, "a moment of this century") from None
    seconds = _number(value, "timestamp")
    if not 0 <= seconds <= 4e9:
        raise InvalidEventError("timestamp", value, "seconds since 1970, or a moment such as 2025-09-30T12:00:00Z")
    return dt.datetime.fromtimestamp(seconds, dt.UTC).replace(tzinfo=None)
