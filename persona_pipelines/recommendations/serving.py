"""The champion's lists for anybody: model, facts of the items, evidence and people in one, by the business rules, each item with its reason."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.errors import ProjectError, StoredModelError
from persona_pipelines.events.ordering import in_order
from persona_pipelines.files import folder_appearing, write_whole
from persona_pipelines.recommendations import STAGE
from persona_pipelines.recommendations.arrays import load_arrays, save_arrays
from persona_pipelines.recommendations.data import Audience, positions
from persona_pipelines.recommendations.evaluation.comparison import NEW_USER, WARM
from persona_pipelines.recommendations.models import LearnedModel, load
from persona_pipelines.recommendations.people import People, people_of
from persona_pipelines.recommendations.reasons import Evidence, reasons
from persona_pipelines.recommendations.rules import ItemFacts, item_facts, owned, rerank
from persona_pipelines.recommendations.tables import Tables, read, without_people
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import RecommendationsSettings, RulesSettings
from persona_pipelines.tracking import registry
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

FORMAT = 1
FACTS = "server.json"
TEXTS = ("user_id", "item_id", "reason", "case")
CATALOGUE, PEOPLE = "catalogue", "people"


@dataclass(frozen=True)
class Server:
    """Everything that lists are made from, at a moment; arrays of items are in the order of the model's.

    Attributes:
        version: of the model in the registry; empty before it has one.
        facts, evidence: of the items.
        people: those who have consented.
        k: the usual length of a list.
        exclude_seen: whether what people have had to do with is left out.
        rules: what lists may hold.
    """

    model: LearnedModel
    version: str
    facts: ItemFacts
    evidence: Evidence
    people: People
    k: int
    exclude_seen: bool
    rules: RulesSettings

    def lists(self, users: Sequence[str] | np.ndarray, k: int | Sequence[int] | np.ndarray | None = None) -> pd.DataFrame:
        """Lists by all rules, in the order of ``users``.

        Args:
            users: pseudonyms.
            k: the length of all lists, or of each; by default the usual one.
        Returns:
            ``user_id``, ``rank`` from 1, ``item_id``, ``score``, ``reason``, ``case`` (whether the person has had to do with any item), ``personal``: False
            where the list is the same for all, as that of people without consent and of those who are not known. A user for whom the rules leave
            nothing has no rows.
        Raises:
            ValueError: a length below 1.
        """
        ids = np.asarray(users, dtype=object)
        lengths = np.broadcast_to(np.asarray(self.k if k is None else k), len(ids))
        if (lengths < 1).any():
            raise ValueError(f"k: found {lengths.min()}; expected 1 or more")
        places = self.people.places(ids)
        audience = self.people.audience(ids, places)
        best, scores = self._chosen(audience, lengths)
        texts = reasons(self.model, audience, self.people.liked[places], best, self.evidence)
        row, column = np.nonzero(best >= 0)
        return pd.DataFrame(
            {
                "user_id": ids[row],
                "rank": column + 1,
                "item_id": self.model.items[best[row, column]],
                "score": scores[row, column].astype(float).round(6),
                "reason": texts[row, column],
                "case": np.where(self.people.acted[places[row]], WARM, NEW_USER),
                "personal": places[row] >= 0,
            }
        ).astype(dict.fromkeys(TEXTS, "str"))  # one without rows too

    def _chosen(self, audience: Audience, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions and scores of shape (n, longest); -1 where a list ends."""
        shape = (len(audience), int(lengths.max(initial=0)))
        best, scores = np.full(shape, -1, dtype=np.int64), np.full(shape, -np.inf, dtype=np.float32)
        for length in np.unique(lengths).tolist():
            some = np.flatnonzero(lengths == length)
            part = audience.part(some)
            found, value = self.model.top(
                part, max(length, self.rules.candidates), owned(part.seen, self.facts, self.exclude_seen), self.facts.blocked
            )
            found, value = rerank(found, value, length, self.facts, self.rules)
            best[some, : found.shape[1]], scores[some, : found.shape[1]] = found, value
        return best, scores

    def save(self, folder: Path) -> None:
        """Arrays and JSON beside the model's own; no pickle, no code."""
        self.model.save(folder)
        evidence = {name: getattr(self.evidence, name) for name in ("similarity", "is_new")}
        facts = {name: getattr(self.facts, name) for name in ("blocked", "repurchasable", "vectors")}
        save_arrays(folder / CATALOGUE, evidence | facts)
        save_arrays(folder / PEOPLE, {entry.name: getattr(self.people, entry.name) for entry in fields(self.people)})
        told = {
            "format": FORMAT,
            "version": self.version,
            "k": self.k,
            "exclude_seen": self.exclude_seen,
            "rules": self.rules.model_dump(),
            "dated": self.evidence.dated,
            "segment_names": {str(segment): name for segment, name in self.evidence.segment_names.items()},
            "titles": self.evidence.titles.tolist(),
            "categories": self.facts.category.tolist(),
        }
        write_whole(folder / FACTS, orjson.dumps(told))

    @classmethod
    def load(cls, folder: Path) -> Server:
        """What ``save`` has written, its arrays mapped into memory.

        Raises:
            StoredModelError: there is none, or it is of another format or damaged.
        """
        try:
            told: dict[str, Any] = orjson.loads((folder / FACTS).read_bytes())
            if told["format"] != FORMAT:
                raise StoredModelError(f"{folder}: a server of format {told['format']}; expected {FORMAT}: train it again")
            found, people = load_arrays(folder / CATALOGUE), load_arrays(folder / PEOPLE)
            categories, titles = (np.array(told[name], dtype=object) for name in ("categories", "titles"))
            segments = {int(segment): name for segment, name in told["segment_names"].items()}
            return cls(
                load(folder),
                told["version"],
                ItemFacts(found["blocked"], found["repurchasable"], categories, found["vectors"]),
                Evidence(found["similarity"], titles, categories, found["is_new"], told["dated"], segments),
                People(**people),
                told["k"],
                told["exclude_seen"],
                RulesSettings(**told["rules"]),
            )
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StoredModelError(f"{folder}: no server that can be read ({error}); train it again") from None


