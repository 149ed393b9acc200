"""A company's own list beside pseudonyms: joined here, by the key that lies here, so that an audience can be used where people have names."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import pandas as pd

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import require_regular
from persona_pipelines.home.keys import pseudonyms_of
from persona_pipelines.logs.encoding import as_utf8, guessed
from persona_pipelines.logs.packing import PackingError
from persona_pipelines.privacy.pseudonyms import looks_like_pseudonym
from persona_pipelines.settings import Settings
from persona_pipelines.suggestions import suggestion
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

PSEUDONYM = "pseudonym"
DELIMITERS = (",", ";", "\t", "|")


class OwnListError(ProjectError):
    """The list cannot be read, or holds nobody that the tables know; the message says what was found and what is expected."""


def require_another(file: Path, own: Path) -> None:
    """Raises OwnListError where what is to be written is the list itself: it would be gone."""
    if file.resolve() == own.resolve():
        raise OwnListError(f"{file}: is the list that is read; expected another file to write")


def read_list(file: Path, *, header: bool = True) -> pd.DataFrame:
    """A list, CSV of any delimiter, in UTF-8 or as spreadsheets write it: every cell as text, empty ones too.

    Args:
        header: whether the first line names the columns; else these have numbers, and it is a row like the others.
    Raises:
        OwnListError: it is no such file.
    """
    try:
        require_regular(file)
        content = file.read_bytes()
        text = b"".join(as_utf8(iter([content]), guessed(content))).decode()
        if "\0" in text:
            raise ValueError("it is no text")
        delimiter = max(DELIMITERS, key=text.partition("\n")[0].count)
        cells = pd.read_csv(io.StringIO(text, newline=""), sep=delimiter, dtype=str, keep_default_na=False, header=0 if header else None)
        found = cells.rename(columns=str)
    except (OSError, ValueError, PackingError) as error:  # pandas says what is wrong with a file by kinds of ValueError
        reason = getattr(error, "strerror", None) or (str(error).splitlines()[0] if str(error) else type(error).__name__)
        expected = "CSV with a header" if header else "CSV, a customer a line"
        raise OwnListError(f"{file}: cannot be read as a list ({reason}); expected {expected}") from None
    if found.empty:
        raise OwnListError(f"{file}: has no rows; expected a header and a customer a line")
    return found


def encoding_of(file: Path) -> str:
    """The encoding of a list, by all of it: UTF-8, UTF-16, or that of spreadsheets in western Europe.

    Raises:
        OSError: it cannot be read.
    """
    require_regular(file)
    return guessed(file.read_bytes())


def with_pseudonyms(store: Warehouse, settings: Settings, listed: pd.DataFrame, file: Path, column: str | None = None) -> pd.DataFrame:
    """The list with the column ``pseudonym``, and its id column in front.

    Args:
        column: the one with the ids as the logs have them; None for the one in which most users are known.
    Raises:
        OwnListError: there is no such column, or nobody of it is known.
        KeyFileError, KeyChangedError: the key is not there, or another one.
    """
    if column is not None and column not in listed:
        known = ", ".join(listed.columns)
        raise OwnListError(f"{file}: no column {column!r}{suggestion(column, listed.columns)}; found {known}")
    if PSEUDONYM in listed:
        raise OwnListError(f"{file}: has a column {PSEUDONYM!r} of its own; expected the company's list, without pseudonyms")
    users = known_users(store)
    made = {name: pseudonyms_of(store, settings, listed[name].str.strip().tolist()) for name in ([column] if column else listed.columns)}
    best = _of_ids(made, users)
    if users.isdisjoint(made[best]):
        where = f"column {column!r}" if column else f"any of the columns {', '.join(listed.columns)}"
        raise OwnListError(f"{file}: nobody in {where} is known; expected ids as the logs have them (--id-column names their column)")
    rest = [name for name in listed.columns if name != best]
    return listed[[best, *rest]].assign(**{PSEUDONYM: made[best]})


def read_seeds(store: Warehouse, settings: Settings, file: Path) -> pd.DataFrame:
    """A list of customers, raw ids or pseudonyms, as ``id`` and ``pseudonym``, of the column in which most users are known; rows without an id are left out.

    Its first line may be a header: it is one where nobody has that id, and others of the list are users.

    Raises:
        OwnListError: it is no list.
        KeyFileError, KeyChangedError: the key that raw ids need is not there, or another one.
    """
    listed = read_list(file, header=False)
    users, cells = known_users(store), {name: listed[name].str.strip() for name in listed.columns}
    raw = sorted({text for column in cells.values() for text in column if not looks_like_pseudonym(text)})
    made = dict(zip(raw, pseudonyms_of(store, settings, raw), strict=True)) if raw else {}
    pseudonyms = {name: [made.get(text, text) for text in column] for name, column in cells.items()}
    best = _of_ids(pseudonyms, users)
    seeds = pd.DataFrame({"id": cells[best], PSEUDONYM: pseudonyms[best]})
    is_user = seeds[PSEUDONYM].isin(users)
    if is_user.any() and not is_user.iloc[0]:
        seeds = seeds.iloc[1:]
    return seeds[seeds["id"] != ""].reset_index(drop=True)


def known_users(store: Warehouse) -> set[str]:
    """The pseudonyms of all users of the tables."""
    return set(store.frame(store.table(contracts.USERS).select("user_id"))["user_id"])


def _of_ids(pseudonyms: Mapping[str, Sequence[str]], users: Set[str]) -> str:
    """The column in which most users are known."""
    return max(pseudonyms, key=lambda name: sum(pseudonym in users for pseudonym in pseudonyms[name]))


def chosen_columns(listed: pd.DataFrame, file: Path, columns: Sequence[str]) -> list[str]:
    """The columns asked for; the first one, that of the ids, without any.

    Raises:
        OwnListError: the list does not have one.
    """
    missing = [name for name in columns if name not in listed]
    if missing:
        known = ", ".join(name for name in listed.columns if name != PSEUDONYM)
        raise OwnListError(f"{file}: no column {missing[0]!r}{suggestion(missing[0], listed.columns)}; found {known}")
    return list(columns) or [str(listed.columns[0])]
