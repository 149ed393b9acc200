import hashlib
import hmac
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from persona_pipelines.privacy.pseudonyms import (
    KeyFileError,
    create_key,
    fingerprint,
    load_key,
    looks_like_pseudonym,
    padded_keys,
    pseudonym,
)
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import KEY

# RFC 4231, test cases 1 and 2: key, data, HMAC-SHA-256.
RFC_4231 = [
    (b"\x0b" * 20, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (b"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
]


@pytest.mark.parametrize(("key", "data", "digest"), RFC_4231)
def test_pseudonyms_are_the_hmac_of_the_standard(key: bytes, data: str, digest: str) -> None:
    assert pseudonym(data, key) == digest[:32]
    inner, outer = padded_keys(key)
    assert hashlib.sha256(outer + hashlib.sha256(inner + data.encode()).digest()).hexdigest() == digest


@settings(max_examples=100, deadline=None)
@given(identifier=st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=60))
def test_the_engine_makes_the_same_pseudonyms_as_python(identifier: str) -> None:
    (found,) = ENGINE.connection.execute("SELECT pseudonym(?)", [identifier]).fetchall()
    assert found[0] == hmac.new(KEY, identifier.encode(), hashlib.sha256).hexdigest()[:32]
    assert looks_like_pseudonym(found[0])


ENGINE = Warehouse(None, KEY)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    file = tmp_path / "home" / "key"
    place, home = re.escape(str(file)), re.escape(str(file.parent))
    said = (
        rf"{place}: the key of the pseudonyms is not there; restore it from your backup \(cp BACKUP {place}; chmod 600 {place}\), or, "
        rf"where the home is another one than {home}, say so: export PERSONA_HOME=FOLDER"
    )
    with pytest.raises(KeyFileError, match=said):
        load_key(file)
    create_key(file)
    key = load_key(file)
    create_key(file)
    assert load_key(file) == key
    assert fingerprint(key) != fingerprint(b"k" * 32)
    assert len(key) == 32
    assert file.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in file.parent.iterdir()] == ["key"]


@pytest.mark.parametrize(
    ("content", "mode", "message"),
    [
        ("ab", 0o600, "expected 64 hexadecimal"),
        ("\xff" * 64, 0o600, "expected 64 hexadecimal"),
        ("ab" * 32, 0o644, "readable by others; run: chmod 600"),
    ],
)
def test_a_key_file_that_is_none_is_refused(tmp_path: Path, content: str, mode: int, message: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(KeyFileError, match=message):
        load_key(file)


def test_a_folder_with_the_name_of_the_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").mkdir()
    with pytest.raises(KeyFileError, match=r"key: a folder; expected a file with 64 hexadecimal digits; restore it from your backup"):
        load_key(tmp_path / "key")


def test_the_fingerprint_of_a_key_never_changes() -> None:
    """It stands beside the tables of every home: another rule for it would refuse all of them."""
    assert fingerprint(KEY) == hmac.new(KEY, b"fingerprint of the key", hashlib.sha256).hexdigest()[:16]


def test_a_key_is_made_in_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    create_key(tmp_path / "a" / "b" / "key")
    assert len(load_key(tmp_path / "a" / "b" / "key")) == 32


def test_a_key_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    file = tmp_path / "bytes"
    file.write_bytes(b"\xff\xfe")
    file.chmod(0o600)
    with pytest.raises(KeyFileError) as error:
        load_key(file)
    assert str(error.value) == f"{file}: cannot be read (no text); restore it from your backup"


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("0123456789abcdef" * 2, True),
        ("0123456789abcdef", False),
        ("0123456789ABCDEF" * 2, False),
        ("0123456789abcdeX" * 2, False),
        ("", False),
    ],
)
def test_what_looks_like_a_pseudonym(text: str, does: bool) -> None:
    assert looks_like_pseudonym(text) == does
