"""What the last run knows, as arrays on disk: loaded in an instant, mapped into memory, shared by whoever reads them."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import scipy.sparse as sp

from persona_pipelines.errors import StoredModelError
from persona_pipelines.files import digest_of, folder_appearing, write_whole
from persona_pipelines.recommendations.models.content_to_taste import ItemVectors
from persona_pipelines.recommendations.models.history import HistoryModel
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.recommendations.models.similarity import BLOCK_NUMBERS, largest, largest_of_dense

FORMAT = 4
NEIGHBOURS = 200
"""Of an item, that a live list looks at."""
FACTS = "snapshot.json"
TEXTS = "items.json"
CONTENT = "content.json"
SUMS = "sums.json"
"""Digests of all other files: what has changed on the disk is not served."""
ID_BYTES = 8
NO_WORD = int(np.iinfo(np.int64).min)


@dataclass(frozen=True)
class Facts:
    """What is said of a snapshot.

    Attributes:
        version: of the champion.
        mark: of the published copy that it is of (``Settings.published_mark``).
        made: when the tables were published, and ``until`` which moment events are known, UTC.
        dated: whether the log has dates.
        rating_sum, ratings: of all ratings.
        consent_when_unknown: whether lists may be made for people whom nobody knows yet.
        segments: ``segment_id``, ``segment_name``, ``users``, ``share``, ``distinguishing_features``, ``description``, ``top_categories`` of each.
        missing: versions of the recommender that were wanted beside the champion and could not be made.
        files: files of the journal whose events before ``until`` are in here, by day and number (``2025-09-30/000000017.jsonl``);
            ``whole_files``: those of which all events are.
        events: how many have been taken in since the tables.
        content_scale: what makes likenesses by content weigh like the champion's weights between items.
        arrivals: of each fact of how people came whether it is used: ``fact``, ``strength``, ``gain`` (``mean``, ``low``, ``high``), ``people`` (``arrivals.Chosen``).
    """

    version: str
    mark: str
    made: str
    until: str
    dated: bool
    rating_sum: float
    ratings: int
    consent_when_unknown: bool
    segments: list[dict[str, Any]]
    missing: list[str]
    files: list[str]
    whole_files: list[str]
    events: int
    content_scale: float
    arrivals: list[dict[str, Any]]


@dataclass(frozen=True)
class Scores:
    """What one version of the recommender says.

    Attributes:
        model, version: its name and version.
        weights_of: the model whose weights between items are here: itself where it reads a history, else ``live_blend``.
        decay: each item of a history counts this to the power of its place from the newest.
        neighbours, weights: shape (items, at most ``NEIGHBOURS``): the items to which one leads, and how strongly, the strongest first; weight 0 where there is none.
        nightly_item, nightly_score: shape (people, c), its list of each of the last run, -1 where it ends; no columns where the weights are its own.
        nightly_kind: of the same shape, what counted most for each place (``recommendations.reasons.PERSONAL`` and so on); no columns where it is always the person's own items.
        live_share: how much the last items count against that list, as the training found, and ``live_share_reason``, why; 1 where the weights are its own.
    """

    model: str
    version: str
    weights_of: str
    decay: float
    neighbours: np.ndarray
    weights: np.ndarray
    nightly_item: np.ndarray
    nightly_score: np.ndarray
    nightly_kind: np.ndarray
    live_share: float
    live_share_reason: str

    def save(self, folder: Path) -> None:
        """Write it into a folder that there is not yet."""
        folder.mkdir()
        _save_arrays(self, folder)
        told = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.type != "np.ndarray"}
        write_whole(folder / FACTS, orjson.dumps(told, option=orjson.OPT_INDENT_2))


@dataclass(frozen=True)
class Snapshot:
    """Arrays of items are in the order of ``items``, arrays of people in that of ``people``, which are sorted.

    Attributes:
        scores: of the champion, and of other versions that are asked, by version.
        items, titles, categories: texts of the items; an empty category is none.
        groups, group_item: of people who came the same way (``arrivals.Arrivals``), with what they turn to: shape (groups, c), -1 where a row ends.
        popularity: shape (items,), users who cared for the item lately, those of a week ago by half; of a compacted state also of items that came since.
        shown: shape (items,), the same when the order of what is popular was last made.
        price: shape (items,), nan where unknown.
        blocked: shape (items,), True for items that nobody is to get; ``in_stock``: 1, 0, or -1 where unknown.
        repurchasable, is_new: shape (items,). ``vectors``: shape (items, d), by which items are unlike each other (``recommendations.rules``).
        people: shape (people,), pseudonyms as 32 bytes: users, and devices that nobody has logged in on (``of_devices``).
        came_by: shape (people,), the first of the groups that each belongs to; -1 for none.
        consent: shape (people,), whether lists may be made for them. acted: whether they have done something that the list of the last run does not know.
        history_start: shape (people + 1,), where the items of each begin in ``history_item`` (the newest first) and ``history_time`` (microseconds since 1970).
        pair_start, pair_item: the same of every item that each has had to do with, rising; ``pair_time`` is when last, ``pair_good`` whether anything good was
            said of it; ``pair_rating_sum`` and ``pair_ratings`` are the sum and number of ratings, of length 0 where nobody rates.
        said_start, said_item: items of which each has said something: ``item + 1`` of those not wanted, ``-(item + 1)`` of those of whose kind less is wanted.
        similar_item, similar_value; together_item, together_value: shape (items, r), items that the same people turn to with their similarity, and
            those of the same baskets with their lift; -1 where a row ends.
        profile_start, profile: where the document of each person begins in ``profile``, bytes of JSON; empty for those without.
        device, device_user: devices that somebody has logged in on, sorted, and the position of the user that was on each last; -1 of those that are nobody's now.
        device_left: whether anybody has logged out there. device_start, device_member: positions of all users of each.
        word_time, word: shape (people,), when each said last whether lists may be made for them (microseconds since 1970, ``NO_WORD`` where they said nothing), and what.
        segment: shape (people,), the id of the segment of each; -1 without one.
        unmet_item, unmet_likeness: the items that came lately and nobody has turned to yet, shape (u,), and how strongly each item leads to them by what they say of
            themselves, shape (items, u), on the scale of the champion's weights.
        content: how what an item says of itself becomes numbers (``recommendations.models.content_to_taste``); None where items say nothing.
        content_start, content_column, content_value: those of the items, as rows of a sparse matrix; content_inverse: shape (columns, columns), so that items lead to
            each other by vector @ inverse @ other vector.
        ids: hashes of the ids of events received lately (``id_hash``), rising.
    """

    folder: Path
    facts: Facts
    scores: dict[str, Scores]
    items: list[str]
    titles: list[str]
    categories: list[str]
    content: ItemVectors | None
    content_start: np.ndarray
    content_column: np.ndarray
    content_value: np.ndarray
    content_inverse: np.ndarray
    groups: list[str]
    group_item: np.ndarray
    popularity: np.ndarray
    shown: np.ndarray
    price: np.ndarray
    blocked: np.ndarray
    in_stock: np.ndarray
    repurchasable: np.ndarray
    is_new: np.ndarray
    vectors: np.ndarray
    people: np.ndarray
    of_devices: np.ndarray
    came_by: np.ndarray
    consent: np.ndarray
    word_time: np.ndarray
    word: np.ndarray
    segment: np.ndarray
    unmet_item: np.ndarray
    unmet_likeness: np.ndarray
    acted: np.ndarray
    history_start: np.ndarray
    history_item: np.ndarray
    history_time: np.ndarray
    pair_start: np.ndarray
    pair_item: np.ndarray
    pair_time: np.ndarray
    pair_good: np.ndarray
    pair_rating_sum: np.ndarray
    pair_ratings: np.ndarray
    said_start: np.ndarray
    said_item: np.ndarray
    similar_item: np.ndarray
    similar_value: np.ndarray
    together_item: np.ndarray
    together_value: np.ndarray
    profile_start: np.ndarray
    profile: np.ndarray
    device: np.ndarray
    device_user: np.ndarray
    device_left: np.ndarray
    device_start: np.ndarray
    device_member: np.ndarray
    ids: np.ndarray

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def content_vectors(self) -> sp.csr_matrix:
        """Shape (items, columns)."""
        columns = len(self.content_inverse)
        return sp.csr_matrix((self.content_value, self.content_column, self.content_start), shape=(len(self.items), columns))

    def has(self, versions: Iterable[str]) -> bool:
        """Whether all that could be made of some versions is here."""
        return set(versions) <= {*self.scores, *self.facts.missing}

    @property
    def champion(self) -> Scores:
        return self.scores[self.facts.version]

    @cached_property
    def _begins(self) -> tuple[np.ndarray, np.ndarray]:
        """The first 64 bits of each pseudonym: a search that stays in the cache."""
        return _first_bits(self.people), _first_bits(self.device)

    def person(self, pseudonym: str) -> int:
        """The position of a person; -1 of one who is not known."""
        return _found(self.people, self._begins[0], pseudonym)

    def device_of(self, pseudonym: str) -> int:
        """The position of a device; -1 of one that nobody has logged in on."""
        return _found(self.device, self._begins[1], pseudonym)

    @cached_property
    def _of_one_moment(self) -> np.ndarray:
        """Shape (people,), whether two items of the history are of one moment."""
        same = np.flatnonzero(self.history_time[1:] == self.history_time[:-1]) + 1
        found = np.zeros(len(self.people), dtype=bool)
        person = self.history_start.searchsorted(same, side="right") - 1
        found[person[same > self.history_start[person]]] = True
        return found

    def shares_moments(self, person: int) -> bool:
        """Whether two items of the history of a person are of one moment."""
        return person >= 0 and bool(self._of_one_moment[person])

    def knows_id(self, hashed: int) -> bool:
        """Whether an event of this id (``id_hash``) is in here."""
        place = int(self.ids.searchsorted(np.uint64(hashed)))
        return place < len(self.ids) and int(self.ids[place]) == hashed

    def profile_of(self, person: int) -> bytes:
        """The profile of a person as JSON; empty where there is none."""
        return self.profile[int(self.profile_start[person]) : int(self.profile_start[person + 1])].tobytes()

    @property
    def until(self) -> dt.datetime:
        return dt.datetime.fromisoformat(self.facts.until)

    def save(self) -> None:
        """Write the folder: all of it, or nothing."""
        with folder_appearing(self.folder, mode=0o700) as folder:
            _save_arrays(self, folder)
            for scores in self.scores.values():
                scores.save(folder / _scores_folder(scores.version))
            write_whole(folder / TEXTS, orjson.dumps({name: getattr(self, name) for name in ("items", "titles", "categories", "groups")}))
            write_whole(folder / CONTENT, orjson.dumps(_told(self.content)))
            write_whole(folder / FACTS, orjson.dumps({"format": FORMAT, **vars(self.facts)}, option=orjson.OPT_INDENT_2))
            write_whole(folder / SUMS, orjson.dumps(_sums(folder), option=orjson.OPT_INDENT_2))


def id_hash(event_id: str) -> int:
    """A number of 64 bits for an id: the same in every process."""
    return int.from_bytes(hashlib.blake2b(event_id.encode(), digest_size=ID_BYTES).digest(), "big")


def _told(content: ItemVectors | None) -> dict[str, Any] | None:
    """How items become numbers, as JSON."""
    if content is None:
        return None
    knots = {name: values.tolist() for name, values in content.knots.items()}
    return {"words": content.words, "frequencies": content.frequencies.tolist(), "attributes": content.attributes, "knots": knots}


def _content_of(told: dict[str, Any] | None) -> ItemVectors | None:
    if told is None:
        return None
    knots = {name: np.array(values) for name, values in told["knots"].items()}
    return ItemVectors(tuple(told["words"]), np.array(told["frequencies"]), tuple(told["attributes"]), knots)


def _scores_folder(version: str) -> str:
    return f"scores-{version}"


def _save_arrays(held: Snapshot | Scores, folder: Path) -> None:
    for entry in fields(held):
        value = getattr(held, entry.name)
        if isinstance(value, np.ndarray):
            np.save(folder / f"{entry.name}.npy", value, allow_pickle=False)


def _arrays(kind: type[Snapshot] | type[Scores], folder: Path) -> dict[str, Any]:
    return {
        # As plain arrays: every access to a mapped one costs; what is mapped stays shared.
        entry.name: np.asarray(np.load(folder / f"{entry.name}.npy", mmap_mode="r", allow_pickle=False))
        for entry in fields(kind)
        if entry.type == "np.ndarray"
    }


def load(folder: Path) -> Snapshot:
    """A snapshot, its arrays mapped into memory.

    Raises:
        StoredModelError: there is none, or it is of another format or damaged.
    """
    try:
        facts: dict[str, Any] = orjson.loads((folder / FACTS).read_bytes())
        if facts.pop("format", None) != FORMAT:
            raise StoredModelError(f"{folder}: made by another version; persona serve makes it again")
        _require_as_written(folder)
        texts = orjson.loads((folder / TEXTS).read_bytes())
        scores = {}
        for place in sorted(folder.glob(_scores_folder("*"))):
            told = orjson.loads((place / FACTS).read_bytes())
            scores[told["version"]] = Scores(**told, **_arrays(Scores, place))
        content = _content_of(orjson.loads((folder / CONTENT).read_bytes()))
        found = Snapshot(folder=folder, facts=Facts(**facts), scores=scores, content=content, **texts, **_arrays(Snapshot, folder))
    except (OSError, ValueError, TypeError, EOFError, KeyError) as error:
        raise StoredModelError(f"{folder}: no snapshot that can be read ({error}); persona serve makes it again") from None
    return found


def _sums(folder: Path) -> dict[str, str]:
    """The digest of every file below a folder but that of the digests."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.name != SUMS)
    return {file.relative_to(folder).as_posix(): digest_of(file) for file in files}


def _require_as_written(folder: Path) -> None:
    """Every bit counts: a place that is wrong by one is another item, and no error."""
    written, found = orjson.loads((folder / SUMS).read_bytes()), _sums(folder)
    wrong = sorted(name for name in {*written, *found} if written.get(name) != found.get(name))
    if wrong:
        raise StoredModelError(f"{folder / wrong[0]}: is not as it was written; persona serve makes the snapshot again")


def _first_bits(names: np.ndarray) -> np.ndarray:
    """Of pseudonyms in hexadecimal digits, sorted."""
    return np.frombuffer(bytes.fromhex(names.tobytes().decode("ascii")), dtype=">u8")[::2].astype(np.uint64)


def _found(names: np.ndarray, begins: np.ndarray, name: str) -> int:
    """The place of a pseudonym among sorted ones; -1 where it is not there."""
    begin, wanted = np.uint64(int(name[:16], 16)), name.encode()
    place = int(begins.searchsorted(begin))
    while place < len(names) and begins[place] == begin:
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
