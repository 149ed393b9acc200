"""What the last run knows, as arrays on disk: loaded in an instant, mapped into memory, shared by whoever reads them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import scipy.sparse as sp

from persona_pipelines.errors import StoredModelError
from persona_pipelines.files import folder_appearing, write_whole
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.recommendations.models.similarity import BLOCK_NUMBERS, largest, largest_of_dense

FORMAT = 1
NEIGHBOURS = 200
"""Of an item, that a live list looks at."""
RECENT = 50
"""Items of a person that a live list looks at, the newest ones."""
FACTS = "snapshot.json"
TEXTS = "items.json"


@dataclass(frozen=True)
class Facts:
    """What is said of a snapshot.

    Attributes:
        model, version: of the champion.
        weights_of: the model whose weights between items are here: the champion itself where it reads a history, else ``live_blend``.
        decay: each item of a history counts this to the power of its place from the newest.
        made: when, and ``until`` which moment events are known, UTC.
        dated: whether the log has dates.
        everyones_rating: the mean of all ratings; None without any.
        consent_when_unknown: whether lists may be made for people whom nobody knows yet.
        segments: ``segment_id``, ``segment_name``, ``users``, ``share``, ``distinguishing_features``, ``description``, ``top_categories`` of each.
    """

    model: str
    version: str
    weights_of: str
    decay: float
    made: str
    until: str
    dated: bool
    everyones_rating: float | None
    consent_when_unknown: bool
    segments: list[dict[str, Any]]


@dataclass(frozen=True)
class Snapshot:
    """Arrays of items are in the order of ``items``, arrays of users in that of ``users``, which are sorted.

    Attributes:
        items, titles, categories: texts of the items; an empty category is none.
        neighbours, weights: shape (items, at most ``NEIGHBOURS``): the items to which one leads, and how strongly, the strongest first; weight 0 where there is none.
        popularity: shape (items,), people who cared for the item lately, those of a week ago by half.
        price: shape (items,), nan where unknown.
        blocked: shape (items,), True for items that nobody is to get; ``in_stock``: 1, 0, or -1 where unknown.
        repurchasable, is_new: shape (items,). ``vectors``: shape (items, d), by which items are unlike each other (``recommendations.rules``).
        users: shape (users,), pseudonyms as 32 bytes.
        consent: shape (users,), whether lists may be made for them.
        rating: shape (users,), the mean of the user's ratings; nan without.
        history_start: shape (users + 1,), where the items of each begin in ``history_item`` (the newest first) and ``history_time`` (microseconds since 1970).
        seen_start, seen_item: the same of everything that each has had to do with, rising.
        nightly_item, nightly_score: shape (users, c), the champion's list of each, -1 where it ends; no columns where its weights are here.
        similar_item, similar_value; together_item, together_value: shape (items, r), items that the same people turn to with their similarity, and
            those of the same baskets with their lift; -1 where a row ends.
        profile_start, profile: where the document of each user begins in ``profile``, bytes of JSON; empty for those without.
        device, device_user: devices, sorted, and the position of the user that was on each last; -1 of those that are nobody's.
    """

    folder: Path
    facts: Facts
    items: list[str]
    titles: list[str]
    categories: list[str]
    neighbours: np.ndarray
    weights: np.ndarray
    popularity: np.ndarray
    price: np.ndarray
    blocked: np.ndarray
    in_stock: np.ndarray
    repurchasable: np.ndarray
    is_new: np.ndarray
    vectors: np.ndarray
    users: np.ndarray
    consent: np.ndarray
    rating: np.ndarray
    history_start: np.ndarray
    history_item: np.ndarray
    history_time: np.ndarray
    seen_start: np.ndarray
    seen_item: np.ndarray
    nightly_item: np.ndarray
    nightly_score: np.ndarray
    similar_item: np.ndarray
    similar_value: np.ndarray
    together_item: np.ndarray
    together_value: np.ndarray
    profile_start: np.ndarray
    profile: np.ndarray
    device: np.ndarray
    device_user: np.ndarray

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def _begins(self) -> tuple[np.ndarray, np.ndarray]:
        """The first 64 bits of each pseudonym: a search that stays in the cache."""
        return _first_bits(self.users), _first_bits(self.device)

    def user(self, pseudonym: str) -> int:
        """The position of a user; -1 of one who is not known."""
        return _found(self.users, self._begins[0], pseudonym)

    def user_of_device(self, device: str) -> int:
        """The position of the user on a device; -1 where it is nobody's or not known."""
        place = _found(self.device, self._begins[1], device)
        return int(self.device_user[place]) if place >= 0 else -1

    def profile_of(self, user: int) -> bytes:
        """The profile of a user as JSON; empty where there is none."""
        return self.profile[int(self.profile_start[user]) : int(self.profile_start[user + 1])].tobytes()

    @property
    def until(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self.facts.until)

    def save(self) -> None:
        """Write the folder: all of it, or nothing."""
        with folder_appearing(self.folder, mode=0o700) as folder:
            for entry in fields(self):
                value = getattr(self, entry.name)
                if isinstance(value, np.ndarray):
                    np.save(folder / f"{entry.name}.npy", value, allow_pickle=False)
            write_whole(folder / TEXTS, orjson.dumps({"items": self.items, "titles": self.titles, "categories": self.categories}))
            write_whole(folder / FACTS, orjson.dumps({"format": FORMAT, **vars(self.facts)}, option=orjson.OPT_INDENT_2))


