"""One file a model, one protocol (``factors.Recommender``); a new model is one file and one line in ``REGISTRY``."""

from persona_pipelines.recommendations.models.factors import FactorModel, Recommender
from persona_pipelines.recommendations.models.lightfm_warp import LightFMWarp
from persona_pipelines.recommendations.models.most_popular import MostPopular

__all__ = ["FactorModel", "LightFMWarp", "MostPopular", "Recommender"]
