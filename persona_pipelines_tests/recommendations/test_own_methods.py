"""A recommender of another package: configured, fitted, stored and loaded like those of this one."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from persona_pipelines.errors import StoredModelError
from persona_pipelines.recommendations.data import Interactions
from persona_pipelines.recommendations.evaluation.comparison import fit_all
from persona_pipelines.recommendations.models.learned import KINDS, load
from persona_pipelines.recommendations.recipes import Recipe
from persona_pipelines.settings import ConfigurationError
from persona_pipelines.settings.own_methods import own_recommender
from persona_pipelines_tests.conftest import CLICKS

PACKAGE = """
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from persona_pipelines.recommendations.models import LearnedModel
from persona_pipelines.settings.recommendations import MethodSettings, Searched


class AlphabetSettings(MethodSettings):
    method: Literal["alphabet"] = "alphabet"
    steepness: Annotated[float, Searched(0.1, 10)] = Field(1.0, gt=0)


class AlphabetModel(LearnedModel):
    kind = "alphabet"

    def scores(self, audience):
        return np.tile(self.state["scores"].astype(np.float32), (len(audience), 1))

    def answers(self, audience):
        return np.ones(len(audience), dtype=bool)


class Alphabet:
    settings_class = AlphabetSettings

    def __init__(self, settings, seed):
        self.settings, self.name = settings, settings.name

    def fit(self, interactions):
        scores = -self.settings.steepness * np.arange(len(interactions.items))
        return AlphabetModel(self.name, interactions.users, interactions.items, interactions.digest, {"scores": scores})
"""


@pytest.fixture
def company(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of a company, as pip would have installed it."""
    site = tmp_path / "site"
    described = site / "company_recommenders-1.0.dist-info"
    described.mkdir(parents=True)
    (site / "company_recommenders.py").write_text(PACKAGE)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: company-recommenders\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        "[persona_pipelines.recommenders]\nalphabet = company_recommenders:Alphabet\nbroken = company_recommenders:Nothing\n"
    )
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    own_recommender.cache_clear()
    yield
    own_recommender.cache_clear()
    sys.modules.pop("company_recommenders", None)
    KINDS.pop("alphabet", None)


@pytest.mark.usefixtures("company")
def test_a_method_of_another_package_is_configured_fitted_stored_and_loaded(configure, planted: Interactions, tmp_path: Path) -> None:
    methods = [{"method": "most_popular"}, {"method": "alphabet", "steepness": 2}, {"method": "hybrid"}]
    settings = configure(CLICKS, recommendations={"methods": methods})
    own = settings.recommendations.methods[1]
    assert (own.name, own.steepness, list(own.space())) == ("alphabet", 2, ["steepness"])
    assert '"steepness":2.0' in settings.model_dump_json()
    training = planted
    fitted, failed = fit_all([own], training, 1)
    assert not failed
    fitted["alphabet"].save(tmp_path / "model")
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    Recipe(own).save(recipe)
    # Another process, which has not met the package yet.
    KINDS.pop("alphabet")
    sys.modules.pop("company_recommenders")
    own_recommender.cache_clear()
    loaded = load(tmp_path / "model")
    assert (loaded.state["scores"][:3] == [0, -2, -4]).all()
    assert Recipe.load(recipe).settings.parameters() == {"method": "alphabet", "steepness": 2}


@pytest.mark.usefixtures("company")
def test_what_is_wrong_with_it_is_said(configure) -> None:
    popular = {"method": "most_popular"}
    with pytest.raises(
        ConfigurationError, match=r"methods\[1\]: .*'broken' \(company_recommenders:Nothing\) cannot be loaded: AttributeError"
    ):
        configure(CLICKS, recommendations={"methods": [popular, {"method": "broken"}]})
    with pytest.raises(ConfigurationError, match=r"methods\[1\]\.steepness: found -1; expected .*greater than 0"):
        configure(CLICKS, recommendations={"methods": [popular, {"method": "alphabet", "steepness": -1}]})
    with pytest.raises(ConfigurationError, match=r"methods\[1\]\.steep: found 1; not a setting known here"):
        configure(CLICKS, recommendations={"methods": [popular, {"method": "alphabet", "steep": 1}]})
    with pytest.raises(ConfigurationError, match=r"methods\[1\]\.method: found 'unheard_of'; expected one of most_popular, "):
        configure(CLICKS, recommendations={"methods": [popular, {"method": "unheard_of"}]})


@pytest.mark.usefixtures("company")
def test_a_model_of_a_package_that_is_gone_is_named(
    configure, planted: Interactions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = configure(CLICKS, recommendations={"methods": [{"method": "most_popular"}, {"method": "alphabet"}]})
    fit_all(settings.recommendations.methods[1:], planted, 1)[0]["alphabet"].save(tmp_path / "model")
    KINDS.pop("alphabet")
    monkeypatch.setattr("persona_pipelines.recommendations.models.learned.load_all", lambda: None)
    with pytest.raises(StoredModelError, match="a model of kind 'alphabet', which no installed package knows; train again"):
        load(tmp_path / "model")
