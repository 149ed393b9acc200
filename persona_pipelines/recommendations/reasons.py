"""Why an item is in a list, in a few words: by the part of the model that counted most for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from persona_pipelines.recommendations.data import Audience
from persona_pipelines.recommendations.models.followed import FollowedModel
from persona_pipelines.recommendations.models.hybrid import BlendModel
from persona_pipelines.recommendations.models.learned import LearnedModel
from persona_pipelines.recommendations.models.most_popular import PopularityModel
from persona_pipelines.recommendations.models.segment_popular import SegmentPopularityModel

USERS_AT_ONCE = 1024
PERSONAL, SEGMENT, POPULAR, CIRCLE, POPULAR_LATELY = range(5)
"""What a model looks at: the person's own items, the segment, what is popular, people whom the person follows, what is popular in the recent past."""
OF_LIKE_TASTE, POPULAR_NOW, POPULAR_EVER = "popular with people of like taste", "popular now", "popular"
OF_CIRCLE = "popular with people you follow"


def because_of(*titles: str) -> str:
    """The reason of an item that is like some that the person likes."""
    return "because of " + " and ".join(titles)


def new_in(category: str) -> str:
    """The reason of an item that appeared lately; of an empty category the reason without it."""
    return f"new in {category}" if category else "new"


def popular_for(group: str) -> str:
    """The reason of an item that people turn to who came the same way, as ``country=NL``."""
    return "popular for " + " ".join(group.split("=", 1))


def popular_with(segment: str) -> str:
    """The reason of an item that people of a segment turn to."""
    return f"popular with {segment}"


@dataclass(frozen=True)
class Evidence:
    """What reasons are made of, items in the order of the model's.

    Attributes:
        similarity: shape (items, items): how like each other items are, by who turned to them.
        titles, categories: shape (items,).
        is_new: shape (items,): whether the item appeared only lately.
        dated: whether the log has dates; without them nothing is "now".
        segment_names: of segment ids.
    """

    similarity: sp.csr_matrix
    titles: np.ndarray
    categories: np.ndarray
    is_new: np.ndarray
    dated: bool
    segment_names: Mapping[int, str]


def reasons(model: LearnedModel, audience: Audience, liked: sp.csr_matrix, places: np.ndarray, evidence: Evidence) -> np.ndarray:
    """Texts of shape (n, k), empty where the place is.

    ``liked`` has shape (n, items): what each user has turned to and not rated below the own middle. Nothing else is a reason.

    The member of a blend that adds most to the item's score decides: one that knows the user says "because of" the one or two
    liked items most like it; one of whom they follow says "popular with people you follow"; one of segments "popular with" the segment; one of
    popularity "popular now" or "popular". An item that appeared lately is "new in" its category, unless a liked item speaks for it.
    """
    texts = np.full(places.shape, "", dtype=object)
    for start in range(0, len(audience), USERS_AT_ONCE):
        part = slice(start, min(start + USERS_AT_ONCE, len(audience)))
        texts[part] = _block(model, audience.part(part), liked[part], places[part], evidence)
    return texts


def _block(model: LearnedModel, audience: Audience, liked_items: sp.csr_matrix, places: np.ndarray, evidence: Evidence) -> np.ndarray:
    kinds = kinds_of(model, audience, places)
    because = _because(liked_items, places, evidence)
    categories, new = evidence.categories[np.maximum(places, 0)], evidence.is_new[np.maximum(places, 0)]
    segments = np.array([evidence.segment_names.get(int(segment), "") for segment in audience.segments], dtype=object)
    liked = np.array([popular_with(name) if name else "" for name in segments], dtype=object)[:, None]
    popular = np.where((kinds == POPULAR_LATELY) & evidence.dated, POPULAR_NOW, POPULAR_EVER).astype(object)
    newcomer = np.where(new, np.array([[new_in(name) for name in row] for row in categories], dtype=object).reshape(places.shape), "")
    attributes = np.where(audience.active()[:, None], OF_LIKE_TASTE, "popular with people like you").astype(object)

    def first(*choices: np.ndarray) -> np.ndarray:
        result = np.full(places.shape, "", dtype=object)
        for choice in choices:
            result = np.where(result == "", np.broadcast_to(choice, places.shape), result)
        return result

    texts = np.select(
        [kinds == PERSONAL, kinds == SEGMENT, kinds == CIRCLE],
        [
            first(because, newcomer, np.broadcast_to(attributes, places.shape)),
            first(newcomer, liked, popular),
            np.full(places.shape, OF_CIRCLE, dtype=object),
        ],
        first(newcomer, popular),
    )
    return np.where(places >= 0, texts, "")


def kinds_of(model: LearnedModel, audience: Audience, places: np.ndarray) -> np.ndarray:
    """The kind of model that counted most for each place (``PERSONAL`` and so on), shape (n, k)."""
    if isinstance(model, BlendModel):
        added = model.contributions(audience, places)
        if not added:
            return np.full(places.shape, POPULAR)
        names = list(added)
        strongest = np.stack([added[name] for name in names]).argmax(axis=0)
        members = [model.parts[name] for name in names]
    else:
        strongest, members = np.zeros(places.shape, dtype=int), [model]
    return np.array([_kind(member) for member in members])[strongest]


def _kind(model: LearnedModel) -> int:
    if isinstance(model, PopularityModel) and model.recent:
        return POPULAR_LATELY
    kinds = {PopularityModel: POPULAR, SegmentPopularityModel: SEGMENT, FollowedModel: CIRCLE}
    return kinds.get(type(model), PERSONAL)


def _because(liked: sp.csr_matrix, places: np.ndarray, evidence: Evidence) -> np.ndarray:
    """The one or two liked items most like each item of the list."""
    users, k = places.shape
    rows = np.repeat(np.arange(users), k)
    history = liked[rows]
    history = sp.csr_matrix((np.ones(history.nnz, dtype=np.float32), history.indices, history.indptr), shape=history.shape)
    found = sp.csr_matrix(evidence.similarity[np.maximum(places, 0).ravel()].multiply(history))
    texts = np.full(users * k, "", dtype=object)
    lengths = np.diff(found.indptr)
    for number in np.flatnonzero(lengths):
        part = slice(found.indptr[number], found.indptr[number + 1])
        order = np.lexsort((found.indices[part], -found.data[part]))[:2]
        texts[number] = because_of(*evidence.titles[found.indices[part][order]])
    return texts.reshape(users, k)
