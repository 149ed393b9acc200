"""Files that are written whole or not at all, and digests by which a changed one is known."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import reprlib
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BLOCK_BYTES = 1 << 20
PARTIAL = re.compile(r"\.([^/]+)\.[0-9]+\.partial\b")
"""Names of files that are being written, in a text."""


def require_regular(file: Path) -> None:
    """Raises OSError where a path is a folder, a pipe or a device: to read one may take for ever, to replace one breaks others."""
    if not stat.S_ISREG(file.stat().st_mode):
        raise OSError(errno.EINVAL, "a folder or special file; expected a file", str(file))


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A path beside a file to write to, which is gone at the end; errors name the file that was asked for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    waiting = _waiting(file)
    try:
        yield waiting
    except OSError as error:
        if isinstance(error.filename, str):
            error.filename = as_asked_for(error.filename)
        raise
    finally:
        waiting.unlink(missing_ok=True)


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """A path beside the file to write to; what stands there at the end takes the file's place at once, and nothing where the block raises.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    if file.exists():
        require_regular(file)
    with _beside(file) as waiting:
        yield waiting
        _to_disk(waiting)
        waiting.replace(file)
        _to_disk(file.parent)


def write_whole(file: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    with replacing(file) as waiting:
        _write(waiting, content, mode)


def write_new(file: Path, content: str | bytes, mode: int = 0o644) -> None:
    """Write a file whole where there is none yet; one that is there stays.

    Raises:
        OSError: it cannot be written.
    """
    with _beside(file) as waiting:
        _write(waiting, content, mode)
        _to_disk(waiting)
        with contextlib.suppress(FileExistsError):
            os.link(waiting, file)  # unlike a rename, this never replaces what another process has just made
        _to_disk(file.parent)


def as_asked_for(text: str) -> str:
    """A text about a file under the name that was asked for: nobody knows the one beside it."""
    return PARTIAL.sub(r"\1", text)


def _write(file: Path, content: str | bytes, mode: int) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def folder_appearing(folder: Path, mode: int = 0o777) -> Iterator[Path]:
    """A folder beside the one that is meant, to fill; at the end it is there with all that is in it, in the place of one that was there before.

    Where the block raises, all is as it was.
    """
    waiting, before = _waiting(folder), _waiting(folder.with_name(f"{folder.name}.before"))
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir(mode, parents=True)
    try:
        yield waiting
        # A folder with files in it cannot be replaced at once: it steps aside first.
        if folder.exists():
            folder.replace(before)
        try:
            waiting.replace(folder)
        except OSError:
            if before.exists():
                before.replace(folder)
            raise
    finally:
        shutil.rmtree(waiting, ignore_errors=True)
        shutil.rmtree(before, ignore_errors=True)


def _waiting(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.partial")


def texts_by_name(file: Path) -> dict[str, str]:
    """The JSON object of texts that a file holds.

    Raises:
        ValueError: the file cannot be read, or holds something else; the message names the file.
    """
    content = _json_of(file)
    if not isinstance(content, dict) or not all(isinstance(text, str) for text in content.values()):
        raise ValueError(f"{file}: found {reprlib.repr(content)}; expected texts by name")
    return content


def objects_by_number(file: Path) -> dict[int, dict[str, Any]]:
    """The JSON object of objects by whole numbers that a file holds.

    Raises:
        ValueError: the file cannot be read, or holds something else; the message names the file.
    """
    content = _json_of(file)
    if not isinstance(content, dict) or not all(key.isdigit() and isinstance(entry, dict) for key, entry in content.items()):
        raise ValueError(f"{file}: found {reprlib.repr(content)}; expected objects by number")
    return {int(key): entry for key, entry in content.items()}


def _json_of(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file}: cannot be read ({error})") from None


def sweep_partial(folder: Path) -> list[Path]:
    """Remove what half-written files and folders a killed process has left in a folder; those of processes that live stay."""
    swept = []
    for path in folder.glob(".*.partial"):
        pid = path.name.split(".")[-2]
        if not (pid.isdigit() and Path(f"/proc/{pid}").exists()):
            with contextlib.suppress(OSError):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
                swept.append(path)
    return swept


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(file: Path) -> str:
    """SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_of_folder(folder: Path) -> str:
    """SHA-256 of the names and bytes of all files below a folder."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(folder).as_posix()}\0{digest_of(file)}\n".encode())
    return digest.hexdigest()


def copy_whole(source: Path, target: Path) -> str:
    """Copy a file's bytes; the digest of what was read. The target is not there before it is whole.

    Raises:
        OSError: no room for the copy, for example; the target is as it was.
    """
    with source.open("rb") as read:
        return write_blocks(iter(lambda: read.read(BLOCK_BYTES), b""), target)


def write_blocks(blocks: Iterable[bytes], target: Path) -> str:
    """Write bytes block by block; their digest. The target is not there before it is whole.

    Raises:
        OSError: no room for them, for example; the target is as it was.
    """
    digest = hashlib.sha256()
    with replacing(target) as waiting, waiting.open("wb") as written:
        for block in blocks:
            digest.update(block)
            written.write(block)
        written.flush()
    return digest.hexdigest()
