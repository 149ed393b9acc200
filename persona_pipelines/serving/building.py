"""A snapshot out of the published tables and the champion."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import scipy.sparse as sp

from persona_pipelines.days import end_of
from persona_pipelines.errors import ProjectError, StoredModelError
from persona_pipelines.events.listings import said_of_lists
from persona_pipelines.features.exact import exact_sum
from persona_pipelines.features.interactions import interactions, rules_of
from persona_pipelines.recommendations import STAGE, data
from persona_pipelines.recommendations.evaluation.splits import TooFewInteractionsError, cut_of
from persona_pipelines.recommendations.last_click import LISTED, RECENT, LastClick
from persona_pipelines.recommendations.models import load as load_model
from persona_pipelines.recommendations.models.content_to_taste import ContentToTaste
from persona_pipelines.recommendations.models.learned import LearnedModel, ModelError
from persona_pipelines.recommendations.models.live_blend import LiveBlend
from persona_pipelines.recommendations.reasons import PERSONAL, kinds_of
from persona_pipelines.recommendations.rules import ItemFacts, item_facts, owned
from persona_pipelines.recommendations.serving import in_use
from persona_pipelines.recommendations.tables import Tables, audience_of, read
from persona_pipelines.recommendations.windows import sources_of
from persona_pipelines.serving.arrivals import Arrivals, Came, Chosen, arrivals, came_by, chosen
from persona_pipelines.serving.catalogue import MOST_NEW, Kept
from persona_pipelines.serving.experiments import EXPERIMENTS, running
from persona_pipelines.serving.experiments import load as load_experiments
from persona_pipelines.serving.journal import Break, events_of, files_of, name_of
from persona_pipelines.serving.received import BEHIND, LESS_LIKE_THIS, NOT_INTERESTED
from persona_pipelines.serving.snapshot import FACTS, NO_WORD, Facts, Scores, Snapshot, as_rows, id_hash, load, weights_between
from persona_pipelines.serving.state import DAY, HALF_LIFE_DAYS, microseconds
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import ContentToTasteSettings, LiveBlendSettings
from persona_pipelines.settings.whole import RECEIVED, received_folder, received_items_file
from persona_pipelines.tracking import registry
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse

DEVICE_DAYS = 90
"""A device that nobody has logged in on is known if it did anything in so many days."""
SCALED = 300
USERS_AT_ONCE = 4096
SEGMENT_COLUMNS = ("segment_id", "segment_name", "users", "share", "distinguishing_features", "description", "top_categories")


class NothingToServeError(ProjectError):
    """There is nothing yet that a list could be made from."""


def folder_of(settings: Settings) -> Path:
    """Where the live service keeps its state: ``events`` (the journal) and ``snapshots``."""
    return received_folder(settings.home).parent


def snapshots_of(settings: Settings) -> Path:
    return folder_of(settings) / "snapshots"


def kept_snapshots(settings: Settings, mark: str = "") -> list[Path]:
    """The snapshots on disk, of one published copy or of all, the newest last."""
    found = [
        folder
        for folder in snapshots_of(settings).glob("*-v*-*")
        if (folder / FACTS).exists() and (not mark or folder.name.split("+")[0].endswith(f"-{mark}"))
    ]
    return sorted(found, key=lambda folder: (folder.stat().st_mtime_ns, folder.name))


def since(snapshot: Snapshot, files: Sequence[Path], on_break: Callable[[Break], None]) -> Iterator[dict[str, Any]]:
    """The events of some files of the journal that a snapshot does not hold, in their order."""
    held, whole, until = set(snapshot.facts.files), set(snapshot.facts.whole_files), snapshot.until
    for file in files:
        name = name_of(file)
        if name in whole or (name in held and file.parent.name < f"{until:%Y-%m-%d}"):
            continue
        for event in events_of([file], on_break):
            if name not in held or _moment_of(event) >= until:
                yield event


def build(warehouse: Warehouse, settings: Settings, say: Callable[[str], None] = lambda text: None) -> Snapshot:
    """The snapshot of the published tables and the champion that made their lists; the one on disk where it is of the same and can be read.

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
    others = [other for other in wanted_versions(settings) if other != version]
    folder = snapshots_of(settings) / f"{as_of:%Y-%m-%d}-v{'.'.join([version, *others])}-{settings.published_mark}"
    if folder.exists():
        try:
            return load(folder)
        except StoredModelError as error:  # of another version, or damaged
            say(str(error))
            shutil.rmtree(folder)
    say(f"Preparing what the service knows: version {version} of the recommender, tables until {as_of} ...")
    made = _made(warehouse, settings, version, others, as_of, folder, say)
    made.save()
    return load(folder)


