"""The key of the pseudonyms and the tables that were made with it: never one without the other."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from persona_pipelines.home.manifest import HomeError, Manifest
from persona_pipelines.privacy.pseudonyms import KeyFileError, create_key, fingerprint, load_key, looks_like_pseudonym, pseudonym
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame

KEY = "key"


class KeyChangedError(HomeError):
    """The key is not the one that the stored pseudonyms were made with."""


def key_to_write_with(settings: Settings, manifest: Manifest) -> bytes:
    """The key; made where nothing has been stored with one yet.

    Raises:
        KeyChangedError: something is stored, and its key is gone or another one.
        KeyFileError: the file is no key, or others may read it.
    """
    stored = bool(manifest.key) or settings.warehouse_file.exists() or settings.published_file.exists()
    if not stored:
        create_key(settings.key_file)
    try:
        key = load_key(settings.key_file)
    except KeyFileError as error:
        if settings.key_file.exists():
            raise
        raise KeyChangedError(f"{error}. {_way_out(settings)}") from None
    if manifest.key and fingerprint(key) != manifest.key:
        raise _changed(settings)
    return key


def require_key(store: Warehouse, settings: Settings, key: bytes) -> None:
    """Raises KeyChangedError where the tables were made with another key: the manifest may be lost, they say it themselves."""
    if key_of(store) not in (None, fingerprint(key)):
        raise _changed(settings)


def claim_key(store: Warehouse, key: bytes) -> None:
    """Bind the tables to the key, where they are not yet."""
    if key_of(store) is None:
        with store.transaction():
            store.replace(contracts.INSTANCE, from_frame(pd.DataFrame([{"name": KEY, "value": fingerprint(key)}])))


def key_of(store: Warehouse) -> str | None:
    """The fingerprint of the key that the pseudonyms in the tables were made with; None where it was never written down."""
    table = store.table(contracts.INSTANCE)
    return store.value(table.value.max(where=table.name == KEY))


def pseudonym_of(store: Warehouse, settings: Settings, user: str) -> str:
    """The pseudonym of a raw id as in the logs, where blanks around it are none of it; a pseudonym stays one, and needs no key.

    Raises:
        KeyFileError: there is no key, or it cannot be used.
        KeyChangedError: the tables were made with another one.
    """
    user = user.strip()
    return user if looks_like_pseudonym(user) else pseudonyms_of(store, settings, [user])[0]


def pseudonyms_of(store: Warehouse, settings: Settings, users: Sequence[str]) -> list[str]:
    """The pseudonyms of raw ids.

    Raises:
        KeyFileError: there is no key, or it cannot be used.
        KeyChangedError: the tables were made with another one.
    """
    key = load_key(settings.key_file)
    require_key(store, settings, key)
    return [pseudonym(user, key) for user in users]


def _changed(settings: Settings) -> KeyChangedError:
    return KeyChangedError(
        f"{settings.key_file}: not the key that the stored pseudonyms were made with; restore that one from your backup. {_way_out(settings)}"
    )


def _way_out(settings: Settings) -> str:
    return (
        f"If it is lost for good, move {settings.home} aside and run again: the tables are made from the logs, under new pseudonyms. With "
        "another key everyone would be counted twice, and nobody's consent be found"
    )
