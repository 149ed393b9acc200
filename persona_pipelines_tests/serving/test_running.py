"""The service as a process: what was accepted before is taken in, damage is told, and a taken port is said."""

import socket
import sys

import pytest
from pydantic import SecretStr

from persona_pipelines.serving import running
from persona_pipelines.serving.journal import Journal, JournalHeldError, files_of, line_of
from persona_pipelines.serving.running import ServiceError, is_local, serve, started, token_of
from persona_pipelines.serving.streams import StreamingError, require_installed
from persona_pipelines.settings.stages import ServingSettings
from persona_pipelines.settings.streams import PublishSettings, StreamSettings
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.serving.conftest import KEY, NOW, snapshot
from persona_pipelines_tests.serving.test_state import event

LOG = {
    "name": "clicks",
    "kind": "events",
    "path": "c.csv",
    "format": "csv",
    "fields": {"timestamp": "at", "user_id": "u", "event_type": "t"},
}


@pytest.fixture
def home(configure, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """Settings of a home with a key, whose snapshot is the shop's."""
    settings = configure(LOG).model_copy(update={"home": tmp_path / "home"})
    settings.home.mkdir(exist_ok=True)
    settings.key_file.write_text(KEY.hex())
    settings.key_file.chmod(0o600)
    monkeypatch.setattr(running, "build", lambda *_: snapshot(tmp_path / "snapshot"))
    return settings


def test_a_start_takes_every_whole_event_in_and_tells_the_damaged_ones(home) -> None:
    folder = running.folder_of(home) / "events"
    journal = Journal(folder, lambda: NOW.date())
    journal.append([line_of(event(number, user="3", item=number)) for number in range(30)])
    journal.close()
    (file,) = files_of(folder)
    file.write_bytes(file.read_bytes().replace(b'"i7"', b'"i8"'))
    said: list[str] = []
    found = started(home, lambda: Warehouse(None), said.append)
    assert (found.engine.state.events, found.breaks, found.problem) == (29, 1, None)
    assert said == [f"{home.displayed(file)}, line 8: damaged; it is left out, all others are used"]
    with pytest.raises(JournalHeldError):
        started(home, lambda: Warehouse(None), said.append)
    found.journal.close()


def test_a_line_that_was_cut_off_is_told_once_and_counted_at_every_start(home) -> None:
    folder = running.folder_of(home) / "events"
    journal = Journal(folder, lambda: NOW.date())
    journal.append([line_of(event(number, user="3", item=number)) for number in range(5)])
    (file,) = files_of(folder)
    file.write_bytes(file.read_bytes()[:-9])
    file = file.rename(file.with_name("aside"))
    journal.close()
    file.rename(file.with_name("000000001.jsonl.part"))  # as a process leaves it that is killed
    said: list[str] = []
    for _ in range(3):
        found = started(home, lambda: Warehouse(None), said.append)
        found.journal.close()
        assert (found.engine.state.events, found.breaks) == (4, 1)
    (ended,) = files_of(folder)
    assert said == [
        f"{home.displayed(ended)}, line 5: cut off as the service was ended, before anybody was told that it was accepted; it is left out, all others are used"
    ]


def test_a_start_that_fails_holds_nothing(home, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_) -> None:
        raise RuntimeError("no snapshot")

    monkeypatch.setattr(running, "build", broken)
    with pytest.raises(RuntimeError, match="no snapshot"):
        started(home, lambda: Warehouse(None), print)
    Journal(running.folder_of(home) / "events", lambda: NOW.date()).close()


def test_the_token_is_made_once_and_read_by_its_owner_alone(home) -> None:
    assert token_of(home) == token_of(home)
    assert len(token_of(home)) > 40
    assert (running.folder_of(home) / running.TOKEN).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("shop.example.com", False)])  # fmt: skip
def test_what_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_local(host) == local


def test_a_stream_without_the_extra_is_said_before_anything_is_read(home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "persona_pipelines.serving.brokers", raising=False)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    clicks = StreamSettings(type="redis", url=SecretStr("redis://127.0.0.1"), stream="clicks")
    settings = home.model_copy(update={"serving": ServingSettings(streams=[clicks])})
    with pytest.raises(StreamingError, match="expected the extra streaming"):
        serve(settings, lambda: Warehouse(None), "127.0.0.1", 0, print)
    assert not running.folder_of(home).exists()


ADDRESSES = {"redis": "redis://127.0.0.1", "nats": "nats://127.0.0.1", "kafka": "kafka://127.0.0.1"}


@pytest.mark.parametrize(("kind", "package"), [("redis", "redis"), ("nats", "nats"), ("kafka", "confluent_kafka")])
@pytest.mark.parametrize("publishes", [False, True])
def test_the_package_that_is_missing_is_the_one_of_the_kind_of_stream(
    monkeypatch: pytest.MonkeyPatch, home, kind, package: str, publishes: bool
) -> None:
    """Where nothing of the extra is installed."""
    for name in ("redis", "nats", "confluent_kafka"):
        monkeypatch.setitem(sys.modules, name, None)
    where = {"type": kind, "url": SecretStr(ADDRESSES[kind]), "stream": "clicks"}
    named = ServingSettings(publish=PublishSettings(**where)) if publishes else ServingSettings(streams=[StreamSettings(**where)])
    place = "serving.publish" if publishes else r"serving.streams\[0\]"
    with pytest.raises(StreamingError, match=f"^{place}: found no package {package}, which {kind} needs; expected the extra streaming"):
        require_installed(home.model_copy(update={"serving": named}))


@pytest.mark.parametrize("host", ["192.0.2.7", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_told_from_a_port_that_is_taken(home, host: str) -> None:
    with pytest.raises(ServiceError, match=rf"^--host: found '{host}' \(.*\); expected an address of this machine"):
        serve(home, lambda: Warehouse(None), host, 0, print)


def test_a_port_that_is_taken_is_said_before_anything_is_read(home) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ServiceError, match=f"port {port} of 127.0.0.1: .*; choose another with --port"):
            serve(home, lambda: Warehouse(None), "127.0.0.1", port, print)
