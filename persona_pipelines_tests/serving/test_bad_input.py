"""Whatever is sent: an answer that names what is wrong, or one that is defined; no fault, and nothing of it stays in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines.serving.engine import Asked, Engine
from persona_pipelines.serving.journal import Journal, files_of
from persona_pipelines.serving.received import LONGEST_FIELD, LONGEST_ID, OWN_FIELDS
from persona_pipelines.serving.service import EVENTS, LISTS, LONGEST_NAME, MOST_ERRORS, Service, app_of
from persona_pipelines_tests.conftest import law
from persona_pipelines_tests.serving.conftest import NOW, Answer, told
from persona_pipelines_tests.serving.test_service import VIEW, post

SESSIONS = "/v1/recommendations"
DEEP = (50, 700, 950, 990, 1_020, 1_030, 100_000)
"""Some of them pass a reader of JSON, and not what shows in Python what was found."""
HOSTILE = ("../../etc/passwd", "'; DROP TABLE users; --", "<script>alert(1)</script>", "\u202eu1", "\u200bu1", "{{7*7}}", "%2e%2e%2f", "u1\r\nset-cookie: a=b")  # fmt: skip
WRONG = [None, True, 0, -1, 1.5, 1e308, 2**63, "", "x" * 1_000, "\x00", [], [[]], {}, {"a": {}}, [None], "NaN", "9" * 500]


@pytest.fixture
def app(engine_of: Callable[..., Engine], tmp_path: Path):
    journal = Journal(tmp_path / "events", lambda: NOW.date())
    yield app_of(engine_of(), journal)
    journal.close()


def refused(answer: Answer, *statuses: int) -> None:
    """It is a refusal as it is described, and no longer than what it says."""
    assert answer.status in statuses, answer.body[:300]
    assert answer.headers["content-type"] == "application/problem+json"
    assert (answer.json["status"], bool(answer.json["detail"])) == (answer.status, True)
    assert len(answer.body) < 20_000
    if answer.status == 422:
        assert answer.json["errors"]
        assert all(error["field"] and error["expected"] for error in answer.json["errors"])


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"slot": "\\ud800"}', 422, "slot"),
        (b'{"session": ["i1", "\\udfff"]}', 422, "session[1]"),
        (b'{"\\ud800": 1}', 422, "body"),
        (b'{"price_below": NaN}', 422, "price_below"),
        (b'{"price_below": -Infinity}', 422, "price_below"),
        (b'{"price_below": 1e999}', 422, "price_below"),
        (b'{"k": ' + b"9" * 4_000 + b"}", 422, "k"),
        (b'{"k": ' + b"9" * 5_000 + b"}", 400, None),
        (b'{"user": "\xff"}', 400, None),
        (b"", 422, "body"),
        (b"null", 422, "body"),
        (b'{"' + b"x" * 900_000 + b'": 1}', 422, "x" * LONGEST_FIELD),
    ],
)
def test_a_session_that_is_no_text_or_no_number_is_refused(app: Service, body: bytes, status: int, field: str | None) -> None:
    (answer,) = told(app, ("POST", SESSIONS, body))
    refused(answer, status)
    if field:
        assert answer.json["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"event_type": "item_view", "user_id": "\\ud800"}', 400, None),
        (b'{"event_type": "purchase", "user_id": "u", "value": NaN}', 400, None),
        (b'{"event_type": "purchase", "user_id": "u", "value": 1e400}', 400, None),
        (b'{"event_type": "purchase", "user_id": "u", "value": 1e300}', 422, "value"),
        (b'{"event_type": "purchase", "user_id": "u", "value": "nan"}', 422, "value"),
        (b"", 400, None),
        (b"null", 422, "event"),
        (b'"x"', 422, "event"),
        (b'{"' + b"x" * 900_000 + b'": 1}', 422, "x" * LONGEST_FIELD),
    ],
)
def test_an_event_that_is_no_text_or_no_number_is_refused(app: Service, body: bytes, status: int, field: str | None) -> None:
    (answer,) = told(app, ("POST", EVENTS, body))
    refused(answer, status)
    if field:
        assert answer.json["errors"][0]["field"] == field


@pytest.mark.parametrize("path", [SESSIONS, EVENTS])
@pytest.mark.parametrize("depth", DEEP)
def test_what_is_nested_deeply_is_refused(app: Service, path: str, depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    field = b"session" if path == SESSIONS else b"user_id"
    bodies = (nested, b'{"event_type": "item_view", "' + field + b'": ' + nested + b"}", b'{"a":' * depth + b"1" + b"}" * depth)
    for answer in told(app, *(("POST", path, body) for body in bodies)):
        refused(answer, 400, 422)


@pytest.mark.parametrize("field", sorted(OWN_FIELDS))
def test_every_field_of_an_event_takes_what_it_says_or_names_itself(app: Service, field: str) -> None:
    for value, answer in zip(WRONG, told(app, *(post({**VIEW, field: value}) for value in WRONG)), strict=True):
        if answer.status == 202:
            continue
        refused(answer, 422, 400)
        if answer.status == 422:  # without a user nobody is named
            assert answer.json["errors"][0]["field"] in (field, "user_id"), (value, answer.json)


@pytest.mark.parametrize(
    "field", ["session", "user", "device", "k", "exclude", "categories", "not_categories", "price_below", "in_stock", "slot"]
)
def test_every_field_of_a_session_takes_what_it_says_or_names_itself(app: Service, field: str) -> None:
    for value, answer in zip(WRONG, told(app, *(post({field: value}, SESSIONS) for value in WRONG)), strict=True):
        if answer.status != 200:
            refused(answer, 422)
            assert answer.json["errors"][0]["field"].split("[")[0] == field, (value, answer.json)


ITEMS = "/v1/items"


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (("GET", LISTS + "u?k=drei"), {"field": "k", "found": "'drei'", "expected": "a whole number"}),
        (("GET", LISTS + "u?k=0"), {"field": "k", "found": "'0'", "expected": "greater than or equal to 1"}),
        (("GET", LISTS + "u?device=perhaps"), {"field": "device", "found": "'perhaps'", "expected": "true or false"}),
        (("GET", LISTS + "u?price_below=cheap"), {"field": "price_below", "found": "'cheap'", "expected": "a number"}),
        (("GET", LISTS + "u?price_below=nan"), {"field": "price_below", "found": "'nan'", "expected": "a finite number"}),
        (("GET", LISTS + "u?exclude="), {"field": "exclude[0]", "found": "''", "expected": "at least 1 character"}),
        (post([], SESSIONS), {"field": "body", "found": "[]", "expected": "an object with names and values"}),
        (("POST", SESSIONS, b""), {"field": "body", "found": "nothing", "expected": "a value"}),
        (post({"session": "i1"}, SESSIONS), {"field": "session", "found": "'i1'", "expected": "a list"}),
        (post({"user": 5}, SESSIONS), {"field": "user", "found": "5", "expected": "a text"}),
        (post({"k": 1.5}, SESSIONS), {"field": "k", "found": "1.5", "expected": "a whole number"}),
        (post({"session": ["i1"] * 1_001}, SESSIONS), {"field": "session", "expected": "at most 1000 items"}),
        (post({"title": "x"}, ITEMS), {"field": "item_id", "found": "nothing", "expected": "a value"}),
        (post([{"item_id": "n", "price": "cheap"}], ITEMS), {"field": "items[0].price", "found": "'cheap'", "expected": "a number"}),
        (post({"item_id": "n", "attributes": {"size": []}}, ITEMS), {"field": "attributes.size", "found": "[]", "expected": "a text or a number or true or false"}),
        (post({"item_id": "n", "attributes": 1}, ITEMS), {"field": "attributes", "found": "1", "expected": "an object with names and values"}),
        (post([], ITEMS), {"field": "items", "found": "[]", "expected": "at least 1 item"}),
        (post("x", ITEMS), {"field": "body", "found": "'x'", "expected": "an object with names and values"}),
    ],
)  # fmt: skip
def test_a_refusal_says_in_words_what_is_expected(app: Service, request_: tuple, error: dict[str, str]) -> None:
    (answer,) = told(app, request_)
    refused(answer, 422)
    (found,) = answer.json["errors"]
    assert {name: found[name] for name in error} == error
    assert answer.json["detail"] == f"{found['field']}: found {found['found']}; expected {found['expected']}"


@pytest.mark.parametrize(
    ("request_", "field", "meant"),
    [
        (("GET", LISTS + "u?category=red"), "category", "categories"),
        (post({"exlude": ["i1"]}, SESSIONS), "exlude", "exclude"),
        (post({"item_id": "n", "instock": True}, ITEMS), "instock", "in_stock"),
        (post({**VIEW, "itemid": "i1"}), "itemid", "item_id"),
        (post({**VIEW, "event_type": "item_views"}), "event_type", "item_view"),
    ],
)
def test_a_name_that_is_not_known_is_told_with_the_known_ones_and_the_nearest(
    app: Service, request_: tuple, field: str, meant: str
) -> None:
    (answer,) = told(app, request_)
    (error,) = answer.json["errors"]
    assert error["field"] == field
    assert error["expected"].startswith("one of ")
    assert error["expected"].endswith(f" (did you mean {meant!r}?)")


@pytest.mark.parametrize("field", ["title", "categories", "price", "in_stock", "attributes"])
def test_every_field_of_a_row_takes_what_it_says_or_says_in_words_what_it_takes(app: Service, field: str) -> None:
    for several in (False, True):
        rows = [{"item_id": "n", field: value} for value in WRONG]
        for answer in told(app, *(post([row] if several else row, ITEMS) for row in rows)):
            if answer.status != 202:
                refused(answer, 422)
                assert all(field in error["field"] for error in answer.json["errors"])
                assert not {"Input", "valid", "dictionary", "str", "inputs"} & {
                    word for error in answer.json["errors"] for word in error["expected"].split()
                }


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30),
    lambda some: st.lists(some, max_size=4) | st.dictionaries(st.sampled_from(["type", "event", "events", "name", "params", "items", "userId", "properties", "products", "client_id", "timestamp", "timestamp_micros", "batch"]) | st.text(max_size=5), some, max_size=5),
    max_leaves=12,
)  # fmt: skip
SEGMENT = st.fixed_dictionaries({"type": st.sampled_from(["track", "page", "identify", "group"]), "event": st.sampled_from(["Order Completed", "x"]) | JSON_VALUES, "properties": JSON_VALUES}, optional={"userId": JSON_VALUES, "timestamp": JSON_VALUES})  # fmt: skip
GA4 = st.fixed_dictionaries({"client_id": st.just("d") | JSON_VALUES, "events": st.lists(st.fixed_dictionaries({"name": st.just("purchase") | JSON_VALUES}, optional={"params": JSON_VALUES, "timestamp_micros": JSON_VALUES}), max_size=3) | JSON_VALUES})  # fmt: skip


@law(600)
@given(documents=st.lists(JSON_VALUES | SEGMENT | GA4, min_size=1, max_size=8))
def test_any_json_is_accepted_or_refused(app: Service, documents: list) -> None:
    for path in (EVENTS, SESSIONS):
        for answer in told(app, *(("POST", path, orjson.dumps(document)) for document in documents)):
            if answer.status not in (200, 202):
                refused(answer, 400, 413, 422)


def test_a_list_of_many_wrong_ids_names_the_first_ones(app: Service) -> None:
    (answer,) = told(app, post({"exclude": [1] * 10_000}, SESSIONS))
    refused(answer, 422)
    assert len(answer.json["errors"]) == MOST_ERRORS


def test_a_request_that_names_very_many_items_is_not_kept_in_memory(engine_of: Callable[..., Engine]) -> None:
    engine = engine_of()
    for number in (1, 9_999):
        engine.recommendations(Asked(exclude=[f"i{item}" for item in range(number)]))
        engine.recommendations(Asked(session=[f"i{item}" for item in range(number)]))
    assert [len(asked.exclude) + len(asked.session) for asked in engine.asked] == [1, 1]


def test_a_body_of_ten_megabytes_is_refused_whether_it_is_announced_or_not(app: Service) -> None:
    for path in (EVENTS, SESSIONS):
        announced, chunked = told(
            app, ("POST", path, b"x", {"content-length": "10000000"}), ("POST", path, b"", None, [b"x" * 65_536] * 160)
        )
        refused(announced, 413)
        refused(chunked, 413)


@pytest.mark.parametrize("identifier", HOSTILE)
def test_a_hostile_id_is_an_id_like_others_or_is_refused(app: Service, identifier: str) -> None:
    accepted, listed, asked = told(
        app, post({**VIEW, "user_id": identifier}), ("GET", LISTS + identifier), post({"user": identifier, "slot": identifier}, SESSIONS)
    )
    assert (listed.status, asked.status) == (200, 200)
    assert asked.json["slot"] == identifier
    if identifier.isprintable():
        assert accepted.status == 202
    else:
        refused(accepted, 422)
        assert accepted.json["errors"][0]["field"] == "user_id"
        assert accepted.body.decode().isprintable()


def test_an_id_has_so_many_characters_at_most(app: Service) -> None:
    longest, longer = "ü" * LONGEST_ID, "ü" * (LONGEST_ID + 1)
    assert LONGEST_ID == LONGEST_NAME
    requests = [(post({**VIEW, "user_id": name}), ("GET", LISTS + name), post({"user": name}, SESSIONS)) for name in (longest, longer)]
    fits, too_long = told(app, *requests[0]), told(app, *requests[1])
    assert [answer.status for answer in fits] == [202, 200, 200]
    for answer, field in zip(too_long, ("user_id", "user", "user"), strict=True):
        refused(answer, 422)
        assert answer.json["errors"][0]["field"] == field


def test_an_id_with_a_slash_is_asked_for_like_any_other(app: Service) -> None:
    """A server gives the path with what was encoded in it read already."""
    accepted, listed, profile, similar, together = told(
        app,
        post({**VIEW, "user_id": "shop/7"}),
        ("GET", LISTS + "shop/7?k=3"),
        ("GET", "/v1/profiles/shop/7"),
        ("GET", "/v1/items/shop/7/similar"),
        ("GET", "/v1/items/shop/7/bought-together"),
    )
    assert (accepted.status, listed.status) == (202, 200)
    assert listed.json["items"][0]["reason"] == "because of Thing 12"
    assert profile.json["errors"][0]["found"] == "shop/7"
    assert [answer.json["errors"][0]["found"] for answer in (similar, together)] == ["shop/7", "shop/7"]


def test_a_clock_that_is_off_is_told_and_one_that_is_nearly_right_counts_as_now(app: Service) -> None:
    def at(moment: object) -> tuple:
        return post({**VIEW, "timestamp": moment})

    days = [NOW + dt.timedelta(days=days) for days in (-400, -31, 1, 400)]
    for answer in told(app, *(at(moment.isoformat()) for moment in days), at("0001-01-01T00:00:00+14:00"), at(-1), at(1e12), at("today")):
        refused(answer, 422)
        assert answer.json["errors"][0]["field"] == "timestamp"
    (near,) = told(app, at((NOW + dt.timedelta(minutes=9)).isoformat()))
    assert near.status == 202


def test_what_stands_twice_in_an_object_is_what_stands_there_last(app: Service) -> None:
    event = b'{"event_type": "item_view", "user_id": "u77", "item_id": "i1", "item_id": "i12"}'
    accepted, listed, asked = told(app, ("POST", EVENTS, event), ("GET", LISTS + "u77"), ("POST", SESSIONS, b'{"k": 9, "k": 2}'))
    assert (accepted.status, len(asked.json["items"])) == (202, 2)
    assert listed.json["items"][0]["reason"] == "because of Thing 12"


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonp"]
)
def test_another_type_of_content_is_refused(app: Service, kind: str) -> None:
    for answer in told(app, *(("POST", path, b"{}", {"content-type": kind}) for path in (EVENTS, SESSIONS))):
        assert (answer.status, answer.headers["content-type"]) == (415, "application/problem+json")
        assert answer.json["errors"][0]["field"] == "content-type"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get"])
def test_another_method_is_refused_and_those_that_are_there_are_named(app: Service, method: str) -> None:
    for path in (EVENTS, LISTS + "u1", SESSIONS, "/v1/segments", "/healthz", "/"):
        (answer,) = told(app, (method, path, b"", {"content-type": "application/json"}))
        assert answer.status == 405
        assert set(answer.headers["allow"].split(", ")) == ({"POST"} if path in (EVENTS, SESSIONS) else {"GET", "HEAD"})


def test_events_come_in_any_order_and_again(app: Service) -> None:
    early, late = ({**VIEW, "event_id": name, "item_id": item, "timestamp": (NOW - dt.timedelta(hours=hours)).isoformat()} for name, item, hours in (("a", "i3", 9), ("b", "i4", 1)))  # fmt: skip
    first, again, listed = told(app, post([late, early]), post([early, late, early]), ("GET", LISTS + "u77"))
    assert (first.json, again.json) == ({"accepted": 2, "repeated": 0}, {"accepted": 0, "repeated": 3})
    assert {"i3", "i4"}.isdisjoint(entry["item_id"] for entry in listed.json["items"])


def test_what_is_refused_leaves_nothing(app: Service, tmp_path: Path) -> None:
    told(app, *(post({**VIEW, "user_id": f"u{number}", "item_id": {"no": "text"}}) for number in range(50)))
    (metrics,) = told(app, ("GET", "/metrics"))
    assert files_of(tmp_path / "events") == []
    assert b'persona_events_total{outcome="refused"} 50.0' in metrics.body
    assert b"persona_people 0.0" in metrics.body
