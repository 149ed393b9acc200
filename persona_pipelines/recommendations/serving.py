"""The champion's lists for users, by the business rules, each item with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.errors import ProjectError
from persona_pipelines.features.following import follows
from persona_pipelines.recommendations import STAGE
from persona_pipelines.recommendations.data import UNKNOWN_SEGMENT, USER_ATTRIBUTES, Audience, Interactions, followed, positions, tokens
from persona_pipelines.recommendations.evaluation.comparison import NEW_USER, WARM
from persona_pipelines.recommendations.listed import described
from persona_pipelines.recommendations.models import LearnedModel, load
from persona_pipelines.recommendations.reasons import Evidence, reasons
from persona_pipelines.recommendations.rules import item_facts, owned, rerank
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import RecommendationsSettings
from persona_pipelines.tracking import registry
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

HISTORY_FILE = "history.npz"
SEEN_FILE = "seen.npz"
AGES_FILE = "age_days.npz"


@dataclass(frozen=True)
class Tables:
    """What lists are made from, as pandas tables.

    Attributes:
        users: ``contracts.USERS`` of those to be answered, one row each.
        interactions: ``user_id``, ``item_id``, ``weight``, ``liked``, ``last_time``.
        items: ``contracts.ITEMS``.
        segments: ``user_id``, ``segment_id``, ``segment_name``.
        similar: ``contracts.SIMILAR_ITEMS``.
        new_items: ids of items that appeared only lately.
        dated: whether the log has dates.
        follows: ``user_id``, ``target_user_id``.
    """

    users: pd.DataFrame
    interactions: pd.DataFrame
    items: pd.DataFrame
    segments: pd.DataFrame
    similar: pd.DataFrame
    new_items: frozenset[str]
    dated: bool
    follows: pd.DataFrame


def read(warehouse: Warehouse, settings: Settings, users: pd.DataFrame) -> Tables:
    """The tables for some users; of interactions and segments only their rows."""
    rules_days = settings.recommendations.rules.new_days
    ids = users["user_id"].tolist()
    interactions, segments = warehouse.table(contracts.INTERACTIONS), warehouse.table(contracts.USER_SEGMENTS)
    if len(ids) == 1:
        interactions, segments = interactions.filter(interactions.user_id == ids[0]), segments.filter(segments.user_id == ids[0])
    events = warehouse.table(contracts.EVENTS)
    edges = follows(events.filter(events.user_id == ids[0]) if len(ids) == 1 else events)
    features = warehouse.table(contracts.ITEM_FEATURES)
    young = warehouse.frame(features.filter(features.age_days <= rules_days).select("item_id"))
    # Where all items are young the logs have just begun: nothing is new then.
    known = warehouse.value(features.age_days.max())
    return Tables(
        described(warehouse, settings, contracts.USERS, users),
        warehouse.frame(interactions.select("user_id", "item_id", "weight", "liked", "last_time")),
        described(warehouse, settings, contracts.ITEMS, warehouse.frame(warehouse.table(contracts.ITEMS).order_by("item_id"))),
        warehouse.frame(segments.select("user_id", "segment_id", "segment_name")),
        warehouse.frame(warehouse.table(contracts.SIMILAR_ITEMS).select("item_id", "similar_item_id", "similarity")),
        frozenset(young["item_id"]) if known is not None and known > rules_days else frozenset(),
        known is not None,
        warehouse.frame(edges),
    )


def audience_of(model: LearnedModel, tables: Tables) -> Audience:
    """The users of the tables as the model sees them today."""
    ids = tables.users["user_id"].to_numpy(dtype=object)
    weight = tables.interactions["weight"].to_numpy(dtype=np.float32)
    history = _by_user(model, tables, weight, weight > 0)
    seen = _by_user(model, tables, np.ones(len(weight), dtype=np.float32), np.ones(len(weight), dtype=bool))
    segment = dict(zip(tables.segments["user_id"], tables.segments["segment_id"].astype(int), strict=True))
    return Audience(
        ids,
        positions(model.users, ids),
        history,
        seen,
        tokens(tables.users, "user_id", ids, USER_ATTRIBUTES),
        np.array([segment.get(user, UNKNOWN_SEGMENT) for user in ids], dtype=np.int64),
        followed(tables.follows, ids, model.users),
        _by_user(model, tables, _age_days(tables.interactions), weight > 0),
    )


def _age_days(interactions: pd.DataFrame) -> np.ndarray:
    """Days from the last event of each pair to the newest of all, and one more: no pair has an age of 0."""
    moments = pd.to_datetime(interactions["last_time"])
    return ((moments.max() - moments).dt.total_seconds() / 86_400 + 1).to_numpy(dtype=float)


def _by_user(model: LearnedModel, tables: Tables, value: np.ndarray, wanted: np.ndarray) -> sp.csr_matrix:
    """The wanted interactions of the tables as a matrix of shape (users of the tables, items of the model)."""
    ids = tables.users["user_id"].to_numpy(dtype=object)
    place = pd.Index(ids).get_indexer(pd.Index(tables.interactions["user_id"].to_numpy(dtype=object)))
    column = positions(model.items, tables.interactions["item_id"].to_numpy(dtype=object))
    kept = wanted & (place >= 0) & (column >= 0)
    return sp.csr_matrix((value[kept], (place[kept], column[kept])), shape=(len(ids), len(model.items)))


def recommended(model: LearnedModel, tables: Tables, settings: RecommendationsSettings, k: int) -> pd.DataFrame:
    """``user_id``, ``rank``, ``item_id``, ``score``, ``reason``, ``case``; the case tells whether the user has any interaction.

    A user for whom the rules leave nothing has no rows.
    """
    audience = audience_of(model, tables)
    facts = item_facts(model.items, tables.items, settings.rules)
    candidates = max(k, settings.rules.candidates)
    best, scores = model.top(audience, candidates, owned(audience.seen, facts, settings.exclude_seen), facts.blocked)
    best, scores = rerank(best, scores, k, facts, settings.rules)
    liked = tables.interactions["liked"].to_numpy(dtype=bool) & (tables.interactions["weight"] > 0).to_numpy()
    liked_items = _by_user(model, tables, np.ones(len(liked), dtype=np.float32), liked)
    texts = reasons(model, audience, liked_items, best, _evidence(model, tables, facts.category))
    lists = listed(model, audience.ids, best, scores, texts)
    known = lists["user_id"].isin(tables.interactions["user_id"])
    return lists.assign(case=np.where(known, WARM, NEW_USER))


def listed(model: LearnedModel, users: np.ndarray, best: np.ndarray, scores: np.ndarray, texts: np.ndarray) -> pd.DataFrame:
    """Lists as rows: ``user_id``, ``rank`` from 1, ``item_id``, ``score``, ``reason``; places with nothing left are dropped."""
    n, k = best.shape
    frame = pd.DataFrame(
        {
            "user_id": np.repeat(users, k),
            "rank": np.tile(np.arange(1, k + 1), n),
            "item_id": model.items[np.maximum(best, 0).ravel()] if len(model.items) else np.array([], dtype=object),
            "score": scores.ravel().astype(float).round(6),
            "reason": texts.ravel(),
        }
    )
    return frame[best.ravel() >= 0].reset_index(drop=True)


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
        similarity.maximum(sp.csr_matrix(similarity.T)),
        titles,
        categories,
        np.array([item in tables.new_items for item in model.items], dtype=bool),
        tables.dated,
        dict(zip(names["segment_id"].astype(int), names["segment_name"], strict=True)),
    )


class ConsentError(ProjectError):
    """The user, whose pseudonym it has, has not consented to recommendations."""


def is_known(warehouse: Warehouse, user_id: str) -> bool:
    """Whether a log or a list has a user of this pseudonym."""
    users = warehouse.table(contracts.USERS)
    return bool(warehouse.value((users.user_id == user_id).any()))


def list_for_user(warehouse: Warehouse, settings: Settings, user_id: str, k: int) -> pd.DataFrame:
    """One user's list with titles: the stored one where it is long enough, else made by the champion.

    Args:
        user_id: pseudonym; one never seen is a new user.
    Raises:
        ConsentError: the user is known and has not consented.
        tracking.experiments.ModelNotFoundError: nothing has been trained yet.
        StoredModelError: the champion was stored by another version.
    """
    users = warehouse.table(contracts.USERS)
    found = warehouse.frame(users.filter(users.user_id == user_id))
    if len(found) and not found["consent_personalisation"].iloc[0]:
        raise ConsentError(user_id)
    stored = warehouse.table(contracts.RECOMMENDATIONS)
    lists = warehouse.frame(stored.filter(stored.user_id == user_id).order_by("rank").limit(k))
    if len(lists) < k:
        registered = registry.model(settings, STAGE, in_use(warehouse, settings))
        model = load(registered.folder)
        if found.empty:
            found = pd.DataFrame({"user_id": [user_id]})
        lists = recommended(model, read(warehouse, settings, found), settings.recommendations, k)
        lists = lists.assign(model=model.name, model_version=registered.version)
    items = warehouse.table(contracts.ITEMS)
    titles = warehouse.frame(items.filter(items.item_id.isin(lists["item_id"].tolist() or [""])).select("item_id", "title", "category"))
    return lists.merge(titles, on="item_id", how="left")


def in_use(warehouse: Warehouse, settings: Settings) -> str | None:
    """The version that the lists were made with; of a table without lists the one that is taken from now on."""
    chosen = registry.chosen(warehouse, settings, STAGE)
    return registry.made_with(warehouse, STAGE) or (chosen.version if chosen else None)


class PyfuncRecommender:
    """Answers of a stored model through MLflow: users in, ranked items out, by what they had done when it was trained.

    Rules, reasons and later histories are the pipeline's part: the table ``recommendations`` has them.
    """

    def __init__(self, model: LearnedModel, history: sp.csr_matrix, seen: sp.csr_matrix, age_days: sp.csr_matrix | None) -> None:
        self.model = model
        self.history = history
        self.seen = seen
        self.age_days = age_days

    def predict(self, model_input: pd.DataFrame, params: dict[str, object] | None = None) -> pd.DataFrame:
        """``user_id`` (pseudonyms) and ``k`` in, ``user_id``, ``rank``, ``item_id``, ``score`` out."""
        ids = model_input["user_id"].to_numpy(dtype=object)
        k = int(model_input["k"].max()) if "k" in model_input else 10
        place = positions(self.model.users, ids)
        known = np.flatnonzero((place >= 0) & (place < self.history.shape[0]))
        chosen = sp.csr_matrix((np.ones(len(known), dtype=np.float32), (known, place[known])), shape=(len(ids), self.history.shape[0]))
        history, seen, ages = (
            None if matrix is None else sp.csr_matrix(chosen @ matrix) for matrix in (self.history, self.seen, self.age_days)
        )
        audience = Audience(ids, place, history, seen, [[] for _ in ids], np.full(len(ids), UNKNOWN_SEGMENT), age_days=ages)
        best, scores = self.model.top(audience, k, seen)
        return listed(self.model, ids, best, scores, np.full(best.shape, "", dtype=object)).drop(columns="reason")


def save(folder: Path, model: LearnedModel, interactions: Interactions) -> None:
    """A model with the interactions that it has learned from: arrays and JSON, no pickle, no code."""
    model.save(folder)
    for name, matrix in ((HISTORY_FILE, interactions.weights), (SEEN_FILE, interactions.seen), (AGES_FILE, interactions.age_days)):
        sp.save_npz(folder / name, matrix)


def _load_pyfunc(path: str) -> PyfuncRecommender:
    """What MLflow calls to load a stored model: reads arrays and JSON, runs nothing from the artifact."""
    history, seen = (sp.csr_matrix(sp.load_npz(Path(path) / name)) for name in (HISTORY_FILE, SEEN_FILE))
    ages = Path(path) / AGES_FILE  # models of before know no order
    return PyfuncRecommender(load(Path(path)), history, seen, sp.csr_matrix(sp.load_npz(ages)) if ages.exists() else None)
