"""What MLflow is told of a comparison: figures with k in their names, and descriptions in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from persona_pipelines.recommendations.evaluation.audit import TEST, Finding
from persona_pipelines.recommendations.evaluation.comparison import ALL, WARM
from persona_pipelines.recommendations.evaluation.replay import LIST_ALONE, Measured
from persona_pipelines.recommendations.training import Comparison
from persona_pipelines.recommendations.verdict import verdict
from persona_pipelines.tracking.notes import listed, table
from persona_pipelines.warehouse import contracts

CASES = {"warm": "", "new user": "_new_user", "new item": "_new_item"}
SHOWN = ("ndcg_at_k", "recall_at_k", "map_at_k", "hit_rate_at_k", "coverage", "diversity")
OF_CANDIDATES = (*SHOWN, "ndcg_low", "ndcg_high", "validation_ndcg")
"""What is told of champion and challenger in the run of the comparison; the runs of the methods have the rest."""
FIGURES = tuple(column.name for column in contracts.MODEL_COMPARISON.columns if column.type == "float64")


def with_k(name: str, k: int) -> str:
    """The name of a figure with the length of the lists in it: what is measured at another one is another figure."""
    return {"ndcg_low": f"ndcg_at_{k}_low", "ndcg_high": f"ndcg_at_{k}_high", "validation_ndcg": f"validation_ndcg_at_{k}"}.get(
        name, name.replace("_at_k", f"_at_{k}")
    )


def figures(rows: pd.DataFrame) -> dict[str, float]:
    """Metrics of one model by figure, case and segment. ``rows``: its rows of ``contracts.MODEL_COMPARISON``."""
    found: dict[str, float] = {}
    for row in rows.to_dict("records"):
        segment = "" if row["segment"] == ALL else "_in_" + "".join(c if c.isalnum() else "_" for c in row["segment"])
        found |= {f"{with_k(name, row['k'])}{CASES[row['case']]}{segment}": row[name] for name in FIGURES if pd.notna(row.get(name))}
    return found


def figures_of_the_comparison(comparison: Comparison, rows: pd.DataFrame, k: int) -> dict[str, float]:
    """Metrics of the whole comparison, the same names every week.

    Args:
        rows: ``contracts.MODEL_COMPARISON``.
    Returns:
        The figures of known users, of what is in use after it under their own names, of who held the place before as ``champion_...``, of the best
        on the validation window as ``challenger_...``; how far the latter is ahead, paired, as ``advantage_...``: 0 where both are the same model.
    """
    decision, known = comparison.decision, rows[(rows["case"] == WARM) & (rows["segment"] == ALL)].set_index("model")
    named = {"": decision.champion, "champion_": comparison.holder, "challenger_": decision.challenger}
    found = {
        f"{prefix}{with_k(name, k)}": float(known.at[model, name])
        for prefix, model in named.items()
        if model in known.index
        for name in (OF_CANDIDATES if prefix else FIGURES)
        if name in known and pd.notna(known.at[model, name])
    }
    ahead = decision.advantage
    if ahead is not None:
        found |= {
            f"advantage_ndcg_at_{k}{suffix}": value for suffix, value in (("", ahead.mean), ("_low", ahead.low), ("_high", ahead.high))
        }
    elif decision.challenger == comparison.holder:
        found[f"advantage_ndcg_at_{k}"] = 0.0
    if decision.champion in known.index:
        found["users"] = float(known.at[decision.champion, "users"])
    return found | {"models_compared": float(rows["model"].nunique()), "methods_left_out": float(len(comparison.failed))}


def figures_of_the_last_click(measured: Measured, rows: pd.DataFrame) -> dict[str, float]:
    """Metrics of the last click beside a model's list: the gain of the best share over both alike on the validation window, and of the chosen one over the list alone on the test.

    Args:
        rows: those of the model in ``contracts.LAST_CLICK``.
    """
    gain, k = measured.choice.gain, measured.choice.k
    found = {} if gain is None else {"": gain.mean, "_low": gain.low, "_high": gain.high}
    test = rows[(rows["window"] == TEST) & (rows["against"] == LIST_ALONE) & rows["chosen"].astype(bool)]
    judged = {"": "advantage", "_low": "low", "_high": "high"} if len(test) else {}
    return {f"last_click_validation_gain_ndcg_at_{k}{suffix}": value for suffix, value in found.items()} | {
        f"last_click_gain_ndcg_at_{k}{suffix}": float(test[column].iloc[0]) for suffix, column in judged.items()
    }


def audited(findings: list[Finding]) -> str:
    """The leakage audit in a sentence."""
    failed = [finding.check for finding in findings if not finding.passed]
    windows = ", ".join(dict.fromkeys(finding.window for finding in findings))
    return (
        f"failed: {', '.join(failed)}"
        if failed
        else f"{len(findings)} checks passed ({windows}); leakage_audit.csv has each with its figures"
    )


def _judged(comparison: Comparison) -> str:
    cut = f"{comparison.split.cut:%Y-%m-%d %H:%M} UTC"
    weaker = f"{comparison.decision.protocol}: {comparison.decision.judged_on}" if comparison.decision.protocol else comparison.split.name
    return f"on what known users did from {cut} on, which no model had seen ({weaker})"


def note_of_the_comparison(
    comparison: Comparison,
    rows: pd.DataFrame,
    advantages: pd.DataFrame,
    by_segment: pd.DataFrame,
    last_clicks: pd.DataFrame,
    learned_from: str,
) -> str:
    """The description of the run of a comparison."""
    decision = comparison.decision
    whole = rows[(rows["case"] == WARM) & (rows["segment"] == ALL)].sort_values("ndcg_at_k", ascending=False, kind="stable")
    k = int(rows["k"].iloc[0]) if len(rows) else 0
    shown = whole[["model", *SHOWN]].rename(columns={name: with_k(name, k) for name in SHOWN})
    places = {decision.champion: "in use", decision.challenger: "challenger"} | (
        {comparison.holder: "held the place before"} if comparison.holder != decision.champion else {}
    )
    shown = shown.assign(model=[f"**{name}** ({places[name]})" if name in places else name for name in shown["model"]])
    left_out = listed({name: " ".join(reason.split())[:200] for name, reason in list(comparison.failed.items())[:5]})
    return "\n\n".join(
        part
        for part in (
            f"**{decision.outcome}**: {decision.reason}",
            " ".join(verdict(rows, advantages, by_segment, last_clicks)),
            listed({"Learned from": learned_from, "Judged": _judged(comparison), "Leakage audit": audited(comparison.findings)}),
            table(shown) if len(shown) else "",
            f"Left out:\n\n{left_out}" if left_out else "",
        )
        if part
    )


def note_of_a_method(comparison: Comparison, name: str, parameters: Mapping[str, object], learned_from: str) -> str:
    """The description of the run of one method."""
    decision = comparison.decision
    place = (
        "It is in use after this comparison."
        if name == decision.champion
        else "The challenger, refused by the gate."
        if name == decision.challenger
        else ""
    )
    weights = {member: f"{weight:.3f}" for member, weight in comparison.weights.get(name, {}).items() if weight}
    return "\n\n".join(
        part
        for part in (
            f"The method **{name}**. {place}".strip(),
            listed(
                {
                    "Settings": ", ".join(f"{key} {value}" for key, value in parameters.items()),
                    "Weights of its members": ", ".join(f"{member} {weight}" for member, weight in weights.items()),
                    "Learned from": learned_from,
                    "Judged": _judged(comparison),
                    "Leakage audit": audited(comparison.findings),
                }
            ),
        )
        if part
    )


def note_of_a_version(comparison: Comparison, name: str, recipe: str, rows: pd.DataFrame, learned_from: str) -> str:
    """The description of a registered version; what ``persona models`` shows of it begins with the first line.

    Args:
        recipe: the name of the method.
        rows: those of the model in ``contracts.MODEL_COMPARISON``.
        learned_from: what the registered model was fitted on, which is more than what it was judged with.
    """
    decision = comparison.decision
    whole = rows[(rows["case"] == WARM) & (rows["segment"] == ALL)]
    k = int(rows["k"].iloc[0]) if len(rows) else 0
    found = {with_k(column, k): float(whole[column].iloc[0]) for column in SHOWN} if len(whole) else {}
    bounds = (
        f" ({whole['ndcg_low'].iloc[0]:.4f} to {whole['ndcg_high'].iloc[0]:.4f}, {int(whole['users'].iloc[0])} known users)"
        if len(whole)
        else ""
    )
    return "\n\n".join(
        [
            f"{recipe}, fitted on {learned_from}" + ("; refused by the gate" if name != decision.champion else ""),
            listed(
                {
                    "Judged": f"the same recipe, {_judged(comparison)}",
                    "Figures": "; ".join(
                        f"{figure} {value:.4f}{bounds if figure.startswith('ndcg') else ''}" for figure, value in found.items()
                    ),
                    "Decision": f"{decision.outcome}: {decision.reason}",
                    "Leakage audit": audited(comparison.findings),
                }
            ),
        ]
    )
