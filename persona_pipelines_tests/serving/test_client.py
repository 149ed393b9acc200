"""The Python client: what happens is told once, whatever happens on the way, and nothing without consent."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from persona_pipelines import client as module
from persona_pipelines.client import Client, ClientError, wait_before
from persona_pipelines_tests.conftest import law

ROOT = Path(__file__).parents[2]


class Planned:
    """A service whose answers are planned: a status, with headers or a body, or None for a connection that breaks; after them 202 and 200.

    Attributes:
        asked: path, headers and document of each request.
    """

    def __init__(self, *answers: Any) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        planned, asked = list(answers), self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["content-length"])))
                asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}, document))
                answer = planned.pop(0) if planned else (202 if self.path == "/v1/events" else 200)
                if answer is None:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                status, headers, body = (answer, {}, b"{}") if isinstance(answer, int) else answer
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def planned() -> Iterator[Callable[..., Planned]]:
    services: list[Planned] = []

    def start(*answers: Any) -> Planned:
        services.append(Planned(*answers))
        return services[-1]

    yield start
    for service in services:
        service.stop()


@pytest.fixture
def client() -> Iterator[Callable[..., Client]]:
    """Clients of people of whom the service knows that they agreed."""
    made: list[Client] = []

    def make(address: str, **options: Any) -> Client:
        made.append(Client(address, **{"consent": True, "announce": False, "interval": 0.0, "first_wait": 0.002, **options}))
        return made[-1]

    yield make
    for entry in made:
        entry.close(0.0)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody answers."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


def wait(sent: Callable[[], bool]) -> None:
    until = threading.Event()
    for _ in range(2000):
        if sent():
            return
        until.wait(0.005)
    raise AssertionError("it is not so within ten seconds")


def test_the_next_list_knows_what_was_told(served, client) -> None:
    service = served()
    asking = client(service.address)
    before = asking.recommendations("u3", k=5)
    event = asking.track("item_view", user_id="u3", item_id=before["items"][0]["item_id"], list_id=before["list_id"])
    assert len(event) == 32
    assert asking.flush()
    after = asking.recommendations("u3", k=5)
    assert before["items"][0]["item_id"] not in [entry["item_id"] for entry in after["items"]]
    assert (service.engine.state.events, asking.waiting, asking.dropped) == (1, 0, 0)


def test_every_wish_reaches_the_service(served, planned, client) -> None:
    wishes = {
        "k": 3,
        "session": ["i1"],
        "exclude": ["i2"],
        "categories": ["red"],
        "not_categories": ["green"],
        "price_below": 20.0,
        "in_stock": True,
        "slot": "front",
        "campaign": "spring",
        "country": "NL",
        "referrer": "https://example.com",
        "device": "tablet",
    }
    service = planned()
    client(service.address).recommendations("u3", **wishes)
    ((path, _, document),) = service.asked
    assert (path, document) == ("/v1/recommendations", {"user": "u3", **wishes})
    answer = client(served().address).recommendations("u3", **wishes)
    assert (answer["slot"], len(answer["items"])) == ("front", 3)
    assert {entry["category"] for entry in answer["items"]} == {"red"}


def test_what_is_wrong_in_a_question_is_told_with_the_field(served, client) -> None:
    with pytest.raises(ClientError, match="k: found 0") as caught:
        client(served().address).recommendations("u3", k=0)
    assert (caught.value.status, caught.value.body["errors"][0]["field"]) == (422, "k")


def test_a_service_that_is_not_there_is_told_to_who_asks_and_to_nobody_who_tells(nobody, client) -> None:
    away = client(nobody)
    with pytest.raises(ClientError, match=r"no answer of http://127\.0\.0\.1") as caught:
        away.recommendations("u3")
    assert caught.value.status == 0
    away.track("item_view", user_id="u3", item_id="i1")
    assert not away.flush()
    assert away.waiting == 1


def test_an_event_is_told_again_until_it_is_acknowledged_and_stays_the_same(planned, client) -> None:
    service = planned(503, 429, None, (200, {}, b"<html>log in to this network</html>"), 500, 408)
    telling = client(service.address)
    event = telling.track("item_view", user_id="u3", item_id="i1")
    wait(lambda: telling.waiting == 0)
    assert len(service.asked) == 7
    documents = [document for _, _, document in service.asked]
    assert documents == [documents[0]] * 7
    assert documents[0][0]["event_id"] == event
    assert documents[0][0]["timestamp"].endswith("+00:00")
    assert documents[0][0].keys() == {"event_id", "timestamp", "event_type", "user_id", "item_id"}


def test_an_answer_that_was_lost_counts_no_event_twice(served, client, monkeypatch: pytest.MonkeyPatch) -> None:
    service = served()
    telling = client(service.address)
    asked, post = [], telling._post

    def lossy(path: str, document: Any) -> Any:
        answer = post(path, document)
        asked.append(answer)
        if len(asked) == 1:
            raise ClientError("the connection broke after the service had all")
        return answer

    monkeypatch.setattr(telling, "_post", lossy)
    telling.track("item_view", user_id="u3", item_id="i12")
    wait(lambda: telling.waiting == 0)
    assert asked == [{"accepted": 1, "repeated": 0}, {"accepted": 0, "repeated": 1}]
    assert service.engine.state.events == 1


@law(300)
@given(attempt=st.integers(1, 10_000), first=st.floats(0.001, 10), asked=st.floats(0, 100))
def test_waits_grow_to_a_minute_and_respect_what_the_service_asks(attempt: int, first: float, asked: float) -> None:
    found = wait_before(attempt, first, asked)
    assert asked <= found <= max(asked, min(60.0, first * 2 ** min(attempt - 1, 30)))


def test_a_service_that_asks_for_time_gets_it(planned, client) -> None:
    service = planned((503, {"retry-after": "30"}, b"{}"))
    telling = client(service.address)
    telling.track("item_view", user_id="u3", item_id="i1")
    wait(lambda: len(service.asked) == 1)
    threading.Event().wait(0.05)
    assert (len(service.asked), telling.waiting) == (1, 1)


def test_many_events_go_in_few_requests_in_their_order(planned, client) -> None:
    service = planned()
    telling = client(service.address, interval=0.2)
    for number in range(450):
        telling.track("item_view", user_id="u3", item_id=f"i{number}")
    assert telling.flush()
    told = [event["item_id"] for _, _, document in service.asked for event in document]
    assert told == [f"i{number}" for number in range(450)]
    assert len(service.asked) == 3


def test_one_event_that_is_refused_does_not_hold_up_the_others(served, client) -> None:
    service, refused = served(), []
    telling = client(service.address, refused=lambda event, error: refused.append((event, error)), interval=0.2)
    for number in range(9):
        telling.track("item_view" if number != 5 else "stared_at", user_id="u3", item_id=f"i{number}")
    assert telling.flush()
    assert service.engine.state.events == 8
    ((event, error),) = refused
    assert (event["item_id"], error.status) == ("i5", 422)
    assert error.body["errors"][0]["field"] == "event_type"


def test_what_is_refused_is_logged_without_ids(served, client, caplog: pytest.LogCaptureFixture) -> None:
    telling = client(served().address)
    telling.track("item_view", user_id="u3\n", item_id="i\x00secret")
    wait(lambda: telling.waiting == 0)
    wait(lambda: bool(caplog.records))
    (line,) = [record.getMessage() for record in caplog.records if record.name == "persona_pipelines.client"]
    assert line == "an event item_view was refused, status 422: item_id: expected 1 to 512 characters that can be printed"


def test_a_wrong_token_is_told_and_asked_with_once(served, planned, client) -> None:
    refused, away = [], planned(401)
    wrong = client(away.address, token="wrong", refused=lambda event, error: refused.append(error.status), interval=0.2)
    wrong.track("item_view", user_id="u3", item_id="i1")
    wrong.track("item_view", user_id="u3", item_id="i2")
    assert wrong.flush()
    assert refused == [401, 401]
    assert [headers["authorization"] for _, headers, _ in away.asked] == ["Bearer wrong"]
    service = served(token="right")
    right = client(service.address, token="right")
    right.track("item_view", user_id="u3", item_id="i1")
    assert right.flush()
    assert service.engine.state.events == 1


def test_a_fault_of_the_callback_stops_nothing(planned, client) -> None:
    service = planned(403)
    telling = client(service.address, refused=lambda event, error: 1 / 0)
    telling.track("item_view", user_id="u3", item_id="i1")
    wait(lambda: telling.waiting == 0)
    telling.track("item_view", user_id="u3", item_id="i2")
    wait(lambda: len(service.asked) == 2)


def test_what_waits_in_a_file_is_sent_by_the_next_client(served, nobody, client, tmp_path: Path) -> None:
    file = tmp_path / "events.queue"
    first = client(nobody, queue=file)
    for number in range(3):
        first.track("item_view", user_id="u3", item_id=f"i{number}")
    assert not first.close(1)
    assert file.stat().st_mode & 0o777 == 0o600
    service = served()
    second = client(service.address, queue=file)
    wait(lambda: second.waiting == 0)
    assert service.engine.state.events == 3
    second.close()
    assert client(nobody, queue=file).waiting == 0


def test_of_too_many_that_wait_the_oldest_are_dropped_and_counted(nobody, planned, client, tmp_path: Path) -> None:
    file = tmp_path / "events.queue"
    away = client(nobody, queue=file, most=3)
    for number in range(5):
        away.track("item_view", user_id="u3", item_id=f"i{number}")
    assert (away.waiting, away.dropped) == (3, 2)
    away.close(0)
    service = planned()
    assert client(service.address, queue=file).flush()
    assert [event["item_id"] for _, _, document in service.asked for event in document] == ["i2", "i3", "i4"]


def test_a_file_that_is_no_queue_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "logs.csv"
    file.write_text("user,item\n" * 1000)
    with pytest.raises(ClientError, match=r"queue: found .*logs\.csv.*not a database.*expected a file of this client"):
        Client(consent=True, queue=file)
    assert file.read_text() == "user,item\n" * 1000


def test_without_consent_nothing_is_sent_or_kept_and_lists_are_for_nobody(planned, client, tmp_path: Path) -> None:
    service, file = planned(), tmp_path / "events.queue"
    silent = client(service.address, consent=False, queue=file)
    assert silent.track("item_view", user_id="u3", anonymous_id="d-1", item_id="i1") is None
    silent.withdraw(user_id="u3")
    assert silent.flush()
    assert silent.recommendations("u3", device="d-1", k=2) == {}
    ((path, _, document),) = service.asked
    assert path == "/v1/recommendations"
    assert (document["user"], document["device"]) == (None, None)
    silent.close()
    assert b"u3" not in file.read_bytes()


def test_consent_can_be_of_each_person_and_end_while_an_event_waits(planned, nobody, client, tmp_path: Path) -> None:
    agreed, file = {"u1", "u2"}, tmp_path / "events.queue"
    away = client(nobody, consent=lambda name: name in agreed, queue=file)
    told = [away.track("item_view", user_id=name, item_id="i1") is not None for name in ("u1", "u2", "u3")]
    assert told == [True, True, False]
    away.close(0)
    agreed.remove("u2")
    service = planned()
    assert client(service.address, consent=lambda name: name in agreed, queue=file).flush()
    assert [event["user_id"] for _, _, document in service.asked for event in document] == ["u1"]


def kinds(document: Any) -> list[str]:
    return [f"{event['event_type']} {event['value']}" if "value" in event else event["event_type"] for event in document]


def told_to(service: Planned) -> list[str]:
    return [kind for path, _, document in service.asked if path == "/v1/events" for kind in kinds(document)]


def test_with_consent_the_service_is_told_so_before_the_first_list_and_with_the_first_events_once(planned, client, tmp_path: Path) -> None:
    service, file = planned(), tmp_path / "events.queue"
    first = client(service.address, announce=True, queue=file, interval=60)
    first.recommendations("u3", device="d-1")
    assert [path for path, _, _ in service.asked] == ["/v1/events", "/v1/recommendations"]
    ((event,), _) = [document for _, _, document in service.asked]
    assert (kinds([event]), event["user_id"], event["anonymous_id"]) == (["personalisation 1"], "u3", "d-1")
    first.track("item_view", user_id="u3", item_id="i1")
    first.track("item_view", anonymous_id="d-2", item_id="i1")
    first.recommendations("u3")
    assert first.close()
    second = client(service.address, announce=True, queue=file)
    second.track("purchase", user_id="u3", item_id="i1")
    assert second.flush()
    assert told_to(service) == ["personalisation 1", "item_view", "personalisation 1", "item_view", "purchase"]


def test_lists_are_made_for_who_agreed_though_the_service_takes_no_consent_for_granted(served, client) -> None:
    service = served(consent_when_unknown=False)
    assert not client(service.address).recommendations("somebody new", session=["i1"])["personal"]
    assert client(service.address, announce=True).recommendations("somebody new", session=["i1"])["personal"]


def test_after_a_withdrawal_a_new_consent_is_told_again(planned, client, tmp_path: Path) -> None:
    service, file = planned(), tmp_path / "events.queue"
    asking = client(service.address, announce=True, queue=file, interval=60)
    asking.recommendations("u3")
    asking.withdraw("u3")
    asking.recommendations("u3")
    asking.agree("u3")
    asking.recommendations("u3")
    asking.withdraw("u3")
    assert asking.close()
    client(service.address, announce=True, queue=file).recommendations("u3")
    assert told_to(service) == ["personalisation 1", "personalisation 0", "personalisation 1", "personalisation 0", "personalisation 1"]


def test_who_does_not_agree_is_not_announced_however_often_they_are_said_to(planned, client) -> None:
    service = planned()
    silent = client(service.address, announce=True, consent=False)
    silent.agree("u3")
    silent.recommendations("u3")
    assert silent.flush()
    assert told_to(service) == []


def test_that_a_person_agrees_is_forgotten_with_their_consent_where_it_was_not_sent_yet(planned, nobody, client, tmp_path: Path) -> None:
    agreed, file = {"u3"}, tmp_path / "events.queue"
    away = client(nobody, announce=True, consent=lambda name: name in agreed, queue=file)
    away.track("item_view", user_id="u3", item_id="i1")
    away.close(0)
    agreed.clear()
    service = planned()
    assert client(service.address, consent=lambda name: name in agreed, queue=file).flush()
    assert told_to(service) == []


def test_what_a_person_says_of_lists_of_their_own_is_not_overruled_by_their_consent(planned, client) -> None:
    service = planned()
    asking = client(service.address, announce=True, interval=60)
    asking.track("personalisation", user_id="u3", value=0)
    asking.track("item_view", user_id="u3", item_id="i1")
    asking.recommendations("u3")
    assert told_to(service) == ["personalisation 0", "item_view"]


def test_a_list_comes_though_the_service_cannot_be_told_of_the_consent(
    planned, client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = planned((503, {"retry-after": "30"}, b"{}"))
    asking = client(service.address, announce=True, interval=60)
    assert asking.recommendations("u3") == {}
    assert asking.recommendations("u3") == {}  # while it is waited for the next attempt
    assert [path for path, _, _ in service.asked] == ["/v1/events", "/v1/recommendations", "/v1/recommendations"]
    with monkeypatch.context() as damaged:
        damaged.setattr(asking._queue, "has_said", lambda name: 1 / 0)
        assert asking.recommendations("u4") == {}
    assert "a fault while a consent was told" in caplog.text
    asking.close(0.0)
    assert asking.recommendations("u4") == {}


def test_of_what_is_dropped_what_was_said_of_consent_is_the_last(nobody, planned, client, tmp_path: Path) -> None:
    file = tmp_path / "events.queue"
    away = client(nobody, announce=True, queue=file, most=4)
    for number in range(6):
        away.track("item_view", user_id="u3", item_id=f"i{number}")
    away.close(0)
    service = planned()
    assert client(service.address, queue=file).flush()
    assert told_to(service) == ["personalisation 1", *["item_view"] * 4]


def test_who_withdraws_is_forgotten_and_the_service_told(served, client) -> None:
    service = served()
    asking = client(service.address, interval=5.0)
    assert asking.recommendations("u3")["personal"]
    asking.track("item_view", user_id="u3", item_id="i1")
    asking.track("item_view", user_id="u6", item_id="i1")
    asking.withdraw(user_id="u3")
    assert asking.track("item_view", user_id="u3", item_id="i2") is None
    assert asking.waiting == 2
    assert asking.flush()
    assert service.engine.state.events == 2
    other = client(service.address)
    assert [other.recommendations(name)["personal"] for name in ("u3", "u6")] == [False, True]
    assert not asking.recommendations("u3")["known"]


def test_an_exit_of_the_process_sends_what_waits(planned) -> None:
    service = planned()
    script = f"""
        from persona_pipelines.client import Client
        Client({service.address!r}, consent=True, interval=60).track("item_view", user_id="u3", item_id="i1")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=60)
    assert len(service.asked) == 1


