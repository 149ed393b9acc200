"""The gate: a challenger becomes champion only when it has won beyond doubt and breaks no guardrail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from persona_pipelines.errors import ProjectError
from persona_pipelines.intervals import Interval, compared, interval
from persona_pipelines.recommendations import STAGE
from persona_pipelines.recommendations.evaluation.comparison import ALL, WARM, Judged
from persona_pipelines.recommendations.windows import NEWEST
from persona_pipelines.settings import Settings
from persona_pipelines.settings.recommendations import GateSettings
from persona_pipelines.tracking import registry
from persona_pipelines.tracking.registry import Chosen
from persona_pipelines.warehouse.connection import Warehouse

FIRST, PROMOTED, REFRESHED, REFUSED = "first champion", "promoted", "refreshed", "refused"


class PromotionError(ProjectError):
    """The champion cannot be chosen as it was asked."""


@dataclass(frozen=True)
class Decision:
    """Who is champion after a comparison, and why.

    Attributes:
        outcome: ``FIRST`` where there was none before, ``PROMOTED``, ``REFRESHED`` where the champion is the best anyhow,
            ``REFUSED`` where the champion stays.
        champion, challenger: names of models of the comparison.
        advantage: of the challenger over the champion before, nDCG of known users, paired; None where they are the same.
        broken: guardrails, in words.
        reason: the whole in one sentence.
        protocol: what was judged on (``windows.Windows``), with ``judged_on``, why, in words.
    """

    outcome: str
    champion: str
    challenger: str
    advantage: Interval | None
    margin: float
    broken: list[str] = field(default_factory=list)
    reason: str = ""
    protocol: str = ""
    judged_on: str = ""

    def on(self, protocol: str, judged_on: str) -> Decision:
        """The same with what was judged on; a weaker protocol than the newest window stands in the reason too."""
        weaker = "" if protocol == NEWEST else f" (judged on the {protocol}: {judged_on})"
        return replace(self, protocol=protocol, judged_on=judged_on, reason=self.reason + weaker)

    def by_validation(self, validation: Mapping[str, float], k: int) -> Decision:
        """The same, saying why this challenger: its figure on the validation window and that of the next.

        Args:
            validation: nDCG at ``k`` there of all who could have been the challenger.
        """
        if self.challenger not in validation:
            return self
        others = sorted((name for name in validation if name != self.challenger), key=lambda name: (-validation[name], name))
        figure = f"nDCG@{k} {validation[self.challenger]:.4f}"
        if others:
            figure += f"; the next of {len(validation)} is {others[0]} with {validation[others[0]]:.4f}"
        if self.advantage is None:  # that it is the best there is the reason
            return replace(self, reason=f"{self.reason} ({figure})")
        return replace(self, reason=f"{self.reason}; {self.challenger} is the challenger as the best on the validation window ({figure})")

    def tags(self) -> dict[str, str]:
        """The decision as tags of a run or a version."""
        found = {
            "decision": self.outcome,
            "decision.reason": self.reason,
            "decision.challenger": self.challenger,
            "decision.champion": self.champion,
            "decision.margin": f"{self.margin:g}",
            "decision.protocol": self.protocol,
            "decision.judged_on": self.judged_on,
        }
        if self.advantage:
            found |= {
                f"decision.advantage{suffix}": f"{value:.6f}"
                for suffix, value in (("", self.advantage.mean), (".low", self.advantage.low), (".high", self.advantage.high))
            }
        return found | ({"decision.guardrails": "; ".join(self.broken)} if self.broken else {})


def overruled(store: Warehouse, settings: Settings, promote: str | None, rollback: bool, reason: str) -> Chosen | None:
    """The version whose lists are to be written: that which a person asks for, else the one in use; None before the first training.

    Nothing is changed here: who writes the lists chooses the version in the same transaction (``tracking.registry.choose``), and MLflow's
    alias follows when they are published. So lists, version and alias never part, whatever happens in between.

    Args:
        promote: a version to make champion.
        rollback: bring back the champion before the present one.
    Raises:
        ModelNotFoundError: there is no such version, or none before.
        PromotionError: both are asked for.
    """
    if promote and rollback:
        raise PromotionError("promote and rollback: expected one of the two")
    if rollback:
        return Chosen(registry.version_before(settings, STAGE), "person", reason, way_back=True)
    if promote:
        registry.require_version(settings, STAGE, promote)
        return Chosen(promote, "person", reason)
    return registry.chosen(store, settings, STAGE)


def paired(judged: Sequence[Judged], model: str, against: str, segment: str = ALL) -> np.ndarray:
    """Differences in nDCG of the same known users, in the order of their ids; empty without any."""
    found = {entry.model: entry for entry in judged if entry.case == WARM and entry.segment == segment}
    if model not in found or against not in found:
        return np.array([])
    return found[model].scores.by_user["ndcg_at_k"] - found[against].scores.by_user["ndcg_at_k"]


def decide(judged: Sequence[Judged], challenger: str | None, current: str | None, baseline: str, gate: GateSettings, seed: int) -> Decision:
    """Decide on what was judged.

    Args:
        challenger: the model that ranked best on the validation window; None where there was none.
        current: the champion's recipe, fitted on the same training; None where there is no champion yet.
        baseline: who holds the place where there is no champion: the most popular items.
    """
    holder = current or baseline
    first = current is None
    if challenger is None:
        reason = f"{holder} {'is taken' if first else 'stays'}: nothing is left for a validation window, on which a challenger is chosen"
        return Decision(FIRST if first else REFRESHED, holder, holder, None, gate.margin, [], reason)
    if challenger == holder:
        reason = (
            f"{challenger} is the best on the validation window, and champion already"
            if not first
            else f"{challenger} is the best on the validation window"
        )
        return Decision(FIRST if first else REFRESHED, holder, challenger, None, gate.margin, [], reason)
    differences = paired(judged, challenger, holder)
    advantage = interval(differences, seed)
    shown = compared(challenger, holder, advantage, "nDCG", f"{len(differences)} known users")
    broken = guardrails(judged, challenger, holder, gate, seed)
    if len(differences) < gate.minimum_users:
        why = f"{len(differences)} known users decide nothing; gate.minimum_users is {gate.minimum_users}"
    elif not advantage.low > gate.margin:
        why = f"{shown}; the lower bound has to be above {gate.margin:g}"
    elif broken:
        why = f"{shown}, but {'; '.join(broken)}"
    else:
        return Decision(FIRST if first else PROMOTED, challenger, challenger, advantage, gate.margin, [], shown)
    return Decision(FIRST if first else REFUSED, holder, challenger, advantage, gate.margin, broken, f"{holder} stays: {why}")


def guardrails(judged: Sequence[Judged], challenger: str, holder: str, gate: GateSettings, seed: int) -> list[str]:
    """What the challenger would break, in words; nothing where all is well."""
    whole = {entry.model: entry for entry in judged if entry.case == WARM and entry.segment == ALL}
    broken = []
    if challenger in whole and holder in whole:
        coverage = {name: whole[name].scores.means()["coverage"] for name in (challenger, holder)}
        if coverage[challenger] < gate.minimum_coverage * coverage[holder]:
            broken.append(
                f"its coverage {coverage[challenger]:.3f} is below {gate.minimum_coverage:g} of {holder}'s {coverage[holder]:.3f}"
            )
        if whole[challenger].ms_per_user > gate.maximum_ms_per_user:
            broken.append(f"a list takes {whole[challenger].ms_per_user:.1f} ms, more than {gate.maximum_ms_per_user:g}")
    for segment in sorted({entry.segment for entry in judged if entry.case == WARM} - {ALL}):
        loss = interval(paired(judged, challenger, holder, segment), seed)
        if loss.high < -gate.maximum_segment_loss:
            broken.append(
                f"segment {segment} loses {-loss.mean:.4f} nDCG ({-loss.high:.4f} at least), more than {gate.maximum_segment_loss:g}"
            )
    return broken
