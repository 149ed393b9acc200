"""Pseudonyms: HMAC-SHA-256 (RFC 2104) of an id with the instance's key, cut to 128 bits as RFC 2104 section 5 allows.

Without the key a pseudonym can neither be reversed nor, unlike a bare hash, be found by hashing all likely ids.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
from pathlib import Path

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import write_new

KEY_BYTES = 32
PSEUDONYM_LENGTH = 32
BLOCK_BYTES = 64
RESTORE = "restore it from your backup"


class KeyFileError(ProjectError):
    """The key file cannot be used."""


def create_key(file: Path) -> None:
    """Make the instance's key, with mode 600; one that is there stays."""
    write_new(file, secrets.token_hex(KEY_BYTES) + "\n", mode=0o600)


def load_key(file: Path) -> bytes:
    """The instance's key. Reading never makes one: all that was stored would belong to nobody any more.

    Raises:
        KeyFileError: there is none, it is not a key, or others may read it.
    """
    try:
        if file.is_dir():
            raise KeyFileError(f"{file}: a folder; expected a file with {2 * KEY_BYTES} hexadecimal digits; {RESTORE}")
        if file.stat().st_mode & 0o077:
            raise KeyFileError(f"{file}: readable by others; run: chmod 600 {file}")
        text = file.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise KeyFileError(
            f"{file}: the key of the pseudonyms is not there; {RESTORE} (cp BACKUP {file}; chmod 600 {file}), or, where the home is another one "
            f"than {file.parent}, say so: export PERSONA_HOME=FOLDER"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'no text'}); {RESTORE}") from None
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        others = len(text) - sum(character in string.hexdigits for character in text)
        found = f"{len(text)} characters{f', {others} of them no hexadecimal digits' if others else ''}"
        raise KeyFileError(f"{file}: found {found}; expected {2 * KEY_BYTES} hexadecimal digits; {RESTORE}")
    return key


def fingerprint(key: bytes) -> str:
    """What a key is known by without being known: kept beside the tables, so that another key is refused."""
    return hmac.new(key, b"fingerprint of the key", hashlib.sha256).hexdigest()[:16]


def pseudonym(identifier: str, key: bytes) -> str:
    """The pseudonym of one id."""
    return hmac.digest(key, identifier.encode(), "sha256").hex()[:PSEUDONYM_LENGTH]


def padded_keys(key: bytes) -> tuple[bytes, bytes]:
    """The inner and outer padded keys of RFC 2104, for engines that have SHA-256 but no HMAC."""
    block = key.ljust(BLOCK_BYTES, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)


def looks_like_pseudonym(text: str) -> bool:
    return len(text) == PSEUDONYM_LENGTH and set(text) <= set("0123456789abcdef")
