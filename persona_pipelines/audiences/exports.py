"""Audiences as files: nobody is in one who has not consented to marketing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import ibis
import ibis.expr.types as ir
import numpy as np

from persona_pipelines.audiences.conditions import inner_columns, matching
from persona_pipelines.audiences.lookalike import SeedsError, resemblance
from persona_pipelines.audiences.saved import condition_of
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
    """The profiles that meet a condition.

    Raises:
        ConditionError: it cannot be read, or names what profiles do not have.
    """
    return matching(store.table(contracts.USER_PROFILES), condition, inner_columns(settings))


def size(store: Warehouse, settings: Settings, condition: str) -> Size:
    """Raises ConditionError where the condition cannot be read."""
    found = meeting(store, settings, condition)
    users, consenting = store.row(found.aggregate(users=found.count(), consenting=found.count(where=may_leave(found))))
    return Size(int(users), int(consenting))


def export_audience(store: Warehouse, settings: Settings, name: str, file: Path, *, guard: bool = True) -> Size:
    """Write the consenting users of a saved audience.

    Raises:
        AudienceError: there is none of this name.
        ConditionError: its condition can be read no longer.
        ExportError: the file cannot be written.
    """
    condition = condition_of(settings, name)
    found = meeting(store, settings, condition)
    export_rows(store, found.filter(may_leave(found)), ["user_id"], file, guard=guard)
    return size(store, settings, condition)


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
