"""The catalogue while the service runs: what the last run knows of items, and rows that came since. A new item is in lists from its first moment, by what it says of itself."""

from __future__ import annotations

import datetime as dt
import fcntl
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field

from persona_pipelines.errors import ProjectError
from persona_pipelines.features.attributes import PREFIX
from persona_pipelines.files import write_whole
from persona_pipelines.recommendations.data import ITEM_ATTRIBUTES, Numbers, features, texts, tokens
from persona_pipelines.serving.received import LONGEST_FIELD
from persona_pipelines.serving.snapshot import Snapshot
from persona_pipelines.settings.recommendations import RulesSettings
from persona_pipelines.suggestions import nearest

MOST_NEW = 1_000
"""Items that can come between two runs: each takes a number for every item of the catalogue."""
MOST_NAMED = 20
"""Of what is unknown, new, or changes nothing, in an answer: the others are counted."""
MOST_MEANT, MOST_COMPARED = 3, 500
"""Names of a request for which the known one is looked for that is like them, and among how many: others wait for it, some milliseconds at most."""
Text = Annotated[str, Field(min_length=1, max_length=2_000)]


class CatalogueError(ProjectError):
    """Rows of the catalogue cannot be taken."""


class Row(BaseModel):
    """A row of the catalogue, by the names of `contracts.ITEMS`. A row of an item that is known changes what it names."""

    model_config = ConfigDict(extra="forbid", strict=True)  # as JSON has its types: "no" is not false

    item_id: Annotated[str, Field(min_length=1, max_length=512)]
    title: Text | None = None
    category: Text | None = None
    categories: list[Text] | None = Field(
        None, max_length=100, description="All categories of the item; `category` is the first where it is not given."
    )
    brand: Text | None = None
    price: float | None = Field(None, ge=0, le=1e9, allow_inf_nan=False)
    in_stock: bool | None = None
    attributes: dict[Text, Text | float | bool] | None = Field(None, max_length=100, description="Further properties, by name.")


class Kept:
    """The rows that came over HTTP, one line each, the newest of each item, in the order in which the items came: a source of the nightly run."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.rows: dict[str, dict[str, Any]] = {}
        self._state = 0
        self.read()

    def changed(self) -> bool:
        """Whether another process has written since."""
        return self._now() != self._state

    def _now(self) -> int:
        try:
            return self.file.stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    def read(self) -> None:
        """Read what is there; an item keeps its place among the others.

        Raises:
            CatalogueError: a line cannot be read.
        """
        file, self._state = self.file, self._now()
        lines = file.read_bytes().splitlines() if file.exists() else []
        for number, line in enumerate(lines, 1):
            try:
                row = orjson.loads(line)
                self.rows[row["item_id"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise CatalogueError(
                    f"{file}, line {number}: cannot be read ({error}); restore it from your backup, or remove it"
                ) from None

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows; they are on the disk when this returns.

        Raises:
            CatalogueError: they cannot be kept, and none is.
        """
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with self.file.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if self.changed():
                    self.read()
                known = dict(self.rows)
                for row in rows:
                    known[row["item_id"]] = {**known.get(row["item_id"], {}), **row}
                write_whole(self.file, b"".join(orjson.dumps(row) + b"\n" for row in known.values()), mode=0o600)
                self.rows, self._state = known, self._now()
        except OSError as error:
            raise CatalogueError(f"items cannot be kept: {self.file}: {error.strerror or error}") from None


def as_kept(row: Row, now: dt.datetime) -> dict[str, Any]:
    """A row as it is kept: what it names, and when it came (``received``). Of an item that came with it ``arrived`` says the same, and stays."""
    named = {name: value for name, value in row.model_dump(exclude_unset=True).items() if value is not None}
    if "categories" in named:
        named["categories"] = "|".join(named["categories"])
        named.setdefault("category", named["categories"].split("|")[0])
    return {**named, "received": f"{now.isoformat(timespec='microseconds')}Z"}


