"""One file a method, one protocol (``learned.Recommender``); a new method is one file, its settings, and one line here."""

from __future__ import annotations

from typing import Any

from persona_pipelines.recommendations.models.association_rules import AssociationRules
from persona_pipelines.recommendations.models.biased_factors import BiasedFactors
from persona_pipelines.recommendations.models.content_based import ContentBased
from persona_pipelines.recommendations.models.content_to_taste import ContentToTaste
from persona_pipelines.recommendations.models.ease import EASE, RecentEASE
from persona_pipelines.recommendations.models.followed import Followed
from persona_pipelines.recommendations.models.hybrid import Hybrid
from persona_pipelines.recommendations.models.implicit_factors import ALS, BPR
from persona_pipelines.recommendations.models.item_neighbourhood import ItemNeighbourhood
from persona_pipelines.recommendations.models.learned import LearnedModel, Recommender, load
from persona_pipelines.recommendations.models.lightfm_factors import LightFMFactors
from persona_pipelines.recommendations.models.live_blend import LiveBlend
from persona_pipelines.recommendations.models.most_popular import MostPopular
from persona_pipelines.recommendations.models.segment_popular import SegmentPopular
from persona_pipelines.recommendations.models.transitions import Transitions
from persona_pipelines.recommendations.models.truncated_svd import TruncatedSVD
from persona_pipelines.recommendations.models.user_neighbourhood import UserNeighbourhood
from persona_pipelines.settings.own_methods import own_recommender
from persona_pipelines.settings.recommendations import HybridSettings, MethodSettings

METHODS: dict[str, Any] = {
    "most_popular": MostPopular,
    "segment_popular": SegmentPopular,
    "user_neighbourhood": UserNeighbourhood,
    "item_neighbourhood": ItemNeighbourhood,
    "followed": Followed,
    "content_based": ContentBased,
    "content_to_taste": ContentToTaste,
    "lightfm": LightFMFactors,
    "als": ALS,
    "bpr": BPR,
    "truncated_svd": TruncatedSVD,
    "biased_factors": BiasedFactors,
    "ease": EASE,
    "recent_ease": RecentEASE,
    "transitions": Transitions,
    "live_blend": LiveBlend,
    "association_rules": AssociationRules,
}


def recommender(settings: MethodSettings, seed: int) -> Recommender:
    """The method of some settings; a hybrid is made of others and has ``Hybrid``."""
    method: str = settings.method  # type: ignore[attr-defined]
    found: Any = METHODS[method] if method in METHODS else own_recommender(method)
    return found(settings, seed)


__all__ = ["METHODS", "Hybrid", "HybridSettings", "LearnedModel", "Recommender", "load", "recommender"]
