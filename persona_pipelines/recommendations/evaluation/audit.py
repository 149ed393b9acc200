"""The leakage audit: nothing that a model has learned from may come from the time or the pairs it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from persona_pipelines.recommendations.evaluation.splits import Split
from persona_pipelines.recommendations.models.hybrid import BlendModel
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.recommendations.models.most_popular import PopularityModel, users_by_item


@dataclass(frozen=True)
class Finding:
    """One check: what was found and what is expected, in words for people."""

    check: str
    passed: bool
    found: str
    expected: str


class LeakageError(Exception):
    """Something of the test was known in training; the message says what."""


def audit(split: Split, models: Mapping[str, LearnedModel]) -> list[Finding]:
    """All checks on a split and the models that were fitted for it."""
    return [
        _moments(split),
        _features(split),
        _pairs(split),
        *(_learned(name, model, split) for name, model in models.items()),
        *(_window(name, model, split) for name, model in models.items() if isinstance(model, BlendModel)),
        *(_popularity(name, model, split) for name, model in models.items() if isinstance(model, PopularityModel)),
    ]


def require_clean(findings: list[Finding]) -> None:
    """Raise LeakageError that names every check that failed."""
    failed = [finding for finding in findings if not finding.passed]
    if failed:
        raise LeakageError("; ".join(f"{finding.check}: found {finding.found}; expected {finding.expected}" for finding in failed))


def table(findings: list[Finding]) -> pd.DataFrame:
    """``check``, ``passed``, ``found``, ``expected``."""
    return pd.DataFrame([vars(finding) for finding in findings], columns=["check", "passed", "found", "expected"])


def _moments(split: Split) -> Finding:
    check = "training ends before the test begins"
    if split.name == "random by user":
        return Finding(check, True, "not asked of this split: it ignores time", "pairs apart")
    if split.name == "last items out":
        last = split.pairs.groupby("user_id")["last_time"].max()
        first = split.test.groupby("user_id")["first_time"].min()
        both = pd.concat([last, first], axis=1, join="inner")
        late = int((both["last_time"] > both["first_time"]).sum())
        return Finding(check, late == 0, f"{late} users with training after their test", "0")
    last, first = split.pairs["last_time"].max(), split.test["first_time"].min()
    passed = bool(last < first and last < pd.Timestamp(split.cut) <= first)
    return Finding(check, passed, f"last of training {last}, first of test {first}", f"before and from {split.cut}")


def _features(split: Split) -> Finding:
    check = "features are as of the cut"
    if split.features_as_of is None:
        return Finding(check, True, "no features made of events", f"before {split.cut}")
    end = pd.Timestamp(split.features_as_of) + pd.Timedelta(days=1)
    return Finding(check, bool(end <= pd.Timestamp(split.cut)), f"as of the end of {split.features_as_of}", f"at latest {split.cut}")


def _pairs(split: Split) -> Finding:
    check = "no pair of the test is in the training"
    if split.repeats:
        return Finding(check, True, "not asked: repurchases are judged too (exclude_seen is false)", "0")
    training = pd.MultiIndex.from_frame(split.pairs[["user_id", "item_id"]])
    tested = pd.MultiIndex.from_frame(split.test[["user_id", "item_id"]])
    shared = int(tested.isin(training).sum())
    return Finding(check, shared == 0, f"{shared} of {len(tested):,} pairs", "0")


def _learned(name: str, model: LearnedModel, split: Split) -> Finding:
    digests = {model.digest, *(member.digest for member in model.members().values())}
    passed = digests == {split.training.digest}
    return Finding(
        f"{name} has learned from the training alone", passed,
        "interactions " + ", ".join(sorted(digest[:12] for digest in digests)), f"interactions {split.training.digest[:12]}",
    )  # fmt: skip


def _window(name: str, model: BlendModel, split: Split) -> Finding:
    """Weights are learned on a validation window, which has to end where the test begins."""
    check = f"{name} has learned its weights before the test"
    if split.name not in ("global time", "record order"):
        return Finding(check, True, "not asked of this split: it ignores time", f"before {split.cut}")
    end = model.weights_learned_until
    return Finding(check, bool(end <= pd.Timestamp(split.cut)), f"window until {end}", f"at latest {split.cut}")


def _popularity(name: str, model: PopularityModel, split: Split) -> Finding:
    """The counts themselves, against the most that the training allows."""
    most = users_by_item(split.training, None)
    more = int((np.asarray(model.state["popularity"]) > most).sum())
    return Finding(f"{name} counts users of the training alone", more == 0, f"{more} items with more users than the training has", "0")
