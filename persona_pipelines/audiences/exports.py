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
from persona_pipelines.audiences.lookalike import SeedsError, resemblance
from persona_pipelines.audiences.saved import OF_SEGMENT, AudienceError
from persona_pipelines.audiences.saved import condition_of as saved_condition
from persona_pipelines.events.ordering import in_order
from persona_pipelines.files import require_regular
from persona_pipelines.home.keys import pseudonym_of
from persona_pipelines.segments import STAGE as SEGMENTS
from persona_pipelines.segments.model import SegmentModel
from persona_pipelines.settings import Settings
from persona_pipelines.tracking.registry import made_with, model
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame
from persona_pipelines.warehouse.exporting import export_rows


@dataclass(frozen=True)
class Size:
    """How many users meet a condition, and how many of them have consented to marketing."""

    users: int
    consenting: int


@dataclass(frozen=True)
class Alike:
    """How many users were written, by likeness to how many seeds, and how many lines of the seeds are no known user."""

    users: int
    seeds: int
    unknown: int


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


def _counted(store: Warehouse, found: ir.Table) -> Size:
    users, consenting = store.row(found.aggregate(users=found.count(), consenting=found.count(where=may_leave(found))))
    return Size(int(users), int(consenting))


def of_segments(store: Warehouse) -> dict[str, str]:
    """Conditions by name of the audiences that every segment has by itself: ``segment-3``."""
    segments = store.table(contracts.SEGMENT_PROFILES)
    numbers = store.tuples(segments.filter(segments.segment_id > 0).select("segment_id").order_by("segment_id"))
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


def export_audience(store: Warehouse, settings: Settings, name: str, file: Path, *, guard: bool = True) -> Size:
    """Write the consenting users of a saved audience.

    Raises:
        AudienceError: there is none of this name, or its condition can be read no longer.
        ExportError: the file cannot be written.
    """
    found = members(store, settings, name)
    export_rows(store, found.filter(may_leave(found)), ["user_id"], file, guard=guard)
    return _counted(store, found)


def read_seeds(file: Path) -> list[str]:
    """Ids, one a line or in the first column, raw or pseudonyms.

    Raises:
        SeedsError: the file cannot be read as text.
    """
    try:
        require_regular(file)
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SeedsError(f"{file}: cannot be read as text ({error}); expected one user a line") from None
    return [found for line in lines if (found := line.split(",")[0].strip().strip('"'))]


def export_alike(store: Warehouse, settings: Settings, seeds: Path, count: int, file: Path) -> Alike:
    """Write the consenting users who resemble those of a file most, with their rank.

    Raises:
        SeedsError: the file cannot be read, or too few of its users are known.
        ModelNotFoundError, ValueError: there are no segments to compare by.
        ExportError: the file cannot be written.
    """
    read = read_seeds(seeds)
    wanted = {pseudonym_of(store, settings, line) for line in read}
    features = in_order(store, store.table(contracts.USER_FEATURES))
    shares = store.frame(store.table(contracts.CATEGORY_SHARES).select("user_id", "category", "interest_share"))
    scaler = SegmentModel.load(model(settings, SEGMENTS, made_with(store, SEGMENTS)).folder).scaler
    known = features["user_id"].isin(wanted).to_numpy()
    try:
        alike = resemblance(scaler.transform(features, shares), known, settings.segments.seed)
    except SeedsError as error:
        shown = (
            f"; an id stands in each line, alone or before a comma: the first is read as {read[0]!r}" if read and not known.any() else ""
        )
        raise SeedsError(f"{seeds}: {error}{shown}") from None
    ranked = features[["user_id", "user_number"]].assign(resemblance=np.round(alike, 6))[~known]
    profiles = store.table(contracts.USER_PROFILES)
    joined = from_frame(ranked).inner_join(profiles.filter(may_leave(profiles)), "user_id")
    ranks = ibis.row_number().over(order_by=[joined.resemblance.desc(), joined.user_number]) + 1
    best = joined.mutate(rank=ranks).filter(lambda table: table["rank"] <= count).relocate("rank")
    with store.scratch():
        rows = export_rows(store, store.keep("lookalike", best), ["rank"], file)
    return Alike(rows, int(known.sum()), len(wanted) - int(known.sum()))