def wanted_versions(settings: Settings) -> list[str]:
    """Versions that lists are made with beside the champion's: those of the running experiment, and that of the shadow.

    Raises:
        ExperimentError: the file of experiments cannot be read.
    """
    experiment = running(load_experiments(folder_of(settings) / EXPERIMENTS))
    versions = [variant.model_version for variant in experiment.variants] if experiment is not None else []
    return sorted({version for version in [*versions, settings.serving.shadow_version] if version is not None})


def _made(
    warehouse: Warehouse, settings: Settings, version: str, others: Sequence[str], as_of: dt.date, folder: Path, say: Callable[[str], None]
) -> Snapshot:
    options, end = settings.recommendations, end_of(as_of)
    registered = registry.model(settings, STAGE, version).folder
    model, last_click = load_model(registered), LastClick.load(registered)
    users = warehouse.frame(warehouse.table(contracts.USERS).order_by("user_id"))
    tables = read(warehouse, settings, users)
    events = warehouse.table(contracts.EVENTS)
    items = np.array(sorted({*model.items, *tables.items["item_id"]}), dtype=object)
    people = people_of(warehouse, events, users, items, end, settings)
    facts = item_facts(items, tables.items, options.rules)
    found = tables.items.set_index("item_id").reindex(items)
    titles = [title if isinstance(title, str) else item for title, item in zip(found["title"], items, strict=True)]
    in_stock = np.array([-1 if pd.isna(value) else int(bool(value)) for value in found["in_stock"]], dtype=np.int8)
    scores = {version: scores_of(model, last_click, version, tables, settings, items, facts, people, end)}
    missing = []
    for other in others:
        try:
            registered = registry.model(settings, STAGE, other).folder
            scores[other] = scores_of(
                load_model(registered), LastClick.load(registered), other, tables, settings, items, facts, people, end
            )
        except ProjectError as error:
            say(f"version {other} of the recommender cannot be asked: {error}")
            missing.append(other)
    came = Came.of(warehouse, events.filter(events.timestamp < end), rules_of(settings), items)
    used, groups = _arrivals(warehouse, settings, came, end)
    content, scale = _content(tables, items, people, scores[version], settings, end)
    arrived = {item: row["arrived"] for item, row in Kept(received_items_file(settings.home)).rows.items() if "arrived" in row}
    since_when = f"{(end - dt.timedelta(days=options.rules.new_days)).isoformat(timespec='microseconds')}Z"
    lately = tables.new_items | {item for item, moment in arrived.items() if moment >= since_when}
    unmet = unmet_items(items, lately, arrived, people.pairs["item"].to_numpy(), list(scores.values()))
    profile_start, profile = _profiles(warehouse, pd.Series(people.names))
    files, ids = _received(warehouse, settings, end)
    is_new = np.array([item in tables.new_items for item in items], dtype=bool)
    is_new[unmet] = True
    segment = tables.segments.drop_duplicates("user_id").set_index("user_id")["segment_id"].reindex(people.names)
    columns: dict[str, Any] = people.arrays | content
    columns |= _related(warehouse, contracts.SIMILAR_ITEMS, "similar_item_id", "similarity", "similar", items)
    columns |= _related(warehouse, contracts.BOUGHT_TOGETHER, "other_item_id", "lift", "together", items)
    return Snapshot(
        folder=folder,
        facts=Facts(
            version=version,
            mark=settings.published_mark,
            made=_published_at(settings).isoformat(timespec="microseconds"),
            until=end.isoformat(),
            dated=tables.dated,
            rating_sum=people.rating_sum,
            ratings=people.ratings,
            consent_when_unknown=settings.privacy.consent_when_unknown,
            segments=warehouse.frame(warehouse.table(contracts.SEGMENT_PROFILES).select(*SEGMENT_COLUMNS).order_by("segment_id")).to_dict(
                "records"
            ),
            missing=missing,
            files=files,
            whole_files=[],
            events=0,
            content_scale=scale,
            arrivals=[asdict(entry) for entry in used],
        ),
        scores=scores,
        items=items.tolist(),
        titles=titles,
        categories=facts.category.tolist(),
        groups=groups.names,
        group_item=groups.items,
        came_by=came_by(came, groups.names, people.names),
        price=pd.to_numeric(found["price"], errors="coerce").to_numpy(dtype=float, na_value=np.nan),
        blocked=facts.blocked,
        in_stock=in_stock,
        repurchasable=facts.repurchasable,
        is_new=is_new,
        segment=segment.fillna(-1).to_numpy(dtype=np.int32),
        unmet_item=unmet.astype(np.int32),
        unmet_likeness=_likeness(content, unmet, scale),
        vectors=np.asarray(facts.vectors, dtype=np.float32),
        **columns,
        profile_start=profile_start,
        profile=profile,
        ids=ids,
    )


