"""What ``persona ui`` does beside its servers: links that follow the port, and pages that follow the logs."""

from __future__ import annotations

import datetime as dt
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from persona_pipelines import servers
from persona_pipelines.settings import Settings
from persona_pipelines_tests.conftest import CLICKS, DAY, HEADER, write

DATED = {**CLICKS, "path": "clicks/{date}.csv"}


@pytest.mark.parametrize(("kept", "port"), [(None, 5000), ("5411", 5411), ("five", 5000), ("", 5000)])
def test_links_to_mlflow_lead_to_the_port_that_its_web_ui_has_or_had(
    configure: Callable[..., Settings], kept: str | None, port: int
) -> None:
    settings = configure(CLICKS)
    if kept is not None:
        settings.mlflow_port_file.parent.mkdir(parents=True)
        settings.mlflow_port_file.write_text(kept)
    assert settings.mlflow_ui == f"http://127.0.0.1:{port}"


def test_links_lead_to_a_server_where_one_is_named(configure: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.com")
    assert configure(CLICKS).mlflow_ui == "https://mlflow.example.com"


class Told(http.server.BaseHTTPRequestHandler):
    answer = b'{"data": {"reloadRepositoryLocation": {"__typename": "WorkspaceLocationEntry"}}}'
    queries: list[str] = []  # noqa: RUF012 - what all of its requests asked

    def do_POST(self) -> None:
        self.queries.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"])
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def web_server() -> Iterator[http.server.HTTPServer]:
    with http.server.HTTPServer(("127.0.0.1", 0), Told) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_the_web_server_is_told_to_load_the_definitions_again(web_server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert servers._reloaded(web_server.server_port)
    assert 'reloadRepositoryLocation(repositoryLocationName: "persona_pipelines.definitions")' in Told.queries[-1]
    monkeypatch.setattr(Told, "answer", b'{"data": {"reloadRepositoryLocation": {"__typename": "PythonError"}}}')
    assert not servers._reloaded(web_server.server_port)


@pytest.mark.slow
def test_one_that_does_not_answer_is_told_later(web_server: http.server.HTTPServer) -> None:
    port = web_server.server_port
    web_server.shutdown()
    web_server.server_close()
    assert not servers._reloaded(port)


def test_what_is_shown_changes_with_a_day_that_arrives_and_with_nothing_else(configure: Callable[..., Settings], tmp_path: Any) -> None:
    settings = configure(DATED)
    write(tmp_path, f"clicks/{DAY}.csv", HEADER)
    before = servers._pieces(settings)
    write(tmp_path, f"clicks/{DAY}.csv", HEADER, "another state of the same day")
    assert servers._pieces(settings) == before
    write(tmp_path, f"clicks/{DAY + dt.timedelta(days=1)}.csv", HEADER)
    assert servers._pieces(settings) != before
