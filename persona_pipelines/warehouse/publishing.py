"""The published copy: what people and services read while runs write."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def publish(warehouse_file: Path, published_file: Path) -> None:
    """Replace the published copy by the warehouse file, at once and whole.

    The warehouse has to be closed: a copy of an open file can be a valid, empty one.

    Raises:
        OSError: no room for the copy, for example; the former copy stays.
    """
    partial = published_file.with_name(published_file.name + ".partial")
    try:
        shutil.copyfile(warehouse_file, partial)
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        partial.replace(published_file)
    finally:
        partial.unlink(missing_ok=True)