def _arrivals(warehouse: Warehouse, settings: Settings, came: Came, end: dt.datetime) -> tuple[list[Chosen], Arrivals]:
    """What is popular by how people came: whether it is used is chosen on the newest window, the lists are of all that is known."""
    options, fewest = settings.recommendations, settings.segments.minimum_segment_size
    try:
        cut = cut_of(sources_of(warehouse, settings), end, options.test_share, options.minimum_interactions)
    except TooFewInteractionsError:
        return [], arrivals(came, [], end, fewest)
    used = chosen(came, cut, end, options.k, fewest, options.gate.minimum_users, options.seed)
    return used, arrivals(came, used, end, fewest)


def _published_at(settings: Settings) -> dt.datetime:
    return dt.datetime.fromtimestamp(settings.published_file.stat().st_mtime, dt.UTC).replace(tzinfo=None)


@dataclass(frozen=True)
class People:
    """What is known of people at a moment, from the cleaned events.

    Attributes:
        names: pseudonyms of users and of devices that nobody has logged in on, sorted.
        pairs: ``person``, ``item`` (positions), ``moment`` (microseconds since 1970), ``good``, ``liked``, rising by person and item.
        rating_sum, ratings: of all ratings.
        arrays: those of ``Snapshot`` that are of people and devices, and ``popularity``.
    """

    names: np.ndarray
    pairs: pd.DataFrame
    rating_sum: float
    ratings: int
    arrays: dict[str, np.ndarray]


