"""A disk that is full, or may not be written to, and a home that is served already: said in one sentence, and nothing that was acknowledged is lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from persona_pipelines.serving.building import folder_of
from persona_pipelines.serving.journal import events_of, files_of
from persona_pipelines.settings import Settings
from persona_pipelines_tests.faults.disk import failing
from persona_pipelines_tests.faults.live import PLAIN, Live
from persona_pipelines_tests.faults.stand import Stand

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="limits of another process are set on Linux alone")]


@pytest.fixture
def service(live_home: Settings) -> Iterator[Live]:
    running = Live(live_home.file, live_home.home, module=PLAIN)
    yield running
    running.end(signal.SIGTERM)


def view(name: str) -> dict[str, Any]:
    return {"event_id": name, "event_type": "item_view", "user_id": "u3", "item_id": "i12"}


def room(service: Live, size: int) -> None:
    """No file of the service may become larger."""
    resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_full_disk_refuses_events_answers_lists_and_is_forgotten_when_there_is_room(service: Live, live_home: Settings) -> None:
    assert service.ask("POST", "/v1/events", view("before"))[0] == 202
    (file,) = files_of(folder_of(live_home) / "events")
    for left in (0, 40):  # a part of a line fits
        room(service, file.stat().st_size + left)
        for number in range(3):
            status, told = service.ask("POST", "/v1/events", [view(f"full-{left}-{number}"), view(f"and-{left}-{number}")])
            assert (status, told["title"]) == (503, "Events cannot be kept")
            assert "File too large" in told["detail"]
            assert service.ask("GET", "/v1/recommendations/u3")[0] == 200
    time.sleep(1.2)  # served lists are written each second, and dropped now
    room(service, resource.RLIM_INFINITY)
    assert service.ask("POST", "/v1/events", view("after"))[1] == {"accepted": 1, "repeated": 0}
    assert service.ask("POST", "/v1/events", [view("full-0-0"), view("before")])[1] == {"accepted": 1, "repeated": 1}
    kept = [event["event_id"] for event in events_of(files_of(file.parent.parent), lambda found: pytest.fail(str(found)))]
    assert kept == ["before", "after", "full-0-0"]
    assert service.ask("GET", "/readyz")[1]["status"] == "ready"


def test_a_second_service_of_one_home_is_refused_and_the_first_goes_on(service: Live, live_home: Settings) -> None:
    with pytest.raises(OSError, match="another persona serve writes there"):
        Live(live_home.file, live_home.home, module=PLAIN)
    assert service.ask("POST", "/v1/events", view("e"))[0] == 202


@pytest.mark.skipif(not shutil.which(os.environ.get("CC", "cc")), reason="needs a C compiler")
def test_a_home_that_may_not_be_written_to_is_said_at_the_start(live_home: Settings, tmp_path: Path) -> None:
    more = failing(Stand(live_home.home.parent), tmp_path, "open", "/live/", errno.EROFS, 0)
    with pytest.raises(OSError, match=r"cannot be written \(Read-only file system\)"):
        Live(live_home.file, live_home.home, module=PLAIN, more=more)
