"""A comparison in a few sentences, the decisive one first: who is champion, what it beats, and by how much."""

from __future__ import annotations

import pandas as pd

from persona_pipelines.recommendations.evaluation.comparison import ALL, WARM


def verdict(comparison: pd.DataFrame, advantages: pd.DataFrame) -> list[str]:
    """What a comparison has decided, in sentences; none where nobody was judged or there is no champion.

    Args:
        comparison: rows of ``contracts.MODEL_COMPARISON``.
        advantages: rows of ``contracts.MODEL_ADVANTAGES``, which has every model against the champion and the most popular ones.
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
        best = ", ".join(f"{row.model} (by {row.advantage:.3f}, {row.low:.3f} to {row.high:.3f})" for row in ahead.itertuples())
        sentences.append(f"Ahead of it on this test: {best}; persona models has the gate's reason.")
    return sentences


def _ahead(other: pd.Series) -> str:
    """How far the champion is ahead of a model, by that model's advantage over it."""
    margin, low, high = -other["advantage"], -other["high"], -other["low"]
    return f"{'ahead of' if margin >= 0 else 'behind'} {other['model']} by {abs(margin):.3f} ({low:+.3f} to {high:+.3f})"
