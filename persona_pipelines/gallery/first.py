"""What to look at first: the few facts of the tables from which a marketer begins, each with its condition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from persona_pipelines.features.support import ABSENT
from persona_pipelines.profiles.joining import AT_RISK_DAYS

if TYPE_CHECKING:
    from persona_pipelines.gallery.content import Card, Glance

AHEAD = 0.1
"""By how much the share of value of a segment has to be above its share of people."""
MOVED = 0.02
"""Change of a segment's share of all users since the scoring before that is worth a sentence."""
AT_RISK = 0.05
"""By how much the mean chance of leaving has to be above everybody's."""
HOLDS_MUCH = 0.1
TENTH = 0.1
FAR_AHEAD = 0.2
"""By how much the share of value of those who spent most has to be above their share of people."""
MANY_LAPSED = 0.25
"""Share of all people from which on it is told that they have lapsed."""


@dataclass(frozen=True)
class Pointer:
    """A sentence by its key in the texts, the segment that it speaks of, and its figures."""

    key: str
    segment_id: int | None = None
    figures: dict[str, Any] = field(default_factory=dict)


def spent_most(spent: pd.Series, minimum: int) -> Pointer | None:
    """How much of what was spent about a tenth of the people hold, and from which sum on one is among them: a number of two digits, so that it is
    nobody's own. None where they are fewer than ``minimum``, or hold little more than their share.

    Args:
        spent: of every person, in any order, less what was paid back.
    """
    known = spent.dropna().to_numpy(dtype=float)
    if not len(known) or known.sum() <= 0:
        return None
    least = float(f"{np.sort(known)[-max(1, round(TENTH * len(known)))]:.1e}")
    most = known >= least
    share, value = float(most.sum() / len(spent)), float(known[most].sum() / known.sum())
    if most.sum() < minimum or value - share < FAR_AHEAD:
        return None
    return Pointer("spent_most", None, {"share": share, "value": value, "least": f"{least:.12g}"})


def pointers(
    cards: Sequence[Card],
    glance: Glance,
    spenders: Pointer | None,
    stages: pd.DataFrame,
    times: pd.DataFrame,
    support: pd.DataFrame,
    consent: str,
) -> list[Pointer]:
    """The sentences whose conditions hold, most important first.

    Args:
        spenders: ``spent_most``.
        stages: ``audience.stages_of_segments``.
        times: ``audience.over_time``.
        support: ``contracts.FEATURE_SUPPORT``.
        consent: who consents (``content.Gallery``).
    """
    found = []
    shown = [card for card in cards if card.details is not None]
    valued = [card for card in shown if card.value_share is not None and card.value_share - card.share >= AHEAD]
    if valued:
        most = max(valued, key=lambda card: (card.value_share or 0.0) - card.share)
        found.append(Pointer("value_held", most.segment_id, {"share": most.share, "value": most.value_share}))
    if spenders is not None:
        found.append(spenders)
    if glance.leaving is not None:
        risky = [
            card
            for card in shown
            if (card.value_share or 0.0) >= HOLDS_MUCH
            and card.glance.leaving is not None
            and card.glance.leaving - glance.leaving >= AT_RISK
        ]
        if risky:
            worst = max(risky, key=lambda card: (card.value_share or 0.0) * (card.glance.leaving or 0.0))
            found.append(Pointer("value_at_risk", worst.segment_id, {"value": worst.value_share, "leaving": worst.glance.leaving}))
    if "lapsed" in stages and (share := stages["lapsed"].sum() / stages.to_numpy().sum()) >= MANY_LAPSED:
        found.append(Pointer("lapsed", None, {"share": share, "days": AT_RISK_DAYS}))
    moved = [card for card in shown if card.change is not None and abs(card.change) >= MOVED]
    if moved:
        most = max(moved, key=lambda card: abs(card.change or 0.0))
        since = sorted(times["as_of_date"].unique())[-2]
        key = "grown" if (most.change or 0.0) > 0 else "shrunk"
        found.append(
            Pointer(key, most.segment_id, {"before": most.share - (most.change or 0.0), "now": most.share, "since": f"{since:%Y-%m-%d}"})
        )
    if consent == "nobody":
        found.append(Pointer("nobody_reachable"))
    elif glance.reachable < glance.users:
        found.append(Pointer("reachable", None, {"reachable": glance.reachable, "users": glance.users}))
    absent = int((support["support"] == ABSENT).sum())
    if absent:
        found.append(Pointer("not_held", None, {"absent": absent, "all": len(support)}))
    return found
