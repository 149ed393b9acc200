"""What a run has found is said in the words of the product."""

from __future__ import annotations

import dagster as dg
import pytest

from persona_pipelines.cli.base import tell_findings
from persona_pipelines.orchestration.runs import RunResult


def check(name: str, words: str | None, *, passed: bool = False, blocking: bool = False) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=dg.AssetKey(["segments", "segment_quality"]),
        check_name=name,
        passed=passed,
        blocking=blocking,
        description=words,
        metadata={"silhouette": dg.MetadataValue.float(0.05)},
    )


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (check("can_be_made", "9 users are too few"), ("left_out", "segments.segment_quality: 9 users are too few")),
        (check("overlap", "they overlap"), ("warnings", "segments.segment_quality: they overlap (check overlap)")),
        (check("overlap", None), ("warnings", "segments.segment_quality: not as expected (silhouette 0.05) (check overlap)")),
        (check("leaks", "a leak", blocking=True), ("failures", "segments.segment_quality: a leak (check leaks)")),
        (check("can_be_made", None, passed=True), None),
    ],
    ids=["left out", "a warning", "numbers alone", "a failure", "passed"],
)
def test_a_finding_names_the_table_and_what_was_found(found: dg.AssetCheckEvaluation, told: tuple[str, str] | None) -> None:
    result = RunResult("run", True)
    result.heard(found)
    kept = [(kind, text) for kind in ("failures", "warnings", "left_out") for text in getattr(result, kind)]
    assert kept == ([told] if told else [])


def test_what_lacks_its_data_is_left_out_and_has_not_failed(capsys) -> None:
    tell_findings(RunResult("run", True, warnings=["a"], left_out=["b", "b"]))
    told = capsys.readouterr().err.splitlines()
    assert told == ["warning: a", "left out: b", "All else is made; what was left out is made as soon as the logs hold what it needs."]
    tell_findings(RunResult("run", False, left_out=["b"]))
    assert capsys.readouterr().err.splitlines() == ["left out: b"]
