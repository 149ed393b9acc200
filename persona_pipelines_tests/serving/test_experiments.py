"""Who is given what: the same person the same, in all processes; shares as planned; and experiments that cannot be are refused in words."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.serving.experiments import (
    EXPERIMENTS,
    ExperimentError,
    load,
    made,
    named,
    running,
    save,
    variant_of,
    with_started,
    with_stopped,
)
from persona_pipelines_tests.serving.shop import STARTED, experiment

PEOPLE = [pseudonym(f"u{number}", b"k" * 32) for number in range(20_000)]
THREE: list[dict[str, Any]] = [{"name": "control", "share": 0.5}, {"name": "some", "share": 0.2}, {"name": "more", "share": 0.3}]


def test_a_person_is_given_the_same_by_every_process() -> None:
    """By sha256sum of GNU coreutils: another hash, another order of its parts or another use of its bits would move people."""
    chosen = experiment(variants=THREE)
    found = " ".join(variant_of(chosen, f"{number:032x}").name for number in range(12))
    assert found == "control some more more more control control control more more control control"


def test_variants_have_the_planned_shares_of_people() -> None:
    for salt in ("a" * 16, "b" * 16, "c" * 16):
        chosen = experiment(variants=THREE, salt=salt)
        names = [variant_of(chosen, person).name for person in PEOPLE]
        counts = [names.count(variant["name"]) for variant in THREE]
        assert stats.chisquare(counts, [variant["share"] * len(PEOPLE) for variant in THREE]).pvalue > 0.001


def test_people_are_spread_evenly_whatever_part_of_them_is_looked_at() -> None:
    """Uniform between 0 and 1 (Kolmogorov and Smirnov): a share that is asked for is found wherever its bounds lie."""
    shares = [{"name": f"v{number}", "share": 1 / 64} for number in range(64)]
    chosen = experiment(variants=shares)
    places = [int(variant_of(chosen, person).name[1:]) for person in PEOPLE]
    assert stats.chisquare(np.bincount(places, minlength=64)).pvalue > 0.001


def test_what_a_person_is_given_in_one_experiment_says_nothing_of_another() -> None:
    first, second = experiment(salt="a" * 16), experiment(salt="b" * 16)
    table = np.zeros((2, 2))
    for person in PEOPLE:
        table[variant_of(first, person).name == "bold", variant_of(second, person).name == "bold"] += 1
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_nobody_moves_while_the_shares_stay() -> None:
    before, after = experiment(variants=THREE), experiment(variants=[*THREE[:2], {"name": "more", "share": 0.3, "live_share": 0.9}])
    assert [variant_of(before, person).name for person in PEOPLE[:500]] == [variant_of(after, person).name for person in PEOPLE[:500]]


def test_each_experiment_has_a_salt_of_its_own() -> None:
    planned = experiment().model_dump(exclude={"salt"})
    assert made(**planned).salt != made(**planned).salt


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"variants": [{"name": "control", "share": 0.5}, {"name": "bold", "share": 0.4}]},
            "variants: found shares that sum to 0.9; expected 1",
        ),
        ({"variants": [{"name": "same", "share": 0.5}, {"name": "same", "share": 0.5}]}, "found 'same' twice; expected a name of its own"),
        ({"variants": [{"name": "control", "share": 1}]}, "variants"),
        ({"variants": [{"name": "none", "share": 0.5}, {"name": "bold", "share": 0.5}]}, "found 'none', which tables of results use"),
        (
            {"variants": [{"name": "control", "share": 0.5, "modelversion": "3"}, *THREE[1:]]},
            "variants[0].modelversion: found '3'; not a setting known here",
        ),
        ({"name": "Bold Test"}, "name: found 'Bold Test'; expected a name of at most 48 small letters"),
        ({"metric": "clicks"}, "metric: found 'clicks'; "),
        ({"guards": [{"metric": "click_rate", "margin": "much"}]}, "guards[0].margin: found 'much'; expected a number"),
        ({"effect": 0}, "effect: found 0; "),
        ({"winsorise": 0.99}, "winsorise: is for metrics of money"),
        ({"stopped": STARTED - dt.timedelta(days=1)}, "stopped: found 2025-09-30 00:00:00; expected a moment after started"),
        ({"started": STARTED.replace(tzinfo=dt.UTC)}, "expected UTC without a zone"),
        ({"people": None}, "people: found None; "),
    ],
)
def test_what_no_experiment_can_be_is_said(changes: dict, says: str) -> None:
    with pytest.raises(ExperimentError) as found:
        experiment(**changes)
    assert says in str(found.value)


def test_a_setting_that_is_wrong_in_a_variant_is_all_that_is_said() -> None:
    with pytest.raises(ExperimentError) as found:
        experiment(variants=[{"name": "control", "share": 0.5}, {"name": "bold", "share": 0.5, "live_shre": 1}])
    assert str(found.value) == "variants[1].live_shre: found 1; not a setting known here; expected live_share?"
    with pytest.raises(ExperimentError, match="expected at least 2 items"):
        experiment(variants=[{"name": "control", "share": 0.5}])


def test_one_experiment_runs_at_a_time(tmp_path: Path) -> None:
    first = experiment()
    known = with_started([], first)
    with pytest.raises(ExperimentError, match="experiment bolder is running; one runs at a time: persona experiment stop bolder"):
        with_started(known, experiment(name="other"))
    ended = with_stopped(known, "bolder", STARTED + dt.timedelta(days=3))
    assert running(ended) is None
    with pytest.raises(ExperimentError, match="has ended, on 2025-10-04"):
        with_stopped(ended, "bolder", STARTED + dt.timedelta(days=4))
    with pytest.raises(ExperimentError, match="'bolder' is taken"):
        with_started(ended, first)
    assert running(with_started(ended, experiment(name="other"))).name == "other"
    with pytest.raises(ExperimentError, match=r"no experiment 'boldr' \(did you mean 'bolder'\?\); there are bolder"):
        named(ended, "boldr")


def test_experiments_come_back_as_they_were_written(tmp_path: Path) -> None:
    file = tmp_path / "live" / EXPERIMENTS
    assert load(file) == []
    kept = [
        experiment(variants=THREE, guards=[{"metric": "revenue_per_person", "margin": 0.02}], winsorise=0.99, stopped=STARTED),
        experiment(
            name="next", variants=[THREE[0], {"name": "bold", "share": 0.5, "model_version": "3", "live_share": 0.9, "exploration": 0.1}]
        ),
    ]
    save(file, kept)
    assert load(file) == kept
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[:50], "cannot be read"),
        (lambda text: "[]", "found []; expected an object with experiments"),
        (lambda text: text.replace('"click_rate"', '"clicks"'), "line 8: experiments[0].metric: found 'clicks'"),
        (lambda text: text.replace('"share": 0.5', '"share": 0.6'), "found shares that sum to 1.2"),
        (lambda text: json.dumps({"experiments": json.loads(text)["experiments"] * 2}), "found 'bolder' twice"),
        (
            lambda text: json.dumps(
                {"experiments": [{**entry, "name": name} for entry in json.loads(text)["experiments"] for name in ("a", "b")]}
            ),
            "found several without an end",
        ),
    ],
)
def test_a_file_that_is_damaged_is_said_with_what_is_wrong(tmp_path: Path, change, says: str) -> None:
    file = tmp_path / EXPERIMENTS
    save(file, [experiment()])
    file.write_text(change(file.read_text()))
    with pytest.raises(ExperimentError) as found:
        load(file)
    assert str(file) in str(found.value)
    assert says in str(found.value)
