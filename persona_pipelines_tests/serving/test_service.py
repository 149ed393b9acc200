"""The service over HTTP: every answer is JSON that says what is so, every refusal names what is wrong."""

import asyncio
import datetime as dt
import errno
import os

import orjson
import pytest

from persona_pipelines.serving.engine import Asked
from persona_pipelines.serving.journal import Journal, events_of, files_of
from persona_pipelines.serving.service import Limiter, app_of
from persona_pipelines_tests.serving.conftest import NOW, ask, told

VIEW = {"event_type": "item_view", "user_id": "u77", "item_id": "i12"}


@pytest.fixture
def shop(engine_of, tmp_path):
    """The service over the shop; ``sync`` stands for the disk."""
    journals = []

    def made(sync=os.fsync, token=None, only_local=True, **options):
        engine = engine_of(**options)
        journal = Journal(tmp_path / f"events-{len(journals)}", lambda: NOW.date(), sync)
        journals.append(journal)
        return app_of(engine, journal, 0, token, only_local), engine, journal

    yield made
    for journal in journals:
        journal.close()


def post(document, path: str = "/v1/events") -> tuple:
    return "POST", path, orjson.dumps(document)


def test_an_event_is_on_the_disk_and_in_the_next_list_when_it_is_acknowledged(shop) -> None:
    app, _engine, journal = shop()
    before, accepted, after = told(
        app, ("GET", "/v1/recommendations/u77?k=5"), post({**VIEW, "event_id": "e1"}), ("GET", "/v1/recommendations/u77?k=5")
    )
    assert (accepted.status, accepted.json) == (202, {"accepted": 1, "repeated": 0})
    (kept,) = events_of(files_of(journal.folder), lambda found: pytest.fail(str(found)))
    assert (kept["event_id"], kept["item_id"]) == ("e1", "i12")
    assert "u77" not in orjson.dumps(kept).decode()
    assert before.json["items"] != after.json["items"]
    assert after.json["items"][0]["reason"] == "because of Thing 12"
    assert {"list_id", "model", "model_version", "as_of", "known", "personal"} <= after.json.keys()
    assert before.json["list_id"] != after.json["list_id"]


def test_an_event_that_comes_again_is_counted_once(shop) -> None:
    app, _engine, journal = shop()
    answers = told(app, post({**VIEW, "event_id": "e1"}), post([{**VIEW, "event_id": "e1"}, {**VIEW, "event_id": "e2"}]))
    assert [answer.json for answer in answers] == [{"accepted": 1, "repeated": 0}, {"accepted": 1, "repeated": 1}]
    assert len(list(events_of(files_of(journal.folder), lambda found: None))) == 2


def test_a_batch_is_kept_whole_or_not_at_all(shop) -> None:
    app, engine, journal = shop()
    (answer,) = told(app, post([VIEW, {**VIEW, "item_id": 1.5}]))
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["errors"] == [{"field": "events[1].item_id", "found": "1.5", "expected": "a text"}]
    assert (engine.state.events, files_of(journal.folder)) == (0, [])
    (answer,) = told(app, post({"batch": [{"type": "page", "userId": "u1"}, {"type": "identify", "userId": "u1", "anonymousId": "d"}]}))
    assert answer.json == {"accepted": 2, "repeated": 0}


def test_events_that_change_no_list_are_named_with_the_reason(shop) -> None:
    app, engine, journal = shop()
    call = {"type": "track", "userId": "u77"}
    sent = [
        VIEW,
        {"event_type": "item_view", "user_id": "u77"},
        {**VIEW, "item_id": "i999"},
        {**call, "event": "Product View"},
        {"event_type": "page_view", "user_id": "u77"},
        {"client_id": "d", "events": [{"name": "view_item", "params": {"items": [{"item_id": "i1"}]}}, {"name": "view_items"}]},
        {"type": "identify", "userId": "u77"},
    ]
    (answer,) = told(app, post(sent))
    assert answer.json == {
        "accepted": 5,
        "repeated": 0,
        "ignored": {
            "count": 5,
            "first": [
                {"index": 1, "why": "item_id: not given; item_view is kept, and changes lists with an item alone"},
                {"index": 2, "why": "item_id: 'i999' is not in the catalogue; the event is kept, and counts once the catalogue has the item"},
                {"index": 3, "why": "event: 'Product View' is none of the names of Segment that say something here (did you mean 'product viewed'?)"},
                {"index": 5, "why": "events[1].name: 'view_items' is none of the names of GA4 that say something here (did you mean 'view_item'?)"},
                {"index": 6, "why": "type: an identify says something here with userId and anonymousId alone: who is on which device"},
            ],
        },
    }  # fmt: skip
    kept = list(events_of(files_of(journal.folder), lambda found: pytest.fail(str(found))))
    assert "i999" in [event.get("item_id") for event in kept]
    (again,) = told(app, post([{**VIEW, "item_id": "i999", "event_id": kept[-1]["event_id"]}]))
    assert again.json == {"accepted": 0, "repeated": 1}
    (many,) = told(app, post([{**call, "event": f"Own name {number}"} for number in range(50)]))
    assert (many.json["accepted"], many.json["ignored"]["count"], len(many.json["ignored"]["first"])) == (0, 50, 20)
    assert engine.state.events == 5


