"""What is said of a home that cannot be used helps against what is wrong with it."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import duckdb
import pytest

from persona_pipelines.errors import of_the_state


def by_number(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    "error",
    [
        by_number(errno.EACCES),
        by_number(errno.EROFS),
        sqlite3.OperationalError("attempt to write a readonly database"),
        duckdb.IOException('IO Error: Cannot open file "warehouse.duckdb": Permission denied'),
    ],
)
def test_where_nobody_may_write_no_room_has_to_be_made(tmp_path: Path, error: Exception) -> None:
    home = tmp_path / "not" / "there"
    said = str(of_the_state(error, home))
    assert f"let this user write there (ls -ld {tmp_path} says who may) or set PERSONA_HOME" in said
    assert "make room" not in said


@pytest.mark.parametrize(
    "error",
    [
        by_number(errno.ENOSPC),
        by_number(errno.EDQUOT),
        sqlite3.OperationalError("database or disk is full"),
        duckdb.IOException("IO Error: Could not write file: No space left on device"),
    ],
)
def test_where_the_disk_is_full_room_has_to_be_made(tmp_path: Path, error: Exception) -> None:
    said = str(of_the_state(error, tmp_path))
    assert "make room or set PERSONA_HOME" in said
    assert "write there" not in said


def test_of_another_error_of_the_disk_both_are_looked_at(tmp_path: Path) -> None:
    assert f"look at the disk, and at who may write there (ls -ld {tmp_path}), or set PERSONA_HOME" in str(
        of_the_state(by_number(errno.EIO), tmp_path)
    )
