"""A snapshot out of the published tables and the champion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.days import end_of
from persona_pipelines.errors import ProjectError
from persona_pipelines.recommendations import STAGE
from persona_pipelines.recommendations.models import load as load_model
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.recommendations.models.live_blend import LiveBlend
from persona_pipelines.recommendations.rules import item_facts, owned
from persona_pipelines.recommendations.serving import Tables, audience_of, in_use, read
from persona_pipelines.serving.snapshot import RECENT, Facts, Snapshot, as_rows, load, weights_between
from persona_pipelines.serving.state import DAY, HALF_LIFE_DAYS, microseconds
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import LiveBlendSettings
from persona_pipelines.tracking import registry
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

NIGHTLY = 100
"""Items of each user that are kept of a champion whose scores do not follow the last click."""
USERS_AT_ONCE = 4096
SEGMENT_COLUMNS = ("segment_id", "segment_name", "users", "share", "distinguishing_features", "description", "top_categories")


class NothingToServeError(ProjectError):
    """There is nothing yet that a list could be made from."""


def folder_of(settings: Settings) -> Path:
    """Where the live service keeps its state: ``events`` (the journal) and ``snapshots``."""
    return settings.home / "live"


def build(warehouse: Warehouse, settings: Settings, say: Callable[[str], None] = lambda text: None) -> Snapshot:
    """The snapshot of the published tables and the champion that made their lists; the one on disk where it is of the same.

    Args:
        warehouse: the published copy.
    Raises:
        NothingToServeError: there is no champion, or no user with an item.
        StoredModelError: the champion was stored by another version.
    """
    version = in_use(warehouse, settings)
    if version is None:
        raise NothingToServeError("there is no recommender yet; next: persona run")
    as_of = warehouse.value(warehouse.table(contracts.INTERACTIONS).as_of_date.max())
    if as_of is None:
        raise NothingToServeError("nobody has turned to any item yet; next: persona run with logs that have people and items")
    rows = warehouse.value(warehouse.table(contracts.EVENTS).count())
    folder = folder_of(settings) / "snapshots" / f"{as_of:%Y-%m-%d}-v{version}-{rows}"
    if folder.exists():
        return load(folder)
    say(f"Preparing what the service knows: version {version} of the recommender, tables until {as_of} ...")
    made = _made(warehouse, settings, version, as_of, folder)
    made.save()
    return load(folder)


def _made(warehouse: Warehouse, settings: Settings, version: str, as_of: dt.date, folder: Path) -> Snapshot:
    options, end = settings.recommendations, end_of(as_of)
    model = load_model(registry.model(settings, STAGE, version).folder)
    everyone = warehouse.frame(warehouse.table(contracts.USERS).order_by("user_id"))
    tables = read(warehouse, settings, everyone)
    items = np.array(sorted({*model.items, *tables.items["item_id"]}), dtype=object)
    pairs = tables.interactions.assign(
        user=pd.Index(everyone["user_id"]).get_indexer(tables.interactions["user_id"]),
        item=pd.Index(items).get_indexer(tables.interactions["item_id"]),
        moment=(pd.to_datetime(tables.interactions["last_time"]) - pd.Timestamp("1970-01-01")) // pd.Timedelta(microseconds=1),
    )
    pairs = pairs[(pairs["user"] >= 0) & (pairs["item"] >= 0)]
    good = pairs[pairs["weight"] > 0]
    age_days = (microseconds(end) - good["moment"].to_numpy(dtype=np.int64)) / DAY
    weights, weights_of, decay = _weights(model, good, age_days, items, (len(everyone), len(items)), options.seed)
    neighbours, values = as_rows(weights)
    nightly_item, nightly_score = _nightly(model, tables, settings, items) if weights_of != model.name else _nothing(len(everyone))
    history = good.sort_values(["user", "moment", "item"], ascending=[True, False, True])
    history = history[history.groupby("user").cumcount() < RECENT]
    seen = pairs.sort_values(["user", "item"])
    facts = item_facts(items, tables.items, options.rules)
    found = tables.items.set_index("item_id").reindex(items)
    titles = [title if isinstance(title, str) else item for title, item in zip(found["title"], items, strict=True)]
    in_stock = np.array([-1 if pd.isna(value) else int(bool(value)) for value in found["in_stock"]], dtype=np.int8)
    popularity = np.bincount(good["item"], weights=0.5 ** (age_days / HALF_LIFE_DAYS), minlength=len(items))
    profile_start, profile = _profiles(warehouse, everyone["user_id"])
    rating, everyones = _ratings(warehouse, everyone["user_id"])
    device, device_user = _devices(warehouse, everyone["user_id"], settings.events.most_users_of_a_device)
    return Snapshot(
        folder,
        Facts(
            model=model.name,
            version=version,
            weights_of=weights_of,
            decay=decay,
            made=dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0).isoformat(),
            until=end.isoformat(),
            dated=tables.dated,
            everyones_rating=everyones,
            consent_when_unknown=settings.privacy.consent_when_unknown,
            segments=warehouse.frame(warehouse.table(contracts.SEGMENT_PROFILES).select(*SEGMENT_COLUMNS).order_by("segment_id")).to_dict(
                "records"
            ),
        ),
        items.tolist(),
        titles,
        facts.category.tolist(),
        neighbours,
        values,
        popularity,
        pd.to_numeric(found["price"], errors="coerce").to_numpy(dtype=float, na_value=np.nan),
        facts.blocked,
        in_stock,
        facts.repurchasable,
        np.array([item in tables.new_items for item in items], dtype=bool),
        np.asarray(facts.vectors, dtype=np.float32),
        everyone["user_id"].to_numpy(dtype="S32"),
        everyone["consent_personalisation"].to_numpy(dtype=bool),
        rating,
        _starts(history["user"], len(everyone)),
        history["item"].to_numpy(dtype=np.int32),
        history["moment"].to_numpy(dtype=np.int64),
        _starts(seen["user"], len(everyone)),
        seen["item"].to_numpy(dtype=np.int32),
        nightly_item,
        nightly_score,
        *_related(warehouse, contracts.SIMILAR_ITEMS, "similar_item_id", "similarity", items),
        *_related(warehouse, contracts.BOUGHT_TOGETHER, "other_item_id", "lift", items),
        profile_start,
        profile,
        device,
        device_user,
    )


def _starts(users: pd.Series, count: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(users, minlength=count))]).astype(np.int64)


def _nothing(users: int) -> tuple[np.ndarray, np.ndarray]:
    return np.empty((users, 0), dtype=np.int32), np.empty((users, 0), dtype=np.float32)


def _weights(
    model: LearnedModel, good: pd.DataFrame, age_days: np.ndarray, items: np.ndarray, shape: tuple[int, int], seed: int
) -> tuple[sp.csr_matrix, str, float]:
    """Weights between ``items``, the name of the model that they are of, and its decay."""
    own = weights_between(model)
    if own is not None:
        place = pd.Index(items).get_indexer(pd.Index(model.items))
        coo = own.tocoo()
        wide = sp.csr_matrix((coo.data, (place[coo.row], place[coo.col])), shape=(len(items), len(items)))
        return wide, model.name, float(model.state["decay"]) if "decay" in model.state else 1.0
    ages = sp.csr_matrix((np.maximum(age_days, 1e-6), (good["user"].to_numpy(), good["item"].to_numpy())), shape=shape)
    settings = LiveBlendSettings()
    try:
        weights, choice = LiveBlend(settings, seed).weights(ages)
    except ModelError:
        return sp.csr_matrix((len(items), len(items)), dtype=np.float32), settings.name, 1.0
    return weights, settings.name, choice.decay


def _nightly(model: LearnedModel, tables: Tables, settings: Settings, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The champion's ``NIGHTLY`` best items of each user who may have a list, by the rules, in ``items``."""
    place = pd.Index(items).get_indexer(pd.Index(model.items))
    facts = item_facts(model.items, tables.items, settings.recommendations.rules)
    best, scores = [], []
    for start in range(0, len(tables.users), USERS_AT_ONCE):
        some = tables.users.iloc[start : start + USERS_AT_ONCE]
        audience = audience_of(model, replace(tables, users=some))
        found, value = model.top(audience, NIGHTLY, owned(audience.seen, facts, settings.recommendations.exclude_seen), facts.blocked)
        best.append(np.where(found >= 0, place[np.maximum(found, 0)], -1).astype(np.int32))
        scores.append(np.where(found >= 0, value, 0).astype(np.float32))
    return np.concatenate(best), np.concatenate(scores)


