"""What MLflow is told of a comparison: champion, challenger and what is in use, with k in the names."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.intervals import Interval
from persona_pipelines.recommendations import told
from persona_pipelines.recommendations.evaluation import replay
from persona_pipelines.recommendations.evaluation.audit import Finding
from persona_pipelines.recommendations.promotion import FIRST, PROMOTED, REFRESHED, REFUSED, Decision
from persona_pipelines.recommendations.training import Comparison

SCORES = {"most_popular": 0.1, "als": 0.2, "ease": 0.3}


def decided(outcome: str, champion: str, challenger: str, advantage: Interval | None) -> Decision:
    return Decision(
        outcome, champion, challenger, advantage, 0.0, [], f"{challenger} against the rest", "newest window", "40 of the 50 people"
    )


def compared(decision: Decision, holder: str) -> Comparison:
    split = SimpleNamespace(cut=pd.Timestamp("2025-10-05 01:41:35"), name="global time")
    findings = [Finding("test", "pairs", True, "0 shared", "none"), Finding("validation", "pairs", True, "0 shared", "none")]
    weights = {"ease": {"als": 0.25, "nobody": 0.0}}
    failed = {"followed": "nobody follows\nanybody"}
    return Comparison([], cast(Any, split), findings, failed, {}, weights, decision, holder, {}, ["most_popular"])


def rows(champion: str, k: int = 10) -> pd.DataFrame:
    content = [
        {"model": model, "case": case, "segment": segment, "k": k, "users": 40, "champion": model == champion, "rmse": np.nan}
        | {"ndcg_low": score - 0.05, "ndcg_high": score + 0.05, "validation_ndcg": score}
        | dict.fromkeys(told.SHOWN, score)
        for model, score in SCORES.items()
        for case, segment in (("warm", "all"), ("warm", "Night owls"), ("new user", "all"))
    ]
    return pd.DataFrame(content)


@pytest.mark.parametrize(
    ("outcome", "in_use", "holder", "challenger"),
    [(PROMOTED, "ease", "als", "ease"), (REFUSED, "als", "als", "ease"), (FIRST, "ease", "most_popular", "ease")],
)
def test_the_run_has_the_figures_of_what_is_in_use_of_the_champion_and_of_the_challenger(
    outcome: str, in_use: str, holder: str, challenger: str
) -> None:
    found = told.figures_of_the_comparison(
        compared(decided(outcome, in_use, challenger, Interval(0.1, 0.05, 0.15)), holder), rows(in_use, 5), 5
    )
    assert (found["ndcg_at_5"], found["champion_ndcg_at_5"], found["challenger_ndcg_at_5"]) == (
        SCORES[in_use],
        SCORES[holder],
        SCORES[challenger],
    )
    assert (found["advantage_ndcg_at_5"], found["advantage_ndcg_at_5_low"], found["advantage_ndcg_at_5_high"]) == (0.1, 0.05, 0.15)
    assert found["champion_ndcg_at_5_low"] == SCORES[holder] - 0.05
    assert (found["users"], found["models_compared"], found["methods_left_out"]) == (40, 3, 1)
    assert not [name for name in found if "at_k" in name or "rmse" in name]


def test_the_champion_that_is_the_best_anyhow_is_no_step_ahead_of_itself() -> None:
    found = told.figures_of_the_comparison(compared(decided(REFRESHED, "ease", "ease", None), "ease"), rows("ease"), 10)
    assert found["advantage_ndcg_at_10"] == 0
    assert "advantage_ndcg_at_10_low" not in found


def test_who_was_not_judged_has_no_figures_and_nothing_breaks() -> None:
    nobody = rows("ease").query("model == 'nobody'")
    assert told.figures_of_the_comparison(compared(decided(REFRESHED, "ease", "ease", None), "ease"), nobody, 10).keys() == {
        "advantage_ndcg_at_10",
        "models_compared",
        "methods_left_out",
    }
    assert "Leakage audit" in told.note_of_the_comparison(
        compared(decided(REFRESHED, "ease", "ease", None), "ease"), nobody, ADVANTAGES, NO_SEGMENTS, NO_CLICKS, "x"
    )
    assert told.note_of_a_version(compared(decided(REFRESHED, "ease", "ease", None), "ease"), "ease", "ease", nobody, "x")


ADVANTAGES = pd.DataFrame(columns=["model", "against", "advantage", "low", "high"])
NO_CLICKS = replay.table({}, 20)
NO_SEGMENTS = pd.DataFrame(columns=["segment", "model", "against", "users", "advantage", "low", "high"])


def test_figures_of_a_model_are_told_apart_by_case_and_segment() -> None:
    found = told.figures(rows("ease")[lambda table: table["model"] == "als"])
    assert {"ndcg_at_10", "ndcg_at_10_low", "validation_ndcg_at_10", "ndcg_at_10_in_Night_owls", "recall_at_10_new_user"} <= set(found)
    assert "ndcg_at_k" not in found


def test_notes_say_what_it_was_trained_on_how_it_was_judged_and_what_the_audit_found() -> None:
    comparison = compared(decided(REFUSED, "als", "ease", Interval(0.1, -0.1, 0.3)), "als")
    notes = [
        told.note_of_the_comparison(comparison, rows("als"), ADVANTAGES, NO_SEGMENTS, NO_CLICKS, "18,716 interactions"),
        told.note_of_a_method(comparison, "ease", {"regularisation": 400}, "18,716 interactions"),
        told.note_of_a_version(comparison, "ease", "ease", rows("als").query("model == 'ease'"), "18,716 interactions"),
    ]
    for note in notes:
        assert "18,716 interactions" in note
        assert "from 2025-10-05 01:41 UTC on" in note
        assert "2 checks passed (test, validation)" in note
    assert "**ease** (challenger)" in notes[0]
    assert "**als** (in use)" in notes[0]
    assert "- **followed**: nobody follows anybody" in notes[0]
    assert "regularisation 400" in notes[1]
    assert "als 0.250" in notes[1]
    assert "nobody" not in notes[1]
    assert notes[2].splitlines()[0] == "ease, fitted on 18,716 interactions; refused by the gate"
    assert "ndcg_at_10 0.3000 (0.2500 to 0.3500, 40 known users)" in notes[2]
    failing = replace(comparison, findings=[Finding("test", "pairs", False, "3 shared", "none")])
    assert "failed: pairs" in told.note_of_a_method(failing, "ease", {}, "x")