class Catalogue:
    """Items of a snapshot, and those that came since behind them: arrays have room for ``MOST_NEW`` more.

    Attributes:
        places: positions by id. ids, titles, categories: by position; an empty category is none.
        named_categories: all names of categories.
        price, in_stock, blocked, repurchasable, is_new: as in ``Snapshot``.
        count: of all items; ``known``: of those of the snapshot.
        unmet: positions of the items that nobody had turned to before: those that the snapshot says, and all that came since; ``is_unmet``: by position.
        likeness: shape (items of the snapshot, at least those of ``unmet``): how strongly each leads to each of them, on the scale of the weights between items.
    """

    def __init__(self, snapshot: Snapshot, rules: RulesSettings) -> None:
        self.snapshot, self.rules = snapshot, rules
        self.ids, self.titles, self.categories = list(snapshot.items), list(snapshot.titles), list(snapshot.categories)
        self.named_categories = frozenset(self.categories) - {""}
        self.places = {item: number for number, item in enumerate(snapshot.items)}
        self.known = self.count = len(snapshot.items)
        self.price, self.in_stock = _with_room(snapshot.price, np.nan), _with_room(snapshot.in_stock, -1)
        self.blocked, self.repurchasable = _with_room(snapshot.blocked, False), _with_room(snapshot.repurchasable, False)
        self.is_new = _with_room(snapshot.is_new, True)
        self.unmet, self.likeness = snapshot.unmet_item.astype(np.int64), snapshot.unmet_likeness
        self.is_unmet = np.zeros(self.known + MOST_NEW, dtype=bool)
        self.is_unmet[self.unmet] = True
        self._column = {place: number for number, place in enumerate(self.unmet.tolist())}

    @property
    def new(self) -> int:
        """How many items have come since."""
        return self.count - self.known

    def room_for(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Raises CatalogueError where rows have more new items than there is room for."""
        more = len({row["item_id"] for row in rows} - self.places.keys())
        if self.new + more > MOST_NEW:
            raise CatalogueError(
                f"items: found {self.new + more:,} new ones since the last run; expected at most {MOST_NEW:,}: put them into the catalogue of the next run"
            )

    def likenesses(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
        """Of rows of new items by id: how strongly each item of the snapshot leads to it, shape (items,); the part that takes time."""
        fresh = {row["item_id"]: row for row in rows if self.places.get(row["item_id"], self.known) >= self.known}
        if not fresh or self.snapshot.content is None:
            return {}
        import pandas as pd

        frame = pd.DataFrame(
            [
                {
                    **{name: row.get(name) for name in ("item_id", "title", "category", "categories", "brand")},
                    **{PREFIX + name: value for name, value in (row.get("attributes") or {}).items() if isinstance(value, str)},
                }
                for row in fresh.values()
            ]
        )
        ids = frame["item_id"].to_numpy(dtype=object)
        vectors = self.snapshot.content.of(
            texts(frame, ids), features(tokens(frame, "item_id", ids, ITEM_ATTRIBUTES)), _numbers(list(fresh.values()))
        )
        found = self.snapshot.content_vectors @ (self.snapshot.content_inverse @ vectors.T.toarray()) * self.snapshot.facts.content_scale
        return {item: np.ascontiguousarray(found[:, number], dtype=np.float32) for number, item in enumerate(ids)}

    def unsaid(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row without what the tables say of its item themselves."""
        place = self.places.get(row["item_id"], self.known)
        if place >= self.known:
            return row
        known = {
            "title": self.titles[place] != self.ids[place],
            "category": bool(self.categories[place]),
            "price": not np.isnan(self.snapshot.price[place]),
            "in_stock": self.snapshot.in_stock[place] >= 0,
        }
        return {name: value for name, value in row.items() if not known.get(name, False)}

    def put(self, rows: Sequence[Mapping[str, Any]], likenesses: Mapping[str, np.ndarray]) -> None:
        """Take rows in."""
        for row in rows:
            item = row["item_id"]
            place = self.places.get(item)
            if place is None:
                place = self.places[item] = self.count
                self.ids.append(item)
                self.titles.append(item)
                self.categories.append("")
                self.count += 1
                self._column[place] = len(self.unmet)
                self.unmet, self.is_unmet[place] = np.append(self.unmet, place), True
                if len(self.unmet) > self.likeness.shape[1]:
                    wider = np.zeros((self.known, max(16, 2 * len(self.unmet))), dtype=np.float32)
                    wider[:, : self.likeness.shape[1]] = self.likeness
                    self.likeness = wider
            if place >= self.known and item in likenesses:
                self.likeness[:, self._column[place]] = likenesses[item]
            if "title" in row:
                self.titles[place] = row["title"]
            if "category" in row:
                self.categories[place] = row["category"]
                if row["category"] not in self.named_categories:
                    self.named_categories |= {row["category"]}
                self.repurchasable[place] = row["category"] in self.rules.repurchase_categories
            if "price" in row:
                self.price[place] = row["price"]
            if "in_stock" in row:
                self.in_stock[place] = int(row["in_stock"])
                if self.rules.only_in_stock:
                    self.blocked[place] = not row["in_stock"]


def unknown_categories(asked: Sequence[str], known: frozenset[str]) -> dict[str, Any] | None:
    """Names of a request that no item of the catalogue has: ``count``, the ``first`` of them, and where a few names of few are like
    them ``meant``; None where all are known."""
    unknown = [name for name in dict.fromkeys(asked) if name not in known]
    if not unknown:
        return None
    compared = unknown[:MOST_MEANT] if len(known) <= MOST_COMPARED else []
    meant = {name: found for name in compared if (found := _meant(name[:LONGEST_FIELD], known)) is not None}
    return {"count": len(unknown), "first": unknown[:MOST_NAMED], **({"meant": meant} if meant else {})}


_meant = lru_cache(maxsize=1_000)(nearest)
"""Kept, as who has a name wrong has it wrong in every request."""


def _with_room(known: np.ndarray, value: Any) -> np.ndarray:
    return np.concatenate([known, np.full(MOST_NEW, value, dtype=known.dtype)])


def _numbers(rows: Sequence[Mapping[str, Any]]) -> Numbers:
    """The price and the attributes that are numbers, shape (rows, names)."""
    of_rows = [
        {
            **({"price": row["price"]} if "price" in row else {}),
            **{
                name: float(value)
                for name, value in (row.get("attributes") or {}).items()
                if not isinstance(value, str) and not isinstance(value, bool)
            },
        }
        for row in rows
    ]
    names = tuple(sorted({name for row in of_rows for name in row}))
    return Numbers(
        np.array([[row.get(name, np.nan) for name in names] for row in of_rows], dtype=float).reshape(len(rows), len(names)), names
    )