def people_of(
    warehouse: Warehouse, events: ir.Table, users: pd.DataFrame, items: np.ndarray, end: dt.datetime, settings: Settings
) -> People:
    """What the cleaned events before ``end`` say of people, by the rules of ``features.interactions``.

    Args:
        users: ``user_id`` and ``consent_personalisation`` of every user, as of ``end``.
        items: ids, sorted.
    """
    rules, events = rules_of(settings), events.filter(events.timestamp < end)
    alone = events.filter(events.user_id.isnull() & events.anonymous_id.notnull())
    here = alone.filter(alone.timestamp >= end - dt.timedelta(days=DEVICE_DAYS)).select("anonymous_id").distinct()
    alone = alone.semi_join(here, "anonymous_id").mutate(user_id=alone.anonymous_id)
    columns = ["user_id", "item_id", "weight", "liked", "last_time", "best"]
    of_users, of_devices = (
        warehouse.frame(interactions(some, rules, end).select(*columns)) for some in (events.filter(events.user_id.notnull()), alone)
    )
    words = warehouse.frame(said_of_lists(events.mutate(user_id=ibis.coalesce(events.user_id, events.anonymous_id)))).set_index("user_id")
    names = np.array(sorted({*users["user_id"], *of_devices["user_id"], *words.index}), dtype=object)
    is_device = ~pd.Index(names).isin(users["user_id"])
    pairs = pd.concat([of_users, of_devices], ignore_index=True)
    pairs = pd.DataFrame(
        {
            "person": pd.Index(names).get_indexer(pd.Index(pairs["user_id"])),
            "item": pd.Index(items).get_indexer(pd.Index(pairs["item_id"])),
            "moment": _microseconds_of(pairs["last_time"]),
            "good": (pairs["best"] > 0).to_numpy(dtype=bool),
            "liked": (pairs["weight"] > 0).to_numpy(dtype=bool),
        }
    )
    pairs = pairs[(pairs["person"] >= 0) & (pairs["item"] >= 0)].sort_values(["person", "item"], ignore_index=True)
    liked = pairs[pairs["liked"]]
    history = liked.sort_values(["person", "moment", "item"], ascending=[True, False, True])
    history = history[history.groupby("person").cumcount() < RECENT]
    counted = liked[~is_device[liked["person"]]]
    age_days = (microseconds(end) - counted["moment"].to_numpy(dtype=np.int64)) / DAY
    rating_sum, ratings, of_pair, number = _ratings(warehouse, events, names, items, pairs)
    popularity = np.bincount(counted["item"], weights=0.5 ** (age_days / HALF_LIFE_DAYS), minlength=len(items))
    consent = pd.Series(users["consent_personalisation"].to_numpy(dtype=bool), index=users["user_id"]).reindex(names)
    said_start, said_item = _said(warehouse, events, names, items)
    last = words.assign(moment=_microseconds_of(words["said_at"])).reindex(names)
    # The table of users knows their words; devices are in none.
    consent = consent.where(~is_device, last["said"].astype("boolean").to_numpy(dtype=object, na_value=np.nan))
    return People(
        names,
        pairs,
        rating_sum,
        ratings,
        {
            "popularity": popularity,
            "shown": popularity,
            "people": names.astype("S32"),
            "of_devices": is_device,
            "acted": np.zeros(len(names), dtype=bool),
            "consent": consent.fillna(settings.privacy.consent_when_unknown).to_numpy(dtype=bool),
            "word_time": last["moment"].fillna(NO_WORD).to_numpy(dtype=np.int64),
            "word": last["said"].fillna(False).to_numpy(dtype=bool),
            "history_start": _starts(history["person"], len(names)),
            "history_item": history["item"].to_numpy(dtype=np.int32),
            "history_time": history["moment"].to_numpy(dtype=np.int64),
            "pair_start": _starts(pairs["person"], len(names)),
            "pair_item": pairs["item"].to_numpy(dtype=np.int32),
            "pair_time": pairs["moment"].to_numpy(dtype=np.int64),
            "pair_good": pairs["good"].to_numpy(dtype=bool),
            "pair_rating_sum": of_pair,
            "pair_ratings": number,
            "said_start": said_start,
            "said_item": said_item,
            **_devices(warehouse, events, names, settings.events.most_users_of_a_device),
        },
    )


def _starts(owners: pd.Series | np.ndarray, count: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))]).astype(np.int64)


def scores_of(
    model: LearnedModel,
    last_click: LastClick,
    version: str,
    tables: Tables,
    settings: Settings,
    items: np.ndarray,
    facts: ItemFacts,
    people: People,
    end: dt.datetime,
) -> Scores:
    """What a version of the recommender says of ``items``, whose facts are given, and ``people``."""
    liked = people.pairs[people.pairs["liked"]]
    age_days = (microseconds(end) - liked["moment"].to_numpy(dtype=np.int64)) / DAY
    weights, weights_of, decay = _weights(model, liked, age_days, items, (len(people.names), len(items)), settings.recommendations.seed)
    neighbours, values = as_rows(weights)
    count = len(people.names)
    if weights_of == model.name:
        nightly_item, nightly_score = np.empty((count, 0), dtype=np.int32), np.empty((count, 0), dtype=np.float32)
        nightly_kind = np.empty((count, 0), dtype=np.int8)
        share, reason = 1.0, "the model follows the last items itself"
    else:
        share, reason = last_click.share, last_click.reason
        nightly_item, nightly_score = np.full((count, LISTED), -1, dtype=np.int32), np.zeros((count, LISTED), dtype=np.float32)
        nightly_kind = np.full((count, LISTED), PERSONAL, dtype=np.int8)
        place = pd.Index(people.names).get_indexer(pd.Index(tables.users["user_id"]))
        nightly_item[place], nightly_score[place], nightly_kind[place] = _nightly(
            model, tables, settings.recommendations.exclude_seen, items, facts
        )
        if (nightly_kind == PERSONAL).all():
            nightly_kind = nightly_kind[:, :0]
    return Scores(model.name, version, weights_of, decay, neighbours, values, nightly_item, nightly_score, nightly_kind, share, reason)


