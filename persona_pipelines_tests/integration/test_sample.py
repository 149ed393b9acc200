"""The committed sample against its truth: planted personas are found, and lookalikes of one of them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score, average_precision_score

from persona_pipelines.audiences.lookalike import resemblance
from persona_pipelines.features.asof import features_as_of
from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.segments.model import Fit, fit_segments
from persona_pipelines.settings import load_settings
from persona_pipelines.warehouse.connection import Warehouse
from persona_pipelines_tests.conftest import KEY, ingested

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[2] / "data"
Sample = tuple[pd.DataFrame, pd.DataFrame, pd.Series, Fit]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """Features, shares, true personas, and segments of the sample."""
    settings = load_settings(DATA / "persona.yaml")
    with Warehouse(None, KEY) as store:
        last = ingested(store, settings)
        known, earlier = features_as_of(store, last, "UTC"), features_as_of(store, last - dt.timedelta(days=14), "UTC")
    features, shares = known.users, known.shares
    truth = pd.read_csv(DATA / "truth" / "users.csv")
    persona = truth.set_index(truth["user_id"].map(lambda user: pseudonym(user, KEY)))["persona"].reindex(features["user_id"])
    options = settings.segments.model_copy(update={"stability_refits": 3})
    before = fit_segments(earlier.users, earlier.shares, options)
    fit = fit_segments(features, shares, options, before.model)
    old = before.model.assign(earlier.users, earlier.shares).set_index("user_id")["segment_id"]
    features.attrs["old"] = old
    return features, shares, persona, fit


def test_the_segments_are_the_planted_personas(sample: Sample) -> None:
    features, shares, persona, fit = sample
    assigned = fit.model.assign(features, shares)
    assert adjusted_rand_score(persona, assigned["segment_id"]) >= 0.8
    assert abs(len(fit.model.ids) - persona.nunique()) <= 1


def test_users_keep_their_segment_over_two_weeks_and_a_new_training(sample: Sample) -> None:
    features, shares, _, fit = sample
    now = fit.model.assign(features, shares).set_index("user_id")["segment_id"]
    old = features.attrs["old"]
    assert (now.reindex(old.index) == old).mean() >= 0.9


def test_lookalikes_of_seeds_of_one_persona_are_of_that_persona(sample: Sample) -> None:
    features, shares, persona, fit = sample
    points = fit.model.scaler.transform(features, shares)
    for name in ("night readers", "premium loyalists"):
        inside = (persona == name).to_numpy()
        seeds = np.zeros(len(inside), dtype=bool)
        seeds[np.random.default_rng(3).choice(np.flatnonzero(inside), 50, replace=False)] = True
        left = ~seeds
        found = average_precision_score(inside[left], resemblance(points, seeds, 1)[left])
        assert found >= 2 * inside[left].mean()
