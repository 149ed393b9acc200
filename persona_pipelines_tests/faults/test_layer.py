"""The layer between a process and its disk and clock does what it says: else a campaign would prove nothing."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from persona_pipelines_tests.faults.disk import counted, failing, layer
from persona_pipelines_tests.faults.stand import Stand

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which(os.environ.get("CC", "cc")) or sys.platform != "linux", reason="needs a C compiler on Linux"),
]


def told(folder: Path, code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder / "home", env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return (done.stdout + done.stderr).strip()


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    (tmp_path / "home").mkdir()
    return Stand(tmp_path)


WRITE = """
import os
try:
    with open("file.db", "wb", buffering=0) as stream:
        for _ in range(10):
            stream.write(b"x" * 10_000)
except OSError as error:
    print(error.errno, os.path.getsize("file.db"))
"""


def test_a_disk_has_as_much_room_as_it_is_told_and_what_fits_is_written(stand: Stand, tmp_path: Path) -> None:
    more = failing(stand, tmp_path, "write", "", errno.ENOSPC, 45_000)
    assert told(tmp_path, WRITE, **more) == f"{errno.ENOSPC} 45000"  # half of the fifth write fits, as on a real disk
    assert counted(tmp_path)[1] > 0
    more = failing(stand, tmp_path, "write", "other.db", errno.ENOSPC, 0)
    assert told(tmp_path, WRITE, **more) == ""
    assert (tmp_path / "home" / "file.db").stat().st_size == 100_000


@pytest.mark.parametrize(
    ("call", "code"),
    [
        ("write", "open('a.db', 'wb', buffering=0).write(b'x')"),
        ("sync", "import os; os.fsync(os.open('a.db', os.O_RDWR | os.O_CREAT))"),
        ("rename", "import os; open('b', 'w').close(); os.rename('b', 'a.db')"),
        ("open", "open('a.db', 'w')"),
        ("read", "open('a.db', 'a').close(); open('a.db', 'rb', buffering=0).read(1)"),
    ],
)
def test_a_call_fails_with_the_error_that_was_asked_for_and_after_as_many(call: str, code: str, stand: Stand, tmp_path: Path) -> None:
    assert "Input/output error" in told(tmp_path, code, **failing(stand, tmp_path, call, "a.db", errno.EIO, 0))
    assert told(tmp_path, code, **failing(stand, tmp_path, call, "elsewhere", errno.EIO, 0)) == ""
    assert told(tmp_path, code, **failing(stand, tmp_path, call, "a.db", errno.EIO, 5)) == ""


def test_the_clock_is_moved(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    moved = float(told(tmp_path, "import time; print(time.time())", LD_PRELOAD=str(layer(tmp_path)), FAULT_CLOCK="-86400"))
    assert -86_500 < moved - time.time() < -86_300