def _ratings(warehouse: Warehouse, users: pd.Series) -> tuple[np.ndarray, float | None]:
    """The mean of each user's ratings, and of all."""
    events = warehouse.table(contracts.EVENTS)
    rated = events.filter((events.event_type == "rating") & events.value.notnull() & events.user_id.notnull())
    means = warehouse.frame(rated.group_by("user_id").aggregate(mean=rated.value.cast("float64").mean()))
    everyones = warehouse.value(rated.value.cast("float64").mean())
    found = means.set_index("user_id")["mean"].reindex(users).to_numpy(dtype=float)
    return found, None if everyones is None or pd.isna(everyones) else float(everyones)


def _devices(warehouse: Warehouse, users: pd.Series, most_users: int) -> tuple[np.ndarray, np.ndarray]:
    """Devices, sorted, and the position of the user on each; -1 where the last event was a logout or too many have logged in."""
    events = warehouse.table(contracts.EVENTS)
    known = events.filter(events.anonymous_id.notnull() & events.user_id.notnull())
    last = known.group_by("anonymous_id").aggregate(
        users=known.user_id.nunique(),
        user_id=known.user_id.argmax(known.timestamp),
        event_type=known.event_type.argmax(known.timestamp),
    )
    gone = (last.event_type == "logout") | (last["users"] > most_users)
    found = warehouse.frame(last.mutate(user_id=ibis.ifelse(gone, None, last.user_id)).order_by("anonymous_id"))
    place = pd.Index(users).get_indexer(pd.Index(found["user_id"]))
    return found["anonymous_id"].to_numpy(dtype="S32"), place.astype(np.int64)


def _related(warehouse: Warehouse, contract: contracts.Table, other: str, value: str, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What goes with each item: positions and values of shape (items, most of an item), best first."""
    table = warehouse.table(contract)
    found = warehouse.frame(table.select("item_id", "rank", other, value).order_by(["item_id", "rank"]))
    row, column = (pd.Index(items).get_indexer(pd.Index(found[name])) for name in ("item_id", other))
    width = int(found["rank"].max()) if len(found) else 0
    places, values = np.full((len(items), width), -1, dtype=np.int32), np.zeros((len(items), width), dtype=np.float32)
    known = (row >= 0) & (column >= 0)
    rank = found["rank"].to_numpy(dtype=int) - 1
    places[row[known], rank[known]], values[row[known], rank[known]] = column[known], found[value].to_numpy(dtype=float)[known]
    return places, values


def _profiles(warehouse: Warehouse, users: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Where the document of each user begins, and all of them as bytes."""
    found = warehouse.frame(warehouse.table(contracts.PROFILE_DOCUMENTS).select("user_id", "document")).set_index("user_id")["document"]
    texts = [text.encode() if isinstance(text, str) else b"" for text in found.reindex(users)]
    starts = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    return starts, np.frombuffer(b"".join(texts), dtype=np.uint8)