def test_events_of_people_whose_lists_are_the_same_for_all_are_named_with_what_says_so(shop) -> None:
    app, _, _ = shop(consent_when_unknown=False)
    unwanted = {"event_type": "not_interested", "user_id": "u1", "item_id": "i3"}
    no, yes = ({"event_type": "personalisation", "user_id": "u1", "value": value} for value in (0, 1))
    of_known, of_new, said, again = told(
        app,
        post([{**VIEW, "user_id": "u11"}, {**VIEW, "user_id": "u1"}]),
        post([{**unwanted, "user_id": "u77"}, {"event_type": "add_to_cart", "anonymous_id": "d-77", "item_id": "i1"}, {**unwanted, "item_id": "i999"}]),
        post([{**no, "timestamp": "2025-10-01T11:00:00Z"}, unwanted]),
        post([unwanted, yes]),
    )  # fmt: skip
    why = "kept; lists of this person are the same for all, by {}, and it counts in them once they consent"
    assert of_known.json["ignored"] == {
        "count": 1,
        "first": [{"index": 0, "why": why.format("users.consent_personalisation of the last run")}],
    }
    unknown = why.format("privacy.consent_when_unknown")
    assert of_new.json["ignored"]["first"][:2] == [{"index": 0, "why": unknown}, {"index": 1, "why": unknown}]
    assert of_new.json["ignored"]["first"][2]["why"].startswith("item_id: 'i999' is not in the catalogue")
    assert said.json["ignored"] == {"count": 1, "first": [{"index": 1, "why": why.format("personalisation, as they said last")}]}
    assert "ignored" not in again.json


@pytest.mark.parametrize(
    ("method", "path", "detail"),
    [
        ("GET", "/v1/recommendations", "found GET; expected POST, or GET /v1/recommendations/{user}"),
        ("GET", "/v1/items", "found GET; expected POST, or GET /v1/items/{item}/similar, or GET /v1/items/{item}/bought-together"),
        ("POST", "/v1/recommendations/u3", "found POST; expected GET, HEAD"),
        ("DELETE", "/v1/events", "found DELETE; expected POST"),
    ],
)
def test_another_method_is_told_with_those_that_are_answered(shop, method: str, path: str, detail: str) -> None:
    (answer,) = told(shop()[0], (method, path))
    assert (answer.status, answer.json["title"], answer.json["detail"]) == (405, "Method Not Allowed", detail)


def test_a_full_disk_refuses_events_and_lists_are_answered_all_the_same(shop) -> None:
    full = True

    def sync(file: int) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    app, engine, _journal = shop(sync)
    refused, lists = told(app, post(VIEW), ("GET", "/v1/recommendations/u3"))
    assert (refused.status, refused.json["title"]) == (503, "Events cannot be kept")
    assert "No space left on device" in refused.json["detail"]
    assert refused.headers["retry-after"] == "5"
    assert (lists.status, engine.state.events) == (200, 0)
    full = False
    (accepted,) = told(app, post(VIEW))
    assert accepted.status == 202