def test_the_file_can_be_taken_along_alone(tmp_path: Path) -> None:
    shutil.copy(str(module.__file__), tmp_path / "taken.py")
    script = "import sys; sys.path.insert(0, '.'); import taken; assert 'persona_pipelines' not in sys.modules; taken.Client(consent=False)"
    subprocess.run([sys.executable, "-I", "-S", "-c", script], cwd=tmp_path, check=True, timeout=60)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Client("127.0.0.1:8000", consent=True), "address: found '127.0.0.1:8000'; expected one such as http://127.0.0.1:8000"),
        (lambda: Client("file:///etc/passwd", consent=True), "address: found"),
    ],
)
def test_an_address_that_is_none_is_refused(wrong: Callable[[], Client], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()


def test_an_event_of_nobody_and_one_that_is_no_json_are_refused_at_once(nobody, client) -> None:
    away = client(nobody)
    with pytest.raises(ValueError, match="expected user_id or anonymous_id"):
        away.track("item_view", item_id="i1")
    with pytest.raises(ValueError, match="Out of range float"):
        away.track("purchase", user_id="u3", item_id="i1", value=float("nan"))
    away.close(0)
    with pytest.raises(ValueError, match="closed"):
        away.track("item_view", user_id="u3", item_id="i1")


def test_the_documentation_shows_what_works(served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    service = served()
    (text,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "live.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert "http://127.0.0.1:8000" in text
    exec(text.replace("http://127.0.0.1:8000", service.address), {})
    assert service.engine.state.events == 2  # what is tracked, and that the person agrees