def server_of(model: LearnedModel, tables: Tables, settings: RecommendationsSettings, version: str = "") -> Server:
    """The server of a model and tables.

    Args:
        tables: with those users alone who have consented.
        version: of the model in the registry.
    """
    facts = item_facts(model.items, tables.items, settings.rules)
    evidence = _evidence(model, tables, facts.category)
    return Server(model, version, facts, evidence, people_of(model, tables), settings.k, settings.exclude_seen, settings.rules)


def tables_of_consenting(warehouse: Warehouse, settings: Settings) -> Tables:
    """The tables of today, of users those who have consented, in the order of ``events.ordering.in_order``."""
    users = warehouse.table(contracts.USERS)
    return read(warehouse, settings, in_order(warehouse, users.filter(users.consent_personalisation)))


def _evidence(model: LearnedModel, tables: Tables, categories: np.ndarray) -> Evidence:
    row, column = (positions(model.items, tables.similar[name].to_numpy(dtype=object)) for name in ("item_id", "similar_item_id"))
    known = (row >= 0) & (column >= 0)
    shape = (len(model.items), len(model.items))
    value = tables.similar["similarity"].to_numpy(dtype=np.float32)[known]
    similarity = sp.csr_matrix((value, (row[known], column[known])), shape=shape)
    found = tables.items.set_index("item_id").reindex(model.items)
    titles = np.array(
        [title if isinstance(title, str) else item for title, item in zip(found["title"], model.items, strict=True)], dtype=object
    )
    names = tables.segments.drop_duplicates("segment_id")
    # Both ways: a rare item has its likes listed, and may stand in no common item's list.
    return Evidence(
        sp.csr_matrix(similarity.maximum(sp.csr_matrix(similarity.T))),
        titles,
        categories,
        np.array([item in tables.new_items for item in model.items], dtype=bool),
        tables.dated,
        dict(zip(names["segment_id"].astype(int).tolist(), names["segment_name"], strict=True)),
    )