@pytest.mark.parametrize(
    ("request_", "status", "field"),
    [
        (("GET", "/v1/recommendations/u1?k=0"), 422, "k"),
        (("GET", "/v1/recommendations/u1?k=many"), 422, "k"),
        (("GET", "/v1/recommendations/u1?colour=red"), 422, "colour"),
        (("GET", "/v1/recommendations/u1?price_below=nan"), 422, "price_below"),
        (("GET", "/v1/recommendations/" + "x" * 600), 422, "user"),
        (("GET", "/v1/items/zzz/similar"), 404, "item"),
        (("GET", "/v1/profiles/nobody"), 404, "user"),
        (("GET", "/nowhere"), 404, None),
        (("DELETE", "/v1/events"), 405, None),
        (("POST", "/v1/events", b"{"), 400, None),
        (("POST", "/v1/events", b"[]"), 422, "events"),
        (("POST", "/v1/events", b"\xff\xfe"), 400, None),
        (("POST", "/v1/events", b'{"event_type": "item_view"}'), 422, "user_id"),
        (("POST", "/v1/recommendations", b"[1]"), 422, "body"),
        (("POST", "/v1/recommendations", b'{"session": "i1"}'), 422, "session"),
        (("POST", "/v1/recommendations", b'{"exclude": [1]}'), 422, "exclude[0]"),
        (("POST", "/v1/recommendations", b"{"), 400, None),
        (("POST", "/v1/recommendations", orjson.dumps({"exclude": ["i1"] * 10_001})), 422, "exclude"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_field(shop, request_, status: int, field: str | None) -> None:
    (answer,) = told(shop()[0], request_)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == status
    assert answer.json["detail"]
    if field:
        assert answer.json["errors"][0]["field"] == field


def test_ten_thousand_excluded_items_are_left_out_and_unknown_ones_named(shop) -> None:
    (answer,) = told(shop()[0], post({"user": "u3", "exclude": [f"i{n}" for n in range(10_000)]}, "/v1/recommendations"))
    assert (answer.status, answer.json["items"], answer.json["unknown_items"]["count"]) == (200, [], 9_970)


def test_a_session_of_the_request_is_answered_and_not_kept(shop) -> None:
    app, engine, _ = shop()
    (answer,) = told(app, post({"session": ["i12"], "k": 3}, "/v1/recommendations"))
    assert answer.json["items"][0]["reason"] == "because of Thing 12"
    assert not engine.state.people
    (looking,) = told(app, ("GET", "/v1/recommendations/u77?item=i12&k=3"))
    assert [entry["item_id"] for entry in looking.json["items"]] == [entry["item_id"] for entry in answer.json["items"]]


def test_a_device_has_a_list_and_that_of_who_is_on_it(shop) -> None:
    app, _engine, _ = shop()
    device, user = told(app, ("GET", "/v1/recommendations/tablet?device=true"), ("GET", "/v1/recommendations/u3"))
    assert [entry["item_id"] for entry in device.json["items"]] == [entry["item_id"] for entry in user.json["items"]]


def test_profiles_segments_and_what_goes_with_an_item_are_answered(shop) -> None:
    profile, none, segments, similar, together = told(
        shop()[0],
        ("GET", "/v1/profiles/u3"),
        ("GET", "/v1/profiles/u2"),
        ("GET", "/v1/segments"),
        ("GET", "/v1/items/i1/similar"),
        ("GET", "/v1/items/i1/bought-together"),
    )
    assert (profile.json, none.status) == ({"user": 3}, 404)
    assert segments.json["segments"][0]["segment_name"] == "Everybody"
    assert similar.json["items"] == [{"item_id": "i2", "title": "Thing 2", "similarity": 0.5}]
    assert together.json["items"] == []


QUERIES = [
    "",
    "?k=3",
    "?k=0",
    "?k=drei",
    "?k=3&k=4",
    "?device=true&k=4",
    "?device=perhaps",
    "?exclude=i3&exclude=i4&k=5",
    "?exclude=",
    "?categories=Category%201&categories=nothing",
    "?not_categories=Category+1&in_stock=1",
    "?price_below=7.5",
    "?price_below=nan",
    "?price_below=-1",
    "?item=i12&item=i7&slot=caf%C3%A9",
    "?slot=",
    "?colour=red",
    "?k",
    "?&k=2",
]


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("user", ["u77", "nobody", "a%2Fb", "caf%C3%A9", "x" * 513])
def test_a_list_is_the_same_through_the_framework(shop, user: str, query: str) -> None:
    app, _, _ = shop()
    straight, through = (
        told(app, ("GET", f"/v1/recommendations/{user}{query}")),
        told(app.app, ("GET", f"/v1/recommendations/{user}{query}")),
    )
    found = [[answer.status, answer.headers["content-type"], {**answer.json, "list_id": None}] for answer in (*straight, *through)]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    "path",
    ["/v1/recommendations/u3?k=3", "/v1/recommendations/u3?k=0", "/v1/items/i3/similar", "/v1/profiles/u1", "/v1/segments", "/healthz", "/readyz", "/metrics", "/", "/docs", "/nowhere", "/v1/events"],
)  # fmt: skip
def test_head_is_answered_as_get_without_its_body(shop, path: str) -> None:
    app, _, _ = shop()
    whole, head = told(app, ("GET", path), ("HEAD", path))
    assert (head.status, head.body) == (whole.status, b"")
    ours = {"content-type", "etag", "cache-control"}
    assert {name: head.headers.get(name) for name in ours} == {name: whole.headers.get(name) for name in ours}
    if path not in ("/readyz", "/metrics"):  # which change with every request
        assert head.headers.get("content-length") == whole.headers.get("content-length")
    assert head.status == {"/v1/recommendations/u3?k=0": 422, "/nowhere": 404, "/v1/events": 405}.get(path, 200)


def test_a_list_whose_head_alone_was_asked_for_was_not_served(shop) -> None:
    app, engine, _ = shop()
    served = []
    engine.shown = served.append
    told(app, ("HEAD", "/v1/recommendations/u3?k=3"), ("HEAD", "/v1/recommendations/u3"))
    assert served == []
    told(app, ("GET", "/v1/recommendations/u3?k=3"))
    assert len(served) == 1


@pytest.mark.parametrize("of", ["similar", "bought-together"])
def test_a_parameter_that_there_is_not_is_told_for_items_too(shop, of: str) -> None:
    app, _, _ = shop()
    (answer,) = told(app, ("GET", f"/v1/items/i3/{of}?count=3"))
    assert (answer.status, answer.json["errors"][0]["field"], answer.json["errors"][0]["expected"]) == (422, "count", "one of k")


def test_head_needs_the_token_too(shop) -> None:
    app, _, _ = shop(token="secret", only_local=False)
    (head,) = told(app, ("HEAD", "/v1/segments"))
    assert (head.status, head.body) == (401, b"")


def test_an_unchanged_list_need_not_be_sent_again(shop) -> None:
    app, _, _ = shop()
    (first,) = told(app, ("GET", "/v1/recommendations/u3"))
    again = ("GET", "/v1/recommendations/u3", b"", {"if-none-match": first.headers["etag"]})
    (same,) = told(app, again)
    assert (same.status, same.body) == (304, b"")
    (somebody,) = told(app, ("GET", "/v1/recommendations/u77", b"", {"if-none-match": first.headers["etag"]}))
    assert somebody.status == 200
    _, changed = told(app, post({**VIEW, "user_id": "u3"}), again)
    assert changed.status == 200


def test_the_service_tells_how_it_is(shop) -> None:
    app, _, _ = shop()
    health, ready, _, figures = told(app, ("GET", "/healthz"), ("GET", "/readyz"), post(VIEW), ("GET", "/metrics"))
    assert health.json == {"status": "ok"}
    assert (ready.json["model"], ready.json["model_version"], ready.json["until"]) == ("shop", "3", "2025-10-01T00:00:00")
    assert (ready.json["live_share"], ready.json["live_share_reason"]) == (0.5, "ahead of both alike")
    text = figures.body.decode()
    assert 'persona_events_total{outcome="accepted"} 1.0' in text
    assert 'persona_requests_total{route="/v1/events",status="202"} 1.0' in text


def test_beyond_this_machine_nobody_is_answered_without_the_token(shop) -> None:
    app, _, _ = shop(token="secret", only_local=False)
    without, wrong, right, health = told(
        app,
        ("GET", "/v1/segments", b"", {"host": "shop.example.com"}),
        ("GET", "/v1/segments", b"", {"authorization": "Bearer secre"}),
        ("GET", "/v1/segments", b"", {"authorization": "Bearer secret", "host": "shop.example.com"}),
        ("GET", "/healthz"),
    )
    assert [answer.status for answer in (without, wrong, right, health)] == [401, 401, 200, 200]
    assert without.headers["www-authenticate"] == "Bearer"


def test_pages_of_other_sites_cannot_send_anything(shop) -> None:
    """A name that was turned to this machine, and a form, which may send other types of content without asking."""
    app, engine, _ = shop()
    other, form = told(
        app,
        ("GET", "/v1/segments", b"", {"host": "evil.example.com:8000"}),
        ("POST", "/v1/events", orjson.dumps(VIEW), {"content-type": "text/plain"}),
    )
    assert (other.status, form.status, engine.state.events) == (421, 415, 0)


def test_bodies_have_a_size_and_a_time(shop) -> None:
    app, _, _ = shop(serving={"largest_body_bytes": 1000, "body_seconds": 0.05, "largest_batch": 3})
    said = ("POST", "/v1/events", b"x" * 10, {"content-length": "5000"})
    many = post([VIEW] * 4)
    announced, batch = told(app, said, many)
    assert [announced.status, batch.status] == [413, 413]
    (streamed,) = told(app, ("POST", "/v1/events"), chunks=[b"x" * 600, b"x" * 600])
    assert streamed.status == 413
    (slow,) = told(app, ("POST", "/v1/events"), chunks=[b"{", b"}"], delay=0.04)
    assert slow.status == 408


def test_an_address_may_ask_so_often_and_no_more() -> None:
    now = 0.0
    limiter = Limiter(2, lambda: now)
    assert [limiter.allows("a") for _ in range(3)] == [True, True, False]
    assert limiter.allows("b")
    now = 0.5
    assert [limiter.allows("a") for _ in range(2)] == [True, False]


def test_too_many_requests_of_one_address_are_told_so(shop) -> None:
    app, _, _ = shop(token="t", only_local=False, serving={"requests_per_second": 2})
    answers = told(app, *[("GET", "/v1/segments", b"", {"authorization": "Bearer t"})] * 3)
    assert [answer.status for answer in answers] == [200, 200, 429]


def test_a_fault_of_ours_is_told_without_its_inside(shop, monkeypatch: pytest.MonkeyPatch) -> None:
    app, engine, _ = shop()
    monkeypatch.setattr(engine, "recommendations", lambda asked, seen: 1 / 0)

    (answer,) = told(app, ("GET", "/v1/recommendations/u1"))
    assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "ZeroDivisionError" in answer.json["detail"]
    assert "division by zero" not in answer.body.decode()


def test_events_of_many_at_once_are_all_kept(shop) -> None:
    app, engine, journal = shop()

    async def run():
        async with app.app.router.lifespan_context(app):
            return await asyncio.gather(
                *(ask(app, "POST", "/v1/events", orjson.dumps({**VIEW, "event_id": f"e{n}", "user_id": f"u{n % 7}"})) for n in range(200))
            )

    assert {answer.status for answer in asyncio.run(run())} == {202}
    kept = list(events_of(files_of(journal.folder), lambda found: pytest.fail(str(found))))
    assert sorted(event["event_id"] for event in kept) == sorted(f"e{n}" for n in range(200))
    again = shop()[1]
    again.take(kept)
    assert again.state.described() == engine.state.described()


def test_one_event_that_several_send_at_the_same_time_is_kept_once(shop) -> None:
    app, engine, journal = shop()

    async def run():
        async with app.app.router.lifespan_context(app):
            return await asyncio.gather(
                *(ask(app, *post([{**VIEW, "event_id": "e1"}, {**VIEW, "event_id": f"e{n}"}])) for n in range(2, 12))
            )

    answers = asyncio.run(run())
    assert {answer.status for answer in answers} == {202}
    assert sum(answer.json["accepted"] for answer in answers) == engine.state.events == 11
    assert sum(answer.json["repeated"] for answer in answers) == 9
    kept = list(events_of(files_of(journal.folder), lambda found: pytest.fail(str(found))))
    assert sorted(event["event_id"] for event in kept) == sorted(f"e{n}" for n in range(1, 12))


def test_the_description_of_the_service_names_every_address(shop) -> None:
    (answer,) = told(shop()[0], ("GET", "/openapi.json"))
    assert {
        "/v1/recommendations/{user}", "/v1/recommendations", "/v1/items/{item}/similar", "/v1/items/{item}/bought-together", "/v1/profiles/{user}",
        "/v1/segments", "/v1/events", "/healthz", "/readyz", "/metrics",
    } <= answer.json["paths"].keys()  # fmt: skip


def test_the_engine_answers_without_the_service(engine_of) -> None:
    answer, _ = engine_of(now=dt.datetime(2025, 10, 2)).recommendations(Asked(device="unknown", k=3))
    assert (answer["known"], answer["as_of"], len(answer["items"])) == (False, "2025-10-02T00:00:00.000Z", 3)
