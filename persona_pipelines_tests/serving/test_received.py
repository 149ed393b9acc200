"""Events as they are sent: three shapes become one, what cannot be used is named, and no raw id is kept."""

import dataclasses
import datetime as dt

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.serving.received import InvalidEventError, Reader, Spelling
from persona_pipelines.settings.presets import presets
from persona_pipelines.settings.sources import Identifiers
from persona_pipelines.vocabulary import EVENT_TYPES
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.serving.conftest import KEY, NOW, device_name, user_name

READER = Reader(KEY, frozenset(EVENT_TYPES), lambda: NOW, lambda: "new")
PRODUCT = {"product_id": "i1", "price": 10, "quantity": 2}
SEGMENT = {
    "type": "track",
    "event": "Product Viewed",
    "userId": "u1",
    "anonymousId": "tablet",
    "messageId": "m1",
    "timestamp": "2025-10-01T11:00:00.000Z",
}


def records(document) -> list[dict]:
    return list(READER.records(document))


def test_an_event_of_our_own_shape_says_what_was_done_and_by_whom() -> None:
    sent = {
        "event_id": "e1",
        "event_type": "purchase",
        "user_id": "u1",
        "item_id": "i1",
        "value": 20,
        "quantity": 2,
        "timestamp": "2025-10-01T13:00:00+02:00",
    }
    (found,) = records(sent)
    assert found == {
        "event_id": "e1",
        "timestamp": "2025-10-01T11:00:00.000000Z",
        "received": "2025-10-01T12:00:00.000000Z",
        "event_type": "purchase",
        "shape": "own",
        "user_id": user_name(1),
        "item_id": "i1",
        "quantity": 2.0,
        "value": 20.0,
    }


def test_segments_calls_are_understood() -> None:
    (viewed,) = records({**SEGMENT, "properties": PRODUCT})
    assert (viewed["event_type"], viewed["item_id"], viewed["value"], viewed["event_id"]) == ("item_view", "i1", 20.0, "m1")
    assert (viewed["user_id"], viewed["anonymous_id"]) == (user_name(1), device_name("tablet"))
    ordered = records(
        {**SEGMENT, "event": "Order Completed", "properties": {"currency": "EUR", "products": [PRODUCT, {"sku": "i2", "price": "3.5"}]}}
    )
    assert [(line["event_type"], line["item_id"], line["value"], line["currency"], line["event_id"]) for line in ordered] == [
        ("purchase", "i1", 20.0, "EUR", "m1"),
        ("purchase", "i2", 3.5, "EUR", "m1-1"),
    ]
    assert [line["event_type"] for line in records({"type": "page", "userId": "u1"})] == ["page_view"]
    assert [line["event_type"] for line in records({"type": "identify", "userId": "u1", "anonymousId": "tablet"})] == ["login"]
    assert records({"type": "identify", "userId": "u1"}) == []
    assert records({**SEGMENT, "event": "Something of our own"}) == []


@pytest.mark.parametrize("call", ["Product Clicked", "product clicked", "Cart Shared", "Email Link Clicked", "Order Cancelled"])
def test_segments_names_are_those_of_the_preset_of_its_logs(call: str) -> None:
    (event,) = records({**SEGMENT, "event": call, "properties": PRODUCT})
    case = next(one for one in presets()["segment"]["fields"]["event_type"]["cases"] if call.lower() in str(one["when"]))
    assert event["event_type"] == case["value"]


def test_ga4s_names_are_those_of_the_preset_of_its_logs() -> None:
    kept = presets()["ga4"]["drop_when"][0]["not"]["one_of"]
    found = records({"client_id": "d", "events": [{"name": name} for name in [*kept, "session_start"]]})
    renamed = presets()["ga4"]["fields"]["event_type"]["map"]
    assert [event["event_type"] for event in found] == [renamed.get(name, name) for name in kept]


def test_requests_of_ga4s_measurement_protocol_are_understood() -> None:
    sent = {
        "client_id": "tablet",
        "user_id": "u1",
        "timestamp_micros": 1759316400000000,
        "events": [
            {"name": "view_item", "params": {"currency": "EUR", "items": [{"item_id": "i1", "price": 9.99}]}},
            {"name": "purchase", "params": {"items": [{"item_id": "i1", "price": 5, "quantity": 2}, {"item_id": "i2"}]}},
            {"name": "own_name", "params": {}},
        ],
    }
    found = records(sent)
    assert [(line["event_type"], line["item_id"], line.get("value")) for line in found] == [
        ("item_view", "i1", 9.99),
        ("purchase", "i1", 10.0),
        ("purchase", "i2", None),
    ]
    assert {line["timestamp"] for line in found} == {"2025-10-01T11:00:00.000000Z"}
    assert {line["anonymous_id"] for line in found} == {device_name("tablet")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_type": "purchased"}, "event_type: found 'purchased'; expected one of add_to_cart"),
        ({"event_type": None}, "event_type: found None"),
        ({"user_id": None}, "user_id: found None; expected user_id or anonymous_id"),
        ({"user_id": ["u1"]}, r"user_id: found \['u1'\]; expected a text"),
        ({"user_id": "x" * 600}, "user_id: found 'x+'...; expected 1 to 512 characters"),
        ({"item_id": "a\nb"}, r"item_id: found 'a\\nb'; expected 1 to 512 characters that can be printed"),
        ({"value": "much"}, "value: found 'much'; expected a number"),
        ({"value": True}, "value: found True; expected a finite number"),
        ({"quantity": 1e300}, "quantity: found 1e.300; expected a finite number"),
        ({"timestamp": "yesterday"}, "timestamp: found 'yesterday'; expected a moment such as"),
        ({"timestamp": "2025-10-03T00:00:00Z"}, "timestamp: found .*; expected a moment up to now .*the sender's clock is ahead"),
        ({"timestamp": "1999-01-01"}, "timestamp: found .*; expected a moment of the last 30 days"),
        ({"timestamp": -5}, "timestamp: found -5; expected seconds since 1970"),
        ({"colour": "red"}, "colour: found 'red'; expected one of anonymous_id"),
        ({"event_type": "not_interested", "item_id": None}, "item_id: found None; expected the id of an item"),
        ({"event_type": "personalisation", "value": 2}, "value: found 2; expected 0 or 1"),
    ],
)
def test_what_cannot_be_used_is_named_with_what_is_expected(change: dict, message: str) -> None:
    with pytest.raises(InvalidEventError, match=message):
        records({"event_type": "item_view", "user_id": "u1", "item_id": "i1", **change})