def _content(
    tables: Tables, items: np.ndarray, people: People, scores: Scores, settings: Settings, end: dt.datetime
) -> tuple[dict[str, Any], float]:
    """What ``Snapshot`` has of the content of items, and its scale."""
    none = {
        "content": None,
        "content_start": np.zeros(len(items) + 1, dtype=np.int64),
        "content_column": np.array([], dtype=np.int32),
        "content_value": np.array([], dtype=np.float32),
        "content_inverse": np.empty((0, 0), dtype=np.float32),
    }
    if not len(tables.interactions):
        return none, 0.0
    try:
        learned = data.build(tables.interactions, tables.users, tables.items, pd.Timestamp(end))
        model = ContentToTaste(ContentToTasteSettings(), settings.recommendations.seed).fit(learned)
    except ModelError:
        return none, 0.0
    place = pd.Index(model.items).get_indexer(pd.Index(items))
    vectors = sp.csr_matrix(model.state["vectors"])
    rows = sp.csr_matrix(sp.vstack([vectors, sp.csr_matrix((1, vectors.shape[1]), dtype=np.float32)]))[
        np.where(place >= 0, place, vectors.shape[0])
    ]
    inverse = np.asarray(model.state["inverse"], dtype=np.float32)
    found = {
        "content": model.item_vectors(),
        "content_start": rows.indptr.astype(np.int64),
        "content_column": rows.indices.astype(np.int32),
        "content_value": rows.data.astype(np.float32),
        "content_inverse": inverse,
    }
    return found, _scale(rows, inverse, people, scores)


def unmet_items(items: np.ndarray, lately: Set[str], arrived: Mapping[str, str], met: np.ndarray, scores: Sequence[Scores]) -> np.ndarray:
    """Positions of the items that have come lately, and that nobody has turned to and no model leads to yet; of more than ``MOST_NEW`` the newest.

    Without them here an item would be in lists from its first moment, and drop out with the next run.

    Args:
        lately: ids of items that appeared, or came over HTTP, lately; ``arrived``: when those came that came over HTTP, as text.
        met: positions of items that anybody has had to do with.
    """
    found = np.array([item in lately for item in items], dtype=bool)
    found[met] = False
    for version in scores:
        found[version.neighbours[version.weights > 0]] = False
    newest = sorted(np.flatnonzero(found).tolist(), key=lambda place: (arrived.get(str(items[place]), ""), place))[-MOST_NEW:]
    return np.array(sorted(newest), dtype=np.int64)


def _likeness(content: Mapping[str, Any], unmet: np.ndarray, scale: float) -> np.ndarray:
    """How strongly each item leads to those that nobody has turned to (``Snapshot.unmet_likeness``)."""
    count, columns = len(content["content_start"]) - 1, len(content["content_inverse"])
    vectors = sp.csr_matrix((content["content_value"], content["content_column"], content["content_start"]), shape=(count, columns))
    found = vectors @ (content["content_inverse"] @ vectors[unmet].T.toarray()) * scale
    return np.ascontiguousarray(found, dtype=np.float32).reshape(count, len(unmet))


