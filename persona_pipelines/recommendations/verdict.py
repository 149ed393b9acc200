"""A comparison in a few sentences, the decisive one first: who is champion, what it beats, and by how much."""

from __future__ import annotations

import pandas as pd

from persona_pipelines.recommendations.evaluation.audit import TEST
from persona_pipelines.recommendations.evaluation.comparison import ALL, WARM
from persona_pipelines.recommendations.evaluation.replay import LAST_ITEMS_ALONE, LIST_ALONE
from persona_pipelines.segments.differences import ENOUGH

WORSE, NO_BETTER = "worse", "no better"
"""How the lists of a segment may compare with the most popular items: beyond doubt behind them, or not to be told from them."""


def against_popular(low: float, high: float, users: int) -> str:
    """What may be said of a segment by the interval of the champion's advantage over the most popular items: ``WORSE``, ``NO_BETTER``, or
    nothing, where it is ahead or fewer than ten people were judged."""
    if users < ENOUGH or low > 0:
        return ""
    return WORSE if high < 0 else NO_BETTER


def verdict(comparison: pd.DataFrame, advantages: pd.DataFrame, by_segment: pd.DataFrame, last_clicks: pd.DataFrame) -> list[str]:
    """What a comparison has decided, in sentences; none where nobody was judged or there is no champion.

    Args:
        comparison: rows of ``contracts.MODEL_COMPARISON``.
        advantages: rows of ``contracts.MODEL_ADVANTAGES``, which has every model against the champion and the most popular ones.
        by_segment: rows of ``contracts.SEGMENT_ADVANTAGES``.
        last_clicks: rows of ``contracts.LAST_CLICK``.
    """
    whole = comparison[(comparison["case"] == WARM) & (comparison["segment"] == ALL)]
    champions = whole[whole["champion"].astype(bool)]
    if champions.empty:
        return []
    champion = champions.iloc[0]
    name, others = champion["model"], advantages[advantages["against"] == champion["model"]]
    told = (
        f"Champion: {name}, nDCG@{champion['k']} {champion['ndcg_at_k']:.3f} "
        f"({champion['ndcg_low']:.3f} to {champion['ndcg_high']:.3f}) for {champion['users']:,} known users"
    )
    baselines = others[others["model"].isin(set(advantages["against"]))].sort_values("advantage")
    if len(baselines):
        told += f"; {_ahead(baselines.iloc[-1])}"
    beaten, ahead = others[others["high"] < 0], others[others["low"] > 0]
    level = others.drop(index=[*beaten.index, *ahead.index]).sort_values("advantage", ascending=False)
    sentences = [told + "."]
    if len(others):
        rest = f"; not to be told from {', '.join(level['model'])}" if len(level) else ""
        sentences.append(f"Of the {len(others)} others it beats {len(beaten)} beyond doubt{rest}.")
    if len(ahead):
        before = whole.set_index("model")["validation_ndcg"]
        best = ", ".join(
            f"{row.model} (by {row.advantage:.3f}, {row.low:.3f} to {row.high:.3f}{_chosen_by(before, row.model, name)})"
            for row in ahead.itertuples()
        )
        sentences.append(f"Ahead of it on this test: {best}.")
    return sentences + _segments_told(by_segment) + _last_click_told(last_clicks[last_clicks["model"] == name])


def _segments_told(by_segment: pd.DataFrame) -> list[str]:
    """The segments whose lists are behind the most popular items, and those whose are not to be told from them."""
    kinds = [against_popular(row.low, row.high, row.users) for row in by_segment.itertuples()]
    sentences = []
    for kind, words in (
        (WORSE, "For these segments {} serves better beyond doubt"),
        (NO_BETTER, "For these segments it is not to be told from {}"),
    ):
        rows = by_segment[[found == kind for found in kinds]]
        if len(rows):
            told = ", ".join(
                f"{row.segment} ({row.advantage:+.3f}, {row.low:+.3f} to {row.high:+.3f}, {row.users:,} users)" for row in rows.itertuples()
            )
            sentences.append(f"{words.format(rows['against'].iloc[0])}: {told}.")
    return sentences


def _last_click_told(rows: pd.DataFrame) -> list[str]:
    """Whether what a person did last helps beside the champion's list, and by how much."""
    test = rows[(rows["window"] == TEST) & rows["chosen"].astype(bool)].set_index("against")
    if test.empty:
        return []
    alone, last = test.loc[LIST_ALONE], test.loc[LAST_ITEMS_ALONE]
    if not alone["share"]:
        return ["What a person did last does not count beside its lists: on the validation window no share of it was ahead beyond doubt."]

    def ahead(row: pd.Series, other: str) -> str:
        side, doubt = (
            "ahead of" if row["advantage"] >= 0 else "behind",
            "" if row["low"] > 0 or row["high"] < 0 else ", but not beyond doubt,",
        )
        return f"{side}{doubt} {other} by {abs(row['advantage']):.3f} ({row['low']:+.3f} to {row['high']:+.3f})"

    return [
        f"Once somebody has done something, what they did last counts {alone['share']:g} of the list, by the validation window: on this test that is "
        f"{ahead(alone, LIST_ALONE)}"
        + (f", and {ahead(last, LAST_ITEMS_ALONE)}" if alone["share"] < 1 else "")
        + f", nDCG of the next item in {alone['lists']:,} lists of {alone['users']:,} people."
    ]


def _chosen_by(validation: pd.Series, model: str, champion: str) -> str:
    """What two models had on the validation window, which chooses the challenger; empty where either was not judged there."""
    figures = validation.reindex([model, champion]).astype(float)
    return (
        ""
        if figures.isna().any()
        else f"; on the validation window, which chooses the challenger, {figures.iloc[0]:.4f} against {figures.iloc[1]:.4f}"
    )


def _ahead(other: pd.Series) -> str:
    """How far the champion is ahead of a model, by that model's advantage over it."""
    margin, low, high = -other["advantage"], -other["high"], -other["low"]
    side, doubt = "ahead of" if margin >= 0 else "behind", "" if low > 0 or high < 0 else ", but not beyond doubt,"
    return f"{side}{doubt} {other['model']} by {abs(margin):.3f} ({low:+.3f} to {high:+.3f})"
