"""What has to be true of a comparison and of lists before anybody sees them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from persona_pipelines.findings import Finding, unless
from persona_pipelines.recommendations.promotion import Decision


def nothing_leaks(audit: pd.DataFrame) -> Finding:
    """No model has learned from what it is judged by.

    Args:
        audit: ``contracts.LEAKAGE_AUDIT``.
    """
    broken = audit[~audit["passed"].astype(bool)]
    words = "; ".join(f"{row.window} window, {row.check}: found {row.found}; expected {row.expected}" for row in broken.itertuples())
    return Finding(broken.empty, words or None, {"checks": len(audit)})


def gate(decision: Decision, advantages: pd.DataFrame, baselines: Sequence[str]) -> Finding:
    """Who is champion and why; the champion breaks no guardrail and is not beaten by the most popular items.

    Args:
        advantages: ``contracts.MODEL_ADVANTAGES``.
        baselines: names of the most popular models.
    """
    against = (advantages["against"] == decision.champion) & advantages["model"].isin(baselines)
    beaten = advantages[against & (advantages["low"] > 0)]["model"].tolist()
    ahead = decision.advantage
    return Finding(
        not decision.broken and not beaten,
        f"{decision.outcome}: {decision.reason}" + (f"; beaten by {', '.join(beaten)}" if beaten else ""),
        {
            "outcome": decision.outcome,
            "champion": decision.champion,
            "challenger": decision.challenger,
            "margin": decision.margin,
            "protocol": decision.protocol,
            "judged_on": decision.judged_on,
            "guardrails": "; ".join(decision.broken) or "kept",
            **({"advantage": ahead.mean, "low": ahead.low, "high": ahead.high} if ahead else {}),
        },
    )


def every_method_was_fitted(failed: Mapping[str, str], asked: bool) -> Finding:
    """No method that was asked for was left out.

    Args:
        failed: the reason of each that was.
        asked: whether the configuration names its methods; of the default list some have nothing to learn from on many data.
    """
    words = "; ".join(f"{name}: {reason}" for name, reason in failed.items()) or None
    return Finding(not (asked and failed), words, {"left_out": len(failed)})


def only_with_consent(listed: Collection[str], allowed: Collection[str]) -> Finding:
    """Nobody without consent has a list.

    Args:
        listed: users with a list.
        allowed: users who have consented to personalisation.
    """
    outside = len(set(listed) - set(allowed))
    words = f"{outside:,} users have a list and have not consented" if outside else None
    return Finding(outside == 0, words, {"consenting_users": len(allowed), "users_with_a_list_without_consent": outside})


def everyone_has_a_list(listed: Collection[str], allowed: Collection[str]) -> Finding:
    """No consenting user is left without items."""
    without = len(set(allowed) - set(listed))
    words = f"{without:,} users have had, or by the rules may have, none of the items that are left" if without else None
    return Finding(without == 0, words, {"users_without_a_list": without})


def somebody_may_have_lists(allowed: Collection[str], people: int) -> Finding:
    """Somebody has consented to personalisation.

    Args:
        people: known users.
    """
    return unless(
        None
        if allowed
        else f"no lists: none of {people:,} people has consented to personalisation; a customer list says who has (consent_personalisation), "
        "privacy.consent_when_unknown what holds of people of whom none says it"
    )