def load(folder: Path) -> Snapshot:
    """A snapshot, its arrays mapped into memory.

    Raises:
        StoredModelError: there is none, or it is of another format or damaged.
    """
    try:
        facts: dict[str, Any] = orjson.loads((folder / FACTS).read_bytes())
        if facts.pop("format", None) != FORMAT:
            raise StoredModelError(f"{folder}: made by another version; make it again: persona serve --rebuild")
        texts = orjson.loads((folder / TEXTS).read_bytes())
        arrays: dict[str, Any] = {
            # As plain arrays: every access to a mapped one costs; what is mapped stays shared.
            entry.name: np.asarray(np.load(folder / f"{entry.name}.npy", mmap_mode="r", allow_pickle=False))
            for entry in fields(Snapshot)
            if entry.type == "np.ndarray"
        }
        found = Snapshot(folder=folder, facts=Facts(**facts), **texts, **arrays)
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise StoredModelError(f"{folder}: no snapshot that can be read ({error}); make it again: persona serve --rebuild") from None
    _require_whole(found)
    return found


def _require_whole(found: Snapshot) -> None:
    items, users = len(found.items), len(found.users)
    lengths = {
        "titles": (len(found.titles), items),
        "neighbours": (len(found.neighbours), items),
        "weights": (found.weights.shape, found.neighbours.shape),
        "popularity": (len(found.popularity), items),
        "history_start": (len(found.history_start), users + 1),
        "seen_start": (len(found.seen_start), users + 1),
        "nightly_item": (len(found.nightly_item), users),
        "profile_start": (len(found.profile_start), users + 1),
        "similar_item": (len(found.similar_item), items),
        "together_item": (len(found.together_item), items),
        "vectors": (len(found.vectors), items),
        "consent": (len(found.consent), users),
    }
    for name, (length, expected) in lengths.items():
        if length != expected:
            raise StoredModelError(
                f"{found.folder}: {name} has {length} entries; expected {expected}: make it again: persona serve --rebuild"
            )


def _first_bits(names: np.ndarray) -> np.ndarray:
    """Of pseudonyms in hexadecimal digits, sorted."""
    return np.frombuffer(bytes.fromhex(names.tobytes().decode("ascii")), dtype=">u8")[::2].astype(np.uint64)


def _found(names: np.ndarray, begins: np.ndarray, name: str) -> int:
    """The place of a pseudonym among sorted ones; -1 where it is not there."""
    place = int(begins.searchsorted(np.uint64(int(name[:16], 16))))
    wanted = name.encode()
    while place < len(names) and begins[place] == int(name[:16], 16):
        if names[place] == wanted:
            return place
        place += 1
    return -1


def weights_between(model: LearnedModel) -> sp.csr_matrix | None:
    """The ``NEIGHBOURS`` largest weights of each item of a model that reads a history, shape (items, items); None of any other model."""
    if not isinstance(model, HistoryModel):
        return None
    weights, back = model.state["weights"], model.state.get("back")
    if back is None:
        return largest(weights, NEIGHBOURS) if sp.issparse(weights) else largest_of_dense(weights, NEIGHBOURS)
    step = max(1, BLOCK_NUMBERS // max(len(model.items), 1))
    parts = []
    for start in range(0, len(model.items), step):
        block = weights[start : start + step] @ back
        parts.append(largest_of_dense(np.asarray(block.toarray() if sp.issparse(block) else block, dtype=np.float32), NEIGHBOURS))
    return sp.csr_matrix(sp.vstack(parts)) if parts else sp.csr_matrix((0, 0))


def as_rows(weights: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Weights as two arrays of shape (items, most of a row): columns and values, the largest first, filled up with 0."""
    lengths = np.diff(weights.indptr)
    width = int(lengths.max(initial=0))
    columns, values = np.zeros((weights.shape[0], width), dtype=np.int32), np.zeros((weights.shape[0], width), dtype=np.float32)
    place = np.arange(weights.nnz) - np.repeat(weights.indptr[:-1], lengths)
    row = np.repeat(np.arange(weights.shape[0]), lengths)
    order = np.lexsort((weights.indices, -weights.data, row))
    columns[row, place], values[row, place] = weights.indices[order], weights.data[order]
    return columns, values