def test_a_clock_that_is_a_little_ahead_counts_as_now() -> None:
    (found,) = records({"event_type": "item_view", "user_id": "u1", "timestamp": "2025-10-01T12:05:00Z"})
    assert found["timestamp"] == "2025-10-01T12:00:00.000000Z"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
NAMES = st.sampled_from(
    [
        "type",
        "event",
        "events",
        "event_type",
        "userId",
        "user_id",
        "client_id",
        "properties",
        "products",
        "params",
        "items",
        "item_id",
        "name",
        "timestamp",
        "value",
        "price",
        "batch",
    ]
)
TEXTS = st.sampled_from(["track", "Order Completed", "item_view", "purchase", "u1", "i1", "page", "identify"])
ANYTHING = st.recursive(
    SCALARS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=5),
    max_leaves=12,
)


@law(400)
@given(ANYTHING)
def test_whatever_is_sent_becomes_records_that_can_be_written_or_an_error_that_names_a_field(document) -> None:
    found, refused = [], []
    try:
        found = records(document)
    except InvalidEventError as error:
        refused = [error.field, error.found, error.expected]
    assert all(refused)
    orjson.dumps(refused)
    for record in found:
        assert record["event_type"] in EVENT_TYPES
        assert dt.datetime.fromisoformat(record["timestamp"][:-1]) <= NOW
        assert record.keys() & {"user_id", "anonymous_id"}
        orjson.dumps(record)


def test_no_raw_id_of_a_person_is_in_a_record() -> None:
    for document in (
        {"event_type": "login", "user_id": "anna@example.com", "anonymous_id": "phone-77"},
        {**SEGMENT, "userId": "anna@example.com", "anonymousId": "phone-77"},
    ):
        text = orjson.dumps(records(document)).decode()
        assert "anna" not in text
        assert "phone-77" not in text


@pytest.mark.parametrize("word", ["undefined", "NULL", "None", "-", "nan"])
def test_a_word_that_means_nothing_is_nobodys_id(word: str) -> None:
    """As browsers send it where a variable is empty: all of them would be one person."""
    with pytest.raises(InvalidEventError, match="user_id or anonymous_id: whose event it is"):
        list(READER.records({"event_type": "item_view", "user_id": word, "item_id": "i1"}))
    (record,) = READER.records({"event_type": "item_view", "user_id": word, "anonymous_id": "d", "item_id": "i1", "event_id": word})
    assert "user_id" not in record
    assert record["event_id"] == "new"


def test_ids_are_read_in_the_spelling_of_the_logs() -> None:
    def read(user: str, **chosen) -> str:
        spelling = Spelling(Identifiers(**chosen))
        reader = dataclasses.replace(READER, spelling=spelling)
        (record,) = reader.records({"event_type": "item_view", "user_id": user, "item_id": user})
        assert record["item_id"] == spelling.of(user)
        return record["user_id"]

    assert read("café") == read("cafe\u0301")
    assert read("café", form="none") != read("cafe\u0301", form="none")
    assert read("Ann") != read("ann")
    assert read("Ann", lower_case=True) == read("ann", lower_case=True)
    assert read("a  b", blanks="collapse") == read("a b", blanks="collapse")
    assert Spelling(Identifiers(invisible="remove")).of("a\u200bb") == "ab"


@pytest.mark.parametrize(
    ("event", "field"),
    [
        ({"event_type": "purchase", "value": -1}, "value"),
        ({"event_type": "purchase", "value": 2e9}, "value"),
        ({"event_type": "rating", "value": 1001}, "value"),
        ({"event_type": "purchase", "value": 1, "quantity": -2}, "quantity"),
        ({"event_type": "play", "dwell_ms": 8 * 24 * 3_600_000}, "dwell_ms"),
    ],
)
def test_amounts_that_the_logs_would_reject_are_refused(event: dict, field: str) -> None:
    with pytest.raises(InvalidEventError, match=f"^{field}: found .*; expected a number between"):
        list(READER.records({**event, "user_id": "u", "item_id": "i"}))
    (record,) = READER.records({"event_type": "rating", "value": -5, "user_id": "u", "item_id": "i"})
    assert record["value"] == -5