def published_server(settings: Settings) -> Server | None:
    """The server of the published tables and the champion that made their lists, made once for each published copy; None before the first training.

    Raises:
        ModelNotFoundError: the champion's files are gone or changed.
        StoredModelError: the champion was stored by another version.
    """
    # Before the copy is opened: what is read from a later one is then never found under the mark of an earlier one.
    folder = settings.recommender_folder / settings.published_mark
    if folder.exists():
        try:
            return Server.load(folder)
        except StoredModelError:
            pass  # damaged, or of another version: it is made again
    with Warehouse(settings.published_file, read_only=True) as warehouse:
        version = in_use(warehouse, settings)
        if version is None:
            return None
        model = load(registry.model(settings, STAGE, version).folder)
        made = server_of(model, tables_of_consenting(warehouse, settings), settings.recommendations, version)
    _keep(made, folder)
    return made


def _keep(server: Server, folder: Path) -> None:
    """Store what was made, in the place of those of earlier copies. Where it cannot be stored it is made again when it is asked for."""
    try:
        with folder_appearing(folder, mode=0o700) as waiting:
            server.save(waiting)
    except OSError:
        return
    for other in folder.parent.iterdir():
        if other != folder and not other.name.startswith("."):
            shutil.rmtree(other, ignore_errors=True)


class ConsentError(ProjectError):
    """The user, whose pseudonym it has, has not consented to recommendations."""


def is_known(warehouse: Warehouse, user_id: str) -> bool:
    """Whether a log or a list has a user of this pseudonym."""
    users = warehouse.table(contracts.USERS)
    return bool(warehouse.value((users.user_id == user_id).any()))


def list_for_user(server: Server, user_id: str, known: bool, k: int) -> pd.DataFrame:
    """One user's list with ``title`` and ``category``, ``model`` and ``model_version``.

    Args:
        user_id: pseudonym; one never seen is a new user.
        known: whether a log or a list has the user.
    Raises:
        ConsentError: the user is known and has not consented.
    """
    if known and server.people.places(np.array([user_id]))[0] < 0:
        raise ConsentError(user_id)
    lists = server.lists([user_id], k)
    place = positions(server.model.items, lists["item_id"].to_numpy(dtype=object))
    titles, category = server.evidence.titles[place], server.facts.category[place]
    return lists.assign(
        # Where no title is known the item's id stands in its place.
        title=np.where(titles == server.model.items[place], None, titles),
        category=np.where(category == "", None, category),
        model=server.model.name,
        model_version=server.version,
    )


def in_use(warehouse: Warehouse, settings: Settings) -> str | None:
    """The version that the lists were made with; of a table without lists the one that is taken from now on."""
    made_with = registry.made_with(warehouse, STAGE)
    if made_with is not None:
        return made_with
    chosen = registry.chosen(warehouse, settings, STAGE)
    return chosen.version if chosen else None


class PyfuncRecommender:
    """Answers of a server through MLflow: what it knows is of the moment when it was stored."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:
        """``user_id`` (pseudonyms) and, where lists are not to have the usual length, ``k`` in; ``Server.lists`` out."""
        ids = model_input["user_id"].to_numpy(dtype=object)
        lengths = model_input["k"].fillna(self.server.k).astype(int) if "k" in model_input else None
        return self.server.lists(ids, None if lengths is None else lengths.to_numpy())


def _load_pyfunc(path: str) -> PyfuncRecommender:
    """What MLflow calls to load a stored model: reads arrays and JSON, runs nothing from the artifact."""
    folder = Path(path)
    if (folder / FACTS).exists():
        return PyfuncRecommender(Server.load(folder))
    model = load(folder)
    warnings.warn(
        f"{folder}: registered by an earlier version, without consent, stock, rules and reasons: everybody gets the list that is the same for all, and "
        "items that are out of stock or gone may be in it; the next comparison (persona run) registers one that knows them",
        UserWarning,
        stacklevel=2,
    )
    return PyfuncRecommender(server_of(model, without_people(model.items), RecommendationsSettings()))