def _scale(vectors: sp.csr_matrix, inverse: np.ndarray, people: People, scores: Scores) -> float:
    """By how much likenesses by content are multiplied to weigh like the weights between items: the two are compared on the items to which
    the weights lead most, of ``SCALED`` people with a history."""
    start, history = people.arrays["history_start"], people.arrays["history_item"]
    some = np.flatnonzero(np.diff(start) > 0)
    by_weights = by_content = 0.0
    for person in some[:: max(len(some) // SCALED, 1)]:
        items = history[start[person] : start[person + 1]]
        factor = np.power(scores.decay, np.arange(len(items)))
        total = np.bincount(
            scores.neighbours[items].ravel(), (scores.weights[items] * factor[:, None]).ravel(), minlength=len(scores.neighbours)
        )
        total[items] = 0
        best = np.argsort(-total, kind="stable")[:LISTED]
        best = best[total[best] > 0]
        taste = np.asarray(vectors[items].T @ factor).ravel() @ inverse
        by_weights, by_content = by_weights + total[best].sum(), by_content + float((vectors[best] @ taste).clip(min=0).sum())
    return float(by_weights / by_content) if by_content > 0 else 0.0


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
    ages = sp.csr_matrix((np.maximum(age_days, 1e-6), (good["person"].to_numpy(), good["item"].to_numpy())), shape=shape)
    settings = LiveBlendSettings()
    try:
        weights, choice = LiveBlend(settings, seed).weights(ages)
    except ModelError:
        return sp.csr_matrix((len(items), len(items)), dtype=np.float32), settings.name, 1.0
    return weights, settings.name, choice.decay


def _nightly(
    model: LearnedModel, tables: Tables, exclude_seen: bool, items: np.ndarray, facts: ItemFacts
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The champion's ``LISTED`` best items of each user who may have a list, by the rules, in ``items``, with their scores and kinds."""
    place = pd.Index(items).get_indexer(pd.Index(model.items))
    facts = facts.part(place)
    best, scores, kinds = [], [], []
    for start in range(0, len(tables.users), USERS_AT_ONCE):
        some = tables.users.iloc[start : start + USERS_AT_ONCE]
        audience = audience_of(model, replace(tables, users=some))
        found, value = model.top(audience, LISTED, owned(audience.seen, facts, exclude_seen), facts.blocked)
        best.append(np.where(found >= 0, place[np.maximum(found, 0)], -1).astype(np.int32))
        scores.append(np.where(found >= 0, value, 0).astype(np.float32))
        kinds.append(kinds_of(model, audience, found).astype(np.int8))
    return np.concatenate(best), np.concatenate(scores), np.concatenate(kinds)


def _ratings(
    warehouse: Warehouse, events: ir.Table, names: np.ndarray, items: np.ndarray, pairs: pd.DataFrame
) -> tuple[float, int, np.ndarray, np.ndarray]:
    """Sum and number of all ratings, and both of each of the ``pairs``; of pairs nothing where nobody rates."""
    rated = events.filter((events.event_type == "rating") & events.value.notnull() & events.user_id.notnull() & events.item_id.notnull())
    found = warehouse.frame(rated.group_by("user_id", "item_id").aggregate(sum=exact_sum(rated.value), ratings=rated.count()))
    if not len(found):
        return 0.0, 0, np.array([]), np.array([], dtype=np.int32)
    of_pair, number = np.zeros(len(pairs)), np.zeros(len(pairs), dtype=np.int32)
    person, item = pd.Index(names).get_indexer(pd.Index(found["user_id"])), pd.Index(items).get_indexer(pd.Index(found["item_id"]))
    code = pairs["person"].to_numpy(dtype=np.int64) * len(items) + pairs["item"].to_numpy(dtype=np.int64)
    place = code.searchsorted(person.astype(np.int64) * len(items) + item)
    of_pair[place], number[place] = found["sum"].to_numpy(dtype=float), found["ratings"].to_numpy(dtype=np.int32)
    return float(found["sum"].sum()), int(found["ratings"].sum()), of_pair, number


def _microseconds_of(moments: pd.Series) -> pd.Series:
    """Since 1970."""
    return (pd.to_datetime(moments) - pd.Timestamp("1970-01-01")) // pd.Timedelta(microseconds=1)


def _said(warehouse: Warehouse, events: ir.Table, names: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What each has said of items (``Snapshot.said_item``), and where it begins."""
    told = events.filter(events.event_type.isin([NOT_INTERESTED, LESS_LIKE_THIS]) & events.item_id.notnull())
    told = told.mutate(person=ibis.coalesce(told.user_id, told.anonymous_id))
    found = warehouse.frame(told.select("person", "item_id", "event_type").distinct())
    person, item = pd.Index(names).get_indexer(pd.Index(found["person"])), pd.Index(items).get_indexer(pd.Index(found["item_id"]))
    code = np.where(found["event_type"] == NOT_INTERESTED, item + 1, -(item + 1))
    order = np.lexsort((code, person))
    order = order[(person[order] >= 0) & (item[order] >= 0)]
    return _starts(person[order], len(names)), code[order].astype(np.int32)


def _devices(warehouse: Warehouse, events: ir.Table, names: np.ndarray, most_users: int) -> dict[str, np.ndarray]:
    """The arrays of ``Snapshot`` that are of devices, by the rule of ``events.identity``: an event after a logout has no user."""
    known = events.filter(events.anonymous_id.notnull())
    logged = known.filter(known.user_id.notnull() & ~known.stitched)
    members = warehouse.frame(logged.select("anonymous_id", "user_id").distinct().order_by("anonymous_id", "user_id"))
    told = known.filter(known.user_id.notnull() | (known.event_type == "logout"))
    last = told.group_by("anonymous_id").aggregate(
        user_id=told.user_id.argmax(told.timestamp),
        event_type=told.event_type.argmax(told.timestamp),
        left=(told.event_type == "logout").any(),
    )
    found = warehouse.frame(last.semi_join(logged, "anonymous_id").order_by("anonymous_id"))
    device = found["anonymous_id"].to_numpy(dtype=object)
    place = pd.Index(device).get_indexer(pd.Index(members["anonymous_id"]))
    users = np.bincount(place, minlength=len(device))
    gone = (found["event_type"] == "logout").to_numpy(dtype=bool) | (users > most_users)
    user = pd.Index(names).get_indexer(pd.Index(found["user_id"]))
    return {
        "device": device.astype("S32"),
        "device_user": np.where(gone, -1, user).astype(np.int64),
        "device_left": found["left"].to_numpy(dtype=bool),
        "device_start": _starts(place, len(device)),
        "device_member": pd.Index(names).get_indexer(pd.Index(members["user_id"])).astype(np.int32),
    }


def _received(warehouse: Warehouse, settings: Settings, end: dt.datetime) -> tuple[list[str], np.ndarray]:
    """Files of the journal that the tables hold, and the hashes of the ids of what was received lately, rising."""
    read = warehouse.table(contracts.FILES)
    held = set(warehouse.frame(read.filter(read.source == RECEIVED).select("source_file"))["source_file"])
    folder = received_folder(settings.home)
    lately = f"{end - BEHIND - dt.timedelta(days=1):%Y-%m-%d}"
    files, ids = [], []
    for file in files_of(folder):
        if settings.displayed(file) in held:
            files.append(name_of(file))
            if file.parent.name >= lately:
                ids += [id_hash(event["event_id"]) for event in events_of([file], lambda found: None) if _moment_of(event) < end]
    return files, np.array(sorted(set(ids)), dtype=np.uint64)


def _moment_of(event: Mapping[str, Any]) -> dt.datetime:
    return dt.datetime.fromisoformat(event["timestamp"][:-1])


def _related(
    warehouse: Warehouse, contract: contracts.Table, other: str, value: str, name: str, items: np.ndarray
) -> dict[str, np.ndarray]:
    """What goes with each item (``{name}_item``, ``{name}_value`` of ``Snapshot``)."""
    table = warehouse.table(contract)
    found = warehouse.frame(table.select("item_id", "rank", other, value).order_by(["item_id", "rank"]))
    row, others = (pd.Index(items).get_indexer(pd.Index(found[column])) for column in ("item_id", other))
    width = int(found["rank"].max()) if len(found) else 0
    places, values = np.full((len(items), width), -1, dtype=np.int32), np.zeros((len(items), width), dtype=np.float32)
    known = (row >= 0) & (others >= 0)
    rank = found["rank"].to_numpy(dtype=int) - 1
    places[row[known], rank[known]], values[row[known], rank[known]] = others[known], found[value].to_numpy(dtype=float)[known]
    return {f"{name}_item": places, f"{name}_value": values}


def _profiles(warehouse: Warehouse, users: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Where the document of each user begins, and all of them as bytes."""
    found = warehouse.frame(warehouse.table(contracts.PROFILE_DOCUMENTS).select("user_id", "document")).set_index("user_id")["document"]
    texts = [text.encode() if isinstance(text, str) else b"" for text in found.reindex(users)]
    starts = np.concatenate([[0], np.cumsum([len(text) for text in texts])]).astype(np.int64)
    return starts, np.frombuffer(b"".join(texts), dtype=np.uint8)
