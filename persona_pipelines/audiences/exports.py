"""Audiences as files: nobody is in one who has not consented to marketing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd

from persona_pipelines.audiences.conditions import ConditionError, inner_columns, matching
from persona_pipelines.audiences.lookalike import SeedsError, quality, resemblance
from persona_pipelines.audiences.own_lists import (
    PSEUDONYM,
    chosen_columns,
    known_users,
    read_list,
    read_seeds,
    require_another,
    with_pseudonyms,
)
from persona_pipelines.audiences.saved import OF_SEGMENT, AudienceError, audiences
from persona_pipelines.audiences.saved import condition_of as saved_condition
from persona_pipelines.events.ordering import in_order
from persona_pipelines.segments import STAGE as SEGMENTS
from persona_pipelines.segments.model import SegmentModel
from persona_pipelines.settings import Settings
from persona_pipelines.suggestions import suggestion
from persona_pipelines.tracking.registry import made_with, model
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines.warehouse.exporting import export_rows

ROW = "row of the list"


@dataclass(frozen=True)
class Size:
    """How many users meet a condition, and how many of them have consented to marketing."""

    users: int
    consenting: int


@dataclass(frozen=True)
class Alike:
    """How many users were written, by likeness to how many seeds, and how many lines of the seeds are no known user.

    ``quality``: how well seeds that were hidden are told from everyone else; None of too few seeds.
    """

    users: int
    seeds: int
    unknown: int
    quality: float | None


def may_leave(profiles: ir.Table) -> ir.BooleanValue:
    """Whether a profile may leave the house: who has consented to marketing."""
    return profiles.consent_marketing


def meeting(store: Warehouse, settings: Settings, condition: str) -> ir.Table:
    """The profiles that meet a condition over profiles and features.

    Raises:
        ConditionError: it cannot be read, or names a column or a segment that there is not.
    """
    profiles = store.table(contracts.USER_PROFILES)
    segments = [name for (name,) in store.tuples(profiles.select("segment_name").distinct())]
    return matching(profiles, condition, inner_columns(settings), store.table(contracts.USER_FEATURES), segments)


def size(store: Warehouse, settings: Settings, condition: str) -> Size:
    """Raises ConditionError where the condition cannot be read."""
    return _counted(store, meeting(store, settings, condition))


def unreadable(store: Warehouse, settings: Settings) -> dict[str, str]:
    """The saved audiences whose conditions can be read no longer, with why: their attributes, targets or segments are gone, or an earlier version wrote them.

    Raises:
        AudienceError: the file that keeps them cannot be read.
    """
    found = {}
    for name, condition in audiences(settings).items():
        try:
            meeting(store, settings, condition)
        except ConditionError as error:
            found[name] = f"can be read no longer: {error}"
    return found


def _counted(store: Warehouse, found: ir.Table) -> Size:
    users, consenting = store.row(found.aggregate(users=found.count(), consenting=found.count(where=may_leave(found))))
    return Size(int(users), int(consenting))


def of_segments(store: Warehouse) -> dict[str, str]:
    """Conditions by name of the audiences that every segment has by itself: ``segment-3``; ``segment-0`` are those in no segment."""
    segments = store.table(contracts.SEGMENT_PROFILES)
    numbers = store.tuples(segments.select("segment_id").order_by("segment_id"))
    return {f"{OF_SEGMENT}{number}": f"segment_id = {number}" for (number,) in numbers}


def condition_of(store: Warehouse, settings: Settings, name: str) -> str:
    """The condition of an audience that was saved, or that a segment has by itself.

    Raises:
        AudienceError: there is none of this name.
    """
    known = of_segments(store)
    return known[name] if name in known else saved_condition(settings, name, also=list(known))


def members(store: Warehouse, settings: Settings, name: str) -> ir.Table:
    """The profiles in a saved audience.

    Raises:
        AudienceError: there is none of this name, or its condition can be read no longer.
    """
    condition = condition_of(store, settings, name)
    try:
        return meeting(store, settings, condition)
    except ConditionError as error:
        raise AudienceError(f"the condition of audience {name!r} can be read no longer: {error}; it is: {condition}") from None


def by_segment(store: Warehouse, audience: ir.Table) -> pd.DataFrame:
    """``segment``, ``users``, ``consenting`` of the profiles in an audience, the largest segment first."""
    counted = audience.group_by(segment=audience.segment_name).aggregate(
        users=audience.count(), consenting=audience.count(where=may_leave(audience))
    )
    return store.frame(counted.order_by(counted.users.desc(), "segment"))


def overlaps(store: Warehouse, settings: Settings, names: Sequence[str]) -> pd.DataFrame:
    """How many users each two saved audiences share: ``audience``, ``other``, ``in_both``, ``share_of_audience``, ``share_of_other`` and
    ``jaccard``, those in both over those in either; shares are missing where there is nobody to share.

    Raises:
        AudienceError: there is none of a name, or a condition can be read no longer.
    """
    found = {name: members(store, settings, name) for name in dict.fromkeys(names)}
    sizes = {name: _counted(store, audience).users for name, audience in found.items()}
    rows = []
    for one, other in itertools.combinations(found, 2):
        both = int(store.value(found[one].semi_join(found[other], "user_id").count()))
        either = sizes[one] + sizes[other] - both
        shares = [both / whole if whole else None for whole in (sizes[one], sizes[other], either)]
        rows.append((one, other, both, *shares))
    return pd.DataFrame(rows, columns=["audience", "other", "in_both", "share_of_audience", "share_of_other", "jaccard"])


def export_audience(
    store: Warehouse, settings: Settings, name: str, file: Path, columns: Sequence[str] = (), *, guard: bool = True
) -> Size:
    """Write the consenting users of an audience: their pseudonyms, and columns of ``contracts.USER_PROFILES`` beside them.

    Raises:
        AudienceError: there is none of this name, its condition can be read no longer, or there is no such column.
        ExportError: the file cannot be written.
    """
    found = members(store, settings, name)
    if odd := [column for column in columns if column not in found.columns]:
        raise AudienceError(f"no column {odd[0]!r}{suggestion(odd[0], found.columns)} of profiles; there are {', '.join(found.columns)}")
    kept = list(dict.fromkeys(["user_id", *columns]))
    export_rows(store, found.filter(may_leave(found)).select(kept), ["user_id"], file, guard=guard)
    return _counted(store, found)


@dataclass(frozen=True)
class Joined:
    """How many rows of the company's list were written, of how many people, how many consenting users of the audience the list does not have, and
    how many were left out without consent."""

    rows: int
    people: int
    not_listed: int
    without_consent: int


def export_with_own_ids(
    store: Warehouse,
    settings: Settings,
    name: str,
    file: Path,
    customers: Path,
    id_column: str | None = None,
    columns: Sequence[str] = (),
    *,
    guard: bool = True,
) -> Joined:
    """Write the rows of a company's own list whose people are in an audience and have consented, in the order of the list. No pseudonym is written.

    Args:
        customers: the list, CSV with a header; it is read here and goes nowhere.
        id_column: its column with the ids as the logs have them; None for the one in which most users are known.
        columns: its columns that are written; the ids alone without any.
    Raises:
        AudienceError: there is no such audience, or its condition can be read no longer.
        OwnListError: the list cannot be read, or holds nobody that is known.
        ExportError: the file cannot be written.
    """
    require_another(file, customers)
    found = members(store, settings, name)
    listed = with_pseudonyms(store, settings, read_list(customers), customers, id_column)
    kept = chosen_columns(listed, customers, columns)
    inside = set(store.frame(found.filter(may_leave(found)).select("user_id"))["user_id"])
    rows = listed[listed[PSEUDONYM].isin(inside)]
    numbered = rows[kept].astype(object).assign(**{ROW: np.arange(len(rows))})
    with store.scratch():
        table = store.keep("own_list", from_frame(numbered) if len(rows) else _nobody(kept))
        export_rows(store, table, [ROW], file, guard=guard, leave_out=[ROW], private=True)
    size = _counted(store, found)
    return Joined(len(rows), rows[PSEUDONYM].nunique(), len(inside - set(rows[PSEUDONYM])), size.users - size.consenting)


def _nobody(columns: Sequence[str]) -> ir.Table:
    return ibis.memtable([], schema=ibis.schema({**dict.fromkeys(columns, "string"), ROW: "int64"}))


def export_pseudonyms(store: Warehouse, settings: Settings, customers: Path, file: Path, id_column: str | None = None) -> int:
    """Write the ids of a company's own list with their pseudonyms, a file that only its owner may read; how many of them are known users.

    Raises:
        OwnListError: the list cannot be read, or holds nobody that is known.
        ExportError: the file cannot be written.
    """
    require_another(file, customers)
    listed = with_pseudonyms(store, settings, read_list(customers), customers, id_column)
    users = known_users(store)
    kept = listed[[str(listed.columns[0]), PSEUDONYM]].astype(object).assign(**{ROW: np.arange(len(listed))})
    with store.scratch():
        export_rows(store, store.keep("own_pseudonyms", from_frame(kept)), [ROW], file, leave_out=[ROW], private=True)
    return int(listed[PSEUDONYM].isin(users).sum())


def export_alike(store: Warehouse, settings: Settings, seeds: Path, count: int, file: Path, at_least: float = 0.0) -> Alike:
    """Write the consenting users who resemble those of a file most, with their rank.

    Args:
        at_least: the resemblance from which on a user is listed, 0 to 1.
    Raises:
        OwnListError: the file cannot be read.
        SeedsError: too few of its users are known.
        ModelNotFoundError, ValueError: there are no segments to compare by.
        ExportError: the file cannot be written.
    """
    require_another(file, seeds)
    listed = read_seeds(store, settings, seeds)
    wanted = set(listed[PSEUDONYM])
    features = in_order(store, store.table(contracts.USER_FEATURES))
    shares = store.frame(store.table(contracts.CATEGORY_SHARES).select("user_id", "category", "interest_share"))
    scaler = SegmentModel.load(model(settings, SEGMENTS, made_with(store, SEGMENTS)).folder).scaler
    known = features["user_id"].isin(wanted).to_numpy()
    try:
        points = scaler.transform(features, shares)
        alike = resemblance(points, known, settings.segments.seed)
    except SeedsError as error:
        shown = f"; an id stands in each line: the first is read as {listed['id'][0]!r}" if len(listed) and not known.any() else ""
        raise SeedsError(f"{seeds}: {error}{shown}") from None
    ranked = features[["user_id", "user_number"]].assign(resemblance=np.round(alike, 6))[~known]
    profiles = store.table(contracts.USER_PROFILES)
    joined = from_frame(ranked).inner_join(profiles.filter(may_leave(profiles)), "user_id")
    ranks = ibis.row_number().over(order_by=[joined.resemblance.desc(), joined.user_number]) + 1
    best = joined.mutate(rank=ranks).filter(lambda table: (table["rank"] <= count) & (table.resemblance >= at_least))
    with store.scratch():
        rows = export_rows(store, store.keep("lookalike", best.select("rank", "user_id", "resemblance")), ["rank"], file)
    return Alike(rows, int(known.sum()), len(wanted) - int(known.sum()), quality(points, known, settings.segments.seed))
